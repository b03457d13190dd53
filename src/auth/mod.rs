//! Who asks, and whether they may: pure decisions over a request, accounts, lists and policies.
//!
//! [`authenticate`] is the one gate that turns a request into a [`Principal`]; [`authorize`] decides what that
//! principal may do. Nothing here does I/O, waits or touches a body: time and accounts are arguments, and the
//! checks that need the body leave as a [`Payload`] for the reader of the body to carry out.
//!
//! Invariants: exactly one set of credentials is looked at, and the one that is verified is the one that is
//! authorised; the request is canonicalised from its raw target; no error, `Debug` or `Display` carries a secret, a
//! signing key or an expected signature.

mod acl;
mod action;
mod date;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod identity;
mod payload;
mod policy;
mod post_policy;
mod presigned;
mod query;
mod sigv2;
mod sigv4;

#[cfg(test)]
mod tests;

use std::time::Duration;

use secrecy::ExposeSecret;

pub use acl::{
    AccessLimits, BucketFacts, Decision, ObjectFacts, PolicyFacts, authorize, authorize_account, authorize_written,
    is_forbidden,
};
pub use action::{Action, Resource};
pub use error::{AuthError, Mismatch};
pub use identity::{Credential, Credentials, Principal};
pub use payload::Payload;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use policy::fuzzing as policies;
pub use policy::{ConditionKey, Facts, MAX_POLICY, Policy, PolicyError, Question, Verdict};
pub use post_policy::{FormError, FormGate, FormGrant, field as form_field};
pub use query::{InvalidEscape, QueryPairs, query_pairs};
pub use sigv4::{ChunkSigner, SigningKeys};

use crate::types::Timestamp;

/// How far a request's date may be from the server's clock, both ways (S3 reference, `RequestTimeTooSkewed`).
pub const MAX_SKEW: Duration = Duration::from_mins(15);
/// The longest life of a V4 presigned URL.
pub const MAX_PRESIGNED: Duration = Duration::from_hours(7 * 24);

/// A request without its body, as it came from the wire.
///
/// HTTP/2 has no `Host` header: the caller puts the `:authority` in its place before asking.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a http::Method,
    /// The path as sent: still percent-encoded, never normalised.
    pub path: &'a str,
    /// The query as sent, without its question mark; empty where there is none.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a http::HeaderMap,
    /// The bucket that the `Host` header names; `None` for path-style requests. V2 signs it as part of the path.
    pub virtual_bucket: Option<&'a str>,
    /// Whether TLS protects the connection.
    pub secure: bool,
}

/// What the operator decides about authentication, and the signing keys derived so far.
#[derive(Debug)]
pub struct AuthSettings {
    /// The region every scope must name; `None` accepts any (the original's behaviour).
    pub region: Option<String>,
    /// Whether signature version 2 is offered.
    pub sigv2: bool,
    /// How far in the future a V2 presigned URL may expire (`PRE_SIGN_URL_EXPIRY`).
    pub presign_v2_max: Duration,
    /// Signing keys of recent scopes.
    pub keys: SigningKeys,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self { region: None, sigv2: true, presign_v2_max: MAX_PRESIGNED, keys: SigningKeys::default() }
    }
}

/// How a request proved who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// It did not.
    Anonymous,
    /// `Authorization: AWS4-HMAC-SHA256 …`.
    HeaderV4,
    /// `X-Amz-Signature` and companions in the query.
    QueryV4,
    /// `Authorization: AWS …`.
    HeaderV2,
    /// `Signature`, `Expires` and `AWSAccessKeyId` in the query.
    QueryV2,
}

/// A request that passed the gate.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who sent it.
    pub principal: Principal,
    /// How that was proved.
    pub scheme: Scheme,
    /// What the body must prove while it is read.
    pub payload: Payload,
}

/// Decides who sent a request.
///
/// # Errors
/// Every way in which credentials can be wrong has its own variant of [`AuthError`]. A request without any is
/// anonymous, which is no error.
pub fn authenticate(
    head: &RequestHead<'_>,
    accounts: &dyn Credentials,
    settings: &AuthSettings,
    now: Timestamp,
) -> Result<Authenticated, AuthError> {
    let gate = Gate { head, accounts, settings, now };
    let fields = query::AuthFields::read(head.query)?;
    let header = authorization(head.headers)?;
    match (header, fields.is_v4(), fields.is_v2()) {
        (None, false, false) => anonymous(head),
        (None, true, false) => presigned::authenticate(&gate, &fields),
        (None, false, true) => sigv2::authenticate_query(&gate, &fields),
        (Some(value), false, false) => by_header(&gate, value),
        _ => Err(AuthError::SeveralMechanisms),
    }
}

/// What every scheme needs to decide.
#[derive(Clone, Copy)]
struct Gate<'a> {
    head: &'a RequestHead<'a>,
    accounts: &'a dyn Credentials,
    settings: &'a AuthSettings,
    now: Timestamp,
}

impl Gate<'_> {
    /// What an access key stands for. A key without a secret is no key: anybody could sign with it.
    fn credential(&self, access_key: &str) -> Option<Credential> {
        find_credential(self.accounts, access_key)
    }
}

fn find_credential(accounts: &dyn Credentials, access_key: &str) -> Option<Credential> {
    accounts.find(access_key).filter(|credential| !credential.secret.expose_secret().is_empty())
}

/// The one `Authorization` header. An empty one counts as none, as in the original.
fn authorization(headers: &http::HeaderMap) -> Result<Option<&http::HeaderValue>, AuthError> {
    let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(AuthError::SeveralMechanisms),
        (Some(value), None) if !value.as_bytes().trim_ascii().is_empty() => Ok(Some(value)),
        (_, None) => Ok(None),
    }
}

fn by_header(gate: &Gate<'_>, value: &http::HeaderValue) -> Result<Authenticated, AuthError> {
    let text = value.to_str().map_err(|_| AuthError::UnsupportedAuthorization { scheme: String::new() })?;
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
    match scheme {
        "AWS4-HMAC-SHA256" if !rest.is_empty() => sigv4::authenticate(gate, rest),
        "AWS" if !rest.is_empty() => sigv2::authenticate_header(gate, rest),
        _ => Err(AuthError::UnsupportedAuthorization { scheme: scheme.to_owned() }),
    }
}

fn anonymous(head: &RequestHead<'_>) -> Result<Authenticated, AuthError> {
    if query::has_response_override(head) {
        return Err(AuthError::AnonymousOverride);
    }
    let payload = payload::without_signing_key(head.headers)?;
    Ok(Authenticated { principal: Principal::anonymous(), scheme: Scheme::Anonymous, payload })
}
