//! `GetBucketVersioning`, `PutBucketVersioning`.

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
        xml::{read, write::XmlWriter},
    },
    storage::{
        StorageError,
        records::{BucketRecord, Versioning},
    },
    types::BucketName,
};

/// Largest document.
const DOCUMENT: usize = 64 << 10;

/// Returns a bucket's state of versioning.
#[derive(Debug)]
pub struct GetBucketVersioning {
    name: BucketName,
}

impl Operation for GetBucketVersioning {
    const NAME: &'static str = "GetBucketVersioning";
    const ACTION: &'static str = "bucketGetVersioning";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["versioning"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketVersioning)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let mut xml = XmlWriter::document("VersioningConfiguration", 256);
        match bucket.versioning() {
            Versioning::Unversioned => {}
            Versioning::Enabled => {
                xml.text("Status", "Enabled");
            }
            Versioning::Suspended => {
                xml.text("Status", "Suspended");
            }
        }
        Ok(Document::new(xml.finish()))
    }
}

/// Enables or suspends versioning.
#[derive(Debug)]
pub struct PutBucketVersioning {
    name: BucketName,
}

impl Operation for PutBucketVersioning {
    const NAME: &'static str = "PutBucketVersioning";
    const ACTION: &'static str = "bucketPutVersioning";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["versioning"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketVersioning)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        // botocore sends a digest; the original never asked for one, and its clients need none.
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let state = parse_state(&document)?;
        let change = |record: &mut BucketRecord| {
            if state == Versioning::Suspended && record.replication.is_some() {
                return Err(StorageError::VersioningNeeded);
            }
            record.set_state(state);
            Ok(())
        };
        cx.storage.try_update_bucket(&self.name, change).await?;
        Ok(Plain::ok())
    }
}

pub(in crate::s3) fn parse_state(document: &[u8]) -> S3Result<Versioning> {
    let root = read::read(document)?;
    if root.name() != "VersioningConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    // Some servers exclude prefixes from versioning; whoever asks for that must not get a bucket that keeps all.
    root.only(&["Status", "MfaDelete"])?;
    if root.optional_text("MfaDelete")?.is_some_and(|text| text.trim() == "Enabled") {
        return Err(S3Error::from(S3Code::NotImplemented).with("Element", "MfaDelete"));
    }
    match root.optional_text("Status")?.map(str::trim) {
        Some("Enabled") => Ok(Versioning::Enabled),
        Some("Suspended") => Ok(Versioning::Suspended),
        Some(_) => Err(S3Code::MalformedXML.into()),
        None => Err(S3Code::IllegalVersioningConfigurationException.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_asks_for_more_than_a_state_is_refused() {
        let parsed = |inner: &str| {
            let document = format!("<VersioningConfiguration>{inner}</VersioningConfiguration>");
            parse_state(document.as_bytes()).map_err(|e| e.code)
        };
        assert_eq!(parsed("<Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>"), Ok(Versioning::Enabled));
        assert_eq!(parsed("<Status>Suspended</Status>"), Ok(Versioning::Suspended));
        assert_eq!(parsed(""), Err(S3Code::IllegalVersioningConfigurationException));
        assert_eq!(parsed("<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>"), Err(S3Code::NotImplemented));
        for more in [
            "<ExcludeFolders>true</ExcludeFolders>",
            "<ExcludeFolders>false</ExcludeFolders>",
            "<ExcludedPrefixes><Prefix>tmp/</Prefix></ExcludedPrefixes>",
            "<Status>Suspended</Status>",
            "<Other/>",
        ] {
            assert_eq!(parsed(&format!("<Status>Enabled</Status>{more}")), Err(S3Code::MalformedXML), "{more}");
        }
    }
}
