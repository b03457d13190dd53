//! How requests name buckets, keys and sub-resources, and the common envelope of answers (s3-wire.md §1).

use cloudserver::s3::table::OPERATIONS;

use crate::support::{
    sign::Scheme,
    world::{World, path, refused},
};

#[tokio::test]
async fn a_host_may_name_the_bucket() {
    let world = World::new().await;
    let bart = world.bucket("hosted").await;
    let port = world.address.port();
    for (number, host) in ["hosted.localhost", "hosted.s3.docker.test", "hosted.s3.amazonaws.com", "HOSTED.LocalHost"]
        .into_iter()
        .enumerate()
    {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            for scheme in [Scheme::HeaderV4, Scheme::QueryV4] {
                let key = format!("/a/key-{number}");
                bart.put(&key, "body").host(&host).by(scheme).expect(200).await;
                bart.get(&format!("/hosted{key}")).expect(200).await.body_is("body");
                bart.get(&key).host(&host).by(scheme).expect(200).await.body_is("body");
                bart.get("/?list-type=2").host(&host).by(scheme).expect(200).await.with("Name", "hosted");
                bart.head("/").host(&host).by(scheme).expect(200).await.has("x-amz-bucket-region", "us-east-1");
                bart.delete(&key).host(&host).by(scheme).expect(204).await;
            }
        }
    }
    bart.put("/", "").host("created.localhost").expect(200).await;
    bart.head("/created").expect(200).await;
    bart.get("/none").host("hosted.localhost").refused(404, "NoSuchKey").await.with("Resource", "/hosted/none");
    bart.get("/").host("nobucket.localhost").refused(404, "NoSuchBucket").await;
    bart.put("/a", "x").host("No_Bucket.localhost").refused(400, "InvalidBucketName").await;
    // A dot belongs to the bucket's name.
    bart.put("/", "").host("with.dots.localhost").expect(200).await;
    bart.head("/with.dots").expect(200).await;
    // What is no endpoint of ours is path style.
    for host in ["elsewhere.example.org", "127.0.0.1", "localhost", "s3.amazonaws.com:80", "[::1]:8000"] {
        bart.get("/hosted?list-type=2").host(host).expect(200).await.with("Name", "hosted");
    }
}

/// Paths as sent, and the keys they name.
const PATHS: [(&str, &str); 24] = [
    ("a//b", "a//b"),
    ("/lead", "/lead"),
    ("//two", "//two"),
    ("trail/", "trail/"),
    ("./a", "./a"),
    ("../x", "../x"),
    ("a/../b", "a/../b"),
    ("a/./b", "a/./b"),
    ("..", ".."),
    (".", "."),
    ("...", "..."),
    ("%2E%2E/x", "../x"),
    ("..%5Cwindows", "..\\windows"),
    ("plus+plus", "plus+plus"),
    ("space%20space", "space space"),
    ("percent%25", "percent%"),
    ("twice%2525", "twice%25"),
    ("%00", "\0"),
    ("line%0D%0Aend", "line\r\nend"),
    ("%C3%BC", "ü"),
    ("%F0%9F%92%A9", "\u{1f4a9}"),
    ("q%3Fx%23y", "q?x#y"),
    ("semi;colon:at@and&eq=,!$'()*~", "semi;colon:at@and&eq=,!$'()*~"),
    ("%7Bbrace%7D%22%3C%3E%5B%5D%5E%60%7C", "{brace}\"<>[]^`|"),
];

#[tokio::test]
async fn no_path_is_normalised() {
    let world = World::new().await;
    let bart = world.bucket("paths").await;
    bart.put("/", "").host("other.localhost").expect(200).await;
    for (sent, key) in PATHS {
        let call = bart.put(&path("paths", key), key);
        // Signed as S3 spells it, sent as the client spells it.
        let reply = call.spoiled(|request| request.target = format!("/paths/{sent}")).await.expect(200);
        drop(reply);
        bart.get(&path("paths", key)).expect(200).await.body_is(key);
    }
    let mut keys: Vec<&str> = PATHS.iter().map(|(_, key)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    let listed = bart.get("/paths").expect(200).await;
    assert_eq!(listed.tags("Key"), keys);
    for key in keys {
        bart.delete(&path("paths", key)).expect(204).await;
        bart.get(&path("paths", key)).refused(404, "NoSuchKey").await.with("Key", key);
    }
    assert!(bart.get("/other").expect(200).await.tags("Key").is_empty(), "no path leads elsewhere");
}

#[tokio::test]
async fn an_escaped_slash_is_a_slash_of_the_key() {
    let world = World::new().await;
    let bart = world.bucket("paths").await;
    let put = bart.put("/paths/a/b", "body");
    put.spoiled(|request| request.target = "/paths/a%2Fb".to_owned()).await.expect(200);
    bart.get("/paths/a/b").expect(200).await.body_is("body");
    // It does not end the bucket's name.
    let put = bart.put("/paths/c", "body");
    put.spoiled(|request| request.target = "/paths%2Fc".to_owned()).await.refused(400, "InvalidBucketName");
}

#[tokio::test]
async fn escapes_that_are_none_are_no_uri() {
    let world = World::new().await;
    let bart = world.bucket("paths").await;
    let before = world.stored().await;
    for broken in ["%", "%2", "%zz", "a%", "a%g0", "%ff", "%C3%28", "%ED%A0%80", "a%2", "%%20"] {
        for target in [
            format!("/paths/{broken}"),
            format!("/paths?prefix={broken}"),
            format!("/paths/a?versionId={broken}"),
            format!("/{broken}"),
        ] {
            for method in ["GET", "PUT", "DELETE"] {
                let call = bart.call(method, "/paths/a").by(Scheme::Anonymous);
                let reply = call.spoiled(|request| request.target.clone_from(&target)).await;
                reply.refused(400, "InvalidURI");
                let call = bart.call(method, "/paths/a");
                let reply = call.spoiled(|request| request.target.clone_from(&target)).await;
                reply.refused(400, "InvalidURI");
            }
        }
    }
    before.assert_same(&world.stored().await, "a broken escape");
    world.sound().await;
}

#[tokio::test]
async fn a_bucket_without_a_key_is_the_bucket_with_or_without_its_slash() {
    let world = World::new().await;
    let bart = world.bucket("slash").await;
    bart.get("/slash/").expect(200).await.with("Name", "slash");
    bart.head("/slash/").expect(200).await;
    bart.put("/second/", "").expect(200).await;
    bart.delete("/second/").expect(204).await;
    bart.get("//key").refused(400, "InvalidBucketName").await;
}

/// Sub-resources of S3, by what they belong to.
const OF_BUCKETS: [&str; 24] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "logging",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "session",
    "website",
    "versioning",
    "tagging",
];
const OF_OBJECTS: [&str; 7] = ["acl", "legal-hold", "restore", "retention", "select", "torrent", "tagging"];

#[tokio::test]
async fn sub_resources_that_are_not_here_say_so() {
    let world = World::new().await;
    let bart = world.bucket("subs").await;
    bart.put("/subs/a", "body").expect(200).await;
    let has = |name: &str| OPERATIONS.iter().any(|route| route.pattern.query.contains(&name));
    let mut missing = 0;
    for (target, names) in [("/subs", &OF_BUCKETS[..]), ("/subs/a", &OF_OBJECTS)] {
        for name in names.iter().filter(|name| !has(name)) {
            for method in ["GET", "PUT", "DELETE", "POST"] {
                for query in
                    [(*name).to_owned(), format!("{name}="), format!("{name}=1&prefix=a"), format!("x-id=1&{name}")]
                {
                    let call =
                        bart.call(method, &format!("{target}?{query}")).body(if method == "GET" { "" } else { "<a/>" });
                    refused(&world, call, 501, "NotImplemented").await;
                    missing += 1;
                }
            }
        }
    }
    assert!(missing > 0 || OF_BUCKETS.iter().chain(&OF_OBJECTS).all(|name| has(name)));
    bart.get("/subs/a").expect(200).await.body_is("body");
}

#[tokio::test]
async fn parameters_that_nobody_knows_are_ignored() {
    let world = World::new().await;
    let bart = world.bucket("params").await;
    for query in ["x-id=PutObject", "foo", "foo=bar&foo=baz", "X-ID", "list-type", "%20=%20", "&&&", "=", "=x"] {
        bart.put(&format!("/params/a?{query}"), "body").expect(200).await;
        bart.get(&format!("/params/a?{query}")).expect(200).await.body_is("body");
        bart.get(&format!("/params?{query}")).expect(200).await.with("Key", "a");
        bart.get(&format!("/?{query}")).expect(200).await.with("Name", "params");
        bart.delete(&format!("/params/a?{query}")).expect(204).await;
    }
    // Names of sub-resources are spelled as they are.
    bart.get("/params?ACL").expect(200).await.with("Name", "params");
}

#[tokio::test]
async fn a_method_that_fits_nothing_is_told_which_would() {
    let world = World::new().await;
    let bart = world.bucket("methods").await;
    bart.put("/methods/a", "body").expect(200).await;
    for (method, target, kind) in [
        ("PUT", "/", "SERVICE"),
        ("POST", "/", "SERVICE"),
        ("DELETE", "/", "SERVICE"),
        ("PATCH", "/methods", "BUCKET"),
        ("PATCH", "/methods/a", "OBJECT"),
        ("PROPFIND", "/methods", "BUCKET"),
        ("DELETE", "/methods?versioning", "BUCKET"),
        ("DELETE", "/methods?location", "BUCKET"),
        ("PUT", "/methods?location", "BUCKET"),
        ("PUT", "/methods?versions", "BUCKET"),
        ("GET", "/methods?delete", "BUCKET"),
        ("POST", "/methods?tagging", "BUCKET"),
        ("POST", "/methods/a?tagging", "OBJECT"),
        ("PUT", "/methods/a?attributes", "OBJECT"),
        ("GET", "/methods/a?uploads", "OBJECT"),
        ("PUT", "/methods/a?uploads", "OBJECT"),
    ] {
        let reply = refused(&world, bart.call(method, target), 405, "MethodNotAllowed").await;
        let reply = reply.with("Method", method).with("ResourceType", kind);
        let allow = reply.header("allow").unwrap_or_else(|| panic!("no Allow: {reply}")).to_owned();
        assert!(!allow.is_empty() && allow.split(", ").all(|allowed| allowed != method), "{method} {target}: {allow}");
    }
    let allow = bart.call("PATCH", "/methods/a").refused(405, "MethodNotAllowed").await;
    let allow = allow.header("allow").unwrap();
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        assert!(allow.contains(method), "{allow}");
    }
}

#[tokio::test]
async fn every_answer_has_the_common_headers_and_ids_of_its_own() {
    let world = World::new().await;
    let bart = world.bucket("common").await;
    bart.put("/common/a", "body").expect(200).await;
    let mut ids = Vec::new();
    for reply in [
        bart.get("/").send().await,
        bart.get("/common").send().await,
        bart.get("/common/a").send().await,
        bart.head("/common/a").send().await,
        bart.get("/common/none").send().await,
        bart.delete("/common/none").send().await,
        bart.put("/common/a?retention", "").send().await,
        world.nobody().get("/common/a").send().await,
        world.raw("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await,
        world.raw("BROKEN\r\n\r\n").await,
        world.raw("GET /_/healthcheck HTTP/1.1\r\nhost: a\r\n\r\n").await,
    ] {
        let id = reply.header("x-amz-request-id").unwrap_or_else(|| panic!("no id: {reply}")).to_owned();
        assert!(reply.header("x-amz-id-2").is_some() && reply.header("server").is_some(), "{reply}");
        assert!(cloudserver::types::Timestamp::parse_http_date(reply.header("date").unwrap()).is_some(), "{reply}");
        if reply.status >= 400 && !reply.body.is_empty() {
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply}");
        }
        ids.push(id);
    }
    ids.sort();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "each request has its own id");
}

#[tokio::test]
async fn errors_say_what_they_are_about_and_escape_it() {
    let world = World::new().await;
    let bart = world.bucket("errors").await;
    for key in ["a&b<c>\"d'", "]]>", "ü", "<script>alert(1)</script>"] {
        let reply = bart.get(&path("errors", key)).refused(404, "NoSuchKey").await;
        assert!(!reply.text().contains("<script>"), "{reply}");
        reply.with("Key", key).with("Resource", &format!("/errors/{key}"));
    }
}

#[tokio::test]
async fn an_upload_is_told_to_continue_only_when_it_may() {
    let world = World::new().await;
    let bart = world.bucket("expect").await;
    let body = vec![b'e'; 100_000];
    let good = bart.put("/expect/a", &body).unsigned();
    for (call, status, interim) in [
        (good.clone(), 200, &[100_u16][..]),
        (good.clone().header("if-match", "\"x\""), 412, &[]),
        (bart.put("/nobucket/a", &body).unsigned(), 404, &[]),
        (world.nobody().put("/expect/b", &body), 403, &[]),
        (world.lisa().put("/expect/b", &body).unsigned(), 403, &[]),
        (bart.put("/expect/b", &body).unsigned().headers(&[("if-none-match", "\"x\""), ("if-match", "*")]), 501, &[]),
        (bart.put("/expect/b", &body).unsigned().header("content-md5", "x"), 400, &[]),
        (bart.put("/expect/b", &body).unsigned().header("x-amz-storage-class", "x"), 400, &[]),
        (bart.put(&format!("/expect/{}", "k".repeat(1025)), &body).unsigned(), 400, &[]),
    ] {
        let mut request = call.signed();
        request.set("expect", "100-continue");
        request.set("content-length", &body.len().to_string());
        let bytes = request.bytes();
        let head = bytes.len() - body.len();
        let mut connection = world.connect().await;
        connection.send(&bytes[..head]).await;
        if !interim.is_empty() {
            connection.send(&bytes[head..]).await;
        }
        let reply = connection.reply("PUT").await.unwrap();
        assert_eq!((reply.status, reply.interim.as_slice()), (status, interim), "{reply}");
    }
    // Other expectations are ignored.
    good.spoiled(|request| request.set("expect", "202-something")).await.expect(200);
    bart.get("/expect/a").expect(200).await.body_is(&body);
    bart.get("/expect/b").refused(404, "NoSuchKey").await;
}
