//! Records of what happened and of what is left to do.

use bytes::Bytes;

use super::{
    object::{ObjectRecord, Segment},
    upload::UploadRecord,
};

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
    /// Nothing is removed: the tags of a version are to be set on its blob, too.
    Tags = 3,
    /// Nothing is removed: the store is to get a delete marker of its own.
    Marker = 4,
    /// What was staged in a store and not published.
    Staged = 5,
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
    /// What a store calls the upload or what was staged, where it has that.
    #[prost(string, tag = "10")]
    pub handle: String,
    /// The location of that store.
    #[prost(string, tag = "11")]
    pub location: String,
    /// The key of the version, for tags and markers.
    #[prost(string, tag = "12")]
    pub key: String,
    /// Its version id, as in keys.
    #[prost(bytes = "bytes", tag = "13")]
    pub version: Bytes,
    /// The name of the bucket.
    #[prost(string, tag = "14")]
    pub bucket_name: String,
}

/// A blob that is being written, or an object that is being published in a store that keeps names of its own.
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
    /// What the store calls the staged bytes; empty for what is no publication.
    #[prost(string, tag = "10")]
    pub handle: String,
    /// The name of the bucket.
    #[prost(string, tag = "11")]
    pub bucket_name: String,
    /// The key.
    #[prost(string, tag = "12")]
    pub key: String,
    /// The version to be; its first segment lacks the name of the blob, which the store gives.
    #[prost(message, optional, tag = "13")]
    pub record: Option<ObjectRecord>,
    /// The version id, as in keys, of what was the newest version; empty where there was none.
    #[prost(bytes = "bytes", tag = "14")]
    pub seen: Bytes,
    /// What the journal is to be told.
    #[prost(enumeration = "JournalOp", tag = "15")]
    pub op: i32,
    /// Where an upload is completed: its row as it was, to be put back if it comes to nothing.
    #[prost(message, optional, tag = "16")]
    pub upload: Option<UploadRecord>,
    /// Where this is an object that was there already, with a new key or with more behind it: its version id, as in
    /// keys.
    #[prost(bytes = "bytes", tag = "17")]
    pub moved_version: Bytes,
    /// Digest of the list of its parts; of a rename, what its client's token stands for (16 bytes) and a digest.
    #[prost(bytes = "bytes", tag = "18")]
    pub completed_list: Bytes,
    /// The key that it had; empty where it is new.
    #[prost(string, tag = "19")]
    pub moved_from: String,
    /// Bytes that are held at the location's counters until the publication has ended.
    #[prost(uint64, tag = "20")]
    pub held_at_location: u64,
    /// Bytes that the bucket's counters hold until then.
    #[prost(uint64, tag = "21")]
    pub held_bytes: u64,
    /// Versions that they hold until then.
    #[prost(uint64, tag = "22")]
    pub held_versions: u64,
    /// Where only the place of an object's bytes changes: a digest of where they were.
    #[prost(bytes = "bytes", tag = "23")]
    pub moved_bytes: Bytes,
    /// When it was written, in milliseconds since the epoch; 0 in those of earlier releases.
    #[prost(uint64, tag = "24")]
    pub noted_ms: u64,
    /// Bytes that the store has to show once it has published; none in notes of earlier releases.
    #[prost(uint64, optional, tag = "25")]
    pub stored_bytes: Option<u64>,
    /// Whether the store said that what it published is not what it was given.
    #[prost(bool, tag = "26")]
    pub misshapen: bool,
}

impl Garbage {
    /// A note of this kind that names nothing yet.
    pub fn of(kind: GarbageKind) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }
}
