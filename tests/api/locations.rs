//! Locations: where objects go, how much goes there, and what a place that is away costs (cloudserver.md §2).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cloudserver::{
    data::{
        DataBackend, DataError, MemoryBackend,
        layered::{Call, Layer, Layered},
    },
    location::{
        Location, LocationTable,
        health::{BreakerSettings, HealthSettings, LocationHealth},
    },
    telemetry::metrics::LocationMetrics,
    types::{BucketName, ObjectKey},
};
use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::{
    multipart::Upload,
    support::{
        client::Client,
        wire::{Connection, SOON},
        world::{World, refused},
    },
};

const HEADER: &str = "x-amz-meta-scal-location-constraint";
const READ: &str = "x-amz-location-constraint";

fn at(location: &str) -> String {
    format!(
        "<CreateBucketConfiguration><LocationConstraint>{location}</LocationConstraint></CreateBucketConfiguration>"
    )
}

async fn location_of(world: &World, bucket: &str, key: &str) -> String {
    let bucket = world.storage().bucket(&BucketName::new(bucket).unwrap()).await.unwrap();
    world.storage().version(&bucket, &ObjectKey::new(key).unwrap(), None).await.unwrap().location
}

/// Changes the locations of a server.
async fn relocate(world: &World, change: impl FnOnce(&mut Vec<Location>)) {
    let mut locations: Vec<Location> =
        world.storage().locations().iter().map(|location| (**location).clone()).collect();
    change(&mut locations);
    let table = LocationTable::new(locations);
    world.storage().limit_locations(&table).await.unwrap();
    world.storage().set_locations(table);
}

#[tokio::test]
async fn an_object_goes_where_its_metadata_says_else_where_its_bucket_is() {
    let world = World::new().await;
    let bart = world.bart();
    bart.put("/bkt", at("eu-west-1")).expect(200).await;
    bart.put("/bkt/plain", "1").expect(200).await;
    bart.put("/bkt/empty", "2").header(HEADER, "").expect(200).await;
    bart.put("/bkt/said", "3").header(HEADER, "us-west-1").expect(200).await;
    for (key, location) in [("plain", "eu-west-1"), ("empty", "eu-west-1"), ("said", "us-west-1")] {
        assert_eq!(location_of(&world, "bkt", key).await, location, "{key}");
    }
    // It stays the object's metadata.
    let shown = bart.head("/bkt/said").expect(200).await;
    assert_eq!(shown.header(HEADER), Some("us-west-1"));
    let reply = refused(&world, bart.put("/bkt/x", "4").header(HEADER, "atlantis"), 400, "InvalidArgument").await;
    let words =
        "Object Location Error - Your object location \"atlantis\"is not  in your location config - Please update.";
    assert_eq!(reply.tag("Message").unwrap().replace("&quot;", "\""), words);
    let upload = bart.post("/bkt/x?uploads", "").header(HEADER, "atlantis");
    refused(&world, upload, 400, "InvalidArgument").await;
}

#[tokio::test]
async fn a_copy_goes_where_the_metadata_that_it_is_written_with_says() {
    let world = World::new().await;
    let bart = world.bart();
    bart.put("/from", at("eu-west-1")).expect(200).await;
    bart.put("/goal", at("ap-south-1")).expect(200).await;
    bart.put("/from/key", "bytes").header(HEADER, "us-west-1").header("x-amz-meta-a", "b").expect(200).await;
    let copy = |key: &str| bart.put(&format!("/goal/{key}"), "").header("x-amz-copy-source", "/from/key");
    // The choice of the source is not copied, and what is said in the request is not written.
    copy("kept").header(HEADER, "us-west-2").expect(200).await;
    assert_eq!(location_of(&world, "goal", "kept").await, "ap-south-1");
    let shown = bart.head("/goal/kept").expect(200).await;
    assert_eq!((shown.header(HEADER), shown.header("x-amz-meta-a")), (Some("ap-south-1"), Some("b")));
    let replace = |key: &str| copy(key).header("x-amz-metadata-directive", "REPLACE");
    replace("replaced").header(HEADER, "us-west-2").expect(200).await;
    replace("bare").expect(200).await;
    assert_eq!(location_of(&world, "goal", "replaced").await, "us-west-2");
    assert_eq!(location_of(&world, "goal", "bare").await, "ap-south-1");
    refused(&world, replace("x").header(HEADER, "atlantis"), 400, "InvalidArgument").await;
    // Metadata that says another place is a change, so an object moves by a copy onto itself.
    let itself = bart.put("/from/key", "").header("x-amz-copy-source", "/from/key");
    itself.header("x-amz-metadata-directive", "REPLACE").header(HEADER, "EU").expect(200).await;
    assert_eq!(location_of(&world, "from", "key").await, "EU");
    assert_eq!(bart.get("/from/key").expect(200).await.text(), "bytes");
}

#[tokio::test]
async fn an_upload_keeps_the_location_of_its_beginning() {
    let world = World::small_parts().await;
    let bart = world.bart();
    bart.put("/bkt", at("eu-west-1")).expect(200).await;
    let begun = bart.post("/bkt/up?uploads", "").header(HEADER, "us-west-1").expect(200).await;
    let id = begun.tag("UploadId").unwrap();
    let part = bart.put(&format!("/bkt/up?partNumber=1&uploadId={id}"), vec![b'x'; 100_000]);
    let etag = part.header(HEADER, "us-west-2").expect(200).await.header("etag").unwrap().to_owned();
    let usage = world.storage().usage_of_location("us-west-1").await.unwrap();
    assert_eq!((usage.versions, usage.upload_bytes), (0, 100_000));
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    bart.post(&format!("/bkt/up?uploadId={id}"), list).expect(200).await;
    assert_eq!(location_of(&world, "bkt", "up").await, "us-west-1");
    assert_eq!(bart.head("/bkt/up").expect(200).await.header(HEADER), Some("us-west-1"));
}

#[tokio::test]
async fn the_host_decides_about_buckets_that_say_nothing() {
    let world = World::with(|config| {
        config.rest_endpoints.insert("eu.test".to_owned(), "eu-west-1".to_owned());
    })
    .await;
    let bart = world.bart();
    bart.put("/here", "").expect(200).await;
    bart.put("/there", "").host("eu.test").expect(200).await;
    bart.put("/there/key", "x").expect(200).await;
    assert_eq!(location_of(&world, "there", "key").await, "eu-west-1");
    bart.put("/here/key", "x").expect(200).await;
    assert_eq!(location_of(&world, "here", "key").await, "us-east-1");
    let message = |body: String, code| {
        let (world, put) = (&world, bart.put("/new", body));
        let status = if code == "NotImplemented" { 501 } else { 400 };
        async move { refused(world, put, status, code).await.tag("Message").unwrap() }
    };
    let unknown =
        "value of the location you are attempting to set - atlantis - is not listed in the locationConstraint config";
    assert_eq!(message(at("atlantis"), "InvalidLocationConstraint").await, unknown);
    assert_eq!(message(at("atlantis:ingest"), "InvalidLocationConstraint").await, unknown);
    let cold = message(at("location-dmf-v1"), "InvalidLocationConstraint").await;
    assert_eq!(cold, "The specified location-constraint is not valid");
    message(at("eu-west-1:ingest"), "NotImplemented").await;
}

#[tokio::test]
async fn readers_may_ask_for_a_location_and_get_no_other() {
    let world = World::new().await;
    let bart = world.bart();
    bart.put("/bkt", at("eu-west-1")).expect(200).await;
    bart.put("/bkt/key", "bytes").expect(200).await;
    bart.put("/bkt/none", "").expect(200).await;
    for key in ["key", "none"] {
        bart.get(&format!("/bkt/{key}")).header(READ, "eu-west-1").expect(200).await;
    }
    bart.get("/bkt/none").header(READ, "us-east-1").expect(200).await;
    let elsewhere = bart.get("/bkt/key").header(READ, "us-east-1").refused(400, "InvalidLocationConstraint").await;
    assert_eq!(elsewhere.tag("Message").unwrap(), "Object is not replicated to location passed in location header");
    let unknown = bart.get("/bkt/key").header(READ, "atlantis").refused(400, "InvalidLocationConstraint").await;
    assert_eq!(unknown.tag("Message").unwrap(), "Invalid location constraint specified in header");
    // As in the original, what has no body is the same wherever it would be read.
    for place in ["us-east-1", "eu-west-1", "atlantis"] {
        bart.head("/bkt/key").header(READ, place).expect(200).await;
    }
    // Who may not read learns nothing of locations.
    world.lisa().get("/bkt/key").header(READ, "atlantis").refused(403, "AccessDenied").await;
}

#[tokio::test]
async fn replication_from_a_staging_area_says_where_objects_are_read_from() {
    let world = World::new().await;
    relocate(&world, |locations| {
        let staging = locations[0].clone();
        locations.push(Location { name: "staging".into(), is_transient: true, is_cold: false, ..staging });
    })
    .await;
    let bart = world.bart();
    bart.put("/bkt", at("staging")).expect(200).await;
    let rules = |class: &str| {
        let document = format!(
            "<ReplicationConfiguration><Role>arn:aws:iam::root:role/r</Role><Rule><ID>r</ID><Status>Enabled</Status>\
             <Prefix/><Destination><Bucket>arn:aws:s3:::there</Bucket>{class}</Destination></Rule>\
             </ReplicationConfiguration>"
        );
        bart.put("/bkt?replication", document).digested()
    };
    let class = |class: &str| rules(&format!("<StorageClass>{class}</StorageClass>"));
    refused(&world, class("EU"), 400, "InvalidRequest").await;
    crate::support::world::versioning(&bart, "bkt", "Enabled").await;
    let reply = refused(&world, class("EU,us-west-1"), 400, "ValidationError").await;
    assert_eq!(reply.tag("Message").unwrap(), "Replication configuration lacks a preferred read location");
    class("EU:preferred_read,us-west-1").expect(200).await;
    rules("").expect(200).await;
    refused(&world, class("location-dmf-v1:preferred_read"), 400, "MalformedXML").await;
}

#[tokio::test]
async fn a_full_location_refuses_what_grows_whoever_races() {
    let world = World::small_parts().await;
    relocate(&world, |locations| {
        for location in locations.iter_mut().filter(|location| &*location.name == "EU") {
            location.size_limit = Some(1_000_000);
        }
    })
    .await;
    let bart = world.bart();
    bart.put("/bkt", at("EU")).expect(200).await;
    bart.put("/other", "").expect(200).await;
    let put = |number: usize| {
        let bucket = if number.is_multiple_of(2) { "bkt" } else { "other" };
        bart.put(&format!("/{bucket}/key{number}"), vec![b'x'; 90_000]).header(HEADER, "EU")
    };
    let replies = join_all((0..64).map(|number| async move { (number, put(number).send().await) })).await;
    let written: Vec<usize> = replies.iter().filter(|(_, reply)| reply.status == 200).map(|(it, _)| *it).collect();
    assert_eq!(written.len(), 11);
    for (_, reply) in replies.iter().filter(|(_, reply)| reply.status != 200) {
        assert_eq!((reply.status, reply.tag("Code").as_deref()), (403, Some("AccessDenied")), "{reply}");
        let words = "The assigned storage space limit for location EU will be exceeded";
        assert_eq!(reply.tag("Message").as_deref(), Some(words));
    }
    assert_eq!(world.storage().usage_of_location("EU").await.unwrap().stored_bytes(), 990_000);
    refused(&world, put(100), 403, "AccessDenied").await;
    put(written[0]).expect(200).await;
    bart.put("/other/elsewhere", vec![b'x'; 90_000]).expect(200).await;
    let upload = Upload::begin(&bart, "/bkt/up").await;
    let part = bart.put(&format!("/bkt/up?partNumber=1&uploadId={}", upload.id), vec![b'x'; 10_001]);
    refused(&world, part, 403, "AccessDenied").await;
    let bucket = if written[0].is_multiple_of(2) { "bkt" } else { "other" };
    bart.delete(&format!("/{bucket}/key{}", written[0])).expect(204).await;
    put(100).expect(200).await;
    world.sound().await;
}

async fn ready(world: &World) -> (u16, String) {
    let mut admin = Connection::open(world.server.admin_addresses()[0]).await;
    admin.send(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let reply = admin.reply("GET").await.unwrap();
    (reply.status, reply.text())
}

#[tokio::test]
async fn a_location_that_is_gone_costs_its_own_objects_only() {
    let world = World::new().await;
    let bart = world.bart();
    bart.put("/bkt", at("eu-west-1")).expect(200).await;
    bart.put("/bkt/large", vec![b'x'; 100_000]).expect(200).await;
    bart.put("/other", "").expect(200).await;
    bart.put("/other/key", "bytes").expect(200).await;
    let mut gone = None;
    relocate(&world, |locations| {
        let at = locations.iter().position(|location| &*location.name == "eu-west-1").unwrap();
        gone = Some(locations.remove(at));
    })
    .await;
    bart.get("/bkt/large").refused(503, "ServiceUnavailable").await;
    bart.head("/bkt/large").expect(200).await;
    let reply = refused(&world, bart.put("/bkt/new", "x"), 400, "InvalidArgument").await;
    let words =
        "Bucket Location Error - Your bucket location \"eu-west-1\" is not in your location config - Please update.";
    assert_eq!(reply.tag("Message").unwrap().replace("&quot;", "\""), words);
    assert_eq!(bart.get("/other/key").expect(200).await.text(), "bytes");
    let (status, text) = ready(&world).await;
    assert_eq!(status, 200, "{text}");
    assert!(
        text.contains(r#""eu-west-1":{"error":"is not configured, and holds 1 versions","external":true}"#),
        "{text}"
    );
    relocate(&world, |locations| locations.extend(gone)).await;
    assert_eq!(bart.get("/bkt/large").expect(200).await.text().len(), 100_000);
}

/// Whether a store far away hangs.
#[derive(Debug, Default)]
struct Hangs(AtomicBool);

impl Layer for Hangs {
    async fn around<T: Send>(
        &self,
        _: Call,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        if self.0.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        work.await
    }
}

async fn timed_puts(client: &Client, rounds: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in 0..rounds {
        let began = Instant::now();
        client.put(&format!("/near/key{number}"), vec![b'x'; 100_000]).expect(200).await;
        assert_eq!(client.get(&format!("/near/key{number}")).expect(200).await.text().len(), 100_000);
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

/// A location that hangs for ever takes its share of calls and no more; others do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_location_that_hangs_leaves_the_others_their_speed() {
    let world = World::with(|config| config.limits.requests_in_flight = 32).await;
    let far = Arc::new(Layered::over(Arc::new(MemoryBackend::new()), Hangs::default()));
    let settings = HealthSettings {
        breaker: BreakerSettings {
            failures: 5,
            pause: Duration::from_millis(50),
            longest_pause: Duration::from_millis(200),
        },
        probe: Duration::from_millis(200),
        answer: Duration::from_secs(6),
        calls: 8,
    };
    let metrics = LocationMetrics::default();
    let backend: Arc<dyn DataBackend> = Arc::<Layered<Hangs>>::clone(&far);
    let (backend, health) = LocationHealth::guard(("far", ("OK", None)), backend, settings, metrics.of("far"));
    relocate(&world, |locations| {
        locations.push(Location { health: Some(Arc::clone(&health)), ..Location::new("far", backend) });
    })
    .await;
    let bart = world.bart();
    bart.put("/far", at("far")).expect(200).await;
    bart.put("/near", "").expect(200).await;
    bart.put("/far/before", vec![b'x'; 100_000]).expect(200).await;
    let alone = timed_puts(&bart, 20).await;

    far.layer().0.store(true, Ordering::SeqCst);
    let mut hanging = JoinSet::new();
    for number in 0..24 {
        let put = bart.put(&format!("/far/key{number}"), vec![b'x'; 100_000]);
        hanging.spawn(async move { put.send().await.status });
    }
    let beside = timed_puts(&bart, 20).await;
    // Whoever waited for one of those would wait for six seconds.
    assert!(beside < alone * 10 + Duration::from_secs(3), "{alone:?} alone, {beside:?} beside one that hangs");
    while let Some(status) = hanging.join_next().await {
        assert_eq!(status.unwrap(), 503);
    }
    let began = Instant::now();
    while health.report().is_up {
        assert!(began.elapsed() < SOON, "{:?}", health.report());
        bart.get("/far/before").refused(503, "ServiceUnavailable").await;
    }
    let (status, text) = ready(&world).await;
    assert_eq!(status, 200, "the others serve: {text}");
    assert!(text.contains(r#""far":{"error":"no answer within 6000 ms","external":true}"#), "{text}");

    far.layer().0.store(false, Ordering::SeqCst);
    let began = Instant::now();
    while bart.get("/far/before").send().await.status != 200 {
        assert!(began.elapsed() < SOON, "{:?}", health.report());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A look that began while it hung may end after it works again, and counts until the next one.
    loop {
        let (status, text) = ready(&world).await;
        if status == 200 && text.contains(r#""far":{"message":"OK"}"#) {
            break;
        }
        assert!(began.elapsed() < SOON, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What the refused writes had begun is removed once the location is back.
    world.sound().await;
}
