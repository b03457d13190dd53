//! Random batches, several at once: RocksDB, memory and a naive model agree on every outcome and every pair.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::future::join_all;
use proptest::{collection::vec, prelude::*, sample::select};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{RocksStore, open};
use crate::{
    metadata::{
        Batch, Condition, Direction, Growth, MemoryStore, MetadataError, MetadataStore, Namespace, Pairs, Table, Write,
        counters,
    },
    types::BucketId,
};

/// The model: every pair of every name space, and the last sequence numbers.
#[derive(Clone, Default)]
struct Model {
    pairs: BTreeMap<(Namespace, Bytes), Bytes>,
    sequences: BTreeMap<Namespace, u64>,
}

impl Model {
    fn range(&self, ns: Namespace, range: &Range<Bytes>) -> Vec<(Bytes, Bytes)> {
        let inside = self.pairs.iter().filter(|((space, key), _)| *space == ns && range.contains(key));
        inside.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    /// The outcome as a text: what matters of it.
    fn commit(&mut self, batch: &Batch) -> String {
        for (index, (ns, key, condition)) in batch.conditions.iter().enumerate() {
            let value = self.pairs.get(&(*ns, key.clone()));
            let holds = match condition {
                Condition::Absent => value.is_none(),
                Condition::Present => value.is_some(),
                Condition::Equals(expected) => value == Some(expected),
                Condition::Room(growth) => value.is_some_and(|value| counters::has_room(value, growth)),
                Condition::EmptyRange(end) => self.range(*ns, &(key.clone()..end.clone())).is_empty(),
            };
            if !holds {
                return format!("conflict {index}");
            }
        }
        let mut next = self.clone();
        for write in &batch.writes {
            match write {
                Write::Put(ns, key, value) => drop(next.pairs.insert((*ns, key.clone()), value.clone())),
                Write::Delete(ns, key) => drop(next.pairs.remove(&(*ns, key.clone()))),
                Write::DeleteRange(ns, range) => {
                    next.pairs.retain(|(space, key), _| space != ns || !range.contains(key));
                }
                Write::Add(ns, key, deltas) => {
                    let at = (*ns, key.clone());
                    match counters::add(next.pairs.get(&at).map(AsRef::as_ref), deltas) {
                        Ok(sum) => drop(next.pairs.insert(at, sum)),
                        Err(_) => return "corrupt".to_owned(),
                    }
                }
                Write::Append(ns, value) => {
                    let last = next.sequences.entry(*ns).or_default();
                    *last += 1;
                    next.pairs.insert((*ns, Bytes::copy_from_slice(&last.to_be_bytes())), value.clone());
                }
            }
        }
        *self = next;
        "done".to_owned()
    }
}

fn outcome(result: &Result<(), MetadataError>) -> String {
    match result {
        Ok(()) => "done".to_owned(),
        Err(MetadataError::Conflict(index)) => format!("conflict {index}"),
        Err(MetadataError::Corrupt(_)) => "corrupt".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

/// Name spaces of a case: the case's number is filled in later.
#[derive(Clone, Copy, Debug)]
struct Place(Table, u64);

impl Place {
    fn of_case(self, case: u64) -> Namespace {
        Namespace::of(self.0, BucketId::new(case * 2 + self.1))
    }
}

type Step = (Vec<(Place, Bytes, Condition)>, Vec<(Place, Change)>);

#[derive(Clone, Debug)]
enum Change {
    Put(Bytes, Bytes),
    Delete(Bytes),
    DeleteRange(Range<Bytes>),
    Add(Bytes, Vec<i64>),
    Append(Bytes),
}

const KEYS: &[&[u8]] = &[b"", b"\0", b"a", b"a\0", b"ab", b"b", b"c", b"\xff", b"\xff\xff"];
const VALUES: &[&[u8]] = &[b"", b"x", b"12345678", b"1234567812345678"];

fn key() -> impl Strategy<Value = Bytes> {
    select(KEYS).prop_map(Bytes::from_static)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => select(VALUES).prop_map(Bytes::from_static),
        1 => Just(Bytes::from_static(&[7; 3000])),
    ]
}

fn place(table: Table) -> impl Strategy<Value = Place> {
    (0..2_u64).prop_map(move |bucket| Place(table, bucket))
}

fn any_place() -> impl Strategy<Value = Place> {
    prop_oneof![place(Table::Current), place(Table::Bodies)]
}

fn condition() -> impl Strategy<Value = (Place, Bytes, Condition)> {
    let condition = prop_oneof![
        3 => Just(Condition::Absent),
        3 => Just(Condition::Present),
        1 => value().prop_map(Condition::Equals),
        2 => key().prop_map(Condition::EmptyRange),
        1 => (-2..3_i64).prop_map(|by| Condition::Room(vec![Growth { places: Cow::Borrowed(&[0]), bound: 1, by }])),
    ];
    (any_place(), key(), condition)
}

fn change() -> impl Strategy<Value = (Place, Change)> {
    let change = prop_oneof![
        6 => (key(), value()).prop_map(|(key, value)| Change::Put(key, value)),
        3 => key().prop_map(Change::Delete),
        2 => (key(), key()).prop_map(|(start, end)| Change::DeleteRange(start..end)),
        2 => (key(), vec(any::<i64>(), 0..3)).prop_map(|(key, deltas)| Change::Add(key, deltas)),
    ];
    prop_oneof![
        8 => (any_place(), change),
        1 => (place(Table::Journal), value().prop_map(Change::Append)),
        1 => (place(Table::Journal), select(&[0_u64, 1, 2, 5]).prop_map(|n| {
            Change::DeleteRange(Bytes::new()..Bytes::copy_from_slice(&n.to_be_bytes()))
        })),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (vec(condition(), 0..2), vec(change(), 0..6))
}

fn batch(case: u64, (conditions, changes): Step) -> Batch {
    let mut batch = Batch::new();
    for (place, key, condition) in conditions {
        batch.require(place.of_case(case), key, condition);
    }
    for (place, change) in changes {
        let ns = place.of_case(case);
        match change {
            Change::Put(key, value) => batch.put(ns, key, value),
            Change::Delete(key) => batch.delete(ns, key),
            Change::DeleteRange(range) => batch.delete_range(ns, range),
            Change::Add(key, deltas) => batch.add(ns, key, deltas),
            Change::Append(value) => batch.append(ns, value),
        };
    }
    batch
}

/// One store for all cases, which differ in their buckets: opening is what takes time.
fn shared() -> &'static (TempDir, RocksStore, Runtime) {
    static SHARED: OnceLock<(TempDir, RocksStore, Runtime)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        (folder, store, tokio::runtime::Builder::new_current_thread().build().unwrap())
    })
}

async fn scan(store: &dyn MetadataStore, ns: Namespace, range: Range<Bytes>, limit: usize) -> (Pairs, Pairs) {
    let forward = store.scan(ns, range.clone(), Direction::Forward, limit).await.unwrap();
    let reverse = store.scan(ns, range, Direction::Reverse, limit).await.unwrap();
    (forward, reverse)
}

/// Both stores hold what the model holds.
async fn compare(case: u64, model: &Model, stores: [&dyn MetadataStore; 2], range: Range<Bytes>, limit: usize) {
    let everything = Bytes::new()..Bytes::from_static(&[0xff; 9]);
    for table in [Table::Current, Table::Bodies, Table::Journal] {
        for bucket in 0..2 {
            let ns = Place(table, bucket).of_case(case);
            for (range, limit) in [(&everything, usize::MAX), (&range, limit)] {
                let all = model.range(ns, range);
                let forward: Pairs = all.iter().take(limit).cloned().collect();
                let reverse: Pairs = all.iter().rev().take(limit).cloned().collect();
                for store in stores {
                    let found = scan(store, ns, range.clone(), limit).await;
                    assert_eq!(found, (forward.clone(), reverse.clone()), "{store:?} {ns:?} {range:?} {limit}");
                }
            }
            for (key, value) in model.range(ns, &everything) {
                for store in stores {
                    assert_eq!(store.get(ns, &key).await.unwrap().as_ref(), Some(&value));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn rocksdb_memory_and_a_naive_model_agree(
        groups in vec(vec(step(), 1..5), 1..8),
        range in (key(), key()),
        limit in 0_usize..4,
        flush_after in 0_usize..16,
    ) {
        static CASE: AtomicU64 = AtomicU64::new(1);
        let case = CASE.fetch_add(1, Ordering::Relaxed);
        let (_, rocks, runtime) = shared();
        let (mut model, memory) = (Model::default(), MemoryStore::new());
        runtime.block_on(async {
            for (number, group) in groups.into_iter().enumerate() {
                let batches: Vec<_> = group.into_iter().map(|step| batch(case, step)).collect();
                let expected: Vec<_> = batches.iter().map(|batch| model.commit(batch)).collect();
                // Queued in this order before the first is committed, so most share a group.
                let found = join_all(batches.iter().map(|batch| rocks.commit(batch.clone()))).await;
                assert_eq!(found.iter().map(outcome).collect::<Vec<_>>(), expected);
                for (batch, expected) in batches.into_iter().zip(expected) {
                    assert_eq!(outcome(&memory.commit(batch).await), expected);
                }
                if number == flush_after {
                    for table in Table::ALL {
                        rocks.db.flush_cf(rocks.db.cf_handle(table.name()).unwrap()).unwrap();
                    }
                }
                compare(case, &model, [rocks, &memory], range.0.clone()..range.1.clone(), limit).await;
            }
        });
    }
}
