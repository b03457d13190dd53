//! Records of multipart uploads.

use bytes::Bytes;

use super::object::{ChecksumRecord, ObjectRecord, Segment};
use crate::types::{Checksum, ChecksumAlgorithm, ChecksumType, ETag, Timestamp};

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
    /// Set once completed: the object's key.
    #[prost(string, tag = "10")]
    pub key: String,
    /// What the store calls the upload that takes the parts and puts them together itself; empty where the parts are
    /// blobs.
    #[prost(string, tag = "20")]
    pub handle: String,
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
    /// CRC64NVME, where it was computed besides the checksum of the segment: full-object checksums come from it
    /// without reading again.
    #[prost(message, optional, tag = "3")]
    pub crc64: Option<ChecksumRecord>,
}

impl UploadRecord {
    /// The checksum that was declared at initiation.
    pub fn checksum(&self) -> Option<(ChecksumAlgorithm, ChecksumType)> {
        let place = usize::try_from(self.checksum_algorithm.checked_sub(1)?).ok()?;
        let kind = if self.checksum_composite { ChecksumType::Composite } else { ChecksumType::FullObject };
        Some((*ChecksumAlgorithm::ALL.get(place)?, kind))
    }

    /// Declares a checksum.
    pub fn set_checksum(&mut self, checksum: Option<(ChecksumAlgorithm, ChecksumType)>) {
        let place = checksum.and_then(|(algorithm, _)| ChecksumAlgorithm::ALL.iter().position(|it| *it == algorithm));
        self.checksum_algorithm = place.and_then(|place| u32::try_from(place + 1).ok()).unwrap_or_default();
        self.checksum_composite = checksum.is_some_and(|(_, kind)| kind == ChecksumType::Composite);
    }

    /// The location that was chosen at initiation, for all parts and the object; empty once completed.
    pub fn location(&self) -> &str {
        self.object.as_ref().map_or("", |object| object.location.as_str())
    }

    /// Initiation.
    pub fn initiated(&self) -> Timestamp {
        Timestamp::from_millis(self.initiated_ms)
    }
}

impl PartRecord {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| segment.size)
    }

    /// The binary MD5.
    pub fn md5(&self) -> Option<[u8; 16]> {
        self.segment.as_ref()?.md5.as_ref().try_into().ok()
    }

    /// The entity tag.
    pub fn etag(&self) -> ETag {
        self.md5().map_or_else(|| ETag::new(""), ETag::from_md5)
    }

    /// The checksum that came or was declared.
    pub fn checksum(&self) -> Option<Checksum> {
        self.segment.as_ref()?.checksum.as_ref()?.checksum()
    }

    /// The checksum of this algorithm, if it is known.
    pub fn checksum_of(&self, algorithm: ChecksumAlgorithm) -> Option<Checksum> {
        let crc64 = self.crc64.as_ref().and_then(ChecksumRecord::checksum);
        [self.checksum(), crc64].into_iter().flatten().find(|known| known.algorithm == algorithm)
    }

    /// Arrival.
    pub fn modified(&self) -> Timestamp {
        Timestamp::from_millis(self.modified_ms)
    }
}
