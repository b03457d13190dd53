//! Stores that show something else than they were given: nobody reads it as the object.

use std::sync::Arc;

use super::{
    super::{
        audit::audit,
        world::{World, incoming, listing_of},
    },
    KEY, MODES, Write, all_writes, check, key, left_at_store, prepared, with_old,
};
use crate::{
    data::{
        DataError, MemoryNative,
        memory_native::{Mode, NativeFault, Step},
    },
    storage::{Attributes, Bucket, EncryptionRequest, PutObject, StorageError, WriteCondition, records::JournalOp},
};

const NAME: &str = "bucket/a/key";

/// Whatever is in the store: the engine has what it had, and can go on.
async fn as_before(world: &World, native: &MemoryNative, bucket: &Arc<Bucket>, mode: Mode, old: Option<&[u8]>) {
    let got = world.get(bucket, KEY, None).await;
    match (old, mode) {
        (None, _) => assert!(matches!(got, Err(StorageError::NoSuchKey(_))), "{got:?}"),
        (Some(old), Mode::Versioned) => assert_eq!(got.unwrap(), old),
        // The store had one place only.
        (Some(_), Mode::InPlace) => assert!(matches!(got, Err(StorageError::LocationLost(_))), "{got:?}"),
    }
    assert!(native.seen(NAME).is_some(), "what may be somebody else's stays");
    // What was not ours is what nobody names.
    world.put(bucket, KEY, b"what is written next").await;
    world.drain().await;
    let named = world.storage.version(bucket, &key(KEY), None).await.unwrap();
    for blob in world.backend.blobs().await {
        if blob.as_str().ends_with(NAME) && blob.as_str() != named.segments[0].blob {
            world.backend.backend().delete(&blob).await.unwrap();
        }
    }
    check(world, native, bucket, Some(b"what is written next")).await;
}

/// Writes that can lose a byte.
fn writes() -> impl Iterator<Item = (Mode, Write, bool)> {
    all_writes().filter(|(_, write, old)| *write != Write::Put(b"") && (*write != Write::Append || *old))
}

#[tokio::test]
async fn what_somebody_cut_after_a_crash_is_not_rolled_forward() {
    for (mode, write, is_there) in writes() {
        let (world, native, bucket, old) = with_old(mode, is_there).await;
        let (step, _) = prepared(&world, &bucket, write).await;
        native.break_next(Step::Publish, NativeFault::HangAfter);
        left_at_store(&native, step).await;
        native.cut(NAME);
        let again = world.restarted();
        assert_eq!(again.storage.recover().await.unwrap(), 1, "{mode:?} {write:?} {is_there}");
        let report = again.storage.collect_garbage().await.unwrap();
        assert_eq!((report.failed, again.storage.garbage_pending(1).await.unwrap()), (0, 0));
        if write == Write::Rename {
            assert_eq!(again.get(&bucket, "before", None).await.unwrap(), "an object with another key");
        }
        as_before(&again, &native, &bucket, mode, old).await;
    }
}

#[tokio::test]
async fn what_the_store_published_in_another_size_is_an_error_and_no_object() {
    for (mode, write, is_there) in writes() {
        let (world, native, bucket, old) = with_old(mode, is_there).await;
        let (step, _) = prepared(&world, &bucket, write).await;
        native.break_next(Step::Publish, NativeFault::Short);
        let told = step.await;
        assert!(matches!(told, Err(StorageError::Data(DataError::Corrupt { .. }))), "{mode:?} {write:?} {told:?}");
        as_before(&world, &native, &bucket, mode, old).await;
    }
}

#[tokio::test]
async fn what_the_store_itself_calls_wrong_is_no_object_though_its_size_is_right() {
    for (mode, write, is_there) in writes() {
        let (world, native, bucket, old) = with_old(mode, is_there).await;
        let (step, _) = prepared(&world, &bucket, write).await;
        native.break_next(Step::Publish, NativeFault::Misshapen);
        let told = step.await;
        assert!(matches!(told, Err(StorageError::Data(DataError::Corrupt { .. }))), "{mode:?} {write:?} {told:?}");
        // Nor after a start.
        let again = world.restarted();
        assert_eq!(again.storage.recover().await.unwrap(), 1);
        as_before(&again, &native, &bucket, mode, old).await;
    }
}

#[tokio::test]
async fn ciphertext_is_compared_with_what_was_sent_and_not_with_the_text() {
    for mode in MODES {
        for crash in [false, true] {
            let (world, native, bucket, _) = with_old(mode, true).await;
            let put = PutObject {
                bucket: Arc::clone(&bucket),
                key: key(KEY),
                location: Arc::clone(&world.location),
                attributes: Attributes { encryption: EncryptionRequest::Managed, ..Attributes::default() },
                condition: WriteCondition::Always,
                body: incoming(b"a text that is shorter than what is stored of it"),
                op: JournalOp::ObjectPut,
            };
            if crash {
                native.break_next(Step::Publish, NativeFault::HangAfter);
                left_at_store(&native, world.storage.put_object(put)).await;
            } else {
                world.storage.put_object(put).await.unwrap();
            }
            let again = world.restarted();
            assert_eq!(again.storage.recover().await.unwrap(), usize::from(crash));
            let text = again.get(&bucket, KEY, None).await.unwrap();
            assert_eq!(text, "a text that is shorter than what is stored of it");
            again.drain().await;
            audit(&again, &[&bucket], &[]).await;
        }
    }
}

#[tokio::test]
async fn an_upload_whose_parts_were_put_together_wrongly_is_over() {
    for mode in MODES {
        let (world, native, bucket, old) = with_old(mode, true).await;
        let parts: [&[u8]; 2] = [b"first part", b"last part"];
        let id = world.create_upload(&bucket, KEY).await;
        for (number, part) in (1..).zip(parts) {
            world.put_part(&bucket, KEY, id, (number, part)).await.unwrap();
        }
        native.break_next(Step::Publish, NativeFault::Short);
        world.complete(&bucket, KEY, id, &listing_of(&parts)).await.unwrap_err();
        let gone = world.complete(&bucket, KEY, id, &listing_of(&parts)).await;
        assert!(matches!(gone, Err(StorageError::NoSuchUpload)), "{gone:?}");
        as_before(&world, &native, &bucket, mode, old).await;
    }
}
