//! What a batch may require.

use std::borrow::Cow;

use super::{Store, bucket, bytes, commit, done, everything, fill, get, keys, scan};
use crate::metadata::{Batch, Condition, Growth, MetadataError, Namespace, Table};

/// Whether a condition held for a batch that writes nothing else.
async fn holds(store: &Store, ns: Namespace, key: &str, condition: Condition) -> bool {
    let outcome = commit(store, |batch| {
        batch.require(ns, bytes(key), condition);
    })
    .await;
    match outcome {
        Ok(()) => true,
        Err(error) => {
            assert!(matches!(error, MetadataError::Conflict(0)), "{error:?}");
            false
        }
    }
}

pub(super) async fn absent_present_and_equals_look_at_the_key(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["a", "gone"]).await;
    done(&store, |batch| {
        batch.delete(ns, bytes("gone"));
    })
    .await;
    assert!(holds(&store, ns, "a", Condition::Present).await);
    assert!(!holds(&store, ns, "a", Condition::Absent).await);
    assert!(holds(&store, ns, "a", Condition::Equals(bytes("a"))).await);
    for other in ["", "b", "aa"] {
        assert!(!holds(&store, ns, "a", Condition::Equals(bytes(other))).await, "{other:?}");
    }
    for missing in ["gone", "never", ""] {
        assert!(!holds(&store, ns, missing, Condition::Present).await);
        assert!(holds(&store, ns, missing, Condition::Absent).await);
        assert!(!holds(&store, ns, missing, Condition::Equals(bytes(""))).await, "absent is not empty");
    }
    assert!(holds(&store, bucket(2), "a", Condition::Absent).await, "another bucket's key is not this one's");
}

pub(super) async fn counters_have_room_or_not(store: Store) {
    let ns = bucket(1);
    done(&store, |batch| {
        batch.add(ns, bytes("n"), vec![4, 1, 10]);
    })
    .await;
    let room = |by| Condition::Room(vec![Growth { places: Cow::Borrowed(&[0, 1]), bound: 2, by }]);
    assert!(holds(&store, ns, "n", room(5)).await);
    assert!(!holds(&store, ns, "n", room(6)).await);
    assert!(!holds(&store, ns, "missing", room(0)).await, "what is not there has no room");
    // A batch of a group sees what those before it added.
    let adding = |by| {
        let mut batch = Batch::new();
        batch.require(ns, bytes("n"), room(by)).add(ns, bytes("n"), vec![by]);
        store.commit(batch)
    };
    let (first, second, third) = futures_util::join!(adding(3), adding(3), adding(3));
    let accepted = [first, second, third].into_iter().flatten().count();
    assert_eq!(accepted, 1);
}

pub(super) async fn a_range_is_empty_or_not(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["b", "d"]).await;
    fill(&store, bucket(0), &["c"]).await;
    fill(&store, bucket(2), &["c"]).await;
    let cases = [
        ("a", "b", true),
        ("a", "b\0", false),
        ("b", "c", false),
        ("b\0", "d", true),
        ("e", "z", true),
        ("c", "a", true),
    ];
    for (start, end, empty) in cases {
        assert_eq!(holds(&store, ns, start, Condition::EmptyRange(bytes(end))).await, empty, "{start:?}..{end:?}");
    }
    done(&store, |batch| {
        batch.delete(ns, bytes("b")).delete_range(ns, bytes("d")..bytes("e"));
    })
    .await;
    assert!(holds(&store, ns, "", Condition::EmptyRange(everything().end)).await);
}

pub(super) async fn the_first_condition_that_fails_is_named(store: Store) {
    let ns = bucket(1);
    fill(&store, ns, &["a"]).await;
    let outcome = commit(&store, |batch| {
        batch.require(ns, bytes("a"), Condition::Present).require(ns, bytes("b"), Condition::Absent);
        batch.require(ns, bytes("a"), Condition::Absent).require(ns, bytes("b"), Condition::Present);
    })
    .await;
    assert!(matches!(outcome, Err(MetadataError::Conflict(2))), "{outcome:?}");
}

pub(super) async fn a_conflict_changes_nothing_anywhere(store: Store) {
    let journal = Namespace::global(Table::Journal);
    fill(&store, bucket(1), &["a"]).await;
    let mut batch = Batch::new();
    batch.unchanged(bucket(1), bytes("a"), None).put(bucket(1), bytes("b"), bytes("b")).delete(bucket(1), bytes("a"));
    batch.delete_range(bucket(1), everything()).add(bucket(2), bytes("n"), vec![1]).append(journal, bytes("entry"));
    assert!(matches!(store.commit(batch).await, Err(MetadataError::Conflict(0))));
    assert_eq!(keys(&store, bucket(1)).await, ["a"]);
    assert_eq!(get(&store, bucket(2), "n").await, None);
    done(&store, |batch| {
        batch.append(journal, bytes("first"));
    })
    .await;
    let pairs = scan(&store, journal, everything()).await;
    assert_eq!(pairs.iter().map(|(key, _)| key.as_ref()).collect::<Vec<_>>(), [1_u64.to_be_bytes()]);
}

pub(super) async fn conditions_see_the_state_before_the_batch(store: Store) {
    let ns = bucket(1);
    let mut batch = Batch::new();
    batch.put(ns, bytes("a"), bytes("1")).require(ns, bytes("a"), Condition::Absent);
    batch.require(ns, bytes(""), Condition::EmptyRange(everything().end));
    store.commit(batch.clone()).await.expect("its own put does not stand in its way");
    assert!(matches!(store.commit(batch).await, Err(MetadataError::Conflict(0))));
}
