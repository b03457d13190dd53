//! The body of a request, not yet polled: the first poll makes the client send it.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hyper::body::Incoming;

use super::{
    body::{ChunkVerifier, Encoding, Intake, LARGEST_PUT, Plan},
    codes::S3Code,
    error::{S3Error, S3Result},
    head::Head,
};
use crate::{
    auth::{ChunkSigner, Payload},
    types::{BodyError, Checksum, ChecksumAlgorithm, Dialect, IncomingBody},
};

/// What the client's checksum headers say.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// The algorithm, from a value, a trailer or `x-amz-sdk-checksum-algorithm`.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// A value in a header.
    pub value: Option<Checksum>,
    /// A value to come in the trailer.
    pub trailer: Option<ChecksumAlgorithm>,
}

/// The body of a request, with what authentication found out about it.
pub struct RequestBody {
    incoming: Incoming,
    payload: Payload,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("payload", &self.payload).finish_non_exhaustive()
    }
}

impl ChunkVerifier for ChunkSigner {
    fn seed(&self) -> &str {
        Self::seed(self)
    }

    fn chunk(&self, previous: &str, sha256_hex: &str) -> String {
        Self::chunk(self, previous, sha256_hex)
    }

    fn trailer(&self, previous: &str, sha256_hex: &str) -> String {
        Self::trailer(self, previous, sha256_hex)
    }
}

impl RequestBody {
    /// A body as the listener has it.
    pub fn new(incoming: Incoming, payload: Payload) -> Self {
        Self { incoming, payload }
    }

    /// The body of an object or part. `store` is the checksum to compute where the client chose none.
    ///
    /// # Errors
    /// `MissingContentLength`, `EntityTooLarge`, and those of [`Declared::read`]; nothing is polled yet.
    pub fn object(self, head: &Head, intake: &Intake, store: Option<ChecksumAlgorithm>) -> S3Result<IncomingBody> {
        let declared = Declared::read(head)?;
        let length = payload_length(head, &self.payload)?;
        if let Some(length) = length.filter(|length| *length > LARGEST_PUT) {
            return Err(S3Error::from(S3Code::EntityTooLarge)
                .with("ProposedSize", length.to_string())
                .with("MaxSizeAllowed", LARGEST_PUT.to_string()));
        }
        let mut plan = self.plan(head, &declared)?;
        plan.length = length;
        plan.store = declared.algorithm.or(store).unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        Ok(intake.accept(self.incoming_with(&mut plan), plan))
    }

    /// A document, read whole. `digest` says whether S3 demands a digest of it.
    ///
    /// # Errors
    /// `MissingRequestBodyError` for an empty one, `MaxMessageLengthExceeded` beyond `limit` bytes.
    pub async fn document(self, head: &Head, intake: &Intake, limit: usize, digest: Digest) -> S3Result<Bytes> {
        let bytes = self.optional_document(head, intake, limit, digest).await?;
        if bytes.is_empty() { Err(S3Code::MissingRequestBodyError.into()) } else { Ok(bytes) }
    }

    /// As [`RequestBody::document`]; an empty body is fine.
    pub async fn optional_document(
        self,
        head: &Head,
        intake: &Intake,
        limit: usize,
        digest: Digest,
    ) -> S3Result<Bytes> {
        let declared = Declared::read(head)?;
        let plan = self.plan(head, &declared)?;
        if digest == Digest::Required && plan.md5.is_none() && declared.algorithm.is_none() {
            return Err(S3Error::request("Missing required header for this request: Content-MD5 OR x-amz-checksum-*"));
        }
        intake.collect_document(self.incoming, plan, limit).await.map_err(|e| match e {
            BodyError::TooLarge { .. } => S3Code::MaxMessageLengthExceeded.into(),
            other => other.into(),
        })
    }

    /// The body of a browser's form, for a reader of its own.
    ///
    /// # Errors
    /// `InvalidRequest` for a promise about the payload: a form is not read to its end, so none could be checked.
    pub fn form(self) -> S3Result<Incoming> {
        match self.payload {
            Payload::Unsigned => Ok(self.incoming),
            Payload::Sha256(_) | Payload::StreamingUnsignedTrailer | Payload::StreamingSigned { .. } => {
                Err(S3Error::request("Forms do not support x-amz-content-sha256. Please use UNSIGNED-PAYLOAD."))
            }
        }
    }

    /// A document whose checksum headers speak of something else; the payload hash and `Content-MD5` are checked.
    pub async fn document_about_checksums(self, head: &Head, intake: &Intake, limit: usize) -> S3Result<Bytes> {
        let sha256 = if let Payload::Sha256(digest) = &self.payload { Some(*digest) } else { None };
        let plan = Plan { md5: content_md5(head)?, sha256, ..Plan::default() };
        intake.collect_document(self.incoming, plan, limit).await.map_err(|e| match e {
            BodyError::TooLarge { .. } => S3Code::MaxMessageLengthExceeded.into(),
            other => other.into(),
        })
    }

    fn plan(&self, head: &Head, declared: &Declared) -> S3Result<Plan> {
        let sha256 = if let Payload::Sha256(digest) = &self.payload { Some(*digest) } else { None };
        Ok(Plan {
            md5: content_md5(head)?,
            sha256,
            checksum: declared.value.clone(),
            trailer: declared.trailer,
            ..Plan::default()
        })
    }

    fn incoming_with(self, plan: &mut Plan) -> Incoming {
        plan.encoding = match self.payload {
            Payload::Unsigned | Payload::Sha256(_) => Encoding::Plain,
            Payload::StreamingUnsignedTrailer => Encoding::ChunkedUnsigned,
            Payload::StreamingSigned { signer, trailer: false } => Encoding::ChunkedSigned(Box::new(signer)),
            Payload::StreamingSigned { signer, trailer: true } => Encoding::ChunkedSignedTrailer(Box::new(signer)),
        };
        self.incoming
    }
}

/// Whether a document needs a digest (model trait `requestChecksumRequired`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// `Content-MD5` or a checksum must come.
    Required,
    /// One that comes is checked.
    Optional,
}

impl Declared {
    /// Reads the checksum headers.
    ///
    /// # Errors
    /// `InvalidRequest` for several values, a malformed value, an unknown algorithm, or an announced algorithm
    /// without its value.
    pub fn read(head: &Head) -> S3Result<Self> {
        let mut values = Vec::new();
        for algorithm in ChecksumAlgorithm::ALL {
            if let Some(text) = head.header(algorithm.header()) {
                values.push((algorithm, text));
            }
        }
        if values.len() > 1 {
            return Err(S3Error::request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        let value = match values.first() {
            None => None,
            Some((algorithm, text)) => {
                Some(Checksum::parse(*algorithm, text).map_err(|_| malformed_checksum(*algorithm, head.dialect))?)
            }
        };
        let trailer = announced_trailer(head)?;
        if value.is_some() && trailer.is_some() {
            return Err(S3Error::request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        let given = value.as_ref().map(|value| value.algorithm).or(trailer);
        let announced = match head.header("x-amz-sdk-checksum-algorithm") {
            None => None,
            Some(name) => Some(
                ChecksumAlgorithm::parse(name)
                    .ok_or_else(|| S3Error::request("Value for x-amz-sdk-checksum-algorithm header is invalid."))?,
            ),
        };
        if let Some(announced) = announced
            && given != Some(announced)
        {
            return Err(S3Error::request(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
            ));
        }
        Ok(Self { algorithm: given, value, trailer })
    }
}

/// A value that no checksum of this algorithm has.
pub fn malformed_checksum(algorithm: ChecksumAlgorithm, dialect: Dialect) -> S3Error {
    let error = S3Error::request(format!("Value for {} header is invalid.", algorithm.header()));
    // To Ceph it is a checksum like any other, and does not fit the bytes.
    error.under(dialect.pick(S3Code::InvalidRequest, S3Code::BadDigest))
}

fn announced_trailer(head: &Head) -> S3Result<Option<ChecksumAlgorithm>> {
    match head.header("x-amz-trailer") {
        None | Some("") => Ok(None),
        Some(name) => ChecksumAlgorithm::from_header(&name.to_ascii_lowercase())
            .map(Some)
            .ok_or_else(|| S3Error::request("The value specified in the x-amz-trailer header is not supported")),
    }
}

fn content_md5(head: &Head) -> S3Result<Option<[u8; 16]>> {
    let Some(value) = head.headers.get("content-md5") else { return Ok(None) };
    let digest = BASE64_STANDARD.decode(value.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    digest.map(Some).ok_or_else(|| S3Code::InvalidDigest.into())
}

/// Payload bytes announced.
///
/// # Errors
/// `MissingContentLength` without any announcement of where the body ends.
fn payload_length(head: &Head, payload: &Payload) -> S3Result<Option<u64>> {
    let streaming = !matches!(payload, Payload::Unsigned | Payload::Sha256(_));
    if streaming {
        let decoded = head.header("x-amz-decoded-content-length").and_then(|text| text.parse().ok());
        return decoded.map(Some).ok_or_else(|| S3Code::MissingContentLength.into());
    }
    if let Some(value) = head.headers.get(http::header::CONTENT_LENGTH) {
        let length = value.to_str().ok().and_then(|text| text.parse().ok());
        return length.map(Some).ok_or_else(|| S3Code::MissingContentLength.into());
    }
    let chunked = head.headers.contains_key(http::header::TRANSFER_ENCODING);
    if chunked { Ok(None) } else { Err(S3Code::MissingContentLength.into()) }
}
