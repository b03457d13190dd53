//! Versions and delete markers: `ListObjectVersions`.
//!
//! Two tables are walked side by side. A key's current version, if it has one, is newer than all its rows in the
//! table of versions, which are in order already.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Entry, Item, ListQuery, ListStart, Page, VersionPage,
    cursor::{Cursor, Source},
    fold::{self, Fold, Start},
    is_full,
    objects::text,
};
use crate::{
    metadata::{MetadataView, Namespace, Table},
    storage::{
        Bucket, Storage, StorageError, StorageResult, keys,
        records::{ListRecord, ObjectRecord, Record},
    },
    types::{BucketId, VersionId, VersionSelector},
};

/// First batch of each of the two walks: either table may have nothing to show.
const BATCH: usize = 32;

/// A version or a delete marker.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionEntry {
    /// Its key.
    pub key: String,
    /// What a listing shows of it.
    pub record: ListRecord,
    /// Whether it is the newest of its key.
    pub is_latest: bool,
}

impl Item for VersionEntry {
    fn position(&self) -> ListStart {
        let id = self.record.version_id();
        let selector = if self.record.is_null { VersionSelector::Null } else { VersionSelector::Id(id) };
        ListStart::AfterVersion(self.key.clone(), selector)
    }
}

/// A row of either table.
pub(super) struct Row {
    pub(super) key: Vec<u8>,
    pub(super) value: Bytes,
    pub(super) is_latest: bool,
}

/// The two walks, merged.
pub(super) struct Walk {
    current: Cursor,
    older: Cursor,
    /// The key whose newest version has been passed.
    passed: Option<Vec<u8>>,
}

impl Storage {
    /// A page of the versions and delete markers of a bucket, the newest of each key first.
    pub async fn list_versions(&self, bucket: &Bucket, query: &ListQuery) -> StorageResult<VersionPage> {
        let mut page = Page::empty();
        if query.limit == 0 {
            return Ok(page);
        }
        let fold = Fold::of(query);
        let mut walk = Walk::new(self.inner.metadata.snapshot().await?, bucket.id, &fold, &query.start).await?;
        while let Some(row) = walk.next(page.wanted(query.limit)).await? {
            if is_full(&mut page, query.limit) {
                break;
            }
            let key = text(&row.key)?;
            page.entries.push(if let Some(prefix) = fold.common_prefix(key) {
                walk.current.seek(keys::successor(prefix.as_bytes()));
                walk.older.seek(fold::past_escaped(prefix));
                Entry::Prefix(prefix.to_owned())
            } else {
                let record = ListRecord::from_bytes(&row.value)?;
                Entry::Item(VersionEntry { key: key.to_owned(), record, is_latest: row.is_latest })
            });
        }
        Ok(page)
    }
}

impl Walk {
    pub(super) async fn new(
        view: Arc<dyn MetadataView>,
        bucket: BucketId,
        fold: &Fold<'_>,
        start: &ListStart,
    ) -> StorageResult<Self> {
        let source = Source(view);
        let (current, versions) = (Namespace::of(Table::Current, bucket), Namespace::of(Table::Versions, bucket));
        let at = fold.start(start);
        let (mut plain, mut escaped) = (fold.plain(at), fold.escaped(at));
        let mut passed = None;
        if let (ListStart::AfterVersion(key, selector), Start::After(_)) = (start, at) {
            let within = Within::find(&source, (current, versions), key.as_bytes(), *selector).await?;
            // The marker's key is one of the keys to walk, unless it lies before the prefix or behind its keys.
            plain.start = plain.start.min(within.current).max(fold.plain(Start::First).start);
            escaped.start = escaped.start.min(within.older).max(fold.escaped(Start::First).start);
            passed = within.newest_passed.then(|| key.as_bytes().to_vec());
        }
        Ok(Self {
            current: Cursor::new(source.clone(), current, plain, BATCH),
            older: Cursor::new(source, versions, escaped, BATCH),
            passed,
        })
    }

    pub(super) async fn next(&mut self, wanted: usize) -> StorageResult<Option<Row>> {
        let older = match self.older.peek(wanted).await? {
            Some((row, _)) => Some(split(row)?),
            None => None,
        };
        let current = self.current.peek(wanted).await?.map(|(key, _)| key);
        let is_current = match (current, &older) {
            (None, None) => return Ok(None),
            (Some(current), Some(older)) => *current <= older.as_slice(),
            (current, _) => current.is_some(),
        };
        let taken = if is_current { self.current.next(wanted).await? } else { self.older.next(wanted).await? };
        let Some((row, value)) = taken else { return Ok(None) };
        let key = match older {
            Some(key) if !is_current => key,
            _ => row.to_vec(),
        };
        let is_latest = self.passed.as_ref() != Some(&key);
        if is_latest {
            self.passed = Some(key.clone());
        }
        Ok(Some(Row { key, value, is_latest }))
    }
}

/// Where to go on within the versions of one key.
struct Within {
    current: Bytes,
    older: Bytes,
    newest_passed: bool,
}

impl Within {
    /// Behind the version that `selector` names. Where it is gone meanwhile, its id still tells its place; a `null`
    /// version that is gone tells none, and the key is listed again rather than lost.
    async fn find(
        source: &Source,
        (current, versions): (Namespace, Namespace),
        key: &[u8],
        selector: VersionSelector,
    ) -> StorageResult<Self> {
        let plain = Bytes::copy_from_slice(key);
        let prefix = keys::prefix_of(key);
        let newest = source.scan(current, plain.clone()..keys::after(key), 1).await?;
        let rows = prefix.clone().freeze()..keys::successor(&prefix);
        let first = source.scan(versions, rows.clone(), 1).await?;
        let read = |pairs: &[(Bytes, Bytes)]| pairs.first().map(|(_, value)| ObjectRecord::from_bytes(value));
        let newest = read(&newest).transpose()?;
        let first = read(&first).transpose()?;
        let id = match selector {
            VersionSelector::Id(id) => Some(id),
            VersionSelector::Null => newest.as_ref().or(first.as_ref()).and_then(null_of),
        };
        let Some(id) = id else { return Ok(Self { current: plain, older: rows.start, newest_passed: false }) };
        let passed = |record: &ObjectRecord| record.version_id() >= id;
        let current_passed = newest.as_ref().is_none_or(passed);
        let mut row = prefix;
        row.extend_from_slice(&id.to_key());
        Ok(Self {
            current: if current_passed { keys::after(key) } else { plain },
            older: keys::after(&row),
            newest_passed: newest.as_ref().or(first.as_ref()).is_some_and(passed),
        })
    }
}

/// The id of a key's `null` version, by the record of its newest one.
fn null_of(newest: &ObjectRecord) -> Option<VersionId> {
    if newest.is_null { Some(newest.version_id()) } else { newest.null_version() }
}

fn split(row: &[u8]) -> StorageResult<Vec<u8>> {
    keys::split_key(row).map(|(key, _)| key).ok_or(StorageError::Broken("rows of versions begin with a key"))
}
