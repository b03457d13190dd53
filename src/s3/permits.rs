//! A limit on what one access key may have under way, so that no client takes the server for itself.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use pin_project_lite::pin_project;

use super::ResponseBody;
use crate::types::BodyError;

/// Counts requests under way by access key. Clones share the counts.
#[derive(Clone, Debug)]
pub(super) struct KeyPermits {
    limit: usize,
    busy: Arc<Mutex<HashMap<Arc<str>, usize>>>,
}

/// One request of a key. Its drop gives the place back.
#[derive(Debug)]
pub(super) struct KeyPermit {
    key: Arc<str>,
    busy: Arc<Mutex<HashMap<Arc<str>, usize>>>,
}

impl KeyPermits {
    /// At most `limit` requests of one key at a time.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, busy: Arc::default() }
    }

    /// A place for a request of `key`; `None` where all are taken.
    pub(super) fn take(&self, key: &Arc<str>) -> Option<KeyPermit> {
        let mut busy = self.busy.lock();
        let count = busy.entry(Arc::clone(key)).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(KeyPermit { key: Arc::clone(key), busy: Arc::clone(&self.busy) })
    }
}

impl Drop for KeyPermit {
    fn drop(&mut self) {
        let mut busy = self.busy.lock();
        if let Some(count) = busy.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.key);
            }
        }
    }
}

pin_project! {
    /// A body that keeps its request's place until it is sent, or dropped.
    struct Held {
        #[pin]
        body: ResponseBody,
        permit: KeyPermit,
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Ties a permit to a body. One that is sent in one piece needs none.
pub(super) fn hold(body: ResponseBody, permit: KeyPermit) -> ResponseBody {
    if body.size_hint().exact().is_some() {
        return body;
    }
    Held { body, permit }.boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_places_and_gets_them_back() {
        let permits = KeyPermits::new(2);
        let (bart, lisa): (Arc<str>, Arc<str>) = ("bart".into(), "lisa".into());
        let first = permits.take(&bart);
        let second = permits.take(&bart);
        assert!(first.is_some() && second.is_some());
        assert!(permits.take(&bart).is_none());
        assert!(permits.take(&lisa).is_some());
        drop(first);
        assert!(permits.take(&bart).is_some());
        drop(second);
        assert!(permits.busy.lock().is_empty());
    }
}
