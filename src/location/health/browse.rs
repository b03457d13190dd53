//! The wrapper, for stores in which others put objects, too.

use std::time::Duration;

use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::time::timeout;

use super::{Pass, guard::Guarded, silent};
use crate::data::{BlobId, Browse, DataError, Expected, Found};

fn closed() -> DataError {
    DataError::Unavailable("others put no objects into the store any more".to_owned())
}

impl Guarded {
    fn browsed(&self) -> Result<&dyn Browse, DataError> {
        self.inner.browse().ok_or_else(closed)
    }
}

/// The end of a walk, whether or not anything was found before it.
fn over(pass: &mut Pass, fault: Option<&DataError>) {
    if pass.is_over {
        pass.delivered(fault);
    } else {
        pass.end(fault);
    }
}

/// What is found, each in time. The pass stays until the walk ends.
fn walked(
    found: BoxStream<'static, Result<Found, DataError>>,
    pass: Pass,
    limit: Duration,
) -> BoxStream<'static, Result<Found, DataError>> {
    let next = move |state: Option<(BoxStream<'static, Result<Found, DataError>>, Pass)>| async move {
        let (mut found, mut pass) = state?;
        let item = timeout(limit, found.next()).await.unwrap_or_else(|_| Some(Err(silent(limit))));
        match item {
            Some(Ok(item)) => {
                // Whoever stops from here on was not kept waiting.
                if !pass.is_over {
                    pass.answered();
                }
                Some((Ok(item), Some((found, pass))))
            }
            Some(Err(error)) => {
                over(&mut pass, Some(&error));
                Some((Err(error), None))
            }
            None => {
                over(&mut pass, None);
                None
            }
        }
    };
    stream::unfold(Some((found, pass)), next).boxed()
}

impl Browse for Guarded {
    fn identity(&self) -> BoxFuture<'_, Result<String, DataError>> {
        async move { self.call("identity", self.answer(), self.browsed()?.identity()).await }.boxed()
    }

    fn require(&self, expected: Expected) {
        if let Some(store) = self.inner.browse() {
            store.require(expected);
        }
    }

    fn walk(&self, bucket: &str) -> BoxStream<'static, Result<Found, DataError>> {
        let Some(store) = self.inner.browse() else {
            return stream::once(std::future::ready(Err(closed()))).boxed();
        };
        let (found, health, limit) = (store.walk(bucket), self.health(), self.answer());
        let begun = async move { health.admit("walk").await.map(|pass| walked(found, pass, limit)) };
        stream::once(begun).try_flatten().boxed()
    }

    fn is_same(&self, known: &BlobId, found: &BlobId) -> bool {
        self.inner.browse().is_some_and(|store| store.is_same(known, found))
    }

    fn stands<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>> {
        async move { self.call("stands", self.answer(), self.browsed()?.stands(blob)).await }.boxed()
    }

    fn is_taken<'a>(&'a self, bucket: &'a str, key: &'a str) -> BoxFuture<'a, Result<bool, DataError>> {
        async move { self.call("is_taken", self.answer(), self.browsed()?.is_taken(bucket, key)).await }.boxed()
    }

    fn holds<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>> {
        async move { self.call("holds", self.answer(), self.browsed()?.holds(blob)).await }.boxed()
    }
}
