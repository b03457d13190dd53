//! The wrapper around the backend of a location that is elsewhere.

use std::{fmt, future::Future, ops::Range, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use tokio::time::timeout;

use super::{Activity, LocationHealth, Pass, activity::Watched, silent};
use crate::{
    data::{BlobId, Browse, Capabilities, DataBackend, DataError, DiskUsage, NativeStore, PutHint, Written},
    types::{BodyError, ByteStream},
};

/// A backend whose calls end in time, or are not made at all.
pub(super) struct Guarded {
    pub(super) inner: Arc<dyn DataBackend>,
    health: Arc<LocationHealth>,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Guarded {
    pub(super) fn new(inner: Arc<dyn DataBackend>, health: Arc<LocationHealth>) -> Self {
        Self { inner, health }
    }

    pub(super) fn health(&self) -> Arc<LocationHealth> {
        Arc::clone(&self.health)
    }

    /// The longest silence within a call.
    pub(super) fn answer(&self) -> Duration {
        self.health.settings.answer
    }

    /// Makes a call that carries no bytes.
    pub(super) async fn call<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        let mut pass = self.health.admit(operation).await?;
        let outcome = timeout(limit, work).await.unwrap_or_else(|_| Err(silent(limit)));
        pass.end(outcome.as_ref().err());
        outcome
    }

    /// Makes a call that takes a body.
    pub(super) async fn send<'a, T>(
        &'a self,
        operation: &'static str,
        body: ByteStream,
        work: impl FnOnce(ByteStream) -> BoxFuture<'a, Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        let mut pass = self.health.admit(operation).await?;
        let activity = Arc::new(Activity::new());
        pass.activity = Some(Arc::clone(&activity));
        let figures = self.health.figures.clone();
        let body = Watched { inner: body, activity: Arc::clone(&activity), figures }.boxed();
        let limit = self.answer();
        let outcome = activity.within(limit, work(body)).await.unwrap_or_else(|| Err(silent(limit)));
        pass.end(outcome.as_ref().err());
        outcome
    }
}

/// The bytes of a blob, each in time. The pass stays until they end: a reader takes up a call, too.
fn received(bytes: ByteStream, pass: Pass, limit: Duration) -> ByteStream {
    let next = move |state: Option<(ByteStream, Pass)>| async move {
        let (mut bytes, pass) = state?;
        let item = match timeout(limit, bytes.next()).await {
            Ok(Some(item)) => item,
            Ok(None) => {
                pass.delivered(None);
                return None;
            }
            Err(_) => Err(BodyError::Unreadable(silent(limit).to_string())),
        };
        match item {
            Ok(chunk) => {
                pass.health.figures.received(chunk.len());
                Some((Ok(chunk), Some((bytes, pass))))
            }
            Err(error) => {
                pass.delivered(Some(&DataError::Unavailable(error.to_string())));
                Some((Err(error), None))
            }
        }
    };
    stream::unfold(Some((bytes, pass)), next).boxed()
}

impl DataBackend for Guarded {
    fn reserve(&self) -> Option<BlobId> {
        self.inner.reserve()
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        self.send("put", body, |body| self.inner.put(body, hint)).boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        async move {
            let mut pass = self.health.admit("get").await?;
            let limit = self.answer();
            let outcome = timeout(limit, self.inner.get(blob, range)).await.unwrap_or_else(|_| Err(silent(limit)));
            match outcome {
                Ok(bytes) => {
                    pass.answered();
                    Ok(received(bytes, pass, limit))
                }
                Err(fault) => {
                    pass.end(Some(&fault));
                    Err(fault)
                }
            }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.call("delete", self.answer(), self.inner.delete(blob)).boxed()
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.call("list", self.answer(), self.inner.list(after, limit)).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        async move {
            if self.health.check().await {
                return Ok(());
            }
            Err(DataError::Unavailable(self.health.report().problem))
        }
        .boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        self.call("disk_usage", self.answer(), self.inner.disk_usage()).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn native(&self) -> Option<&dyn NativeStore> {
        self.inner.native().map(|_| self as &dyn NativeStore)
    }

    fn browse(&self) -> Option<&dyn Browse> {
        self.inner.browse().map(|_| self as &dyn Browse)
    }
}
