//! A key in memory.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::KmsError;

/// 256 bits that nobody else knows: wiped when dropped, not shown by `Debug`, compared in constant time.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// Takes a key.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Takes a key of the right length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        (bytes.len() == key.len()).then(|| {
            key.copy_from_slice(bytes);
            Self(key)
        })
    }

    /// A fresh key from the operating system.
    ///
    /// # Errors
    /// [`KmsError::Unavailable`] where the system has no randomness to give: there is no second-best key.
    pub fn random() -> Result<Self, KmsError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice())
            .map_err(|error| KmsError::Unavailable(format!("the system gives no random bytes: {error}")))?;
        Ok(Self(key))
    }

    /// The bytes, for a cipher.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", SecretKey::new([65; 32])), "SecretKey(…)");
        assert_ne!(SecretKey::random(), SecretKey::random());
        assert_eq!(SecretKey::from_slice(&[1; 31]), None);
    }
}
