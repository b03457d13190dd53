//! Many commits at once: as if one after the other.

use std::{collections::BTreeSet, task::Poll};

use bytes::Bytes;
use futures_util::future::{join_all, poll_fn};

use super::{Store, bucket, bytes, commit, done, everything, get, keys, scan};
use crate::metadata::{Batch, Condition, Direction, MetadataError, Namespace, Table, counters};

const WRITERS: usize = 32;

/// How many of the outcomes are successes; every other must be a conflict.
fn winners(outcomes: &[Result<(), MetadataError>]) -> usize {
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(MetadataError::Conflict(0)))), "{outcomes:?}");
    outcomes.iter().filter(|outcome| outcome.is_ok()).count()
}

pub(super) async fn one_of_many_racing_creators_wins(store: Store) {
    for round in 0..8 {
        let key = format!("key {round}");
        let race = (0..WRITERS).map(|writer| {
            commit(&store, {
                let key = bytes(&key);
                move |batch| {
                    batch.unchanged(bucket(1), key.clone(), None).put(bucket(1), key, bytes(&writer.to_string()));
                }
            })
        });
        let outcomes = join_all(race).await;
        assert_eq!(winners(&outcomes), 1);
        let winner = outcomes.iter().position(Result::is_ok).expect("a winner");
        assert_eq!(get(&store, bucket(1), &key).await, Some(bytes(&winner.to_string())));
    }
}

pub(super) async fn one_of_many_racing_updaters_wins(store: Store) {
    let ns = bucket(1);
    let mut current = bytes("start");
    done(&store, |batch| {
        batch.put(ns, bytes("key"), current.clone());
    })
    .await;
    for round in 0..8 {
        let race = (0..WRITERS).map(|writer| {
            let mut batch = Batch::new();
            batch.unchanged(ns, bytes("key"), Some(&current));
            batch.put(ns, bytes("key"), bytes(&format!("{round} {writer}")));
            store.commit(batch)
        });
        assert_eq!(winners(&join_all(race).await), 1);
        let now = get(&store, ns, "key").await.expect("the key stays");
        assert_ne!(now, current);
        current = now;
    }
}

/// The bucket record and the emptiness of its keys decide together: no object is left in a bucket that is gone.
pub(super) async fn a_bucket_is_deleted_or_filled_but_not_both(store: Store) {
    let buckets = Namespace::global(Table::Buckets);
    for id in 0..16_u64 {
        let name = bytes(&format!("bucket {id}"));
        done(&store, |batch| {
            batch.put(buckets, name.clone(), bytes("record"));
        })
        .await;
        let mut create = Batch::new();
        create.require(buckets, name.clone(), Condition::Present).put(bucket(id), bytes("key"), bytes("value"));
        let mut delete = Batch::new();
        delete.require(bucket(id), Bytes::new(), Condition::EmptyRange(everything().end)).delete(buckets, name.clone());
        let order = if id % 2 == 0 { [create, delete] } else { [delete, create] };
        assert_eq!(winners(&join_all(order.map(|batch| store.commit(batch))).await), 1);
        let exists = store.get(buckets, &name).await.expect("a get").is_some();
        assert_eq!(!keys(&store, bucket(id)).await.is_empty(), exists);
    }
}

pub(super) async fn concurrent_additions_are_all_counted(store: Store) {
    let ns = Namespace::of(Table::Usage, crate::types::BucketId::new(1));
    let writers = (0..WRITERS).map(|writer| {
        let store = &store;
        async move {
            let amount = i64::try_from(writer).expect("a small number");
            for _ in 0..25 {
                done(store, |batch| {
                    batch.add(ns, bytes("usage"), vec![1, amount]);
                })
                .await;
            }
        }
    });
    join_all(writers).await;
    let value = get(&store, ns, "usage").await.expect("the counters are there");
    let bytes_added: i64 = (0..32).map(|amount| amount * 25).sum();
    assert_eq!(counters::decode(&value).expect("counters"), [32 * 25, bytes_added]);
}

pub(super) async fn concurrent_appends_leave_no_gap_and_no_duplicate(store: Store) {
    let journal = Namespace::global(Table::Journal);
    let writers = (0..WRITERS).map(|writer| {
        let store = &store;
        async move {
            for n in 0..10 {
                let entry = bytes(&format!("{writer:02} {n:02}"));
                // Every third commit fails and must not use up a number.
                let condition = if n % 3 == 2 { Condition::Present } else { Condition::Absent };
                let outcome = commit(store, |batch| {
                    batch.require(bucket(1), bytes("never"), condition).append(journal, entry);
                })
                .await;
                assert_eq!(outcome.is_ok(), n % 3 != 2);
            }
        }
    });
    join_all(writers).await;
    let pairs = scan(&store, journal, everything()).await;
    let numbers: Vec<_> = pairs.iter().map(|(key, _)| key.clone()).collect();
    let expected: Vec<_> = (1..=pairs.len() as u64).map(|n| Bytes::copy_from_slice(&n.to_be_bytes())).collect();
    assert_eq!(numbers, expected);
    let entries: Vec<_> = pairs.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(entries.iter().collect::<BTreeSet<_>>().len(), WRITERS * 7);
    for writer in 0..WRITERS {
        let own: Vec<_> = entries.iter().filter(|entry| entry.starts_with(format!("{writer:02}").as_bytes())).collect();
        assert!(own.is_sorted(), "a writer that waits for each commit sees its entries in order");
    }
}

pub(super) async fn readers_never_see_half_a_batch(store: Store) {
    let ns = bucket(1);
    let write = async {
        for round in 0..200_u32 {
            done(&store, |batch| {
                for key in ["a", "b", "c", "d"] {
                    batch.put(ns, bytes(key), bytes(&round.to_string()));
                }
            })
            .await;
        }
    };
    let read = async {
        let mut last = 0;
        while last < 199 {
            let pairs = scan(&store, ns, everything()).await;
            let view = store.snapshot().await.expect("a snapshot");
            let reverse = view.scan(ns, everything(), Direction::Reverse, 10).await.expect("a scan");
            for pairs in [pairs, reverse] {
                let rounds: BTreeSet<_> = pairs.iter().map(|(_, value)| value.clone()).collect();
                assert!(matches!((pairs.len(), rounds.len()), (0, 0) | (4, 1)), "{pairs:?}");
                let round = rounds.first().map_or(0, |round| String::from_utf8_lossy(round).parse().expect("a number"));
                assert!(round >= last, "time went backwards");
                last = round;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read);
}

pub(super) async fn a_dropped_commit_happens_wholly_or_not_at_all(store: Store) {
    let key = |n: i32| bytes(&format!("{n:02}"));
    for n in 0..20 {
        let mut batch = Batch::new();
        batch.put(bucket(1), key(n), bytes("1")).put(bucket(2), key(n), bytes("1"));
        let mut future = store.commit(batch);
        // Polled once at most: then it is dropped while it waits, or before it began.
        if n % 2 == 0 {
            poll_fn(|cx| {
                drop(future.as_mut().poll(cx));
                Poll::Ready(())
            })
            .await;
        }
        drop(future);
    }
    // Commits are in order: once this one is there, nothing of those before is still under way.
    done(&store, |batch| {
        batch.put(bucket(3), bytes("last"), bytes("1"));
    })
    .await;
    assert_eq!(keys(&store, bucket(1)).await, keys(&store, bucket(2)).await);
    for n in (1..20).step_by(2) {
        assert_eq!(store.get(bucket(1), &key(n)).await.expect("a get"), None, "a future that never ran did nothing");
    }
}
