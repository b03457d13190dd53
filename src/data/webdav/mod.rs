//! A collection of a WebDAV server (RFC 4918) as a [tree of files](super::tree): Apache, nginx, Nextcloud, rclone and
//! their like.
//!
//! A file is written by PUT and named by MOVE with `Overwrite: F`; bytes are streamed both ways, and asked for by range.
//! How durable a written file is, is the server's own affair: the protocol has no word for it.

mod answers;

use std::{fmt, ops::Range};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future, future::BoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};

use self::answers::{Range206, failure, names_in};
use super::{
    DiskUsage,
    tree::{FileTree, OpenFile, PATIENCE, TreeBackend, TreeError},
};
use crate::{
    outbound::{HttpClient, OutboundError, Payload},
    types::{ByteStream, body},
};

/// Longest answer to a question about a folder.
const LONGEST_LIST: usize = 16 << 20;
/// What is asked of each file of a folder: as little as may be.
const ASKED: &[u8] =
    br#"<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>"#;

/// Who we are at a server.
#[derive(Clone, Default)]
pub enum WebDavLogin {
    /// Nobody is asked for.
    #[default]
    Anonymous,
    /// `Authorization: Basic`.
    Password {
        /// The user.
        user: String,
        /// His password.
        password: SecretString,
    },
    /// `Authorization: Bearer`.
    Token(SecretString),
}

impl fmt::Debug for WebDavLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password",
            Self::Token(_) => "Token",
        })
    }
}

/// Where a collection is.
#[derive(Clone, Debug)]
pub struct WebDavOptions {
    /// Its address, which must be there.
    pub url: String,
    /// Who we are there.
    pub login: WebDavLogin,
}

/// Blobs in a collection; nothing is asked of it yet.
pub fn backend(http: HttpClient, options: &WebDavOptions) -> TreeBackend {
    let url = options.url.trim_end_matches('/').to_owned();
    TreeBackend::over(Collection { http, login: authorization(&options.login), url })
}

fn authorization(login: &WebDavLogin) -> Option<HeaderValue> {
    let text = match login {
        WebDavLogin::Anonymous => return None,
        WebDavLogin::Password { user, password } => {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.expose_secret())))
        }
        WebDavLogin::Token(token) => format!("Bearer {}", token.expose_secret()),
    };
    // The configuration has refused what no header can have.
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A collection, and how to ask for things in it.
#[derive(Debug)]
struct Collection {
    http: HttpClient,
    login: Option<HeaderValue>,
    /// Without a slash at its end.
    url: String,
}

/// A request about a file of the collection, or about the collection.
struct Call<'a> {
    method: &'static str,
    path: &'a str,
    headers: HeaderMap,
    payload: Payload,
}

impl<'a> Call<'a> {
    fn new(method: &'static str, path: &'a str) -> Self {
        Self { method, path, headers: HeaderMap::new(), payload: Payload::Empty }
    }

    /// With a header; a value that no header can have is left out.
    fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    fn with_payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// A question about the names at a path, or one level deeper.
    fn names(path: &'a str, depth: &'static str) -> Self {
        let call = Self::new("PROPFIND", path).with("depth", depth).with("content-type", "application/xml");
        call.with_payload(Payload::Held(Bytes::from_static(ASKED)))
    }
}

impl Collection {
    fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// The answer to a request, whatever it says.
    async fn send(&self, call: Call<'_>) -> Result<Response<ByteStream>, TreeError> {
        let refuse = |error: &dyn fmt::Display| TreeError::Refused(format!("no request can be made: {error}"));
        let method = Method::from_bytes(call.method.as_bytes()).map_err(|error| refuse(&error))?;
        let request = Request::builder().method(method).uri(self.address(call.path)).body(call.payload);
        let mut request = request.map_err(|error| refuse(&error))?;
        request.headers_mut().extend(call.headers);
        // Bytes are to come as they are kept.
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(login) = &self.login {
            request.headers_mut().insert(header::AUTHORIZATION, login.clone());
        }
        match self.http.send_within(request, PATIENCE).await {
            Ok(answer) => Ok(answer),
            Err(OutboundError::Body(error)) => Err(TreeError::Body(error)),
            Err(error @ OutboundError::Unsendable(_)) => Err(TreeError::Refused(error.to_string())),
            Err(error) => Err(TreeError::Away(error.to_string())),
        }
    }

    /// The answer to a request, if it says yes.
    async fn ask(&self, call: Call<'_>) -> Result<Response<ByteStream>, TreeError> {
        let method = call.method;
        judged(method, self.send(call).await?).await
    }

    /// As [`Collection::ask`], for what answers with nothing of interest.
    async fn tell(&self, call: Call<'_>) -> Result<(), TreeError> {
        let answer = self.ask(call).await?;
        // Read, so that the connection can serve again.
        drop(body::collect(answer.into_body(), LONGEST_LIST).await);
        Ok(())
    }

    async fn rename_at(&self, from: &str, to: &str) -> Result<(), TreeError> {
        let address = self.address(to);
        let call = |destination: &str| Call::new("MOVE", from).with("destination", destination).with("overwrite", "F");
        let mut answer = self.send(call(&address)).await?;
        if matches!(answer.status(), StatusCode::BAD_GATEWAY | StatusCode::BAD_REQUEST) {
            // A server behind a proxy that ends TLS knows itself by another name: there a path alone is understood.
            let path = address.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
            answer = self.send(call(path.unwrap_or(&address))).await?;
        }
        let answer = judged("MOVE", answer).await?;
        drop(body::collect(answer.into_body(), LONGEST_LIST).await);
        Ok(())
    }

    async fn open(&self, path: &str, range: Range<u64>) -> Result<OpenFile, TreeError> {
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let answer = self.ask(Call::new("GET", path).with("range", &bytes)).await?;
        let encoded = answer.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
        if encoded {
            return Err(TreeError::Refused("GET: the server encodes what it keeps".to_owned()));
        }
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let there = Range206::of(answer.headers()).filter(|there| there.start == range.start);
            let there = there.ok_or_else(|| TreeError::Away("GET: the answer is of another range".to_owned()))?;
            return Ok(OpenFile { length: there.total, bytes: answer.into_body() });
        }
        // It knows no ranges, or took this one for the whole file.
        let length = length_of(answer.headers())?;
        if range.start >= length {
            return Err(TreeError::Beyond);
        }
        Ok(OpenFile { length, bytes: without_first(answer.into_body(), range.start) })
    }
}

/// An answer, if it says yes.
async fn judged(method: &'static str, answer: Response<ByteStream>) -> Result<Response<ByteStream>, TreeError> {
    // 207 to anything but a question tells that a part of it failed.
    let partly = answer.status() == StatusCode::MULTI_STATUS && method != "PROPFIND";
    if answer.status().is_success() && !partly { Ok(answer) } else { Err(failure(method, answer).await) }
}

fn length_of(headers: &HeaderMap) -> Result<u64, TreeError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse().ok());
    length.ok_or_else(|| TreeError::Refused("the server does not tell how long its files are".to_owned()))
}

/// A stream from its byte `skip` on.
fn without_first(stream: ByteStream, mut skip: u64) -> ByteStream {
    let rest = stream.filter_map(move |slice| {
        let slice = slice.map(|mut bytes| {
            let now = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            skip -= now as u64;
            bytes.split_off(now)
        });
        future::ready(Some(slice).filter(|slice| slice.as_ref().map_or(true, |bytes| !bytes.is_empty())))
    });
    rest.boxed()
}

impl FileTree for Collection {
    fn write<'a>(&'a self, path: &'a str, body: ByteStream, size: Option<u64>) -> BoxFuture<'a, Result<(), TreeError>> {
        let call = Call::new("PUT", path).with("content-type", "application/octet-stream");
        self.tell(call.with_payload(Payload::Stream { body, size })).boxed()
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<(), TreeError>> {
        self.rename_at(from, to).boxed()
    }

    fn length<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<u64, TreeError>> {
        async move { length_of(self.ask(Call::new("HEAD", path)).await?.headers()) }.boxed()
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<OpenFile, TreeError>> {
        self.open(path, range).boxed()
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), TreeError>> {
        self.tell(Call::new("DELETE", path)).boxed()
    }

    fn make_folder<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), TreeError>> {
        async move {
            match self.tell(Call::new("MKCOL", path)).await {
                // RFC 4918, 9.3.1: 405 where it is there.
                Ok(()) | Err(TreeError::Exists) => Ok(()),
                // Apache says 403 where another made it in that moment.
                Err(refused @ TreeError::Refused(_)) => {
                    self.tell(Call::names(&format!("{path}/"), "0")).await.map_err(|_| refused)
                }
                failed => failed,
            }
        }
        .boxed()
    }

    fn names<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, TreeError>> {
        async move {
            // Some servers send a path without the slash elsewhere.
            let folder = format!("{folder}/");
            let answer = self.ask(Call::names(&folder, "1")).await?;
            let text = body::collect(answer.into_body(), LONGEST_LIST).await;
            let text = text.map_err(|error| TreeError::Away(format!("PROPFIND: {error}")))?;
            names_in(&text).ok_or_else(|| TreeError::Away("PROPFIND: the answer is no list".to_owned()))
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), TreeError>> {
        async move {
            match self.tell(Call::names("", "0")).await {
                Err(TreeError::Missing) => {
                    Err(TreeError::Refused("the collection is not there: make it, or correct the url".to_owned()))
                }
                done => done,
            }
        }
        .boxed()
    }

    fn usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, TreeError>> {
        future::ready(Ok(None)).boxed()
    }
}
