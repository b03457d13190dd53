//! Moving the bytes of versions from one location to another, while they are served.
//!
//! Of each version the bytes are read as they are stored (ciphertext stays ciphertext), written to the other location,
//! read back and compared; then one batch, conditional on the record being what it was, names the new ones and leaves the
//! old ones to the garbage worker. Nothing else of the version changes: not its id, tag, dates, parts nor lock. What
//! somebody overwrites or deletes meanwhile is left alone. Every step can be done again.
//!
//! Into a store that keeps objects under their own names the newest version of a key comes under that name, as a write
//! would put it there ([`super::native`]). Older versions, and all of a bucket with versions where the store keeps none,
//! come under names of the store's making: under their own they would take the place of the newest. Out of such a store,
//! where an object of several segments is one blob, each segment becomes a blob of its own, and the one they shared goes
//! with the last of them; the store's own delete markers go when what they hide is gone.
//!
//! A version wanders from `Current` to `Versions` when a newer one comes, and back when that is deleted. `Current` is
//! swept first, so only the way back can be missed: whoever sweeps looks a second time.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use super::{
    Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::{self, Change, signed},
    encryption, keys,
    native::is_named_at,
    records::{JournalOp, LayoutRow, ObjectRecord, Record, Segment},
    write::PendingBlob,
};
use crate::{
    data::DataError,
    location::Location,
    metadata::{Direction, MetadataError, Namespace, Table},
    types::{
        BodyError, ByteStream, ObjectKey, Timestamp,
        digest::{Digest, Md5},
        version_id::VersionIdEncoding,
    },
};

/// Rows read at a time.
const PAGE: usize = 32;
/// Versions moved at a time.
const CONCURRENCY: usize = 4;

/// What is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Keys begin with this.
    pub prefix: String,
    /// The location that is to be left.
    pub from: String,
    /// The location that takes the bytes.
    pub to: String,
    /// Whether anything is to be written, or only counted.
    pub dry_run: bool,
}

/// Which of a bucket's versions a sweep looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// The newest ones.
    Current,
    /// The older ones.
    Versions,
    /// The delete markers, after all others.
    Markers,
}

/// What a page of a sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepPage {
    /// Where the next page starts; `None` after the last.
    pub next: Option<Bytes>,
    /// Versions looked at.
    pub examined: u64,
    /// Versions moved (in a dry run: to be moved).
    pub moved: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Versions that were changed or removed meanwhile.
    pub skipped: u64,
    /// Versions that could not be moved, and why.
    pub failed: Vec<String>,
    /// Of those found in a dry run, how many were written after the time given.
    pub recent: u64,
}

/// A version as it was found.
pub(super) struct Found {
    pub(super) key: ObjectKey,
    /// Where its record is.
    pub(super) row: (Table, Bytes),
    pub(super) stored: Bytes,
    pub(super) record: ObjectRecord,
}

/// What became of a version.
enum Fate {
    /// Nothing of it is where it should not be.
    Settled,
    Moved(u64),
    Changed,
}

/// Segments that are elsewhere now, and what the commit must know of them.
#[derive(Default)]
struct Moved {
    blobs: Vec<PendingBlob>,
    old: Vec<Segment>,
    bytes: u64,
}

impl Storage {
    /// Moves a page of versions, from `start` on; empty for the beginning. Versions written after `since` are counted
    /// apart in a dry run.
    ///
    /// # Errors
    /// Those that concern all versions alike: [`StorageError::NoSuchBucket`], [`StorageError::UnknownLocation`], and a
    /// metadata store that is away. What concerns one version is in [`SweepPage::failed`].
    ///
    /// # Cancel safety
    /// What was moved is moved; bytes under way become garbage.
    pub async fn sweep(
        &self,
        bucket: &Arc<Bucket>,
        relocation: &Relocation,
        (sweep, start): (Sweep, Bytes),
        since: Timestamp,
    ) -> StorageResult<SweepPage> {
        let target = self.location(&relocation.to)?;
        let bucket = &self.same_bucket(bucket).await?;
        let (found, next) = self.page(bucket, &relocation.prefix, sweep, start).await?;
        if sweep == Sweep::Markers {
            return self.sweep_markers(bucket, (&relocation.from, &target), found, next).await;
        }
        let mut page = SweepPage { next, examined: found.len() as u64, ..SweepPage::default() };
        let mut away = Vec::new();
        let fates = stream::iter(found).map(|found| async {
            let recent = found.record.modified() > since;
            let name = told(&found);
            let fate = if relocation.dry_run {
                self.is_there(bucket, &found.record, &relocation.from)
                    .await
                    .map(|there| if there { Fate::Moved(found.record.size) } else { Fate::Settled })
            } else {
                self.relocate(bucket, relocation, &target, found).await
            };
            (fate, name, recent)
        });
        let mut fates = fates.buffer_unordered(CONCURRENCY);
        while let Some((fate, name, recent)) = fates.next().await {
            match fate {
                Ok(Fate::Settled) => {}
                Ok(Fate::Moved(bytes)) => {
                    page.moved += 1;
                    page.bytes += bytes;
                    page.recent += u64::from(recent && relocation.dry_run);
                }
                Ok(Fate::Changed) | Err(StorageError::Vanished) => page.skipped += 1,
                Err(e @ (StorageError::Metadata(_) | StorageError::NoSuchBucket)) => return Err(e),
                Err(e) => {
                    page.failed.push(format!("{name}: {e}"));
                    away.extend(Some(e).filter(|e| matches!(e, StorageError::Data(DataError::Unavailable(_)))));
                }
            }
        }
        // Where a store is away, none can be moved: the same page is tried again when it is back.
        let is_away = away.len() > 1 && away.len() == page.failed.len() && page.moved + page.skipped == 0;
        away.pop().filter(|_| is_away).map_or(Ok(page), Err)
    }

    async fn sweep_markers(
        &self,
        bucket: &Arc<Bucket>,
        (from, target): (&str, &Arc<Location>),
        found: Vec<Found>,
        next: Option<Bytes>,
    ) -> StorageResult<SweepPage> {
        let mut page = SweepPage { next, ..SweepPage::default() };
        for found in found {
            if self.relocate_marker(bucket, (from, target), &found).await? == Some(false) {
                page.skipped += 1;
            }
        }
        Ok(page)
    }

    /// Whether a store keeps delete markers of its own for this bucket.
    pub fn has_far_markers(&self, bucket: &Bucket, location: &str) -> bool {
        bucket.is_versioned() && self.location(location).is_ok_and(|location| location.backend.native().is_some())
    }

    /// Names of open uploads that keep their parts in a location, at most `limit`. They are not moved: their owner may
    /// still complete or abort them.
    pub async fn uploads_in(&self, bucket: &Bucket, prefix: &str, limit: usize) -> StorageResult<Vec<String>> {
        let ns = Namespace::of(Table::Uploads, bucket.id);
        let start = keys::escaped(prefix.as_bytes()).freeze().max(keys::open_uploads());
        let end =
            if prefix.is_empty() { keys::end_of_all() } else { keys::successor(&keys::escaped(prefix.as_bytes())) };
        let rows = self.inner.metadata.scan(ns, start..end, Direction::Forward, limit).await?;
        let key = |row: &Bytes| keys::split_key(row).map(|(key, _)| String::from_utf8_lossy(&key).into_owned());
        Ok(rows.iter().filter_map(|(row, _)| key(row)).collect())
    }

    /// A page of versions that are no markers (or of markers), and where the next begins.
    async fn page(
        &self,
        bucket: &Bucket,
        prefix: &str,
        sweep: Sweep,
        start: Bytes,
    ) -> StorageResult<(Vec<Found>, Option<Bytes>)> {
        let (table, first) = match sweep {
            Sweep::Current => (Table::Current, Bytes::copy_from_slice(prefix.as_bytes())),
            Sweep::Versions | Sweep::Markers => (Table::Versions, keys::escaped(prefix.as_bytes()).freeze()),
        };
        let range: Range<Bytes> = first.clone().max(start)..keys::successor(&first);
        let ns = Namespace::of(table, bucket.id);
        let rows = self.inner.metadata.scan(ns, range, Direction::Forward, PAGE).await?;
        let next = rows.last().filter(|_| rows.len() == PAGE).map(|(last, _)| keys::after(last));
        let mut found = Vec::with_capacity(rows.len());
        for (row, stored) in rows {
            let record = ObjectRecord::from_bytes(&stored)?;
            let key = match sweep {
                Sweep::Current => Some(row.to_vec()),
                Sweep::Versions | Sweep::Markers => keys::split_key(&row).map(|(key, _)| key),
            };
            let key = key.and_then(|key| String::from_utf8(key).ok()).and_then(|key| ObjectKey::new(&key).ok());
            let key = key.ok_or(StorageError::Broken("rows of versions begin with their key"))?;
            if record.delete_marker == (sweep == Sweep::Markers) {
                found.push(Found { key, row: (table, row), stored, record });
            }
        }
        Ok((found, next))
    }

    /// Whether anything of a version is in a location.
    pub(super) async fn is_there(&self, bucket: &Bucket, record: &ObjectRecord, from: &str) -> StorageResult<bool> {
        if record.location == from || record.segments.iter().any(|segment| segment.location == from) {
            return Ok(true);
        }
        let first = record.segments.first();
        for row in 0..rows_of(record) {
            match self.layout_row(bucket.id, &record.upload_id, row).await {
                Ok(segments) => {
                    if segments.into_iter().any(|segment| segment.named_by(first).location == from) {
                        return Ok(true);
                    }
                }
                // Rows go with their object: somebody deleted it.
                Err(StorageError::Broken(_)) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    async fn relocate(
        &self,
        bucket: &Arc<Bucket>,
        relocation: &Relocation,
        target: &Arc<Location>,
        found: Found,
    ) -> StorageResult<Fate> {
        let from = relocation.from.as_str();
        if !self.is_there(bucket, &found.record, from).await? {
            return Ok(Fate::Settled);
        }
        let is_newest = found.row.0 == Table::Current;
        if is_newest && !self.is_one_place(from, target)? && is_named_at(bucket, target) {
            let done = self.relocate_to_name((bucket, &found.key), &found.record, target).await?;
            return Ok(if done { Fate::Moved(found.record.size) } else { Fate::Changed });
        }
        let mut bytes = 0;
        for row in 0..rows_of(&found.record) {
            match self.relocate_row(bucket, (from, target), &found, row).await? {
                Fate::Moved(moved) => bytes += moved,
                Fate::Settled => {}
                Fate::Changed => return Ok(Fate::Changed),
            }
        }
        let mut moved = Moved::default();
        let mut record = found.record.clone();
        if record.layout.is_some() {
            self.leave_shared(from, target, &mut record, &mut moved)?;
        } else {
            let whole = whole_md5(&record);
            let first = record.segments.first().cloned();
            let naming = (first.as_ref(), whole);
            self.move_segments(bucket, (from, target), &mut record.segments, (naming, &mut moved)).await?;
        }
        if record.location == from {
            (*target.name).clone_into(&mut record.location);
        }
        bytes += moved.bytes;
        let mut change = Change::new(bucket);
        if record.location != found.record.location {
            let held = signed(record.stored_bytes());
            for (location, sign) in [(&found.record.location, -1), (&record.location, 1)] {
                change.locations.versions(location, sign);
                change.locations.bytes(location, sign * held);
            }
        }
        change.batch.put(change.ns(found.row.0), found.row.1.clone(), record.to_bytes());
        self.commit_relocated(change, &found, moved)
            .await
            .map(|done| if done { Fate::Moved(bytes) } else { Fate::Changed })
    }

    /// Moves one row of the part table of an object of many parts.
    async fn relocate_row(
        &self,
        bucket: &Arc<Bucket>,
        (from, target): (&str, &Arc<Location>),
        found: &Found,
        row: u32,
    ) -> StorageResult<Fate> {
        let upload_id = &found.record.upload_id;
        let id = change::upload_id(upload_id).ok_or(StorageError::Broken("a layout has an upload id"))?;
        let ns = Namespace::of(Table::Parts, bucket.id);
        let Some(stored) = self.inner.metadata.get(ns, &keys::layout_row(id, row)).await? else {
            return Ok(Fate::Changed);
        };
        let mut layout = LayoutRow::from_bytes(&stored)?;
        let first = found.record.segments.first();
        let mut moved = Moved::default();
        self.move_segments(bucket, (from, target), &mut layout.segments, ((first, None), &mut moved)).await?;
        if moved.bytes == 0 {
            return Ok(Fate::Settled);
        }
        let bytes = moved.bytes;
        let mut change = Change::new(bucket);
        change.batch.unchanged(ns, keys::layout_row(id, row), Some(&stored));
        change.batch.put(ns, keys::layout_row(id, row), layout.to_bytes());
        let done = self.commit_relocated(change, found, moved).await?;
        Ok(if done { Fate::Moved(bytes) } else { Fate::Changed })
    }

    /// Commits, if the version's record is still the one that was found.
    async fn commit_relocated(&self, mut change: Change<'_>, found: &Found, mut moved: Moved) -> StorageResult<bool> {
        let (table, row) = &found.row;
        change.batch.unchanged(change.ns(*table), row.clone(), Some(&found.stored));
        change.free_moved(&moved.old, &found.record.upload_id);
        moved.blobs.iter().for_each(|blob| blob.name_in(&mut change));
        let now = self.inner.clock.now();
        let version = found.record.version_id();
        change.tell(JournalOp::VersionChanged, found.key.as_str(), Some(version), now);
        let _guard = self.inner.locks.lock(change.bucket.id, &found.key).await;
        // The bytes are settled before the outcome is known, as in every commit.
        moved.blobs.iter_mut().for_each(|blob| blob.settle(true));
        match self.commit(change, None).await {
            Ok(()) => Ok(true),
            Err(e) => {
                let is_conflict = matches!(e, StorageError::Metadata(MetadataError::Conflict(_)));
                let is_refused = match &e {
                    StorageError::Metadata(e) => e.was_refused(),
                    e => matches!(e, StorageError::LocationFull(_)),
                };
                moved.blobs.iter_mut().for_each(|blob| blob.settle(!is_refused));
                if is_conflict { Ok(false) } else { Err(e) }
            }
        }
    }

    /// Moves those of the segments that are in `from`. `first` names the blob that some of them may share, `whole` is the
    /// MD5 of the one segment, where it is known.
    async fn move_segments(
        &self,
        bucket: &Bucket,
        (from, target): (&str, &Arc<Location>),
        segments: &mut [Segment],
        ((first, whole), moved): ((Option<&Segment>, Option<[u8; 16]>), &mut Moved),
    ) -> StorageResult<()> {
        let one_place = self.is_one_place(from, target)?;
        for segment in segments {
            let named = segment.clone().named_by(first);
            if named.blob.is_empty() || named.location != from {
                continue;
            }
            if one_place {
                // Two names of one place: the bytes are there already.
                if !segment.shared {
                    (*target.name).clone_into(&mut segment.location);
                    moved.bytes += segment.size;
                }
                continue;
            }
            moved.bytes += segment.size;
            let md5 = whole.or_else(|| segment.md5.as_ref().try_into().ok());
            let blob = self.copy_segment(bucket, &named, target, md5).await?;
            if segment.is_stored() {
                moved.old.push(segment.clone());
            }
            *segment = blob.instead_of(segment);
            moved.blobs.push(blob);
        }
        Ok(())
    }

    /// Rids a record with rows of the segment that named the blob which its segments shared: they have their own now.
    fn leave_shared(
        &self,
        from: &str,
        target: &Location,
        record: &mut ObjectRecord,
        moved: &mut Moved,
    ) -> StorageResult<()> {
        let one_place = self.is_one_place(from, target)?;
        for segment in record.segments.iter_mut().filter(|segment| segment.location == from) {
            if one_place {
                (*target.name).clone_into(&mut segment.location);
            } else {
                moved.old.push(std::mem::take(segment));
            }
        }
        record.segments.retain(Segment::is_stored);
        Ok(())
    }

    pub(super) fn is_one_place(&self, from: &str, target: &Location) -> StorageResult<bool> {
        Ok(Arc::ptr_eq(&self.location(from)?.backend, &target.backend))
    }

    /// Copies the stored bytes of a segment, and reads the copy. `md5` is that of the text.
    async fn copy_segment(
        &self,
        bucket: &Bucket,
        segment: &Segment,
        target: &Arc<Location>,
        md5: Option<[u8; 16]>,
    ) -> StorageResult<PendingBlob> {
        let is_clear = segment.seal.is_empty();
        let size = if is_clear { segment.size } else { encryption::sealed_size(segment.size) };
        if size == 0 {
            return self.store_blob(target, stream::empty().boxed(), Some(0)).await;
        }
        let sent = Tally::default();
        let body = sent.over(self.open_stored(bucket.id, segment, 0..size).await?);
        let blob = self.store_blob(target, body, Some(size)).await?;
        if is_clear && md5.is_some_and(|md5| sent.md5() != md5) {
            return Err(StorageError::Broken("stored bytes have the digest of their record"));
        }
        let read = Tally::default();
        let mut copy = read.over(self.open_stored(bucket.id, &blob.instead_of(segment), 0..size).await?);
        while let Some(chunk) = copy.next().await {
            chunk?;
        }
        if read.md5() != sent.md5() {
            return Err(StorageError::Broken("what was written to the other location reads back the same"));
        }
        Ok(blob)
    }
}

/// The digest of bytes that flow by.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Md5>>);

impl Tally {
    pub(super) fn over(&self, body: ByteStream) -> ByteStream {
        let tally = self.clone();
        body.map(move |chunk: Result<Bytes, BodyError>| {
            if let Ok(bytes) = &chunk {
                tally.0.lock().update(bytes);
            }
            chunk
        })
        .boxed()
    }

    pub(super) fn md5(&self) -> [u8; 16] {
        self.0.lock().clone().finalize().into()
    }
}

/// Rows of the part table.
fn rows_of(record: &ObjectRecord) -> u32 {
    record.layout.as_ref().map_or(0, |layout| u32::try_from(layout.row_starts.len()).unwrap_or(u32::MAX))
}

/// The MD5 of an object written in one piece, where its tag is that.
pub(super) fn whole_md5(record: &ObjectRecord) -> Option<[u8; 16]> {
    let single = record.segments.len() == 1 && record.part_count().is_none() && record.encryption.is_none();
    hex::decode(&record.etag).ok().filter(|_| single)?.try_into().ok()
}

/// A version in words.
fn told(found: &Found) -> String {
    let key = found.key.as_str();
    if found.record.is_null {
        key.to_owned()
    } else {
        format!("{key} (version {})", found.record.version_id().encode(VersionIdEncoding::Hex))
    }
}
