//! Quotas of buckets (the original's extension, `?quota`): most bytes, and of our own most objects.
//!
//! | form | document |
//! |---|---|
//! | JSON | `{"quota": bytes, "objects": number}` |
//! | XML | `<quota>bytes</quota>`, or the document that GET answers |

use http::Method;
use serde::Deserialize;

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
    types::BucketName,
};

/// Largest document.
const DOCUMENT: usize = 64 << 10;

/// Returns the limits of a bucket.
#[derive(Debug)]
pub struct GetBucketQuota {
    name: BucketName,
}

/// Sets the limits of a bucket.
#[derive(Debug)]
pub struct UpdateBucketQuota {
    name: BucketName,
}

/// Removes the limits of a bucket.
#[derive(Debug)]
pub struct DeleteBucketQuota {
    name: BucketName,
}

/// Limits; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::s3) struct Limits {
    pub(in crate::s3) bytes: u64,
    pub(in crate::s3) objects: u64,
}

/// The form of JSON documents.
#[derive(Debug, Deserialize)]
struct Json {
    quota: Option<serde_json::Value>,
    objects: Option<serde_json::Value>,
}

impl Operation for GetBucketQuota {
    const NAME: &'static str = "GetBucketQuota";
    const ACTION: &'static str = "bucketGetQuota";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["quota"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketQuota)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let (bytes, objects) = (bucket.record.quota_bytes, bucket.record.quota_objects);
        if bytes == 0 && objects == 0 {
            return Err(S3Error::from(S3Code::NoSuchQuota).with("BucketName", self.name.as_str()));
        }
        let mut xml = XmlWriter::bare("GetBucketQuota", &[], 256);
        xml.text("Name", self.name.as_str());
        for (name, limit) in [("Quota", bytes), ("Objects", objects)] {
            if limit > 0 {
                xml.value(name, limit);
            }
        }
        Ok(Document::new(xml.finish()))
    }
}

impl Operation for UpdateBucketQuota {
    const NAME: &'static str = "UpdateBucketQuota";
    const ACTION: &'static str = "bucketUpdateQuota";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["quota"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::UpdateBucketQuota)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let limits = parse(&document)?;
        let set = |record: &mut crate::storage::records::BucketRecord| {
            record.quota_bytes = limits.bytes;
            record.quota_objects = limits.objects;
        };
        cx.storage.update_bucket(&self.name, set).await?;
        Ok(Plain::ok())
    }
}

impl Operation for DeleteBucketQuota {
    const NAME: &'static str = "DeleteBucketQuota";
    const ACTION: &'static str = "bucketDeleteQuota";
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Bucket, &["quota"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::DeleteBucketQuota)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        let clear = |record: &mut crate::storage::records::BucketRecord| {
            record.quota_bytes = 0;
            record.quota_objects = 0;
        };
        cx.storage.update_bucket(&self.name, clear).await?;
        Ok(Plain::no_content())
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
