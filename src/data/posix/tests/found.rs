//! A walk finds what others brought.

use std::os::unix::{ffi::OsStrExt, fs::symlink};

use super::*;
use crate::data::{Browse, Found};

async fn browse(world: &World) -> (Vec<(String, BlobId, u64)>, Vec<String>) {
    let (mut objects, mut skipped) = (Vec::new(), Vec::new());
    let mut walk = world.backend.walk("b");
    while let Some(found) = walk.next().await {
        match found.unwrap() {
            Found::Object { key, blob, size, modified } => {
                assert!(modified.as_secs() > 1_700_000_000);
                objects.push((key, blob, size));
            }
            Found::Skipped { name, .. } => skipped.push(name),
        }
    }
    objects.sort();
    skipped.sort();
    (objects, skipped)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_others_are_found_by_their_keys() {
    for bucket_match in [false, true] {
        let world = World::with(|options| options.bucket_match = bucket_match);
        let base = if bucket_match { world.root.clone() } else { world.path("b") };
        assert_eq!(browse(&world).await, (vec![], vec![]));
        fs::create_dir_all(base.join("d/e")).unwrap();
        for (name, bytes) in [("d/e/100% sure.txt", "1"), ("top", "22"), ("d/a%=", "333"), (".nfs0000000012", "4")] {
            fs::write(base.join(name), bytes).unwrap();
        }
        fs::write(base.join("line\nbreak"), "").unwrap();
        fs::write(base.join(std::ffi::OsStr::from_bytes(b"latin\xe9")), "").unwrap();
        symlink("/etc", base.join("link")).unwrap();
        let ours = world.publish("d/ours", b"4444").await;
        let (objects, skipped) = browse(&world).await;
        let keys: Vec<_> = objects.iter().map(|(key, _, size)| (key.as_str(), *size)).collect();
        assert_eq!(keys, [("d/a", 3), ("d/e/100% sure.txt", 1), ("d/ours", 4), ("top", 2)]);
        assert_eq!(skipped.len(), 3, "{skipped:?}");
        assert_eq!(objects[2].1, ours, "what we published is known by the same name");
        for (_, blob, size) in &objects {
            assert!(world.backend.holds(blob).await.unwrap() && world.backend.stands(blob).await.unwrap());
            assert!(world.backend.is_same(blob, blob) && !world.backend.is_same(blob, &BlobId::new("other")));
            assert_eq!(world.read(blob, 0..*size).await.unwrap().len() as u64, *size);
        }
        fs::write(base.join("top"), "xx").unwrap();
        assert!(!world.backend.holds(&objects[3].1).await.unwrap());
        let later = world.publish("d/ours", b"5555").await;
        assert!(world.backend.holds(&ours).await.unwrap() && !world.backend.stands(&ours).await.unwrap());
        assert!(world.backend.stands(&later).await.unwrap());
        world.delete(&objects[0].1).await;
        assert_eq!(browse(&world).await.0.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_come_once_each() {
    let world = World::new();
    for folder in 0..5 {
        fs::create_dir_all(world.path(&format!("b/{folder}"))).unwrap();
        for file in 0..300 {
            fs::write(world.path(&format!("b/{folder}/{file}")), "").unwrap();
        }
    }
    let (mut objects, skipped) = browse(&world).await;
    objects.dedup();
    assert_eq!((objects.len(), skipped.len()), (1500, 0));
    let id = world.backend.identity().await.unwrap();
    assert_eq!(id.len(), 40);
    assert_ne!(World::new().backend.identity().await.unwrap(), id);
}
