//! Appending to objects: `x-amz-write-offset-bytes`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use md5::{Digest as _, Md5};

use crate::support::{
    client::Call,
    world::{World, refused, versioning},
};

/// The object has another checksum than this.
const CRC32_OF_MORE: &str = "i1LyfA==";

#[tokio::test]
async fn appends_grow_an_object_and_every_range_of_it_reads() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let mut whole = Vec::new();
    let mut tags = std::collections::BTreeSet::new();
    for number in 0..150_u32 {
        let size = if number % 40 == 7 { 70_000 } else { 10 + number as usize };
        let piece = vec![b'a' + u8::try_from(number % 26).unwrap(); size];
        let call = bart.put("/bkt/log", &piece).header("x-amz-write-offset-bytes", whole.len().to_string());
        let reply = call.header("x-amz-meta-n", number.to_string()).expect(200).await;
        whole.extend(piece);
        let reply = reply.has("x-amz-object-size", &whole.len().to_string());
        assert!(tags.insert(reply.header("etag").unwrap().to_owned()), "each append has a tag of its own");
        if number % 16 == 1 || number > 146 {
            bart.get("/bkt/log").expect(200).await.body_is(&whole);
        }
    }
    for (first, last) in [(0, 0), (5, 1500), (69_000, 71_000), (whole.len() - 3, whole.len() - 1)] {
        let reply = bart.get("/bkt/log").header("range", format!("bytes={first}-{last}")).expect(206).await;
        reply.body_is(&whole[first..=last]);
    }
    let head = bart.head("/bkt/log").header("x-amz-checksum-mode", "ENABLED").expect(200).await;
    let head = head.has("x-amz-meta-n", "0");
    // The checksum is that of the whole, made of those of the pieces.
    bart.put("/bkt/same", &whole).expect(200).await;
    let same = bart.head("/bkt/same").header("x-amz-checksum-mode", "ENABLED").expect(200).await;
    assert_eq!(head.header("x-amz-checksum-crc64nvme"), same.header("x-amz-checksum-crc64nvme"));
    assert!(head.header("x-amz-checksum-crc64nvme").is_some());
    bart.get("/bkt/log?partNumber=150").expect(206).await.has("x-amz-mp-parts-count", "150");
    bart.put("/bkt/copy", "").header("x-amz-copy-source", "/bkt/log").expect(200).await;
    bart.get("/bkt/copy").expect(200).await.body_is(&whole);
    for key in ["log", "copy", "same"] {
        bart.delete(&format!("/bkt/{key}")).expect(204).await;
    }
    world.drained().await;
    assert!(world.blobs().await.is_empty());
    bart.delete("/bkt").expect(204).await;
    world.sound().await;
}

#[tokio::test]
async fn an_append_elsewhere_than_at_the_end_changes_nothing() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let append =
        |key: &str, offset: &str| bart.put(&format!("/bkt/{key}"), "more").header("x-amz-write-offset-bytes", offset);
    refused(&world, append("none", "1"), 400, "InvalidWriteOffset").await;
    bart.put("/bkt/a", "12345").expect(200).await;
    for offset in ["0", "4", "6", "18446744073709551615"] {
        refused(&world, append("a", offset), 400, "InvalidWriteOffset").await;
    }
    for offset in ["", "x", "-1", "18446744073709551616"] {
        refused(&world, append("a", offset), 400, "InvalidArgument").await;
    }
    refused(&world, append("a", "5").header("if-match", "\"other\""), 412, "PreconditionFailed").await;
    refused(&world, append("a", "5").header("x-amz-checksum-sha256", "x"), 400, "InvalidRequest").await;
    let other = bart.put("/bkt/a", "more").header("x-amz-write-offset-bytes", "5");
    refused(&world, other.header("x-amz-checksum-crc32", CRC32_OF_MORE), 400, "InvalidRequest").await;
    for client in [world.lisa(), world.nobody()] {
        let call = client.put("/bkt/a", "x").header("x-amz-write-offset-bytes", "5");
        refused(&world, call, 403, "AccessDenied").await;
    }
    bart.put("/bkt?quota", r#"{"quota": 8}"#).expect(200).await;
    refused(&world, append("a", "5"), 429, "QuotaExceeded").await;
    bart.delete("/bkt?quota").expect(204).await;
    append("a", "5").expect(200).await;
    bart.get("/bkt/a").expect(200).await.body_is("12345more");
    versioning(&bart, "bkt", "Enabled").await;
    refused(&world, append("a", "9"), 400, "InvalidRequest").await;
}

#[tokio::test]
async fn of_appends_at_one_offset_one_wins() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    for round in 0..10 {
        let appends = (0..8).map(|number| {
            let call = bart.put("/bkt/log", format!("{number}")).header("x-amz-write-offset-bytes", round.to_string());
            async move { call.send().await.status }
        });
        let statuses = join_all(appends).await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 7, "{statuses:?}");
    }
    bart.head("/bkt/log").expect(200).await.has("content-length", "10");
    world.sound().await;
}

#[tokio::test]
async fn an_append_goes_on_behind_an_upload_of_parts() {
    let world = World::small_parts().await;
    let bart = world.bucket("bkt").await;
    let id = bart.post("/bkt/m?uploads", "").expect(200).await.tag("UploadId").unwrap();
    let mut list = String::new();
    let mut whole = String::new();
    for number in 1..=17 {
        let piece = format!("part {number};");
        let reply = bart.put(&format!("/bkt/m?partNumber={number}&uploadId={id}"), &piece).expect(200).await;
        let tag = reply.header("etag").unwrap().to_owned();
        list.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"));
        whole.push_str(&piece);
    }
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    bart.post(&format!("/bkt/m?uploadId={id}"), list).expect(200).await;
    for number in 0..60 {
        let piece = format!("more {number};");
        bart.put("/bkt/m", &piece).header("x-amz-write-offset-bytes", whole.len().to_string()).expect(200).await;
        whole.push_str(&piece);
    }
    bart.get("/bkt/m").expect(200).await.body_is(&whole);
    bart.delete("/bkt/m").expect(204).await;
    bart.delete("/bkt").expect(204).await;
    world.sound().await;
}

#[tokio::test]
async fn an_append_never_puts_plain_bytes_where_ciphertext_is_due() {
    const METHOD: &str = "x-amz-server-side-encryption";
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let append =
        |key: &str, offset: &str| bart.put(&format!("/bkt/{key}"), "more").header("x-amz-write-offset-bytes", offset);
    // A new object that is to be encrypted, by the request or by the bucket.
    for method in ["AES256", "aws:kms"] {
        refused(&world, append("new", "0").header(METHOD, method), 501, "NotImplemented").await;
        bart.put("/bkt/sealed", "12345").header(METHOD, method).expect(200).await;
        refused(&world, append("sealed", "5"), 501, "NotImplemented").await;
        refused(&world, append("sealed", "5").header(METHOD, method), 501, "NotImplemented").await;
    }
    bart.put("/bkt/plain", "12345").expect(200).await;
    refused(&world, append("plain", "5").header(METHOD, "AES256"), 501, "NotImplemented").await;
    let key = [3; 32];
    let customer = [
        ("x-amz-server-side-encryption-customer-algorithm", "AES256".to_owned()),
        ("x-amz-server-side-encryption-customer-key", BASE64_STANDARD.encode(key)),
        ("x-amz-server-side-encryption-customer-key-md5", BASE64_STANDARD.encode(Md5::digest(key))),
    ];
    let with_key = |call: Call| customer.iter().fold(call, |call, (name, value)| call.header(name, value));
    refused(&world, with_key(append("new", "0")), 501, "NotImplemented").await;
    with_key(bart.put("/bkt/own", "12345")).expect(200).await;
    refused(&world, with_key(append("own", "5")), 501, "NotImplemented").await;
    refused(&world, append("own", "5"), 501, "NotImplemented").await;
    let default = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
                   <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>\
                   </ServerSideEncryptionConfiguration>";
    bart.put("/bkt?encryption", default).digested().expect(200).await;
    refused(&world, append("new", "0"), 501, "NotImplemented").await;
    refused(&world, append("plain", "5"), 501, "NotImplemented").await;
    bart.get("/bkt/sealed").expect(200).await.body_is("12345");
    bart.get("/bkt/plain").expect(200).await.body_is("12345");
}
