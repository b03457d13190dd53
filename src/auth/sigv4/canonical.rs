//! The canonical request: what both sides sign.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};

use super::Claim;
use crate::auth::{
    AuthError, RequestHead,
    query::{InvalidEscape, Part, SIGNATURE, canonical, raw_pairs},
};

/// The names that `SignedHeaders` lists, in its order.
#[derive(Debug)]
pub(in crate::auth) struct SignedHeaders<'a> {
    text: &'a str,
    names: Vec<&'a str>,
}

/// More names than a request may have headers: longer lists only cost time.
const MAX_NAMES: usize = 128;

impl<'a> SignedHeaders<'a> {
    /// Reads `name;name;…`; `None` where a name is no lower-case header name or the list is absurdly long.
    pub(in crate::auth) fn parse(text: &'a str) -> Option<Self> {
        let mut names = Vec::with_capacity(12);
        for name in text.split(';') {
            if names.len() == MAX_NAMES || name.is_empty() || !name.bytes().all(is_name_byte) {
                return None;
            }
            names.push(name);
        }
        Some(Self { text, names })
    }

    /// The headers that must be signed and are not: `host`, and every `x-amz-*` of the request.
    pub(in crate::auth) fn left_out(&self, headers: &HeaderMap) -> Vec<String> {
        let required = headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
        let mut unsigned: Vec<String> =
            required.chain(["host"]).filter(|name| !self.names.contains(name)).map(str::to_owned).collect();
        unsigned.sort_unstable();
        unsigned
    }
}

/// Token characters (RFC 9110, 5.6.2) without upper case: none of them ends a line or an item.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase()
        || matches!(byte, b'-' | b'0'..=b'9' | b'_' | b'.' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~')
}

/// How the path is spelled in what was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathSpelling {
    /// Escapes undone and made again: what the SDKs sign, however a proxy spelled it on the way.
    Normal,
    /// The bytes of the request line: what clients sign that escape a slash within a key.
    AsSent,
}

/// Whether the two spellings of a path may both be somebody's: a slash has two.
pub(super) fn has_escaped_slash(path: &str) -> bool {
    path.as_bytes().array_windows().any(|[a, b, c]| *a == b'%' && *b == b'2' && c.eq_ignore_ascii_case(&b'f'))
}

/// Builds the canonical request. Header values may hold bytes beyond ASCII, hence no text.
pub(super) fn request(head: &RequestHead<'_>, claim: &Claim<'_>, spelling: PathSpelling) -> Result<Vec<u8>, AuthError> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b'\n');
    let path = match spelling {
        PathSpelling::Normal => canonical(head.path, Part::Path)?,
        PathSpelling::AsSent => Cow::Borrowed(head.path),
    };
    out.extend_from_slice(if path.is_empty() { b"/" } else { path.as_bytes() });
    out.push(b'\n');
    push_query(&mut out, head.query, claim.presigned)?;
    out.push(b'\n');
    for name in &claim.signed.names {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        for (index, value) in head.headers.get_all(*name).iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_value(&mut out, value);
        }
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(claim.signed.text.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(claim.payload.as_bytes());
    Ok(out)
}

/// The parameters, sorted by encoded name, then by encoded value.
fn push_query(out: &mut Vec<u8>, raw: &str, presigned: bool) -> Result<(), InvalidEscape> {
    if raw.is_empty() {
        return Ok(());
    }
    let mut pairs = Vec::with_capacity(12);
    for (name, value) in raw_pairs(raw) {
        let name = canonical(name, Part::Query)?;
        if !(presigned && name.eq_ignore_ascii_case(SIGNATURE)) {
            pairs.push((name, canonical(value, Part::Query)?));
        }
    }
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
    }
    Ok(())
}

/// A value without spaces around it, and with runs of spaces inside drawn together.
fn push_value(out: &mut Vec<u8>, value: &HeaderValue) {
    let trimmed = value.as_bytes().trim_ascii();
    if !trimmed.array_windows().any(|pair| pair == b"  ") {
        out.extend_from_slice(trimmed);
        return;
    }
    let mut words = trimmed.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    out.extend_from_slice(words.next().unwrap_or_default());
    for word in words {
        out.push(b' ');
        out.extend_from_slice(word);
    }
}
