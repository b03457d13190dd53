//! `GetBucketLifecycleConfiguration`, `PutBucketLifecycleConfiguration`, `DeleteBucketLifecycle`.
//!
//! This release keeps the configuration, checks it by every rule of S3, and tells in answers what will happen by it;
//! it does **not** carry it out: nothing expires, moves or is aborted. A later release does, from what is stored here.

pub(in crate::s3) mod document;
mod expiry;

use http::{HeaderName, Method};

use super::setting::{DeleteSetting, GetSetting, Removable, Setting, Verb, absent};
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
    storage::{
        Bucket,
        records::{BucketRecord, LifecycleRecord},
    },
    types::BucketName,
};

pub use expiry::{show_abort, show_expiration};

/// Largest document: a thousand rules with long prefixes and tags.
const DOCUMENT: usize = 4 << 20;
const MINIMUM_SIZE: HeaderName = HeaderName::from_static("x-amz-transition-default-minimum-object-size");
/// What `x-amz-transition-default-minimum-object-size` may say; the first holds where it is not given.
const MINIMUM_SIZES: [&str; 2] = ["all_storage_classes_128K", "varies_by_storage_class"];

/// The lifecycle rules of a bucket.
#[derive(Debug)]
pub struct Lifecycle;

/// Returns the rules of a bucket.
pub type GetBucketLifecycleConfiguration = GetSetting<Lifecycle>;
/// Removes the rules of a bucket.
pub type DeleteBucketLifecycle = DeleteSetting<Lifecycle>;

/// Replaces the rules of a bucket. No [`super::setting::PutSetting`]: a header belongs to what is put, which is read
/// before anything is judged, and answered.
#[derive(Debug)]
pub struct PutBucketLifecycleConfiguration {
    name: BucketName,
    minimum_object_size: String,
}

fn shown_size(record: &LifecycleRecord) -> &str {
    let [default, _] = MINIMUM_SIZES;
    if record.minimum_object_size.is_empty() { default } else { &record.minimum_object_size }
}

impl Setting for Lifecycle {
    const QUERY: &'static [&'static str] = &["lifecycle"];
    const GET: Verb =
        Verb::new("GetBucketLifecycleConfiguration", "bucketGetLifecycle", Action::GetLifecycleConfiguration);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let record = bucket.record.lifecycle.as_ref();
        let record = record.ok_or_else(|| absent(S3Code::NoSuchLifecycleConfiguration, bucket))?;
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
        // The model demands a digest; the original asks for none.
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let locations = cx.storage.locations();
        let rules = document::parse(&read::read(&document)?, &|name| locations.get(name).is_some())?;
        let record = LifecycleRecord { rules, minimum_object_size: self.minimum_object_size };
        let reply = Plain::ok().with(MINIMUM_SIZE, shown_size(&record));
        cx.storage.update_bucket(&self.name, |bucket| bucket.lifecycle = Some(record.clone())).await?;
        Ok(reply)
    }
}

impl Removable for Lifecycle {
    const DELETE: Verb = Verb::new("DeleteBucketLifecycle", "bucketDeleteLifecycle", Action::PutLifecycleConfiguration);

    fn clear(record: &mut BucketRecord) {
        record.lifecycle = None;
    }
}
