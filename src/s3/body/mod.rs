//! Request bodies on their way in: paced, decoded, hashed, checked.
//!
//! ```text
//! hyper's frames ─ frames ─ framing ─┬─────────────────────────────► the writer pulls slices
//!                  pace     chunks   └─ digests, in line or on the pool ─► the verdict ends the stream
//! ```
//!
//! Invariants:
//! * slices are passed on by reference, never copied together;
//! * nothing is polled before the writer polls: the first poll makes hyper send `100 Continue`;
//! * the stream ends cleanly only if every promise of the [`Plan`] held, and only then is the digest slot filled;
//! * a signed chunk of at most [`HELD_CHUNK`] bytes leaves only after its signature held; a longer one is passed on
//!   as it comes, and its signature decides at its end, when nothing of the object is visible yet;
//! * an upload holds about two batches of bytes for hashing (see `pool`), whatever its size.

mod digests;
mod frames;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod intake;
mod pool;
mod verified;

#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

pub use intake::Intake;

use crate::types::{Checksum, ChecksumAlgorithm};

/// A signed chunk up to this size is held back whole until its signature is checked.
pub const HELD_CHUNK: u64 = 1 << 20;

/// The least size of a chunk that is not the last (S3 reference, "Signature calculations: chunked upload").
pub const LEAST_CHUNK: u64 = 8192;

/// The largest object that one request may carry, in bytes (5 GiB).
pub const LARGEST_PUT: u64 = 5 << 30;

/// Computes the signatures of aws-chunked bodies: the seed is the request's own, each later one builds on the last.
pub trait ChunkVerifier: Send {
    /// The request's signature: lower-case hexadecimal digits, as all signatures here.
    fn seed(&self) -> &str;
    /// The signature of a chunk after `previous` whose bytes hash to `sha256_hex`.
    fn chunk(&self, previous: &str, sha256_hex: &str) -> String;
    /// The signature of the trailer after `previous`, whose canonical lines hash to `sha256_hex`.
    fn trailer(&self, previous: &str, sha256_hex: &str) -> String;
}

/// How the payload is wrapped, as `x-amz-content-sha256` says.
#[derive(Default)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Plain,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    ChunkedUnsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
    ChunkedSigned(Box<dyn ChunkVerifier>),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`.
    ChunkedSignedTrailer(Box<dyn ChunkVerifier>),
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::ChunkedUnsigned => "ChunkedUnsigned",
            Self::ChunkedSigned(_) => "ChunkedSigned",
            Self::ChunkedSignedTrailer(_) => "ChunkedSignedTrailer",
        })
    }
}

/// What a client has promised about a body; each promise is checked.
#[derive(Debug)]
pub struct Plan {
    /// Payload bytes: `x-amz-decoded-content-length`, else `Content-Length`.
    pub length: Option<u64>,
    /// The most payload bytes taken.
    pub max_size: u64,
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// `x-amz-content-sha256`, where it is a hash.
    pub sha256: Option<[u8; 32]>,
    /// The value of an `x-amz-checksum-*` header. Never together with `trailer` (the request is refused before).
    pub checksum: Option<Checksum>,
    /// The checksum that `x-amz-trailer` announces; it must come, and nothing else.
    pub trailer: Option<ChecksumAlgorithm>,
    /// The checksum to compute where the client chose none.
    pub store: ChecksumAlgorithm,
    /// How the payload is wrapped.
    pub encoding: Encoding,
}

impl Default for Plan {
    /// A plain body of up to 5 GiB of which nothing is promised; S3 then computes CRC64NVME.
    fn default() -> Self {
        Self {
            length: None,
            max_size: LARGEST_PUT,
            md5: None,
            sha256: None,
            checksum: None,
            trailer: None,
            store: ChecksumAlgorithm::Crc64Nvme,
            encoding: Encoding::Plain,
        }
    }
}

/// How slow a client may be. Only time spent waiting for the client counts, never time the server took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The longest silence.
    pub idle: Duration,
    /// The least rate, in bytes per second; 0 for none.
    pub min_rate: u64,
    /// The waiting time over which the rate is measured.
    pub window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { idle: Duration::from_mins(1), min_rate: 512, window: Duration::from_mins(1) }
    }
}
