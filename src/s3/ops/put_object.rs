//! `PutObject`.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::{
    auth::Action,
    location::Location,
    s3::{
        authorize::write_needs,
        codes::S3Code,
        conditional::write_condition,
        context::Context,
        encryption::show_written,
        error::S3Result,
        head::{Head, parse_number},
        lock_headers,
        object_headers::{attributes, refuse_words, show_checksum},
        operation::{Need, ObjectRef, Operation, Pattern, Scope},
        ops::lifecycle::show_expiration,
        read_through,
        reply::{Plain, set},
        request_body::RequestBody,
    },
    storage::{
        Append, Attributes, Bucket, PutObject as Put, StorageError, WriteCondition,
        records::{ChecksumRecord, JournalOp, ObjectRecord},
    },
};

/// The header that makes a write an append (S3 user guide, "Appending data to objects").
const OFFSET: &str = "x-amz-write-offset-bytes";

/// Writes an object, or appends to one.
#[derive(Debug)]
pub struct PutObject {
    object: ObjectRef,
    condition: WriteCondition,
    needs: Vec<Need>,
    /// Where an append begins.
    offset: Option<u64>,
}

impl Operation for PutObject {
    const NAME: &'static str = "PutObject";
    const ACTION: &'static str = "objectPut";
    const PATTERN: Pattern = Pattern::plain(Method::PUT, Scope::Object);
    const STREAMS: bool = true;
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        let offset = match head.header(OFFSET) {
            None => None,
            Some(text) => Some(parse_number(OFFSET, text)?),
        };
        let object = head.object_without_version()?;
        let mut needs = write_needs(&object, head);
        needs.extend(lock_headers::needs_of_put(head, &object)?);
        // An append tells what is there: its size, and a checksum of the whole.
        if offset.is_some_and(|offset| offset > 0) {
            needs.push(object.need(Action::GetObject));
            refuse_ignored(head)?;
        }
        Ok(Self { needs, condition: write_condition(head)?, object, offset })
    }

    fn needs(&self) -> Vec<Need> {
        self.needs.clone()
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let head = Arc::clone(&cx.head);
        let bucket = cx.bucket(&self.object.bucket).await?;
        let attributes = attributes(&head, &cx, &bucket)?;
        let location = cx.location(&bucket, &attributes.metadata)?;
        if let Some(offset) = self.offset {
            let object = self.object.clone();
            return match self.append(&cx, offset, (bucket, location, attributes), body).await {
                // Who may only write is not told how much is there.
                Err(e) if e.code == S3Code::InvalidWriteOffset && !may_read(&mut cx, &object).await => {
                    Err(S3Code::InvalidWriteOffset.into())
                }
                other => other,
            };
        }
        let body = body.object(&head, &cx.intake, None)?;
        let condition = read_through::write_condition(&cx, &bucket, &self.object, self.condition).await?;
        cx.storage.check_condition(&bucket, &self.object.key, &condition).await?;
        let key = self.object.key;
        let put = Put {
            bucket: Arc::clone(&bucket),
            key: key.clone(),
            location,
            attributes,
            condition,
            body,
            op: JournalOp::ObjectPut,
        };
        let record = cx.storage.put_object(put).await?;
        let mut headers = written(&cx, &bucket, &record);
        show_expiration(&mut headers, &bucket, &key, &record);
        Ok(Plain { headers, ..Plain::ok() })
    }
}

impl PutObject {
    /// Appends. What can be refused before the body is read is: the commit looks again.
    async fn append(
        self,
        cx: &Context,
        offset: u64,
        (bucket, location, attributes): (Arc<Bucket>, Arc<Location>, Attributes),
        body: RequestBody,
    ) -> S3Result<Plain> {
        if bucket.is_versioned() {
            return Err(StorageError::Versioned.into());
        }
        let current = match cx.storage.version(&bucket, &self.object.key, None).await {
            Ok(record) => Some(record),
            Err(StorageError::NoSuchKey(_)) => {
                self.check_elsewhere(cx, &bucket, offset).await?;
                None
            }
            Err(e) => return Err(e.into()),
        };
        cx.storage.check_condition(&bucket, &self.object.key, &self.condition).await?;
        if current.is_some() {
            refuse_ignored(&cx.head)?;
        }
        let size = current.as_ref().map_or(0, |record| record.size);
        if size != offset {
            return Err(StorageError::WriteOffset { offset, size }.into());
        }
        // A checksum that can go on is computed over what comes, whether or not the client sends one.
        let algorithm =
            current.as_ref().and_then(|record| record.checksum.as_ref()).and_then(ChecksumRecord::algorithm);
        let append = Append {
            body: body.object(&cx.head, &cx.intake, algorithm)?,
            bucket: Arc::clone(&bucket),
            key: self.object.key,
            location,
            attributes,
            offset,
            condition: self.condition,
        };
        let record = cx.storage.append_object(append).await?;
        let mut headers = written(cx, &bucket, &record);
        headers.insert("x-amz-object-size", HeaderValue::from(record.size));
        Ok(Plain { headers, ..Plain::ok() })
    }
}

impl PutObject {
    /// What is still on the old server of a migration has no bytes here that more could be put behind.
    async fn check_elsewhere(&self, cx: &Context, bucket: &Bucket, offset: u64) -> S3Result<()> {
        match read_through::elsewhere(cx, bucket, &self.object).await? {
            Some(found) if found.size != offset => Err(StorageError::WriteOffset { offset, size: found.size }.into()),
            Some(found) if found.size > 0 => Err(S3Code::OperationAborted.into()),
            _ => Ok(()),
        }
    }
}

async fn may_read(cx: &mut Context, object: &ObjectRef) -> bool {
    cx.authorize(&object.need(Action::GetObject)).await.is_ok()
}

/// What an append to an object would pass over. Encryption and locks are refused by the engine.
fn refuse_ignored(head: &Head) -> S3Result<()> {
    refuse_words(head, &["x-amz-grant-"], "An append changes nothing of an object but its bytes.")
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
