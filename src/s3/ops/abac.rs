//! `GetBucketAbac`, `PutBucketAbac`: whether a bucket's tags take part in access control.
//!
//! The setting is kept and answered. Conditions on a bucket's tags are for whoever evaluates policies.

use super::setting::{GetSetting, PutSetting, Settable, Setting, Verb};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::S3Result,
        reply::Document,
        request_body::Digest,
        xml::{XmlWriter, read},
    },
    storage::{Bucket, records::BucketRecord},
};

/// Whether a bucket's tags take part in access control.
#[derive(Debug)]
pub struct Abac;

/// Returns the setting; `Disabled` where it was never set.
pub type GetBucketAbac = GetSetting<Abac>;
/// Changes the setting.
pub type PutBucketAbac = PutSetting<Abac>;

impl Setting for Abac {
    const QUERY: &'static [&'static str] = &["abac"];
    const GET: Verb = Verb::new("GetBucketAbac", "bucketGetAbac", Action::GetBucketAbac);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let mut xml = XmlWriter::document("AbacStatus", 256);
        xml.text("Status", if bucket.record.abac { "Enabled" } else { "Disabled" });
        Ok(Document::new(xml.finish()))
    }
}

impl Settable for Abac {
    const PUT: Verb = Verb::new("PutBucketAbac", "bucketPutAbac", Action::PutBucketAbac);
    const DIGEST: Digest = Digest::Optional;
    type Value = bool;

    fn read(document: &[u8], _: &Context) -> S3Result<bool> {
        status(document)
    }

    fn set(enabled: &bool, record: &mut BucketRecord) -> S3Result<()> {
        record.abac = *enabled;
        Ok(())
    }
}

pub(in crate::s3) fn status(document: &[u8]) -> S3Result<bool> {
    let root = read::read(document)?;
    if root.name() != "AbacStatus" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["Status"])?;
    match root.required_text("Status")?.trim() {
        "Enabled" => Ok(true),
        "Disabled" => Ok(false),
        _ => Err(S3Code::MalformedXML.into()),
    }
}
