//! What the operator should know at a glance: what is served, where data is, how safe it is, and who can get in.

use std::{fmt::Write, net::SocketAddr};

use super::{
    kms::KmsKind,
    locations::Durability,
    modules::Role,
    settings::{Config, DataKind, ListenOrigin, MetadataKind},
};

/// The lines shown at start: a title, aligned facts, and warnings.
pub fn banner(config: &Config) -> String {
    let mut text = format!("cloudserver {}\n", env!("CARGO_PKG_VERSION"));
    let facts = facts(config);
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in facts {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {name:width$}  {value}");
    }
    for warning in all_warnings(config) {
        let _ = writeln!(text, "WARNING: {warning}");
    }
    text
}

/// Names and values of the facts shown at start.
pub fn facts(config: &Config) -> Vec<(&'static str, String)> {
    let admin = ("admin", format!("{} (/live, /ready, /metrics)", addresses(config, &config.admin_listen)));
    let token = if config.modules.token.is_some() { "by the module token" } else { "open to all who reach it" };
    let module = |addresses: &[SocketAddr]| ("module", format!("{}, {token}", plain(addresses)));
    match config.modules.role {
        Role::Data => vec![
            ("role", "data module".to_owned()),
            module(&config.modules.data_listen),
            admin,
            ("data", data(config)),
            ("durability", durability(config)),
            ("configuration", config.source.clone()),
        ],
        Role::Metadata => vec![
            ("role", "metadata module".to_owned()),
            module(&config.modules.metadata_listen),
            admin,
            ("metadata", metadata(config)),
            ("configuration", config.source.clone()),
        ],
        Role::All | Role::Front => front_facts(config, admin),
    }
}

fn front_facts(config: &Config, admin: (&'static str, String)) -> Vec<(&'static str, String)> {
    vec![
        ("S3", s3(config)),
        admin,
        ("data", data(config)),
        ("metadata", metadata(config)),
        ("durability", durability(config)),
        ("keys", keys(config)),
        ("configuration", config.source.clone()),
        ("accounts", format!("{} from {}", config.accounts.iter().count(), config.accounts.source())),
        ("locations", format!("{} from {}", config.locations.iter().count(), config.locations.source())),
    ]
}

/// The warnings of the files and variables, and those about the whole: credentials, durability, encryption.
pub fn all_warnings(config: &Config) -> Vec<String> {
    let mut warnings: Vec<String> = shared_credentials(config).into_iter().collect();
    warnings.extend(config.warnings.iter().cloned());
    if config.kms.kind == KmsKind::Memory && config.metadata == MetadataKind::RocksDb {
        let lost = "what is encrypted cannot be read after the next start";
        warnings.push(format!("the keys of encrypted objects are in memory (S3KMS or cloudserver.kms): {lost}"));
    }
    warnings
}

/// The line about secrets that everybody knows, where there are such.
pub fn shared_credentials(config: &Config) -> Option<String> {
    let keys = config.accounts.well_known_access_keys().join(", ");
    if keys.is_empty() || !config.modules.role.is_front() {
        return None;
    }
    let listens = match config.listen_origin {
        ListenOrigin::Loopback => {
            "So the server listens on this machine only; listenOn, LISTEN_ADDR or --listen opens it. "
        }
        ListenOrigin::Configured | ListenOrigin::Everywhere => "",
    };
    Some(format!(
        "the secrets of access keys {keys} are public knowledge ({}). {listens}Set SCALITY_ACCESS_KEY_ID and \
         SCALITY_SECRET_ACCESS_KEY, or name an accounts file of your own in S3AUTH_CONFIG",
        config.accounts.source()
    ))
}

fn s3(config: &Config) -> String {
    let note = match config.listen_origin {
        ListenOrigin::Configured => "",
        ListenOrigin::Everywhere => " (every interface)",
        ListenOrigin::Loopback => " (this machine only)",
    };
    format!("{}{note}", addresses(config, &config.listen))
}

fn addresses(config: &Config, addresses: &[SocketAddr]) -> String {
    let scheme = if config.tls.is_some() || config.ssl_generate.is_some() { "https" } else { "http" };
    addresses.iter().map(|address| format!("{scheme}://{address}")).collect::<Vec<_>>().join(" ")
}

fn plain(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|address| format!("http://{address}")).collect::<Vec<_>>().join(" ")
}

fn data(config: &Config) -> String {
    let folder = match &config.modules.data_client {
        Some(module) => format!("the data module at {module}"),
        None => config.data_path.display().to_string(),
    };
    match config.data {
        DataKind::Memory => "memory of this process".to_owned(),
        DataKind::File => format!("{folder} (every location)"),
        DataKind::Multiple => format!("{folder} (locations of type file)"),
    }
}

fn metadata(config: &Config) -> String {
    match (config.metadata, &config.modules.metadata_client) {
        (MetadataKind::Memory, _) => "memory of this process".to_owned(),
        (MetadataKind::RocksDb, Some(module)) => format!("the metadata module at {module}"),
        (MetadataKind::RocksDb, None) => format!("{} (RocksDB)", config.metadata_path.display()),
    }
}

fn keys(config: &Config) -> String {
    let vault = config.kms.vault.as_ref().map(|vault| vault.address.as_str()).unwrap_or_default();
    let place = match config.kms.kind {
        KmsKind::Memory => "memory of this process".to_owned(),
        KmsKind::File => config.master_key_file().display().to_string(),
        KmsKind::Vault => format!("{vault} (transit)"),
    };
    let when = if config.global_encryption { "; new buckets encrypt their objects" } else { "" };
    format!("{place}{when}")
}

fn durability(config: &Config) -> String {
    let kept = config.metadata != MetadataKind::Memory && config.data != DataKind::Memory;
    if config.modules.data_client.is_some() && kept {
        return "as the data module says".to_owned();
    }
    if !kept {
        return "none: what is in memory is gone when the server ends".to_owned();
    }
    let relaxed: Vec<_> = config.locations.iter().filter(|place| place.durability == Durability::Relaxed).collect();
    if relaxed.is_empty() {
        return "strict: what was acknowledged survives a power cut".to_owned();
    }
    if relaxed.len() == config.locations.iter().count() {
        return "relaxed: a power cut may lose what was acknowledged".to_owned();
    }
    let names: Vec<_> = relaxed.iter().map(|place| place.name.as_str()).collect();
    format!("strict, but relaxed (a power cut may lose what was acknowledged) in {}", names.join(", "))
}
