//! Keys that were deleted here while another server still has them.
//!
//! As long as objects that are not here are read from an old server, "not here" must not mean "never deleted": in the
//! buckets concerned each delete that leaves nothing of a key leaves a row `x/` ‖ key among the bucket's settings, in the
//! same batch. A delete marker needs none: it is a record itself. Rows stay when reading from the old server has ended:
//! they go with their bucket. A migration's writes depend on them ([`Found`]).

use std::{collections::BTreeSet, ops::RangeInclusive};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    FailedCondition, Storage, StorageError, StorageResult, buckets::Bucket, change::Change, keys, versions::Head,
};
use crate::{
    metadata::{Condition, Direction, Namespace, Table},
    types::{BucketName, ObjectKey, VersionSelector},
};

/// In which buckets deletes are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tombstones {
    /// In none.
    #[default]
    Nowhere,
    /// In all.
    Everywhere,
    /// In those of these names.
    In(BTreeSet<String>),
}

/// How a migration found a key before it wrote there: a write that others overtook must not undo what they did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No version, no marker, and no delete that is remembered.
    Never,
    /// As [`Found::Never`]: it was judged by what another server has.
    Elsewhere,
    /// This version or marker is the newest.
    Newest(VersionSelector),
}

impl Found {
    /// Whether the newest version is as it was found. Remembered deletes are [`Storage::require_found`]'s.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`].
    pub(super) fn check(self, head: &Head) -> StorageResult<()> {
        match self {
            Self::Never | Self::Elsewhere if head.record.is_some() => Err(self.failed()),
            Self::Newest(version) if !head.is(version) => Err(self.failed()),
            _ => Ok(()),
        }
    }

    fn failed(self) -> StorageError {
        StorageError::PreconditionFailed(match self {
            Self::Never => FailedCondition::UnlessDeleted,
            Self::Elsewhere => FailedCondition::Overtaken,
            Self::Newest(_) => FailedCondition::IfNewest,
        })
    }
}

impl Tombstones {
    /// Whether a bucket is concerned.
    pub fn concern(&self, bucket: &BucketName) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Everywhere => true,
            Self::In(names) => names.contains(bucket.as_str()),
        }
    }
}

fn row(key: &ObjectKey) -> Bytes {
    row_of(key.as_bytes())
}

fn row_of(key: &[u8]) -> Bytes {
    let mut row = BytesMut::with_capacity(2 + key.len());
    row.put_slice(b"x/");
    row.put_slice(key);
    row.freeze()
}

impl Storage {
    /// Remembers deletes from now on; to be told before [`Storage::recover`], which may rename.
    pub fn remember_deletes(&self, tombstones: Tombstones) {
        self.inner.tombstones.store(std::sync::Arc::new(tombstones));
    }

    /// Whether deletes in a bucket are remembered.
    pub(super) fn remembers_deletes(&self, bucket: &Bucket) -> bool {
        self.inner.tombstones.load().concern(&bucket.name)
    }

    /// Makes the memory of a deleted key part of a change, where the bucket is concerned.
    pub(super) fn bury(&self, change: &mut Change<'_>, key: &ObjectKey) {
        if self.remembers_deletes(change.bucket) {
            change.batch.put(change.ns(Table::Settings), row(key), Bytes::new());
        }
    }

    /// Makes a change that requires the newest version already depend on the key being as it was found, whole.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`].
    pub(super) async fn require_found(
        &self,
        change: &mut Change<'_>,
        key: &ObjectKey,
        found: Found,
    ) -> StorageResult<()> {
        if !matches!(found, Found::Newest(_)) {
            self.check_never_deleted(change.bucket, key, found).await?;
            let settings = change.ns(Table::Settings);
            change.batch.require(settings, row(key), Condition::Absent);
        }
        Ok(())
    }

    /// # Errors
    /// [`StorageError::PreconditionFailed`] where a delete of the key is remembered that must not be.
    pub(super) async fn check_never_deleted(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        found: Found,
    ) -> StorageResult<()> {
        let matters = !matches!(found, Found::Newest(_));
        if matters && self.is_buried(bucket, key).await? { Err(found.failed()) } else { Ok(()) }
    }

    async fn is_buried(&self, bucket: &Bucket, key: &ObjectKey) -> StorageResult<bool> {
        Ok(self.inner.metadata.get(Namespace::of(Table::Settings, bucket.id), &row(key)).await?.is_some())
    }

    /// Whether a key was deleted here since deletes are remembered, or is hidden by a delete marker.
    pub async fn was_deleted(&self, bucket: &Bucket, key: &ObjectKey) -> StorageResult<bool> {
        let head = self.head(bucket, key).await?;
        if let Some(newest) = &head.record {
            return Ok(newest.delete_marker);
        }
        self.is_buried(bucket, key).await
    }

    /// Whether any key from the first of these to the last one, and to what begins with that, was deleted here, or has
    /// versions: then what another server has there is to be looked at key by key.
    pub async fn knows_of(&self, bucket: &Bucket, keys: RangeInclusive<&str>) -> StorageResult<bool> {
        let (first, last) = (keys.start().as_bytes(), keys.end().as_bytes());
        let buried = row_of(first)..keys::successor(&row_of(last));
        let versions = keys::escaped(first).freeze()..keys::successor(&keys::escaped(last));
        for (table, range) in [(Table::Settings, buried), (Table::Versions, versions)] {
            let found = self.inner.metadata.scan(Namespace::of(table, bucket.id), range, Direction::Forward, 1).await?;
            if !found.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
