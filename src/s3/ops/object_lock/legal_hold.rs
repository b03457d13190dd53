//! `GetObjectLegalHold`, `PutObjectLegalHold`.

use http::Method;

use super::{DOCUMENT, bucket_with_lock};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Deed, Need, ObjectRef, Operation, Pattern, Scope},
        ops::get_object::missing,
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        xml::{Element, XmlWriter, read},
    },
    storage::lock::{Hold, Lock},
};

/// Returns the legal hold of a version.
#[derive(Debug)]
pub struct GetObjectLegalHold {
    object: ObjectRef,
}

/// Puts the legal hold of a version on or off.
#[derive(Debug)]
pub struct PutObjectLegalHold {
    object: ObjectRef,
}

impl Operation for GetObjectLegalHold {
    const NAME: &'static str = "GetObjectLegalHold";
    const ACTION: &'static str = "objectGetLegalHold";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Object, &["legal-hold"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(Action::GetObjectLegalHold)]
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = bucket_with_lock(&cx, &self.object).await?;
        let record = cx.version(&bucket, &self.object).await.map_err(|e| missing(&cx, e))?;
        let status = Lock::read(&record)?.legal_hold.name();
        let status = status.ok_or_else(|| S3Error::from(S3Code::NoSuchObjectLockConfiguration))?;
        let mut xml = XmlWriter::document("LegalHold", 256);
        xml.text("Status", status);
        Ok(Document::new(xml.finish()))
    }
}

impl Operation for PutObjectLegalHold {
    const NAME: &'static str = "PutObjectLegalHold";
    const ACTION: &'static str = "objectPutLegalHold";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Object, &["legal-hold"]);
    const DEED: Deed = Deed::SetsLock;
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(Action::PutObjectLegalHold)]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Required).await;
        let hold = document.and_then(|document| parse(&read::read(&document)?));
        // A policy may ask which hold is set: then only now the request is judged.
        let lock = Lock { legal_hold: hold.as_ref().copied().unwrap_or_default(), ..Lock::default() };
        cx.relock(lock, &self.needs()).await?;
        let bucket = bucket_with_lock(&cx, &self.object).await?;
        let hold = hold?;
        let ObjectRef { key, version, .. } = &self.object;
        let changed = cx.storage.set_legal_hold(&bucket, key, *version, hold).await;
        changed.map_err(|e| missing(&cx, e))?;
        Ok(Plain::ok())
    }
}

pub(in crate::s3) fn parse(root: &Element<'_>) -> S3Result<Hold> {
    let malformed = || S3Error::from(S3Code::MalformedXML);
    if root.name() != "LegalHold" {
        return Err(malformed());
    }
    root.only(&["Status"])?;
    match root.required_text("Status")?.trim() {
        "ON" => Ok(Hold::On),
        "OFF" => Ok(Hold::Off),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_on_or_off() {
        let parsed = |document: &str| parse(&read::read(document.as_bytes()).unwrap()).map_err(|e| e.code);
        assert_eq!(parsed("<LegalHold><Status>ON</Status></LegalHold>"), Ok(Hold::On));
        assert_eq!(parsed("<LegalHold><Status>OFF</Status></LegalHold>"), Ok(Hold::Off));
        for bad in [
            "<LegalHold/>",
            "<LegalHold><Status>on</Status></LegalHold>",
            "<LegalHold><Status/></LegalHold>",
            "<LegalHold><Status>ON</Status><Status>OFF</Status></LegalHold>",
            "<LegalHold><Status>ON</Status><Until/></LegalHold>",
            "<Hold><Status>ON</Status></Hold>",
        ] {
            assert_eq!(parsed(bad), Err(S3Code::MalformedXML), "{bad}");
        }
    }
}
