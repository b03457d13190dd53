//! The fuzz target of aws-chunked bodies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a target panics where a rule is broken"
)]

use bytes::Bytes;

use super::{
    digests::Op,
    framing::{Form, Framing},
};
use crate::{
    s3::{error::S3Error, fuzzing::refused},
    types::{BodyError, ChecksumAlgorithm},
};

/// Most bytes of a body here.
const MOST: u64 = 1 << 20;

/// What a body says besides its bytes.
#[derive(Clone, Copy, Debug)]
struct Plan {
    form: Form,
    expected: Option<u64>,
    trailer: Option<ChecksumAlgorithm>,
}

/// What was read of it.
#[derive(Debug, Default)]
struct Seen {
    payload: Vec<u8>,
    seals: Vec<String>,
    error: Option<BodyError>,
}

/// A byte for form and trailer, a byte for the size of the pieces, a line with the announced length, and the body.
pub(crate) fn chunked(data: &[u8]) {
    let [plan, size, rest @ ..] = data else { return };
    let Some(line) = memchr::memchr(b'\n', rest) else { return };
    let (expected, body) = rest.split_at(line);
    let body = body.strip_prefix(b"\n").unwrap();
    let plan = Plan {
        form: [Form::Plain, Form::Unsigned, Form::Signed, Form::SignedTrailer][usize::from(plan & 3)],
        expected: str::from_utf8(expected).ok().and_then(|text| text.parse().ok()),
        trailer: ChecksumAlgorithm::ALL.get(usize::from(plan >> 4 & 15)).copied().filter(|_| plan & 4 != 0),
    };
    let whole = read(plan, body.chunks(usize::MAX));
    let pieces = read(plan, body.chunks(usize::from(*size).max(1)));
    check(plan, &whole);
    check(plan, &pieces);
    assert_eq!(whole.error.is_none(), pieces.error.is_none(), "{:?} {:?}", whole.error, pieces.error);
    if whole.error.is_none() {
        assert_eq!((&whole.payload, &whole.seals), (&pieces.payload, &pieces.seals));
        if plan.form != Form::Plain {
            assert_eq!(naive(body, plan.form).as_ref(), Some(&whole.payload));
        }
    }
}

fn read<'a>(plan: Plan, pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let mut framing = Framing::new(plan.form, plan.expected, MOST, plan.trailer);
    let mut seen = Seen::default();
    let mut ops = Vec::new();
    let mut result = framing.announced();
    for piece in pieces {
        result = result.and_then(|()| framing.push(Bytes::copy_from_slice(piece), &mut ops));
    }
    result = result.and_then(|()| framing.finish(&mut ops));
    for op in &ops {
        match op {
            Op::Data { bytes, .. } => {
                assert!(!bytes.is_empty(), "an empty slice");
                seen.payload.extend_from_slice(bytes);
            }
            Op::Seal(signature) => seen.seals.push(format!("{} {signature:?}", seen.payload.len())),
            Op::SealTrailer { sha256_hex, signature } => seen.seals.push(format!("{sha256_hex} {signature:?}")),
            Op::Expect(checksum) => seen.seals.push(checksum.to_base64()),
        }
    }
    seen.error = result.err();
    seen
}

/// Never more than was announced, and not less at a clean end.
fn check(plan: Plan, seen: &Seen) {
    let got = seen.payload.len() as u64;
    assert!(got <= plan.expected.unwrap_or(MOST).min(MOST), "{got} of {plan:?}");
    match &seen.error {
        None => {
            assert_eq!(got, plan.expected.unwrap_or(got));
            assert_eq!(plan.trailer.is_some(), seen.seals.iter().any(|seal| !seal.contains(' ')));
        }
        Some(error) => refused(&S3Error::from(error.clone())),
    }
}

/// The payload of chunks, read in the plainest way.
fn naive(mut rest: &[u8], form: Form) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    loop {
        let end = memchr::memmem::find(rest, b"\r\n")?;
        let (line, behind) = rest.split_at(end);
        let line = str::from_utf8(line).ok()?;
        let size = line.split(';').next()?;
        assert_eq!(line.len() - size.len(), if form == Form::Unsigned { 0 } else { 17 + 64 });
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(payload);
        }
        let (data, behind) = behind.strip_prefix(b"\r\n")?.split_at_checked(size)?;
        payload.extend_from_slice(data);
        rest = behind.strip_prefix(b"\r\n")?;
    }
}
