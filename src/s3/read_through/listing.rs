//! Listings while a migration runs: what is here and what is still on the old server, in one.
//!
//! | entry | shown |
//! |---|---|
//! | a key that is here | as it is here |
//! | a key that is there only | as it is there, unless it was deleted here |
//! | a folder that is there only | if one of its first [`LOOKS`] × 1,000 keys was not deleted here, or nobody can tell |
//!
//! A page costs one request to the old server for each thousand keys that it passes, at most [`PAGES`]; where those are not
//! enough the page ends early and says where the next one begins. Both servers must list in the order of bytes, as S3 does:
//! a store that does not is noticed, and what it lists is shown only where one page holds it.

use std::collections::VecDeque;

use crate::{
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
    },
    s3client::{FoldedPage, ListWish, ObjectEntry as There},
    storage::{
        Bucket,
        listing::{Entry, ListPage, ListQuery, ListStart, ObjectEntry},
        records::ListRecord,
    },
    types::{ObjectKey, Timestamp},
};

use super::{ReadThrough, is_missing, refusal};

/// Pages of the old server that one page may need.
const PAGES: usize = 16;
/// Pages of the old server that are looked through for a folder.
const LOOKS: usize = 4;
/// Entries asked for at a time, at most and at least.
const MOST: usize = 1000;
const LEAST: usize = 100;

/// A page of the current objects of a bucket, those on the old server included.
///
/// # Errors
/// `ServiceUnavailable` where the old server cannot be asked; `NotImplemented` where it does not list in order.
pub async fn list(cx: &Context, bucket: &Bucket, query: &ListQuery) -> S3Result<ListPage> {
    let here = cx.storage.list_objects(bucket, query).await?;
    let Some(old) = cx.old_server(bucket).filter(|old| old.lists && query.limit > 0) else { return Ok(here) };
    let far = Far::new(cx, bucket, (old, query));
    merge(here, far, query).await
}

/// The text by which an entry has its place.
fn place(entry: &Entry<ObjectEntry>) -> &str {
    match entry {
        Entry::Item(item) => &item.key,
        Entry::Prefix(prefix) => prefix,
    }
}

fn behind(entry: &Entry<ObjectEntry>) -> ListStart {
    match entry {
        Entry::Item(item) => ListStart::AfterKey(item.key.clone()),
        Entry::Prefix(prefix) => ListStart::AfterPrefix(prefix.clone()),
    }
}

async fn merge(here: ListPage, mut far: Far<'_>, query: &ListQuery) -> S3Result<ListPage> {
    let more = here.next.is_some();
    let mut here: VecDeque<_> = here.entries.into();
    let mut page = ListPage { entries: Vec::new(), next: None };
    loop {
        let next = here.front().map(|entry| place(entry).to_owned());
        let there = match far.peek(next.as_deref()).await? {
            Peeked::Entry(text) => Some(text),
            Peeked::End => None,
            Peeked::Enough => {
                cut(&mut page, here, far.reached, query.limit);
                return Ok(page);
            }
        };
        if page.entries.len() == query.limit {
            let follows = more || next.is_some() || there.is_some();
            page.next = page.entries.last().filter(|_| follows).map(behind);
            return Ok(page);
        }
        match (next, there) {
            (None, None) => return Ok(page),
            (Some(next), Some(there)) if next == there => {
                far.skip();
                page.entries.extend(here.pop_front());
            }
            (Some(next), there) if there.as_ref().is_none_or(|there| next < *there) => {
                page.entries.extend(here.pop_front());
            }
            _ => page.entries.extend(far.take()),
        }
    }
}

/// Ends a page behind which the old server's keys are unknown; what is here up to there still fits.
fn cut(page: &mut ListPage, mut here: VecDeque<Entry<ObjectEntry>>, reached: ListStart, limit: usize) {
    let text = match &reached {
        ListStart::AfterKey(text) | ListStart::AfterPrefix(text) => text.clone(),
        _ => String::new(),
    };
    while page.entries.len() < limit && here.front().is_some_and(|entry| place(entry) <= text.as_str()) {
        page.entries.extend(here.pop_front());
    }
    let last = page.entries.last().filter(|last| page.entries.len() == limit || place(last) >= text.as_str());
    page.next = Some(last.map_or(reached, behind));
}

/// What comes next on the old server.
enum Peeked {
    /// This. It is shown, or is here, too.
    Entry(String),
    /// Nothing.
    End,
    /// Nobody knows: this page has cost enough. The next one goes on where the walk has come to.
    Enough,
}

/// Walks the old server's listing.
struct Far<'a> {
    cx: &'a Context,
    bucket: &'a Bucket,
    old: &'a ReadThrough,
    query: &'a ListQuery,
    /// Behind this all is still to come.
    reached: ListStart,
    entries: VecDeque<Entry<ObjectEntry>>,
    /// Whether what comes first was looked up, and is shown.
    is_shown: bool,
    /// Whether anything in the entries may have been deleted here.
    is_doubtful: bool,
    is_last: bool,
    pages: usize,
}

impl<'a> Far<'a> {
    fn new(cx: &'a Context, bucket: &'a Bucket, (old, query): (&'a ReadThrough, &'a ListQuery)) -> Self {
        let reached = match &query.start {
            ListStart::AfterKey(key) | ListStart::AfterVersion(key, _) | ListStart::AfterUpload(key, _) => {
                match query.common_prefix(key) {
                    Some(prefix) => ListStart::AfterPrefix(prefix.to_owned()),
                    None => ListStart::AfterKey(key.clone()),
                }
            }
            start => start.clone(),
        };
        Self {
            cx,
            bucket,
            old,
            query,
            reached,
            entries: VecDeque::new(),
            is_shown: false,
            is_doubtful: false,
            is_last: false,
            pages: 0,
        }
    }

    /// What comes next, of what is shown; `here` is what comes next on this server.
    async fn peek(&mut self, here: Option<&str>) -> S3Result<Peeked> {
        loop {
            let Some(entry) = self.entries.front() else {
                if self.is_last {
                    return Ok(Peeked::End);
                }
                if self.pages >= PAGES {
                    return Ok(Peeked::Enough);
                }
                self.fill().await?;
                continue;
            };
            let entry = entry.clone();
            let is_known = self.is_shown || here == Some(place(&entry));
            if !is_known && self.pages >= PAGES && matches!(entry, Entry::Prefix(_)) {
                return Ok(Peeked::Enough);
            }
            if is_known || self.shows(&entry).await? {
                self.is_shown = true;
                return Ok(Peeked::Entry(place(&entry).to_owned()));
            }
            self.skip();
        }
    }

    fn take(&mut self) -> Option<Entry<ObjectEntry>> {
        self.is_shown = false;
        let entry = self.entries.pop_front()?;
        self.reached = behind(&entry);
        Some(entry)
    }

    fn skip(&mut self) {
        self.take();
    }

    /// Whether an entry that is not here was not deleted here.
    async fn shows(&mut self, entry: &Entry<ObjectEntry>) -> S3Result<bool> {
        if !self.is_doubtful {
            return Ok(true);
        }
        match entry {
            Entry::Item(item) => is_there(self.cx, self.bucket, &item.key).await,
            Entry::Prefix(prefix) => self.has_any(prefix).await,
        }
    }

    /// Whether a folder has a key that was not deleted here.
    async fn has_any(&mut self, prefix: &str) -> S3Result<bool> {
        if !self.cx.storage.knows_of(self.bucket, prefix..=prefix).await? {
            return Ok(true);
        }
        let mut after: Option<String> = None;
        for _ in 0..LOOKS {
            let page = self.ask(prefix, "", after.as_deref()).await?;
            for object in &page.objects {
                if is_there(self.cx, self.bucket, &object.key).await? {
                    return Ok(true);
                }
            }
            after = page.objects.last().map(|object| object.key.clone());
            if !page.is_truncated || after.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn ask(&mut self, prefix: &str, delimiter: &str, after: Option<&str>) -> S3Result<FoldedPage> {
        self.pages += 1;
        let limit = self.query.limit.saturating_add(1).clamp(LEAST, MOST);
        let wish = ListWish { prefix, delimiter, after, limit };
        match self.old.client.list_folded(self.bucket.name.as_str(), wish).await {
            Ok(page) => Ok(page),
            Err(error) if is_missing(&error) => Ok(FoldedPage::default()),
            Err(error) => Err(refusal(error)),
        }
    }

    async fn fill(&mut self) -> S3Result<()> {
        // No key sorts behind this one that begins with the prefix.
        let past = |prefix: &str| format!("{prefix}{}", char::MAX);
        let after = match &self.reached {
            ListStart::AfterKey(key) => Some(key.clone()),
            ListStart::AfterPrefix(prefix) => Some(past(prefix)),
            _ => None,
        };
        let query = self.query;
        let page = self.ask(&query.prefix, &query.delimiter, after.as_deref()).await?;
        self.is_last = !page.is_truncated;
        let is_ordered = page.objects.is_sorted_by(|a, b| a.key < b.key) && page.prefixes.is_sorted_by(|a, b| a < b);
        let mut entries: Vec<_> = page.objects.into_iter().filter_map(|object| shown(object, query)).collect();
        entries.extend(page.prefixes.into_iter().map(Entry::Prefix));
        entries.sort_by(|a, b| place(a).cmp(place(b)));
        // A store may name the key or folder again behind which it was asked to go on.
        entries.retain(|entry| match &self.reached {
            ListStart::AfterKey(key) => place(entry) != key,
            ListStart::AfterPrefix(prefix) => !place(entry).starts_with(prefix.as_str()),
            _ => true,
        });
        let is_behind = match (&self.reached, entries.first()) {
            (ListStart::AfterKey(text) | ListStart::AfterPrefix(text), Some(first)) => place(first) > text.as_str(),
            _ => true,
        };
        // Nothing new, and yet more to come: no further request would change that.
        let is_stuck = entries.is_empty() && !self.is_last;
        if !is_behind || is_stuck || !(is_ordered || self.is_last) {
            return Err(S3Error::new(S3Code::NotImplemented, UNORDERED));
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            self.is_doubtful = self.cx.storage.knows_of(self.bucket, place(first)..=place(last)).await?;
        }
        self.entries = entries.into();
        Ok(())
    }
}

const UNORDERED: &str = "The old server of the migration does not list keys in the order of S3: listings cannot show both. Set cloudserver.migration.listings to false to list what is here.";

async fn is_there(cx: &Context, bucket: &Bucket, key: &str) -> S3Result<bool> {
    match ObjectKey::new(key) {
        Ok(key) => Ok(!cx.storage.was_deleted(bucket, &key).await?),
        Err(_) => Ok(false),
    }
}

/// What a listing shows of an object of the old server; nothing of a key that cannot be here.
fn shown(object: There, query: &ListQuery) -> Option<Entry<ObjectEntry>> {
    ObjectKey::new(object.key.as_str()).ok()?;
    // Who does not fold leaves it to us.
    if let Some(prefix) = query.common_prefix(&object.key) {
        return Some(Entry::Prefix(prefix.to_owned()));
    }
    let record = ListRecord {
        is_null: true,
        modified_ms: object.modified.map_or(0, Timestamp::as_millis),
        size: object.size,
        etag: object.etag,
        ..ListRecord::default()
    };
    Some(Entry::Item(ObjectEntry { key: object.key, record }))
}
