//! Records of object lock. What the numbers mean is in [`crate::storage::lock`].

/// A length of time as the client gave it: exactly one of the two is set.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PeriodRecord {
    /// Days of 24 hours.
    #[prost(uint32, optional, tag = "1")]
    pub days: Option<u32>,
    /// Calendar years.
    #[prost(uint32, optional, tag = "2")]
    pub years: Option<u32>,
}

/// What new versions of a bucket with object lock are given (S3 reference, "`ObjectLockConfiguration`").
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ObjectLockRecord {
    /// Mode of the default retention: 0 for none.
    #[prost(uint32, tag = "1")]
    pub mode: u32,
    /// Length of the default retention.
    #[prost(message, optional, tag = "2")]
    pub period: Option<PeriodRecord>,
    /// Duration of the default event hold.
    #[prost(message, optional, tag = "3")]
    pub event_hold: Option<PeriodRecord>,
}
