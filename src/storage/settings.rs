//! Settings of which a bucket may have many. They have rows of their own, so that reading the bucket stays cheap.
//!
//! | key in `Settings` | value |
//! |---|---|
//! | kind (1 byte) | how many of the kind there are (4 bytes, big endian) |
//! | kind ‖ `/` ‖ id | [`SettingRecord`] |
//! | `I/` ‖ id | how far the reports of an inventory have come |
//! | `x/` ‖ key | a key that was deleted, see [`super::tombstones`] |
//!
//! The count changes with the rows, in one batch that is conditional on both: the limit holds though many put at once.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::Change,
    keys,
    records::{JournalOp, Record, SettingRecord},
};
use crate::metadata::{Direction, MetadataError, Namespace, Table};

/// Attempts of a change that others race with.
const ATTEMPTS: usize = 16;

/// The kinds of settings of which a bucket may have many. The number is the first byte of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SettingKind {
    /// Storage class analyses.
    Analytics = b'a',
    /// Inventories.
    Inventory = b'i',
    /// Metrics filters.
    Metrics = b'm',
    /// Rules of intelligent tiering.
    Tiering = b't',
}

impl SettingKind {
    const fn count_key(self) -> [u8; 1] {
        [self as u8]
    }

    pub(super) fn row(self, id: &str) -> Bytes {
        row(self as u8, id)
    }

    fn rows_after(self, after: Option<&str>) -> Range<Bytes> {
        let start = self.row("");
        let end = keys::successor(&start);
        match after {
            None => start..end,
            Some(id) => keys::after(&self.row(id))..end,
        }
    }
}

fn row(kind: u8, id: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(id.len() + 2);
    key.put_u8(kind);
    key.put_u8(b'/');
    key.put_slice(id.as_bytes());
    key.freeze()
}

/// Where the progress of an inventory is kept.
pub(super) fn progress_row(id: &str) -> Bytes {
    row(b'I', id)
}

/// A page of settings, by id in byte order.
#[derive(Clone, Debug, Default)]
pub struct SettingPage {
    /// Ids and settings.
    pub settings: Vec<(String, SettingRecord)>,
    /// Whether more follow.
    pub truncated: bool,
}

/// A row and the count of its kind, as they were read.
struct Found {
    row: Option<Bytes>,
    count: Option<Bytes>,
}

impl Found {
    fn number(&self) -> u32 {
        let count = self.count.as_ref().and_then(|count| count.first_chunk::<4>());
        count.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

impl Storage {
    /// The setting of this id.
    pub async fn setting(&self, bucket: &Bucket, kind: SettingKind, id: &str) -> StorageResult<Option<SettingRecord>> {
        let stored = self.inner.metadata.get(Namespace::of(Table::Settings, bucket.id), &kind.row(id)).await?;
        Ok(stored.as_ref().map(SettingRecord::from_bytes).transpose()?)
    }

    /// At most `limit` settings of a kind, after the id `after`.
    pub async fn settings(
        &self,
        bucket: &Bucket,
        kind: SettingKind,
        after: Option<&str>,
        limit: usize,
    ) -> StorageResult<SettingPage> {
        let ns = Namespace::of(Table::Settings, bucket.id);
        let mut pairs =
            self.inner.metadata.scan(ns, kind.rows_after(after), Direction::Forward, limit.saturating_add(1)).await?;
        let truncated = pairs.len() > limit;
        pairs.truncate(limit);
        let settings = pairs.iter().map(|(key, value)| {
            let id = key.get(2..).unwrap_or_default();
            Ok((String::from_utf8_lossy(id).into_owned(), SettingRecord::from_bytes(value)?))
        });
        Ok(SettingPage { settings: settings.collect::<StorageResult<_>>()?, truncated })
    }

    /// Sets, or replaces, the setting of this id.
    ///
    /// # Errors
    /// [`StorageError::TooManySettings`] where it would be new and there are `most` of the kind already.
    pub async fn put_setting(
        &self,
        bucket: &Bucket,
        (kind, id): (SettingKind, &str),
        record: &SettingRecord,
        most: u32,
    ) -> StorageResult<()> {
        let value = record.to_bytes();
        for _ in 0..ATTEMPTS {
            let found = self.find_setting(bucket, kind, id).await?;
            let number = found.number();
            if found.row.is_none() && number >= most {
                return Err(StorageError::TooManySettings);
            }
            let count = if found.row.is_none() { number + 1 } else { number };
            if self.change_setting(bucket, (kind, id), found, (Some(value.clone()), count)).await? {
                return Ok(());
            }
        }
        Err(StorageError::Contention)
    }

    /// Removes the setting of this id. Returns whether it was there.
    pub async fn delete_setting(&self, bucket: &Bucket, kind: SettingKind, id: &str) -> StorageResult<bool> {
        for _ in 0..ATTEMPTS {
            let found = self.find_setting(bucket, kind, id).await?;
            if found.row.is_none() {
                return Ok(false);
            }
            let count = found.number().saturating_sub(1);
            if self.change_setting(bucket, (kind, id), found, (None, count)).await? {
                return Ok(true);
            }
        }
        Err(StorageError::Contention)
    }

    async fn find_setting(&self, bucket: &Bucket, kind: SettingKind, id: &str) -> StorageResult<Found> {
        let ns = Namespace::of(Table::Settings, bucket.id);
        let row = self.inner.metadata.get(ns, &kind.row(id)).await?;
        Ok(Found { row, count: self.inner.metadata.get(ns, &kind.count_key()).await? })
    }

    /// Whether nobody else was quicker.
    async fn change_setting(
        &self,
        bucket: &Bucket,
        (kind, id): (SettingKind, &str),
        found: Found,
        (value, count): (Option<Bytes>, u32),
    ) -> StorageResult<bool> {
        let mut change = Change::new(bucket);
        let (ns, row, counter) = (change.ns(Table::Settings), kind.row(id), Bytes::from(kind.count_key().to_vec()));
        change.batch.unchanged(ns, row.clone(), found.row.as_ref());
        change.batch.unchanged(ns, counter.clone(), found.count.as_ref());
        let is_removed = value.is_none();
        match value {
            Some(value) => change.batch.put(ns, row, value),
            None => change.batch.delete(ns, row),
        };
        if is_removed && kind == SettingKind::Inventory {
            change.batch.delete(ns, progress_row(id));
        }
        change.batch.put(ns, counter, count.to_be_bytes().to_vec());
        change.tell(JournalOp::BucketChanged, "", None, self.inner.clock.now());
        match self.inner.metadata.commit(change.finish().0).await {
            Ok(()) => Ok(true),
            // The first condition of every change is that the bucket lives.
            Err(MetadataError::Conflict(0)) => Err(StorageError::NoSuchBucket),
            Err(MetadataError::Conflict(_)) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}
