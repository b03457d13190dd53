//! A front whose data module goes away and comes back.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use cloudserver::{
    config::{Config, Launch, ModuleAddress, Options, Role},
    outbound::Payload,
    s3client::{Call, S3Client, S3ClientError},
    server::{ModuleServer, Server},
};
use http::{HeaderMap, Method};
use tempfile::TempDir;

use crate::far::{patient, payload};

fn anywhere() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 0))]
}

fn config(folder: &TempDir) -> Config {
    let launch = Launch {
        options: Options { listen: anywhere(), data: Some(folder.path().join("data")), ..Options::default() },
        environment: [("S3METADATA", "mem")].into_iter().collect(),
        ..Launch::default()
    };
    let mut config = Config::load(&launch).unwrap();
    config.admin_listen = anywhere();
    config
}

/// A data module over a folder, at this address.
fn module(folder: &TempDir, address: Option<SocketAddr>) -> ModuleServer {
    let mut config = config(folder);
    config.modules.role = Role::Data;
    config.modules.data_listen = address.map_or_else(anywhere, |address| vec![address]);
    ModuleServer::start(&config, None).unwrap()
}

async fn put(client: &S3Client, key: &str) -> Result<(), S3ClientError> {
    // Too large to be kept in metadata.
    client.put_object("bucket", key, &HeaderMap::new(), Payload::Held(payload(300_000, 1))).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_module_that_is_away_is_not_waited_for_again_and_again() {
    let (near, far) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let data = module(&far, None);
    let address = data.addresses()[0];
    let mut config = config(&near);
    config.modules.data_client = Some(ModuleAddress { host: address.ip().to_string(), port: address.port() });
    let server = Box::pin(Server::start(config, None)).await.unwrap();
    let client = patient(server.s3_addresses()[0]);
    client.send(Call::new(Method::PUT, Some("bucket"), None)).await.unwrap();
    put(&client, "kept").await.unwrap();
    data.stop(Duration::from_mins(1)).await;

    for _ in 0..8 {
        assert_eq!(put(&client, "lost").await.err().unwrap().status(), Some(503));
    }
    // By now it is known. One that asks may have to try the module first; the others are told at once.
    let began = Instant::now();
    let asked = (0..20).map(|_| client.get_object("bucket", "kept", cloudserver::s3client::Get::default()));
    let answers = futures_util::future::join_all(asked).await;
    let quick = began.elapsed();
    assert!(answers.iter().all(|answer| answer.as_ref().err().and_then(S3ClientError::status) == Some(503)));
    assert!(quick < Duration::from_secs(12), "{quick:?}: a single trial's patience, not twenty");

    let _data = module(&far, Some(address));
    let deadline = Instant::now() + Duration::from_mins(2);
    while let Err(error) = put(&client, "again").await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let there = client.get_object("bucket", "kept", cloudserver::s3client::Get::default()).await.unwrap();
    assert_eq!(cloudserver::types::body::collect(there.body, 300_000).await.unwrap(), payload(300_000, 1));
}
