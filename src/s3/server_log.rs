//! What a request tells the access log of its bucket, gathered from its head to the end of its answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Version, header, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use pin_project_lite::pin_project;

use super::{Connection, ResponseBody, operation::Scope, table::OPERATIONS, xml::url_encode};
use crate::{
    auth::Principal,
    logging::{AccessLine, AccessLogs},
    storage::Bucket,
    telemetry::{AccessFacts, RequestId, access_log::redacted},
    types::{BodyError, Timestamp},
};

/// What a request of many deletes did to one key: an extension of its response, for it has a line of its own in access
/// logs.
#[derive(Clone, Debug)]
pub(super) struct BatchDelete {
    /// The key.
    pub(super) key: String,
    /// The version that was named, else the marker that was made; empty for none.
    pub(super) version: String,
    /// What a request for this key alone would have been answered.
    pub(super) status: u16,
    /// The error code; empty for none.
    pub(super) error: &'static str,
}

/// All of them, in the order of the document.
#[derive(Clone, Debug)]
pub(super) struct BatchDeletes(pub(super) Arc<[BatchDelete]>);

/// A request to a bucket that keeps a log.
#[derive(Debug)]
pub(super) struct Draft {
    logs: AccessLogs,
    bucket: Arc<Bucket>,
    scope: Scope,
    connection: Connection,
    time: Timestamp,
    began: Instant,
    method: Method,
    request: String,
    version: String,
    requester: String,
    proof: (&'static str, &'static str),
    referer: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    host: Option<HeaderValue>,
    received: Option<u64>,
}

impl Draft {
    /// What the head tells.
    pub(super) fn begin(
        logs: AccessLogs,
        bucket: Arc<Bucket>,
        scope: Scope,
        (parts, connection): (&Parts, Connection),
        time: Timestamp,
    ) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let length = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            logs,
            bucket,
            scope,
            connection,
            time,
            began: Instant::now(),
            method: parts.method.clone(),
            request: request_line(parts, query),
            version: parameter(query, "versionId").to_owned(),
            requester: String::new(),
            proof: proof(&parts.headers, query),
            referer: parts.headers.get(header::REFERER).cloned(),
            agent: parts.headers.get(header::USER_AGENT).cloned(),
            host: parts.headers.get(header::HOST).cloned(),
            received: length("x-amz-decoded-content-length").or_else(|| length("content-length")),
        }
    }

    /// Who it was: the account, or the user in it.
    pub(super) fn identify(&mut self, principal: &Principal) {
        if principal.is_anonymous() {
            return;
        }
        let name = if principal.user.is_some() { &*principal.arn } else { principal.account.as_str() };
        name.clone_into(&mut self.requester);
    }

    /// Lets the answer write the line when it ends.
    pub(super) fn attach(
        self,
        mut response: Response<ResponseBody>,
        facts: &AccessFacts,
        id: &RequestId,
    ) -> Response<ResponseBody> {
        let deletes = response.extensions_mut().remove::<BatchDeletes>();
        let ending = Ending {
            deletes: deletes.map(|BatchDeletes(deletes)| deletes).unwrap_or_default(),
            turnaround: self.began.elapsed(),
            status: response.status().as_u16(),
            version: response.headers().get("x-amz-version-id").cloned(),
            object_size: self.object_size(facts, response.headers()),
            facts: facts.clone(),
            id: id.clone(),
            sent: 0,
            draft: self,
        };
        response.map(|body| Logged { body, ending }.boxed_unsync())
    }

    /// The object's bytes: what a write brought, what a read could have.
    fn object_size(&self, facts: &AccessFacts, headers: &HeaderMap) -> Option<u64> {
        let number = |name: header::HeaderName| headers.get(name)?.to_str().ok().map(str::to_owned);
        match facts.operation {
            _ if facts.error.is_some() => None,
            "PutObject" | "UploadPart" => self.received,
            "GetObject" | "HeadObject" => match number(header::CONTENT_RANGE) {
                Some(range) => range.rsplit_once('/')?.1.parse().ok(),
                None => number(header::CONTENT_LENGTH)?.parse().ok(),
            },
            _ => None,
        }
    }
}

/// The rest of what a line tells. Its drop, at the end of the answer or of the connection, writes the line.
#[derive(Debug)]
struct Ending {
    draft: Draft,
    facts: AccessFacts,
    id: RequestId,
    status: u16,
    version: Option<HeaderValue>,
    object_size: Option<u64>,
    turnaround: Duration,
    sent: u64,
    deletes: Arc<[BatchDelete]>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let draft = &self.draft;
        let shown = self.version.as_ref().and_then(|value| value.to_str().ok());
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let (referer, agent, host) = (text(&draft.referer), text(&draft.agent), text(&draft.host));
        let line = AccessLine {
            owner: draft.bucket.owner.as_str(),
            bucket: draft.bucket.name.as_str(),
            time: draft.time,
            peer: draft.connection.peer.ip(),
            requester: &draft.requester,
            request_id: self.id.as_str(),
            operation: &operation(self.facts.operation, &draft.method, draft.scope),
            key: &url_encode(self.facts.key.as_deref().unwrap_or_default()),
            request: &draft.request,
            status: self.status,
            error: self.facts.error.unwrap_or_default(),
            sent: self.sent,
            object_size: self.object_size,
            total: draft.began.elapsed(),
            turnaround: self.turnaround,
            referer: referer.as_deref(),
            agent: agent.as_deref(),
            version: shown.unwrap_or(&draft.version),
            signature: draft.proof.0,
            authentication: draft.proof.1,
            host: host.as_deref(),
        };
        draft.logs.push(Arc::clone(&draft.bucket), &line);
        for BatchDelete { key, version, status, error } in &*self.deletes {
            let key = url_encode(key);
            let operation = "BATCH.DELETE.OBJECT";
            let one = AccessLine { operation, key: &key, version, status: *status, error, sent: 0, ..line.clone() };
            draft.logs.push(Arc::clone(&draft.bucket), &one);
        }
    }
}

pin_project! {
    /// A body that counts what is sent of it.
    struct Logged {
        #[pin]
        body: ResponseBody,
        ending: Ending,
    }
}

impl Body for Logged {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.ending.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Method, target and protocol; what makes presigned URLs valid is masked.
fn request_line(parts: &Parts, query: &str) -> String {
    let protocol = match parts.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    };
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{} {}{mark}{} {protocol}", parts.method, parts.uri.path(), redacted(query))
}

/// The value of a query parameter as it is spelled.
fn parameter<'a>(query: &'a str, name: &str) -> &'a str {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value).unwrap_or_default()
}

/// The signature's version and where it stood.
fn proof(headers: &HeaderMap, query: &str) -> (&'static str, &'static str) {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next().is_some_and(|known| known == name));
    match authorization {
        Some(text) if text.starts_with("AWS4-HMAC-SHA256") => ("SigV4", "AuthHeader"),
        Some(text) if text.starts_with("AWS ") => ("SigV2", "AuthHeader"),
        None if has("X-Amz-Signature") => ("SigV4", "QueryString"),
        None if has("AWSAccessKeyId") => ("SigV2", "QueryString"),
        Some(_) | None => ("", ""),
    }
}

/// The name of an operation in access logs: `REST`, the method, and what it was done to.
///
/// S3 has no full list of them; those that its reference and its own logs show are spelled as there, others are the
/// sub-resource in capitals.
fn operation(name: &str, method: &Method, scope: Scope) -> String {
    let (verb, resource) = match name {
        "CopyObject" => ("COPY", "OBJECT"),
        "UploadPart" => ("PUT", "PART"),
        "UploadPartCopy" => ("COPY", "PART"),
        "CreateMultipartUpload" => ("POST", "UPLOADS"),
        "CompleteMultipartUpload" => ("POST", "UPLOAD"),
        "AbortMultipartUpload" => ("DELETE", "UPLOAD"),
        "ListParts" => ("GET", "UPLOAD"),
        "ListMultipartUploads" => ("GET", "UPLOADS"),
        "DeleteObjects" => ("POST", "MULTI_OBJECT_DELETE"),
        "ListObjectVersions" => ("GET", "BUCKETVERSIONS"),
        "PostObject" => ("POST", "OBJECT"),
        "PreflightRequest" => ("OPTIONS", "PREFLIGHT"),
        "GetBucketLogging" | "PutBucketLogging" => (method.as_str(), "LOGGING_STATUS"),
        "GetObjectTagging" | "PutObjectTagging" | "DeleteObjectTagging" => (method.as_str(), "OBJECT_TAGGING"),
        _ => (method.as_str(), ""),
    };
    if matches!(name, "WebsiteGet" | "WebsiteHead") {
        return format!("WEBSITE.{verb}.OBJECT");
    }
    if !resource.is_empty() {
        return format!("REST.{verb}.{resource}");
    }
    let query = OPERATIONS.iter().find(|route| route.name == name).map_or(&[] as &[&str], |route| route.pattern.query);
    let sub = query.iter().find(|name| !name.contains('=') && **name != "id");
    match (sub, scope) {
        (Some(sub), _) => format!("REST.{verb}.{}", sub.replace('-', "_").to_uppercase()),
        (None, Scope::Object) => format!("REST.{verb}.OBJECT"),
        (None, Scope::Bucket | Scope::Service) => format!("REST.{verb}.BUCKET"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_the_names_of_access_logs() {
        let named = |name: &str, method: Method, scope| operation(name, &method, scope);
        for (name, method, scope, expected) in [
            ("GetObject", Method::GET, Scope::Object, "REST.GET.OBJECT"),
            ("PutObject", Method::PUT, Scope::Object, "REST.PUT.OBJECT"),
            ("ListObjectsV2", Method::GET, Scope::Bucket, "REST.GET.BUCKET"),
            ("GetBucketAcl", Method::GET, Scope::Bucket, "REST.GET.ACL"),
            ("GetBucketVersioning", Method::GET, Scope::Bucket, "REST.GET.VERSIONING"),
            ("GetBucketLogging", Method::GET, Scope::Bucket, "REST.GET.LOGGING_STATUS"),
            ("GetBucketInventoryConfiguration", Method::GET, Scope::Bucket, "REST.GET.INVENTORY"),
            ("UploadPart", Method::PUT, Scope::Object, "REST.PUT.PART"),
            ("DeleteObjects", Method::POST, Scope::Bucket, "REST.POST.MULTI_OBJECT_DELETE"),
            ("WebsiteGet", Method::GET, Scope::Bucket, "WEBSITE.GET.OBJECT"),
            ("", Method::GET, Scope::Object, "REST.GET.OBJECT"),
        ] {
            assert_eq!(named(name, method, scope), expected, "{name}");
        }
    }

    #[test]
    fn a_proof_is_known_by_where_it_stands() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            headers
        };
        assert_eq!(proof(&with("AWS4-HMAC-SHA256 Credential=a"), ""), ("SigV4", "AuthHeader"));
        assert_eq!(proof(&with("AWS a:b"), ""), ("SigV2", "AuthHeader"));
        assert_eq!(proof(&HeaderMap::new(), "x&X-Amz-Signature=1"), ("SigV4", "QueryString"));
        assert_eq!(proof(&HeaderMap::new(), "AWSAccessKeyId=1"), ("SigV2", "QueryString"));
        assert_eq!(proof(&HeaderMap::new(), "prefix=X-Amz-Signature"), ("", ""));
        assert_eq!(parameter("a=1&versionId=x%2F&b", "versionId"), "x%2F");
    }
}
