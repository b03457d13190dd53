//! A client for other S3 stores: signatures, retries, answers.
//!
//! | what | how |
//! |---|---|
//! | signature | version 4, over http as well; a held body is signed by its SHA-256 and carries `Content-MD5` |
//! | streams | `UNSIGNED-PAYLOAD`: every store takes it, unlike trailers; who sends one compares what is there afterwards |
//! | retries | full jitter, within [`Retry::deadline`]; never of a stream, and of what is not idempotent only where it surely was not seen |
//! | errors | the far side's code and status, as [`S3ClientError`]; a 200 with an error in it is an error |
//!
//! Calls that are not here yet are built on [`S3Client::send`] and [`S3Client::document`].

mod credentials;
mod error;
mod listing;
mod multipart;
mod objects;
mod sign;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

pub use credentials::{Credentials, CredentialsError};
pub use error::{Refusal, S3ClientError};
pub use listing::{
    BucketEntry, FoldedPage, ListWish, ObjectEntry, ObjectsPage, PartEntry, PartsPage, VersionEntry, VersionsPage,
};
pub use objects::{CopySource, Deleted, Get, Stored};

use crate::{
    clock::Clock,
    outbound::{HttpClient, OutboundError, Payload},
    types::{ByteStream, Timestamp, body},
};

/// Longest document read, in bytes: a page of a listing with long keys, each byte of them escaped.
const LONGEST_DOCUMENT: usize = 16 << 20;
/// Longest error document read, in bytes.
const LONGEST_ERROR: usize = 64 << 10;
/// Most time to the head of the answer of a call that makes the far side copy or join bytes.
const LONG_CALL: Duration = Duration::from_mins(3);

/// Whose S3 it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavor {
    /// Amazon's, or what speaks like it.
    #[default]
    Aws,
    /// The XML interface of Google Cloud Storage: objects have generations instead of version ids.
    Gcs,
}

impl Flavor {
    /// The parameter that names a version.
    pub const fn version_parameter(self) -> &'static str {
        match self {
            Self::Aws => "versionId",
            Self::Gcs => "generation",
        }
    }

    /// The header that says which version it is.
    pub const fn version_header(self) -> &'static str {
        match self {
            Self::Aws => "x-amz-version-id",
            Self::Gcs => "x-goog-generation",
        }
    }
}

/// How often something is tried.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Times in all.
    pub attempts: u32,
    /// The longest first pause; each further one may be twice as long. A pause is a random part of that.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// No attempt begins after this.
    pub deadline: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(3),
            deadline: Duration::from_secs(20),
        }
    }
}

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is reached over TLS.
    pub https: bool,
    /// `host[:port]`.
    pub authority: String,
    /// Buckets are named in the path, not in the host.
    pub path_style: bool,
    /// The region that signatures name.
    pub region: String,
    /// Whose S3 it is.
    pub flavor: Flavor,
}

/// How a request may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// After any failure that may pass: doing it twice is doing it once.
    Safe,
    /// Only where the far side surely did nothing.
    Unseen,
}

/// A request to a store.
#[derive(Debug)]
pub struct Call<'a> {
    /// Its method.
    pub method: Method,
    /// The bucket, if it is about one.
    pub bucket: Option<&'a str>,
    /// The key, if it is about one.
    pub key: Option<&'a str>,
    /// Parameters, not escaped; a sub-resource has an empty value.
    pub query: Vec<(&'a str, String)>,
    /// Headers besides those of every request.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Payload,
    /// How it may be repeated.
    pub repeat: Repeat,
    /// Most time to the head of its answer; that of the HTTP client where it is none.
    pub patience: Option<Duration>,
}

impl<'a> Call<'a> {
    /// A request without parameters, headers and body, that may be repeated.
    pub fn new(method: Method, bucket: Option<&'a str>, key: Option<&'a str>) -> Self {
        Self {
            method,
            bucket,
            key,
            query: Vec::new(),
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            repeat: Repeat::Safe,
            patience: None,
        }
    }

    /// With a parameter.
    #[must_use]
    pub fn and(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// With a parameter, if there is a value for it.
    #[must_use]
    pub fn and_some(self, name: &'a str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.and(name, value),
            None => self,
        }
    }

    /// With a header. A value that no header can have is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// With headers.
    #[must_use]
    pub fn headers(mut self, headers: &HeaderMap) -> Self {
        self.headers.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// With a body.
    #[must_use]
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// Not to be repeated once the far side may have seen it.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.repeat = Repeat::Unseen;
        self
    }

    /// The far side may take its time.
    #[must_use]
    pub const fn patient(mut self) -> Self {
        self.patience = Some(LONG_CALL);
        self
    }
}

/// A good answer.
pub struct Reply {
    /// 2xx.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: ByteStream,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("headers", &self.headers).finish_non_exhaustive()
    }
}

impl Reply {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text_of(&self.headers, name)
    }
}

/// A header's text.
pub fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A client of one store. Clones share connections.
#[derive(Clone)]
pub struct S3Client {
    http: HttpClient,
    endpoint: Arc<Endpoint>,
    credentials: Arc<Credentials>,
    clock: Arc<dyn Clock>,
    retry: Retry,
    /// A header of every request.
    always: Option<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for S3Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl S3Client {
    /// Makes ready to ask; nothing is sent yet.
    pub fn new(http: HttpClient, endpoint: Endpoint, credentials: Credentials, clock: Arc<dyn Clock>) -> Self {
        let (endpoint, credentials) = (Arc::new(endpoint), Arc::new(credentials));
        Self { http, endpoint, credentials, clock, retry: Retry::default(), always: None }
    }

    /// The same client, with other retries.
    #[must_use]
    pub const fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The same client, with a header in every request.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.always = Some((HeaderName::from_static(name), HeaderValue::from_static(value)));
        self
    }

    /// Where it asks.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The time that its requests are signed for.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How often it tries.
    pub const fn retry(&self) -> Retry {
        self.retry
    }

    /// Asks, as often as it may and must.
    ///
    /// # Errors
    /// [`S3ClientError`] of the last attempt.
    pub async fn send(&self, call: Call<'_>) -> Result<Reply, S3ClientError> {
        let end = Instant::now() + self.retry.deadline;
        let mut call = call;
        call.headers.extend(self.always.clone());
        for attempt in 1.. {
            // What is sent is used up; what is at hand can be sent again.
            let next = call.payload.again();
            let payload = std::mem::replace(&mut call.payload, next.unwrap_or_default());
            let stream = matches!(payload, Payload::Stream { .. });
            let request = sign::signed(&self.endpoint, &self.credentials, self.clock.now(), &call, payload)?;
            let error = match self.attempt(request, call.patience).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let may = !stream && if call.repeat == Repeat::Safe { error.may_pass() } else { error.was_not_done() };
            let pause = self.retry.pause(attempt);
            if !may || attempt >= self.retry.attempts || Instant::now() + pause > end {
                return Err(error);
            }
            tracing::debug!(%error, attempt, endpoint = self.endpoint.authority, "asked again");
            tokio::time::sleep(pause).await;
        }
        Err(S3ClientError::Answer("no attempt was made".to_owned()))
    }

    /// Asks for a document, and reads it whole.
    ///
    /// # Errors
    /// As [`S3Client::send`]; an error document in a good answer is an error.
    pub async fn document(&self, call: Call<'_>) -> Result<Document, S3ClientError> {
        let reply = self.send(call).await?;
        let Reply { status, headers, body } = reply;
        let text = body::collect(body, LONGEST_DOCUMENT).await;
        let text = text.map_err(|error| S3ClientError::Answer(error.to_string()))?;
        // Long calls are kept alive by blanks before the document.
        let text = text.slice(text.iter().take_while(|byte| byte.is_ascii_whitespace()).count()..);
        if let Some(refusal) = Refusal::read(status, &text) {
            return Err(S3ClientError::Refused(refusal));
        }
        Ok(Document { headers, text })
    }

    async fn attempt(&self, request: Request<Payload>, patience: Option<Duration>) -> Result<Reply, S3ClientError> {
        let answer = match patience {
            Some(patience) => self.http.send_within(request, patience).await?,
            None => self.http.send(request).await?,
        };
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(Reply { status: head.status, headers: head.headers, body });
        }
        // What the document says is welcome; the status alone will do.
        let text = body::collect(body, LONGEST_ERROR).await.unwrap_or_default();
        let refusal = Refusal::read(head.status, &text);
        let refusal = refusal.unwrap_or_else(|| Refusal::of_status(head.status, &head.headers));
        Err(S3ClientError::Refused(refusal))
    }
}

/// A document that came whole.
#[derive(Clone, Debug)]
pub struct Document {
    /// The headers that came with it.
    pub headers: HeaderMap,
    /// Its text.
    pub text: Bytes,
}

impl Document {
    /// Its root.
    ///
    /// # Errors
    /// [`S3ClientError::Answer`] where it cannot be read.
    pub fn root(&self) -> Result<crate::xml::Element<'_>, S3ClientError> {
        crate::xml::read::read(&self.text).map_err(|error| S3ClientError::Answer(error.to_string()))
    }
}

impl Retry {
    /// A random part of the longest pause before the next attempt.
    pub fn pause(&self, attempt: u32) -> Duration {
        let most = self.first_pause.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.longest_pause);
        let mut random = [0; 2];
        // Without random numbers everybody waits as long as may be.
        let share = if getrandom::fill(&mut random).is_ok() { u16::from_le_bytes(random) } else { u16::MAX };
        most.mul_f64(f64::from(share) / f64::from(u16::MAX))
    }
}

/// What stands unescaped in a path (S3 reference, "Signature calculations").
const PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const VALUE: AsciiSet = PATH.add(b'/');

impl Endpoint {
    /// The host a request goes to.
    fn host(&self, bucket: Option<&str>) -> String {
        match bucket {
            Some(bucket) if !self.names_in_path() => format!("{bucket}.{}", self.authority),
            _ => self.authority.clone(),
        }
    }

    /// An address has no names below it.
    fn names_in_path(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        self.path_style || host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() || host == "localhost"
    }

    fn uri(&self, call: &Call<'_>) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let mut uri = format!("{scheme}://{}/", self.host(call.bucket));
        if let Some(bucket) = call.bucket.filter(|_| self.names_in_path()) {
            uri.push_str(bucket);
            if call.key.is_some() {
                uri.push('/');
            }
        }
        uri.extend(utf8_percent_encode(call.key.unwrap_or_default(), &PATH));
        for (index, (name, value)) in call.query.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.extend(utf8_percent_encode(name, &VALUE));
            uri.push('=');
            uri.extend(utf8_percent_encode(value, &VALUE));
        }
        uri
    }
}

impl From<OutboundError> for S3ClientError {
    fn from(error: OutboundError) -> Self {
        Self::Outbound(error)
    }
}

/// An entity tag without its quotes.
pub(crate) fn bare_tag(tag: &str) -> String {
    crate::types::ETag::parse(tag).as_str().to_owned()
}

/// The tag in a header, without its quotes.
pub(crate) fn tag_of(headers: &HeaderMap) -> Option<String> {
    text_of(headers, header::ETAG.as_str()).map(bare_tag).filter(|tag| !tag.is_empty())
}
