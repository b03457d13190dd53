//! What must have happened before a put answers, and what a fault on the way leaves behind.

use std::{
    fs::File,
    io::{self, IoSlice},
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::io::Errno;

use super::{
    FileOptions, body, pattern, put, read, relaxed,
    script::{Script, Step},
};
use crate::data::{
    DataBackend, DataError, DiskUsage, PutHint,
    file::{dir_sync::DirSyncs, disk::Disk},
    name::BlobName,
};

#[tokio::test]
async fn a_put_answers_only_after_file_and_directory_are_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, backend) = Script::backend(dir.path(), FileOptions::default());
    put(&backend, &pattern(100_000)).await;
    disk.note(Step::Answer);
    assert_eq!(disk.take(), [Step::Create, Step::Write, Step::SyncFile, Step::SyncShard, Step::Answer]);

    put(&backend, &pattern(5_000_000)).await;
    disk.note(Step::Answer);
    let large = disk.take();
    assert_eq!(large[..3], [Step::Create, Step::Allocate, Step::Write]);
    let (writes, rest) = large[2..].split_at(large[2..].iter().take_while(|step| **step == Step::Write).count());
    assert!(writes.len() >= 2, "{large:?}");
    assert_eq!(rest, [Step::SyncFile, Step::SyncShard, Step::Answer]);
}

#[tokio::test]
async fn a_large_put_keeps_the_device_busy_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, backend) = Script::backend(dir.path(), FileOptions::default());
    put(&backend, &pattern(20 << 20)).await;
    let steps = disk.take();
    assert!(steps.iter().filter(|step| **step == Step::Writeback).count() >= 2, "{steps:?}");
    assert_eq!(steps[steps.len() - 3..], [Step::Write, Step::SyncFile, Step::SyncShard]);
}

#[tokio::test]
async fn a_relaxed_put_does_not_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, backend) = Script::backend(dir.path(), relaxed());
    put(&backend, &pattern(100_000)).await;
    assert_eq!(disk.take(), [Step::Create, Step::Write]);
}

#[tokio::test]
async fn a_fault_at_any_step_fails_the_put_and_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, backend) = Script::backend(dir.path(), FileOptions::default());
    let bytes = pattern(5_000_000);
    for step in [Step::Create, Step::Allocate, Step::Write, Step::SyncFile] {
        for code in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::MFILE] {
            disk.fail(step, code);
            let hint = PutHint { blob: None, size: Some(bytes.len() as u64) };
            let result = backend.put(body(&bytes), hint).await;
            let fits = match code {
                Errno::NOSPC | Errno::DQUOT => matches!(result, Err(DataError::NoSpace)),
                Errno::ROFS | Errno::MFILE => matches!(result, Err(DataError::Unavailable(_))),
                _ => matches!(result, Err(DataError::Io(_))),
            };
            assert!(fits, "{code} at {step:?}: {result:?}");
            assert!(backend.list(None, 10).await.unwrap().is_empty(), "{code} at {step:?} leaves nothing");
            let steps = disk.take();
            let syncs = steps.iter().filter(|step| **step == Step::SyncFile).count();
            assert!(syncs <= 1, "a failed sync is not tried again: {steps:?}");
            let removed = steps.last() == Some(&Step::Remove);
            assert!(removed || step == Step::Create, "the file is removed before the answer: {steps:?}");
        }
    }
    let blob = put(&backend, &bytes).await;
    assert_eq!(read(&backend, &blob, 0..5_000_000).await, (bytes.to_vec(), Ok(())), "the backend has recovered");
}

#[tokio::test]
async fn a_file_system_that_cannot_allocate_is_as_good() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, backend) = Script::backend(dir.path(), relaxed());
    disk.fail(Step::Allocate, Errno::OPNOTSUPP);
    let bytes = pattern(5_000_000);
    let blob = put(&backend, &bytes).await;
    assert_eq!(read(&backend, &blob, 0..5_000_000).await, (bytes.to_vec(), Ok(())));
}

#[tokio::test]
async fn short_and_interrupted_writes_are_completed() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, backend) = Script::backend(dir.path(), relaxed());
    disk.write_at_most(7777);
    for _ in 0..3 {
        disk.fail(Step::Write, Errno::INTR);
    }
    let bytes = pattern(300_001);
    let blob = put(&backend, &bytes).await;
    assert_eq!(read(&backend, &blob, 0..300_001).await, (bytes.to_vec(), Ok(())));
}

#[tokio::test]
async fn after_a_failed_directory_sync_puts_stop_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, backend) = Script::backend(dir.path(), FileOptions::default());
    let bytes = pattern(1000);
    let blob = put(&backend, &bytes).await;
    disk.fail(Step::SyncShard, Errno::IO);
    let failed = backend.put(body(&bytes), PutHint::default()).await;
    assert!(matches!(failed, Err(DataError::Io(_))), "{failed:?}");
    assert_eq!(backend.list(None, 10).await.unwrap(), std::slice::from_ref(&blob));
    let refused = backend.put(body(&bytes), PutHint::default()).await;
    assert!(matches!(refused, Err(DataError::Unavailable(_))), "{refused:?}");
    assert!(backend.probe().await.is_err(), "health tells it");
    assert_eq!(read(&backend, &blob, 0..1000).await, (bytes.to_vec(), Ok(())));
    backend.delete(&blob).await.unwrap();
}

#[tokio::test]
async fn out_of_files_the_idle_ones_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, backend) = Script::backend(dir.path(), relaxed());
    let bytes = pattern(1000);
    let (idle, wanted) = (put(&backend, &bytes).await, put(&backend, &bytes).await);
    read(&backend, &idle, 0..1000).await.1.unwrap();
    disk.fail(Step::Open, Errno::MFILE);
    assert_eq!(read(&backend, &wanted, 0..1000).await, (bytes.to_vec(), Ok(())));
    disk.take();
    read(&backend, &wanted, 0..1000).await.1.unwrap();
    assert_eq!(disk.take(), [], "a blob read just now is still open");
    read(&backend, &idle, 0..1000).await.1.unwrap();
    assert_eq!(disk.take(), [Step::Open], "an idle one had been closed");
}

/// A disk whose directory syncs start only when all callers have asked.
#[derive(Debug, Default)]
struct Gate {
    asked: AtomicUsize,
    started: AtomicUsize,
    ended: AtomicUsize,
}

const CALLERS: usize = 16;

impl Disk for Gate {
    fn sync_shard(&self, _: u8) -> io::Result<()> {
        self.started.fetch_add(1, Ordering::SeqCst);
        while self.asked.load(Ordering::SeqCst) < CALLERS {
            thread::yield_now();
        }
        // All have come to the door, not all through it.
        thread::park_timeout(Duration::from_millis(50));
        self.ended.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn create(&self, _: BlobName) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _: &File, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write(&self, _: &File, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn start_writeback(&self, _: &File, _: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_file(&self, _: &File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, _: BlobName) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: BlobName) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn names(&self, _: u8) -> io::Result<Vec<BlobName>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn usage(&self) -> io::Result<DiskUsage> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn try_write(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn concurrent_syncs_of_a_directory_share_one() {
    let (disk, syncs) = (Gate::default(), DirSyncs::new());
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                disk.asked.fetch_add(1, Ordering::SeqCst);
                let started = disk.started.load(Ordering::SeqCst);
                syncs.sync(&disk, 7).unwrap();
                assert!(disk.ended.load(Ordering::SeqCst) > started, "a sync that started after the request has ended");
            });
        }
    });
    let synced = disk.ended.load(Ordering::SeqCst);
    assert!((1..=4).contains(&synced), "{synced} syncs for {CALLERS} callers");
}
