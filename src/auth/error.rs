//! Why a request's credentials are refused.

use std::fmt;

use thiserror::Error;

use super::query::InvalidEscape;
use crate::types::Timestamp;

/// One variant per answer that S3 distinguishes; the text of each is the `Message` of the answer.
///
/// The S3 code and the extra XML elements stand at each variant. Nothing in here is secret, except what the client
/// itself put into the request; `Debug` keeps that short.
#[derive(Debug, Error)]
pub enum AuthError {
    /// 400 `InvalidArgument`, `ArgumentName` `Authorization`: credentials in header and query, twice in the header,
    /// or of two versions in the query.
    #[error(
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter \
         or the Authorization header should be specified"
    )]
    SeveralMechanisms,
    /// 400 `InvalidArgument`, `ArgumentName` `Authorization`, `ArgumentValue` the scheme.
    #[error("Unsupported Authorization Type")]
    UnsupportedAuthorization {
        /// The first word of the header.
        scheme: String,
    },
    /// 400 `InvalidArgument`, `ArgumentName` `Authorization`: a V2 header without its colon.
    #[error("AWS authorization header is invalid.  Expected AwsAccessKeyId:signature")]
    MalformedV2Header,
    /// 400 `AuthorizationHeaderMalformed`, `Region` where given.
    #[error("The authorization header is malformed; {reason}")]
    MalformedHeader {
        /// What is wrong.
        reason: String,
        /// The region to use instead.
        region: Option<String>,
    },
    /// 400 `AuthorizationQueryParametersError`, `Region` where given.
    #[error("{reason}")]
    QueryParameters {
        /// What is wrong.
        reason: String,
        /// The region to use instead.
        region: Option<String>,
    },
    /// 400 `AuthorizationQueryParametersError`: `X-Amz-Expires` is a number, but none that a URL may have.
    #[error("{0}")]
    LifetimeOutOfRange(&'static str),
    /// 400 `InvalidArgument`, `ArgumentName` the name: a V2 parameter given twice, or once as header and once with
    /// another value as parameter.
    #[error("The parameter {0} was specified more than once")]
    RepeatedParameter(String),
    /// 400 `InvalidRequest`: V2 credentials while V2 is turned off.
    #[error("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")]
    SigV2NotOffered,
    /// 403 `AccessDenied`: no date, or one that is none.
    #[error("AWS authentication requires a valid Date or x-amz-date header")]
    MissingDate,
    /// 403 `RequestTimeTooSkewed`, `RequestTime`, `ServerTime`, `MaxAllowedSkewMilliseconds` 900000.
    #[error("The difference between the request time and the current time is too large.")]
    RequestTimeTooSkewed {
        /// The request's date as sent.
        request_time: String,
        /// The server's clock.
        server_time: Timestamp,
    },
    /// 403 `AccessDenied`, `X-Amz-Expires` (V4 only), `Expires`, `ServerTime`.
    #[error("Request has expired")]
    Expired {
        /// `X-Amz-Expires` in seconds; V2 has none.
        lifetime_seconds: Option<u64>,
        /// When the URL ceased to be valid.
        expires: Timestamp,
        /// The server's clock.
        server_time: Timestamp,
    },
    /// 403 `AccessDenied`, `X-Amz-Date`, `ServerTime`: a presigned URL from the future.
    #[error("Request is not valid yet")]
    NotYetValid {
        /// `X-Amz-Date` of the URL.
        request_time: Timestamp,
        /// The server's clock.
        server_time: Timestamp,
    },
    /// 403 `AccessDenied`: a V2 query with some of its three parameters missing.
    #[error("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")]
    MissingV2Parameters,
    /// 403 `AccessDenied`: `Expires` of V2 is no number of seconds.
    #[error("Invalid date (should be seconds since epoch): {0}")]
    InvalidV2Expires(String),
    /// 403 `AccessDenied`: a V2 URL that lives longer than the server allows (the original's rule).
    #[error("The URL expires later than this server allows")]
    LifetimeTooLong,
    /// 403 `InvalidAccessKeyId`, `AWSAccessKeyId`.
    #[error("The AWS Access Key Id you provided does not exist in our records.")]
    InvalidAccessKeyId(String),
    /// 403 `SignatureDoesNotMatch` with the fields of [`Mismatch`].
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing \
         method."
    )]
    SignatureMismatch(Box<Mismatch>),
    /// 403 `AccessDenied`, `HeadersNotSigned` (names joined by `, `).
    #[error("There were headers present in the request which were not signed")]
    HeadersNotSigned(Vec<String>),
    /// 400 `InvalidToken`: session tokens are of no use without a token service.
    #[error("The provided token is malformed or otherwise invalid.")]
    InvalidToken,
    /// 400 `InvalidRequest`: header credentials without `x-amz-content-sha256`.
    #[error("Missing required header for this request: x-amz-content-sha256")]
    MissingContentSha256,
    /// 400 `InvalidArgument`, `ArgumentName` `x-amz-content-sha256`, `ArgumentValue` the value.
    #[error(
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value."
    )]
    InvalidContentSha256(String),
    /// 400 `InvalidRequest`: chunk signatures announced by a request that has no V4 signature to start from.
    #[error(
        "Requests without a version 4 signature don't support this x-amz-content-sha256 value. Please use \
         UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER."
    )]
    SignedPayloadWithoutKey,
    /// 400 `InvalidRequest`: a V2 request with a parameter that its signature does not cover and that would change what
    /// it does.
    #[error("Signature version 2 does not cover the query parameter {0}. Please use AWS4-HMAC-SHA256.")]
    NotCoveredByV2(String),
    /// 501 `NotImplemented`: the asymmetric signatures of version 4A.
    #[error("Signature version 4A is not implemented. Please use AWS4-HMAC-SHA256.")]
    SigV4aNotOffered,
    /// 400 `InvalidRequest`: `response-*` parameters on an anonymous request.
    #[error("Request specific response headers cannot be used for anonymous GET requests.")]
    AnonymousOverride,
    /// 400 `InvalidURI`.
    #[error("Couldn't parse the specified URI.")]
    InvalidUri(#[from] InvalidEscape),
}

/// What the server made of a request whose signature does not match: invaluable for whoever writes a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// `AWSAccessKeyId`.
    pub access_key: String,
    /// `StringToSign`.
    pub string_to_sign: String,
    /// `SignatureProvided`.
    pub signature_provided: String,
    /// `CanonicalRequest`; V2 has none. May repeat customer keys from the client's own headers.
    pub canonical_request: Option<String>,
}

impl fmt::Debug for Mismatch {
    /// Without the canonical request and what V2 signs: they repeat headers, which may hold customer keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mismatch")
            .field("access_key", &self.access_key)
            .field("signature_provided", &self.signature_provided)
            .finish_non_exhaustive()
    }
}

impl AuthError {
    /// A malformed `Authorization` header, no better region known.
    pub(super) fn header(reason: impl Into<String>) -> Self {
        Self::MalformedHeader { reason: reason.into(), region: None }
    }

    /// Malformed presigned parameters, no better region known.
    pub(super) fn query(reason: impl Into<String>) -> Self {
        Self::QueryParameters { reason: reason.into(), region: None }
    }
}
