//! `CopyObject` (s3-wire.md §6).

use crate::support::{
    client::{Call, Client},
    sign::escape_key,
    world::{World, path, refused, versioning},
};

fn copy(client: &Client, source: &str, to: &str) -> Call {
    client.put(to, "").header("x-amz-copy-source", source)
}

#[tokio::test]
async fn a_copy_has_the_bytes_metadata_and_tags_of_its_source() {
    let world = World::new().await;
    let bart = world.bucket("copies").await;
    let sent = [
        ("content-type", "text/plain"),
        ("cache-control", "no-cache"),
        ("content-encoding", "gzip"),
        ("content-disposition", "inline"),
        ("content-language", "de"),
        ("expires", "never"),
        ("x-amz-meta-a", "1"),
    ];
    let extra = [
        ("x-amz-tagging", "t=1"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-website-redirect-location", "/x"),
        ("x-amz-acl", "public-read"),
    ];
    for (key, size) in [("small", 10), ("large", 300_000)] {
        let body = vec![b'x'; size];
        let put = bart.put(&path("copies", key), &body).headers(&sent).headers(&extra).expect(200).await;
        let to = format!("/copies/copy-{key}");
        let reply = copy(&bart, &format!("copies/{key}"), &to).expect(200).await;
        assert_eq!(reply.tag("ETag"), Some(put.etag()));
        assert!(
            reply.text().contains("<CopyObjectResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"),
            "{reply}"
        );
        assert!(reply.tag("LastModified").is_some() && reply.tag("ChecksumCRC64NVME").is_some(), "{reply}");
        let reply =
            reply.with("ChecksumType", "FULL_OBJECT").lacks("x-amz-version-id").lacks("x-amz-copy-source-version-id");
        drop(reply);
        let got = bart.get(&to).expect(200).await.body_is(&body);
        for (name, value) in sent {
            assert_eq!(got.header(name), Some(value), "{name}");
        }
        // Class, redirect and list are never copied.
        let got = got.has("x-amz-tagging-count", "1").lacks("x-amz-storage-class");
        got.lacks("x-amz-website-redirect-location");
        refused(&world, world.nobody().get(&to), 403, "AccessDenied").await;
    }
    world.sound().await;
}

#[tokio::test]
async fn directives_choose_between_source_and_request() {
    let world = World::new().await;
    let bart = world.bucket("copies").await;
    bart.put("/copies/a", "x")
        .headers(&[("x-amz-meta-a", "1"), ("content-type", "text/plain"), ("x-amz-tagging", "t=1")])
        .expect(200)
        .await;
    let new = [("x-amz-meta-b", "2"), ("content-type", "text/html"), ("x-amz-tagging", "u=2")];
    // Under COPY what the request says is ignored.
    copy(&bart, "copies/a", "/copies/b").headers(&new).expect(200).await;
    bart.head("/copies/b")
        .expect(200)
        .await
        .has("x-amz-meta-a", "1")
        .has("content-type", "text/plain")
        .lacks("x-amz-meta-b");
    bart.get("/copies/b?tagging").expect(200).await.with("Key", "t");
    let replacing = copy(&bart, "copies/a", "/copies/b").headers(&new);
    replacing.clone().header("x-amz-metadata-directive", "REPLACE").expect(200).await;
    bart.head("/copies/b")
        .expect(200)
        .await
        .has("x-amz-meta-b", "2")
        .has("content-type", "text/html")
        .lacks("x-amz-meta-a");
    bart.get("/copies/b?tagging").expect(200).await.with("Key", "t");
    replacing.header("x-amz-tagging-directive", "REPLACE").expect(200).await;
    bart.get("/copies/b?tagging").expect(200).await.with("Key", "u");
    bart.head("/copies/b").expect(200).await.has("x-amz-meta-a", "1");
    for name in ["x-amz-metadata-directive", "x-amz-tagging-directive"] {
        for value in ["replace", "", "NONE"] {
            let call = copy(&bart, "copies/a", "/copies/c").header(name, value);
            refused(&world, call, 400, "InvalidArgument").await.with("ArgumentName", name);
        }
    }
}

#[tokio::test]
async fn a_copy_onto_itself_must_change_something() {
    let world = World::new().await;
    let bart = world.bucket("copies").await;
    bart.put("/copies/a", "x").header("x-amz-meta-a", "1").expect(200).await;
    let itself = || copy(&bart, "/copies/a", "/copies/a");
    refused(&world, itself(), 400, "InvalidRequest").await;
    refused(&world, itself().header("x-amz-metadata-directive", "COPY"), 400, "InvalidRequest").await;
    for (name, value) in [
        ("x-amz-metadata-directive", "REPLACE"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-website-redirect-location", "/x"),
        ("x-amz-checksum-algorithm", "SHA256"),
    ] {
        itself().header(name, value).expect(200).await;
        bart.get("/copies/a").expect(200).await.body_is("x");
    }
    // An older version onto its key brings it back.
    versioning(&bart, "copies", "Enabled").await;
    let first = bart.put("/copies/b", "first").expect(200).await.header("x-amz-version-id").unwrap().to_owned();
    bart.put("/copies/b", "second").expect(200).await;
    let reply = copy(&bart, &format!("copies/b?versionId={first}"), "/copies/b").expect(200).await;
    assert!(reply.has("x-amz-copy-source-version-id", &first).header("x-amz-version-id").is_some());
    bart.get("/copies/b").expect(200).await.body_is("first");
}

#[tokio::test]
async fn sources_are_spelled_in_many_ways() {
    let world = World::new().await;
    let bart = world.bucket("copies").await;
    let keys = [
        "plain",
        "with space",
        "pl+us",
        "100%",
        "a?versionId=b",
        "ü/ä",
        "a//b",
        "../x",
        "/lead",
        "q?x",
        "%2F",
        "a&b=c",
    ];
    for key in keys {
        bart.put(&path("copies", key), key).expect(200).await;
        for slash in ["", "/"] {
            let source = format!("{slash}copies/{}", escape_key(key));
            copy(&bart, &source, "/copies/to").expect(200).await;
            bart.get("/copies/to").expect(200).await.body_is(key);
        }
    }
    // Unescaped where nothing needs it, all escaped, and an escaped slash before the key.
    for source in ["copies/with space", "copies%2Fplain", "%2Fcopies%2Fplain", "copies/%70lain", "/copies/pl+us"] {
        copy(&bart, source, "/copies/to").expect(200).await;
    }
    copy(&bart, "copies/plain?versionId=null", "/copies/to").expect(200).await;
    bart.get("/copies/to").expect(200).await.body_is("plain");
}

#[tokio::test]
async fn sources_that_are_none_are_refused() {
    let world = World::new().await;
    let bart = world.versioned("copies").await;
    bart.put("/copies/a", "x").expect(200).await;
    let long = format!("copies/{}", "k".repeat(1025));
    for source in [
        "",
        "/",
        "copies",
        "copies/",
        "/copies/",
        "copies/%",
        "copies/%zz",
        "copies/%ff",
        "a/b",
        "Copies/a",
        "-copies/a",
        "../copies/a",
        "//copies/a",
        "copies/a?versionId=x",
        "copies/a?versionId=",
        "copies/a?versionId=%00",
        &long,
    ] {
        let reply = refused(&world, copy(&bart, source, "/copies/to"), 400, "InvalidArgument").await;
        assert!(reply.tag("ArgumentName").is_some(), "{source}: {reply}");
    }
    for (source, status, code) in [
        ("copies/none", 404, "NoSuchKey"),
        ("nobucket/a", 404, "NoSuchBucket"),
        ("copies/../copies/a", 404, "NoSuchKey"),
        ("copies/a/../../other/b", 404, "NoSuchKey"),
        ("copies/a?versionId=null", 404, "NoSuchVersion"),
    ] {
        refused(&world, copy(&bart, source, "/copies/to"), status, code).await;
    }
    refused(&world, copy(&bart, "copies/a", "/nobucket/to"), 404, "NoSuchBucket").await;
    let marker = bart.delete("/copies/a").expect(204).await.header("x-amz-version-id").unwrap().to_owned();
    refused(&world, copy(&bart, "copies/a", "/copies/to"), 404, "NoSuchKey").await;
    refused(&world, copy(&bart, &format!("copies/a?versionId={marker}"), "/copies/to"), 400, "InvalidRequest").await;
}

#[tokio::test]
async fn every_failed_condition_on_the_source_is_412() {
    let world = World::new().await;
    let bart = world.bucket("copies").await;
    let etag = bart.put("/copies/a", "x").expect(200).await.etag();
    let modified = bart.head("/copies/a").expect(200).await.header("last-modified").unwrap().to_owned();
    let old = "Sat, 01 Jan 2000 00:00:00 GMT";
    let conditions = |matching: Option<&str>, none: Option<&str>, since: Option<&str>, unless: Option<&str>| {
        let mut call = copy(&bart, "copies/a", "/copies/to");
        for (name, value) in [
            ("x-amz-copy-source-if-match", matching),
            ("x-amz-copy-source-if-none-match", none),
            ("x-amz-copy-source-if-modified-since", since),
            ("x-amz-copy-source-if-unmodified-since", unless),
        ] {
            if let Some(value) = value {
                call = call.header(name, value);
            }
        }
        call
    };
    let (etag, modified) = (Some(etag.as_str()), Some(modified.as_str()));
    let (other, old) = (Some("\"other\""), Some(old));
    for call in [
        conditions(other, None, None, None),
        conditions(None, etag, None, None),
        conditions(None, Some("*"), None, None),
        conditions(None, None, modified, None),
        conditions(None, None, None, old),
        conditions(etag, etag, None, None),
        conditions(other, None, None, modified),
        conditions(None, etag, old, None),
    ] {
        refused(&world, call, 412, "PreconditionFailed").await;
    }
    for call in [
        conditions(etag, None, None, None),
        conditions(None, other, None, None),
        conditions(None, None, old, None),
        conditions(None, None, None, modified),
        conditions(etag, None, None, old),
        conditions(None, other, modified, None),
    ] {
        call.expect(200).await;
    }
}

#[tokio::test]
async fn a_copy_needs_permission_on_both_sides() {
    let world = World::new().await;
    let (bart, lisa) = (world.bucket("barts").await, world.lisa());
    lisa.put("/lisas", "").expect(200).await;
    bart.put("/barts/private", "secret").expect(200).await;
    bart.put("/barts/public", "open").header("x-amz-acl", "public-read").expect(200).await;
    lisa.put("/lisas/own", "hers").expect(200).await;
    refused(&world, copy(&lisa, "barts/private", "/lisas/to"), 403, "AccessDenied").await;
    refused(&world, copy(&lisa, "barts/none", "/lisas/to"), 403, "AccessDenied").await;
    refused(&world, copy(&lisa, "lisas/own", "/barts/to"), 403, "AccessDenied").await;
    refused(&world, copy(&world.nobody(), "barts/public", "/barts/to"), 403, "AccessDenied").await;
    copy(&lisa, "barts/public", "/lisas/to").expect(200).await;
    lisa.get("/lisas/to").expect(200).await.body_is("open");
    let strict = copy(&bart, "barts/private", "/barts/to");
    refused(
        &world,
        strict.clone().header("x-amz-source-expected-bucket-owner", crate::support::world::LISA),
        403,
        "AccessDenied",
    )
    .await;
    refused(
        &world,
        strict.clone().header("x-amz-expected-bucket-owner", crate::support::world::LISA),
        403,
        "AccessDenied",
    )
    .await;
    strict.header("x-amz-source-expected-bucket-owner", crate::support::world::BART).expect(200).await;
}

#[tokio::test]
async fn a_copy_source_belongs_to_no_sub_resource() {
    let world = World::new().await;
    let bart = world.bucket("copies").await;
    bart.put("/copies/a", "x").expect(200).await;
    for query in ["tagging", "versionId=null"] {
        let call = copy(&bart, "copies/a", &format!("/copies/to?{query}"));
        refused(&world, call, 400, "InvalidArgument").await;
    }
}

#[tokio::test]
async fn a_copy_may_choose_its_checksum() {
    let world = World::new().await;
    let bart = world.bucket("copies").await;
    bart.put("/copies/a", "x")
        .header(
            "x-amz-checksum-sha1",
            cloudserver::types::Checksum::of(cloudserver::types::ChecksumAlgorithm::Sha1, b"x").to_base64(),
        )
        .expect(200)
        .await;
    let kept = copy(&bart, "copies/a", "/copies/b").expect(200).await;
    assert!(kept.tag("ChecksumSHA1").is_some(), "{kept}");
    for algorithm in cloudserver::types::ChecksumAlgorithm::ALL {
        let reply =
            copy(&bart, "copies/a", "/copies/b").header("x-amz-checksum-algorithm", algorithm.name()).expect(200).await;
        let value = cloudserver::types::Checksum::of(algorithm, b"x").to_base64();
        let reply = reply.with(algorithm.xml_element(), &value);
        drop(reply);
        bart.head("/copies/b")
            .header("x-amz-checksum-mode", "ENABLED")
            .expect(200)
            .await
            .has(algorithm.header(), &value);
    }
    refused(
        &world,
        copy(&bart, "copies/a", "/copies/b").header("x-amz-checksum-algorithm", "CRC17"),
        400,
        "InvalidRequest",
    )
    .await;
}
