//! Ten gigabytes through a location that is another server: what it needs of memory, and how fast it is beside the other
//! server itself.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde_json::{Value, json};

use super::memory::{GIB, MIB, bytes, enough_space};
use crate::support::{
    client::{Client, Request},
    machine::{Process, mebibytes},
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

/// An upload in parts that goes on when it is told to.
struct Upload {
    client: Client,
    path: &'static str,
    id: String,
    etags: Vec<String>,
    took: Duration,
}

impl Upload {
    async fn begin(client: Client, path: &'static str) -> Self {
        let answer = client.send(Request::new("POST", path).query("uploads", "")).await.unwrap().good("an upload");
        let id = xml::first(answer.text(), "UploadId").unwrap().to_owned();
        Self { client, path, id, etags: Vec::new(), took: Duration::ZERO }
    }

    /// Sends the next gigabyte, four parts at a time.
    async fn go_on(&mut self) {
        let begin = Instant::now();
        let first = self.etags.len() as u64 + 1;
        let part = |number: u64| {
            let request = Request::new("PUT", self.path).query("partNumber", number).query("uploadId", &self.id);
            let (client, request) = (self.client.clone(), request.stream(PART, bytes(PART)));
            async move { client.send(request).await.unwrap().good("a part").etag() }
        };
        let numbers = first..first + GIB / PART;
        let sent: Vec<String> = stream::iter(numbers.map(part)).buffered(4).collect().await;
        self.etags.extend(sent);
        self.took += begin.elapsed();
    }

    async fn end(self) -> Duration {
        let begin = Instant::now();
        let part = |(index, etag)| format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", index + 1);
        let parts: String = self.etags.iter().enumerate().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let request = Request::new("POST", self.path).query("uploadId", &self.id).body(body);
        let answer = self.client.send(request).await.unwrap().good("complete");
        assert!(answer.text().contains("<CompleteMultipartUploadResult"), "{}", answer.text());
        self.took + begin.elapsed()
    }
}

/// Uploads through both clients, a gigabyte in turn: what else the machine does meanwhile falls on both.
async fn uploads(direct: &Client, through: &Client) -> [Duration; 2] {
    let mut direct = Upload::begin(direct.clone(), "/far/direct").await;
    let mut through = Upload::begin(through.clone(), "/near/through").await;
    for _ in 0..SIZE / GIB {
        direct.go_on().await;
        through.go_on().await;
    }
    [direct.end().await, through.end().await]
}

async fn download(client: &Client, path: &str) -> Duration {
    let begin = Instant::now();
    assert_eq!(client.drain(Request::new("GET", path)).await.unwrap(), (StatusCode::OK, SIZE));
    begin.elapsed()
}

/// Whose processors the far side works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Processors {
    /// Those that the front and the client have, too: what the front needs the far side goes without.
    Shared,
    /// Half of the machine's, and the front and the client have the other half, as if it were a machine of its own.
    Its,
}

/// Divides the processors; gives them back when it goes.
struct Halves;

impl Halves {
    fn of(far: Process, front: Process) -> Self {
        let all = std::thread::available_parallelism().unwrap().get();
        far.stay_on(0, all / 2);
        front.stay_on(all / 2, all);
        Process(std::process::id()).stay_on(all / 2, all);
        Self
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        Process(std::process::id()).stay_on(0, usize::from(u16::MAX));
    }
}

async fn ten_gigabytes(versioned: bool, processors: Processors) {
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

    let _halves = (processors == Processors::Its).then(|| Halves::of(far.process(), front.process()));
    let put = uploads(&direct, &through).await;
    let peak_put = front.process().peak();
    front.process().forget_peak();
    let get = [download(&direct, "/far/direct").await, download(&through, "/near/through").await];
    let peak_get = front.process().peak();
    for (what, [direct, through], peak) in [("PUT", put, peak_put), ("GET", get, peak_get)] {
        println!(
            "{what} of 10 GiB (far side versioned: {versioned}, processors: {processors:?}): {direct:.1?} direct, {through:.1?} through the front, {:.0} % of the far side's speed; peak {}",
            100.0 * direct.as_secs_f64() / through.as_secs_f64(),
            mebibytes(peak)
        );
        assert!(peak < MOST, "{what}: the peak is {}", mebibytes(peak));
    }
}

#[test]
#[ignore = "minutes and 20 GiB of disk; run by `make soak`"]
fn r20_ten_gibibytes_through_a_versioned_far_side_need_little_memory() {
    run(ten_gigabytes(true, Processors::Shared));
}

#[test]
#[ignore = "minutes and 20 GiB of disk; run by `make soak`"]
fn r20_ten_gibibytes_through_an_unversioned_far_side_need_little_memory() {
    run(ten_gigabytes(false, Processors::Shared));
}

#[test]
#[ignore = "minutes and 20 GiB of disk; run by `make soak`"]
fn r20_ten_gibibytes_through_a_versioned_far_side_apart_need_little_memory() {
    run(ten_gigabytes(true, Processors::Its));
}

#[test]
#[ignore = "minutes and 20 GiB of disk; run by `make soak`"]
fn r20_ten_gibibytes_through_an_unversioned_far_side_apart_need_little_memory() {
    run(ten_gigabytes(false, Processors::Its));
}
