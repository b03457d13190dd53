//! Requests put together by chance: each is answered, none breaks anything.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;

use crate::support::{sign::Scheme, world::World};

fn target() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("/".to_owned()),
        Just("/chance".to_owned()),
        Just("/chance/object".to_owned()),
        "/[a-z.-]{1,5}",
        "/chance/[!-~&&[^#?%]]{0,12}",
        "/chance/(%[0-9A-F]{2}){1,6}",
        "/(%[0-9A-Fa-f]{0,2}){1,3}/[a-z%]{0,4}",
    ];
    let name = prop_oneof![
        Just("uploads"),
        Just("uploadId"),
        Just("partNumber"),
        Just("versionId"),
        Just("versions"),
        Just("list-type"),
        Just("tagging"),
        Just("acl"),
        Just("delete"),
        Just("attributes"),
        Just("versioning"),
        Just("location"),
        Just("max-keys"),
        Just("prefix"),
        Just("delimiter"),
        Just("marker"),
        Just("continuation-token"),
        Just("encoding-type"),
        Just("X-Amz-Signature"),
        Just("Signature"),
        Just("policy"),
    ];
    let value = prop_oneof![
        Just(String::new()),
        "=[0-9a-z]{0,6}",
        "=(%[0-9A-F]{2}){1,3}",
        "=[!-~&&[^#&]]{0,10}",
        Just("=2".to_owned())
    ];
    let query = proptest::collection::vec((name, value), 0..4);
    (path, query).prop_map(|(path, query)| {
        let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}{value}")).collect();
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    })
}

fn header() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        Just("range"),
        Just("if-match"),
        Just("if-none-match"),
        Just("content-md5"),
        Just("x-amz-copy-source"),
        Just("x-amz-tagging"),
        Just("x-amz-acl"),
        Just("x-amz-meta-a"),
        Just("x-amz-checksum-crc32"),
        Just("x-amz-trailer"),
        Just("x-amz-object-attributes"),
        Just("x-amz-decoded-content-length"),
        Just("x-amz-metadata-directive"),
        Just("x-amz-expected-bucket-owner"),
    ]
    .prop_map(str::to_owned);
    let value = prop_oneof![
        "[ -~]{0,20}",
        Just("chance/object".to_owned()),
        Just("*".to_owned()),
        Just("bytes=0-1".to_owned()),
        "[0-9]{1,20}"
    ];
    (name, value)
}

#[test]
fn every_random_request_has_an_answer() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let bart = runtime.block_on(world.bucket("chance"));
    runtime.block_on(async { bart.put("/chance/object", "body").expect(200).await });
    let method = prop_oneof![4 => Just("GET"), 3 => Just("PUT"), 2 => Just("POST"), 2 => Just("DELETE"), 2 => Just("HEAD"), 1 => Just("PATCH")];
    let scheme = prop_oneof![5 => Just(Scheme::HeaderV4), 1 => Just(Scheme::QueryV4), 1 => Just(Scheme::HeaderV2), 1 => Just(Scheme::Anonymous)];
    let body = prop_oneof![3 => Just(String::new()), 1 => "[ -~]{0,40}", 1 => Just("<Delete><Object><Key>object</Key></Object></Delete>".to_owned()), 1 => "<[A-Z][a-z]{1,8}/>"];
    let strategy = (method, target(), proptest::collection::vec(header(), 0..3), scheme, body);
    let mut runner = TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy, |(method, target, headers, scheme, body)| {
        let reply = runtime.block_on(async {
            // Targets that no signer takes go out unsigned.
            let signable = target.parse::<http::Uri>().is_ok() && !target.contains('%');
            let (sent, scheme) = if signable { (target.as_str(), scheme) } else { ("/", Scheme::Anonymous) };
            let mut call = bart.call(method, sent).by(scheme).body(&body);
            for (name, value) in &headers {
                call = call.header(name, value.trim());
            }
            if signable { call.send().await } else { call.spoiled(|request| request.target.clone_from(&target)).await }
        });
        prop_assert!(reply.status < 500 || reply.status == 501, "{}", reply);
        prop_assert!(reply.header("x-amz-request-id").is_some(), "{}", reply);
        if reply.status >= 400 && method != "HEAD" {
            prop_assert!(reply.tag("Code").is_some(), "{}", reply);
        }
        Ok(())
    });
    result.unwrap();
    runtime.block_on(world.sound());
}
