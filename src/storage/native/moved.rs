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
        records::{JournalOp, ObjectRecord, Pending},
        rename::{RenameToken, remember},
        versions::Head,
    },
    types::{ObjectKey, UploadId},
};

/// What there was.
#[derive(Clone, Debug)]
pub(in crate::storage) struct Moved {
    pub(super) from: ObjectKey,
    /// Its version id, as in keys.
    pub(super) version: Bytes,
    pub(super) token: Option<RenameToken>,
}

impl Moved {
    /// What a note has of it.
    pub(super) fn note(&self) -> Pending {
        let token = self.token.as_ref();
        Pending {
            moved_from: self.from.as_str().to_owned(),
            moved_version: self.version.clone(),
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
        Ok(Self { from, version: note.moved_version.clone(), token })
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

impl Storage {
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
