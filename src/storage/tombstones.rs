//! Keys that were deleted here while another server still has them.
//!
//! As long as objects that are not here are read from an old server, "not here" must not mean "never deleted": in the
//! buckets concerned each delete that leaves nothing of a key leaves a row `x/` ‖ key among the bucket's settings, in the
//! same batch. A delete marker needs none: it is a record itself. Rows stay when reading from the old server has ended:
//! they go with their bucket.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Storage, StorageResult, buckets::Bucket, change::Change};
use crate::{
    metadata::{Namespace, Table},
    types::{BucketName, ObjectKey},
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
    let mut row = BytesMut::with_capacity(2 + key.as_bytes().len());
    row.put_slice(b"x/");
    row.put_slice(key.as_bytes());
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

    /// Whether a key was deleted here since deletes are remembered, or is hidden by a delete marker.
    pub async fn was_deleted(&self, bucket: &Bucket, key: &ObjectKey) -> StorageResult<bool> {
        let head = self.head(bucket, key).await?;
        if let Some(newest) = &head.record {
            return Ok(newest.delete_marker);
        }
        Ok(self.inner.metadata.get(Namespace::of(Table::Settings, bucket.id), &row(key)).await?.is_some())
    }
}
