//! Reading files that others may change while we do.
//!
//! Each piece is read first, then the file is looked at: bytes are handed out only while it is unchanged.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{
    super::{
        DataError,
        file::{format::BLOCK_LEN, pool},
    },
    Core,
    identity::{Blob, Identity, Likeness},
    root::{Root, fault},
};
use crate::types::{BodyError, ByteStream};

/// A file being read.
#[derive(Debug)]
struct Reading {
    core: Arc<Core>,
    file: Arc<File>,
    blob: Arc<Blob>,
    range: Range<u64>,
    /// Read with the opening.
    first: Option<Bytes>,
}

/// The bytes of `range` of a blob.
pub(super) async fn open(
    core: &Arc<Core>,
    root: Arc<Root>,
    blob: Blob,
    range: Range<u64>,
) -> Result<ByteStream, DataError> {
    let size = blob.identity.size;
    let permit = pool::permit(&core.reads).await?;
    let shared = Arc::clone(core);
    let reading = pool::run(move || {
        let file = Arc::new(Core::open(&root, &blob)?);
        if range.start > range.end || range.end > size {
            return Err(DataError::OutOfRange(range));
        }
        let mut reading = Reading { core: shared, file, blob: Arc::new(blob), range, first: None };
        if !reading.range.is_empty() {
            let piece = reading.plan();
            reading.first = Some(read(&reading.core, &reading.file, &reading.blob, piece)?);
        }
        drop(permit);
        Ok(reading)
    })
    .await??;
    Ok(stream::unfold(Some(reading), |reading| async {
        let mut reading = reading?;
        let item = reading.next().await?;
        // After an error nothing comes.
        let rest = item.is_ok().then_some(reading);
        Some((item, rest))
    })
    .boxed())
}

impl Reading {
    /// The next piece to read.
    fn plan(&self) -> Range<u64> {
        let most = self.core.buffers.piece_blocks() * BLOCK_LEN as u64;
        self.range.start..self.range.end.min(self.range.start + most)
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.range.is_empty() {
            return None;
        }
        let bytes = match self.first.take() {
            Some(bytes) => Ok(bytes),
            None => self.read().await,
        };
        Some(match bytes {
            Ok(bytes) => {
                self.range.start += bytes.len() as u64;
                Ok(bytes)
            }
            Err(error) => {
                tracing::error!(%error, "a file could not be read to its end");
                Err(BodyError::Unreadable(error.to_string()))
            }
        })
    }

    async fn read(&self) -> Result<Bytes, DataError> {
        let permit = pool::permit(&self.core.reads).await?;
        let (core, file, blob) = (Arc::clone(&self.core), Arc::clone(&self.file), Arc::clone(&self.blob));
        let piece = self.plan();
        pool::run(move || {
            let result = read(&core, &file, &blob, piece);
            drop(permit);
            result
        })
        .await?
    }
}

fn read(core: &Core, file: &File, blob: &Blob, piece: Range<u64>) -> Result<Bytes, DataError> {
    let len = usize::try_from(piece.end - piece.start).unwrap_or(0);
    let mut buffer = core.buffers.take(len);
    let result = file.read_exact_at(buffer.as_mut(), piece.start);
    is_unchanged(file, blob)?;
    result.map_err(fault)?;
    Ok(Bytes::from_owner(buffer))
}

/// Whether an open file is still what the blob says.
pub(super) fn is_unchanged(file: &File, blob: &Blob) -> Result<(), DataError> {
    let stat = rustix::fs::fstat(file).map_err(fault)?;
    // The write id cannot change in a file that is open: only what the look tells can.
    let now = Identity { write: blob.identity.write, ..Identity::of_stat(&stat) };
    match blob.identity.compare(&now) {
        Likeness::Same => Ok(()),
        Likeness::Changed | Likeness::Other => {
            let detail = "the file was changed from outside while it was read".to_owned();
            Err(DataError::Corrupt { blob: blob.id(), detail })
        }
    }
}
