//! `GetBucketAccelerateConfiguration`, `PutBucketAccelerateConfiguration`.
//!
//! The setting is kept and answered. There is no network of edge locations here, so nothing becomes quicker by it.

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
        xml::{XmlWriter, read},
    },
    types::BucketName,
};

/// Largest document.
const DOCUMENT: usize = 64 << 10;

/// Returns the state of transfer acceleration; nothing where it was never set.
#[derive(Debug)]
pub struct GetBucketAccelerateConfiguration {
    name: BucketName,
}

/// Enables or suspends transfer acceleration.
#[derive(Debug)]
pub struct PutBucketAccelerateConfiguration {
    name: BucketName,
}

impl Operation for GetBucketAccelerateConfiguration {
    const NAME: &'static str = "GetBucketAccelerateConfiguration";
    const ACTION: &'static str = "bucketGetAccelerate";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["accelerate"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetAccelerateConfiguration)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let mut xml = XmlWriter::document("AccelerateConfiguration", 256);
        xml.optional("Status", Some(bucket.record.accelerate.as_str()).filter(|status| !status.is_empty()));
        Ok(Document::new(xml.finish()))
    }
}

impl Operation for PutBucketAccelerateConfiguration {
    const NAME: &'static str = "PutBucketAccelerateConfiguration";
    const ACTION: &'static str = "bucketPutAccelerate";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["accelerate"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutAccelerateConfiguration)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let status = status(&document)?;
        // The names of accelerated endpoints have one label for the bucket.
        if self.name.as_str().contains('.') {
            return Err(S3Error::request(
                "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names",
            ));
        }
        cx.storage.update_bucket(&self.name, |bucket| status.clone_into(&mut bucket.accelerate)).await?;
        Ok(Plain::ok())
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
