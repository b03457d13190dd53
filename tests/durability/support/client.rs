//! A small S3 client: one request at a time over pooled connections, no retries, no opinions.
//!
//! A retry would hide what the history checker is after: an answer that did not come is an unknown outcome.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, sync::Mutex, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::StatusCode;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::sign::Signer;

/// Longer than any answer takes on a loaded machine; a request that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(2);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A client of one server. Clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    host: String,
    signer: Signer,
    pool: Mutex<Vec<SendRequest<Body>>>,
}

/// A request before it is signed.
#[derive(Debug)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Body,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Request {
    /// `path` begins with a slash and is not escaped.
    pub(crate) fn new(method: &'static str, path: impl Into<String>) -> Self {
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        Self { method, path: path.into(), query: Vec::new(), headers: Vec::new(), body }
    }

    pub(crate) fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync();
        self
    }

    /// A body of `length` bytes that comes piece by piece. A short one breaks the request off.
    pub(crate) fn stream(self, length: u64, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        let body = StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync();
        Self { body, ..self.header("content-length", length) }
    }
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn etag(&self) -> String {
        self.header("etag").replace('"', "")
    }

    /// The answer, if it is a success.
    pub(crate) fn good(self, what: &str) -> Self {
        assert!(self.status.is_success(), "{what}: {} {:?}", self.status, self.body);
        self
    }

    /// An error's code.
    pub(crate) fn code(&self) -> &str {
        super::xml::first(self.text(), "Code").unwrap_or_default()
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, access: &str, secret: &str) -> Self {
        let (host, signer) = (address.to_string(), Signer::new(access, secret));
        Self(Arc::new(Inner { address, host, signer, pool: Mutex::default() }))
    }

    /// Sends and reads the whole answer.
    ///
    /// # Errors
    /// Whatever leaves the outcome unknown.
    pub(crate) async fn send(&self, request: Request) -> io::Result<Answer> {
        let exchange = async {
            let (parts, mut body, connection) = self.open(request).await?;
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
            self.0.pool.lock().unwrap().push(connection);
            Ok(answer(&parts, bytes.into()))
        };
        let ended = tokio::time::timeout(PATIENCE, exchange).await;
        ended.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
    }

    /// Sends and counts the answer's bytes without keeping them.
    pub(crate) async fn drain(&self, request: Request) -> io::Result<(StatusCode, u64)> {
        let (parts, mut body, connection) = self.open(request).await?;
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.map_err(io::Error::other)?.data_ref().map_or(0, |data| data.len() as u64);
        }
        self.0.pool.lock().unwrap().push(connection);
        Ok((parts.status, length))
    }

    async fn open(&self, request: Request) -> io::Result<(http::response::Parts, Incoming, SendRequest<Body>)> {
        let Request { method, path, query, headers, body } = request;
        let query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let signed = self.0.signer.sign(method, &path, &query, &self.0.host, &headers);
        let mut message = http::Request::builder().method(method).uri(signed.target);
        for (name, value) in &signed.headers {
            message = message.header(name, value);
        }
        let message = message.body(body).map_err(io::Error::other)?;
        let mut connection = self.connection().await?;
        let answer = connection.send_request(message).await.map_err(io::Error::other)?;
        let (parts, body) = answer.into_parts();
        Ok((parts, body, connection))
    }

    async fn connection(&self) -> io::Result<SendRequest<Body>> {
        loop {
            let pooled = self.0.pool.lock().unwrap().pop();
            let Some(mut pooled) = pooled else { break };
            if pooled.ready().await.is_ok() {
                return Ok(pooled);
            }
        }
        let stream = TcpStream::connect(self.0.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Its end shows at whoever waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    /// Gives up all idle connections.
    pub(crate) fn hang_up(&self) {
        self.0.pool.lock().unwrap().clear();
    }

    pub(crate) async fn create_bucket(&self, name: &str) {
        let answer = self.send(Request::new("PUT", format!("/{name}"))).await.unwrap();
        answer.good("create a bucket");
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<Bytes>) -> io::Result<Answer> {
        self.send(Request::new("PUT", path).body(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> io::Result<Answer> {
        self.send(Request::new("GET", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> io::Result<Answer> {
        self.send(Request::new("DELETE", path)).await
    }
}

fn answer(parts: &http::response::Parts, body: Bytes) -> Answer {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Answer { status: parts.status, headers, body }
}
