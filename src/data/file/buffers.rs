//! Read buffers: used again, so that the pages are warm and never zeroed twice, and counted until the reader has
//! let go of the last slice.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use super::format::BLOCK_LEN;

/// Blocks in a piece when memory is plenty.
const LARGE_BLOCKS: u64 = 4;
const LARGE: usize = 4 * BLOCK_LEN;
/// Buffers kept for the next reader: 4 MiB and 2 MiB.
const IDLE_LARGE: usize = 16;
const IDLE_SMALL: usize = 32;

/// The buffers of a backend.
#[derive(Debug)]
pub(in crate::data) struct Buffers {
    small: Mutex<Vec<Vec<u8>>>,
    large: Mutex<Vec<Vec<u8>>>,
    /// Bytes in the hands of readers.
    lent: AtomicUsize,
    budget: usize,
}

impl Buffers {
    /// Buffers that grow scarce when about `budget` bytes are lent.
    pub(in crate::data) fn new(budget: usize) -> Self {
        Self { small: Mutex::default(), large: Mutex::default(), lent: AtomicUsize::new(0), budget }
    }

    /// Whether readers should take one block at a time and read nothing ahead.
    pub(in crate::data) fn are_scarce(&self) -> bool {
        self.lent.load(Ordering::Relaxed) > self.budget / 2
    }

    /// How many blocks to read in one piece now.
    pub(in crate::data) fn piece_blocks(&self) -> u64 {
        if self.are_scarce() { 1 } else { LARGE_BLOCKS }
    }

    /// A buffer of `len` bytes, at most [`LARGE`]; what it holds is undefined.
    pub(in crate::data) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let (size, idle) = if len <= BLOCK_LEN { (BLOCK_LEN, &self.small) } else { (LARGE, &self.large) };
        let bytes = idle.lock().pop().unwrap_or_else(|| vec![0; size]);
        self.lent.fetch_add(bytes.len(), Ordering::Relaxed);
        Buffer { len: len.min(bytes.len()), bytes, home: Arc::clone(self) }
    }

    #[cfg(test)]
    pub(in crate::data) fn lent(&self) -> usize {
        self.lent.load(Ordering::Relaxed)
    }
}

/// A buffer on loan.
#[derive(Debug)]
pub(in crate::data) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.lent.fetch_sub(bytes.len(), Ordering::Relaxed);
        let (idle, most) =
            if bytes.len() == LARGE { (&self.home.large, IDLE_LARGE) } else { (&self.home.small, IDLE_SMALL) };
        let mut idle = idle.lock();
        if idle.len() < most {
            idle.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_buffer_counts_until_its_last_slice_is_gone_and_is_then_used_again() {
        let buffers = Arc::new(Buffers::new(1 << 20));
        let buffer = buffers.take(100_000);
        let at = buffer.as_ref().as_ptr();
        let slice = Bytes::from_owner(buffer).slice(10..20);
        assert_eq!(buffers.lent(), LARGE);
        drop(slice);
        assert_eq!(buffers.lent(), 0);
        assert_eq!(buffers.take(70_000).as_ref().as_ptr(), at);
    }

    #[test]
    fn many_readers_get_small_pieces() {
        let buffers = Arc::new(Buffers::new(1 << 20));
        assert_eq!(buffers.piece_blocks(), LARGE_BLOCKS);
        let lent: Vec<Buffer> = (0..3).map(|_| buffers.take(LARGE)).collect();
        assert_eq!(buffers.piece_blocks(), 1);
        drop(lent);
        assert_eq!(buffers.piece_blocks(), LARGE_BLOCKS);
    }
}
