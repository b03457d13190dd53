//! `GetBucketRequestPayment`, `PutBucketRequestPayment`. Who must say that it pays is asked with every permission.

use super::setting::{GetSetting, PutSetting, Settable, Setting, Verb};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::S3Result,
        reply::Document,
        request_body::Digest,
        xml::{Element, XmlError, XmlWriter, read},
    },
    storage::{Bucket, records::BucketRecord},
};

const REQUESTER: &str = "Requester";
const OWNER: &str = "BucketOwner";

/// Who pays for requests.
#[derive(Debug)]
pub struct RequestPayment;

/// Tells who pays for requests.
pub type GetBucketRequestPayment = GetSetting<RequestPayment>;
/// Decides who pays for requests.
pub type PutBucketRequestPayment = PutSetting<RequestPayment>;

impl Setting for RequestPayment {
    const QUERY: &'static [&'static str] = &["requestPayment"];
    const GET: Verb = Verb::new("GetBucketRequestPayment", "bucketGetRequestPayment", Action::GetBucketRequestPayment);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let mut xml = XmlWriter::document("RequestPaymentConfiguration", 256);
        xml.text("Payer", if bucket.record.requester_pays { REQUESTER } else { OWNER });
        Ok(Document::new(xml.finish()))
    }
}

impl Settable for RequestPayment {
    const PUT: Verb = Verb::new("PutBucketRequestPayment", "bucketPutRequestPayment", Action::PutBucketRequestPayment);
    /// The model demands one; s3cmd sends none.
    const DIGEST: Digest = Digest::Optional;
    type Value = bool;

    fn read(document: &[u8], _: &Context) -> S3Result<bool> {
        parse(&read::read(document)?)
    }

    fn set(requester_pays: &bool, record: &mut BucketRecord) -> S3Result<()> {
        record.requester_pays = *requester_pays;
        Ok(())
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
