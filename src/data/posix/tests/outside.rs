//! What other programs do to the files is noticed, and never handed out as what was stored.

use std::{io::Write, time::Duration};

use super::*;

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
    world.backend.probe().await.unwrap();
    world.assert_gone(&blob).await;
}
