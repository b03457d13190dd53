//! The error a client sees, and how every layer's errors become one.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

use super::{
    ResponseBody,
    codes::S3Code,
    conditional::{IF_NEWEST, UNLESS_DELETED},
    reply,
    xml::{read::XmlError, write::XmlWriter},
};
use crate::{
    data::DataError,
    kms::KmsError,
    metadata::MetadataError,
    storage::{CompletionFault, FailedCondition, StorageError, lock::LockError, records::EncryptionMode},
    telemetry::RequestId,
    types::BodyError,
};

/// An error on its way to the client.
#[derive(Debug)]
pub struct S3Error {
    /// The code.
    pub code: S3Code,
    detail: Box<Detail>,
}

/// What is said besides the code. Boxed: results of all sizes carry errors.
#[derive(Debug, Default)]
struct Detail {
    message: Option<Cow<'static, str>>,
    fields: Vec<(&'static str, String)>,
    headers: HeaderMap,
    not_modified: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The protocol layer's results.
pub type S3Result<T> = Result<T, S3Error>;

impl From<S3Code> for S3Error {
    fn from(code: S3Code) -> Self {
        Self { code, detail: Box::default() }
    }
}

impl S3Error {
    /// An error with a message of its own.
    pub fn new(code: S3Code, message: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::from(code);
        error.detail.message = Some(message.into());
        error
    }

    /// 400 `InvalidArgument`, naming the argument.
    pub fn argument(message: impl Into<Cow<'static, str>>, name: &str, value: &str) -> Self {
        Self::new(S3Code::InvalidArgument, message).with("ArgumentName", name).with("ArgumentValue", value)
    }

    /// 400 `InvalidRequest`.
    pub fn request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(S3Code::InvalidRequest, message)
    }

    /// 304: no error and no body, but no object either.
    pub fn not_modified(headers: HeaderMap) -> Self {
        let mut error = Self::from(S3Code::PreconditionFailed);
        error.detail.not_modified = true;
        error.detail.headers = headers;
        error
    }

    /// The same error under another code.
    #[must_use]
    pub fn under(self, code: S3Code) -> Self {
        Self { code, ..self }
    }

    /// Adds an element to the document.
    #[must_use]
    pub fn with(mut self, element: &'static str, value: impl Into<String>) -> Self {
        self.detail.fields.push((element, value.into()));
        self
    }

    /// Adds a header; a value that is none is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.detail.headers.insert(name, value);
        }
        self
    }

    /// Notes the cause, for the log only.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.detail.source = Some(Box::new(source));
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        self.detail.message.as_deref().unwrap_or(self.code.message())
    }

    /// The status of the answer.
    pub fn status(&self) -> http::StatusCode {
        if self.detail.not_modified { http::StatusCode::NOT_MODIFIED } else { self.code.status() }
    }

    /// The elements of the document besides code and message.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.detail.fields.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Whether the document has this element already.
    pub fn has(&self, element: &str) -> bool {
        self.detail.fields.iter().any(|(name, _)| *name == element)
    }

    /// Logs the error, once: 5xx with its sources as error, others as debug.
    pub fn log(&self) {
        let source = self.detail.source.as_ref().map(|source| chain(source.as_ref()));
        if self.code.status().is_server_error() && self.code != S3Code::NotImplemented && self.code != S3Code::SlowDown
        {
            tracing::error!(code = self.code.name(), message = self.message(), source, "request failed");
        } else {
            tracing::debug!(code = self.code.name(), message = self.message(), source, "request refused");
        }
    }

    /// The answer: the document, or nothing for HEAD and 304.
    pub fn render(&self, resource: &str, id: &RequestId, with_body: bool) -> Response<ResponseBody> {
        let status = self.status();
        let with_body = with_body && !self.detail.not_modified;
        let mut response = if with_body {
            let mut response = Response::new(reply::full(self.document(resource, id)));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            response
        } else {
            Response::new(reply::empty())
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.extend(self.detail.headers.clone());
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        if status == http::StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    pub(super) fn document(&self, resource: &str, id: &RequestId) -> Bytes {
        let mut xml = XmlWriter::bare("Error", &[], 512);
        xml.text("Code", self.code.name()).text("Message", self.message());
        for (name, value) in &self.detail.fields {
            xml.text(name, value);
        }
        xml.text("Resource", resource).text("RequestId", &id.0).text("HostId", &id.0);
        xml.finish()
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

impl From<MetadataError> for S3Error {
    fn from(e: MetadataError) -> Self {
        let code = match &e {
            MetadataError::Busy => S3Code::SlowDown,
            MetadataError::Conflict(_) => S3Code::OperationAborted,
            MetadataError::ReadOnly | MetadataError::NoSpace | MetadataError::Unavailable(_) => {
                S3Code::ServiceUnavailable
            }
            MetadataError::Corrupt(_) | MetadataError::Io(_) => S3Code::InternalError,
        };
        Self::from(code).because(e)
    }
}

impl From<DataError> for S3Error {
    fn from(e: DataError) -> Self {
        let code = match e {
            DataError::Body(body) => return body.into(),
            DataError::NotFound(_) | DataError::Corrupt { .. } | DataError::OutOfRange(_) | DataError::Io(_) => {
                S3Code::InternalError
            }
            DataError::Unavailable(_) | DataError::NoSpace => S3Code::ServiceUnavailable,
            DataError::NameTooLong(_) => S3Code::KeyTooLongError,
            DataError::Parts(_) => S3Code::InvalidPart,
        };
        Self::from(code).because(e)
    }
}

impl From<BodyError> for S3Error {
    fn from(e: BodyError) -> Self {
        match e {
            BodyError::Disconnected | BodyError::Incomplete { .. } | BodyError::MalformedChunk(_) => {
                Self::from(S3Code::IncompleteBody).because(e)
            }
            BodyError::Crowded => Self::from(S3Code::SlowDown).header(header::CONNECTION, "close"),
            BodyError::TimedOut => Self::from(S3Code::RequestTimeout).header(header::CONNECTION, "close"),
            BodyError::TooLarge { limit } => {
                Self::from(S3Code::EntityTooLarge).with("MaxSizeAllowed", limit.to_string())
            }
            BodyError::TooSmall { least, got } => Self::from(S3Code::EntityTooSmall)
                .with("ProposedSize", got.to_string())
                .with("MinSizeAllowed", least.to_string()),
            BodyError::BadDigest { expected, calculated } => {
                Self::from(S3Code::BadDigest).with("ExpectedDigest", expected).with("CalculatedDigest", calculated)
            }
            BodyError::Sha256Mismatch { expected, calculated } => Self::from(S3Code::XAmzContentSHA256Mismatch)
                .with("ClientComputedContentSHA256", expected)
                .with("S3ComputedContentSHA256", calculated),
            BodyError::ChecksumMismatch(algorithm) => Self::new(
                S3Code::BadDigest,
                format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
            ),
            BodyError::InvalidChecksumValue(name) => Self::request(format!("Value for {name} header is invalid.")),
            BodyError::ChunkSignature => Self::from(S3Code::SignatureDoesNotMatch),
            BodyError::InvalidChunkSize { chunk, size } => Self::from(S3Code::InvalidChunkSizeError)
                .with("Chunk", chunk.to_string())
                .with("BadChunkSize", size.to_string()),
            BodyError::MalformedTrailer => Self::from(S3Code::MalformedTrailerError),
            BodyError::Unreadable(_) => Self::from(S3Code::InternalError).because(e),
        }
    }
}

impl From<KmsError> for S3Error {
    fn from(e: KmsError) -> Self {
        let code = match &e {
            KmsError::NoSuchKey(key) => {
                return Self::new(S3Code::KmsNotFoundException, format!("Key '{key}' does not exist"));
            }
            // That this server may not use a key is no matter of the client's.
            KmsError::Unavailable(_) | KmsError::Refused(_) => S3Code::ServiceUnavailable,
            KmsError::Unopenable(_) => S3Code::InternalError,
        };
        Self::from(code).because(e)
    }
}

fn not_reencryptable(mode: EncryptionMode) -> S3Error {
    let kind = match mode {
        EncryptionMode::None => "unencrypted source objects",
        _ => "source objects with the encryption type DSSE-KMS or SSE-C",
    };
    S3Error::request(format!(
        "The UpdateObjectEncryption operation doesn't support {kind}. Only source objects encrypted with SSE-S3 or SSE-KMS are supported."
    ))
}

fn not_archived(class: String) -> S3Error {
    let class = if class.is_empty() { "STANDARD".to_owned() } else { class };
    S3Error::new(S3Code::InvalidObjectState, "Restore is not allowed for the object's current storage class")
        .with("StorageClass", class)
}

/// The original's words.
fn location_full(name: &str) -> S3Error {
    let message = format!("The assigned storage space limit for location {name} will be exceeded");
    S3Error::new(S3Code::AccessDenied, message)
}

/// The original's words.
/// Of a location whose objects are named by their keys alone.
fn location_taken(name: &str) -> S3Error {
    let text =
        format!("The location \"{name}\" names objects by their keys alone (bucketMatch): it serves another bucket.");
    S3Error::new(S3Code::InvalidArgument, text)
}

fn not_versionable() -> S3Error {
    S3Error::new(
        S3Code::NotImplemented,
        "We do not currently support putting a versioned object to a location-constraint of type Azure or GCP.",
    )
}

impl From<StorageError> for S3Error {
    fn from(e: StorageError) -> Self {
        match e {
            StorageError::NoSuchBucket => S3Code::NoSuchBucket.into(),
            StorageError::BucketAlreadyOwnedByYou => S3Code::BucketAlreadyOwnedByYou.into(),
            StorageError::BucketAlreadyExists => S3Code::BucketAlreadyExists.into(),
            StorageError::BucketNotEmpty => S3Code::BucketNotEmpty.into(),
            StorageError::TooManySettings => S3Code::TooManyConfigurations.into(),
            StorageError::VersioningNotEnabled => {
                Self::request("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
            }
            StorageError::VersioningNeeded => Self::new(
                S3Code::InvalidBucketState,
                "A replication configuration is present on this bucket, so the versioning state cannot be changed.",
            ),
            StorageError::NoSuchKey(_) => S3Code::NoSuchKey.into(),
            StorageError::NoSuchVersion => S3Code::NoSuchVersion.into(),
            StorageError::IsDeleteMarker(_) => S3Code::MethodNotAllowed.into(),
            StorageError::Lock(e) => e.into(),
            StorageError::PreconditionFailed(condition) => failed(condition),
            StorageError::Contention => S3Code::ConditionalRequestConflict.into(),
            StorageError::NoSuchUpload => S3Code::NoSuchUpload.into(),
            StorageError::InvalidPart { number, etag } => {
                Self::from(S3Code::InvalidPart).with("PartNumber", number.to_string()).with("ETag", etag.as_str())
            }
            StorageError::EntityTooSmall { number, etag, size, minimum } => Self::from(S3Code::EntityTooSmall)
                .with("ProposedSize", size.to_string())
                .with("MinSizeAllowed", minimum.to_string())
                .with("PartNumber", number.to_string())
                .with("ETag", etag.as_str()),
            StorageError::InvalidCompletion(fault) => fault.into(),
            StorageError::QuotaExceeded => S3Code::QuotaExceeded.into(),
            StorageError::Archived(class) => Self::from(S3Code::InvalidObjectState).with("StorageClass", class),
            StorageError::NotArchived(class) => not_archived(class),
            StorageError::RetrievalTier => {
                Self::new(S3Code::InvalidArgument, "Retrieval option is not supported by this storage class")
            }
            StorageError::NoSuchAnnotation => S3Code::NoSuchAnnotation.into(),
            StorageError::NotAnnotatable => Self::request("Objects encrypted with SSE-C cannot have annotations."),
            StorageError::TooManyAnnotations => S3Code::AnnotationLimitExceeded.into(),
            StorageError::Versioned => Self::request("This operation needs a bucket without versioning."),
            StorageError::TokenReused => S3Code::IdempotencyParameterMismatch.into(),
            StorageError::WriteOffset { size, .. } => {
                Self::from(S3Code::InvalidWriteOffset).with("ObjectSize", size.to_string())
            }
            StorageError::TooManyParts => S3Code::TooManyParts.into(),
            StorageError::AppendChecksum(algorithm) => Self::request(format!(
                "The checksum of data that is appended must be of the object's algorithm, {}.",
                algorithm.name()
            )),
            StorageError::Metadata(e) => e.into(),
            StorageError::Data(e) => e.into(),
            StorageError::Body(e) => e.into(),
            StorageError::KeyRequired => Self::request(
                "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
            ),
            StorageError::KeyNotApplicable => {
                Self::request("The encryption parameters are not applicable to this object.")
            }
            StorageError::WrongKey => Self::new(
                S3Code::AccessDenied,
                "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.",
            ),
            StorageError::NotReencryptable(mode) => not_reencryptable(mode),
            StorageError::AppendEncrypted => {
                Self::new(S3Code::NotImplemented, "Appending to encrypted objects is not implemented.")
            }
            StorageError::Kms(e) => e.into(),
            StorageError::LocationFull(name) => location_full(&name),
            // Configuring it again helps: clients may come back.
            StorageError::UnknownLocation(_) => Self::from(S3Code::ServiceUnavailable).because(e),
            StorageError::NotVersionable => not_versionable(),
            StorageError::LocationTaken(name) => location_taken(&name),
            StorageError::LocationLost(_) => Self::from(S3Code::LocationNotFound).because(e),
            StorageError::Vanished | StorageError::Broken(_) | StorageError::Record(_) => {
                Self::from(S3Code::InternalError).because(e)
            }
        }
    }
}

impl From<LockError> for S3Error {
    fn from(e: LockError) -> Self {
        match e {
            LockError::Protected => {
                Self::new(S3Code::AccessDenied, "Access Denied because object protected by object lock.")
            }
            LockError::NotConfigured => Self::request("Bucket is missing Object Lock Configuration"),
            LockError::PastDate => Self::new(S3Code::InvalidArgument, "The retain until date must be in the future!"),
            LockError::Incomplete => Self::new(
                S3Code::InvalidArgument,
                "Mode and retain until date, event hold and event hold duration must be supplied together.",
            ),
            LockError::BucketState => S3Code::InvalidBucketState.into(),
        }
    }
}

impl From<CompletionFault> for S3Error {
    fn from(fault: CompletionFault) -> Self {
        let code = match &fault {
            CompletionFault::NoParts => S3Code::MalformedXML,
            CompletionFault::Order => S3Code::InvalidPartOrder,
            CompletionFault::NotConsecutive => S3Code::InvalidPart,
            CompletionFault::ObjectChecksum(_) | CompletionFault::PartChecksumAlgorithm { .. } => S3Code::BadDigest,
            CompletionFault::ObjectSize { .. }
            | CompletionFault::ChecksumType(_)
            | CompletionFault::PartChecksumMissing { .. } => S3Code::InvalidRequest,
        };
        let text = fault.to_string();
        Self::new(code, text)
    }
}

/// A condition that did not hold. What another server's object allowed may have more luck at the next try.
fn failed(condition: FailedCondition) -> S3Error {
    match condition {
        FailedCondition::Overtaken => S3Code::ConditionalRequestConflict.into(),
        other => S3Error::from(S3Code::PreconditionFailed).with("Condition", condition_name(other)),
    }
}

fn condition_name(condition: FailedCondition) -> &'static str {
    match condition {
        FailedCondition::IfMatch => "If-Match",
        FailedCondition::IfNoneMatch => "If-None-Match",
        FailedCondition::IfMatchSize => "x-amz-if-match-size",
        FailedCondition::IfMatchLastModified => "x-amz-if-match-last-modified-time",
        FailedCondition::RenameSource => "x-amz-rename-source-if-*",
        FailedCondition::RenameDestination => "If-Modified-Since or If-Unmodified-Since",
        FailedCondition::UnlessDeleted | FailedCondition::Overtaken => UNLESS_DELETED,
        FailedCondition::IfNewest => IF_NEWEST,
    }
}

impl From<XmlError> for S3Error {
    fn from(e: XmlError) -> Self {
        Self::from(S3Code::MalformedXML).because(e)
    }
}
