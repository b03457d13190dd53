//! The ten checksum algorithms of S3 and their values.
//!
//! Names, headers and elements are those of the S3 model (`ChecksumAlgorithm`, `x-amz-checksum-*`, `Checksum*`);
//! which algorithm goes with which type is the table of "Checking object integrity" in the S3 user guide.

mod combine;
mod hasher;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use combine::{FullObject, combine, composite};
pub use hasher::ChecksumHasher;

/// An additional checksum algorithm (S3 reference, "Checking object integrity").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32, ISO-HDLC.
    Crc32,
    /// CRC-32C, Castagnoli.
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5 as an additional checksum.
    Md5,
    /// XXH64, seed 0, big endian.
    XxHash64,
    /// XXH3-64, seed 0, big endian.
    XxHash3,
    /// XXH3-128, seed 0, big endian.
    XxHash128,
}

/// The facts of one algorithm.
struct Facts {
    name: &'static str,
    header: &'static str,
    element: &'static str,
    digest_len: usize,
}

const fn facts(name: &'static str, header: &'static str, element: &'static str, digest_len: usize) -> Facts {
    Facts { name, header, element, digest_len }
}

impl ChecksumAlgorithm {
    /// Every algorithm, in the order of the S3 model.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Sha1,
        Self::Sha256,
        Self::Crc64Nvme,
        Self::Sha512,
        Self::Md5,
        Self::XxHash64,
        Self::XxHash3,
        Self::XxHash128,
    ];

    const fn facts(self) -> Facts {
        match self {
            Self::Crc32 => facts("CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", 4),
            Self::Crc32c => facts("CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", 4),
            Self::Crc64Nvme => facts("CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", 8),
            Self::Sha1 => facts("SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", 20),
            Self::Sha256 => facts("SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", 32),
            Self::Sha512 => facts("SHA512", "x-amz-checksum-sha512", "ChecksumSHA512", 64),
            Self::Md5 => facts("MD5", "x-amz-checksum-md5", "ChecksumMD5", 16),
            Self::XxHash64 => facts("XXHASH64", "x-amz-checksum-xxhash64", "ChecksumXXHASH64", 8),
            Self::XxHash3 => facts("XXHASH3", "x-amz-checksum-xxhash3", "ChecksumXXHASH3", 8),
            Self::XxHash128 => facts("XXHASH128", "x-amz-checksum-xxhash128", "ChecksumXXHASH128", 16),
        }
    }

    /// The name in answers, always in upper case.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Reads a name in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The header, or trailer, that carries the value; lower case.
    pub const fn header(self) -> &'static str {
        self.facts().header
    }

    /// The algorithm whose value the header `name` (in any case) carries.
    pub fn from_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    /// The XML element that carries the value.
    pub const fn xml_element(self) -> &'static str {
        self.facts().element
    }

    /// Bytes of a raw digest.
    pub const fn digest_len(self) -> usize {
        self.facts().digest_len
    }

    /// Whether a multipart object may have a checksum of this type.
    pub const fn supports(self, kind: ChecksumType) -> bool {
        match (self, kind) {
            (Self::Crc32 | Self::Crc32c, _) | (Self::Crc64Nvme, ChecksumType::FullObject) => true,
            (Self::Crc64Nvme, ChecksumType::Composite) => false,
            (_, kind) => matches!(kind, ChecksumType::Composite),
        }
    }

    /// The type of a multipart checksum where the client names none.
    pub const fn default_type(self) -> ChecksumType {
        match self {
            Self::Crc64Nvme => ChecksumType::FullObject,
            _ => ChecksumType::Composite,
        }
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the checksum of a multipart object is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumType {
    /// Over all bytes of the object.
    FullObject,
    /// Over the parts' checksums, with `-N` behind.
    Composite,
}

impl ChecksumType {
    /// The name in answers, always in upper case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// Reads a name in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

/// A checksum value: raw digest bytes, big endian, as many as the algorithm has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// What made it.
    pub algorithm: ChecksumAlgorithm,
    /// The digest.
    pub value: Vec<u8>,
}

/// A value that is no base64 of the algorithm's length.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no {0} value in base64")]
pub struct InvalidChecksum(pub ChecksumAlgorithm);

impl Checksum {
    /// Reads a value in base64, as headers, trailers and XML carry it.
    ///
    /// # Errors
    /// [`InvalidChecksum`] unless it is canonical base64 of exactly the algorithm's length.
    pub fn parse(algorithm: ChecksumAlgorithm, base64: &str) -> Result<Self, InvalidChecksum> {
        match STANDARD.decode(base64) {
            Ok(value) if value.len() == algorithm.digest_len() => Ok(Self { algorithm, value }),
            _ => Err(InvalidChecksum(algorithm)),
        }
    }

    /// The value in base64.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.value)
    }

    /// The checksum of `bytes`.
    pub fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Self {
        let mut hasher = ChecksumHasher::new(algorithm);
        hasher.update(bytes);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests;
