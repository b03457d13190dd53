//! The same over TLS, with HTTP/2.

use std::path::Path;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::task::JoinSet;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::http::{TlsFiles, generate_self_signed, streams::StreamTasks};

type Sender = http2::SendRequest<Full<Bytes>>;

struct Secure {
    site: Site,
    folder: tempfile::TempDir,
    tls: Arc<Tls>,
    /// Drives the clients' connections.
    clients: JoinSet<()>,
    executor: StreamTasks,
    /// What clients offer.
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Secure {
    fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = generate_self_signed(folder.path(), "s3.test").unwrap();
        let tls = Arc::new(Tls::load(files).unwrap());
        Self {
            site: Site::start_with(limits, Some(Arc::clone(&tls))),
            folder,
            tls,
            clients: JoinSet::new(),
            executor: StreamTasks::default(),
            versions: rustls::DEFAULT_VERSIONS.to_vec(),
        }
    }

    async fn connect(&self, alpn: &[&[u8]], name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for ca in ["ca.crt", "old-ca.crt"] {
            if let Ok(certificate) = CertificateDer::from_pem_file(self.folder.path().join(ca)) {
                roots.add(certificate).unwrap();
            }
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(self.site.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
    }

    async fn http2(&mut self) -> Sender {
        let stream = self.connect(&[b"h2", b"http/1.1"], "s3.test").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = http2::handshake(self.executor.clone(), TokioIo::new(stream)).await.unwrap();
        self.clients.spawn(async move { drop(connection.await) });
        sender
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://s3.test:8000{path}")).body(Full::default()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn http1_is_spoken_where_the_client_wants_it() {
    let mut secure = Secure::start(Limits::default());
    for (alpn, name) in [(&[b"http/1.1".as_slice()][..], "localhost"), (&[], "bucket.s3.test"), (&[], "127.0.0.1")] {
        let stream = secure.connect(alpn, name).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        secure.clients.spawn(async move { drop(connection.await) });
        let request = Request::put("/echo").header("host", "t").body(Full::new(Bytes::from(vec![b'z'; 300_000])));
        let response = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_11);
        assert_eq!(text(response).await.len(), 300_000);
    }
}

#[tokio::test]
async fn requests_know_the_version_of_their_connection() {
    let mut secure = Secure::start(Limits::default());
    for (offered, version) in [(&rustls::version::TLS12, "1.2"), (&rustls::version::TLS13, "1.3")] {
        secure.versions = vec![offered];
        let mut sender = secure.http2().await;
        assert_eq!(text(sender.send_request(get("/tls")).await.unwrap()).await, version);
    }
    let plain = Site::start(Limits::default());
    assert_eq!(plain.connect().await.get("/tls").await.body, "none");
}

#[tokio::test]
async fn http2_serves_many_requests_of_one_connection_at_once() {
    let mut secure = Secure::start(Limits::default());
    let mut sender = secure.http2().await;
    let mut waiting = JoinSet::new();
    for _ in 0..50 {
        let answer = sender.send_request(get("/wait"));
        waiting.spawn(async move { text(answer.await.unwrap()).await });
    }
    secure.site.until(|site| site.drain.requests() == 50).await;
    let response = sender.send_request(get("/b/k?x")).await.unwrap();
    assert_eq!(response.headers()["x-amz-request-id"].len(), 20);
    assert_eq!(text(response).await, "GET /b/k?x at s3.test:8000");
    let upload = Request::put("https://s3.test/echo").body(Full::new(Bytes::from(vec![b'z'; 3_000_000]))).unwrap();
    assert_eq!(text(sender.send_request(upload).await.unwrap()).await.len(), 3_000_000);
    let panicked = sender.send_request(get("/panic")).await.unwrap();
    assert_eq!(panicked.status(), 500);
    secure.site.toy.gate.add_permits(50);
    while let Some(waited) = waiting.join_next().await {
        assert_eq!(waited.unwrap(), "waited");
    }
    assert_eq!(secure.site.drain.connections(), 1);
}

#[tokio::test]
async fn http2_has_the_same_limits() {
    let mut secure = Secure::start(Limits { requests: 1, ..Limits::default() });
    let mut sender = secure.http2().await;
    let mut many = Request::get("https://s3.test/").body(Full::default()).unwrap();
    for number in 0..101 {
        many.headers_mut().insert(http::HeaderName::try_from(format!("x-{number}")).unwrap(), 1.into());
    }
    let response = sender.send_request(many).await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(text(response).await.contains("HeadersTooLarge"));
    let response = sender.send_request(get(&format!("/{}", "a".repeat(9000)))).await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(text(response).await.contains("TargetTooLong"));
    let mut other = get("/");
    other.headers_mut().insert("host", "elsewhere".parse().unwrap());
    assert_eq!(sender.send_request(other).await.unwrap().status(), 400);
    let busy = sender.send_request(get("/wait"));
    let busy = async { text(busy.await.unwrap()).await };
    let check = async {
        secure.site.until(|site| site.drain.requests() == 1).await;
        let mut sender = sender.clone();
        assert_eq!(sender.send_request(get("/")).await.unwrap().status(), 503);
        secure.site.toy.gate.add_permits(1);
    };
    assert_eq!(tokio::join!(busy, check).0, "waited");
}

#[tokio::test]
async fn a_stream_nobody_reads_and_an_idle_connection_are_cut() {
    let short = Duration::from_secs(1);
    let limits = Limits { write_timeout: short, ..Limits::default() };
    let mut secure = Secure::start(limits);
    let mut sender = secure.http2().await;
    let response = sender.send_request(get("/endless")).await.unwrap();
    secure.site.until(|site| site.refused("write_timeout") == 1).await;
    secure.site.until_quiet().await;
    drop(response);

    let mut secure = Secure::start(Limits { keep_alive: short, ..Limits::default() });
    let mut sender = secure.http2().await;
    assert_eq!(sender.send_request(get("/")).await.unwrap().status(), 200);
    secure.site.until_quiet().await;
}

#[tokio::test]
async fn leaving_a_stream_or_the_connection_ends_its_requests() {
    let mut secure = Secure::start(Limits::default());
    let mut sender = secure.http2().await;
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        let answer = sender.send_request(get("/wait"));
        waiting.spawn(async move { drop(answer.await) });
    }
    secure.site.until(|site| site.drain.requests() == 3).await;
    waiting.shutdown().await;
    secure.site.until(|site| site.drain.requests() == 0).await;
    let answer = sender.send_request(get("/wait"));
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { drop(answer.await) });
    secure.site.until(|site| site.drain.requests() == 1).await;
    secure.executor.stop();
    secure.clients.shutdown().await;
    secure.site.until_quiet().await;
}

#[tokio::test]
async fn http2_drains_as_http1_does() {
    let mut secure = Secure::start(Limits::default());
    let mut idle = secure.http2().await;
    assert_eq!(idle.send_request(get("/")).await.unwrap().status(), 200);
    let mut busy = secure.http2().await;
    let answer = busy.send_request(get("/wait"));
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { text(answer.await.unwrap()).await });
    secure.site.until(|site| site.drain.requests() == 1).await;
    let mut shaking = secure.site.connect().await;
    secure.site.until(|site| site.drain.connections() == 3).await;
    secure.site.drain.start();
    assert_eq!(shaking.rest().await, "");
    secure.site.until(|site| site.drain.connections() == 1).await;
    secure.site.toy.gate.add_permits(1);
    assert_eq!(waiting.join_next().await.unwrap().unwrap(), "waited");
    assert_eq!(secure.site.drain.finish(SOON).await, 0);
    secure.site.until_quiet().await;
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_left() {
    let secure = Secure::start(Limits { handshake_timeout: Duration::from_millis(100), ..Limits::default() });
    let mut silent = secure.site.connect().await;
    let mut plain = secure.site.connect().await;
    plain.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    assert_eq!(silent.rest().await, "");
    plain.rest().await;
    secure.site.until_quiet().await;
    assert_eq!(secure.site.metric("cloudserver_tls_handshake_failures_total"), 2);
    assert_eq!(secure.site.met(), 0);
}

#[tokio::test]
async fn new_certificates_serve_new_connections_and_bad_ones_change_nothing() {
    let mut secure = Secure::start(Limits::default());
    let mut before = secure.http2().await;
    let serial = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let first = serial(&secure.connect(&[], "s3.test").await.unwrap());

    let path = |name: &str| secure.folder.path().join(name);
    std::fs::rename(path("ca.crt"), path("old-ca.crt")).unwrap();
    let good = std::fs::read(path("server.crt")).unwrap();
    for bad in [&b""[..], b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(path("server.crt"), bad).unwrap();
        assert!(secure.tls.reload().is_err());
        assert_eq!(serial(&secure.connect(&[], "s3.test").await.unwrap()), first);
    }
    std::fs::write(path("server.crt"), good).unwrap();

    std::fs::remove_file(path("server.key")).unwrap();
    assert!(secure.tls.reload().is_err());
    generate_self_signed(secure.folder.path(), "s3.test").unwrap();
    secure.tls.reload().unwrap();
    assert_ne!(serial(&secure.connect(&[], "s3.test").await.unwrap()), first);
    assert_eq!(before.send_request(get("/")).await.unwrap().status(), 200, "the old connection goes on");
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}

#[test]
fn generated_certificates_are_made_once_and_keys_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let files = generate_self_signed(folder.path(), "s3.test").unwrap();
    let before = std::fs::read(&files.cert).unwrap();
    assert_eq!(generate_self_signed(folder.path(), "s3.test").unwrap(), files);
    assert_eq!(std::fs::read(&files.cert).unwrap(), before);
    assert_eq!([mode(&files.key), mode(&folder.path().join("ca.key")), mode(&files.cert)], [0o600, 0o600, 0o644]);
    assert!(generate_self_signed(&folder.path().join("missing"), "s3.test").is_err());
    assert!(generate_self_signed(&folder.path().join("."), "s3.test").is_ok());
}

#[test]
fn missing_and_mismatched_files_are_named() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = generate_self_signed(one.path(), "localhost").unwrap();
    let others = generate_self_signed(two.path(), "::1").unwrap();
    let missing = TlsFiles { key: one.path().join("none.key"), ..files.clone() };
    let error = Tls::load(missing).unwrap_err().to_string();
    assert!(error.starts_with("File not found or unreachable: ") && error.contains("none.key"), "{error}");
    assert!(Tls::load(TlsFiles { key: others.key, ..files.clone() }).is_err());
    assert!(Tls::load(TlsFiles { key: files.cert.clone(), ..files.clone() }).is_err());
    assert!(Tls::load(TlsFiles { ca: None, ..files }).is_ok());
}
