//! The suites of both traits, and what only this backend has.

use bytes::Bytes;
use cloudserver::{
    data::{
        DataError, NativeObject,
        conformance::{native_suite, suite},
    },
    s3client::Get,
    types::body,
};

use crate::far::{BOTH, Keeps, backend, object, payload, read, straight, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_far_bucket_is_a_data_backend() {
    for keeps in BOTH {
        let (_far, _client, backend) = straight(keeps).await;
        suite(backend).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_bucket_is_a_native_store() {
    for keeps in BOTH {
        let (_far, _client, backend) = straight(keeps).await;
        native_suite(backend).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_readable_there_under_their_own_names() {
    for keeps in BOTH {
        let (_far, client, backend) = straight(keeps).await;
        for (name, size) in [("small", 10), ("large", 700_000)] {
            let bytes = payload(size, 1);
            let object = NativeObject {
                headers: vec![("content-type", "text/plain".to_owned()), ("cache-control", "no-cache".to_owned())],
                metadata: vec![("colour".to_owned(), "blue".to_owned())],
                tags: vec![("a b".to_owned(), "c=d+".to_owned())],
                ..object(name)
            };
            let native = backend.native().unwrap();
            let staged = native.stage(&object, body::once(bytes.clone()), Some(size as u64).into()).await.unwrap();
            native.publish(&staged).await.unwrap();
            // `bucketMatch` decides whether our bucket's name stands before the key.
            let key = if keeps == Keeps::Nothing { name.to_owned() } else { format!("near/{name}") };
            let reply = client.get_object("far", &key, Get::default()).await.unwrap();
            assert_eq!(reply.header("content-type"), Some("text/plain"));
            assert_eq!(reply.header("cache-control"), Some("no-cache"));
            assert_eq!(reply.header("x-amz-meta-colour"), Some("blue"));
            assert_eq!(body::collect(reply.body, size).await.unwrap(), bytes);
            let tags = client.object_tags("far", &key, None).await.unwrap();
            assert_eq!(tags, [("a b".to_owned(), "c=d+".to_owned())]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_versions_is_refused_where_versions_are_due() {
    let (far, client, _) = straight(Keeps::Nothing).await;
    let strict = backend(far.address, "far", Keeps::Versions);
    let before = write(&*backend(far.address, "far", Keeps::Nothing), "near/x", &payload(10, 1)).await.unwrap();
    for size in [10, 700_000] {
        let refused = write(&*strict, "x", &payload(size, 2)).await.err().unwrap();
        assert!(refused.to_string().contains("Please ensure versioning is enabled in AWS"), "{refused}");
    }
    assert!(matches!(strict.probe().await, Err(DataError::Unavailable(why)) if why == "Versioning must be enabled"));
    let there = read(&*backend(far.address, "far", Keeps::Nothing), &before, 10).await.unwrap();
    assert_eq!(there, payload(10, 1), "what was there is there");
    assert!(client.head_object("far", "near/x", None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_in_its_place_is_neither_read_nor_deleted() {
    let (_far, client, backend) = straight(Keeps::Nothing).await;
    let bytes = payload(1000, 1);
    let blob = write(&*backend, "taken", &bytes).await.unwrap();
    let foreign = cloudserver::outbound::Payload::Held(bytes.clone());
    client.put_object("far", "taken", &http::HeaderMap::new(), foreign).await.unwrap();
    assert!(matches!(read(&*backend, &blob, 1000).await, Err(DataError::NotFound(_))));
    backend.delete(&blob).await.unwrap();
    let reply = client.get_object("far", "taken", Get::default()).await.unwrap();
    assert_eq!(body::collect(reply.body, 1000).await.unwrap(), bytes, "it is not ours to delete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_bucket_that_is_not_there_is_unavailable() {
    let (far, _, _) = straight(Keeps::Nothing).await;
    let backend = backend(far.address, "nowhere", Keeps::Nothing);
    for result in [backend.probe().await.err(), write(&*backend, "x", &Bytes::new()).await.err()] {
        assert!(matches!(result, Some(DataError::Unavailable(_))), "{result:?}");
    }
}
