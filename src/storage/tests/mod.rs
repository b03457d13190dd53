//! The engine over stores in memory.

use crate::data::memory_native::Mode;

/// What the tests write to: blobs.
const MODE: Option<Mode> = None;

mod annotations;
mod audit;
mod concurrency;
mod conditions;
mod dropped;
mod encryption;
mod extensions;
mod files;
mod listing;
mod listing_cost;
mod locations;
mod lock;
mod multipart;
mod native;
mod over_versions;
mod probe;
mod readers;
mod refusals;
mod restore;
mod search;
mod tombstones;
mod versioning;
mod world;
