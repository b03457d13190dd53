//! Condition keys: what a policy may ask of a request.

use std::fmt;

/// What is known of a request, found out as it is asked for. Every value is the server's own knowledge, or the very
/// header or parameter that the key is named after: no header sets another key.
pub trait Facts: fmt::Debug + Sync {
    /// The values of a key; empty where the request has none.
    fn values(&self, key: &ConditionKey) -> Vec<String>;

    /// Whether a key was judged when the upload began that this request adds to: such conditions are met in an Allow
    /// and not met in a Deny.
    fn settled(&self, _key: &ConditionKey) -> bool {
        false
    }
}

/// A condition key (S3 reference, "Condition keys for Amazon S3"; IAM reference, "Global condition context keys").
/// Names are not case-sensitive, but for the part behind a slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the S3 reference")]
pub enum ConditionKey {
    SourceIp,
    SecureTransport,
    PrincipalArn,
    PrincipalAccount,
    PrincipalType,
    UserId,
    Username,
    UserAgent,
    Referer,
    CurrentTime,
    EpochTime,
    RequestedRegion,
    ResourceAccount,
    Prefix,
    Delimiter,
    MaxKeys,
    CopySource,
    VersionId,
    SignatureVersion,
    SignatureAge,
    TlsVersion,
    AuthType,
    RemainingRetentionDays,
    ObjectCreationOperation,
    RequestObjectTagKeys,
    ExistingObjectTag(String),
    RequestObjectTag(String),
    BucketTag(String),
    /// The value of the header of this name.
    Header(&'static str),
    /// What says of services whether they ask: only where the server itself delivers something.
    ByService(&'static str),
    /// Known, and without a value in any request to this server. Its own deliveries have some of them.
    Absent(&'static str),
}

/// Keys by their names in small letters.
const KEYS: &[(&str, ConditionKey)] = &[
    ("aws:sourceip", ConditionKey::SourceIp),
    ("aws:securetransport", ConditionKey::SecureTransport),
    ("aws:principalarn", ConditionKey::PrincipalArn),
    ("aws:principalaccount", ConditionKey::PrincipalAccount),
    ("aws:principaltype", ConditionKey::PrincipalType),
    ("aws:userid", ConditionKey::UserId),
    ("aws:username", ConditionKey::Username),
    ("aws:useragent", ConditionKey::UserAgent),
    ("aws:referer", ConditionKey::Referer),
    ("aws:currenttime", ConditionKey::CurrentTime),
    ("aws:epochtime", ConditionKey::EpochTime),
    ("aws:requestedregion", ConditionKey::RequestedRegion),
    ("aws:resourceaccount", ConditionKey::ResourceAccount),
    ("s3:resourceaccount", ConditionKey::ResourceAccount),
    ("s3:prefix", ConditionKey::Prefix),
    ("s3:delimiter", ConditionKey::Delimiter),
    ("s3:max-keys", ConditionKey::MaxKeys),
    ("s3:x-amz-copy-source", ConditionKey::CopySource),
    ("s3:versionid", ConditionKey::VersionId),
    ("s3:signatureversion", ConditionKey::SignatureVersion),
    ("s3:signatureage", ConditionKey::SignatureAge),
    ("s3:authtype", ConditionKey::AuthType),
    ("s3:tlsversion", ConditionKey::TlsVersion),
    ("s3:object-lock-remaining-retention-days", ConditionKey::RemainingRetentionDays),
    ("s3:objectcreationoperation", ConditionKey::ObjectCreationOperation),
    ("s3:requestobjecttagkeys", ConditionKey::RequestObjectTagKeys),
    ("s3:x-amz-acl", ConditionKey::Header("x-amz-acl")),
    ("s3:x-amz-grant-full-control", ConditionKey::Header("x-amz-grant-full-control")),
    ("s3:x-amz-grant-read", ConditionKey::Header("x-amz-grant-read")),
    ("s3:x-amz-grant-read-acp", ConditionKey::Header("x-amz-grant-read-acp")),
    ("s3:x-amz-grant-write", ConditionKey::Header("x-amz-grant-write")),
    ("s3:x-amz-grant-write-acp", ConditionKey::Header("x-amz-grant-write-acp")),
    ("s3:x-amz-metadata-directive", ConditionKey::Header("x-amz-metadata-directive")),
    ("s3:x-amz-storage-class", ConditionKey::Header("x-amz-storage-class")),
    ("s3:x-amz-server-side-encryption", ConditionKey::Header("x-amz-server-side-encryption")),
    (
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
        ConditionKey::Header("x-amz-server-side-encryption-aws-kms-key-id"),
    ),
    (
        "s3:x-amz-server-side-encryption-customer-algorithm",
        ConditionKey::Header("x-amz-server-side-encryption-customer-algorithm"),
    ),
    ("s3:x-amz-content-sha256", ConditionKey::Header("x-amz-content-sha256")),
    ("s3:x-amz-object-ownership", ConditionKey::Header("x-amz-object-ownership")),
    ("s3:x-amz-website-redirect-location", ConditionKey::Header("x-amz-website-redirect-location")),
    ("s3:object-lock-mode", ConditionKey::Header("x-amz-object-lock-mode")),
    ("s3:object-lock-retain-until-date", ConditionKey::Header("x-amz-object-lock-retain-until-date")),
    ("s3:object-lock-legal-hold", ConditionKey::Header("x-amz-object-lock-legal-hold")),
    ("s3:if-match", ConditionKey::Header("if-match")),
    ("s3:if-none-match", ConditionKey::Header("if-none-match")),
    ("aws:principalisawsservice", ConditionKey::ByService("aws:PrincipalIsAWSService")),
    ("aws:viaawsservice", ConditionKey::ByService("aws:ViaAWSService")),
];

/// Keys that only the server's own deliveries, AWS itself, or features that are not here could give a value.
/// `s3:LocationConstraint` is said by the creation of a bucket, which no bucket's policy judges.
const ABSENT: &[&str] = &[
    "aws:AssumedRoot",
    "aws:CalledVia",
    "aws:CalledViaFirst",
    "aws:CalledViaLast",
    "aws:Ec2InstanceSourcePrivateIPv4",
    "aws:Ec2InstanceSourceVpc",
    "aws:FederatedProvider",
    "aws:MultiFactorAuthAge",
    "aws:MultiFactorAuthPresent",
    "aws:PrincipalOrgID",
    "aws:PrincipalOrgPaths",
    "aws:PrincipalServiceName",
    "aws:PrincipalServiceNamesList",
    "aws:ResourceOrgID",
    "aws:ResourceOrgPaths",
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:SourceIdentity",
    "aws:SourceOrgID",
    "aws:SourceOrgPaths",
    "aws:SourceOwner",
    "aws:SourceVpc",
    "aws:SourceVpcArn",
    "aws:SourceVpce",
    "aws:TagKeys",
    "aws:TokenIssueTime",
    "aws:VpcSourceIp",
    "s3:AccessGrantsInstanceArn",
    "s3:AccessPointNetworkOrigin",
    "s3:AccessPointTag",
    "s3:DataAccessPointAccount",
    "s3:DataAccessPointArn",
    "s3:DestinationRegion",
    "s3:InventoryAccessibleOptionalFields",
    "s3:LocationConstraint",
    "s3:isReplicationPauseRequest",
];

/// Makes the key of a tag.
type MakeKey = fn(String) -> ConditionKey;

/// Keys with a name of the client's choice behind a slash.
const TAG_KEYS: &[(&str, MakeKey)] = &[
    ("s3:existingobjecttag", ConditionKey::ExistingObjectTag),
    ("s3:requestobjecttag", ConditionKey::RequestObjectTag),
    ("s3:buckettag", ConditionKey::BucketTag),
    ("aws:resourcetag", ConditionKey::BucketTag),
    ("aws:principaltag", |_| ConditionKey::Absent("aws:PrincipalTag")),
    ("aws:requesttag", |_| ConditionKey::Absent("aws:RequestTag")),
];

impl ConditionKey {
    /// The key of that name; `None` for one that S3 does not know.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some((family, tag)) = name.split_once('/') {
            let (_, make) = TAG_KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(family))?;
            return (!tag.is_empty()).then(|| make(tag.to_owned()));
        }
        if let Some((_, key)) = KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Some(key.clone());
        }
        ABSENT.iter().find(|known| known.eq_ignore_ascii_case(name)).map(|known| Self::Absent(known))
    }

    /// Whether its value is the same for all that one request does to a bucket.
    pub fn is_of_caller(&self) -> bool {
        match self {
            Self::SourceIp
            | Self::SecureTransport
            | Self::PrincipalArn
            | Self::PrincipalAccount
            | Self::PrincipalType
            | Self::UserId
            | Self::Username
            | Self::UserAgent
            | Self::Referer
            | Self::CurrentTime
            | Self::EpochTime
            | Self::RequestedRegion
            | Self::ResourceAccount
            | Self::SignatureVersion
            | Self::SignatureAge
            | Self::TlsVersion
            | Self::AuthType
            | Self::BucketTag(_)
            | Self::ByService(_)
            | Self::Absent(_) => true,
            Self::Prefix
            | Self::Delimiter
            | Self::MaxKeys
            | Self::CopySource
            | Self::VersionId
            | Self::RemainingRetentionDays
            | Self::ObjectCreationOperation
            | Self::RequestObjectTagKeys
            | Self::ExistingObjectTag(_)
            | Self::RequestObjectTag(_)
            | Self::Header(_) => false,
        }
    }

    /// Whether it is about the lock that a request sets.
    pub fn is_of_lock(&self) -> bool {
        match self {
            Self::RemainingRetentionDays => true,
            Self::Header(name) => name.starts_with("x-amz-object-lock-"),
            _ => false,
        }
    }

    /// Whether a request that begins an upload says this once for all the parts to come.
    pub fn is_said_at_initiation(&self) -> bool {
        match self {
            Self::Header(name) => !matches!(*name, "if-match" | "if-none-match" | "x-amz-content-sha256"),
            Self::RequestObjectTag(_) | Self::RequestObjectTagKeys | Self::RemainingRetentionDays => true,
            _ => false,
        }
    }
}
