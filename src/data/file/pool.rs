//! Blocking work: on the runtime's blocking pool, never more at a time than a device can use.

use std::{future::Future, io, sync::Arc};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinError,
};

use super::super::DataError;

/// Runs `work` on the blocking pool.
pub(in crate::data) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DataError> {
    join(tokio::task::spawn_blocking(work)).await
}

/// Waits for a job; one that panicked, or that the end of the runtime cancelled, is a fault.
pub(in crate::data) async fn join<T>(job: impl Future<Output = Result<T, JoinError>>) -> Result<T, DataError> {
    job.await.map_err(|error| DataError::Io(io::Error::other(error)))
}

/// Waits for a turn.
pub(in crate::data) async fn permit(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, DataError> {
    let turn = Arc::clone(turns).acquire_owned().await;
    turn.map_err(|_| DataError::Unavailable("the backend is closed".to_owned()))
}
