//! A server of ours whose default location is a bucket of another: what its clients see, and what is there.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cloudserver::{
    config::{Config, Launch, Options},
    outbound::Payload,
    s3client::{Call, CopySource, Get, S3Client},
    server::Server,
    types::body,
};
use http::{HeaderMap, Method};
use tempfile::TempDir;

use crate::{
    far::{BOTH, Far, Keeps, enable_versions, patient, payload},
    faults::{Fault, Proxy},
};

pub(crate) struct Near {
    _server: Server,
    _folder: TempDir,
    pub(crate) client: S3Client,
}

/// A server with metadata in memory and all objects in the far bucket, reached at `address`.
async fn near(address: SocketAddr, keeps: Keeps) -> Near {
    near_with(serde_json::json!({
        "type": "aws_s3",
        "details": {
            "awsEndpoint": address.to_string(), "bucketName": "far", "https": false, "pathStyle": true,
            "supportsVersioning": keeps == Keeps::Versions,
            "credentials": {"accessKey": "accessKey1", "secretKey": "verySecretKey1"},
        },
    }))
    .await
}

/// A server with metadata in memory and all objects in a location of this type and these details.
pub(crate) async fn near_with(mut location: serde_json::Value) -> Near {
    let folder = TempDir::new().unwrap();
    location["objectId"] = "us-east-1".into();
    location["legacyAwsBehavior"] = true.into();
    let locations = serde_json::json!({"us-east-1": location});
    let file = folder.path().join("locations.json");
    std::fs::write(&file, locations.to_string()).unwrap();
    let anywhere = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let launch = Launch {
        options: Options { listen: anywhere.clone(), data: Some(folder.path().join("data")), ..Options::default() },
        environment: [("S3METADATA", "mem"), ("S3_LOCATION_FILE", file.to_str().unwrap())].into_iter().collect(),
        ..Launch::default()
    };
    let mut config = Config::load(&launch).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    config.admin_listen = anywhere;
    let server = Box::pin(Server::start(config, None)).await.unwrap();
    let client = patient(server.s3_addresses()[0]);
    Near { _server: server, _folder: folder, client }
}

async fn get(client: &S3Client, bucket: &str, key: &str, version: Option<&str>) -> Option<Bytes> {
    let reply = client.get_object(bucket, key, Get { version, ..Get::default() }).await.ok()?;
    body::collect(reply.body, 64 << 20).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_there_under_their_names_and_go_again() {
    for keeps in BOTH {
        let far = Far::new().await;
        let there = far.bucket("far", keeps).await;
        let near = near(far.address, keeps).await;
        near.client.send(Call::new(Method::PUT, Some("near"), None)).await.unwrap();
        for size in [0, 1000, 900_000] {
            let bytes = payload(size, 1);
            let held = Payload::Held(bytes.clone());
            near.client.put_object("near", "a/ü", &HeaderMap::new(), held).await.unwrap();
            assert_eq!(get(&near.client, "near", "a/ü", None).await.unwrap(), bytes, "{keeps:?} {size}");
            assert_eq!(get(&there, "far", "near/a/ü", None).await.unwrap(), bytes, "{keeps:?} {size}: native form");
        }
        near.client.delete_object("near", "a/ü", None).await.unwrap();
        assert_eq!(get(&near.client, "near", "a/ü", None).await, None);
        for _ in 0..1200 {
            if there.list_versions("far", "near/", (None, None), 10).await.unwrap().versions.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let left = there.list_versions("far", "near/", (None, None), 10).await.unwrap().versions;
        assert!(left.is_empty(), "{keeps:?}: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_the_far_sides_versions() {
    let far = Far::new().await;
    let there = far.bucket("far", Keeps::Versions).await;
    let near = near(far.address, Keeps::Versions).await;
    near.client.send(Call::new(Method::PUT, Some("near"), None)).await.unwrap();
    enable_versions(&near.client, "near").await;
    let bodies = [payload(10, 1), payload(800_000, 2)];
    let mut ids = Vec::new();
    for bytes in &bodies {
        let held = Payload::Held(bytes.clone());
        ids.push(near.client.put_object("near", "k", &HeaderMap::new(), held).await.unwrap().version.unwrap());
    }
    near.client.delete_object("near", "k", None).await.unwrap();
    assert_eq!(get(&near.client, "near", "k", None).await, None);
    for (id, bytes) in ids.iter().zip(&bodies) {
        assert_eq!(get(&near.client, "near", "k", Some(id)).await.unwrap(), bytes);
    }
    let versions = there.list_versions("far", "near/k", (None, None), 10).await.unwrap().versions;
    assert_eq!(versions.iter().filter(|entry| !entry.marker).count(), 2, "{versions:?}");
    near.client.delete_object("near", "k", Some(&ids[0])).await.unwrap();
    assert_eq!(get(&near.client, "near", "k", Some(&ids[0])).await, None);
    assert_eq!(get(&near.client, "near", "k", Some(&ids[1])).await.unwrap(), bodies[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_far_side_costs_errors_and_never_what_was_acknowledged() {
    for keeps in BOTH {
        let far = Far::new().await;
        far.bucket("far", keeps).await;
        let faults =
            [Fault::Status(503), Fault::Swallow, Fault::Refuse, Fault::Truncate, Fault::Lie, Fault::HalfRequest];
        let raging = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let weather = Arc::clone(&raging);
        let proxy = Proxy::new(far.address, move |_, count| {
            let rages = weather.load(std::sync::atomic::Ordering::SeqCst) && count % 4 == 3;
            if rages { faults[count / 4 % faults.len()] } else { Fault::None }
        })
        .await;
        let near = near(proxy.address, keeps).await;
        near.client.send(Call::new(Method::PUT, Some("near"), None)).await.unwrap();
        let mut acknowledged = Vec::new();
        for number in 0..24_u64 {
            let key = format!("k{}", number % 5);
            let bytes = payload(if number % 3 == 0 { 700_000 } else { 500 }, number);
            let held = Payload::Held(bytes.clone());
            acknowledged.retain(|(known, _)| *known != key);
            if near.client.put_object("near", &key, &HeaderMap::new(), held).await.is_ok() {
                acknowledged.push((key, bytes));
            }
        }
        assert!(!acknowledged.is_empty());
        raging.store(false, std::sync::atomic::Ordering::SeqCst);
        for (key, bytes) in acknowledged {
            assert_eq!(get(&near.client, "near", &key, None).await.unwrap(), bytes, "{keeps:?} {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parts_that_race_the_one_that_the_far_side_has_is_the_part() {
    for keeps in BOTH {
        // Small parts are held, large ones stream.
        for size in [1000, 700_000] {
            let far = Far::new().await;
            far.bucket("far", keeps).await;
            let parts = AtomicUsize::new(0);
            let proxy = Proxy::new(far.address, move |line, _| {
                let first = line.contains("partNumber=1") && parts.fetch_add(1, Ordering::SeqCst) == 0;
                if first { Fault::Late(Duration::from_millis(700)) } else { Fault::None }
            })
            .await;
            let near = near(proxy.address, keeps).await;
            near.client.send(Call::new(Method::PUT, Some("near"), None)).await.unwrap();
            let upload = near.client.create_multipart_upload("near", "k", &HeaderMap::new()).await.unwrap();
            let (early, late) = (payload(size, 1), payload(size, 2));
            let put = |bytes: &Bytes| near.client.upload_part("near", "k", (&upload, 1), Payload::Held(bytes.clone()));
            let second = async {
                tokio::time::sleep(Duration::from_millis(250)).await;
                put(&late).await
            };
            let (first, second) = tokio::join!(put(&early), second);
            let (first, second) = (first.unwrap().etag.unwrap(), second.unwrap().etag.unwrap());
            // The far side has the second, though the first was answered after it.
            let end = |tag: String| {
                let parts = [(1, tag)];
                let (client, upload) = (near.client.clone(), upload.clone());
                async move { client.complete_multipart_upload("near", "k", &upload, &parts).await }
            };
            assert_eq!(end(first).await.err().unwrap().code(), Some("InvalidPart"), "{keeps:?} {size}");
            end(second).await.unwrap();
            assert_eq!(get(&near.client, "near", "k", None).await.unwrap(), late, "{keeps:?} {size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_far_side_has_no_name_for_is_refused_before_anything_is_sent() {
    for keeps in BOTH {
        let far = Far::new().await;
        far.bucket("far", keeps).await;
        let writes = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&writes);
        let proxy = Proxy::new(far.address, move |line, _| {
            seen.fetch_add(usize::from(!line.starts_with("GET ") && !line.starts_with("HEAD ")), Ordering::SeqCst);
            Fault::None
        })
        .await;
        let near = near(proxy.address, keeps).await;
        near.client.send(Call::new(Method::PUT, Some("near"), None)).await.unwrap();
        // `near/` stands before it there.
        let (longest, longer) = ("k".repeat(1024 - 5), "k".repeat(1024 - 4));
        let put = |key: &str, size: usize| {
            let (client, key) = (near.client.clone(), key.to_owned());
            let held = Payload::Held(payload(size, 1));
            async move { client.put_object("near", &key, &HeaderMap::new(), held).await.map(drop) }
        };
        for size in [10, 700_000] {
            let refused = put(&longer, size).await.err().unwrap();
            assert_eq!((refused.status(), refused.code()), (Some(400), Some("KeyTooLongError")), "{refused}");
        }
        let upload = near.client.create_multipart_upload("near", &longer, &HeaderMap::new()).await;
        assert_eq!(upload.err().unwrap().code(), Some("KeyTooLongError"));
        put(&longest, 10).await.unwrap();
        let copied = CopySource { bucket: "near", key: &longest, version: None, if_match: None };
        let copied = near.client.copy_object("near", &longer, copied, &HeaderMap::new()).await;
        assert_eq!(copied.err().unwrap().code(), Some("KeyTooLongError"));
        assert_eq!(writes.load(Ordering::SeqCst), 1, "only what was written reached the far side");
        near.client.delete_object("near", &longer, None).await.unwrap();
        near.client.delete_object("near", &longest, None).await.unwrap();
    }
}
