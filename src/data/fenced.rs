//! A backend whose folder may be taken over by another machine.
//!
//! Once the lease is overdue by this process's clock nothing is read, written or removed any more. Names of blobs are
//! random and are never used twice, so what an earlier owner still had in hand cannot meet blobs of a later one;
//! acknowledgements are up to the metadata, which names the blobs: see [`crate::lease`].

use std::{ops::Range, sync::Arc};

use futures_util::future::BoxFuture;

use super::{BlobId, Capabilities, DataBackend, DataError, DiskUsage, NativeStore, PutHint, Written};
use crate::{
    lease::{Lease, Lost},
    types::ByteStream,
};

/// A backend behind a lease.
#[derive(Clone, Debug)]
pub struct FencedBackend {
    inner: Arc<dyn DataBackend>,
    lease: Arc<Lease>,
}

impl FencedBackend {
    /// Puts a backend behind a lease that was taken before the backend was opened.
    pub fn new(inner: Arc<dyn DataBackend>, lease: Arc<Lease>) -> Self {
        Self { inner, lease }
    }

    fn check(&self) -> Result<(), DataError> {
        self.lease.check().map_err(|lost: Lost| DataError::Unavailable(lost.to_string()))
    }

    /// Does it if the lease is still there.
    fn fenced<'a, T>(
        &'a self,
        work: impl FnOnce() -> BoxFuture<'a, Result<T, DataError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, DataError>> {
        Box::pin(async move {
            self.check()?;
            work().await
        })
    }
}

impl DataBackend for FencedBackend {
    fn reserve(&self) -> Option<BlobId> {
        self.inner.reserve()
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        Box::pin(async move {
            self.check()?;
            let written = self.inner.put(body, hint).await?;
            self.check()?;
            Ok(written)
        })
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        self.fenced(move || self.inner.get(blob, range))
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.fenced(move || self.inner.delete(blob))
    }

    fn size<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        self.fenced(move || self.inner.size(blob))
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.fenced(move || self.inner.list(after, limit))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        self.fenced(move || self.inner.probe())
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        self.inner.disk_usage()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn native(&self) -> Option<&dyn NativeStore> {
        self.inner.native()
    }
}
