//! The table of versioning: what each write and delete does in each state, whatever is there.

use std::sync::Arc;

use super::{audit::audit, world::World};
use crate::{
    storage::{
        Bucket, StorageError,
        listing::{ListQuery, VersionEntry},
        records::Versioning,
    },
    types::{ObjectKey, VersionSelector},
};

const KEY: &str = "key";

/// What is there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    NullObject,
    NullMarker,
    Version,
    Marker,
    /// A version over a null version.
    VersionOverNull,
    /// A marker over a null version.
    MarkerOverNull,
    /// A null version over a version.
    NullOverVersion,
}

const STATES: [Versioning; 3] = [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended];

/// What is there before, and by state of versioning what is there after a write and after a delete without id.
///
/// A letter for each version, newest first: `v` version, `n` null version, `m` marker, `d` null marker; `-` where the
/// state rules such a history out.
const RULES: [(Before, [&str; 3], [&str; 3]); 8] = [
    (Before::Nothing, ["n", "v", "n"], ["", "m", "d"]),
    (Before::NullObject, ["n", "vn", "n"], ["", "mn", "d"]),
    (Before::NullMarker, ["-", "vd", "n"], ["-", "md", "d"]),
    (Before::Version, ["-", "vv", "nv"], ["-", "mv", "dv"]),
    (Before::Marker, ["-", "vm", "nm"], ["-", "mm", "dm"]),
    (Before::VersionOverNull, ["-", "vvn", "nv"], ["-", "mvn", "dv"]),
    (Before::MarkerOverNull, ["-", "vmn", "nm"], ["-", "mmn", "dm"]),
    (Before::NullOverVersion, ["-", "vnv", "nv"], ["-", "mnv", "dv"]),
];

/// A bucket with such a history, left in `state`.
async fn bucket_with(world: &World, before: Before, state: Versioning) -> Arc<Bucket> {
    let mut bucket = world.bucket("versioned", Versioning::Unversioned).await;
    let name = bucket.name.clone();
    let to = async |state| world.set_versioning(&name, state).await;
    match before {
        Before::Nothing => {}
        Before::NullObject => drop(world.put(&bucket, KEY, b"null").await),
        Before::NullMarker => {
            bucket = to(Versioning::Suspended).await;
            world.delete(&bucket, KEY, None).await.unwrap();
        }
        Before::Version | Before::NullOverVersion => {
            bucket = to(Versioning::Enabled).await;
            world.put(&bucket, KEY, b"version").await;
        }
        Before::Marker => {
            bucket = to(Versioning::Enabled).await;
            world.delete(&bucket, KEY, None).await.unwrap();
        }
        Before::VersionOverNull | Before::MarkerOverNull => {
            world.put(&bucket, KEY, b"null").await;
            bucket = to(Versioning::Enabled).await;
            if before == Before::VersionOverNull {
                world.put(&bucket, KEY, b"version").await;
            } else {
                world.delete(&bucket, KEY, None).await.unwrap();
            }
        }
    }
    if before == Before::NullOverVersion {
        bucket = to(Versioning::Suspended).await;
        world.put(&bucket, KEY, b"null").await;
    }
    if state == Versioning::Unversioned { bucket } else { to(state).await }
}

/// The letters of what is there.
async fn shape(world: &World, bucket: &Bucket) -> String {
    let query = ListQuery { limit: 1000, ..ListQuery::default() };
    let page = world.storage.list_versions(bucket, &query).await.unwrap();
    let latest: Vec<bool> = page.items().map(|row| row.is_latest).collect();
    assert!(latest.iter().zip(0..).all(|(is_latest, place)| *is_latest == (place == 0)), "one is the latest");
    let letter = |row: &VersionEntry| match (row.record.is_null, row.record.delete_marker) {
        (false, false) => 'v',
        (true, false) => 'n',
        (false, true) => 'm',
        (true, true) => 'd',
    };
    page.items().map(letter).collect()
}

#[tokio::test]
async fn a_write_replaces_or_adds_as_the_state_says() {
    for (before, writes, _) in RULES {
        for (state, expected) in STATES.into_iter().zip(writes).filter(|(_, expected)| *expected != "-") {
            let world = World::new();
            let bucket = bucket_with(&world, before, state).await;
            let record = world.put(&bucket, KEY, b"written last, longer").await;
            assert_eq!(record.is_null, state != Versioning::Enabled);
            assert_eq!(shape(&world, &bucket).await, expected, "put over {before:?}, {state:?}");
            assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), "written last, longer");
            world.drain().await;
            audit(&world, &[&bucket], &[]).await;
        }
    }
}

#[tokio::test]
async fn a_delete_without_id_removes_or_marks_as_the_state_says() {
    for (before, _, deletes) in RULES {
        for (state, expected) in STATES.into_iter().zip(deletes).filter(|(_, expected)| *expected != "-") {
            let world = World::new();
            let bucket = bucket_with(&world, before, state).await;
            let deleted = world.delete(&bucket, KEY, None).await.unwrap();
            assert_eq!(deleted.delete_marker, state != Versioning::Unversioned);
            assert_eq!(shape(&world, &bucket).await, expected, "delete over {before:?}, {state:?}");
            let gone = world.get(&bucket, KEY, None).await;
            let marker = matches!(gone, Err(StorageError::NoSuchKey(Some(_))));
            assert_eq!(marker, state != Versioning::Unversioned, "{gone:?}");
            world.drain().await;
            audit(&world, &[&bucket], &[]).await;
        }
    }
}

#[tokio::test]
async fn removing_any_version_by_id_promotes_the_next_and_keeps_the_others() {
    for (before, ..) in RULES {
        for state in [Versioning::Enabled, Versioning::Suspended] {
            let world = World::new();
            let bucket = bucket_with(&world, before, state).await;
            world.put(&bucket, KEY, b"one more").await;
            let mut left = shape(&world, &bucket).await;
            let mut turn = 0;
            while !left.is_empty() {
                // Now the newest, now the oldest.
                let place = if turn % 2 == 0 { 0 } else { left.len() - 1 };
                turn += 1;
                let query = ListQuery { limit: 1000, ..ListQuery::default() };
                let page = world.storage.list_versions(&bucket, &query).await.unwrap();
                let row = page.items().nth(place).unwrap();
                let id = VersionSelector::Id(row.record.version_id());
                let selector = if row.record.is_null { VersionSelector::Null } else { id };
                let deleted = world.delete(&bucket, KEY, Some(selector)).await.unwrap();
                assert_eq!(deleted.delete_marker, row.record.delete_marker);
                left.remove(place);
                assert_eq!(shape(&world, &bucket).await, left, "{before:?} {state:?}");
                let readable = world.get(&bucket, KEY, None).await.is_ok();
                assert_eq!(readable, left.starts_with(['v', 'n']), "{left}");
                world.drain().await;
                audit(&world, &[&bucket], &[]).await;
            }
        }
    }
}

#[tokio::test]
async fn versions_are_found_by_id_and_null() {
    let world = World::new();
    let bucket = bucket_with(&world, Before::VersionOverNull, Versioning::Enabled).await;
    let newest = world.put(&bucket, KEY, b"newest").await.version_id();
    assert_eq!(world.get(&bucket, KEY, Some(VersionSelector::Null)).await.unwrap(), "null");
    assert_eq!(world.get(&bucket, KEY, Some(VersionSelector::Id(newest))).await.unwrap(), "newest");
    let marker = world.delete(&bucket, KEY, None).await.unwrap().version.flatten().unwrap();
    let by_id = world.get(&bucket, KEY, Some(VersionSelector::Id(marker))).await;
    assert!(matches!(by_id, Err(StorageError::IsDeleteMarker(_))), "{by_id:?}");
    assert_eq!(world.get(&bucket, KEY, Some(VersionSelector::Null)).await.unwrap(), "null");
    let unknown = world.put(&bucket, "other", b"").await.version_id();
    let unknown = world.get(&bucket, KEY, Some(VersionSelector::Id(unknown))).await;
    assert!(matches!(unknown, Err(StorageError::NoSuchVersion)), "{unknown:?}");
    let null_id = {
        let key = ObjectKey::new(KEY).unwrap();
        world.storage.version(&bucket, &key, Some(VersionSelector::Null)).await.unwrap().version_id()
    };
    let by_inner_id = world.get(&bucket, KEY, Some(VersionSelector::Id(null_id))).await;
    assert!(matches!(by_inner_id, Err(StorageError::NoSuchVersion)), "a null version has no id: {by_inner_id:?}");
}

#[tokio::test]
async fn changing_a_version_keeps_its_place_and_bytes() {
    for (before, ..) in RULES {
        let world = World::new();
        let bucket = bucket_with(&world, before, Versioning::Enabled).await;
        let shown = shape(&world, &bucket).await;
        let key = ObjectKey::new(KEY).unwrap();
        let edited = world
            .storage
            .update_version(&bucket, &key, Some(VersionSelector::Null), |record| record.redirect = "/x".to_owned())
            .await;
        match edited {
            Ok(record) => {
                let again = world.storage.version(&bucket, &key, Some(VersionSelector::Null)).await.unwrap();
                assert_eq!((again.redirect.as_str(), again.version_id()), ("/x", record.version_id()));
                assert_eq!(world.get(&bucket, KEY, Some(VersionSelector::Null)).await.unwrap(), "null");
            }
            Err(StorageError::NoSuchVersion) => assert!(!shown.contains(['n', 'd'])),
            Err(StorageError::IsDeleteMarker(_)) => assert!(shown.contains('d')),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(shape(&world, &bucket).await, shown);
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
}
