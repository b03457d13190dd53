//! Moving the newest version of a key into a store that keeps objects under their own names.
//!
//! As a write it is staged, noted, published and committed; but its bytes are those of the version that is there, and
//! nothing else of that changes. Between publishing and the commit they are read back, without the key's lock: whoever
//! writes the key meanwhile finds the note, and ends the move before its own write. So does a restart. The old bytes go
//! with the commit, and not before.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use super::{
    Ending, StagedBlob, UnderWay, check_versionable,
    moved::{Moved, whereabouts},
    native, native_object_of,
    publish::{Published, Publishing},
};
use crate::{
    location::Location,
    metadata::{MetadataError, Namespace, Table},
    storage::{
        Storage, StorageError, StorageResult, WriteCondition,
        buckets::Bucket,
        change::Change,
        encryption::sealed_size,
        keys,
        multipart::lay_out_in_one,
        records::{JournalOp, ObjectRecord, Pending, Record, Segment},
        relocate::{Found, Tally, whole_md5},
    },
    types::{BodyError, BucketId, ByteStream, ObjectKey},
};

/// Versions looked at in one go.
const PAGE: usize = 32;

/// What reads back otherwise than it was sent.
const DIFFERS: StorageError = StorageError::Broken("what was written to the other location reads back the same");

/// A version on its way to its own name at another location.
struct Leaving {
    /// As it was found.
    was: ObjectRecord,
    job: Publishing,
    /// Of the stored bytes that were sent, and how many those are.
    sent: ([u8; 16], u64),
}

/// Bytes of a segment where it is stored.
fn stored_size(segment: &Segment) -> u64 {
    if segment.seal.is_empty() { segment.size } else { sealed_size(segment.size) }
}

/// The bytes of a segment; what is known of their digest is compared at their end.
async fn checked(storage: Storage, bucket: BucketId, segment: Segment, md5: Option<[u8; 16]>) -> ByteStream {
    let size = stored_size(&segment);
    if size == 0 {
        return stream::empty().boxed();
    }
    let broken = |why: String| stream::iter([Err(BodyError::Unreadable(why))]).boxed();
    let bytes = match storage.open_stored(bucket, &segment, 0..size).await {
        Ok(bytes) => bytes,
        Err(error) => return broken(error.to_string()),
    };
    let Some(md5) = md5.filter(|_| segment.seal.is_empty()) else { return bytes };
    let tally = Tally::default();
    let end = tally.clone();
    let verdict = stream::once(async move {
        let why = "stored bytes do not have the digest of their record".to_owned();
        (end.md5() != md5).then_some(Err(BodyError::Unreadable(why)))
    });
    tally.over(bytes).chain(verdict.filter_map(std::future::ready)).boxed()
}

/// Whether the newest versions of a bucket's keys get their own names at a location. Older ones never do: they would
/// take the place of the newest.
pub(in crate::storage) fn is_named_at(bucket: &Bucket, target: &Location) -> bool {
    target.backend.native().is_some() && check_versionable(bucket, target).is_ok()
}

impl Storage {
    /// Moves the newest version of a key to its name at a location. `false` where it was changed or removed meanwhile.
    ///
    /// # Errors
    /// Of both stores. The version is where it was, or where it is to be: whole.
    pub(in crate::storage) async fn relocate_to_name(
        &self,
        (bucket, key): (&Arc<Bucket>, &ObjectKey),
        was: &ObjectRecord,
        target: &Location,
    ) -> StorageResult<bool> {
        let leaving = match self.stage_whole((bucket, key), was, target).await {
            Ok(leaving) => leaving,
            Err(error) => {
                let is_same = self.head(bucket, key).await?.object() == Some(was);
                return if is_same { Err(error) } else { Ok(false) };
            }
        };
        let storage = self.clone();
        self.detached(async move { Box::pin(storage.publish_leaving(leaving)).await }.boxed()).await
    }

    /// Stages all stored bytes of a version, one behind the other.
    async fn stage_whole(
        &self,
        (bucket, key): (&Arc<Bucket>, &ObjectKey),
        was: &ObjectRecord,
        target: &Location,
    ) -> StorageResult<Leaving> {
        let first = was.segments.first();
        let segments = self.all_segments(bucket, was).await?;
        let whole = whole_md5(was);
        let sources: Vec<_> = segments
            .iter()
            .map(|segment| {
                let md5 = whole.or_else(|| segment.md5.as_ref().try_into().ok());
                (segment.clone().named_by(first), md5)
            })
            .collect();
        let size = segments.iter().map(stored_size).sum();
        let (storage, id) = (self.clone(), bucket.id);
        let bytes =
            stream::iter(sources).then(move |(segment, md5)| checked(storage.clone(), id, segment, md5)).flatten();
        let tally = Tally::default();
        let object = native_object_of(bucket, key, was);
        let staged = native(target)?.stage(&object, tally.over(bytes.boxed()), Some(size).into()).await?;
        let staged = StagedBlob::new(self, &target.name, staged);
        fail::fail_point!("move-staged", |_| std::process::abort());
        let mut record = was.clone();
        (*target.name).clone_into(&mut record.location);
        let rows = lay_out_in_one(&mut record, segments, (*target.name).to_owned());
        if !rows.is_empty() {
            // Its old rows stay until the old bytes go.
            record.upload_id = Bytes::copy_from_slice(self.inner.ids.upload_id().as_bytes());
        }
        let version = Bytes::copy_from_slice(&was.version_id().to_key());
        let moved = Moved { from: key.clone(), version, token: None, bytes: whereabouts(was) };
        let change = Published { record, condition: WriteCondition::Always, op: JournalOp::VersionChanged };
        let job = Publishing::new((Arc::clone(bucket), key.clone()), change, staged);
        let job = Publishing { moved: Some(moved), rows, ..job };
        Ok(Leaving { was: was.clone(), job, sent: (tally.md5(), size) })
    }

    async fn publish_leaving(&self, mut leaving: Leaving) -> StorageResult<bool> {
        let row = keys::publication(leaving.job.bucket.id, &leaving.job.key);
        let done = self.take_leave(&mut leaving, &row).await;
        if !leaving.job.staged.settled {
            self.give_up_staged(&mut leaving.job.staged).await;
        }
        match done {
            Err(StorageError::Metadata(MetadataError::Conflict(_)) | StorageError::Contention) => Ok(false),
            done => done,
        }
    }

    async fn take_leave(&self, Leaving { was, job, sent }: &mut Leaving, row: &Bytes) -> StorageResult<bool> {
        let location = self.location(job.staged.location())?;
        let store = native(&location)?;
        let guard = self.inner.locks.lock(job.bucket.id, &job.key).await;
        self.settle(job.bucket.id, &job.key).await?;
        let bucket = self.same_bucket(&job.bucket).await?;
        let is_same = self.head(&bucket, &job.key).await?.object() == Some(was);
        if !is_same || check_versionable(&bucket, &location).is_err() {
            return Ok(false);
        }
        let (batch, note) = self.plan_note(&bucket, job, row).await?;
        let _under_way = UnderWay::begin(self, row, &note);
        let written = self.note_and_publish((&bucket, store), (row, &note, batch), job).await??;
        drop(guard);
        fail::fail_point!("move-published", |_| std::process::abort());
        let blob = written.blob.as_str().to_owned();
        let blob = Segment { blob, location: (*location.name).to_owned(), size: sent.1, ..Segment::default() };
        if !self.reads_back(bucket.id, &blob, *sent).await? {
            self.take_back((&bucket, &note), row, blob).await?;
            return Err(DIFFERS);
        }
        fail::fail_point!("move-compared", |_| std::process::abort());
        let _guard = self.inner.locks.lock(job.bucket.id, &job.key).await;
        let done = self.roll_forward(row, &note, written).await?;
        fail::fail_point!("move-committed", |_| std::process::abort());
        match done {
            Ending::Newest(_) => Ok(true),
            Ending::Late => Ok(false),
            Ending::Foreign(fault) => Err(fault.into()),
        }
    }

    async fn reads_back(&self, bucket: BucketId, blob: &Segment, (md5, size): ([u8; 16], u64)) -> StorageResult<bool> {
        if size == 0 {
            return Ok(true);
        }
        let tally = Tally::default();
        let mut copy = tally.over(self.open_stored(bucket, blob, 0..size).await?);
        while let Some(chunk) = copy.next().await {
            chunk?;
        }
        Ok(tally.md5() == md5)
    }

    /// Removes what was published and will not be named.
    async fn take_back(&self, (bucket, note): (&Bucket, &Pending), row: &Bytes, blob: Segment) -> StorageResult<()> {
        let key = ObjectKey::new(note.key.as_str()).map_err(|_| StorageError::Broken("a note names a key"))?;
        let _guard = self.inner.locks.lock(bucket.id, &key).await;
        let Some((stored, _)) = self.note(row).await? else { return Ok(()) };
        self.orphan((row, &stored), note, Some(bucket), Some(blob)).await
    }

    /// Rids a delete marker of the one that a store has for it, where that is to be left. Before the versions that it
    /// hides there are gone it stays, or others would see them again. `false` where it was changed meanwhile.
    pub(in crate::storage) async fn relocate_marker(
        &self,
        bucket: &Arc<Bucket>,
        (from, target): (&str, &Location),
        found: &Found,
    ) -> StorageResult<Option<bool>> {
        let is_there = |segment: &Segment| segment.location == from;
        if !found.record.segments.iter().any(is_there) || self.hides_there(bucket, from, found).await? {
            return Ok(None);
        }
        let mut record = found.record.clone();
        let mut change = Change::new(bucket);
        if self.is_one_place(from, target)? {
            for segment in record.segments.iter_mut().filter(|segment| is_there(segment)) {
                (*target.name).clone_into(&mut segment.location);
            }
        } else {
            record.segments.iter().filter(|segment| is_there(segment)).for_each(|it| change.free_segment(it));
            record.segments.retain(|segment| !is_there(segment));
        }
        let (ns, row) = (change.ns(found.row.0), found.row.1.clone());
        change.batch.unchanged(ns, row.clone(), Some(&found.stored)).put(ns, row, record.to_bytes());
        let _guard = self.inner.locks.lock(bucket.id, &found.key).await;
        match self.commit(change, None).await {
            Ok(()) => Ok(Some(true)),
            Err(StorageError::Metadata(MetadataError::Conflict(_))) => Ok(Some(false)),
            Err(e) => Err(e),
        }
    }

    /// Whether a marker hides versions that are still in a location.
    async fn hides_there(&self, bucket: &Bucket, from: &str, found: &Found) -> StorageResult<bool> {
        let ns = Namespace::of(Table::Versions, bucket.id);
        let mut range = keys::after(&found.row.1)..keys::versions_of(&found.key).end;
        loop {
            let rows = self.inner.metadata.scan(ns, range.clone(), crate::metadata::Direction::Forward, PAGE).await?;
            let Some((last, _)) = rows.last() else { return Ok(false) };
            range.start = keys::after(last);
            for (_, stored) in &rows {
                let record = ObjectRecord::from_bytes(stored)?;
                if !record.delete_marker && self.is_there(bucket, &record, from).await? {
                    return Ok(true);
                }
            }
        }
    }
}
