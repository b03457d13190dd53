//! Checksums of uploads: composite ones of the parts' digests, full ones of all bytes (s3-wire.md §4, §7).

use cloudserver::types::{Checksum, ChecksumAlgorithm, ChecksumType};

use super::Upload;
use crate::support::world::{World, refused};

fn value(algorithm: ChecksumAlgorithm, data: &[u8]) -> String {
    Checksum::of(algorithm, data).to_base64()
}

/// What a composite checksum is: the checksum of the raw digests, one after the other.
fn composite(algorithm: ChecksumAlgorithm, parts: &[&[u8]]) -> String {
    let digests: Vec<u8> = parts.iter().flat_map(|part| Checksum::of(algorithm, part).value).collect();
    format!("{}-{}", value(algorithm, &digests), parts.len())
}

/// The document of a completion whose parts have checksums.
fn document(parts: &[(u32, &str, &str, &str)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag, element, value)| {
            let checksum = if element.is_empty() { String::new() } else { format!("<{element}>{value}</{element}>") };
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{checksum}</Part>")
        })
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

#[tokio::test]
async fn every_algorithm_makes_the_types_it_supports() {
    let world = World::small_parts().await;
    let bart = world.bucket("sums").await;
    let bodies = [&b"first part"[..], b"second", b"the third"];
    for algorithm in ChecksumAlgorithm::ALL {
        for kind in [ChecksumType::Composite, ChecksumType::FullObject] {
            let headers = [("x-amz-checksum-algorithm", algorithm.name()), ("x-amz-checksum-type", kind.name())];
            if !algorithm.supports(kind) {
                let call = bart.post("/sums/a?uploads", "").headers(&headers);
                refused(&world, call, 400, "InvalidRequest").await;
                continue;
            }
            let upload = Upload::begin_with(&bart, "/sums/a", &headers).await;
            let mut parts = Vec::new();
            for (number, body) in (1..).zip(bodies) {
                let sum = value(algorithm, body);
                let reply = upload.put(number, body).header(algorithm.header(), &sum).expect(200).await;
                let reply = reply.has(algorithm.header(), &sum).lacks("x-amz-checksum-type");
                parts.push((number, reply.etag(), sum));
            }
            let listed = upload.list("").expect(200).await;
            assert_eq!(
                listed.tags(algorithm.xml_element()),
                parts.iter().map(|part| part.2.clone()).collect::<Vec<_>>()
            );
            listed.with("ChecksumAlgorithm", algorithm.name()).with("ChecksumType", kind.name());
            let parts: Vec<_> =
                parts.iter().map(|(n, etag, sum)| (*n, etag.as_str(), algorithm.xml_element(), sum.as_str())).collect();
            let wanted = match kind {
                ChecksumType::Composite => composite(algorithm, &bodies),
                ChecksumType::FullObject => value(algorithm, &bodies.concat()),
            };
            // The announced checksum of the object must be that of the object.
            let wrong = upload.completion(&document(&parts)).header(algorithm.header(), value(algorithm, b"other"));
            refused(&world, wrong, 400, "BadDigest").await;
            let call = upload.completion(&document(&parts)).header(algorithm.header(), &wanted);
            let call = call.header("x-amz-checksum-type", kind.name().to_lowercase());
            call.expect(200).await.with(algorithm.xml_element(), &wanted).with("ChecksumType", kind.name());
            let head = bart.head("/sums/a").header("x-amz-checksum-mode", "enabled").expect(200).await;
            head.has(algorithm.header(), &wanted).has("x-amz-checksum-type", kind.name());
        }
    }
    world.sound().await;
}

#[tokio::test]
async fn a_declaration_must_make_sense() {
    let world = World::small_parts().await;
    let bart = world.bucket("sums").await;
    for headers in [
        &[("x-amz-checksum-algorithm", "CRC17")][..],
        &[("x-amz-checksum-algorithm", "")],
        &[("x-amz-checksum-type", "COMPOSITE")],
        &[("x-amz-checksum-type", "FULL_OBJECT")],
        &[("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "HALF_OBJECT")],
        &[("x-amz-checksum-algorithm", "SHA256"), ("x-amz-checksum-type", "FULL_OBJECT")],
        &[("x-amz-checksum-algorithm", "CRC64NVME"), ("x-amz-checksum-type", "COMPOSITE")],
    ] {
        refused(&world, bart.post("/sums/a?uploads", "").headers(headers), 400, "InvalidRequest").await;
    }
    let reply = bart.post("/sums/a?uploads", "").header("x-amz-checksum-algorithm", "crc32c").expect(200).await;
    reply.has("x-amz-checksum-algorithm", "CRC32C").has("x-amz-checksum-type", "COMPOSITE");
    let reply = bart.post("/sums/a?uploads", "").header("x-amz-checksum-algorithm", "crc64nvme").expect(200).await;
    reply.has("x-amz-checksum-type", "FULL_OBJECT");
}

#[tokio::test]
async fn parts_follow_the_declaration_of_their_upload() {
    let world = World::small_parts().await;
    let bart = world.bucket("sums").await;
    let composite = Upload::begin_with(&bart, "/sums/a", &[("x-amz-checksum-algorithm", "SHA256")]).await;
    refused(&world, composite.put(1, "x"), 400, "InvalidRequest").await;
    let other = composite.put(1, "x").header("x-amz-checksum-crc32", value(ChecksumAlgorithm::Crc32, b"x"));
    refused(&world, other, 400, "InvalidRequest").await;
    let wrong = composite.put(1, "x").header("x-amz-checksum-sha256", value(ChecksumAlgorithm::Sha256, b"y"));
    refused(&world, wrong, 400, "BadDigest").await;

    let full = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")];
    let full = Upload::begin_with(&bart, "/sums/b", &full).await;
    let tag =
        full.put(1, "x").expect(200).await.has("x-amz-checksum-crc32", &value(ChecksumAlgorithm::Crc32, b"x")).etag();
    full.complete(&[(1, &tag)]).expect(200).await.with("ChecksumCRC32", &value(ChecksumAlgorithm::Crc32, b"x"));

    let none = Upload::begin(&bart, "/sums/c").await;
    let tag = none.part(1, "x").await;
    none.put(2, "y").header("x-amz-checksum-sha1", value(ChecksumAlgorithm::Sha1, b"y")).expect(200).await;
    none.complete(&[(1, &tag)]).expect(200).await;
}

#[tokio::test]
async fn a_completion_lists_the_checksums_of_composite_parts() {
    let world = World::small_parts().await;
    let bart = world.bucket("sums").await;
    let upload = Upload::begin_with(&bart, "/sums/a", &[("x-amz-checksum-algorithm", "SHA1")]).await;
    let (one, two) = (value(ChecksumAlgorithm::Sha1, b"1"), value(ChecksumAlgorithm::Sha1, b"2"));
    let tags = [
        upload.put(1, "1").header("x-amz-checksum-sha1", &one).expect(200).await.etag(),
        upload.put(2, "2").header("x-amz-checksum-sha1", &two).expect(200).await.etag(),
        upload.put(4, "2").header("x-amz-checksum-sha1", &two).expect(200).await.etag(),
    ];
    let crc = value(ChecksumAlgorithm::Crc32, b"2");
    let first = (1, tags[0].as_str(), "ChecksumSHA1", one.as_str());
    for (list, code) in [
        (vec![first, (2, &tags[1], "", "")], "InvalidRequest"),
        (vec![first, (2, &tags[1], "ChecksumCRC32", &crc)], "BadDigest"),
        (vec![first, (2, &tags[1], "ChecksumSHA1", &one)], "InvalidPart"),
        (vec![first, (2, &tags[1], "ChecksumSHA1", "short")], "InvalidPart"),
        (vec![first, (4, &tags[2], "ChecksumSHA1", &two)], "InvalidPart"),
        (vec![(2, &tags[1], "ChecksumSHA1", &two)], "InvalidPart"),
    ] {
        refused(&world, upload.completion(&document(&list)), 400, code).await;
    }
    let list = [first, (2, tags[1].as_str(), "ChecksumSHA1", two.as_str())];
    for (name, text, code) in [
        ("x-amz-checksum-type", "FULL_OBJECT", "InvalidRequest"),
        ("x-amz-checksum-type", "none", "InvalidRequest"),
        ("x-amz-checksum-sha1", "none", "InvalidRequest"),
        ("x-amz-checksum-crc32", crc.as_str(), "BadDigest"),
    ] {
        refused(&world, upload.completion(&document(&list)).header(name, text), 400, code).await;
    }
    upload.completion(&document(&list)).expect(200).await.with("ChecksumType", "COMPOSITE");
}

#[tokio::test]
async fn a_part_shows_its_own_checksum_and_never_that_of_the_object() {
    let world = World::small_parts().await;
    let bart = world.bucket("sums").await;
    let upload = Upload::begin_with(&bart, "/sums/a", &[("x-amz-checksum-algorithm", "CRC32C")]).await;
    let (one, two) = (value(ChecksumAlgorithm::Crc32c, b"1"), value(ChecksumAlgorithm::Crc32c, b"2"));
    let a = upload.put(1, "1").header("x-amz-checksum-crc32c", &one).expect(200).await.etag();
    let b = upload.put(2, "2").header("x-amz-checksum-crc32c", &two).expect(200).await.etag();
    let list = [(1, a.as_str(), "ChecksumCRC32C", one.as_str()), (2, &b, "ChecksumCRC32C", &two)];
    upload.completion(&document(&list)).expect(200).await;
    for (number, sum) in [(1, &one), (2, &two)] {
        let call = bart.get(&format!("/sums/a?partNumber={number}")).header("x-amz-checksum-mode", "ENABLED");
        let shown = call.expect(206).await;
        assert!(matches!(shown.header("x-amz-checksum-crc32c"), None | Some(_)));
        assert_eq!(shown.header("x-amz-checksum-crc32c").unwrap_or(sum), sum);
    }
}
