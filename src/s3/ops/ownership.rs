//! `GetBucketOwnershipControls`, `PutBucketOwnershipControls`, `DeleteBucketOwnershipControls`.
//!
//! A bucket without controls is an old one to S3: whoever writes an object owns it (`ObjectWriter`).

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
    types::{AccountId, Acl, BucketName, ObjectOwnership},
};

/// Largest document.
const DOCUMENT: usize = 64 << 10;

/// Returns who owns what is written into a bucket.
#[derive(Debug)]
pub struct GetBucketOwnershipControls {
    name: BucketName,
}

/// Decides who owns what is written into a bucket.
#[derive(Debug)]
pub struct PutBucketOwnershipControls {
    name: BucketName,
}

/// Leaves objects to whoever writes them.
#[derive(Debug)]
pub struct DeleteBucketOwnershipControls {
    name: BucketName,
}

impl Operation for GetBucketOwnershipControls {
    const NAME: &'static str = "GetBucketOwnershipControls";
    const ACTION: &'static str = "bucketGetOwnershipControls";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["ownershipControls"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketOwnershipControls)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        if bucket.record.ownership.is_empty() {
            return Err(S3Error::from(S3Code::OwnershipControlsNotFoundError).with("BucketName", self.name.as_str()));
        }
        let mut xml = XmlWriter::document("OwnershipControls", 256);
        xml.open("Rule").text("ObjectOwnership", &bucket.record.ownership).close();
        Ok(Document::new(xml.finish()))
    }
}

impl Operation for PutBucketOwnershipControls {
    const NAME: &'static str = "PutBucketOwnershipControls";
    const ACTION: &'static str = "bucketPutOwnershipControls";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["ownershipControls"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketOwnershipControls)]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = receive(&mut cx, body, (DOCUMENT, Digest::Required), self.needs()).await?;
        let ownership = parse(&read::read(&document)?)?;
        let bucket = cx.bucket(&self.name).await?;
        change(&cx, &bucket, |record| {
            let owner = AccountId::new(record.owner.as_str());
            let private = record.acl.as_ref().is_none_or(|acl| Acl::from(acl).is_private(&owner));
            // Lists would lose their meaning, and whoever they let in would be shut out.
            if ownership == ObjectOwnership::BucketOwnerEnforced && !private {
                return Err(S3Code::InvalidBucketAclWithObjectOwnership);
            }
            ownership.as_str().clone_into(&mut record.ownership);
            Ok(())
        })
        .await?;
        Ok(Plain::ok())
    }
}

impl Operation for DeleteBucketOwnershipControls {
    const NAME: &'static str = "DeleteBucketOwnershipControls";
    const ACTION: &'static str = "bucketDeleteOwnershipControls";
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Bucket, &["ownershipControls"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketOwnershipControls)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        let bucket = cx.bucket(&self.name).await?;
        change(&cx, &bucket, |record| {
            record.ownership.clear();
            Ok(())
        })
        .await?;
        Ok(Plain::no_content())
    }
}

/// Reads `OwnershipControls`: one rule, always.
pub(in crate::s3) fn parse(root: &Element<'_>) -> S3Result<ObjectOwnership> {
    if root.name() != "OwnershipControls" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["Rule"])?;
    let rule = root.required("Rule")?;
    rule.only(&["ObjectOwnership"])?;
    let text = rule.required_text("ObjectOwnership")?.trim();
    ObjectOwnership::parse(text).ok_or_else(|| XmlError::Invalid("ObjectOwnership").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_rule_with_one_of_three_values() {
        let parsed = |inside: &str| {
            let document = format!("<OwnershipControls>{inside}</OwnershipControls>");
            parse(&read::read(document.as_bytes()).unwrap()).map_err(|e| e.code)
        };
        let rule = |text: &str| format!("<Rule><ObjectOwnership>{text}</ObjectOwnership></Rule>");
        assert_eq!(parsed(&rule("BucketOwnerEnforced")), Ok(ObjectOwnership::BucketOwnerEnforced));
        assert_eq!(parsed(&rule("BucketOwnerPreferred")), Ok(ObjectOwnership::BucketOwnerPreferred));
        assert_eq!(parsed(&rule("ObjectWriter")), Ok(ObjectOwnership::ObjectWriter));
        for bad in [String::new(), rule(""), rule("Nobody"), rule("ObjectWriter").repeat(2), "<Rule/>".to_owned()] {
            assert_eq!(parsed(&bad), Err(S3Code::MalformedXML), "{bad}");
        }
    }
}
