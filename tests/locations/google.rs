//! The dialect of Google Cloud Storage: a proxy turns our own server's versions into generations.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use cloudserver::{
    clock::SystemClock,
    data::{AwsS3Backend, AwsS3Options, DataBackend, conformance::native_suite},
    outbound::{ClientOptions, HttpClient, Payload},
    s3client::{Call, Credentials, Endpoint, Flavor, S3Client},
    tasks::Tasks,
};
use http::Method;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    far::{Far, Keeps, object, payload, read, write},
    faults::translated,
};

/// What Google says of a request of ours, in our server's words. Signatures would not hold, so nobody signs.
fn asked(head: &str) -> String {
    let dropped = ["authorization:", "x-amz-date:", "x-amz-content-sha256:"];
    let lines =
        head.split("\r\n").filter(|line| !dropped.iter().any(|name| line.to_ascii_lowercase().starts_with(name)));
    let head = lines.collect::<Vec<_>>().join("\r\n");
    assert!(!head.contains("versionId="), "{head}");
    head.replace("?generation=", "?versionId=").replace("&generation=", "&versionId=")
}

/// And the other way round.
fn answered(head: &str) -> String {
    head.replace("x-amz-version-id:", "x-goog-generation:")
}

async fn google(far: SocketAddr) -> (SocketAddr, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::default();
    let spawner = tasks.clone();
    tasks.spawn("google", async move {
        while let Ok((near, _)) = listener.accept().await {
            spawner.spawn("connection", async move {
                let onward = TcpStream::connect(far).await.unwrap();
                translated(near, onward, asked, answered).await.ok();
            });
        }
    });
    (address, tasks)
}

async fn backend() -> (Far, Tasks, Arc<dyn DataBackend>) {
    let far = Far::new().await;
    let client = far.bucket("far", Keeps::Versions).await;
    let call = Call::new(Method::DELETE, Some("far"), None).and("publicAccessBlock", "");
    client.send(call).await.unwrap();
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*",
        "Resource":["arn:aws:s3:::far","arn:aws:s3:::far/*"]}]}"#;
    let call = Call::new(Method::PUT, Some("far"), None).and("policy", "");
    client.send(call.payload(Payload::Held(Bytes::from_static(policy.as_bytes())))).await.unwrap();
    let (address, tasks) = google(far.address).await;
    let endpoint = Endpoint {
        https: false,
        authority: address.to_string(),
        path_style: true,
        region: "auto".to_owned(),
        flavor: Flavor::Gcs,
    };
    let http = HttpClient::new(ClientOptions::default());
    let client = S3Client::new(http, endpoint, Credentials::new("key", "secret"), Arc::new(SystemClock));
    let options =
        AwsS3Options { bucket: "far".to_owned(), bucket_match: false, versioned: true, server_side_encryption: true };
    (far, tasks, Arc::new(AwsS3Backend::new(client, options)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_generations_is_a_native_store() {
    let (_far, _tasks, backend) = backend().await;
    native_suite(backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_names_the_very_bytes() {
    let (_far, _tasks, backend) = backend().await;
    let (old, new) = (payload(100, 1), payload(700_000, 2));
    let first = write(&*backend, "k", &old).await.unwrap();
    let second = write(&*backend, "k", &new).await.unwrap();
    backend.delete(&first).await.unwrap();
    assert_eq!(read(&*backend, &second, new.len()).await.unwrap(), new);
    assert!(backend.native().unwrap().mark_deleted("near", &object("k").key, None).await.unwrap().is_none());
}
