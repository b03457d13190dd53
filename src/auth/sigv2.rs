//! Signature version 2, in the `Authorization` header and in the query.
//!
//! Rules: S3 reference, "Signing and authenticating REST requests". HMAC-SHA1 over a few headers; kept for old
//! clients, and only while the operator offers it.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::{
    AuthError, Authenticated, Gate, Mismatch, Principal, Scheme,
    date::{RequestDate, X_AMZ_DATE},
    payload,
    query::{AuthFields, InvalidEscape, Part, decode, decode_text, is_amz, raw_pairs},
};
use crate::types::{Timestamp, sub_resource::SUB_RESOURCES};

/// Decides about a request whose `Authorization` header is `AWS {text}`.
pub(super) fn authenticate_header(gate: &Gate<'_>, text: &str) -> Result<Authenticated, AuthError> {
    refuse_unless_offered(gate)?;
    let headers = gate.head.headers;
    let (access_key, signature) = text.trim().rsplit_once(':').ok_or(AuthError::MalformedV2Header)?;
    if access_key.is_empty() {
        return Err(AuthError::MalformedV2Header);
    }
    RequestDate::read(headers)?.check_skew(gate.now)?;
    // With x-amz-date the date is among the amz headers, and its own line stays empty.
    let date = if headers.contains_key(X_AMZ_DATE) { Vec::new() } else { joined(headers, "date") };
    verify(gate, &Claim { access_key, signature, date: &date, in_query: false })
}

/// Decides about a request whose query carries `fields`.
pub(super) fn authenticate_query(gate: &Gate<'_>, fields: &AuthFields<'_>) -> Result<Authenticated, AuthError> {
    refuse_unless_offered(gate)?;
    if let Some(name) = &fields.repeated {
        return Err(AuthError::RepeatedParameter(name.clone()));
    }
    let (Some(access_key), Some(signature), Some(expires)) =
        (fields.v2_access_key.as_deref(), fields.v2_signature.as_deref(), fields.v2_expires.as_deref())
    else {
        return Err(AuthError::MissingV2Parameters);
    };
    if fields.security_token.is_some() {
        return Err(AuthError::InvalidToken);
    }
    check_expiry(gate, expires)?;
    verify(gate, &Claim { access_key, signature, date: expires.as_bytes(), in_query: true })
}

fn refuse_unless_offered(gate: &Gate<'_>) -> Result<(), AuthError> {
    if gate.settings.sigv2 { Ok(()) } else { Err(AuthError::SigV2NotOffered) }
}

/// `Expires` is an absolute time in seconds.
fn check_expiry(gate: &Gate<'_>, text: &str) -> Result<(), AuthError> {
    let seconds = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = seconds.and_then(|text| text.parse().ok());
    let expires = Timestamp::from_secs(seconds.ok_or_else(|| AuthError::InvalidV2Expires(text.to_owned()))?);
    if gate.now >= expires {
        return Err(AuthError::Expired { lifetime_seconds: None, expires, server_time: gate.now });
    }
    if expires > gate.now.plus(gate.settings.presign_v2_max) {
        return Err(AuthError::LifetimeTooLong);
    }
    Ok(())
}

struct Claim<'a> {
    access_key: &'a str,
    /// Base64.
    signature: &'a str,
    /// The date line: `Date`, nothing, or `Expires`.
    date: &'a [u8],
    in_query: bool,
}

/// Finds out whether the holder of the access key's secret signed this request; unknown keys cost the same.
fn verify(gate: &Gate<'_>, claim: &Claim<'_>) -> Result<Authenticated, AuthError> {
    if gate.head.headers.contains_key("x-amz-security-token") {
        return Err(AuthError::InvalidToken);
    }
    let payload = payload::without_signing_key(gate.head.headers)?;
    let text = string_to_sign(gate, claim, gate.head.path)?;
    let credential = gate.credential(claim.access_key);
    let secret = credential.as_ref().map(|credential| &*credential.secret);
    let is_signature_of = |text: &[u8]| bool::from(sign(secret, text).as_bytes().ct_eq(claim.signature.as_bytes()));
    let matches = is_signature_of(&text) || is_signature_of(&string_to_sign(gate, claim, &slashed(gate.head))?);
    match credential {
        None => Err(AuthError::InvalidAccessKeyId(claim.access_key.to_owned())),
        Some(credential) if matches => {
            refuse_uncovered(gate.head.query, claim.in_query)?;
            Ok(Authenticated {
                principal: Principal::verified(claim.access_key, &credential),
                scheme: if claim.in_query { Scheme::QueryV2 } else { Scheme::HeaderV2 },
                payload,
            })
        }
        Some(_) => Err(AuthError::SignatureMismatch(Box::new(Mismatch {
            access_key: claim.access_key.to_owned(),
            string_to_sign: String::from_utf8_lossy(&text).into_owned(),
            signature_provided: claim.signature.to_owned(),
            canonical_request: None,
        }))),
    }
}

/// Whoever saw a signed request must not make another one of it: refuses parameters that the operation would act on and
/// that were not signed. Those are sub-resources younger than this version, and beside a signed header everything that
/// stands for a header of its own.
fn refuse_uncovered(query: &str, in_query: bool) -> Result<(), AuthError> {
    for (name, _) in raw_pairs(query) {
        let name = decode_text(name, Part::Query)?;
        let names_other = SUB_RESOURCES.contains(&&*name) && !is_signed_parameter(name.as_bytes());
        if names_other || (!in_query && is_amz(&name)) {
            return Err(AuthError::NotCoveredByV2(name.into_owned()));
        }
    }
    Ok(())
}

/// What is signed is lines of text: a value with a line break, or a name with more than a name has, could stand for
/// other lines.
fn refuse_breaks(value: &[u8]) -> Result<(), AuthError> {
    if value.iter().any(u8::is_ascii_control) { Err(AuthError::InvalidUri(InvalidEscape)) } else { Ok(()) }
}

/// The path as botocore and its kin sign it: a bucket alone has a slash behind it, whether or not it is sent.
fn slashed<'a>(head: &super::RequestHead<'a>) -> Cow<'a, str> {
    match head.path.strip_prefix('/') {
        Some(bucket) if !bucket.is_empty() && !bucket.contains('/') && head.virtual_bucket.is_none() => {
            Cow::Owned(format!("/{bucket}/"))
        }
        _ => Cow::Borrowed(head.path),
    }
}

/// The signature of `text` in base64. No secret means an unknown access key: the work is done all the same.
pub(super) fn sign(secret: Option<&SecretString>, text: &[u8]) -> String {
    let secret = secret.map_or("", ExposeSecret::expose_secret).as_bytes();
    // RFC 2104: keys are padded to the block, longer ones hashed first.
    let mut block = Zeroizing::new([0; 64]);
    let digest: [u8; 20];
    let short = if secret.len() > block.len() {
        digest = Sha1::digest(secret).into();
        &digest
    } else {
        secret
    };
    for (slot, byte) in block.iter_mut().zip(short) {
        *slot = *byte;
    }
    let mut mac = Hmac::<Sha1>::new(&(*block).into());
    mac.update(text);
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// Method, `Content-MD5`, `Content-Type`, date, amz headers, resource.
fn string_to_sign(gate: &Gate<'_>, claim: &Claim<'_>, path: &str) -> Result<Vec<u8>, AuthError> {
    let head = gate.head;
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b'\n');
    for name in ["content-md5", "content-type"] {
        let value = joined(head.headers, name);
        if value.is_empty() && claim.in_query {
            let value = parameter(head.query, name)?;
            refuse_breaks(value.as_bytes())?;
            out.extend_from_slice(value.as_bytes());
        } else {
            out.extend_from_slice(&value);
        }
        out.push(b'\n');
    }
    out.extend_from_slice(claim.date);
    out.push(b'\n');
    push_amz_headers(&mut out, gate, claim)?;
    if let Some(bucket) = head.virtual_bucket {
        out.push(b'/');
        out.extend_from_slice(bucket.as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    push_sub_resources(&mut out, head.query)?;
    Ok(out)
}

/// The value of a parameter named like a header, in any case: presigned URLs may carry it instead.
fn parameter<'a>(query: &'a str, name: &str) -> Result<Cow<'a, str>, InvalidEscape> {
    let found = raw_pairs(query).find(|(sent, _)| sent.eq_ignore_ascii_case(name));
    decode_text(found.map_or("", |(_, value)| value), Part::Query)
}

/// The values of a header, trimmed and joined by commas.
fn joined(headers: &HeaderMap, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, value) in headers.get_all(name).iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(value.as_bytes().trim_ascii());
    }
    out
}

/// `x-amz-*` headers, and in presigned URLs the parameters of such names, which act like headers; sorted.
fn push_amz_headers(out: &mut Vec<u8>, gate: &Gate<'_>, claim: &Claim<'_>) -> Result<(), AuthError> {
    let headers = gate.head.headers;
    let mut lines: Vec<(Cow<'_, str>, Vec<u8>)> = Vec::new();
    for name in headers.keys().map(http::HeaderName::as_str).filter(|name| is_amz(name)) {
        lines.push((Cow::Borrowed(name), joined(headers, name)));
    }
    if claim.in_query {
        for (name, value) in raw_pairs(gate.head.query) {
            let name = decode_text(name, Part::Query)?;
            if !is_amz(&name) {
                continue;
            }
            let name = name.to_ascii_lowercase();
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(AuthError::InvalidUri(InvalidEscape));
            }
            let value = decode(value, Part::Query)?.trim_ascii().to_vec();
            refuse_breaks(&value)?;
            match lines.iter().find(|(known, _)| *known == name) {
                None => lines.push((Cow::Owned(name), value)),
                Some((_, known)) if *known == value => {}
                Some(_) => return Err(AuthError::RepeatedParameter(name)),
            }
        }
    }
    lines.sort_unstable();
    for (name, value) in lines {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        out.extend_from_slice(&value);
        out.push(b'\n');
    }
    Ok(())
}

/// The parameters that V2 signs, sorted: sub-resources, versions, parts and overrides of response headers. These are what
/// clients sign; no more can be added. Sub-resources that are missing here are refused, see [`refuse_uncovered`].
const SIGNED_PARAMETERS: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

fn is_signed_parameter(name: &[u8]) -> bool {
    SIGNED_PARAMETERS.iter().any(|known| known.as_bytes() == name)
}

/// Values are signed decoded.
fn push_sub_resources(out: &mut Vec<u8>, query: &str) -> Result<(), AuthError> {
    let mut pairs = Vec::new();
    for (name, value) in raw_pairs(query) {
        let name = decode(name, Part::Query)?;
        if is_signed_parameter(&name) {
            let value = decode(value, Part::Query)?;
            refuse_breaks(&value)?;
            refuse_ambiguous(&value)?;
            pairs.push((name, value));
        }
    }
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        out.extend_from_slice(name);
        if !value.is_empty() {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    Ok(())
}

/// Because values are signed decoded, `partNumber=1%26uploadId%3Dx` and `partNumber=1&uploadId=x` have one signature:
/// a value that reads like further signed parameters is refused, else one request could pass for another.
fn refuse_ambiguous(value: &[u8]) -> Result<(), AuthError> {
    let name = |piece: &[u8]| piece.split(|byte| *byte == b'=').next().is_some_and(is_signed_parameter);
    if value.split(|byte| *byte == b'&').skip(1).any(name) {
        return Err(AuthError::RepeatedParameter(String::from_utf8_lossy(value).into_owned()));
    }
    Ok(())
}
