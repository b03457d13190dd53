//! Servers whose objects are somewhere else: `TEST_LOCATION` names a kind of store, and the whole set of tests runs with
//! the objects there.
//!
//! | `TEST_LOCATION` | store |
//! |---|---|
//! | `memory-native`, `memory-in-place` | named objects in memory, with versions and without (feature `conformance`) |
//! | `aws_s3`, `aws_s3-in-place` | a bucket of a second server, over sockets, with versions and without |

use cloudserver::{
    config::{Config, DataKind, Launch},
    server::Server,
};
use serde_json::json;
use tempfile::TempDir;

use super::{
    client::Client,
    sign::{Key, Scheme},
    world::versioning,
};

/// Where the objects are to be.
#[derive(Debug)]
pub(crate) enum Elsewhere {
    /// Named objects in memory.
    #[cfg(feature = "conformance")]
    Memory(cloudserver::data::memory_native::Mode),
    /// A bucket of a second server.
    Far {
        /// Whether that bucket keeps versions.
        versions: bool,
    },
}

impl Elsewhere {
    /// What `TEST_LOCATION` says.
    pub(crate) fn wanted() -> Option<Self> {
        #[cfg(feature = "conformance")]
        use cloudserver::data::memory_native::Mode;

        match std::env::var("TEST_LOCATION").ok()?.as_str() {
            #[cfg(feature = "conformance")]
            "memory-native" => Some(Self::Memory(Mode::Versioned)),
            #[cfg(feature = "conformance")]
            "memory-in-place" => Some(Self::Memory(Mode::InPlace)),
            "aws_s3" => Some(Self::Far { versions: true }),
            "aws_s3-in-place" => Some(Self::Far { versions: false }),
            other => panic!("TEST_LOCATION={other} names no store, or one that needs --features conformance"),
        }
    }

    /// Moves the locations of a fresh server into memory of their own, where that is wanted.
    #[cfg_attr(not(feature = "conformance"), expect(clippy::unused_self, reason = "other stores are configured"))]
    pub(crate) fn move_locations(&self, server: &Server) {
        #[cfg(feature = "conformance")]
        if let Self::Memory(mode) = self {
            use std::sync::Arc;

            use cloudserver::{
                data::{DataBackend, MemoryNative},
                location::{Location, LocationTable},
            };

            let backend: Arc<dyn DataBackend> = Arc::new(MemoryNative::new(*mode));
            let storage = server.storage();
            let table = storage.locations();
            let moved = table.iter().map(|location| Location { backend: Arc::clone(&backend), ..(**location).clone() });
            storage.set_locations(LocationTable::new(moved));
        }
        #[cfg(not(feature = "conformance"))]
        let _ = server;
    }
}

/// Makes the default location a bucket of another server.
pub(crate) async fn over_far(config: &mut Config, versions: bool) -> (Server, TempDir) {
    let folder = TempDir::new().unwrap();
    let mut far = super::world::config();
    far.mpu_testing = config.mpu_testing;
    let far = Server::start(far, None).await.unwrap();
    let address = far.s3_addresses()[0];
    let bart = Client::new(address, Key::new("accessKey1", "verySecretKey1"), Scheme::HeaderV4);
    bart.put("/far", "").expect(200).await;
    if versions {
        versioning(&bart, "far", "Enabled").await;
    }
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/locationConfig.json");
    let mut locations: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(shipped).unwrap()).unwrap();
    locations["us-east-1"]["type"] = json!("aws_s3");
    locations["us-east-1"]["details"] = json!({
        "awsEndpoint": address.to_string(), "bucketName": "far", "https": false, "pathStyle": true,
        "supportsVersioning": versions, "credentials": {"accessKey": "accessKey1", "secretKey": "verySecretKey1"},
    });
    // As in memory, archives are there, and nothing is in them.
    for (_, location) in locations.as_object_mut().unwrap() {
        if location["isCold"] == json!(true) {
            location["type"] = json!("mem");
        }
    }
    let file = folder.path().join("locations.json");
    std::fs::write(&file, locations.to_string()).unwrap();
    let launch = Launch {
        environment: [("S3METADATA", "mem"), ("S3_LOCATION_FILE", file.to_str().unwrap())].into_iter().collect(),
        ..Launch::default()
    };
    config.locations = Config::load(&launch).unwrap().locations;
    config.data = DataKind::Multiple;
    config.data_path = folder.path().join("data");
    (far, folder)
}
