//! Writing a blob: pieces, tail, sync; or nothing.
//!
//! The file exists under its final name from the first piece on, but nobody knows that name before the metadata commit;
//! [`NewBlob`] removes it on every way out but success.

use std::{fs::File, io, mem, sync::Arc};

use super::{
    super::{DataError, PutHint, Written, name::BlobName},
    Core, FileDurability,
    budget::Gathered,
    disk::{fault, write_all},
    format::{BlockSums, file_length},
    receive::{Growing, Receiver},
};
use crate::types::ByteStream;

/// From this announced size on, blocks are set aside in one go: few extents however many uploads run side by side, and
/// a full device shows at once. What is written in a piece or two, the file system places as well by itself.
const ALLOCATE_FROM: u64 = 4 * 1024 * 1024;

/// How many bytes a large upload writes before the device is told to begin: the sync at the end finds little left to
/// do, and dirty pages do not pile up.
const WRITEBACK_STEP: u64 = 8 * 1024 * 1024;

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

impl Growing for NewBlob {
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

/// Takes a body to its end. On an error the file is gone when this returns.
pub(super) async fn put(core: &Arc<Core>, hint: &PutHint, body: ByteStream) -> Result<Written, DataError> {
    let (name, size) = (BlobName::for_put(hint.blob.as_ref())?, hint.size);
    let owned = Arc::clone(core);
    let create = move || NewBlob::create(owned, name, size);
    let receiver = Receiver::new(size, core.budget.join(), &core.writes, create);
    let (mut blob, size) = receiver.run(body, NewBlob::finish, &core.syncs).await?;
    blob.kept = true;
    Ok(Written { blob: name.id(), size })
}
