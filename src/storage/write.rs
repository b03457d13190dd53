//! Taking in bytes: small bodies stay in memory until the batch, large ones go to a backend first.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use super::{
    Storage, StorageError, StorageResult,
    annotations::CopiedAnnotations,
    change::Change,
    encryption::{self, Unlocked},
    keys,
    native::StagedBlob,
    records::{Pending, Record, Segment},
};
use crate::{
    data::{BlobId, BodyHint, NativeObject, NativeStore, PartToken, PutHint},
    location::Location,
    metadata::{Batch, Durability, Namespace, Table},
    types::{BodyDigests, ByteStream, DigestSlot, IncomingBody},
};

const PENDING: Namespace = Namespace::global(Table::Pending);

/// Bytes that are stored but named by no record yet. Dropped without a commit, they are cleaned up.
#[derive(Debug)]
pub(super) struct Stored {
    /// What was computed on the way.
    pub(super) digests: BodyDigests,
    place: Place,
    /// Id of the segment, where its bytes are encrypted.
    seal: Bytes,
    /// Annotations that came with them from another object.
    pub(super) annotations: Option<Arc<CopiedAnnotations>>,
}

#[derive(Debug)]
enum Place {
    Nowhere,
    Inline { id: Bytes, bytes: Bytes },
    Blob(PendingBlob),
    Staged(StagedBlob),
    Part { location: String, token: PartToken },
}

/// What bytes are to become in a store that keeps objects under names of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal<'a> {
    /// A blob, as in every other store.
    Blob,
    /// This object.
    Object(&'a NativeObject),
    /// This object, of whose body only the end is new: the digests are those of the end.
    Extended(&'a NativeObject),
    /// A part of the store's own upload.
    Part(&'a str, u16),
}

/// A blob that is garbage unless a commit names it. Its drop says so to the garbage worker.
#[derive(Debug)]
pub(super) struct PendingBlob {
    storage: Storage,
    location: String,
    blob: String,
    size: u64,
    settled: bool,
}

impl Drop for PendingBlob {
    fn drop(&mut self) {
        if !self.settled {
            let pending = Pending {
                location: std::mem::take(&mut self.location),
                blob: std::mem::take(&mut self.blob),
                ..Pending::default()
            };
            self.storage.inner.garbage.abandon(pending);
        }
    }
}

impl PendingBlob {
    /// A segment whose bytes are here now, else as it was.
    pub(super) fn instead_of(&self, segment: &Segment) -> Segment {
        Segment {
            blob: self.blob.clone(),
            location: self.location.clone(),
            body: Bytes::new(),
            offset: 0,
            shared: false,
            ..segment.clone()
        }
    }

    /// Makes the blob part of a change, as [`Stored::name_in`].
    pub(super) fn name_in(&self, change: &mut Change<'_>) {
        change.batch.delete(PENDING, keys::pending(&self.location, &self.blob));
    }

    /// As [`Stored::settle`].
    pub(super) fn settle(&mut self, settled: bool) {
        self.settled = settled;
    }
}

impl Stored {
    /// The segments of an object or part with these bytes.
    pub(super) fn segments(&self) -> Vec<Segment> {
        match &self.place {
            Place::Nowhere => Vec::new(),
            Place::Inline { id, bytes } => {
                let size = if self.seal.is_empty() { bytes.len() as u64 } else { self.digests.size };
                vec![Segment { size, body: id.clone(), seal: self.seal.clone(), ..Segment::default() }]
            }
            Place::Blob(blob) => vec![Segment {
                size: if self.seal.is_empty() { blob.size } else { self.digests.size },
                blob: blob.blob.clone(),
                location: blob.location.clone(),
                seal: self.seal.clone(),
                ..Segment::default()
            }],
            // The store names the blob when it is published.
            Place::Staged(staged) => vec![Segment {
                size: self.digests.size,
                location: staged.location().to_owned(),
                seal: self.seal.clone(),
                ..Segment::default()
            }],
            Place::Part { location, token } => vec![Segment {
                size: self.digests.size,
                location: location.clone(),
                token: token.token.clone(),
                seal: self.seal.clone(),
                ..Segment::default()
            }],
        }
    }

    /// The store's word for a part of an upload of its own.
    pub(super) fn part_token(&self) -> Option<&str> {
        match &self.place {
            Place::Part { token, .. } => Some(&token.token),
            Place::Nowhere | Place::Inline { .. } | Place::Blob(_) | Place::Staged(_) => None,
        }
    }

    /// What was staged in a store that keeps objects under names of its own, to be published there.
    pub(super) fn take_staged(&mut self) -> Option<StagedBlob> {
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Staged(staged) => Some(staged),
            other => {
                self.place = other;
                None
            }
        }
    }

    /// Bytes that are in such a store already, with what is known of them.
    pub(super) fn staged(digests: BodyDigests, staged: StagedBlob) -> Self {
        Self { digests, place: Place::Staged(staged), seal: Bytes::new(), annotations: None }
    }

    /// As [`Stored::staged`], for a part.
    pub(super) fn part(digests: BodyDigests, location: &Location, token: PartToken) -> Self {
        let place = Place::Part { location: (*location.name).to_owned(), token };
        Self { digests, place, seal: Bytes::new(), annotations: None }
    }

    /// Makes the bytes part of a change: from its commit on they are named.
    pub(super) fn name_in(&self, change: &mut Change<'_>) {
        if let Some(copied) = &self.annotations {
            copied.name_in(&mut change.batch);
        }
        match &self.place {
            Place::Nowhere | Place::Staged(_) | Place::Part { .. } => {}
            Place::Inline { id, bytes } => {
                let ns = change.ns(Table::Bodies);
                change.batch.put(ns, id.clone(), bytes.clone());
            }
            Place::Blob(blob) => {
                change.batch.delete(PENDING, keys::pending(&blob.location, &blob.blob));
            }
        }
    }

    /// The commit has happened, or may have: the bytes are no garbage to be cleaned up here.
    pub(super) fn settle(&mut self) {
        if let Some(copied) = &self.annotations {
            copied.settle(true);
        }
        if let Place::Blob(blob) = &mut self.place {
            blob.settled = true;
        }
    }

    /// The commit has certainly not happened.
    pub(super) fn unsettle(&mut self) {
        if let Some(copied) = &self.annotations {
            copied.settle(false);
        }
        if let Place::Blob(blob) = &mut self.place {
            blob.settled = false;
        }
    }
}

impl Storage {
    /// Stores a body whole, encrypted where there is a key for it. On any error nothing is kept.
    pub(super) async fn receive(
        &self,
        location: &Location,
        body: IncomingBody,
        key: Option<&Unlocked>,
        goal: Goal<'_>,
    ) -> StorageResult<Stored> {
        if let (Some(native), Goal::Object(_) | Goal::Extended(_) | Goal::Part(..)) = (location.backend.native(), goal)
        {
            return self.receive_native((location, native), body, key, goal).await;
        }
        let seal = key.map(|_| Bytes::copy_from_slice(&self.inner.ids.random::<16>())).unwrap_or_default();
        let IncomingBody { mut stream, length, digests } = body;
        let threshold = self.inner.settings.inline_threshold;
        let mut held: Vec<Bytes> = Vec::new();
        if length.is_none_or(|length| length <= threshold) {
            let mut size = 0;
            loop {
                let Some(chunk) = stream.next().await else {
                    let digests = finished(&digests)?;
                    let place = self.keep_inline(held, key.map(|key| (key, &seal)))?;
                    return Ok(Stored { digests, place, seal, annotations: None });
                };
                let chunk = chunk?;
                size += chunk.len() as u64;
                held.push(chunk);
                if size > threshold {
                    break;
                }
            }
        }
        let mut body = stream::iter(held.into_iter().map(Ok)).chain(stream).boxed();
        let mut size = length;
        if let Some(key) = key {
            body = encryption::sealed(key, &seal, body)?;
            size = length.map(encryption::sealed_size);
        }
        let blob = self.store_blob(location, body, size).await?;
        Ok(Stored { digests: finished(&digests)?, place: Place::Blob(blob), seal, annotations: None })
    }

    /// As [`Storage::receive`], into a store that keeps objects under names of its own: they are all there, whatever
    /// their size.
    async fn receive_native(
        &self,
        (location, native): (&Location, &dyn NativeStore),
        body: IncomingBody,
        key: Option<&Unlocked>,
        goal: Goal<'_>,
    ) -> StorageResult<Stored> {
        let seal = key.map(|_| Bytes::copy_from_slice(&self.inner.ids.random::<16>())).unwrap_or_default();
        let IncomingBody { mut stream, length, digests } = body;
        let known = !matches!(goal, Goal::Extended(_));
        let mut hint = BodyHint { size: length, digests: known.then(|| digests.clone()) };
        if let Some(key) = key {
            stream = encryption::sealed(key, &seal, stream)?;
            hint = length.map(encryption::sealed_size).into();
        }
        let place = match goal {
            Goal::Blob => return Err(StorageError::Broken("a blob needs no name of its own")),
            Goal::Object(object) | Goal::Extended(object) => {
                let staged = native.stage(object, stream, hint).await?;
                Place::Staged(StagedBlob::new(self, &location.name, staged))
            }
            Goal::Part(upload, number) => {
                let token = native.put_part(upload, u32::from(number), stream, hint).await?;
                Place::Part { location: (*location.name).to_owned(), token }
            }
        };
        Ok(Stored { digests: finished(&digests)?, place, seal, annotations: None })
    }

    fn keep_inline(&self, mut held: Vec<Bytes>, seal: Option<(&Unlocked, &Bytes)>) -> StorageResult<Place> {
        let bytes = match held.len() {
            0 => return Ok(Place::Nowhere),
            1 => held.pop().unwrap_or_default(),
            _ => {
                let mut all = BytesMut::with_capacity(held.iter().map(Bytes::len).sum());
                for chunk in &held {
                    all.extend_from_slice(chunk);
                }
                all.freeze()
            }
        };
        if bytes.is_empty() {
            return Ok(Place::Nowhere);
        }
        let bytes = match seal {
            Some((key, seal)) => encryption::seal_whole(key, seal, &bytes)?,
            None => bytes,
        };
        Ok(Place::Inline { id: Bytes::copy_from_slice(&self.inner.ids.body_id()), bytes })
    }

    /// Stores bytes as they are in a blob of a location's. On any error nothing is kept.
    pub(super) async fn store_blob(
        &self,
        location: &Location,
        body: ByteStream,
        size: Option<u64>,
    ) -> StorageResult<PendingBlob> {
        let reserved = location.backend.reserve();
        let mut pending = PendingBlob {
            storage: self.clone(),
            location: (*location.name).to_owned(),
            blob: reserved.as_ref().map(BlobId::as_str).unwrap_or_default().to_owned(),
            size: 0,
            settled: reserved.is_none(),
        };
        if let Some(blob) = &reserved {
            self.note_pending(&location.name, blob).await?;
        }
        let written = location.backend.put(body, PutHint { blob: reserved, size }).await?;
        written.blob.as_str().clone_into(&mut pending.blob);
        pending.size = written.size;
        pending.settled = false;
        Ok(pending)
    }

    /// Notes that a blob is about to be written, so that a crash leaves no orphan. It is only a hint that must
    /// survive the process: after a power cut an audit finds what the note would have told.
    async fn note_pending(&self, location: &str, blob: &BlobId) -> StorageResult<()> {
        let record = Pending { location: location.to_owned(), blob: blob.as_str().to_owned(), ..Pending::default() };
        let mut batch = Batch { durability: Durability::Buffered, ..Batch::default() };
        batch.put(PENDING, keys::pending(location, blob.as_str()), record.to_bytes());
        Ok(self.inner.metadata.commit(batch).await?)
    }
}

fn finished(digests: &DigestSlot) -> StorageResult<BodyDigests> {
    digests.get().cloned().ok_or(StorageError::Broken("a body that ended cleanly has digests"))
}
