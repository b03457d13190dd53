//! Reading blobs: block by block, each checked before it is handed out, and on from there where a connection breaks.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use super::{
    super::{BlobId, DataError, name::BlobName},
    Inner, OpenFile, TreeError,
    blocks::{self, BLOCK, END, STEP, payload_of},
    corrupt, path_of,
};
use crate::types::{BodyError, ByteStream};

/// Times that a block is asked for again after it failed its checksum: the wire may have been wrong.
const SECOND_LOOKS: u32 = 1;

/// The bytes of a blob's range.
pub(super) async fn read(inner: &Arc<Inner>, blob: &BlobId, range: Range<u64>) -> Result<ByteStream, DataError> {
    let name = BlobName::of(blob)?;
    let judge = || outside(inner, blob, range.clone());
    if range.is_empty() {
        return judge().await.map(|()| stream::empty().boxed());
    }
    let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
    let Some(bytes) = file_range(&blocks) else {
        return judge().await.and(Err(DataError::OutOfRange(range)));
    };
    let path = path_of(name);
    let file = match inner.again(|| inner.tree.read(&path, bytes.clone())).await {
        Ok(file) => file,
        Err(TreeError::Beyond) => return judge().await.and(Err(TreeError::Beyond.of(blob))),
        Err(error) => return Err(error.of(blob)),
    };
    let payload = payload_of(file.length).filter(|payload| *payload >= range.end);
    let Some(payload) = payload else {
        drop(file);
        return judge().await.and(Err(TreeError::Beyond.of(blob)));
    };
    let (inner, number) = (Arc::clone(inner), blocks.start);
    let mut reading =
        Reading { inner, name, range, blocks, payload, number, file, buffer: BytesMut::new(), faults: 0, looks: 0 };
    // The first block is checked before there is an answer: most blobs have no other.
    let first = reading.next().await.map_err(|fault| fault.of(blob))?;
    let state = (Some(first), reading);
    let rest = stream::unfold(state, |(held, mut reading)| async move {
        let next = match held {
            Some(first) => first.map(Ok),
            None => match reading.next().await {
                Ok(next) => next.map(Ok),
                Err(fault) => {
                    tracing::error!(blob = %reading.name, ?fault, "a blob could not be read to its end");
                    let why = fault.of(&reading.name.id()).to_string();
                    reading.end();
                    Some(Err(BodyError::Unreadable(why)))
                }
            },
        };
        next.map(|next| (next, (None, reading)))
    });
    Ok(rest.boxed())
}

/// Where blocks are in the file, and the end of the file behind them.
fn file_range(blocks: &Range<u64>) -> Option<Range<u64>> {
    Some(blocks.start.checked_mul(STEP)?..blocks.end.checked_mul(STEP)?.checked_add(END)?)
}

/// Judges a range that has no bytes: an error says why, where it lies within the blob there is none.
async fn outside(inner: &Inner, blob: &BlobId, range: Range<u64>) -> Result<(), DataError> {
    let name = BlobName::of(blob)?;
    let path = path_of(name);
    let length = inner.again(|| inner.tree.length(&path)).await.map_err(|error| error.of(blob))?;
    let payload = payload_of(length).ok_or_else(|| corrupt(blob, format!("no blob has a file of {length} bytes")))?;
    if range.start <= range.end && range.end <= payload {
        return Ok(());
    }
    // A file that was cut is not a blob that was always so short.
    let at = length - END;
    let file = inner.again(|| inner.tree.read(&path, at..length)).await.map_err(|error| error.of(blob))?;
    let end = gather(file.bytes, END).await.map_err(|error| DataError::Unavailable(error.to_string()))?;
    if blocks::is_end(name, payload, &end) {
        return Err(DataError::OutOfRange(range));
    }
    Err(corrupt(blob, "the file does not end as a blob's"))
}

/// The first `most` bytes of a stream, or all.
async fn gather(mut bytes: ByteStream, most: u64) -> Result<Bytes, BodyError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut all = BytesMut::new();
    while all.len() < most {
        let Some(slice) = bytes.next().await else { break };
        all.extend_from_slice(&slice?);
    }
    all.truncate(most);
    Ok(all.freeze())
}

/// Why a block did not come.
#[derive(Debug)]
enum Fault {
    /// The store says no.
    Tree(TreeError),
    /// The answer broke off.
    Broken(String),
    /// The block fails its checksum.
    Wrong(u64),
}

impl Fault {
    fn of(self, blob: &BlobId) -> DataError {
        match self {
            Self::Tree(error) => error.of(blob),
            Self::Broken(why) => DataError::Unavailable(why),
            Self::Wrong(number) => corrupt(blob, format!("block {number} fails its checksum")),
        }
    }
}

/// A blob that is being read.
struct Reading {
    inner: Arc<Inner>,
    name: BlobName,
    /// Bytes of the payload that are wanted.
    range: Range<u64>,
    /// The blocks they are in.
    blocks: Range<u64>,
    /// Bytes of the payload in all.
    payload: u64,
    /// The next block.
    number: u64,
    file: OpenFile,
    buffer: BytesMut,
    /// Failures since a block came.
    faults: u32,
    looks: u32,
}

impl Reading {
    /// The wanted bytes of the next block.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.number >= self.blocks.end {
            return Ok(None);
        }
        loop {
            let fault = match self.block().await {
                Ok(block) => {
                    self.faults = 0;
                    let from = self.number * BLOCK;
                    let start = self.range.start.saturating_sub(from);
                    let end = (self.range.end - from).min(BLOCK);
                    self.number += 1;
                    if self.number == self.blocks.end {
                        self.finish().await?;
                    }
                    return Ok(Some(cut(block, start, end)));
                }
                Err(fault) => fault,
            };
            self.go_on(fault).await?;
        }
    }

    /// The next block whole, checked.
    async fn block(&mut self) -> Result<Bytes, Fault> {
        let payload = BLOCK.min(self.payload - self.number * BLOCK);
        let length = usize::try_from(payload).unwrap_or(usize::MAX).saturating_add(4);
        while self.buffer.len() < length {
            match self.file.bytes.next().await {
                Some(Ok(slice)) => self.buffer.extend_from_slice(&slice),
                Some(Err(error)) => return Err(Fault::Broken(error.to_string())),
                None => return Err(Fault::Broken("the answer ended early".to_owned())),
            }
        }
        let block = self.buffer.split_to(length).freeze();
        blocks::opened(self.name, self.number, block).ok_or(Fault::Wrong(self.number))
    }

    /// Reads what is behind the last block, so that its connection can serve again. The end of a blob is checked, too.
    async fn finish(&mut self) -> Result<(), Fault> {
        let end = usize::try_from(END).unwrap_or(usize::MAX);
        while self.buffer.len() < end {
            // All blocks were right: an answer that breaks off now has lost nothing.
            let Some(Ok(slice)) = self.file.bytes.next().await else { break };
            self.buffer.extend_from_slice(&slice);
        }
        let is_last = self.number == self.payload.div_ceil(BLOCK);
        let wrong = self.buffer.get(..end).is_some_and(|end| !blocks::is_end(self.name, self.payload, end));
        self.end();
        if is_last && wrong { Err(Fault::Wrong(self.number)) } else { Ok(()) }
    }

    fn end(&mut self) {
        self.number = self.blocks.end;
        self.file.bytes = stream::empty().boxed();
        self.buffer = BytesMut::new();
    }

    /// Begins anew with the block that did not come, where that may help.
    async fn go_on(&mut self, fault: Fault) -> Result<(), Fault> {
        self.faults += 1;
        if matches!(fault, Fault::Wrong(_)) {
            self.looks += 1;
        }
        if self.faults >= self.inner.retry.attempts || self.looks > SECOND_LOOKS {
            return Err(fault);
        }
        tracing::debug!(blob = %self.name, ?fault, block = self.number, "reading goes on");
        tokio::time::sleep(self.inner.retry.pause(self.faults)).await;
        let Some(bytes) = file_range(&(self.number..self.blocks.end)) else { return Err(fault) };
        let path = path_of(self.name);
        let file = self.inner.again(|| self.inner.tree.read(&path, bytes.clone())).await.map_err(Fault::Tree)?;
        if file.length != blocks::file_length(self.payload) {
            return Err(fault);
        }
        self.file = file;
        self.buffer.clear();
        Ok(())
    }
}

fn cut(mut block: Bytes, start: u64, end: u64) -> Bytes {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(block.len());
    let (start, end) = (at(start), at(end));
    block.truncate(end);
    block.split_off(start)
}
