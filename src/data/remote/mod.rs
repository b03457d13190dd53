//! Blobs in another process: a data module, by the original's REST protocol (docs/modules.md).
//!
//! - Any module that speaks the original's protocol will do. One of ours knows more: it takes names chosen here, so
//!   that a crash leaves no orphan and a lost answer can be looked up, and it lists what it holds. [`RemoteBackend::meet`]
//!   and each probe find out which it is.
//! - A body ends there only if it ended cleanly here: its last bytes are held back until its verdict is known.
//! - Reads are asked for again after a broken connection, from where they broke; blobs do not change. Puts are not:
//!   their bodies are gone. One whose answer was lost is looked up by its name, or else is an orphan that an audit of
//!   the module finds.

pub mod protocol;
mod read;
mod spool;

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use self::protocol::{BLOB, DISK_USAGE, Fault, LIST, MODULE_INFO, MOST_NAMES, ModuleInfo, SERVICE, Usage, is_name};
use super::{BlobId, Capabilities, DataBackend, DataError, DiskUsage, PutHint, Written, name::BlobName};
use crate::{
    outbound::{ClientOptions, HttpClient, OutboundError, Payload},
    telemetry::request_scope,
    types::{ByteStream, body::collect},
};

/// Most bytes of a document.
const MOST_DOCUMENT: usize = 1 << 20;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Where a data module is, and how it is asked.
#[derive(Clone)]
pub struct RemoteOptions {
    /// `http://host:port`.
    pub base: String,
    /// The secret that it shares with its front, if any.
    pub token: Option<String>,
    /// How long what changes nothing is tried, over restarts of the module. Default 4 seconds.
    pub patience: Duration,
    /// Connections.
    pub client: ClientOptions,
}

impl RemoteOptions {
    /// The module at `base`, and defaults.
    pub fn new(base: impl Into<String>) -> Self {
        let client = ClientOptions {
            connect: Duration::from_secs(2),
            // The original's client gave a connection up after 55 seconds, its server after 60.
            keep: Duration::from_secs(55),
            ..ClientOptions::default()
        };
        Self { base: base.into(), token: None, patience: Duration::from_secs(4), client }
    }
}

/// Without the token.
impl fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteOptions").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Blobs of a data module.
#[derive(Debug)]
pub struct RemoteBackend {
    module: Arc<Module>,
}

/// The way to one module, and what is known of it.
#[derive(Debug)]
struct Module {
    http: HttpClient,
    base: String,
    token: Option<HeaderValue>,
    patience: Duration,
    kind: AtomicU8,
}

/// What is known of a module: not met yet.
const UNKNOWN: u8 = 0;
/// It knows the original's protocol and no more.
const PLAIN: u8 = 1;
/// It is one of ours; the bits say what it can do.
const EXTENDED: u8 = 2;
const DURABLE: u8 = 4;
const VERIFIED: u8 = 8;

/// An answer whose body is still to come.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: ByteStream,
}

impl RemoteBackend {
    /// Makes ready to ask the module; nothing is sent yet.
    pub fn new(options: RemoteOptions) -> Self {
        let RemoteOptions { base, token, patience, client } = options;
        let token = token.and_then(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let http = HttpClient::new(client);
        Self { module: Arc::new(Module { http, base, token, patience, kind: AtomicU8::new(UNKNOWN) }) }
    }

    /// Asks the module what it is; `None` for one that knows the original's protocol only.
    ///
    /// # Errors
    /// [`DataError::Unavailable`] where it does not answer, or does not work.
    pub async fn meet(&self) -> Result<Option<ModuleInfo>, DataError> {
        let module = &self.module;
        let path = format!("{SERVICE}?{MODULE_INFO}");
        let Answer { status, body, .. } = module.ask(Method::GET, &path, HeaderMap::new()).await?;
        match status {
            StatusCode::OK => {
                let info: ModuleInfo = module.document(body).await?;
                let flag = |set, bit| if set { bit } else { 0 };
                let kind = EXTENDED | flag(info.durable, DURABLE) | flag(info.verified_reads, VERIFIED);
                module.kind.store(kind, Ordering::Release);
                Ok(Some(info))
            }
            // To the original this is a path that is none.
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => {
                module.kind.store(PLAIN, Ordering::Release);
                Ok(None)
            }
            other => Err(module.refused(other, body, &BlobId::new("")).await),
        }
    }

    async fn send(&self, body: ByteStream, hint: PutHint) -> Result<Written, DataError> {
        if self.module.kind.load(Ordering::Acquire) == UNKNOWN {
            self.meet().await?;
        }
        let extended = self.module.is_extended();
        let name = match hint.blob {
            Some(blob) if extended => Some(BlobName::of(&blob)?.id()),
            Some(blob) => {
                return Err(DataError::Unavailable(format!("the data module gives names, and takes none: {blob:?}")));
            }
            None if extended => Some(BlobName::random()?.id()),
            None => None,
        };
        let (body, size) = match hint.size {
            None if !extended => {
                let (body, size) = spool::spool(body).await?;
                (body, Some(size))
            }
            size => (body, size),
        };
        self.module.put(body, size, name).await
    }

    async fn read(&self, blob: &BlobId, range: Range<u64>) -> Result<ByteStream, DataError> {
        if range.start > range.end {
            return Err(DataError::OutOfRange(range));
        }
        if !range.is_empty() {
            return read::open(&self.module, blob, range).await;
        }
        let size = read::size(&self.module, blob).await?;
        if range.end > size { Err(DataError::OutOfRange(range)) } else { Ok(stream::empty().boxed()) }
    }

    async fn remove(&self, blob: &BlobId) -> Result<(), DataError> {
        let path = path_of(blob)?;
        let Answer { status, body, .. } = self.module.ask(Method::DELETE, &path, HeaderMap::new()).await?;
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            other => Err(self.module.refused(other, body, blob).await),
        }
    }

    async fn names(&self, after: Option<&BlobId>, limit: usize) -> Result<Vec<BlobId>, DataError> {
        if !self.module.is_extended() {
            return Err(DataError::Unavailable("the data module cannot list its blobs".to_owned()));
        }
        let mut names: Vec<BlobId> = Vec::new();
        while names.len() < limit {
            let page = (limit - names.len()).min(MOST_NAMES);
            let behind = names.last().or(after).map(|name| format!("&after={}", name.as_str())).unwrap_or_default();
            let path = format!("{SERVICE}?{LIST}{behind}&limit={page}");
            let Answer { status, body, .. } = self.module.ask(Method::GET, &path, HeaderMap::new()).await?;
            if status != StatusCode::OK {
                return Err(self.module.refused(status, body, &BlobId::new("")).await);
            }
            let found: Vec<String> = self.module.document(body).await?;
            let is_last = found.len() < page;
            names.extend(found.into_iter().map(BlobId::new));
            if is_last {
                break;
            }
        }
        Ok(names)
    }

    async fn usage(&self) -> Result<Option<DiskUsage>, DataError> {
        let path = format!("{SERVICE}?{DISK_USAGE}");
        let Answer { status, body, .. } = self.module.ask(Method::GET, &path, HeaderMap::new()).await?;
        match status {
            StatusCode::OK => {
                let Usage { available, free, total } = self.module.document(body).await?;
                Ok(Some(DiskUsage { available, free, total }))
            }
            // It has no such thing.
            StatusCode::NOT_IMPLEMENTED => Ok(None),
            other => Err(self.module.refused(other, body, &BlobId::new("")).await),
        }
    }

    async fn look(&self) -> Result<(), DataError> {
        if self.meet().await?.is_some() {
            return Ok(());
        }
        match self.usage().await? {
            Some(DiskUsage { available: 0, .. }) => Err(DataError::NoSpace),
            _ => Ok(()),
        }
    }
}

impl Module {
    fn is_extended(&self) -> bool {
        self.kind.load(Ordering::Acquire) & EXTENDED != 0
    }

    async fn attempt(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        payload: Payload,
    ) -> Result<Answer, OutboundError> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base)).body(payload);
        let mut request = request.map_err(|error| OutboundError::Unsendable(error.to_string()))?;
        *request.headers_mut() = headers;
        if let Some(token) = &self.token {
            request.headers_mut().insert(header::AUTHORIZATION, token.clone());
        }
        let id = request_scope::with_current(|id| id.and_then(|id| HeaderValue::from_str(id).ok()));
        if let Some(id) = id {
            request.headers_mut().insert("x-scal-request-uids", id);
        }
        let (head, body) = self.http.send(request).await?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Asks for what may be asked twice, until there is an answer or the deadline has come.
    async fn ask(&self, method: Method, path: &str, headers: HeaderMap) -> Result<Answer, DataError> {
        let end = Instant::now() + self.patience;
        let mut pause = Duration::from_millis(20);
        loop {
            let failed = match self.attempt(method.clone(), path, headers.clone(), Payload::Empty).await {
                Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
                    self.refused(answer.status, answer.body, &BlobId::new("")).await
                }
                Ok(answer) => return Ok(answer),
                Err(error) => unavailable(&error),
            };
            // Fronts that lost the same module shall not come back in step.
            let mut byte = [0];
            let spread = getrandom::fill(&mut byte).map_or(128, |()| u32::from(byte[0]));
            let wait = pause / 2 + pause * spread / 512;
            if Instant::now() + wait >= end {
                return Err(failed);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn put(&self, body: ByteStream, size: Option<u64>, name: Option<BlobId>) -> Result<Written, DataError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(name) = &name {
            set(&mut headers, HeaderName::from_static(BLOB), name.as_str())?;
        }
        let counted = Counted::default();
        let payload = Payload::Stream { body: counted.count(body), size };
        let path = format!("{SERVICE}/");
        match self.attempt(Method::PUT, &path, headers, payload).await {
            Ok(Answer { status: StatusCode::CREATED, headers, .. }) => {
                let given = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
                let given = given.and_then(protocol::name_in).map(BlobId::new);
                let blob = given.ok_or_else(|| self.strange("201 without a good Location"))?;
                self.taken(blob, name, counted.bytes()).await
            }
            Ok(Answer { status, body, .. }) => {
                let asked = name.unwrap_or_else(|| BlobId::new(""));
                Err(self.refused(status, body, &asked).await)
            }
            Err(OutboundError::Body(error)) => Err(DataError::Body(error)),
            Err(error) => match name {
                Some(name) if counted.has_ended() && !error.nothing_sent() => {
                    self.reconcile(name, counted.bytes(), &error).await
                }
                _ => Err(unavailable(&error)),
            },
        }
    }

    /// A module that gave a name of its own to a body that had one is not what it was taken for.
    async fn taken(&self, blob: BlobId, asked: Option<BlobId>, size: u64) -> Result<Written, DataError> {
        if asked.is_none_or(|asked| asked == blob) {
            return Ok(Written { blob, size });
        }
        self.kind.store(PLAIN, Ordering::Release);
        let path = path_of(&blob)?;
        self.ask(Method::DELETE, &path, HeaderMap::new()).await?;
        Err(self.strange("a name of its own for a body that had one"))
    }

    /// The answer to a put was lost: the module publishes a body only whole, so whether it is there tells all.
    async fn reconcile(&self, name: BlobId, size: u64, lost: &OutboundError) -> Result<Written, DataError> {
        match read::size(self, &name).await {
            Ok(found) if found == size => Ok(Written { blob: name, size }),
            _ => Err(unavailable(lost)),
        }
    }

    async fn document<T: DeserializeOwned>(&self, body: ByteStream) -> Result<T, DataError> {
        let text = collect(body, MOST_DOCUMENT).await;
        let text = text.map_err(|error| DataError::Unavailable(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|_| self.strange("a document that is none"))
    }

    fn strange(&self, what: &str) -> DataError {
        DataError::Unavailable(format!("the data module {} answered with {what}", self.base))
    }

    /// What an error of the module means.
    async fn refused(&self, status: StatusCode, body: ByteStream, blob: &BlobId) -> DataError {
        let text = collect(body, MOST_DOCUMENT).await.unwrap_or_default();
        let Fault { error_type, error_message } = serde_json::from_slice(&text).unwrap_or_default();
        match (status.as_u16(), error_type.as_str()) {
            (404, _) => DataError::NotFound(blob.clone()),
            (507, _) | (_, "NoSpace") => DataError::NoSpace,
            (409, _) => DataError::Io(std::io::ErrorKind::AlreadyExists.into()),
            (_, "Corrupt") => DataError::Corrupt { blob: blob.clone(), detail: error_message },
            (code, kind) => DataError::Unavailable(format!("the data module answered {code} {kind}: {error_message}")),
        }
    }
}

/// The path of a blob. No text but hexadecimal digits becomes part of one.
fn path_of(blob: &BlobId) -> Result<String, DataError> {
    if is_name(blob.as_str()) {
        return Ok(format!("{SERVICE}/{}", blob.as_str()));
    }
    Err(DataError::Corrupt { blob: blob.clone(), detail: "no name that a data module makes".to_owned() })
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), DataError> {
    let value = HeaderValue::from_str(value);
    headers.insert(name, value.map_err(|error| DataError::Unavailable(error.to_string()))?);
    Ok(())
}

fn unavailable(error: &OutboundError) -> DataError {
    DataError::Unavailable(error.to_string())
}

/// How much of a body has gone, and whether its end was clean.
#[derive(Clone, Debug, Default)]
struct Counted(Arc<(std::sync::atomic::AtomicU64, std::sync::atomic::AtomicBool)>);

impl Counted {
    fn count(&self, body: ByteStream) -> ByteStream {
        let (slices, end) = (self.clone(), self.clone());
        let counted = body.inspect(move |slice| {
            let bytes = slice.as_ref().map_or(0, |slice| slice.len() as u64);
            slices.0.0.fetch_add(bytes, Ordering::Relaxed);
        });
        // Polled only where the body has ended; after an error nobody asks again.
        let last = stream::poll_fn(move |_| {
            end.0.1.store(true, Ordering::Release);
            std::task::Poll::Ready(None)
        });
        counted.chain(last).boxed()
    }

    fn bytes(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    fn has_ended(&self) -> bool {
        self.0.1.load(Ordering::Acquire)
    }
}

impl DataBackend for RemoteBackend {
    fn reserve(&self) -> Option<BlobId> {
        if self.module.is_extended() { BlobName::random().ok().map(BlobName::id) } else { None }
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        self.send(body, hint).boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        self.read(blob, range).boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.remove(blob).boxed()
    }

    fn size<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        read::size(&self.module, blob).map(|size| size.map(Some)).boxed()
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.names(after, limit).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        self.look().boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        self.usage().boxed()
    }

    fn capabilities(&self) -> Capabilities {
        let kind = self.module.kind.load(Ordering::Acquire);
        // The protocol promises that what was answered with 201 is kept.
        Capabilities {
            durable: kind & EXTENDED == 0 || kind & DURABLE != 0,
            verified_reads: kind & VERIFIED != 0,
            listing: kind & EXTENDED != 0,
            versioned_buckets: true,
            one_bucket: false,
        }
    }
}
