//! The same tests over a store that keeps each object under a name of its own, and versions.

#![expect(clippy::duplicate_mod, reason = "the same tests over another store")]
#![allow(dead_code, reason = "not all tests are here, so not all of what they stand on is used")]

use crate::data::memory_native::Mode;

const MODE: Option<Mode> = Some(Mode::Versioned);

#[path = "../audit.rs"]
mod audit;
#[path = "../concurrency.rs"]
mod concurrency;
#[path = "../conditions.rs"]
mod conditions;
#[path = "../extensions.rs"]
mod extensions;
#[path = "../lock.rs"]
mod lock;
#[path = "../multipart.rs"]
mod multipart;
#[path = "../probe.rs"]
mod probe;
#[path = "../readers.rs"]
mod readers;
#[path = "../restore.rs"]
mod restore;
#[path = "../versioning.rs"]
mod versioning;
#[path = "../world.rs"]
mod world;
