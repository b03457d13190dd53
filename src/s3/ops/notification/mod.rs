//! `GetBucketNotificationConfiguration`, `PutBucketNotificationConfiguration`.
//!
//! This release keeps the configuration and checks it by every rule of S3; it does **not** carry it out: nobody is
//! told of anything. A later release does, from what is stored here.

pub(in crate::s3) mod document;

use http::Method;

use crate::{
    auth::Action,
    s3::{
        context::Context,
        error::S3Result,
        head::Head,
        operation::{Need, Operation, Pattern, Scope},
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        xml::read,
    },
    storage::records::NotificationRecord,
    types::BucketName,
};

/// Largest document: a hundred targets with every event.
const DOCUMENT: usize = 1 << 20;

/// Returns who is told of a bucket's events.
#[derive(Debug)]
pub struct GetBucketNotificationConfiguration {
    name: BucketName,
}

/// Replaces who is told of a bucket's events; an empty document means nobody.
#[derive(Debug)]
pub struct PutBucketNotificationConfiguration {
    name: BucketName,
    any_target: bool,
}

impl Operation for GetBucketNotificationConfiguration {
    const NAME: &'static str = "GetBucketNotificationConfiguration";
    const ACTION: &'static str = "bucketGetNotification";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["notification"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketNotification)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let nobody = NotificationRecord::default();
        Ok(Document::new(document::write(bucket.record.notification.as_ref().unwrap_or(&nobody))))
    }
}

impl Operation for PutBucketNotificationConfiguration {
    const NAME: &'static str = "PutBucketNotificationConfiguration";
    const ACTION: &'static str = "bucketPutNotification";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["notification"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        let any_target =
            head.header("x-amz-skip-destination-validation").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Ok(Self { name: head.bucket()?, any_target })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketNotification)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        // The current operation of the model demands no digest (its forerunner of the same form did).
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let targets = &cx.settings.notification_targets;
        let is_target = |name: &str| self.any_target || targets.iter().any(|target| target == name);
        let record = document::parse(&read::read(&document)?, &is_target)?;
        let change = Some(record).filter(|record| *record != NotificationRecord::default());
        cx.storage.update_bucket(&self.name, |bucket| bucket.notification.clone_from(&change)).await?;
        Ok(Plain::ok())
    }
}
