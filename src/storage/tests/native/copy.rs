//! Copies that a store of named objects makes itself.

use std::sync::Arc;

use super::{
    super::world::{World, listing_of},
    KEY, MODES, check, key, world,
};
use crate::{
    data::memory_native::Step,
    storage::{
        Attributes, Bucket, EncryptionRequest, NewObject, WriteCondition,
        records::{JournalOp, Pair},
    },
    types::ChecksumAlgorithm,
};

/// What a copy of the key to `to` would be.
fn new_object(world: &World, bucket: &Arc<Bucket>, to: &str, attributes: Attributes) -> NewObject {
    NewObject {
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
    use ChecksumAlgorithm::{Crc64Nvme, Sha1};
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
        let algorithm = ChecksumAlgorithm::Crc64Nvme;
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
