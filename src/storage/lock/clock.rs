//! What time it is for locks, also when the machine's clock was set back.
//!
//! - What **ends**, ends by the clock as it is: setting it back makes locks last longer, never shorter. Setting it
//!   forward is the one way in which the machine's clock ends retention early.
//! - What **begins** (default retention, the retention of a released event hold) begins at the latest time the clock
//!   ever showed, and a date that a client gives must lie after that. So nothing written under a clock set back is
//!   already over once the clock is right again.
//!
//! The latest time is known in memory from every use and stored once a minute, by lock writes and, in servers that
//! have a bucket with object lock, by the garbage worker: a restart forgets a minute at most. A clock that ran ahead by
//! mistake leaves its mark: until that time comes, defaults count from it and earlier dates are refused.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{Mutex, OnceCell};

use super::super::{Storage, StorageError, StorageResult, objects::ATTEMPTS};
use crate::{
    metadata::{Batch, MetadataError, Namespace, Table},
    types::Timestamp,
};

/// The latest time is stored when it is so many milliseconds later than the one stored.
const STEP_MS: u64 = 60_000;
const SYSTEM: Namespace = Namespace::global(Table::System);
const KEY: &[u8] = b"lock.latest-time";

/// The latest time that the clock showed.
#[derive(Debug, Default)]
pub(in crate::storage) struct LockClock {
    known: OnceCell<Known>,
    saving: Mutex<()>,
}

#[derive(Debug)]
struct Known {
    latest: AtomicU64,
    saved: AtomicU64,
}

impl Storage {
    /// The time at which locks begin: now, or the latest time ever seen.
    pub async fn lock_time(&self) -> StorageResult<Timestamp> {
        let known = self.known_time().await?;
        let now = self.inner.clock.now().as_millis();
        let latest = known.latest.fetch_max(now, Ordering::SeqCst).max(now);
        let saved = known.saved.load(Ordering::SeqCst);
        // The first time is stored whatever it is: it says that locks are in use.
        if saved == 0 || latest >= saved.saturating_add(STEP_MS) {
            self.save_time(known, latest).await?;
        }
        Ok(Timestamp::from_millis(latest))
    }

    /// Keeps the stored time close to the clock, if locks are in use.
    pub(in crate::storage) async fn keep_lock_time(&self) -> StorageResult<()> {
        if self.known_time().await?.saved.load(Ordering::SeqCst) != 0 {
            self.lock_time().await?;
        }
        Ok(())
    }

    async fn known_time(&self) -> StorageResult<&Known> {
        let load = || async {
            let (saved, _) = self.saved_time().await?;
            StorageResult::Ok(Known { latest: AtomicU64::new(saved), saved: AtomicU64::new(saved) })
        };
        self.inner.lock_clock.known.get_or_try_init(load).await
    }

    async fn saved_time(&self) -> StorageResult<(u64, Option<Bytes>)> {
        let stored = self.inner.metadata.get(SYSTEM, KEY).await?;
        let Some(bytes) = &stored else { return Ok((0, None)) };
        let time = bytes.as_ref().try_into().map(u64::from_be_bytes);
        Ok((time.map_err(|_| StorageError::Broken("the time that locks count from can be read"))?, stored))
    }

    /// Stores the time, never an earlier one over a later one.
    async fn save_time(&self, known: &Known, latest: u64) -> StorageResult<()> {
        let _guard = self.inner.lock_clock.saving.lock().await;
        for _ in 0..ATTEMPTS {
            let (saved, stored) = self.saved_time().await?;
            known.latest.fetch_max(saved, Ordering::SeqCst);
            if saved >= latest {
                known.saved.fetch_max(saved, Ordering::SeqCst);
                return Ok(());
            }
            let mut batch = Batch::new();
            batch.unchanged(SYSTEM, KEY, stored.as_ref());
            batch.put(SYSTEM, KEY, Bytes::copy_from_slice(&latest.to_be_bytes()));
            match self.inner.metadata.commit(batch).await {
                Ok(()) => {
                    known.saved.fetch_max(latest, Ordering::SeqCst);
                    return Ok(());
                }
                Err(MetadataError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(StorageError::Contention)
    }
}
