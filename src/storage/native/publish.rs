//! From staged bytes to the newest version of a key.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{Ending, StagedBlob, UnderWay, moved::Moved, native};
use crate::{
    data::{DataError, NativeStore, PartsFault, Staged, Written},
    metadata::{Batch, Condition, MetadataError, Namespace, Table},
    storage::{
        Storage, StorageError, StorageResult, WriteCondition,
        annotations::CopiedAnnotations,
        buckets::Bucket,
        change::{Demand, upload_id},
        held::{Held, hold},
        keys,
        location_usage::LocationConditions,
        multipart::{Completion, ListedPart},
        objects::ATTEMPTS,
        records::{JournalOp, LayoutRow, ObjectRecord, Pending, Record, UploadRecord},
        versions::Head,
    },
    types::ObjectKey,
};

/// How much longer a store may take to publish where it has to put parts together.
const COMPLETE: u32 = 5;

pub(super) const PENDING: Namespace = Namespace::global(Table::Pending);

/// An object on its way to be the newest version of its key.
#[derive(Debug)]
pub(in crate::storage) struct Publishing {
    pub(in crate::storage) bucket: Arc<Bucket>,
    pub(in crate::storage) key: ObjectKey,
    pub(in crate::storage) change: Published,
    pub(in crate::storage) staged: StagedBlob,
    pub(in crate::storage) annotations: Option<Arc<CopiedAnnotations>>,
    pub(in crate::storage) completion: Option<Completing>,
    /// Where it is an object that was there already, with a new key or with more behind it.
    pub(in crate::storage) moved: Option<Moved>,
    /// Rows of its layout that are not stored yet.
    pub(in crate::storage) rows: Vec<LayoutRow>,
}

impl Publishing {
    /// An object with these staged bytes.
    pub(in crate::storage) fn new(
        (bucket, key): (Arc<Bucket>, ObjectKey),
        change: Published,
        staged: StagedBlob,
    ) -> Self {
        Self { bucket, key, change, staged, annotations: None, completion: None, moved: None, rows: Vec::new() }
    }
}

/// What it will be.
#[derive(Clone, Debug)]
pub(in crate::storage) struct Published {
    /// The version; its first segment lacks the blob's name.
    pub(in crate::storage) record: ObjectRecord,
    /// When it may be written.
    pub(in crate::storage) condition: WriteCondition,
    /// What the journal is told.
    pub(in crate::storage) op: JournalOp,
}

/// The upload that it ends.
#[derive(Debug)]
pub(in crate::storage) struct Completing {
    pub(in crate::storage) completion: Completion,
    /// Its row.
    pub(in crate::storage) upload: UploadRecord,
    /// The parts as the client lists them.
    pub(in crate::storage) listed: Vec<ListedPart>,
}

/// The version id of what was the newest version, as in keys; empty where there was none.
pub(super) fn seen(head: &Head) -> Bytes {
    let id = head.record.as_ref().map(|record| record.version_id().to_key());
    id.map(|id| Bytes::copy_from_slice(&id)).unwrap_or_default()
}

impl Storage {
    /// Goes on with `work` whether or not the caller stays.
    pub(in crate::storage) async fn detached<T: Send + 'static>(
        &self,
        work: BoxFuture<'static, StorageResult<T>>,
    ) -> StorageResult<T> {
        let (tell, outcome) = oneshot::channel();
        let work = async move {
            // Nobody may be left to tell.
            drop(tell.send(work.await));
        };
        self.inner.publications.spawn("publication", work.in_current_span());
        outcome.await.unwrap_or(Err(StorageError::Broken("a publication ends with an outcome")))
    }

    /// Waits for the publications under way, at most `limit`. What is cut is settled at the next start.
    pub async fn finish_publications(&self, limit: Duration) -> bool {
        self.inner.publications.stop(limit).await
    }

    /// Publishes staged bytes as the newest version of a key. When this returns, it is durable and visible.
    ///
    /// # Errors
    /// As [`Storage::put_object`]. Where the store did not answer, [`StorageError::Data`]: the write may still happen.
    pub(in crate::storage) async fn publish_staged(&self, mut job: Publishing) -> StorageResult<ObjectRecord> {
        let storage = self.clone();
        let work = async move {
            let published = storage.publish_in_turn(&mut job).await;
            if published.is_err() && !job.staged.settled {
                // Noted before anybody is told: it goes though this process ends now.
                storage.give_up_staged(&mut job.staged).await;
            }
            published
        };
        self.detached(work.boxed()).await
    }

    async fn publish_in_turn(&self, job: &mut Publishing) -> StorageResult<ObjectRecord> {
        let _guard = self.inner.locks.lock(job.bucket.id, &job.key).await;
        self.settle(job.bucket.id, &job.key).await?;
        for _ in 0..ATTEMPTS {
            match self.try_publish_staged(job).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other,
            }
        }
        Err(StorageError::Contention)
    }

    /// One attempt of [`Storage::publish_staged`], by whoever holds the key's lock. After a conflict nothing happened.
    pub(in crate::storage) async fn try_publish_staged(&self, job: &mut Publishing) -> StorageResult<ObjectRecord> {
        let bucket = self.same_bucket(&job.bucket).await?;
        let location = self.location(job.staged.location())?;
        let store = native(&location)?;
        self.check_fits(&bucket, &location).await?;
        let row = keys::publication(bucket.id, &job.key);
        let (batch, note) = self.plan_note(&bucket, job, &row).await?;
        match self.publish_noted((&bucket, store), (&row, &note, batch), job).await? {
            Ok(record) => Ok(record),
            Err(refusal) => Err(refused(&refusal, job)),
        }
    }

    /// Writes the note, publishes, and commits what it says; `Err` within where the store certainly has not published.
    pub(super) async fn publish_noted(
        &self,
        (bucket, store): (&Bucket, &dyn NativeStore),
        (row, note, batch): (&Bytes, &Pending, Batch),
        job: &mut Publishing,
    ) -> StorageResult<Result<ObjectRecord, DataError>> {
        let _under_way = UnderWay::begin(self, row, note);
        match self.note_and_publish((bucket, store), (row, note, batch), job).await? {
            Ok(written) => match Box::pin(self.roll_forward(row, note, written)).await? {
                Ending::Newest(record) => Ok(Ok(*record)),
                Ending::Late => Err(self.bucket(&bucket.name).await.err().unwrap_or(StorageError::Contention)),
                Ending::Foreign(fault) => Err(fault.into()),
            },
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Writes the note and publishes; `Err` within where the store certainly has not published. The caller holds the
    /// key's lock, and has begun [`UnderWay`].
    pub(super) async fn note_and_publish(
        &self,
        (bucket, store): (&Bucket, &dyn NativeStore),
        (row, note, batch): (&Bytes, &Pending, Batch),
        job: &mut Publishing,
    ) -> StorageResult<Result<Written, DataError>> {
        let bounded = matches!(batch.conditions.first(), Some((.., Condition::Room(_))));
        let locations = LocationConditions::of(&batch);
        if let Err(e) = self.inner.metadata.commit(batch).await {
            if e.was_refused() {
                self.inner.notes.remove(row);
            }
            if let Some(full) = locations.full(&e) {
                return Err(full);
            }
            return Err(if bounded { self.full_or_gone(bucket, e).await } else { e.into() });
        }
        job.staged.settled = true;
        if let Some(copied) = &job.annotations {
            copied.settle(true);
        }
        let staged = &job.staged.staged;
        let limit = self.inner.settings.publish_limit * if staged.parts.is_empty() { 1 } else { COMPLETE };
        let published = tokio::time::timeout(limit, store.publish(staged)).await;
        match published.unwrap_or_else(|_| Err(DataError::Unavailable("no answer in time".to_owned()))) {
            Ok(written) => Ok(Ok(written)),
            Err(refusal @ (DataError::NotFound(_) | DataError::Parts(_))) => {
                self.give_up(row, note, store).await?;
                Ok(Err(refusal))
            }
            Err(fault @ DataError::Corrupt { .. }) => {
                // Whatever is found later under this handle, it is not what was sent.
                Box::pin(self.note_misshapen(row)).await?;
                Err(fault.into())
            }
            Err(unknown) => Err(unknown.into()),
        }
    }

    /// Notes that the store has published something else than it was given, if anything.
    async fn note_misshapen(&self, row: &Bytes) -> StorageResult<()> {
        let Some((stored, note)) = self.note(row).await? else { return Ok(()) };
        let note = Pending { misshapen: true, ..note };
        let mut batch = Batch::new();
        batch.unchanged(PENDING, row.clone(), Some(&stored)).put(PENDING, row.clone(), note.to_bytes());
        Ok(self.inner.metadata.commit(batch).await?)
    }

    /// The batch that notes the publication, under all conditions of the write.
    pub(super) async fn plan_note(
        &self,
        bucket: &Bucket,
        job: &mut Publishing,
        row: &Bytes,
    ) -> StorageResult<(Batch, Pending)> {
        let Published { record, condition, op } = &mut job.change;
        let (mut change, head) = match &job.moved {
            None => self.plan_publication(bucket, &job.key, record, condition).await?,
            Some(moved) => self.plan_moved(bucket, &job.key, moved, record).await?,
        };
        if let Some(Completing { completion, .. }) = &job.completion {
            change.demand(Demand::All);
            completion.require(&mut change, &job.key);
            completion.end(&mut change, &job.key, record);
        }
        let growing = change.growing_locations();
        let room = Held::of_change(&change);
        let note = Pending {
            location: job.staged.location().to_owned(),
            bucket: bucket.id.get(),
            handle: job.staged.staged.handle.clone(),
            bucket_name: bucket.name.as_str().to_owned(),
            key: job.key.as_str().to_owned(),
            record: Some(record.clone()),
            seen: seen(&head),
            op: (*op).into(),
            upload: job.completion.as_ref().map(|it| it.upload.clone()),
            noted_ms: self.inner.clock.now().as_millis(),
            stored_bytes: Some(job.staged.staged.size),
            ..job.moved.as_ref().map(Moved::note).unwrap_or_default()
        };
        let list = job.completion.as_ref().map(|it| it.completion.list());
        let note = room.noted(Pending { completed_list: list.unwrap_or(note.completed_list.clone()), ..note });
        let mut batch = Batch { conditions: change.finish().0.conditions, ..Batch::default() };
        batch.require(PENDING, row.clone(), Condition::Absent).put(PENDING, row.clone(), note.to_bytes());
        // Others must not take the room while the store publishes.
        self.bounded_growth(growing).require(&mut batch);
        hold(&mut batch, &note);
        if let Some(copied) = &job.annotations {
            copied.name_in(&mut batch);
        }
        if let Some(Completing { completion, .. }) = &job.completion {
            completion.close(&mut batch, bucket.id, &job.key);
        }
        if let Some(id) = upload_id(&job.change.record.upload_id) {
            let parts = Namespace::of(Table::Parts, bucket.id);
            for (number, row) in (0..).zip(&job.rows) {
                batch.put(parts, keys::layout_row(id, number), row.to_bytes());
            }
        }
        Ok((batch, note))
    }
}

/// What the client is told where the store certainly has not published.
fn refused(refusal: &DataError, job: &Publishing) -> StorageError {
    let Some(Completing { completion, listed, .. }) = &job.completion else {
        return DataError::Unavailable("the store has lost what was staged".to_owned()).into();
    };
    let part = match refusal {
        DataError::Parts(PartsFault::TooSmall) => completion.smallest(),
        DataError::Parts(PartsFault::Missing) => None,
        _ => return StorageError::NoSuchUpload,
    };
    let (number, size) = part.unwrap_or_else(|| (listed.first().map_or(1, |part| part.number), 0));
    let etag = listed.iter().find(|part| part.number == number).map(|part| part.etag.clone());
    let etag = etag.unwrap_or_else(|| crate::types::ETag::new(""));
    match part {
        // Its own limit is not told.
        Some(_) => StorageError::EntityTooSmall { number, etag, size, minimum: size + 1 },
        None => StorageError::InvalidPart { number, etag },
    }
}

/// An upload that its store will put together.
pub(in crate::storage) fn staged_upload(handle: &str, parts: Vec<(u32, String)>, size: u64) -> Staged {
    Staged { handle: handle.to_owned(), size, held: None, parts: parts.into() }
}
