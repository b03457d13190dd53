//! Quotas of buckets: exact, whoever races, and never in the way of a delete.

use futures_util::future::join_all;

use crate::support::world::{World, refused, versioning};

async fn limit(world: &World, bucket: &str, document: &str) {
    world.bart().put(&format!("/{bucket}?quota"), document).expect(200).await;
}

async fn used(world: &World, bucket: &str) -> (i64, i64) {
    let bucket = world.storage().bucket(&cloudserver::types::BucketName::new(bucket).unwrap()).await.unwrap();
    let usage = world.storage().usage(&bucket).await.unwrap();
    (usage.stored_bytes(), usage.versions)
}

#[tokio::test]
async fn a_quota_is_set_in_both_forms_read_and_removed() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    bart.get("/bkt?quota").refused(404, "NoSuchQuota").await;
    for (document, answer) in [
        (r#"{"quota": 1000}"#, "<Name>bkt</Name><Quota>1000</Quota>"),
        ("<quota>2000</quota>", "<Name>bkt</Name><Quota>2000</Quota>"),
        (r#"{"quota": 5, "objects": 6}"#, "<Name>bkt</Name><Quota>5</Quota><Objects>6</Objects>"),
        (r#"{"objects": 7}"#, "<Name>bkt</Name><Objects>7</Objects>"),
    ] {
        limit(&world, "bkt", document).await;
        let text = bart.get("/bkt?quota").expect(200).await.text();
        assert!(text.contains(&format!("<GetBucketQuota>{answer}</GetBucketQuota>")), "{text}");
        let copy = text.split_once("?>").unwrap().1.trim().to_owned();
        limit(&world, "bkt", &copy).await;
        assert_eq!(bart.get("/bkt?quota").expect(200).await.text(), text, "what is read can be written");
    }
    bart.delete("/bkt?quota").expect(204).await;
    bart.get("/bkt?quota").refused(404, "NoSuchQuota").await;
    bart.delete("/bkt?quota").expect(204).await;
}

#[tokio::test]
async fn a_quota_that_is_none_changes_nothing() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    limit(&world, "bkt", r#"{"quota": 1000}"#).await;
    for (document, code) in [
        (r#"{"quota": 0}"#, "InvalidArgument"),
        (r#"{"quota": "many"}"#, "InvalidArgument"),
        ("<quota>-1</quota>", "InvalidArgument"),
        ("<limit>1</limit>", "MalformedXML"),
        ("", "MissingRequestBodyError"),
    ] {
        refused(&world, bart.put("/bkt?quota", document), 400, code).await;
    }
    refused(&world, world.lisa().put("/bkt?quota", "<quota>1</quota>"), 403, "AccessDenied").await;
    refused(&world, world.lisa().delete("/bkt?quota"), 403, "AccessDenied").await;
    refused(&world, world.nobody().get("/bkt?quota"), 403, "AccessDenied").await;
    refused(&world, bart.put("/none?quota", "<quota>1</quota>"), 404, "NoSuchBucket").await;
}

#[tokio::test]
async fn sixty_four_writers_fill_a_bucket_to_the_byte_and_never_beyond() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    limit(&world, "bkt", r#"{"quota": 1000}"#).await;
    let writers = (0..64).map(|number| {
        let bart = bart.clone();
        async move { bart.put(&format!("/bkt/{number}"), vec![b'x'; 50]).send().await.status }
    });
    let statuses = join_all(writers).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 20);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 44);
    assert_eq!(used(&world, "bkt").await, (1000, 20));
    refused(&world, bart.put("/bkt/more", "x"), 429, "QuotaExceeded").await;
    bart.put("/bkt/empty", "").expect(200).await;
    world.sound().await;
}

#[tokio::test]
async fn an_overwrite_counts_its_difference() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    limit(&world, "bkt", r#"{"quota": 100}"#).await;
    bart.put("/bkt/a", vec![b'x'; 90]).expect(200).await;
    bart.put("/bkt/a", vec![b'x'; 100]).expect(200).await;
    refused(&world, bart.put("/bkt/a", vec![b'x'; 101]), 429, "QuotaExceeded").await;
    bart.get("/bkt/a").expect(200).await.body_is(vec![b'x'; 100]);
    let source = [("x-amz-copy-source", "/bkt/a")];
    refused(&world, bart.put("/bkt/copy", "").headers(&source), 429, "QuotaExceeded").await;
    // Below what is there already: what shrinks is allowed, what grows is not.
    limit(&world, "bkt", r#"{"quota": 10}"#).await;
    bart.put("/bkt/a", vec![b'x'; 60]).expect(200).await;
    refused(&world, bart.put("/bkt/a", vec![b'x'; 61]), 429, "QuotaExceeded").await;
    bart.delete("/bkt/a").expect(204).await;
    assert_eq!(used(&world, "bkt").await, (0, 0));
    bart.put("/bkt/a", vec![b'x'; 10]).expect(200).await;
}

#[tokio::test]
async fn every_version_counts_and_deletes_always_work() {
    let world = World::new().await;
    let bart = world.versioned("bkt").await;
    limit(&world, "bkt", r#"{"quota": 100, "objects": 2}"#).await;
    let first = bart.put("/bkt/a", vec![b'x'; 40]).expect(200).await;
    bart.put("/bkt/a", vec![b'x'; 40]).expect(200).await;
    refused(&world, bart.put("/bkt/a", vec![b'x'; 10]), 429, "QuotaExceeded").await;
    bart.delete("/bkt/a").expect(204).await;
    assert_eq!(used(&world, "bkt").await, (80, 2), "a marker is no object");
    let id = first.header("x-amz-version-id").unwrap().to_owned();
    bart.delete(&format!("/bkt/a?versionId={id}")).expect(204).await;
    bart.put("/bkt/a", vec![b'x'; 60]).expect(200).await;
    versioning(&bart, "bkt", "Suspended").await;
    refused(&world, bart.put("/bkt/c", ""), 429, "QuotaExceeded").await;
}

#[tokio::test]
async fn parts_count_while_they_are_there() {
    let world = World::small_parts().await;
    let bart = world.bucket("bkt").await;
    limit(&world, "bkt", r#"{"quota": 100}"#).await;
    let begin = || async { bart.post("/bkt/m?uploads", "").expect(200).await.tag("UploadId").unwrap() };
    let id = begin().await;
    let part = |id: &str, number: u32, size: usize| {
        bart.put(&format!("/bkt/m?partNumber={number}&uploadId={id}"), vec![b'x'; size])
    };
    part(&id, 1, 60).expect(200).await;
    let second = part(&id, 2, 30).expect(200).await;
    refused(&world, part(&id, 3, 11), 429, "QuotaExceeded").await;
    let second = {
        drop(second);
        part(&id, 2, 40).expect(200).await
    };
    refused(&world, bart.post("/bkt/other?uploads", ""), 429, "QuotaExceeded").await;
    refused(&world, bart.put("/bkt/o", "x"), 429, "QuotaExceeded").await;
    let first = part(&id, 1, 60).expect(200).await;
    let tags = [first, second].map(|reply| reply.header("etag").unwrap().to_owned());
    let list: String = tags
        .iter()
        .zip(1..)
        .map(|(tag, number)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"))
        .collect();
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    limit(&world, "bkt", r#"{"quota": 99}"#).await;
    refused(&world, bart.post(&format!("/bkt/m?uploadId={id}"), &list), 429, "QuotaExceeded").await;
    limit(&world, "bkt", r#"{"quota": 100}"#).await;
    bart.post(&format!("/bkt/m?uploadId={id}"), &list).expect(200).await;
    assert_eq!(used(&world, "bkt").await, (100, 1));
    bart.delete("/bkt/m").expect(204).await;
    let id = begin().await;
    part(&id, 1, 100).expect(200).await;
    bart.delete(&format!("/bkt/m?uploadId={id}")).expect(204).await;
    assert_eq!(used(&world, "bkt").await, (0, 0));
    world.sound().await;
}
