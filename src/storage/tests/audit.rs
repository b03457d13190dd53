//! Whether everything that is stored is named by exactly one record, and everything that is named is stored.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::world::World;
use crate::{
    metadata::{Direction, Namespace, Pairs, Table, counters},
    storage::{
        Bucket, LocationUsage, Usage, change, keys,
        records::{AnnotationRecord, LayoutRow, ObjectRecord, PartRecord, Record, Segment, UploadRecord},
    },
    types::{BucketId, UploadId, VersionId},
};

/// What is stored and what is named, in all buckets.
#[derive(Default)]
struct Findings {
    blobs: BTreeSet<String>,
    locations: BTreeMap<String, LocationUsage>,
    /// Open ones.
    uploads: usize,
}

/// One bucket's records.
struct Shelf<'a> {
    world: &'a World,
    bucket: &'a Bucket,
    bodies: BTreeSet<Bytes>,
    parts: BTreeMap<Bytes, Bytes>,
    usage: Usage,
}

/// Checks every invariant of the store, garbage worked off, given all living buckets and the ids of dead ones.
pub(super) async fn audit(world: &World, living: &[&Bucket], dead: &[BucketId]) {
    let mut findings = Findings::default();
    let mut completed = BTreeSet::new();
    for bucket in living {
        let mut shelf = Shelf {
            world,
            bucket,
            bodies: BTreeSet::new(),
            parts: all(world, Table::Parts, bucket.id).await.into_iter().collect(),
            usage: Usage::default(),
        };
        shelf.objects(&mut findings).await;
        completed.extend(shelf.uploads(&mut findings).await);
        assert!(shelf.parts.is_empty(), "rows of parts that nobody names: {:?}", shelf.parts.keys());
        let bodies: BTreeSet<Bytes> = keys_of(all(world, Table::Bodies, bucket.id).await);
        assert_eq!(bodies, shelf.bodies, "bodies stored and bodies named");
        assert_eq!(world.storage.usage(bucket).await.unwrap(), shelf.usage, "counters and a recount");
    }
    for bucket in dead {
        for table in [Table::Current, Table::Versions, Table::Uploads, Table::Parts, Table::Usage, Table::Bodies] {
            assert_eq!(all(world, table, *bucket).await, [], "{table:?} of a deleted bucket");
        }
    }
    let known = all(world, Table::Uploads, keys::NO_BUCKET).await;
    let known = known.iter().map(|(key, _)| keys::completed_where(key).unwrap());
    assert_eq!(known.filter(|(bucket, _)| !dead.contains(bucket)).collect::<BTreeSet<_>>(), completed);
    for table in [Table::Garbage, Table::Pending] {
        assert_eq!(scan(world, Namespace::global(table)).await, [], "{table:?} after a drain");
    }
    let stored = world.backend.blobs().await;
    let stored: BTreeSet<String> = stored.iter().map(|blob| blob.as_str().to_owned()).collect();
    assert_eq!(stored, findings.blobs, "blobs stored and blobs named");
    let mut counted = world.storage.usage_of_locations().await.unwrap();
    counted.retain(|_, usage| *usage != LocationUsage::default());
    findings.locations.retain(|_, usage| *usage != LocationUsage::default());
    assert_eq!(counted, findings.locations, "counters of locations and a recount");
    if let super::world::Store::Native(native) = &world.backend {
        assert_eq!(native.unfinished(), findings.uploads, "uploads that are open there and here");
    }
}

async fn scan(world: &World, ns: Namespace) -> Pairs {
    world.metadata.scan(ns, Bytes::new()..keys::end_of_all(), Direction::Forward, usize::MAX).await.unwrap()
}

async fn all(world: &World, table: Table, bucket: BucketId) -> Pairs {
    scan(world, Namespace::of(table, bucket)).await
}

fn keys_of(pairs: Pairs) -> BTreeSet<Bytes> {
    pairs.into_iter().map(|(key, _)| key).collect()
}

impl Shelf<'_> {
    async fn objects(&mut self, findings: &mut Findings) {
        let mut versions: BTreeMap<Vec<u8>, Vec<(ObjectRecord, bool)>> = BTreeMap::new();
        for (key, value) in all(self.world, Table::Current, self.bucket.id).await {
            let record = ObjectRecord::from_bytes(&value).unwrap();
            assert!(!record.delete_marker, "a marker among the current versions");
            self.usage.objects += 1;
            versions.entry(key.to_vec()).or_default().push((record, true));
        }
        for (row, value) in all(self.world, Table::Versions, self.bucket.id).await {
            let (key, id) = keys::split_key(&row).unwrap();
            let record = ObjectRecord::from_bytes(&value).unwrap();
            assert_eq!(VersionId::from_key(id), Some(record.version_id()), "a row and its record");
            versions.entry(key).or_default().push((record, false));
        }
        for (key, versions) in versions {
            check_versions(&String::from_utf8(key).unwrap(), &versions);
            for (record, _) in versions {
                self.object(&record, findings);
            }
        }
    }

    fn object(&mut self, record: &ObjectRecord, findings: &mut Findings) {
        if record.delete_marker {
            assert!(record.layout.is_none() && record.segments.len() <= usize::from(self.world.backend.is_native()));
            // The marker of a store that has such.
            record.segments.iter().for_each(|segment| self.segment(segment, findings));
            return;
        }
        self.usage.versions += 1;
        self.usage.bytes += change::signed(record.stored_bytes());
        let there = findings.locations.entry(record.location.clone()).or_default();
        there.versions += 1;
        there.bytes += change::signed(record.stored_bytes());
        self.annotations(record);
        let mut segments = record.segments.clone();
        if let Some(layout) = &record.layout {
            assert_eq!(segments.len(), usize::from(self.world.backend.is_native()));
            segments.drain(..).for_each(|whole| self.segment(&whole, findings));
            let id = change::upload_id(&record.upload_id).unwrap();
            for (number, start) in (0..).zip(&layout.row_starts) {
                assert_eq!(*start, segments.iter().map(|segment| segment.size).sum::<u64>(), "start of a row");
                let row = self.parts.remove(&keys::layout_row(id, number)).expect("a layout has all its rows");
                segments.extend(LayoutRow::from_bytes(&row).unwrap().segments);
            }
            assert_eq!(segments.len(), layout.count as usize);
        }
        assert_eq!(record.size, segments.iter().map(|segment| segment.size).sum::<u64>(), "size and segments");
        for segment in &segments {
            self.segment(segment, findings);
        }
    }

    fn annotations(&mut self, record: &ObjectRecord) {
        let Some(id) = change::upload_id(&record.annotation_id) else { return };
        let rows: Vec<_> = self.parts.range(keys::annotations_of(id)).map(|(row, _)| row.clone()).collect();
        assert_eq!(rows.len(), record.annotation_count as usize, "annotations");
        let mut bytes = 0;
        for row in rows {
            let annotation = AnnotationRecord::from_bytes(&self.parts.remove(&row).unwrap()).unwrap();
            assert!(self.bodies.insert(annotation.body.clone()), "a body that two records name");
            bytes += annotation.size;
        }
        assert_eq!(bytes, record.annotation_bytes, "bytes of annotations");
    }

    fn segment(&mut self, segment: &Segment, findings: &mut Findings) {
        if !segment.body.is_empty() {
            assert!(self.bodies.insert(segment.body.clone()), "a body that two records name");
        } else if !segment.blob.is_empty() {
            assert!(findings.blobs.insert(segment.blob.clone()), "a blob that two records name");
        } else {
            let elsewhere = segment.shared || !segment.token.is_empty();
            assert!(elsewhere || segment.size == 0, "bytes that are nowhere");
        }
    }

    /// The completed uploads.
    async fn uploads(&mut self, findings: &mut Findings) -> Vec<(BucketId, UploadId)> {
        let mut completed = Vec::new();
        let mut own = BTreeMap::<String, i64>::new();
        for (row, value) in all(self.world, Table::Uploads, self.bucket.id).await {
            let (key, id) = keys::split_key(&row).unwrap();
            let id = UploadId::from_bytes(id.try_into().unwrap());
            let record = UploadRecord::from_bytes(&value).unwrap();
            if key.is_empty() {
                assert!(record.completed.is_some());
                completed.push((self.bucket.id, id));
            } else {
                findings.uploads += 1;
                let bytes = self.open_upload(id, findings);
                *own.entry(record.location().to_owned()).or_default() += bytes;
                findings.locations.entry(record.location().to_owned()).or_default().upload_bytes += bytes;
            }
        }
        let rows = scan(self.world, Namespace::of(Table::Usage, self.bucket.id)).await;
        let rows = rows.iter().filter(|(row, _)| row.as_ref() != keys::USAGE);
        let mut counted: BTreeMap<String, i64> = rows
            .map(|(row, value)| {
                let name = std::str::from_utf8(row).unwrap().strip_prefix(keys::UPLOADS_TO).unwrap();
                (name.to_owned(), counters::decode(value).unwrap()[0])
            })
            .collect();
        counted.retain(|_, bytes| *bytes != 0);
        own.retain(|_, bytes| *bytes != 0);
        assert_eq!(counted, own, "bytes of parts by location");
        completed
    }

    /// Bytes of its parts.
    fn open_upload(&mut self, id: UploadId, findings: &mut Findings) -> i64 {
        let rows: Vec<_> = self.parts.range(keys::parts_of(id)).map(|(row, _)| row.clone()).collect();
        let mut bytes = 0;
        for row in &rows {
            let part = PartRecord::from_bytes(&self.parts.remove(row).unwrap()).unwrap();
            bytes += change::signed(part.size());
            self.segment(part.segment.as_ref().unwrap(), findings);
        }
        let stored = self.parts.remove(&keys::upload_counter(id));
        let counted = stored.map_or([0, 0], |stored| {
            let (counters, _) = stored.as_chunks::<8>();
            [0, 1].map(|place| i64::from_le_bytes(counters[place]))
        });
        assert!(usize::try_from(counted[0]).unwrap() >= rows.len(), "part writes");
        assert_eq!(counted[1], bytes, "bytes of the parts");
        self.usage.upload_bytes += bytes;
        bytes
    }
}

/// The rules of one key's versions, the current one first, then in the order of the table.
fn check_versions(key: &str, versions: &[(ObjectRecord, bool)]) {
    let ids: Vec<_> = versions.iter().map(|(record, _)| record.version_id()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "{key:?}: newest first, the current one before all: {ids:?}");
    let (newest, is_current) = &versions[0];
    assert!(*is_current || newest.delete_marker, "{key:?}: the newest version is current, or a marker");
    let nulls: Vec<_> = versions.iter().filter(|(record, _)| record.is_null).map(|(it, _)| it.version_id()).collect();
    assert!(nulls.len() <= 1, "{key:?} has several null versions");
    let older_null = nulls.first().copied().filter(|_| !newest.is_null);
    assert_eq!(newest.null_version(), older_null, "{key:?}: the newest version knows the null version");
    assert!(versions[1..].iter().all(|(record, _)| record.null_stamp == 0), "{key:?}: only the newest one knows");
}
