//! Conditions over real requests: what a policy is told is true, and nobody can tell it something else.

use std::time::Duration;

use cloudserver::config::TrustedProxies;

use super::{ALL, LISA, on, policy, statement};
use crate::support::{
    client::{content_md5, now},
    sign::Scheme,
    world::World,
};

#[tokio::test]
async fn no_header_sets_a_condition_key_that_is_not_its_own() {
    let world = World::new().await;
    let bart = world.bucket("facts").await;
    bart.put("/facts/a", "body").expect(200).await;
    for condition in [
        r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#,
        r#"{"Bool":{"aws:SecureTransport":"true"}}"#,
        r#"{"StringEquals":{"aws:PrincipalAccount":"123456789012"}}"#,
        r#"{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::123456789012:root"}}"#,
        r#"{"StringEquals":{"aws:userid":"123456789012"}}"#,
        r#"{"StringEquals":{"aws:username":"bart"}}"#,
        r#"{"StringEquals":{"s3:signatureversion":"AWS"}}"#,
        r#"{"StringEquals":{"s3:authType":"POST"}}"#,
        r#"{"StringEquals":{"s3:ExistingObjectTag/security":"public"}}"#,
        r#"{"StringEquals":{"s3:RequestObjectTag/security":"public"}}"#,
        r#"{"StringEquals":{"s3:BucketTag/security":"public"}}"#,
        r#"{"StringEquals":{"aws:SourceVpce":"vpce-1"}}"#,
        r#"{"StringEquals":{"s3:prefix":"a"}}"#,
        r#"{"StringEquals":{"s3:VersionId":"null"}}"#,
        r#"{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}"#,
        r#"{"Bool":{"aws:PrincipalIsAWSService":"true"}}"#,
    ] {
        policy(&bart, "facts", &on("Allow", ALL, "s3:GetObject", &["facts/*"], condition)).expect(204).await;
        for call in [world.lisa().get("/facts/a?prefix=a"), world.nobody().get("/facts/a?prefix=a")] {
            let spoofed = call.headers(&[
                ("x-forwarded-for", "10.0.0.1"),
                ("x-real-ip", "10.0.0.1"),
                ("forwarded", "for=10.0.0.1;proto=https"),
                ("x-forwarded-proto", "https"),
                ("aws-sourceip", "10.0.0.1"),
                ("sourceip", "10.0.0.1"),
                ("securetransport", "true"),
                ("userid", "123456789012"),
                ("username", "bart"),
                ("principalarn", "arn:aws:iam::123456789012:root"),
                ("x-amz-tagging", "security=public"),
                ("existingobjecttag", "security=public"),
                ("authtype", "POST"),
                ("currenttime", "2019-01-01T00:00:00Z"),
                ("versionid", "null"),
                ("sourcevpce", "vpce-1"),
            ]);
            spoofed.refused(403, "AccessDenied").await;
        }
    }
}

#[tokio::test]
async fn what_is_so_is_so() {
    let world = World::new().await;
    let bart = world.versioned("true").await;
    bart.put("/true/a", "body").header("x-amz-tagging", "security=public").expect(200).await;
    bart.put("/true?tagging", "<Tagging><TagSet><Tag><Key>team</Key><Value>x</Value></Tag></TagSet></Tagging>")
        .expect(200)
        .await;
    let lisa = world.lisa();
    for condition in [
        r#"{"IpAddress":{"aws:SourceIp":["127.0.0.1","::1"]}}"#,
        r#"{"Bool":{"aws:SecureTransport":"false"}}"#,
        r#"{"StringEquals":{"aws:PrincipalAccount":"123456789013","s3:ResourceAccount":"123456789012"}}"#,
        r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::123456789013:*"}}"#,
        r#"{"StringEquals":{"s3:signatureversion":"AWS4-HMAC-SHA256","s3:authType":"REST-HEADER"}}"#,
        r#"{"NumericLessThan":{"s3:signatureAge":"600000"}}"#,
        r#"{"StringEquals":{"s3:ExistingObjectTag/security":"public"}}"#,
        r#"{"StringEquals":{"s3:BucketTag/team":"x"}}"#,
        r#"{"StringLike":{"aws:UserAgent":"tester/*"}}"#,
        r#"{"StringLike":{"aws:Referer":"http://a/*"}}"#,
        r#"{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"},"NumericGreaterThan":{"aws:EpochTime":1}}"#,
        r#"{"Null":{"aws:SourceVpce":"true","s3:VersionId":"true"}}"#,
    ] {
        policy(&bart, "true", &on("Allow", LISA, "s3:GetObject", &["true/*"], condition)).expect(204).await;
        let call = lisa.get("/true/a").headers(&[("user-agent", "tester/1"), ("referer", "http://a/b")]);
        call.expect(200).await.body_is("body");
    }
    let versions = on("Allow", LISA, "s3:GetObjectVersion", &["true/*"], r#"{"Null":{"s3:VersionId":"false"}}"#);
    policy(&bart, "true", &versions).expect(204).await;
    let version = bart.head("/true/a").expect(200).await.header("x-amz-version-id").unwrap().to_owned();
    lisa.get(&format!("/true/a?versionId={version}")).expect(200).await;
    // The right to read a version is not the right to read the current one.
    lisa.get("/true/a").refused(403, "AccessDenied").await;
    let presigned = r#"{"StringEquals":{"s3:authType":"REST-QUERY-STRING"}}"#;
    policy(&bart, "true", &on("Allow", LISA, "s3:GetObject", &["true/*"], presigned)).expect(204).await;
    lisa.get("/true/a").by(Scheme::QueryV4).expect(200).await;
    lisa.get("/true/a").refused(403, "AccessDenied").await;
}

#[tokio::test]
async fn a_trusted_proxy_says_whom_it_speaks_for_and_nobody_else_does() {
    let local = r#"{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}"#;
    for (trusted, headers, status) in [
        ("127.0.0.0/8", &["203.0.113.7"][..], 200),
        // What stands before the last address that is no proxy's anybody may have written.
        ("127.0.0.0/8", &["203.0.113.7, 198.51.100.1"], 403),
        ("127.0.0.0/8", &["198.51.100.1, 203.0.113.7"], 200),
        ("127.0.0.0/8", &["203.0.113.7, 127.0.0.9"], 200),
        ("127.0.0.0/8", &["198.51.100.1", "203.0.113.7"], 200),
        ("127.0.0.0/8", &["203.0.113.7", "198.51.100.1"], 403),
        ("127.0.0.0/8", &["203.0.113.7, unknown"], 403),
        ("127.0.0.0/8", &[], 403),
        ("10.0.0.0/8", &["203.0.113.7"], 403),
    ] {
        let world = World::with(|config| {
            let networks = vec![trusted.parse().unwrap()];
            config.trusted_proxies = Some(TrustedProxies { networks, header: "x-forwarded-for".to_owned() });
        })
        .await;
        let bart = world.bucket("proxied").await;
        bart.put("/proxied/a", "body").expect(200).await;
        policy(&bart, "proxied", &on("Allow", ALL, "s3:GetObject", &["proxied/*"], local)).expect(204).await;
        let mut call = world.nobody().get("/proxied/a");
        for value in headers {
            call = call.header("x-forwarded-for", value);
        }
        let reply = call.send().await;
        assert_eq!(reply.status, status, "{trusted} {headers:?}: {reply}");
    }
}

#[tokio::test]
async fn health_and_reports_are_for_the_client_behind_a_trusted_proxy() {
    for (trusted, forwarded, status) in [
        ("127.0.0.0/8", Some("203.0.113.7"), 403),
        ("127.0.0.0/8", Some("203.0.113.7, 127.0.0.1"), 403),
        ("127.0.0.0/8", None, 200),
        ("10.0.0.0/8", Some("203.0.113.7"), 200),
    ] {
        let world = World::with(|config| {
            let networks = vec![trusted.parse().unwrap()];
            config.trusted_proxies = Some(TrustedProxies { networks, header: "x-forwarded-for".to_owned() });
            config.report_token = Some("token".into());
        })
        .await;
        for path in ["/_/healthcheck/deep", "/_/healthcheck", "/_/report"] {
            let call = world.nobody().get(path).header("x-scal-report-token", "token");
            let call = forwarded.iter().fold(call, |call, value| call.header("x-forwarded-for", value));
            let reply = call.send().await;
            assert_eq!(reply.status, status, "{trusted} {forwarded:?} {path}: {reply}");
        }
    }
}

#[tokio::test]
async fn listings_are_bound_to_prefixes_and_sizes() {
    let world = World::new().await;
    let bart = world.bucket("lists").await;
    bart.put("/lists/home/a", "body").expect(200).await;
    let condition =
        r#"{"StringEquals":{"s3:prefix":["","home/"],"s3:delimiter":"/"},"NumericLessThanEquals":{"s3:max-keys":10}}"#;
    policy(&bart, "lists", &on("Allow", LISA, "s3:ListBucket", &["lists"], condition)).expect(204).await;
    let lisa = world.lisa();
    for query in ["list-type=2&", ""] {
        lisa.get(&format!("/lists?{query}prefix=home/&delimiter=/&max-keys=10")).expect(200).await;
        lisa.get(&format!("/lists?{query}prefix=&delimiter=/&max-keys=1")).expect(200).await;
        for bad in
            ["prefix=home&delimiter=/&max-keys=1", "prefix=home/&max-keys=1", "prefix=home/&delimiter=/&max-keys=11"]
        {
            lisa.get(&format!("/lists?{query}{bad}")).refused(403, "AccessDenied").await;
        }
        lisa.get(&format!("/lists?{query}")).refused(403, "AccessDenied").await;
    }
    // Listing versions is another right.
    lisa.get("/lists?versions&prefix=home/&delimiter=/&max-keys=1").refused(403, "AccessDenied").await;
    // Who may list what begins so learns what is missing there, and nowhere else.
    let condition = r#"{"StringLike":{"s3:prefix":"home/*"}}"#;
    policy(&bart, "lists", &on("Allow", LISA, "s3:ListBucket", &["lists"], condition)).expect(204).await;
    lisa.get("/lists/home/none").refused(404, "NoSuchKey").await;
    lisa.get("/lists/none").refused(403, "AccessDenied").await;
    lisa.get("/lists/none?prefix=home/x").refused(403, "AccessDenied").await;
}

#[tokio::test]
async fn tags_that_a_request_sets_are_asked_wherever_it_sets_them() {
    let world = World::new().await;
    let bart = world.bucket("tags").await;
    bart.put("/tags/a", "body").expect(200).await;
    let only = r#"{"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["team","stage"]},"Null":{"s3:RequestObjectTagKeys":"false"}}"#;
    let statements = [
        on("Allow", LISA, "s3:PutObject", &["tags/*"], "{}"),
        on("Allow", LISA, "s3:PutObjectTagging", &["tags/*"], only),
    ];
    policy(&bart, "tags", &statements.join(",")).expect(204).await;
    let lisa = world.lisa();
    let document = |names: &[&str]| {
        let tags: String = names.iter().map(|name| format!("<Tag><Key>{name}</Key><Value>1</Value></Tag>")).collect();
        format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
    };
    for (names, allowed) in
        [(&["team"][..], true), (&["team", "stage"], true), (&["team", "other"], false), (&["other"], false)]
    {
        let header = names.iter().map(|name| format!("{name}=1")).collect::<Vec<_>>().join("&");
        let status = if allowed { 200 } else { 403 };
        lisa.put("/tags/a?tagging", document(names)).expect(status).await;
        lisa.put("/tags/new", "body").header("x-amz-tagging", &header).expect(status).await;
        lisa.post("/tags/new?uploads", "").header("x-amz-tagging", &header).expect(status).await;
        lisa.put("/tags/copy", "")
            .headers(&[
                ("x-amz-copy-source", "/tags/new"),
                ("x-amz-tagging-directive", "REPLACE"),
                ("x-amz-tagging", &header),
            ])
            .expect(status)
            .await;
    }
    // Without tags no permission for tags is needed; an empty set is not among those allowed.
    lisa.put("/tags/plain", "body").expect(200).await;
    lisa.put("/tags/a?tagging", document(&[])).refused(403, "AccessDenied").await;
    lisa.put("/tags/a?tagging", "no document").refused(403, "AccessDenied").await;
}

#[tokio::test]
async fn every_key_of_a_deletion_and_both_sides_of_a_copy_are_asked() {
    let world = World::small_parts().await;
    let bart = world.versioned("source").await;
    for key in ["open/a", "shut/a"] {
        bart.put(&format!("/source/{key}"), "body").header("x-amz-tagging", "kind=x").expect(200).await;
    }
    let lisa = world.lisa();
    lisa.put("/lisas", "").expect(200).await;
    let both = [
        on("Allow", LISA, "s3:DeleteObject", &["source/open/*"], "{}"),
        on("Allow", LISA, "s3:GetObject", &["source/open/*"], "{}"),
    ];
    policy(&bart, "source", &both.join(",")).expect(204).await;

    let copy = |key: &str| lisa.put("/lisas/copy", "").header("x-amz-copy-source", key);
    copy("/source/shut/a").refused(403, "AccessDenied").await;
    copy("/source/open/a?versionId=null").refused(403, "AccessDenied").await;
    copy("source/%73hut%2Fa").refused(403, "AccessDenied").await;
    // The tags come along, and they were not given.
    copy("/source/open/a").refused(403, "AccessDenied").await;
    copy("/source/open/a").header("x-amz-tagging-directive", "REPLACE").expect(200).await;
    let tags = on("Allow", LISA, "s3:GetObjectTagging", &["source/open/*"], "{}");
    policy(&bart, "source", &format!("{},{tags}", both.join(","))).expect(204).await;
    copy("/source/open/a").expect(200).await;
    lisa.get("/lisas/copy?tagging").expect(200).await.with("Value", "x");

    let upload = lisa.post("/lisas/parts?uploads", "").expect(200).await.tag("UploadId").unwrap();
    for (key, status) in [("open/a", 200), ("shut/a", 403)] {
        let part = lisa.put(&format!("/lisas/parts?partNumber=1&uploadId={upload}"), "");
        part.header("x-amz-copy-source", format!("/source/{key}")).expect(status).await;
    }

    let document = "<Delete><Object><Key>open/a</Key></Object><Object><Key>shut/a</Key></Object>\
                    <Object><Key>open/a</Key><VersionId>null</VersionId></Object></Delete>";
    let call = lisa.post("/source?delete", document).header("content-md5", content_md5(document.as_bytes()));
    let reply = call.expect(200).await;
    assert_eq!(reply.tags("Code"), ["AccessDenied", "AccessDenied"], "{reply}");
    assert_eq!(reply.elements("Deleted").len(), 1, "{reply}");
    bart.get("/source/shut/a").expect(200).await;
}

#[tokio::test]
async fn a_copy_source_is_the_same_however_it_is_spelled() {
    let world = World::new().await;
    let bart = world.bucket("into").await;
    let lisa = world.lisa();
    lisa.put("/from", "").expect(200).await;
    lisa.put("/from/public/a", "body").expect(200).await;
    lisa.put("/from/private/a", "body").expect(200).await;
    let like = r#"{"StringLike":{"s3:x-amz-copy-source":"from/public/*"}}"#;
    let unlike = r#"{"StringNotLike":{"s3:x-amz-copy-source":"from/public/*"}}"#;
    let allow = on("Allow", LISA, "s3:PutObject", &["into/*"], "{}");
    for statements in [
        on("Allow", LISA, "s3:PutObject", &["into/*"], like),
        format!("{allow},{}", on("Deny", LISA, "s3:PutObject", &["into/*"], unlike)),
    ] {
        policy(&bart, "into", &statements).expect(204).await;
        for (source, status) in [
            ("/from/public/a", 200),
            ("from/public/a", 200),
            ("from%2Fpublic%2Fa", 200),
            ("/from/private/a", 403),
            ("from/%70rivate/a", 403),
        ] {
            lisa.put("/into/a", "").header("x-amz-copy-source", source).expect(status).await;
        }
        lisa.put("/into/a", "body").expect(403).await;
    }
}

#[tokio::test]
async fn a_denial_holds_for_the_owner_who_can_always_mend_the_policy() {
    let world = World::new().await;
    let bart = world.bucket("mine").await;
    bart.put("/mine/a", "body").expect(200).await;
    policy(&bart, "mine", &statement("Deny", ALL, "*", "mine")).expect(204).await;
    bart.get("/mine/a").refused(403, "AccessDenied").await;
    bart.get("/mine").refused(403, "AccessDenied").await;
    bart.delete("/mine").refused(403, "AccessDenied").await;
    bart.get("/mine?policyStatus").refused(403, "AccessDenied").await;
    bart.get("/mine?policy").expect(200).await;
    policy(&bart, "mine", &statement("Deny", ALL, "s3:DeleteObject", "mine")).expect(204).await;
    bart.delete("/mine?policy").expect(204).await;
    bart.get("/mine/a").expect(200).await;
    // For others there is no such exception, and no permission makes them mend it.
    policy(&bart, "mine", &statement("Allow", LISA, "s3:*", "mine")).expect(204).await;
    let lisa = world.lisa();
    lisa.get("/mine/a").expect(200).await;
    lisa.get("/mine?policy").refused(405, "MethodNotAllowed").await;
    policy(&lisa, "mine", &statement("Deny", ALL, "*", "mine")).refused(405, "MethodNotAllowed").await;
    lisa.delete("/mine?policy").refused(405, "MethodNotAllowed").await;
    policy(&bart, "mine", &statement("Deny", LISA, "s3:*", "mine")).expect(204).await;
    lisa.get("/mine?policy").refused(403, "AccessDenied").await;
}

#[tokio::test]
async fn a_website_is_shown_to_visitors_from_where_the_policy_says() {
    let world = World::new().await;
    let bart = world.bucket("site").await;
    let index = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";
    let document = format!("<WebsiteConfiguration>{index}</WebsiteConfiguration>");
    bart.put("/site?website", document).expect(200).await;
    bart.put("/site/index.html", "page").expect(200).await;
    let from = r#"{"StringLike":{"aws:Referer":"http://a/*"}}"#;
    policy(&bart, "site", &on("Allow", ALL, "s3:GetObject", &["site/*"], from)).expect(204).await;
    let visit = world.nobody().get("/").host("site.s3-website.localhost");
    visit.expect(403).await;
    visit.clone().header("referer", "http://b/").expect(403).await;
    visit.header("referer", "http://a/b").expect(200).await.body_is("page");
}

#[tokio::test]
async fn the_lock_that_a_body_sets_is_judged_and_no_header_stands_in_for_it() {
    let world = World::new().await;
    let bart = world.bart();
    bart.put("/kept", "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
    bart.put("/kept/a", "body").expect(200).await;
    let far = "2100-01-01T00:00:00Z";
    let near = now().plus(Duration::from_hours(36)).to_iso8601();
    let retain = |mode: &str, until: &str| {
        let body = format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>");
        world.lisa().put("/kept/a?retention", body).digested()
    };
    let hold = |status: &str| {
        world.lisa().put("/kept/a?legal-hold", format!("<LegalHold><Status>{status}</Status></LegalHold>")).digested()
    };
    let allow = |action: &'static str, condition: &str| {
        policy(&bart, "kept", &on("Allow", LISA, action, &["kept/*"], condition))
    };
    let headers = [
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", near.as_str()),
        ("x-amz-object-lock-legal-hold", "ON"),
    ];
    let days = r#"{"NumericLessThanEquals":{"s3:object-lock-remaining-retention-days":"2"}}"#;
    allow("s3:PutObjectRetention", days).expect(204).await;
    retain("GOVERNANCE", far).headers(&headers).refused(403, "AccessDenied").await;
    // What is no retention is no way past the policy either.
    let broken = world.lisa().put("/kept/a?retention", "<Retention><Mode>").digested().headers(&headers);
    broken.refused(403, "AccessDenied").await;
    retain("GOVERNANCE", &near).expect(200).await;
    let mode = r#"{"StringEquals":{"s3:object-lock-mode":"GOVERNANCE"}}"#;
    allow("s3:PutObjectRetention", mode).expect(204).await;
    retain("COMPLIANCE", far).headers(&headers).refused(403, "AccessDenied").await;
    retain("GOVERNANCE", far).expect(200).await;
    let date = r#"{"DateLessThan":{"s3:object-lock-retain-until-date":"2050-01-01T00:00:00Z"}}"#;
    allow("s3:PutObjectRetention", date).expect(204).await;
    retain("GOVERNANCE", "2101-01-01T00:00:00Z").headers(&headers).refused(403, "AccessDenied").await;
    let status = r#"{"StringEquals":{"s3:object-lock-legal-hold":"ON"}}"#;
    allow("s3:PutObjectLegalHold", status).expect(204).await;
    hold("OFF").headers(&headers).refused(403, "AccessDenied").await;
    hold("ON").expect(200).await;
    // A denial is not passed by saying nothing.
    let without = r#"{"Null":{"s3:object-lock-remaining-retention-days":"true"}}"#;
    let both = format!(
        "{},{}",
        on("Allow", LISA, "s3:PutObjectRetention", &["kept/*"], "{}"),
        on("Deny", LISA, "s3:PutObjectRetention", &["kept/*"], without)
    );
    policy(&bart, "kept", &both).expect(204).await;
    let nothing = world.lisa().put("/kept/a?retention", "<Retention/>").digested();
    nothing.headers(&headers).refused(403, "AccessDenied").await;
    retain("GOVERNANCE", "2101-01-01T00:00:00Z").expect(200).await;
}
