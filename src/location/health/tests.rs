//! The wrapper over backends that hang, fail and recover.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::{
    clock::SystemClock,
    data::{
        BlobId, FileDurability, Found, MemoryBackend, MemoryNative, NativeObject, NativeSource, PosixBackend,
        PosixOptions, PutHint, Staged, Written, conformance,
        faulty::{Fault, FaultyBackend},
        layered::{Call, Layer},
        memory_native::Mode,
    },
    location::{Location, LocationTable},
    tasks::Tasks,
    telemetry::metrics::LocationMetrics,
    types::{BodyError, ByteStream, body},
};

const WELL: u8 = 0;
const HANGS: u8 = 1;
const FAILS: u8 = 2;
const HANGS_IN_STREAM: u8 = 3;

/// How a store far away is, and the calls that came to it.
#[derive(Debug, Default)]
struct Mood {
    mood: AtomicU8,
    calls: AtomicUsize,
}

/// A store far away that is well, or not.
type Moody = Layered<Mood>;

impl Moody {
    fn set(&self, mood: u8) {
        self.layer().mood.store(mood, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.layer().calls.load(Ordering::SeqCst)
    }
}

impl Mood {
    fn called(&self) -> u8 {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.mood.load(Ordering::SeqCst)
    }
}

impl Layer for Mood {
    async fn around<T: Send>(
        &self,
        _: Call,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        match self.called() {
            HANGS => std::future::pending().await,
            FAILS => Err(DataError::Unavailable("500 from the far side".to_owned())),
            _ => work.await,
        }
    }

    async fn receive(
        &self,
        work: impl Future<Output = Result<ByteStream, DataError>> + Send,
    ) -> Result<ByteStream, DataError> {
        let bytes = self.around(Call::Get, work).await?;
        let hangs = self.mood.load(Ordering::SeqCst) == HANGS_IN_STREAM;
        Ok(if hangs { bytes.take(1).chain(stream::pending()).boxed() } else { bytes })
    }

    fn walk(
        &self,
        found: BoxStream<'static, Result<Found, DataError>>,
    ) -> BoxStream<'static, Result<Found, DataError>> {
        match self.called() {
            HANGS => stream::pending().boxed(),
            FAILS => stream::iter([Err(DataError::Unavailable("a folder cannot be read".to_owned()))]).boxed(),
            HANGS_IN_STREAM => found.chain(stream::pending()).boxed(),
            _ => found,
        }
    }
}

fn settings() -> HealthSettings {
    HealthSettings {
        breaker: BreakerSettings {
            failures: 3,
            pause: Duration::from_millis(40),
            longest_pause: Duration::from_millis(80),
        },
        probe: Duration::from_millis(50),
        answer: Duration::from_millis(100),
        calls: 8,
    }
}

fn guard_with(backend: Arc<dyn DataBackend>, settings: HealthSettings) -> (Arc<dyn DataBackend>, Arc<LocationHealth>) {
    LocationHealth::guard(("far", ("OK", None)), backend, settings, LocationMetrics::default().of("far"))
}

fn moody() -> (Arc<Moody>, Arc<dyn DataBackend>, Arc<LocationHealth>) {
    moody_with(settings())
}

fn moody_with(settings: HealthSettings) -> (Arc<Moody>, Arc<dyn DataBackend>, Arc<LocationHealth>) {
    moody_over(Arc::new(MemoryNative::new(Mode::Versioned)), settings)
}

fn moody_over(
    store: Arc<dyn DataBackend>,
    settings: HealthSettings,
) -> (Arc<Moody>, Arc<dyn DataBackend>, Arc<LocationHealth>) {
    let moody = Arc::new(Moody::over(store, Mood::default()));
    let (guarded, health) = guard_with(Arc::<Moody>::clone(&moody), settings);
    (moody, guarded, health)
}

/// A location that is not tried again once it failed.
fn never_again() -> HealthSettings {
    let hour = Duration::from_hours(1);
    let breaker = BreakerSettings { pause: hour, longest_pause: hour, ..settings().breaker };
    HealthSettings { breaker, ..settings() }
}

fn once(bytes: &'static [u8]) -> ByteStream {
    body::once(Bytes::from_static(bytes))
}

async fn put(backend: &Arc<dyn DataBackend>) -> Result<Written, DataError> {
    backend.put(once(b"bytes"), PutHint::default()).await
}

fn is_unavailable<T>(outcome: &Result<T, DataError>) -> bool {
    matches!(outcome, Err(DataError::Unavailable(_)))
}

#[tokio::test]
async fn the_wrapper_keeps_the_rules_of_the_seam() {
    conformance::suite(guard_with(Arc::new(MemoryBackend::new()), HealthSettings::default()).0).await;
}

#[tokio::test]
async fn a_location_that_hangs_costs_its_callers_their_patience_and_then_nothing() {
    let (moody, guarded, health) = moody_with(never_again());
    moody.set(HANGS);
    for _ in 0..3 {
        let began = Instant::now();
        assert!(is_unavailable(&put(&guarded).await));
        assert!(began.elapsed() >= Duration::from_millis(95));
    }
    assert_eq!(health.report().breaker, BreakerState::Open);
    assert!(!health.report().is_up && health.report().problem.contains("no answer"), "{:?}", health.report());
    let calls = moody.calls();
    for _ in 0..100 {
        assert!(is_unavailable(&guarded.delete(&BlobId::new("x")).await));
    }
    assert_eq!(moody.calls(), calls, "nobody waits for it any more");
}

#[tokio::test]
async fn after_the_pause_one_probe_decides_whether_calls_are_made_again() {
    let (moody, guarded, health) = moody();
    moody.set(FAILS);
    for _ in 0..3 {
        assert!(is_unavailable(&put(&guarded).await));
    }
    sleep(Duration::from_millis(60)).await;
    let calls = moody.calls();
    assert!(is_unavailable(&put(&guarded).await));
    assert_eq!(moody.calls(), calls + 1, "the probe failed: no call was made");
    moody.set(WELL);
    sleep(Duration::from_millis(110)).await;
    put(&guarded).await.unwrap();
    assert_eq!((health.report().is_up, health.report().breaker), (true, BreakerState::Closed));
}

#[tokio::test]
async fn faults_of_blobs_and_bodies_say_nothing_of_the_location() {
    let (_, guarded, health) = moody();
    let gone = put(&guarded).await.unwrap().blob;
    guarded.delete(&gone).await.unwrap();
    for _ in 0..50 {
        let missing = guarded.get(&gone, 0..1).await;
        assert!(matches!(missing, Err(DataError::NotFound(_))));
        let broken = stream::iter([Ok(Bytes::from_static(b"x")), Err(BodyError::Disconnected)]).boxed();
        let outcome = guarded.put(broken, PutHint::default()).await;
        assert!(matches!(outcome, Err(DataError::Body(_))));
    }
    assert!(health.report().is_up);
}

#[tokio::test]
async fn a_slow_client_is_waited_for_and_is_no_fault_of_the_location() {
    let (_, guarded, health) = moody();
    let slow = stream::unfold(0, |sent| async move {
        (sent < 4).then_some(())?;
        sleep(Duration::from_millis(150)).await;
        Some((Ok(Bytes::from_static(b"slow")), sent + 1))
    });
    assert_eq!(guarded.put(slow.boxed(), PutHint::default()).await.unwrap().size, 16);
    assert!(health.report().is_up);
}

#[tokio::test]
async fn bytes_that_stop_coming_end_in_an_error_in_time() {
    let (moody, guarded, health) = moody();
    let blob = put(&guarded).await.unwrap().blob;
    moody.set(HANGS_IN_STREAM);
    for _ in 0..3 {
        let mut bytes = guarded.get(&blob, 0..5).await.unwrap();
        assert_eq!(bytes.next().await.unwrap().unwrap(), "bytes");
        let end = timeout(Duration::from_secs(30), bytes.next()).await.unwrap();
        assert!(matches!(end, Some(Err(BodyError::Unreadable(_)))));
        assert!(bytes.next().await.is_none());
    }
    assert!(!health.report().is_up, "answers without bytes are failures, too");
}

#[tokio::test]
async fn callers_who_go_away_leave_neither_a_call_nor_a_trial_behind() {
    // Who waits so briefly goes away before the location is found silent, however slow the machine is.
    let (moody, guarded, health) = moody_with(HealthSettings { answer: Duration::from_hours(1), ..settings() });
    moody.set(HANGS);
    for _ in 0..50 {
        assert!(timeout(Duration::from_millis(1), put(&guarded)).await.is_err(), "all calls may be made");
    }
    moody.set(FAILS);
    for _ in 0..3 {
        assert!(is_unavailable(&put(&guarded).await));
    }
    moody.set(HANGS);
    sleep(Duration::from_millis(60)).await;
    assert!(timeout(Duration::from_millis(5), put(&guarded)).await.is_err(), "this one tries, and goes away");
    moody.set(WELL);
    put(&guarded).await.unwrap();
    assert!(health.report().is_up);
}

/// Issue: a sick external location costs only its own objects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_location_that_hangs_takes_its_share_of_calls_and_leaves_others_alone() {
    let patience = Duration::from_secs(5);
    let (sick, guarded, _) = moody_with(HealthSettings { answer: patience, ..never_again() });
    let (_, other, _) = moody();
    sick.set(HANGS);
    let mut hanging = JoinSet::new();
    for _ in 0..200 {
        let guarded = Arc::clone(&guarded);
        hanging.spawn(async move { put(&guarded).await });
    }
    let began = Instant::now();
    for _ in 0..200 {
        put(&other).await.unwrap();
    }
    assert!(began.elapsed() < patience, "{:?}", began.elapsed());
    while let Some(outcome) = hanging.join_next().await {
        assert!(is_unavailable(&outcome.unwrap()));
    }
    assert!(sick.calls() <= 16, "{} calls", sick.calls());
}

#[tokio::test]
async fn every_call_of_a_native_store_is_guarded() {
    let (moody, guarded, health) = moody_with(never_again());
    let store = guarded.native().unwrap();
    let (object, blob) = (NativeObject::default(), BlobId::new("b"));
    let source = || NativeSource { blob: &blob, range: 0..1, size: 1 };
    store.stage(&object, once(b"x"), None.into()).await.unwrap();
    moody.set(FAILS);
    let staged = Staged { handle: "handle".to_owned(), size: 1, held: None, parts: Arc::default() };
    let outcomes = [
        is_unavailable(&store.stage(&object, once(b"x"), None.into()).await),
        is_unavailable(&store.stage_copy(&object, source()).await),
        is_unavailable(&store.publish(&staged).await),
    ];
    assert_eq!((outcomes, health.report().breaker), ([true; 3], BreakerState::Open));
    moody.set(HANGS);
    let calls = moody.calls();
    let refused = async {
        [
            is_unavailable(&store.stage(&object, once(b"x"), None.into()).await),
            is_unavailable(&store.stage_copy(&object, source()).await),
            is_unavailable(&store.publish(&staged).await),
            is_unavailable(&store.find("handle").await),
            is_unavailable(&store.discard("handle").await),
            is_unavailable(&store.create_upload(&object).await),
            is_unavailable(&store.put_part("upload", 1, once(b"x"), None.into()).await),
            is_unavailable(&store.part_there("upload", 1).await),
            is_unavailable(&store.copy_part("upload", 1, source()).await),
            is_unavailable(&store.set_tags(&blob, &[]).await),
            is_unavailable(&store.mark_deleted("bucket", "key", None).await),
        ]
    };
    assert_eq!(refused.await, [true; 11]);
    assert_eq!(moody.calls(), calls);
    assert_eq!(store.staged_upload("upload", vec![(1, "part".to_owned())], 1).parts.len(), 1);
}

#[tokio::test]
async fn scans_are_guarded_too() {
    // The files are there in time, however slow the machine is.
    let settings = HealthSettings { answer: Duration::from_secs(2), ..never_again() };
    let folder = tempfile::tempdir().unwrap();
    let options = PosixOptions { durability: FileDurability::Relaxed, ..PosixOptions::new(folder.path()) };
    let files = Arc::new(PosixBackend::new(options, Arc::new(SystemClock)));
    let (moody, guarded, health) = moody_over(files, settings);
    let store = guarded.browse().unwrap();
    let walk = || store.walk("bucket").collect::<Vec<_>>();
    assert!(!store.identity().await.unwrap().is_empty());
    fs::create_dir(folder.path().join("bucket")).unwrap();
    fs::write(folder.path().join("bucket/key"), "bytes").unwrap();
    fs::write(folder.path().join("bucket/other"), "bytes").unwrap();
    let found = walk().await;
    let [Ok(Found::Object { blob, .. }), Ok(Found::Object { .. })] = &found[..] else { panic!("{found:?}") };
    assert!(store.stands(blob).await.unwrap() && store.holds(blob).await.unwrap());
    assert!(store.is_taken("bucket", "key").await.unwrap() && store.is_same(blob, blob));
    // Whoever stops in the middle has nothing against the store.
    for _ in 0..5 {
        drop(store.walk("bucket").next().await.unwrap().unwrap());
    }
    assert_eq!(health.report().breaker, BreakerState::Closed);

    moody.set(HANGS_IN_STREAM);
    let broken = walk().await;
    assert!(broken.len() == 3 && is_unavailable(&broken[2]), "what was found comes, then the silence ends");
    moody.set(HANGS);
    assert!(matches!(&walk().await[..], [outcome] if is_unavailable(outcome)));
    moody.set(FAILS);
    assert!(matches!(&walk().await[..], [outcome] if is_unavailable(outcome)));
    assert_eq!(health.report().breaker, BreakerState::Open);

    let calls = moody.calls();
    assert!(matches!(&walk().await[..], [outcome] if is_unavailable(outcome)));
    let refused = [
        is_unavailable(&store.identity().await),
        is_unavailable(&store.stands(blob).await),
        is_unavailable(&store.is_taken("bucket", "key").await),
        is_unavailable(&store.holds(blob).await),
    ];
    assert_eq!(refused, [true; 4]);
    // The walk itself is made, and never asked for anything.
    assert_eq!(moody.calls(), calls + 1);
}

#[tokio::test]
async fn a_start_does_not_wait_for_a_location() {
    let (moody, guarded, health) = moody_with(HealthSettings { answer: Duration::from_hours(1), ..settings() });
    moody.set(HANGS);
    let location = Location { health: Some(health), ..Location::new("far", guarded) };
    let look = async { first_look(&LocationTable::new([location]), Duration::from_millis(50)).await };
    // A probe itself takes ten seconds at the most.
    timeout(Duration::from_secs(9), look).await.unwrap();
}

#[tokio::test]
async fn probes_find_out_without_any_request() {
    let (moody, guarded, health) = moody();
    let location = Location { health: Some(Arc::clone(&health)), ..Location::new("far", guarded) };
    let table = Arc::new(LocationTable::new([location]));
    moody.set(HANGS);
    let tasks = Tasks::default();
    tasks.spawn("probes", watch(move || Arc::clone(&table), tasks.stop_signal()));
    let becomes = |is_up| {
        let health = Arc::clone(&health);
        async move {
            for _ in 0..3000 {
                if health.report().is_up == is_up {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
            panic!("{:?}", health.report());
        }
    };
    becomes(false).await;
    moody.set(WELL);
    becomes(true).await;
    moody.set(FAILS);
    becomes(false).await;
    assert_eq!(health.report().problem, "500 from the far side");
    assert!(tasks.stop(Duration::from_secs(30)).await);
}

#[tokio::test]
async fn a_fault_now_and_then_is_passed_on_and_opens_nothing() {
    let faulty = Arc::new(FaultyBackend::new(Arc::new(MemoryBackend::new())));
    let (guarded, health) = guard_with(Arc::<FaultyBackend>::clone(&faulty), settings());
    for _ in 0..20 {
        faulty.break_next(Call::Put, Fault::LostReply);
        assert!(is_unavailable(&put(&guarded).await));
        faulty.break_next(Call::Put, Fault::NoSpace);
        assert!(matches!(put(&guarded).await, Err(DataError::NoSpace)));
        put(&guarded).await.unwrap();
        put(&guarded).await.unwrap();
    }
    assert!(health.report().is_up);
}
