//! Objects that were there already and get a new key, or more bytes behind those they have: the store is given them
//! anew. What is known of them stays: tags, list, annotations.

use bytes::Bytes;

use super::{
    publish::{PENDING, seen},
    settle::{Refusal, noted_key},
};
use crate::{
    storage::{
        Storage, StorageError, StorageResult,
        buckets::Bucket,
        change::Change,
        held::release,
        lock::{Bypass, Leave},
        records::{JournalOp, ObjectRecord, Pending, Record},
        rename::{RenameToken, remember},
        versions::Head,
    },
    types::{
        ObjectKey, UploadId,
        digest::{Digest, sha256},
    },
};

/// What there was.
#[derive(Clone, Debug)]
pub(in crate::storage) struct Moved {
    pub(super) from: ObjectKey,
    /// Its version id, as in keys.
    pub(super) version: Bytes,
    pub(super) token: Option<RenameToken>,
    /// Where only its place changes: what [`whereabouts`] says of it; else empty.
    pub(super) bytes: Bytes,
}

/// Stands for where the bytes of a version are.
pub(super) fn whereabouts(record: &ObjectRecord) -> Bytes {
    let place = ObjectRecord {
        size: record.size,
        segments: record.segments.clone(),
        layout: record.layout.clone(),
        upload_id: record.upload_id.clone(),
        location: record.location.clone(),
        ..ObjectRecord::default()
    };
    let mut digest = sha256();
    digest.update(place.to_bytes());
    Bytes::copy_from_slice(&digest.finalize())
}

impl Moved {
    pub(super) fn new(from: ObjectKey, version: Bytes, token: Option<RenameToken>) -> Self {
        Self { from, version, token, bytes: Bytes::new() }
    }

    /// What a note has of it.
    pub(super) fn note(&self) -> Pending {
        let token = self.token.as_ref();
        Pending {
            moved_from: self.from.as_str().to_owned(),
            moved_version: self.version.clone(),
            moved_bytes: self.bytes.clone(),
            completed_list: token.map(|it| [it.id.as_bytes(), &*it.digest].concat().into()).unwrap_or_default(),
            ..Pending::default()
        }
    }

    fn of(note: &Pending) -> StorageResult<Self> {
        let from = ObjectKey::new(note.moved_from.as_str()).map_err(|_| StorageError::Broken("a note names a key"))?;
        let token = note.completed_list.split_first_chunk::<16>().map(|(id, digest)| RenameToken {
            id: UploadId::from_bytes(*id),
            digest: note.completed_list.slice_ref(digest),
        });
        Ok(Self { from, version: note.moved_version.clone(), token, bytes: note.moved_bytes.clone() })
    }
}

/// `now` is what becomes of `was`: only where the bytes are, and what follows from them, is new.
fn going_on(was: &ObjectRecord, now: &ObjectRecord) -> ObjectRecord {
    ObjectRecord {
        stamp: now.stamp,
        group: now.group.clone(),
        modified_ms: now.modified_ms,
        size: now.size,
        etag: now.etag.clone(),
        checksum: now.checksum.clone(),
        segments: now.segments.clone(),
        layout: now.layout.clone(),
        upload_id: now.upload_id.clone(),
        location: now.location.clone(),
        ..was.clone()
    }
}

/// `was`, with its bytes where `now` has them.
fn elsewhere(was: &ObjectRecord, now: &ObjectRecord) -> ObjectRecord {
    ObjectRecord {
        segments: now.segments.clone(),
        layout: now.layout.clone(),
        upload_id: now.upload_id.clone(),
        location: now.location.clone(),
        ..was.clone()
    }
}

impl Storage {
    /// Plans that the newest version of a key is somewhere else.
    async fn plan_elsewhere<'b>(
        &self,
        bucket: &'b Bucket,
        key: &ObjectKey,
        moved: &Moved,
        record: &mut ObjectRecord,
    ) -> StorageResult<(Change<'b>, Head)> {
        let head = self.head(bucket, key).await?;
        let was = head.object().filter(|was| seen(&head) == moved.version && whereabouts(was) == moved.bytes);
        let was = was.ok_or(StorageError::Contention)?;
        let knows_tags = was.tags == record.tags;
        *record = elsewhere(was, record);
        let mut change = Change::new(bucket);
        head.require(&mut change, key);
        change.free_bytes(was, record);
        change.put_current(key, record);
        if !knows_tags {
            // They were changed since the store was told.
            change.mirror_tags(key, record);
        }
        Ok((change, head))
    }

    /// Plans the write of an object that was there already. Tells what is the newest version of its key.
    ///
    /// # Errors
    /// [`StorageError::Contention`] where it is not there any more.
    pub(super) async fn plan_moved<'b>(
        &self,
        bucket: &'b Bucket,
        key: &ObjectKey,
        moved: &Moved,
        record: &mut ObjectRecord,
    ) -> StorageResult<(Change<'b>, Head)> {
        if !moved.bytes.is_empty() {
            return self.plan_elsewhere(bucket, key, moved, record).await;
        }
        if bucket.is_versioned() {
            return Err(StorageError::Versioned);
        }
        let from = self.head(bucket, &moved.from).await?;
        let was = from.object().filter(|_| seen(&from) == moved.version).ok_or(StorageError::Contention)?;
        *record = going_on(was, record);
        let mut change = Change::new(bucket);
        from.require(&mut change, &moved.from);
        change.free_bytes(was, record);
        change.put_current(key, record);
        if moved.from == *key {
            return Ok((change, from));
        }
        let to = self.head(bucket, key).await?;
        to.require(&mut change, key);
        if let Some(replaced) = to.object() {
            let now = self.inner.clock.now();
            change.usage.objects -= 1;
            change.free(&Leave { now, bypass: Bypass::No }.remove(replaced)?);
        }
        change.delete_current(&moved.from);
        self.bury(&mut change, &moved.from);
        Ok((change, to))
    }

    /// The commit that ends the publication of such an object.
    pub(super) async fn commit_moved(
        &self,
        bucket: &Bucket,
        (row, stored): (&Bytes, &Bytes),
        note: &Pending,
        record: &mut ObjectRecord,
    ) -> Result<(), Refusal> {
        let key = noted_key(note).map_err(Refusal::Error)?;
        let moved = Moved::of(note).map_err(Refusal::Error)?;
        let (mut change, head) = match self.plan_moved(bucket, &key, &moved, record).await {
            Ok(planned) => planned,
            Err(StorageError::Contention | StorageError::Versioned | StorageError::Lock(_)) => {
                return Err(Refusal::Late);
            }
            Err(e) => return Err(Refusal::Error(e)),
        };
        if seen(&head) != note.seen {
            return Err(Refusal::Late);
        }
        change.within_limits();
        change.batch.unchanged(PENDING, row.clone(), Some(stored)).delete(PENDING, row.clone());
        release(&mut change.batch, note, true);
        let now = self.inner.clock.now();
        if let Some(token) = &moved.token {
            remember(&mut change, token, &key, now);
        }
        if moved.from != key {
            change.tell(JournalOp::VersionDeleted, moved.from.as_str(), None, now);
        }
        change.tell(note.op(), key.as_str(), Some(record.version_id()), now);
        self.commit(change, None).await.map_err(Refusal::Error)
    }
}
