//! Messages whose end two parties could see in different places.

use crate::support::{
    client::Client,
    wire::{Connection, Reply},
    world::World,
};

/// What an attacker wants to be taken for a request of its own.
const SMUGGLED: &str = "PUT /open/smuggled HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nevil";

/// A bucket that anybody may write to: a smuggled request would succeed there.
async fn open(world: &World) -> Client {
    let bart = world.bart();
    bart.put("/open", "").header("x-amz-acl", "public-read-write").expect(200).await;
    bart
}

/// Sends bytes, and gives the answers until the connection ends.
async fn exchange(world: &World, bytes: &[u8]) -> Vec<Reply> {
    let mut connection = Connection::open(world.address).await;
    connection.send(bytes).await;
    connection.end().await;
    let mut replies = Vec::new();
    while let Ok(reply) = connection.reply("GET").await {
        replies.push(reply);
    }
    replies
}

#[tokio::test]
async fn an_ambiguous_length_is_refused_and_nothing_behind_it_is_read() {
    let world = World::new().await;
    let bart = open(&world).await;
    let before = world.stored().await;
    let length = SMUGGLED.len();
    for framing in [
        format!("content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("content-length: 0\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}"),
        format!("content-length: {length}\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}"),
        format!("content-length: 0, {length}\r\n\r\n{SMUGGLED}"),
        format!("content-length: +0\r\n\r\n{SMUGGLED}"),
        format!("content-length: -1\r\n\r\n{SMUGGLED}"),
        format!("content-length: 0x0\r\n\r\n{SMUGGLED}"),
        format!("content-length: 1e1\r\n\r\n{SMUGGLED}"),
        format!("content-length:\r\n\r\n{SMUGGLED}"),
        format!("content-length: 18446744073709551616\r\n\r\n{SMUGGLED}"),
        format!("content-length : 0\r\n\r\n{SMUGGLED}"),
        format!("content-length: 0\r\n folded\r\n\r\n{SMUGGLED}"),
        format!("transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("transfer-encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("transfer-encoding:\tchunked\u{b}\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("x: a\nb: c\r\n\r\n{SMUGGLED}"),
        format!("x: a\rb\r\n\r\n{SMUGGLED}"),
        format!("x: a\0b\r\n\r\n{SMUGGLED}"),
        format!("no colon\r\n\r\n{SMUGGLED}"),
        format!(": nameless\r\n\r\n{SMUGGLED}"),
        format!("host: other\r\n\r\n{SMUGGLED}"),
    ] {
        let bytes = format!("PUT /open/outer HTTP/1.1\r\nhost: localhost\r\n{framing}");
        let replies = exchange(&world, bytes.as_bytes()).await;
        assert_eq!(replies.len(), 1, "{framing:?}");
        let reply = replies[0].clone().refused(400, "InvalidRequest");
        reply.has("connection", "close");
        before.assert_same(&world.stored().await, &framing);
    }
    bart.get("/open").expect(200).await;
    world.sound().await;
}

#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let world = World::new().await;
    open(&world).await;
    let before = world.stored().await;
    for chunks in [
        "x\r\n",
        "-1\r\n",
        "5\r\nhelloX",
        "ffffffffffffffffff\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "\r\n\r\n",
        "0\r\nbroken trailer\r\n\r\n",
    ] {
        let bytes = format!(
            "PUT /open/outer HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{SMUGGLED}"
        );
        let replies = exchange(&world, bytes.as_bytes()).await;
        assert!(replies.len() <= 1, "{chunks:?}: {replies:?}");
        assert!(replies.iter().all(|reply| reply.status == 400), "{chunks:?}: {replies:?}");
        before.assert_same(&world.stored().await, chunks);
    }
    world.sound().await;
}

#[tokio::test]
async fn a_body_that_nobody_read_is_never_taken_for_a_request() {
    let world = World::new().await;
    let bart = open(&world).await;
    let before = world.stored().await;
    for early in [
        bart.put("/nobucket/a", SMUGGLED),
        bart.put("/open/a", SMUGGLED).header("if-match", "\"x\""),
        world.lisa().put("/open?tagging", SMUGGLED),
        bart.put("/open/a?retention", SMUGGLED),
        bart.call("PATCH", "/open/a").body(SMUGGLED),
        bart.get("/open/none").body(SMUGGLED),
        bart.delete("/open/none").body(SMUGGLED),
    ] {
        let mut bytes = early.signed().bytes();
        bytes.extend(b"GET /open HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let replies = exchange(&world, &bytes).await;
        assert!((1..=2).contains(&replies.len()), "{replies:?}");
        if let Some(second) = replies.get(1) {
            // If the connection went on, then in step.
            assert_eq!(second.tag("Name").as_deref(), Some("open"), "{second}");
        }
        before.assert_same(&world.stored().await, "an unread body");
    }
    world.sound().await;
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused() {
    let world = World::new().await;
    open(&world).await;
    let many: String = (0..120).map(|number| format!("x-{number}: a\r\n")).collect();
    let long = "a".repeat(9000);
    for (bytes, code) in [
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "RequestHeaderSectionTooLarge"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(40_000)), "RequestHeaderSectionTooLarge"),
        (format!("GET /open/{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "InvalidURI"),
        (format!("GET /open?{long} HTTP/1.1\r\nhost: a\r\n\r\n"), "InvalidURI"),
        ("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "InvalidRequest"),
        ("GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "InvalidURI"),
        ("GET open HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "InvalidURI"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "InvalidRequest"),
        ("GET / HTTP/3.0\r\nhost: a\r\n\r\n".to_owned(), "InvalidRequest"),
        ("GET / FTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "InvalidRequest"),
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), "InvalidRequest"),
    ] {
        let replies = exchange(&world, bytes.as_bytes()).await;
        assert_eq!(replies.len(), 1, "{bytes:.100?}");
        replies[0].clone().refused(400, code);
    }
    world.sound().await;
}

#[tokio::test]
async fn a_client_that_speaks_another_protocol_harms_nobody() {
    let world = World::new().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"EHLO mail\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"CONNECT localhost:22 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"\r\n\r\n\r\n\r\n\r\n\r\n",
        b"",
    ] {
        for reply in exchange(&world, bytes).await {
            assert_eq!(reply.status, 400, "{reply}");
        }
    }
    world.sound().await;
}
