//! Object lock in the engine: no sequence of operations lets a locked version go, whoever asks, whatever the clock does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    audit::audit,
    world::{Dice, World, incoming, listing_of},
};
use crate::{
    clock::Clock,
    metadata::{Batch, Namespace, Table},
    storage::{
        Attributes, Bucket, DeleteCondition, NewBucket, NewUpload, PutObject, StorageError, StorageResult,
        WriteCondition,
        lock::{Bypass, Hold, Lock, LockError, Mode, Period, RetentionChange},
        records::{BucketRecord, JournalOp, ObjectLockRecord, ObjectRecord, Record, Versioning},
    },
    types::{BucketName, ObjectKey, Timestamp, VersionId, VersionSelector},
};

const DAY: u64 = 86_400;

fn days(days: u64) -> Duration {
    Duration::from_secs(days * DAY)
}

async fn locked_bucket(world: &World, default: ObjectLockRecord) -> Arc<Bucket> {
    let name = BucketName::new("locked").unwrap();
    let mut record = BucketRecord { owner: "owner".to_owned(), location: "here".to_owned(), ..BucketRecord::default() };
    record.set_state(Versioning::Enabled);
    record.object_lock = Some(default);
    world.storage.create_bucket(NewBucket { name, record }).await.unwrap()
}

async fn put(world: &World, bucket: &Arc<Bucket>, key: &str, body: &[u8], lock: Lock) -> StorageResult<ObjectRecord> {
    let put = PutObject {
        bucket: Arc::clone(bucket),
        key: ObjectKey::new(key).unwrap(),
        location: Arc::clone(&world.location),
        attributes: Attributes { lock, ..Attributes::default() },
        condition: WriteCondition::Always,
        body: incoming(body),
        op: JournalOp::ObjectPut,
    };
    world.storage.put_object(put).await
}

async fn multipart(world: &World, bucket: &Arc<Bucket>, key: &str, parts: &[&[u8]], lock: Lock) -> ObjectRecord {
    let attributes = Attributes { lock, ..Attributes::default() };
    let new = NewUpload { attributes, ..world.new_upload(bucket, key) };
    let id = world.storage.create_upload(new).await.unwrap();
    for (number, body) in (1..).zip(parts) {
        world.put_part(bucket, key, id, (number, body)).await.unwrap();
    }
    world.complete(bucket, key, id, &listing_of(parts)).await.unwrap()
}

async fn remove(
    world: &World,
    bucket: &Arc<Bucket>,
    key: &str,
    version: Option<VersionSelector>,
    bypass: Bypass,
) -> StorageResult<()> {
    let condition = DeleteCondition { bypass, ..DeleteCondition::default() };
    world.storage.delete_object(bucket, &ObjectKey::new(key).unwrap(), version, &condition).await.map(drop)
}

fn id(record: &ObjectRecord) -> VersionSelector {
    if record.is_null { VersionSelector::Null } else { VersionSelector::Id(record.version_id()) }
}

fn is_protected<T: std::fmt::Debug>(result: &StorageResult<T>) -> bool {
    matches!(result, Err(StorageError::Lock(LockError::Protected)))
}

fn retained(mode: Mode, until: Timestamp) -> Lock {
    Lock { mode: Some(mode), until: Some(until), ..Lock::default() }
}

fn default_of(mode: Mode, period: Period) -> ObjectLockRecord {
    ObjectLockRecord { mode: mode.number(), period: Some(period.record()), event_hold: None }
}

#[tokio::test]
async fn the_default_counts_from_the_write_of_a_multipart_object_from_its_completion() {
    let world = World::new();
    let bucket = locked_bucket(&world, default_of(Mode::Compliance, Period::Days(10))).await;
    let plain = put(&world, &bucket, "a", b"body", Lock::default()).await.unwrap();
    assert_eq!(Lock::read(&plain).unwrap(), retained(Mode::Compliance, world.clock.now().plus(days(10))));
    let upload = world.create_upload(&bucket, "b").await;
    world.put_part(&bucket, "b", upload, (1, b"part")).await.unwrap();
    world.pass(days(3));
    let made = world.complete(&bucket, "b", upload, &listing_of(&[b"part"])).await.unwrap();
    assert_eq!(Lock::read(&made).unwrap(), retained(Mode::Compliance, world.clock.now().plus(days(10))));
    for record in [&plain, &made] {
        let key = if record == &plain { "a" } else { "b" };
        assert!(is_protected(&remove(&world, &bucket, key, Some(id(record)), Bypass::Governance).await));
    }
    world.pass(days(7));
    remove(&world, &bucket, "a", Some(id(&plain)), Bypass::No).await.unwrap();
    assert!(is_protected(&remove(&world, &bucket, "b", Some(id(&made)), Bypass::No).await));
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
}

#[tokio::test]
async fn buckets_without_lock_take_no_lock_and_lock_needs_versioning() {
    let world = World::new();
    let lock = retained(Mode::Governance, world.clock.now().plus(days(1)));
    for state in [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended] {
        let bucket = world.bucket(&format!("plain-{}", i32::from(state)), state).await;
        let refused = put(&world, &bucket, "a", b"body", lock).await;
        assert!(matches!(refused, Err(StorageError::Lock(LockError::NotConfigured))), "{refused:?}");
        let attributes = Attributes { lock, ..Attributes::default() };
        let new = NewUpload { attributes, ..world.new_upload(&bucket, "a") };
        let refused = world.storage.create_upload(new).await;
        assert!(matches!(refused, Err(StorageError::Lock(LockError::NotConfigured))), "{refused:?}");
        world.put(&bucket, "a", b"body").await;
        let key = ObjectKey::new("a").unwrap();
        let held = world.storage.set_legal_hold(&bucket, &key, None, Hold::On).await;
        assert!(matches!(held, Err(StorageError::Lock(LockError::NotConfigured))), "{held:?}");
        let enabled = world.storage.set_object_lock(&bucket.name, ObjectLockRecord::default()).await;
        assert_eq!(enabled.is_ok(), state == Versioning::Enabled, "{enabled:?}");
        let again = world.storage.update_bucket(&bucket.name, |record| record.set_state(Versioning::Suspended)).await;
        assert_eq!(again.is_ok(), state != Versioning::Enabled, "{again:?}");
        let dropped = world.storage.update_bucket(&bucket.name, |record| record.object_lock = None).await;
        assert_eq!(dropped.is_ok(), state != Versioning::Enabled, "{dropped:?}");
    }
}

/// Puts a bucket into a state that no operation brings it into: the guard does not rely on them.
async fn force_state(world: &World, bucket: &Bucket, state: Versioning) -> World {
    let mut record = bucket.record.clone();
    record.set_state(state);
    let mut batch = Batch::new();
    batch.put(Namespace::global(Table::Buckets), bucket.name.as_str().as_bytes().to_vec(), record.to_bytes());
    world.metadata.commit(batch).await.unwrap();
    let again = world.restarted();
    again.clock.set(world.clock.now());
    again
}

#[tokio::test]
async fn a_locked_null_version_is_neither_replaced_nor_removed() {
    for state in [Versioning::Unversioned, Versioning::Suspended] {
        let world = World::new();
        let bucket = world.bucket("locked", Versioning::Unversioned).await;
        let large = vec![7; 100];
        for (key, body) in [("small", &b"null"[..]), ("large", &large)] {
            world.put(&bucket, key, body).await;
        }
        world.set_versioning(&bucket.name, Versioning::Enabled).await;
        world.storage.set_object_lock(&bucket.name, ObjectLockRecord::default()).await.unwrap();
        let bucket = world.storage.bucket(&bucket.name).await.unwrap();
        for key in ["small", "large"] {
            let key = ObjectKey::new(key).unwrap();
            world.storage.set_legal_hold(&bucket, &key, Some(VersionSelector::Null), Hold::On).await.unwrap();
        }
        // In one case the null version is the newest, in the other it has a version above it.
        world.put(&bucket, "large", b"newer").await;
        let world = force_state(&world, &bucket, state).await;
        let bucket = world.storage.bucket(&bucket.name).await.unwrap();
        for (key, body) in [("small", &b"null"[..]), ("large", &large)] {
            if state == Versioning::Suspended || key == "small" {
                assert!(is_protected(&put(&world, &bucket, key, b"other", Lock::default()).await), "{key}");
                assert!(is_protected(&remove(&world, &bucket, key, None, Bypass::Governance).await), "{key}");
                let upload = world.create_upload(&bucket, key).await;
                world.put_part(&bucket, key, upload, (1, b"part")).await.unwrap();
                assert!(is_protected(&world.complete(&bucket, key, upload, &listing_of(&[b"part"])).await), "{key}");
            }
            let null = Some(VersionSelector::Null);
            assert!(is_protected(&remove(&world, &bucket, key, null, Bypass::Governance).await), "{key}");
            assert_eq!(world.get(&bucket, key, null).await.unwrap(), body, "{key}");
        }
        let deleted = world.storage.delete_bucket(&bucket.name).await;
        assert!(matches!(deleted, Err(StorageError::BucketNotEmpty)), "{deleted:?}");
    }
}

#[tokio::test]
async fn a_record_whose_lock_cannot_be_read_stays() {
    let world = World::new();
    let bucket = locked_bucket(&world, ObjectLockRecord::default()).await;
    let mut record = put(&world, &bucket, "a", b"body", Lock::default()).await.unwrap();
    record.retention_mode = 9;
    let current = Namespace::of(Table::Current, bucket.id);
    let mut batch = Batch::new();
    batch.put(current, Bytes::from_static(b"a"), record.to_bytes());
    world.metadata.commit(batch).await.unwrap();
    let key = ObjectKey::new("a").unwrap();
    world.pass(days(100_000));
    assert!(is_protected(&remove(&world, &bucket, "a", Some(id(&record)), Bypass::Governance).await));
    let off = world.storage.set_legal_hold(&bucket, &key, None, Hold::Off).await;
    assert!(is_protected(&off), "{off:?}");
    let removal = RetentionChange::default();
    let changed = world.storage.set_retention(&bucket, &key, None, &removal, Bypass::Governance).await;
    assert!(is_protected(&changed), "{changed:?}");
    assert_eq!(world.get(&bucket, "a", None).await.unwrap(), "body");
}

#[tokio::test]
async fn only_the_rules_change_a_lock() {
    let world = World::new();
    let bucket = locked_bucket(&world, ObjectLockRecord::default()).await;
    let lock = Lock { legal_hold: Hold::On, ..Lock::default() };
    put(&world, &bucket, "a", b"body", lock).await.unwrap();
    let key = ObjectKey::new("a").unwrap();
    let edited = world.storage.update_version(&bucket, &key, None, |record| record.legal_hold = 2).await;
    assert!(matches!(edited, Err(StorageError::Broken(_))), "{edited:?}");
    world.storage.update_version(&bucket, &key, None, |record| record.redirect = "/x".to_owned()).await.unwrap();
    assert_eq!(Lock::read(&world.storage.version(&bucket, &key, None).await.unwrap()).unwrap(), lock);
}

#[tokio::test]
async fn retention_begun_under_a_clock_set_back_is_not_over_when_it_is_right_again() {
    let world = World::new();
    let right = world.clock.now();
    let bucket = locked_bucket(&world, default_of(Mode::Compliance, Period::Days(10))).await;
    let first = put(&world, &bucket, "a", b"first", Lock::default()).await.unwrap();
    // Set back by a year, also over a restart.
    let back = Timestamp::from_secs(right.as_secs() - 365 * DAY);
    world.clock.set(back);
    let again = world.restarted();
    again.clock.set(back);
    for world in [&world, &again] {
        let bucket = world.storage.bucket(&bucket.name).await.unwrap();
        let made = put(world, &bucket, "a", b"later", Lock::default()).await.unwrap();
        let until = Lock::read(&made).unwrap().until.unwrap();
        assert!(until >= right.plus(days(10)), "{until:?}");
        let soon = retained(Mode::Compliance, back.plus(days(30)));
        let refused = put(world, &bucket, "a", b"soon", soon).await;
        assert!(matches!(refused, Err(StorageError::Lock(LockError::PastDate))), "{refused:?}");
        // What is there lasts at least as long as by the right clock.
        assert!(is_protected(&remove(world, &bucket, "a", Some(id(&first)), Bypass::Governance).await));
        world.clock.set(right.plus(days(9)));
        assert!(is_protected(&remove(world, &bucket, "a", Some(id(&made)), Bypass::Governance).await));
        world.clock.set(back);
    }
    again.clock.set(right.plus(days(10)));
    remove(&again, &bucket, "a", Some(id(&first)), Bypass::No).await.unwrap();
}

#[tokio::test]
async fn the_latest_time_is_kept_while_nobody_writes() {
    let world = World::new();
    world.storage.keep_lock_time().await.unwrap();
    let system = Namespace::global(Table::System);
    assert_eq!(world.metadata.get(system, b"lock.latest-time").await.unwrap(), None, "no lock is in use");
    let bucket = locked_bucket(&world, default_of(Mode::Governance, Period::Days(1))).await;
    put(&world, &bucket, "a", b"body", Lock::default()).await.unwrap();
    world.pass(days(50));
    let latest = world.clock.now();
    world.storage.keep_lock_time().await.unwrap();
    let again = world.restarted();
    assert!(again.clock.now() < latest);
    assert_eq!(again.storage.lock_time().await.unwrap(), latest);
    // A damaged mark is no mark of nothing.
    let mut batch = Batch::new();
    batch.put(system, Bytes::from_static(b"lock.latest-time"), Bytes::from_static(b"x"));
    world.metadata.commit(batch).await.unwrap();
    assert!(world.restarted().storage.lock_time().await.is_err());
}

/// A version as the test remembers it. What it knows of locks is its own arithmetic, not the engine's.
#[derive(Clone, Debug)]
struct Known {
    body: Vec<u8>,
    /// COMPLIANCE until, GOVERNANCE until, in milliseconds; 0 for none.
    compliance: u64,
    governance: u64,
    legal: bool,
    hold: Option<(Option<Mode>, u64)>,
}

impl Known {
    fn is_locked(&self, now: u64, bypass: Bypass) -> bool {
        let governed = now < self.governance && bypass == Bypass::No;
        self.legal || self.hold.is_some() || now < self.compliance || governed
    }
}

/// A world under random operations.
struct Play {
    world: World,
    bucket: Arc<Bucket>,
    dice: Dice,
    known: BTreeMap<(String, VersionId), Known>,
    /// The latest time that the clock showed in an operation on locks.
    latest: u64,
    refused: usize,
    removed: usize,
}

impl Play {
    fn now(&self) -> u64 {
        self.world.clock.now().as_millis()
    }

    fn start(&mut self) -> u64 {
        self.latest = self.latest.max(self.now());
        self.latest
    }

    fn key(&mut self) -> String {
        ["a", "b", "c/d"][usize::try_from(self.dice.roll(3)).unwrap()].to_owned()
    }

    fn bypass(&mut self) -> Bypass {
        if self.dice.roll(2) == 0 { Bypass::No } else { Bypass::Governance }
    }

    fn some_version(&mut self) -> Option<(String, VersionId)> {
        let all: Vec<_> = self.known.keys().cloned().collect();
        self.dice.pick(&all).cloned()
    }

    fn mode(&mut self) -> Mode {
        if self.dice.roll(3) == 0 { Mode::Compliance } else { Mode::Governance }
    }

    async fn write(&mut self) {
        let (key, start) = (self.key(), self.start());
        let roll = self.dice.roll(4);
        let (mode, length) = (self.mode(), 1 + self.dice.roll(40));
        let until = start + length * DAY * 1000;
        let lock = match roll {
            0 => retained(mode, Timestamp::from_millis(until)),
            1 => Lock { legal_hold: Hold::On, ..Lock::default() },
            2 => Lock {
                event_hold: Hold::On,
                duration: Period::days(length),
                mode: (length % 2 == 0).then_some(mode),
                ..Lock::default()
            },
            _ => Lock::default(),
        };
        let size = 1 + usize::try_from(self.dice.roll(30)).unwrap();
        let body: Vec<u8> = (0..size).map(|_| u8::try_from(self.dice.roll(256)).unwrap()).collect();
        let record = if size > 12 && roll > 0 {
            let (one, two) = body.split_at(size / 2);
            multipart(&self.world, &self.bucket, &key, &[one, two], lock).await
        } else {
            put(&self.world, &self.bucket, &key, &body, lock).await.unwrap()
        };
        // The bucket's default is COMPLIANCE for two days, for versions that bring no mode.
        let by_default = start + 2 * DAY * 1000;
        let retention = |of| if lock.mode == Some(of) && lock.until.is_some() { until } else { 0 };
        let known = Known {
            body,
            compliance: if lock.mode.is_none() { by_default } else { retention(Mode::Compliance) },
            governance: retention(Mode::Governance),
            legal: roll == 1,
            hold: (roll == 2).then_some((lock.mode.or(Some(Mode::Compliance)), length)),
        };
        self.known.insert((key, record.version_id()), known);
    }

    async fn remove(&mut self, by_name: bool) {
        let bypass = self.bypass();
        let Some(target) = self.some_version() else { return };
        if !by_name {
            // A marker: locked versions stay below it.
            remove(&self.world, &self.bucket, &target.0, None, bypass).await.unwrap();
            return;
        }
        let now = self.now();
        let selector = Some(VersionSelector::Id(target.1));
        let result = remove(&self.world, &self.bucket, &target.0, selector, bypass).await;
        if self.known[&target].is_locked(now, bypass) {
            assert!(is_protected(&result), "{result:?}");
            self.refused += 1;
        } else {
            result.unwrap();
            self.known.remove(&target);
            self.removed += 1;
        }
    }

    async fn change(&mut self) {
        let Some(target) = self.some_version() else { return };
        let (start, now, bypass, mode) = (self.start(), self.now(), self.bypass(), self.mode());
        let length = 1 + self.dice.roll(60);
        let until = start + length * DAY * 1000;
        let roll = self.dice.roll(5);
        let asked = match roll {
            0 => RetentionChange::default(),
            1 => RetentionChange { event_hold: Some(false), ..RetentionChange::default() },
            2 => {
                RetentionChange { event_hold: Some(true), duration: Period::days(length), ..RetentionChange::default() }
            }
            _ => RetentionChange {
                mode: Some(mode),
                until: Some(Timestamp::from_millis(until)),
                ..RetentionChange::default()
            },
        };
        let key = ObjectKey::new(&target.0).unwrap();
        let selector = Some(VersionSelector::Id(target.1));
        let result = self.world.storage.set_retention(&self.bucket, &key, selector, &asked, bypass).await;
        let known = self.known.get_mut(&target).unwrap();
        let Ok(record) = result else {
            assert!(is_protected(&result), "{result:?}");
            self.refused += 1;
            return;
        };
        // What was accepted must not have weakened COMPLIANCE, nor GOVERNANCE without bypass.
        let lock = Lock::read(&record).unwrap();
        let ends = lock.until.map_or(0, Timestamp::as_millis);
        let compliant = lock.mode == Some(Mode::Compliance);
        assert!(now >= known.compliance || (compliant && ends >= known.compliance), "{known:?} became {lock:?}");
        assert!(now >= known.governance || bypass == Bypass::Governance || ends >= known.governance);
        if let Some((mode, duration)) = known.hold {
            let least = if compliant || bypass == Bypass::No { duration } else { 1 };
            let kept = matches!(lock.duration, Some(Period::Days(days)) if u64::from(days) >= least);
            let released = roll == 1 && ends >= start + least * DAY * 1000;
            assert!(kept || released, "{known:?} became {lock:?}");
            assert!(mode != Some(Mode::Compliance) || compliant, "{known:?} became {lock:?}");
        }
        known.compliance = if compliant { ends } else { 0 };
        known.governance = if compliant { 0 } else { ends };
        known.hold = match lock.duration {
            Some(Period::Days(days)) if lock.event_hold == Hold::On => Some((lock.mode, days.into())),
            _ => None,
        };
    }

    async fn legal(&mut self) {
        let Some(target) = self.some_version() else { return };
        let on = self.dice.roll(2) == 0;
        let key = ObjectKey::new(&target.0).unwrap();
        let selector = Some(VersionSelector::Id(target.1));
        self.world.storage.set_legal_hold(&self.bucket, &key, selector, Hold::put(on)).await.unwrap();
        self.known.get_mut(&target).unwrap().legal = on;
    }

    /// What would take everything away if it could.
    async fn attack(&mut self) {
        let name = self.bucket.name.clone();
        let storage = &self.world.storage;
        let suspended = storage.update_bucket(&name, |record| record.set_state(Versioning::Suspended)).await;
        assert!(matches!(suspended, Err(StorageError::Lock(LockError::BucketState))), "{suspended:?}");
        if !self.known.is_empty() {
            let deleted = storage.delete_bucket(&name).await;
            assert!(matches!(deleted, Err(StorageError::BucketNotEmpty)), "{deleted:?}");
        }
        self.world.drain().await;
    }

    fn turn_the_clock(&mut self) {
        let now = self.world.clock.now();
        let some = self.dice.roll(6);
        let back = |days: u64| Timestamp::from_millis(now.as_millis() - days * DAY * 1000);
        self.world.clock.set(match self.dice.roll(60) {
            0 => back(200),
            1..20 => back(2 * some),
            _ => now.plus(days(4 * some)),
        });
    }

    fn restart(&mut self) {
        let now = self.world.clock.now();
        let again = self.world.restarted();
        again.clock.set(now);
        self.world = again;
    }

    async fn verify(&self) {
        for ((key, id), known) in &self.known {
            let body = self.world.get(&self.bucket, key, Some(VersionSelector::Id(*id))).await;
            assert_eq!(body.unwrap(), known.body, "{key} {id:?}");
        }
    }
}

#[tokio::test]
async fn ten_thousand_random_operations_remove_or_change_no_locked_version() {
    let world = World::new();
    let bucket = locked_bucket(&world, default_of(Mode::Compliance, Period::Days(2))).await;
    let mut play = Play {
        latest: world.clock.now().as_millis(),
        world,
        bucket,
        dice: Dice::new(0x10c4),
        known: BTreeMap::new(),
        refused: 0,
        removed: 0,
    };
    for step in 0..10_000 {
        match play.dice.roll(100) {
            0..12 => play.write().await,
            12..60 => play.remove(true).await,
            60..64 => play.remove(false).await,
            64..78 => play.change().await,
            78..86 => play.legal().await,
            86..97 => play.turn_the_clock(),
            97..98 => play.attack().await,
            _ => play.restart(),
        }
        if step % 50 == 0 {
            play.verify().await;
        }
    }
    play.verify().await;
    assert!(play.refused > 1000 && play.removed > 300, "{} refused, {} removed", play.refused, play.removed);
    play.world.drain().await;
    audit(&play.world, &[&play.bucket], &[]).await;
}
