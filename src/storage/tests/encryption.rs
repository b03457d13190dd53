//! Encryption at rest: what is stored is ciphertext, ranges are slices of the text, and what was tampered with is an
//! error and never other bytes.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future, future::BoxFuture};

use super::world::{Dice, World, incoming};
use crate::{
    data::{BlobId, FileBackend, FileOptions, PutHint},
    kms::{Generated, Kms, KmsError, SecretKey},
    location::{Location, LocationTable},
    metadata::{Batch, Namespace, Table},
    storage::{
        Attributes, Bucket, CompleteRequest, EncryptionRequest, KmsRequest, ListedPart, NewUpload, PutObject,
        StorageError, StorageResult, WriteCondition,
        records::{BucketEncryption, EncryptionMode, JournalOp, ObjectRecord, Versioning},
    },
    types::{ETag, ObjectKey, VersionSelector, body},
};

const CHUNK: usize = 64 << 10;

fn customer() -> SecretKey {
    SecretKey::new([7; 32])
}

fn kms(key: &str) -> EncryptionRequest {
    EncryptionRequest::Kms(KmsRequest { key_id: Some(key.to_owned()), ..KmsRequest::default() })
}

fn requests() -> [EncryptionRequest; 3] {
    [EncryptionRequest::Managed, kms("k1"), EncryptionRequest::Customer(customer())]
}

/// The key to send with a request for an object written so.
fn key_for(request: &EncryptionRequest) -> Option<SecretKey> {
    matches!(request, EncryptionRequest::Customer(_)).then(customer)
}

/// Text that no compression shortens and no accident repeats.
fn text(size: usize) -> Vec<u8> {
    let mut dice = Dice::new(size as u64 + 1);
    (0..size).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect()
}

struct Writer<'a> {
    world: &'a World,
    bucket: Arc<Bucket>,
    location: Arc<Location>,
}

impl<'a> Writer<'a> {
    async fn new(world: &'a World) -> Self {
        let bucket = world.bucket("sealed", Versioning::Unversioned).await;
        Self { world, bucket, location: Arc::clone(&world.location) }
    }

    fn attributes(request: &EncryptionRequest) -> Attributes {
        Attributes { encryption: request.clone(), ..Attributes::default() }
    }

    async fn try_put(&self, key: &str, text: &[u8], request: &EncryptionRequest) -> StorageResult<ObjectRecord> {
        let put = PutObject {
            bucket: Arc::clone(&self.bucket),
            key: ObjectKey::new(key).unwrap(),
            location: Arc::clone(&self.location),
            attributes: Self::attributes(request),
            condition: WriteCondition::Always,
            body: incoming(text),
            op: JournalOp::ObjectPut,
        };
        self.world.storage.put_object(put).await
    }

    async fn put(&self, key: &str, text: &[u8], request: &EncryptionRequest) -> ObjectRecord {
        self.try_put(key, text, request).await.unwrap()
    }

    async fn multipart(&self, key: &str, parts: &[&[u8]], request: &EncryptionRequest) -> ObjectRecord {
        let new = NewUpload { attributes: Self::attributes(request), ..self.world.new_upload(&self.bucket, key) };
        let new = NewUpload { location: Arc::clone(&self.location), ..new };
        let id = self.world.storage.create_upload(new).await.unwrap();
        let (key, sent) = (ObjectKey::new(key).unwrap(), key_for(request));
        let mut listed = Vec::new();
        for (number, part) in (1..).zip(parts) {
            let stored =
                self.world.storage.put_part_with(&self.bucket, &key, (id, number), incoming(part), sent.as_ref());
            listed.push(ListedPart { number, etag: stored.await.unwrap().etag(), checksum: None });
        }
        let request = CompleteRequest { parts: listed, ..CompleteRequest::default() };
        self.world.storage.complete_upload(&self.bucket, &key, id, &request).await.unwrap()
    }

    async fn read(
        &self,
        key: &str,
        record: &ObjectRecord,
        range: Range<u64>,
        sent: Option<&SecretKey>,
    ) -> StorageResult<Bytes> {
        let key = ObjectKey::new(key).unwrap();
        let stream = self.world.storage.open_with(&self.bucket, &key, record, range, sent).await?;
        Ok(body::collect(stream, usize::MAX).await?)
    }

    async fn whole(&self, key: &str, record: &ObjectRecord, sent: Option<&SecretKey>) -> StorageResult<Bytes> {
        self.read(key, record, 0..record.size, sent).await
    }

    /// What is stored of the only segment.
    async fn stored(&self, record: &ObjectRecord) -> Bytes {
        let [segment] = record.segments.as_slice() else { panic!("one segment") };
        if !segment.body.is_empty() {
            let bodies = Namespace::of(Table::Bodies, self.bucket.id);
            return self.world.metadata.get(bodies, &segment.body).await.unwrap().unwrap();
        }
        let blob = BlobId::new(segment.blob.as_str());
        let size = segment.size + segment.size.div_ceil(CHUNK as u64) * 16;
        let stream = self.location.backend.get(&blob, 0..size).await.unwrap();
        body::collect(stream, usize::MAX).await.unwrap()
    }

    /// Replaces what is stored of the only segment: the backend takes it for what was written, checksums included.
    async fn spoil(&self, record: &ObjectRecord, bytes: impl AsRef<[u8]>) {
        let [segment] = record.segments.as_slice() else { panic!("one segment") };
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        if !segment.body.is_empty() {
            let mut batch = Batch::new();
            batch.put(Namespace::of(Table::Bodies, self.bucket.id), segment.body.clone(), bytes);
            self.world.metadata.commit(batch).await.unwrap();
            return;
        }
        let blob = BlobId::new(segment.blob.as_str());
        self.location.backend.delete(&blob).await.unwrap();
        let hint = PutHint { blob: Some(blob), size: None };
        self.location.backend.put(body::once(bytes), hint).await.unwrap();
    }

    /// Fails unless the whole text is refused; what came before the refusal must be true.
    async fn assert_refused(&self, key: &str, record: &ObjectRecord, text: &[u8], what: &str) {
        let key = ObjectKey::new(key).unwrap();
        let Ok(mut stream) = self.world.storage.open(&self.bucket, &key, record, 0..record.size).await else { return };
        let mut got = BytesMut::new();
        loop {
            match stream.next().await {
                Some(Ok(bytes)) => got.extend_from_slice(&bytes),
                Some(Err(_)) => break,
                None => panic!("{what}: the text ended cleanly after {} bytes", got.len()),
            }
        }
        assert!(text.starts_with(&got) && got.len() < text.len(), "{what}: wrong bytes came out");
    }
}

#[tokio::test]
async fn what_is_stored_is_ciphertext_and_what_is_read_is_the_text() {
    let world = World::new();
    let writer = Writer::new(&world).await;
    for request in requests() {
        for size in [0, 1, 8, 9, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 300_000] {
            let text = text(size);
            let record = writer.put("key", &text, &request).await;
            assert_eq!(record.size, size as u64);
            let sent = key_for(&request);
            assert_eq!(writer.whole("key", &record, sent.as_ref()).await.unwrap(), text, "{size}");
            if size >= 8 {
                let stored = writer.stored(&record).await;
                assert!(!stored.windows(8).any(|window| window == &text[..8]), "{size}: text is stored");
                assert_eq!(stored.len(), size + size.div_ceil(CHUNK) * 16);
            }
        }
    }
    let usage = world.storage.usage(&writer.bucket).await.unwrap();
    assert_eq!((usage.objects, usage.bytes), (1, 300_000), "sizes are those of the text");
}

#[tokio::test]
async fn ranges_are_slices_of_the_text_whatever_it_is_made_of() {
    let world = World::new();
    let writer = Writer::new(&world).await;
    let text = text(700_000);
    // More parts than a record holds; small ones, large ones, and one of no bytes at the end.
    let mut cuts = vec![0, 4, 5 + 4, 20, 20 + CHUNK, 20 + 2 * CHUNK, 300_000, 300_001 + CHUNK];
    cuts.extend((1..=12).map(|step| 400_000 + step * 20_000));
    cuts.extend([text.len(), text.len()]);
    let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
    assert!(parts.len() > 16);
    let mut dice = Dice::new(3);
    for request in requests() {
        let sent = key_for(&request);
        let few = [&text[..100_000], &text[100_000..350_000], &text[350_000..]];
        let records = [
            ("one", writer.put("one", &text, &request).await),
            ("few", writer.multipart("few", &few, &request).await),
            ("many", writer.multipart("many", &parts, &request).await),
        ];
        for (key, record) in &records {
            assert_eq!(record.layout.is_some(), *key == "many");
            let edges = [CHUNK - 1, CHUNK, CHUNK + 1, 100_000, 0, text.len() - 1].map(|start| (start, start + 1));
            let rolled = (0..120).map(|_| {
                let (a, b) = (dice.roll(text.len() as u64), dice.roll(text.len() as u64));
                (usize::try_from(a.min(b)).unwrap(), usize::try_from(a.max(b)).unwrap() + 1)
            });
            for (start, end) in edges.into_iter().chain(rolled.collect::<Vec<_>>()) {
                let got = writer.read(key, record, start as u64..end as u64, sent.as_ref()).await.unwrap();
                assert_eq!(got, text[start..end], "{key} {start}..{end}");
            }
        }
    }
}

#[tokio::test]
async fn no_flipped_byte_of_a_small_body_goes_unnoticed() {
    let world = World::new();
    let writer = Writer::new(&world).await;
    // One that is kept in metadata, and one that is a blob.
    for size in [8, 150] {
        let text = text(size);
        let record = writer.put("key", &text, &EncryptionRequest::Managed).await;
        let stored = writer.stored(&record).await;
        for place in 0..stored.len() {
            let mut spoiled = stored.to_vec();
            spoiled[place] ^= 1;
            writer.spoil(&record, &spoiled).await;
            writer.assert_refused("key", &record, &text, &format!("byte {place} of {size}")).await;
        }
        writer.spoil(&record, &stored).await;
        assert_eq!(writer.whole("key", &record, None).await.unwrap(), text);
    }
}

/// Beneath the block checksums: the file backend is given the spoiled bytes to write, so its own checks hold.
async fn tampering_is_refused(writer: &Writer<'_>) {
    let text = text(4 * CHUNK + 1000);
    let record = writer.put("key", &text, &kms("k1")).await;
    let other = writer.put("other", &text, &kms("k1")).await;
    let (stored, others) = (writer.stored(&record).await, writer.stored(&other).await);
    assert_ne!(stored, others, "one text, two ciphertexts");
    let sealed = CHUNK + 16;
    let mut dice = Dice::new(11);
    for _ in 0..60 {
        let place = usize::try_from(dice.roll(stored.len() as u64)).unwrap();
        let mut spoiled = stored.to_vec();
        spoiled[place] ^= 1 << dice.roll(8);
        writer.spoil(&record, &spoiled).await;
        writer.assert_refused("key", &record, &text, &format!("byte {place}")).await;
        // A range that does not touch the spoiled chunk is whole, one that does is refused.
        let chunk = place / sealed;
        for index in 0..5 {
            let range = (index * CHUNK) as u64..(index * CHUNK + 10) as u64;
            let got = writer.read("key", &record, range.clone(), None).await;
            if index == chunk {
                assert!(got.is_err(), "byte {place}, {range:?}");
            } else {
                assert_eq!(got.unwrap(), text[index * CHUNK..index * CHUNK + 10]);
            }
        }
    }
    let piece = |index: usize| &stored[index * sealed..((index + 1) * sealed).min(stored.len())];
    let swapped = [piece(1), piece(0), piece(2), piece(3), piece(4)].concat();
    let repeated = [piece(0), piece(0), piece(2), piece(3), piece(4)].concat();
    let dropped = [piece(1), piece(2), piece(3), piece(4)].concat();
    let foreign = [piece(0), &others[sealed..2 * sealed], piece(2), piece(3), piece(4)].concat();
    for (what, bytes) in [
        ("swapped", swapped),
        ("repeated", repeated),
        ("dropped", dropped),
        ("foreign", foreign),
        ("cut in a chunk", stored[..2 * sealed + 77].to_vec()),
        ("cut between chunks", stored[..4 * sealed].to_vec()),
        ("another object's", others.to_vec()),
        ("nothing", Vec::new()),
        ("the text", text.clone()),
    ] {
        writer.spoil(&record, &bytes).await;
        writer.assert_refused("key", &record, &text, what).await;
    }
    // A shorter size in the record does not make a middle chunk the last one.
    writer.spoil(&record, &stored).await;
    let mut shorter = record.clone();
    shorter.size = CHUNK as u64;
    shorter.segments[0].size = CHUNK as u64;
    assert!(writer.whole("key", &shorter, None).await.is_err());
}

#[tokio::test]
async fn tampering_with_blobs_in_memory_is_refused() {
    let world = World::new();
    tampering_is_refused(&Writer::new(&world).await).await;
}

#[tokio::test]
async fn tampering_with_files_is_refused_beneath_their_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let backend = Arc::new(FileBackend::open(folder.path(), FileOptions::default()).unwrap());
    let files = Location::new("files", backend);
    let here = Location { name: "here".into(), backend: world.backend.backend(), ..files.clone() };
    let table = LocationTable::new([here, files]);
    let location = Arc::clone(table.get("files").unwrap());
    world.storage.set_locations(table);
    tampering_is_refused(&Writer { location, ..Writer::new(&world).await }).await;
}

#[tokio::test]
async fn a_clients_key_is_demanded_checked_and_refused_where_it_has_no_place() {
    let world = World::new();
    let writer = Writer::new(&world).await;
    let sealed = writer.put("c", b"some text of a client", &EncryptionRequest::Customer(customer())).await;
    let managed = writer.put("m", b"some text of ours", &EncryptionRequest::Managed).await;
    let plain = writer.put("p", b"some plain text", &EncryptionRequest::BucketDefault).await;
    let other = SecretKey::new([8; 32]);
    let fault = |result: StorageResult<Bytes>| result.unwrap_err();
    assert!(matches!(fault(writer.whole("c", &sealed, None).await), StorageError::KeyRequired));
    assert!(matches!(fault(writer.whole("c", &sealed, Some(&other)).await), StorageError::WrongKey));
    for (key, record) in [("m", &managed), ("p", &plain)] {
        let refused = fault(writer.whole(key, record, Some(&customer())).await);
        assert!(matches!(refused, StorageError::KeyNotApplicable), "{refused:?}");
        let checked = world.storage.check_customer_key(writer.bucket.id, record, Some(&customer()));
        assert!(matches!(checked, Err(StorageError::KeyNotApplicable)));
    }
    let check = |sent: Option<&SecretKey>| world.storage.check_customer_key(writer.bucket.id, &sealed, sent);
    assert!(check(Some(&customer())).is_ok());
    assert!(matches!(check(Some(&other)), Err(StorageError::WrongKey)));
    assert!(matches!(check(None), Err(StorageError::KeyRequired)));
    let record = format!("{sealed:?}");
    assert!(!record.contains(&format!("{:?}", [7; 4])), "the key is in the record");
    // An object of no bytes needs its key all the same.
    let empty = writer.put("e", b"", &EncryptionRequest::Customer(customer())).await;
    assert!(matches!(fault(writer.whole("e", &empty, None).await), StorageError::KeyRequired));
}

#[tokio::test]
async fn the_bucket_says_how_objects_are_encrypted_whose_writer_does_not() {
    let world = World::new();
    let mut writer = Writer::new(&world).await;
    let mode = |record: &ObjectRecord| record.encryption_mode();
    assert_eq!(mode(&writer.put("k", b"text", &EncryptionRequest::BucketDefault).await), EncryptionMode::None);
    let set = BucketEncryption {
        mode: EncryptionMode::Kms.into(),
        key_id: "b".into(),
        bucket_key: Some(true),
        ..BucketEncryption::default()
    };
    let name = writer.bucket.name.clone();
    writer.bucket = world.storage.update_bucket(&name, |record| record.encryption = Some(set.clone())).await.unwrap();
    let record = writer.put("k", b"text", &EncryptionRequest::BucketDefault).await;
    let encryption = record.encryption.clone().unwrap();
    assert_eq!((mode(&record), encryption.key_id.as_str(), encryption.bucket_key), (EncryptionMode::Kms, "b", true));
    assert_eq!(mode(&writer.put("k", b"text", &EncryptionRequest::Managed).await), EncryptionMode::Managed);
    let unnamed = EncryptionRequest::Kms(KmsRequest::default());
    assert_eq!(writer.put("k", b"text", &unnamed).await.encryption.unwrap().key_id, "b", "the bucket's key");
    let parts = writer.multipart("m", &[b"a part of it", b"the rest"], &EncryptionRequest::BucketDefault).await;
    assert_eq!(mode(&parts), EncryptionMode::Kms);
}

#[tokio::test]
async fn tags_are_md5_with_our_key_and_opaque_with_named_and_clients_keys() {
    let world = World::new();
    let writer = Writer::new(&world).await;
    let plain = writer.put("k", b"some text", &EncryptionRequest::BucketDefault).await;
    let parts: [&[u8]; 2] = [b"a part of it", b"the rest"];
    let whole = writer.multipart("m", &parts, &EncryptionRequest::BucketDefault).await;
    for request in requests() {
        let opaque = !matches!(request, EncryptionRequest::Managed);
        let record = writer.put("k", b"some text", &request).await;
        assert_eq!(record.etag != plain.etag, opaque, "{request:?}");
        assert_eq!(record.checksum, plain.checksum, "checksums are those of the text");
        let made = writer.multipart("m", &parts, &request).await;
        assert_eq!(made.etag != whole.etag, opaque, "{request:?}");
        assert!(ETag::parse(&made.etag).as_str().ends_with("-2"));
        assert_eq!((made.size, &made.checksum), (whole.size, &whole.checksum));
    }
}

#[tokio::test]
async fn a_rotated_key_still_opens_what_it_sealed_before_also_after_a_restart() {
    let world = World::new();
    let writer = Writer::new(&world).await;
    let old = writer.put("old", b"written under version 1", &kms("k1")).await;
    world.kms.rotate("k1").unwrap();
    let new = writer.put("new", b"written under version 2", &kms("k1")).await;
    let version = |record: &ObjectRecord| record.encryption.as_ref().unwrap().wrapped[4];
    assert_eq!((version(&old), version(&new)), (1, 2));
    let again = world.restarted();
    let writer = Writer { world: &again, bucket: Arc::clone(&writer.bucket), location: Arc::clone(&again.location) };
    assert_eq!(writer.whole("old", &old, None).await.unwrap(), "written under version 1");
    assert_eq!(writer.whole("new", &new, None).await.unwrap(), "written under version 2");
}

#[tokio::test]
async fn putting_a_version_under_another_key_touches_nothing_but_the_key() {
    let world = World::new();
    let writer = Writer::new(&world).await;
    let key = ObjectKey::new("key").unwrap();
    let text = text(100_000);
    let to = |name: &str| KmsRequest { key_id: Some(name.to_owned()), bucket_key: Some(true), ..KmsRequest::default() };
    for request in [EncryptionRequest::Managed, kms("k1")] {
        let before = writer.put("key", &text, &request).await;
        let stored = writer.stored(&before).await;
        let after = world.storage.reencrypt(&writer.bucket, &key, None, &to("k2")).await.unwrap();
        let encryption = after.encryption.clone().unwrap();
        assert_eq!((encryption.mode(), encryption.key_id.as_str()), (EncryptionMode::Kms, "k2"));
        assert_eq!(ObjectRecord { encryption: before.encryption.clone(), ..after.clone() }, before);
        assert_eq!(writer.stored(&after).await, stored);
        assert_eq!(writer.whole("key", &after, None).await.unwrap(), text);
        // To the same key: wrapped anew, with the version in use.
        world.kms.rotate("k2").unwrap();
        let again = world.storage.reencrypt(&writer.bucket, &key, None, &to("k2")).await.unwrap();
        let rewrapped = again.encryption.clone().unwrap();
        assert_ne!(rewrapped.wrapped, encryption.wrapped);
        assert_eq!(rewrapped.sealed_key, encryption.sealed_key);
        assert_eq!(writer.whole("key", &again, None).await.unwrap(), text);
    }
    let many: Vec<&[u8]> = text.chunks(5000).collect();
    let made = writer.multipart("key", &many, &EncryptionRequest::Managed).await;
    assert!(made.layout.is_some());
    let after = world.storage.reencrypt(&writer.bucket, &key, None, &to("k3")).await.unwrap();
    assert_eq!(writer.whole("key", &after, None).await.unwrap(), text);
}

#[tokio::test]
async fn only_what_one_layer_of_the_key_manager_seals_can_be_put_under_another_key() {
    let world = World::new();
    let writer = Writer::new(&world).await;
    let key = ObjectKey::new("key").unwrap();
    let dual = EncryptionRequest::Kms(KmsRequest { dual_layer: true, ..KmsRequest::default() });
    for (request, mode) in [
        (EncryptionRequest::BucketDefault, EncryptionMode::None),
        (EncryptionRequest::Customer(customer()), EncryptionMode::Customer),
        (dual, EncryptionMode::DualLayer),
    ] {
        let before = writer.put("key", b"text", &request).await;
        let refused = world.storage.reencrypt(&writer.bucket, &key, None, &KmsRequest::default()).await;
        assert!(matches!(refused, Err(StorageError::NotReencryptable(got)) if got == mode), "{refused:?}");
        assert_eq!(world.storage.version(&writer.bucket, &key, None).await.unwrap(), before);
    }
    let gone = ObjectKey::new("gone").unwrap();
    let refused = world.storage.reencrypt(&writer.bucket, &gone, None, &KmsRequest::default()).await;
    assert!(matches!(refused, Err(StorageError::NoSuchKey(_))));
    let refused = world
        .storage
        .reencrypt(
            &writer.bucket,
            &key,
            Some(VersionSelector::Null),
            &KmsRequest { key_id: Some("a/b".into()), ..KmsRequest::default() },
        )
        .await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_record_moved_to_another_bucket_opens_nothing() {
    let world = World::new();
    let writer = Writer::new(&world).await;
    let elsewhere = world.bucket("elsewhere", Versioning::Unversioned).await;
    for request in requests() {
        let record = writer.put("key", b"not inline text", &request).await;
        let sent = key_for(&request);
        let key = ObjectKey::new("key").unwrap();
        let moved = world.storage.open_with(&elsewhere, &key, &record, 0..4, sent.as_ref());
        assert!(moved.await.is_err(), "{request:?}");
    }
}

/// A key manager that is away.
#[derive(Debug)]
struct Away;

impl Kms for Away {
    fn default_key(&self) -> &'static str {
        "away"
    }

    fn generate<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Generated, KmsError>> {
        future::ready(Err(KmsError::Unavailable("it is away".to_owned()))).boxed()
    }

    fn unwrap<'a>(&'a self, _: &'a str, _: &'a Bytes) -> BoxFuture<'a, Result<SecretKey, KmsError>> {
        future::ready(Err(KmsError::Unavailable("it is away".to_owned()))).boxed()
    }

    fn rewrap<'a>(&'a self, _: &'a str, _: &'a Bytes) -> BoxFuture<'a, Result<Bytes, KmsError>> {
        future::ready(Err(KmsError::Unavailable("it is away".to_owned()))).boxed()
    }
}

#[tokio::test]
async fn nothing_is_stored_in_the_clear_while_the_key_manager_is_away() {
    let world = World::with_keys_of(Arc::new(Away));
    let writer = Writer::new(&world).await;
    for request in [EncryptionRequest::Managed, kms("k1")] {
        let refused = writer.try_put("key", b"text that must not be stored", &request).await;
        assert!(matches!(refused, Err(StorageError::Kms(KmsError::Unavailable(_)))), "{refused:?}");
        let new = NewUpload { attributes: Writer::attributes(&request), ..world.new_upload(&writer.bucket, "key") };
        assert!(matches!(world.storage.create_upload(new).await, Err(StorageError::Kms(_))));
    }
    assert_eq!(world.backend.stored_bytes(), 0);
    assert!(world.get(&writer.bucket, "key", None).await.is_err());
    // Clients' keys need no key manager.
    let record = writer.put("key", b"text that is stored", &EncryptionRequest::Customer(customer())).await;
    assert_eq!(writer.whole("key", &record, Some(&customer())).await.unwrap(), "text that is stored");
}

#[tokio::test]
async fn new_buckets_encrypt_where_the_operator_says_so() {
    let world = World::encrypting();
    let writer = Writer::new(&world).await;
    let record = writer.put("key", b"text", &EncryptionRequest::BucketDefault).await;
    assert_eq!(record.encryption_mode(), EncryptionMode::Managed);
}
