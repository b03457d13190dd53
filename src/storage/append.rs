//! Appending to an object: the new bytes become one more segment, in one batch. No byte is copied.
//!
//! Rules: S3 user guide, "Appending data to objects in directory buckets".

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Attributes, Storage, StorageError, StorageResult, WriteCondition,
    buckets::Bucket,
    change::{Change, signed, upload_id},
    keys,
    objects::{ATTEMPTS, Publication},
    records::{ChecksumRecord, JournalOp, Layout, LayoutRow, ObjectRecord, Record, Segment},
    versions::Head,
    write::{Goal, Stored},
};
use crate::{
    location::Location,
    metadata::{MetadataError, Namespace, Table},
    types::{
        BodyDigests, ChecksumType, ETag, IncomingBody, ObjectKey,
        checksum::FullObject,
        digest::{Digest, Md5},
    },
};

/// Most segments of an object.
const MAX_APPENDED: u32 = 10_000;

/// Bytes to be appended.
#[derive(Debug)]
pub struct Append {
    /// The bucket.
    pub bucket: Arc<Bucket>,
    /// The key.
    pub key: ObjectKey,
    /// Where the bytes go.
    pub location: Arc<Location>,
    /// What is said of the object where this creates it; an object that is there keeps what it has.
    pub attributes: Attributes,
    /// The size that the object must have, in bytes; 0 where it is to be created.
    pub offset: u64,
    /// When it may happen.
    pub condition: WriteCondition,
    /// The bytes.
    pub body: IncomingBody,
}

impl Storage {
    /// Appends to an object, or creates it. Gives it as it is now.
    ///
    /// # Errors
    /// [`StorageError::WriteOffset`] where the object has another size; [`StorageError::TooManyParts`];
    /// [`StorageError::Versioned`] in a bucket with versions; [`StorageError::AppendChecksum`] where the object's
    /// checksum cannot go on; [`StorageError::Archived`], restored or not; those of [`Storage::put_object`]. Nothing changes then.
    pub async fn append_object(&self, append: Append) -> StorageResult<ObjectRecord> {
        self.check_append(&append.bucket, &append.attributes, append.body.length).await?;
        if let Some(location) = self.native_append(&append.bucket, &append.key, &append.location).await? {
            return Box::pin(self.append_natively(append, &location)).await;
        }
        let Append { bucket, key, location, attributes, offset, condition, body } = append;
        let mut stored = self.receive(&location, body, None, Goal::Blob).await?;
        let mut fresh = attributes.into_record(&location);
        fresh.size = stored.digests.size;
        ETag::from_md5(stored.digests.md5).as_str().clone_into(&mut fresh.etag);
        fresh.checksum = Some(ChecksumRecord::new(&stored.digests.checksum, ChecksumType::FullObject, 0));
        fresh.segments = stored.segments();
        let _guard = self.inner.locks.lock(bucket.id, &key).await;
        self.settle(bucket.id, &key).await?;
        for _ in 0..ATTEMPTS {
            let bucket = self.same_bucket(&bucket).await?;
            if bucket.is_versioned() {
                return Err(StorageError::Versioned);
            }
            let head = self.head(&bucket, &key).await?;
            condition.check(&head)?;
            if head.object().is_some_and(|old| self.native_place(old).is_some()) {
                // Written there since this began: whoever tries again appends there.
                return Err(StorageError::Contention);
            }
            let size = head.object().map_or(0, |old| old.size);
            if size != offset {
                return Err(StorageError::WriteOffset { offset, size });
            }
            let attempt = if head.object().is_some() {
                self.try_append(&bucket, &key, &head, &mut stored).await
            } else {
                let absent = WriteCondition::IfAbsent;
                let mut publication = Publication {
                    condition: &absent,
                    op: JournalOp::ObjectPut,
                    stored: Some(&mut stored),
                    completion: None,
                };
                let mut record = fresh.clone();
                self.try_publish(&bucket, &key, &mut record, &mut publication).await.map(|()| record)
            };
            match attempt {
                Err(StorageError::Metadata(MetadataError::Conflict(_)) | StorageError::PreconditionFailed(_)) => {}
                other => return other,
            }
        }
        Err(StorageError::Contention)
    }

    /// Refuses what is certain to be refused before the body is asked for.
    async fn check_append(&self, bucket: &Bucket, attributes: &Attributes, length: Option<u64>) -> StorageResult<()> {
        // Locks need versions, appends need none: who asks for both must not believe to have got both.
        self.check_new_lock(bucket, &attributes.lock).await?;
        if let Some(length) = length
            && self.excess(bucket, length).await? > 0
        {
            return Err(StorageError::QuotaExceeded);
        }
        // Never a plain segment where ciphertext is due: said before the body is asked for, and again at the commit.
        if self.encryption_for(bucket, &attributes.encryption).await?.is_some() {
            return Err(StorageError::AppendEncrypted);
        }
        Ok(())
    }

    async fn try_append(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        head: &Head,
        stored: &mut Stored,
    ) -> StorageResult<ObjectRecord> {
        let old = head.object().ok_or(StorageError::Broken("an append has something before it"))?;
        let count = segment_count(old);
        let mut record = self.appended(old, &stored.digests)?;
        let mut change = Change::new(bucket);
        head.require(&mut change, key);
        if let Some(segment) = stored.segments().pop() {
            let segment = Segment {
                part_number: count + 1,
                md5: Bytes::copy_from_slice(&stored.digests.md5),
                checksum: Some(ChecksumRecord::new(&stored.digests.checksum, ChecksumType::FullObject, 0)),
                ..segment
            };
            self.lay_behind(&mut change, &mut record, old.size, segment).await?;
        }
        stored.name_in(&mut change);
        // Where the object is counted, wherever this run of its bytes went.
        change.grow(&record.location, signed(stored.digests.size));
        change.put_current(key, &record);
        change.tell(JournalOp::ObjectPut, key.as_str(), Some(record.version_id()), record.modified());
        self.commit(change, Some(stored)).await?;
        Ok(record)
    }

    /// The record of an object with so much more behind it; its segments are still those it had.
    pub(super) fn appended(&self, old: &ObjectRecord, new: &BodyDigests) -> StorageResult<ObjectRecord> {
        self.check_appendable(old)?;
        let mut record = old.clone();
        record.set_version_id(self.inner.ids.version_id(Some(old.version_id())));
        record.modified_ms = self.inner.clock.now().as_millis();
        record.size += new.size;
        record.checksum = joined(old, new)?;
        tag_after(old, new, segment_count(old) + 1).as_str().clone_into(&mut record.etag);
        if record.upload_id.is_empty() {
            record.upload_id = Bytes::copy_from_slice(self.inner.ids.upload_id().as_bytes());
        }
        number_first(&mut record, old);
        Ok(record)
    }

    /// Refuses an append to what cannot be appended to.
    pub(super) fn check_appendable(&self, old: &ObjectRecord) -> StorageResult<()> {
        if old.encryption.is_some() {
            return Err(StorageError::AppendEncrypted);
        }
        if let Some(class) = self.archive_class(old) {
            return Err(StorageError::Archived(class.to_owned()));
        }
        if segment_count(old) >= MAX_APPENDED {
            return Err(StorageError::TooManyParts);
        }
        Ok(())
    }

    /// Puts a segment behind the others: into the record, or where there are many, into the last layout row. Who
    /// reads the object as it was finds its own segments where they were.
    async fn lay_behind(
        &self,
        change: &mut Change<'_>,
        record: &mut ObjectRecord,
        start: u64,
        segment: Segment,
    ) -> StorageResult<()> {
        let id = upload_id(&record.upload_id).ok_or(StorageError::Broken("a layout has an upload id"))?;
        let parts = change.ns(Table::Parts);
        let Some(layout) = &mut record.layout else {
            record.segments.push(segment);
            if record.segments.len() > keys::INLINE_SEGMENTS {
                let count = u32::try_from(record.segments.len()).unwrap_or(u32::MAX);
                record.layout = Some(Layout { row_starts: vec![0], count });
                let row = LayoutRow { segments: std::mem::take(&mut record.segments) };
                change.batch.put(parts, keys::layout_row(id, 0), row.to_bytes());
            }
            return Ok(());
        };
        let full = usize::try_from(layout.count).is_ok_and(|count| count % keys::LAYOUT_ROW == 0);
        let last = u32::try_from(layout.row_starts.len()).unwrap_or(u32::MAX).saturating_sub(u32::from(!full));
        let mut row = LayoutRow::default();
        if full {
            layout.row_starts.push(start);
        } else {
            let ns = Namespace::of(Table::Parts, change.bucket.id);
            let stored = self.inner.metadata.get(ns, &keys::layout_row(id, last)).await?;
            let stored = stored.ok_or(StorageError::Broken("a layout has all its rows"))?;
            row = LayoutRow::from_bytes(&stored)?;
            // The record alone does not tell: a row may change while the record stays.
            change.batch.unchanged(ns, keys::layout_row(id, last), Some(&stored));
        }
        row.segments.push(segment);
        layout.count += 1;
        change.batch.put(parts, keys::layout_row(id, last), row.to_bytes());
        Ok(())
    }
}

pub(super) fn segment_count(record: &ObjectRecord) -> u32 {
    match &record.layout {
        Some(layout) => layout.count,
        None => u32::try_from(record.segments.len()).unwrap_or(u32::MAX),
    }
}

/// An object written in one piece becomes the first part of one that has several.
fn number_first(record: &mut ObjectRecord, old: &ObjectRecord) {
    if let Some(first) = record.segments.first_mut().filter(|first| first.part_number == 0) {
        first.part_number = 1;
        first.md5 = hex::decode(&old.etag).unwrap_or_default().into();
        first.checksum.clone_from(&old.checksum);
    }
}

/// The tag of an object that was appended to: no digest of its bytes, as the `-` says, and another each time.
fn tag_after(old: &ObjectRecord, new: &BodyDigests, parts: u32) -> ETag {
    let mut digest = Md5::new();
    digest.update(old.etag.as_bytes());
    digest.update(new.md5);
    ETag::new(&format!("{}-{parts}", hex::encode(digest.finalize())))
}

/// The checksum of the whole, made of those of its two halves: CRCs allow that. Another full-object checksum ends.
fn joined(old: &ObjectRecord, new: &BodyDigests) -> StorageResult<Option<ChecksumRecord>> {
    let Some(before) = old.checksum.as_ref().filter(|sum| !sum.composite).and_then(ChecksumRecord::checksum) else {
        return Ok(None);
    };
    let Some(mut whole) = FullObject::new(before.algorithm) else { return Ok(None) };
    if before.algorithm != new.checksum.algorithm {
        return Err(StorageError::AppendChecksum(before.algorithm));
    }
    let is_joined = whole.push(&before, old.size) && whole.push(&new.checksum, new.size);
    Ok(is_joined.then(|| ChecksumRecord::new(&whole.finish(), ChecksumType::FullObject, 0)))
}
