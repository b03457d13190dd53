//! Clients that take their time, and too many of them.

use super::*;

/// Limits that pass within a test. Those not under test never do.
fn limits() -> Limits {
    let long = Duration::from_mins(5);
    Limits { header_timeout: long, keep_alive: long, write_timeout: long, linger_time: long, ..Limits::default() }
}

/// Longer than a loaded machine takes between two steps of a test.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let site = Site::start(Limits { header_timeout: SHORT, ..limits() });
    let mut client = site.connect().await;
    assert_eq!(client.rest().await, "");
    site.until_quiet().await;
    assert_eq!(site.refused("header_timeout"), 1);
}

#[tokio::test]
async fn a_dripping_head_is_cut_however_regular_the_drops() {
    let site = Site::start(Limits { header_timeout: SHORT, ..limits() });
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status, 200);
    client.send("GET / HTTP/1.1\r\n").await;
    let mut drops = 0;
    while client.try_send("x: y\r\n").await {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drops += 1;
        assert!(drops < 1000, "it may drip for ever");
    }
    site.until_quiet().await;
    assert_eq!(site.refused("header_timeout"), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let site = Site::start(Limits { keep_alive: SHORT, ..limits() });
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.rest().await, "");
    site.until_quiet().await;
}

#[tokio::test]
async fn waiting_for_the_handler_is_no_fault_of_the_client() {
    let site = Site::start(Limits { header_timeout: SHORT, keep_alive: SHORT, write_timeout: SHORT, ..limits() });
    let mut client = site.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\nGET /ne").await;
    tokio::time::sleep(SHORT * 2).await;
    site.toy.gate.add_permits(1);
    assert_eq!(client.reply().await.body, "waited");
    client.send("xt HTTP/1.1\r\nHost: t\r\n\r\n").await;
    assert_eq!(client.reply().await.body, "GET /next at t");
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut() {
    let site = Site::start(Limits { write_timeout: SHORT, ..limits() });
    let mut client = site.connect().await;
    client.send("GET /endless HTTP/1.1\r\nHost: t\r\n\r\n").await;
    site.until(|site| site.refused("write_timeout") == 1).await;
    site.until_quiet().await;
    let line = site.lines().pop().unwrap();
    assert_eq!((line["status"].as_u64(), line["aborted"].as_bool()), (Some(200), Some(true)));
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not() {
    let site = Site::start(Limits { write_timeout: SHORT * 2, keep_alive: SHORT, ..limits() });
    let mut client = site.connect().await;
    client.send("GET /endless HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let mut piece = vec![0; 4 << 20];
    for _ in 0..8 {
        tokio::time::sleep(SHORT / 2).await;
        assert!(client.stream.read(&mut piece).await.unwrap() > 0);
    }
    assert_eq!(site.refused("write_timeout"), 0);
}

#[tokio::test]
async fn a_client_that_sends_on_after_its_answer_is_left_after_a_while() {
    let site = Site::start(Limits { linger_time: SHORT, ..limits() });
    let mut client = site.connect().await;
    client.send("PUT /reject HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 403);
    site.until_quiet().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_and_those_within_served() {
    let site = Site::start(Limits { connections: 4, ..limits() });
    let mut healthy = site.connect().await;
    assert_eq!(healthy.get("/").await.status, 200);
    let mut stalled = Vec::new();
    for _ in 0..3 {
        stalled.push(site.connect().await);
    }
    site.until(|site| site.drain.connections() == 4).await;
    for _ in 0..3 {
        let mut beyond = site.connect().await;
        let reply = beyond.get("/").await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
        assert!(reply.body.contains("SlowDown"));
        assert_eq!(reply.header("connection"), Some("close"));
        assert_eq!(beyond.rest().await, "");
    }
    assert_eq!(healthy.get("/").await.status, 200);
    stalled.pop();
    site.until(|site| site.drain.connections() == 3).await;
    assert_eq!(site.connect().await.get("/").await.status, 200);
    assert_eq!(site.refused("connection"), 3);
}

#[tokio::test]
async fn a_flood_beyond_the_limit_is_dropped_and_the_healthy_client_served() {
    let site = Site::start(Limits { connections: 8, ..limits() });
    let mut healthy = site.connect().await;
    assert_eq!(healthy.get("/").await.status, 200);
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(site.connect().await);
    }
    site.until(|site| site.refused("connection_dropped") >= 150).await;
    for _ in 0..20 {
        assert_eq!(healthy.get("/").await.status, 200);
    }
    assert_eq!(site.drain.connections(), 8);
    drop(flood);
    site.until(|site| site.drain.connections() == 1).await;
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_slow_down() {
    let site = Site::start(Limits { requests: 2, ..limits() });
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut client = site.connect().await;
        client.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n").await;
        busy.push(client);
    }
    site.until(|site| site.drain.requests() == 2).await;
    let mut third = site.connect().await;
    let reply = third.get("/").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(reply.body.contains("SlowDown"));
    site.toy.gate.add_permits(2);
    for client in &mut busy {
        assert_eq!(client.reply().await.body, "waited");
    }
    site.until(|site| site.drain.requests() == 0).await;
    assert_eq!(third.get("/").await.status, 200, "the connection stays of use");
}
