//! Writing objects, finding versions, changing what is known of them.

use std::sync::Arc;

use super::{
    AnnotationSource, FailedCondition, Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::{Change, Demand},
    encryption::EncryptionRequest,
    keys,
    location_usage::LocationConditions,
    lock::{Bypass, Leave, Lock},
    multipart::Completion,
    native::{Published, Publishing, StoreCopy, native_object},
    records::{AclRecord, ChecksumRecord, ContentHeaders, JournalOp, ObjectRecord, Pair},
    tombstones::Found,
    versions::{self, Head},
    write::{Goal, Stored},
};
use crate::{
    location::Location,
    metadata::{Condition, MetadataError, Table},
    types::{AccountId, Acl, ChecksumType, ETag, IncomingBody, ObjectKey, Timestamp, VersionSelector},
};

/// Attempts of a write whose key others change, too. The key's lock makes a second one rare.
pub(super) const ATTEMPTS: usize = 32;

/// What a client says of an object besides its bytes.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// Canonical id of the owner.
    pub owner: Option<AccountId>,
    /// Display name of the owner.
    pub owner_display_name: String,
    /// Stored headers.
    pub content: ContentHeaders,
    /// User metadata, names in lower case without `x-amz-meta-`.
    pub metadata: Vec<Pair>,
    /// Tags.
    pub tags: Vec<Pair>,
    /// Access control list; `None` for the owner's full control.
    pub acl: Option<Acl>,
    /// Storage class; empty for `STANDARD`.
    pub storage_class: String,
    /// `x-amz-website-redirect-location`; empty for none.
    pub redirect: String,
    /// How the bytes are to be encrypted.
    pub encryption: EncryptionRequest,
    /// Retention and holds that the client asks for; the bucket's default is added by the write.
    pub lock: Lock,
    /// The version whose annotations the object gets copies of.
    pub annotations: Option<AnnotationSource>,
    /// When it was last modified, where that is not now.
    pub modified: Option<Timestamp>,
}

/// What must hold of the key for a write to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WriteCondition {
    /// Nothing.
    #[default]
    Always,
    /// `If-None-Match: *`: there is no current version.
    IfAbsent,
    /// `If-Match: *`: there is a current version.
    IfPresent,
    /// `If-Match: etag, …`: the current version has one of these tags.
    IfMatch(Vec<ETag>),
    /// `If-None-Match: etag, …`: there is no current version, or it has none of these tags.
    IfNoneMatch(Vec<ETag>),
    /// The key is as a migration found it.
    IfFound(Found),
}

/// An object to be written.
#[derive(Debug)]
pub struct PutObject {
    /// Its bucket.
    pub bucket: Arc<Bucket>,
    /// Its key.
    pub key: ObjectKey,
    /// Where its bytes go.
    pub location: Arc<Location>,
    /// What is said of it.
    pub attributes: Attributes,
    /// When it may be written.
    pub condition: WriteCondition,
    /// Its bytes.
    pub body: IncomingBody,
    /// [`JournalOp::ObjectPut`] or [`JournalOp::ObjectCopied`].
    pub op: JournalOp,
}

/// An object to be written, but for its bytes.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// As [`PutObject::bucket`].
    pub bucket: Arc<Bucket>,
    /// As [`PutObject::key`].
    pub key: ObjectKey,
    /// As [`PutObject::location`].
    pub location: Arc<Location>,
    /// As [`PutObject::attributes`].
    pub attributes: Attributes,
    /// As [`PutObject::condition`].
    pub condition: WriteCondition,
    /// As [`PutObject::op`].
    pub op: JournalOp,
}

/// Where the bytes come from.
pub(super) enum Source<'a> {
    Body(IncomingBody),
    /// They are at the location already.
    Store(&'a StoreCopy<'a>),
}

impl WriteCondition {
    /// Whether the newest version of the key allows the write. Whether it was deleted is asked besides, where that matters.
    pub(super) fn check(&self, head: &Head) -> StorageResult<()> {
        match self {
            Self::IfFound(found) => found.check(head),
            _ => self.hold_for(head.object()),
        }
    }

    /// Whether this version, were it the newest, would allow the write.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`].
    pub fn judge(&self, current: &ObjectRecord) -> StorageResult<()> {
        self.hold_for(Some(current))
    }

    fn hold_for(&self, current: Option<&ObjectRecord>) -> StorageResult<()> {
        match (self, current) {
            (Self::Always | Self::IfFound(_), _)
            | (Self::IfAbsent | Self::IfNoneMatch(_), None)
            | (Self::IfPresent, Some(_)) => Ok(()),
            (Self::IfAbsent, Some(_)) => Err(StorageError::PreconditionFailed(FailedCondition::IfNoneMatch)),
            (Self::IfNoneMatch(tags), Some(current)) => {
                let differs = !tags.contains(&current.etag());
                differs.then_some(()).ok_or(StorageError::PreconditionFailed(FailedCondition::IfNoneMatch))
            }
            (Self::IfPresent | Self::IfMatch(_), None) => Err(StorageError::NoSuchKey(None)),
            (Self::IfMatch(tags), Some(current)) => {
                let matches = tags.contains(&current.etag());
                matches.then_some(()).ok_or(StorageError::PreconditionFailed(FailedCondition::IfMatch))
            }
        }
    }
}

impl Attributes {
    /// The record of an object with these attributes; bytes, tags of identity and version come later.
    pub(super) fn into_record(self, location: &Location) -> ObjectRecord {
        let mut record = ObjectRecord {
            owner: self.owner.as_ref().map(AccountId::as_str).unwrap_or_default().to_owned(),
            owner_display_name: self.owner_display_name,
            content: (self.content != ContentHeaders::default()).then_some(self.content),
            metadata: self.metadata,
            tags: self.tags,
            acl: self.acl.as_ref().map(AclRecord::from),
            storage_class: match self.storage_class {
                // Archives are told by their names: the standard class would be taken for readable.
                class if class.is_empty() && location.is_cold => (*location.name).to_owned(),
                class => class,
            },
            redirect: self.redirect,
            modified_ms: self.modified.map_or(0, Timestamp::as_millis),
            location: (*location.name).to_owned(),
            ..ObjectRecord::default()
        };
        self.lock.write(&mut record);
        record
    }
}

impl Storage {
    /// Refuses a write early, before its body is read, where its condition does not hold now.
    pub async fn check_condition(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        condition: &WriteCondition,
    ) -> StorageResult<()> {
        if *condition == WriteCondition::Always {
            return Ok(());
        }
        condition.check(&self.head(bucket, key).await?)?;
        match condition {
            WriteCondition::IfFound(found) => self.check_never_deleted(bucket, key, *found).await,
            _ => Ok(()),
        }
    }

    /// Writes an object. When this returns, it is durable and visible.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`] or [`StorageError::NoSuchKey`] where the condition does not hold at the
    /// moment of commit; [`StorageError::Body`] where the bytes are not what was promised; [`StorageError::Lock`] for
    /// a lock that cannot be, and where a locked version would give way. Nothing changes then.
    pub async fn put_object(&self, put: PutObject) -> StorageResult<ObjectRecord> {
        let PutObject { bucket, key, location, attributes, condition, body, op } = put;
        let length = body.length;
        self.put_bytes(NewObject { bucket, key, location, attributes, condition, op }, (length, Source::Body(body)))
            .await
    }

    /// As [`Storage::put_object`], with bytes from wherever they come.
    pub(super) async fn put_bytes(
        &self,
        new: NewObject,
        (length, source): (Option<u64>, Source<'_>),
    ) -> StorageResult<ObjectRecord> {
        let NewObject { bucket, key, location, attributes, condition, op } = new;
        self.check_new_lock(&bucket, &attributes.lock).await?;
        self.check_room_early(&bucket, &key, length).await?;
        self.check_location_of_put(&bucket, &key, (&location, length)).await?;
        // Before the body is asked for: a key manager that is away costs the client nothing.
        let encryption = self.encryption_for(&bucket, &attributes.encryption).await?;
        let copied = match &attributes.annotations {
            Some(source) => self.copy_annotations(source, &bucket, encryption.as_ref()).await?,
            None => None,
        };
        self.check_fits(&bucket, &location).await?;
        let native = native_object(&bucket, &key, &attributes);
        let unlocked = encryption.as_ref().map(|made| &made.key);
        let mut stored = match source {
            Source::Body(body) => self.receive(&location, body, unlocked, Goal::Object(&native)).await?,
            Source::Store(copy) => self.stage_copy(&location, copy, &native).await?,
        };
        let mut record = attributes.into_record(&location);
        if let Some(copied) = &copied {
            copied.describe(&mut record);
        }
        stored.annotations = copied;
        record.size = stored.digests.size;
        let md5 = stored.digests.md5;
        let opaque = encryption.as_ref().filter(|made| made.record.mode().has_opaque_tags());
        ETag::from_md5(opaque.map_or(md5, |made| made.key.tag(md5))).as_str().clone_into(&mut record.etag);
        record.encryption = encryption.map(|made| made.record);
        record.checksum = Some(ChecksumRecord::new(&stored.digests.checksum, ChecksumType::FullObject, 0));
        record.segments = stored.segments();
        if let Some(staged) = stored.take_staged() {
            let annotations = stored.annotations.take();
            let job = Publishing::new((bucket, key), Published { record, condition, op }, staged);
            return self.publish_staged(Publishing { annotations, ..job }).await;
        }
        let publication = Publication { condition: &condition, op, stored: Some(&mut stored), completion: None };
        self.publish(&bucket, &key, record, publication).await
    }

    /// Makes `record` the newest version of its key, as versioning says.
    pub(super) async fn publish(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        mut record: ObjectRecord,
        mut publication: Publication<'_>,
    ) -> StorageResult<ObjectRecord> {
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        let dated = record.modified_ms;
        for _ in 0..ATTEMPTS {
            (record.stamp, record.modified_ms) = (0, dated);
            match self.try_publish(bucket, key, &mut record, &mut publication).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {}
                other => return other.map(|()| record),
            }
        }
        Err(StorageError::Contention)
    }

    /// One attempt of [`Storage::publish`], by whoever holds the key's lock.
    pub(super) async fn try_publish(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        record: &mut ObjectRecord,
        publication: &mut Publication<'_>,
    ) -> StorageResult<()> {
        // The bucket may have changed its versioning while the body came in.
        let bucket = self.same_bucket(bucket).await?;
        let (mut change, _) = self.plan_publication(&bucket, key, record, publication.condition).await?;
        if let Some(stored) = &publication.stored {
            stored.name_in(&mut change);
        }
        if let Some(completion) = publication.completion {
            change.demand(Demand::All);
            completion.require(&mut change, key);
            completion.end(&mut change, key, record);
        }
        change.tell(publication.op, key.as_str(), Some(record.version_id()), record.modified());
        self.commit(change, publication.stored.as_deref_mut()).await
    }

    /// Plans a write of the newest version of a key, and fills in what the record has of it. Tells what was the newest.
    pub(super) async fn plan_publication<'b>(
        &self,
        bucket: &'b Bucket,
        key: &ObjectKey,
        record: &mut ObjectRecord,
        condition: &WriteCondition,
    ) -> StorageResult<(Change<'b>, Head)> {
        let head = self.head(bucket, key).await?;
        condition.check(&head)?;
        let null = self.replaced_null(bucket, key, &head).await?;
        let now = self.inner.clock.now();
        let previous = head.record.as_ref().map(ObjectRecord::version_id);
        // A record without an id is new: it may come with a date of its own.
        if record.stamp != 0 || record.modified_ms == 0 {
            record.modified_ms = now.as_millis();
        }
        record.set_version_id(self.inner.ids.version_id(previous));
        self.lock_new(bucket, record).await?;
        let mut change = Change::new(bucket);
        let leave = Leave { now, bypass: Bypass::No };
        versions::publish(&mut change, key, (&head, null.as_ref()), record, leave)?;
        if let WriteCondition::IfFound(found) = condition {
            self.require_found(&mut change, key, *found).await?;
        }
        Ok((change, head))
    }

    /// Commits a change. The stored bytes are settled before the outcome is known: if the caller goes away while
    /// the batch is queued, the batch may still name them. They are unsettled again only by a certain refusal.
    pub(super) async fn commit(&self, change: Change<'_>, mut stored: Option<&mut Stored>) -> StorageResult<()> {
        let bucket = change.bucket;
        let growing = self.bounded_growth(change.growing_locations());
        let (mut batch, leaves_garbage) = change.finish();
        growing.require(&mut batch);
        let locations = LocationConditions::of(&batch);
        let bounded = matches!(batch.conditions.first(), Some((.., Condition::Room(_))));
        if let Some(stored) = stored.as_deref_mut() {
            stored.settle();
        }
        match self.inner.metadata.commit(batch).await {
            Ok(()) => {
                if leaves_garbage {
                    self.inner.garbage.wake();
                }
                Ok(())
            }
            Err(e) => {
                if let Some(stored) = stored.filter(|_| e.was_refused()) {
                    stored.unsettle();
                }
                if let Some(full) = locations.full(&e) {
                    return Err(full);
                }
                Err(if bounded { self.full_or_gone(bucket, e).await } else { e.into() })
            }
        }
    }

    /// The bucket as it is now, if it is still the one that was asked for.
    pub(super) async fn same_bucket(&self, bucket: &Arc<Bucket>) -> StorageResult<Arc<Bucket>> {
        let now = self.bucket(&bucket.name).await?;
        if now.id == bucket.id { Ok(now) } else { Err(StorageError::NoSuchBucket) }
    }

    /// A version of an object; without a selector the newest one.
    ///
    /// # Errors
    /// [`StorageError::NoSuchKey`] (with the marker, if there is one), [`StorageError::NoSuchVersion`],
    /// [`StorageError::IsDeleteMarker`] where the selector names a marker.
    pub async fn version(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
    ) -> StorageResult<ObjectRecord> {
        let head = self.head(bucket, key).await?;
        let Some(selector) = selector else {
            return head.object().cloned().ok_or_else(|| head.no_such_key());
        };
        let found = if head.is(selector) {
            head.record
        } else {
            self.find_older(bucket, key, &head, selector).await?.map(|older| older.record)
        };
        match found {
            None => Err(StorageError::NoSuchVersion),
            Some(marker) if marker.delete_marker => Err(StorageError::IsDeleteMarker(Box::new(marker))),
            Some(record) => Ok(record),
        }
    }

    /// The version that a selector names, where it is not the newest.
    pub(super) async fn find_older(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        head: &Head,
        selector: VersionSelector,
    ) -> StorageResult<Option<versions::Older>> {
        let id = match selector {
            VersionSelector::Null => head.older_null(),
            VersionSelector::Id(id) => Some(id),
        };
        let Some(id) = id else { return Ok(None) };
        let found = self.older(bucket, key, id).await?;
        Ok(found.filter(|older| older.record.is_null == (selector == VersionSelector::Null)))
    }

    /// Changes what is known of a version (tags, list); its bytes, identity and lock stay. `edit` may run several
    /// times.
    ///
    /// # Errors
    /// As [`Storage::version`].
    pub async fn update_version(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        edit: impl Fn(&mut ObjectRecord) + Send,
    ) -> StorageResult<ObjectRecord> {
        let keeping_lock = move |record: &mut ObjectRecord| {
            let before = Lock::fields(record);
            edit(record);
            let kept = before == Lock::fields(record);
            kept.then_some(()).ok_or(StorageError::Broken("only the rules of object lock change a lock"))
        };
        self.edit_version(bucket, key, selector, keeping_lock).await
    }

    /// As [`Storage::update_version`], for a change that may be refused.
    pub(super) async fn edit_version(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        edit: impl Fn(&mut ObjectRecord) -> StorageResult<()> + Send,
    ) -> StorageResult<ObjectRecord> {
        let _guard = self.inner.locks.lock(bucket.id, key).await;
        for _ in 0..ATTEMPTS {
            let head = self.head(bucket, key).await?;
            let older = match selector {
                Some(selector) if !head.is(selector) => self.find_older(bucket, key, &head, selector).await?,
                _ => None,
            };
            let mut record = match (&older, selector) {
                (Some(older), _) => older.record.clone(),
                (None, None) => head.object().cloned().ok_or_else(|| head.no_such_key())?,
                (None, Some(selector)) => head.newest(selector).cloned().ok_or(StorageError::NoSuchVersion)?,
            };
            if record.delete_marker {
                return Err(StorageError::IsDeleteMarker(Box::new(record)));
            }
            let tags = record.tags.clone();
            edit(&mut record)?;
            let mut change = Change::new(bucket);
            head.require(&mut change, key);
            if tags != record.tags && self.native_place(&record).is_some() {
                change.mirror_tags(key, &record);
            }
            if let Some(older) = &older {
                let ns = change.ns(Table::Versions);
                change.batch.unchanged(ns, keys::version(key, record.version_id()), Some(&older.stored));
                change.put_version(key, &record);
            } else {
                versions::replace_record(&mut change, key, &record);
            }
            let now = self.inner.clock.now();
            change.tell(JournalOp::VersionChanged, key.as_str(), Some(record.version_id()), now);
            match self.commit(change, None).await {
                Err(StorageError::Metadata(MetadataError::Conflict(_))) => {
                    // Perhaps it is the bucket that is gone.
                    self.same_bucket(bucket).await?;
                }
                Err(e) => return Err(e),
                Ok(()) => return Ok(record),
            }
        }
        Err(StorageError::Contention)
    }
}

/// How a record is to be published.
pub(super) struct Publication<'a> {
    /// What must hold of the key.
    pub(super) condition: &'a WriteCondition,
    /// What the journal is told.
    pub(super) op: JournalOp,
    /// Bytes that the commit names.
    pub(super) stored: Option<&'a mut Stored>,
    /// The upload that the commit ends.
    pub(super) completion: Option<&'a Completion>,
}
