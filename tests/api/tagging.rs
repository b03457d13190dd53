//! Tags of objects and buckets (s3-wire-2.md §13).

use crate::support::world::{World, refused};

fn document(tags: &[(&str, &str)]) -> String {
    let tags: String =
        tags.iter().map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")).collect();
    format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
}

#[tokio::test]
async fn tags_are_set_shown_replaced_and_removed() {
    let world = World::new().await;
    let bart = world.bucket("tags").await;
    bart.put("/tags/a", "x").header("x-amz-tagging", "one=1&two=&three&f%20our=%2B+x").expect(200).await;
    bart.head("/tags/a").expect(200).await.has("x-amz-tagging-count", "4");
    let reply = bart.get("/tags/a?tagging").expect(200).await;
    assert_eq!(reply.tags("Key"), ["f our", "one", "three", "two"]);
    assert_eq!(reply.tags("Value"), ["+ x", "1", "", ""]);
    bart.put("/tags/a?tagging", document(&[("new", "ä")])).expect(200).await;
    let reply = bart.get("/tags/a?tagging").expect(200).await;
    assert_eq!((reply.tags("Key"), reply.tags("Value")), (vec!["new".to_owned()], vec!["ä".to_owned()]));
    bart.delete("/tags/a?tagging").expect(204).await;
    let reply = bart.get("/tags/a?tagging").expect(200).await;
    assert!(reply.tags("Key").is_empty());
    bart.head("/tags/a").expect(200).await.lacks("x-amz-tagging-count");
    bart.put("/tags/a?tagging", "<Tagging><TagSet/></Tagging>").expect(200).await;
    bart.get("/tags/a").expect(200).await.body_is("x");
}

#[tokio::test]
async fn tags_of_buckets() {
    let world = World::new().await;
    let bart = world.bucket("tags").await;
    bart.get("/tags?tagging").refused(404, "NoSuchTagSet").await.with("BucketName", "tags");
    bart.put("/tags?tagging", document(&[("a", "1"), ("b", "2")])).expect(200).await;
    let reply = bart.get("/tags?tagging").expect(200).await;
    assert_eq!(
        (reply.tags("Key"), reply.tags("Value")),
        (vec!["a".to_owned(), "b".to_owned()], vec!["1".to_owned(), "2".to_owned()])
    );
    bart.delete("/tags?tagging").expect(204).await;
    bart.delete("/tags?tagging").expect(204).await;
    bart.get("/tags?tagging").refused(404, "NoSuchTagSet").await;
    let many: Vec<(String, String)> = (0..51).map(|number| (format!("k{number}"), String::new())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    refused(&world, bart.put("/tags?tagging", document(&many)), 400, "BadRequest").await;
    bart.put("/tags?tagging", document(&many[..50])).expect(200).await;
    for client in [world.lisa(), world.nobody()] {
        refused(&world, client.get("/tags?tagging"), 403, "AccessDenied").await;
        refused(&world, client.put("/tags?tagging", document(&[("a", "1")])), 403, "AccessDenied").await;
        refused(&world, client.delete("/tags?tagging"), 403, "AccessDenied").await;
    }
}

#[tokio::test]
async fn tags_that_are_none_change_nothing() {
    let world = World::new().await;
    let bart = world.bucket("tags").await;
    bart.put("/tags/a", "x").header("x-amz-tagging", "old=1").expect(200).await;
    let long_key = "k".repeat(129);
    let long_value = "v".repeat(257);
    let eleven: Vec<(String, String)> = (0..11).map(|number| (format!("k{number}"), String::new())).collect();
    let eleven: Vec<(&str, &str)> = eleven.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    for (body, code) in [
        (document(&[("", "1")]), "InvalidTag"),
        (document(&[(&long_key, "1")]), "InvalidTag"),
        (document(&[("a", &long_value)]), "InvalidTag"),
        (document(&[("a", "1"), ("a", "2")]), "InvalidTag"),
        (document(&[("a&lt;", "1")]), "InvalidTag"),
        (document(&[("a", "b\u{7}")]), "InvalidTag"),
        (document(&[("aws:a", "1")]), "InvalidTag"),
        (document(&eleven), "BadRequest"),
        (String::new(), "MissingRequestBodyError"),
        ("<Tagging/>".to_owned(), "MalformedXML"),
        ("<Tags><TagSet/></Tags>".to_owned(), "MalformedXML"),
        ("<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>".to_owned(), "MalformedXML"),
        ("<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>".to_owned(), "MalformedXML"),
        ("<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet>".to_owned(), "MalformedXML"),
        ("<!DOCTYPE x><Tagging><TagSet/></Tagging>".to_owned(), "MalformedXML"),
        ("tagging".to_owned(), "MalformedXML"),
    ] {
        refused(&world, bart.put("/tags/a?tagging", &body), 400, code).await;
        if code != "BadRequest" {
            refused(&world, bart.put("/tags?tagging", &body), 400, code).await;
        }
    }
    let header: Vec<String> = eleven.iter().map(|(key, _)| format!("{key}=1")).collect();
    refused(&world, bart.put("/tags/b", "x").header("x-amz-tagging", header.join("&")), 400, "BadRequest").await;
    let wrong = bart.put("/tags/a?tagging", document(&[("a", "1")])).header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    refused(&world, wrong, 400, "BadDigest").await;
    bart.get("/tags/a?tagging").expect(200).await.with("Key", "old");
    bart.put("/tags/a?tagging", document(&eleven[..10])).expect(200).await;
}

#[tokio::test]
async fn tags_of_what_is_not_there_or_not_ones_own() {
    let world = World::new().await;
    let bart = world.bucket("tags").await;
    bart.put("/tags/a", "x").header("x-amz-tagging", "old=1").expect(200).await;
    for (bucket, key, code) in [("tags", "none", "NoSuchKey"), ("nobucket", "a", "NoSuchBucket")] {
        let target = format!("/{bucket}/{key}?tagging");
        refused(&world, bart.get(&target), 404, code).await;
        refused(&world, bart.put(&target, document(&[("a", "1")])), 404, code).await;
        refused(&world, bart.delete(&target), 404, code).await;
    }
    for client in [world.lisa(), world.nobody()] {
        refused(&world, client.get("/tags/a?tagging"), 403, "AccessDenied").await;
        refused(&world, client.put("/tags/a?tagging", document(&[("a", "1")])), 403, "AccessDenied").await;
        refused(&world, client.delete("/tags/a?tagging"), 403, "AccessDenied").await;
        refused(&world, client.get("/tags/none?tagging"), 403, "AccessDenied").await;
    }
}

#[tokio::test]
async fn tagging_keeps_the_version_and_its_date() {
    let world = World::new().await;
    let bart = world.versioned("tags").await;
    bart.put("/tags/a", "x").expect(200).await;
    let before = bart.head("/tags/a").expect(200).await;
    bart.put("/tags/a?tagging", document(&[("a", "1")])).expect(200).await;
    let after = bart.head("/tags/a").expect(200).await.has("x-amz-tagging-count", "1");
    for name in ["etag", "last-modified", "x-amz-version-id", "content-length"] {
        assert_eq!(before.header(name), after.header(name), "{name}");
    }
    assert_eq!(bart.get("/tags?versions").expect(200).await.tags("VersionId").len(), 1);
}

/// Tags are for what the caller was judged by: an object that came in its place is another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_never_reach_what_somebody_else_wrote_meanwhile() {
    let world = World::new().await;
    let bart = world.bucket("tags").await;
    let lisa = world.lisa();
    bart.put("/tags?acl", "").header("x-amz-acl", "public-read-write").expect(200).await;
    for round in 0..40 {
        let key = format!("/tags/{round}");
        lisa.put(&key, "hers").expect(200).await;
        let target = format!("{key}?tagging");
        let tagging = lisa.put(&target, document(&[("hers", "1")]));
        let his = bart.put(&key, "his").header("x-amz-tagging", "his=1");
        let removing = lisa.delete(&target);
        let (_, _, tagged) = tokio::join!(his.expect(200), removing.send(), tagging.send());
        assert!(matches!(tagged.status, 200 | 403 | 409), "{tagged}");
        assert_eq!(bart.get(&target).expect(200).await.tags("Key"), ["his"]);
    }
}

/// What is shown is what the caller was judged by, and not what came in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_that_somebody_else_wrote_meanwhile_are_never_shown() {
    let world = World::new().await;
    let bart = world.bucket("tags").await;
    let lisa = world.lisa();
    bart.put("/tags?acl", "").header("x-amz-acl", "public-read-write").expect(200).await;
    let mut shown = 0;
    for round in 0..40 {
        let key = format!("/tags/{round}");
        lisa.put(&key, "hers").header("x-amz-tagging", "hers=1").expect(200).await;
        let target = format!("{key}?tagging");
        let his = bart.put(&key, "his").header("x-amz-tagging", "his=1");
        let look = async || lisa.get(&target).send().await;
        let (_, first, second, third) = tokio::join!(his.expect(200), look(), look(), look());
        for reply in [first, second, third] {
            match reply.status {
                200 => {
                    assert_eq!(reply.tags("Key"), ["hers"]);
                    shown += 1;
                }
                // Hers is gone: his is not for her.
                status => assert!(matches!(status, 403 | 404), "{reply}"),
            }
        }
        lisa.get(&target).refused(403, "AccessDenied").await;
    }
    assert!(shown > 0, "none was in time");
}
