//! Entity tags.

use std::{fmt, sync::Arc};

use super::digest::{Digest, md5};

/// An entity tag without its quotes: 32 hexadecimal digits, with `-N` behind for `N` parts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// Takes a tag as stored, without quotes.
    pub fn new(tag: &str) -> Self {
        Self(tag.into())
    }

    /// The tag of an object written in one piece: the MD5 of its bytes.
    pub fn from_md5(md5: [u8; 16]) -> Self {
        Self(hex::encode(md5).into())
    }

    /// The tag of a multipart object: the MD5 of the parts' binary MD5s, and their number.
    pub fn from_parts<'a>(parts: impl ExactSizeIterator<Item = &'a [u8; 16]>) -> Self {
        let count = parts.len();
        let mut all = md5();
        for part in parts {
            all.update(part);
        }
        Self(format!("{}-{count}", hex::encode(all.finalize())).into())
    }

    /// Reads a client's spelling: quoted, bare, weak, or with `&quot;` left in by careless XML writers.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let text = text.strip_prefix("&quot;").unwrap_or(text);
        let text = text.strip_suffix("&quot;").unwrap_or(text);
        Self(text.trim_matches('"').into())
    }

    /// The tag without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag in quotes, as headers and XML show it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_tag_is_one_tag() {
        for text in ["abc", "\"abc\"", " \"abc\" ", "W/\"abc\"", "&quot;abc&quot;"] {
            assert_eq!(ETag::parse(text), ETag::new("abc"), "{text}");
        }
    }

    #[test]
    fn a_multipart_tag_hashes_the_binary_digests() {
        let part = [0x5d, 0x41, 0x40, 0x2a, 0xbc, 0x4b, 0x2a, 0x76, 0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5, 0x92];
        let tag = ETag::from_parts([part].iter());
        assert!(tag.as_str().ends_with("-1") && tag.as_str().len() == 34, "{tag:?}");
    }
}
