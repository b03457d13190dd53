//! A metadata store that refuses commits: nothing is lost of what only the engine knew, and nothing is written over.

use std::sync::Arc;

use super::{
    audit::audit,
    world::{INLINE, Store, World, incoming},
};
use crate::{
    data::{MemoryNative, memory_native::Mode},
    metadata::{
        Batch, MetadataError, MetadataStore, Namespace, Table, Write,
        refusing::{RefusingStore, puts},
    },
    storage::{
        Append, Attributes, StorageError, WriteCondition, keys,
        records::{LayoutRow, Record, Versioning},
    },
    types::{ObjectKey, UploadId},
};

const KEY: &str = "a/key";
const BYTES: &[u8] = b"bytes, and too many of them for metadata";

fn world(store: Store) -> (World, Arc<RefusingStore>) {
    let refusing = RefusingStore::new();
    assert!(BYTES.len() > INLINE);
    (World::on(Arc::<RefusingStore>::clone(&refusing), store, Arc::default()), refusing)
}

/// Blobs, and stores of named objects of both kinds.
fn stores() -> [Store; 3] {
    let native = |mode| Store::Native(Arc::new(MemoryNative::new(mode)));
    [Store::Blobs(Arc::default()), native(Mode::Versioned), native(Mode::InPlace)]
}

fn any(_: &Batch) -> bool {
    true
}

#[tokio::test]
async fn what_was_given_up_while_commits_are_refused_is_removed_later() {
    for store in stores() {
        let (world, refusing) = world(store.clone());
        let bucket = world.bucket("bucket", Versioning::Unversioned).await;
        world.put(&bucket, KEY, BYTES).await;
        let before = store.stored_bytes();
        // What was staged is noted at once; that fails, and so does the next attempt.
        for _ in 0..2 {
            refusing.refuse(puts_nothing_but_garbage, MetadataError::Busy);
        }
        let refused = world.put_if(&bucket, KEY, BYTES, WriteCondition::IfAbsent).await;
        assert!(matches!(refused, Err(StorageError::PreconditionFailed(_))), "{refused:?}");
        while !refusing.is_done() {
            assert_eq!(world.storage.collect_garbage().await.unwrap().failed, 1);
        }
        world.drain().await;
        assert_eq!(store.stored_bytes(), before);
        if let Store::Native(native) = &store {
            assert_eq!(native.unfinished(), 0);
        }
        audit(&world, &[&bucket], &[]).await;
    }
}

/// A batch by which the engine gets rid of what was not named: it has no conditions.
fn puts_nothing_but_garbage(batch: &Batch) -> bool {
    let rids = |write: &Write| match write {
        Write::Append(ns, _) => ns.table == Table::Garbage,
        Write::Delete(ns, _) => ns.table == Table::Pending,
        _ => false,
    };
    batch.conditions.is_empty() && !batch.writes.is_empty() && batch.writes.iter().all(rids)
}

#[tokio::test]
async fn a_device_that_is_too_full_for_the_record_keeps_no_bytes() {
    for store in stores() {
        let (world, refusing) = world(store.clone());
        let bucket = world.bucket("bucket", Versioning::Unversioned).await;
        let names_bytes = |batch: &Batch| puts(batch, Table::Current) || puts_note_of_publication(batch);
        refusing.refuse(names_bytes, MetadataError::NoSpace);
        let full = world.put_if(&bucket, KEY, BYTES, WriteCondition::Always).await;
        assert!(matches!(full, Err(StorageError::Metadata(MetadataError::NoSpace))), "{full:?}");
        assert!(refusing.is_done());
        world.drain().await;
        assert_eq!(store.stored_bytes(), 0, "without a restart");
        if let Store::Native(native) = &store {
            assert_eq!(native.unfinished(), 0);
        }
        world.put(&bucket, KEY, BYTES).await;
        audit(&world, &[&bucket], &[]).await;
    }
}

fn puts_note_of_publication(batch: &Batch) -> bool {
    batch.writes.iter().any(|write| {
        matches!(write, Write::Put(ns, row, _) if ns.table == Table::Pending && keys::published_key(row).is_some())
    })
}

#[tokio::test]
async fn who_may_write_no_more_removes_no_more() {
    for store in stores() {
        let (world, refusing) = world(store.clone());
        let bucket = world.bucket("bucket", Versioning::Unversioned).await;
        let parts: [&[u8]; 2] = [b"the first part", b"the other part"];
        let record = world.multipart(&bucket, KEY, &parts).await;
        world.delete(&bucket, KEY, None).await.unwrap();
        // Another engine over the same stores has taken over, and has a reader of the object.
        refusing.refuse(any, MetadataError::ReadOnly);
        let refused = world.storage.collect_garbage().await;
        assert!(matches!(refused, Err(StorageError::Metadata(MetadataError::ReadOnly))), "{refused:?}");
        assert_eq!(store.stored_bytes(), record.size);
        world.drain().await;
        assert_eq!(store.stored_bytes(), 0);
    }
}

#[tokio::test]
async fn an_append_keeps_what_changed_in_the_row_that_it_goes_into() {
    let (world, refusing) = world(Store::Blobs(Arc::default()));
    let bucket = world.bucket("bucket", Versioning::Unversioned).await;
    let part: &[u8] = b"one part of many";
    let before = world.multipart(&bucket, KEY, &[part; keys::INLINE_SEGMENTS + 4]).await;
    let id = UploadId::from_bytes(before.upload_id.as_ref().try_into().unwrap());
    let (parts, row) = (Namespace::of(Table::Parts, bucket.id), keys::layout_row(id, 0));
    let read = async || LayoutRow::from_bytes(&refusing.get(parts, &row).await.unwrap().unwrap()).unwrap();
    let mut moved = read().await;
    // As a move does, row by row, before it changes the record: another name of the same place.
    "cold".clone_into(&mut moved.segments[0].location);
    let mut batch = Batch::new();
    batch.put(parts, row.clone(), moved.to_bytes());
    refusing.overtake(|batch| puts(batch, Table::Current), batch);
    let append = Append {
        bucket: Arc::clone(&bucket),
        key: ObjectKey::new(KEY).unwrap(),
        location: Arc::clone(&world.location),
        attributes: Attributes::default(),
        offset: before.size,
        condition: WriteCondition::Always,
        body: incoming(part),
    };
    world.storage.append_object(append).await.unwrap();
    assert!(refusing.is_done());
    let after = read().await;
    assert_eq!(after.segments.len(), moved.segments.len() + 1);
    assert_eq!(after.segments[0].location, "cold");
    assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), part.repeat(moved.segments.len() + 1));
}
