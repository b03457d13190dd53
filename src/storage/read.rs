//! Opening the bytes of a version.
//!
//! A reader keeps its bytes to the end, whatever happens to the object meanwhile. One blob is one open file. An
//! object of several segments opens them as it goes: its reader is registered, and the garbage worker waits.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use super::{
    Storage, StorageError, StorageResult,
    buckets::Bucket,
    change,
    encryption::{self, Unlocked},
    keys,
    records::{LayoutRow, ObjectRecord, Record, Segment},
};
use crate::{
    data::{BlobId, DataError},
    kms::SecretKey,
    metadata::{Namespace, Table},
    types::{BodyError, BucketId, ByteStream, ObjectKey, VersionSelector, body},
};

/// Readers of objects of several segments, counted by upload.
#[derive(Debug, Default)]
pub(super) struct Readers(Arc<Mutex<ByUpload>>);

/// Upload ids are unique: each is of one bucket.
type ByUpload = HashMap<Bytes, (BucketId, usize)>;

/// One registered reader.
#[derive(Debug)]
struct Reading {
    readers: Arc<Mutex<ByUpload>>,
    upload_id: Bytes,
}

impl Readers {
    fn register(&self, bucket: BucketId, upload_id: &Bytes) -> Reading {
        self.0.lock().entry(upload_id.clone()).or_insert((bucket, 0)).1 += 1;
        Reading { readers: Arc::clone(&self.0), upload_id: upload_id.clone() }
    }

    /// Whether somebody reads an object of this bucket.
    pub(super) fn are_in(&self, bucket: BucketId) -> bool {
        self.0.lock().values().any(|(of, _)| *of == bucket)
    }

    /// Whether somebody reads an object of this upload.
    pub(super) fn has(&self, upload_id: &Bytes) -> bool {
        self.0.lock().contains_key(upload_id)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut readers = self.readers.lock();
        if let Some((_, count)) = readers.get_mut(&self.upload_id) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.upload_id);
            }
        }
    }
}

/// Segments still to be read.
struct Walk {
    storage: Storage,
    bucket: BucketId,
    upload_id: Bytes,
    segments: VecDeque<(Segment, Range<u64>)>,
    /// Rows not loaded yet, and the bytes wanted of them, counted from the first row's start.
    rows: Range<u32>,
    wanted: Range<u64>,
    /// Where the next row starts.
    position: u64,
    /// The object's key, where it is encrypted.
    key: Option<Unlocked>,
    /// The segment that names the blob which others share.
    first: Option<Segment>,
    _reading: Reading,
}

impl Storage {
    /// The bytes of `range` of a version that was just read. What the key manager encrypted is opened.
    ///
    /// # Errors
    /// [`StorageError::Vanished`] where the version was replaced meanwhile: read it again;
    /// [`StorageError::KeyRequired`] where it is encrypted with its client's key.
    pub async fn open(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        record: &ObjectRecord,
        range: Range<u64>,
    ) -> StorageResult<ByteStream> {
        self.open_with(bucket, key, record, range, None).await
    }

    /// As [`Storage::open`], by whoever may have sent a key with the request.
    ///
    /// # Errors
    /// As [`Storage::open`], [`Storage::unlock`] and [`Storage::check_readable`].
    pub async fn open_with(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        record: &ObjectRecord,
        range: Range<u64>,
        customer: Option<&SecretKey>,
    ) -> StorageResult<ByteStream> {
        self.check_readable(record)?;
        let unlocked = self.unlock(bucket.id, record, customer).await?;
        if range.is_empty() {
            return Ok(body::once(Bytes::new()));
        }
        let opened = match (record.segments.as_slice(), &record.layout) {
            ([only], None) => self.open_segment(bucket.id, only, range, unlocked.as_ref()).await,
            ([], None) => Err(StorageError::Broken("an object of some bytes has segments")),
            _ => match record.shared_blob().filter(|_| unlocked.is_none()) {
                // What lies side by side is asked for at once.
                Some(whole) => self.open_stored(bucket.id, whole, range).await,
                None => self.open_many((bucket, key), record, range, unlocked).await,
            },
        };
        match opened {
            Err(StorageError::Vanished) if self.native_place(record).is_some() => {
                Err(self.why_missing(bucket, key, record).await)
            }
            other => other,
        }
    }

    async fn open_segment(
        &self,
        bucket: BucketId,
        segment: &Segment,
        range: Range<u64>,
        key: Option<&Unlocked>,
    ) -> StorageResult<ByteStream> {
        if segment.seal.is_empty() {
            return match key {
                None => self.open_stored(bucket, segment, range).await,
                // Bytes in the clear where ciphertext is due are not what was written.
                Some(_) => Err(StorageError::Broken("an encrypted object has encrypted segments")),
            };
        }
        let key = key.ok_or(StorageError::Broken("an object with encrypted segments has a key"))?;
        let opening = encryption::opened(key, &segment.seal, segment.size, &range)?;
        let stored = self.open_stored(bucket, segment, opening.stored.clone()).await?;
        let mut text = opening.text(stored);
        // The first piece is opened now, so that its error comes before any byte.
        match text.next().await {
            Some(first) => Ok(stream::iter([Ok(first?)]).chain(text).boxed()),
            None => Err(StorageError::Broken("a range that is not empty has bytes")),
        }
    }

    pub(super) async fn open_stored(
        &self,
        bucket: BucketId,
        segment: &Segment,
        range: Range<u64>,
    ) -> StorageResult<ByteStream> {
        if segment.body.is_empty() {
            let location = self.location(&segment.location)?;
            let blob = BlobId::new(segment.blob.as_str());
            let range = segment.offset + range.start..segment.offset + range.end;
            return location.backend.get(&blob, range).await.map_err(|e| match e {
                DataError::NotFound(_) => StorageError::Vanished,
                other => other.into(),
            });
        }
        let stored = self.inner.metadata.get(Namespace::of(Table::Bodies, bucket), &segment.body).await?;
        let stored = stored.ok_or(StorageError::Vanished)?;
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        let within = start.ok().zip(end.ok()).filter(|(_, end)| *end <= stored.len());
        let (start, end) = within.ok_or(StorageError::Broken("an inline body has the size of its record"))?;
        Ok(body::once(stored.slice(start..end)))
    }

    async fn open_many(
        &self,
        (bucket, key): (&Bucket, &ObjectKey),
        record: &ObjectRecord,
        range: Range<u64>,
        unlocked: Option<Unlocked>,
    ) -> StorageResult<ByteStream> {
        let reading = self.inner.readers.register(bucket.id, &record.upload_id);
        // Only now is it certain that the garbage worker waits: if the version is still there, so are its bytes.
        let selector = if record.is_null { VersionSelector::Null } else { VersionSelector::Id(record.version_id()) };
        // They may have moved to another location since the caller read the record: what is read now counts.
        let record = match self.version(bucket, key, Some(selector)).await {
            Ok(again) if again.upload_id == record.upload_id && again.stamp == record.stamp => again,
            Ok(_) | Err(StorageError::NoSuchVersion | StorageError::IsDeleteMarker(_)) => {
                return Err(StorageError::Vanished);
            }
            Err(e) => return Err(e),
        };
        let mut walk = Walk {
            storage: self.clone(),
            bucket: bucket.id,
            upload_id: record.upload_id.clone(),
            segments: VecDeque::new(),
            rows: 0..0,
            wanted: range,
            position: 0,
            key: unlocked,
            first: record.segments.first().cloned(),
            _reading: reading,
        };
        if let Some(layout) = &record.layout {
            let first = layout.row_starts.partition_point(|start| *start <= walk.wanted.start).saturating_sub(1);
            walk.position = layout.row_starts.get(first).copied().unwrap_or_default();
            walk.rows =
                u32::try_from(first).unwrap_or_default()..u32::try_from(layout.row_starts.len()).unwrap_or_default();
        } else {
            walk.push(record.segments);
        }
        walk.into_stream().await
    }

    pub(super) async fn layout_row(
        &self,
        bucket: BucketId,
        upload_id: &Bytes,
        row: u32,
    ) -> StorageResult<Vec<Segment>> {
        let id = change::upload_id(upload_id).ok_or(StorageError::Broken("a layout has an upload id"))?;
        let stored = self.inner.metadata.get(Namespace::of(Table::Parts, bucket), &keys::layout_row(id, row)).await?;
        let stored = stored.ok_or(StorageError::Broken("a layout has all its rows"))?;
        Ok(LayoutRow::from_bytes(&stored)?.segments)
    }

    /// The part of a multipart object with this place in its part table, from 0: the segment and its first byte.
    pub async fn part_at(
        &self,
        bucket: &Bucket,
        record: &ObjectRecord,
        index: u32,
    ) -> StorageResult<Option<(Segment, u64)>> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let (segments, mut start, skip) = if let Some(layout) = &record.layout {
            let row = index / keys::LAYOUT_ROW;
            let Some(start) = layout.row_starts.get(row).copied() else { return Ok(None) };
            let row = u32::try_from(row).unwrap_or(u32::MAX);
            (self.layout_row(bucket.id, &record.upload_id, row).await?, start, index % keys::LAYOUT_ROW)
        } else {
            (record.segments.clone(), 0, index)
        };
        for segment in segments.iter().take(skip) {
            start += segment.size;
        }
        Ok(segments.into_iter().nth(skip).map(|segment| (segment, start)))
    }
}

/// A page of the part table of a multipart object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SegmentPage {
    /// The parts, by number.
    pub segments: Vec<Segment>,
    /// Whether more follow.
    pub truncated: bool,
}

impl Storage {
    /// At most `limit` parts of a multipart object with numbers greater than `after`.
    pub async fn parts(
        &self,
        bucket: &Bucket,
        record: &ObjectRecord,
        after: u64,
        limit: u64,
    ) -> StorageResult<SegmentPage> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut page = SegmentPage::default();
        let rows = record.layout.as_ref().map_or(0, |layout| layout.row_starts.len());
        let mut row = 0;
        let mut segments = if rows == 0 { record.segments.clone() } else { Vec::new() };
        loop {
            for segment in segments.into_iter().filter(|segment| u64::from(segment.part_number) > after) {
                if page.segments.len() == limit {
                    page.truncated = true;
                    return Ok(page);
                }
                page.segments.push(segment);
            }
            if row == rows {
                return Ok(page);
            }
            let number = u32::try_from(row).unwrap_or(u32::MAX);
            segments = self.layout_row(bucket.id, &record.upload_id, number).await?;
            row += 1;
        }
    }
}

impl Walk {
    /// Queues those of the next segments that hold wanted bytes.
    fn push(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            let start = self.position;
            let end = start + segment.size;
            self.position = end;
            let first = self.wanted.start.max(start);
            let last = self.wanted.end.min(end);
            if first < last {
                let segment = segment.named_by(self.first.as_ref());
                self.segments.push_back((segment, first - start..last - start));
            }
        }
    }

    /// The next segment's bytes; `None` at the end.
    async fn next(&mut self) -> StorageResult<Option<ByteStream>> {
        while self.segments.is_empty() && self.position < self.wanted.end {
            let Some(row) = self.rows.next() else { break };
            let segments = self.storage.layout_row(self.bucket, &self.upload_id, row).await?;
            self.push(segments);
        }
        match self.segments.pop_front() {
            Some((segment, range)) => {
                let key = self.key.as_ref();
                Ok(Some(self.storage.open_segment(self.bucket, &segment, range, key).await?))
            }
            None => Ok(None),
        }
    }

    /// Opens the first segment now, so that its errors come before any byte, and the others as the reader goes on.
    async fn into_stream(mut self) -> StorageResult<ByteStream> {
        let Some(first) = self.next().await? else {
            return Err(StorageError::Broken("the segments of an object cover its size"));
        };
        let rest = stream::unfold(Some(self), |walk| async {
            let mut walk = walk?;
            match walk.next().await {
                Ok(Some(segment)) => Some((segment, Some(walk))),
                Ok(None) => None,
                Err(e) => {
                    tracing::error!(error = %e, "a segment cannot be opened: the answer is cut");
                    let cut = stream::iter([Err(BodyError::Unreadable(e.to_string()))]).boxed();
                    Some((cut, None))
                }
            }
        });
        Ok(first.chain(rest.flatten()).boxed())
    }
}
