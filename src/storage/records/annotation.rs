//! The record of an annotation.

use bytes::Bytes;

use super::object::ChecksumRecord;
use crate::types::{ETag, Timestamp};

/// A named text of a version; the name is in the key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AnnotationRecord {
    /// Bytes.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// Entity tag without quotes.
    #[prost(string, tag = "2")]
    pub etag: String,
    /// Checksum of the text.
    #[prost(message, optional, tag = "3")]
    pub checksum: Option<ChecksumRecord>,
    /// When it was written, in milliseconds since the epoch.
    #[prost(uint64, tag = "4")]
    pub modified_ms: u64,
    /// Key of the text in the table of bodies.
    #[prost(bytes = "bytes", tag = "5")]
    pub body: Bytes,
    /// Where the text is encrypted: tells its key from those of others (16 random bytes).
    #[prost(bytes = "bytes", tag = "6")]
    pub seal: Bytes,
}

impl AnnotationRecord {
    /// The entity tag.
    pub fn etag(&self) -> ETag {
        ETag::new(&self.etag)
    }

    /// When it was written.
    pub fn modified(&self) -> Timestamp {
        Timestamp::from_millis(self.modified_ms)
    }
}
