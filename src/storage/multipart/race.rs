//! Uploads of one part number that race, where the store puts the parts together itself.
//!
//! Such a store has one part for each number: of two that arrive at once it keeps the later, and only it knows which that
//! is. Both bodies flow side by side, since a client that repeats a part must not wait for the connection that it gave
//! up. What is serialised is the end: one after the other asks the store which part it has, and only the writer of that
//! one names it. The other one's part was there and gave way at once, which is what its client is told.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, MutexGuard};

use crate::{
    data::DataError,
    location::Location,
    storage::{StorageResult, native::native, records::UploadRecord},
    types::UploadId,
};

/// Writers and the race of each part.
type Races = Mutex<HashMap<(UploadId, u16), (usize, Arc<Race>)>>;

/// The parts of stores' own uploads that are being written now.
#[derive(Debug, Default)]
pub(in crate::storage) struct PartRaces(Races);

/// The writers of one part.
#[derive(Debug, Default)]
struct Race {
    /// Somebody else wrote it at the same time.
    is_contested: AtomicBool,
    end: Turn<()>,
}

/// A writer of a part; the last one to leave takes the race away.
#[derive(Debug)]
pub(in crate::storage) struct Racer<'a> {
    races: &'a Races,
    part: (UploadId, u16),
    race: Arc<Race>,
}

impl PartRaces {
    /// Begins to write a part.
    pub(in crate::storage) fn enter(&self, part: (UploadId, u16)) -> Racer<'_> {
        let mut all = self.0.lock();
        let (writers, race) = all.entry(part).or_default();
        *writers += 1;
        if *writers > 1 {
            race.is_contested.store(true, Ordering::Release);
        }
        Racer { races: &self.0, part, race: Arc::clone(race) }
    }
}

impl Drop for Racer<'_> {
    fn drop(&mut self) {
        let mut all = self.races.lock();
        if let Entry::Occupied(mut entry) = all.entry(self.part) {
            let (writers, _) = entry.get_mut();
            *writers -= 1;
            if *writers == 0 {
                entry.remove();
            }
        }
    }
}

impl Racer<'_> {
    /// Waits until no other writer of the part is about to name it.
    pub(in crate::storage) async fn last_word(&self) -> MutexGuard<'_, ()> {
        self.race.end.lock().await
    }

    /// Whether the part that was just written, `token`, is still the one that the store has. Asked by whoever has the
    /// last word.
    ///
    /// # Errors
    /// Where the store does not tell.
    pub(in crate::storage) async fn stands(
        &self,
        location: &Location,
        upload: &UploadRecord,
        token: &str,
    ) -> StorageResult<bool> {
        if !self.race.is_contested.load(Ordering::Acquire) {
            return Ok(true);
        }
        match native(location)?.part_there(&upload.handle, u32::from(self.part.1)).await {
            // Where it has none of that number the upload is gone, which naming the part finds out.
            Ok(there) => Ok(there.is_none_or(|there| there == token)),
            Err(DataError::NotFound(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writers_of_one_part_at_one_time_race() {
        let races = PartRaces::default();
        let ids: Vec<UploadId> = (1..=2).map(|id| UploadId::from_bytes([id; 16])).collect();
        let contested = |racer: &Racer<'_>| racer.race.is_contested.load(Ordering::Acquire);
        let first = races.enter((ids[0], 1));
        let others = [races.enter((ids[0], 2)), races.enter((ids[1], 1))];
        assert!(!contested(&first) && !others.iter().any(contested));
        let second = races.enter((ids[0], 1));
        assert!(contested(&first) && contested(&second));
        drop(first);
        let third = races.enter((ids[0], 1));
        assert!(contested(&third), "the second is still at it");
        drop((second, third, others));
        assert!(races.0.lock().is_empty(), "nothing stays behind");
        assert!(!contested(&races.enter((ids[0], 1))), "and a race that is over is over");
    }
}
