//! Appending where an object is one blob under a name of its own: it is written anew, its bytes before the new ones.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;

use super::{
    moved::Moved,
    native_object, native_object_of,
    publish::{Published, Publishing, seen},
};
use crate::{
    location::Location,
    storage::{
        Append, Storage, StorageError, StorageResult, WriteCondition,
        append::segment_count,
        buckets::Bucket,
        multipart::lay_out_in_one,
        records::{ChecksumRecord, JournalOp, ObjectRecord, Segment},
        versions::Head,
        write::{Goal, Stored},
    },
    types::{BodyDigests, BodyError, ChecksumType, ETag, IncomingBody, ObjectKey},
};

impl Storage {
    /// Where an append goes that writes the object anew: an object stays where it is. `None` for other appends.
    pub(in crate::storage) async fn native_append(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        chosen: &Arc<Location>,
    ) -> StorageResult<Option<Arc<Location>>> {
        let head = self.head(bucket, key).await?;
        let place = head.object().and_then(|old| self.native_place(old));
        let location = place.map_or_else(|| Ok(Arc::clone(chosen)), |name| self.location(name))?;
        Ok(Some(location).filter(|location| location.backend.native().is_some()))
    }

    /// As [`Storage::append_object`].
    pub(in crate::storage) async fn append_natively(
        &self,
        append: Append,
        location: &Location,
    ) -> StorageResult<ObjectRecord> {
        let (bucket, key, offset) = (Arc::clone(&append.bucket), append.key.clone(), append.offset);
        if bucket.is_versioned() {
            return Err(StorageError::Versioned);
        }
        self.check_fits(&bucket, location).await?;
        let head = self.head(&bucket, &key).await?;
        append.condition.check(&head)?;
        let size = head.object().map_or(0, |old| old.size);
        if size != offset {
            return Err(StorageError::WriteOffset { offset, size });
        }
        let written = match head.object() {
            None => Box::pin(self.create_by_append(append, location)).await,
            Some(old) => Box::pin(self.write_anew(append, (&head, old), location)).await,
        };
        match written {
            Err(
                e @ (StorageError::Contention
                | StorageError::PreconditionFailed(_)
                | StorageError::Vanished
                | StorageError::Body(BodyError::Unreadable(_))),
            ) => {
                let now = self.head(&bucket, &key).await?;
                let size = now.object().map_or(0, |now| now.size);
                let is_gone = !matches!(e, StorageError::Contention | StorageError::PreconditionFailed(_));
                Err(match e {
                    // Somebody else was faster, and the bytes that were there gave way where they stood.
                    _ if size != offset => StorageError::WriteOffset { offset, size },
                    _ if is_gone && seen(&now) != seen(&head) => StorageError::Contention,
                    e => e,
                })
            }
            other => other,
        }
    }

    async fn create_by_append(&self, append: Append, location: &Location) -> StorageResult<ObjectRecord> {
        let Append { bucket, key, attributes, body, .. } = append;
        let object = native_object(&bucket, &key, &attributes);
        let mut stored = self.receive(location, body, None, Goal::Object(&object)).await?;
        let mut record = attributes.into_record(location);
        record.size = stored.digests.size;
        ETag::from_md5(stored.digests.md5).as_str().clone_into(&mut record.etag);
        record.checksum = Some(whole_checksum(&stored.digests));
        record.segments = stored.segments();
        let change = Published { record, condition: WriteCondition::IfAbsent, op: JournalOp::ObjectPut };
        self.publish_staged(Publishing::new((bucket, key), change, staged(&mut stored)?)).await
    }

    async fn write_anew(
        &self,
        append: Append,
        (head, old): (&Head, &ObjectRecord),
        location: &Location,
    ) -> StorageResult<ObjectRecord> {
        let Append { bucket, key, body, .. } = append;
        // What is refused is refused before the body is asked for.
        self.check_appendable(old)?;
        let mut segments = self.all_segments(&bucket, old).await?;
        let IncomingBody { stream, length, digests } = body;
        let before = self.open(&bucket, &key, old, 0..old.size).await?;
        let length = length.map(|length| length + old.size);
        let body = IncomingBody { stream: before.chain(stream).boxed(), length, digests };
        let object = native_object_of(&bucket, &key, old);
        let mut stored = self.receive(location, body, None, Goal::Extended(&object)).await?;
        let mut record = self.appended(old, &stored.digests)?;
        // Rows of the old layout stay until the old version goes.
        record.upload_id = Bytes::copy_from_slice(self.inner.ids.upload_id().as_bytes());
        if let (Some(first), Some(numbered)) = (segments.first_mut(), record.segments.first()) {
            let Segment { part_number, md5, checksum, .. } = numbered.clone();
            if first.part_number == 0 {
                *first = Segment { part_number, md5, checksum, ..first.clone() };
            }
        }
        segments.push(Segment {
            size: stored.digests.size,
            part_number: segment_count(old) + 1,
            md5: Bytes::copy_from_slice(&stored.digests.md5),
            checksum: Some(whole_checksum(&stored.digests)),
            ..Segment::default()
        });
        (*location.name).clone_into(&mut record.location);
        let rows = lay_out_in_one(&mut record, segments, (*location.name).to_owned());
        let moved = Moved::new(key.clone(), seen(head), None);
        let change = Published { record, condition: WriteCondition::Always, op: JournalOp::ObjectPut };
        let job = Publishing::new((bucket, key), change, staged(&mut stored)?);
        self.publish_staged(Publishing { moved: Some(moved), rows, ..job }).await
    }

    /// All segments of a version.
    pub(super) async fn all_segments(&self, bucket: &Bucket, record: &ObjectRecord) -> StorageResult<Vec<Segment>> {
        let Some(layout) = &record.layout else { return Ok(record.segments.clone()) };
        let mut all = Vec::new();
        for row in 0..u32::try_from(layout.row_starts.len()).unwrap_or(u32::MAX) {
            all.extend(self.layout_row(bucket.id, &record.upload_id, row).await?);
        }
        Ok(all)
    }
}

fn staged(stored: &mut Stored) -> StorageResult<super::StagedBlob> {
    stored.take_staged().ok_or(StorageError::Broken("a store of named objects stages them"))
}

fn whole_checksum(digests: &BodyDigests) -> ChecksumRecord {
    ChecksumRecord::new(&digests.checksum, ChecksumType::FullObject, 0)
}
