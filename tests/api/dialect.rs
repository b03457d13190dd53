//! `cloudserver.compat.dialect`: codes, statuses and leniency where AWS and Ceph RGW disagree. Each point of the table
//! in docs/compatibility.md ("Dialects") is asked for in both.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cloudserver::types::{Checksum, ChecksumAlgorithm, Dialect};
use md5::{Digest as _, Md5};

use crate::{
    multipart::{Upload, document},
    support::{
        client::{Call, Client},
        sign::Scheme,
        world::{World, refused},
    },
};

const BOTH: [Dialect; 2] = [Dialect::Aws, Dialect::Ceph];
const AWS_KMS: (&str, &str) = ("x-amz-server-side-encryption", "aws:kms");

/// A server that speaks this dialect, whose uploads may have parts of any size.
async fn speaking(dialect: Dialect) -> World {
    World::with(|config| {
        config.mpu_testing = true;
        config.compat.dialect = dialect;
    })
    .await
}

/// With a client's key; `prefix` is empty or `copy-source-`.
fn sealed(call: Call, prefix: &str, key: u8) -> Call {
    let name = |tail: &str| format!("x-amz-{prefix}server-side-encryption-customer-{tail}");
    call.header(&name("algorithm"), "AES256")
        .header(&name("key"), BASE64_STANDARD.encode([key; 32]))
        .header(&name("key-md5"), BASE64_STANDARD.encode(Md5::digest([key; 32])))
}

fn sha256(body: &str) -> String {
    Checksum::of(ChecksumAlgorithm::Sha256, body.as_bytes()).to_base64()
}

fn tagging(count: usize) -> String {
    let tags: String = (0..count).map(|number| format!("<Tag><Key>k{number}</Key><Value>v</Value></Tag>")).collect();
    format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
}

fn default_retention(period: &str) -> String {
    format!(
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
         <Mode>GOVERNANCE</Mode>{period}</DefaultRetention></Rule></ObjectLockConfiguration>"
    )
}

/// Requests that both dialects refuse, with the answers of AWS and of Ceph.
type Refused = Vec<(Call, (u16, &'static str), (u16, &'static str))>;

fn reads(bart: &Client) -> Refused {
    let attributes = bart.get("/talk/sealed?attributes").header("x-amz-object-attributes", "ETag");
    let copy = bart.put("/talk/copy", "").header("x-amz-copy-source", "/talk/sealed");
    let (denied, invalid) = ((403, "AccessDenied"), (400, "InvalidArgument"));
    let (beyond, no_part) = ((416, "InvalidPartNumber"), (400, "InvalidPart"));
    vec![
        (bart.get("/talk/plain?partNumber=2"), beyond, no_part),
        (bart.head("/talk/plain?partNumber=2"), beyond, no_part),
        (sealed(bart.get("/talk/sealed?partNumber=2"), "", 1), beyond, no_part),
        (bart.get("/talk/sealed?partNumber=2"), (400, "InvalidRequest"), no_part),
        // A part that is there needs the key in any dialect.
        (bart.get("/talk/sealed?partNumber=1"), (400, "InvalidRequest"), (400, "InvalidRequest")),
        (sealed(bart.get("/talk/sealed"), "", 2), denied, invalid),
        (sealed(bart.head("/talk/sealed"), "", 2), denied, invalid),
        (sealed(attributes, "", 2), denied, invalid),
        (sealed(copy, "copy-source-", 2), denied, invalid),
        (bart.get("/talk/plain?torrent"), (501, "NotImplemented"), (404, "NoSuchKey")),
        (bart.get("/talk/%C2%AE%C2%8A-"), (404, "NoSuchKey"), (400, "InvalidURI")),
    ]
}

fn writes(bart: &Client, upload: &Upload) -> Refused {
    let (request, digest) = ((400, "InvalidRequest"), (400, "BadDigest"));
    let (argument, period) = ((400, "InvalidArgument"), (400, "InvalidRetentionPeriod"));
    let (excess, tag) = ((400, "BadRequest"), (400, "InvalidTag"));
    let lock = |text: &str| bart.put("/locked?object-lock", default_retention(text)).digested();
    let range = bart.put(&format!("{}?partNumber=2&uploadId={}", upload.path, upload.id), "");
    let range = range.header("x-amz-copy-source", "/talk/plain").header("x-amz-copy-source-range", "bytes=0-21");
    let header = (0..11).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join("&");
    vec![
        (bart.put("/talk/a", "x").header("x-amz-checksum-sha256", "bad"), request, digest),
        (bart.put("/talk/a", "x").header("x-amz-checksum-crc64nvme", "bad"), request, digest),
        (upload.put(2, "x").header("x-amz-checksum-crc32", "bad"), request, digest),
        (upload.complete(&[(1, "\"x\"")]).header("x-amz-checksum-sha256", "bad"), request, digest),
        (bart.put("/talk/plain?tagging", tagging(11)).digested(), excess, tag),
        (bart.put("/talk/a", "x").header("x-amz-tagging", header), excess, tag),
        (bart.put("/talk?tagging", tagging(51)).digested(), excess, tag),
        (lock("<Days>0</Days>"), argument, period),
        (lock("<Days>-1</Days>"), argument, period),
        (lock("<Years>-1</Years>"), argument, period),
        (lock("<Years>101</Years>"), argument, period),
        (range, argument, (416, "InvalidRange")),
    ]
}

#[tokio::test]
async fn what_both_refuse_is_refused_with_the_code_of_the_dialect() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.bucket("talk").await;
        bart.put("/locked", "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
        bart.put("/talk/plain", "plain").expect(200).await;
        sealed(bart.put("/talk/sealed", "sealed"), "", 1).expect(200).await;
        let upload = Upload::begin(&bart, "/talk/upload").await;
        upload.part(1, "part").await;
        for (call, aws, ceph) in reads(&bart).into_iter().chain(writes(&bart, &upload)) {
            let (status, code) = dialect.pick(aws, ceph);
            refused(&world, call, status, code).await;
        }
    }
}

#[tokio::test]
async fn a_lifetime_out_of_range_is_malformed_to_aws_and_denied_by_ceph() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.bucket("talk").await;
        bart.put("/talk/a", "x").expect(200).await;
        let (malformed, denied) = ((400, "AuthorizationQueryParametersError"), (403, "AccessDenied"));
        for (lifetime, ceph) in [("-7", denied), ("604801", denied), ("x", malformed), ("1.5", malformed)] {
            for method in ["GET", "PUT"] {
                let url = bart.call(method, "/talk/a").by(Scheme::QueryV4);
                let to = format!("X-Amz-Expires={lifetime}");
                let reply = url.spoiled(|request| request.target = request.target.replace("X-Amz-Expires=300", &to));
                let (status, code) = dialect.pick(malformed, ceph);
                reply.await.refused(status, code);
            }
        }
    }
}

#[tokio::test]
async fn the_rights_of_callers_do_not_depend_on_the_dialect() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.bucket("talk").await;
        bart.put("/talk/plain", "plain").expect(200).await;
        for somebody in [world.lisa(), world.nobody()] {
            for target in ["/talk/plain?partNumber=2", "/talk/plain", "/talk/absent", "/talk/%C2%8A"] {
                let reply = somebody.get(target).refused(403, "AccessDenied").await;
                assert_eq!(reply.header("x-amz-delete-marker"), None, "{target}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_of_control_characters_that_is_there_is_read_in_any_dialect() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.bucket("talk").await;
        bart.put("/talk/a%0Ab", "body").expect(200).await;
        bart.get("/talk/a%0Ab").expect(200).await.body_is("body");
        bart.delete("/talk/a%0Ab").expect(204).await;
        let gone = bart.get("/talk/a%0Ab").send().await;
        let message = dialect.pick("The specified key does not exist.", "Couldn't parse the specified URI.");
        assert_eq!(gone.tag("Message").as_deref(), Some(message));
    }
}

#[tokio::test]
async fn ceph_says_of_an_absent_key_that_no_marker_hides_it() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.versioned("talk").await;
        let absent = bart.head("/talk/a").expect(404).await;
        assert_eq!(absent.header("x-amz-delete-marker"), dialect.pick(None, Some("false")));
        bart.delete("/talk/a").expect(204).await;
        bart.head("/talk/a").expect(404).await.has("x-amz-delete-marker", "true");
        bart.put("/talk/copy", "")
            .header("x-amz-copy-source", "/talk/none")
            .expect(404)
            .await
            .lacks("x-amz-delete-marker");
    }
}

#[tokio::test]
async fn ceph_has_no_default_key_of_sse_kms() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.bucket("talk").await;
        let (name, value) = AWS_KMS;
        let put = bart.put("/talk/a", "x").header(name, value);
        let upload = bart.post("/talk/b?uploads", "").header(name, value);
        for call in [put, upload] {
            if dialect.is_ceph() {
                refused(&world, call, 400, "InvalidArgument").await;
            } else {
                call.expect(200).await;
            }
        }
    }
}

#[tokio::test]
async fn ceph_demands_the_key_of_an_upload_with_sse_c_when_it_is_completed() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.bucket("talk").await;
        let begun = sealed(bart.post("/talk/a?uploads", ""), "", 1).expect(200).await;
        let upload = Upload { client: bart.clone(), path: "/talk/a".to_owned(), id: begun.tag("UploadId").unwrap() };
        let etag = sealed(upload.put(1, "part"), "", 1).expect(200).await.etag();
        let complete = || upload.complete(&[(1, &etag)]);
        refused(&world, sealed(complete(), "", 2), 400, "InvalidRequest").await;
        if dialect.is_ceph() {
            refused(&world, complete(), 400, "InvalidRequest").await;
            sealed(complete(), "", 1).expect(200).await;
        } else {
            complete().expect(200).await;
        }
        sealed(bart.get("/talk/a"), "", 1).expect(200).await.body_is("part");
        // Where no key was given, none is asked for.
        let plain = Upload::begin(&bart, "/talk/b").await;
        let etag = plain.part(1, "part").await;
        plain.complete(&[(1, &etag)]).expect(200).await;
    }
}

#[tokio::test]
async fn metadata_beyond_ascii_comes_back_as_encoded_words_or_as_it_is() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.bucket("talk").await;
        for sent in ["Grüße", "=?UTF-8?B?R3LDvMOfZQ==?="] {
            bart.put("/talk/a", "x").header("x-amz-meta-greeting", sent).unsigned().expect(200).await;
            let got = bart.get("/talk/a").expect(200).await;
            got.has("x-amz-meta-greeting", dialect.pick("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"));
        }
        bart.put("/talk/a", "x").header("x-amz-meta-greeting", "plain").expect(200).await;
        bart.head("/talk/a").expect(200).await.has("x-amz-meta-greeting", "plain");
    }
}

#[tokio::test]
async fn ceph_completes_a_composite_upload_without_the_checksums_of_its_parts() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.bucket("talk").await;
        let upload = Upload::begin_with(&bart, "/talk/a", &[("x-amz-checksum-algorithm", "SHA256")]).await;
        let mut parts = Vec::new();
        for (number, body) in [(1, "one"), (2, "two")] {
            let sum = sha256(body);
            parts
                .push((number, upload.put(number, body).header("x-amz-checksum-sha256", sum).expect(200).await.etag()));
        }
        let listed: Vec<_> = parts.iter().map(|(number, etag)| (*number, etag.as_str())).collect();
        if dialect.is_ceph() {
            // A checksum that is listed is checked all the same.
            let wrong = document(&listed).replacen(
                "</ETag>",
                &format!("</ETag><ChecksumSHA256>{}</ChecksumSHA256>", sha256("x")),
                1,
            );
            refused(&world, upload.completion(&wrong), 400, "InvalidPart").await;
            upload.complete(&listed).expect(200).await.with("ChecksumType", "COMPOSITE");
        } else {
            refused(&world, upload.complete(&listed), 400, "InvalidRequest").await;
        }
    }
}

#[tokio::test]
async fn to_ceph_the_last_of_equal_part_numbers_counts() {
    for dialect in BOTH {
        let world = speaking(dialect).await;
        let bart = world.bucket("talk").await;
        let upload = Upload::begin(&bart, "/talk/a").await;
        let first = upload.part(1, "first").await;
        let second = upload.part(1, "second").await;
        let other = upload.part(2, "other").await;
        // What descends is out of order to both.
        refused(&world, upload.complete(&[(2, &other), (1, &second)]), 400, "InvalidPartOrder").await;
        let twice = upload.complete(&[(1, &first), (1, &second), (2, &other)]);
        if dialect.is_ceph() {
            refused(&world, upload.complete(&[(1, &second), (1, &first)]), 400, "InvalidPart").await;
            twice.expect(200).await;
            bart.get("/talk/a").expect(200).await.body_is("secondother");
        } else {
            refused(&world, twice, 400, "InvalidPartOrder").await;
        }
    }
}
