//! Archived versions: what can be read, and until when.

use std::{sync::Arc, time::Duration};

use super::world::{World, incoming};
use crate::{
    clock::Clock,
    storage::{
        Append, Attributes, Bucket, PutObject, Restore, Restored, RetrievalTier, StorageError, WriteCondition,
        lock::{Hold, Lock},
        records::{JournalOp, ObjectLockRecord, ObjectRecord, Versioning},
    },
    types::{ObjectKey, VersionSelector},
};

const DAY: Duration = Duration::from_hours(24);

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

async fn archive(world: &World, bucket: &Arc<Bucket>, name: &str, class: &str, lock: Lock) -> ObjectRecord {
    let put = PutObject {
        bucket: Arc::clone(bucket),
        key: key(name),
        location: Arc::clone(&world.location),
        attributes: Attributes { storage_class: class.to_owned(), lock, ..Attributes::default() },
        condition: WriteCondition::Always,
        body: incoming(b"bytes from long ago"),
        op: JournalOp::ObjectPut,
    };
    world.storage.put_object(put).await.unwrap()
}

fn days(days: u32) -> Restore {
    Restore { days, tier: RetrievalTier::Standard }
}

fn is_archived<T>(result: &Result<T, StorageError>, class: &str) -> bool {
    matches!(result, Err(StorageError::Archived(found)) if found == class)
}

#[tokio::test]
async fn an_archived_version_is_readable_from_its_restore_to_the_midnight_that_was_told() {
    let world = World::new();
    let bucket = world.bucket("archive", Versioning::Unversioned).await;
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        archive(&world, &bucket, "old", class, Lock::default()).await;
        assert!(is_archived(&world.get(&bucket, "old", None).await, class));
        let restored = world.storage.restore_version(&bucket, &key("old"), None, days(2)).await.unwrap();
        assert_eq!(restored, Restored::Now);
        let record = world.storage.version(&bucket, &key("old"), None).await.unwrap();
        let until = record.restored_until(world.clock.now()).unwrap();
        assert_eq!(until.as_millis() % 86_400_000, 0, "{until:?} is midnight");
        let left = until.distance(world.clock.now());
        assert!(left >= 2 * DAY && left < 3 * DAY, "{left:?}");
        assert_eq!(world.get(&bucket, "old", None).await.unwrap(), "bytes from long ago");
        // Asked for again, the days are counted anew, also where that is earlier.
        world.pass(DAY);
        let again = world.storage.restore_version(&bucket, &key("old"), None, days(1)).await.unwrap();
        assert_eq!(again, Restored::Already);
        let record = world.storage.version(&bucket, &key("old"), None).await.unwrap();
        assert_eq!(record.restored_until(world.clock.now()), Some(until));
        world.clock.set(until);
        assert!(is_archived(&world.get(&bucket, "old", None).await, class));
        let record = world.storage.version(&bucket, &key("old"), None).await.unwrap();
        assert_eq!(record.restored_until(world.clock.now()), None);
        let fresh = world.storage.restore_version(&bucket, &key("old"), None, days(1)).await.unwrap();
        assert_eq!(fresh, Restored::Now);
        assert!(world.get(&bucket, "old", None).await.is_ok());
    }
}

#[tokio::test]
async fn classes_that_are_read_at_once_are_not_restored() {
    let world = World::new();
    let bucket = world.bucket("warm", Versioning::Unversioned).await;
    for class in [
        "",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER_IR",
        "EXPRESS_ONEZONE",
        "OUTPOSTS",
        "SNOW",
        "FSX_OPENZFS",
        "FSX_ONTAP",
    ] {
        archive(&world, &bucket, "a", class, Lock::default()).await;
        assert!(world.get(&bucket, "a", None).await.is_ok(), "{class}");
        let refused = world.storage.restore_version(&bucket, &key("a"), None, days(1)).await;
        assert!(matches!(&refused, Err(StorageError::NotArchived(found)) if found == class), "{class}: {refused:?}");
    }
    archive(&world, &bucket, "a", "DEEP_ARCHIVE", Lock::default()).await;
    let fast = Restore { days: 1, tier: RetrievalTier::Expedited };
    let refused = world.storage.restore_version(&bucket, &key("a"), None, fast).await;
    assert!(matches!(refused, Err(StorageError::RetrievalTier)), "{refused:?}");
    archive(&world, &bucket, "a", "GLACIER", Lock::default()).await;
    assert_eq!(world.storage.restore_version(&bucket, &key("a"), None, fast).await.unwrap(), Restored::Now);
}

#[tokio::test]
async fn what_lies_in_a_cold_location_is_archived_whatever_its_class() {
    let mut world = World::new();
    let bucket = world.bucket("cold", Versioning::Unversioned).await;
    world.location = Arc::clone(world.storage.locations().get("cold").unwrap());
    for (class, shown) in [("", "cold"), ("STANDARD_IA", "STANDARD_IA")] {
        let record = archive(&world, &bucket, "a", class, Lock::default()).await;
        assert_eq!(record.storage_class, shown);
        assert!(is_archived(&world.get(&bucket, "a", None).await, shown));
        world.storage.restore_version(&bucket, &key("a"), None, days(1)).await.unwrap();
        assert!(world.get(&bucket, "a", None).await.is_ok());
    }
}

#[tokio::test]
async fn one_version_is_restored_even_a_locked_one_and_no_other() {
    let world = World::new();
    let bucket = world.bucket("kept", Versioning::Enabled).await;
    world.storage.set_object_lock(&bucket.name, ObjectLockRecord::default()).await.unwrap();
    let bucket = world.storage.bucket(&bucket.name).await.unwrap();
    let held = Lock { legal_hold: Hold::On, ..Lock::default() };
    let first = archive(&world, &bucket, "a", "GLACIER", held).await;
    let second = archive(&world, &bucket, "a", "GLACIER", Lock::default()).await;
    let [first, second] = [first, second].map(|record| Some(VersionSelector::Id(record.version_id())));
    world.storage.restore_version(&bucket, &key("a"), first, days(1)).await.unwrap();
    assert!(world.get(&bucket, "a", first).await.is_ok());
    assert!(is_archived(&world.get(&bucket, "a", second).await, "GLACIER"));
    assert_eq!(Lock::read(&world.storage.version(&bucket, &key("a"), first).await.unwrap()).unwrap(), held);
    world.delete(&bucket, "a", None).await.unwrap();
    let gone = world.storage.restore_version(&bucket, &key("a"), None, days(1)).await;
    assert!(matches!(gone, Err(StorageError::NoSuchKey(Some(_)))), "{gone:?}");
}

#[tokio::test]
async fn nothing_is_appended_to_an_archived_object_restored_or_not() {
    let world = World::new();
    let bucket = world.bucket("archive", Versioning::Unversioned).await;
    let record = archive(&world, &bucket, "a", "GLACIER", Lock::default()).await;
    for _ in 0..2 {
        let append = Append {
            bucket: Arc::clone(&bucket),
            key: key("a"),
            location: Arc::clone(&world.location),
            attributes: Attributes::default(),
            offset: record.size,
            condition: WriteCondition::Always,
            body: incoming(b"more"),
        };
        assert!(is_archived(&world.storage.append_object(append).await, "GLACIER"));
        world.storage.restore_version(&bucket, &key("a"), None, days(1)).await.unwrap();
    }
    assert_eq!(world.get(&bucket, "a", None).await.unwrap(), "bytes from long ago");
}
