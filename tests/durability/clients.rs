//! R20 to R23: clients that are slow, silent, too many or gone cost the server nothing for long.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    client::{Client, Request},
    machine::{blob_files, mebibytes},
    run,
    server::{ACCESS, SECRET, Server, World, until},
    sign::Signer,
};

const MIB: usize = 1 << 20;
/// Stalled clients of each kind.
const CROWD: usize = 40;

/// Connects and sends the beginning of something.
async fn begin(server: &Server, text: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.s3()).await.unwrap();
    stream.write_all(text).await.unwrap();
    stream
}

/// A signed request's head.
fn head(server: &Server, method: &str, path: &str, length: usize) -> Vec<u8> {
    let host = server.s3().to_string();
    let signed = Signer::new(ACCESS, SECRET).sign(method, path, &[], &host, &[]);
    let headers: Vec<_> = signed.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {} HTTP/1.1\r\n{}content-length: {length}\r\n\r\n", signed.target, headers.concat()).into()
}

/// Waits until the server has no more files open than before.
async fn back_to(server: &Server, files: usize) {
    until("the number of open files", || server.process().open_files() <= files).await;
}

#[test]
fn r22_stalled_clients_are_cut_and_everything_they_held_comes_back() {
    run(async {
        let limits = json!({
            "headerSeconds": 10, "keepAliveIdleSeconds": 10, "bodyIdleSeconds": 10, "responseIdleSeconds": 10,
        });
        let world = World::new(json!({ "limits": limits }));
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        client.put("/bucket/large", vec![b'x'; 32 * MIB]).await.unwrap().good("put");
        client.put("/bucket/small", "small").await.unwrap().good("put");
        // The server keeps the files of objects that are read open for a while.
        let (_, length) = client.drain(Request::new("GET", "/bucket/large")).await.unwrap();
        assert_eq!(length, 32 * MIB as u64);
        client.hang_up();
        server.until_metric("cloudserver_connections", 1.0).await;
        let (files, memory) = (server.process().open_files(), server.process().resident());

        let mut crowd = Vec::new();
        for number in 0..CROWD {
            crowd.push(begin(&server, b"").await);
            crowd.push(begin(&server, b"GET /bucket/small HT").await);
            crowd.push(begin(&server, b"GET /bucket/small HTTP/1.1\r\nhost: x\r\nx-long: ").await);
            let upload = head(&server, "PUT", &format!("/bucket/never-{number}"), 8 * MIB);
            crowd.push(begin(&server, &[upload, vec![b'x'; 300_000]].concat()).await);
            // Asks for much and reads nothing.
            crowd.push(begin(&server, &head(&server, "GET", "/bucket/large", 0)).await);
        }
        for _ in 0..20 {
            let answer = client.get("/bucket/small").await.unwrap();
            assert_eq!(answer.body, "small", "others are served meanwhile");
        }
        let held = server.process().resident();
        until("the crowd is there", || server.process().open_files() >= files + crowd.len() / 2).await;
        client.hang_up();
        back_to(&server, files).await;
        until("half uploads are gone", || blob_files(&world.data) == 1).await;
        let after = server.process().resident();
        println!(
            "memory: {} before, {} with the crowd, {} after",
            mebibytes(memory),
            mebibytes(held),
            mebibytes(after)
        );
        assert!(after < memory + (48 << 20), "memory: {} before, {} after", mebibytes(memory), mebibytes(after));
        drop(crowd);
        assert_eq!(client.get("/bucket/never-0").await.unwrap().status, 404);
        server.stop().await;
    });
}

#[test]
fn r22_a_body_that_drips_is_cut_and_one_that_flows_is_not() {
    run(async {
        let limits = json!({ "bodyIdleSeconds": 60, "bodyMinBytesPerSecond": 1000, "bodyMinRateWindowSeconds": 1 });
        let world = World::new(json!({ "limits": limits }));
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        let body = |size: usize, pieces: usize| {
            let pieces = stream::repeat(Bytes::from(vec![b'x'; size])).take(pieces);
            pieces.then(|piece| async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                piece
            })
        };
        // Ten bytes a second for a minute; and 100,000 bytes a second.
        let drips = client.send(Request::new("PUT", "/bucket/drips").stream(600, body(1, 600))).await;
        if let Ok(answer) = drips {
            assert_eq!(answer.code(), "RequestTimeout", "{} {}", answer.status, answer.text());
        }
        let flows = client.send(Request::new("PUT", "/bucket/flows").stream(300_000, body(10_000, 30))).await;
        flows.unwrap().good("a body that flows");
        assert_eq!(client.get("/bucket/drips").await.unwrap().status, 404);
        server.stop().await;
    });
}

#[test]
fn r23_clients_that_leave_leave_nothing_behind() {
    run(async {
        let world = World::new(json!({}));
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        client.put("/bucket/large", vec![b'x'; 8 * MIB]).await.unwrap().good("put");
        client.drain(Request::new("GET", "/bucket/large")).await.unwrap();
        client.hang_up();
        server.until_metric("cloudserver_connections", 1.0).await;
        let files = server.process().open_files();
        for round in 0..60 {
            let sent = round * 17_001;
            let upload = head(&server, "PUT", &format!("/bucket/left-{round}"), MIB + 1);
            drop(begin(&server, &[upload, vec![b'x'; sent.min(MIB)]].concat()).await);
            let mut reader = begin(&server, &head(&server, "GET", "/bucket/large", 0)).await;
            reader.read_exact(&mut vec![0; 1 + round * 1000]).await.unwrap();
            drop(reader);
        }
        back_to(&server, files).await;
        until("half uploads are gone", || blob_files(&world.data) == 1).await;
        let listing = client.get("/bucket").await.unwrap();
        assert!(!listing.text().contains("left-"), "{}", listing.text());
        // The listing's and the asker's own.
        server.until_metric("cloudserver_connections", 2.0).await;
        // The admin port, which is asked here, counts no requests.
        server.until_metric("s3_cloudserver_http_active_requests", 0.0).await;
        server.stop().await;
    });
}

#[test]
fn r21_too_many_connections_are_told_to_slow_down_and_health_still_answers() {
    run(async {
        let world = World::new(json!({ "limits": { "connections": 30 } }));
        let server = world.start().await;
        let mut held = Vec::new();
        for _ in 0..30 {
            held.push(begin(&server, b"GET / HTTP/1.1\r\n").await);
        }
        let mut refused = TcpStream::connect(server.s3()).await.unwrap();
        let mut answer = String::new();
        // The server may close before it has read a byte of the request.
        drop(refused.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await);
        drop(refused.read_to_string(&mut answer).await);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("SlowDown"), "{answer:?}");
        assert!(answer.to_lowercase().contains("\r\nretry-after: 1\r\n"), "{answer}");
        assert_eq!(server.admin("/live").await.unwrap().0, 200);
        drop(held);
        let client = server.client();
        let mut accepted = client.get("/").await;
        while !accepted.as_ref().is_ok_and(|answer| answer.status == 200) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            accepted = client.get("/").await;
        }
        server.stop().await;
    });
}

#[test]
fn r21_too_many_requests_are_told_to_slow_down_and_the_others_finish() {
    run(async {
        let world = World::new(json!({ "limits": { "requestsInFlight": 8 } }));
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        let (go, gate) = tokio::sync::watch::channel(false);
        let uploads: Vec<_> = (0..8)
            .map(|number| {
                let (client, gate) = (client.clone(), gate.clone());
                tokio::spawn(async move { client.send(gated(number, gate)).await })
            })
            .collect();
        until("eight uploads are under way", || blob_files(&world.data) == 8).await;
        let answer = client.get("/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "SlowDown"), "{}", answer.text());
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(server.admin("/live").await.unwrap().0, 200);
        go.send(true).unwrap();
        for upload in uploads {
            upload.await.unwrap().unwrap().good("an upload that was there first");
        }
        client.get("/").await.unwrap().good("there is room again");
        server.stop().await;
    });
}

/// An upload whose last piece waits at a gate.
fn gated(number: usize, mut gate: tokio::sync::watch::Receiver<bool>) -> Request {
    let first = stream::once(async { Bytes::from(vec![b'x'; MIB]) });
    let last = stream::once(async move {
        gate.wait_for(|open| *open).await.unwrap();
        Bytes::from(vec![b'x'; MIB])
    });
    Request::new("PUT", format!("/bucket/{number}")).stream(2 * MIB as u64, first.chain(last))
}

#[test]
fn r20_uploads_that_stall_hold_a_bounded_amount_each() {
    run(async {
        let world = World::new(json!({}));
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        server.process().forget_peak();
        let before = server.process().peak();
        let (go, gate) = tokio::sync::watch::channel(false);
        let send = |number| {
            let (client, gate): (Client, _) = (client.clone(), gate.clone());
            tokio::spawn(async move { client.send(gated(number, gate)).await })
        };
        let uploads: Vec<_> = (0..200).map(send).collect();
        until("all uploads are under way", || blob_files(&world.data) == 200).await;
        let held = server.process().peak().saturating_sub(before);
        println!("200 uploads of 2 MiB, half sent: {} more", mebibytes(held));
        // Their bodies are 400 MiB, of which 200 MiB have come.
        assert!(held < 100 << 20, "200 stalled uploads hold {}", mebibytes(held));
        go.send(true).unwrap();
        for upload in uploads {
            upload.await.unwrap().unwrap().good("an upload");
        }
        server.stop().await;
    });
}
