//! Servers whose objects are somewhere else: `TEST_LOCATION` names a kind of store, and the whole set of tests runs with
//! every location there.
//!
//! | `TEST_LOCATION` | store |
//! |---|---|
//! | `memory-native`, `memory-in-place` | named objects in memory, with versions and without (feature `conformance`) |
//! | `aws_s3` | a bucket with versions of a second server, over sockets |

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use cloudserver::{
    clock::SystemClock,
    data::{AwsS3Backend, AwsS3Options, DataBackend},
    location::{Location, LocationTable},
    outbound::{ClientOptions, HttpClient, Payload},
    s3client::{Call, Credentials, Endpoint, Flavor, Retry, S3Client},
    server::Server,
};
use http::Method;

/// The far side, where there is one.
pub(crate) type Far = Option<Box<Server>>;

/// Moves the locations of a fresh server to where `TEST_LOCATION` says.
pub(crate) async fn move_locations(server: &Server) -> Far {
    let kind = std::env::var("TEST_LOCATION").ok()?;
    let (backend, far): (Arc<dyn DataBackend>, Far) = match kind.as_str() {
        #[cfg(feature = "conformance")]
        "memory-native" | "memory-in-place" => {
            use cloudserver::data::memory_native::{MemoryNative, Mode};

            let mode = if kind == "memory-native" { Mode::Versioned } else { Mode::InPlace };
            (Arc::new(MemoryNative::new(mode)), None)
        }
        "aws_s3" => {
            let far = Box::new(Server::start(super::world::config(), None).await.unwrap());
            (far_bucket(far.s3_addresses()[0]).await, Some(far))
        }
        other => panic!("TEST_LOCATION={other} names no store, or one that needs --features conformance"),
    };
    let storage = server.storage();
    let table = storage.locations();
    let moved = table.iter().map(|location| Location { backend: Arc::clone(&backend), ..(**location).clone() });
    storage.set_locations(LocationTable::new(moved));
    far
}

/// A backend over a bucket with versions.
async fn far_bucket(address: SocketAddr) -> Arc<dyn DataBackend> {
    let endpoint = Endpoint {
        https: false,
        authority: address.to_string(),
        path_style: true,
        region: "us-east-1".to_owned(),
        flavor: Flavor::Aws,
    };
    let http = HttpClient::new(ClientOptions::default());
    let credentials = Credentials::new("accessKey1", "verySecretKey1");
    let client = S3Client::new(http, endpoint, credentials, Arc::new(SystemClock)).with_retry(Retry::default());
    client.send(Call::new(Method::PUT, Some("far"), None)).await.unwrap();
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let call = Call::new(Method::PUT, Some("far"), None).and("versioning", "");
    client.send(call.payload(Payload::Held(Bytes::from_static(enabled.as_bytes())))).await.unwrap();
    let options =
        AwsS3Options { bucket: "far".to_owned(), bucket_match: false, versioned: true, server_side_encryption: false };
    Arc::new(AwsS3Backend::new(client, options))
}
