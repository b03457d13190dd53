//! Directory syncs, shared: one sync serves everybody who asked before it started.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::Mutex;

use super::disk::Disk;

/// The syncs of all shard directories.
#[derive(Debug)]
pub(super) struct DirSyncs {
    shards: Vec<Shard>,
    broken: AtomicBool,
}

#[derive(Debug, Default)]
struct Shard {
    /// Requests so far; a request's number is the count with itself.
    requests: AtomicU64,
    /// Requests up to this number are durable.
    synced: Mutex<u64>,
}

impl DirSyncs {
    pub(super) fn new() -> Self {
        let shards = (0..=u8::MAX).map(|_| Shard::default()).collect();
        Self { shards, broken: AtomicBool::new(false) }
    }

    /// Whether a directory sync has failed. What the kernel then dropped is unknown, and the next sync would report
    /// success all the same, so nothing can be promised any more until a restart.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Returns once the entries that the caller made in `shard` are durable. Blocks.
    pub(super) fn sync(&self, disk: &dyn Disk, shard: u8) -> io::Result<()> {
        let Some(state) = self.shards.get(usize::from(shard)) else { return disk.sync_shard(shard) };
        let mine = state.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let mut synced = state.synced.lock();
        if self.is_broken() {
            return Err(io::Error::other("a directory sync failed earlier"));
        }
        if *synced >= mine {
            return Ok(());
        }
        // Whoever has a number by now has made its entry: this sync covers it.
        let covered = state.requests.load(Ordering::SeqCst);
        let result = disk.sync_shard(shard);
        match result {
            Ok(()) => *synced = covered,
            Err(_) => self.broken.store(true, Ordering::SeqCst),
        }
        result
    }
}
