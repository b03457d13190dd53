//! What SIGHUP reads anew: accounts, locations, endpoints, certificates, master keys.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{
    accounts::{AccountBook, Numbers},
    locations::{settle, warn_of_changes},
    stores::Backends,
};
#[cfg(feature = "tls")]
use crate::http::Tls;
use crate::{
    config::{Config, Reloadable},
    s3::{
        context::{Settings, TrustedProxies},
        pipeline::{S3Service, Snapshot},
        read_through::ReadThrough,
    },
    storage::Storage,
};

/// Everything that a reload touches.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) config: Config,
    pub(super) current: Mutex<Reloadable>,
    pub(super) backends: Backends,
    pub(super) storage: Storage,
    pub(super) service: S3Service,
    pub(super) numbers: Arc<Numbers>,
    pub(super) old: Option<Arc<ReadThrough>>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<Tls>>,
}

/// The protocol's snapshot of a set.
pub(super) fn snapshot(config: &Config, set: &Reloadable, old: Option<&Arc<ReadThrough>>) -> Snapshot {
    let book = Arc::new(AccountBook::new(Arc::clone(&set.accounts)));
    let settings = Settings {
        endpoints: Arc::clone(&set.rest_endpoints),
        website_endpoints: Arc::new(config.website_endpoints.clone()),
        region: config.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
        version_ids: config.version_id_encoding,
        max_object_tags: config.compat.max_object_tags,
        dialect: config.compat.dialect,
        delete_concurrency: config.multi_object_delete_concurrency,
        trusted_proxies: config
            .trusted_proxies
            .clone()
            .map(|proxies| TrustedProxies { networks: proxies.networks, header: proxies.header }),
        public_read: Arc::new(config.allow_public_read_buckets.clone()),
        require_tls_for_sse_c: config.require_tls_for_sse_c,
        replication_sites: Arc::new(config.replication_sites.clone()),
        notification_targets: Arc::new(config.notification_targets.clone()),
        read_through: old.cloned(),
        keep_dates: config.migration.keep_dates,
    };
    Snapshot { credentials: Arc::<AccountBook>::clone(&book), directory: book, settings: Arc::new(settings) }
}

impl Reloader {
    /// Reads the files again. A set that is no good leaves the old one in force, and so does one that would take away
    /// a location that buckets may still use.
    pub(super) async fn reload(&self) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            // Logged by itself.
            drop(tls.reload());
        }
        match self.storage.kms().reload() {
            Ok(()) => tracing::info!("master keys reloaded"),
            Err(error) => tracing::error!(%error, "the master keys cannot be read again, the old ones stay"),
        }
        let mut current = self.current.lock().await;
        match self.config.reload(&current) {
            Err(error) => tracing::error!(%error, "the new configuration is no good, the old one stays"),
            Ok(new) => {
                for warning in &new.warnings {
                    tracing::warn!("{warning}");
                }
                if !new.removed_locations.is_empty() {
                    let names = new.removed_locations.join(", ");
                    tracing::error!(
                        locations = names,
                        "locations cannot be removed from a running server: the old configuration stays"
                    );
                    return;
                }
                if let Err(error) = warn_of_changes(&self.storage, &current.locations, &new.snapshot.locations).await {
                    tracing::warn!(%error, "nobody knows what locations hold");
                }
                let table = match self.backends.table(&self.config, &new.snapshot.locations) {
                    Ok(table) => table,
                    Err(error) => {
                        tracing::error!(%error, "a new location cannot be opened, the old configuration stays");
                        return;
                    }
                };
                if let Err(error) = settle(&self.storage, &table).await {
                    tracing::error!(%error, "limits of locations cannot be set, the old configuration stays");
                    return;
                }
                self.storage.set_locations(table);
                self.numbers.replace(Arc::clone(&new.snapshot.accounts));
                self.service.replace(snapshot(&self.config, &new.snapshot, self.old.as_ref()));
                *current = new.snapshot;
                tracing::info!("accounts, locations and endpoints reloaded");
            }
        }
    }
}
