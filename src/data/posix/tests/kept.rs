//! What lost its place stays what it was, whatever others do with its copies.

use std::{io::Write, process::Command};

use super::*;
use crate::data::{Browse, Found};

/// What a scan finds under a key.
async fn found(world: &World, wanted: &str) -> BlobId {
    let mut walk = world.backend.walk("b");
    while let Some(found) = walk.next().await {
        match found.unwrap() {
            Found::Object { key, blob, .. } if key == wanted => return blob,
            _ => {}
        }
    }
    panic!("no file at {wanted}")
}

fn append(world: &World, path: &str) {
    fs::OpenOptions::new().append(true).open(world.path(path)).unwrap().write_all(b"+").unwrap();
}

/// A copy with its attributes and times.
fn copy(from: PathBuf, to: PathBuf) {
    assert!(Command::new("cp").args(["-a", "--remove-destination"]).args([from, to]).status().unwrap().success());
}

/// The one file that is kept.
fn only_kept(world: &World) -> PathBuf {
    let kept = world.ours();
    assert_eq!(kept.len(), 1, "{kept:?}");
    world.path(&kept[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_renamed_from_outside_is_the_object_of_its_new_name_only() {
    for world in [World::new(), World::without_attributes()] {
        let old = world.publish("a", b"one").await;
        fs::rename(world.path("b/a"), world.path("b/b")).unwrap();
        let first = found(&world, "b").await;
        let second = world.publish("b", b"two").await;
        world.assert_holds(&first, b"one").await;
        world.assert_gone(&old).await;
        world.delete(&old).await;
        world.assert_holds(&first, b"one").await;
        world.delete(&first).await;
        world.assert_gone(&first).await;
        world.assert_holds(&second, b"two").await;
        assert!(world.ours().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_edited_in_place_outlives_the_one_before() {
    let world = World::new();
    let first = world.publish("k", b"one").await;
    append(&world, "b/k");
    let second = found(&world, "k").await;
    let third = world.publish("k", b"three").await;
    world.assert_holds(&second, b"one+").await;
    world.delete(&first).await;
    world.assert_holds(&second, b"one+").await;
    world.delete(&second).await;
    world.assert_gone(&second).await;
    world.assert_holds(&third, b"three").await;
    assert!(world.ours().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_copy_of_an_old_version_and_the_old_version_are_both_kept() {
    for hidden in [false, true] {
        let world = World::new();
        let first = world.publish("k", b"one").await;
        let second = world.publish("k", b"two").await;
        copy(only_kept(&world), world.path("b/k"));
        append(&world, "b/k");
        let third = found(&world, "k").await;
        if hidden {
            world.backend.mark_deleted("b", "k", Some(&third)).await.unwrap().unwrap();
        } else {
            world.publish("k", b"four").await;
        }
        world.assert_gone(&second).await;
        world.assert_holds(&first, b"one").await;
        world.assert_holds(&third, b"one+").await;
        world.delete(&first).await;
        world.assert_gone(&first).await;
        world.assert_holds(&third, b"one+").await;
        world.delete(&third).await;
        assert!(world.ours().is_empty(), "{:?}", world.ours());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_copies_that_are_alike_the_one_that_is_meant_goes() {
    for published in [false, true] {
        for later_first in [false, true] {
            let world = World::new();
            let first = world.publish("k", b"one").await;
            world.publish("k", b"two").await;
            copy(only_kept(&world), world.path("b/k"));
            let copied = found(&world, "k").await;
            assert_ne!(first, copied);
            if published {
                world.publish("k", b"four").await;
            }
            let (gone, left) = if later_first { (&copied, &first) } else { (&first, &copied) };
            world.delete(gone).await;
            world.assert_holds(left, b"one").await;
            world.delete(left).await;
            world.assert_gone(left).await;
            assert!(world.ours().is_empty(), "{:?}", world.ours());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_does_not_go_for_its_copy_that_somebody_removed() {
    let world = World::new();
    let first = world.publish("k", b"one").await;
    world.publish("k", b"two").await;
    copy(only_kept(&world), world.path("b/k"));
    let copied = found(&world, "k").await;
    fs::remove_file(world.path("b/k")).unwrap();
    world.delete(&copied).await;
    world.assert_holds(&first, b"one").await;
    world.delete(&first).await;
    world.assert_gone(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_of_a_restored_tree_are_found_and_removed() {
    let mut world = World::new();
    let first = world.publish("k", b"one").await;
    let second = world.publish("k", b"two").await;
    copy(world.root.clone(), world.root.with_extension("copy"));
    fs::remove_dir_all(&world.root).unwrap();
    fs::rename(world.root.with_extension("copy"), &world.root).unwrap();
    world.backend = PosixBackend::new(PosixOptions::new(&world.root), Arc::new(SystemClock));
    let third = world.publish("k", b"three").await;
    for (blob, bytes) in [(first, "one"), (second, "two"), (third, "three")] {
        world.assert_holds(&blob, bytes.as_bytes()).await;
        world.delete(&blob).await;
        world.assert_gone(&blob).await;
    }
    assert!(world.ours().is_empty(), "{:?}", world.ours());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_restored_alone_goes_with_its_object() {
    let world = World::new();
    let blob = world.publish("k", b"one").await;
    copy(world.path("b/k"), world.path("spare"));
    fs::rename(world.path("spare"), world.path("b/k")).unwrap();
    world.assert_holds(&blob, b"one").await;
    world.delete(&blob).await;
    assert_eq!((world.tree(), world.ours()), (vec!["b".to_owned()], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_the_first_release_kept_are_found_and_removed() {
    for world in [World::new(), World::without_attributes()] {
        let staged = world.stage("k", b"one").await;
        let first = world.backend.publish(&staged).await.unwrap().blob;
        let second = world.publish("k", b"two").await;
        let fields: Vec<&str> = first.as_str().split(['/', '.']).collect();
        let named = match fields[0] {
            "k-" => format!("{}-{}-{}", fields[1], fields[2], fields[3]),
            write => write.replacen('k', "", 1),
        };
        fs::rename(only_kept(&world), world.path(".cloudserver/kept").join(named)).unwrap();
        world.assert_holds(&first, b"one").await;
        let marker = BlobId::new(first.as_str().replacen('k', "m", 1));
        fs::rename(world.path("b/k"), world.path("spare")).unwrap();
        world.delete(&marker).await;
        assert_eq!(fs::read(world.path("b/k")).unwrap(), b"one", "the marker's object is back");
        assert!(world.backend.find(&staged.handle).await.unwrap().is_some());
        world.delete(&first).await;
        world.assert_gone(&first).await;
        fs::rename(world.path("spare"), world.path("b/k")).unwrap();
        world.assert_holds(&second, b"two").await;
        assert!(world.ours().is_empty(), "{:?}", world.ours());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_deleted_is_hidden() {
    let world = World::new();
    let first = world.publish("k", b"one").await;
    fs::write(world.path("b/new"), b"dropped since").unwrap();
    fs::rename(world.path("b/new"), world.path("b/k")).unwrap();
    for standing in [Some(&first), None] {
        assert_eq!(world.backend.mark_deleted("b", "k", standing).await.unwrap(), None);
        assert_eq!(fs::read(world.path("b/k")).unwrap(), b"dropped since");
    }
    let second = world.publish("k", b"two").await;
    append(&world, "b/k");
    assert_eq!(world.backend.mark_deleted("b", "k", Some(&second)).await.unwrap(), None);
    assert_eq!(fs::read(world.path("b/k")).unwrap(), b"two+");
}
