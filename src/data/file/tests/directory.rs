//! The data directory: who may use it, and what is in it.

use std::fs;

use super::{FileBackend, FileOptions, body, pattern, put, read, relaxed};
use crate::data::{BlobId, DataBackend, DataError, PutHint};

fn refusal(result: Result<FileBackend, DataError>) -> String {
    match result {
        Err(DataError::Unavailable(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_directory_has_one_owner_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(100_000);
    let first = FileBackend::open(dir.path(), relaxed()).unwrap();
    let blob = put(&first, &bytes).await;
    let why = refusal(FileBackend::open(dir.path(), relaxed()));
    let holder = format!("process {}", std::process::id());
    assert!(why.contains(&holder) && why.contains("stop it"), "{why}");
    assert_eq!(read(&first, &blob, 0..100_000).await.1, Ok(()), "the owner is not disturbed");
    let id = first.directory_id().to_owned();
    drop(first);
    let second = FileBackend::open(dir.path(), relaxed()).unwrap();
    assert_eq!(second.directory_id(), id, "a directory keeps its id");
    assert_eq!(read(&second, &blob, 0..100_000).await, (bytes.to_vec(), Ok(())));
}

#[test]
fn a_directory_of_a_newer_release_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(FileBackend::open(dir.path(), relaxed()).unwrap());
    let format = dir.path().join("format");
    let newer = fs::read_to_string(&format).unwrap().replace("format 1", "format 2");
    fs::write(&format, &newer).unwrap();
    let why = refusal(FileBackend::open(dir.path(), relaxed()));
    assert!(why.contains("format 2") && why.contains("newer release"), "{why}");
    assert_eq!(fs::read_to_string(&format).unwrap(), newer);
    for broken in ["", "cloudserver data, format 1\n", "cloudserver data, format x\nid 1\n", "\u{0}"] {
        fs::write(&format, broken).unwrap();
        let why = refusal(FileBackend::open(dir.path(), relaxed()));
        assert!(why.contains("unreadable"), "{broken:?}: {why}");
    }
}

#[test]
fn a_directory_with_other_contents_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "…").unwrap();
    let why = refusal(FileBackend::open(dir.path(), relaxed()));
    assert!(why.contains("thesis.tex") && why.contains("empty directory"), "{why}");
    assert!(!dir.path().join("00").try_exists().unwrap(), "nothing was made in it");
}

#[tokio::test]
async fn an_interrupted_first_start_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new/deep/er");
    fs::create_dir_all(root.join("00")).unwrap();
    for left in ["LOCK", "format.new", ".gitkeep"] {
        fs::write(root.join(left), "").unwrap();
    }
    let backend = FileBackend::open(&root, FileOptions::default()).unwrap();
    for shard in 0..=255_u8 {
        assert!(root.join(format!("{shard:02x}")).is_dir());
    }
    let blob = put(&backend, &pattern(10)).await;
    assert_eq!(read(&backend, &blob, 0..10).await.1, Ok(()));
}

#[tokio::test]
async fn names_from_elsewhere_never_reach_the_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::write(&outside, "secret").unwrap();
    let root = dir.path().join("data");
    let backend = FileBackend::open(&root, relaxed()).unwrap();
    let blob = put(&backend, &pattern(10)).await;
    let upper = blob.as_str().to_uppercase();
    let deeper = format!("{}/x", "a".repeat(38));
    for name in ["../outside", "../../outside", "LOCK", "00", &upper, &deeper] {
        let name = BlobId::new(name);
        let got = backend.get(&name, 0..1).await.map(|_| "a stream");
        assert!(matches!(got, Err(DataError::Corrupt { .. })), "{name:?}: {got:?}");
        assert!(backend.delete(&name).await.is_err(), "{name:?}");
        assert!(backend.list(Some(&name), 1).await.is_err(), "{name:?}");
        let put = backend.put(body(&pattern(10)), PutHint { blob: Some(name.clone()), size: None }).await;
        assert!(matches!(put, Err(DataError::Corrupt { .. })), "{name:?}: {put:?}");
    }
    assert_eq!(fs::read_to_string(outside).unwrap(), "secret");
    assert_eq!(read(&backend, &blob, 0..10).await.1, Ok(()));
}

#[tokio::test]
async fn files_are_named_by_chance_and_open_to_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(dir.path(), relaxed()).unwrap();
    let bytes = pattern(10);
    let (one, other) = (put(&backend, &bytes).await, put(&backend, &bytes).await);
    assert_ne!(one, other, "equal bytes get different names");
    for blob in [one, other] {
        assert!(blob.as_str().len() == 40 && blob.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
        let mode = fs::metadata(super::file_of(dir.path(), &blob)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[tokio::test]
async fn strangers_in_a_shard_are_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(dir.path(), relaxed()).unwrap();
    let blob = put(&backend, &pattern(10)).await;
    let elsewhere = if blob.as_str().starts_with("00") { "01" } else { "00" };
    fs::write(dir.path().join(elsewhere).join("notes.txt"), "").unwrap();
    fs::write(dir.path().join(elsewhere).join(blob.as_str()), "").unwrap();
    assert_eq!(backend.list(None, 10).await.unwrap(), [blob]);
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_an_error_not_a_short_list() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(dir.path(), relaxed()).unwrap();
    put(&backend, &pattern(10)).await;
    let shard = dir.path().join("fe");
    if fs::remove_dir(&shard).is_err() {
        fs::remove_dir_all(&shard).unwrap();
    }
    assert!(backend.list(None, 1000).await.is_err());
}
