//! Objects come to their places whole, and leave them alone.

use std::{fs, os::unix::fs::PermissionsExt};

use futures_util::{StreamExt, future, stream};

use super::*;
use crate::types::BodyError;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_a_plain_file_at_its_key() {
    let world = World::with(|options| {
        options.file_mode = 0o640;
        options.directory_mode = 0o2750;
    });
    let staged = world.stage("photos/2026/one.jpg", b"picture").await;
    assert!(world.tree().is_empty(), "what is staged is not seen");
    assert_eq!(world.backend.find(&staged.handle).await.unwrap(), None);
    let written = world.backend.publish(&staged).await.unwrap();
    assert_eq!(fs::read(world.path("b/photos/2026/one.jpg")).unwrap(), b"picture");
    let mode = |path: &str| fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("b/photos/2026/one.jpg"), mode("b/photos"), mode("b")), (0o640, 0o2750, 0o2750));
    assert_eq!(world.backend.publish(&staged).await.unwrap(), written, "a lost answer is repeated");
    assert_eq!(world.backend.find(&staged.handle).await.unwrap(), Some(written.clone()));
    world.backend.discard(&staged.handle).await.unwrap();
    world.assert_holds(&written.blob, b"picture").await;
    assert_eq!(world.read(&written.blob, 2..5).await.unwrap(), b"ctu");
    assert!(world.ours().is_empty(), "{:?}", world.ours());

    world.delete(&written.blob).await;
    world.assert_gone(&written.blob).await;
    assert_eq!(world.tree(), ["b"], "folders go, the bucket's stays");
    assert_eq!(world.backend.find(&staged.handle).await.unwrap(), None);
    assert!(matches!(world.backend.publish(&staged).await, Err(DataError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_was_never_there() {
    let world = World::new();
    let staged = world.stage("k", b"bytes").await;
    for _ in 0..2 {
        world.backend.discard(&staged.handle).await.unwrap();
    }
    assert!(matches!(world.backend.publish(&staged).await, Err(DataError::NotFound(_))));
    let broken = body(b"half").chain(stream::iter([Err(BodyError::Disconnected)])).boxed();
    let result = world.backend.stage(&object("k"), broken, None.into()).await;
    assert!(matches!(result, Err(DataError::Body(BodyError::Disconnected))));
    assert!(matches!(world.backend.stage(&object("k"), body(b"12"), Some(3).into()).await, Err(DataError::Body(_))));
    drop(world.backend.stage(&object("k"), stream::pending().boxed(), None.into()));
    assert_eq!((world.tree().len(), world.ours().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_overwritten_is_there_until_it_is_deleted() {
    for world in [World::new(), World::without_attributes(), World::with(|_| {})] {
        let first = world.publish("k", b"first").await;
        let second = world.publish("k", b"second").await;
        assert_ne!(first, second);
        world.assert_holds(&first, b"first").await;
        world.assert_holds(&second, b"second").await;
        assert_eq!(fs::read(world.path("b/k")).unwrap(), b"second");
        world.delete(&first).await;
        world.assert_gone(&first).await;
        world.assert_holds(&second, b"second").await;
        let third = world.publish("k", b"second").await;
        assert_ne!(second, third, "the same bytes, another write");
        world.delete(&third).await;
        world.assert_gone(&third).await;
        world.assert_holds(&second, b"second").await;
        world.delete(&second).await;
        world.delete(&second).await;
        assert_eq!((world.tree(), world.ours()), (vec!["b".to_owned()], vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_be_a_folder_of_others() {
    for world in [World::new(), World::without_attributes()] {
        let file = world.publish("a", b"file").await;
        let below = world.publish("a/b/c", b"below").await;
        let folder = world.publish("a/", b"").await;
        let middle = world.publish("a/b", b"middle").await;
        assert_eq!(world.tree(), ["b", "b/a", "b/a%=", "b/a/%_", "b/a/b", "b/a/b%=", "b/a/b/c"]);
        for (blob, bytes) in [(&file, "file"), (&below, "below"), (&folder, ""), (&middle, "middle")] {
            world.assert_holds(blob, bytes.as_bytes()).await;
        }
        let again = world.publish("a", b"again").await;
        world.assert_holds(&file, b"file").await;
        world.delete(&file).await;
        for blob in [&below, &folder, &middle] {
            world.delete(blob).await;
        }
        world.assert_holds(&again, b"again").await;
        assert_eq!(world.tree(), ["b", "b/a%="]);
        // The folder is gone: the next one has its own name, and the one aside is not forgotten.
        let last = world.publish("a", b"last").await;
        assert_eq!(world.tree(), ["b", "b/a"]);
        world.assert_holds(&again, b"again").await;
        world.delete(&again).await;
        world.assert_holds(&last, b"last").await;
        world.delete(&last).await;
        assert_eq!((world.tree(), world.ours()), (vec!["b".to_owned()], vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_at_once_on_names_within_names() {
    let world = World::new();
    let world = &world;
    let keys = ["x", "x/y", "x/y/z", "x/", "x/y/", "w"];
    let work = (0..24).map(|worker| async move {
        let mut last: Option<(BlobId, Vec<u8>)> = None;
        for round in 0..12 {
            let bytes = pattern(1 + 37 * worker + round);
            let blob = world.publish(keys[(worker + round) % keys.len()], &bytes).await;
            world.assert_holds(&blob, &bytes).await;
            if let Some((old, bytes)) = last.replace((blob, bytes)) {
                world.assert_holds(&old, &bytes).await;
                world.delete(&old).await;
                world.assert_gone(&old).await;
            }
        }
        let (blob, bytes) = last.unwrap();
        world.assert_holds(&blob, &bytes).await;
        world.delete(&blob).await;
    });
    future::join_all(work).await;
    assert_eq!((world.tree(), world.ours()), (vec!["b".to_owned()], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_another_made_room_for_meanwhile_stays() {
    let world = World::new();
    let file = world.publish("x", b"file").await;
    let within = world.publish("x/y", b"within").await;
    let root = world.backend.core.root.lock().clone().unwrap();
    // Who wanted to publish below `x`, too, saw the file there and waited for his turn.
    world.backend.core.step_aside(&root, "b/x/z", 2).unwrap();
    assert_eq!(world.tree(), ["b", "b/x", "b/x%=", "b/x/y"]);
    world.assert_holds(&file, b"file").await;
    world.assert_holds(&within, b"within").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_object_comes_back_unless_its_place_is_taken() {
    let world = World::new();
    let blob = world.publish("d/k", b"bytes").await;
    let marker = world.backend.mark_deleted("b", "d/k", Some(&blob)).await.unwrap().unwrap();
    assert_eq!(world.tree(), ["b"]);
    world.assert_holds(&blob, b"bytes").await;
    assert_eq!(world.backend.mark_deleted("b", "d/k", Some(&blob)).await.unwrap(), None);
    world.delete(&marker).await;
    assert_eq!(world.tree(), ["b", "b/d", "b/d/k"]);
    let marker = world.backend.mark_deleted("b", "d/k", Some(&blob)).await.unwrap().unwrap();
    let other = world.publish("d/k", b"other").await;
    world.delete(&marker).await;
    assert_eq!(fs::read(world.path("b/d/k")).unwrap(), b"other");
    world.delete(&blob).await;
    world.assert_gone(&blob).await;
    world.delete(&marker).await;
    world.assert_holds(&other, b"other").await;
    assert!(world.ours().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_crash_go_after_a_day_and_old_versions_stay() {
    let world = World::new();
    let first = world.publish("k", b"first").await;
    let staged = world.stage("k", b"second").await;
    let fresh = world.stage("k", b"third").await;
    // As after a crash between the exchange and what follows it.
    let write = |staged: &Staged| staged.handle.split('.').nth(1).unwrap().to_owned();
    let left = world.path(".cloudserver/staged").join(write(&staged));
    fs::remove_file(&left).unwrap();
    fs::rename(world.path("b/k"), &left).unwrap();
    world.assert_gone(&first).await;
    let root = world.backend.core.root().unwrap();
    assert_eq!(root.sweep(0).unwrap(), 0);
    assert_eq!(root.sweep(i128::MAX).unwrap(), 1);
    world.assert_holds(&first, b"first").await;
    assert!(matches!(world.backend.publish(&fresh).await, Err(DataError::NotFound(_))));
}
