//! What a store is told besides bytes: tags and delete markers. Notes of it are worked off at least once.

use std::time::Duration;

use bytes::Bytes;

use super::native;
use crate::{
    data::{BlobId, DataError},
    metadata::{Batch, Direction, MetadataError, Namespace, Table},
    storage::{
        Storage, StorageError, StorageResult, keys,
        records::{Garbage, ObjectRecord, Record, Segment},
    },
    types::{BucketId, ObjectKey, VersionId},
};

/// A store has so long to take it.
const LIMIT: Duration = Duration::from_secs(30);
/// Versions looked at for one that is no marker.
const MARKERS: usize = 16;

/// A version where it is stored.
struct Placed {
    place: (Namespace, Bytes),
    stored: Bytes,
    record: ObjectRecord,
}

fn silent(_: tokio::time::error::Elapsed) -> DataError {
    DataError::Unavailable("no answer in time".to_owned())
}

impl Storage {
    /// The version of a note, if it is still there.
    async fn noted_version(&self, note: &Garbage) -> StorageResult<Option<(ObjectKey, Placed)>> {
        let broken = StorageError::Broken("a note names a version");
        let key = ObjectKey::new(note.key.as_str()).map_err(|_| StorageError::Broken("a note names a key"))?;
        let id = VersionId::from_key(&note.version).ok_or(broken)?;
        let bucket = BucketId::new(note.bucket);
        let current = (Namespace::of(Table::Current, bucket), Bytes::copy_from_slice(key.as_bytes()));
        let older = (Namespace::of(Table::Versions, bucket), keys::version(&key, id));
        for place in [current, older] {
            let Some(stored) = self.inner.metadata.get(place.0, &place.1).await? else { continue };
            let record = ObjectRecord::from_bytes(&stored)?;
            if record.version_id() == id {
                return Ok(Some((key, Placed { place, stored, record })));
            }
        }
        Ok(None)
    }

    /// Sets the tags of a version on its blob, as they are now.
    pub(in crate::storage) async fn mirror_tags(&self, note: &Garbage) -> StorageResult<()> {
        let Some((_, Placed { record, .. })) = self.noted_version(note).await? else { return Ok(()) };
        let Some(first) = record.segments.first().filter(|first| !first.blob.is_empty()) else { return Ok(()) };
        let location = self.location(&first.location)?;
        let Some(store) = location.backend.native() else { return Ok(()) };
        let tags: Vec<_> = record.tags.iter().map(|tag| (tag.name.clone(), tag.value.clone())).collect();
        match tokio::time::timeout(LIMIT, store.set_tags(&BlobId::new(first.blob.as_str()), &tags)).await {
            // Replaced or removed meanwhile, by us or by others.
            Ok(Ok(()) | Err(DataError::NotFound(_))) => Ok(()),
            Ok(Err(e)) => Err(e.into()),
            Err(late) => Err(silent(late).into()),
        }
    }

    /// Puts a delete marker into the store, if ours is still the newest version. `false` where the key is busy.
    pub(in crate::storage) async fn mirror_marker(&self, note: &Garbage) -> StorageResult<bool> {
        let location = self.location(&note.location)?;
        let store = native(&location)?;
        let key = ObjectKey::new(note.key.as_str()).map_err(|_| StorageError::Broken("a note names a key"))?;
        let bucket = BucketId::new(note.bucket);
        let Some(_guard) = self.inner.locks.try_lock(bucket, &key) else { return Ok(false) };
        let Some((key, marker)) = self.noted_version(note).await? else { return Ok(true) };
        let is_newest = self.is_newest_marker(bucket, &key, &marker).await?;
        if !is_newest || !marker.record.segments.is_empty() {
            return Ok(true);
        }
        let hidden = self.hidden_by(bucket, &key, &marker, &note.location).await?;
        let made = store.mark_deleted(&note.bucket_name, key.as_str(), hidden.as_ref());
        let made = tokio::time::timeout(LIMIT, made).await;
        let Some(blob) = made.map_err(silent)?? else { return Ok(true) };
        let mut record = marker.record;
        let (blob, location) = (blob.as_str().to_owned(), note.location.clone());
        record.segments = vec![Segment { blob, location, ..Segment::default() }];
        let mut batch = Batch::new();
        let (ns, row) = marker.place;
        batch.unchanged(ns, row.clone(), Some(&marker.stored)).put(ns, row, record.to_bytes());
        match self.inner.metadata.commit(batch).await {
            // Whoever changed it without the lock is another engine over the same store.
            Ok(()) | Err(MetadataError::Conflict(_)) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }

    /// The newest version behind a marker, where its bytes are in this location.
    async fn hidden_by(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        marker: &Placed,
        location: &str,
    ) -> StorageResult<Option<BlobId>> {
        let older = keys::after(&marker.place.1)..keys::versions_of(key).end;
        let ns = Namespace::of(Table::Versions, bucket);
        // Behind so many markers nothing stands any more: each of them hid what it found.
        for (_, stored) in self.inner.metadata.scan(ns, older, Direction::Forward, MARKERS).await? {
            let record = ObjectRecord::from_bytes(&stored)?;
            if record.delete_marker {
                continue;
            }
            let first = record.segments.first().filter(|first| first.location == location && !first.blob.is_empty());
            return Ok(first.map(|first| BlobId::new(first.blob.as_str())));
        }
        Ok(None)
    }

    async fn is_newest_marker(&self, bucket: BucketId, key: &ObjectKey, marker: &Placed) -> StorageResult<bool> {
        let current = Namespace::of(Table::Current, bucket);
        if !marker.record.delete_marker || self.inner.metadata.get(current, key.as_bytes()).await?.is_some() {
            return Ok(false);
        }
        let newer = keys::versions_of(key).start..marker.place.1.clone();
        let ns = Namespace::of(Table::Versions, bucket);
        let rows = self.inner.metadata.scan(ns, newer, Direction::Forward, 1).await?;
        Ok(rows.is_empty())
    }
}
