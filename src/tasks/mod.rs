//! Background tasks: named, counted, joined at shutdown.
//!
//! A task that panics is told of in the log. Those without which the server would quietly stop doing its work are begun
//! again ([`Tasks::keep`]).

use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
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

/// Before a task that panicked is begun again.
const AGAIN: Duration = Duration::from_millis(500);

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
            run(name, task).await;
        });
    }

    /// As [`Tasks::spawn`], for a task that must not be missing: after a panic another one is made.
    pub fn keep<F>(&self, name: &'static str, mut make: impl FnMut(StopSignal) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let signal = self.stop_signal();
        self.spawn(name, async move {
            let mut stop = signal.clone();
            while !run(name, make(signal.clone())).await && stop.sleep(AGAIN).await {
                tracing::warn!(task = name, "task begins again");
            }
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

/// Runs a task to its end. Whether it came there: a panic is told of here, nobody else would hear of it.
async fn run(name: &'static str, task: impl Future<Output = ()>) -> bool {
    tracing::debug!(task = name, "task started");
    // What the task shared with others is behind locks that stay usable.
    let ended = AssertUnwindSafe(task).catch_unwind().await;
    match &ended {
        Ok(()) => tracing::debug!(task = name, "task ended"),
        Err(panic) => tracing::error!(task = name, panic = words(&**panic), "a background task panicked: report this"),
    }
    ended.is_ok()
}

/// What a panic was raised with.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_is_kept_begins_again_after_a_panic_and_ends_when_it_ends() {
        let (tasks, runs) = (Tasks::default(), Arc::new(AtomicUsize::new(0)));
        let (began, (tell, told)) = (Arc::clone(&runs), tokio::sync::oneshot::channel());
        let mut tell = Some(tell);
        tasks.keep("unlucky", move |_| {
            let run = began.fetch_add(1, Ordering::SeqCst);
            let tell = if run == 1 { tell.take() } else { None };
            async move {
                let Some(tell) = tell else { panic!("on purpose") };
                tell.send(()).unwrap();
            }
        });
        told.await.unwrap();
        assert!(tasks.stop(Duration::from_mins(1)).await);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_what_would_begin_again() {
        let tasks = Tasks::default();
        tasks.keep("unlucky", |_| async { panic!("on purpose") });
        tasks.spawn("too", async { panic!("on purpose, {}", "too") });
        tokio::task::yield_now().await;
        assert!(tasks.stop(Duration::from_mins(1)).await);
    }
}
