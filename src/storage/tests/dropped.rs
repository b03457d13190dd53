//! Callers that go away while their batch waits: it happens or not, and what it left is right either way.

use std::{sync::Arc, task::Poll};

use futures_util::{future::BoxFuture, poll};
use parking_lot::Mutex;

use super::{
    audit::audit,
    world::{World, listing_of},
};
use crate::{
    metadata::{
        Batch, MemoryStore, MetadataError, MetadataStore,
        layered::{Call, Layer, Layered},
    },
    storage::{StorageError, WriteCondition, records::Versioning},
};

/// Commits that wait, once they are told so, and happen though nobody waits for them.
#[derive(Debug, Default)]
struct Waiting(Mutex<Option<Vec<Batch>>>);

type Late = Layered<Waiting>;

impl Late {
    fn hold(&self) {
        *self.layer().0.lock() = Some(Vec::new());
    }

    /// Commits what waits, or forgets it, and what comes later happens at once again.
    async fn release(&self, happens: bool) {
        let waiting = self.layer().0.lock().take().unwrap();
        assert!(!waiting.is_empty());
        for batch in waiting.into_iter().filter(|_| happens) {
            self.inner().commit(batch).await.unwrap();
        }
    }
}

impl Waiting {
    /// Puts a batch aside; gives it back where it is to happen at once.
    fn keep(&self, batch: Batch) -> Option<Batch> {
        match &mut *self.0.lock() {
            // A note of a blob under way is no news to anybody.
            Some(waiting) if !batch.conditions.is_empty() => waiting.push(batch),
            _ => return Some(batch),
        }
        None
    }
}

impl Layer for Waiting {
    async fn around<T: Send>(
        &self,
        _: Call,
        work: BoxFuture<'_, Result<T, MetadataError>>,
    ) -> Result<T, MetadataError> {
        work.await
    }

    async fn commit(&self, inner: &dyn MetadataStore, batch: Batch) -> Result<(), MetadataError> {
        match self.keep(batch) {
            Some(batch) => inner.commit(batch).await,
            None => std::future::pending().await,
        }
    }
}

/// Runs the future until it waits for its commit, and drops it.
async fn dropped<T>(future: impl Future<Output = T>) {
    let mut future = Box::pin(future);
    for _ in 0..10 {
        assert!(matches!(poll!(future.as_mut()), Poll::Pending));
        tokio::task::yield_now().await;
    }
}

fn world() -> (World, Arc<Late>) {
    let late = Arc::new(Late::over(Arc::new(MemoryStore::new()), Waiting::default()));
    (World::over(Arc::<Late>::clone(&late)), late)
}

#[tokio::test]
async fn nobody_keeps_a_bucket_as_it_was_before_a_change_whose_caller_went_away() {
    for happens in [true, false] {
        let (world, late) = world();
        let bucket = world.bucket("changed", Versioning::Unversioned).await;
        late.hold();
        dropped(world.storage.update_bucket(&bucket.name, |record| record.set_state(Versioning::Enabled))).await;
        assert_eq!(world.storage.bucket(&bucket.name).await.unwrap().versioning(), Versioning::Unversioned);
        late.release(happens).await;
        let expected = if happens { Versioning::Enabled } else { Versioning::Unversioned };
        assert_eq!(world.storage.bucket(&bucket.name).await.unwrap().versioning(), expected);
        late.hold();
        dropped(world.storage.delete_bucket(&bucket.name)).await;
        world.storage.bucket(&bucket.name).await.unwrap();
        late.release(happens).await;
        let gone = matches!(world.storage.bucket(&bucket.name).await, Err(StorageError::NoSuchBucket));
        assert_eq!(gone, happens);
    }
}

#[tokio::test]
async fn a_write_whose_caller_went_away_happened_wholly_or_leaves_nothing_after_a_restart() {
    for happens in [true, false] {
        let (world, late) = world();
        let bucket = world.bucket("changed", Versioning::Unversioned).await;
        world.put(&bucket, "key", b"old, a blob of some bytes").await;
        let id = world.create_upload(&bucket, "parts").await;
        world.put_part(&bucket, "parts", id, (1, b"the first, a blob")).await.unwrap();
        late.hold();
        dropped(Box::pin(world.put_if(&bucket, "key", b"new, a blob of some bytes", WriteCondition::Always))).await;
        dropped(world.put_part(&bucket, "parts", id, (2, b"the second, a blob"))).await;
        late.release(happens).await;
        late.hold();
        let bodies: [&[u8]; 2] = [b"the first, a blob", b"the second, a blob"];
        let list = listing_of(if happens { &bodies } else { &bodies[..1] });
        dropped(Box::pin(world.complete(&bucket, "parts", id, &list))).await;
        late.release(happens).await;
        // While the outcome is open, its bytes are no garbage; the engine that comes next knows.
        world.storage.collect_garbage().await.unwrap();
        let world = world.restarted();
        assert_eq!(world.storage.recover().await.unwrap(), if happens { 0 } else { 2 });
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
        let expected: &[u8] = if happens { b"new, a blob of some bytes" } else { b"old, a blob of some bytes" };
        assert_eq!(world.get(&bucket, "key", None).await.unwrap(), expected);
        assert_eq!(world.get(&bucket, "parts", None).await.is_ok(), happens);
        world.complete(&bucket, "parts", id, &list).await.unwrap();
        assert_eq!(world.get(&bucket, "parts", None).await.unwrap().len(), if happens { 35 } else { 17 });
    }
}
