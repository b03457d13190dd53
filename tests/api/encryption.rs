//! Server-side encryption on the wire (s3-wire-2.md §15): with the server's keys, with named keys, with clients' keys.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use md5::{Digest as _, Md5};

use crate::support::{
    client::{Call, Client, content_md5},
    sign::Scheme,
    wire::Reply,
    world::{World, refused},
};

const ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
const KEY: &str = "x-amz-server-side-encryption-customer-key";
const KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";
const METHOD: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";

/// The headers of a client's key; `prefix` is empty or `copy-source-`.
fn sse_c_for(call: Call, prefix: &str, key: [u8; 32]) -> Call {
    let name = |tail: &str| format!("x-amz-{prefix}server-side-encryption-customer-{tail}");
    call.header(&name("algorithm"), "AES256")
        .header(&name("key"), BASE64_STANDARD.encode(key))
        .header(&name("key-md5"), BASE64_STANDARD.encode(Md5::digest(key)))
}

fn sse_c(call: Call, key: u8) -> Call {
    sse_c_for(call, "", [key; 32])
}

fn from_sse_c(call: Call, key: u8) -> Call {
    sse_c_for(call, "copy-source-", [key; 32])
}

fn text(size: usize) -> Vec<u8> {
    (0..size).map(|place| u8::try_from(place * place % 251).unwrap()).collect()
}

fn shows_customer_key(reply: &Reply, key: u8) {
    assert_eq!(reply.header(ALGORITHM), Some("AES256"), "{reply}");
    assert_eq!(reply.header(KEY_MD5), Some(BASE64_STANDARD.encode(Md5::digest([key; 32])).as_str()), "{reply}");
    assert_eq!((reply.header(KEY), reply.header(METHOD)), (None, None), "{reply}");
}

fn set_default(client: &Client, bucket: &str, rule: &str) -> Call {
    let body = format!("<ServerSideEncryptionConfiguration><Rule>{rule}</Rule></ServerSideEncryptionConfiguration>");
    client.put(&format!("/{bucket}?encryption"), body).digested()
}

fn default_rule(algorithm: &str, key: &str) -> String {
    let key = if key.is_empty() { String::new() } else { format!("<KMSMasterKeyID>{key}</KMSMasterKeyID>") };
    format!(
        "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>{key}</ApplyServerSideEncryptionByDefault>"
    )
}

#[tokio::test]
async fn a_clients_key_opens_what_it_closed_in_every_way_of_reading() {
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    for size in [0, 10, 70_000, 300_000] {
        let body = text(size);
        let put = sse_c(bart.put("/sealed/key", &body), 1).expect(200).await;
        shows_customer_key(&put, 1);
        assert_ne!(put.etag(), format!("\"{}\"", hex::encode(Md5::digest(&body))));
        let got = sse_c(bart.get("/sealed/key"), 1).expect(200).await.body_is(&body);
        shows_customer_key(&got, 1);
        assert_eq!(got.etag(), put.etag());
        let head = sse_c(bart.head("/sealed/key"), 1).expect(200).await;
        shows_customer_key(&head, 1);
        assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
        let attributes = bart.get("/sealed/key?attributes").header("x-amz-object-attributes", "ObjectSize,ETag");
        sse_c(attributes, 1).expect(200).await.with("ObjectSize", &size.to_string());
        if size > 100_000 {
            let range = sse_c(bart.get("/sealed/key").header("range", "bytes=65530-131080"), 1).expect(206).await;
            range.body_is(&body[65_530..=131_080]);
        }
        bart.get("/sealed?list-type=2").expect(200).await.with("Size", &size.to_string());
    }
    world.sound().await;
}

#[tokio::test]
async fn without_the_right_key_nothing_is_told_of_the_object() {
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    for body in [text(0), text(1000), text(100_000)] {
        let etag = sse_c(bart.put("/sealed/key", &body), 1).expect(200).await.etag();
        let attributes = || bart.get("/sealed/key?attributes").header("x-amz-object-attributes", "ETag");
        for call in [bart.get("/sealed/key"), bart.head("/sealed/key"), attributes()] {
            call.clone().refused(400, "InvalidRequest").await.lacks("etag");
            sse_c(call.clone(), 2).refused(403, "AccessDenied").await.lacks("etag");
            call.clone().header("if-none-match", &etag).refused(400, "InvalidRequest").await;
            call.header("range", "bytes=0-1").refused(400, "InvalidRequest").await;
        }
        let copy = bart.put("/sealed/copy", "").header("x-amz-copy-source", "sealed/key");
        refused(&world, copy.clone(), 400, "InvalidRequest").await;
        refused(&world, from_sse_c(copy, 2), 403, "AccessDenied").await;
    }
    // And a key where none is called for.
    bart.put("/sealed/plain", "x").expect(200).await;
    for call in [bart.get("/sealed/plain"), bart.head("/sealed/plain")] {
        sse_c(call, 1).refused(400, "InvalidRequest").await;
    }
    world.sound().await;
}

#[tokio::test]
async fn spoiled_headers_of_a_clients_key_are_refused_and_nothing_is_written() {
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    let (key, md5) = (BASE64_STANDARD.encode([1; 32]), BASE64_STANDARD.encode(Md5::digest([1; 32])));
    let other_md5 = BASE64_STANDARD.encode(Md5::digest([2; 32]));
    let short = BASE64_STANDARD.encode([1; 31]);
    let upload = bart.post("/sealed/parts?uploads", "").expect(200).await.tag("UploadId").unwrap();
    for (headers, code) in [
        (vec![(ALGORITHM, "AES256")], "InvalidArgument"),
        (vec![(KEY, key.as_str()), (KEY_MD5, &md5)], "InvalidArgument"),
        (vec![(ALGORITHM, "AES256"), (KEY, &key)], "InvalidArgument"),
        (vec![(ALGORITHM, "AES256"), (KEY_MD5, &md5)], "InvalidArgument"),
        (vec![(ALGORITHM, "AES128"), (KEY, &key), (KEY_MD5, &md5)], "InvalidEncryptionAlgorithmError"),
        (vec![(ALGORITHM, "AES256"), (KEY, &key), (KEY_MD5, &other_md5)], "InvalidArgument"),
        (vec![(ALGORITHM, "AES256"), (KEY, &short), (KEY_MD5, &md5)], "InvalidArgument"),
        (vec![(ALGORITHM, "AES256"), (KEY, "*"), (KEY_MD5, &md5)], "InvalidArgument"),
        (vec![(ALGORITHM, "AES256"), (KEY, &key), (KEY_MD5, &md5), (METHOD, "AES256")], "InvalidArgument"),
        (vec![(ALGORITHM, "AES256"), (KEY, &key), (KEY_MD5, &md5), (METHOD, "aws:kms")], "InvalidArgument"),
        (vec![(METHOD, "aes:kms")], "InvalidArgument"),
        (vec![(METHOD, "")], "InvalidArgument"),
        (vec![(METHOD, "AES256"), (KEY_ID, "k")], "InvalidArgument"),
        (vec![(KEY_ID, "k")], "InvalidArgument"),
        (vec![(CONTEXT, "e30=")], "InvalidArgument"),
        (vec![(METHOD, "aws:kms"), (CONTEXT, "not base64")], "InvalidArgument"),
        (vec![(METHOD, "aws:kms"), (BUCKET_KEY, "perhaps")], "InvalidArgument"),
        (vec![(METHOD, "aws:kms"), (KEY_ID, "../../sys")], "KMS.NotFoundException"),
    ] {
        refused(&world, bart.put("/sealed/key", "text").headers(&headers), 400, code).await;
        refused(&world, bart.post("/sealed/key?uploads", "").headers(&headers), 400, code).await;
        let of_customer = headers.iter().any(|(name, _)| name.contains("customer")) && headers.len() < 4;
        if of_customer {
            let part = bart.put(&format!("/sealed/parts?partNumber=1&uploadId={upload}"), "text").headers(&headers);
            refused(&world, part, 400, code).await;
            bart.get("/sealed/key").headers(&headers).refused(400, code).await;
        }
    }
    // What only writes may say.
    bart.put("/sealed/key", "text").expect(200).await;
    for call in [bart.get("/sealed/key"), bart.head("/sealed/key")] {
        call.clone().header(METHOD, "AES256").refused(400, "InvalidArgument").await;
        call.header(METHOD, "aws:kms").refused(400, "InvalidArgument").await;
    }
    world.sound().await;
}

#[tokio::test]
async fn answers_tell_the_method_and_the_named_key() {
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    let body = text(100_000);
    let md5 = format!("\"{}\"", hex::encode(Md5::digest(&body)));
    let put = bart.put("/sealed/key", &body).header(METHOD, "AES256").expect(200).await;
    assert_eq!(put.has(METHOD, "AES256").lacks(KEY_ID).etag(), md5);
    let got = bart.get("/sealed/key").expect(200).await.has(METHOD, "AES256").lacks(KEY_ID).body_is(&body);
    assert_eq!(got.etag(), md5);
    let context = BASE64_STANDARD.encode("{\"team\":\"a\"}");
    for method in ["aws:kms", "aws:kms:dsse"] {
        let call = bart.put("/sealed/key", &body).header(METHOD, method).header(KEY_ID, "key-1");
        let put = call.header(CONTEXT, &context).header(BUCKET_KEY, "true").expect(200).await;
        let put = put.has(METHOD, method).has(KEY_ID, "key-1").has(CONTEXT, &context);
        assert_eq!(put.header(BUCKET_KEY), (method == "aws:kms").then_some("true"));
        assert_ne!(put.etag(), md5);
        let got = bart.get("/sealed/key").expect(200).await.has(METHOD, method).has(KEY_ID, "key-1").lacks(CONTEXT);
        assert_eq!(got.body_is(&body).etag(), put.etag());
        bart.head("/sealed/key").expect(200).await.has(METHOD, method).has(KEY_ID, "key-1");
    }
    // Without a name the server's default key is meant.
    let put = bart.put("/sealed/key", &body).header(METHOD, "aws:kms").expect(200).await;
    put.has(METHOD, "aws:kms").has(KEY_ID, "cloudserver");
    // Nothing asked for, nothing told.
    bart.put("/sealed/key", &body).expect(200).await.lacks(METHOD).lacks(KEY_ID);
    bart.get("/sealed/key").expect(200).await.lacks(METHOD).body_is(&body);
    world.sound().await;
}

#[tokio::test]
async fn a_buckets_default_holds_for_writers_who_say_nothing() {
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    let missing = bart.get("/sealed?encryption");
    missing.refused(404, "ServerSideEncryptionConfigurationNotFoundError").await;
    set_default(&bart, "sealed", &default_rule("AES256", "")).expect(200).await;
    bart.get("/sealed?encryption").expect(200).await.with("SSEAlgorithm", "AES256").with("BucketKeyEnabled", "false");
    bart.put("/sealed/a", "text").expect(200).await.has(METHOD, "AES256");
    let rule = format!("{}<BucketKeyEnabled>true</BucketKeyEnabled>", default_rule("aws:kms", "key-1"));
    set_default(&bart, "sealed", &rule).expect(200).await;
    bart.get("/sealed?encryption").expect(200).await.with("SSEAlgorithm", "aws:kms").with("KMSMasterKeyID", "key-1");
    bart.put("/sealed/b", "text").expect(200).await.has(KEY_ID, "key-1").has(BUCKET_KEY, "true");
    // What a writer says counts more; what is there stays as it is.
    bart.put("/sealed/c", "text").header(METHOD, "AES256").expect(200).await.has(METHOD, "AES256").lacks(KEY_ID);
    shows_customer_key(&sse_c(bart.put("/sealed/d", "text"), 1).expect(200).await, 1);
    bart.get("/sealed/a").expect(200).await.has(METHOD, "AES256").body_is("text");
    // Copies and uploads are writes, too.
    let copied = bart.put("/sealed/e", "").header("x-amz-copy-source", "sealed/a").expect(200).await;
    copied.has(METHOD, "aws:kms").has(KEY_ID, "key-1");
    bart.post("/sealed/f?uploads", "").expect(200).await.has(METHOD, "aws:kms").has(KEY_ID, "key-1");
    bart.delete("/sealed?encryption").expect(204).await;
    bart.delete("/sealed?encryption").expect(204).await;
    missing.refused(404, "ServerSideEncryptionConfigurationNotFoundError").await;
    bart.put("/sealed/g", "text").expect(200).await.lacks(METHOD);
    bart.get("/sealed/b").expect(200).await.has(KEY_ID, "key-1").body_is("text");
    world.sound().await;
}

#[tokio::test]
async fn a_default_that_is_no_good_is_refused_and_the_old_one_stays() {
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    set_default(&bart, "sealed", &default_rule("AES256", "")).expect(200).await;
    for (rule, code) in [
        (String::new(), "MalformedXML"),
        (default_rule("DES", ""), "MalformedXML"),
        (default_rule("AES256", "key-1"), "InvalidArgument"),
        (default_rule("AES256", "") + "<Other/>", "MalformedXML"),
        (
            "<BlockedEncryptionTypes><EncryptionType>SSE-S3</EncryptionType></BlockedEncryptionTypes>".into(),
            "MalformedXML",
        ),
    ] {
        refused(&world, set_default(&bart, "sealed", &rule), 400, code).await;
    }
    let body = "<ServerSideEncryptionConfiguration/>";
    refused(&world, bart.put("/sealed?encryption", body), 400, "InvalidRequest").await;
    refused(&world, bart.put("/sealed?encryption", "").digested(), 400, "MissingRequestBodyError").await;
    for somebody in [world.lisa(), world.nobody()] {
        refused(&world, set_default(&somebody, "sealed", &default_rule("aws:kms", "")), 403, "AccessDenied").await;
        somebody.get("/sealed?encryption").refused(403, "AccessDenied").await;
        refused(&world, somebody.delete("/sealed?encryption"), 403, "AccessDenied").await;
    }
    bart.get("/absent?encryption").refused(404, "NoSuchBucket").await;
    world.sound().await;
}

#[tokio::test]
async fn a_bucket_may_block_clients_keys() {
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    sse_c(bart.put("/sealed/old", "text"), 1).expect(200).await;
    let blocked = "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>";
    set_default(&bart, "sealed", blocked).expect(200).await;
    bart.get("/sealed?encryption").expect(200).await.with("EncryptionType", "SSE-C");
    refused(&world, sse_c(bart.put("/sealed/new", "text"), 1), 403, "AccessDenied").await;
    refused(&world, sse_c(bart.post("/sealed/new?uploads", ""), 1), 403, "AccessDenied").await;
    let copy = bart.put("/sealed/new", "").header("x-amz-copy-source", "sealed/old");
    refused(&world, sse_c(from_sse_c(copy.clone(), 1), 1), 403, "AccessDenied").await;
    // Reading goes on, and so do other writes.
    sse_c(bart.get("/sealed/old"), 1).expect(200).await.body_is("text");
    from_sse_c(copy, 1).expect(200).await;
    bart.get("/sealed/new").expect(200).await.body_is("text");
    let none = "<BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes>";
    set_default(&bart, "sealed", none).expect(200).await;
    sse_c(bart.put("/sealed/new", "text"), 1).expect(200).await;
    world.sound().await;
}

async fn upload(bart: &Client, headers: &[(&str, &str)], key: Option<u8>, parts: &[&[u8]]) -> Reply {
    let with_key = |call: Call| match key {
        Some(key) => sse_c(call, key),
        None => call,
    };
    let created = with_key(bart.post("/sealed/parts?uploads", "").headers(headers)).expect(200).await;
    let id = created.tag("UploadId").unwrap();
    let mut list = String::new();
    for (number, part) in (1..).zip(parts) {
        let target = format!("/sealed/parts?partNumber={number}&uploadId={id}");
        let put = with_key(bart.put(&target, part)).expect(200).await;
        assert_eq!(put.header(METHOD), created.header(METHOD));
        list.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", put.etag()));
    }
    let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let done = bart.post(&format!("/sealed/parts?uploadId={id}"), body).expect(200).await;
    assert_eq!(done.header(METHOD), created.header(METHOD));
    created
}

#[tokio::test]
async fn parts_are_encrypted_as_their_upload_says() {
    type Headers = &'static [(&'static str, &'static str)];
    let world = World::small_parts().await;
    let bart = world.bucket("sealed").await;
    let body = text(500_000);
    let parts: Vec<&[u8]> = vec![&body[..10], &body[10..200_000], &body[200_000..200_001], &body[200_001..]];
    let cases: [(Headers, Option<u8>); 3] =
        [(&[(METHOD, "AES256")], None), (&[(METHOD, "aws:kms"), (KEY_ID, "key-1")], None), (&[], Some(1))];
    for (headers, key) in cases {
        let created = upload(&bart, headers, key, &parts).await;
        for (name, value) in headers {
            assert_eq!(created.header(name), Some(*value));
        }
        let with_key = |call: Call| key.map_or(call.clone(), |key| sse_c(call, key));
        with_key(bart.get("/sealed/parts")).expect(200).await.body_is(&body);
        let range = bart.get("/sealed/parts").header("range", "bytes=5-250000");
        with_key(range).expect(206).await.body_is(&body[5..=250_000]);
        let part = with_key(bart.get("/sealed/parts?partNumber=2")).expect(206).await;
        part.has("x-amz-mp-parts-count", "4").body_is(&body[10..200_000]);
    }
    world.sound().await;
}

#[tokio::test]
async fn each_part_comes_with_the_key_that_its_upload_began_with() {
    let world = World::small_parts().await;
    let bart = world.bucket("sealed").await;
    let begun = sse_c(bart.post("/sealed/a?uploads", ""), 1).expect(200).await;
    shows_customer_key(&begun, 1);
    let id = begun.tag("UploadId").unwrap();
    let part = bart.put(&format!("/sealed/a?partNumber=1&uploadId={id}"), text(100_000));
    refused(&world, part.clone(), 400, "InvalidRequest").await;
    refused(&world, sse_c(part.clone(), 2), 400, "InvalidRequest").await;
    shows_customer_key(&sse_c(part, 1).expect(200).await, 1);
    let plain = bart.post("/sealed/b?uploads", "").expect(200).await.tag("UploadId").unwrap();
    let part = bart.put(&format!("/sealed/b?partNumber=1&uploadId={plain}"), "text");
    refused(&world, sse_c(part, 1), 400, "InvalidRequest").await;
    // Copied parts: the key of the source and the key of the upload.
    sse_c(bart.put("/sealed/source", text(200_000)), 3).expect(200).await;
    let copy = bart
        .put(&format!("/sealed/a?partNumber=2&uploadId={id}"), "")
        .headers(&[("x-amz-copy-source", "sealed/source"), ("x-amz-copy-source-range", "bytes=100-150000")]);
    refused(&world, sse_c(copy.clone(), 1), 400, "InvalidRequest").await;
    refused(&world, from_sse_c(copy.clone(), 3), 400, "InvalidRequest").await;
    let part = sse_c(from_sse_c(copy, 3), 1).expect(200).await;
    shows_customer_key(&part, 1);
    let list = format!("<Part><PartNumber>2</PartNumber><ETag>{}</ETag></Part>", part.tag("ETag").unwrap());
    let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    bart.post(&format!("/sealed/a?uploadId={id}"), body).expect(200).await;
    sse_c(bart.get("/sealed/a"), 1).expect(200).await.body_is(&text(200_000)[100..=150_000]);
    world.sound().await;
}

#[tokio::test]
async fn a_completion_with_a_key_brings_the_right_one_and_with_checksums_must_bring_it() {
    let world = World::small_parts().await;
    let bart = world.bucket("sealed").await;
    for declared in [false, true] {
        let begin = sse_c(bart.post("/sealed/key?uploads", ""), 1);
        let begin = if declared { begin.header("x-amz-checksum-algorithm", "CRC32") } else { begin };
        let id = begin.expect(200).await.tag("UploadId").unwrap();
        let part = || sse_c(bart.put(&format!("/sealed/key?partNumber=1&uploadId={id}"), text(1000)), 1);
        let mut etags = Vec::new();
        for _ in 0..2 {
            let put = if declared { part().header("x-amz-checksum-crc32", crc32(&text(1000))) } else { part() };
            etags.push(put.expect(200).await.etag());
        }
        assert_eq!(etags[0], etags[1], "a part sent again has the same tag");
        let checksum = format!("<ChecksumCRC32>{}</ChecksumCRC32>", crc32(&text(1000)));
        let checksum = if declared { checksum.as_str() } else { "" };
        let part = format!("<Part><PartNumber>1</PartNumber><ETag>{}</ETag>{checksum}</Part>", etags[0]);
        let body = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
        let done = bart.post(&format!("/sealed/key?uploadId={id}"), body);
        refused(&world, sse_c(done.clone(), 2), 400, "InvalidRequest").await;
        if declared {
            refused(&world, done.clone(), 400, "InvalidRequest").await;
        }
        let done = if declared { sse_c(done, 1) } else { done };
        done.expect(200).await;
        done.expect(200).await;
        sse_c(bart.get("/sealed/key"), 1).expect(200).await.body_is(text(1000));
    }
    world.sound().await;
}

fn crc32(bytes: &[u8]) -> String {
    use cloudserver::types::{Checksum, ChecksumAlgorithm};
    Checksum::of(ChecksumAlgorithm::Crc32, bytes).to_base64()
}

#[tokio::test]
async fn copies_change_from_any_encryption_to_any_other() {
    type Dress = fn(Call) -> Call;
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    let body = text(150_000);
    let ways: [(&str, Dress, Dress, Dress); 4] = [
        ("plain", |call| call, |call| call, |call| call),
        ("managed", |call| call.header(METHOD, "AES256"), |call| call, |call| call),
        ("named", |call| call.header(METHOD, "aws:kms").header(KEY_ID, "key-1"), |call| call, |call| call),
        ("clients", |call| sse_c(call, 1), |call| sse_c(call, 1), |call| from_sse_c(call, 1)),
    ];
    for (from, write, _, source) in ways {
        write(bart.put(&format!("/sealed/{from}"), &body)).expect(200).await;
        for (to, write, read, _) in ways {
            let target = format!("/sealed/{from}-{to}");
            let copy = bart.put(&target, "").header("x-amz-copy-source", format!("sealed/{from}"));
            source(write(copy)).expect(200).await;
            read(bart.get(&target)).expect(200).await.body_is(&body);
        }
    }
    // Onto itself: another encryption is a change.
    let itself = bart.put("/sealed/plain", "").header("x-amz-copy-source", "sealed/plain");
    refused(&world, itself.clone(), 400, "InvalidRequest").await;
    itself.header(METHOD, "AES256").expect(200).await.has(METHOD, "AES256");
    bart.get("/sealed/plain").expect(200).await.has(METHOD, "AES256").body_is(&body);
    world.sound().await;
}

#[tokio::test]
async fn an_object_is_put_under_another_key_without_a_new_version_or_date() {
    let world = World::new().await;
    let bart = world.versioned("sealed").await;
    let body = text(150_000);
    let put = bart.put("/sealed/key", &body).header(METHOD, "AES256").expect(200).await;
    let before = bart.head("/sealed/key").expect(200).await;
    let update = |inner: &str| {
        let body = format!("<ObjectEncryption>{inner}</ObjectEncryption>");
        bart.put("/sealed/key?encryption", body)
    };
    let to = |key: &str| update(&format!("<SSE-KMS><KMSKeyArn>{key}</KMSKeyArn></SSE-KMS>"));
    let blobs = world.blobs().await;
    let arn = "arn:aws:kms:us-east-1:123456789012:key/key-2";
    for key in ["key-1", arn, arn] {
        to(key).expect(200).await;
        let after = bart.get("/sealed/key").expect(200).await.has(METHOD, "aws:kms").has(KEY_ID, key).body_is(&body);
        for same in ["etag", "last-modified", "x-amz-version-id"] {
            assert_eq!(after.header(same), before.header(same), "{same}");
        }
    }
    assert_eq!(after_put(&put), after_put(&before));
    assert_eq!(world.blobs().await, blobs, "no byte was moved");
    for inner in ["", "<SSE-S3/>", "<SSE-KMS/>", "<DSSE-KMS/>"] {
        refused(&world, update(inner), 400, "InvalidRequest").await;
    }
    refused(
        &world,
        bart.put(
            "/sealed/gone?encryption",
            "<ObjectEncryption><SSE-KMS><KMSKeyArn>k</KMSKeyArn></SSE-KMS></ObjectEncryption>",
        ),
        404,
        "NoSuchKey",
    )
    .await;
    bart.put("/sealed/key", &body).expect(200).await;
    refused(&world, to("key-1"), 400, "InvalidRequest").await;
    sse_c(bart.put("/sealed/key", &body), 1).expect(200).await;
    refused(&world, to("key-1"), 400, "InvalidRequest").await;
    // Older versions have keys of their own.
    let id = put.header("x-amz-version-id").unwrap();
    let document = "<ObjectEncryption><SSE-KMS><KMSKeyArn>key-3</KMSKeyArn></SSE-KMS></ObjectEncryption>";
    bart.put(&format!("/sealed/key?encryption&versionId={id}"), document).expect(200).await;
    bart.get(&format!("/sealed/key?versionId={id}")).expect(200).await.has(KEY_ID, "key-3").body_is(&body);
    for somebody in [world.lisa(), world.nobody()] {
        let call = somebody.put(&format!("/sealed/key?encryption&versionId={id}"), document);
        refused(&world, call, 403, "AccessDenied").await;
    }
    world.sound().await;
}

fn after_put(reply: &Reply) -> Option<String> {
    reply.header("etag").map(str::to_owned)
}

#[tokio::test]
async fn presigned_urls_and_old_signatures_carry_clients_keys_in_headers() {
    use crate::support::sign::Scheme;
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    for scheme in [Scheme::QueryV4, Scheme::HeaderV2] {
        sse_c(bart.put("/sealed/key", "text").by(scheme), 1).expect(200).await;
        sse_c(bart.get("/sealed/key").by(scheme), 1).expect(200).await.body_is("text");
        bart.get("/sealed/key").by(scheme).refused(400, "InvalidRequest").await;
    }
    world.sound().await;
}

#[tokio::test]
async fn clients_keys_travel_over_tls_only_where_the_operator_says_so() {
    let world = World::with(|config| config.require_tls_for_sse_c = true).await;
    let bart = world.bucket("sealed").await;
    refused(&world, sse_c(bart.put("/sealed/key", "text"), 1), 400, "InvalidRequest").await;
    bart.put("/sealed/key", "text").header(METHOD, "AES256").expect(200).await;
    sse_c(bart.get("/sealed/key"), 1).refused(400, "InvalidRequest").await;
    world.sound().await;
}

#[tokio::test]
async fn every_new_bucket_encrypts_where_the_operator_says_so() {
    let world = World::with(|config| config.global_encryption = true).await;
    let bart = world.bucket("sealed").await;
    bart.get("/sealed?encryption").expect(200).await.with("SSEAlgorithm", "AES256");
    let body = text(1000);
    let put = bart.put("/sealed/key", &body).expect(200).await.has(METHOD, "AES256");
    assert_eq!(put.etag(), format!("\"{}\"", hex::encode(Md5::digest(&body))));
    bart.get("/sealed/key").expect(200).await.has(METHOD, "AES256").body_is(&body);
    assert!(!content_md5(&body).is_empty());
    world.sound().await;
}

#[tokio::test]
async fn a_form_may_ask_for_encryption() {
    let world = World::new().await;
    let bart = world.bucket("sealed").await;
    bart.put("/sealed?acl", "").header("x-amz-acl", "public-read-write").expect(200).await;
    let key = BASE64_STANDARD.encode([1; 32]);
    let md5 = BASE64_STANDARD.encode(Md5::digest([1; 32]));
    let customer = [(ALGORITHM, "AES256"), (KEY, key.as_str()), (KEY_MD5, md5.as_str())];
    for (fields, shown) in [(&[(METHOD, "AES256")][..], METHOD), (&customer, KEY_MD5)] {
        let mut form = String::new();
        for (name, value) in fields.iter().chain(&[("key", "posted")]) {
            form.push_str(&format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
        }
        form.push_str("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ntext\r\n--b--\r\n");
        let post = world.nobody().post("/sealed", form).header("content-type", "multipart/form-data; boundary=b");
        let posted = post.expect(204).await;
        assert!(posted.header(shown).is_some() && posted.header(KEY).is_none(), "{posted}");
    }
    bart.get("/sealed/posted").refused(400, "InvalidRequest").await;
    sse_c(bart.get("/sealed/posted"), 1).expect(200).await.body_is("text");
    world.sound().await;
}

#[tokio::test]
async fn the_key_of_a_locked_version_or_for_an_old_signature_is_not_changed() {
    let world = World::new().await;
    let bart = world.bart();
    bart.put("/kept", "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
    let document = "<ObjectEncryption><SSE-KMS><KMSKeyArn>key-2</KMSKeyArn></SSE-KMS></ObjectEncryption>";
    let until = [("x-amz-object-lock-retain-until-date", "2100-01-01T00:00:00Z")];
    for lock in [
        [("x-amz-object-lock-mode", "GOVERNANCE"), until[0]],
        [("x-amz-object-lock-mode", "COMPLIANCE"), until[0]],
        [("x-amz-object-lock-legal-hold", "ON"), ("x-amz-meta-n", "1")],
    ] {
        bart.put("/kept/a", "body").header(METHOD, "AES256").headers(&lock).digested().expect(200).await;
        refused(&world, bart.put("/kept/a?encryption", document), 403, "AccessDenied").await;
    }
    bart.put("/kept/a", "body").header(METHOD, "AES256").expect(200).await;
    let old = bart.put("/kept/a?encryption", document).by(Scheme::HeaderV2);
    refused(&world, old, 400, "InvalidRequest").await;
    bart.put("/kept/a?encryption", document).expect(200).await;
    bart.get("/kept/a").expect(200).await.has(METHOD, "aws:kms").body_is("body");
}
