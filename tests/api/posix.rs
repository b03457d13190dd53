//! A location of plain files: what S3 writes are files, and what others put there becomes objects by a scan.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use cloudserver::{
    clock::SystemClock,
    data::{PosixBackend, PosixOptions},
    location::{Location, LocationTable},
};
use serde_json::{Value, json};

use crate::support::{
    client::{Call, Client},
    wire::SOON,
    world::{World, folder, path, versioning},
};

/// A server whose `us-west-1` is a folder, and a bucket of Bart's there.
struct Files {
    world: World,
    bart: Client,
    root: PathBuf,
    _folder: tempfile::TempDir,
}

impl Files {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(options: impl FnOnce(&mut PosixOptions)) -> Self {
        let (world, folder) = (World::small_parts().await, folder());
        let root = folder.path().join("files");
        fs::create_dir(&root).unwrap();
        let table = world.storage().locations();
        let east = table.get("us-east-1").unwrap();
        let mut posix = PosixOptions::new(&root);
        options(&mut posix);
        let backend = Arc::new(PosixBackend::new(posix, Arc::new(SystemClock)));
        let scan_by = Arc::new(["Bart".to_owned()]);
        let files = Location { name: "us-west-1".into(), backend, scan_by, ..(**east).clone() };
        world.storage().set_locations(LocationTable::new([(**east).clone(), files]));
        let bart = world.bart();
        let there =
            "<CreateBucketConfiguration><LocationConstraint>us-west-1</LocationConstraint></CreateBucketConfiguration>";
        bart.put("/files", there).expect(200).await;
        Self { world, bart, root, _folder: folder }
    }

    fn file(&self, key: &str) -> PathBuf {
        self.root.join("files").join(key)
    }

    fn kept(&self) -> usize {
        fs::read_dir(self.root.join(".cloudserver/kept")).unwrap().count()
    }

    /// A scan to its end.
    async fn scan(&self, dry_run: bool) -> Value {
        let job = self.ended_scan(dry_run).await;
        assert_eq!(job["state"], "done", "{job}");
        job
    }

    /// A scan to its end, good or bad.
    async fn ended_scan(&self, dry_run: bool) -> Value {
        let request = json!({"from": "us-west-1", "dryRun": dry_run}).to_string();
        let reply = self.bart.post("/_/locations/scan?bucket=files", request).expect(202).await;
        let job: Value = serde_json::from_str(&reply.text()).unwrap();
        let (began, id) = (Instant::now(), job["id"].as_str().unwrap().to_owned());
        loop {
            let reply = self.bart.get(&format!("/_/locations/jobs/{id}")).expect(200).await;
            let job: Value = serde_json::from_str(&reply.text()).unwrap();
            if job["state"] != "running" {
                return job;
            }
            assert!(began.elapsed() < SOON, "{job}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn assert_scan(&self, dry_run: bool, expected: [u64; 4]) -> Value {
        let job = self.scan(dry_run).await;
        let found =
            ["addedObjects", "updatedObjects", "removedObjects", "skipped"].map(|name| job[name].as_u64().unwrap());
        assert_eq!(found, expected, "{job}");
        job
    }
}

#[tokio::test]
async fn what_is_written_by_s3_is_a_file_and_what_is_deleted_is_none() {
    let files = Files::new().await;
    let bart = &files.bart;
    for key in ["a", "a/b.txt", "a/", "../up", "100%"] {
        bart.put(&path("files", key), key).expect(200).await;
        assert_eq!(bart.get(&path("files", key)).expect(200).await.text(), key);
    }
    assert_eq!(fs::read(files.file("a/b.txt")).unwrap(), b"a/b.txt");
    assert_eq!(fs::read(files.file("a%=")).unwrap(), b"a");
    assert_eq!(fs::read(files.file("100%")).unwrap(), b"100%");
    bart.put("/files/a/b.txt", "second").expect(200).await;
    files.world.drained().await;
    assert_eq!((fs::read(files.file("a/b.txt")).unwrap(), files.kept()), (b"second".to_vec(), 0));
    // Copies, of bytes that are there already.
    bart.put("/files/copy", "").header("x-amz-copy-source", "/files/a/b.txt").expect(200).await;
    assert_eq!(fs::read(files.file("copy")).unwrap(), b"second");
    for key in ["a", "a/b.txt", "a/", "../up", "100%", "copy"] {
        bart.delete(&path("files", key)).expect(204).await;
    }
    files.world.drained().await;
    assert_eq!(fs::read_dir(files.root.join("files")).unwrap().count(), 0);
    files.world.sound().await;
}

#[tokio::test]
async fn older_versions_are_kept_until_they_are_deleted() {
    let files = Files::new().await;
    let bart = &files.bart;
    versioning(bart, "files", "Enabled").await;
    let mut versions = Vec::new();
    for body in ["one", "two"] {
        let reply = bart.put("/files/key", body).expect(200).await;
        versions.push(reply.header("x-amz-version-id").unwrap().to_owned());
    }
    bart.delete("/files/key").expect(204).await;
    files.world.drained().await;
    assert!(!files.file("key").try_exists().unwrap(), "behind a marker there is no file");
    for (version, body) in versions.iter().zip(["one", "two"]) {
        assert_eq!(bart.get(&format!("/files/key?versionId={version}")).expect(200).await.text(), body);
        bart.delete(&format!("/files/key?versionId={version}")).expect(204).await;
    }
    files.world.drained().await;
    assert_eq!(files.kept(), 0);
    files.world.sound().await;
}

#[tokio::test]
async fn a_scan_takes_up_what_others_did_and_does_it_once() {
    let files = Files::new().await;
    let bart = &files.bart;
    bart.put("/files/ours", "ours").header("x-amz-meta-colour", "blue").expect(200).await;
    bart.put("/files/stays", "stays").expect(200).await;
    files.assert_scan(false, [0, 0, 0, 0]).await;
    fs::create_dir_all(files.file("drop")).unwrap();
    fs::write(files.file("drop/in.txt"), "dropped").unwrap();
    fs::write(files.file("empty"), "").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", files.file("link")).unwrap();
    fs::write(files.file("ours"), "edited!").unwrap();
    bart.get("/files/ours").expect(500).await;

    files.assert_scan(true, [2, 1, 0, 1]).await;
    bart.get("/files/drop/in.txt").refused(404, "NoSuchKey").await;
    let job = files.assert_scan(false, [2, 1, 0, 1]).await;
    assert!(job["notes"][0].as_str().unwrap().starts_with("files/link: a symbolic link"), "{job}");
    let reply = bart.get("/files/drop/in.txt").expect(200).await;
    assert_eq!(
        (reply.text().as_str(), reply.header("etag")),
        ("dropped", Some("\"41d368a58ee26891a6a586ddaaa604f8\""))
    );
    assert_eq!(bart.get("/files/empty").expect(200).await.text(), "");
    let reply = bart.get("/files/ours").expect(200).await;
    assert_eq!((reply.text().as_str(), reply.header("x-amz-meta-colour")), ("edited!", Some("blue")));
    files.assert_scan(false, [0, 0, 0, 1]).await;
    files.world.drained().await;
    assert_eq!(fs::read(files.file("ours")).unwrap(), b"edited!", "the garbage of the old bytes is not the new ones");

    fs::remove_file(files.file("drop/in.txt")).unwrap();
    fs::rename(files.file("stays"), files.file("moved")).unwrap();
    files.assert_scan(true, [1, 0, 2, 1]).await;
    files.assert_scan(false, [1, 0, 2, 1]).await;
    bart.get("/files/drop/in.txt").refused(404, "NoSuchKey").await;
    bart.get("/files/stays").refused(404, "NoSuchKey").await;
    assert_eq!(bart.get("/files/moved").expect(200).await.text(), "stays");
    bart.delete("/files/moved").expect(204).await;
    files.world.drained().await;
    assert!(!files.file("moved").try_exists().unwrap(), "what was taken up is deleted as any object");
    files.world.sound().await;
}

#[tokio::test]
async fn only_folders_are_scanned_and_only_for_owners_whom_the_operator_lets() {
    let files = Files::new().await;
    let scan = "/_/locations/scan?bucket=files";
    let request = |from: &str| json!({ "from": from }).to_string();
    let lisa = files.world.lisa();
    lisa.post(scan, request("us-west-1")).refused(403, "AccessDenied").await;
    // Somebody made a folder on the share; a bucket of its name gives nobody what is in it.
    fs::create_dir(files.root.join("finance")).unwrap();
    fs::write(files.root.join("finance/pay.csv"), "everybody's pay").unwrap();
    lisa.put("/finance", "").expect(200).await;
    for dry_run in [true, false] {
        let request = json!({"from": "us-west-1", "dryRun": dry_run}).to_string();
        lisa.post("/_/locations/scan?bucket=finance", request).refused(403, "AccessDenied").await;
    }
    lisa.get("/finance/pay.csv").refused(404, "NoSuchKey").await;
    for body in [request("us-east-1"), request("atlantis"), json!({"from": "us-west-1", "to": "EU"}).to_string()] {
        files.bart.post(scan, body).refused(400, "InvalidArgument").await;
    }
    // Another file system in its place: an empty folder is not a location that lost everything.
    files.bart.put("/files/key", "bytes").expect(200).await;
    files.assert_scan(false, [0, 0, 0, 0]).await;
    let table = files.world.storage().locations();
    let (east, west) = (table.get("us-east-1").unwrap(), table.get("us-west-1").unwrap());
    let other = folder();
    let backend = Arc::new(PosixBackend::new(PosixOptions::new(other.path()), Arc::new(SystemClock)));
    let west = Location { backend, ..(**west).clone() };
    files.world.storage().set_locations(LocationTable::new([(**east).clone(), west]));
    files.bart.post(scan, request("us-west-1")).refused(400, "InvalidArgument").await;
    files.bart.head("/files/key").expect(200).await;
}

#[tokio::test]
async fn a_scan_of_a_folder_that_seems_empty_takes_no_object_for_gone() {
    let world = Files::new().await;
    world.bart.put("/files/kept", "bytes").expect(200).await;
    std::fs::rename(world.root.join("files"), world.root.parent().unwrap().join("elsewhere")).unwrap();
    let job = world.ended_scan(false).await;
    assert_eq!((job["state"].as_str(), job["removedObjects"].as_u64()), (Some("failed"), Some(0)), "{job}");
    std::fs::rename(world.root.parent().unwrap().join("elsewhere"), world.root.join("files")).unwrap();
    assert_eq!(world.bart.get("/files/kept").expect(200).await.text(), "bytes");
}

#[tokio::test]
async fn a_folder_without_buckets_names_serves_the_bucket_that_used_it_first_and_no_other() {
    let files = Files::with(|options| options.bucket_match = true).await;
    let there =
        "<CreateBucketConfiguration><LocationConstraint>us-west-1</LocationConstraint></CreateBucketConfiguration>";
    let named = |call: Call| call.header("x-amz-meta-scal-location-constraint", "us-west-1");
    files.bart.put("/files/pay", "Bart's").expect(200).await;
    let accounts = [(files.world.lisa(), 403, "AccessDenied"), (files.world.bart(), 400, "InvalidArgument")];
    for (client, status, code) in accounts {
        client.put("/another", there).refused(400, "InvalidArgument").await;
        client.put("/another", "").expect(200).await;
        client.put("/another/here", "stays").expect(200).await;
        named(client.put("/another/pay", "overwritten")).refused(400, "InvalidArgument").await;
        named(client.post("/another/pay?uploads", "")).refused(400, "InvalidArgument").await;
        let copy = client.put("/another/pay", "").header("x-amz-copy-source", "/another/here");
        named(copy).header("x-amz-metadata-directive", "REPLACE").refused(400, "InvalidArgument").await;
        let to = json!({"from": "us-east-1", "to": "us-west-1"}).to_string();
        client.post("/_/locations/move?bucket=another", to).refused(400, "InvalidArgument").await;
        let scan = client.post("/_/locations/scan?bucket=another", json!({"from": "us-west-1"}).to_string());
        scan.refused(status, code).await;
        client.delete("/another/here").expect(204).await;
        client.delete("/another").expect(204).await;
    }
    assert_eq!(fs::read_to_string(files.root.join("pay")).unwrap(), "Bart's");
    assert_eq!(files.bart.get("/files/pay").expect(200).await.text(), "Bart's");
    // When the bucket is gone, the next one may have the folder.
    files.bart.delete("/files/pay").expect(204).await;
    files.bart.delete("/files").expect(204).await;
    let lisa = files.world.lisa();
    lisa.put("/another", there).expect(200).await;
    lisa.put("/another/pay", "Lisa's").expect(200).await;
    assert_eq!(fs::read_to_string(files.root.join("pay")).unwrap(), "Lisa's");
    files.world.sound().await;
}
