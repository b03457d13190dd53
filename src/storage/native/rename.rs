//! Renaming where the store keeps an object under its name: it is copied to the new name, and goes from the old one.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};

use super::{
    StagedBlob,
    moved::Moved,
    native, native_object_of,
    publish::{Published, Publishing, seen},
};
use crate::{
    data::{BlobId, DataError, NativeSource},
    metadata::MetadataError,
    storage::{
        Rename, Storage, StorageError, StorageResult, WriteCondition,
        buckets::Bucket,
        encryption::sealed_size,
        objects::ATTEMPTS,
        records::{JournalOp, ObjectRecord, Segment},
    },
    types::{BodyError, ObjectKey},
};

/// The object at its new name, not published.
#[derive(Debug)]
pub(in crate::storage) struct StagedRename {
    staged: StagedBlob,
    version: bytes::Bytes,
    record: ObjectRecord,
}

/// Bytes of the blob that holds all of a version.
pub(super) fn blob_size(record: &ObjectRecord, whole: &Segment) -> u64 {
    match (&record.layout, record.segments.len()) {
        (Some(_), _) => whole.size,
        (None, _) => record.segments.iter().map(stored_size).sum(),
    }
}

fn stored_size(segment: &Segment) -> u64 {
    if segment.seal.is_empty() { segment.size } else { sealed_size(segment.size) }
}

impl Storage {
    /// Copies the source of a rename to its new name, if it is such an object. Nothing is published yet.
    pub(in crate::storage) async fn stage_rename(&self, rename: &Rename) -> StorageResult<Option<StagedRename>> {
        let bucket = self.same_bucket(&rename.bucket).await?;
        if let Some(token) = &rename.token
            && self.was_renamed(&bucket, token).await?
        {
            return Ok(None);
        }
        let mut from = self.head(&bucket, &rename.source).await?;
        for _ in 0..ATTEMPTS {
            let Some(old) = from.object().filter(|_| !bucket.is_versioned()) else { return Ok(None) };
            let Some(whole) = self.named_blob(old) else { return Ok(None) };
            let to = self.head(&bucket, &rename.destination).await?;
            rename.condition.check(&to)?;
            (rename.check)(old, to.object())?;
            let lost = match self.stage_blob_copy((&bucket, &rename.destination), old, whole).await {
                Ok(staged) => {
                    return Ok(Some(StagedRename { staged, version: seen(&from), record: old.clone() }));
                }
                Err(e @ (StorageError::LocationLost(_) | StorageError::Body(BodyError::Unreadable(_)))) => e,
                Err(e) => return Err(e),
            };
            // Others may have put another object where it stood.
            let now = self.head(&bucket, &rename.source).await?;
            if seen(&now) == seen(&from) {
                return Err(lost);
            }
            from = now;
        }
        Err(StorageError::Contention)
    }

    /// Stages the stored bytes of a version under another name.
    async fn stage_blob_copy(
        &self,
        (bucket, key): (&Bucket, &ObjectKey),
        record: &ObjectRecord,
        whole: &Segment,
    ) -> StorageResult<StagedBlob> {
        let location = self.location(&whole.location)?;
        let store = native(&location)?;
        let object = native_object_of(bucket, key, record);
        let (blob, size) = (BlobId::new(whole.blob.as_str()), blob_size(record, whole));
        let lost = |e| match e {
            DataError::NotFound(_) => StorageError::LocationLost((*location.name).to_owned()),
            other => StorageError::from(other),
        };
        if size > 0 {
            let source = NativeSource { blob: &blob, range: 0..size, size };
            if let Some(staged) = store.stage_copy(&object, source).await.map_err(lost)? {
                return Ok(StagedBlob::new(self, &location.name, staged));
            }
        }
        let body = match size {
            0 => futures_util::stream::empty().boxed(),
            _ => location.backend.get(&blob, 0..size).await.map_err(lost)?,
        };
        let staged = store.stage(&object, body, Some(size).into()).await?;
        Ok(StagedBlob::new(self, &location.name, staged))
    }

    /// Publishes the copy and removes the original, whether or not the client stays.
    pub(in crate::storage) async fn rename_staged(&self, rename: Rename, staged: StagedRename) -> StorageResult<()> {
        let StagedRename { staged, version, mut record } = staged;
        let moved = Moved::new(rename.source.clone(), version, rename.token.clone());
        if let Some(first) = record.segments.first_mut() {
            // What it is called is known when it is published.
            first.blob.clear();
        }
        let change = Published { record, condition: WriteCondition::Always, op: JournalOp::ObjectCopied };
        let job = Publishing::new((Arc::clone(&rename.bucket), rename.destination.clone()), change, staged);
        let mut job = Publishing { moved: Some(moved), ..job };
        let storage = self.clone();
        let work = async move {
            let renamed = storage.rename_in_turn(&rename, &mut job).await;
            if renamed.is_err() && !job.staged.settled {
                storage.give_up_staged(&mut job.staged).await;
            }
            renamed
        };
        self.detached(work.boxed()).await
    }

    async fn rename_in_turn(&self, rename: &Rename, job: &mut Publishing) -> StorageResult<()> {
        let Rename { source, destination, token, .. } = rename;
        let _guards = self.lock_rename(rename).await?;
        for _ in 0..ATTEMPTS {
            let bucket = self.same_bucket(&rename.bucket).await?;
            if let Some(token) = token
                && self.was_renamed(&bucket, token).await?
            {
                return Ok(());
            }
            let (from, to) = (self.head(&bucket, source).await?, self.head(&bucket, destination).await?);
            let old = from.object().ok_or_else(|| from.no_such_key())?;
            rename.condition.check(&to)?;
            (rename.check)(old, to.object())?;
            let newest = to.object().map(ObjectRecord::version_id).max(Some(old.version_id()));
            job.change.record.set_version_id(self.inner.ids.version_id(newest));
            match self.try_publish_staged(job).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other.map(drop),
            }
        }
        Err(StorageError::Contention)
    }
}
