//! Who we are at Azure: the three ways to prove it.
//!
//! Requests are signed as the reference of the storage services says ("Authorize with Shared Key"); a shared access
//! signature is part of the address; a client secret buys tokens of Entra ID, which are kept until shortly before their
//! end.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::super::DataError;
use crate::{
    outbound::{HttpClient, Payload},
    types::{Timestamp, body},
};

/// The version of the protocol that requests follow.
const VERSION: &str = "2021-08-06";
/// What tokens are for.
const SCOPE: &str = "https://storage.azure.com/.default";
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A token is renewed so long before its end.
const MARGIN: Duration = Duration::from_mins(5);
/// Longest answer with a token.
const LONGEST_TOKEN: usize = 64 << 10;

/// Where tokens come from, but for national clouds.
pub const ENTRA: &str = "https://login.microsoftonline.com";

/// A way to log in.
pub enum Login {
    /// The account's name and its key, in base64.
    SharedKey {
        /// Name of the account.
        account: String,
        /// Its key.
        key: SecretString,
    },
    /// A shared access signature: the query of an address, without its question mark.
    SharedAccess(SecretString),
    /// An application of Entra ID.
    ClientSecret {
        /// Where tokens come from: [`ENTRA`], or that of a national cloud. Without a slash at its end.
        authority: String,
        /// Its tenant.
        tenant: String,
        /// Its id.
        client: String,
        /// Its secret.
        secret: SecretString,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SharedKey { .. } => "SharedKey",
            Self::SharedAccess(_) => "SharedAccess",
            Self::ClientSecret { .. } => "ClientSecret",
        })
    }
}

/// A token and its end.
#[derive(Clone)]
struct Token {
    value: SecretString,
    made: Timestamp,
    until: Timestamp,
}

/// A login, with its token where it has one.
pub(super) struct Account {
    login: Login,
    token: tokio::sync::Mutex<Option<Arc<Token>>>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("login", &self.login).finish_non_exhaustive()
    }
}

/// A request before it is signed. Query parameters are not escaped.
#[derive(Debug)]
pub(super) struct Unsigned<'a> {
    pub(super) method: Method,
    /// Address of the account, without a slash at its end.
    pub(super) endpoint: &'a str,
    /// Below the endpoint, escaped, with its slash.
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
}

impl Account {
    pub(super) fn new(login: Login) -> Self {
        Self { login, token: tokio::sync::Mutex::default() }
    }

    /// Forgets the token that a request of this time had: the far side did not like it. One that is newer stays.
    pub(super) async fn forget_token(&self, asked: Timestamp) {
        let mut known = self.token.lock().await;
        if known.as_ref().is_some_and(|token| token.made <= asked) {
            *known = None;
        }
    }

    /// The signed request, with `payload` of `length` bytes.
    pub(super) async fn sign(
        &self,
        http: &HttpClient,
        now: Timestamp,
        mut unsigned: Unsigned<'_>,
        (payload, length): (Payload, u64),
    ) -> Result<Request<Payload>, DataError> {
        let headers = &mut unsigned.headers;
        headers.insert("x-ms-version", HeaderValue::from_static(VERSION));
        headers.insert("x-ms-date", value(&now.to_http_date())?);
        let mut address = format!("{}{}", unsigned.endpoint, unsigned.path);
        let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut query: Vec<String> =
            unsigned.query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        match &self.login {
            Login::SharedKey { account, key } => {
                let signature = signature(account, key, &unsigned, length)?;
                let mut login = value(&format!("SharedKey {account}:{signature}"))?;
                login.set_sensitive(true);
                unsigned.headers.insert(header::AUTHORIZATION, login);
            }
            Login::SharedAccess(token) => query.push(token.expose_secret().trim_start_matches('?').to_owned()),
            Login::ClientSecret { authority, tenant, client, secret } => {
                let token = self.token(http, now, authority, (tenant, client, secret)).await?;
                let mut login = value(&format!("Bearer {}", token.value.expose_secret()))?;
                login.set_sensitive(true);
                unsigned.headers.insert(header::AUTHORIZATION, login);
            }
        }
        if !query.is_empty() {
            address.push('?');
            address.push_str(&query.join("&"));
        }
        let mut request = Request::new(payload);
        *request.method_mut() = unsigned.method;
        *request.uri_mut() = address.parse::<Uri>().map_err(|error| unsendable(&error))?;
        *request.headers_mut() = unsigned.headers;
        Ok(request)
    }

    async fn token(
        &self,
        http: &HttpClient,
        now: Timestamp,
        authority: &str,
        (tenant, client, secret): (&str, &str, &SecretString),
    ) -> Result<Arc<Token>, DataError> {
        let mut known = self.token.lock().await;
        if let Some(token) = known.as_ref().filter(|token| now.plus(MARGIN) < token.until) {
            return Ok(Arc::clone(token));
        }
        let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", secret.expose_secret()),
            ("scope", SCOPE),
        ];
        let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let mut request = Request::new(Payload::Held(Bytes::from(form.join("&"))));
        *request.method_mut() = Method::POST;
        let address = format!("{authority}/{}/oauth2/v2.0/token", utf8_percent_encode(tenant, &UNRESERVED));
        *request.uri_mut() = address.parse().map_err(|error: http::uri::InvalidUri| unsendable(&error))?;
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let away = |why: String| DataError::Unavailable(format!("no token from Entra ID: {why}"));
        let answer = http.send(request).await.map_err(|error| away(error.to_string()))?;
        let status = answer.status();
        let text = body::collect(answer.into_body(), LONGEST_TOKEN).await.map_err(|error| away(error.to_string()))?;
        let document: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let field = |name: &str| document.get(name);
        let token = field("access_token").and_then(serde_json::Value::as_str).filter(|_| status.is_success());
        let Some(token) = token else {
            let code = field("error").and_then(serde_json::Value::as_str).unwrap_or("no token in the answer");
            return Err(away(format!("{status} {code}: check tenantId, clientId and clientKey")));
        };
        let life = field("expires_in").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let until = now.plus(Duration::from_secs(life.min(86_400)));
        let token = Arc::new(Token { value: SecretString::from(token), made: now, until });
        *known = Some(Arc::clone(&token));
        Ok(token)
    }
}

fn value(text: &str) -> Result<HeaderValue, DataError> {
    HeaderValue::from_str(text).map_err(|error| unsendable(&error))
}

fn unsendable(error: &dyn fmt::Display) -> DataError {
    DataError::Unavailable(format!("no request can be made of it: {error}"))
}

/// The signature of "Shared Key", version 2015-02-21 and later: a length of 0 is an empty field.
fn signature(account: &str, key: &SecretString, request: &Unsigned<'_>, length: u64) -> Result<String, DataError> {
    let text = string_to_sign(account, request, length);
    let key = BASE64_STANDARD.decode(key.expose_secret()).map_err(|error| unsendable(&error))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| unsendable(&error))?;
    mac.update(text.as_bytes());
    Ok(BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

fn string_to_sign(account: &str, request: &Unsigned<'_>, length: u64) -> String {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let length = if length == 0 { String::new() } else { length.to_string() };
    let fields = [
        request.method.as_str(),
        header("content-encoding"),
        header("content-language"),
        &length,
        header("content-md5"),
        header("content-type"),
        header("date"),
        header("if-modified-since"),
        header("if-match"),
        header("if-none-match"),
        header("if-unmodified-since"),
        header("range"),
    ];
    let mut text = fields.join("\n");
    let mut ours: Vec<_> = request.headers.keys().map(http::HeaderName::as_str).collect();
    ours.retain(|name| name.starts_with("x-ms-"));
    ours.sort_unstable();
    for name in ours {
        text.extend(["\n", name, ":", header(name).trim()]);
    }
    // The path as it is sent, below the account's name: an emulator has the name in the path, too.
    let base = request.endpoint.split_once("://").map_or("", |(_, rest)| rest);
    let base = base.split_once('/').map_or("", |(_, path)| path);
    text.extend(["\n/", account]);
    if !base.is_empty() {
        text.extend(["/", base]);
    }
    text.push_str(&request.path);
    let mut query: Vec<_> = request.query.iter().collect();
    query.sort_unstable();
    for (name, value) in query {
        text.extend(["\n", name, ":", value]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_to_sign_is_that_of_the_reference() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ms-version", "2015-02-21"),
            ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"),
            ("if-match", "\"0x1\""),
            ("x-ms-range", "bytes=0-1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let query = vec![("restype", "container".to_owned()), ("comp", "metadata".to_owned())];
        let mut request = Unsigned {
            method: Method::GET,
            endpoint: "https://myaccount.blob.core.windows.net",
            path: "/mycontainer".to_owned(),
            query,
            headers,
        };
        let expected = "GET\n\n\n\n\n\n\n\n\"0x1\"\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-range:bytes=0-1\n\
             x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\nrestype:container";
        assert_eq!(string_to_sign("myaccount", &request, 0), expected);
        request.endpoint = "http://127.0.0.1:10000/myaccount";
        assert!(string_to_sign("myaccount", &request, 5).contains("GET\n\n\n5\n"));
        assert!(string_to_sign("myaccount", &request, 0).contains("\n/myaccount/myaccount/mycontainer\n"));
    }

    #[tokio::test]
    async fn a_token_that_was_renewed_meanwhile_is_not_forgotten() {
        let secret = || SecretString::from("x");
        let account = Account::new(Login::SharedAccess(secret()));
        let made = Timestamp::from_millis(5000);
        *account.token.lock().await = Some(Arc::new(Token { value: secret(), made, until: made }));
        account.forget_token(Timestamp::from_millis(4999)).await;
        assert!(account.token.lock().await.is_some());
        account.forget_token(made).await;
        assert!(account.token.lock().await.is_none());
    }

    #[test]
    fn no_secret_shows() {
        let login = Login::SharedKey { account: "a".to_owned(), key: SecretString::from("hidden") };
        assert!(!format!("{:?}", Account::new(login)).contains("hidden"));
    }
}
