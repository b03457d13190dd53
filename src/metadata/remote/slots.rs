//! Names for commits, so that none is done twice.
//!
//! A slot is used by one commit at a time, each under a higher number. The module remembers the last number of each
//! slot, so what it must remember is bounded, and a commit that was given up cannot come after its successors.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metadata::MetadataError;

/// Commits under way at a time: enough to fill the module's groups.
const SLOTS: u32 = 256;
/// Longest wait for a slot.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// All slots.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Mutex<Vec<Numbered>>>,
    turns: Arc<Semaphore>,
}

#[derive(Clone, Copy, Debug)]
struct Numbered {
    slot: u32,
    sequence: u64,
}

/// A slot in use; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    number: Numbered,
    free: Arc<Mutex<Vec<Numbered>>>,
    _turn: OwnedSemaphorePermit,
}

impl Default for Slots {
    fn default() -> Self {
        let all = (0..SLOTS).rev().map(|slot| Numbered { slot, sequence: 0 }).collect();
        let turns = usize::try_from(SLOTS).unwrap_or(1);
        Self { free: Arc::new(Mutex::new(all)), turns: Arc::new(Semaphore::new(turns)) }
    }
}

impl Slots {
    /// Takes a slot, under its next number.
    ///
    /// # Errors
    /// [`MetadataError::Busy`] where none comes free in time.
    pub(super) async fn take(&self) -> Result<Slot, MetadataError> {
        let turn = tokio::time::timeout(LONGEST_WAIT, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(MetadataError::Busy) };
        // Under so many turns there are as many slots.
        let mut number = self.free.lock().pop().ok_or(MetadataError::Busy)?;
        number.sequence += 1;
        Ok(Slot { number, free: Arc::clone(&self.free), _turn: turn })
    }
}

impl Slot {
    pub(super) fn number(&self) -> u32 {
        self.number.slot
    }

    pub(super) fn sequence(&self) -> u64 {
        self.number.sequence
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before the turn, which goes when the fields are dropped.
        self.free.lock().push(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_slot_is_used_twice_at_a_time_nor_twice_under_one_number() {
        let slots = Slots::default();
        let first = slots.take().await.unwrap();
        let second = slots.take().await.unwrap();
        assert_ne!(first.number(), second.number());
        let (number, sequence) = (first.number(), first.sequence());
        drop(first);
        let again = slots.take().await.unwrap();
        assert_eq!((again.number(), again.sequence()), (number, sequence + 1));
    }
}
