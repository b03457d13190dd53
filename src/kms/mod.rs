//! Key managers: who makes the keys that objects' keys are wrapped with.
//!
//! | manager | where its keys are | survives a restart |
//! |---|---|---|
//! | [`FileKms`] | a master key file, each key with all its versions | yes |
//! | [`VaultKms`] | a server that speaks the HTTP interface of Vault's transit engine | there |
//! | [`MemoryKms`] | this process; a key is made when it is first named | no |
//!
//! A manager hands out a fresh key twice: bare, and wrapped. The bare one is used and forgotten; the wrapped one is
//! kept beside what it protects, and only the manager can open it again. What is bound to the key (bucket, mode,
//! context) is the engine's affair: it seals the object's own key with the bare one.
//!
//! Invariants: keys are wiped when they are dropped, never logged, never part of an error.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use thiserror::Error;

pub mod cipher;
mod file;
mod keyring;
mod memory;
mod secret;
mod vault;

pub use file::{FileKms, KeyFile, KeyFileError};
pub use keyring::{KeyInfo, Keyring};
pub use memory::MemoryKms;
pub use secret::SecretKey;
pub use vault::{VaultKms, VaultOptions, VaultToken};

/// Why a key manager could not do it. The protocol answers `KMS.NotFoundException` for an unknown key, 503 for a
/// manager that is away, and 500 where something is broken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KmsError {
    /// The manager has no such key.
    #[error("the key manager has no key {0:?}")]
    NoSuchKey(String),
    /// The manager cannot be reached, is sealed, or does not answer in time: try again.
    #[error("the key manager is unavailable: {0}")]
    Unavailable(String),
    /// The manager does not let this server use the key.
    #[error("the key manager refuses: {0}")]
    Refused(String),
    /// The wrapped key is not one of this manager's, or is damaged.
    #[error("a wrapped key cannot be opened: {0}")]
    Unopenable(String),
}

/// A fresh key.
#[derive(Debug)]
pub struct Generated {
    /// To be used and forgotten.
    pub key: SecretKey,
    /// To be kept.
    pub wrapped: Bytes,
}

/// A key manager.
pub trait Kms: fmt::Debug + Send + Sync {
    /// The key used where nobody names one.
    fn default_key(&self) -> &str;

    /// A fresh key, wrapped with the newest version of `key`, a name as [`key_name`] gives it.
    fn generate<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Generated, KmsError>>;

    /// Opens a wrapped key; every version of `key` that ever was will do.
    fn unwrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<SecretKey, KmsError>>;

    /// Wraps a wrapped key with the newest version of `key`; what is in it stays.
    fn rewrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<Bytes, KmsError>>;

    /// Looks for keys that came or were rotated since, where the manager does not see them by itself.
    fn reload(&self) -> Result<(), KmsError> {
        Ok(())
    }
}

/// Most characters of a key's name.
const MAX_NAME: usize = 256;

/// The name of a key within its manager: clients may give an ARN or an alias of AWS for it.
///
/// # Errors
/// [`KmsError::NoSuchKey`] for what can be no name: letters, digits, `.`, `_` and `-`, at most 256.
pub fn key_name(id: &str) -> Result<&str, KmsError> {
    let name = if let Some(arn) = id.strip_prefix("arn:") {
        arn.split_once('/').map(|(_, name)| name)
    } else {
        Some(id.strip_prefix("alias/").unwrap_or(id))
    };
    let plain = |name: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
    };
    name.filter(plain).ok_or_else(|| KmsError::NoSuchKey(id.chars().take(MAX_NAME).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_and_aliases_name_the_key_behind_them() {
        for id in ["k1", "alias/k1", "arn:aws:kms:us-east-1:123456789012:key/k1", "arn:aws:kms:::alias/k1"] {
            assert_eq!(key_name(id), Ok("k1"), "{id}");
        }
        assert_eq!(key_name("0f9c-1.x_Y"), Ok("0f9c-1.x_Y"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_name() {
        let long = "a".repeat(257);
        for id in ["", ".", "..", "a/b", "alias/", "alias/../x", "a b", "a%2f", "a?b", "arn:aws:kms", "ä", &long] {
            assert!(matches!(key_name(id), Err(KmsError::NoSuchKey(_))), "{id}");
        }
    }
}
