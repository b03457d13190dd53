//! The line of a request (S3 reference, "Amazon S3 server access log format"): 26 fields, `-` for what is not known.

use std::{borrow::Cow, fmt, net::IpAddr, time::Duration};

use crate::types::Timestamp;

/// Longest text of a client's in a field, in bytes.
const MOST: usize = 2048;

/// A finished request to a bucket that keeps a log. `Display` writes its line, with the line feed.
#[derive(Clone, Debug)]
pub struct AccessLine<'a> {
    /// Canonical id of the bucket's owner.
    pub owner: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// When the request came.
    pub time: Timestamp,
    /// Where it came from.
    pub peer: IpAddr,
    /// Canonical id of the caller, or the resource name of a user; empty for anonymous callers.
    pub requester: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// Such as `REST.GET.OBJECT`.
    pub operation: &'a str,
    /// The key, URL-encoded; empty for none.
    pub key: &'a str,
    /// Method, target and protocol, without secrets.
    pub request: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// The error code; empty for none.
    pub error: &'a str,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// Bytes of the object, where there is one.
    pub object_size: Option<u64>,
    /// From the request's head to the end of the answer.
    pub total: Duration,
    /// From the request's head to the answer's.
    pub turnaround: Duration,
    /// `Referer`.
    pub referer: Option<&'a str>,
    /// `User-Agent`.
    pub agent: Option<&'a str>,
    /// The version of the request or of the answer; empty for none.
    pub version: &'a str,
    /// `SigV4` or `SigV2`; empty for none.
    pub signature: &'a str,
    /// `AuthHeader` or `QueryString`; empty for none.
    pub authentication: &'a str,
    /// `Host`.
    pub host: Option<&'a str>,
}

/// A field that may be missing and holds no space of its own.
fn plain(text: &str) -> Cow<'_, str> {
    if text.is_empty() {
        return Cow::Borrowed("-");
    }
    let text = text.split_at_checked(text.floor_char_boundary(MOST)).map_or(text, |(head, _)| head);
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Cow::Owned(text.replace(|char: char| char <= ' ' || char == '\u{7f}', "%20"));
    }
    Cow::Borrowed(text)
}

/// A field in quotes: whoever reads the log finds its end at the next one.
fn quoted(text: Option<&str>) -> String {
    let text = text.filter(|text| !text.is_empty()).unwrap_or("-");
    let text = text.split_at_checked(text.floor_char_boundary(MOST)).map_or(text, |(head, _)| head);
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("%22"),
            char if char.is_control() => out.push(' '),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// A number that stands there only if it tells something.
fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn clock(time: Timestamp) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

impl fmt::Display for AccessLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} [{}] {}", plain(self.owner), plain(self.bucket), clock(self.time), self.peer)?;
        write!(f, " {} {} {}", plain(self.requester), plain(self.request_id), plain(self.operation))?;
        write!(f, " {} {} {}", plain(self.key), quoted(Some(self.request)), self.status)?;
        write!(f, " {} {}", plain(self.error), number(Some(self.sent).filter(|sent| *sent > 0)))?;
        write!(f, " {} {}", number(self.object_size), self.total.as_millis())?;
        write!(f, " {} {} {}", self.turnaround.as_millis(), quoted(self.referer), quoted(self.agent))?;
        write!(f, " {} {}", plain(self.version), plain(self.request_id))?;
        // The cipher suite, and behind the host the version of TLS, the access point and whether a list decided, are
        // not known here.
        write!(f, " {} - {}", plain(self.signature), plain(self.authentication))?;
        writeln!(f, " {} - - -", plain(self.host.unwrap_or_default()))
    }
}
