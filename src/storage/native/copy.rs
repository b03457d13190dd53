//! Copies inside one store: no byte comes through here.
//!
//! A copy gets the digests of its source, so they must be those of the very bytes that are copied: the source is whole,
//! not encrypted by us, one blob, and has a plain MD5 for its tag and the checksum that is wanted. All others are
//! copied with their bytes.

use std::{ops::Range, sync::Arc};

use super::{StagedBlob, native, rename::blob_size};
use crate::{
    data::{BlobId, DataError, NativeObject, NativeSource},
    location::Location,
    storage::{
        EncryptionRequest, NewObject, Storage, StorageError, StorageResult,
        buckets::Bucket,
        objects::Source,
        records::{BucketEncryption, ChecksumRecord, EncryptionMode, ObjectRecord, PartRecord},
        write::Stored,
    },
    types::{BodyDigests, ChecksumAlgorithm, ObjectKey, UploadId},
};

/// A copy that the store can make.
#[derive(Debug)]
pub(in crate::storage) struct StoreCopy<'a> {
    source: &'a ObjectRecord,
    blob: BlobId,
    size: u64,
    digests: BodyDigests,
}

/// What stands for a store that cannot make the copy after all; nothing has happened.
const CANNOT: StorageError = StorageError::Vanished;

/// What is known of the bytes of an object in one piece.
fn digests(record: &ObjectRecord, wanted: ChecksumAlgorithm) -> Option<BodyDigests> {
    let md5 = hex::decode(&record.etag).ok()?.try_into().ok()?;
    let checksum = record.checksum.as_ref().filter(|checksum| !checksum.composite);
    let checksum = checksum.and_then(ChecksumRecord::checksum).filter(|checksum| checksum.algorithm == wanted)?;
    Some(BodyDigests { size: record.size, md5, checksum })
}

impl Storage {
    /// The copy of `source` to a location, if the store there can make it.
    fn store_copy<'a>(
        &self,
        source: &'a ObjectRecord,
        location: &Location,
        checksum: ChecksumAlgorithm,
    ) -> Option<StoreCopy<'a>> {
        location.backend.native()?;
        let whole = self.named_blob(source).filter(|_| source.encryption.is_none() && source.size > 0)?;
        let from = self.location(&whole.location).ok()?;
        if from.name != location.name && !Arc::ptr_eq(&from.backend, &location.backend) {
            return None;
        }
        let (blob, size) = (BlobId::new(whole.blob.as_str()), blob_size(source, whole));
        Some(StoreCopy { source, blob, size, digests: digests(source, checksum)? })
    }

    /// Writes a copy of a version that was just read, where the store that has it can do it; `None` where it cannot.
    ///
    /// # Errors
    /// As [`Storage::put_object`].
    pub async fn copy_at_store(
        &self,
        new: &NewObject,
        source: &ObjectRecord,
        checksum: ChecksumAlgorithm,
    ) -> StorageResult<Option<ObjectRecord>> {
        let bucket_default = new.bucket.record.encryption.as_ref().map(BucketEncryption::mode);
        let is_plain = new.attributes.encryption == EncryptionRequest::BucketDefault
            && bucket_default.is_none_or(|mode| mode == EncryptionMode::None);
        let Some(copy) = self.store_copy(source, &new.location, checksum).filter(|_| is_plain) else {
            return Ok(None);
        };
        match Box::pin(self.put_bytes(new.clone(), (Some(source.size), Source::Store(&copy)))).await {
            Err(StorageError::Vanished) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Stages such a copy.
    ///
    /// # Errors
    /// [`StorageError::Vanished`] where the store cannot, or the source is not there any more.
    pub(in crate::storage) async fn stage_copy(
        &self,
        location: &Location,
        copy: &StoreCopy<'_>,
        object: &NativeObject,
    ) -> StorageResult<Stored> {
        let source = NativeSource { blob: &copy.blob, range: 0..copy.size, size: copy.size };
        match native(location)?.stage_copy(object, source).await {
            Ok(Some(staged)) => {
                let staged = StagedBlob::new(self, &location.name, staged);
                Ok(Stored::staged(copy.digests.clone(), staged))
            }
            Ok(None) | Err(DataError::NotFound(_)) => Err(CANNOT),
            Err(e) => Err(e.into()),
        }
    }

    /// Copies a version that was just read to a part, where the store that has it can do it; `None` where it cannot.
    ///
    /// # Errors
    /// As [`Storage::put_part`].
    pub async fn copy_part_at_store(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        (id, number): (UploadId, u16),
        (source, range): (&ObjectRecord, Range<u64>),
        checksum: ChecksumAlgorithm,
    ) -> StorageResult<Option<PartRecord>> {
        let upload = self.upload(bucket, key, id).await?;
        let object = upload.object.as_ref().ok_or(StorageError::Broken("an open upload has an object to be"))?;
        if upload.handle.is_empty() || object.encryption.is_some() || range != (0..source.size) {
            return Ok(None);
        }
        let location = self.location(&object.location)?;
        let Some(copy) = self.store_copy(source, &location, checksum) else { return Ok(None) };
        self.check_part_early(bucket, (id, number), Some(copy.source.size)).await?;
        let from = NativeSource { blob: &copy.blob, range: 0..copy.size, size: copy.size };
        let racer = self.races_for((&upload, id, number));
        let token = match native(&location)?.copy_part(&upload.handle, u32::from(number), from).await {
            Ok(Some(token)) => token,
            // Who copies the bytes finds out whether source or upload is gone.
            Ok(None) | Err(DataError::NotFound(_)) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let stored = Stored::part(copy.digests.clone(), &location, token);
        self.name_part((bucket, key), (id, number), (&upload, stored), None, racer).await.map(Some)
    }
}
