//! How the server's components are.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    location::{Location, LocationTable},
    metadata::{Namespace, Table},
    storage::{LocationUsage, Storage},
    telemetry::health::{ComponentHealth, ComponentKind, Health, HealthReport},
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
    /// Locations that hold something and are not configured.
    async fn orphans(&self, table: &LocationTable) -> Vec<ComponentHealth> {
        let asked = tokio::time::timeout(PATIENCE, self.storage.usage_of_locations()).await;
        // Where the metadata does not answer, its own component tells.
        let Ok(Ok(usage)) = asked else { return Vec::new() };
        let orphans =
            usage.into_iter().filter(|(name, held)| table.get(name).is_none() && *held != LocationUsage::default());
        let component = |(name, held): (String, LocationUsage)| {
            let text = format!("is not configured, and holds {} versions", held.versions);
            ComponentHealth::failed(name, 503, text).of(ComponentKind::External)
        };
        orphans.map(component).collect()
    }

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

/// How a location is. One of this machine is asked; of others it is known, because they are asked all the time.
async fn location_health(location: &Location) -> ComponentHealth {
    let name = location.name.to_string();
    let Some(health) = &location.health else {
        let component = match tokio::time::timeout(PATIENCE, location.backend.probe()).await {
            Ok(Ok(())) => ComponentHealth::ok(name),
            Ok(Err(e)) => ComponentHealth::failed(name, 503, e.to_string()),
            Err(_) => ComponentHealth::failed(name, 503, "no answer"),
        };
        return component.of(ComponentKind::Location);
    };
    let report = health.report();
    if !report.is_up {
        return ComponentHealth::failed(name, 503, report.problem).of(ComponentKind::External);
    }
    let (message, versioning) = health.good_news();
    let well = ComponentHealth { message: message.to_owned(), versioning, ..ComponentHealth::ok(name) };
    well.of(ComponentKind::External)
}

impl Health for ServerHealth {
    fn report(&self) -> BoxFuture<'_, HealthReport> {
        async {
            let mut components = Vec::new();
            let table = self.storage.locations();
            for location in table.iter() {
                components.push(location_health(location).await);
            }
            components.extend(self.orphans(&table).await);
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
