//! What an operation may use: the engine, the caller, the snapshots in force.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use http::HeaderMap;
use ipnet::IpNet;

use super::{
    body::Intake,
    codes::S3Code,
    error::{S3Error, S3Result},
    head::Head,
    operation::{Deed, ObjectRef},
    read_through::ReadThrough,
    tags::TagLimit,
};
use crate::{
    auth::{Action, FormGate, Principal, Scheme},
    location::{Choice, Location, choose},
    storage::{
        Bucket, Storage, StorageError,
        lock::Lock,
        records::{ObjectRecord, Pair},
    },
    types::{AccountId, BucketName, Dialect, Timestamp, version_id::VersionIdEncoding},
};

/// The user metadata that names an object's location, without `x-amz-meta-`.
pub const LOCATION_OF_OBJECT: &str = "scal-location-constraint";
/// The header that names the location which a reader wants an object from.
const LOCATION_OF_READ: &str = "x-amz-location-constraint";

/// Proxies whose word on the client's address is taken.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    /// Their addresses.
    pub networks: Vec<IpNet>,
    /// The header in which each notes whom it speaks for, in small letters.
    pub header: String,
}

impl TrustedProxies {
    /// The client's address. Each proxy adds the address of its peer at the end, so the first one from behind that is
    /// no proxy's is the client's; what stands before it anybody may have written. Where a proxy says nothing that can
    /// be read, its own address counts.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let is_trusted = |address: IpAddr| self.networks.iter().any(|network| network.contains(&address));
        let lines = headers.get_all(&self.header).iter().rev();
        let said = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        let mut client = peer;
        for text in said {
            if !is_trusted(client) {
                break;
            }
            let Ok(address) = text.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
        }
        client
    }
}

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
    /// Whose answers are given where AWS and Ceph RGW disagree; requests see it as [`Head::dialect`].
    pub dialect: Dialect,
    /// Deletions of one DeleteObjects that run at a time.
    pub delete_concurrency: usize,
    /// Proxies whose word on the client's address is taken.
    pub trusted_proxies: Option<TrustedProxies>,
    /// Buckets that anybody may read (`ALLOW_PUBLIC_READ_BUCKETS`).
    pub public_read: Arc<Vec<String>>,
    /// Whether clients' keys are taken over TLS only (`requireTlsForSseC`).
    pub require_tls_for_sse_c: bool,
    /// Places that replication may copy to, besides locations (`replicationEndpoints`).
    pub replication_sites: Arc<Vec<String>>,
    /// Targets of notifications (`bucketNotificationDestinations`).
    pub notification_targets: Arc<Vec<String>>,
    /// Where objects are read that are not here yet (`cloudserver.migration`).
    pub read_through: Option<Arc<ReadThrough>>,
    /// Whether owners of buckets may say when what they write was last modified (`cloudserver.migration.keepDates`).
    pub keep_dates: bool,
}

/// Looks accounts up by canonical id or e-mail address, for display and grants.
pub trait Directory: std::fmt::Debug + Send + Sync {
    /// The display name of an account.
    fn display_name(&self, account: &AccountId) -> Option<Arc<str>>;
    /// The account with this e-mail address.
    fn by_email(&self, email: &str) -> Option<AccountId>;
    /// The twelve digits of an account.
    fn account_number(&self, _account: &AccountId) -> Option<Arc<str>> {
        None
    }
}

/// How a request came, and how it proved who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// The client's address: the socket's peer, or what a trusted proxy says.
    pub source_ip: IpAddr,
    /// Whether TLS protects the connection.
    pub secure: bool,
    /// The version of TLS, as `1.3`, where it is known: not behind a proxy.
    pub tls_version: Option<&'static str>,
    /// How the caller was authenticated.
    pub scheme: Scheme,
    /// Whether the credentials were in a browser's form.
    pub form: bool,
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
    /// How the request came.
    pub transport: Transport,
    /// When the request came.
    pub now: Timestamp,
    /// The request's head.
    pub head: Arc<Head>,
    /// What a policy must know of the operation.
    pub(super) deed: Deed,
    pub(super) authorized: Option<Arc<(ObjectRef, ObjectRecord)>>,
    /// What was judged by the object that was there, or was not.
    pub(super) judged: Vec<(ObjectRef, Action)>,
    /// Objects that are missing here and that the caller may read on the old server of a migration.
    pub(super) elsewhere: Vec<ObjectRef>,
    /// Tags that the request's body sets, once it was read.
    pub(super) request_tags: Option<Arc<[Pair]>>,
    /// The lock that the request's body sets, once it was read.
    pub(super) request_lock: Option<Lock>,
}

impl Context {
    /// The context of one request.
    pub fn new(
        storage: Storage,
        (principal, transport): (Principal, Transport),
        shared: (Arc<Settings>, Arc<dyn Directory>, Intake),
        head: Arc<Head>,
        forms: FormGate,
    ) -> Self {
        let (settings, directory, intake) = shared;
        let now = storage.clock().now();
        Self {
            storage,
            principal,
            settings,
            directory,
            forms,
            intake,
            transport,
            now,
            head,
            deed: Deed::default(),
            authorized: None,
            judged: Vec::new(),
            elsewhere: Vec::new(),
            request_tags: None,
            request_lock: None,
        }
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

    /// The version that was read to judge the request, if it is this one: spares a second read.
    pub fn take_authorized(&mut self, object: &ObjectRef) -> Option<ObjectRecord> {
        let (judged, record) = Arc::into_inner(self.authorized.take()?)?;
        (judged == *object).then_some(record)
    }

    /// The same caller and snapshots, for another request that follows from this one.
    #[must_use]
    pub fn with_head(&self, head: Arc<Head>) -> Self {
        Self { head, authorized: None, judged: Vec::new(), elsewhere: Vec::new(), ..self.clone() }
    }

    /// The version that was read to judge the request; it stays for whoever takes it.
    pub fn authorized(&self, object: &ObjectRef) -> Option<&ObjectRecord> {
        self.authorized.as_deref().filter(|(judged, _)| judged == object).map(|(_, record)| record)
    }

    /// The version that an operation addresses: as it was judged, or read now, and then judged again. What the caller may
    /// not read came after the request was judged, and is missing for it.
    ///
    /// # Errors
    /// As [`Storage::version`].
    pub async fn version(&mut self, bucket: &Bucket, object: &ObjectRef) -> Result<ObjectRecord, StorageError> {
        if let Some(record) = self.take_authorized(object) {
            return Ok(record);
        }
        let record = self.storage.version(bucket, &object.key, object.version).await?;
        if self.still_allows(bucket, object, &record) { Ok(record) } else { Err(StorageError::NoSuchKey(None)) }
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
        bucket.owner.as_str() == expected || self.account_number(&bucket.owner).as_deref() == Some(expected)
    }

    /// The number of an account.
    pub fn account_number(&self, account: &AccountId) -> Option<Arc<str>> {
        if *account == self.principal.account {
            return self.principal.account_number().map(Arc::from);
        }
        self.directory.account_number(account)
    }

    /// How many tags an object may have.
    pub fn object_tags(&self) -> TagLimit {
        TagLimit::new(self.settings.max_object_tags, self.head.dialect)
    }

    /// Where an object of this bucket goes, given the metadata that is written with it.
    ///
    /// # Errors
    /// `InvalidArgument` for a location that is not configured, with the original's words.
    pub fn location(&self, bucket: &Bucket, metadata: &[Pair]) -> S3Result<Arc<Location>> {
        let choice = Choice {
            object: metadata.iter().find(|pair| pair.name == LOCATION_OF_OBJECT).map(|pair| pair.value.as_str()),
            bucket: &bucket.record.location,
            host: &self.head.host,
            endpoint: self.settings.endpoints.get(&self.head.host).map(String::as_str),
        };
        choose(&self.storage.locations(), choice).map_err(|e| S3Error::new(S3Code::InvalidArgument, e.to_string()))
    }

    /// Checks the location that a reader wants an object's bytes from (`x-amz-location-constraint`, the original's).
    ///
    /// # Errors
    /// `InvalidLocationConstraint` for a location that is not configured, with the original's words.
    pub fn check_read_location(&self) -> S3Result<()> {
        match self.head.header(LOCATION_OF_READ).filter(|name| !name.is_empty()) {
            Some(name) if self.storage.locations().get(name).is_none() => {
                Err(S3Error::new(S3Code::InvalidLocationConstraint, "Invalid location constraint specified in header"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that this version is at the location that a reader wants its bytes from. Nothing is replicated anywhere
    /// yet: it is where it was written. An object without bytes is everywhere.
    ///
    /// # Errors
    /// `InvalidLocationConstraint`.
    pub fn check_is_there(&self, record: &ObjectRecord) -> S3Result<()> {
        match self.head.header(LOCATION_OF_READ).filter(|name| !name.is_empty()) {
            Some(name) if record.size > 0 && name != record.location => Err(S3Error::new(
                S3Code::InvalidLocationConstraint,
                "Object is not replicated to location passed in location header",
            )),
            _ => Ok(()),
        }
    }

    /// How a version id is shown.
    pub fn version_text(&self, record: &ObjectRecord) -> String {
        if record.is_null { "null".to_owned() } else { record.version_id().encode(self.settings.version_ids) }
    }
}
