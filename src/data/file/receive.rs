//! Taking a body into a file: gathered on the executor, written on the blocking pool.
//!
//! The body is pulled and gathered without copying; each full piece is written by the pool while the next one comes in.
//! The file is made with its first piece. It goes on every way out but a clean end.

use std::{mem, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};

use super::{
    super::{DataError, announced::Announced},
    budget::{Gathered, Share},
    pool,
};
use crate::types::ByteStream;

/// A body that brings nothing for this long gives back what it holds when memory is tight.
const STALL: Duration = Duration::from_millis(250);

/// A file in the making. Dropped, it removes itself, so it is dropped only where blocking is allowed.
pub(in crate::data) trait Growing: Send + Sized + 'static {
    /// Writes a piece behind those before it. Blocks.
    fn append(&mut self, piece: Gathered) -> Result<(), DataError>;
}

/// Where the file is.
enum Stage<F> {
    /// Not made yet.
    Unborn(Box<dyn FnOnce() -> Result<F, DataError> + Send>),
    /// Here.
    Idle(Box<F>),
    /// With the blocking pool, which writes a piece.
    Writing(JoinHandle<Result<Box<F>, DataError>>),
    /// Removed, or given away.
    Gone,
}

/// A body on its way into a file.
pub(in crate::data) struct Receiver<F: Growing> {
    size: Option<u64>,
    share: Share,
    writes: Arc<Semaphore>,
    stage: Stage<F>,
}

impl<F: Growing> Receiver<F> {
    /// For a body of `size` bytes, where that is known. `create` makes the file; it may block. `writes` are the turns of
    /// pieces.
    pub(in crate::data) fn new(
        size: Option<u64>,
        share: Share,
        writes: &Arc<Semaphore>,
        create: impl FnOnce() -> Result<F, DataError> + Send + 'static,
    ) -> Self {
        Self { size, share, writes: Arc::clone(writes), stage: Stage::Unborn(Box::new(create)) }
    }

    /// Takes the body to its clean end; `finish` gets the last piece, on the pool, in a turn of `finishes`. On an error
    /// the file is gone when this returns.
    pub(in crate::data) async fn run<T: Send + 'static>(
        mut self,
        body: ByteStream,
        finish: impl FnOnce(&mut F, Gathered) -> Result<T, DataError> + Send + 'static,
        finishes: &Arc<Semaphore>,
    ) -> Result<(Box<F>, T), DataError> {
        let outcome = match self.receive(body).await {
            Ok(last) => self.finish(last, finish, finishes).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // A piece still under way fails or not: either way the body has failed first.
            drop(self.settle().await);
            if let Stage::Idle(file) = self.take() {
                pool::run(move || drop(file)).await?;
            }
        }
        outcome
    }

    /// Takes the body to its clean end; gives what is not written yet.
    async fn receive(&mut self, mut body: ByteStream) -> Result<Gathered, DataError> {
        let announced = Announced(self.size);
        let mut piece = self.share.gather();
        let mut received = 0;
        loop {
            match tokio::time::timeout(STALL, body.next()).await {
                Ok(Some(slice)) => {
                    let slice = slice?;
                    received += slice.len() as u64;
                    announced.allows(received)?;
                    piece.push(slice);
                    // The last piece waits for the verdict and goes with the end.
                    if piece.len() >= self.share.flush_at() && Some(received) != self.size {
                        piece = self.flush(piece).await?;
                    }
                }
                Ok(None) => break,
                Err(_) if piece.len() > 0 && self.share.is_tight() => piece = self.flush(piece).await?,
                Err(_) => {}
            }
        }
        announced.is_met_by(received)?;
        // The body goes here: it may hold buffers of the connection, and the sync can take long.
        Ok(piece)
    }

    /// Hands a piece to the blocking pool, once the piece before it is written; returns the next one to gather.
    async fn flush(&mut self, piece: Gathered) -> Result<Gathered, DataError> {
        self.settle().await?;
        let permit = pool::permit(&self.writes).await?;
        let file = self.take_or_create();
        self.stage = Stage::Writing(tokio::task::spawn_blocking(move || {
            let mut file = file()?;
            let result = file.append(piece);
            drop(permit);
            result.map(|()| file)
        }));
        if self.share.is_tight() {
            // With many uploads, memory is worth more than the overlap of writing and receiving.
            self.settle().await?;
        }
        Ok(self.share.gather())
    }

    async fn finish<T: Send + 'static>(
        &mut self,
        last: Gathered,
        finish: impl FnOnce(&mut F, Gathered) -> Result<T, DataError> + Send + 'static,
        turns: &Arc<Semaphore>,
    ) -> Result<(Box<F>, T), DataError> {
        self.settle().await?;
        let permit = pool::permit(turns).await?;
        let file = self.take_or_create();
        // Should nobody wait for this any more, the file goes when the result is dropped.
        let job = tokio::task::spawn_blocking(move || {
            let mut file = file()?;
            let result = finish(&mut file, last);
            drop(permit);
            result.map(|told| (file, told))
        });
        pool::join(job).await?
    }

    /// Waits until the pool has given the file back.
    async fn settle(&mut self) -> Result<(), DataError> {
        if let Stage::Writing(job) = &mut self.stage {
            let result = pool::join(job).await;
            self.stage = Stage::Gone;
            self.stage = Stage::Idle(result??);
        }
        Ok(())
    }

    fn take(&mut self) -> Stage<F> {
        mem::replace(&mut self.stage, Stage::Gone)
    }

    /// What a job on the pool calls to get the file.
    fn take_or_create(&mut self) -> impl FnOnce() -> Result<Box<F>, DataError> + Send + 'static {
        let stage = self.take();
        move || match stage {
            Stage::Unborn(create) => create().map(Box::new),
            Stage::Idle(file) => Ok(file),
            Stage::Writing(_) | Stage::Gone => Err(DataError::Unavailable("the file is gone already".to_owned())),
        }
    }
}

impl<F: Growing> Drop for Receiver<F> {
    fn drop(&mut self) {
        // Removing a large file takes long: not on the executor. A file that is with the pool is dropped there.
        if let (Stage::Idle(file), Ok(runtime)) = (self.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(file)));
        }
    }
}
