//! Multipart uploads: create, take parts, complete, abort.
//!
//! Invariants:
//! - An upload is open as long as its row is there. The row never changes: every batch of the upload requires it.
//! - The counter under the upload id counts part writes. Whoever ends the upload requires it as it was read, so a
//!   part that arrives meanwhile is never lost and never left behind.
//! - Parts need no lock: those of different numbers never conflict, and share commits.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Attributes, Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::{Change, Demand},
    keys,
    native::{StagedBlob, native_object},
    objects::ATTEMPTS,
    records::{ObjectRecord, Record, UploadRecord},
};
use crate::{
    location::Location,
    metadata::{Condition, MetadataError, Namespace, Table},
    types::{AccountId, BucketId, ChecksumAlgorithm, ChecksumType, ObjectKey, UploadId},
};

mod complete;
mod parts;
mod plan;
mod race;

pub(super) use complete::Completion;
pub(super) use plan::lay_out_in_one;
pub use plan::{AnnouncedChecksum, CompleteRequest, ListedPart, PartChecksums};
pub(super) use race::PartRaces;

/// An upload to be opened.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its bucket.
    pub bucket: Arc<Bucket>,
    /// The key of the object to be.
    pub key: ObjectKey,
    /// Where its parts go.
    pub location: Arc<Location>,
    /// What is said of the object.
    pub attributes: Attributes,
    /// The checksum of the object; `None` where the client declares none.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
    /// Who opens it.
    pub initiator: AccountId,
    /// His display name.
    pub initiator_display_name: String,
}

/// Part writes and bytes of an upload, as they were read.
#[derive(Clone, Debug, Default)]
struct Counter {
    stored: Option<Bytes>,
    /// Bytes of all parts.
    bytes: i64,
}

impl Counter {
    /// Makes a change depend on no part having come or gone.
    fn require(&self, change: &mut Change<'_>, id: UploadId) {
        let ns = change.ns(Table::Parts);
        change.batch.unchanged(ns, keys::upload_counter(id), self.stored.as_ref());
    }
}

/// Makes a change depend on the upload being open.
fn require_open(change: &mut Change<'_>, key: &ObjectKey, id: UploadId) {
    let ns = change.ns(Table::Uploads);
    change.batch.require(ns, keys::upload(key, id), Condition::Present);
}

impl Storage {
    /// Opens an upload.
    pub async fn create_upload(&self, new: NewUpload) -> StorageResult<UploadId> {
        self.begin_upload(new).await.map(|(id, _)| id)
    }

    /// As [`Storage::create_upload`]; tells what was opened, too.
    pub async fn begin_upload(&self, new: NewUpload) -> StorageResult<(UploadId, UploadRecord)> {
        let NewUpload { bucket, key, location, attributes, checksum, initiator, initiator_display_name } = new;
        self.check_new_lock(&bucket, &attributes.lock).await?;
        let id = self.inner.ids.upload_id();
        self.check_fits(&bucket, &location).await?;
        let encryption = self.encryption_for(&bucket, &attributes.encryption).await?;
        let mut staged = match location.backend.native() {
            None => None,
            Some(store) => {
                let handle = store.create_upload(&native_object(&bucket, &key, &attributes)).await?;
                Some(StagedBlob::upload(self, &location.name, &handle))
            }
        };
        let object =
            ObjectRecord { encryption: encryption.map(|made| made.record), ..attributes.into_record(&location) };
        let mut record = UploadRecord {
            initiated_ms: self.inner.clock.now().as_millis(),
            initiator: initiator.as_str().to_owned(),
            initiator_display_name,
            object: Some(object),
            handle: staged.as_ref().map(|staged| staged.staged.handle.clone()).unwrap_or_default(),
            ..UploadRecord::default()
        };
        record.set_checksum(checksum);
        let mut change = Change::new(&bucket);
        change.demand(Demand::More);
        let ns = change.ns(Table::Uploads);
        change.batch.put(ns, keys::upload(&key, id), record.to_bytes());
        let settle = |staged: &mut Option<StagedBlob>, settled| {
            if let Some(staged) = staged {
                staged.settled = settled;
            }
        };
        // The batch may happen though the caller goes away.
        settle(&mut staged, true);
        match self.commit(change, None).await {
            Ok(()) => Ok((id, record)),
            Err(StorageError::Metadata(MetadataError::Conflict(_))) => {
                settle(&mut staged, false);
                Err(StorageError::NoSuchBucket)
            }
            Err(e) => {
                settle(&mut staged, !matches!(e, StorageError::QuotaExceeded | StorageError::NoSuchBucket));
                Err(e)
            }
        }
    }

    /// An open upload.
    ///
    /// # Errors
    /// [`StorageError::NoSuchUpload`] where there is none of that id and key: never opened, aborted, completed.
    pub async fn upload(&self, bucket: &Bucket, key: &ObjectKey, id: UploadId) -> StorageResult<UploadRecord> {
        self.open_upload(bucket.id, key, id).await?.ok_or(StorageError::NoSuchUpload)
    }

    /// An upload that can be completed: an open one, or one that was completed lately and is asked for again.
    ///
    /// # Errors
    /// As [`Storage::upload`].
    pub async fn completable_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: UploadId,
    ) -> StorageResult<UploadRecord> {
        if let Some(open) = self.open_upload(bucket.id, key, id).await? {
            return Ok(open);
        }
        // In this order: what is being completed is completed, or open again, afterwards.
        if let Some(closing) = self.closing_upload(bucket.id, key, id).await? {
            return Ok(closing);
        }
        if let Some(completed) = self.completed_upload(bucket.id, key, id).await? {
            return Ok(completed);
        }
        self.upload(bucket, key, id).await
    }

    async fn open_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        id: UploadId,
    ) -> StorageResult<Option<UploadRecord>> {
        let stored = self.inner.metadata.get(Namespace::of(Table::Uploads, bucket), &keys::upload(key, id)).await?;
        Ok(stored.as_ref().map(UploadRecord::from_bytes).transpose()?)
    }

    async fn completed_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        id: UploadId,
    ) -> StorageResult<Option<UploadRecord>> {
        let stored =
            self.inner.metadata.get(Namespace::of(Table::Uploads, bucket), &keys::completed_upload(id)).await?;
        let tombstone = stored.as_ref().map(UploadRecord::from_bytes).transpose()?;
        Ok(tombstone.filter(|upload| upload.key == key.as_str()))
    }

    async fn upload_counter(&self, bucket: BucketId, id: UploadId) -> StorageResult<Counter> {
        let stored = self.inner.metadata.get(Namespace::of(Table::Parts, bucket), &keys::upload_counter(id)).await?;
        let (counters, _) = stored.as_deref().unwrap_or_default().as_chunks::<8>();
        let bytes = counters.get(1).map_or(0, |bytes| i64::from_le_bytes(*bytes));
        Ok(Counter { stored, bytes })
    }

    /// Aborts an upload: its parts are gone at once, their bytes soon.
    ///
    /// # Errors
    /// [`StorageError::NoSuchUpload`].
    pub async fn abort_upload(&self, bucket: &Arc<Bucket>, key: &ObjectKey, id: UploadId) -> StorageResult<()> {
        // Against a completion under way, which would take parts that the garbage worker removes for bad ones.
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        self.settle(bucket.id, key).await?;
        for _ in 0..ATTEMPTS {
            let bucket = self.same_bucket(bucket).await?;
            let upload = self.upload(&bucket, key, id).await?;
            let counter = self.upload_counter(bucket.id, id).await?;
            let mut change = Change::new(&bucket);
            require_open(&mut change, key, id);
            counter.require(&mut change, id);
            let ns = change.ns(Table::Uploads);
            change.batch.delete(ns, keys::upload(key, id));
            change.grow_upload(upload.location(), -counter.bytes);
            change.free_upload(&Bytes::copy_from_slice(id.as_bytes()));
            if !upload.handle.is_empty() {
                change.free_staged(upload.object.as_ref().map_or("", |object| &object.location), &upload.handle);
            }
            match self.commit(change, None).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other,
            }
        }
        Err(StorageError::Contention)
    }
}
