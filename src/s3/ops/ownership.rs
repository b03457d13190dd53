//! `GetBucketOwnershipControls`, `PutBucketOwnershipControls`, `DeleteBucketOwnershipControls`.
//!
//! A bucket without controls is an old one to S3: whoever writes an object owns it (`ObjectWriter`).

use super::setting::{DeleteSetting, GetSetting, PutSetting, Removable, Settable, Setting, Verb, absent};
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
    types::{AccountId, Acl, ObjectOwnership},
};

/// Who owns what is written into a bucket.
#[derive(Debug)]
pub struct Ownership;

/// Returns who owns what is written into a bucket.
pub type GetBucketOwnershipControls = GetSetting<Ownership>;
/// Decides who owns what is written into a bucket.
pub type PutBucketOwnershipControls = PutSetting<Ownership>;
/// Leaves objects to whoever writes them.
pub type DeleteBucketOwnershipControls = DeleteSetting<Ownership>;

impl Setting for Ownership {
    const QUERY: &'static [&'static str] = &["ownershipControls"];
    const GET: Verb =
        Verb::new("GetBucketOwnershipControls", "bucketGetOwnershipControls", Action::GetBucketOwnershipControls);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        if bucket.record.ownership.is_empty() {
            return Err(absent(S3Code::OwnershipControlsNotFoundError, bucket));
        }
        let mut xml = XmlWriter::document("OwnershipControls", 256);
        xml.open("Rule").text("ObjectOwnership", &bucket.record.ownership).close();
        Ok(Document::new(xml.finish()))
    }
}

impl Settable for Ownership {
    const PUT: Verb =
        Verb::new("PutBucketOwnershipControls", "bucketPutOwnershipControls", Action::PutBucketOwnershipControls);
    const DIGEST: Digest = Digest::Required;
    type Value = ObjectOwnership;

    fn read(document: &[u8], _: &Context) -> S3Result<ObjectOwnership> {
        parse(&read::read(document)?)
    }

    fn set(ownership: &ObjectOwnership, record: &mut BucketRecord) -> S3Result<()> {
        let owner = AccountId::new(record.owner.as_str());
        let private = record.acl.as_ref().is_none_or(|acl| Acl::from(acl).is_private(&owner));
        // Lists would lose their meaning, and whoever they let in would be shut out.
        if *ownership == ObjectOwnership::BucketOwnerEnforced && !private {
            return Err(S3Code::InvalidBucketAclWithObjectOwnership.into());
        }
        ownership.as_str().clone_into(&mut record.ownership);
        Ok(())
    }
}

impl Removable for Ownership {
    const DELETE: Verb =
        Verb::new("DeleteBucketOwnershipControls", "bucketDeleteOwnershipControls", Action::PutBucketOwnershipControls);

    fn clear(record: &mut BucketRecord) {
        record.ownership.clear();
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
