//! Object lock in the engine: what new versions are given, and changes of what they have.

use std::sync::Arc;

use super::{
    super::{Bucket, Storage, StorageError, StorageResult},
    Bypass, Hold, Lock, LockError, RetentionChange, Times,
};
use crate::{
    storage::records::{ObjectLockRecord, ObjectRecord},
    types::{BucketName, ObjectKey, VersionSelector},
};

impl Storage {
    /// Enables object lock, or replaces its default.
    ///
    /// # Errors
    /// [`LockError::BucketState`] unless versioning is enabled.
    pub async fn set_object_lock(&self, name: &BucketName, configuration: ObjectLockRecord) -> StorageResult<()> {
        self.update_bucket(name, |record| record.object_lock = Some(configuration)).await?;
        Ok(())
    }

    /// Refuses a lock that a new version cannot have, before its bytes are read.
    pub(in crate::storage) async fn check_new_lock(&self, bucket: &Bucket, lock: &Lock) -> StorageResult<()> {
        if lock.is_empty() {
            return Ok(());
        }
        if bucket.record.object_lock.is_none() {
            return Err(LockError::NotConfigured.into());
        }
        Ok(lock.check_new(self.lock_time().await?)?)
    }

    /// Gives a new version its lock: the one its record has from the client, and the bucket's default.
    pub(in crate::storage) async fn lock_new(&self, bucket: &Bucket, record: &mut ObjectRecord) -> StorageResult<()> {
        let lock = Lock::read(record)?;
        match &bucket.record.object_lock {
            None if lock.is_empty() => Ok(()),
            None => Err(LockError::NotConfigured.into()),
            Some(default) => {
                lock.with_default(default, self.lock_time().await?)?.write(record);
                Ok(())
            }
        }
    }

    /// Changes the retention of a version.
    ///
    /// # Errors
    /// [`StorageError::Lock`]; as [`Storage::version`].
    pub async fn set_retention(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        asked: &RetentionChange,
        bypass: Bypass,
    ) -> StorageResult<ObjectRecord> {
        require_lock(bucket)?;
        let start = self.lock_time().await?;
        let change = |record: &mut ObjectRecord| {
            let times = Times { now: self.inner.clock.now(), start };
            changeable(record)?.change(asked, times, bypass)?.write(record);
            Ok(())
        };
        self.edit_version(bucket, key, selector, change).await
    }

    /// Puts the legal hold of a version on or off.
    ///
    /// # Errors
    /// As [`Storage::set_retention`].
    pub async fn set_legal_hold(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        hold: Hold,
    ) -> StorageResult<ObjectRecord> {
        require_lock(bucket)?;
        let change = |record: &mut ObjectRecord| {
            Lock { legal_hold: hold, ..changeable(record)? }.write(record);
            Ok(())
        };
        self.edit_version(bucket, key, selector, change).await
    }
}

fn require_lock(bucket: &Bucket) -> StorageResult<()> {
    bucket.record.object_lock.as_ref().map(|_| ()).ok_or_else(|| LockError::NotConfigured.into())
}

/// A lock that cannot be read is not changed either.
fn changeable(record: &ObjectRecord) -> StorageResult<Lock> {
    Lock::read(record).map_err(|_| StorageError::Lock(LockError::Protected))
}
