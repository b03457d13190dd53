//! Conditional PUT, copy, completion and DELETE: one winner, and losers that leave nothing (s3-wire.md §5, R7).

use tokio::task::JoinSet;

use crate::{
    multipart::Upload,
    support::{
        client::Client,
        world::{World, refused, versioning},
    },
};

#[tokio::test]
async fn if_none_match_star_writes_only_what_is_absent() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    bart.put("/conditions/a", "first").header("if-none-match", "*").expect(200).await;
    let again = bart.put("/conditions/a", "second").header("if-none-match", "*");
    refused(&world, again, 412, "PreconditionFailed").await.with("Condition", "If-None-Match");
    bart.get("/conditions/a").expect(200).await.body_is("first");
    bart.delete("/conditions/a").expect(204).await;
    bart.put("/conditions/a", "third").header("if-none-match", "*").expect(200).await;
}

#[tokio::test]
async fn if_match_writes_only_over_that_tag() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    let absent = bart.put("/conditions/a", "new").header("if-match", "\"x\"");
    refused(&world, absent, 404, "NoSuchKey").await;
    let absent = bart.put("/conditions/a", "new").header("if-match", "*");
    refused(&world, absent, 404, "NoSuchKey").await;
    let etag = bart.put("/conditions/a", "first").expect(200).await.etag();
    let other = bart.put("/conditions/a", "new").header("if-match", "\"x\"");
    refused(&world, other, 412, "PreconditionFailed").await.with("Condition", "If-Match");
    let etag = bart.put("/conditions/a", "second").header("if-match", &etag).expect(200).await.etag();
    bart.put("/conditions/a", "third").header("if-match", etag.trim_matches('"')).expect(200).await;
    bart.put("/conditions/a", "fourth").header("if-match", "*").expect(200).await;
    bart.get("/conditions/a").expect(200).await.body_is("fourth");
}

/// A server that speaks Ceph's dialect.
async fn ceph() -> World {
    World::with(|config| config.compat.dialect = cloudserver::types::Dialect::Ceph).await
}

#[tokio::test]
async fn both_conditions_of_a_write_at_once_are_not_implemented() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    bart.put("/conditions/a", "first").expect(200).await;
    for headers in [
        &[("if-none-match", "*"), ("if-match", "*")][..],
        &[("if-none-match", "\"tag\""), ("if-match", "*")],
        &[("if-none-match", "*"), ("if-match", "\"x\"")],
    ] {
        refused(&world, bart.put("/conditions/a", "new").headers(headers), 501, "NotImplemented").await;
    }
}

/// RFC 9110 §13.1.2, as Ceph has it; AWS takes `*` only.
#[tokio::test]
async fn if_none_match_with_tags_writes_unless_the_current_object_has_one() {
    let world = ceph().await;
    let bart = world.versioned("conditions").await;
    bart.put("/conditions/source", "body").expect(200).await;
    let put = || bart.put("/conditions/a", "put");
    let copy = || bart.put("/conditions/a", "").header("x-amz-copy-source", "/conditions/source");
    let upload = Upload::begin(&bart, "/conditions/a").await;
    let part = upload.part(1, "part").await;
    // Nothing is there: no tag matches.
    let first = put().header("if-none-match", "\"tag\"").expect(200).await.etag();
    for call in [put(), copy(), upload.complete(&[(1, &part)])] {
        for tags in [first.clone(), format!("W/{first}"), format!("\"other\", {first}"), first.replace('"', "")] {
            let lost = call.clone().header("if-none-match", tags);
            refused(&world, lost, 412, "PreconditionFailed").await.with("Condition", "If-None-Match");
        }
    }
    upload.complete(&[(1, &part)]).header("if-none-match", "\"other\"").expect(200).await;
    // Only the current version counts, and a marker is none.
    copy().header("if-none-match", &first).expect(200).await;
    put().header("if-none-match", &first).expect(200).await;
    bart.delete("/conditions/a").expect(204).await;
    put().header("if-none-match", &first).expect(200).await;
}

#[tokio::test]
async fn of_many_writes_unless_that_tag_is_there_one_wins() {
    let world = ceph().await;
    let bart = world.bucket("conditions").await;
    let etag = bart.put("/conditions/tag", "body").expect(200).await.etag();
    let calls = (0..8).map(|_| bart.put("/conditions/a", "body").header("if-none-match", &etag)).collect();
    let mut statuses = at_once(calls).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}

#[tokio::test]
async fn a_delete_marker_is_an_absent_key_to_conditions() {
    let world = World::new().await;
    let bart = world.versioned("conditions").await;
    let etag = bart.put("/conditions/a", "first").expect(200).await.etag();
    bart.delete("/conditions/a").expect(204).await;
    refused(&world, bart.put("/conditions/a", "x").header("if-match", &etag), 404, "NoSuchKey").await;
    refused(&world, bart.put("/conditions/a", "x").header("if-match", "*"), 404, "NoSuchKey").await;
    bart.put("/conditions/a", "second").header("if-none-match", "*").expect(200).await;
    versioning(&bart, "conditions", "Suspended").await;
    refused(&world, bart.put("/conditions/a", "x").header("if-none-match", "*"), 412, "PreconditionFailed").await;
    bart.delete("/conditions/a").expect(204).await;
    bart.put("/conditions/a", "third").header("if-none-match", "*").expect(200).await;
}

#[tokio::test]
async fn copies_obey_the_conditions_of_their_destination() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    bart.put("/conditions/source", "body").expect(200).await;
    let copy = |to: &str| bart.put(&format!("/conditions/{to}"), "").header("x-amz-copy-source", "/conditions/source");
    refused(&world, copy("a").header("if-match", "*"), 404, "NoSuchKey").await;
    copy("a").header("if-none-match", "*").expect(200).await;
    refused(&world, copy("a").header("if-none-match", "*"), 412, "PreconditionFailed").await;
    refused(&world, copy("a").header("if-match", "\"x\""), 412, "PreconditionFailed").await;
    copy("a").header("if-match", "*").expect(200).await;
}

#[tokio::test]
async fn deletes_obey_conditions_and_absent_keys_are_deleted_already() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    let put = bart.put("/conditions/a", "body").expect(200).await;
    for (name, value, shown) in [
        ("if-match", "\"x\"", "If-Match"),
        ("x-amz-if-match-size", "5", "x-amz-if-match-size"),
        ("x-amz-if-match-last-modified-time", "Sat, 01 Jan 2000 00:00:00 GMT", "x-amz-if-match-last-modified-time"),
    ] {
        let call = bart.delete("/conditions/a").header(name, value);
        refused(&world, call, 412, "PreconditionFailed").await.with("Condition", shown);
        bart.delete("/conditions/none").header(name, value).expect(204).await;
    }
    for (name, value) in
        [("x-amz-if-match-size", "-1"), ("x-amz-if-match-size", "x"), ("x-amz-if-match-last-modified-time", "x")]
    {
        refused(&world, bart.delete("/conditions/a").header(name, value), 400, "InvalidArgument").await;
    }
    let etag = put.etag();
    for (name, value) in [
        ("if-match", etag.as_str()),
        ("if-match", "*"),
        ("x-amz-if-match-size", "4"),
        ("x-amz-if-match-last-modified-time", ""),
    ] {
        bart.put("/conditions/b", "body").expect(200).await;
        // A slow machine may be a second further by now.
        let modified = bart.head("/conditions/b").expect(200).await.header("last-modified").unwrap().to_owned();
        let value = if value.is_empty() { modified.as_str() } else { value };
        bart.delete("/conditions/b").header(name, value).expect(204).await;
        bart.get("/conditions/b").refused(404, "NoSuchKey").await;
    }
}

/// Runs all of `calls` at once; gives the statuses.
async fn at_once(calls: Vec<crate::support::client::Call>) -> Vec<u16> {
    let mut set = JoinSet::new();
    for call in calls {
        set.spawn(async move { call.send().await.status });
    }
    set.join_all().await
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|known| **known == status).count()
}

const WRITERS: usize = 24;
const ROUNDS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn put_if_none_match_loses_to_a_concurrent_put() {
    let world = World::new().await;
    let bart = world.bucket("races").await;
    for round in 0..ROUNDS {
        let writer =
            |number: usize| bart.put(&format!("/races/{round}"), format!("{number}")).header("if-none-match", "*");
        let statuses = at_once((0..WRITERS).map(writer).collect()).await;
        assert_eq!(count(&statuses, 200), 1, "{statuses:?}");
        assert_eq!(count(&statuses, 412) + count(&statuses, 409), WRITERS - 1, "{statuses:?}");
    }
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_over_one_tag_one_wins() {
    let world = World::new().await;
    let bart = world.bucket("races").await;
    let mut etag = bart.put("/races/a", "start").expect(200).await.etag();
    for round in 0..ROUNDS {
        let writer = |number: usize| bart.put("/races/a", format!("{round} {number}")).header("if-match", &etag);
        let statuses = at_once((0..WRITERS).map(writer).collect()).await;
        assert_eq!(count(&statuses, 200), 1, "{statuses:?}");
        assert_eq!(count(&statuses, 412) + count(&statuses, 409), WRITERS - 1, "{statuses:?}");
        etag = bart.head("/races/a").expect(200).await.etag();
    }
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_by_if_match_loses_no_step() {
    let world = World::new().await;
    let bart = world.bucket("races").await;
    bart.put("/races/counter", "0").expect(200).await;
    let mut set = JoinSet::new();
    for _ in 0..8 {
        let bart = bart.clone();
        set.spawn(async move {
            for _ in 0..10 {
                loop {
                    let read = bart.get("/races/counter").expect(200).await;
                    let next = read.text().parse::<u32>().unwrap() + 1;
                    let write =
                        bart.put("/races/counter", next.to_string()).header("if-match", read.etag()).send().await;
                    match write.status {
                        200 => break,
                        412 | 409 => {}
                        _ => panic!("{write}"),
                    }
                }
            }
        });
    }
    set.join_all().await;
    bart.get("/races/counter").expect(200).await.body_is("80");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_conditional_copies_and_completions_one_wins() {
    let world = World::small_parts().await;
    let bart = world.bucket("races").await;
    bart.put("/races/source", "copied").expect(200).await;
    for round in 0..ROUNDS {
        let key = format!("/races/{round}");
        let mut calls = Vec::new();
        for _ in 0..6 {
            calls.push(bart.put(&key, "").headers(&[("x-amz-copy-source", "/races/source"), ("if-none-match", "*")]));
            let (upload, body) = uploaded(&bart, &key).await;
            calls.push(bart.post(&format!("{key}?uploadId={upload}"), body).header("if-none-match", "*"));
            calls.push(bart.put(&key, "put").header("if-none-match", "*"));
        }
        let statuses = at_once(calls).await;
        assert_eq!(count(&statuses, 200), 1, "{statuses:?}");
        assert_eq!(count(&statuses, 412) + count(&statuses, 409), 17, "{statuses:?}");
    }
    world.sound().await;
}

/// An upload of one part, and the document that completes it.
async fn uploaded(bart: &Client, key: &str) -> (String, String) {
    let upload = bart.post(&format!("{key}?uploads"), "").expect(200).await.tag("UploadId").unwrap();
    let part = bart.put(&format!("{key}?partNumber=1&uploadId={upload}"), "part").expect(200).await;
    let part = format!("<Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>", part.etag());
    (upload, format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_conditional_deletes_against_overwrites_none_removes_the_newer_object() {
    let world = World::new().await;
    let bart = world.bucket("races").await;
    for round in 0..ROUNDS {
        let key = format!("/races/{round}");
        let etag = bart.put(&key, "old").expect(200).await.etag();
        let mut calls: Vec<_> = (0..8).map(|_| bart.delete(&key).header("if-match", &etag)).collect();
        calls.push(bart.put(&key, "new"));
        let statuses = at_once(calls).await;
        assert_eq!(
            statuses.iter().filter(|status| !matches!(status, 200 | 204 | 412 | 409)).count(),
            0,
            "{statuses:?}"
        );
        bart.get(&key).expect(200).await.body_is("new");
    }
    world.sound().await;
}
