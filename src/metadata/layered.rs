//! Stores with something around their calls: a layer says what that is, and everything else is forwarded once, here.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Batch, Direction, Jump, MetadataError, MetadataStats, MetadataStore, MetadataView, Namespace, Pairs};

/// A kind of call. Scans of a view count as scans of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// [`MetadataStore::get`].
    Get,
    /// [`MetadataStore::scan`], [`MetadataStore::scan_jumping`] and [`MetadataView::scan`].
    Scan,
    /// [`MetadataStore::snapshot`].
    Snapshot,
    /// [`MetadataStore::commit`].
    Commit,
}

/// What is done around the calls of a store.
pub(crate) trait Layer: fmt::Debug + Send + Sync + 'static {
    /// Makes a call of the store within, by waiting for `work`; unless it does, nothing happens there.
    fn around<T: Send>(
        &self,
        call: Call,
        work: BoxFuture<'_, Result<T, MetadataError>>,
    ) -> impl Future<Output = Result<T, MetadataError>> + Send;

    /// Commits to the store within.
    fn commit(
        &self,
        inner: &dyn MetadataStore,
        batch: Batch,
    ) -> impl Future<Output = Result<(), MetadataError>> + Send {
        self.around(Call::Commit, inner.commit(batch))
    }

    /// Learns what a scan gave.
    fn scanned(&self, _: &Pairs) {}

    /// Whether writes are accepted, as far as the layer is asked.
    fn is_writable(&self) -> bool {
        true
    }
}

/// A store with a layer around it.
#[derive(Debug)]
pub struct Layered<L> {
    inner: Arc<dyn MetadataStore>,
    layer: Arc<L>,
}

#[derive(Debug)]
struct LayeredView<L> {
    inner: Arc<dyn MetadataView>,
    layer: Arc<L>,
}

impl<L> Layered<L> {
    /// Puts a layer around a store.
    pub(crate) fn over(inner: Arc<dyn MetadataStore>, layer: L) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }

    /// The layer.
    #[cfg(test)]
    pub(crate) fn layer(&self) -> &L {
        &self.layer
    }

    /// The store within.
    #[cfg(test)]
    pub(crate) fn inner(&self) -> &dyn MetadataStore {
        &*self.inner
    }
}

async fn scan<L: Layer>(layer: &L, work: BoxFuture<'_, Result<Pairs, MetadataError>>) -> Result<Pairs, MetadataError> {
    let pairs = layer.around(Call::Scan, work).await?;
    layer.scanned(&pairs);
    Ok(pairs)
}

impl<L: Layer> MetadataStore for Layered<L> {
    fn get<'a>(&'a self, ns: Namespace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, MetadataError>> {
        Box::pin(self.layer.around(Call::Get, self.inner.get(ns, key)))
    }

    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(scan(&*self.layer, self.inner.scan(ns, range, direction, limit)))
    }

    fn scan_jumping(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        jump: Arc<dyn Jump>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(scan(&*self.layer, self.inner.scan_jumping(ns, range, jump, limit)))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn MetadataView>, MetadataError>> {
        Box::pin(async move {
            let inner = self.layer.around(Call::Snapshot, self.inner.snapshot()).await?;
            let layer = Arc::clone(&self.layer);
            Ok(Arc::new(LayeredView { inner, layer }) as Arc<dyn MetadataView>)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(self.layer.commit(&*self.inner, batch))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), MetadataError>> {
        self.inner.close()
    }

    fn is_writable(&self) -> bool {
        self.layer.is_writable() && self.inner.is_writable()
    }

    fn stats(&self) -> MetadataStats {
        self.inner.stats()
    }
}

impl<L: Layer> MetadataView for LayeredView<L> {
    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(scan(&*self.layer, self.inner.scan(ns, range, direction, limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{MemoryStore, conformance};

    #[derive(Debug)]
    struct Nothing;

    impl Layer for Nothing {
        async fn around<T: Send>(
            &self,
            _: Call,
            work: BoxFuture<'_, Result<T, MetadataError>>,
        ) -> Result<T, MetadataError> {
            work.await
        }
    }

    #[tokio::test]
    async fn with_nothing_around_it_a_store_keeps_every_rule_of_the_seam() {
        conformance::run(|| Arc::new(Layered::over(Arc::new(MemoryStore::new()), Nothing))).await;
    }
}
