//! PUT, GET, HEAD and DELETE of objects: what is stored, what is shown, what is refused (s3-wire.md §5).

use cloudserver::types::{ChecksumAlgorithm, Timestamp};

use crate::support::{
    client::{Payload, content_md5, now},
    wire::Connection,
    world::{World, path, refused},
};

#[tokio::test]
async fn an_object_reads_back_with_its_headers() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    let sent = [
        ("content-type", "text/x-test; charset=utf-8"),
        ("cache-control", "max-age=17"),
        ("content-disposition", "attachment; filename=\"a.txt\""),
        ("content-encoding", "gzip"),
        ("content-language", "de, en"),
        ("expires", "whenever"),
        ("x-amz-website-redirect-location", "/elsewhere"),
        ("x-amz-meta-one", "1"),
        ("x-amz-meta-Two-Words", "some  words"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ];
    let put = bart.put("/objects/a", "body").headers(&sent).expect(200).await;
    let put =
        put.has("etag", "\"841a2d689ad86bd1611447453c22c6fc\"").has("content-length", "0").lacks("x-amz-version-id");
    assert!(put.header("x-amz-checksum-crc64nvme").is_some(), "the server computes one where the client names none");
    for reply in [bart.get("/objects/a").expect(200).await.body_is("body"), bart.head("/objects/a").expect(200).await] {
        for (name, value) in sent {
            // Runs of blanks are the transport's to keep; names are lower-cased.
            assert_eq!(reply.header(&name.to_ascii_lowercase()), Some(value), "{name} of {reply}");
        }
        let reply = reply.has("content-length", "4").has("etag", "\"841a2d689ad86bd1611447453c22c6fc\"");
        let reply = reply.has("accept-ranges", "bytes").lacks("x-amz-version-id").lacks("x-amz-tagging-count");
        let modified = Timestamp::parse_http_date(reply.header("last-modified").unwrap()).unwrap();
        assert!(modified.distance(now()).as_secs() < 60, "{reply}");
        for name in ["x-amz-request-id", "x-amz-id-2", "date", "server"] {
            assert!(reply.header(name).is_some(), "no {name} in {reply}");
        }
    }
}

#[tokio::test]
async fn what_a_client_does_not_say_has_defaults() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "").expect(200).await.has("etag", "\"d41d8cd98f00b204e9800998ecf8427e\"");
    let reply = bart.get("/objects/a").expect(200).await.body_is("");
    let reply = reply.has("content-type", "binary/octet-stream").has("content-length", "0");
    let reply = reply.lacks("content-encoding").lacks("cache-control").lacks("expires").lacks("x-amz-storage-class");
    reply.lacks("x-amz-website-redirect-location").lacks("content-disposition").lacks("content-language");
}

#[tokio::test]
async fn sizes_around_the_inline_threshold_read_back() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    for size in [1, 65_535, 65_536, 65_537, 262_144, 1_000_000] {
        let body: Vec<u8> = (0..size).map(|index| u8::try_from(index % 253).unwrap()).collect();
        bart.put("/objects/sized", &body).expect(200).await;
        let reply = bart.get("/objects/sized").expect(200).await.body_is(&body);
        reply.has("content-length", &size.to_string());
    }
    bart.delete("/objects/sized").expect(204).await;
    world.drained().await;
    assert!(world.blobs().await.is_empty(), "overwritten and deleted bytes are freed");
}

#[tokio::test]
async fn an_overwrite_replaces_everything() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "first")
        .headers(&[("x-amz-meta-a", "1"), ("content-type", "text/plain"), ("x-amz-tagging", "a=1")])
        .expect(200)
        .await;
    bart.put("/objects/a", "second").header("x-amz-meta-b", "2").expect(200).await;
    let reply = bart.get("/objects/a").expect(200).await.body_is("second").has("x-amz-meta-b", "2");
    reply.lacks("x-amz-meta-a").lacks("x-amz-tagging-count").has("content-type", "binary/octet-stream");
}

#[tokio::test]
async fn a_deleted_object_is_gone_and_may_be_deleted_again() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "body").expect(200).await;
    for _ in 0..2 {
        let reply = bart.delete("/objects/a").expect(204).await.body_is("");
        reply.lacks("x-amz-delete-marker").lacks("x-amz-version-id").lacks("content-length");
        bart.get("/objects/a").refused(404, "NoSuchKey").await.with("Key", "a").with("Resource", "/objects/a");
        bart.head("/objects/a").expect(404).await.body_is("");
    }
}

#[tokio::test]
async fn errors_of_head_have_no_body() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "body").expect(200).await;
    for (reply, status) in [
        (bart.head("/objects/none").send().await, 404),
        (bart.head("/nobucket/a").send().await, 404),
        (bart.head("/nobucket").send().await, 404),
        (world.lisa().head("/objects/a").send().await, 403),
        (world.nobody().head("/objects").send().await, 403),
        (bart.head("/objects/a?versionId=x").send().await, 400),
        (bart.head("/objects/a").header("if-match", "\"x\"").send().await, 412),
        (bart.head("/objects/a").header("if-none-match", "*").send().await, 304),
        (bart.head("/objects/a").header("range", "bytes=9-").send().await, 416),
    ] {
        let reply = reply.expect(status).body_is("");
        assert!(reply.header("x-amz-request-id").is_some(), "{reply}");
        assert!(matches!(reply.header("content-length"), None | Some("0")), "{reply}");
    }
    // The connection is still in step.
    bart.get("/objects/a").expect(200).await.body_is("body");
}

#[tokio::test]
async fn metadata_beyond_ascii_comes_back_as_encoded_words() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "")
        .headers(&[
            ("x-amz-meta-raw", "Grüße"),
            ("x-amz-meta-word", "=?UTF-8?B?R3LDvMOfZQ==?="),
            ("x-amz-meta-quoted", "=?utf-8?Q?Gr=C3=BC=C3=9Fe_an?="),
            ("x-amz-meta-plain", "=?no word"),
        ])
        .expect(200)
        .await;
    let reply = bart.get("/objects/a").expect(200).await;
    let reply =
        reply.has("x-amz-meta-raw", "=?UTF-8?B?R3LDvMOfZQ==?=").has("x-amz-meta-word", "=?UTF-8?B?R3LDvMOfZQ==?=");
    reply
        .has("x-amz-meta-quoted", "=?UTF-8?B?R3LDvMOfZSBhbg==?=")
        .has("x-amz-meta-plain", "=?no word")
        .lacks("x-amz-missing-meta");
}

#[tokio::test]
async fn metadata_that_cannot_be_a_header_is_counted_and_harms_nothing() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    // An encoded word may hide a line end: shown raw, it would begin a header of the client's choice.
    bart.put("/objects/a", "body")
        .headers(&[("x-amz-meta-evil", "=?UTF-8?B?YQ0KeC1pbmplY3RlZDogMQ==?="), ("x-amz-meta-good", "1")])
        .expect(200)
        .await;
    let reply = bart.get("/objects/a").expect(200).await.body_is("body").has("x-amz-meta-good", "1");
    reply.lacks("x-injected").lacks("x-amz-meta-evil").has("x-amz-missing-meta", "1");
}

#[tokio::test]
async fn repeated_metadata_joins_with_commas() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    let call = bart.put("/objects/a", "").unsigned().by(crate::support::sign::Scheme::HeaderV4);
    let mut request = call.signed();
    request.headers.push(("x-amz-meta-a".to_owned(), "1".to_owned()));
    // Unsigned headers of that name are refused, so the joined form is what is signed.
    bart.send(&request).await.refused(403, "AccessDenied").with("HeadersNotSigned", "x-amz-meta-a");
    bart.put("/objects/a", "").header("x-amz-meta-a", "1,2").expect(200).await;
    bart.head("/objects/a").expect(200).await.has("x-amz-meta-a", "1,2");
}

#[tokio::test]
async fn metadata_has_a_limit() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    let fits = "x".repeat(2048 - 4);
    bart.put("/objects/a", "").header("x-amz-meta-name", &fits).expect(200).await;
    let long = bart.put("/objects/b", "").header("x-amz-meta-name", format!("{fits}x"));
    let reply = refused(&world, long, 400, "MetadataTooLarge").await;
    reply.with("Size", "2049").with("MaxSizeAllowed", "2048");
}

#[tokio::test]
async fn values_that_cannot_be_are_refused() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    for (name, value, code) in [
        ("x-amz-storage-class", "BEST", "InvalidStorageClass"),
        ("x-amz-website-redirect-location", "elsewhere", "InvalidRedirectLocation"),
        ("x-amz-website-redirect-location", "javascript:alert(1)", "InvalidRedirectLocation"),
        ("x-amz-acl", "everybody", "InvalidArgument"),
        ("content-md5", "none", "InvalidDigest"),
        ("content-md5", "", "InvalidDigest"),
        ("content-md5", "YWJj", "InvalidDigest"),
        ("x-amz-tagging", "a=1&a=2", "InvalidArgument"),
        ("x-amz-tagging", "a=%zz", "InvalidArgument"),
        ("x-amz-tagging", "aws:a=1", "InvalidTag"),
        ("x-amz-checksum-algorithm", "x", ""),
        ("x-amz-sdk-checksum-algorithm", "CRC32", "InvalidRequest"),
        ("x-amz-sdk-checksum-algorithm", "x", "InvalidRequest"),
    ] {
        if code.is_empty() {
            continue;
        }
        refused(&world, bart.put("/objects/a", "body").header(name, value), 400, code).await;
    }
    let appended = bart.put("/objects/a", "body").header("x-amz-write-offset-bytes", "4");
    refused(&world, appended, 400, "InvalidWriteOffset").await;
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    for size in [10, 100_000] {
        let body = vec![7; size];
        let call = bart.put("/objects/a", &body).header("content-md5", content_md5(b"other"));
        let reply = refused(&world, call, 400, "BadDigest").await;
        assert!(reply.tag("ExpectedDigest").is_some() && reply.tag("CalculatedDigest").is_some(), "{reply}");
        let call = bart.put("/objects/a", &body).payload(Payload::Saying("0".repeat(64)));
        let reply = refused(&world, call, 400, "XAmzContentSHA256Mismatch").await;
        reply.with("ClientComputedContentSHA256", &"0".repeat(64));
        let wrong = cloudserver::types::Checksum::of(ChecksumAlgorithm::Crc32c, b"other").to_base64();
        let call = bart.put("/objects/a", &body).header("x-amz-checksum-crc32c", wrong);
        refused(&world, call, 400, "BadDigest").await;
    }
    let body = "good";
    bart.put("/objects/a", body).header("content-md5", content_md5(body.as_bytes())).expect(200).await;
}

#[tokio::test]
async fn a_wrong_digest_keeps_the_old_object() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "old").expect(200).await;
    let call = bart.put("/objects/a", vec![1; 100_000]).header("content-md5", content_md5(b"other"));
    refused(&world, call, 400, "BadDigest").await;
    bart.get("/objects/a").expect(200).await.body_is("old");
}

#[tokio::test]
async fn a_put_without_a_length_is_refused() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    let before = world.stored().await;
    let request = bart.put("/objects/a", "").unsigned().signed();
    let mut bytes = format!("PUT {} HTTP/1.1\r\n", request.target);
    for (name, value) in &request.headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    let reply = world.raw(format!("{bytes}\r\n")).await;
    reply.refused(411, "MissingContentLength");
    before.assert_same(&world.stored().await, "a PUT without a length");
    // With the chunked coding the end is known, and no length needed.
    let reply =
        world.raw(format!("{bytes}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n, I\r\n0\r\n\r\n")).await;
    reply.expect(200);
    bart.get("/objects/a").expect(200).await.body_is("hello, I");
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_nothing() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    let before = world.stored().await;
    for size in [100, 200_000] {
        let mut request = bart.put("/objects/a", vec![1; size]).unsigned().signed();
        request.set("content-length", &(size + 1).to_string());
        let mut connection = Connection::open(world.address).await;
        connection.send(&request.bytes()).await;
        connection.end().await;
        if let Ok(reply) = connection.reply("PUT").await {
            reply.refused(400, "IncompleteBody");
        }
        before.assert_same(&world.stored().await, "half a body");
    }
    bart.get("/objects/a").refused(404, "NoSuchKey").await;
}

#[tokio::test]
async fn an_object_larger_than_five_gibibytes_is_refused_by_its_announcement() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    let before = world.stored().await;
    let mut request = bart.put("/objects/a", "").unsigned().signed();
    request.set("content-length", "5368709121");
    let reply = world.raw(request.bytes()).await.refused(400, "EntityTooLarge");
    reply.with("ProposedSize", "5368709121").with("MaxSizeAllowed", "5368709120");
    before.assert_same(&world.stored().await, "an announcement");
}

#[tokio::test]
async fn keys_have_1024_bytes_at_most() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    // At another server the bucket's name stands before the key, and has its part of that server's 1,024 bytes.
    let room = if world.is_far() { 1024 - "objects/".len() } else { 1024 };
    if world.is_far() {
        let key = path("objects", &"k".repeat(room + 1));
        refused(&world, bart.put(&key, "body"), 400, "KeyTooLongError").await;
        bart.get(&key).expect(404).await;
        bart.delete(&key).expect(204).await;
    }
    for key in ["k".repeat(room), "ü".repeat(room / 2), "/".repeat(room)] {
        bart.put(&path("objects", &key), "body").expect(200).await;
        bart.get(&path("objects", &key)).expect(200).await.body_is("body");
        bart.delete(&path("objects", &key)).expect(204).await;
    }
    for key in ["k".repeat(1025), format!("{}k", "ü".repeat(512))] {
        let reply = refused(&world, bart.put(&path("objects", &key), "body"), 400, "KeyTooLongError").await;
        reply.with("Size", "1025").with("MaxSizeAllowed", "1024");
        bart.get(&path("objects", &key)).refused(400, "KeyTooLongError").await;
        bart.delete(&path("objects", &key)).refused(400, "KeyTooLongError").await;
    }
}

#[tokio::test]
async fn a_get_may_replace_headers_of_its_answer() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "body")
        .headers(&[("content-type", "text/plain"), ("cache-control", "old")])
        .expect(200)
        .await;
    let target = "/objects/a?response-cache-control=no-cache&response-content-disposition=attachment%3B%20filename%3Da\
        &response-content-encoding=br&response-content-language=fr&response-content-type=text%2Fhtml\
        &response-expires=Thu%2C%2001%20Jan%201970%2000%3A00%3A00%20GMT";
    for method in ["GET", "HEAD"] {
        let reply = bart.call(method, target).expect(200).await;
        let reply = reply.has("cache-control", "no-cache").has("content-disposition", "attachment; filename=a");
        let reply = reply.has("content-encoding", "br").has("content-language", "fr").has("content-type", "text/html");
        reply.has("expires", "Thu, 01 Jan 1970 00:00:00 GMT");
    }
    let presigned = bart.get(target).by(crate::support::sign::Scheme::QueryV4);
    presigned.expect(200).await.has("content-type", "text/html");
    bart.get("/objects/a").expect(200).await.has("content-type", "text/plain").has("cache-control", "old");
}

#[tokio::test]
async fn replaced_headers_cannot_hold_line_ends_and_are_not_for_strangers() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "body").header("x-amz-acl", "public-read").expect(200).await;
    for name in
        ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"]
    {
        for evil in ["a%0D%0Ax-injected:%201", "a%0Ax", "a%0D", "%00", "a%7F"] {
            let call = bart.get(&format!("/objects/a?response-{name}={evil}"));
            let reply = call.refused(400, "InvalidArgument").await;
            reply.lacks("x-injected").with("ArgumentName", &format!("response-{name}"));
        }
        let call = world.nobody().get(&format!("/objects/a?response-{name}=x"));
        call.refused(400, "InvalidRequest").await;
    }
    world.nobody().get("/objects/a").expect(200).await.body_is("body");
}

#[tokio::test]
async fn checksums_are_shown_only_when_asked_for() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "body").expect(200).await;
    for method in ["GET", "HEAD"] {
        let plain = bart.call(method, "/objects/a").expect(200).await;
        plain.lacks("x-amz-checksum-crc64nvme").lacks("x-amz-checksum-type");
        let asked = bart.call(method, "/objects/a").header("x-amz-checksum-mode", "ENABLED").expect(200).await;
        assert!(asked.header("x-amz-checksum-crc64nvme").is_some(), "{asked}");
        asked.has("x-amz-checksum-type", "FULL_OBJECT");
        let ranged =
            bart.call(method, "/objects/a").headers(&[("x-amz-checksum-mode", "ENABLED"), ("range", "bytes=0-1")]);
        ranged.expect(206).await.lacks("x-amz-checksum-crc64nvme").lacks("x-amz-checksum-type");
    }
}

#[tokio::test]
async fn the_owner_of_a_bucket_may_be_named_and_must_be_the_one() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/a", "body").expect(200).await;
    for owner in [crate::support::world::BART, "123456789012"] {
        bart.get("/objects/a").header("x-amz-expected-bucket-owner", owner).expect(200).await;
    }
    for owner in [crate::support::world::LISA, "123456789013", "", "x"] {
        for (method, target) in [
            ("GET", "/objects/a"),
            ("PUT", "/objects/a"),
            ("DELETE", "/objects/a"),
            ("GET", "/objects"),
            ("DELETE", "/objects"),
            ("GET", "/objects?uploads"),
            ("POST", "/objects/b?uploads"),
            ("GET", "/objects?versions"),
            ("PUT", "/objects?tagging"),
        ] {
            let call = bart.call(method, target).header("x-amz-expected-bucket-owner", owner);
            refused(&world, call, 403, "AccessDenied").await;
        }
    }
}

#[tokio::test]
async fn an_object_says_who_may_read_it() {
    let world = World::new().await;
    let bart = world.bucket("objects").await;
    bart.put("/objects/private", "body").expect(200).await;
    bart.put("/objects/public", "body").header("x-amz-acl", "public-read").expect(200).await;
    bart.put("/objects/members", "body").header("x-amz-acl", "authenticated-read").expect(200).await;
    let (lisa, nobody) = (world.lisa(), world.nobody());
    for (client, key, status) in [
        (&lisa, "private", 403),
        (&nobody, "private", 403),
        (&lisa, "public", 200),
        (&nobody, "public", 200),
        (&lisa, "members", 200),
        (&nobody, "members", 403),
    ] {
        client.get(&path("objects", key)).expect(status).await;
        client.head(&path("objects", key)).expect(status).await;
        refused(&world, client.put(&path("objects", key), "theirs"), 403, "AccessDenied").await;
        refused(&world, client.delete(&path("objects", key)), 403, "AccessDenied").await;
    }
}
