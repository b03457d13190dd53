//! Against a script: each connection's request gets the next answer.

use std::{collections::VecDeque, net::SocketAddr};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{clock::ManualClock, outbound::ClientOptions, tasks::Tasks, types::Timestamp};

struct Script {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    _tasks: Tasks,
}

/// An answer of the script; a status of 0 closes the connection without one.
type Line = (u16, &'static str, &'static str);

async fn script(lines: &[Line]) -> Script {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, seen) = (Tasks::default(), Arc::<Mutex<Vec<String>>>::default());
    let taken = Arc::clone(&seen);
    let mut lines: VecDeque<Line> = lines.iter().copied().collect();
    tasks.spawn("script", async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut text = Vec::new();
            loop {
                let request = String::from_utf8_lossy(&text).into_owned();
                if let Some((head, body)) = request.split_once("\r\n\r\n") {
                    let small = head.to_ascii_lowercase();
                    let length = small.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                    if body.len() >= length.unwrap_or(0_usize) {
                        break;
                    }
                }
                let mut piece = [0; 4096];
                match socket.read(&mut piece).await {
                    Ok(got) if got > 0 => text.extend_from_slice(&piece[..got]),
                    _ => break,
                }
            }
            taken.lock().push(String::from_utf8_lossy(&text).into_owned());
            let (status, headers, body) = lines.pop_front().unwrap_or((500, "", ""));
            if status > 0 {
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                socket.write_all(answer.as_bytes()).await.ok();
            }
        }
    });
    Script { address, seen, _tasks: tasks }
}

impl Script {
    fn client(&self) -> S3Client {
        let endpoint = Endpoint {
            https: false,
            authority: self.address.to_string(),
            path_style: true,
            region: "us-east-1".to_owned(),
            flavor: Flavor::Aws,
        };
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
        let quick = Retry { attempts: 3, first_pause: Duration::from_millis(1), ..Retry::default() };
        let http = HttpClient::new(ClientOptions::default());
        S3Client::new(http, endpoint, Credentials::new("key", "secret"), clock).with_retry(quick)
    }

    fn requests(&self) -> usize {
        self.seen.lock().len()
    }
}

#[tokio::test]
async fn what_may_pass_is_asked_again_and_what_may_have_happened_is_not() {
    let slow = (503, "", "<Error><Code>SlowDown</Code></Error>");
    let broken = (500, "", "<Error><Code>InternalError</Code></Error>");
    let far = script(&[slow, broken, (200, "etag: \"abc\"\r\n", "")]).await;
    assert_eq!(far.client().head_object("b", "k", None).await.unwrap().etag.as_deref(), Some("abc"));
    assert_eq!(far.requests(), 3);
    let held = || Payload::Held(Bytes::from_static(b"body"));
    let far = script(&[slow, broken]).await;
    let error = far.client().put_object("b", "k", &HeaderMap::new(), held()).await.err().unwrap();
    assert_eq!((error.code(), error.is_open()), (Some("InternalError"), true));
    assert_eq!(far.requests(), 2, "after the 500 nobody knows");
    let far = script(&[(0, "", "")]).await;
    let error = far.client().put_object("b", "k", &HeaderMap::new(), held()).await.err().unwrap();
    assert!(error.is_open() && !error.was_not_done(), "{error:?}");
    let far = script(&[slow]).await;
    let stream = Payload::Stream { body: body::once(Bytes::from_static(b"body")), size: Some(4) };
    let error = far.client().upload_part("b", "k", ("u", 1), stream).await.err().unwrap();
    assert_eq!((error.code(), far.requests()), (Some("SlowDown"), 1), "a stream is sent once");
    let far = script(&[slow, slow, slow, slow]).await;
    far.client().head_bucket("b").await.err().unwrap();
    assert_eq!(far.requests(), 3, "attempts are counted");
}

#[tokio::test]
async fn an_error_in_a_good_answer_is_an_error() {
    let late = (200, "", "  \n<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>m</Message></Error>");
    let far = script(&[late, late, (200, "", "")]).await;
    let client = far.client();
    let parts = [(1, "a".to_owned())];
    let error = client.complete_multipart_upload("b", "k", "u", &parts).await.err().unwrap();
    assert_eq!((error.code(), error.is_open()), (Some("InternalError"), true));
    let source = CopySource { bucket: "b", key: "s", version: None, if_match: None };
    let error = client.copy_object("b", "k", source, &HeaderMap::new()).await.err().unwrap();
    assert_eq!(error.code(), Some("InternalError"));
    let error = client.complete_multipart_upload("b", "k", "u", &parts).await.err().unwrap();
    assert!(matches!(error, S3ClientError::Answer(_)), "{error:?}");
}

#[tokio::test]
async fn requests_are_signed_and_say_what_they_carry() {
    let far = script(&[(200, "x-amz-version-id: null\r\n", "")]).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-meta-a", "b".parse().unwrap());
    let held = Payload::Held(Bytes::from_static(b"hello"));
    let stored = far.client().put_object("b", "a key/with+\u{fc}?", &headers, held).await.unwrap();
    assert_eq!(stored.version, None, "the version null is none");
    let request = far.seen.lock().remove(0);
    assert!(request.starts_with("PUT /b/a%20key/with%2B%C3%BC%3F HTTP/1.1\r\n"), "{request}");
    for header in [
        "content-md5: XUFAKrxLKna5cZ2REBfFkg==\r\n",
        "x-amz-content-sha256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\r\n",
        "x-amz-date: 20231114T221320Z\r\n",
        "content-length: 5\r\n",
        "x-amz-meta-a: b\r\n",
        "authorization: AWS4-HMAC-SHA256 Credential=key/20231114/us-east-1/s3/aws4_request, ",
    ] {
        assert!(request.contains(header), "{header} in {request}");
    }
}

#[tokio::test]
async fn listings_are_read_with_their_escapes() {
    let objects = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
        <NextContinuationToken>t</NextContinuationToken><Contents><Key>a+b%2F%C3%BC</Key><ETag>&quot;e&quot;</ETag>\
        <Size>7</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents></ListBucketResult>";
    let versions = "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>b</NextKeyMarker>\
        <NextVersionIdMarker>w</NextVersionIdMarker><Version><Key>a+b</Key><VersionId>v</VersionId>\
        <IsLatest>true</IsLatest><ETag>\"e\"</ETag><Size>7</Size></Version><DeleteMarker><Key>b</Key>\
        <VersionId>w</VersionId><IsLatest>false</IsLatest></DeleteMarker></ListVersionsResult>";
    let far = script(&[(200, "", objects), (200, "", versions)]).await;
    let page = far.client().list_objects("b", "", (Some("0"), None), 10).await.unwrap();
    let entry = &page.objects[0];
    assert_eq!((entry.key.as_str(), entry.etag.as_str(), entry.size), ("a b/\u{fc}", "e", 7));
    assert_eq!((entry.modified.is_some(), page.next.as_deref()), (true, Some("t")));
    let page = far.client().list_versions("b", "", (None, None), 10).await.unwrap();
    assert_eq!(page.versions[0].object.key, "a+b", "a store that does not escape is not unescaped");
    assert!(page.versions[0].latest && page.versions[1].marker);
    assert_eq!(page.next, Some(("b".to_owned(), "w".to_owned())));
}

#[test]
fn buckets_stand_in_the_host_unless_that_cannot_be() {
    let mut endpoint = Endpoint {
        https: true,
        authority: "s3.far.test:8443".to_owned(),
        path_style: false,
        region: "r".to_owned(),
        flavor: Flavor::Aws,
    };
    let uri = |endpoint: &Endpoint| endpoint.uri(&Call::new(Method::GET, Some("b"), Some("k")).and("versionId", "a/b"));
    assert_eq!(uri(&endpoint), "https://b.s3.far.test:8443/k?versionId=a%2Fb");
    endpoint.path_style = true;
    assert_eq!(uri(&endpoint), "https://s3.far.test:8443/b/k?versionId=a%2Fb");
    endpoint.path_style = false;
    for address in ["127.0.0.1:8000", "[::1]:8000", "localhost:8000"] {
        endpoint.authority = address.to_owned();
        assert_eq!(uri(&endpoint), format!("https://{address}/b/k?versionId=a%2Fb"));
    }
    assert_eq!(endpoint.uri(&Call::new(Method::GET, Some("b"), None)), "https://localhost:8000/b");
}
