//! What the batches of a group have written so far: laid over the database, so that each batch sees those before it.
//!
//! Only the last value of a key is kept. A counter that sixty batches of a group add to is written once.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use bytes::Bytes;
use rocksdb::{DB, ReadOptions, WriteBatch};

use super::{
    error::fault,
    keys::{self, bounds, column, physical},
    log::Mark,
};
use crate::metadata::{Batch, Condition, MetadataError, Namespace, Write, counters};

/// The writes of a group, and the sequence numbers given out since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    spaces: BTreeMap<Namespace, Space>,
    /// The last sequence number of each name space that was appended to.
    sequences: HashMap<Namespace, u64>,
    /// Bytes of the keys and values laid down since the last [`Overlay::clear`]: an estimate of the record.
    bytes: usize,
}

/// What the group has done to a key.
#[derive(Debug)]
enum State {
    Set(Bytes),
    Removed,
}

/// One name space: first the ranges were removed, then the keys were set or removed.
#[derive(Debug, Default)]
struct Space {
    removed: Vec<Range<Bytes>>,
    keys: BTreeMap<Bytes, State>,
    /// Whether a sequence number was given out in this group.
    appended: bool,
}

/// What takes one write back.
enum Undo {
    Key(Namespace, Bytes, Option<State>),
    Removed(Namespace),
    Sequence(Namespace, u64),
}

impl Space {
    /// What the group has done to a key, if anything.
    fn get(&self, key: &[u8]) -> Option<&State> {
        self.keys.get(key).or_else(|| {
            let removed = self.removed.iter().any(|range| *range.start <= *key && *key < *range.end);
            removed.then_some(&State::Removed)
        })
    }
}

impl State {
    fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Set(value) => Some(value),
            Self::Removed => None,
        }
    }
}

impl Overlay {
    /// Checks the conditions of `batch` and lays its writes over what is there; on an error nothing is laid.
    pub(super) fn accept(&mut self, db: &DB, batch: Batch) -> Result<(), MetadataError> {
        for (index, (ns, key, condition)) in batch.conditions.iter().enumerate() {
            if !self.holds(db, *ns, key, condition)? {
                return Err(MetadataError::Conflict(index));
            }
        }
        let mut undo = Vec::with_capacity(batch.writes.len());
        for write in batch.writes {
            if let Err(error) = self.lay(db, write, &mut undo) {
                self.take_back(undo);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The whole group as one record for the write-ahead log.
    pub(super) fn record(&self, db: &DB, mark: Mark) -> Result<WriteBatch, MetadataError> {
        let mut record = WriteBatch::with_capacity_bytes(self.bytes + 64);
        record.put_log_data(mark.to_bytes());
        for (ns, space) in &self.spaces {
            let cf = column(db, ns.table.name())?;
            for range in &space.removed {
                let Range { start, end } = bounds(*ns, range);
                record.delete_range_cf(cf, start, end);
            }
            for (key, state) in &space.keys {
                let key = physical(*ns, key);
                match state {
                    State::Set(value) => record.put_cf(cf, key, value),
                    State::Removed => record.delete_cf(cf, key),
                }
            }
            if let Some(last) = self.sequences.get(ns).filter(|_| space.appended) {
                record.put_cf(column(db, keys::SEQUENCES)?, keys::sequence(*ns), last.to_be_bytes());
            }
        }
        Ok(record)
    }

    /// Forgets the group, which is now in the database.
    pub(super) fn clear(&mut self) {
        self.spaces.clear();
        self.bytes = 0;
    }

    /// Forgets the group, which did not get there, and the sequence numbers with it.
    pub(super) fn discard(&mut self) {
        self.clear();
        self.sequences.clear();
    }

    fn holds(&self, db: &DB, ns: Namespace, key: &Bytes, condition: &Condition) -> Result<bool, MetadataError> {
        match condition {
            Condition::EmptyRange(end) => self.is_range_empty(db, ns, &(key.clone()..end.clone())),
            Condition::Absent => self.get(db, ns, key, |value| value.is_none()),
            Condition::Present => self.get(db, ns, key, |value| value.is_some()),
            Condition::Equals(expected) => self.get(db, ns, key, |value| value == Some(&**expected)),
            Condition::Room(growth) => {
                self.get(db, ns, key, |value| value.is_some_and(|value| counters::has_room(value, growth)))
            }
        }
    }

    /// Shows `view` the present value of a key, without a copy.
    fn get<T>(
        &self,
        db: &DB,
        ns: Namespace,
        key: &[u8],
        view: impl FnOnce(Option<&[u8]>) -> T,
    ) -> Result<T, MetadataError> {
        if let Some(state) = self.spaces.get(&ns).and_then(|space| space.get(key)) {
            return Ok(view(state.value()));
        }
        let cf = column(db, ns.table.name())?;
        let value = db.get_pinned_cf(cf, physical(ns, key)).map_err(|error| fault(&error))?;
        Ok(view(value.as_deref()))
    }

    fn is_range_empty(&self, db: &DB, ns: Namespace, range: &Range<Bytes>) -> Result<bool, MetadataError> {
        if range.start >= range.end {
            return Ok(true);
        }
        let space = self.spaces.get(&ns);
        if space.is_some_and(|space| space.keys.range(range.clone()).any(|(_, state)| state.value().is_some())) {
            return Ok(false);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_range(bounds(ns, range));
        let mut keys = db.raw_iterator_cf_opt(column(db, ns.table.name())?, options);
        keys.seek_to_first();
        while let Some(key) = keys.key() {
            // What the group knows of is removed: had it a value, it had been found above.
            let logical = key.get(keys::prefix_len(ns)..).unwrap_or_default();
            if space.and_then(|space| space.get(logical)).is_none() {
                return Ok(false);
            }
            keys.next();
        }
        keys.status().map_err(|error| fault(&error))?;
        Ok(true)
    }

    fn lay(&mut self, db: &DB, write: Write, undo: &mut Vec<Undo>) -> Result<(), MetadataError> {
        match write {
            Write::Put(ns, key, value) => self.set(ns, key, State::Set(value), undo),
            Write::Delete(ns, key) => self.set(ns, key, State::Removed, undo),
            Write::DeleteRange(ns, range) => self.remove(ns, range, undo),
            Write::Add(ns, key, deltas) => {
                let sum = self.get(db, ns, &key, |value| counters::add(value, &deltas))??;
                self.set(ns, key, State::Set(sum), undo);
            }
            Write::Append(ns, value) => {
                let last = self.last_sequence(db, ns)?;
                undo.push(Undo::Sequence(ns, last));
                self.sequences.insert(ns, last + 1);
                self.spaces.entry(ns).or_default().appended = true;
                self.set(ns, Bytes::copy_from_slice(&(last + 1).to_be_bytes()), State::Set(value), undo);
            }
        }
        Ok(())
    }

    fn set(&mut self, ns: Namespace, key: Bytes, state: State, undo: &mut Vec<Undo>) {
        // Headers and varints of an entry in RocksDB's record take at most two dozen bytes.
        self.bytes += key.len() + state.value().map_or(0, <[u8]>::len) + 24;
        let before = self.spaces.entry(ns).or_default().keys.insert(key.clone(), state);
        undo.push(Undo::Key(ns, key, before));
    }

    fn remove(&mut self, ns: Namespace, range: Range<Bytes>, undo: &mut Vec<Undo>) {
        if range.start >= range.end {
            return;
        }
        let space = self.spaces.entry(ns).or_default();
        let covered: Vec<Bytes> = space.keys.range(range.clone()).map(|(key, _)| key.clone()).collect();
        for key in covered {
            let before = space.keys.remove(&key);
            undo.push(Undo::Key(ns, key, before));
        }
        self.bytes += range.start.len() + range.end.len() + 24;
        space.removed.push(range);
        undo.push(Undo::Removed(ns));
    }

    fn take_back(&mut self, undo: Vec<Undo>) {
        for step in undo.into_iter().rev() {
            match step {
                Undo::Key(ns, key, before) => {
                    let keys = &mut self.spaces.entry(ns).or_default().keys;
                    match before {
                        Some(state) => keys.insert(key, state),
                        None => keys.remove(&key),
                    };
                }
                Undo::Removed(ns) => {
                    self.spaces.entry(ns).or_default().removed.pop();
                }
                Undo::Sequence(ns, last) => {
                    self.sequences.insert(ns, last);
                }
            }
        }
    }

    /// The last sequence number given out in a name space, which outlives the entries.
    fn last_sequence(&self, db: &DB, ns: Namespace) -> Result<u64, MetadataError> {
        if let Some(last) = self.sequences.get(&ns) {
            return Ok(*last);
        }
        let stored =
            db.get_pinned_cf(column(db, keys::SEQUENCES)?, keys::sequence(ns)).map_err(|error| fault(&error))?;
        let Some(stored) = stored else { return Ok(0) };
        let last = <[u8; 8]>::try_from(&*stored)
            .map_err(|_| MetadataError::Corrupt(format!("the sequence number of {ns:?} has {} bytes", stored.len())))?;
        Ok(u64::from_be_bytes(last))
    }
}
