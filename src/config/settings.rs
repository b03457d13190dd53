//! The checked configuration: what every other part of the server reads.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use ipnet::IpNet;
use secrecy::SecretString;

use super::{
    authdata::Accounts, health::LocationWatch, kms::KmsSettings, launch::Launch, lease::LeaseSettings, limits::Limits,
    locations::Locations, migration::Migration, modules::Modules, outbound::Outbound,
};
use crate::types::{Dialect, version_id::VersionIdEncoding};

/// Where data goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataKind {
    /// All of it to the memory of this process, whatever the location.
    Memory,
    /// All of it to the data folder, whatever the location.
    File,
    /// To each location by its type.
    #[default]
    Multiple,
}

/// Where metadata goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataKind {
    /// To the memory of this process.
    Memory,
    /// To `RocksDB` in the metadata folder.
    #[default]
    RocksDb,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What happens.
    Info,
    /// What may become a fault.
    Warn,
    /// What failed.
    Error,
    /// What ends the server.
    Fatal,
}

impl LogLevel {
    /// All levels, chattiest first.
    pub const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The word in files, variables and arguments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// A word that is none of those allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("should be one of {0}")]
pub struct UnknownWord(&'static str);

impl UnknownWord {
    /// None of `words`.
    pub(super) const fn of(words: &'static str) -> Self {
        Self(words)
    }
}

impl FromStr for LogLevel {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or(UnknownWord("trace, debug, info, warn, error, fatal"))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For eyes.
    Pretty,
}

impl LogFormat {
    /// The word in files and arguments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Pretty => "pretty",
        }
    }
}

impl FromStr for LogFormat {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = [Self::Auto, Self::Json, Self::Pretty].into_iter().find(|format| format.as_str() == text);
        found.ok_or(UnknownWord("auto, json, pretty"))
    }
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Lines below it are not written. `log.logLevel`, default `debug`; the shipped file says `info`.
    pub level: LogLevel,
    /// A request that logs at this level has all its lines written. `log.dumpLevel`, default `error`.
    pub dump_level: LogLevel,
    /// `cloudserver.logFormat`, default `auto`.
    pub format: LogFormat,
}

/// The journal of every mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLog {
    /// Whether somebody asked for it (`recordLog.enabled`); it is kept in any case.
    pub enabled: bool,
    /// `recordLog.recordLogName`: what tools call it. Default `s3-recordlog`.
    pub name: String,
}

/// Certificate and key for both listeners, as PEM files that could be opened at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// `certFilePaths.key`.
    pub key: PathBuf,
    /// `certFilePaths.cert`: the server's certificate and its chain.
    pub cert: PathBuf,
    /// `certFilePaths.ca`: certificates to send after the chain.
    pub ca: Option<PathBuf>,
}

/// Certificates to make once, where none are (`SSL` with `ENDPOINT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SslGenerate {
    /// The host name; the certificate is for it and `*.host`.
    pub host: String,
    /// Where `ca.key`, `ca.crt`, `server.key` and `server.crt` are or go.
    pub folder: PathBuf,
}

/// Proxies whose word on the client's address is taken (`requests.viaProxy`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies {
    /// `requests.trustedProxyCIDRs`: addresses of the proxies.
    pub networks: Vec<IpNet>,
    /// `requests.extractClientIPFromHeader`: the header, in small letters.
    pub header: String,
}

/// Where the S3 listeners' addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenOrigin {
    /// Somebody named them.
    Configured,
    /// Nobody did: every interface.
    Everywhere,
    /// Nobody did, and the accounts' secrets are public knowledge: this machine only.
    Loopback,
}

/// How access logs of buckets are delivered; key `cloudserver.accessLogs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLogDelivery {
    /// `deliverySeconds`: the time between deliveries, at least 1 second. Default 300 seconds.
    pub interval: Duration,
    /// `linesPerObject`: most lines of a log object; so many are delivered at once. Default 10000.
    pub lines: usize,
}

impl Default for AccessLogDelivery {
    fn default() -> Self {
        Self { interval: Duration::from_mins(5), lines: 10_000 }
    }
}

/// How inventory reports are written; key `cloudserver.inventory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InventoryReports {
    /// `lookSeconds`: the time between looks for reports that are due, at least 1 second. Default 600 seconds.
    pub look: Duration,
    /// `periodSeconds`: the time between reports, instead of what their configurations say. Default none.
    pub period: Option<Duration>,
    /// `rowsPerFile`: most rows of a file of a report. Default 1000000.
    pub rows: usize,
}

impl Default for InventoryReports {
    fn default() -> Self {
        Self { look: Duration::from_mins(10), period: None, rows: 1_000_000 }
    }
}

/// Deviations that clients of the original may need; key `cloudserver.compat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compat {
    /// `maxObjectTags`: tags of an object, 10 (as AWS, the default) or 50 (as the original).
    pub max_object_tags: usize,
    /// `exposeProcessing`: replication state PROCESSING shows as such, not as PENDING. Default false.
    pub expose_processing: bool,
    /// `dialect`: whose answers are given where AWS and Ceph RGW disagree. Default `aws`.
    pub dialect: Dialect,
}

impl Default for Compat {
    fn default() -> Self {
        Self { max_object_tags: 10, expose_processing: false, dialect: Dialect::Aws }
    }
}

/// The whole configuration, checked.
#[expect(clippy::struct_excessive_bools, reason = "each is an independent setting of the original or of ours")]
#[derive(Clone, Debug)]
pub struct Config {
    /// The install root: what relative names count from.
    pub root: PathBuf,
    /// Where `config.json` came from.
    pub source: String,
    /// The S3 listeners: `listenOn`, else every interface at `port` (8000).
    pub listen: Vec<SocketAddr>,
    /// Why these.
    pub listen_origin: ListenOrigin,
    /// The admin listeners: `metricsListenOn`, else every interface at `metricsPort` (8002).
    pub admin_listen: Vec<SocketAddr>,
    /// `restEndpoints`: host name in small letters → location name. Required.
    pub rest_endpoints: BTreeMap<String, String>,
    /// `websiteEndpoints`: host names in small letters that serve websites. Default none.
    pub website_endpoints: Vec<String>,
    /// `replicationGroupId`: the tail of every version id. Default `RG001`.
    pub replication_group: String,
    /// How version ids are spelled. Default hexadecimal.
    pub version_id_encoding: VersionIdEncoding,
    /// TLS on both listeners. Default none.
    pub tls: Option<TlsFiles>,
    /// TLS on both listeners with certificates of our own making. Default none.
    pub ssl_generate: Option<SslGenerate>,
    /// Who may ask for health and reports; always has `127.0.0.1/8` and `::1`.
    pub health_allow_from: Vec<IpNet>,
    /// `reportToken`, `REPORT_TOKEN`: the secret of `/_/report`. Default none, and no report.
    pub report_token: Option<SecretString>,
    /// Whose word on the client's address is taken. Default nobody's.
    pub trusted_proxies: Option<TrustedProxies>,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where data goes. Default to each location by its type.
    pub data: DataKind,
    /// Where metadata goes. Default `RocksDB`.
    pub metadata: MetadataKind,
    /// The data folder. Default `localData` under the root.
    pub data_path: PathBuf,
    /// The metadata folder. Default `localMetadata` under the root.
    pub metadata_path: PathBuf,
    /// `S3DATA_NOCACHE`: file data does not stay in the page cache. Default false.
    pub data_no_cache: bool,
    /// The journal.
    pub record_log: RecordLog,
    /// `multiObjectDeleteConcurrency`: keys deleted at a time by one request, 1 to 999. Default 50.
    pub multi_object_delete_concurrency: usize,
    /// `MPU_TESTING`: no least part size, and parts of at most 110100480 bytes. Default false.
    pub mpu_testing: bool,
    /// `ALLOW_PUBLIC_READ_BUCKETS`: buckets that anybody may read. Default none.
    pub allow_public_read_buckets: Vec<String>,
    /// `PRE_SIGN_URL_EXPIRY`: the longest life of a `SigV2` presigned request. Default 7 days.
    pub presign_v2_max: Duration,
    /// `cloudserver.region`: the only region that signatures may name. Default: any will do.
    pub region: Option<String>,
    /// `cloudserver.signatureV2`: whether `SigV2` is accepted. Default true.
    pub sigv2: bool,
    /// Whether this is a server in earnest, which refuses the shipped credentials. Default false.
    pub production: bool,
    /// `cloudserver.shutdownGraceSeconds`: how long a stop waits for requests. Default 30 seconds.
    pub shutdown_grace: Duration,
    /// `cloudserver.compat`.
    pub compat: Compat,
    /// `cloudserver.inlineThresholdBytes`: bodies up to this many bytes live in the metadata store. Default 65536.
    pub inline_threshold: u64,
    /// `cloudserver.journalMaxEntries`: entries that the journal keeps. Default 1000000.
    pub journal_max_entries: u64,
    /// `replicationEndpoints`: the sites that replication rules may name. Default none.
    pub replication_sites: Vec<String>,
    /// `bucketNotificationDestinations`: the targets that notification configurations may name. Default none.
    pub notification_targets: Vec<String>,
    /// How this server reaches others: proxies, and connections to external locations.
    pub outbound: Outbound,
    /// `cloudserver.accessLogs`.
    pub access_logs: AccessLogDelivery,
    /// `cloudserver.inventory`.
    pub inventory: InventoryReports,
    /// `cloudserver.migration`: the server that this one takes over from.
    pub migration: Migration,
    /// `cloudserver.health`: how locations elsewhere are watched.
    pub health: LocationWatch,
    /// `cloudserver.limits`.
    pub limits: Limits,
    /// `cloudserver.lease`: how the folders are owned.
    pub lease: LeaseSettings,
    /// Which parts of the server this process is, and where the others are.
    pub modules: Modules,
    /// `cloudserver.kms`: who keeps the keys of encrypted objects.
    pub kms: KmsSettings,
    /// `cloudserver.requireTlsForSseC`: whether clients' keys are taken over TLS only. Default false.
    pub require_tls_for_sse_c: bool,
    /// `globalEncryptionEnabled`: whether new buckets encrypt their objects. Default false.
    pub global_encryption: bool,
    /// The accounts at start.
    pub accounts: Arc<Accounts>,
    /// The locations at start.
    pub locations: Arc<Locations>,
    /// What the operator should know, one line each.
    pub warnings: Vec<String>,
    /// What all this was read from, to read it again.
    pub launch: Launch,
}

impl Config {
    /// Where the master key file is or goes; a relative name counts from the install root.
    pub fn master_key_file(&self) -> PathBuf {
        match &self.kms.master_key_file {
            Some(file) => self.root.join(file),
            None => self.metadata_path.join("master-keys.json"),
        }
    }
}
