//! Nobody gets out of the folder: not by keys, not by links, not by being quick.

use std::{
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_keys_stay_within_and_apart() {
    let world = World::new();
    let long = format!("{}..", "a".repeat(1022));
    let slashes = "/".repeat(1024);
    let deep = "../".repeat(341);
    let nuls = "\0".repeat(1024);
    let wide = "\u{1F600}".repeat(256);
    let keys = [
        "..",
        ".",
        "../x",
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../x",
        "./a",
        "a/.",
        "a/..",
        "//",
        "a//b",
        "a/b",
        "a",
        "A",
        "a/",
        "%",
        "%2E%2E/x",
        "%2e%2e/x",
        "%=",
        "a%=",
        "a%25=",
        "%_",
        "a\0b",
        "a\nb",
        "\u{7f}",
        ".cloudserver",
        ".cloudserver/format",
        "\u{e9}",
        "e\u{301}",
        "~",
        "-rf",
        "*",
        "a\\b",
        "CON",
        "a:b",
        "a ",
        " a",
        ".nfs0001",
        &long,
        &slashes,
        &deep,
        &nuls,
        &wide,
    ];
    let mut blobs = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        blobs.push(world.publish(key, format!("{index}").as_bytes()).await);
    }
    for (index, blob) in blobs.iter().enumerate() {
        assert!(blob.as_str().len() <= 2048);
        world.assert_holds(blob, format!("{index}").as_bytes()).await;
    }
    let above = fs::read_dir(world.root.parent().unwrap()).unwrap().count();
    assert_eq!((above, fs::read_dir(&world.root).unwrap().count()), (1, 2), "the bucket and our folder");
    for blob in &blobs {
        world.delete(blob).await;
        world.assert_gone(blob).await;
    }
    assert_eq!((world.tree(), world.ours()), (vec!["b".to_owned()], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_root_is_the_buckets_our_folder_is_no_key() {
    let world = World::with(|options| options.bucket_match = true);
    let blob = world.publish(".cloudserver/format", b"mine").await;
    assert_eq!(fs::read(world.path("%2Ecloudserver/format")).unwrap(), b"mine");
    world.assert_holds(&blob, b"mine").await;
    world.delete(&blob).await;
    assert!(world.tree().is_empty());
    world.backend.probe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_never_followed() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    let blob = world.publish("d/k", b"bytes").await;

    fs::remove_file(world.path("b/d/k")).unwrap();
    symlink(outside.path().join("secret"), world.path("b/d/k")).unwrap();
    world.assert_gone(&blob).await;
    world.delete(&blob).await;
    let blob = world.publish("d/k", b"bytes").await;
    assert!(fs::symlink_metadata(world.path("b/d/k")).unwrap().is_file(), "the link gave way");

    fs::rename(world.path("b/d"), outside.path().join("d")).unwrap();
    symlink(outside.path().join("d"), world.path("b/d")).unwrap();
    world.assert_gone(&blob).await;
    world.delete(&blob).await;
    assert!(outside.path().join("d/k").try_exists().unwrap(), "behind the link nothing is removed");
    let staged = world.stage("d/new", b"bytes").await;
    let refused = world.backend.publish(&staged).await;
    assert!(matches!(refused, Err(DataError::Unavailable(_))), "{refused:?}");
    assert!(!outside.path().join("d/new").try_exists().unwrap(), "nothing is written behind the link");
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
    world.backend.discard(&staged.handle).await.unwrap();

    let other = World::new();
    symlink(outside.path(), other.path(".cloudserver")).unwrap();
    assert!(matches!(other.backend.probe().await, Err(DataError::Unavailable(_))));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_and_sockets_hold_nobody_up() {
    let world = World::new();
    let blob = world.publish("k", b"bytes").await;
    fs::remove_file(world.path("b/k")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("b/k"), rustix::fs::Mode::RWXU).unwrap();
    world.assert_gone(&blob).await;
    let blob = world.publish("k", b"bytes").await;
    world.assert_holds(&blob, b"bytes").await;
    let _socket = std::os::unix::net::UnixListener::bind(world.path("b/s")).unwrap();
    let blob = world.publish("s", b"bytes").await;
    world.assert_holds(&blob, b"bytes").await;
}

/// Somebody swaps a folder for a link to elsewhere and back, as fast as he can.
#[tokio::test(flavor = "multi_thread")]
async fn a_race_with_links_wins_nothing() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("k"), b"secret").unwrap();
    let blob = world.publish("d/k", b"public").await;
    let over = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (over, dir, link) = (Arc::clone(&over), world.path("b/d"), world.path("b/link"));
        let outside = outside.path().to_owned();
        std::thread::spawn(move || {
            symlink(&outside, &link).unwrap();
            while !over.load(Ordering::SeqCst) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &dir, rustix::fs::CWD, &link, flags).unwrap();
            }
        })
    };
    let (mut read, mut written) = (0, 0);
    for round in 0..400_u32 {
        match world.read(&blob, 0..6).await {
            Ok(bytes) => {
                assert_eq!(bytes, b"public");
                read += 1;
            }
            Err(error) => assert!(matches!(error, DataError::NotFound(_)), "{error}"),
        }
        let staged = world.stage(&format!("d/new{round}"), b"new").await;
        match world.backend.publish(&staged).await {
            Ok(new) => {
                world.delete(&new.blob).await;
                written += 1;
            }
            Err(_) => world.backend.discard(&staged.handle).await.unwrap(),
        }
    }
    over.store(true, Ordering::SeqCst);
    swapper.join().unwrap();
    assert!(read > 0 && written > 0, "the race was run: {read} {written}");
    let names: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["k"], "nothing got out");
    assert_eq!(fs::read(outside.path().join("k")).unwrap(), b"secret", "nothing was removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_folder_is_not_taken_over_from_whoever_was_there_first() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else can give away a folder.
        return;
    }
    for path in [".cloudserver", ".cloudserver/kept"] {
        let world = World::new();
        fs::create_dir_all(world.path(path)).unwrap();
        std::os::unix::fs::chown(world.path(path), Some(12_345), None).unwrap();
        let why = world.backend.probe().await.unwrap_err().to_string();
        assert!(why.contains("is of user 12345"), "{why}");
        // It is ours after all.
        std::os::unix::fs::chown(world.path(path), Some(0), None).unwrap();
        world.backend.probe().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_place_of_our_folder_is_refused() {
    let (world, outside) = (World::new(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(outside.path(), world.path(".cloudserver")).unwrap();
    assert!(matches!(world.backend.probe().await, Err(DataError::Unavailable(_))));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "nothing escapes");
}
