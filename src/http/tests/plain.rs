//! Requests as they should be.

use super::*;

#[tokio::test]
async fn a_connection_serves_request_after_request() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    for number in 0..3 {
        let reply = client.get(&format!("/{number}?x")).await;
        assert_eq!((reply.status, reply.body), (200, format!("GET /{number}?x at test")));
    }
    assert_eq!(site.drain.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    let three = |number: u32| {
        format!(
            "PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\n{number:03}\
             GET /{number} HTTP/1.1\r\nHost: t\r\n\r\n\
             PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n#{}\r\n0\r\n\r\n",
            number % 10
        )
    };
    let all: Vec<String> = (0..50).map(three).collect();
    client.send(all.concat()).await;
    for number in 0..50 {
        assert_eq!(client.reply().await.body, format!("{number:03}"));
        assert_eq!(client.reply().await.body, format!("GET /{number} at t"));
        assert_eq!(client.reply().await.body, format!("#{}", number % 10));
    }
}

#[tokio::test]
async fn requests_cut_anywhere_on_their_way_arrive_whole() {
    let site = Site::start(Limits::default());
    let bytes = concat!(
        "\r\nPUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\n",
        "PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 7\r\n\r\n\r\nGET /",
        "GET /end HTTP/1.1\r\nHost: t\r\n\r\n"
    );
    for step in [1, 2, 3, 7, 16, 61] {
        let mut client = site.connect().await;
        client.stream.set_nodelay(true).unwrap();
        for piece in bytes.as_bytes().chunks(step) {
            client.send(piece).await;
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        assert_eq!(client.reply().await.body, "hello", "{step}");
        assert_eq!(client.reply().await.body, "\r\nGET /", "{step}");
        assert_eq!(client.reply().await.body, "GET /end at t", "{step}");
    }
}

#[tokio::test]
async fn large_bodies_arrive_as_sent() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    let text: String =
        (0..400_000).map(|number: u32| char::from(b'a' + u8::try_from(number * 7 % 26).unwrap())).collect();
    let head = format!("PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", text.len());
    client.send(head + &text).await;
    assert_eq!(client.reply().await.body, text);
    client.send("PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for piece in text.as_bytes().chunks(33_333) {
        client.send(format!("{:x}\r\n", piece.len())).await;
        client.send(piece).await;
        client.send("\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.reply().await.body, text);
}

#[tokio::test]
async fn continue_is_said_only_when_the_handler_wants_the_body() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    client.send("PUT /gate HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n").await;
    site.until(|site| site.met() == 1).await;
    assert!(client.hears_nothing(Duration::from_millis(100)).await);
    site.toy.gate.add_permits(1);
    assert_eq!(client.reply().await.status, 100);
    client.send("body").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "body"));
    assert_eq!(client.get("/next").await.status, 200);
}

#[tokio::test]
async fn a_refused_upload_is_never_told_to_continue() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    client.send("PUT /reject HTTP/1.1\r\nHost: t\r\nContent-Length: 400000\r\nExpect: 100-continue\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn other_expectations_are_ignored() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    client.send("PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nExpect: a-miracle\r\n\r\n1").await;
    assert_eq!(client.reply().await.status, 200);
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_sends_its_whole_body_first() {
    let site = Site::start(Limits::default());
    for length in [100, 1 << 20, 8 << 20] {
        let mut client = site.connect().await;
        let head = format!("PUT /reject HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
        client.send(head).await;
        client.send(vec![b'x'; length]).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.body.as_str()), (403, "403"), "{length}");
    }
    site.until_quiet().await;
}

#[tokio::test]
async fn an_unread_body_is_never_taken_for_a_request() {
    let site = Site::start(Limits::default());
    for padding in [0, 100, 70_000, 700_000] {
        let before = site.met();
        let mut client = site.connect().await;
        let body = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1 + padding / 36);
        client.send(format!("PUT /reject HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", body.len())).await;
        client.try_send(&body).await;
        assert_eq!(client.reply().await.status, 403);
        let rest = client.rest_after(Duration::from_millis(50)).await;
        assert_eq!(rest, "", "{padding}");
        assert_eq!(site.met(), before + 1, "{padding}");
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_and_harms_no_one_else() {
    let site = Site::start(Limits::default());
    let mut other = site.connect().await;
    other.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n").await;
    site.until(|site| site.met() == 1).await;
    let mut client = site.connect().await;
    for path in ["/panic", "/panic-early"] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, 500);
        assert!(reply.body.contains("<Code>Panicked</Code>"));
        assert!(reply.body.contains(reply.header("x-amz-request-id").unwrap()));
    }
    assert_eq!(client.get("/fine").await.status, 200);
    let mut cut = site.connect().await;
    cut.send("GET /panic-body HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let text = cut.rest().await;
    assert!(text.contains("some") && !text.ends_with("0\r\n\r\n"), "{text}");
    site.toy.gate.add_permits(1);
    assert_eq!(other.reply().await.body, "waited");
    assert_eq!(site.metric("cloudserver_panics_total"), 3);
}

#[tokio::test]
async fn a_body_that_fails_is_never_ended_as_if_it_were_whole() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    client.send("GET /fail-body HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let text = client.rest().await;
    assert!(text.contains("some") && !text.ends_with("0\r\n\r\n"), "{text}");
}

impl Client {
    /// What still comes within `time`.
    async fn rest_after(&mut self, time: Duration) -> String {
        tokio::time::sleep(time).await;
        let mut piece = vec![0; 4096];
        match self.stream.try_read(&mut piece) {
            Ok(read) => String::from_utf8_lossy(&piece[..read]).into_owned(),
            Err(_) => String::new(),
        }
    }
}
