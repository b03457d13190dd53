//! Byte ranges of a GET.

use std::ops::Range;

/// A syntactically valid single range of a `Range` header (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=first-last`, both included; `last` may be absent.
    FromTo(u64, Option<u64>),
    /// `bytes=-n`: the last `n` bytes.
    Suffix(u64),
}

/// No byte of the object lies in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeError;

impl ByteRange {
    /// Reads a `Range` header. `None` means "ignore it": wrong unit, several ranges, first > last, no numbers.
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, spec) = header.trim().split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
            return None;
        }
        let (first, last) = spec.trim().split_once('-')?;
        match (digits(first.trim()), digits(last.trim())) {
            (Some(first), Some(last)) => (first <= last).then_some(Self::FromTo(first, Some(last))),
            (Some(first), None) if last.trim().is_empty() => Some(Self::FromTo(first, None)),
            (None, Some(count)) if first.trim().is_empty() => Some(Self::Suffix(count)),
            _ => None,
        }
    }

    /// The bytes of an object of `size` bytes, clipped to its end.
    ///
    /// # Errors
    /// [`RangeError`] (416 `InvalidRange`) where none is left: first ≥ size, `-0`, or an empty object.
    pub fn resolve(self, size: u64) -> Result<Range<u64>, RangeError> {
        let range = match self {
            Self::FromTo(first, last) => first..last.map_or(size, |last| last.saturating_add(1).min(size)),
            Self::Suffix(count) => size.saturating_sub(count)..size,
        };
        if range.is_empty() { Err(RangeError) } else { Ok(range) }
    }
}

/// An unsigned decimal number; one too large to count is as good as the largest.
fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_as_s3_does() {
        let resolve = |text: &str, size| ByteRange::parse(text).map(|range| range.resolve(size));
        assert_eq!(resolve("bytes=0-4", 10), Some(Ok(0..5)));
        assert_eq!(resolve("bytes=5-", 10), Some(Ok(5..10)));
        assert_eq!(resolve("bytes=-3", 10), Some(Ok(7..10)));
        assert_eq!(resolve("bytes=-30", 10), Some(Ok(0..10)));
        assert_eq!(resolve("bytes=8-99", 10), Some(Ok(8..10)));
        assert_eq!(resolve("bytes=0-99999999999999999999999", 10), Some(Ok(0..10)));
        for unsatisfiable in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=18446744073709551615-"] {
            assert_eq!(resolve(unsatisfiable, 10), Some(Err(RangeError)), "{unsatisfiable}");
        }
        assert_eq!(resolve("bytes=0-", 0), Some(Err(RangeError)));
        assert_eq!(resolve("bytes=-1", 0), Some(Err(RangeError)));
        for ignored in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=4-2",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=+1-2",
            "bytes=1--2",
        ] {
            assert_eq!(ByteRange::parse(ignored), None, "{ignored}");
        }
    }
}
