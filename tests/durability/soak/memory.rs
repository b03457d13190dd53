//! R20: memory is bounded whatever is uploaded, and by how many.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde_json::json;

use crate::support::{
    client::{Client, Request},
    machine::{Process, blob_files, mebibytes},
    run,
    server::{World, until},
};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
/// What loads may cost (issue 2).
const MOST: u64 = 256 * MIB;
const MOST_IDLE: u64 = 40 * MIB;

/// `length` bytes that cost the client next to nothing.
pub(super) fn bytes(length: u64) -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
    let piece = Bytes::from(vec![b'x'; 256 << 10]);
    let size = piece.len() as u64;
    stream::iter((0..length.div_ceil(size)).map(move |index| {
        let left = length - index * size;
        piece.slice(..usize::try_from(left.min(size)).unwrap())
    }))
}

/// Prints and checks what a load cost.
fn settle(process: Process, what: &str, begin: Instant, sent: u64) {
    let seconds = begin.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for eyes")]
    let rate = sent as f64 / seconds / 1e6;
    let (peak, now) = (process.peak(), process.resident());
    println!("{what}: {seconds:.1} s, {rate:.0} MB/s; peak {}, then {}", mebibytes(peak), mebibytes(now));
    assert!(peak < MOST, "{what}: the peak is {}", mebibytes(peak));
}

pub(super) fn enough_space(world: &World, needed: u64) -> bool {
    let disk = rustix::fs::statvfs(world.path()).unwrap();
    let enough = disk.f_bavail * disk.f_frsize > needed + needed / 4;
    if !enough {
        println!("SKIPPED: {} of space are needed", mebibytes(needed));
    }
    enough
}

#[test]
#[ignore = "seconds, but a figure of the release build; run by `make soak`"]
fn r20_an_idle_server_is_small() {
    run(async {
        let server = World::new(json!({})).start().await;
        server.client().create_bucket("idle").await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let resident = server.process().resident();
        println!("idle: {}", mebibytes(resident));
        assert!(resident < MOST_IDLE, "idle memory is {}", mebibytes(resident));
    });
}

#[test]
#[ignore = "minutes and 6 GiB of disk; run by `make soak`"]
fn r20_a_put_of_5_gib_needs_little_memory() {
    run(async {
        let world = World::new(json!({}));
        if !enough_space(&world, 5 * GIB) {
            return;
        }
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("large").await;
        let begin = Instant::now();
        let answer = client.send(Request::new("PUT", "/large/one").stream(5 * GIB, bytes(5 * GIB))).await;
        answer.unwrap().good("a PUT of 5 GiB");
        settle(server.process(), "one PUT of 5 GiB", begin, 5 * GIB);
        read_back(&client, server.process(), "/large/one", 5 * GIB).await;
    });
}

#[test]
#[ignore = "minutes and 25 GiB of disk; run by `make soak`"]
fn r20_an_object_of_20_gib_needs_little_memory() {
    const PART: u64 = 64 * MIB;
    run(async {
        let world = World::new(json!({}));
        if !enough_space(&world, 20 * GIB) {
            return;
        }
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("large").await;
        let begin = Instant::now();
        let answer = client.send(Request::new("POST", "/large/parts").query("uploads", "")).await.unwrap();
        let upload = crate::support::xml::first(answer.text(), "UploadId").unwrap().to_owned();
        let part = |number: u64| {
            let request = Request::new("PUT", "/large/parts").query("partNumber", number).query("uploadId", &upload);
            let (client, request) = (client.clone(), request.stream(PART, bytes(PART)));
            async move { client.send(request).await.unwrap().good("a part").etag() }
        };
        let etags: Vec<String> = stream::iter((1..=20 * GIB / PART).map(part)).buffered(4).collect().await;
        let part = |(index, etag)| format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", index + 1);
        let parts: String = etags.iter().enumerate().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let request = Request::new("POST", "/large/parts").query("uploadId", &upload).body(body);
        let answer = client.send(request).await.unwrap().good("complete");
        assert!(answer.text().contains("<CompleteMultipartUploadResult"), "{}", answer.text());
        settle(server.process(), "20 GiB in parts, 4 at a time", begin, 20 * GIB);
        read_back(&client, server.process(), "/large/parts", 20 * GIB).await;
        client.delete("/large/parts").await.unwrap().good("delete");
        until("no files are left", || blob_files(&world.data) == 0).await;
    });
}

async fn read_back(client: &Client, process: Process, path: &str, length: u64) {
    process.forget_peak();
    let begin = Instant::now();
    let (status, got) = client.drain(Request::new("GET", path)).await.unwrap();
    assert_eq!((status, got), (StatusCode::OK, length));
    settle(process, "read back", begin, length);
}

#[test]
#[ignore = "minutes and 8 GiB of disk; run by `make soak`"]
fn r20_a_thousand_uploads_at_once_need_little_memory() {
    const UPLOADS: u64 = 1000;
    run(async {
        let world = World::new(json!({}));
        if !enough_space(&world, UPLOADS * 8 * MIB) {
            return;
        }
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("many").await;
        let mut tasks = tokio::task::JoinSet::new();
        let begin = Instant::now();
        let together = std::sync::Arc::new(tokio::sync::Barrier::new(usize::try_from(UPLOADS).unwrap()));
        for number in 0..UPLOADS {
            let (client, together) = (client.clone(), std::sync::Arc::clone(&together));
            // The second half of each body comes when all uploads have sent their first.
            let body = bytes(8 * MIB).enumerate().then(move |(index, piece)| {
                let together = std::sync::Arc::clone(&together);
                async move {
                    if index == 2 {
                        together.wait().await;
                    }
                    piece
                }
            });
            tasks.spawn(async move {
                let request = Request::new("PUT", format!("/many/{number:04}")).stream(8 * MIB, body);
                client.send(request).await.unwrap().good("one of a thousand");
            });
        }
        tasks.join_all().await;
        settle(server.process(), "1,000 uploads of 8 MiB at once", begin, UPLOADS * 8 * MIB);
    });
}
