//! Byte streams and what can go wrong on the way in.
//!
//! A body is a pull stream: the writer pulls, so back-pressure reaches the client's socket. The last word of a
//! stream is its verdict: an adapter that finds the bytes are not what the client promised ends it with an error,
//! and a backend publishes nothing unless the end was clean.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use thiserror::Error;

use super::{Checksum, ChecksumAlgorithm};

/// A stream of slices of a body; ends with `None` only if every check on the way held.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// Why a body could not be taken, or could not be delivered, to its end.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    /// The client closed the connection or broke its framing.
    #[error("the connection ended inside the body")]
    Disconnected,
    /// No bytes came for too long, or too few.
    #[error("the body stalled")]
    TimedOut,
    /// What all requests together may hold of documents is used up.
    #[error("too many documents are being read at once")]
    Crowded,
    /// Fewer bytes than announced.
    #[error("the body ended after {got} of {expected} bytes")]
    Incomplete {
        /// Announced bytes.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// More bytes than announced or allowed.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// Fewer bytes than a form's policy demands.
    #[error("the body has {got} bytes, fewer than {least}")]
    TooSmall {
        /// Fewest bytes allowed.
        least: u64,
        /// Bytes that came.
        got: u64,
    },
    /// `Content-MD5` does not match; both in base64.
    #[error("MD5 is {calculated}, not {expected}")]
    BadDigest {
        /// As announced by the client.
        expected: String,
        /// As calculated from the bytes.
        calculated: String,
    },
    /// `x-amz-content-sha256` does not match; both in hexadecimal digits.
    #[error("SHA-256 is {calculated}, not {expected}")]
    Sha256Mismatch {
        /// As announced by the client.
        expected: String,
        /// As calculated from the bytes.
        calculated: String,
    },
    /// An `x-amz-checksum-*` value does not match.
    #[error("the {0:?} checksum does not match")]
    ChecksumMismatch(ChecksumAlgorithm),
    /// A checksum value in a trailer is no base64 of the right length; holds the trailer's name.
    #[error("the value of {0} is malformed")]
    InvalidChecksumValue(String),
    /// A chunk's or trailer's signature does not match.
    #[error("a chunk signature does not match")]
    ChunkSignature,
    /// A chunk other than the last has fewer than 8,192 bytes.
    #[error("chunk {chunk} has only {size} bytes")]
    InvalidChunkSize {
        /// Number of the chunk, from 1.
        chunk: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// The aws-chunked framing is broken.
    #[error("the aws-chunked framing is broken: {0}")]
    MalformedChunk(&'static str),
    /// The trailer is not the one announced in `x-amz-trailer`.
    #[error("the trailer is not the one announced")]
    MalformedTrailer,
    /// Stored bytes could not be read; the layer below has logged why.
    #[error("stored bytes could not be read: {0}")]
    Unreadable(String),
}

/// What was computed over a body that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyDigests {
    /// Payload bytes.
    pub size: u64,
    /// MD5 of the payload.
    pub md5: [u8; 16],
    /// The checksum to store with the object: the client's algorithm, else CRC64NVME.
    pub checksum: Checksum,
}

/// Where an adapter leaves its digests at the clean end of a body, for whoever commits.
#[derive(Clone, Debug, Default)]
pub struct DigestSlot(Arc<OnceLock<BodyDigests>>);

impl DigestSlot {
    /// Leaves the digests; the first call wins.
    pub fn set(&self, digests: BodyDigests) {
        // A second end of one stream cannot differ from the first.
        drop(self.0.set(digests));
    }

    /// The digests, once the stream has ended cleanly.
    pub fn get(&self) -> Option<&BodyDigests> {
        self.0.get()
    }
}

/// A verified object body on its way into the store.
pub struct IncomingBody {
    /// The payload: decoded, checked, bounded.
    pub stream: ByteStream,
    /// Payload bytes, where the client announced them.
    pub length: Option<u64>,
    /// Filled when `stream` has ended cleanly.
    pub digests: DigestSlot,
}

impl fmt::Debug for IncomingBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingBody").field("length", &self.length).finish_non_exhaustive()
    }
}

/// A stream of one slice (none where `bytes` is empty).
pub fn once(bytes: Bytes) -> ByteStream {
    if bytes.is_empty() { stream::empty().boxed() } else { stream::iter([Ok(bytes)]).boxed() }
}

/// Reads a stream whole, up to `limit` bytes: for documents, never for objects.
pub async fn collect(mut stream: ByteStream, limit: usize) -> Result<Bytes, BodyError> {
    let mut all = bytes::BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if all.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge { limit: limit as u64 });
        }
        if all.is_empty() && stream.size_hint() == (0, Some(0)) {
            return Ok(chunk);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}
