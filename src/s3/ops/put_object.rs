//! `PutObject`.

use http::{HeaderMap, HeaderName, Method, header};

use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        conditional::write_condition,
        context::Context,
        encryption::show_written,
        error::{S3Error, S3Result},
        head::Head,
        lock_headers,
        object_headers::{attributes, show_checksum},
        operation::{Need, ObjectRef, Operation, Pattern, Scope},
        ops::lifecycle::show_expiration,
        reply::{Plain, set},
        request_body::RequestBody,
    },
    storage::{
        Bucket, PutObject as Put, WriteCondition,
        records::{JournalOp, ObjectRecord},
    },
};

/// Writes an object.
#[derive(Debug)]
pub struct PutObject {
    object: ObjectRef,
    condition: WriteCondition,
    lock: Vec<Need>,
}

impl Operation for PutObject {
    const NAME: &'static str = "PutObject";
    const ACTION: &'static str = "objectPut";
    const PATTERN: Pattern = Pattern::plain(Method::PUT, Scope::Object);
    const STREAMS: bool = true;
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        if head.header("x-amz-write-offset-bytes").is_some() {
            return Err(S3Error::from(S3Code::NotImplemented).with("Header", "x-amz-write-offset-bytes"));
        }
        let object = head.object_without_version()?;
        let lock = lock_headers::needs_of_put(head, &object)?;
        Ok(Self { object, condition: write_condition(head)?, lock })
    }

    fn needs(&self) -> Vec<Need> {
        [vec![self.object.need(Action::PutObject)], self.lock.clone()].concat()
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let head = std::sync::Arc::clone(&cx.head);
        let bucket = cx.bucket(&self.object.bucket).await?;
        let attributes = attributes(&head, &cx, &bucket)?;
        let location = cx.location(&bucket)?;
        let body = body.object(&head, &cx.intake, None)?;
        cx.storage.check_condition(&bucket, &self.object.key, &self.condition).await?;
        let key = self.object.key;
        let put = Put {
            bucket: std::sync::Arc::clone(&bucket),
            key: key.clone(),
            location,
            attributes,
            condition: self.condition,
            body,
            op: JournalOp::ObjectPut,
        };
        let record = cx.storage.put_object(put).await?;
        let mut headers = written(&cx, &bucket, &record);
        show_expiration(&mut headers, &bucket, &key, &record);
        Ok(Plain { headers, ..Plain::ok() })
    }
}

/// The headers of a write's answer.
pub fn written(cx: &Context, bucket: &Bucket, record: &ObjectRecord) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::ETAG, &record.etag().quoted());
    show_checksum(&mut headers, record.checksum.as_ref());
    show_written(&mut headers, record.encryption.as_ref(), &cx.head);
    // While suspended, a write makes a null version, and its answer has no id (S3 reference).
    if bucket.is_versioned() && !record.is_null {
        set(&mut headers, HeaderName::from_static("x-amz-version-id"), &cx.version_text(record));
    }
    headers
}
