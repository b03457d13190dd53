//! The stored form of an encrypted segment: chunks, each sealed by itself, so that a range opens only what it touches.
//!
//! ```text
//! stored:  ciphertext of 64 KiB ‖ tag (16) │ ciphertext of 64 KiB ‖ tag │ … │ ciphertext of 1 to 64 KiB ‖ tag
//! nonce:   0 0 0 ‖ last? (1 byte) ‖ index (8 bytes)
//! bound:   label ‖ bucket (8 bytes) ‖ segment (16 bytes) ‖ index (8 bytes) ‖ last? (1 byte)
//! ```
//!
//! A chunk in another place, of another segment, or the last one where more should follow is not authentic. A segment
//! of no bytes is stored nowhere. A segment's key is used for it alone, for at most 2^30 chunks (50 TB).

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::Unlocked;
use crate::kms::cipher::{Cipher, NONCE, NotAuthentic, TAG};

/// Bytes of text in a chunk: sealing one takes some 15 µs, opening one for a range of a byte, too.
pub(super) const CHUNK: usize = 64 << 10;
const CHUNK_U64: u64 = CHUNK as u64;
const TAG_U64: u64 = TAG as u64;

/// Stored bytes of a segment of so many bytes.
pub(in crate::storage) fn sealed_size(size: u64) -> u64 {
    size + size.div_ceil(CHUNK_U64) * TAG_U64
}

/// Which chunks hold a range of the text, and where they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Chunks, by index.
    pub(super) chunks: Range<u64>,
    /// Stored bytes.
    pub(super) stored: Range<u64>,
    /// Bytes of the first chunk before the range.
    pub(super) skip: usize,
}

/// Where a range of a segment is; `range` is not empty and lies within `size`.
pub(super) fn extent(range: &Range<u64>, size: u64) -> Extent {
    let chunks = range.start / CHUNK_U64..range.end.div_ceil(CHUNK_U64);
    let stored = chunks.start * (CHUNK_U64 + TAG_U64)..(chunks.end * (CHUNK_U64 + TAG_U64)).min(sealed_size(size));
    Extent { chunks, stored, skip: usize::try_from(range.start % CHUNK_U64).unwrap_or_default() }
}

/// Seals and opens the chunks of one segment.
#[derive(Debug)]
pub(super) struct Chunks {
    cipher: Cipher,
    bound: Vec<u8>,
}

impl Chunks {
    pub(super) fn new(key: &Unlocked, seal: &[u8]) -> Result<Self, NotAuthentic> {
        let mut bound = b"cloudserver chunk 1".to_vec();
        bound.put_u64(key.bucket.get());
        bound.put_slice(seal);
        Ok(Self { cipher: Cipher::new(&key.segment(seal))?, bound })
    }

    fn place(&self, index: u64, last: bool) -> ([u8; NONCE], Vec<u8>) {
        let mut nonce = [0; NONCE];
        let mut aad = self.bound.clone();
        aad.put_u64(index);
        aad.put_u8(u8::from(last));
        let tail = std::iter::once(u8::from(last)).chain(index.to_be_bytes());
        for (slot, byte) in nonce.iter_mut().skip(3).zip(tail) {
            *slot = byte;
        }
        (nonce, aad)
    }

    /// Seals a chunk where it is, and puts its tag behind it.
    pub(super) fn seal(&self, index: u64, last: bool, chunk: &mut BytesMut) -> Result<(), NotAuthentic> {
        let (nonce, aad) = self.place(index, last);
        let tag = self.cipher.seal(nonce, &aad, chunk)?;
        chunk.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens a chunk, and appends its text to `plain`.
    pub(super) fn open(&self, index: u64, last: bool, sealed: &[u8], plain: &mut BytesMut) -> Result<(), NotAuthentic> {
        let (nonce, aad) = self.place(index, last);
        let start = plain.len();
        plain.resize(start + sealed.len().saturating_sub(TAG), 0);
        self.cipher.open(nonce, &aad, sealed, plain.get_mut(start..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn sizes_grow_by_a_tag_for_each_chunk_begun() {
        for (size, stored) in [
            (0, 0),
            (1, 17),
            (65_536, 65_552),
            (65_537, 65_569),
            (131_072, 131_104),
            (1 << 30, (1 << 30) + 16_384 * 16),
        ] {
            assert_eq!(sealed_size(size), stored, "{size}");
        }
    }

    proptest! {
        #[test]
        fn an_extent_holds_its_range_and_at_most_a_chunk_more_at_each_end(size in 1_u64..1_000_000, a in 0_u64..1_000_000, b in 0_u64..1_000_000) {
            let (start, end) = (a.min(b) % size, (a.max(b) % size).max(a.min(b) % size) + 1);
            let extent = extent(&(start..end), size);
            let first = extent.chunks.start * CHUNK_U64;
            prop_assert_eq!(first + extent.skip as u64, start);
            prop_assert!(extent.chunks.end * CHUNK_U64 >= end && (extent.chunks.end - 1) * CHUNK_U64 < end);
            prop_assert!(extent.stored.end <= sealed_size(size));
            prop_assert_eq!(extent.stored.start, extent.chunks.start * (CHUNK_U64 + TAG_U64));
        }
    }
}
