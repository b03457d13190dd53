//! Requests as they should not be.

use proptest::prelude::*;

use super::*;

/// Sends `bytes` on a fresh connection, then a plain request; returns the first answer and what followed it.
async fn probe(site: &Site, bytes: &[u8]) -> (Reply, String) {
    let mut client = site.connect().await;
    client.send(bytes).await;
    client.try_send("GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let reply = client.reply().await;
    (reply, client.rest().await)
}

#[tokio::test]
async fn ambiguous_framing_is_refused_and_nothing_behind_it_is_read() {
    let site = Site::start(Limits::default());
    let corpus: &[&[u8]] = &[
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: +4\r\n\r\nabcd",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 0x4\r\n\r\nabcd",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4,4\r\n\r\nabcd",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4 4\r\n\r\nabcd",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length : 4\r\n\r\nabcd",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length\r\n : 4\r\n\r\nabcd",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999\r\n\r\nabcd",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        b"PUT /echo HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: t\n\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: t\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    ];
    for bytes in corpus {
        let (reply, rest) = probe(&site, bytes).await;
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(reply.status, 400, "{shown}");
        assert!(reply.body.contains("<Code>AmbiguousFraming</Code>"), "{shown} {reply:?}");
        assert_eq!(reply.header("connection"), Some("close"), "{shown}");
        assert_eq!(reply.header("x-amz-request-id").unwrap().len(), 20, "{shown}");
        assert_eq!(reply.header("server"), Some("S3 Server"), "{shown}");
        assert_eq!(rest, "", "{shown}");
    }
    assert_eq!(site.met(), 0);
    assert_eq!(site.refused("ambiguous_framing"), corpus.len() as u64);
    site.until_quiet().await;
}

#[tokio::test]
async fn each_limit_has_its_refusal() {
    let site = Site::start(Limits::default());
    let headers = |count: usize, length: usize| -> String {
        let lines: Vec<String> = (1..count).map(|number| format!("x-{number}: {}\r\n", "v".repeat(length))).collect();
        lines.concat()
    };
    let get = |target: &str, headers: &str| format!("GET {target} HTTP/1.1\r\nHost: t\r\n{headers}\r\n");
    let long = "/".to_owned() + &"a".repeat((8 << 10) - 1);
    for (request, status, code) in [
        (get(&long, ""), 200, ""),
        (get(&format!("{long}a"), ""), 400, "TargetTooLong"),
        (get(&format!("/{}", "a".repeat(1 << 20)), ""), 400, "TargetTooLong"),
        (get("/", &headers(100, 10)), 200, ""),
        (get("/", &headers(101, 10)), 400, "HeadersTooLarge"),
        (get("/", &headers(16, 2000)), 200, ""),
        (get("/", &headers(18, 2000)), 400, "HeadersTooLarge"),
        (get("/", &headers(2, 1 << 20)), 400, "HeadersTooLarge"),
        (get("/a#b", ""), 400, "InvalidTarget"),
        (get("a", ""), 400, "InvalidTarget"),
        (get("http://a@t/", ""), 400, "InvalidTarget"),
    ] {
        let mut client = site.connect().await;
        client.try_send(&request).await;
        let reply = client.reply().await;
        let shown: String = request.chars().take(60).collect();
        assert_eq!(reply.status, status, "{shown} {reply:?}");
        assert!(reply.body.contains(code), "{shown} {reply:?}");
    }
}

#[tokio::test]
async fn requests_before_a_refused_one_are_served_first() {
    let site = Site::start(Limits::default());
    for step in [7, 1000] {
        let mut client = site.connect().await;
        let bytes = concat!(
            "PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab",
            "GET /second HTTP/1.1\r\nHost: t\r\n\r\n",
            "HEAD /third HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "GET /fourth HTTP/1.1\r\nHost: t\r\n\r\n",
        );
        for piece in bytes.as_bytes().chunks(step) {
            client.try_send(piece).await;
        }
        assert_eq!(client.reply().await.body, "ab");
        assert_eq!(client.reply().await.body, "GET /second at t");
        let last = client.bodiless_reply().await;
        assert_eq!((last.status, last.header("connection")), (400, Some("close")));
        assert_eq!(client.rest().await, "", "a HEAD is refused without a body, and nothing follows");
    }
    assert_eq!(site.met(), 4);
}

#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let site = Site::start(Limits::default());
    for chunks in ["3 \r\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "-3\r\n", "3\r\nabcd\r\n", "0\r\nx\n\r\n", "zz\r\n"]
    {
        let before = site.met();
        let (reply, rest) = probe(
            &site,
            format!("PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").as_bytes(),
        )
        .await;
        assert_eq!(reply.status, 400, "{chunks:?}");
        assert_eq!(rest, "", "{chunks:?}");
        assert_eq!(site.met(), before + 1, "{chunks:?}");
    }
    site.until_quiet().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// hyper's own answers carry no request id: seeing one means that the gate let through what hyper refuses.
    #[test]
    fn no_answer_is_ever_hypers_own(
        method in "(GET|PUT|CONNECT|OPTIONS|A-B)",
        target in "(/|\\*|/[!-~]{0,12}|h:1|[!-~]{0,6}|http://[a-z:@\\[\\]]{0,6}/|/\u{e4}|/%)",
        version in "HTTP/1.[01]",
        headers in proptest::collection::vec("(Host|Content-Length|Transfer-Encoding|Expect|Connection|Upgrade|[!-~]{1,4}): ?([ -~]{0,6}|0|1|chunked|close|\u{fc}|\t)", 0..4),
        tail in "(a|0\r\n\r\n|)",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fields = headers.join("\r\n");
        let end = if headers.is_empty() { "" } else { "\r\n" };
        let request = format!("{method} {target} {version}\r\nhost: t\r\n{fields}{end}\r\n{tail}");
        runtime.block_on(async {
            let site = Site::start(Limits::default());
            let mut client = site.connect().await;
            client.send(&request).await;
            let reply = client.bodiless_reply().await;
            assert!(reply.header("x-amz-request-id").is_some(), "{request:?} {reply:?}");
        });
    }
}
