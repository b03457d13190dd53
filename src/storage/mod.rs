//! The engine: S3 once, over the two seams.
//!
//! Invariants:
//! - Bytes first, durable and invisible; then one metadata batch that names them. Nothing else publishes.
//! - A key's newest version is in `Current`, or is a delete marker and the first row of the key in `Versions`.
//! - The newest version's record alone knows where the key's older `null` version is.
//! - Every batch that frees data also says so: inline bodies are deleted in it, blobs are noted as garbage.
//! - Counters, journal and garbage are part of the batch that makes them true.
//! - No version is freed without [`lock`]'s leave, given for the very record that the batch requires unchanged.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use crate::{
    clock::{Clock, Identifiers},
    kms::Kms,
    location::{Location, LocationTable},
    metadata::MetadataStore,
    tasks::Tasks,
};

mod access_lines;
mod adopt;
mod annotations;
mod append;
mod buckets;
mod change;
mod delete;
mod delivery;
mod encryption;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod garbage;
mod held;
mod inventory;
mod jobs;
pub mod keys;
pub mod listing;
mod location_usage;
pub mod lock;
mod locks;
mod multipart;
mod native;
mod objects;
mod quota;
mod read;
pub mod records;
mod relocate;
mod rename;
mod report;
mod restore;
mod settings;
#[cfg(test)]
mod tests;
mod tombstones;
mod versions;
mod write;

pub use access_lines::LinePlace;
pub use adopt::{Adoption, FoundBytes, MissingPage};
pub use annotations::{AnnotationPage, AnnotationSource, Expected, NewAnnotation};
pub use append::Append;
pub use buckets::{Bucket, BucketPage, NewBucket, Usage};
pub use delete::{DeleteCondition, Deleted};
pub use delivery::{DeliveryError, Parcel, Sender};
pub use encryption::{EncryptionRequest, KmsRequest, Unlocked};
pub use error::{CompletionFault, FailedCondition, StorageError, StorageResult};
pub use garbage::{GarbageReport, Unconfirmed};
pub use location_usage::{LocationUsage, Orphaned};
pub use multipart::{AnnouncedChecksum, CompleteRequest, ListedPart, NewUpload, PartChecksums};
pub use objects::{Attributes, NewObject, PutObject, WriteCondition};
pub use read::SegmentPage;
pub use relocate::{Relocation, Sweep, SweepPage};
pub use rename::{Rename, RenameCheck, RenameToken};
pub use report::{Holdings, ReportedBucket, StorageReport};
pub use restore::{Restore, Restored, RetrievalTier};
pub use settings::{SettingKind, SettingPage};
pub use tombstones::{Found, Tombstones};

/// What the engine is told at start.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bodies up to so many bytes are kept in metadata.
    pub inline_threshold: u64,
    /// Fewest bytes of a part other than the last: 5 MiB, less only in tests (`MPU_TESTING`).
    pub min_part_size: u64,
    /// Entries the journal keeps.
    pub journal_max_entries: u64,
    /// Whether new buckets encrypt their objects (SSE-S3) until somebody sets otherwise.
    pub encrypt_new_buckets: bool,
    /// A store that keeps objects under names of its own has so long to publish one; five times as long to put parts
    /// together. Who asks for the key after that is told that nobody knows yet.
    pub publish_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inline_threshold: 64 << 10,
            min_part_size: 5 << 20,
            journal_max_entries: 1_000_000,
            encrypt_new_buckets: false,
            publish_limit: Duration::from_mins(2),
        }
    }
}

/// The engine. Clones share it.
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    metadata: Arc<dyn MetadataStore>,
    locations: ArcSwap<LocationTable>,
    clock: Arc<dyn Clock>,
    ids: Identifiers,
    kms: Arc<dyn Kms>,
    settings: Settings,
    buckets: buckets::BucketCache,
    locks: locks::KeyLocks,
    readers: read::Readers,
    garbage: garbage::Signals,
    notes: native::Notes,
    races: multipart::PartRaces,
    claims: native::Claims,
    /// Publications under way: they go on when their clients go away.
    publications: Tasks,
    lock_clock: lock::LockClock,
    tombstones: ArcSwap<Tombstones>,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("metadata", &self.inner.metadata)
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl Storage {
    /// An engine over these stores. Nothing is read yet; see [`Storage::recover`].
    pub fn new(
        metadata: Arc<dyn MetadataStore>,
        locations: LocationTable,
        clock: Arc<dyn Clock>,
        ids: Identifiers,
        (kms, settings): (Arc<dyn Kms>, Settings),
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                metadata,
                locations: ArcSwap::from_pointee(locations),
                clock,
                ids,
                kms,
                settings,
                buckets: buckets::BucketCache::default(),
                locks: locks::KeyLocks::default(),
                readers: read::Readers::default(),
                garbage: garbage::Signals::default(),
                notes: native::Notes::default(),
                races: multipart::PartRaces::default(),
                claims: native::Claims::default(),
                publications: Tasks::default(),
                lock_clock: lock::LockClock::default(),
                tombstones: ArcSwap::default(),
            }),
        }
    }

    /// The locations now in force.
    pub fn locations(&self) -> Arc<LocationTable> {
        self.inner.locations.load_full()
    }

    /// Puts other locations in force; requests under way keep theirs.
    pub fn set_locations(&self, locations: LocationTable) {
        self.inner.locations.store(Arc::new(locations));
    }

    /// The metadata store, for health and metrics.
    pub fn metadata(&self) -> &Arc<dyn MetadataStore> {
        &self.inner.metadata
    }

    /// The key manager, to tell it of a reload.
    pub fn kms(&self) -> &Arc<dyn Kms> {
        &self.inner.kms
    }

    /// The clock that dates versions.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Random bytes, for names.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        self.inner.ids.random()
    }

    fn location(&self, name: &str) -> StorageResult<Arc<Location>> {
        let table = self.inner.locations.load();
        table.get(name).cloned().ok_or_else(|| StorageError::UnknownLocation(name.to_owned()))
    }
}
