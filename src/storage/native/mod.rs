//! Objects in stores that keep each under a name of its own ([`NativeStore`]).
//!
//! Invariants:
//! - Bytes are staged without the key's lock, and published under it, once every condition held and a note of it was
//!   durable. The commit that names the blob deletes the note.
//! - A note is there exactly as long as nobody knows whether the store has published: then [`NativeStore::find`] is
//!   asked, and the write happens or leaves nothing. Until then nothing else is written under the key. What is not found
//!   counts as never published once the store's [`NativeStore::lateness`] is over.
//! - A version is named only if what the store shows of it is as large as what it was given. Else somebody else's bytes are
//!   under that name, or the store's own fault: the write has come to nothing, nobody reads them as the object, and they
//!   are not removed, for they may be another's.
//! - What may be refused is refused before the store publishes: it may keep one version only, and has lost it then.
//! - An upload is closed by the note already. If the store will not put its parts together, it is open again.
//! - A publication does not end when its client goes away.

use super::{
    Attributes, Storage, StorageError, StorageResult,
    buckets::Bucket,
    records::{ContentHeaders, ObjectRecord, Pending, Segment},
};
use crate::{
    data::{NativeObject, NativeStore, Staged},
    location::Location,
    types::ObjectKey,
};

mod append;
mod claim;
mod copy;
mod mirror;
mod moved;
mod notes;
mod publish;
mod relocate;
mod rename;
mod settle;

use settle::Ending;

pub(super) use claim::Claims;
pub(super) use copy::StoreCopy;
pub(super) use notes::Notes;
use notes::UnderWay;
pub(super) use publish::{Completing, Published, Publishing, staged_upload};
pub(super) use relocate::is_named_at;

/// Bytes that a store has staged. Dropped without a note of their publication, they are given up.
#[derive(Debug)]
pub(super) struct StagedBlob {
    storage: Storage,
    location: String,
    pub(super) staged: Staged,
    /// Whether a note has taken over.
    pub(super) settled: bool,
}

impl StagedBlob {
    pub(super) fn new(storage: &Storage, location: &str, staged: Staged) -> Self {
        Self { storage: storage.clone(), location: location.to_owned(), staged, settled: false }
    }

    /// An upload that no record names yet.
    pub(super) fn upload(storage: &Storage, location: &str, handle: &str) -> Self {
        let staged = Staged { handle: handle.to_owned(), size: 0, held: None, parts: [].into() };
        Self::new(storage, location, staged)
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }
}

impl Drop for StagedBlob {
    fn drop(&mut self) {
        if !self.settled {
            let (location, handle) = (std::mem::take(&mut self.location), std::mem::take(&mut self.staged.handle));
            self.storage.inner.garbage.abandon(Pending { location, handle, ..Pending::default() });
        }
    }
}

/// The side of a location's backend that publishes objects.
pub(super) fn native(location: &Location) -> StorageResult<&dyn NativeStore> {
    let missing = StorageError::Broken("what was staged in a store is published there");
    location.backend.native().ok_or(missing)
}

/// Refuses what would need older versions where the store keeps none.
pub(super) fn check_versionable(bucket: &Bucket, location: &Location) -> StorageResult<()> {
    if bucket.is_versioned() && !location.backend.capabilities().versioned_buckets {
        return Err(StorageError::NotVersionable);
    }
    Ok(())
}

/// What a store is told of an object.
pub(super) fn native_object(bucket: &Bucket, key: &ObjectKey, attributes: &Attributes) -> NativeObject {
    let pairs = |pairs: &[super::records::Pair]| pairs.iter().map(|it| (it.name.clone(), it.value.clone())).collect();
    NativeObject {
        bucket: bucket.name.as_str().to_owned(),
        key: key.as_str().to_owned(),
        headers: headers(&attributes.content),
        metadata: pairs(&attributes.metadata),
        tags: pairs(&attributes.tags),
    }
}

/// As [`native_object`], of an object that is there.
pub(super) fn native_object_of(bucket: &Bucket, key: &ObjectKey, record: &ObjectRecord) -> NativeObject {
    let attributes = Attributes {
        content: record.content.clone().unwrap_or_default(),
        metadata: record.metadata.clone(),
        tags: record.tags.clone(),
        ..Attributes::default()
    };
    native_object(bucket, key, &attributes)
}

fn headers(content: &ContentHeaders) -> Vec<(&'static str, String)> {
    let all = [
        ("content-type", &content.content_type),
        ("cache-control", &content.cache_control),
        ("content-disposition", &content.content_disposition),
        ("content-encoding", &content.content_encoding),
        ("content-language", &content.content_language),
        ("expires", &content.expires),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
}

impl Storage {
    /// The location of a version's bytes, where its store keeps objects under names of its own.
    pub(super) fn native_place<'a>(&self, record: &'a ObjectRecord) -> Option<&'a str> {
        let first = record.segments.first().filter(|first| !first.blob.is_empty())?;
        let location = self.location(&first.location).ok()?;
        location.backend.native().map(|_| first.location.as_str())
    }

    /// The segment that stands for all bytes of a version, where they are one blob in such a store.
    pub(super) fn named_blob<'a>(&self, record: &'a ObjectRecord) -> Option<&'a Segment> {
        self.native_place(record)?;
        match (record.segments.as_slice(), &record.layout) {
            ([only], None) => Some(only),
            _ => record.shared_blob(),
        }
    }
}
