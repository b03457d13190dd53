//! Against small servers on the loopback that misbehave on purpose.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;
use crate::types::body;

/// Servers that run until the test ends.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<tokio::task::JoinSet<()>>>);

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().spawn(task);
    }
}

/// Reads a head; what came behind it stays in the second half.
async fn head(socket: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = all.split_off(end + 4);
            return Some((String::from_utf8(all).unwrap(), rest));
        }
        let mut piece = [0; 4096];
        match socket.read(&mut piece).await {
            Ok(got) if got > 0 => all.extend_from_slice(&piece[..got]),
            _ => return None,
        }
    }
}

fn length(head: &str) -> usize {
    let lines = head.to_ascii_lowercase();
    lines.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0)
}

/// A server that gives each connection to `serve`.
async fn server<F, Fut>(serve: F) -> (SocketAddr, Tasks)
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::default();
    let spawner = tasks.clone();
    tasks.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            spawner.spawn(serve(socket));
        }
    });
    (address, tasks)
}

/// A server that answers each request with its body and says what it saw: `None` for a body that broke off.
async fn echo() -> (SocketAddr, Tasks, mpsc::UnboundedReceiver<(String, Option<Vec<u8>>)>) {
    let (tell, seen) = mpsc::unbounded_channel();
    let (address, tasks) = server(move |mut socket| {
        let tell = tell.clone();
        async move {
            while let Some((head, mut body)) = head(&mut socket).await {
                let length = length(&head);
                let mut piece = [0; 4096];
                while body.len() < length {
                    match socket.read(&mut piece).await {
                        Ok(got) if got > 0 => body.extend_from_slice(&piece[..got]),
                        _ => {
                            tell.send((head, None)).ok();
                            return;
                        }
                    }
                }
                tell.send((head, Some(body.clone()))).ok();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                socket.write_all(answer.as_bytes()).await.ok();
                socket.write_all(&body).await.ok();
            }
        }
    })
    .await;
    (address, tasks, seen)
}

/// Waits that no loaded machine makes longer.
fn options() -> ClientOptions {
    ClientOptions {
        connect: Duration::from_secs(20),
        idle: Duration::from_secs(20),
        first_byte: Duration::from_secs(20),
        ..ClientOptions::default()
    }
}

fn put(address: SocketAddr, payload: Payload) -> Request<Payload> {
    Request::builder().method(Method::PUT).uri(format!("http://{address}/x")).body(payload).unwrap()
}

fn get(address: SocketAddr) -> Request<Payload> {
    Request::builder().uri(format!("http://{address}/x")).body(Payload::Empty).unwrap()
}

type Slice = Result<&'static [u8], BodyError>;

fn slices(slices: Vec<Slice>) -> ByteStream {
    stream::iter(slices.into_iter().map(|slice| slice.map(Bytes::from_static))).boxed()
}

#[tokio::test]
async fn bodies_go_and_come_with_their_exact_length() {
    let (address, _tasks, mut seen) = echo().await;
    let client = HttpClient::new(options());
    let stream = || slices(vec![Ok(b"abc"), Ok(b""), Ok(b"defg")]);
    for payload in [
        Payload::Held(Bytes::from_static(b"abcdefg")),
        Payload::Stream { body: stream(), size: Some(7) },
        Payload::Empty,
        Payload::Stream { body: slices(vec![Ok(b"")]), size: Some(0) },
    ] {
        let expected: &[u8] =
            if matches!(payload, Payload::Empty | Payload::Stream { size: Some(0), .. }) { b"" } else { b"abcdefg" };
        let answer = client.send(put(address, payload)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(&body::collect(answer.into_body(), 100).await.unwrap()[..], expected);
        let (head, body) = seen.recv().await.unwrap();
        assert_eq!(body.unwrap(), expected);
        assert!(head.to_ascii_lowercase().contains(&format!("content-length: {}\r\n", expected.len())), "{head}");
    }
}

#[tokio::test]
async fn a_broken_body_never_ends_at_the_far_side() {
    let (address, _tasks, mut seen) = echo().await;
    let client = HttpClient::new(options());
    let cases: [(Vec<Slice>, u64, BodyError); 5] = [
        (vec![Ok(b"abc"), Err(BodyError::Disconnected)], 7, BodyError::Disconnected),
        // Every byte is there, and the verdict is bad.
        (vec![Ok(b"abcdefg"), Err(BodyError::MalformedTrailer)], 7, BodyError::MalformedTrailer),
        (vec![Ok(b"abc")], 7, BodyError::Incomplete { expected: 7, got: 3 }),
        (vec![Ok(b"abcdefg"), Ok(b"h")], 7, BodyError::TooLarge { limit: 7 }),
        (vec![Ok(b"abcdefghi")], 7, BodyError::TooLarge { limit: 7 }),
    ];
    for (body, size, expected) in cases {
        let sent = client.send(put(address, Payload::Stream { body: slices(body), size: Some(size) })).await;
        assert_eq!(sent.err(), Some(OutboundError::Body(expected.clone())));
        // A request that breaks at once may not even have a head there.
        if let Ok(seen) = tokio::time::timeout(Duration::from_millis(500), seen.recv()).await {
            assert_eq!(seen.unwrap().1, None, "{expected}: the far side must not see an end");
        }
    }
    let nothing = Payload::Stream { body: slices(vec![Ok(b"a")]), size: Some(0) };
    let sent = client.send(put(address, nothing)).await;
    assert_eq!(sent.err(), Some(OutboundError::Body(BodyError::TooLarge { limit: 0 })));
}

#[tokio::test]
async fn connections_are_kept_and_one_that_was_closed_meanwhile_is_no_error() {
    let (address, _tasks) = server(|mut socket| async move {
        // Each connection serves two requests.
        for _ in 0..2 {
            if head(&mut socket).await.is_none() {
                return;
            }
            let port = socket.peer_addr().unwrap().port().to_string();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{port}", port.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let ask = async |client: &HttpClient| {
        let answer = client.send(get(address)).await.unwrap();
        body::collect(answer.into_body(), 100).await.unwrap()
    };
    let client = HttpClient::new(options());
    let (first, second) = (ask(&client).await, ask(&client).await);
    assert_eq!(first, second, "a connection is used again");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_ne!(ask(&client).await, first);
    let client = HttpClient::new(ClientOptions { max_idle: 0, ..options() });
    assert_ne!(ask(&client).await, ask(&client).await, "without keep-alive each request has its own");
}

#[tokio::test]
async fn every_wait_has_an_end() {
    // Nobody answers.
    let (address, _tasks) = server(|mut socket| async move {
        head(&mut socket).await;
        std::future::pending::<()>().await;
    })
    .await;
    let soon = Duration::from_millis(300);
    let client = HttpClient::new(ClientOptions { first_byte: soon, ..options() });
    let silent = client.send(get(address)).await.err();
    assert!(matches!(silent, Some(OutboundError::TimedOut { .. })), "{silent:?}");
    // Nobody reads the body.
    let endless = stream::repeat_with(|| Ok(Bytes::from(vec![0; 64 << 10]))).boxed();
    let stuck = Payload::Stream { body: endless, size: Some(1 << 40) };
    let client = HttpClient::new(ClientOptions { connect: soon, idle: soon, ..options() });
    let stuck = client.send(put(address, stuck)).await.err();
    assert!(matches!(stuck, Some(OutboundError::TimedOut { .. })), "{stuck:?}");
    // Nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = client.send(get(free)).await.err().unwrap();
    assert!(refused.nothing_sent(), "{refused:?}");
}

#[tokio::test]
async fn a_slow_source_is_not_the_far_sides_fault() {
    let (address, _tasks, mut seen) = echo().await;
    let soon = Duration::from_millis(500);
    let client = HttpClient::new(ClientOptions { connect: soon, idle: soon, ..options() });
    let slow = slices(vec![Ok(b"abc"), Ok(b"def")]).then(move |slice| async move {
        tokio::time::sleep(2 * soon).await;
        slice
    });
    client.send(put(address, Payload::Stream { body: slow.boxed(), size: Some(6) })).await.unwrap();
    assert_eq!(seen.recv().await.unwrap().1.unwrap(), b"abcdef");
}

#[tokio::test]
async fn an_answer_that_stalls_or_breaks_off_ends_in_an_error() {
    for stalls in [true, false] {
        let (address, _tasks) = server(move |mut socket| async move {
            head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
            if stalls {
                std::future::pending::<()>().await;
            }
        })
        .await;
        let client = HttpClient::new(ClientOptions { idle: Duration::from_millis(300), ..options() });
        let mut answer = client.send(get(address)).await.unwrap().into_body();
        assert_eq!(answer.next().await, Some(Ok(Bytes::from_static(b"abc"))));
        let broken = answer.next().await;
        assert!(matches!(broken, Some(Err(BodyError::Unreadable(_)))), "{broken:?}");
        assert_eq!(answer.next().await, None);
    }
}

#[tokio::test]
async fn a_limit_on_requests_makes_further_ones_wait() {
    let (address, _tasks, _seen) = echo().await;
    let limited = ClientOptions { max_requests: Some(1), connect: Duration::from_millis(500), ..options() };
    let client = HttpClient::new(limited);
    let first = client.send(put(address, Payload::Held(Bytes::from_static(b"a")))).await.unwrap();
    let second = client.send(get(address)).await.err().unwrap();
    assert!(second.nothing_sent(), "{second:?}");
    drop(first);
    client.send(get(address)).await.unwrap();
}

#[tokio::test]
async fn a_proxy_gets_absolute_uris_and_the_login_and_exceptions_go_past_it() {
    let (address, _tasks, mut seen) = echo().await;
    let proxies = Proxies {
        http: Some(ProxyAddress::parse(&format!("http://user:word@{address}")).unwrap()),
        exceptions: "127.0.0.1".to_owned(),
        ..Proxies::default()
    };
    let client = HttpClient::new(ClientOptions { proxies: Arc::new(proxies), ..options() });
    let far = Request::builder().uri("http://far.test:8000/key?a=b").body(Payload::Empty).unwrap();
    client.send(far).await.unwrap();
    let (head, _) = seen.recv().await.unwrap();
    assert!(head.starts_with("GET http://far.test:8000/key?a=b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic dXNlcjp3b3Jk\r\n"), "{head}");
    client.send(get(address)).await.unwrap();
    let (head, _) = seen.recv().await.unwrap();
    assert!(head.starts_with("GET /x HTTP/1.1\r\n") && !head.contains("proxy"), "{head}");
}

#[cfg(feature = "tls")]
mod tls {
    use std::sync::Arc;

    use tokio_rustls::{
        TlsAcceptor,
        rustls::{
            ServerConfig,
            crypto::aws_lc_rs,
            pki_types::{PrivateKeyDer, pem::PemObject},
        },
    };

    use super::*;

    /// An https server that answers `secret`, and the file with its authority.
    async fn secure(folder: &std::path::Path) -> (SocketAddr, Tasks, std::path::PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let file = folder.join("authority.pem");
        std::fs::write(&file, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (address, tasks) = server(move |socket| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut socket) = acceptor.accept(socket).await else { return };
                let mut piece = [0; 4096];
                if socket.read(&mut piece).await.is_ok_and(|got| got > 0) {
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await.ok();
                }
            }
        })
        .await;
        (address, tasks, file)
    }

    #[tokio::test]
    async fn https_goes_straight_and_through_a_tunnel_and_strangers_are_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let (far, _tasks, authority) = secure(folder.path()).await;
        let (tell, mut asked) = mpsc::unbounded_channel();
        let (proxy, _proxy_tasks) = server(move |mut socket| {
            let tell = tell.clone();
            async move {
                let Some((head, _)) = head(&mut socket).await else { return };
                tell.send(head).ok();
                let mut onward = TcpStream::connect(far).await.unwrap();
                socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                tokio::io::copy_bidirectional(&mut socket, &mut onward).await.ok();
            }
        })
        .await;
        let uri = format!("https://localhost:{}/x", far.port());
        let ask = async |options: ClientOptions| {
            let request = Request::builder().uri(&uri).body(Payload::Empty).unwrap();
            let answer = HttpClient::new(options).send(request).await?;
            Ok::<_, OutboundError>(body::collect(answer.into_body(), 100).await.unwrap())
        };
        let trusting = ClientOptions { extra_authorities: Some(authority), ..options() };
        assert_eq!(ask(trusting.clone()).await.unwrap(), "secret");
        let proxies = Proxies {
            https: Some(ProxyAddress::parse(&format!("http://user:word@{proxy}")).unwrap()),
            ..Proxies::default()
        };
        let through = ClientOptions { proxies: Arc::new(proxies), ..trusting };
        assert_eq!(ask(through).await.unwrap(), "secret");
        let head = asked.recv().await.unwrap();
        assert!(head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", far.port())), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n"), "{head}");
        let stranger = ask(options()).await.err().unwrap();
        assert!(stranger.nothing_sent(), "{stranger:?}");
    }
}
