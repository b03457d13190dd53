//! What every [`MetadataStore`] must do. Each implementation's tests call [`run`]; each case is one rule.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "test support: a broken rule ends the test")]

mod concurrency;
mod conditions;
mod reads;
mod writes;

use std::{future::Future, ops::Range, pin::Pin, sync::Arc};

use bytes::Bytes;

use super::{Batch, Direction, MetadataError, MetadataStore, MetadataView, Namespace, Pairs, Table};
use crate::types::BucketId;

type Store = Arc<dyn MetadataStore>;
type Case = fn(Store) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A case by its name.
macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), |store| Box::pin($module::$name(store)))),*]
    };
}

/// Every rule.
const CASES: &[(&str, Case)] = cases![
    reads::a_scan_is_in_byte_order_and_within_its_bounds,
    reads::a_scan_in_reverse_starts_at_the_end_of_its_range,
    reads::a_scan_is_short_only_at_the_end_of_its_range,
    reads::an_empty_or_backward_range_has_no_pairs,
    reads::keys_hold_any_byte_and_values_may_be_empty,
    reads::long_scans_are_complete_both_ways,
    reads::a_jumping_scan_visits_what_its_jump_names_and_nothing_else,
    reads::large_values_come_back_whole,
    reads::buckets_and_tables_do_not_leak_into_each_other,
    reads::a_snapshot_does_not_see_later_commits,
    reads::a_snapshot_sees_what_was_acknowledged_before_it,
    writes::a_batch_spans_name_spaces,
    writes::writes_of_a_batch_apply_in_order,
    writes::deleting_what_is_absent_is_fine,
    writes::a_range_delete_removes_exactly_its_range,
    writes::counters_start_at_zero_and_add_up,
    writes::a_batch_with_a_bad_counter_changes_nothing,
    writes::sequence_numbers_are_dense_and_in_order,
    writes::sequence_numbers_are_never_given_twice,
    writes::a_buffered_batch_is_seen_at_once,
    writes::a_closed_store_refuses_commits,
    conditions::absent_present_and_equals_look_at_the_key,
    conditions::counters_have_room_or_not,
    conditions::a_range_is_empty_or_not,
    conditions::the_first_condition_that_fails_is_named,
    conditions::a_conflict_changes_nothing_anywhere,
    conditions::conditions_see_the_state_before_the_batch,
    concurrency::one_of_many_racing_creators_wins,
    concurrency::one_of_many_racing_updaters_wins,
    concurrency::a_bucket_is_deleted_or_filled_but_not_both,
    concurrency::concurrent_additions_are_all_counted,
    concurrency::concurrent_appends_leave_no_gap_and_no_duplicate,
    concurrency::readers_never_see_half_a_batch,
    concurrency::a_dropped_commit_happens_wholly_or_not_at_all,
];

/// Runs every case, each on a store of its own that `make` returns empty.
///
/// # Panics
/// If a rule is broken; the message names the case.
pub async fn run(make: impl Fn() -> Arc<dyn MetadataStore>) {
    for (name, case) in CASES {
        tracing::info!(case = name, "metadata conformance");
        case(make()).await;
    }
}

fn bucket(id: u64) -> Namespace {
    Namespace::of(Table::Current, BucketId::new(id))
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn range(start: &str, end: &str) -> Range<Bytes> {
    bytes(start)..bytes(end)
}

/// Every key that the cases use lies within.
fn everything() -> Range<Bytes> {
    Bytes::new()..Bytes::from_static(&[0xff; 64])
}

/// What `write` makes of an empty batch, committed.
async fn commit(store: &Store, write: impl FnOnce(&mut Batch)) -> Result<(), MetadataError> {
    let mut batch = Batch::new();
    write(&mut batch);
    store.commit(batch).await
}

/// As [`commit`], for what must succeed.
async fn done(store: &Store, write: impl FnOnce(&mut Batch)) {
    commit(store, write).await.expect("the commit succeeds");
}

/// Sets each key to its own name.
async fn fill(store: &Store, ns: Namespace, keys: &[&str]) {
    done(store, |batch| {
        for key in keys {
            batch.put(ns, bytes(key), bytes(key));
        }
    })
    .await;
}

async fn get(store: &Store, ns: Namespace, key: &str) -> Option<Bytes> {
    store.get(ns, key.as_bytes()).await.expect("the get succeeds")
}

async fn scan(store: &Store, ns: Namespace, range: Range<Bytes>) -> Pairs {
    store.scan(ns, range, Direction::Forward, usize::MAX).await.expect("the scan succeeds")
}

async fn keys(store: &Store, ns: Namespace) -> Vec<String> {
    names(&scan(store, ns, everything()).await)
}

async fn view_keys(view: &Arc<dyn MetadataView>, ns: Namespace) -> Vec<String> {
    let pairs = view.scan(ns, everything(), Direction::Forward, usize::MAX).await;
    names(&pairs.expect("the scan of a view succeeds"))
}

fn names(pairs: &Pairs) -> Vec<String> {
    pairs.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
}
