//! Locks on keys and buckets: they spare writers of one key futile attempts; the batch's conditions decide.
//!
//! Each key has a lock of its own while somebody holds it or waits for it. A write to a store that is slow to answer holds
//! its key for long: no other key may wait for that.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::types::{BucketId, BucketName, ObjectKey};

/// Maps among which locks are divided, so that their own locks are hardly ever met.
const SHARDS: u64 = 64;

/// Locks by hash.
type Shard = Mutex<HashMap<u64, Arc<Turn<()>>>>;

/// The locks in use. Those who use one are told apart by 64 bits of a seeded hash: no client can aim at another's.
#[derive(Debug)]
pub(super) struct KeyLocks {
    shards: Vec<Shard>,
    hasher: RandomState,
}

/// The right to write a key, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct KeyGuard<'a> {
    // Dropped first: the place is left when the turn is over.
    _turn: OwnedMutexGuard<()>,
    _place: Place<'a>,
}

/// A place in the queue for a lock; the last one to leave takes the lock away.
#[derive(Debug)]
struct Place<'a> {
    locks: &'a KeyLocks,
    hash: u64,
    lock: Option<Arc<Turn<()>>>,
}

impl Default for KeyLocks {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl KeyLocks {
    /// Waits until no other writer holds the key.
    pub(super) async fn lock(&self, bucket: BucketId, key: &ObjectKey) -> Option<KeyGuard<'_>> {
        self.turn(self.hasher.hash_one((bucket, key))).await
    }

    /// The lock, if nobody holds it now.
    pub(super) fn try_lock(&self, bucket: BucketId, key: &ObjectKey) -> Option<KeyGuard<'_>> {
        let (lock, place) = self.place(self.hasher.hash_one((bucket, key)))?;
        Some(KeyGuard { _turn: lock.try_lock_owned().ok()?, _place: place })
    }

    /// As [`KeyLocks::lock`], for two keys. Everybody takes locks in the same order.
    pub(super) async fn lock_both(
        &self,
        bucket: BucketId,
        one: &ObjectKey,
        other: &ObjectKey,
    ) -> [Option<KeyGuard<'_>>; 2] {
        let [one, other] = [one, other].map(|key| self.hasher.hash_one((bucket, key)));
        let first = self.turn(one.min(other)).await;
        let second = if one == other { None } else { self.turn(one.max(other)).await };
        [first, second]
    }

    /// Waits until nobody else changes the bucket's settings. Whoever holds it must not ask for a key.
    pub(super) async fn lock_bucket(&self, bucket: &BucketName) -> Option<KeyGuard<'_>> {
        self.turn(self.hasher.hash_one(bucket)).await
    }

    async fn turn(&self, hash: u64) -> Option<KeyGuard<'_>> {
        let (lock, place) = self.place(hash)?;
        Some(KeyGuard { _turn: lock.lock_owned().await, _place: place })
    }

    /// A lock, and a place in its queue, which is left by its drop even if the caller goes away while it waits.
    fn place(&self, hash: u64) -> Option<(Arc<Turn<()>>, Place<'_>)> {
        let lock = Arc::clone(self.shard(hash)?.lock().entry(hash).or_default());
        let place = Place { locks: self, hash, lock: Some(Arc::clone(&lock)) };
        Some((lock, place))
    }

    fn shard(&self, hash: u64) -> Option<&Shard> {
        self.shards.get(usize::try_from(hash % SHARDS).ok()?)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(shard) = self.locks.shard(self.hash) else { return };
        let mut shard = shard.lock();
        drop(self.lock.take());
        // Others come by the map only, so nobody can take it up meanwhile.
        if let Entry::Occupied(entry) = shard.entry(self.hash)
            && Arc::strong_count(entry.get()) == 1
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn held(locks: &KeyLocks) -> usize {
        locks.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    #[tokio::test]
    async fn a_key_that_is_held_keeps_no_other_waiting() {
        let locks = KeyLocks::default();
        let bucket = BucketId::new(1);
        let key = |number: u32| ObjectKey::new(&format!("key{number}")).unwrap();
        let slow: Vec<_> = futures_util::future::join_all((0..100).map(|number| {
            let (locks, key) = (&locks, key(number));
            async move { locks.lock(bucket, &key).await }
        }))
        .await;
        for number in 100..20_000 {
            assert!(timeout(SOON, locks.lock(bucket, &key(number))).await.is_ok(), "{number}");
        }
        assert!(timeout(SOON, locks.lock(bucket, &key(7))).await.is_err());
        drop(slow);
        assert!(timeout(SOON, locks.lock(bucket, &key(7))).await.is_ok());
        assert_eq!(held(&locks), 0);
    }

    #[tokio::test]
    async fn locks_that_nobody_holds_or_waits_for_are_gone() {
        let locks = KeyLocks::default();
        let (bucket, key) = (BucketId::new(1), ObjectKey::new("key").unwrap());
        let first = locks.lock(bucket, &key).await;
        {
            let mut waiter = std::pin::pin!(locks.lock(bucket, &key));
            assert!(timeout(SOON, waiter.as_mut()).await.is_err());
            drop(first);
            assert_eq!(held(&locks), 1, "somebody waits");
        }
        assert_eq!(held(&locks), 0, "the waiter went away");
        let both = locks.lock_both(bucket, &key, &key).await;
        assert!(both[0].is_some() && both[1].is_none());
        assert!(locks.try_lock(bucket, &key).is_none());
        drop(both);
        assert_eq!(held(&locks), 0);
        assert!(locks.try_lock(bucket, &key).is_some());
        assert_eq!(held(&locks), 0);
    }
}
