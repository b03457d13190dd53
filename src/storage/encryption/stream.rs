//! Text and ciphertext as streams. Each poll does at most a quarter of a megabyte of work (some 50 µs), so nothing is
//! handed to another thread, and holds no more than that.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use super::{
    Unlocked,
    chunks::{CHUNK, Chunks, extent},
};
use crate::{
    kms::cipher::{NotAuthentic, TAG},
    storage::{StorageError, StorageResult},
    types::{BodyError, ByteStream},
};

/// Text given on at a time.
const GATHERED: usize = 256 << 10;

fn broken(_: NotAuthentic) -> StorageError {
    StorageError::Broken("every key makes a cipher")
}

/// The ciphertext of a body small enough to be in memory.
pub(in crate::storage) fn seal_whole(key: &Unlocked, seal: &[u8], text: &[u8]) -> StorageResult<Bytes> {
    let chunks = Chunks::new(key, seal).map_err(broken)?;
    let count = text.len().div_ceil(CHUNK);
    let mut all = BytesMut::with_capacity(text.len() + count * TAG);
    for (index, piece) in text.chunks(CHUNK).enumerate() {
        let mut chunk = BytesMut::with_capacity(piece.len() + TAG);
        chunk.extend_from_slice(piece);
        chunks.seal(index as u64, index + 1 == count, &mut chunk).map_err(broken)?;
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

/// The ciphertext of a body. It ends cleanly only if the body does.
pub(in crate::storage) fn sealed(key: &Unlocked, seal: &[u8], body: ByteStream) -> StorageResult<ByteStream> {
    let chunks = Chunks::new(key, seal).map_err(broken)?;
    let buffer = BytesMut::with_capacity(CHUNK + TAG);
    Ok(Sealed { body: Some(body), chunks, index: 0, fresh: Bytes::new(), buffer }.boxed())
}

struct Sealed {
    /// Absent once it has ended.
    body: Option<ByteStream>,
    chunks: Chunks,
    index: u64,
    /// Text that is not in the buffer yet.
    fresh: Bytes,
    /// The next chunk's text. It is sealed when what follows is known: the last one is sealed as such.
    buffer: BytesMut,
}

impl Sealed {
    fn seal(&mut self, last: bool) -> Result<Bytes, BodyError> {
        let room = if last { 0 } else { CHUNK + TAG };
        let mut chunk = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(room));
        let sealed = self.chunks.seal(self.index, last, &mut chunk);
        sealed.map_err(|e| BodyError::Unreadable(e.to_string()))?;
        self.index += 1;
        Ok(chunk.freeze())
    }
}

impl Stream for Sealed {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if !self.fresh.is_empty() {
                if self.buffer.len() == CHUNK {
                    return Poll::Ready(Some(self.seal(false)));
                }
                let room = (CHUNK - self.buffer.len()).min(self.fresh.len());
                let taken = self.fresh.split_to(room);
                self.buffer.extend_from_slice(&taken);
                continue;
            }
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            match ready!(body.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) => self.fresh = bytes,
                Some(Err(e)) => {
                    self.body = None;
                    return Poll::Ready(Some(Err(e)));
                }
                None => {
                    self.body = None;
                    if !self.buffer.is_empty() {
                        return Poll::Ready(Some(self.seal(true)));
                    }
                }
            }
        }
    }
}

/// A segment to be read: what `range` of its text needs of its stored bytes.
pub(in crate::storage) struct Opening {
    /// Stored bytes.
    pub(in crate::storage) stored: Range<u64>,
    chunks: Chunks,
    indices: Range<u64>,
    count: u64,
    size: u64,
    skip: usize,
    wanted: u64,
}

/// Plans to read `range` of a segment of `size` bytes of text.
pub(in crate::storage) fn opened(key: &Unlocked, seal: &[u8], size: u64, range: &Range<u64>) -> StorageResult<Opening> {
    let extent = extent(range, size);
    Ok(Opening {
        stored: extent.stored,
        chunks: Chunks::new(key, seal).map_err(broken)?,
        indices: extent.chunks,
        count: size.div_ceil(CHUNK as u64),
        size,
        skip: extent.skip,
        wanted: range.end - range.start,
    })
}

impl Opening {
    /// The text, from exactly the stored bytes that were asked for. What is not authentic ends it with an error.
    pub(in crate::storage) fn text(self, stored: ByteStream) -> ByteStream {
        Opened { plan: self, stored, fresh: Bytes::new(), partial: BytesMut::new(), ended: false }.boxed()
    }

    /// Stored bytes of a chunk.
    fn sealed_len(&self, index: u64) -> usize {
        let rest = self.size - index * CHUNK as u64;
        TAG + usize::try_from(rest).unwrap_or(CHUNK).min(CHUNK)
    }

    fn open(&self, sealed: &[u8], text: &mut BytesMut) -> Result<(), BodyError> {
        let index = self.indices.start;
        self.chunks.open(index, index + 1 == self.count, sealed, text).map_err(|e| {
            tracing::error!(chunk = index, "stored ciphertext is not authentic: the answer is cut");
            BodyError::Unreadable(e.to_string())
        })
    }
}

struct Opened {
    plan: Opening,
    stored: ByteStream,
    /// Stored bytes not looked at yet.
    fresh: Bytes,
    /// The beginning of a chunk that comes in several pieces.
    partial: BytesMut,
    ended: bool,
}

impl Opened {
    /// Opens what is whole among the bytes at hand.
    fn open_whole(&mut self, text: &mut BytesMut) -> Result<(), BodyError> {
        while !self.plan.indices.is_empty() && !self.fresh.is_empty() && text.len() < GATHERED {
            let whole = self.plan.sealed_len(self.plan.indices.start);
            if self.partial.is_empty() && self.fresh.len() >= whole {
                let sealed = self.fresh.split_to(whole);
                self.plan.open(&sealed, text)?;
            } else {
                let missing = (whole - self.partial.len()).min(self.fresh.len());
                let taken = self.fresh.split_to(missing);
                self.partial.extend_from_slice(&taken);
                if self.partial.len() < whole {
                    return Ok(());
                }
                self.plan.open(&self.partial, text)?;
                self.partial.clear();
            }
            self.plan.indices.start += 1;
        }
        Ok(())
    }

    /// The part of the text that is wanted.
    fn cut(&mut self, text: BytesMut) -> Bytes {
        let mut text = text.freeze();
        text.advance(std::mem::take(&mut self.plan.skip).min(text.len()));
        text.truncate(usize::try_from(self.plan.wanted).unwrap_or(usize::MAX));
        self.plan.wanted -= text.len() as u64;
        text
    }
}

impl Stream for Opened {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let whole = self.fresh.len().min(GATHERED + CHUNK);
            let mut text = BytesMut::with_capacity(if whole < CHUNK { 0 } else { whole });
            if let Err(e) = self.open_whole(&mut text) {
                self.ended = true;
                return Poll::Ready(Some(Err(e)));
            }
            if !text.is_empty() {
                return Poll::Ready(Some(Ok(self.cut(text))));
            }
            if self.plan.indices.is_empty() {
                self.ended = true;
                return Poll::Ready(None);
            }
            match ready!(self.stored.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) => self.fresh = bytes,
                Some(Err(e)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(e)));
                }
                None => {
                    self.ended = true;
                    let missing = "stored ciphertext ends too early".to_owned();
                    return Poll::Ready(Some(Err(BodyError::Unreadable(missing))));
                }
            }
        }
    }
}
