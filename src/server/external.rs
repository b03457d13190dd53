//! Opens the backends of locations that are somewhere else.

use std::sync::Arc;

use secrecy::SecretString;

use super::{StartError, far_s3, outbound, trees};
use crate::{
    clock::SystemClock,
    config::{Config, Durability, Location, LocationKind, permissions},
    data::{AzureBackend, AzureOptions, DataBackend, ENTRA, FileDurability, Login, PosixBackend, PosixOptions},
    outbound::HttpClient,
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
        | LocationKind::Pfs => Ok(None),
        LocationKind::Azure => Ok(Some(azure(config, location)?)),
        LocationKind::Posix => Ok(Some(posix(location))),
        LocationKind::WebDav | LocationKind::WebHdfs | LocationKind::Sftp => trees::open(config, location),
    }
}

fn azure(config: &Config, location: &Location) -> Result<Arc<dyn DataBackend>, StartError> {
    let details = &location.details;
    let text = |key| details.text(key).unwrap_or_default().to_owned();
    let secret = |key| SecretString::from(text(key));
    let login = match details.text("authMethod") {
        Some("shared-access-signature") => Login::SharedAccess(secret("sasToken")),
        Some("client-secret") => Login::ClientSecret {
            authority: authority(config),
            tenant: text("tenantId"),
            client: text("clientId"),
            secret: secret("clientKey"),
        },
        _ => Login::SharedKey { account: text("azureStorageAccountName"), key: secret("azureStorageAccessKey") },
    };
    let endpoint = text("azureStorageEndpoint");
    let endpoint = match details.flag("https") {
        _ if endpoint.contains("://") => endpoint,
        Some(false) => format!("http://{endpoint}"),
        _ => format!("https://{endpoint}"),
    };
    let options = AzureOptions {
        endpoint,
        container: text("azureContainerName"),
        login,
        bucket_match: details.flag("bucketMatch").unwrap_or(false),
    };
    let http = HttpClient::new(outbound::client_options(config, location.kind)?);
    Ok(Arc::new(AzureBackend::new(http, options, Arc::new(SystemClock))))
}

/// Where tokens come from: `AZURE_AUTHORITY_HOST`, as Azure's own tools have it.
fn authority(config: &Config) -> String {
    let named = config.launch.environment.get("AZURE_AUTHORITY_HOST").filter(|host| !host.is_empty());
    let host = named.unwrap_or(ENTRA).trim_end_matches('/');
    if host.contains("://") { host.to_owned() } else { format!("https://{host}") }
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
