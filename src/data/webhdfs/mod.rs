//! A directory of an HDFS cluster, over its WebHDFS interface, as a [tree of files](super::tree).
//!
//! The name node is asked for everything; for bytes it names a data node, and one request more goes there. Who stands
//! between, `HttpFS` or a gateway, is treated alike. A user's name or a delegation token says who we are: Kerberos is not
//! spoken. A file is acknowledged when it is closed, as durable as the cluster makes closed files.

mod answers;

use std::{fmt, ops::Range};

use futures_util::{FutureExt, future, future::BoxFuture};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use self::answers::failure;
use super::{
    DiskUsage,
    tree::{FileTree, OpenFile, PATIENCE, TreeBackend, TreeError},
};
use crate::{
    outbound::{HttpClient, OutboundError, Payload},
    types::{ByteStream, body},
};

/// What stands unescaped in a path.
const PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// The same in a value.
const VALUE: AsciiSet = PATH.add(b'/');
/// Longest document read: a list of a folder.
const LONGEST: usize = 16 << 20;

/// Who we are at a cluster.
#[derive(Clone, Default)]
pub enum WebHdfsLogin {
    /// Whoever the cluster takes us for.
    #[default]
    Anonymous,
    /// `user.name`: believed without proof, where the cluster is so configured.
    User(String),
    /// A delegation token.
    Token(SecretString),
}

impl fmt::Debug for WebHdfsLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::User(user) => write!(f, "User({user})"),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

/// Where a directory is.
#[derive(Clone, Debug)]
pub struct WebHdfsOptions {
    /// Address of the name node's HTTP interface, or of `HttpFS`, with its scheme.
    pub endpoint: String,
    /// The absolute path of the directory, which must be there.
    pub path: String,
    /// Who we are there.
    pub login: WebHdfsLogin,
}

/// Blobs in a directory; nothing is asked of it yet.
pub fn backend(http: HttpClient, options: &WebHdfsOptions) -> TreeBackend {
    let endpoint = options.endpoint.trim_end_matches('/');
    let path = options.path.trim_end_matches('/').to_owned();
    let login = match &options.login {
        WebHdfsLogin::Anonymous => None,
        WebHdfsLogin::User(user) => Some(("user.name", SecretString::from(user.as_str()))),
        WebHdfsLogin::Token(token) => Some(("delegation", token.clone())),
    };
    let root = format!("{endpoint}/webhdfs/v1{}", utf8_percent_encode(&path, &PATH));
    TreeBackend::over(Directory { http, root, path, login })
}

/// A directory, and how to ask for things in it.
struct Directory {
    http: HttpClient,
    /// Its address.
    root: String,
    /// Its path, without a slash at its end.
    path: String,
    /// The parameter that says who we are.
    login: Option<(&'static str, SecretString)>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A request about a file of the directory.
struct Call<'a> {
    method: Method,
    operation: &'static str,
    path: &'a str,
    parameters: Vec<(&'static str, String)>,
}

impl<'a> Call<'a> {
    fn new(method: Method, operation: &'static str, path: &'a str) -> Self {
        Self { method, operation, path, parameters: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }
}

impl Directory {
    fn address(&self, call: &Call<'_>) -> String {
        let slash = if call.path.is_empty() { "" } else { "/" };
        let mut address = format!("{}{slash}{}?op={}", self.root, call.path, call.operation);
        let login = self.login.as_ref().map(|(name, value)| (*name, value.expose_secret()));
        for (name, value) in call.parameters.iter().map(|(name, value)| (*name, value.as_str())).chain(login) {
            address.extend(["&", name, "="]);
            address.extend(utf8_percent_encode(value, &VALUE));
        }
        address
    }

    /// Sends one request. Addresses may hold tokens: nobody is told of them.
    async fn send(&self, method: Method, address: &str, payload: Payload) -> Result<Response<ByteStream>, TreeError> {
        let request = Request::builder().method(method).uri(address).body(payload);
        let mut request = request.map_err(|_| TreeError::Refused("the address cannot be asked".to_owned()))?;
        let octets = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(header::CONTENT_TYPE, octets);
        match self.http.send_within(request, PATIENCE).await {
            Ok(answer) => Ok(answer),
            Err(OutboundError::Body(error)) => Err(TreeError::Body(error)),
            Err(OutboundError::Unsendable(_)) => Err(TreeError::Refused("the address cannot be asked".to_owned())),
            Err(error) => Err(TreeError::Away(error.to_string())),
        }
    }

    /// The name node's document.
    async fn ask(&self, call: Call<'_>) -> Result<Value, TreeError> {
        let address = self.address(&call);
        let answer = self.send(call.method, &address, Payload::Empty).await?;
        if !answer.status().is_success() {
            return Err(failure(call.operation, answer).await);
        }
        let away = |error: &dyn fmt::Display| TreeError::Away(format!("{}: {error}", call.operation));
        let text = body::collect(answer.into_body(), LONGEST).await.map_err(|error| away(&error))?;
        serde_json::from_slice(&text).map_err(|_| away(&"the answer is no JSON"))
    }

    /// As [`Directory::ask`], for a question of yes or no.
    async fn is_done(&self, call: Call<'_>) -> Result<bool, TreeError> {
        let operation = call.operation;
        let document = self.ask(call).await?;
        let done = document.get("boolean").and_then(Value::as_bool);
        done.ok_or_else(|| TreeError::Away(format!("{operation}: the answer says neither yes nor no")))
    }

    /// The data node's answer, to where the name node sends us.
    async fn exchange(&self, call: Call<'_>, payload: Payload) -> Result<Response<ByteStream>, TreeError> {
        let (operation, address) = (call.operation, self.address(&call));
        let answer = self.send(call.method.clone(), &address, Payload::Empty).await?;
        if answer.status() != StatusCode::TEMPORARY_REDIRECT {
            // A gateway may answer a read itself; whoever takes a file without its bytes has an empty one.
            if answer.status().is_success() && call.method == Method::GET {
                return Ok(answer);
            }
            return Err(failure(operation, answer).await);
        }
        let node = answer.headers().get(header::LOCATION).and_then(|node| node.to_str().ok()).map(str::to_owned);
        drop(body::collect(answer.into_body(), LONGEST).await);
        let known = |node: &String| node.starts_with("http://") || node.starts_with("https://");
        let node = node.filter(known).ok_or_else(|| TreeError::Away(format!("{operation}: no data node was named")))?;
        let answer = self.send(call.method, &node, payload).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(failure(operation, answer).await) }
    }

    async fn status(&self, path: &str) -> Result<Value, TreeError> {
        let document = self.ask(Call::new(Method::GET, "GETFILESTATUS", path)).await?;
        let status = document.get("FileStatus").cloned();
        status.ok_or_else(|| TreeError::Away("GETFILESTATUS: the answer has no status".to_owned()))
    }

    async fn length_at(&self, path: &str) -> Result<u64, TreeError> {
        let length = self.status(path).await?.get("length").and_then(Value::as_u64);
        length.ok_or_else(|| TreeError::Away("GETFILESTATUS: the answer has no length".to_owned()))
    }

    async fn open(&self, path: &str, range: Range<u64>) -> Result<OpenFile, TreeError> {
        // Asked first: the answer with the bytes need not tell how many there are.
        let length = self.length_at(path).await?;
        let end = range.end.min(length);
        if range.start >= end {
            return Err(TreeError::Beyond);
        }
        let call = Call::new(Method::GET, "OPEN", path).with("offset", range.start.to_string());
        let answer = self.exchange(call.with("length", (end - range.start).to_string()), Payload::Empty).await?;
        Ok(OpenFile { length, bytes: answer.into_body() })
    }

    async fn rename_at(&self, from: &str, to: &str) -> Result<(), TreeError> {
        let destination = format!("{}/{to}", self.path);
        if self.is_done(Call::new(Method::PUT, "RENAME", from).with("destination", destination)).await? {
            return Ok(());
        }
        // "No" has no reason: the new name is taken, or something is missing.
        match self.length_at(to).await {
            Ok(_) => Err(TreeError::Exists),
            Err(error) => Err(error),
        }
    }
}

impl FileTree for Directory {
    fn write<'a>(&'a self, path: &'a str, body: ByteStream, size: Option<u64>) -> BoxFuture<'a, Result<(), TreeError>> {
        async move {
            let call = Call::new(Method::PUT, "CREATE", path).with("overwrite", "false").with("permission", "600");
            let answer = self.exchange(call, Payload::Stream { body, size }).await?;
            drop(body::collect(answer.into_body(), LONGEST).await);
            Ok(())
        }
        .boxed()
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<(), TreeError>> {
        self.rename_at(from, to).boxed()
    }

    fn length<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<u64, TreeError>> {
        self.length_at(path).boxed()
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<OpenFile, TreeError>> {
        self.open(path, range).boxed()
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), TreeError>> {
        async move {
            let done = self.is_done(Call::new(Method::DELETE, "DELETE", path)).await?;
            if done { Ok(()) } else { Err(TreeError::Missing) }
        }
        .boxed()
    }

    fn make_folder<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), TreeError>> {
        async move {
            // MKDIRS makes what it is in, too: a directory that is not there must not come to be by that.
            self.status("").await?;
            let done = self.is_done(Call::new(Method::PUT, "MKDIRS", path).with("permission", "700")).await?;
            if done { Ok(()) } else { Err(TreeError::Away(format!("MKDIRS: {path} cannot be made"))) }
        }
        .boxed()
    }

    fn names<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, TreeError>> {
        async move {
            let document = self.ask(Call::new(Method::GET, "LISTSTATUS", folder)).await?;
            let files = document.pointer("/FileStatuses/FileStatus").and_then(Value::as_array);
            let files = files.ok_or_else(|| TreeError::Away("LISTSTATUS: the answer is no list".to_owned()))?;
            let name = |file: &Value| file.get("pathSuffix").and_then(Value::as_str).map(str::to_owned);
            Ok(files.iter().filter_map(name).collect())
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), TreeError>> {
        async move {
            let missing = || TreeError::Refused("the directory is not there: make it, or correct the path".to_owned());
            match self.status("").await {
                Ok(status) if status.get("type").and_then(Value::as_str) == Some("DIRECTORY") => Ok(()),
                Ok(_) | Err(TreeError::Missing) => Err(missing()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, TreeError>> {
        future::ready(Ok(None)).boxed()
    }
}
