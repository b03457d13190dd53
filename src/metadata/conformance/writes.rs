//! Batches: atomic, ordered, across name spaces; counters and sequences.

use bytes::Bytes;

use super::{Store, bucket, bytes, commit, done, everything, fill, get, keys, range, scan};
use crate::metadata::{Batch, Durability, MetadataError, Namespace, Table, counters};

const JOURNAL: Namespace = Namespace::global(Table::Journal);

fn sequence(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

pub(super) async fn a_batch_spans_name_spaces(store: Store) {
    let spaces = [bucket(1), bucket(2), Namespace::global(Table::Buckets), Namespace::global(Table::Garbage)];
    done(&store, |batch| {
        for ns in spaces {
            batch.put(ns, bytes("key"), bytes(&format!("{ns:?}")));
        }
    })
    .await;
    for ns in spaces {
        assert_eq!(get(&store, ns, "key").await, Some(bytes(&format!("{ns:?}"))));
    }
}

pub(super) async fn writes_of_a_batch_apply_in_order(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["a", "b", "c", "d"]).await;
    done(&store, |batch| {
        batch.put(ns, bytes("b"), bytes("1")).put(ns, bytes("b"), bytes("2"));
        batch.put(ns, bytes("ba"), bytes("doomed")).delete_range(ns, range("ba", "d")).put(ns, bytes("c"), bytes("3"));
        batch.delete(ns, bytes("d")).put(ns, bytes("d"), bytes("4"));
        batch.put(ns, bytes("a"), bytes("5")).delete(ns, bytes("a"));
        batch.put(ns, bytes("n"), counters::encode(&[40])).add(ns, bytes("n"), vec![2]);
        batch.add(ns, bytes("m"), vec![7]).delete(ns, bytes("m")).add(ns, bytes("m"), vec![1]);
    })
    .await;
    let expected = [("b", bytes("2")), ("c", bytes("3")), ("d", bytes("4")), ("m", counters::encode(&[1]))];
    let mut expected: Vec<_> = expected.into_iter().map(|(key, value)| (bytes(key), value)).collect();
    expected.push((bytes("n"), counters::encode(&[42])));
    assert_eq!(scan(&store, ns, everything()).await, expected);
}

pub(super) async fn deleting_what_is_absent_is_fine(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["a"]).await;
    done(&store, |batch| {
        batch.delete(ns, bytes("x")).delete(ns, bytes("")).delete_range(ns, range("x", "z"));
    })
    .await;
    assert_eq!(keys(&store, ns).await, ["a"]);
}

pub(super) async fn a_range_delete_removes_exactly_its_range(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["a", "b", "ba", "c", "c\0", "d"]).await;
    done(&store, |batch| {
        batch.delete_range(ns, range("b", "c"));
    })
    .await;
    assert_eq!(keys(&store, ns).await, ["a", "c", "c\0", "d"]);
    fill(&store, ns, &["bb"]).await;
    assert_eq!(keys(&store, ns).await, ["a", "bb", "c", "c\0", "d"], "a removed range can be filled again");
    assert_eq!(get(&store, ns, "b").await, None);
}

pub(super) async fn counters_start_at_zero_and_add_up(store: Store) {
    let ns = bucket(1);
    for deltas in [vec![1, 100], vec![1, -30], vec![-2], vec![0, 0, i64::MIN]] {
        done(&store, |batch| {
            batch.add(ns, bytes("n"), deltas);
        })
        .await;
    }
    let value = get(&store, ns, "n").await.expect("the counters are there");
    assert_eq!(counters::decode(&value).expect("counters"), [0, 70, i64::MIN]);
    done(&store, |batch| {
        batch.delete_range(ns, everything());
    })
    .await;
    done(&store, |batch| {
        batch.add(ns, bytes("n"), vec![5]);
    })
    .await;
    let value = get(&store, ns, "n").await.expect("the counters are there");
    assert_eq!(counters::decode(&value).expect("counters"), [5], "deleted counters start again");
}

pub(super) async fn a_batch_with_a_bad_counter_changes_nothing(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["a", "b", "odd"]).await;
    done(&store, |batch| {
        batch.append(JOURNAL, bytes("one"));
    })
    .await;
    let bad = commit(&store, |batch| {
        batch.append(JOURNAL, bytes("lost")).put(ns, bytes("a"), bytes("new")).delete(ns, bytes("b"));
        batch.put(ns, bytes("c"), bytes("c")).delete_range(ns, range("a", "c")).put(ns, bytes("b"), bytes("x"));
        batch.add(ns, bytes("odd"), vec![1]);
    })
    .await;
    assert!(matches!(bad, Err(MetadataError::Corrupt(_))), "{bad:?}");
    let expected: Vec<_> = ["a", "b", "odd"].map(|key| (bytes(key), bytes(key))).into();
    assert_eq!(scan(&store, ns, everything()).await, expected);
    done(&store, |batch| {
        batch.append(JOURNAL, bytes("two"));
    })
    .await;
    let expected = [(sequence(1), bytes("one")), (sequence(2), bytes("two"))];
    assert_eq!(scan(&store, JOURNAL, everything()).await, expected);
}

pub(super) async fn sequence_numbers_are_dense_and_in_order(store: Store) {
    for n in 0..20_u8 {
        done(&store, |batch| {
            batch.append(JOURNAL, vec![n, 0]).append(JOURNAL, vec![n, 1]);
            batch.append(Namespace::global(Table::Garbage), vec![n]);
        })
        .await;
    }
    let journal = scan(&store, JOURNAL, everything()).await;
    let expected: Vec<_> = (0..40_u8).map(|i| (sequence(u64::from(i) + 1), Bytes::from(vec![i / 2, i % 2]))).collect();
    assert_eq!(journal, expected);
    let garbage = scan(&store, Namespace::global(Table::Garbage), everything()).await;
    let expected: Vec<_> = (0..20_u8).map(|n| (sequence(u64::from(n) + 1), Bytes::from(vec![n]))).collect();
    assert_eq!(garbage, expected, "each name space counts for itself");
}

async fn append(store: &Store) {
    done(store, |batch| {
        batch.append(JOURNAL, bytes("entry"));
    })
    .await;
}

pub(super) async fn sequence_numbers_are_never_given_twice(store: Store) {
    for _ in 0..3 {
        append(&store).await;
    }
    done(&store, |batch| {
        batch.delete(JOURNAL, sequence(3)).delete_range(JOURNAL, sequence(0)..sequence(3));
    })
    .await;
    assert!(scan(&store, JOURNAL, everything()).await.is_empty());
    append(&store).await;
    assert_eq!(scan(&store, JOURNAL, everything()).await, [(sequence(4), bytes("entry"))]);
}

pub(super) async fn a_buffered_batch_is_seen_at_once(store: Store) {
    let mut batch = Batch { durability: Durability::Buffered, ..Batch::default() };
    batch.put(bucket(1), bytes("a"), bytes("1"));
    store.commit(batch).await.expect("a commit");
    assert_eq!(get(&store, bucket(1), "a").await, Some(bytes("1")));
}

pub(super) async fn a_closed_store_refuses_commits(store: Store) {
    fill(&store, bucket(1), &["a"]).await;
    assert!(store.is_writable());
    store.close().await.expect("a close");
    assert!(!store.is_writable());
    let late = commit(&store, |batch| {
        batch.put(bucket(1), bytes("b"), bytes("b"));
    })
    .await;
    assert!(matches!(late, Err(MetadataError::Unavailable(_))), "{late:?}");
    store.close().await.expect("closing twice is fine");
}
