//! Room that is held for what a store is publishing, so that no other writer takes it meanwhile.
//!
//! It counts against the limits of bucket and location, in counters of its own: it belongs to no version yet, and no
//! report shows it. The note of the publication says how much it is; whoever ends the publication gives up just that.

use super::{
    change::{Change, places, signed},
    keys,
    location_usage::hold_at_location,
    records::Pending,
};
use crate::{
    metadata::{Batch, Namespace, Table},
    types::BucketId,
};

/// What a publication holds until it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    location_bytes: u64,
    bucket_bytes: u64,
    bucket_versions: u64,
}

impl Held {
    /// Room for what a change brings, where limits are to be kept.
    pub(super) fn of_change(change: &Change<'_>) -> Self {
        let (bucket_bytes, bucket_versions) = change.growing_bucket();
        let location_bytes = change.growing_locations().iter().map(|(_, by)| by.unsigned_abs()).sum();
        Self { location_bytes, bucket_bytes, bucket_versions }
    }

    /// The room that a note says is held.
    fn of_note(note: &Pending) -> Self {
        let Pending { held_at_location, held_bytes, held_versions, .. } = *note;
        Self { location_bytes: held_at_location, bucket_bytes: held_bytes, bucket_versions: held_versions }
    }

    /// The note, saying what is held.
    pub(super) fn noted(self, note: Pending) -> Pending {
        let Self { location_bytes, bucket_bytes, bucket_versions } = self;
        Pending { held_at_location: location_bytes, held_bytes: bucket_bytes, held_versions: bucket_versions, ..note }
    }

    fn count_at_location(self, batch: &mut Batch, note: &Pending, sign: i64) {
        if self.location_bytes != 0 {
            hold_at_location(batch, &note.location, sign * signed(self.location_bytes));
        }
    }

    fn count_in_bucket(self, batch: &mut Batch, note: &Pending, sign: i64) {
        let held = [signed(self.bucket_bytes), signed(self.bucket_versions)];
        if held != [0; 2] {
            let mut deltas = vec![0; places::HELD_BYTES];
            deltas.extend(held.map(|count| sign * count));
            batch.add(Namespace::of(Table::Usage, BucketId::new(note.bucket)), keys::USAGE, deltas);
        }
    }
}

/// Takes the room that a note says is held, in the batch that stores the note.
pub(super) fn hold(batch: &mut Batch, note: &Pending) {
    let held = Held::of_note(note);
    held.count_at_location(batch, note, 1);
    held.count_in_bucket(batch, note, 1);
}

/// Gives up the room that a note holds, in the batch that removes the note: what was being published is a version now,
/// or nothing. A bucket that is gone has no counters any more.
pub(super) fn release(batch: &mut Batch, note: &Pending, bucket_lives: bool) {
    let held = Held::of_note(note);
    held.count_at_location(batch, note, -1);
    if bucket_lives {
        held.count_in_bucket(batch, note, -1);
    }
}
