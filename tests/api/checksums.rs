//! Checksums of objects written in one piece (s3-wire.md §4).

use cloudserver::types::{Checksum, ChecksumAlgorithm};

use crate::support::{
    chunked::Wrap,
    sign::{Scheme, escape_value},
    world::{World, refused},
};

const BODY: &[u8] = b"the quick brown fox";

fn value(algorithm: ChecksumAlgorithm, data: &[u8]) -> String {
    Checksum::of(algorithm, data).to_base64()
}

#[tokio::test]
async fn values_are_those_of_the_algorithms() {
    // From the reference implementations, over `123456789`.
    for (algorithm, digits) in [
        (ChecksumAlgorithm::Crc32, "cbf43926"),
        (ChecksumAlgorithm::Crc32c, "e3069283"),
        (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
        (ChecksumAlgorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        (ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        (ChecksumAlgorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
        (ChecksumAlgorithm::XxHash64, "8cb841db40e6ae83"),
    ] {
        let world = World::new().await;
        let bart = world.bucket("sums").await;
        let sum = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, hex::decode(digits).unwrap());
        bart.put("/sums/a", "123456789")
            .header(algorithm.header(), &sum)
            .expect(200)
            .await
            .has(algorithm.header(), &sum);
    }
}

#[tokio::test]
async fn every_algorithm_is_checked_in_a_header() {
    let world = World::new().await;
    let bart = world.bucket("sums").await;
    for algorithm in ChecksumAlgorithm::ALL {
        let sum = value(algorithm, BODY);
        let call = bart.put("/sums/a", BODY).header(algorithm.header(), &sum);
        let call = call.header("x-amz-sdk-checksum-algorithm", algorithm.name().to_lowercase());
        call.expect(200).await.has(algorithm.header(), &sum).has("x-amz-checksum-type", "FULL_OBJECT");
        for method in ["GET", "HEAD"] {
            let reply = bart.call(method, "/sums/a").header("x-amz-checksum-mode", "ENABLED").expect(200).await;
            reply.has(algorithm.header(), &sum).has("x-amz-checksum-type", "FULL_OBJECT");
        }
        let listed = bart.get("/sums").expect(200).await;
        listed.with("ChecksumAlgorithm", algorithm.name());
        let wrong = bart.put("/sums/a", BODY).header(algorithm.header(), value(algorithm, b"other"));
        refused(&world, wrong, 400, "BadDigest").await;
        let stripped = sum.trim_end_matches('=');
        for malformed in
            ["", "x", "AA==", &sum[..sum.len() - 4], &format!("{sum}AAAA"), "!!!!!!!!", &format!("{stripped}-1")]
        {
            let call = bart.put("/sums/a", BODY).header(algorithm.header(), malformed);
            refused(&world, call, 400, "InvalidRequest").await;
        }
        let other = if algorithm == ChecksumAlgorithm::Crc32 { "SHA1" } else { "CRC32" };
        let call =
            bart.put("/sums/a", BODY).header(algorithm.header(), &sum).header("x-amz-sdk-checksum-algorithm", other);
        refused(&world, call, 400, "InvalidRequest").await;
    }
}

#[tokio::test]
async fn every_algorithm_is_checked_in_a_trailer() {
    let world = World::new().await;
    let bart = world.bucket("sums").await;
    for size in [0, 19, 20_000, 100_000] {
        let body = vec![b'z'; size];
        for algorithm in ChecksumAlgorithm::ALL {
            for wrap in [Wrap::unsigned(), Wrap::signed()] {
                let sum = value(algorithm, &body);
                let call = bart.put("/sums/a", &body).wrapped(wrap.clone().trailing(algorithm, &body));
                let call = call.header("x-amz-sdk-checksum-algorithm", algorithm.name());
                call.expect(200).await.has(algorithm.header(), &sum);
                bart.get("/sums/a").expect(200).await.body_is(&body).lacks("content-encoding");
                if size == 19 {
                    let lying = wrap.saying(algorithm.header(), &value(algorithm, b"other"));
                    refused(&world, bart.put("/sums/a", &body).wrapped(lying), 400, "BadDigest").await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_request_has_one_checksum() {
    let world = World::new().await;
    let bart = world.bucket("sums").await;
    let (crc, sha) = (value(ChecksumAlgorithm::Crc32, BODY), value(ChecksumAlgorithm::Sha1, BODY));
    let two = bart.put("/sums/a", BODY).headers(&[("x-amz-checksum-crc32", &crc), ("x-amz-checksum-sha1", &sha)]);
    refused(&world, two, 400, "InvalidRequest").await;
    let both = bart.put("/sums/a", BODY).header("x-amz-checksum-sha1", &sha);
    let both = both.wrapped(Wrap::unsigned().trailing(ChecksumAlgorithm::Crc32, BODY));
    refused(&world, both, 400, "InvalidRequest").await;
}

#[tokio::test]
async fn a_presigned_url_may_carry_the_checksum() {
    let world = World::new().await;
    let bart = world.bucket("sums").await;
    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Sha256] {
        let (right, wrong) = (value(algorithm, BODY), value(algorithm, b"other"));
        let target = |sum: &str| {
            let sum = escape_value(sum);
            format!("/sums/a?{}={sum}&x-amz-sdk-checksum-algorithm={}", algorithm.header(), algorithm.name())
        };
        refused(&world, bart.put(&target(&wrong), BODY).by(Scheme::QueryV4), 400, "BadDigest").await;
        let reply = bart.put(&target(&right), BODY).by(Scheme::QueryV4).expect(200).await;
        reply.has(algorithm.header(), &right);
    }
}
