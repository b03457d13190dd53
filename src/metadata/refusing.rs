//! A store for tests that refuses commits, or lets others be quicker, where it is told to.

use std::{collections::VecDeque, sync::Arc};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{
    Batch, MemoryStore, MetadataError, MetadataStore, Table, Write,
    layered::{Call, Layer, Layered},
};

/// Which commit is meant.
type Meant = fn(&Batch) -> bool;

/// What happens at it.
#[derive(Debug)]
enum Event {
    Refusal(MetadataError),
    /// This is committed first.
    Overtaken(Batch),
}

/// What is ordered: each order is for one commit.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<VecDeque<(Meant, Event)>>);

/// A store in memory with orders.
pub(crate) type RefusingStore = Layered<Orders>;

impl RefusingStore {
    /// An empty store without orders.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::over(Arc::new(MemoryStore::new()), Orders::default()))
    }

    /// Refuses the next commit that is meant.
    pub(crate) fn refuse(&self, meant: Meant, refusal: MetadataError) {
        self.layer().0.lock().push_back((meant, Event::Refusal(refusal)));
    }

    /// Commits `first` right before the next commit that is meant.
    pub(crate) fn overtake(&self, meant: Meant, first: Batch) {
        self.layer().0.lock().push_back((meant, Event::Overtaken(first)));
    }

    /// Whether every order was carried out.
    pub(crate) fn is_done(&self) -> bool {
        self.layer().0.lock().is_empty()
    }
}

/// Whether a batch puts something into a table.
pub(crate) fn puts(batch: &Batch, table: Table) -> bool {
    batch.writes.iter().any(|write| matches!(write, Write::Put(ns, ..) if ns.table == table))
}

impl Layer for Orders {
    async fn around<T: Send>(
        &self,
        _: Call,
        work: BoxFuture<'_, Result<T, MetadataError>>,
    ) -> Result<T, MetadataError> {
        work.await
    }

    async fn commit(&self, inner: &dyn MetadataStore, batch: Batch) -> Result<(), MetadataError> {
        let order = {
            let mut orders = self.0.lock();
            let place = orders.iter().position(|(meant, _)| meant(&batch));
            place.and_then(|place| orders.remove(place)).map(|(_, event)| event)
        };
        match order {
            Some(Event::Refusal(refusal)) => return Err(refusal),
            Some(Event::Overtaken(first)) => inner.commit(first).await?,
            None => {}
        }
        inner.commit(batch).await
    }
}
