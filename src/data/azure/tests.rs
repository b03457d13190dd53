//! The rules of the seam, over Azure's own emulator.
//!
//! `AZURITE` names the script of `azurite-blob` (npm package `azurite`); where it is not set these tests say so and pass.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use secrecy::SecretString;

use super::*;
use crate::{clock::SystemClock, data::conformance, outbound::ClientOptions};

/// The account that every emulator has (public knowledge).
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running emulator, ended when dropped.
struct Azurite {
    process: Child,
    endpoint: String,
    _dir: tempfile::TempDir,
}

impl Drop for Azurite {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Azurite {
    #[expect(clippy::print_stderr, reason = "a test that is left out must be seen to be")]
    async fn start() -> Option<Self> {
        let Some(script) = std::env::var_os("AZURITE") else {
            eprintln!("SKIPPED: AZURITE does not name the script of azurite-blob");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("node");
        command.arg(script).args(["--silent", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort"]);
        command.arg(port.to_string()).arg("--location").arg(dir.path());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let azurite = Self { process, endpoint: format!("http://127.0.0.1:{port}/{ACCOUNT}"), _dir: dir };
        for _ in 0..1200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(azurite);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("azurite does not listen");
    }

    fn backend(&self, login: Login) -> AzureBackend {
        let options =
            AzureOptions { endpoint: self.endpoint.clone(), container: "suite".to_owned(), login, bucket_match: false };
        AzureBackend::new(HttpClient::new(ClientOptions::default()), options, Arc::new(SystemClock))
    }

    async fn container(&self) -> AzureBackend {
        let login = Login::SharedKey { account: ACCOUNT.to_owned(), key: SecretString::from(KEY) };
        let backend = self.backend(login);
        let made = backend.container.send(Call::new(Method::PUT, None).and("restype", "container")).await;
        made.map(drop).unwrap();
        backend
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seam_holds_over_the_emulator() {
    let Some(azurite) = Azurite::start().await else { return };
    let backend = Arc::new(azurite.container().await);
    conformance::suite(Arc::clone(&backend) as Arc<dyn DataBackend>).await;
    conformance::native_suite(Arc::clone(&backend) as Arc<dyn DataBackend>).await;
    let call = Call::new(Method::GET, None).and("restype", "container").and("comp", "list");
    let left = backend.container.document(call).await.unwrap();
    let left = String::from_utf8_lossy(&left).into_owned();
    assert!(!left.contains("<Name>"), "something is left: {left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_to_a_blob_is_noticed() {
    let Some(azurite) = Azurite::start().await else { return };
    let backend = azurite.container().await;
    let object = NativeObject {
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        headers: vec![("content-type", "text/plain".to_owned())],
        metadata: vec![("colour".to_owned(), "blue".to_owned())],
        tags: vec![("t".to_owned(), "v".to_owned())],
    };
    let body = || stream::iter([Ok(Bytes::from_static(b"bytes"))]).boxed();
    let staged = backend.stage(&object, body(), None.into()).await.unwrap();
    let blob = backend.publish(&staged).await.unwrap().blob;
    let seen = backend.look("b/k").await.unwrap().unwrap();
    assert_eq!(text_of(&seen.headers, "content-type"), Some("text/plain"));
    assert_eq!(text_of(&seen.headers, "x-ms-meta-colour"), Some("blue"));
    assert_eq!(text_of(&seen.headers, "x-ms-meta-tags"), Some("{\"t\":\"v\"}"));
    backend.set_tags(&blob, &[("n".to_owned(), "\u{fc}".to_owned())]).await.unwrap();
    let seen = backend.look("b/k").await.unwrap().unwrap();
    assert_eq!(text_of(&seen.headers, "x-ms-meta-tags"), Some("{\"n\":\"\\u00fc\"}"));
    assert_eq!(text_of(&seen.headers, "x-ms-meta-colour"), Some("blue"));
    assert!(backend.get(&blob, 0..5).await.is_ok(), "its metadata changed, not its bytes");

    // Somebody else's bytes of the same size.
    let foreign = Call::new(Method::PUT, Some("b/k")).header("x-ms-blob-type", "BlockBlob");
    backend.container.send(foreign.held(Bytes::from_static(b"other"))).await.map(drop).unwrap();
    assert!(matches!(backend.get(&blob, 0..5).await.map(drop), Err(DataError::NotFound(_))));
    backend.delete(&blob).await.unwrap();
    assert!(backend.look("b/k").await.unwrap().is_some(), "not ours to remove");

    let wrong = Login::SharedKey { account: ACCOUNT.to_owned(), key: SecretString::from("AAAA") };
    let refused = azurite.backend(wrong).look("b/k").await.map(drop);
    assert!(matches!(refused, Err(DataError::Unavailable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_another_write_took_away_are_missed_and_never_mixed() {
    let Some(azurite) = Azurite::start().await else { return };
    let backend = azurite.container().await;
    let object = NativeObject { bucket: "b".to_owned(), key: "k".to_owned(), ..NativeObject::default() };
    let large = Bytes::from(vec![7; HELD + 10]);
    let body = |bytes: &Bytes| stream::iter([Ok(bytes.clone())]).boxed();
    let staged = backend.stage(&object, body(&large), Some(large.len() as u64).into()).await.unwrap();
    let small = backend.stage(&object, body(&Bytes::from_static(b"small")), Some(5).into()).await.unwrap();
    let small = backend.publish(&small).await.unwrap().blob;
    // Azure drops the blocks; its emulator keeps them.
    match backend.publish(&staged).await {
        Err(DataError::NotFound(_)) => assert!(backend.get(&small, 0..5).await.is_ok()),
        Ok(written) => {
            assert!(matches!(backend.get(&small, 0..5).await.map(drop), Err(DataError::NotFound(_))));
            let stream = backend.get(&written.blob, 0..written.size).await.unwrap();
            assert_eq!(crate::types::body::collect(stream, large.len()).await.unwrap(), large);
        }
        Err(other) => panic!("{other}"),
    }
}
