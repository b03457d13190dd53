//! The environment variables of the original server and of its container's entrypoint.
//!
//! Nothing here asks the process: the variables come as a map, so that tests own them. An empty variable counts as
//! unset, as it did for both.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::{
    error::ConfigError,
    modules::ModuleVariables,
    settings::{DataKind, LogLevel, MetadataKind},
};
use crate::types::version_id::VersionIdEncoding;

/// Variables and their values. `Debug` shows the names only: some values are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Names of the variables that are set and not empty.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }

    /// What a variable says: yes, unless it is `false`, `no`, `off` or `0`.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| !["false", "no", "off", "0"].contains(&&*value.to_ascii_lowercase()))
    }

    /// Adds the assignments of a shell file such as `/run/secrets/s3-credentials`, which win over what is there.
    ///
    /// Understood are `NAME=value` and `export NAME=value`, the value bare or in single or double quotes.
    #[must_use]
    pub fn with_shell_file(mut self, text: &str) -> Self {
        for line in text.lines() {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            let Some((name, value)) = line.split_once('=') else { continue };
            let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if !name.is_empty() && name.bytes().all(word) {
                self.0.insert(name.to_owned(), shell_value(value));
            }
        }
        self
    }
}

fn shell_value(text: &str) -> String {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some((inside, _)) = text.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inside.to_owned();
        }
    }
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What the variables say, checked. `None` and empty lists: nothing was said.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent variable of the original")]
pub(super) struct Variables {
    /// `SCALITY_ACCESS_KEY_ID` and `SCALITY_SECRET_ACCESS_KEY`.
    pub(super) credentials: Option<(String, SecretString)>,
    /// `S3BACKEND`, `S3DATA`.
    pub(super) data: Option<DataKind>,
    /// `S3BACKEND`, `S3METADATA`.
    pub(super) metadata: Option<MetadataKind>,
    /// `S3DATAPATH`.
    pub(super) data_path: Option<PathBuf>,
    /// `S3METADATAPATH`.
    pub(super) metadata_path: Option<PathBuf>,
    /// `S3DATA_NOSYNC`.
    pub(super) no_sync: bool,
    /// `S3DATA_NOCACHE`.
    pub(super) no_cache: bool,
    /// `S3_VERSION_ID_ENCODING_TYPE`.
    pub(super) version_id_encoding: VersionIdEncoding,
    /// `MPU_TESTING`.
    pub(super) mpu_testing: bool,
    /// `ALLOW_PUBLIC_READ_BUCKETS`.
    pub(super) public_read_buckets: Vec<String>,
    /// `PRE_SIGN_URL_EXPIRY`.
    pub(super) presign_v2_max: Option<Duration>,
    /// `ENDPOINT`.
    pub(super) endpoints: Vec<String>,
    /// `SSL`.
    pub(super) ssl: bool,
    /// `LOG_LEVEL`.
    pub(super) log_level: Option<LogLevel>,
    /// `LISTEN_ADDR`.
    pub(super) listen_addr: Option<String>,
    /// `REPLICATION_GROUP_ID`.
    pub(super) replication_group: Option<String>,
    /// `HEALTHCHECKS_ALLOWFROM`.
    pub(super) health_allow_from: Option<String>,
    /// `REPORT_TOKEN`.
    pub(super) report_token: Option<SecretString>,
    /// `RECORDLOG_ENABLED`.
    pub(super) record_log: bool,
    /// `STORAGE_LIMIT_ENABLED`.
    pub(super) storage_limit: bool,
    /// `PRODUCTION`.
    pub(super) production: bool,
    /// Which parts this process is, and where the others are.
    pub(super) modules: ModuleVariables,
}

impl Variables {
    /// Reads and checks the variables; things worth telling go to `warnings`.
    pub(super) fn read(environment: &Environment, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let text = |name| environment.get(name).map(str::to_owned);
        let (data, metadata) = backends(environment)?;
        authentication(environment)?;
        let variables = Self {
            credentials: credentials(environment, warnings),
            data,
            metadata,
            data_path: text("S3DATAPATH").map(PathBuf::from),
            metadata_path: text("S3METADATAPATH").map(PathBuf::from),
            no_sync: environment.get("S3DATA_NOSYNC") == Some("true"),
            no_cache: environment.get("S3DATA_NOCACHE") == Some("true"),
            version_id_encoding: version_id_encoding(environment)?,
            mpu_testing: environment.get("MPU_TESTING") == Some("yes"),
            public_read_buckets: list(environment, "ALLOW_PUBLIC_READ_BUCKETS"),
            presign_v2_max: presign_v2_max(environment)?,
            endpoints: list(environment, "ENDPOINT"),
            ssl: environment.switch("SSL") == Some(true),
            log_level: log_level(environment, warnings),
            listen_addr: text("LISTEN_ADDR"),
            replication_group: text("REPLICATION_GROUP_ID"),
            health_allow_from: text("HEALTHCHECKS_ALLOWFROM"),
            report_token: text("REPORT_TOKEN").filter(|token| !token.is_empty()).map(SecretString::from),
            record_log: environment.get("RECORDLOG_ENABLED").is_some(),
            storage_limit: environment.get("STORAGE_LIMIT_ENABLED").is_some(),
            production: environment.switch("PRODUCTION") == Some(true),
            modules: ModuleVariables::read(environment)?,
        };
        if variables.ssl && variables.endpoints.is_empty() {
            return Err(refuse("SSL", "SSL needs ENDPOINT", "set ENDPOINT to the host name the certificate is for"));
        }
        time_factors(environment)?;
        Ok(variables)
    }
}

fn refuse(name: &str, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
    ConfigError::Environment { name: name.to_owned(), problem: problem.into(), remedy: remedy.into() }
}

fn list(environment: &Environment, name: &str) -> Vec<String> {
    let items = environment.get(name).unwrap_or_default().split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn credentials(environment: &Environment, warnings: &mut Vec<String>) -> Option<(String, SecretString)> {
    const NAMES: [&str; 2] = ["SCALITY_ACCESS_KEY_ID", "SCALITY_SECRET_ACCESS_KEY"];
    match NAMES.map(|name| environment.get(name)) {
        [Some(access), Some(secret)] => Some((access.to_owned(), SecretString::from(secret))),
        [None, None] => None,
        _ => {
            let [access, secret] = NAMES;
            warnings.push(format!("{access} and {secret} work together only: the accounts file is used"));
            None
        }
    }
}

/// `S3BACKEND` sets all; `S3DATA` and `S3METADATA` say it for one part and win.
fn backends(environment: &Environment) -> Result<(Option<DataKind>, Option<MetadataKind>), ConfigError> {
    let (mut data, mut metadata) = match environment.get("S3BACKEND") {
        None => (None, None),
        Some("mem") => (Some(DataKind::Memory), Some(MetadataKind::Memory)),
        Some("file") => (Some(DataKind::File), Some(MetadataKind::RocksDb)),
        Some(known @ ("scality" | "cdmi")) => return Err(unavailable("S3BACKEND", known)),
        Some(other) => return Err(ConfigError::Backend(other.to_owned())),
    };
    match environment.get("S3DATA") {
        None => {}
        Some("mem") => data = Some(DataKind::Memory),
        Some("file") => data = Some(DataKind::File),
        Some("multiple" | "scality") => data = Some(DataKind::Multiple),
        Some(other) => {
            let problem =
                format!("S3DATA environment variable should be one of mem/file/scality/multiple, not {other}");
            return Err(refuse("S3DATA", problem, "unset it for multiple"));
        }
    }
    match environment.get("S3METADATA") {
        None => {}
        Some("mem") => metadata = Some(MetadataKind::Memory),
        Some("file") => metadata = Some(MetadataKind::RocksDb),
        Some(other) => return Err(unavailable("S3METADATA", other)),
    }
    Ok((data, metadata))
}

/// Another store than the one asked for would hide the data that is there: that is no matter for a warning.
fn unavailable(name: &str, value: &str) -> ConfigError {
    refuse(name, format!("{name}={value} names a backend that this release does not have"), "set it to mem or file")
}

fn authentication(environment: &Environment) -> Result<(), ConfigError> {
    match environment.get("S3VAULT") {
        None | Some("mem" | "file" | "cdmi" | "multiple") => Ok(()),
        Some(other) => Err(unavailable("S3VAULT", other)),
    }
}

fn version_id_encoding(environment: &Environment) -> Result<VersionIdEncoding, ConfigError> {
    const NAME: &str = "S3_VERSION_ID_ENCODING_TYPE";
    match environment.get(NAME) {
        None | Some("hex") => Ok(VersionIdEncoding::Hex),
        Some("base62") => Ok(VersionIdEncoding::Base62),
        Some(other) => Err(refuse(NAME, format!("{NAME} must be hex or base62, not {other}"), "unset it for hex")),
    }
}

fn presign_v2_max(environment: &Environment) -> Result<Option<Duration>, ConfigError> {
    const NAME: &str = "PRE_SIGN_URL_EXPIRY";
    let Some(text) = environment.get(NAME) else { return Ok(None) };
    match text.parse() {
        Ok(millis) if millis > 0 => Ok(Some(Duration::from_millis(millis))),
        _ => {
            let problem = format!("{NAME} must be a positive number of milliseconds");
            Err(refuse(NAME, problem, "unset it for 604800000, seven days"))
        }
    }
}

/// The entrypoint refused a level it did not know with a message and went on, and so do we.
fn log_level(environment: &Environment, warnings: &mut Vec<String>) -> Option<LogLevel> {
    let text = environment.get("LOG_LEVEL")?;
    let level = text.parse().ok();
    if level.is_none() {
        warnings.push(format!("LOG_LEVEL={text} is ignored: write info, debug or trace"));
    }
    level
}

fn time_factors(environment: &Environment) -> Result<(), ConfigError> {
    const FACTOR: &str = "TIME_PROGRESSION_FACTOR";
    let Some(factor) = environment.get(FACTOR) else { return Ok(()) };
    if factor.parse::<u32>().is_err() {
        return Err(refuse(FACTOR, format!("{FACTOR} must be a positive integer"), "unset it for 1"));
    }
    for other in ["EXPIRE_ONE_DAY_EARLIER", "TRANSITION_ONE_DAY_EARLIER"] {
        if factor != "1" && environment.get(other).is_some() {
            return Err(refuse(FACTOR, format!("{FACTOR} and {other} exclude each other"), "unset one of them"));
        }
    }
    Ok(())
}
