//! Order, bounds, limits, name spaces and snapshots.

use std::sync::Arc;

use bytes::Bytes;

use super::{Store, bucket, bytes, done, everything, fill, get, keys, names, range, scan, view_keys};
use crate::{
    metadata::{Direction, Jump, Namespace, Table},
    types::BucketId,
};

pub(super) async fn a_scan_is_in_byte_order_and_within_its_bounds(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["b", "a", "c/", "c", "B", "é", "ba"]).await;
    assert_eq!(keys(&store, ns).await, ["B", "a", "b", "ba", "c", "c/", "é"]);
    assert_eq!(names(&scan(&store, ns, range("a", "c")).await), ["a", "b", "ba"]);
    assert_eq!(names(&scan(&store, ns, range("b", "b\0")).await), ["b"]);
}

pub(super) async fn a_scan_in_reverse_starts_at_the_end_of_its_range(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["a", "b", "c", "d"]).await;
    let pairs = store.scan(ns, range("a", "d"), Direction::Reverse, 2).await.expect("a scan");
    assert_eq!(names(&pairs), ["c", "b"]);
    let pairs = store.scan(ns, range("b", "zz"), Direction::Reverse, 10).await.expect("a scan");
    assert_eq!(names(&pairs), ["d", "c", "b"]);
}

pub(super) async fn a_scan_is_short_only_at_the_end_of_its_range(store: Store) {
    let ns = bucket(1);
    let all: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    fill(&store, ns, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for limit in [0, 1, 50, 99, 100, 101, usize::MAX] {
        for direction in [Direction::Forward, Direction::Reverse] {
            let pairs = store.scan(ns, everything(), direction, limit).await.expect("a scan");
            assert_eq!(pairs.len(), limit.min(100), "limit {limit} {direction:?}");
        }
    }
}

pub(super) async fn an_empty_or_backward_range_has_no_pairs(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["a", "b", "c"]).await;
    for (start, end) in [("b", "b"), ("c", "a"), ("a", ""), ("", "")] {
        for direction in [Direction::Forward, Direction::Reverse] {
            let pairs = store.scan(ns, range(start, end), direction, 9).await.expect("a scan");
            assert!(pairs.is_empty(), "{start:?}..{end:?}");
        }
    }
    done(&store, |batch| {
        batch.delete_range(ns, range("c", "a")).delete_range(ns, range("b", "b"));
    })
    .await;
    assert_eq!(keys(&store, ns).await, ["a", "b", "c"]);
}

pub(super) async fn keys_hold_any_byte_and_values_may_be_empty(store: Store) {
    let ns = bucket(1);
    let odd: Vec<Bytes> =
        [&b""[..], b"\0", b"\0\0", b"\0\xff", b"a\0b", b"\xff", b"\xff\xff"].map(Bytes::copy_from_slice).into();
    done(&store, |batch| {
        for key in &odd {
            batch.put(ns, key.clone(), Bytes::new());
        }
    })
    .await;
    let pairs = scan(&store, ns, everything()).await;
    assert_eq!(pairs.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), odd);
    for key in &odd {
        assert_eq!(store.get(ns, key).await.expect("a get"), Some(Bytes::new()), "{key:?}");
    }
    assert_eq!(get(&store, ns, "absent").await, None);
}

pub(super) async fn long_scans_are_complete_both_ways(store: Store) {
    let ns = bucket(1);
    let key = |n: u32| Bytes::copy_from_slice(&n.to_be_bytes());
    for chunk in 0..6_u32 {
        done(&store, |batch| {
            for n in chunk * 1000..(chunk + 1) * 1000 {
                batch.put(ns, key(n), key(!n));
            }
        })
        .await;
    }
    for direction in [Direction::Forward, Direction::Reverse] {
        let pairs = store.scan(ns, key(500)..key(5500), direction, 5000).await.expect("a scan");
        let mut expected: Vec<_> = (500..5500).map(|n| (key(n), key(!n))).collect();
        if direction == Direction::Reverse {
            expected.reverse();
        }
        assert_eq!(pairs, expected);
    }
}

/// Goes on behind all keys with the same first byte, but steps through those of `m`.
#[derive(Debug)]
struct FirstBytes;

impl Jump for FirstBytes {
    fn behind(&self, key: &[u8]) -> Option<Bytes> {
        let first = *key.first()?;
        (first != b'm').then(|| Bytes::copy_from_slice(&[first + 1]))
    }
}

pub(super) async fn a_jumping_scan_visits_what_its_jump_names_and_nothing_else(store: Store) {
    let ns = bucket(1);
    // Groups of one, of a few and of many keys, for a store may step or seek.
    let all: Vec<String> =
        ('a'..='z').flat_map(|c| (0..u32::from(c) % 7 * 3).map(move |n| format!("{c}{n:02}"))).collect();
    fill(&store, ns, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    fill(&store, bucket(2), &["a0", "zz"]).await;
    let expected = |from: &str, to: &str| -> Vec<String> {
        let mut last = None;
        let mut seen = all.iter().filter(|key| key.as_str() >= from && key.as_str() < to).cloned().collect::<Vec<_>>();
        seen.retain(|key| key.starts_with('m') || last.replace(key.as_bytes()[0]) != Some(key.as_bytes()[0]));
        seen
    };
    for (from, to) in [("", "~"), ("b", "y"), ("m01", "m04"), ("c02", "d"), ("q", "q"), ("z", "a")] {
        let wanted = expected(from, to);
        for limit in [0, 1, 5, usize::MAX] {
            let pairs = store.scan_jumping(ns, range(from, to), Arc::new(FirstBytes), limit).await.expect("a scan");
            assert_eq!(names(&pairs), wanted[..limit.min(wanted.len())], "{from:?}..{to:?} limit {limit}");
        }
    }
}

pub(super) async fn large_values_come_back_whole(store: Store) {
    let ns = Namespace::of(Table::Bodies, BucketId::new(1));
    let body = |n: usize| Bytes::from((0..=250_u8).cycle().take(n).collect::<Vec<u8>>());
    let sizes = [0, 1, 2047, 2048, 4600, 32_767, 65_536, 1_000_000];
    for size in sizes {
        done(&store, |batch| {
            batch.put(ns, bytes(&format!("{size:08}")), body(size));
        })
        .await;
    }
    for size in sizes {
        assert!(get(&store, ns, &format!("{size:08}")).await == Some(body(size)), "size {size}");
    }
    let pairs = scan(&store, ns, everything()).await;
    assert_eq!(pairs.iter().map(|(_, value)| value.len()).collect::<Vec<_>>(), sizes);
}

pub(super) async fn buckets_and_tables_do_not_leak_into_each_other(store: Store) {
    let neighbours = [0, 1, 2, 0xff, 0x100, 0x1_00ff, u64::MAX - 1, u64::MAX];
    for id in neighbours {
        for table in [Table::Current, Table::Versions] {
            let ns = Namespace::of(table, BucketId::new(id));
            done(&store, |batch| {
                batch.put(ns, Bytes::new(), bytes("first"));
                batch.put(ns, Bytes::from_static(&[0xff; 9]), bytes("last"));
                batch.put(ns, bytes("key"), bytes(&format!("{id} {table:?}")));
            })
            .await;
        }
    }
    fill(&store, Namespace::global(Table::Buckets), &["key"]).await;
    done(&store, |batch| {
        batch.delete_range(bucket(0xff), everything());
    })
    .await;
    for id in neighbours {
        for table in [Table::Current, Table::Versions] {
            let ns = Namespace::of(table, BucketId::new(id));
            let emptied = id == 0xff && table == Table::Current;
            let pairs = scan(&store, ns, everything()).await;
            assert_eq!(pairs.len(), if emptied { 0 } else { 3 }, "{ns:?}");
            let value = (!emptied).then(|| bytes(&format!("{id} {table:?}")));
            assert_eq!(get(&store, ns, "key").await, value, "{ns:?}");
            let back = store.scan(ns, everything(), Direction::Reverse, 10).await.expect("a scan");
            assert_eq!(back.len(), pairs.len(), "{ns:?}");
        }
    }
    assert_eq!(keys(&store, Namespace::global(Table::Buckets)).await, ["key"]);
}

pub(super) async fn a_snapshot_does_not_see_later_commits(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["a", "b", "c"]).await;
    let view = store.snapshot().await.expect("a snapshot");
    done(&store, |batch| {
        batch.delete(ns, bytes("a")).put(ns, bytes("b"), bytes("new")).put(ns, bytes("d"), bytes("d"));
        batch.put(bucket(2), bytes("x"), bytes("x"));
    })
    .await;
    let later = store.snapshot().await.expect("a snapshot");
    done(&store, |batch| {
        batch.delete_range(ns, everything());
    })
    .await;
    assert_eq!(view_keys(&view, ns).await, ["a", "b", "c"]);
    let pairs = view.scan(ns, range("b", "c"), Direction::Forward, 1).await.expect("a scan");
    assert_eq!(pairs, [(bytes("b"), bytes("b"))]);
    let reverse = view.scan(ns, everything(), Direction::Reverse, 2).await.expect("a scan");
    assert_eq!(names(&reverse), ["c", "b"]);
    assert!(view_keys(&view, bucket(2)).await.is_empty());
    assert_eq!(view_keys(&later, ns).await, ["b", "c", "d"]);
    assert!(keys(&store, ns).await.is_empty());
    drop(store);
    assert_eq!(view_keys(&later, ns).await, ["b", "c", "d"], "a view outlives its store");
}

pub(super) async fn a_snapshot_sees_what_was_acknowledged_before_it(store: Store) {
    let ns = bucket(1);
    for n in 0..50 {
        fill(&store, ns, &[&format!("{n:02}")]).await;
        let view = store.snapshot().await.expect("a snapshot");
        assert_eq!(view_keys(&view, ns).await.len(), n + 1);
    }
}
