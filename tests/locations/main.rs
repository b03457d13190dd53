//! Locations that are somewhere else: the far side is a second server of ours, reached over real sockets, with a
//! proxy between that misbehaves on request.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in tests a broken expectation is a failure, and says so best where it happens"
)]

mod far;
mod faults;
mod files;
mod foreign;
mod google;
mod lies;
mod migrations;
mod modules;
mod near;
mod real;
mod storms;
mod suites;
mod trees;
