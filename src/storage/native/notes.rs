//! The notes of publications, as this process knows them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    storage::{
        Storage,
        garbage::{Unconfirmed, wait_longer},
        records::Pending,
    },
    types::Timestamp,
};

/// The notes of publications, by row: those under way, and those whose outcome nobody knows.
#[derive(Debug, Default)]
pub(in crate::storage) struct Notes(Mutex<HashMap<Bytes, Note>>);

#[derive(Clone, Debug)]
struct Note {
    activity: Activity,
    location: String,
    /// When it was written.
    since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    UnderWay,
    /// Since when nobody here works on it.
    Unsettled(Instant),
}

impl Activity {
    fn unsettled() -> Self {
        Self::Unsettled(Instant::now())
    }

    const fn is_unsettled(self) -> bool {
        matches!(self, Self::Unsettled(_))
    }
}

/// A publication under way. When it goes, a note that is still there is unsettled.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    storage: &'a Storage,
    row: &'a Bytes,
}

impl Notes {
    /// Whether there is a note, or may be.
    pub(super) fn has(&self, row: &Bytes) -> bool {
        self.0.lock().contains_key(row)
    }

    pub(super) fn is_unsettled(&self, row: &Bytes) -> bool {
        self.0.lock().get(row).is_some_and(|note| note.activity.is_unsettled())
    }

    pub(super) fn unsettled(&self) -> Vec<Bytes> {
        let notes = self.0.lock();
        notes.iter().filter(|(_, note)| note.activity.is_unsettled()).map(|(row, _)| row.clone()).collect()
    }

    /// What is left of a time that begins when nobody here works on the publication any more.
    pub(super) fn left_of(&self, row: &Bytes, time: Duration) -> Duration {
        match self.0.lock().get(row).map(|note| note.activity) {
            Some(Activity::Unsettled(since)) => time.saturating_sub(since.elapsed()),
            Some(Activity::UnderWay) | None => Duration::ZERO,
        }
    }

    pub(super) fn remove(&self, row: &Bytes) {
        self.0.lock().remove(row);
    }

    pub(super) fn location_of(&self, row: &Bytes) -> String {
        self.0.lock().get(row).map(|note| note.location.clone()).unwrap_or_default()
    }

    /// Begins again with what a crash left.
    pub(super) fn found(&self, row: Bytes, note: &Pending, now: Timestamp) {
        let since = if note.noted_ms == 0 { now } else { Timestamp::from_millis(note.noted_ms) };
        let note = Note { activity: Activity::unsettled(), location: note.location.clone(), since };
        self.0.lock().insert(row, note);
    }

    /// The unsettled ones, by location.
    pub(in crate::storage) fn unconfirmed(&self) -> BTreeMap<String, Unconfirmed> {
        let mut all = BTreeMap::new();
        for note in self.0.lock().values().filter(|note| note.activity.is_unsettled()) {
            wait_longer(&mut all, &note.location, note.since);
        }
        all
    }
}

impl<'a> UnderWay<'a> {
    pub(super) fn begin(storage: &'a Storage, row: &'a Bytes, note: &Pending) -> Self {
        let since = Timestamp::from_millis(note.noted_ms);
        let note = Note { activity: Activity::UnderWay, location: note.location.clone(), since };
        storage.inner.notes.0.lock().insert(row.clone(), note);
        Self { storage, row }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut notes = self.storage.inner.notes.0.lock();
        if let Some(note) = notes.get_mut(self.row) {
            note.activity = Activity::unsettled();
            self.storage.inner.garbage.wake();
        }
    }
}
