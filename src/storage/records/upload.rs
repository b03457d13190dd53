//! Records of multipart uploads.

use bytes::Bytes;

use super::object::{ChecksumRecord, ObjectRecord, Segment};

/// An open upload, or the tombstone of a completed one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UploadRecord {
    /// Initiation, in milliseconds since the epoch.
    #[prost(uint64, tag = "1")]
    pub initiated_ms: u64,
    /// Canonical id of the initiator.
    #[prost(string, tag = "2")]
    pub initiator: String,
    /// The object to be: owner, headers, metadata, tags, list, class, location. Its bytes come at completion.
    #[prost(message, optional, tag = "3")]
    pub object: Option<ObjectRecord>,
    /// Declared checksum algorithm, as in [`ChecksumRecord::algorithm`], plus one; 0 for none.
    #[prost(uint32, tag = "4")]
    pub checksum_algorithm: u32,
    /// Whether the checksum of the object is composite.
    #[prost(bool, tag = "5")]
    pub checksum_composite: bool,
    /// Set once completed: digest of the list of parts that completed it.
    #[prost(bytes = "bytes", tag = "6")]
    pub completed_list: Bytes,
    /// Set once completed: the object as it was answered.
    #[prost(message, optional, tag = "7")]
    pub completed: Option<ObjectRecord>,
    /// Display name of the initiator.
    #[prost(string, tag = "8")]
    pub initiator_display_name: String,
    /// Completion, in milliseconds since the epoch; 0 while open.
    #[prost(uint64, tag = "9")]
    pub completed_ms: u64,
}

/// A part.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PartRecord {
    /// Its bytes, MD5 and checksum.
    #[prost(message, optional, tag = "1")]
    pub segment: Option<Segment>,
    /// Arrival, in milliseconds since the epoch.
    #[prost(uint64, tag = "2")]
    pub modified_ms: u64,
    /// CRC64NVME, always kept, for full-object checksums without reading again.
    #[prost(message, optional, tag = "3")]
    pub crc64: Option<ChecksumRecord>,
}
