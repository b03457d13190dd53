//! `GetBucketLifecycleConfiguration`, `PutBucketLifecycleConfiguration`, `DeleteBucketLifecycle`.
//!
//! This release keeps the configuration, checks it by every rule of S3, and tells in answers what will happen by it;
//! it does **not** carry it out: nothing expires, moves or is aborted. A later release does, from what is stored here.

pub(in crate::s3) mod document;
mod expiry;

use http::{HeaderName, Method};

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
        xml::read,
    },
    storage::records::LifecycleRecord,
    types::BucketName,
};

pub use expiry::{show_abort, show_expiration};

/// Largest document: a thousand rules with long prefixes and tags.
const DOCUMENT: usize = 4 << 20;
const MINIMUM_SIZE: HeaderName = HeaderName::from_static("x-amz-transition-default-minimum-object-size");
/// What `x-amz-transition-default-minimum-object-size` may say; the first holds where it is not given.
const MINIMUM_SIZES: [&str; 2] = ["all_storage_classes_128K", "varies_by_storage_class"];

/// Returns the rules of a bucket.
#[derive(Debug)]
pub struct GetBucketLifecycleConfiguration {
    name: BucketName,
}

/// Replaces the rules of a bucket.
#[derive(Debug)]
pub struct PutBucketLifecycleConfiguration {
    name: BucketName,
    minimum_object_size: String,
}

/// Removes the rules of a bucket.
#[derive(Debug)]
pub struct DeleteBucketLifecycle {
    name: BucketName,
}

fn shown_size(record: &LifecycleRecord) -> &str {
    let [default, _] = MINIMUM_SIZES;
    if record.minimum_object_size.is_empty() { default } else { &record.minimum_object_size }
}

impl Operation for GetBucketLifecycleConfiguration {
    const NAME: &'static str = "GetBucketLifecycleConfiguration";
    const ACTION: &'static str = "bucketGetLifecycle";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["lifecycle"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetLifecycleConfiguration)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let record = bucket.record.lifecycle.as_ref().ok_or_else(|| {
            S3Error::from(S3Code::NoSuchLifecycleConfiguration).with("BucketName", self.name.as_str())
        })?;
        Ok(Document::new(document::write(&record.rules)).with(MINIMUM_SIZE, shown_size(record)))
    }
}

impl Operation for PutBucketLifecycleConfiguration {
    const NAME: &'static str = "PutBucketLifecycleConfiguration";
    const ACTION: &'static str = "bucketPutLifecycle";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["lifecycle"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        let minimum_object_size = head.header(MINIMUM_SIZE.as_str()).unwrap_or_default().to_owned();
        if !minimum_object_size.is_empty() && !MINIMUM_SIZES.contains(&minimum_object_size.as_str()) {
            return Err(S3Error::argument("Invalid Argument", MINIMUM_SIZE.as_str(), &minimum_object_size));
        }
        Ok(Self { name: head.bucket()?, minimum_object_size })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutLifecycleConfiguration)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let locations = cx.storage.locations();
        let rules = document::parse(&read::read(&document)?, &|name| locations.get(name).is_some())?;
        let record = LifecycleRecord { rules, minimum_object_size: self.minimum_object_size };
        let reply = Plain::ok().with(MINIMUM_SIZE, shown_size(&record));
        cx.storage.update_bucket(&self.name, |bucket| bucket.lifecycle = Some(record.clone())).await?;
        Ok(reply)
    }
}

impl Operation for DeleteBucketLifecycle {
    const NAME: &'static str = "DeleteBucketLifecycle";
    const ACTION: &'static str = "bucketDeleteLifecycle";
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Bucket, &["lifecycle"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutLifecycleConfiguration)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        cx.storage.update_bucket(&self.name, |bucket| bucket.lifecycle = None).await?;
        Ok(Plain::no_content())
    }
}
