//! Many at once: whatever they do, the store is whole afterwards.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{
    audit::audit,
    probe::Probe,
    world::{Dice, World, listed, listing_of},
};
use crate::{
    metadata::MetadataStore,
    storage::{
        Bucket, CompleteRequest, StorageError, WriteCondition,
        listing::ListQuery,
        records::{Pair, Versioning},
    },
    types::{BucketName, UploadId, VersionSelector},
};

async fn joined<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut outcomes = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        outcomes.push(outcome.unwrap());
    }
    outcomes
}

/// Fifty clients that set a bucket's access control list at the same time all succeed (s3-tests), and no change is lost.
#[tokio::test]
async fn no_change_of_a_buckets_settings_is_refused_or_lost_because_of_others() {
    let world = Arc::new(World::over(Probe::slow(Duration::from_millis(1))));
    let bucket = world.bucket("changed", Versioning::Unversioned).await;
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let (world, bucket) = (Arc::clone(&world), Arc::clone(&bucket));
        tasks.spawn(async move {
            let tag = Pair { name: format!("tag{number}"), value: String::new() };
            world.storage.update_bucket(&bucket.name, |record| record.tags.push(tag.clone())).await
        });
    }
    for outcome in joined(tasks).await {
        outcome.unwrap();
    }
    assert_eq!(world.storage.bucket(&bucket.name).await.unwrap().record.tags.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_is_completed_or_aborted_once_whoever_else_tries() {
    let world = Arc::new(World::over(Probe::yielding()));
    let bucket = world.bucket("raced", Versioning::Enabled).await;
    let (old, new): (&[u8], &[u8]) = (b"the part as listed", b"the part, put again");
    for round in 0..150 {
        let key = format!("key{round}");
        let id = world.create_upload(&bucket, &key).await;
        world.put_part(&bucket, &key, id, (1, old)).await.unwrap();
        world.put_part(&bucket, &key, id, (2, b"the last part")).await.unwrap();
        let mut tasks = JoinSet::new();
        for racer in 0..6 {
            let (world, bucket, key) = (Arc::clone(&world), Arc::clone(&bucket), key.clone());
            tasks.spawn(async move {
                match racer {
                    0..3 => {
                        let done = world.complete(&bucket, &key, id, &listing_of(&[old, b"the last part"])).await;
                        done.map(|record| Some(record.version_id()))
                    }
                    3 => world.abort(&bucket, &key, id).await.map(|()| None),
                    4 => world.put_part(&bucket, &key, id, (1, new)).await.map(|_| None),
                    _ => world.put_part(&bucket, &key, id, (3, b"a part nobody lists")).await.map(|_| None),
                }
                .map_err(|error| (racer, error))
            });
        }
        let outcomes = joined(tasks).await;
        for outcome in &outcomes {
            match outcome {
                Ok(_) | Err((_, StorageError::NoSuchUpload) | (0..3, StorageError::InvalidPart { number: 1, .. })) => {}
                Err(other) => panic!("round {round}: {other:?}"),
            }
        }
        let mut completed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()?).collect();
        completed.dedup();
        assert!(completed.len() <= 1, "every completion gives the same version");
        match world.get(&bucket, &key, None).await {
            Ok(bytes) => {
                assert_eq!(bytes, [old, b"the last part"].concat());
                assert_eq!(completed.len(), 1);
                let open = world.abort(&bucket, &key, id).await;
                assert!(matches!(open, Err(StorageError::NoSuchUpload)));
            }
            Err(StorageError::NoSuchKey(None)) => assert_eq!(completed, []),
            Err(other) => panic!("{other}"),
        }
        // Where the part was put again in time, and no abort came through, the upload is still open.
        drop(world.abort(&bucket, &key, id).await);
    }
    world.drain().await;
    assert_eq!(world.storage.usage(&bucket).await.unwrap().upload_bytes, 0);
    audit(&world, &[&bucket], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_one_part_all_succeed_and_the_last_to_finish_wins() {
    let world = Arc::new(World::over(Probe::yielding()));
    let bucket = world.bucket("raced", Versioning::Unversioned).await;
    let id = world.create_upload(&bucket, "key").await;
    let mut tasks = JoinSet::new();
    for writer in 0..48 {
        let (world, bucket) = (Arc::clone(&world), Arc::clone(&bucket));
        tasks.spawn(async move {
            let body = format!("writer {writer}, at some length");
            world.put_part(&bucket, "key", id, (1, body.as_bytes())).await.map(|part| part.etag())
        });
    }
    let tags: Vec<_> = joined(tasks).await.into_iter().map(Result::unwrap).collect();
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
    let key = crate::types::ObjectKey::new("key").unwrap();
    let parts = world.storage.list_parts(&bucket, &key, id, 0, 10).await.unwrap().parts;
    assert!(parts.len() == 1 && tags.contains(&parts[0].1.etag()));
}

type Parts = Vec<(u16, Vec<u8>)>;

/// What one of many does to a few keys.
struct Actor {
    world: Arc<World>,
    name: BucketName,
    dice: Dice,
    changes_state: bool,
    /// Key, id, and what the parts hold.
    uploads: Vec<(String, UploadId, Parts)>,
}

impl Actor {
    fn key(&mut self) -> String {
        format!("key{}", self.dice.roll(4))
    }

    fn body(&mut self) -> Vec<u8> {
        let length = [0, 1, 6, 9, 40][usize::try_from(self.dice.roll(5)).unwrap()];
        (0..length).map(|_| b'a' + u8::try_from(self.dice.roll(26)).unwrap()).collect()
    }

    async fn act(&mut self) -> Result<(), StorageError> {
        let bucket = self.world.storage.bucket(&self.name).await?;
        let world = Arc::clone(&self.world);
        let key = self.key();
        match self.dice.roll(16) {
            0..4 => drop(world.put_if(&bucket, &key, &self.body(), WriteCondition::Always).await?),
            4..6 => {
                world.delete(&bucket, &key, None).await?;
            }
            6..8 => {
                let query = ListQuery { limit: 1000, ..ListQuery::default() };
                let page = world.storage.list_versions(&bucket, &query).await?;
                let rows: Vec<_> = page.items().collect();
                let Some(row) = self.dice.pick(&rows) else { return Ok(()) };
                let id = row.record.version_id();
                let selector = if row.record.is_null { VersionSelector::Null } else { VersionSelector::Id(id) };
                world.delete(&bucket, &row.key, Some(selector)).await?;
            }
            8 if self.changes_state => {
                let states = [Versioning::Enabled, Versioning::Suspended];
                let state = *self.dice.pick(&states).unwrap();
                world.storage.update_bucket(&self.name, |record| record.set_state(state)).await?;
            }
            8 | 9 => {
                let id = world.storage.create_upload(world.new_upload(&bucket, &key)).await?;
                self.uploads.push((key, id, Vec::new()));
            }
            10..13 => {
                let body = self.body();
                let number = u16::try_from(self.dice.roll(20)).unwrap() + 1;
                let Some((key, id, parts)) = self.uploads.last_mut() else { return Ok(()) };
                world.put_part(&bucket, key, *id, (number, &body)).await?;
                parts.retain(|(known, _)| *known != number);
                parts.push((number, body));
            }
            13 => return self.complete(&bucket).await,
            14 => {
                let Some((key, id, _)) = self.uploads.pop() else { return Ok(()) };
                world.abort(&bucket, &key, id).await?;
            }
            _ => drop(world.storage.collect_garbage().await?),
        }
        Ok(())
    }

    async fn complete(&mut self, bucket: &Arc<Bucket>) -> Result<(), StorageError> {
        let Some((key, id, mut parts)) = self.uploads.pop() else { return Ok(()) };
        parts.sort();
        let parts = parts.iter().filter(|(_, body)| body.len() > 4);
        let parts = parts.map(|(number, body)| listed(*number, body)).collect();
        let request = CompleteRequest { parts, ..CompleteRequest::default() };
        self.world.complete(bucket, &key, id, &request).await.map(drop)
    }
}

/// Lets actors of these worlds act on one bucket, then looks for what is left over.
async fn play(worlds: &[Arc<World>], seed: u64, versioning: Versioning) {
    let world = &worlds[0];
    let bucket = world.bucket("crowded", versioning).await;
    let mut tasks = JoinSet::new();
    for actor in 0..8 {
        let (world, name) = (Arc::clone(&worlds[actor % worlds.len()]), bucket.name.clone());
        let changes_state = versioning != Versioning::Unversioned && worlds.len() == 1;
        let dice = Dice::new(seed * 100 + actor as u64);
        let mut actor = Actor { world, name, dice, changes_state, uploads: Vec::new() };
        tasks.spawn(async move {
            for _ in 0..60 {
                match actor.act().await {
                    Ok(()) | Err(StorageError::NoSuchUpload | StorageError::InvalidCompletion(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    joined(tasks).await;
    for world in worlds {
        world.drain().await;
    }
    audit(world, &[&world.storage.bucket(&bucket.name).await.unwrap()], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_left_over_or_miscounted_after_random_concurrent_operations() {
    for seed in 0..12 {
        let world = Arc::new(World::over(Probe::yielding()));
        play(&[world], seed, Versioning::Enabled).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_conditions_of_the_batches_alone_keep_the_rules() {
    if super::MODE.is_some() {
        // Only one engine at a time publishes in such a store.
        return;
    }
    // Two engines over one store share no lock.
    for seed in 0..12 {
        for versioning in [Versioning::Unversioned, Versioning::Enabled, Versioning::Suspended] {
            let store: Arc<dyn MetadataStore> = Probe::yielding();
            let worlds = World::twins(&store);
            play(&worlds.map(Arc::new), seed, versioning).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_marker_over_a_marker_is_noticed_by_a_writer_elsewhere() {
    if super::MODE.is_some() {
        // Only one engine at a time publishes in such a store.
        return;
    }
    let worlds = World::twins(&(Probe::yielding() as Arc<dyn MetadataStore>)).map(Arc::new);
    let bucket = worlds[0].bucket("crowded", Versioning::Enabled).await;
    for round in 0..300 {
        let key = format!("key{round}");
        worlds[0].delete(&bucket, &key, None).await.unwrap();
        let mut tasks = JoinSet::new();
        for (number, world) in worlds.iter().cycle().take(6).enumerate() {
            let (world, bucket, key) = (Arc::clone(world), Arc::clone(&bucket), key.clone());
            tasks.spawn(async move {
                if number < 2 {
                    world.put(&bucket, &key, b"a version").await;
                } else {
                    world.delete(&bucket, &key, None).await.unwrap();
                }
            });
        }
        joined(tasks).await;
    }
    worlds[0].drain().await;
    audit(&worlds[0], &[&bucket], &[]).await;
}
