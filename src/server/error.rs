//! Why a server does not start. The first line names what is wrong and what to do.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

use crate::{data::DataError, kms::KeyFileError, lease::LeaseError, metadata::MetadataError, storage::StorageError};

/// Why a server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("data directory {path}: {source}")]
    Data {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: DataError,
    },
    /// The metadata directory cannot be used.
    #[error("metadata directory {path}: {source}")]
    Metadata {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: MetadataError,
    },
    /// A module cannot be used.
    #[error("the {module} module at {address}: {problem}; check that it runs, and DATA_HOST and METADATA_HOST")]
    Module {
        /// Data or metadata.
        module: &'static str,
        /// Where it should be.
        address: String,
        /// What is wrong.
        problem: String,
    },
    /// The metadata belongs to another data directory: a volume is not mounted, or the wrong one is.
    #[error(
        "the metadata in {metadata} belongs to another data directory than {data}; check S3DATAPATH, S3METADATAPATH, DATA_HOST, and that the right volumes are mounted"
    )]
    WrongDirectory {
        /// The metadata directory.
        metadata: PathBuf,
        /// The data directory.
        data: PathBuf,
    },
    /// The master key file is gone.
    #[error(
        "the master key file {path} is gone, and objects may be encrypted under it: restore it from a backup; without it they cannot be read"
    )]
    KeysLost {
        /// Where it was.
        path: PathBuf,
    },
    /// Another master key file is in its place.
    #[error("the master key file {path} is not the one that this metadata was written with: restore that one")]
    WrongKeys {
        /// The file.
        path: PathBuf,
    },
    /// The master key file cannot be used.
    #[error("master key file: {0}")]
    Keys(#[from] KeyFileError),
    /// The external key manager cannot be set up.
    #[error("key manager (cloudserver.kms.vault): {0}")]
    Vault(String),
    /// The old server of a migration cannot be reached as configured.
    #[error("migration (cloudserver.migration): {0}")]
    Migration(String),
    /// A proxy's address cannot be used.
    #[error("proxy (HTTP_PROXY, HTTPS_PROXY, outboundProxy): {0}")]
    Proxy(String),
    /// A location cannot be set up.
    #[error("location \"{name}\": {problem}")]
    Location {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// This build has no RocksDB.
    #[error("this build has no RocksDB: set S3METADATA=mem, or build with the feature rocksdb")]
    NoRocksDb,
    /// This build has no TLS.
    #[error("this build has no TLS: remove certFilePaths and SSL, or build with the feature tls")]
    NoTls,
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; is another server running there? Choose another with --port or --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Certificates cannot be used.
    #[cfg(feature = "tls")]
    #[error("TLS: {0}")]
    Tls(#[from] crate::http::TlsError),
    /// What a crash left behind cannot be cleaned up.
    #[error("recovery: {0}")]
    Recovery(#[from] StorageError),
    /// The folder of leases cannot be used.
    #[error("{0}; if nobody shares these folders, set cloudserver.lease.enabled to \"off\"")]
    Lease(#[from] LeaseError),
    /// The system refused something.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The log cannot be set up.
    #[error("log: {0}")]
    Log(#[from] crate::telemetry::logs::LogError),
}
