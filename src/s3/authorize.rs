//! Whether the caller may do what an operation is about to do: the one place that asks [`auth`].
//!
//! Facts for the bucket's policy are found out only where it asks for them; a bucket without a policy pays nothing.

use std::sync::Arc;

use super::{
    codes::S3Code,
    context::Context,
    error::{S3Error, S3Result},
    facts::{Asked, RequestFacts},
    head::Head,
    operation::{Deed, Need, ObjectRef, Target},
};
use crate::{
    auth::{self, Action, BucketFacts, Decision, ObjectFacts, PolicyFacts, Resource},
    storage::{Bucket, StorageError, lock::Lock, records::ObjectRecord},
    types::{AccountId, Acl, BucketName, UploadId},
};

const EXPECTED_OWNER: &str = "x-amz-expected-bucket-owner";
/// The header by which the owner of a copy's source is expected.
pub(super) const EXPECTED_SOURCE_OWNER: &str = "x-amz-source-expected-bucket-owner";

/// What writing an object needs: the action, and what else its headers say.
///
/// Tags and lists are judged by the bucket's policy, where it has one, as [`auth::authorize_written`] says.
pub(super) fn write_needs(object: &ObjectRef, head: &Head) -> Vec<Need> {
    let says = |name: &str| head.header(name).is_some_and(|text| !text.trim().is_empty());
    let lists = |name: &str| super::grants::value(head, name).is_some();
    let written = |action| Need { action, target: Target::Written(object.clone()) };
    let mut needs = vec![object.need(Action::PutObject)];
    needs.extend(match_need(object, head));
    if says("x-amz-tagging") {
        needs.push(written(Action::PutObjectTagging));
    }
    if super::grants::HEADERS.iter().any(|name| lists(name)) {
        needs.push(written(Action::PutObjectAcl));
    }
    needs
}

/// What comparing the tag of what is there needs: the permission to read it (S3 user guide, "Conditional requests"). Who
/// may only write learns no tag by trying, be it by hits or by misses.
pub(super) fn match_need(object: &ObjectRef, head: &Head) -> Option<Need> {
    let asks_tag = |name| head.raw_header(name).is_some_and(|text| text.trim() != "*");
    (asks_tag("if-match") || asks_tag("if-none-match")).then(|| object.need(Action::GetObject))
}

impl Context {
    /// Whether the caller may do what an operation is about to do.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`, and the reasons why an object cannot be judged.
    pub async fn authorize(&mut self, need: &Need) -> S3Result<()> {
        let action = need.action;
        match &need.target {
            Target::Service | Target::NewBucket(_) => allow(auth::authorize_account(&self.principal, action)),
            Target::Bucket(name) => {
                let bucket = self.owned_as_expected(name, EXPECTED_OWNER).await?;
                self.judge(&bucket, Asked::of_bucket(action), None)
            }
            Target::Object(object) => {
                let bucket = self.owned_as_expected(&object.bucket, EXPECTED_OWNER).await?;
                self.authorize_object(&bucket, object, action).await
            }
            Target::Source(object) => {
                let bucket = self.owned_as_expected(&object.bucket, EXPECTED_SOURCE_OWNER).await?;
                self.authorize_object(&bucket, object, action).await
            }
            Target::Written(object) => {
                let bucket = self.owned_as_expected(&object.bucket, EXPECTED_OWNER).await?;
                self.authorize_written(&bucket, object, action)
            }
            Target::Upload(object, id) => {
                let bucket = self.owned_as_expected(&object.bucket, EXPECTED_OWNER).await?;
                self.authorize_upload(&bucket, (object, *id), action).await
            }
        }
    }

    async fn owned_as_expected(&self, name: &BucketName, header: &str) -> S3Result<Arc<Bucket>> {
        let bucket = self.bucket(name).await?;
        self.check_expected_owner(&bucket, header)?;
        Ok(bucket)
    }

    /// As [`Context::authorize`], for an object of a bucket already found.
    ///
    /// # Errors
    /// As [`Context::authorize`].
    pub async fn authorize_object(&mut self, bucket: &Arc<Bucket>, object: &ObjectRef, action: Action) -> S3Result<()> {
        let asked = Asked::of_object(action, object);
        if self.waits_for_tags(bucket, action) || self.waits_for_lock(bucket, action) {
            return Ok(());
        }
        let asks_tags = bucket.policy.as_ref().is_some_and(|policy| policy.asks_existing_tags());
        if !action.needs_object() && !asks_tags {
            return self.judge(bucket, asked, None);
        }
        if action.needs_object() {
            self.judged.push((object.clone(), action));
        }
        match self.storage.version(bucket, &object.key, object.version).await {
            Ok(record) => {
                let (owner, acl) = (record.owner(), record.acl());
                let judged = ObjectFacts { owner: &owner, acl: &acl };
                let found = action.needs_object().then_some(&judged);
                self.judge(bucket, Asked { record: Some(&record), ..asked }, found)?;
                self.authorized = Some(Arc::new((object.clone(), record)));
                Ok(())
            }
            Err(StorageError::NoSuchKey(None))
                if self.reads_through(bucket, object, action) && self.judge_absent(bucket, asked).is_ok() =>
            {
                self.elsewhere.push(object.clone());
                Ok(())
            }
            Err(StorageError::NoSuchKey(_) | StorageError::NoSuchVersion | StorageError::IsDeleteMarker(_)) => {
                if action.needs_object() {
                    self.may_learn_it_is_missing(bucket, asked)
                } else {
                    self.judge(bucket, asked, None)
                }
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Whether what is there now may be read, too: it may have come, or have been replaced, since the request was judged.
    pub(super) fn still_allows(&self, bucket: &Bucket, object: &ObjectRef, record: &ObjectRecord) -> bool {
        let (owner, acl) = (record.owner(), record.acl());
        let found = ObjectFacts { owner: &owner, acl: &acl };
        self.judged.iter().filter(|(known, _)| known == object).all(|(_, action)| {
            let asked = Asked { record: Some(record), ..Asked::of_object(*action, object) };
            self.judge(bucket, asked, Some(&found)).is_ok()
        })
    }

    /// Whether an object of the bucket's owner might be read: what is on an old server is taken for such.
    fn judge_absent(&self, bucket: &Bucket, asked: Asked<'_>) -> S3Result<()> {
        let acl = Acl::private(&bucket.owner);
        self.judge(bucket, asked, Some(&ObjectFacts { owner: &bucket.owner, acl: &acl }))
    }

    /// Judges a key again that was thought to be on an old server, and is not.
    pub(super) fn judge_missing(&self, bucket: &Bucket, object: &ObjectRef, action: Action) -> S3Result<()> {
        if !self.may_read_elsewhere(object) {
            return Ok(());
        }
        self.may_learn_it_is_missing(bucket, Asked::of_object(action, object))
    }

    /// Whether the object was missing here when the request was judged, and may be read on an old server.
    pub(super) fn may_read_elsewhere(&self, object: &ObjectRef) -> bool {
        self.elsewhere.contains(object) && self.authorized(object).is_none()
    }

    /// Who may not list must not learn what is there: 403 stands for 404 then. The operation itself finds out again
    /// what is missing and says so.
    fn may_learn_it_is_missing(&self, bucket: &Bucket, asked: Asked<'_>) -> S3Result<()> {
        if self.ask(bucket, asked, |facts| auth::is_forbidden(&self.principal, asked.action, facts)) {
            return Err(S3Code::AccessDenied.into());
        }
        let prefix = asked.object.map(|object| object.key.as_str());
        self.judge(bucket, Asked { prefix, ..Asked::of_bucket(Action::ListBucket) }, None)
    }

    /// What a request sets by its body, or by its source, is not known before that is read: `run` asks again, see
    /// [`Context::retag`].
    fn waits_for_tags(&self, bucket: &Bucket, action: Action) -> bool {
        let waits = match self.deed {
            Deed::SetsTags => matches!(action, Action::PutObjectTagging | Action::PutObjectVersionTagging),
            Deed::Copies => self.copies_tags() && matches!(action, Action::PutObject | Action::PutObjectTagging),
            Deed::Plain | Deed::SetsLock | Deed::Prepares => false,
        };
        waits && self.request_tags.is_none() && bucket.policy.as_ref().is_some_and(|policy| policy.asks_request_tags())
    }

    /// Whether the tags of a copy are those of its source: what the head says of tags means nothing then.
    pub(super) fn copies_tags(&self) -> bool {
        self.deed == Deed::Copies && self.head.header("x-amz-tagging-directive") != Some("REPLACE")
    }

    /// As for tags: see [`Context::relock`].
    fn waits_for_lock(&self, bucket: &Bucket, action: Action) -> bool {
        self.deed == Deed::SetsLock
            && matches!(action, Action::PutObjectRetention | Action::PutObjectLegalHold)
            && self.request_lock.is_none()
            && bucket.policy.as_ref().is_some_and(|policy| policy.asks_locks())
    }

    /// As [`Context::retag`], for the lock that a body sets.
    ///
    /// # Errors
    /// As [`Context::authorize`].
    pub async fn relock(&mut self, lock: Lock, needs: &[Need]) -> S3Result<()> {
        self.request_lock = Some(lock);
        for need in needs {
            self.authorize(need).await?;
        }
        Ok(())
    }

    /// Judges the request once more, now that the tags are known that it sets. A client may take long to send a body, and its right may be taken from it meanwhile.
    ///
    /// # Errors
    /// As [`Context::authorize`].
    pub async fn retag(&mut self, tags: &[crate::storage::records::Pair], needs: &[Need]) -> S3Result<()> {
        self.request_tags = Some(tags.into());
        for need in needs {
            self.authorize(need).await?;
        }
        Ok(())
    }

    fn authorize_written(&self, bucket: &Bucket, object: &ObjectRef, action: Action) -> S3Result<()> {
        if self.waits_for_tags(bucket, action) {
            return Ok(());
        }
        let asked = Asked::of_object(action, object);
        allow(self.ask(bucket, asked, |facts| auth::authorize_written(&self.principal, action, facts)))
    }

    /// Uploads are seen and aborted by the bucket's owner and by whoever began them; parts are added by all who may
    /// write. Ids cannot be guessed: who asks for one that is not there learns nothing.
    async fn authorize_upload(
        &mut self,
        bucket: &Arc<Bucket>,
        (object, id): (&ObjectRef, UploadId),
        action: Action,
    ) -> S3Result<()> {
        let adds = action == Action::PutObject;
        if adds && bucket.policy.is_none() {
            return self.authorize_object(bucket, object, action).await;
        }
        let asked = Asked::of_object(action, object);
        match self.storage.upload(bucket, &object.key, id).await {
            Ok(upload) => {
                let initiator = AccountId::new(upload.initiator.as_str());
                let acl = Acl::private(&initiator);
                let facts = ObjectFacts { owner: &initiator, acl: &acl };
                let continues = !self.principal.is_anonymous() && initiator == self.principal.account;
                let asked = Asked { continues_upload: adds && continues, ..asked };
                self.judge(bucket, asked, (!adds).then_some(&facts))
            }
            Err(StorageError::NoSuchUpload) if adds => self.authorize_object(bucket, object, action).await,
            Err(StorageError::NoSuchUpload) => {
                if self.ask(bucket, asked, |facts| auth::is_forbidden(&self.principal, action, facts)) {
                    return Err(S3Code::AccessDenied.into());
                }
                Err(S3Error::from(S3Code::NoSuchUpload).with("UploadId", id.to_string()))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The decision about one action.
    fn judge(&self, bucket: &Bucket, asked: Asked<'_>, found: Option<&ObjectFacts<'_>>) -> S3Result<()> {
        self.check_payer(bucket)?;
        allow(self.ask(bucket, asked, |facts| auth::authorize(&self.principal, asked.action, facts, found)))
    }

    /// Asks with the facts of a bucket and a request.
    fn ask<T>(&self, bucket: &Bucket, asked: Asked<'_>, question: impl FnOnce(&BucketFacts<'_>) -> T) -> T {
        let facts = RequestFacts { cx: self, bucket, asked };
        let resource = match asked.object {
            Some(object) => Resource::Object(&bucket.name, &object.key),
            None => Resource::Bucket(&bucket.name),
        };
        let policy = bucket.policy.as_deref().map(|policy| PolicyFacts { policy, resource, facts: &facts });
        question(&BucketFacts {
            owner: &bucket.owner,
            acl: &bucket.acl,
            policy,
            limits: bucket.limits,
            public_read_override: self.settings.public_read.iter().any(|name| name == bucket.name.as_str()),
        })
    }

    /// Whether the caller pays for this request to a bucket whose owner does not: it does where it says so.
    pub fn is_charged(&self, bucket: &Bucket) -> bool {
        bucket.record.requester_pays
            && !self.principal.is_anonymous()
            && self.principal.account != bucket.owner
            && self.head.header("x-amz-request-payer") == Some("requester")
    }

    /// # Errors
    /// `AccessDenied` where nobody says who pays (S3 reference, "Requester Pays buckets").
    fn check_payer(&self, bucket: &Bucket) -> S3Result<()> {
        let owner_pays = !bucket.record.requester_pays
            || self.principal.is_service()
            || (self.principal.account == bucket.owner && !self.principal.is_anonymous());
        if owner_pays || self.is_charged(bucket) { Ok(()) } else { Err(S3Code::AccessDenied.into()) }
    }
}

fn allow(decision: Decision) -> S3Result<()> {
    match decision {
        Decision::Allow => Ok(()),
        Decision::Deny => Err(S3Code::AccessDenied.into()),
    }
}
