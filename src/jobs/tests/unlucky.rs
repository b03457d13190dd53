//! Jobs whose records or steps meet with refusals, with others, and with later releases.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use futures_util::FutureExt;

use super::*;
use crate::{
    clock::SystemClock,
    data::{FileDurability, PosixBackend, PosixOptions},
    location::{Location, LocationTable},
    metadata::{
        Batch, MemoryStore, MetadataError, MetadataStore, Namespace, Table,
        refusing::{RefusingStore, puts},
    },
    storage::records::Versioning,
};

#[tokio::test]
async fn a_scan_whose_last_step_fails_does_that_step_again() {
    let (store, folder) = (RefusingStore::new(), tempfile::tempdir().unwrap());
    let world = World::over(Arc::<RefusingStore>::clone(&store));
    let bucket = world.bucket(Versioning::Unversioned).await;
    let options = PosixOptions { durability: FileDurability::Relaxed, ..PosixOptions::new(folder.path()) };
    let files = Location::new("files", Arc::new(PosixBackend::new(options, Arc::new(SystemClock))));
    let old = world.storage.locations().get("old").map(|old| Location::clone(old)).unwrap();
    world.storage.set_locations(LocationTable::new([old, files]));
    fs::create_dir(folder.path().join("bucket")).unwrap();
    fs::write(folder.path().join("bucket/dropped"), "by somebody").unwrap();
    let jobs = Jobs::new(world.storage.clone(), [Arc::new(Scans::default()) as Arc<dyn JobKind>]);
    let request = JobRequest { from: "files".into(), ..JobRequest::default() };
    let job = jobs.submit(("scan", &AccountId::new("owner")), &bucket, request).await.unwrap();
    store.refuse(|batch| puts(batch, Table::Current), MetadataError::Busy);
    let tasks = Tasks::default();
    let mut stop = tasks.stop_signal();
    assert_eq!(jobs.turn(&mut stop).await.unwrap(), Turn::Failed);
    assert!(store.is_done());
    while jobs.turn(&mut stop).await.unwrap() != Turn::Nothing {}
    let job = jobs.find(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state(), job.added, job.failed), (JobState::Done, 1, 0), "{job:?}");
}

/// A kind whose beginning takes a moment, and whose steps last until they are let go.
#[derive(Debug, Default)]
struct Gated {
    begun: AtomicUsize,
    gate: Notify,
}

impl JobKind for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn begin<'a>(
        &'a self,
        _: &'a Storage,
        _: &'a Arc<Bucket>,
        job: JobRecord,
    ) -> BoxFuture<'a, Result<JobRecord, JobError>> {
        tokio::task::yield_now().map(|()| Ok(job)).boxed()
    }

    fn step<'a>(
        &'a self,
        _: &'a Storage,
        _: &'a Arc<Bucket>,
        mut job: JobRecord,
    ) -> BoxFuture<'a, StorageResult<JobRecord>> {
        Box::pin(async move {
            self.begun.fetch_add(1, Ordering::SeqCst);
            self.gate.notified().await;
            job.set_state(JobState::Done);
            Ok(job)
        })
    }
}

#[tokio::test]
async fn of_two_who_ask_at_a_time_one_begins() {
    let world = World::over(Arc::new(MemoryStore::new()));
    let bucket = world.bucket(Versioning::Unversioned).await;
    let jobs = Jobs::new(world.storage.clone(), [Arc::new(Gated::default()) as Arc<dyn JobKind>]);
    let account = AccountId::new("owner");
    let submit = || jobs.submit(("gated", &account), &bucket, JobRequest::default());
    let (one, other) = tokio::join!(submit(), submit());
    let began = one.unwrap();
    assert!(matches!(&other, Err(JobError::UnderWay(id)) if *id == began.id), "{other:?}");
}

#[tokio::test]
async fn a_record_that_a_later_release_has_added_to_is_worked_on_and_cancelled() {
    let store = Arc::new(MemoryStore::new());
    let world = World::over(Arc::<MemoryStore>::clone(&store));
    let bucket = world.bucket(Versioning::Unversioned).await;
    for cancelled in [true, false] {
        let job = world.submit(&bucket, to_new()).await.unwrap();
        let (system, row) = (Namespace::global(Table::System), format!("move/{}", job.id));
        let mut stored = BytesMut::from(&*store.get(system, row.as_bytes()).await.unwrap().unwrap());
        // Field 1000 is 1.
        stored.put_slice(&[0xC0, 0x3E, 1]);
        let mut batch = Batch::new();
        batch.put(system, row.into_bytes(), stored.freeze());
        store.commit(batch).await.unwrap();
        let expected = if cancelled {
            let ended = tokio::time::timeout(Duration::from_mins(1), world.jobs.cancel(job.clone())).await;
            assert_eq!(ended.unwrap().unwrap().state(), JobState::Cancelled);
            JobState::Cancelled
        } else {
            world.work().await;
            JobState::Done
        };
        assert_eq!(world.jobs.find(&job.id).await.unwrap().unwrap().state(), expected);
    }
}

#[tokio::test]
async fn who_asks_for_jobs_and_ends_them_holds_up_nobody_elses() {
    let world = World::over(Arc::new(MemoryStore::new()));
    let bucket = world.bucket(Versioning::Unversioned).await;
    let gated = Arc::new(Gated::default());
    let kinds: [Arc<dyn JobKind>; 2] = [Arc::<Gated>::clone(&gated), Arc::new(Moves)];
    let jobs = Jobs::new(world.storage.clone(), kinds);
    let owner = AccountId::new("owner");
    let job = jobs.submit(("gated", &owner), &bucket, JobRequest::default()).await.unwrap();
    let others = async {
        while gated.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            let other = jobs.submit(("move", &owner), &bucket, to_new()).await.unwrap();
            jobs.cancel(other).await.unwrap();
            tokio::task::yield_now().await;
        }
        gated.gate.notify_one();
    };
    let tasks = Tasks::default();
    let mut stop = tasks.stop_signal();
    let (turn, ()) = tokio::join!(jobs.turn(&mut stop), others);
    assert_eq!(turn.unwrap(), Turn::Worked);
    assert_eq!(gated.begun.load(Ordering::SeqCst), 1, "no step was begun anew");
    assert_eq!(jobs.find(&job.id).await.unwrap().unwrap().state(), JobState::Done);

    // Its own end does not wait for its step.
    let job = jobs.submit(("gated", &owner), &bucket, JobRequest::default()).await.unwrap();
    let end = async {
        while gated.begun.load(Ordering::SeqCst) == 1 {
            tokio::task::yield_now().await;
        }
        jobs.cancel(job).await.unwrap();
    };
    let (turn, ()) = tokio::join!(jobs.turn(&mut stop), end);
    assert_eq!(turn.unwrap(), Turn::Worked);
}
