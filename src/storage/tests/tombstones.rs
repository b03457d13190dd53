//! Deletes that are remembered, and the writes of a migration that depend on them.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use tokio::task::JoinSet;

use super::{
    audit::audit,
    probe::Probe,
    world::{World, incoming, listing_of},
};
use crate::{
    storage::{
        Attributes, CompleteRequest, DeleteCondition, FailedCondition, Found, PutObject, StorageError, Tombstones,
        WriteCondition,
        records::{JournalOp, Versioning},
    },
    types::{IncomingBody, ObjectKey, VersionSelector},
};

const KEY: &str = "key";
const ALL: [Versioning; 3] = [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended];

fn never() -> WriteCondition {
    WriteCondition::IfFound(Found::Never)
}

fn key() -> ObjectKey {
    ObjectKey::new(KEY).unwrap()
}

#[tokio::test]
async fn a_delete_while_the_body_comes_in_is_not_undone() {
    for versioning in ALL {
        let world = Arc::new(World::new());
        world.storage.remember_deletes(Tombstones::Everywhere);
        let bucket = world.bucket("moving", versioning).await;
        let (by, of) = (Arc::clone(&world), Arc::clone(&bucket));
        let body = incoming(b"from the old server");
        // What a client does between the first look and the commit.
        let deleting = async move {
            by.delete(&of, KEY, None).await.unwrap();
        };
        let none = deleting.into_stream().filter_map(|()| async { None });
        let stream = none.chain(body.stream).boxed();
        let put = PutObject {
            bucket: Arc::clone(&bucket),
            key: key(),
            location: Arc::clone(&world.location),
            attributes: Attributes::default(),
            condition: never(),
            body: IncomingBody { stream, ..body },
            op: JournalOp::ObjectPut,
        };
        let refused = world.storage.put_object(put).await;
        let expected = StorageError::PreconditionFailed(FailedCondition::UnlessDeleted);
        assert_eq!(refused.unwrap_err().to_string(), expected.to_string(), "{versioning:?}");
        assert!(world.get(&bucket, KEY, None).await.is_err(), "{versioning:?}");
        assert!(world.storage.was_deleted(&bucket, &key()).await.unwrap());
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_copy_and_a_delete_the_delete_wins_in_each_of_200_rounds() {
    for versioning in [Versioning::Unversioned, Versioning::Enabled] {
        let world = Arc::new(World::over(Probe::yielding()));
        world.storage.remember_deletes(Tombstones::Everywhere);
        let bucket = world.bucket("raced", versioning).await;
        let mut overtaken = 0;
        for round in 0..200 {
            let name = format!("key{round}");
            let mut both = JoinSet::new();
            let (writer, of) = (Arc::clone(&world), Arc::clone(&bucket));
            let copied = name.clone();
            both.spawn(async move {
                if round % 3 != 0 {
                    return writer.put_if(&of, &copied, b"old", never()).await.is_ok();
                }
                let id = writer.create_upload(&of, &copied).await;
                writer.put_part(&of, &copied, id, (1, b"old")).await.unwrap();
                let request = CompleteRequest { condition: never(), ..listing_of(&[b"old"]) };
                let done = writer.complete(&of, &copied, id, &request).await.is_ok();
                if !done {
                    writer.abort(&of, &copied, id).await.unwrap();
                }
                done
            });
            let (eraser, of, deleted) = (Arc::clone(&world), Arc::clone(&bucket), name.clone());
            both.spawn(async move {
                eraser.delete(&of, &deleted, None).await.unwrap();
                true
            });
            while let Some(done) = both.join_next().await {
                overtaken += usize::from(!done.unwrap());
            }
            assert!(world.get(&bucket, &name, None).await.is_err(), "round {round}");
        }
        assert!((1..200).contains(&overtaken), "both orders are seen: {overtaken}");
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
}

#[tokio::test]
async fn a_history_goes_on_behind_the_version_it_names_and_nowhere_else() {
    let world = World::new();
    let bucket = world.bucket("moving", Versioning::Enabled).await;
    let behind = |id| WriteCondition::IfFound(Found::Newest(VersionSelector::Id(id)));
    let first = world.put_if(&bucket, KEY, b"1", never()).await.unwrap().version_id();
    assert!(world.put_if(&bucket, KEY, b"1", never()).await.is_err(), "it is here");
    let second = world.put_if(&bucket, KEY, b"2", behind(first)).await.unwrap().version_id();
    let failed = world.put_if(&bucket, KEY, b"3", behind(first)).await;
    assert!(matches!(failed, Err(StorageError::PreconditionFailed(FailedCondition::IfNewest))), "{failed:?}");
    let behind_of =
        |id| DeleteCondition { found: Some(Found::Newest(VersionSelector::Id(id))), ..DeleteCondition::default() };
    let delete = async |condition| world.storage.delete_object(&bucket, &key(), None, &condition).await;
    assert!(delete(behind_of(first)).await.is_err());
    let marker = delete(behind_of(second)).await.unwrap().version.unwrap().unwrap();
    assert!(delete(behind_of(second)).await.is_err(), "a marker of somebody else's would be hidden");
    world.put_if(&bucket, KEY, b"3", behind(marker)).await.unwrap();
    let unmade = DeleteCondition { found: Some(Found::Never), ..DeleteCondition::default() };
    assert!(delete(unmade).await.is_err());
    audit(&world, &[&bucket], &[]).await;
}

#[tokio::test]
async fn what_a_migration_takes_back_is_not_remembered_as_deleted() {
    for versioning in ALL {
        let world = World::new();
        world.storage.remember_deletes(Tombstones::Everywhere);
        let bucket = world.bucket("moving", versioning).await;
        let record = world.put_if(&bucket, KEY, b"wrong", never()).await.unwrap();
        let selector = (!record.is_null).then(|| VersionSelector::Id(record.version_id()));
        let selector = selector.or((versioning == Versioning::Suspended).then_some(VersionSelector::Null));
        let forget = DeleteCondition { forget: true, ..DeleteCondition::default() };
        world.storage.delete_object(&bucket, &key(), selector, &forget).await.unwrap();
        assert!(!world.storage.was_deleted(&bucket, &key()).await.unwrap(), "{versioning:?}");
        world.put_if(&bucket, KEY, b"right", never()).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_deleted_within_a_range_is_known() {
    let world = World::new();
    world.storage.remember_deletes(Tombstones::Everywhere);
    let bucket = world.bucket("moving", Versioning::Unversioned).await;
    world.delete(&bucket, "b/x", None).await.unwrap();
    let storage = &world.storage;
    for (first, last, known) in [
        ("a", "b", true),
        ("b/", "b/", true),
        ("b/x", "b/x", true),
        ("a", "a", false),
        ("b/y", "c", false),
        ("c", "d", false),
    ] {
        assert_eq!(storage.knows_of(&bucket, first..=last).await.unwrap(), known, "{first} {last}");
    }
    // Rows of other settings are none of it.
    let bucket = world.bucket("versions", Versioning::Enabled).await;
    assert!(!storage.knows_of(&bucket, ""..="zzz").await.unwrap());
    world.put(&bucket, "b/x", b"1").await;
    world.put(&bucket, "b/x", b"2").await;
    assert!(storage.knows_of(&bucket, "b/"..="b/").await.unwrap(), "what has versions may have had a marker");
}
