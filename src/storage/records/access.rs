//! Settings of a bucket about who may get in.

/// What keeps a bucket from being public (S3 reference, "`PublicAccessBlockConfiguration`").
#[expect(clippy::struct_excessive_bools, reason = "the four switches of S3")]
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PublicAccessBlockRecord {
    /// Lists that grant to everybody are refused.
    #[prost(bool, tag = "1")]
    pub block_public_acls: bool,
    /// Grants to everybody mean nothing.
    #[prost(bool, tag = "2")]
    pub ignore_public_acls: bool,
    /// Policies that allow something to everybody are refused.
    #[prost(bool, tag = "3")]
    pub block_public_policy: bool,
    /// A bucket with such a policy is for the owner's account only.
    #[prost(bool, tag = "4")]
    pub restrict_public_buckets: bool,
}
