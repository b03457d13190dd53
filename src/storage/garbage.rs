//! The garbage worker: removes bytes that no record names any more.
//!
//! Everything it does may be done twice. A note is removed only when what it names is gone, so a crash in between
//! costs a repetition and never an orphan.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Storage, StorageError, StorageResult, change, keys,
    native::StagedBlob,
    records::{AnnotationRecord, Garbage, GarbageKind, LayoutRow, PartRecord, Pending, Record, Segment, UploadRecord},
};
use crate::{
    data::BlobId,
    metadata::{Batch, Direction, Durability, Namespace, Table},
    tasks::StopSignal,
    types::{BucketId, Timestamp},
};

/// Notes that fail whose first failure is remembered; those beyond are counted only.
const MOST_DATED: usize = 10_000;
/// Notes handled at a time.
const PAGE: usize = 256;
/// Blobs removed at a time.
const CONCURRENCY: usize = 8;
/// Between passes that nobody asked for.
const IDLE: Duration = Duration::from_secs(30);
/// After a pass that failed, or met readers.
const RETRY: Duration = Duration::from_millis(500);
/// At most, after several passes that failed.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// The journal is cut when it is longer than it should be by one part in so many.
const JOURNAL_SLACK: u64 = 10;

/// A completed upload is remembered for so long: until then the client may ask again.
const COMPLETED_LIFE: Duration = Duration::from_hours(24);
/// Completed uploads forgotten in one pass, in pages.
const FORGOTTEN_PAGES: usize = 64;

const GARBAGE: Namespace = Namespace::global(Table::Garbage);
const PENDING: Namespace = Namespace::global(Table::Pending);
const JOURNAL: Namespace = Namespace::global(Table::Journal);

/// How others reach the worker.
#[derive(Debug, Default)]
pub(super) struct Signals {
    wake: Notify,
    abandoned: Mutex<Vec<Pending>>,
    stuck: Mutex<Stuck>,
}

/// Notes that a store has not confirmed, whatever they ask of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// How many.
    pub notes: u64,
    /// Since when the oldest of them waits: since it was written, or since this process first tried in vain.
    pub since: Timestamp,
}

/// Garbage that could not be worked off in the last pass.
#[derive(Debug, Default)]
struct Stuck {
    /// When each note failed first.
    since: HashMap<Bytes, Timestamp>,
    places: BTreeMap<String, Unconfirmed>,
}

/// Counts one more note.
pub(super) fn wait_longer(all: &mut BTreeMap<String, Unconfirmed>, location: &str, since: Timestamp) {
    let known = all.entry(location.to_owned()).or_insert(Unconfirmed { notes: 0, since });
    known.notes += 1;
    known.since = known.since.min(since);
}

/// What fails in a pass.
#[derive(Debug, Default)]
struct Failures {
    next: Stuck,
    /// One of the errors of each location.
    errors: BTreeMap<String, String>,
}

impl Failures {
    fn add(&mut self, signals: &Signals, (row, garbage): (&Bytes, &Garbage), now: Timestamp, error: &StorageError) {
        let segment = garbage.segments.first().map_or("", |segment| segment.location.as_str());
        let location = if garbage.location.is_empty() { segment } else { garbage.location.as_str() };
        let since = signals.stuck.lock().since.get(row).copied().unwrap_or(now);
        if self.next.since.len() < MOST_DATED {
            self.next.since.insert(row.clone(), since);
        }
        wait_longer(&mut self.next.places, location, since);
        self.errors.entry(location.to_owned()).or_insert_with(|| error.to_string());
    }
}

/// What a pass took from the list of abandoned bytes. What is left of it by the end goes back: nobody else knows of it.
struct Abandoned<'a> {
    signals: &'a Signals,
    notes: Vec<Pending>,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        // Nobody is woken: whatever was in the way would be met again at once.
        self.signals.abandoned.lock().append(&mut self.notes);
    }
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GarbageReport {
    /// Notes worked off.
    pub done: usize,
    /// Notes left because somebody still reads what they name.
    pub in_use: usize,
    /// Notes left because a backend could not remove what they name.
    pub failed: usize,
}

/// The pause after one more pass that failed: longer each time.
fn after(failures: &mut u32) -> Duration {
    *failures = failures.saturating_add(1);
    RETRY.saturating_mul(1 << (*failures - 1).min(8)).min(LONGEST_RETRY)
}

impl Signals {
    /// There is something to do.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// A blob was written, or half written, and will not be named.
    pub(super) fn abandon(&self, pending: Pending) {
        self.abandoned.lock().push(pending);
        self.wake.notify_one();
    }
}

impl Storage {
    /// Removes what writes under way at a crash left behind, and settles what was being published. Called once, before
    /// the first request; the work does not grow with the number of objects. A store that does not answer is asked
    /// again later.
    pub async fn recover(&self) -> StorageResult<usize> {
        self.count_locations().await?;
        let (mut removed, mut publications, mut start) = (0, Vec::new(), Bytes::new());
        loop {
            let range = start..keys::end_of_all();
            let page = self.inner.metadata.scan(PENDING, range, Direction::Forward, PAGE).await?;
            let mut stale = Vec::new();
            for (key, value) in &page {
                if keys::published_key(key).is_some() {
                    publications.push(key.clone());
                } else {
                    stale.push(Pending::from_bytes(value)?);
                }
            }
            removed += stale.len();
            self.remove_pending(&stale).await?;
            let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) else { break };
            start = keys::after(last);
        }
        Ok(removed + self.settle_at_start(publications).await)
    }

    /// Works until the server stops.
    pub async fn run_garbage(&self, mut stop: StopSignal) {
        let mut failures = 0;
        while !stop.is_stopping() {
            if let Err(e) = self.keep_lock_time().await {
                tracing::warn!(error = %e, "the time that locks count from is not kept");
            }
            let pause = match self.collect_garbage().await {
                Ok(report) if report.failed == 0 => {
                    failures = 0;
                    if report.in_use == 0 { IDLE } else { RETRY }
                }
                Ok(_) => after(&mut failures),
                Err(e) => {
                    tracing::warn!(error = %e, "garbage stays for now");
                    after(&mut failures)
                }
            };
            tokio::select! {
                () = stop.wait() => return,
                () = self.inner.garbage.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Works off all garbage there is now.
    pub async fn collect_garbage(&self) -> StorageResult<GarbageReport> {
        let abandoned = self.collect_abandoned().await;
        let (mut report, errors) = self.settle_all().await;
        if let Err(error) = abandoned {
            tracing::warn!(%error, "what was given up is not noted yet");
            report.failed += 1;
        }
        let (mut failures, now) = (Failures { errors, ..Failures::default() }, self.inner.clock.now());
        let mut start = Bytes::new();
        loop {
            let range = start.clone()..keys::end_of_all();
            let page = self.inner.metadata.scan(GARBAGE, range, Direction::Forward, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            start = keys::after(last);
            self.check_writable().await?;
            let mut batch = Batch { durability: Durability::Buffered, ..Batch::default() };
            for (key, value) in &page {
                let garbage = Garbage::from_bytes(value)?;
                if self.is_read(&garbage) {
                    report.in_use += 1;
                    continue;
                }
                // One location that is away must not keep the garbage of the others.
                match self.remove(&garbage, &mut batch).await {
                    Ok(true) => {
                        batch.delete(GARBAGE, key.clone());
                        report.done += 1;
                    }
                    Ok(false) => report.in_use += 1,
                    Err(error) => {
                        tracing::debug!(%error, kind = ?garbage.kind(), "garbage stays for now");
                        failures.add(&self.inner.garbage, (key, &garbage), now, &error);
                        report.failed += 1;
                    }
                }
            }
            self.inner.metadata.commit(batch).await?;
        }
        self.tell_of_failures(failures, now);
        self.forget_completed().await?;
        self.trim_journal().await?;
        Ok(report)
    }

    /// Keeps in mind what waits for which store, and says so.
    fn tell_of_failures(&self, failures: Failures, now: Timestamp) {
        *self.inner.garbage.stuck.lock() = failures.next;
        for (location, Unconfirmed { notes, since }) in self.unconfirmed() {
            let seconds = now.as_secs().saturating_sub(since.as_secs());
            let error = failures.errors.get(&location).map_or("a write is not settled", String::as_str);
            tracing::warn!(
                location,
                notes,
                oldest_seconds = seconds,
                error,
                "the location has not confirmed what is noted for it: it is asked again and again"
            );
        }
    }

    /// What waits for stores that do not confirm it, by location; an empty name where that is not known.
    pub fn unconfirmed(&self) -> BTreeMap<String, Unconfirmed> {
        let mut all = self.inner.garbage.stuck.lock().places.clone();
        for (location, more) in self.inner.notes.unconfirmed() {
            let known = all.entry(location).or_insert(Unconfirmed { notes: 0, since: more.since });
            known.notes += more.notes;
            known.since = known.since.min(more.since);
        }
        all
    }

    /// Removes or notes what was written, or half written, and will not be named.
    async fn collect_abandoned(&self) -> StorageResult<()> {
        let signals = &self.inner.garbage;
        let all = std::mem::take(&mut *signals.abandoned.lock());
        let (staged, blobs) = all.into_iter().partition(|it| !it.handle.is_empty());
        let [mut staged, mut blobs] = [staged, blobs].map(|notes| Abandoned { signals, notes });
        self.note_staged(&staged.notes).await?;
        staged.notes.clear();
        self.remove_pending(&blobs.notes).await?;
        blobs.notes.clear();
        Ok(())
    }

    /// Asks the metadata store whether this engine may still write, by a commit that changes nothing. One that was
    /// superseded must not remove what readers of its successor wait for: it does not see them.
    async fn check_writable(&self) -> StorageResult<()> {
        let nothing = Batch { durability: Durability::Buffered, ..Batch::default() };
        Ok(self.inner.metadata.commit(nothing).await?)
    }

    /// Whether somebody reads what the note names.
    fn is_read(&self, garbage: &Garbage) -> bool {
        match garbage.kind() {
            GarbageKind::Segments | GarbageKind::Upload => self.inner.readers.has(&garbage.upload_id),
            GarbageKind::Bucket => self.inner.readers.are_in(BucketId::new(garbage.bucket)),
            GarbageKind::Tags | GarbageKind::Marker | GarbageKind::Staged => false,
        }
    }

    /// Forgets uploads that were completed long ago. They are found by time: open uploads are not met.
    async fn forget_completed(&self) -> StorageResult<()> {
        let uploads = |bucket| Namespace::of(Table::Uploads, bucket);
        let now = self.inner.clock.now().as_millis();
        let life = u64::try_from(COMPLETED_LIFE.as_millis()).unwrap_or(u64::MAX);
        let old = keys::completed_before(Timestamp::from_millis(now.saturating_sub(life)));
        for _ in 0..FORGOTTEN_PAGES {
            let page =
                self.inner.metadata.scan(uploads(keys::NO_BUCKET), old.clone(), Direction::Forward, PAGE).await?;
            if page.is_empty() {
                break;
            }
            let mut batch = Batch { durability: Durability::Buffered, ..Batch::default() };
            for (key, _) in page {
                if let Some((bucket, id)) = keys::completed_where(&key) {
                    batch.delete(uploads(bucket), keys::completed_upload(id));
                }
                batch.delete(uploads(keys::NO_BUCKET), key);
            }
            self.inner.metadata.commit(batch).await?;
        }
        Ok(())
    }

    /// Notes that are still to be worked off, at most `limit`.
    pub async fn garbage_pending(&self, limit: usize) -> StorageResult<usize> {
        let all = || Bytes::new()..keys::end_of_all();
        let garbage = self.inner.metadata.scan(GARBAGE, all(), Direction::Forward, limit).await?.len();
        let pending = self.inner.metadata.scan(PENDING, all(), Direction::Forward, limit).await?.len();
        Ok((garbage + pending).min(limit))
    }

    async fn remove_pending(&self, pending: &[Pending]) -> StorageResult<()> {
        if pending.is_empty() {
            return Ok(());
        }
        for copies in pending.iter().filter(|pending| !pending.annotations.is_empty()) {
            if let Some(id) = change::upload_id(&copies.annotations) {
                self.remove_parts(BucketId::new(copies.bucket), keys::all_of_upload(id)).await?;
            }
        }
        let segments = pending.iter().filter(|pending| pending.annotations.is_empty()).map(|pending| Segment {
            location: pending.location.clone(),
            blob: pending.blob.clone(),
            ..Segment::default()
        });
        // What a location does not remove now is noted: it must cost neither a start nor the garbage of others.
        let stay = self.try_remove_blobs(segments.collect()).await.into_iter().map(|(segment, error)| {
            tracing::debug!(%error, "a blob stays for now");
            segment
        });
        let mut batch = Batch { durability: Durability::Buffered, ..Batch::default() };
        for segment in stay {
            let segments = vec![segment];
            let note = Garbage { kind: GarbageKind::Segments.into(), segments, ..Garbage::default() };
            batch.append(GARBAGE, note.to_bytes());
        }
        for Pending { location, blob, .. } in pending {
            batch.delete(PENDING, keys::pending(location, blob));
        }
        Ok(self.inner.metadata.commit(batch).await?)
    }

    /// Has staged bytes removed that will not be published.
    pub(super) async fn give_up_staged(&self, staged: &mut StagedBlob) {
        let (location, handle) = (staged.location().to_owned(), staged.staged.handle.clone());
        // Where the note cannot be written now, dropping it tries again.
        staged.settled = self.note_staged(&[Pending { location, handle, ..Pending::default() }]).await.is_ok();
        self.inner.garbage.wake();
    }

    /// Notes what was staged and is given up: it is removed by the store's own name for it, which is kept nowhere else.
    async fn note_staged(&self, staged: &[Pending]) -> StorageResult<()> {
        if staged.is_empty() {
            return Ok(());
        }
        let mut batch = Batch { durability: Durability::Buffered, ..Batch::default() };
        for Pending { location, handle, .. } in staged {
            let (handle, location) = (handle.clone(), location.clone());
            let garbage = Garbage { handle, location, ..Garbage::of(GarbageKind::Staged) };
            batch.append(GARBAGE, garbage.to_bytes());
        }
        Ok(self.inner.metadata.commit(batch).await?)
    }

    /// Does what a note asks for. `false` where it must wait for somebody.
    async fn remove(&self, garbage: &Garbage, batch: &mut Batch) -> StorageResult<bool> {
        let bucket = BucketId::new(garbage.bucket);
        match garbage.kind() {
            GarbageKind::Segments => self.remove_segments(bucket, garbage.segments.clone(), batch).await?,
            GarbageKind::Upload => {
                let id = change::upload_id(&garbage.upload_id)
                    .ok_or(StorageError::Broken("garbage of an upload names it"))?;
                self.remove_parts(bucket, keys::all_of_upload(id)).await?;
            }
            GarbageKind::Bucket => {
                let all = Bytes::new()..keys::end_of_all();
                self.discard_uploads(bucket).await?;
                self.remove_parts(bucket, all.clone()).await?;
                for table in [Table::Uploads, Table::Bodies, Table::Settings] {
                    batch.delete_range(Namespace::of(table, bucket), all.clone());
                }
            }
            GarbageKind::Staged => self.discard(&garbage.location, &garbage.handle).await?,
            GarbageKind::Tags => self.mirror_tags(garbage).await?,
            GarbageKind::Marker => return self.mirror_marker(garbage).await,
        }
        Ok(true)
    }

    /// Gives up what a store has staged.
    async fn discard(&self, location: &str, handle: &str) -> StorageResult<()> {
        let location = self.location(location)?;
        match location.backend.native() {
            Some(store) => Ok(store.discard(handle).await?),
            None => Ok(()),
        }
    }

    /// Gives up the open uploads of a deleted bucket where they are taken by a store itself.
    async fn discard_uploads(&self, bucket: BucketId) -> StorageResult<()> {
        let ns = Namespace::of(Table::Uploads, bucket);
        let mut range = keys::open_uploads()..keys::end_of_all();
        loop {
            let page = self.inner.metadata.scan(ns, range.clone(), Direction::Forward, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            range.start = keys::after(last);
            for (_, stored) in &page {
                let upload = UploadRecord::from_bytes(stored)?;
                if !upload.handle.is_empty() {
                    let location = upload.object.as_ref().map_or("", |object| &object.location);
                    self.discard(location, &upload.handle).await?;
                }
            }
        }
    }

    /// Removes parts and layout rows page by page, the blobs before the rows that name them.
    async fn remove_parts(&self, bucket: BucketId, range: std::ops::Range<Bytes>) -> StorageResult<()> {
        let ns = Namespace::of(Table::Parts, bucket);
        loop {
            let page = self.inner.metadata.scan(ns, range.clone(), Direction::Forward, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut batch = Batch { durability: Durability::Buffered, ..Batch::default() };
            let mut segments = Vec::new();
            for (key, value) in page {
                match key.get(16) {
                    Some(b'p') => segments.extend(PartRecord::from_bytes(&value)?.segment),
                    Some(b'r') => segments.extend(LayoutRow::from_bytes(&value)?.segments),
                    Some(b'a') => {
                        let body = AnnotationRecord::from_bytes(&value)?.body;
                        segments.push(Segment { body, ..Segment::default() });
                    }
                    _ => {}
                }
                batch.delete(ns, key);
            }
            self.remove_segments(bucket, segments, &mut batch).await?;
            self.inner.metadata.commit(batch).await?;
        }
    }

    async fn remove_segments(&self, bucket: BucketId, segments: Vec<Segment>, batch: &mut Batch) -> StorageResult<()> {
        let (blobs, bodies): (Vec<_>, Vec<_>) =
            segments.into_iter().filter(Segment::is_stored).partition(|segment| segment.body.is_empty());
        for segment in bodies {
            batch.delete(Namespace::of(Table::Bodies, bucket), segment.body);
        }
        self.remove_blobs(blobs).await
    }

    async fn remove_blobs(&self, blobs: Vec<Segment>) -> StorageResult<()> {
        self.try_remove_blobs(blobs).await.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Removes what can be removed now, and gives the rest.
    pub(super) async fn try_remove_blobs(&self, blobs: Vec<Segment>) -> Vec<(Segment, StorageError)> {
        let removals = stream::iter(blobs).map(|segment| async move {
            let removed = match self.location(&segment.location) {
                Ok(location) => {
                    let blob = BlobId::new(segment.blob.as_str());
                    location.backend.delete(&blob).await.map_err(StorageError::from)
                }
                Err(error) => Err(error),
            };
            removed.err().map(|error| (segment, error))
        });
        removals.buffer_unordered(CONCURRENCY).filter_map(std::future::ready).collect().await
    }

    /// Cuts the journal's oldest entries. Sequence numbers are dense, so the newest tells how many there are.
    async fn trim_journal(&self) -> StorageResult<()> {
        let all = Bytes::new()..keys::end_of_all();
        let newest = self.inner.metadata.scan(JOURNAL, all.clone(), Direction::Reverse, 1).await?;
        let oldest = self.inner.metadata.scan(JOURNAL, all, Direction::Forward, 1).await?;
        let number = |pairs: &[(Bytes, Bytes)]| {
            pairs.first().and_then(|(key, _)| key.first_chunk::<8>()).map(|bytes| u64::from_be_bytes(*bytes))
        };
        let (Some(newest), Some(oldest)) = (number(&newest), number(&oldest)) else { return Ok(()) };
        let max = self.inner.settings.journal_max_entries;
        if newest - oldest <= max + max / JOURNAL_SLACK {
            return Ok(());
        }
        let cut = Bytes::copy_from_slice(&(newest - max).to_be_bytes());
        let mut batch = Batch { durability: Durability::Buffered, ..Batch::default() };
        batch.delete_range(JOURNAL, Bytes::new()..cut);
        Ok(self.inner.metadata.commit(batch).await?)
    }
}
