//! Every row of the table of operations, with requests that nobody should send.

use cloudserver::{
    s3::{
        operation::{Route, Scope},
        table::OPERATIONS,
    },
    types::BucketName,
};

use crate::support::{
    client::{Call, Client},
    sign::Scheme,
    wire::Reply,
    world::World,
};

/// A small generator: the same requests each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 20
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.roll()).unwrap() % all.len()]
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.roll().is_multiple_of(one_in)
    }
}

const BUCKETS: [&str; 3] = ["plain", "kept", "absent"];
const KEYS: [&str; 7] =
    ["a", "b", "dir/c", "dir/", ".system-d26a9498-cb7c-4a87-a44a-8ae204f5ba6c/system.xml", "%2e%2e/x", "%00%ff"];
const QUERIES: &[&str] = &[
    "versionId=null",
    "versionId=",
    "versionId=%00",
    "versionId=3939393939393939393939393939393939393939",
    "prefix=dir/",
    "prefix=%F0%9F%98%80",
    "delimiter=/",
    "delimiter=",
    "max-keys=1",
    "max-keys=-1",
    "max-keys=99999999999999999999",
    "max-parts=0",
    "max-uploads=1",
    "encoding-type=url",
    "encoding-type=x",
    "marker=zzz",
    "key-marker=a",
    "version-id-marker=null",
    "upload-id-marker=ffff",
    "continuation-token=%21%21",
    "continuation-token=YQ==",
    "start-after=a",
    "fetch-owner=true",
    "list-type=2",
    "partNumber=1",
    "partNumber=10001",
    "uploadId=x",
    "uploads",
    "tagging",
    "acl",
    "id=",
    "id=a%0Ab",
    "annotationName=n",
    "annotationName=aws",
    "annotation-prefix=n",
    "max-annotation-results=0",
    "search=((((",
    "search=key%20LIKE%20%27(a*)*b%27",
    "search=content-length%3E0",
    "response-content-type=a%0d%0ab",
    "response-expires=x",
    "x-id=Anything",
    "renameObject",
    "X-Amz-Acl=public-read",
    "x-amz-copy-source=plain/a",
];
const HEADERS: &[(&str, &[&str])] = &[
    ("range", &["bytes=0-0", "bytes=-1", "bytes=9-1", "bytes=0-99999999999999999999", "bytes=0-1,3-4", "x"]),
    ("if-match", &["*", "\"a\"", "W/\"a\"", ",,,", ""]),
    ("if-none-match", &["*", "\"a\"", ""]),
    ("if-modified-since", &["x", "Sun, 06 Nov 1994 08:49:37 GMT"]),
    ("if-range", &["\"a\"", "x"]),
    ("content-md5", &["x", "1B2M2Y8AsgTpgAmY7PhCfg=="]),
    ("content-encoding", &["aws-chunked", "gzip", "aws-chunked,gzip"]),
    ("content-type", &["", "multipart/form-data; boundary=b", "multipart/form-data", "text/xml"]),
    ("x-amz-checksum-crc32", &["AAAAAA==", "x"]),
    ("x-amz-checksum-sha256", &["x"]),
    ("x-amz-checksum-algorithm", &["CRC32", "XXHASH128", "x"]),
    ("x-amz-checksum-type", &["FULL_OBJECT", "COMPOSITE", "x"]),
    ("x-amz-sdk-checksum-algorithm", &["CRC32", "x"]),
    ("x-amz-trailer", &["x-amz-checksum-crc32", "x"]),
    ("x-amz-decoded-content-length", &["0", "-1", "18446744073709551616"]),
    ("x-amz-acl", &["private", "public-read-write", "x"]),
    (
        "x-amz-grant-read",
        &["id=\"x\"", "emailAddress=x", "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"", ","],
    ),
    ("x-amz-tagging", &["a=b", "a=b&a=c", "%", "=", "&&&"]),
    ("x-amz-tagging-directive", &["REPLACE", "x"]),
    ("x-amz-metadata-directive", &["REPLACE", "x"]),
    ("x-amz-copy-source", &["plain/a", "/kept/b?versionId=null", "plain", "%", "absent/x", "plain/%00?versionId=x"]),
    ("x-amz-copy-source-range", &["bytes=0-0", "bytes=5-1", "x"]),
    ("x-amz-copy-source-if-match", &["*", "x"]),
    ("x-amz-rename-source", &["a", "b", "plain/a", "%", "", "/absent/a"]),
    ("x-amz-client-token", &["t", ""]),
    ("x-amz-write-offset-bytes", &["0", "1", "-1", "99999999999999999999"]),
    ("x-amz-mp-object-size", &["1", "x"]),
    ("x-amz-storage-class", &["STANDARD", "GLACIER", "x"]),
    ("x-amz-website-redirect-location", &["/x", "http://a/", "x", "//a"]),
    ("x-amz-server-side-encryption", &["AES256", "aws:kms", "aws:kms:dsse", "x"]),
    ("x-amz-server-side-encryption-aws-kms-key-id", &["k", "../../x", ""]),
    ("x-amz-server-side-encryption-context", &["e30=", "x"]),
    ("x-amz-server-side-encryption-customer-algorithm", &["AES256", "x"]),
    ("x-amz-server-side-encryption-customer-key", &["x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]),
    ("x-amz-object-attributes", &["ETag", "ObjectParts,Checksum,ObjectSize", "x", ","]),
    ("x-amz-max-parts", &["0", "x"]),
    ("x-amz-part-number-marker", &["10001", "-1"]),
    ("x-amz-expected-bucket-owner", &["x", "123456789012"]),
    ("x-amz-source-expected-bucket-owner", &["x"]),
    ("x-amz-request-payer", &["requester", "x"]),
    ("x-amz-if-match-size", &["1", "x"]),
    ("x-amz-if-match-last-modified-time", &["x", "2020-01-01T00:00:00Z"]),
    ("x-amz-object-annotation-directive", &["EXCLUDE", "x"]),
    ("x-amz-object-if-match", &["x", "*"]),
    ("x-amz-object-lock-mode", &["GOVERNANCE", "x"]),
    ("x-amz-object-ownership", &["BucketOwnerEnforced", "ObjectWriter", "x"]),
    ("x-amz-mfa", &["x"]),
    ("origin", &["http://a", "null"]),
    ("expect", &["100-continue"]),
    ("user-agent", &["a\" \"b"]),
    ("referer", &["http://a/\"x\" y"]),
];
const BODIES: &[&str] = &[
    "",
    "x",
    "{}",
    "[",
    "<",
    "<a/>",
    "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
    "<Delete><Object><Key>a</Key></Object><Object><Key>dir/c</Key><VersionId>null</VersionId></Object></Delete>",
    "<Delete><Object><Key></Key></Object></Delete>",
    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
    "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>",
    "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
    "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
    "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>",
    "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
    "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate></Retention>",
    "<LegalHold><Status>ON</Status></LegalHold>",
    "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
    "<BucketLoggingStatus><LoggingEnabled><TargetBucket>plain</TargetBucket><TargetPrefix>log/</TargetPrefix></LoggingEnabled></BucketLoggingStatus>",
    "{\"quota\": 100000}",
    "{\"Version\":\"2012-10-17\",\"Statement\":[]}",
    "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nform\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--b--\r\n",
    "--b\r\nContent-Disposition: form-data; name=\"file\"",
];

/// A request for a row: its own marks, and whatever the dice add.
fn request(route: &Route, client: &Client, dice: &mut Dice) -> Call {
    let upload = "ab".repeat(16);
    let mut query: Vec<String> = Vec::new();
    for name in route.pattern.query {
        query.push(match *name {
            "uploadId" if dice.chance(2) => format!("uploadId={upload}"),
            "partNumber" if dice.chance(2) => "partNumber=1".to_owned(),
            "annotation" if dice.chance(2) => "annotation&annotationName=n".to_owned(),
            "search" => "search=key%3C%3Ea".to_owned(),
            other => other.to_owned(),
        });
    }
    for _ in 0..dice.roll() % 3 {
        query.push((*dice.one_of(QUERIES)).to_owned());
    }
    let path = match route.pattern.scope {
        Scope::Service => "/".to_owned(),
        Scope::Bucket => format!("/{}", dice.one_of(&BUCKETS)),
        Scope::Object => format!("/{}/{}", dice.one_of(&BUCKETS), dice.one_of(&KEYS)),
    };
    let target = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    let mut call = client.call(route.pattern.method.as_str(), &target);
    if !route.pattern.header.is_empty() {
        call = call.header(route.pattern.header, "plain/a");
    }
    if route.name == "RenameObject" {
        call = call.header("x-amz-rename-source", dice.one_of(&["a", "b", "dir/c"]));
    }
    for _ in 0..dice.roll() % 4 {
        let (name, values) = dice.one_of(HEADERS);
        call = call.header(name, dice.one_of(values));
    }
    call = call.body(dice.one_of(BODIES));
    if dice.chance(2) { call.digested() } else { call }
}

fn check(reply: &Reply, route: &Route) {
    assert!(reply.status < 500 || reply.status == 501, "{}: {reply}", route.name);
    assert!(reply.header("x-amz-request-id").is_some(), "{}: {reply}", route.name);
    if reply.status >= 400 && route.pattern.method != "HEAD" {
        assert!(reply.tag("Code").is_some(), "{}: {reply}", route.name);
    }
}

/// Takes away whatever lies in a bucket, and the bucket.
async fn clear(world: &World, bart: &Client, bucket: &str) {
    for setting in ["policy", "quota", "publicAccessBlock", "ownershipControls", "encryption"] {
        bart.delete(&format!("/{bucket}?{setting}")).send().await;
    }
    let payer = "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>";
    bart.put(&format!("/{bucket}?requestPayment"), payer).digested().send().await;
    for upload in bart.get(&format!("/{bucket}?uploads")).expect(200).await.elements("Upload") {
        let (key, id) = (upload.tag("Key").unwrap(), upload.tag("UploadId").unwrap());
        let path = crate::support::world::path(bucket, &key);
        bart.delete(&format!("{path}?uploadId={id}")).expect(204).await;
    }
    loop {
        let page = bart.get(&format!("/{bucket}?versions")).expect(200).await;
        let all = [page.elements("Version"), page.elements("DeleteMarker")].concat();
        if all.is_empty() {
            break;
        }
        for version in all {
            let (key, id) = (version.tag("Key").unwrap(), version.tag("VersionId").unwrap());
            let path = crate::support::world::path(bucket, &key);
            bart.delete(&format!("{path}?versionId={id}")).expect(204).await;
        }
    }
    let found = world.storage().bucket(&BucketName::new(bucket).unwrap()).await.unwrap();
    let usage = world.storage().usage(&found).await.unwrap();
    assert_eq!((usage.objects, usage.versions, usage.bytes, usage.upload_bytes), (0, 0, 0, 0), "{bucket}");
    bart.delete(&format!("/{bucket}")).expect(204).await;
}

/// `HOSTILE_REQUESTS` asks for more than the usual number.
fn count() -> usize {
    std::env::var("HOSTILE_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_breaks_and_the_counters_are_exact_after_all_of_them() {
    let world = World::small_parts().await;
    let bart = world.bucket("plain").await;
    world.versioned("kept").await;
    let mut dice = Dice(20_261_122);
    for round in 0..count() {
        let route = &OPERATIONS[round % OPERATIONS.len()];
        if round % 50 == 0 {
            // Something to work on, whatever the requests before have removed.
            for bucket in ["plain", "kept"] {
                bart.put(&format!("/{bucket}"), "").send().await;
                bart.put(&format!("/{bucket}/a"), "some text").send().await;
                bart.put(&format!("/{bucket}/a?annotation&annotationName=n"), "note").send().await;
                let begun = bart.post(&format!("/{bucket}/b?uploads"), "").send().await;
                if let Some(id) = begun.tag("UploadId") {
                    bart.put(&format!("/{bucket}/b?partNumber=1&uploadId={id}"), "part").send().await;
                }
            }
        }
        let scheme = *dice.one_of(&[Scheme::HeaderV4, Scheme::HeaderV4, Scheme::QueryV4, Scheme::HeaderV2]);
        check(&request(route, &bart, &mut dice).by(scheme).send().await, route);
    }
    for bucket in ["plain", "kept"] {
        bart.put(&format!("/{bucket}"), "").send().await;
        clear(&world, &bart, bucket).await;
    }
    world.sound().await;
    assert!(world.blobs().await.is_empty(), "blobs are left");
}

/// One of everything that changes what a bucket holds. Whatever is refused is refused by the quota, or because another
/// was faster.
async fn write_somehow(bart: &Client, name: u64, dice: &mut Dice) {
    let (mine, other) = (format!("/tight/k{name}"), format!("tight/k{}", dice.roll() % 64));
    let text = "x".repeat(usize::try_from(dice.roll() % 300).unwrap());
    let reply = match dice.roll() % 9 {
        0 | 1 => bart.put(&mine, &text).send().await,
        2 => bart.put(&mine, "").header("x-amz-copy-source", &other).send().await,
        3 => {
            let now = bart.head(&mine).send().await;
            let size = now.header("content-length").filter(|_| now.status == 200).unwrap_or("0").to_owned();
            bart.put(&mine, &text).header("x-amz-write-offset-bytes", size).send().await
        }
        4 => {
            let source = dice.roll() % 64;
            bart.put(&format!("{mine}?renameObject"), "")
                .header("x-amz-rename-source", format!("k{source}"))
                .send()
                .await
        }
        5 => bart.put(&format!("{mine}?annotation&annotationName=n{}", dice.roll() % 3), &text).send().await,
        6 => bart.delete(&mine).send().await,
        _ => {
            let begun = bart.post(&format!("{mine}?uploads"), "").send().await;
            let Some(id) = begun.tag("UploadId") else { return };
            let part = bart.put(&format!("{mine}?partNumber=1&uploadId={id}"), &text).send().await;
            let tag = part.header("etag").unwrap_or("none").to_owned();
            let list = format!("<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>");
            let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
            let end = || bart.post(&format!("{mine}?uploadId={id}"), &list);
            // Asked twice at once, it happens once.
            let twice = (end(), end());
            let (one, two) = tokio::join!(twice.0.send(), twice.1.send());
            if one.status != 200 && two.status != 200 {
                bart.delete(&format!("{mine}?uploadId={id}")).send().await;
            }
            one
        }
    };
    assert!(reply.status < 500, "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_of_every_kind_keep_the_quota_and_the_counters() {
    const LIMIT: i64 = 6000;
    let world = World::small_parts().await;
    let bart = world.bucket("tight").await;
    bart.put("/tight?quota", format!(r#"{{"quota": {LIMIT}}}"#)).expect(200).await;
    let bucket = world.storage().bucket(&BucketName::new("tight").unwrap()).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for name in 0..64 {
        let bart = world.bart();
        writers.spawn(async move {
            let mut dice = Dice(name * 7919);
            for _ in 0..12 {
                write_somehow(&bart, name % 16, &mut dice).await;
            }
        });
    }
    let mut largest = 0;
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
        let usage = world.storage().usage(&bucket).await.unwrap();
        assert!(usage.stored_bytes() <= LIMIT && usage.bytes >= 0 && usage.upload_bytes >= 0, "{usage:?}");
        largest = largest.max(usage.stored_bytes());
    }
    assert!(largest > LIMIT / 2, "{largest} bytes are no race for {LIMIT}");
    clear(&world, &bart, "tight").await;
    world.sound().await;
    assert!(world.blobs().await.is_empty(), "blobs are left");
}

#[tokio::test]
async fn no_row_lets_a_stranger_in_or_tells_what_exists() {
    let world = World::new().await;
    let bart = world.bucket("private").await;
    bart.put("/private/there", "text").expect(200).await;
    bart.put("/private/there?annotation&annotationName=n", "note").expect(200).await;
    let before = world.stored().await;
    for route in OPERATIONS {
        // These ask nothing of a bucket that is there, or answer for each key by itself.
        if matches!(route.name, "ListBuckets" | "CreateBucket" | "DeleteObjects" | "PostObject") {
            continue;
        }
        for client in [world.lisa(), world.nobody()] {
            let mut codes = Vec::new();
            for (key, condition) in [("there", ""), ("absent", ""), ("there", "*"), ("absent", "*")] {
                let path = match route.pattern.scope {
                    Scope::Service => "/".to_owned(),
                    Scope::Bucket => "/private".to_owned(),
                    Scope::Object => format!("/private/{key}"),
                };
                let upload = "ab".repeat(16);
                let query: Vec<String> = route
                    .pattern
                    .query
                    .iter()
                    .map(|name| match *name {
                        "uploadId" => format!("uploadId={upload}"),
                        "partNumber" => "partNumber=1".to_owned(),
                        "annotation" => "annotation&annotationName=n".to_owned(),
                        "search" => "search=key%3C%3Ea".to_owned(),
                        "id" => "id=a".to_owned(),
                        other => other.to_owned(),
                    })
                    .chain(["id=a".to_owned()])
                    .collect();
                let mut call = client.call(route.pattern.method.as_str(), &format!("{path}?{}", query.join("&")));
                call = call.header("x-amz-object-attributes", "ETag").header("x-amz-rename-source", key);
                if !route.pattern.header.is_empty() {
                    call = call.header(route.pattern.header, format!("private/{key}"));
                }
                if !condition.is_empty() {
                    call = call.header("if-none-match", condition);
                }
                let reply = call.send().await;
                // Ids of uploads cannot be guessed: that there is none of this one tells nothing.
                let is_upload = reply.tag("Code").as_deref() == Some("NoSuchUpload");
                assert!([400, 403].contains(&reply.status) || is_upload, "{}: {reply}", route.name);
                codes.push((reply.status, reply.tag("Code")));
            }
            codes.dedup();
            assert_eq!(codes.len(), 1, "{} tells by {codes:?}", route.name);
        }
    }
    before.assert_same(&world.stored().await, "a stranger");
    world.sound().await;
}
