//! What of an answer's headers makes the same object elsewhere.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    s3client::{VersionEntry, text_of},
    types::Timestamp,
};

/// Headers that are given on as they are.
const KEPT: [&str; 8] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
    "x-amz-storage-class",
    "x-amz-object-lock-legal-hold",
];
const METADATA: &str = "x-amz-meta-";
const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const HOLD: &str = "x-amz-object-lock-legal-hold";
/// Asks a cloudserver whose bucket's owner may set dates to keep this one.
const KEEP_DATE: &str = "x-cloudserver-last-modified";

/// Asks a cloudserver that serves already not to bring back what was written or deleted there.
const UNLESS_DELETED: &str = "x-cloudserver-unless-deleted";
/// Asks it to write behind this version only.
const IF_NEWEST: &str = "x-cloudserver-if-newest";
/// Asks it for what it has itself, while it shows what another server still has as well.
pub(super) const HERE_ONLY: &str = "x-cloudserver-here-only";
/// Asks it not to remember a delete.
pub(super) const FORGET: &str = "x-cloudserver-forget-delete";
/// What a write may depend on in every S3.
const CONDITIONS: [&str; 2] = ["if-none-match", "if-match"];

/// What the target had of a key before it is written: the write depends on it, so that nothing is undone that somebody
/// did there meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Nothing, nor was it deleted there.
    Absent,
    /// This version or marker is the newest.
    Newest(VersionEntry),
}

impl Expected {
    /// Sets the headers that say so: those of S3, and those by which a cloudserver looks closer.
    pub(super) fn require(&self, headers: &mut HeaderMap) {
        match self {
            Self::Absent => {
                set(headers, "if-none-match", "*");
                set(headers, UNLESS_DELETED, "true");
            }
            Self::Newest(newest) => {
                if newest.marker {
                    set(headers, "if-none-match", "*");
                } else if !newest.object.etag.is_empty() {
                    set(headers, "if-match", &format!("\"{}\"", newest.object.etag));
                }
                set(headers, IF_NEWEST, &newest.version);
            }
        }
    }
}

/// Removes what S3 has no place for when an upload in parts or a marker begins.
pub(super) fn without_conditions(mut headers: HeaderMap) -> HeaderMap {
    for name in CONDITIONS {
        headers.remove(name);
    }
    headers
}

/// The digest of an entity tag, as `Content-MD5` has it.
pub(super) fn content_md5(tag: &str) -> Option<String> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    hex::decode(tag).ok().map(|digest| BASE64_STANDARD.encode(digest))
}

/// What is to be asked of the target besides what the source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Whether versions may be locked there.
    pub(super) lock: bool,
    /// Whether dates are to be kept.
    pub(super) dates: bool,
    /// The time now.
    pub(super) now: Timestamp,
}

/// The headers of a write that makes what an answer is of.
pub(super) fn forward(answer: &HeaderMap, wanted: Wanted) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in KEPT {
        if let Some(value) = answer.get(name) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    for (name, value) in answer {
        if name.as_str().starts_with(METADATA) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(encoding) = text_of(answer, "content-encoding") {
        let kept: Vec<_> = encoding.split(',').map(str::trim).filter(|name| *name != "aws-chunked").collect();
        set(&mut headers, "content-encoding", &kept.join(","));
    }
    if wanted.lock {
        lock(answer, &mut headers, wanted.now);
    } else {
        headers.remove(HOLD);
    }
    if text_of(answer, "x-amz-storage-class") == Some("STANDARD") {
        headers.remove("x-amz-storage-class");
    }
    let modified = text_of(answer, "last-modified").and_then(Timestamp::parse_http_date);
    if let Some(modified) = modified.filter(|_| wanted.dates) {
        set(&mut headers, KEEP_DATE, &modified.to_iso8601());
    }
    headers
}

/// Retention that is over needs not be set, and cannot.
fn lock(answer: &HeaderMap, headers: &mut HeaderMap, now: Timestamp) {
    let until = text_of(answer, UNTIL);
    if let (Some(mode), Some(until)) = (text_of(answer, MODE), until)
        && Timestamp::parse_iso8601(until).is_none_or(|until| until > now)
    {
        set(headers, MODE, mode);
        set(headers, UNTIL, until);
    }
}

/// Sets a header, unless it would be empty or is none.
pub(super) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value)
        && !value.is_empty()
    {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Whether a store is known to count the tags of an object in its answer: others are asked for them each time.
pub(super) fn tells_of_tags(answer: &HeaderMap) -> bool {
    const KNOWN: [&str; 3] = ["AmazonS3", "MinIO", "S3 Server"];
    text_of(answer, "server").is_some_and(|server| KNOWN.iter().any(|known| server.starts_with(known)))
}

/// Tags as a header has them.
pub(super) fn tagging(tags: &[(String, String)]) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let pair = |(key, value): &(String, String)| {
        format!("{}={}", utf8_percent_encode(key, NON_ALPHANUMERIC), utf8_percent_encode(value, NON_ALPHANUMERIC))
    };
    tags.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// Whether an entity tag is the MD5 of the bytes, as far as one can see.
pub(super) fn is_digest(tag: &str) -> bool {
    tag.len() == 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether the tag in an answer says nothing of the bytes, as it looks.
pub(super) fn has_opaque_tag(answer: &HeaderMap) -> bool {
    let customer = answer.contains_key("x-amz-server-side-encryption-customer-algorithm");
    let managed = text_of(answer, "x-amz-server-side-encryption").is_some_and(|mode| mode.starts_with("aws:kms"));
    customer || managed
}
