//! Versions, null versions and delete markers (s3-wire.md §10).

use crate::support::{
    client::Client,
    wire::Reply,
    world::{World, refused, versioning},
};

/// Version ids, newest first, as the listing shows them; markers with an `x` behind.
async fn listed(client: &Client, bucket: &str) -> Vec<String> {
    let reply = client.get(&format!("/{bucket}?versions")).expect(200).await;
    let mut all = Vec::new();
    let text = reply.text();
    for piece in text.split("<Version>").flat_map(|piece| piece.split("<DeleteMarker>")).skip(1) {
        let id = piece.split_once("<VersionId>").unwrap().1.split_once('<').unwrap().0;
        all.push(if piece.contains("</DeleteMarker>") { format!("{id}x") } else { id.to_owned() });
    }
    all
}

fn version(reply: &Reply) -> String {
    reply.header("x-amz-version-id").unwrap_or_else(|| panic!("no version id: {reply}")).to_owned()
}

#[tokio::test]
async fn the_state_is_absent_until_it_is_set_and_never_again() {
    let world = World::new().await;
    let bart = world.bucket("versions").await;
    assert_eq!(bart.get("/versions?versioning").expect(200).await.tag("Status"), None);
    for state in ["Enabled", "Suspended", "Enabled"] {
        versioning(&bart, "versions", state).await;
        bart.get("/versions?versioning").expect(200).await.with("Status", state);
    }
    for (body, code) in [
        ("", "MissingRequestBodyError"),
        ("<VersioningConfiguration/>", "IllegalVersioningConfigurationException"),
        ("<VersioningConfiguration><Status></Status></VersioningConfiguration>", "MalformedXML"),
        ("<VersioningConfiguration><Status>enabled</Status></VersioningConfiguration>", "MalformedXML"),
        ("<VersioningConfiguration><Status>Disabled</Status></VersioningConfiguration>", "MalformedXML"),
        ("<Versioning><Status>Enabled</Status></Versioning>", "MalformedXML"),
        ("<VersioningConfiguration><Status>Enabled</Status>", "MalformedXML"),
        (
            "<VersioningConfiguration><Status>Enabled</Status><Status>Suspended</Status></VersioningConfiguration>",
            "MalformedXML",
        ),
        ("nonsense", "MalformedXML"),
    ] {
        refused(&world, bart.put("/versions?versioning", body), 400, code).await;
    }
    refused(&world, world.lisa().get("/versions?versioning"), 403, "AccessDenied").await;
    bart.get("/nobucket?versioning").refused(404, "NoSuchBucket").await.with("BucketName", "nobucket");
}

#[tokio::test]
async fn each_write_is_a_version_and_the_last_is_current() {
    let world = World::new().await;
    let bart = world.versioned("versions").await;
    let mut ids = Vec::new();
    for body in ["one", "two", "three"] {
        ids.insert(0, version(&bart.put("/versions/a", body).expect(200).await));
    }
    assert_eq!(listed(&bart, "versions").await, ids);
    bart.get("/versions/a").expect(200).await.body_is("three").has("x-amz-version-id", &ids[0]);
    for (id, body) in ids.iter().zip(["three", "two", "one"]) {
        let target = format!("/versions/a?versionId={id}");
        bart.get(&target).expect(200).await.body_is(body).has("x-amz-version-id", id);
        bart.head(&target).expect(200).await.has("x-amz-version-id", id).has("content-length", &body.len().to_string());
    }
    // Without the newest, the one before is current again.
    bart.delete(&format!("/versions/a?versionId={}", ids[0]))
        .expect(204)
        .await
        .has("x-amz-version-id", &ids[0])
        .lacks("x-amz-delete-marker");
    bart.get("/versions/a").expect(200).await.body_is("two");
    bart.delete(&format!("/versions/a?versionId={}", ids[2])).expect(204).await;
    assert_eq!(listed(&bart, "versions").await, [ids[1].clone()]);
    bart.delete(&format!("/versions/a?versionId={}", ids[1])).expect(204).await;
    bart.get("/versions/a").refused(404, "NoSuchKey").await.lacks("x-amz-delete-marker");
    assert!(listed(&bart, "versions").await.is_empty());
}

#[tokio::test]
async fn a_delete_puts_a_marker_and_deleting_the_marker_brings_the_object_back() {
    let world = World::new().await;
    let bart = world.versioned("versions").await;
    let first = version(&bart.put("/versions/a", "body").expect(200).await);
    let deleted = bart.delete("/versions/a").expect(204).await.has("x-amz-delete-marker", "true");
    let marker = version(&deleted);
    assert_eq!(listed(&bart, "versions").await, [format!("{marker}x"), first.clone()]);
    for client in [&bart] {
        let reply = client.get("/versions/a").refused(404, "NoSuchKey").await;
        reply.has("x-amz-delete-marker", "true").has("x-amz-version-id", &marker);
        client
            .head("/versions/a")
            .expect(404)
            .await
            .has("x-amz-delete-marker", "true")
            .has("x-amz-version-id", &marker);
        let target = format!("/versions/a?versionId={marker}");
        let reply = client.get(&target).refused(405, "MethodNotAllowed").await;
        let reply =
            reply.has("x-amz-delete-marker", "true").has("allow", "DELETE").with("ResourceType", "DeleteMarker");
        assert!(reply.header("last-modified").is_some(), "{reply}");
        let reply = client.head(&target).expect(405).await.has("x-amz-delete-marker", "true").has("allow", "DELETE");
        assert!(reply.header("last-modified").is_some(), "{reply}");
        for call in [
            client.get(&format!("{target}&tagging")),
            client.put(&format!("{target}&tagging"), "<Tagging><TagSet/></Tagging>"),
            client.delete(&format!("{target}&tagging")),
            client.get(&format!("{target}&attributes")).header("x-amz-object-attributes", "ETag"),
        ] {
            refused(&world, call, 405, "MethodNotAllowed").await;
        }
    }
    bart.get(&format!("/versions/a?versionId={first}")).expect(200).await.body_is("body");
    let removed = bart.delete(&format!("/versions/a?versionId={marker}")).expect(204).await;
    removed.has("x-amz-delete-marker", "true").has("x-amz-version-id", &marker);
    bart.get("/versions/a").expect(200).await.body_is("body");
}

#[tokio::test]
async fn deleting_what_never_was_still_puts_a_marker() {
    let world = World::new().await;
    let bart = world.versioned("versions").await;
    let one = version(&bart.delete("/versions/a").expect(204).await.has("x-amz-delete-marker", "true"));
    let two = version(&bart.delete("/versions/a").expect(204).await.has("x-amz-delete-marker", "true"));
    assert_eq!(listed(&bart, "versions").await, [format!("{two}x"), format!("{one}x")]);
}

#[tokio::test]
async fn unknown_versions_are_not_found_and_malformed_ones_refused() {
    let world = World::new().await;
    let bart = world.versioned("versions").await;
    let known = version(&bart.put("/versions/a", "body").expect(200).await);
    let other = version(&bart.put("/versions/b", "body").expect(200).await);
    for id in [other.as_str(), "null"] {
        let target = format!("/versions/a?versionId={id}");
        bart.get(&target).refused(404, "NoSuchVersion").await.with("VersionId", id).with("Key", "a");
        bart.head(&target).expect(404).await.lacks("x-amz-delete-marker");
        bart.get(&format!("{target}&tagging")).refused(404, "NoSuchVersion").await;
        bart.get(&format!("{target}&attributes"))
            .header("x-amz-object-attributes", "ETag")
            .refused(404, "NoSuchVersion")
            .await;
        let before = world.stored().await;
        bart.delete(&target).expect(204).await;
        before.assert_same(&world.stored().await, "a delete of an unknown version");
    }
    let longer = format!("{known}00");
    for id in ["", "x", "nul", "NULL", "%00", "..%2F..", &"9".repeat(2000), &known[1..], &longer] {
        for method in ["GET", "HEAD", "DELETE"] {
            let target = format!("/versions/a?versionId={id}");
            refused(&world, bart.call(method, &target), 400, "InvalidArgument").await;
        }
    }
    let put = bart.put(&format!("/versions/a?versionId={known}"), "x");
    refused(&world, put, 400, "InvalidArgument").await.with("ArgumentName", "versionId");
}

#[tokio::test]
async fn a_bucket_that_never_kept_versions_has_null_ones() {
    let world = World::new().await;
    let bart = world.bucket("versions").await;
    bart.put("/versions/a", "body").expect(200).await.lacks("x-amz-version-id");
    assert_eq!(listed(&bart, "versions").await, ["null"]);
    bart.get("/versions/a?versionId=null").expect(200).await.body_is("body").lacks("x-amz-version-id");
    bart.delete("/versions/a?versionId=null").expect(204).await;
    bart.get("/versions/a").refused(404, "NoSuchKey").await;
}

#[tokio::test]
async fn objects_from_before_keep_the_null_id_and_suspended_writes_replace_it() {
    let world = World::new().await;
    let bart = world.bucket("versions").await;
    bart.put("/versions/a", "before").expect(200).await;
    versioning(&bart, "versions", "Enabled").await;
    let new = version(&bart.put("/versions/a", "enabled").expect(200).await);
    assert_eq!(listed(&bart, "versions").await, [new.clone(), "null".to_owned()]);
    bart.get("/versions/a?versionId=null").expect(200).await.body_is("before").has("x-amz-version-id", "null");

    versioning(&bart, "versions", "Suspended").await;
    bart.put("/versions/a", "suspended").expect(200).await.lacks("x-amz-version-id");
    assert_eq!(listed(&bart, "versions").await, ["null".to_owned(), new.clone()]);
    bart.get("/versions/a").expect(200).await.body_is("suspended").has("x-amz-version-id", "null");
    bart.put("/versions/a", "again").expect(200).await;
    assert_eq!(listed(&bart, "versions").await, ["null".to_owned(), new.clone()]);

    let deleted = bart.delete("/versions/a").expect(204).await;
    deleted.has("x-amz-delete-marker", "true").has("x-amz-version-id", "null");
    assert_eq!(listed(&bart, "versions").await, ["nullx".to_owned(), new.clone()]);
    bart.get("/versions/a")
        .refused(404, "NoSuchKey")
        .await
        .has("x-amz-version-id", "null")
        .has("x-amz-delete-marker", "true");
    bart.get("/versions/a?versionId=null").refused(405, "MethodNotAllowed").await;
    bart.delete("/versions/a").expect(204).await;
    assert_eq!(listed(&bart, "versions").await, ["nullx".to_owned(), new.clone()]);

    versioning(&bart, "versions", "Enabled").await;
    let newest = version(&bart.put("/versions/a", "newest").expect(200).await);
    assert_eq!(listed(&bart, "versions").await, [newest.clone(), "nullx".to_owned(), new.clone()]);
    bart.delete("/versions/a?versionId=null").expect(204).await.has("x-amz-delete-marker", "true");
    assert_eq!(listed(&bart, "versions").await, [newest, new]);
}

#[tokio::test]
async fn exactly_one_version_of_a_key_is_latest() {
    let world = World::new().await;
    let bart = world.versioned("versions").await;
    for key in ["a", "b", "c"] {
        for _ in 0..3 {
            bart.put(&format!("/versions/{key}"), "x").expect(200).await;
        }
    }
    bart.delete("/versions/b").expect(204).await;
    let reply = bart.get("/versions?versions").expect(200).await;
    let latest: Vec<String> = reply.tags("IsLatest");
    assert_eq!(reply.tags("Key"), ["a", "a", "a", "b", "b", "b", "b", "c", "c", "c"]);
    assert_eq!(latest, ["true", "false", "false", "true", "false", "false", "false", "true", "false", "false"]);
    assert_eq!(reply.elements("DeleteMarker")[0].tag("IsLatest").as_deref(), Some("true"));
}

#[tokio::test]
async fn versions_and_markers_keep_a_bucket_from_being_deleted() {
    let world = World::new().await;
    let bart = world.versioned("versions").await;
    bart.put("/versions/a", "x").expect(200).await;
    let marker = version(&bart.delete("/versions/a").expect(204).await);
    refused(&world, bart.delete("/versions"), 409, "BucketNotEmpty").await.with("BucketName", "versions");
    let ids = listed(&bart, "versions").await;
    bart.delete(&format!("/versions/a?versionId={}", ids[1])).expect(204).await;
    refused(&world, bart.delete("/versions"), 409, "BucketNotEmpty").await;
    bart.delete(&format!("/versions/a?versionId={marker}")).expect(204).await;
    bart.delete("/versions").expect(204).await;
    bart.head("/versions").expect(404).await;
}

#[tokio::test]
async fn every_version_keeps_its_own_tags_and_metadata() {
    let world = World::new().await;
    let bart = world.versioned("versions").await;
    let first =
        bart.put("/versions/a", "1").headers(&[("x-amz-tagging", "n=1"), ("x-amz-meta-n", "1")]).expect(200).await;
    let second =
        bart.put("/versions/a", "2").headers(&[("x-amz-tagging", "n=2"), ("x-amz-meta-n", "2")]).expect(200).await;
    let (first, second) = (version(&first), version(&second));
    let tags = "<Tagging><TagSet><Tag><Key>n</Key><Value>one</Value></Tag></TagSet></Tagging>";
    bart.put(&format!("/versions/a?tagging&versionId={first}"), tags).expect(200).await.has("x-amz-version-id", &first);
    for (id, tag, meta) in [(&first, "one", "1"), (&second, "2", "2")] {
        let reply = bart.get(&format!("/versions/a?tagging&versionId={id}")).expect(200).await;
        reply.with("Value", tag).has("x-amz-version-id", id);
        bart.head(&format!("/versions/a?versionId={id}")).expect(200).await.has("x-amz-meta-n", meta);
    }
    bart.get("/versions/a?tagging").expect(200).await.with("Value", "2");
}
