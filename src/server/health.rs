//! How the server's components are.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    metadata::{Namespace, Table},
    storage::Storage,
    telemetry::health::{ComponentHealth, Health, HealthReport},
};

/// How long a component may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the stores.
#[derive(Debug)]
pub(super) struct ServerHealth {
    pub(super) storage: Storage,
    /// What is known about credentials that everybody knows.
    pub(super) credentials: Option<String>,
    /// Metadata is in another process.
    pub(super) metadata_module: bool,
}

impl ServerHealth {
    async fn metadata(&self) -> ComponentHealth {
        let store = self.storage.metadata();
        let read = tokio::time::timeout(PATIENCE, store.get(Namespace::global(Table::System), b"format")).await;
        match read {
            Ok(Ok(_)) if store.is_writable() => ComponentHealth::ok("bucketfile"),
            Ok(Ok(_)) => {
                let why = if self.metadata_module {
                    "the metadata module takes no writes of this front: its sync failed, or another front took over"
                } else {
                    "read-only after a failed sync: restart the server"
                };
                ComponentHealth::failed("bucketfile", 503, why)
            }
            Ok(Err(e)) => ComponentHealth::failed("bucketfile", 500, e.to_string()),
            Err(_) => ComponentHealth::failed("bucketfile", 500, "no answer"),
        }
    }
}

impl Health for ServerHealth {
    fn report(&self) -> BoxFuture<'_, HealthReport> {
        async {
            let mut components = Vec::new();
            for location in self.storage.locations().iter() {
                let name = location.name.to_string();
                components.push(match tokio::time::timeout(PATIENCE, location.backend.probe()).await {
                    Ok(Ok(())) => ComponentHealth::ok(name),
                    Ok(Err(e)) => ComponentHealth::failed(name, 503, e.to_string()),
                    Err(_) => ComponentHealth::failed(name, 503, "no answer"),
                });
            }
            components.push(self.metadata().await);
            components.push(match &self.credentials {
                None => ComponentHealth::ok("vaultMem"),
                Some(warning) => ComponentHealth { message: warning.clone(), ..ComponentHealth::ok("vaultMem") },
            });
            HealthReport { components }
        }
        .boxed()
    }

    fn live(&self) -> BoxFuture<'_, bool> {
        async {
            if self.metadata_module {
                // A restart brings back no module; it does help a front that another one has taken over from.
                return self.storage.metadata().is_writable();
            }
            self.metadata().await.code == 200
        }
        .boxed()
    }
}
