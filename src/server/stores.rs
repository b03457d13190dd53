//! Opens the stores that the configuration names.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{StartError, external};
use crate::{
    config::{self, Config, DataKind, Durability, LocationKind, Locations, MetadataKind},
    data::{DataBackend, FileBackend, FileDurability, FileOptions, MemoryBackend},
    location::{
        Location, LocationTable,
        health::{BreakerSettings, HealthSettings, LocationHealth},
    },
    metadata::{Batch, MemoryStore, MetadataStore, Namespace, Table},
    telemetry::metrics::LocationMetrics,
};

/// The key under which metadata remembers its data directory.
const DATA_DIRECTORY: &[u8] = b"data directory";
const SYSTEM: Namespace = Namespace::global(Table::System);

/// The backends behind the locations. Kept apart from the table, so that a reload makes a new table over them.
#[derive(Clone, Debug)]
pub(super) struct Backends {
    memory: Arc<MemoryBackend>,
    file: Option<FileBackends>,
    kind: DataKind,
    /// Those of stores elsewhere, with what they were opened by: a reload that changes nothing keeps connections.
    external: Arc<Mutex<BTreeMap<String, External>>>,
    metrics: LocationMetrics,
}

#[derive(Clone, Debug)]
struct External {
    location: Arc<config::Location>,
    guarded: Guarded,
}

/// A backend, and how it is doing where it is elsewhere.
type Guarded = (Arc<dyn DataBackend>, Option<Arc<LocationHealth>>);

#[derive(Clone, Debug)]
struct FileBackends {
    strict: Arc<FileBackend>,
    relaxed: Arc<FileBackend>,
}

impl Backends {
    /// Opens the data directory, unless all data stays in memory.
    pub(super) fn open(config: &Config, metrics: LocationMetrics) -> Result<Self, StartError> {
        let memory = Arc::new(MemoryBackend::default());
        let file = if config.data == DataKind::Memory { None } else { Some(open_files(config)?) };
        Ok(Self { memory, file, kind: config.data, external: Arc::default(), metrics })
    }

    /// The identity of the data directory.
    pub(super) fn directory_id(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.strict.directory_id())
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
            });
        }
        Ok(LocationTable::new(table))
    }

    fn backend(&self, config: &Config, location: &Arc<config::Location>) -> Result<Option<Guarded>, StartError> {
        let memory = || Some((Arc::<MemoryBackend>::clone(&self.memory) as Arc<dyn DataBackend>, None));
        let Some(file) = &self.file else { return Ok(memory()) };
        match (location.kind, self.kind) {
            (LocationKind::Mem, DataKind::Multiple) => Ok(memory()),
            // With data in files, every location goes there, as in the original.
            (LocationKind::File, _) | (_, DataKind::File) => {
                let files: Arc<dyn DataBackend> = match location.durability {
                    Durability::Strict => Arc::<FileBackend>::clone(&file.strict),
                    Durability::Relaxed => Arc::<FileBackend>::clone(&file.relaxed),
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

fn open_files(config: &Config) -> Result<FileBackends, StartError> {
    let path = &config.data_path;
    let opened = FileBackend::open(path, FileOptions::default());
    let strict = opened.map_err(|source| StartError::Data { path: path.clone(), source })?;
    let relaxed = Arc::new(strict.with_durability(FileDurability::Relaxed));
    Ok(FileBackends { strict: Arc::new(strict), relaxed })
}

/// Opens the metadata store.
pub(super) fn open_metadata(config: &Config) -> Result<Arc<dyn MetadataStore>, StartError> {
    match config.metadata {
        MetadataKind::Memory => Ok(Arc::new(MemoryStore::default())),
        MetadataKind::RocksDb => open_rocksdb(config),
    }
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
    let Some(id) = backends.directory_id() else { return Ok(()) };
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
