//! The fuzz target of the gate: heads and chunked bodies as they come from the socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a target panics where a rule is broken"
)]

use std::sync::Arc;

use super::{
    Activity, Gate, Verdict,
    chunked::{Chunked, Followed, State},
    head::{Body, HeadLimits, HeadScan, Progress},
};

const LIMITS: HeadLimits = HeadLimits { target: 256, header_bytes: 1024, headers: 16 };

/// The size of the pieces, `h` for heads or `c` for a chunked body, and the bytes.
pub(crate) fn framing(data: &[u8]) {
    let [size, kind, bytes @ ..] = data else { return };
    let size = usize::from(*size).max(1);
    match kind {
        b'h' => head(bytes, size),
        b'c' => chunked(bytes, size),
        _ => connection(bytes, size),
    }
}

/// A head that comes in pieces is what it is at once, and one that is taken has one meaning only.
fn head(bytes: &[u8], size: usize) {
    let whole = HeadScan::default().advance(bytes, LIMITS);
    let mut scan = HeadScan::default();
    let mut last = Progress::Incomplete;
    let mut end = 0;
    while last == Progress::Incomplete && end < bytes.len() {
        end = (end + size).min(bytes.len());
        last = scan.advance(&bytes[..end], LIMITS);
    }
    assert_eq!(last, if bytes.is_empty() { Progress::Incomplete } else { whole });
    if let Progress::Complete(length, body) = whole {
        check_head(&bytes[..length], body);
    }
}

/// Another reading of a head that was taken.
fn check_head(head: &[u8], body: Body) {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let text = text.trim_start_matches("\r\n");
    let lines: Vec<&str> = text.strip_suffix("\r\n\r\n").expect("a head ends in an empty line").split("\r\n").collect();
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n', '\0']) && !line.is_empty()), "{lines:?}");
    let (request, headers) = lines.split_first().unwrap();
    assert_eq!(request.split(' ').count(), 3, "{request}");
    assert!(headers.len() <= LIMITS.headers);
    let named = |wanted: &str| -> Vec<String> {
        let pairs = headers.iter().map(|line| line.split_once(':').expect("a colon"));
        let values = pairs.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        values.map(|(_, value)| value.trim_matches([' ', '\t']).to_ascii_lowercase()).collect()
    };
    assert!(named("host").len() <= 1);
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    match body {
        Body::Chunked => assert!(lengths.is_empty() && codings == ["chunked"] && request.ends_with("HTTP/1.1")),
        Body::Length(0) if lengths.is_empty() => assert!(codings.is_empty()),
        Body::Length(length) => {
            assert!(codings.is_empty());
            assert_eq!(lengths.iter().map(|text| text.parse().ok()).collect::<Vec<_>>(), [Some(length)]);
        }
    }
}

/// A body in pieces ends where it ends at once, and where a naive decoder says.
fn chunked(bytes: &[u8], size: usize) {
    let whole = Chunked::default().follow(bytes);
    let mut coding = Chunked::default();
    let (mut taken, mut payload, mut state) = (0, 0, State::More);
    for piece in bytes.chunks(size) {
        let followed = coding.follow(piece);
        (taken, payload, state) = (taken + followed.taken, payload + followed.payload, followed.state);
        if state != State::More {
            break;
        }
    }
    assert_eq!(Followed { taken, payload, state }, whole);
    assert!(taken <= bytes.len() && payload <= taken as u64);
    if state == State::Over {
        assert_eq!(naive(&bytes[..taken]), Some(payload), "{}", String::from_utf8_lossy(bytes));
    }
}

/// Bytes of a whole chunked body, with nothing behind it.
fn naive(mut rest: &[u8]) -> Option<u64> {
    let mut payload = 0;
    let line = |rest: &mut &[u8]| -> Option<String> {
        let end = memchr::memmem::find(rest, b"\r\n")?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        *rest = &rest[end + 2..];
        Some(line)
    };
    loop {
        let head = line(&mut rest)?;
        let size = u64::from_str_radix(head.split(';').next()?, 16).ok()?;
        if size == 0 {
            while !line(&mut rest)?.is_empty() {}
            return rest.is_empty().then_some(payload);
        }
        payload += size;
        rest = rest.get(usize::try_from(size).ok()?..)?.strip_prefix(b"\r\n")?;
    }
}

/// A whole connection: requests one behind the other. What hyper may have is decided alike however it comes.
fn connection(bytes: &[u8], size: usize) {
    let (whole, verdict) = gate().follow(bytes);
    let mut pieces = gate();
    let mut held: Vec<u8> = Vec::new();
    let (mut accepted, mut last) = (0, Verdict::Pass);
    for piece in bytes.chunks(size) {
        held.extend_from_slice(piece);
        let (here, verdict) = pieces.follow(&held);
        accepted += here;
        last = verdict;
        match verdict {
            Verdict::Hold => drop(held.drain(..here)),
            Verdict::Pass => held.clear(),
            Verdict::Replace(_) | Verdict::Broken => break,
        }
    }
    assert_eq!((accepted, last), (whole, verdict));
    assert!(accepted <= bytes.len());
}

fn gate() -> Gate<()> {
    Gate::new((), Arc::new(Activity::new()), LIMITS, 0)
}
