//! A request and its answer, from the end of the head to the last byte: counted, timed, and told of when it ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};

use super::{
    activity::{Activity, StreamMark},
    framing::Message,
    service::Core,
};
use crate::{
    s3::{Connection, ResponseBody},
    telemetry::{
        AccessFacts, RequestId,
        access_log::{Access, Outcome},
        metrics::RequestSample,
        request_scope,
    },
    types::BodyError,
};

/// The status under which metrics count a client that left before it got one (nginx's word for it).
const CLIENT_LEFT: u16 = 499;

/// One request being served. Dropping it, wherever that happens, ends it: permits return, the line is written.
#[derive(Debug)]
pub(super) struct Exchange {
    core: Arc<Core>,
    activity: Arc<Activity>,
    pub(super) id: RequestId,
    peer: Connection,
    message: Option<Arc<Message>>,
    announced: u64,
    method: Method,
    target: Uri,
    agent: Option<HeaderValue>,
    began: Instant,
    first_byte: Option<Duration>,
    status: Option<StatusCode>,
    facts: AccessFacts,
    sent: u64,
    complete: bool,
    permit: bool,
}

impl Exchange {
    /// A request is met.
    pub(super) fn begin<B>(
        core: &Arc<Core>,
        activity: &Arc<Activity>,
        peer: Connection,
        message: Option<Arc<Message>>,
        request: &Request<B>,
    ) -> Self {
        activity.begins();
        if core.service.access_log.is_some() {
            core.service.metrics.requests.active.inc();
        }
        let headers = request.headers();
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let stands_in = message.as_ref().is_some_and(|message| message.refusal.is_some());
        Self {
            core: Arc::clone(core),
            activity: Arc::clone(activity),
            id: core.ids.next(headers),
            peer,
            message,
            announced: announced.unwrap_or(0),
            // What a refused head asked for is unknown.
            method: if stands_in { Method::from_bytes(b"-").unwrap_or_default() } else { request.method().clone() },
            target: request.uri().clone(),
            agent: headers.get(header::USER_AGENT).cloned(),
            began: Instant::now(),
            first_byte: None,
            status: None,
            facts: AccessFacts::default(),
            sent: 0,
            complete: false,
            permit: false,
        }
    }

    /// Takes one of the places for requests being served; `false` if all are taken.
    pub(super) fn take_permit(&mut self) -> bool {
        if self.core.open.requests.fetch_add(1, Ordering::Relaxed) >= self.core.service.limits.requests {
            self.core.open.requests.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.permit = true;
        true
    }

    /// The answer's head is ready: from here on its body carries the exchange.
    pub(super) fn answer(mut self, response: Response<ResponseBody>, multiplexed: bool) -> Response<Answer> {
        let (mut parts, body) = response.into_parts();
        self.first_byte = Some(self.began.elapsed());
        self.status = Some(parts.status);
        if let Some(facts) = parts.extensions.remove::<AccessFacts>() {
            self.facts = facts;
        }
        // hyper closes after an answer that came before the request's body; only it may say so too late.
        if self.message.as_ref().is_some_and(|message| !message.is_whole()) {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // An object's bytes come as a stream of unknown size: only the head says how many there are.
        let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let expected = body.size_hint().exact().or(announced);
        let bodiless = self.method == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || body.is_end_stream()
            || expected == Some(0);
        self.complete = bodiless;
        let mark = (multiplexed && !bodiless).then(|| self.activity.stream());
        Response::from_parts(parts, Answer { expected, body, mark, exchange: self })
    }

    /// Body bytes received: what came, or over HTTP/2, whose frames are not seen here, what was announced.
    fn received(&self) -> u64 {
        self.message.as_ref().map_or(self.announced, |message| message.payload())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.permit {
            self.core.open.requests.fetch_sub(1, Ordering::Relaxed);
        }
        self.activity.ends();
        let service = &self.core.service;
        let Some(access_log) = &service.access_log else { return };
        service.metrics.requests.active.dec();
        let total = self.began.elapsed();
        let status = self.status.map(|status| status.as_u16());
        let received = self.received();
        service.metrics.requests.record(&RequestSample {
            method: method_label(&self.method),
            action: if self.facts.action.is_empty() { "unknown" } else { self.facts.action },
            code: status.unwrap_or(CLIENT_LEFT),
            seconds: total.as_secs_f64(),
            received,
            sent: self.sent,
        });
        access_log.write(&Access {
            id: &self.id,
            method: &self.method,
            target: &self.target,
            status,
            outcome: if self.complete { Outcome::Complete } else { Outcome::Aborted },
            received,
            sent: self.sent,
            first_byte: self.first_byte.unwrap_or(total),
            total,
            peer: self.peer.peer,
            agent: self.agent.as_ref(),
            facts: &self.facts,
        });
    }
}

/// Labels of metrics must not be the client's to choose.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// The body of an answer on its way to the client.
#[derive(Debug)]
pub(super) struct Answer {
    body: ResponseBody,
    expected: Option<u64>,
    mark: Option<Arc<StreamMark>>,
    exchange: Exchange,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(mark) = &this.mark {
            mark.asked();
        }
        let _entered = request_scope::enter(&this.exchange.id);
        // A panic in here would unwind through hyper and take the connection's other requests with it.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.body).poll_frame(cx)));
        let frame = match polled {
            Ok(frame) => ready!(frame),
            Err(panic) => {
                this.exchange.core.panicked(&*panic);
                this.body = ResponseBody::default();
                Some(Err(BodyError::Unreadable("a panic while reading".to_owned())))
            }
        };
        match &frame {
            Some(Ok(frame)) => {
                this.exchange.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                // hyper does not ask again once a body has reached its announced length.
                this.exchange.complete = this.body.is_end_stream() || this.expected == Some(this.exchange.sent);
                if let Some(mark) = this.mark.as_ref().filter(|_| !this.exchange.complete) {
                    mark.handed_over();
                }
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the answer's body failed, the connection is cut");
            }
            // An end before the announced length is none: hyper cuts the connection there.
            None => this.exchange.complete = this.expected.is_none_or(|expected| expected == this.exchange.sent),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
