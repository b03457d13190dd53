//! `GetBucketAccelerateConfiguration`, `PutBucketAccelerateConfiguration`.
//!
//! The setting is kept and answered. There is no network of edge locations here, so nothing becomes quicker by it.

use super::setting::{GetSetting, PutSetting, Settable, Setting, Verb};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        reply::Document,
        request_body::Digest,
        xml::{XmlWriter, read},
    },
    storage::{Bucket, records::BucketRecord},
};

/// Transfer acceleration.
#[derive(Debug)]
pub struct Accelerate;

/// Returns the state of transfer acceleration; nothing where it was never set.
pub type GetBucketAccelerateConfiguration = GetSetting<Accelerate>;
/// Enables or suspends transfer acceleration.
pub type PutBucketAccelerateConfiguration = PutSetting<Accelerate>;

impl Setting for Accelerate {
    const QUERY: &'static [&'static str] = &["accelerate"];
    const GET: Verb =
        Verb::new("GetBucketAccelerateConfiguration", "bucketGetAccelerate", Action::GetAccelerateConfiguration);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let mut xml = XmlWriter::document("AccelerateConfiguration", 256);
        xml.optional("Status", Some(bucket.record.accelerate.as_str()).filter(|status| !status.is_empty()));
        Ok(Document::new(xml.finish()))
    }
}

impl Settable for Accelerate {
    const PUT: Verb =
        Verb::new("PutBucketAccelerateConfiguration", "bucketPutAccelerate", Action::PutAccelerateConfiguration);
    const DIGEST: Digest = Digest::Optional;
    type Value = &'static str;

    fn read(document: &[u8], cx: &Context) -> S3Result<&'static str> {
        let status = status(document)?;
        // The names of accelerated endpoints have one label for the bucket.
        if cx.head.bucket()?.as_str().contains('.') {
            return Err(S3Error::request(
                "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names",
            ));
        }
        Ok(status)
    }

    fn set(status: &&'static str, record: &mut BucketRecord) -> S3Result<()> {
        (*status).clone_into(&mut record.accelerate);
        Ok(())
    }
}

pub(in crate::s3) fn status(document: &[u8]) -> S3Result<&'static str> {
    let root = read::read(document)?;
    if root.name() != "AccelerateConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["Status"])?;
    match root.required_text("Status")?.trim() {
        "Enabled" => Ok("Enabled"),
        "Suspended" => Ok("Suspended"),
        _ => Err(S3Code::MalformedXML.into()),
    }
}
