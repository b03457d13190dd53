//! `UploadPart`, `UploadPartCopy`.

use std::ops::Range;

use http::{HeaderMap, Method, header};

use super::{UploadRef, part_number};
use crate::{
    auth::Action,
    s3::{
        body::LARGEST_PUT,
        codes::S3Code,
        context::Context,
        encryption::{KeyOf, guarded_key, show},
        error::{S3Error, S3Result},
        head::Head,
        object_headers::show_checksum,
        operation::{Deed, Need, Operation, Pattern, Scope},
        ops::copy_object::{CopySource, result, source_version, unwritten},
        reply::{Document, Plain, set},
        request_body::{Declared, RequestBody},
    },
    storage::{
        StorageError,
        records::{EncryptionRecord, PartRecord, UploadRecord},
    },
    types::{ChecksumAlgorithm, ChecksumType},
};

/// Stores a part.
#[derive(Debug)]
pub struct UploadPart {
    upload: UploadRef,
    number: u16,
}

impl Operation for UploadPart {
    const NAME: &'static str = "UploadPart";
    const ACTION: &'static str = "objectPutPart";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Object, &["partNumber", "uploadId"]);
    const STREAMS: bool = true;
    const DEED: Deed = Deed::Prepares;
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { number: part_number(head)?, upload: UploadRef::read(head)? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.upload.need(Action::PutObject)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let head = std::sync::Arc::clone(&cx.head);
        let bucket = cx.bucket(&self.upload.object.bucket).await?;
        let upload = self.upload.find(&cx, &bucket).await?;
        let algorithm = part_algorithm(&upload, &Declared::read(&head)?)?;
        let body = body.object(&head, &cx.intake, algorithm)?;
        let UploadRef { object, id } = &self.upload;
        let customer = guarded_key(&head, &cx.settings, KeyOf::Object)?;
        let place = (*id, self.number);
        let stored = cx.storage.put_part_with(&bucket, &object.key, place, body, customer.as_ref()).await;
        let part = stored.map_err(|e| self.upload.explain(e))?;
        let mut headers = part_headers(&part);
        show(&mut headers, encryption_of(&upload), &head);
        Ok(Plain { headers, ..Plain::ok() })
    }
}

/// The checksum to compute for a part.
///
/// # Errors
/// `InvalidRequest` where the part's algorithm is not the upload's, or missing while the type is composite.
fn part_algorithm(upload: &UploadRecord, declared: &Declared) -> S3Result<Option<ChecksumAlgorithm>> {
    let Some((wanted, kind)) = upload.checksum() else { return Ok(None) };
    match declared.algorithm {
        Some(given) if given != wanted => Err(S3Error::request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            wanted.name().to_lowercase(),
            given.name().to_lowercase()
        ))),
        None if kind == ChecksumType::Composite => Err(S3Error::request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: null",
            wanted.name().to_lowercase()
        ))),
        _ => Ok(Some(wanted)),
    }
}

fn encryption_of(upload: &UploadRecord) -> Option<&EncryptionRecord> {
    upload.object.as_ref().and_then(|object| object.encryption.as_ref())
}

fn part_headers(part: &PartRecord) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::ETAG, &part.etag().quoted());
    show_checksum(&mut headers, part.segment.as_ref().and_then(|segment| segment.checksum.as_ref()));
    headers.remove("x-amz-checksum-type");
    headers
}

/// Stores a part from an object.
#[derive(Debug)]
pub struct UploadPartCopy {
    upload: UploadRef,
    number: u16,
    source: CopySource,
    range: Option<Range<u64>>,
}

impl Operation for UploadPartCopy {
    const NAME: &'static str = "UploadPartCopy";
    const ACTION: &'static str = "objectPutCopyPart";
    const PATTERN: Pattern =
        Pattern::with_header(Method::PUT, Scope::Object, &["partNumber", "uploadId"], "x-amz-copy-source");
    const DEED: Deed = Deed::Prepares;
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self {
            number: part_number(head)?,
            source: CopySource::read(head)?,
            range: head.header("x-amz-copy-source-range").map(parse_range).transpose()?,
            upload: UploadRef::read(head)?,
        })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.upload.need(Action::PutObject), self.source.need()]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.upload.object.bucket).await?;
        let upload = self.upload.find(&cx, &bucket).await?;
        let source = self.source.find(&cx).await?;
        let size = source.record.size;
        let range = self.range.clone().unwrap_or(0..size);
        if range.end > size {
            let asked = cx.head.header("x-amz-copy-source-range").unwrap_or_default();
            let message = format!("Range specified is not valid for source object of size: {size}");
            let error = S3Error::argument(message, "x-amz-copy-source-range", asked);
            // Such a range is a wrong argument to AWS, and to Ceph one that cannot be satisfied.
            return Err(error.under(cx.head.dialect.pick(S3Code::InvalidArgument, S3Code::InvalidRange)));
        }
        if range.end - range.start > LARGEST_PUT {
            return Err(S3Error::request(
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
            ));
        }
        let algorithm = upload.checksum().map_or(ChecksumAlgorithm::Crc64Nvme, |(algorithm, _)| algorithm);
        let UploadRef { object, id } = &self.upload;
        let customer = guarded_key(&cx.head, &cx.settings, KeyOf::Object)?;
        let place = (*id, self.number);
        let from = (&source.record, range.clone());
        let at_store = async {
            if source.is_elsewhere {
                return Ok(None);
            }
            cx.storage.copy_part_at_store(&bucket, &object.key, place, from, algorithm).await
        };
        let stored = match at_store.await {
            Ok(None) => {
                let body = self.source.body(&cx, &source, range, algorithm).await?;
                cx.storage.put_part_with(&bucket, &object.key, place, body, customer.as_ref()).await
            }
            Ok(Some(part)) => Ok(part),
            Err(e) => Err(e),
        };
        let part = stored.map_err(|e| match e {
            StorageError::Body(_) => unwritten(e),
            other => self.upload.explain(other),
        })?;
        let modified = part.modified().to_iso8601();
        let checksum = part.segment.as_ref().and_then(|segment| segment.checksum.as_ref());
        let document = result("CopyPartResult", &part.etag().quoted(), &modified, checksum);
        let mut reply = Document::new(document);
        show(&mut reply.headers, encryption_of(&upload), &cx.head);
        Ok(source_version(&cx, &source, reply))
    }
}

/// `bytes=a-b` exactly; nothing is clipped here, unlike in a GET.
fn parse_range(text: &str) -> S3Result<Range<u64>> {
    let invalid = || {
        S3Error::argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
            "x-amz-copy-source-range",
            text,
        )
    };
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(invalid)?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten().ok_or_else(invalid)
    };
    let (first, last) = (number(first)?, number(last)?);
    let end = last.checked_add(1).filter(|_| first <= last).ok_or_else(invalid)?;
    Ok(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_range_is_exact() {
        assert_eq!(parse_range("bytes=0-4").unwrap(), 0..5);
        for bad in [
            "",
            "bytes=",
            "bytes=0-",
            "bytes=-4",
            "bytes=4-2",
            "0-4",
            "bytes=0-1,2-3",
            "bytes=a-b",
            "bytes=0-18446744073709551615",
        ] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }
}
