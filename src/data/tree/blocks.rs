//! The form of a blob's file at a store elsewhere: its payload in blocks, each with its checksum, and an end.
//!
//! | Bytes | What |
//! |---|---|
//! | 65,536, in the last block 1 to 65,536 | payload |
//! | 4 | CRC-32C of the blob's name, the block's number and its payload |
//! | … | further blocks; an empty blob has none |
//! | 8 | bytes of payload |
//! | 4 | `CST1` |
//! | 4 | CRC-32C of the blob's name and the twelve bytes before |
//!
//! Numbers are little endian, a block's number has eight bytes and begins at 0. So each block can be found by counting,
//! read alone and checked alone, and a file that was cut, mixed up or given another's name is noticed: none of these
//! stores checks on every read what it has kept.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use crc_fast::{CrcAlgorithm, Digest};
use futures_util::{Stream, StreamExt};

use super::super::{announced::Announced, name::BlobName};
use crate::types::{BodyError, ByteStream};

/// Payload bytes of a block.
pub(super) const BLOCK: u64 = 64 * 1024;
/// The same, to measure memory with.
const BLOCK_LEN: usize = 64 * 1024;
/// Bytes of a checksum.
const SUM: u64 = 4;
/// Bytes from the beginning of one block to that of the next.
pub(super) const STEP: u64 = BLOCK + SUM;
/// Bytes of the end.
pub(super) const END: u64 = 16;

const MAGIC: [u8; 4] = *b"CST1";

/// Bytes of the file of a payload.
pub(super) const fn file_length(payload: u64) -> u64 {
    payload.saturating_add(SUM.saturating_mul(payload.div_ceil(BLOCK))).saturating_add(END)
}

/// Payload of a file of `length` bytes; no payload makes a file of any length.
pub(super) const fn payload_of(length: u64) -> Option<u64> {
    let Some(blocks) = length.checked_sub(END) else { return None };
    let (full, rest) = (blocks / STEP, blocks % STEP);
    match rest {
        0 => Some(full * BLOCK),
        1..=SUM => None,
        rest => Some(full * BLOCK + rest - SUM),
    }
}

/// The checksum of a block under way.
struct BlockSum {
    name: BlobName,
    number: u64,
    digest: Digest,
}

impl BlockSum {
    fn new(name: BlobName, number: u64) -> Self {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(name.as_bytes());
        digest.update(&number.to_le_bytes());
        Self { name, number, digest }
    }

    /// The checksum; the next block begins.
    fn take(&mut self) -> [u8; 4] {
        let sum = sum_of(&self.digest);
        *self = Self::new(self.name, self.number + 1);
        sum
    }
}

fn sum_of(digest: &Digest) -> [u8; 4] {
    // A CRC-32 fits in 32 bits; the crate counts all its sums in 64.
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX).to_le_bytes()
}

/// The payload of a block with its checksum, if that is right.
pub(super) fn opened(name: BlobName, number: u64, mut block: Bytes) -> Option<Bytes> {
    let payload = block.split_to(block.len().checked_sub(4)?);
    let mut sum = BlockSum::new(name, number);
    sum.digest.update(&payload);
    (sum.take() == *block).then_some(payload)
}

fn end(name: BlobName, payload: u64) -> Vec<u8> {
    let mut end = payload.to_le_bytes().to_vec();
    end.extend_from_slice(&MAGIC);
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(name.as_bytes());
    digest.update(&end);
    end.extend_from_slice(&sum_of(&digest));
    end
}

/// Whether these bytes are the end of the file of a payload.
pub(super) fn is_end(name: BlobName, payload: u64, bytes: &[u8]) -> bool {
    bytes == end(name, payload)
}

/// The bytes of the file of a body; its payload is counted in `written`.
pub(super) fn sealed(name: BlobName, body: ByteStream, announced: Announced, written: Arc<AtomicU64>) -> ByteStream {
    let sum = BlockSum::new(name, 0);
    let (body, ready) = (Some(body), VecDeque::new());
    Sealing { name, body, announced, written, payload: 0, filled: 0, sum, ready }.boxed()
}

struct Sealing {
    name: BlobName,
    body: Option<ByteStream>,
    announced: Announced,
    written: Arc<AtomicU64>,
    payload: u64,
    /// Bytes of the block under way.
    filled: usize,
    sum: BlockSum,
    /// Bytes that are to be sent next.
    ready: VecDeque<Bytes>,
}

impl Sealing {
    fn take(&mut self, mut slice: Bytes) -> Result<(), BodyError> {
        self.payload = self.payload.saturating_add(slice.len() as u64);
        self.announced.allows(self.payload)?;
        while slice.has_remaining() {
            let now = slice.split_to(slice.len().min(BLOCK_LEN - self.filled));
            self.sum.digest.update(&now);
            self.filled += now.len();
            self.ready.push_back(now);
            if self.filled == BLOCK_LEN {
                self.close_block();
            }
        }
        Ok(())
    }

    fn close_block(&mut self) {
        self.ready.push_back(Bytes::copy_from_slice(&self.sum.take()));
        self.filled = 0;
    }

    fn finish(&mut self) -> Result<(), BodyError> {
        self.announced.is_met_by(self.payload)?;
        if self.filled > 0 {
            self.close_block();
        }
        self.ready.push_back(Bytes::from(end(self.name, self.payload)));
        self.written.store(self.payload, Ordering::Release);
        Ok(())
    }
}

impl Stream for Sealing {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            let taken = match ready!(body.as_mut().poll_next(cx)) {
                Some(Ok(slice)) => this.take(slice),
                Some(Err(error)) => Err(error),
                None => {
                    this.body = None;
                    this.finish()
                }
            };
            if let Err(error) = taken {
                this.body = None;
                this.ready.clear();
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::types::body;

    async fn file(name: BlobName, pieces: Vec<Bytes>) -> (Bytes, u64) {
        let written = Arc::new(AtomicU64::new(u64::MAX));
        let body = stream::iter(pieces.into_iter().map(Ok)).boxed();
        let sealed = sealed(name, body, Announced(None), Arc::clone(&written));
        (body::collect(sealed, 1 << 20).await.unwrap(), written.load(Ordering::Acquire))
    }

    #[tokio::test]
    async fn the_stored_form_is_fixed() {
        let name = BlobName::from_bytes([0xab; 20]);
        let (bytes, payload) = file(name, vec![Bytes::from_static(b"1234"), Bytes::from_static(b"56789")]).await;
        assert_eq!(payload, 9);
        assert_eq!(
            hex::encode(&bytes),
            concat!("313233343536373839", "c2e7fe5e", "0900000000000000", "43535431", "8b4380ab"),
            "CRC-32C as another program computes it"
        );
        assert_eq!(file(name, Vec::new()).await.0.len(), 16, "an empty blob is an end");
    }

    #[tokio::test]
    async fn lengths_and_blocks_follow_from_the_payload() {
        let name = BlobName::from_bytes([7; 20]);
        for size in [0_usize, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
            let payload: Bytes = (0..=250).cycle().take(size).collect();
            let pieces = payload.chunks(50_001).map(Bytes::copy_from_slice).collect();
            let (bytes, written) = file(name, pieces).await;
            assert_eq!(written, size as u64);
            assert_eq!(bytes.len() as u64, file_length(size as u64));
            assert_eq!(payload_of(bytes.len() as u64), Some(size as u64));
            let (blocks, end) = bytes.split_at(bytes.len() - 16);
            assert!(is_end(name, size as u64, end) && !is_end(name, size as u64 + 1, end));
            let mut found = Vec::new();
            for (number, block) in blocks.chunks(65_540).enumerate() {
                let block = Bytes::copy_from_slice(block);
                found.extend_from_slice(&opened(name, number as u64, block.clone()).unwrap());
                assert!(opened(name, number as u64 + 1, block.clone()).is_none(), "another place");
                assert!(opened(BlobName::from_bytes([8; 20]), number as u64, block.clone()).is_none(), "another blob");
                let mut wrong = block.to_vec();
                wrong[0] ^= 1;
                assert!(opened(name, number as u64, Bytes::from(wrong)).is_none(), "another byte");
            }
            assert_eq!(found, payload);
        }
        for length in [0, 15, 17, 20, 65_556 + 4] {
            assert_eq!(payload_of(length), None, "{length}");
        }
    }
}
