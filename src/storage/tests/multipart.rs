//! Multipart uploads, one thing at a time.

use std::{sync::Arc, time::Duration};

use super::{
    audit::audit,
    world::{World, incoming_with, listed, listing_of},
};
use crate::{
    storage::{
        AnnouncedChecksum, Attributes, Bucket, CompleteRequest, CompletionFault, ListedPart, NewUpload, StorageError,
        WriteCondition, keys,
        records::{Pair, Versioning},
    },
    types::{
        Checksum, ChecksumAlgorithm, ChecksumType, ETag, ObjectKey, UploadId, VersionSelector,
        checksum::composite,
        digest::{Digest, Md5},
    },
};

const KEY: &str = "large/object";

async fn world() -> (World, Arc<Bucket>) {
    let world = World::new();
    let bucket = world.bucket("uploads", Versioning::Unversioned).await;
    (world, bucket)
}

fn key() -> ObjectKey {
    ObjectKey::new(KEY).unwrap()
}

fn bodies(count: u16) -> Vec<Vec<u8>> {
    (1..=count).map(|number| format!("body of part {number};").into_bytes()).collect()
}

fn slices(bodies: &[Vec<u8>]) -> Vec<&[u8]> {
    bodies.iter().map(Vec::as_slice).collect()
}

#[tokio::test]
async fn an_object_of_any_number_of_parts_reads_as_their_sum() {
    for count in [1, 2, 16, 17, 64, 65, 130] {
        let (world, bucket) = world().await;
        let bodies = bodies(count);
        let record = world.multipart(&bucket, KEY, &slices(&bodies)).await;
        let whole = bodies.concat();
        assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), whole, "{count} parts");
        assert_eq!(record.part_count(), Some(u32::from(count)));
        assert_eq!(record.layout.is_some(), usize::from(count) > keys::INLINE_SEGMENTS);
        let md5s: Vec<[u8; 16]> = bodies.iter().map(|body| Md5::digest(body).into()).collect();
        assert_eq!(record.etag(), ETag::from_parts(md5s.iter()));
        // Where AWS has none declared it keeps CRC64NVME of the whole.
        let crc64 = Checksum::of(ChecksumAlgorithm::Crc64Nvme, &whole);
        assert_eq!(record.checksum.as_ref().unwrap().to_text(), Some(crc64.to_base64()));
        let mut start = 0;
        for (index, body) in (0..).zip(&bodies) {
            let (part, at) = world.storage.part_at(&bucket, &record, index).await.unwrap().unwrap();
            assert_eq!((part.size, at, part.part_number), (body.len() as u64, start, index + 1));
            start += part.size;
        }
        assert_eq!(world.storage.part_at(&bucket, &record, u32::from(count)).await.unwrap(), None);
        for range in [0..1, 1..whole.len(), whole.len() / 2..whole.len() / 2 + 1, whole.len() - 1..whole.len()] {
            let wanted = range.start as u64..range.end as u64;
            let stream = world.storage.open(&bucket, &key(), &record, wanted).await.unwrap();
            assert_eq!(crate::types::body::collect(stream, usize::MAX).await.unwrap(), whole[range]);
        }
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
        world.delete(&bucket, KEY, None).await.unwrap();
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
        assert_eq!(world.backend.stored_bytes(), 0);
    }
}

#[tokio::test]
async fn an_object_has_what_its_upload_was_created_with() {
    let (world, bucket) = world().await;
    let bucket = world.set_versioning(&bucket.name, Versioning::Enabled).await;
    let attributes = Attributes {
        metadata: vec![Pair { name: "colour".to_owned(), value: "blue".to_owned() }],
        redirect: "/elsewhere".to_owned(),
        ..Attributes::default()
    };
    let id = world.storage.create_upload(NewUpload { attributes, ..world.new_upload(&bucket, KEY) }).await.unwrap();
    assert_eq!(world.storage.upload(&bucket, &key(), id).await.unwrap().initiator, "initiator");
    world.put_part(&bucket, KEY, id, (1, b"whole")).await.unwrap();
    world.pass(Duration::from_mins(1));
    let record = world.complete(&bucket, KEY, id, &listing_of(&[b"whole"])).await.unwrap();
    assert_eq!((record.metadata[0].value.as_str(), record.redirect.as_str()), ("blue", "/elsewhere"));
    assert_eq!(record.modified(), world.storage.clock().now(), "modified when it was completed");
    assert!(!record.is_null);
    let by_id = world.get(&bucket, KEY, Some(VersionSelector::Id(record.version_id()))).await.unwrap();
    assert_eq!(by_id, "whole");
}

#[tokio::test]
async fn the_last_part_of_a_number_wins_and_frees_the_one_before() {
    let (world, bucket) = world().await;
    let id = world.create_upload(&bucket, KEY).await;
    for body in [b"first, a blob".as_slice(), b"small", b"third, a blob again", b"last, a blob"] {
        world.put_part(&bucket, KEY, id, (1, body)).await.unwrap();
        let counted = world.storage.usage(&bucket).await.unwrap().upload_bytes;
        assert_eq!(usize::try_from(counted).unwrap(), body.len());
    }
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
    if !world.backend.is_native() {
        assert_eq!(world.backend.stored_bytes(), b"last, a blob".len() as u64);
    }
    let old = world.complete(&bucket, KEY, id, &listing_of(&[b"third, a blob again"])).await;
    assert!(matches!(old, Err(StorageError::InvalidPart { number: 1, .. })), "{old:?}");
    world.complete(&bucket, KEY, id, &listing_of(&[b"last, a blob"])).await.unwrap();
    assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), "last, a blob");
}

#[tokio::test]
async fn parts_that_are_not_listed_are_dropped() {
    let (world, bucket) = world().await;
    let id = world.create_upload(&bucket, KEY).await;
    let parts: [(u16, &[u8]); 5] =
        [(1, b"dropped, large"), (2, b"drop"), (7, b"kept"), (9, b"dropped, large too"), (900, b"kept, the last")];
    for part in parts {
        world.put_part(&bucket, KEY, id, part).await.unwrap();
    }
    let parts = vec![listed(7, b"kept"), listed(900, b"kept, the last")];
    let request = CompleteRequest { parts, ..CompleteRequest::default() };
    let record = world.complete(&bucket, KEY, id, &request).await.unwrap();
    assert_eq!(record.segments.iter().map(|segment| segment.part_number).collect::<Vec<_>>(), [7, 900]);
    assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), "keptkept, the last");
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
}

#[tokio::test]
async fn a_part_may_be_empty() {
    let (world, bucket) = world().await;
    let record = world.multipart(&bucket, KEY, &[b""]).await;
    assert_eq!((record.size, record.part_count()), (0, Some(1)));
    assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), "");
    world.multipart(&bucket, "two", &[b"a part of some bytes", b""]).await;
    assert_eq!(world.get(&bucket, "two", None).await.unwrap(), "a part of some bytes");
    world.delete(&bucket, KEY, None).await.unwrap();
    world.delete(&bucket, "two", None).await.unwrap();
    let id = world.create_upload(&bucket, KEY).await;
    world.put_part(&bucket, KEY, id, (1, b"")).await.unwrap();
    world.put_part(&bucket, KEY, id, (1, b"")).await.unwrap();
    world.abort(&bucket, KEY, id).await.unwrap();
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
}

#[tokio::test]
async fn a_bad_list_changes_nothing() {
    let (world, bucket) = world().await;
    let id = world.create_upload(&bucket, KEY).await;
    for part in [(1, b"long enough".as_slice()), (2, b"so"), (3, b"long enough, too")] {
        world.put_part(&bucket, KEY, id, part).await.unwrap();
    }
    let complete = async |parts: Vec<ListedPart>| {
        let request = CompleteRequest { parts, ..CompleteRequest::default() };
        world.complete(&bucket, KEY, id, &request).await.unwrap_err()
    };
    let (one, two) = (|| listed(1, b"long enough"), || listed(2, b"so"));
    let unknown = complete(vec![one(), listed(4, b"x")]).await;
    assert!(matches!(unknown, StorageError::InvalidPart { number: 4, .. }), "{unknown}");
    let wrong = complete(vec![listed(1, b"other bytes")]).await;
    assert!(matches!(wrong, StorageError::InvalidPart { number: 1, .. }), "{wrong}");
    let small = complete(vec![one(), two(), listed(3, b"long enough, too")]).await;
    assert!(matches!(small, StorageError::EntityTooSmall { number: 2, size: 2, minimum: 4, .. }), "{small}");
    for (parts, fault) in [
        (vec![], CompletionFault::NoParts),
        (vec![two(), one()], CompletionFault::Order),
        (vec![one(), one()], CompletionFault::Order),
    ] {
        let error = complete(parts).await;
        assert!(matches!(&error, StorageError::InvalidCompletion(it) if *it == fault), "{error}");
    }
    let sized = |size| CompleteRequest { parts: vec![one(), two()], object_size: Some(size), ..Default::default() };
    let error = world.complete(&bucket, KEY, id, &sized(14)).await.unwrap_err();
    let fault = CompletionFault::ObjectSize { announced: 14, actual: 13 };
    assert!(matches!(&error, StorageError::InvalidCompletion(it) if *it == fault), "{error}");
    assert_eq!(world.storage.list_parts(&bucket, &key(), id, 0, 10).await.unwrap().parts.len(), 3);
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
    world.complete(&bucket, KEY, id, &sized(13)).await.unwrap();
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
}

#[tokio::test]
async fn a_tag_may_be_spelt_as_the_original_allows() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let (world, bucket) = world().await;
    let md5 = Md5::digest(b"part");
    for spelling in [hex::encode(md5), hex::encode_upper(md5), STANDARD.encode(md5)] {
        let id = world.create_upload(&bucket, KEY).await;
        world.put_part(&bucket, KEY, id, (1, b"part")).await.unwrap();
        let parts = vec![ListedPart { number: 1, etag: ETag::parse(&spelling), checksum: None }];
        let request = CompleteRequest { parts, ..CompleteRequest::default() };
        world.complete(&bucket, KEY, id, &request).await.unwrap();
    }
}

#[tokio::test]
async fn an_upload_belongs_to_its_key_and_ends_once() {
    let (world, bucket) = world().await;
    let id = world.create_upload(&bucket, KEY).await;
    let unknown = UploadId::from_bytes([7; 16]);
    let is_gone = |result: Result<(), StorageError>| matches!(result, Err(StorageError::NoSuchUpload));
    for (key, id) in [("other", id), (KEY, unknown)] {
        assert!(is_gone(world.put_part(&bucket, key, id, (1, b"x")).await.map(drop)));
        assert!(is_gone(world.complete(&bucket, key, id, &listing_of(&[b"x"])).await.map(drop)));
        assert!(is_gone(world.abort(&bucket, key, id).await));
        let name = ObjectKey::new(key).unwrap();
        assert!(is_gone(world.storage.list_parts(&bucket, &name, id, 0, 1).await.map(drop)));
    }
    world.put_part(&bucket, KEY, id, (1, b"some bytes to free")).await.unwrap();
    world.abort(&bucket, KEY, id).await.unwrap();
    assert!(is_gone(world.abort(&bucket, KEY, id).await));
    assert!(is_gone(world.put_part(&bucket, KEY, id, (1, b"too late, and a blob")).await.map(drop)));
    assert!(is_gone(world.complete(&bucket, KEY, id, &listing_of(&[b"some bytes to free"])).await.map(drop)));
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
    assert_eq!(world.backend.stored_bytes(), 0);
}

#[tokio::test]
async fn completing_again_gives_the_same_answer_for_a_day() {
    let (world, bucket) = world().await;
    let id = world.create_upload(&bucket, KEY).await;
    world.put_part(&bucket, KEY, id, (1, b"part one")).await.unwrap();
    world.put_part(&bucket, KEY, id, (2, b"part two")).await.unwrap();
    let condition = WriteCondition::IfAbsent;
    let request = CompleteRequest { condition, ..listing_of(&[b"part one", b"part two"]) };
    let first = world.complete(&bucket, KEY, id, &request).await.unwrap();
    // Whatever became of the object: the answer is about what the completion did.
    world.put(&bucket, KEY, b"another").await;
    world.drain().await;
    let again = world.complete(&bucket, KEY, id, &request).await.unwrap();
    assert_eq!(again.version_id(), first.version_id());
    assert_eq!((&again.etag, again.size, &again.checksum), (&first.etag, first.size, &first.checksum));
    assert_eq!(world.get(&bucket, KEY, None).await.unwrap(), "another");
    let known = world.storage.completable_upload(&bucket, &key(), id).await.unwrap();
    assert!(known.completed_ms > 0);
    let is_gone = |result: Result<(), StorageError>| matches!(result, Err(StorageError::NoSuchUpload));
    assert!(is_gone(world.complete(&bucket, KEY, id, &listing_of(&[b"part one"])).await.map(drop)));
    assert!(is_gone(world.complete(&bucket, "other", id, &request).await.map(drop)));
    assert!(is_gone(world.put_part(&bucket, KEY, id, (3, b"x")).await.map(drop)));
    assert!(is_gone(world.abort(&bucket, KEY, id).await));
    assert!(is_gone(world.storage.upload(&bucket, &key(), id).await.map(drop)));

    world.pass(Duration::from_hours(23));
    let later = world.create_upload(&bucket, KEY).await;
    world.put_part(&bucket, KEY, later, (1, b"later")).await.unwrap();
    world.complete(&bucket, KEY, later, &listing_of(&[b"later"])).await.unwrap();
    world.drain().await;
    world.complete(&bucket, KEY, id, &request).await.unwrap();
    world.pass(Duration::from_hours(2));
    world.drain().await;
    assert!(is_gone(world.complete(&bucket, KEY, id, &request).await.map(drop)));
    world.complete(&bucket, KEY, later, &listing_of(&[b"later"])).await.unwrap();
    audit(&world, &[&bucket], &[]).await;
}

#[tokio::test]
async fn deleting_a_bucket_frees_its_uploads() {
    let (world, bucket) = world().await;
    let done = [b"done, and deleted".as_slice()];
    world.multipart(&bucket, KEY, &done).await;
    world.delete(&bucket, KEY, None).await.unwrap();
    let id = world.create_upload(&bucket, KEY).await;
    world.put_part(&bucket, KEY, id, (1, b"inline")).await.unwrap();
    world.put_part(&bucket, KEY, id, (2, b"a blob, not inline")).await.unwrap();
    world.storage.delete_bucket(&bucket.name).await.unwrap();
    let late = world.put_part(&bucket, KEY, id, (3, b"a blob that comes too late")).await;
    assert!(matches!(late, Err(StorageError::NoSuchBucket)), "{late:?}");
    let late = world.storage.create_upload(world.new_upload(&bucket, KEY)).await;
    assert!(matches!(late, Err(StorageError::NoSuchBucket)), "{late:?}");
    world.drain().await;
    audit(&world, &[], &[bucket.id]).await;
    assert_eq!(world.backend.blobs().await, []);
    world.pass(Duration::from_hours(25));
    world.drain().await;
    audit(&world, &[], &[bucket.id]).await;
}

#[tokio::test]
async fn full_object_checksums_come_from_the_parts() {
    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
        for declared in [true, false] {
            let (world, bucket) = world().await;
            let bodies = bodies(3);
            let id = if declared {
                world.declared_upload(&bucket, KEY, (algorithm, ChecksumType::FullObject)).await
            } else {
                world.create_upload(&bucket, KEY).await
            };
            for (number, body) in (1..).zip(&bodies) {
                let body = incoming_with(body, algorithm);
                world.storage.put_part(&bucket, &key(), id, number, body).await.unwrap();
            }
            let whole = Checksum::of(algorithm, &bodies.concat());
            let announced = |value: &str| Some(AnnouncedChecksum { algorithm, value: value.to_owned() });
            let mut request = CompleteRequest {
                checksum: announced("AAAAAA=="),
                checksum_type: Some(ChecksumType::FullObject),
                ..listing_of(&slices(&bodies))
            };
            if declared {
                let error = world.complete(&bucket, KEY, id, &request).await.unwrap_err();
                let fault = CompletionFault::ObjectChecksum(algorithm);
                assert!(matches!(&error, StorageError::InvalidCompletion(it) if *it == fault), "{error}");
                request.checksum = announced(&whole.to_base64());
            }
            // Without a declared algorithm what is announced does not count.
            let record = world.complete(&bucket, KEY, id, &request).await.unwrap();
            let checksum = record.checksum.unwrap();
            assert_eq!((checksum.checksum(), checksum.kind()), (Some(whole), ChecksumType::FullObject));
        }
    }
}

#[tokio::test]
async fn composite_checksums_need_every_part_listed_with_its_own() {
    let algorithm = ChecksumAlgorithm::Sha256;
    let (world, bucket) = world().await;
    let bodies = bodies(3);
    let id = world.declared_upload(&bucket, KEY, (algorithm, ChecksumType::Composite)).await;
    for (number, body) in (1..).zip(&bodies) {
        world.storage.put_part(&bucket, &key(), id, number, incoming_with(body, algorithm)).await.unwrap();
    }
    let sums: Vec<Checksum> = bodies.iter().map(|body| Checksum::of(algorithm, body)).collect();
    let good = || {
        let mut request = listing_of(&slices(&bodies));
        for (part, sum) in request.parts.iter_mut().zip(&sums) {
            part.checksum = Some(sum.clone());
        }
        request
    };
    let fault_of = async |request: CompleteRequest| {
        let error = world.complete(&bucket, KEY, id, &request).await.unwrap_err();
        match error {
            StorageError::InvalidCompletion(fault) => fault,
            other => panic!("{other}"),
        }
    };
    let mut missing = good();
    missing.parts[1].checksum = None;
    assert_eq!(fault_of(missing).await, CompletionFault::PartChecksumMissing { number: 2, algorithm });
    let mut foreign = good();
    foreign.parts[2].checksum = Some(Checksum::of(ChecksumAlgorithm::Crc32, &bodies[2]));
    let listed = ChecksumAlgorithm::Crc32;
    assert_eq!(fault_of(foreign).await, CompletionFault::PartChecksumAlgorithm { number: 3, listed });
    let mut gap = good();
    gap.parts.remove(1);
    assert_eq!(fault_of(gap).await, CompletionFault::NotConsecutive);
    let full = CompleteRequest { checksum_type: Some(ChecksumType::FullObject), ..good() };
    assert_eq!(fault_of(full).await, CompletionFault::ChecksumType(ChecksumType::Composite));
    let mut wrong = good();
    wrong.parts[0].checksum = Some(Checksum::of(algorithm, b"other"));
    let error = world.complete(&bucket, KEY, id, &wrong).await.unwrap_err();
    assert!(matches!(error, StorageError::InvalidPart { number: 1, .. }), "{error}");

    let whole = composite(algorithm, &sums).to_base64();
    let announced = |value: String| Some(AnnouncedChecksum { algorithm, value });
    let other = CompleteRequest { checksum: announced(sums[0].to_base64()), ..good() };
    assert_eq!(fault_of(other).await, CompletionFault::ObjectChecksum(algorithm));
    let counted = CompleteRequest { checksum: announced(format!("{whole}-2")), ..good() };
    assert_eq!(fault_of(counted).await, CompletionFault::ObjectChecksum(algorithm));
    let right = CompleteRequest { checksum: announced(format!("{whole}-3")), ..good() };
    let record = world.complete(&bucket, KEY, id, &right).await.unwrap();
    assert_eq!(record.checksum.unwrap().to_text(), Some(format!("{whole}-3")));
}

#[tokio::test]
async fn a_part_without_the_declared_checksum_is_refused_before_anything_names_it() {
    let (world, bucket) = world().await;
    let id = world.declared_upload(&bucket, KEY, (ChecksumAlgorithm::Sha1, ChecksumType::Composite)).await;
    let refused = world.put_part(&bucket, KEY, id, (1, b"a blob without SHA-1")).await;
    assert!(matches!(refused, Err(StorageError::Broken(_))), "{refused:?}");
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
    assert_eq!(world.backend.stored_bytes(), 0);
}

#[tokio::test]
async fn completion_follows_the_rules_of_versioning() {
    let (world, bucket) = world().await;
    world.put(&bucket, KEY, b"null, a blob").await;
    let bucket = world.set_versioning(&bucket.name, Versioning::Enabled).await;
    let version = world.multipart(&bucket, KEY, &[b"version, a blob"]).await;
    let bucket = world.set_versioning(&bucket.name, Versioning::Suspended).await;
    let null = world.multipart(&bucket, KEY, &[b"null", b"again, from parts"]).await;
    assert!(null.is_null && !version.is_null);
    assert_eq!(world.get(&bucket, KEY, Some(VersionSelector::Null)).await.unwrap(), "nullagain, from parts");
    let id = VersionSelector::Id(version.version_id());
    assert_eq!(world.get(&bucket, KEY, Some(id)).await.unwrap(), "version, a blob");
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
    assert_eq!(world.storage.usage(&bucket).await.unwrap().versions, 2);
}
