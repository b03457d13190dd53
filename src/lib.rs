//! cloudserver: an S3 object store in one binary.
//!
//! Layers, lowest first; each imports only from those before it (`tests/architecture.rs` checks):
//! vocabulary; configuration and the process's own services; a client for other S3 stores; the two seams; pure
//! decisions; the engine; the S3 protocol; the listeners; the assembled server.

pub mod types;
pub mod xml;

pub mod clock;
pub mod config;
pub mod outbound;
pub mod tasks;
pub mod telemetry;

pub mod lease;
pub mod s3client;

pub mod data;
pub mod metadata;

pub mod auth;
pub mod kms;
pub mod location;

pub mod storage;

pub mod inventory;
pub mod jobs;
pub mod logging;

pub mod s3;

pub mod admin;
pub mod http;
pub mod modules;

pub mod migrate;
pub mod server;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub mod cli;
