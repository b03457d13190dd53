//! Bodies on their way in.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::Body;
use hyper::body::Incoming;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};

use super::chain;
use crate::types::BodyError;

/// The body of an answer. While its reader waits, the far side has a time limit for each slice.
pub(super) struct Answered {
    body: Option<Incoming>,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Whether the reader waits, and the deadline runs.
    armed: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl Answered {
    pub(super) fn new(body: Incoming, idle: Duration, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { body: Some(body), idle, deadline: Box::pin(tokio::time::sleep(idle)), armed: false, permit }
    }

    fn end(&mut self) {
        self.body = None;
        self.permit = None;
    }
}

impl Stream for Answered {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.armed = false;
                    match frame.into_data() {
                        Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                        // An empty slice, or trailers: nobody asked for them.
                        Ok(_) | Err(_) => {}
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.end();
                    let why = format!("the answer broke off: {}", chain(&error));
                    return Poll::Ready(Some(Err(BodyError::Unreadable(why))));
                }
                Poll::Ready(None) => {
                    this.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    if !this.armed {
                        this.armed = true;
                        this.deadline.as_mut().reset(Instant::now() + this.idle);
                    }
                    return match this.deadline.as_mut().poll(cx) {
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(()) => {
                            this.end();
                            let why = format!("the answer stalled for {} s", this.idle.as_secs_f64());
                            Poll::Ready(Some(Err(BodyError::Unreadable(why))))
                        }
                    };
                }
            }
        }
    }
}
