//! What stores of named objects fail in: crashes, lost replies, refusals.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        audit::audit,
        world::{Store, World, incoming, listing_of},
    },
    KEY, MODES, Write, all_writes, check, key, left_at_store, parts, prepared, with_old,
};
use crate::{
    data::{
        DataError, MemoryNative, PartsFault,
        memory_native::{Mode, NativeFault, Step},
    },
    storage::{
        Attributes, PutObject, StorageError, Tombstones, WriteCondition, listing,
        records::{JournalOp, Versioning},
    },
};

#[tokio::test]
async fn a_crash_between_publishing_and_commit_is_rolled_forward() {
    for (mode, write, is_there) in all_writes() {
        if write == Write::Append && !is_there {
            continue;
        }
        let (world, native, bucket, _) = with_old(mode, is_there).await;
        let (step, new) = prepared(&world, &bucket, write).await;
        native.break_next(Step::Publish, NativeFault::HangAfter);
        left_at_store(&native, step).await;
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
        left_at_store(&native, step).await;
        let again = Arc::new(world.restarted());
        assert_eq!(again.storage.recover().await.unwrap(), 1, "{mode:?} {write:?} {is_there}");
        check(&again, &native, &bucket, old).await;
        if let Write::Complete(count) = write {
            let query = listing::ListQuery {
                prefix: String::new(),
                delimiter: String::new(),
                start: listing::ListStart::Beginning,
                limit: 10,
            };
            let open = again.storage.list_uploads(&bucket, &query).await.unwrap();
            let [listing::Entry::Item(upload)] = open.entries.as_slice() else { panic!("one upload") };
            let parts = parts(count);
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            again.complete(&bucket, KEY, upload.id, &listing_of(&slices)).await.unwrap();
            check(&again, &native, &bucket, Some(&new)).await;
        }
    }
}

#[tokio::test]
async fn a_rename_that_is_rolled_forward_is_remembered_as_a_delete_of_its_source() {
    for mode in MODES {
        let (world, native, bucket, _) = with_old(mode, true).await;
        let (step, _) = prepared(&world, &bucket, Write::Rename).await;
        native.break_next(Step::Publish, NativeFault::HangAfter);
        left_at_store(&native, step).await;
        let again = world.restarted();
        again.storage.remember_deletes(Tombstones::Everywhere);
        assert_eq!(again.storage.recover().await.unwrap(), 1);
        assert!(again.storage.was_deleted(&bucket, &key("before")).await.unwrap());
    }
}

#[tokio::test]
async fn what_a_store_does_for_a_caller_that_is_gone_is_waited_for() {
    for (mode, write, is_there) in all_writes() {
        if write == Write::Append && !is_there {
            continue;
        }
        let (world, native, bucket, old) = with_old(mode, is_there).await;
        let (step, new) = prepared(&world, &bucket, write).await;
        native.set_lateness(Duration::from_hours(1));
        native.break_next(Step::Publish, NativeFault::Hang);
        left_at_store(&native, step).await;
        let again = Arc::new(world.restarted());
        assert_eq!(again.storage.recover().await.unwrap(), 1, "{mode:?} {write:?} {is_there}");
        let report = again.storage.collect_garbage().await.unwrap();
        assert_eq!((report.done, report.in_use, report.failed), (0, 1, 0));
        // Nothing is lost meanwhile, and nothing is written that would be lost then.
        let now = again.get(&bucket, KEY, None).await.ok();
        assert_eq!(now.as_deref(), old);
        let refused = again.put_if(&bucket, KEY, b"too early", WriteCondition::Always).await;
        assert!(matches!(refused, Err(StorageError::Data(DataError::Unavailable(_)))), "{refused:?}");
        native.arrive().unwrap();
        check(&again, &native, &bucket, Some(&new)).await;
    }
}

#[tokio::test]
async fn a_writer_waits_until_what_was_written_before_cannot_come_any_more() {
    for mode in MODES {
        let (world, native, bucket, _) = with_old(mode, true).await;
        let lateness = Duration::from_millis(200);
        native.set_lateness(lateness);
        native.break_next(Step::Publish, NativeFault::Before);
        world.put_if(&bucket, KEY, b"one that never comes", WriteCondition::Always).await.unwrap_err();
        let began = tokio::time::Instant::now();
        world.put(&bucket, KEY, b"one that waits").await;
        assert!(began.elapsed() >= lateness / 2, "{:?}", began.elapsed());
        check(&world, &native, &bucket, Some(b"one that waits")).await;
    }
}

#[tokio::test]
async fn a_completion_that_is_asked_for_again_waits_for_nothing() {
    for mode in MODES {
        for arrives in [false, true] {
            let (world, native, bucket, _) = with_old(mode, true).await;
            let parts: [&[u8]; 2] = [b"first part", b"last part"];
            let id = world.create_upload(&bucket, KEY).await;
            for (number, part) in (1..).zip(parts) {
                world.put_part(&bucket, KEY, id, (number, part)).await.unwrap();
            }
            native.set_lateness(Duration::from_hours(1));
            native.break_next(Step::Publish, NativeFault::Before);
            world.complete(&bucket, KEY, id, &listing_of(&parts)).await.unwrap_err();
            let other = world.complete(&bucket, KEY, id, &listing_of(&parts[..1])).await;
            assert!(matches!(other, Err(StorageError::Data(DataError::Unavailable(_)))), "{other:?}");
            if arrives {
                native.arrive().unwrap();
            }
            world.complete(&bucket, KEY, id, &listing_of(&parts)).await.unwrap();
            check(&world, &native, &bucket, Some(&parts.concat())).await;
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
        left_at_store(&native, put).await;
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
async fn a_store_that_never_answers_holds_the_key_no_longer_than_its_time() {
    for mode in MODES {
        let native = Arc::new(MemoryNative::new(mode));
        let world = World::impatient(Store::Native(Arc::clone(&native)), Duration::from_millis(100));
        let bucket = world.bucket("bucket", Versioning::Unversioned).await;
        native.break_next(Step::Publish, NativeFault::Hang);
        let hung = world.put_if(&bucket, KEY, b"never published", WriteCondition::Always).await;
        assert!(matches!(hung, Err(StorageError::Data(DataError::Unavailable(_)))), "{hung:?}");
        check(&world, &native, &bucket, None).await;
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
