//! Settings of a bucket that other parts of the server carry out, and those of which a bucket may have many.

use bytes::Bytes;

use super::{
    configuration::LifecycleScope,
    object::{AclRecord, Pair},
};

/// An element of a document that is kept as it was put: name, and text or children.
///
/// The document was checked when it came. Its elements stand in the order of the S3 reference.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettingNode {
    /// The element's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its text; empty where it has children.
    #[prost(string, tag = "2")]
    pub text: String,
    /// The elements in it.
    #[prost(message, repeated, tag = "3")]
    pub children: Vec<SettingNode>,
}

/// A setting of which a bucket may have many: an inventory, an analysis, a metrics filter, a tiering rule.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SettingRecord {
    /// The elements of its document.
    #[prost(message, repeated, tag = "1")]
    pub content: Vec<SettingNode>,
}

/// A replication configuration (S3 reference, "`ReplicationConfiguration`").
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReplicationRecord {
    /// The role's resource name, or two of them: of the source and of the destination.
    #[prost(string, tag = "1")]
    pub role: String,
    /// The rules, in the client's order.
    #[prost(message, repeated, tag = "2")]
    pub rules: Vec<ReplicationRule>,
}

/// A rule of replication.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReplicationRule {
    /// Its name, unique in the configuration; never empty.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whether it is in force.
    #[prost(bool, tag = "2")]
    pub enabled: bool,
    /// Where the conditions stand; [`LifecycleScope::Prefix`] is the first version of the schema.
    #[prost(enumeration = "LifecycleScope", tag = "3")]
    pub scope: i32,
    /// Keys begin with this.
    #[prost(string, optional, tag = "4")]
    pub prefix: Option<String>,
    /// Objects have all these tags.
    #[prost(message, repeated, tag = "5")]
    pub tags: Vec<Pair>,
    /// Of several rules for one object the one with the highest number counts.
    #[prost(uint32, optional, tag = "6")]
    pub priority: Option<u32>,
    /// Whether delete markers are copied.
    #[prost(bool, optional, tag = "7")]
    pub delete_markers: Option<bool>,
    /// Whether objects older than the rule are copied.
    #[prost(bool, optional, tag = "8")]
    pub existing_objects: Option<bool>,
    /// Whether objects encrypted with a key manager's key are copied.
    #[prost(bool, optional, tag = "9")]
    pub kms_objects: Option<bool>,
    /// Whether changes of replicas are copied back.
    #[prost(bool, optional, tag = "10")]
    pub replica_modifications: Option<bool>,
    /// Where to.
    #[prost(message, optional, tag = "11")]
    pub destination: Option<ReplicationDestination>,
}

/// Where a rule copies to.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReplicationDestination {
    /// The bucket's resource name.
    #[prost(string, tag = "1")]
    pub bucket: String,
    /// `StorageClass` as given: a class of S3, or the original's list of sites; empty for none.
    #[prost(string, tag = "2")]
    pub storage_class: String,
    /// The account that owns the bucket; empty for none.
    #[prost(string, tag = "3")]
    pub account: String,
    /// Whether that account owns the copies.
    #[prost(bool, tag = "4")]
    pub owner_override: bool,
    /// The key that encrypts copies; empty for none.
    #[prost(string, tag = "5")]
    pub kms_key: String,
    /// Whether the time of copying is controlled; its threshold is always 15 minutes.
    #[prost(bool, optional, tag = "6")]
    pub time_control: Option<bool>,
    /// Whether metrics are kept.
    #[prost(bool, optional, tag = "7")]
    pub metrics: Option<bool>,
    /// Whether the metrics have a threshold, which is always 15 minutes.
    #[prost(bool, tag = "8")]
    pub metrics_threshold: bool,
}

/// Who is told of a bucket's events (S3 reference, "`NotificationConfiguration`").
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NotificationRecord {
    /// The targets, topics first, then queues, then functions.
    #[prost(message, repeated, tag = "1")]
    pub targets: Vec<NotificationTarget>,
    /// Whether every event goes to the event bus.
    #[prost(bool, tag = "2")]
    pub event_bridge: bool,
}

/// The element that a target stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum NotificationKind {
    /// `TopicConfiguration`.
    Topic = 0,
    /// `QueueConfiguration`, the only one of the original.
    Queue = 1,
    /// `CloudFunctionConfiguration`.
    Function = 2,
}

/// A target of notifications.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NotificationTarget {
    /// The element it stands in.
    #[prost(enumeration = "NotificationKind", tag = "1")]
    pub kind: i32,
    /// Its name, unique in the configuration; never empty.
    #[prost(string, tag = "2")]
    pub id: String,
    /// The target's resource name.
    #[prost(string, tag = "3")]
    pub arn: String,
    /// Names of events, as given.
    #[prost(string, repeated, tag = "4")]
    pub events: Vec<String>,
    /// Which keys; none where there is no `Filter`.
    #[prost(message, optional, tag = "5")]
    pub filter: Option<NotificationFilter>,
}

/// Which keys a target is told of.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NotificationFilter {
    /// Keys begin with this.
    #[prost(string, optional, tag = "1")]
    pub prefix: Option<String>,
    /// Keys end with this.
    #[prost(string, optional, tag = "2")]
    pub suffix: Option<String>,
}

/// Where a bucket's access log goes (S3 reference, "`LoggingEnabled`").
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LoggingRecord {
    /// The bucket that gets the log.
    #[prost(string, tag = "1")]
    pub target_bucket: String,
    /// How keys of log objects begin.
    #[prost(string, tag = "2")]
    pub target_prefix: String,
    /// Who may read log objects, besides their owner.
    #[prost(message, optional, tag = "3")]
    pub grants: Option<AclRecord>,
    /// How keys of log objects go on.
    #[prost(enumeration = "LogPartition", tag = "4")]
    pub partition: i32,
}

/// How the keys of log objects go on after the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum LogPartition {
    /// Time of delivery and a unique text: `SimplePrefix`.
    Simple = 0,
    /// Folders by account, region, bucket and the day of delivery.
    DeliveryTime = 1,
    /// Folders by account, region, bucket and the day of the events.
    EventTime = 2,
}

/// Lines of one bucket's access log that wait for their delivery.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AccessLines {
    /// The bucket that the lines tell of.
    #[prost(string, tag = "1")]
    pub source: String,
    /// Its owner.
    #[prost(string, tag = "2")]
    pub source_owner: String,
    /// What the bucket said of its log when the lines were written.
    #[prost(message, optional, tag = "3")]
    pub logging: Option<LoggingRecord>,
    /// The first request's time, in milliseconds since the epoch.
    #[prost(uint64, tag = "4")]
    pub first_ms: u64,
    /// The lines, each with its line feed.
    #[prost(bytes = "bytes", tag = "5")]
    pub lines: Bytes,
}
