//! Blobs as files on a local file system: the durable default.
//!
//! # Directory
//!
//! | path | what |
//! |---|---|
//! | `LOCK` | locked by the one process that owns the directory; holds its number |
//! | `format` | version of the layout, and an id; written last, so that the shards are there if it is |
//! | `00` … `ff` | 256 shards, made and synced once, so that no ancestor of a new file is ever new |
//! | `ab/ab12…` | a blob: forty hex digits of random name, in the shard of its first two |
//!
//! No byte of a user becomes part of a path. Files are made under their final name and never renamed, changed or made
//! twice: the metadata commit that names a blob is what publishes it, so a file that nobody names is garbage.
//!
//! # Blob file
//!
//! All numbers are little endian. Byte n of the payload is byte n of the file.
//!
//! | bytes | what |
//! |---|---|
//! | n | payload |
//! | 4 × ⌈n / 65 536⌉ | table: CRC-32C of each 64 KiB block of payload (the last block may be short) |
//! | 8 | n |
//! | 4 | block size, 65 536 |
//! | 4 | CRC-32C of the table |
//! | 20 | name of the blob |
//! | 2 | kind of checksum: 1 = CRC-32C |
//! | 2 | version of this form: 1 |
//! | 12 | zero |
//! | 4 | CRC-32C of the 52 footer bytes before this field |
//! | 8 | `CSblob\r\n` |
//!
//! CRC-32C is as fast as memory on current processors and half as long as CRC-64/NVME; it finds every error of up to
//! three bits and every burst of up to 32 bits in a block, and misses one in 4 · 10⁹ of others. A reader checks the
//! footer, the name in it and the file's length, then every block it touches before it hands out a byte of it. The
//! table's own sum is checked where the whole table was read; a wrong entry of a longer table shows as a bad block.
//!
//! # Durability
//!
//! A put writes all bytes, syncs the file, then syncs its shard directory, then returns. After a failed sync nothing
//! is tried again: the file is removed and the put fails; a failed sync of a directory stops all puts until restart.
//! A deletion is not synced: what a power cut brings back is named by nobody and found by the audit.
//! [`FileDurability::Relaxed`] leaves out the syncs of puts.

pub(super) mod budget;
pub(super) mod buffers;
mod dir_sync;
pub(super) mod disk;
pub(super) mod format;
mod layout;
mod open_files;
pub(super) mod pool;
mod read;
pub(super) mod receive;
mod space;
#[cfg(test)]
mod tests;
mod write;

use std::{fs::File, io, ops::Range, path::Path, sync::Arc};

use futures_util::{FutureExt, future, future::BoxFuture};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use self::{
    budget::Budget, buffers::Buffers, dir_sync::DirSyncs, disk::Disk, open_files::OpenFiles, read::Reads, space::Space,
};
use super::{BlobId, Capabilities, DataBackend, DataError, DiskUsage, PutHint, Written, name::BlobName};
use crate::types::ByteStream;

/// Pieces being written at a time: that is copying into the page cache, for which there are only so many processors.
const WRITE_TURNS: usize = 16;
/// Puts being finished at a time. They wait for the device, a thread each; a file system joins their syncs.
const SYNC_TURNS: usize = 64;
/// Reads under way at a time that may wait for the disk; apart from the writes, so that syncs do not hold them up.
const READ_TURNS: usize = 64;

/// When a put is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileDurability {
    /// When its bytes survive a power cut.
    #[default]
    Strict,
    /// When the operating system has its bytes: they survive the end of the process, not of the machine.
    Relaxed,
}

/// How a [`FileBackend`] works. The defaults suit a server with 256 MiB of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// When a put is acknowledged.
    pub durability: FileDurability,
    /// Bytes that puts leave free on the file system, so that deletions and the metadata log still work.
    pub reserve: u64,
    /// Bytes of memory for bodies that are being written, over all uploads.
    pub write_budget: usize,
    /// Bytes of memory above half of which readers get smaller pieces and nothing is read ahead.
    pub read_budget: usize,
    /// Files kept open for the next reader; 0 for none.
    pub open_files: usize,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            durability: FileDurability::Strict,
            reserve: 64 << 20,
            write_budget: 48 << 20,
            read_budget: 48 << 20,
            open_files: 256,
        }
    }
}

/// Blobs as files. See [the module's page](self).
#[derive(Debug)]
pub struct FileBackend {
    core: Arc<Core>,
}

/// What the backend shares with its puts under way.
#[derive(Debug)]
struct Core {
    disk: Arc<dyn Disk>,
    durability: FileDurability,
    space: Space,
    budget: Arc<Budget>,
    dir_syncs: DirSyncs,
    writes: Arc<Semaphore>,
    syncs: Arc<Semaphore>,
    reads: Arc<Reads>,
    probe: Mutex<()>,
    id: String,
    options: FileOptions,
    /// Held for its lock.
    lock: Arc<File>,
}

impl FileBackend {
    /// Takes over the data directory `root`, making it where it is not there. Blocks.
    ///
    /// # Errors
    /// [`DataError::Unavailable`], with a remedy, where another process owns the directory, where a newer release
    /// made it, or where it holds something else; [`DataError::NoSpace`] and [`DataError::Io`] as they come.
    pub fn open(root: &Path, options: FileOptions) -> Result<Self, DataError> {
        let layout::Owned { dir, lock, id } = layout::prepare(root)?;
        Ok(Self::on(Arc::new(dir), lock, id, options))
    }

    /// The identity of the data directory, made with it: forty hex digits. Metadata that remembers it notices a
    /// directory that is new or another's, such as the mount point of a volume that is not mounted.
    pub fn directory_id(&self) -> &str {
        &self.core.id
    }

    fn on(disk: Arc<dyn Disk>, lock: File, id: String, options: FileOptions) -> Self {
        let reads = Reads {
            buffers: Arc::new(Buffers::new(options.read_budget)),
            files: OpenFiles::new(options.open_files),
            turns: Arc::new(Semaphore::new(READ_TURNS)),
        };
        let core = Core {
            disk,
            durability: options.durability,
            space: Space::new(options.reserve),
            budget: Budget::new(options.write_budget),
            dir_syncs: DirSyncs::new(),
            writes: Arc::new(Semaphore::new(WRITE_TURNS)),
            syncs: Arc::new(Semaphore::new(SYNC_TURNS)),
            reads: Arc::new(reads),
            probe: Mutex::new(()),
            id,
            options,
            lock: Arc::new(lock),
        };
        Self { core: Arc::new(core) }
    }

    /// The same directory with another durability, for locations that ask for it. Memory budgets, turns and open
    /// files are shared.
    #[must_use]
    pub fn with_durability(&self, durability: FileDurability) -> Self {
        let core = Core {
            disk: Arc::clone(&self.core.disk),
            durability,
            space: Space::new(self.core.options.reserve),
            budget: Arc::clone(&self.core.budget),
            dir_syncs: DirSyncs::new(),
            syncs: Arc::clone(&self.core.syncs),
            writes: Arc::clone(&self.core.writes),
            reads: Arc::clone(&self.core.reads),
            probe: Mutex::new(()),
            id: self.core.id.clone(),
            options: self.core.options,
            lock: Arc::clone(&self.core.lock),
        };
        Self { core: Arc::new(core) }
    }

    /// Runs `work` on the blocking pool.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, DataError> + Send + 'static,
    ) -> Result<T, DataError> {
        let core = Arc::clone(&self.core);
        pool::run(move || work(&core)).await?
    }

    async fn receive(&self, body: ByteStream, hint: PutHint) -> Result<Written, DataError> {
        self.core.refuse_if_broken()?;
        if self.core.space.was_low() {
            // Before the first byte is taken: the client need not send what cannot be kept.
            self.blocking(|core| core.space.check(&*core.disk, 0)).await?;
        }
        write::put(&self.core, &hint, body).await
    }

    async fn read(&self, blob: &BlobId, range: Range<u64>) -> Result<ByteStream, DataError> {
        let name = BlobName::of(blob)?;
        let result = read::open(&self.core.reads, &self.core.disk, name, range).await;
        if let Err(error @ DataError::Corrupt { .. }) = &result {
            read::log_fault(&self.core.reads, name, error);
        }
        result
    }

    async fn measure(&self, blob: &BlobId) -> Result<Option<u64>, DataError> {
        let name = BlobName::of(blob)?;
        Ok(Some(read::size(&self.core.reads, &self.core.disk, name).await?))
    }

    async fn remove(&self, blob: &BlobId) -> Result<(), DataError> {
        let name = BlobName::of(blob)?;
        self.blocking(move |core| core.remove(name)).await
    }
}

impl Core {
    fn refuse_if_broken(&self) -> Result<(), DataError> {
        if self.dir_syncs.is_broken() {
            let why = "a directory could not be synced: check the device, then restart";
            return Err(DataError::Unavailable(why.to_owned()));
        }
        Ok(())
    }

    fn remove(&self, name: BlobName) -> Result<(), DataError> {
        let removed = self.disk.remove(name);
        // Only now: a reader that opened the file before must find that it may not keep it.
        self.reads.files.remove(name);
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk::fault(error)),
            _ => Ok(()),
        }
    }

    /// Names after `after`, shard by shard. An error ends the list: a part of it must not look like the whole.
    fn names(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<BlobId>, DataError> {
        let mut names = Vec::new();
        for shard in after.map_or(0, BlobName::shard)..=u8::MAX {
            if names.len() >= limit {
                break;
            }
            let found = self.disk.names(shard).map_err(disk::fault)?;
            let wanted = found.into_iter().filter(|name| after.is_none_or(|after| *name > after));
            names.extend(wanted.take(limit - names.len()).map(BlobName::id));
        }
        Ok(names)
    }

    fn probe(&self) -> Result<(), DataError> {
        self.refuse_if_broken()?;
        self.space.check(&*self.disk, 0)?;
        let _one_at_a_time = self.probe.lock();
        self.disk.try_write().map_err(disk::fault)
    }
}

impl DataBackend for FileBackend {
    fn reserve(&self) -> Option<BlobId> {
        BlobName::random().ok().map(BlobName::id)
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        self.receive(body, hint).boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        self.read(blob, range).boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.remove(blob).boxed()
    }

    fn size<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        self.measure(blob).boxed()
    }

    /// Blobs whose put is still under way are among the names.
    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        match after.map(BlobName::of).transpose() {
            Ok(after) => self.blocking(move |core| core.names(after, limit)).boxed(),
            Err(error) => future::ready(Err(error)).boxed(),
        }
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        self.blocking(Core::probe).boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        self.blocking(|core| core.disk.usage().map(Some).map_err(disk::fault)).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, verified_reads: true, listing: true, versioned_buckets: true, one_bucket: false }
    }
}
