//! Bodies on their way out.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::types::{BodyError, ByteStream};

/// The body of a request.
#[derive(Default)]
pub enum Payload {
    /// None.
    #[default]
    Empty,
    /// Bytes at hand.
    Held(Bytes),
    /// Bytes to come.
    Stream {
        /// Where from.
        body: ByteStream,
        /// How many; sent in chunks where that is unknown.
        size: Option<u64>,
    },
}

impl Payload {
    /// The same body once more, where it is at hand.
    pub fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Held(bytes) => Some(Self::Held(bytes.clone())),
            Self::Stream { .. } => None,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Held(bytes) => write!(f, "Held({} bytes)", bytes.len()),
            Self::Stream { size, .. } => write!(f, "Stream({size:?} bytes)"),
        }
    }
}

/// What the sender and whoever waits for the answer know of each other.
#[derive(Debug)]
pub(super) struct Progress {
    moved: Mutex<Instant>,
    /// The source has nothing to send at the moment.
    waiting: AtomicBool,
    /// Everything was handed to the connection.
    ended: AtomicBool,
    fault: Mutex<Option<BodyError>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            moved: Mutex::new(Instant::now()),
            waiting: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            fault: Mutex::new(None),
        }
    }
}

impl Progress {
    pub(super) fn touch(&self) {
        *self.moved.lock() = Instant::now();
    }

    pub(super) fn moved(&self) -> Instant {
        *self.moved.lock()
    }

    pub(super) fn waits_for_source(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn fault(&self) -> Option<BodyError> {
        self.fault.lock().clone()
    }

    fn end(&self) {
        self.touch();
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// A body as the connection pulls it.
pub(super) struct Outgoing {
    source: Source,
    progress: Arc<Progress>,
}

enum Source {
    Held(Option<Bytes>),
    Stream(Metered),
    Done,
}

/// A stream that is held to its length.
struct Metered {
    stream: ByteStream,
    size: Option<u64>,
    received: u64,
    /// The last slice, until the stream has confirmed its end: whoever sees `size` bytes takes them for all.
    last: Option<Bytes>,
}

/// Makes a body ready. One of no bytes is asked for its end here: nobody would later.
pub(super) async fn outgoing(payload: Payload, progress: Arc<Progress>) -> Result<Outgoing, BodyError> {
    let source = match payload {
        Payload::Empty => Source::Held(None),
        Payload::Held(bytes) => Source::Held(Some(bytes).filter(|bytes| !bytes.is_empty())),
        Payload::Stream { body, size: Some(0) } => {
            let mut body = body;
            while let Some(slice) = body.next().await {
                if !slice?.is_empty() {
                    return Err(BodyError::TooLarge { limit: 0 });
                }
            }
            Source::Held(None)
        }
        Payload::Stream { body, size } => Source::Stream(Metered { stream: body, size, received: 0, last: None }),
    };
    if matches!(source, Source::Held(None)) {
        progress.end();
    }
    Ok(Outgoing { source, progress })
}

impl Outgoing {
    /// Its bytes, where they are known.
    pub(super) fn length(&self) -> Option<u64> {
        match &self.source {
            Source::Held(bytes) => Some(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Stream(metered) => metered.size,
            Source::Done => Some(0),
        }
    }
}

impl Metered {
    /// The next slice that may be sent.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            match ready!(self.stream.as_mut().poll_next(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(slice)) if slice.is_empty() => {}
                Some(Ok(slice)) => {
                    self.received = self.received.saturating_add(slice.len() as u64);
                    match self.size {
                        Some(size) if self.received > size => {
                            return Poll::Ready(Some(Err(BodyError::TooLarge { limit: size })));
                        }
                        Some(size) if self.received == size => self.last = Some(slice),
                        _ => return Poll::Ready(Some(Ok(slice))),
                    }
                }
                None => return Poll::Ready(self.end()),
            }
        }
    }

    fn end(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self.size {
            Some(expected) if self.received < expected => {
                Some(Err(BodyError::Incomplete { expected, got: self.received }))
            }
            _ => self.last.take().map(Ok),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let next = match &mut this.source {
            Source::Done => None,
            Source::Held(bytes) => {
                let bytes = bytes.take();
                this.source = Source::Done;
                bytes.map(Ok)
            }
            Source::Stream(metered) => match metered.poll(cx) {
                Poll::Pending => {
                    this.progress.waiting.store(true, Ordering::Relaxed);
                    return Poll::Pending;
                }
                Poll::Ready(next) => {
                    let last = metered.size.is_some_and(|size| metered.received >= size) && metered.last.is_none();
                    if next.is_none() || last || matches!(next, Some(Err(_))) {
                        this.source = Source::Done;
                    }
                    next
                }
            },
        };
        this.progress.waiting.store(false, Ordering::Relaxed);
        this.progress.touch();
        if matches!(this.source, Source::Done) {
            this.progress.end();
        }
        if let Some(Err(error)) = &next {
            *this.progress.fault.lock() = Some(error.clone());
        }
        Poll::Ready(next.map(|slice| slice.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Done | Source::Held(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Held(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Stream(Metered { size: Some(size), received, last, .. }) => {
                let kept = last.as_ref().map_or(0, |bytes| bytes.len() as u64);
                SizeHint::with_exact(size.saturating_sub(*received).saturating_add(kept))
            }
            Source::Stream(_) => SizeHint::default(),
            Source::Done => SizeHint::with_exact(0),
        }
    }
}
