//! The gate in front of hyper's HTTP/1 parser: lets heads through whole and unambiguous, or not at all.
//!
//! hyper answers what it cannot parse by itself, without a request id, an S3 error or a line in the log, and it
//! accepts some things a storage server behind proxies must not. So the gate follows the framing of everything that
//! arrives, and puts a harmless request in place of a head that it refuses; the service behind hyper knows from
//! [`Message::refusal`] that this one is to be refused, and answers in order like any other. No byte behind a refused
//! head is ever looked at.
//!
//! A whole head that arrives in one read costs no copy.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{Activity, Reading};
use crate::s3::Refusal;

mod chunked;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod head;

use chunked::{Chunked, State};
use head::{Body, HeadScan, Progress};

pub(super) use head::HeadLimits;

/// What stands in for a refused head. `Connection: close` makes hyper stop after it.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// The same for a refused `HEAD`, whose answer must have no body.
const STAND_IN_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// Bytes read at once while a head arrives in pieces, or while a body nobody wants is discarded.
const PIECE: usize = 4096;

/// A request as the gate saw it, for the service that will meet it.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// Set if the request is only a stand-in.
    pub(super) refusal: Option<Refusal>,
    payload: AtomicU64,
    whole: AtomicBool,
}

impl Message {
    /// Body bytes that came so far, without framing.
    pub(super) fn payload(&self) -> u64 {
        self.payload.load(Ordering::Relaxed)
    }

    /// Whether all of the body has come.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.payload.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Where in the stream of messages the next byte stands.
#[derive(Debug)]
enum Phase {
    Head(HeadScan),
    Length(u64),
    Chunked(Chunked),
    /// Behind a refused head.
    Refused,
    /// Behind broken chunks.
    Broken,
}

impl Phase {
    fn next_head() -> Self {
        Self::Head(HeadScan::default())
    }
}

/// What is to be done with the bytes behind the accepted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// There are none.
    Pass,
    /// They are the start of a head: keep them until it is whole.
    Hold,
    /// Put this in their place.
    Replace(&'static [u8]),
    /// Nothing can be made of them.
    Broken,
}

/// A connection with the gate in front.
#[derive(Debug)]
pub(super) struct Gate<S> {
    inner: S,
    activity: Arc<Activity>,
    limits: HeadLimits,
    phase: Phase,
    message: Arc<Message>,
    /// The start of a head.
    held: BytesMut,
    /// Checked bytes that hyper has not taken yet.
    ready: Bytes,
    ended: bool,
    farewell: Farewell,
    /// Connections open now.
    crowd: Arc<AtomicUsize>,
}

/// How far the end of the connection has come.
#[derive(Debug)]
struct Farewell {
    sent: bool,
    /// Bytes that may still be discarded.
    patience: u64,
}

impl<S> Gate<S> {
    /// A gate in front of `inner`. Up to `patience` bytes of an unread body are discarded at the end, so that the
    /// client reads the answer rather than a reset.
    pub(super) fn new(inner: S, activity: Arc<Activity>, limits: HeadLimits, patience: u64) -> Self {
        Self {
            inner,
            activity,
            limits,
            phase: Phase::next_head(),
            message: Arc::default(),
            held: BytesMut::new(),
            ready: Bytes::new(),
            ended: false,
            farewell: Farewell { sent: false, patience },
            crowd: Arc::default(),
        }
    }

    /// Reads in smaller pieces while `connections` are many.
    pub(super) fn in_crowd(self, connections: Arc<AtomicUsize>) -> Self {
        Self { crowd: connections, ..self }
    }

    /// Most bytes to read at once, if there is to be a bound.
    ///
    /// hyper's next buffer has the power of two above what reads bring, and a stored upload holds some four of them
    /// (one that fills, and what is gathered, hashed and written). The connections of a crowd shrink with it,
    /// those that came before it, too.
    fn piece(&self) -> Option<usize> {
        match self.crowd.load(Ordering::Relaxed) {
            0..64 => None,
            64..256 => Some((64 << 10) - 1),
            _ => Some((16 << 10) - 1),
        }
    }

    /// Follows the framing through `bytes`; says how many of them hyper may have and what of the rest.
    fn follow(&mut self, bytes: &[u8]) -> (usize, Verdict) {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return (at, Verdict::Pass);
            }
            match &mut self.phase {
                Phase::Head(scan) => match scan.advance(rest, self.limits) {
                    Progress::Incomplete => return (at, Verdict::Hold),
                    Progress::Complete(length, body) => {
                        at += length;
                        self.begin(body);
                    }
                    Progress::Refused(refusal) => {
                        let stand_in = if scan.is_head_request() { STAND_IN_HEAD } else { STAND_IN };
                        self.activity
                            .expect_message(Arc::new(Message { refusal: Some(refusal), ..Message::default() }));
                        self.phase = Phase::Refused;
                        return (at, Verdict::Replace(stand_in));
                    }
                },
                Phase::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= here as u64;
                    at += here;
                    self.message.add(here as u64);
                    if *left == 0 {
                        self.end_of_body();
                    }
                }
                Phase::Chunked(chunked) => {
                    let followed = chunked.follow(rest);
                    at += followed.taken;
                    self.message.add(followed.payload);
                    match followed.state {
                        State::More => {}
                        State::Over => self.end_of_body(),
                        State::Broken => {
                            self.phase = Phase::Broken;
                            return (at, Verdict::Broken);
                        }
                    }
                }
                Phase::Refused | Phase::Broken => return (at, Verdict::Broken),
            }
        }
    }

    /// A head was whole: its message begins.
    fn begin(&mut self, body: Body) {
        self.message = Arc::default();
        self.activity.expect_message(Arc::clone(&self.message));
        match body {
            Body::Length(0) => self.end_of_body(),
            Body::Length(length) => self.phase = Phase::Length(length),
            Body::Chunked => self.phase = Phase::Chunked(Chunked::default()),
        }
    }

    fn end_of_body(&mut self) {
        self.message.whole.store(true, Ordering::Relaxed);
        self.phase = Phase::next_head();
    }

    /// Tells the clock what is being waited for.
    fn note_reading(&self) {
        self.activity.reading(match &self.phase {
            Phase::Head(_) if self.held.is_empty() => Reading::Nothing,
            Phase::Head(_) => Reading::Head,
            _ => Reading::Body,
        });
    }

    /// Whether the client may have more to say that nobody will read.
    fn is_mid_message(&self) -> bool {
        !self.ended && !matches!(&self.phase, Phase::Head(scan) if scan.is_untouched() && self.held.is_empty())
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads into hyper's buffer and takes back what must be kept.
    fn read_directly(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match self.piece() {
            Some(piece) if piece < buf.remaining() => {
                let mut piece = ReadBuf::new(buf.initialize_unfilled_to(piece));
                ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
                let length = piece.filled().len();
                buf.advance(length);
            }
            _ => ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?,
        }
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        let (accepted, verdict) = self.follow(fresh);
        if verdict == Verdict::Hold {
            self.held.extend_from_slice(fresh.get(accepted..).unwrap_or_default());
        }
        buf.set_filled(before + accepted);
        if let Verdict::Replace(stand_in) = verdict {
            self.ready = Bytes::from_static(stand_in);
        }
        self.note_reading();
        Poll::Ready(Ok(()))
    }

    /// Reads more of a head that came in pieces.
    fn read_more_of_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; PIECE];
        let mut piece = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        if piece.filled().is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(piece.filled());
        let (accepted, verdict) = self.follow(&held);
        self.ready = held.split_to(accepted.min(held.len())).freeze();
        match verdict {
            Verdict::Hold => self.held = held,
            Verdict::Replace(stand_in) => {
                // What was accepted before the refused head (earlier heads of the same piece) comes first.
                let mut both = BytesMut::from(self.ready.as_ref());
                both.extend_from_slice(stand_in);
                self.ready = both.freeze();
            }
            Verdict::Pass | Verdict::Broken => {}
        }
        self.note_reading();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        loop {
            if !this.ready.is_empty() {
                let here = this.ready.len().min(buf.remaining());
                buf.put_slice(this.ready.get(..here).unwrap_or_default());
                this.ready.advance(here);
                return Poll::Ready(Ok(()));
            }
            match this.phase {
                // hyper closes by itself once the stand-in is answered; nothing more is read until then.
                Phase::Refused => return Poll::Pending,
                Phase::Broken => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "broken chunks"))),
                _ => {}
            }
            if this.held.is_empty() {
                ready!(this.read_directly(cx, buf))?;
            } else {
                ready!(this.read_more_of_head(cx))?;
            }
            if this.ended || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Says goodbye, then discards what the client still sends: closing a socket with unread bytes resets it, and a
    /// reset can overtake the answer. How long this lasts is the activity clock's to limit.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.farewell.sent {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            this.farewell.sent = true;
        }
        if !this.is_mid_message() {
            return Poll::Ready(Ok(()));
        }
        this.activity.lingers();
        let mut space = [0; PIECE];
        while this.farewell.patience > 0 {
            let mut piece = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => {
                    this.farewell.patience = this.farewell.patience.saturating_sub(piece.filled().len() as u64);
                }
                // The end, or a reset: either way there is nobody to wait for.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
