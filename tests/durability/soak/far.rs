//! Ten gigabytes through a location that is another server: what it needs of memory, and how fast it is beside the other
//! server itself.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde_json::{Value, json};

use super::memory::{GIB, MIB, bytes, enough_space};
use crate::support::{
    client::{Client, Request},
    machine::mebibytes,
    run,
    server::{ACCESS, SECRET, Server, World},
    xml,
};

/// The bounds of issue 4.
const MOST: u64 = 128 * MIB;
const SIZE: u64 = 10 * GIB;
const PART: u64 = 64 * MIB;

/// `locationConfig.json` of a server whose default location is a bucket of `far`.
fn locations(far: &Server, versioned: bool) -> Value {
    json!({ "us-east-1": {
        "type": "aws_s3",
        "objectId": "us-east-1",
        "legacyAwsBehavior": true,
        "details": {
            "awsEndpoint": far.s3().to_string(),
            "bucketName": "far",
            "bucketMatch": false,
            "https": false,
            "pathStyle": true,
            "supportsVersioning": versioned,
            "credentials": { "accessKey": ACCESS, "secretKey": SECRET },
        },
    } })
}

async fn upload(client: &Client, path: &str) -> Duration {
    let begin = Instant::now();
    let answer = client.send(Request::new("POST", path).query("uploads", "")).await.unwrap().good("an upload");
    let upload = xml::first(answer.text(), "UploadId").unwrap().to_owned();
    let part = |number: u64| {
        let request = Request::new("PUT", path).query("partNumber", number).query("uploadId", &upload);
        let (client, request) = (client.clone(), request.stream(PART, bytes(PART)));
        async move { client.send(request).await.unwrap().good("a part").etag() }
    };
    let etags: Vec<String> = stream::iter((1..=SIZE / PART).map(part)).buffered(4).collect().await;
    let part = |(index, etag)| format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", index + 1);
    let parts: String = etags.iter().enumerate().map(part).collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let answer = client.send(Request::new("POST", path).query("uploadId", &upload).body(body)).await.unwrap();
    let answer = answer.good("complete");
    assert!(answer.text().contains("<CompleteMultipartUploadResult"), "{}", answer.text());
    begin.elapsed()
}

async fn download(client: &Client, path: &str) -> Duration {
    let begin = Instant::now();
    assert_eq!(client.drain(Request::new("GET", path)).await.unwrap(), (StatusCode::OK, SIZE));
    begin.elapsed()
}

async fn ten_gigabytes(versioned: bool) {
    let far_world = World::new(json!({}));
    if !enough_space(&far_world, 2 * SIZE) {
        return;
    }
    let far = far_world.start().await;
    let direct = far.client();
    direct.create_bucket("far").await;
    if versioned {
        let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let request = Request::new("PUT", "/far").query("versioning", "").body(body);
        direct.send(request).await.unwrap().good("versioning");
    }
    let world = World::new(json!({}));
    world.write("locationConfig.json", &locations(&far, versioned));
    let front = world.start().await;
    let through = front.client();
    through.create_bucket("near").await;

    let put = [upload(&direct, "/far/direct").await, upload(&through, "/near/through").await];
    let peak_put = front.process().peak();
    front.process().forget_peak();
    let get = [download(&direct, "/far/direct").await, download(&through, "/near/through").await];
    let peak_get = front.process().peak();
    for (what, [direct, through], peak) in [("PUT", put, peak_put), ("GET", get, peak_get)] {
        println!(
            "{what} of 10 GiB (far side versioned: {versioned}): {direct:.1?} direct, {through:.1?} through the front, {:.0} % of the far side's speed; peak {}",
            100.0 * direct.as_secs_f64() / through.as_secs_f64(),
            mebibytes(peak)
        );
        assert!(peak < MOST, "{what}: the peak is {}", mebibytes(peak));
    }
}

#[test]
#[ignore = "minutes and 20 GiB of disk; run by `make soak`"]
fn r20_ten_gibibytes_through_a_versioned_far_side_need_little_memory() {
    run(ten_gigabytes(true));
}

#[test]
#[ignore = "minutes and 20 GiB of disk; run by `make soak`"]
fn r20_ten_gibibytes_through_an_unversioned_far_side_need_little_memory() {
    run(ten_gigabytes(false));
}
