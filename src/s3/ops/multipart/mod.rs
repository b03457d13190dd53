//! The operations of multipart uploads.

pub(in crate::s3) mod complete;
mod create;
mod list;
mod part;

pub use complete::{AbortMultipartUpload, CompleteMultipartUpload};
pub use create::CreateMultipartUpload;
pub use list::{ListMultipartUploads, ListParts};
pub use part::{UploadPart, UploadPartCopy};

use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::{Head, parse_number},
        operation::{Need, ObjectRef, Target},
    },
    storage::{Bucket, StorageError, records::UploadRecord},
    types::UploadId,
};

/// An upload as a request names it.
#[derive(Clone, Debug)]
struct UploadRef {
    object: ObjectRef,
    id: UploadId,
}

impl UploadRef {
    fn read(head: &Head) -> S3Result<Self> {
        let object = head.object_without_version()?;
        let text = head.query("uploadId").unwrap_or_default();
        let id = UploadId::parse(text).ok_or_else(|| no_such_upload(text))?;
        Ok(Self { object, id })
    }

    /// A need of this upload.
    fn need(&self, action: Action) -> Need {
        Need { action, target: Target::Upload(self.object.clone(), self.id) }
    }

    /// The upload, if it is open.
    async fn find(&self, cx: &Context, bucket: &Bucket) -> S3Result<UploadRecord> {
        let found = cx.storage.upload(bucket, &self.object.key, self.id).await;
        found.map_err(|e| self.explain(e))
    }

    fn explain(&self, e: StorageError) -> S3Error {
        match e {
            StorageError::NoSuchUpload => no_such_upload(&self.id.to_string()),
            // Of an upload all parts have the key that it was begun with, and 400 is the answer to another.
            StorageError::KeyRequired => S3Error::request(
                "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.",
            ),
            StorageError::KeyNotApplicable => S3Error::request(
                "The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.",
            ),
            StorageError::WrongKey => {
                S3Error::request("The provided encryption parameters did not match the ones used originally.")
            }
            other => other.into(),
        }
    }
}

fn no_such_upload(id: &str) -> S3Error {
    S3Error::from(S3Code::NoSuchUpload).with("UploadId", id)
}

/// The part number of a request, 1 to 10,000.
fn part_number(head: &Head) -> S3Result<u16> {
    let text = head.query("partNumber").unwrap_or_default();
    let invalid =
        || S3Error::argument("Part number must be an integer between 1 and 10000, inclusive", "partNumber", text);
    let number = parse_number("partNumber", text).map_err(|_| invalid())?;
    u16::try_from(number).ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(invalid)
}
