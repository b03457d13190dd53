//! What may still be written when the device is nearly full.
//!
//! RocksDB must not meet the end of the device: it would refuse everything, deletes too, until a table's worth of space
//! is free again. So commits are refused before that. What is in the log is to be written once more, as tables, so that
//! much stays free; then deletes, which make space, still have some to be written in, and a restart can read the log.
//!
//! What may use that reserve is told by the batch: it is small, it removes something, and it brings no body. A write that
//! replaces an object removes one, too, but clients can repeat it until nothing is left for deletes.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rocksdb::FlushOptions;

use super::open::Database;
use crate::metadata::{Batch, Table, Write};

const MIB: u64 = 1 << 20;
/// With more than this free nothing is near, whatever is buffered.
const AMPLE: u64 = 512 * MIB;
/// Kept free beside what is buffered, for compactions, the manifest and other programs: this, or a share of a small
/// device. A quarter of it is kept even from deletes.
const SLACK: u64 = 8 * MIB;
const SLACK_SHARE: u64 = 16;
/// A batch of deletes is records and no bodies, in bytes.
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
        let brings = |write: &Write| matches!(write, Write::Put(ns, ..) if ns.table == Table::Bodies);
        match self {
            Self::All => true,
            // Who only asks takes no space.
            _ if batch.writes.is_empty() => true,
            Self::Deletes => bytes <= SMALL && batch.writes.iter().any(deletes) && !batch.writes.iter().any(brings),
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
    use crate::metadata::Namespace;

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
        let (bodies, current) = (Namespace::global(Table::Bodies), Namespace::global(Table::Current));
        let mut batch = Batch::new();
        batch.put(current, "key", "record");
        assert!(!Room::Deletes.admits(&batch, 7));
        batch.delete(bodies, "old");
        assert!(Room::Deletes.admits(&batch, 10), "an object without a body takes the place of one with a body");
        assert!(!Room::Deletes.admits(&batch, SMALL + 1));
        assert!(!Room::Nothing.admits(&batch, 10));
        batch.put(bodies, "new", "body");
        assert!(!Room::Deletes.admits(&batch, 20));
        assert!(Room::All.admits(&batch, 20));
        assert!(Room::Nothing.admits(&Batch::new(), 1), "whoever asks whether it may still write");
    }
}
