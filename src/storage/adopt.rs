//! Objects that others put where a location keeps them: taken up without copying a byte, and given up when they are gone.
//!
//! The key's lock is held from the last look at the store to the commit, as by every write that publishes there. So what
//! one of those has published and not yet committed is never taken for somebody else's.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;

use super::{
    DeleteCondition, Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::Change,
    keys,
    lock::{Bypass, Leave},
    objects::ATTEMPTS,
    records::{ChecksumRecord, JournalOp, ObjectRecord, Record, Segment},
    versions,
};
use crate::{
    data::{BlobId, Browse, DataError, Expected},
    location::{Location, LocationTable},
    metadata::{Batch, Direction, MetadataError, Namespace, Table},
    types::{
        Checksum, ChecksumAlgorithm, ChecksumType, ObjectKey, Timestamp,
        checksum::ChecksumHasher,
        digest::{Digest, md5},
    },
};

/// Rows looked at in one step of [`Storage::give_up_missing`].
const PAGE: usize = 64;

/// A store has so long to tell what it is.
const IDENTITY_LIMIT: Duration = Duration::from_secs(3);

const SYSTEM: Namespace = Namespace::global(Table::System);

/// Bytes that are where an object would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBytes {
    /// The object's key.
    pub key: ObjectKey,
    /// The very bytes.
    pub blob: BlobId,
    /// How many.
    pub size: u64,
    /// When they changed last: the object's last modification.
    pub modified: Timestamp,
}

/// What came of bytes that were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// They are the object already.
    Known,
    /// There was no object (in a dry run: there would be one).
    Added,
    /// The object had other bytes.
    Updated,
    /// Somebody changed them meanwhile: the next look will tell.
    Changing,
}

/// What came of a page of objects whose bytes were looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingPage {
    /// Where the next page begins; `None` after the last.
    pub next: Option<Bytes>,
    /// Objects looked at.
    pub examined: u64,
    /// Objects given up, because their bytes are gone.
    pub removed: u64,
    /// Objects that could not be given up, and why.
    pub failed: Vec<String>,
}

/// The row that says which store is behind a location.
fn known_store(location: &str) -> Bytes {
    Bytes::from(format!("scanned/{location}"))
}

/// The bytes of an object, where they are all in one blob of the location.
fn blob_of(record: &ObjectRecord, location: &str) -> Option<BlobId> {
    let first = record.segments.first().filter(|first| !first.blob.is_empty() && first.location == location)?;
    (!record.delete_marker).then(|| BlobId::new(first.blob.as_str()))
}

fn browsing(location: &Location) -> StorageResult<&dyn Browse> {
    location.backend.browse().ok_or(StorageError::Broken("only stores that others fill are scanned"))
}

impl Storage {
    /// Makes bytes that were found the newest version of their key, unless they are that already.
    ///
    /// An object that was there keeps what is said of it besides its bytes; a new one belongs to the bucket's owner.
    ///
    /// # Errors
    /// Those of a write: [`StorageError::Lock`], [`StorageError::QuotaExceeded`] and so on.
    pub async fn adopt(
        &self,
        bucket: &Arc<Bucket>,
        location: &Arc<Location>,
        found: &FoundBytes,
        dry_run: bool,
    ) -> StorageResult<Adoption> {
        let store = browsing(location)?;
        self.claim(bucket, location).await?;
        let head = self.head(bucket, &found.key).await?;
        let known = head.object().and_then(|record| blob_of(record, &location.name));
        if known.as_ref().is_some_and(|known| store.is_same(known, &found.blob)) {
            return Ok(Adoption::Known);
        }
        let outcome = if head.object().is_some() { Adoption::Updated } else { Adoption::Added };
        if dry_run {
            return Ok(outcome);
        }
        let digests = match digests(location, found).await {
            Err(StorageError::Data(DataError::NotFound(_) | DataError::Corrupt { .. }) | StorageError::Body(_)) => {
                return Ok(Adoption::Changing);
            }
            digests => digests?,
        };
        let _guard = self.inner.locks.lock(bucket.id, &found.key).await;
        self.settle(bucket.id, &found.key).await?;
        for _ in 0..ATTEMPTS {
            match self.try_adopt(bucket, location, found, &digests).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other,
            }
        }
        Err(StorageError::Contention)
    }

    /// One attempt of [`Storage::adopt`], by whoever holds the key's lock.
    async fn try_adopt(
        &self,
        bucket: &Arc<Bucket>,
        location: &Location,
        found: &FoundBytes,
        (etag, checksum): &(String, Checksum),
    ) -> StorageResult<Adoption> {
        let store = browsing(location)?;
        let bucket = self.same_bucket(bucket).await?;
        let head = self.head(&bucket, &found.key).await?;
        let known = head.object().and_then(|record| blob_of(record, &location.name));
        if known.is_some_and(|known| store.is_same(&known, &found.blob)) {
            return Ok(Adoption::Known);
        }
        // A write of ours may have taken the place since.
        if !store.stands(&found.blob).await? {
            return Ok(Adoption::Changing);
        }
        let old = head.object();
        let mut record = ObjectRecord {
            owner: bucket.record.owner.clone(),
            owner_display_name: bucket.record.owner_display_name.clone(),
            ..ObjectRecord::default()
        };
        if let Some(old) = old {
            record.owner.clone_from(&old.owner);
            record.owner_display_name.clone_from(&old.owner_display_name);
            record.content.clone_from(&old.content);
            record.metadata.clone_from(&old.metadata);
            record.tags.clone_from(&old.tags);
            record.acl.clone_from(&old.acl);
            record.redirect.clone_from(&old.redirect);
        }
        let (now, name) = (self.inner.clock.now(), (*location.name).to_owned());
        record.location.clone_from(&name);
        record.size = found.size;
        record.etag.clone_from(etag);
        record.modified_ms = found.modified.as_millis();
        record.checksum = Some(ChecksumRecord::new(checksum, ChecksumType::FullObject, 0));
        let blob = found.blob.as_str().to_owned();
        record.segments = vec![Segment { size: found.size, blob, location: name, ..Segment::default() }];
        let outcome = if old.is_some() { Adoption::Updated } else { Adoption::Added };

        let null = self.replaced_null(&bucket, &found.key, &head).await?;
        record.set_version_id(self.inner.ids.version_id(head.record.as_ref().map(ObjectRecord::version_id)));
        self.lock_new(&bucket, &mut record).await?;
        let mut change = Change::new(&bucket);
        let leave = Leave { now, bypass: Bypass::No };
        versions::publish(&mut change, &found.key, (&head, null.as_ref()), &mut record, leave)?;
        change.tell(JournalOp::ObjectPut, found.key.as_str(), Some(record.version_id()), now);
        self.commit(change, None).await?;
        Ok(outcome)
    }

    /// Gives up an object whose bytes seemed gone, if they still are when nobody else writes the key; `false` else.
    async fn give_up_gone(
        &self,
        bucket: &Arc<Bucket>,
        location: &Location,
        key: &ObjectKey,
        record: &ObjectRecord,
    ) -> StorageResult<bool> {
        let store = browsing(location)?;
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        self.settle(bucket.id, key).await?;
        let head = self.head(bucket, key).await?;
        let known = head.object().filter(|now| now.version_id() == record.version_id());
        let Some(blob) = known.and_then(|known| blob_of(known, &location.name)) else { return Ok(false) };
        if store.holds(&blob).await? || store.is_taken(bucket.name.as_str(), key.as_str()).await? {
            return Ok(false);
        }
        // Last, so that what was looked at was this folder.
        self.check_same_store(location).await?;
        let condition = DeleteCondition {
            etag: Some(Some(record.etag())),
            size: Some(record.size),
            modified: Some(record.modified()),
            ..DeleteCondition::default()
        };
        self.delete_in_turn(bucket, key, None, &condition).await?;
        Ok(true)
    }

    /// Gives up a page of current objects whose bytes are gone from the location, as a deletion would. `start` is empty
    /// for the beginning.
    ///
    /// # Errors
    /// [`StorageError::Data`] where the store does not tell: then nothing is given up.
    pub async fn give_up_missing(
        &self,
        bucket: &Arc<Bucket>,
        location: &Arc<Location>,
        (prefix, start): (&str, Bytes),
        dry_run: bool,
    ) -> StorageResult<MissingPage> {
        let store = browsing(location)?;
        let first = Bytes::copy_from_slice(prefix.as_bytes());
        let range = first.clone().max(start)..keys::successor(&first);
        let ns = Namespace::of(Table::Current, bucket.id);
        let rows = self.inner.metadata.scan(ns, range, Direction::Forward, PAGE).await?;
        let next = rows.last().filter(|_| rows.len() == PAGE).map(|(last, _)| keys::after(last));
        let mut page = MissingPage { next, examined: rows.len() as u64, ..MissingPage::default() };
        for (row, stored) in rows {
            let record = ObjectRecord::from_bytes(&stored)?;
            let Some(blob) = blob_of(&record, &location.name) else { continue };
            if store.holds(&blob).await? {
                continue;
            }
            let key = std::str::from_utf8(&row).ok().and_then(|key| ObjectKey::new(key).ok());
            let key = key.ok_or(StorageError::Broken("object keys are UTF-8"))?;
            if store.is_taken(bucket.name.as_str(), key.as_str()).await? {
                // Other bytes are: the walk takes them up, this time or the next.
                continue;
            }
            if dry_run {
                page.removed += 1;
                continue;
            }
            match self.give_up_gone(bucket, location, &key, &record).await {
                Ok(true) => page.removed += 1,
                // Somebody was quicker, or it is there again.
                Ok(false) | Err(StorageError::PreconditionFailed(_)) => {}
                Err(e @ (StorageError::Metadata(_) | StorageError::Data(_) | StorageError::NoSuchBucket)) => {
                    return Err(e);
                }
                Err(e) => page.failed.push(format!("{}: {e}", key.as_str())),
            }
        }
        Ok(page)
    }

    /// Makes sure that the store behind a location is the one that it always was.
    ///
    /// # Errors
    /// [`DataError::Unavailable`] where it is another, or does not tell.
    pub async fn check_same_store(&self, location: &Location) -> StorageResult<()> {
        let identity = browsing(location)?.identity().await?;
        if self.is_same_store(&location.name, &identity).await? {
            return Ok(());
        }
        let why = format!("location {:?} is another folder than before: is its file system mounted?", location.name);
        Err(DataError::Unavailable(why).into())
    }

    /// Tells the stores that others fill what they must be, before anything is asked of them.
    ///
    /// # Errors
    /// Of the metadata store: then the locations may not be used.
    pub async fn expect_stores(&self, table: &LocationTable) -> StorageResult<()> {
        for location in table.iter() {
            let Some(store) = location.backend.browse() else { continue };
            let known = self.inner.metadata.get(SYSTEM, &known_store(&location.name)).await?;
            let identity = known.and_then(|known| String::from_utf8(known.to_vec()).ok());
            store.require(match identity {
                Some(identity) => Expected::Identity(identity),
                None if self.usage_of_location(&location.name).await?.is_used() => Expected::Something,
                None => Expected::Anything,
            });
        }
        Ok(())
    }

    /// Writes down which stores are behind locations, of those that work and are not known yet.
    pub async fn remember_stores(&self) {
        for location in self.locations().iter() {
            let Some(store) = location.backend.browse() else { continue };
            let is_up = location.health.as_ref().is_none_or(|health| health.report().is_up);
            let row = known_store(&location.name);
            if !is_up || !matches!(self.inner.metadata.get(SYSTEM, &row).await, Ok(None)) {
                continue;
            }
            let remembered = match tokio::time::timeout(IDENTITY_LIMIT, store.identity()).await {
                Ok(Ok(identity)) => self.is_same_store(&location.name, &identity).await.map(drop),
                // A probe tells of it.
                Ok(Err(_)) | Err(_) => Ok(()),
            };
            if let Err(error) = remembered {
                tracing::warn!(location = &*location.name, %error, "which folder it is could not be written down yet");
            }
        }
    }

    /// Remembers which store is behind a location, at the first time; tells whether it is the same now. An empty mount
    /// point must not pass for a store from which everything was removed.
    pub async fn is_same_store(&self, location: &str, identity: &str) -> StorageResult<bool> {
        let row = known_store(location);
        if let Some(known) = self.inner.metadata.get(SYSTEM, &row).await? {
            return Ok(known == identity.as_bytes());
        }
        let mut batch = Batch::new();
        batch.put(SYSTEM, row, identity.as_bytes().to_vec());
        self.inner.metadata.commit(batch).await?;
        Ok(true)
    }
}

/// The entity tag and the checksum of bytes as they are now.
async fn digests(location: &Location, found: &FoundBytes) -> StorageResult<(String, Checksum)> {
    let mut stream = location.backend.get(&found.blob, 0..found.size).await?;
    let (mut tag, mut checksum) = (md5(), ChecksumHasher::new(ChecksumAlgorithm::Crc64Nvme));
    while let Some(slice) = stream.next().await {
        let slice = slice?;
        tag.update(&slice);
        checksum.update(&slice);
        // Files are read as fast as memory is: requests go first.
        tokio::task::yield_now().await;
    }
    Ok((hex::encode(tag.finalize()), checksum.finalize()))
}
