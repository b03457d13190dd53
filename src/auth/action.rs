//! What callers ask for, in the words of S3 policies.

use std::fmt;

use self::Rule::{Account, Bucket, BucketOwner, Object, Tagging, Upload};
use crate::types::{
    BucketName, ObjectKey,
    Permission::{self, Read, ReadAcp, Write, WriteAcp},
};

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

/// Makes the type of actions from its table: one line an action, with its name in policies and what grants it.
macro_rules! actions {
    ($($name:ident = $text:literal, $rule:expr;)*) => {
        /// A permission that an operation needs (S3 reference, "Actions, resources, and condition keys for Amazon S3").
        ///
        /// Operations without an action of their own use the nearest one, as S3 does: `HeadBucket` needs `ListBucket`,
        /// `HeadObject` needs `GetObject`, all uploads but aborts and part listings need `PutObject`, and
        /// the deletions of a bucket's settings need the permission to put them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are those of the S3 reference")]
        pub enum Action {
            $($name),*
        }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in policies.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }

            /// What grants it while no policy says otherwise.
            pub(super) const fn rule(self) -> Rule {
                match self {
                    $(Self::$name => $rule),*
                }
            }
        }
    };
}

// What lists grant is the S3 reference's "Mapping of ACL permissions and access policy permissions". They grant nothing
// beyond it: tags and bucket settings stay with owners, and WRITE on a bucket covers the current object only, for
// deleting a version cannot be undone. WRITE on an object means nothing.
actions! {
    ListAllMyBuckets = "s3:ListAllMyBuckets", Account;
    CreateBucket = "s3:CreateBucket", Account;
    DeleteBucket = "s3:DeleteBucket", BucketOwner;
    ListBucket = "s3:ListBucket", Bucket(Read);
    ListBucketVersions = "s3:ListBucketVersions", Bucket(Read);
    ListBucketMultipartUploads = "s3:ListBucketMultipartUploads", Bucket(Read);
    GetBucketAcl = "s3:GetBucketAcl", Bucket(ReadAcp);
    PutBucketAcl = "s3:PutBucketAcl", Bucket(WriteAcp);
    GetBucketLocation = "s3:GetBucketLocation", BucketOwner;
    GetBucketVersioning = "s3:GetBucketVersioning", BucketOwner;
    PutBucketVersioning = "s3:PutBucketVersioning", BucketOwner;
    GetBucketTagging = "s3:GetBucketTagging", BucketOwner;
    PutBucketTagging = "s3:PutBucketTagging", BucketOwner;
    GetBucketCORS = "s3:GetBucketCORS", BucketOwner;
    PutBucketCORS = "s3:PutBucketCORS", BucketOwner;
    GetLifecycleConfiguration = "s3:GetLifecycleConfiguration", BucketOwner;
    PutLifecycleConfiguration = "s3:PutLifecycleConfiguration", BucketOwner;
    PutObject = "s3:PutObject", Bucket(Write);
    GetObject = "s3:GetObject", Object(Read);
    GetObjectVersion = "s3:GetObjectVersion", Object(Read);
    GetObjectAttributes = "s3:GetObjectAttributes", Object(Read);
    GetObjectVersionAttributes = "s3:GetObjectVersionAttributes", Object(Read);
    GetObjectAcl = "s3:GetObjectAcl", Object(ReadAcp);
    GetObjectVersionAcl = "s3:GetObjectVersionAcl", Object(ReadAcp);
    PutObjectAcl = "s3:PutObjectAcl", Object(WriteAcp);
    PutObjectVersionAcl = "s3:PutObjectVersionAcl", Object(WriteAcp);
    GetObjectTagging = "s3:GetObjectTagging", Tagging;
    GetObjectVersionTagging = "s3:GetObjectVersionTagging", Tagging;
    PutObjectTagging = "s3:PutObjectTagging", Tagging;
    PutObjectVersionTagging = "s3:PutObjectVersionTagging", Tagging;
    DeleteObjectTagging = "s3:DeleteObjectTagging", Tagging;
    DeleteObjectVersionTagging = "s3:DeleteObjectVersionTagging", Tagging;
    DeleteObject = "s3:DeleteObject", Bucket(Write);
    DeleteObjectVersion = "s3:DeleteObjectVersion", BucketOwner;
    ListMultipartUploadParts = "s3:ListMultipartUploadParts", Upload;
    AbortMultipartUpload = "s3:AbortMultipartUpload", Upload;
    GetBucketPolicy = "s3:GetBucketPolicy", BucketOwner;
    PutBucketPolicy = "s3:PutBucketPolicy", BucketOwner;
    DeleteBucketPolicy = "s3:DeleteBucketPolicy", BucketOwner;
    GetBucketPolicyStatus = "s3:GetBucketPolicyStatus", BucketOwner;
    GetBucketPublicAccessBlock = "s3:GetBucketPublicAccessBlock", BucketOwner;
    PutBucketPublicAccessBlock = "s3:PutBucketPublicAccessBlock", BucketOwner;
    GetBucketOwnershipControls = "s3:GetBucketOwnershipControls", BucketOwner;
    PutBucketOwnershipControls = "s3:PutBucketOwnershipControls", BucketOwner;
    GetBucketObjectLockConfiguration = "s3:GetBucketObjectLockConfiguration", BucketOwner;
    PutBucketObjectLockConfiguration = "s3:PutBucketObjectLockConfiguration", BucketOwner;
    GetEncryptionConfiguration = "s3:GetEncryptionConfiguration", BucketOwner;
    PutEncryptionConfiguration = "s3:PutEncryptionConfiguration", BucketOwner;
    GetBucketWebsite = "s3:GetBucketWebsite", BucketOwner;
    PutBucketWebsite = "s3:PutBucketWebsite", BucketOwner;
    DeleteBucketWebsite = "s3:DeleteBucketWebsite", BucketOwner;
    GetBucketLogging = "s3:GetBucketLogging", BucketOwner;
    PutBucketLogging = "s3:PutBucketLogging", BucketOwner;
    GetBucketRequestPayment = "s3:GetBucketRequestPayment", BucketOwner;
    PutBucketRequestPayment = "s3:PutBucketRequestPayment", BucketOwner;
    GetAccelerateConfiguration = "s3:GetAccelerateConfiguration", BucketOwner;
    PutAccelerateConfiguration = "s3:PutAccelerateConfiguration", BucketOwner;
    GetInventoryConfiguration = "s3:GetInventoryConfiguration", BucketOwner;
    PutInventoryConfiguration = "s3:PutInventoryConfiguration", BucketOwner;
    GetAnalyticsConfiguration = "s3:GetAnalyticsConfiguration", BucketOwner;
    PutAnalyticsConfiguration = "s3:PutAnalyticsConfiguration", BucketOwner;
    GetMetricsConfiguration = "s3:GetMetricsConfiguration", BucketOwner;
    PutMetricsConfiguration = "s3:PutMetricsConfiguration", BucketOwner;
    GetIntelligentTieringConfiguration = "s3:GetIntelligentTieringConfiguration", BucketOwner;
    PutIntelligentTieringConfiguration = "s3:PutIntelligentTieringConfiguration", BucketOwner;
    GetReplicationConfiguration = "s3:GetReplicationConfiguration", BucketOwner;
    PutReplicationConfiguration = "s3:PutReplicationConfiguration", BucketOwner;
    GetBucketNotification = "s3:GetBucketNotification", BucketOwner;
    PutBucketNotification = "s3:PutBucketNotification", BucketOwner;
    GetBucketAbac = "s3:GetBucketAbac", BucketOwner;
    PutBucketAbac = "s3:PutBucketAbac", BucketOwner;
    GetBucketQuota = "scality:GetBucketQuota", BucketOwner;
    UpdateBucketQuota = "scality:UpdateBucketQuota", BucketOwner;
    DeleteBucketQuota = "scality:DeleteBucketQuota", BucketOwner;
    MetadataSearch = "s3:MetadataSearch", Bucket(Read);
    GetObjectRetention = "s3:GetObjectRetention", BucketOwner;
    PutObjectRetention = "s3:PutObjectRetention", BucketOwner;
    GetObjectLegalHold = "s3:GetObjectLegalHold", BucketOwner;
    PutObjectLegalHold = "s3:PutObjectLegalHold", BucketOwner;
    BypassGovernanceRetention = "s3:BypassGovernanceRetention", BucketOwner;
    RestoreObject = "s3:RestoreObject", BucketOwner;
    UpdateObjectEncryption = "s3:UpdateObjectEncryption", BucketOwner;
    GetObjectAnnotation = "s3:GetObjectAnnotation", Tagging;
    PutObjectAnnotation = "s3:PutObjectAnnotation", Tagging;
    DeleteObjectAnnotation = "s3:DeleteObjectAnnotation", Tagging;
    ListObjectAnnotations = "s3:ListObjectAnnotations", Tagging;
    GetObjectVersionAnnotation = "s3:GetObjectVersionAnnotation", Tagging;
    PutObjectVersionAnnotation = "s3:PutObjectVersionAnnotation", Tagging;
    DeleteObjectVersionAnnotation = "s3:DeleteObjectVersionAnnotation", Tagging;
}

impl Action {
    /// Whether the decision asks who owns the object and what its list says.
    pub const fn needs_object(self) -> bool {
        matches!(self.rule(), Rule::Object(_) | Rule::Tagging)
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
