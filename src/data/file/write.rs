//! Writing a blob: gather, write, sync, publish or remove.
//!
//! The body is pulled on the executor and gathered without copying; each full piece is written by the blocking pool
//! while the next one comes in. The file exists under its final name from the first piece on, but nobody knows that
//! name before the metadata commit; [`NewBlob`] removes it on every way out but success.

use std::{fs::File, io, mem, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{runtime::Handle, task::JoinHandle};

use super::{
    super::{DataError, PutHint, Written, announced::Announced, name::BlobName},
    Core, FileDurability,
    budget::{Gathered, Share},
    disk::{fault, write_all},
    format::{BlockSums, file_length},
    pool,
};
use crate::types::ByteStream;

/// From this announced size on, blocks are set aside in one go: few extents however many uploads run side by side, and
/// a full device shows at once. What is written in a piece or two, the file system places as well by itself.
const ALLOCATE_FROM: u64 = 4 * 1024 * 1024;

/// How many bytes a large upload writes before the device is told to begin: the sync at the end finds little left to
/// do, and dirty pages do not pile up.
const WRITEBACK_STEP: u64 = 8 * 1024 * 1024;

/// A body that brings nothing for this long gives back what it holds when memory is tight.
const STALL: Duration = Duration::from_millis(250);

/// A file in the making. Dropped, it removes the file; so it is dropped only where blocking is allowed.
#[derive(Debug)]
struct NewBlob {
    core: Arc<Core>,
    name: BlobName,
    file: File,
    sums: BlockSums,
    allocated: bool,
    /// Up to here the device has been told to begin.
    writing_back: u64,
    kept: bool,
}

impl NewBlob {
    /// Makes the file, unless the device is too full for it.
    fn create(core: Arc<Core>, name: BlobName, size: Option<u64>) -> Result<Self, DataError> {
        core.space.check(&*core.disk, size.map_or(0, file_length))?;
        let file = core.disk.create(name).map_err(fault)?;
        let mut blob =
            Self { core, name, file, sums: BlockSums::new(), allocated: false, writing_back: 0, kept: false };
        if let Some(size) = size.filter(|size| *size >= ALLOCATE_FROM) {
            blob.allocate(file_length(size))?;
        }
        Ok(blob)
    }

    fn allocate(&mut self, length: u64) -> Result<(), DataError> {
        match self.core.disk.allocate(&self.file, length) {
            Ok(()) => self.allocated = true,
            // Not every file system can; writing works all the same.
            Err(error) if is_optional(error.kind()) => {}
            Err(error) => return Err(fault(error)),
        }
        Ok(())
    }

    /// Writes a piece behind those before it.
    fn append(&mut self, mut piece: Gathered) -> Result<(), DataError> {
        if !self.allocated {
            self.core.space.check(&*self.core.disk, piece.len() as u64)?;
        }
        let offset = self.sums.payload();
        let slices: Vec<&[u8]> = piece.slices().inspect(|slice| self.sums.update(slice)).collect();
        write_all(&*self.core.disk, &self.file, &slices, offset).map_err(fault)?;
        self.start_writeback();
        Ok(())
    }

    fn start_writeback(&mut self) {
        let written = self.sums.payload();
        if self.core.durability == FileDurability::Strict && written - self.writing_back >= WRITEBACK_STEP {
            // Only advice: what goes wrong with the writing shows in the sync.
            drop(self.core.disk.start_writeback(&self.file, self.writing_back..written));
            self.writing_back = written;
        }
    }

    /// Writes the last piece and the tail, and makes all durable.
    fn finish(&mut self, mut piece: Gathered) -> Result<u64, DataError> {
        let offset = self.sums.payload();
        let mut slices: Vec<&[u8]> = piece.slices().inspect(|slice| self.sums.update(slice)).collect();
        let size = self.sums.payload();
        let tail = mem::replace(&mut self.sums, BlockSums::new()).finish(self.name);
        slices.push(&tail);
        write_all(&*self.core.disk, &self.file, &slices, offset).map_err(fault)?;
        drop(piece);
        fail::fail_point!("data-file-written", |_| Err(DataError::Unavailable("fail point".to_owned())));
        if self.core.durability == FileDurability::Strict {
            // A failed sync is not tried again: the kernel may have dropped the pages and would report success.
            self.core.disk.sync_file(&self.file).map_err(fault)?;
            fail::fail_point!("data-file-synced", |_| Err(DataError::Unavailable("fail point".to_owned())));
            self.core.dir_syncs.sync(&*self.core.disk, self.name.shard()).map_err(fault)?;
        }
        Ok(size)
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = self.core.disk.remove(self.name) {
            // The audit of the data directory finds it: no record names it.
            tracing::warn!(blob = %self.name, %error, "an unfinished blob file could not be removed");
        }
    }
}

/// Faults of an allocation that leave the file as good as before.
fn is_optional(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput | io::ErrorKind::Interrupted)
}

/// Where the file of an upload is.
#[derive(Debug)]
enum Stage {
    /// Not made yet.
    Unborn,
    /// Here.
    Idle(Box<NewBlob>),
    /// With the blocking pool, which writes a piece.
    Writing(JoinHandle<Result<Box<NewBlob>, DataError>>),
}

/// One put.
#[derive(Debug)]
pub(super) struct Upload {
    core: Arc<Core>,
    name: BlobName,
    size: Option<u64>,
    share: Share,
    stage: Stage,
}

impl Upload {
    pub(super) fn new(core: &Arc<Core>, hint: &PutHint) -> Result<Self, DataError> {
        let name = BlobName::for_put(hint.blob.as_ref())?;
        Ok(Self { core: Arc::clone(core), name, size: hint.size, share: core.budget.join(), stage: Stage::Unborn })
    }

    /// Takes the body to its end. On an error the file is gone when this returns.
    pub(super) async fn run(mut self, body: ByteStream) -> Result<Written, DataError> {
        match self.receive(body).await {
            Ok(written) => Ok(written),
            Err(error) => {
                // A piece still under way fails or not: either way the body has failed first.
                drop(self.settle().await);
                if let Some(blob) = self.take() {
                    pool::run(move || drop(blob)).await?;
                }
                Err(error)
            }
        }
    }

    async fn receive(&mut self, mut body: ByteStream) -> Result<Written, DataError> {
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
                    // The last piece waits for the verdict and goes with the tail.
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
        // The body may hold buffers of the connection; the sync can take long.
        drop(body);
        self.finish(piece).await
    }

    /// Hands a piece to the blocking pool, once the piece before it is written; returns the next one to gather.
    async fn flush(&mut self, piece: Gathered) -> Result<Gathered, DataError> {
        self.settle().await?;
        let permit = pool::permit(&self.core.writes).await?;
        let blob = self.take_or_create();
        self.stage = Stage::Writing(tokio::task::spawn_blocking(move || {
            let mut blob = blob()?;
            let result = blob.append(piece);
            drop(permit);
            result.map(|()| blob)
        }));
        if self.share.is_tight() {
            // With many uploads, memory is worth more than the overlap of writing and receiving.
            self.settle().await?;
        }
        Ok(self.share.gather())
    }

    async fn finish(&mut self, piece: Gathered) -> Result<Written, DataError> {
        self.settle().await?;
        let permit = pool::permit(&self.core.syncs).await?;
        let blob = self.take_or_create();
        let job = tokio::task::spawn_blocking(move || {
            let mut blob = blob()?;
            let result = blob.finish(piece);
            drop(permit);
            // Still unkept: should nobody wait for this any more, the file goes when the result is dropped.
            result.map(|size| (blob, size))
        });
        let (mut blob, size) = pool::join(job).await??;
        blob.kept = true;
        Ok(Written { blob: self.name.id(), size })
    }

    /// Waits until the pool has given the file back.
    async fn settle(&mut self) -> Result<(), DataError> {
        if let Stage::Writing(job) = &mut self.stage {
            let result = pool::join(job).await;
            self.stage = Stage::Unborn;
            self.stage = Stage::Idle(result??);
        }
        Ok(())
    }

    /// The file, where there is one and it is not with the pool.
    fn take(&mut self) -> Option<Box<NewBlob>> {
        match mem::replace(&mut self.stage, Stage::Unborn) {
            Stage::Idle(blob) => Some(blob),
            Stage::Unborn | Stage::Writing(_) => None,
        }
    }

    /// What a job on the pool calls to get the file.
    fn take_or_create(&mut self) -> impl FnOnce() -> Result<Box<NewBlob>, DataError> + Send + 'static {
        let (blob, core, name, size) = (self.take(), Arc::clone(&self.core), self.name, self.size);
        move || blob.map_or_else(|| NewBlob::create(core, name, size).map(Box::new), Ok)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Removing a large file takes long: not on the executor. A file that is with the pool is dropped there.
        if let (Some(blob), Ok(runtime)) = (self.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(blob)));
        }
    }
}
