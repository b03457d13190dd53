//! Files, variables and arguments become one checked [`Config`].

use std::{
    collections::BTreeMap,
    fs::File,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::ExposeSecret;

use super::{
    authdata::Accounts,
    env::Variables,
    error::{ConfigError, Rule, rule},
    file::{CertFilePaths, ConfigFile, network},
    later,
    launch::Launch,
    listen,
    locations::{DEFAULT_LOCATION, Durability, Locations, Setting},
    modules::{Modules, Wishes},
    settings::{Config, ListenOrigin, LogSettings, RecordLog, SslGenerate, TlsFiles},
    sources::{Sources, read_named},
};

/// Seven days.
const PRESIGN_V2_MAX: Duration = Duration::from_hours(7 * 24);
/// Networks that may always ask for health: this machine.
const ALWAYS_ALLOWED: [&str; 2] = ["127.0.0.1/8", "::1"];
/// The port that `LISTEN_ADDR` comes with.
const LISTEN_ADDR_PORT: u16 = 8000;

impl Config {
    /// Reads and checks everything that `launch` leads to.
    ///
    /// # Errors
    /// The first rule that is broken; its text names file, key and remedy.
    pub fn load(launch: &Launch) -> Result<Self, ConfigError> {
        let mut warnings = Vec::new();
        let variables = Variables::read(&launch.environment, &mut warnings)?;
        let sources = Sources::find(launch)?;
        let mut file =
            ConfigFile::read(&sources.config.label, &sources.config.text, &launch.environment, &mut warnings)?;
        let locations = locations(launch, &sources, &file, &variables, &mut warnings)?;
        let accounts = accounts(&sources, &variables, &mut warnings)?;
        add_endpoints(&mut file.rest_endpoints, &variables);
        check_endpoints(&sources.config.label, &file.rest_endpoints, &locations)?;
        later::warn_of_variables(&launch.environment, &mut warnings);
        extra_replication(launch, &mut warnings)?;
        let production = launch.options.production || variables.production || file.own.production;
        let role = launch.options.role.or(variables.modules.role()).or(file.own.role).unwrap_or_default();
        // A module has no accounts to misuse.
        refuse_shared_credentials(production && role.is_front(), &accounts)?;
        let places = Places { launch, sources: &sources, variables: &variables };
        Self::assemble(places, file, production, (accounts, locations), warnings)
    }

    fn assemble(
        places: Places<'_, '_>,
        file: ConfigFile,
        production: bool,
        (accounts, locations): (Accounts, Locations),
        warnings: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let Places { launch, sources, variables } = places;
        let (options, root) = (&launch.options, &sources.root);
        let loopback_only = !launch.container && accounts.uses_well_known_credentials();
        let (listen, listen_origin) = places.listen(&file, loopback_only)?;
        let modules = places.modules(&file)?;
        let (admin_listen, _) = listen::choose(file.metrics_listen_on, file.metrics_port, loopback_only);
        let ssl_generate = places.ssl_generate();
        let tls =
            if ssl_generate.is_some() { None } else { tls_files(&sources.config.label, root, file.cert_file_paths)? };
        let or_root = |named: Option<&PathBuf>, name: &str| named.cloned().unwrap_or_else(|| root.join(name));
        Ok(Self {
            root: root.clone(),
            source: sources.config.label.clone(),
            listen,
            listen_origin,
            admin_listen,
            rest_endpoints: file.rest_endpoints,
            website_endpoints: file.website_endpoints,
            replication_group: variables.replication_group.clone().unwrap_or(file.replication_group_id),
            version_id_encoding: variables.version_id_encoding,
            tls,
            ssl_generate,
            health_allow_from: health_allow_from(file.allow_from, variables)?,
            report_token: variables.report_token.clone().or(file.report_token),
            trusted_proxies: file.trusted_proxies,
            log: LogSettings {
                level: options.log_level.or(variables.log_level).unwrap_or(file.log_levels.0),
                dump_level: file.log_levels.1,
                format: options.log_format.unwrap_or(file.own.log_format),
            },
            data: variables.data.unwrap_or_default(),
            metadata: variables.metadata.unwrap_or_default(),
            data_path: or_root(options.data.as_ref().or(variables.data_path.as_ref()), "localData"),
            metadata_path: or_root(options.metadata.as_ref().or(variables.metadata_path.as_ref()), "localMetadata"),
            data_no_cache: variables.no_cache,
            record_log: RecordLog {
                enabled: file.record_log.enabled || variables.record_log,
                name: file.record_log.name,
            },
            multi_object_delete_concurrency: file.multi_object_delete_concurrency,
            mpu_testing: variables.mpu_testing,
            allow_public_read_buckets: variables.public_read_buckets.clone(),
            presign_v2_max: variables.presign_v2_max.unwrap_or(PRESIGN_V2_MAX),
            region: file.own.region,
            sigv2: file.own.signature_v2,
            production,
            shutdown_grace: file.own.shutdown_grace,
            compat: file.own.compat,
            inline_threshold: file.own.inline_threshold,
            journal_max_entries: file.own.journal_max_entries,
            replication_sites: file.replication_sites,
            notification_targets: file.notification_targets,
            outbound: file.outbound,
            access_logs: file.own.access_logs,
            inventory: file.own.inventory,
            migration: file.own.migration,
            health: file.own.health,
            limits: file.own.limits,
            lease: file.own.lease.or_argument(options.take_over_after),
            modules,
            kms: file.own.kms,
            require_tls_for_sse_c: file.own.require_tls_for_sse_c,
            global_encryption: file.global_encryption,
            accounts: Arc::new(accounts),
            locations: Arc::new(locations),
            warnings,
            launch: launch.clone(),
        })
    }
}

/// What assembling looks at.
#[derive(Clone, Copy)]
struct Places<'a, 's> {
    launch: &'a Launch,
    sources: &'a Sources<'s>,
    variables: &'a Variables,
}

impl Places<'_, '_> {
    /// `--listen`, else `LISTEN_ADDR`, else the file; `--port` changes the port of whatever that is.
    fn listen(self, file: &ConfigFile, loopback_only: bool) -> Result<(Vec<SocketAddr>, ListenOrigin), ConfigError> {
        let options = &self.launch.options;
        let named = if !options.listen.is_empty() {
            options.listen.clone()
        } else if let Some(text) = &self.variables.listen_addr {
            vec![listen_addr(text)?]
        } else {
            file.listen_on.clone()
        };
        let (mut addresses, origin) = listen::choose(named, options.port.unwrap_or(file.port), loopback_only);
        if let (Some(port), true) = (options.port, options.listen.is_empty()) {
            for address in &mut addresses {
                address.set_port(port);
            }
            addresses.sort_unstable();
            addresses.dedup();
        }
        Ok((addresses, origin))
    }

    fn modules(self, file: &ConfigFile) -> Result<Modules, ConfigError> {
        let listen_addr = self.variables.listen_addr.as_deref().map(listen_addr).transpose()?;
        Ok(Modules::decide(Wishes {
            argument: self.launch.options.role,
            variables: &self.variables.modules,
            listen_addr: listen_addr.map(|address| address.ip()),
            file: file.modules.clone(),
            own_role: file.own.role,
            own_token: file.own.module_token.clone(),
        }))
    }

    fn ssl_generate(self) -> Option<SslGenerate> {
        let host = self.variables.endpoints.first().filter(|_| self.variables.ssl)?;
        Some(SslGenerate { host: host.clone(), folder: self.sources.root.clone() })
    }
}

fn listen_addr(text: &str) -> Result<SocketAddr, ConfigError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = if bare == "localhost" { Ok(IpAddr::from([127, 0, 0, 1])) } else { bare.parse::<IpAddr>() };
    ip.map(|ip| SocketAddr::new(ip, LISTEN_ADDR_PORT)).map_err(|_| ConfigError::Environment {
        name: "LISTEN_ADDR".to_owned(),
        problem: "LISTEN_ADDR must be an IP address without a port".to_owned(),
        remedy: "write 0.0.0.0 for every IPv4 interface, or use listenOn in config.json".to_owned(),
    })
}

fn locations(
    launch: &Launch,
    sources: &Sources<'_>,
    file: &ConfigFile,
    variables: &Variables,
    warnings: &mut Vec<String>,
) -> Result<Locations, ConfigError> {
    let source = sources.locations()?;
    let setting = Setting {
        environment: &launch.environment,
        metered: file.location_metrics || variables.storage_limit,
        durability: if variables.no_sync { Durability::Relaxed } else { Durability::Strict },
    };
    Locations::parse(&source.label, &source.text, setting, warnings)
}

fn accounts(sources: &Sources<'_>, variables: &Variables, warnings: &mut Vec<String>) -> Result<Accounts, ConfigError> {
    if let Some((access, secret)) = &variables.credentials {
        return Ok(Accounts::custom(access, secret.expose_secret()));
    }
    let source = sources.accounts()?;
    Accounts::parse(&source.label, &source.text, warnings)
}

/// `ENDPOINT`: host names that lead to the default location.
fn add_endpoints(endpoints: &mut BTreeMap<String, String>, variables: &Variables) {
    for host in &variables.endpoints {
        endpoints.insert(host.to_ascii_lowercase(), DEFAULT_LOCATION.to_owned());
    }
}

fn check_endpoints(
    label: &str,
    endpoints: &BTreeMap<String, String>,
    locations: &Locations,
) -> Result<(), ConfigError> {
    match endpoints.iter().find(|(_, location)| !locations.contains(location)) {
        None => Ok(()),
        Some((host, location)) => Err(ConfigError::Setting {
            file: label.to_owned(),
            key: format!("restEndpoints.{host}"),
            problem: "rest endpoint target not in locationConstraints".to_owned(),
            remedy: format!("add location \"{location}\" to {}, or name one that is there", locations.source()),
        }),
    }
}

/// `S3_REPLICATION_FILE`: more replication endpoints, checked like those of the main file.
fn extra_replication(launch: &Launch, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    const NAME: &str = "S3_REPLICATION_FILE";
    const LIST: Rule = rule("must hold an array of replication endpoints", "write []");
    let Some(path) = launch.environment.get(NAME) else { return Ok(()) };
    let source = read_named(Path::new(path), NAME)?;
    let refuse = |rule: Rule| ConfigError::File {
        file: source.label.clone(),
        problem: rule.problem.to_owned(),
        remedy: rule.remedy.to_owned(),
    };
    let list: Vec<serde_json::Value> = serde_json::from_str(&source.text).map_err(|_| refuse(LIST))?;
    list.iter().try_for_each(later::replication_endpoint).map_err(refuse)?;
    if !list.is_empty() {
        warnings.push(format!("environment: {NAME} is accepted without effect: replication comes later"));
    }
    Ok(())
}

pub(super) fn refuse_shared_credentials(production: bool, accounts: &Accounts) -> Result<(), ConfigError> {
    if production && accounts.uses_well_known_credentials() {
        let keys = accounts.well_known_access_keys().join(", ");
        return Err(ConfigError::SharedCredentials { file: accounts.source().to_owned(), keys });
    }
    Ok(())
}

/// `HEALTHCHECKS_ALLOWFROM` replaces the file's list; this machine is always allowed.
fn health_allow_from(configured: Vec<IpNet>, variables: &Variables) -> Result<Vec<IpNet>, ConfigError> {
    let configured = match &variables.health_allow_from {
        None => configured,
        Some(text) => text.split(',').map(network).collect::<Option<_>>().ok_or_else(|| ConfigError::Environment {
            name: "HEALTHCHECKS_ALLOWFROM".to_owned(),
            problem: "HEALTHCHECKS_ALLOWFROM must be a CIDR".to_owned(),
            remedy: "write an address or a network such as 10.0.0.0/8".to_owned(),
        })?,
    };
    let mut all: Vec<IpNet> = ALWAYS_ALLOWED.iter().filter_map(|text| network(text)).collect();
    all.extend(configured);
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn tls_files(label: &str, root: &Path, paths: Option<CertFilePaths>) -> Result<Option<TlsFiles>, ConfigError> {
    let Some(CertFilePaths { key, cert, ca }) = paths else { return Ok(None) };
    let readable = |name: &str, path: &Path| {
        let path = root.join(path);
        match File::open(&path) {
            Ok(_) => Ok(path),
            Err(_) => Err(ConfigError::Setting {
                file: label.to_owned(),
                key: format!("certFilePaths.{name}"),
                problem: format!("File not found or unreachable: {}", path.display()),
                remedy: "put a readable PEM file there; relative names count from the install root".to_owned(),
            }),
        }
    };
    Ok(Some(TlsFiles {
        key: readable("key", &key)?,
        cert: readable("cert", &cert)?,
        ca: ca.map(|ca| readable("ca", &ca)).transpose()?,
    }))
}
