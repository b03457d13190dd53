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
const KEPT: &[(&str, &str)] =
    &[("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z")];
const HELD: &[(&str, &str)] = &[("x-amz-object-lock-legal-hold", "ON")];
const VERSION: &str = "versionId=null";
const OF_VERSION: &[(&str, &str)] = &[("x-amz-copy-source", "from/key?versionId=null")];

/// What a write needs besides its own, by its headers.
const WRITES: [Case; 5] = [
    ("", TAGGED, &["s3:PutObjectTagging written"]),
    ("", LISTED, &["s3:PutObjectAcl written"]),
    ("", GRANTED, &["s3:PutObjectAcl written"]),
    ("", KEPT, &["s3:PutObjectRetention object"]),
    ("", HELD, &["s3:PutObjectLegalHold object"]),
];

/// The needs of each row; `None` for an operation whose body says what it is about, and which asks key by key.
fn cases(name: &str) -> Option<Option<Vec<Case>>> {
    let one = |needs: &'static [&'static str]| Some(Some(vec![("", &[][..], needs)]));
    let versioned = |plain: &'static [&'static str], version: &'static [&'static str]| {
        Some(Some(vec![("", &[][..], plain), (VERSION, &[][..], version)]))
    };
    match name {
        "DeleteObjects" | "PostObject" => Some(None),
        "AbortMultipartUpload" => one(&["s3:AbortMultipartUpload upload"]),
        "CompleteMultipartUpload" | "UploadPart" => one(&["s3:PutObject upload"]),
        "CopyObject" => Some(Some(vec![
            ("", &[], &["s3:PutObject object", "s3:GetObject source"]),
            ("", OF_VERSION, &["s3:PutObject object", "s3:GetObjectVersion source"]),
            ("", TAGGED, &["s3:PutObject object", "s3:PutObjectTagging written", "s3:GetObject source"]),
            ("", LISTED, &["s3:PutObject object", "s3:PutObjectAcl written", "s3:GetObject source"]),
            ("", KEPT, &["s3:PutObject object", "s3:PutObjectRetention object", "s3:GetObject source"]),
        ])),
        "UploadPartCopy" => Some(Some(vec![
            ("", &[], &["s3:PutObject upload", "s3:GetObject source"]),
            ("", OF_VERSION, &["s3:PutObject upload", "s3:GetObjectVersion source"]),
        ])),
        "CreateMultipartUpload" | "PutObject" => Some(Some(vec![("", &[], &["s3:PutObject object"])])),
        "CreateBucket" => one(&["s3:CreateBucket new"]),
        "DeleteBucket" => one(&["s3:DeleteBucket bucket"]),
        "DeleteBucketCors" | "PutBucketCors" => one(&["s3:PutBucketCORS bucket"]),
        "DeleteBucketLifecycle" | "PutBucketLifecycleConfiguration" => one(&["s3:PutLifecycleConfiguration bucket"]),
        "DeleteBucketOwnershipControls" | "PutBucketOwnershipControls" => {
            one(&["s3:PutBucketOwnershipControls bucket"])
        }
        "DeleteBucketPolicy" => one(&["s3:DeleteBucketPolicy bucket"]),
        "DeleteBucketTagging" | "PutBucketTagging" => one(&["s3:PutBucketTagging bucket"]),
        "DeleteObject" => versioned(&["s3:DeleteObject object"], &["s3:DeleteObjectVersion object"]),
        "DeleteObjectTagging" => {
            versioned(&["s3:DeleteObjectTagging object"], &["s3:DeleteObjectVersionTagging object"])
        }
        "DeletePublicAccessBlock" | "PutPublicAccessBlock" => one(&["s3:PutBucketPublicAccessBlock bucket"]),
        "GetBucketAcl" => one(&["s3:GetBucketAcl bucket"]),
        "GetBucketCors" => one(&["s3:GetBucketCORS bucket"]),
        "GetBucketLifecycleConfiguration" => one(&["s3:GetLifecycleConfiguration bucket"]),
        "GetBucketLocation" => one(&["s3:GetBucketLocation bucket"]),
        "GetBucketOwnershipControls" => one(&["s3:GetBucketOwnershipControls bucket"]),
        "GetBucketPolicy" => one(&["s3:GetBucketPolicy bucket"]),
        "GetBucketPolicyStatus" => one(&["s3:GetBucketPolicyStatus bucket"]),
        "GetBucketRequestPayment" => one(&["s3:GetBucketRequestPayment bucket"]),
        "GetBucketTagging" => one(&["s3:GetBucketTagging bucket"]),
        "GetBucketVersioning" => one(&["s3:GetBucketVersioning bucket"]),
        "GetObject" | "HeadObject" => versioned(&["s3:GetObject object"], &["s3:GetObjectVersion object"]),
        "GetObjectAcl" => versioned(&["s3:GetObjectAcl object"], &["s3:GetObjectVersionAcl object"]),
        "GetObjectAttributes" => {
            versioned(&["s3:GetObjectAttributes object"], &["s3:GetObjectVersionAttributes object"])
        }
        "GetObjectTagging" => versioned(&["s3:GetObjectTagging object"], &["s3:GetObjectVersionTagging object"]),
        "GetPublicAccessBlock" => one(&["s3:GetBucketPublicAccessBlock bucket"]),
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => one(&["s3:ListBucket bucket"]),
        "ListBuckets" => one(&["s3:ListAllMyBuckets service"]),
        "ListMultipartUploads" => one(&["s3:ListBucketMultipartUploads bucket"]),
        "ListObjectVersions" => one(&["s3:ListBucketVersions bucket"]),
        "ListParts" => one(&["s3:ListMultipartUploadParts upload"]),
        "PutBucketAcl" => one(&["s3:PutBucketAcl bucket"]),
        "PutBucketPolicy" => one(&["s3:PutBucketPolicy bucket"]),
        "PutBucketRequestPayment" => one(&["s3:PutBucketRequestPayment bucket"]),
        "PutBucketVersioning" => one(&["s3:PutBucketVersioning bucket"]),
        "PutObjectAcl" => versioned(&["s3:PutObjectAcl object"], &["s3:PutObjectVersionAcl object"]),
        "PutObjectTagging" => versioned(&["s3:PutObjectTagging object"], &["s3:PutObjectVersionTagging object"]),
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
            other => other.to_owned(),
        })
        .collect();
    parts.push(query.to_owned());
    let mut map = HeaderMap::new();
    let mut set = |name: &str, value: &str| {
        map.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    };
    set("x-amz-object-attributes", "ETag");
    set("content-type", "multipart/form-data; boundary=line");
    if !pattern.header.is_empty() {
        set(pattern.header, "from/key");
    }
    for (name, value) in headers {
        set(name, value);
    }
    let mut head = Head::new(pattern.method.clone(), map, &parts.join("&")).unwrap();
    head.bucket = "box".to_owned();
    head.key = "key".to_owned();
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
        let cases = cases(name).unwrap_or_else(|| panic!("{name} has no entry in the table of permissions"));
        let Some(cases) = cases else {
            assert_eq!(needs(route, "", &[]), Vec::<String>::new(), "{name}");
            judged_by_body.push(name);
            continue;
        };
        for (query, headers, expected) in cases {
            assert_eq!(needs(route, query, headers), expected, "{name} {query} {headers:?}");
            if let Some((_, _, [first, ..])) =
                matches!(name, "PutObject" | "CreateMultipartUpload").then_some(("", 0, expected))
            {
                for (query, headers, more) in WRITES {
                    let all: Vec<&str> = [*first].into_iter().chain(more.iter().copied()).collect();
                    assert_eq!(needs(route, query, headers), all, "{name} {headers:?}");
                }
            }
        }
    }
    // These ask in `run`; `conditions` and `writes` have the tests of that.
    assert_eq!(judged_by_body, ["DeleteObjects", "PostObject"]);
}
