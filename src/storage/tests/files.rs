//! A location of plain files, to which others bring, and from which they take.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use super::world::World;
use crate::{
    clock::SystemClock,
    data::{FileDurability, PosixBackend, PosixOptions},
    location::{Location, LocationTable},
    storage::records::Versioning,
    types::ObjectKey,
};

/// An engine whose objects are files.
struct Files {
    world: World,
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let (mut world, folder) = (World::new(), tempfile::tempdir().unwrap());
        let options = PosixOptions { durability: FileDurability::Relaxed, ..PosixOptions::new(folder.path()) };
        let backend = Arc::new(PosixBackend::new(options, Arc::new(SystemClock)));
        world.storage.set_locations(LocationTable::new([Location::new("here", backend)]));
        world.location = Arc::clone(world.storage.locations().get("here").unwrap());
        Self { world, folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_file_comes_back_just_in_time_is_not_given_up() {
    let files = Files::new();
    let world = &files.world;
    let bucket = world.bucket("bucket", Versioning::Unversioned).await;
    world.put(&bucket, "key", b"bytes of an object").await;
    fs::rename(files.path("bucket/key"), files.path("away")).unwrap();
    let key = ObjectKey::new("key").unwrap();
    // Somebody is at work on the key.
    let held = world.storage.inner.locks.lock(bucket.id, &key).await;
    let work = {
        let (storage, bucket, location) = (world.storage.clone(), Arc::clone(&bucket), Arc::clone(&world.location));
        async move { storage.give_up_missing(&bucket, &location, ("", bytes::Bytes::new()), false).await }
    };
    let back = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fs::rename(files.path("away"), files.path("bucket/key")).unwrap();
        drop(held);
    };
    let (page, ()) = tokio::join!(work, back);
    let page = page.unwrap();
    assert_eq!((page.examined, page.removed, page.failed.len()), (1, 0, 0));
    assert_eq!(world.get(&bucket, "key", None).await.unwrap(), "bytes of an object");
    // Gone for good, it is.
    fs::remove_file(files.path("bucket/key")).unwrap();
    let page = world.storage.give_up_missing(&bucket, &world.location, ("", bytes::Bytes::new()), false).await.unwrap();
    assert_eq!(page.removed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_dropped_after_a_delete_is_not_hidden_with_what_was_deleted() {
    let files = Files::new();
    let world = &files.world;
    let bucket = world.bucket("bucket", Versioning::Enabled).await;
    let first = world.put(&bucket, "key", b"bytes of an object").await;
    for marker in 0..2 {
        world.delete(&bucket, "key", None).await.unwrap();
        if marker == 0 {
            fs::write(files.path("new"), "dropped").unwrap();
            fs::rename(files.path("new"), files.path("bucket/key")).unwrap();
        }
        world.drain().await;
        assert_eq!(fs::read(files.path("bucket/key")).unwrap(), b"dropped");
    }
    fs::remove_file(files.path("bucket/key")).unwrap();
    // What is deleted is hidden, as ever, and kept as long as it is a version.
    let second = world.put(&bucket, "key", b"bytes of another").await;
    world.delete(&bucket, "key", None).await.unwrap();
    world.drain().await;
    assert!(!files.path("bucket/key").try_exists().unwrap());
    let get = |version| world.get(&bucket, "key", Some(crate::types::VersionSelector::Id(version)));
    assert_eq!(get(second.version_id()).await.unwrap(), "bytes of another");
    // The first one's file was replaced from outside: that is told, and nothing else is handed out.
    get(first.version_id()).await.unwrap_err();
}
