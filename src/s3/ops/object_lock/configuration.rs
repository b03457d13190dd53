//! `GetObjectLockConfiguration`, `PutObjectLockConfiguration`.

use bytes::Bytes;
use http::Method;

use super::{DOCUMENT, only_period, period, write_period};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Need, Operation, Pattern, Scope},
        ops::setting::{GetSetting, Setting, Verb, absent},
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        xml::{Element, XmlWriter, read},
    },
    storage::{
        Bucket, StorageError, StorageResult,
        lock::{Mode, Period},
        records::ObjectLockRecord,
    },
    types::{BucketName, Dialect},
};

/// The object lock configuration of a bucket.
#[derive(Debug)]
pub struct ObjectLock;

/// Returns the object lock configuration of a bucket.
pub type GetObjectLockConfiguration = GetSetting<ObjectLock>;

/// Enables object lock in a bucket, or replaces what new versions are given. It is never disabled. No
/// [`crate::s3::ops::setting::PutSetting`]: the bucket changes by rules of its storage.
#[derive(Debug)]
pub struct PutObjectLockConfiguration {
    name: BucketName,
}

impl Setting for ObjectLock {
    const QUERY: &'static [&'static str] = &["object-lock"];
    const GET: Verb =
        Verb::new("GetObjectLockConfiguration", "bucketGetObjectLock", Action::GetBucketObjectLockConfiguration);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let record = bucket.record.object_lock.as_ref();
        Ok(Document::new(write(record.ok_or_else(|| absent(S3Code::ObjectLockConfigurationNotFoundError, bucket))?)?))
    }
}

impl Operation for PutObjectLockConfiguration {
    const NAME: &'static str = "PutObjectLockConfiguration";
    const ACTION: &'static str = "bucketPutObjectLock";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["object-lock"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketObjectLockConfiguration)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Required).await?;
        let record = parse(&read::read(&document)?, cx.head.dialect)?;
        cx.storage.set_object_lock(&self.name, record).await?;
        Ok(Plain::ok())
    }
}

/// Reads an `ObjectLockConfiguration`.
///
/// # Errors
/// `MalformedXML` for a document of another shape, `InvalidArgument` for a period out of bounds.
pub(in crate::s3) fn parse(root: &Element<'_>, dialect: Dialect) -> S3Result<ObjectLockRecord> {
    let malformed = || S3Error::from(S3Code::MalformedXML);
    if root.name() != "ObjectLockConfiguration" {
        return Err(malformed());
    }
    root.only(&["ObjectLockEnabled", "Rule"])?;
    if root.required_text("ObjectLockEnabled")?.trim() != "Enabled" {
        return Err(malformed());
    }
    let Some(rule) = root.child("Rule")? else { return Ok(ObjectLockRecord::default()) };
    rule.only(&["DefaultRetention"])?;
    let default = rule.required("DefaultRetention")?;
    default.only(&["Mode", "Days", "Years", "DefaultEventHold"])?;
    let mode = match default.optional_text("Mode")? {
        None => None,
        Some(text) => Some(Mode::parse(text.trim()).ok_or_else(malformed)?),
    };
    // A period out of bounds is a wrong argument to AWS; Ceph has a code for it.
    let period = period(default, dialect.pick(S3Code::InvalidArgument, S3Code::InvalidRetentionPeriod))?;
    let event_hold = default.child("DefaultEventHold")?.map(only_period).transpose()?;
    if mode.is_some() != period.is_some() || mode.is_none() && event_hold.is_none() {
        return Err(malformed());
    }
    Ok(ObjectLockRecord {
        mode: mode.map_or(0, Mode::number),
        period: period.map(Period::record),
        event_hold: event_hold.map(Period::record),
    })
}

pub(in crate::s3) fn write(record: &ObjectLockRecord) -> StorageResult<Bytes> {
    let mut xml = XmlWriter::document("ObjectLockConfiguration", 512);
    xml.text("ObjectLockEnabled", "Enabled");
    if *record != ObjectLockRecord::default() {
        xml.open("Rule").open("DefaultRetention");
        if let Some(period) = &record.period {
            let mode = [Mode::Governance, Mode::Compliance].into_iter().find(|mode| mode.number() == record.mode);
            let mode = mode.ok_or(StorageError::Broken("a default retention has a mode"))?;
            xml.text("Mode", mode.name());
            write_period(&mut xml, Period::read(period)?);
        }
        if let Some(hold) = &record.event_hold {
            xml.open("DefaultEventHold");
            write_period(&mut xml, Period::read(hold)?);
            xml.close();
        }
        xml.close().close();
    }
    Ok(xml.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(inner: &str) -> Result<ObjectLockRecord, S3Code> {
        let document = format!("<ObjectLockConfiguration>{inner}</ObjectLockConfiguration>");
        parse(&read::read(document.as_bytes()).unwrap(), Dialect::Aws).map_err(|e| e.code)
    }

    fn with_default(inner: &str) -> Result<ObjectLockRecord, S3Code> {
        let rule = format!("<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>");
        parsed(&format!("<ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}"))
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for inner in [
            "<Mode>GOVERNANCE</Mode><Days>36500</Days>",
            "<Mode>COMPLIANCE</Mode><Years>100</Years>",
            "<DefaultEventHold><Years>7</Years></DefaultEventHold>",
            "<Mode>COMPLIANCE</Mode><Days>1</Days><DefaultEventHold><Days>2</Days></DefaultEventHold>",
        ] {
            let record = with_default(inner).unwrap();
            assert_eq!(parse(&read::read(&write(&record).unwrap()).unwrap(), Dialect::Aws).unwrap(), record, "{inner}");
        }
        let plain = parsed("<ObjectLockEnabled>Enabled</ObjectLockEnabled>").unwrap();
        assert_eq!(plain, ObjectLockRecord::default());
        assert_eq!(parse(&read::read(&write(&plain).unwrap()).unwrap(), Dialect::Aws).unwrap(), plain);
    }

    #[test]
    fn other_shapes_are_malformed() {
        for inner in [
            "",
            "<ObjectLockEnabled>Disabled</ObjectLockEnabled>",
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule/>",
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rules/>",
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention/></Rule>",
        ] {
            assert_eq!(parsed(inner), Err(S3Code::MalformedXML), "{inner}");
        }
        for inner in [
            "<Mode>GOVERNANCE</Mode>",
            "<Days>1</Days>",
            "<Mode>governance</Mode><Days>1</Days>",
            "<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>",
            "<Mode>GOVERNANCE</Mode><Days>one</Days>",
            "<Mode>GOVERNANCE</Mode><Day>1</Day>",
            "<Mode>GOVERNANCE</Mode><DefaultEventHold><Days>1</Days></DefaultEventHold>",
            "<DefaultEventHold/>",
            "<DefaultEventHold><Days>1</Days><Years>1</Years></DefaultEventHold>",
        ] {
            assert_eq!(with_default(inner), Err(S3Code::MalformedXML), "{inner}");
        }
    }

    #[test]
    fn periods_have_bounds() {
        for period in
            ["<Days>0</Days>", "<Days>-1</Days>", "<Days>36501</Days>", "<Years>0</Years>", "<Years>101</Years>"]
        {
            assert_eq!(
                with_default(&format!("<Mode>COMPLIANCE</Mode>{period}")),
                Err(S3Code::InvalidArgument),
                "{period}"
            );
            let hold = format!("<DefaultEventHold>{period}</DefaultEventHold>");
            assert_eq!(with_default(&hold), Err(S3Code::InvalidArgument), "{hold}");
        }
    }
}
