//! Requests to a metadata module: tried again where that is safe, until a deadline.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    metadata::{MetadataError, wire},
    outbound::{ClientOptions, HttpClient, OutboundError, Payload},
    telemetry::request_scope,
    types::{ByteStream, body::collect},
};

/// Most bytes of an error's document.
const MOST_ERROR: usize = 64 << 10;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Names of views told at a time.
const MOST_NAMES: usize = 32;

/// The way to one module.
#[derive(Debug)]
pub(super) struct Channel {
    http: HttpClient,
    base: String,
    token: Option<HeaderValue>,
    /// How long a request is tried.
    patience: Duration,
    /// Cleared when the module says that its store takes no writes.
    pub(super) writable: AtomicBool,
    /// Views that were dropped here and are open there.
    forgotten: Mutex<Vec<String>>,
}

/// An answer that is no success.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Refusal {
    #[serde(skip)]
    pub(super) status: u16,
    error_type: String,
    error_message: String,
    /// Which condition does not hold.
    condition: Option<usize>,
}

/// What became of an attempt.
pub(super) enum Attempt {
    /// 200 and its like.
    Done(ByteStream),
    /// Another status.
    Refused(Refusal),
}

/// How long to wait before the next attempt.
#[derive(Debug)]
pub(super) struct Pauses {
    end: Instant,
    next: Duration,
}

impl Pauses {
    /// Waits; `false` where the deadline has come.
    pub(super) async fn wait(&mut self) -> bool {
        // Clients that lost the same module shall not come back in step.
        let mut byte = [0];
        let spread = getrandom::fill(&mut byte).map_or(128, |()| u32::from(byte[0]));
        let pause = self.next / 2 + self.next * spread / 512;
        if Instant::now() + pause >= self.end {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}

impl Channel {
    pub(super) fn new(base: String, token: Option<&str>, options: ClientOptions, patience: Duration) -> Self {
        let token = token.and_then(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            http: HttpClient::new(options),
            base,
            token,
            patience,
            writable: AtomicBool::new(true),
            forgotten: Mutex::default(),
        }
    }

    pub(super) fn pauses(&self) -> Pauses {
        Pauses { end: Instant::now() + self.patience, next: Duration::from_millis(20) }
    }

    /// Has the module close a view when it is next asked something.
    pub(super) fn forget(&self, view: String) {
        self.forgotten.lock().push(view);
    }

    /// One attempt.
    ///
    /// # Errors
    /// [`OutboundError`] where there is no answer.
    pub(super) async fn attempt(&self, method: Method, path: &str, body: Bytes) -> Result<Attempt, OutboundError> {
        let unsendable = |error: http::Error| OutboundError::Unsendable(error.to_string());
        let payload = if body.is_empty() && method == Method::GET { Payload::Empty } else { Payload::Held(body) };
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}", self.base)).body(payload).map_err(unsendable)?;
        self.sign(request.headers_mut());
        let answer = self.http.send(request).await?;
        let (head, body) = answer.into_parts();
        self.writable.store(!head.headers.contains_key(wire::READ_ONLY), Ordering::Relaxed);
        if head.status.is_success() {
            return Ok(Attempt::Done(body));
        }
        Ok(Attempt::Refused(refusal(head.status, body).await))
    }

    fn sign(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        let id = request_scope::with_current(|id| id.and_then(|id| HeaderValue::from_str(id).ok()));
        if let Some(id) = id {
            headers.insert("x-scal-request-uids", id);
        }
        let names = {
            let mut forgotten = self.forgotten.lock();
            let kept = forgotten.len().saturating_sub(MOST_NAMES);
            forgotten.split_off(kept).join(",")
        };
        if let Some(names) = HeaderValue::from_str(&names).ok().filter(|names| !names.is_empty()) {
            headers.insert(wire::DROP_VIEWS, names);
        }
    }

    /// Asks for something that changes nothing, and reads the whole answer with `read`. Tried until the deadline.
    ///
    /// # Errors
    /// As the module says, or [`MetadataError::Unavailable`].
    pub(super) async fn ask<T, F>(
        &self,
        method: Method,
        path: &str,
        body: &Bytes,
        read: impl Fn(ByteStream) -> F,
    ) -> Result<T, MetadataError>
    where
        F: Future<Output = Result<T, MetadataError>>,
    {
        let mut pauses = self.pauses();
        loop {
            let failed = match self.attempt(method.clone(), path, body.clone()).await {
                Ok(Attempt::Done(answer)) => match read(answer).await {
                    Err(error @ MetadataError::Unavailable(_)) => error,
                    other => return other,
                },
                Ok(Attempt::Refused(refusal)) if refusal.is_passing() => refusal.into(),
                Ok(Attempt::Refused(refusal)) => return Err(refusal.into()),
                Err(error @ OutboundError::Unsendable(_)) => return Err(MetadataError::Unavailable(error.to_string())),
                Err(error) => MetadataError::Unavailable(error.to_string()),
            };
            if !pauses.wait().await {
                return Err(failed);
            }
        }
    }
}

async fn refusal(status: StatusCode, body: ByteStream) -> Refusal {
    let text = collect(body, MOST_ERROR).await.unwrap_or_default();
    let mut refusal: Refusal = serde_json::from_slice(&text).unwrap_or_default();
    refusal.status = status.as_u16();
    refusal
}

impl Refusal {
    /// Whether it may be over in a moment. A full queue is for the client of S3 to wait for.
    fn is_passing(&self) -> bool {
        self.status == 503 && !matches!(self.error_type.as_str(), "Busy" | "ReadOnly")
    }

    /// Whether another front has taken over.
    pub(super) fn is_superseded(&self) -> bool {
        self.error_type == "Superseded"
    }

    /// Whether the outcome of the very batch is told: it is committed no more.
    pub(super) fn is_conflict(&self) -> bool {
        self.error_type == "Conflict"
    }
}

impl From<Refusal> for MetadataError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { status, error_type, error_message, condition } = refusal;
        match (error_type.as_str(), condition) {
            ("Conflict", Some(condition)) => Self::Conflict(condition),
            ("ReadOnly" | "Superseded", _) => Self::ReadOnly,
            ("NoSpace", _) => Self::NoSpace,
            ("Busy", _) => Self::Busy,
            ("Corrupt", _) => Self::Corrupt(error_message),
            ("Io", _) => Self::Io(error_message),
            (kind, _) => Self::Unavailable(format!("the metadata module answered {status} {kind}: {error_message}")),
        }
    }
}
