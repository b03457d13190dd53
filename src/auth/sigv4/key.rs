//! Signing keys: one per access key, day, region and service.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use subtle::ConstantTimeEq;

use super::scope::{SERVICE, Scope, TERMINATOR};
use crate::types::digest::{Digest, Sha256};

/// A derived key, ready to sign: the state of HMAC after its key has been mixed in.
#[derive(Clone)]
pub(in crate::auth) struct SigningKey(Arc<Hmac<Sha256>>);

impl SigningKey {
    /// Derives the key of a scope. No secret means an unknown access key: the work is done all the same.
    pub(super) fn derive(secret: Option<&SecretString>, scope: &Scope<'_>) -> Self {
        let secret = secret.map_or("", ExposeSecret::expose_secret);
        let mut key = Zeroizing::new(Vec::with_capacity(secret.len().saturating_add(4)));
        key.extend_from_slice(b"AWS4");
        key.extend_from_slice(secret.as_bytes());
        let mut mac = keyed(&key);
        for step in [scope.date, scope.region, SERVICE, TERMINATOR] {
            mac.update(step.as_bytes());
            mac = keyed(&mac.finalize().into_bytes());
        }
        Self(Arc::new(mac))
    }

    /// The signature of the concatenated `parts`, in lower-case hexadecimal digits.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; 64] {
        let mut mac = Hmac::clone(&self.0);
        for part in parts {
            mac.update(part);
        }
        lower_hex(&mac.finalize().into_bytes().into())
    }

    /// Whether `signature` is the signature of `parts`, in time that does not tell where they differ.
    pub(super) fn verifies(&self, parts: &[&[u8]], signature: &str) -> bool {
        self.sign(parts).ct_eq(signature.as_bytes()).into()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(_)")
    }
}

/// HMAC-SHA256 with `key`, which may have any length (RFC 2104: pad to the block, or hash first if longer).
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    let digest: [u8; 32];
    let short = if key.len() > block.len() {
        digest = Sha256::digest(key).into();
        &digest
    } else {
        key
    };
    for (slot, byte) in block.iter_mut().zip(short) {
        *slot = *byte;
    }
    Hmac::new(&(*block).into())
}

/// Lower-case hexadecimal digits of a digest.
pub(super) fn lower_hex(digest: &[u8; 32]) -> [u8; 64] {
    const fn digit(nibble: u8) -> u8 {
        if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
    }
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    text
}

/// Signing keys of recent scopes, so that a request costs one HMAC instead of five.
///
/// A fixed table in which each scope has one slot and the newest wins: bounded, and nothing to evict. An entry counts
/// only for the very secret it was derived from, so changed accounts take effect at once.
pub struct SigningKeys {
    hasher: RandomState,
    slots: Box<[ArcSwapOption<Entry>]>,
}

struct Entry {
    access_key: Box<str>,
    scope: Box<str>,
    secret: Arc<SecretString>,
    key: SigningKey,
}

/// Enough for hundreds of active access keys; 8 KiB when empty.
const SLOTS: usize = 1024;

impl SigningKeys {
    pub(super) fn get(&self, access_key: &str, scope: &str, secret: &Arc<SecretString>) -> Option<SigningKey> {
        let entry = self.slot(access_key, scope)?.load();
        let entry = entry.as_ref()?;
        let same = *entry.access_key == *access_key && *entry.scope == *scope && is_same(&entry.secret, secret);
        same.then(|| entry.key.clone())
    }

    pub(super) fn put(&self, access_key: &str, scope: &str, secret: &Arc<SecretString>, key: &SigningKey) {
        if let Some(slot) = self.slot(access_key, scope) {
            slot.store(Some(Arc::new(Entry {
                access_key: access_key.into(),
                scope: scope.into(),
                secret: Arc::clone(secret),
                key: key.clone(),
            })));
        }
    }

    fn slot(&self, access_key: &str, scope: &str) -> Option<&ArcSwapOption<Entry>> {
        let hash = usize::try_from(self.hasher.hash_one((access_key, scope)) >> 32).unwrap_or_default();
        self.slots.get(hash % SLOTS)
    }
}

fn is_same(one: &Arc<SecretString>, other: &Arc<SecretString>) -> bool {
    Arc::ptr_eq(one, other) || one.expose_secret().as_bytes().ct_eq(other.expose_secret().as_bytes()).into()
}

impl Default for SigningKeys {
    fn default() -> Self {
        let slots = std::iter::repeat_with(ArcSwapOption::empty).take(SLOTS).collect();
        Self { hasher: RandomState::new(), slots }
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.slots.iter().filter(|slot| slot.load().is_some()).count();
        f.debug_struct("SigningKeys").field("used", &used).finish_non_exhaustive()
    }
}
