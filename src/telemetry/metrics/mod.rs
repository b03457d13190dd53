//! Counters and gauges, named as the original's where it has them, and their text for Prometheus.
//!
//! Handles are cheap clones over atomics: a layer takes the ones it moves when it is built and never looks them up
//! again. What has to be asked for (disks, the process) is asked when somebody scrapes.

use std::{fmt, path::PathBuf, sync::OnceLock};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

mod accounts;
mod inventory;
mod locations;
mod process;
mod requests;

pub use accounts::{AccountMetrics, Held};
pub use inventory::InventoryMetrics;
pub use locations::{LocationFigures, LocationMetrics, LocationOutcome};
pub use requests::{RequestMetrics, RequestSample};

/// Why a request or connection was turned away, as the `reason` label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// One of a fixed set of words.
    pub reason: &'static str,
}

/// All metrics of a server.
pub struct Metrics {
    registry: Registry,
    /// Requests on the S3 port.
    pub requests: RequestMetrics,
    /// Open connections, all listeners together.
    pub connections: Gauge,
    /// Requests and connections turned away or cut by a limit or time-out.
    pub refused: Family<Reason, Counter>,
    /// Panics caught in handlers and bodies.
    pub panics: Counter,
    /// Failed TLS handshakes.
    pub tls_failures: Counter,
    /// Buckets.
    pub buckets: Gauge,
    /// Objects in all buckets, as their usage counters say.
    pub objects: Gauge,
    /// Garbage records not yet collected.
    pub garbage_pending: Gauge,
    /// Lines of buckets' access logs that never came into their target bucket.
    pub access_lines_dropped: Counter,
    /// Inventory reports.
    pub inventory: InventoryMetrics,
    /// What accounts hold.
    pub accounts: AccountMetrics,
    /// How locations are doing, and what they hold.
    pub locations: LocationMetrics,
    /// Metadata batches committed.
    pub commits: Counter,
    /// Syncs of the metadata log: fewer than commits where commits are grouped.
    pub wal_syncs: Counter,
    disk: Disk,
    on_scrape: OnceLock<Hook>,
}

/// Fills gauges before a scrape.
type Hook = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The file system that holds the data.
#[derive(Default)]
struct Disk {
    path: OnceLock<PathBuf>,
    available: Gauge,
    free: Gauge,
    total: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: RequestMetrics::default(),
            connections: Gauge::default(),
            refused: Family::default(),
            panics: Counter::default(),
            tls_failures: Counter::default(),
            buckets: Gauge::default(),
            objects: Gauge::default(),
            garbage_pending: Gauge::default(),
            access_lines_dropped: Counter::default(),
            inventory: InventoryMetrics::default(),
            accounts: AccountMetrics::default(),
            locations: LocationMetrics::default(),
            commits: Counter::default(),
            wal_syncs: Counter::default(),
            disk: Disk::default(),
            on_scrape: OnceLock::new(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// Names everything. Counters get their `_total` when they are written.
    fn register(&mut self) {
        let original = self.registry.sub_registry_with_prefix("s3_cloudserver");
        original.register("buckets_count", "Buckets", self.buckets.clone());
        original.register("objects_count", "Objects in all buckets", self.objects.clone());
        original.register("disk_available_bytes", "Bytes left on the data disk", self.disk.available.clone());
        original.register("disk_free_bytes", "Free bytes of the data disk", self.disk.free.clone());
        original.register("disk_total_bytes", "Bytes of the data disk", self.disk.total.clone());
        let ours = self.registry.sub_registry_with_prefix("cloudserver");
        ours.register("connections", "Open connections", self.connections.clone());
        ours.register("refused", "Requests and connections turned away or cut", self.refused.clone());
        ours.register("panics", "Panics caught while serving", self.panics.clone());
        ours.register("tls_handshake_failures", "Failed TLS handshakes", self.tls_failures.clone());
        ours.register("garbage_pending", "Garbage records not yet collected", self.garbage_pending.clone());
        let dropped = self.access_lines_dropped.clone();
        ours.register("access_log_lines_dropped", "Lines of access logs that were not delivered", dropped);
        self.inventory.register(ours);
        self.accounts.register(ours);
        self.locations.register(ours);
        ours.register("commits", "Metadata batches committed", self.commits.clone());
        ours.register("wal_syncs", "Syncs of the metadata log", self.wal_syncs.clone());
        self.registry.register_collector(Box::new(self.requests.clone()));
        self.registry.register_collector(Box::new(process::Process));
    }

    /// Counts something turned away or cut.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// Shows the file system of `path` in the disk metrics; the first call wins.
    pub fn watch_disk(&self, path: PathBuf) {
        drop(self.disk.path.set(path));
    }

    /// Runs `hook` before each scrape, to fill gauges that are costly to keep; the first call wins.
    pub fn on_scrape(&self, hook: impl Fn(&Metrics) + Send + Sync + 'static) {
        drop(self.on_scrape.set(Box::new(hook)));
    }

    /// All metrics in the `OpenMetrics` text format, which Prometheus' older text parsers read, too.
    pub fn render(&self) -> String {
        if let Some(hook) = self.on_scrape.get() {
            hook(self);
        }
        self.disk.refresh();
        let mut text = String::with_capacity(16 << 10);
        if let Err(error) = text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics cannot be rendered");
        }
        text
    }
}

impl Disk {
    fn refresh(&self) {
        let Some(path) = self.path.get() else { return };
        match rustix::fs::statvfs(path) {
            Ok(disk) => {
                let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(disk.f_frsize)).unwrap_or(i64::MAX);
                self.available.set(bytes(disk.f_bavail));
                self.free.set(bytes(disk.f_bfree));
                self.total.set(bytes(disk.f_blocks));
            }
            Err(error) => tracing::warn!(%error, "the data disk does not tell its size"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_original() {
        let metrics = Metrics::default();
        let folder = tempfile::tempdir().unwrap();
        metrics.watch_disk(folder.path().to_path_buf());
        metrics.on_scrape(|metrics| {
            metrics.buckets.set(3);
        });
        metrics.refused("slow_down");
        metrics.commits.inc();
        metrics.requests.record(&RequestSample {
            method: "PUT",
            action: "objectPut",
            code: 200,
            seconds: 0.004,
            received: 11,
            sent: 0,
        });
        let text = metrics.render();
        for line in [
            "s3_cloudserver_http_requests_total{method=\"PUT\",action=\"objectPut\",code=\"200\"} 1",
            "s3_cloudserver_http_request_duration_seconds_bucket{le=\"0.0001\",method=\"PUT\",action=\"objectPut\",code=\"200\"} 0",
            "s3_cloudserver_http_request_duration_seconds_bucket{le=\"0.005\",method=\"PUT\",action=\"objectPut\",code=\"200\"} 1",
            "s3_cloudserver_http_request_duration_seconds_bucket{le=\"+Inf\",method=\"PUT\",action=\"objectPut\",code=\"200\"} 1",
            "s3_cloudserver_http_request_size_bytes_sum{method=\"PUT\",action=\"objectPut\",code=\"200\"} 11.0",
            "s3_cloudserver_http_response_size_bytes_count{method=\"PUT\",action=\"objectPut\",code=\"200\"} 1",
            "s3_cloudserver_http_active_requests 0",
            "s3_cloudserver_buckets_count 3",
            "s3_cloudserver_objects_count 0",
            "cloudserver_connections 0",
            "cloudserver_refused_total{reason=\"slow_down\"} 1",
            "cloudserver_panics_total 0",
            "cloudserver_garbage_pending 0",
            "cloudserver_commits_total 1",
            "cloudserver_wal_syncs_total 0",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} is not in\n{text}");
        }
        for name in ["disk_available_bytes", "disk_free_bytes", "disk_total_bytes"] {
            let prefix = format!("s3_cloudserver_{name} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
            assert!(value.parse::<u64>().unwrap() > 0, "{name} {value}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    }
}
