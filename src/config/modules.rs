//! Which parts of the server this process is, and where the others are.
//!
//! The original ran its data and metadata daemons beside each front and let `DATA_HOST` and `METADATA_HOST` point to
//! others. Its shipped file names `localhost` for both, so here a file alone switches nothing on: the variables do,
//! or the role `front`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use secrecy::SecretString;
use serde_json::Value;

use super::{
    env::Environment,
    error::{ConfigError, Rule, rule},
    fields::Fields,
    later::{address_and_port, host_and_port},
    listen::loopback,
    settings::UnknownWord,
};

/// Port of a data module.
const DATA_PORT: u16 = 9991;
/// Port of a metadata module.
const METADATA_PORT: u16 = 9990;

/// Which parts of the server a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// S3, data and metadata in one process; no module listens.
    #[default]
    All,
    /// S3, over a data module and a metadata module elsewhere.
    Front,
    /// A data module.
    Data,
    /// A metadata module.
    Metadata,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::All, Self::Front, Self::Data, Self::Metadata];

    /// The word in files, variables and arguments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Front => "front",
            Self::Data => "data",
            Self::Metadata => "metadata",
        }
    }
}

impl Role {
    /// Whether the process serves S3.
    pub const fn is_front(self) -> bool {
        matches!(self, Self::All | Self::Front)
    }
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or(UnknownWord::of("all, front, data, metadata"))
    }
}

/// Where a module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleAddress {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for ModuleAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The role of this process, and its ways to other modules.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// `--role`, `CLOUDSERVER_ROLE`, `cloudserver.role`: which parts this process is. Default all.
    pub role: Role,
    /// The data module in place of the data folder (`DATA_HOST`, `dataClient`). Default none.
    pub data_client: Option<ModuleAddress>,
    /// The metadata module in place of the metadata folder (`METADATA_HOST`, `metadataClient`). Default none.
    pub metadata_client: Option<ModuleAddress>,
    /// Where a data module listens (`dataDaemon`, `LISTEN_ADDR`). Default port 9991 of this machine only.
    pub data_listen: Vec<SocketAddr>,
    /// Where a metadata module listens (`metadataDaemon`, `LISTEN_ADDR`). Default port 9990 of this machine only.
    pub metadata_listen: Vec<SocketAddr>,
    /// `CLOUDSERVER_MODULE_TOKEN`, `cloudserver.moduleToken`: what modules and fronts know each other by. Default
    /// none, as in the original.
    pub token: Option<SecretString>,
}

/// What `config.json` says of modules.
#[derive(Clone, Debug)]
pub(super) struct ModuleFile {
    data_client: ModuleAddress,
    metadata_client: ModuleAddress,
    data_listen: Vec<SocketAddr>,
    metadata_listen: Vec<SocketAddr>,
}

/// What variables say of modules.
#[derive(Clone, Debug, Default)]
pub(super) struct ModuleVariables {
    /// `CLOUDSERVER_ROLE`.
    role: Option<Role>,
    /// `DATA_HOST`.
    data_host: Option<String>,
    /// `METADATA_HOST`.
    metadata_host: Option<String>,
    /// `CLOUDSERVER_MODULE_TOKEN`.
    token: Option<SecretString>,
}

/// What decides, best first.
pub(super) struct Wishes<'a> {
    /// `--role`.
    pub(super) argument: Option<Role>,
    pub(super) variables: &'a ModuleVariables,
    /// `LISTEN_ADDR`.
    pub(super) listen_addr: Option<IpAddr>,
    pub(super) file: ModuleFile,
    /// `cloudserver.role`.
    pub(super) own_role: Option<Role>,
    /// `cloudserver.moduleToken`.
    pub(super) own_token: Option<SecretString>,
}

const BIND: Rule =
    rule("bindAddress must be localhost or an IP address", "write \"localhost\", or \"0.0.0.0\" for all");

impl ModuleFile {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, ConfigError> {
        Ok(Self {
            data_client: client(fields, "dataClient", DATA_PORT)?,
            metadata_client: client(fields, "metadataClient", METADATA_PORT)?,
            data_listen: daemon(fields, "dataDaemon", DATA_PORT)?,
            metadata_listen: daemon(fields, "metadataDaemon", METADATA_PORT)?,
        })
    }
}

fn client(fields: &mut Fields, key: &str, port: u16) -> Result<ModuleAddress, ConfigError> {
    let Some(value) = fields.raw(key) else { return Ok(ModuleAddress { host: "localhost".to_owned(), port }) };
    host_and_port(&value).map_err(|rule| fields.refuse(key, rule))?;
    Ok(ModuleAddress { host: bare(text(&value, "host")).to_owned(), port: number(&value).unwrap_or(port) })
}

/// The original's metadata daemon has more keys, for a debugging interface: they are of no use here.
fn daemon(fields: &mut Fields, key: &str, port: u16) -> Result<Vec<SocketAddr>, ConfigError> {
    let Some(value) = fields.raw(key) else { return Ok(loopback(port)) };
    address_and_port(&value).map_err(|rule| fields.refuse(key, rule))?;
    let port = number(&value).unwrap_or(port);
    match bare(text(&value, "bindAddress")) {
        "localhost" => Ok(loopback(port)),
        ip => Ok(vec![SocketAddr::new(ip.parse().map_err(|_| fields.refuse(key, BIND))?, port)]),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value) -> Option<u16> {
    let port = value.get("port")?;
    port.as_u64().and_then(|port| port.try_into().ok()).or_else(|| port.as_str()?.parse().ok())
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

impl ModuleVariables {
    pub(super) fn read(environment: &Environment) -> Result<Self, ConfigError> {
        const ROLE: &str = "CLOUDSERVER_ROLE";
        let text = |name| environment.get(name).map(str::to_owned);
        let role = environment.get(ROLE).map(|text| {
            text.parse().map_err(|_| ConfigError::Environment {
                name: ROLE.to_owned(),
                problem: format!("{ROLE} must be all, front, data or metadata, not {text}"),
                remedy: "unset it for all".to_owned(),
            })
        });
        Ok(Self {
            role: role.transpose()?,
            data_host: text("DATA_HOST"),
            metadata_host: text("METADATA_HOST"),
            token: text("CLOUDSERVER_MODULE_TOKEN").map(SecretString::from),
        })
    }
}

impl ModuleVariables {
    /// `CLOUDSERVER_ROLE`.
    pub(super) fn role(&self) -> Option<Role> {
        self.role
    }
}

impl Modules {
    pub(super) fn decide(wishes: Wishes<'_>) -> Self {
        let Wishes { argument, variables, listen_addr, file, own_role, own_token } = wishes;
        let role = argument.or(variables.role).or(own_role).unwrap_or_default();
        let listen = |addresses: Vec<SocketAddr>| match (listen_addr, addresses.first()) {
            (Some(ip), Some(first)) => vec![SocketAddr::new(ip, first.port())],
            _ => addresses,
        };
        Self {
            role,
            data_client: away(role, variables.data_host.as_deref(), file.data_client),
            metadata_client: away(role, variables.metadata_host.as_deref(), file.metadata_client),
            data_listen: listen(file.data_listen),
            metadata_listen: listen(file.metadata_listen),
            token: variables.token.clone().or(own_token),
        }
    }
}

/// The module to go to, if this process does not do it by itself.
fn away(role: Role, variable: Option<&str>, file: ModuleAddress) -> Option<ModuleAddress> {
    match (role, variable) {
        (Role::Data | Role::Metadata, _) | (Role::All, None) => None,
        (Role::Front, None) => Some(file),
        (Role::All | Role::Front, Some(host)) => Some(named(host, file.port)),
    }
}

/// A variable's host, with or without a port of its own.
fn named(text: &str, port: u16) -> ModuleAddress {
    let with_port = text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.starts_with('['));
    match with_port.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => ModuleAddress { host: bare(host).to_owned(), port },
        None => ModuleAddress { host: bare(text).to_owned(), port },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_bring_a_port() {
        let shown = |text| named(text, 1).to_string();
        assert_eq!(shown("data"), "data:1");
        assert_eq!(shown("data:7"), "data:7");
        assert_eq!(shown("10.0.0.1:7"), "10.0.0.1:7");
        assert_eq!(shown("::1"), "[::1]:1");
        assert_eq!(shown("[::1]:7"), "[::1]:7");
        assert_eq!(shown("[::1]"), "[::1]:1");
    }
}
