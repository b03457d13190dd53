//! Locks on keys and buckets: they spare writers of one key futile attempts; the batch's conditions decide.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use crate::types::{BucketId, BucketName, ObjectKey};

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
        self.stripe(self.hasher.hash_one((bucket, key))).await
    }

    /// The lock, if nobody holds it now.
    pub(super) fn try_lock(&self, bucket: BucketId, key: &ObjectKey) -> Option<MutexGuard<'_, ()>> {
        let stripe = usize::try_from(self.hasher.hash_one((bucket, key)) % STRIPES).ok()?;
        self.stripes.get(stripe)?.try_lock().ok()
    }

    /// As [`KeyLocks::lock`], for two keys. Everybody takes stripes in the same order.
    pub(super) async fn lock_both(
        &self,
        bucket: BucketId,
        one: &ObjectKey,
        other: &ObjectKey,
    ) -> [Option<MutexGuard<'_, ()>>; 2] {
        let [one, other] = [one, other].map(|key| self.hasher.hash_one((bucket, key)) % STRIPES);
        let first = self.stripe(one.min(other)).await;
        let second = if one == other { None } else { self.stripe(one.max(other)).await };
        [first, second]
    }

    /// Waits until nobody else changes the bucket's settings. Whoever holds it must not ask for a key.
    pub(super) async fn lock_bucket(&self, bucket: &BucketName) -> Option<MutexGuard<'_, ()>> {
        self.stripe(self.hasher.hash_one(bucket)).await
    }

    async fn stripe(&self, hash: u64) -> Option<MutexGuard<'_, ()>> {
        let stripe = usize::try_from(hash % STRIPES).ok()?;
        match self.stripes.get(stripe) {
            Some(stripe) => Some(stripe.lock().await),
            None => None,
        }
    }
}
