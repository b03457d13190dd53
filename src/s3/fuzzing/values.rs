//! The small languages of headers, parameters, hosts and paths. The first letter of an input says which one.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Everybody, split, taken};
use crate::{
    auth,
    s3::{
        conditional::{ReadCondition, write_condition},
        error::S3Result,
        grants::{self, Subject},
        head::{self, Head},
        object_headers,
        operation::Operation,
        ops::{copy_object::CopySource, list_objects::ListObjectsV2},
        resolve, token,
        xml::{url_encode, write::XmlWriter},
    },
    types::{
        AccountId, BucketName, ByteRange, Checksum, ChecksumAlgorithm, ETag, ObjectKey, Timestamp, UploadId, VersionId,
        VersionSelector, version_id::VersionIdEncoding,
    },
};

/// A language and what must hold of it.
type Row = (u8, fn(&str));

const KINDS: &[Row] = &[
    (b'a', address),
    (b'c', copy_source),
    (b'd', date),
    (b'g', grant),
    (b'h', headers),
    (b'i', conditions),
    (b'k', names),
    (b'q', query),
    (b'r', range),
    (b's', checksum),
    (b't', listing_token),
    (b'u', url),
    (b'v', version),
];

/// A value of any kind.
pub(crate) fn values(data: &[u8]) {
    let Some((letter, text)) = split(data) else { return };
    let (Some((_, check)), Ok(text)) = (KINDS.iter().find(|(known, _)| *known == letter), str::from_utf8(text)) else {
        return;
    };
    check(text);
}

/// A head with these headers; `None` where one cannot stand in a request.
fn with_headers(method: Method, query: &str, headers: &[(&str, &str)]) -> Option<S3Result<Head>> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some(Head::new(method, map, query).map(|mut head| {
        "bucket".clone_into(&mut head.bucket);
        "key".clone_into(&mut head.key);
        head
    }))
}

/// Host and path: bucket and key come out of them decoded once, and nothing is lost.
fn address(text: &str) {
    let (host, path) = text.split_once('\n').unwrap_or(("localhost", text));
    let endpoints = BTreeMap::from([("s3.example.com".to_owned(), "us-east-1".to_owned())]);
    let websites = ["web.example.com".to_owned()];
    if let Some(found) = taken(resolve::address(host, path, &endpoints)) {
        let decoded = head::decode(path.strip_prefix('/').unwrap_or(path)).expect("it was decoded");
        let whole = match (&found.virtual_bucket, found.key.is_empty()) {
            (Some(_), _) => found.key.clone(),
            (None, true) => found.bucket.clone(),
            (None, false) => format!("{}/{}", found.bucket, found.key),
        };
        assert_eq!(whole, decoded.strip_suffix('/').filter(|it| *it == whole).unwrap_or(&decoded));
        assert!(!found.bucket.is_empty() || found.key.is_empty());
    }
    if let Some(page) = resolve::website(host, path, (&websites, &endpoints)) {
        taken(page);
    }
}

fn copy_source(text: &str) {
    let read = |text: &str| {
        let head = with_headers(Method::PUT, "", &[("x-amz-copy-source", text)])?;
        taken(CopySource::read(&head.ok()?))
    };
    let Some(source) = read(text) else { return };
    let object = &source.object;
    let version = match object.version {
        None => String::new(),
        Some(VersionSelector::Null) => "?versionId=null".to_owned(),
        Some(VersionSelector::Id(id)) => format!("?versionId={}", id.encode(VersionIdEncoding::Hex)),
    };
    let spelled = format!("/{}/{}{version}", object.bucket, url_encode(object.key.as_str()));
    assert_eq!(read(&spelled).as_ref(), Some(&source), "{spelled}");
}

/// Dates are the same instant in each of their spellings, up to what a spelling leaves out.
fn date(text: &str) {
    for read in [Timestamp::parse_http_date, Timestamp::parse_iso8601, Timestamp::parse_basic] {
        let Some(time) = read(text) else { continue };
        let seconds = Timestamp::from_secs(time.as_secs());
        assert_eq!(Timestamp::parse_iso8601(&time.to_iso8601()), Some(time), "{text}");
        assert_eq!(Timestamp::parse_basic(&time.to_basic()), Some(seconds), "{text}");
        assert_eq!(Timestamp::parse_http_date(&time.to_http_date()), Some(seconds), "{text}");
    }
}

fn grant(text: &str) {
    let owner = AccountId::new("owner");
    let (canned, given) = text.split_once('\n').unwrap_or(("", text));
    let mut headers = vec![("x-amz-grant-read", given), ("x-amz-grant-full-control", given)];
    if !canned.is_empty() {
        headers.push(("x-amz-acl", canned));
    }
    let Some(Ok(head)) = with_headers(Method::PUT, "", &headers) else { return };
    for subject in [Subject::Bucket { owner: &owner }, Subject::Object { owner: &owner, bucket_owner: &owner }] {
        if let Some(Some(list)) = taken(grants::from_headers(&head, &Everybody, subject)) {
            assert!(list.grants.len() <= grants::MAX_GRANTS);
        }
    }
}

/// Lines `name: value`, as an upload sends them.
fn headers(text: &str) {
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(": ")).collect();
    let Some(Ok(head)) = with_headers(Method::PUT, "", &lines) else { return };
    taken(object_headers::storage_class(&head));
    taken(crate::s3::request_body::Declared::read(&head));
    taken(write_condition(&head));
    ReadCondition::read(&head);
}

fn conditions(text: &str) {
    for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"] {
        let Some(Ok(head)) = with_headers(Method::GET, "", &[(name, text)]) else { return };
        let condition = ReadCondition::read(&head);
        let same = ReadCondition::read(&head);
        assert_eq!(condition, same);
        taken(write_condition(&head));
    }
    let tag = ETag::parse(text);
    assert_eq!(ETag::parse(&ETag::new(tag.as_str()).quoted()).as_str().trim_matches('"'), tag.as_str());
}

/// Names of buckets and keys: what is taken obeys the rules, by another reading of them.
fn names(text: &str) {
    if let Ok(name) = BucketName::new(text) {
        assert_eq!(name.as_str(), text);
        assert!((3..=63).contains(&text.len()));
        assert!(text.split('.').all(|label| !label.is_empty()), "{text}");
        assert!(text.chars().all(|char| matches!(char, 'a'..='z' | '0'..='9' | '-' | '.')), "{text}");
    }
    match ObjectKey::new(text) {
        Ok(key) => assert_eq!(key.as_str(), text),
        Err(_) => assert!(text.is_empty() || text.len() > 1024),
    }
    if let Some(id) = UploadId::parse(text) {
        assert_eq!(UploadId::parse(&id.to_string()), Some(id));
    }
}

/// Operations act on the query that was signed: both readers of it agree.
fn query(text: &str) {
    let acted = Head::new(Method::GET, HeaderMap::new(), text);
    let signed: Result<Vec<_>, _> = auth::query_pairs(text).collect();
    match (taken(acted), signed) {
        (Some(head), Ok(signed)) => {
            let acted: Vec<(String, String)> = head.queries().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let signed: Vec<_> = signed.into_iter().map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
            assert_eq!(acted, signed);
            for scope in [
                crate::s3::operation::Scope::Service,
                crate::s3::operation::Scope::Bucket,
                crate::s3::operation::Scope::Object,
            ] {
                taken(resolve::route(&head, scope));
            }
        }
        (None, Err(_)) => {}
        (acted, signed) => panic!("{text:?} acts as {acted:?} and is signed as {signed:?}"),
    }
}

fn range(text: &str) {
    let Some(range) = ByteRange::parse(text) else { return };
    let spelled = match range {
        ByteRange::FromTo(first, Some(last)) => format!("bytes={first}-{last}"),
        ByteRange::FromTo(first, None) => format!("bytes={first}-"),
        ByteRange::Suffix(count) => format!("bytes=-{count}"),
    };
    assert_eq!(ByteRange::parse(&spelled), Some(range), "{text}");
    for size in [0, 1, 2, 10, 1 << 40, u64::MAX] {
        let Ok(bytes) = range.resolve(size) else { continue };
        assert!(bytes.start < bytes.end && bytes.end <= size, "{text} of {size}");
        match range {
            ByteRange::FromTo(first, last) => {
                assert_eq!(bytes.start, first);
                assert!(last.is_none_or(|last| bytes.end == size || bytes.end == last + 1));
            }
            ByteRange::Suffix(count) => assert!(bytes.end == size && bytes.end - bytes.start == count.min(size)),
        }
    }
}

fn checksum(text: &str) {
    for algorithm in ChecksumAlgorithm::ALL {
        if let Ok(value) = Checksum::parse(algorithm, text) {
            assert_eq!((value.to_base64().as_str(), value.value.len()), (text, algorithm.digest_len()));
        }
    }
}

/// A token that is taken is one that we make.
fn listing_token(text: &str) {
    if let Some(place) = taken(token::read(text)) {
        assert_eq!(token::write(&place), text);
    }
    let query = format!("list-type=2&continuation-token={}", url_encode(text));
    let Some(Ok(head)) = with_headers(Method::GET, &query, &[]) else { return };
    let listing = ListObjectsV2::parse(&head).expect("tokens are read later");
    if let Some(start) = taken(listing.start()) {
        let next = crate::s3::ops::list_objects::next_token(&start);
        assert!(text.is_empty() || next.as_deref() == Some(text), "{start:?}");
    }
}

/// What is encoded for a URL or a document decodes to itself.
fn url(text: &str) {
    let encoded = url_encode(text);
    assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(head::decode(&encoded).unwrap(), text);
    let mut xml = XmlWriter::bare("Text", &[("key", text)], 0);
    xml.content(text);
    let document = xml.finish();
    // A NUL can be written, as all control characters; no reader takes it.
    if !text.contains('\0') {
        let root = crate::s3::xml::read::read(&document).expect("what is written is XML");
        assert_eq!((root.text(), root.attribute("key")), (text, Some(text)));
    }
    taken(head::decode(text));
}

fn version(text: &str) {
    let Some(selector) = taken(head::version(text)) else { return };
    let VersionSelector::Id(id) = selector else { return };
    for encoding in [VersionIdEncoding::Hex, VersionIdEncoding::Base62] {
        assert_eq!(VersionId::parse(&id.encode(encoding)), Some(id), "{text}");
    }
    assert_eq!(VersionId::from_key(&id.to_key()), Some(id));
}
