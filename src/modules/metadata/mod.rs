//! The metadata module: a metadata store over HTTP, in the messages of [`crate::metadata::wire`].
//!
//! | Request | |
//! |---|---|
//! | `POST /v1/get`, `POST /v1/scan` | reads |
//! | `POST /v1/batch` | conditions and writes, together or not at all, never twice |
//! | `POST /v1/session` | a front takes over; those before it are refused |
//! | `POST /v1/view`, `DELETE /v1/view/<name>` | a consistent view for many scans |
//! | `GET /v1/uuid`, `GET /v1/usage`, `GET /healthz` | who it is and how it is |

mod commit;
mod scan;
mod views;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::{commit::Commits, views::Views};
use super::{
    Gate,
    answer::{Fault, bare, document, refused, told},
};
use crate::{
    metadata::{MetadataStore, wire},
    s3::{Connection, Handler, Refusal, ResponseBody, reply::full},
    telemetry::RequestId,
    types::body::collect,
};

/// Most bytes of a question.
const MOST_QUESTION: usize = 64 << 10;
/// Bytes of all batches that are being taken in.
const BATCH_MEMORY: usize = 256 << 20;
/// Batches are counted in pieces of so many bytes.
const PIECE: usize = 4 << 10;

/// Serves a metadata store. Clones serve the same one.
#[derive(Clone, Debug)]
pub struct MetadataModule(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn MetadataStore>,
    commits: Commits,
    views: Views,
    gate: Gate,
    memory: Semaphore,
}

impl MetadataModule {
    /// A module over `store`.
    pub fn new(store: Arc<dyn MetadataStore>, gate: Gate) -> Self {
        let commits = Commits::new(Arc::clone(&store));
        let memory = Semaphore::new(BATCH_MEMORY / PIECE);
        Self(Arc::new(Inner { store, commits, views: Views::default(), gate, memory }))
    }

    async fn answer(self, request: Request<Incoming>) -> Response<ResponseBody> {
        let (operation, action) = match request.uri().path() {
            wire::GET => ("GetKey", "metadataGet"),
            wire::SCAN => ("ScanKeys", "metadataScan"),
            wire::BATCH => ("CommitBatch", "metadataBatch"),
            wire::SESSION => ("BeginSession", "metadataSession"),
            path if path.starts_with(wire::VIEW) => ("View", "metadataView"),
            wire::UUID | wire::USAGE | wire::HEALTH => ("AskMetadataModule", "metadataInfo"),
            _ => ("Unknown", "unknown"),
        };
        let mut response = told(self.dispatch(request).await, operation, action);
        if !self.0.store.is_writable() {
            response.headers_mut().insert(wire::READ_ONLY, HeaderValue::from_static("true"));
        }
        response
    }

    async fn dispatch(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Fault> {
        let (head, body) = request.into_parts();
        let inner = &*self.0;
        inner.gate.admit(&head.headers)?;
        inner.drop_views(&head.headers);
        match (&head.method, head.uri.path()) {
            (&Method::POST, wire::GET) => inner.get(body).await,
            (&Method::POST, wire::SCAN) => inner.scan(body).await,
            (&Method::POST, wire::BATCH) => inner.batch(&head.headers, body).await,
            (&Method::POST, wire::SESSION) => document(&json!({"session": inner.commits.begin().await?})),
            (&Method::POST, wire::VIEW) => {
                let view = inner.store.snapshot().await?;
                document(&json!({"view": inner.views.open(view)?}))
            }
            (&Method::GET, wire::UUID) => document(&json!({"uuid": inner.commits.uuid().await?})),
            (&Method::GET, wire::USAGE) => inner.usage(),
            (&Method::GET, wire::HEALTH) => inner.health().await,
            (&Method::DELETE, path) => {
                let name = path.strip_prefix(wire::VIEW).and_then(|rest| rest.strip_prefix('/'));
                inner.views.close(name.ok_or_else(unknown_path)?);
                Ok(bare(StatusCode::NO_CONTENT))
            }
            (_, wire::GET | wire::SCAN | wire::BATCH | wire::SESSION | wire::VIEW) => Err(Fault::method_not_allowed()),
            _ => Err(unknown_path()),
        }
    }
}

fn unknown_path() -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "RouteNotFound", "no such path in version 1 of this protocol")
}

impl Inner {
    fn drop_views(&self, headers: &HeaderMap) {
        let names = headers.get(wire::DROP_VIEWS).and_then(|names| names.to_str().ok()).unwrap_or_default();
        names.split(',').for_each(|name| self.views.close(name));
    }

    async fn question(&self, body: Incoming) -> Result<Bytes, Fault> {
        Ok(collect(self.gate.body(body), MOST_QUESTION).await?)
    }

    /// The value behind a byte that says that there is one: 1, or 0 and nothing.
    async fn get(&self, body: Incoming) -> Result<Response<ResponseBody>, Fault> {
        let (ns, key) = wire::Get::read(self.question(body).await?)?;
        let Some(value) = self.store.get(ns, &key).await? else {
            return Ok(binary(Bytes::from_static(&[0])));
        };
        let mut told = BytesMut::with_capacity(1 + value.len());
        told.put_u8(1);
        told.extend_from_slice(&value);
        Ok(binary(told.freeze()))
    }

    async fn scan(&self, body: Incoming) -> Result<Response<ResponseBody>, Fault> {
        let query = wire::Query::read(self.question(body).await?)?;
        let view = match query.view.as_str() {
            "" => None,
            name => Some(self.views.get(name).ok_or_else(|| {
                Fault::new(StatusCode::GONE, "NoSuchView", "this view was closed, or not used for too long")
            })?),
        };
        scan::answer(&self.store, view, query).await
    }

    async fn batch(&self, headers: &HeaderMap, body: Incoming) -> Result<Response<ResponseBody>, Fault> {
        let _memory = self.reserve(headers).await?;
        let message = collect(self.gate.body(body), wire::MOST_BYTES).await?;
        let (batch, ticket) = wire::read_batch(message)?;
        self.commits.commit(ticket, batch).await?;
        Ok(bare(StatusCode::OK))
    }

    /// Memory for a batch, as large as it is said to be.
    async fn reserve(&self, headers: &HeaderMap) -> Result<SemaphorePermit<'_>, Fault> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length: usize = length.ok_or_else(|| {
            Fault::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength", "a batch must say how long it is")
        })?;
        if length > wire::MOST_BYTES {
            return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "EntityTooLarge", "a batch has at most 64 MiB"));
        }
        let pieces = u32::try_from(length.div_ceil(PIECE)).unwrap_or(u32::MAX);
        let reserved = self.memory.acquire_many(pieces).await;
        reserved
            .map_err(|_| Fault::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the module is stopping"))
    }

    fn usage(&self) -> Result<Response<ResponseBody>, Fault> {
        let stats = self.store.stats();
        document(&json!({
            "diskBytes": stats.disk_bytes,
            "commits": stats.commits,
            "syncs": stats.syncs,
            "views": self.views.count(),
        }))
    }

    async fn health(&self) -> Result<Response<ResponseBody>, Fault> {
        self.commits.session().await?;
        if !self.store.is_writable() {
            return Err(Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ReadOnly",
                "the store takes no writes: restart it",
            ));
        }
        document(&json!({"status": "ok"}))
    }
}

fn binary(bytes: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(full(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

impl Handler for MetadataModule {
    fn handle(
        &self,
        request: Request<Incoming>,
        _: Connection,
        _: RequestId,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        self.clone().answer(request).boxed()
    }

    fn refuse(&self, refusal: Refusal, _: &RequestId) -> Response<ResponseBody> {
        refused(refusal)
    }
}
