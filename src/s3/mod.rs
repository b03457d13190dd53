//! The S3 protocol: one operation is one type and one row of a table.

mod absent;
mod auth_error;
mod authorize;
pub mod body;
pub mod codes;
pub mod conditional;
pub mod context;
pub mod cors;
pub mod encryption;
pub mod error;
mod facts;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod grants;
pub mod head;
mod locations;
pub mod lock_headers;
pub mod object_headers;
pub mod operation;
pub mod ops;
mod permits;
pub mod pipeline;
pub mod read_through;
pub mod reply;
pub mod report;
pub mod request_body;
pub mod resolve;
pub mod search;
mod server_log;
pub mod shape;
mod sosapi;
pub mod table;
pub mod tags;
pub mod token;
pub mod website;
pub use crate::xml;

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;

use crate::{telemetry::RequestId, types::BodyError};

/// The body of an answer. An error cuts the connection, so that no client takes half an object for a whole one.
pub type ResponseBody = UnsyncBoxBody<Bytes, BodyError>;

/// The connection a request came on.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The socket's peer.
    pub peer: SocketAddr,
    /// The socket's own address.
    pub local: SocketAddr,
    /// Whether TLS protects it.
    pub secure: bool,
    /// Its version, as `1.3`.
    pub tls_version: Option<&'static str>,
}

/// Why the listener refuses a request before the protocol sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A limit on connections or requests is reached: 503 `SlowDown` with `Retry-After`.
    SlowDown,
    /// The server is stopping: 503 `ServiceUnavailable`.
    Stopping,
    /// The handler panicked: 500 `InternalError`.
    Panicked,
    /// The header section is too large: 400 `RequestHeaderSectionTooLarge`.
    HeadersTooLarge,
    /// The request target is too long: 400 `InvalidURI`.
    TargetTooLong,
    /// The framing is ambiguous (both lengths, repeated length): 400 `InvalidRequest`.
    AmbiguousFraming,
    /// The request target is no URI, or has a fragment: 400 `InvalidURI`.
    InvalidTarget,
}

/// What a listener hands its requests to.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request. Never fails: an error is an answer, too.
    fn handle(
        &self,
        request: http::Request<hyper::body::Incoming>,
        connection: Connection,
        id: RequestId,
    ) -> BoxFuture<'static, http::Response<ResponseBody>>;

    /// The S3 error document for a request the listener refuses.
    fn refuse(&self, refusal: Refusal, id: &RequestId) -> http::Response<ResponseBody>;
}
