//! What an operation may use: the engine, the caller, the snapshots in force.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    body::Intake,
    codes::S3Code,
    error::{S3Error, S3Result},
    head::Head,
    operation::{Need, ObjectRef, Target},
};
use crate::{
    auth::{self, Action, BucketFacts, Decision, FormGate, ObjectFacts, Principal},
    location::Location,
    storage::{Bucket, Storage, StorageError, records::ObjectRecord},
    types::{AccountId, BucketName, Timestamp, version_id::VersionIdEncoding},
};

/// What the operator decides about the protocol. A snapshot: one request sees one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Endpoint host names and the location of buckets created there.
    pub endpoints: Arc<BTreeMap<String, String>>,
    /// Host names under which buckets are websites, in small letters.
    pub website_endpoints: Arc<Vec<String>>,
    /// The region shown to clients.
    pub region: String,
    /// How version ids are spelled.
    pub version_ids: VersionIdEncoding,
    /// Most tags of an object: 10, or 50 as in the original.
    pub max_object_tags: usize,
    /// Deletions of one DeleteObjects that run at a time.
    pub delete_concurrency: usize,
    /// Buckets that anybody may read (`ALLOW_PUBLIC_READ_BUCKETS`).
    pub public_read: Arc<Vec<String>>,
    /// Places that replication may copy to, besides locations (`replicationEndpoints`).
    pub replication_sites: Arc<Vec<String>>,
    /// Targets of notifications (`bucketNotificationDestinations`).
    pub notification_targets: Arc<Vec<String>>,
}

/// Looks accounts up by canonical id or e-mail address, for display and grants.
pub trait Directory: std::fmt::Debug + Send + Sync {
    /// The display name of an account.
    fn display_name(&self, account: &AccountId) -> Option<Arc<str>>;
    /// The account with this e-mail address.
    fn by_email(&self, email: &str) -> Option<AccountId>;
}

/// What an operation may use. A cheap clone, passed by argument.
#[derive(Clone, Debug)]
pub struct Context {
    /// The engine.
    pub storage: Storage,
    /// Who asks.
    pub principal: Principal,
    /// The protocol's settings.
    pub settings: Arc<Settings>,
    /// Accounts by name.
    pub directory: Arc<dyn Directory>,
    /// Judges the credentials in browsers' forms.
    pub forms: FormGate,
    /// Reads bodies.
    pub intake: Intake,
    /// When the request came.
    pub now: Timestamp,
    /// The request's head.
    pub head: Arc<Head>,
    authorized: Option<Arc<(ObjectRef, ObjectRecord)>>,
}

impl Context {
    /// The context of one request.
    pub fn new(
        storage: Storage,
        principal: Principal,
        shared: (Arc<Settings>, Arc<dyn Directory>, Intake),
        head: Arc<Head>,
        forms: FormGate,
    ) -> Self {
        let (settings, directory, intake) = shared;
        let now = storage.clock().now();
        Self { storage, principal, settings, directory, forms, intake, now, head, authorized: None }
    }

    /// A bucket that the request addresses.
    ///
    /// # Errors
    /// `NoSuchBucket`; `AccessDenied` where `x-amz-expected-bucket-owner` names somebody else.
    pub async fn bucket(&self, name: &BucketName) -> S3Result<Arc<Bucket>> {
        let bucket = match self.storage.bucket(name).await {
            Ok(bucket) => bucket,
            Err(StorageError::NoSuchBucket) => {
                return Err(S3Error::from(S3Code::NoSuchBucket).with("BucketName", name.as_str()));
            }
            Err(e) => return Err(e.into()),
        };
        Ok(bucket)
    }

    /// Whether the caller may do what an operation is about to do.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`, and the reasons why an object cannot be judged.
    pub async fn authorize(&mut self, need: &Need) -> S3Result<()> {
        match &need.target {
            Target::Service | Target::NewBucket(_) => allow(auth::authorize_account(&self.principal, need.action)),
            Target::Bucket(name) => {
                let bucket = self.bucket(name).await?;
                self.check_expected_owner(&bucket, "x-amz-expected-bucket-owner")?;
                allow(auth::authorize(&self.principal, need.action, &self.facts(&bucket), None))
            }
            Target::Object(object) => {
                let bucket = self.bucket(&object.bucket).await?;
                self.check_expected_owner(&bucket, "x-amz-expected-bucket-owner")?;
                self.authorize_object(&bucket, object, need.action).await
            }
        }
    }

    /// As [`Context::authorize`], for an object of a bucket already found.
    pub async fn authorize_object(&mut self, bucket: &Arc<Bucket>, object: &ObjectRef, action: Action) -> S3Result<()> {
        let facts = self.facts(bucket);
        if !action.needs_object() {
            return allow(auth::authorize(&self.principal, action, &facts, None));
        }
        match self.storage.version(bucket, &object.key, object.version).await {
            Ok(record) => {
                let (owner, acl) = (record.owner(), record.acl());
                let judged = ObjectFacts { owner: &owner, acl: &acl };
                allow(auth::authorize(&self.principal, action, &facts, Some(&judged)))?;
                self.authorized = Some(Arc::new((object.clone(), record)));
                Ok(())
            }
            Err(StorageError::NoSuchKey(_) | StorageError::NoSuchVersion | StorageError::IsDeleteMarker(_)) => {
                // Who may not list must not learn what is there: 403 stands for 404 then. The operation itself
                // finds out again what is missing and says so.
                allow(auth::authorize(&self.principal, Action::ListBucket, &facts, None))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The version that was read to judge the request, if it is this one: spares a second read.
    pub fn take_authorized(&mut self, object: &ObjectRef) -> Option<ObjectRecord> {
        let (judged, record) = Arc::into_inner(self.authorized.take()?)?;
        (judged == *object).then_some(record)
    }

    /// The same caller and snapshots, for another request that follows from this one.
    #[must_use]
    pub fn with_head(&self, head: Arc<Head>) -> Self {
        Self { head, authorized: None, ..self.clone() }
    }

    /// The version that was read to judge the request; it stays for whoever takes it.
    pub fn authorized(&self, object: &ObjectRef) -> Option<&ObjectRecord> {
        self.authorized.as_deref().filter(|(judged, _)| judged == object).map(|(_, record)| record)
    }

    /// The version that an operation addresses: as it was judged, or read now.
    ///
    /// # Errors
    /// As [`Storage::version`].
    pub async fn version(&mut self, bucket: &Bucket, object: &ObjectRef) -> Result<ObjectRecord, StorageError> {
        if let Some(record) = self.take_authorized(object) {
            return Ok(record);
        }
        self.storage.version(bucket, &object.key, object.version).await
    }

    fn facts<'a>(&self, bucket: &'a Bucket) -> BucketFacts<'a> {
        BucketFacts {
            owner: &bucket.owner,
            acl: &bucket.acl,
            policy: None,
            public_read_override: self.settings.public_read.iter().any(|name| name == bucket.name.as_str()),
        }
    }

    /// # Errors
    /// `AccessDenied` where the header names another owner than the bucket's.
    pub fn check_expected_owner(&self, bucket: &Bucket, header: &str) -> S3Result<()> {
        match self.head.header(header) {
            Some(expected) if !self.is_owner(bucket, expected) => Err(S3Code::AccessDenied.into()),
            _ => Ok(()),
        }
    }

    /// Clients name the owner by canonical id or by the twelve digits of the account.
    fn is_owner(&self, bucket: &Bucket, expected: &str) -> bool {
        bucket.owner.as_str() == expected
            || (bucket.owner == self.principal.account && self.principal.arn.split(':').nth(4) == Some(expected))
    }

    /// Where an object of this bucket goes.
    ///
    /// # Errors
    /// `InvalidArgument` for a location that is not configured, with the original's words.
    pub fn location(&self, bucket: &Bucket) -> S3Result<Arc<Location>> {
        let table = self.storage.locations();
        let named = self.head.header("x-amz-meta-scal-location-constraint");
        let (name, kind) = match named {
            Some(name) => (name, "Object"),
            None => (bucket.record.location.as_str(), "Bucket"),
        };
        table.get(name).cloned().ok_or_else(|| {
            S3Error::new(
                S3Code::InvalidArgument,
                format!("{kind} Location Error - Location constraint {name} is not configured"),
            )
        })
    }

    /// How a version id is shown.
    pub fn version_text(&self, record: &ObjectRecord) -> String {
        if record.is_null { "null".to_owned() } else { record.version_id().encode(self.settings.version_ids) }
    }
}

fn allow(decision: Decision) -> S3Result<()> {
    match decision {
        Decision::Allow => Ok(()),
        Decision::Deny => Err(S3Code::AccessDenied.into()),
    }
}
