//! The S3 protocol over real sockets: the server runs in this process, on ports of the system's choice, in memory.
//!
//! Each module is a chapter of the protocol, each test a rule of it. A request that is refused must leave nothing
//! behind: `support::world::refused` compares every stored row and blob before and after.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "a broken expectation is a failure, told best where it happens; documents are put together from texts"
)]

mod access_logs;
mod addressing;
mod annotations;
mod append;
mod attributes;
mod authentication;
mod bucket_settings;
mod buckets;
mod checksums;
mod chunked;
mod conditional_reads;
mod conditional_writes;
mod configurations;
mod copy;
mod delete_objects;
mod dialect;
mod encryption;
#[cfg(feature = "rocksdb")]
mod encryption_on_disk;
mod hostile;
mod inventory;
mod lifecycle;
mod listings;
mod location_jobs;
mod locations;
mod matrix;
mod migrate;
mod migrate_odd;
mod multipart;
mod notification;
mod object_lock;
mod object_lock_random;
mod objects;
mod policy;
mod posix;
mod promises;
mod quota;
mod ranges;
mod read_through;
mod rename;
mod replication;
mod reports;
mod restore;
mod search;
mod sosapi;
mod support;
mod tagging;
mod versioning;
mod websites;
