//! Signature version 4 in the query: presigned URLs.
//!
//! Rules: S3 reference, "Authenticating Requests: Using Query Parameters".

use std::time::Duration;

use super::{
    AuthError, Authenticated, Gate, MAX_PRESIGNED, MAX_SKEW, Scheme,
    payload::{self, Declared, UNSIGNED},
    query::{AuthFields, Part, decode_text, is_amz, raw_pairs},
    sigv4::{Claim, Scope, SignedHeaders},
};
use crate::types::Timestamp;

/// Decides about a request whose query carries `fields`.
pub(super) fn authenticate(gate: &Gate<'_>, fields: &AuthFields<'_>) -> Result<Authenticated, AuthError> {
    refuse_repeated(gate.head.query, fields)?;
    let required = (
        fields.algorithm.as_deref(),
        fields.credential.as_deref(),
        fields.signature.as_deref(),
        fields.date.as_deref(),
        fields.signed_headers.as_deref(),
        fields.expires.as_deref(),
    );
    let (Some(algorithm), Some(credential), Some(signature), Some(date), Some(signed_headers), Some(expires)) =
        required
    else {
        return Err(AuthError::query(MISSING));
    };
    if algorithm != "AWS4-HMAC-SHA256" {
        return Err(AuthError::query("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let scope = Scope::parse(credential, gate.settings.region.as_deref()).map_err(AuthError::from_query)?;
    let time = Timestamp::parse_basic(date).ok_or_else(|| AuthError::query(BAD_DATE))?;
    if !date.starts_with(scope.date) {
        return Err(AuthError::query(scope.other_day(date)));
    }
    check_lifetime(time, lifetime(expires)?, gate.now)?;
    let signed =
        SignedHeaders::parse(signed_headers).ok_or_else(|| AuthError::query("X-Amz-SignedHeaders is mal-formed."))?;
    if fields.security_token.is_some() || gate.head.headers.contains_key("x-amz-security-token") {
        return Err(AuthError::InvalidToken);
    }
    let header = payload::header(gate.head.headers)?;
    let hash = match (fields.content_sha256.as_deref(), header) {
        (Some(query), Some(header)) if query != header => {
            return Err(AuthError::query("X-Amz-Content-Sha256 and the header of that name differ."));
        }
        (query, header) => query.or(header).unwrap_or(UNSIGNED),
    };
    let declared = Declared::parse(hash)?;
    let claim = Claim { scope, signed, signature, date, payload: hash, presigned: true };
    let (principal, key) = claim.verify(gate)?;
    let payload = declared.into_payload(|| claim.chunk_signer(key))?;
    Ok(Authenticated { principal, scheme: Scheme::QueryV4, payload })
}

const MISSING: &str = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
    X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
const BAD_DATE: &str = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"";

/// Parameters named `x-amz-*` act like headers, so two of one name leave open which one was meant.
fn refuse_repeated(query: &str, fields: &AuthFields<'_>) -> Result<(), AuthError> {
    let complaint = |name: &str| AuthError::query(format!("{name} was specified more than once"));
    if let Some(name) = &fields.repeated {
        return Err(complaint(name));
    }
    let mut names = Vec::with_capacity(12);
    for (name, _) in raw_pairs(query) {
        let name = decode_text(name, Part::Query)?;
        if is_amz(&name) {
            names.push(name.to_ascii_lowercase());
        }
    }
    names.sort_unstable();
    match names.array_windows().find(|[one, next]| one == next) {
        Some([name, _]) => Err(complaint(name)),
        None => Ok(()),
    }
}

/// `X-Amz-Expires`: how long the URL is valid.
fn lifetime(text: &str) -> Result<Duration, AuthError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthError::query("X-Amz-Expires should be a number"));
    }
    if digits.len() != text.len() {
        return Err(AuthError::LifetimeOutOfRange("X-Amz-Expires must be non-negative"));
    }
    let lifetime = text.parse().ok().map(Duration::from_secs).filter(|lifetime| *lifetime <= MAX_PRESIGNED);
    lifetime.ok_or(AuthError::LifetimeOutOfRange(
        "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
         604800 seconds",
    ))
}

/// Valid from its date, give or take the skew, until its lifetime is over; the past has no other limit.
fn check_lifetime(time: Timestamp, lifetime: Duration, now: Timestamp) -> Result<(), AuthError> {
    if time > now.plus(MAX_SKEW) {
        return Err(AuthError::NotYetValid { request_time: time, server_time: now });
    }
    let expires = time.plus(lifetime);
    if now >= expires {
        let lifetime_seconds = Some(lifetime.as_secs());
        return Err(AuthError::Expired { lifetime_seconds, expires, server_time: now });
    }
    Ok(())
}
