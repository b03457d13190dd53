//! The ten checksum algorithms of S3 and their values.

use serde::{Deserialize, Serialize};

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

/// How the checksum of a multipart object is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumType {
    /// Over all bytes of the object.
    FullObject,
    /// Over the parts' checksums, with `-N` behind.
    Composite,
}

/// A checksum value: raw digest bytes, big endian, as many as the algorithm has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// What made it.
    pub algorithm: ChecksumAlgorithm,
    /// The digest.
    pub value: Vec<u8>,
}
