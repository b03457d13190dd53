//! The value that [`Write::Add`](super::Write::Add) keeps: an array of little-endian `i64`.

use bytes::Bytes;

use super::{Growth, MetadataError};

const WIDTH: usize = size_of::<i64>();

/// The stored form of `counters`.
pub fn encode(counters: &[i64]) -> Bytes {
    counters.iter().flat_map(|counter| counter.to_le_bytes()).collect::<Vec<u8>>().into()
}

/// The counters in `value`.
///
/// # Errors
/// [`MetadataError::Corrupt`] if the length is not a multiple of eight.
pub fn decode(value: &[u8]) -> Result<Vec<i64>, MetadataError> {
    let (words, rest) = value.as_chunks::<WIDTH>();
    if !rest.is_empty() {
        return Err(MetadataError::Corrupt(format!("{} bytes are no array of counters", value.len())));
    }
    Ok(words.iter().map(|word| i64::from_le_bytes(*word)).collect())
}

/// The stored form of `current`, zeros where absent, plus `deltas`.
///
/// Sums wrap: a counter that passes the end of `i64` and comes back is right again.
///
/// # Errors
/// [`MetadataError::Corrupt`] if `current` is no array of counters.
pub fn add(current: Option<&[u8]>, deltas: &[i64]) -> Result<Bytes, MetadataError> {
    let mut counters = decode(current.unwrap_or_default())?;
    if counters.len() < deltas.len() {
        counters.resize(deltas.len(), 0);
    }
    for (counter, delta) in counters.iter_mut().zip(deltas) {
        *counter = counter.wrapping_add(*delta);
    }
    Ok(encode(&counters))
}

/// Whether the counters in `value`, once grown, are within their bounds. Bytes that are no counters have no room.
///
/// Sums are exact: they do not wrap.
pub fn has_room(value: &[u8], growth: &[Growth]) -> bool {
    let (words, rest) = value.as_chunks::<WIDTH>();
    let counter = |place: usize| words.get(place).map_or(0, |word| i128::from(i64::from_le_bytes(*word)));
    rest.is_empty()
        && growth.iter().all(|Growth { places, bound, by }| {
            let bound = counter(*bound);
            bound == 0 || places.iter().map(|place| counter(*place)).sum::<i128>() + i128::from(*by) <= bound
        })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn bounds_are_exact_and_zero_is_none() {
        let value = encode(&[5, i64::MAX, 3, 10]);
        let grown =
            |places: &'static [usize], bound, by| has_room(&value, &[Growth { places: places.into(), bound, by }]);
        assert!(grown(&[0, 2], 3, 2));
        assert!(!grown(&[0, 2], 3, 3));
        assert!(grown(&[0, 2], 9, i64::MAX), "no such counter");
        assert!(!grown(&[0, 1], 3, i64::MAX), "sums do not wrap");
        assert!(grown(&[0, 2], 3, -100));
        assert!(
            has_room(&encode(&[1, 0]), &[Growth { places: Cow::Borrowed(&[0]), bound: 1, by: 7 }]),
            "a bound of zero is none"
        );
        assert!(!has_room(b"abc", &[]), "no counters, no room");
    }

    #[test]
    fn missing_counters_are_zero_and_surplus_ones_are_kept() {
        let one = add(None, &[1, -2]).unwrap();
        assert_eq!(decode(&one).unwrap(), [1, -2]);
        let two = add(Some(&one), &[1, 1, 7]).unwrap();
        assert_eq!(decode(&two).unwrap(), [2, -1, 7]);
        let three = add(Some(&two), &[5]).unwrap();
        assert_eq!(decode(&three).unwrap(), [7, -1, 7]);
    }

    #[test]
    fn a_value_of_another_kind_is_corrupt_not_zero() {
        assert!(matches!(add(Some(b"abc"), &[1]), Err(MetadataError::Corrupt(_))));
    }
}
