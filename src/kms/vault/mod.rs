//! An external key manager: the transit engine of `HashiCorp` Vault, or of what speaks like it (`OpenBao`).
//!
//! | call | request |
//! |---|---|
//! | generate | `POST /v1/{mount}/datakey/plaintext/{key}` |
//! | unwrap | `POST /v1/{mount}/decrypt/{key}` |
//! | rewrap | `POST /v1/{mount}/rewrap/{key}` |
//!
//! Keys are made and rotated there (`vault write -f transit/keys/NAME`), never by this server. Each attempt has a time
//! limit; what may pass (no connection, no answer, 429, 5xx) is tried again a few times with growing pauses, and ends
//! as [`KmsError::Unavailable`]: the client is answered 503, and nothing is stored in the clear instead.

mod connect;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use self::connect::Connector;
use super::{Generated, Kms, KmsError, SecretKey};
use crate::outbound::chain;

/// Largest answer read: those in use have a few hundred bytes.
const LARGEST_ANSWER: usize = 64 << 10;
/// Pause before the second attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection nobody uses is kept.
const KEPT: Duration = Duration::from_secs(30);

/// Where the token comes from.
#[derive(Clone, Debug)]
pub enum VaultToken {
    /// It is known.
    Known(SecretString),
    /// A file, read at each call: an agent beside the server may renew it there.
    File(PathBuf),
}

/// How to reach the manager.
#[derive(Clone, Debug)]
pub struct VaultOptions {
    /// `http://host:port` or `https://host:port`.
    pub address: String,
    /// Where the transit engine is mounted: `transit`.
    pub mount: String,
    /// `X-Vault-Namespace`, where there is one.
    pub namespace: Option<String>,
    /// What this server shows.
    pub token: VaultToken,
    /// PEM of the authorities that the manager's certificate may come from; the system's, where none is named.
    pub ca_file: Option<PathBuf>,
    /// Limit of one attempt.
    pub timeout: Duration,
    /// Attempts in all.
    pub attempts: u32,
    /// The key used where nobody names one.
    pub default_key: String,
}

/// Keys in Vault.
pub struct VaultKms {
    options: VaultOptions,
    base: String,
    client: Client<Connector, Full<Bytes>>,
}

impl fmt::Debug for VaultKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultKms").field("base", &self.base).finish_non_exhaustive()
    }
}

/// What the transit engine answers.
#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    plaintext: String,
    #[serde(default)]
    ciphertext: String,
}

impl Drop for Data {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}

/// What an attempt came to, where it came to nothing.
enum Failure {
    /// Another attempt may do better.
    Passing(String),
    /// No other attempt will.
    Final(KmsError),
}

impl VaultKms {
    /// Makes ready to call; nothing is sent yet.
    ///
    /// # Errors
    /// In words, for a broken address or certificates that cannot be read.
    pub fn new(options: VaultOptions) -> Result<Self, String> {
        let address: Uri = options.address.parse().map_err(|_| format!("{} is no address", options.address))?;
        let connector = Connector::new(&address, options.ca_file.as_deref())?;
        let base = format!("{}/v1/{}", options.address.trim_end_matches('/'), options.mount.trim_matches('/'));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .build(connector);
        Ok(Self { options, base, client })
    }

    async fn call(&self, verb: &str, key: &str, body: serde_json::Value) -> Result<Data, KmsError> {
        let uri = format!("{}/{verb}/{key}", self.base);
        let body = Bytes::from(body.to_string());
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let asked = tokio::time::timeout(self.options.timeout, self.attempt(&uri, key, body.clone())).await;
            let why = match asked {
                Ok(Ok(data)) => return Ok(data),
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Passing(why))) => why,
                Err(_) => format!("no answer within {} ms", self.options.timeout.as_millis()),
            };
            if attempt >= self.options.attempts {
                return Err(KmsError::Unavailable(why));
            }
            tracing::debug!(verb, attempt, why, "the key manager is asked again");
            tokio::time::sleep(pause).await;
            attempt += 1;
            pause *= 2;
        }
    }

    async fn attempt(&self, uri: &str, key: &str, body: Bytes) -> Result<Data, Failure> {
        let mut token = HeaderValue::from_str(self.token().await?.expose_secret())
            .map_err(|_| Failure::Final(KmsError::Refused("the token cannot stand in a header".to_owned())))?;
        token.set_sensitive(true);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-vault-request", "true")
            .header("x-vault-token", token);
        if let Some(namespace) = &self.options.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        let request = request.body(Full::new(body)).map_err(|e| Failure::Final(KmsError::Refused(e.to_string())))?;
        let answer = self.client.request(request).await.map_err(|e| Failure::Passing(chain(&e)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|e| Failure::Passing(format!("its answer broke off: {e}")))?.to_bytes();
        read(status, &body, key)
    }

    async fn token(&self) -> Result<SecretString, Failure> {
        match &self.options.token {
            VaultToken::Known(token) => Ok(token.clone()),
            VaultToken::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map(Zeroizing::new);
                let text = text.map_err(|e| Failure::Passing(format!("token file {}: {e}", path.display())))?;
                Ok(SecretString::from(text.trim()))
            }
        }
    }
}

/// Judges an answer. Nothing of a body that may hold a key gets into an error.
fn read(status: StatusCode, body: &[u8], key: &str) -> Result<Data, Failure> {
    if status.is_success() {
        let answer: Result<Answer, _> = serde_json::from_slice(body);
        return answer
            .map(|answer| answer.data)
            .map_err(|_| Failure::Passing("its answer is not understood".to_owned()));
    }
    let told = String::from_utf8_lossy(body);
    let told: String = told.chars().filter(|char| !char.is_control()).take(300).collect();
    Err(match status {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND
            if told.contains("key not found") || told == "{\"errors\":[]}" =>
        {
            Failure::Final(KmsError::NoSuchKey(key.to_owned()))
        }
        StatusCode::BAD_REQUEST => Failure::Final(KmsError::Unopenable(told)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Failure::Final(KmsError::Refused(format!("{status}: {told}")))
        }
        _ => Failure::Passing(format!("{status}: {told}")),
    })
}

/// A key out of an answer.
fn plaintext(data: &Data) -> Result<SecretKey, KmsError> {
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(&data.plaintext).unwrap_or_default());
    SecretKey::from_slice(&bytes).ok_or_else(|| KmsError::Unavailable("its answer has no key of 256 bits".to_owned()))
}

fn ciphertext(data: &Data) -> Result<Bytes, KmsError> {
    if data.ciphertext.is_empty() {
        return Err(KmsError::Unavailable("its answer has no wrapped key".to_owned()));
    }
    Ok(Bytes::copy_from_slice(data.ciphertext.as_bytes()))
}

fn as_text(wrapped: &Bytes) -> Result<&str, KmsError> {
    std::str::from_utf8(wrapped).map_err(|_| KmsError::Unopenable("it is not of this manager's making".to_owned()))
}

impl Kms for VaultKms {
    fn default_key(&self) -> &str {
        &self.options.default_key
    }

    fn generate<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Generated, KmsError>> {
        async move {
            let data = self.call("datakey/plaintext", key, serde_json::json!({"bits": 256})).await?;
            Ok(Generated { key: plaintext(&data)?, wrapped: ciphertext(&data)? })
        }
        .boxed()
    }

    fn unwrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<SecretKey, KmsError>> {
        async move {
            let data = self.call("decrypt", key, serde_json::json!({"ciphertext": as_text(wrapped)?})).await?;
            plaintext(&data)
        }
        .boxed()
    }

    fn rewrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<Bytes, KmsError>> {
        async move {
            let data = self.call("rewrap", key, serde_json::json!({"ciphertext": as_text(wrapped)?})).await?;
            ciphertext(&data)
        }
        .boxed()
    }
}
