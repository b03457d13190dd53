//! A client: builds requests, signs them, sends them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aws_sigv4::http_request::SignatureLocation;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use cloudserver::{
    clock::{Clock as _, SystemClock},
    types::Timestamp,
};
use md5::{Digest as _, Md5};
use parking_lot::Mutex;

use super::{
    chunked::Wrap,
    sign::{ChunkSigner, Key, Scheme, Signing, sha256_hex},
    wire::{Connection, Reply, Request},
};

/// Somebody who talks to the server. Connections are kept and used again.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) key: Key,
    pub(crate) scheme: Scheme,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// What `x-amz-content-sha256` says.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// The hash of the body.
    Signed,
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// These words, whatever the body is.
    Saying(String),
    /// The body in chunks.
    Wrapped(Wrap),
}

/// A request in the making.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    client: Client,
    scheme: Scheme,
    request: Request,
    payload: Payload,
    signing: Signing,
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// A `Content-MD5` value.
pub(crate) fn content_md5(body: &[u8]) -> String {
    BASE64_STANDARD.encode(Md5::digest(body))
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: Key, scheme: Scheme) -> Self {
        Self { address, key, scheme, idle: Arc::default() }
    }

    /// The same person, proving it in another way.
    pub(crate) fn by(&self, scheme: Scheme) -> Self {
        Self { scheme, ..self.clone() }
    }

    /// A request for `target`: path and query, escaped.
    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        let headers = vec![("host".to_owned(), self.address.to_string())];
        Call {
            client: self.clone(),
            scheme: self.scheme,
            request: Request { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() },
            payload: Payload::Signed,
            signing: Signing {
                key: self.key.clone(),
                time: now(),
                region: "us-east-1".to_owned(),
                lifetime: Duration::from_mins(5),
            },
        }
    }

    pub(crate) fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    pub(crate) fn head(&self, target: &str) -> Call {
        self.call("HEAD", target)
    }

    pub(crate) fn put(&self, target: &str, body: impl AsRef<[u8]>) -> Call {
        self.call("PUT", target).body(body)
    }

    pub(crate) fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Call {
        self.call("POST", target).body(body)
    }

    pub(crate) fn delete(&self, target: &str) -> Call {
        self.call("DELETE", target)
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: &Request) -> Reply {
        let bytes = request.bytes();
        let kept = self.idle.lock().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(self.address).await,
        };
        connection.send(&bytes).await;
        let reply = connection.reply(&request.method).await;
        let reply = reply.unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.target));
        self.keep(connection, &reply);
        reply
    }

    fn keep(&self, connection: Connection, reply: &Reply) {
        if !reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.idle.lock().push(connection);
        }
    }
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.request.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn headers(self, headers: &[(&str, &str)]) -> Self {
        headers.iter().fold(self, |call, (name, value)| call.header(name, value))
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.request.set("host", host);
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.request.body = body.as_ref().to_vec();
        self
    }

    /// With the digest that some documents need.
    pub(crate) fn digested(self) -> Self {
        let digest = content_md5(&self.request.body);
        self.header("content-md5", digest)
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    pub(crate) fn unsigned(self) -> Self {
        self.payload(Payload::Unsigned)
    }

    /// With the body in chunks, and the headers that announce them.
    pub(crate) fn wrapped(self, wrap: Wrap) -> Self {
        let length = self.request.body.len().to_string();
        let call = self.header("content-encoding", "aws-chunked").header("x-amz-decoded-content-length", length);
        match wrap.trailer.clone() {
            Some((name, _)) => call.header("x-amz-trailer", name).payload(Payload::Wrapped(wrap)),
            None => call.payload(Payload::Wrapped(wrap)),
        }
    }

    pub(crate) fn by(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Signed with another key.
    pub(crate) fn keyed(mut self, key: Key) -> Self {
        self.signing.key = key;
        self
    }

    /// Signed by a clock that goes wrong by so many seconds.
    pub(crate) fn shifted(mut self, seconds: i64) -> Self {
        let time = self.signing.time.as_secs().saturating_add_signed(seconds);
        self.signing.time = Timestamp::from_secs(time);
        self
    }

    /// Valid for so long, where the query is signed.
    pub(crate) fn lifetime(mut self, seconds: u64) -> Self {
        self.signing.lifetime = Duration::from_secs(seconds);
        self
    }

    pub(crate) fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.signing.region);
        self
    }

    /// The request as it goes out, signed.
    pub(crate) fn signed(&self) -> Request {
        let mut request = self.request.clone();
        let hash = match &self.payload {
            Payload::Signed if self.scheme == Scheme::QueryV4 => "UNSIGNED-PAYLOAD".to_owned(),
            Payload::Signed => sha256_hex(&request.body),
            Payload::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Payload::Saying(words) => words.clone(),
            Payload::Wrapped(wrap) => wrap.name().to_owned(),
        };
        let plain = matches!(self.payload, Payload::Signed | Payload::Unsigned);
        match self.scheme {
            Scheme::HeaderV4 => self.signing.v4(&mut request, &hash, SignatureLocation::Headers),
            Scheme::QueryV4 => {
                if !plain {
                    request.set("x-amz-content-sha256", &hash);
                }
                self.signing.v4(&mut request, &hash, SignatureLocation::QueryParams);
            }
            Scheme::Anonymous | Scheme::HeaderV2 | Scheme::QueryV2 => {
                if !plain {
                    request.set("x-amz-content-sha256", &hash);
                }
                match self.scheme {
                    Scheme::HeaderV2 => self.signing.header_v2(&mut request),
                    Scheme::QueryV2 => self.signing.query_v2(&mut request),
                    _ => {}
                }
            }
        }
        if let Payload::Wrapped(wrap) = &self.payload {
            let signer = (wrap.signed && self.scheme == Scheme::HeaderV4).then(|| self.chunk_signer(&request));
            request.body = wrap.encode(&request.body, signer);
        }
        request
    }

    /// What signs the chunks behind a signed request.
    pub(crate) fn chunk_signer(&self, request: &Request) -> ChunkSigner {
        ChunkSigner::of(&self.signing, request)
    }

    pub(crate) async fn send(&self) -> Reply {
        self.client.send(&self.signed()).await
    }

    /// Signs, lets `change` spoil the request, and sends it.
    pub(crate) async fn spoiled(&self, change: impl FnOnce(&mut Request)) -> Reply {
        let mut request = self.signed();
        change(&mut request);
        self.client.send(&request).await
    }

    /// Sends, and expects this status.
    pub(crate) async fn expect(&self, status: u16) -> Reply {
        let reply = self.send().await;
        assert_eq!(reply.status, status, "{} {}: {reply}", self.request.method, self.request.target);
        reply
    }

    /// Sends, and expects this error.
    pub(crate) async fn refused(&self, status: u16, code: &str) -> Reply {
        let reply = self.send().await;
        if self.request.method == "HEAD" {
            assert_eq!(reply.status, status, "{} {}: {reply}", self.request.method, self.request.target);
            return reply;
        }
        let got = reply.tag("Code").unwrap_or_default();
        assert_eq!(
            (reply.status, got.as_str()),
            (status, code),
            "{} {}: {reply}",
            self.request.method,
            self.request.target
        );
        reply.refused(status, code)
    }
}
