//! What callers ask for, in the words of S3 policies.

use std::fmt;

use crate::types::{BucketName, ObjectKey, Permission};

/// A permission that an operation needs (S3 reference, "Actions, resources, and condition keys for Amazon S3").
///
/// Operations without an action of their own use the nearest one, as S3 does: `HeadBucket` needs `ListBucket`,
/// `HeadObject` needs `GetObject`, all uploads but aborts and part listings need `PutObject`, and
/// the deletions of a bucket's settings need the permission to put them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the S3 reference")]
pub enum Action {
    ListAllMyBuckets,
    CreateBucket,
    DeleteBucket,
    ListBucket,
    ListBucketVersions,
    ListBucketMultipartUploads,
    GetBucketAcl,
    PutBucketAcl,
    GetBucketLocation,
    GetBucketVersioning,
    PutBucketVersioning,
    GetBucketTagging,
    PutBucketTagging,
    GetBucketCORS,
    PutBucketCORS,
    GetLifecycleConfiguration,
    PutLifecycleConfiguration,
    PutObject,
    GetObject,
    GetObjectVersion,
    GetObjectAttributes,
    GetObjectVersionAttributes,
    GetObjectAcl,
    GetObjectVersionAcl,
    PutObjectAcl,
    PutObjectVersionAcl,
    GetObjectTagging,
    GetObjectVersionTagging,
    PutObjectTagging,
    PutObjectVersionTagging,
    DeleteObjectTagging,
    DeleteObjectVersionTagging,
    DeleteObject,
    DeleteObjectVersion,
    ListMultipartUploadParts,
    AbortMultipartUpload,
    GetBucketPolicy,
    PutBucketPolicy,
    DeleteBucketPolicy,
    GetBucketPolicyStatus,
    GetBucketPublicAccessBlock,
    PutBucketPublicAccessBlock,
    GetBucketOwnershipControls,
    PutBucketOwnershipControls,
    GetBucketObjectLockConfiguration,
    PutBucketObjectLockConfiguration,
    GetEncryptionConfiguration,
    PutEncryptionConfiguration,
    GetBucketWebsite,
    PutBucketWebsite,
    DeleteBucketWebsite,
    GetBucketLogging,
    PutBucketLogging,
    GetBucketRequestPayment,
    PutBucketRequestPayment,
    GetAccelerateConfiguration,
    PutAccelerateConfiguration,
    GetInventoryConfiguration,
    PutInventoryConfiguration,
    GetAnalyticsConfiguration,
    PutAnalyticsConfiguration,
    GetMetricsConfiguration,
    PutMetricsConfiguration,
    GetIntelligentTieringConfiguration,
    PutIntelligentTieringConfiguration,
    GetReplicationConfiguration,
    PutReplicationConfiguration,
    GetBucketNotification,
    PutBucketNotification,
    GetBucketAbac,
    PutBucketAbac,
    GetBucketQuota,
    UpdateBucketQuota,
    DeleteBucketQuota,
    MetadataSearch,
    GetObjectRetention,
    PutObjectRetention,
    GetObjectLegalHold,
    PutObjectLegalHold,
    BypassGovernanceRetention,
    RestoreObject,
    UpdateObjectEncryption,
    GetObjectAnnotation,
    PutObjectAnnotation,
    DeleteObjectAnnotation,
    ListObjectAnnotations,
}

/// Who may do something while no policy says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Every caller with credentials.
    Account,
    /// The owner of the bucket.
    BucketOwner,
    /// The owner of the bucket, and whoever its list grants this.
    Bucket(Permission),
    /// The owner of the object, and whoever its list grants this.
    Object(Permission),
    /// The owner of the bucket and the owner of the object; lists say nothing about it.
    Tagging,
    /// The owner of the bucket and whoever began the upload.
    Upload,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 86] = [
        Self::ListAllMyBuckets,
        Self::CreateBucket,
        Self::DeleteBucket,
        Self::ListBucket,
        Self::ListBucketVersions,
        Self::ListBucketMultipartUploads,
        Self::GetBucketAcl,
        Self::PutBucketAcl,
        Self::GetBucketLocation,
        Self::GetBucketVersioning,
        Self::PutBucketVersioning,
        Self::GetBucketTagging,
        Self::PutBucketTagging,
        Self::GetBucketCORS,
        Self::PutBucketCORS,
        Self::GetLifecycleConfiguration,
        Self::PutLifecycleConfiguration,
        Self::PutObject,
        Self::GetObject,
        Self::GetObjectVersion,
        Self::GetObjectAttributes,
        Self::GetObjectVersionAttributes,
        Self::GetObjectAcl,
        Self::GetObjectVersionAcl,
        Self::PutObjectAcl,
        Self::PutObjectVersionAcl,
        Self::GetObjectTagging,
        Self::GetObjectVersionTagging,
        Self::PutObjectTagging,
        Self::PutObjectVersionTagging,
        Self::DeleteObjectTagging,
        Self::DeleteObjectVersionTagging,
        Self::DeleteObject,
        Self::DeleteObjectVersion,
        Self::ListMultipartUploadParts,
        Self::AbortMultipartUpload,
        Self::GetBucketPolicy,
        Self::PutBucketPolicy,
        Self::DeleteBucketPolicy,
        Self::GetBucketPolicyStatus,
        Self::GetBucketPublicAccessBlock,
        Self::PutBucketPublicAccessBlock,
        Self::GetBucketOwnershipControls,
        Self::PutBucketOwnershipControls,
        Self::GetBucketObjectLockConfiguration,
        Self::PutBucketObjectLockConfiguration,
        Self::GetEncryptionConfiguration,
        Self::PutEncryptionConfiguration,
        Self::GetBucketWebsite,
        Self::PutBucketWebsite,
        Self::DeleteBucketWebsite,
        Self::GetBucketLogging,
        Self::PutBucketLogging,
        Self::GetBucketRequestPayment,
        Self::PutBucketRequestPayment,
        Self::GetAccelerateConfiguration,
        Self::PutAccelerateConfiguration,
        Self::GetInventoryConfiguration,
        Self::PutInventoryConfiguration,
        Self::GetAnalyticsConfiguration,
        Self::PutAnalyticsConfiguration,
        Self::GetMetricsConfiguration,
        Self::PutMetricsConfiguration,
        Self::GetIntelligentTieringConfiguration,
        Self::PutIntelligentTieringConfiguration,
        Self::GetReplicationConfiguration,
        Self::PutReplicationConfiguration,
        Self::GetBucketNotification,
        Self::PutBucketNotification,
        Self::GetBucketAbac,
        Self::PutBucketAbac,
        Self::GetBucketQuota,
        Self::UpdateBucketQuota,
        Self::DeleteBucketQuota,
        Self::MetadataSearch,
        Self::GetObjectRetention,
        Self::PutObjectRetention,
        Self::GetObjectLegalHold,
        Self::PutObjectLegalHold,
        Self::BypassGovernanceRetention,
        Self::RestoreObject,
        Self::UpdateObjectEncryption,
        Self::GetObjectAnnotation,
        Self::PutObjectAnnotation,
        Self::DeleteObjectAnnotation,
        Self::ListObjectAnnotations,
    ];

    /// Whether the decision asks who owns the object and what its list says.
    pub const fn needs_object(self) -> bool {
        matches!(self.rule(), Rule::Object(_) | Rule::Tagging)
    }

    /// The name in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListAllMyBuckets => "s3:ListAllMyBuckets",
            Self::CreateBucket => "s3:CreateBucket",
            Self::DeleteBucket => "s3:DeleteBucket",
            Self::ListBucket => "s3:ListBucket",
            Self::ListBucketVersions => "s3:ListBucketVersions",
            Self::ListBucketMultipartUploads => "s3:ListBucketMultipartUploads",
            Self::GetBucketAcl => "s3:GetBucketAcl",
            Self::PutBucketAcl => "s3:PutBucketAcl",
            Self::GetBucketLocation => "s3:GetBucketLocation",
            Self::GetBucketVersioning => "s3:GetBucketVersioning",
            Self::PutBucketVersioning => "s3:PutBucketVersioning",
            Self::GetBucketTagging => "s3:GetBucketTagging",
            Self::PutBucketTagging => "s3:PutBucketTagging",
            Self::GetBucketCORS => "s3:GetBucketCORS",
            Self::PutBucketCORS => "s3:PutBucketCORS",
            Self::GetLifecycleConfiguration => "s3:GetLifecycleConfiguration",
            Self::PutLifecycleConfiguration => "s3:PutLifecycleConfiguration",
            Self::PutObject => "s3:PutObject",
            Self::GetObject => "s3:GetObject",
            Self::GetObjectVersion => "s3:GetObjectVersion",
            Self::GetObjectAttributes => "s3:GetObjectAttributes",
            Self::GetObjectVersionAttributes => "s3:GetObjectVersionAttributes",
            Self::GetObjectAcl => "s3:GetObjectAcl",
            Self::GetObjectVersionAcl => "s3:GetObjectVersionAcl",
            Self::PutObjectAcl => "s3:PutObjectAcl",
            Self::PutObjectVersionAcl => "s3:PutObjectVersionAcl",
            Self::GetObjectTagging => "s3:GetObjectTagging",
            Self::GetObjectVersionTagging => "s3:GetObjectVersionTagging",
            Self::PutObjectTagging => "s3:PutObjectTagging",
            Self::PutObjectVersionTagging => "s3:PutObjectVersionTagging",
            Self::DeleteObjectTagging => "s3:DeleteObjectTagging",
            Self::DeleteObjectVersionTagging => "s3:DeleteObjectVersionTagging",
            Self::DeleteObject => "s3:DeleteObject",
            Self::DeleteObjectVersion => "s3:DeleteObjectVersion",
            Self::ListMultipartUploadParts => "s3:ListMultipartUploadParts",
            Self::AbortMultipartUpload => "s3:AbortMultipartUpload",
            Self::GetBucketPolicy => "s3:GetBucketPolicy",
            Self::PutBucketPolicy => "s3:PutBucketPolicy",
            Self::DeleteBucketPolicy => "s3:DeleteBucketPolicy",
            Self::GetBucketPolicyStatus => "s3:GetBucketPolicyStatus",
            Self::GetBucketPublicAccessBlock => "s3:GetBucketPublicAccessBlock",
            Self::PutBucketPublicAccessBlock => "s3:PutBucketPublicAccessBlock",
            Self::GetBucketOwnershipControls => "s3:GetBucketOwnershipControls",
            Self::PutBucketOwnershipControls => "s3:PutBucketOwnershipControls",
            Self::GetBucketObjectLockConfiguration => "s3:GetBucketObjectLockConfiguration",
            Self::PutBucketObjectLockConfiguration => "s3:PutBucketObjectLockConfiguration",
            Self::GetEncryptionConfiguration => "s3:GetEncryptionConfiguration",
            Self::PutEncryptionConfiguration => "s3:PutEncryptionConfiguration",
            Self::GetBucketWebsite => "s3:GetBucketWebsite",
            Self::PutBucketWebsite => "s3:PutBucketWebsite",
            Self::DeleteBucketWebsite => "s3:DeleteBucketWebsite",
            Self::GetBucketLogging => "s3:GetBucketLogging",
            Self::PutBucketLogging => "s3:PutBucketLogging",
            Self::GetBucketRequestPayment => "s3:GetBucketRequestPayment",
            Self::PutBucketRequestPayment => "s3:PutBucketRequestPayment",
            Self::GetAccelerateConfiguration => "s3:GetAccelerateConfiguration",
            Self::PutAccelerateConfiguration => "s3:PutAccelerateConfiguration",
            Self::GetInventoryConfiguration => "s3:GetInventoryConfiguration",
            Self::PutInventoryConfiguration => "s3:PutInventoryConfiguration",
            Self::GetAnalyticsConfiguration => "s3:GetAnalyticsConfiguration",
            Self::PutAnalyticsConfiguration => "s3:PutAnalyticsConfiguration",
            Self::GetMetricsConfiguration => "s3:GetMetricsConfiguration",
            Self::PutMetricsConfiguration => "s3:PutMetricsConfiguration",
            Self::GetIntelligentTieringConfiguration => "s3:GetIntelligentTieringConfiguration",
            Self::PutIntelligentTieringConfiguration => "s3:PutIntelligentTieringConfiguration",
            Self::GetReplicationConfiguration => "s3:GetReplicationConfiguration",
            Self::PutReplicationConfiguration => "s3:PutReplicationConfiguration",
            Self::GetBucketNotification => "s3:GetBucketNotification",
            Self::PutBucketNotification => "s3:PutBucketNotification",
            Self::GetBucketAbac => "s3:GetBucketAbac",
            Self::PutBucketAbac => "s3:PutBucketAbac",
            Self::GetBucketQuota => "scality:GetBucketQuota",
            Self::UpdateBucketQuota => "scality:UpdateBucketQuota",
            Self::DeleteBucketQuota => "scality:DeleteBucketQuota",
            Self::MetadataSearch => "s3:MetadataSearch",
            Self::GetObjectRetention => "s3:GetObjectRetention",
            Self::PutObjectRetention => "s3:PutObjectRetention",
            Self::GetObjectLegalHold => "s3:GetObjectLegalHold",
            Self::PutObjectLegalHold => "s3:PutObjectLegalHold",
            Self::BypassGovernanceRetention => "s3:BypassGovernanceRetention",
            Self::RestoreObject => "s3:RestoreObject",
            Self::UpdateObjectEncryption => "s3:UpdateObjectEncryption",
            Self::GetObjectAnnotation => "s3:GetObjectAnnotation",
            Self::PutObjectAnnotation => "s3:PutObjectAnnotation",
            Self::DeleteObjectAnnotation => "s3:DeleteObjectAnnotation",
            Self::ListObjectAnnotations => "s3:ListObjectAnnotations",
        }
    }

    /// The table of actions and what grants them (S3 reference, "Mapping of ACL permissions and access policy
    /// permissions").
    ///
    /// Lists grant nothing beyond it: tags and bucket settings stay with owners, and WRITE on a bucket covers the
    /// current object only, for deleting a version cannot be undone. WRITE on an object means nothing.
    pub(super) const fn rule(self) -> Rule {
        match self {
            Self::ListAllMyBuckets | Self::CreateBucket => Rule::Account,
            Self::DeleteBucket
            | Self::GetBucketLocation
            | Self::GetBucketVersioning
            | Self::PutBucketVersioning
            | Self::GetBucketTagging
            | Self::PutBucketTagging
            | Self::GetBucketCORS
            | Self::PutBucketCORS
            | Self::GetLifecycleConfiguration
            | Self::PutLifecycleConfiguration
            | Self::DeleteObjectVersion
            | Self::GetBucketPolicy
            | Self::PutBucketPolicy
            | Self::DeleteBucketPolicy
            | Self::GetBucketPolicyStatus
            | Self::GetBucketPublicAccessBlock
            | Self::PutBucketPublicAccessBlock
            | Self::GetBucketOwnershipControls
            | Self::PutBucketOwnershipControls
            | Self::GetBucketObjectLockConfiguration
            | Self::PutBucketObjectLockConfiguration
            | Self::GetEncryptionConfiguration
            | Self::PutEncryptionConfiguration
            | Self::GetBucketWebsite
            | Self::PutBucketWebsite
            | Self::DeleteBucketWebsite
            | Self::GetBucketLogging
            | Self::PutBucketLogging
            | Self::GetBucketRequestPayment
            | Self::PutBucketRequestPayment
            | Self::GetAccelerateConfiguration
            | Self::PutAccelerateConfiguration
            | Self::GetInventoryConfiguration
            | Self::PutInventoryConfiguration
            | Self::GetAnalyticsConfiguration
            | Self::PutAnalyticsConfiguration
            | Self::GetMetricsConfiguration
            | Self::PutMetricsConfiguration
            | Self::GetIntelligentTieringConfiguration
            | Self::PutIntelligentTieringConfiguration
            | Self::GetReplicationConfiguration
            | Self::PutReplicationConfiguration
            | Self::GetBucketNotification
            | Self::PutBucketNotification
            | Self::GetBucketAbac
            | Self::PutBucketAbac
            | Self::GetBucketQuota
            | Self::UpdateBucketQuota
            | Self::DeleteBucketQuota
            | Self::GetObjectRetention
            | Self::PutObjectRetention
            | Self::GetObjectLegalHold
            | Self::PutObjectLegalHold
            | Self::BypassGovernanceRetention
            | Self::RestoreObject
            | Self::UpdateObjectEncryption => Rule::BucketOwner,
            Self::ListBucket | Self::ListBucketVersions | Self::ListBucketMultipartUploads | Self::MetadataSearch => {
                Rule::Bucket(Permission::Read)
            }
            Self::PutObject | Self::DeleteObject => Rule::Bucket(Permission::Write),
            Self::GetBucketAcl => Rule::Bucket(Permission::ReadAcp),
            Self::PutBucketAcl => Rule::Bucket(Permission::WriteAcp),
            Self::GetObject | Self::GetObjectVersion | Self::GetObjectAttributes | Self::GetObjectVersionAttributes => {
                Rule::Object(Permission::Read)
            }
            Self::GetObjectAcl | Self::GetObjectVersionAcl => Rule::Object(Permission::ReadAcp),
            Self::PutObjectAcl | Self::PutObjectVersionAcl => Rule::Object(Permission::WriteAcp),
            Self::GetObjectTagging
            | Self::GetObjectVersionTagging
            | Self::PutObjectTagging
            | Self::PutObjectVersionTagging
            | Self::DeleteObjectTagging
            | Self::DeleteObjectVersionTagging
            | Self::GetObjectAnnotation
            | Self::PutObjectAnnotation
            | Self::DeleteObjectAnnotation
            | Self::ListObjectAnnotations => Rule::Tagging,
            Self::ListMultipartUploadParts | Self::AbortMultipartUpload => Rule::Upload,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an action is asked of. `Display` writes its Amazon resource name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A bucket.
    Bucket(&'a BucketName),
    /// A key of a bucket, whether or not an object is there.
    Object(&'a BucketName, &'a ObjectKey),
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(bucket) => write!(f, "arn:aws:s3:::{bucket}"),
            Self::Object(bucket, key) => write!(f, "arn:aws:s3:::{bucket}/{key}"),
        }
    }
}
