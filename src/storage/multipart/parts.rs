//! Taking in parts.

use std::sync::Arc;

use bytes::Bytes;

use super::{race::Racer, require_open};
use crate::{
    data::DataError,
    kms::SecretKey,
    metadata::{MetadataError, Namespace, Table},
    storage::{
        Storage, StorageError, StorageResult,
        buckets::Bucket,
        change::{self, Change},
        encryption::Unlocked,
        keys,
        objects::ATTEMPTS,
        records::{ChecksumRecord, EncryptionMode, ObjectRecord, PartRecord, Record, Segment, UploadRecord},
        write::{Goal, Stored},
    },
    types::{ChecksumType, IncomingBody, ObjectKey, UploadId},
};

/// Attempts before a writer queues for the key: only writers of one and the same part conflict.
const FREE_ATTEMPTS: usize = 4;

impl Storage {
    /// Stores a part; an earlier one of the same number gives way. The last to finish wins.
    ///
    /// # Errors
    /// [`StorageError::NoSuchUpload`]; [`StorageError::Body`] where the bytes are not what was promised.
    pub async fn put_part(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        id: UploadId,
        number: u16,
        body: IncomingBody,
    ) -> StorageResult<PartRecord> {
        self.put_part_with(bucket, key, (id, number), body, None).await
    }

    /// As [`Storage::put_part`], by whoever may have sent a key with the request.
    ///
    /// # Errors
    /// As [`Storage::put_part`] and [`Storage::unlock`].
    pub async fn put_part_with(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        (id, number): (UploadId, u16),
        body: IncomingBody,
        customer: Option<&SecretKey>,
    ) -> StorageResult<PartRecord> {
        let upload = self.upload(bucket, key, id).await?;
        let object = upload.object.as_ref().ok_or(StorageError::Broken("an open upload has an object to be"))?;
        let location = self.location(&object.location)?;
        self.check_part_early(bucket, (id, number), body.length).await?;
        self.check_location_of_part(bucket, (id, number), (&location, body.length)).await?;
        let unlocked = self.unlock(bucket.id, object, customer).await?;
        let racer = self.races_for((&upload, id, number));
        let goal = if upload.handle.is_empty() { Goal::Blob } else { Goal::Part(&upload.handle, number) };
        let stored = self.receive(&location, body, unlocked.as_ref(), goal).await.map_err(|e| match e {
            // The store has no such upload any more.
            StorageError::Data(DataError::NotFound(_)) if !upload.handle.is_empty() => StorageError::NoSuchUpload,
            other => other,
        })?;
        self.name_part((bucket, key), (id, number), (&upload, stored), unlocked.as_ref(), racer).await
    }

    /// A place among those who write a part of a store's own upload.
    pub(in crate::storage) fn races_for(
        &self,
        (upload, id, number): (&UploadRecord, UploadId, u16),
    ) -> Option<Racer<'_>> {
        (!upload.handle.is_empty()).then(|| self.inner.races.enter((id, number)))
    }

    /// Makes stored bytes a part, unless another that was written meanwhile has taken its place at the store.
    pub(in crate::storage) async fn name_part(
        &self,
        (bucket, key): (&Arc<Bucket>, &ObjectKey),
        (id, number): (UploadId, u16),
        (upload, mut stored): (&UploadRecord, Stored),
        unlocked: Option<&Unlocked>,
        racer: Option<Racer<'_>>,
    ) -> StorageResult<PartRecord> {
        let part = self.part_of((upload, number), &stored, unlocked)?;
        let _last_word = match (&racer, stored.part_token()) {
            (Some(racer), Some(token)) => {
                let guard = racer.last_word().await;
                if !racer.stands(&*self.location(upload.location())?, upload, token).await? {
                    return Ok(part);
                }
                Some(guard)
            }
            _ => None,
        };
        let row = keys::part(id, number);
        let mut queue = None;
        for attempt in 0..ATTEMPTS {
            if attempt == FREE_ATTEMPTS {
                queue = self.inner.locks.lock(bucket.id, key).await;
            }
            let old = self.inner.metadata.get(Namespace::of(Table::Parts, bucket.id), &row).await?;
            let mut change = Change::new(bucket);
            require_open(&mut change, key, id);
            replace(&mut change, (id, upload.location()), (&row, old.as_ref()), &part)?;
            stored.name_in(&mut change);
            match self.commit(change, Some(&mut stored)).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {
                    self.same_bucket(bucket).await?;
                    self.upload(bucket, key, id).await?;
                }
                Err(e) => return Err(e),
                Ok(()) => return Ok(part),
            }
        }
        drop(queue);
        Err(StorageError::Contention)
    }

    fn part_of(
        &self,
        (upload, number): (&UploadRecord, u16),
        stored: &Stored,
        unlocked: Option<&Unlocked>,
    ) -> StorageResult<PartRecord> {
        let digests = &stored.digests;
        if upload.checksum().is_some_and(|(declared, _)| declared != digests.checksum.algorithm) {
            return Err(StorageError::Broken("parts have the checksum that their upload declares"));
        }
        let mode = upload.object.as_ref().map(ObjectRecord::encryption_mode);
        // The tag of the object is made of those of its parts: opaque ones make an opaque one.
        let opaque = unlocked.filter(|_| mode.is_some_and(EncryptionMode::has_opaque_tags));
        let md5 = opaque.map_or(digests.md5, |key| key.tag(digests.md5));
        // A part of no bytes is stored nowhere, yet it is a part.
        let place = stored.segments().pop().unwrap_or_default();
        Ok(PartRecord {
            segment: Some(Segment {
                part_number: u32::from(number),
                md5: Bytes::copy_from_slice(&md5),
                checksum: Some(ChecksumRecord::new(&digests.checksum, ChecksumType::FullObject, 0)),
                ..place
            }),
            modified_ms: self.inner.clock.now().as_millis(),
            crc64: None,
        })
    }
}

/// Plans the write of a part in the place of what was read there.
fn replace(
    change: &mut Change<'_>,
    (id, location): (UploadId, &str),
    (row, old): (&Bytes, Option<&Bytes>),
    part: &PartRecord,
) -> StorageResult<()> {
    let parts = change.ns(Table::Parts);
    change.batch.unchanged(parts, row.clone(), old);
    change.batch.put(parts, row.clone(), part.to_bytes());
    let old = old.map(PartRecord::from_bytes).transpose()?;
    if let Some(segment) = old.as_ref().and_then(|old| old.segment.as_ref()) {
        change.free_segment(segment);
    }
    let grown = change::signed(part.size()) - old.as_ref().map_or(0, |old| change::signed(old.size()));
    change.batch.add(parts, keys::upload_counter(id), vec![1, grown]);
    change.grow_upload(location, grown);
    Ok(())
}
