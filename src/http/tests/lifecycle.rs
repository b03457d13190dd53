//! How requests, connections and the listener end.

use super::*;

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_at_once() {
    let site = Site::start(Limits::default());
    for request in [
        "GET /wait HTTP/1.1\r\nHost: t\r\n\r\n",
        "PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nonly this",
        "PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "GET /endless HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /wait HTTP/1.1\r\nHost: t\r\n\r\nGET /half",
    ] {
        let before = site.met();
        let mut client = site.connect().await;
        client.send(request).await;
        site.until(|site| site.met() > before).await;
        drop(client);
        site.until_quiet().await;
    }
    assert!(site.lines().iter().all(|line| line["aborted"] == true || line["status"] == 400));
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_closes_the_rest_at_once() {
    let site = Site::start(Limits::default());
    let mut idle = site.connect().await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut fresh = site.connect().await;
    let mut half = site.connect().await;
    half.send("GET /ha").await;
    let mut busy = site.connect().await;
    busy.send("PUT /gate HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbo").await;
    site.until(|site| site.met() == 2 && site.drain.connections() == 4).await;

    site.drain.start();
    assert!(site.readiness.is_stopping());
    for client in [&mut idle, &mut fresh, &mut half] {
        assert_eq!(client.rest().await, "");
    }
    site.until(|site| site.drain.connections() == 1).await;
    site.until(|site| std::net::TcpStream::connect(site.address).is_err()).await;
    busy.send("dy").await;
    site.toy.gate.add_permits(1);
    let reply = busy.reply().await;
    assert_eq!((reply.body.as_str(), reply.header("connection")), ("body", Some("close")));
    assert_eq!(site.drain.finish(SOON).await, 0);
    site.until_quiet().await;
}

#[tokio::test]
async fn what_is_not_finished_in_time_is_cut() {
    let site = Site::start(Limits::default());
    let mut busy = site.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n").await;
    site.until(|site| site.met() == 1).await;
    assert_eq!(site.drain.finish(Duration::from_millis(50)).await, 1);
    assert_eq!(busy.rest().await, "");
    site.until_quiet().await;
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let site = Site::start(Limits::default());
    let mut busy = site.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n").await;
    site.until(|site| site.met() == 1).await;
    let second = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        site.drain.cut();
    };
    let first = tokio::time::timeout(SOON, site.drain.finish(Duration::from_hours(1)));
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.unwrap(), 0, "nothing was left to cut when the wait ended");
    site.until_quiet().await;
}

#[tokio::test]
async fn stopping_the_tasks_drains_too() {
    let site = Site::start(Limits::default());
    let mut idle = site.connect().await;
    assert_eq!(idle.get("/").await.status, 200);
    assert!(site.tasks.stop(SOON).await);
    assert_eq!(idle.rest().await, "");
    site.drain.ended().await;
}
