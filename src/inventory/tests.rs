//! Reports against listings, on an engine whose clock stands still.

use std::{collections::HashMap, io::Read};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;
use crate::{
    clock::{Clock, Identifiers, ManualClock},
    data::MemoryBackend,
    kms::MemoryKms,
    location::{Location, LocationTable},
    metadata::{MemoryStore, MetadataStore},
    storage::{
        Attributes, DeleteCondition, NewBucket, PutObject, Settings, WriteCondition,
        listing::{Entry, ListQuery},
        records::{BucketRecord, EncryptionMode, JournalOp, SettingNode, Versioning},
    },
    types::{
        AccountId, BodyDigests, BucketName, Checksum, ChecksumAlgorithm, DigestSlot, IncomingBody, ObjectKey, body,
        digest::{Digest, Md5},
    },
};

#[derive(Debug)]
struct Numbers;

impl AccountNumbers for Numbers {
    fn number_of(&self, account: &AccountId) -> Option<Arc<str>> {
        (account.as_str() == "bart").then(|| "123456789012".into())
    }
}

struct World {
    metadata: Arc<dyn MetadataStore>,
    backend: Arc<MemoryBackend>,
    clock: Arc<ManualClock>,
    keys: Arc<MemoryKms>,
    storage: Storage,
}

const START: &str = "2026-03-04T05:06:07Z";

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse_iso8601(START).unwrap()));
        Self::over(Arc::new(MemoryStore::new()), Arc::new(MemoryBackend::new()), clock, Arc::default())
    }

    fn over(
        metadata: Arc<dyn MetadataStore>,
        backend: Arc<MemoryBackend>,
        clock: Arc<ManualClock>,
        keys: Arc<MemoryKms>,
    ) -> Self {
        let location = Location::new("here", Arc::<MemoryBackend>::clone(&backend));
        let ids = Identifiers::new(Arc::<ManualClock>::clone(&clock), "RG001");
        let table = LocationTable::new([location]);
        let outside = (Arc::<MemoryKms>::clone(&keys) as Arc<dyn crate::kms::Kms>, Settings::default());
        let time = Arc::<ManualClock>::clone(&clock);
        let storage = Storage::new(Arc::clone(&metadata), table, time, ids, outside);
        Self { metadata, backend, clock, keys, storage }
    }

    /// Another process over the same stores.
    fn restarted(&self) -> Self {
        let (metadata, backend) = (Arc::clone(&self.metadata), Arc::clone(&self.backend));
        Self::over(metadata, backend, Arc::clone(&self.clock), Arc::clone(&self.keys))
    }

    async fn bucket(&self, name: &str, owner: &str, versioning: Versioning) -> Arc<Bucket> {
        let name = BucketName::new(name).unwrap();
        let record = BucketRecord { owner: owner.to_owned(), location: "here".to_owned(), ..BucketRecord::default() };
        self.storage.create_bucket(NewBucket { name: name.clone(), record }).await.unwrap();
        self.storage.update_bucket(&name, |record| record.set_state(versioning)).await.unwrap()
    }

    async fn put(&self, bucket: &Arc<Bucket>, key: &str, text: &str) {
        let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
        let digests = DigestSlot::default();
        digests.set(BodyDigests {
            size: bytes.len() as u64,
            md5: Md5::digest(&bytes).into(),
            checksum: Checksum::of(ChecksumAlgorithm::Sha256, &bytes),
        });
        let put = PutObject {
            bucket: Arc::clone(bucket),
            key: ObjectKey::new(key).unwrap(),
            location: Arc::clone(self.storage.locations().get("here").unwrap()),
            attributes: Attributes { owner: Some(AccountId::new("bart")), ..Attributes::default() },
            condition: WriteCondition::Always,
            body: IncomingBody { length: Some(bytes.len() as u64), stream: body::once(bytes), digests },
            op: JournalOp::ObjectPut,
        };
        self.storage.put_object(put).await.unwrap();
    }

    async fn configure(&self, bucket: &Bucket, id: &str, document: &[SettingNode]) {
        let record = SettingRecord { content: document.to_vec() };
        self.storage.put_setting(bucket, (SettingKind::Inventory, id), &record, 1000).await.unwrap();
    }

    fn inventories(&self, rows: usize) -> Inventories {
        let settings = InventorySettings {
            look: Duration::from_millis(1),
            period: None,
            rows,
            version_ids: VersionIdEncoding::Hex,
            numbers: Arc::new(Numbers),
            metrics: InventoryMetrics::default(),
        };
        Inventories { storage: self.storage.clone(), settings }
    }

    async fn keys(&self, bucket: &Arc<Bucket>) -> Vec<String> {
        let query = ListQuery { limit: 10_000, ..ListQuery::default() };
        let page = self.storage.list_objects(bucket, &query).await.unwrap();
        page.items().map(|entry| entry.key.clone()).collect()
    }

    async fn read(&self, bucket: &Arc<Bucket>, key: &str) -> Vec<u8> {
        let key = ObjectKey::new(key).unwrap();
        let record = self.storage.version(bucket, &key, None).await.unwrap();
        let stream = self.storage.open(bucket, &key, &record, 0..record.size).await.unwrap();
        body::collect(stream, usize::MAX).await.unwrap().to_vec()
    }

    /// The newest report: schema and rows, by the manifest; its checksums are right.
    async fn report(&self, there: &Arc<Bucket>, folder: &str) -> (Vec<String>, Vec<Vec<String>>, usize) {
        let keys = self.keys(there).await;
        let newest = keys.iter().rfind(|key| key.starts_with(folder) && key.ends_with("/manifest.json")).unwrap();
        let text = self.read(there, newest).await;
        let checksum = self.read(there, &newest.replace(".json", ".checksum")).await;
        assert_eq!(checksum, hex::encode(Md5::digest(&text)).into_bytes());
        let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&manifest["version"], &manifest["fileFormat"]), (&"2016-11-30".into(), &"CSV".into()));
        let mut rows = Vec::new();
        let files = manifest["files"].as_array().unwrap();
        for file in files {
            let bytes = self.read(there, file["key"].as_str().unwrap()).await;
            assert_eq!(file["size"], bytes.len());
            assert_eq!(file["MD5checksum"], hex::encode(Md5::digest(&bytes)));
            let mut text = String::new();
            flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
            rows.extend(text.lines().map(|line| {
                let inner = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap();
                inner.split("\",\"").map(str::to_owned).collect::<Vec<String>>()
            }));
        }
        let schema = manifest["fileSchema"].as_str().unwrap().split(", ").map(str::to_owned).collect();
        (schema, rows, files.len())
    }
}

fn leaf(name: &str, text: &str) -> SettingNode {
    SettingNode { name: name.to_owned(), text: text.to_owned(), children: Vec::new() }
}

fn node(name: &str, children: Vec<SettingNode>) -> SettingNode {
    SettingNode { name: name.to_owned(), text: String::new(), children }
}

fn document(there: &str, versions: &str, frequency: &str, fields: &[&str], more: Vec<SettingNode>) -> Vec<SettingNode> {
    let mut destination = vec![leaf("Bucket", &format!("arn:aws:s3:::{there}")), leaf("Format", "CSV")];
    destination.extend(more);
    vec![
        node("Destination", vec![node("S3BucketDestination", destination)]),
        leaf("IsEnabled", "true"),
        leaf("Id", "one"),
        leaf("IncludedObjectVersions", versions),
        node("OptionalFields", fields.iter().map(|field| leaf("Field", field)).collect()),
        node("Schedule", vec![leaf("Frequency", frequency)]),
    ]
}

async fn finish(inventories: &Inventories, stop: &mut StopSignal) -> usize {
    let mut looks = 1;
    while inventories.look(stop).await.unwrap() {
        looks += 1;
    }
    looks
}

#[tokio::test]
async fn a_report_equals_the_listing_though_the_server_starts_anew_in_the_midst_of_it() {
    let world = World::new();
    let here = world.bucket("here", "bart", Versioning::Enabled).await;
    let there = world.bucket("there", "bart", Versioning::Unversioned).await;
    for number in 0..3000 {
        world.put(&here, &format!("k {number:04},\"ü"), &number.to_string()).await;
        if number % 10 == 0 {
            world.put(&here, &format!("k {number:04},\"ü"), "again").await;
        }
        if number % 25 == 0 {
            let key = ObjectKey::new(&format!("k {number:04},\"ü")).unwrap();
            world.storage.delete_object(&here, &key, None, &DeleteCondition::default()).await.unwrap();
        }
    }
    let fields = ["ETag", "Size", "LastModifiedDate", "StorageClass", "ChecksumAlgorithm", "EncryptionStatus"];
    world.configure(&here, "one", &document("there", "All", "Daily", &fields, vec![leaf("Prefix", "p")])).await;
    let tasks = Tasks::default();
    let mut stop = tasks.stop_signal();
    let first = world.inventories(700);
    assert!(first.look(&mut stop).await.unwrap());
    assert!(first.look(&mut stop).await.unwrap());
    // The third file is cut off in its midst.
    drop(tokio::time::timeout(Duration::from_micros(1), first.look(&mut stop)).await);
    let world = world.restarted();
    finish(&world.inventories(700), &mut stop).await;

    let (schema, rows, files) = world.report(&there, "p/here/one/2026-03-04T05-06Z/").await;
    let order = ["Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "ETag"];
    assert_eq!(schema[..8], order);
    assert_eq!(files, 5, "3420 rows in files of 700");
    let mut listed = Vec::new();
    let mut query = ListQuery { limit: 1000, ..ListQuery::default() };
    loop {
        let page = world.storage.list_versions(&here, &query).await.unwrap();
        for entry in &page.entries {
            let Entry::Item(entry) = entry else { panic!() };
            let record = &entry.record;
            let size = if record.delete_marker { String::new() } else { record.size.to_string() };
            listed.push((
                entry.key.clone(),
                record.version_id().encode(VersionIdEncoding::Hex),
                entry.is_latest.to_string(),
                record.delete_marker.to_string(),
                size,
                Timestamp::from_millis(record.modified_ms).to_iso8601(),
                record.etag.clone(),
            ));
        }
        match page.next {
            Some(next) => query.start = next,
            None => break,
        }
    }
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            assert_eq!((row.len(), row[0].as_str()), (schema.len(), "here"));
            let key = percent_encoding::percent_decode_str(&row[1]).decode_utf8().unwrap().into_owned();
            let cell = |at: usize| row[at].clone();
            (key, cell(2), cell(3), cell(4), cell(5), cell(6), cell(7))
        })
        .collect();
    assert_eq!(told.len(), 3420);
    assert_eq!(told, listed);
    let columns: HashMap<&str, usize> = schema.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let one = rows.iter().find(|row| row[4] == "false").unwrap();
    let of = |name: &str| one[columns[name]].as_str();
    assert_eq!(
        (of("StorageClass"), of("ChecksumAlgorithm"), of("EncryptionStatus")),
        ("STANDARD", "SHA256", "NOT-SSE")
    );
    let links = world.read(&there, "p/here/one/hive/dt=2026-03-04-05-06/symlink.txt").await;
    assert_eq!(
        String::from_utf8(links)
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("s3://there/p/here/one/data/"))
            .count(),
        5
    );
    // Nothing was written twice under two names.
    assert_eq!(world.keys(&there).await.len(), 5 + 3);
}

#[tokio::test]
async fn reports_come_by_day_and_tell_of_current_objects_below_the_prefix() {
    let world = World::new();
    let here = world.bucket("here", "bart", Versioning::Enabled).await;
    let there = world.bucket("there", "bart", Versioning::Unversioned).await;
    for key in ["a/1", "a/2", "b/1"] {
        world.put(&here, key, "x").await;
        world.put(&here, key, "xyz").await;
    }
    let sse = node("Encryption", vec![node("SSE-S3", Vec::new())]);
    let account = leaf("AccountId", "123456789012");
    let mut daily =
        document("there", "Current", "Daily", &["ObjectOwner", "ObjectAccessControlList"], vec![account, sse]);
    daily.push(node("Filter", vec![leaf("Prefix", "a/")]));
    world.configure(&here, "one", &daily).await;
    let inventories = world.inventories(1000);
    let mut stop = Tasks::default().stop_signal();
    finish(&inventories, &mut stop).await;
    let (schema, rows, _) = world.report(&there, "here/one/").await;
    assert_eq!(schema, ["Bucket", "Key", "ObjectAccessControlList", "ObjectOwner"]);
    assert_eq!(rows.iter().map(|row| row[1].as_str()).collect::<Vec<_>>(), ["a/1", "a/2"]);
    let acl = BASE64_STANDARD.decode(&rows[0][2]).unwrap();
    let acl: serde_json::Value = serde_json::from_slice(&acl).unwrap();
    let grant = serde_json::json!({"canonicalId": "bart", "type": "CanonicalUser", "permission": "FULL_CONTROL"});
    assert_eq!((&acl["status"], &acl["grants"][0]), (&"AVAILABLE".into(), &grant));
    let keys = world.keys(&there).await;
    for key in &keys {
        let record = world.storage.version(&there, &ObjectKey::new(key).unwrap(), None).await.unwrap();
        assert_eq!((record.encryption_mode(), record.owner.as_str()), (EncryptionMode::Managed, "bart"));
    }
    assert_eq!(inventories.settings.metrics.reports.get(), 1);
    // The same day nothing more comes; the next day one report.
    assert_eq!(finish(&inventories, &mut stop).await, 1);
    assert_eq!(world.keys(&there).await.len(), keys.len());
    world.clock.set(world.clock.now().plus(Duration::from_hours(24)));
    finish(&inventories, &mut stop).await;
    assert_eq!(world.keys(&there).await.len(), 2 * keys.len());
    assert_eq!((inventories.settings.metrics.reports.get(), inventories.settings.metrics.failures.get()), (2, 0));
}

#[tokio::test]
async fn a_destination_is_asked_and_its_no_ends_the_report_until_the_next() {
    let allow = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},
        "Action":"s3:PutObject","Resource":"arn:aws:s3:::there/*","Condition":{
        "ArnLike":{"aws:SourceArn":"arn:aws:s3:::here"},
        "StringEquals":{"aws:SourceAccount":"123456789012","s3:x-amz-acl":"bucket-owner-full-control"}}}]}"#;
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject",
        "Resource":"arn:aws:s3:::there/*"}]}"#;
    let other = leaf("AccountId", "999999999999");
    // Owner of the destination, its policy, what the document says of the account, and whether a report comes.
    let cases = [
        ("bart", "", None, true),
        ("lisa", "", None, false),
        ("lisa", allow, None, true),
        ("lisa", &allow.replace("here", "elsewhere"), None, false),
        ("lisa", &allow.replace("\"s3.", "\"logging.s3."), None, false),
        ("lisa", &allow.replace("123456789012", "123456789013"), None, false),
        ("bart", deny, None, false),
        ("bart", "", Some(other), false),
    ];
    for (owner, policy, account, comes) in cases {
        let world = World::new();
        let here = world.bucket("here", "bart", Versioning::Unversioned).await;
        let there = world.bucket("there", owner, Versioning::Unversioned).await;
        world.storage.update_bucket(&there.name, |record| record.policy = policy.to_owned()).await.unwrap();
        world.put(&here, "a", "x").await;
        world.configure(&here, "one", &document("there", "Current", "Daily", &[], account.into_iter().collect())).await;
        let inventories = world.inventories(10);
        finish(&inventories, &mut Tasks::default().stop_signal()).await;
        let keys = world.keys(&there).await;
        assert_eq!(keys.len(), if comes { 4 } else { 0 }, "{owner} {policy}: {keys:?}");
        assert_eq!(inventories.settings.metrics.failures.get(), u64::from(!comes), "{owner} {policy}");
        let progress = world.storage.inventory_progress(&here, "one").await.unwrap().unwrap();
        assert_eq!(progress.run, None);
        for key in &keys {
            let record = world.storage.version(&there, &ObjectKey::new(key).unwrap(), None).await.unwrap();
            assert_eq!(record.owner, owner, "what is written belongs to the owner of the destination");
        }
    }
}

#[tokio::test]
async fn a_configuration_that_changes_or_goes_takes_its_report_with_it() {
    let world = World::new();
    let here = world.bucket("here", "bart", Versioning::Unversioned).await;
    world.bucket("there", "bart", Versioning::Unversioned).await;
    let other = world.bucket("other", "bart", Versioning::Unversioned).await;
    for number in 0..20 {
        world.put(&here, &number.to_string(), "x").await;
    }
    let inventories = world.inventories(5);
    let mut stop = Tasks::default().stop_signal();
    world.configure(&here, "one", &document("there", "Current", "Weekly", &[], Vec::new())).await;
    assert!(inventories.look(&mut stop).await.unwrap());
    world.configure(&here, "one", &document("other", "Current", "Weekly", &[], Vec::new())).await;
    finish(&inventories, &mut stop).await;
    let (_, rows, files) = world.report(&other, "here/one/").await;
    assert_eq!((rows.len(), files), (20, 4), "the new document's report begins at the beginning");
    world.storage.delete_setting(&here, SettingKind::Inventory, "one").await.unwrap();
    assert_eq!(world.storage.inventory_progress(&here, "one").await.unwrap(), None);
    assert!(!inventories.look(&mut stop).await.unwrap());
}
