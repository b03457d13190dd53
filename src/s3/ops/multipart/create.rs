//! `CreateMultipartUpload`.

use http::{HeaderName, Method};

use crate::{
    s3::{
        authorize::write_needs,
        conditional::found,
        context::Context,
        encryption::show_written,
        error::{S3Error, S3Result},
        head::Head,
        lock_headers,
        object_headers::attributes,
        operation::{Deed, Need, ObjectRef, Operation, Pattern, Scope},
        ops::lifecycle::show_abort,
        reply::Document,
        request_body::RequestBody,
        xml::write::XmlWriter,
    },
    storage::{NewUpload, WriteCondition},
    types::{ChecksumAlgorithm, ChecksumType},
};

/// Begins an upload.
#[derive(Debug)]
pub struct CreateMultipartUpload {
    object: ObjectRef,
    checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
    needs: Vec<Need>,
}

impl Operation for CreateMultipartUpload {
    const NAME: &'static str = "CreateMultipartUpload";
    const ACTION: &'static str = "initiateMultipartUpload";
    const PATTERN: Pattern = Pattern::new(Method::POST, Scope::Object, &["uploads"]);
    const DEED: Deed = Deed::Prepares;
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        let object = head.object_without_version()?;
        let mut needs = write_needs(&object, head);
        needs.extend(lock_headers::needs(head, &object)?);
        Ok(Self { needs, checksum: declared(head)?, object })
    }

    fn needs(&self) -> Vec<Need> {
        self.needs.clone()
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        // Early: it is the completion that depends on it.
        if let Some(found) = found(&cx.head)? {
            cx.storage.check_condition(&bucket, &self.object.key, &WriteCondition::IfFound(found)).await?;
        }
        let attributes = attributes(&cx.head, &cx, &bucket)?;
        let upload = NewUpload {
            bucket: std::sync::Arc::clone(&bucket),
            key: self.object.key.clone(),
            location: cx.location(&bucket, &attributes.metadata)?,
            attributes,
            checksum: self.checksum,
            initiator: cx.principal.account.clone(),
            initiator_display_name: cx.principal.display_name.to_string(),
        };
        let (id, begun) = cx.storage.begin_upload(upload).await?;
        let mut xml = XmlWriter::document("InitiateMultipartUploadResult", 512);
        xml.text("Bucket", bucket.name.as_str());
        xml.text("Key", self.object.key.as_str());
        xml.text("UploadId", &id.to_string());
        let mut reply = Document::new(xml.finish());
        let encryption = begun.object.as_ref().and_then(|object| object.encryption.as_ref());
        show_written(&mut reply.headers, encryption, &cx.head);
        show_abort(&mut reply.headers, &bucket, &self.object.key, cx.now);
        if let Some((algorithm, kind)) = self.checksum {
            reply = reply
                .with(HeaderName::from_static("x-amz-checksum-algorithm"), algorithm.name())
                .with(HeaderName::from_static("x-amz-checksum-type"), kind.name());
        }
        Ok(reply)
    }
}

fn declared(head: &Head) -> S3Result<Option<(ChecksumAlgorithm, ChecksumType)>> {
    let algorithm = match head.header("x-amz-checksum-algorithm") {
        None => None,
        Some(name) => Some(
            ChecksumAlgorithm::parse(name)
                .ok_or_else(|| S3Error::request("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5, XXHASH64, XXHASH3, XXHASH128]"))?,
        ),
    };
    let kind = match head.header("x-amz-checksum-type") {
        None => None,
        Some(name) => Some(
            ChecksumType::parse(name)
                .ok_or_else(|| S3Error::request("Value for x-amz-checksum-type header is invalid."))?,
        ),
    };
    match (algorithm, kind) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(S3Error::request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )),
        (Some(algorithm), kind) => {
            let kind = kind.unwrap_or_else(|| algorithm.default_type());
            if !algorithm.supports(kind) {
                return Err(S3Error::request(format!(
                    "The {} checksum type cannot be used with the {} checksum algorithm.",
                    kind.name(),
                    algorithm.name().to_lowercase()
                )));
            }
            Ok(Some((algorithm, kind)))
        }
    }
}
