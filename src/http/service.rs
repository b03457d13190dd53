//! What the connections of one service share.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use super::{Limits, Tls, drain::Stage, request_id::RequestIds};
use crate::{
    s3::Handler,
    telemetry::{AccessLog, Metrics},
};

/// What is served, and how.
#[derive(Clone)]
pub struct Service {
    /// Answers the requests.
    pub handler: Arc<dyn Handler>,
    /// What clients may take.
    pub limits: Limits,
    /// Where connections, refusals and panics are counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are told of, and with it whether they are counted in the request metrics: the admin port, whose
    /// probes are no one's requests, has none.
    pub access_log: Option<AccessLog>,
    /// Keys and certificates; plain HTTP without.
    pub tls: Option<Arc<Tls>>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("limits", &self.limits).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// A service in operation.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) service: Service,
    pub(super) refusing: Limits,
    pub(super) ids: RequestIds,
    pub(super) open: Open,
    pub(super) stage: watch::Sender<Stage>,
}

/// What is open now.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Shared with the gates, which read in smaller pieces when there are many.
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) refused: AtomicUsize,
    pub(super) requests: AtomicUsize,
}

impl Core {
    /// Counts a panic and logs what it said.
    pub(super) fn panicked(&self, panic: &(dyn Any + Send)) {
        self.service.metrics.panics.inc();
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        tracing::error!(panic = said.unwrap_or("something that is no text"), "a request handler panicked");
    }
}

/// A connection's place among the open ones; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    core: Arc<Core>,
    refused: bool,
    /// Connections that were open when this one came.
    pub(super) others: usize,
}

impl Place {
    /// Takes a place for a connection, or one among those to be refused; nothing if even these are all taken.
    pub(super) fn take(core: &Arc<Core>) -> Option<Self> {
        let limits = &core.service.limits;
        let others = core.open.connections.fetch_add(1, Ordering::Relaxed);
        if others < limits.connections {
            core.service.metrics.connections.inc();
            return Some(Self { core: Arc::clone(core), refused: false, others });
        }
        core.open.connections.fetch_sub(1, Ordering::Relaxed);
        // A handshake costs too much to say no after it.
        if core.service.tls.is_none() {
            if core.open.refused.fetch_add(1, Ordering::Relaxed) < limits.told_to_slow_down() {
                return Some(Self { core: Arc::clone(core), refused: true, others });
            }
            core.open.refused.fetch_sub(1, Ordering::Relaxed);
        }
        None
    }

    /// Whether the connection is only there to be told to slow down.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.refused {
            self.core.open.refused.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.core.open.connections.fetch_sub(1, Ordering::Relaxed);
            self.core.service.metrics.connections.dec();
        }
    }
}
