//! Opens the stores that the configuration names.

use std::sync::Arc;

use super::StartError;
use crate::{
    config::{Config, DataKind, Durability, LocationKind, Locations, MetadataKind},
    data::{DataBackend, FileBackend, FileDurability, FileOptions, MemoryBackend},
    location::{Location, LocationTable},
    metadata::{Batch, MemoryStore, MetadataStore, Namespace, Table},
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
}

#[derive(Clone, Debug)]
struct FileBackends {
    strict: Arc<FileBackend>,
    relaxed: Arc<FileBackend>,
}

impl Backends {
    /// Opens the data directory, unless all data stays in memory.
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
        let memory = Arc::new(MemoryBackend::default());
        let file = if config.data == DataKind::Memory { None } else { Some(open_files(config)?) };
        Ok(Self { memory, file, kind: config.data })
    }

    /// The identity of the data directory.
    pub(super) fn directory_id(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.strict.directory_id())
    }

    /// The locations that this release can serve; the configuration has warned about the others.
    pub(super) fn table(&self, locations: &Locations) -> LocationTable {
        LocationTable::new(locations.iter().filter_map(|location| {
            let backend = self.backend(location.kind, location.durability)?;
            Some(Location {
                name: location.name.as_str().into(),
                backend,
                strict: location.durability == Durability::Strict,
                legacy_aws_behavior: location.legacy_aws_behavior,
                is_cold: location.is_cold,
            })
        }))
    }

    fn backend(&self, kind: LocationKind, durability: Durability) -> Option<Arc<dyn DataBackend>> {
        let Some(file) = &self.file else { return Some(Arc::<MemoryBackend>::clone(&self.memory)) };
        match (kind, self.kind) {
            (LocationKind::Mem, DataKind::Multiple) => Some(Arc::<MemoryBackend>::clone(&self.memory)),
            // With data in files, every location goes there, as in the original.
            (LocationKind::File, _) | (_, DataKind::File) => Some(match durability {
                Durability::Strict => Arc::<FileBackend>::clone(&file.strict),
                Durability::Relaxed => Arc::<FileBackend>::clone(&file.relaxed),
            }),
            _ => None,
        }
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
