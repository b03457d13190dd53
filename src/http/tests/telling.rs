//! What is told of requests: ids, metrics, access lines.

use super::*;

#[tokio::test]
async fn every_answer_is_marked() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    let mut ids = std::collections::HashSet::new();
    for path in ["/", "/panic", "/reject"] {
        let reply = client.get(path).await;
        let id = reply.header("x-amz-request-id").unwrap();
        assert!(id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(reply.header("x-amz-id-2"), Some(id));
        assert_eq!(reply.header("server"), Some("S3 Server"));
        assert!(reply.header("date").unwrap().ends_with(" GMT"));
        ids.insert(id.to_owned());
    }
    assert_eq!(ids.len(), 3);
    client.send("GET / HTTP/1.1\r\nHost: t\r\nx-scal-request-uids: front:1\r\n\r\n").await;
    let reply = client.reply().await;
    let id = reply.header("x-amz-request-id").unwrap();
    assert!(id.starts_with("front:1:") && id.len() == 28, "{id}");
}

#[tokio::test]
async fn a_request_is_one_line_and_one_sample() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    client
        .send(concat!(
            "GET /facts?versionId=1&X-Amz-Signature=feedface&X-Amz-Security-Token=hush HTTP/1.1\r\n",
            "Host: t\r\nUser-Agent: \"probe\"\r\nAuthorization: AWS4 hush\r\n\r\n",
            "PUT /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "HEAD /facts HTTP/1.1\r\nHost: t\r\n\r\n",
            "BREW /pot HTTP/1.1\r\nHost: t\r\n\r\n",
        ))
        .await;
    let id = client.reply().await.header("x-amz-request-id").unwrap().to_owned();
    client.reply().await;
    client.bodiless_reply().await;
    client.reply().await;
    site.until(|site| site.lines().len() == 4).await;
    assert!(!site.log.text().contains("feedface") && !site.log.text().contains("hush"), "{}", site.log.text());
    let lines = site.lines();
    let facts = &lines[0];
    for (name, value) in [
        ("req_id", id.as_str()),
        ("method", "GET"),
        ("path", "/facts"),
        ("name", "access"),
        ("query", "versionId=1&X-Amz-Signature=***&X-Amz-Security-Token=***"),
        ("agent", "\"probe\""),
        ("operation", "GetObject"),
        ("bucket", "bucket"),
        ("key", "key"),
        ("requester", "caller"),
        ("error", "NoSuchKey"),
        ("peer", &client.stream.local_addr().unwrap().to_string()),
    ] {
        assert_eq!(facts[name], value, "{name}");
    }
    let numbers =
        |line: &serde_json::Value| ["status", "bytes_in", "bytes_out"].map(|name| line[name].as_u64().unwrap());
    assert_eq!(numbers(facts), [200, 0, 5]);
    assert!(facts["total_us"].as_u64() >= facts["first_byte_us"].as_u64());
    assert_eq!(numbers(&lines[1]), [200, 3, 3]);
    assert_eq!(numbers(&lines[2]), [200, 0, 0]);
    assert!(lines.iter().all(|line| line["aborted"].is_null()), "{lines:?}");
    let total = "s3_cloudserver_http_requests_total";
    assert_eq!(site.metric(&format!("{total}{{method=\"GET\",action=\"objectGet\",code=\"200\"}}")), 1);
    assert_eq!(site.metric(&format!("{total}{{method=\"OTHER\",action=\"unknown\",code=\"200\"}}")), 1);
    let sent = "s3_cloudserver_http_response_size_bytes_count";
    assert_eq!(site.metric(&format!("{sent}{{method=\"PUT\",action=\"unknown\",code=\"200\"}}")), 1);
}

#[tokio::test]
async fn refusals_and_deserters_have_lines_too() {
    let site = Site::start(Limits::default());
    let mut client = site.connect().await;
    client.send("GET /a#b HTTP/1.1\r\nHost: t\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 400);
    let mut client = site.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n").await;
    site.until(|site| site.met() == 1).await;
    drop(client);
    site.until(|site| site.lines().len() == 2).await;
    let lines = site.lines();
    assert_eq!((&lines[0]["status"], &lines[0]["method"]), (&400.into(), &"-".into()));
    assert_eq!((&lines[1]["status"], &lines[1]["aborted"]), (&"-".into(), &true.into()));
    let left = "s3_cloudserver_http_requests_total{method=\"GET\",action=\"unknown\",code=\"499\"}";
    assert_eq!(site.metric(left), 1);
}

#[tokio::test]
async fn an_answer_whose_announced_bytes_are_sent_is_whole_and_one_that_lacks_some_is_aborted() {
    let site = Site::start(Limits::default());
    for (path, sent, aborted) in [("/sized", 8, false), ("/nothing", 0, false), ("/short", 8, true)] {
        let lines = site.lines().len();
        let mut client = site.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")).await;
        if aborted {
            client.stream.read_to_end(&mut client.seen).await.unwrap();
        } else {
            assert_eq!(client.reply().await.body.len(), sent);
        }
        site.until(|site| site.lines().len() == lines + 1).await;
        let line = site.lines().pop().unwrap();
        assert_eq!((line["path"].as_str(), line["bytes_out"].as_u64()), (Some(path), Some(sent as u64)));
        assert_eq!(line["aborted"].as_bool(), aborted.then_some(true), "{line}");
    }
}
