//! R15: told to stop, the server finishes what it has begun and loses nothing of what it has acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{
    client::{Client, Request},
    machine::blob_files,
    random::Random,
    run,
    server::{World, until, until_stopping},
};

/// Small and large pieces: the server begins a file when it has a megabyte of it.
const SMALL: usize = 20_000;
const LARGE: usize = 300_000;
const PIECES: usize = 10;

/// An upload of ten pieces: half of them come at once, the others each after a pause.
fn slow(path: &str, piece: usize, pause: Duration) -> Request {
    let body = stream::repeat(Bytes::from(vec![b'x'; piece])).take(PIECES).enumerate().then(
        move |(index, piece)| async move {
            if index >= PIECES / 2 {
                tokio::time::sleep(pause).await;
            }
            piece
        },
    );
    Request::new("PUT", path).stream((piece * PIECES) as u64, body)
}

/// Between pieces of an upload that does not end in time, in milliseconds.
const NEVER: u64 = 30_000;

async fn is_whole(client: &Client, path: &str) -> bool {
    let answer = client.get(path).await.unwrap();
    assert!(answer.status == 404 || answer.body == vec![b'x'; SMALL * PIECES], "{path} is torn: {}", answer.status);
    answer.status == 200
}

#[test]
fn r15_a_stop_during_a_hundred_uploads_keeps_all_that_was_acknowledged() {
    run(async {
        let world = World::new(json!({ "shutdownGraceSeconds": 5 }));
        let mut server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        let mut random = Random::new(15);
        let (mut uploads, done) = (tokio::task::JoinSet::new(), Arc::<AtomicUsize>::default());
        for number in 0..100 {
            // Some are done before the stop, most during the grace, the rest would take half a minute.
            let pause = if number % 10 == 0 { NEVER } else { random.within(1..400) };
            let (client, path, done) = (client.clone(), format!("/bucket/{number:03}"), Arc::clone(&done));
            uploads.spawn(async move {
                let answer = client.send(slow(&path, SMALL, Duration::from_millis(pause))).await;
                let acknowledged = answer.is_ok_and(|answer| answer.status.is_success());
                done.fetch_add(usize::from(acknowledged), Ordering::SeqCst);
                (path, pause, acknowledged)
            });
        }
        until("some uploads are done", || done.load(Ordering::SeqCst) >= 10).await;
        server.process().signal("TERM");
        let status = server.ended().await;
        assert_eq!(status.code(), Some(0), "{}", server.log());
        assert!(TcpStream::connect(server.s3()).await.is_err(), "nobody listens any more");
        let ended = uploads.join_all().await;
        let acknowledged = ended.iter().filter(|(.., done)| *done).count();
        println!("{acknowledged} of 100 uploads were acknowledged");
        assert!((1..=90).contains(&acknowledged), "{acknowledged} were acknowledged");

        let server = world.start().await;
        let client = server.client();
        let mut there = 0;
        for (path, pause, acknowledged) in ended {
            let whole = is_whole(&client, &path).await;
            assert!(whole || !acknowledged, "{path} was acknowledged");
            // One that was cut between its commit and its answer may be there; one that had not all come may not.
            assert!(!whole || pause != NEVER, "{path} is there, although it never came");
            there += usize::from(whole);
        }
        assert_eq!(blob_files(&world.data), there, "nothing is left of the others");
    });
}

#[test]
fn r15_while_it_stops_it_is_not_ready_and_takes_no_connections() {
    run(async {
        let world = World::new(json!({}));
        let mut server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        let upload = tokio::spawn({
            let client = client.clone();
            async move { client.send(slow("/bucket/key", LARGE, Duration::from_millis(500))).await }
        });
        until("the upload is under way", || blob_files(&world.data) == 1).await;
        assert_eq!(server.admin("/ready").await.unwrap().0, 200);
        server.process().signal("TERM");
        until_stopping(&server).await;
        upload.await.unwrap().unwrap().good("an upload under way is finished");
        assert_eq!(server.ended().await.code(), Some(0));
    });
}

#[test]
fn r15_a_second_signal_stops_at_once() {
    run(async {
        let world = World::new(json!({ "shutdownGraceSeconds": 600 }));
        let mut server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        client.put("/bucket/kept", "kept").await.unwrap().good("put");
        let upload = tokio::spawn({
            let client = client.clone();
            async move { client.send(slow("/bucket/key", LARGE, Duration::from_mins(5))).await }
        });
        until("the upload is under way", || blob_files(&world.data) == 1).await;
        server.process().signal("TERM");
        until_stopping(&server).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(server.has_ended().is_none(), "the first signal waits for the upload");
        server.process().signal("TERM");
        // It would wait for ten minutes otherwise.
        server.ended().await;
        upload.await.unwrap().unwrap_err();
        let server = world.start().await;
        assert_eq!(server.client().get("/bucket/kept").await.unwrap().body, "kept");
        assert_eq!(server.client().get("/bucket/key").await.unwrap().status, 404);
    });
}
