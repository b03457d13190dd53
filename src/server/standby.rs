//! Admin listeners of a server that waits for its folders.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{self, BoxFuture},
};

use super::{
    StartError,
    assemble::{Front, bind, limits},
};
use crate::{
    admin::Admin,
    config::Config,
    http::Drain,
    telemetry::{
        AllowList, Probe,
        health::{Health, HealthReport},
    },
};

/// Serves `/live`, `/ready` and `/metrics` until the folders are ours.
#[derive(Debug)]
pub(super) struct Standby {
    front: Front,
    drain: Drain,
}

/// There are no components yet.
#[derive(Debug)]
struct Nothing;

impl Health for Nothing {
    fn report(&self) -> BoxFuture<'_, HealthReport> {
        future::ready(HealthReport::default()).boxed()
    }
}

impl Standby {
    /// Listens where the server will.
    pub(super) fn start(config: &Config) -> Result<Self, StartError> {
        let front = Front::new(config)?;
        front.readiness.wait_for("starting");
        let allowed = AllowList::new(config.health_allow_from.iter().copied());
        let probe = Probe::new(Arc::new(Nothing), allowed, front.readiness.clone());
        let (listeners, _) = bind(&config.admin_listen, config.listen_origin)?;
        let admin = Arc::new(Admin::new(probe, Arc::clone(&front.metrics)));
        let drain = front.listen(listeners, admin, limits(config), None)?;
        Ok(Self { front, drain })
    }

    /// What `/ready` says.
    pub(super) fn explain(&self, why: &str) {
        self.front.readiness.wait_for(why);
    }

    /// Makes way for the server.
    pub(super) async fn end(self) {
        self.drain.finish(Duration::ZERO).await;
        self.front.tasks.stop(Duration::from_secs(1)).await;
    }
}
