//! What `check-config` shows.

use std::{fmt::Display, path::Path, time::Duration};

use super::table;
use crate::{
    config::{Config, DataKind, LocationKind, MetadataKind, all_warnings, facts},
    types::version_id::VersionIdEncoding,
};

/// The effective configuration as tables, without secrets, and the warnings.
pub fn report(config: &Config) -> String {
    let facts: Vec<_> = facts(config).into_iter().map(|(name, value)| [name.to_owned(), value]).collect();
    let mut text = section("Served", &table::render(["what", "where"], &facts));
    text.push_str(&section("Host names", &table::render(["host", "default location"], &endpoints(config))));
    text.push_str(&section("Locations", &table::render(LOCATION_HEADING, &locations(config))));
    text.push_str(&section("Accounts", &table::render(ACCOUNT_HEADING, &accounts(config))));
    text.push_str(&section("Settings", &table::render(["setting", "value"], &settings(config))));
    let warnings = all_warnings(config);
    if warnings.is_empty() {
        text.push_str("No warnings.\n");
    } else {
        let lines: Vec<_> = warnings.into_iter().map(|warning| [warning]).collect();
        text.push_str(&section("Warnings", &table::lines(&lines)));
    }
    text.push_str("The server would start with this configuration.\n");
    text
}

const LOCATION_HEADING: [&str; 5] = ["name", "type", "keeps data in", "durability", "notes"];
const ACCOUNT_HEADING: [&str; 4] = ["name", "id", "email", "access keys"];

fn section(title: &str, body: &str) -> String {
    format!("{title}\n{body}\n")
}

fn endpoints(config: &Config) -> Vec<[String; 2]> {
    let rest = config.rest_endpoints.iter().map(|(host, location)| [host.clone(), location.clone()]);
    rest.chain(config.website_endpoints.iter().map(|host| [host.clone(), "(websites)".to_owned()])).collect()
}

fn locations(config: &Config) -> Vec<[String; 5]> {
    let row = |place: &crate::config::Location| {
        let notes = [
            (place.legacy_aws_behavior, "legacy AWS behaviour"),
            (place.is_transient, "transient"),
            (place.is_cold, "cold: no buckets"),
            (!place.kind.is_implemented(), "not served by this release"),
        ];
        let notes: Vec<_> = notes.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note).collect();
        [
            place.name.clone(),
            place.kind.to_string(),
            keeps_data_in(config, place.kind),
            place.durability.to_string(),
            notes.join(", "),
        ]
    };
    config.locations.iter().map(|place| row(place)).collect()
}

fn keeps_data_in(config: &Config, kind: LocationKind) -> String {
    match (config.data, kind) {
        (DataKind::Memory, _) | (DataKind::Multiple, LocationKind::Mem) => "memory".to_owned(),
        (DataKind::File, _) | (DataKind::Multiple, LocationKind::File) => match &config.modules.data_client {
            Some(module) => format!("data module {module}"),
            None => config.data_path.display().to_string(),
        },
        (DataKind::Multiple, _) => "-".to_owned(),
    }
}

fn accounts(config: &Config) -> Vec<[String; 4]> {
    let row = |account: &crate::config::Account| {
        let keys = config.accounts.access_keys_of(account).join(" ");
        let keys = if keys.is_empty() { "(none that can sign)".to_owned() } else { keys };
        [account.name.clone(), account.short_id.clone(), account.email.clone(), keys]
    };
    config.accounts.iter().map(|account| row(account)).collect()
}

fn settings(config: &Config) -> Vec<[String; 2]> {
    let limits = &config.limits;
    let rate = &limits.body_min_rate;
    let rows: [(&str, String); 26] = [
        ("data folder", folder(config.data != DataKind::Memory, &config.data_path)),
        ("metadata folder", folder(config.metadata == MetadataKind::RocksDb, &config.metadata_path)),
        ("lease on folders", format!("{}, {}", config.lease.mode.as_str(), seconds(config.lease.time))),
        ("TLS", tls(config)),
        ("log", format!("{} ({}), dump at {}", config.log.level, config.log.format.as_str(), config.log.dump_level)),
        ("health checks from", join(&config.health_allow_from)),
        ("client address", proxies(config)),
        ("region", config.region.clone().unwrap_or_else(|| "any".to_owned())),
        ("SigV2", yes_no(config.sigv2)),
        ("production", yes_no(config.production)),
        ("version ids", format!("{}, group {}", encoding(config), config.replication_group)),
        ("inline bodies", format!("up to {} bytes", config.inline_threshold)),
        ("journal", format!("{}, {} entries", config.record_log.name, config.journal_max_entries)),
        ("keys deleted at a time", config.multi_object_delete_concurrency.to_string()),
        ("object tags", config.compat.max_object_tags.to_string()),
        ("dialect", config.compat.dialect.as_str().to_owned()),
        ("public buckets", join(&config.allow_public_read_buckets)),
        ("multipart testing", yes_no(config.mpu_testing)),
        ("connections", limits.connections.to_string()),
        ("requests", format!("{}, of one key {}", limits.requests_in_flight, limits.requests_per_access_key)),
        ("request head", head(config)),
        ("idle connection", seconds(limits.keep_alive_idle)),
        ("slowest body", format!("{} bytes/s over {}", rate.bytes_per_second, seconds(rate.window))),
        ("silent client", format!("{} sending, {} reading", seconds(limits.body_idle), seconds(limits.response_idle))),
        ("TLS handshake", seconds(limits.tls_handshake)),
        ("grace at stop", seconds(config.shutdown_grace)),
    ];
    rows.map(|(name, value)| [name.to_owned(), value]).into()
}

fn head(config: &Config) -> String {
    let limits = &config.limits;
    format!(
        "{} bytes, {} fields, target {} bytes, within {}",
        limits.header_bytes,
        limits.headers,
        limits.target_bytes,
        seconds(limits.header_timeout)
    )
}

fn folder(used: bool, path: &Path) -> String {
    if !used {
        return "none: in memory".to_owned();
    }
    let state = match path.try_exists() {
        Ok(true) => "is there",
        Ok(false) => "will be made",
        Err(_) => "cannot be looked at: check the permissions of its parents",
    };
    format!("{} ({state})", path.display())
}

fn tls(config: &Config) -> String {
    match (&config.tls, &config.ssl_generate) {
        (Some(files), _) => format!("certificate {}, key {}", files.cert.display(), files.key.display()),
        (None, Some(generate)) => format!("made for {} in {}", generate.host, generate.folder.display()),
        (None, None) => "off".to_owned(),
    }
}

fn proxies(config: &Config) -> String {
    config.trusted_proxies.as_ref().map_or_else(
        || "the socket's peer".to_owned(),
        |proxies| format!("{} if the peer is in {}", proxies.header, join(&proxies.networks)),
    )
}

fn encoding(config: &Config) -> &'static str {
    match config.version_id_encoding {
        VersionIdEncoding::Hex => "hex",
        VersionIdEncoding::Base62 => "base62",
    }
}

fn join(items: &[impl Display]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn yes_no(flag: bool) -> String {
    (if flag { "yes" } else { "no" }).to_owned()
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}
