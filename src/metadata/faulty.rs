//! A store that fails where a test says so.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{Batch, Direction, Jump, MetadataError, MetadataStats, MetadataStore, MetadataView, Namespace, Pairs};

/// A kind of call. Scans of a view count as scans of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`MetadataStore::get`].
    Get,
    /// [`MetadataStore::scan`], [`MetadataStore::scan_jumping`] and [`MetadataView::scan`].
    Scan,
    /// [`MetadataStore::snapshot`].
    Snapshot,
    /// [`MetadataStore::commit`].
    Commit,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; the condition with this index does not hold.
    Conflict(usize),
    /// Nothing is done; the device fails.
    Io,
    /// Nothing is done; the device is full.
    NoSpace,
    /// Nothing is done; the queue is full.
    Busy,
    /// Nothing is done; the store takes no writes.
    ReadOnly,
    /// The call is done, but its answer is an I/O error: the caller cannot know.
    LostAnswer,
    /// The call is done after this time.
    Delay(Duration),
}

#[derive(Debug)]
struct Planned {
    call: Call,
    /// Calls of this kind that pass before.
    passes: usize,
    fault: Fault,
}

/// Wraps a store and fails chosen calls.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn MetadataStore>,
    plan: Arc<Mutex<Vec<Planned>>>,
}

impl Faulty {
    /// A wrapper that does nothing yet.
    pub fn new(inner: Arc<dyn MetadataStore>) -> Self {
        Self { inner, plan: Arc::default() }
    }

    /// Lets `passes` calls of the kind through and does `fault` to the one after them, once.
    pub fn inject(&self, call: Call, passes: usize, fault: Fault) {
        self.plan.lock().push(Planned { call, passes, fault });
    }

    /// Whether every injected fault has happened.
    pub fn is_spent(&self) -> bool {
        self.plan.lock().is_empty()
    }

    /// The fault of the present call, if one is due.
    fn due(&self, call: Call) -> Option<Fault> {
        let mut plan = self.plan.lock();
        let due = plan.iter().position(|planned| planned.call == call && planned.passes == 0);
        let fault = due.map(|index| plan.remove(index).fault);
        for planned in plan.iter_mut().filter(|planned| planned.call == call) {
            planned.passes = planned.passes.saturating_sub(1);
        }
        fault
    }

    async fn pass<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, MetadataError>> + Send,
    ) -> Result<T, MetadataError> {
        let injected = || MetadataError::Io("an injected fault".to_owned());
        match self.due(call) {
            None => work.await,
            Some(Fault::Conflict(index)) => Err(MetadataError::Conflict(index)),
            Some(Fault::Io) => Err(injected()),
            Some(Fault::NoSpace) => Err(MetadataError::NoSpace),
            Some(Fault::Busy) => Err(MetadataError::Busy),
            Some(Fault::ReadOnly) => Err(MetadataError::ReadOnly),
            Some(Fault::LostAnswer) => work.await.and_then(|_| Err(injected())),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                work.await
            }
        }
    }
}

impl MetadataStore for Faulty {
    fn get<'a>(&'a self, ns: Namespace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, MetadataError>> {
        Box::pin(self.pass(Call::Get, self.inner.get(ns, key)))
    }

    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(self.pass(Call::Scan, self.inner.scan(ns, range, direction, limit)))
    }

    fn scan_jumping(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        jump: Arc<dyn Jump>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(self.pass(Call::Scan, self.inner.scan_jumping(ns, range, jump, limit)))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn MetadataView>, MetadataError>> {
        Box::pin(async move {
            let inner = self.pass(Call::Snapshot, self.inner.snapshot()).await?;
            Ok(Arc::new(FaultyView { inner, store: self.clone() }) as Arc<dyn MetadataView>)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(self.pass(Call::Commit, self.inner.commit(batch)))
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

#[derive(Debug)]
struct FaultyView {
    inner: Arc<dyn MetadataView>,
    store: Faulty,
}

impl MetadataView for FaultyView {
    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(self.store.pass(Call::Scan, self.inner.scan(ns, range, direction, limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{MemoryStore, Table, conformance};

    const NS: Namespace = Namespace::global(Table::System);

    fn put(key: &'static str) -> Batch {
        let mut batch = Batch::new();
        batch.put(NS, key, "value");
        batch
    }

    #[tokio::test]
    async fn without_faults_it_is_the_store_it_wraps() {
        conformance::run(|| Arc::new(Faulty::new(Arc::new(MemoryStore::new())))).await;
    }

    #[tokio::test]
    async fn the_chosen_call_fails_and_no_other() {
        let store = Faulty::new(Arc::new(MemoryStore::new()));
        store.inject(Call::Commit, 1, Fault::Io);
        store.inject(Call::Commit, 2, Fault::LostAnswer);
        store.inject(Call::Get, 0, Fault::NoSpace);
        store.commit(put("a")).await.unwrap();
        assert!(matches!(store.commit(put("b")).await, Err(MetadataError::Io(_))));
        assert!(matches!(store.commit(put("c")).await, Err(MetadataError::Io(_))));
        assert!(matches!(store.get(NS, b"a").await, Err(MetadataError::NoSpace)));
        assert!(store.is_spent());
        assert!(store.get(NS, b"a").await.unwrap().is_some());
        assert!(store.get(NS, b"b").await.unwrap().is_none(), "a failed commit does nothing");
        assert!(store.get(NS, b"c").await.unwrap().is_some(), "a commit whose answer is lost is done");
    }
}
