//! The four kinds: their documents and the rules beyond their shape (S3 reference, the pages of the four `Put`s).

use super::Kind;
use crate::{
    auth::Action,
    s3::{
        error::{S3Error, S3Result},
        shape::{
            Content::{Elements, Number, Text, Word},
            Shape, child, find,
        },
        tags,
    },
    storage::{
        SettingKind,
        records::{Pair, SettingNode},
    },
};

/// Most bytes of a prefix: those of a key.
const PREFIX: usize = 1024;
/// Longest resource name or id of something else.
const NAME: usize = 2048;
/// Text that is checked by a rule with a code of its own: the document's size is its limit.
const ANY: usize = usize::MAX;

const TAG: &[Shape] = &[Shape::one("Key", Text(ANY)), Shape::one("Value", Text(ANY))];
const FILTER: &[Shape] = &[
    Shape::maybe("Prefix", Text(PREFIX)),
    Shape::maybe("Tag", Elements(TAG)),
    Shape::maybe(
        "And",
        Elements(&[Shape::maybe("Prefix", Text(PREFIX)), Shape::many("Tag", 0, tags::MAX_BUCKET_TAGS, Elements(TAG))]),
    ),
];

/// Storage class analysis.
#[derive(Debug)]
pub struct Analytics;

/// Inventory.
#[derive(Debug)]
pub struct Inventory;

/// Metrics of a part of a bucket.
#[derive(Debug)]
pub struct Metrics;

/// Intelligent tiering.
#[derive(Debug)]
pub struct Tiering;

impl Kind for Analytics {
    const NAMES: [&'static str; 4] = [
        "GetBucketAnalyticsConfiguration",
        "PutBucketAnalyticsConfiguration",
        "ListBucketAnalyticsConfigurations",
        "DeleteBucketAnalyticsConfiguration",
    ];
    const ACTIONS: [&'static str; 4] =
        ["bucketGetAnalytics", "bucketPutAnalytics", "bucketListAnalytics", "bucketDeleteAnalytics"];
    const QUERY: (&'static [&'static str], &'static [&'static str]) = (&["analytics", "id"], &["analytics"]);
    const NEEDS: (Action, Action) = (Action::GetAnalyticsConfiguration, Action::PutAnalyticsConfiguration);
    const STORED: SettingKind = SettingKind::Analytics;
    const ROOTS: (&'static str, &'static str) = ("AnalyticsConfiguration", "ListBucketAnalyticsConfigurationResult");
    const SHAPES: &'static [Shape] = &[
        Shape::one("Id", Text(ANY)),
        Shape::maybe("Filter", Elements(FILTER)),
        Shape::one(
            "StorageClassAnalysis",
            Elements(&[Shape::maybe(
                "DataExport",
                Elements(&[
                    Shape::one("OutputSchemaVersion", Word(&["V_1"])),
                    Shape::one(
                        "Destination",
                        Elements(&[Shape::one(
                            "S3BucketDestination",
                            Elements(&[
                                Shape::one("Format", Word(&["CSV"])),
                                Shape::maybe("BucketAccountId", Text(NAME)),
                                Shape::one("Bucket", Text(NAME)),
                                Shape::maybe("Prefix", Text(PREFIX)),
                            ]),
                        )]),
                    ),
                ]),
            )]),
        ),
    ];

    fn check(document: &[SettingNode]) -> S3Result<()> {
        let export = find(document, &["StorageClassAnalysis", "DataExport", "Destination", "S3BucketDestination"]);
        check_filter(document)?;
        export.map_or(Ok(()), |destination| check_bucket(&destination.children))
    }
}

impl Kind for Inventory {
    const NAMES: [&'static str; 4] = [
        "GetBucketInventoryConfiguration",
        "PutBucketInventoryConfiguration",
        "ListBucketInventoryConfigurations",
        "DeleteBucketInventoryConfiguration",
    ];
    const ACTIONS: [&'static str; 4] =
        ["bucketGetInventory", "bucketPutInventory", "bucketListInventory", "bucketDeleteInventory"];
    const QUERY: (&'static [&'static str], &'static [&'static str]) = (&["inventory", "id"], &["inventory"]);
    const NEEDS: (Action, Action) = (Action::GetInventoryConfiguration, Action::PutInventoryConfiguration);
    const STORED: SettingKind = SettingKind::Inventory;
    const ROOTS: (&'static str, &'static str) = ("InventoryConfiguration", "ListInventoryConfigurationsResult");
    const SHAPES: &'static [Shape] = &[
        Shape::one(
            "Destination",
            Elements(&[Shape::one(
                "S3BucketDestination",
                Elements(&[
                    Shape::maybe("AccountId", Text(NAME)),
                    Shape::one("Bucket", Text(NAME)),
                    Shape::one("Format", Word(&["CSV", "ORC", "Parquet"])),
                    Shape::maybe("Prefix", Text(PREFIX)),
                    Shape::maybe(
                        "Encryption",
                        Elements(&[
                            Shape::maybe("SSE-S3", Elements(&[])),
                            Shape::maybe("SSE-KMS", Elements(&[Shape::one("KeyId", Text(NAME))])),
                        ]),
                    ),
                ]),
            )]),
        ),
        Shape::one("IsEnabled", Word(&["true", "false"])),
        Shape::maybe("Filter", Elements(&[Shape::one("Prefix", Text(PREFIX))])),
        Shape::one("Id", Text(ANY)),
        Shape::one("IncludedObjectVersions", Word(&["All", "Current"])),
        Shape::maybe("OptionalFields", Elements(&[Shape::many("Field", 0, FIELDS.len(), Word(FIELDS))])),
        Shape::one("Schedule", Elements(&[Shape::one("Frequency", Word(&["Daily", "Weekly"]))])),
    ];

    fn check(document: &[SettingNode]) -> S3Result<()> {
        if let Some(fields) = child(document, "OptionalFields") {
            let unique: std::collections::HashSet<_> = fields.children.iter().map(|field| &field.text).collect();
            if unique.len() != fields.children.len() {
                return Err(S3Error::request("Duplicate optional fields are not allowed."));
            }
        }
        let Some(destination) = find(document, &["Destination", "S3BucketDestination"]) else { return Ok(()) };
        let format = child(&destination.children, "Format").map(|format| format.text.as_str()).unwrap_or_default();
        if format != "CSV" {
            let message = "Inventory reports are written as CSV; this format is not implemented.";
            return Err(S3Error::new(crate::s3::codes::S3Code::NotImplemented, message).with("Format", format));
        }
        if child(&destination.children, "Encryption").is_some_and(|encryption| encryption.children.len() != 1) {
            return Err(crate::s3::codes::S3Code::MalformedXML.into());
        }
        check_bucket(&destination.children)
    }
}

/// What an inventory may tell besides bucket and key.
const FIELDS: &[&str] = &[
    "Size",
    "LastModifiedDate",
    "StorageClass",
    "ETag",
    "IsMultipartUploaded",
    "ReplicationStatus",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ObjectLockLegalHoldStatus",
    "ObjectLockEventHoldStatus",
    "ObjectLockEventHoldDuration",
    "IntelligentTieringAccessTier",
    "BucketKeyStatus",
    "ChecksumAlgorithm",
    "ObjectAccessControlList",
    "ObjectOwner",
    "LifecycleExpirationDate",
    "IntelligentTieringReferenceDate",
];

impl Kind for Metrics {
    const NAMES: [&'static str; 4] = [
        "GetBucketMetricsConfiguration",
        "PutBucketMetricsConfiguration",
        "ListBucketMetricsConfigurations",
        "DeleteBucketMetricsConfiguration",
    ];
    const ACTIONS: [&'static str; 4] =
        ["bucketGetMetrics", "bucketPutMetrics", "bucketListMetrics", "bucketDeleteMetrics"];
    const QUERY: (&'static [&'static str], &'static [&'static str]) = (&["metrics", "id"], &["metrics"]);
    const NEEDS: (Action, Action) = (Action::GetMetricsConfiguration, Action::PutMetricsConfiguration);
    const STORED: SettingKind = SettingKind::Metrics;
    const ROOTS: (&'static str, &'static str) = ("MetricsConfiguration", "ListMetricsConfigurationsResult");
    const SHAPES: &'static [Shape] = &[
        Shape::one("Id", Text(ANY)),
        Shape::maybe(
            "Filter",
            Elements(&[
                Shape::maybe("Prefix", Text(PREFIX)),
                Shape::maybe("Tag", Elements(TAG)),
                Shape::maybe("AccessPointArn", Text(NAME)),
                Shape::maybe(
                    "And",
                    Elements(&[
                        Shape::maybe("Prefix", Text(PREFIX)),
                        Shape::many("Tag", 0, tags::MAX_BUCKET_TAGS, Elements(TAG)),
                        Shape::maybe("AccessPointArn", Text(NAME)),
                    ]),
                ),
            ]),
        ),
    ];

    fn check(document: &[SettingNode]) -> S3Result<()> {
        check_filter(document)
    }
}

impl Kind for Tiering {
    const NAMES: [&'static str; 4] = [
        "GetBucketIntelligentTieringConfiguration",
        "PutBucketIntelligentTieringConfiguration",
        "ListBucketIntelligentTieringConfigurations",
        "DeleteBucketIntelligentTieringConfiguration",
    ];
    const ACTIONS: [&'static str; 4] = [
        "bucketGetIntelligentTiering",
        "bucketPutIntelligentTiering",
        "bucketListIntelligentTiering",
        "bucketDeleteIntelligentTiering",
    ];
    const QUERY: (&'static [&'static str], &'static [&'static str]) =
        (&["intelligent-tiering", "id"], &["intelligent-tiering"]);
    const NEEDS: (Action, Action) =
        (Action::GetIntelligentTieringConfiguration, Action::PutIntelligentTieringConfiguration);
    const STORED: SettingKind = SettingKind::Tiering;
    const ROOTS: (&'static str, &'static str) =
        ("IntelligentTieringConfiguration", "ListBucketIntelligentTieringConfigurationsOutput");
    const SHAPES: &'static [Shape] = &[
        Shape::one("Id", Text(ANY)),
        Shape::maybe("Filter", Elements(FILTER)),
        Shape::one("Status", Word(&["Enabled", "Disabled"])),
        Shape::many(
            "Tiering",
            1,
            2,
            Elements(&[
                Shape::one("AccessTier", Word(&["ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"])),
                Shape::one("Days", Number(0, u32::MAX)),
            ]),
        ),
    ];

    fn check(document: &[SettingNode]) -> S3Result<()> {
        check_filter(document)?;
        let mut known = Vec::new();
        for tiering in document.iter().filter(|node| node.name == "Tiering") {
            let text = |name| child(&tiering.children, name).map(|node| node.text.as_str()).unwrap_or_default();
            let tier = text("AccessTier");
            if known.contains(&tier) {
                return Err(S3Error::request("Each access tier may stand in a configuration once."));
            }
            known.push(tier);
            let least = if tier == "ARCHIVE_ACCESS" { 90 } else { 180 };
            if !text("Days").parse().is_ok_and(|days: u32| (least..=730).contains(&days)) {
                let message = format!("The number of days for {tier} must be from {least} to 730");
                return Err(S3Error::argument(message, "Days", text("Days")));
            }
        }
        Ok(())
    }
}

/// A filter has one condition, or an `And` of at least two.
fn check_filter(document: &[SettingNode]) -> S3Result<()> {
    let malformed = || S3Error::from(crate::s3::codes::S3Code::MalformedXML);
    let Some(filter) = child(document, "Filter") else { return Ok(()) };
    if filter.children.len() != 1 {
        return Err(malformed());
    }
    let conditions = match child(&filter.children, "And") {
        None => &filter.children,
        Some(and) if and.children.len() < 2 => return Err(malformed()),
        Some(and) => &and.children,
    };
    let text = |tag: &SettingNode, name| child(&tag.children, name).map(|node| node.text.clone()).unwrap_or_default();
    let mut pairs: Vec<Pair> = Vec::new();
    for tag in conditions.iter().filter(|node| node.name == "Tag") {
        let pair = Pair { name: text(tag, "Key"), value: text(tag, "Value") };
        if pairs.iter().any(|known| known.name == pair.name) {
            return Err(S3Error::request("Duplicate Tag Keys are not allowed."));
        }
        pairs.push(pair);
    }
    tags::check(&pairs, tags::TagLimit::FILTER, "Filter")?;
    match child(conditions, "AccessPointArn").map(|node| node.text.as_str()) {
        Some(arn) if !arn.starts_with("arn:") => {
            Err(S3Error::argument("The access point ARN is invalid", "AccessPointArn", arn))
        }
        _ => Ok(()),
    }
}

/// The destination is the resource name of a bucket. Whether it is there is found out when something is written.
fn check_bucket(destination: &[SettingNode]) -> S3Result<()> {
    let arn = child(destination, "Bucket").map(|node| node.text.as_str()).unwrap_or_default();
    let name = arn.strip_prefix("arn:aws:s3:::").unwrap_or_default();
    match crate::types::BucketName::new(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(S3Error::argument("Invalid bucket ARN", "Bucket", arn)),
    }
}
