//! A disk that notes every call and fails the ones it is told to.

use std::{
    fmt,
    fs::File,
    io::{self, IoSlice},
    ops::Range,
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;

use crate::data::{
    DiskUsage,
    file::{
        FileBackend, FileOptions,
        disk::{Disk, RootDir},
        layout,
    },
    name::BlobName,
};

/// A call that changes the disk, or opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Allocate,
    Write,
    Writeback,
    SyncFile,
    SyncShard,
    Remove,
    Open,
    /// Noted by a test: the backend has answered.
    Answer,
}

/// Done once, in the middle of a call.
type Interruption = Box<dyn FnOnce() + Send>;

pub(super) struct Script {
    inner: RootDir,
    steps: Mutex<Vec<Step>>,
    /// Steps to fail, each once, with a code of the system.
    faults: Mutex<Vec<(Step, rustix::io::Errno)>>,
    /// The longest write that is taken at once.
    longest_write: Mutex<usize>,
    /// Done between the next opening of a file and its return.
    after_open: Mutex<Option<Interruption>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Script {
    /// A backend on a scripted disk.
    pub(super) fn backend(root: &Path, options: FileOptions) -> (Arc<Self>, FileBackend) {
        let layout::Owned { dir, lock, id } = layout::prepare(root).unwrap();
        let script = Arc::new(Self {
            inner: dir,
            steps: Mutex::default(),
            faults: Mutex::default(),
            longest_write: Mutex::new(usize::MAX),
            after_open: Mutex::new(None),
        });
        let disk = Arc::<Self>::clone(&script);
        (script, FileBackend::on(disk, lock, id, options))
    }

    pub(super) fn fail(&self, step: Step, code: rustix::io::Errno) {
        self.faults.lock().push((step, code));
    }

    pub(super) fn write_at_most(&self, bytes: usize) {
        *self.longest_write.lock() = bytes;
    }

    pub(super) fn after_open(&self, work: impl FnOnce() + Send + 'static) {
        *self.after_open.lock() = Some(Box::new(work));
    }

    pub(super) fn note(&self, step: Step) {
        self.steps.lock().push(step);
    }

    /// The steps so far; the next call starts anew.
    pub(super) fn take(&self) -> Vec<Step> {
        std::mem::take(&mut self.steps.lock())
    }

    fn step(&self, step: Step) -> io::Result<()> {
        self.note(step);
        let mut faults = self.faults.lock();
        match faults.iter().position(|(failing, _)| *failing == step) {
            Some(index) => Err(faults.remove(index).1.into()),
            None => Ok(()),
        }
    }
}

impl Disk for Script {
    fn create(&self, name: BlobName) -> io::Result<File> {
        self.step(Step::Create)?;
        self.inner.create(name)
    }

    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        self.step(Step::Allocate)?;
        self.inner.allocate(file, length)
    }

    fn write(&self, file: &File, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.step(Step::Write)?;
        let longest = *self.longest_write.lock();
        if longest == usize::MAX {
            return self.inner.write(file, pieces, offset);
        }
        let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
        self.inner.write(file, &[IoSlice::new(&first[..first.len().min(longest)])], offset)
    }

    fn start_writeback(&self, file: &File, range: Range<u64>) -> io::Result<()> {
        self.step(Step::Writeback)?;
        self.inner.start_writeback(file, range)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.step(Step::SyncFile)?;
        self.inner.sync_file(file)
    }

    fn sync_shard(&self, shard: u8) -> io::Result<()> {
        self.step(Step::SyncShard)?;
        self.inner.sync_shard(shard)
    }

    fn open(&self, name: BlobName) -> io::Result<File> {
        self.step(Step::Open)?;
        let file = self.inner.open(name);
        let work = self.after_open.lock().take();
        if let Some(work) = work {
            work();
        }
        file
    }

    fn remove(&self, name: BlobName) -> io::Result<()> {
        self.step(Step::Remove)?;
        self.inner.remove(name)
    }

    fn names(&self, shard: u8) -> io::Result<Vec<BlobName>> {
        self.inner.names(shard)
    }

    fn usage(&self) -> io::Result<DiskUsage> {
        self.inner.usage()
    }

    fn try_write(&self) -> io::Result<()> {
        self.inner.try_write()
    }
}
