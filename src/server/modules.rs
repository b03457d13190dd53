//! A process that is a module: one store, one listener for fronts, one for health and metrics.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};

use super::{
    StartError,
    assemble::{TASKS_LIMIT, bind, limits},
    health::PATIENCE,
    stores::{Backends, open_local_metadata},
};
use crate::{
    admin::Admin,
    config::{Config, DataKind, ListenOrigin, Role},
    data::DataBackend,
    http::{Drain, Limits, Listener, Service, serve},
    lease::Lease,
    metadata::MetadataStore,
    modules::{DataModule, Gate, MetadataModule},
    s3::Handler,
    tasks::Tasks,
    telemetry::{
        AccessLog, AllowList, Health, HealthReport, Metrics, Probe,
        health::{ComponentHealth, Readiness},
    },
};

/// A running module.
#[derive(Debug)]
pub struct ModuleServer {
    addresses: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
    drains: [Drain; 2],
    tasks: Tasks,
    store: Store,
}

/// What the module keeps.
#[derive(Clone, Debug)]
enum Store {
    Data(Arc<dyn DataBackend>),
    Metadata(Arc<dyn MetadataStore>),
}

impl ModuleServer {
    /// Opens the store of the process's role, and starts to serve it. For any other role there is nothing to open:
    /// that is a [`super::Server`].
    ///
    /// # Errors
    /// [`StartError`], whose first line says what to do.
    pub fn start(config: &Config, access_log: Option<AccessLog>) -> Result<Self, StartError> {
        Self::start_owner(config, None, access_log)
    }

    /// As [`ModuleServer::start`], over a folder that is owned by a lease.
    ///
    /// # Errors
    /// [`StartError`], whose first line says what to do.
    pub fn start_owner(
        config: &Config,
        lease: Option<&Arc<Lease>>,
        access_log: Option<AccessLog>,
    ) -> Result<Self, StartError> {
        let gate = Gate { token: config.modules.token.clone(), idle: config.limits.body_idle };
        let metrics = Arc::new(Metrics::default());
        let (store, handler, addresses): (_, Arc<dyn Handler>, _) = match config.modules.role {
            Role::Metadata => {
                let store = open_local_metadata(config, lease)?;
                metrics.watch_disk(config.metadata_path.clone());
                let module = MetadataModule::new(Arc::clone(&store), gate);
                (Store::Metadata(store), Arc::new(module), &config.modules.metadata_listen)
            }
            Role::All | Role::Front | Role::Data => {
                let backends = Backends::open_local(config, lease)?;
                if config.data != DataKind::Memory {
                    metrics.watch_disk(config.data_path.clone());
                }
                let backend = backends.for_module(config);
                let module = DataModule::new(Arc::clone(&backend), backends.directory_id().as_deref(), gate);
                (Store::Data(backend), Arc::new(module), &config.modules.data_listen)
            }
        };
        let (readiness, tasks) = (Readiness::default(), Tasks::default());
        let (listeners, addresses) = bind(addresses, origin(addresses))?;
        let (admin_listeners, admin) = bind(&config.admin_listen, config.listen_origin)?;
        let allowed = AllowList::new(config.health_allow_from.iter().copied());
        let probe = Probe::new(Arc::new(ModuleHealth(store.clone())), allowed, readiness.clone());
        let front = (&metrics, &readiness, &tasks);
        let longest = Limits { target_bytes: 16 << 10, ..limits(config) };
        let drain = listen(front, listeners, handler, (longest, access_log))?;
        let service = Arc::new(Admin::new(probe, Arc::clone(&metrics)));
        let admin_drain = listen(front, admin_listeners, service, (limits(config), None))?;
        Ok(Self { addresses, admin, drains: [drain, admin_drain], tasks, store })
    }

    /// Where fronts are served.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where health and metrics are served.
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        &self.admin
    }

    /// Finishes requests under way for up to `limit`, then stops. Returns the number of requests cut.
    pub async fn stop(self, limit: Duration) -> usize {
        let [module, admin] = &self.drains;
        let cut = module.finish(limit).await;
        admin.finish(Duration::ZERO).await;
        if !self.tasks.stop(TASKS_LIMIT).await {
            tracing::warn!("background work did not end in time");
        }
        if let Store::Metadata(store) = &self.store
            && let Err(error) = store.close().await
        {
            tracing::error!(%error, "the metadata store did not close cleanly; nothing acknowledged is lost");
        }
        cut
    }
}

/// Of the two loopback addresses a machine without IPv6 has one only.
fn origin(addresses: &[SocketAddr]) -> ListenOrigin {
    let both = addresses.len() == 2 && addresses.iter().all(|address| address.ip().is_loopback());
    if both { ListenOrigin::Loopback } else { ListenOrigin::Configured }
}

/// Modules speak plain HTTP: they have a network of their own.
fn listen(
    (metrics, readiness, tasks): (&Arc<Metrics>, &Readiness, &Tasks),
    listeners: Vec<Listener>,
    handler: Arc<dyn Handler>,
    (limits, access_log): (Limits, Option<AccessLog>),
) -> Result<Drain, StartError> {
    let service = Service { handler, limits, metrics: Arc::clone(metrics), access_log, tls: None };
    Ok(serve(listeners, service, readiness.clone(), tasks)?)
}

/// Asks the module's store.
#[derive(Debug)]
struct ModuleHealth(Store);

impl ModuleHealth {
    async fn state(&self) -> ComponentHealth {
        match &self.0 {
            Store::Data(backend) => match tokio::time::timeout(PATIENCE, backend.probe()).await {
                Ok(Ok(())) => ComponentHealth::ok("data"),
                Ok(Err(error)) => ComponentHealth::failed("data", 503, error.to_string()),
                Err(_) => ComponentHealth::failed("data", 503, "no answer"),
            },
            Store::Metadata(store) if store.is_writable() => ComponentHealth::ok("metadata"),
            Store::Metadata(_) => {
                ComponentHealth::failed("metadata", 503, "read-only after a failed sync: restart the module")
            }
        }
    }
}

impl Health for ModuleHealth {
    fn report(&self) -> BoxFuture<'_, HealthReport> {
        async { HealthReport { components: vec![self.state().await] } }.boxed()
    }

    fn live(&self) -> BoxFuture<'_, bool> {
        async {
            match &self.0 {
                // A full disk is no reason to restart.
                Store::Data(_) => true,
                Store::Metadata(store) => store.is_writable(),
            }
        }
        .boxed()
    }
}
