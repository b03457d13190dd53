//! Headers: values from requests come back in answers, and must not become headers of their own.

use cloudserver::s3::table::OPERATIONS;

use crate::support::{
    sign::Scheme,
    world::{World, refused},
};

/// Escaped line ends, and what would follow them.
const EVIL: [&str; 5] = ["a%0D%0Ax-injected:%201", "a%0Ax-injected:%201", "a%0Dx", "%0D%0A%0D%0A%3Chtml%3E", "%00"];

#[tokio::test]
async fn parameters_in_place_of_headers_cannot_inject_any() {
    let world = World::new().await;
    let bart = world.bucket("inject").await;
    for name in [
        "x-amz-meta-a",
        "x-amz-website-redirect-location",
        "x-amz-storage-class",
        "x-amz-tagging",
        "x-amz-acl",
        "x-amz-checksum-crc32",
        "x-amz-copy-source",
        "x-amz-expected-bucket-owner",
        "x-amz-metadata-directive",
        "x-amz-sdk-checksum-algorithm",
    ] {
        for evil in EVIL {
            let value = if name.ends_with("location") { format!("/{evil}") } else { evil.to_owned() };
            let put = bart.put(&format!("/inject/a?{name}={value}"), "body").by(Scheme::QueryV4).send().await;
            assert_eq!(put.header("x-injected"), None, "{name}: {put}");
            assert!(put.status < 500, "{name}: {put}");
            if put.status == 200 {
                for method in ["GET", "HEAD"] {
                    let reply = bart.call(method, "/inject/a").expect(200).await;
                    assert_eq!(reply.header("x-injected"), None, "{name}: {reply}");
                }
                bart.get("/inject").expect(200).await;
                bart.delete("/inject/a").expect(204).await;
            }
        }
    }
    world.sound().await;
}

#[tokio::test]
async fn forwarded_and_internal_headers_are_nobodys_word() {
    let world = World::new().await;
    let bart = world.bucket("trust").await;
    bart.put("/trust/a", "body").expect(200).await;
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;by=admin"),
        ("x-amz-security-token", "internal"),
        ("x-amz-user", "accessKey1"),
        ("x-scal-user", "accessKey1"),
        ("x-seaweedfs-identity", "admin"),
        ("x-minio-internal", "1"),
        ("x-original-url", "/trust/a"),
        ("x-http-method-override", "GET"),
        ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),
        ("cookie", "session=admin"),
        ("aws-principal", "*"),
    ] {
        let reply = world.nobody().get("/trust/a").header(name, value).send().await;
        assert!(matches!(reply.status, 400 | 403), "{name}: {reply}");
        assert_ne!(reply.body, b"body");
    }
}

/// Headers that the server reads, or that others would.
const HEADERS: [&str; 53] = [
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "content-md5",
    "content-type",
    "content-encoding",
    "content-language",
    "cache-control",
    "expires",
    "expect",
    "origin",
    "referer",
    "user-agent",
    "accept-encoding",
    "te",
    "upgrade",
    "date",
    "via",
    "x-amz-checksum-mode",
    "x-amz-checksum-crc32",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-type",
    "x-amz-trailer",
    "x-amz-decoded-content-length",
    "x-amz-acl",
    "x-amz-tagging",
    "x-amz-storage-class",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-metadata-directive",
    "x-amz-expected-bucket-owner",
    "x-amz-object-attributes",
    "x-amz-max-parts",
    "x-amz-part-number-marker",
    "x-amz-mp-object-size",
    "x-amz-if-match-size",
    "x-amz-if-match-last-modified-time",
    "x-amz-bypass-governance-retention",
    "x-amz-mfa",
    "x-amz-request-payer",
    "x-amz-optional-object-attributes",
    "x-amz-meta-",
    "x-amz-grant-read",
    "x-amz-server-side-encryption",
    "x-amz-object-ownership",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-meta-scal-location-constraint",
    "x-amz-website-redirect-location",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-date-other",
];

#[tokio::test]
async fn odd_values_of_every_header_are_answered() {
    let world = World::new().await;
    let bart = world.bucket("odd").await;
    bart.put("/odd/a", "body").expect(200).await;
    let long = "9".repeat(3000);
    for name in HEADERS {
        for value in [
            "",
            " ",
            "\"",
            "*",
            ",",
            ",,,,",
            "=",
            "%",
            "%00",
            "\u{e4}\u{f6}",
            "-1",
            &long,
            "null",
            "../..",
            "bytes=0-0,1-1",
            "W/\"",
            "\"a\",",
            "id=x",
        ] {
            for (method, target, body) in [("GET", "/odd/a", ""), ("PUT", "/odd/b", "body")] {
                let reply = bart.call(method, target).body(body).header(name, value).send().await;
                let known = reply.status < 500 || reply.status == 501;
                assert!(known, "{method} {target} {name}: {value:.40?}: {reply}");
            }
        }
    }
    bart.get("/odd/a").expect(200).await.body_is("body");
    world.sound().await;
}

#[tokio::test]
async fn odd_values_of_every_parameter_are_answered() {
    let world = World::new().await;
    let bart = world.bucket("odd").await;
    bart.put("/odd/a", "body").expect(200).await;
    let mut names: Vec<&str> =
        OPERATIONS.iter().flat_map(|route| route.pattern.query).map(|name| name.split('=').next().unwrap()).collect();
    names.extend([
        "prefix",
        "delimiter",
        "marker",
        "max-keys",
        "encoding-type",
        "continuation-token",
        "start-after",
        "fetch-owner",
        "key-marker",
        "version-id-marker",
        "upload-id-marker",
        "max-uploads",
        "part-number-marker",
        "max-parts",
        "versionId",
        "max-buckets",
        "bucket-region",
        "response-content-type",
    ]);
    names.sort_unstable();
    names.dedup();
    let long = "9".repeat(3000);
    for name in names {
        for value in [
            "",
            "%00",
            "%2F..%2F",
            "-1",
            "18446744073709551616",
            &long,
            "%F0%9F%92%A9",
            "null",
            "a%26b%3Dc",
            "%0D%0Ax-injected%3A1",
            "+",
            "%2B",
        ] {
            for (method, target) in [
                ("GET", "/odd"),
                ("GET", "/odd/a"),
                ("HEAD", "/odd/a"),
                ("GET", "/"),
                ("DELETE", "/odd/none"),
                ("POST", "/odd/none"),
            ] {
                let reply = bart.call(method, &format!("{target}?{name}={value}&{name}=1")).send().await;
                let known = reply.status < 500 || reply.status == 501;
                assert!(known, "{method} {target} {name}: {value:.40}: {reply}");
                assert_eq!(reply.header("x-injected"), None, "{reply}");
            }
        }
    }
    bart.get("/odd/a").expect(200).await.body_is("body");
    world.sound().await;
}

#[tokio::test]
async fn a_length_that_cannot_be_is_refused() {
    let world = World::new().await;
    let bart = world.bucket("odd").await;
    for length in ["9223372036854775808", "18446744073709551613", "5368709121"] {
        let before = world.stored().await;
        let mut request = bart.put("/odd/a", "").unsigned().signed();
        request.set("content-length", length);
        world.raw(request.bytes()).await.refused(400, "EntityTooLarge");
        before.assert_same(&world.stored().await, length);
    }
    let part = crate::multipart::Upload::begin(&bart, "/odd/up").await;
    let mut request = part.put(1, "").unsigned().signed();
    request.set("content-length", "5368709121");
    world.raw(request.bytes()).await.refused(400, "EntityTooLarge");
    let huge = bart.put("/odd?tagging", "");
    let mut request = huge.signed();
    request.set("content-length", "1099511627776");
    world.raw(request.bytes()).await.refused(400, "MaxMessageLengthExceeded");
    refused(
        &world,
        bart.put("/odd/a", "x").header("x-amz-mp-object-size", "1").header("x-amz-write-offset-bytes", "9"),
        400,
        "InvalidWriteOffset",
    )
    .await;
    world.sound().await;
}
