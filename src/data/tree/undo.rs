//! What a put that was given up may have left at the store.

use std::{sync::Arc, time::Duration};

use super::{super::name::BlobName, Inner};

/// Times that something is tried to be removed.
const ATTEMPTS: u32 = 5;
/// After this much time it is removed once more: what was given up may still have been arriving.
const LATE: Duration = Duration::from_secs(2);

/// Removes the files of a put when it is dropped, unless it was told not to.
pub(super) struct Undo {
    inner: Arc<Inner>,
    name: Option<BlobName>,
    /// The blob may have its name already.
    named: bool,
}

impl Undo {
    pub(super) fn new(inner: &Arc<Inner>, name: BlobName) -> Self {
        Self { inner: Arc::clone(inner), name: Some(name), named: false }
    }

    pub(super) const fn may_be_named(&mut self) {
        self.named = true;
    }

    pub(super) const fn is_not_named(&mut self) {
        self.named = false;
    }

    /// They shall stay.
    pub(super) fn keep(mut self) {
        self.name = None;
    }

    /// They shall go, and that is waited for once. What fails is tried again behind the scenes, and what was still
    /// arriving goes there.
    pub(super) async fn now(self) {
        if let Some(name) = self.name
            && let Err(error) = self.inner.forget(name, self.named).await
        {
            tracing::debug!(%name, %error, "an unfinished blob stays for now");
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and whoever reserved the name deletes it at the next start.
        let (Some(name), Ok(_)) = (self.name.take(), tokio::runtime::Handle::try_current()) else { return };
        let (inner, named) = (Arc::clone(&self.inner), self.named);
        self.inner.tasks.spawn("undo put", async move {
            for attempt in 1..=ATTEMPTS {
                if inner.forget(name, named).await.is_ok() {
                    tokio::time::sleep(LATE).await;
                    if inner.forget(name, named).await.is_ok() {
                        return;
                    }
                }
                tokio::time::sleep(inner.retry.pause(attempt)).await;
            }
            tracing::warn!(%name, "an unfinished blob could not be removed from its store");
        });
    }
}
