//! Encryption at rest: who makes an object's key, what it is bound to, and when it may change.
//!
//! ```text
//! key manager's key ─ wraps ─► sealing key ─ seals ─► object's key ─ derives ─► a key for each segment ─► its chunks
//!          client's key is the sealing key ─┘
//! ```
//!
//! Invariants:
//! - An object's key is random, and sealed with bucket, mode, key and context bound to it. The object's name is not:
//!   a rename needs no key.
//! - A segment has a random id; its key comes from the object's key, the bucket and that id. No two segments share a
//!   key, so no nonce is used twice, and bytes of one segment are not authentic in another.
//! - Changing how an object is encrypted ([`Storage::reencrypt`]) seals its key anew. Its bytes stay, and so do those of
//!   its annotations: their keys, too, come from the object's key, so the one commit that seals it puts all of them under
//!   the new key of the key manager.
//! - Sizes and checksums in records are those of the text.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Storage, StorageError, StorageResult,
    buckets::Bucket,
    lock::{Bypass, Leave},
    objects::ATTEMPTS,
    records::{EncryptionMode, EncryptionRecord, ObjectRecord},
};
use crate::{
    kms::{
        SecretKey,
        cipher::{derive, open_key, seal_key},
        key_name,
    },
    types::{BucketId, ObjectKey, VersionSelector},
};

mod chunks;
mod stream;

pub(super) use chunks::sealed_size;
pub(super) use stream::{opened, seal_whole, sealed};

/// What a write asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EncryptionRequest {
    /// What the bucket says.
    #[default]
    BucketDefault,
    /// SSE-S3.
    Managed,
    /// SSE-KMS or DSSE-KMS.
    Kms(KmsRequest),
    /// SSE-C with this key.
    Customer(SecretKey),
}

/// SSE-KMS or DSSE-KMS, as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KmsRequest {
    /// The key; `None` for the bucket's, else the server's default one.
    pub key_id: Option<String>,
    /// Whether `aws:kms:dsse` is asked for.
    pub dual_layer: bool,
    /// Encryption context in base64; empty for none.
    pub context: String,
    /// `x-amz-server-side-encryption-bucket-key-enabled`, where the client says something about it.
    pub bucket_key: Option<bool>,
}

/// The key of an object or upload, for those who may use it now.
#[derive(Clone, Debug)]
pub struct Unlocked {
    key: SecretKey,
    bucket: BucketId,
}

/// How a new object is encrypted.
#[derive(Debug)]
pub(super) struct Encryption {
    pub(super) record: EncryptionRecord,
    pub(super) key: Unlocked,
}

impl Unlocked {
    /// An entity tag for text with this MD5: the same for the same text under one key, so that a part sent twice has one
    /// tag, and of no use to those without the key.
    pub(super) fn tag(&self, md5: [u8; 16]) -> [u8; 16] {
        let tag = derive(&self.key, "cloudserver tag 1", &[&md5]);
        tag.expose().first_chunk::<16>().copied().unwrap_or(md5)
    }

    /// The key of the segment with this id.
    fn segment(&self, seal: &[u8]) -> SecretKey {
        derive(&self.key, "cloudserver segment 1", &[&self.bucket.get().to_be_bytes(), seal])
    }
}

impl ObjectRecord {
    /// How the bytes are encrypted.
    pub fn encryption_mode(&self) -> EncryptionMode {
        self.encryption.as_ref().map_or(EncryptionMode::None, EncryptionRecord::mode)
    }
}

/// What an object's key is bound to, each part with its length before it.
fn bound(bucket: BucketId, record: &EncryptionRecord) -> Vec<u8> {
    let mut all = b"cloudserver object key 1".to_vec();
    all.extend_from_slice(&bucket.get().to_be_bytes());
    all.extend_from_slice(&record.mode.to_be_bytes());
    for part in [&record.key_id, &record.context] {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part.as_bytes());
    }
    all
}

impl Storage {
    /// How a new object of the bucket is encrypted; `None` for not at all.
    pub(super) async fn encryption_for(
        &self,
        bucket: &Bucket,
        asked: &EncryptionRequest,
    ) -> StorageResult<Option<Encryption>> {
        let record = match asked {
            EncryptionRequest::BucketDefault => match &bucket.record.encryption {
                Some(set) if set.mode() != EncryptionMode::None => EncryptionRecord {
                    mode: set.mode,
                    key_id: self.key_id(Some(&set.key_id)),
                    bucket_key: set.mode().names_key() && set.bucket_key.unwrap_or_default(),
                    ..EncryptionRecord::default()
                },
                _ => return Ok(None),
            },
            EncryptionRequest::Managed => EncryptionRecord {
                mode: EncryptionMode::Managed.into(),
                key_id: self.key_id(None),
                ..EncryptionRecord::default()
            },
            EncryptionRequest::Kms(asked) => self.kms_record(bucket, asked),
            EncryptionRequest::Customer(customer) => {
                let record = EncryptionRecord { mode: EncryptionMode::Customer.into(), ..EncryptionRecord::default() };
                let key = SecretKey::random()?;
                return Ok(Some(seal_object_key(bucket.id, record, customer, key)?));
            }
        };
        let made = self.inner.kms.generate(key_name(&record.key_id)?).await?;
        let record = EncryptionRecord { wrapped: made.wrapped, ..record };
        Ok(Some(seal_object_key(bucket.id, record, &made.key, SecretKey::random()?)?))
    }

    fn key_id(&self, named: Option<&str>) -> String {
        named.filter(|id| !id.is_empty()).unwrap_or(self.inner.kms.default_key()).to_owned()
    }

    /// A key that is not named is the bucket's, where the bucket has one.
    fn kms_record(&self, bucket: &Bucket, asked: &KmsRequest) -> EncryptionRecord {
        let set = bucket.record.encryption.as_ref().filter(|set| set.mode().names_key());
        let named = asked.key_id.as_deref().or(set.map(|set| set.key_id.as_str()));
        let bucket_key = asked.bucket_key.or(set.and_then(|set| set.bucket_key));
        let mode = if asked.dual_layer { EncryptionMode::DualLayer } else { EncryptionMode::Kms };
        EncryptionRecord {
            mode: mode.into(),
            key_id: self.key_id(named),
            context: asked.context.clone(),
            // A bucket key saves calls for one layer only (S3 reference, "`DSSE-KMS`").
            bucket_key: bucket_key.unwrap_or_default() && !asked.dual_layer,
            ..EncryptionRecord::default()
        }
    }

    /// The key of a version, or of an object to be; `None` where it is not encrypted.
    ///
    /// # Errors
    /// [`StorageError::KeyRequired`], [`StorageError::KeyNotApplicable`] and [`StorageError::WrongKey`] where the
    /// client's key is missing, not called for, or another one; [`StorageError::Kms`].
    pub async fn unlock(
        &self,
        bucket: BucketId,
        record: &ObjectRecord,
        customer: Option<&SecretKey>,
    ) -> StorageResult<Option<Unlocked>> {
        let Some(encryption) = &record.encryption else {
            return if customer.is_none() { Ok(None) } else { Err(StorageError::KeyNotApplicable) };
        };
        if let Some(key) = customers(bucket, encryption, customer)? {
            return Ok(Some(key));
        }
        let sealing = self.inner.kms.unwrap(key_name(&encryption.key_id)?, &encryption.wrapped).await?;
        let key = open_key(&sealing, &bound(bucket, encryption), &encryption.sealed_key);
        let key = key.map_err(|_| StorageError::Broken("an object's key is as it was sealed"))?;
        Ok(Some(Unlocked { key, bucket }))
    }

    /// Checks the client's key without asking the key manager for anything: enough where no byte is read.
    ///
    /// # Errors
    /// As [`Storage::unlock`].
    pub fn check_customer_key(
        &self,
        bucket: BucketId,
        record: &ObjectRecord,
        customer: Option<&SecretKey>,
    ) -> StorageResult<()> {
        match &record.encryption {
            None if customer.is_none() => Ok(()),
            None => Err(StorageError::KeyNotApplicable),
            Some(encryption) => customers(bucket, encryption, customer).map(drop),
        }
    }

    /// Seals the key of a version anew, as the request says. Bytes, tag and date of the version stay.
    ///
    /// # Errors
    /// [`StorageError::Lock`] for a locked version (S3 reference, "`UpdateObjectEncryption`");
    /// [`StorageError::NotReencryptable`] for versions that are not encrypted by the key manager, or in two layers;
    /// as [`Storage::version`].
    pub async fn reencrypt(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        asked: &KmsRequest,
    ) -> StorageResult<ObjectRecord> {
        for _ in 0..ATTEMPTS {
            let record = self.version(bucket, key, selector).await?;
            let old = record.encryption.clone();
            let new = Some(self.resealed(bucket, &record, asked).await?);
            let replace = |record: &mut ObjectRecord| {
                Leave { now: self.inner.clock.now(), bypass: Bypass::No }.remove(record)?;
                // Another version may have become the newest, or another request was faster.
                if record.encryption == old {
                    record.encryption.clone_from(&new);
                }
                Ok(())
            };
            let updated = self.edit_version(bucket, key, selector, replace).await?;
            if updated.encryption == new {
                return Ok(updated);
            }
        }
        Err(StorageError::Contention)
    }

    async fn resealed(
        &self,
        bucket: &Bucket,
        record: &ObjectRecord,
        asked: &KmsRequest,
    ) -> StorageResult<EncryptionRecord> {
        let mode = record.encryption_mode();
        let (EncryptionMode::Managed | EncryptionMode::Kms, Some(old)) = (mode, &record.encryption) else {
            return Err(StorageError::NotReencryptable(mode));
        };
        let new = EncryptionRecord { context: old.context.clone(), ..self.kms_record(bucket, asked) };
        if key_name(&new.key_id)? == key_name(&old.key_id)? && bound(bucket.id, &new) == bound(bucket.id, old) {
            let wrapped = self.inner.kms.rewrap(key_name(&old.key_id)?, &old.wrapped).await?;
            return Ok(EncryptionRecord { wrapped, bucket_key: new.bucket_key, ..old.clone() });
        }
        let unlocked = self.unlock(bucket.id, record, None).await?;
        let unlocked = unlocked.ok_or(StorageError::Broken("an encrypted object has a key"))?;
        let fresh = self.inner.kms.generate(key_name(&new.key_id)?).await?;
        let new = EncryptionRecord { wrapped: fresh.wrapped, ..new };
        Ok(seal_object_key(bucket.id, new, &fresh.key, unlocked.key)?.record)
    }
}

/// The key of an object that is encrypted with its client's key; `None` for other objects.
fn customers(
    bucket: BucketId,
    encryption: &EncryptionRecord,
    customer: Option<&SecretKey>,
) -> StorageResult<Option<Unlocked>> {
    match (encryption.mode(), customer) {
        (EncryptionMode::Customer, None) => Err(StorageError::KeyRequired),
        (EncryptionMode::Customer, Some(customer)) => {
            let key = open_key(customer, &bound(bucket, encryption), &encryption.sealed_key);
            Ok(Some(Unlocked { key: key.map_err(|_| StorageError::WrongKey)?, bucket }))
        }
        (_, Some(_)) => Err(StorageError::KeyNotApplicable),
        // A mode of a newer release reads as none: its objects cannot be opened here.
        (EncryptionMode::None, None) => Err(StorageError::Broken("an encrypted object has a known mode")),
        (_, None) => Ok(None),
    }
}

fn seal_object_key(
    bucket: BucketId,
    record: EncryptionRecord,
    sealing: &SecretKey,
    key: SecretKey,
) -> StorageResult<Encryption> {
    let salt = SecretKey::random()?;
    let sealed = seal_key(sealing, salt.expose(), &bound(bucket, &record), &key);
    let sealed = sealed.map_err(|_| StorageError::Broken("every key can be sealed"))?;
    let record = EncryptionRecord { sealed_key: Bytes::from(sealed), ..record };
    Ok(Encryption { record, key: Unlocked { key, bucket } })
}
