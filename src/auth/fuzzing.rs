//! Fuzz targets of who asks: credentials in headers, queries and forms.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target panics where a rule is broken"
)]

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use secrecy::SecretString;
use serde_json::Value;

use super::{
    AuthError, AuthSettings, Authenticated, Credential, Credentials, FormError, FormGate, RequestHead, Scheme,
    authenticate, post_policy as policies,
    query::{Part, canonical, decode},
};
use crate::types::{AccountId, Timestamp, digest::Sha256};

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// 2013-05-24T00:00:00Z, the day of AWS's examples.
const DAY: Timestamp = Timestamp::from_secs(1_369_353_600);

/// One account.
#[derive(Debug)]
struct One;

impl Credentials for One {
    fn find(&self, access_key: &str) -> Option<Credential> {
        (access_key == KEY).then(|| Credential {
            account: AccountId::new("79a5"),
            display_name: Arc::from("Bart"),
            arn: Arc::from("arn:aws:iam::123456789012:root"),
            user: None,
            secret: Arc::new(SecretString::from(SECRET)),
        })
    }
}

/// A request's head: `METHOD target`, then lines `name:value`.
struct Sent {
    method: Method,
    target: Uri,
    headers: HeaderMap,
}

impl Sent {
    /// `None` for what no listener passes on.
    fn read(data: &[u8]) -> Option<Self> {
        let mut lines = data.split(|byte| *byte == b'\n');
        let mut first = lines.next()?.split(|byte| *byte == b' ');
        let method = Method::from_bytes(first.next()?).ok()?;
        let target = Uri::try_from(first.next()?).ok()?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let colon = memchr::memchr(b':', line)?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = HeaderValue::from_bytes(value.strip_prefix(b":")?.trim_ascii()).ok()?;
            headers.append(HeaderName::from_bytes(name).ok()?, value);
        }
        Some(Self { method, target, headers })
    }

    fn asks(&self) -> Result<Authenticated, AuthError> {
        let head = RequestHead {
            method: &self.method,
            path: self.target.path(),
            query: self.target.query().unwrap_or_default(),
            headers: &self.headers,
            virtual_bucket: None,
            secure: false,
        };
        authenticate(&head, &One, &AuthSettings::default(), DAY)
    }

    /// The same request with another signature.
    fn signed(mut self, old: &str, new: &str) -> Option<Self> {
        let replace = |text: &str| (!old.is_empty() && text.matches(old).count() == 1).then(|| text.replace(old, new));
        match self.headers.get(http::header::AUTHORIZATION) {
            Some(value) => {
                let value = replace(value.to_str().ok()?)?;
                self.headers.insert(http::header::AUTHORIZATION, HeaderValue::from_str(&value).ok()?);
            }
            None => self.target = replace(&self.target.to_string())?.parse().ok()?,
        }
        Some(self)
    }
}

/// Credentials of a request.
pub(crate) fn authorization(data: &[u8]) {
    let Some(sent) = Sent::read(data) else { return };
    canonical_is_stable(&sent);
    match sent.asks() {
        Ok(Authenticated { principal, scheme: Scheme::Anonymous, .. }) => {
            assert!(principal.is_anonymous());
            let header = sent.headers.get(http::header::AUTHORIZATION);
            assert!(header.is_none_or(|value| value.as_bytes().trim_ascii().is_empty()), "credentials overlooked");
        }
        Ok(Authenticated { principal, .. }) => {
            assert_eq!((principal.account.as_str(), principal.access_key.as_deref()), ("79a5", Some(KEY)));
        }
        Err(AuthError::SignatureMismatch(mismatch)) => {
            assert_eq!(mismatch.access_key, KEY);
            // A client that signs what the server says it should have signed gets in.
            if let Some(signature) = signature(&mismatch.string_to_sign)
                && let Some(sent) = sent.signed(&mismatch.signature_provided, &signature)
            {
                check_signed(&sent);
            }
        }
        Err(e) => assert!(!format!("{e} {e:?}").contains(SECRET), "a secret in an error"),
    }
}

fn check_signed(sent: &Sent) {
    match sent.asks() {
        Ok(signed) => assert_eq!(signed.principal.account.as_str(), "79a5"),
        // Of two spellings of a path the one that is not shown may be the client's, and a presigned URL's text may
        // have stood elsewhere, too.
        // Signed, and still no way to say what the signature does not cover.
        Err(AuthError::NotCoveredByV2(_)) => {}
        Err(AuthError::SignatureMismatch(_)) if sent.headers.get(http::header::AUTHORIZATION).is_none() => {}
        Err(e) => panic!("signed as the server asked for, and refused: {e:?}"),
    }
}

/// The signature of a string to sign of version 4; `None` for version 2.
fn signature(text: &str) -> Option<String> {
    let mut lines = text.split('\n');
    let (Some("AWS4-HMAC-SHA256"), Some(_), Some(scope)) = (lines.next(), lines.next(), lines.next()) else {
        return None;
    };
    let mac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
    Some(hex::encode(mac(&key, text)))
}

/// The canonical spelling is that of itself, and means the same.
fn canonical_is_stable(sent: &Sent) {
    for (raw, part) in [(sent.target.path(), Part::Path), (sent.target.query().unwrap_or_default(), Part::Query)] {
        let Ok(once) = canonical(raw, part) else {
            assert!(decode(raw, part).is_err());
            continue;
        };
        assert_eq!(canonical(&once, part).as_deref(), Ok(&*once), "{raw}");
        assert_eq!(decode(&once, part), decode(raw, part), "{raw}");
    }
}

/// A policy in JSON, a NUL, and fields `name=value` with a NUL between any two.
pub(crate) fn post_policy(data: &[u8]) {
    let mut pieces = data.split(|byte| *byte == 0);
    let text = pieces.next().unwrap_or_default();
    let mut fields: Vec<(String, String)> = Vec::new();
    for piece in pieces.filter_map(|piece| str::from_utf8(piece).ok()) {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let name = name.to_ascii_lowercase();
        if !fields.iter().any(|(known, _)| *known == name) {
            fields.push((name, value.to_owned()));
        }
    }
    let encoded = BASE64_STANDARD.encode(text);
    if let Ok(policy) = policies::Policy::parse(&encoded) {
        let document: Value = serde_json::from_slice(text).expect("a policy is JSON");
        for now in [Timestamp::from_millis(0), DAY, Timestamp::from_secs(u64::MAX)] {
            check_policy(&policy, &document, &fields, now);
        }
    }
    fields.retain(|(name, _)| name != "policy");
    fields.push(("policy".to_owned(), encoded));
    let gate = FormGate { credentials: Arc::new(One), settings: Arc::new(AuthSettings::default()) };
    // Whoever has not signed the policy is nobody, and a form with a policy is never anonymous.
    match gate.judge(&fields, "bucket", DAY) {
        Ok(grant) => assert_eq!(grant.principal.account.as_str(), "79a5"),
        Err(e) => assert!(!format!("{e} {e:?}").contains(SECRET), "a secret in an error"),
    }
}

/// The policy against a naive reading of its document.
fn check_policy(policy: &policies::Policy, document: &Value, fields: &[(String, String)], now: Timestamp) {
    let given = |name: &str| -> String {
        let found = fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        if name == "bucket" { "bucket".to_owned() } else { found.unwrap_or_default() }
    };
    let mut holds = true;
    let mut named = Vec::new();
    let (mut least, mut most) = (0, u64::MAX);
    for condition in document["conditions"].as_array().unwrap() {
        if let Some(pairs) = condition.as_object() {
            for (name, value) in pairs {
                holds &= Some(given(&name.to_ascii_lowercase()).as_str()) == value.as_str();
                named.push(name.to_ascii_lowercase());
            }
            continue;
        }
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap();
        let operator = condition[0].as_str().unwrap().to_ascii_lowercase();
        if operator == "content-length-range" {
            (least, most) = (least.max(number(&condition[1])), most.min(number(&condition[2])));
            continue;
        }
        let name = condition[1].as_str().unwrap().strip_prefix('$').unwrap().to_ascii_lowercase();
        let (value, wanted) = (given(&name), condition[2].as_str().unwrap());
        holds &= match (operator.as_str(), name.as_str()) {
            ("eq", _) => value == wanted,
            (_, "content-type") => value.split(',').all(|item| item.trim_start().starts_with(wanted)),
            _ => value.starts_with(wanted),
        };
        named.push(name);
    }
    let free = |name: &str| {
        name.starts_with("x-ignore-")
            || name.starts_with("x-amz-checksum-")
            || ["policy", "x-amz-signature", "awsaccesskeyid", "signature", "file", "x-amz-sdk-checksum-algorithm"]
                .contains(&name)
    };
    let covered = fields
        .iter()
        .map(|(name, _)| name.as_str())
        .chain(["bucket"])
        .all(|name| free(name) || named.iter().any(|known| known == name));
    let expiration = document["expiration"].as_str().and_then(Timestamp::parse_iso8601).unwrap();
    match policy.check(fields, "bucket", now) {
        Ok(sizes) => {
            assert!(holds && covered && now < expiration, "{document} lets {fields:?} in");
            assert_eq!((*sizes.start(), *sizes.end()), (least, most));
        }
        Err(FormError::Expired) => assert!(now >= expiration),
        Err(FormError::ConditionFailed(_)) => assert!(!holds, "{document} keeps {fields:?} out"),
        Err(FormError::ExtraField(_)) => assert!(!covered, "{document} keeps {fields:?} out"),
        Err(e) => panic!("{e:?}"),
    }
}
