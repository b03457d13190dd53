//! Who keeps whom waiting while a body goes out: the client's slowness is not the location's.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::{
    telemetry::metrics::LocationFigures,
    types::{BodyError, ByteStream},
};

/// When the location moved last, and whether it waits for the client now.
#[derive(Debug)]
pub(super) struct Activity(Mutex<Moved>);

#[derive(Clone, Copy, Debug)]
struct Moved {
    last: Instant,
    waits_for_client: bool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Moved { last: Instant::now(), waits_for_client: false }))
    }

    fn moved(&self, waits_for_client: bool) {
        *self.0.lock() = Moved { last: Instant::now(), waits_for_client };
    }

    /// How long the location has kept its caller waiting.
    pub(super) fn waited(&self) -> Duration {
        let moved = *self.0.lock();
        if moved.waits_for_client { Duration::ZERO } else { moved.last.elapsed() }
    }

    /// The outcome of `work`, unless the location is silent for `limit`.
    pub(super) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T> + Send) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let left = limit.saturating_sub(self.waited());
            if left.is_zero() {
                return None;
            }
            if let Ok(outcome) = timeout(left, work.as_mut()).await {
                return Some(outcome);
            }
        }
    }
}

/// A body that tells when its reader takes from it.
pub(super) struct Watched {
    pub(super) inner: ByteStream,
    pub(super) activity: Arc<Activity>,
    pub(super) figures: LocationFigures,
}

impl Stream for Watched {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.inner.as_mut().poll_next(cx);
        self.activity.moved(item.is_pending());
        if let Poll::Ready(Some(Ok(chunk))) = &item {
            self.figures.sent(chunk.len());
        }
        item
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Whatever the location does from now on, it does not wait for the client.
        self.activity.moved(false);
    }
}
