//! One request, from its head to its answer: resolve, authenticate, parse, authorise, run, render.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header, request::Parts as RequestParts};
use hyper::body::Incoming;

use super::{
    Connection, Handler, Refusal, ResponseBody, auth_error,
    body::Intake,
    codes::S3Code,
    context::{Context, Directory, Settings, Transport},
    cors::CrossOrigin,
    error::{S3Error, S3Result},
    head::Head,
    locations,
    operation::{Route, Scope},
    permits::{self, KeyPermits},
    reply,
    report::{self, ReportRoute},
    request_body::RequestBody,
    resolve::{self, Address},
    server_log::Draft,
    sosapi, website,
};
use crate::{
    auth::{AuthSettings, Authenticated, Credentials, FormGate, Payload, Principal, RequestHead, Scheme, authenticate},
    jobs::Jobs,
    logging::AccessLogs,
    storage::Storage,
    telemetry::{
        AccessFacts, RequestId,
        health::{Depth, Probe},
    },
    types::BucketName,
};

/// What may be replaced while the server runs.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Access keys.
    pub credentials: Arc<dyn Credentials>,
    /// Accounts by name.
    pub directory: Arc<dyn Directory>,
    /// The protocol's settings.
    pub settings: Arc<Settings>,
}

/// The S3 service: hands each request to the operation it means.
#[derive(Clone, Debug)]
pub struct S3Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    storage: Storage,
    snapshot: ArcSwap<Snapshot>,
    auth: Arc<AuthSettings>,
    intake: Intake,
    permits: KeyPermits,
    probe: Option<Probe>,
    access_logs: Option<AccessLogs>,
    report: ReportRoute,
    jobs: Option<Jobs>,
}

/// What a service is made of, besides what may be replaced.
#[derive(Debug)]
pub struct Parts {
    /// The engine.
    pub storage: Storage,
    /// How callers are known.
    pub auth: AuthSettings,
    /// Reads bodies.
    pub intake: Intake,
    /// Requests of one access key that may be under way.
    pub requests_per_key: usize,
    /// Answers the health paths of this port.
    pub probe: Option<Probe>,
    /// Takes the lines of buckets that keep a log.
    pub access_logs: Option<AccessLogs>,
    /// Answers reports.
    pub report: ReportRoute,
    /// Works off long jobs.
    pub jobs: Option<Jobs>,
}

/// What is known of a request when its answer is made.
struct Outcome {
    facts: AccessFacts,
    resource: String,
    head_only: bool,
    bucket_region: Option<String>,
    draft: Option<Box<Draft>>,
}

impl S3Service {
    /// A service of these parts.
    pub fn new(parts: Parts, snapshot: Snapshot) -> Self {
        let Parts { storage, auth, intake, requests_per_key, probe, access_logs, report, jobs } = parts;
        let auth = Arc::new(auth);
        let permits = KeyPermits::new(requests_per_key);
        let snapshot = ArcSwap::from_pointee(snapshot);
        let inner = Inner { storage, snapshot, auth, intake, permits, probe, access_logs, report, jobs };
        Self { inner: Arc::new(inner) }
    }

    /// Puts other accounts and settings in force; requests under way keep theirs.
    pub fn replace(&self, snapshot: Snapshot) {
        self.inner.snapshot.store(Arc::new(snapshot));
    }

    async fn answer(self, request: Request<Incoming>, connection: Connection, id: RequestId) -> Response<ResponseBody> {
        let (parts, body) = request.into_parts();
        if let Some(response) = self.health(&parts, connection).await {
            return response;
        }
        let mut outcome = Outcome {
            facts: AccessFacts::default(),
            resource: parts.uri.path().to_owned(),
            head_only: parts.method == Method::HEAD,
            bucket_region: None,
            draft: None,
        };
        let is_preflight = parts.method == Method::OPTIONS;
        let origin = if is_preflight { None } else { CrossOrigin::read(&parts.method, &parts.headers) };
        let snapshot = self.inner.snapshot.load_full();
        let mut response = match Target::website(&parts, connection, &snapshot.settings) {
            Some(page) => match self.visit(parts, (page, connection), &snapshot, &mut outcome).await {
                Ok(response) => response,
                Err(failure) => {
                    outcome.note_error(&failure.error);
                    let failure = failure.map(|error| outcome.explain(error));
                    failure.render(&id, !outcome.head_only)
                }
            },
            None => match self.dispatch((parts, body), connection, &snapshot, &mut outcome).await {
                Ok(response) => response,
                Err(error) => {
                    outcome.note_error(&error);
                    let error = outcome.explain(error);
                    error.render(&outcome.resource, &id, !outcome.head_only)
                }
            },
        };
        if let Some(origin) = origin {
            self.allow_origin(&origin, outcome.facts.bucket.as_deref(), response.headers_mut()).await;
        }
        if let Some(region) = outcome.bucket_region {
            reply::set(response.headers_mut(), http::HeaderName::from_static("x-amz-bucket-region"), &region);
        }
        if let Some(draft) = outcome.draft {
            response = draft.attach(response, &outcome.facts, &id);
        }
        response.extensions_mut().insert(outcome.facts);
        response
    }

    async fn dispatch(
        &self,
        (parts, body): (RequestParts, Incoming),
        connection: Connection,
        snapshot: &Snapshot,
        outcome: &mut Outcome,
    ) -> S3Result<Response<ResponseBody>> {
        let target = Target::read(&parts, connection, &snapshot.settings.endpoints)?;
        outcome.note_address(&target.address);
        let scope = target.address.scope();
        outcome.draft = self.draft(&parts, connection, &target.address).await;
        if parts.method == Method::OPTIONS && scope != Scope::Service {
            return self.preflight(&parts, &target.address, outcome).await;
        }
        let mut head = Head::new(parts.method.clone(), parts.headers, parts.uri.query().unwrap_or_default())?;
        head.bucket.clone_from(&target.address.bucket);
        head.key.clone_from(&target.address.key);
        head.host.clone_from(&target.address.endpoint);
        head.base_url.clone_from(&target.base_url);
        head.dialect = snapshot.settings.dialect;

        let authenticated = self.authenticate(&head, &parts.uri, &target, snapshot, connection)?;
        if let Some(draft) = &mut outcome.draft {
            draft.identify(&authenticated.principal);
        }
        outcome.facts.requester = Some(Arc::from(authenticated.principal.account.as_str()));
        if scope == Scope::Bucket && head.method == Method::HEAD {
            outcome.bucket_region = Some(snapshot.settings.region.clone());
        }
        let of_locations = parts.uri.path().strip_prefix(locations::PATH);
        if let Some(path) = of_locations.filter(|_| target.address.virtual_bucket.is_none()) {
            (outcome.facts.operation, outcome.facts.action) = ("Locations", "locations");
            let transport = transport(&head.headers, connection, authenticated.scheme, &snapshot.settings);
            let cx = self.context(snapshot, (authenticated.principal, transport), Arc::new(head));
            let body = RequestBody::new(body, authenticated.payload);
            return locations::answer(self.inner.jobs.as_ref(), path, &cx, body).await;
        }
        let route = resolve::route(&head, scope)?;
        outcome.facts.operation = route.name;
        outcome.facts.action = route.action;
        check_payload(route, &authenticated.payload)?;

        let head = Arc::new(head);
        let permit = match &authenticated.principal.access_key {
            Some(key) => Some(self.inner.permits.take(key).ok_or_else(|| S3Error::from(S3Code::SlowDown))?),
            None => None,
        };
        let transport = transport(&head.headers, connection, authenticated.scheme, &snapshot.settings);
        let cx = self.context(snapshot, (authenticated.principal, transport), Arc::clone(&head));
        let charges = head.header(REQUEST_PAYER).is_some().then(|| (cx.clone(), head.bucket()));
        let mut response = (route.call)(cx, head, RequestBody::new(body, authenticated.payload)).await?;
        if let Some((cx, Ok(name))) = charges {
            tell_charge(&cx, &name, response.headers_mut()).await;
        }
        Ok(match permit {
            Some(permit) => response.map(|body| permits::hold(body, permit)),
            None => response,
        })
    }

    /// Begins the line of a request to a bucket that keeps a log.
    async fn draft(&self, parts: &RequestParts, connection: Connection, address: &Address) -> Option<Box<Draft>> {
        let logs = self.inner.access_logs.as_ref()?;
        let name = BucketName::new(&address.bucket).ok()?;
        let bucket = self.inner.storage.bucket(&name).await.ok()?;
        bucket.record.logging.as_ref()?;
        let now = self.inner.storage.clock().now();
        Some(Box::new(Draft::begin(logs.clone(), bucket, address.scope(), (parts, connection), now)))
    }

    fn context(&self, snapshot: &Snapshot, caller: (Principal, Transport), head: Arc<Head>) -> Context {
        let forms = FormGate { credentials: Arc::clone(&snapshot.credentials), settings: Arc::clone(&self.inner.auth) };
        let shared = (Arc::clone(&snapshot.settings), Arc::clone(&snapshot.directory), self.inner.intake.clone());
        Context::new(self.inner.storage.clone(), caller, shared, head, forms)
    }

    /// Shows a page of a website. Nobody is asked who he is.
    async fn visit(
        &self,
        parts: RequestParts,
        (page, connection): (S3Result<Target>, Connection),
        snapshot: &Snapshot,
        outcome: &mut Outcome,
    ) -> Result<Response<ResponseBody>, website::Failure> {
        let page = page?;
        outcome.note_address(&page.address);
        outcome.draft = self.draft(&parts, connection, &page.address).await;
        if parts.method == Method::OPTIONS {
            return Ok(self.preflight(&parts, &page.address, outcome).await?);
        }
        let is_head = parts.method == Method::HEAD;
        (outcome.facts.operation, outcome.facts.action) =
            if is_head { ("WebsiteHead", "websiteHead") } else { ("WebsiteGet", "websiteGet") };
        let mut head = website::head(parts, &page.address, &page.base_url)?;
        head.dialect = snapshot.settings.dialect;
        let transport = transport(&head.headers, connection, Scheme::Anonymous, &snapshot.settings);
        let caller = (Principal::anonymous(), transport);
        website::visit(&self.context(snapshot, caller, Arc::new(head))).await
    }

    /// Answers a browser that asks before it sends. Never authenticated: browsers send no credentials then.
    async fn preflight(
        &self,
        parts: &RequestParts,
        address: &Address,
        outcome: &mut Outcome,
    ) -> S3Result<Response<ResponseBody>> {
        outcome.facts.operation = "PreflightRequest";
        outcome.facts.action = "corsPreflight";
        let asked = CrossOrigin::preflight(&parts.headers)?;
        let name = BucketName::new(&address.bucket).map_err(|e| {
            S3Error::from(S3Code::InvalidBucketName).with("BucketName", address.bucket.as_str()).because(e)
        })?;
        let bucket = self.inner.storage.bucket(&name).await?;
        asked.answer(&bucket, address.scope())
    }

    /// Says in an answer, be it an error, what the bucket's rules allow a script of this origin. A bucket that cannot
    /// be found has none.
    async fn allow_origin(&self, origin: &CrossOrigin, bucket: Option<&str>, headers: &mut HeaderMap) {
        let Some(Ok(name)) = bucket.map(BucketName::new) else { return };
        if let Ok(bucket) = self.inner.storage.bucket(&name).await {
            origin.apply(&bucket, headers);
        }
    }

    fn authenticate(
        &self,
        head: &Head,
        uri: &http::Uri,
        target: &Target,
        snapshot: &Snapshot,
        connection: Connection,
    ) -> S3Result<Authenticated> {
        let request = RequestHead {
            method: &head.method,
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers: &head.headers,
            virtual_bucket: target.address.virtual_bucket.as_deref(),
            secure: connection.secure,
        };
        let now = self.inner.storage.clock().now();
        let known = authenticate(&request, snapshot.credentials.as_ref(), &self.inner.auth, now);
        known.map_err(|e| auth_error::s3_error(e, head.dialect))
    }

    async fn report(&self, parts: &RequestParts, client: IpAddr) -> Option<Response<ResponseBody>> {
        let is_allowed = self.inner.probe.as_ref()?.allows(client);
        let directory = Arc::clone(&self.inner.snapshot.load().directory);
        let store = (&self.inner.storage, directory.as_ref());
        let mut response = self.inner.report.answer(store, (&parts.method, &parts.headers), is_allowed).await;
        let facts = AccessFacts { operation: "Report", action: "report", ..AccessFacts::default() };
        response.extensions_mut().insert(facts);
        Some(response)
    }

    fn names_bucket(&self, parts: &RequestParts) -> bool {
        let settings = Arc::clone(&self.inner.snapshot.load().settings);
        resolve::names_bucket(resolve::host_of(&parts.headers, &parts.uri), &settings)
    }

    async fn health(&self, parts: &RequestParts, connection: Connection) -> Option<Response<ResponseBody>> {
        let path = parts.uri.path();
        // Where the host names a bucket, all paths are keys.
        if !path.starts_with("/_/") || self.names_bucket(parts) {
            return None;
        }
        // A proxy on this machine speaks for others: whom it speaks for is asked.
        let client = client(&parts.headers, connection, &self.inner.snapshot.load().settings);
        let depth = match path {
            "/_/healthcheck" => Depth::Live,
            "/_/healthcheck/deep" => Depth::Ready,
            report::PATH => return self.report(parts, client).await,
            _ => return None,
        };
        let answer = self.inner.probe.as_ref()?.answer(depth, &parts.method, client).await;
        let mut response = Response::new(reply::full(answer.body));
        *response.status_mut() = answer.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let facts = AccessFacts { operation: "HealthCheck", action: "healthcheck", ..AccessFacts::default() };
        response.extensions_mut().insert(facts);
        Some(response)
    }
}

impl Handler for S3Service {
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: Connection,
        id: RequestId,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        self.clone().answer(request, connection, id).boxed()
    }

    fn refuse(&self, refusal: Refusal, id: &RequestId) -> Response<ResponseBody> {
        let error = match refusal {
            Refusal::SlowDown => S3Error::from(S3Code::SlowDown),
            Refusal::Stopping => S3Error::from(S3Code::ServiceUnavailable),
            Refusal::Panicked => S3Error::from(S3Code::InternalError),
            Refusal::HeadersTooLarge => S3Error::from(S3Code::RequestHeaderSectionTooLarge),
            Refusal::TargetTooLong => S3Error::new(S3Code::InvalidURI, "The request target is too long."),
            Refusal::InvalidTarget => S3Error::new(S3Code::InvalidURI, "Couldn't parse the specified URI."),
            Refusal::AmbiguousFraming => S3Error::request("The length of the request body is ambiguous."),
        };
        error.render("", id, true)
    }
}

/// What a request addresses, and how the client spelled us.
struct Target {
    address: Address,
    base_url: String,
}

impl Target {
    fn read(parts: &RequestParts, connection: Connection, endpoints: &BTreeMap<String, String>) -> S3Result<Self> {
        let host = resolve::host_of(&parts.headers, &parts.uri);
        let mut address = resolve::address(host, parts.uri.path(), endpoints)?;
        if address.virtual_bucket.is_none()
            && let Some(path) = sosapi::rerouted(parts.uri.path())
        {
            address = resolve::address(host, &path, endpoints)?;
        }
        Ok(Self { address, base_url: base_url(parts, connection) })
    }

    /// The page that is asked for, where the host is a website's.
    fn website(parts: &RequestParts, connection: Connection, settings: &Settings) -> Option<S3Result<Self>> {
        let host = resolve::host_of(&parts.headers, &parts.uri);
        let hosts = (settings.website_endpoints.as_slice(), settings.endpoints.as_ref());
        let address = resolve::website(host, parts.uri.path(), hosts)?;
        Some(address.map(|address| Self { address, base_url: base_url(parts, connection) }))
    }
}

/// `scheme://host` as the client wrote it.
fn base_url(parts: &RequestParts, connection: Connection) -> String {
    let scheme = if connection.secure { "https" } else { "http" };
    let authority = parts
        .headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
        .unwrap_or_default();
    format!("{scheme}://{authority}")
}

/// The header by which a caller agrees to pay.
const REQUEST_PAYER: &str = "x-amz-request-payer";

/// The client's address: the socket's peer, or whom a trusted proxy speaks for.
fn client(headers: &HeaderMap, connection: Connection, settings: &Settings) -> IpAddr {
    let peer = connection.peer.ip();
    settings.trusted_proxies.as_ref().map_or(peer, |proxies| proxies.client(peer, headers))
}

/// How a request came.
fn transport(headers: &HeaderMap, connection: Connection, scheme: Scheme, settings: &Settings) -> Transport {
    let source_ip = client(headers, connection, settings);
    Transport { source_ip, secure: connection.secure, tls_version: connection.tls_version, scheme, form: false }
}

/// Says who pays, where it is not the bucket's owner.
async fn tell_charge(cx: &Context, name: &BucketName, headers: &mut HeaderMap) {
    if cx.bucket(name).await.is_ok_and(|bucket| cx.is_charged(&bucket)) {
        headers.insert("x-amz-request-charged", HeaderValue::from_static("requester"));
    }
}

/// Chunked bodies are for objects only.
fn check_payload(route: &Route, payload: &Payload) -> S3Result<()> {
    let streaming = matches!(payload, Payload::StreamingUnsignedTrailer | Payload::StreamingSigned { .. });
    if streaming && !route.streams {
        return Err(S3Error::request(
            "STREAMING-* values of x-amz-content-sha256 are not supported for this operation.",
        ));
    }
    Ok(())
}

impl Outcome {
    fn note_address(&mut self, address: &Address) {
        let some = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        self.facts.bucket = some(&address.bucket);
        self.facts.key = some(&address.key);
        self.resource = match (address.bucket.as_str(), address.key.as_str()) {
            ("", _) => "/".to_owned(),
            (bucket, "") => format!("/{bucket}"),
            (bucket, key) => format!("/{bucket}/{key}"),
        };
    }

    fn note_error(&mut self, error: &S3Error) {
        error.log();
        self.facts.error = Some(error.code.name());
    }

    /// Adds the elements that follow from what was addressed.
    fn explain(&self, error: S3Error) -> S3Error {
        match (error.code, &self.facts.key, &self.facts.bucket) {
            (S3Code::NoSuchKey | S3Code::NoSuchVersion, Some(key), _) if !error.has("Key") => {
                let key = key.to_string();
                error.with("Key", key)
            }
            (
                S3Code::BucketNotEmpty | S3Code::BucketAlreadyExists | S3Code::BucketAlreadyOwnedByYou,
                _,
                Some(bucket),
            ) if !error.has("BucketName") => {
                let bucket = bucket.to_string();
                error.with("BucketName", bucket)
            }
            _ => error,
        }
    }
}
