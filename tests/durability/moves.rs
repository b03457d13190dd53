//! Moves between locations over kills: in the end everything is where it was sent, once, and counted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    client::{Client, Request},
    machine::blob_files,
    random::Random,
    run,
    server::{PATIENCE, Server, World, until},
};

/// A server with a location of plain files, and what its one bucket holds.
pub(crate) struct Moving {
    pub(crate) world: World,
    folder: PathBuf,
    objects: BTreeMap<String, Vec<u8>>,
}

impl Moving {
    pub(crate) fn new() -> Self {
        let mut world = World::new(json!({}));
        world.variables = vec![("MPU_TESTING".to_owned(), "yes".to_owned())];
        let folder = world.path().join("files");
        fs::create_dir(&folder).unwrap();
        let mut locations = World::locations();
        locations["files"] = json!({
            "type": "posix", "objectId": "files", "legacyAwsBehavior": false, "details": { "path": folder },
        });
        world.write("locationConfig.json", &locations);
        Self { world, folder, objects: BTreeMap::new() }
    }

    /// Objects of all kinds: none, few and many bytes, one and several parts.
    pub(crate) async fn fill(&mut self, client: &Client, count: usize) {
        client.create_bucket("bucket").await;
        for number in 0..count {
            let byte = u8::try_from(number % 251).unwrap();
            let (key, size) = (format!("folder/{number:04}"), [0, 100, 70_000, 150_000][number % 4]);
            let body = vec![byte; size];
            let put = Request::new("PUT", format!("/bucket/{key}")).header("content-length", size);
            client.send(put.body(body.clone())).await.unwrap().good("put");
            self.objects.insert(key, body);
        }
        self.multipart(client, "parts").await;
    }

    async fn multipart(&mut self, client: &Client, key: &str) {
        let path = format!("/bucket/{key}");
        let answer = client.send(Request::new("POST", &path).query("uploads", "")).await.unwrap();
        let upload = crate::support::xml::first(answer.text(), "UploadId").unwrap().to_owned();
        let (mut list, mut whole) = (Vec::new(), Vec::new());
        for number in 1..=3_u8 {
            let body = vec![number; 80_000];
            let part = Request::new("PUT", &path).query("partNumber", number).query("uploadId", &upload);
            let etag = client.send(part.body(body.clone())).await.unwrap().good("part").etag();
            list.push(format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
            whole.extend(body);
        }
        let body = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", list.concat());
        let complete = Request::new("POST", &path).query("uploadId", &upload).body(body);
        client.send(complete).await.unwrap().good("complete");
        self.objects.insert(key.to_owned(), whole);
    }

    fn bytes(&self) -> f64 {
        let bytes: usize = self.objects.values().map(Vec::len).sum();
        f64::from(u32::try_from(bytes).unwrap())
    }

    /// Everything is at `to`, and nothing anywhere else.
    pub(crate) async fn check(&self, server: &Server, to: &str, what: &str) {
        let client = server.client();
        for (key, body) in &self.objects {
            let answer = client.get(&format!("/bucket/{key}")).await.unwrap().good(what);
            assert!(answer.body == *body, "{what}: {key} has other bytes");
        }
        server.until_metric("cloudserver_garbage_pending", 0.0).await;
        let count = f64::from(u32::try_from(self.objects.len()).unwrap());
        for location in ["us-east-1", "files"] {
            let (versions, bytes) = if location == to { (count, self.bytes()) } else { (0.0, 0.0) };
            server.until_metric(&format!("cloudserver_location_versions{{location=\"{location}\"}}"), versions).await;
            server.until_metric(&format!("cloudserver_location_held_bytes{{location=\"{location}\"}}"), bytes).await;
        }
        let mut files = BTreeMap::new();
        if self.folder.join("bucket").is_dir() {
            read_all(&self.folder.join("bucket"), "", &mut files);
        }
        let private = self.folder.join(".cloudserver");
        let left = ["staged", "kept", "blobs", "taken", "uploads"]
            .map(|name| fs::read_dir(private.join(name)).unwrap().count());
        if to == "files" {
            assert!(files == self.objects, "{what}: each object is a file: {:?}", files.keys());
            until("no blob is left", || blob_files(&self.world.data) == 0).await;
        } else {
            assert!(files.is_empty(), "{what}: {:?}", files.keys());
        }
        // What was staged when the process ended goes after a day: nobody is told of it before a note is written.
        assert_eq!(left[1..], [0, 0, 0, 0], "{what}");
    }
}

fn read_all(folder: &Path, prefix: &str, all: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read_all(&entry.path(), &format!("{name}/"), all);
        } else {
            all.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

pub(crate) async fn begin(client: &Client, from: &str, to: &str) -> String {
    let body = json!({ "from": from, "to": to, "andNewWrites": true }).to_string();
    let request = Request::new("POST", "/_/locations/move").query("bucket", "bucket").body(body);
    let job: Value = serde_json::from_str(client.send(request).await.unwrap().good("a move").text()).unwrap();
    job["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn job(client: &Client, id: &str) -> Option<Value> {
    let answer = client.get(&format!("/_/locations/jobs/{id}")).await.ok()?;
    serde_json::from_str(answer.good("the job").text()).ok()
}

pub(crate) async fn ended(client: &Client, id: &str) -> Value {
    let began = Instant::now();
    loop {
        let job = job(client, id).await.unwrap();
        if job["state"] != "running" {
            return job;
        }
        assert!(began.elapsed() < 2 * PATIENCE, "{job}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn r3_a_move_that_is_killed_again_and_again_ends_as_if_it_had_not_been() {
    run(async {
        let mut random = Random::new(Random::seed());
        let mut moving = Moving::new();
        let mut server = moving.world.start().await;
        moving.fill(&server.client(), 120).await;
        let mut kills = 0;
        for (from, to) in [("us-east-1", "files"), ("files", "us-east-1")] {
            let id = begin(&server.client(), from, to).await;
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(random.within(1..250))).await;
                if job(&server.client(), &id).await.is_some_and(|job| job["state"] != "running") {
                    break;
                }
                server.kill();
                kills += 1;
                server = moving.world.start().await;
            }
            let job = ended(&server.client(), &id).await;
            assert_eq!((&job["state"], &job["left"]), (&json!("done"), &json!(0)), "{job}");
            moving.check(&server, to, "after kills").await;
        }
        println!("{kills} kills");
        server.stop().await;
    });
}
