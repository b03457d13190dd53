//! The value that [`Write::Add`](super::Write::Add) keeps: an array of little-endian `i64`.

use bytes::Bytes;

use super::MetadataError;

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

#[cfg(test)]
mod tests {
    use super::*;

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
