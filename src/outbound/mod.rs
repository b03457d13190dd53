//! The one client for everything that this server asks of others over HTTP/1.1.
//!
//! Bodies stream both ways and are pulled: a slow far side slows the source, a slow reader slows the far side. No
//! redirect is followed: where a request goes is for its signer to know. Each wait has an end ([`ClientOptions`]).
//!
//! A body that is sent ends at the far side only if it ended cleanly here. Its last slice is held back until the
//! stream has said that it is complete; an error, or another length than announced, breaks the connection instead.

mod answer;
mod connect;
mod payload;
mod proxy;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod trust;

use std::{collections::BTreeMap, error::Error as _, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use futures_util::StreamExt;
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::{TokioExecutor, TokioTimer},
};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

pub use payload::Payload;
pub use proxy::{Proxies, ProxyAddress};
#[cfg(feature = "tls")]
pub use trust::{Identity, Trust};

use self::{
    answer::Answered,
    connect::Connector,
    payload::{Outgoing, Progress},
};
use crate::types::{BodyError, ByteStream};

/// How a client connects, and how long it waits.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Most time to open a connection: names, socket, proxy and TLS together.
    pub connect: Duration,
    /// Most time without a byte of the body moving, either way, while the far side is the one to move.
    pub idle: Duration,
    /// Most time from the last byte of a request to the head of its answer.
    pub first_byte: Duration,
    /// How long a connection that nobody uses is kept.
    pub keep: Duration,
    /// Connections that nobody uses, at most, for each target; 0 closes each after its request.
    pub max_idle: usize,
    /// Requests under way at most, for each target; those beyond it wait as long as a connection may take.
    pub max_requests: Option<usize>,
    /// After so much silence the system asks a connection's other end for a sign of life.
    pub tcp_keep_alive: Option<Duration>,
    /// Which requests go through a proxy.
    pub proxies: Arc<Proxies>,
    /// PEM of authorities to trust beside the system's.
    pub extra_authorities: Option<PathBuf>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            first_byte: Duration::from_mins(1),
            keep: Duration::from_secs(20),
            max_idle: 256,
            max_requests: None,
            tcp_keep_alive: Some(Duration::from_secs(15)),
            proxies: Arc::default(),
            extra_authorities: None,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OutboundError {
    /// No connection; nothing was sent.
    #[error("no connection to {target}: {detail}")]
    Connect {
        /// Host and port.
        target: String,
        /// What went wrong.
        detail: String,
    },
    /// The far side let a deadline pass.
    #[error("no answer from {target} in time")]
    TimedOut {
        /// Host and port.
        target: String,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("the connection to {target} broke: {detail}")]
    Broken {
        /// Host and port.
        target: String,
        /// What went wrong.
        detail: String,
    },
    /// The body to be sent ended in an error: the far side never saw its end.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The request cannot be sent at all: no host in it, or a scheme that this build does not have.
    #[error("{0}")]
    Unsendable(String),
}

impl OutboundError {
    /// Whether the far side cannot have seen any of the request.
    pub const fn nothing_sent(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Unsendable(_))
    }
}

/// A client with connections of its own. Clones share them.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<Connector, Outgoing>,
    options: Arc<ClientOptions>,
    permits: Arc<Mutex<BTreeMap<String, Arc<Semaphore>>>>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("options", &self.options).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Makes ready to ask; nothing is sent yet, and no certificate is read before TLS is needed.
    pub fn new(options: ClientOptions) -> Self {
        let options = Arc::new(options);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.keep)
            .pool_max_idle_per_host(options.max_idle)
            .build(Connector::new(Arc::clone(&options)));
        Self { client, options, permits: Arc::default() }
    }

    /// Sends a request with an absolute URI, and waits for the head of its answer.
    ///
    /// `Content-Length` is set here, from the payload; `Host` where it is missing.
    ///
    /// # Errors
    /// [`OutboundError`]; a status of any kind is an answer.
    ///
    /// # Cancel safety
    /// A dropped future breaks the connection; the far side may have the whole request by then.
    pub async fn send(&self, request: Request<Payload>) -> Result<Response<ByteStream>, OutboundError> {
        self.send_within(request, self.options.first_byte).await
    }

    /// As [`HttpClient::send`], with a wait of its own for the head of the answer: some requests make work there.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn send_within(
        &self,
        request: Request<Payload>,
        first_byte: Duration,
    ) -> Result<Response<ByteStream>, OutboundError> {
        let target = target(request.uri())?;
        let permit = self.permit(&target).await?;
        let progress = Arc::new(Progress::default());
        let request = self.prepare(request, &progress).await?;
        let answer = self.client.request(request);
        let answer = self.wait(answer, &progress, first_byte, &target).await;
        // An answer may come before the body was read; a broken body is the first thing to tell even then.
        if let Some(fault) = progress.fault() {
            return Err(OutboundError::Body(fault));
        }
        Ok(self.opened(answer?, permit))
    }

    async fn prepare(
        &self,
        request: Request<Payload>,
        progress: &Arc<Progress>,
    ) -> Result<Request<Outgoing>, OutboundError> {
        let (mut head, payload) = request.into_parts();
        let outgoing = payload::outgoing(payload, Arc::clone(progress)).await?;
        match outgoing.length() {
            // A GET without a body says nothing of its length; a PUT must.
            Some(0) if head.method == http::Method::GET || head.method == http::Method::HEAD => {}
            Some(length) => {
                head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            None => {}
        }
        if let Some(login) = self.options.proxies.login_for(&head.uri) {
            head.headers.insert(header::PROXY_AUTHORIZATION, login);
        }
        Ok(Request::from_parts(head, outgoing))
    }

    /// The head of the answer, for as long as something moves or the source of the body is the one to move.
    async fn wait(
        &self,
        answer: impl Future<Output = Result<Response<Incoming>, ClientError>>,
        progress: &Progress,
        first_byte: Duration,
        target: &str,
    ) -> Result<Response<Incoming>, OutboundError> {
        tokio::pin!(answer);
        loop {
            let ended = progress.ended();
            let limit = if ended { first_byte } else { self.options.idle.max(self.options.connect) };
            let end = progress.moved() + limit;
            match tokio::time::timeout_at(end, &mut answer).await {
                Ok(answer) => return answer.map_err(|error| failed(&error, target)),
                Err(_) if progress.waits_for_source() => progress.touch(),
                Err(_) if progress.moved() + limit > Instant::now() || progress.ended() != ended => {}
                Err(_) => return Err(OutboundError::TimedOut { target: target.to_owned() }),
            }
        }
    }

    fn opened(&self, answer: Response<Incoming>, permit: Option<OwnedSemaphorePermit>) -> Response<ByteStream> {
        let idle = self.options.idle;
        answer.map(|body| Answered::new(body, idle, permit).boxed())
    }

    async fn permit(&self, target: &str) -> Result<Option<OwnedSemaphorePermit>, OutboundError> {
        let Some(most) = self.options.max_requests.filter(|most| *most > 0) else { return Ok(None) };
        let permits = {
            let mut all = self.permits.lock();
            let permits = all.entry(target.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(most)));
            Arc::clone(permits)
        };
        match tokio::time::timeout(self.options.connect, permits.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            Ok(Err(_)) | Err(_) => Err(OutboundError::Connect {
                target: target.to_owned(),
                detail: format!("{most} requests are under way already"),
            }),
        }
    }
}

/// Host and port of a URI, for messages and limits.
fn target(uri: &Uri) -> Result<String, OutboundError> {
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") if cfg!(feature = "tls") => true,
        Some("https") => {
            return Err(OutboundError::Unsendable("this build has no TLS: build with the feature tls".to_owned()));
        }
        _ => return Err(OutboundError::Unsendable(format!("{uri} must begin with http:// or https://"))),
    };
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| OutboundError::Unsendable(format!("{uri} names no host")))?;
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(if secure { 443 } else { 80 })))
}

fn failed(error: &ClientError, target: &str) -> OutboundError {
    let (target, detail) = (target.to_owned(), chain(error));
    if error.is_connect() {
        return OutboundError::Connect { target, detail };
    }
    let mut next = error.source();
    while let Some(source) = next {
        if source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return OutboundError::TimedOut { target };
        }
        next = source.source();
    }
    OutboundError::Broken { target, detail }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
