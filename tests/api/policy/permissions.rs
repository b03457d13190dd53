//! Operation × sub-resource × version × copy source → the permissions that are asked, for every row of the server's
//! table. A row without an entry here is a failure: nobody may forget to say what a new operation needs.

use cloudserver::s3::{
    head::Head,
    operation::{Need, Route, Target},
    table::OPERATIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Query and headers of a request beyond those of its row, and what it needs: action and target.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const TAGGED: &[(&str, &str)] = &[("x-amz-tagging", "a=b")];
const LISTED: &[(&str, &str)] = &[("x-amz-acl", "public-read")];
const GRANTED: &[(&str, &str)] = &[("x-amz-grant-read", "id=\"a\"")];
const KEPT: &[(&str, &str)] = &[
    ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
    ("x-amz-object-lock-mode", "GOVERNANCE"),
    ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
];
const HELD: &[(&str, &str)] = &[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="), ("x-amz-object-lock-legal-hold", "ON")];
const MATCHED: &[(&str, &str)] = &[("if-match", "\"tag\"")];
const PRESENT: &[(&str, &str)] = &[("if-match", "*")];
const SIZED: &[(&str, &str)] = &[("x-amz-if-match-size", "1")];
const VERSION: &str = "versionId=null";
const OF_VERSION: &[(&str, &str)] = &[("x-amz-copy-source", "from/key?versionId=null")];

/// What a write needs by its headers.
const WRITES: [Case; 5] = [
    ("", TAGGED, &["s3:PutObject object", "s3:PutObjectTagging written"]),
    ("", LISTED, &["s3:PutObject object", "s3:PutObjectAcl written"]),
    ("", GRANTED, &["s3:PutObject object", "s3:PutObjectAcl written"]),
    ("", KEPT, &["s3:PutObject object", "s3:PutObjectRetention object"]),
    ("", HELD, &["s3:PutObject object", "s3:PutObjectLegalHold object"]),
];

/// What is known of a row.
enum Entry {
    /// Requests, and what they need.
    Cases(Vec<Case>),
    /// The body says what it is about, and each key is asked by itself.
    ByBody,
}

/// One need, whatever the request says.
const PLAIN: &[(&str, &str)] = &[
    ("ListBucketMetricsConfigurations", "s3:GetMetricsConfiguration bucket"),
    ("DeleteBucketMetricsConfiguration", "s3:PutMetricsConfiguration bucket"),
    ("PutBucketMetricsConfiguration", "s3:PutMetricsConfiguration bucket"),
    ("GetBucketMetricsConfiguration", "s3:GetMetricsConfiguration bucket"),
    ("ListBucketInventoryConfigurations", "s3:GetInventoryConfiguration bucket"),
    ("DeleteBucketInventoryConfiguration", "s3:PutInventoryConfiguration bucket"),
    ("PutBucketInventoryConfiguration", "s3:PutInventoryConfiguration bucket"),
    ("GetBucketInventoryConfiguration", "s3:GetInventoryConfiguration bucket"),
    ("ListBucketIntelligentTieringConfigurations", "s3:GetIntelligentTieringConfiguration bucket"),
    ("DeleteBucketIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration bucket"),
    ("PutBucketIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration bucket"),
    ("GetBucketIntelligentTieringConfiguration", "s3:GetIntelligentTieringConfiguration bucket"),
    ("ListBucketAnalyticsConfigurations", "s3:GetAnalyticsConfiguration bucket"),
    ("DeleteBucketAnalyticsConfiguration", "s3:PutAnalyticsConfiguration bucket"),
    ("PutBucketAnalyticsConfiguration", "s3:PutAnalyticsConfiguration bucket"),
    ("GetBucketAnalyticsConfiguration", "s3:GetAnalyticsConfiguration bucket"),
    ("PutObjectRetention", "s3:PutObjectRetention object"),
    ("RestoreObject", "s3:RestoreObject object"),
    ("GetObjectRetention", "s3:GetObjectRetention object"),
    ("PutObjectLegalHold", "s3:PutObjectLegalHold object"),
    ("GetObjectLegalHold", "s3:GetObjectLegalHold object"),
    ("PutBucketAccelerateConfiguration", "s3:PutAccelerateConfiguration bucket"),
    ("GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration bucket"),
    ("PutBucketAbac", "s3:PutBucketAbac bucket"),
    ("GetBucketAbac", "s3:GetBucketAbac bucket"),
    ("PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration bucket"),
    ("GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration bucket"),
    ("DeleteBucketQuota", "scality:DeleteBucketQuota bucket"),
    ("GetBucketQuota", "scality:GetBucketQuota bucket"),
    ("UpdateBucketQuota", "scality:UpdateBucketQuota bucket"),
    ("DeleteBucketEncryption", "s3:PutEncryptionConfiguration bucket"),
    ("GetBucketEncryption", "s3:GetEncryptionConfiguration bucket"),
    ("PutBucketEncryption", "s3:PutEncryptionConfiguration bucket"),
    ("UpdateObjectEncryption", "s3:UpdateObjectEncryption object"),
    ("ListObjectAnnotations", "s3:ListObjectAnnotations object"),
    ("DeleteBucketReplication", "s3:PutReplicationConfiguration bucket"),
    ("PutBucketReplication", "s3:PutReplicationConfiguration bucket"),
    ("GetBucketReplication", "s3:GetReplicationConfiguration bucket"),
    ("PutBucketNotificationConfiguration", "s3:PutBucketNotification bucket"),
    ("GetBucketNotificationConfiguration", "s3:GetBucketNotification bucket"),
    ("PutBucketLogging", "s3:PutBucketLogging bucket"),
    ("GetBucketLogging", "s3:GetBucketLogging bucket"),
    ("AbortMultipartUpload", "s3:AbortMultipartUpload upload"),
    ("CompleteMultipartUpload", "s3:PutObject upload"),
    ("CreateBucket", "s3:CreateBucket new"),
    ("CreateMultipartUpload", "s3:PutObject object"),
    ("DeleteBucket", "s3:DeleteBucket bucket"),
    ("DeleteBucketCors", "s3:PutBucketCORS bucket"),
    ("DeleteBucketLifecycle", "s3:PutLifecycleConfiguration bucket"),
    ("DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls bucket"),
    ("DeleteBucketPolicy", "s3:DeleteBucketPolicy bucket"),
    ("DeleteBucketTagging", "s3:PutBucketTagging bucket"),
    ("DeleteBucketWebsite", "s3:DeleteBucketWebsite bucket"),
    ("DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock bucket"),
    ("GetBucketAcl", "s3:GetBucketAcl bucket"),
    ("GetBucketCors", "s3:GetBucketCORS bucket"),
    ("GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration bucket"),
    ("GetBucketLocation", "s3:GetBucketLocation bucket"),
    ("GetBucketOwnershipControls", "s3:GetBucketOwnershipControls bucket"),
    ("GetBucketPolicy", "s3:GetBucketPolicy bucket"),
    ("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus bucket"),
    ("GetBucketRequestPayment", "s3:GetBucketRequestPayment bucket"),
    ("GetBucketTagging", "s3:GetBucketTagging bucket"),
    ("GetBucketVersioning", "s3:GetBucketVersioning bucket"),
    ("GetBucketWebsite", "s3:GetBucketWebsite bucket"),
    ("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock bucket"),
    ("HeadBucket", "s3:ListBucket bucket"),
    ("ListBuckets", "s3:ListAllMyBuckets service"),
    ("ListMultipartUploads", "s3:ListBucketMultipartUploads bucket"),
    ("ListObjects", "s3:ListBucket bucket"),
    ("ListObjectsV2", "s3:ListBucket bucket"),
    ("ListObjectVersions", "s3:ListBucketVersions bucket"),
    ("ListParts", "s3:ListMultipartUploadParts upload"),
    ("PutBucketAcl", "s3:PutBucketAcl bucket"),
    ("PutBucketCors", "s3:PutBucketCORS bucket"),
    ("PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration bucket"),
    ("PutBucketOwnershipControls", "s3:PutBucketOwnershipControls bucket"),
    ("PutBucketPolicy", "s3:PutBucketPolicy bucket"),
    ("PutBucketRequestPayment", "s3:PutBucketRequestPayment bucket"),
    ("PutBucketTagging", "s3:PutBucketTagging bucket"),
    ("PutBucketVersioning", "s3:PutBucketVersioning bucket"),
    ("PutBucketWebsite", "s3:PutBucketWebsite bucket"),
    ("PutObject", "s3:PutObject object"),
    ("PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock bucket"),
    ("UploadPart", "s3:PutObject upload"),
];

/// The need of the current version, and that of a version named.
const VERSIONED: &[(&str, [&str; 2])] = &[
    ("DeleteObject", ["s3:DeleteObject object", "s3:DeleteObjectVersion object"]),
    ("DeleteObjectTagging", ["s3:DeleteObjectTagging object", "s3:DeleteObjectVersionTagging object"]),
    ("GetObject", ["s3:GetObject object", "s3:GetObjectVersion object"]),
    ("GetObjectAcl", ["s3:GetObjectAcl object", "s3:GetObjectVersionAcl object"]),
    ("DeleteObjectAnnotation", ["s3:DeleteObjectAnnotation object", "s3:DeleteObjectVersionAnnotation object"]),
    ("GetObjectAnnotation", ["s3:GetObjectAnnotation object", "s3:GetObjectVersionAnnotation object"]),
    ("PutObjectAnnotation", ["s3:PutObjectAnnotation object", "s3:PutObjectVersionAnnotation object"]),
    ("GetObjectTagging", ["s3:GetObjectTagging object", "s3:GetObjectVersionTagging object"]),
    ("HeadObject", ["s3:GetObject object", "s3:GetObjectVersion object"]),
    ("PutObjectAcl", ["s3:PutObjectAcl object", "s3:PutObjectVersionAcl object"]),
    ("PutObjectTagging", ["s3:PutObjectTagging object", "s3:PutObjectVersionTagging object"]),
];

/// The entry of a row; `None` where nobody made one.
fn entry(name: &str) -> Option<Entry> {
    if let Some((_, need)) = PLAIN.iter().find(|(known, _)| *known == name) {
        let mut cases: Vec<Case> = vec![("", &[], std::slice::from_ref(need))];
        if matches!(name, "PutObject" | "CreateMultipartUpload") {
            cases.extend(WRITES);
        }
        match name {
            "PutObject" => cases.extend([
                ("", MATCHED, &["s3:PutObject object", "s3:GetObject object"] as &[&str]),
                ("", PRESENT, &["s3:PutObject object"]),
                ("", &[("x-amz-write-offset-bytes", "0")], &["s3:PutObject object"]),
                ("", &[("x-amz-write-offset-bytes", "1")], &["s3:PutObject object", "s3:GetObject object"]),
            ]),
            "CompleteMultipartUpload" => cases.push(("", MATCHED, &["s3:PutObject upload", "s3:GetObject object"])),
            _ => {}
        }
        return Some(Entry::Cases(cases));
    }
    if let Some((_, [current, version])) = VERSIONED.iter().find(|(known, _)| *known == name) {
        let current: Case = ("", &[], std::slice::from_ref(current));
        let mut cases = vec![current, (VERSION, &[], std::slice::from_ref(version))];
        if name == "DeleteObject" {
            cases.push(("", MATCHED, &["s3:DeleteObject object", "s3:GetObject object"]));
            cases.push(("", SIZED, &["s3:DeleteObject object", "s3:GetObject object"]));
            cases.push((VERSION, MATCHED, &["s3:DeleteObjectVersion object", "s3:GetObjectVersion object"]));
        }
        return Some(Entry::Cases(cases));
    }
    match name {
        "DeleteObjects" | "PostObject" => Some(Entry::ByBody),
        "GetObjectAttributes" => Some(Entry::Cases(vec![
            ("", &[], &["s3:GetObject object", "s3:GetObjectAttributes object"]),
            (VERSION, &[], &["s3:GetObjectVersion object", "s3:GetObjectVersionAttributes object"]),
        ])),
        "MetadataSearch" => Some(Entry::Cases(vec![("", &[], &["s3:ListBucket bucket", "s3:MetadataSearch bucket"])])),
        "CopyObject" => Some(Entry::Cases(vec![
            ("", &[], &["s3:PutObject object", "s3:GetObject source"]),
            ("", OF_VERSION, &["s3:PutObject object", "s3:GetObjectVersion source"]),
            ("", TAGGED, &["s3:PutObject object", "s3:PutObjectTagging written", "s3:GetObject source"]),
            ("", LISTED, &["s3:PutObject object", "s3:PutObjectAcl written", "s3:GetObject source"]),
            ("", KEPT, &["s3:PutObject object", "s3:GetObject source", "s3:PutObjectRetention object"]),
            ("", MATCHED, &["s3:PutObject object", "s3:GetObject object", "s3:GetObject source"]),
        ])),
        "RenameObject" => Some(Entry::Cases(vec![(
            "",
            &[],
            &["s3:PutObject object", "s3:GetObject object", "s3:DeleteObject object"],
        )])),
        "UploadPartCopy" => Some(Entry::Cases(vec![
            ("", &[], &["s3:PutObject upload", "s3:GetObject source"]),
            ("", OF_VERSION, &["s3:PutObject upload", "s3:GetObjectVersion source"]),
        ])),
        _ => None,
    }
}

/// The head of a request for a row, with more in its query and its headers.
fn head(route: &Route, query: &str, headers: &[(&str, &str)]) -> Head {
    let pattern = &route.pattern;
    let mut parts: Vec<String> = pattern
        .query
        .iter()
        .map(|name| match *name {
            "uploadId" => format!("uploadId={}", "ab".repeat(16)),
            "partNumber" => "partNumber=1".to_owned(),
            "id" => "id=a".to_owned(),
            "annotationName" => "annotationName=note".to_owned(),
            "search" => "search=tags.a%3D1".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    // Known to no pattern, since they do not tell rows apart.
    if pattern.method != "GET" {
        parts.push("id=a&annotationName=note".to_owned());
    }
    parts.push(query.to_owned());
    let mut map = HeaderMap::new();
    let mut set = |name: &str, value: &str| {
        map.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    };
    set("x-amz-object-attributes", "ETag");
    set("x-amz-rename-source", "from");
    set("content-type", "multipart/form-data; boundary=line");
    if !pattern.header.is_empty() {
        set(pattern.header, "from/key");
    }
    for (name, value) in headers {
        set(name, value);
    }
    let mut head = Head::new(pattern.method.clone(), map, &parts.join("&")).unwrap();
    "box".clone_into(&mut head.bucket);
    "key".clone_into(&mut head.key);
    head
}

fn told(need: &Need) -> String {
    let (kind, place) = match &need.target {
        Target::Service => ("service", String::new()),
        Target::NewBucket(name) => ("new", name.to_string()),
        Target::Bucket(name) => ("bucket", name.to_string()),
        Target::Object(object) => ("object", object.bucket.to_string()),
        Target::Source(object) => ("source", object.bucket.to_string()),
        Target::Written(object) => ("written", object.bucket.to_string()),
        Target::Upload(object, _) => ("upload", object.bucket.to_string()),
    };
    let expected = match kind {
        "service" => "",
        "source" => "from",
        _ => "box",
    };
    assert_eq!(place, expected, "{need:?}");
    format!("{} {kind}", need.action)
}

fn needs(route: &Route, query: &str, headers: &[(&str, &str)]) -> Vec<String> {
    let needs = (route.needs)(&head(route, query, headers)).unwrap_or_else(|e| panic!("{} {query}: {e:?}", route.name));
    needs.iter().map(told).collect()
}

#[test]
fn every_operation_asks_for_the_permissions_that_s3_says() {
    let mut judged_by_body = Vec::new();
    for route in OPERATIONS {
        let name = route.name;
        match entry(name).unwrap_or_else(|| panic!("{name} has no entry in the table of permissions")) {
            Entry::Cases(cases) => {
                for (query, headers, expected) in cases {
                    assert_eq!(needs(route, query, headers), expected, "{name} {query} {headers:?}");
                }
            }
            Entry::ByBody => {
                assert_eq!(needs(route, "", &[]), Vec::<String>::new(), "{name}");
                judged_by_body.push(name);
            }
        }
    }
    // These ask in `run`; `conditions` and `writes` have the tests of that.
    assert_eq!(judged_by_body, ["DeleteObjects", "PostObject"]);
}
