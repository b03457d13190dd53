//! Reading a blob: piece by piece, each block verified before a byte of it is handed out.
//!
//! A piece that lies in the page cache is read on the executor (a copy of 256 KiB takes some 40 µs, less than a
//! change of threads on a busy machine); one that does not is read by the blocking pool, with the next piece ahead.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rustix::io::ReadWriteFlags;
use tokio::{sync::Semaphore, task::JoinHandle};

use super::{
    super::{DataError, name::BlobName},
    buffers::{Buffer, Buffers},
    disk::{Disk, fault, is_out_of_files},
    format::{BLOCK, FOOTER, Footer, SUM, TableWindow, block_sum, blocks, table_agrees},
    open_files::OpenFiles,
    pool,
};
use crate::types::{BodyError, ByteStream};

/// How much of a file's end is read when it is opened: footer and, up to 63 MiB of payload, the whole table.
const TAIL: u64 = 4096;
/// Checksums read at a time where the table is longer: enough for 64 MiB.
const WINDOW: u64 = 1024;

/// What all readers share.
#[derive(Debug)]
pub(super) struct Reads {
    pub(super) buffers: Arc<Buffers>,
    pub(super) files: OpenFiles,
    pub(super) turns: Arc<Semaphore>,
}

/// An open blob whose footer is good.
#[derive(Debug)]
pub(super) struct BlobFile {
    name: BlobName,
    file: File,
    payload: u64,
    window: TableWindow,
}

/// Some consecutive blocks of a blob.
#[derive(Clone, Copy, Debug)]
struct Piece {
    first_block: u64,
    offset: u64,
    len: usize,
}

/// A verified piece, and the checksums to go on with.
#[derive(Debug)]
struct Verified {
    bytes: Bytes,
    window: TableWindow,
}

impl Piece {
    fn blocks(&self) -> Range<u64> {
        self.first_block..self.first_block + blocks(self.len as u64)
    }
}

impl BlobFile {
    /// Takes an opened file and checks its footer. Blocks.
    fn check(file: File, name: BlobName) -> Result<Self, DataError> {
        let corrupt = |detail: String| DataError::Corrupt { blob: name.id(), detail };
        let length = file.metadata().map_err(fault)?.len();
        if length < FOOTER {
            return Err(corrupt(format!("the file has only {length} bytes")));
        }
        let tail_at = length.saturating_sub(TAIL);
        let mut tail = vec![0; usize::try_from(length - tail_at).unwrap_or(0)];
        read_exact(&file, &mut tail, tail_at).map_err(|error| unreadable(name, error))?;
        let (before, footer) = tail.split_at(tail.len() - usize::try_from(FOOTER).unwrap_or(0));
        let footer = Footer::decode(footer, name, length).map_err(corrupt)?;
        let table_len = usize::try_from(SUM * blocks(footer.payload)).unwrap_or(usize::MAX);
        let window = match before.len().checked_sub(table_len) {
            Some(start) => {
                let (_, table) = before.split_at(start);
                if !table_agrees(table, &footer) {
                    return Err(corrupt("the table of checksums fails its own".to_owned()));
                }
                TableWindow::decode(0, table)
            }
            None => TableWindow::decode(0, &[]),
        };
        Ok(Self { name, file, payload: footer.payload, window })
    }

    pub(super) const fn name(&self) -> BlobName {
        self.name
    }

    /// Reads what is in the page cache, without blocking; returns how many bytes came.
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> usize {
        let mut slices = [IoSliceMut::new(buffer)];
        rustix::io::preadv2(&self.file, &mut slices, offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
    }

    /// Reads the rest of a piece and verifies it. Blocks.
    fn read(
        &self,
        piece: Piece,
        window: TableWindow,
        mut buffer: Buffer,
        filled: usize,
    ) -> Result<Verified, DataError> {
        if let Some(rest) = buffer.as_mut().get_mut(filled..) {
            read_exact(&self.file, rest, piece.offset + filled as u64).map_err(|error| unreadable(self.name, error))?;
        }
        let window = if window.covers(&piece.blocks()) { window } else { self.load(piece.first_block)? };
        self.verify(piece, window, buffer)
    }

    /// Reads a window of the table. Blocks.
    fn load(&self, first: u64) -> Result<TableWindow, DataError> {
        let count = blocks(self.payload).saturating_sub(first).min(WINDOW);
        let mut bytes = vec![0; usize::try_from(SUM * count).unwrap_or(0)];
        read_exact(&self.file, &mut bytes, self.payload + SUM * first).map_err(|error| unreadable(self.name, error))?;
        Ok(TableWindow::decode(first, &bytes))
    }

    /// Checks every block of a piece against the table.
    fn verify(&self, piece: Piece, window: TableWindow, buffer: Buffer) -> Result<Verified, DataError> {
        for (number, block) in (piece.first_block..).zip(buffer.as_ref().chunks(super::format::BLOCK_LEN)) {
            if window.sum(number) != Some(block_sum(block)) {
                return Err(DataError::Corrupt {
                    blob: self.name.id(),
                    detail: format!("block {number} fails its checksum"),
                });
            }
        }
        Ok(Verified { bytes: Bytes::from_owner(buffer), window })
    }
}

fn read_exact(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// A file that ends before its footer's word was cut; anything else is the device's fault.
fn unreadable(name: BlobName, error: io::Error) -> DataError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return DataError::Corrupt { blob: name.id(), detail: "the file is cut short".to_owned() };
    }
    fault(error)
}

/// Opens the bytes of `range` as a stream. The first piece is read and verified before this returns.
pub(super) async fn open(
    reads: &Arc<Reads>,
    disk: &Arc<dyn Disk>,
    name: BlobName,
    range: Range<u64>,
) -> Result<ByteStream, DataError> {
    let mut reader = match reads.files.get(name) {
        Ok(file) => Reader::new(reads, file, range)?,
        Err(seen) => {
            let turn = pool::permit(&reads.turns).await?;
            let (reads, disk) = (Arc::clone(reads), Arc::clone(disk));
            let opened = pool::run(move || {
                let file = Arc::new(open_file(&reads, &*disk, name)?);
                reads.files.insert(&file, seen);
                let mut reader = Reader::new(&reads, file, range)?;
                reader.read_first()?;
                drop(turn);
                Ok::<_, DataError>(reader)
            });
            opened.await??
        }
    };
    let first = reader.next().await.transpose()?;
    reader.ready = first;
    reader.read_ahead();
    let stream = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await? {
            Ok(bytes) => Some((Ok(bytes), Some(reader))),
            Err(error) => Some((Err(reader.report(&error)), None)),
        }
    });
    Ok(stream.boxed())
}

/// Bytes of a blob. The file stays open for the reader that comes next.
pub(super) async fn size(reads: &Arc<Reads>, disk: &Arc<dyn Disk>, name: BlobName) -> Result<u64, DataError> {
    let seen = match reads.files.get(name) {
        Ok(file) => return Ok(file.payload),
        Err(seen) => seen,
    };
    let turn = pool::permit(&reads.turns).await?;
    let (reads, disk) = (Arc::clone(reads), Arc::clone(disk));
    pool::run(move || {
        let file = Arc::new(open_file(&reads, &*disk, name)?);
        reads.files.insert(&file, seen);
        drop(turn);
        Ok(file.payload)
    })
    .await?
}

fn open_file(reads: &Reads, disk: &dyn Disk, name: BlobName) -> Result<BlobFile, DataError> {
    let opened = match disk.open(name) {
        // The files kept open for nobody are the first to go.
        Err(error) if is_out_of_files(&error) => {
            reads.files.clear();
            disk.open(name)
        }
        result => result,
    };
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DataError::NotFound(name.id()),
        _ => fault(error),
    })?;
    BlobFile::check(file, name)
}

/// The state of a stream.
#[derive(Debug)]
struct Reader {
    reads: Arc<Reads>,
    file: Arc<BlobFile>,
    window: TableWindow,
    /// What is still to be read.
    range: Range<u64>,
    /// Read and not yet delivered.
    ready: Option<Bytes>,
    /// The next piece, under way.
    ahead: Option<(Piece, JoinHandle<Result<Verified, DataError>>)>,
    /// The last piece was not in the page cache.
    cold: bool,
}

impl Reader {
    fn new(reads: &Arc<Reads>, file: Arc<BlobFile>, range: Range<u64>) -> Result<Self, DataError> {
        if range.start > range.end || range.end > file.payload {
            return Err(DataError::OutOfRange(range));
        }
        let window = file.window.clone();
        Ok(Self { reads: Arc::clone(reads), file, window, range, ready: None, ahead: None, cold: false })
    }

    /// The next bytes of the range.
    async fn next(&mut self) -> Option<Result<Bytes, DataError>> {
        if let Some(bytes) = self.ready.take() {
            return Some(Ok(bytes));
        }
        let (piece, result) = if let Some((piece, job)) = self.ahead.take() {
            (piece, pool::join(job).await)
        } else {
            let piece = self.plan()?;
            (piece, self.read(piece).await)
        };
        let verified = match result {
            Ok(Ok(verified)) => verified,
            Ok(Err(error)) | Err(error) => return Some(Err(error)),
        };
        let bytes = self.accept(piece, verified);
        self.read_ahead();
        Some(Ok(bytes))
    }

    /// The next piece to read.
    fn plan(&self) -> Option<Piece> {
        if self.range.is_empty() {
            return None;
        }
        let first_block = self.range.start / BLOCK;
        let offset = first_block * BLOCK;
        let wanted = blocks(self.range.end - offset).min(self.reads.buffers.piece_blocks());
        let len = (wanted * BLOCK).min(self.file.payload - offset);
        Some(Piece { first_block, offset, len: usize::try_from(len).unwrap_or(0) })
    }

    /// Reads a piece: here if it is in the page cache, else on the pool.
    async fn read(&mut self, piece: Piece) -> Result<Result<Verified, DataError>, DataError> {
        let (buffer, filled) = self.read_cached(piece);
        if filled == piece.len && self.window.covers(&piece.blocks()) {
            return Ok(self.file.verify(piece, self.window.clone(), buffer));
        }
        let turn = pool::permit(&self.reads.turns).await?;
        let (file, window) = (Arc::clone(&self.file), self.window.clone());
        pool::run(move || {
            let result = file.read(piece, window, buffer, filled);
            drop(turn);
            result
        })
        .await
    }

    fn read_cached(&mut self, piece: Piece) -> (Buffer, usize) {
        let mut buffer = self.reads.buffers.take(piece.len);
        let filled = self.file.read_cached(buffer.as_mut(), piece.offset);
        self.cold = filled < piece.len;
        (buffer, filled)
    }

    /// Reads the first piece on the thread of the caller, which may block.
    fn read_first(&mut self) -> Result<(), DataError> {
        if let Some(piece) = self.plan() {
            let (buffer, filled) = self.read_cached(piece);
            let verified = self.file.read(piece, self.window.clone(), buffer, filled)?;
            self.ready = Some(self.accept(piece, verified));
        }
        Ok(())
    }

    /// Starts on the next piece, where the device is what we wait for, and neither memory nor its turns are scarce.
    fn read_ahead(&mut self) {
        if !self.cold || self.ahead.is_some() || self.reads.buffers.are_scarce() {
            return;
        }
        let (Some(piece), Ok(turn)) = (self.plan(), Arc::clone(&self.reads.turns).try_acquire_owned()) else { return };
        let (file, window) = (Arc::clone(&self.file), self.window.clone());
        let buffer = self.reads.buffers.take(piece.len);
        let job = tokio::task::spawn_blocking(move || {
            let result = file.read(piece, window, buffer, 0);
            drop(turn);
            result
        });
        self.ahead = Some((piece, job));
    }

    /// Cuts the part that was asked for out of a piece, and moves on.
    fn accept(&mut self, piece: Piece, verified: Verified) -> Bytes {
        self.window = verified.window;
        let end = self.range.end.min(piece.offset + piece.len as u64);
        let within = |at: u64| usize::try_from(at - piece.offset).unwrap_or(0);
        let bytes = verified.bytes.slice(within(self.range.start)..within(end));
        self.range.start = end;
        bytes
    }

    /// Notes a fault that breaks a stream under way, and words it for the reader.
    fn report(&self, error: &DataError) -> BodyError {
        log_fault(&self.reads, self.file.name, error);
        BodyError::Unreadable(error.to_string())
    }
}

/// Logs bytes that are not what was written; the file is opened anew next time, in case somebody restores it.
pub(super) fn log_fault(reads: &Reads, name: BlobName, error: &DataError) {
    tracing::error!(blob = %name, %error, "a blob could not be read");
    reads.files.remove(name);
}
