//! Opens the backends of locations that are somewhere else.

use std::sync::Arc;

use super::{StartError, far_s3};
use crate::{
    config::{Config, Location, LocationKind},
    data::DataBackend,
};

/// The backend of a location that is neither `mem` nor `file`; `None` for a kind that this release cannot serve.
/// Nothing is asked of the far side yet: one that is away must not keep the server from starting.
pub(super) fn open(config: &Config, location: &Location) -> Result<Option<Arc<dyn DataBackend>>, StartError> {
    match location.kind {
        LocationKind::AwsS3 | LocationKind::Gcp => far_s3::open(config, location).map(Some),
        LocationKind::Mem
        | LocationKind::File
        | LocationKind::Scality
        | LocationKind::Mongodb
        | LocationKind::Dmf
        | LocationKind::AzureArchive
        | LocationKind::Azure
        | LocationKind::Pfs => Ok(None),
    }
}
