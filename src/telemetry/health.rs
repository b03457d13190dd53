//! Health probes: who may ask, what is answered. The listeners of both ports use it.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::{self, BoxFuture, FutureExt};
use http::{Method, StatusCode};
use ipnet::IpNet;
use parking_lot::Mutex;

use super::json;

/// Tells how the server's components are.
pub trait Health: Send + Sync + 'static {
    /// Every component: locations, metadata, authentication. Must answer within seconds even if a component does not.
    fn report(&self) -> BoxFuture<'_, HealthReport>;

    /// Whether the process is worth keeping: the metadata answers. An outage of a location is no reason to restart.
    fn live(&self) -> BoxFuture<'_, bool> {
        future::ready(true).boxed()
    }
}

/// What a component is: that decides what its failure means, and how it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ComponentKind {
    /// The server cannot do without it.
    #[default]
    Own,
    /// A location of this machine: the server cannot do without it either.
    Location,
    /// A location elsewhere, whose outage costs its own objects only.
    External,
}

/// The state of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentHealth {
    /// The component: a location's name, `bucketfile`, `vaultMem`.
    pub name: String,
    /// 200 where all is well, else the status a request to it would get.
    pub code: u16,
    /// `OK`, or what is wrong in words fit for an operator.
    pub message: String,
    /// What it is.
    pub kind: ComponentKind,
    /// What the store behind an external location says of versioning, where it was asked.
    pub versioning: Option<&'static str>,
}

impl ComponentHealth {
    /// A component that is well.
    pub fn ok(name: impl Into<String>) -> Self {
        Self { name: name.into(), code: 200, message: "OK".into(), ..Self::default() }
    }

    /// A component that is not.
    pub fn failed(name: impl Into<String>, code: u16, message: impl Into<String>) -> Self {
        Self { name: name.into(), code, message: message.into(), ..Self::default() }
    }

    /// The same, for a component of that kind.
    #[must_use]
    pub fn of(self, kind: ComponentKind) -> Self {
        Self { kind, ..self }
    }
}

/// The state of all components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthReport {
    /// In the order they are shown.
    pub components: Vec<ComponentHealth>,
}

impl HealthReport {
    /// Whether the server can serve: all that it cannot do without is well, and so is a location at least.
    pub fn is_ok(&self) -> bool {
        let (external, own): (Vec<_>, Vec<_>) =
            self.components.iter().partition(|component| component.kind == ComponentKind::External);
        let own_location = own.iter().any(|component| component.kind == ComponentKind::Location);
        let reachable = external.is_empty() || own_location || external.iter().any(|component| component.code == 200);
        reachable && own.iter().all(|component| component.code == 200)
    }

    /// The original's form: `{"us-east-1":{"code":200,"message":"OK"}}`; external locations have no code, and say that
    /// they are external where they fail.
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        let mut all = json::Object::open(&mut text);
        for component in &self.components {
            all.object(&component.name, |one| match (component.kind, component.code) {
                (ComponentKind::External, 200) => {
                    one.maybe("versioningStatus", component.versioning);
                    one.text("message", &component.message);
                }
                (ComponentKind::External, _) => {
                    one.text("error", &component.message);
                    one.plain("external", true);
                }
                (ComponentKind::Own | ComponentKind::Location, code) => {
                    one.plain("code", code);
                    one.text("message", &component.message);
                }
            });
        }
        all.close();
        text
    }
}

/// The networks from which health may be asked.
#[derive(Clone, Debug)]
pub struct AllowList(Vec<IpNet>);

impl Default for AllowList {
    /// The machine itself.
    fn default() -> Self {
        Self::new([])
    }
}

impl AllowList {
    /// The machine itself and `more`, as `healthChecks.allowFrom` adds to the built-in `127.0.0.1/8` and `::1`.
    pub fn new(more: impl IntoIterator<Item = IpNet>) -> Self {
        let local = [IpNet::new_assert([127, 0, 0, 0].into(), 8), IpNet::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]))];
        Self(local.into_iter().chain(more).collect())
    }

    /// Whether `peer` is in one of the networks. An IPv4 peer of a dual-stack socket counts as IPv4.
    pub fn allows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|net| net.contains(&peer))
    }
}

/// Whether the server takes requests; shared by the probes and whoever stops the server.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    stopping: Arc<AtomicBool>,
    /// What must come before requests are taken.
    waiting: Arc<Mutex<Option<String>>>,
}

impl Readiness {
    /// From now on `/ready` says 503, so that load balancers look elsewhere.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether [`Readiness::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// `/ready` says 503 and this.
    pub fn wait_for(&self, what: &str) {
        *self.waiting.lock() = Some(what.to_owned());
    }

    /// Why no requests are taken; `None` where they are.
    pub fn hindrance(&self) -> Option<String> {
        if self.is_stopping() { Some("stopping".to_owned()) } else { self.waiting.lock().clone() }
    }
}

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// `/live`, `/_/healthcheck`: does the process work?
    Live,
    /// `/ready`, `/_/healthcheck/deep`: do all components?
    Ready,
}

/// A probe's answer; the body is `application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// 200, 500 (a component fails), 503 (stopping), 403 (not allowed), 400 (wrong method).
    pub status: StatusCode,
    /// A JSON document.
    pub body: String,
}

/// Answers health probes. Clones share everything.
#[derive(Clone)]
pub struct Probe {
    health: Arc<dyn Health>,
    allowed: Arc<AllowList>,
    readiness: Readiness,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Probe {
    /// A probe of `health` for those in `allowed`.
    pub fn new(health: Arc<dyn Health>, allowed: AllowList, readiness: Readiness) -> Self {
        Self { health, allowed: Arc::new(allowed), readiness }
    }

    /// Whether this peer may ask.
    pub fn allows(&self, peer: IpAddr) -> bool {
        self.allowed.allows(peer)
    }

    /// Answers one probe, in the original's order of checks: peer, method, health.
    pub async fn answer(&self, depth: Depth, method: &Method, peer: IpAddr) -> ProbeAnswer {
        let answer = |status, body: &str| ProbeAnswer { status, body: body.to_owned() };
        if !self.allows(peer) {
            return answer(StatusCode::FORBIDDEN, r#"{"code":"AccessDenied","message":"Access Denied"}"#);
        }
        if !matches!(*method, Method::GET | Method::POST) {
            return answer(StatusCode::BAD_REQUEST, r#"{"code":"BadRequest","message":"Bad Request"}"#);
        }
        match depth {
            Depth::Live if self.health.live().await => answer(StatusCode::OK, "{}"),
            Depth::Live => answer(StatusCode::INTERNAL_SERVER_ERROR, "{}"),
            Depth::Ready => {
                if let Some(hindrance) = self.readiness.hindrance() {
                    let components = vec![ComponentHealth::failed("server", 503, hindrance)];
                    let body = HealthReport { components }.to_json();
                    return ProbeAnswer { status: StatusCode::SERVICE_UNAVAILABLE, body };
                }
                let report = self.health.report().await;
                let status = if report.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
                ProbeAnswer { status, body: report.to_json() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<ComponentHealth>);

    impl Health for Fixed {
        fn report(&self) -> BoxFuture<'_, HealthReport> {
            future::ready(HealthReport { components: self.0.clone() }).boxed()
        }
    }

    fn probe(components: Vec<ComponentHealth>) -> (Probe, Readiness) {
        let readiness = Readiness::default();
        let allowed = AllowList::new(["10.0.0.0/8".parse().unwrap()]);
        (Probe::new(Arc::new(Fixed(components)), allowed, readiness.clone()), readiness)
    }

    async fn ask(probe: &Probe, depth: Depth, method: Method, peer: &str) -> (u16, String) {
        let answer = probe.answer(depth, &method, peer.parse().unwrap()).await;
        (answer.status.as_u16(), answer.body)
    }

    #[tokio::test]
    async fn peer_then_method_then_health_decide() {
        let (probe, readiness) = probe(vec![ComponentHealth::ok("us-east-1"), ComponentHealth::ok("bucketfile")]);
        let whole = r#"{"us-east-1":{"code":200,"message":"OK"},"bucketfile":{"code":200,"message":"OK"}}"#;
        let ready = Depth::Ready;
        assert_eq!(ask(&probe, ready, Method::GET, "127.0.0.1").await, (200, whole.into()));
        assert_eq!(ask(&probe, ready, Method::POST, "::1").await, (200, whole.into()));
        assert_eq!(ask(&probe, ready, Method::GET, "::ffff:10.1.2.3").await, (200, whole.into()));
        assert_eq!(ask(&probe, ready, Method::PUT, "127.0.0.1").await.0, 400);
        assert_eq!(ask(&probe, ready, Method::PUT, "192.168.1.1").await.0, 403);
        assert_eq!(ask(&probe, Depth::Live, Method::GET, "::2").await.0, 403);
        readiness.wait_for("the other \"owner\"");
        let waiting = r#"{"server":{"code":503,"message":"the other \"owner\""}}"#;
        assert_eq!(ask(&probe, ready, Method::GET, "127.0.0.1").await, (503, waiting.into()));
        assert_eq!(ask(&probe, Depth::Live, Method::GET, "127.0.0.1").await, (200, "{}".into()));
        readiness.stop();
        let stopping = r#"{"server":{"code":503,"message":"stopping"}}"#;
        assert_eq!(ask(&probe, ready, Method::GET, "127.0.0.1").await, (503, stopping.into()));
        assert_eq!(ask(&probe, Depth::Live, Method::GET, "127.0.0.1").await, (200, "{}".into()));
    }

    #[tokio::test]
    async fn locations_elsewhere_fail_the_probe_only_if_no_location_is_left() {
        let own = ComponentHealth::ok("us-east-1").of(ComponentKind::Location);
        let sick = ComponentHealth::failed("far", 503, "Versioning must be enabled").of(ComponentKind::External);
        let well = ComponentHealth {
            versioning: Some("Enabled"),
            message: "Congrats! You own the bucket".into(),
            ..ComponentHealth::ok("farther").of(ComponentKind::External)
        };
        let service = ComponentHealth::ok("bucketfile");
        let cases = [
            (vec![own.clone(), sick.clone(), service.clone()], 200),
            (vec![well.clone(), sick.clone(), service.clone()], 200),
            (vec![sick.clone(), service.clone()], 500),
            (vec![ComponentHealth { code: 503, ..own }, well.clone(), service], 500),
        ];
        for (components, status) in cases {
            let (probe, _) = probe(components.clone());
            let (got, body) = ask(&probe, Depth::Ready, Method::GET, "127.0.0.1").await;
            assert_eq!(got, status, "{components:?}");
            let shown = r#""far":{"error":"Versioning must be enabled","external":true}"#;
            assert_eq!(body.contains(shown), components.contains(&sick), "{body}");
            let shown = r#""farther":{"versioningStatus":"Enabled","message":"Congrats! You own the bucket"}"#;
            assert_eq!(body.contains(shown), components.contains(&well), "{body}");
        }
    }

    #[tokio::test]
    async fn a_failed_component_fails_the_deep_probe_only() {
        let (probe, _) = probe(vec![ComponentHealth::failed("tape \"x\"", 503, "no answer")]);
        let body = r#"{"tape \"x\"":{"code":503,"message":"no answer"}}"#;
        assert_eq!(ask(&probe, Depth::Ready, Method::GET, "127.0.0.1").await, (500, body.into()));
        assert_eq!(ask(&probe, Depth::Live, Method::GET, "127.0.0.1").await.0, 200);
    }
}
