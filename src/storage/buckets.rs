//! Buckets: create, find, change, list, delete.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{
    Storage, StorageError, StorageResult,
    change::{Change, places},
    keys, lock, quota,
    records::{AclRecord, BucketEncryption, BucketRecord, JournalOp, Record, Versioning},
};
use crate::{
    auth::{AccessLimits, Policy},
    metadata::{Batch, Condition, Direction, MetadataError, Namespace, Table, counters},
    types::{AccountId, Acl, BucketId, BucketName, ObjectOwnership, Timestamp},
};

/// A bucket as it was read. Immutable; a change makes a new one.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its name.
    pub name: BucketName,
    /// Its identifier in keys.
    pub id: BucketId,
    /// Its settings.
    pub record: BucketRecord,
    /// The owner.
    pub owner: AccountId,
    /// The access control list.
    pub acl: Acl,
    /// The policy, where there is one. A stored one that cannot be read denies everything but mending it.
    pub policy: Option<Arc<Policy>>,
    /// What narrows lists and policy.
    pub limits: AccessLimits,
}

/// A bucket to be created.
#[derive(Clone, Debug)]
pub struct NewBucket {
    /// Its name.
    pub name: BucketName,
    /// Its settings; identifier and creation time are filled in.
    pub record: BucketRecord,
}

/// A page of a list of buckets.
#[derive(Clone, Debug, Default)]
pub struct BucketPage {
    /// The buckets, by name.
    pub buckets: Vec<Arc<Bucket>>,
    /// Whether more follow.
    pub truncated: bool,
}

/// Exact counters of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys with a current version that is no marker.
    pub objects: i64,
    /// Versions that are no markers.
    pub versions: i64,
    /// Bytes of those versions.
    pub bytes: i64,
    /// Bytes of the parts of open uploads.
    pub upload_bytes: i64,
    /// Bytes that are being published: they have room, and belong to no version yet.
    pub held_bytes: i64,
}

/// Buckets read so far.
///
/// The engine is the only writer of its metadata: an entry is right until a change, which removes it. What was read
/// before a change and arrives after it is told by the epoch and not kept.
#[derive(Debug, Default)]
pub(super) struct BucketCache(RwLock<Cached>);

#[derive(Debug, Default)]
struct Cached {
    epoch: u64,
    buckets: HashMap<BucketName, Arc<Bucket>>,
    /// Changes whose outcome is not known, by bucket. Those whose caller went away stay: their batch may still wait.
    changing: HashMap<BucketName, usize>,
}

/// A change of a bucket under way: nobody keeps the bucket meanwhile.
#[derive(Debug)]
#[must_use]
struct Changing<'a> {
    cache: &'a BucketCache,
    name: &'a BucketName,
}

/// Most buckets kept in memory.
const CACHED_BUCKETS: usize = 10_000;
/// Attempts to change a bucket that others change, too.
const ATTEMPTS: usize = 16;

const BUCKETS: Namespace = Namespace::global(Table::Buckets);
const OWNERS: Namespace = Namespace::global(Table::Owners);

impl Bucket {
    fn new(name: BucketName, record: BucketRecord) -> Self {
        let owner = AccountId::new(record.owner.as_str());
        let acl = record.acl.as_ref().map_or_else(|| Acl::private(&owner), Acl::from);
        let policy = (!record.policy.is_empty()).then(|| Arc::new(stored_policy(&record.policy, &name)));
        let limits = record.access_limits();
        Self { name, id: BucketId::new(record.id), record, owner, acl, policy, limits }
    }

    /// The state of versioning.
    pub fn versioning(&self) -> Versioning {
        self.record.versioning()
    }

    /// Whether versioning was ever configured: only then answers carry version ids.
    pub fn is_versioned(&self) -> bool {
        self.versioning() != Versioning::Unversioned
    }

    /// Creation time.
    pub fn created(&self) -> Timestamp {
        Timestamp::from_millis(self.record.created_ms)
    }
}

impl BucketCache {
    fn get(&self, name: &BucketName) -> Option<Arc<Bucket>> {
        self.0.read().buckets.get(name).cloned()
    }

    fn epoch(&self) -> u64 {
        self.0.read().epoch
    }

    /// Keeps what was read at `epoch`, unless something changed since.
    fn keep(&self, bucket: &Arc<Bucket>, epoch: u64) {
        let mut cache = self.0.write();
        if cache.epoch != epoch || cache.changing.contains_key(&bucket.name) {
            return;
        }
        if cache.buckets.len() >= CACHED_BUCKETS {
            cache.buckets.clear();
        }
        cache.buckets.insert(bucket.name.clone(), Arc::clone(bucket));
    }

    /// A bucket is about to change.
    fn change<'a>(&'a self, name: &'a BucketName) -> Changing<'a> {
        let mut cache = self.0.write();
        cache.forget(name);
        *cache.changing.entry(name.clone()).or_default() += 1;
        Changing { cache: self, name }
    }
}

impl Cached {
    fn forget(&mut self, name: &BucketName) {
        self.epoch += 1;
        self.buckets.remove(name);
    }
}

impl Changing<'_> {
    /// The change has happened, or certainly not.
    fn end(self) {
        let mut cache = self.cache.0.write();
        cache.forget(self.name);
        if let Some(count) = cache.changing.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                cache.changing.remove(self.name);
            }
        }
    }
}

impl Storage {
    /// The bucket of that name.
    ///
    /// # Errors
    /// [`StorageError::NoSuchBucket`].
    pub async fn bucket(&self, name: &BucketName) -> StorageResult<Arc<Bucket>> {
        if let Some(bucket) = self.inner.buckets.get(name) {
            return Ok(bucket);
        }
        let epoch = self.inner.buckets.epoch();
        let (bucket, _) = self.read_bucket(name).await?;
        self.inner.buckets.keep(&bucket, epoch);
        Ok(bucket)
    }

    async fn read_bucket(&self, name: &BucketName) -> StorageResult<(Arc<Bucket>, Bytes)> {
        let stored = self.inner.metadata.get(BUCKETS, name.as_str().as_bytes()).await?;
        let stored = stored.ok_or(StorageError::NoSuchBucket)?;
        let bucket = Arc::new(Bucket::new(name.clone(), BucketRecord::from_bytes(&stored)?));
        Ok((bucket, stored))
    }

    /// Creates a bucket.
    ///
    /// # Errors
    /// [`StorageError::BucketAlreadyOwnedByYou`], [`StorageError::BucketAlreadyExists`].
    pub async fn create_bucket(&self, new: NewBucket) -> StorageResult<Arc<Bucket>> {
        lock::check_bucket(None, &new.record)?;
        let now = self.inner.clock.now();
        let mut record = new.record;
        record.id = u64::from_be_bytes(self.inner.ids.random());
        record.created_ms = now.as_millis();
        if self.inner.settings.encrypt_new_buckets && record.encryption.is_none() {
            record.encryption = Some(BucketEncryption::managed());
        }
        let bucket = Arc::new(Bucket::new(new.name, record));
        let name = bucket.name.as_str().as_bytes().to_vec();

        let usage = Namespace::of(Table::Usage, bucket.id);
        let mut batch = Batch::new();
        batch.require(BUCKETS, name.clone(), Condition::Absent);
        batch.require(usage, keys::USAGE, Condition::Absent);
        batch.put(BUCKETS, name, bucket.record.to_bytes());
        batch.put(OWNERS, keys::owned_bucket(&bucket.owner, bucket.name.as_str()), now.to_iso8601().into_bytes());
        batch.add(usage, keys::USAGE, vec![0; places::COUNT]);
        let mut change = Change::over(&bucket, batch);
        change.tell(JournalOp::BucketCreated, "", None, now);
        match self.inner.metadata.commit(change.finish().0).await {
            Ok(()) => Ok(bucket),
            Err(MetadataError::Conflict(0)) => {
                let existing = self.bucket(&bucket.name).await?;
                Err(if existing.owner == bucket.owner {
                    StorageError::BucketAlreadyOwnedByYou
                } else {
                    StorageError::BucketAlreadyExists
                })
            }
            Err(MetadataError::Conflict(_)) => Err(StorageError::Contention),
            Err(e) => Err(e.into()),
        }
    }

    /// Changes a bucket's settings. `edit` may run several times.
    ///
    /// # Errors
    /// [`StorageError::NoSuchBucket`]; [`lock::LockError::BucketState`] for a change that object lock rules out.
    pub async fn update_bucket(
        &self,
        name: &BucketName,
        edit: impl Fn(&mut BucketRecord) + Send,
    ) -> StorageResult<Arc<Bucket>> {
        let always = move |record: &mut BucketRecord| {
            edit(record);
            Ok(())
        };
        self.try_update_bucket(name, always).await
    }

    /// As [`Storage::update_bucket`], unless `edit` finds that the settings do not allow it.
    ///
    /// # Errors
    /// That of `edit`; nothing is changed then.
    pub async fn try_update_bucket<E: From<StorageError> + Send>(
        &self,
        name: &BucketName,
        edit: impl Fn(&mut BucketRecord) -> Result<(), E> + Send,
    ) -> Result<Arc<Bucket>, E> {
        let _guard = self.inner.locks.lock_bucket(name).await;
        for _ in 0..ATTEMPTS {
            let (bucket, stored) = self.read_bucket(name).await?;
            let mut record = bucket.record.clone();
            edit(&mut record)?;
            lock::check_bucket(Some(&bucket.record), &record).map_err(StorageError::from)?;
            let changed = Arc::new(Bucket::new(name.clone(), record));
            let mut change = Change::new(&changed);
            change.batch.unchanged(BUCKETS, name.as_str().as_bytes().to_vec(), Some(&stored));
            change.batch.put(BUCKETS, name.as_str().as_bytes().to_vec(), changed.record.to_bytes());
            quota::move_limits(&mut change, &bucket.record);
            change.tell(JournalOp::BucketChanged, "", None, self.inner.clock.now());
            let changing = self.inner.buckets.change(name);
            let result = self.inner.metadata.commit(change.finish().0).await;
            changing.end();
            match result {
                Ok(()) => return Ok(changed),
                Err(MetadataError::Conflict(_)) => {}
                Err(e) => return Err(StorageError::from(e).into()),
            }
        }
        Err(StorageError::Contention.into())
    }

    /// Deletes an empty bucket; open uploads go with it.
    ///
    /// # Errors
    /// [`StorageError::NoSuchBucket`], [`StorageError::BucketNotEmpty`].
    pub async fn delete_bucket(&self, name: &BucketName) -> StorageResult<()> {
        for _ in 0..ATTEMPTS {
            match self.try_delete_bucket(name).await {
                Err(StorageError::Contention) => {}
                other => return other,
            }
        }
        Err(StorageError::Contention)
    }

    async fn try_delete_bucket(&self, name: &BucketName) -> StorageResult<()> {
        let (bucket, stored) = self.read_bucket(name).await?;
        let key = name.as_str().as_bytes().to_vec();
        let mut batch = Batch::new();
        batch.unchanged(BUCKETS, key.clone(), Some(&stored));
        for table in [Table::Current, Table::Versions] {
            let all = Condition::EmptyRange(keys::end_of_all());
            batch.require(Namespace::of(table, bucket.id), Bytes::new(), all);
        }
        let empty = 1..batch.conditions.len();
        batch.delete(BUCKETS, key);
        batch.delete(OWNERS, keys::owned_bucket(&bucket.owner, name.as_str()));
        let mut change = Change::over(&bucket, batch);
        self.uncount_bucket(&mut change).await?;
        change.free_bucket();
        change.tell(JournalOp::BucketDeleted, "", None, self.inner.clock.now());
        let changing = self.inner.buckets.change(name);
        let result = self.inner.metadata.commit(change.finish().0).await;
        changing.end();
        match result {
            Ok(()) => {
                self.inner.garbage.wake();
                Ok(())
            }
            Err(MetadataError::Conflict(failed)) if empty.contains(&failed) => Err(StorageError::BucketNotEmpty),
            Err(MetadataError::Conflict(_)) => Err(StorageError::Contention),
            Err(e) => Err(e.into()),
        }
    }

    /// At most `limit` buckets of `owner` whose names begin with `prefix`, after the name `after`.
    pub async fn list_buckets(
        &self,
        owner: &AccountId,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> StorageResult<BucketPage> {
        let start = keys::owned_bucket(owner, prefix);
        let end = keys::successor(&start);
        let resume = keys::after(&keys::owned_bucket(owner, after));
        let range = if after.is_empty() { start.clone() } else { start.clone().max(resume) }..end;
        let skip = start.len() - prefix.len();
        let pairs = self.inner.metadata.scan(OWNERS, range, Direction::Forward, limit + 1).await?;
        let mut page = BucketPage { buckets: Vec::with_capacity(pairs.len().min(limit)), truncated: false };
        for (key, _) in pairs {
            if page.buckets.len() == limit {
                page.truncated = true;
                break;
            }
            let name = key.get(skip..).and_then(|name| std::str::from_utf8(name).ok()).map(BucketName::new);
            let Some(Ok(name)) = name else { continue };
            match self.bucket(&name).await {
                Ok(bucket) => page.buckets.push(bucket),
                // Deleted since the scan.
                Err(StorageError::NoSuchBucket) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(page)
    }

    /// At most `limit` buckets of all owners, by name, after the name `after`.
    pub async fn all_buckets(&self, after: &str, limit: usize) -> StorageResult<Vec<Arc<Bucket>>> {
        let start = if after.is_empty() { Bytes::new() } else { keys::after(after.as_bytes()) };
        let pairs = self.inner.metadata.scan(BUCKETS, start..keys::end_of_all(), Direction::Forward, limit).await?;
        let mut buckets = Vec::with_capacity(pairs.len());
        for (name, stored) in pairs {
            let name = std::str::from_utf8(&name).ok().and_then(|name| BucketName::new(name).ok());
            let Some(name) = name else { continue };
            buckets.push(Arc::new(Bucket::new(name, BucketRecord::from_bytes(&stored)?)));
        }
        Ok(buckets)
    }

    /// The counters of a bucket.
    pub async fn usage(&self, bucket: &Bucket) -> StorageResult<Usage> {
        self.usage_of(bucket.id).await?.ok_or(StorageError::NoSuchBucket)
    }

    pub(super) async fn usage_of(&self, bucket: BucketId) -> StorageResult<Option<Usage>> {
        let stored = self.inner.metadata.get(Namespace::of(Table::Usage, bucket), keys::USAGE).await?;
        let Some(stored) = stored else { return Ok(None) };
        let counters = counters::decode(&stored)?;
        let at = |place: usize| counters.get(place).copied().unwrap_or_default();
        Ok(Some(Usage {
            objects: at(places::OBJECTS),
            versions: at(places::VERSIONS),
            bytes: at(places::BYTES),
            upload_bytes: at(places::UPLOADS),
            held_bytes: at(places::HELD_BYTES),
        }))
    }
}

/// A policy was read when it was set. One that cannot be read now was set by another release: nobody knows whom it
/// would let in.
fn stored_policy(document: &str, bucket: &BucketName) -> Policy {
    Policy::parse(document.as_bytes(), bucket).unwrap_or_else(|error| {
        tracing::error!(%bucket, %error, "the stored policy cannot be read: everything in the bucket is denied");
        Policy::closed()
    })
}

impl BucketRecord {
    /// What narrows lists and policy.
    pub fn access_limits(&self) -> AccessLimits {
        let block = self.public_access_block.unwrap_or_default();
        AccessLimits {
            ownership: ObjectOwnership::parse(&self.ownership).unwrap_or_default(),
            ignore_public_acls: block.ignore_public_acls,
            restrict_public: block.restrict_public_buckets,
        }
    }

    /// Sets the access control list.
    pub fn set_acl(&mut self, acl: &Acl) {
        self.acl = Some(AclRecord::from(acl));
    }

    /// Sets the state of versioning; it never goes back to unversioned.
    pub fn set_state(&mut self, versioning: Versioning) {
        self.versioning = versioning.into();
    }
}
