//! Time and randomness, passed by argument so that tests own them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::types::{Timestamp, UploadId, VersionId};

/// Where wall-clock time comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands where a test puts it.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock at `time`.
    pub fn at(time: Timestamp) -> Self {
        Self(AtomicU64::new(time.as_millis()))
    }

    /// Moves the clock, forwards or backwards.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Makes identifiers: stamps that only grow, and random bytes.
#[derive(Clone, Debug)]
pub struct Identifiers {
    clock: Arc<dyn Clock>,
    last: Arc<AtomicU64>,
    group: [u8; 7],
}

/// Stamps count millionths of a millisecond.
const STAMPS_PER_MILLI: u64 = 1_000_000;

impl Identifiers {
    /// Identifiers whose version ids end in `group`, cut or padded with spaces to seven bytes.
    pub fn new(clock: Arc<dyn Clock>, group: &str) -> Self {
        let mut padded = [b' '; 7];
        for (slot, byte) in padded.iter_mut().zip(group.bytes()) {
            *slot = byte;
        }
        Self { clock, last: Arc::default(), group: padded }
    }

    /// A version id greater than every earlier one of this process and than `after`, even if the clock steps back.
    pub fn version_id(&self, after: Option<VersionId>) -> VersionId {
        let floor = after.map_or(0, |id| id.stamp().saturating_add(1));
        let now = self.clock.now().as_millis().saturating_mul(STAMPS_PER_MILLI).max(floor);
        let mut stamp = now;
        // `fetch_update` returns the old value; the stamp taken is the one the closure computed last.
        let taken = self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| {
            stamp = now.max(last.saturating_add(1));
            Some(stamp)
        });
        VersionId::new(taken.map_or(stamp, |_| stamp), self.group)
    }

    /// Random bytes from the operating system.
    ///
    /// Where the system has none left to give, the bytes come from the growing stamps: unique, not secret.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        if getrandom::fill(&mut bytes).is_err() {
            let stamp = self.version_id(None).stamp().to_be_bytes();
            for (slot, byte) in bytes.iter_mut().zip(stamp.iter().cycle()) {
                *slot = *byte;
            }
        }
        bytes
    }

    /// A fresh upload id: six bytes of milliseconds, so that ids sort by initiation, and ten random ones.
    pub fn upload_id(&self) -> UploadId {
        let mut bytes: [u8; 16] = self.random();
        let millis = self.clock.now().as_millis().to_be_bytes();
        for (slot, byte) in bytes.iter_mut().zip(millis.iter().skip(2)) {
            *slot = *byte;
        }
        UploadId::from_bytes(bytes)
    }

    /// A fresh key for a body kept in metadata: growing, so that bodies are appended, and unguessable enough.
    pub fn body_id(&self) -> [u8; 12] {
        let mut bytes: [u8; 12] = self.random();
        for (slot, byte) in bytes.iter_mut().zip(self.version_id(None).stamp().to_be_bytes()) {
            *slot = byte;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_ids_grow_though_the_clock_steps_back() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1000)));
        let ids = Identifiers::new(Arc::<ManualClock>::clone(&clock), "RG001");
        let first = ids.version_id(None);
        clock.set(Timestamp::from_secs(10));
        let second = ids.version_id(None);
        assert!(second > first);
        let foreign = VersionId::new(u64::MAX / 2, *b"OTHER  ");
        assert!(ids.version_id(Some(foreign)) > foreign);
    }
}
