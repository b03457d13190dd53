//! Conditional writes and deletes.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    audit::audit,
    probe::Probe,
    world::{World, listing_of},
};
use crate::{
    storage::{CompleteRequest, DeleteCondition, FailedCondition, StorageError, WriteCondition, records::Versioning},
    types::{ETag, ObjectKey, Timestamp},
};

const KEY: &str = "key";

#[tokio::test]
async fn a_condition_is_about_the_current_version() {
    for versioning in [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended] {
        let world = World::new();
        let bucket = world.bucket("conditional", versioning).await;
        let put = async |condition| world.put_if(&bucket, KEY, b"x", condition).await;
        let other = || WriteCondition::IfMatch(vec![ETag::new("other")]);
        for condition in [WriteCondition::IfPresent, other()] {
            assert!(matches!(put(condition).await, Err(StorageError::NoSuchKey(None))));
        }
        let tag = put(WriteCondition::IfAbsent).await.unwrap().etag();
        let failed = put(WriteCondition::IfAbsent).await;
        assert!(matches!(failed, Err(StorageError::PreconditionFailed(FailedCondition::IfNoneMatch))), "{failed:?}");
        let failed = put(other()).await;
        assert!(matches!(failed, Err(StorageError::PreconditionFailed(FailedCondition::IfMatch))), "{failed:?}");
        put(WriteCondition::IfMatch(vec![ETag::new("other"), tag])).await.unwrap();
        put(WriteCondition::IfPresent).await.unwrap();
        world.delete(&bucket, KEY, None).await.unwrap();
        assert!(matches!(put(WriteCondition::IfPresent).await, Err(StorageError::NoSuchKey(_))));
        put(WriteCondition::IfAbsent).await.unwrap();
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
}

#[tokio::test]
async fn a_delete_condition_fails_for_another_version_and_holds_for_none() {
    let world = World::new();
    let bucket = world.bucket("conditional", Versioning::Unversioned).await;
    let key = ObjectKey::new(KEY).unwrap();
    let delete = async |condition: DeleteCondition| world.storage.delete_object(&bucket, &key, None, &condition).await;
    let tag = |tag: &str| DeleteCondition { etag: Some(Some(ETag::new(tag))), ..DeleteCondition::default() };
    delete(tag("any")).await.unwrap();
    let record = world.put(&bucket, KEY, b"four").await;
    let size = |size| DeleteCondition { size: Some(size), ..DeleteCondition::default() };
    let modified = |time| DeleteCondition { modified: Some(time), ..DeleteCondition::default() };
    let failures = [
        (tag("any"), FailedCondition::IfMatch),
        (size(5), FailedCondition::IfMatchSize),
        (modified(Timestamp::from_secs(1)), FailedCondition::IfMatchLastModified),
    ];
    for (condition, expected) in failures {
        let failed = delete(condition).await;
        assert!(matches!(failed, Err(StorageError::PreconditionFailed(it)) if it == expected), "{failed:?}");
    }
    let all = DeleteCondition {
        etag: Some(Some(record.etag())),
        size: Some(4),
        modified: Some(record.modified()),
        ..DeleteCondition::default()
    };
    delete(all).await.unwrap();
    assert!(matches!(world.get(&bucket, KEY, None).await, Err(StorageError::NoSuchKey(None))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_24_writers_who_want_the_key_absent_one_wins_in_each_of_100_rounds() {
    for versioning in [Versioning::Unversioned, Versioning::Enabled] {
        let world = Arc::new(World::over(Probe::yielding()));
        let bucket = world.bucket("raced", versioning).await;
        for round in 0..100 {
            let mut writers = JoinSet::new();
            for writer in 0..24_u16 {
                let (world, bucket) = (Arc::clone(&world), Arc::clone(&bucket));
                writers.spawn(async move {
                    let key = format!("key{round}");
                    let body = format!("writer {writer} of round {round}");
                    if writer % 4 != 0 {
                        return world.put_if(&bucket, &key, body.as_bytes(), WriteCondition::IfAbsent).await;
                    }
                    let id = world.create_upload(&bucket, &key).await;
                    world.put_part(&bucket, &key, id, (1, body.as_bytes())).await?;
                    let request =
                        CompleteRequest { condition: WriteCondition::IfAbsent, ..listing_of(&[body.as_bytes()]) };
                    let completed = world.complete(&bucket, &key, id, &request).await;
                    if completed.is_err() {
                        world.abort(&bucket, &key, id).await?;
                    }
                    completed
                });
            }
            let mut winners = Vec::new();
            while let Some(outcome) = writers.join_next().await {
                match outcome.unwrap() {
                    Ok(record) => winners.push(record),
                    Err(StorageError::PreconditionFailed(FailedCondition::IfNoneMatch)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(winners.len(), 1, "round {round}");
            let key = ObjectKey::new(&format!("key{round}")).unwrap();
            assert_eq!(world.storage.version(&bucket, &key, None).await.unwrap().etag, winners[0].etag);
        }
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_compare_and_swap_counter_loses_no_step() {
    let world = Arc::new(World::over(Probe::yielding()));
    let bucket = world.bucket("raced", Versioning::Enabled).await;
    world.put(&bucket, KEY, b"0").await;
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let (world, bucket) = (Arc::clone(&world), Arc::clone(&bucket));
        writers.spawn(async move {
            let key = ObjectKey::new(KEY).unwrap();
            let mut done = 0;
            while done < 10 {
                let record = world.storage.version(&bucket, &key, None).await.unwrap();
                let stream = world.storage.open(&bucket, &key, &record, 0..record.size).await;
                let Ok(stream) = stream else { continue };
                let bytes = crate::types::body::collect(stream, 100).await.unwrap();
                let count: u64 = std::str::from_utf8(&bytes).unwrap().parse().unwrap();
                let next = (count + 1).to_string();
                let condition = WriteCondition::IfMatch(vec![record.etag()]);
                done += u64::from(world.put_if(&bucket, KEY, next.as_bytes(), condition).await.is_ok());
            }
        });
    }
    while let Some(outcome) = writers.join_next().await {
        outcome.unwrap();
    }
    assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), "80");
    assert_eq!(world.storage.usage(&bucket).await.unwrap().versions, 81);
    // Who lost had staged something, which is noted as garbage.
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
}
