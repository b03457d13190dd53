//! The query string: decoded once, by the same rules for signatures and for operations.

use std::{borrow::Cow, str::Split};

use thiserror::Error;

use super::{AuthError, RequestHead};

/// A percent sign without two hexadecimal digits behind it, or bytes that are no UTF-8.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid percent escape")]
pub struct InvalidEscape;

/// Which characters stand for themselves, and what a plus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A path: slashes stay, a plus is a plus.
    Path,
    /// A name or value of the query: slashes are escaped, a plus is a space (as HTML forms write it).
    Query,
}

impl Part {
    /// Whether canonical text shows `byte` as it is (AWS, "Create a canonical request", `UriEncode`).
    fn is_plain(self, byte: u8) -> bool {
        let flags = PLAIN.get(usize::from(byte)).copied().unwrap_or_default();
        flags & if self == Self::Path { 2 } else { 1 } != 0
    }
}

/// Per byte: 1 where names and values of the query show it as it is, 2 where paths do.
static PLAIN: [u8; 256] = {
    let mut flags = [0; 256];
    let mut byte = 0_u8;
    let mut rest: &mut [u8] = &mut flags;
    while let [flag, tail @ ..] = rest {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            *flag = 3;
        } else if byte == b'/' {
            *flag = 2;
        }
        byte = byte.wrapping_add(1);
        rest = tail;
    }
    flags
};

/// Undoes percent escapes, once.
pub(super) fn decode(raw: &str, part: Part) -> Result<Cow<'_, [u8]>, InvalidEscape> {
    if !raw.bytes().any(|byte| byte == b'%' || (byte == b'+' && part == Part::Query)) {
        return Ok(Cow::Borrowed(raw.as_bytes()));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                bytes.push(hex_byte(*high, *low).ok_or(InvalidEscape)?);
                rest = tail;
            }
            (b'%', _) => return Err(InvalidEscape),
            (b'+', _) if part == Part::Query => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    Ok(Cow::Owned(bytes))
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Decodes to text.
pub(super) fn decode_text(raw: &str, part: Part) -> Result<Cow<'_, str>, InvalidEscape> {
    match decode(raw, part)? {
        Cow::Borrowed(_) => Ok(Cow::Borrowed(raw)),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| InvalidEscape),
    }
}

/// The one spelling that signatures use: escapes undone and made again, upper case, nothing escaped needlessly.
///
/// Clients that send what they sign get their own bytes back without a copy.
pub(super) fn canonical(raw: &str, part: Part) -> Result<Cow<'_, str>, InvalidEscape> {
    if is_canonical(raw.as_bytes(), part) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut text = String::with_capacity(raw.len().saturating_add(16));
    for byte in decode(raw, part)?.iter() {
        if part.is_plain(*byte) {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default().to_ascii_uppercase());
            }
        }
    }
    Ok(Cow::Owned(text))
}

fn is_canonical(mut rest: &[u8], part: Part) -> bool {
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, tail @ ..] => {
                let upper = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
                match hex_byte(*high, *low) {
                    Some(byte) if upper && !part.is_plain(byte) => tail,
                    _ => return false,
                }
            }
            [byte, tail @ ..] if part.is_plain(*byte) => tail,
            _ => return false,
        };
    }
}

/// Names and values as sent, empty pieces left out; a name without `=` has an empty value.
pub(super) fn raw_pairs(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    raw.split('&').filter(|piece| !piece.is_empty()).map(|piece| piece.split_once('=').unwrap_or((piece, "")))
}

/// The decoded names and values of a query, in the order sent.
#[derive(Clone, Debug)]
pub struct QueryPairs<'a>(Split<'a, char>);

/// Decodes a raw query: escapes are undone once, a plus is a space, a name without `=` has an empty value.
///
/// This is what signatures are checked against, so operations that read the query through it act on what was signed.
pub fn query_pairs(raw: &str) -> QueryPairs<'_> {
    QueryPairs(raw.split('&'))
}

impl<'a> Iterator for QueryPairs<'a> {
    type Item = Result<(Cow<'a, str>, Cow<'a, str>), InvalidEscape>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.0.find(|piece| !piece.is_empty())?;
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        Some(decode_text(name, Part::Query).and_then(|name| Ok((name, decode_text(value, Part::Query)?))))
    }
}

/// The parameters of a query that carry credentials.
#[derive(Debug, Default)]
pub(super) struct AuthFields<'a> {
    pub(super) algorithm: Option<Cow<'a, str>>,
    pub(super) credential: Option<Cow<'a, str>>,
    pub(super) date: Option<Cow<'a, str>>,
    pub(super) expires: Option<Cow<'a, str>>,
    pub(super) signed_headers: Option<Cow<'a, str>>,
    pub(super) signature: Option<Cow<'a, str>>,
    pub(super) security_token: Option<Cow<'a, str>>,
    pub(super) content_sha256: Option<Cow<'a, str>>,
    pub(super) v2_access_key: Option<Cow<'a, str>>,
    pub(super) v2_expires: Option<Cow<'a, str>>,
    pub(super) v2_signature: Option<Cow<'a, str>>,
    /// A name of the above that came twice.
    pub(super) repeated: Option<String>,
}

/// Of V4, names are recognised in any case, so that no spelling of a credential goes unnoticed.
pub(super) const SIGNATURE: &str = "x-amz-signature";

impl<'a> AuthFields<'a> {
    /// Picks the credentials out of a raw query.
    pub(super) fn read(raw: &'a str) -> Result<Self, AuthError> {
        let mut fields = Self::default();
        for (name, value) in raw_pairs(raw) {
            // Names that are no text are no credentials.
            let Ok(name) = decode_text(name, Part::Query) else { continue };
            let Some(slot) = fields.slot(&name) else { continue };
            let repeated = slot.replace(decode_text(value, Part::Query)?).is_some();
            if repeated && fields.repeated.is_none() {
                fields.repeated = Some(name.into_owned());
            }
        }
        Ok(fields)
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        match name {
            "AWSAccessKeyId" => return Some(&mut self.v2_access_key),
            "Expires" => return Some(&mut self.v2_expires),
            "Signature" => return Some(&mut self.v2_signature),
            _ if !is_amz(name) => return None,
            _ => {}
        }
        match name.to_ascii_lowercase().as_str() {
            "x-amz-algorithm" => Some(&mut self.algorithm),
            "x-amz-credential" => Some(&mut self.credential),
            "x-amz-date" => Some(&mut self.date),
            "x-amz-expires" => Some(&mut self.expires),
            "x-amz-signedheaders" => Some(&mut self.signed_headers),
            SIGNATURE => Some(&mut self.signature),
            "x-amz-security-token" => Some(&mut self.security_token),
            "x-amz-content-sha256" => Some(&mut self.content_sha256),
            _ => None,
        }
    }

    /// Whether any V4 credential is there.
    pub(super) fn is_v4(&self) -> bool {
        self.algorithm.is_some() || self.credential.is_some() || self.signature.is_some()
    }

    /// Whether any V2 credential is there.
    pub(super) fn is_v2(&self) -> bool {
        self.v2_access_key.is_some() || self.v2_signature.is_some()
    }
}

/// Whether a header or parameter name starts with `x-amz-`, in any case.
pub(super) fn is_amz(name: &str) -> bool {
    name.get(..6).is_some_and(|prefix| prefix.eq_ignore_ascii_case("x-amz-"))
}

/// Whether a GET or HEAD asks for other response headers, which only signed requests may.
pub(super) fn has_response_override(head: &RequestHead<'_>) -> bool {
    matches!(*head.method, http::Method::GET | http::Method::HEAD)
        && query_pairs(head.query).flatten().any(|(name, _)| RESPONSE_OVERRIDES.contains(&&*name))
}

/// Parameters that replace headers of the answer (S3 reference, `GetObject`).
pub(super) const RESPONSE_OVERRIDES: [&str; 6] = [
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];
