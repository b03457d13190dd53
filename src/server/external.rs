//! Opens the backends of locations that are somewhere else.

use std::sync::Arc;

use super::StartError;
use crate::{
    clock::SystemClock,
    config::{Config, Durability, Location, LocationKind, permissions},
    data::{DataBackend, FileDurability, PosixBackend, PosixOptions},
};

/// The backend of a location that is neither `mem` nor `file`; `None` for a kind that this release cannot serve.
/// Nothing is asked of the far side yet: one that is away must not keep the server from starting.
pub(super) fn open(_config: &Config, location: &Location) -> Result<Option<Arc<dyn DataBackend>>, StartError> {
    match location.kind {
        LocationKind::Mem
        | LocationKind::File
        | LocationKind::Scality
        | LocationKind::Mongodb
        | LocationKind::Dmf
        | LocationKind::AzureArchive
        | LocationKind::AwsS3
        | LocationKind::Azure
        | LocationKind::Gcp
        | LocationKind::Pfs => Ok(None),
        LocationKind::Posix => Ok(Some(posix(location))),
    }
}

fn posix(location: &Location) -> Arc<dyn DataBackend> {
    let details = &location.details;
    let mut options = PosixOptions::new(details.text("path").unwrap_or_default());
    options.bucket_match = details.flag("bucketMatch").unwrap_or(false);
    options.file_mode = details.text("fileMode").and_then(permissions).unwrap_or(options.file_mode);
    options.directory_mode = details.text("directoryMode").and_then(permissions).unwrap_or(options.directory_mode);
    options.durability = match location.durability {
        Durability::Strict => FileDurability::Strict,
        Durability::Relaxed => FileDurability::Relaxed,
    };
    Arc::new(PosixBackend::new(options, Arc::new(SystemClock)))
}
