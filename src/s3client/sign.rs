//! Signatures, by the signer that Amazon publishes.

use std::time::{Duration, UNIX_EPOCH};

use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, Request, Uri, header};

use super::{Call, Credentials, Endpoint, S3ClientError};
use crate::{
    outbound::Payload,
    types::{
        Timestamp,
        digest::{Digest, md5, sha256_hex},
    },
};

/// What a request for `call` is, signed for this moment.
pub(super) fn signed(
    endpoint: &Endpoint,
    credentials: &Credentials,
    now: Timestamp,
    call: &Call<'_>,
    payload: Payload,
) -> Result<Request<Payload>, S3ClientError> {
    let uri = endpoint.uri(call);
    let mut headers = call.headers.clone();
    headers.insert(header::HOST, value(&endpoint.host(call.bucket))?);
    let body = match &payload {
        Payload::Empty => SignableBody::Bytes(b""),
        Payload::Held(bytes) => {
            let mut digest = md5();
            digest.update(bytes);
            headers.insert("content-md5", value(&BASE64_STANDARD.encode(digest.finalize()))?);
            SignableBody::Precomputed(sha256_hex(bytes))
        }
        Payload::Stream { .. } => SignableBody::UnsignedPayload,
    };
    let identity = credentials.identity().into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&endpoint.region)
        .name("s3")
        .time(UNIX_EPOCH + Duration::from_secs(now.as_secs()))
        .settings(settings)
        .build()
        .map_err(unsignable)?
        .into();
    let texts = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new(call.method.as_str(), uri.as_str(), texts, body).map_err(unsignable)?;
    let (instructions, _) = sign(signable, &params).map_err(unsignable)?.into_parts();
    let (added, _) = instructions.into_parts();
    for header in added {
        let name = HeaderName::from_bytes(header.name().as_bytes()).map_err(unsignable)?;
        let mut value = value(header.value())?;
        value.set_sensitive(header.sensitive());
        headers.insert(name, value);
    }
    let mut request = Request::new(payload);
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = uri.parse::<Uri>().map_err(unsignable)?;
    *request.headers_mut() = headers;
    Ok(request)
}

fn value(text: &str) -> Result<HeaderValue, S3ClientError> {
    HeaderValue::from_str(text).map_err(unsignable)
}

fn unsignable(error: impl std::fmt::Display) -> S3ClientError {
    S3ClientError::Answer(format!("the request cannot be made: {error}"))
}
