//! Views that fronts hold open.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::StatusCode;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{metadata::MetadataView, modules::answer::Fault};

/// Views at a time. Each keeps old versions of what changes since.
const MOST_VIEWS: usize = 1024;
/// A view that nobody used for so long is closed: whoever held it is gone.
const LONGEST_SILENCE: Duration = Duration::from_mins(2);

/// Open views by name.
#[derive(Debug)]
pub(super) struct Views {
    open: Mutex<HashMap<String, Open>>,
    silence: Duration,
}

#[derive(Debug)]
struct Open {
    view: Arc<dyn MetadataView>,
    used: Instant,
}

impl Default for Views {
    fn default() -> Self {
        Self { open: Mutex::default(), silence: LONGEST_SILENCE }
    }
}

impl Views {
    /// Keeps a view; answers with its name.
    pub(super) fn open(&self, view: Arc<dyn MetadataView>) -> Result<String, Fault> {
        let unavailable = |why: String| Fault::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", why);
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| unavailable(error.to_string()))?;
        let name = hex::encode(random);
        let mut views = self.open.lock();
        views.retain(|_, open| open.used.elapsed() < self.silence);
        if views.len() >= MOST_VIEWS {
            return Err(unavailable("too many views are open".to_owned()));
        }
        views.insert(name.clone(), Open { view, used: Instant::now() });
        Ok(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<dyn MetadataView>> {
        let mut views = self.open.lock();
        let open = views.get_mut(name)?;
        open.used = Instant::now();
        Some(Arc::clone(&open.view))
    }

    pub(super) fn close(&self, name: &str) {
        let closed = self.open.lock().remove(name);
        // Outside of the lock: a store may have to clear up behind its view.
        drop(closed);
    }

    pub(super) fn count(&self) -> usize {
        self.open.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{MemoryStore, MetadataStore};

    #[tokio::test]
    async fn views_end_when_closed_or_forgotten() {
        let (store, views) = (MemoryStore::new(), Views { silence: Duration::from_secs(2), ..Views::default() });
        let open = async || views.open(store.snapshot().await.unwrap()).unwrap();
        let (one, two) = (open().await, open().await);
        views.close(&one);
        assert!(views.get(&one).is_none() && views.get(&two).is_some());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(views.get(&two).is_some(), "nobody looked for it meanwhile");
        let three = open().await;
        assert!(views.get(&two).is_some(), "it was used just now");
        tokio::time::sleep(Duration::from_secs(3)).await;
        open().await;
        assert!(views.get(&two).is_none() && views.get(&three).is_none());
        assert_eq!(views.count(), 1);
    }
}
