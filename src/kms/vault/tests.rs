//! Against a small server that speaks like the transit engine, and misbehaves where it is told to.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{kms::Keyring, tasks::Tasks};

/// What the server does with the next request.
#[derive(Clone, Debug)]
enum Mood {
    /// Its duty.
    Well,
    /// Answers this.
    Says(u16, &'static str),
    /// Answers late.
    Late(Duration),
    /// Closes the connection.
    Hangs,
    /// Answers half.
    Breaks,
}

#[derive(Debug)]
struct Fake {
    address: SocketAddr,
    keys: Arc<Mutex<Keyring>>,
    moods: Arc<Mutex<VecDeque<Mood>>>,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: Tasks,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut keys = Keyring::default();
        keys.add_version("k").unwrap();
        let keys = Arc::new(Mutex::new(keys));
        let (moods, asked) = (Arc::<Mutex<VecDeque<Mood>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let tasks = Tasks::default();
        let (ring, mood, heard) = (Arc::clone(&keys), Arc::clone(&moods), Arc::clone(&asked));
        tasks.spawn("fake vault", async move {
            while let Ok((socket, _)) = listener.accept().await {
                // One after the other: each answer closes its connection.
                let next = mood.lock().pop_front().unwrap_or(Mood::Well);
                serve(socket, next, &ring, &heard).await;
            }
        });
        Self { address, keys, moods, asked, _tasks: tasks }
    }

    fn kms(&self, attempts: u32) -> VaultKms {
        self.patient(attempts, Duration::from_secs(10))
    }

    /// A client that waits so long for each answer.
    fn patient(&self, attempts: u32, timeout: Duration) -> VaultKms {
        let options = VaultOptions {
            address: format!("http://{}", self.address),
            mount: "transit".to_owned(),
            namespace: Some("team".to_owned()),
            token: VaultToken::Known(SecretString::from("s.token")),
            ca_file: None,
            timeout,
            attempts,
            default_key: "k".to_owned(),
        };
        VaultKms::new(options).unwrap()
    }

    fn then(&self, moods: &[Mood]) {
        self.moods.lock().extend(moods.iter().cloned());
    }
}

async fn serve(mut socket: TcpStream, mood: Mood, keys: &Mutex<Keyring>, asked: &Mutex<Vec<String>>) {
    let mut text = Vec::new();
    let body = loop {
        let mut piece = [0; 4096];
        let got = socket.read(&mut piece).await.unwrap_or(0);
        text.extend_from_slice(&piece[..got]);
        let head = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = head.split_once("\r\n\r\n") else {
            if got == 0 {
                return;
            }
            continue;
        };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0_usize) {
            break body.to_owned();
        }
    };
    let request = String::from_utf8_lossy(&text).into_owned();
    asked.lock().push(request.clone());
    let (status, answer) = match mood {
        Mood::Hangs => return,
        Mood::Says(status, answer) => (status, answer.to_owned()),
        Mood::Late(time) => {
            tokio::time::sleep(time).await;
            duty(&request, &body, keys)
        }
        Mood::Well | Mood::Breaks => duty(&request, &body, keys),
    };
    let cut = if matches!(mood, Mood::Breaks) { answer.len() / 2 } else { answer.len() };
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
    socket.write_all(head.as_bytes()).await.ok();
    socket.write_all(&answer.as_bytes()[..cut]).await.ok();
}

fn duty(request: &str, body: &str, keys: &Mutex<Keyring>) -> (u16, String) {
    let lower = request.to_ascii_lowercase();
    if !lower.contains("x-vault-token: s.token") || !lower.contains("x-vault-namespace: team") {
        return (403, r#"{"errors":["permission denied"]}"#.to_owned());
    }
    let path = request.split(' ').nth(1).unwrap();
    let key = path.rsplit('/').next().unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let wrapped =
        body["ciphertext"].as_str().map(|text| hex::decode(text.trim_start_matches("vault:")).unwrap_or_default());
    let keys = keys.lock();
    let text = |wrapped: &[u8]| format!("vault:{}", hex::encode(wrapped));
    let bare = |key: &SecretKey| BASE64_STANDARD.encode(key.expose());
    let data = match path.strip_prefix("/v1/transit/").unwrap().rsplit_once('/').unwrap().0 {
        "datakey/plaintext" => keys
            .generate(key)
            .map(|made| serde_json::json!({"plaintext": bare(&made.key), "ciphertext": text(&made.wrapped)})),
        "decrypt" => keys.unwrap(key, &wrapped.unwrap()).map(|key| serde_json::json!({"plaintext": bare(&key)})),
        "rewrap" => keys.rewrap(key, &wrapped.unwrap()).map(|new| serde_json::json!({"ciphertext": text(&new)})),
        other => panic!("{other}"),
    };
    match data {
        Ok(data) => (200, serde_json::json!({"data": data}).to_string()),
        Err(KmsError::NoSuchKey(_)) => (400, r#"{"errors":["encryption key not found"]}"#.to_owned()),
        Err(_) => (400, r#"{"errors":["cipher: message authentication failed"]}"#.to_owned()),
    }
}

#[tokio::test]
async fn keys_go_there_and_come_back() {
    let fake = Fake::start().await;
    let kms = fake.kms(1);
    let made = kms.generate("k").await.unwrap();
    assert!(made.wrapped.starts_with(b"vault:"));
    assert_eq!(kms.unwrap("k", &made.wrapped).await, Ok(made.key.clone()));
    fake.keys.lock().add_version("k").unwrap();
    let again = kms.rewrap("k", &made.wrapped).await.unwrap();
    assert_ne!(again, made.wrapped);
    assert_eq!(kms.unwrap("k", &again).await, Ok(made.key));
    assert!(fake.asked.lock()[0].starts_with("POST /v1/transit/datakey/plaintext/k HTTP/1.1"));
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let fake = Fake::start().await;
    let passing = [
        Mood::Says(500, "{}"),
        Mood::Says(503, r#"{"errors":["sealed"]}"#),
        Mood::Hangs,
        Mood::Breaks,
        Mood::Says(429, ""),
    ];
    for mood in passing {
        fake.then(std::slice::from_ref(&mood));
        assert!(fake.kms(3).generate("k").await.is_ok(), "{mood:?}");
    }
    fake.then(&[Mood::Late(Duration::from_millis(2500))]);
    assert!(fake.patient(3, Duration::from_secs(1)).generate("k").await.is_ok());
}

#[tokio::test]
async fn a_manager_that_stays_away_is_unavailable_after_a_bounded_time() {
    let fake = Fake::start().await;
    for mood in [Mood::Says(503, r#"{"errors":["Vault is sealed"]}"#), Mood::Hangs, Mood::Breaks] {
        fake.then(&[mood.clone(), mood.clone()]);
        let began = Instant::now();
        let failed = fake.kms(2).generate("k").await.unwrap_err();
        assert!(matches!(failed, KmsError::Unavailable(_)), "{mood:?}: {failed}");
        assert!(began.elapsed() < Duration::from_secs(20), "{mood:?}");
    }
    let nobody = VaultOptions { address: "http://127.0.0.1:9".to_owned(), ..fake.kms(2).options.clone() };
    let failed = VaultKms::new(nobody).unwrap().generate("k").await.unwrap_err();
    assert!(matches!(failed, KmsError::Unavailable(_)), "{failed}");
}

#[tokio::test]
async fn wrong_answers_never_become_keys() {
    let fake = Fake::start().await;
    let kms = fake.kms(1);
    for answer in [
        "",
        "{}",
        "[]",
        r#"{"data":{}}"#,
        r#"{"data":{"plaintext":"AAAA","ciphertext":"vault:v1:x"}}"#,
        r#"{"data":{"plaintext":"!","ciphertext":"vault:v1:x"}}"#,
        r#"{"data":{"plaintext":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","ciphertext":""}}"#,
    ] {
        fake.then(&[Mood::Says(200, answer)]);
        assert!(matches!(kms.generate("k").await, Err(KmsError::Unavailable(_))), "{answer}");
    }
}

#[tokio::test]
async fn refusals_are_final_and_told_apart() {
    let fake = Fake::start().await;
    let kms = fake.kms(5);
    assert_eq!(kms.generate("none").await.unwrap_err(), KmsError::NoSuchKey("none".to_owned()));
    let damaged = Bytes::from_static(b"vault:00");
    assert!(matches!(kms.unwrap("k", &damaged).await, Err(KmsError::Unopenable(_))));
    fake.then(&[Mood::Says(403, r#"{"errors":["permission denied"]}"#)]);
    assert!(matches!(kms.generate("k").await, Err(KmsError::Refused(_))));
    assert_eq!(fake.asked.lock().len(), 3, "none of these is asked twice");
}

#[tokio::test]
async fn a_renewed_token_in_its_file_is_used() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old").unwrap();
    let options = VaultOptions { token: VaultToken::File(file.clone()), ..fake.kms(1).options.clone() };
    let kms = VaultKms::new(options).unwrap();
    assert!(matches!(kms.generate("k").await, Err(KmsError::Refused(_))));
    std::fs::write(&file, "s.token\n").unwrap();
    assert!(kms.generate("k").await.is_ok());
}

#[test]
fn addresses_that_lead_nowhere_are_refused_at_start() {
    for address in ["", "vault:8200", "ftp://vault", "http://", "https:///x"] {
        let options = VaultOptions {
            address: address.to_owned(),
            mount: "transit".to_owned(),
            namespace: None,
            token: VaultToken::Known(SecretString::from("t")),
            ca_file: None,
            timeout: Duration::from_secs(1),
            attempts: 1,
            default_key: "k".to_owned(),
        };
        assert!(VaultKms::new(options).is_err(), "{address}");
    }
}
