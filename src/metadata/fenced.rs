//! A store whose folder may be taken over by another machine.
//!
//! Nothing is answered once the lease is overdue by this process's clock, and a commit is acknowledged only if the
//! lease was still there after the commit was durable: see [`crate::lease`].

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{
    Batch, MetadataError, MetadataStore,
    layered::{Call, Layer, Layered},
};
use crate::lease::{Lease, Lost};

/// What keeps a store from answering without its lease.
#[derive(Debug)]
pub struct Fence(Arc<Lease>);

/// A store behind a lease.
pub type FencedStore = Layered<Fence>;

impl FencedStore {
    /// Puts a store behind a lease that was taken before the store was opened.
    pub fn new(inner: Arc<dyn MetadataStore>, lease: Arc<Lease>) -> Self {
        Self::over(inner, Fence(lease))
    }
}

fn lost(lost: Lost) -> MetadataError {
    MetadataError::Unavailable(lost.to_string())
}

impl Layer for Fence {
    async fn around<T: Send>(
        &self,
        _: Call,
        work: BoxFuture<'_, Result<T, MetadataError>>,
    ) -> Result<T, MetadataError> {
        let answer = work.await;
        // Afterwards: what was read while the process slept is old.
        self.0.check().map_err(lost)?;
        answer
    }

    async fn commit(&self, inner: &dyn MetadataStore, batch: Batch) -> Result<(), MetadataError> {
        self.0.check().map_err(lost)?;
        let committed = inner.commit(batch).await;
        // A refusal is an answer, too: it is about a state that must still be the last one.
        let confirmed = self.0.confirm().await;
        confirmed
            .map_err(|error| MetadataError::Unavailable(format!("the lease cannot be read: {error}")))?
            .map_err(lost)?;
        committed
    }

    fn is_writable(&self) -> bool {
        self.0.check().is_ok()
    }
}
