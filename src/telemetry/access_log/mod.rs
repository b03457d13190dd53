//! One line per request: who asked what, what came of it, what it cost.
//!
//! The line is JSON, built in one reused buffer and handed to the log's writing thread. Presigned URLs are
//! credentials, so whatever the query string holds of them is masked before it is written.

use std::{
    cell::RefCell,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Uri};

use super::{AccessFacts, LineSink, RequestId, json, logs::Now};

mod redact;

pub use redact::redacted;

/// Longest query string shown, in bytes.
const MOST_QUERY: usize = 2048;
/// Longest user agent shown, in bytes.
const MOST_AGENT: usize = 256;

/// How the answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was handed to the connection.
    Complete,
    /// The client left, or the answer's body failed: the connection was cut.
    Aborted,
}

/// A finished request.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The request's id.
    pub id: &'a RequestId,
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub target: &'a Uri,
    /// The status sent; none where the client left before.
    pub status: Option<u16>,
    /// How the answer ended.
    pub outcome: Outcome,
    /// Body bytes received.
    pub received: u64,
    /// Body bytes sent.
    pub sent: u64,
    /// From the end of the request's head to the answer's.
    pub first_byte: Duration,
    /// From the end of the request's head to the end of the answer.
    pub total: Duration,
    /// The socket's peer.
    pub peer: SocketAddr,
    /// `User-Agent`.
    pub agent: Option<&'a HeaderValue>,
    /// What the S3 layer knows of it.
    pub facts: &'a AccessFacts,
}

/// Writes access lines, or nothing while it is switched off. Clones share the switch.
#[derive(Clone, Debug)]
pub struct AccessLog {
    sink: LineSink,
    now: Now,
    on: Arc<AtomicBool>,
}

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl AccessLog {
    /// An access log that writes to `sink`.
    pub fn new(sink: LineSink, now: Now, on: bool) -> Self {
        Self { sink, now, on: Arc::new(AtomicBool::new(on)) }
    }

    /// Switches the log on or off.
    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// Whether lines are written.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Writes the line of a request.
    pub fn write(&self, access: &Access<'_>) {
        if !self.is_on() {
            return;
        }
        LINE.with(|line| {
            // A line is never written while one is being written: nothing below logs.
            let Ok(mut line) = line.try_borrow_mut() else { return };
            line.clear();
            self.format(access, &mut line);
            self.sink.push(&line);
        });
    }

    fn format(&self, access: &Access<'_>, line: &mut String) {
        let facts = access.facts;
        let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        let mut object = json::Object::open(line);
        object.text("time", &self.now.get().to_iso8601());
        object.text("level", "info");
        object.text("name", "access");
        object.text("req_id", access.id.as_str());
        object.text("method", access.method.as_str());
        object.text("path", access.target.path());
        if let Some(query) = access.target.query() {
            object.text("query", cut(&redacted(query), MOST_QUERY));
        }
        match access.status {
            Some(status) => object.plain("status", status),
            None => object.text("status", "-"),
        }
        if access.outcome == Outcome::Aborted {
            object.plain("aborted", true);
        }
        object.maybe("error", facts.error);
        object.maybe("operation", some(facts.operation));
        object.maybe("bucket", facts.bucket.as_deref());
        object.maybe("key", facts.key.as_deref());
        object.maybe("requester", facts.requester.as_deref());
        object.plain("bytes_in", access.received);
        object.plain("bytes_out", access.sent);
        object.plain("first_byte_us", access.first_byte.as_micros());
        object.plain("total_us", access.total.as_micros());
        object.display("peer", format_args!("{}", access.peer));
        if let Some(agent) = access.agent {
            object.text("agent", cut(&String::from_utf8_lossy(agent.as_bytes()), MOST_AGENT));
        }
        object.close();
    }
}

/// The longest prefix of `text` of at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    text.split_at_checked(text.floor_char_boundary(most)).map_or(text, |(head, _)| head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{telemetry::lines::tests::Memory, types::Timestamp};

    fn log(out: &Memory) -> AccessLog {
        AccessLog::new(LineSink::new(out.clone()).unwrap(), Now::new(|| Timestamp::from_secs(784_111_777)), true)
    }

    #[test]
    fn a_line_tells_the_whole_story_without_secrets() {
        let out = Memory::default();
        let log = log(&out);
        let facts = AccessFacts {
            operation: "GetObject",
            action: "objectGet",
            bucket: Some("b".into()),
            key: Some("a\n\"k".into()),
            requester: Some("79a59df900b949e5".into()),
            error: None,
        };
        let id = RequestId("0123456789abcdef0123".into());
        let agent = HeaderValue::from_bytes(b"agent \xff\"").unwrap();
        let access = Access {
            id: &id,
            method: &Method::GET,
            target: &Uri::from_static("/b/a%0A%22k?X-Amz-Signature=feedface&partNumber=2"),
            status: Some(206),
            outcome: Outcome::Complete,
            received: 0,
            sent: 12,
            first_byte: Duration::from_micros(150),
            total: Duration::from_micros(2500),
            peer: "[::1]:4711".parse().unwrap(),
            agent: Some(&agent),
            facts: &facts,
        };
        log.write(&access);
        log.switch(false);
        log.write(&access);
        drop(log);
        let line: serde_json::Value = serde_json::from_str(out.text().trim_end()).unwrap();
        let expected = serde_json::json!({
            "time": "1994-11-06T08:49:37.000Z", "level": "info", "name": "access", "req_id": "0123456789abcdef0123",
            "method": "GET", "path": "/b/a%0A%22k", "query": "X-Amz-Signature=***&partNumber=2", "status": 206,
            "operation": "GetObject", "bucket": "b", "key": "a\n\"k", "requester": "79a59df900b949e5",
            "bytes_in": 0, "bytes_out": 12, "first_byte_us": 150, "total_us": 2500, "peer": "[::1]:4711",
            "agent": "agent \u{fffd}\"",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn cutting_respects_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 3), "aä");
        assert_eq!(cut("", 5), "");
    }
}
