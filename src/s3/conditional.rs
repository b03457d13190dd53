//! Conditional requests (RFC 9110 §13, S3 reference "Conditional requests").

use super::{
    codes::S3Code,
    error::{S3Error, S3Result},
    head::Head,
};
use crate::{
    storage::{Found, WriteCondition, records::ObjectRecord},
    types::{ETag, Timestamp},
};

/// What a read asks of the version it finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadCondition {
    matches: Option<Tags>,
    none_match: Option<Tags>,
    modified_since: Option<Timestamp>,
    unmodified_since: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    Of(Vec<ETag>),
}

/// The verdict of a read's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Go,
    /// 304.
    NotModified,
    /// 412, naming the header.
    Failed(&'static str),
}

impl Tags {
    fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        Self::Of(text.split(',').map(ETag::parse).collect())
    }

    fn contain(&self, tag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Of(tags) => tags.contains(tag),
        }
    }
}

impl ReadCondition {
    /// The conditions of a GET or HEAD. A date that is none is ignored.
    pub fn read(head: &Head) -> Self {
        Self::from_headers(head, ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
    }

    /// The conditions that a copy puts on its source.
    pub fn of_copy_source(head: &Head) -> Self {
        Self::from_headers(
            head,
            [
                "x-amz-copy-source-if-match",
                "x-amz-copy-source-if-none-match",
                "x-amz-copy-source-if-modified-since",
                "x-amz-copy-source-if-unmodified-since",
            ],
        )
    }

    /// The conditions that a rename puts on its source.
    pub fn of_rename_source(head: &Head) -> Self {
        Self::from_headers(
            head,
            [
                "x-amz-rename-source-if-match",
                "x-amz-rename-source-if-none-match",
                "x-amz-rename-source-if-modified-since",
                "x-amz-rename-source-if-unmodified-since",
            ],
        )
    }

    /// The dates that a rename asks of what is at its destination; tags are [`write_condition`]'s.
    pub fn of_rename_destination(head: &Head) -> Self {
        Self { matches: None, none_match: None, ..Self::read(head) }
    }

    fn from_headers(head: &Head, [matching, none_match, modified, unmodified]: [&str; 4]) -> Self {
        let date = |name| head.header(name).and_then(parse_date);
        Self {
            matches: head.header(matching).map(Tags::parse),
            none_match: head.header(none_match).map(Tags::parse),
            // A date in the future is no valid one (RFC 9110 §13.1.3).
            modified_since: date(modified),
            unmodified_since: date(unmodified),
        }
    }

    /// Judges a version, in the order of RFC 9110 §13.2.2; dates count in whole seconds.
    pub fn judge(&self, record: &ObjectRecord, now: Timestamp) -> Verdict {
        let (tag, modified) = (record.etag(), record.modified().as_secs());
        if let Some(tags) = &self.matches {
            if !tags.contain(&tag) {
                return Verdict::Failed("If-Match");
            }
        } else if self.unmodified_since.is_some_and(|since| modified > since.as_secs()) {
            return Verdict::Failed("If-Unmodified-Since");
        }
        if let Some(tags) = &self.none_match {
            if tags.contain(&tag) {
                return Verdict::NotModified;
            }
        } else if self
            .modified_since
            .is_some_and(|since| since.as_secs() <= now.as_secs() && modified <= since.as_secs())
        {
            return Verdict::NotModified;
        }
        Verdict::Go
    }
}

fn parse_date(text: &str) -> Option<Timestamp> {
    Timestamp::parse_http_date(text).or_else(|| Timestamp::parse_iso8601(text))
}

/// Whether an `If-Range` header lets a range through: the validator must be the version's own.
pub fn if_range_holds(head: &Head, record: &ObjectRecord) -> bool {
    match head.header("if-range") {
        None => true,
        Some(text) => match Timestamp::parse_http_date(text) {
            Some(date) => date.as_secs() == record.modified().as_secs(),
            None => ETag::parse(text) == record.etag(),
        },
    }
}

/// By this header a migration's write does not bring back what was written or deleted since it began.
pub const UNLESS_DELETED: &str = "x-cloudserver-unless-deleted";
/// By this header a migration's write goes on behind the version or marker that it names, and nowhere else.
pub const IF_NEWEST: &str = "x-cloudserver-if-newest";
/// By this header a delete is not remembered: a migration takes back what it wrote itself.
pub const FORGET: &str = "x-cloudserver-forget-delete";

/// How a migration found the key that it writes.
///
/// # Errors
/// `InvalidArgument` for a version id that is none.
pub fn found(head: &Head) -> S3Result<Option<Found>> {
    if let Some(text) = head.header(IF_NEWEST) {
        return super::head::version(text).map(|version| Some(Found::Newest(version)));
    }
    Ok(head.header(UNLESS_DELETED).map(|_| Found::Never))
}

/// The condition of a write. Of `If-None-Match` S3 offers `*` only; Ceph takes tags, too, as RFC 9110 §13.1.2 has it.
/// All lines of a header count, in whatever bytes they are: a condition that cannot be read must not pass for none.
///
/// # Errors
/// `NotImplemented` for both headers together, and for an `If-None-Match` that the dialect does not have.
pub fn write_condition(head: &Head) -> S3Result<WriteCondition> {
    let refused = |header: &'static str| {
        Err(S3Error::from(S3Code::NotImplemented)
            .with("Header", header)
            .with("additionalMessage", "We don't accept the provided value of this header"))
    };
    // It says all that the others could, which go along for other servers. No policy takes those for kept then.
    if let Some(found) = found(head)? {
        return Ok(WriteCondition::IfFound(found));
    }
    match (head.raw_header("if-match"), head.raw_header("if-none-match")) {
        (None, None) => Ok(WriteCondition::Always),
        (Some(_), Some(_)) => refused("If-Match, If-None-Match"),
        (None, Some(text)) => match Tags::parse(&text) {
            Tags::Any => Ok(WriteCondition::IfAbsent),
            Tags::Of(tags) if head.dialect.is_ceph() && !text.is_empty() => Ok(WriteCondition::IfNoneMatch(tags)),
            Tags::Of(_) => refused("If-None-Match"),
        },
        (Some(text), None) => Ok(match Tags::parse(&text) {
            Tags::Any => WriteCondition::IfPresent,
            Tags::Of(tags) => WriteCondition::IfMatch(tags),
        }),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::types::Dialect;

    fn head(headers: &[(&'static str, &str)]) -> Head {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Head::new(Method::GET, map, "").unwrap()
    }

    fn judge(headers: &[(&'static str, &str)]) -> Verdict {
        let record = ObjectRecord { etag: "tag".into(), modified_ms: 784_111_777_500, ..ObjectRecord::default() };
        ReadCondition::read(&head(headers)).judge(&record, Timestamp::from_secs(2_000_000_000))
    }

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const FUTURE: &str = "Sun, 06 Nov 2094 08:49:36 GMT";

    #[test]
    fn conditions_follow_their_precedence() {
        assert_eq!(judge(&[]), Verdict::Go);
        assert_eq!(judge(&[("if-match", "\"tag\"")]), Verdict::Go);
        assert_eq!(judge(&[("if-match", "\"x\", \"tag\"")]), Verdict::Go);
        assert_eq!(judge(&[("if-match", "*")]), Verdict::Go);
        assert_eq!(judge(&[("if-match", "\"x\"")]), Verdict::Failed("If-Match"));
        assert_eq!(judge(&[("if-match", "\"tag\""), ("if-unmodified-since", BEFORE)]), Verdict::Go);
        assert_eq!(judge(&[("if-unmodified-since", BEFORE)]), Verdict::Failed("If-Unmodified-Since"));
        assert_eq!(judge(&[("if-unmodified-since", THEN)]), Verdict::Go);
        assert_eq!(judge(&[("if-none-match", "W/\"tag\"")]), Verdict::NotModified);
        assert_eq!(judge(&[("if-none-match", "\"x\""), ("if-modified-since", THEN)]), Verdict::Go);
        assert_eq!(judge(&[("if-modified-since", THEN)]), Verdict::NotModified);
        assert_eq!(judge(&[("if-modified-since", BEFORE)]), Verdict::Go);
        assert_eq!(judge(&[("if-modified-since", FUTURE)]), Verdict::Go);
        assert_eq!(judge(&[("if-modified-since", "yesterday")]), Verdict::Go);
        assert_eq!(judge(&[("if-match", "\"x\""), ("if-none-match", "\"tag\"")]), Verdict::Failed("If-Match"));
    }

    #[test]
    fn writes_take_the_conditions_that_s3_offers() {
        assert_eq!(write_condition(&head(&[])).unwrap(), WriteCondition::Always);
        assert_eq!(write_condition(&head(&[("if-none-match", "*")])).unwrap(), WriteCondition::IfAbsent);
        assert_eq!(write_condition(&head(&[("if-match", "*")])).unwrap(), WriteCondition::IfPresent);
        for text in ["\"x\", W/\"y\"", "x", "", " ", "*, \"x\"", "\"*\""] {
            let error = write_condition(&head(&[("if-none-match", text)])).unwrap_err();
            assert_eq!(error.code, S3Code::NotImplemented, "{text:?}");
        }
        let ceph = |text| {
            let mut head = head(&[("if-none-match", text)]);
            head.dialect = Dialect::Ceph;
            head
        };
        let tags = WriteCondition::IfNoneMatch(vec![ETag::new("x"), ETag::new("y")]);
        assert_eq!(write_condition(&ceph("\"x\", W/\"y\"")).unwrap(), tags);
        assert_eq!(write_condition(&ceph(" ")).unwrap_err().code, S3Code::NotImplemented);
        // What is no text, and what stands in a second line, is no way around a condition.
        let mut odd = head(&[]);
        odd.headers.append("if-none-match", HeaderValue::from_bytes(b"*\xff").unwrap());
        assert_eq!(write_condition(&odd).unwrap_err().code, S3Code::NotImplemented);
        let mut two = head(&[("if-none-match", "*")]);
        two.headers.append("if-none-match", HeaderValue::from_static("\"x\""));
        assert_eq!(write_condition(&two).unwrap_err().code, S3Code::NotImplemented);
        let both = head(&[("if-match", "*"), ("if-none-match", "\"x\"")]);
        assert_eq!(write_condition(&both).unwrap_err().code, S3Code::NotImplemented);
    }
}
