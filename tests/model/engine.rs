//! The engine, made to answer as the reference does.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloudserver::{
    clock::{Clock, Identifiers, ManualClock},
    data::{DataBackend, MemoryBackend},
    kms::MemoryKms,
    location::{Location, LocationTable},
    metadata::MetadataStore,
    storage::{
        Attributes, Bucket, CompleteRequest, DeleteCondition, ListedPart, NewBucket, NewUpload, PutObject, Settings,
        Storage, StorageError, StorageResult, WriteCondition,
        listing::{Entry, ListQuery, ListStart, Page},
        records::{BucketRecord, JournalOp, ListRecord, ObjectRecord, Versioning},
    },
    types::{
        AccountId, BodyDigests, BucketName, Checksum, ChecksumAlgorithm, DigestSlot, ETag, IncomingBody, ObjectKey,
        Timestamp, UploadId, VersionId, VersionSelector, body,
        digest::{Digest, Md5},
    },
};

use crate::{Condition, Listing, MIN_PART, Op, Outcome, Which};

/// Longer bodies become blobs.
pub(crate) const INLINE: usize = 6;

pub(crate) struct Engine {
    metadata: Arc<dyn MetadataStore>,
    store: Store,
    /// Moved on at each step: a restarted engine makes no id of the millisecond before again.
    clock: Arc<ManualClock>,
    storage: Storage,
    name: BucketName,
    /// Ids by number; those of `null` markers are not told.
    versions: Vec<Option<VersionId>>,
    uploads: Vec<(ObjectKey, UploadId)>,
}

/// Where the bytes go.
#[derive(Clone)]
pub(crate) enum Store {
    Blobs(Arc<MemoryBackend>),
    /// Objects under names of their own.
    #[cfg(feature = "conformance")]
    Native(Arc<cloudserver::data::MemoryNative>),
}

impl Store {
    pub(crate) fn blobs() -> Self {
        Self::Blobs(Arc::default())
    }

    fn backend(&self) -> Arc<dyn DataBackend> {
        match self {
            Self::Blobs(blobs) => Arc::<MemoryBackend>::clone(blobs),
            #[cfg(feature = "conformance")]
            Self::Native(native) => Arc::<cloudserver::data::MemoryNative>::clone(native),
        }
    }

    fn stored_bytes(&self) -> u64 {
        match self {
            Self::Blobs(blobs) => blobs.stored_bytes(),
            #[cfg(feature = "conformance")]
            Self::Native(native) => native.stored_bytes(),
        }
    }

    /// Uploads that the store itself has begun; `None` where it knows no uploads.
    pub(crate) fn open_uploads(&self) -> Option<usize> {
        match self {
            Self::Blobs(_) => None,
            #[cfg(feature = "conformance")]
            Self::Native(native) => Some(native.unfinished()),
        }
    }
}

fn location(store: &Store) -> Location {
    Location::new("here", store.backend())
}

fn storage(metadata: &Arc<dyn MetadataStore>, store: &Store, clock: &Arc<ManualClock>) -> Storage {
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    let ids = Identifiers::new(Arc::clone(&clock), "RG001");
    let settings = Settings {
        inline_threshold: INLINE as u64,
        min_part_size: MIN_PART as u64,
        journal_max_entries: 1000,
        ..Settings::default()
    };
    Storage::new(
        Arc::clone(metadata),
        LocationTable::new([location(store)]),
        clock,
        ids,
        (Arc::new(MemoryKms::default()), settings),
    )
}

fn incoming(bytes: &[u8]) -> IncomingBody {
    let digests = DigestSlot::default();
    let checksum = Checksum::of(ChecksumAlgorithm::Crc64Nvme, bytes);
    digests.set(BodyDigests { size: bytes.len() as u64, md5: Md5::digest(bytes).into(), checksum });
    IncomingBody { stream: body::once(Bytes::copy_from_slice(bytes)), length: Some(bytes.len() as u64), digests }
}

fn refused(error: &StorageError) -> &'static str {
    match error {
        StorageError::NoSuchKey(None) => "NoSuchKey",
        StorageError::NoSuchKey(Some(_)) => "NoSuchKey, but a marker",
        StorageError::NoSuchVersion => "NoSuchVersion",
        StorageError::IsDeleteMarker(_) => "IsDeleteMarker",
        StorageError::PreconditionFailed(_) => "PreconditionFailed",
        StorageError::NoSuchUpload => "NoSuchUpload",
        StorageError::InvalidPart { .. } => "InvalidPart",
        StorageError::EntityTooSmall { .. } => "EntityTooSmall",
        StorageError::InvalidCompletion(_) => "NoParts",
        other => panic!("{other}"),
    }
}

impl Engine {
    pub(crate) async fn new(metadata: Arc<dyn MetadataStore>, store: Store) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let storage = storage(&metadata, &store, &clock);
        let name = BucketName::new("modelled").unwrap();
        let record = BucketRecord { owner: "owner".to_owned(), location: "here".to_owned(), ..BucketRecord::default() };
        storage.create_bucket(NewBucket { name: name.clone(), record }).await.unwrap();
        Self { metadata, store, clock, storage, name, versions: Vec::new(), uploads: Vec::new() }
    }

    /// The same over its store, closed and opened again.
    #[cfg(feature = "rocksdb")]
    pub(crate) async fn reopened(self, open: impl FnOnce() -> Arc<dyn MetadataStore>) -> Self {
        let Self { metadata, store, clock, storage: old, name, versions, uploads } = self;
        metadata.close().await.unwrap();
        drop((metadata, old));
        let metadata = open();
        let storage = storage(&metadata, &store, &clock);
        Self { metadata, store, clock, storage, name, versions, uploads }
    }

    pub(crate) async fn apply(&mut self, op: &Op) -> Outcome {
        self.clock.set(self.clock.now().plus(Duration::from_millis(1)));
        self.run(op).await.unwrap_or_else(|error| Outcome::Refused(refused(&error)))
    }

    async fn bucket(&self) -> Arc<Bucket> {
        self.storage.bucket(&self.name).await.unwrap()
    }

    async fn run(&mut self, op: &Op) -> StorageResult<Outcome> {
        let bucket = self.bucket().await;
        let here = Arc::clone(self.storage.locations().get("here").unwrap());
        match op {
            Op::Restart => {
                self.storage = storage(&self.metadata, &self.store, &self.clock);
                // Bodies of refused writes, whose removal was still to come.
                self.storage.recover().await?;
            }
            Op::Collect => assert_eq!(self.storage.collect_garbage().await?.in_use, 0),
            Op::Versioning(enabled) => {
                let state = if *enabled { Versioning::Enabled } else { Versioning::Suspended };
                self.storage.update_bucket(&self.name, |record| record.set_state(state)).await?;
            }
            Op::Put { key, body, condition } => {
                let put = PutObject {
                    bucket,
                    key: name(key),
                    location: here,
                    attributes: Attributes::default(),
                    condition: condition.into(),
                    body: incoming(body),
                    op: JournalOp::ObjectPut,
                };
                let record = self.storage.put_object(put).await?;
                return Ok(self.wrote(&record));
            }
            Op::Get { key, which } => {
                let record = self.storage.version(&bucket, &name(key), self.selector(*which)).await?;
                let stream = self.storage.open(&bucket, &name(key), &record, 0..record.size).await?;
                return Ok(Outcome::Body(body::collect(stream, usize::MAX).await?.to_vec()));
            }
            Op::Delete { key, which } => return self.delete(&bucket, key, *which).await,
            Op::Create { key } => {
                let new = NewUpload {
                    bucket,
                    key: name(key),
                    location: here,
                    attributes: Attributes::default(),
                    checksum: None,
                    initiator: AccountId::new("initiator"),
                    initiator_display_name: String::new(),
                };
                self.uploads.push((name(key), self.storage.create_upload(new).await?));
            }
            Op::Part { upload, number, body } => {
                let (key, id) = self.upload(*upload)?;
                self.storage.put_part(&bucket, &key, id, *number, incoming(body)).await?;
            }
            Op::Complete { upload, list, condition } => {
                let (key, id) = self.upload(*upload)?;
                let tag = |body: &[u8]| ETag::from_md5(Md5::digest(body).into());
                let part =
                    |(number, body): &(u16, Vec<u8>)| ListedPart { number: *number, etag: tag(body), checksum: None };
                let parts = list.iter().map(part).collect();
                let request = CompleteRequest { parts, condition: condition.into(), ..CompleteRequest::default() };
                let record = self.storage.complete_upload(&bucket, &key, id, &request).await?;
                return Ok(self.wrote(&record));
            }
            Op::Abort { upload } => {
                let (key, id) = self.upload(*upload)?;
                self.storage.abort_upload(&bucket, &key, id).await?;
            }
            Op::List(what) => return Ok(Outcome::Listed(self.list(&bucket, what).await)),
        }
        Ok(Outcome::Done)
    }

    fn upload(&self, upload: usize) -> StorageResult<(ObjectKey, UploadId)> {
        self.uploads.get(upload).cloned().ok_or(StorageError::NoSuchUpload)
    }

    fn selector(&self, which: Which) -> Option<VersionSelector> {
        match which {
            Which::Newest => None,
            Which::Null => Some(VersionSelector::Null),
            Which::Number(number) => {
                let known = self.versions.get(number).copied().flatten();
                Some(VersionSelector::Id(known.unwrap_or_else(|| VersionId::new(1, *b"UNKNOWN"))))
            }
        }
    }

    /// The number of an id, a new one where it is new.
    fn number(&mut self, id: VersionId) -> usize {
        self.versions.iter().position(|known| *known == Some(id)).unwrap_or_else(|| {
            self.versions.push(Some(id));
            self.versions.len() - 1
        })
    }

    fn wrote(&mut self, record: &ObjectRecord) -> Outcome {
        Outcome::Wrote { number: self.number(record.version_id()), null: record.is_null }
    }

    async fn delete(&mut self, bucket: &Arc<Bucket>, key: &str, which: Which) -> StorageResult<Outcome> {
        let condition = DeleteCondition::default();
        let deleted = self.storage.delete_object(bucket, &name(key), self.selector(which), &condition).await?;
        let version = match (deleted.version, which) {
            (Some(Some(id)), Which::Newest) => Some(Which::Number(self.number(id))),
            (Some(None), Which::Newest) => {
                self.versions.push(None);
                Some(Which::Null)
            }
            (version, named) => version.map(|_| named),
        };
        Ok(Outcome::Deleted { marker: deleted.delete_marker, version })
    }

    /// Bytes in blobs, all garbage worked off.
    pub(crate) async fn blob_bytes(&self) -> u64 {
        self.storage.collect_garbage().await.unwrap();
        assert_eq!(self.storage.garbage_pending(1).await.unwrap(), 0);
        self.store.stored_bytes()
    }

    /// As [`Store::open_uploads`].
    pub(crate) fn open_uploads(&self) -> Option<usize> {
        self.store.open_uploads()
    }

    /// Objects, versions, bytes, bytes of parts.
    pub(crate) async fn usage(&self) -> [i64; 4] {
        let usage = self.storage.usage(&*self.bucket().await).await.unwrap();
        [usage.objects, usage.versions, usage.bytes, usage.upload_bytes]
    }

    /// All pages of a listing.
    async fn list(&self, bucket: &Bucket, what: &Listing) -> Vec<String> {
        let mut query = ListQuery {
            prefix: what.prefix.clone(),
            delimiter: if what.delimited { "/" } else { "" }.to_owned(),
            start: ListStart::Beginning,
            limit: what.page,
        };
        let mut shown = Vec::new();
        loop {
            let next = match what.of {
                "objects" => {
                    let page = self.storage.list_objects(bucket, &query).await.unwrap();
                    lines(page, &mut shown, |object| object.key)
                }
                "uploads" => {
                    let page = self.storage.list_uploads(bucket, &query).await.unwrap();
                    lines(page, &mut shown, |upload| upload.key)
                }
                _ => {
                    let page = self.storage.list_versions(bucket, &query).await.unwrap();
                    lines(page, &mut shown, |it| self.line(&it.key, &it.record, it.is_latest))
                }
            };
            match next {
                Some(next) => query.start = next,
                None => return shown,
            }
        }
    }

    fn line(&self, key: &str, record: &ListRecord, is_latest: bool) -> String {
        let known = self.versions.iter().position(|known| *known == Some(record.version_id()));
        let id = if record.is_null { "null".to_owned() } else { known.unwrap().to_string() };
        let size = if record.delete_marker { "marker".to_owned() } else { record.size.to_string() };
        format!("{key} {id} {size}{}", if is_latest { " latest" } else { "" })
    }
}

fn name(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

fn lines<T>(page: Page<T>, shown: &mut Vec<String>, line: impl Fn(T) -> String) -> Option<ListStart> {
    shown.extend(page.entries.into_iter().map(|entry| match entry {
        Entry::Item(item) => line(item),
        Entry::Prefix(prefix) => format!("<{prefix}>"),
    }));
    page.next
}

impl From<&Condition> for WriteCondition {
    fn from(condition: &Condition) -> Self {
        match condition {
            Condition::None => Self::Always,
            Condition::Absent => Self::IfAbsent,
            Condition::Present => Self::IfPresent,
        }
    }
}
