//! Targets that take nothing for a while, and those beside them.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;

use super::settings;
use crate::{
    clock::{Identifiers, SystemClock},
    data::MemoryBackend,
    kms::{Generated, Kms, KmsError, MemoryKms, SecretKey},
    location::{Location, LocationTable},
    logging::{
        LogSettings,
        courier::{Courier, Filling, Pace},
    },
    metadata::MemoryStore,
    storage::{
        NewBucket, Settings, Storage,
        listing::{Entry, ListQuery, ListStart},
        records::{AccessLines, BucketEncryption, BucketRecord, LoggingRecord},
    },
    types::{BucketName, ObjectKey, body},
};

const OWNER: &str = "79a5";
/// What is to come comes by then, on a busy machine, too.
const SOON: Duration = Duration::from_mins(1);
/// Targets whose objects are encrypted.
const SEALED: [&str; 2] = ["sealed-one", "sealed-two"];
const OPEN: &str = "open";

const HERE: u8 = 0;
const AWAY: u8 = 1;
const SILENT: u8 = 2;

/// A key manager that may be away, or not answer at all.
#[derive(Debug, Default)]
struct Moody {
    keys: MemoryKms,
    mood: AtomicU8,
}

impl Kms for Moody {
    fn default_key(&self) -> &str {
        self.keys.default_key()
    }

    fn generate<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Generated, KmsError>> {
        async move {
            loop {
                match self.mood.load(Ordering::Relaxed) {
                    HERE => return self.keys.generate(key).await,
                    AWAY => return Err(KmsError::Unavailable("away on purpose".to_owned())),
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        }
        .boxed()
    }

    fn unwrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<SecretKey, KmsError>> {
        self.keys.unwrap(key, wrapped)
    }

    fn rewrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<Bytes, KmsError>> {
        self.keys.rewrap(key, wrapped)
    }
}

struct World {
    storage: Storage,
    kms: Arc<Moody>,
    settings: LogSettings,
}

impl World {
    async fn new() -> Self {
        let kms = Arc::new(Moody::default());
        let table = LocationTable::new([Location::new("here", Arc::new(MemoryBackend::default()))]);
        let ids = Identifiers::new(Arc::new(SystemClock), "RG001");
        let keys: Arc<dyn Kms> = Arc::<Moody>::clone(&kms);
        let storage =
            Storage::new(Arc::new(MemoryStore::new()), table, Arc::new(SystemClock), ids, (keys, Settings::default()));
        for name in SEALED.into_iter().chain([OPEN]) {
            let encryption = (name != OPEN).then(BucketEncryption::managed);
            let record = BucketRecord {
                owner: OWNER.to_owned(),
                location: "here".to_owned(),
                encryption,
                ..BucketRecord::default()
            };
            storage.create_bucket(NewBucket { name: BucketName::new(name).unwrap(), record }).await.unwrap();
        }
        Self { storage, kms, settings: settings() }
    }

    fn feel(&self, mood: u8) {
        self.kms.mood.store(mood, Ordering::Relaxed);
    }

    /// Queues entries of one line each, whose texts are the numbers.
    async fn queue(&self, target: &str, numbers: std::ops::Range<u32>) {
        let logging = LoggingRecord { target_bucket: target.to_owned(), ..LoggingRecord::default() };
        let entry = |number: u32| AccessLines {
            source: "source".to_owned(),
            source_owner: OWNER.to_owned(),
            logging: Some(logging.clone()),
            first_ms: 0,
            lines: format!("{number}\n").into(),
        };
        let entries: Vec<_> = numbers.map(entry).collect();
        self.storage.queue_access_lines(&entries).await.unwrap();
    }

    /// Runs a courier beside something else, until that ends.
    async fn beside<T>(&self, most_entries: u64, work: impl Future<Output = T>) -> T {
        let pace = Pace {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(100),
            patience: Duration::from_millis(50),
        };
        let (_ended, filled) = oneshot::channel();
        let courier = Courier::new(self.storage.clone(), self.settings.clone(), Arc::<Filling>::default());
        tokio::select! {
            () = courier.paced(pace, most_entries).run(filled) => panic!("the queue is still being filled"),
            done = work => done,
        }
    }

    /// Every line that was delivered into a bucket, in order of its number.
    async fn delivered(&self, target: &str) -> Vec<u32> {
        let bucket = self.storage.bucket(&BucketName::new(target).unwrap()).await.unwrap();
        let query =
            ListQuery { prefix: String::new(), delimiter: String::new(), start: ListStart::Beginning, limit: 1000 };
        let page = self.storage.list_objects(&bucket, &query).await.unwrap();
        let mut lines = Vec::new();
        for entry in page.entries {
            let Entry::Item(item) = entry else { panic!("no delimiter, no prefixes") };
            let key = ObjectKey::new(&item.key).unwrap();
            let record = self.storage.version(&bucket, &key, None).await.unwrap();
            let stream = self.storage.open(&bucket, &key, &record, 0..record.size).await.unwrap();
            let text = body::collect(stream, usize::MAX).await.unwrap();
            lines.extend(std::str::from_utf8(&text).unwrap().lines().map(|line| line.parse::<u32>().unwrap()));
        }
        lines.sort_unstable();
        lines
    }

    async fn until_delivered(&self, target: &str, numbers: std::ops::Range<u32>) {
        let expected: Vec<u32> = numbers.collect();
        let began = Instant::now();
        loop {
            let found = self.delivered(target).await;
            if found == expected {
                return;
            }
            assert!(began.elapsed() < SOON, "{target}: {} of {} lines, {found:?}", found.len(), expected.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn left(&self) -> usize {
        self.storage.queued_access_lines(None, 100_000).await.unwrap().len()
    }
}

#[tokio::test]
async fn a_target_whose_key_manager_is_away_delays_no_other() {
    for mood in [AWAY, SILENT] {
        let world = World::new().await;
        world.feel(mood);
        // More than a page, before and between what can be delivered.
        world.queue(SEALED[0], 0..100).await;
        world.queue(OPEN, 0..30).await;
        world.queue(SEALED[1], 0..70).await;
        world.queue(OPEN, 30..90).await;
        let work = async {
            world.until_delivered(OPEN, 0..90).await;
            // What comes later passes, too.
            world.queue(SEALED[0], 100..110).await;
            world.queue(OPEN, 90..95).await;
            world.until_delivered(OPEN, 0..95).await;
            assert_eq!(world.left().await, 180, "what was delivered is gone, and nothing else");
            world.feel(HERE);
            world.until_delivered(SEALED[0], 0..110).await;
            world.until_delivered(SEALED[1], 0..70).await;
            while world.left().await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // A target that works again is like any other.
            world.queue(SEALED[0], 110..130).await;
            world.until_delivered(SEALED[0], 0..130).await;
        };
        world.beside(1000, work).await;
        for target in SEALED.into_iter().chain([OPEN]) {
            let mut lines = world.delivered(target).await;
            let count = lines.len();
            lines.dedup();
            assert_eq!(lines.len(), count, "{target}: none came twice");
        }
        assert_eq!(world.settings.dropped.get(), 0);
    }
}

#[tokio::test]
async fn what_waits_is_found_again_by_the_next_process() {
    let world = World::new().await;
    world.feel(AWAY);
    world.queue(SEALED[0], 0..100).await;
    world.queue(OPEN, 0..10).await;
    world.beside(1000, world.until_delivered(OPEN, 0..10)).await;
    world.queue(OPEN, 10..20).await;
    world.feel(HERE);
    world.beside(1000, world.until_delivered(SEALED[0], 0..100)).await;
    world.beside(1000, world.until_delivered(OPEN, 0..20)).await;
}

#[tokio::test]
async fn what_waits_for_too_long_is_dropped_where_there_is_most_of_it() {
    let world = World::new().await;
    world.feel(AWAY);
    world.queue(SEALED[0], 0..5).await;
    world.queue(SEALED[1], 0..200).await;
    world.queue(OPEN, 0..10).await;
    let work = async {
        world.until_delivered(OPEN, 0..10).await;
        let began = Instant::now();
        while world.left().await > 20 {
            assert!(began.elapsed() < SOON, "{} entries are left", world.left().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.feel(HERE);
        world.until_delivered(SEALED[0], 0..5).await;
        world.until_delivered(SEALED[1], 185..200).await;
    };
    world.beside(20, work).await;
    assert_eq!(world.settings.dropped.get(), 185);
}

#[tokio::test]
async fn at_the_end_what_can_be_delivered_is_and_the_rest_is_kept() {
    let world = World::new().await;
    world.feel(AWAY);
    world.queue(SEALED[0], 0..70).await;
    world.queue(OPEN, 0..70).await;
    let (ended, filled) = oneshot::channel();
    let settings = LogSettings { interval: Duration::from_hours(1), ..world.settings.clone() };
    let courier = Courier::new(world.storage.clone(), settings, Arc::<Filling>::default());
    ended.send(()).unwrap();
    tokio::time::timeout(SOON, courier.run(filled)).await.unwrap();
    assert_eq!(world.delivered(OPEN).await.len(), 70);
    assert_eq!(world.left().await, 70);
}
