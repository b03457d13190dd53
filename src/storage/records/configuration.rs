//! Settings of a bucket that are lists of rules: requests from other origins, lifecycle.

use super::object::Pair;

/// A rule for requests from other origins (S3 reference, "`CORSRule`").
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CorsRule {
    /// The client's name for it; empty where it gave none.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Methods in upper case.
    #[prost(string, repeated, tag = "2")]
    pub methods: Vec<String>,
    /// Patterns of origins, each with at most one `*`.
    #[prost(string, repeated, tag = "3")]
    pub origins: Vec<String>,
    /// Patterns of header names, each with at most one `*`.
    #[prost(string, repeated, tag = "4")]
    pub headers: Vec<String>,
    /// Headers that scripts may read.
    #[prost(string, repeated, tag = "5")]
    pub expose: Vec<String>,
    /// Seconds for which a browser may keep the answer to a preflight request.
    #[prost(uint32, optional, tag = "6")]
    pub max_age_secs: Option<u32>,
}

/// A lifecycle configuration (S3 reference, "`BucketLifecycleConfiguration`").
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LifecycleRecord {
    /// The rules, in the client's order.
    #[prost(message, repeated, tag = "1")]
    pub rules: Vec<LifecycleRule>,
    /// `x-amz-transition-default-minimum-object-size` as given; empty where it was not.
    #[prost(string, tag = "2")]
    pub minimum_object_size: String,
}

/// How a rule says which objects it is for. Kept because a client reads back what it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum LifecycleScope {
    /// An old-style `Prefix` of the rule.
    Prefix = 0,
    /// A `Filter` with at most one condition.
    Filter = 1,
    /// A `Filter` whose conditions stand in `And`.
    And = 2,
}

/// One rule: objects that meet every condition are treated by every action.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LifecycleRule {
    /// Its name, unique in the configuration; never empty.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whether it is in force.
    #[prost(bool, tag = "2")]
    pub enabled: bool,
    /// Where the conditions stand.
    #[prost(enumeration = "LifecycleScope", tag = "3")]
    pub scope: i32,
    /// Keys begin with this.
    #[prost(string, optional, tag = "4")]
    pub prefix: Option<String>,
    /// Objects have all these tags.
    #[prost(message, repeated, tag = "5")]
    pub tags: Vec<Pair>,
    /// Objects have more bytes.
    #[prost(uint64, optional, tag = "6")]
    pub size_greater_than: Option<u64>,
    /// Objects have fewer bytes.
    #[prost(uint64, optional, tag = "7")]
    pub size_less_than: Option<u64>,
    /// What happens to current versions.
    #[prost(message, optional, tag = "8")]
    pub expiration: Option<ExpirationRecord>,
    /// What happens to noncurrent versions.
    #[prost(message, optional, tag = "9")]
    pub noncurrent_expiration: Option<NoncurrentExpirationRecord>,
    /// Where current versions move.
    #[prost(message, repeated, tag = "10")]
    pub transitions: Vec<TransitionRecord>,
    /// Where noncurrent versions move.
    #[prost(message, repeated, tag = "11")]
    pub noncurrent_transitions: Vec<NoncurrentTransitionRecord>,
    /// Days after which an upload that is not completed is aborted.
    #[prost(uint32, optional, tag = "12")]
    pub abort_upload_days: Option<u32>,
}

/// When current versions expire: exactly one of the three is set.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ExpirationRecord {
    /// Days after creation.
    #[prost(uint32, optional, tag = "1")]
    pub days: Option<u32>,
    /// A midnight UTC, in milliseconds since the epoch.
    #[prost(uint64, optional, tag = "2")]
    pub date_ms: Option<u64>,
    /// Whether delete markers go that hide no version.
    #[prost(bool, optional, tag = "3")]
    pub expired_object_delete_marker: Option<bool>,
}

/// When noncurrent versions expire.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct NoncurrentExpirationRecord {
    /// Days after a newer version took over.
    #[prost(uint32, tag = "1")]
    pub days: u32,
    /// Noncurrent versions that stay all the same.
    #[prost(uint32, optional, tag = "2")]
    pub newer_versions: Option<u32>,
}

/// When current versions move: exactly one of days and date is set.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TransitionRecord {
    /// Days after creation.
    #[prost(uint32, optional, tag = "1")]
    pub days: Option<u32>,
    /// A midnight UTC, in milliseconds since the epoch.
    #[prost(uint64, optional, tag = "2")]
    pub date_ms: Option<u64>,
    /// A storage class of S3, or a location.
    #[prost(string, tag = "3")]
    pub storage_class: String,
}

/// When noncurrent versions move.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NoncurrentTransitionRecord {
    /// Days after a newer version took over.
    #[prost(uint32, tag = "1")]
    pub days: u32,
    /// Noncurrent versions that stay all the same.
    #[prost(uint32, optional, tag = "2")]
    pub newer_versions: Option<u32>,
    /// A storage class of S3, or a location.
    #[prost(string, tag = "3")]
    pub storage_class: String,
}
