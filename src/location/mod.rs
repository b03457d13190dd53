//! Locations: the names that buckets and requests use for data backends.

use std::{collections::BTreeMap, sync::Arc};

use crate::data::DataBackend;

mod choose;
pub mod health;

pub use choose::{Choice, LocationFault, choose};

/// A name of `locationConfig.json` and the backend behind it.
#[expect(clippy::struct_excessive_bools, reason = "each is an independent setting of the original or of ours")]
#[derive(Clone, Debug)]
pub struct Location {
    /// The name, saved with every blob.
    pub name: Arc<str>,
    /// Where its bytes go.
    pub backend: Arc<dyn DataBackend>,
    /// Whether an acknowledged write survives a power cut (`durability`, default strict).
    pub strict: bool,
    /// Whether re-creating one's own bucket here is no error (`legacyAwsBehavior`).
    pub legacy_aws_behavior: bool,
    /// Whether it is an archive (`isCold`): no buckets are created here, and objects are restored before they are read.
    pub is_cold: bool,
    /// Whether it is a staging area that is emptied after replication (`isTransient`).
    pub is_transient: bool,
    /// Most bytes it may hold (`sizeLimitGB`).
    pub size_limit: Option<u64>,
    /// Accounts that may take up what others put there (`details.scanBy`): names, email addresses or canonical ids.
    pub scan_by: Arc<[String]>,
    /// How a store elsewhere is doing; `None` for those of this machine.
    pub health: Option<Arc<health::LocationHealth>>,
}

/// All configured locations. Immutable: a reload makes a new one.
#[derive(Clone, Debug, Default)]
pub struct LocationTable {
    by_name: BTreeMap<Arc<str>, Arc<Location>>,
}

impl Location {
    /// A location of this machine without any rules of its own.
    pub fn new(name: &str, backend: Arc<dyn DataBackend>) -> Self {
        Self {
            name: name.into(),
            backend,
            strict: true,
            legacy_aws_behavior: false,
            is_cold: false,
            is_transient: false,
            size_limit: None,
            scan_by: Arc::default(),
            health: None,
        }
    }
}

impl LocationTable {
    /// A table of these locations; a later one of the same name wins.
    pub fn new(locations: impl IntoIterator<Item = Location>) -> Self {
        Self {
            by_name: locations.into_iter().map(|location| (Arc::clone(&location.name), Arc::new(location))).collect(),
        }
    }

    /// The location of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Location>> {
        self.by_name.get(name)
    }

    /// All locations, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Location>> {
        self.by_name.values()
    }
}
