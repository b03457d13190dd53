//! The data module: the original's data daemon, byte for byte, and a few additions that its own requests never use.
//!
//! | Request | |
//! |---|---|
//! | `PUT /DataFile/` | 201 and `Location: /DataFile/<name>` |
//! | `GET /DataFile/<name>` | 200, 206, 416 |
//! | `DELETE /DataFile/<name>` | 204, 404 |
//! | `GET /DataFile?diskUsage` | space |
//! | `HEAD /DataFile/<name>` | ours: its size |
//! | `GET /DataFile?list&after=<name>&limit=<n>` | ours: names |
//! | `GET /DataFile?moduleInfo` | ours: what this module can do, or 503 while it does not work |
//! | `x-cloudserver-blob` on a `PUT` | ours: the name to use; with it the body may come in chunks |

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::{
    Gate,
    answer::{Fault, bare, document, refused, told},
};
use crate::{
    data::{
        BlobId, DataBackend, DataError, PutHint,
        remote::protocol::{BLOB, DISK_USAGE, LIST, MODULE_INFO, MOST_NAMES, ModuleInfo, SERVICE, Usage, is_name},
    },
    s3::{
        Connection, Handler, Refusal, ResponseBody,
        reply::{empty, set, streaming},
    },
    telemetry::RequestId,
    types::ByteRange,
};

/// Serves a data backend. Clones serve the same one.
#[derive(Clone, Debug)]
pub struct DataModule {
    backend: Arc<dyn DataBackend>,
    directory: Option<Arc<str>>,
    gate: Gate,
}

/// What a target asks for.
enum Asked<'a> {
    DiskUsage,
    ModuleInfo,
    Names(&'a str),
    Blob(BlobId),
    Nothing,
}

impl DataModule {
    /// A module over `backend`, whose directory has the identity `directory`, where it has one.
    pub fn new(backend: Arc<dyn DataBackend>, directory: Option<&str>, gate: Gate) -> Self {
        Self { backend, directory: directory.map(Arc::from), gate }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<ResponseBody> {
        let (operation, action) = match (request.method(), request.uri().query()) {
            (&Method::PUT, _) => ("PutBlob", "dataPut"),
            (&Method::DELETE, _) => ("DeleteBlob", "dataDelete"),
            (&Method::HEAD, _) => ("HeadBlob", "dataHead"),
            (&Method::GET, Some(_)) => ("AskDataModule", "dataInfo"),
            (&Method::GET, None) => ("GetBlob", "dataGet"),
            _ => ("Unknown", "unknown"),
        };
        told(self.dispatch(request).await, operation, action)
    }

    async fn dispatch(self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Fault> {
        self.gate.admit(request.headers())?;
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        match head.method {
            Method::PUT => match parse(target, false)? {
                Asked::Blob(_) => Err(Fault::invalid_uri("PUT url cannot contain a key")),
                _ => self.put(&head.headers, body).await,
            },
            Method::GET => match parse(target, true)? {
                Asked::DiskUsage => self.disk_usage().await,
                Asked::ModuleInfo => self.info().await,
                Asked::Names(query) => self.names(query).await,
                Asked::Blob(blob) => self.get(&blob, &head.headers).await,
                Asked::Nothing => Err(missing_key()),
            },
            Method::HEAD => match parse(target, false)? {
                Asked::Blob(blob) => self.head(&blob).await,
                _ => Err(missing_key()),
            },
            Method::DELETE => match parse(target, false)? {
                Asked::Blob(blob) => self.delete(&blob).await,
                _ => Err(missing_key()),
            },
            _ => Err(Fault::method_not_allowed()),
        }
    }

    /// Answered once the bytes are durable.
    async fn put(&self, headers: &HeaderMap, body: Incoming) -> Result<Response<ResponseBody>, Fault> {
        let blob = match headers.get(BLOB).map(|value| value.to_str()) {
            None => None,
            Some(Ok(name)) if is_name(name) => Some(BlobId::new(name)),
            Some(_) => {
                return Err(Fault::new(StatusCode::BAD_REQUEST, "InvalidInput", "no name that this module takes"));
            }
        };
        let size = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if size.is_none() && blob.is_none() {
            let message = "You must provide the Content-Length HTTP header.";
            return Err(Fault::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength", message));
        }
        let written =
            self.backend.put(self.gate.body(body), PutHint { blob, size }).await.map_err(|error| match error {
                DataError::Corrupt { .. } => {
                    Fault::new(StatusCode::BAD_REQUEST, "InvalidInput", "no name of this store")
                }
                other => other.into(),
            })?;
        let mut response = bare(StatusCode::CREATED);
        set(response.headers_mut(), header::LOCATION, &format!("{SERVICE}/{}", written.blob.as_str()));
        Ok(response)
    }

    async fn get(&self, blob: &BlobId, headers: &HeaderMap) -> Result<Response<ResponseBody>, Fault> {
        let size = self.size(blob).await?;
        let wanted = headers.get(header::RANGE).and_then(|value| ByteRange::parse(value.to_str().ok()?));
        let range = match wanted {
            None => None,
            // To the original all of nothing satisfies whoever asks for the end of it.
            Some(ByteRange::Suffix(1..)) if size == 0 => None,
            Some(range) => Some(range.resolve(size).map_err(|_| Fault::invalid_range())?),
        };
        // The first block is read and verified before the head is sent.
        let stream = self.backend.get(blob, range.clone().unwrap_or(0..size)).await.map_err(of_blob)?;
        let mut response = Response::new(streaming(stream));
        let length = range.as_ref().map_or(size, |range| range.end - range.start);
        let out = response.headers_mut();
        out.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(range) = range {
            set(out, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(response)
    }

    async fn head(&self, blob: &BlobId) -> Result<Response<ResponseBody>, Fault> {
        let size = self.size(blob).await?;
        let mut response = Response::new(empty());
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        Ok(response)
    }

    async fn delete(&self, blob: &BlobId) -> Result<Response<ResponseBody>, Fault> {
        match self.backend.size(blob).await.map_err(of_blob) {
            // What is damaged, or was never finished, goes all the same.
            Err(fault) if fault.kind != "Corrupt" => return Err(fault),
            Ok(_) | Err(_) => self.backend.delete(blob).await.map_err(of_blob)?,
        }
        Ok(bare(StatusCode::NO_CONTENT))
    }

    async fn size(&self, blob: &BlobId) -> Result<u64, Fault> {
        let size = self.backend.size(blob).await.map_err(of_blob)?;
        size.ok_or_else(|| Fault::not_implemented("this store cannot tell sizes"))
    }

    async fn disk_usage(&self) -> Result<Response<ResponseBody>, Fault> {
        let usage = self.backend.disk_usage().await?;
        let usage = usage.ok_or_else(|| Fault::not_implemented("this store has no disk"))?;
        document(&Usage { available: usage.available, free: usage.free, total: usage.total })
    }

    async fn info(&self) -> Result<Response<ResponseBody>, Fault> {
        self.backend.probe().await?;
        let can = self.backend.capabilities();
        document(&ModuleInfo {
            directory: self.directory.as_deref().map(str::to_owned),
            durable: can.durable,
            verified_reads: can.verified_reads,
        })
    }

    async fn names(&self, query: &str) -> Result<Response<ResponseBody>, Fault> {
        let invalid = || Fault::new(StatusCode::BAD_REQUEST, "InvalidInput", "after is a name, limit a number");
        let (mut after, mut limit) = (None, MOST_NAMES);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("after", name)) if is_name(name) => after = Some(BlobId::new(name)),
                Some(("limit", number)) => limit = number.parse().map_err(|_| invalid())?,
                _ => return Err(invalid()),
            }
        }
        let names = self.backend.list(after.as_ref(), limit.min(MOST_NAMES)).await.map_err(|error| match error {
            DataError::Corrupt { .. } => invalid(),
            other => other.into(),
        })?;
        let names: Vec<&str> = names.iter().map(BlobId::as_str).collect();
        document(&names)
    }
}

/// A name that this store does not make is one that it does not have; what is damaged is another matter.
fn of_blob(error: DataError) -> Fault {
    match error {
        DataError::Corrupt { detail, .. } if detail.starts_with("no name") => Fault::not_found(),
        other => other.into(),
    }
}

fn missing_key() -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "MissingParameter", "URL is missing key")
}

/// Reads a target as the original did: `/<letters and digits>`, then perhaps a slash and lowercase hexadecimal
/// digits, and nothing else; queries are known by their whole text.
fn parse(target: &str, may_ask: bool) -> Result<Asked<'_>, Fault> {
    if let Some(query) = target.strip_prefix(SERVICE).and_then(|rest| rest.strip_prefix('?')).filter(|_| may_ask) {
        match query {
            DISK_USAGE => return Ok(Asked::DiskUsage),
            MODULE_INFO => return Ok(Asked::ModuleInfo),
            _ => {}
        }
        match query.strip_prefix(LIST) {
            Some(rest) if rest.is_empty() || rest.starts_with('&') => return Ok(Asked::Names(rest)),
            _ => {}
        }
    }
    let malformed = || Fault::invalid_uri("malformed URI");
    let unsupported = |service: &str| {
        Fault::new(StatusCode::BAD_REQUEST, "InvalidAction", format!("unsupported service '{service}'"))
    };
    if target.starts_with("/PassthroughFile") {
        return Err(unsupported("/PassthroughFile"));
    }
    let rest = target.strip_prefix('/').ok_or_else(malformed)?;
    let (service, key) = rest.split_once('/').unwrap_or((rest, ""));
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if service.is_empty() || !service.bytes().all(|byte| byte.is_ascii_alphanumeric()) || !key.bytes().all(hex) {
        return Err(malformed());
    }
    if SERVICE.strip_prefix('/') != Some(service) {
        return Err(unsupported(&format!("/{service}")));
    }
    Ok(if key.is_empty() { Asked::Nothing } else { Asked::Blob(BlobId::new(key)) })
}

impl Handler for DataModule {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn word(target: &str, may_ask: bool) -> String {
        match parse(target, may_ask) {
            Ok(Asked::DiskUsage) => "usage".to_owned(),
            Ok(Asked::ModuleInfo) => "info".to_owned(),
            Ok(Asked::Names(rest)) => format!("names{rest}"),
            Ok(Asked::Blob(blob)) => format!("blob {}", blob.as_str()),
            Ok(Asked::Nothing) => "nothing".to_owned(),
            Err(fault) => format!("{} {}: {}", fault.status.as_u16(), fault.kind, fault.message),
        }
    }

    #[test]
    fn targets_are_read_as_the_original_read_them() {
        assert_eq!(word("/DataFile/0af", true), "blob 0af");
        assert_eq!(word("/DataFile/", true), "nothing");
        assert_eq!(word("/DataFile", true), "nothing");
        assert_eq!(word("/DataFile?diskUsage", true), "usage");
        let malformed = "400 InvalidURI: malformed URI";
        for target in
            ["/DataFile?diskUsage", "/DataFile/0af?x", "/DataFile?other", "/DataFile/0AF", "/DataFile/a/b", "/"]
        {
            assert_eq!(word(target, false), malformed, "{target}");
        }
        assert_eq!(word("/DataFile/../etc", true), malformed);
        assert_eq!(word("/Other/0af", true), "400 InvalidAction: unsupported service '/Other'");
        assert_eq!(word("/PassthroughFile/x y", true), "400 InvalidAction: unsupported service '/PassthroughFile'");
    }

    #[test]
    fn our_queries_are_those_that_the_original_refuses() {
        assert_eq!(word("/DataFile?moduleInfo", true), "info");
        assert_eq!(word("/DataFile?list&after=0a&limit=5", true), "names&after=0a&limit=5");
        assert_eq!(word("/DataFile?list", true), "names");
        assert_eq!(word("/DataFile?listing", true), "400 InvalidURI: malformed URI");
    }

    #[test]
    fn errors_have_the_originals_form() {
        let answer = Fault::not_found().answer();
        assert_eq!(answer.status(), 404);
        let text = http_body_util::BodyExt::collect(answer.into_body()).now_or_never().unwrap().unwrap().to_bytes();
        assert_eq!(text, "{\"errorType\":\"ObjNotFound\",\"errorMessage\":\"This object does not exist\"}\n");
    }
}
