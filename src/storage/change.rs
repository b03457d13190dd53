//! A change of one bucket under construction: the batch, and what it frees, counts and tells.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    buckets::Bucket,
    keys,
    location_usage::LocationDeltas,
    lock::Removable,
    records::{Garbage, GarbageKind, JournalEntry, JournalOp, ObjectRecord, Record, Segment},
};
use crate::{
    metadata::{Batch, Condition, Growth, Namespace, Table},
    types::{ObjectKey, Timestamp, UploadId, VersionId},
};

/// The place of each counter in a bucket's usage value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UsageDelta {
    /// Keys with a current version that is no marker.
    pub(super) objects: i64,
    /// Versions that are no markers, current ones included.
    pub(super) versions: i64,
    /// Bytes of those versions.
    pub(super) bytes: i64,
    /// Bytes of the parts of open uploads.
    pub(super) upload_bytes: i64,
}

/// Where the counters and limits of a bucket are in its usage value.
pub(super) mod places {
    /// As [`super::UsageDelta::objects`].
    pub(in crate::storage) const OBJECTS: usize = 0;
    /// As [`super::UsageDelta::versions`].
    pub(in crate::storage) const VERSIONS: usize = 1;
    /// As [`super::UsageDelta::bytes`].
    pub(in crate::storage) const BYTES: usize = 2;
    /// As [`super::UsageDelta::upload_bytes`].
    pub(in crate::storage) const UPLOADS: usize = 3;
    /// Most bytes of versions and parts together; 0 for any number.
    pub(in crate::storage) const MAX_BYTES: usize = 4;
    /// Most versions; 0 for any number.
    pub(in crate::storage) const MAX_VERSIONS: usize = 5;
    /// Bytes that are held for what is being published.
    pub(in crate::storage) const HELD_BYTES: usize = 6;
    /// Versions that are held for it.
    pub(in crate::storage) const HELD_VERSIONS: usize = 7;
    /// How many places there are.
    pub(in crate::storage) const COUNT: usize = 8;
}

/// A batch for one bucket.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) batch: Batch,
    pub(super) usage: UsageDelta,
    /// What comes to the counters of locations: it always goes with the bucket's.
    pub(super) locations: LocationDeltas,
    freed: Vec<Segment>,
    leaves_garbage: bool,
    /// Whether the first condition is the bucket's life: its limits can be checked there.
    guarded: bool,
    demand: Demand,
}

/// Which limits of the bucket a change must keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Demand {
    /// Those of the counters it makes larger: what deletes or shrinks is always allowed.
    #[default]
    Growth,
    /// All, whatever it changes.
    All,
    /// All, with room for one more byte and one more version: something is about to begin.
    More,
}

impl Demand {
    /// What a counter must have room for.
    fn of(self, growth: i64) -> Option<i64> {
        match self {
            Self::Growth => (growth > 0).then_some(growth),
            Self::All => Some(growth),
            Self::More => Some(growth.max(1)),
        }
    }
}

impl<'a> Change<'a> {
    /// A change that happens only while the bucket lives.
    pub(super) fn new(bucket: &'a Bucket) -> Self {
        let mut batch = Batch::new();
        batch.require(Namespace::of(Table::Usage, bucket.id), keys::USAGE, Condition::Present);
        Self { guarded: true, ..Self::over(bucket, batch) }
    }

    /// A change over a batch with conditions of its own.
    pub(super) fn over(bucket: &'a Bucket, batch: Batch) -> Self {
        Self {
            bucket,
            batch,
            usage: UsageDelta::default(),
            locations: LocationDeltas::default(),
            freed: Vec::new(),
            leaves_garbage: false,
            guarded: false,
            demand: Demand::Growth,
        }
    }

    /// Asks for more than that the change itself keeps the limits.
    pub(super) fn demand(&mut self, demand: Demand) {
        self.demand = demand;
    }

    /// Leaves out the limits: they were kept when what is to be published now was noted.
    pub(super) fn within_limits(&mut self) {
        self.guarded = false;
    }

    /// The bucket's share of a table.
    pub(super) fn ns(&self, table: Table) -> Namespace {
        Namespace::of(table, self.bucket.id)
    }

    /// Stores a version's record where the newest versions are.
    pub(super) fn put_current(&mut self, key: &ObjectKey, record: &ObjectRecord) {
        self.batch.put(self.ns(Table::Current), key.as_bytes().to_vec(), record.to_bytes());
    }

    /// Stores a version's record among the older ones and the markers.
    pub(super) fn put_version(&mut self, key: &ObjectKey, record: &ObjectRecord) {
        self.batch.put(self.ns(Table::Versions), keys::version(key, record.version_id()), record.to_bytes());
    }

    /// Removes the record of the current version.
    pub(super) fn delete_current(&mut self, key: &ObjectKey) {
        self.batch.delete(self.ns(Table::Current), key.as_bytes().to_vec());
    }

    /// Removes the record of an older version or a marker.
    pub(super) fn delete_version(&mut self, key: &ObjectKey, id: VersionId) {
        self.batch.delete(self.ns(Table::Versions), keys::version(key, id));
    }

    /// Counts a version that is now there.
    pub(super) fn count(&mut self, record: &ObjectRecord) {
        if !record.delete_marker {
            self.usage.versions += 1;
            self.locations.versions(&record.location, 1);
            self.grow(&record.location, signed(record.stored_bytes()));
        }
    }

    /// Counts bytes that a version at this location gets, or loses.
    pub(super) fn grow(&mut self, location: &str, bytes: i64) {
        self.usage.bytes += bytes;
        self.locations.bytes(location, bytes);
    }

    /// Counts bytes that the parts of an upload to this location get, or lose.
    pub(super) fn grow_upload(&mut self, location: &str, bytes: i64) {
        self.usage.upload_bytes += bytes;
        self.locations.upload_bytes(location, bytes);
    }

    /// Frees the data of a version that is gone, and uncounts it.
    pub(super) fn free(&mut self, removable: &Removable<'_>) {
        let record = removable.record();
        if record.delete_marker {
            // The marker of a store that has such, too.
            return record.segments.iter().for_each(|segment| self.free_segment(segment));
        }
        self.usage.versions -= 1;
        self.locations.versions(&record.location, -1);
        self.grow(&record.location, -signed(record.stored_bytes()));
        if !record.annotation_id.is_empty() {
            self.free_upload(&record.annotation_id);
        }
        if record.layout.is_some() {
            self.free_upload(&record.upload_id);
            if !record.segments.is_empty() {
                self.free_parts(record);
            }
        } else if record.segments.len() > 1 {
            self.free_parts(record);
        } else {
            record.segments.iter().for_each(|segment| self.free_segment(segment));
        }
    }

    /// Frees the bytes of a version that goes on as `now`, with bytes elsewhere; annotations and lock go with it.
    pub(super) fn free_bytes(&mut self, was: &ObjectRecord, now: &ObjectRecord) {
        for (record, sign) in [(was, -1), (now, 1)] {
            self.locations.versions(&record.location, sign);
            self.grow(&record.location, sign * signed(record.stored_bytes()));
        }
        if was.layout.is_some() && was.upload_id != now.upload_id {
            self.free_upload(&was.upload_id);
        }
        if was.segments.len() > 1 || (was.layout.is_some() && !was.segments.is_empty()) {
            self.free_parts(was);
        } else {
            was.segments.iter().for_each(|segment| self.free_segment(segment));
        }
    }

    /// Frees a run of bytes.
    pub(super) fn free_segment(&mut self, segment: &Segment) {
        if !segment.body.is_empty() {
            self.batch.delete(self.ns(Table::Bodies), segment.body.clone());
        } else if segment.is_stored() {
            self.freed.push(bare(segment));
        }
    }

    /// Frees an object of several segments. Its readers open them one by one: the garbage worker waits for them,
    /// and knows them by the upload.
    fn free_parts(&mut self, record: &ObjectRecord) {
        let segments = record.segments.iter().filter(|segment| segment.is_stored()).map(bare).collect();
        self.leave(GarbageKind::Segments, segments, record.upload_id.clone());
    }

    /// Frees segments whose bytes are elsewhere now. Readers of the object may still be on their way through them: the
    /// garbage worker waits for those of the upload.
    pub(super) fn free_moved(&mut self, segments: &[Segment], upload_id: &Bytes) {
        let (bodies, blobs): (Vec<_>, Vec<_>) =
            segments.iter().filter(|segment| segment.is_stored()).partition(|segment| !segment.body.is_empty());
        for segment in bodies {
            self.batch.delete(self.ns(Table::Bodies), segment.body.clone());
        }
        if !blobs.is_empty() {
            self.leave(GarbageKind::Segments, blobs.into_iter().map(bare).collect(), upload_id.clone());
        }
    }

    /// Leaves what hangs on an upload id to the garbage worker.
    pub(super) fn free_upload(&mut self, upload_id: &Bytes) {
        self.leave(GarbageKind::Upload, Vec::new(), upload_id.clone());
    }

    /// Leaves what a deleted bucket held to the garbage worker.
    pub(super) fn free_bucket(&mut self) {
        self.leave(GarbageKind::Bucket, Vec::new(), Bytes::new());
    }

    /// Leaves what a store has of an upload to the garbage worker.
    pub(super) fn free_staged(&mut self, location: &str, handle: &str) {
        let (location, handle) = (location.to_owned(), handle.to_owned());
        self.note(Garbage { handle, location, ..Garbage::of(GarbageKind::Staged) });
    }

    /// Has the garbage worker tell a store of the tags that the version will have by then.
    pub(super) fn mirror_tags(&mut self, key: &ObjectKey, record: &ObjectRecord) {
        let version = Bytes::copy_from_slice(&record.version_id().to_key());
        let location = record.segments.first().map(|first| first.location.clone()).unwrap_or_default();
        self.note(Garbage { key: key.as_str().to_owned(), version, location, ..Garbage::of(GarbageKind::Tags) });
    }

    /// Has the garbage worker put a delete marker into a store.
    pub(super) fn mirror_marker(&mut self, location: &str, key: &ObjectKey, marker: &ObjectRecord) {
        self.note(Garbage {
            location: location.to_owned(),
            key: key.as_str().to_owned(),
            version: Bytes::copy_from_slice(&marker.version_id().to_key()),
            ..Garbage::of(GarbageKind::Marker)
        });
    }

    fn leave(&mut self, kind: GarbageKind, segments: Vec<Segment>, upload_id: Bytes) {
        self.note(Garbage { segments, upload_id, ..Garbage::of(kind) });
    }

    fn note(&mut self, garbage: Garbage) {
        let bucket_name = if garbage.key.is_empty() { String::new() } else { self.bucket.name.as_str().to_owned() };
        let garbage = Garbage { bucket: self.bucket.id.get(), bucket_name, ..garbage };
        self.batch.append(Namespace::global(Table::Garbage), garbage.to_bytes());
        self.leaves_garbage = true;
    }

    /// Tells the journal.
    pub(super) fn tell(&mut self, op: JournalOp, key: &str, version: Option<VersionId>, at: Timestamp) {
        let entry = JournalEntry {
            op: op.into(),
            bucket: self.bucket.name.as_str().to_owned(),
            key: key.to_owned(),
            stamp: version.map_or(0, VersionId::stamp),
            at_ms: at.as_millis(),
            group: version.map(|id| Bytes::copy_from_slice(&id.group())).unwrap_or_default(),
        };
        self.batch.append(Namespace::global(Table::Journal), entry.to_bytes());
    }

    /// Bytes and versions that come to the bucket, where its limits are to be kept.
    pub(super) fn growing_bucket(&self) -> (u64, u64) {
        let grown = |by: i64| if self.guarded { u64::try_from(by).unwrap_or_default() } else { 0 };
        (grown(self.usage.bytes + self.usage.upload_bytes), grown(self.usage.versions))
    }

    /// Bytes that come to locations, where limits are to be kept.
    pub(super) fn growing_locations(&self) -> Vec<(String, i64)> {
        if self.guarded { self.locations.growing() } else { Vec::new() }
    }

    /// What the bucket must have room for. The limits are in the counters' own row, so no write misses a new one, and
    /// a bucket without limits pays nothing.
    fn growth(&self) -> Vec<Growth> {
        if !self.guarded {
            return Vec::new();
        }
        let bytes = self.demand.of(self.usage.bytes + self.usage.upload_bytes);
        let versions = self.demand.of(self.usage.versions);
        let bytes = bytes.map(|by| Growth {
            places: Cow::Borrowed(&[places::BYTES, places::UPLOADS, places::HELD_BYTES]),
            bound: places::MAX_BYTES,
            by,
        });
        let versions = versions.map(|by| Growth {
            places: Cow::Borrowed(&[places::VERSIONS, places::HELD_VERSIONS]),
            bound: places::MAX_VERSIONS,
            by,
        });
        bytes.into_iter().chain(versions).collect()
    }

    /// The finished batch, and whether it leaves garbage behind.
    pub(super) fn finish(mut self) -> (Batch, bool) {
        let UsageDelta { objects, versions, bytes, upload_bytes } = self.usage;
        let growth = self.growth();
        if let Some((_, _, condition)) = self.batch.conditions.first_mut().filter(|_| !growth.is_empty()) {
            *condition = Condition::Room(growth);
        }
        if self.usage != UsageDelta::default() {
            let ns = self.ns(Table::Usage);
            self.batch.add(ns, keys::USAGE, vec![objects, versions, bytes, upload_bytes]);
        }
        self.locations.write(self.bucket.id, &mut self.batch);
        let freed = std::mem::take(&mut self.freed);
        if !freed.is_empty() {
            self.leave(GarbageKind::Segments, freed, Bytes::new());
        }
        (self.batch, self.leaves_garbage)
    }
}

/// A segment without what only readers of the object need.
fn bare(segment: &Segment) -> Segment {
    Segment { checksum: None, md5: Bytes::new(), ..segment.clone() }
}

/// The upload id in a record's bytes.
pub(super) fn upload_id(bytes: &Bytes) -> Option<UploadId> {
    Some(UploadId::from_bytes(bytes.as_ref().try_into().ok()?))
}

/// Sizes are far below 2^63: objects have at most 50 TB.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
