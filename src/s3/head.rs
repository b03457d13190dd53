//! The head of a request, with checked access to its parts.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::{
    codes::S3Code,
    error::{S3Error, S3Result},
    operation::ObjectRef,
    tags::{self, TagLimit},
};
use crate::{
    storage::records::Pair,
    types::{BucketName, Dialect, ObjectKey, VersionSelector},
};

/// A request after resolution: what it addresses, decoded exactly once.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// All headers.
    pub headers: HeaderMap,
    /// The bucket as spelled; empty for the service.
    pub bucket: String,
    /// The key as spelled, decoded; empty for a bucket.
    pub key: String,
    /// The endpoint the request came to, for `Location` elements and endpoint defaults; without port.
    pub host: String,
    /// `http://host:port` or `https://…`, as the client addressed us.
    pub base_url: String,
    /// Whose answers this request gets where AWS and Ceph RGW disagree.
    pub dialect: Dialect,
    query: Vec<(String, String)>,
    tags: OnceLock<Option<Arc<[Pair]>>>,
}

impl Head {
    /// A head from its parts; `query` is raw.
    pub fn new(method: Method, headers: HeaderMap, query: &str) -> S3Result<Self> {
        Ok(Self {
            method,
            headers,
            bucket: String::new(),
            key: String::new(),
            host: String::new(),
            base_url: String::new(),
            dialect: Dialect::default(),
            query: parse_query(query)?,
            tags: OnceLock::new(),
        })
    }

    /// The tags that `x-amz-tagging` names, read once for all questions of a policy; `None` where they are none.
    pub(super) fn tags(&self, limit: TagLimit) -> Option<Arc<[Pair]>> {
        let read = || {
            let text = self.header("x-amz-tagging").unwrap_or_default();
            tags::parse_header(text, limit).ok().map(Arc::from)
        };
        self.tags.get_or_init(read).clone()
    }

    /// The bucket.
    ///
    /// # Errors
    /// `InvalidBucketName`.
    pub fn bucket(&self) -> S3Result<BucketName> {
        BucketName::new(&self.bucket)
            .map_err(|e| S3Error::from(S3Code::InvalidBucketName).with("BucketName", self.bucket.as_str()).because(e))
    }

    /// The object, with the version that `versionId` names.
    ///
    /// # Errors
    /// `InvalidBucketName`, `KeyTooLongError`, `InvalidArgument` for a malformed version id.
    pub fn object(&self) -> S3Result<ObjectRef> {
        Ok(ObjectRef { bucket: self.bucket()?, key: self.key()?, version: self.version()? })
    }

    /// The object of an operation that takes no version id.
    pub fn object_without_version(&self) -> S3Result<ObjectRef> {
        match self.query("versionId") {
            None => self.object(),
            Some(value) => Err(S3Error::argument("This operation does not accept a version-id.", "versionId", value)),
        }
    }

    fn key(&self) -> S3Result<ObjectKey> {
        key(&self.key)
    }

    fn version(&self) -> S3Result<Option<VersionSelector>> {
        let Some(text) = self.query("versionId") else { return Ok(None) };
        if text.is_empty() {
            return Err(S3Error::argument("Version id cannot be the empty string", "versionId", ""));
        }
        version(text).map(Some)
    }

    /// The decoded value of a query parameter; empty where it has none. Of repeated ones the first counts.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the query has a parameter.
    pub fn has_query(&self, name: &str) -> bool {
        self.query(name).is_some()
    }

    /// All query parameters, decoded, in order.
    pub fn queries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A header as text, or the query parameter of that name: presigned URLs carry `x-amz-*` either way.
    ///
    /// A header whose bytes are not visible ASCII reads as absent; use [`Head::raw_header`] where UTF-8 may come.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.headers.get(name) {
            Some(value) => value.to_str().ok().map(str::trim),
            None if name.starts_with("x-amz-") => self.amz_parameter(name),
            None => None,
        }
    }

    fn amz_parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header's values, joined with `,` as HTTP says, read as UTF-8.
    pub fn raw_header(&self, name: &str) -> Option<String> {
        let mut values = self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let mut joined = values.next()?.trim().to_owned();
        for value in values {
            joined.push(',');
            joined.push_str(value.trim());
        }
        Some(joined)
    }

    /// A number in a query parameter.
    ///
    /// # Errors
    /// `InvalidArgument` for anything but an unsigned decimal number.
    pub fn number(&self, name: &'static str) -> S3Result<Option<u64>> {
        let Some(text) = self.query(name) else { return Ok(None) };
        if text.is_empty() {
            return Ok(None);
        }
        parse_number(name, text).map(Some)
    }
}

/// An unsigned decimal number that names itself in its error.
pub fn parse_number(name: &'static str, text: &str) -> S3Result<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number
        .ok_or_else(|| S3Error::argument(format!("Provided {name} not an integer or within integer range"), name, text))
}

/// A checked key.
pub fn key(text: &str) -> S3Result<ObjectKey> {
    ObjectKey::new(text).map_err(|e| match e {
        crate::types::object_key::ObjectKeyError::Empty => S3Error::argument("A key must not be empty", "key", ""),
        crate::types::object_key::ObjectKeyError::TooLong(size) => S3Error::from(S3Code::KeyTooLongError)
            .with("Size", size.to_string())
            .with("MaxSizeAllowed", crate::types::object_key::MAX_KEY_BYTES.to_string()),
    })
}

/// A checked version id.
pub fn version(text: &str) -> S3Result<VersionSelector> {
    VersionSelector::parse(text).ok_or_else(|| S3Error::argument("Invalid version id specified", "versionId", text))
}

/// Decodes percent escapes once; `+` stays a plus.
///
/// # Errors
/// `InvalidURI` for a broken escape, or bytes that are not UTF-8.
pub fn decode(text: &str) -> S3Result<String> {
    let invalid = || S3Error::new(S3Code::InvalidURI, "Couldn't parse the specified URI.");
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let escape = rest.get(at + 1..at + 3).ok_or_else(invalid)?;
        if !escape.iter().all(u8::is_ascii_hexdigit) {
            return Err(invalid());
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| invalid())
}

fn parse_query(raw: &str) -> S3Result<Vec<(String, String)>> {
    let pairs = raw.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // In a query a plus is a space to most clients; those that mean a plus send %2B.
            Ok((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_decode_once_and_broken_ones_are_refused() {
        assert_eq!(decode("a%2Fb%252F+c").unwrap(), "a/b%2F+c");
        for bad in ["%", "%2", "%zz", "a%ff", "%C3%28"] {
            assert_eq!(decode(bad).unwrap_err().code, S3Code::InvalidURI, "{bad}");
        }
    }

    #[test]
    fn the_query_decodes_like_a_form() {
        let head = Head::new(Method::GET, HeaderMap::new(), "prefix=a+b%2Bc&acl&x=1&x=2").unwrap();
        assert_eq!(head.query("prefix"), Some("a b+c"));
        assert_eq!(head.query("acl"), Some(""));
        assert_eq!(head.query("x"), Some("1"));
        assert!(head.number("prefix").is_err());
    }
}
