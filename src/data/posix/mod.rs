//! Objects as plain files under a directory, for people and programs that know no S3.
//!
//! The object `key` of the bucket `b` is the file `<root>/b/key`; [`mapping`] says what becomes of names that no file can
//! have. Other programs may read the files, over NFS and Samba for instance, and may bring, change and remove them: what
//! they did is not what was stored, so it is never handed out as that, and a scan takes it up.
//!
//! # Directory
//!
//! | path | what |
//! |---|---|
//! | `<bucket>/…` | objects; where the location belongs to one bucket (`bucketMatch`), objects begin at the root |
//! | `.cloudserver/format` | version of the layout, and an id: a location that was used before is not opened without it |
//! | `.cloudserver/staged` | bodies that come in |
//! | `.cloudserver/uploads/<id>` | parts of uploads |
//! | `.cloudserver/kept` | files that lost their place to a later one or to a delete marker, and may be asked for still: old versions, and what other programs put where an object was published |
//! | `.cloudserver/blobs` | bytes that are no object's |
//! | `.cloudserver/taken` | files on their way out |
//!
//! # Identity
//!
//! A blob's name tells the write id (kept as the attribute `user.cloudserver.write` of the file), inode, size and time of
//! change. A file is the blob when size and time agree and so does the write id, or, where the file system has no
//! attributes, the inode. Whoever changes bytes and resets the time to the nanosecond is not noticed.
//!
//! A copy has the write id of the first file, an edited file that of the bytes before, and a renamed one is another
//! object's: so the name of a kept file tells all of its identity, and whose it was, and nothing is removed or hidden that
//! is not the very file. Of alike files the one goes whose inode is the blob's.
//!
//! # Durability
//!
//! A body is synced where it is staged. Publishing renames it (in exchange with what was there, which is linked among the
//! kept first), then syncs its folder, and each folder above it that this process has not seen durable. After a failed
//! sync of a folder nothing is taken until restart. Relaxed locations sync nothing.

mod browse;
mod copy;
mod identity;
mod kept;
mod mapping;
mod names;
mod native;
mod place;
mod read;
mod root;
#[cfg(test)]
mod tests;
mod uploads;
mod wanted;
mod write;

use std::{
    fs::File,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::{Mutex, RwLock};
use rustix::fs::Mode;
use tokio::sync::Semaphore;

use self::{
    identity::{Blob, Identity, Place},
    names::Names,
    root::{Root, fault},
    wanted::waiting,
    write::{Intake, Target},
};
use super::{
    BlobId, Browse, Capabilities, DataBackend, DataError, DiskUsage, Expected, NativeStore, PutHint, Written,
    file::{FileDurability, budget::Budget, buffers::Buffers, pool},
    name::BlobName,
};
use crate::{clock::Clock, types::ByteStream};

/// Pieces and syncs under way at a time.
const WRITE_TURNS: usize = 64;
/// Reads under way at a time.
const READ_TURNS: usize = 64;
/// Bytes of memory for bodies that come in, and for readers, about.
const MEMORY: usize = 32 << 20;
/// Bytes that are left free on the file system.
const RESERVE: u64 = 64 << 20;
/// What came in and was not published for so long, nobody waits for.
const STALE_SECONDS: i128 = 24 * 3600;

/// How a [`PosixBackend`] works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PosixOptions {
    /// The directory, which must be there.
    pub path: PathBuf,
    /// The location belongs to one bucket, whose name is no part of the paths.
    pub bucket_match: bool,
    /// Permission bits of files.
    pub file_mode: u32,
    /// Permission bits of folders.
    pub directory_mode: u32,
    /// When a write is acknowledged.
    pub durability: FileDurability,
}

impl PosixOptions {
    /// Everybody may read, the server may write.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            bucket_match: false,
            file_mode: 0o644,
            directory_mode: 0o755,
            durability: FileDurability::Strict,
        }
    }

    fn is_strict(&self) -> bool {
        self.durability == FileDurability::Strict
    }

    const fn file_mode(&self) -> Mode {
        Mode::from_raw_mode(self.file_mode)
    }

    const fn directory_mode(&self) -> Mode {
        Mode::from_raw_mode(self.directory_mode)
    }
}

/// Objects as plain files. See [the module's page](self).
#[derive(Debug)]
pub struct PosixBackend {
    core: Arc<Core>,
}

/// What the backend shares with its work under way.
#[derive(Debug)]
struct Core {
    options: PosixOptions,
    clock: Arc<dyn Clock>,
    /// Opened when it is first needed: a file system that is away must not keep the server from starting.
    root: Mutex<Option<Arc<Root>>>,
    /// What the directory must be: an empty mount point is not it.
    expected: Mutex<Expected>,
    broken: AtomicBool,
    names: Names,
    /// Held for writing by whoever turns the name of a file into that of a folder.
    shape: RwLock<()>,
    budget: Arc<Budget>,
    buffers: Arc<Buffers>,
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl PosixBackend {
    /// A backend for the directory of `options`, which is opened when it is first needed.
    pub fn new(options: PosixOptions, clock: Arc<dyn Clock>) -> Self {
        let core = Core {
            options,
            clock,
            root: Mutex::default(),
            expected: Mutex::default(),
            broken: AtomicBool::new(false),
            names: Names::default(),
            shape: RwLock::default(),
            budget: Budget::new(MEMORY),
            buffers: Arc::new(Buffers::new(MEMORY)),
            writes: Arc::new(Semaphore::new(WRITE_TURNS)),
            reads: Arc::new(Semaphore::new(READ_TURNS)),
        };
        Self { core: Arc::new(core) }
    }

    /// The open directory.
    async fn root(&self) -> Result<Arc<Root>, DataError> {
        if let Some(root) = &*self.core.root.lock() {
            return Ok(Arc::clone(root));
        }
        let core = Arc::clone(&self.core);
        pool::run(move || core.root()).await?
    }

    /// Runs `work` on the blocking pool, with the directory.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core, &Arc<Root>) -> Result<T, DataError> + Send + 'static,
    ) -> Result<T, DataError> {
        let core = Arc::clone(&self.core);
        pool::run(move || work(&core, &core.root()?)).await?
    }

    async fn receive(&self, body: ByteStream, hint: PutHint) -> Result<Written, DataError> {
        if let Some(blob) = hint.blob {
            return Err(DataError::Corrupt { blob, detail: "this backend reserves no names".to_owned() });
        }
        self.core.refuse_if_broken()?;
        let root = self.root().await?;
        let (incoming, identity) = Intake::new(&self.core, root, Target::whole()?, hint.size).run(body).await?;
        let core = Arc::clone(&self.core);
        let new = pool::run(move || core.shelve(*incoming, identity)).await??;
        Ok(new.keep())
    }
}

/// A blob that nobody knows yet. Dropped, it is removed.
#[derive(Debug)]
struct NewBlob {
    core: Arc<Core>,
    root: Arc<Root>,
    blob: Option<Blob>,
}

impl NewBlob {
    fn keep(mut self) -> Written {
        let size = self.blob.as_ref().map_or(0, |blob| blob.identity.size);
        let blob = self.blob.take().map_or_else(|| BlobId::new(""), |blob| blob.id());
        Written { blob, size }
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if let Some(blob) = self.blob.take()
            && let Err(error) = self.core.remove(&self.root, &blob)
        {
            tracing::warn!(blob = ?blob.id(), %error, "a blob that nobody waits for could not be removed");
        }
    }
}

impl Core {
    fn root(&self) -> Result<Arc<Root>, DataError> {
        let mut root = self.root.lock();
        if let Some(root) = &*root {
            return Ok(Arc::clone(root));
        }
        let opened = Arc::new(Root::open(&self.options.path, &self.expected.lock())?);
        *self.expected.lock() = Expected::Identity(opened.id.clone());
        let stale = i128::from(self.clock.now().as_secs()) - STALE_SECONDS;
        match opened.sweep(stale * 1_000_000_000) {
            Ok(0) => {}
            Ok(removed) => {
                let path = self.options.path.display();
                tracing::info!(%path, removed, "files of writes that never ended are removed");
            }
            Err(error) => tracing::warn!(%error, "files of writes that never ended could not be removed"),
        }
        *root = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn refuse_if_broken(&self) -> Result<(), DataError> {
        if self.broken.load(Ordering::SeqCst) {
            let why = "a folder could not be synced: check the device, then restart";
            return Err(DataError::Unavailable(why.to_owned()));
        }
        Ok(())
    }

    /// Makes the entries of a folder durable.
    fn sync(&self, dir: &File) -> Result<(), DataError> {
        dir.sync_all().map_err(|error| {
            self.broken.store(true, Ordering::SeqCst);
            fault(error)
        })
    }

    fn check_space(root: &Root, needed: u64) -> Result<(), DataError> {
        let available = root.usage().map_err(fault)?.available;
        if available < RESERVE.saturating_add(needed) { Err(DataError::NoSpace) } else { Ok(()) }
    }

    /// Puts bytes that are no object's among the blobs.
    fn shelve(self: &Arc<Self>, incoming: write::Incoming, identity: Identity) -> Result<NewBlob, DataError> {
        let root = self.root()?;
        let name = BlobName::random()?;
        let staged = incoming.write.to_string();
        rustix::fs::renameat(&root.staged, &staged, &root.blobs, name.to_string()).map_err(fault)?;
        incoming.keep();
        let blob = Blob { identity, place: Place::Blob(name), marker: false };
        let new = NewBlob { core: Arc::clone(self), root: Arc::clone(&root), blob: Some(blob) };
        if self.options.is_strict() {
            self.sync(&root.blobs)?;
        }
        Ok(new)
    }

    /// Blobs behind `after`, by their made-up names.
    fn shelved(root: &Root, after: Option<BlobName>, limit: usize) -> Result<Vec<BlobId>, DataError> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&root.blobs).map_err(fault)? {
            let name = BlobName::parse(entry.map_err(fault)?.file_name().to_bytes());
            names.extend(name.filter(|name| after.is_none_or(|after| *name > after)));
        }
        names.sort_unstable();
        let mut blobs = Vec::new();
        for name in names {
            if blobs.len() >= limit {
                break;
            }
            let Ok(file) = root::open_in(&root.blobs, &name.to_string()) else { continue };
            let Some(identity) = Identity::of(&file).map_err(fault)? else { continue };
            blobs.push(Blob { identity, place: Place::Blob(name), marker: false }.id());
        }
        Ok(blobs)
    }

    /// The directory, if it is still where it was opened.
    fn root_in_place(&self) -> Result<Arc<Root>, DataError> {
        let root = self.root()?;
        if !root.is_at(&self.options.path).map_err(fault)? {
            *self.root.lock() = None;
            let path = self.options.path.display();
            return Err(DataError::Unavailable(format!("{path} is another directory than before: is it mounted?")));
        }
        Ok(root)
    }

    /// What is written in the directory now, whatever was there when it was opened.
    fn identity(&self) -> Result<String, DataError> {
        let root = self.root_in_place()?;
        if root.has_id()? {
            return Ok(root.id.clone());
        }
        *self.root.lock() = None;
        Ok(self.root()?.id.clone())
    }

    fn probe(&self) -> Result<(), DataError> {
        self.refuse_if_broken()?;
        let root = self.root_in_place()?;
        Self::check_space(&root, 0)?;
        root.try_write().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                // Somebody removed our folder: whether it can be made again is found out when it is opened.
                *self.root.lock() = None;
            }
            fault(error)
        })
    }
}

impl DataBackend for PosixBackend {
    /// None: a name tells the file, which is not made yet.
    fn reserve(&self) -> Option<BlobId> {
        None
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        self.receive(body, hint).boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        async move {
            let blob = Blob::parse(blob)?;
            read::open(&self.core, self.root().await?, blob, range).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        async move {
            let blob = Blob::parse(blob)?;
            let (_waiting, wanted) = waiting();
            let work = move |core: &Core, root: &Arc<Root>| {
                if blob.marker { core.unhide(root, &blob, &wanted) } else { core.remove(root, &blob) }
            };
            self.blocking(work).await
        }
        .boxed()
    }

    /// Only what [`DataBackend::put`] made: files at places of objects may be anybody's.
    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        async move {
            let after = match after.map(Blob::parse).transpose()?.map(|blob| blob.place) {
                Some(Place::Blob(name)) => Some(name),
                Some(Place::Native(_)) | None => None,
            };
            self.blocking(move |_, root| Core::shelved(root, after, limit)).await
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        let core = Arc::clone(&self.core);
        async move { pool::run(move || core.probe()).await? }.boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        self.blocking(|_, root| root.usage().map(Some).map_err(fault)).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            verified_reads: false,
            listing: true,
            versioned_buckets: true,
            one_bucket: self.core.options.bucket_match,
        }
    }

    fn native(&self) -> Option<&dyn NativeStore> {
        Some(self)
    }

    fn browse(&self) -> Option<&dyn Browse> {
        Some(self)
    }
}
