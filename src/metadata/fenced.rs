//! A store whose folder may be taken over by another machine.
//!
//! Nothing is answered once the lease is overdue by this process's clock, and a commit is acknowledged only if the
//! lease was still there after the commit was durable: see [`crate::lease`].

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Batch, Direction, Jump, MetadataError, MetadataStats, MetadataStore, MetadataView, Namespace, Pairs};
use crate::lease::{Lease, Lost};

/// A store behind a lease.
#[derive(Clone, Debug)]
pub struct FencedStore {
    inner: Arc<dyn MetadataStore>,
    lease: Arc<Lease>,
}

#[derive(Debug)]
struct FencedView {
    inner: Arc<dyn MetadataView>,
    lease: Arc<Lease>,
}

impl FencedStore {
    /// Puts a store behind a lease that was taken before the store was opened.
    pub fn new(inner: Arc<dyn MetadataStore>, lease: Arc<Lease>) -> Self {
        Self { inner, lease }
    }
}

fn lost(lost: Lost) -> MetadataError {
    MetadataError::Unavailable(lost.to_string())
}

impl MetadataStore for FencedStore {
    fn get<'a>(&'a self, ns: Namespace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, MetadataError>> {
        Box::pin(async move {
            let value = self.inner.get(ns, key).await;
            // Afterwards: what was read while the process slept is old.
            self.lease.check().map_err(lost)?;
            value
        })
    }

    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(async move {
            let pairs = self.inner.scan(ns, range, direction, limit).await;
            self.lease.check().map_err(lost)?;
            pairs
        })
    }

    fn scan_jumping(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        jump: Arc<dyn Jump>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(async move {
            let pairs = self.inner.scan_jumping(ns, range, jump, limit).await;
            self.lease.check().map_err(lost)?;
            pairs
        })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn MetadataView>, MetadataError>> {
        Box::pin(async move {
            let inner = self.inner.snapshot().await?;
            Ok(Arc::new(FencedView { inner, lease: Arc::clone(&self.lease) }) as Arc<dyn MetadataView>)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(async move {
            self.lease.check().map_err(lost)?;
            let committed = self.inner.commit(batch).await;
            // A refusal is an answer, too: it is about a state that must still be the last one.
            let confirmed = self.lease.confirm().await;
            confirmed
                .map_err(|error| MetadataError::Unavailable(format!("the lease cannot be read: {error}")))?
                .map_err(lost)?;
            committed
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), MetadataError>> {
        self.inner.close()
    }

    fn is_writable(&self) -> bool {
        self.lease.check().is_ok() && self.inner.is_writable()
    }

    fn stats(&self) -> MetadataStats {
        self.inner.stats()
    }
}

impl MetadataView for FencedView {
    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(async move {
            let pairs = self.inner.scan(ns, range, direction, limit).await;
            self.lease.check().map_err(lost)?;
            pairs
        })
    }
}
