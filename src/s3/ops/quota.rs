//! Quotas of buckets (the original's extension, `?quota`): most bytes, and of our own most objects.
//!
//! | form | document |
//! |---|---|
//! | JSON | `{"quota": bytes, "objects": number}` |
//! | XML | `<quota>bytes</quota>`, or the document that GET answers |

use serde::Deserialize;

use super::setting::{DeleteSetting, GetSetting, PutSetting, Removable, Settable, Setting, Verb, absent};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        reply::Document,
        request_body::Digest,
        xml::{read, write::XmlWriter},
    },
    storage::{Bucket, records::BucketRecord},
};

/// The limits of a bucket.
#[derive(Debug)]
pub struct Quota;

/// Returns the limits of a bucket.
pub type GetBucketQuota = GetSetting<Quota>;
/// Sets the limits of a bucket.
pub type UpdateBucketQuota = PutSetting<Quota>;
/// Removes the limits of a bucket.
pub type DeleteBucketQuota = DeleteSetting<Quota>;

/// Limits; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub(in crate::s3) bytes: u64,
    pub(in crate::s3) objects: u64,
}

/// The form of JSON documents.
#[derive(Debug, Deserialize)]
struct Json {
    quota: Option<serde_json::Value>,
    objects: Option<serde_json::Value>,
}

impl Setting for Quota {
    const QUERY: &'static [&'static str] = &["quota"];
    const GET: Verb = Verb::new("GetBucketQuota", "bucketGetQuota", Action::GetBucketQuota);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let (bytes, objects) = (bucket.record.quota_bytes, bucket.record.quota_objects);
        if bytes == 0 && objects == 0 {
            return Err(absent(S3Code::NoSuchQuota, bucket));
        }
        let mut xml = XmlWriter::bare("GetBucketQuota", &[], 256);
        xml.text("Name", bucket.name.as_str());
        for (name, limit) in [("Quota", bytes), ("Objects", objects)] {
            if limit > 0 {
                xml.value(name, limit);
            }
        }
        Ok(Document::new(xml.finish()))
    }
}

impl Settable for Quota {
    const PUT: Verb = Verb::new("UpdateBucketQuota", "bucketUpdateQuota", Action::UpdateBucketQuota);
    /// S3 has no such operation, and the original asks for none.
    const DIGEST: Digest = Digest::Optional;
    type Value = Limits;

    fn read(document: &[u8], _: &Context) -> S3Result<Limits> {
        parse(document)
    }

    fn set(limits: &Limits, record: &mut BucketRecord) -> S3Result<()> {
        record.quota_bytes = limits.bytes;
        record.quota_objects = limits.objects;
        Ok(())
    }
}

impl Removable for Quota {
    const DELETE: Verb = Verb::new("DeleteBucketQuota", "bucketDeleteQuota", Action::DeleteBucketQuota);

    fn clear(record: &mut BucketRecord) {
        record.quota_bytes = 0;
        record.quota_objects = 0;
    }
}

fn no_number() -> S3Error {
    S3Error::new(S3Code::InvalidArgument, "Quota Value should be a number")
}

/// Reads either form. What a document does not name has no limit.
pub(in crate::s3) fn parse(document: &[u8]) -> S3Result<Limits> {
    let (bytes, objects) = if document.trim_ascii_start().starts_with(b"{") {
        let json: Json = serde_json::from_slice(document).map_err(|e| no_number().because(e))?;
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        (json.quota.map(text), json.objects.map(text))
    } else {
        let root = read::read(document)?;
        match root.name() {
            "quota" | "Quota" => (Some(root.text().to_owned()), None),
            "GetBucketQuota" => {
                (root.optional_text("Quota")?.map(str::to_owned), root.optional_text("Objects")?.map(str::to_owned))
            }
            _ => return Err(S3Code::MalformedXML.into()),
        }
    };
    if bytes.is_none() && objects.is_none() {
        return Err(no_number());
    }
    Ok(Limits { bytes: limit(bytes.as_deref())?, objects: limit(objects.as_deref())? })
}

/// A limit: a positive number of 63 bits.
fn limit(text: Option<&str>) -> S3Result<u64> {
    let Some(text) = text.map(str::trim) else { return Ok(0) };
    match text.parse::<i64>() {
        Ok(number @ 1..) => u64::try_from(number).map_err(|e| no_number().because(e)),
        Ok(_) => Err(S3Error::new(S3Code::InvalidArgument, "Quota value must be a positive number")),
        Err(e) => Err(no_number().because(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_nothing_else() {
        let read = |text: &str| parse(text.as_bytes()).map(|Limits { bytes, objects }| (bytes, objects));
        assert_eq!(read(r#"{"quota": 1000}"#).unwrap(), (1000, 0));
        assert_eq!(read(r#" {"quota": "7", "objects": 2}"#).unwrap(), (7, 2));
        assert_eq!(read(r#"{"objects": 2}"#).unwrap(), (0, 2));
        assert_eq!(read("<quota> 55 </quota>").unwrap(), (55, 0));
        let answered = "<GetBucketQuota><Name>b</Name><Quota>5</Quota><Objects>6</Objects></GetBucketQuota>";
        assert_eq!(read(answered).unwrap(), (5, 6));
        for bad in [
            "{}",
            r#"{"quota":"x"}"#,
            r#"{"quota":0}"#,
            r#"{"quota":-1}"#,
            r#"{"quota":1.5}"#,
            r#"{"quota":null}"#,
            r#"{"quota":[1]}"#,
            r#"{"quota":9223372036854775808}"#,
            "{",
            "<quota/>",
            "<quota>-3</quota>",
            "<quota>1e3</quota>",
            "<GetBucketQuota/>",
        ] {
            assert_eq!(read(bad).unwrap_err().code, S3Code::InvalidArgument, "{bad}");
        }
        for bad in ["<limit>1</limit>", "5", "<quota>1"] {
            assert_eq!(read(bad).unwrap_err().code, S3Code::MalformedXML, "{bad}");
        }
    }
}
