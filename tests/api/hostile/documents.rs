//! Documents that are meant to cost more than they are worth, or to read what is not theirs.

use crate::{
    multipart::Upload,
    support::{
        client::Call,
        world::{Stored, World},
    },
};

/// Documents, with a name for each.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let laughs: String =
        (1..10).map(|level| format!("<!ENTITY l{level} \"{}\">", format!("&l{};", level - 1).repeat(10))).collect();
    let attributes: String = (0..100_000).map(|number| format!(" a{number}=\"\"")).collect();
    vec![
        ("laughs", text(&format!("<!DOCTYPE a [<!ENTITY l0 \"lol\">{laughs}]><Tagging>&l9;</Tagging>"))),
        (
            "file",
            text("<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><Tagging><TagSet>&e;</TagSet></Tagging>"),
        ),
        ("network", text("<!DOCTYPE a SYSTEM \"http://127.0.0.1:1/a.dtd\"><Tagging><TagSet/></Tagging>")),
        ("parameter", text("<!DOCTYPE a [<!ENTITY % p SYSTEM \"file:///etc/passwd\"> %p;]><Tagging/>")),
        ("bare doctype", text("<!DOCTYPE Tagging><Tagging><TagSet/></Tagging>")),
        ("late doctype", text("<Tagging><!DOCTYPE a><TagSet/></Tagging>")),
        ("unknown entity", text("<Tagging><TagSet>&nbsp;</TagSet></Tagging>")),
        ("no character", text("<Tagging><TagSet>&#xD800;&#x110000;</TagSet></Tagging>")),
        ("deep", text(&"<a>".repeat(100_000))),
        ("deep and closed", text(&format!("{}{}", "<a>".repeat(5000), "</a>".repeat(5000)))),
        ("wide", text(&format!("<Tagging>{}</Tagging>", "<a/>".repeat(60_000)))),
        ("attributes", text(&format!("<Tagging{attributes}/>"))),
        ("huge name", text(&format!("<{0}></{0}>", "n".repeat(120_000)))),
        ("huge text", text(&format!("<Tagging>{}</Tagging>", "t".repeat(5 << 20)))),
        ("huge comment", text(&format!("<!--{}--><Tagging/>", "c".repeat(5 << 20)))),
        ("unended comment", text("<!-- <Tagging><TagSet/></Tagging>")),
        ("unended data", text("<Tagging><![CDATA[")),
        ("unended tag", text("<Tagging")),
        ("crossed", text("<Tagging><TagSet></Tagging></TagSet>")),
        ("two roots", text("<Tagging><TagSet/></Tagging><Tagging><TagSet/></Tagging>")),
        ("text only", text("Tagging")),
        ("json", text("{\"TagSet\": []}")),
        ("not utf-8", b"<Tagging><TagSet>\xff\xfe\xc3\x28</TagSet></Tagging>".to_vec()),
        ("utf-16", "<Tagging/>".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("nul", b"<Tagging>\0</Tagging>".to_vec()),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        ("empty element", text("<>")),
        ("instruction", text("<?xml version=\"1.0\"?><?xml-stylesheet href=\"file:///etc/passwd\"?>")),
    ]
}

/// The codes that such documents may get.
const CODES: [&str; 5] = [
    "MalformedXML",
    "MalformedACLError",
    "MaxMessageLengthExceeded",
    "InvalidTag",
    "IllegalVersioningConfigurationException",
];

async fn assert_harmless(world: &World, before: &Stored, call: Call, what: &str) {
    let reply = call.send().await;
    let code = reply.tag("Code").unwrap_or_default();
    assert!(reply.status == 400 && CODES.contains(&code.as_str()), "{what}: {reply}");
    assert!(!reply.text().contains("root:"), "{what}: {reply}");
    before.assert_same(&world.stored().await, what);
}

#[tokio::test]
async fn no_document_costs_more_than_an_error() {
    let world = World::small_parts().await;
    let bart = world.bucket("docs").await;
    bart.put("/docs/a", "body").expect(200).await;
    let upload = Upload::begin(&bart, "/docs/up").await;
    upload.part(1, "x").await;
    let before = world.stored().await;
    let began = std::time::Instant::now();
    for (name, document) in corpus() {
        for (method, target) in [
            ("PUT", "/docs?tagging"),
            ("PUT", "/docs/a?tagging"),
            ("PUT", "/docs?versioning"),
            ("PUT", "/docs?acl"),
            ("PUT", "/docs/a?acl"),
            ("PUT", "/fresh"),
            ("POST", "/docs?delete"),
            ("POST", &format!("/docs/up?uploadId={}", upload.id)),
        ] {
            let call = bart.call(method, target).body(&document).digested();
            assert_harmless(&world, &before, call, &format!("{name} at {method} {target}")).await;
        }
    }
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    bart.get("/fresh").refused(404, "NoSuchBucket").await;
    world.sound().await;
}

#[tokio::test]
async fn a_document_is_not_inflated() {
    let world = World::new().await;
    let bart = world.bucket("docs").await;
    let before = world.stored().await;
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        // 20 bytes of gzip, the head of a bomb.
        let call = bart.put("/docs?tagging", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3]).header("content-encoding", encoding);
        assert_harmless(&world, &before, call, encoding).await;
    }
}

#[tokio::test]
async fn numbers_in_documents_are_numbers() {
    let world = World::small_parts().await;
    let bart = world.bucket("docs").await;
    let upload = Upload::begin(&bart, "/docs/up").await;
    let etag = upload.part(1, "x").await;
    let before = world.stored().await;
    for number in [
        "",
        " ",
        "NaN",
        "1e0",
        "0x1",
        "١",
        "1,0",
        "+1 ",
        "1 1",
        "-9223372036854775809",
        "18446744073709551616",
        "true",
        "null",
    ] {
        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
        );
        let reply = upload.completion(&document).send().await;
        if number == "+1 " && reply.status == 200 {
            return;
        }
        assert_eq!(reply.status, 400, "{number:?}: {reply}");
        before.assert_same(&world.stored().await, number);
    }
}
