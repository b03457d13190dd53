//! Requests as clients send them, and a second implementation of both signature versions, written from the documents
//! and not from the code under test.

mod authorization;
mod behaviour;
mod faults;
mod matrix;
mod oracle;
mod post_policy;
mod vectors;

use std::{fmt::Write as _, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use secrecy::SecretString;
use sha1::Sha1;

use super::{AuthError, AuthSettings, Authenticated, Credential, Credentials, RequestHead, authenticate};
use crate::types::{
    AccountId, Timestamp,
    digest::{Sha256, sha256_hex},
};

pub(super) const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(super) const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The accounts of these tests: AWS's example, and one whose secret is empty by mistake.
#[derive(Debug)]
pub(super) struct Accounts(pub(super) SecretString);

impl Default for Accounts {
    fn default() -> Self {
        Self(SECRET.into())
    }
}

impl Credentials for Accounts {
    fn find(&self, access_key: &str) -> Option<Credential> {
        let secret = match access_key {
            KEY => self.0.clone(),
            "emptysecret" => "".into(),
            _ => return None,
        };
        Some(Credential {
            account: AccountId::new("79a5"),
            display_name: Arc::from("Bart"),
            arn: Arc::from("arn:aws:iam::123456789012:root"),
            user: None,
            secret: Arc::new(secret),
        })
    }
}

/// A request on the wire.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) bucket: Option<String>,
}

impl Sent {
    /// A request to `target`, with a host.
    pub(super) fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let sent = Self {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            bucket: None,
        };
        sent.with("host", "localhost:8000")
    }

    /// Adds a header, after others of its name.
    pub(super) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.headers.append(name.parse::<HeaderName>().unwrap(), value);
        self
    }

    /// Sets a header, in place of others of its name.
    pub(super) fn set(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.remove(name);
        self.with(name, value)
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Adds raw text to the query.
    pub(super) fn and(mut self, raw: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(raw);
        self
    }

    /// Sends it to the host of a bucket.
    pub(super) fn at_bucket(mut self, bucket: &str) -> Self {
        self.bucket = Some(bucket.to_owned());
        let host = format!("{bucket}.s3.amazonaws.com");
        self.set("host", host)
    }

    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            virtual_bucket: self.bucket.as_deref(),
            secure: false,
        }
    }

    pub(super) fn at(&self, now: Timestamp) -> Result<Authenticated, AuthError> {
        self.asks(&AuthSettings::default(), now)
    }

    pub(super) fn asks(&self, settings: &AuthSettings, now: Timestamp) -> Result<Authenticated, AuthError> {
        authenticate(&self.head(), &Accounts::default(), settings, now)
    }
}

/// 2013-05-24T00:00:00Z, the day of AWS's examples.
pub(super) fn day() -> Timestamp {
    Timestamp::from_secs(1_369_353_600)
}

pub(super) const DATE: &str = "20130524T000000Z";

/// How a client signs with version 4; tests bend single fields.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub(super) access_key: &'static str,
    pub(super) secret: &'static str,
    pub(super) date: String,
    pub(super) scope: String,
    /// Headers to leave out of the signature.
    pub(super) unsigned: &'static [&'static str],
    pub(super) expires: String,
}

impl Default for Signer {
    fn default() -> Self {
        Self {
            access_key: KEY,
            secret: SECRET,
            date: DATE.to_owned(),
            scope: "20130524/us-east-1/s3/aws4_request".to_owned(),
            unsigned: &[],
            expires: "86400".to_owned(),
        }
    }
}

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Undoes escapes the slow way.
fn plain(raw: &str, form: bool) -> Vec<u8> {
    let raw = if form { raw.replace('+', " ") } else { raw.to_owned() };
    percent_encoding::percent_decode_str(&raw).collect()
}

pub(super) fn encoded(bytes: &[u8]) -> String {
    percent_encode(bytes, ENCODED).to_string()
}

impl Signer {
    pub(super) fn now() -> Self {
        Self::default()
    }

    /// Adds `x-amz-date`, `x-amz-content-sha256` where missing, and the `Authorization` header.
    pub(super) fn header(&self, mut sent: Sent) -> Sent {
        if !sent.headers.contains_key("x-amz-content-sha256") {
            sent = sent.with("x-amz-content-sha256", NO_BODY);
        }
        if !sent.headers.contains_key("x-amz-date") && !sent.headers.contains_key("date") {
            sent = sent.with("x-amz-date", &self.date);
        }
        let payload = sent.headers.get("x-amz-content-sha256").unwrap().to_str().unwrap().to_owned();
        let (names, signature) = self.sign(&sent, &payload);
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={names},Signature={signature}",
            self.access_key, self.scope
        );
        sent.set("authorization", value)
    }

    /// Adds the parameters of a presigned URL.
    pub(super) fn presign(&self, sent: Sent) -> Sent {
        let payload = query_value(&sent, "X-Amz-Content-Sha256").unwrap_or_else(|| "UNSIGNED-PAYLOAD".to_owned());
        let names = self.names(&sent).join(";");
        let credential = encoded(format!("{}/{}", self.access_key, self.scope).as_bytes());
        let sent = sent
            .and("X-Amz-Algorithm=AWS4-HMAC-SHA256")
            .and(&format!("X-Amz-Credential={credential}"))
            .and(&format!("X-Amz-Date={}", self.date))
            .and(&format!("X-Amz-Expires={}", self.expires))
            .and(&format!("X-Amz-SignedHeaders={}", encoded(names.as_bytes())));
        let (_, signature) = self.sign(&sent, &payload);
        sent.and(&format!("X-Amz-Signature={signature}"))
    }

    fn names(&self, sent: &Sent) -> Vec<String> {
        let mut names: Vec<String> = sent.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.retain(|name| name != "authorization" && !self.unsigned.contains(&name.as_str()));
        names.sort();
        names
    }

    /// The list of signed headers and the signature.
    pub(super) fn sign(&self, sent: &Sent, payload: &str) -> (String, String) {
        let mut pairs: Vec<(String, String)> = sent
            .query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (encoded(&plain(name, true)), encoded(&plain(value, true))))
            .collect();
        pairs.sort();
        let query = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let names = self.names(sent);
        let mut headers = Vec::new();
        for name in &names {
            let values: Vec<Vec<u8>> = sent.headers.get_all(name).iter().map(one_spaced).collect();
            headers.extend_from_slice(name.as_bytes());
            headers.push(b':');
            headers.extend_from_slice(&values.join(&b','));
            headers.push(b'\n');
        }
        let path = encoded(&plain(&sent.path, false)).replace("%2F", "/");
        let names = names.join(";");
        let mut canonical = format!("{}\n{path}\n{query}\n", sent.method).into_bytes();
        canonical.extend_from_slice(&headers);
        canonical.extend_from_slice(format!("\n{names}\n{payload}").as_bytes());
        let text = format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.date, self.scope, sha256_hex(&canonical));
        (names, self.hmac(&text))
    }

    fn hmac(&self, text: &str) -> String {
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for step in self.scope.split('/').chain([text]) {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(step.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        hex::encode(key)
    }
}

/// A decoded parameter.
fn query_value(sent: &Sent, name: &str) -> Option<String> {
    let pair = sent.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(String::from_utf8(plain(pair, true)).unwrap())
}

fn one_spaced(value: &HeaderValue) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    while let Some(at) = bytes.windows(2).position(|pair| pair == b"  ") {
        bytes.remove(at);
    }
    bytes.trim_ascii().to_vec()
}

/// The V2 signature of a string to sign.
pub(super) fn sign_v2(text: &str) -> String {
    sign_v2_with(SECRET, text)
}

pub(super) fn sign_v2_with(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// A V2 header request on the day of AWS's examples; `text` follows the date line of its string to sign.
pub(super) fn v2_header(sent: Sent, text: &str) -> Sent {
    let date = "Fri, 24 May 2013 00:00:00 GMT";
    let signature = sign_v2(&format!("{}\n\n\n{date}\n{text}", sent.method));
    sent.with("date", date).with("authorization", format!("AWS {KEY}:{signature}"))
}

/// A V2 presigned request; `text` follows the date line of its string to sign.
pub(super) fn v2_query(sent: Sent, expires: u64, text: &str) -> Sent {
    let signature = sign_v2(&format!("{}\n\n\n{expires}\n{text}", sent.method));
    let mut query = String::new();
    write!(query, "AWSAccessKeyId={KEY}&Expires={expires}&Signature={}", encoded(signature.as_bytes())).unwrap();
    sent.and(&query)
}
