//! Tags of objects and buckets (S3 reference, "Tagging").

use super::{
    codes::S3Code,
    error::{S3Error, S3Result},
    xml::{read::Element, write::XmlWriter},
};
use crate::{storage::records::Pair, types::Dialect};

/// Most tags of a bucket.
pub const MAX_BUCKET_TAGS: usize = 50;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// How many tags there may be, and how more are refused.
#[derive(Clone, Copy, Debug)]
pub struct TagLimit {
    most: usize,
    excess: S3Code,
}

impl TagLimit {
    /// Those of a filter in a configuration.
    pub const FILTER: Self = Self::new(MAX_BUCKET_TAGS, Dialect::Aws);

    /// `most` tags.
    pub const fn new(most: usize, dialect: Dialect) -> Self {
        // Too many tags are no request at all to AWS, and an invalid set of tags to Ceph.
        Self { most, excess: dialect.pick(S3Code::BadRequest, S3Code::InvalidTag) }
    }

    /// Those of a bucket.
    pub const fn bucket(dialect: Dialect) -> Self {
        Self::new(MAX_BUCKET_TAGS, dialect)
    }

    fn check(self, count: usize, whose: &str) -> S3Result<()> {
        let Self { most, excess } = self;
        if count > most {
            return Err(S3Error::new(excess, format!("{whose} tags cannot be greater than {most}")));
        }
        Ok(())
    }
}

/// Reads an `x-amz-tagging` header: a query string. What is beyond the limit is not looked at.
///
/// # Errors
/// `InvalidArgument` for broken escapes and repeated keys, `InvalidTag`, `BadRequest` for too many.
pub fn parse_header(text: &str, limit: TagLimit) -> S3Result<Vec<Pair>> {
    let invalid = || {
        S3Error::argument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
            "x-amz-tagging",
            text,
        )
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for item in text.split('&').filter(|item| !item.is_empty()) {
        limit.check(pairs.len() + 1, "Object")?;
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        let decode = |text: &str| super::head::decode(&text.replace('+', " ")).map_err(|_| invalid());
        let pair = Pair { name: decode(name)?, value: decode(value)? };
        if pairs.iter().any(|known| known.name == pair.name) {
            return Err(invalid());
        }
        pairs.push(pair);
    }
    check(&pairs, limit, "Object")?;
    // A query string has no order of its own.
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pairs)
}

/// Reads a `Tagging` document.
///
/// # Errors
/// `MalformedXML`, `InvalidTag`, `BadRequest` for too many.
pub fn parse_document(root: &Element<'_>, limit: TagLimit, whose: &str) -> S3Result<Vec<Pair>> {
    if root.name() != "Tagging" {
        return Err(S3Code::MalformedXML.into());
    }
    parse_list(root.required("TagSet")?, limit, whose)
}

/// Reads a list of `Tag` elements.
///
/// # Errors
/// As [`parse_document`].
pub fn parse_list(set: &Element<'_>, limit: TagLimit, whose: &str) -> S3Result<Vec<Pair>> {
    let mut pairs: Vec<Pair> = Vec::new();
    for tag in set.children_named("Tag") {
        limit.check(pairs.len() + 1, whose)?;
        let pair = Pair { name: tag.required_text("Key")?.to_owned(), value: tag.required_text("Value")?.to_owned() };
        if pairs.iter().any(|known| known.name == pair.name) {
            return Err(S3Error::new(S3Code::InvalidTag, "Cannot provide multiple Tags with the same key")
                .with("TagKey", pair.name));
        }
        pairs.push(pair);
    }
    check(&pairs, limit, whose)?;
    Ok(pairs)
}

/// Checks tags against the rules of S3.
///
/// # Errors
/// `InvalidTag`; `BadRequest` for too many, or what the dialect has for that.
pub fn check(pairs: &[Pair], limit: TagLimit, whose: &str) -> S3Result<()> {
    limit.check(pairs.len(), whose)?;
    for Pair { name, value } in pairs {
        let key_fits = (1..=MAX_KEY).contains(&name.encode_utf16().count()) && name.chars().all(is_allowed);
        if !key_fits {
            return Err(
                S3Error::new(S3Code::InvalidTag, "The TagKey you have provided is invalid").with("TagKey", name)
            );
        }
        if value.encode_utf16().count() > MAX_VALUE || !value.chars().all(is_allowed) {
            return Err(S3Error::new(S3Code::InvalidTag, "The TagValue you have provided is invalid")
                .with("TagKey", name)
                .with("TagValue", value));
        }
        if name.starts_with("aws:") {
            return Err(S3Error::new(S3Code::InvalidTag, "System tags cannot be added/updated by requester")
                .with("TagKey", name));
        }
    }
    Ok(())
}

fn is_allowed(char: char) -> bool {
    char.is_alphanumeric() || char.is_whitespace() && !char.is_control() || "+-=._:/@".contains(char)
}

/// The `Tagging` document.
pub fn document(tags: &[Pair]) -> bytes::Bytes {
    let mut xml = XmlWriter::document("Tagging", 512);
    xml.open("TagSet");
    for tag in tags {
        xml.open("Tag").text("Key", &tag.name).text("Value", &tag.value).close();
    }
    xml.close();
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(most: usize) -> TagLimit {
        TagLimit::new(most, Dialect::Aws)
    }

    #[test]
    fn the_header_is_a_query_string_without_repetitions() {
        let tags = parse_header("a=1&b&c=x%20y%2B", limit(10)).unwrap();
        let shown: Vec<_> = tags.iter().map(|tag| (tag.name.as_str(), tag.value.as_str())).collect();
        assert_eq!(shown, [("a", "1"), ("b", ""), ("c", "x y+")]);
        assert_eq!(parse_header("a=1&a=2", limit(10)).unwrap_err().code, S3Code::InvalidArgument);
        assert_eq!(parse_header("a=%zz", limit(10)).unwrap_err().code, S3Code::InvalidArgument);
        assert_eq!(parse_header("a=%3C", limit(10)).unwrap_err().code, S3Code::InvalidTag);
        assert_eq!(parse_header("aws:a=1", limit(10)).unwrap_err().code, S3Code::InvalidTag);
        assert_eq!(parse_header(&format!("{}=1", "k".repeat(129)), limit(10)).unwrap_err().code, S3Code::InvalidTag);
        assert_eq!(parse_header("a&b&c", limit(2)).unwrap_err().code, S3Code::BadRequest);
        // Behind the limit nothing is read: not even what is broken.
        let long = format!("a&b&{}%zz", "c&".repeat(20_000));
        assert_eq!(parse_header(&long, limit(2)).unwrap_err().code, S3Code::BadRequest);
    }
}
