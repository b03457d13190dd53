//! A far server in memory, its buckets, and backends over them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use cloudserver::{
    clock::SystemClock,
    config::{Config, Launch, Options},
    data::{AwsS3Backend, AwsS3Options, BlobId, DataBackend, DataError, NativeObject},
    outbound::{ClientOptions, HttpClient, Payload},
    s3client::{Call, Credentials, Endpoint, Flavor, Retry, S3Client},
    server::Server,
    types::body,
};
use http::Method;

/// A server with everything in memory, on ports of the system's choice.
pub(crate) struct Far {
    _server: Server,
    pub(crate) address: SocketAddr,
}

/// Whether a far bucket keeps versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    Versions,
    Nothing,
}

pub(crate) const BOTH: [Keeps; 2] = [Keeps::Versions, Keeps::Nothing];

impl Far {
    pub(crate) async fn new() -> Self {
        let anywhere = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let launch = Launch {
            options: Options { listen: anywhere.clone(), ..Options::default() },
            environment: [("S3BACKEND", "mem")].into_iter().collect(),
            ..Launch::default()
        };
        let mut config = Config::load(&launch).unwrap();
        config.admin_listen = anywhere;
        let server = Box::pin(Server::start(config, None)).await.unwrap();
        let address = server.s3_addresses()[0];
        Self { _server: server, address }
    }

    /// Makes a bucket.
    pub(crate) async fn bucket(&self, name: &str, keeps: Keeps) -> S3Client {
        let client = client(self.address, Retry::default());
        client.send(Call::new(Method::PUT, Some(name), None)).await.unwrap();
        if keeps == Keeps::Versions {
            enable_versions(&client, name).await;
        }
        client
    }
}

/// Has a bucket keep versions.
pub(crate) async fn enable_versions(client: &S3Client, bucket: &str) {
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let call = Call::new(Method::PUT, Some(bucket), None).and("versioning", "");
    client.send(call.payload(Payload::Held(Bytes::from_static(enabled.as_bytes())))).await.unwrap();
}

/// A client that soon gives up, so that tests of faults end.
pub(crate) fn client(address: SocketAddr, retry: Retry) -> S3Client {
    let options = ClientOptions {
        connect: Duration::from_secs(2),
        idle: Duration::from_millis(1500),
        first_byte: Duration::from_millis(1500),
        ..ClientOptions::default()
    };
    client_with(address, retry, options)
}

/// A client that asks once, and waits.
pub(crate) fn patient(address: SocketAddr) -> S3Client {
    client_with(address, Retry { attempts: 1, ..Retry::default() }, ClientOptions::default())
}

fn client_with(address: SocketAddr, retry: Retry, options: ClientOptions) -> S3Client {
    let flavor = match std::env::var("FAR_S3_FLAVOR").as_deref() {
        Ok("google") => Flavor::Gcs,
        Ok(other) => panic!("FAR_S3_FLAVOR={other} is neither google nor left out"),
        Err(_) => Flavor::Aws,
    };
    let endpoint = Endpoint {
        https: false,
        authority: address.to_string(),
        path_style: true,
        region: "us-east-1".to_owned(),
        flavor,
    };
    let keys = std::env::var("FAR_S3_KEYS").unwrap_or_else(|_| "accessKey1:verySecretKey1".to_owned());
    let (access, secret) = keys.split_once(':').unwrap();
    let credentials = Credentials::new(access, secret);
    S3Client::new(HttpClient::new(options), endpoint, credentials, Arc::new(SystemClock)).with_retry(retry)
}

/// A backend over a bucket, reached at an address that may be a proxy's.
pub(crate) fn backend(address: SocketAddr, bucket: &str, keeps: Keeps) -> Arc<dyn DataBackend> {
    let retry = Retry {
        attempts: 4,
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(50),
        deadline: Duration::from_secs(4),
    };
    let options = AwsS3Options {
        bucket: bucket.to_owned(),
        bucket_match: keeps == Keeps::Nothing,
        versioned: keeps == Keeps::Versions,
        server_side_encryption: false,
    };
    Arc::new(AwsS3Backend::new(client(address, retry), options))
}

/// A far server, one bucket of it, and a backend straight to it.
pub(crate) async fn straight(keeps: Keeps) -> (Far, S3Client, Arc<dyn DataBackend>) {
    let far = Far::new().await;
    let client = far.bucket("far", keeps).await;
    let backend = backend(far.address, "far", keeps);
    (far, client, backend)
}

pub(crate) fn object(key: &str) -> NativeObject {
    NativeObject { bucket: "near".to_owned(), key: key.to_owned(), ..NativeObject::default() }
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn payload(size: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    Bytes::from(bytes)
}

/// Writes an object: staged, published.
pub(crate) async fn write(backend: &dyn DataBackend, key: &str, bytes: &Bytes) -> Result<BlobId, DataError> {
    let native = backend.native().unwrap();
    let staged = native.stage(&object(key), body::once(bytes.clone()), Some(bytes.len() as u64).into()).await?;
    Ok(native.publish(&staged).await?.blob)
}

/// Reads a blob whole.
pub(crate) async fn read(backend: &dyn DataBackend, blob: &BlobId, size: usize) -> Result<Bytes, DataError> {
    let stream = backend.get(blob, 0..size as u64).await?;
    Ok(body::collect(stream, size + 1).await?)
}
