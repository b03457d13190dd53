//! A server with memory for disks, and a look behind its walls.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloudserver::{
    config::{Config, Launch, Options},
    metadata::{Direction, Namespace, Table},
    server::Server,
    storage::{
        Storage,
        keys::end_of_all,
        records::{ObjectRecord, Record},
    },
    types::BucketName,
};

use tempfile::TempDir;

use super::{
    client::{Call, Client},
    elsewhere::Behind,
    sign::{Key, Scheme, escape_key},
    wire::{Connection, Reply, SOON},
};

/// A server, its accounts, and one bucket of Bart's.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    behind: Behind,
}

/// Canonical ids of the shipped accounts.
pub(crate) const BART: &str = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be";
pub(crate) const LISA: &str = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2bf";

/// All that the server has stored: every row of every bucket, and every blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    rows: BTreeMap<(String, &'static str), BTreeMap<Bytes, Bytes>>,
    blobs: BTreeSet<String>,
}

/// Tables that are divided by bucket.
const OF_BUCKETS: [Table; 7] =
    [Table::Current, Table::Versions, Table::Uploads, Table::Parts, Table::Usage, Table::Bodies, Table::Settings];
/// Tables that are not, less the journal.
const GLOBAL: [Table; 4] = [Table::Buckets, Table::Owners, Table::Garbage, Table::Pending];

/// The built-in configuration with everything in memory, on a port of the system's choice.
pub(crate) fn config() -> Config {
    let launch = Launch {
        options: Options { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..Options::default() },
        environment: [("S3BACKEND", "mem")].into_iter().collect(),
        ..Launch::default()
    };
    let mut config = Config::load(&launch).unwrap();
    config.admin_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config
}

impl World {
    /// A server as it is shipped, but in memory.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose uploads may have parts of any size.
    pub(crate) async fn small_parts() -> Self {
        Self::with(|config| config.mpu_testing = true).await
    }

    /// A server with another configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let behind = Behind::start(&mut config).await;
        let server = Box::pin(Server::start(config, None)).await.unwrap();
        #[cfg(feature = "conformance")]
        behind.move_locations(&server);
        let address = server.s3_addresses()[0];
        Self { server, address, behind }
    }

    pub(crate) fn client(&self, id: &str, secret: &str) -> Client {
        Client::new(self.address, Key::new(id, secret), Scheme::HeaderV4)
    }

    pub(crate) fn bart(&self) -> Client {
        self.client("accessKey1", "verySecretKey1")
    }

    pub(crate) fn lisa(&self) -> Client {
        self.client("accessKey2", "verySecretKey2")
    }

    /// Somebody without credentials.
    pub(crate) fn nobody(&self) -> Client {
        self.bart().by(Scheme::Anonymous)
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// Sends these very bytes on a connection of their own, and gives the first answer.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Reply {
        let mut connection = self.connect().await;
        connection.send(bytes.as_ref()).await;
        connection.reply("GET").await.unwrap()
    }

    /// Makes a bucket of Bart's, and gives him.
    pub(crate) async fn bucket(&self, name: &str) -> Client {
        let bart = self.bart();
        bart.put(&format!("/{name}"), "").expect(200).await;
        bart
    }

    /// Makes a bucket of Bart's that keeps versions.
    pub(crate) async fn versioned(&self, name: &str) -> Client {
        let bart = self.bucket(name).await;
        versioning(&bart, name, "Enabled").await;
        bart
    }

    /// Whether every object is one blob under a name of its own, whatever its size, and parts are no blobs.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.behind.is_named()
    }

    /// Whether the objects are in a bucket of another server.
    pub(crate) fn is_far(&self) -> bool {
        self.behind.is_far()
    }

    pub(crate) fn storage(&self) -> &Storage {
        self.server.storage()
    }

    /// Waits until nothing is left to clean up, and tells what is stored then.
    pub(crate) async fn stored(&self) -> Stored {
        self.drained().await;
        let mut rows = BTreeMap::new();
        for table in GLOBAL {
            rows.insert((String::new(), table.name()), self.rows(Namespace::global(table)).await);
        }
        let names: Vec<String> = rows[&(String::new(), Table::Buckets.name())]
            .keys()
            .map(|key| String::from_utf8(key.to_vec()).unwrap())
            .collect();
        for name in names {
            let bucket = self.storage().bucket(&BucketName::new(&name).unwrap()).await.unwrap();
            for table in OF_BUCKETS {
                rows.insert((name.clone(), table.name()), self.rows(Namespace::of(table, bucket.id)).await);
            }
        }
        Stored { rows, blobs: self.blobs().await }
    }

    async fn rows(&self, namespace: Namespace) -> BTreeMap<Bytes, Bytes> {
        let all = Bytes::new()..end_of_all();
        let rows = self.storage().metadata().scan(namespace, all, Direction::Forward, 1_000_000).await;
        // Counters by location that came back to nothing are nothing.
        let is_nothing = |key: &Bytes, value: &Bytes| {
            namespace.table == Table::Usage && key.starts_with(b"uploads/") && value.iter().all(|byte| *byte == 0)
        };
        rows.unwrap().into_iter().filter(|(key, value)| !is_nothing(key, value)).collect()
    }

    /// Names of all blobs.
    pub(crate) async fn blobs(&self) -> BTreeSet<String> {
        if let Behind::Far { server, .. } = &self.behind {
            return blobs_of(server).await;
        }
        let table = self.storage().locations();
        let backend = &table.get("us-east-1").unwrap().backend;
        backend.list(None, 1_000_000).await.unwrap().iter().map(|blob| blob.as_str().to_owned()).collect()
    }

    /// Waits until the garbage is gone.
    pub(crate) async fn drained(&self) {
        let began = Instant::now();
        loop {
            let pending = self.storage().garbage_pending(1000).await.unwrap();
            if pending == 0 {
                return;
            }
            assert!(began.elapsed() < SOON, "{pending} notes of garbage stay");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The server is as it should be: alive, without garbage, and nothing panicked.
    pub(crate) async fn sound(&self) {
        self.bart().get("/").expect(200).await;
        self.drained().await;
        assert_eq!(self.metric("cloudserver_panics_total").await, 0);
    }

    /// A number that the server tells of itself.
    pub(crate) async fn metric(&self, name: &str) -> i64 {
        let mut admin = Connection::open(self.server.admin_addresses()[0]).await;
        admin.send(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        let metrics = admin.reply("GET").await.unwrap().expect(200).text();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }

    /// Waits until nobody is served and no more than `connections` are open, this question's own not counted.
    pub(crate) async fn calm(&self, connections: i64) {
        let began = Instant::now();
        loop {
            let active = self.metric("s3_cloudserver_http_active_requests").await;
            let open = self.metric("cloudserver_connections").await - 1;
            if active == 0 && open <= connections {
                return;
            }
            assert!(began.elapsed() < SOON, "{active} requests and {open} connections stay");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Stored {
    /// Fails, naming the differences, unless `other` is the same.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Self, what: &str) {
        let mut differences = Vec::new();
        let tables: BTreeSet<_> = self.rows.keys().chain(other.rows.keys()).collect();
        for table in tables {
            let (was, is) = (self.rows.get(table), other.rows.get(table));
            if was != is {
                let keys = |rows: Option<&BTreeMap<Bytes, Bytes>>| -> Vec<String> {
                    rows.into_iter().flatten().map(|(key, value)| format!("{key:?}={} bytes", value.len())).collect()
                };
                differences.push(format!("{table:?}: {:?} became {:?}", keys(was), keys(is)));
            }
        }
        if self.blobs != other.blobs {
            differences.push(format!("blobs: {:?} became {:?}", self.blobs, other.blobs));
        }
        assert!(differences.is_empty(), "{what} changed what is stored:\n{}", differences.join("\n"));
    }
}

/// Enables or suspends versioning.
pub(crate) async fn versioning(client: &Client, bucket: &str, state: &str) {
    let body = format!("<VersioningConfiguration><Status>{state}</Status></VersioningConfiguration>");
    client.put(&format!("/{bucket}?versioning"), body).expect(200).await;
}

/// A folder of one's own, in memory where the system has such a place: durability is not what is tested here.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The path of an object.
pub(crate) fn path(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{}", escape_key(key))
}

/// A call that is refused, and after which everything is as before.
pub(crate) async fn refused(world: &World, call: Call, status: u16, code: &str) -> Reply {
    let before = world.stored().await;
    let reply = call.refused(status, code).await;
    before.assert_same(&world.stored().await, code);
    reply
}

/// Names of all versions that a far server has in its bucket `far`: each object here is one there.
async fn blobs_of(far: &Server) -> BTreeSet<String> {
    let bucket = far.storage().bucket(&BucketName::new("far").unwrap()).await.unwrap();
    let mut names = BTreeSet::new();
    for table in [Table::Current, Table::Versions] {
        let metadata = far.storage().metadata();
        let all = Bytes::new()..end_of_all();
        let rows = metadata.scan(Namespace::of(table, bucket.id), all, Direction::Forward, 1_000_000).await.unwrap();
        let there = rows.iter().filter(|(_, value)| !ObjectRecord::from_bytes(value).unwrap().delete_marker);
        names.extend(there.map(|(key, _)| format!("{table:?} {key:?}")));
    }
    names
}
