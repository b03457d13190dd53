//! The system calls of the backend, behind a trait so that tests can record and break them.

use std::{
    fmt,
    fs::File,
    io::{self, IoSlice},
    num::NonZeroU64,
    ops::Range,
    path::Path,
};

use rustix::fs::{Advice, AtFlags, FallocateFlags, Mode, OFlags};

use super::super::{DataError, DiskUsage, name::BlobName};

/// Owner only: blobs hold users' data.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// What the backend asks of a file system. Every call may block.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// Makes a file that must not be there yet.
    fn create(&self, name: BlobName) -> io::Result<File>;
    /// Sets blocks aside for a file.
    fn allocate(&self, file: &File, length: u64) -> io::Result<()>;
    /// Writes some of `pieces` at `offset`; returns how many bytes.
    fn write(&self, file: &File, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Has the device begin with what was written to a range, waiting for nothing and promising nothing.
    fn start_writeback(&self, file: &File, range: Range<u64>) -> io::Result<()>;
    /// Makes a file's data durable.
    fn sync_file(&self, file: &File) -> io::Result<()>;
    /// Makes the entries of a shard directory durable.
    fn sync_shard(&self, shard: u8) -> io::Result<()>;
    /// Opens a blob for reading.
    fn open(&self, name: BlobName) -> io::Result<File>;
    /// Removes a blob.
    fn remove(&self, name: BlobName) -> io::Result<()>;
    /// The names in a shard, sorted.
    fn names(&self, shard: u8) -> io::Result<Vec<BlobName>>;
    /// Free and used space.
    fn usage(&self) -> io::Result<DiskUsage>;
    /// Writes, syncs and removes a small file outside the shards.
    fn try_write(&self) -> io::Result<()>;
}

/// A data directory, held open: should something else be mounted or moved over its path, the blobs stay where they
/// were instead of being scattered over two file systems.
#[derive(Debug)]
pub(super) struct RootDir(File);

/// The file that [`Disk::try_write`] makes.
const PROBE: &str = "probe";

impl RootDir {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn shard_dir(&self, shard: u8) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.0, shard_name(shard), flags, Mode::empty())?))
    }
}

/// The directory of a shard: two hex digits.
pub(super) fn shard_name(shard: u8) -> String {
    hex::encode([shard])
}

/// A blob's path below the root. Both parts are hex digits made here, never a caller's text.
fn path(name: BlobName) -> String {
    format!("{}/{name}", shard_name(name.shard()))
}

impl Disk for RootDir {
    fn create(&self, name: BlobName) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.0, path(name), flags, FILE_MODE)?))
    }

    fn allocate(&self, file: &File, length: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length)?)
    }

    fn write(&self, file: &File, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(file, pieces, offset)?)
    }

    fn start_writeback(&self, file: &File, range: Range<u64>) -> io::Result<()> {
        // "Not needed" makes Linux start writing dirty pages at once; pages under way stay in the cache.
        let len = NonZeroU64::new(range.end.saturating_sub(range.start));
        Ok(rustix::fs::fadvise(file, range.start, len, Advice::DontNeed)?)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_shard(&self, shard: u8) -> io::Result<()> {
        self.shard_dir(shard)?.sync_all()
    }

    fn open(&self, name: BlobName) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.0, path(name), flags, Mode::empty())?))
    }

    fn remove(&self, name: BlobName) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, path(name), AtFlags::empty())?)
    }

    fn names(&self, shard: u8) -> io::Result<Vec<BlobName>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(self.shard_dir(shard)?)? {
            // Strangers (a backup tool's leftovers, say) are no blobs; neither is a blob in the wrong directory.
            let name = BlobName::parse(entry?.file_name().to_bytes());
            names.extend(name.filter(|name| name.shard() == shard));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn usage(&self) -> io::Result<DiskUsage> {
        let stat = rustix::fs::fstatvfs(&self.0)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(DiskUsage { available: bytes(stat.f_bavail), free: bytes(stat.f_bfree), total: bytes(stat.f_blocks) })
    }

    fn try_write(&self) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.0, PROBE, flags, FILE_MODE)?);
        let written = rustix::io::write(&file, b"probe\n").map_err(io::Error::from).and_then(|_| file.sync_data());
        rustix::fs::unlinkat(&self.0, PROBE, AtFlags::empty())?;
        written
    }
}

/// Writes all of `pieces` at `offset`, a batch of slices per call.
pub(super) fn write_all(disk: &dyn Disk, file: &File, pieces: &[&[u8]], mut offset: u64) -> io::Result<()> {
    /// The most slices that Linux takes in one call (`UIO_MAXIOV`).
    const MOST_SLICES: usize = 1024;
    for batch in pieces.chunks(MOST_SLICES) {
        let mut slices: Vec<IoSlice<'_>> = batch.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match disk.write(file, rest, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    offset += count as u64;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// A fault of the device in the words of the seam.
pub(in crate::data) fn fault(error: io::Error) -> DataError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DataError::NoSpace,
        io::ErrorKind::ReadOnlyFilesystem => DataError::Unavailable("the file system is read-only".to_owned()),
        _ if is_out_of_files(&error) => {
            DataError::Unavailable("too many open files: raise the limit (ulimit -n)".to_owned())
        }
        _ => DataError::Io(error),
    }
}

/// Whether the process, or the machine, may open no more files.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    let code = rustix::io::Errno::from_io_error(error);
    matches!(code, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}
