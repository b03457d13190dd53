//! Annotations, renames, appends and quotas: whatever is done, the store is whole afterwards.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    audit::audit,
    world::{Dice, World, incoming},
};
use crate::{
    storage::{
        AnnotationSource, Append, Attributes, Bucket, Expected, NewAnnotation, PutObject, Rename, StorageError,
        StorageResult, WriteCondition,
        listing::ListQuery,
        lock::Bypass,
        records::{ChecksumRecord, JournalOp, ObjectRecord, Versioning},
    },
    types::{Checksum, ChecksumAlgorithm, ChecksumType, ObjectKey, VersionSelector},
};

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

/// Whatever version is there.
const ANY: Expected<'static> = Expected { version: None, tag: None };

fn annotation(name: &str, text: &str) -> NewAnnotation {
    let checksum = Checksum::of(ChecksumAlgorithm::Crc64Nvme, text.as_bytes());
    NewAnnotation {
        name: name.to_owned(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
        md5: [7; 16],
        checksum: ChecksumRecord::new(&checksum, ChecksumType::FullObject, 0),
    }
}

async fn append(
    world: &World,
    bucket: &Arc<Bucket>,
    name: &str,
    offset: u64,
    more: &[u8],
) -> StorageResult<ObjectRecord> {
    let append = Append {
        bucket: Arc::clone(bucket),
        key: key(name),
        location: Arc::clone(&world.location),
        attributes: Attributes::default(),
        offset,
        condition: WriteCondition::Always,
        body: incoming(more),
    };
    world.storage.append_object(append).await
}

async fn rename(world: &World, bucket: &Arc<Bucket>, from: &str, to: &str) -> StorageResult<()> {
    let rename = Rename {
        bucket: Arc::clone(bucket),
        source: key(from),
        destination: key(to),
        condition: WriteCondition::Always,
        check: Box::new(|_, _| Ok(())),
        token: None,
    };
    world.storage.rename_object(rename).await
}

/// A copy with its annotations, or one that is given up before it is written.
async fn copy(world: &World, bucket: &Arc<Bucket>, from: &str, to: &str, write: bool) -> StorageResult<()> {
    let record = world.storage.version(bucket, &key(from), None).await?;
    let source = AnnotationSource { bucket: Arc::clone(bucket), key: key(from), record: Box::new(record) };
    let bytes = world.get(bucket, from, None).await?;
    if write {
        let put = PutObject {
            bucket: Arc::clone(bucket),
            key: key(to),
            location: Arc::clone(&world.location),
            attributes: Attributes { annotations: Some(source), ..Attributes::default() },
            condition: WriteCondition::Always,
            body: incoming(&bytes),
            op: JournalOp::ObjectCopied,
        };
        world.storage.put_object(put).await?;
    } else {
        world.storage.copy_annotations(&source, bucket, None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn any_mix_of_operations_leaves_what_a_model_says_and_no_row_too_many() {
    const NAMES: [&str; 4] = ["a", "b", "c/d", "c/e"];
    for seed in 0..6 {
        let world = World::new();
        let bucket = world.bucket("mixed", Versioning::Unversioned).await;
        let mut model: BTreeMap<&str, (Vec<u8>, BTreeMap<String, String>)> = BTreeMap::new();
        let mut dice = Dice::new(seed);
        for step in 0..400 {
            let (name, other) = (*dice.pick(&NAMES).unwrap(), *dice.pick(&NAMES).unwrap());
            let text = format!("{step}").repeat(usize::try_from(dice.roll(8)).unwrap());
            match dice.roll(12) {
                0 => {
                    world.put(&bucket, name, text.as_bytes()).await;
                    model.insert(name, (text.into_bytes(), BTreeMap::new()));
                }
                1 => {
                    world.delete(&bucket, name, None).await.unwrap();
                    model.remove(name);
                }
                2 if name != other => {
                    let done = rename(&world, &bucket, name, other).await;
                    match model.remove(name) {
                        Some(object) => {
                            done.unwrap();
                            model.insert(other, object);
                        }
                        None => assert!(matches!(done, Err(StorageError::NoSuchKey(None)))),
                    }
                }
                3 | 4 => {
                    let annotation_name = format!("n{}", dice.roll(3));
                    let (place, new) = (key(name), annotation(&annotation_name, &format!("x{text}")));
                    let written = world.storage.put_annotation(&bucket, (&place, None), &new, ANY, Bypass::No).await;
                    assert_eq!(written.is_ok(), model.contains_key(name));
                    if let Some((_, annotations)) = model.get_mut(name) {
                        annotations.insert(annotation_name, format!("x{text}"));
                    }
                }
                5 => {
                    let removed =
                        world.storage.delete_annotation(&bucket, (&key(name), None), "n1", ANY, Bypass::No).await;
                    assert_eq!(removed.is_ok(), model.contains_key(name));
                    if let Some((_, annotations)) = model.get_mut(name) {
                        annotations.remove("n1");
                    }
                }
                6 => {
                    let write = dice.roll(2) == 0;
                    let done = copy(&world, &bucket, name, other, write).await;
                    assert_eq!(done.is_ok(), model.contains_key(name));
                    if let Some(object) = model.get(name).cloned().filter(|_| write) {
                        model.insert(other, object);
                    }
                }
                _ => {
                    let size = model.get(name).map_or(0, |(bytes, _)| bytes.len() as u64);
                    append(&world, &bucket, name, size, text.as_bytes()).await.unwrap();
                    model.entry(name).or_default().0.extend(text.as_bytes());
                    let wrong = append(&world, &bucket, name, size + 100, b"x").await;
                    assert!(matches!(wrong, Err(StorageError::WriteOffset { .. })));
                }
            }
        }
        for name in NAMES {
            let Some((bytes, annotations)) = model.get(name) else {
                assert!(world.get(&bucket, name, None).await.is_err());
                continue;
            };
            assert_eq!(world.get(&bucket, name, None).await.unwrap(), *bytes, "seed {seed}, {name}");
            let record = world.storage.version(&bucket, &key(name), None).await.unwrap();
            let page = world.storage.annotations(&bucket, &record, ("", ""), 10).await.unwrap();
            let mut found = BTreeMap::new();
            for (annotation, _) in page.annotations {
                let (_, text) = world.storage.annotation(&bucket, &record, &annotation).await.unwrap();
                found.insert(annotation, String::from_utf8(text.to_vec()).unwrap());
            }
            assert_eq!(found, *annotations, "seed {seed}, {name}");
        }
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
}

#[tokio::test]
async fn annotations_go_with_their_version_and_with_their_bucket() {
    let world = World::new();
    let bucket = world.bucket("kept", Versioning::Enabled).await;
    for round in 0..3 {
        world.put(&bucket, "a", b"body").await;
        for name in ["one", "two"] {
            let text = format!("text {round}");
            world
                .storage
                .put_annotation(&bucket, (&key("a"), None), &annotation(name, &text), ANY, Bypass::No)
                .await
                .unwrap();
        }
    }
    audit(&world, &[&bucket], &[]).await;
    world.delete(&bucket, "a", None).await.unwrap();
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let page = world.storage.list_versions(&bucket, &query).await.unwrap();
    let versions: Vec<_> = page.items().map(|entry| entry.record.version_id()).collect();
    for id in versions {
        world.delete(&bucket, "a", Some(VersionSelector::Id(id))).await.unwrap();
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
    world.storage.delete_bucket(&bucket.name).await.unwrap();
    world.drain().await;
    audit(&world, &[], &[bucket.id]).await;
}

#[tokio::test]
async fn copies_of_annotations_that_a_crash_left_are_removed_at_the_next_start() {
    let world = World::new();
    let bucket = world.bucket("crashed", Versioning::Unversioned).await;
    let record = world.put(&bucket, "a", b"body").await;
    world.storage.put_annotation(&bucket, (&key("a"), None), &annotation("n", "text"), ANY, Bypass::No).await.unwrap();
    drop(record);
    let record = world.storage.version(&bucket, &key("a"), None).await.unwrap();
    let source = AnnotationSource { bucket: Arc::clone(&bucket), key: key("a"), record: Box::new(record) };
    let copied = world.storage.copy_annotations(&source, &bucket, None).await.unwrap();
    // A process that is killed drops nothing: the copies are held to the end.
    let world = world.restarted();
    assert_eq!(world.storage.recover().await.unwrap(), 1);
    audit(&world, &[&bucket], &[]).await;
    drop(copied);
}

#[tokio::test]
async fn a_limit_holds_for_writers_that_began_before_it() {
    let world = World::new();
    let bucket = world.bucket("limited", Versioning::Unversioned).await;
    let set = |bytes: u64| {
        let (storage, name) = (world.storage.clone(), bucket.name.clone());
        async move { storage.update_bucket(&name, |record| record.quota_bytes = bytes).await.unwrap() }
    };
    set(100).await;
    // They know the bucket as it was without a limit.
    let writes = (0..30).map(|number| {
        let (world, bucket) = (&world, &bucket);
        async move { world.put_if(bucket, &format!("k{number}"), &[b'x'; 7], WriteCondition::Always).await }
    });
    let outcomes = join_all(writes).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 14);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(StorageError::QuotaExceeded))));
    set(0).await;
    world.put(&bucket, "more", &[b'x'; 1000]).await;
    set(50).await;
    let full = world.put_if(&bucket, "again", b"x", WriteCondition::Always).await;
    assert!(matches!(full, Err(StorageError::QuotaExceeded)));
    world.delete(&bucket, "more", None).await.unwrap();
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
}
