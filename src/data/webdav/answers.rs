//! What a server's answers mean.

use http::{HeaderMap, Response, header};
use percent_encoding::percent_decode_str;

use super::super::tree::TreeError;
use crate::{
    types::{ByteStream, body},
    xml,
};

/// Longest error document read.
const LONGEST_ERROR: usize = 64 << 10;

/// What an answer that says no means for the file it was about.
pub(super) async fn failure(method: &'static str, answer: Response<ByteStream>) -> TreeError {
    let (head, stream) = answer.into_parts();
    // Read, so that the connection can serve again. What it says may hold anything, so nobody is told.
    drop(body::collect(stream, LONGEST_ERROR).await);
    let status = head.status;
    let told = || format!("{method}: {} {}", status.as_str(), status.canonical_reason().unwrap_or("without a reason"));
    match status.as_u16() {
        // 409: a folder on the way is not there.
        404 | 409 | 410 => TreeError::Missing,
        405 if method == "MKCOL" => TreeError::Exists,
        412 => TreeError::Exists,
        416 => TreeError::Beyond,
        507 => TreeError::NoSpace,
        300..=399 => TreeError::Refused(format!("{}: write the address that it sends to", told())),
        401 | 403 => TreeError::Refused(format!("{}: look at user and password, and at what the user may do", told())),
        413 => TreeError::Refused(format!("{}: the server takes no files so large", told())),
        207 | 408 | 423 | 425 | 429 | 500..=599 => TreeError::Away(told()),
        _ => TreeError::Refused(told()),
    }
}

/// What a partial answer says of itself: `Content-Range: bytes start-end/total`.
pub(super) struct Range206 {
    pub(super) start: u64,
    pub(super) total: u64,
}

impl Range206 {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
        let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (start, _) = range.split_once('-')?;
        Some(Self { start: start.trim().parse().ok()?, total: total.trim().parse().ok()? })
    }
}

/// The last names of all paths in a multi-status document, that of the folder itself among them.
pub(super) fn names_in(document: &[u8]) -> Option<Vec<String>> {
    let root = xml::read::read(document).ok()?;
    let mut names = Vec::new();
    for response in root.children_named("response") {
        for path in response.children_named("href") {
            let path = path.text().trim().trim_end_matches('/');
            let name = path.rsplit('/').next().unwrap_or_default();
            names.push(percent_decode_str(name).decode_utf8().ok()?.into_owned());
        }
    }
    (root.name() == "multistatus").then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_last_parts_of_paths_whatever_the_prefix() {
        let document = br#"<?xml version="1.0"?><D:multistatus xmlns:D="DAV:" xmlns:x="y">
            <D:response><D:href>/dav/a/</D:href><D:propstat><D:prop/></D:propstat></D:response>
            <D:response><D:href>http://h:1/dav/a/b%20c</D:href></D:response>
            <D:response><D:href>/dav/a/d/</D:href></D:response></D:multistatus>"#;
        assert_eq!(names_in(document).unwrap(), ["a", "b c", "d"]);
        for wrong in [&b"<html></html>"[..], b"", b"<multistatus>"] {
            assert!(names_in(wrong).is_none());
        }
    }

    #[test]
    fn a_partial_answer_tells_where_it_begins_and_the_whole_length() {
        let of = |text: &str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, text.parse().unwrap())]);
            Range206::of(&headers).map(|range| (range.start, range.total))
        };
        assert_eq!(of("bytes 5-9/100"), Some((5, 100)));
        for wrong in ["bytes */100", "bytes 5-9/*", "items 5-9/100", "bytes 5/100"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
