//! Renaming an object: one batch, no byte is copied.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Storage, StorageError, StorageResult, WriteCondition,
    buckets::Bucket,
    change::Change,
    keys,
    lock::{Bypass, Leave},
    locks::KeyGuard,
    objects::ATTEMPTS,
    records::{JournalOp, ObjectRecord, Record, UploadRecord},
};
use crate::{
    metadata::{Condition, MetadataError, Namespace, Table},
    types::{ObjectKey, Timestamp, UploadId},
};

/// What a rename asks of the source and of what is at the destination.
pub type RenameCheck = Box<dyn Fn(&ObjectRecord, Option<&ObjectRecord>) -> StorageResult<()> + Send + Sync>;

/// What makes a rename that is asked for twice happen once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenameToken {
    /// Stands for the client's token.
    pub id: UploadId,
    /// Stands for what is asked for.
    pub digest: Bytes,
}

/// A rename within a bucket that has no versions.
pub struct Rename {
    /// The bucket.
    pub bucket: Arc<Bucket>,
    /// The object's key.
    pub source: ObjectKey,
    /// Its key to be.
    pub destination: ObjectKey,
    /// When what is at the destination may give way.
    pub condition: WriteCondition,
    /// Further conditions.
    pub check: RenameCheck,
    /// The client's token.
    pub token: Option<RenameToken>,
}

impl std::fmt::Debug for Rename {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rename")
            .field("source", &self.source)
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}

impl Storage {
    /// Gives an object another key. What was there gives way. The date of the object stays.
    ///
    /// # Errors
    /// [`StorageError::NoSuchKey`] without a source; [`StorageError::PreconditionFailed`];
    /// [`StorageError::Versioned`] in a bucket with versions; [`StorageError::TokenReused`].
    pub async fn rename_object(&self, rename: Rename) -> StorageResult<()> {
        if let Some(staged) = self.stage_rename(&rename).await? {
            return self.rename_staged(rename, staged).await;
        }
        let _guards = self.lock_rename(&rename).await?;
        for _ in 0..ATTEMPTS {
            match self.try_rename(&rename).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other,
            }
        }
        Err(StorageError::Contention)
    }

    /// Takes the locks of both keys, once what was being written under them is settled.
    pub(super) async fn lock_rename(&self, rename: &Rename) -> StorageResult<[Option<KeyGuard<'_>>; 2]> {
        let Rename { bucket, source, destination, .. } = rename;
        let guards = self.inner.locks.lock_both(bucket.id, source, destination).await;
        for key in [source, destination] {
            self.settle(bucket.id, key).await?;
        }
        Ok(guards)
    }

    async fn try_rename(&self, rename: &Rename) -> StorageResult<()> {
        let Rename { source, destination, token, .. } = rename;
        let bucket = self.same_bucket(&rename.bucket).await?;
        if let Some(token) = token
            && self.was_renamed(&bucket, token).await?
        {
            return Ok(());
        }
        if bucket.is_versioned() {
            return Err(StorageError::Versioned);
        }
        let from = self.head(&bucket, source).await?;
        let to = self.head(&bucket, destination).await?;
        let old = from.object().ok_or_else(|| from.no_such_key())?;
        if self.named_blob(old).is_some() {
            // Written there since this began.
            return Err(StorageError::Contention);
        }
        rename.condition.check(&to)?;
        (rename.check)(old, to.object())?;
        let now = self.inner.clock.now();
        let newest = to.object().map(ObjectRecord::version_id).max(Some(old.version_id()));
        let mut record = old.clone();
        record.set_version_id(self.inner.ids.version_id(newest));

        let mut change = Change::new(&bucket);
        from.require(&mut change, source);
        to.require(&mut change, destination);
        if let Some(replaced) = to.object() {
            change.usage.objects -= 1;
            change.free(&Leave { now, bypass: Bypass::No }.remove(replaced)?);
        }
        change.delete_current(source);
        self.bury(&mut change, source);
        change.put_current(destination, &record);
        if let Some(token) = token {
            remember(&mut change, token, destination, now);
        }
        change.tell(JournalOp::VersionDeleted, source.as_str(), Some(old.version_id()), now);
        change.tell(JournalOp::ObjectCopied, destination.as_str(), Some(record.version_id()), now);
        self.commit(change, None).await
    }

    /// Whether the token's rename was done, for a day.
    pub(super) async fn was_renamed(&self, bucket: &Bucket, token: &RenameToken) -> StorageResult<bool> {
        let ns = Namespace::of(Table::Uploads, bucket.id);
        let Some(stored) = self.inner.metadata.get(ns, &keys::completed_upload(token.id)).await? else {
            return Ok(false);
        };
        let same = UploadRecord::from_bytes(&stored)?.completed_list == token.digest;
        if same { Ok(true) } else { Err(StorageError::TokenReused) }
    }
}

/// Remembers the token as a completed upload is remembered: it is forgotten with those.
pub(super) fn remember(change: &mut Change<'_>, token: &RenameToken, destination: &ObjectKey, now: Timestamp) {
    let tombstone = UploadRecord {
        key: destination.as_str().to_owned(),
        completed_list: token.digest.clone(),
        completed: Some(ObjectRecord::default()),
        completed_ms: now.as_millis(),
        ..UploadRecord::default()
    };
    let at = keys::completed_at(now, change.bucket.id, token.id);
    change.batch.put(Namespace::of(Table::Uploads, keys::NO_BUCKET), at, Bytes::new());
    let (uploads, row) = (change.ns(Table::Uploads), keys::completed_upload(token.id));
    change.batch.require(uploads, row.clone(), Condition::Absent).put(uploads, row, tombstone.to_bytes());
}
