//! Annotations: named texts that hang on a version.
//!
//! Invariants:
//! - A version with annotations has an id for them; their rows are under that id, their bytes among the bodies.
//! - The version's record counts them, in the batch that changes them: it is what the quota and the garbage see.
//! - The id goes with the version, wherever it is stored or renamed to. When the version goes, so does all under it.
//! - The texts of an encrypted version are encrypted with its key, each under a key of its own; one that is encrypted
//!   with its client's key has none.
//! - A text of a locked version is neither removed nor replaced without leave of [`super::lock`]; others are added.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use super::{
    FailedCondition, Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::{Change, signed, upload_id},
    encryption::{self, Encryption, Unlocked},
    keys,
    lock::{Bypass, Leave},
    objects::ATTEMPTS,
    records::{AnnotationRecord, ChecksumRecord, EncryptionMode, JournalOp, ObjectRecord, Pending, Record},
    versions::{self, Head, Older},
};
use crate::{
    metadata::{Batch, Direction, Durability, MetadataError, Namespace, Table},
    types::{
        BucketId, ETag, ObjectKey, UploadId, VersionId, VersionSelector, body,
        digest::{Digest, Md5},
    },
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
    /// MD5 of the text, of which its tag is made.
    pub md5: [u8; 16],
    /// Its checksum.
    pub checksum: ChecksumRecord,
}

/// What a version must be for a change of its annotations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// The version that the caller was judged by; none where any may be changed.
    pub version: Option<VersionId>,
    /// Its tag; none where it may have any.
    pub tag: Option<&'a ETag>,
}

/// A version whose annotations a copy takes along.
#[derive(Clone, Debug)]
pub struct AnnotationSource {
    /// Its bucket.
    pub bucket: Arc<Bucket>,
    /// Its key.
    pub key: ObjectKey,
    /// Its record, just read.
    pub record: Box<ObjectRecord>,
}

/// How annotations are copied from one version to another.
struct Copying<'a> {
    source: &'a Bucket,
    target: &'a Bucket,
    /// The key of the source, where it is encrypted.
    from: Option<Unlocked>,
    /// The key of what is written, where it is encrypted.
    to: Option<&'a Unlocked>,
    /// Whether a tag of the one version says nothing for the other.
    new_tags: bool,
    /// Whether the tags of what is written are no MD5.
    opaque: bool,
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
pub(super) struct CopiedAnnotations {
    storage: Storage,
    bucket: BucketId,
    id: UploadId,
    count: u32,
    bytes: u64,
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
    pub(super) fn name_in(&self, batch: &mut Batch) {
        let Pending { location, blob, .. } = self.pending();
        batch.delete(PENDING, keys::pending(&location, &blob));
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
        ..Pending::default()
    }
}

impl Storage {
    /// Writes an annotation of a version. Gives the version and the annotation as they are now.
    ///
    /// # Errors
    /// As [`Storage::version`]; [`StorageError::Vanished`] where it is another version than expected, and
    /// [`StorageError::PreconditionFailed`] where it has another tag; [`StorageError::TooManyAnnotations`]; [`StorageError::QuotaExceeded`];
    /// [`StorageError::NotAnnotatable`] where it is encrypted with its client's key; [`StorageError::Lock`] where it is
    /// locked and has an annotation of this name.
    pub async fn put_annotation(
        &self,
        bucket: &Arc<Bucket>,
        (key, selector): (&ObjectKey, Option<VersionSelector>),
        new: &NewAnnotation,
        expected: Expected<'_>,
        bypass: Bypass,
    ) -> StorageResult<(ObjectRecord, AnnotationRecord)> {
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        let body = Bytes::copy_from_slice(&self.inner.ids.body_id());
        for _ in 0..ATTEMPTS {
            let bucket = self.same_bucket(bucket).await?;
            let found = self.find_annotated(&bucket, key, selector, expected).await?;
            let mut record = found.record.clone();
            let id = match upload_id(&record.annotation_id) {
                Some(id) => id,
                None => self.inner.ids.upload_id(),
            };
            let row = keys::annotation(id, &new.name);
            let old = self.inner.metadata.get(Namespace::of(Table::Parts, bucket.id), &row).await?;
            let now = self.inner.clock.now();
            if old.is_some() {
                Leave { now, bypass }.remove(&found.record)?;
            }
            let key_of_object = self.unlock_annotated(&bucket, &record).await?;
            let (sealed, seal) = self.seal_text(key_of_object.as_ref(), &new.payload)?;
            let opaque = record.encryption_mode().has_opaque_tags();
            let annotation = AnnotationRecord {
                size: new.payload.len() as u64,
                etag: tag(key_of_object.as_ref().filter(|_| opaque), new.md5),
                checksum: Some(new.checksum.clone()),
                modified_ms: now.as_millis(),
                body: body.clone(),
                seal,
            };
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
            change.grow(&record.location, signed(annotation.size));
            change.batch.put(parts, row, annotation.to_bytes()).put(bodies, body.clone(), sealed);
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
    /// As [`Storage::version`]; [`StorageError::Vanished`]; [`StorageError::PreconditionFailed`];
    /// [`StorageError::Lock`] where the version is locked.
    pub async fn delete_annotation(
        &self,
        bucket: &Arc<Bucket>,
        (key, selector): (&ObjectKey, Option<VersionSelector>),
        name: &str,
        expected: Expected<'_>,
        bypass: Bypass,
    ) -> StorageResult<ObjectRecord> {
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        for _ in 0..ATTEMPTS {
            let bucket = self.same_bucket(bucket).await?;
            let found = self.find_annotated(&bucket, key, selector, expected).await?;
            let mut record = found.record.clone();
            let Some(id) = upload_id(&record.annotation_id) else { return Ok(record) };
            let row = keys::annotation(id, name);
            let old = self.inner.metadata.get(Namespace::of(Table::Parts, bucket.id), &row).await?;
            let Some(old) = old else { return Ok(record) };
            let now = self.inner.clock.now();
            Leave { now, bypass }.remove(&found.record)?;
            let mut change = Change::new(&bucket);
            let parts = change.ns(Table::Parts);
            change.batch.unchanged(parts, row.clone(), Some(&old)).delete(parts, row);
            remove_old(&mut change, &mut record, Some(&old))?;
            record.annotation_changes += 1;
            found.amend(&mut change, key, &record);
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
            if let Some(stored) = self.inner.metadata.get(bodies, &annotation.body).await? {
                let key = self.unlock_annotated(bucket, record).await?;
                let text = open_text(key.as_ref(), &annotation, stored).await?;
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

    /// Copies the annotations of a version for an object to be written to `bucket`, encrypted as that is; `None` where
    /// there are none. They belong to nobody until that object is written.
    ///
    /// # Errors
    /// [`StorageError::Contention`] where they change meanwhile; [`StorageError::NotAnnotatable`] where the object is
    /// to be encrypted with its client's key.
    pub(super) async fn copy_annotations(
        &self,
        source: &AnnotationSource,
        bucket: &Bucket,
        encryption: Option<&Encryption>,
    ) -> StorageResult<Option<Arc<CopiedAnnotations>>> {
        let AnnotationSource { bucket: from, key, record } = source;
        let Some(id) = upload_id(&record.annotation_id).filter(|_| record.annotation_count > 0) else {
            return Ok(None);
        };
        let mode = encryption.map_or(EncryptionMode::None, |made| made.record.mode());
        if mode == EncryptionMode::Customer {
            return Err(StorageError::NotAnnotatable);
        }
        let opaque = mode.has_opaque_tags();
        let copying = Copying {
            source: from,
            target: bucket,
            from: self.unlock_annotated(from, record).await?,
            to: encryption.map(|made| &made.key),
            new_tags: opaque || record.encryption_mode().has_opaque_tags(),
            opaque,
        };
        let mut copied = CopiedAnnotations {
            storage: self.clone(),
            bucket: bucket.id,
            id: self.inner.ids.upload_id(),
            count: 0,
            bytes: 0,
            settled: AtomicBool::new(false),
        };
        let mut range = keys::annotations_of(id);
        loop {
            let ns = Namespace::of(Table::Parts, from.id);
            let page = self.inner.metadata.scan(ns, range.clone(), Direction::Forward, COPY_PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            range.start = keys::after(last);
            self.copy_page(&copying, &mut copied, &page).await?;
        }
        let selector = if record.is_null { VersionSelector::Null } else { VersionSelector::Id(record.version_id()) };
        let now = self.version(from, key, Some(selector)).await?;
        if now.annotation_changes != record.annotation_changes || copied.count != record.annotation_count {
            return Err(StorageError::Contention);
        }
        Ok(Some(Arc::new(copied)))
    }

    async fn copy_page(
        &self,
        copying: &Copying<'_>,
        copied: &mut CopiedAnnotations,
        page: &[(Bytes, Bytes)],
    ) -> StorageResult<()> {
        let mut change = Change::new(copying.target);
        // Made durable by the commit that names them: it is in the same log, behind them.
        change.batch.durability = Durability::Buffered;
        let note = copied.pending();
        change.batch.put(PENDING, keys::pending(&note.location, &note.blob), note.to_bytes());
        let (parts, bodies) = (change.ns(Table::Parts), change.ns(Table::Bodies));
        for (row, stored) in page {
            let name = keys::annotation_name(row).ok_or(StorageError::Broken("names of annotations are UTF-8"))?;
            let mut annotation = AnnotationRecord::from_bytes(stored)?;
            let stored = self.inner.metadata.get(Namespace::of(Table::Bodies, copying.source.id), &annotation.body);
            let stored = stored.await?.ok_or(StorageError::Contention)?;
            let text = open_text(copying.from.as_ref(), &annotation, stored).await?;
            if copying.new_tags {
                annotation.etag = tag(copying.to.filter(|_| copying.opaque), Md5::digest(&text).into());
            }
            let (sealed, seal) = self.seal_text(copying.to, &text)?;
            annotation.seal = seal;
            annotation.body = Bytes::copy_from_slice(&self.inner.ids.body_id());
            change.batch.put(bodies, annotation.body.clone(), sealed);
            change.batch.put(parts, keys::annotation(copied.id, name), annotation.to_bytes());
            copied.count += 1;
            copied.bytes += annotation.size;
        }
        match self.commit(change, None).await {
            Err(StorageError::Metadata(MetadataError::Conflict(_))) => Err(StorageError::NoSuchBucket),
            other => other,
        }
    }

    /// The key for the texts of a version; `None` where they are not encrypted.
    async fn unlock_annotated(&self, bucket: &Bucket, record: &ObjectRecord) -> StorageResult<Option<Unlocked>> {
        if record.encryption_mode() == EncryptionMode::Customer {
            return Err(StorageError::NotAnnotatable);
        }
        self.unlock(bucket.id, record, None).await
    }

    /// A text as it is stored, and what tells its key from others.
    fn seal_text(&self, key: Option<&Unlocked>, text: &Bytes) -> StorageResult<(Bytes, Bytes)> {
        let Some(key) = key else { return Ok((text.clone(), Bytes::new())) };
        let seal = Bytes::copy_from_slice(&self.inner.ids.random::<16>());
        Ok((encryption::seal_whole(key, &seal, text)?, seal))
    }

    async fn find_annotated(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        expected: Expected<'_>,
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
        if expected.version.is_some_and(|version| version != record.version_id()) {
            return Err(StorageError::Vanished);
        }
        if expected.tag.is_some_and(|tag| *tag != record.etag()) {
            return Err(StorageError::PreconditionFailed(FailedCondition::IfMatch));
        }
        Ok(Found { head, older, record })
    }
}

/// The text that was stored. Bytes in the clear where ciphertext is due are not what was written.
async fn open_text(key: Option<&Unlocked>, annotation: &AnnotationRecord, stored: Bytes) -> StorageResult<Bytes> {
    match key {
        None if annotation.seal.is_empty() => Ok(stored),
        Some(key) if !annotation.seal.is_empty() => {
            let opening = encryption::opened(key, &annotation.seal, annotation.size, &(0..annotation.size))?;
            let limit = usize::try_from(annotation.size).unwrap_or(usize::MAX);
            Ok(body::collect(opening.text(body::once(stored)), limit).await?)
        }
        _ => Err(StorageError::Broken("an annotation is encrypted as its version is")),
    }
}

/// The tag of a text with this MD5: made with the key where tags must tell nothing.
fn tag(key: Option<&Unlocked>, md5: [u8; 16]) -> String {
    ETag::from_md5(key.map_or(md5, |key| key.tag(md5))).as_str().to_owned()
}

/// Frees and uncounts the annotation that gives way.
fn remove_old(change: &mut Change<'_>, record: &mut ObjectRecord, old: Option<&Bytes>) -> StorageResult<()> {
    let Some(old) = old.map(AnnotationRecord::from_bytes).transpose()? else { return Ok(()) };
    record.annotation_count = record.annotation_count.saturating_sub(1);
    record.annotation_bytes = record.annotation_bytes.saturating_sub(old.size);
    change.grow(&record.location, -signed(old.size));
    let bodies = change.ns(Table::Bodies);
    change.batch.delete(bodies, old.body);
    Ok(())
}
