//! Background tasks: named, counted, joined at shutdown.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};

/// The set of background tasks of a server. Clones share it.
#[derive(Clone, Debug)]
pub struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    stop: Arc<watch::Sender<bool>>,
}

/// Tells a task that the server is stopping.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<bool>);

impl Default for Tasks {
    fn default() -> Self {
        Self { set: Arc::default(), stop: Arc::new(watch::Sender::new(false)) }
    }
}

impl Tasks {
    /// Runs `task` until it ends; it should end soon after the stop signal.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {}
        set.spawn(async move {
            tracing::debug!(task = name, "task started");
            task.await;
            tracing::debug!(task = name, "task ended");
        });
    }

    /// A signal that fires when [`Tasks::stop`] is called.
    pub fn stop_signal(&self) -> StopSignal {
        StopSignal(self.stop.subscribe())
    }

    /// Signals every task and waits up to `limit` for them to end; what still runs then is cancelled.
    ///
    /// Returns whether all ended by themselves.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.stop.send_replace(true);
        let mut set = std::mem::take(&mut *self.set.lock());
        let all = async { while set.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(limit, all).await.is_ok();
        set.shutdown().await;
        in_time
    }
}

impl StopSignal {
    /// Whether the server is stopping.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when the server is stopping.
    pub async fn wait(&mut self) {
        // A dropped sender means there is no server left to wait for.
        drop(self.0.wait_for(|stopping| *stopping).await);
    }

    /// Sleeps for `time`; `false` if the server is stopping.
    pub async fn sleep(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.wait()).await.is_err()
    }
}
