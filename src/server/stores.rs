//! Opens the stores that the configuration names.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::{StartError, external};
use crate::{
    config::{self, Config, DataKind, Durability, LocationKind, Locations, MetadataKind},
    data::{
        DataBackend, FencedBackend, FileBackend, FileDurability, FileOptions, MemoryBackend, RemoteBackend,
        remote::RemoteOptions,
    },
    lease::Lease,
    location::{
        Location, LocationTable,
        health::{BreakerSettings, HealthSettings, LocationHealth},
    },
    metadata::{
        Batch, FencedStore, MemoryStore, MetadataStore, Namespace, RemoteStore, Table, remote::RemoteStoreOptions,
    },
    telemetry::metrics::LocationMetrics,
};

/// The key under which metadata remembers its data directory.
const DATA_DIRECTORY: &[u8] = b"data directory";
/// How long a start waits for the metadata module: without it nothing can be served.
const METADATA_WAIT: Duration = Duration::from_mins(1);
/// How long a start waits for the data module: what is in metadata can be served without it.
const DATA_WAIT: Duration = Duration::from_secs(10);
/// The data module's name in metrics and logs, beside those of locations.
const DATA_MODULE: &str = "data module";
/// For how long a data module that failed is not asked, at first and at most.
const MODULE_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_MODULE_PAUSE: Duration = Duration::from_secs(5);
const SYSTEM: Namespace = Namespace::global(Table::System);

/// The backends behind the locations. Kept apart from the table, so that a reload makes a new table over them.
#[derive(Clone, Debug)]
pub(super) struct Backends {
    memory: Arc<MemoryBackend>,
    file: Option<FileBackends>,
    /// In place of the files.
    remote: Option<Module>,
    kind: DataKind,
    /// Those of stores elsewhere, with what they were opened by: a reload that changes nothing keeps connections.
    external: Arc<Mutex<BTreeMap<String, External>>>,
    metrics: LocationMetrics,
    lease: Option<Arc<Lease>>,
}

#[derive(Clone, Debug)]
struct External {
    location: Arc<config::Location>,
    guarded: Guarded,
}

/// A data module.
#[derive(Clone, Debug)]
struct Module {
    remote: Arc<RemoteBackend>,
    /// The same behind a circuit breaker. What it is asked for `/ready` it is asked at once, as a disk of this machine
    /// would be: without it nothing that is not in metadata can be served.
    guarded: Arc<dyn DataBackend>,
}

/// A backend, and how it is doing where it is elsewhere.
type Guarded = (Arc<dyn DataBackend>, Option<Arc<LocationHealth>>);

#[derive(Clone, Debug)]
struct FileBackends {
    id: String,
    strict: Arc<dyn DataBackend>,
    relaxed: Arc<dyn DataBackend>,
}

impl Backends {
    /// Opens the data directory, unless all data stays in memory.
    /// A data module takes the directory's place.
    pub(super) fn open(
        config: &Config,
        lease: Option<&Arc<Lease>>,
        metrics: LocationMetrics,
    ) -> Result<Self, StartError> {
        let Some(address) = config.modules.data_client.as_ref().filter(|_| config.data != DataKind::Memory) else {
            return Ok(Self { metrics, ..Self::open_local(config, lease)? });
        };
        let mut options = RemoteOptions::new(format!("http://{address}"));
        options.token = config.modules.token.as_ref().map(|token| token.expose_secret().to_owned());
        let remote = Arc::new(RemoteBackend::new(options));
        let backend = Arc::<RemoteBackend>::clone(&remote);
        let told = (DATA_MODULE, ("OK", None));
        let (guarded, _) = LocationHealth::guard(told, backend, module_settings(config), metrics.of(DATA_MODULE));
        let remote = Some(Module { remote, guarded });
        let (kind, lease) = (config.data, lease.cloned());
        Ok(Self { memory: Arc::default(), file: None, remote, kind, external: Arc::default(), metrics, lease })
    }

    /// Opens the data directory, unless all data stays in memory.
    pub(super) fn open_local(config: &Config, lease: Option<&Arc<Lease>>) -> Result<Self, StartError> {
        let file = if config.data == DataKind::Memory { None } else { Some(open_files(config, lease)?) };
        Ok(Self {
            memory: Arc::default(),
            file,
            remote: None,
            kind: config.data,
            external: Arc::default(),
            metrics: LocationMetrics::default(),
            lease: lease.cloned(),
        })
    }

    /// The identity of the data directory.
    pub(super) fn directory_id(&self) -> Option<String> {
        self.file.as_ref().map(|file| file.id.clone())
    }

    /// The identity of the data directory or the data module's. A module that is away, or is not ours, has none.
    async fn identity(&self, config: &Config) -> Option<String> {
        let Some(Module { remote, .. }) = &self.remote else { return self.directory_id() };
        let address = config.modules.data_client.as_ref().map(ToString::to_string).unwrap_or_default();
        let end = Instant::now() + DATA_WAIT;
        loop {
            match remote.meet().await {
                Ok(Some(info)) => return info.directory,
                Ok(None) => {
                    tracing::info!(
                        address,
                        "the data module speaks the original's protocol: no audits, no reserved names"
                    );
                    return None;
                }
                Err(error) if Instant::now() >= end => {
                    tracing::error!(address, %error, "the data module does not answer: serving what is in metadata");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(address, %error, "waiting for the data module");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// What a data module serves. One of which all locations are relaxed is relaxed.
    pub(super) fn for_module(&self, config: &Config) -> Arc<dyn DataBackend> {
        let Some(file) = &self.file else { return Arc::<MemoryBackend>::clone(&self.memory) };
        let of_files = |strict: bool| {
            let mut files = config.locations.iter().filter(|place| place.kind == LocationKind::File);
            files.any(|place| (place.durability == Durability::Strict) == strict)
        };
        let relaxed = of_files(false) && !of_files(true);
        Arc::clone(if relaxed { &file.relaxed } else { &file.strict })
    }

    /// The locations that this release can serve; the configuration has warned about the others.
    pub(super) fn table(&self, config: &Config, locations: &Locations) -> Result<LocationTable, StartError> {
        let mut table = Vec::new();
        for location in locations.iter() {
            let Some((backend, health)) = self.backend(config, location)? else { continue };
            table.push(Location {
                name: location.name.as_str().into(),
                backend,
                health,
                strict: location.durability == Durability::Strict,
                legacy_aws_behavior: location.legacy_aws_behavior,
                is_cold: location.is_cold,
                is_transient: location.is_transient,
                size_limit: location.size_limit_bytes(),
                scan_by: location.details.texts("scanBy").into(),
            });
        }
        Ok(LocationTable::new(table))
    }

    fn backend(&self, config: &Config, location: &Arc<config::Location>) -> Result<Option<Guarded>, StartError> {
        let memory = || Some((Arc::<MemoryBackend>::clone(&self.memory) as Arc<dyn DataBackend>, None));
        if let Some(remote) = &self.remote {
            return match (location.kind, self.kind) {
                (LocationKind::Mem, DataKind::Multiple) => Ok(memory()),
                (LocationKind::File, _) | (_, DataKind::File) => Ok(Some((Arc::clone(&remote.guarded), None))),
                _ => self.external(config, location),
            };
        }
        let Some(file) = &self.file else { return Ok(memory()) };
        match (location.kind, self.kind) {
            (LocationKind::Mem, DataKind::Multiple) => Ok(memory()),
            // With data in files, every location goes there, as in the original.
            (LocationKind::File, _) | (_, DataKind::File) => {
                let files = match location.durability {
                    Durability::Strict => Arc::clone(&file.strict),
                    Durability::Relaxed => Arc::clone(&file.relaxed),
                };
                Ok(Some((files, None)))
            }
            _ => self.external(config, location),
        }
    }

    fn external(&self, config: &Config, location: &Arc<config::Location>) -> Result<Option<Guarded>, StartError> {
        let mut opened = self.external.lock();
        if let Some(known) = opened.get(&location.name).filter(|known| known.location == *location) {
            return Ok(Some(known.guarded.clone()));
        }
        let Some(backend) = external::open(config, location)? else { return Ok(None) };
        let backend = fenced(backend, self.lease.as_ref());
        let figures = self.metrics.of(&location.name);
        let told = (location.name.as_str(), good_news(location));
        let (backend, health) = LocationHealth::guard(told, backend, health_settings(config), figures);
        let guarded = (backend, Some(health));
        opened.insert(location.name.clone(), External { location: Arc::clone(location), guarded: guarded.clone() });
        Ok(Some(guarded))
    }
}

/// What is said of a location elsewhere while it works, in the original's words; and that versioning is enabled there,
/// where its probe looks.
fn good_news(location: &config::Location) -> (&'static str, Option<&'static str>) {
    let versioned = location.details.flag("supportsVersioning").unwrap_or(true);
    match location.kind {
        LocationKind::AwsS3 | LocationKind::Gcp => {
            ("Congrats! You own the bucket", Some("Enabled").filter(|_| versioned))
        }
        LocationKind::Azure => ("Congrats! You can access the Azure storage account", None),
        _ => ("OK", None),
    }
}

fn health_settings(config: &Config) -> HealthSettings {
    let settings = &config.health;
    let default = HealthSettings::default();
    HealthSettings {
        breaker: BreakerSettings {
            failures: settings.failures,
            longest_pause: settings.longest_pause,
            pause: default.breaker.pause.min(settings.longest_pause),
        },
        probe: settings.probe,
        answer: settings.answer,
        calls: settings.calls,
    }
}

/// Of a module: it is near, and everything waits for it, so it is tried again soon.
fn module_settings(config: &Config) -> HealthSettings {
    let settings = health_settings(config);
    let breaker = BreakerSettings {
        pause: settings.breaker.pause.min(MODULE_PAUSE),
        longest_pause: settings.breaker.longest_pause.min(LONGEST_MODULE_PAUSE),
        ..settings.breaker
    };
    HealthSettings { breaker, ..settings }
}

fn open_files(config: &Config, lease: Option<&Arc<Lease>>) -> Result<FileBackends, StartError> {
    let path = &config.data_path;
    let opened = FileBackend::open(path, FileOptions::default());
    let strict = opened.map_err(|source| StartError::Data { path: path.clone(), source })?;
    let relaxed = strict.with_durability(FileDurability::Relaxed);
    let fenced = |backend: FileBackend| fenced(Arc::new(backend), lease);
    Ok(FileBackends { id: strict.directory_id().to_owned(), strict: fenced(strict), relaxed: fenced(relaxed) })
}

/// A backend that does nothing any more once the lease is lost.
fn fenced(backend: Arc<dyn DataBackend>, lease: Option<&Arc<Lease>>) -> Arc<dyn DataBackend> {
    match lease {
        Some(lease) => Arc::new(FencedBackend::new(backend, Arc::clone(lease))),
        None => backend,
    }
}

/// Opens the metadata store, or waits for the metadata module and takes it over.
pub(super) async fn open_metadata(
    config: &Config,
    lease: Option<&Arc<Lease>>,
) -> Result<Arc<dyn MetadataStore>, StartError> {
    let module = config.modules.metadata_client.as_ref().filter(|_| config.metadata != MetadataKind::Memory);
    let Some(address) = module else { return open_local_metadata(config, lease) };
    // The master keys stay with the front.
    std::fs::create_dir_all(&config.metadata_path)?;
    let mut options = RemoteStoreOptions::new(format!("http://{address}"));
    options.token = config.modules.token.as_ref().map(|token| token.expose_secret().to_owned());
    let store = RemoteStore::new(options);
    let end = Instant::now() + METADATA_WAIT;
    loop {
        match store.begin().await {
            Ok(_) => return Ok(Arc::new(store)),
            Err(source) if Instant::now() >= end => {
                let (address, problem) = (address.to_string(), source.to_string());
                return Err(StartError::Module { module: "metadata", address, problem });
            }
            Err(error) => tracing::warn!(%address, %error, "waiting for the metadata module"),
        }
    }
}

/// Opens the metadata store of this process.
pub(super) fn open_local_metadata(
    config: &Config,
    lease: Option<&Arc<Lease>>,
) -> Result<Arc<dyn MetadataStore>, StartError> {
    let store = match config.metadata {
        MetadataKind::Memory => return Ok(Arc::new(MemoryStore::default())),
        MetadataKind::RocksDb => open_rocksdb(config)?,
    };
    Ok(match lease {
        Some(lease) => Arc::new(FencedStore::new(store, Arc::clone(lease))),
        None => store,
    })
}

#[cfg(feature = "rocksdb")]
fn open_rocksdb(config: &Config) -> Result<Arc<dyn MetadataStore>, StartError> {
    use crate::metadata::{RocksOptions, RocksStore};

    let path = &config.metadata_path;
    let store = RocksStore::open(path, RocksOptions::default());
    Ok(Arc::new(store.map_err(|source| StartError::Metadata { path: path.clone(), source })?))
}

#[cfg(not(feature = "rocksdb"))]
fn open_rocksdb(_: &Config) -> Result<Arc<dyn MetadataStore>, StartError> {
    Err(StartError::NoRocksDb)
}

/// Makes sure that metadata and data belong together: an empty mount point must not pass for lost data.
pub(super) async fn check_pair(
    config: &Config,
    metadata: &dyn MetadataStore,
    backends: &Backends,
) -> Result<(), StartError> {
    let Some(id) = backends.identity(config).await else { return Ok(()) };
    let failed = |source| StartError::Metadata { path: config.metadata_path.clone(), source };
    match metadata.get(SYSTEM, DATA_DIRECTORY).await.map_err(failed)? {
        Some(known) if known == id.as_bytes() => Ok(()),
        Some(_) => {
            Err(StartError::WrongDirectory { metadata: config.metadata_path.clone(), data: config.data_path.clone() })
        }
        None => {
            let mut batch = Batch::new();
            batch.put(SYSTEM, DATA_DIRECTORY, id.as_bytes().to_vec());
            metadata.commit(batch).await.map_err(failed)
        }
    }
}
