//! The listener over real sockets, with a toy in place of S3.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream};
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use super::{Drain, Limits, Listener, Service, Tls, serve};
use crate::{
    s3::{Connection, Handler, Refusal, ResponseBody},
    tasks::Tasks,
    telemetry::{
        AccessFacts, AccessLog, LineSink, Metrics, RequestId, health::Readiness, lines::tests::Memory, logs::Now,
    },
    types::{BodyError, Timestamp},
};

mod framing;
mod lifecycle;
mod plain;
mod slow;
mod telling;
#[cfg(feature = "tls")]
mod tls;

/// Longest wait for anything that is expected to happen.
const SOON: Duration = Duration::from_mins(1);

/// A handler whose paths do what their names say.
pub(super) struct Toy {
    /// Requests that reached the handler.
    pub(super) met: AtomicUsize,
    /// Handlers running now.
    pub(super) running: AtomicUsize,
    /// `/wait` and `/gate` take a permit.
    pub(super) gate: Semaphore,
}

impl Default for Toy {
    fn default() -> Self {
        Self { met: AtomicUsize::new(0), running: AtomicUsize::new(0), gate: Semaphore::new(0) }
    }
}

struct Running(Arc<Toy>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Shared(Arc<Toy>);

fn body(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

impl Toy {
    async fn pass_gate(&self) {
        self.gate.acquire().await.unwrap().forget();
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<ResponseBody> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let _running = Running(Arc::clone(&self));
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/echo" => match request.into_body().collect().await {
                Ok(whole) => Response::new(body(whole.to_bytes())),
                Err(_) => status(StatusCode::BAD_REQUEST),
            },
            "/reject" => status(StatusCode::FORBIDDEN),
            "/gate" => {
                self.pass_gate().await;
                let whole = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
                Response::new(body(whole.unwrap_or_default()))
            }
            "/wait" => {
                self.pass_gate().await;
                Response::new(body("waited"))
            }
            "/panic" => panic!("the toy broke"),
            "/panic-body" => {
                let pieces = stream::iter(0..2).then(|number| async move {
                    if number > 0 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        panic!("the toy broke while answering");
                    }
                    Ok(Frame::data(Bytes::from_static(b"some")))
                });
                Response::new(ResponseBody::new(StreamBody::new(pieces)))
            }
            "/fail-body" => {
                let pieces = [Ok(Frame::data(Bytes::from_static(b"some"))), Err(BodyError::TimedOut)];
                let pieces = stream::iter(pieces).then(|piece| async move {
                    if piece.is_err() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    piece
                });
                Response::new(ResponseBody::new(StreamBody::new(pieces)))
            }
            "/sized" | "/short" | "/nothing" => {
                // As an object's bytes: a stream whose size only the head tells.
                let (length, pieces) = match path.as_str() {
                    "/sized" => ("8", 2),
                    "/short" => ("9", 2),
                    _ => ("0", 0),
                };
                let pieces = stream::iter(0..pieces).map(|_| Ok(Frame::data(Bytes::from_static(b"some"))));
                let mut response = Response::new(ResponseBody::new(StreamBody::new(pieces)));
                response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static(length));
                response
            }
            "/endless" => {
                let piece = Bytes::from(vec![b'x'; 64 << 10]);
                let pieces = stream::repeat_with(move || Ok(Frame::data(piece.clone())));
                Response::new(ResponseBody::new(StreamBody::new(pieces)))
            }
            "/facts" => {
                let mut response = Response::new(body("facts"));
                response.extensions_mut().insert(AccessFacts {
                    operation: "GetObject",
                    action: "objectGet",
                    bucket: Some("bucket".into()),
                    key: Some("key".into()),
                    requester: Some("caller".into()),
                    error: Some("NoSuchKey"),
                });
                response
            }
            _ => {
                let host = request.headers().get(header::HOST).map_or("", |host| host.to_str().unwrap()).to_owned();
                Response::new(body(format!("{} {} at {host}", request.method(), request.uri())))
            }
        }
    }
}

fn status(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(body(status.as_str().to_owned()));
    *response.status_mut() = status;
    response
}

impl Handler for Shared {
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: Connection,
        _: RequestId,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        self.0.met.fetch_add(1, Ordering::SeqCst);
        if request.uri().path() == "/tls" {
            return Box::pin(std::future::ready(Response::new(body(connection.tls_version.unwrap_or("none")))));
        }
        assert!(request.uri().path() != "/panic-early", "the toy broke at once");
        Box::pin(Arc::clone(&self.0).answer(request))
    }

    fn refuse(&self, refusal: Refusal, id: &RequestId) -> Response<ResponseBody> {
        let code = match refusal {
            Refusal::SlowDown | Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::HeadersTooLarge | Refusal::TargetTooLong | Refusal::AmbiguousFraming | Refusal::InvalidTarget => {
                StatusCode::BAD_REQUEST
            }
        };
        let mut response = Response::new(body(format!("<Code>{refusal:?}</Code><RequestId>{id}</RequestId>")));
        *response.status_mut() = code;
        response
    }
}

/// A listener at work.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    pub(super) toy: Arc<Toy>,
    pub(super) drain: Drain,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Readiness,
    pub(super) log: Memory,
    sink: LineSink,
    pub(super) tasks: Tasks,
}

impl Site {
    pub(super) fn start(limits: Limits) -> Self {
        Self::start_with(limits, None)
    }

    pub(super) fn start_with(limits: Limits, tls: Option<Arc<Tls>>) -> Self {
        let toy = Arc::<Toy>::default();
        let log = Memory::default();
        let sink = LineSink::new(log.clone()).unwrap();
        let metrics = Arc::<Metrics>::default();
        let service = Service {
            handler: Arc::new(Shared(Arc::clone(&toy))),
            limits,
            metrics: Arc::clone(&metrics),
            access_log: Some(AccessLog::new(sink.clone(), Now::new(|| Timestamp::from_secs(0)), true)),
            tls,
        };
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, tasks, readiness) = (listener.address(), Tasks::default(), Readiness::default());
        let drain = serve(vec![listener], service, readiness.clone(), &tasks).unwrap();
        Self { address, toy, drain, metrics, readiness, log, sink, tasks }
    }

    pub(super) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), seen: Vec::new() }
    }

    pub(super) fn met(&self) -> usize {
        self.toy.met.load(Ordering::SeqCst)
    }

    /// Waits until `what` holds.
    pub(super) async fn until(&self, what: impl Fn(&Self) -> bool + Send + Sync) {
        let wait = async {
            while !what(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(SOON, wait).await.expect("it did not come to pass");
    }

    /// Waits until nothing is open, running or counted any more.
    pub(super) async fn until_quiet(&self) {
        self.until(|site| {
            site.drain.connections() == 0
                && site.drain.requests() == 0
                && site.toy.running.load(Ordering::SeqCst) == 0
                && site.metrics.connections.get() == 0
                && site.metrics.requests.active.get() == 0
        })
        .await;
    }

    pub(super) fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.render();
        let value = text.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    pub(super) fn refused(&self, reason: &str) -> u64 {
        self.metric(&format!("cloudserver_refused_total{{reason=\"{reason}\"}}"))
    }

    /// The access lines so far.
    pub(super) fn lines(&self) -> Vec<serde_json::Value> {
        self.sink.flush();
        self.log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// The other end of a connection, byte by byte.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    seen: Vec<u8>,
}

impl Client {
    pub(super) async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    /// Sends what may find a closed door.
    pub(super) async fn try_send(&mut self, text: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(text.as_ref()).await.is_ok()
    }

    pub(super) async fn get(&mut self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.reply().await
    }

    /// The next answer; interim ones count.
    pub(super) async fn reply(&mut self) -> Reply {
        self.try_reply(true).await.expect("a reply")
    }

    /// The next answer to a `HEAD`.
    pub(super) async fn bodiless_reply(&mut self) -> Reply {
        self.try_reply(false).await.expect("a reply")
    }

    /// The next answer, or nothing if the connection ends first.
    pub(super) async fn try_reply(&mut self, with_body: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.seen.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: String::new() };
        let length: usize = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        if with_body {
            while self.seen.len() < length {
                if !self.more().await {
                    return None;
                }
            }
            reply.body = String::from_utf8(self.seen.drain(..length).collect()).unwrap();
        }
        Some(reply)
    }

    /// Reads a piece; `false` at the end.
    async fn more(&mut self) -> bool {
        let mut piece = vec![0; 64 << 10];
        let read = tokio::time::timeout(SOON, self.stream.read(&mut piece)).await.expect("bytes or an end");
        let read = read.unwrap_or(0);
        self.seen.extend_from_slice(&piece[..read]);
        read > 0
    }

    /// Reads to the end of the connection.
    pub(super) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.seen)).into_owned()
    }

    /// Whether nothing comes for a while.
    pub(super) async fn hears_nothing(&mut self, time: Duration) -> bool {
        let mut piece = [0; 1];
        self.seen.is_empty() && tokio::time::timeout(time, self.stream.peek(&mut piece)).await.is_err()
    }
}
