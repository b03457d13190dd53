//! What clients see while objects are still on the old server of a migration.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cloudserver::config::{Migration, OldCredentials, OldServer};

use crate::support::{
    client::Client,
    world::{World, path, refused},
};

/// A server that reads at another what it has not.
async fn before(old: &World, lists: bool) -> World {
    let source = OldServer {
        https: false,
        authority: old.address.to_string(),
        region: "us-east-1".to_owned(),
        path_style: true,
        owner: "Bart".to_owned(),
        buckets: Some(vec!["bucket".to_owned()]),
        lists,
        credentials: OldCredentials::Keys("accessKey1".to_owned(), "verySecretKey1".to_owned().into()),
    };
    World::with(|config| config.migration = Migration { source: Some(source), keep_dates: false }).await
}

/// Two servers with the bucket, and Bart's clients of both.
async fn two() -> (World, World, Client, Client) {
    let old = World::new().await;
    let there = old.bucket("bucket").await;
    let new = before(&old, true).await;
    let here = new.bucket("bucket").await;
    (old, new, there, here)
}

/// Keys and common prefixes of a listing, page by page, in the order they came in.
async fn listed(client: &Client, query: &str, limit: usize, version: u8) -> Vec<String> {
    let mut all = Vec::new();
    let mut after = String::new();
    for _ in 0..500 {
        let base = if version == 2 { "list-type=2" } else { "x=" };
        let target = format!("/bucket?{base}&max-keys={limit}{query}{after}");
        let page = client.get(&target).expect(200).await;
        let keys = page.elements("Contents").iter().map(|entry| entry.tag("Key").unwrap()).collect::<Vec<_>>();
        let prefixes =
            page.elements("CommonPrefixes").iter().map(|entry| entry.tag("Prefix").unwrap()).collect::<Vec<_>>();
        assert!(keys.len() + prefixes.len() <= limit, "{page}");
        let mut both = [keys.clone(), prefixes].concat();
        both.sort();
        all.extend(both);
        if page.tag("IsTruncated").as_deref() != Some("true") {
            return all;
        }
        let next =
            page.tag("NextContinuationToken").or_else(|| page.tag("NextMarker")).or_else(|| keys.last().cloned());
        let name = if version == 2 { "continuation-token" } else { "marker" };
        after = format!("&{name}={}", path("", &next.unwrap()).trim_start_matches('/').replace('/', "%2F"));
    }
    panic!("the listing does not end: {all:?}");
}

/// What S3 lists of these keys.
fn expected(keys: &BTreeSet<String>, prefix: &str, delimiter: &str) -> Vec<String> {
    let mut shown = BTreeSet::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => shown.insert(key[..prefix.len() + at + delimiter.len()].to_owned()),
            None => shown.insert(key.clone()),
        };
    }
    shown.into_iter().collect()
}

#[tokio::test]
async fn listings_show_both_servers_as_one_whatever_is_asked() {
    let (_old, new, there, here) = two().await;
    let mut keys = BTreeSet::new();
    let mut state = 7_u64;
    let mut dice = |faces: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % faces
    };
    for number in 0..70 {
        let folder = ["", "a/", "a-b/", "a/b/", "b/", "c/d/", "gone/", "ü/"][usize::try_from(dice(8)).unwrap()];
        let key = format!("{folder}{}{number}", ["k", "-", "z"][usize::try_from(dice(3)).unwrap()]);
        let target = path("bucket", &key);
        let place = if folder == "gone/" { 3 } else { dice(5) };
        // Only there; only here; both; deleted here; written and deleted here.
        if place != 1 {
            there.put(&target, "old").expect(200).await;
        }
        if matches!(place, 1 | 2 | 4) {
            here.put(&target, "new one").expect(200).await;
        }
        if matches!(place, 3 | 4) {
            here.delete(&target).expect(204).await;
        } else {
            keys.insert(key);
        }
    }
    for prefix in ["", "a", "a/", "gone/", "nothing"] {
        for delimiter in ["", "/", "b"] {
            for limit in [1, 3, 1000] {
                for version in [1, 2] {
                    let query =
                        format!("&prefix={}&delimiter={}", prefix.replace('/', "%2F"), delimiter.replace('/', "%2F"));
                    let found = listed(&here, &query, limit, version).await;
                    assert_eq!(found, expected(&keys, prefix, delimiter), "{prefix} {delimiter} {limit} {version}");
                }
            }
        }
    }
    let page = here.get("/bucket?list-type=2").expect(200).await;
    let sizes: BTreeMap<_, _> =
        page.elements("Contents").iter().map(|e| (e.tag("Key").unwrap(), e.tag("Size").unwrap())).collect();
    for (key, size) in sizes {
        let length = here.head(&path("bucket", &key)).expect(200).await.header("content-length").unwrap().to_owned();
        assert_eq!(size, length, "{key}");
    }
    here.get("/bucket?list-type=2&max-keys=0").expect(200).await;
    new.lisa().get("/bucket?list-type=2").refused(403, "AccessDenied").await;
    new.sound().await;
}

#[tokio::test]
async fn markers_hide_the_old_servers_keys_from_listings() {
    let (_old, _new, there, here) = two().await;
    for key in ["a", "b", "c/1", "c/2", "d/1"] {
        there.put(&format!("/bucket/{key}"), "old").expect(200).await;
    }
    crate::support::world::versioning(&here, "bucket", "Enabled").await;
    for key in ["a", "c/1", "c/2"] {
        here.delete(&format!("/bucket/{key}")).expect(204).await;
    }
    assert_eq!(listed(&here, "", 2, 2).await, ["b", "d/1"]);
    assert_eq!(listed(&here, "&delimiter=%2F", 1, 2).await, ["b", "d/"]);
    let marker = here.delete("/bucket/b").expect(204).await.header("x-amz-version-id").unwrap().to_owned();
    assert_eq!(listed(&here, "", 1000, 1).await, ["d/1"]);
    here.delete(&format!("/bucket/b?versionId={marker}")).expect(204).await;
    assert_eq!(listed(&here, "", 1000, 1).await, ["b", "d/1"], "what is undeleted is there again");
    // Versions are those that are here: the old server's ids would mean nothing.
    let versions = here.get("/bucket?versions").expect(200).await;
    assert_eq!((versions.elements("Version").len(), versions.elements("DeleteMarker").len()), (0, 3), "{versions}");
}

#[tokio::test]
async fn a_page_ends_early_rather_than_asking_for_ever() {
    let (_old, _new, there, here) = two().await;
    let keys: Vec<String> = (0..1_700).map(|number| format!("k{number:05}")).collect();
    for chunk in keys.chunks(100) {
        let put = chunk.iter().map(|key| there.put(&format!("/bucket/{key}"), "").header("x-amz-meta-a", "b"));
        futures_util::future::join_all(put.map(|call| async move { call.expect(200).await })).await;
    }
    let entries: String = keys[..999].iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    here.post("/bucket?delete", format!("<Delete>{entries}</Delete>")).digested().expect(200).await;
    let entries: String = keys[999..1_690].iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    here.post("/bucket?delete", format!("<Delete>{entries}</Delete>")).digested().expect(200).await;
    here.put("/bucket/k00500x", "here").expect(200).await;
    let mut shown = vec!["k00500x".to_owned()];
    shown.extend_from_slice(&keys[1_690..]);
    // Seventeen pages of a hundred are more than one page may ask for.
    let page = here.get("/bucket?list-type=2&max-keys=5").expect(200).await;
    assert_eq!(page.tag("IsTruncated").as_deref(), Some("true"), "{page}");
    assert_eq!(listed(&here, "", 5, 2).await, shown);
    assert_eq!(listed(&here, "", 5, 1).await, shown);
    assert_eq!(listed(&here, "", 1000, 1).await, shown);
}

#[tokio::test]
async fn listings_can_be_left_to_what_is_here() {
    let old = World::new().await;
    let there = old.bucket("bucket").await;
    there.put("/bucket/a", "a").expect(200).await;
    let new = before(&old, false).await;
    let here = new.bucket("bucket").await;
    assert!(listed(&here, "", 1000, 2).await.is_empty());
    here.get("/bucket/a").expect(200).await;
    // A bucket that the old server has not is empty there; one that it does not answer for is unknown.
    let new = before(&old, true).await;
    let here = new.bucket("bucket").await;
    there.delete("/bucket/a").expect(204).await;
    there.delete("/bucket").expect(204).await;
    assert!(listed(&here, "", 1000, 2).await.is_empty());
    here.get("/bucket/a").refused(404, "NoSuchKey").await;
    old.server.stop(Duration::ZERO).await;
    here.get("/bucket?list-type=2").refused(503, "ServiceUnavailable").await;
}

#[tokio::test]
async fn conditions_of_writes_and_deletes_know_the_old_servers_objects() {
    let (_old, new, there, here) = two().await;
    let tag = there.put("/bucket/a", "old").expect(200).await.etag();
    for key in ["b", "c", "d", "e"] {
        there.put(&format!("/bucket/{key}"), "old").expect(200).await;
    }
    refused(&new, here.put("/bucket/a", "new").header("if-none-match", "*"), 412, "PreconditionFailed").await;
    refused(&new, here.put("/bucket/a", "new").header("if-match", "\"0\""), 412, "PreconditionFailed").await;
    refused(&new, here.put("/bucket/none", "new").header("if-match", "*"), 404, "NoSuchKey").await;
    let copied = here.put("/bucket/a", "").headers(&[("x-amz-copy-source", "/bucket/b"), ("if-none-match", "*")]);
    refused(&new, copied, 412, "PreconditionFailed").await;
    let id = here.post("/bucket/a?uploads", "").expect(200).await.tag("UploadId").unwrap();
    let part = here.put(&format!("/bucket/a?partNumber=1&uploadId={id}"), "part").expect(200).await.etag();
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part></CompleteMultipartUpload>"
    );
    let complete = here.post(&format!("/bucket/a?uploadId={id}"), &list);
    refused(&new, complete.header("if-none-match", "*"), 412, "PreconditionFailed").await;
    here.post(&format!("/bucket/a?uploadId={id}"), &list).header("if-match", &tag).expect(200).await;
    assert_eq!(here.get("/bucket/a").expect(200).await.text(), "part");

    here.put("/bucket/b", "new").header("if-match", &tag).expect(200).await;
    assert_eq!(here.get("/bucket/b").expect(200).await.text(), "new");
    here.put("/bucket/new", "new").header("if-none-match", "*").expect(200).await;
    // A delete compares with what is there, too.
    refused(&new, here.delete("/bucket/c").header("if-match", "\"0\""), 412, "PreconditionFailed").await;
    refused(&new, here.delete("/bucket/c").header("x-amz-if-match-size", "4"), 412, "PreconditionFailed").await;
    assert_eq!(here.get("/bucket/c").expect(200).await.text(), "old");
    here.delete("/bucket/c").header("if-match", &tag).expect(204).await;
    here.get("/bucket/c").refused(404, "NoSuchKey").await;
    here.put("/bucket/c", "new").header("if-none-match", "*").expect(200).await;
    let body =
        "<Delete><Object><Key>d</Key><ETag>\"0\"</ETag></Object><Object><Key>e</Key><Size>3</Size></Object></Delete>";
    let deleted = here.post("/bucket?delete", body).digested().expect(200).await;
    assert!(deleted.text().contains("<Key>d</Key><Code>PreconditionFailed</Code>"), "{deleted}");
    here.get("/bucket/d").expect(200).await;
    here.get("/bucket/e").refused(404, "NoSuchKey").await;
    // What is on the old server has no bytes here that could be gone on with.
    refused(&new, here.put("/bucket/d", "x").header("x-amz-write-offset-bytes", "0"), 400, "InvalidWriteOffset").await;
    refused(&new, here.put("/bucket/d", "x").header("x-amz-write-offset-bytes", "3"), 409, "OperationAborted").await;
    // Who may not read learns no tags.
    new.lisa().put("/bucket/d", "x").header("if-match", &tag).refused(403, "AccessDenied").await;
    new.sound().await;
}

#[tokio::test]
async fn sources_of_copies_may_still_be_on_the_old_server() {
    let (_old, new, there, here) = two().await;
    let body: Vec<u8> = (0..7_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let headers = [
        ("x-amz-meta-color", "blue"),
        ("content-type", "text/x"),
        ("cache-control", "no-cache"),
        ("x-amz-tagging", "a=b&c=d"),
    ];
    there.put(&path("bucket", "large ü"), &body).headers(&headers).expect(200).await;
    there.put("/bucket/empty", "").expect(200).await;
    let from = |key: &str| path("bucket", key);
    let copy = |to: &str, key: &str| here.put(to, "").header("x-amz-copy-source", from(key));
    let made = copy("/bucket/copy", "large ü").expect(200).await;
    assert_eq!(made.header("x-amz-copy-source-version-id"), None);
    let found = here.get("/bucket/copy").expect(200).await;
    assert_eq!(found.body, body);
    for (name, value) in [
        ("x-amz-meta-color", "blue"),
        ("content-type", "text/x"),
        ("cache-control", "no-cache"),
        ("x-amz-tagging-count", "2"),
        ("x-cloudserver-read-through", ""),
    ] {
        assert_eq!(found.header(name).unwrap_or_default(), value, "{name}");
    }
    copy("/bucket/copied%20empty", "empty").expect(200).await;
    assert!(here.get("/bucket/copied%20empty").expect(200).await.body.is_empty());
    copy("/bucket/x", "nothing").refused(404, "NoSuchKey").await;
    copy("/bucket/x", "large ü").header("x-amz-copy-source-if-match", "\"0\"").refused(412, "PreconditionFailed").await;
    // Onto itself: it is here then.
    let itself = copy(&from("large ü"), "large ü")
        .headers(&[("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-now", "here")]);
    let id = here.post("/bucket/parts?uploads", "").expect(200).await.tag("UploadId").unwrap();
    let mut list = String::new();
    for (number, range) in [(1, "bytes=0-5242879"), (2, "bytes=5242880-6999999")] {
        let part = copy(&format!("/bucket/parts?partNumber={number}&uploadId={id}"), "large ü");
        let part = part.header("x-amz-copy-source-range", range).expect(200).await;
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", part.tag("ETag").unwrap());
    }
    let document = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    here.post(&format!("/bucket/parts?uploadId={id}"), document).expect(200).await;
    assert_eq!(here.get("/bucket/parts").expect(200).await.body, body);
    itself.expect(200).await;
    let found = here.get(&from("large ü")).expect(200).await;
    assert_eq!((found.header("x-amz-meta-now"), found.header("x-cloudserver-read-through")), (Some("here"), None));
    assert_eq!(found.body, body);
    // Who may not read it may not copy it either.
    let theirs = new.lisa();
    theirs.put("/theirs", "").expect(200).await;
    let stolen = theirs.put("/theirs/x", "").header("x-amz-copy-source", "/bucket/empty");
    stolen.refused(403, "AccessDenied").await;
    new.sound().await;
}

#[tokio::test]
async fn tags_and_attributes_are_read_on_the_old_server_and_versions_are_not() {
    let (_old, new, there, here) = two().await;
    there.put("/bucket/a", "seven b").header("x-amz-tagging", "k=v").expect(200).await;
    let tags = here.get("/bucket/a?tagging").expect(200).await;
    assert!(tags.text().contains("<Key>k</Key><Value>v</Value>"), "{tags}");
    here.get("/bucket/none?tagging").refused(404, "NoSuchKey").await;
    let known = here.get("/bucket/a?attributes").header("x-amz-object-attributes", "ETag,ObjectSize").expect(200).await;
    assert_eq!(known.tag("ObjectSize").as_deref(), Some("7"));
    new.lisa().get("/bucket/a?tagging").refused(403, "AccessDenied").await;
    new.nobody()
        .get("/bucket/a?attributes")
        .header("x-amz-object-attributes", "ETag")
        .refused(403, "AccessDenied")
        .await;
    here.get("/bucket/a?versionId=null").refused(404, "NoSuchVersion").await;
    // What changes an object needs it here.
    let set = "<Tagging><TagSet></TagSet></Tagging>";
    here.put("/bucket/a?tagging", set).digested().refused(404, "NoSuchKey").await;
    here.delete("/bucket/a").expect(204).await;
    here.get("/bucket/a?tagging").refused(404, "NoSuchKey").await;
}

#[tokio::test]
async fn a_migrations_own_write_is_not_judged_by_the_old_server() {
    let (_old, new, there, here) = two().await;
    there.put("/bucket/a", "old").expect(200).await;
    let own = [("if-none-match", "*"), ("x-cloudserver-unless-deleted", "true")];
    here.put("/bucket/a", "old").headers(&own).expect(200).await;
    refused(&new, here.put("/bucket/a", "old").headers(&own), 412, "PreconditionFailed").await;
    here.delete("/bucket/a").expect(204).await;
    refused(&new, here.put("/bucket/a", "old").headers(&own), 412, "PreconditionFailed").await;
    refused(&new, here.put("/bucket/b", "b").header("x-cloudserver-if-newest", "!"), 400, "InvalidArgument").await;
    // Taken back by who wrote it: nobody has deleted that.
    here.put("/bucket/b", "wrong").headers(&own).expect(200).await;
    here.delete("/bucket/b").header("x-cloudserver-forget-delete", "true").expect(204).await;
    here.put("/bucket/b", "right").headers(&own).expect(200).await;
}

#[tokio::test]
async fn what_asks_for_what_is_here_sees_nothing_else() {
    let (_old, new, there, here) = two().await;
    for key in ["a", "b"] {
        there.put(&format!("/bucket/{key}"), "old").expect(200).await;
    }
    here.put("/bucket/b", "new").expect(200).await;
    let only = ("x-cloudserver-here-only", "true");
    let page = here.get("/bucket?list-type=2").headers(&[only]).expect(200).await;
    assert_eq!(page.tags("Key"), ["b"]);
    here.get("/bucket/a").headers(&[only]).refused(404, "NoSuchKey").await;
    here.head("/bucket/a").headers(&[only]).refused(404, "NoSuchKey").await;
    here.put("/bucket/a", "new").headers(&[only, ("if-none-match", "*")]).expect(200).await;
    new.lisa().get("/bucket/a").headers(&[only]).refused(403, "AccessDenied").await;
}

#[tokio::test]
async fn a_bucket_of_the_right_name_gives_nobody_else_what_is_on_the_old_server() {
    let (old, new, there, _) = two().await;
    there.put("/bucket/secret", "the owner's").expect(200).await;
    let lisa = new.lisa();
    let bart = new.bart();
    bart.delete("/bucket").expect(204).await;
    lisa.put("/bucket", "").expect(200).await;
    lisa.get("/bucket/secret").refused(404, "NoSuchKey").await;
    lisa.head("/bucket/secret").expect(404).await;
    assert!(listed(&lisa, "", 1000, 2).await.is_empty());
    lisa.delete("/bucket").expect(204).await;
    bart.put("/bucket", "").expect(200).await;
    assert_eq!(bart.get("/bucket/secret").expect(200).await.text(), "the owner's");
    drop(old);
}

#[tokio::test]
async fn a_policy_that_asks_for_tags_reads_nothing_that_has_its_tags_elsewhere() {
    let (_old, _new, there, here) = two().await;
    there.put("/bucket/key", "old").expect(200).await;
    here.get("/bucket/key").expect(200).await;
    let policy = r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"secret"}}}]}"#;
    here.put("/bucket?policy", policy).expect(204).await;
    here.get("/bucket/key").refused(404, "NoSuchKey").await;
}
