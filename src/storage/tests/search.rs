//! Searches: bounded pages that together find what there is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::world::World;
use crate::{
    metadata::{Batch, Namespace, Table},
    storage::{
        Bucket,
        listing::{Entry, ListQuery, ListStart, SearchLimit},
        records::{ObjectRecord, Record, Versioning},
    },
};

const PATIENT: Duration = Duration::from_mins(10);

/// Puts rows of objects without bytes, many in a batch.
async fn fill(world: &World, bucket: &Bucket, keys: impl Iterator<Item = String>) {
    let ns = Namespace::of(Table::Current, bucket.id);
    let mut batch = Batch::new();
    for (number, key) in keys.enumerate() {
        let record = ObjectRecord { stamp: 1, size: number as u64, etag: "e".to_owned(), ..ObjectRecord::default() };
        batch.put(ns, key.into_bytes(), record.to_bytes());
        if batch.writes.len() == 10_000 {
            world.metadata.commit(std::mem::take(&mut batch)).await.unwrap();
        }
    }
    world.metadata.commit(batch).await.unwrap();
}

/// All pages of a search: what was found, how many pages, and the most records that one looked at.
async fn walk(
    world: &World,
    bucket: &Bucket,
    (delimiter, limit, records): (&str, usize, usize),
    pick: impl Fn(&str, &ObjectRecord) -> bool + Sync,
) -> (Vec<String>, usize, usize) {
    let (mut found, mut pages, mut most) = (Vec::new(), 0, 0);
    let mut start = ListStart::Beginning;
    loop {
        let looked = AtomicUsize::new(0);
        let counting = |key: &str, record: &ObjectRecord| {
            looked.fetch_add(1, Ordering::Relaxed);
            pick(key, record)
        };
        let query = ListQuery { delimiter: delimiter.to_owned(), limit, start, ..ListQuery::default() };
        let page = world.storage.search_objects(bucket, &query, &counting, SearchLimit { records, time: PATIENT });
        let page = page.await.unwrap();
        pages += 1;
        most = most.max(looked.load(Ordering::Relaxed));
        assert!(page.entries.len() <= limit);
        found.extend(page.entries.into_iter().map(|entry| match entry {
            Entry::Item(item) => item.key,
            Entry::Prefix(prefix) => prefix,
        }));
        match page.next {
            Some(next) => start = next,
            None => return (found, pages, most),
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_find_what_one_page_finds_and_never_look_at_more_than_they_may() {
    let world = World::new();
    let bucket = world.bucket("searched", Versioning::Unversioned).await;
    let keys = (0..300).map(|number| match number % 3 {
        0 => format!("a/{number:03}"),
        1 => format!("b/{number:03}/x"),
        _ => format!("c{number:03}"),
    });
    fill(&world, &bucket, keys.chain(["a/".to_owned(), "b/".to_owned()])).await;
    for every in [1, 7, 50, 299, 1000] {
        let pick = |_: &str, record: &ObjectRecord| record.size % every == every - 1;
        for delimiter in ["", "/"] {
            let (all, pages, _) = walk(&world, &bucket, (delimiter, 1000, 1_000_000), pick).await;
            assert_eq!(pages, 1);
            let mut unique = all.clone();
            unique.dedup();
            assert_eq!(unique, all, "nothing twice");
            for (limit, records) in [(1, 1_000_000), (3, 10), (1000, 1), (1000, 17), (2, 128)] {
                let (found, _, most) = walk(&world, &bucket, (delimiter, limit, records), pick).await;
                assert_eq!(found, all, "every {every}, delimiter {delimiter:?}, {limit} of {records}");
                assert!(most <= records + 1, "{most} looked at of {records}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_ends_when_its_time_is_over() {
    let world = World::new();
    let bucket = world.bucket("slow", Versioning::Unversioned).await;
    fill(&world, &bucket, (0..1000).map(|number| format!("{number:04}"))).await;
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let limit = SearchLimit { records: usize::MAX, time: Duration::ZERO };
    let page = world.storage.search_objects(&bucket, &query, &|_, _| false, limit).await.unwrap();
    assert_eq!(page.next, Some(ListStart::AfterKey("0000".to_owned())), "one look, and on from there");
}

/// A walk of many batches: the size of a batch grows to a bound and not beyond.
#[tokio::test]
async fn a_page_looks_at_all_the_records_it_may_before_it_ends() {
    let world = World::new();
    let bucket = world.bucket("long", Versioning::Unversioned).await;
    fill(&world, &bucket, (0..25_000).map(|number| format!("{number:07}"))).await;
    let last = |_: &str, record: &ObjectRecord| record.size == 24_999;
    let (found, pages, most) = walk(&world, &bucket, ("", 1000, SearchLimit::default().records), last).await;
    assert_eq!((found.len(), pages, most), (1, 2, 20_000));
}

/// A million objects, of which a few are wanted: every page is bounded in work and time.
#[tokio::test]
#[ignore = "a soak: a million rows"]
async fn a_million_objects_are_searched_in_bounded_pages() {
    let world = Arc::new(World::new());
    let bucket = world.bucket("huge", Versioning::Unversioned).await;
    fill(&world, &bucket, (0..1_000_000).map(|number| format!("{number:07}"))).await;
    let limit = SearchLimit::default();
    let began = Instant::now();
    let rare = |_: &str, record: &ObjectRecord| record.size % 100_000 == 99_999;
    let (found, pages, most) = walk(&world, &bucket, ("", 1000, limit.records), rare).await;
    assert_eq!((found.len(), pages), (10, 50));
    assert!(most <= limit.records);
    assert!(began.elapsed() < limit.time * u32::try_from(pages).unwrap(), "{:?}", began.elapsed());
}
