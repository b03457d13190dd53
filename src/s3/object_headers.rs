//! The headers that describe an object: read from a write, shown by a read.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    codes::S3Code,
    context::Context,
    encryption,
    error::{S3Error, S3Result},
    grants::{self, Subject},
    head::Head,
    lock_headers,
    reply::set,
    tags,
};
use crate::{
    storage::{
        Attributes, Bucket,
        records::{ChecksumRecord, ContentHeaders, ObjectRecord, Pair},
    },
    types::{AccountId, Acl, CannedAcl, Dialect, Grant, Grantee, ObjectOwnership, Permission, Timestamp},
};

/// Most bytes of names and values of user metadata (S3 reference, "Working with object metadata").
const MAX_METADATA: usize = 2048;
/// Storage classes that a client may name; all but the first are shown.
const STORAGE_CLASSES: &[&str] = &[
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
    "FSX_OPENZFS",
    "FSX_ONTAP",
];
const USER_PREFIX: &str = "x-amz-meta-";

/// What a write says of its object besides the bytes.
///
/// # Errors
/// `MetadataTooLarge`, `InvalidStorageClass`, `InvalidRedirectLocation`, `InvalidTag`, `InvalidArgument`, those of
/// [`grants::from_headers`], [`encryption::request`] and [`lock_headers::read`].
pub fn attributes(head: &Head, cx: &Context, bucket: &Bucket) -> S3Result<Attributes> {
    let Written { owner, owner_display_name, acl } = written_by(head, cx, bucket)?;
    Ok(Attributes {
        owner_display_name,
        content: content(head),
        metadata: user_metadata(head)?,
        tags: match head.header("x-amz-tagging") {
            Some(text) => tags::parse_header(text, cx.object_tags())?,
            None => Vec::new(),
        },
        acl,
        storage_class: storage_class(head)?,
        redirect: redirect(head)?,
        encryption: encryption::request(head, &cx.settings, bucket)?,
        lock: lock_headers::read(head)?,
        annotations: None,
        modified: kept_date(head, cx, bucket),
        owner: Some(owner),
    })
}

/// When what is written was last modified, if it is the bucket's owner who says so and may. It is never later than now.
fn kept_date(head: &Head, cx: &Context, bucket: &Bucket) -> Option<Timestamp> {
    let said = head.header("x-cloudserver-last-modified").filter(|_| cx.settings.keep_dates)?;
    let is_owner = cx.principal.account == bucket.owner && !cx.principal.is_anonymous();
    Timestamp::parse_iso8601(said).filter(|date| is_owner && *date <= cx.now && date.as_millis() > 0)
}

/// Who owns what is written, and its list.
struct Written {
    owner: AccountId,
    owner_display_name: String,
    acl: Option<Acl>,
}

/// Whose object a write makes: the bucket's setting may give it to the bucket's owner (S3 reference, "Controlling
/// ownership of objects").
///
/// # Errors
/// Those of [`grants::from_headers`]; `AccessControlListNotSupported` where lists mean nothing; `AccessDenied` for a
/// public list where the bucket blocks them.
fn written_by(head: &Head, cx: &Context, bucket: &Bucket) -> S3Result<Written> {
    let writer = cx.principal.account.clone();
    let owner = Subject::Object { owner: &writer, bucket_owner: &bucket.owner };
    let acl = grants::from_headers(head, cx.directory.as_ref(), owner)?;
    let named = grants::value(head, "x-amz-acl");
    let gives_away = named.as_deref() == Some(CannedAcl::BucketOwnerFullControl.as_str());
    let is_bucket_owners = match bucket.limits.ownership {
        ObjectOwnership::ObjectWriter => false,
        ObjectOwnership::BucketOwnerPreferred => gives_away,
        ObjectOwnership::BucketOwnerEnforced => {
            let full = Grant { grantee: Grantee::Account(bucket.owner.clone()), permission: Permission::FullControl };
            // Of the lists by name only this one is taken, though others would mean the same.
            let harmless = acl.as_ref().is_none_or(|acl| gives_away || (named.is_none() && acl.grants == [full]));
            if !harmless {
                return Err(S3Code::AccessControlListNotSupported.into());
            }
            true
        }
    };
    if let Some(acl) = &acl {
        grants::check_public(acl, bucket)?;
    }
    Ok(if is_bucket_owners {
        Written { owner: bucket.owner.clone(), owner_display_name: bucket.record.owner_display_name.clone(), acl: None }
    } else {
        Written { owner: writer, owner_display_name: cx.principal.display_name.to_string(), acl }
    })
}

fn content(head: &Head) -> ContentHeaders {
    let text = |name| head.raw_header(name).filter(|text| !text.is_empty());
    ContentHeaders {
        content_type: text("content-type"),
        cache_control: text("cache-control"),
        content_disposition: text("content-disposition"),
        content_encoding: text("content-encoding").and_then(|text| without_aws_chunked(&text)),
        content_language: text("content-language"),
        expires: text("expires"),
    }
}

/// `aws-chunked` describes the transfer, not the object.
fn without_aws_chunked(text: &str) -> Option<String> {
    let is_ours = |token: &&str| token.eq_ignore_ascii_case("aws-chunked");
    let tokens = || text.split(',').map(str::trim);
    if !tokens().any(|token| is_ours(&token)) {
        return Some(text.to_owned());
    }
    let kept: Vec<&str> = tokens().filter(|token| !is_ours(token)).collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

fn user_metadata(head: &Head) -> S3Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    let mut size = 0;
    for name in head.headers.keys() {
        let Some(short) = name.as_str().strip_prefix(USER_PREFIX) else { continue };
        let value = decode_rfc2047(&head.raw_header(name.as_str()).unwrap_or_default());
        size += short.len() + value.len();
        pairs.push(Pair { name: short.to_owned(), value });
    }
    for (name, value) in head.queries() {
        let lower = name.to_ascii_lowercase();
        let Some(short) = lower.strip_prefix(USER_PREFIX) else { continue };
        if !head.headers.contains_key(&lower) {
            size += short.len() + value.len();
            pairs.push(Pair { name: short.to_owned(), value: value.to_owned() });
        }
    }
    if size > MAX_METADATA {
        return Err(S3Error::from(S3Code::MetadataTooLarge)
            .with("Size", size.to_string())
            .with("MaxSizeAllowed", MAX_METADATA.to_string()));
    }
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pairs)
}

/// The storage class of an `x-amz-storage-class` header; empty for the standard one.
pub fn storage_class(head: &Head) -> S3Result<String> {
    match head.header("x-amz-storage-class") {
        None | Some("STANDARD" | "") => Ok(String::new()),
        Some(class) if STORAGE_CLASSES.contains(&class) => Ok(class.to_owned()),
        Some(_) => Err(S3Code::InvalidStorageClass.into()),
    }
}

fn redirect(head: &Head) -> S3Result<String> {
    let Some(text) = head.header("x-amz-website-redirect-location") else { return Ok(String::new()) };
    if ["/", "http://", "https://"].iter().any(|prefix| text.starts_with(prefix)) {
        Ok(text.to_owned())
    } else {
        Err(S3Code::InvalidRedirectLocation.into())
    }
}

/// Whether an answer shows the additional checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowChecksum {
    /// `x-amz-checksum-mode: ENABLED`, and the whole object.
    Yes,
    /// Otherwise.
    No,
}

/// The headers of a version for GET and HEAD, without those of its bytes.
pub fn describe(cx: &Context, bucket: &Bucket, record: &ObjectRecord, checksum: ShowChecksum) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    let content = record.content.as_ref();
    let shown = |pick: fn(&ContentHeaders) -> &Option<String>| content.and_then(|content| pick(content).as_deref());
    let kind = shown(|content| &content.content_type).unwrap_or("binary/octet-stream");
    set(&mut headers, header::CONTENT_TYPE, kind);
    for (name, value) in [
        (header::CACHE_CONTROL, shown(|content| &content.cache_control)),
        (header::CONTENT_DISPOSITION, shown(|content| &content.content_disposition)),
        (header::CONTENT_ENCODING, shown(|content| &content.content_encoding)),
        (header::CONTENT_LANGUAGE, shown(|content| &content.content_language)),
        (header::EXPIRES, shown(|content| &content.expires)),
    ] {
        if let Some(value) = value {
            set(&mut headers, name, value);
        }
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set(&mut headers, header::ETAG, &record.etag().quoted());
    set(&mut headers, header::LAST_MODIFIED, &record.modified().to_http_date());
    show_metadata(&mut headers, &record.metadata, cx.head.dialect);
    if bucket.is_versioned() {
        set(&mut headers, HeaderName::from_static("x-amz-version-id"), &cx.version_text(record));
    }
    if !record.storage_class.is_empty() {
        set(&mut headers, HeaderName::from_static("x-amz-storage-class"), &record.storage_class);
    }
    if let Some(until) = record.restored_until(cx.now) {
        let value = format!("ongoing-request=\"false\", expiry-date=\"{}\"", until.to_http_date());
        set(&mut headers, HeaderName::from_static("x-amz-restore"), &value);
    }
    if !record.redirect.is_empty() {
        set(&mut headers, HeaderName::from_static("x-amz-website-redirect-location"), &record.redirect);
    }
    if !record.tags.is_empty() {
        headers.insert("x-amz-tagging-count", HeaderValue::from(record.tags.len()));
    }
    encryption::show(&mut headers, record.encryption.as_ref(), &cx.head);
    if checksum == ShowChecksum::Yes {
        show_checksum(&mut headers, record.checksum.as_ref());
    }
    headers
}

/// The headers of a checksum.
pub fn show_checksum(headers: &mut HeaderMap, checksum: Option<&ChecksumRecord>) {
    let Some((checksum, text)) = checksum.and_then(|checksum| Some((checksum, checksum.to_text()?))) else { return };
    let Some(algorithm) = checksum.algorithm() else { return };
    set(headers, HeaderName::from_static(algorithm.header()), &text);
    let kind = if checksum.composite { "COMPOSITE" } else { "FULL_OBJECT" };
    headers.insert("x-amz-checksum-type", HeaderValue::from_static(kind));
}

fn show_metadata(headers: &mut HeaderMap, pairs: &[Pair], dialect: Dialect) {
    let mut missing = 0_u32;
    for pair in pairs {
        let name = HeaderName::from_bytes(format!("{USER_PREFIX}{}", pair.name).as_bytes());
        // Ceph gives the bytes back as they came; AWS puts what is beyond ASCII into encoded words.
        let text = if dialect.is_ceph() { Cow::from(&pair.value) } else { Cow::from(encode_rfc2047(&pair.value)) };
        let value = HeaderValue::from_bytes(text.as_bytes());
        match (name, value) {
            (Ok(name), Ok(value)) => {
                headers.insert(name, value);
            }
            _ => missing += 1,
        }
    }
    if missing > 0 {
        headers.insert("x-amz-missing-meta", HeaderValue::from(missing));
    }
}

/// Values beyond ASCII travel as RFC 2047 encoded words.
fn encode_rfc2047(value: &str) -> String {
    if value.is_ascii() { value.to_owned() } else { format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(value)) }
}

fn decode_rfc2047(value: &str) -> String {
    let word = || {
        let inner = value.strip_prefix("=?")?.strip_suffix("?=")?;
        let mut fields = inner.split('?');
        let (charset, encoding, text) = (fields.next()?, fields.next()?, fields.next()?);
        if !charset.eq_ignore_ascii_case("utf-8") || fields.next().is_some() {
            return None;
        }
        let bytes = match encoding {
            "B" | "b" => BASE64_STANDARD.decode(text).ok()?,
            "Q" | "q" => quoted_printable(text)?,
            _ => return None,
        };
        String::from_utf8(bytes).ok()
    };
    word().unwrap_or_else(|| value.to_owned())
}

fn quoted_printable(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Some(out),
            [b'=', high, low, tail @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                out.push(digit(high)? << 4 | digit(low)?);
                rest = tail;
            }
            [b'_', tail @ ..] => {
                out.push(b' ');
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Refuses headers by which other writes say what the object is to be, and these families of them, for a write that
/// would pass over them. Ignored, they would still meet a policy that asks for tags, a list or encryption of whatever is
/// written.
///
/// # Errors
/// `InvalidArgument`.
pub fn refuse_words(head: &Head, families: &[&str], why: &'static str) -> S3Result<()> {
    const NAMES: [&str; 5] = [
        "x-amz-acl",
        "x-amz-tagging",
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
        "x-amz-metadata-directive",
    ];
    let headers = head.headers.keys().map(|name| name.as_str().to_owned());
    let mut names = headers.chain(head.queries().map(|(name, _)| name.to_ascii_lowercase()));
    let is_word =
        |name: &String| NAMES.contains(&name.as_str()) || families.iter().any(|family| name.starts_with(family));
    match names.find(is_word) {
        None => Ok(()),
        Some(name) => Err(S3Error::argument(why, "header", &name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_read_back() {
        for text in ["plain", "Grüße", "日本語", "=?x", ""] {
            assert_eq!(decode_rfc2047(&encode_rfc2047(text)), text);
        }
        assert_eq!(decode_rfc2047("=?utf-8?Q?Gr=C3=BC=C3=9Fe_an?="), "Grüße an");
    }

    #[test]
    fn aws_chunked_is_never_stored() {
        assert_eq!(without_aws_chunked("aws-chunked"), None);
        assert_eq!(without_aws_chunked("aws-chunked,gzip"), Some("gzip".into()));
        assert_eq!(without_aws_chunked("gzip, AWS-chunked , br"), Some("gzip, br".into()));
    }
}
