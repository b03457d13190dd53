//! Promises of reliability that show on the wire (reliability.md §2): R4, R5, R23, R24.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cloudserver::{
    config::DataKind,
    data::{
        DataError,
        layered::{self, Layer, Layered},
    },
    location::{Location, LocationTable},
    types::ByteStream,
};
use futures_util::StreamExt as _;
use md5::{Digest as _, Md5};
use tokio::task::JoinSet;

use crate::{
    multipart::Upload,
    support::{
        chunked::Wrap,
        client::{Call, Client},
        wire::{Connection, Request},
        world::{World, folder},
    },
};

/// A server whose data is in files.
async fn on_disk(folder: &Path) -> World {
    World::with(|config| {
        config.data = DataKind::File;
        config.data_path = folder.join("data");
        config.mpu_testing = true;
    })
    .await
}

fn pattern(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|index| u8::try_from((index / 7 + usize::from(seed)) % 251).unwrap()).collect()
}

/// Begins to read an object and stops after some bytes.
async fn begin_reading(client: &Client, path: &str, first: usize) -> (Connection, Vec<u8>, usize) {
    let mut connection = Connection::narrow(client.address).await;
    connection.send(&client.get(path).signed().bytes()).await;
    let head = connection.head().await.unwrap();
    assert_eq!(head.status, 200, "{head}");
    let size = head.header("content-length").unwrap().parse().unwrap();
    let bytes = connection.exactly(first).await.unwrap();
    (connection, bytes, size)
}

/// R4. Larger than all buffers between server and client.
const LARGE: usize = 16 << 20;

async fn readers_keep_what_they_began(world: World) {
    let bart = world.bucket("slow").await;
    let whole = pattern(LARGE, 1);
    bart.put("/slow/overwritten", &whole).expect(200).await;
    bart.put("/slow/deleted", &whole).expect(200).await;
    let upload = Upload::begin(&bart, "/slow/parts").await;
    let mut tags = Vec::new();
    for (number, part) in (1..).zip(whole.chunks(LARGE / 4)) {
        tags.push((number, upload.part(number, part).await));
    }
    let tags: Vec<(u32, &str)> = tags.iter().map(|(number, tag)| (*number, tag.as_str())).collect();
    upload.complete(&tags).expect(200).await;

    let mut readers = Vec::new();
    for key in ["overwritten", "deleted", "parts"] {
        readers.push(begin_reading(&bart, &format!("/slow/{key}"), 100_000).await);
    }
    bart.put("/slow/overwritten", "new").expect(200).await;
    bart.delete("/slow/deleted").expect(204).await;
    bart.put("/slow/parts", "new").expect(200).await;
    // New readers see the new state at once.
    bart.get("/slow/overwritten").expect(200).await.body_is("new");
    bart.get("/slow/deleted").refused(404, "NoSuchKey").await;
    // Give the cleaner every chance to do harm.
    for _ in 0..3 {
        world.storage().collect_garbage().await.unwrap();
    }
    for (mut connection, mut bytes, size) in readers {
        assert_eq!(size, LARGE);
        bytes.extend(connection.exactly(size - bytes.len()).await.unwrap());
        assert!(bytes == whole, "a reader got other bytes");
    }
    world.drained().await;
    // Small objects are blobs elsewhere only.
    let kept = if world.is_elsewhere() { 2 } else { 0 };
    assert_eq!(world.blobs().await.len(), kept, "what nobody reads any more is freed");
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwrite_and_delete_keep_a_reader_on_the_old_bytes() {
    Box::pin(readers_keep_what_they_began(World::small_parts().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwrite_and_delete_keep_a_reader_on_the_old_file() {
    let folder = folder();
    Box::pin(readers_keep_what_they_began(on_disk(folder.path()).await)).await;
}

/// R5: a body that says which it is, in bytes and in number.
fn telling(number: usize) -> Vec<u8> {
    // Some are kept in metadata, some in blobs.
    let size = [10, 1000, 65_536, 65_537, 200_000][number % 5] + number % 97;
    format!("{number:010}").into_bytes().into_iter().cycle().take(size).collect()
}

async fn write_at_random(client: Client, key: &'static str, first: usize) {
    for step in 0..20 {
        let number = first + step;
        let body = telling(number);
        let call = client
            .put(key, &body)
            .headers(&[("x-amz-meta-number", &number.to_string()), ("x-amz-tagging", &format!("number={number}"))]);
        call.expect(200).await;
        if step % 7 == 6 {
            client.delete(key).expect(204).await;
        }
    }
}

async fn read_and_check(client: Client, key: &'static str) -> usize {
    let mut seen = 0;
    for step in 0..60 {
        let reply = client.call(if step % 4 == 0 { "HEAD" } else { "GET" }, key).send().await;
        if reply.status == 404 {
            continue;
        }
        let reply = reply.expect(200);
        let number: usize = reply.header("x-amz-meta-number").unwrap().parse().unwrap();
        let body = telling(number);
        let reply = reply.has("content-length", &body.len().to_string());
        let reply = reply.has("etag", &format!("\"{}\"", hex::encode(Md5::digest(&body))));
        if step % 4 != 0 {
            reply.body_is(&body);
        }
        seen += 1;
    }
    seen
}

async fn readings_are_never_torn(world: World, versioned: bool) {
    let bart = if versioned { world.versioned("torn").await } else { world.bucket("torn").await };
    bart.put("/torn/a", telling(0)).header("x-amz-meta-number", "0").expect(200).await;
    let mut writers = JoinSet::new();
    let mut readers = JoinSet::new();
    for writer in 0..4 {
        writers.spawn(write_at_random(bart.clone(), "/torn/a", 1000 * (writer + 1)));
    }
    for _ in 0..6 {
        readers.spawn(read_and_check(bart.clone(), "/torn/a"));
    }
    let seen: usize = readers.join_all().await.into_iter().sum();
    writers.join_all().await;
    assert!(seen > 50, "only {seen} readings found an object");
    world.drained().await;
    if !versioned {
        let left = bart
            .get("/torn")
            .expect(200)
            .await
            .tags("Size")
            .iter()
            .filter(|size| size.parse::<usize>().unwrap() > 65_536)
            .count();
        assert_eq!(world.blobs().await.len(), left, "overwritten bytes are freed");
    }
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_is_never_torn_between_two_writes() {
    readings_are_never_torn(World::new().await, false).await;
    readings_are_never_torn(World::new().await, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_of_files_is_never_torn_between_two_writes() {
    let folder = folder();
    readings_are_never_torn(on_disk(folder.path()).await, false).await;
}

/// R23: sends the first `bytes` of a request and leaves.
async fn desert(world: &World, request: &Request, bytes: usize) {
    let all = request.bytes();
    let mut connection = Connection::open(world.address).await;
    connection.send(&all[..bytes.min(all.len())]).await;
    drop(connection);
}

fn names(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_during_an_upload_leaves_nothing() {
    let folder = folder();
    let world = on_disk(folder.path()).await;
    let bart = world.bucket("deserted").await;
    let upload = Upload::begin(&bart, "/deserted/up").await;
    upload.part(1, "part").await;
    bart.put("/deserted/a", "old").expect(200).await;
    let before = world.stored().await;
    let files = names(folder.path());
    world.calm(1).await;
    let body = pattern(300_000, 3);
    let uploads: Vec<Call> = vec![
        bart.put("/deserted/a", &body).unsigned(),
        bart.put("/deserted/a", &body).wrapped(Wrap::signed()),
        bart.put("/deserted/a", &body)
            .wrapped(Wrap::unsigned().trailing(cloudserver::types::ChecksumAlgorithm::Crc32, &body)),
        upload.put(1, &body),
        upload.put(2, &body),
        bart.put("/deserted?tagging", &body),
        bart.post("/deserted?delete", &body).digested(),
        upload.completion(&String::from_utf8_lossy(&body)),
    ];
    for call in &uploads {
        let request = call.signed();
        let head = request.bytes().len() - request.body.len();
        for sent in
            [head / 2, head, head + 1, head + 65_536, head + 70_000, head + 150_000, head + request.body.len() - 1]
        {
            desert(&world, &request, sent).await;
        }
    }
    world.calm(1).await;
    before.assert_same(&world.stored().await, "deserted uploads");
    assert_eq!(names(folder.path()), files, "no file is left");
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_during_a_download_frees_everything() {
    let folder = folder();
    let world = on_disk(folder.path()).await;
    let bart = world.bucket("deserted").await;
    bart.put("/deserted/a", pattern(LARGE, 5)).expect(200).await;
    world.calm(1).await;
    for first in [0, 1, 65_536, 1_000_000] {
        drop(begin_reading(&bart, "/deserted/a", first).await);
    }
    world.calm(1).await;
    // The reader is forgotten, so the bytes can be freed.
    bart.delete("/deserted/a").expect(204).await;
    world.drained().await;
    assert!(world.blobs().await.is_empty());
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_wait_for_its_answer_gets_all_or_nothing() {
    let world = World::small_parts().await;
    let bart = world.bucket("deserted").await;
    let body = pattern(300_000, 7);
    bart.put("/deserted/source", &body).expect(200).await;
    for round in 0..20 {
        let upload = Upload::begin(&bart, &format!("/deserted/up-{round}")).await;
        let tag = upload.part(1, &body).await;
        let copy = bart.put(&format!("/deserted/copy-{round}"), "").header("x-amz-copy-source", "deserted/source");
        for call in [copy, upload.complete(&[(1, &tag)]), bart.put(&format!("/deserted/put-{round}"), &body)] {
            desert(&world, &call.signed(), usize::MAX).await;
        }
    }
    world.calm(1).await;
    world.drained().await;
    let mut whole = 0;
    for round in 0..20 {
        for key in [format!("copy-{round}"), format!("up-{round}"), format!("put-{round}")] {
            let reply = bart.get(&format!("/deserted/{key}")).send().await;
            if reply.status == 404 {
                continue;
            }
            reply.expect(200).body_is(&body);
            whole += 1;
        }
    }
    let open = crate::multipart::open_uploads(&bart, "deserted").await.elements("Upload").len();
    let open = if world.is_elsewhere() { 0 } else { open };
    assert_eq!(world.blobs().await.len(), 1 + whole + open, "each blob belongs to an object or an open upload");
    world.sound().await;
}

/// R24: a backend that breaks its word in the worst way.
type Trap = Layered<Spring>;

/// What sets it off.
#[derive(Debug, Default)]
struct Spring(AtomicU8);

const QUIET: u8 = 0;
const PANIC_IN_PUT: u8 = 1;
const PANIC_AFTER_PUT: u8 = 2;
const PANIC_IN_GET: u8 = 3;
const PANIC_IN_STREAM: u8 = 4;
const FAIL_IN_STREAM: u8 = 5;

impl Spring {
    fn set(&self, mode: u8) {
        self.0.store(mode, Ordering::SeqCst);
    }

    fn springs(&self, mode: u8) -> bool {
        self.0.load(Ordering::SeqCst) == mode
    }
}

impl Layer for Spring {
    async fn around<T: Send>(
        &self,
        call: layered::Call,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        let is_put = call == layered::Call::Put;
        assert!(!(is_put && self.springs(PANIC_IN_PUT)), "the trap springs: put");
        let outcome = work.await;
        assert!(!(is_put && self.springs(PANIC_AFTER_PUT)), "the trap springs: after put");
        outcome
    }

    async fn receive(
        &self,
        work: impl Future<Output = Result<ByteStream, DataError>> + Send,
    ) -> Result<ByteStream, DataError> {
        assert!(!self.springs(PANIC_IN_GET), "the trap springs: get");
        let mode = self.0.load(Ordering::SeqCst);
        let mut pieces = 0;
        let trapped = work.await?.map(move |piece| {
            pieces += 1;
            match (pieces, mode) {
                (2, PANIC_IN_STREAM) => panic!("the trap springs: in the stream"),
                (2, FAIL_IN_STREAM) => Err(cloudserver::types::BodyError::Unreadable("the trap springs".to_owned())),
                _ => piece,
            }
        });
        Ok(trapped.boxed())
    }
}

/// Puts a trap under the location of all buckets.
fn trapped(world: &World) -> Arc<Trap> {
    let table = world.storage().locations();
    let location = table.get("us-east-1").unwrap();
    let trap = Arc::new(Trap::over(Arc::clone(&location.backend), Spring::default()));
    let backend = Arc::<Trap>::clone(&trap);
    world.storage().set_locations(LocationTable::new([Location { backend, ..(**location).clone() }]));
    trap
}

#[tokio::test]
async fn a_panic_is_an_answer_and_leaves_nothing() {
    let world = World::small_parts().await;
    if world.is_elsewhere() {
        // The trap is one for blobs.
        return;
    }
    let bart = world.bucket("panics").await;
    let trap = trapped(&world);
    let body = pattern(1_000_000, 9);
    bart.put("/panics/a", &body).expect(200).await;
    let upload = Upload::begin(&bart, "/panics/up").await;
    let before = world.stored().await;
    let mut panics = 0;
    for mode in [PANIC_IN_PUT, PANIC_AFTER_PUT, PANIC_IN_GET] {
        trap.layer().set(mode);
        let calls = if mode == PANIC_IN_GET {
            vec![bart.get("/panics/a"), bart.put("/panics/b", "").header("x-amz-copy-source", "panics/a")]
        } else {
            vec![bart.put("/panics/a", &body), upload.put(1, &body)]
        };
        for call in calls {
            call.refused(500, "InternalError").await;
            panics += 1;
        }
        trap.layer().set(QUIET);
        before.assert_same(&world.stored().await, "a panic");
        bart.get("/panics/a").expect(200).await.body_is(&body);
        assert_eq!(world.metric("cloudserver_panics_total").await, panics);
    }
    world.calm(1).await;
    // Nothing stays locked: the same keys can be written, the same upload used.
    bart.put("/panics/a", "new").expect(200).await;
    upload.part(1, &body).await;
    upload.abort().expect(204).await;
    world.drained().await;
    assert!(world.blobs().await.is_empty());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_ended_as_if_it_were_whole() {
    let world = World::new().await;
    let bart = world.bucket("panics").await;
    let trap = trapped(&world);
    let body = pattern(1_000_000, 9);
    bart.put("/panics/a", &body).expect(200).await;
    for mode in [PANIC_IN_STREAM, FAIL_IN_STREAM] {
        for range in ["bytes=0-", "bytes=0-999998"] {
            trap.layer().set(mode);
            let mut connection = world.connect().await;
            connection.send(&bart.get("/panics/a").header("range", range).signed().bytes()).await;
            // The head may be lost with the rest; if it came, less than it announced follows.
            if let Ok(head) = connection.head().await {
                let length: usize = head.expect(206).header("content-length").unwrap().parse().unwrap();
                let got = connection.rest_until_cut().await;
                assert!(got.len() < length, "{} of {length} bytes", got.len());
                assert!(body.starts_with(&got));
            }
            trap.layer().set(QUIET);
        }
        // A copy of what cannot be read is no object.
        trap.layer().set(mode);
        let copy = bart.put("/panics/b", "").header("x-amz-copy-source", "panics/a");
        // A store of named objects copies within itself, unless the bytes change.
        let copy = if world.is_elsewhere() { copy.header("x-amz-server-side-encryption", "AES256") } else { copy };
        let reply = copy.send().await;
        // Over a data module the connection to it breaks with the stream: that is 503.
        assert!(reply.status >= 500 || reply.tag("Code").as_deref() == Some("InternalError"), "{reply}");
        trap.layer().set(QUIET);
        bart.get("/panics/b").refused(404, "NoSuchKey").await;
        bart.get("/panics/a").expect(200).await.body_is(&body);
    }
    world.drained().await;
    assert_eq!(world.blobs().await.len(), 1);
    world.calm(1).await;
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let world = World::new().await;
    let bart = world.bucket("stop").await;
    let body = Bytes::from(pattern(200_000, 2));
    let request = bart.put("/stop/a", &body).signed();
    let bytes = request.bytes();
    let half = bytes.len() - 100_000;
    let mut connection = world.connect().await;
    connection.send(&bytes[..half]).await;
    world.bart().get("/stop").expect(200).await;
    let World { server, .. } = world;
    let storage = server.storage().clone();
    let mut stopping = JoinSet::new();
    stopping.spawn(server.stop(Duration::from_secs(20)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    connection.send(&bytes[half..]).await;
    connection.reply("PUT").await.unwrap().expect(200);
    assert_eq!(stopping.join_next().await.unwrap().unwrap(), 0, "no request was cut");
    let bucket = storage.bucket(&cloudserver::types::BucketName::new("stop").unwrap()).await.unwrap();
    assert_eq!(storage.usage(&bucket).await.unwrap().objects, 1);
}
