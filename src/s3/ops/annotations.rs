//! Annotations of objects: put, get, list, delete (S3 reference, "`PutObjectAnnotation`").

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};

use crate::{
    auth::Action,
    s3::{
        ResponseBody,
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        lock_headers::bypass,
        object_headers::show_checksum,
        operation::{Need, ObjectRef, Operation, Pattern, Reply, Scope},
        ops::{
            acl::{ATTEMPTS, judged},
            get_object::missing,
        },
        reply::{self, Document, Plain, set},
        request_body::RequestBody,
        token,
        xml::write::XmlWriter,
    },
    storage::{
        Bucket, Expected, NewAnnotation, StorageError,
        records::{ChecksumRecord, ObjectRecord},
    },
    types::{BodyError, ChecksumType, ETag, body},
};

/// Most bytes of an annotation.
const MAX_PAYLOAD: u64 = 1 << 20;
/// Most bytes of a name.
const MAX_NAME: usize = 512;
/// Most annotations of a page.
const MAX_RESULTS: u64 = 1000;
/// What names of others' must not begin with, whatever the case.
const RESERVED: [&str; 2] = ["aws", "s3"];

/// Writes an annotation.
#[derive(Debug)]
pub struct PutObjectAnnotation {
    object: ObjectRef,
    name: String,
    condition: Option<ETag>,
}

/// Returns an annotation.
#[derive(Debug)]
pub struct GetObjectAnnotation {
    object: ObjectRef,
    name: String,
}

/// Lists the annotations of a version.
#[derive(Debug)]
pub struct ListObjectAnnotations {
    object: ObjectRef,
    prefix: String,
    limit: u64,
    token: Option<String>,
}

/// Removes an annotation.
#[derive(Debug)]
pub struct DeleteObjectAnnotation {
    object: ObjectRef,
    name: String,
    condition: Option<ETag>,
}

/// An annotation on its way to the client.
#[derive(Debug)]
pub struct Payload {
    headers: HeaderMap,
    text: Bytes,
}

impl Operation for PutObjectAnnotation {
    const NAME: &'static str = "PutObjectAnnotation";
    const ACTION: &'static str = "objectPutAnnotation";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Object, &["annotation"]);
    const STREAMS: bool = true;
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()?, name: name(head)?, condition: condition(head) })
    }

    fn needs(&self) -> Vec<Need> {
        pick(&self.object, Action::PutObjectAnnotation, Action::PutObjectVersionAnnotation)
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        let (payload, digests) = receive(&cx, body).await?;
        let new = NewAnnotation {
            name: self.name,
            payload,
            md5: digests.md5,
            checksum: ChecksumRecord::new(&digests.checksum, ChecksumType::FullObject, 0),
        };
        let place = (&self.object.key, self.object.version);
        let action = action(&self.object, Action::PutObjectAnnotation, Action::PutObjectVersionAnnotation);
        let mut written = Err(StorageError::Vanished);
        for _ in 0..ATTEMPTS {
            let version = Some(judged(&mut cx, &bucket, &self.object, action).await?.version_id());
            let bypass = bypass(&mut cx, &bucket, &self.object).await;
            let expected = Expected { version, tag: self.condition.as_ref() };
            written = cx.storage.put_annotation(&bucket, place, &new, expected, bypass).await;
            if !matches!(written, Err(StorageError::Vanished)) {
                break;
            }
        }
        let (record, annotation) = written.map_err(|e| refused(&cx, e))?;
        let mut xml = XmlWriter::document("PutObjectAnnotationOutput", 512);
        xml.text("Key", self.object.key.as_str()).text("AnnotationName", &new.name);
        let mut reply = Document::new(xml.finish());
        set(&mut reply.headers, header::ETAG, &annotation.etag().quoted());
        show_checksum(&mut reply.headers, annotation.checksum.as_ref());
        show_version(&mut reply.headers, &cx, &bucket, &record);
        Ok(reply)
    }
}

impl Operation for GetObjectAnnotation {
    const NAME: &'static str = "GetObjectAnnotation";
    const ACTION: &'static str = "objectGetAnnotation";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Object, &["annotation", "annotationName"]);
    type Reply = Payload;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()?, name: name(head)? })
    }

    fn needs(&self) -> Vec<Need> {
        pick(&self.object, Action::GetObjectAnnotation, Action::GetObjectVersionAnnotation)
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Payload> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        let record = cx.version(&bucket, &self.object).await.map_err(|e| missing(&cx, e))?;
        let (annotation, text) = cx.storage.annotation(&bucket, &record, &self.name).await?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        set(&mut headers, header::ETAG, &annotation.etag().quoted());
        set(&mut headers, header::LAST_MODIFIED, &annotation.modified().to_http_date());
        if cx.head.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED")) {
            show_checksum(&mut headers, annotation.checksum.as_ref());
        }
        show_version(&mut headers, &cx, &bucket, &record);
        Ok(Payload { headers, text })
    }
}

impl Operation for ListObjectAnnotations {
    const NAME: &'static str = "ListObjectAnnotations";
    const ACTION: &'static str = "objectListAnnotations";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Object, &["annotation"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        let prefix = head.query("annotation-prefix").unwrap_or_default();
        if prefix.len() > MAX_NAME || prefix.contains(char::is_control) {
            return Err(S3Code::InvalidPrefix.into());
        }
        let limit = head.number("max-annotation-results")?.unwrap_or(MAX_RESULTS);
        if !(1..=MAX_RESULTS).contains(&limit) {
            let message = "Argument max-annotation-results must be an integer between 1 and 1000";
            return Err(S3Error::argument(message, "max-annotation-results", &limit.to_string()));
        }
        let token = head.query("continuation-token").filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Self { object: head.object()?, prefix: prefix.to_owned(), limit, token })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(Action::ListObjectAnnotations)]
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Document> {
        let after = self.token.as_deref().map(token::read).transpose()?.unwrap_or_default();
        let bucket = cx.bucket(&self.object.bucket).await?;
        let record = cx.version(&bucket, &self.object).await.map_err(|e| missing(&cx, e))?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let page = cx.storage.annotations(&bucket, &record, (&self.prefix, &after), limit).await?;
        let mut xml = XmlWriter::document("ListObjectAnnotationsOutput", 512 + 300 * page.annotations.len());
        xml.text("Bucket", bucket.name.as_str()).text("Key", self.object.key.as_str());
        if !self.prefix.is_empty() {
            xml.text("AnnotationPrefix", &self.prefix);
        }
        xml.value("MaxAnnotationResults", self.limit).value("AnnotationCount", page.annotations.len());
        xml.optional("ContinuationToken", self.token.as_deref());
        if let Some((last, _)) = page.annotations.last().filter(|_| page.truncated) {
            xml.text("NextContinuationToken", &token::write(last));
        }
        xml.open("Annotations");
        for (name, annotation) in &page.annotations {
            xml.open("AnnotationEntry").text("AnnotationName", name);
            xml.text("LastModified", &annotation.modified().to_iso8601()).quoted("ETag", &annotation.etag);
            if let Some(algorithm) = annotation.checksum.as_ref().and_then(ChecksumRecord::algorithm) {
                xml.open("ChecksumAlgorithm").text("member", algorithm.name()).close();
            }
            xml.value("Size", annotation.size).close();
        }
        xml.close();
        let mut reply = Document::new(xml.finish());
        show_version(&mut reply.headers, &cx, &bucket, &record);
        Ok(reply)
    }
}

impl Operation for DeleteObjectAnnotation {
    const NAME: &'static str = "DeleteObjectAnnotation";
    const ACTION: &'static str = "objectDeleteAnnotation";
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Object, &["annotation"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()?, name: name(head)?, condition: condition(head) })
    }

    fn needs(&self) -> Vec<Need> {
        pick(&self.object, Action::DeleteObjectAnnotation, Action::DeleteObjectVersionAnnotation)
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Plain> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        let place = (&self.object.key, self.object.version);
        let action = action(&self.object, Action::DeleteObjectAnnotation, Action::DeleteObjectVersionAnnotation);
        let mut removed = Err(StorageError::Vanished);
        for _ in 0..ATTEMPTS {
            let version = Some(judged(&mut cx, &bucket, &self.object, action).await?.version_id());
            let bypass = bypass(&mut cx, &bucket, &self.object).await;
            let expected = Expected { version, tag: self.condition.as_ref() };
            removed = cx.storage.delete_annotation(&bucket, place, &self.name, expected, bypass).await;
            if !matches!(removed, Err(StorageError::Vanished)) {
                break;
            }
        }
        let record = removed.map_err(|e| refused(&cx, e))?;
        let mut reply = Plain::no_content();
        show_version(&mut reply.headers, &cx, &bucket, &record);
        Ok(reply)
    }
}

impl Reply for Payload {
    fn render(self) -> S3Result<Response<ResponseBody>> {
        let mut response = Response::new(reply::full(self.text));
        *response.headers_mut() = self.headers;
        Ok(response)
    }
}

/// The payload, whole and checked. Nothing is polled before its announced length is.
async fn receive(cx: &Context, body: RequestBody) -> S3Result<(Bytes, crate::types::BodyDigests)> {
    let too_large = || S3Error::from(S3Code::EntityTooLarge).with("MaxSizeAllowed", MAX_PAYLOAD.to_string());
    let incoming = body.object(&cx.head, &cx.intake, None)?;
    if incoming.length.is_some_and(|length| length > MAX_PAYLOAD) {
        return Err(too_large());
    }
    let slot = incoming.digests.clone();
    let limit = usize::try_from(MAX_PAYLOAD).unwrap_or(usize::MAX);
    let payload = body::collect(incoming.stream, limit).await.map_err(|e| match e {
        BodyError::TooLarge { .. } => too_large(),
        other => other.into(),
    })?;
    if payload.is_empty() {
        return Err(S3Error::request("An annotation must have at least one byte."));
    }
    if std::str::from_utf8(&payload).is_err() {
        return Err(S3Code::UnsupportedMediaType.into());
    }
    let digests = slot.get().cloned().ok_or_else(|| S3Error::from(S3Code::InternalError))?;
    Ok((payload, digests))
}

/// The name that a request gives.
///
/// # Errors
/// `AnnotationNameTooLong`; `InvalidAnnotationName` for none, a reserved one, or control characters.
fn name(head: &Head) -> S3Result<String> {
    let name = head.query("annotationName").unwrap_or_default();
    if name.len() > MAX_NAME {
        return Err(S3Code::AnnotationNameTooLong.into());
    }
    let reserved = |prefix: &&str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if name.is_empty() || name.contains(char::is_control) || RESERVED.iter().any(reserved) {
        return Err(S3Code::InvalidAnnotationName.into());
    }
    Ok(name.to_owned())
}

/// The tag that the object must have.
fn condition(head: &Head) -> Option<ETag> {
    head.header("x-amz-object-if-match").filter(|text| *text != "*").map(ETag::parse)
}

fn show_version(headers: &mut HeaderMap, cx: &Context, bucket: &Bucket, record: &ObjectRecord) {
    if bucket.is_versioned() {
        set(headers, HeaderName::from_static("x-amz-object-version-id"), &cx.version_text(record));
    }
}

/// The need of the current version, or of one that is named.
fn pick(object: &ObjectRef, current: Action, version: Action) -> Vec<Need> {
    vec![object.need(action(object, current, version))]
}

fn action(object: &ObjectRef, current: Action, version: Action) -> Action {
    if object.version.is_some() { version } else { current }
}

/// Why annotations were not changed. [`StorageError::Vanished`]: the version that the caller was judged by was replaced
/// each time; what came in its place may be somebody else's.
fn refused(cx: &Context, error: StorageError) -> S3Error {
    match error {
        StorageError::Vanished => S3Code::OperationAborted.into(),
        error => missing(cx, error),
    }
}
