//! Stores that keep each object under a name of its own: what is there of an object, and what is left of it.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    audit::audit,
    world::{Store, World, incoming, listing_of},
};
use crate::{
    data::{
        MemoryNative,
        memory_native::{Mode, NativeFault, Step},
    },
    metadata::MemoryStore,
    storage::{
        Append, Attributes, Bucket, EncryptionRequest, PutObject, Rename, StorageError, StorageResult, WriteCondition,
        records::{ContentHeaders, JournalOp, ObjectRecord, Pair, Versioning},
    },
    types::{ObjectKey, VersionSelector, body},
};

mod copy;
mod crash;
mod misfit;
mod race;

const MODES: [Mode; 2] = [Mode::Versioned, Mode::InPlace];
/// Small bodies are held until they are published; others are staged in the store.
const BODIES: [(&[u8], &[u8]); 3] = [
    (b"old", b"new"),
    (b"the old bytes, and many of them", b"the new bytes, of which there are more"),
    (b"the old bytes, and many of them", b""),
];
const KEY: &str = "a/key";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

/// A world over such a store, and a bucket without versions.
async fn world(mode: Mode) -> (Arc<World>, Arc<MemoryNative>, Arc<Bucket>) {
    let native = Arc::new(MemoryNative::new(mode));
    let world = World::on(Arc::new(MemoryStore::new()), Store::Native(Arc::clone(&native)), Arc::default());
    let bucket = world.bucket("bucket", Versioning::Unversioned).await;
    (Arc::new(world), native, bucket)
}

/// What can be written to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Put(&'static [u8]),
    /// An upload of so many parts.
    Complete(u16),
    Append,
    Rename,
}

const WRITES: [Write; 7] = [
    Write::Put(b"new"),
    Write::Put(b"the new bytes, of which there are more"),
    Write::Put(b""),
    Write::Complete(3),
    Write::Complete(40),
    Write::Append,
    Write::Rename,
];

fn parts(count: u16) -> Vec<Vec<u8>> {
    (1..=count).map(|number| format!("part {number:04}").into_bytes()).collect()
}

/// Begins a write of the key up to where one step is left. Gives that step, and the bytes that the key will have.
async fn prepared(
    world: &Arc<World>,
    bucket: &Arc<Bucket>,
    write: Write,
) -> (impl Future<Output = StorageResult<()>> + Send + 'static, Vec<u8>) {
    let old = world.get(bucket, KEY, None).await.map(|old| old.to_vec()).unwrap_or_default();
    let mut upload = None;
    let bytes = match write {
        Write::Put(bytes) => bytes.to_vec(),
        Write::Append => [&old[..], b", and more behind"].concat(),
        Write::Rename => {
            world.put(bucket, "before", b"an object with another key").await;
            b"an object with another key".to_vec()
        }
        Write::Complete(count) => {
            let id = world.create_upload(bucket, KEY).await;
            for (number, part) in (1..).zip(parts(count)) {
                world.put_part(bucket, KEY, id, (number, &part)).await.unwrap();
            }
            upload = Some(id);
            parts(count).concat()
        }
    };
    world.drain().await;
    let (world, bucket) = (Arc::clone(world), Arc::clone(bucket));
    let step = async move {
        match write {
            Write::Put(bytes) => world.put_if(&bucket, KEY, bytes, WriteCondition::Always).await.map(drop),
            Write::Complete(count) => {
                let parts = parts(count);
                let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                world.complete(&bucket, KEY, upload.unwrap(), &listing_of(&slices)).await.map(drop)
            }
            Write::Append => {
                let append = Append {
                    bucket,
                    key: key(KEY),
                    location: Arc::clone(&world.location),
                    attributes: Attributes::default(),
                    offset: old.len() as u64,
                    condition: WriteCondition::Always,
                    body: incoming(b", and more behind"),
                };
                world.storage.append_object(append).await.map(drop)
            }
            Write::Rename => {
                let rename = Rename {
                    bucket,
                    source: key("before"),
                    destination: key(KEY),
                    condition: WriteCondition::Always,
                    check: Box::new(|_, _| Ok(())),
                    token: None,
                };
                world.storage.rename_object(rename).await
            }
        }
    };
    (step, bytes)
}

/// What the engine and others see under the key, once everything is settled.
async fn check(world: &World, native: &MemoryNative, bucket: &Arc<Bucket>, expected: Option<&[u8]>) {
    world.drain().await;
    audit(world, &[bucket], &[]).await;
    let seen = native.seen(&format!("{}/{KEY}", bucket.name)).map(|(_, bytes)| bytes);
    let got = world.get(bucket, KEY, None).await;
    if let Some(bytes) = expected {
        assert_eq!(got.unwrap(), bytes);
        assert_eq!(seen.unwrap(), bytes);
    } else {
        assert!(matches!(got, Err(StorageError::NoSuchKey(_))), "{got:?}");
        assert_eq!(seen, None);
    }
}

/// Every write, of a new key and in the place of an old one, in both modes.
fn all_writes() -> impl Iterator<Item = (Mode, Write, bool)> {
    MODES.into_iter().flat_map(|mode| WRITES.into_iter().flat_map(move |it| [true, false].map(|old| (mode, it, old))))
}

async fn with_old(mode: Mode, is_there: bool) -> (Arc<World>, Arc<MemoryNative>, Arc<Bucket>, Option<&'static [u8]>) {
    let (world, native, bucket) = world(mode).await;
    // As at every start of a server: a fresh store's locations are counted from nothing.
    assert_eq!(world.storage.recover().await.unwrap(), 0);
    let old: &[u8] = b"the old bytes";
    if is_there {
        world.put(&bucket, KEY, old).await;
    }
    (world, native, bucket, is_there.then_some(old))
}

/// Runs a step until the store hangs or waits in it, and goes away.
fn left_at_store<T>(native: &MemoryNative, step: impl Future<Output = T>) -> impl Future<Output = ()> {
    let step = Box::pin(step);
    async move {
        tokio::select! {
            _ = step => panic!("the store was to stop it"),
            () = native.reached() => {}
        }
    }
}

#[tokio::test]
async fn what_others_see_is_the_object_with_its_headers_metadata_and_tags() {
    for mode in MODES {
        let (world, native, bucket) = world(mode).await;
        let pair = |name: &str, value: &str| Pair { name: name.to_owned(), value: value.to_owned() };
        for bytes in [b"".as_slice(), b"small", b"not so small that it would be held"] {
            let content = ContentHeaders { content_type: Some("text/plain".to_owned()), ..ContentHeaders::default() };
            let put = PutObject {
                bucket: Arc::clone(&bucket),
                key: key(KEY),
                location: Arc::clone(&world.location),
                attributes: Attributes {
                    content,
                    metadata: vec![pair("colour", "blue")],
                    tags: vec![pair("state", "new")],
                    ..Attributes::default()
                },
                condition: WriteCondition::Always,
                body: incoming(bytes),
                op: JournalOp::ObjectPut,
            };
            world.storage.put_object(put).await.unwrap();
            let (object, seen) = native.seen("bucket/a/key").unwrap();
            assert_eq!((&seen[..], object.headers), (bytes, vec![("content-type", "text/plain".to_owned())]));
            assert_eq!(object.metadata, [("colour".to_owned(), "blue".to_owned())]);
            assert_eq!(object.tags, [("state".to_owned(), "new".to_owned())]);
            check(&world, &native, &bucket, Some(bytes)).await;
        }
        world.delete(&bucket, KEY, None).await.unwrap();
        check(&world, &native, &bucket, None).await;
    }
}

#[tokio::test]
async fn a_bucket_takes_its_open_uploads_along() {
    for mode in MODES {
        let (world, native, bucket) = world(mode).await;
        let id = world.create_upload(&bucket, KEY).await;
        world.put_part(&bucket, KEY, id, (1, b"a part")).await.unwrap();
        let other = world.create_upload(&bucket, KEY).await;
        world.abort(&bucket, KEY, other).await.unwrap();
        world.drain().await;
        assert_eq!(native.unfinished(), 1);
        world.storage.delete_bucket(&bucket.name).await.unwrap();
        world.drain().await;
        assert_eq!(native.unfinished(), 0);
        audit(&world, &[], &[bucket.id]).await;
    }
}

#[tokio::test]
async fn a_store_without_versions_takes_no_object_of_a_bucket_that_keeps_them() {
    let (world, native, bucket, _) = with_old(Mode::InPlace, true).await;
    for state in [Versioning::Enabled, Versioning::Suspended] {
        let bucket = world.set_versioning(&bucket.name, state).await;
        let put = world.put_if(&bucket, KEY, b"a second version", WriteCondition::Always).await;
        assert!(matches!(put, Err(StorageError::NotVersionable)), "{put:?}");
        let upload = world.storage.create_upload(world.new_upload(&bucket, KEY)).await;
        assert!(matches!(upload, Err(StorageError::NotVersionable)), "{upload:?}");
        // Those that are there already are read and deleted as always.
        assert_eq!(world.get(&bucket, KEY, Some(VersionSelector::Null)).await.unwrap(), "the old bytes");
    }
    world.drain().await;
    assert_eq!(native.unfinished(), 0);
}

#[tokio::test]
async fn an_object_that_somebody_removed_from_the_store_is_named_as_lost() {
    for mode in MODES {
        let (world, native, bucket, _) = with_old(mode, true).await;
        native.lose("bucket/a/key");
        let lost = world.get(&bucket, KEY, None).await;
        assert!(matches!(&lost, Err(StorageError::LocationLost(name)) if name == "here"), "{lost:?}");
        world.delete(&bucket, KEY, None).await.unwrap();
        check(&world, &native, &bucket, None).await;
    }
}

async fn tag(world: &World, bucket: &Arc<Bucket>, value: &str) -> ObjectRecord {
    let tags = vec![Pair { name: "state".to_owned(), value: value.to_owned() }];
    world.storage.update_version(bucket, &key(KEY), None, |record| record.tags.clone_from(&tags)).await.unwrap()
}

#[tokio::test]
async fn tags_are_told_to_the_store_in_the_end_as_they_are_then() {
    for mode in MODES {
        let (world, native, bucket, old) = with_old(mode, true).await;
        let seen = || native.seen("bucket/a/key").unwrap().0.tags;
        tag(&world, &bucket, "first").await;
        native.break_next(Step::SetTags, NativeFault::Before);
        assert_eq!(world.storage.collect_garbage().await.unwrap().failed, 1);
        tag(&world, &bucket, "second").await;
        native.break_next(Step::SetTags, NativeFault::LostReply);
        assert_eq!(world.storage.collect_garbage().await.unwrap().failed, 1);
        check(&world, &native, &bucket, old).await;
        assert_eq!(seen(), [("state".to_owned(), "second".to_owned())]);
        // A version that is gone by then needs no tags.
        tag(&world, &bucket, "third").await;
        world.put(&bucket, KEY, b"without tags").await;
        check(&world, &native, &bucket, Some(b"without tags")).await;
        assert_eq!(seen(), []);
    }
}

#[tokio::test]
async fn a_delete_marker_is_told_to_a_store_that_keeps_versions_and_goes_with_ours() {
    let (world, native, bucket, _) = with_old(Mode::Versioned, true).await;
    let bucket = world.set_versioning(&bucket.name, Versioning::Enabled).await;
    native.break_next(Step::MarkDeleted, NativeFault::Before);
    let deleted = world.delete(&bucket, KEY, None).await.unwrap();
    assert_eq!(world.storage.collect_garbage().await.unwrap().failed, 1);
    check(&world, &native, &bucket, None).await;
    assert_eq!(native.versions("bucket/a/key"), 2, "the object and a marker");
    let marker = deleted.version.flatten().unwrap();
    world.delete(&bucket, KEY, Some(VersionSelector::Id(marker))).await.unwrap();
    check(&world, &native, &bucket, Some(b"the old bytes")).await;
    assert_eq!(native.versions("bucket/a/key"), 1);
    // A marker that is hidden by a newer version when its turn comes is not told any more.
    world.delete(&bucket, KEY, None).await.unwrap();
    world.put(&bucket, KEY, b"newer than the marker").await;
    check(&world, &native, &bucket, Some(b"newer than the marker")).await;
    assert_eq!(native.versions("bucket/a/key"), 2);
}

#[tokio::test]
async fn parts_in_one_blob_are_read_with_one_request_and_encrypted_ones_part_by_part() {
    for mode in MODES {
        for (count, encryption) in [
            (2, EncryptionRequest::BucketDefault),
            (30, EncryptionRequest::BucketDefault),
            (3, EncryptionRequest::Managed),
            (30, EncryptionRequest::Managed),
        ] {
            let (world, native, bucket) = world(mode).await;
            let is_sealed = encryption == EncryptionRequest::Managed;
            let attributes = Attributes { encryption, ..Attributes::default() };
            let new = crate::storage::NewUpload { attributes, ..world.new_upload(&bucket, KEY) };
            let id = world.storage.create_upload(new).await.unwrap();
            let mut list = listing_of(&[]);
            for (number, part) in (1..).zip(parts(count)) {
                let stored = world.put_part(&bucket, KEY, id, (number, &part)).await.unwrap();
                list.parts.push(crate::storage::ListedPart { number, etag: stored.etag(), checksum: None });
            }
            let record = world.complete(&bucket, KEY, id, &list).await.unwrap();
            let whole = Bytes::from(parts(count).concat());
            for (start, end) in [(0, whole.len()), (0, 1), (7, 11), (9, 18), (whole.len() - 1, whole.len())] {
                let before = native.count(Step::Get);
                let opened = world.storage.open(&bucket, &key(KEY), &record, start as u64..end as u64).await.unwrap();
                assert_eq!(body::collect(opened, usize::MAX).await.unwrap(), whole.slice(start..end));
                let parts = end.div_ceil(9) - start / 9;
                assert_eq!(native.count(Step::Get) - before, if is_sealed { parts } else { 1 });
            }
            let (part, start) = world.storage.part_at(&bucket, &record, 1).await.unwrap().unwrap();
            assert_eq!((part.size, start, part.part_number), (9, 9, 2));
            assert_eq!(is_sealed, native.seen("bucket/a/key").unwrap().1 != whole);
            // A long name is stored once, however many parts there are.
            world.drain().await;
            audit(&world, &[&bucket], &[]).await;
            world.delete(&bucket, KEY, None).await.unwrap();
            check(&world, &native, &bucket, None).await;
        }
    }
}

#[tokio::test]
async fn old_and_new_bodies_of_every_size_replace_each_other() {
    for mode in MODES {
        for (old, new) in BODIES {
            let (world, native, bucket) = world(mode).await;
            world.put(&bucket, KEY, old).await;
            check(&world, &native, &bucket, Some(old)).await;
            world.put(&bucket, KEY, new).await;
            check(&world, &native, &bucket, Some(new)).await;
        }
    }
}
