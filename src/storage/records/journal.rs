//! Records of what happened and of what is left to do.

use bytes::Bytes;

use super::object::Segment;

/// What a journal entry tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum JournalOp {
    /// A bucket was created.
    BucketCreated = 0,
    /// A bucket's settings changed.
    BucketChanged = 1,
    /// A bucket was deleted.
    BucketDeleted = 2,
    /// A version was written.
    ObjectPut = 3,
    /// A version was written by copy.
    ObjectCopied = 4,
    /// A version was written by completing an upload.
    UploadCompleted = 5,
    /// A delete marker was written.
    MarkerCreated = 6,
    /// A version or marker was removed.
    VersionDeleted = 7,
    /// Tags, list or other metadata of a version changed.
    VersionChanged = 8,
}

/// One mutation, in the batch that made it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct JournalEntry {
    /// What happened.
    #[prost(enumeration = "JournalOp", tag = "1")]
    pub op: i32,
    /// The bucket's name.
    #[prost(string, tag = "2")]
    pub bucket: String,
    /// The key; empty for buckets.
    #[prost(string, tag = "3")]
    pub key: String,
    /// Stamp of the version.
    #[prost(fixed64, tag = "4")]
    pub stamp: u64,
    /// Commit time, in milliseconds since the epoch.
    #[prost(uint64, tag = "5")]
    pub at_ms: u64,
    /// Replication group of the version.
    #[prost(bytes = "bytes", tag = "6")]
    pub group: Bytes,
}

/// What kind of garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum GarbageKind {
    /// The listed segments.
    Segments = 0,
    /// All parts and layout rows of an upload.
    Upload = 1,
    /// Everything a deleted bucket left: uploads, parts, bodies.
    Bucket = 2,
}

/// Data that no record names any more; the garbage worker removes it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Garbage {
    /// What is to be removed.
    #[prost(enumeration = "GarbageKind", tag = "1")]
    pub kind: i32,
    /// Blobs, for [`GarbageKind::Segments`].
    #[prost(message, repeated, tag = "2")]
    pub segments: Vec<Segment>,
    /// The bucket's identifier.
    #[prost(fixed64, tag = "3")]
    pub bucket: u64,
    /// The upload whose parts these are or were; its readers are waited for.
    #[prost(bytes = "bytes", tag = "4")]
    pub upload_id: Bytes,
}

/// A blob that is being written.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pending {
    /// Location of the blob.
    #[prost(string, tag = "1")]
    pub location: String,
    /// Name of the blob.
    #[prost(string, tag = "2")]
    pub blob: String,
    /// Where these are copies of annotations and no blob: their bucket.
    #[prost(fixed64, tag = "3")]
    pub bucket: u64,
    /// The id of those annotations; empty for a blob.
    #[prost(bytes = "bytes", tag = "4")]
    pub annotations: Bytes,
}
