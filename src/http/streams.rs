//! The tasks of an HTTP/2 connection: one per request, none outliving the connection.

use std::{future::Future, sync::Arc};

use parking_lot::Mutex;
use tokio::task::JoinSet;

/// Runs the streams of one connection. hyper would leave them to the runtime, where a request would go on after its
/// connection was cut.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamTasks(Arc<Mutex<JoinSet<()>>>);

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut tasks = self.0.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(stream);
    }
}

impl StreamTasks {
    /// Ends what still runs.
    pub(super) fn stop(&self) {
        self.0.lock().abort_all();
    }
}
