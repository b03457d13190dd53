//! A server from its configuration: stores, engine, protocol, listeners, background work.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::{
    StartError,
    accounts::Numbers,
    health::ServerHealth,
    keys::open_kms,
    locations::{settle, show_locations, tell_of_orphans},
    migration::{read_through, tombstones},
    outbound,
    reload::{Reloader, snapshot},
    stores::{Backends, check_pair, open_metadata},
};
#[cfg(feature = "tls")]
use crate::http::{Tls, TlsFiles, generate_self_signed};
use crate::{
    admin::Admin,
    auth::AuthSettings,
    clock::{Identifiers, SystemClock},
    config::{Config, ListenOrigin, shared_credentials},
    http::{Drain, Limits, Listener, Service, serve},
    inventory::{Inventories, InventorySettings},
    jobs::{JobKind, Jobs, Moves, Scans},
    lease::Lease,
    location::health::{first_look, watch},
    logging::{AccessLogs, LogSettings},
    s3::{
        body::{Intake, Pace},
        pipeline::{Parts, S3Service},
        report::ReportRoute,
    },
    storage::{Holdings, Settings, Storage},
    tasks::Tasks,
    telemetry::{AccessLog, AllowList, Metrics, Probe, health::Readiness, metrics::Held},
};

/// How long background work may take to end.
pub(super) const TASKS_LIMIT: Duration = Duration::from_secs(10);
/// The smallest part that `MPU_TESTING` allows.
const TESTING_PART: u64 = 1;
/// S3's smallest part.
const SMALLEST_PART: u64 = 5 << 20;
/// How long a start waits for locations elsewhere.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// Garbage notes counted at most for the metrics.
const GARBAGE_COUNTED: usize = 10_000;

/// A running server.
#[derive(Debug)]
pub struct Server {
    s3: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
    drains: [Drain; 2],
    tasks: Tasks,
    storage: Storage,
    reloader: Reloader,
}

/// What both listeners share.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Readiness,
    pub(super) tasks: Tasks,
    #[cfg(feature = "tls")]
    tls: Option<Arc<Tls>>,
}

impl Server {
    /// Opens the stores, cleans up what a crash left, and starts to serve.
    ///
    /// # Errors
    /// [`StartError`], whose first line says what to do.
    pub async fn start(config: Config, access_log: Option<AccessLog>) -> Result<Self, StartError> {
        Self::start_owner(config, None, access_log).await
    }

    /// As [`Server::start`], over folders that are owned by a lease.
    ///
    /// # Errors
    /// [`StartError`], whose first line says what to do.
    pub async fn start_owner(
        config: Config,
        lease: Option<Arc<Lease>>,
        access_log: Option<AccessLog>,
    ) -> Result<Self, StartError> {
        outbound::check(&config)?;
        let metrics = Arc::new(Metrics::default());
        let backends = Backends::open(&config, lease.as_ref(), metrics.locations.clone())?;
        let metadata = open_metadata(&config, lease.as_ref()).await?;
        check_pair(&config, metadata.as_ref(), &backends).await?;
        let kms = open_kms(&config, metadata.as_ref()).await?;
        let clock = Arc::new(SystemClock);
        let ids = Identifiers::new(Arc::<SystemClock>::clone(&clock), &config.replication_group);
        let settings = Settings {
            inline_threshold: config.inline_threshold,
            min_part_size: if config.mpu_testing { TESTING_PART } else { SMALLEST_PART },
            journal_max_entries: config.journal_max_entries,
            encrypt_new_buckets: config.global_encryption,
            ..Settings::default()
        };
        let table = backends.table(&config, &config.locations)?;
        let storage = Storage::new(metadata, table, clock, ids, (kms, settings));
        // Before anything is changed: a rename that is rolled forward is a delete, too.
        storage.remember_deletes(tombstones(&config));
        // Before anything is asked of them: what a crash left is not looked for in an empty mount point.
        storage.expect_stores(&storage.locations()).await?;
        first_look(&storage.locations(), FIRST_LOOK).await;
        let removed = storage.recover().await?;
        if removed > 0 {
            tracing::info!(removed, "removed what unfinished writes had left behind");
        }
        settle(&storage, &storage.locations()).await?;
        storage.remember_stores().await;
        tell_of_orphans(&storage, &storage.locations()).await?;
        let front = Front { metrics, ..Front::new(&config)? };
        Self::serve(config, backends, storage, front, access_log)
    }

    fn serve(
        config: Config,
        backends: Backends,
        storage: Storage,
        front: Front,
        access_log: Option<AccessLog>,
    ) -> Result<Self, StartError> {
        let health = ServerHealth {
            storage: storage.clone(),
            credentials: shared_credentials(&config),
            metadata_module: config.modules.metadata_client.is_some(),
        };
        let allowed = AllowList::new(config.health_allow_from.iter().copied());
        let probe = Probe::new(Arc::new(health), allowed, front.readiness.clone());
        let set = config.reloadable();
        let auth = AuthSettings {
            region: config.region.clone(),
            sigv2: config.sigv2,
            presign_v2_max: config.presign_v2_max,
            ..AuthSettings::default()
        };
        let numbers = Arc::new(Numbers::new(Arc::clone(&config.accounts)));
        let logs = log_settings(&config, &numbers, &front.metrics);
        let jobs = Jobs::new(storage.clone(), job_kinds());
        jobs.start(&front.tasks);
        let parts = Parts {
            storage: storage.clone(),
            auth,
            intake: intake(&config),
            requests_per_key: config.limits.requests_per_access_key,
            probe: Some(probe.clone()),
            access_logs: Some(AccessLogs::start(storage.clone(), logs, &front.tasks)),
            report: ReportRoute { token: config.report_token.clone() },
            jobs: Some(jobs),
        };
        let old = read_through(&config, &config.accounts)?;
        let s3 = S3Service::new(parts, snapshot(&config, &set, old.as_ref()));
        front.metrics.watch_disk(config.data_path.clone());
        let (admin_listeners, admin) = bind(&config.admin_listen, config.listen_origin)?;
        let (s3_listeners, addresses) = bind(&config.listen, config.listen_origin)?;
        let s3_drain = front.listen(s3_listeners, Arc::new(s3.clone()), limits(&config), access_log)?;
        let admin_service = Arc::new(Admin::new(probe, Arc::clone(&front.metrics)));
        let admin_drain = front.listen(admin_listeners, admin_service, limits(&config), None)?;
        start_background(&storage, &front);
        Inventories::start(storage.clone(), inventory_settings(&config, &numbers, &front.metrics), &front.tasks);
        let reloader = Reloader {
            current: Mutex::new(set),
            backends,
            storage: storage.clone(),
            service: s3,
            numbers,
            old,
            #[cfg(feature = "tls")]
            tls: front.tls.clone(),
            config,
        };
        Ok(Self { s3: addresses, admin, drains: [s3_drain, admin_drain], tasks: front.tasks, storage, reloader })
    }

    /// Where S3 is served.
    pub fn s3_addresses(&self) -> &[SocketAddr] {
        &self.s3
    }

    /// Where health and metrics are served.
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        &self.admin
    }

    /// The engine, for tests and tools inside the process.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Reads accounts, locations, endpoints and certificates anew; requests under way keep the old ones.
    pub async fn reload(&self) {
        self.reloader.reload().await;
    }

    /// Finishes requests under way for up to `limit`, then stops everything. Returns the number of requests cut.
    pub async fn stop(self, limit: Duration) -> usize {
        let [s3, admin] = &self.drains;
        let cut = s3.finish(limit).await;
        admin.finish(Duration::ZERO).await;
        if !self.storage.finish_publications(TASKS_LIMIT).await {
            tracing::warn!("writes to other stores did not end in time: the next start settles them");
        }
        if !self.tasks.stop(TASKS_LIMIT).await {
            tracing::warn!("background work did not end in time");
        }
        if let Err(error) = self.storage.metadata().close().await {
            tracing::error!(%error, "the metadata store did not close cleanly; nothing acknowledged is lost");
        }
        cut
    }
}

impl Front {
    /// What the configuration says of it.
    pub(super) fn new(config: &Config) -> Result<Self, StartError> {
        #[cfg(not(feature = "tls"))]
        if config.tls.is_some() || config.ssl_generate.is_some() {
            return Err(StartError::NoTls);
        }
        Ok(Self {
            metrics: Arc::new(Metrics::default()),
            readiness: Readiness::default(),
            tasks: Tasks::default(),
            #[cfg(feature = "tls")]
            tls: load_tls(config)?,
        })
    }

    pub(super) fn listen(
        &self,
        listeners: Vec<Listener>,
        handler: Arc<dyn crate::s3::Handler>,
        limits: Limits,
        access_log: Option<AccessLog>,
    ) -> Result<Drain, StartError> {
        let service = Service {
            handler,
            limits,
            metrics: Arc::clone(&self.metrics),
            access_log,
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
            #[cfg(not(feature = "tls"))]
            tls: None,
        };
        Ok(serve(listeners, service, self.readiness.clone(), &self.tasks)?)
    }
}

/// The kinds of long jobs that this server does.
fn job_kinds() -> Vec<Arc<dyn JobKind>> {
    vec![Arc::new(Moves), Arc::new(Scans::default())]
}

fn log_settings(config: &Config, numbers: &Arc<Numbers>, metrics: &Metrics) -> LogSettings {
    LogSettings {
        interval: config.access_logs.interval,
        lines: config.access_logs.lines,
        region: config.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
        numbers: Arc::<Numbers>::clone(numbers),
        dropped: metrics.access_lines_dropped.clone(),
    }
}

fn inventory_settings(config: &Config, numbers: &Arc<Numbers>, metrics: &Metrics) -> InventorySettings {
    InventorySettings {
        look: config.inventory.look,
        period: config.inventory.period,
        rows: config.inventory.rows,
        version_ids: config.version_id_encoding,
        numbers: Arc::<Numbers>::clone(numbers),
        metrics: metrics.inventory.clone(),
    }
}

fn intake(config: &Config) -> Intake {
    let rate = config.limits.body_min_rate;
    let pace = Pace { idle: config.limits.body_idle, min_rate: rate.bytes_per_second, window: rate.window };
    Intake::new(pace, std::thread::available_parallelism().map_or(2, usize::from))
}

pub(super) fn limits(config: &Config) -> Limits {
    let limits = &config.limits;
    Limits {
        connections: limits.connections,
        requests: limits.requests_in_flight,
        target_bytes: limits.target_bytes,
        header_bytes: limits.header_bytes,
        headers: limits.headers,
        header_timeout: limits.header_timeout,
        keep_alive: limits.keep_alive_idle,
        handshake_timeout: limits.tls_handshake,
        write_timeout: limits.response_idle,
        ..Limits::default()
    }
}

/// Binds every address. Of the two loopback addresses a machine without IPv6 has one only.
pub(super) fn bind(
    addresses: &[SocketAddr],
    origin: ListenOrigin,
) -> Result<(Vec<Listener>, Vec<SocketAddr>), StartError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let everywhere = address.is_ipv6() && address.ip().is_unspecified();
        let bound = if everywhere { Listener::bind_everywhere(address.port()) } else { Listener::bind(*address) };
        match bound {
            Ok(listener) => listeners.push(listener),
            Err(error)
                if origin == ListenOrigin::Loopback
                    && address.is_ipv6()
                    && error.kind() != std::io::ErrorKind::AddrInUse =>
            {
                tracing::info!(%address, %error, "not listening there: no IPv6");
            }
            Err(source) => return Err(StartError::Listen { address: *address, source }),
        }
    }
    let bound = listeners.iter().map(Listener::address).collect();
    Ok((listeners, bound))
}

fn start_background(storage: &Storage, front: &Front) {
    let worker = storage.clone();
    front.tasks.keep("garbage", move |stop| {
        let worker = worker.clone();
        async move { worker.run_garbage(stop).await }
    });
    let (watched, stop) = (storage.clone(), front.tasks.stop_signal());
    front.tasks.spawn("locations", watch(move || watched.locations(), stop));
    let (worker, metrics) = (storage.clone(), Arc::clone(&front.metrics));
    let mut stop = front.tasks.stop_signal();
    front.tasks.spawn("gauges", async move {
        while stop.sleep(Duration::from_secs(5)).await {
            fill_gauges(&worker, &metrics).await;
        }
    });
}

async fn fill_gauges(storage: &Storage, metrics: &Metrics) {
    if let Ok(pending) = storage.garbage_pending(GARBAGE_COUNTED).await {
        metrics.garbage_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
    }
    let stats = storage.metadata().stats();
    metrics.commits.inc_by(stats.commits.saturating_sub(metrics.commits.get()));
    metrics.wal_syncs.inc_by(stats.syncs.saturating_sub(metrics.wal_syncs.get()));
    storage.remember_stores().await;
    show_locations(storage, &metrics.locations).await;
    if let Ok(report) = storage.report(0).await {
        metrics.buckets.set(report.total.buckets);
        metrics.objects.set(report.total.usage.objects);
        let held = |holdings: Holdings| Held {
            buckets: holdings.buckets,
            objects: holdings.usage.objects,
            versions: holdings.usage.versions,
            bytes: holdings.usage.stored_bytes(),
        };
        let accounts = report.accounts.into_iter().map(|(account, holdings)| (account, held(holdings)));
        metrics.accounts.show(accounts.collect());
    }
}

#[cfg(feature = "tls")]
fn load_tls(config: &Config) -> Result<Option<Arc<Tls>>, StartError> {
    let files = match (&config.tls, &config.ssl_generate) {
        (Some(files), _) => TlsFiles { key: files.key.clone(), cert: files.cert.clone(), ca: files.ca.clone() },
        (None, Some(generate)) => generate_self_signed(&generate.folder, &generate.host)?,
        (None, None) => return Ok(None),
    };
    Ok(Some(Arc::new(Tls::load(files)?)))
}
