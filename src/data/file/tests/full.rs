//! A full device.

use std::{io::Write, path::Path, process::Command};

use futures_util::{StreamExt, stream};

use super::{FileBackend, FileOptions, body, pattern, put, read, relaxed};
use crate::data::{DataBackend, DataError, PutHint};

#[tokio::test]
async fn puts_leave_the_reserve_alone() {
    let dir = tempfile::tempdir().unwrap();
    let free = FileBackend::open(dir.path(), relaxed()).unwrap().disk_usage().await.unwrap().unwrap();
    assert!(free.available <= free.free && free.free <= free.total && free.available > 0, "{free:?}");
    let backend = FileBackend::open(dir.path(), FileOptions { reserve: u64::MAX / 2, ..relaxed() }).unwrap();
    let refused = backend.put(body(&pattern(10)), PutHint::default()).await;
    assert!(matches!(refused, Err(DataError::NoSpace)), "{refused:?}");
    let untouched = stream::poll_fn(|_| panic!("a body that cannot be kept is not asked for")).boxed();
    let refused = backend.put(untouched, PutHint::default()).await;
    assert!(matches!(refused, Err(DataError::NoSpace)), "{refused:?}");
    assert!(matches!(backend.probe().await, Err(DataError::NoSpace)));
    assert!(backend.list(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_body_larger_than_the_device_is_refused_before_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(dir.path(), relaxed()).unwrap();
    for size in [1 << 60, u64::MAX] {
        let hint = PutHint { blob: None, size: Some(size) };
        let endless = stream::repeat(Ok(pattern(2 << 20))).boxed();
        let refused = backend.put(endless, hint).await;
        assert!(matches!(refused, Err(DataError::NoSpace)), "{refused:?}");
    }
    put(&backend, &pattern(1000)).await;
}

/// A small file system, mounted while this lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this process may not mount; says so, so that a skipped test does not look like a passed one.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        writeln!(std::io::stderr(), "SKIPPED: no right to mount a small file system").unwrap();
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.path()).status().unwrap();
    }
}

#[tokio::test]
async fn a_full_device_refuses_puts_keeps_what_is_there_and_recovers() {
    let Some(disk) = SmallDisk::mount("16m") else { return };
    let backend = FileBackend::open(disk.path(), FileOptions { reserve: 0, ..FileOptions::default() }).unwrap();
    let bytes = pattern(5 << 20);
    let mut kept = Vec::new();
    let refused = loop {
        // Without a size, so that the device fills up while the body is written.
        match backend.put(body(&bytes), PutHint::default()).await {
            Ok(written) => kept.push(written.blob),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, DataError::NoSpace), "{refused:?}");
    assert!(!kept.is_empty() && kept.len() < 4, "{kept:?}");
    let mut listed = backend.list(None, 100).await.unwrap();
    kept.sort();
    listed.sort();
    assert_eq!(listed, kept, "the part that was written is gone");
    for blob in &kept {
        assert_eq!(read(&backend, blob, 0..5 << 20).await, (bytes.to_vec(), Ok(())));
    }
    backend.delete(&kept[0]).await.unwrap();
    let again = put(&backend, &bytes).await;
    assert_eq!(read(&backend, &again, 0..5 << 20).await.1, Ok(()), "space that came back is used");
}
