//! `GetBucketRequestPayment`, `PutBucketRequestPayment`. Who must say that it pays is asked with every permission.

use http::Method;

use super::policy::{change, receive};
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
        xml::{Element, XmlError, XmlWriter, read},
    },
    types::BucketName,
};

/// Largest document.
const DOCUMENT: usize = 64 << 10;
const REQUESTER: &str = "Requester";
const OWNER: &str = "BucketOwner";

/// Tells who pays for requests.
#[derive(Debug)]
pub struct GetBucketRequestPayment {
    name: BucketName,
}

/// Decides who pays for requests.
#[derive(Debug)]
pub struct PutBucketRequestPayment {
    name: BucketName,
}

impl Operation for GetBucketRequestPayment {
    const NAME: &'static str = "GetBucketRequestPayment";
    const ACTION: &'static str = "bucketGetRequestPayment";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["requestPayment"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketRequestPayment)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let mut xml = XmlWriter::document("RequestPaymentConfiguration", 256);
        xml.text("Payer", if bucket.record.requester_pays { REQUESTER } else { OWNER });
        Ok(Document::new(xml.finish()))
    }
}

impl Operation for PutBucketRequestPayment {
    const NAME: &'static str = "PutBucketRequestPayment";
    const ACTION: &'static str = "bucketPutRequestPayment";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["requestPayment"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketRequestPayment)]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = receive(&mut cx, body, (DOCUMENT, Digest::Required), self.needs()).await?;
        let requester_pays = parse(&read::read(&document)?)?;
        let bucket = cx.bucket(&self.name).await?;
        change(&cx, &bucket, |record| {
            record.requester_pays = requester_pays;
            Ok(())
        })
        .await?;
        Ok(Plain::ok())
    }
}

pub(in crate::s3) fn parse(root: &Element<'_>) -> S3Result<bool> {
    if root.name() != "RequestPaymentConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["Payer"])?;
    match root.required_text("Payer")?.trim() {
        REQUESTER => Ok(true),
        OWNER => Ok(false),
        _ => Err(XmlError::Invalid("Payer").into()),
    }
}
