//! Jobs over an engine in memory with two places.

mod named;
mod scans;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::*;
use crate::{
    clock::{Identifiers, ManualClock},
    data::{BlobId, DataBackend, MemoryBackend, MemoryNative, memory_native::Mode},
    kms::MemoryKms,
    location::{Location, LocationTable},
    metadata::{MemoryStore, MetadataStore},
    storage::{
        Attributes, CompleteRequest, DeleteCondition, ListedPart, NewBucket, NewUpload, PutObject, Settings,
        WriteCondition,
        lock::{Hold, Lock},
        records::{BucketRecord, JournalOp, ObjectLockRecord, ObjectRecord, Versioning},
    },
    types::{
        BodyDigests, BucketName, Checksum, ChecksumAlgorithm, DigestSlot, ETag, IncomingBody, ObjectKey, Timestamp,
        VersionSelector, body,
        digest::{Digest, Md5},
    },
};

pub(super) struct World {
    clock: Arc<ManualClock>,
    metadata: Arc<dyn MetadataStore>,
    pub(super) storage: Storage,
    pub(super) jobs: Jobs,
    backends: [Arc<MemoryBackend>; 2],
    /// Keeps objects under names of their own.
    named: Arc<MemoryNative>,
    /// Where objects are written.
    home: &'static str,
}

impl World {
    fn new() -> Self {
        Self::with(Mode::Versioned)
    }

    fn with(mode: Mode) -> Self {
        Self::made(Arc::new(MemoryStore::new()), mode)
    }

    pub(super) fn over(metadata: Arc<dyn MetadataStore>) -> Self {
        Self::made(metadata, Mode::Versioned)
    }

    fn made(metadata: Arc<dyn MetadataStore>, mode: Mode) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let backends = [(); 2].map(|()| Arc::new(MemoryBackend::new()));
        let named = Arc::new(MemoryNative::new(mode));
        let (storage, jobs) = Self::open(&clock, &metadata, &backends, &named);
        Self { clock, metadata, storage, jobs, backends, named, home: "old" }
    }

    /// As after the end of the process: nothing is left but the stores.
    fn restart(&mut self) {
        (self.storage, self.jobs) = Self::open(&self.clock, &self.metadata, &self.backends, &self.named);
    }

    fn open(
        clock: &Arc<ManualClock>,
        metadata: &Arc<dyn MetadataStore>,
        backends: &[Arc<MemoryBackend>; 2],
        store: &Arc<MemoryNative>,
    ) -> (Storage, Jobs) {
        let [old, new] = backends;
        let blobs = |name: &str, backend: &Arc<MemoryBackend>| {
            let backend: Arc<dyn DataBackend> = Arc::<MemoryBackend>::clone(backend);
            Location::new(name, backend)
        };
        let cold = Location { is_cold: true, ..blobs("cold", new) };
        let named = Location::new("named", Arc::<MemoryNative>::clone(store));
        let other = Location::new("also-named", Arc::<MemoryNative>::clone(store));
        let narrow = Location { size_limit: Some(40), ..Location::new("narrow", Arc::<MemoryNative>::clone(store)) };
        let table =
            LocationTable::new([blobs("old", old), blobs("alias", old), blobs("new", new), cold, named, other, narrow]);
        let ids = Identifiers::new(Arc::<ManualClock>::clone(clock), "RG001");
        let limit = std::time::Duration::from_millis(100);
        let settings = Settings { inline_threshold: 8, min_part_size: 4, publish_limit: limit, ..Settings::default() };
        let metadata = Arc::clone(metadata);
        let clock = Arc::<ManualClock>::clone(clock);
        let storage = Storage::new(metadata, table, clock, ids, (Arc::new(MemoryKms::default()), settings));
        let jobs = Jobs::new(storage.clone(), [Arc::new(Moves) as Arc<dyn JobKind>]);
        (storage, jobs)
    }

    pub(super) async fn bucket(&self, versioning: Versioning) -> Arc<Bucket> {
        let name = BucketName::new("bucket").unwrap();
        let record = BucketRecord { owner: "owner".into(), location: "old".into(), ..BucketRecord::default() };
        self.storage.create_bucket(NewBucket { name: name.clone(), record }).await.unwrap();
        self.storage.update_bucket(&name, |record| record.set_state(versioning)).await.unwrap()
    }

    async fn put(&self, bucket: &Arc<Bucket>, key: &str, body: &[u8]) -> ObjectRecord {
        self.put_with(bucket, key, body, Attributes::default()).await
    }

    async fn put_with(&self, bucket: &Arc<Bucket>, key: &str, body: &[u8], attributes: Attributes) -> ObjectRecord {
        let location = Arc::clone(self.storage.locations().get(self.home).unwrap());
        let put = PutObject {
            bucket: Arc::clone(bucket),
            key: ObjectKey::new(key).unwrap(),
            location,
            attributes,
            condition: WriteCondition::Always,
            body: incoming(body),
            op: JournalOp::ObjectPut,
        };
        self.storage.put_object(put).await.unwrap()
    }

    async fn multipart(&self, bucket: &Arc<Bucket>, key: &str, parts: &[&[u8]]) -> ObjectRecord {
        let key = ObjectKey::new(key).unwrap();
        let new = NewUpload {
            bucket: Arc::clone(bucket),
            key: key.clone(),
            location: Arc::clone(self.storage.locations().get(self.home).unwrap()),
            attributes: Attributes::default(),
            checksum: None,
            initiator: AccountId::new("initiator"),
            initiator_display_name: String::new(),
        };
        let id = self.storage.create_upload(new).await.unwrap();
        let mut listed = Vec::new();
        for (number, part) in (1..).zip(parts) {
            self.storage.put_part(bucket, &key, id, number, incoming(part)).await.unwrap();
            listed.push(ListedPart { number, etag: ETag::from_md5(Md5::digest(part).into()), checksum: None });
        }
        let request = CompleteRequest { parts: listed, ..CompleteRequest::default() };
        self.storage.complete_upload(bucket, &key, id, &request).await.unwrap()
    }

    async fn get(&self, bucket: &Bucket, key: &str, selector: Option<VersionSelector>) -> (ObjectRecord, Bytes) {
        let key = ObjectKey::new(key).unwrap();
        let record = self.storage.version(bucket, &key, selector).await.unwrap();
        let stream = self.storage.open(bucket, &key, &record, 0..record.size).await.unwrap();
        (record, body::collect(stream, usize::MAX).await.unwrap())
    }

    pub(super) async fn submit(&self, bucket: &Arc<Bucket>, request: JobRequest) -> Result<JobRecord, JobError> {
        self.jobs.submit(("move", &AccountId::new("owner")), bucket, request).await
    }

    /// Takes all jobs to their end.
    pub(super) async fn work(&self) {
        // The tasks stay alive: a dropped sender would look like a stop.
        let tasks = Tasks::default();
        let mut stop = tasks.stop_signal();
        while self.jobs.turn(&mut stop).await.unwrap() != Turn::Nothing {}
    }

    async fn blobs(&self) -> [usize; 2] {
        self.storage.collect_garbage().await.unwrap();
        let [old, new] = &self.backends;
        [old.list(None, 10_000).await.unwrap().len(), new.list(None, 10_000).await.unwrap().len()]
    }
}

pub(super) fn to_new() -> JobRequest {
    JobRequest { from: "old".into(), to: "new".into(), ..JobRequest::default() }
}

fn incoming(body: &[u8]) -> IncomingBody {
    let digests = DigestSlot::default();
    digests.set(BodyDigests {
        size: body.len() as u64,
        md5: Md5::digest(body).into(),
        checksum: Checksum::of(ChecksumAlgorithm::Crc64Nvme, body),
    });
    let chunks: Vec<_> = body.chunks(5).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    IncomingBody { stream: stream::iter(chunks).boxed(), length: Some(body.len() as u64), digests }
}

/// A record without what a move may change.
fn essence(record: &ObjectRecord) -> ObjectRecord {
    let mut record = record.clone();
    record.location.clear();
    for segment in &mut record.segments {
        segment.location.clear();
        segment.blob.clear();
    }
    record
}

#[tokio::test]
async fn a_move_takes_every_version_and_changes_nothing_else() {
    let world = World::new();
    let bucket = world.bucket(Versioning::Enabled).await;
    let first = world.put(&bucket, "a", b"the first version").await;
    let second = world.put(&bucket, "a", b"the second version").await;
    let small = world.put(&bucket, "b", b"small").await;
    let parts: Vec<Vec<u8>> = (0..70_u8).map(|number| vec![number; 9]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let many = world.multipart(&bucket, "many", &parts).await;
    let few = world.multipart(&bucket, "few", &parts[..3]).await;
    let held = Lock { legal_hold: Hold::On, ..Lock::default() };
    world
        .storage
        .update_bucket(&bucket.name, |record| record.object_lock = Some(ObjectLockRecord::default()))
        .await
        .unwrap();
    let bucket = world.storage.bucket(&bucket.name).await.unwrap();
    let locked =
        world.put_with(&bucket, "locked", b"held by the law", Attributes { lock: held, ..Attributes::default() });
    let locked = locked.await;
    assert_eq!(world.blobs().await, [2 + 73 + 1, 0]);

    let job = world.submit(&bucket, to_new()).await.unwrap();
    world.work().await;
    let job = world.jobs.find(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state(), job.left, job.failed, job.done), (JobState::Done, 0, 0, 6), "{job:?}");
    assert_eq!(world.blobs().await, [0, 2 + 73 + 1], "old bytes are gone, once their garbage is collected");

    for (key, before, text) in [
        ("a", &first, b"the first version".to_vec()),
        ("a", &second, b"the second version".to_vec()),
        ("b", &small, b"small".to_vec()),
        ("many", &many, parts.concat()),
        ("few", &few, parts[..3].concat()),
        ("locked", &locked, b"held by the law".to_vec()),
    ] {
        let (after, bytes) = world.get(&bucket, key, Some(VersionSelector::Id(before.version_id()))).await;
        assert_eq!(bytes, text, "{key}");
        assert_eq!(essence(&after), essence(before), "{key}");
        assert_eq!(after.location, "new");
    }
    let key = ObjectKey::new("locked").unwrap();
    let id = Some(VersionSelector::Id(locked.version_id()));
    let refused = world.storage.delete_object(&bucket, &key, id, &DeleteCondition::default()).await;
    assert!(matches!(refused, Err(StorageError::Lock(_))), "a locked version stays locked");
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let world = World::new();
    let bucket = world.bucket(Versioning::Unversioned).await;
    world.put(&bucket, "in/a", b"long enough for a blob").await;
    world.put(&bucket, "in/b", b"tiny").await;
    world.put(&bucket, "out/c", b"long enough for a blob").await;
    let request = JobRequest { prefix: "in/".into(), dry_run: true, ..to_new() };
    let job = world.submit(&bucket, request.clone()).await.unwrap();
    world.work().await;
    let job = world.jobs.find(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state(), job.done, job.bytes), (JobState::Done, 2, 26));
    assert_eq!(world.blobs().await, [2, 0]);

    let job = world.submit(&bucket, JobRequest { dry_run: false, ..request }).await.unwrap();
    world.work().await;
    assert_eq!(world.jobs.find(&job.id).await.unwrap().unwrap().done, 2);
    assert_eq!(world.blobs().await, [1, 1], "what has another prefix stays");
}

#[tokio::test]
async fn two_names_of_one_place_need_no_copy() {
    let world = World::new();
    let bucket = world.bucket(Versioning::Unversioned).await;
    let before = world.put(&bucket, "a", b"long enough for a blob").await;
    world.submit(&bucket, JobRequest { to: "alias".into(), ..to_new() }).await.unwrap();
    world.work().await;
    let (after, bytes) = world.get(&bucket, "a", None).await;
    assert_eq!((after.location.as_str(), bytes.as_ref()), ("alias", b"long enough for a blob".as_slice()));
    assert_eq!(after.segments[0].blob, before.segments[0].blob);
    assert_eq!(world.blobs().await, [1, 0]);
}

#[tokio::test]
async fn a_rotten_object_is_named_and_stays() {
    let world = World::new();
    let bucket = world.bucket(Versioning::Unversioned).await;
    world.put(&bucket, "good", b"long enough for a blob").await;
    let rotten = world.put(&bucket, "rotten", b"another one of that kind").await;
    let [old, _] = &world.backends;
    old.delete(&BlobId::new(rotten.segments[0].blob.as_str())).await.unwrap();
    let job = world.submit(&bucket, to_new()).await.unwrap();
    world.work().await;
    let job = world.jobs.find(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state(), job.left), (JobState::Failed, 1), "{job:?}");
    assert!(job.message.contains("left in old"), "{}", job.message);
    let (good, _) = world.get(&bucket, "good", None).await;
    assert_eq!(good.location, "new");
}

#[tokio::test]
async fn new_objects_go_to_the_new_place_if_asked() {
    let world = World::new();
    let bucket = world.bucket(Versioning::Unversioned).await;
    world.submit(&bucket, JobRequest { and_new_writes: true, ..to_new() }).await.unwrap();
    assert_eq!(world.storage.bucket(&bucket.name).await.unwrap().record.location, "new");
}

#[tokio::test]
async fn senseless_moves_are_refused_and_change_nothing() {
    let world = World::new();
    let bucket = world.bucket(Versioning::Unversioned).await;
    for request in [
        JobRequest { to: "old".into(), ..to_new() },
        JobRequest { to: "nowhere".into(), ..to_new() },
        JobRequest { from: "nowhere".into(), ..to_new() },
        JobRequest { to: "cold".into(), ..to_new() },
        JobRequest { and_new_writes: true, prefix: "in/".into(), ..to_new() },
    ] {
        let refused = world.submit(&bucket, request.clone()).await;
        assert!(matches!(refused, Err(JobError::Refused(_))), "{request:?}");
    }
    assert!(world.jobs.list().await.unwrap().is_empty());
    assert_eq!(world.storage.bucket(&bucket.name).await.unwrap().record.location, "old");
    let unknown = world.jobs.submit(("dance", &AccountId::new("owner")), &bucket, to_new()).await;
    assert!(matches!(unknown, Err(JobError::UnknownKind)));
}

#[tokio::test]
async fn one_move_at_a_time_and_a_cancelled_one_ends() {
    let world = World::new();
    let bucket = world.bucket(Versioning::Unversioned).await;
    world.put(&bucket, "a", b"long enough for a blob").await;
    let job = world.submit(&bucket, to_new()).await.unwrap();
    assert!(matches!(world.submit(&bucket, to_new()).await, Err(JobError::UnderWay(id)) if id == job.id));
    assert_eq!(world.jobs.cancel(job.clone()).await.unwrap().state(), JobState::Cancelled);
    world.work().await;
    assert_eq!(world.blobs().await, [1, 0]);
    assert_eq!(world.jobs.cancel(job).await.unwrap().state(), JobState::Cancelled, "twice is fine");
    world.submit(&bucket, to_new()).await.unwrap();
    world.work().await;
    assert_eq!(world.blobs().await, [0, 1]);
}

#[tokio::test]
async fn an_interrupted_move_goes_on_where_it_was() {
    let world = World::new();
    let bucket = world.bucket(Versioning::Unversioned).await;
    for number in 0..100 {
        world.put(&bucket, &format!("key-{number:03}"), b"long enough for a blob").await;
    }
    let job = world.submit(&bucket, to_new()).await.unwrap();
    let tasks = Tasks::default();
    let mut stop = tasks.stop_signal();
    for _ in 0..3 {
        world.jobs.turn(&mut stop).await.unwrap();
    }
    let under_way = world.jobs.find(&job.id).await.unwrap().unwrap();
    assert!((1..100).contains(&under_way.done), "{under_way:?}");
    // Another server over the same stores knows nothing but the record.
    let again = Jobs::new(world.storage.clone(), [Arc::new(Moves) as Arc<dyn JobKind>]);
    while again.turn(&mut stop).await.unwrap() != Turn::Nothing {}
    let job = again.find(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state(), job.done), (JobState::Done, 100));
    assert_eq!(world.blobs().await, [0, 100]);
}

#[tokio::test]
async fn objects_move_into_and_out_of_a_store_of_named_objects() {
    let mut world = World::new();
    let bucket = world.bucket(Versioning::Enabled).await;
    let parts: Vec<Vec<u8>> = (0..20_u8).map(|number| vec![number; 9]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let mut all = Vec::new();
    for home in ["old", "named"] {
        world.home = home;
        all.push((world.put(&bucket, "a", b"tiny").await, b"tiny".to_vec()));
        all.push((world.put(&bucket, "a", b"").await, Vec::new()));
        all.push((world.put(&bucket, "a", b"long enough for a blob").await, b"long enough for a blob".to_vec()));
        all.push((world.multipart(&bucket, "a", &parts[..3]).await, parts[..3].concat()));
        all.push((world.multipart(&bucket, "a", &parts).await, parts.concat()));
    }
    for (from, to) in [("named", "new"), ("old", "named"), ("new", "old"), ("named", "old")] {
        let request = JobRequest { from: from.into(), to: to.into(), ..JobRequest::default() };
        let job = world.submit(&bucket, request).await.unwrap();
        world.work().await;
        let job = world.jobs.find(&job.id).await.unwrap().unwrap();
        assert_eq!((job.state(), job.left, job.failed), (JobState::Done, 0, 0), "{from} {to} {job:?}");
        for (before, text) in &all {
            let id = VersionSelector::Id(before.version_id());
            let (after, bytes) = world.get(&bucket, "a", Some(id)).await;
            assert_eq!((&bytes[..], &after.etag), (&text[..], &before.etag), "{from} {to}");
            assert_ne!(after.location, from);
        }
    }
    assert_eq!(world.blobs().await[1], 0);
    assert_eq!(world.named.stored_bytes(), 0, "nothing is left behind");
}

#[tokio::test]
async fn who_reads_while_bytes_move_reads_to_the_end() {
    let world = World::new();
    let bucket = world.bucket(Versioning::Unversioned).await;
    let parts: Vec<Vec<u8>> = (0..20_u8).map(|number| vec![number; 9]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    for (key, count) in [("rows", 20), ("few", 3)] {
        let before = world.multipart(&bucket, key, &parts[..count]).await;
        let name = ObjectKey::new(key).unwrap();
        let early = world.storage.open(&bucket, &name, &before, 0..before.size).await.unwrap();
        world.submit(&bucket, JobRequest { prefix: key.into(), ..to_new() }).await.unwrap();
        world.work().await;
        world.storage.collect_garbage().await.unwrap();
        // Opened before the move, and opened after it by the record of before.
        let late = world.storage.open(&bucket, &name, &before, 0..before.size).await.unwrap();
        for stream in [early, late] {
            assert_eq!(body::collect(stream, usize::MAX).await.unwrap(), parts[..count].concat(), "{key}");
        }
    }
    assert_eq!(world.blobs().await[0], 0);
}
