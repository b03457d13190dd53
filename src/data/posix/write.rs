//! Taking a body into a file of our folder, where nobody sees it.

use std::{fs::File, mem, os::unix::fs::FileExt, sync::Arc, time::Duration};

use futures_util::StreamExt;
use rustix::fs::AtFlags;
use tokio::{runtime::Handle as Runtime, task::JoinHandle};

use super::{
    super::{
        DataError,
        announced::Announced,
        file::{
            budget::{Gathered, Share},
            pool,
        },
    },
    Core,
    identity::{Identity, WriteId},
    root::{Root, create, fault},
};
use crate::types::ByteStream;

/// A body that brings nothing for this long gives back what it holds when memory is tight.
const STALL: Duration = Duration::from_millis(250);

/// A file that comes in. Dropped, it is removed, unless it was kept.
#[derive(Debug)]
pub(super) struct Incoming {
    root: Arc<Root>,
    dir: Arc<File>,
    name: String,
    pub(super) file: File,
    pub(super) write: WriteId,
    pub(super) size: u64,
    kept: bool,
}

impl Incoming {
    /// Makes the file, in `dir` of `root`. Blocks.
    pub(super) fn create(core: &Core, root: &Arc<Root>, target: &Target, size: u64) -> Result<Self, DataError> {
        Core::check_space(root, size)?;
        let dir = target.dir(root)?;
        let file = create(&dir, &target.name).map_err(fault)?;
        let (root, name) = (Arc::clone(root), target.name.clone());
        let incoming = Self { root, dir, name, file, write: target.write, size: 0, kept: false };
        incoming.root.mark(&incoming.file, core.options.file_mode(), target.write).map_err(fault)?;
        Ok(incoming)
    }

    fn append(&mut self, mut piece: Gathered) -> Result<(), DataError> {
        Core::check_space(&self.root, piece.len() as u64)?;
        for slice in piece.slices() {
            self.file.write_all_at(slice, self.size).map_err(fault)?;
            self.size += slice.len() as u64;
        }
        Ok(())
    }

    /// Makes the bytes durable and tells what the file is known by. Blocks.
    pub(super) fn seal(&mut self, core: &Core) -> Result<Identity, DataError> {
        if core.options.is_strict() {
            // Not tried again where it fails: the kernel may have dropped the pages and would report success.
            self.file.sync_all().map_err(fault)?;
        }
        let identity = Identity::of(&self.file).map_err(fault)?;
        let whole = identity.filter(|identity| identity.size == self.size);
        whole.ok_or_else(|| DataError::Unavailable("a file that came in is not what was written".to_owned()))
    }

    /// Leaves the file where it is.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = rustix::fs::unlinkat(&*self.dir, &self.name, AtFlags::empty()) {
            // The sweep at some later start finds it.
            tracing::warn!(file = self.name, %error, "an unfinished file could not be removed");
        }
    }
}

/// Where a body goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The upload whose part it is.
    pub(super) upload: Option<WriteId>,
    pub(super) name: String,
    pub(super) write: WriteId,
}

impl Target {
    /// A body in one piece.
    pub(super) fn whole() -> Result<Self, DataError> {
        let write = WriteId::random()?;
        Ok(Self { upload: None, name: write.to_string(), write })
    }

    /// A part of an upload.
    pub(super) fn part(upload: WriteId, number: u32) -> Result<Self, DataError> {
        let write = WriteId::random()?;
        Ok(Self { upload: Some(upload), name: format!("{number}-{write}"), write })
    }

    fn dir(&self, root: &Root) -> Result<Arc<File>, DataError> {
        let dir = match self.upload {
            None => root.staged.try_clone().map_err(fault)?,
            Some(upload) => root.upload(upload)?,
        };
        Ok(Arc::new(dir))
    }
}

/// Where the file of a body is.
#[derive(Debug)]
enum Stage {
    Unborn,
    Idle(Box<Incoming>),
    /// With the blocking pool, which writes a piece.
    Writing(JoinHandle<Result<Box<Incoming>, DataError>>),
}

/// A body on its way into a file.
#[derive(Debug)]
pub(super) struct Intake {
    core: Arc<Core>,
    root: Arc<Root>,
    target: Target,
    size: Option<u64>,
    share: Share,
    stage: Stage,
}

impl Intake {
    pub(super) fn new(core: &Arc<Core>, root: Arc<Root>, target: Target, size: Option<u64>) -> Self {
        let share = core.budget.join();
        Self { core: Arc::clone(core), root, target, size, share, stage: Stage::Unborn }
    }

    /// Takes the body to its clean end. The file goes with the answer, unless it is kept.
    pub(super) async fn run(mut self, mut body: ByteStream) -> Result<(Box<Incoming>, Identity), DataError> {
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
        let incoming = self.take_or_create();
        self.stage = Stage::Writing(tokio::task::spawn_blocking(move || {
            let mut incoming = incoming()?;
            let result = incoming.append(piece);
            drop(permit);
            result.map(|()| incoming)
        }));
        if self.share.is_tight() {
            self.settle().await?;
        }
        Ok(self.share.gather())
    }

    async fn finish(&mut self, piece: Gathered) -> Result<(Box<Incoming>, Identity), DataError> {
        self.settle().await?;
        let permit = pool::permit(&self.core.writes).await?;
        let (incoming, core) = (self.take_or_create(), Arc::clone(&self.core));
        pool::run(move || {
            let mut incoming = incoming()?;
            incoming.append(piece)?;
            let identity = incoming.seal(&core)?;
            drop(permit);
            Ok((incoming, identity))
        })
        .await?
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

    fn take(&mut self) -> Option<Box<Incoming>> {
        match mem::replace(&mut self.stage, Stage::Unborn) {
            Stage::Idle(incoming) => Some(incoming),
            Stage::Unborn | Stage::Writing(_) => None,
        }
    }

    /// What a job on the pool calls to get the file.
    fn take_or_create(&mut self) -> impl FnOnce() -> Result<Box<Incoming>, DataError> + Send + 'static {
        let (incoming, core, root) = (self.take(), Arc::clone(&self.core), Arc::clone(&self.root));
        let (target, size) = (self.target.clone(), self.size.unwrap_or(0));
        move || incoming.map_or_else(|| Incoming::create(&core, &root, &target, size).map(Box::new), Ok)
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // Removing a large file takes long: not on the executor. A file that is with the pool is dropped there.
        if let (Some(incoming), Ok(runtime)) = (self.take(), Runtime::try_current()) {
            drop(runtime.spawn_blocking(move || drop(incoming)));
        }
    }
}
