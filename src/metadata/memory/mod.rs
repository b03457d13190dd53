//! The store for tests and for runs without RocksDB: ordered maps behind one lock.
//!
//! Nothing survives the process. A snapshot shares the maps; a writer copies a map only while a snapshot holds it.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::RwLock;

use super::{
    Batch, Condition, Direction, Jump, MetadataError, MetadataStats, MetadataStore, MetadataView, Namespace, Pairs,
    Write, counters,
};

type Space = BTreeMap<Bytes, Bytes>;

/// A metadata store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    spaces: Arc<BTreeMap<Namespace, Arc<Space>>>,
    /// The last sequence number given in each name space.
    sequences: BTreeMap<Namespace, u64>,
    commits: u64,
    closed: bool,
}

/// What restores one key or sequence, should a later write of the batch fail.
enum Undo {
    Key(Namespace, Bytes, Option<Bytes>),
    Sequence(Namespace, u64),
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl State {
    fn get(&self, ns: Namespace, key: &[u8]) -> Option<&Bytes> {
        self.spaces.get(&ns)?.get(key)
    }

    fn holds(&self, ns: Namespace, key: &Bytes, condition: &Condition) -> bool {
        match condition {
            Condition::Absent => self.get(ns, key).is_none(),
            Condition::Present => self.get(ns, key).is_some(),
            Condition::Equals(value) => self.get(ns, key) == Some(value),
            Condition::Room(growth) => self.get(ns, key).is_some_and(|value| counters::has_room(value, growth)),
            Condition::EmptyRange(end) => {
                scan(&self.spaces, ns, &(key.clone()..end.clone()), Direction::Forward, 1).is_empty()
            }
        }
    }

    fn commit(&mut self, batch: Batch) -> Result<(), MetadataError> {
        if self.closed {
            return Err(MetadataError::Unavailable("the store is closed".to_owned()));
        }
        let failed = batch.conditions.iter().position(|(ns, key, condition)| !self.holds(*ns, key, condition));
        if let Some(index) = failed {
            return Err(MetadataError::Conflict(index));
        }
        let mut undo = Vec::with_capacity(batch.writes.len());
        for write in batch.writes {
            if let Err(error) = self.apply(write, &mut undo) {
                self.roll_back(undo);
                return Err(error);
            }
        }
        self.commits += 1;
        Ok(())
    }

    fn apply(&mut self, write: Write, undo: &mut Vec<Undo>) -> Result<(), MetadataError> {
        match write {
            Write::Put(ns, key, value) => self.set(ns, key, Some(value), undo),
            Write::Delete(ns, key) => self.set(ns, key, None, undo),
            Write::DeleteRange(ns, range) => {
                for (key, _) in scan(&self.spaces, ns, &range, Direction::Forward, usize::MAX) {
                    self.set(ns, key, None, undo);
                }
            }
            Write::Add(ns, key, deltas) => {
                let sum = counters::add(self.get(ns, &key).map(AsRef::as_ref), &deltas)?;
                self.set(ns, key, Some(sum), undo);
            }
            Write::Append(ns, value) => {
                let last = self.sequences.entry(ns).or_default();
                undo.push(Undo::Sequence(ns, *last));
                *last += 1;
                let key = Bytes::copy_from_slice(&last.to_be_bytes());
                self.set(ns, key, Some(value), undo);
            }
        }
        Ok(())
    }

    fn set(&mut self, ns: Namespace, key: Bytes, value: Option<Bytes>, undo: &mut Vec<Undo>) {
        let space = Arc::make_mut(Arc::make_mut(&mut self.spaces).entry(ns).or_default());
        let before = match value {
            Some(value) => space.insert(key.clone(), value),
            None => space.remove(&key),
        };
        undo.push(Undo::Key(ns, key, before));
    }

    fn roll_back(&mut self, undo: Vec<Undo>) {
        for step in undo.into_iter().rev() {
            match step {
                Undo::Key(ns, key, before) => self.set(ns, key, before, &mut Vec::new()),
                Undo::Sequence(ns, last) => {
                    self.sequences.insert(ns, last);
                }
            }
        }
    }
}

fn scan(
    spaces: &BTreeMap<Namespace, Arc<Space>>,
    ns: Namespace,
    range: &Range<Bytes>,
    direction: Direction,
    limit: usize,
) -> Pairs {
    let Some(space) = spaces.get(&ns).filter(|_| range.start < range.end) else { return Pairs::new() };
    let pairs = space.range(range.clone()).map(|(key, value)| (key.clone(), value.clone()));
    match direction {
        Direction::Forward => pairs.take(limit).collect(),
        Direction::Reverse => pairs.rev().take(limit).collect(),
    }
}

fn scan_jumping(
    spaces: &BTreeMap<Namespace, Arc<Space>>,
    ns: Namespace,
    range: Range<Bytes>,
    jump: &dyn Jump,
    limit: usize,
) -> Pairs {
    let mut pairs = Pairs::new();
    let Some(space) = spaces.get(&ns) else { return pairs };
    let mut from = Bound::Included(range.start.clone());
    while pairs.len() < limit {
        let next = match &from {
            Bound::Included(key) | Bound::Excluded(key) if *key >= range.end => None,
            _ => space.range((from.clone(), Bound::Excluded(range.end.clone()))).next(),
        };
        let Some((key, value)) = next else { break };
        from = jump.behind(key).map_or_else(|| Bound::Excluded(key.clone()), Bound::Included);
        pairs.push((key.clone(), value.clone()));
    }
    pairs
}

impl MetadataStore for MemoryStore {
    fn get<'a>(&'a self, ns: Namespace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, MetadataError>> {
        Box::pin(async move { Ok(self.state.read().get(ns, key).cloned()) })
    }

    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(async move { Ok(scan(&self.state.read().spaces, ns, &range, direction, limit)) })
    }

    fn scan_jumping(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        jump: Arc<dyn Jump>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(async move { Ok(scan_jumping(&self.state.read().spaces, ns, range, jump.as_ref(), limit)) })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn MetadataView>, MetadataError>> {
        Box::pin(async move {
            let spaces = Arc::clone(&self.state.read().spaces);
            Ok(Arc::new(MemoryView { spaces }) as Arc<dyn MetadataView>)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(async move { self.state.write().commit(batch) })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(async move {
            self.state.write().closed = true;
            Ok(())
        })
    }

    fn is_writable(&self) -> bool {
        !self.state.read().closed
    }

    fn stats(&self) -> MetadataStats {
        MetadataStats { disk_bytes: 0, commits: self.state.read().commits, syncs: 0 }
    }
}

#[derive(Debug)]
struct MemoryView {
    spaces: Arc<BTreeMap<Namespace, Arc<Space>>>,
}

impl MetadataView for MemoryView {
    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(async move { Ok(scan(&self.spaces, ns, &range, direction, limit)) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::MemoryStore;
    use crate::metadata::conformance;

    #[tokio::test]
    async fn memory_keeps_every_rule_of_the_seam() {
        conformance::run(|| Arc::new(MemoryStore::new())).await;
    }
}
