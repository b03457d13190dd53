//! Stopping without losing what is under way.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::watch;

use super::service::Core;
use crate::telemetry::health::Readiness;

/// How far a service is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Connections are accepted.
    Open,
    /// No new ones, and idle ones are closed; requests under way are finished.
    Draining,
    /// Everything is cut.
    Cut,
}

/// Stops a service. Clones stop the same one.
#[derive(Clone, Debug)]
pub struct Drain {
    pub(super) core: Arc<Core>,
    /// How many listeners have not ended yet.
    pub(super) listeners: watch::Receiver<usize>,
    pub(super) readiness: Readiness,
}

impl Drain {
    /// Takes no further connections, closes those that are idle, makes `/ready` say 503. Requests under way go on.
    pub fn start(&self) {
        self.readiness.stop();
        self.core.advance(Stage::Draining);
    }

    /// Waits until every connection has ended by itself.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn ended(&self) {
        // An error means that the listeners are gone.
        drop(self.listeners.clone().wait_for(|running| *running == 0).await);
    }

    /// Cuts what still runs.
    pub fn cut(&self) {
        self.readiness.stop();
        self.core.advance(Stage::Cut);
    }

    /// Drains for up to `limit`, then cuts; returns the number of requests that were cut.
    pub async fn finish(&self, limit: Duration) -> usize {
        self.start();
        if tokio::time::timeout(limit, self.ended()).await.is_ok() {
            return 0;
        }
        let cut = self.core.open.requests.load(Ordering::Relaxed);
        self.cut();
        self.ended().await;
        cut
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.core.open.connections.load(Ordering::Relaxed)
    }

    /// Requests that are being served now.
    pub fn requests(&self) -> usize {
        self.core.open.requests.load(Ordering::Relaxed)
    }
}

impl Core {
    /// Goes on to `stage`, never back.
    pub(super) fn advance(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let moves = *now < stage;
            *now = (*now).max(stage);
            moves
        });
    }
}
