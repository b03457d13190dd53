//! Texts beside an object, its annotations: encrypted as the object is (S3 reference, "`PutObjectAnnotation`").
//!
//! Each has a key of its own, so that copies need none of the source's keys and a new object's annotations can be
//! written before the object is. A client's key would be needed to read them: such objects have none.

use bytes::Bytes;

use super::{Encryption, EncryptionRequest, opened, seal_whole};
use crate::{
    storage::{
        Storage, StorageError, StorageResult,
        buckets::Bucket,
        records::{AnnotationRecord, EncryptionMode, EncryptionRecord, ObjectRecord},
    },
    types::{
        ETag, body,
        digest::{Digest, Md5},
    },
};

impl Storage {
    /// How texts beside an object are encrypted; `None` for not at all.
    ///
    /// # Errors
    /// [`StorageError::AnnotationKey`] where the object has its client's key.
    pub(in crate::storage) async fn encryption_beside(
        &self,
        bucket: &Bucket,
        object: &ObjectRecord,
    ) -> StorageResult<Option<Encryption>> {
        let Some(record) = &object.encryption else { return Ok(None) };
        if record.mode() == EncryptionMode::Customer {
            return Err(StorageError::AnnotationKey);
        }
        let record = EncryptionRecord {
            mode: record.mode,
            key_id: record.key_id.clone(),
            context: record.context.clone(),
            bucket_key: record.bucket_key,
            ..EncryptionRecord::default()
        };
        self.fresh_key(bucket.id, record).await.map(Some)
    }

    /// As [`Storage::encryption_beside`], for an object to be.
    ///
    /// # Errors
    /// As [`Storage::encryption_beside`].
    pub(in crate::storage) async fn encryption_beside_new(
        &self,
        bucket: &Bucket,
        asked: &EncryptionRequest,
    ) -> StorageResult<Option<Encryption>> {
        match asked {
            EncryptionRequest::Customer(_) => Err(StorageError::AnnotationKey),
            asked => self.encryption_for(bucket, asked).await,
        }
    }

    /// The text of an annotation, of the bytes that are stored of it.
    pub(in crate::storage) async fn open_text(
        &self,
        bucket: &Bucket,
        annotation: &AnnotationRecord,
        stored: Bytes,
    ) -> StorageResult<Bytes> {
        if annotation.encryption.is_none() {
            return Ok(stored);
        }
        let beside = ObjectRecord { encryption: annotation.encryption.clone(), ..ObjectRecord::default() };
        let key = self.unlock(bucket.id, &beside, None).await?;
        let key = key.ok_or(StorageError::Broken("an encrypted text has a key"))?;
        let whole = 0..annotation.size;
        let text = opened(&key, &annotation.body, annotation.size, &whole)?.text(body::once(stored));
        let limit = usize::try_from(annotation.size).unwrap_or(usize::MAX);
        Ok(body::collect(text, limit).await?)
    }
}

/// What is stored of a text, and its tag: no digest of the text where an object's is none.
pub(in crate::storage) fn seal_text(
    made: Option<&Encryption>,
    annotation: &mut AnnotationRecord,
    text: &Bytes,
) -> StorageResult<Bytes> {
    let md5: [u8; 16] = Md5::digest(text).into();
    let opaque = made.filter(|made| made.record.mode().has_opaque_tags());
    ETag::from_md5(opaque.map_or(md5, |made| made.key.tag(md5))).as_str().clone_into(&mut annotation.etag);
    annotation.encryption = made.map(|made| made.record.clone());
    made.map_or_else(|| Ok(text.clone()), |made| seal_whole(&made.key, &annotation.body, text))
}
