//! Processor time of the authentication gate per request, on one thread.
//!
//! `cargo bench --bench auth`; nothing but the gate runs: no sockets, no storage.
#![expect(clippy::print_stdout, reason = "the figures are the product")]

use std::{
    error::Error,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use cloudserver::{
    auth::{AuthSettings, Credential, Credentials, RequestHead, authenticate},
    types::{AccountId, Timestamp},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What SDKs escape in values.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const NOW: u64 = 1_790_000_000;
const ROUNDS: u32 = 200_000;

#[derive(Debug)]
struct OneAccount(Credential);

impl Credentials for OneAccount {
    fn find(&self, access_key: &str) -> Option<Credential> {
        (access_key == "accessKey1").then(|| self.0.clone())
    }
}

struct Request {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
}

/// A request as current SDKs send it, signed by AWS's own signer.
fn signed(method: Method, path: &str, query: &str, presign: bool) -> Result<Request, Box<dyn Error>> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "localhost:8000"),
        ("x-amz-checksum-crc32", "4TVMzQ=="),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("amz-sdk-invocation-id", "4b6c8f0e-7f0b-4c26-9bcb-3a5c1b9f0b9a"),
        ("amz-sdk-request", "attempt=1"),
        ("user-agent", "aws-sdk-rust/1.3 os/linux lang/rust/1.95"),
        ("content-length", "4096"),
        ("content-type", "binary/octet-stream"),
    ] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let identity = aws_credential_types::Credentials::new("accessKey1", "verySecretKey1", None, None, "bench").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if presign {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_hours(1));
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(UNIX_EPOCH + Duration::from_secs(NOW))
        .settings(settings)
        .build()?
        .into();
    let plain = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let url = format!("http://localhost:8000{path}?{query}");
    let body = if presign { SignableBody::UnsignedPayload } else { SignableBody::Bytes(b"body") };
    let (added, _) = sign(SignableRequest::new(method.as_str(), url, plain, body)?, &params)?.into_parts();
    let (added, parameters) = added.into_parts();
    let mut query = query.to_owned();
    for (name, value) in parameters {
        let value = utf8_percent_encode(&value, ESCAPED);
        query = format!("{query}&{name}={value}");
    }
    for header in added {
        headers.append(HeaderName::from_static(header.name()), header.value().parse()?);
    }
    Ok(Request { method, path: path.to_owned(), query, headers })
}

fn measure(name: &str, request: &Request) -> Result<(), Box<dyn Error>> {
    let accounts = OneAccount(Credential {
        account: AccountId::new("79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"),
        display_name: Arc::from("Bart"),
        arn: Arc::from("arn:aws:iam::123456789012:root"),
        user: None,
        secret: Arc::new("verySecretKey1".into()),
    });
    let head = RequestHead {
        method: &request.method,
        path: &request.path,
        query: &request.query,
        headers: &request.headers,
        virtual_bucket: None,
        secure: false,
    };
    let settings = AuthSettings::default();
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(authenticate(black_box(&head), &accounts, &settings, Timestamp::from_secs(NOW))?);
        }
        best = best.min(start.elapsed() / ROUNDS);
    }
    println!("{name:32} {:>8.2} µs", best.as_secs_f64() * 1e6);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let key = "/bucket/photos/2026/01/holiday-0001.jpg";
    measure("V4 header, PUT", &signed(Method::PUT, key, "", false)?)?;
    let list = "list-type=2&prefix=photos%2F2026%2F&delimiter=%2F&max-keys=1000&encoding-type=url";
    measure("V4 header, list", &signed(Method::GET, "/bucket", list, false)?)?;
    measure("V4 presigned, GET", &signed(Method::GET, key, "", true)?)?;
    let anonymous = Request { method: Method::GET, path: key.into(), query: String::new(), headers: HeaderMap::new() };
    measure("anonymous GET", &anonymous)
}
