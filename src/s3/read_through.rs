//! Objects that are still on an old server (`cloudserver.migration`): while a migration runs, what is not here and was
//! not deleted here is read there.
//!
//! Only `GetObject` and `HeadObject` of a key's newest version go there: listings, copies and conditions of writes know
//! what is here. Whoever may read the bucket's objects as their owner, or by its policy, may read these; lists of single
//! objects stay behind on the old server until their objects are here.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{
    codes::S3Code,
    context::Context,
    error::{S3Error, S3Result},
    operation::ObjectRef,
};
use crate::{
    auth::Action,
    s3client::{Call, Reply, S3Client, S3ClientError},
    storage::{Bucket, StorageError},
    types::BucketName,
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
/// Says where an answer is from.
const MARK: &str = "x-cloudserver-read-through";

/// The old server, and which buckets are read there.
#[derive(Clone, Debug)]
pub struct ReadThrough {
    /// Asks it.
    pub client: S3Client,
    /// The buckets; all, where it is none.
    pub buckets: Option<BTreeSet<String>>,
}

impl ReadThrough {
    fn concerns(&self, bucket: &BucketName) -> bool {
        self.buckets.as_ref().is_none_or(|names| names.contains(bucket.as_str()))
    }
}

impl Context {
    /// Whether what is missing here may be on the old server.
    pub(super) fn reads_through(&self, bucket: &Bucket, object: &ObjectRef, action: Action) -> bool {
        let old = self.settings.read_through.as_ref();
        action == Action::GetObject
            && object.version.is_none()
            && matches!(self.head.method, Method::GET | Method::HEAD)
            && old.is_some_and(|old| old.concerns(&bucket.name))
    }
}

/// The old server's answer, where the key is not here and it has it; else it is for this server to answer.
///
/// # Errors
/// `ServiceUnavailable` where the old server cannot be asked: nobody knows then whether there is such an object. What the
/// request's conditions and range come to.
pub(super) async fn answer(cx: &Context, bucket: &Bucket, object: &ObjectRef) -> S3Result<Option<Reply>> {
    if !cx.may_read_through || cx.authorized(object).is_some() {
        return Ok(None);
    }
    let Some(old) = cx.settings.read_through.as_ref() else { return Ok(None) };
    match cx.storage.version(bucket, &object.key, None).await {
        Err(StorageError::NoSuchKey(None)) => {}
        _ => return Ok(None),
    }
    if cx.storage.was_deleted(bucket, &object.key).await? {
        return Ok(None);
    }
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
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(refusal(error)),
    }
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
        if name.as_str().starts_with("x-amz-meta-") {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(MARK, HeaderValue::from_static("true"));
    (reply.status, headers)
}
