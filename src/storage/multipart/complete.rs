//! Completing an upload: one batch turns its parts into the newest version of the key.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::{
    CompleteRequest, Counter,
    plan::{self, Parts, Plan},
    require_open,
};
use crate::{
    metadata::{Batch, Direction, MetadataError, Namespace, Pairs, Table},
    storage::{
        Storage, StorageError, StorageResult,
        buckets::Bucket,
        change::Change,
        keys,
        listing::numbered,
        native::{Completing, Published, Publishing, StagedBlob, staged_upload},
        objects::{ATTEMPTS, Publication},
        records::{JournalOp, LayoutRow, ObjectRecord, Record, Segment, UploadRecord},
    },
    types::{BucketId, ObjectKey, Timestamp, UploadId},
};

/// Parts read at a time.
const PAGE: usize = 256;

/// What the batch of a completion does besides publishing the object.
#[derive(Debug)]
pub(in crate::storage) struct Completion {
    id: UploadId,
    counter: Counter,
    /// Rows of the parts, all of them.
    part_rows: Vec<Bytes>,
    layout: Vec<LayoutRow>,
    dropped: Vec<Segment>,
    /// What remains for those who ask again, but for the answer.
    tombstone: UploadRecord,
    /// The listed part of fewest bytes, the last one left out.
    smallest: Option<(u16, u64)>,
}

impl Completion {
    /// Makes a change depend on the upload being as it was read.
    pub(in crate::storage) fn require(&self, change: &mut Change<'_>, key: &ObjectKey) {
        require_open(change, key, self.id);
        self.counter.require(change, self.id);
    }

    /// The digest of the list of parts.
    pub(in crate::storage) fn list(&self) -> Bytes {
        self.tombstone.completed_list.clone()
    }

    /// The listed part of fewest bytes, the last one left out.
    pub(in crate::storage) fn smallest(&self) -> Option<(u16, u64)> {
        self.smallest
    }

    /// Takes the upload's bytes out of the counters, and out of those of its location.
    pub(in crate::storage) fn uncount(&self, change: &mut Change<'_>, location: &str) {
        change.grow_upload(location, -self.counter.bytes);
    }

    /// Closes the upload before its store puts the parts together: from now on none comes or goes. The layout is there
    /// already when the object is.
    pub(in crate::storage) fn close(&self, batch: &mut Batch, bucket: BucketId, key: &ObjectKey) {
        let (uploads, parts) = (Namespace::of(Table::Uploads, bucket), Namespace::of(Table::Parts, bucket));
        batch.delete(uploads, keys::upload(key, self.id));
        for (number, row) in (0..).zip(&self.layout) {
            batch.put(parts, keys::layout_row(self.id, number), row.to_bytes());
        }
    }

    /// Plans the end of the upload; `object` is what becomes of it.
    pub(in crate::storage) fn end(&self, change: &mut Change<'_>, key: &ObjectKey, object: &ObjectRecord) {
        let (uploads, parts) = (change.ns(Table::Uploads), change.ns(Table::Parts));
        // One by one, as all rows are known: range deletions burden every later read of the table.
        for row in &self.part_rows {
            change.batch.delete(parts, row.clone());
        }
        change.batch.delete(parts, keys::upload_counter(self.id));
        for (number, row) in (0..).zip(&self.layout) {
            change.batch.put(parts, keys::layout_row(self.id, number), row.to_bytes());
        }
        self.dropped.iter().for_each(|segment| change.free_segment(segment));
        self.uncount(change, &object.location);

        let tombstone = UploadRecord {
            key: key.as_str().to_owned(),
            completed: Some(answered(object)),
            completed_ms: object.modified_ms,
            ..self.tombstone.clone()
        };
        let at = keys::completed_at(Timestamp::from_millis(object.modified_ms), change.bucket.id, self.id);
        change.batch.delete(uploads, keys::upload(key, self.id));
        change.batch.put(uploads, keys::completed_upload(self.id), tombstone.to_bytes());
        change.batch.put(Namespace::of(Table::Uploads, keys::NO_BUCKET), at, Bytes::new());
    }
}

/// A completion that was planned.
struct Prepared {
    completion: Completion,
    object: ObjectRecord,
    /// What the store that puts the parts together calls them.
    tokens: Vec<(u32, String)>,
    /// Stored bytes in all.
    stored: u64,
}

/// What the answer to a completion shows of the object.
fn answered(object: &ObjectRecord) -> ObjectRecord {
    ObjectRecord {
        content: None,
        metadata: Vec::new(),
        tags: Vec::new(),
        acl: None,
        segments: Vec::new(),
        layout: None,
        ..object.clone()
    }
}

impl Storage {
    /// Makes an object of the listed parts and closes the upload.
    ///
    /// A second request with the same list gets the same answer, for a day; it lacks headers, metadata, tags, list
    /// and segments.
    ///
    /// # Errors
    /// [`StorageError::NoSuchUpload`], also where the upload was completed with another list;
    /// [`StorageError::InvalidPart`], [`StorageError::EntityTooSmall`], [`StorageError::InvalidCompletion`] where
    /// the request contradicts the parts; the errors of a conditional write. The upload stays open then.
    pub async fn complete_upload(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        id: UploadId,
        request: &CompleteRequest,
    ) -> StorageResult<ObjectRecord> {
        let open = self.open_upload(bucket.id, key, id).await?;
        if open.is_none_or(|upload| !upload.handle.is_empty()) {
            let (storage, bucket, key, request) = (self.clone(), Arc::clone(bucket), key.clone(), request.clone());
            let work = async move { Box::pin(storage.complete_staged(&bucket, &key, id, request)).await };
            return self.detached(work.boxed()).await;
        }
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        self.settle(bucket.id, key).await?;
        for _ in 0..ATTEMPTS {
            self.same_bucket(bucket).await?;
            let Some(upload) = self.open_upload(bucket.id, key, id).await? else {
                return self.completed_before(bucket.id, key, id, request).await;
            };
            let Prepared { completion, mut object, .. } = self.prepare(bucket.id, (id, &upload), request).await?;
            let mut publication = Publication {
                condition: &request.condition,
                op: JournalOp::UploadCompleted,
                stored: None,
                completion: Some(&completion),
            };
            match self.try_publish(bucket, key, &mut object, &mut publication).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other.map(|()| object),
            }
        }
        Err(StorageError::Contention)
    }

    /// As [`Storage::complete_upload`], where the store puts the parts together, or where there is no open upload.
    async fn complete_staged(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        id: UploadId,
        request: CompleteRequest,
    ) -> StorageResult<ObjectRecord> {
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        self.settle_before(bucket.id, key, Some((id, &request.digest()))).await?;
        for _ in 0..ATTEMPTS {
            self.same_bucket(bucket).await?;
            let Some(upload) = self.open_upload(bucket.id, key, id).await? else {
                return self.completed_before(bucket.id, key, id, &request).await;
            };
            let Prepared { completion, object, tokens, stored } =
                self.prepare(bucket.id, (id, &upload), &request).await?;
            let mut staged = StagedBlob::new(self, &object.location, staged_upload(&upload.handle, tokens, stored));
            // Whatever happens, an open upload stays.
            staged.settled = true;
            let change =
                Published { record: object, condition: request.condition.clone(), op: JournalOp::UploadCompleted };
            let completion = Some(Completing { completion, upload, listed: request.parts.clone() });
            let job = Publishing::new((Arc::clone(bucket), key.clone()), change, staged);
            let mut job = Publishing { completion, ..job };
            match self.try_publish_staged(&mut job).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other,
            }
        }
        Err(StorageError::Contention)
    }

    /// The end of an upload that [`Completion::close`] has closed.
    pub(in crate::storage) async fn closed_upload(
        &self,
        bucket: BucketId,
        id: UploadId,
        upload: &UploadRecord,
        completed_list: Bytes,
    ) -> StorageResult<Completion> {
        let counter = self.upload_counter(bucket, id).await?;
        let pairs = self.all_parts(bucket, id).await?;
        Ok(Completion {
            id,
            counter,
            part_rows: pairs.into_iter().map(|(row, _)| row).collect(),
            layout: Vec::new(),
            dropped: Vec::new(),
            tombstone: UploadRecord { object: None, completed_list, ..upload.clone() },
            smallest: None,
        })
    }

    async fn completed_before(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        id: UploadId,
        request: &CompleteRequest,
    ) -> StorageResult<ObjectRecord> {
        let tombstone = self.completed_upload(bucket, key, id).await?;
        let same = tombstone.filter(|tombstone| tombstone.completed_list == request.digest());
        same.and_then(|tombstone| tombstone.completed).ok_or(StorageError::NoSuchUpload)
    }

    /// Reads the parts and plans the object. The counter is read first: parts that come later change it.
    async fn prepare(
        &self,
        bucket: BucketId,
        (id, upload): (UploadId, &UploadRecord),
        request: &CompleteRequest,
    ) -> StorageResult<Prepared> {
        let counter = self.upload_counter(bucket, id).await?;
        let pairs = self.all_parts(bucket, id).await?;
        let parts = pairs.iter().map(|(row, value)| numbered(row, value)).collect::<StorageResult<Parts>>()?;
        let Plan { object, rows, dropped, tokens, stored, smallest } =
            plan::plan(request, (id, upload), parts, self.inner.settings.min_part_size)?;
        let completion = Completion {
            id,
            counter,
            part_rows: pairs.into_iter().map(|(row, _)| row).collect(),
            layout: rows,
            dropped,
            tombstone: UploadRecord { object: None, completed_list: request.digest(), ..upload.clone() },
            smallest,
        };
        Ok(Prepared { completion, object, tokens, stored })
    }

    /// All parts of an upload. They need not be of one view: a change in between changes the counter.
    async fn all_parts(&self, bucket: BucketId, id: UploadId) -> StorageResult<Pairs> {
        let ns = Namespace::of(Table::Parts, bucket);
        let mut range = keys::parts_of(id);
        let mut all = Pairs::new();
        loop {
            let page = self.inner.metadata.scan(ns, range.clone(), Direction::Forward, PAGE).await?;
            let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) else {
                all.extend(page);
                return Ok(all);
            };
            range.start = keys::after(last);
            all.extend(page);
        }
    }
}
