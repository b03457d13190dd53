//! A store that counts what is read, and lets others in between any two steps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;

use crate::metadata::{
    MemoryStore, MetadataError, Pairs,
    layered::{Call, Layer, Layered},
};

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) scans: usize,
    pub(super) pairs: usize,
    pub(super) snapshots: usize,
}

#[derive(Debug, Default)]
pub(super) struct Meter {
    scans: AtomicUsize,
    pairs: AtomicUsize,
    snapshots: AtomicUsize,
    /// Steps so far; every other one or so lets other tasks run.
    steps: AtomicUsize,
    yields: bool,
    /// How long a commit takes: as a disk does, all that wait meanwhile have read what was there before.
    commit_takes: Duration,
}

pub(super) type Probe = Layered<Meter>;

impl Probe {
    pub(super) fn counting() -> Arc<Self> {
        Self::of(Meter::default())
    }

    pub(super) fn yielding() -> Arc<Self> {
        Self::of(Meter { yields: true, ..Meter::default() })
    }

    pub(super) fn slow(commit_takes: Duration) -> Arc<Self> {
        Self::of(Meter { commit_takes, ..Meter::default() })
    }

    fn of(meter: Meter) -> Arc<Self> {
        Arc::new(Self::over(Arc::new(MemoryStore::new()), meter))
    }

    /// What was read since the last call.
    pub(super) fn take(&self) -> Cost {
        let meter = self.layer();
        Cost {
            scans: meter.scans.swap(0, Ordering::SeqCst),
            pairs: meter.pairs.swap(0, Ordering::SeqCst),
            snapshots: meter.snapshots.swap(0, Ordering::SeqCst),
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
}

impl Layer for Meter {
    async fn around<T: Send>(
        &self,
        call: Call,
        work: BoxFuture<'_, Result<T, MetadataError>>,
    ) -> Result<T, MetadataError> {
        if call == Call::Snapshot {
            self.snapshots.fetch_add(1, Ordering::SeqCst);
            return work.await;
        }
        self.step().await;
        if call == Call::Commit && !self.commit_takes.is_zero() {
            tokio::time::sleep(self.commit_takes).await;
        }
        let result = work.await;
        self.step().await;
        result
    }

    fn scanned(&self, pairs: &Pairs) {
        self.scans.fetch_add(1, Ordering::SeqCst);
        self.pairs.fetch_add(pairs.len(), Ordering::SeqCst);
    }
}
