//! Port 8002: health and metrics.
//!
//! An axum router behind [`Handler`], so that the listener serves it with the TLS settings and limits of any other.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::{FutureExt, future::BoxFuture};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::{
    s3::{Connection, Handler, Refusal, ResponseBody},
    telemetry::{
        Metrics, Probe, RequestId,
        health::{Depth, ProbeAnswer},
    },
    types::BodyError,
};

/// What the text is called by scrapers of our days.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What older scrapers ask for. They read the same text: its `# EOF` is a comment to them.
const PLAIN_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `/live`, `/ready` and `/metrics`.
#[derive(Clone, Debug)]
pub struct Admin(Router);

/// What the routes need.
#[derive(Clone, Debug)]
struct Shared {
    probe: Probe,
    metrics: Arc<Metrics>,
}

impl Admin {
    /// The admin service. `/metrics` is open to everyone who reaches the port, as in the original.
    pub fn new(probe: Probe, metrics: Arc<Metrics>) -> Self {
        let router = Router::new()
            .route("/live", any(live))
            .route("/ready", any(ready))
            .route("/metrics", get(show_metrics).fallback(not_allowed))
            .fallback(not_allowed)
            .with_state(Shared { probe, metrics });
        Self(router)
    }

    async fn answer(self, mut request: Request<Body>, connection: Connection) -> Response {
        request.extensions_mut().insert(Peer(connection.peer.ip()));
        match self.0.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

async fn live(State(shared): State<Shared>, Extension(peer): Extension<Peer>, method: Method) -> Response {
    json(shared.probe.answer(Depth::Live, &method, peer.0).await)
}

async fn ready(State(shared): State<Shared>, Extension(peer): Extension<Peer>, method: Method) -> Response {
    json(shared.probe.answer(Depth::Ready, &method, peer.0).await)
}

async fn show_metrics(State(shared): State<Shared>, headers: http::HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = if accepts.contains("application/openmetrics-text") { OPEN_METRICS } else { PLAIN_METRICS };
    ([(header::CONTENT_TYPE, kind)], shared.metrics.render()).into_response()
}

/// Other paths and methods get 405, as in the original.
async fn not_allowed() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

fn json(answer: ProbeAnswer) -> Response {
    (answer.status, [(header::CONTENT_TYPE, "application/json")], answer.body).into_response()
}

impl Handler for Admin {
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: Connection,
        _: RequestId,
    ) -> BoxFuture<'static, http::Response<ResponseBody>> {
        let admin = self.clone();
        async move {
            let response = admin.answer(request.map(Body::new), connection).await;
            response.map(|body| ResponseBody::new(body.map_err(|error| BodyError::Unreadable(error.to_string()))))
        }
        .boxed()
    }

    fn refuse(&self, refusal: Refusal, _: &RequestId) -> http::Response<ResponseBody> {
        let mut response = http::Response::new(ResponseBody::default());
        *response.status_mut() = match refusal {
            Refusal::SlowDown | Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::HeadersTooLarge | Refusal::TargetTooLong | Refusal::AmbiguousFraming | Refusal::InvalidTarget => {
                StatusCode::BAD_REQUEST
            }
        };
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{
        AllowList, Health, HealthReport,
        health::{ComponentHealth, Readiness},
    };

    struct Fixed;

    impl Health for Fixed {
        fn report(&self) -> BoxFuture<'_, HealthReport> {
            let components = vec![ComponentHealth::ok("us-east-1"), ComponentHealth::failed("vaultMem", 500, "gone")];
            std::future::ready(HealthReport { components }).boxed()
        }
    }

    async fn ask(method: Method, path: &str, peer: &str) -> (u16, String, String) {
        let probe = Probe::new(Arc::new(Fixed), AllowList::default(), Readiness::default());
        let admin = Admin::new(probe, Arc::default());
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let peer = peer.parse().unwrap();
        let response = admin.answer(request, Connection { peer, local: peer, secure: false, tls_version: None }).await;
        let kind = response.headers().get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap()).to_owned();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn probes_answer_as_the_original() {
        let (near, far) = ("127.0.0.1:9", "10.0.0.1:9");
        let json = "application/json".to_owned();
        assert_eq!(ask(Method::GET, "/live", near).await, (200, json.clone(), "{}".to_owned()));
        assert_eq!(ask(Method::POST, "/live", near).await.0, 200);
        assert_eq!(ask(Method::PUT, "/live", near).await.0, 400);
        assert_eq!(ask(Method::GET, "/live", far).await.0, 403);
        let whole = r#"{"us-east-1":{"code":200,"message":"OK"},"vaultMem":{"code":500,"message":"gone"}}"#;
        assert_eq!(ask(Method::GET, "/ready", near).await, (500, json, whole.to_owned()));
        assert_eq!(ask(Method::GET, "/", near).await.0, 405);
        assert_eq!(ask(Method::GET, "/other", far).await.0, 405);
        assert_eq!(ask(Method::POST, "/metrics", near).await.0, 405);
    }

    #[tokio::test]
    async fn metrics_are_open_to_all() {
        let (status, kind, text) = ask(Method::GET, "/metrics", "10.0.0.1:9").await;
        assert_eq!((status, kind.as_str()), (200, PLAIN_METRICS));
        assert!(text.contains("s3_cloudserver_http_active_requests 0\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
