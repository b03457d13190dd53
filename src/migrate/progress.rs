//! How far a migration has come, for whoever watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Counters that workers move.
#[derive(Debug, Default)]
pub struct Progress {
    expected: AtomicU64,
    is_counted: AtomicBool,
    entries: AtomicU64,
    bytes: AtomicU64,
    problems: AtomicU64,
    bucket: Mutex<String>,
}

/// The counters at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Versions and markers at the source, as far as counted.
    pub expected: u64,
    /// Whether that is all.
    pub is_counted: bool,
    /// Versions and markers seen to.
    pub entries: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Problems.
    pub problems: u64,
    /// The bucket under way.
    pub bucket: String,
}

impl Progress {
    /// What is counted now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            expected: self.expected.load(Ordering::Relaxed),
            is_counted: self.is_counted.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            problems: self.problems.load(Ordering::Relaxed),
            bucket: self.bucket.lock().clone(),
        }
    }

    pub(super) fn add_expected(&self, entries: u64) {
        self.expected.fetch_add(entries, Ordering::Relaxed);
    }

    /// Begins anew: everything is looked at once more.
    pub(super) fn restart(&self) {
        self.is_counted.store(false, Ordering::Relaxed);
        self.expected.store(0, Ordering::Relaxed);
        self.entries.store(0, Ordering::Relaxed);
    }

    pub(super) fn counted(&self) {
        self.is_counted.store(true, Ordering::Relaxed);
    }

    /// So many versions and markers were seen to, whatever came of it.
    pub(super) fn done(&self, entries: usize) {
        self.entries.fetch_add(entries as u64, Ordering::Relaxed);
    }

    pub(super) fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn problem(&self) {
        self.problems.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn enter(&self, bucket: &str) {
        bucket.clone_into(&mut self.bucket.lock());
    }
}
