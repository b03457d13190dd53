//! R13: a full device refuses writes and nothing else, keeps what was there, and takes writes again once there is space.

use std::time::Instant;

use serde_json::json;

use crate::support::{
    client::{Client, Request},
    machine::{SmallDisk, blob_files},
    run,
    server::{PATIENCE, Server, World, until},
};

const FILE: usize = 200_000;

/// A server with a whole object of each kind.
async fn prepared(world: &World) -> (Server, Client) {
    let server = world.start().await;
    let client = server.client();
    client.create_bucket("bucket").await;
    for key in ["old", "other"] {
        client.put(&format!("/bucket/{key}"), vec![b'o'; FILE]).await.unwrap().good("put");
        client.put(&format!("/bucket/{key}-small"), "old").await.unwrap().good("put");
    }
    (server, client)
}

/// Reads work, whole.
async fn old_objects_are_whole(client: &Client) {
    assert_eq!(client.get("/bucket/old").await.unwrap().body, vec![b'o'; FILE]);
    assert_eq!(client.get("/bucket/old-small").await.unwrap().body, "old");
    let listing = client.get("/bucket").await.unwrap().good("list");
    assert_eq!(crate::support::xml::all(listing.text(), "Contents").len(), 4, "{}", listing.text());
}

/// Writes until one is accepted.
async fn until_accepted(client: &Client, path: &str, body: Vec<u8>) {
    let begin = Instant::now();
    loop {
        let answer = client.put(path, body.clone()).await.unwrap();
        if answer.status.is_success() {
            return;
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(begin.elapsed() < PATIENCE, "writes do not resume");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[test]
fn r13_a_full_data_disk_answers_503_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(100) else { return };
    run(async {
        let mut world = World::new(json!({}));
        world.data = disk.path().join("data");
        let (server, client) = prepared(&world).await;
        let before = blob_files(&world.data);
        // Puts stop 64 MiB before the end, so that everything else has room.
        let ballast = disk.fill(64 << 20);
        for _ in 0..3 {
            let answer = client.put("/bucket/old", vec![b'n'; FILE]).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.code()), (503, "ServiceUnavailable"), "{}", answer.text());
        }
        old_objects_are_whole(&client).await;
        until("the files of refused writes are gone", || blob_files(&world.data) == before).await;
        client.delete("/bucket/other").await.unwrap().good("a full disk still deletes");
        assert_eq!(client.get("/bucket/other").await.unwrap().status, 404);
        drop(ballast);
        until_accepted(&client, "/bucket/old", vec![b'n'; FILE]).await;
        assert_eq!(client.get("/bucket/old").await.unwrap().body, vec![b'n'; FILE]);
        until("garbage is gone", || blob_files(&world.data) == 1).await;
        server.stop().await;
    });
}

#[test]
fn r13_a_full_metadata_disk_answers_503_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    run(async {
        let mut world = World::new(json!({}));
        world.metadata = disk.path().join("metadata");
        let (server, client) = prepared(&world).await;
        let ballast = disk.fill(16 << 20);
        let mut accepted = 0;
        let refused = loop {
            let answer = client.put(&format!("/bucket/old-{accepted}"), vec![b'n'; 30_000]).await.unwrap();
            if !answer.status.is_success() {
                break answer;
            }
            accepted += 1;
            assert!(accepted < 1000, "the disk does not fill");
        };
        assert_eq!((refused.status.as_u16(), refused.code()), (503, "ServiceUnavailable"), "{}", refused.text());
        assert_eq!(client.get("/bucket/old").await.unwrap().body, vec![b'o'; FILE]);
        assert_eq!(client.get("/bucket/old-small").await.unwrap().body, "old");
        for key in 0..accepted {
            let body = client.get(&format!("/bucket/old-{key}")).await.unwrap().body;
            assert_eq!(body, vec![b'n'; 30_000], "key {key} was acknowledged");
        }
        let gone = client.get(&format!("/bucket/old-{accepted}")).await.unwrap();
        assert_eq!(gone.status, 404, "what was refused is not there");
        // Each of these would remove a body, too; but what is kept for deletes is not theirs.
        for _ in 0..1500 {
            client.put("/bucket/old-0", vec![b'm'; 4096]).await.unwrap();
        }
        client.delete("/bucket/other").await.unwrap().good("a full disk still deletes");
        assert_eq!(client.get("/bucket/other").await.unwrap().status, 404);
        drop(ballast);
        until_accepted(&client, "/bucket/new", b"new".to_vec()).await;
        client.delete("/bucket/old").await.unwrap().good("delete");
        server.stop().await;
        let server = world.start().await;
        let client = server.client();
        for key in 0..accepted {
            let request = Request::new("HEAD", format!("/bucket/old-{key}"));
            client.send(request).await.unwrap().good("an acknowledged object after a restart");
        }
        assert_eq!(client.get("/bucket/new").await.unwrap().body, "new");
        assert_eq!(client.get("/bucket/old").await.unwrap().status, 404);
    });
}
