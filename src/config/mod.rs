//! Configuration: files, environment, accounts and locations, checked once at start.
//!
//! Three files and the environment of the original CloudServer are read with the same names, defaults and start-up
//! errors; this server's own settings live under `cloudserver` in `config.json`. The result is a [`Config`] of
//! durations, sizes and addresses that nobody has to check again. Accounts, locations and endpoints can be read anew
//! while the server runs ([`Config::reload`]).
//!
//! Order of precedence: arguments, variables, files, defaults. Only [`Launch::of_process`] asks the process anything.

mod authdata;
mod banner;
mod env;
mod error;
mod fields;
mod file;
mod health;
mod kms;
mod later;
mod launch;
mod lease;
mod limits;
mod listen;
mod load;
mod location_details;
mod locations;
mod migration;
mod modules;
mod outbound;
mod reload;
mod settings;
mod sources;
mod store_details;

pub use authdata::{Account, Accounts};
pub use banner::{all_warnings, banner, facts, shared_credentials};
pub use env::Environment;
pub use error::ConfigError;
pub use health::LocationWatch;
pub use kms::{KmsKind, KmsSettings, Token, VaultSettings};
pub use launch::{Launch, Options};
pub use lease::{LeaseMode, LeaseSettings};
pub use limits::{Limits, MinRate};
pub use location_details::permissions;
pub use locations::{DEFAULT_LOCATION, Details, Durability, Location, LocationKind, Locations};
pub use migration::{Migration, OldCredentials, OldServer};
pub use modules::{ModuleAddress, Modules, Role};
pub use outbound::{HttpAgent, Outbound};
pub use reload::{Reloadable, Reloaded};
pub use settings::{
    AccessLogDelivery, Compat, Config, DataKind, InventoryReports, ListenOrigin, LogFormat, LogLevel, LogSettings,
    MetadataKind, RecordLog, SslGenerate, TlsFiles, TrustedProxies, UnknownWord,
};

#[cfg(test)]
mod tests;
