//! `GetBucketNotificationConfiguration`, `PutBucketNotificationConfiguration`.
//!
//! This release keeps the configuration and checks it by every rule of S3; it does **not** carry it out: nobody is
//! told of anything. A later release does, from what is stored here.

pub(in crate::s3) mod document;

use super::setting::{GetSetting, PutSetting, Settable, Setting, Verb};
use crate::{
    auth::Action,
    s3::{context::Context, error::S3Result, reply::Document, request_body::Digest, xml::read},
    storage::{
        Bucket,
        records::{BucketRecord, NotificationRecord},
    },
};

/// Who is told of a bucket's events.
#[derive(Debug)]
pub struct Notification;

/// Returns who is told of a bucket's events.
pub type GetBucketNotificationConfiguration = GetSetting<Notification>;
/// Replaces who is told of a bucket's events; an empty document means nobody.
pub type PutBucketNotificationConfiguration = PutSetting<Notification>;

impl Setting for Notification {
    const QUERY: &'static [&'static str] = &["notification"];
    const GET: Verb =
        Verb::new("GetBucketNotificationConfiguration", "bucketGetNotification", Action::GetBucketNotification);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let nobody = NotificationRecord::default();
        Ok(Document::new(document::write(bucket.record.notification.as_ref().unwrap_or(&nobody))))
    }
}

impl Settable for Notification {
    const PUT: Verb =
        Verb::new("PutBucketNotificationConfiguration", "bucketPutNotification", Action::PutBucketNotification);
    /// A hundred targets with every event.
    const LARGEST: usize = 1 << 20;
    /// The current operation of the model demands none (its forerunner of the same form did).
    const DIGEST: Digest = Digest::Optional;
    type Value = Option<NotificationRecord>;

    fn read(document: &[u8], cx: &Context) -> S3Result<Option<NotificationRecord>> {
        let any_target = cx.head.header("x-amz-skip-destination-validation");
        let any_target = any_target.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let targets = &cx.settings.notification_targets;
        let is_target = |name: &str| any_target || targets.iter().any(|target| target == name);
        let record = document::parse(&read::read(document)?, &is_target)?;
        Ok(Some(record).filter(|record| *record != NotificationRecord::default()))
    }

    fn set(notification: &Option<NotificationRecord>, record: &mut BucketRecord) -> S3Result<()> {
        record.notification.clone_from(notification);
        Ok(())
    }
}
