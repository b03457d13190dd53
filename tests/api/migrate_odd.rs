//! Migrations of what is odd, and beside others who write.

use std::{path::Path, sync::Arc, time::Duration};

use cloudserver::{
    clock::SystemClock,
    migrate::{MigrateError, Options, Progress, Report, Verify, run},
    outbound::{ClientOptions, HttpClient},
    s3client::{Credentials, Endpoint, Flavor, S3Client, VersionEntry},
};

use crate::support::world::{World, folder, path, versioning};

fn client(world: &World, secret: &str) -> S3Client {
    let endpoint = Endpoint {
        https: false,
        authority: world.address.to_string(),
        path_style: true,
        region: "us-east-1".to_owned(),
        flavor: Flavor::Aws,
    };
    let http = HttpClient::new(ClientOptions::default());
    S3Client::new(http, endpoint, Credentials::new("accessKey1", secret), Arc::new(SystemClock))
}

fn options(from: &World, to: &World, state: &Path) -> Options {
    Options {
        from: client(from, "verySecretKey1"),
        to: client(to, "verySecretKey1"),
        buckets: Vec::new(),
        prefix: String::new(),
        workers: 4,
        state: state.to_owned(),
        verify: Verify::Bytes,
        verify_only: false,
        accounts: std::collections::BTreeMap::new(),
        acls: true,
        keep_dates: false,
        location: None,
    }
}

async fn migrated(options: Options) -> Report {
    run(options, Arc::new(Progress::default())).await.unwrap()
}

/// All versions of a bucket, without what the target decides.
async fn versions(world: &World, bucket: &str) -> Vec<(String, bool, bool, String, u64)> {
    let page = client(world, "verySecretKey1").list_versions(bucket, "", (None, None), 1000).await.unwrap();
    assert!(page.next.is_none());
    let bare = |version: VersionEntry| {
        let object = version.object;
        (object.key, version.marker, version.latest, object.etag, object.size)
    };
    page.versions.into_iter().map(bare).collect()
}

fn odd_keys() -> Vec<String> {
    let odd = [
        "/",
        "//",
        "/a",
        "a/",
        "a//b",
        "a/./b",
        "a/../b",
        "..",
        ".",
        "../../etc/passwd",
        "%",
        "%2F",
        "a%20b",
        "+",
        " ",
        " a ",
        "a b+c",
        "?",
        "#",
        "&=;",
        "\"<>'",
        "\\",
        "ä/ö",
        "日本語",
        "e\u{301}",
        "\u{e9}",
        "🙂",
        "a\tb",
        "a\nb",
        "a\rb",
        "\u{1}",
        "\u{7f}",
        "\u{fffd}",
        "\u{10ffff}",
        "?versionId=null",
        "key?acl",
        "*",
        "{}[]|^`~",
    ];
    let mut keys: Vec<String> = odd.into_iter().map(str::to_owned).collect();
    keys.push("x".repeat(1024));
    keys.push("ü".repeat(512));
    keys.push("a/".repeat(512));
    keys
}

#[tokio::test]
async fn odd_keys_arrive_under_their_names() {
    for versioned in [false, true] {
        let (old, new) = (World::new().await, World::new().await);
        let bart = if versioned { old.versioned("bucket").await } else { old.bucket("bucket").await };
        let keys = odd_keys();
        for (number, key) in keys.iter().enumerate() {
            let put = bart.put(&path("bucket", key), format!("body {number}").repeat(number % 3));
            put.header("x-amz-meta-number", number.to_string()).expect(200).await;
            if versioned && number % 4 == 0 {
                bart.delete(&path("bucket", key)).expect(204).await;
            }
        }
        let state = folder();
        let all = options(&old, &new, &state.path().join("state"));
        for copied in [keys.len() as u64, 0] {
            let report = migrated(all.clone()).await;
            let bucket = &report.buckets[0];
            assert!(report.is_complete(), "{bucket:?}");
            assert_eq!((bucket.sums.versions, bucket.noted, bucket.failed), (copied, 0, 0), "{bucket:?}");
        }
        assert_eq!(versions(&new, "bucket").await, versions(&old, "bucket").await);
        for (number, key) in keys.iter().enumerate().filter(|(number, _)| !versioned || number % 4 != 0) {
            let found = new.bart().get(&path("bucket", key)).expect(200).await;
            assert_eq!(found.header("x-amz-meta-number"), Some(number.to_string().as_str()), "{key:?}");
        }
        new.sound().await;
    }
}

#[tokio::test]
async fn as_much_metadata_as_there_may_be_arrives() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.bucket("bucket").await;
    let value = "v".repeat(2000);
    let tags = (0..10).map(|number| format!("{}{number}={}", "k".repeat(120), "%C3%A4".repeat(40)));
    let tags = tags.collect::<Vec<_>>().join("&");
    let headers = [
        ("x-amz-meta-large", value.as_str()),
        ("content-disposition", "attachment; filename=\"a b.txt\""),
        ("expires", "never"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ];
    bart.put("/bucket/a", "a").headers(&headers).header("x-amz-tagging", tags).expect(200).await;
    let state = folder();
    let report = migrated(options(&old, &new, &state.path().join("state"))).await;
    assert!(report.is_complete() && report.buckets[0].noted == 0, "{report:?}");
    let found = new.bart().get("/bucket/a").expect(200).await;
    for (name, value) in headers {
        assert_eq!(found.header(name), Some(value), "{name}");
    }
    let tags = async |world: &World| world.bart().get("/bucket/a?tagging").expect(200).await.text();
    assert_eq!(tags(&new).await, tags(&old).await);
}

#[tokio::test]
async fn null_versions_and_markers_of_suspended_versioning_keep_their_order() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.bucket("bucket").await;
    bart.put("/bucket/before", "null").expect(200).await;
    bart.put("/bucket/between", "null").expect(200).await;
    versioning(&bart, "bucket", "Enabled").await;
    bart.put("/bucket/between", "named").expect(200).await;
    bart.put("/bucket/deleted", "named").expect(200).await;
    bart.delete("/bucket/deleted").expect(204).await;
    bart.delete("/bucket/deleted").expect(204).await;
    bart.put("/bucket/deleted", "named again").expect(200).await;
    versioning(&bart, "bucket", "Suspended").await;
    bart.delete("/bucket/between").expect(204).await;
    bart.delete("/bucket/deleted").expect(204).await;
    bart.put("/bucket/again", "null").expect(200).await;
    bart.put("/bucket/again", "null again").expect(200).await;
    bart.delete("/bucket/only-a-marker").expect(204).await;
    let state = folder();
    let all = options(&old, &new, &state.path().join("state"));
    for _ in 0..2 {
        let report = migrated(all.clone()).await;
        assert!(report.is_complete() && report.buckets[0].noted == 0, "{report:?}");
        assert_eq!(versions(&new, "bucket").await, versions(&old, "bucket").await);
    }
    new.sound().await;
}

#[tokio::test]
async fn an_upload_that_somebody_else_began_is_not_given_up() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.bucket("bucket").await;
    let begun = bart.post("/bucket/large?uploads", "").expect(200).await.tag("UploadId").unwrap();
    let mut list = String::new();
    for number in 1..=4 {
        let part = bart.put(&format!("/bucket/large?partNumber={number}&uploadId={begun}"), vec![number; 5 << 20]);
        let tag = part.expect(200).await.etag();
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    }
    let document = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    bart.post(&format!("/bucket/large?uploadId={begun}"), document).expect(200).await;

    // By the account that copies, of the same key.
    let there = new.bucket("bucket").await;
    let theirs = there.post("/bucket/large?uploads", "").expect(200).await.tag("UploadId").unwrap();
    there.put(&format!("/bucket/large?partNumber=1&uploadId={theirs}"), "somebody's").expect(200).await;
    let state = folder();
    let state = state.path().join("state");
    let mut interrupted = 0;
    while interrupted < 3 {
        let mut running = Box::pin(run(options(&old, &new, &state), Arc::new(Progress::default())));
        loop {
            let ended = tokio::time::timeout(Duration::from_millis(2), &mut running).await;
            assert!(ended.is_err(), "it ended before it was seen: {ended:?}");
            // Those of an earlier run are gone as soon as this one has begun its own.
            let open = there.get("/bucket?uploads").expect(200).await.tags("UploadId");
            let noted = std::fs::read_to_string(&state).unwrap_or_default();
            if noted.lines().filter(|line| line.contains(" i ")).count() > interrupted {
                assert!(open.len() <= 3, "{open:?}");
                break;
            }
        }
        // Dropped within an upload: as a kill.
        drop(running);
        interrupted += 1;
    }
    let report = migrated(options(&old, &new, &state)).await;
    assert!(report.is_complete() && report.buckets[0].noted == 0, "{report:?}");
    assert_eq!(there.get("/bucket?uploads").expect(200).await.tags("UploadId"), std::slice::from_ref(&theirs));
    let parts = there.get(&format!("/bucket/large?uploadId={theirs}")).expect(200).await;
    assert_eq!(parts.elements("Part").len(), 1);
    assert_eq!(
        there.head("/bucket/large").expect(200).await.etag(),
        bart.head("/bucket/large").expect(200).await.etag()
    );
}

#[tokio::test]
async fn what_clients_do_in_a_bucket_with_versions_is_never_undone() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.versioned("bucket").await;
    let here = new.versioned("bucket").await;
    for key in ["deleted", "written", "free"] {
        for body in ["1", "2", "3"] {
            bart.put(&format!("/bucket/{key}"), body).expect(200).await;
        }
    }
    here.delete("/bucket/deleted").expect(204).await;
    here.put("/bucket/written", "theirs").expect(200).await;
    let state = folder();
    for _ in 0..2 {
        let all = Options { verify: Verify::No, ..options(&old, &new, &state.path().join("state")) };
        let report = migrated(all).await;
        let bucket = &report.buckets[0];
        here.get("/bucket/deleted").refused(404, "NoSuchKey").await;
        assert_eq!(here.get("/bucket/written").expect(200).await.text(), "theirs");
        assert_eq!(here.get("/bucket/free").expect(200).await.text(), "3");
        // A delete is what the client wanted; a history that finds no place is a failure, and named.
        assert_eq!((bucket.noted, bucket.failed), (1, 1), "{bucket:?}");
        assert_eq!((bucket.notes[0].key.as_str(), bucket.failures[0].key.as_str()), ("deleted", "written"));
    }
}

#[tokio::test]
async fn wrong_keys_end_the_run_before_anything_is_written() {
    let (old, new) = (World::new().await, World::new().await);
    old.bucket("bucket").await.put("/bucket/a", "a").expect(200).await;
    let state = folder();
    let all = options(&old, &new, &state.path().join("state"));
    let refused = run(Options { from: client(&old, "wrong"), ..all.clone() }, Arc::default()).await;
    assert!(matches!(refused, Err(MigrateError::Source(_))), "{refused:?}");
    let refused = run(Options { to: client(&new, "wrong"), ..all.clone() }, Arc::default()).await;
    assert!(matches!(refused, Err(MigrateError::Target(_))), "{refused:?}");
    assert!(new.bart().get("/").expect(200).await.elements("Bucket").is_empty());
    assert!(migrated(all).await.is_complete());
}

#[tokio::test]
async fn keys_that_find_no_room_are_named_and_tried_again() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.bucket("bucket").await;
    for number in 0..6 {
        bart.put(&format!("/bucket/{number}"), vec![7; 1000]).expect(200).await;
    }
    let there = new.bucket("bucket").await;
    there.put("/bucket?quota", "{\"quota\": 3500}").expect(200).await;
    let state = folder();
    let all = options(&old, &new, &state.path().join("state"));
    let report = migrated(all.clone()).await;
    let bucket = &report.buckets[0];
    assert_eq!((bucket.sums.versions, bucket.failed, bucket.differences), (3, 3, Some(3)), "{bucket:?}");
    there.delete("/bucket?quota").expect(204).await;
    assert!(migrated(all).await.is_complete());
    assert_eq!(versions(&new, "bucket").await, versions(&old, "bucket").await);
}
