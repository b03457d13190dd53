//! Computing a checksum over a stream of bytes.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest as Crc};
use xxhash_rust::{xxh3::Xxh3Default, xxh64::Xxh64};

use super::{Checksum, ChecksumAlgorithm};
use crate::types::digest::{Digest, Md5, Sha1, Sha256, Sha512};

/// A running checksum of any of the ten algorithms.
#[derive(Clone)]
pub struct ChecksumHasher {
    algorithm: ChecksumAlgorithm,
    state: State,
}

/// The large states are boxed: hashers wait in queues.
#[derive(Clone)]
enum State {
    Crc32(Box<Crc>),
    Crc64(Box<Crc>),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
    Md5(Md5),
    XxHash64(Xxh64),
    XxHash3(Box<Xxh3Default>),
    XxHash128(Box<Xxh3Default>),
}

impl ChecksumHasher {
    /// A checksum of no bytes yet.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let state = match algorithm {
            ChecksumAlgorithm::Crc32 => State::Crc32(Box::new(Crc::new(CrcAlgorithm::Crc32IsoHdlc))),
            ChecksumAlgorithm::Crc32c => State::Crc32(Box::new(Crc::new(CrcAlgorithm::Crc32Iscsi))),
            ChecksumAlgorithm::Crc64Nvme => State::Crc64(Box::new(Crc::new(CrcAlgorithm::Crc64Nvme))),
            ChecksumAlgorithm::Sha1 => State::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            ChecksumAlgorithm::Sha512 => State::Sha512(Box::new(Sha512::new())),
            ChecksumAlgorithm::Md5 => State::Md5(Md5::new()),
            ChecksumAlgorithm::XxHash64 => State::XxHash64(Xxh64::new(0)),
            ChecksumAlgorithm::XxHash3 => State::XxHash3(Box::new(Xxh3Default::new())),
            ChecksumAlgorithm::XxHash128 => State::XxHash128(Box::new(Xxh3Default::new())),
        };
        Self { algorithm, state }
    }

    /// What it computes.
    pub fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc32(crc) | State::Crc64(crc) => crc.update(bytes),
            State::Sha1(sha) => sha.update(bytes),
            State::Sha256(sha) => sha.update(bytes),
            State::Sha512(sha) => sha.update(bytes),
            State::Md5(md5) => md5.update(bytes),
            State::XxHash64(xx) => xx.update(bytes),
            State::XxHash3(xx) | State::XxHash128(xx) => xx.update(bytes),
        }
    }

    /// The checksum of all bytes taken.
    pub fn finalize(self) -> Checksum {
        let value = match self.state {
            // A 32-bit CRC stands in the low half of the engine's 64 bits.
            State::Crc32(crc) => crc.finalize().to_be_bytes().into_iter().skip(4).collect(),
            State::Crc64(crc) => crc.finalize().to_be_bytes().to_vec(),
            State::Sha1(sha) => sha.finalize().to_vec(),
            State::Sha256(sha) => sha.finalize().to_vec(),
            State::Sha512(sha) => sha.finalize().to_vec(),
            State::Md5(md5) => md5.finalize().to_vec(),
            State::XxHash64(xx) => xx.digest().to_be_bytes().to_vec(),
            State::XxHash3(xx) => xx.digest().to_be_bytes().to_vec(),
            State::XxHash128(xx) => xx.digest128().to_be_bytes().to_vec(),
        };
        Checksum { algorithm: self.algorithm, value }
    }
}

impl fmt::Debug for ChecksumHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChecksumHasher").field(&self.algorithm).finish()
    }
}
