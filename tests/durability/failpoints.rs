//! R3, R8, R24 at each named step of a commit: the process ends there, and afterwards the old or the new is there.
//!
//! `FAILPOINTS` arms the points in the server, which this feature compiles in; `make soak` builds with it.

use serde_json::json;

use crate::{
    history::payload::{self, Tag},
    moves::{Moving, begin, ended, job},
    support::{
        client::{Client, Request},
        machine::blob_files,
        run,
        server::{Server, World, until},
        xml,
    },
};

/// Commits that a point lets pass before it strikes, so that the object to be replaced is there.
const STEPS: [&str; 2] = ["metadata-before-wal", "metadata-before-reply"];

fn tag(number: u32, length: u32) -> Tag {
    Tag { writer: 9, number, length }
}

/// A server whose `point` does `action`.
async fn armed(world: &mut World, point: &str, action: &str) -> Server {
    world.variables =
        vec![("MPU_TESTING".to_owned(), "yes".to_owned()), ("FAILPOINTS".to_owned(), format!("{point}={action}"))];
    world.start().await
}

async fn disarmed(world: &mut World) -> Server {
    world.variables.truncate(1);
    world.start().await
}

/// What the object is, which must be whole.
async fn read(client: &Client) -> Option<Tag> {
    let answer = client.get("/bucket/key").await.unwrap();
    if answer.status == 404 {
        return None;
    }
    let tags = payload::read(&answer.good("get").body).unwrap_or_else(|torn| panic!("{torn}"));
    assert_eq!(tags.len(), 1);
    Some(tags[0])
}

/// One change of an object.
#[derive(Clone, Copy, Debug)]
enum Change {
    Put(u32),
    Delete,
    Complete,
}

/// Prepares `change` on `client`; the upload to complete, if there is one.
async fn prepare(client: &Client, change: Change) -> Option<String> {
    client.create_bucket("bucket").await;
    client.put("/bucket/key", tag(1, 100_000).bytes()).await.unwrap().good("put");
    if !matches!(change, Change::Complete) {
        return None;
    }
    let answer = client.send(Request::new("POST", "/bucket/key").query("uploads", "")).await.unwrap();
    let upload = xml::first(answer.text(), "UploadId").unwrap().to_owned();
    let part = Request::new("PUT", "/bucket/key").query("partNumber", 1).query("uploadId", &upload);
    client.send(part.body(tag(2, 90_000).bytes())).await.unwrap().good("part");
    Some(upload)
}

fn request(change: Change, upload: Option<&str>) -> Request {
    match change {
        Change::Put(length) => Request::new("PUT", "/bucket/key").body(tag(2, length).bytes()),
        Change::Delete => Request::new("DELETE", "/bucket/key"),
        Change::Complete => {
            let etag = super::kill::md5(&tag(2, 90_000).bytes());
            let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
            let body = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
            Request::new("POST", "/bucket/key").query("uploadId", upload.unwrap_or_default()).body(body)
        }
    }
}

/// What must be there after `change`.
fn wanted(change: Change) -> Option<Tag> {
    match change {
        Change::Put(length) => Some(tag(2, length)),
        Change::Delete => None,
        Change::Complete => Some(tag(2, 90_000)),
    }
}

#[test]
#[ignore = "needs a build with fail points; run by `make soak`"]
fn r3_r8_a_crash_at_each_step_of_a_commit_leaves_the_old_or_the_new() {
    run(async {
        let mut outcomes = [0, 0];
        for change in [Change::Put(500), Change::Put(200_000), Change::Delete, Change::Complete] {
            for point in STEPS {
                // A change has up to three commits: a note, itself, and the end of the note.
                for passed in 0..3 {
                    let mut world = World::new(json!({}));
                    world.variables = vec![("MPU_TESTING".to_owned(), "yes".to_owned())];
                    let server = world.start().await;
                    let upload = prepare(&server.client(), change).await;
                    server.stop().await;
                    let mut server = armed(&mut world, point, &format!("{passed}*off->return")).await;
                    let answer = server.client().send(request(change, upload.as_deref())).await;
                    // What did not strike within the change strikes at the next.
                    let strikes = server.has_ended().is_some() || answer.is_err();
                    server.kill();
                    let server = disarmed(&mut world).await;
                    let seen = read(&server.client()).await;
                    let is_new = seen == wanted(change);
                    assert!(is_new || seen == Some(tag(1, 100_000)), "{change:?} {point} {passed}: {seen:?}");
                    assert!(strikes || is_new, "{change:?} {point} {passed}: acknowledged and not there");
                    outcomes[usize::from(is_new)] += 1;
                    // At a later start it is still the same.
                    server.stop().await;
                    let server = disarmed(&mut world).await;
                    assert_eq!(read(&server.client()).await, seen, "{change:?} {point} {passed}: it changed its mind");
                    drop(server.client().delete("/bucket/key").await.unwrap());
                    if let Some(upload) = &upload {
                        let abort = Request::new("DELETE", "/bucket/key").query("uploadId", upload);
                        drop(server.client().send(abort).await.unwrap());
                    }
                    until("no file is left", || blob_files(&world.data) == 0).await;
                }
            }
        }
        println!("{} times the old object, {} times the new one", outcomes[0], outcomes[1]);
        assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
    });
}

#[test]
#[ignore = "needs a build with fail points; run by `make soak`"]
fn r3_a_kill_while_the_file_is_written_or_synced_leaves_the_old() {
    run(async {
        for point in ["data-file-written", "data-file-synced"] {
            let mut world = World::new(json!({}));
            let server = world.start().await;
            prepare(&server.client(), Change::Delete).await;
            server.stop().await;
            let mut server = armed(&mut world, point, "pause").await;
            let client = server.client();
            let put = tokio::spawn(async move { client.send(request(Change::Put(200_000), None)).await });
            until("the new file is there", || blob_files(&world.data) == 2).await;
            assert_eq!(read(&server.client()).await, Some(tag(1, 100_000)), "{point}: nothing shows before the commit");
            server.kill();
            put.await.unwrap().unwrap_err();
            let server = disarmed(&mut world).await;
            assert_eq!(blob_files(&world.data), 1, "{point}: the start removes the new file");
            assert_eq!(read(&server.client()).await, Some(tag(1, 100_000)), "{point}");
        }
    });
}

#[test]
#[ignore = "needs a build with fail points; run by `make soak`"]
fn r14_r24_a_fault_or_a_panic_in_one_request_leaves_the_server_and_the_object_whole() {
    run(async {
        for (point, action) in [
            ("data-file-written", "1*return"),
            ("data-file-synced", "1*return"),
            ("data-file-written", "1*panic"),
            ("data-file-synced", "1*panic"),
        ] {
            let mut world = World::new(json!({}));
            let server = world.start().await;
            prepare(&server.client(), Change::Delete).await;
            server.stop().await;
            let server = armed(&mut world, point, action).await;
            let client = server.client();
            let answer = client.send(request(Change::Put(200_000), None)).await.unwrap();
            assert!(answer.status.is_server_error(), "{point}={action}: {}", answer.status);
            assert_eq!(read(&client).await, Some(tag(1, 100_000)), "{point}={action}");
            until("the new file is gone", || blob_files(&world.data) == 1).await;
            client.send(request(Change::Put(200_000), None)).await.unwrap().good("the next one");
            assert_eq!(read(&client).await, Some(tag(2, 200_000)), "{point}={action}");
            server.stop().await;
        }
    });
}

#[test]
#[ignore = "needs a build with fail points; run by `make soak`"]
fn r14_a_failed_log_refuses_writes_until_a_restart_and_still_reads() {
    run(async {
        let mut world = World::new(json!({}));
        let server = world.start().await;
        prepare(&server.client(), Change::Delete).await;
        server.stop().await;
        let server = armed(&mut world, "metadata-wal-fails", "1*return").await;
        let client = server.client();
        for _ in 0..3 {
            let answer = client.send(request(Change::Put(500), None)).await.unwrap();
            assert!(answer.status.is_server_error(), "{}", answer.status);
        }
        assert_eq!(read(&client).await, Some(tag(1, 100_000)));
        assert_ne!(server.admin("/ready").await.unwrap().0, 200, "whoever balances load looks elsewhere");
        server.stop().await;
        let server = disarmed(&mut world).await;
        assert_eq!(read(&server.client()).await, Some(tag(1, 100_000)));
        server.client().send(request(Change::Put(500), None)).await.unwrap().good("after the restart");
    });
}

#[test]
#[ignore = "needs a build with fail points; run by `make soak`"]
fn r3_a_crash_at_each_step_of_a_move_loses_nothing_and_leaves_nothing() {
    run(async {
        // The commits of a move: its record, the room at the new bucket location, and of each version the note and its end.
        let mut ends: Vec<(String, u32)> = ["move-staged", "move-published", "move-compared", "move-committed"]
            .into_iter()
            .flat_map(|point| [0, 2].map(|passed| (point.to_owned(), passed)))
            .collect();
        for point in STEPS {
            ends.extend((0..10).map(|passed| (point.to_owned(), passed)));
        }
        let mut struck = 0;
        for (point, passed) in ends {
            let mut moving = Moving::new();
            let server = moving.world.start().await;
            moving.fill(&server.client(), 4).await;
            let id = begin_stopped(server).await;
            let what = format!("{point} {passed}");
            moving.world.variables.push(("FAILPOINTS".to_owned(), format!("{point}={passed}*off->return")));
            // It may strike before anybody is served.
            if let Ok(mut server) = moving.world.try_start().await {
                while server.has_ended().is_none() && is_running(&server, &id).await {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                struck += u32::from(server.has_ended().is_some());
                server.kill();
            } else {
                struck += 1;
            }
            let server = disarmed(&mut moving.world).await;
            let job = ended(&server.client(), &id).await;
            assert_eq!((&job["state"], &job["left"]), (&json!("done"), &json!(0)), "{what} {job}");
            moving.check(&server, "files", &what).await;
            server.stop().await;
        }
        println!("{struck} moves were struck");
        assert!(struck > 15, "{struck}");
    });
}

/// Whether a job is at work, as far as anybody answers.
async fn is_running(server: &Server, id: &str) -> bool {
    job(&server.client(), id).await.is_none_or(|job| job["state"] == "running")
}

/// Begins a move and stops the server at once: the next one has all of it, or most, to do.
async fn begin_stopped(server: Server) -> String {
    let id = begin(&server.client(), "us-east-1", "files").await;
    server.stop().await;
    id
}
