//! Files and folders in memory, behind a server that speaks WebDAV and one that speaks WebHDFS: as much of both as shows
//! what is asked of them, and no more lenient than the real ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use bytes::Bytes;
use cloudserver::tasks::Tasks;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;

type Answer = Response<Full<Bytes>>;

/// Files and folders by their paths, which begin with a slash and do not end in one.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) files: BTreeMap<String, Bytes>,
    folders: BTreeSet<String>,
}

impl Files {
    fn has_folder_of(&self, path: &str) -> bool {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.is_empty() || self.folders.contains(folder)
    }

    /// As if the place were another.
    pub(crate) fn remove_folders(&mut self) {
        self.folders.clear();
    }

    /// Paths in a folder, and whether they are folders.
    fn within(&self, folder: &str) -> Vec<(String, bool)> {
        let all = self.files.keys().map(|path| (path, false)).chain(self.folders.iter().map(|path| (path, true)));
        let name = |path: &str| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
        let direct = all.filter_map(|(path, is_folder)| Some((name(path)?, is_folder)));
        direct.filter(|(name, _)| !name.contains('/')).collect()
    }
}

/// A server of files.
pub(crate) struct FileServer {
    pub(crate) address: SocketAddr,
    pub(crate) files: Arc<Mutex<Files>>,
    /// Where clients are sent for bytes: another address, where a proxy stands before this server.
    pub(crate) bytes_at: Arc<Mutex<SocketAddr>>,
    _tasks: Tasks,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Dav,
    /// The same, without ranges: it answers with whole files.
    DavWhole,
    Hdfs,
}

impl FileServer {
    /// A server with a folder `/far`.
    pub(crate) async fn new(speaks: Speaks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let files = Arc::new(Mutex::new(Files::default()));
        files.lock().folders.insert("/far".to_owned());
        let bytes_at = Arc::new(Mutex::new(address));
        let tasks = Tasks::default();
        let (spawner, state) = (tasks.clone(), (Arc::clone(&files), Arc::clone(&bytes_at)));
        tasks.spawn("files", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = state.clone();
                spawner.spawn("connection", async move {
                    let service = service_fn(move |request| answer(speaks, state.clone(), request));
                    // Whatever breaks here breaks the connection only.
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service).await.ok();
                });
            }
        });
        Self { address, files, bytes_at, _tasks: tasks }
    }
}

type State = (Arc<Mutex<Files>>, Arc<Mutex<SocketAddr>>);

async fn answer(speaks: Speaks, (files, bytes_at): State, request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let (head, body) = request.into_parts();
    // As a server that writes in place: what has come is there, even if the rest never comes.
    let writes = head.method == Method::PUT && (speaks != Speaks::Hdfs || head.uri.path().starts_with("/node"));
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            if writes && speaks != Speaks::Hdfs {
                files.lock().files.insert(head.uri.path().to_owned(), Bytes::from_static(b"half"));
            }
            return Err(error);
        }
    };
    let head = Request::from_parts(head, body);
    let files = &mut files.lock();
    Ok(match speaks {
        Speaks::Dav => dav(files, &head, true),
        Speaks::DavWhole => dav(files, &head, false),
        Speaks::Hdfs => hdfs(files, &head, *bytes_at.lock()),
    })
}

fn status(code: u16) -> Answer {
    with(code, "")
}

fn with(code: u16, body: impl Into<Bytes>) -> Answer {
    Response::builder().status(StatusCode::from_u16(code).unwrap()).body(Full::new(body.into())).unwrap()
}

fn dav(files: &mut Files, request: &Request<Bytes>, ranges: bool) -> Answer {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    if header("authorization").as_deref() != Some("Basic dXNlcjpwYXNzd29yZA==") {
        return status(401);
    }
    let path = request.uri().path().trim_end_matches('/').to_owned();
    match request.method().as_str() {
        "PUT" if !files.has_folder_of(&path) => status(409),
        "PUT" => status(if files.files.insert(path, request.body().clone()).is_some() { 204 } else { 201 }),
        // RFC 4918; and as Apache, where somebody else makes it in the same moment.
        "MKCOL" if files.folders.contains(&path) => status(if path.len().is_multiple_of(2) { 405 } else { 403 }),
        "MKCOL" if !files.has_folder_of(&path) => status(409),
        "MKCOL" => {
            files.folders.insert(path);
            status(201)
        }
        "MOVE" => {
            assert_eq!(header("overwrite").as_deref(), Some("F"));
            let to = header("destination").unwrap().parse::<http::Uri>().unwrap().path().to_owned();
            if !files.files.contains_key(&path) {
                return status(404);
            }
            if files.files.contains_key(&to) {
                return status(412);
            }
            if !files.has_folder_of(&to) {
                return status(409);
            }
            let bytes = files.files.remove(&path).unwrap();
            files.files.insert(to, bytes);
            status(201)
        }
        "DELETE" => status(if files.files.remove(&path).is_some() { 204 } else { 404 }),
        "HEAD" | "GET" => match files.files.get(&path) {
            None => status(404),
            Some(bytes) => ranged(bytes, header("range").filter(|_| ranges)),
        },
        "PROPFIND" if !files.folders.contains(&path) => status(404),
        "PROPFIND" => {
            let names = if header("depth").unwrap() == "1" { files.within(&path) } else { Vec::new() };
            let paths = names.iter().map(|(name, folder)| format!("{path}/{name}{}", if *folder { "/" } else { "" }));
            let responses = paths.chain([format!("{path}/")]).map(|path| {
                format!("<D:response><D:href>{path}</D:href><D:propstat><D:prop><D:resourcetype/></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>")
            });
            with(207, format!("<D:multistatus xmlns:D=\"DAV:\">{}</D:multistatus>", responses.collect::<String>()))
        }
        _ => status(405),
    }
}

fn ranged(bytes: &Bytes, range: Option<String>) -> Answer {
    let Some(range) = range else { return with(200, bytes.clone()) };
    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
    if start >= bytes.len() {
        return status(416);
    }
    let end = (end + 1).min(bytes.len());
    let mut answer = with(206, bytes.slice(start..end));
    let told = format!("bytes {start}-{}/{}", end - 1, bytes.len());
    answer.headers_mut().insert("content-range", told.parse().unwrap());
    answer
}

fn exception(code: u16, name: &str) -> Answer {
    with(code, format!("{{\"RemoteException\":{{\"exception\":\"{name}\",\"message\":\"m\"}}}}"))
}

fn hdfs(files: &mut Files, request: &Request<Bytes>, bytes_at: SocketAddr) -> Answer {
    let query: BTreeMap<_, _> =
        request.uri().query().unwrap().split('&').filter_map(|pair| pair.split_once('=')).collect();
    let is = |operation: &str| query["op"] == operation;
    if query.get("user.name") != Some(&"hdfs") {
        return exception(401, "SecurityException");
    }
    let boolean = |done: bool| with(200, format!("{{\"boolean\":{done}}}"));
    let (method, address) = (request.method(), request.uri().path());
    let Some(path) = address.strip_prefix("/webhdfs/v1") else {
        let path = address.strip_prefix("/node").unwrap();
        return node(files, request, path, &query);
    };
    let elsewhere = || {
        let mut answer = status(307);
        let place = format!("http://{bytes_at}/node{path}?{}", request.uri().query().unwrap());
        answer.headers_mut().insert("location", place.parse().unwrap());
        answer
    };
    match method.as_str() {
        "PUT" if is("CREATE") => {
            assert!(request.body().is_empty(), "the name node takes no bytes");
            if files.files.contains_key(path) { exception(403, "FileAlreadyExistsException") } else { elsewhere() }
        }
        "GET" if is("OPEN") && files.files.contains_key(path) => elsewhere(),
        "GET" if is("GETFILESTATUS") => match files.files.get(path) {
            Some(bytes) => with(200, format!("{{\"FileStatus\":{{\"length\":{},\"type\":\"FILE\"}}}}", bytes.len())),
            None if files.folders.contains(path) => with(200, "{\"FileStatus\":{\"length\":0,\"type\":\"DIRECTORY\"}}"),
            None => exception(404, "FileNotFoundException"),
        },
        "GET" if is("LISTSTATUS") && files.folders.contains(path) => {
            let names = files.within(path).into_iter().map(|(name, _)| format!("{{\"pathSuffix\":\"{name}\"}}"));
            let names = names.collect::<Vec<_>>().join(",");
            with(200, format!("{{\"FileStatuses\":{{\"FileStatus\":[{names}]}}}}"))
        }
        "PUT" if is("MKDIRS") => {
            let mut folder = path;
            while !folder.is_empty() {
                files.folders.insert(folder.to_owned());
                folder = folder.rsplit_once('/').unwrap().0;
            }
            boolean(true)
        }
        "PUT" if is("RENAME") => {
            let to = query["destination"].replace("%2F", "/");
            let may = files.files.contains_key(path) && !files.files.contains_key(&to) && files.has_folder_of(&to);
            if may {
                let bytes = files.files.remove(path).unwrap();
                files.files.insert(to, bytes);
            }
            boolean(may)
        }
        "DELETE" if is("DELETE") => boolean(files.files.remove(path).is_some()),
        _ => exception(404, "FileNotFoundException"),
    }
}

/// The data node.
fn node(files: &mut Files, request: &Request<Bytes>, path: &str, query: &BTreeMap<&str, &str>) -> Answer {
    if request.method() == Method::PUT {
        files.folders.extend(path.rsplit_once('/').map(|(folder, _)| folder.to_owned()));
        files.files.insert(path.to_owned(), request.body().clone());
        return status(201);
    }
    let Some(bytes) = files.files.get(path) else { return exception(404, "FileNotFoundException") };
    let number = |name: &str| query[name].parse::<usize>().unwrap();
    let start = number("offset");
    if start > bytes.len() {
        return exception(403, "IOException");
    }
    with(200, bytes.slice(start..(start + number("length")).min(bytes.len())))
}
