//! Current objects that a caller picks: metadata search.
//!
//! A page walks a bounded number of records for a bounded time; then it ends, with or without finds, and says where
//! the next one goes on. So a search through any number of objects is any number of cheap requests.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Entry, ListPage, ListQuery, ListStart, ObjectEntry, Page,
    cursor::{Cursor, Source},
    fold::{Fold, Start},
    is_full,
    objects::text,
};
use crate::{
    metadata::{Namespace, Table},
    storage::{
        Bucket, Storage, StorageResult, keys,
        records::{ListRecord, ObjectRecord, Record},
    },
};

/// Records read at a time: what is held in memory.
const BATCH: usize = 128;
/// Longest work before others get their turn: a slow expression on a long text takes milliseconds a record.
const SLICE: Duration = Duration::from_millis(5);

/// How much work a page may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchLimit {
    /// Most records that are looked at.
    pub records: usize,
    /// Longest time.
    pub time: Duration,
}

impl Default for SearchLimit {
    fn default() -> Self {
        Self { records: 20_000, time: Duration::from_secs(2) }
    }
}

/// Says whether an object is wanted, by key and record.
pub type Pick<'a> = &'a (dyn Fn(&str, &ObjectRecord) -> bool + Sync);

impl Storage {
    /// A page of the current objects that `pick` wants. A common prefix is shown if it has such an object.
    ///
    /// The page may be short, even empty, and still not be the last one: where it says so, it goes on behind the last
    /// record that was looked at. There a key stands for itself, also within a common prefix.
    pub async fn search_objects(
        &self,
        bucket: &Bucket,
        query: &ListQuery,
        pick: Pick<'_>,
        limit: SearchLimit,
    ) -> StorageResult<ListPage> {
        let mut page = Page::empty();
        if query.limit == 0 {
            return Ok(page);
        }
        let fold = Fold::of(query);
        let until = Instant::now() + limit.time;
        let source = Source(self.inner.metadata.snapshot().await?);
        let range = fold.plain(start(fold, &query.start));
        let mut cursor = Cursor::new(source, Namespace::of(Table::Current, bucket.id), range, BATCH);
        let mut looked = 0;
        let mut turn = Instant::now();
        while let Some((key, value)) = cursor.next(BATCH).await? {
            looked += 1;
            let key = text(&key)?;
            let prefix = fold.common_prefix(key);
            if pick(key, &ObjectRecord::from_bytes(&value)?) {
                if is_full(&mut page, query.limit) {
                    return Ok(page);
                }
                page.entries.push(if let Some(prefix) = prefix {
                    cursor.seek(keys::successor(prefix.as_bytes()));
                    Entry::Prefix(prefix.to_owned())
                } else {
                    Entry::Item(ObjectEntry { key: key.to_owned(), record: ListRecord::from_bytes(&value)? })
                });
            }
            let now = Instant::now();
            let tired = looked >= limit.records || now >= until;
            if tired {
                let Some((following, _)) = cursor.peek(BATCH).await? else { return Ok(page) };
                match prefix {
                    // Such a key stands for all of its prefix: right where nothing of that follows, else one more key is
                    // looked at. What is shown already was jumped over.
                    Some(prefix) if prefix == key || is_last(&page, prefix) => {
                        if !following.starts_with(prefix.as_bytes()) {
                            page.next = Some(ListStart::AfterPrefix(prefix.to_owned()));
                            return Ok(page);
                        }
                    }
                    _ => {
                        page.next = Some(ListStart::AfterKey(key.to_owned()));
                        return Ok(page);
                    }
                }
            }
            if looked % BATCH == 0 || now - turn >= SLICE {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
        Ok(page)
    }
}

/// Whether this prefix is what the page shows last.
fn is_last(page: &ListPage, prefix: &str) -> bool {
    matches!(page.entries.last(), Some(Entry::Prefix(last)) if last == prefix)
}

/// Where a search starts. Unlike in other listings a key within a common prefix is only itself: the page before may
/// have ended among keys that nobody wanted, with wanted ones of the same prefix behind.
fn start<'a>(fold: Fold<'a>, start: &'a ListStart) -> Start<'a> {
    match start {
        ListStart::Beginning => Start::First,
        ListStart::AfterPrefix(prefix) => Start::Past(prefix),
        ListStart::AfterKey(key) | ListStart::AfterVersion(key, _) | ListStart::AfterUpload(key, _) => {
            if fold.common_prefix(key) == Some(key) { Start::Past(key) } else { Start::After(key) }
        }
    }
}
