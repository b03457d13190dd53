//! Moves into and out of stores that keep objects under their own names.

use std::time::Duration;

use super::*;
use crate::{
    clock::Clock,
    data::memory_native::{NativeFault, Step},
    storage::{
        EncryptionRequest, LocationUsage,
        records::{ContentHeaders, Pair},
    },
};

const MODES: [Mode; 2] = [Mode::Versioned, Mode::InPlace];
const TEXT: &[u8] = b"long enough for a blob, and longer";

fn to_named() -> JobRequest {
    JobRequest { to: "named".into(), ..to_new() }
}

fn attributes() -> Attributes {
    let pair = |name: &str, value: &str| Pair { name: name.into(), value: value.into() };
    Attributes {
        content: ContentHeaders { content_type: Some("text/plain".into()), ..ContentHeaders::default() },
        metadata: vec![pair("colour", "blue")],
        tags: vec![pair("state", "new")],
        ..Attributes::default()
    }
}

/// Several kinds of objects, and what they hold.
async fn fill(world: &World, bucket: &Arc<Bucket>) -> Vec<(&'static str, ObjectRecord, Vec<u8>)> {
    let parts: Vec<Vec<u8>> = (0..70_u8).map(|number| vec![number; 9]).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let managed = Attributes { encryption: EncryptionRequest::Managed, ..attributes() };
    vec![
        ("blob", world.put_with(bucket, "blob", TEXT, attributes()).await, TEXT.to_vec()),
        ("tiny", world.put_with(bucket, "tiny", b"tiny", attributes()).await, b"tiny".to_vec()),
        ("empty", world.put(bucket, "empty", b"").await, Vec::new()),
        ("sealed", world.put_with(bucket, "sealed", TEXT, managed.clone()).await, TEXT.to_vec()),
        ("seal", world.put_with(bucket, "seal", b"tiny", managed).await, b"tiny".to_vec()),
        ("few", world.multipart(bucket, "few", &parts[..3]).await, parts[..3].concat()),
        ("many", world.multipart(bucket, "many", &parts).await, parts.concat()),
    ]
}

/// A record without what a move to a name may change.
fn known(record: &ObjectRecord) -> ObjectRecord {
    let mut record = ObjectRecord { segments: Vec::new(), layout: None, ..essence(record) };
    record.upload_id.clear();
    record
}

async fn usage(world: &World, location: &str) -> LocationUsage {
    world.storage.usage_of_location(location).await.unwrap()
}

/// Both stores hold what their counters say, and nothing is under way or waits.
async fn assert_settled(world: &World, bucket: &Bucket) {
    for _ in 0..20 {
        world.storage.collect_garbage().await.unwrap();
        if world.storage.garbage_pending(1).await.unwrap() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.storage.garbage_pending(10).await.unwrap(), 0);
    assert_eq!(world.named.unfinished(), 0, "nothing is left staged");
    let all = world.storage.usage(bucket).await.unwrap();
    let places = world.storage.usage_of_locations().await.unwrap();
    let sum = |of: fn(&LocationUsage) -> i64| places.values().map(of).sum::<i64>();
    assert_eq!((sum(|it| it.versions), sum(|it| it.bytes)), (all.versions, all.bytes));
    assert_eq!(sum(|it| it.held_bytes), 0, "no room is held");
}

async fn moved(world: &World, bucket: &Arc<Bucket>, request: JobRequest) -> JobRecord {
    let job = world.submit(bucket, request).await.unwrap();
    world.work().await;
    world.jobs.find(&job.id).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_newest_version_stands_under_its_own_name_after_a_move() {
    for mode in MODES {
        let world = World::with(mode);
        let bucket = world.bucket(Versioning::Unversioned).await;
        let objects = Box::pin(fill(&world, &bucket)).await;
        let before = usage(&world, "old").await;
        let job = moved(&world, &bucket, to_named()).await;
        assert_eq!((job.state(), job.left, job.failed), (JobState::Done, 0, 0), "{mode:?} {job:?}");
        assert_eq!(job.done, objects.len() as u64);
        assert_settled(&world, &bucket).await;
        assert_eq!(world.blobs().await, [0, 0]);
        assert_eq!(usage(&world, "old").await, LocationUsage::default());
        assert_eq!(usage(&world, "named").await, before);
        for (key, was, text) in &objects {
            let (record, bytes) = world.get(&bucket, key, None).await;
            assert_eq!(bytes, text, "{key}");
            assert_eq!(known(&record), known(was), "{key}");
            let (object, seen) = world.named.seen(&format!("bucket/{key}")).expect("it has its name");
            if was.encryption.is_some() {
                assert_ne!(seen, text, "what is encrypted here is so there");
            } else {
                assert_eq!(seen, text, "{key}");
            }
            if !was.tags.is_empty() {
                assert_eq!(object.tags, [("state".to_owned(), "new".to_owned())]);
                assert_eq!(object.metadata, [("colour".to_owned(), "blue".to_owned())]);
                assert_eq!(object.headers, [("content-type", "text/plain".to_owned())]);
            }
        }
        // And out again, with nothing left behind.
        let job = moved(&world, &bucket, JobRequest { from: "named".into(), ..to_new() }).await;
        assert_eq!((job.state(), job.left, job.failed), (JobState::Done, 0, 0), "{mode:?} {job:?}");
        assert_settled(&world, &bucket).await;
        assert_eq!(world.named.stored_bytes(), 0);
        assert!(world.named.seen("bucket/empty").is_none());
        for (key, was, text) in &objects {
            let (record, bytes) = world.get(&bucket, key, None).await;
            assert_eq!((&bytes[..], known(&record)), (&text[..], known(was)), "{key}");
        }
    }
}

#[tokio::test]
async fn older_versions_take_nobodys_name() {
    for mode in MODES {
        let world = World::with(mode);
        let bucket = world.bucket(Versioning::Enabled).await;
        let held = Lock { legal_hold: Hold::On, ..Lock::default() };
        world
            .storage
            .update_bucket(&bucket.name, |record| record.object_lock = Some(ObjectLockRecord::default()))
            .await
            .unwrap();
        let bucket = world.storage.bucket(&bucket.name).await.unwrap();
        let old = world.put_with(&bucket, "a", b"the older version", Attributes { lock: held, ..attributes() }).await;
        let new = world.put(&bucket, "a", b"the newer version").await;
        let job = moved(&world, &bucket, to_named()).await;
        assert_eq!((job.state(), job.left, job.done), (JobState::Done, 0, 2), "{mode:?} {job:?}");
        assert_settled(&world, &bucket).await;
        for (was, text) in [(&old, "the older version"), (&new, "the newer version")] {
            let (record, bytes) = world.get(&bucket, "a", Some(VersionSelector::Id(was.version_id()))).await;
            assert_eq!((&bytes[..], record.location.as_str()), (text.as_bytes(), "named"));
        }
        // A store that keeps one version is given none of a bucket that keeps many.
        let seen = world.named.seen("bucket/a").map(|(_, bytes)| bytes);
        assert_eq!(seen.is_some(), mode == Mode::Versioned);
        assert!(seen.is_none_or(|seen| seen == "the newer version"));
        let key = ObjectKey::new("a").unwrap();
        let id = Some(VersionSelector::Id(old.version_id()));
        let refused = world.storage.delete_object(&bucket, &key, id, &DeleteCondition::default()).await;
        assert!(matches!(refused, Err(StorageError::Lock(_))), "it stays locked");
    }
}

#[tokio::test]
async fn markers_of_a_store_go_with_what_they_hide() {
    let mut world = World::new();
    world.home = "named";
    let bucket = world.bucket(Versioning::Enabled).await;
    let key = ObjectKey::new("a").unwrap();
    world.put(&bucket, "a", TEXT).await;
    world.storage.delete_object(&bucket, &key, None, &DeleteCondition::default()).await.unwrap();
    assert_settled(&world, &bucket).await;
    world.put(&bucket, "a", TEXT).await;
    world.storage.delete_object(&bucket, &key, None, &DeleteCondition::default()).await.unwrap();
    assert_settled(&world, &bucket).await;
    assert_eq!(world.named.versions("bucket/a"), 4);
    let job = moved(&world, &bucket, JobRequest { from: "named".into(), ..to_new() }).await;
    assert_eq!((job.state(), job.left, job.done), (JobState::Done, 0, 2), "{job:?}");
    assert_settled(&world, &bucket).await;
    assert_eq!(world.named.versions("bucket/a"), 0, "no marker is left behind");
    assert_eq!(usage(&world, "named").await, LocationUsage::default());
    assert!(matches!(
        world.storage.version(&bucket, &key, None).await,
        Err(StorageError::NoSuchKey(Some(marker))) if marker.segments.is_empty()
    ));
}

/// The ends that a process can come to in each step at a store: it never answers, the step done or not.
const ENDS: [(Step, NativeFault); 6] = [
    (Step::Stage, NativeFault::Hang),
    (Step::Stage, NativeFault::HangAfter),
    (Step::Publish, NativeFault::Hang),
    (Step::Publish, NativeFault::HangAfter),
    (Step::Get, NativeFault::Hang),
    (Step::Discard, NativeFault::Hang),
];

#[tokio::test]
async fn a_process_that_ends_in_any_step_of_a_move_loses_nothing_and_leaves_nothing() {
    for mode in MODES {
        for (step, end) in ENDS {
            for text in [TEXT, b"tiny", b""] {
                let mut world = World::with(mode);
                let bucket = world.bucket(Versioning::Unversioned).await;
                world.put(&bucket, "a", text).await;
                world.put(&bucket, "b", text).await;
                let before = usage(&world, "old").await;
                let job = world.submit(&bucket, to_named()).await.unwrap();
                world.named.break_next(step, end);
                let stuck = tokio::time::timeout(Duration::from_millis(60), world.work()).await;
                let what = format!("{mode:?} {step:?} {end:?} {} {stuck:?}", text.len());
                // What hangs is what the dead process had asked for: nobody hears the answer.
                world.restart();
                world.storage.recover().await.unwrap();
                let bucket = world.storage.bucket(&bucket.name).await.unwrap();
                assert_eq!(world.get(&bucket, "a", None).await.1, text, "{what}");
                world.work().await;
                let job = world.jobs.find(&job.id).await.unwrap().unwrap();
                assert_eq!((job.state(), job.left), (JobState::Done, 0), "{what} {job:?}");
                for key in ["a", "b"] {
                    assert_eq!(world.get(&bucket, key, None).await.1, text, "{what}");
                    assert_eq!(world.named.seen(&format!("bucket/{key}")).unwrap().1, text, "{what}");
                }
                assert_eq!(usage(&world, "named").await, before, "{what}");
                assert_eq!(usage(&world, "old").await, LocationUsage::default(), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_reply_that_is_lost_costs_a_second_look_and_nothing_else() {
    for mode in MODES {
        for step in [Step::Stage, Step::Publish, Step::Get] {
            for fault in [NativeFault::Before, NativeFault::LostReply, NativeFault::Forget] {
                if (step, fault) == (Step::Stage, NativeFault::LostReply) {
                    // What it is called there was in the reply: such leftovers go by a rule of the store.
                    continue;
                }
                let world = World::with(mode);
                let bucket = world.bucket(Versioning::Unversioned).await;
                let objects = Box::pin(fill(&world, &bucket)).await;
                world.named.break_next(step, fault);
                let job = moved(&world, &bucket, to_named()).await;
                let what = format!("{mode:?} {step:?} {fault:?} {job:?}");
                assert_settled(&world, &bucket).await;
                if job.state() == JobState::Failed {
                    moved(&world, &bucket, to_named()).await;
                    assert_settled(&world, &bucket).await;
                }
                for (key, _, text) in &objects {
                    let (record, bytes) = world.get(&bucket, key, None).await;
                    assert_eq!((&bytes[..], record.location.as_str()), (&text[..], "named"), "{what}");
                    assert!(world.named.seen(&format!("bucket/{key}")).is_some(), "{what}");
                }
                assert_eq!(world.blobs().await, [0, 0], "{what}");
                assert_eq!(usage(&world, "old").await, LocationUsage::default(), "{what}");
            }
        }
    }
}

/// What clients do to an object while it is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Overwrite,
    OverwriteThere,
    Delete,
    Tag,
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_an_object_while_it_is_moved_is_obeyed() {
    let all = [Meanwhile::Overwrite, Meanwhile::OverwriteThere, Meanwhile::Delete, Meanwhile::Tag];
    for (mode, what, step) in MODES.into_iter().flat_map(|mode| {
        all.into_iter().flat_map(move |what| [Step::Stage, Step::Publish, Step::Get].map(|step| (mode, what, step)))
    }) {
        let mut world = World::with(mode);
        let bucket = world.bucket(Versioning::Unversioned).await;
        world.put_with(&bucket, "a", TEXT, attributes()).await;
        let key = ObjectKey::new("a").unwrap();
        let job = world.submit(&bucket, to_named()).await.unwrap();
        world.named.break_next(step, NativeFault::Wait);
        world.home = if what == Meanwhile::OverwriteThere { "named" } else { "old" };
        let client = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            match what {
                Meanwhile::Overwrite | Meanwhile::OverwriteThere => {
                    world.put(&bucket, "a", b"written meanwhile").await;
                }
                Meanwhile::Delete => {
                    world.storage.delete_object(&bucket, &key, None, &DeleteCondition::default()).await.unwrap();
                }
                Meanwhile::Tag => {
                    let tags = vec![Pair { name: "state".into(), value: "changed".into() }];
                    let change = |record: &mut ObjectRecord| record.tags.clone_from(&tags);
                    world.storage.update_version(&bucket, &key, None, change).await.unwrap();
                }
            }
        };
        let later = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            world.named.go_on();
        };
        tokio::join!(world.work(), client, later);
        let told = format!("{mode:?} {what:?} {step:?}");
        assert_settled(&world, &bucket).await;
        let job = world.jobs.find(&job.id).await.unwrap().unwrap();
        let seen = world.named.seen("bucket/a");
        match what {
            Meanwhile::Delete => {
                let gone = world.storage.version(&bucket, &key, None).await;
                assert!(matches!(gone, Err(StorageError::NoSuchKey(_))), "{told}");
                assert!(seen.is_none(), "{told}");
                assert_eq!((world.named.stored_bytes(), world.blobs().await), (0, [0, 0]), "{told}");
            }
            Meanwhile::Overwrite | Meanwhile::OverwriteThere => {
                let (record, bytes) = world.get(&bucket, "a", None).await;
                assert_eq!(bytes, "written meanwhile", "{told}");
                let is_named = record.location == "named";
                assert_eq!(seen.map(|(_, bytes)| bytes), is_named.then_some(bytes), "{told} {job:?}");
            }
            Meanwhile::Tag => {
                let (record, bytes) = world.get(&bucket, "a", None).await;
                assert_eq!((&bytes[..], record.tags[0].value.as_str()), (TEXT, "changed"), "{told}");
                assert_eq!((job.state(), record.location.as_str()), (JobState::Done, "named"), "{told} {job:?}");
                assert_eq!(seen.unwrap().0.tags, [("state".to_owned(), "changed".to_owned())], "{told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_back_otherwise_is_taken_back() {
    for mode in MODES {
        let world = World::with(mode);
        let bucket = world.bucket(Versioning::Unversioned).await;
        world.put(&bucket, "a", TEXT).await;
        let job = world.submit(&bucket, to_named()).await.unwrap();
        let spoil = async {
            for round in 1_u32.. {
                world.named.spoil("bucket/a");
                if round % 40 == 0 {
                    world.named.go_on();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        for _ in 0..3 {
            world.named.break_next(Step::Get, NativeFault::Wait);
        }
        tokio::select! {
            () = world.work() => {}
            () = spoil => {}
        }
        assert_settled(&world, &bucket).await;
        let job = world.jobs.find(&job.id).await.unwrap().unwrap();
        assert_eq!((job.state(), job.left), (JobState::Failed, 1), "{job:?}");
        assert!(job.notes.iter().any(|note| note.contains("reads back the same")), "{job:?}");
        let (record, bytes) = world.get(&bucket, "a", None).await;
        assert_eq!((&bytes[..], record.location.as_str()), (TEXT, "old"));
        assert_eq!(world.named.stored_bytes(), 0);
        assert_eq!(usage(&world, "named").await, LocationUsage::default());
    }
}

#[tokio::test]
async fn a_move_stops_at_the_limit_of_its_target() {
    let world = World::with(Mode::InPlace);
    world.storage.limit_locations(&world.storage.locations()).await.unwrap();
    let bucket = world.bucket(Versioning::Unversioned).await;
    for key in ["a", "b", "c"] {
        world.put(&bucket, key, TEXT).await;
    }
    let job = moved(&world, &bucket, JobRequest { to: "narrow".into(), ..to_new() }).await;
    assert_eq!((job.state(), job.left, job.done), (JobState::Failed, 2, 1), "{job:?}");
    assert_settled(&world, &bucket).await;
    assert_eq!(world.named.stored_bytes(), TEXT.len() as u64, "what found no room was not left there");
    for key in ["a", "b", "c"] {
        assert_eq!(world.get(&bucket, key, None).await.1, TEXT);
    }
}

#[tokio::test]
async fn a_move_waits_for_a_store_that_is_away() {
    let world = World::with(Mode::InPlace);
    let bucket = world.bucket(Versioning::Unversioned).await;
    for number in 0..40 {
        world.put(&bucket, &format!("{number}"), TEXT).await;
    }
    let job = world.submit(&bucket, to_named()).await.unwrap();
    let tasks = Tasks::default();
    let mut stop = tasks.stop_signal();
    world.named.set_away(true);
    for _ in 0..5 {
        assert_eq!(world.jobs.turn(&mut stop).await.unwrap(), Turn::Failed);
    }
    let waiting = world.jobs.find(&job.id).await.unwrap().unwrap();
    assert_eq!((waiting.state(), waiting.done), (JobState::Running, 0));
    assert!(waiting.message.contains("waiting: "), "{waiting:?}");
    world.named.set_away(false);
    world.work().await;
    assert_settled(&world, &bucket).await;
    let job = world.jobs.find(&job.id).await.unwrap().unwrap();
    assert_eq!((job.state(), job.done, job.failed), (JobState::Done, 40, 0), "{job:?}");
}

#[tokio::test]
async fn two_names_of_one_store_of_named_objects_need_no_copy() {
    let mut world = World::new();
    world.home = "named";
    let bucket = world.bucket(Versioning::Enabled).await;
    let key = ObjectKey::new("gone").unwrap();
    world.put(&bucket, "a", TEXT).await;
    world.put(&bucket, "gone", TEXT).await;
    world.storage.delete_object(&bucket, &key, None, &DeleteCondition::default()).await.unwrap();
    assert_settled(&world, &bucket).await;
    let published = world.named.count(Step::Publish);
    let job = moved(&world, &bucket, JobRequest { from: "named".into(), to: "also-named".into(), ..to_new() }).await;
    assert_eq!((job.state(), job.left, job.done), (JobState::Done, 0, 2), "{job:?}");
    assert_settled(&world, &bucket).await;
    assert_eq!(world.named.count(Step::Publish), published);
    assert_eq!(world.named.versions("bucket/gone"), 2, "the marker hides it still");
    assert_eq!(usage(&world, "named").await, LocationUsage::default());
    assert_eq!(world.get(&bucket, "a", None).await.1, TEXT);
}

#[tokio::test]
async fn what_a_location_does_not_confirm_is_counted_with_its_age() {
    let mut world = World::new();
    world.home = "named";
    let bucket = world.bucket(Versioning::Unversioned).await;
    world.put(&bucket, "a", TEXT).await;
    assert!(world.storage.unconfirmed().is_empty());
    world.named.set_away(true);
    let began = world.clock.now();
    let key = ObjectKey::new("a").unwrap();
    world.storage.delete_object(&bucket, &key, None, &DeleteCondition::default()).await.unwrap();
    world.storage.collect_garbage().await.unwrap();
    world.clock.set(Timestamp::from_millis(world.clock.now().as_millis() + 100_000));
    world.storage.collect_garbage().await.unwrap();
    let waiting = world.storage.unconfirmed();
    assert_eq!((waiting["named"].notes, waiting["named"].since), (1, began));
    // A write whose outcome nobody knows waits from its note on, over a restart, too.
    world.named.set_away(false);
    world.named.break_next(Step::Publish, NativeFault::Hang);
    let noted = world.clock.now();
    let location = Arc::clone(world.storage.locations().get("named").unwrap());
    let put = PutObject {
        bucket: Arc::clone(&bucket),
        key,
        location,
        attributes: Attributes::default(),
        condition: WriteCondition::Always,
        body: incoming(TEXT),
        op: JournalOp::ObjectPut,
    };
    world.storage.put_object(put).await.unwrap_err();
    world.named.set_away(true);
    world.clock.set(Timestamp::from_millis(world.clock.now().as_millis() + 50_000));
    world.restart();
    world.storage.recover().await.unwrap();
    let waiting = world.storage.unconfirmed();
    assert_eq!((waiting["named"].notes, waiting["named"].since), (1, noted));
    world.named.set_away(false);
    assert_settled(&world, &bucket).await;
    assert!(world.storage.unconfirmed().is_empty());
}
