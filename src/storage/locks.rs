//! Locks on keys: they spare writers of one key futile attempts; the batch's conditions decide.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use crate::types::{BucketId, ObjectKey};

/// Stripes; two keys share one with a chance of 1 in 4,096.
const STRIPES: u64 = 4096;

/// One lock for each stripe of keys. The hasher is seeded, so no client can aim at a stripe.
#[derive(Debug)]
pub(super) struct KeyLocks {
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for KeyLocks {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }
}

impl KeyLocks {
    /// Waits until no other writer holds the key.
    pub(super) async fn lock(&self, bucket: BucketId, key: &ObjectKey) -> Option<MutexGuard<'_, ()>> {
        let stripe = usize::try_from(self.hasher.hash_one((bucket, key)) % STRIPES).ok()?;
        match self.stripes.get(stripe) {
            Some(stripe) => Some(stripe.lock().await),
            None => None,
        }
    }
}
