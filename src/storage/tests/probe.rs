//! A store that counts what is read, and lets others in between any two steps.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::metadata::{
    Batch, Direction, Jump, MemoryStore, MetadataError, MetadataStats, MetadataStore, MetadataView, Namespace, Pairs,
};

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) scans: usize,
    pub(super) pairs: usize,
    pub(super) snapshots: usize,
}

#[derive(Debug, Default)]
struct Meter {
    scans: AtomicUsize,
    pairs: AtomicUsize,
    snapshots: AtomicUsize,
    /// Steps so far; every other one or so lets other tasks run.
    steps: AtomicUsize,
    yields: bool,
    /// How long a commit takes: as a disk does, all that wait meanwhile have read what was there before.
    commit_takes: Duration,
}

#[derive(Debug)]
pub(super) struct Probe {
    inner: MemoryStore,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct ProbeView {
    inner: Arc<dyn MetadataView>,
    meter: Arc<Meter>,
}

impl Probe {
    pub(super) fn counting() -> Arc<Self> {
        Arc::new(Self { inner: MemoryStore::new(), meter: Arc::default() })
    }

    pub(super) fn yielding() -> Arc<Self> {
        let meter = Meter { yields: true, ..Meter::default() };
        Arc::new(Self { inner: MemoryStore::new(), meter: Arc::new(meter) })
    }

    pub(super) fn slow(commit_takes: Duration) -> Arc<Self> {
        let meter = Meter { commit_takes, ..Meter::default() };
        Arc::new(Self { inner: MemoryStore::new(), meter: Arc::new(meter) })
    }

    /// What was read since the last call.
    pub(super) fn take(&self) -> Cost {
        Cost {
            scans: self.meter.scans.swap(0, Ordering::SeqCst),
            pairs: self.meter.pairs.swap(0, Ordering::SeqCst),
            snapshots: self.meter.snapshots.swap(0, Ordering::SeqCst),
        }
    }
}

impl Meter {
    async fn step(&self) {
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        if self.yields && (step ^ (step >> 3)) & 1 == 0 {
            tokio::task::yield_now().await;
        }
    }

    fn count(&self, pairs: Pairs) -> Pairs {
        self.scans.fetch_add(1, Ordering::SeqCst);
        self.pairs.fetch_add(pairs.len(), Ordering::SeqCst);
        pairs
    }
}

impl MetadataStore for Probe {
    fn get<'a>(&'a self, ns: Namespace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, MetadataError>> {
        Box::pin(async move {
            self.meter.step().await;
            let value = self.inner.get(ns, key).await;
            self.meter.step().await;
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
            let pairs = self.inner.scan(ns, range, direction, limit).await?;
            self.meter.step().await;
            Ok(self.meter.count(pairs))
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
            let pairs = self.inner.scan_jumping(ns, range, jump, limit).await?;
            self.meter.step().await;
            Ok(self.meter.count(pairs))
        })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn MetadataView>, MetadataError>> {
        Box::pin(async move {
            self.meter.snapshots.fetch_add(1, Ordering::SeqCst);
            let view = ProbeView { inner: self.inner.snapshot().await?, meter: Arc::clone(&self.meter) };
            Ok(Arc::new(view) as Arc<dyn MetadataView>)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(async move {
            self.meter.step().await;
            if !self.meter.commit_takes.is_zero() {
                tokio::time::sleep(self.meter.commit_takes).await;
            }
            let result = self.inner.commit(batch).await;
            self.meter.step().await;
            result
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), MetadataError>> {
        self.inner.close()
    }

    fn is_writable(&self) -> bool {
        self.inner.is_writable()
    }

    fn stats(&self) -> MetadataStats {
        self.inner.stats()
    }
}

impl MetadataView for ProbeView {
    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(async move { Ok(self.meter.count(self.inner.scan(ns, range, direction, limit).await?)) })
    }
}
