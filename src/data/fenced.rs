//! A backend whose folder may be taken over by another machine.
//!
//! Once the lease is overdue by this process's clock nothing is read, written or removed any more. Names of blobs are
//! random and are never used twice, so what an earlier owner still had in hand cannot meet blobs of a later one;
//! acknowledgements are up to the metadata, which names the blobs: see [`crate::lease`].
//!
//! Stores of named objects are fenced though they are elsewhere: a later write takes the place of an earlier one there, so
//! an owner that wakes up must not publish what it was about to. It looks at the clock last of all.

use std::sync::Arc;

use super::{
    DataBackend, DataError,
    layered::{Call, Layer, Layered},
};
use crate::lease::{Lease, Lost};

/// What keeps a backend from doing anything without its lease.
#[derive(Debug)]
pub struct Fence(Arc<Lease>);

/// A backend behind a lease.
pub type FencedBackend = Layered<Fence>;

impl FencedBackend {
    /// Puts a backend behind a lease that was taken before the backend was opened.
    pub fn new(inner: Arc<dyn DataBackend>, lease: Arc<Lease>) -> Self {
        Self::over(inner, Fence(lease))
    }
}

impl Fence {
    fn check(&self) -> Result<(), DataError> {
        self.0.check().map_err(|lost: Lost| DataError::Unavailable(lost.to_string()))
    }
}

impl Layer for Fence {
    async fn around<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        // These look at the store, and neither read nor change what is in it.
        if matches!(call, Call::DiskUsage | Call::Identity | Call::Stands | Call::IsTaken | Call::Holds) {
            return work.await;
        }
        self.check()?;
        let done = work.await?;
        if call == Call::Put {
            self.check()?;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::{
        data::{BodyHint, MemoryNative, NativeObject, conformance, memory_native::Mode},
        lease::{Contender, LeaseOptions, Step, Uptime},
        types::body,
    };

    #[derive(Debug, Default)]
    struct ManualUptime(AtomicU64);

    impl Uptime for ManualUptime {
        fn now(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    fn leased() -> (tempfile::TempDir, Arc<ManualUptime>, Arc<Lease>) {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualUptime::default()));
        let options =
            LeaseOptions { folder: folder.path().to_owned(), locks: Vec::new(), time: Duration::from_hours(1) };
        let mut contender = Contender::new(options, Arc::<ManualUptime>::clone(&clock)).unwrap();
        let Step::Owned(lease) = contender.step(|_| ()).unwrap() else { panic!("nobody else wants it") };
        (folder, clock, Arc::new(lease))
    }

    #[tokio::test]
    async fn behind_a_lease_that_is_held_a_store_keeps_every_rule_of_the_seam() {
        let (_folder, _, lease) = leased();
        for mode in [Mode::Versioned, Mode::InPlace] {
            let fenced = FencedBackend::new(Arc::new(MemoryNative::new(mode)), Arc::clone(&lease));
            conformance::suite(Arc::new(fenced)).await;
        }
    }

    #[tokio::test]
    async fn an_owner_that_wakes_up_late_publishes_and_removes_nothing() {
        let (_folder, clock, lease) = leased();
        let store = Arc::new(MemoryNative::new(Mode::InPlace));
        let fenced = FencedBackend::new(Arc::<MemoryNative>::clone(&store), lease);
        let native = fenced.native().unwrap();
        let object = NativeObject { bucket: "b".to_owned(), key: "k".to_owned(), ..NativeObject::default() };
        let stage = async |bytes: &'static [u8]| {
            native.stage(&object, body::once(bytes.into()), BodyHint::default()).await.unwrap()
        };
        let (first, second) = (stage(b"published in time").await, stage(b"about to be published").await);
        let blob = native.publish(&first).await.unwrap().blob;
        clock.0.store(3600, Ordering::SeqCst);
        let unavailable = |error: DataError| assert!(matches!(error, DataError::Unavailable(_)), "{error:?}");
        unavailable(native.publish(&second).await.unwrap_err());
        unavailable(native.mark_deleted("b", "k", None).await.unwrap_err());
        unavailable(native.discard(&second.handle).await.unwrap_err());
        unavailable(fenced.delete(&blob).await.unwrap_err());
        assert_eq!(store.seen("b/k").unwrap().1, "published in time");
        assert_eq!(store.unfinished(), 1);
    }
}
