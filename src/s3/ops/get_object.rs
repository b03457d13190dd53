//! `GetObject` and `HeadObject`: one reading of the rules for both.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    auth::Action,
    kms::SecretKey,
    s3::{
        ResponseBody,
        codes::S3Code,
        conditional::{ReadCondition, Verdict, if_range_holds},
        context::Context,
        encryption::{KeyOf, check_key_of_read, customer_key, guarded_key, refuse_on_read},
        error::{S3Error, S3Result},
        head::{Head, parse_number},
        lock_headers,
        object_headers::{ShowChecksum, describe, show_checksum},
        operation::{Need, ObjectRef, Operation, Pattern, Reply, Scope},
        ops::lifecycle::show_expiration,
        read_through, reply,
        request_body::RequestBody,
        sosapi,
    },
    storage::{
        Bucket, StorageError,
        records::{ChecksumRecord, ObjectRecord},
    },
    types::{
        ByteRange, ByteStream, ETag, Timestamp, body,
        digest::{Digest, Md5},
    },
};

/// Attempts to open a version that others replace.
const ATTEMPTS: usize = 8;
/// Parameters that replace a header of the answer.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-cache-control", header::CACHE_CONTROL),
    ("response-content-disposition", header::CONTENT_DISPOSITION),
    ("response-content-encoding", header::CONTENT_ENCODING),
    ("response-content-language", header::CONTENT_LANGUAGE),
    ("response-content-type", header::CONTENT_TYPE),
    ("response-expires", header::EXPIRES),
];

/// Returns an object.
#[derive(Debug)]
pub struct GetObject(Read);

/// Returns an object's headers.
#[derive(Debug)]
pub struct HeadObject(Read);

#[derive(Debug)]
struct Read {
    object: ObjectRef,
    condition: ReadCondition,
    range: Option<ByteRange>,
    part: Option<u32>,
    checksum: ShowChecksum,
    customer: Option<SecretKey>,
    overrides: Vec<(HeaderName, HeaderValue)>,
}

/// A version, or a part of it.
#[derive(Debug)]
pub struct ObjectReply {
    status: StatusCode,
    headers: HeaderMap,
    body: Option<Bytes>,
}

struct Bytes(ByteStream);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bytes")
    }
}

/// Which bytes an answer has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Selection {
    bytes: Range<u64>,
    partial: bool,
    parts: Option<u32>,
    /// The checksum of the selected part, where a part is selected and has one.
    checksum: Option<ChecksumRecord>,
}

impl Operation for GetObject {
    const NAME: &'static str = "GetObject";
    const ACTION: &'static str = "objectGet";
    const PATTERN: Pattern = Pattern::plain(Method::GET, Scope::Object);
    type Reply = ObjectReply;

    fn parse(head: &Head) -> S3Result<Self> {
        Read::parse(head).map(Self)
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.0.need()]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<ObjectReply> {
        self.answer(cx).await
    }
}

impl GetObject {
    /// What [`Operation::run`] answers: a GET has no body.
    pub async fn answer(self, mut cx: Context) -> S3Result<ObjectReply> {
        let bucket = cx.bucket(&self.0.object.bucket).await?;
        if let Some(made) = self.0.made(&cx, &bucket).await? {
            return Ok(made);
        }
        if let Some(there) = self.0.elsewhere(&mut cx, &bucket).await? {
            return Ok(there);
        }
        // The original asks for neither of the two where no bytes are wanted (HEAD).
        cx.check_read_location()?;
        for _ in 0..ATTEMPTS {
            let record = self.0.find(&mut cx, &bucket).await?;
            cx.check_is_there(&record)?;
            // What cannot be read has no ranges and parts either.
            cx.storage.check_readable(&record)?;
            let selection = self.0.select(&cx, &bucket, &record).await?;
            let (key, customer) = (&self.0.object.key, self.0.customer.as_ref());
            let opened = cx.storage.open_with(&bucket, key, &record, selection.bytes.clone(), customer).await;
            match opened {
                Err(StorageError::Vanished) => {}
                Err(e) => return Err(e.into()),
                Ok(stream) => {
                    let lock = lock_headers::show(&mut cx, &bucket, &self.0.object, &record).await;
                    return Ok(self.0.reply(&cx, &bucket, &record, (selection, Some(stream))).with(lock));
                }
            }
        }
        Err(S3Error::from(S3Code::InternalError).because(StorageError::Vanished))
    }
}

impl Operation for HeadObject {
    const NAME: &'static str = "HeadObject";
    const ACTION: &'static str = "objectHead";
    const PATTERN: Pattern = Pattern::plain(Method::HEAD, Scope::Object);
    type Reply = ObjectReply;

    fn parse(head: &Head) -> S3Result<Self> {
        Read::parse(head).map(Self)
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.0.need()]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<ObjectReply> {
        self.answer(cx).await
    }
}

impl HeadObject {
    /// What [`Operation::run`] answers: a HEAD has no body.
    pub async fn answer(self, mut cx: Context) -> S3Result<ObjectReply> {
        let bucket = cx.bucket(&self.0.object.bucket).await?;
        if let Some(made) = self.0.made(&cx, &bucket).await? {
            return Ok(ObjectReply { body: None, ..made });
        }
        if let Some(there) = self.0.elsewhere(&mut cx, &bucket).await? {
            return Ok(ObjectReply { body: None, ..there });
        }
        let record = self.0.find(&mut cx, &bucket).await?;
        let selection = self.0.select(&cx, &bucket, &record).await?;
        let lock = lock_headers::show(&mut cx, &bucket, &self.0.object, &record).await;
        Ok(self.0.reply(&cx, &bucket, &record, (selection, None)).with(lock))
    }
}

impl Read {
    fn parse(head: &Head) -> S3Result<Self> {
        let range = head.header("range");
        let part = match head.query("partNumber") {
            None => None,
            Some(text) => Some(part_number(text)?),
        };
        if part.is_some() && range.is_some() {
            return Err(S3Error::request("Cannot specify both Range header and partNumber query parameter."));
        }
        refuse_on_read(head)?;
        let enabled = head.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"));
        Ok(Self {
            object: head.object()?,
            condition: ReadCondition::read(head),
            range: range.and_then(ByteRange::parse),
            part,
            checksum: if enabled { ShowChecksum::Yes } else { ShowChecksum::No },
            customer: customer_key(head, KeyOf::Object)?,
            overrides: overrides(head)?,
        })
    }

    fn need(&self) -> Need {
        let action = if self.object.version.is_some() { Action::GetObjectVersion } else { Action::GetObject };
        self.object.need(action)
    }

    /// A document that the server makes itself, where none is stored.
    async fn made(&self, cx: &Context, bucket: &Bucket) -> S3Result<Option<ObjectReply>> {
        let Some(text) = sosapi::document(cx, bucket, &self.object).await? else { return Ok(None) };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        reply::set(&mut headers, header::LAST_MODIFIED, &cx.now.to_http_date());
        reply::set(&mut headers, header::ETAG, &ETag::from_md5(Md5::digest(&text).into()).quoted());
        Ok(Some(ObjectReply { status: StatusCode::OK, headers, body: Some(Bytes(body::once(text))) }))
    }

    /// What an old server answers that still has the object.
    async fn elsewhere(&self, cx: &mut Context, bucket: &Bucket) -> S3Result<Option<ObjectReply>> {
        match read_through::answer(cx, bucket, &self.object).await? {
            Some(reply) => {
                let (status, mut headers) = read_through::head(&reply);
                headers.extend(self.overrides.iter().cloned());
                Ok(Some(ObjectReply { status, headers, body: Some(Bytes(reply.body)) }))
            }
            None => cx.judge_missing(bucket, &self.object, Action::GetObject).map(|()| None),
        }
    }

    async fn find(&self, cx: &mut Context, bucket: &Bucket) -> S3Result<ObjectRecord> {
        let record = cx.version(bucket, &self.object).await.map_err(|e| missing(cx, e))?;
        guarded_key(&cx.head, &cx.settings, KeyOf::Object)?;
        // Ceph looks for the part before it asks for the key.
        if let Some(part) = self.part.filter(|_| cx.head.dialect.is_ceph()) {
            select_part(cx, bucket, &record, part).await?;
        }
        // Before conditions and range: without the key nothing is told of the object.
        check_key_of_read(cx, bucket, &record, self.customer.as_ref())?;
        match self.condition.judge(&record, cx.now) {
            Verdict::Go => Ok(record),
            Verdict::NotModified => Err(S3Error::not_modified(validators(cx, bucket, &record))),
            Verdict::Failed(condition) => Err(S3Error::from(S3Code::PreconditionFailed).with("Condition", condition)),
        }
    }

    async fn select(&self, cx: &Context, bucket: &Bucket, record: &ObjectRecord) -> S3Result<Selection> {
        let whole = Selection { bytes: 0..record.size, partial: false, parts: None, checksum: None };
        if let Some(part) = self.part {
            return select_part(cx, bucket, record, part).await;
        }
        match self.range {
            Some(range) if if_range_holds(&cx.head, record) => {
                let bytes = range.resolve(record.size).map_err(|_| {
                    let asked = cx.head.header("range").unwrap_or_default();
                    S3Error::from(S3Code::InvalidRange)
                        .with("RangeRequested", asked)
                        .with("ActualObjectSize", record.size.to_string())
                        .header(header::CONTENT_RANGE, &format!("bytes */{}", record.size))
                })?;
                Ok(Selection { bytes, partial: true, ..whole })
            }
            _ => Ok(whole),
        }
    }

    fn reply(
        &self,
        cx: &Context,
        bucket: &Bucket,
        record: &ObjectRecord,
        (selection, stream): (Selection, Option<ByteStream>),
    ) -> ObjectReply {
        let checksum = if selection.partial || selection.parts.is_some() { ShowChecksum::No } else { self.checksum };
        let mut headers = describe(cx, bucket, record, checksum);
        // Rules speak of current versions; whoever names a version asks for that one, current or not.
        if self.object.version.is_none() {
            show_expiration(&mut headers, bucket, &self.object.key, record);
        }
        if self.checksum == ShowChecksum::Yes && selection.checksum.is_some() {
            show_checksum(&mut headers, selection.checksum.as_ref());
            // The value is the part's, the type the object's.
            if record.checksum.as_ref().is_some_and(|checksum| checksum.composite) {
                headers.insert("x-amz-checksum-type", HeaderValue::from_static("COMPOSITE"));
            }
        }
        let Range { start, end } = selection.bytes;
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
        if selection.partial && end > start {
            let range = format!("bytes {start}-{}/{}", end - 1, record.size);
            reply::set(&mut headers, header::CONTENT_RANGE, &range);
        }
        if let Some(parts) = selection.parts {
            headers.insert("x-amz-mp-parts-count", HeaderValue::from(parts));
        }
        for (name, value) in &self.overrides {
            headers.insert(name, value.clone());
        }
        let status = if selection.partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        ObjectReply { status, headers, body: stream.map(Bytes) }
    }
}

impl ObjectReply {
    fn with(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }
}

impl Reply for ObjectReply {
    fn render(self) -> S3Result<Response<ResponseBody>> {
        let body = match self.body {
            Some(Bytes(stream)) => reply::streaming(stream),
            None => reply::empty(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        Ok(response)
    }
}

fn part_number(text: &str) -> S3Result<u32> {
    let number = parse_number("partNumber", text)?;
    u32::try_from(number).ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
        S3Error::argument("Part number must be an integer between 1 and 10000, inclusive", "partNumber", text)
    })
}

async fn select_part(cx: &Context, bucket: &Bucket, record: &ObjectRecord, part: u32) -> S3Result<Selection> {
    let unsatisfiable = || {
        // A part that is not there is out of range to AWS, and an invalid part to Ceph.
        S3Error::from(cx.head.dialect.pick(S3Code::InvalidPartNumber, S3Code::InvalidPart))
            .with("PartNumberRequested", part.to_string())
            .with("ActualPartCount", record.part_count().unwrap_or(1).to_string())
    };
    let Some(count) = record.part_count() else {
        if part > 1 {
            return Err(unsatisfiable());
        }
        return Ok(Selection { bytes: 0..record.size, partial: true, parts: None, checksum: record.checksum.clone() });
    };
    let found = cx.storage.part_at(bucket, record, part - 1).await?;
    let (segment, start) = found.ok_or_else(unsatisfiable)?;
    Ok(Selection { bytes: start..start + segment.size, partial: true, parts: Some(count), checksum: segment.checksum })
}

/// The headers that a 304 keeps.
fn validators(cx: &Context, bucket: &Bucket, record: &ObjectRecord) -> HeaderMap {
    let mut headers = describe(cx, bucket, record, ShowChecksum::No);
    let kept = [header::ETAG, header::LAST_MODIFIED, header::CACHE_CONTROL, header::EXPIRES];
    let version = headers.get("x-amz-version-id").cloned();
    let mut out: HeaderMap = kept.into_iter().filter_map(|name| Some((name.clone(), headers.remove(name)?))).collect();
    if let Some(version) = version {
        out.insert("x-amz-version-id", version);
    }
    out
}

/// What is not there is said with what is known of its marker.
pub fn missing(cx: &Context, e: StorageError) -> S3Error {
    let mark = |error: S3Error, marker: &ObjectRecord| {
        error
            .header(HeaderName::from_static("x-amz-delete-marker"), "true")
            .header(HeaderName::from_static("x-amz-version-id"), &cx.version_text(marker))
    };
    match e {
        StorageError::NoSuchKey(Some(marker)) => mark(S3Code::NoSuchKey.into(), &marker),
        StorageError::NoSuchKey(None) => absent(cx),
        StorageError::NoSuchVersion => {
            S3Error::from(S3Code::NoSuchVersion).with("VersionId", cx.head.query("versionId").unwrap_or_default())
        }
        StorageError::IsDeleteMarker(marker) => {
            let modified: Timestamp = marker.modified();
            mark(S3Code::MethodNotAllowed.into(), &marker)
                .with("Method", cx.head.method.as_str())
                .with("ResourceType", "DeleteMarker")
                .header(header::ALLOW, "DELETE")
                .header(header::LAST_MODIFIED, &modified.to_http_date())
        }
        other => other.into(),
    }
}

/// A key that has nothing, not even a marker.
fn absent(cx: &Context) -> S3Error {
    let error = S3Error::from(S3Code::NoSuchKey);
    if !cx.head.dialect.is_ceph() || !matches!(cx.head.method, Method::GET | Method::HEAD) {
        return error;
    }
    // Ceph says of such a key that nobody can read it, rather than that it is not there.
    if cx.head.key.chars().any(char::is_control) {
        return S3Error::new(S3Code::InvalidURI, "Couldn't parse the specified URI.");
    }
    // Ceph says of an absent key that no marker hides it.
    error.header(HeaderName::from_static("x-amz-delete-marker"), "false")
}

fn overrides(head: &Head) -> S3Result<Vec<(HeaderName, HeaderValue)>> {
    let mut found = Vec::new();
    for (parameter, name) in OVERRIDES {
        let Some(text) = head.query(parameter) else { continue };
        let printable = !text.chars().any(char::is_control);
        let value = printable.then(|| HeaderValue::from_bytes(text.as_bytes()).ok()).flatten();
        let value = value.ok_or_else(|| S3Error::argument("Invalid header value", parameter, text))?;
        found.push((name, value));
    }
    Ok(found)
}
