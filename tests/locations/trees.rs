//! Locations in stores that know files only, as their clients and ours see them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cloudserver::{
    data::{
        DataBackend, DataError, PutHint, WebDavLogin, WebDavOptions, WebHdfsLogin, WebHdfsOptions, conformance::suite,
        webdav, webhdfs,
    },
    outbound::{ClientOptions, HttpClient, Payload},
    s3client::{Call, Get, Retry, S3Client},
    types::body,
};
use http::{HeaderMap, Method};
use serde_json::json;

use crate::{
    far::{enable_versions, payload, read},
    faults::{Fault, Proxy},
    files::{FileServer, Speaks},
    near::{Near, near_with},
};

const BOTH: [Speaks; 2] = [Speaks::Dav, Speaks::Hdfs];

/// A backend over `/far` of a server that may stand behind a proxy. It soon gives up.
fn backend(speaks: Speaks, address: SocketAddr) -> Arc<dyn DataBackend> {
    let wait = Duration::from_millis(1500);
    let http = HttpClient::new(ClientOptions { connect: wait, idle: wait, ..ClientOptions::default() });
    let retry = Retry {
        attempts: 4,
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(50),
        deadline: Duration::from_secs(4),
    };
    let login = WebDavLogin::Password { user: "user".to_owned(), password: "password".into() };
    let tree = match speaks {
        Speaks::Hdfs => {
            let login = WebHdfsLogin::User("hdfs".to_owned());
            let endpoint = format!("http://{address}");
            webhdfs::backend(http, &WebHdfsOptions { endpoint, path: "/far".to_owned(), login })
        }
        Speaks::Dav | Speaks::DavWhole => {
            webdav::backend(http, &WebDavOptions { url: format!("http://{address}/far/"), login })
        }
    };
    Arc::new(tree.with_retry(retry))
}

/// The same location, configured.
fn configured(speaks: Speaks, address: SocketAddr) -> serde_json::Value {
    match speaks {
        Speaks::Hdfs => json!({
            "type": "webhdfs",
            "details": {"endpoint": format!("http://{address}"), "path": "/far", "username": "hdfs"},
        }),
        Speaks::Dav | Speaks::DavWhole => json!({
            "type": "webdav",
            "details": {"url": format!("http://{address}/far"), "username": "user", "password": "password"},
        }),
    }
}

async fn put(backend: &dyn DataBackend, size: usize, seed: u64) -> Result<cloudserver::data::BlobId, DataError> {
    let hint = PutHint { blob: backend.reserve(), size: Some(size as u64) };
    Ok(backend.put(body::once(payload(size, seed)), hint).await?.blob)
}

/// The files that stay. What comes after it was given up is removed a while later.
async fn left_on(server: &FileServer, expected: usize) -> Vec<String> {
    tokio::time::sleep(Duration::from_secs(3)).await;
    let left = || server.files.lock().files.keys().cloned().collect::<Vec<_>>();
    for _ in 0..300 {
        if left().len() <= expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    left()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_file_server_is_a_data_backend() {
    for speaks in [Speaks::Dav, Speaks::DavWhole, Speaks::Hdfs] {
        let server = FileServer::new(speaks).await;
        suite(backend(speaks, server.address)).await;
        let left = left_on(&server, 0).await;
        assert!(left.is_empty(), "{speaks:?}: what came to nothing left files: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_the_way_there_is_an_error_or_none() {
    let faults = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Swallow,
        Fault::Refuse,
        Fault::HalfRequest,
        Fault::Truncate,
        Fault::Stall,
        Fault::Flip,
        Fault::Delay(Duration::from_millis(100)),
    ];
    for speaks in BOTH {
        let server = FileServer::new(speaks).await;
        let straight = backend(speaks, server.address);
        let known = put(&*straight, 300_000, 9).await.unwrap();
        for fault in faults {
            for nth in 0..8 {
                let proxy =
                    Proxy::new(server.address, move |_, count| if count == nth { fault } else { Fault::None }).await;
                *server.bytes_at.lock() = proxy.address;
                let behind = backend(speaks, proxy.address);
                let what = format!("{speaks:?}, {fault:?} of request {nth}");
                if let Ok(blob) = put(&*behind, 200_000, nth as u64).await {
                    let found = read(&*straight, &blob, 200_000).await;
                    // A byte that was changed under way is found out at the latest when it is read.
                    match found {
                        Ok(found) => assert!(found == payload(200_000, nth as u64), "{what}"),
                        Err(error) => assert_eq!(fault, Fault::Flip, "{what}: {error}"),
                    }
                    straight.delete(&blob).await.unwrap();
                }
                let proxy =
                    Proxy::new(server.address, move |_, count| if count == nth % 4 { fault } else { Fault::None })
                        .await;
                *server.bytes_at.lock() = proxy.address;
                let found = read(&*backend(speaks, proxy.address), &known, 300_000).await;
                assert!(found.unwrap() == payload(300_000, 9), "{what}: a read goes on where it broke");
                *server.bytes_at.lock() = server.address;
            }
        }
        let left = left_on(&server, 1).await;
        assert_eq!(left.len(), 1, "{speaks:?}: only what is known is left: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_or_says_no_is_unavailable() {
    for speaks in BOTH {
        let server = FileServer::new(speaks).await;
        let blob = put(&*backend(speaks, server.address), 10, 1).await.unwrap();
        for fault in [Fault::Refuse, Fault::Status(503), Fault::Status(401), Fault::Status(403)] {
            let proxy = Proxy::new(server.address, move |_, _| fault).await;
            let behind = backend(speaks, proxy.address);
            for failed in [
                put(&*behind, 10, 1).await.err(),
                read(&*behind, &blob, 10).await.err(),
                behind.delete(&blob).await.err(),
                behind.probe().await.err(),
                behind.list(None, 1).await.err(),
            ] {
                assert!(matches!(failed, Some(DataError::Unavailable(_))), "{speaks:?}, {fault:?}: {failed:?}");
                let told = failed.unwrap().to_string();
                assert!(!told.contains("dXNlcj") && !told.contains("user.name="), "{told}");
            }
        }
        server.files.lock().files.clear();
        let missing = read(&*backend(speaks, server.address), &blob, 10).await;
        assert!(matches!(missing, Err(DataError::NotFound(_))), "{speaks:?}: {missing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_is_told_and_not_made() {
    for speaks in BOTH {
        let server = FileServer::new(speaks).await;
        server.files.lock().remove_folders();
        let backend = backend(speaks, server.address);
        for failed in [backend.probe().await.err(), put(&*backend, 10, 1).await.err()] {
            assert!(matches!(&failed, Some(DataError::Unavailable(why)) if why.contains("is not there")), "{failed:?}");
        }
        assert!(server.files.lock().files.is_empty());
    }
}

async fn get(client: &S3Client, key: &str, get: Get<'_>) -> Option<bytes::Bytes> {
    let reply = client.get_object("near", key, get).await.ok()?;
    body::collect(reply.body, 64 << 20).await.ok()
}

async fn near(speaks: Speaks, address: SocketAddr) -> Near {
    let near = near_with(configured(speaks, address)).await;
    near.client.send(Call::new(Method::PUT, Some("near"), None)).await.unwrap();
    near
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_versions_live_in_a_folder_elsewhere() {
    for speaks in BOTH {
        let server = FileServer::new(speaks).await;
        let near = near(speaks, server.address).await;
        enable_versions(&near.client, "near").await;
        let bodies = [payload(900_000, 1), payload(3_000_000, 2)];
        let mut ids = Vec::new();
        for bytes in &bodies {
            let held = Payload::Held(bytes.clone());
            ids.push(near.client.put_object("near", "a/ü", &HeaderMap::new(), held).await.unwrap().version.unwrap());
        }
        for (id, bytes) in ids.iter().zip(&bodies) {
            assert_eq!(get(&near.client, "a/ü", Get { version: Some(id), ..Get::default() }).await.unwrap(), bytes);
        }
        assert_eq!(server.files.lock().files.len(), 2, "{speaks:?}: each version is a blob there");
        for id in &ids {
            near.client.delete_object("near", "a/ü", Some(id)).await.unwrap();
        }
        for _ in 0..200 {
            if server.files.lock().files.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(server.files.lock().files.is_empty(), "{speaks:?}: deleted objects leave no files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_file_server_costs_errors_and_never_what_was_acknowledged() {
    for speaks in BOTH {
        let server = FileServer::new(speaks).await;
        let faults = [Fault::Status(503), Fault::Swallow, Fault::Refuse, Fault::Truncate, Fault::HalfRequest];
        let raging = Arc::new(AtomicBool::new(true));
        let weather = Arc::clone(&raging);
        let proxy = Proxy::new(server.address, move |_, count| {
            let rages = weather.load(Ordering::SeqCst) && count % 4 == 3;
            if rages { faults[count / 4 % faults.len()] } else { Fault::None }
        })
        .await;
        *server.bytes_at.lock() = proxy.address;
        let near = near(speaks, proxy.address).await;
        let mut acknowledged = Vec::new();
        for number in 0..24_u64 {
            let key = format!("k{}", number % 5);
            let bytes = payload(if number % 3 == 0 { 700_000 } else { 300_000 }, number);
            let held = Payload::Held(bytes.clone());
            acknowledged.retain(|(known, _)| *known != key);
            if near.client.put_object("near", &key, &HeaderMap::new(), held).await.is_ok() {
                acknowledged.push((key, bytes));
            }
        }
        assert!(!acknowledged.is_empty());
        raging.store(false, Ordering::SeqCst);
        for (key, bytes) in acknowledged {
            let found = get(&near.client, &key, Get::default()).await;
            assert!(found.as_ref() == Some(&bytes), "{speaks:?} {key}: {:?} bytes", found.map(|found| found.len()));
        }
    }
}
