//! `GetObjectAttributes` (s3-wire-2.md §15).

use cloudserver::types::{Checksum, ChecksumAlgorithm};

use crate::{
    multipart::Upload,
    support::world::{World, refused},
};

#[tokio::test]
async fn only_what_is_asked_for_is_shown() {
    let world = World::new().await;
    let bart = world.bucket("attributes").await;
    bart.put("/attributes/a", "body").header("x-amz-storage-class", "STANDARD_IA").expect(200).await;
    let all = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
    for name in all {
        let reply = bart.get("/attributes/a?attributes").header("x-amz-object-attributes", name).expect(200).await;
        for element in ["ETag", "Checksum", "StorageClass", "ObjectSize"] {
            assert_eq!(reply.tag(element).is_some(), element == name, "{name}: {reply}");
        }
        assert_eq!(reply.tag("ObjectParts"), None, "in one piece: {reply}");
        assert!(reply.header("last-modified").is_some());
    }
    let reply = bart.get("/attributes/a?attributes").header("x-amz-object-attributes", all.join(",")).expect(200).await;
    // The tag stands here without its quotes.
    let reply = reply.with("ETag", "841a2d689ad86bd1611447453c22c6fc").with("StorageClass", "STANDARD_IA");
    let reply = reply.with("ObjectSize", "4").with("ChecksumType", "FULL_OBJECT");
    reply.with("ChecksumCRC64NVME", &Checksum::of(ChecksumAlgorithm::Crc64Nvme, b"body").to_base64());
    bart.get("/attributes/a?attributes").header("x-amz-object-attributes", "ETag, ObjectSize").expect(200).await;
}

#[tokio::test]
async fn parts_are_shown_in_pages_with_the_checksums_they_have() {
    let world = World::small_parts().await;
    let bart = world.bucket("attributes").await;
    let plain = Upload::begin(&bart, "/attributes/plain").await;
    let tags = [plain.part(1, "1").await, plain.part(2, "2").await];
    plain.complete(&[(1, &tags[0]), (2, &tags[1])]).expect(200).await;
    let call = bart.get("/attributes/plain?attributes").header("x-amz-object-attributes", "ObjectParts");
    let reply = call.expect(200).await.with("PartsCount", "2");
    assert_eq!(reply.tags("Size"), ["1", "1"]);
    assert_eq!(reply.tag("ChecksumSHA256"), None, "{reply}");

    let upload = Upload::begin_with(&bart, "/attributes/sums", &[("x-amz-checksum-algorithm", "SHA256")]).await;
    let mut listed = String::new();
    let mut sums = Vec::new();
    for number in 1..=5 {
        let body = format!("part {number}");
        let sum = Checksum::of(ChecksumAlgorithm::Sha256, body.as_bytes()).to_base64();
        let etag = upload.put(number, &body).header("x-amz-checksum-sha256", &sum).expect(200).await.etag();
        listed.push_str(&format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><ChecksumSHA256>{sum}</ChecksumSHA256></Part>"
        ));
        sums.push(sum);
    }
    upload.completion(&format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>")).expect(200).await;
    for max in 1..=6 {
        let (mut seen, mut marker) = (Vec::new(), "0".to_owned());
        loop {
            let call = bart.get("/attributes/sums?attributes").headers(&[
                ("x-amz-object-attributes", "ObjectParts,Checksum"),
                ("x-amz-max-parts", &max.to_string()),
                ("x-amz-part-number-marker", &marker),
            ]);
            let reply = call.expect(200).await.with("PartsCount", "5").with("MaxParts", &max.to_string());
            let parts = reply.elements("Part");
            assert!(parts.len() <= max);
            seen.extend(parts.iter().map(|part| part.tag("ChecksumSHA256").unwrap()));
            if reply.tag("IsTruncated").as_deref() == Some("false") {
                break;
            }
            marker = reply.tag("NextPartNumberMarker").unwrap();
        }
        assert_eq!(seen, sums, "pages of {max}");
    }
}

#[tokio::test]
async fn attributes_that_are_none_are_refused() {
    let world = World::new().await;
    let bart = world.bucket("attributes").await;
    bart.put("/attributes/a", "body").expect(200).await;
    let target = "/attributes/a?attributes";
    refused(&world, bart.get(target), 400, "InvalidRequest").await;
    refused(&world, bart.get(target).header("x-amz-object-attributes", ""), 400, "InvalidRequest").await;
    for names in ["etag", "ETag,Colour", "ETag,", "*"] {
        refused(&world, bart.get(target).header("x-amz-object-attributes", names), 400, "InvalidArgument").await;
    }
    for (name, value) in [
        ("x-amz-max-parts", "-1"),
        ("x-amz-max-parts", "x"),
        ("x-amz-part-number-marker", "-1"),
        ("x-amz-part-number-marker", "x"),
    ] {
        let call = bart.get(target).headers(&[("x-amz-object-attributes", "ObjectParts"), (name, value)]);
        refused(&world, call, 400, "InvalidArgument").await;
    }
    let none = bart.get("/attributes/none?attributes").header("x-amz-object-attributes", "ETag");
    refused(&world, none, 404, "NoSuchKey").await;
    for client in [world.lisa(), world.nobody()] {
        refused(&world, client.get(target).header("x-amz-object-attributes", "ETag"), 403, "AccessDenied").await;
    }
}
