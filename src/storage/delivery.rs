//! What the server itself writes into buckets: access logs, inventories. It asks for permission as AWS's services do.
//!
//! A delivery is a write like any other: the target's default encryption, default retention and limits hold for it.
//! What is written belongs to the owner of the target.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::{
    Attributes, Bucket, EncryptionRequest, PutObject, Storage, StorageError, WriteCondition,
    records::{ContentHeaders, EncryptionMode, JournalOp},
};
use crate::{
    auth::{
        AccountNumbers, BucketFacts, ConditionKey, DeliveryService, Facts, PolicyFacts, Resource, authorize_delivery,
    },
    kms::KmsError,
    types::{
        AccountId, Acl, BodyDigests, BucketName, Checksum, ChecksumAlgorithm, DigestSlot, IncomingBody, ObjectKey,
        Timestamp, body,
        digest::{Digest, Md5},
    },
};

/// Who delivers, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The service.
    pub service: DeliveryService,
    /// The bucket that the delivery tells of.
    pub source: &'a BucketName,
    /// Its owner.
    pub owner: &'a AccountId,
    /// What policies call accounts.
    pub numbers: &'a dyn AccountNumbers,
}

/// What is delivered.
#[derive(Debug)]
pub struct Parcel {
    /// The bucket it goes to.
    pub target: Arc<Bucket>,
    /// Its key.
    pub key: ObjectKey,
    /// Its bytes.
    pub bytes: Bytes,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Its list; `None` for the owner's full control.
    pub acl: Option<Acl>,
    /// How it is encrypted.
    pub encryption: EncryptionRequest,
}

/// Why nothing was delivered.
#[derive(Debug, Error)]
pub enum DeliveryError {
    /// The target does not permit it.
    #[error("the target bucket does not permit the delivery")]
    Refused,
    /// The names that the sender gives do not fit behind the prefix.
    #[error("the prefix is too long: names behind it are no keys")]
    KeyTooLong,
    /// The write failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl DeliveryError {
    /// Whether the same may work later, without anybody doing something about it.
    pub fn passes(&self) -> bool {
        match self {
            Self::Refused | Self::KeyTooLong => false,
            Self::Storage(error) => error.passes(),
        }
    }
}

impl StorageError {
    /// Whether the same may work later: a fault of the stores, not a rule.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::Metadata(_)
                | Self::Data(_)
                | Self::Contention
                | Self::UnknownLocation(_)
                | Self::Kms(KmsError::Unavailable(_))
        )
    }
}

impl Sender<'_> {
    /// Whether the target lets this sender write the key.
    pub fn may_write(&self, target: &Bucket, key: &ObjectKey, encryption: &EncryptionRequest, now: Timestamp) -> bool {
        let facts = DeliveryFacts { sender: *self, target, encryption, now };
        let resource = Resource::Object(&target.name, key);
        let policy = target.policy.as_deref().map(|policy| PolicyFacts { policy, resource, facts: &facts });
        let bucket = BucketFacts {
            owner: &target.owner,
            acl: &target.acl,
            policy,
            limits: target.limits,
            public_read_override: false,
        };
        authorize_delivery(self.service, &bucket, self.owner).is_allowed()
    }
}

/// What a target's policy may ask of a delivery. It comes from within: no address, no signature, no client.
#[derive(Debug)]
struct DeliveryFacts<'a> {
    sender: Sender<'a>,
    target: &'a Bucket,
    encryption: &'a EncryptionRequest,
    now: Timestamp,
}

impl Facts for DeliveryFacts<'_> {
    fn values(&self, key: &ConditionKey) -> Vec<String> {
        self.value(key).into_iter().collect()
    }
}

impl DeliveryFacts<'_> {
    fn value(&self, key: &ConditionKey) -> Option<String> {
        let number = |account| self.sender.numbers.number_of(account).map(|number| number.to_string());
        match key {
            ConditionKey::SecureTransport | ConditionKey::ByService("aws:PrincipalIsAWSService") => {
                Some("true".to_owned())
            }
            ConditionKey::ByService(_) => Some("false".to_owned()),
            ConditionKey::Absent("aws:SourceArn") => Some(format!("arn:aws:s3:::{}", self.sender.source)),
            ConditionKey::Absent("aws:SourceAccount") => number(self.sender.owner),
            ConditionKey::Absent("aws:PrincipalServiceName" | "aws:PrincipalServiceNamesList") => {
                Some(self.sender.service.name().to_owned())
            }
            ConditionKey::ResourceAccount => number(&self.target.owner),
            ConditionKey::CurrentTime => Some(self.now.to_iso8601()),
            ConditionKey::EpochTime => Some(self.now.as_secs().to_string()),
            ConditionKey::BucketTag(name) => {
                self.target.record.tags.iter().find(|tag| tag.name == *name).map(|tag| tag.value.clone())
            }
            ConditionKey::Header(name) => self.header(name),
            _ => None,
        }
    }

    /// What a client's headers would say.
    fn header(&self, name: &str) -> Option<String> {
        let said = match (name, self.encryption) {
            // S3 user guide, "Creating a destination bucket policy": reports come with this list.
            ("x-amz-acl", _) if self.sender.service == DeliveryService::Inventory => "bucket-owner-full-control",
            ("x-amz-server-side-encryption", EncryptionRequest::Managed) => EncryptionMode::Managed.header()?,
            ("x-amz-server-side-encryption", EncryptionRequest::Kms(_)) => EncryptionMode::Kms.header()?,
            ("x-amz-server-side-encryption-aws-kms-key-id", EncryptionRequest::Kms(asked)) => {
                asked.key_id.as_deref()?
            }
            _ => return None,
        };
        Some(said.to_owned())
    }
}

impl Storage {
    /// Writes an object for a service of the server's own. Returns what was computed of its bytes.
    ///
    /// # Errors
    /// [`DeliveryError::Refused`] where the target does not permit it; else as [`Storage::put_object`].
    pub async fn deliver(&self, sender: Sender<'_>, parcel: Parcel) -> Result<BodyDigests, DeliveryError> {
        let Parcel { target, key, bytes, content_type, acl, encryption } = parcel;
        if !sender.may_write(&target, &key, &encryption, self.inner.clock.now()) {
            return Err(DeliveryError::Refused);
        }
        let attributes = Attributes {
            owner: Some(target.owner.clone()),
            owner_display_name: target.record.owner_display_name.clone(),
            content: ContentHeaders { content_type: Some(content_type.to_owned()), ..ContentHeaders::default() },
            acl,
            encryption,
            ..Attributes::default()
        };
        let digests = digests(bytes.clone()).await?;
        let slot = DigestSlot::default();
        slot.set(digests.clone());
        let length = Some(bytes.len() as u64);
        let put = PutObject {
            location: self.location(&target.record.location)?,
            bucket: target,
            key,
            attributes,
            condition: WriteCondition::Always,
            body: IncomingBody { length, stream: body::once(bytes), digests: slot },
            op: JournalOp::ObjectPut,
        };
        self.put_object(put).await?;
        Ok(digests)
    }
}

/// Digests of a body; those of a large one are no work for a thread that serves requests.
async fn digests(bytes: Bytes) -> Result<BodyDigests, StorageError> {
    let digest = move || BodyDigests {
        size: bytes.len() as u64,
        md5: Md5::digest(&bytes).into(),
        checksum: Checksum::of(ChecksumAlgorithm::Crc64Nvme, &bytes),
    };
    tokio::task::spawn_blocking(digest).await.map_err(|_| StorageError::Broken("digests do not panic"))
}
