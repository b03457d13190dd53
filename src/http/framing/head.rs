//! Reads a request's head just far enough to know that it has one meaning only, and where its body ends.
//!
//! Stricter than RFC 9112 demands of a server and than hyper is: whatever two parties could read differently (bare
//! line feeds, folded lines, blanks before a colon, doubled lengths, both lengths, codings before `chunked`) is
//! refused, since behind a proxy such a difference is a smuggled request.

use http::Uri;

use crate::s3::Refusal;

/// Longest method: the longest registered one has 17 letters.
const MOST_METHOD: usize = 32;
/// ` HTTP/1.1` and a line end.
const VERSION_ROOM: usize = 16;
/// Empty lines tolerated before a request line (RFC 9112, 2.2).
const MOST_EMPTY_LINES: u8 = 4;

/// Limits on a head.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct HeadLimits {
    /// Bytes of the request target.
    pub(in crate::http) target: usize,
    /// Bytes of all header fields with their line ends.
    pub(in crate::http) header_bytes: usize,
    /// Number of header fields.
    pub(in crate::http) headers: usize,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Body {
    /// So many bytes; 0 where there is none.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// What a look at the bytes so far gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Progress {
    /// The head goes on.
    Incomplete,
    /// The head ends after so many bytes.
    Complete(usize, Body),
    /// The head cannot be served.
    Refused(Refusal),
}

/// A head under inspection. It is shown the same growing slice again and again and remembers how far it got.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct HeadScan {
    /// Where the line starts that is not complete yet.
    line_start: usize,
    /// Where the search for its end goes on.
    searched: usize,
    empty_lines: u8,
    request_line: Option<RequestLine>,
    header_bytes: usize,
    headers: usize,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RequestLine {
    is_1_1: bool,
    is_head: bool,
}

impl HeadScan {
    /// Whether not a byte of a head has come, but perhaps empty lines.
    pub(in crate::http) fn is_untouched(&self) -> bool {
        self.request_line.is_none() && self.searched == self.line_start
    }

    /// Whether the method is known to be `HEAD`, whose answers have no body.
    pub(in crate::http) fn is_head_request(&self) -> bool {
        self.request_line.is_some_and(|line| line.is_head)
    }

    /// Looks at `bytes`, which start where the head starts and hold at least what they held the last time.
    pub(in crate::http) fn advance(&mut self, bytes: &[u8], limits: HeadLimits) -> Progress {
        loop {
            let fresh = bytes.get(self.searched..).unwrap_or_default();
            let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
                self.searched = bytes.len();
                return match self.too_long(bytes.len() - self.line_start, limits) {
                    Some(refusal) => Progress::Refused(refusal),
                    None => Progress::Incomplete,
                };
            };
            let end = self.searched + end;
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            let length = line.len() + 1;
            // First of all the length: it is judged before the line's end has come, too.
            let taken = match (self.too_long(length, limits), line.strip_suffix(b"\r")) {
                (Some(refusal), _) => Err(refusal),
                (None, Some(line)) => self.line(line, length, limits),
                (None, None) => Err(Refusal::AmbiguousFraming),
            };
            self.line_start = end + 1;
            self.searched = self.line_start;
            match taken {
                Ok(false) => {}
                Ok(true) => return self.finish(),
                Err(refusal) => return Progress::Refused(refusal),
            }
        }
    }

    /// Whether a line of `length` bytes is beyond the limits already.
    fn too_long(&self, length: usize, limits: HeadLimits) -> Option<Refusal> {
        if self.request_line.is_none() {
            (length > MOST_METHOD + limits.target + VERSION_ROOM).then_some(Refusal::TargetTooLong)
        } else {
            (self.header_bytes + length > limits.header_bytes).then_some(Refusal::HeadersTooLarge)
        }
    }

    /// Takes a line without its end; `true` if it was the last of the head.
    fn line(&mut self, line: &[u8], length: usize, limits: HeadLimits) -> Result<bool, Refusal> {
        if self.request_line.is_none() {
            if line.is_empty() {
                self.empty_lines += 1;
                return if self.empty_lines > MOST_EMPTY_LINES { Err(Refusal::AmbiguousFraming) } else { Ok(false) };
            }
            self.request_line = Some(request_line(line, limits)?);
            return Ok(false);
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.header_bytes += length;
        self.headers += 1;
        if self.headers > limits.headers {
            return Err(Refusal::HeadersTooLarge);
        }
        self.header(line)?;
        Ok(false)
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let refused = Refusal::AmbiguousFraming;
        let colon = line.iter().position(|byte| *byte == b':').ok_or(refused)?;
        let (name, value) = line.split_at_checked(colon).ok_or(refused)?;
        // A folded line starts with a blank, which no name holds, and neither does `name :`.
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(refused);
        }
        let value = value.strip_prefix(b":").unwrap_or(value);
        if !value.iter().all(|byte| is_value(*byte)) {
            return Err(refused);
        }
        // Only blanks and tabs are left to trim.
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = content_length(value).ok_or(refused)?;
            // Even a repeated equal length: the next party may take the other one.
            if self.chunked || self.length.replace(length).is_some() {
                return Err(refused);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_1_1 = self.request_line.is_some_and(|line| line.is_1_1);
            if !is_1_1 || self.chunked || self.length.is_some() || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(refused);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        }
        Ok(())
    }

    fn finish(&self) -> Progress {
        let is_1_1 = self.request_line.is_some_and(|line| line.is_1_1);
        // RFC 9112, 3.2: no Host, or more than one, is answered 400.
        if self.hosts > 1 || (is_1_1 && self.hosts == 0) {
            return Progress::Refused(Refusal::AmbiguousFraming);
        }
        let body = if self.chunked { Body::Chunked } else { Body::Length(self.length.unwrap_or(0)) };
        Progress::Complete(self.line_start, body)
    }
}

/// Takes `GET /target HTTP/1.1`, with single spaces.
fn request_line(line: &[u8], limits: HeadLimits) -> Result<RequestLine, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, parts.next()) else {
        return Err(Refusal::AmbiguousFraming);
    };
    let is_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Refusal::AmbiguousFraming),
    };
    if method.is_empty() || method.len() > MOST_METHOD || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Refusal::AmbiguousFraming);
    }
    if target.len() > limits.target {
        return Err(Refusal::TargetTooLong);
    }
    if !is_target(target) {
        return Err(Refusal::InvalidTarget);
    }
    Ok(RequestLine { is_1_1, is_head: method == b"HEAD" })
}

/// Origin form, absolute form of HTTP, or `*`. Authority form is for `CONNECT`, which is no request for us.
fn is_target(target: &[u8]) -> bool {
    let is_absolute = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    let has_form = target.starts_with(b"/") || target == b"*" || is_absolute(b"http://") || is_absolute(b"https://");
    // A fragment would be cut off silently, and `a#b` stored as `a`.
    let has_letters = || target.iter().all(|byte| *byte > b' ' && !matches!(*byte, b'#' | 0x7f));
    // The parser is the one that the request meets next.
    has_form && has_letters() && Uri::try_from(target).is_ok()
}

/// Digits only: no sign, no blanks, no hexadecimal, no list; and no more than a `u64` holds, less hyper's two marks.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = std::str::from_utf8(value).ok()?.parse::<u64>().ok()?;
    (length < u64::MAX - 1).then_some(length)
}

/// A `token` character of RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A character of a field value: visible, blank, tab, or beyond ASCII.
fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { target: 64, header_bytes: 256, headers: 4 };

    fn scan(text: &str) -> Progress {
        HeadScan::default().advance(text.as_bytes(), LIMITS)
    }

    fn refused(text: &str) -> Refusal {
        match scan(text) {
            Progress::Refused(refusal) => refusal,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn plain_heads_pass_and_tell_where_the_body_ends() {
        for (head, body) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Body::Length(0)),
            ("\r\nGET /a?b=c HTTP/1.1\r\nHost:a\r\n\r\n", Body::Length(0)),
            ("PUT /a HTTP/1.1\r\nhost: a\r\ncontent-length:  17\t\r\n\r\n", Body::Length(17)),
            ("PUT /a HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", Body::Chunked),
            ("GET http://a/b HTTP/1.0\r\n\r\n", Body::Length(0)),
            ("OPTIONS * HTTP/1.1\r\nhost: a\r\nx: \u{e4}\r\n\r\n", Body::Length(0)),
        ] {
            let whole = format!("{head}rest\n");
            assert_eq!(scan(&whole), Progress::Complete(head.len(), body), "{head:?}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET / HTTP/1.1 \r\n",
            "GET /\r\n",
            "GET / HTTP/2.0\r\n",
            "G{T / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n",
            "GET / HTTP/1.1\r\n: a\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n",
            "GET / HTTP/1.1\r\nx: a\rb\r\n",
            "GET / HTTP/1.1\r\nx: a\0b\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 1, 1\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: +1\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: -1\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 0x1\r\n",
            "PUT / HTTP/1.1\r\nContent-Length:\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: identity\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n",
            "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
            "\r\n\r\n\r\n\r\n\r\n",
        ] {
            assert_eq!(refused(text), Refusal::AmbiguousFraming, "{text:?}");
        }
    }

    #[test]
    fn each_limit_has_its_refusal_before_the_head_ends() {
        assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(64))), Refusal::TargetTooLong);
        assert_eq!(refused(&format!("GET /{}", "a".repeat(200))), Refusal::TargetTooLong);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(256))), Refusal::HeadersTooLarge);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(5))), Refusal::HeadersTooLarge);
        for target in ["/a#b", "/a\u{7f}", "no-slash?/", "a", "a:1", "**", "ftp://a/", "http://a#", "/a\u{1}"] {
            assert_eq!(refused(&format!("GET {target} HTTP/1.1\r\n")), Refusal::InvalidTarget, "{target}");
        }
    }

    /// A line too long is that first of all, for its end may not have come when it is refused.
    #[test]
    fn a_long_line_is_refused_alike_whatever_its_end() {
        for end in ["\r\n", "\n", ""] {
            let target = format!("GET /{}{end}", "a".repeat(200));
            assert_eq!(refused(&target), Refusal::TargetTooLong, "{end:?}");
            let header = format!("GET / HTTP/1.1\r\nx: {}{end}", "a".repeat(256));
            assert_eq!(refused(&header), Refusal::HeadersTooLarge, "{end:?}");
        }
    }

    proptest! {
        #[test]
        fn arriving_in_pieces_changes_nothing(
            text in "(GET|PUT|X) (/|/a|/#) HTTP/1.[019](\r\n|\n)((host|content-length|transfer-encoding|a b|x)( |):( |)(1|chunked|b)\r\n){0,5}(\r\n|\n|)(tail\n)?",
            cuts in proptest::collection::vec(1usize..12, 0..40),
        ) {
            let whole = scan(&text);
            let mut pieces = HeadScan::default();
            let mut end = 0;
            let mut last = Progress::Incomplete;
            for cut in cuts.into_iter().chain([usize::MAX >> 1]) {
                end = (end + cut).min(text.len());
                last = pieces.advance(&text.as_bytes()[..end], LIMITS);
                if last != Progress::Incomplete {
                    break;
                }
            }
            prop_assert_eq!(last, whole);
        }
    }
}
