//! Signatures: version 4 by AWS's own signer, version 2 and chunks after the S3 reference.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use cloudserver::types::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::wire::Request;

/// An access key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Key {
    pub(crate) fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned() }
    }
}

/// How a request proves who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Anonymous,
    HeaderV4,
    QueryV4,
    HeaderV2,
    QueryV2,
}

/// What a signature is made with.
#[derive(Clone, Debug)]
pub(crate) struct Signing {
    pub(crate) key: Key,
    pub(crate) time: Timestamp,
    pub(crate) region: String,
    /// How long a signed query is valid.
    pub(crate) lifetime: Duration,
}

const KEY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const VALUE: AsciiSet = KEY.add(b'/');

/// A key as it stands in a path.
pub(crate) fn escape_key(key: &str) -> String {
    utf8_percent_encode(key, &KEY).to_string()
}

/// A value as it stands in a query.
pub(crate) fn escape_value(value: &str) -> String {
    utf8_percent_encode(value, &VALUE).to_string()
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Signing {
    /// Signs `request` with version 4, in a header or in the query. `hash` is what its `x-amz-content-sha256` says.
    pub(crate) fn v4(&self, request: &mut Request, hash: &str, location: SignatureLocation) {
        let identity = Credentials::new(&self.key.id, &self.key.secret, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.signature_location = location;
        settings.expires_in = (location == SignatureLocation::QueryParams).then_some(self.lifetime);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(UNIX_EPOCH + Duration::from_secs(self.time.as_secs()))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let body = match hash {
            "UNSIGNED-PAYLOAD" => SignableBody::UnsignedPayload,
            other => SignableBody::Precomputed(other.to_owned()),
        };
        let url = format!("http://{}{}", request.header("host").unwrap(), request.target);
        let headers: Vec<(String, String)> =
            request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(&request.method, url, headers, body).unwrap();
        let (added, _) = sign(signable, &params).unwrap().into_parts();
        let (headers, query) = added.into_parts();
        for header in headers {
            request.set(header.name(), header.value());
        }
        for (name, value) in query {
            request.and(&format!("{name}={}", escape_value(&value)));
        }
    }

    /// Signs `request` with version 2 in its header.
    pub(crate) fn header_v2(&self, request: &mut Request) {
        request.set("date", &self.time.to_http_date());
        let date = self.time.to_http_date();
        let signature = self.v2(request, &date);
        request.set("authorization", &format!("AWS {}:{signature}", self.key.id));
    }

    /// Signs `request` with version 2 in its query.
    pub(crate) fn query_v2(&self, request: &mut Request) {
        let expires = self.time.plus(self.lifetime).as_secs().to_string();
        let signature = self.v2(request, &expires);
        let id = escape_value(&self.key.id);
        request.and(&format!("AWSAccessKeyId={id}&Expires={expires}&Signature={}", escape_value(&signature)));
    }

    /// S3 reference, "Signing and authenticating REST requests".
    fn v2(&self, request: &Request, date: &str) -> String {
        let header = |name: &str| request.header(name).unwrap_or_default();
        let mut text = format!("{}\n{}\n{}\n{date}\n", request.method, header("content-md5"), header("content-type"));
        let mut amz: Vec<(String, &String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| name.starts_with("x-amz-"))
            .collect();
        // By name alone: `a-b` stands before `a-b-c`, though `-` sorts before `:`.
        amz.sort();
        text.extend(amz.into_iter().map(|(name, value)| format!("{name}:{}\n", value.trim())));
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        text.push_str(path);
        let mut signed: Vec<String> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if SIGNED_V2.contains(&name) || name.starts_with("response-") {
                let value = percent_decode_str(value).decode_utf8_lossy();
                signed.push(if value.is_empty() { name.to_owned() } else { format!("{name}={value}") });
            }
        }
        signed.sort();
        if !signed.is_empty() {
            text.push('?');
            text.push_str(&signed.join("&"));
        }
        let mut mac = Hmac::<Sha1>::new_from_slice(self.key.secret.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        BASE64_STANDARD.encode(mac.finalize().into_bytes())
    }
}

/// Parameters that version 2 signs.
pub(crate) const SIGNED_V2: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "cors",
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
    "restore",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Signs the chunks of a body, each after the one before.
#[derive(Clone, Debug)]
pub(crate) struct ChunkSigner {
    key: Vec<u8>,
    date: String,
    scope: String,
    pub(crate) previous: String,
}

impl ChunkSigner {
    /// Goes on from the signature in a request's header.
    pub(crate) fn of(signing: &Signing, request: &Request) -> Self {
        let authorization = request.header("authorization").unwrap();
        let seed = authorization.rsplit_once("Signature=").unwrap().1.to_owned();
        let date = request.header("x-amz-date").unwrap().to_owned();
        let scope = format!("{}/{}/s3/aws4_request", &date[..8], signing.region);
        let time = UNIX_EPOCH + Duration::from_secs(signing.time.as_secs());
        let key = v4::generate_signing_key(&signing.key.secret, time, &signing.region, "s3");
        Self { key: key.as_ref().to_vec(), date, scope, previous: seed }
    }

    /// The signature of the next chunk.
    pub(crate) fn chunk(&mut self, data: &[u8]) -> String {
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{}\n{}",
            self.date,
            self.scope,
            self.previous,
            sha256_hex(b""),
            sha256_hex(data)
        );
        self.next(&text)
    }

    /// The signature of the trailer, whose lines are `name:value\n`.
    pub(crate) fn trailer(&mut self, lines: &str) -> String {
        let text = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.date,
            self.scope,
            self.previous,
            sha256_hex(lines.as_bytes())
        );
        self.next(&text)
    }

    fn next(&mut self, text: &str) -> String {
        self.previous = v4::calculate_signature(&self.key, text.as_bytes());
        self.previous.clone()
    }
}
