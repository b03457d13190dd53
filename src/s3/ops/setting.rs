//! Settings that a bucket has one of: get, put, delete.
//!
//! A setting says what is its own: names, permissions, its document, its place in the bucket's record. What is the same
//! for all stands here once. Those with ids are in [`super::identified`].

use std::marker::PhantomData;

use bytes::Bytes;
use http::Method;

use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Need, Operation, Pattern, Scope},
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
    },
    storage::{Bucket, records::BucketRecord},
    types::BucketName,
};

/// One of the operations of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// Its name in the S3 reference and in logs.
    pub name: &'static str,
    /// Its name in the original's metrics.
    pub metric: &'static str,
    /// The permission that it needs.
    pub needs: Action,
}

impl Verb {
    /// An operation with its name, its name in metrics, and the permission that it needs.
    pub const fn new(name: &'static str, metric: &'static str, needs: Action) -> Self {
        Self { name, metric, needs }
    }
}

/// A setting that can be asked for.
pub trait Setting: Sized + Send + Sync + 'static {
    /// The query parameter that addresses it.
    const QUERY: &'static [&'static str];
    /// What asks for it.
    const GET: Verb;

    /// The answer.
    ///
    /// # Errors
    /// Where there is none: [`absent`], mostly.
    fn show(bucket: &Bucket) -> S3Result<Document>;
}

/// A setting that can be put.
pub trait Settable: Setting {
    /// What puts it.
    const PUT: Verb;
    /// Most bytes of its document.
    const LARGEST: usize = 64 << 10;
    /// Whether its document needs a digest: where the S3 model says so (`requestChecksumRequired`), unless there is a
    /// reason why not.
    const DIGEST: Digest;
    /// What its document says.
    type Value: Send + Sync;

    /// Reads its document.
    ///
    /// # Errors
    /// `MalformedXML` and what else S3 refuses it with.
    fn read(document: &[u8], cx: &Context) -> S3Result<Self::Value>;

    /// Puts it into the settings of a bucket, as they are at that moment. It may run several times.
    ///
    /// # Errors
    /// Where other settings rule it out; nothing is changed then.
    fn set(value: &Self::Value, record: &mut BucketRecord) -> S3Result<()>;
}

/// A setting that can be removed.
pub trait Removable: Setting {
    /// What removes it.
    const DELETE: Verb;

    /// Takes it out of the settings of a bucket.
    fn clear(record: &mut BucketRecord);
}

/// Returns a setting.
#[derive(Debug)]
pub struct GetSetting<S> {
    name: BucketName,
    setting: PhantomData<S>,
}

/// Sets or replaces a setting.
#[derive(Debug)]
pub struct PutSetting<S> {
    name: BucketName,
    setting: PhantomData<S>,
}

/// Removes a setting. It is no error that there was none.
#[derive(Debug)]
pub struct DeleteSetting<S> {
    name: BucketName,
    setting: PhantomData<S>,
}

impl<S: Setting> Operation for GetSetting<S> {
    const NAME: &'static str = S::GET.name;
    const ACTION: &'static str = S::GET.metric;
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, S::QUERY);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()?, setting: PhantomData })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, S::GET.needs)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        S::show(&bucket)
    }
}

impl<S: Settable> Operation for PutSetting<S> {
    const NAME: &'static str = S::PUT.name;
    const ACTION: &'static str = S::PUT.metric;
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, S::QUERY);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()?, setting: PhantomData })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, S::PUT.needs)]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = receive(&mut cx, body, (S::LARGEST, S::DIGEST), self.needs()).await?;
        let value = S::read(&document, &cx)?;
        let bucket = cx.bucket(&self.name).await?;
        change(&cx, &bucket, |record| S::set(&value, record)).await?;
        Ok(Plain::ok())
    }
}

impl<S: Removable> Operation for DeleteSetting<S> {
    const NAME: &'static str = S::DELETE.name;
    const ACTION: &'static str = S::DELETE.metric;
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Bucket, S::QUERY);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()?, setting: PhantomData })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, S::DELETE.needs)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        let edit = |record: &mut BucketRecord| {
            S::clear(record);
            Ok(())
        };
        let bucket = cx.bucket(&self.name).await?;
        change(&cx, &bucket, edit).await?;
        Ok(Plain::no_content())
    }
}

/// Says that a bucket has no such setting.
pub(super) fn absent(code: S3Code, bucket: &Bucket) -> S3Error {
    S3Error::from(code).with("BucketName", bucket.name.as_str())
}

/// The document of a setting. A client may take long to send one, and its right may be taken from it meanwhile: the
/// request is judged again then, by the `needs` given.
pub(super) async fn receive(
    cx: &mut Context,
    body: RequestBody,
    (limit, digest): (usize, Digest),
    needs: Vec<Need>,
) -> S3Result<Bytes> {
    let document = body.document(&cx.head, &cx.intake, limit, digest).await?;
    for need in needs {
        cx.authorize(&need).await?;
    }
    Ok(document)
}

/// Changes the settings of a bucket, unless `edit` refuses: it sees what is stored at that moment.
///
/// # Errors
/// What `edit` says; `OperationAborted` where another bucket has the name by now: whoever made that one did not ask
/// for this.
pub(super) async fn change(
    cx: &Context,
    bucket: &Bucket,
    edit: impl Fn(&mut BucketRecord) -> S3Result<()> + Send + Sync,
) -> S3Result<()> {
    let same = bucket.record.id;
    let edit = |record: &mut BucketRecord| {
        if record.id == same { edit(record) } else { Err(S3Code::OperationAborted.into()) }
    };
    cx.storage.try_update_bucket(&bucket.name, edit).await?;
    Ok(())
}
