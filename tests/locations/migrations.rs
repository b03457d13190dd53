//! Migrations through proxies that misbehave: a run may end early, and in the end everything is the same.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cloudserver::{
    migrate::{Options, Pairing, Progress, Report, Verify, run},
    outbound::Payload,
    s3client::{Get, Retry, S3Client},
    types::body,
};
use http::HeaderMap;
use tempfile::TempDir;

use crate::{
    far::{Far, Keeps, client, payload},
    faults::{Fault, Proxy},
};

fn options(from: S3Client, to: S3Client, state: &Path) -> Options {
    Options {
        from,
        to,
        buckets: vec![Pairing { from: "far".to_owned(), to: "far".to_owned() }],
        prefix: String::new(),
        workers: 8,
        state: state.to_owned(),
        verify: Verify::No,
        verify_only: false,
        accounts: std::collections::BTreeMap::new(),
        acls: false,
        keep_dates: false,
        location: None,
    }
}

fn impatient() -> Retry {
    Retry {
        attempts: 3,
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(50),
        deadline: Duration::from_secs(4),
    }
}

async fn put(client: &S3Client, key: &str, bytes: Bytes) {
    client.put_object("far", key, &HeaderMap::new(), Payload::Held(bytes)).await.unwrap();
}

/// Writes an object in parts of these sizes.
async fn put_parts(client: &S3Client, key: &str, sizes: &[usize]) {
    let id = client.create_multipart_upload("far", key, &HeaderMap::new()).await.unwrap();
    let mut parts = Vec::new();
    for (number, size) in (1..).zip(sizes) {
        let held = Payload::Held(payload(*size, u64::from(number)));
        parts.push((number, client.upload_part("far", key, (&id, number), held).await.unwrap().etag.unwrap()));
    }
    client.complete_multipart_upload("far", key, &id, &parts).await.unwrap();
}

/// Versions of all keys, without what the target decides.
async fn all(client: &S3Client) -> Vec<(String, bool, String, u64)> {
    let page = client.list_versions("far", "", (None, None), 1000).await.unwrap();
    assert!(page.next.is_none());
    page.versions.into_iter().map(|it| (it.object.key, it.marker, it.object.etag, it.object.size)).collect()
}

async fn bytes(client: &S3Client, key: &str) -> Bytes {
    let reply = client.get_object("far", key, Get::default()).await.unwrap();
    body::collect(reply.body, 64 << 20).await.unwrap()
}

async fn compared(from: &S3Client, to: &S3Client, state: &Path) -> Report {
    let only = Options { verify: Verify::Bytes, verify_only: true, ..options(from.clone(), to.clone(), state) };
    run(only, Arc::default()).await.unwrap()
}

const FAULTS: [Fault; 8] = [
    Fault::Status(503),
    Fault::Status(500),
    Fault::Truncate,
    Fault::Refuse,
    Fault::Swallow,
    Fault::Flip,
    Fault::HalfRequest,
    Fault::Lie,
];

/// Every so often something goes wrong. Tags in answers to HEAD are believed: there are no bytes to compare them with.
async fn sick(far: &Far, every: usize) -> Proxy {
    Proxy::new(far.address, move |line, count| match FAULTS[count / every % FAULTS.len()] {
        Fault::Lie if line.starts_with("HEAD ") => Fault::None,
        fault if count % every == every - 1 => fault,
        _ => Fault::None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_on_the_way_the_copy_ends_identical() {
    for keeps in [Keeps::Nothing, Keeps::Versions] {
        let (old, new) = (Far::new().await, Far::new().await);
        let source = old.bucket("far", keeps).await;
        for number in 0..60_u64 {
            let key = format!("key {}", number % 45);
            let size = [0, 10, 5000, 300_000][usize::try_from(number % 4).unwrap()];
            put(&source, &key, payload(size, number)).await;
            if number % 9 == 0 {
                source.delete_object("far", &key, None).await.unwrap();
            }
        }
        put_parts(&source, "parts", &[5 << 20, 5 << 20, 100]).await;
        // Larger than what is held: streamed.
        put(&source, "streamed", payload(6 << 20, 7)).await;
        let (from, to) = (sick(&old, 5).await, sick(&new, 7).await);
        let folder = TempDir::new().unwrap();
        let state = folder.path().join("state");
        let mut runs = 0;
        let report = loop {
            runs += 1;
            let all = options(client(from.address, impatient()), client(to.address, impatient()), &state);
            match run(all, Arc::default()).await {
                Ok(report) if report.is_complete() => break report,
                other => assert!(runs < 40, "it does not end: {other:?}"),
            }
        };
        let target = client(new.address, Retry::default());
        assert_eq!(all(&target).await, all(&source).await, "{keeps:?} {report:?}");
        let compared = compared(&source, &target, &state).await;
        assert_eq!(compared.buckets[0].differences, Some(0), "{compared:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_change_on_the_way_are_never_kept() {
    let (old, new) = (Far::new().await, Far::new().await);
    let source = old.bucket("far", Keeps::Nothing).await;
    let target = new.bucket("far", Keeps::Nothing).await;
    put_parts(&source, "parts", &[5 << 20, 5 << 20]).await;
    put(&source, "streamed", payload(6 << 20, 7)).await;
    put(&source, "held", payload(1000, 8)).await;
    let flips = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&flips);
    // The first read of an object in one piece, one of two parts in each of two rounds, the first of a stream.
    let from = Proxy::new(old.address, move |line, _| {
        let reads = ["/far/parts", "/far/streamed", "/far/held"].iter().any(|path| line.contains(path));
        let is_read = line.starts_with("GET ") && reads && !line.contains("tagging");
        if is_read && matches!(counted.fetch_add(1, Ordering::SeqCst), 0 | 2 | 6 | 10) {
            Fault::Flip
        } else {
            Fault::None
        }
    })
    .await;
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let all = Options { workers: 1, ..options(client(from.address, impatient()), target.clone(), &state) };
    let report = run(all, Arc::default()).await.unwrap();
    assert!(report.is_complete() && report.buckets[0].noted == 0, "{report:?}");
    assert!(flips.load(Ordering::SeqCst) > 11);
    assert_eq!(compared(&source, &target, &state).await.buckets[0].differences, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_answer_never_came_is_named_at_the_end() {
    let (old, new) = (Far::new().await, Far::new().await);
    let source = old.bucket("far", Keeps::Nothing).await;
    new.bucket("far", Keeps::Nothing).await;
    put_parts(&source, "parts", &[5 << 20, 5 << 20]).await;
    let swallowed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&swallowed);
    let to = Proxy::new(new.address, move |line, _| {
        let begins = line.starts_with("POST ") && line.contains("uploads");
        if begins && counted.fetch_add(1, Ordering::SeqCst) < 2 { Fault::Swallow } else { Fault::None }
    })
    .await;
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let once = Retry { attempts: 1, ..impatient() };
    let mut reports = Vec::new();
    while !reports.last().is_some_and(Report::is_complete) {
        assert!(reports.len() < 5, "{reports:?}");
        let all = options(client(old.address, impatient()), client(to.address, once), &state);
        reports.push(run(all, Arc::default()).await.unwrap());
    }
    let last = reports.pop().unwrap();
    let notes = &last.buckets[0].notes;
    assert_eq!((notes.len(), swallowed.load(Ordering::SeqCst)), (2, 3), "{last:?}");
    assert!(notes.iter().all(|note| note.key == "parts" && note.problem.contains("(upload id ")), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_meanwhile_is_copied_as_it_is_at_one_moment() {
    let (old, new) = (Far::new().await, Far::new().await);
    let source = old.bucket("far", Keeps::Nothing).await;
    let target = new.bucket("far", Keeps::Nothing).await;
    put_parts(&source, "parts", &[5 << 20, 5 << 20]).await;
    for key in ["deleted", "written"] {
        put(&source, key, payload(1000, 1)).await;
    }
    let keys = ["deleted", "written", "parts"];
    let mut before = Vec::new();
    for key in keys {
        before.push(bytes(&source, key).await);
    }
    // Listed, and then slow to come: long enough for what is done below.
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let from = Proxy::new(old.address, move |line, _| {
        let is_slow = line.starts_with("GET /far/") && !line.contains("tagging");
        counted.fetch_add(usize::from(is_slow), Ordering::SeqCst);
        if is_slow { Fault::Delay(Duration::from_secs(1)) } else { Fault::None }
    })
    .await;
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let all = options(client(from.address, impatient()), target.clone(), &state);
    let changing = async {
        // Two objects in one piece and two parts are under way.
        while seen.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        source.delete_object("far", "deleted", None).await.unwrap();
        put(&source, "written", payload(2000, 2)).await;
        put_parts(&source, "parts", &[6 << 20, 5 << 20]).await;
    };
    let (report, ()) = tokio::join!(run(all, Arc::new(Progress::default())), changing);
    let report = report.unwrap();
    assert!(report.is_complete(), "{report:?}");
    // What came is the one or the other, never of both; on a slow machine it may have come before the change.
    for (key, before) in keys.into_iter().zip(before) {
        if target.head_object("far", key, None).await.is_err() {
            let notes = &report.buckets[0].notes;
            let is_gone = |text: &str| key == "deleted" && text.contains("deleted at the source");
            assert!(notes.iter().any(|note| note.key == key && is_gone(&note.problem)), "{key}: {notes:?}");
            continue;
        }
        let found = bytes(&target, key).await;
        assert!(found == before || found == bytes(&source, key).await, "{key}");
    }
    let another = folder.path().join("another");
    let again = run(options(source.clone(), target.clone(), &another), Arc::default()).await.unwrap();
    assert!(again.is_complete(), "{again:?}");
    for key in ["written", "parts"] {
        assert!(bytes(&target, key).await == bytes(&source, key).await, "{key}");
    }
}
