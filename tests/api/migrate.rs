//! Migrations from one server to another, over real sockets.

use std::{path::Path, sync::Arc, time::Duration};

use cloudserver::{
    clock::SystemClock,
    config::{Migration, OldCredentials, OldServer},
    migrate::{MigrateError, Options, Pairing, Progress, Report, Verify, run},
    outbound::{ClientOptions, HttpClient},
    s3client::{Credentials, Endpoint, Flavor, S3Client, VersionEntry},
};

use crate::support::{
    client::Client,
    world::{LISA, World, folder, path, versioning},
};

fn s3(world: &World) -> S3Client {
    let endpoint = Endpoint {
        https: false,
        authority: world.address.to_string(),
        path_style: true,
        region: "us-east-1".to_owned(),
        flavor: Flavor::Aws,
    };
    let credentials = Credentials::new("accessKey1", "verySecretKey1");
    S3Client::new(HttpClient::new(ClientOptions::default()), endpoint, credentials, Arc::new(SystemClock))
}

fn options(from: &World, to: &World, state: &Path) -> Options {
    Options {
        from: s3(from),
        to: s3(to),
        buckets: Vec::new(),
        prefix: String::new(),
        workers: 4,
        state: state.to_owned(),
        verify: Verify::Bytes,
        verify_only: false,
        accounts: [(LISA.to_owned(), LISA.to_owned())].into(),
        acls: true,
        keep_dates: false,
        location: None,
    }
}

async fn migrated(options: Options) -> Report {
    run(options, Arc::new(Progress::default())).await.unwrap()
}

/// All versions of a bucket, without what the target decides.
async fn versions(world: &World, bucket: &str) -> Vec<(String, bool, bool, String, u64)> {
    let page = s3(world).list_versions(bucket, "", (None, None), 1000).await.unwrap();
    assert!(page.next.is_none());
    let bare = |version: VersionEntry| {
        let object = version.object;
        (object.key, version.marker, version.latest, object.etag, object.size)
    };
    page.versions.into_iter().map(bare).collect()
}

async fn multipart(client: &Client, target: &str, parts: &[Vec<u8>]) -> String {
    let begun = client.post(&format!("{target}?uploads"), "").expect(200).await;
    let id = begun.tag("UploadId").unwrap();
    let mut listed = String::new();
    for (number, part) in (1..).zip(parts) {
        let sent = client.put(&format!("{target}?partNumber={number}&uploadId={id}"), part).expect(200).await;
        let tag = sent.header("etag").unwrap();
        listed += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    }
    let body = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let done = client.post(&format!("{target}?uploadId={id}"), body).expect(200).await;
    done.tag("ETag").unwrap()
}

#[tokio::test]
async fn versions_markers_and_all_that_belongs_to_them_arrive() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.versioned("bucket").await;
    let there = new.bart();
    bart.put("/bucket/a", "one").header("content-type", "text/plain").expect(200).await;
    bart.put("/bucket/a", "two")
        .headers(&[
            ("x-amz-meta-color", "blue"),
            ("cache-control", "no-cache"),
            ("content-encoding", "gzip"),
            ("x-amz-tagging", "k%20ey=v%3Dal%2Fue&b="),
            ("x-amz-website-redirect-location", "/elsewhere"),
        ])
        .expect(200)
        .await;
    bart.delete("/bucket/a").expect(204).await;
    bart.put("/bucket/a", "three").header("x-amz-grant-read", format!("id=\"{LISA}\"")).expect(200).await;
    bart.delete("/bucket/gone").expect(204).await;
    bart.put(&path("bucket", "k +%/ä&?"), "odd").expect(200).await;
    bart.put("/bucket/empty", "").expect(200).await;
    let parts = [vec![1; 6 << 20], vec![2; 5 << 20], vec![3; 7]];
    let etag = multipart(&bart, "/bucket/parts", &parts).await;
    let body = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>";
    bart.put("/bucket?cors", body).digested().expect(200).await;
    let body = "<Tagging><TagSet><Tag><Key>team</Key><Value>red</Value></Tag></TagSet></Tagging>";
    bart.put("/bucket?tagging", body).digested().expect(200).await;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:DeleteBucket","Resource":"arn:aws:s3:::bucket"}]}"#;
    bart.put("/bucket?policy", policy).digested().expect(204).await;

    let state = folder();
    let report = migrated(options(&old, &new, &state.path().join("state"))).await;
    assert!(report.is_complete(), "{report:?}");
    let bucket = &report.buckets[0];
    assert_eq!((bucket.sums.versions, bucket.sums.markers, bucket.sums.keys), (6, 2, 5), "{bucket:?}");
    assert_eq!((bucket.noted, bucket.differences, bucket.verified), (0, Some(0), 8), "{bucket:?}");
    assert_eq!(bucket.settings, ["versioning", "tagging", "cors", "policy"]);
    assert_eq!(versions(&new, "bucket").await, versions(&old, "bucket").await);

    let page = s3(&new).list_versions("bucket", "a", (None, None), 10).await.unwrap().versions;
    let second = format!("/bucket/a?versionId={}", page[2].version);
    let found = there.get(&second).expect(200).await;
    assert_eq!(found.text(), "two");
    for (name, value) in [
        ("x-amz-meta-color", "blue"),
        ("cache-control", "no-cache"),
        ("content-encoding", "gzip"),
        ("x-amz-tagging-count", "2"),
        ("x-amz-website-redirect-location", "/elsewhere"),
    ] {
        assert_eq!(found.header(name), Some(value), "{name}");
    }
    let tags = there.get(&format!("{second}&tagging")).expect(200).await.text();
    assert!(tags.contains("<Key>k ey</Key><Value>v=al/ue</Value>"), "{tags}");
    new.lisa().get("/bucket/a").expect(200).await;
    new.lisa().get("/bucket/empty").refused(403, "AccessDenied").await;
    assert_eq!(
        there.head("/bucket/parts").expect(200).await.header("etag"),
        Some(etag.replace("&quot;", "\"").as_str())
    );
    let second = there.get("/bucket/parts?partNumber=2").expect(206).await;
    assert_eq!(second.body, parts[1]);
    assert_eq!(there.get("/bucket?policy").expect(200).await.text(), policy);
    there.delete("/bucket?policy").expect(204).await;
    new.sound().await;
}

#[tokio::test]
async fn locks_arrive_and_hold() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.bart();
    bart.put("/vault", "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
    let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    bart.put("/vault/free", "not locked").expect(200).await;
    let until = "2099-01-01T00:00:00Z";
    bart.put("/vault/held", "held").header("x-amz-object-lock-legal-hold", "ON").digested().expect(200).await;
    bart.put("/vault/kept", "kept")
        .header("x-amz-object-lock-mode", "COMPLIANCE")
        .header("x-amz-object-lock-retain-until-date", until)
        .digested()
        .expect(200)
        .await;
    bart.put("/vault?object-lock", rule).digested().expect(200).await;
    let state = folder();
    let report = migrated(options(&old, &new, &state.path().join("state"))).await;
    assert!(report.is_complete() && report.buckets[0].noted == 0, "{report:?}");
    let there = new.bart();
    let held = there.head("/vault/held").expect(200).await;
    assert_eq!(held.header("x-amz-object-lock-legal-hold"), Some("ON"));
    let kept = there.head("/vault/kept").expect(200).await;
    assert_eq!(kept.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
    let free = there.head("/vault/free").expect(200).await;
    assert_eq!(free.header("x-amz-object-lock-mode"), None, "the default is for what comes after");
    let version = kept.header("x-amz-version-id").unwrap();
    there.delete(&format!("/vault/kept?versionId={version}")).refused(403, "AccessDenied").await;
    assert!(there.get("/vault?object-lock").expect(200).await.text().contains("<Days>1</Days>"));
}

#[tokio::test]
async fn an_interrupted_run_goes_on_and_ends_identical() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.versioned("many").await;
    let plain = old.bucket("plain").await;
    for number in 0..150 {
        for version in 0..=(number % 3) {
            bart.put(&format!("/many/key-{number:03}"), format!("{number} {version}").repeat(50)).expect(200).await;
        }
        if number % 7 == 0 {
            bart.delete(&format!("/many/key-{number:03}")).expect(204).await;
        }
        plain.put(&format!("/plain/{number}"), vec![7; 100 * number]).expect(200).await;
    }
    let parts = [vec![1; 5 << 20], vec![2; 5 << 20]];
    multipart(&bart, "/many/key-050-parts", &parts).await;
    let state = folder();
    let state = state.path().join("state");
    let (mut interrupted, mut ended_early) = (0, None);
    for round in 0..40_u64 {
        let running = run(options(&old, &new, &state), Arc::new(Progress::default()));
        // Dropped wherever it is: as a kill, but for what the sockets have.
        match tokio::time::timeout(Duration::from_millis(15 + 7 * round), running).await {
            Ok(ended) => {
                ended_early = Some(ended.unwrap());
                break;
            }
            Err(_) => interrupted += 1,
        }
    }
    assert!(interrupted >= 3, "{interrupted}");
    let reports = [ended_early, Some(migrated(options(&old, &new, &state)).await)];
    let reports: Vec<Report> = reports.into_iter().flatten().collect();
    assert!(reports.iter().all(Report::is_complete), "{reports:?}");
    for bucket in ["many", "plain"] {
        assert_eq!(versions(&new, bucket).await, versions(&old, bucket).await, "{bucket}");
    }
    // Only where a run was interrupted between the call that began an upload and its answer may one be left: named.
    let open = new.bart().get("/many?uploads").expect(200).await.text();
    let named = format!("{reports:?}");
    for upload in open.split("<Upload>").skip(1) {
        let id = upload.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
        assert!(named.contains(&format!("(upload id {id})")), "{open} {named}");
    }
    new.sound().await;
}

#[tokio::test]
async fn what_cannot_be_copied_is_named_and_tried_again() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.bucket("bucket").await;
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    bart.put("/bucket/sealed", "secret")
        .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
        .header("x-amz-server-side-encryption-customer-key", key)
        .header("x-amz-server-side-encryption-customer-key-md5", "4EODbM4J4e87QUCERRTkvw==")
        .send()
        .await;
    bart.put("/bucket/open", "open").expect(200).await;
    let state = folder();
    let all = options(&old, &new, &state.path().join("state"));
    let report = migrated(all.clone()).await;
    let bucket = &report.buckets[0];
    if bart.head("/bucket/sealed").send().await.status == 404 {
        assert!(report.is_complete());
        return;
    }
    assert_eq!((bucket.failed, bucket.sums.versions, bucket.differences), (1, 1, Some(1)), "{bucket:?}");
    assert_eq!(bucket.failures[0].key, "sealed");
    assert!(!report.is_complete());
    bart.put("/bucket/sealed", "no longer").expect(200).await;
    let report = migrated(all).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(new.bart().get("/bucket/sealed").expect(200).await.text(), "no longer");
}

#[tokio::test]
async fn a_second_run_copies_what_changed_and_leaves_what_the_target_wrote() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.bucket("bucket").await;
    for key in ["same", "changed", "theirs"] {
        bart.put(&format!("/bucket/{key}"), "first").expect(200).await;
    }
    let state = folder();
    let all = Options { verify: Verify::No, ..options(&old, &new, &state.path().join("state")) };
    let renamed =
        Options { buckets: vec![Pairing { from: "bucket".to_owned(), to: "other".to_owned() }], ..all.clone() };
    assert_eq!(migrated(renamed.clone()).await.buckets[0].sums.versions, 3);
    let there = new.bart();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    bart.put("/bucket/changed", "second").expect(200).await;
    bart.put("/bucket/new", "new").expect(200).await;
    there.put("/other/theirs", "written here").expect(200).await;
    let report = migrated(renamed.clone()).await;
    let bucket = &report.buckets[0];
    assert_eq!((bucket.sums.versions, bucket.sums.present, bucket.noted), (2, 1, 1), "{bucket:?}");
    assert!(bucket.notes[0].problem.contains("left as it is"));
    for (key, text) in [("same", "first"), ("changed", "second"), ("new", "new"), ("theirs", "written here")] {
        assert_eq!(there.get(&format!("/other/{key}")).expect(200).await.text(), text);
    }
    let only = Options { verify: Verify::Listing, verify_only: true, ..renamed };
    assert_eq!(migrated(only).await.buckets[0].differences, Some(1));
}

#[tokio::test]
async fn suspended_versioning_is_suspended_at_the_end() {
    let (old, new) = (World::new().await, World::new().await);
    let bart = old.versioned("bucket").await;
    bart.put("/bucket/a", "one").expect(200).await;
    versioning(&bart, "bucket", "Suspended").await;
    bart.put("/bucket/a", "two").expect(200).await;
    let state = folder();
    let report = migrated(options(&old, &new, &state.path().join("state"))).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(versions(&new, "bucket").await, versions(&old, "bucket").await);
    assert!(new.bart().get("/bucket?versioning").expect(200).await.text().contains("Suspended"));
}

#[tokio::test]
async fn a_source_or_bucket_that_is_not_there_is_an_error_that_says_so() {
    let (old, new) = (World::new().await, World::new().await);
    let state = folder();
    let all = options(&old, &new, &state.path().join("state"));
    let missing =
        Options { buckets: vec![Pairing { from: "nothing".to_owned(), to: "nothing".to_owned() }], ..all.clone() };
    let refused = run(missing, Arc::new(Progress::default())).await;
    assert!(matches!(refused, Err(MigrateError::NoBucket(name)) if name == "nothing"));
    old.bucket("taken").await;
    new.lisa().put("/taken", "").expect(200).await;
    let refused = run(all, Arc::new(Progress::default())).await;
    assert!(matches!(refused, Err(MigrateError::Taken(name)) if name == "taken"));
}

/// A server that reads at another what it has not.
async fn before(old: &World, keep_dates: bool) -> World {
    let authority = old.address.to_string();
    let source = OldServer {
        https: false,
        authority,
        region: "us-east-1".to_owned(),
        path_style: true,
        owner: "Bart".to_owned(),
        buckets: Some(vec!["bucket".to_owned()]),
        lists: true,
        credentials: OldCredentials::Keys("accessKey1".to_owned(), "verySecretKey1".to_owned().into()),
    };
    World::with(|config| config.migration = Migration { source: Some(source), keep_dates }).await
}

#[tokio::test]
async fn what_is_not_here_yet_is_read_on_the_old_server() {
    let old = World::new().await;
    let bart = old.bucket("bucket").await;
    let body: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let put = bart.put("/bucket/large", &body).headers(&[("x-amz-meta-a", "b"), ("content-type", "text/x")]);
    let etag = put.expect(200).await.header("etag").unwrap().to_owned();
    let new = before(&old, false).await;
    let here = new.bucket("bucket").await;

    let found = here.get("/bucket/large").expect(200).await;
    assert_eq!(found.body, body);
    for (name, value) in [
        ("etag", etag.as_str()),
        ("x-amz-meta-a", "b"),
        ("content-type", "text/x"),
        ("x-cloudserver-read-through", "true"),
    ] {
        assert_eq!(found.header(name), Some(value), "{name}");
    }
    let head = here.head("/bucket/large").expect(200).await;
    assert_eq!(head.header("content-length"), Some("300000"));
    let range = here.get("/bucket/large").header("range", "bytes=10-19").expect(206).await;
    assert_eq!((range.body.as_slice(), range.header("content-range")), (&body[10..20], Some("bytes 10-19/300000")));
    here.get("/bucket/large").header("range", "bytes=300000-").refused(416, "InvalidRange").await;
    here.get("/bucket/large").header("if-match", "\"0\"").refused(412, "PreconditionFailed").await;
    assert_eq!(here.get("/bucket/large").header("if-none-match", &etag).send().await.status, 304);
    here.get("/bucket/nothing").refused(404, "NoSuchKey").await;
    new.lisa().get("/bucket/large").refused(403, "AccessDenied").await;
    new.nobody().get("/bucket/large").refused(403, "AccessDenied").await;
    // A bucket that is not meant is not read there.
    bart.put("/other", "").expect(200).await;
    bart.put("/other/a", "a").expect(200).await;
    here.put("/other", "").expect(200).await;
    here.get("/other/a").refused(404, "NoSuchKey").await;
    new.sound().await;
}

#[tokio::test]
async fn what_was_written_or_deleted_here_wins() {
    let old = World::new().await;
    let bart = old.bucket("bucket").await;
    for key in ["written", "deleted", "many-1", "many-2", "gone", "kept"] {
        bart.put(&format!("/bucket/{key}"), "old").expect(200).await;
    }
    let new = before(&old, false).await;
    let here = new.bucket("bucket").await;
    here.put("/bucket/written", "new").expect(200).await;
    assert_eq!(here.get("/bucket/written").expect(200).await.text(), "new");
    here.delete("/bucket/deleted").expect(204).await;
    here.get("/bucket/deleted").refused(404, "NoSuchKey").await;
    here.head("/bucket/deleted").refused(404, "NoSuchKey").await;
    here.delete("/bucket/written").expect(204).await;
    here.get("/bucket/written").refused(404, "NoSuchKey").await;
    let body = "<Delete><Object><Key>many-1</Key></Object><Object><Key>many-2</Key></Object></Delete>";
    here.post("/bucket?delete", body).digested().expect(200).await;
    here.get("/bucket/many-1").refused(404, "NoSuchKey").await;
    here.delete("/bucket/gone?versionId=null").expect(204).await;
    here.get("/bucket/gone").refused(404, "NoSuchKey").await;
    assert_eq!(here.get("/bucket/kept").expect(200).await.text(), "old");

    // The migration goes by it, too: what was deleted stays deleted.
    let state = folder();
    let all = Options { verify: Verify::No, ..options(&old, &new, &state.path().join("state")) };
    let report = migrated(all).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.buckets[0].sums.versions, report.buckets[0].noted), (1, 5), "{report:?}");
    here.get("/bucket/deleted").refused(404, "NoSuchKey").await;
    let kept = here.get("/bucket/kept").expect(200).await;
    assert_eq!((kept.text().as_str(), kept.header("x-cloudserver-read-through")), ("old", None));
    new.sound().await;
}

#[tokio::test]
async fn a_marker_hides_the_old_object() {
    let old = World::new().await;
    let bart = old.bucket("bucket").await;
    bart.put("/bucket/a", "old").expect(200).await;
    let new = before(&old, false).await;
    let here = new.versioned("bucket").await;
    assert_eq!(here.get("/bucket/a").expect(200).await.text(), "old");
    here.delete("/bucket/a").expect(204).await;
    here.get("/bucket/a").refused(404, "NoSuchKey").await;
}

#[tokio::test]
async fn an_old_server_that_is_away_is_no_missing_object() {
    let old = World::new().await;
    let new = before(&old, false).await;
    let here = new.bucket("bucket").await;
    here.put("/bucket/here", "here").expect(200).await;
    old.server.stop(Duration::ZERO).await;
    here.get("/bucket/here").expect(200).await;
    here.get("/bucket/there").refused(503, "ServiceUnavailable").await;
}

#[tokio::test]
async fn dates_are_kept_where_the_target_allows_it() {
    let old = World::new().await;
    let bart = old.bucket("bucket").await;
    let new = before(&old, true).await;
    bart.put("/bucket/a", "old").expect(200).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let state = folder();
    let all = Options { keep_dates: true, ..options(&old, &new, &state.path().join("state")) };
    assert!(migrated(all).await.is_complete());
    let was = bart.head("/bucket/a").expect(200).await.header("last-modified").unwrap().to_owned();
    assert_eq!(new.bart().head("/bucket/a").expect(200).await.header("last-modified"), Some(was.as_str()));
    // Elsewhere the header says nothing.
    let date = ("x-cloudserver-last-modified", "2001-01-01T00:00:00Z");
    bart.put("/bucket/b", "b").headers(&[date]).expect(200).await;
    assert!(!bart.head("/bucket/b").expect(200).await.header("last-modified").unwrap().contains("2001"));
    new.bart().put("/bucket/b", "b").headers(&[date]).expect(200).await;
    assert!(new.bart().head("/bucket/b").expect(200).await.header("last-modified").unwrap().contains("2001"));
}
