//! What is behind the servers of these tests: `TEST_STORES` names it, and the whole set of tests runs with it.
//!
//! | `TEST_STORES` | where the objects are |
//! |---|---|
//! | not set | in the server's own memory |
//! | `modules` | in a data module, and their metadata in a metadata module, over sockets |
//! | `memory-native`, `memory-in-place` | under their names in memory, with versions and without (feature `conformance`) |
//! | `aws_s3`, `aws_s3-in-place` | in a bucket of a second server, over sockets, with versions and without |

use std::net::SocketAddr;

#[cfg(feature = "conformance")]
use cloudserver::data::memory_native::Mode;
use cloudserver::{
    config::{Config, DataKind, Launch, MetadataKind, ModuleAddress, Role},
    server::{ModuleServer, Server},
};
use serde_json::json;
use tempfile::TempDir;

use super::{
    client::Client,
    sign::{Key, Scheme},
    world::versioning,
};

/// What is behind a server; it lives as long as the server does.
#[derive(Debug)]
pub(crate) enum Behind {
    /// Nothing: all is in its own memory, or where its test wants it.
    Nothing,
    /// Two modules, and the front's folder.
    Modules { _modules: Vec<ModuleServer>, _folder: TempDir },
    /// Named objects in memory.
    #[cfg(feature = "conformance")]
    Named(Mode),
    /// A server with a bucket `far`, and the near one's folder.
    Far { server: Box<Server>, _folder: TempDir },
}

impl Behind {
    /// Starts what is wanted, and configures a server in memory to use it.
    pub(crate) async fn start(config: &mut Config) -> Self {
        let Some(wanted) = std::env::var("TEST_STORES").ok().filter(|_| config.data == DataKind::Memory) else {
            return Self::Nothing;
        };
        match wanted.as_str() {
            "modules" => over_modules(config),
            #[cfg(feature = "conformance")]
            "memory-native" => Self::Named(Mode::Versioned),
            #[cfg(feature = "conformance")]
            "memory-in-place" => Self::Named(Mode::InPlace),
            "aws_s3" => Box::pin(over_far(config, true)).await,
            "aws_s3-in-place" => Box::pin(over_far(config, false)).await,
            other => panic!("TEST_STORES={other} names nothing, or what needs --features conformance"),
        }
    }

    /// Whether every object is one blob under a name of its own, whatever its size, and parts are no blobs.
    pub(crate) fn is_named(&self) -> bool {
        !matches!(self, Self::Nothing | Self::Modules { .. })
    }

    /// Whether the objects are in a bucket of another server.
    pub(crate) fn is_far(&self) -> bool {
        matches!(self, Self::Far { .. })
    }

    /// Moves the locations of a fresh server, where no configuration can say it.
    #[cfg(feature = "conformance")]
    pub(crate) fn move_locations(&self, server: &Server) {
        use std::sync::Arc;

        use cloudserver::{
            data::{DataBackend, MemoryNative},
            location::{Location, LocationTable},
        };

        let Self::Named(mode) = self else { return };
        let backend: Arc<dyn DataBackend> = Arc::new(MemoryNative::new(*mode));
        let storage = server.storage();
        let table = storage.locations();
        let moved = table.iter().map(|location| Location { backend: Arc::clone(&backend), ..(**location).clone() });
        storage.set_locations(LocationTable::new(moved));
    }
}

/// Moves what a server in memory keeps into a data module and a metadata module of its own.
fn over_modules(config: &mut Config) -> Behind {
    let folder = TempDir::new().unwrap();
    let module = |role| {
        let mut config = config.clone();
        config.modules.role = role;
        config.modules.data_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.modules.metadata_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        ModuleServer::start(&config, None).unwrap()
    };
    let modules = vec![module(Role::Data), module(Role::Metadata)];
    let [data, metadata] = [0, 1].map(|index| {
        let address: SocketAddr = modules[index].addresses()[0];
        Some(ModuleAddress { host: address.ip().to_string(), port: address.port() })
    });
    config.modules.data_client = data;
    config.modules.metadata_client = metadata;
    (config.data, config.metadata) = (DataKind::File, MetadataKind::RocksDb);
    folder.path().clone_into(&mut config.metadata_path);
    Behind::Modules { _modules: modules, _folder: folder }
}

/// Makes the default location a bucket of another server.
async fn over_far(config: &mut Config, versions: bool) -> Behind {
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
    Behind::Far { server: Box::new(far), _folder: folder }
}
