//! What a client is told when its credentials are refused.

use super::{codes::S3Code, error::S3Error};
use crate::{
    auth::{AuthError, MAX_SKEW},
    types::Dialect,
};

/// The S3 error of a refusal: code, elements and message stand at each variant of [`AuthError`].
pub(super) fn s3_error(e: AuthError, dialect: Dialect) -> S3Error {
    let message = e.to_string();
    let error = |code| S3Error::new(code, message.clone());
    match e {
        AuthError::SeveralMechanisms | AuthError::MalformedV2Header => {
            error(S3Code::InvalidArgument).with("ArgumentName", "Authorization")
        }
        AuthError::UnsupportedAuthorization { scheme } => {
            error(S3Code::InvalidArgument).with("ArgumentName", "Authorization").with("ArgumentValue", scheme)
        }
        AuthError::MalformedHeader { region, .. } => region_of(error(S3Code::AuthorizationHeaderMalformed), region),
        AuthError::QueryParameters { region, .. } => {
            region_of(error(S3Code::AuthorizationQueryParametersError), region)
        }
        // Ceph refuses a presigned URL of such a lifetime as it does one that is over.
        AuthError::LifetimeOutOfRange(_) => {
            error(dialect.pick(S3Code::AuthorizationQueryParametersError, S3Code::AccessDenied))
        }
        AuthError::RepeatedParameter(name) => error(S3Code::InvalidArgument).with("ArgumentName", name),
        AuthError::SigV2NotOffered
        | AuthError::MissingContentSha256
        | AuthError::SignedPayloadWithoutKey
        | AuthError::NotCoveredByV2(_)
        | AuthError::AnonymousOverride => error(S3Code::InvalidRequest),
        AuthError::MissingDate
        | AuthError::MissingV2Parameters
        | AuthError::InvalidV2Expires(_)
        | AuthError::LifetimeTooLong => error(S3Code::AccessDenied),
        AuthError::RequestTimeTooSkewed { request_time, server_time } => error(S3Code::RequestTimeTooSkewed)
            .with("RequestTime", request_time)
            .with("ServerTime", server_time.to_iso8601())
            .with("MaxAllowedSkewMilliseconds", MAX_SKEW.as_millis().to_string()),
        AuthError::Expired { lifetime_seconds, expires, server_time } => {
            let error = match lifetime_seconds {
                Some(seconds) => error(S3Code::AccessDenied).with("X-Amz-Expires", seconds.to_string()),
                None => error(S3Code::AccessDenied),
            };
            error.with("Expires", expires.to_iso8601()).with("ServerTime", server_time.to_iso8601())
        }
        AuthError::NotYetValid { request_time, server_time } => error(S3Code::AccessDenied)
            .with("X-Amz-Date", request_time.to_iso8601())
            .with("ServerTime", server_time.to_iso8601()),
        AuthError::InvalidAccessKeyId(id) => error(S3Code::InvalidAccessKeyId).with("AWSAccessKeyId", id),
        AuthError::SignatureMismatch(mismatch) => {
            let error = error(S3Code::SignatureDoesNotMatch)
                .with("AWSAccessKeyId", mismatch.access_key)
                .with("StringToSign", mismatch.string_to_sign)
                .with("SignatureProvided", mismatch.signature_provided);
            match mismatch.canonical_request {
                Some(request) => error.with("CanonicalRequest", request),
                None => error,
            }
        }
        AuthError::HeadersNotSigned(names) => error(S3Code::AccessDenied).with("HeadersNotSigned", names.join(", ")),
        AuthError::InvalidToken => S3Code::InvalidToken.into(),
        AuthError::InvalidContentSha256(value) => {
            error(S3Code::InvalidArgument).with("ArgumentName", "x-amz-content-sha256").with("ArgumentValue", value)
        }
        AuthError::SigV4aNotOffered => error(S3Code::NotImplemented),
        AuthError::InvalidUri(_) => error(S3Code::InvalidURI),
    }
}

fn region_of(error: S3Error, region: Option<String>) -> S3Error {
    match region {
        Some(region) => error.with("Region", region),
        None => error,
    }
}
