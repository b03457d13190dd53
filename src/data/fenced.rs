//! A backend whose folder may be taken over by another machine.
//!
//! Once the lease is overdue by this process's clock nothing is read, written or removed any more. Names of blobs are
//! random and are never used twice, so what an earlier owner still had in hand cannot meet blobs of a later one;
//! acknowledgements are up to the metadata, which names the blobs: see [`crate::lease`].
//!
//! Stores of named objects are fenced though they are elsewhere: a later write takes the place of an earlier one there, so
//! an owner that wakes up must not publish what it was about to. It looks at the clock last of all.

use std::{ops::Range, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use super::{
    BlobId, BodyHint, Browse, Capabilities, DataBackend, DataError, DiskUsage, NativeObject, NativeSource, NativeStore,
    PartToken, PutHint, Staged, Written,
};
use crate::{
    lease::{Lease, Lost},
    types::ByteStream,
};

/// A backend behind a lease.
#[derive(Clone, Debug)]
pub struct FencedBackend {
    inner: Arc<dyn DataBackend>,
    lease: Arc<Lease>,
}

impl FencedBackend {
    /// Puts a backend behind a lease that was taken before the backend was opened.
    pub fn new(inner: Arc<dyn DataBackend>, lease: Arc<Lease>) -> Self {
        Self { inner, lease }
    }

    fn check(&self) -> Result<(), DataError> {
        self.lease.check().map_err(|lost: Lost| DataError::Unavailable(lost.to_string()))
    }

    /// Does it if the lease is still there.
    fn fenced<'a, T>(
        &'a self,
        work: impl FnOnce() -> BoxFuture<'a, Result<T, DataError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, DataError>> {
        Box::pin(async move {
            self.check()?;
            work().await
        })
    }

    /// The store of named objects within, as long as the lease is there.
    fn held(&self) -> Result<&dyn NativeStore, DataError> {
        self.check()?;
        self.inner.native().ok_or_else(|| DataError::Unavailable("the store keeps no names any more".to_owned()))
    }
}

impl DataBackend for FencedBackend {
    fn reserve(&self) -> Option<BlobId> {
        self.inner.reserve()
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        Box::pin(async move {
            self.check()?;
            let written = self.inner.put(body, hint).await?;
            self.check()?;
            Ok(written)
        })
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        self.fenced(move || self.inner.get(blob, range))
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.fenced(move || self.inner.delete(blob))
    }

    fn size<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        self.fenced(move || self.inner.size(blob))
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.fenced(move || self.inner.list(after, limit))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        self.fenced(move || self.inner.probe())
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        self.inner.disk_usage()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn native(&self) -> Option<&dyn NativeStore> {
        self.inner.native().map(|_| self as &dyn NativeStore)
    }

    /// Looks only.
    fn browse(&self) -> Option<&dyn Browse> {
        self.inner.browse()
    }
}

impl NativeStore for FencedBackend {
    fn stage<'a>(
        &'a self,
        object: &'a NativeObject,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<Staged, DataError>> {
        Box::pin(async move { self.held()?.stage(object, body, hint).await })
    }

    fn stage_copy<'a>(
        &'a self,
        object: &'a NativeObject,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<Staged>, DataError>> {
        Box::pin(async move { self.held()?.stage_copy(object, source).await })
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<Written, DataError>> {
        Box::pin(async move { self.held()?.publish(staged).await })
    }

    fn find<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Option<Written>, DataError>> {
        Box::pin(async move { self.held()?.find(handle).await })
    }

    fn lateness(&self, handle: &str) -> Duration {
        self.inner.native().map_or(Duration::ZERO, |store| store.lateness(handle))
    }

    fn discard<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), DataError>> {
        Box::pin(async move { self.held()?.discard(handle).await })
    }

    fn create_upload<'a>(&'a self, object: &'a NativeObject) -> BoxFuture<'a, Result<String, DataError>> {
        Box::pin(async move { self.held()?.create_upload(object).await })
    }

    fn put_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<PartToken, DataError>> {
        Box::pin(async move { self.held()?.put_part(upload, number, body, hint).await })
    }

    fn part_there<'a>(&'a self, upload: &'a str, number: u32) -> BoxFuture<'a, Result<Option<String>, DataError>> {
        Box::pin(async move { self.held()?.part_there(upload, number).await })
    }

    fn copy_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<PartToken>, DataError>> {
        Box::pin(async move { self.held()?.copy_part(upload, number, source).await })
    }

    fn staged_upload(&self, upload: &str, parts: Vec<(u32, String)>, size: u64) -> Staged {
        match self.inner.native() {
            Some(store) => store.staged_upload(upload, parts, size),
            None => Staged { handle: upload.to_owned(), size, held: None, parts: parts.into() },
        }
    }

    fn set_tags<'a>(&'a self, blob: &'a BlobId, tags: &'a [(String, String)]) -> BoxFuture<'a, Result<(), DataError>> {
        Box::pin(async move { self.held()?.set_tags(blob, tags).await })
    }

    fn mark_deleted<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        standing: Option<&'a BlobId>,
    ) -> BoxFuture<'a, Result<Option<BlobId>, DataError>> {
        Box::pin(async move { self.held()?.mark_deleted(bucket, key, standing).await })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{
        data::{MemoryNative, conformance, memory_native::Mode},
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
