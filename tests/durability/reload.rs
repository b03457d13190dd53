//! SIGHUP: accounts, locations and certificates change under load, and no request notices (R27).

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::{
    client::{Client, Request},
    run,
    server::{ACCESS, PATIENCE, SECRET, Server, World, account},
};

/// Readers and writers that must never meet a failure.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..8 {
            let (client, stop, done) = (client.clone(), Arc::clone(&stop), Arc::clone(&done));
            tasks.spawn(async move {
                let path = format!("/bucket/worker-{worker}");
                while !stop.load(Ordering::Relaxed) {
                    let body = done.fetch_add(1, Ordering::Relaxed).to_string();
                    client.put(&path, body.clone()).await.unwrap().good("a PUT during a reload");
                    assert_eq!(client.get(&path).await.unwrap().good("a GET during a reload").body, body);
                }
            });
        }
        Self { stop, done, tasks }
    }

    /// Waits until each worker has gone on for a while.
    async fn goes_on(&self) {
        let now = self.done.load(Ordering::Relaxed);
        crate::support::server::until("the load goes on", || self.done.load(Ordering::Relaxed) > now + 40).await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

fn accounts(more: &[Value]) -> Value {
    let mut all = vec![account("durability", 300_000_000_001, ACCESS, SECRET)];
    all.extend_from_slice(more);
    json!({ "accounts": all })
}

async fn may_list(server: &Server, access: &str, secret: &str) -> bool {
    let answer = Client::new(server.s3(), access, secret).get("/").await.unwrap();
    assert!(matches!(answer.status.as_u16(), 200 | 403), "{}", answer.text());
    answer.status == 200
}

/// Waits until a key is known, or not.
async fn until_known(server: &Server, access: &str, wanted: bool) {
    let begin = Instant::now();
    while may_list(server, access, "secret").await != wanted {
        assert!(begin.elapsed() < PATIENCE, "{access} known: {}\n{}", !wanted, server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn sighup_reloads_accounts_and_locations_without_dropping_a_request_and_a_bad_file_keeps_the_old() {
    run(async {
        let world = World::new(json!({}));
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("bucket").await;
        let load = Load::start(&client);
        load.goes_on().await;

        assert!(!may_list(&server, "second", "secret").await);
        world.write("authdata.json", &accounts(&[account("second", 300_000_000_002, "second", "secret")]));
        server.process().signal("HUP");
        until_known(&server, "second", true).await;
        load.goes_on().await;

        for bad in ["{", r#"{"accounts": [{"name": "no key"}]}"#, ""] {
            let errors = server.log().matches(r#""level":"error""#).count();
            fs::write(world.path().join("authdata.json"), bad).unwrap();
            server.process().signal("HUP");
            let said = || server.log().matches(r#""level":"error""#).count() > errors;
            crate::support::server::until("the bad file is complained of", said).await;
            assert!(may_list(&server, "second", "secret").await, "{bad:?} keeps the old accounts");
            load.goes_on().await;
        }

        world.write("authdata.json", &accounts(&[]));
        server.process().signal("HUP");
        until_known(&server, "second", false).await;

        let place = |name: &str| {
            let body = format!(
                "<CreateBucketConfiguration><LocationConstraint>{name}</LocationConstraint></CreateBucketConfiguration>"
            );
            client.send(Request::new("PUT", "/elsewhere").body(body))
        };
        assert_eq!(place("later").await.unwrap().code(), "InvalidLocationConstraint");
        let mut locations = World::locations();
        locations["later"] = json!({ "type": "file", "objectId": "later", "legacyAwsBehavior": false, "details": {} });
        world.write("locationConfig.json", &locations);
        server.process().signal("HUP");
        let begin = Instant::now();
        while !place("later").await.unwrap().status.is_success() {
            assert!(begin.elapsed() < PATIENCE, "the new location is not known\n{}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client.put("/elsewhere/key", vec![b'x'; 100_000]).await.unwrap().good("a PUT to the new location");
        load.goes_on().await;
        load.end().await;
        server.stop().await;
    });
}

/// Makes a certificate and returns it.
fn new_certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("server.crt"), made.cert.pem()).unwrap();
    fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// Trusts whatever comes: the test looks at it itself.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect(server: &Server) -> Tls {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Anything)).with_no_client_auth();
    let stream = TcpStream::connect(server.s3()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

fn shown(stream: &Tls) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// One request on a kept connection.
async fn ask(stream: &mut Tls) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(b"GET /_/healthcheck HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 1000];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
}

#[test]
fn r27_sighup_reloads_certificates_without_dropping_connections_and_a_bad_file_keeps_the_old() {
    run(async {
        let mut world = World::new(json!({}));
        let first = new_certificate(world.path());
        let file = |name: &str| world.path().join(name).to_str().unwrap().to_owned();
        world.config = json!({ "certFilePaths": { "key": file("server.key"), "cert": file("server.crt") } });
        let server = world.start().await;
        let mut kept = connect(&server).await;
        assert_eq!(shown(&kept), first);
        ask(&mut kept).await;

        let second = new_certificate(world.path());
        server.process().signal("HUP");
        let begin = Instant::now();
        while shown(&connect(&server).await) != second {
            assert!(begin.elapsed() < PATIENCE, "the new certificate is not shown\n{}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ask(&mut kept).await;

        let errors = server.log().matches(r#""level":"error""#).count();
        fs::write(world.path().join("server.crt"), "not a certificate").unwrap();
        server.process().signal("HUP");
        let said = || server.log().matches(r#""level":"error""#).count() > errors;
        crate::support::server::until("the bad certificate is complained of", said).await;
        assert_eq!(shown(&connect(&server).await), second);
        ask(&mut kept).await;
    });
}
