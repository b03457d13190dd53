//! Readers keep their bytes to the end.

use std::sync::Arc;

use futures_util::StreamExt;

use super::{
    audit::audit,
    world::{World, listing_of},
};
use crate::{
    storage::{Bucket, StorageError, records::Versioning},
    types::{ByteStream, ObjectKey},
};

const KEY: &str = "read";

/// Bodies of parts, some of them inline.
fn parts(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| if n % 3 == 0 { b"small".to_vec() } else { format!("the {n}th part").into_bytes() }).collect()
}

/// An object of so many parts; of one piece for 0.
async fn stored(world: &World, bucket: &Arc<Bucket>, count: usize) -> Vec<u8> {
    if count == 0 {
        world.put(bucket, KEY, b"a single blob of some bytes").await;
        return b"a single blob of some bytes".to_vec();
    }
    let parts = parts(count);
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    world.multipart(bucket, KEY, &slices).await;
    parts.concat()
}

/// A reader that has read its first slice.
async fn started(world: &World, bucket: &Arc<Bucket>) -> (Vec<u8>, ByteStream) {
    let key = ObjectKey::new(KEY).unwrap();
    let record = world.storage.version(bucket, &key, None).await.unwrap();
    let mut stream = world.storage.open(bucket, &key, &record, 0..record.size).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    (first.to_vec(), stream)
}

async fn finished((mut read, mut stream): (Vec<u8>, ByteStream)) -> Vec<u8> {
    while let Some(slice) = stream.next().await {
        read.extend_from_slice(&slice.unwrap());
    }
    read
}

/// 1 where a reader of so many parts opens blobs as it goes: what lies in one blob is opened once.
fn opened_one_by_one(world: &World, count: usize) -> usize {
    usize::from(count > 1 && !world.backend.is_native())
}

#[tokio::test]
async fn a_reader_keeps_the_old_bytes_while_its_object_is_replaced_and_garbage_goes() {
    for count in [0, 1, 5, 16, 17, 150] {
        let world = World::new();
        let bucket = world.bucket("read", Versioning::Unversioned).await;
        let whole = stored(&world, &bucket, count).await;
        let reader = started(&world, &bucket).await;
        world.put(&bucket, KEY, b"new bytes, a blob as well").await;
        let report = world.storage.collect_garbage().await.unwrap();
        assert_eq!(report.in_use, opened_one_by_one(&world, count), "{count} parts");
        assert_eq!(finished(reader).await, whole, "{count} parts");
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
        assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), "new bytes, a blob as well");
    }
}

#[tokio::test]
async fn a_reader_keeps_the_old_bytes_while_its_bucket_is_deleted() {
    for count in [5, 17] {
        let world = World::new();
        let bucket = world.bucket("read", Versioning::Unversioned).await;
        let whole = stored(&world, &bucket, count).await;
        let reader = started(&world, &bucket).await;
        world.delete(&bucket, KEY, None).await.unwrap();
        world.storage.delete_bucket(&bucket.name).await.unwrap();
        assert_eq!(world.storage.collect_garbage().await.unwrap().in_use, 2 * opened_one_by_one(&world, count));
        assert_eq!(finished(reader).await, whole, "{count} parts");
        world.drain().await;
        audit(&world, &[], &[bucket.id]).await;
        assert_eq!(world.backend.blobs().await, []);
    }
}

#[tokio::test]
async fn a_reader_that_comes_after_the_garbage_worker_is_told_to_read_again() {
    for count in [0, 2, 17] {
        let world = World::new();
        let bucket = world.bucket("read", Versioning::Unversioned).await;
        let key = ObjectKey::new(KEY).unwrap();
        stored(&world, &bucket, count).await;
        let record = world.storage.version(&bucket, &key, None).await.unwrap();
        world.put(&bucket, KEY, b"new").await;
        if count == 0 || world.backend.is_native() {
            world.drain().await;
        }
        let opened = world.storage.open(&bucket, &key, &record, 0..record.size).await;
        assert!(matches!(opened, Err(StorageError::Vanished)), "{count} parts");
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
}

#[tokio::test]
async fn bytes_that_nobody_names_go_when_their_writer_goes() {
    let world = World::new();
    let bucket = world.bucket("read", Versioning::Unversioned).await;
    let id = world.create_upload(&bucket, KEY).await;
    let mut body = super::world::incoming(b"a body that is never read to its end");
    body.stream =
        futures_util::stream::once(async { Ok(vec![0; 100].into()) }).chain(futures_util::stream::pending()).boxed();
    body.length = None;
    let key = ObjectKey::new(KEY).unwrap();
    let part = world.storage.put_part(&bucket, &key, id, 1, body);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), part).await.is_err());
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
    world.put_part(&bucket, KEY, id, (1, b"the second try")).await.unwrap();
    world.complete(&bucket, KEY, id, &listing_of(&[b"the second try"])).await.unwrap();
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
}
