//! Taking a body into a file of our folder, where nobody sees it.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use rustix::fs::AtFlags;

use super::{
    super::{
        DataError,
        file::{
            budget::Gathered,
            receive::{Growing, Receiver},
        },
    },
    Core,
    identity::{Identity, WriteId},
    root::{Root, create, fault},
};
use crate::types::ByteStream;

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

impl Growing for Incoming {
    fn append(&mut self, mut piece: Gathered) -> Result<(), DataError> {
        Core::check_space(&self.root, piece.len() as u64)?;
        for slice in piece.slices() {
            self.file.write_all_at(slice, self.size).map_err(fault)?;
            self.size += slice.len() as u64;
        }
        Ok(())
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

/// A body on its way into a file.
#[derive(Debug)]
pub(super) struct Intake {
    core: Arc<Core>,
    root: Arc<Root>,
    target: Target,
    size: Option<u64>,
}

impl Intake {
    pub(super) fn new(core: &Arc<Core>, root: Arc<Root>, target: Target, size: Option<u64>) -> Self {
        Self { core: Arc::clone(core), root, target, size }
    }

    /// Takes the body to its clean end. The file goes with the answer, unless it is kept.
    pub(super) async fn run(self, body: ByteStream) -> Result<(Box<Incoming>, Identity), DataError> {
        let Self { core, root, target, size } = self;
        let (maker, sealer) = (Arc::clone(&core), Arc::clone(&core));
        let create = move || Incoming::create(&maker, &root, &target, size.unwrap_or(0));
        let finish = move |incoming: &mut Incoming, last: Gathered| {
            incoming.append(last)?;
            incoming.seal(&sealer)
        };
        Receiver::new(size, core.budget.join(), &core.writes, create).run(body, finish, &core.writes).await
    }
}
