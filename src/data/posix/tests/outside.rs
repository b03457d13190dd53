//! What other programs do to the files is noticed, and never handed out as what was stored.

use std::{io::Write, time::Duration};

use super::*;
use crate::data::{Browse, PutHint};

async fn assert_changed(world: &World, blob: &BlobId) {
    let found = world.read(blob, 0..1).await;
    assert!(matches!(found, Err(DataError::Corrupt { .. })), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_edits_is_not_what_was_stored() {
    let world = World::new();
    let blob = world.publish("edited", b"0123456789").await;
    fs::OpenOptions::new().write(true).open(world.path("b/edited")).unwrap().write_all(b"x").unwrap();
    assert_changed(&world, &blob).await;
    let blob = world.publish("cut", b"0123456789").await;
    fs::OpenOptions::new().write(true).open(world.path("b/cut")).unwrap().set_len(5).unwrap();
    assert_changed(&world, &blob).await;
    let blob = world.publish("grown", b"0123456789").await;
    fs::OpenOptions::new().append(true).open(world.path("b/grown")).unwrap().write_all(b"x").unwrap();
    assert_changed(&world, &blob).await;

    // As editors do it.
    let blob = world.publish("replaced", b"0123456789").await;
    fs::write(world.path("b/new"), b"0123456789").unwrap();
    fs::rename(world.path("b/new"), world.path("b/replaced")).unwrap();
    world.assert_gone(&blob).await;
    world.delete(&blob).await;
    assert_eq!(fs::read(world.path("b/replaced")).unwrap(), b"0123456789");

    let blob = world.publish("removed", b"0123456789").await;
    fs::remove_file(world.path("b/removed")).unwrap();
    world.assert_gone(&blob).await;
    world.delete(&blob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_tree_is_known_by_its_attributes() {
    let world = World::new();
    let blob = world.publish("d/k", b"bytes").await;
    let status = std::process::Command::new("cp").args(["-a"]).arg(world.path("b")).arg(world.path("c")).status();
    assert!(status.unwrap().success());
    fs::remove_dir_all(world.path("b")).unwrap();
    fs::rename(world.path("c"), world.path("b")).unwrap();
    world.assert_holds(&blob, b"bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_a_reader_breaks_the_stream() {
    let world = World::new();
    let bytes = pattern(4_000_000);
    let blob = world.publish("k", &bytes).await;
    let mut stream = world.backend.get(&blob, 0..4_000_000).await.unwrap();
    let mut got = stream.next().await.unwrap().unwrap().to_vec();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let file = fs::OpenOptions::new().write(true).open(world.path("b/k")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"wrong", 3_999_000).unwrap();
    let mut broken = false;
    while let Some(slice) = stream.next().await {
        match slice {
            Ok(slice) => got.extend_from_slice(&slice),
            Err(_) => broken = true,
        }
    }
    assert!(broken && got.len() < bytes.len());
    assert_eq!(got, bytes[..got.len()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_put_in_the_way_of_a_publication_is_kept() {
    let world = World::new();
    fs::create_dir(world.path("b")).unwrap();
    fs::write(world.path("b/k"), b"foreign").unwrap();
    let blob = world.publish("k", b"ours").await;
    assert_eq!(fs::read(world.path("b/k")).unwrap(), b"ours");
    let kept = world.ours();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(world.path(&kept[0])).unwrap(), b"foreign");
    world.delete(&blob).await;
    // An empty folder has the name.
    fs::create_dir(world.path("b/k")).unwrap();
    let blob = world.publish("k", b"ours").await;
    assert_eq!(fs::read(world.path("b/k%=")).unwrap(), b"ours");
    world.assert_holds(&blob, b"ours").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_folder_is_said_to_be_absent_and_needs_no_restart() {
    let world = World::new();
    fs::remove_dir(&world.root).unwrap();
    let why = world.backend.probe().await.unwrap_err().to_string();
    assert!(why.contains("make the folder, or mount it"), "{why}");
    assert!(matches!(
        world.backend.get(&BlobId::new("k-.0.0.0/b/k"), 0..0).await.map(drop),
        Err(DataError::Unavailable(_))
    ));
    fs::create_dir(&world.root).unwrap();
    world.backend.probe().await.unwrap();
    let blob = world.publish("k", b"bytes").await;
    // Another file system is mounted over it.
    fs::rename(&world.root, world.root.with_extension("old")).unwrap();
    fs::create_dir(&world.root).unwrap();
    world.assert_holds(&blob, b"bytes").await;
    assert!(matches!(world.backend.probe().await, Err(DataError::Unavailable(_))));
    assert_away(&world, &blob, "is its file system mounted?").await;
    assert_eq!(fs::read_dir(&world.root).unwrap().count(), 0, "nothing is made where nothing may be");
    // The right one is back, without a restart.
    fs::remove_dir(&world.root).unwrap();
    fs::rename(world.root.with_extension("old"), &world.root).unwrap();
    world.backend.probe().await.unwrap();
    world.assert_holds(&blob, b"bytes").await;
}

/// Nothing is read, written, found or removed, and every answer says what to do.
async fn assert_away(world: &World, blob: &BlobId, told: &str) {
    let backend = &world.backend;
    let small = || body(b"bytes");
    let faults = [
        backend.probe().await.unwrap_err(),
        backend.get(blob, 0..1).await.map(drop).unwrap_err(),
        backend.delete(blob).await.unwrap_err(),
        backend.stage(&object("new"), small(), Some(5).into()).await.unwrap_err(),
        backend.put(small(), PutHint::default()).await.unwrap_err(),
        backend.create_upload(&object("new")).await.unwrap_err(),
        backend.mark_deleted("b", "k", Some(blob)).await.unwrap_err(),
        backend.holds(blob).await.unwrap_err(),
        backend.is_taken("b", "k").await.unwrap_err(),
        backend.identity().await.unwrap_err(),
    ];
    for fault in faults {
        assert!(matches!(&fault, DataError::Unavailable(why) if why.contains(told)), "{fault}");
    }
}

/// Another backend over the same folder, as after a restart.
fn again(world: &mut World, expected: Expected) {
    world.backend = PosixBackend::new(PosixOptions::new(&world.root), Arc::new(SystemClock));
    world.backend.require(expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_mount_point_is_no_store_that_was_used_before() {
    let mut world = World::new();
    let blob = world.publish("k", b"bytes").await;
    let id = world.backend.identity().await.unwrap();
    let mounted = world.root.with_extension("mounted");
    for expected in [Expected::Identity(id.clone()), Expected::Something] {
        fs::rename(&world.root, &mounted).unwrap();
        fs::create_dir(&world.root).unwrap();
        again(&mut world, expected.clone());
        assert_away(&world, &blob, "is its file system mounted?").await;
        assert_eq!(fs::read_dir(&world.root).unwrap().count(), 0, "{expected:?}");
        // Mounted at last.
        fs::remove_dir(&world.root).unwrap();
        fs::rename(&mounted, &world.root).unwrap();
        world.backend.probe().await.unwrap();
        world.assert_holds(&blob, b"bytes").await;
    }
    // What is told is what helps.
    fs::remove_dir_all(world.path(".cloudserver")).unwrap();
    again(&mut world, Expected::Identity(id.clone()));
    let why = world.backend.probe().await.unwrap_err().to_string();
    fs::create_dir(world.path(".cloudserver")).unwrap();
    let lines: Vec<&str> = why.split('"').skip(1).step_by(2).collect();
    fs::write(world.path(".cloudserver/format"), format!("{}\n{}\n", lines[0], lines[1])).unwrap();
    world.backend.probe().await.unwrap();
    assert_eq!(world.backend.identity().await.unwrap(), id);
    world.assert_holds(&blob, b"bytes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_another_location_is_not_taken_for_this_one() {
    let (mut world, other) = (World::new(), World::new());
    let blob = world.publish("k", b"bytes").await;
    other.publish("k", b"others").await;
    let id = world.backend.identity().await.unwrap();
    fs::remove_dir_all(&world.root).unwrap();
    fs::rename(&other.root, &world.root).unwrap();
    again(&mut world, Expected::Identity(id));
    assert_away(&world, &blob, "is another folder than before").await;
    // Told later what it must be, it looks again.
    again(&mut world, Expected::Something);
    world.backend.probe().await.unwrap();
    let wrong = Expected::Identity("0".repeat(40));
    world.backend.require(wrong);
    assert!(matches!(world.backend.probe().await, Err(DataError::Unavailable(_))));
}
