//! `GetObjectRetention`, `PutObjectRetention`: retention and event hold of a version.

use http::Method;

use super::{DOCUMENT, bucket_with_lock, only_period, write_period};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        lock_headers::bypass,
        operation::{Deed, Need, ObjectRef, Operation, Pattern, Scope},
        ops::get_object::missing,
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        xml::{Element, XmlWriter, read},
    },
    storage::lock::{Lock, Mode, RetentionChange},
    types::Timestamp,
};

/// Returns the retention of a version.
#[derive(Debug)]
pub struct GetObjectRetention {
    object: ObjectRef,
}

/// Changes the retention of a version.
#[derive(Debug)]
pub struct PutObjectRetention {
    object: ObjectRef,
}

impl Operation for GetObjectRetention {
    const NAME: &'static str = "GetObjectRetention";
    const ACTION: &'static str = "objectGetRetention";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Object, &["retention"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(Action::GetObjectRetention)]
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = bucket_with_lock(&cx, &self.object).await?;
        let record = cx.version(&bucket, &self.object).await.map_err(|e| missing(&cx, e))?;
        let lock = Lock::read(&record)?;
        if !lock.has_retention() {
            return Err(S3Code::NoSuchObjectLockConfiguration.into());
        }
        let mut xml = XmlWriter::document("Retention", 512);
        xml.optional("Mode", lock.mode.map(Mode::name));
        xml.optional("RetainUntilDate", lock.until.map(Timestamp::to_iso8601).as_deref());
        xml.optional("EventHold", lock.event_hold.name());
        if let Some(duration) = lock.duration {
            xml.open("EventHoldDuration");
            write_period(&mut xml, duration);
            xml.close();
        }
        Ok(Document::new(xml.finish()))
    }
}

impl Operation for PutObjectRetention {
    const NAME: &'static str = "PutObjectRetention";
    const ACTION: &'static str = "objectPutRetention";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Object, &["retention"]);
    const DEED: Deed = Deed::SetsLock;
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(Action::PutObjectRetention)]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Required).await;
        let asked = document.and_then(|document| parse(&read::read(&document)?));
        // A policy may ask which lock is set: then only now the request is judged.
        let lock = asked
            .as_ref()
            .map_or_else(|_| Lock::default(), |asked| Lock { mode: asked.mode, until: asked.until, ..Lock::default() });
        cx.relock(lock, &self.needs()).await?;
        let bucket = bucket_with_lock(&cx, &self.object).await?;
        let asked = asked?;
        let bypass = bypass(&mut cx, &bucket, &self.object).await;
        let ObjectRef { key, version, .. } = &self.object;
        let changed = cx.storage.set_retention(&bucket, key, *version, &asked, bypass).await;
        changed.map_err(|e| missing(&cx, e))?;
        Ok(Plain::ok())
    }
}

/// Reads a `Retention`. An empty one takes retention away. Mode and date go together, but for the mode that an event
/// hold is put on or released with.
///
/// # Errors
/// `MalformedXML` for a document of another shape, `InvalidArgument` for a duration out of bounds.
pub(in crate::s3) fn parse(root: &Element<'_>) -> S3Result<RetentionChange> {
    let malformed = || S3Error::from(S3Code::MalformedXML);
    if root.name() != "Retention" {
        return Err(malformed());
    }
    root.only(&["Mode", "RetainUntilDate", "EventHold", "EventHoldDuration"])?;
    let mode = root.optional_text("Mode")?.map(|text| Mode::parse(text.trim()).ok_or_else(malformed));
    let until = root.optional_text("RetainUntilDate")?;
    let until = until.map(|text| Timestamp::parse_iso8601(text.trim()).ok_or_else(malformed)).transpose()?;
    let event_hold = match root.optional_text("EventHold")?.map(str::trim) {
        None => None,
        Some("ON") => Some(true),
        Some("OFF") => Some(false),
        Some(_) => return Err(malformed()),
    };
    let duration = root.child("EventHoldDuration")?.map(only_period).transpose()?;
    let asked = RetentionChange { mode: mode.transpose()?, until, event_hold, duration };
    let dated = match (asked.mode, asked.until) {
        (Some(_), Some(_)) | (None, None) => true,
        (Some(_), None) => event_hold.is_some(),
        (None, Some(_)) => false,
    };
    if dated { Ok(asked) } else { Err(malformed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::lock::Period;

    fn parsed(inner: &str) -> Result<RetentionChange, S3Code> {
        parse(&read::read(format!("<Retention>{inner}</Retention>").as_bytes()).unwrap()).map_err(|e| e.code)
    }

    #[test]
    fn every_element_is_read() {
        assert_eq!(parsed(""), Ok(RetentionChange::default()));
        let until = Timestamp::parse_iso8601("2030-01-01T00:00:00Z");
        let retained = RetentionChange { mode: Some(Mode::Governance), until, ..RetentionChange::default() };
        let date = "<RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate>";
        assert_eq!(parsed(&format!("<Mode>GOVERNANCE</Mode>{date}")), Ok(retained));
        let held = RetentionChange {
            event_hold: Some(true),
            duration: Some(Period::Years(2)),
            mode: Some(Mode::Compliance),
            until: None,
        };
        let put_on = "<EventHold>ON</EventHold><EventHoldDuration><Years>2</Years></EventHoldDuration>";
        assert_eq!(parsed(&format!("{put_on}<Mode>COMPLIANCE</Mode>")), Ok(held));
        assert_eq!(
            parsed("<EventHold>OFF</EventHold>"),
            Ok(RetentionChange { event_hold: Some(false), ..RetentionChange::default() })
        );
    }

    #[test]
    fn other_shapes_are_malformed() {
        for inner in [
            "<Mode>GOVERNANCE</Mode>",
            "<RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate>",
            "<Mode>abc</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate>",
            "<Mode>GOVERNANCE</Mode><RetainUntilDate>soon</RetainUntilDate>",
            "<Mode>GOVERNANCE</Mode><RetainUntilDate/>",
            "<EventHold>on</EventHold>",
            "<EventHold>ON</EventHold><EventHoldDuration/>",
            "<Retain/>",
        ] {
            assert_eq!(parsed(inner), Err(S3Code::MalformedXML), "{inner}");
        }
        let hold = "<EventHold>ON</EventHold><EventHoldDuration><Days>0</Days></EventHoldDuration>";
        assert_eq!(parsed(hold), Err(S3Code::InvalidArgument));
    }
}
