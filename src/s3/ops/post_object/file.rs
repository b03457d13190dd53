//! The file of a form: the body between its headers and the next boundary, passed on by reference.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use memchr::memmem::Finder;

use crate::types::BodyError;

/// Most bytes behind the file that are read and ignored; a client that sends more is not waited for.
const EPILOGUE: usize = 1 << 20;

/// The file's bytes. Ends cleanly only if the boundary came; what follows it is read and ignored.
pub(super) struct FileBody<B> {
    body: B,
    /// `CRLF--boundary`.
    delimiter: Finder<'static>,
    /// Bytes that came and were not looked at.
    fresh: Bytes,
    /// Bytes that may be the beginning of the delimiter; fewer than it has.
    held: BytesMut,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    File,
    /// Behind the boundary; so many bytes may still be ignored.
    Epilogue(usize),
    Ended,
}

impl<B> std::fmt::Debug for FileBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileBody").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes> + Unpin> FileBody<B> {
    /// The file that begins with `fresh`.
    pub(super) fn new(body: B, fresh: Bytes, delimiter: &[u8]) -> Self {
        let delimiter = Finder::new(delimiter).into_owned();
        Self { body, delimiter, fresh, held: BytesMut::new(), state: State::File }
    }

    /// Looks at what came; gives the bytes that are certainly the file's.
    fn release(&mut self) -> Bytes {
        let fresh = std::mem::take(&mut self.fresh);
        let mut bytes = if self.held.is_empty() {
            fresh
        } else {
            // Rare: the last slice ended like a delimiter begins.
            self.held.extend_from_slice(&fresh);
            std::mem::take(&mut self.held).freeze()
        };
        if let Some(position) = self.delimiter.find(&bytes) {
            self.state = State::Epilogue(EPILOGUE);
            bytes.truncate(position);
            return bytes;
        }
        let certain = bytes.len().saturating_sub(self.undecided(&bytes));
        self.held.extend_from_slice(&bytes.split_off(certain));
        bytes
    }

    /// How many bytes at the end may begin a delimiter.
    fn undecided(&self, bytes: &[u8]) -> usize {
        let delimiter = self.delimiter.needle();
        let most = bytes.len().min(delimiter.len().saturating_sub(1));
        (1..=most)
            .rev()
            .find(|length| delimiter.get(..*length).is_some_and(|start| bytes.ends_with(start)))
            .unwrap_or(0)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for FileBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if self.state == State::File && !self.fresh.is_empty() {
                let bytes = self.release();
                if !bytes.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            }
            if self.state == State::Ended {
                return Poll::Ready(None);
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::Disconnected))),
                // The boundary never came.
                None if self.state == State::File => return Poll::Ready(Some(Err(BodyError::Disconnected))),
                None => {
                    self.state = State::Ended;
                    continue;
                }
            };
            match self.state {
                State::Epilogue(left) => {
                    self.state = left.checked_sub(frame.len()).map_or(State::Ended, State::Epilogue);
                }
                State::File | State::Ended => self.fresh = frame,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended
    }
}
