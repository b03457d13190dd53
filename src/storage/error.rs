//! Why the engine could not do it.

use thiserror::Error;

use super::records::{ObjectRecord, RecordError};
use crate::{
    data::DataError,
    metadata::MetadataError,
    types::{BodyError, ETag},
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
    /// No current version; holds the delete marker that hides older ones.
    #[error("no such key")]
    NoSuchKey(Option<Box<ObjectRecord>>),
    /// The key has no such version.
    #[error("no such version")]
    NoSuchVersion,
    /// The version is a delete marker.
    #[error("the version is a delete marker")]
    IsDeleteMarker(Box<ObjectRecord>),
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
    /// The object of a completed upload is not as the client announced it.
    #[error("{0}")]
    InvalidCompletion(&'static str),
    /// The checksum of the completed object is not the one announced.
    #[error("the checksum of the completed object does not match")]
    CompletionChecksum,
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
