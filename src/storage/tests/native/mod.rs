//! Stores that keep each object under a name of its own: what they fail in, and what is left of it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    audit::audit,
    world::{Store, World, incoming, listing_of},
};
use crate::{
    data::{
        DataError, MemoryNative, PartsFault,
        memory_native::{Mode, NativeFault, Step},
    },
    metadata::MemoryStore,
    storage::{
        Append, Attributes, Bucket, EncryptionRequest, PutObject, Rename, StorageError, StorageResult, WriteCondition,
        records::{ContentHeaders, JournalOp, ObjectRecord, Pair, Versioning},
    },
    types::{ObjectKey, VersionSelector, body},
};

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
                world.storage.rename_object(&rename).await
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
async fn a_crash_between_publishing_and_commit_is_rolled_forward() {
    for (mode, write, is_there) in all_writes() {
        if write == Write::Append && !is_there {
            continue;
        }
        let (world, native, bucket, _) = with_old(mode, is_there).await;
        let (step, new) = prepared(&world, &bucket, write).await;
        native.break_next(Step::Publish, NativeFault::HangAfter);
        assert!(tokio::time::timeout(Duration::from_millis(20), step).await.is_err(), "{mode:?} {write:?}");
        let again = world.restarted();
        assert_eq!(again.storage.recover().await.unwrap(), 1, "{mode:?} {write:?} {is_there}");
        check(&again, &native, &bucket, Some(&new)).await;
        assert_eq!(again.storage.recover().await.unwrap(), 0);
        if write == Write::Rename {
            let gone = again.get(&bucket, "before", None).await;
            assert!(matches!(gone, Err(StorageError::NoSuchKey(None))), "{gone:?}");
            assert!(native.seen("bucket/before").is_none());
        }
    }
}

#[tokio::test]
async fn a_crash_before_publishing_leaves_everything_as_it_was_and_an_upload_open() {
    for (mode, write, is_there) in all_writes() {
        let (world, native, bucket, old) = with_old(mode, is_there).await;
        let (step, new) = prepared(&world, &bucket, write).await;
        native.break_next(Step::Publish, NativeFault::Hang);
        assert!(tokio::time::timeout(Duration::from_millis(20), step).await.is_err(), "{mode:?} {write:?}");
        let again = Arc::new(world.restarted());
        assert_eq!(again.storage.recover().await.unwrap(), 1, "{mode:?} {write:?} {is_there}");
        check(&again, &native, &bucket, old).await;
        if let Write::Complete(count) = write {
            let query = crate::storage::listing::ListQuery {
                prefix: String::new(),
                delimiter: String::new(),
                start: crate::storage::listing::ListStart::Beginning,
                limit: 10,
            };
            let open = again.storage.list_uploads(&bucket, &query).await.unwrap();
            let [crate::storage::listing::Entry::Item(upload)] = open.entries.as_slice() else { panic!("one upload") };
            let parts = parts(count);
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            again.complete(&bucket, KEY, upload.id, &listing_of(&slices)).await.unwrap();
            check(&again, &native, &bucket, Some(&new)).await;
        }
    }
}

#[tokio::test]
async fn a_lost_reply_is_an_error_and_settled_afterwards() {
    for (mode, write, is_there) in all_writes() {
        for fault in [NativeFault::LostReply, NativeFault::Before] {
            let (world, native, bucket, old) = with_old(mode, is_there).await;
            let (step, new) = prepared(&world, &bucket, write).await;
            native.break_next(Step::Publish, fault);
            let lost = step.await;
            assert!(matches!(lost, Err(StorageError::Data(DataError::Unavailable(_)))), "{mode:?} {write:?} {lost:?}");
            // Until it is settled the key is as it was, or nobody can tell.
            match world.get(&bucket, KEY, None).await {
                Ok(bytes) => assert_eq!(Some(&bytes[..]), old),
                Err(StorageError::NoSuchKey(None)) => assert_eq!(old, None),
                Err(StorageError::Data(DataError::Unavailable(_))) => {
                    assert_eq!((mode, fault), (Mode::InPlace, NativeFault::LostReply));
                }
                Err(other) => panic!("{other:?}"),
            }
            let expected = if fault == NativeFault::LostReply { Some(&new[..]) } else { old };
            if let (Write::Complete(_), NativeFault::Before) = (write, fault) {
                // The upload is open again, and stays so.
                world.drain().await;
                audit(&world, &[&bucket], &[]).await;
                assert_eq!(native.unfinished(), 1);
            } else {
                check(&world, &native, &bucket, expected).await;
            }
        }
    }
}

#[tokio::test]
async fn whoever_writes_next_settles_first_and_waits_for_a_store_that_is_away() {
    for mode in MODES {
        let (world, native, bucket, _) = with_old(mode, true).await;
        native.break_next(Step::Publish, NativeFault::LostReply);
        world.put_if(&bucket, KEY, b"one whose reply is lost", WriteCondition::Always).await.unwrap_err();
        let absent = world.put_if(&bucket, KEY, b"never", WriteCondition::IfAbsent).await;
        assert!(matches!(absent, Err(StorageError::PreconditionFailed(_))), "{absent:?}");
        assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), "one whose reply is lost");
        native.break_next(Step::Publish, NativeFault::LostReply);
        native.break_next(Step::Find, NativeFault::Before);
        world.put_if(&bucket, KEY, b"another whose reply is lost", WriteCondition::Always).await.unwrap_err();
        let unknown = world.delete(&bucket, KEY, None).await;
        assert!(matches!(unknown, Err(StorageError::Data(DataError::Unavailable(_)))), "{unknown:?}");
        world.delete(&bucket, KEY, None).await.unwrap();
        check(&world, &native, &bucket, None).await;
    }
}

#[tokio::test]
async fn a_store_that_is_away_at_the_start_keeps_nobody_from_starting() {
    for mode in MODES {
        let (world, native, bucket, _) = with_old(mode, true).await;
        native.break_next(Step::Publish, NativeFault::HangAfter);
        let put = world.put_if(&bucket, KEY, b"published before the crash", WriteCondition::Always);
        assert!(tokio::time::timeout(Duration::from_millis(20), put).await.is_err());
        native.set_away(true);
        let again = world.restarted();
        again.storage.recover().await.unwrap();
        let report = again.storage.collect_garbage().await.unwrap();
        assert_eq!((report.done, report.failed), (0, 1));
        let read = again.get(&bucket, KEY, None).await;
        assert!(matches!(read, Err(StorageError::Data(DataError::Unavailable(_)))), "{read:?}");
        native.set_away(false);
        check(&again, &native, &bucket, Some(b"published before the crash")).await;
    }
}

#[tokio::test]
async fn what_a_store_refuses_changes_nothing() {
    for mode in MODES {
        let (world, native, bucket, old) = with_old(mode, true).await;
        native.break_next(Step::Publish, NativeFault::Forget);
        let lost = world.put_if(&bucket, KEY, b"bytes that the store forgot", WriteCondition::Always).await;
        assert!(matches!(lost, Err(StorageError::Data(DataError::Unavailable(_)))), "{lost:?}");
        check(&world, &native, &bucket, old).await;
        native.break_next(Step::Stage, NativeFault::Before);
        world.put_if(&bucket, KEY, b"bytes that it would not take", WriteCondition::Always).await.unwrap_err();
        check(&world, &native, &bucket, old).await;
        let id = world.create_upload(&bucket, KEY).await;
        let parts: [&[u8]; 3] = [b"first part", b"part 2", b"last"];
        for (number, part) in (1..).zip(parts) {
            world.put_part(&bucket, KEY, id, (number, part)).await.unwrap();
        }
        native.break_next(Step::Publish, NativeFault::Refuse(PartsFault::TooSmall));
        let small = world.complete(&bucket, KEY, id, &listing_of(&parts)).await;
        assert!(matches!(small, Err(StorageError::EntityTooSmall { number: 2, size: 6, .. })), "{small:?}");
        native.break_next(Step::Publish, NativeFault::Refuse(PartsFault::Missing));
        let missing = world.complete(&bucket, KEY, id, &listing_of(&parts)).await;
        assert!(matches!(missing, Err(StorageError::InvalidPart { .. })), "{missing:?}");
        check(&world, &native, &bucket, old).await;
        world.complete(&bucket, KEY, id, &listing_of(&parts)).await.unwrap();
        check(&world, &native, &bucket, Some(&parts.concat())).await;
    }
}

#[tokio::test]
async fn a_bucket_that_is_deleted_meanwhile_takes_what_was_published_along() {
    for mode in MODES {
        for write in [Write::Put(b"bytes of a bucket that goes"), Write::Complete(20)] {
            let (world, native, bucket) = world(mode).await;
            let (step, _) = prepared(&world, &bucket, write).await;
            native.break_next(Step::Publish, NativeFault::Delay(Duration::from_millis(30)));
            let (written, deleted) = tokio::join!(step, async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                world.storage.delete_bucket(&bucket.name).await
            });
            deleted.unwrap();
            assert!(matches!(written, Err(StorageError::NoSuchBucket)), "{written:?}");
            world.drain().await;
            audit(&world, &[], &[bucket.id]).await;
        }
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
async fn a_publication_goes_on_when_its_client_goes_away() {
    for (mode, write, is_there) in all_writes() {
        // A rename ends with its client; it is settled then.
        if write == Write::Append && !is_there {
            continue;
        }
        let (world, native, bucket, _) = with_old(mode, is_there).await;
        let (step, new) = prepared(&world, &bucket, write).await;
        native.break_next(Step::Publish, NativeFault::Delay(Duration::from_millis(90)));
        assert!(tokio::time::timeout(Duration::from_millis(50), step).await.is_err(), "{mode:?} {write:?}");
        tokio::time::sleep(Duration::from_millis(150)).await;
        let expected = if write == Write::Rename { with_old(mode, is_there).await.3 } else { Some(&new[..]) };
        check(&world, &native, &bucket, expected).await;
    }
}

#[tokio::test]
async fn a_store_that_never_answers_holds_the_key_no_longer_than_its_time() {
    for mode in MODES {
        let (world, native, bucket, old) = with_old(mode, true).await;
        native.break_next(Step::Publish, NativeFault::Hang);
        let hung = world.put_if(&bucket, KEY, b"never published", WriteCondition::Always).await;
        assert!(matches!(hung, Err(StorageError::Data(DataError::Unavailable(_)))), "{hung:?}");
        check(&world, &native, &bucket, old).await;
    }
}

#[tokio::test]
async fn a_reader_never_gets_bytes_of_another_version_while_one_is_published() {
    for mode in MODES {
        let (world, native, bucket, _) = with_old(mode, true).await;
        native.break_next(Step::Publish, NativeFault::HangAfter);
        let put = world.put_if(&bucket, KEY, b"published, and not committed", WriteCondition::Always);
        assert!(tokio::time::timeout(Duration::from_millis(10), put).await.is_err());
        let read = tokio::time::timeout(Duration::from_millis(50), world.get(&bucket, KEY, None)).await;
        match mode {
            Mode::Versioned => assert_eq!(read.unwrap().unwrap(), "the old bytes"),
            // It waits for the end of the write.
            Mode::InPlace => assert!(read.is_err()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_of_one_key_leave_the_bytes_of_its_record() {
    for mode in MODES {
        let (world, native, bucket) = world(mode).await;
        let mut tasks = JoinSet::new();
        for writer in 0..24_u32 {
            let (world, bucket) = (Arc::clone(&world), Arc::clone(&bucket));
            tasks.spawn(async move {
                for round in 0..8 {
                    match writer % 6 {
                        0 => {
                            world.delete(&bucket, KEY, None).await.unwrap();
                        }
                        1 => {
                            let parts = [format!("part of {writer}"), format!("the last one in {round}")];
                            world.multipart(&bucket, KEY, &[parts[0].as_bytes(), parts[1].as_bytes()]).await;
                        }
                        2 | 3 => match world.get(&bucket, KEY, None).await {
                            Ok(bytes) => assert!(bytes.starts_with(b"writer") || bytes.starts_with(b"part of")),
                            Err(StorageError::NoSuchKey(None) | StorageError::Vanished) => {}
                            Err(other) => panic!("{other:?}"),
                        },
                        _ => {
                            let length = if round % 2 == 0 { 4 } else { 400 };
                            let bytes = format!("writer {writer:0length$} {round}");
                            world.put(&bucket, KEY, bytes.as_bytes()).await;
                        }
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        world.put(&bucket, KEY, b"the last of all").await;
        check(&world, &native, &bucket, Some(b"the last of all")).await;
        assert_eq!(native.versions("bucket/a/key"), 1);
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
async fn versioning_that_is_enabled_during_a_write_is_noticed_before_anything_is_published() {
    let (world, native, bucket, old) = with_old(Mode::InPlace, true).await;
    native.break_next(Step::Stage, NativeFault::Delay(Duration::from_millis(20)));
    let (put, _) = tokio::join!(world.put_if(&bucket, KEY, b"too late", WriteCondition::Always), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        world.set_versioning(&bucket.name, Versioning::Enabled).await
    });
    assert!(matches!(put, Err(StorageError::NotVersionable)), "{put:?}");
    let bucket = world.storage.bucket(&bucket.name).await.unwrap();
    check(&world, &native, &bucket, old).await;
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
async fn a_part_that_comes_while_its_upload_is_completed_is_refused() {
    for mode in MODES {
        let (world, native, bucket) = world(mode).await;
        let id = world.create_upload(&bucket, KEY).await;
        world.put_part(&bucket, KEY, id, (1, b"the only part")).await.unwrap();
        native.break_next(Step::Publish, NativeFault::Delay(Duration::from_millis(30)));
        let list = listing_of(&[b"the only part"]);
        let (completed, late) = tokio::join!(world.complete(&bucket, KEY, id, &list), async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            world.put_part(&bucket, KEY, id, (2, b"too late")).await
        });
        assert!(matches!(late, Err(StorageError::NoSuchUpload)), "{late:?}");
        let again = world.complete(&bucket, KEY, id, &list).await.unwrap();
        assert_eq!(again.etag, completed.unwrap().etag);
        check(&world, &native, &bucket, Some(b"the only part")).await;
    }
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
async fn bytes_that_break_off_or_differ_leave_nothing() {
    for mode in MODES {
        let (world, native, bucket, old) = with_old(mode, true).await;
        for length in [10, 1000] {
            let mut broken = incoming(b"a body that breaks off");
            broken.length = Some(length);
            let put = PutObject {
                bucket: Arc::clone(&bucket),
                key: key(KEY),
                location: Arc::clone(&world.location),
                attributes: Attributes::default(),
                condition: WriteCondition::Always,
                body: broken,
                op: JournalOp::ObjectPut,
            };
            let refused = world.storage.put_object(put).await;
            assert!(matches!(refused, Err(StorageError::Body(_))), "{refused:?}");
        }
        let refused = world.put_if(&bucket, KEY, b"bytes too many to be held", WriteCondition::IfAbsent).await;
        assert!(matches!(refused, Err(StorageError::PreconditionFailed(_))), "{refused:?}");
        check(&world, &native, &bucket, old).await;
        assert_eq!(native.unfinished(), 0);
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

/// What a copy of the key to `to` would be.
fn new_object(world: &World, bucket: &Arc<Bucket>, to: &str, attributes: Attributes) -> crate::storage::NewObject {
    crate::storage::NewObject {
        bucket: Arc::clone(bucket),
        key: key(to),
        location: Arc::clone(&world.location),
        attributes,
        condition: WriteCondition::Always,
        op: JournalOp::ObjectCopied,
    }
}

#[tokio::test]
async fn a_plain_object_is_copied_by_its_store_and_others_with_their_bytes() {
    use crate::types::ChecksumAlgorithm::{Crc64Nvme, Sha1};
    for mode in MODES {
        let (world, native, bucket) = world(mode).await;
        let record = world.put(&bucket, "from", b"bytes that stay where they are").await;
        let tags = vec![Pair { name: "of".to_owned(), value: "the copy".to_owned() }];
        let attributes = Attributes { tags, ..Attributes::default() };
        let new = new_object(&world, &bucket, KEY, attributes.clone());
        let gets = native.count(Step::Get);
        let copied = world.storage.copy_at_store(&new, &record, Crc64Nvme).await.unwrap().unwrap();
        assert_eq!(
            (copied.etag, copied.checksum, native.count(Step::Get)),
            (record.etag.clone(), record.checksum.clone(), gets)
        );
        assert_eq!(native.seen("bucket/a/key").unwrap().0.tags, [("of".to_owned(), "the copy".to_owned())]);
        // Onto itself, with other tags.
        let itself = new_object(&world, &bucket, "from", attributes);
        world.storage.copy_at_store(&itself, &record, Crc64Nvme).await.unwrap().unwrap();
        assert_eq!(world.get(&bucket, "from", None).await.unwrap(), "bytes that stay where they are");
        check(&world, &native, &bucket, Some(b"bytes that stay where they are")).await;
        assert!(world.storage.copy_at_store(&new, &record, Sha1).await.unwrap().is_none(), "another checksum");
        let record = world.storage.version(&bucket, &key("from"), None).await.unwrap();
        world.delete(&bucket, "from", None).await.unwrap();
        world.drain().await;
        assert!(world.storage.copy_at_store(&new, &record, Crc64Nvme).await.unwrap().is_none(), "no source any more");
        let parts = world.multipart(&bucket, "parts", &[b"part one", b"part two"]).await;
        assert!(world.storage.copy_at_store(&new, &parts, Crc64Nvme).await.unwrap().is_none(), "no MD5 of the bytes");
        let sealed = Attributes { encryption: EncryptionRequest::Managed, ..Attributes::default() };
        let sealed = new_object(&world, &bucket, KEY, sealed);
        let record = world.put(&bucket, "from", b"to be encrypted").await;
        assert!(world.storage.copy_at_store(&sealed, &record, Crc64Nvme).await.unwrap().is_none());
        check(&world, &native, &bucket, Some(b"bytes that stay where they are")).await;
    }
}

#[tokio::test]
async fn a_whole_plain_object_becomes_a_part_at_its_store() {
    for mode in MODES {
        let (world, native, bucket) = world(mode).await;
        let bytes: &[u8] = b"bytes that stay where they are";
        let record = world.put(&bucket, "from", bytes).await;
        let id = world.create_upload(&bucket, KEY).await;
        let algorithm = crate::types::ChecksumAlgorithm::Crc64Nvme;
        let copy = async |number, range| {
            world.storage.copy_part_at_store(&bucket, &key(KEY), (id, number), (&record, range), algorithm).await
        };
        let part = copy(1, 0..record.size).await.unwrap().unwrap();
        assert_eq!(part.etag(), record.etag());
        assert!(copy(2, 1..record.size).await.unwrap().is_none(), "nobody knows the MD5 of a range");
        world.put_part(&bucket, KEY, id, (2, b", and the rest")).await.unwrap();
        world.complete(&bucket, KEY, id, &listing_of(&[bytes, b", and the rest"])).await.unwrap();
        assert_eq!(native.count(Step::Get), 0);
        check(&world, &native, &bucket, Some(b"bytes that stay where they are, and the rest")).await;
    }
}
