//! The reserve of free space that puts may not touch.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    super::DataError,
    disk::{Disk, fault},
};

/// Watches over the reserve.
#[derive(Debug)]
pub(super) struct Space {
    reserve: u64,
    low: AtomicBool,
}

impl Space {
    pub(super) fn new(reserve: u64) -> Self {
        Self { reserve, low: AtomicBool::new(false) }
    }

    /// Whether the last check found the device full.
    pub(super) fn was_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Refuses to use `needed` bytes where that would touch the reserve. Blocks.
    pub(super) fn check(&self, disk: &dyn Disk, needed: u64) -> Result<(), DataError> {
        let available = disk.usage().map_err(fault)?.available;
        // One put too large for the device says nothing about the next one.
        self.low.store(available < self.reserve, Ordering::Relaxed);
        if available < self.reserve.saturating_add(needed) { Err(DataError::NoSpace) } else { Ok(()) }
    }
}
