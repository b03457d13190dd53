//! Named keys with all their versions, as the file and the memory manager have them.
//!
//! A wrapped key is `01 ‖ version (4 bytes) ‖ salt (32) ‖ ciphertext (32) ‖ tag (16)`; name and version are bound to it.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Generated, KmsError, SecretKey,
    cipher::{open_key, seal_key},
};

const FORMAT: u8 = 1;

/// A key: its versions by number, the greatest is the one in use.
#[derive(Clone, Debug, Default)]
struct Versions(BTreeMap<u32, SecretKey>);

/// Named keys.
#[derive(Clone, Debug, Default)]
pub struct Keyring(BTreeMap<String, Versions>);

/// What may be told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// The version that new data keys are wrapped with.
    pub version: u32,
    /// Versions kept for data keys of old.
    pub versions: usize,
}

impl Keyring {
    /// Whether there is a key of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Every key.
    pub fn list(&self) -> Vec<KeyInfo> {
        let info = |(name, versions): (&String, &Versions)| KeyInfo {
            name: name.clone(),
            version: versions.0.keys().next_back().copied().unwrap_or_default(),
            versions: versions.0.len(),
        };
        self.0.iter().map(info).collect()
    }

    /// Adds a version to a key; its first one, where there is no such key. Gives the number.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn add_version(&mut self, name: &str) -> Result<u32, KmsError> {
        let key = SecretKey::random()?;
        let versions = self.0.entry(name.to_owned()).or_default();
        let number = versions.0.keys().next_back().map_or(1, |last| last.saturating_add(1));
        versions.0.insert(number, key);
        Ok(number)
    }

    /// Adds a version as it was stored.
    pub(super) fn insert(&mut self, name: &str, number: u32, key: SecretKey) {
        self.0.entry(name.to_owned()).or_default().0.insert(number, key);
    }

    /// Every version of every key, to be stored.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, u32, &SecretKey)> {
        self.0.iter().flat_map(|(name, versions)| versions.0.iter().map(|(number, key)| (name.as_str(), *number, key)))
    }

    /// A fresh key, wrapped with the newest version of a key.
    pub(super) fn generate(&self, name: &str) -> Result<Generated, KmsError> {
        let key = SecretKey::random()?;
        let wrapped = self.wrap(name, &key)?;
        Ok(Generated { key, wrapped })
    }

    fn wrap(&self, name: &str, key: &SecretKey) -> Result<Bytes, KmsError> {
        let versions = self.0.get(name).ok_or_else(|| KmsError::NoSuchKey(name.to_owned()))?;
        let (number, with) = versions.0.last_key_value().ok_or_else(|| KmsError::NoSuchKey(name.to_owned()))?;
        let salt = SecretKey::random()?;
        let sealed = seal_key(with, salt.expose(), &bound(name, *number), key)
            .map_err(|e| KmsError::Unopenable(e.to_string()))?;
        let mut wrapped = BytesMut::with_capacity(5 + sealed.len());
        wrapped.put_u8(FORMAT);
        wrapped.put_u32(*number);
        wrapped.put_slice(&sealed);
        Ok(wrapped.freeze())
    }

    /// Opens a wrapped key.
    ///
    /// # Errors
    /// [`KmsError::NoSuchKey`] where the key or its version is not here (perhaps not yet: a file is read again then).
    pub(super) fn unwrap(&self, name: &str, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        let malformed = || KmsError::Unopenable("it is not of this manager's making".to_owned());
        let (format, rest) = wrapped.split_first().ok_or_else(malformed)?;
        let (number, sealed) = rest.split_first_chunk::<4>().filter(|_| *format == FORMAT).ok_or_else(malformed)?;
        let number = u32::from_be_bytes(*number);
        let with = self.0.get(name).and_then(|versions| versions.0.get(&number));
        let with = with.ok_or_else(|| KmsError::NoSuchKey(name.to_owned()))?;
        open_key(with, &bound(name, number), sealed).map_err(|e| KmsError::Unopenable(e.to_string()))
    }

    /// Wraps a wrapped key with the newest version.
    pub(super) fn rewrap(&self, name: &str, wrapped: &[u8]) -> Result<Bytes, KmsError> {
        self.wrap(name, &self.unwrap(name, wrapped)?)
    }
}

fn bound(name: &str, number: u32) -> Vec<u8> {
    [&number.to_be_bytes(), name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_open_what_they_wrapped_and_new_keys_are_wrapped_with_the_newest() {
        let mut ring = Keyring::default();
        assert_eq!(ring.add_version("k"), Ok(1));
        let old = ring.generate("k").unwrap();
        assert_eq!(ring.add_version("k"), Ok(2));
        let new = ring.generate("k").unwrap();
        assert_eq!((&old.wrapped[1..5], &new.wrapped[1..5]), (&[0, 0, 0, 1][..], &[0, 0, 0, 2][..]));
        assert_eq!(ring.unwrap("k", &old.wrapped), Ok(old.key.clone()));
        assert_eq!(ring.unwrap("k", &new.wrapped), Ok(new.key));
        let again = ring.rewrap("k", &old.wrapped).unwrap();
        assert_eq!(again[1..5], [0, 0, 0, 2]);
        assert_eq!(ring.unwrap("k", &again), Ok(old.key));
    }

    #[test]
    fn a_wrapped_key_opens_under_its_own_name_only() {
        let mut ring = Keyring::default();
        ring.add_version("a").unwrap();
        let generated = ring.generate("a").unwrap();
        let Some((_, _, key)) = ring.entries().next() else { panic!("there is a key") };
        let key = key.clone();
        ring.insert("b", 1, key);
        assert!(matches!(ring.unwrap("b", &generated.wrapped), Err(KmsError::Unopenable(_))));
        assert_eq!(ring.unwrap("c", &generated.wrapped), Err(KmsError::NoSuchKey("c".to_owned())));
        assert!(matches!(ring.unwrap("a", b""), Err(KmsError::Unopenable(_))));
        assert_eq!(ring.generate("c").unwrap_err(), KmsError::NoSuchKey("c".to_owned()));
    }
}
