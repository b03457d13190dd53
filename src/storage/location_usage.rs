//! What locations hold: counters that change in the very batches that change what is there.
//!
//! | row | counters |
//! |---|---|
//! | System, `location/` ‖ name | versions, bytes of versions, bytes of parts of open uploads, most bytes (0: any), bytes of what is being published |
//! | Usage of a bucket, `uploads/` ‖ name | bytes of parts of its open uploads |
//!
//! A version counts where its record says it is, with its annotations, whatever became of single segments. The limit is
//! in the row of the counters and a condition of each commit that comes nearer to it: no number of writers passes it.
//! The rows of buckets let a bucket go with its open uploads, however many those are.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::{Change, signed},
    keys,
    records::{BucketRecord, ObjectRecord, PartRecord, Record, UploadRecord, Versioning},
};
use crate::{
    location::{Location, LocationTable},
    metadata::{Batch, Condition, Direction, Growth, MetadataError, Namespace, Table, counters},
    types::{BucketId, ObjectKey, UploadId},
};

const SYSTEM: Namespace = Namespace::global(Table::System);
const BUCKETS: Namespace = Namespace::global(Table::Buckets);
/// Set once all rows were counted: stores of earlier releases have none.
const COUNTED: &[u8] = b"locations counted";
/// Rows read at a time.
const PAGE: usize = 1024;

/// Attempts to set a limit that others set, too.
const ATTEMPTS: usize = 8;

/// Places in a location's row.
mod places {
    pub(super) const BYTES: usize = 1;
    pub(super) const UPLOADS: usize = 2;
    pub(super) const MAX_BYTES: usize = 3;
    pub(super) const HELD: usize = 4;
}

/// What a location holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocationUsage {
    /// Versions that are no markers.
    pub versions: i64,
    /// Bytes of those versions and of their annotations.
    pub bytes: i64,
    /// Bytes of the parts of open uploads.
    pub upload_bytes: i64,
    /// Bytes that are being published: they have room, and belong to no version yet.
    pub held_bytes: i64,
}

/// A location that is in use and not configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphaned {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub usage: LocationUsage,
    /// Buckets whose objects go there.
    pub buckets: u64,
}

/// What a change brings to locations, or takes from them.
#[derive(Debug, Default)]
pub(super) struct LocationDeltas(BTreeMap<String, LocationUsage>);

/// Growth of locations that have a limit.
#[derive(Debug, Default)]
pub(super) struct BoundedGrowth(Vec<(String, i64)>);

/// Which condition of a batch is which location's limit.
#[derive(Debug, Default)]
pub(super) struct LocationConditions(Vec<(usize, String)>);

impl LocationUsage {
    /// Bytes that count against a limit.
    pub fn stored_bytes(&self) -> i64 {
        self.bytes.saturating_add(self.upload_bytes).saturating_add(self.held_bytes)
    }

    /// Whether it holds anything, or soon will.
    pub fn is_used(&self) -> bool {
        *self != Self::default()
    }

    fn read(stored: &[u8]) -> StorageResult<Self> {
        let mut counters = counters::decode(stored)?.into_iter();
        let mut next = || counters.next().unwrap_or_default();
        let (versions, bytes, upload_bytes, _limit) = (next(), next(), next(), next());
        Ok(Self { versions, bytes, upload_bytes, held_bytes: next() })
    }

    fn deltas(self) -> Vec<i64> {
        let Self { versions, bytes, upload_bytes, held_bytes } = self;
        if held_bytes == 0 {
            vec![versions, bytes, upload_bytes]
        } else {
            vec![versions, bytes, upload_bytes, 0, held_bytes]
        }
    }
}

impl LocationDeltas {
    /// Counts versions.
    pub(super) fn versions(&mut self, location: &str, count: i64) {
        self.add(location, LocationUsage { versions: count, ..LocationUsage::default() });
    }

    /// Counts bytes of versions.
    pub(super) fn bytes(&mut self, location: &str, count: i64) {
        self.add(location, LocationUsage { bytes: count, ..LocationUsage::default() });
    }

    /// Counts bytes of parts.
    pub(super) fn upload_bytes(&mut self, location: &str, count: i64) {
        self.add(location, LocationUsage { upload_bytes: count, ..LocationUsage::default() });
    }

    /// What is nowhere is not counted.
    fn add(&mut self, location: &str, more: LocationUsage) {
        if location.is_empty() {
            return;
        }
        let sum = match self.0.get_mut(location) {
            Some(known) => known,
            None => self.0.entry(location.to_owned()).or_default(),
        };
        sum.versions += more.versions;
        sum.bytes += more.bytes;
        sum.upload_bytes += more.upload_bytes;
    }

    /// Locations that get more than they lose, and how much more.
    pub(super) fn growing(&self) -> Vec<(String, i64)> {
        let grown = self.0.iter().map(|(name, usage)| (name, usage.stored_bytes()));
        grown.filter(|(_, by)| *by > 0).map(|(name, by)| (name.clone(), by)).collect()
    }

    /// Makes them part of a batch of that bucket.
    pub(super) fn write(&self, bucket: BucketId, batch: &mut Batch) {
        for (location, usage) in self.0.iter().filter(|(_, usage)| **usage != LocationUsage::default()) {
            batch.add(SYSTEM, keys::location(location), usage.deltas());
            if usage.upload_bytes != 0 {
                let row = keys::uploads_to(location);
                batch.add(Namespace::of(Table::Usage, bucket), row, vec![usage.upload_bytes]);
            }
        }
    }
}

impl BoundedGrowth {
    /// Makes the limits conditions of a batch, behind all others: who lost a race must not be told of a full location.
    pub(super) fn require(self, batch: &mut Batch) {
        for (location, by) in self.0 {
            let counted: &[usize] = &[places::BYTES, places::UPLOADS, places::HELD];
            let growth = Growth { places: counted.into(), bound: places::MAX_BYTES, by };
            batch.require(SYSTEM, keys::location(&location), Condition::Room(vec![growth]));
        }
    }
}

impl LocationConditions {
    /// Those of a batch.
    pub(super) fn of(batch: &Batch) -> Self {
        let conditions = batch.conditions.iter().enumerate();
        let location = |(index, (ns, key, condition)): (usize, &(Namespace, Bytes, Condition))| {
            let name = key.strip_prefix(keys::LOCATION.as_bytes()).filter(|_| *ns == SYSTEM)?;
            let is_room = matches!(condition, Condition::Room(_));
            is_room.then(|| (index, String::from_utf8_lossy(name).into_owned()))
        };
        Self(conditions.filter_map(location).collect())
    }

    /// The location whose limit refused a batch, if that is what did.
    pub(super) fn full(&self, refusal: &MetadataError) -> Option<StorageError> {
        let MetadataError::Conflict(failed) = refusal else { return None };
        let found = self.0.iter().find(|(index, _)| index == failed);
        found.map(|(_, location)| StorageError::LocationFull(location.clone()))
    }
}

/// Counts bytes that are held at a location for what is being published, or no longer held.
pub(super) fn hold_at_location(batch: &mut Batch, location: &str, bytes: i64) {
    let held = LocationUsage { held_bytes: bytes, ..LocationUsage::default() };
    batch.add(SYSTEM, keys::location(location), held.deltas());
}

impl Storage {
    /// What a location holds.
    pub async fn usage_of_location(&self, name: &str) -> StorageResult<LocationUsage> {
        let stored = self.inner.metadata.get(SYSTEM, &keys::location(name)).await?;
        stored.as_deref().map_or(Ok(LocationUsage::default()), LocationUsage::read)
    }

    /// What every location holds that ever held something.
    pub async fn usage_of_locations(&self) -> StorageResult<BTreeMap<String, LocationUsage>> {
        let mut all = BTreeMap::new();
        let mut range = keys::beginning_with(keys::LOCATION);
        loop {
            let page = self.inner.metadata.scan(SYSTEM, range.clone(), Direction::Forward, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            range.start = keys::after(last);
            for (key, stored) in &page {
                let name = String::from_utf8_lossy(key.get(keys::LOCATION.len()..).unwrap_or_default()).into_owned();
                all.insert(name, LocationUsage::read(stored)?);
            }
        }
    }

    /// Locations that records or buckets name and `table` lacks.
    pub async fn orphaned_locations(&self, table: &LocationTable) -> StorageResult<Vec<Orphaned>> {
        let mut found = BTreeMap::new();
        for (name, usage) in self.usage_of_locations().await? {
            if table.get(&name).is_none() && usage != LocationUsage::default() {
                found.insert(name.clone(), Orphaned { name, usage, buckets: 0 });
            }
        }
        let mut start = Bytes::new();
        loop {
            let range = start.clone()..keys::end_of_all();
            let page = self.inner.metadata.scan(BUCKETS, range, Direction::Forward, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(found.into_values().collect()) };
            start = keys::after(last);
            for (_, stored) in &page {
                let name = BucketRecord::from_bytes(stored)?.location;
                if !name.is_empty() && table.get(&name).is_none() {
                    let nothing = Orphaned { name: name.clone(), usage: LocationUsage::default(), buckets: 0 };
                    found.entry(name).or_insert(nothing).buckets += 1;
                }
            }
        }
    }

    /// Makes the limits of these locations those of all later commits. To be called before the table is put in force.
    pub async fn limit_locations(&self, table: &LocationTable) -> StorageResult<()> {
        for location in table.iter() {
            let row = keys::location(&location.name);
            let limit = location.size_limit.map_or(0, signed);
            // What else changes in the row does not matter, and does. Only another setter is met, and that is rare.
            for _ in 0..ATTEMPTS {
                let stored = self.inner.metadata.get(SYSTEM, &row).await?;
                let known = counters::decode(stored.as_deref().unwrap_or_default())?;
                let old = known.get(places::MAX_BYTES).copied().unwrap_or_default();
                if old == limit && (stored.is_some() || location.size_limit.is_none()) {
                    break;
                }
                let mut batch = Batch::new();
                batch.add(SYSTEM, row.clone(), vec![0, 0, 0, limit - old]);
                self.inner.metadata.commit(batch).await?;
            }
        }
        Ok(())
    }

    /// The limits that a change comes nearer to.
    pub(super) fn bounded_growth(&self, mut growing: Vec<(String, i64)>) -> BoundedGrowth {
        let table = self.inner.locations.load();
        growing.retain(|(name, _)| table.get(name).is_some_and(|location| location.size_limit.is_some()));
        BoundedGrowth(growing)
    }

    /// Refuses bytes before they are read, where it is certain that they will not fit even though `freed` bytes give
    /// way. The commit decides.
    pub(super) async fn check_location_early(
        &self,
        location: &Location,
        length: Option<u64>,
        freed: u64,
    ) -> StorageResult<()> {
        let (Some(limit), Some(length)) = (location.size_limit, length) else { return Ok(()) };
        let grown = length.saturating_sub(freed);
        let used = u64::try_from(self.usage_of_location(&location.name).await?.stored_bytes()).unwrap_or_default();
        if grown > 0 && used.saturating_add(grown) > limit {
            return Err(StorageError::LocationFull((*location.name).to_owned()));
        }
        Ok(())
    }

    /// As [`Storage::check_location_early`], for the write of an object: the version that gives way leaves its bytes.
    pub(super) async fn check_location_of_put(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        (location, length): (&Location, Option<u64>),
    ) -> StorageResult<()> {
        if location.size_limit.is_none() || length.is_none() {
            return Ok(());
        }
        let mut freed = 0;
        if bucket.versioning() != Versioning::Enabled {
            let head = self.head(bucket, key).await?;
            let older = self.replaced_null(bucket, key, &head).await?.map(|older| older.record);
            let replaced = head.object().filter(|record| record.is_null).or(older.as_ref());
            let here = replaced.filter(|record| *record.location == *location.name);
            freed = here.map_or(0, ObjectRecord::stored_bytes);
        }
        self.check_location_early(location, length, freed).await
    }

    /// As [`Storage::check_location_early`], for a part: an earlier one of its number leaves its bytes.
    pub(super) async fn check_location_of_part(
        &self,
        bucket: &Bucket,
        (id, number): (UploadId, u16),
        (location, length): (&Location, Option<u64>),
    ) -> StorageResult<()> {
        if location.size_limit.is_none() || length.is_none() {
            return Ok(());
        }
        let old = self.inner.metadata.get(Namespace::of(Table::Parts, bucket.id), &keys::part(id, number)).await?;
        let freed = old.as_ref().map(PartRecord::from_bytes).transpose()?.map_or(0, |old| old.size());
        self.check_location_early(location, length, freed).await
    }

    /// Plans that a bucket's counters go, and that what its open uploads hold is taken from their locations. Parts that
    /// come meanwhile change one of the rows that this reads.
    pub(super) async fn uncount_bucket(&self, change: &mut Change<'_>) -> StorageResult<()> {
        let ns = change.ns(Table::Usage);
        let usage = self.inner.metadata.get(ns, keys::USAGE).await?.ok_or(StorageError::NoSuchBucket)?;
        let uploads = keys::beginning_with(keys::UPLOADS_TO);
        let rows = self.inner.metadata.scan(ns, uploads, Direction::Forward, usize::MAX).await?;
        change.batch.unchanged(ns, keys::USAGE, Some(&usage)).delete(ns, keys::USAGE);
        for (row, stored) in rows {
            let bytes = counters::decode(&stored)?.first().copied().unwrap_or_default();
            if bytes != 0 {
                let location = String::from_utf8_lossy(row.get(keys::UPLOADS_TO.len()..).unwrap_or_default());
                let gone = LocationUsage { upload_bytes: -bytes, ..LocationUsage::default() };
                change.batch.add(SYSTEM, keys::location(&location), gone.deltas());
            }
            change.batch.unchanged(ns, row.clone(), Some(&stored)).delete(ns, row);
        }
        Ok(())
    }

    /// Counts what locations hold, once: stores of earlier releases did not. Nobody may write meanwhile.
    pub(super) async fn count_locations(&self) -> StorageResult<()> {
        if self.inner.metadata.get(SYSTEM, COUNTED).await?.is_some() {
            return Ok(());
        }
        let mut total = LocationDeltas::default();
        let mut start = Bytes::new();
        loop {
            let range = start.clone()..keys::end_of_all();
            let page = self.inner.metadata.scan(BUCKETS, range, Direction::Forward, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            start = keys::after(last);
            for (_, stored) in &page {
                self.count_bucket(BucketId::new(BucketRecord::from_bytes(stored)?.id), &mut total).await?;
            }
        }
        let mut batch = Batch::new();
        for (location, usage) in &total.0 {
            let row = keys::location(location);
            let stored = self.inner.metadata.get(SYSTEM, &row).await?;
            let known = counters::decode(stored.as_deref().unwrap_or_default())?;
            let kept = |place: usize| known.get(place).copied().unwrap_or_default();
            // Notes of publications that a crash left hold what they hold.
            let (limit, held) = (kept(places::MAX_BYTES), kept(places::HELD));
            let counted = [usage.versions, usage.bytes, usage.upload_bytes, limit, held];
            batch.put(SYSTEM, row, counters::encode(&counted));
        }
        batch.put(SYSTEM, COUNTED, Bytes::from_static(b"1"));
        Ok(self.inner.metadata.commit(batch).await?)
    }

    async fn count_bucket(&self, bucket: BucketId, total: &mut LocationDeltas) -> StorageResult<()> {
        for table in [Table::Current, Table::Versions] {
            let mut start = Bytes::new();
            loop {
                let range = start.clone()..keys::end_of_all();
                let ns = Namespace::of(table, bucket);
                let page = self.inner.metadata.scan(ns, range, Direction::Forward, PAGE).await?;
                let Some((last, _)) = page.last() else { break };
                start = keys::after(last);
                for (_, stored) in &page {
                    let record = ObjectRecord::from_bytes(stored)?;
                    if !record.delete_marker {
                        total.versions(&record.location, 1);
                        total.bytes(&record.location, signed(record.stored_bytes()));
                    }
                }
            }
        }
        let mut own = BTreeMap::<String, i64>::new();
        let ns = Namespace::of(Table::Uploads, bucket);
        let mut start = keys::open_uploads();
        loop {
            let range = start.clone()..keys::end_of_all();
            let page = self.inner.metadata.scan(ns, range, Direction::Forward, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            start = keys::after(last);
            for (row, stored) in &page {
                let id = keys::split_key(row).and_then(|(_, id)| Some(UploadId::from_bytes(id.try_into().ok()?)));
                let id = id.ok_or(StorageError::Broken("the row of an upload names it"))?;
                let parts = Namespace::of(Table::Parts, bucket);
                let counter = self.inner.metadata.get(parts, &keys::upload_counter(id)).await?;
                let bytes = counters::decode(counter.as_deref().unwrap_or_default())?.get(1).copied();
                let location = UploadRecord::from_bytes(stored)?.location().to_owned();
                *own.entry(location).or_default() += bytes.unwrap_or_default();
            }
        }
        let mut batch = Batch::new();
        for (location, bytes) in own {
            total.upload_bytes(&location, bytes);
            batch.put(Namespace::of(Table::Usage, bucket), keys::uploads_to(&location), counters::encode(&[bytes]));
        }
        if batch.writes.is_empty() {
            return Ok(());
        }
        Ok(self.inner.metadata.commit(batch).await?)
    }
}
