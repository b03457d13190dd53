//! Annotations: named texts that hang on a version.
//!
//! Invariants:
//! - A version with annotations has an id for them; their rows are under that id, their bytes among the bodies.
//! - The version's record counts them, in the batch that changes them: it is what the quota and the garbage see.
//! - The id goes with the version, wherever it is stored or renamed to. When the version goes, so does all under it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use super::{
    FailedCondition, Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::{Change, signed, upload_id},
    encryption::{Encryption, EncryptionRequest, seal_text},
    keys,
    objects::ATTEMPTS,
    records::{AnnotationRecord, ChecksumRecord, JournalOp, ObjectRecord, Pending, Record},
    versions::{self, Head, Older},
};
use crate::{
    metadata::{Direction, Durability, MetadataError, Namespace, Table},
    types::{BucketId, ETag, ObjectKey, UploadId, VersionSelector},
};

/// Most annotations of a version (S3 reference, "`PutObjectAnnotation`").
const MAX_ANNOTATIONS: u32 = 1000;
/// Annotations copied at a time: each may have a mebibyte.
const COPY_PAGE: usize = 8;

const PENDING: Namespace = Namespace::global(Table::Pending);

/// An annotation to be written.
#[derive(Clone, Debug)]
pub struct NewAnnotation {
    /// Its name; an annotation of that name gives way.
    pub name: String,
    /// Its text.
    pub payload: Bytes,
    /// Its checksum.
    pub checksum: ChecksumRecord,
}

/// A page of the annotations of a version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnnotationPage {
    /// Names and what is known of them, by name.
    pub annotations: Vec<(String, AnnotationRecord)>,
    /// Whether more follow.
    pub truncated: bool,
}

/// Copies of annotations that no version names yet. Dropped without a commit, they are cleaned up.
#[derive(Debug)]
pub struct CopiedAnnotations {
    storage: Storage,
    bucket: BucketId,
    id: UploadId,
    count: u32,
    bytes: u64,
    /// One key for all of them; each has an id of its own, so none shares what is derived.
    encryption: Option<Encryption>,
    settled: AtomicBool,
}

/// A version as it was found, with what a change of it depends on.
struct Found {
    head: Head,
    older: Option<Older>,
    record: ObjectRecord,
}

impl Found {
    /// Plans the changed record in the place of the one found.
    fn amend(&self, change: &mut Change<'_>, key: &ObjectKey, record: &ObjectRecord) {
        self.head.require(change, key);
        if let Some(older) = &self.older {
            let ns = change.ns(Table::Versions);
            change.batch.unchanged(ns, keys::version(key, record.version_id()), Some(&older.stored));
            change.put_version(key, record);
        } else {
            versions::replace_record(change, key, record);
        }
    }
}

impl CopiedAnnotations {
    fn pending(&self) -> Pending {
        pending(self.bucket, self.id)
    }

    /// Makes `record` the one that owns them.
    pub(super) fn describe(&self, record: &mut ObjectRecord) {
        record.annotation_id = Bytes::copy_from_slice(self.id.as_bytes());
        record.annotation_count = self.count;
        record.annotation_bytes = self.bytes;
    }

    /// From the commit of this change on they are named.
    pub(super) fn name_in(&self, change: &mut Change<'_>) {
        let Pending { location, blob, .. } = self.pending();
        change.batch.delete(PENDING, keys::pending(&location, &blob));
    }

    /// Whether a commit names them, or may.
    pub(super) fn settle(&self, settled: bool) {
        self.settled.store(settled, Ordering::Release);
    }
}

impl Drop for CopiedAnnotations {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Acquire) {
            self.storage.inner.garbage.abandon(self.pending());
        }
    }
}

fn pending(bucket: BucketId, id: UploadId) -> Pending {
    Pending {
        location: String::new(),
        blob: hex::encode(id.as_bytes()),
        bucket: bucket.get(),
        annotations: Bytes::copy_from_slice(id.as_bytes()),
    }
}

impl Storage {
    /// Writes an annotation of a version. Gives the version and the annotation as they are now.
    ///
    /// # Errors
    /// As [`Storage::version`]; [`StorageError::PreconditionFailed`] where the version has another tag than
    /// `condition`; [`StorageError::TooManyAnnotations`]; [`StorageError::QuotaExceeded`].
    pub async fn put_annotation(
        &self,
        bucket: &Arc<Bucket>,
        (key, selector): (&ObjectKey, Option<VersionSelector>),
        new: &NewAnnotation,
        condition: Option<&ETag>,
    ) -> StorageResult<(ObjectRecord, AnnotationRecord)> {
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        let body = Bytes::copy_from_slice(&self.inner.ids.body_id());
        for _ in 0..ATTEMPTS {
            let bucket = self.same_bucket(bucket).await?;
            let found = self.find_annotated(&bucket, key, selector, condition).await?;
            let mut record = found.record.clone();
            let id = match upload_id(&record.annotation_id) {
                Some(id) => id,
                None => self.inner.ids.upload_id(),
            };
            let row = keys::annotation(id, &new.name);
            let old = self.inner.metadata.get(Namespace::of(Table::Parts, bucket.id), &row).await?;
            let now = self.inner.clock.now();
            let mut annotation = AnnotationRecord {
                size: new.payload.len() as u64,
                checksum: Some(new.checksum.clone()),
                modified_ms: now.as_millis(),
                body: body.clone(),
                ..AnnotationRecord::default()
            };
            let made = self.encryption_beside(&bucket, &record).await?;
            let payload = seal_text(made.as_ref(), &mut annotation, &new.payload)?;
            let mut change = Change::new(&bucket);
            let (parts, bodies) = (change.ns(Table::Parts), change.ns(Table::Bodies));
            change.batch.unchanged(parts, row.clone(), old.as_ref());
            remove_old(&mut change, &mut record, old.as_ref())?;
            if record.annotation_count >= MAX_ANNOTATIONS {
                return Err(StorageError::TooManyAnnotations);
            }
            record.annotation_id = Bytes::copy_from_slice(id.as_bytes());
            record.annotation_count += 1;
            record.annotation_bytes += annotation.size;
            record.annotation_changes += 1;
            change.usage.bytes += signed(annotation.size);
            change.batch.put(parts, row, annotation.to_bytes()).put(bodies, body.clone(), payload);
            found.amend(&mut change, key, &record);
            change.tell(JournalOp::VersionChanged, key.as_str(), Some(record.version_id()), now);
            match self.commit(change, None).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other.map(|()| (record, annotation)),
            }
        }
        Err(StorageError::Contention)
    }

    /// Removes an annotation of a version. What is not there counts as removed.
    ///
    /// # Errors
    /// As [`Storage::version`]; [`StorageError::PreconditionFailed`].
    pub async fn delete_annotation(
        &self,
        bucket: &Arc<Bucket>,
        (key, selector): (&ObjectKey, Option<VersionSelector>),
        name: &str,
        condition: Option<&ETag>,
    ) -> StorageResult<ObjectRecord> {
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        for _ in 0..ATTEMPTS {
            let bucket = self.same_bucket(bucket).await?;
            let found = self.find_annotated(&bucket, key, selector, condition).await?;
            let mut record = found.record.clone();
            let Some(id) = upload_id(&record.annotation_id) else { return Ok(record) };
            let row = keys::annotation(id, name);
            let old = self.inner.metadata.get(Namespace::of(Table::Parts, bucket.id), &row).await?;
            let Some(old) = old else { return Ok(record) };
            let mut change = Change::new(&bucket);
            let parts = change.ns(Table::Parts);
            change.batch.unchanged(parts, row.clone(), Some(&old)).delete(parts, row);
            remove_old(&mut change, &mut record, Some(&old))?;
            record.annotation_changes += 1;
            found.amend(&mut change, key, &record);
            let now = self.inner.clock.now();
            change.tell(JournalOp::VersionChanged, key.as_str(), Some(record.version_id()), now);
            match self.commit(change, None).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other.map(|()| record),
            }
        }
        Err(StorageError::Contention)
    }

    /// An annotation of a version that was just read, and its text.
    ///
    /// # Errors
    /// [`StorageError::NoSuchAnnotation`].
    pub async fn annotation(
        &self,
        bucket: &Bucket,
        record: &ObjectRecord,
        name: &str,
    ) -> StorageResult<(AnnotationRecord, Bytes)> {
        let id = upload_id(&record.annotation_id).ok_or(StorageError::NoSuchAnnotation)?;
        let row = keys::annotation(id, name);
        for _ in 0..ATTEMPTS {
            let stored = self.inner.metadata.get(Namespace::of(Table::Parts, bucket.id), &row).await?;
            let annotation = AnnotationRecord::from_bytes(&stored.ok_or(StorageError::NoSuchAnnotation)?)?;
            let bodies = Namespace::of(Table::Bodies, bucket.id);
            // Replaced between the two reads: what took its place is read.
            if let Some(payload) = self.inner.metadata.get(bodies, &annotation.body).await? {
                let text = self.open_text(bucket, &annotation, payload).await?;
                return Ok((annotation, text));
            }
        }
        Err(StorageError::Contention)
    }

    /// At most `limit` annotations of a version whose names begin with `prefix`, after the name `after`.
    pub async fn annotations(
        &self,
        bucket: &Bucket,
        record: &ObjectRecord,
        (prefix, after): (&str, &str),
        limit: usize,
    ) -> StorageResult<AnnotationPage> {
        let mut page = AnnotationPage::default();
        let Some(id) = upload_id(&record.annotation_id) else { return Ok(page) };
        let first = keys::annotation(id, prefix);
        let resume = if after.is_empty() { first.clone() } else { keys::after(&keys::annotation(id, after)) };
        let range = first.clone().max(resume)..keys::successor(&first);
        let ns = Namespace::of(Table::Parts, bucket.id);
        if range.start >= range.end {
            return Ok(page);
        }
        for (row, stored) in self.inner.metadata.scan(ns, range, Direction::Forward, limit.saturating_add(1)).await? {
            if page.annotations.len() == limit {
                page.truncated = true;
                break;
            }
            let name = keys::annotation_name(&row).ok_or(StorageError::Broken("names of annotations are UTF-8"))?;
            page.annotations.push((name.to_owned(), AnnotationRecord::from_bytes(&stored)?));
        }
        Ok(page)
    }

    /// Copies the annotations of a version that was just read, for an object to be written to `bucket`; `None` where
    /// there are none. They belong to nobody until that object is written.
    ///
    /// # Errors
    /// [`StorageError::Contention`] where they change meanwhile; [`StorageError::AnnotationKey`] where that object is to
    /// be encrypted with its client's key.
    pub async fn copy_annotations(
        &self,
        (source, key, record): (&Bucket, &ObjectKey, &ObjectRecord),
        (bucket, asked): (&Bucket, &EncryptionRequest),
    ) -> StorageResult<Option<Arc<CopiedAnnotations>>> {
        let Some(from) = upload_id(&record.annotation_id).filter(|_| record.annotation_count > 0) else {
            return Ok(None);
        };
        let mut copied = CopiedAnnotations {
            storage: self.clone(),
            bucket: bucket.id,
            id: self.inner.ids.upload_id(),
            count: 0,
            bytes: 0,
            encryption: self.encryption_beside_new(bucket, asked).await?,
            settled: AtomicBool::new(false),
        };
        let mut range = keys::annotations_of(from);
        loop {
            let ns = Namespace::of(Table::Parts, source.id);
            let page = self.inner.metadata.scan(ns, range.clone(), Direction::Forward, COPY_PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            range.start = keys::after(last);
            self.copy_page(source, bucket, &mut copied, &page).await?;
        }
        let selector = if record.is_null { VersionSelector::Null } else { VersionSelector::Id(record.version_id()) };
        let now = self.version(source, key, Some(selector)).await?;
        if now.annotation_changes != record.annotation_changes || copied.count != record.annotation_count {
            return Err(StorageError::Contention);
        }
        Ok(Some(Arc::new(copied)))
    }

    async fn copy_page(
        &self,
        source: &Bucket,
        bucket: &Bucket,
        copied: &mut CopiedAnnotations,
        page: &[(Bytes, Bytes)],
    ) -> StorageResult<()> {
        let mut change = Change::new(bucket);
        // Made durable by the commit that names them: it is in the same log, behind them.
        change.batch.durability = Durability::Buffered;
        let note = copied.pending();
        change.batch.put(PENDING, keys::pending(&note.location, &note.blob), note.to_bytes());
        let (parts, bodies) = (change.ns(Table::Parts), change.ns(Table::Bodies));
        for (row, stored) in page {
            let name = keys::annotation_name(row).ok_or(StorageError::Broken("names of annotations are UTF-8"))?;
            let mut annotation = AnnotationRecord::from_bytes(stored)?;
            let payload = self.inner.metadata.get(Namespace::of(Table::Bodies, source.id), &annotation.body).await?;
            let payload = payload.ok_or(StorageError::Contention)?;
            let text = self.open_text(source, &annotation, payload).await?;
            annotation.body = Bytes::copy_from_slice(&self.inner.ids.body_id());
            let payload = seal_text(copied.encryption.as_ref(), &mut annotation, &text)?;
            change.batch.put(bodies, annotation.body.clone(), payload);
            change.batch.put(parts, keys::annotation(copied.id, name), annotation.to_bytes());
            copied.count += 1;
            copied.bytes += annotation.size;
        }
        match self.commit(change, None).await {
            Err(StorageError::Metadata(MetadataError::Conflict(_))) => Err(StorageError::NoSuchBucket),
            other => other,
        }
    }

    async fn find_annotated(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        condition: Option<&ETag>,
    ) -> StorageResult<Found> {
        let head = self.head(bucket, key).await?;
        let older = match selector {
            Some(selector) if !head.is(selector) => self.find_older(bucket, key, &head, selector).await?,
            _ => None,
        };
        let record = match (&older, selector) {
            (Some(older), _) => older.record.clone(),
            (None, None) => head.object().cloned().ok_or_else(|| head.no_such_key())?,
            (None, Some(selector)) => head.newest(selector).cloned().ok_or(StorageError::NoSuchVersion)?,
        };
        if record.delete_marker {
            return Err(StorageError::IsDeleteMarker(Box::new(record)));
        }
        if condition.is_some_and(|tag| *tag != record.etag()) {
            return Err(StorageError::PreconditionFailed(FailedCondition::IfMatch));
        }
        Ok(Found { head, older, record })
    }
}

/// Frees and uncounts the annotation that gives way.
fn remove_old(change: &mut Change<'_>, record: &mut ObjectRecord, old: Option<&Bytes>) -> StorageResult<()> {
    let Some(old) = old.map(AnnotationRecord::from_bytes).transpose()? else { return Ok(()) };
    record.annotation_count = record.annotation_count.saturating_sub(1);
    record.annotation_bytes = record.annotation_bytes.saturating_sub(old.size);
    change.usage.bytes -= signed(old.size);
    let bodies = change.ns(Table::Bodies);
    change.batch.delete(bodies, old.body);
    Ok(())
}
