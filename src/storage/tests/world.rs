//! An engine to try things on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::{
    clock::{Clock, Identifiers, ManualClock},
    data::{BlobId, DataBackend, MemoryBackend, MemoryNative},
    kms::{Kms, MemoryKms},
    location::{Location, LocationTable},
    metadata::{MemoryStore, MetadataStore},
    storage::{
        Attributes, Bucket, CompleteRequest, DeleteCondition, Deleted, ListedPart, NewBucket, NewUpload, PutObject,
        Settings, Storage, StorageResult, WriteCondition,
        records::{BucketRecord, JournalOp, ObjectRecord, PartRecord, Versioning},
    },
    types::{
        AccountId, BodyDigests, BucketName, Checksum, ChecksumAlgorithm, ChecksumType, DigestSlot, ETag, IncomingBody,
        ObjectKey, Timestamp, UploadId, VersionSelector, body,
        digest::{Digest, Md5},
    },
};

/// Longer bodies become blobs.
pub(super) const INLINE: usize = 8;
/// Fewest bytes of a part.
pub(super) const MIN_PART: usize = 4;

/// Where the bytes go: blobs, or objects under names of their own.
#[derive(Clone)]
pub(super) enum Store {
    Blobs(Arc<MemoryBackend>),
    Native(Arc<MemoryNative>),
}

impl Default for Store {
    /// As the tests of this module want it.
    fn default() -> Self {
        match super::MODE {
            None => Self::Blobs(Arc::default()),
            Some(mode) => Self::Native(Arc::new(MemoryNative::new(mode))),
        }
    }
}

impl Store {
    pub(super) fn backend(&self) -> Arc<dyn DataBackend> {
        match self {
            Self::Blobs(blobs) => Arc::<MemoryBackend>::clone(blobs),
            Self::Native(native) => Arc::<MemoryNative>::clone(native),
        }
    }

    pub(super) fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }

    /// Bytes of all blobs; those of parts only where they are blobs.
    pub(super) fn stored_bytes(&self) -> u64 {
        match self {
            Self::Blobs(blobs) => blobs.stored_bytes(),
            Self::Native(native) => native.stored_bytes(),
        }
    }

    /// All blobs, parts left out that are none.
    pub(super) async fn blobs(&self) -> Vec<BlobId> {
        self.backend().list(None, usize::MAX).await.unwrap()
    }
}

pub(super) struct World {
    pub(super) storage: Storage,
    pub(super) metadata: Arc<dyn MetadataStore>,
    pub(super) backend: Store,
    pub(super) clock: Arc<ManualClock>,
    pub(super) location: Arc<Location>,
    pub(super) kms: Arc<MemoryKms>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    pub(super) fn over(metadata: Arc<dyn MetadataStore>) -> Self {
        Self::on(metadata, Store::default(), Arc::default())
    }

    /// Two engines that know nothing of each other over the same stores.
    pub(super) fn twins(metadata: &Arc<dyn MetadataStore>) -> [Self; 2] {
        let backend = Store::default();
        [(); 2].map(|()| Self::on(Arc::clone(metadata), backend.clone(), Arc::default()))
    }

    /// An engine that starts over these stores.
    pub(super) fn restarted(&self) -> Self {
        Self::on(Arc::clone(&self.metadata), self.backend.clone(), Arc::clone(&self.kms))
    }

    pub(super) fn on(metadata: Arc<dyn MetadataStore>, backend: Store, keys: Arc<MemoryKms>) -> Self {
        let kms: Arc<dyn Kms> = Arc::<MemoryKms>::clone(&keys);
        Self::made_of((metadata, backend), keys, kms, settings())
    }

    /// An engine with another key manager.
    pub(super) fn with_keys_of(kms: Arc<dyn Kms>) -> Self {
        Self::made_of((Arc::new(MemoryStore::new()), Store::default()), Arc::default(), kms, settings())
    }

    /// An engine whose new buckets encrypt their objects.
    pub(super) fn encrypting() -> Self {
        let keys = Arc::<MemoryKms>::default();
        let kms: Arc<dyn Kms> = Arc::<MemoryKms>::clone(&keys);
        let settings = Settings { encrypt_new_buckets: true, ..settings() };
        Self::made_of((Arc::new(MemoryStore::new()), Store::default()), keys, kms, settings)
    }

    /// An engine that waits no longer than this for a publication.
    pub(super) fn impatient(backend: Store, publish_limit: Duration) -> Self {
        let keys = Arc::<MemoryKms>::default();
        let kms: Arc<dyn Kms> = Arc::<MemoryKms>::clone(&keys);
        let settings = Settings { publish_limit, ..settings() };
        Self::made_of((Arc::new(MemoryStore::new()), backend), keys, kms, settings)
    }

    fn made_of(
        (metadata, backend): (Arc<dyn MetadataStore>, Store),
        keys: Arc<MemoryKms>,
        kms: Arc<dyn Kms>,
        settings: Settings,
    ) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let location = Location::new("here", backend.backend());
        let cold = Location { name: "cold".into(), is_cold: true, ..location.clone() };
        let table = LocationTable::new([location, cold]);
        let location = Arc::clone(table.get("here").unwrap());
        let ids = Identifiers::new(Arc::<ManualClock>::clone(&clock), "RG001");
        let storage =
            Storage::new(Arc::clone(&metadata), table, Arc::<ManualClock>::clone(&clock), ids, (kms, settings));
        Self { storage, metadata, backend, clock, location, kms: keys }
    }

    pub(super) fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now().plus(time));
    }

    pub(super) async fn bucket(&self, name: &str, versioning: Versioning) -> Arc<Bucket> {
        let name = BucketName::new(name).unwrap();
        let record = BucketRecord { owner: "owner".to_owned(), location: "here".to_owned(), ..BucketRecord::default() };
        self.storage.create_bucket(NewBucket { name: name.clone(), record }).await.unwrap();
        self.set_versioning(&name, versioning).await
    }

    pub(super) async fn set_versioning(&self, name: &BucketName, versioning: Versioning) -> Arc<Bucket> {
        self.storage.update_bucket(name, |record| record.set_state(versioning)).await.unwrap()
    }

    pub(super) async fn put(&self, bucket: &Arc<Bucket>, key: &str, body: &[u8]) -> ObjectRecord {
        self.put_if(bucket, key, body, WriteCondition::Always).await.unwrap()
    }

    pub(super) async fn put_if(
        &self,
        bucket: &Arc<Bucket>,
        key: &str,
        body: &[u8],
        condition: WriteCondition,
    ) -> StorageResult<ObjectRecord> {
        let put = PutObject {
            bucket: Arc::clone(bucket),
            key: ObjectKey::new(key).unwrap(),
            location: Arc::clone(&self.location),
            attributes: Attributes::default(),
            condition,
            body: incoming(body),
            op: JournalOp::ObjectPut,
        };
        self.storage.put_object(put).await
    }

    pub(super) async fn delete(
        &self,
        bucket: &Arc<Bucket>,
        key: &str,
        selector: Option<VersionSelector>,
    ) -> StorageResult<Deleted> {
        let key = ObjectKey::new(key).unwrap();
        self.storage.delete_object(bucket, &key, selector, &DeleteCondition::default()).await
    }

    /// The bytes of a version; `Err` as the engine says it.
    pub(super) async fn get(
        &self,
        bucket: &Arc<Bucket>,
        key: &str,
        selector: Option<VersionSelector>,
    ) -> StorageResult<Bytes> {
        let key = ObjectKey::new(key).unwrap();
        let record = self.storage.version(bucket, &key, selector).await?;
        let stream = self.storage.open(bucket, &key, &record, 0..record.size).await?;
        Ok(body::collect(stream, usize::MAX).await?)
    }

    pub(super) fn new_upload(&self, bucket: &Arc<Bucket>, key: &str) -> NewUpload {
        NewUpload {
            bucket: Arc::clone(bucket),
            key: ObjectKey::new(key).unwrap(),
            location: Arc::clone(&self.location),
            attributes: Attributes::default(),
            checksum: None,
            initiator: AccountId::new("initiator"),
            initiator_display_name: String::new(),
        }
    }

    pub(super) async fn create_upload(&self, bucket: &Arc<Bucket>, key: &str) -> UploadId {
        self.storage.create_upload(self.new_upload(bucket, key)).await.unwrap()
    }

    pub(super) async fn declared_upload(
        &self,
        bucket: &Arc<Bucket>,
        key: &str,
        checksum: (ChecksumAlgorithm, ChecksumType),
    ) -> UploadId {
        let new = NewUpload { checksum: Some(checksum), ..self.new_upload(bucket, key) };
        self.storage.create_upload(new).await.unwrap()
    }

    pub(super) async fn put_part(
        &self,
        bucket: &Arc<Bucket>,
        key: &str,
        id: UploadId,
        (number, body): (u16, &[u8]),
    ) -> StorageResult<PartRecord> {
        let key = ObjectKey::new(key).unwrap();
        self.storage.put_part(bucket, &key, id, number, incoming(body)).await
    }

    pub(super) async fn complete(
        &self,
        bucket: &Arc<Bucket>,
        key: &str,
        id: UploadId,
        request: &CompleteRequest,
    ) -> StorageResult<ObjectRecord> {
        self.storage.complete_upload(bucket, &ObjectKey::new(key).unwrap(), id, request).await
    }

    pub(super) async fn abort(&self, bucket: &Arc<Bucket>, key: &str, id: UploadId) -> StorageResult<()> {
        self.storage.abort_upload(bucket, &ObjectKey::new(key).unwrap(), id).await
    }

    /// An object of these parts.
    pub(super) async fn multipart(&self, bucket: &Arc<Bucket>, key: &str, parts: &[&[u8]]) -> ObjectRecord {
        let id = self.create_upload(bucket, key).await;
        for (number, body) in (1..).zip(parts) {
            self.put_part(bucket, key, id, (number, body)).await.unwrap();
        }
        self.complete(bucket, key, id, &listing_of(parts)).await.unwrap()
    }

    /// Works off all garbage.
    pub(super) async fn drain(&self) {
        let report = self.storage.collect_garbage().await.unwrap();
        assert_eq!((report.in_use, report.failed), (0, 0));
        assert_eq!(self.storage.garbage_pending(1).await.unwrap(), 0);
    }
}

fn settings() -> Settings {
    Settings {
        inline_threshold: INLINE as u64,
        min_part_size: MIN_PART as u64,
        journal_max_entries: 1000,
        ..Settings::default()
    }
}

/// A request that lists these parts from number 1.
pub(super) fn listing_of(parts: &[&[u8]]) -> CompleteRequest {
    let listed = (1..).zip(parts).map(|(number, body)| listed(number, body)).collect();
    CompleteRequest { parts: listed, ..CompleteRequest::default() }
}

pub(super) fn listed(number: u16, body: &[u8]) -> ListedPart {
    ListedPart { number, etag: ETag::from_md5(Md5::digest(body).into()), checksum: None }
}

/// A body as it comes from a client that sends no checksum.
pub(super) fn incoming(body: &[u8]) -> IncomingBody {
    incoming_with(body, ChecksumAlgorithm::Crc64Nvme)
}

pub(super) fn incoming_with(body: &[u8], algorithm: ChecksumAlgorithm) -> IncomingBody {
    let digests = DigestSlot::default();
    digests.set(BodyDigests {
        size: body.len() as u64,
        md5: Md5::digest(body).into(),
        checksum: Checksum::of(algorithm, body),
    });
    let chunks: Vec<_> = body.chunks(5).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    IncomingBody { stream: stream::iter(chunks).boxed(), length: Some(body.len() as u64), digests }
}

/// Numbers that look random and are the same in every run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `faces`.
    pub(super) fn roll(&mut self, faces: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % faces
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(usize::try_from(self.roll(from.len() as u64)).unwrap()) }
    }
}
