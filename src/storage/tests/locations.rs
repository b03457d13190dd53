//! What locations hold, and may hold.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    audit::audit,
    world::{World, listing_of},
};
use crate::{
    data::{
        DataBackend,
        faulty::{Fault, FaultyBackend},
        layered::Call,
    },
    location::{Location, LocationTable},
    metadata::{Batch, Direction, Namespace, Table},
    storage::{Bucket, LocationUsage, Orphaned, StorageError, WriteCondition, keys, records::Versioning},
    types::{ObjectKey, VersionSelector},
};

/// The world with these locations over its one backend, and the limits of them.
async fn limited(world: &World, locations: &[(&str, Option<u64>)]) {
    let backend = world.backend.backend();
    let location = |(name, size_limit): &(&str, Option<u64>)| Location {
        size_limit: *size_limit,
        ..Location::new(name, Arc::clone(&backend))
    };
    let table = LocationTable::new(locations.iter().map(location));
    world.storage.limit_locations(&table).await.unwrap();
    world.storage.set_locations(table);
}

fn to(world: &mut World, location: &str) {
    world.location = Arc::clone(world.storage.locations().get(location).unwrap());
}

async fn held(world: &World, location: &str) -> i64 {
    world.storage.usage_of_location(location).await.unwrap().stored_bytes()
}

async fn fits(world: &World, bucket: &Arc<Bucket>, key: &str, bytes: usize) -> bool {
    match world.put_if(bucket, key, &vec![b'x'; bytes], WriteCondition::Always).await {
        Ok(_) => true,
        Err(StorageError::LocationFull(name)) => {
            assert_eq!(*name, *world.location.name);
            false
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_number_of_writers_passes_the_limit_of_a_location() {
    let mut world = World::new();
    limited(&world, &[("here", Some(1000)), ("there", None)]).await;
    to(&mut world, "here");
    let buckets = [
        world.bucket("one", Versioning::Unversioned).await,
        world.bucket("two", Versioning::Enabled).await,
        world.bucket("three", Versioning::Suspended).await,
    ];
    let world = Arc::new(world);
    let mut writers = JoinSet::new();
    for number in 0..64_usize {
        let (world, bucket) = (Arc::clone(&world), Arc::clone(&buckets[number % 3]));
        writers.spawn(async move { fits(&world, &bucket, &format!("key{number}"), 27).await });
    }
    let mut written = 0;
    while let Some(fitted) = writers.join_next().await {
        written += usize::from(fitted.unwrap());
    }
    assert_eq!(written, 1000 / 27);
    assert_eq!(held(&world, "here").await, i64::try_from(written * 27).unwrap());
    world.drain().await;
    audit(&world, &buckets.iter().map(|bucket| &**bucket).collect::<Vec<_>>(), &[]).await;
}

#[tokio::test]
async fn what_shrinks_or_goes_elsewhere_is_never_in_the_way_of_a_limit() {
    let mut world = World::new();
    limited(&world, &[("here", Some(100)), ("there", None)]).await;
    to(&mut world, "here");
    let bucket = world.bucket("bucket", Versioning::Unversioned).await;
    assert!(fits(&world, &bucket, "a", 60).await && fits(&world, &bucket, "b", 40).await);
    assert!(!fits(&world, &bucket, "c", 1).await);
    assert!(fits(&world, &bucket, "a", 60).await && fits(&world, &bucket, "a", 20).await);
    assert!(fits(&world, &bucket, "b", 80).await && !fits(&world, &bucket, "b", 81).await);
    to(&mut world, "there");
    assert!(fits(&world, &bucket, "c", 10_000).await && fits(&world, &bucket, "b", 10_000).await);
    assert_eq!((held(&world, "here").await, held(&world, "there").await), (20, 20_000));
    // A lower limit refuses what grows, and takes nothing away.
    limited(&world, &[("here", Some(10)), ("there", Some(1))]).await;
    to(&mut world, "there");
    assert!(!fits(&world, &bucket, "d", 1).await);
    world.delete(&bucket, "c", None).await.unwrap();
    limited(&world, &[("here", None), ("there", None)]).await;
    to(&mut world, "here");
    assert!(fits(&world, &bucket, "d", 10_000).await);
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
}

#[tokio::test]
async fn parts_count_where_their_upload_began_and_go_with_it_or_with_their_bucket() {
    let mut world = World::new();
    limited(&world, &[("here", Some(100)), ("there", Some(1000))]).await;
    to(&mut world, "here");
    let bucket = world.bucket("bucket", Versioning::Enabled).await;
    let (completed, aborted, left) = (
        world.create_upload(&bucket, "completed").await,
        world.create_upload(&bucket, "aborted").await,
        world.create_upload(&bucket, "left").await,
    );
    to(&mut world, "there");
    let far = world.create_upload(&bucket, "far").await;
    let part = |key, id, bytes: usize| {
        let (world, bucket) = (&world, &bucket);
        async move { world.put_part(bucket, key, id, (1, &vec![b'x'; bytes])).await }
    };
    part("completed", completed, 30).await.unwrap();
    part("aborted", aborted, 30).await.unwrap();
    part("left", left, 30).await.unwrap();
    part("far", far, 500).await.unwrap();
    let full = part("left", left, 41).await;
    assert!(matches!(full, Err(StorageError::LocationFull(_))), "{full:?}");
    part("left", left, 40).await.unwrap();
    assert_eq!((held(&world, "here").await, held(&world, "there").await), (100, 500));
    world.complete(&bucket, "completed", completed, &listing_of(&[&[b'x'; 30]])).await.unwrap();
    world.abort(&bucket, "aborted", aborted).await.unwrap();
    let usage = LocationUsage { versions: 1, bytes: 30, upload_bytes: 40, held_bytes: 0 };
    assert_eq!(world.storage.usage_of_location("here").await.unwrap(), usage);
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
    let version = world.storage.version(&bucket, &ObjectKey::new("completed").unwrap(), None).await.unwrap();
    world.delete(&bucket, "completed", Some(VersionSelector::Id(version.version_id()))).await.unwrap();
    world.storage.delete_bucket(&bucket.name).await.unwrap();
    assert_eq!((held(&world, "here").await, held(&world, "there").await), (0, 0));
    world.drain().await;
    audit(&world, &[], &[bucket.id]).await;
}

#[tokio::test]
async fn a_store_of_an_earlier_release_is_counted_once() {
    let mut world = World::new();
    let bucket = world.bucket("bucket", Versioning::Enabled).await;
    world.put(&bucket, "a", b"some bytes of a").await;
    world.put(&bucket, "a", b"more").await;
    world.delete(&bucket, "a", None).await.unwrap();
    let id = world.create_upload(&bucket, "up").await;
    world.put_part(&bucket, "up", id, (1, b"a part of it")).await.unwrap();
    to(&mut world, "cold");
    world.put(&bucket, "b", b"elsewhere").await;
    let counted = world.storage.usage_of_locations().await.unwrap();
    // As it was before there were counters.
    let (system, usage) = (Namespace::global(Table::System), Namespace::of(Table::Usage, bucket.id));
    let mut batch = Batch::new();
    batch.delete_range(system, keys::beginning_with(keys::LOCATION));
    batch.delete_range(usage, keys::beginning_with(keys::UPLOADS_TO));
    world.metadata.commit(batch).await.unwrap();
    assert!(world.storage.usage_of_locations().await.unwrap().is_empty());
    for _ in 0..2 {
        world.storage.recover().await.unwrap();
        assert_eq!(world.storage.usage_of_locations().await.unwrap(), counted);
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
    let rows = world.metadata.scan(system, keys::beginning_with("locations counted"), Direction::Forward, 9).await;
    assert_eq!(rows.unwrap().len(), 1);
}

#[tokio::test]
async fn locations_in_use_that_nobody_configures_are_found() {
    let mut world = World::new();
    limited(&world, &[("here", None), ("there", None), ("cold", None)]).await;
    to(&mut world, "there");
    let bucket = world.bucket("bucket", Versioning::Unversioned).await;
    world.put(&bucket, "empty", b"").await;
    limited(&world, &[("cold", None)]).await;
    let usage = LocationUsage { versions: 1, ..LocationUsage::default() };
    let found = world.storage.orphaned_locations(&world.storage.locations()).await.unwrap();
    let here = Orphaned { name: "here".to_owned(), usage: LocationUsage::default(), buckets: 1 };
    assert_eq!(found, [here, Orphaned { name: "there".to_owned(), usage, buckets: 0 }]);
}

#[tokio::test]
async fn a_location_that_is_away_costs_neither_the_start_nor_the_garbage_of_others() {
    let mut world = World::new();
    let away = Arc::new(FaultyBackend::new(world.backend.backend()));
    let backend: Arc<dyn DataBackend> = Arc::<FaultyBackend>::clone(&away);
    let near = Location::new("here", world.backend.backend());
    world.storage.set_locations(LocationTable::new([near, Location::new("away", backend)]));
    let bucket = world.bucket("bucket", Versioning::Unversioned).await;
    to(&mut world, "away");
    away.break_next(Call::Put, Fault::LostReply);
    let lost = world.put_if(&bucket, "lost", b"longer than what is inline", WriteCondition::Always).await;
    assert!(matches!(lost, Err(StorageError::Data(_))));
    // The process ends, and its successor finds the location away: first at the start, then at the first pass.
    let again = world.restarted();
    away.break_next(Call::Delete, Fault::Unavailable);
    away.break_next(Call::Delete, Fault::Unavailable);
    again.storage.set_locations((*world.storage.locations()).clone());
    assert_eq!(again.storage.recover().await.unwrap(), 1);
    again.put(&bucket, "near", b"longer than what is inline").await;
    again.delete(&bucket, "near", None).await.unwrap();
    let report = again.storage.collect_garbage().await.unwrap();
    assert_eq!((report.done, report.failed), (1, 1));
    again.drain().await;
    audit(&again, &[&bucket], &[]).await;
}
