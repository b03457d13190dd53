//! The frames of an HTTP body, and how long a client may take for them.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Pace;
use crate::types::BodyError;

/// The data frames of a body, paced. Trailers of HTTP itself carry nothing in S3 and are dropped.
pub(super) struct Frames<B> {
    body: B,
    pace: Pace,
    /// The start of the present silence.
    silent_since: Option<Instant>,
    /// The start of the part of it that `waited` does not count yet.
    counted_from: Option<Instant>,
    /// Time waited in the present window of the rate.
    waited: Duration,
    /// Bytes that came in it.
    came: u64,
    /// Made when the client first lets us wait.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<B: Body<Data = Bytes> + Unpin> Frames<B> {
    pub(super) fn new(body: B, pace: Pace) -> Self {
        let waited = Duration::ZERO;
        Self { body, pace, silent_since: None, counted_from: None, waited, came: 0, sleep: None }
    }

    /// Whether the body is known to have ended.
    pub(super) fn ended(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next slice, never empty; `None` at the end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => {
                        return Poll::Ready(self.arrived(bytes.len()).map(|()| Some(bytes)));
                    }
                    Ok(_) | Err(_) => {}
                },
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(BodyError::Disconnected)),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => return self.poll_overdue(cx).map(Err),
            }
        }
    }

    fn arrived(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.came = self.came.saturating_add(bytes as u64);
        self.silent_since = None;
        if let Some(from) = self.counted_from.take() {
            self.waited = self.waited.saturating_add(from.elapsed());
            self.close_window()?;
        }
        Ok(())
    }

    /// Judges the rate once a window's worth of waiting is over.
    fn close_window(&mut self) -> Result<(), BodyError> {
        if self.pace.min_rate == 0 || self.waited < self.pace.window {
            return Ok(());
        }
        let least = u128::from(self.pace.min_rate).saturating_mul(self.waited.as_millis()) / 1000;
        if u128::from(self.came) < least {
            return Err(BodyError::TimedOut);
        }
        self.waited = Duration::ZERO;
        self.came = 0;
        Ok(())
    }

    /// When to look again; at most a day ahead, so that no setting overflows.
    fn due(&self, silent_since: Instant, now: Instant) -> Instant {
        let silence_left = self.pace.idle.saturating_sub(now.duration_since(silent_since));
        let window_left = match self.pace.min_rate {
            0 => Duration::MAX,
            _ => self.pace.window.saturating_sub(self.waited),
        };
        now + silence_left.min(window_left).min(Duration::from_hours(24))
    }

    /// Ready when the client has been silent, or slow, for too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        loop {
            let now = Instant::now();
            let silent_since = *self.silent_since.get_or_insert(now);
            if now.duration_since(silent_since) >= self.pace.idle {
                return Poll::Ready(BodyError::TimedOut);
            }
            let counted_from = self.counted_from.replace(now).unwrap_or(now);
            self.waited = self.waited.saturating_add(now.duration_since(counted_from));
            if let Err(error) = self.close_window() {
                return Poll::Ready(error);
            }
            let due = self.due(silent_since, now);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            // A sleep that ends early is set anew when it has ended: cheaper than at each frame.
            if sleep.deadline() > due || sleep.is_elapsed() {
                sleep.as_mut().reset(due);
            }
            ready!(sleep.as_mut().poll(cx));
        }
    }
}
