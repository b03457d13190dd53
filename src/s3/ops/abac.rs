//! `GetBucketAbac`, `PutBucketAbac`: whether a bucket's tags take part in access control.
//!
//! The setting is kept and answered. Conditions on a bucket's tags are for whoever evaluates policies.

use http::Method;

use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::S3Result,
        head::Head,
        operation::{Need, Operation, Pattern, Scope},
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        xml::{XmlWriter, read},
    },
    types::BucketName,
};

/// Largest document.
const DOCUMENT: usize = 64 << 10;

/// Returns the setting; `Disabled` where it was never set.
#[derive(Debug)]
pub struct GetBucketAbac {
    name: BucketName,
}

/// Changes the setting.
#[derive(Debug)]
pub struct PutBucketAbac {
    name: BucketName,
}

impl Operation for GetBucketAbac {
    const NAME: &'static str = "GetBucketAbac";
    const ACTION: &'static str = "bucketGetAbac";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["abac"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketAbac)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let mut xml = XmlWriter::document("AbacStatus", 256);
        xml.text("Status", if bucket.record.abac { "Enabled" } else { "Disabled" });
        Ok(Document::new(xml.finish()))
    }
}

impl Operation for PutBucketAbac {
    const NAME: &'static str = "PutBucketAbac";
    const ACTION: &'static str = "bucketPutAbac";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["abac"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketAbac)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let enabled = status(&document)?;
        cx.storage.update_bucket(&self.name, |bucket| bucket.abac = enabled).await?;
        Ok(Plain::ok())
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
