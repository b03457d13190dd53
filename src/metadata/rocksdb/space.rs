//! What may still be written when the device is nearly full.
//!
//! RocksDB must not meet the end of the device: it would refuse everything, deletes too, until a table's worth of space
//! is free again. So commits are refused before that. What is in the log is to be written once more, as tables, so that
//! much stays free; then deletes, which make space, still have some to be written in, and a restart can read the log.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rocksdb::FlushOptions;

use super::open::Database;
use crate::metadata::{Batch, Write};

const MIB: u64 = 1 << 20;
/// With more than this free nothing is near, whatever is buffered.
const AMPLE: u64 = 512 * MIB;
/// Kept free beside what is buffered, for compactions, the manifest and other programs: this, or a share of a small
/// device. A quarter of it is kept even from deletes.
const SLACK: u64 = 8 * MIB;
const SLACK_SHARE: u64 = 16;
/// A batch of deletes is records and no bodies.
const SMALL: usize = 64 << 10;
/// Between flushes that are to free the log.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// The space of the device that the database is on.
#[derive(Debug)]
pub(super) struct Space {
    path: PathBuf,
    flushed: Option<Instant>,
}

/// Which batches are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    All,
    Deletes,
    Nothing,
}

impl Room {
    /// Whether a batch of this size may be written.
    pub(super) fn admits(self, batch: &Batch, bytes: usize) -> bool {
        let deletes = |write: &Write| matches!(write, Write::Delete(..) | Write::DeleteRange(..));
        match self {
            Self::All => true,
            Self::Deletes => bytes <= SMALL && batch.writes.iter().any(deletes),
            Self::Nothing => false,
        }
    }
}

impl Space {
    pub(super) fn of(db: &Database) -> Self {
        Self { path: db.path().to_owned(), flushed: None }
    }

    /// What there is room for if a group of `bytes` is to be written.
    pub(super) fn room(&mut self, db: &Database, bytes: usize) -> Room {
        // A device that cannot say is taken for a large one.
        let Ok(device) = rustix::fs::statvfs(&self.path) else { return Room::All };
        let free = device.f_bavail.saturating_mul(device.f_frsize);
        // To the log now, to a table later.
        let group = 2 * bytes as u64;
        if free >= AMPLE + group {
            return Room::All;
        }
        let slack = SLACK.min(device.f_blocks.saturating_mul(device.f_frsize) / SLACK_SHARE);
        let room = room(free, group, db.buffered_bytes(), slack);
        if room != Room::All && self.flushed.is_none_or(|at| at.elapsed() > FLUSH_EVERY) {
            // Tables take no more space than the log that they make obsolete.
            self.flushed = Some(Instant::now());
            let mut options = FlushOptions::default();
            options.set_wait(false);
            if let Err(error) = db.flush_tables(&options) {
                tracing::warn!(%error, "cannot flush metadata to free its log");
            }
        }
        room
    }
}

fn room(free: u64, group: u64, buffered: u64, slack: u64) -> Room {
    if free >= buffered + slack + group {
        Room::All
    } else if free >= slack / 4 + group {
        Room::Deletes
    } else {
        Room::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Namespace, Table};

    #[test]
    fn growth_stops_before_deletes_do() {
        assert_eq!(room(100 * MIB, MIB, 64 * MIB, 8 * MIB), Room::All);
        assert_eq!(room(72 * MIB, MIB, 64 * MIB, 8 * MIB), Room::Deletes);
        assert_eq!(room(72 * MIB, MIB, 10 * MIB, 8 * MIB), Room::All);
        assert_eq!(room(4 * MIB, 0, 64 * MIB, 8 * MIB), Room::Deletes);
        assert_eq!(room(MIB, 0, 0, 8 * MIB), Room::Nothing);
    }

    #[test]
    fn a_body_is_no_delete_even_if_it_replaces_one() {
        let ns = Namespace::global(Table::Bodies);
        let mut batch = Batch::new();
        batch.put(ns, "new", "body");
        assert!(!Room::Deletes.admits(&batch, 7));
        batch.delete(ns, "old");
        assert!(Room::Deletes.admits(&batch, 10));
        assert!(!Room::Deletes.admits(&batch, SMALL + 1));
        assert!(!Room::Nothing.admits(&batch, 10));
    }
}
