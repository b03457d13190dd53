//! R16, R17: a start reads what was under way, not what is there, and takes a directory for itself alone.

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::support::{
    client::Request,
    machine::blob_files,
    run,
    server::{Server, World, until},
};

const FILE: usize = 2_000_000;

/// Adds `keys` small objects.
async fn fill(server: &Server, keys: std::ops::Range<u32>) {
    let client = server.client();
    stream::iter(keys)
        .for_each_concurrent(64, |key| {
            let client = client.clone();
            async move { drop(client.put(&format!("/bucket/{key:08}"), "x").await.unwrap().good("put")) }
        })
        .await;
}

/// Bytes that a server reads to start; the reading of its program is in there, too.
async fn read_by_start(world: &World) -> u64 {
    let server = world.start().await;
    let read = server.process().bytes_read();
    assert_eq!(server.admin("/ready").await.unwrap().0, 200);
    server.stop().await;
    read
}

#[test]
fn r16_what_a_start_reads_does_not_grow_with_the_number_of_objects() {
    run(async {
        let world = World::new(json!({}));
        let server = world.start().await;
        server.client().create_bucket("bucket").await;
        fill(&server, 0..100).await;
        server.stop().await;
        let few = read_by_start(&world).await;
        let server = world.start().await;
        fill(&server, 100..8000).await;
        server.stop().await;
        let many = read_by_start(&world).await;
        println!("a start reads {few} bytes with 100 keys, {many} with 8,000");
        // The records of 7,900 objects and their journal have some 4 MB.
        assert!(many < few + (256 << 10), "a start reads {few} bytes with 100 keys, {many} with 8,000");
    });
}

#[test]
fn r12_r16_a_start_removes_what_was_under_way_and_nothing_else() {
    run(async {
        let mut world = World::new(json!({}));
        world.config = json!({ "log": { "logLevel": "info", "dumpLevel": "error" } });
        let mut server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        for key in 0..10 {
            client.put(&format!("/bucket/{key}"), vec![b'x'; FILE]).await.unwrap().good("put");
        }
        let uploads: Vec<_> = (0..5)
            .map(|key| {
                let client = client.clone();
                // The body begins and never ends.
                let body = stream::once(async { vec![b'x'; FILE].into() }).chain(stream::pending());
                let request = Request::new("PUT", format!("/bucket/half-{key}")).stream(FILE as u64 * 10, body);
                tokio::spawn(async move { client.send(request).await })
            })
            .collect();
        until("files are begun", || blob_files(&world.data) == 15).await;
        server.kill();
        for upload in uploads {
            upload.await.unwrap().unwrap_err();
        }
        let server = world.start().await;
        assert_eq!(blob_files(&world.data), 10, "the ten whole objects stay");
        // Lines are written in batches.
        until("the start tells of the five", || server.log().contains(r#""removed":5"#)).await;
        let listing = server.client().get("/bucket").await.unwrap();
        assert!(!listing.text().contains("half-"), "{}", listing.text());
        let whole = server.client().get("/bucket/7").await.unwrap();
        assert_eq!(whole.body.len(), FILE);
        server.stop().await;
    });
}

#[test]
fn r17_a_second_server_on_the_same_folders_is_refused_and_told_why() {
    run(async {
        let world = World::new(json!({}));
        let server = world.start().await;
        server.client().create_bucket("bucket").await;
        let (status, said) = world.try_start().await.unwrap_err();
        assert_eq!(status.code(), Some(1), "{said}");
        let holder = format!("in use by process {}", server.process().0);
        let first = said.lines().next().unwrap_or_default();
        assert!(first.contains(&holder) && first.contains(world.data.to_str().unwrap()), "{said}");

        // Other data, the same metadata.
        let mut other = World::new(json!({}));
        other.metadata.clone_from(&world.metadata);
        let (status, said) = other.try_start().await.unwrap_err();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(world.metadata.to_str().unwrap()), "{said}");

        server.client().put("/bucket/key", "still served").await.unwrap().good("put");
        server.stop().await;
        let server = world.start().await;
        assert_eq!(server.client().get("/bucket/key").await.unwrap().body, "still served");
    });
}
