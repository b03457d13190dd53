//! The names that the local backends give to blobs: twenty random bytes, written as forty lowercase hex digits.
//!
//! No byte of a user ever takes part, and nothing that is not exactly of this form becomes part of a path.

use std::{fmt, io};

use super::{BlobId, DataError};

/// Bytes of a name. 160 random bits do not repeat: names are never reused.
pub(super) const NAME_BYTES: usize = 20;

/// A checked name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BlobName([u8; NAME_BYTES]);

impl BlobName {
    /// A fresh name, from the system's random source.
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; NAME_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// Takes exactly forty lowercase hex digits; the order of names is the order of their texts.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        // Uppercase digits would be a second spelling of the same file.
        if text.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut bytes = [0; NAME_BYTES];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Takes a name that metadata kept.
    ///
    /// # Errors
    /// [`DataError::Corrupt`] where it is none of ours.
    pub(super) fn of(blob: &BlobId) -> Result<Self, DataError> {
        Self::parse(blob.as_str().as_bytes()).ok_or_else(|| DataError::Corrupt {
            blob: blob.clone(),
            detail: "no name that this backend makes".to_owned(),
        })
    }

    /// The name that a put shall use: the caller's, else a fresh one.
    pub(super) fn for_put(asked: Option<&BlobId>) -> Result<Self, DataError> {
        asked.map_or_else(|| Ok(Self::random()?), Self::of)
    }

    pub(super) const fn from_bytes(bytes: [u8; NAME_BYTES]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; NAME_BYTES] {
        &self.0
    }

    /// The first byte, which spreads blobs evenly over 256 places.
    pub(super) const fn shard(self) -> u8 {
        let [first, ..] = self.0;
        first
    }

    pub(super) fn id(self) -> BlobId {
        BlobId::new(self.to_string())
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 2 * NAME_BYTES];
        hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let name = BlobName::random().unwrap();
        assert_eq!(BlobName::of(&name.id()).unwrap(), name);
        let upper = "AB".repeat(NAME_BYTES);
        for wrong in ["", "ab", "../../../../../../../../../../etc/passwd0", upper.as_str(), &"ab".repeat(21)] {
            assert!(BlobName::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
