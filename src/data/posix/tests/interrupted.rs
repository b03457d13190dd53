//! What became of a publication that nobody waited for is told truly, and stays true.

use std::{io::Write, sync::atomic::Ordering, time::Duration};

use super::*;

const MOMENT: Duration = Duration::from_millis(50);

/// An upload with one part.
async fn upload(world: &World, key: &str, bytes: &[u8]) -> Staged {
    let upload = world.backend.create_upload(&object(key)).await.unwrap();
    let part = world.backend.put_part(&upload, 1, body(bytes), None.into()).await.unwrap();
    world.backend.staged_upload(&upload, vec![(1, part.token)], bytes.len() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_asked_about_does_not_happen_later() {
    let world = World::new();
    for (key, staged) in [("k", world.stage("k", b"bytes").await), ("p", upload(&world, "p", b"bytes").await)] {
        let name = format!("b/{key}");
        let held = world.backend.core.names.lock(&name);
        // The pool is at work on it when its future goes.
        assert!(tokio::time::timeout(MOMENT, world.backend.publish(&staged)).await.is_err());
        assert!(tokio::time::timeout(MOMENT, world.backend.find(&staged.handle)).await.is_err(), "nobody knows yet");
        drop(held);
        assert_eq!(world.backend.find(&staged.handle).await.unwrap(), None);
        tokio::time::sleep(10 * MOMENT).await;
        assert_eq!(world.backend.find(&staged.handle).await.unwrap(), None);
        assert_eq!(world.tree(), Vec::<String>::new());
    }
    // What is asked for again, is done.
    let staged = upload(&world, "p", b"again").await;
    let written = world.backend.publish(&staged).await.unwrap();
    world.assert_holds(&written.blob, b"again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_published_after_a_failed_sync() {
    let world = World::with(|_| {});
    let staged = world.stage("d/k", b"bytes").await;
    let written = world.backend.publish(&staged).await.unwrap();
    world.backend.core.broken.store(true, Ordering::SeqCst);
    let found = world.backend.find(&staged.handle).await;
    assert!(matches!(found, Err(DataError::Unavailable(_))), "{found:?}");
    world.backend.core.broken.store(false, Ordering::SeqCst);
    assert_eq!(world.backend.find(&staged.handle).await.unwrap(), Some(written));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_edited_before_it_was_an_object_is_not_called_published() {
    for with in [World::new as fn() -> World, World::without_attributes] {
        let world = with();
        let old = world.publish("k", b"old").await;
        let staged = world.stage("k", b"new").await;
        world.backend.publish(&staged).await.unwrap();
        fs::OpenOptions::new().append(true).open(world.path("b/k")).unwrap().write_all(b"+").unwrap();
        assert_eq!(world.backend.find(&staged.handle).await.unwrap(), None);
        world.backend.discard(&staged.handle).await.unwrap();
        world.assert_holds(&old, b"old").await;
        assert_eq!(fs::read(world.path("b/k")).unwrap(), b"new+");
    }
    let world = World::with(|_| {});
    let staged = upload(&world, "k", b"new").await;
    world.backend.publish(&staged).await.unwrap();
    fs::OpenOptions::new().append(true).open(world.path("b/k")).unwrap().write_all(b"+").unwrap();
    assert_eq!(world.backend.find(&staged.handle).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_is_found_though_it_lost_its_place() {
    for world in [World::new(), World::without_attributes()] {
        for staged in [world.stage("k", b"first").await, upload(&world, "k", b"first").await] {
            let written = world.backend.publish(&staged).await.unwrap();
            let second = world.publish("k", b"second").await;
            assert_eq!(world.backend.find(&staged.handle).await.unwrap(), Some(written.clone()));
            world.delete(&written.blob).await;
            assert_eq!(world.backend.find(&staged.handle).await.unwrap(), None);
            world.delete(&second).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_of_the_first_release_are_understood() {
    let world = World::new();
    let staged = world.stage("k", b"bytes").await;
    let (head, native) = staged.handle.split_once('/').unwrap();
    let fields: Vec<&str> = head.split('.').take(3).collect();
    let handle = format!("{}/{native}", fields.join("."));
    let staged = Staged { handle, ..staged };
    assert_eq!(world.backend.find(&staged.handle).await.unwrap(), None);
    let written = world.backend.publish(&staged).await.unwrap();
    assert_eq!(world.backend.find(&staged.handle).await.unwrap(), Some(written));
}
