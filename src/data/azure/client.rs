//! Asking Azure: one request, its repetitions, and what its answers mean.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use super::{
    super::DataError,
    account::{Account, Login, Unsigned},
};
use crate::{
    clock::Clock,
    outbound::{HttpClient, OutboundError, Payload},
    s3client::Retry,
    types::{
        ByteStream, Timestamp, body,
        digest::{Digest, md5},
    },
};

/// What stands unescaped in a path.
const PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// Longest error document read.
const LONGEST_ERROR: usize = 16 << 10;
/// Longest list read.
const LONGEST_LIST: usize = 16 << 20;

/// A container, and how to ask for things in it.
#[derive(Debug)]
pub(super) struct Container {
    http: HttpClient,
    endpoint: String,
    name: String,
    account: Account,
    clock: Arc<dyn Clock>,
    retry: Retry,
}

/// A request about the container or a blob in it.
#[derive(Debug)]
pub(super) struct Call<'a> {
    method: Method,
    blob: Option<&'a str>,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    payload: Payload,
    length: u64,
}

/// An answer that says no, or none at all.
#[derive(Debug)]
pub(super) enum Failure {
    /// Azure says no.
    Refused {
        /// The status.
        status: StatusCode,
        /// Its word for it, such as `BlobNotFound`.
        code: String,
    },
    /// The body to be sent broke.
    Body(crate::types::BodyError),
    /// There is no answer.
    Away(String),
}

impl Failure {
    /// Whether the blob is not there: of a container, or a host, that is not there nothing is known.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, code } if code == "BlobNotFound")
    }

    /// Whether we are not who we say, or not any more.
    fn is_login(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::UNAUTHORIZED, .. }) || self.code() == "AuthenticationFailed"
    }

    /// Whether a condition did not hold.
    pub(super) fn is_unmet(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::PRECONDITION_FAILED, .. })
    }

    pub(super) fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Body(_) | Self::Away(_) => "",
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 429) || self.is_login()
            }
            Self::Body(_) => false,
            Self::Away(_) => true,
        }
    }
}

impl From<Failure> for DataError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Body(error) => Self::Body(error),
            Failure::Away(why) => Self::Unavailable(why),
            Failure::Refused { status, code } => Self::Unavailable(format!("Azure answers {status} {code}")),
        }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Unavailable(why) => Self::Away(why),
            other => Self::Away(other.to_string()),
        }
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, blob: Option<&'a str>) -> Self {
        let (query, headers) = (Vec::new(), HeaderMap::new());
        Self { method, blob, query, headers, payload: Payload::Empty, length: 0 }
    }

    #[must_use]
    pub(super) fn and(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// With a header; a value that no header can have is left out.
    #[must_use]
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            self.headers.insert(name, value);
        }
        self
    }

    #[must_use]
    pub(super) fn headers(self, headers: &[(String, String)]) -> Self {
        headers.iter().fold(self, |call, (name, value)| call.header(name, value))
    }

    /// With bytes at hand, and their digest.
    #[must_use]
    pub(super) fn held(mut self, bytes: Bytes) -> Self {
        let mut digest = md5();
        digest.update(&bytes);
        self = self.header("content-md5", &BASE64_STANDARD.encode(digest.finalize()));
        self.length = bytes.len() as u64;
        self.payload = Payload::Held(bytes);
        self
    }

    /// With bytes to come.
    #[must_use]
    pub(super) fn stream(mut self, body: ByteStream, size: u64) -> Self {
        self.length = size;
        self.payload = Payload::Stream { body, size: Some(size) };
        self
    }
}

impl Container {
    pub(super) fn new(http: HttpClient, (endpoint, name): (&str, &str), login: Login, clock: Arc<dyn Clock>) -> Self {
        Self {
            http,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            name: name.to_owned(),
            account: Account::new(login),
            clock,
            retry: Retry::default(),
        }
    }

    /// Asks, as often as it may and must: a body that was not at hand is sent once.
    pub(super) async fn send(&self, mut call: Call<'_>) -> Result<Response<ByteStream>, Failure> {
        let end = Instant::now() + self.retry.deadline;
        for attempt in 1.. {
            let next = call.payload.again();
            let again = next.is_some();
            let payload = std::mem::replace(&mut call.payload, next.unwrap_or_default());
            let (unsigned, now) = (self.unsigned(&call), self.clock.now());
            let failure = match self.attempt(now, unsigned, (payload, call.length)).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if failure.is_login() {
                self.account.forget_token(now).await;
            }
            let wait = self.retry.pause(attempt);
            let over = attempt >= self.retry.attempts || Instant::now() + wait > end;
            if !again || over || !failure.may_pass() {
                return Err(failure);
            }
            tracing::debug!(?failure, attempt, "Azure is asked again");
            tokio::time::sleep(wait).await;
        }
        Err(Failure::Away("no attempt was made".to_owned()))
    }

    fn unsigned(&self, call: &Call<'_>) -> Unsigned<'_> {
        let mut path = format!("/{}", self.name);
        if let Some(blob) = call.blob {
            path.push('/');
            path.extend(utf8_percent_encode(blob, &PATH));
        }
        Unsigned {
            method: call.method.clone(),
            endpoint: &self.endpoint,
            path,
            query: call.query.clone(),
            headers: call.headers.clone(),
        }
    }

    async fn attempt(
        &self,
        now: Timestamp,
        unsigned: Unsigned<'_>,
        body: (Payload, u64),
    ) -> Result<Response<ByteStream>, Failure> {
        let request = self.account.sign(&self.http, now, unsigned, body).await?;
        let answer = match self.http.send_within(request, Duration::from_mins(2)).await {
            Ok(answer) => answer,
            Err(OutboundError::Body(error)) => return Err(Failure::Body(error)),
            Err(error) => return Err(Failure::Away(error.to_string())),
        };
        let (head, stream) = answer.into_parts();
        if head.status.is_success() {
            return Ok(Response::from_parts(head, stream));
        }
        // Read, so that the connection can serve again.
        drop(body::collect(stream, LONGEST_ERROR).await);
        let code = head.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
        let code = code.unwrap_or_default().chars().take(100).collect();
        Err(Failure::Refused { status: head.status, code })
    }

    /// As [`Container::send`], for a document.
    pub(super) async fn document(&self, call: Call<'_>) -> Result<Bytes, Failure> {
        let answer = self.send(call).await?;
        let text = body::collect(answer.into_body(), LONGEST_LIST).await;
        text.map_err(|error| Failure::Away(error.to_string()))
    }
}

/// A header's text.
pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
