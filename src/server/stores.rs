//! Opens the stores that the configuration names.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{StartError, external};
use crate::{
    config::{self, Config, DataKind, Durability, LocationKind, Locations, MetadataKind},
    data::{DataBackend, FencedBackend, FileBackend, FileDurability, FileOptions, MemoryBackend},
    lease::Lease,
    location::{Location, LocationTable},
    metadata::{Batch, FencedStore, MemoryStore, MetadataStore, Namespace, Table},
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
}

#[derive(Clone, Debug)]
struct External {
    location: Arc<config::Location>,
    backend: Arc<dyn DataBackend>,
}

#[derive(Clone, Debug)]
struct FileBackends {
    id: String,
    strict: Arc<dyn DataBackend>,
    relaxed: Arc<dyn DataBackend>,
}

impl Backends {
    /// Opens the data directory, unless all data stays in memory.
    pub(super) fn open(config: &Config, lease: Option<&Arc<Lease>>) -> Result<Self, StartError> {
        let memory = Arc::new(MemoryBackend::default());
        let file = if config.data == DataKind::Memory { None } else { Some(open_files(config, lease)?) };
        Ok(Self { memory, file, kind: config.data, external: Arc::default() })
    }

    /// The identity of the data directory.
    pub(super) fn directory_id(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.id.as_str())
    }

    /// The locations that this release can serve; the configuration has warned about the others.
    pub(super) fn table(&self, config: &Config, locations: &Locations) -> Result<LocationTable, StartError> {
        let mut table = Vec::new();
        for location in locations.iter() {
            let Some(backend) = self.backend(config, location)? else { continue };
            table.push(Location {
                name: location.name.as_str().into(),
                backend,
                strict: location.durability == Durability::Strict,
                legacy_aws_behavior: location.legacy_aws_behavior,
                is_cold: location.is_cold,
            });
        }
        Ok(LocationTable::new(table))
    }

    fn backend(
        &self,
        config: &Config,
        location: &Arc<config::Location>,
    ) -> Result<Option<Arc<dyn DataBackend>>, StartError> {
        let Some(file) = &self.file else { return Ok(Some(Arc::<MemoryBackend>::clone(&self.memory))) };
        match (location.kind, self.kind) {
            (LocationKind::Mem, DataKind::Multiple) => Ok(Some(Arc::<MemoryBackend>::clone(&self.memory))),
            // With data in files, every location goes there, as in the original.
            (LocationKind::File, _) | (_, DataKind::File) => Ok(Some(match location.durability {
                Durability::Strict => Arc::clone(&file.strict),
                Durability::Relaxed => Arc::clone(&file.relaxed),
            })),
            _ => self.external(config, location),
        }
    }

    fn external(
        &self,
        config: &Config,
        location: &Arc<config::Location>,
    ) -> Result<Option<Arc<dyn DataBackend>>, StartError> {
        let mut opened = self.external.lock();
        if let Some(known) = opened.get(&location.name).filter(|known| known.location == *location) {
            return Ok(Some(Arc::clone(&known.backend)));
        }
        let Some(backend) = external::open(config, location)? else { return Ok(None) };
        let known = External { location: Arc::clone(location), backend: Arc::clone(&backend) };
        opened.insert(location.name.clone(), known);
        Ok(Some(backend))
    }
}

fn open_files(config: &Config, lease: Option<&Arc<Lease>>) -> Result<FileBackends, StartError> {
    let path = &config.data_path;
    let opened = FileBackend::open(path, FileOptions::default());
    let strict = opened.map_err(|source| StartError::Data { path: path.clone(), source })?;
    let relaxed = strict.with_durability(FileDurability::Relaxed);
    let fenced = |backend: FileBackend| -> Arc<dyn DataBackend> {
        let backend = Arc::new(backend);
        match lease {
            Some(lease) => Arc::new(FencedBackend::new(backend, Arc::clone(lease))),
            None => backend,
        }
    };
    Ok(FileBackends { id: strict.directory_id().to_owned(), strict: fenced(strict), relaxed: fenced(relaxed) })
}

/// Opens the metadata store.
pub(super) fn open_metadata(config: &Config, lease: Option<&Arc<Lease>>) -> Result<Arc<dyn MetadataStore>, StartError> {
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
