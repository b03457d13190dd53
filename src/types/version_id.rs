//! Version identifiers: unique, ordered by time, spelled as the original CloudServer spells them.

use std::fmt;

/// Sequence numbers within one millisecond.
const SEQUENCES: u64 = 1_000_000;
/// The original counts milliseconds downwards from here, so that newer ids sort first.
const MILLIS: u64 = 100_000_000_000_000;
/// Bytes of the replication group at the end of an id.
pub const GROUP_BYTES: usize = 7;
/// Digits of the counter that the original may have put behind the group.
const COUNTER_DIGITS: usize = 20;
/// Digits and letters of the base-62 form, in value order.
const BASE62: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// One version of an object.
///
/// Ordered by age: a later version is greater. `stamp` is `milliseconds × 10^6 + sequence`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId {
    stamp: u64,
    group: [u8; GROUP_BYTES],
}

/// How version ids are spelled on the wire (`S3_VERSION_ID_ENCODING_TYPE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VersionIdEncoding {
    /// Hexadecimal digits of the id's text: 54 characters.
    #[default]
    Hex,
    /// 32 characters.
    Base62,
}

/// What a `versionId` parameter names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionSelector {
    /// The `null` version.
    Null,
    /// The version with this id.
    Id(VersionId),
}

impl VersionId {
    /// An id from its stamp and replication group.
    pub const fn new(stamp: u64, group: [u8; GROUP_BYTES]) -> Self {
        Self { stamp, group }
    }

    /// `milliseconds since the epoch × 10^6 + sequence`.
    pub const fn stamp(self) -> u64 {
        self.stamp
    }

    /// The replication group, padded with spaces.
    pub const fn group(self) -> [u8; GROUP_BYTES] {
        self.group
    }

    /// Fifteen bytes that sort newest first.
    pub fn to_key(self) -> [u8; 15] {
        let mut key = [0; 15];
        let (stamp, group) = key.split_at_mut(8);
        stamp.copy_from_slice(&(!self.stamp).to_be_bytes());
        group.copy_from_slice(&self.group);
        key
    }

    /// Reads [`VersionId::to_key`] back.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let (stamp, group) = key.split_first_chunk::<8>()?;
        Some(Self { stamp: !u64::from_be_bytes(*stamp), group: group.try_into().ok()? })
    }

    /// The wire form.
    pub fn encode(self, encoding: VersionIdEncoding) -> String {
        match encoding {
            VersionIdEncoding::Hex => hex::encode(self.internal()),
            VersionIdEncoding::Base62 => self.base62(),
        }
    }

    /// Reads either wire form: 32 characters are base 62, more are hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 32 { Self::from_base62(text) } else { Self::from_internal(&hex::decode(text).ok()?) }
    }

    /// The original's internal text: 14 + 6 digits counting downwards, then the group.
    fn internal(self) -> Vec<u8> {
        let millis = MILLIS - 1 - (self.stamp / SEQUENCES).min(MILLIS - 1);
        let sequence = SEQUENCES - 1 - self.stamp % SEQUENCES;
        let mut text = format!("{millis:014}{sequence:06}").into_bytes();
        text.extend_from_slice(&self.group);
        text
    }

    fn from_internal(text: &[u8]) -> Option<Self> {
        let (digits, tail) = text.split_at_checked(20)?;
        // A decimal counter may follow the group in ids that the original wrote.
        let (group, counter) = tail.split_first_chunk::<GROUP_BYTES>()?;
        if counter.len() > COUNTER_DIGITS || !counter.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let (millis, sequence) = digits.split_at_checked(14)?;
        let millis = MILLIS - 1 - decimal(millis)?;
        let sequence = SEQUENCES - 1 - decimal(sequence)?;
        Some(Self { stamp: millis.checked_mul(SEQUENCES)?.checked_add(sequence)?, group: *group })
    }

    fn base62(self) -> String {
        let internal = self.internal();
        let half = |range| decimal(internal.get(range).unwrap_or_default()).unwrap_or_default();
        let group = self.group.iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        [to_base62(half(0..10), 6), to_base62(half(10..20), 6), to_base62(group, 20)].concat()
    }

    fn from_base62(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let high = number62(bytes.get(0..6)?)?;
        let low = number62(bytes.get(6..12)?)?;
        let group = number62(bytes.get(12..32)?)?;
        if high >= 10_u64.pow(10) || low >= 10_u64.pow(10) || group >= 1 << 56 {
            return None;
        }
        let mut internal = format!("{high:010}{low:010}").into_bytes();
        internal.extend_from_slice(group.to_be_bytes().get(1..)?);
        Self::from_internal(&internal)
    }
}

impl VersionSelector {
    /// Reads a `versionId` parameter.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "null" { Some(Self::Null) } else { VersionId::parse(text).map(Self::Id) }
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionId({}:{})", self.stamp, String::from_utf8_lossy(&self.group))
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        digit.is_ascii_digit().then(|| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?
    })
}

fn to_base62(mut value: u64, width: usize) -> String {
    let mut digits = Vec::with_capacity(width);
    for _ in 0..width {
        let digit = usize::try_from(value % 62).ok().and_then(|index| BASE62.get(index)).copied().unwrap_or(b'0');
        digits.push(char::from(digit));
        value /= 62;
    }
    digits.iter().rev().collect()
}

fn number62(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        let index = BASE62.iter().position(|known| known == digit)?;
        value.checked_mul(62)?.checked_add(u64::try_from(index).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const GROUP: [u8; GROUP_BYTES] = *b"RG001  ";

    proptest! {
        #[test]
        fn both_wire_forms_read_back(stamp in 0..10_u64.pow(19), group in any::<[u8; GROUP_BYTES]>()) {
            let id = VersionId::new(stamp, group);
            prop_assert_eq!(VersionId::parse(&id.encode(VersionIdEncoding::Hex)), Some(id));
            prop_assert_eq!(VersionId::parse(&id.encode(VersionIdEncoding::Base62)), Some(id));
            prop_assert_eq!(VersionId::from_key(&id.to_key()), Some(id));
        }

        #[test]
        fn keys_sort_newest_first(a in any::<u64>(), b in any::<u64>()) {
            let (a, b) = (VersionId::new(a, GROUP), VersionId::new(b, GROUP));
            prop_assert_eq!(a.cmp(&b), b.to_key().cmp(&a.to_key()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let read = VersionId::parse(&text);
            prop_assert!(read.is_none() || text.len() >= 32);
        }
    }

    #[test]
    fn hex_form_is_the_originals() {
        let id = VersionId::new(1_700_000_000_123 * SEQUENCES + 5, GROUP);
        let text = hex::decode(id.encode(VersionIdEncoding::Hex)).unwrap();
        assert_eq!(text, b"98299999999876999994RG001  ");
        assert_eq!(VersionSelector::parse("null"), Some(VersionSelector::Null));
        assert_eq!(VersionSelector::parse(""), None);
        assert_eq!(VersionId::parse(&hex::encode(b"98299999999876999994RG001  17")), Some(id));
        assert_eq!(VersionId::parse(&hex::encode(b"98299999999876999994RG001  \0")), None);
        assert_eq!(VersionId::parse(&hex::encode(b"98299999999876999994RG001  123456789012345678901")), None);
    }
}
