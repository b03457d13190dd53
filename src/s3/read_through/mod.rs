//! Objects that are still on an old server (`cloudserver.migration`): while a migration runs, what is not here and was
//! not deleted here is read there.
//!
//! | asked | answered |
//! |---|---|
//! | `GetObject`, `HeadObject` of a key's newest version | with the old server's answer, streamed |
//! | `GetObjectTagging`, `GetObjectAttributes`, sources of copies | from the old server's object |
//! | conditions of writes and deletes | by the old server's object; the commit depends on the key being here no more than before |
//! | `ListObjects`, both versions | [`listing`]: both servers' keys as one |
//! | everything else, and whatever names a version | here only: the old server's version ids mean nothing here |
//!
//! A request with `x-cloudserver-here-only`, such as those of the migration, sees what is here.
//!
//! Whoever may read the bucket's objects as their owner, or by its policy, may read these; lists of single objects stay
//! behind on the old server until their objects are here.

pub mod listing;

use std::{collections::BTreeSet, ops::Range};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    codes::S3Code,
    context::Context,
    error::{S3Error, S3Result},
    operation::ObjectRef,
    ops::get_object::missing,
};
use crate::{
    auth::Action,
    s3client::{Call, Get, Reply, S3Client, S3ClientError, text_of},
    storage::{
        Bucket, DeleteCondition, Found, StorageError, WriteCondition,
        records::{ContentHeaders, ObjectRecord, Pair},
    },
    types::{AccountId, ByteStream, ETag, ObjectKey, Timestamp},
};

/// Headers of a request that the old server judges.
const ASKED: [&str; 6] = ["range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"];
/// Headers of its answer that are given on.
const TOLD: [&str; 14] = [
    "content-type",
    "content-length",
    "content-range",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
    "expires",
    "etag",
    "last-modified",
    "accept-ranges",
    "x-amz-mp-parts-count",
    "x-amz-tagging-count",
    "x-amz-website-redirect-location",
];
const METADATA: &str = "x-amz-meta-";
/// Asks for what is here and nothing else: the migration itself must not take the old server's objects for its copies.
const HERE_ONLY: &str = "x-cloudserver-here-only";
/// Says where an answer is from.
const MARK: &str = "x-cloudserver-read-through";

/// The old server, and which buckets are read there.
#[derive(Clone, Debug)]
pub struct ReadThrough {
    /// Asks it.
    pub client: S3Client,
    /// Whose buckets are read there.
    pub owner: AccountId,
    /// Which of them; all, where it is none.
    pub buckets: Option<BTreeSet<String>>,
    /// Whether listings show what is there.
    pub lists: bool,
}

impl ReadThrough {
    /// A name alone gives nobody what the old server keeps under it.
    fn concerns(&self, bucket: &Bucket) -> bool {
        bucket.owner == self.owner && self.buckets.as_ref().is_none_or(|names| names.contains(bucket.name.as_str()))
    }
}

impl Context {
    /// The old server, if objects of this bucket are read there.
    fn old_server(&self, bucket: &Bucket) -> Option<&ReadThrough> {
        let old = self.settings.read_through.as_deref().filter(|old| old.concerns(bucket));
        old.filter(|_| self.head.header(HERE_ONLY).is_none())
    }

    /// Whether what is missing here may be on the old server.
    pub(super) fn reads_through(&self, bucket: &Bucket, object: &ObjectRef, action: Action) -> bool {
        let reads = matches!(action, Action::GetObject | Action::GetObjectTagging | Action::GetObjectAttributes);
        // A policy that asks for tags cannot be judged by those of an object elsewhere.
        let is_judged = bucket.policy.as_ref().is_none_or(|policy| !policy.asks_existing_tags());
        reads && is_judged && object.version.is_none() && self.old_server(bucket).is_some()
    }
}

/// The old server's answer, where the key is not here and it has it; else it is for this server to answer.
///
/// # Errors
/// `ServiceUnavailable` where the old server cannot be asked: nobody knows then whether there is such an object. What the
/// request's conditions and range come to.
pub(super) async fn answer(cx: &Context, bucket: &Bucket, object: &ObjectRef) -> S3Result<Option<Reply>> {
    if !cx.may_read_elsewhere(object) {
        return Ok(None);
    }
    let Some(old) = old_of(cx, bucket, &object.key).await? else { return Ok(None) };
    let part = cx.head.query("partNumber").map(str::to_owned);
    let mut call = Call::new(cx.head.method.clone(), Some(bucket.name.as_str()), Some(object.key.as_str()));
    call = call.and_some("partNumber", part);
    for name in ASKED {
        if let Some(value) = cx.head.header(name) {
            call = call.header(name, value);
        }
    }
    match old.client.send(call).await {
        Ok(reply) => Ok(Some(reply)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(refusal(error)),
    }
}

/// The old server, where a key is neither here nor deleted here.
async fn old_of<'a>(cx: &'a Context, bucket: &Bucket, key: &ObjectKey) -> S3Result<Option<&'a ReadThrough>> {
    let Some(old) = cx.old_server(bucket) else { return Ok(None) };
    match cx.storage.version(bucket, key, None).await {
        Err(StorageError::NoSuchKey(None)) => {}
        _ => return Ok(None),
    }
    Ok(if cx.storage.was_deleted(bucket, key).await? { None } else { Some(old) })
}

/// A bucket that the old server has not is as good as empty.
fn is_missing(error: &S3ClientError) -> bool {
    error.is_missing() || error.code() == Some("NoSuchBucket")
}

/// The version that a reader addresses: here, else on the old server.
///
/// # Errors
/// As [`missing`], and as [`answer`].
pub(super) async fn version(
    cx: &mut Context,
    bucket: &Bucket,
    (object, action): (&ObjectRef, Action),
) -> S3Result<ObjectRecord> {
    let absent = match cx.version(bucket, object).await {
        Err(absent @ StorageError::NoSuchKey(None)) => absent,
        other => return other.map_err(|e| missing(cx, e)),
    };
    if let Some(record) = record(cx, bucket, object).await? {
        return Ok(record);
    }
    cx.judge_missing(bucket, object, action)?;
    Err(missing(cx, absent))
}

/// What the old server has of a key that is not here, with its tags, where the caller may read it.
///
/// # Errors
/// As [`answer`].
pub(super) async fn record(cx: &Context, bucket: &Bucket, object: &ObjectRef) -> S3Result<Option<ObjectRecord>> {
    if !cx.may_read_elsewhere(object) {
        return Ok(None);
    }
    let Some(old) = old_of(cx, bucket, &object.key).await? else { return Ok(None) };
    let (name, key) = (bucket.name.as_str(), object.key.as_str());
    let Some((mut record, counted)) = there(old, bucket, &object.key).await? else { return Ok(None) };
    if counted != Some(0) {
        match old.client.object_tags(name, key, None).await {
            Ok(tags) => record.tags = tags.into_iter().map(|(name, value)| Pair { name, value }).collect(),
            // It went meanwhile; or the store knows no tags.
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) if matches!(error.status(), Some(405 | 501)) => {}
            Err(error) => return Err(refusal(error)),
        }
    }
    Ok(Some(record))
}

/// What the old server has of a key, and how many tags that has, where it says so.
async fn there(old: &ReadThrough, bucket: &Bucket, key: &ObjectKey) -> S3Result<Option<(ObjectRecord, Option<usize>)>> {
    match old.client.head_object(bucket.name.as_str(), key.as_str(), None).await {
        Ok(head) => {
            let counted = text_of(&head.headers, "x-amz-tagging-count").and_then(|count| count.parse().ok());
            Ok(Some((described(bucket, &head.headers), counted)))
        }
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(refusal(error)),
    }
}

/// The record of what an answer describes. It has no version: it is `null`, if anything.
fn described(bucket: &Bucket, headers: &HeaderMap) -> ObjectRecord {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let metadata = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(METADATA)?.to_owned();
        Some(Pair { name, value: String::from_utf8_lossy(value.as_bytes()).into_owned() })
    });
    let modified = text_of(headers, header::LAST_MODIFIED.as_str()).and_then(Timestamp::parse_http_date);
    ObjectRecord {
        is_null: true,
        modified_ms: modified.map_or(0, Timestamp::as_millis),
        size: text_of(headers, "content-length").and_then(|size| size.parse().ok()).unwrap_or(0),
        etag: text_of(headers, header::ETAG.as_str())
            .map(|tag| ETag::parse(tag).as_str().to_owned())
            .unwrap_or_default(),
        owner: bucket.owner.as_str().to_owned(),
        owner_display_name: bucket.record.owner_display_name.clone(),
        content: Some(ContentHeaders {
            content_type: text("content-type"),
            cache_control: text("cache-control"),
            content_disposition: text("content-disposition"),
            content_encoding: text("content-encoding"),
            content_language: text("content-language"),
            expires: text("expires"),
        }),
        metadata: metadata.collect(),
        redirect: text("x-amz-website-redirect-location").unwrap_or_default(),
        ..ObjectRecord::default()
    }
}

/// Bytes of what [`record`] found, if the old server still has them.
///
/// # Errors
/// As [`answer`]; `ConditionalRequestConflict` where it has others now.
pub(super) async fn bytes(
    cx: &Context,
    (bucket, object): (&Bucket, &ObjectRef),
    found: &ObjectRecord,
    range: Range<u64>,
) -> S3Result<ByteStream> {
    let Some(old) = cx.old_server(bucket) else { return Err(S3Code::ServiceUnavailable.into()) };
    if range.is_empty() {
        return Ok(crate::types::body::once(bytes::Bytes::new()));
    }
    let part = range != (0..found.size);
    let if_match = Some(found.etag.as_str()).filter(|tag| !tag.is_empty());
    let get = Get { range: part.then(|| range.clone()), if_match, version: None };
    let reply = old.client.get_object(bucket.name.as_str(), object.key.as_str(), get).await;
    let reply = reply.map_err(|error| match error.status() {
        Some(404 | 412) => S3Code::ConditionalRequestConflict.into(),
        _ => refusal(error),
    })?;
    let length = text_of(&reply.headers, "content-length").and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length != range.end - range.start) {
        return Err(S3Code::ConditionalRequestConflict.into());
    }
    Ok(reply.body)
}

/// Judges the condition of a write by the old server's object, where the key is not here, and gives the condition that the
/// commit depends on: what others do to the key meanwhile must not be undone.
///
/// # Errors
/// `PreconditionFailed`; as [`answer`].
pub(super) async fn write_condition(
    cx: &Context,
    bucket: &Bucket,
    object: &ObjectRef,
    condition: WriteCondition,
) -> S3Result<WriteCondition> {
    if matches!(condition, WriteCondition::Always | WriteCondition::IfFound(_)) {
        return Ok(condition);
    }
    let Some(found) = elsewhere(cx, bucket, object).await? else { return Ok(condition) };
    condition.judge(&found)?;
    Ok(WriteCondition::IfFound(Found::Elsewhere))
}

/// As [`write_condition`], for a delete.
///
/// # Errors
/// As [`write_condition`].
pub(super) async fn delete_condition(
    cx: &Context,
    bucket: &Bucket,
    object: &ObjectRef,
    condition: DeleteCondition,
) -> S3Result<DeleteCondition> {
    if condition.asks_nothing() || object.version.is_some() {
        return Ok(condition);
    }
    let Some(found) = elsewhere(cx, bucket, object).await? else { return Ok(condition) };
    condition.judge(&found)?;
    Ok(DeleteCondition { found: Some(Found::Elsewhere), ..condition })
}

/// What the old server has of a key that is neither here nor deleted here.
///
/// # Errors
/// As [`answer`].
pub(super) async fn elsewhere(cx: &Context, bucket: &Bucket, object: &ObjectRef) -> S3Result<Option<ObjectRecord>> {
    let Some(old) = old_of(cx, bucket, &object.key).await? else { return Ok(None) };
    Ok(there(old, bucket, &object.key).await?.map(|(record, _)| record))
}

fn refusal(error: S3ClientError) -> S3Error {
    match error.status() {
        Some(304) => S3Error::not_modified(HeaderMap::new()),
        Some(412) => S3Code::PreconditionFailed.into(),
        Some(416) => S3Code::InvalidRange.into(),
        _ => {
            tracing::warn!(%error, "the old server of the migration does not answer as it must");
            S3Error::from(S3Code::ServiceUnavailable).because(error)
        }
    }
}

/// The head of an answer made of the old server's.
pub(super) fn head(reply: &Reply) -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::new();
    for name in TOLD {
        if let Some(value) = reply.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    for (name, value) in &reply.headers {
        if name.as_str().starts_with(METADATA) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(MARK, HeaderValue::from_static("true"));
    (reply.status, headers)
}
