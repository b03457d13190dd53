//! What a request that was given up may have left at the far side.

use std::sync::Arc;

use super::{Far, pause};

/// Times that something is tried to be removed.
const ATTEMPTS: u32 = 5;

/// Removes what is under way when it is dropped, unless it was told not to.
pub(super) struct Undo {
    far: Arc<Far>,
    what: Option<What>,
}

enum What {
    Upload { key: String, upload: String },
    Write { key: String, write: String },
}

impl Undo {
    pub(super) fn upload(far: &Arc<Far>, key: &str, upload: &str) -> Self {
        let what = What::Upload { key: key.to_owned(), upload: upload.to_owned() };
        Self { far: Arc::clone(far), what: Some(what) }
    }

    pub(super) fn write(far: &Arc<Far>, key: &str, write: &str) -> Self {
        let what = What::Write { key: key.to_owned(), write: write.to_owned() };
        Self { far: Arc::clone(far), what: Some(what) }
    }

    /// It shall stay.
    pub(super) fn keep(mut self) {
        self.what = None;
    }

    /// It shall go, and that is waited for once; what fails is tried again behind the scenes.
    pub(super) async fn now(mut self) {
        let Some(what) = self.what.take() else { return };
        if !remove(&self.far, &what).await {
            self.what = Some(what);
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and a rule of the far bucket must do it.
        let (Some(what), Ok(_)) = (self.what.take(), tokio::runtime::Handle::try_current()) else { return };
        let far = Arc::clone(&self.far);
        self.far.tasks.spawn("undo far write", async move {
            for attempt in 0..ATTEMPTS {
                // What was given up may still be arriving.
                tokio::time::sleep(pause(attempt)).await;
                if remove(&far, &what).await {
                    return;
                }
            }
            tracing::warn!(bucket = far.bucket(), "an unfinished write could not be removed at the far side");
        });
    }
}

async fn remove(far: &Far, what: &What) -> bool {
    match what {
        What::Upload { key, upload } => far.client.abort_multipart_upload(far.bucket(), key, upload).await.is_ok(),
        What::Write { key, write } => far.forget(key, write).await.is_ok(),
    }
}
