//! Memory of uploads: bytes that have come and are not yet written, over all uploads together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};

/// A write of fewer bytes costs more in system calls than it spares in memory.
const LEAST_FLUSH: usize = 32 * 1024;
/// Larger writes gain nothing any more.
const MOST_FLUSH: usize = 1024 * 1024;
/// Slices shorter than this are copied together: each would cost a vector of its own in the write.
const SHORT: usize = 1024;

/// The shared account.
#[derive(Debug)]
pub(in crate::data) struct Budget {
    limit: usize,
    uploads: AtomicUsize,
    held: AtomicUsize,
}

impl Budget {
    /// An account of about `limit` bytes.
    pub(in crate::data) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, uploads: AtomicUsize::new(0), held: AtomicUsize::new(0) })
    }

    /// Opens the account of one upload.
    pub(in crate::data) fn join(self: &Arc<Self>) -> Share {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        Share(Arc::clone(self))
    }

    /// Bytes held by all uploads now.
    #[cfg(test)]
    pub(in crate::data) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// One upload's part in the budget.
#[derive(Debug)]
pub(in crate::data) struct Share(Arc<Budget>);

impl Share {
    /// How many gathered bytes to write in one piece. Half the share: one piece is written while the next comes in.
    pub(in crate::data) fn flush_at(&self) -> usize {
        let uploads = self.0.uploads.load(Ordering::Relaxed).max(1);
        (self.0.limit / uploads / 2).clamp(LEAST_FLUSH, MOST_FLUSH)
    }

    /// Whether uploads that stall should give back what they hold.
    pub(in crate::data) fn is_tight(&self) -> bool {
        self.0.held.load(Ordering::Relaxed) > self.0.limit / 2
    }

    /// A piece to gather into.
    pub(in crate::data) fn gather(&self) -> Gathered {
        Gathered { slices: Vec::new(), short: BytesMut::new(), len: 0, budget: Arc::clone(&self.0) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.uploads.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Slices of a body on their way to the file; counted until dropped.
#[derive(Debug)]
pub(in crate::data) struct Gathered {
    slices: Vec<Bytes>,
    short: BytesMut,
    len: usize,
    budget: Arc<Budget>,
}

impl Gathered {
    pub(in crate::data) const fn len(&self) -> usize {
        self.len
    }

    /// Takes a slice: by reference, unless it is very short.
    pub(in crate::data) fn push(&mut self, slice: Bytes) {
        self.len += slice.len();
        self.budget.held.fetch_add(slice.len(), Ordering::Relaxed);
        if slice.len() < SHORT {
            self.short.extend_from_slice(&slice);
        } else {
            self.seal();
            self.slices.push(slice);
        }
    }

    fn seal(&mut self) {
        if !self.short.is_empty() {
            self.slices.push(self.short.split().freeze());
        }
    }

    /// The slices in order.
    pub(in crate::data) fn slices(&mut self) -> impl Iterator<Item = &[u8]> {
        self.seal();
        self.slices.iter().map(AsRef::as_ref)
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.len, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_uploads_share_the_budget() {
        let budget = Budget::new(48 << 20);
        let first = budget.join();
        assert_eq!(first.flush_at(), MOST_FLUSH);
        let shares: Vec<Share> = (0..999).map(|_| budget.join()).collect();
        assert_eq!(first.flush_at(), LEAST_FLUSH);
        assert!(2 * 1000 * first.flush_at() <= 64 << 20);
        drop(shares);
        assert_eq!(first.flush_at(), MOST_FLUSH);
    }

    #[test]
    fn order_is_kept_across_short_and_long_slices_and_the_account_is_settled() {
        let budget = Budget::new(1 << 20);
        let share = budget.join();
        let mut gathered = share.gather();
        let mut expected = Vec::new();
        for (index, len) in [3, 5000, 1, 1023, 1024, 0, 7].into_iter().enumerate() {
            let slice = vec![u8::try_from(index).unwrap(); len];
            expected.extend_from_slice(&slice);
            gathered.push(Bytes::from(slice));
        }
        assert_eq!(gathered.slices().collect::<Vec<_>>().concat(), expected);
        assert_eq!(budget.held(), expected.len());
        drop(gathered);
        assert_eq!(budget.held(), 0);
    }
}
