//! Annotations of encrypted objects: under whose key they are.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{
    audit::audit,
    world::{World, incoming},
};
use crate::{
    kms::{Generated, Kms, KmsError, MemoryKms, SecretKey},
    storage::{
        Attributes, Bucket, EncryptionRequest, Expected, KmsRequest, NewAnnotation, PutObject, StorageError,
        StorageResult, WriteCondition,
        lock::Bypass,
        records::{ChecksumRecord, JournalOp, ObjectRecord, Versioning},
    },
    types::{
        Checksum, ChecksumAlgorithm, ChecksumType, ObjectKey,
        digest::{Digest, Md5},
    },
};

const NAMES: [&str; 3] = ["first", "second", "third"];

/// A key manager that opens wrapped keys until it is told to forget them.
#[derive(Debug, Default)]
struct Forgetful {
    keys: MemoryKms,
    forgotten: Mutex<Vec<Bytes>>,
}

impl Forgetful {
    /// From now on this wrapped key is of no use, as if the version it was wrapped with were destroyed.
    fn forget(&self, record: &ObjectRecord) {
        self.forgotten.lock().push(record.encryption.as_ref().unwrap().wrapped.clone());
    }

    fn check(&self, wrapped: &Bytes) -> Result<(), KmsError> {
        let is_gone = self.forgotten.lock().contains(wrapped);
        if is_gone { Err(KmsError::NoSuchKey("forgotten".to_owned())) } else { Ok(()) }
    }
}

impl Kms for Forgetful {
    fn default_key(&self) -> &str {
        self.keys.default_key()
    }

    fn generate<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Generated, KmsError>> {
        self.keys.generate(key)
    }

    fn unwrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<SecretKey, KmsError>> {
        async move {
            self.check(wrapped)?;
            self.keys.unwrap(key, wrapped).await
        }
        .boxed()
    }

    fn rewrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<Bytes, KmsError>> {
        async move {
            self.check(wrapped)?;
            self.keys.rewrap(key, wrapped).await
        }
        .boxed()
    }
}

fn key() -> ObjectKey {
    ObjectKey::new("key").unwrap()
}

fn kms(name: &str) -> KmsRequest {
    KmsRequest { key_id: Some(name.to_owned()), ..KmsRequest::default() }
}

async fn annotate(world: &World, bucket: &Arc<Bucket>, name: &str, text: &str) -> StorageResult<()> {
    let checksum = Checksum::of(ChecksumAlgorithm::Crc64Nvme, text.as_bytes());
    let new = NewAnnotation {
        name: name.to_owned(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
        md5: Md5::digest(text).into(),
        checksum: ChecksumRecord::new(&checksum, ChecksumType::FullObject, 0),
    };
    world.storage.put_annotation(bucket, (&key(), None), &new, Expected::default(), Bypass::No).await.map(drop)
}

async fn put(world: &World, bucket: &Arc<Bucket>, encryption: EncryptionRequest) -> ObjectRecord {
    let put = PutObject {
        bucket: Arc::clone(bucket),
        key: key(),
        location: Arc::clone(&world.location),
        attributes: Attributes { encryption, ..Attributes::default() },
        condition: WriteCondition::Always,
        body: incoming(b"a body of its own"),
        op: JournalOp::ObjectPut,
    };
    world.storage.put_object(put).await.unwrap()
}

async fn read(world: &World, bucket: &Arc<Bucket>, name: &str) -> StorageResult<Bytes> {
    let record = world.storage.version(bucket, &key(), None).await?;
    world.storage.annotation(bucket, &record, name).await.map(|(_, text)| text)
}

#[tokio::test]
async fn an_object_that_is_put_under_another_key_takes_its_annotations_along() {
    let manager = Arc::new(Forgetful::default());
    let world = World::with_keys_of(Arc::<Forgetful>::clone(&manager));
    let bucket = world.bucket("sealed", Versioning::Unversioned).await;
    // To another mode, to another key, and to a new version of the same key.
    for (written, asked) in [
        (EncryptionRequest::Managed, kms("new")),
        (EncryptionRequest::Kms(kms("old")), kms("new")),
        (EncryptionRequest::Kms(kms("same")), kms("same")),
    ] {
        let before = put(&world, &bucket, written.clone()).await;
        for name in NAMES {
            annotate(&world, &bucket, name, &format!("the text of {name}")).await.unwrap();
        }
        manager.keys.rotate("same").unwrap();
        let after = world.storage.reencrypt(&bucket, &key(), None, &asked).await.unwrap();
        assert_eq!(after.annotation_count, 3);
        // Nothing is left that only the key of before opens.
        manager.forget(&before);
        for name in NAMES {
            assert_eq!(read(&world, &bucket, name).await.unwrap(), format!("the text of {name}"), "{written:?}");
        }
        annotate(&world, &bucket, NAMES[0], "another text").await.unwrap();
        annotate(&world, &bucket, "fourth", "one more").await.unwrap();
        assert_eq!(read(&world, &bucket, NAMES[0]).await.unwrap(), "another text");
        assert_eq!(read(&world, &bucket, "fourth").await.unwrap(), "one more");
        // And the new key is the one that opens them.
        manager.forget(&after);
        let closed = read(&world, &bucket, NAMES[1]).await;
        assert!(matches!(closed, Err(StorageError::Kms(KmsError::NoSuchKey(_)))), "{closed:?}");
        world.drain().await;
        audit(&world, &[&bucket], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn annotations_are_readable_at_every_moment_while_keys_change() {
    let world = Arc::new(World::new());
    let bucket = world.bucket("sealed", Versioning::Unversioned).await;
    put(&world, &bucket, EncryptionRequest::Managed).await;
    for name in NAMES {
        annotate(&world, &bucket, name, "a text").await.unwrap();
    }
    let changing = async {
        for round in 0..60 {
            world.storage.reencrypt(&bucket, &key(), None, &kms(&format!("k{}", round % 5))).await.unwrap();
        }
    };
    let writing = async {
        for round in 0..60 {
            annotate(&world, &bucket, NAMES[round % 2], &format!("text {round}")).await.unwrap();
        }
    };
    let mut reading = JoinSet::new();
    let (reader, theirs) = (Arc::clone(&world), Arc::clone(&bucket));
    reading.spawn(async move {
        for _ in 0..100 {
            for name in NAMES {
                let text = read(&reader, &theirs, name).await.unwrap();
                assert!(text.starts_with(b"text ") || text == "a text", "{text:?}");
            }
            tokio::task::yield_now().await;
        }
    });
    tokio::join!(changing, writing);
    reading.join_next().await.unwrap().unwrap();
    assert_eq!(read(&world, &bucket, NAMES[2]).await.unwrap(), "a text");
    world.drain().await;
    audit(&world, &[&bucket], &[]).await;
}
