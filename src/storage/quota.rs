//! Limits of a bucket: most bytes, most versions.
//!
//! A limit is a condition of the very commit that would pass it, kept in the row of the counters: neither racing
//! writers nor a writer that began before the limit was set can pass it by a byte.
//!
//! What counts: the bytes of all versions, of their annotations, of the parts of open uploads, and of what is being
//! published; versions that are no delete markers. What deletes or shrinks is always allowed, and so is an overwrite that does not grow.

use super::{
    Storage, StorageError, StorageResult,
    buckets::{Bucket, Usage},
    change::{Change, places},
    keys,
    records::{BucketRecord, ObjectRecord, PartRecord, Record, Versioning},
};
use crate::{
    metadata::{MetadataError, Namespace, Table},
    types::{ObjectKey, UploadId},
};

/// The limits in the row of the counters, as a record has them.
fn limits(record: &BucketRecord) -> [i64; 2] {
    [record.quota_bytes, record.quota_objects].map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// Makes the limits in the row of the counters those of the changed record; `before` is the record as it was.
pub(super) fn move_limits(change: &mut Change<'_>, before: &BucketRecord) {
    let ([old_bytes, old_objects], [bytes, objects]) = (limits(before), limits(&change.bucket.record));
    if (old_bytes, old_objects) == (bytes, objects) {
        return;
    }
    let mut deltas = vec![0; places::MAX_BYTES];
    deltas.extend([bytes - old_bytes, objects - old_objects]);
    let ns = change.ns(Table::Usage);
    change.batch.add(ns, keys::USAGE, deltas);
}

impl Usage {
    /// Bytes that count against a limit.
    pub fn stored_bytes(&self) -> i64 {
        self.bytes.saturating_add(self.upload_bytes).saturating_add(self.held_bytes)
    }
}

impl Storage {
    /// Tells a bucket that is full from one that is gone, where a commit with bounds was refused.
    pub(super) async fn full_or_gone(&self, bucket: &Bucket, refusal: MetadataError) -> StorageError {
        if !matches!(refusal, MetadataError::Conflict(0)) {
            return refusal.into();
        }
        match self.bucket(&bucket.name).await {
            Ok(now) if now.id == bucket.id => StorageError::QuotaExceeded,
            Ok(_) => StorageError::NoSuchBucket,
            Err(e) => e,
        }
    }

    /// By how many bytes a write of this length would pass the bucket's limit if nothing gave way; 0 where it fits.
    pub(super) async fn excess(&self, bucket: &Bucket, length: u64) -> StorageResult<u64> {
        let limit = bucket.record.quota_bytes;
        if limit == 0 {
            return Ok(0);
        }
        let used = u64::try_from(self.usage(bucket).await?.stored_bytes()).unwrap_or_default();
        Ok(used.saturating_add(length).saturating_sub(limit))
    }

    /// Refuses a write before its body is read, where it is certain that it will not fit. The commit decides.
    pub(super) async fn check_room_early(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        length: Option<u64>,
    ) -> StorageResult<()> {
        let Some(length) = length else { return Ok(()) };
        let excess = self.excess(bucket, length).await?;
        if excess == 0 {
            return Ok(());
        }
        // The version that gives way, if one does, leaves its bytes.
        let replaced = match bucket.versioning() {
            Versioning::Enabled => 0,
            Versioning::Unversioned | Versioning::Suspended => {
                let head = self.head(bucket, key).await?;
                let null = self.replaced_null(bucket, key, &head).await?.map(|older| older.record.stored_bytes());
                let current = head.object().filter(|record| record.is_null).map(ObjectRecord::stored_bytes);
                current.or(null).unwrap_or_default()
            }
        };
        fits(length, excess, replaced)
    }

    /// As [`Storage::check_room_early`], for a part: an earlier one of its number leaves its bytes.
    pub(super) async fn check_part_early(
        &self,
        bucket: &Bucket,
        (id, number): (UploadId, u16),
        length: Option<u64>,
    ) -> StorageResult<()> {
        let Some(length) = length else { return Ok(()) };
        let excess = self.excess(bucket, length).await?;
        if excess == 0 {
            return Ok(());
        }
        let old = self.inner.metadata.get(Namespace::of(Table::Parts, bucket.id), &keys::part(id, number)).await?;
        let old = old.as_ref().map(PartRecord::from_bytes).transpose()?.map_or(0, |old| old.size());
        fits(length, excess, old)
    }
}

/// What takes the place of as many bytes or more is never refused, however full the bucket is.
fn fits(length: u64, excess: u64, replaced: u64) -> StorageResult<()> {
    if length > replaced && excess > replaced { Err(StorageError::QuotaExceeded) } else { Ok(()) }
}
