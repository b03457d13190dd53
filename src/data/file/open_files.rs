//! Open files of blobs read lately.
//!
//! A set-associative cache: a blob's first byte chooses a set, a set has few places. A deletion in a set bars files
//! opened before it from entering, so that a reader who raced with the deletion cannot bring the blob back.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{super::name::BlobName, read::BlobFile};

const SETS: usize = 32;

/// The cache.
#[derive(Debug)]
pub(super) struct OpenFiles {
    sets: Vec<Mutex<Set>>,
    ways: usize,
}

#[derive(Debug, Default)]
struct Set {
    /// Least recently used first.
    files: Vec<Arc<BlobFile>>,
    /// Deletions seen.
    deletions: u64,
}

/// What a reader saw before it opened a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen(u64);

impl OpenFiles {
    /// A cache of up to `capacity` files, rounded up to a multiple of its sets; none at all for 0.
    pub(super) fn new(capacity: usize) -> Self {
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Self { sets, ways: capacity.div_ceil(SETS) }
    }

    fn set(&self, name: BlobName) -> Option<&Mutex<Set>> {
        self.sets.get(usize::from(name.shard()) % SETS)
    }

    /// The open file of a blob; else the ticket with which to [`OpenFiles::insert`] it.
    pub(super) fn get(&self, name: BlobName) -> Result<Arc<BlobFile>, Seen> {
        let Some(set) = self.set(name) else { return Err(Seen(0)) };
        let mut set = set.lock();
        let Some(index) = set.files.iter().position(|file| file.name() == name) else {
            return Err(Seen(set.deletions));
        };
        let file = set.files.remove(index);
        set.files.push(Arc::clone(&file));
        Ok(file)
    }

    /// Keeps a file that was opened after `seen` was handed out.
    pub(super) fn insert(&self, file: &Arc<BlobFile>, seen: Seen) {
        let Some(set) = self.set(file.name()) else { return };
        let mut set = set.lock();
        let known = set.files.iter().any(|other| other.name() == file.name());
        if self.ways == 0 || known || set.deletions != seen.0 {
            return;
        }
        let evicted = (set.files.len() >= self.ways).then(|| set.files.remove(0));
        set.files.push(Arc::clone(file));
        drop(set);
        drop(evicted);
    }

    /// Forgets a blob; called after its file is removed.
    pub(super) fn remove(&self, name: BlobName) {
        let Some(set) = self.set(name) else { return };
        let mut set = set.lock();
        set.deletions += 1;
        let gone = set.files.iter().position(|file| file.name() == name).map(|index| set.files.remove(index));
        drop(set);
        // Closing the last handle frees the blocks, which can take long: after the lock.
        drop(gone);
    }

    /// Closes all files that no reader uses.
    pub(super) fn clear(&self) {
        for set in &self.sets {
            let files = std::mem::take(&mut set.lock().files);
            drop(files);
        }
    }
}
