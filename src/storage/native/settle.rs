//! Publications whose outcome nobody knew: they happen, or leave nothing.
//!
//! A store elsewhere may still be at work on a request whose caller is gone. So what it does not show counts as never
//! published only after a while: else it would come later, in the place of what was acknowledged. What it does show is
//! compared with the note: a copy that somebody made of the object has its marks, too, and other bytes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    check_versionable, native,
    publish::{PENDING, seen},
};
use crate::{
    data::{DataError, NativeStore, Written},
    metadata::{Batch, MetadataError, Namespace, Table},
    storage::{
        Storage, StorageError, StorageResult,
        buckets::Bucket,
        change::{Change, upload_id},
        garbage::GarbageReport,
        held::release,
        keys,
        lock::{Bypass, Leave},
        multipart::Completion,
        records::{Garbage, GarbageKind, ObjectRecord, Pending, Record, Segment, UploadRecord, Versioning},
        versions,
    },
    types::{BucketId, BucketName, ObjectKey, UploadId, VersionSelector},
};

/// A store has so long to tell what became of a publication.
const FIND_LIMIT: Duration = Duration::from_secs(15);
/// A start waits so long for it; the garbage worker asks again.
const START_LIMIT: Duration = Duration::from_secs(3);
/// A writer waits so long for what may still come in the place of what it writes.
const WRITE_LIMIT: Duration = Duration::from_secs(15);
/// A reader waits so long for what is written in the place of what it reads.
const READ_LIMIT: Duration = Duration::from_secs(10);

const GARBAGE: Namespace = Namespace::global(Table::Garbage);

/// What is known of a publication after a look at its store.
enum Fate {
    /// It happened, or never will; the note is gone.
    Settled,
    /// It did not happen, but for so long it still may.
    MayCome(Duration),
}

/// How a publication ended that the store has a blob of.
#[derive(Debug)]
pub(super) enum Ending {
    /// It is the newest version of its key.
    Newest(Box<ObjectRecord>),
    /// It could not be written any more; its blob is garbage.
    Late,
    /// What is there is not what was to be published. It stays, and is no object of ours.
    Foreign(DataError),
}

/// Why a commit that ends a publication was refused.
pub(super) enum Refusal {
    /// The version may not be written any more.
    Late,
    /// Something else.
    Error(StorageError),
}

fn unsettled() -> StorageError {
    DataError::Unavailable("it is not known yet what became of an earlier write of this key".to_owned()).into()
}

impl Storage {
    /// Settles the publication of a key that is noted, if there is one. The caller holds the key's lock.
    ///
    /// # Errors
    /// [`StorageError::Data`] where the store does not tell.
    pub(in crate::storage) async fn settle(&self, bucket: BucketId, key: &ObjectKey) -> StorageResult<()> {
        self.settle_before(bucket, key, None).await
    }

    /// As [`Storage::settle`], for whoever completes an upload with this list of parts. If that was tried before and may
    /// still come, nothing is to be waited for: it is the same write.
    pub(in crate::storage) async fn settle_before(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        again: Option<(UploadId, &Bytes)>,
    ) -> StorageResult<()> {
        let row = keys::publication(bucket, key);
        if !self.inner.notes.has(&row) {
            return Ok(());
        }
        let settled = async {
            match self.settle_row(&row, FIND_LIMIT, again).await? {
                Fate::MayCome(wait) if wait <= WRITE_LIMIT => {
                    tokio::time::sleep(wait).await;
                    self.settle_row(&row, FIND_LIMIT, again).await
                }
                fate => Ok(fate),
            }
        };
        match settled.await {
            Ok(Fate::Settled) => Ok(()),
            Ok(Fate::MayCome(_)) => Err(unsettled()),
            Err(error) => {
                tracing::warn!(%error, "an earlier write of the key is not settled yet");
                Err(unsettled())
            }
        }
    }

    /// Settles what a crash left, as far as the stores answer at once. Gives the number of notes.
    pub(in crate::storage) async fn settle_at_start(&self, rows: Vec<Bytes>) -> usize {
        let found = rows.len();
        let mut places = Vec::with_capacity(found);
        for row in &rows {
            let note = self.note(row).await.ok().flatten().map(|(_, note)| note).unwrap_or_default();
            self.inner.notes.found(row.clone(), &note, self.inner.clock.now());
            places.push(note.location);
        }
        let mut silent: Vec<String> = Vec::new();
        for (row, location) in rows.iter().zip(places) {
            if silent.contains(&location) {
                continue;
            }
            if let Err(error) = self.settle_row(row, START_LIMIT, None).await {
                tracing::warn!(%error, location, "what became of a write before the start is not known yet");
                silent.push(location);
            }
        }
        found
    }

    /// Settles what can be settled now; and one of the errors of each location.
    pub(in crate::storage) async fn settle_all(&self) -> (GarbageReport, BTreeMap<String, String>) {
        let (mut report, mut errors) = (GarbageReport::default(), BTreeMap::new());
        for row in self.inner.notes.unsettled() {
            let Some((bucket, key)) = keys::published_key(&row) else { continue };
            // Whoever holds the lock settles it first.
            let Some(_guard) = self.inner.locks.try_lock(bucket, &key) else {
                report.failed += 1;
                continue;
            };
            if !self.inner.notes.is_unsettled(&row) {
                continue;
            }
            match self.settle_row(&row, FIND_LIMIT, None).await {
                Ok(Fate::Settled) => report.done += 1,
                Ok(Fate::MayCome(_)) => report.in_use += 1,
                Err(error) => {
                    tracing::debug!(%error, key = key.as_str(), "what became of a write is not known yet");
                    let location = self.inner.notes.location_of(&row);
                    errors.entry(location).or_insert_with(|| error.to_string());
                    report.failed += 1;
                }
            }
        }
        (report, errors)
    }

    /// The upload whose parts its store is just putting together.
    pub(in crate::storage) async fn closing_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        id: UploadId,
    ) -> StorageResult<Option<UploadRecord>> {
        let row = keys::publication(bucket, key);
        if !self.inner.notes.has(&row) {
            return Ok(None);
        }
        let note = self.note(&row).await?.map(|(_, note)| note);
        let note = note.filter(|note| note.record.as_ref().is_some_and(|it| it.upload_id == id.as_bytes().as_slice()));
        Ok(note.and_then(|note| note.upload))
    }

    pub(super) async fn note(&self, row: &Bytes) -> StorageResult<Option<(Bytes, Pending)>> {
        let Some(stored) = self.inner.metadata.get(PENDING, row).await? else { return Ok(None) };
        let note = Pending::from_bytes(&stored)?;
        Ok(Some((stored, note)))
    }

    async fn settle_row(&self, row: &Bytes, limit: Duration, again: Option<(UploadId, &Bytes)>) -> StorageResult<Fate> {
        let Some((_, note)) = self.note(row).await? else {
            self.inner.notes.remove(row);
            return Ok(Fate::Settled);
        };
        let location = self.location(&note.location)?;
        let store = native(&location)?;
        let silent = |_| DataError::Unavailable("no answer in time".to_owned());
        // Looked at before the store is: what it does not show then was late.
        let wait = self.inner.notes.left_of(row, store.lateness(&note.handle));
        match tokio::time::timeout(limit, store.find(&note.handle)).await.map_err(silent)?? {
            Some(written) => {
                Box::pin(self.roll_forward(row, &note, written)).await?;
            }
            None if !wait.is_zero() && !again.is_some_and(|(id, list)| is_same_completion(&note, id, list)) => {
                return Ok(Fate::MayCome(wait));
            }
            None => self.give_up(row, &note, store).await?,
        }
        Ok(Fate::Settled)
    }

    /// Makes a published version the newest of its key, if it still may be, and if it is what was to be published.
    ///
    /// # Errors
    /// Never [`MetadataError::Conflict`]. The note stays.
    pub(super) async fn roll_forward(&self, row: &Bytes, note: &Pending, written: Written) -> StorageResult<Ending> {
        if let Some(fault) = misfit(note, &written) {
            return Box::pin(self.disown(row, note, fault)).await;
        }
        let mut record = note.record.clone().ok_or(StorageError::Broken("a note has the version to be"))?;
        let first = record.segments.first_mut().ok_or(StorageError::Broken("a published version has a segment"))?;
        written.blob.as_str().clone_into(&mut first.blob);
        let blob = Segment { blob: first.blob.clone(), location: first.location.clone(), ..Segment::default() };
        for _ in 0..crate::storage::objects::ATTEMPTS {
            let Some((stored, _)) = self.note(row).await? else {
                // Somebody else has done it.
                self.inner.notes.remove(row);
                return Ok(Ending::Newest(record.into()));
            };
            let bucket = self.noted_bucket(note).await?;
            let ended = match &bucket {
                None => Err(Refusal::Late),
                Some(bucket) => self.commit_noted(bucket, (row, &stored), note, &mut record).await,
            };
            match ended {
                Ok(()) => {
                    self.inner.notes.remove(row);
                    return Ok(Ending::Newest(record.into()));
                }
                Err(Refusal::Late) => {
                    Box::pin(self.orphan((row, &stored), note, bucket.as_deref(), Some(blob))).await?;
                    return Ok(Ending::Late);
                }
                Err(Refusal::Error(StorageError::Metadata(MetadataError::Conflict(_)))) => {}
                Err(Refusal::Error(e)) => return Err(e),
            }
        }
        Err(StorageError::Contention)
    }

    /// Ends a publication in whose place something else was found. That is not touched: it may be somebody else's.
    async fn disown(&self, row: &Bytes, note: &Pending, fault: DataError) -> StorageResult<Ending> {
        if let Some((stored, _)) = self.note(row).await? {
            let bucket = self.noted_bucket(note).await?;
            self.orphan((row, &stored), note, bucket.as_deref(), None).await?;
        }
        self.inner.notes.remove(row);
        let Pending { bucket_name, key, location, .. } = note;
        tracing::error!(
            bucket_name, key, location, %fault,
            "what is in the store is not what was written: the write has come to nothing, and what is there stays"
        );
        Ok(Ending::Foreign(fault))
    }

    /// The bucket of a note, if it still lives. It is as it was then where the store keeps one version only: what is
    /// published has taken the place of what was there, though versioning may have been enabled meanwhile.
    async fn noted_bucket(&self, note: &Pending) -> StorageResult<Option<Arc<Bucket>>> {
        let name = BucketName::new(&note.bucket_name).map_err(|_| StorageError::Broken("a note names its bucket"))?;
        let bucket = match self.bucket(&name).await {
            Ok(bucket) if bucket.id.get() == note.bucket => bucket,
            Ok(_) | Err(StorageError::NoSuchBucket) => return Ok(None),
            Err(e) => return Err(e),
        };
        if check_versionable(&bucket, &*self.location(&note.location)?).is_ok() {
            return Ok(Some(bucket));
        }
        let mut before = Bucket::clone(&bucket);
        before.record.set_state(Versioning::Unversioned);
        Ok(Some(Arc::new(before)))
    }

    async fn commit_noted(
        &self,
        bucket: &Bucket,
        (row, stored): (&Bytes, &Bytes),
        note: &Pending,
        record: &mut ObjectRecord,
    ) -> Result<(), Refusal> {
        if !note.moved_from.is_empty() {
            return self.commit_moved(bucket, (row, stored), note, record).await;
        }
        let key = noted_key(note).map_err(Refusal::Error)?;
        let head = self.head(bucket, &key).await.map_err(Refusal::Error)?;
        if seen(&head) != note.seen {
            return Err(Refusal::Late);
        }
        let null = self.replaced_null(bucket, &key, &head).await.map_err(Refusal::Error)?;
        let mut change = Change::new(bucket);
        change.within_limits();
        let leave = Leave { now: self.inner.clock.now(), bypass: Bypass::No };
        versions::publish(&mut change, &key, (&head, null.as_ref()), record, leave).map_err(|_| Refusal::Late)?;
        if let Some(completion) = self.noted_completion(bucket.id, note).await.map_err(Refusal::Error)? {
            completion.end(&mut change, &key, record);
        }
        change.batch.unchanged(PENDING, row.clone(), Some(stored)).delete(PENDING, row.clone());
        release(&mut change.batch, note, true);
        change.tell(note.op(), key.as_str(), Some(record.version_id()), record.modified());
        self.commit(change, None).await.map_err(Refusal::Error)
    }

    /// The end of the upload that a note completes.
    async fn noted_completion(&self, bucket: BucketId, note: &Pending) -> StorageResult<Option<Completion>> {
        let (Some(upload), Some(record)) = (&note.upload, &note.record) else { return Ok(None) };
        let id = upload_id(&record.upload_id).ok_or(StorageError::Broken("a completed upload has an id"))?;
        self.closed_upload(bucket, id, upload, note.completed_list.clone()).await.map(Some)
    }

    /// The version may not be written any more: its blob goes, if it has one, and with it what else it had.
    pub(super) async fn orphan(
        &self,
        (row, stored): (&Bytes, &Bytes),
        note: &Pending,
        bucket: Option<&Bucket>,
        blob: Option<Segment>,
    ) -> StorageResult<()> {
        // Before the note goes, if that can be: whoever looks for what others put there must not take it for theirs.
        let blob = self.try_remove_blobs(blob.into_iter().collect()).await.into_iter().map(|(blob, _)| blob);
        let blobs: Vec<Segment> = blob.collect();
        let mut batch = Batch::new();
        if let Some(bucket) = bucket {
            let mut change = Change::new(bucket);
            change.within_limits();
            if let Some(completion) = self.noted_completion(bucket.id, note).await? {
                completion.uncount(&mut change, note.upload.as_ref().map_or("", UploadRecord::location));
            }
            batch = change.finish().0;
        }
        let mut leave = |garbage: Garbage| {
            let garbage = Garbage { bucket: note.bucket, ..garbage };
            batch.append(GARBAGE, garbage.to_bytes());
        };
        if !blobs.is_empty() {
            leave(Garbage { segments: blobs, ..Garbage::of(GarbageKind::Segments) });
        }
        if let Some(record) = &note.record {
            let has_rows = note.upload.is_some() || has_own_rows(note, record);
            let upload = if has_rows { record.upload_id.clone() } else { Bytes::new() };
            for upload_id in [upload, own_annotations(note)].into_iter().filter(|id| !id.is_empty()) {
                leave(Garbage { upload_id, ..Garbage::of(GarbageKind::Upload) });
            }
        }
        batch.unchanged(PENDING, row.clone(), Some(stored)).delete(PENDING, row.clone());
        release(&mut batch, note, bucket.is_some());
        self.inner.metadata.commit(batch).await.map_err(settled_elsewhere)?;
        self.inner.notes.remove(row);
        self.inner.garbage.wake();
        Ok(())
    }

    /// The store has not published, and will not: what was staged goes, an upload is open again.
    pub(super) async fn give_up(&self, row: &Bytes, note: &Pending, store: &dyn NativeStore) -> StorageResult<()> {
        let bucket = self.noted_bucket(note).await?;
        let reopened = bucket.as_deref().filter(|_| note.upload.is_some());
        if reopened.is_none() {
            store.discard(&note.handle).await?;
        }
        let Some((stored, _)) = self.note(row).await? else {
            self.inner.notes.remove(row);
            return Ok(());
        };
        let mut batch = Batch::new();
        let record = note.record.as_ref().ok_or(StorageError::Broken("a note has the version to be"))?;
        let id = upload_id(&record.upload_id);
        if let (Some(bucket), Some(upload), Some(id)) = (reopened, &note.upload, id) {
            let mut change = Change::new(bucket);
            let uploads = change.ns(Table::Uploads);
            change.batch.put(uploads, keys::upload(&noted_key(note)?, id), upload.to_bytes());
            batch = change.finish().0;
        }
        let rows = record.layout.as_ref().map_or(0, |layout| layout.row_starts.len());
        if let Some(id) = id.filter(|_| has_own_rows(note, record)) {
            let parts = Namespace::of(Table::Parts, BucketId::new(note.bucket));
            for number in 0..u32::try_from(rows).unwrap_or(u32::MAX) {
                batch.delete(parts, keys::layout_row(id, number));
            }
        }
        let annotations = own_annotations(note);
        if !annotations.is_empty() {
            let garbage = Garbage { bucket: note.bucket, upload_id: annotations, ..Garbage::of(GarbageKind::Upload) };
            batch.append(GARBAGE, garbage.to_bytes());
        }
        batch.unchanged(PENDING, row.clone(), Some(&stored)).delete(PENDING, row.clone());
        release(&mut batch, note, bucket.is_some());
        self.inner.metadata.commit(batch).await.map_err(settled_elsewhere)?;
        self.inner.notes.remove(row);
        Ok(())
    }

    /// Why the blob of a version that was just read is not there.
    pub(in crate::storage) async fn why_missing(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        record: &ObjectRecord,
    ) -> StorageError {
        let Ok(_guard) = tokio::time::timeout(READ_LIMIT, self.inner.locks.lock(bucket.id, key)).await else {
            return unsettled();
        };
        if self.inner.notes.has(&keys::publication(bucket.id, key)) {
            return unsettled();
        }
        let selector = if record.is_null { VersionSelector::Null } else { VersionSelector::Id(record.version_id()) };
        match self.version(bucket, key, Some(selector)).await {
            Ok(again) if again.stamp == record.stamp && again.segments == record.segments => {
                let location = record.segments.first().map(|first| first.location.clone());
                StorageError::LocationLost(location.unwrap_or_default())
            }
            Ok(_) | Err(StorageError::NoSuchVersion | StorageError::IsDeleteMarker(_)) => StorageError::Vanished,
            Err(e) => e,
        }
    }
}

/// A note that is gone or changed was settled by somebody else, which only another engine over the same store does.
fn settled_elsewhere(e: MetadataError) -> StorageError {
    match e {
        MetadataError::Conflict(_) => StorageError::Contention,
        other => other.into(),
    }
}

/// Why what the store shows cannot be what a note is of.
fn misfit(note: &Pending, written: &Written) -> Option<DataError> {
    let detail = match note.stored_bytes {
        _ if note.misshapen => "the store itself said that it is not what was sent".to_owned(),
        Some(bytes) if bytes != written.size => {
            format!("{bytes} bytes were to be published, and {} are there", written.size)
        }
        _ => return None,
    };
    Some(DataError::Corrupt { blob: written.blob.clone(), detail })
}

/// The annotations that came with the version; empty where there are none, or where they go on with what was.
fn own_annotations(note: &Pending) -> Bytes {
    let is_new = note.moved_from.is_empty();
    note.record.as_ref().filter(|_| is_new).map(|record| record.annotation_id.clone()).unwrap_or_default()
}

/// Whether a note is of the completion of this upload with this list of parts.
fn is_same_completion(note: &Pending, id: UploadId, list: &Bytes) -> bool {
    let upload = note.record.as_ref().filter(|_| note.upload.is_some()).map(|record| &record.upload_id);
    upload.is_some_and(|upload| upload == id.as_bytes().as_slice()) && note.completed_list == *list
}

/// Whether the rows of the layout came with the note. Those of a rename are the object's as it was.
fn has_own_rows(note: &Pending, record: &ObjectRecord) -> bool {
    record.layout.is_some() && (note.moved_from.is_empty() || note.moved_from == note.key)
}

pub(super) fn noted_key(note: &Pending) -> StorageResult<ObjectKey> {
    ObjectKey::new(note.key.as_str()).map_err(|_| StorageError::Broken("a note names a key"))
}
