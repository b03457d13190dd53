//! Why the engine could not do it.

use thiserror::Error;

use super::{
    lock::LockError,
    records::{EncryptionMode, ObjectRecord, RecordError},
};
use crate::{
    data::DataError,
    kms::KmsError,
    metadata::MetadataError,
    types::{BodyError, ChecksumAlgorithm, ChecksumType, ETag},
};

/// Which condition of a write did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedCondition {
    /// `If-Match`.
    IfMatch,
    /// `If-None-Match`.
    IfNoneMatch,
    /// `x-amz-if-match-size`.
    IfMatchSize,
    /// `x-amz-if-match-last-modified-time`.
    IfMatchLastModified,
    /// A condition that a rename puts on its source.
    RenameSource,
    /// A date that a rename asks of what is at its destination.
    RenameDestination,
    /// `x-cloudserver-unless-deleted`.
    UnlessDeleted,
    /// `x-cloudserver-if-newest`.
    IfNewest,
    /// It held for what another server has, and the key has come here since.
    Overtaken,
}

/// How the completion of an upload contradicts the upload.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CompletionFault {
    /// The list names no part.
    #[error("the list names no part")]
    NoParts,
    /// The numbers of the list do not ascend.
    #[error("the numbers of the parts do not ascend")]
    Order,
    /// `x-amz-mp-object-size` is not the sum of the listed parts.
    #[error("the object has {actual} bytes, not {announced}")]
    ObjectSize {
        /// As the client announced it, in bytes.
        announced: u64,
        /// As the parts have it, in bytes.
        actual: u64,
    },
    /// `x-amz-checksum-type` is not that of the upload; holds that of the upload.
    #[error("the upload has checksums of type {}", .0.name())]
    ChecksumType(ChecksumType),
    /// The checksum of the object is not the one announced; holds the algorithm announced.
    #[error("the {0} checksum of the object does not match")]
    ObjectChecksum(ChecksumAlgorithm),
    /// A part is listed with a checksum of another algorithm than the upload's.
    #[error("part {number} is listed with a checksum of another algorithm, {listed}")]
    PartChecksumAlgorithm {
        /// Number of the part.
        number: u16,
        /// The algorithm listed.
        listed: ChecksumAlgorithm,
    },
    /// With composite checksums each part is listed with its checksum.
    #[error("part {number} is listed without its {algorithm} checksum")]
    PartChecksumMissing {
        /// Number of the part.
        number: u16,
        /// The algorithm of the upload.
        algorithm: ChecksumAlgorithm,
    },
    /// With composite checksums the numbers are consecutive from 1.
    #[error("the numbers of parts with composite checksums are not consecutive")]
    NotConsecutive,
}

/// Why the engine could not do it.
#[derive(Debug, Error)]
pub enum StorageError {
    /// No bucket of that name.
    #[error("no such bucket")]
    NoSuchBucket,
    /// The name is taken by the caller himself.
    #[error("the bucket exists and is the caller's")]
    BucketAlreadyOwnedByYou,
    /// The name is taken by somebody else.
    #[error("the bucket exists")]
    BucketAlreadyExists,
    /// Versions or markers are left in the bucket.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The bucket has as many settings of the kind as it may have.
    #[error("the bucket has too many settings of this kind")]
    TooManySettings,
    /// What was asked for works in buckets only that keep versions.
    #[error("versioning is not enabled")]
    VersioningNotEnabled,
    /// Something in force in the bucket needs its versions.
    #[error("a replication configuration needs versioning")]
    VersioningNeeded,
    /// No current version; holds the delete marker that hides older ones.
    #[error("no such key")]
    NoSuchKey(Option<Box<ObjectRecord>>),
    /// The key has no such version.
    #[error("no such version")]
    NoSuchVersion,
    /// The version is a delete marker.
    #[error("the version is a delete marker")]
    IsDeleteMarker(Box<ObjectRecord>),
    /// Object lock forbids it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A condition of the write does not hold.
    #[error("condition {0:?} does not hold")]
    PreconditionFailed(FailedCondition),
    /// Others changed the key again and again between read and commit.
    #[error("too many concurrent changes of one key")]
    Contention,
    /// The bytes went away between reading the record and opening them: read the record again.
    #[error("the version was replaced while it was opened")]
    Vanished,
    /// No open upload of that id and key.
    #[error("no such upload")]
    NoSuchUpload,
    /// A part of the list is not there, or has another tag or checksum.
    #[error("part {number} is not there or not as listed")]
    InvalidPart {
        /// Its number.
        number: u16,
        /// The tag listed.
        etag: ETag,
    },
    /// A part other than the last is too small.
    #[error("part {number} has {size} bytes, fewer than {minimum}")]
    EntityTooSmall {
        /// Its number.
        number: u16,
        /// Its tag.
        etag: ETag,
        /// Its bytes.
        size: u64,
        /// Fewest bytes allowed.
        minimum: u64,
    },
    /// The completion of an upload contradicts the upload.
    #[error(transparent)]
    InvalidCompletion(#[from] CompletionFault),
    /// The object is encrypted with its client's key, and the client has not sent it.
    #[error("the object is encrypted with a key that the request lacks")]
    KeyRequired,
    /// The client has sent a key for an object that is not encrypted with one.
    #[error("the object is not encrypted with a client's key")]
    KeyNotApplicable,
    /// The object is encrypted with another key of its client.
    #[error("the object is encrypted with another key")]
    WrongKey,
    /// The key of a version encrypted so, or not at all, cannot be sealed anew.
    #[error("the key of a version in mode {0:?} cannot be sealed anew")]
    NotReencryptable(EncryptionMode),
    /// Nothing can be appended to an encrypted object, nor created encrypted by an append.
    #[error("an append to or of an encrypted object")]
    AppendEncrypted,
    /// The key manager could not do it.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// The version has no annotation of that name.
    #[error("no such annotation")]
    NoSuchAnnotation,
    /// The version has as many annotations as it may.
    #[error("too many annotations")]
    TooManyAnnotations,
    /// The object is encrypted with its client's key, or is to be: it has no annotations.
    #[error("an annotation of an object encrypted with its client's key")]
    NotAnnotatable,
    /// The bucket keeps versions, or did: nothing can be renamed or appended to.
    #[error("the bucket has versions")]
    Versioned,
    /// An idempotency token came again with another request.
    #[error("the client token was used for another request")]
    TokenReused,
    /// An append begins somewhere else than the object ends.
    #[error("an append at byte {offset} of an object of {size}")]
    WriteOffset {
        /// Where the client would go on, in bytes.
        offset: u64,
        /// Bytes of the object.
        size: u64,
    },
    /// The object has as many segments as it may.
    #[error("too many parts")]
    TooManyParts,
    /// An append came with another checksum than the object has; holds the algorithm of the object's.
    #[error("the object's checksum is of algorithm {0}")]
    AppendChecksum(ChecksumAlgorithm),
    /// The version is archived and not restored; holds its storage class.
    #[error("the version is in the archive {0}")]
    Archived(String),
    /// The version needs no restore: it can always be read; holds its storage class, empty for the standard one.
    #[error("the version is in no archive")]
    NotArchived(String),
    /// The archive cannot be read as fast as asked for.
    #[error("the archive has no such retrieval tier")]
    RetrievalTier,
    /// The bucket has no room for it.
    #[error("the bucket's quota is exceeded")]
    QuotaExceeded,
    /// The location has no room for it.
    #[error("location {0} is full")]
    LocationFull(String),
    /// The location keeps no versions, and the bucket does.
    #[error("the location keeps no versions")]
    NotVersionable,
    /// The location can serve one bucket, and serves another.
    #[error("location {0} serves another bucket")]
    LocationTaken(String),
    /// The store at a location does not have what its record names; holds the location.
    #[error("what is to be at location {0} is not there")]
    LocationLost(String),
    /// A location named by a record is not configured.
    #[error("location {0} is not configured")]
    UnknownLocation(String),
    /// Records contradict each other; holds the broken invariant.
    #[error("broken invariant: {0}")]
    Broken(&'static str),
    /// The metadata store failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The data backend failed.
    #[error(transparent)]
    Data(DataError),
    /// The incoming body was not what the client promised, or ended early.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A stored record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<DataError> for StorageError {
    fn from(e: DataError) -> Self {
        match e {
            DataError::Body(body) => Self::Body(body),
            other => Self::Data(other),
        }
    }
}

/// The engine's results.
pub type StorageResult<T> = Result<T, StorageError>;
