//! `config.json`, name for name: each setting with its rule in the original's words.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;
use serde_json::Value;

use super::{
    env::Environment,
    error::{ConfigError, Rule, rule},
    fields::Fields,
    health::LocationWatch,
    kms::KmsSettings,
    later,
    lease::LeaseSettings,
    limits::Limits,
    listen,
    migration::Migration,
    modules::{ModuleFile, Role},
    outbound::Outbound,
    settings::{AccessLogDelivery, Compat, InventoryReports, LogFormat, LogLevel, RecordLog, TrustedProxies},
};
use crate::types::Dialect;

/// What `config.json` says; names as there, absent settings with their defaults.
#[derive(Clone, Debug)]
pub(super) struct ConfigFile {
    /// `port`: 8000.
    pub(super) port: u16,
    /// `listenOn`: none.
    pub(super) listen_on: Vec<SocketAddr>,
    /// `metricsPort`: 8002.
    pub(super) metrics_port: u16,
    /// `metricsListenOn`: none.
    pub(super) metrics_listen_on: Vec<SocketAddr>,
    /// `replicationGroupId`: `RG001`.
    pub(super) replication_group_id: String,
    /// `restEndpoints`: required.
    pub(super) rest_endpoints: BTreeMap<String, String>,
    /// `websiteEndpoints`: none.
    pub(super) website_endpoints: Vec<String>,
    /// `recordLog`.
    pub(super) record_log: RecordLog,
    /// `log.logLevel` and `log.dumpLevel`: debug and error.
    pub(super) log_levels: (LogLevel, LogLevel),
    /// `healthChecks.allowFrom`: none.
    pub(super) allow_from: Vec<IpNet>,
    /// `reportToken`: none.
    pub(super) report_token: Option<SecretString>,
    /// `certFilePaths`: none. Relative names count from the install root.
    pub(super) cert_file_paths: Option<CertFilePaths>,
    /// `requests`: nobody.
    pub(super) trusted_proxies: Option<TrustedProxies>,
    /// `multiObjectDeleteConcurrency`: 50.
    pub(super) multi_object_delete_concurrency: usize,
    /// Whether `utapi.metrics` has `location`.
    pub(super) location_metrics: bool,
    /// `globalEncryptionEnabled`: false.
    pub(super) global_encryption: bool,
    /// Names in `replicationEndpoints`.
    pub(super) replication_sites: Vec<String>,
    /// Names in `bucketNotificationDestinations`.
    pub(super) notification_targets: Vec<String>,
    /// Modules of this server.
    pub(super) modules: ModuleFile,
    /// `outboundProxy`, `externalBackends` and their variables.
    pub(super) outbound: Outbound,
    /// `cloudserver`: this server's own settings.
    pub(super) own: Own,
}

/// `certFilePaths`, as written.
#[derive(Clone, Debug)]
pub(super) struct CertFilePaths {
    pub(super) key: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) ca: Option<PathBuf>,
}

/// `cloudserver`: settings that the original does not have.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// `region`: any.
    pub(super) region: Option<String>,
    /// `signatureV2`: true.
    pub(super) signature_v2: bool,
    /// `production`: false.
    pub(super) production: bool,
    /// `shutdownGraceSeconds`: 30.
    pub(super) shutdown_grace: Duration,
    /// `inlineThresholdBytes`: 65536.
    pub(super) inline_threshold: u64,
    /// `journalMaxEntries`: 1000000.
    pub(super) journal_max_entries: u64,
    /// `logFormat`: auto.
    pub(super) log_format: LogFormat,
    /// `compat`.
    pub(super) compat: Compat,
    /// `accessLogs`.
    pub(super) access_logs: AccessLogDelivery,
    /// `inventory`.
    pub(super) inventory: InventoryReports,
    /// `migration`.
    pub(super) migration: Migration,
    /// `health`.
    pub(super) health: LocationWatch,
    /// `limits`.
    pub(super) limits: Limits,
    /// `kms`.
    pub(super) kms: KmsSettings,
    /// `requireTlsForSseC`: false.
    pub(super) require_tls_for_sse_c: bool,
    /// `lease`.
    pub(super) lease: LeaseSettings,
    /// `role`: all.
    pub(super) role: Option<Role>,
    /// `moduleToken`: none.
    pub(super) module_token: Option<SecretString>,
}

impl ConfigFile {
    /// Reads and checks the file's text; things worth telling go to `warnings`.
    pub(super) fn read(
        label: &str,
        text: &str,
        environment: &Environment,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let mut fields = Fields::parse(label, text)?;
        later::refuse_retired(&mut fields)?;
        let file = Self {
            port: port(&mut fields, "port", PORT)?.unwrap_or(8000),
            listen_on: listen::take_list(&mut fields, listen::LISTEN_ON)?,
            metrics_port: port(&mut fields, "metricsPort", METRICS_PORT)?.unwrap_or(8002),
            metrics_listen_on: listen::take_list(&mut fields, listen::METRICS_LISTEN_ON)?,
            replication_group_id: fields.take("replicationGroupId", GROUP)?.unwrap_or_else(|| "RG001".to_owned()),
            rest_endpoints: rest_endpoints(&mut fields)?,
            website_endpoints: website_endpoints(&mut fields)?,
            record_log: record_log(&mut fields, warnings)?,
            log_levels: log_levels(&mut fields, warnings)?,
            allow_from: allow_from(&mut fields, warnings)?,
            report_token: report_token(&mut fields)?,
            cert_file_paths: cert_file_paths(&mut fields, warnings)?,
            trusted_proxies: trusted_proxies(&mut fields, warnings)?,
            multi_object_delete_concurrency: delete_concurrency(&mut fields),
            location_metrics: later::has_location_metrics(&fields),
            global_encryption: later::global_encryption(&mut fields)?,
            modules: ModuleFile::read(&mut fields)?,
            outbound: Outbound::read(&mut fields, environment)?,
            own: Own::read(fields.section("cloudserver")?, environment, warnings)?,
            replication_sites: later::names(&fields, "replicationEndpoints", "site"),
            notification_targets: later::names(&fields, "bucketNotificationDestinations", "resource"),
        };
        later::check(&mut fields, warnings)?;
        fields.finish(warnings);
        Ok(file)
    }
}

impl Own {
    fn read(mut fields: Fields, environment: &Environment, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let own = Self {
            region: fields.take("region", rule("cloudserver.region must be a string", "remove it to accept any"))?,
            signature_v2: fields.take("signatureV2", SWITCH)?.unwrap_or(true),
            production: fields.take("production", SWITCH)?.unwrap_or(false),
            shutdown_grace: Duration::from_secs(u64::from(
                fields.take("shutdownGraceSeconds", SECONDS)?.unwrap_or(30_u32),
            )),
            inline_threshold: inline_threshold(&mut fields)?,
            journal_max_entries: fields.take("journalMaxEntries", ENTRIES)?.map_or(1_000_000, NonZeroU64::get),
            log_format: word(&mut fields, "logFormat", LOG_FORMAT)?.unwrap_or_default(),
            compat: compat(fields.section("compat")?, warnings)?,
            access_logs: access_logs(fields.section("accessLogs")?, warnings)?,
            inventory: inventory(fields.section("inventory")?, warnings)?,
            migration: Migration::read(fields.section("migration")?, warnings)?,
            health: LocationWatch::read(fields.section("health")?, warnings)?,
            limits: Limits::read(fields.section("limits")?, warnings)?,
            kms: KmsSettings::read(fields.section("kms")?, environment, warnings)?,
            require_tls_for_sse_c: fields.take("requireTlsForSseC", SWITCH)?.unwrap_or(false),
            lease: LeaseSettings::read(fields.section("lease")?, warnings)?,
            role: word(&mut fields, "role", ROLE)?,
            module_token: module_token(&mut fields)?,
        };
        fields.finish(warnings);
        Ok(own)
    }
}

/// Bodies larger than this would make metadata batches too heavy to commit in a group.
const INLINE_MAX: u64 = 1 << 20;

const PORT: Rule = rule("port must be a positive integer", "write \"port\": 8000");
const METRICS_PORT: Rule = rule("metricsPort must be a positive integer", "write \"metricsPort\": 8002");
const GROUP: Rule = rule("replicationGroupId must be a string", "write \"replicationGroupId\": \"RG001\"");
const REPORT_TOKEN: Rule = rule("reportToken must be a string", "write it in quotes");
const SWITCH: Rule = rule("a switch must be a boolean", "write true or false");
const SECONDS: Rule = rule("a time must be a whole number of seconds", "remove the key for the default");
const ENTRIES: Rule = rule("journalMaxEntries must be a positive integer", "remove it for 1000000");
const INLINE: Rule = rule("inlineThresholdBytes must be an integer from 0 to 1048576", "remove it for 65536");
const DELIVERY: Rule = rule("deliverySeconds must be a positive integer", "remove it for 300");
const LINES: Rule = rule("linesPerObject must be an integer from 1 to 100000", "remove it for 10000");
const LOOK: Rule = rule("lookSeconds must be a positive integer", "remove it for 600");
const PERIOD: Rule = rule("periodSeconds must be a positive integer", "remove it to write reports daily or weekly");
const ROWS: Rule = rule("rowsPerFile must be an integer from 1 to 5000000", "remove it for 1000000");
const LEVEL: Rule = rule("log levels must be one of trace, debug, info, warn, error, fatal", "write \"info\"");
const LOG_FORMAT: Rule = rule("logFormat must be one of auto, json, pretty", "remove it for auto");
const ROLE: Rule = rule("role must be one of all, front, data, metadata", "remove it for all");
const MODULE_TOKEN: Rule = rule("moduleToken must be a string", "write a long random text, or remove it for none");
const TAGS: Rule = rule("maxObjectTags must be 10 or 50", "remove it for 10");
const DIALECT: Rule = rule("dialect must be \"aws\" or \"ceph\"", "remove it for \"aws\"");
const ENDPOINTS: Rule =
    rule("restEndpoints must be an object of endpoints", "write \"restEndpoints\": {\"localhost\": \"us-east-1\"}");
const WEBSITES: Rule = rule("websiteEndpoints must be a list of strings", "write host names in quotes");
const RECORD_LOG: Rule = rule("recordLog.recordLogName must be a string", "write \"s3-recordlog\"");
const ALLOW_FROM: Rule =
    rule("healthChecks.allowFrom must be a list of CIDR strings", "write [\"127.0.0.1/8\", \"::1\"]");
const CERTS: Rule = rule(
    "both certFilePaths.key and certFilePaths.cert must be defined",
    "write {\"key\": \"./server.key\", \"cert\": \"./server.crt\"}",
);
const CERT_CA: Rule = rule("certFilePaths.ca must be a string", "write the name of a PEM file, or remove it");
const PROXIES: Rule = rule(
    "requests.trustedProxyCIDRs must be a list of CIDR strings when requests.viaProxy is true",
    "write the proxies' addresses, such as [\"10.0.0.0/8\"]",
);
const PROXY_HEADER: Rule = rule(
    "requests.extractClientIPFromHeader must be a header name when requests.viaProxy is true",
    "write \"x-forwarded-for\"",
);

fn port(fields: &mut Fields, key: &str, rule: Rule) -> Result<Option<u16>, ConfigError> {
    Ok(fields.take::<NonZeroU16>(key, rule)?.map(NonZeroU16::get))
}

/// Takes a word out of a few.
fn word<T: FromStr>(fields: &mut Fields, key: &str, rule: Rule) -> Result<Option<T>, ConfigError> {
    let text: Option<String> = fields.take(key, rule)?;
    text.map(|text| text.parse().map_err(|_| fields.refuse(key, rule))).transpose()
}

fn rest_endpoints(fields: &mut Fields) -> Result<BTreeMap<String, String>, ConfigError> {
    let endpoints: Option<BTreeMap<String, String>> = fields.take("restEndpoints", ENDPOINTS)?;
    let endpoints = endpoints.ok_or_else(|| fields.refuse("restEndpoints", ENDPOINTS))?;
    Ok(endpoints.into_iter().map(|(host, location)| (host.to_ascii_lowercase(), location)).collect())
}

fn website_endpoints(fields: &mut Fields) -> Result<Vec<String>, ConfigError> {
    let hosts: Vec<String> = fields.take("websiteEndpoints", WEBSITES)?.unwrap_or_default();
    Ok(hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect())
}

fn record_log(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<RecordLog, ConfigError> {
    let mut section = fields.section("recordLog")?;
    let enabled = section.take("enabled", SWITCH)?.unwrap_or(false);
    let name = section.take("recordLogName", RECORD_LOG)?.unwrap_or_else(|| "s3-recordlog".to_owned());
    section.finish(warnings);
    Ok(RecordLog { enabled, name })
}

fn log_levels(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<(LogLevel, LogLevel), ConfigError> {
    let mut section = fields.section("log")?;
    let level = word(&mut section, "logLevel", LEVEL)?.unwrap_or(LogLevel::Debug);
    let dump = word(&mut section, "dumpLevel", LEVEL)?.unwrap_or(LogLevel::Error);
    section.finish(warnings);
    Ok((level, dump))
}

fn report_token(fields: &mut Fields) -> Result<Option<SecretString>, ConfigError> {
    let token: Option<String> = fields.take("reportToken", REPORT_TOKEN)?;
    Ok(token.filter(|token| !token.is_empty()).map(SecretString::from))
}

fn module_token(fields: &mut Fields) -> Result<Option<SecretString>, ConfigError> {
    let token: Option<String> = fields.take("moduleToken", MODULE_TOKEN)?;
    Ok(token.filter(|token| !token.is_empty()).map(SecretString::from))
}

fn allow_from(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<Vec<IpNet>, ConfigError> {
    let mut section = fields.section("healthChecks")?;
    let texts: Vec<String> = section.take("allowFrom", ALLOW_FROM)?.unwrap_or_default();
    let found = texts.iter().map(|text| network(text)).collect::<Option<_>>();
    let found = found.ok_or_else(|| section.refuse("allowFrom", ALLOW_FROM))?;
    section.finish(warnings);
    Ok(found)
}

/// A network as `address/bits`, or a single address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| IpNet::from(ip)))
}

fn cert_file_paths(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<Option<CertFilePaths>, ConfigError> {
    let Some(value) = fields.raw("certFilePaths") else { return Ok(None) };
    let Value::Object(map) = value else { return Err(fields.refuse("certFilePaths", CERTS)) };
    let mut section = Fields::of(fields.file(), "certFilePaths".to_owned(), map);
    let (key, cert) = (section.take("key", CERTS)?, section.take("cert", CERTS)?);
    let (Some(key), Some(cert)) = (key, cert) else { return Err(fields.refuse("certFilePaths", CERTS)) };
    let ca = section.take("ca", CERT_CA)?;
    section.finish(warnings);
    Ok(Some(CertFilePaths { key, cert, ca }))
}

fn trusted_proxies(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<Option<TrustedProxies>, ConfigError> {
    let mut section = fields.section("requests")?;
    let via_proxy = section.take("viaProxy", SWITCH)?.unwrap_or(false);
    let texts: Vec<String> = section.take("trustedProxyCIDRs", PROXIES)?.unwrap_or_default();
    let networks: Option<Vec<IpNet>> = texts.iter().map(|text| network(text)).collect();
    let networks = networks.ok_or_else(|| section.refuse("trustedProxyCIDRs", PROXIES))?;
    let header: String = section.take("extractClientIPFromHeader", PROXY_HEADER)?.unwrap_or_default();
    if !via_proxy {
        section.finish(warnings);
        return Ok(None);
    }
    if networks.is_empty() {
        return Err(section.refuse("trustedProxyCIDRs", PROXIES));
    }
    if http::HeaderName::from_bytes(header.as_bytes()).is_err() {
        return Err(section.refuse("extractClientIPFromHeader", PROXY_HEADER));
    }
    section.finish(warnings);
    Ok(Some(TrustedProxies { networks, header: header.to_ascii_lowercase() }))
}

/// What is out of range is silently the default, as in the original.
fn delete_concurrency(fields: &mut Fields) -> usize {
    let asked = fields.raw("multiObjectDeleteConcurrency").and_then(|value| value.as_u64());
    asked.filter(|count| (1..=999).contains(count)).and_then(|count| usize::try_from(count).ok()).unwrap_or(50)
}

fn inline_threshold(fields: &mut Fields) -> Result<u64, ConfigError> {
    let bytes: u64 = fields.take("inlineThresholdBytes", INLINE)?.unwrap_or(64 << 10);
    if bytes > INLINE_MAX { Err(fields.refuse("inlineThresholdBytes", INLINE)) } else { Ok(bytes) }
}

fn access_logs(mut fields: Fields, warnings: &mut Vec<String>) -> Result<AccessLogDelivery, ConfigError> {
    let default = AccessLogDelivery::default();
    let seconds = fields.take::<NonZeroU32>("deliverySeconds", DELIVERY)?;
    let lines = fields.take("linesPerObject", LINES)?.unwrap_or(default.lines);
    if !(1..=100_000).contains(&lines) {
        return Err(fields.refuse("linesPerObject", LINES));
    }
    fields.finish(warnings);
    let interval = seconds.map_or(default.interval, |seconds| Duration::from_secs(u64::from(seconds.get())));
    Ok(AccessLogDelivery { interval, lines })
}

fn inventory(mut fields: Fields, warnings: &mut Vec<String>) -> Result<InventoryReports, ConfigError> {
    let default = InventoryReports::default();
    let time = |seconds: NonZeroU32| Duration::from_secs(u64::from(seconds.get()));
    let look = fields.take::<NonZeroU32>("lookSeconds", LOOK)?.map_or(default.look, time);
    let period = fields.take::<NonZeroU32>("periodSeconds", PERIOD)?.map(time);
    let rows = fields.take("rowsPerFile", ROWS)?.unwrap_or(default.rows);
    if !(1..=5_000_000).contains(&rows) {
        return Err(fields.refuse("rowsPerFile", ROWS));
    }
    fields.finish(warnings);
    Ok(InventoryReports { look, period, rows })
}

fn compat(mut fields: Fields, warnings: &mut Vec<String>) -> Result<Compat, ConfigError> {
    let max_object_tags = fields.take("maxObjectTags", TAGS)?.unwrap_or(10);
    if ![10, 50].contains(&max_object_tags) {
        return Err(fields.refuse("maxObjectTags", TAGS));
    }
    let expose_processing = fields.take("exposeProcessing", SWITCH)?.unwrap_or(false);
    let dialect = match fields.take::<String>("dialect", DIALECT)? {
        None => Dialect::default(),
        Some(name) => Dialect::parse(&name).ok_or_else(|| fields.refuse("dialect", DIALECT))?,
    };
    fields.finish(warnings);
    Ok(Compat { max_object_tags, expose_processing, dialect })
}
