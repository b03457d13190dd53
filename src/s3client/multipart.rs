//! Uploads in parts.

use std::ops::Range;

use http::{HeaderMap, Method};

use super::{
    Call, CopySource, PartEntry, PartsPage, S3Client, S3ClientError, Stored, bare_tag,
    listing::{flag, number},
    objects::child,
};
use crate::{outbound::Payload, xml::XmlWriter};

impl S3Client {
    /// `CreateMultipartUpload`; answers with the upload id.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn create_multipart_upload(
        &self,
        bucket: &str,
        key: &str,
        headers: &HeaderMap,
    ) -> Result<String, S3ClientError> {
        let call = Call::new(Method::POST, Some(bucket), Some(key)).and("uploads", "").headers(headers);
        let answer = self.document(call).await?;
        let id = child(&answer.root()?, "UploadId").filter(|id| !id.is_empty());
        id.ok_or_else(|| S3ClientError::Answer("the answer names no upload".to_owned()))
    }

    /// `UploadPart`.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn upload_part(
        &self,
        bucket: &str,
        key: &str,
        (upload, number): (&str, u32),
        payload: Payload,
    ) -> Result<Stored, S3ClientError> {
        let call = part(Method::PUT, bucket, key, upload, number).payload(payload);
        Ok(self.stored(self.send(call).await?.headers))
    }

    /// `UploadPartCopy`; the whole source where there is no range.
    ///
    /// # Errors
    /// [`S3ClientError`]; an error in a good answer, too.
    pub async fn upload_part_copy(
        &self,
        bucket: &str,
        key: &str,
        (upload, number): (&str, u32),
        source: CopySource<'_>,
        range: Option<Range<u64>>,
    ) -> Result<Stored, S3ClientError> {
        let mut call = part(Method::PUT, bucket, key, upload, number).headers(&source.headers(HeaderMap::new()));
        if let Some(range) = range {
            let range = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            call = call.header("x-amz-copy-source-range", &range);
        }
        let answer = self.document(call.patient()).await?;
        let etag = child(&answer.root()?, "ETag").map(|tag| bare_tag(&tag));
        Ok(Stored { etag, ..self.stored(answer.headers) })
    }

    /// `CompleteMultipartUpload`, with numbers and entity tags (without quotes).
    ///
    /// Not repeated once it may have been seen: the second of two is refused, and the first may have worked.
    ///
    /// # Errors
    /// [`S3ClientError`]; an error in a good answer, too.
    pub async fn complete_multipart_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[(u32, String)],
    ) -> Result<Stored, S3ClientError> {
        self.complete_multipart_upload_if(bucket, key, (upload, parts), &HeaderMap::new()).await
    }

    /// As [`S3Client::complete_multipart_upload`], with headers that say when.
    ///
    /// # Errors
    /// As [`S3Client::complete_multipart_upload`].
    pub async fn complete_multipart_upload_if(
        &self,
        bucket: &str,
        key: &str,
        (upload, parts): (&str, &[(u32, String)]),
        headers: &HeaderMap,
    ) -> Result<Stored, S3ClientError> {
        let mut xml = XmlWriter::document("CompleteMultipartUpload", 64 + 96 * parts.len());
        for (number, tag) in parts {
            xml.open("Part").value("PartNumber", number).quoted("ETag", tag).close();
        }
        let call = Call::new(Method::POST, Some(bucket), Some(key)).and("uploadId", upload);
        let call = call.headers(headers).header("content-type", "application/xml").payload(Payload::Held(xml.finish()));
        let answer = self.document(call.once().patient()).await?;
        let etag = child(&answer.root()?, "ETag").map(|tag| bare_tag(&tag));
        if etag.is_none() {
            return Err(S3ClientError::Answer("the answer has no entity tag".to_owned()));
        }
        Ok(Stored { etag, ..self.stored(answer.headers) })
    }

    /// `AbortMultipartUpload`; what is gone already is no error.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn abort_multipart_upload(&self, bucket: &str, key: &str, upload: &str) -> Result<(), S3ClientError> {
        let call = Call::new(Method::DELETE, Some(bucket), Some(key)).and("uploadId", upload);
        match self.send(call).await {
            Err(error) if error.code() != Some("NoSuchUpload") && error.status() != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// `ListParts`: a page behind a number.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn list_parts(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        after: u32,
    ) -> Result<PartsPage, S3ClientError> {
        let call = Call::new(Method::GET, Some(bucket), Some(key)).and("uploadId", upload);
        let answer = self.document(call.and("part-number-marker", after.to_string())).await?;
        let root = answer.root()?;
        let parts = root.children_named("Part").filter_map(|part| {
            let etag = bare_tag(&child(part, "ETag").unwrap_or_default());
            Some(PartEntry { number: number(part, "PartNumber")?, etag, size: number(part, "Size")? })
        });
        Ok(PartsPage {
            parts: parts.collect(),
            next: number(&root, "NextPartNumberMarker").filter(|_| flag(&root, "IsTruncated")),
        })
    }
}

fn part<'a>(method: Method, bucket: &'a str, key: &'a str, upload: &'a str, number: u32) -> Call<'a> {
    let call = Call::new(method, Some(bucket), Some(key));
    call.and("partNumber", number.to_string()).and("uploadId", upload)
}
