//! What a connection is doing and since when, so that those who do nothing are cut.
//!
//! Timers per read, write and request would cost more than the requests. Instead the connection leaves marks (plain
//! atomics) and its task looks at them every few hundred milliseconds: a limit is enforced within a quarter of the
//! shortest one.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Limits, framing::Message};

/// No mark is set.
const NEVER: u64 = u64::MAX;

/// What the next bytes from the client will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A new request, of which nothing has come.
    Nothing,
    /// More of a head.
    Head,
    /// More of a body.
    Body,
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The head of a request did not come, or not to its end.
    Head,
    /// No further request came.
    KeepAlive,
    /// The client does not read the answer.
    Write,
    /// The client goes on sending what nobody reads.
    Linger,
}

impl Overdue {
    /// The word for metrics; nothing where this is the normal end of a connection.
    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Head => Some("header_timeout"),
            Self::Write => Some("write_timeout"),
            Self::KeepAlive | Self::Linger => None,
        }
    }
}

/// The marks of one connection. All times are milliseconds since it was opened.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    reading: AtomicU8,
    reading_since: AtomicU64,
    write_blocked_since: AtomicU64,
    lingers_since: AtomicU64,
    /// Requests whose answers have not ended.
    active: AtomicUsize,
    served: AtomicUsize,
    idle_since: AtomicU64,
    /// Requests that the gate has let through and the service has not met.
    messages: Mutex<VecDeque<Arc<Message>>>,
    /// Answers on their way over HTTP/2.
    streams: Mutex<Vec<Weak<StreamMark>>>,
}

/// Whether the client of an HTTP/2 stream takes what it is given.
///
/// A stream whose client grants no window is not polled at all, so the mark is left when a piece is handed over.
#[derive(Debug)]
pub(super) struct StreamMark {
    opened: Instant,
    handed_over_at: AtomicU64,
}

impl StreamMark {
    /// The connection asks for the next piece: the one before is gone.
    pub(super) fn asked(&self) {
        self.handed_over_at.store(NEVER, Relaxed);
    }

    /// A piece is handed over.
    pub(super) fn handed_over(&self) {
        self.handed_over_at.store(millis(self.opened), Relaxed);
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(NEVER - 1)
}

impl Activity {
    /// The marks of a connection that was just opened.
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            reading: AtomicU8::new(Reading::Nothing as u8),
            reading_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(NEVER),
            lingers_since: AtomicU64::new(NEVER),
            active: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            messages: Mutex::default(),
            streams: Mutex::default(),
        }
    }

    /// The gate has let a request through.
    pub(super) fn expect_message(&self, message: Arc<Message>) {
        self.messages.lock().push_back(message);
    }

    /// The service meets the next request; nothing where there is no gate (HTTP/2).
    pub(super) fn next_message(&self) -> Option<Arc<Message>> {
        self.messages.lock().pop_front()
    }

    /// What the client is expected to send.
    pub(super) fn reading(&self, what: Reading) {
        if self.reading.swap(what as u8, Relaxed) != what as u8 {
            self.reading_since.store(millis(self.opened), Relaxed);
        }
    }

    /// A request is met.
    pub(super) fn begins(&self) {
        self.active.fetch_add(1, Relaxed);
        self.served.fetch_add(1, Relaxed);
    }

    /// Its answer has ended.
    pub(super) fn ends(&self) {
        self.idle_since.store(millis(self.opened), Relaxed);
        self.active.fetch_sub(1, Relaxed);
    }

    /// Whether no request is being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.active.load(Relaxed) == 0 && self.write_blocked_since.load(Relaxed) == NEVER
    }

    /// The answer is sent, the client still talks.
    pub(super) fn lingers(&self) {
        if self.lingers_since.load(Relaxed) == NEVER {
            self.lingers_since.store(millis(self.opened), Relaxed);
        }
    }

    fn write_blocked(&self) {
        if self.write_blocked_since.load(Relaxed) == NEVER {
            self.write_blocked_since.store(millis(self.opened), Relaxed);
        }
    }

    fn write_moves(&self) {
        if self.write_blocked_since.load(Relaxed) != NEVER {
            self.write_blocked_since.store(NEVER, Relaxed);
            // Time spent writing the end of an answer is not idle time.
            self.idle_since.store(millis(self.opened), Relaxed);
        }
    }

    /// A mark for an answer over HTTP/2.
    pub(super) fn stream(&self) -> Arc<StreamMark> {
        let mark = Arc::new(StreamMark { opened: self.opened, handed_over_at: AtomicU64::new(NEVER) });
        let mut streams = self.streams.lock();
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(Arc::downgrade(&mark));
        mark
    }

    /// Why the connection must be cut now, if it must.
    pub(super) fn overdue(&self, limits: &Limits) -> Option<Overdue> {
        let now = millis(self.opened);
        // A mark may be younger than `now` by the time it is read.
        let over =
            |since: u64, limit: Duration| since != NEVER && Duration::from_millis(now.saturating_sub(since)) >= limit;
        if over(self.write_blocked_since.load(Relaxed), limits.write_timeout) || self.has_stalled_stream(&over, limits)
        {
            return Some(Overdue::Write);
        }
        if over(self.lingers_since.load(Relaxed), limits.linger_time) {
            return Some(Overdue::Linger);
        }
        if !self.is_idle() {
            return None;
        }
        let idle_since = self.idle_since.load(Relaxed);
        let in_head = self.reading.load(Relaxed) == Reading::Head as u8;
        if in_head || self.served.load(Relaxed) == 0 {
            // A head that was begun while an earlier request was served gets its full time after that.
            let since = if in_head { self.reading_since.load(Relaxed).max(idle_since) } else { 0 };
            return over(since, limits.header_timeout).then_some(Overdue::Head);
        }
        over(idle_since, limits.keep_alive).then_some(Overdue::KeepAlive)
    }

    fn has_stalled_stream(&self, over: &impl Fn(u64, Duration) -> bool, limits: &Limits) -> bool {
        let streams = self.streams.lock();
        let mut alive = streams.iter().filter_map(Weak::upgrade);
        alive.any(|stream| over(stream.handed_over_at.load(Relaxed), limits.write_timeout))
    }
}

/// A socket that marks whether the client takes what is written. Below TLS, where bytes are what the client sees.
#[derive(Debug)]
pub(super) struct Marked<S> {
    inner: S,
    activity: Arc<Activity>,
}

impl<S> Marked<S> {
    pub(super) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }

    fn mark<T>(&self, written: Poll<T>) -> Poll<T> {
        if written.is_pending() {
            self.activity.write_blocked();
        } else {
            self.activity.write_moves();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Marked<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Marked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.mark(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.mark(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
