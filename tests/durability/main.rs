//! Crashes and resources: the real binary on RocksDB and files, killed, starved and overloaded.
//!
//! Each module guards some promises of the reliability design (R1, R3, …), named in its tests. What takes long is
//! ignored and runs with `make soak`. `CLOUDSERVER_BIN` names another binary than the one just built.
#![cfg(all(feature = "rocksdb", feature = "tls", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    clippy::print_stdout,
    reason = "in tests a broken expectation is a failure, and says so best where it happens; figures are printed"
)]

mod clients;
mod disk_full;
#[cfg(feature = "failpoints")]
mod failpoints;
mod history;
mod kill;
mod locations;
mod modules;
mod moves;
mod reload;
mod shutdown;
mod soak;
mod start;
mod support;
mod takeover;
