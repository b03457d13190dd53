//! Parts: numbers, replacement, copies.

use super::Upload;
use crate::support::{
    client::content_md5,
    world::{World, refused},
};

#[tokio::test]
async fn part_numbers_are_1_to_10000() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    bart.put("/uploads/source", "x").expect(200).await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    for number in ["0", "-1", "10001", "65537", "x", "", "1.0", "99999999999999999999", "%2B1"] {
        let target = format!("/uploads/a?partNumber={number}&uploadId={}", upload.id);
        refused(&world, bart.put(&target, "x"), 400, "InvalidArgument").await.with("ArgumentName", "partNumber");
        let copy = bart.put(&target, "").header("x-amz-copy-source", "uploads/source");
        refused(&world, copy, 400, "InvalidArgument").await.with("ArgumentName", "partNumber");
    }
    upload.part(1, "x").await;
    upload.part(10_000, "y").await;
    assert_eq!(upload.numbers().await, ["1", "10000"]);
}

#[tokio::test]
async fn a_part_sent_again_replaces_the_first() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let old = upload.part(1, vec![1; 100_000]).await;
    let new = upload.part(1, "new").await;
    assert_ne!(old, new);
    world.drained().await;
    assert!(world.blobs().await.is_empty(), "the replaced part is freed");
    let reply = upload.list("").expect(200).await;
    reply.with("ETag", &new).with("Size", "3");
    refused(&world, upload.complete(&[(1, &old)]), 400, "InvalidPart").await.with("PartNumber", "1");
    upload.complete(&[(1, &new)]).expect(200).await;
    bart.get("/uploads/a").expect(200).await.body_is("new");
}

#[tokio::test]
async fn a_broken_part_keeps_the_one_before() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let tag = upload.part(1, "good").await;
    for size in [4, 100_000] {
        let call = upload.put(1, vec![0; size]).header("content-md5", content_md5(b"other"));
        refused(&world, call, 400, "BadDigest").await;
        let call = upload.put(2, vec![0; size]).header("x-amz-checksum-crc32", "AAAAAA==");
        refused(&world, call, 400, "BadDigest").await;
    }
    upload.complete(&[(1, &tag)]).expect(200).await;
}

#[tokio::test]
async fn parts_are_copied_from_objects() {
    let world = World::small_parts().await;
    let bart = world.versioned("uploads").await;
    let source: Vec<u8> = (0..200_000_u32).map(|index| u8::try_from(index % 251).unwrap()).collect();
    let version = bart.put("/uploads/source", &source).expect(200).await.header("x-amz-version-id").unwrap().to_owned();
    bart.put("/uploads/source", "newer").expect(200).await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let named = format!("uploads/source?versionId={version}");
    let whole = upload.put(1, "").header("x-amz-copy-source", &named).expect(200).await;
    assert!(whole.text().contains("<CopyPartResult "), "{whole}");
    let whole = whole.has("x-amz-copy-source-version-id", &version).tag("ETag").unwrap();
    let ranged =
        upload.put(2, "").headers(&[("x-amz-copy-source", &named), ("x-amz-copy-source-range", "bytes=7-100006")]);
    let ranged = ranged.expect(200).await.tag("ETag").unwrap();
    let current =
        upload.put(3, "").header("x-amz-copy-source", "/uploads/source").expect(200).await.tag("ETag").unwrap();
    upload.complete(&[(1, &whole), (2, &ranged), (3, &current)]).expect(200).await;
    let expected = [&source[..], &source[7..100_007], b"newer"].concat();
    bart.get("/uploads/a").expect(200).await.body_is(expected);
}

#[tokio::test]
async fn a_copy_range_is_exact_and_within_the_source() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    bart.put("/uploads/source", "0123456789").expect(200).await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let copy = |range: &str| {
        upload.put(1, "").headers(&[("x-amz-copy-source", "uploads/source"), ("x-amz-copy-source-range", range)])
    };
    for range in [
        "",
        "bytes=",
        "bytes=0-",
        "bytes=-4",
        "bytes=4-2",
        "0-4",
        "bytes=0-1,2-3",
        "bytes=a-b",
        "bytes=0-10",
        "bytes=10-10",
        "bytes=5-99",
        "items=0-4",
        "bytes=0-18446744073709551615",
        "bytes=0-99999999999999999999999",
    ] {
        refused(&world, copy(range), 400, "InvalidArgument").await.with("ArgumentName", "x-amz-copy-source-range");
    }
    copy("bytes=9-9").expect(200).await.with("ETag", "\"45c48cce2e2d7fbdea1afc51c7c6ad26\"");
}

#[tokio::test]
async fn a_part_copy_checks_source_conditions_and_permissions() {
    let world = World::small_parts().await;
    let (bart, lisa) = (world.bucket("uploads").await, world.lisa());
    bart.put("/uploads/source", "x").expect(200).await;
    lisa.put("/lisas", "").expect(200).await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let hers = Upload::begin(&lisa, "/lisas/a").await;
    for (source, status, code) in [
        ("uploads/none", 404, "NoSuchKey"),
        ("nobucket/source", 404, "NoSuchBucket"),
        ("uploads", 400, "InvalidArgument"),
        ("uploads/source?versionId=x", 400, "InvalidArgument"),
        ("uploads/%zz", 400, "InvalidArgument"),
    ] {
        refused(&world, upload.put(1, "").header("x-amz-copy-source", source), status, code).await;
    }
    refused(&world, hers.put(1, "").header("x-amz-copy-source", "uploads/source"), 403, "AccessDenied").await;
    for (name, value) in [
        ("x-amz-copy-source-if-match", "\"other\""),
        ("x-amz-copy-source-if-none-match", "*"),
        ("x-amz-copy-source-if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
    ] {
        let call = upload.put(1, "").headers(&[("x-amz-copy-source", "uploads/source"), (name, value)]);
        refused(&world, call, 412, "PreconditionFailed").await;
    }
    let gone = Upload { id: hers.id.clone(), ..upload.clone() };
    refused(&world, gone.put(1, "").header("x-amz-copy-source", "uploads/source"), 404, "NoSuchUpload").await;
}
