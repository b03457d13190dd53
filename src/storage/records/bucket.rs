//! The record of a bucket.

use super::{
    access::PublicAccessBlockRecord,
    configuration::{CorsRule, LifecycleRecord},
    encryption::BucketEncryption,
    lock::ObjectLockRecord,
    object::{AclRecord, Pair},
    settings::{LoggingRecord, NotificationRecord, ReplicationRecord},
    website::WebsiteRecord,
};

/// The three states of versioning (S3 reference, "Using versioning in S3 buckets").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Versioning {
    /// Never enabled.
    Unversioned = 0,
    /// Each write adds a version.
    Enabled = 1,
    /// Each write replaces the `null` version.
    Suspended = 2,
}

/// Everything S3 knows of a bucket.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BucketRecord {
    /// Stands for the bucket in all keys.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Canonical id of the owner.
    #[prost(string, tag = "2")]
    pub owner: String,
    /// Display name of the owner at creation.
    #[prost(string, tag = "3")]
    pub owner_display_name: String,
    /// Creation, in milliseconds since the epoch.
    #[prost(uint64, tag = "4")]
    pub created_ms: u64,
    /// The location constraint as given at creation; empty where none was.
    #[prost(string, tag = "5")]
    pub location_constraint: String,
    /// The location that new objects go to.
    #[prost(string, tag = "6")]
    pub location: String,
    /// State of versioning.
    #[prost(enumeration = "Versioning", tag = "7")]
    pub versioning: i32,
    /// Access control list.
    #[prost(message, optional, tag = "8")]
    pub acl: Option<AclRecord>,
    /// Tags, in the client's order.
    #[prost(message, repeated, tag = "9")]
    pub tags: Vec<Pair>,
    /// `ObjectOwnership` as given; empty where it was never set, which means `ObjectWriter`.
    #[prost(string, tag = "10")]
    pub ownership: String,
    /// Rules for requests from other origins, in the client's order.
    #[prost(message, repeated, tag = "11")]
    pub cors: Vec<CorsRule>,
    /// The lifecycle configuration, where one is set.
    #[prost(message, optional, tag = "12")]
    pub lifecycle: Option<LifecycleRecord>,
    /// How new objects are encrypted, where that is configured.
    #[prost(message, optional, tag = "16")]
    pub encryption: Option<BucketEncryption>,
    /// The bucket's policy, as the client wrote it; empty for none.
    #[prost(string, tag = "13")]
    pub policy: String,
    /// What keeps lists and policies from making the bucket public, where it is set.
    #[prost(message, optional, tag = "14")]
    pub public_access_block: Option<PublicAccessBlockRecord>,
    /// Object lock: there once it is enabled, and then for good.
    #[prost(message, optional, tag = "15")]
    pub object_lock: Option<ObjectLockRecord>,
    /// Where this bucket's access log goes, where it is kept.
    #[prost(message, optional, tag = "18")]
    pub logging: Option<LoggingRecord>,
    /// Transfer acceleration: `Enabled`, `Suspended`, or empty where it was never set.
    #[prost(string, tag = "20")]
    pub accelerate: String,
    /// Who is told of events.
    #[prost(message, optional, tag = "23")]
    pub notification: Option<NotificationRecord>,
    /// Where objects are copied to.
    #[prost(message, optional, tag = "24")]
    pub replication: Option<ReplicationRecord>,
    /// Whether access control by attributes is switched on (S3 reference, "`AbacStatus`").
    #[prost(bool, tag = "25")]
    pub abac: bool,
    /// The website, where the bucket has one.
    #[prost(message, optional, tag = "17")]
    pub website: Option<WebsiteRecord>,
    /// Most bytes of versions and parts together; 0 for any number. Copied into the row of the counters.
    #[prost(uint64, tag = "21")]
    pub quota_bytes: u64,
    /// Most versions; 0 for any number. Copied into the row of the counters.
    #[prost(uint64, tag = "22")]
    pub quota_objects: u64,
    /// Whether whoever asks pays (`RequestPaymentConfiguration`).
    #[prost(bool, tag = "19")]
    pub requester_pays: bool,
}
