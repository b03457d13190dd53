//! `GetPublicAccessBlock`, `PutPublicAccessBlock`, `DeletePublicAccessBlock`.
//!
//! What blocks new lists and policies is asked where they are set; what takes effect on those that are there is part
//! of every decision, in [`crate::auth`].

use http::Method;

use super::policy::{change, receive};
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
        xml::{Element, XmlError, XmlWriter, read},
    },
    storage::records::PublicAccessBlockRecord,
    types::BucketName,
};

/// Largest document.
const DOCUMENT: usize = 64 << 10;

/// Returns what keeps a bucket from being public.
#[derive(Debug)]
pub struct GetPublicAccessBlock {
    name: BucketName,
}

/// Sets what keeps a bucket from being public.
#[derive(Debug)]
pub struct PutPublicAccessBlock {
    name: BucketName,
}

/// Removes what keeps a bucket from being public.
#[derive(Debug)]
pub struct DeletePublicAccessBlock {
    name: BucketName,
}

impl Operation for GetPublicAccessBlock {
    const NAME: &'static str = "GetPublicAccessBlock";
    const ACTION: &'static str = "bucketGetPublicAccessBlock";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["publicAccessBlock"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketPublicAccessBlock)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let block = bucket.record.public_access_block.ok_or_else(|| {
            S3Error::from(S3Code::NoSuchPublicAccessBlockConfiguration).with("BucketName", self.name.as_str())
        })?;
        let mut xml = XmlWriter::document("PublicAccessBlockConfiguration", 512);
        xml.value("BlockPublicAcls", block.block_public_acls)
            .value("IgnorePublicAcls", block.ignore_public_acls)
            .value("BlockPublicPolicy", block.block_public_policy)
            .value("RestrictPublicBuckets", block.restrict_public_buckets);
        Ok(Document::new(xml.finish()))
    }
}

impl Operation for PutPublicAccessBlock {
    const NAME: &'static str = "PutPublicAccessBlock";
    const ACTION: &'static str = "bucketPutPublicAccessBlock";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["publicAccessBlock"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketPublicAccessBlock)]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = receive(&mut cx, body, (DOCUMENT, Digest::Required), self.needs()).await?;
        let block = parse(&read::read(&document)?)?;
        let bucket = cx.bucket(&self.name).await?;
        change(&cx, &bucket, |record| {
            record.public_access_block = Some(block);
            Ok(())
        })
        .await?;
        Ok(Plain::ok())
    }
}

impl Operation for DeletePublicAccessBlock {
    const NAME: &'static str = "DeletePublicAccessBlock";
    const ACTION: &'static str = "bucketDeletePublicAccessBlock";
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Bucket, &["publicAccessBlock"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketPublicAccessBlock)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        let bucket = cx.bucket(&self.name).await?;
        change(&cx, &bucket, |record| {
            record.public_access_block = None;
            Ok(())
        })
        .await?;
        Ok(Plain::no_content())
    }
}

/// Reads a `PublicAccessBlockConfiguration`; what it does not mention is off.
pub(in crate::s3) fn parse(root: &Element<'_>) -> S3Result<PublicAccessBlockRecord> {
    if root.name() != "PublicAccessBlockConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"])?;
    let switch = |name| match root.optional_text(name)?.map(str::trim) {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(XmlError::Invalid(name)),
    };
    Ok(PublicAccessBlockRecord {
        block_public_acls: switch("BlockPublicAcls")?,
        ignore_public_acls: switch("IgnorePublicAcls")?,
        block_public_policy: switch("BlockPublicPolicy")?,
        restrict_public_buckets: switch("RestrictPublicBuckets")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(inside: &str) -> Result<PublicAccessBlockRecord, S3Code> {
        let document = format!("<PublicAccessBlockConfiguration>{inside}</PublicAccessBlockConfiguration>");
        parse(&read::read(document.as_bytes()).unwrap()).map_err(|e| e.code)
    }

    #[test]
    fn each_switch_is_its_own_and_off_unless_said() {
        let off = PublicAccessBlockRecord::default();
        assert_eq!(parsed(""), Ok(off));
        assert_eq!(
            parsed("<IgnorePublicAcls>TRUE</IgnorePublicAcls><BlockPublicAcls>false</BlockPublicAcls>"),
            Ok(PublicAccessBlockRecord { ignore_public_acls: true, ..off })
        );
        assert_eq!(
            parsed("<RestrictPublicBuckets>true</RestrictPublicBuckets>"),
            Ok(PublicAccessBlockRecord { restrict_public_buckets: true, ..off })
        );
    }

    #[test]
    fn a_switch_that_cannot_be_read_is_refused() {
        for inside in [
            "<BlockPublicAcls>yes</BlockPublicAcls>",
            "<BlockPublicAcls/>",
            "<BlockPublicAcl>true</BlockPublicAcl>",
            "<BlockPublicAcls>true</BlockPublicAcls><BlockPublicAcls>false</BlockPublicAcls>",
        ] {
            assert_eq!(parsed(inside), Err(S3Code::MalformedXML), "{inside}");
        }
    }
}
