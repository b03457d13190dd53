//! Modules over real sockets: both conformance suites, the words of the data protocol, lost answers, and a module of
//! somebody else.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future, future::BoxFuture};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    data::{
        self, BlobId, DataBackend, DataError, FileBackend, FileOptions, MemoryBackend, PutHint, RemoteBackend,
        remote::RemoteOptions,
    },
    http::{Limits, Listener, Service, serve},
    metadata::{
        self, Batch, Condition, MemoryStore, MetadataError, MetadataStore, Namespace, RemoteStore, Table,
        remote::RemoteStoreOptions,
    },
    modules::{DataModule, Gate, MetadataModule},
    s3::{Connection, Handler, Refusal, ResponseBody},
    tasks::Tasks,
    telemetry::{Metrics, RequestId, health::Readiness},
    types::body,
};

/// A handler on a port of its own, for as long as this lives.
struct Served {
    address: SocketAddr,
    _tasks: Tasks,
}

impl Served {
    fn new(handler: Arc<dyn Handler>) -> Self {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let (address, tasks) = (listener.address(), Tasks::default());
        let metrics = Arc::new(Metrics::default());
        let service = Service { handler, limits: Limits::default(), metrics, access_log: None, tls: None };
        serve(vec![listener], service, Readiness::default(), &tasks).unwrap();
        Self { address, _tasks: tasks }
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends bytes as they are, and reads the answer up to the end of the connection.
    async fn say(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A request without a body: status and body of the answer.
    async fn ask(&self, line: &str, headers: &str) -> (u16, String, String) {
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        let answer = self.say(&request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }
}

fn gate(token: Option<&str>) -> Gate {
    Gate { token: token.map(Into::into), idle: Duration::from_secs(20) }
}

fn data_module(backend: Arc<dyn DataBackend>) -> Served {
    Served::new(Arc::new(DataModule::new(backend, Some("d1"), gate(None))))
}

fn remote(base: &str) -> RemoteBackend {
    RemoteBackend::new(RemoteOptions::new(base))
}

/// Does what the handler within does, and then keeps some answers for itself.
struct Swallows {
    inner: Arc<dyn Handler>,
    method: &'static str,
    left: AtomicUsize,
    swallowed: Arc<AtomicUsize>,
}

impl Handler for Swallows {
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: Connection,
        id: RequestId,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        let due = request.method() == self.method
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let (answer, swallowed) = (self.inner.handle(request, connection, id), Arc::clone(&self.swallowed));
        async move {
            let answer = answer.await;
            if due {
                swallowed.fetch_add(1, Ordering::SeqCst);
                future::pending::<()>().await;
            }
            answer
        }
        .boxed()
    }

    fn refuse(&self, refusal: Refusal, id: &RequestId) -> Response<ResponseBody> {
        self.inner.refuse(refusal, id)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_module_keeps_the_rules_of_the_seam_over_memory() {
    let module = data_module(Arc::new(MemoryBackend::new()));
    let backend = Arc::new(remote(&module.base()));
    assert!(backend.meet().await.unwrap().is_some());
    assert!(backend.capabilities().listing);
    data::conformance::suite(backend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_module_keeps_the_rules_of_the_seam_over_files() {
    let folder = TempDir::new().unwrap();
    let files = FileBackend::open(folder.path(), FileOptions::default()).unwrap();
    let module = data_module(Arc::new(files));
    let backend = Arc::new(remote(&module.base()));
    assert_eq!(backend.meet().await.unwrap().unwrap().directory.as_deref(), Some("d1"));
    assert!(backend.capabilities().durable && backend.capabilities().verified_reads);
    data::conformance::suite(backend).await;
}

#[tokio::test]
async fn the_data_protocol_is_the_originals_word_for_word() {
    let module = data_module(Arc::new(MemoryBackend::new()));
    let put = "PUT /DataFile/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-scal-request-uids: abc\r\ncontent-length: 10\r\n\r\n0123456789";
    let answer = module.say(put).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    let lower = answer.to_ascii_lowercase();
    assert!(lower.contains("content-length: 0\r\n") && lower.contains("x-amz-request-id: abc:"), "{answer}");
    let location = lower.split("location: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let key = location.strip_prefix("/datafile/").unwrap();
    assert!(key.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let get = format!("GET /DataFile/{key}");

    let (status, head, body) = module.ask(&get, "").await;
    assert_eq!((status, body.as_str()), (200, "0123456789"));
    assert!(
        head.contains("content-length: 10") && head.contains("accept-ranges: bytes") && !head.contains("content-range")
    );
    for (range, expected, shown) in
        [("2-4", "234", "2-4"), ("8-99", "89", "8-9"), ("7-", "789", "7-9"), ("-3", "789", "7-9")]
    {
        let (status, head, body) = module.ask(&get, &format!("range: bytes={range}\r\n")).await;
        assert_eq!((status, body.as_str()), (206, expected), "{range}");
        assert!(head.contains(&format!("content-range: bytes {shown}/10")), "{head}");
    }
    for ignored in ["bytes=4-2", "lines=1-2", "bytes=x-y"] {
        assert_eq!(module.ask(&get, &format!("range: {ignored}\r\n")).await.0, 200, "{ignored}");
    }
    let told = |kind: &str, message: &str| format!("{{\"errorType\":\"{kind}\",\"errorMessage\":\"{message}\"}}\n");
    let missing = told("ObjNotFound", "This object does not exist");
    let range = told("InvalidRange", "The requested range cannot be satisfied.");
    let malformed = told("InvalidURI", "malformed URI");
    let cases = [
        (get.as_str(), "range: bytes=10-\r\n", 416, range.clone()),
        (get.as_str(), "range: bytes=-0\r\n", 416, range),
        ("GET /DataFile/0123", "", 404, missing.clone()),
        ("DELETE /DataFile/0123", "", 404, missing.clone()),
        ("GET /DataFile/", "", 400, told("MissingParameter", "URL is missing key")),
        ("GET /DataFile/XYZ", "", 400, malformed.clone()),
        ("GET /DataFile?other", "", 400, malformed),
        ("GET /Other/0123", "", 400, told("InvalidAction", "unsupported service '/Other'")),
        ("PUT /DataFile/0123", "content-length: 0\r\n", 400, told("InvalidURI", "PUT url cannot contain a key")),
        ("PUT /DataFile/", "", 411, told("MissingContentLength", "You must provide the Content-Length HTTP header.")),
        (
            "POST /DataFile/",
            "content-length: 0\r\n",
            405,
            told("MethodNotAllowed", "The specified method is not allowed against this resource."),
        ),
    ];
    for (line, headers, status, body) in cases {
        let answer = module.ask(line, headers).await;
        assert_eq!((answer.0, answer.2), (status, body), "{line} {headers}");
    }
    let delete = format!("DELETE /DataFile/{key}");
    assert_eq!(module.ask(&delete, "").await.0, 204);
    let gone = module.ask(&delete, "").await;
    assert_eq!((gone.0, gone.2), (404, missing));
}

#[tokio::test]
async fn disk_usage_has_the_originals_three_numbers() {
    let folder = TempDir::new().unwrap();
    let module = data_module(Arc::new(FileBackend::open(folder.path(), FileOptions::default()).unwrap()));
    let (status, _, body) = module.ask("GET /DataFile?diskUsage", "").await;
    let usage: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(usage.keys().collect::<Vec<_>>(), ["available", "free", "total"]);
    assert!(usage.values().all(|value| value.as_u64().is_some()));
    assert!(remote(&module.base()).disk_usage().await.unwrap().unwrap().total > 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_kept() {
    let memory = Arc::new(MemoryBackend::new());
    let module = data_module(Arc::<MemoryBackend>::clone(&memory));
    let mut socket = TcpStream::connect(module.address).await.unwrap();
    socket.write_all(b"PUT /DataFile/ HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234").await.unwrap();
    drop(socket);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(memory.list(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_token_guards_both_modules() {
    let memory: Arc<dyn DataBackend> = Arc::new(MemoryBackend::new());
    let module = Served::new(Arc::new(DataModule::new(memory, None, gate(Some("secret")))));
    assert_eq!(module.ask("GET /DataFile?diskUsage", "").await.0, 403);
    let mut options = RemoteOptions::new(module.base());
    let refused =
        RemoteBackend::new(options.clone()).put(body::once(Bytes::from_static(b"x")), PutHint::default()).await;
    assert!(matches!(refused, Err(DataError::Unavailable(_))), "{refused:?}");
    options.token = Some("secret".to_owned());
    RemoteBackend::new(options).put(body::once(Bytes::from_static(b"x")), PutHint::default()).await.unwrap();

    let module = Served::new(Arc::new(MetadataModule::new(Arc::new(MemoryStore::new()), gate(Some("secret")))));
    let mut options = RemoteStoreOptions::new(module.base());
    assert!(RemoteStore::new(options.clone()).begin().await.is_err());
    options.token = Some("secret".to_owned());
    RemoteStore::new(options).begin().await.unwrap();
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_looked_up_by_its_name() {
    let memory = Arc::new(MemoryBackend::new());
    let inner = DataModule::new(Arc::<MemoryBackend>::clone(&memory) as Arc<dyn DataBackend>, None, gate(None));
    let swallowed = Arc::new(AtomicUsize::new(0));
    let module = Served::new(Arc::new(Swallows {
        inner: Arc::new(inner),
        method: "PUT",
        left: AtomicUsize::new(1),
        swallowed: Arc::clone(&swallowed),
    }));
    let mut options = RemoteOptions::new(module.base());
    options.client.first_byte = Duration::from_millis(200);
    let backend = RemoteBackend::new(options);
    backend.meet().await.unwrap();
    let written = backend.put(body::once(Bytes::from_static(b"0123456789")), PutHint::default()).await.unwrap();
    assert_eq!((written.size, swallowed.load(Ordering::SeqCst)), (10, 1));
    assert_eq!(memory.list(None, 10).await.unwrap(), [written.blob]);
}

#[tokio::test]
async fn a_module_that_is_away_is_unavailable_and_found_again() {
    let memory = Arc::new(MemoryBackend::new());
    let served = data_module(Arc::<MemoryBackend>::clone(&memory));
    let address = served.address;
    let mut options = RemoteOptions::new(served.base());
    options.patience = Duration::from_millis(100);
    let backend = RemoteBackend::new(options);
    backend.meet().await.unwrap();
    let blob = backend.put(body::once(Bytes::from_static(b"x")), PutHint::default()).await.unwrap().blob;
    drop(served);
    let away = backend.get(&blob, 0..1).await.map(|_| "a stream");
    assert!(matches!(away, Err(DataError::Unavailable(_))), "{away:?}");
    assert!(backend.probe().await.is_err());
    let listener = Listener::bind(address).unwrap();
    let handler = Arc::new(DataModule::new(memory, None, gate(None)));
    let tasks = Tasks::default();
    let service = Service { handler, limits: Limits::default(), metrics: Arc::default(), access_log: None, tls: None };
    serve(vec![listener], service, Readiness::default(), &tasks).unwrap();
    backend.probe().await.unwrap();
    assert_eq!(body::collect(backend.get(&blob, 0..1).await.unwrap(), 10).await.unwrap(), "x");
}

/// The example module, killed when dropped.
struct Python {
    child: Child,
    base: String,
    _folder: TempDir,
}

impl Python {
    /// `None` where there is no Python.
    fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/python-data-module/data_module.py");
        let mut command = Command::new("python3");
        command.arg(script).args(["--port", "0", "--folder"]).arg(folder.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base = format!("http://{}", line.trim().strip_prefix("listening on ").unwrap());
        Some(Self { child, base, _folder: folder })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Storage is replaceable: a module of somebody else, that knows the original's protocol and no more, does as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_module_keeps_the_rules_of_the_seam() {
    let Some(python) = Python::start() else {
        assert!(std::env::var_os("CI").is_none(), "CI has python3");
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("SKIPPED: there is no python3 here");
        }
        return;
    };
    let backend = Arc::new(remote(&python.base));
    assert_eq!(backend.meet().await.unwrap(), None);
    assert!(!backend.capabilities().listing && backend.reserve().is_none());
    data::conformance::suite(Arc::<RemoteBackend>::clone(&backend) as Arc<dyn DataBackend>).await;
    let named = PutHint { blob: Some(BlobId::new("00".repeat(20))), size: None };
    assert!(backend.put(body::once(Bytes::from_static(b"x")), named).await.is_err(), "it takes no names");
}

/// Stores over modules of their own, which live as long as this.
#[derive(Default)]
struct Stores(Mutex<Vec<Served>>);

impl Stores {
    fn over(&self, store: Arc<dyn MetadataStore>) -> Arc<dyn MetadataStore> {
        let served = Served::new(Arc::new(MetadataModule::new(store, gate(None))));
        let remote = RemoteStore::new(RemoteStoreOptions::new(served.base()));
        self.0.lock().push(served);
        Arc::new(remote)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metadata_module_keeps_every_rule_of_the_seam_over_memory() {
    let stores = Stores::default();
    metadata::conformance::run(|| stores.over(Arc::new(MemoryStore::new()))).await;
}

#[cfg(feature = "rocksdb")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metadata_module_keeps_every_rule_of_the_seam_over_rocksdb() {
    use crate::metadata::{RocksOptions, RocksStore};

    let (stores, folder, next) = (Stores::default(), TempDir::new().unwrap(), AtomicUsize::new(0));
    metadata::conformance::run(|| {
        let path = folder.path().join(next.fetch_add(1, Ordering::SeqCst).to_string());
        stores.over(Arc::new(RocksStore::open(path, RocksOptions::default()).unwrap()))
    })
    .await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_done_once_and_acknowledged() {
    let store: Arc<dyn MetadataStore> = Arc::new(MemoryStore::new());
    let swallowed = Arc::new(AtomicUsize::new(0));
    let module = Served::new(Arc::new(Swallows {
        inner: Arc::new(MetadataModule::new(Arc::clone(&store), gate(None))),
        method: "POST",
        // The session's answer, and those of two attempts.
        left: AtomicUsize::new(3),
        swallowed: Arc::clone(&swallowed),
    }));
    let mut options = RemoteStoreOptions::new(module.base());
    options.client.first_byte = Duration::from_millis(150);
    let remote = RemoteStore::new(options);
    let journal = Namespace::global(Table::Journal);
    let create = || {
        let mut batch = Batch::new();
        batch.require(Namespace::global(Table::Owners), "a", Condition::Absent);
        batch.put(Namespace::global(Table::Owners), "a", "1").append(journal, "entry");
        batch
    };
    remote.commit(create()).await.unwrap();
    assert_eq!(swallowed.load(Ordering::SeqCst), 3);
    assert!(matches!(remote.commit(create()).await, Err(MetadataError::Conflict(0))));
    assert_eq!(store.get(journal, &2_u64.to_be_bytes()).await.unwrap(), None, "the journal has one entry");
}

#[tokio::test]
async fn a_front_that_was_superseded_writes_no_more_and_says_so() {
    let module = Served::new(Arc::new(MetadataModule::new(Arc::new(MemoryStore::new()), gate(None))));
    let front = || RemoteStore::new(RemoteStoreOptions::new(module.base()));
    let put = |key: &'static str| {
        let mut batch = Batch::new();
        batch.put(Namespace::global(Table::Owners), key, "1");
        batch
    };
    let (old, new) = (front(), front());
    old.commit(put("a")).await.unwrap();
    new.begin().await.unwrap();
    assert!(matches!(old.commit(put("b")).await, Err(MetadataError::ReadOnly)));
    assert!(!old.is_writable() && new.is_writable());
    new.commit(put("c")).await.unwrap();
    let owners = Namespace::global(Table::Owners);
    assert!(old.get(owners, b"c").await.unwrap().is_some(), "it may still read");
    assert!(new.get(owners, b"b").await.unwrap().is_none());
}

#[tokio::test]
async fn a_module_without_a_session_is_healthy_and_has_a_name_that_stays() {
    let module = Served::new(Arc::new(MetadataModule::new(Arc::new(MemoryStore::new()), gate(None))));
    assert_eq!(module.ask("GET /healthz", "").await.0, 200);
    let name = module.ask("GET /v1/uuid", "").await.2;
    assert!(name.len() > 40 && module.ask("GET /v1/uuid", "").await.2 == name);
    assert_eq!(module.ask("GET /v1/usage", "").await.0, 200);
    assert_eq!(module.ask("GET /v1/batch", "").await.0, 405);
    assert_eq!(module.ask("GET /v2/batch", "").await.0, 404);
    let (status, ..) = module.ask("POST /v1/batch", "content-length: 3\r\n\r\nabc").await;
    assert_eq!(StatusCode::from_u16(status).unwrap(), StatusCode::BAD_REQUEST);
}
