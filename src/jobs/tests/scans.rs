//! A scan of a folder that is not the location's changes nothing, however far it is.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    clock::SystemClock,
    data::{DataError, FileDurability, PosixBackend, PosixOptions},
    storage::StorageResult,
};

/// An engine whose objects are files.
struct Files {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    metadata: Arc<MemoryStore>,
    storage: Storage,
    jobs: Jobs,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let metadata = Arc::new(MemoryStore::new());
        let (storage, jobs) = Self::open(&folder, &clock, &metadata);
        Self { folder, clock, metadata, storage, jobs }
    }

    fn open(folder: &tempfile::TempDir, clock: &Arc<ManualClock>, metadata: &Arc<MemoryStore>) -> (Storage, Jobs) {
        let options =
            PosixOptions { durability: FileDurability::Relaxed, ..PosixOptions::new(folder.path().join("root")) };
        let backend = Arc::new(PosixBackend::new(options, Arc::new(SystemClock)));
        let table = LocationTable::new([Location::new("files", backend)]);
        let ids = Identifiers::new(Arc::<ManualClock>::clone(clock), "RG001");
        let (metadata, clock) = (Arc::<MemoryStore>::clone(metadata), Arc::<ManualClock>::clone(clock));
        let keys = Arc::new(MemoryKms::default());
        let storage = Storage::new(metadata, table, clock, ids, (keys, Settings::default()));
        let jobs = Jobs::new(storage.clone(), [Arc::new(Scans::default()) as Arc<dyn JobKind>]);
        (storage, jobs)
    }

    /// As after the end of the process.
    fn restart(&mut self) {
        (self.storage, self.jobs) = Self::open(&self.folder, &self.clock, &self.metadata);
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    async fn bucket(&self) -> Arc<Bucket> {
        let name = BucketName::new("bucket").unwrap();
        let record = BucketRecord { owner: "owner".into(), location: "files".into(), ..BucketRecord::default() };
        self.storage.create_bucket(NewBucket { name: name.clone(), record }).await.unwrap();
        self.storage.bucket(&name).await.unwrap()
    }

    async fn put(&self, bucket: &Arc<Bucket>, key: &str, body: &[u8]) -> StorageResult<ObjectRecord> {
        let put = PutObject {
            bucket: Arc::clone(bucket),
            key: ObjectKey::new(key).unwrap(),
            location: Arc::clone(self.storage.locations().get("files").unwrap()),
            attributes: Attributes::default(),
            condition: WriteCondition::Always,
            body: incoming(body),
            op: JournalOp::ObjectPut,
        };
        self.storage.put_object(put).await
    }

    async fn turn(&self) -> Turn {
        let tasks = Tasks::default();
        self.jobs.turn(&mut tasks.stop_signal()).await.unwrap()
    }

    async fn job(&self, id: &str) -> JobRecord {
        self.jobs.find(id).await.unwrap().unwrap()
    }

    async fn scan(&self, bucket: &Arc<Bucket>) -> JobRecord {
        let request = JobRequest { from: "files".into(), ..JobRequest::default() };
        self.jobs.submit(("scan", &AccountId::new("owner")), bucket, request).await.unwrap()
    }

    /// Another folder is in its place, with a file of somebody's.
    fn unmount(&self) {
        fs::rename(self.path("root"), self.path("mounted")).unwrap();
        fs::create_dir_all(self.path("root/bucket")).unwrap();
        fs::write(self.path("root/bucket/file"), "somebody's").unwrap();
    }

    fn mount(&self) {
        fs::remove_dir_all(self.path("root")).unwrap();
        fs::rename(self.path("mounted"), self.path("root")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_goes_on_over_another_folder_waits_and_gives_nothing_up() {
    for (restarted, expected) in [(true, true), (true, false), (false, false)] {
        let mut files = Files::new();
        let bucket = files.bucket().await;
        for key in ["a", "b", "c"] {
            files.put(&bucket, key, b"bytes").await.unwrap();
        }
        let job = files.scan(&bucket).await;
        while files.job(&job.id).await.phase == 0 {
            files.turn().await;
        }
        files.unmount();
        if restarted {
            files.restart();
        }
        if expected {
            files.storage.expect_stores(&files.storage.locations()).await.unwrap();
            let refused = files.put(&bucket, "new", b"bytes").await;
            assert!(matches!(refused, Err(StorageError::Data(DataError::Unavailable(_)))), "{refused:?}");
            assert!(!files.path("root/.cloudserver").try_exists().unwrap());
        }
        for _ in 0..3 {
            assert_eq!(files.turn().await, Turn::Failed);
            let job = files.job(&job.id).await;
            assert_eq!((job.state(), job.removed), (JobState::Running, 0), "{job:?}");
            assert!(job.message.starts_with("waiting: "), "{}", job.message);
        }
        files.mount();
        files.restart();
        while files.turn().await != Turn::Nothing {}
        let job = files.job(&job.id).await;
        assert_eq!((job.state(), job.removed), (JobState::Done, 0), "{job:?}");
        for key in ["a", "b", "c"] {
            assert!(files.storage.version(&bucket, &ObjectKey::new(key).unwrap(), None).await.is_ok(), "{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_folder_holds_is_not_taken_up_by_a_scan_under_way() {
    let files = Files::new();
    let bucket = files.bucket().await;
    for number in 0..100 {
        files.put(&bucket, &format!("{number}"), b"bytes").await.unwrap();
    }
    let job = files.scan(&bucket).await;
    files.turn().await;
    assert_eq!(files.job(&job.id).await.phase, 0, "it is not through");
    files.unmount();
    for _ in 0..3 {
        assert_eq!(files.turn().await, Turn::Failed);
    }
    // The mark is lost, but not the rest.
    files.mount();
    fs::remove_file(files.path("root/.cloudserver/format")).unwrap();
    assert_eq!(files.turn().await, Turn::Failed);
    let job = files.job(&job.id).await;
    assert_eq!((job.state(), job.added, job.removed), (JobState::Running, 0, 0), "{job:?}");
}
