//! Others who come while a store of named objects is written to.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{
    super::{audit::audit, world::listing_of},
    KEY, MODES, Write, all_writes, check, left_at_store, prepared, with_old, world,
};
use crate::{
    data::memory_native::{Mode, NativeFault, Step},
    storage::{
        StorageError, Usage, WriteCondition,
        records::{BucketRecord, Versioning},
    },
    types::VersionSelector,
};

#[tokio::test]
async fn a_bucket_that_is_deleted_meanwhile_takes_what_was_published_along() {
    for mode in MODES {
        for write in [Write::Put(b"bytes of a bucket that goes"), Write::Complete(20)] {
            let (world, native, bucket) = world(mode).await;
            let (step, _) = prepared(&world, &bucket, write).await;
            native.break_next(Step::Publish, NativeFault::Wait);
            let (written, deleted) = tokio::join!(step, async {
                native.reached().await;
                let deleted = world.storage.delete_bucket(&bucket.name).await;
                native.go_on();
                deleted
            });
            deleted.unwrap();
            assert!(matches!(written, Err(StorageError::NoSuchBucket)), "{written:?}");
            world.drain().await;
            audit(&world, &[], &[bucket.id]).await;
        }
    }
}

#[tokio::test]
async fn a_publication_goes_on_when_its_client_goes_away() {
    for (mode, write, is_there) in all_writes() {
        if write == Write::Append && !is_there {
            continue;
        }
        let (world, native, bucket, _) = with_old(mode, is_there).await;
        let (step, new) = prepared(&world, &bucket, write).await;
        native.break_next(Step::Publish, NativeFault::Wait);
        left_at_store(&native, step).await;
        native.go_on();
        assert!(world.storage.finish_publications(Duration::from_mins(1)).await, "{mode:?} {write:?}");
        assert_eq!(world.storage.recover().await.unwrap(), 0, "nothing is left to be settled");
        check(&world, &native, &bucket, Some(&new)).await;
    }
}

#[tokio::test]
async fn a_reader_never_gets_bytes_of_another_version_while_one_is_published() {
    for mode in MODES {
        let (world, native, bucket, _) = with_old(mode, true).await;
        native.break_next(Step::Publish, NativeFault::HangAfter);
        left_at_store(&native, world.put_if(&bucket, KEY, b"published, and not committed", WriteCondition::Always))
            .await;
        let read = world.get(&bucket, KEY, None);
        match mode {
            Mode::Versioned => assert_eq!(read.await.unwrap(), "the old bytes"),
            // It waits for the end of the write.
            Mode::InPlace => assert!(tokio::time::timeout(Duration::from_millis(50), read).await.is_err()),
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
async fn versioning_that_is_enabled_during_a_write_is_noticed_before_anything_is_published() {
    let (world, native, bucket, old) = with_old(Mode::InPlace, true).await;
    native.break_next(Step::Stage, NativeFault::Wait);
    let (put, ()) = tokio::join!(world.put_if(&bucket, KEY, b"too late", WriteCondition::Always), async {
        native.reached().await;
        world.set_versioning(&bucket.name, Versioning::Enabled).await;
        native.go_on();
    });
    assert!(matches!(put, Err(StorageError::NotVersionable)), "{put:?}");
    let bucket = world.storage.bucket(&bucket.name).await.unwrap();
    check(&world, &native, &bucket, old).await;
}

#[tokio::test]
async fn versioning_that_is_enabled_while_one_is_published_finds_the_new_object_as_the_null_version() {
    for write in
        [Write::Put(b"the new bytes, of which there are more"), Write::Complete(3), Write::Append, Write::Rename]
    {
        let (world, native, bucket, _) = with_old(Mode::InPlace, true).await;
        let (step, new) = prepared(&world, &bucket, write).await;
        native.break_next(Step::Publish, NativeFault::Wait);
        let (written, ()) = tokio::join!(step, async {
            native.reached().await;
            world.set_versioning(&bucket.name, Versioning::Enabled).await;
            native.go_on();
        });
        written.unwrap();
        let bucket = world.storage.bucket(&bucket.name).await.unwrap();
        check(&world, &native, &bucket, Some(&new)).await;
        assert_eq!(world.get(&bucket, KEY, Some(VersionSelector::Null)).await.unwrap(), new, "{write:?}");
        assert_eq!(world.storage.usage(&bucket).await.unwrap().versions, 1, "the store has lost what was there before");
    }
}

#[tokio::test]
async fn a_part_that_comes_while_its_upload_is_completed_is_refused() {
    for mode in MODES {
        let (world, native, bucket) = world(mode).await;
        let id = world.create_upload(&bucket, KEY).await;
        world.put_part(&bucket, KEY, id, (1, b"the only part")).await.unwrap();
        native.break_next(Step::Publish, NativeFault::Wait);
        let list = listing_of(&[b"the only part"]);
        let (completed, late) = tokio::join!(world.complete(&bucket, KEY, id, &list), async {
            native.reached().await;
            let late = world.put_part(&bucket, KEY, id, (2, b"too late")).await;
            native.go_on();
            late
        });
        assert!(matches!(late, Err(StorageError::NoSuchUpload)), "{late:?}");
        let again = world.complete(&bucket, KEY, id, &list).await.unwrap();
        assert_eq!(again.etag, completed.unwrap().etag);
        check(&world, &native, &bucket, Some(b"the only part")).await;
    }
}

#[tokio::test]
async fn what_is_being_published_has_room_and_is_not_reported_yet() {
    for mode in MODES {
        let (world, native, bucket) = world(mode).await;
        let limit = |record: &mut BucketRecord| (record.quota_bytes, record.quota_objects) = (30, 3);
        let bucket = world.storage.update_bucket(&bucket.name, limit).await.unwrap();
        world.put(&bucket, "there", &[b'x'; 10]).await;
        let put = async |key: &str, bytes: usize| {
            world.put_if(&bucket, key, &vec![b'x'; bytes], WriteCondition::Always).await
        };
        let usage = async || world.storage.usage(&bucket).await.unwrap();
        let there = Usage { objects: 1, versions: 1, bytes: 10, ..Usage::default() };
        assert_eq!(usage().await, there);

        native.break_next(Step::Publish, NativeFault::Wait);
        let (published, beside) = tokio::join!(put(KEY, 15), async {
            native.reached().await;
            let seen = (usage().await, put("beside", 6).await, put("beside", 5).await, put("one more", 0).await);
            native.go_on();
            seen
        });
        published.unwrap();
        let (reported, too_large, fits, too_many) = beside;
        assert_eq!(reported, Usage { held_bytes: 15, ..there });
        assert!(matches!(too_large, Err(StorageError::QuotaExceeded)), "{too_large:?}");
        fits.unwrap();
        assert!(matches!(too_many, Err(StorageError::QuotaExceeded)), "{too_many:?}");
        assert_eq!(usage().await, Usage { objects: 3, versions: 3, bytes: 30, ..Usage::default() });

        // What comes to nothing gives its room back.
        world.delete(&bucket, KEY, None).await.unwrap();
        native.break_next(Step::Publish, NativeFault::Forget);
        put(KEY, 15).await.unwrap_err();
        put(KEY, 15).await.unwrap();
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
}
