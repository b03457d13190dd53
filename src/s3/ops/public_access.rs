//! `GetPublicAccessBlock`, `PutPublicAccessBlock`, `DeletePublicAccessBlock`.
//!
//! What blocks new lists and policies is asked where they are set; what takes effect on those that are there is part
//! of every decision, in [`crate::auth`].

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
    storage::{
        Bucket,
        records::{BucketRecord, PublicAccessBlockRecord},
    },
};

/// What keeps a bucket from being public.
#[derive(Debug)]
pub struct PublicAccess;

/// Returns what keeps a bucket from being public.
pub type GetPublicAccessBlock = GetSetting<PublicAccess>;
/// Sets what keeps a bucket from being public.
pub type PutPublicAccessBlock = PutSetting<PublicAccess>;
/// Removes what keeps a bucket from being public.
pub type DeletePublicAccessBlock = DeleteSetting<PublicAccess>;

impl Setting for PublicAccess {
    const QUERY: &'static [&'static str] = &["publicAccessBlock"];
    const GET: Verb =
        Verb::new("GetPublicAccessBlock", "bucketGetPublicAccessBlock", Action::GetBucketPublicAccessBlock);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let block = bucket.record.public_access_block;
        let block = block.ok_or_else(|| absent(S3Code::NoSuchPublicAccessBlockConfiguration, bucket))?;
        let mut xml = XmlWriter::document("PublicAccessBlockConfiguration", 512);
        xml.value("BlockPublicAcls", block.block_public_acls)
            .value("IgnorePublicAcls", block.ignore_public_acls)
            .value("BlockPublicPolicy", block.block_public_policy)
            .value("RestrictPublicBuckets", block.restrict_public_buckets);
        Ok(Document::new(xml.finish()))
    }
}

impl Settable for PublicAccess {
    const PUT: Verb =
        Verb::new("PutPublicAccessBlock", "bucketPutPublicAccessBlock", Action::PutBucketPublicAccessBlock);
    const DIGEST: Digest = Digest::Required;
    type Value = PublicAccessBlockRecord;

    fn read(document: &[u8], _: &Context) -> S3Result<PublicAccessBlockRecord> {
        parse(&read::read(document)?)
    }

    fn set(block: &PublicAccessBlockRecord, record: &mut BucketRecord) -> S3Result<()> {
        record.public_access_block = Some(*block);
        Ok(())
    }
}

impl Removable for PublicAccess {
    const DELETE: Verb =
        Verb::new("DeletePublicAccessBlock", "bucketDeletePublicAccessBlock", Action::PutBucketPublicAccessBlock);

    fn clear(record: &mut BucketRecord) {
        record.public_access_block = None;
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
