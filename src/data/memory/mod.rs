//! Blobs in memory: for tests, and for locations whose data need not outlive the process.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future, future::BoxFuture, stream};
use parking_lot::Mutex;

use super::{
    BlobId, Capabilities, DataBackend, DataError, DiskUsage, PutHint, Written, announced::Announced, name::BlobName,
};
use crate::types::ByteStream;

/// Readers get slices of at most this many bytes, as they would from a device.
const SLICE: usize = 256 * 1024;

/// What an announced size may reserve ahead, in bytes: an announcement is only a claim.
const MOST_RESERVED: u64 = 8 * 1024 * 1024;

/// A map of blobs. Everything is lost with the process.
#[derive(Debug)]
pub struct MemoryBackend {
    blobs: Mutex<Blobs>,
    limit: u64,
}

#[derive(Debug, Default)]
struct Blobs {
    by_name: BTreeMap<BlobId, Bytes>,
    bytes: u64,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::with_limit(u64::MAX)
    }
}

impl MemoryBackend {
    /// An empty backend without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty backend that answers [`DataError::NoSpace`] rather than keep more than `limit` bytes.
    pub fn with_limit(limit: u64) -> Self {
        Self { blobs: Mutex::default(), limit }
    }

    /// Bytes kept now.
    pub fn stored_bytes(&self) -> u64 {
        self.blobs.lock().bytes
    }

    async fn receive(&self, mut body: ByteStream, hint: PutHint) -> Result<Written, DataError> {
        let blob = BlobName::for_put(hint.blob.as_ref())?.id();
        let reserved = usize::try_from(hint.size.unwrap_or(0).min(MOST_RESERVED)).unwrap_or(0);
        let announced = Announced(hint.size);
        let mut bytes = BytesMut::with_capacity(reserved);
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk?);
            announced.allows(bytes.len() as u64)?;
            if self.stored_bytes().saturating_add(bytes.len() as u64) > self.limit {
                return Err(DataError::NoSpace);
            }
        }
        let size = bytes.len() as u64;
        announced.is_met_by(size)?;
        self.blobs.lock().insert(&blob, bytes.freeze(), self.limit)?;
        Ok(Written { blob, size })
    }

    fn read(&self, blob: &BlobId, range: Range<u64>) -> Result<ByteStream, DataError> {
        BlobName::of(blob)?;
        let bytes = self.blobs.lock().by_name.get(blob).cloned().ok_or_else(|| DataError::NotFound(blob.clone()))?;
        let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end)) else {
            return Err(DataError::OutOfRange(range));
        };
        if start > end || end > bytes.len() {
            return Err(DataError::OutOfRange(range));
        }
        let mut rest = bytes.slice(start..end);
        Ok(stream::iter(std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(SLICE))))
        }))
        .boxed())
    }
}

impl Blobs {
    fn insert(&mut self, blob: &BlobId, bytes: Bytes, limit: u64) -> Result<(), DataError> {
        let total = self.bytes.saturating_add(bytes.len() as u64);
        if total > limit {
            return Err(DataError::NoSpace);
        }
        if self.by_name.contains_key(blob) {
            return Err(DataError::Io(std::io::ErrorKind::AlreadyExists.into()));
        }
        self.by_name.insert(blob.clone(), bytes);
        self.bytes = total;
        Ok(())
    }

    fn remove(&mut self, blob: &BlobId) {
        if let Some(gone) = self.by_name.remove(blob) {
            self.bytes = self.bytes.saturating_sub(gone.len() as u64);
        }
    }
}

impl DataBackend for MemoryBackend {
    fn reserve(&self) -> Option<BlobId> {
        BlobName::random().ok().map(BlobName::id)
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        self.receive(body, hint).boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        async move { self.read(blob, range) }.boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        async move {
            BlobName::of(blob)?;
            self.blobs.lock().remove(blob);
            Ok(())
        }
        .boxed()
    }

    fn size<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        async move {
            BlobName::of(blob)?;
            let size = self.blobs.lock().by_name.get(blob).map(|bytes| bytes.len() as u64);
            size.map(Some).ok_or_else(|| DataError::NotFound(blob.clone()))
        }
        .boxed()
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        async move {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let blobs = self.blobs.lock();
            let names = blobs.by_name.range::<BlobId, _>((start, Bound::Unbounded)).map(|(name, _)| name);
            Ok(names.take(limit).cloned().collect())
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        async move { if self.stored_bytes() < self.limit { Ok(()) } else { Err(DataError::NoSpace) } }.boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        future::ready(Ok(None)).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: false,
            verified_reads: false,
            listing: true,
            versioned_buckets: true,
            one_bucket: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{data::conformance, types::body};

    #[tokio::test]
    async fn memory_keeps_the_rules_of_the_seam() {
        conformance::suite(Arc::new(MemoryBackend::new())).await;
    }

    #[tokio::test]
    async fn a_full_memory_refuses_and_keeps_nothing() {
        let backend = MemoryBackend::with_limit(10);
        backend.put(body::once(Bytes::from_static(b"12345678")), PutHint::default()).await.unwrap();
        let refused = backend.put(body::once(Bytes::from_static(b"abc")), PutHint::default()).await;
        assert!(matches!(refused, Err(DataError::NoSpace)), "{refused:?}");
        assert_eq!(backend.stored_bytes(), 8);
    }
}
