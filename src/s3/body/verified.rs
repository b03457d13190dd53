//! The stream that a writer pulls: slices as they come, and the verdict as its last word.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::Body;
use tokio::sync::oneshot;

use super::{
    digests::{Digests, Op},
    frames::Frames,
    framing::Framing,
    pool::{Batch, Done, INLINE, Ticket},
};
use crate::types::{BodyError, DigestSlot};

/// This many slices in a row of a chunk held back are copied together: slices must not outweigh what they carry.
const MOST_SLICES: usize = 256;

/// Where the digests are.
enum Hashing {
    /// Here, waiting for a batch.
    Idle(Box<Digests>),
    /// With a worker.
    Busy(oneshot::Receiver<Done>),
    /// Spent on a verdict, or lost.
    Over,
}

enum Phase {
    Reading,
    /// The body has ended, well or not; what came before it still has to be hashed.
    Ending(Result<(), BodyError>),
    /// Nothing more will be read: what is ready may leave, then the stream ends.
    Ended,
}

/// A body that ends in an error if what flowed through is not what the client promised.
pub(super) struct Verified<B> {
    frames: Option<Frames<B>>,
    framing: Framing,
    hashing: Hashing,
    phase: Phase,
    ticket: Ticket,
    /// Steps gathered for the next batch, and their weight.
    gathered: Vec<Op>,
    weight: usize,
    /// A body that is known to be small is never handed over.
    least_batch: usize,
    /// Slices of a signed chunk that is not sealed yet.
    held: Vec<Bytes>,
    /// How many of them, at the end, are as they came.
    loose: usize,
    /// Slices that may leave.
    ready: VecDeque<Bytes>,
    gated: bool,
    slot: DigestSlot,
}

impl<B: Body<Data = Bytes> + Unpin> Verified<B> {
    pub(super) fn new(frames: Frames<B>, framing: Framing, digests: Digests, ticket: Ticket, slot: DigestSlot) -> Self {
        let gated = digests.gated();
        let phase = match framing.announced() {
            Ok(()) => Phase::Reading,
            refused => Phase::Ending(refused),
        };
        let least_batch = if framing.is_small() { INLINE } else { 0 };
        Self {
            frames: Some(frames),
            framing,
            hashing: Hashing::Idle(Box::new(digests)),
            phase,
            ticket,
            gathered: Vec::new(),
            weight: 0,
            least_batch,
            held: Vec::new(),
            loose: 0,
            ready: VecDeque::new(),
            gated,
            slot,
        }
    }

    /// Takes the next frame in. Ready once there is something new to look at.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(frames) = &mut self.frames else { return Poll::Ready(Err(BodyError::Disconnected)) };
        let frame = match frames.poll(cx) {
            Poll::Ready(Ok(frame)) => frame,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        // A body of known length is over with its last byte: its verdict then comes before that byte leaves.
        let over = frame.is_none() || frames.ended();
        let first = self.gathered.len();
        let mut outcome = frame.map_or(Ok(()), |bytes| self.framing.push(bytes, &mut self.gathered));
        if over && outcome.is_ok() {
            outcome = self.framing.finish(&mut self.gathered);
        }
        for op in self.gathered.iter().skip(first) {
            self.weight = self.weight.saturating_add(op.weight());
            if let (false, Op::Data { bytes, .. }) = (self.gated, op) {
                self.ready.push_back(bytes.clone());
            }
        }
        if over || outcome.is_err() {
            self.frames = None;
            self.phase = Phase::Ending(outcome);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a finished batch back, and hands the next over when it is large enough.
    fn poll_hashing(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        if let Hashing::Busy(reply) = &mut self.hashing {
            match Pin::new(reply).poll(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(done)) => self.take_back(done)?,
                Poll::Ready(Err(_)) => {
                    self.hashing = Hashing::Over;
                    return Err(BodyError::Unreadable("hashing broke down".to_owned()));
                }
            }
        }
        let enough = match self.phase {
            Phase::Reading => self.ticket.batch_size().max(self.least_batch),
            Phase::Ending(_) => INLINE,
            Phase::Ended => return Ok(()),
        };
        if self.weight > enough
            && let Some(batch) = self.next_batch()
        {
            self.hashing = Hashing::Busy(self.ticket.submit(batch));
            // The reply wakes this task only once it has been polled.
            return self.poll_hashing(cx);
        }
        Ok(())
    }

    /// The gathered steps with the digests, if those are here.
    fn next_batch(&mut self) -> Option<Batch> {
        match std::mem::replace(&mut self.hashing, Hashing::Over) {
            Hashing::Idle(digests) => {
                self.weight = 0;
                Some(Batch { digests, ops: std::mem::take(&mut self.gathered) })
            }
            other => {
                self.hashing = other;
                None
            }
        }
    }

    fn take_back(&mut self, done: Done) -> Result<(), BodyError> {
        let Batch { digests, mut ops } = done.batch;
        self.hashing = Hashing::Idle(digests);
        done.outcome?;
        for op in ops.drain(..) {
            match op {
                Op::Data { bytes, held: true } => self.hold(bytes),
                Op::Data { bytes, held: false } => self.ready.push_back(bytes),
                Op::Seal(_) => {
                    self.loose = 0;
                    self.ready.extend(self.held.drain(..));
                }
                Op::SealTrailer { .. } | Op::Expect(_) => {}
            }
        }
        if self.gathered.is_empty() {
            self.gathered = ops;
        }
        Ok(())
    }

    fn hold(&mut self, bytes: Bytes) {
        self.held.push(bytes);
        self.loose += 1;
        if self.loose == MOST_SLICES {
            let mut whole = BytesMut::new();
            let first = self.held.len().saturating_sub(MOST_SLICES);
            self.held.drain(first..).for_each(|slice| whole.extend_from_slice(&slice));
            self.held.push(whole.freeze());
            self.loose = 0;
        }
    }

    /// Hashes what is left and gives the verdict.
    fn conclude(&mut self, outcome: Result<(), BodyError>) -> Result<(), BodyError> {
        if let Some(batch) = self.next_batch() {
            self.take_back(batch.run())?;
        }
        outcome?;
        if let Hashing::Idle(digests) = std::mem::replace(&mut self.hashing, Hashing::Over)
            && let Some(digests) = digests.verdict()?
        {
            self.slot.set(digests);
        }
        Ok(())
    }

    /// Goes on as far as possible without a slice that may leave. Ready when there is one, or at the end.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        loop {
            self.poll_hashing(cx)?;
            let busy = matches!(self.hashing, Hashing::Busy(_));
            match &mut self.phase {
                Phase::Ending(outcome) if !busy => {
                    let outcome = std::mem::replace(outcome, Ok(()));
                    self.phase = Phase::Ended;
                    return Poll::Ready(self.conclude(outcome));
                }
                Phase::Ended => return Poll::Ready(Ok(())),
                _ if !self.ready.is_empty() => return Poll::Ready(Ok(())),
                Phase::Ending(_) => return Poll::Pending,
                // Two batches are enough; the client waits until one is done.
                Phase::Reading if busy && self.weight > self.ticket.batch_size() => return Poll::Pending,
                Phase::Reading => match self.poll_read(cx) {
                    Poll::Ready(outcome) => outcome?,
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Stream for Verified<B> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.poll_progress(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(self.ready.pop_front().map(Ok)),
            Poll::Ready(Err(error)) => {
                self.frames = None;
                self.phase = Phase::Ended;
                self.hashing = Hashing::Over;
                self.gathered.clear();
                self.held.clear();
                self.ready.clear();
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self.phase {
            Phase::Ended => (self.ready.len(), Some(self.ready.len())),
            Phase::Reading | Phase::Ending(_) => (self.ready.len(), None),
        }
    }
}
