//! The service behind hyper: what every request goes through before and after the handler.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::{
    FutureExt,
    future::{self, BoxFuture},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;

use super::{
    activity::Activity,
    exchange::{Answer, Exchange},
    service::Core,
};
use crate::{
    s3::{Connection, Refusal, ResponseBody},
    telemetry::{RequestId, request_scope},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
/// The original's name; some clients and probes look for it.
const SERVER: HeaderValue = HeaderValue::from_static("S3 Server");

/// Serves the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) core: Arc<Core>,
    pub(super) activity: Arc<Activity>,
    pub(super) connection: Connection,
    /// Whether every request is told to slow down.
    pub(super) refusing: bool,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Answer>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let message = self.activity.next_message();
        let refused = message.as_ref().and_then(|message| message.refusal);
        let multiplexed = request.version() == Version::HTTP_2;
        let mut exchange = Exchange::begin(&self.core, &self.activity, self.connection, message, &request);
        let refusal =
            refused.or_else(|| self.objection(&request, &mut exchange)).or_else(|| to_origin_form(&mut request));
        if let Some(refusal) = refusal {
            let mut response = self.core.refuse(refusal, &exchange.id);
            if self.refusing {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            return future::ready(Ok(exchange.answer(response, multiplexed))).boxed();
        }
        let core = Arc::clone(&self.core);
        let connection = self.connection;
        let id = exchange.id.clone();
        // An expectation about an empty body gets no `100 Continue`. botocore waits for one and then takes the next
        // status line of the connection for a header: that connection must not be used again.
        let unasked = !multiplexed
            && request.headers().contains_key(header::EXPECT)
            && http_body::Body::is_end_stream(request.body());
        async move {
            let id = exchange.id.clone();
            // Building the future may panic as well as running it, hence the inner block.
            let handled = async { core.service.handler.handle(request, connection, id.clone()).await };
            let response = match AssertUnwindSafe(handled).catch_unwind().await {
                Ok(response) => response,
                Err(panic) => {
                    core.panicked(&*panic);
                    core.refuse(Refusal::Panicked, &id)
                }
            };
            let mut response = marked(response, &id);
            if unasked {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(exchange.answer(response, multiplexed))
        }
        .scoped(id)
    }
}

/// Puts a future into the scope of its request.
trait InScope {
    fn scoped(self, id: RequestId) -> BoxFuture<'static, Result<Response<Answer>, Infallible>>;
}

impl<F> InScope for F
where
    F: Future<Output = Result<Response<Answer>, Infallible>> + Send + 'static,
{
    fn scoped(self, id: RequestId) -> BoxFuture<'static, Result<Response<Answer>, Infallible>> {
        Box::pin(request_scope::scoped(id, self))
    }
}

impl Requests {
    /// What speaks against serving the request, other than its framing.
    fn objection<B>(&self, request: &Request<B>, exchange: &mut Exchange) -> Option<Refusal> {
        let limits = &self.core.service.limits;
        // The gate has checked these for HTTP/1; HTTP/2's own limits leave room for more.
        if request.headers().len() > limits.headers {
            return Some(Refusal::HeadersTooLarge);
        }
        if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > limits.target_bytes) {
            return Some(Refusal::TargetTooLong);
        }
        if self.refusing || !exchange.take_permit() {
            return Some(Refusal::SlowDown);
        }
        // Expectations other than `100-continue` are ignored, as S3 does and RFC 9110 (§10.1.1) allows.
        None
    }
}

impl Core {
    /// The answer to a request that the handler does not get.
    fn refuse(&self, refusal: Refusal, id: &RequestId) -> Response<ResponseBody> {
        let (reason, close) = match refusal {
            Refusal::SlowDown => ("slow_down", false),
            Refusal::Stopping => ("stopping", true),
            Refusal::Panicked => ("panicked", false),
            Refusal::HeadersTooLarge => ("headers_too_large", true),
            Refusal::TargetTooLong => ("target_too_long", true),
            Refusal::AmbiguousFraming => ("ambiguous_framing", true),
            Refusal::InvalidTarget => ("invalid_target", true),
        };
        self.service.metrics.refused(reason);
        let refused = catch_unwind(AssertUnwindSafe(|| self.service.handler.refuse(refusal, id)));
        let mut response = refused.unwrap_or_else(|panic| {
            self.panicked(&*panic);
            let mut bare = Response::new(ResponseBody::default());
            *bare.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            bare
        });
        if close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        marked(response, id)
    }
}

/// Puts on every answer what every answer carries. `Date` is hyper's.
fn marked(mut response: Response<ResponseBody>, id: &RequestId) -> Response<ResponseBody> {
    let unavailable = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::SERVER, SERVER);
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(HOST_ID, id.clone());
        headers.insert(REQUEST_ID, id);
    }
    if unavailable {
        headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    response
}

/// Makes every target origin-form with a `Host` beside it: HTTP/2's `:authority` and HTTP/1's absolute form become
/// `Host` (RFC 9112, 3.2.2; RFC 9113, 8.3.1). Signatures are computed over `Host`.
fn to_origin_form<B>(request: &mut Request<B>) -> Option<Refusal> {
    let Some(authority) = request.uri().authority() else {
        // The gate has seen to it for HTTP/1.1.
        let needs_host = request.version() == Version::HTTP_2 && !request.headers().contains_key(header::HOST);
        return needs_host.then_some(Refusal::AmbiguousFraming);
    };
    // `http://user@host/` would make a host that is none.
    let host = Some(authority.as_str()).filter(|text| !text.contains('@'));
    let Some(host) = host.and_then(|text| HeaderValue::from_str(text).ok()) else {
        return Some(Refusal::InvalidTarget);
    };
    if request.version() == Version::HTTP_2 && disagrees(request.headers(), &host) {
        return Some(Refusal::AmbiguousFraming);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    request.headers_mut().insert(header::HOST, host);
    None
}

fn disagrees(headers: &HeaderMap, authority: &HeaderValue) -> bool {
    headers.get_all(header::HOST).iter().any(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(version: Version, uri: &str, host: Option<&str>) -> Result<(String, String), Refusal> {
        let mut request = Request::builder().version(version).uri(uri);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        let mut request = request.body(()).unwrap();
        match to_origin_form(&mut request) {
            Some(refusal) => Err(refusal),
            None => Ok((request.uri().to_string(), request.headers()[header::HOST].to_str().unwrap().to_owned())),
        }
    }

    #[test]
    fn the_authority_of_the_target_becomes_the_host() {
        let two = Version::HTTP_2;
        let expected = Ok(("/b/k%20?x".to_owned(), "h:8".to_owned()));
        assert_eq!(origin(two, "https://h:8/b/k%20?x", None), expected);
        assert_eq!(origin(two, "https://h:8/b/k%20?x", Some("H:8")), expected);
        assert_eq!(origin(Version::HTTP_11, "http://h:8/b/k%20?x", Some("other")), expected);
        assert_eq!(origin(Version::HTTP_11, "/b/k%20?x", Some("h:8")), expected);
        assert_eq!(origin(two, "https://h:8/", Some("other")), Err(Refusal::AmbiguousFraming));
        assert_eq!(origin(Version::HTTP_11, "http://u@h/", None), Err(Refusal::InvalidTarget));
        assert_eq!(origin(two, "/", None), Err(Refusal::AmbiguousFraming));
        assert_eq!(origin(two, "http://h", None), Ok(("/".to_owned(), "h".to_owned())));
    }
}
