//! Object keys.

use std::{fmt, sync::Arc};

use thiserror::Error;

/// Longest key in bytes of UTF-8 (S3 reference, "Object key naming").
pub const MAX_KEY_BYTES: usize = 1024;

/// An object key: 1 to 1,024 bytes of UTF-8, opaque and never normalised.
///
/// `a//b`, `a/./b`, `../x` and a trailing `/` are distinct keys. Keys never become file names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

/// Why a text is no object key.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ObjectKeyError {
    /// A key has at least one byte.
    #[error("the key is empty")]
    Empty,
    /// A key has at most [`MAX_KEY_BYTES`] bytes.
    #[error("the key has {0} bytes, more than {MAX_KEY_BYTES}")]
    TooLong(usize),
}

impl ObjectKey {
    /// Checks the length of `key`.
    pub fn new(key: &str) -> Result<Self, ObjectKeyError> {
        match key.len() {
            0 => Err(ObjectKeyError::Empty),
            1..=MAX_KEY_BYTES => Ok(Self(key.into())),
            long => Err(ObjectKeyError::TooLong(long)),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's bytes, whose order is the order of listings.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({:?})", &*self.0)
    }
}
