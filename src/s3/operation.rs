//! What an operation is: how it is recognised, what it reads, what it needs, what it does.

use std::{fmt, future::Future, sync::Arc};

use futures_util::future::BoxFuture;
use http::{Method, Response};

use super::{
    ResponseBody,
    context::Context,
    error::{S3Error, S3Result},
    head::Head,
    request_body::RequestBody,
};
use crate::{
    auth::Action,
    types::{BucketName, ObjectKey, UploadId, VersionSelector},
};

/// What a request addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The service: `/`.
    Service,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
}

/// How a request is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The method.
    pub method: Method,
    /// What is addressed.
    pub scope: Scope,
    /// Query parameters that must be there; with `=` in them, the value must be that, too.
    pub query: &'static [&'static str],
    /// A header that must be there; empty for none.
    pub header: &'static str,
}

impl Pattern {
    /// A pattern without sub-resource.
    pub const fn plain(method: Method, scope: Scope) -> Self {
        Self { method, scope, query: &[], header: "" }
    }

    /// A pattern with these query parameters.
    pub const fn new(method: Method, scope: Scope, query: &'static [&'static str]) -> Self {
        Self { method, scope, query, header: "" }
    }

    /// A pattern with these query parameters, only for requests with this header.
    pub const fn with_header(
        method: Method,
        scope: Scope,
        query: &'static [&'static str],
        header: &'static str,
    ) -> Self {
        Self { method, scope, query, header }
    }

    /// Whether a request is of this form.
    pub fn matches(&self, head: &Head, scope: Scope) -> bool {
        self.method == head.method
            && self.scope == scope
            && (self.header.is_empty() || head.header(self.header).is_some())
            && self.query.iter().all(|wanted| match wanted.split_once('=') {
                Some((name, value)) => head.query(name) == Some(value),
                None => head.has_query(wanted),
            })
    }

    /// How much a request must have to match: of two matching patterns the more demanding one is meant.
    pub fn weight(&self) -> usize {
        2 * self.query.len() + usize::from(!self.header.is_empty())
    }
}

/// An object, and perhaps one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// The version that `versionId` names.
    pub version: Option<VersionSelector>,
}

impl ObjectRef {
    /// A need of this object.
    pub fn need(&self, action: Action) -> Need {
        Need { action, target: Target::Object(self.clone()) }
    }
}

/// What a permission is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The service.
    Service,
    /// A bucket that need not exist.
    NewBucket(BucketName),
    /// A bucket.
    Bucket(BucketName),
    /// An object, which need not exist, in a bucket, which must.
    Object(ObjectRef),
    /// The source of a copy: as [`Target::Object`], its bucket's owner expected by a header of its own.
    Source(ObjectRef),
    /// What a write says of its object besides the bytes; beside a need for the object itself.
    Written(ObjectRef),
    /// An upload, and the object that it is to be.
    Upload(ObjectRef, UploadId),
}

/// A permission that an operation relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The action.
    pub action: Action,
    /// What it is done to.
    pub target: Target,
}

impl Need {
    /// A need of a bucket.
    pub fn bucket(name: &BucketName, action: Action) -> Self {
        Self { action, target: Target::Bucket(name.clone()) }
    }
}

/// What a bucket's policy must know of an operation besides its actions. It is the operation's own, so that nothing that
/// a client adds to its query makes a request look like another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deed {
    /// The head says everything that it sets.
    #[default]
    Plain,
    /// The body says which tags an object gets.
    SetsTags,
    /// The body says which lock an object gets.
    SetsLock,
    /// An upload is begun or added to: no object comes to be yet.
    Prepares,
    /// The source says which tags an object gets, unless the head does.
    Copies,
}

/// What an operation answers.
pub trait Reply: Send {
    /// The answer as HTTP. Common headers are added later.
    fn render(self) -> S3Result<Response<ResponseBody>>;
}

/// An operation of S3.
pub trait Operation: Sized + Send + 'static {
    /// Its name in the S3 reference and in logs.
    const NAME: &'static str;
    /// Its name in the original's metrics.
    const ACTION: &'static str;
    /// How a request is recognised: method, scope, sub-resource.
    const PATTERN: Pattern;
    /// Whether its body is an object's bytes. Others take documents, and no aws-chunked form.
    const STREAMS: bool = false;
    /// What a policy must know of it.
    const DEED: Deed = Deed::Plain;
    /// What it answers.
    type Reply: Reply;

    /// Reads and validates everything but the body.
    fn parse(head: &Head) -> S3Result<Self>;

    /// Permissions `run` relies on; checked, in this order, before it is called.
    fn needs(&self) -> Vec<Need>;

    /// Does it.
    fn run(self, cx: Context, body: RequestBody) -> impl Future<Output = S3Result<Self::Reply>> + Send;
}

/// How an operation is called, its type erased.
pub type Call = fn(Context, Arc<Head>, RequestBody) -> BoxFuture<'static, S3Result<Response<ResponseBody>>>;

/// Which permissions a request's head calls for.
pub type Needs = fn(&Head) -> S3Result<Vec<Need>>;

/// A row of the table.
#[derive(Clone)]
pub struct Route {
    /// [`Operation::NAME`].
    pub name: &'static str,
    /// [`Operation::ACTION`].
    pub action: &'static str,
    /// [`Operation::PATTERN`].
    pub pattern: Pattern,
    /// [`Operation::STREAMS`].
    pub streams: bool,
    /// Parses, and tells what is authorised before anything runs.
    pub needs: Needs,
    /// Parses, authorises and runs.
    pub call: Call,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("name", &self.name).field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

/// The row of an operation.
pub const fn route<O: Operation>() -> Route {
    Route {
        name: O::NAME,
        action: O::ACTION,
        pattern: O::PATTERN,
        streams: O::STREAMS,
        needs: needs::<O>,
        call: call::<O>,
    }
}

fn needs<O: Operation>(head: &Head) -> S3Result<Vec<Need>> {
    O::parse(head).map(|operation| operation.needs())
}

/// The one erased step: parse, authorise, run, render.
fn call<O: Operation>(
    cx: Context,
    head: Arc<Head>,
    body: RequestBody,
) -> BoxFuture<'static, S3Result<Response<ResponseBody>>> {
    Box::pin(async move {
        let operation = O::parse(&head)?;
        let mut cx = cx;
        cx.deed = O::DEED;
        for need in operation.needs() {
            cx.authorize(&need).await?;
        }
        let reply: Result<O::Reply, S3Error> = operation.run(cx, body).await;
        reply?.render()
    })
}
