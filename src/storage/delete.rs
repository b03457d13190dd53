//! Deleting objects and versions.

use std::sync::Arc;

use super::{
    FailedCondition, Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::Change,
    lock::{Bypass, Leave},
    objects::ATTEMPTS,
    records::{JournalOp, ObjectRecord, Versioning},
    tombstones::Found,
    versions::{self, Head},
};
use crate::{
    metadata::MetadataError,
    types::{ETag, ObjectKey, Timestamp, VersionId, VersionSelector},
};

/// What must hold of the version that a delete names, if it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteCondition {
    /// `If-Match`: its tag; `Some(None)` for `*`.
    pub etag: Option<Option<ETag>>,
    /// `x-amz-if-match-size`, in bytes.
    pub size: Option<u64>,
    /// `x-amz-if-match-last-modified-time`, compared in whole seconds.
    pub modified: Option<Timestamp>,
    /// Whether the caller may, and wants to, pass over retention in mode GOVERNANCE.
    pub bypass: Bypass,
    /// How a migration found the key, of which the newest version or a marker is to be made.
    pub found: Option<Found>,
    /// Whether the delete is not remembered: a migration takes back what it wrote itself.
    pub forget: bool,
}

/// What a delete did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Whether a marker was made, or the removed version was one.
    pub delete_marker: bool,
    /// Id of the marker made or of the version removed; `Some(None)` stands for `null`.
    pub version: Option<Option<VersionId>>,
}

impl DeleteCondition {
    /// Whether nothing of what is there is asked.
    pub fn asks_nothing(&self) -> bool {
        self.etag.is_none() && self.size.is_none() && self.modified.is_none()
    }

    /// Whether this version might be deleted, were it the newest.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`].
    pub fn judge(&self, target: &ObjectRecord) -> StorageResult<()> {
        self.check(Some(target))
    }

    fn check(&self, target: Option<&ObjectRecord>) -> StorageResult<()> {
        let Some(target) = target else { return Ok(()) };
        let failed = |condition| Err(StorageError::PreconditionFailed(condition));
        if let Some(Some(tag)) = &self.etag
            && *tag != target.etag()
        {
            return failed(FailedCondition::IfMatch);
        }
        if self.size.is_some_and(|size| size != target.size) {
            return failed(FailedCondition::IfMatchSize);
        }
        if self.modified.is_some_and(|time| time.as_secs() != target.modified().as_secs()) {
            return failed(FailedCondition::IfMatchLastModified);
        }
        Ok(())
    }
}

fn shown(record: &ObjectRecord) -> Option<VersionId> {
    (!record.is_null).then(|| record.version_id())
}

impl Storage {
    /// Deletes a key (adding a marker where versioning says so), or one version for good. What is not there counts
    /// as deleted.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`]; [`StorageError::Lock`] where a locked version would go.
    pub async fn delete_object(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        condition: &DeleteCondition,
    ) -> StorageResult<Deleted> {
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        self.settle(bucket.id, key).await?;
        self.delete_in_turn(bucket, key, selector, condition).await
    }

    /// [`Storage::delete_object`], by whoever holds the key's lock and has settled what was published there.
    pub(super) async fn delete_in_turn(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        condition: &DeleteCondition,
    ) -> StorageResult<Deleted> {
        for _ in 0..ATTEMPTS {
            let bucket = self.same_bucket(bucket).await?;
            let head = self.head(&bucket, key).await?;
            let attempt = match selector {
                None => self.delete_current(&bucket, key, &head, condition).await,
                Some(selector) => self.delete_version(&bucket, key, &head, (selector, condition)).await,
            };
            match attempt {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other,
            }
        }
        Err(StorageError::Contention)
    }

    async fn delete_current(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        head: &Head,
        condition: &DeleteCondition,
    ) -> StorageResult<Deleted> {
        condition.check(head.object())?;
        if let Some(found) = condition.found {
            found.check(head)?;
        }
        let now = self.inner.clock.now();
        // Without a version named, nobody means to pass over a lock.
        let leave = Leave { now, bypass: Bypass::No };
        let mut change = Change::new(bucket);
        if bucket.versioning() == Versioning::Unversioned {
            let Some(record) = &head.record else { return self.bury_absent(change, key).await };
            versions::remove_head(&mut change, key, head, None, leave)?;
            if !condition.forget {
                self.bury(&mut change, key);
            }
            change.tell(JournalOp::VersionDeleted, key.as_str(), Some(record.version_id()), now);
            self.commit(change, None).await?;
            return Ok(Deleted::default());
        }
        let null = self.replaced_null(bucket, key, head).await?;
        let previous = head.record.as_ref().map(ObjectRecord::version_id);
        let mut marker = ObjectRecord {
            delete_marker: true,
            modified_ms: now.as_millis(),
            owner: bucket.record.owner.clone(),
            owner_display_name: bucket.record.owner_display_name.clone(),
            ..ObjectRecord::default()
        };
        marker.set_version_id(self.inner.ids.version_id(previous));
        versions::publish(&mut change, key, (head, null.as_ref()), &mut marker, leave)?;
        if let Some(location) = head.object().and_then(|hidden| self.native_place(hidden)) {
            change.mirror_marker(location, key, &marker);
        }
        if let Some(found) = condition.found {
            self.require_found(&mut change, key, found).await?;
        }
        change.tell(JournalOp::MarkerCreated, key.as_str(), Some(marker.version_id()), now);
        self.commit(change, None).await?;
        Ok(Deleted { delete_marker: true, version: Some(shown(&marker)) })
    }

    /// What is not here may be elsewhere: that it was deleted is remembered, where it matters.
    async fn bury_absent(&self, mut change: Change<'_>, key: &ObjectKey) -> StorageResult<Deleted> {
        if self.remembers_deletes(change.bucket) {
            self.bury(&mut change, key);
            self.commit(change, None).await?;
        }
        Ok(Deleted::default())
    }

    async fn delete_version(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        head: &Head,
        (selector, condition): (VersionSelector, &DeleteCondition),
    ) -> StorageResult<Deleted> {
        let mut change = Change::new(bucket);
        let now = self.inner.clock.now();
        let leave = Leave { now, bypass: condition.bypass };
        let removed = if head.is(selector) {
            condition.check(head.record.as_ref())?;
            let next = self.next_version(bucket, key, head).await?;
            versions::remove_head(&mut change, key, head, next.as_ref(), leave)?;
            head.record.clone()
        } else {
            let older = self.find_older(bucket, key, head, selector).await?;
            condition.check(older.as_ref().map(|older| &older.record))?;
            if let Some(older) = &older {
                versions::remove_older(&mut change, key, head, older, leave)?;
            }
            older.map(|older| older.record)
        };
        let named = match selector {
            VersionSelector::Null => None,
            VersionSelector::Id(id) => Some(id),
        };
        let Some(removed) = removed else {
            if selector == VersionSelector::Null && !bucket.is_versioned() {
                self.bury_absent(change, key).await?;
            }
            return Ok(Deleted { delete_marker: false, version: Some(named) });
        };
        if !removed.delete_marker && !condition.forget {
            self.bury(&mut change, key);
        }
        change.tell(JournalOp::VersionDeleted, key.as_str(), Some(removed.version_id()), now);
        self.commit(change, None).await?;
        Ok(Deleted { delete_marker: removed.delete_marker, version: Some(named) })
    }
}
