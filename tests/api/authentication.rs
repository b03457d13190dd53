//! Signatures in headers and in queries: each fault has its answer (s3-wire.md §2).

use cloudserver::types::Timestamp;

use crate::support::{
    client::{Payload, now},
    sign::{Key, Scheme},
    wire::Request,
    world::{World, refused},
};

/// Replaces a piece of the Authorization header.
fn authorization(change: impl FnOnce(String) -> String) -> impl FnOnce(&mut Request) {
    move |request| {
        let text = request.header("authorization").unwrap().to_owned();
        request.set("authorization", &change(text));
    }
}

/// Replaces a parameter of the query, or drops it.
fn parameter(name: &str, value: Option<&str>) -> impl FnOnce(&mut Request) {
    let (name, value) = (name.to_owned(), value.map(str::to_owned));
    move |request| {
        let (path, query) = request.target.split_once('?').unwrap();
        let pairs: Vec<String> = query
            .split('&')
            .filter_map(|pair| {
                if pair.split('=').next() == Some(&name) {
                    value.as_ref().map(|value| format!("{name}={value}"))
                } else {
                    Some(pair.to_owned())
                }
            })
            .collect();
        request.target = format!("{path}?{}", pairs.join("&"));
    }
}

#[tokio::test]
async fn every_scheme_proves_who_it_is() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    for scheme in [Scheme::HeaderV4, Scheme::QueryV4, Scheme::HeaderV2, Scheme::QueryV2] {
        let client = bart.by(scheme);
        for key in ["plain", "a b+c%/d", "ü"] {
            let target = crate::support::world::path("auth", key);
            client
                .put(&target, "body")
                .header("x-amz-meta-a", "1")
                .header("content-type", "text/plain")
                .expect(200)
                .await;
            client.get(&target).expect(200).await.body_is("body").has("x-amz-meta-a", "1");
            client
                .get(&format!("{target}?response-content-type=a%2Fb&versionId=null"))
                .expect(200)
                .await
                .has("content-type", "a/b");
            client.delete(&target).expect(204).await;
        }
        client.get("/auth?prefix=a+b&max-keys=1&uploads=").expect(200).await;
        client.get("/auth?delimiter=%2F&prefix=%C3%BC%20%2B").expect(200).await;
        client.get("/").expect(200).await;
    }
}

#[tokio::test]
async fn each_fault_of_the_header_has_its_code() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    let call = bart.put("/auth/a", "body");
    let before = world.stored().await;
    let replace = |from: &'static str, to: &'static str| authorization(move |text| text.replacen(from, to, 1));
    for (change, status, code) in [
        (replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), 400, "InvalidArgument"),
        (replace("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256"), 400, "InvalidArgument"),
        (replace("AWS4-HMAC-SHA256", "Bearer"), 400, "InvalidArgument"),
        (replace("AWS4-HMAC-SHA256 ", ""), 400, "InvalidArgument"),
        (replace("Credential=", "Creditential="), 400, "AuthorizationHeaderMalformed"),
        (replace("SignedHeaders=", "Headers="), 400, "AuthorizationHeaderMalformed"),
        (replace("Signature=", "Sig="), 400, "AuthorizationHeaderMalformed"),
        (replace("aws4_request", "aws3_request"), 400, "AuthorizationHeaderMalformed"),
        (replace("/s3/", "/ec2/"), 400, "AuthorizationHeaderMalformed"),
        (replace("/us-east-1/s3", "/s3"), 400, "AuthorizationHeaderMalformed"),
        (replace("accessKey1/20", "accessKey1/19"), 400, "AuthorizationHeaderMalformed"),
        (replace("accessKey1/20", "accessKey1/2"), 400, "AuthorizationHeaderMalformed"),
        (replace("accessKey1", "accessKey9"), 403, "InvalidAccessKeyId"),
        (replace("accessKey1", ""), 400, "AuthorizationHeaderMalformed"),
        (replace("host;", ""), 403, "AccessDenied"),
        (replace("x-amz-date", "x-amz-data"), 403, "AccessDenied"),
        (replace("Signature=", "Signature=0"), 403, "SignatureDoesNotMatch"),
    ] {
        let reply = call.spoiled(change).await;
        assert_eq!((reply.status, reply.tag("Code").unwrap_or_default().as_str()), (status, code), "{reply}");
    }
    // An empty header is none.
    for whole in ["", " "] {
        call.spoiled(|request| request.set("authorization", whole)).await.refused(403, "AccessDenied");
    }
    for whole in [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        "AWS",
        "AWS ",
        "Basic YTpi",
        "AWS a",
        "AWS4-HMAC-SHA256 a=b",
        "AWS4-HMAC-SHA256 ,,,",
        "\u{ff}",
    ] {
        let reply = call.spoiled(|request| request.set("authorization", whole)).await;
        assert_eq!(reply.status, 400, "{whole:?}: {reply}");
    }
    before.assert_same(&world.stored().await, "a faulty header");
    world.sound().await;
}

#[tokio::test]
async fn what_is_signed_cannot_be_changed() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    world.bucket("other").await;
    bart.put("/auth/a", "old").expect(200).await;
    let before = world.stored().await;
    let call = bart.put("/auth/a?x-id=1", "new").headers(&[
        ("x-amz-meta-a", "1"),
        ("content-type", "text/plain"),
        ("if-match", "*"),
    ]);
    for (what, change) in [
        ("method", Box::new(|request: &mut Request| request.method = "DELETE".to_owned()) as Box<dyn Fn(&mut Request)>),
        ("path", Box::new(|request| request.target = "/auth/b?x-id=1".to_owned())),
        ("bucket", Box::new(|request| request.target = "/other/a?x-id=1".to_owned())),
        ("query", Box::new(|request| request.target = "/auth/a?x-id=2".to_owned())),
        ("more query", Box::new(|request| request.and("tagging"))),
        ("less query", Box::new(|request| request.target = "/auth/a".to_owned())),
        ("metadata", Box::new(|request| request.set("x-amz-meta-a", "2"))),
        ("type", Box::new(|request| request.set("content-type", "text/html"))),
        ("condition", Box::new(|request| request.remove("if-match"))),
        ("host", Box::new(|request| request.set("host", "localhost"))),
        (
            "date",
            Box::new(|request| request.set("x-amz-date", &Timestamp::from_secs(now().as_secs() - 100).to_basic())),
        ),
        ("hash", Box::new(|request| request.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD"))),
    ] {
        let reply = call.spoiled(change).await.refused(403, "SignatureDoesNotMatch");
        assert!(reply.tag("StringToSign").is_some() && reply.tag("CanonicalRequest").is_some(), "{what}: {reply}");
        assert!(!reply.text().contains("verySecretKey1"), "{reply}");
    }
    for name in ["x-amz-meta-b", "x-amz-acl", "x-amz-copy-source", "x-amz-tagging", "x-amz-storage-class"] {
        let reply = call.spoiled(|request| request.set(name, "/auth/a")).await;
        reply.refused(403, "AccessDenied").with("HeadersNotSigned", name);
    }
    before.assert_same(&world.stored().await, "a changed request");
    call.expect(200).await;
}

#[tokio::test]
async fn a_request_is_valid_for_fifteen_minutes_around_its_date() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    for scheme in [Scheme::HeaderV4, Scheme::HeaderV2] {
        for seconds in [0, 880, -880] {
            bart.get("/auth").by(scheme).shifted(seconds).expect(200).await;
        }
        for seconds in [920, -920, 86_400 * 365, -86_400 * 365 * 20] {
            let call = bart.put("/auth/a", "x").by(scheme).shifted(seconds);
            let reply = refused(&world, call, 403, "RequestTimeTooSkewed").await;
            assert!(reply.tag("RequestTime").is_some() && reply.tag("ServerTime").is_some(), "{reply}");
            reply.with("MaxAllowedSkewMilliseconds", "900000");
        }
        for date in ["", "yesterday", "20261122"] {
            let name = if scheme == Scheme::HeaderV4 { "x-amz-date" } else { "date" };
            let reply = bart.get("/auth").by(scheme).spoiled(|request| request.set(name, date)).await;
            assert!(matches!(reply.status, 400 | 403), "{date:?}: {reply}");
        }
        let call = bart.get("/auth").by(scheme);
        let none = call.spoiled(|request| {
            request.remove("x-amz-date");
            request.remove("date");
        });
        none.await.refused(403, "AccessDenied");
    }
}

#[tokio::test]
async fn a_presigned_url_is_valid_until_it_expires() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    bart.put("/auth/a", "body").expect(200).await;
    let url = || bart.get("/auth/a").by(Scheme::QueryV4);
    url().lifetime(604_800).shifted(-604_000).expect(200).await;
    url().lifetime(1).shifted(880).expect(200).await;
    let expired = url().lifetime(60).shifted(-61).refused(403, "AccessDenied").await;
    let expired = expired.with("X-Amz-Expires", "60").with("Message", "Request has expired");
    assert!(expired.tag("Expires").is_some() && expired.tag("ServerTime").is_some(), "{expired}");
    let early = url().shifted(920).refused(403, "AccessDenied").await;
    early.with("Message", "Request is not valid yet");
    for lifetime in ["-1", "x", "", "604801", "99999999999999999999", "1.5", "0x10", "+5"] {
        let reply = url().spoiled(parameter("X-Amz-Expires", Some(&lifetime.replace('+', "%2B")))).await;
        reply.refused(400, "AuthorizationQueryParametersError");
    }
    let expired = bart.get("/auth/a").by(Scheme::QueryV2).lifetime(60).shifted(-61);
    expired.refused(403, "AccessDenied").await;
    for expires in ["", "x", "-1", "99999999999999999999", "4102444800"] {
        let reply = bart.get("/auth/a").by(Scheme::QueryV2).spoiled(parameter("Expires", Some(expires))).await;
        reply.refused(403, "AccessDenied");
    }
}

#[tokio::test]
async fn each_fault_of_a_presigned_url_has_its_code() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    bart.put("/auth/a", "body").expect(200).await;
    let url = bart.get("/auth/a").by(Scheme::QueryV4);
    let query = "AuthorizationQueryParametersError";
    for name in
        ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"]
    {
        url.spoiled(parameter(name, None)).await.refused(400, query);
        if name != "X-Amz-Signature" {
            url.spoiled(parameter(name, Some(""))).await.refused(400, query);
        }
    }
    for (name, value, status, code) in [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA512", 400, query),
        ("X-Amz-Credential", "accessKey1", 400, query),
        ("X-Amz-Credential", "accessKey1%2F20200101%2Fus-east-1%2Fs3%2Faws4_request", 400, query),
        ("X-Amz-Date", "today", 400, query),
        ("X-Amz-SignedHeaders", "x-amz-meta-a", 403, "AccessDenied"),
        ("X-Amz-SignedHeaders", "HOST", 400, query),
        ("X-Amz-Signature", "00", 403, "SignatureDoesNotMatch"),
        ("X-Amz-Signature", "", 403, "SignatureDoesNotMatch"),
        ("X-Amz-Expires", "301", 403, "SignatureDoesNotMatch"),
    ] {
        let reply = url.spoiled(parameter(name, Some(value))).await;
        assert_eq!(
            (reply.status, reply.tag("Code").unwrap_or_default().as_str()),
            (status, code),
            "{name}={value}: {reply}"
        );
    }
    url.spoiled(|request| request.and("X-Amz-Expires=300")).await.refused(400, query);
    url.spoiled(|request| request.and("x-amz-acl=private")).await.refused(403, "SignatureDoesNotMatch");
    url.spoiled(|request| request.set("x-amz-meta-a", "1"))
        .await
        .refused(403, "AccessDenied")
        .with("HeadersNotSigned", "x-amz-meta-a");
    url.spoiled(|request| request.set("x-amz-security-token", "t")).await.refused(400, "InvalidToken");
    url.spoiled(|request| request.target = request.target.replace("/auth/a", "/auth/b"))
        .await
        .refused(403, "SignatureDoesNotMatch");
    url.spoiled(|request| request.method = "DELETE".to_owned()).await.refused(403, "SignatureDoesNotMatch");
    url.expect(200).await.body_is("body");
}

#[tokio::test]
async fn parameters_of_a_presigned_url_act_like_headers() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    let target = "/auth/a?x-amz-acl=public-read&x-amz-meta-a=1&x-amz-tagging=t%3D1&x-amz-storage-class=STANDARD_IA";
    bart.put(target, "body").by(Scheme::QueryV4).expect(200).await;
    let reply = world.nobody().get("/auth/a").expect(200).await.body_is("body").has("x-amz-meta-a", "1");
    reply.has("x-amz-tagging-count", "1").has("x-amz-storage-class", "STANDARD_IA");
    // On an unsigned query they do nothing that the caller could not do.
    refused(&world, world.nobody().put("/auth/b?x-amz-acl=public-read", "x"), 403, "AccessDenied").await;
}

#[tokio::test]
async fn two_ways_of_proving_are_one_too_many() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    bart.put("/auth/a", "body").expect(200).await;
    let header = bart.get("/auth/a").signed().header("authorization").unwrap().to_owned();
    for scheme in [Scheme::QueryV4, Scheme::QueryV2] {
        let both = bart.get("/auth/a").by(scheme);
        both.spoiled(|request| request.set("authorization", &header)).await.refused(400, "InvalidArgument");
    }
    let call = bart.get("/auth/a");
    let twice = call.spoiled(|request| request.headers.push(("authorization".to_owned(), header.clone())));
    twice.await.refused(400, "InvalidArgument");
    let queries = bart.get("/auth/a").by(Scheme::QueryV4);
    queries
        .spoiled(|request| request.and("AWSAccessKeyId=accessKey1&Expires=9999999999&Signature=x"))
        .await
        .refused(400, "InvalidArgument");
    // Credentials without a signature are no identity.
    for parameter in [
        "X-Amz-Credential=accessKey1%2F20261122%2Fus-east-1%2Fs3%2Faws4_request",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "AWSAccessKeyId=accessKey1",
        "Signature=x",
    ] {
        let reply = world.nobody().get(&format!("/auth/a?{parameter}")).send().await;
        assert!(matches!(reply.status, 400 | 403), "{parameter}: {reply}");
        assert_ne!(reply.body, b"body");
    }
}

#[tokio::test]
async fn a_hash_of_the_body_is_demanded_and_checked() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    let missing = bart.get("/auth").spoiled(|request| request.remove("x-amz-content-sha256")).await;
    missing.refused(400, "InvalidRequest");
    let changed = bart.put("/auth/a", "body");
    let before = world.stored().await;
    changed.spoiled(|request| request.body = b"evil".to_vec()).await.refused(400, "XAmzContentSHA256Mismatch");
    before.assert_same(&world.stored().await, "another body");
    for target in ["/auth?versioning", "/auth?tagging", "/auth?delete"] {
        let method = if target.ends_with("delete") { "POST" } else { "PUT" };
        let call = bart.call(method, target).body("<a/>").digested();
        let reply = call.spoiled(|request| request.body = b"<b/>".to_vec()).await;
        assert!(matches!(reply.tag("Code").as_deref(), Some("XAmzContentSHA256Mismatch" | "BadDigest")), "{reply}");
    }
    bart.put("/auth/a", "body").payload(Payload::Unsigned).expect(200).await;
}

#[tokio::test]
async fn a_strict_region_is_named_to_those_who_missed_it() {
    let world = World::with(|config| config.region = Some("eu-west-1".to_owned())).await;
    let bart = world.bart();
    for scheme in [Scheme::HeaderV4, Scheme::QueryV4] {
        bart.get("/").by(scheme).region("eu-west-1").expect(200).await;
        let code = if scheme == Scheme::HeaderV4 {
            "AuthorizationHeaderMalformed"
        } else {
            "AuthorizationQueryParametersError"
        };
        bart.get("/").by(scheme).region("us-east-1").refused(400, code).await.with("Region", "eu-west-1");
    }
    // Without the setting any region will do.
    let world = World::new().await;
    for region in ["us-east-1", "eu-west-1", "garage", "auto"] {
        world.bart().get("/").region(region).expect(200).await;
    }
}

#[tokio::test]
async fn version_2_can_be_turned_off() {
    let world = World::with(|config| config.sigv2 = false).await;
    for scheme in [Scheme::HeaderV2, Scheme::QueryV2] {
        world.bart().get("/").by(scheme).refused(400, "InvalidRequest").await;
    }
    world.bart().get("/").expect(200).await;
}

#[tokio::test]
async fn secrets_and_unknown_keys_look_the_same_from_outside() {
    let world = World::new().await;
    let bart = world.bucket("auth").await;
    for scheme in [Scheme::HeaderV4, Scheme::QueryV4, Scheme::HeaderV2, Scheme::QueryV2] {
        let unknown = bart.get("/auth").by(scheme).keyed(Key::new("nobodysKey", "secret"));
        unknown.refused(403, "InvalidAccessKeyId").await.with("AWSAccessKeyId", "nobodysKey");
        let wrong = bart.get("/auth").by(scheme).keyed(Key::new("accessKey1", "verySecretKey2"));
        let reply = wrong.refused(403, "SignatureDoesNotMatch").await;
        assert!(!reply.text().contains("verySecret"), "{reply}");
        for odd in ["accessKey1 ", "ACCESSKEY1", "accessKey1\u{0}"] {
            if odd.contains('\0') && matches!(scheme, Scheme::HeaderV2 | Scheme::HeaderV4) {
                continue;
            }
            let reply = bart.get("/auth").by(scheme).keyed(Key::new(odd, "verySecretKey1")).send().await;
            assert!(matches!(reply.status, 400 | 403), "{odd:?} {scheme:?}: {reply}");
        }
    }
}
