//! `CompleteMultipartUpload`, `AbortMultipartUpload`.

use http::{HeaderName, Method};

use super::UploadRef;
use crate::{
    auth::Action,
    s3::{
        authorize::match_need,
        codes::S3Code,
        conditional::write_condition,
        context::Context,
        encryption::{KeyOf, guarded_key, show},
        error::{S3Error, S3Result},
        head::{Head, parse_number},
        operation::{Need, Operation, Pattern, Scope},
        ops::lifecycle::show_expiration,
        read_through,
        reply::{Document, Plain},
        request_body::{RequestBody, malformed_checksum},
        xml::{read, read::Element, write::XmlWriter},
    },
    storage::{AnnouncedChecksum, Bucket, CompleteRequest, ListedPart, PartChecksums, WriteCondition},
    types::{Checksum, ChecksumAlgorithm, ChecksumType, Dialect, ETag},
};

/// Largest document: 10,000 parts with checksums.
const DOCUMENT: usize = 4 << 20;
/// Most parts.
const MAX_PARTS: usize = 10_000;

/// Makes an object of an upload's parts.
#[derive(Debug)]
pub struct CompleteMultipartUpload {
    upload: UploadRef,
    condition: WriteCondition,
    object_size: Option<u64>,
    checksum: Option<AnnouncedChecksum>,
    checksum_type: Option<ChecksumType>,
    needs: Vec<Need>,
}

impl Operation for CompleteMultipartUpload {
    const NAME: &'static str = "CompleteMultipartUpload";
    const ACTION: &'static str = "completeMultipartUpload";
    const PATTERN: Pattern = Pattern::new(Method::POST, Scope::Object, &["uploadId"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        let object_size = match head.header("x-amz-mp-object-size") {
            None => None,
            Some(text) => Some(
                parse_number("x-amz-mp-object-size", text)
                    .map_err(|_| S3Error::request("Value for x-amz-mp-object-size header is invalid."))?,
            ),
        };
        let checksum_type = match head.header("x-amz-checksum-type") {
            None => None,
            Some(text) => Some(
                ChecksumType::parse(text)
                    .ok_or_else(|| S3Error::request("Value for x-amz-checksum-type header is invalid."))?,
            ),
        };
        let upload = UploadRef::read(head)?;
        let mut needs = vec![upload.need(Action::PutObject)];
        needs.extend(match_need(&upload.object, head));
        Ok(Self {
            condition: write_condition(head)?,
            object_size,
            checksum: announced_checksum(head)?,
            checksum_type,
            needs,
            upload,
        })
    }

    fn needs(&self) -> Vec<Need> {
        self.needs.clone()
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.upload.object.bucket).await?;
        // The checksum headers speak of the object here, not of this document.
        let document = body.document_about_checksums(&cx.head, &cx.intake, DOCUMENT).await?;
        let parts = parse_parts(&document, cx.head.dialect)?;
        self.check_key(&cx, &bucket).await?;
        let condition = read_through::write_condition(&cx, &bucket, &self.upload.object, self.condition).await?;
        let request = CompleteRequest {
            parts,
            object_size: self.object_size,
            checksum: self.checksum,
            checksum_type: self.checksum_type,
            // Ceph knows the checksums of the parts and does not ask for them again.
            part_checksums: cx.head.dialect.pick(PartChecksums::Demanded, PartChecksums::Optional),
            condition,
        };
        let completed = cx.storage.complete_upload(&bucket, &self.upload.object.key, self.upload.id, &request).await;
        let record = completed.map_err(|e| self.upload.explain(e))?;

        let key = self.upload.object.key.as_str();
        let path = crate::s3::xml::write::url_encode(key).replace('+', "%20");
        let mut xml = XmlWriter::document("CompleteMultipartUploadResult", 1024);
        xml.text("Location", &format!("{}/{}/{path}", cx.head.base_url, bucket.name));
        xml.text("Bucket", bucket.name.as_str()).text("Key", key).quoted("ETag", &record.etag);
        if let Some((checksum, algorithm)) = record.checksum.as_ref().and_then(|sum| Some((sum, sum.algorithm()?))) {
            xml.optional(algorithm.xml_element(), checksum.to_text().as_deref());
            xml.text("ChecksumType", if checksum.composite { "COMPOSITE" } else { "FULL_OBJECT" });
        }
        let mut reply = Document::new(xml.finish());
        show(&mut reply.headers, record.encryption.as_ref(), &cx.head);
        show_expiration(&mut reply.headers, &bucket, &self.upload.object.key, &record);
        if bucket.is_versioned() && !record.is_null {
            return Ok(reply.with(HeaderName::from_static("x-amz-version-id"), &cx.version_text(&record)));
        }
        Ok(reply)
    }
}

impl CompleteMultipartUpload {
    /// Checks the client's key against that of the upload. It may stay away, unless the upload declares a checksum (S3
    /// reference, "`CompleteMultipartUpload`"); where it comes, it is the right one.
    async fn check_key(&self, cx: &Context, bucket: &Bucket) -> S3Result<()> {
        let customer = guarded_key(&cx.head, &cx.settings, KeyOf::Object)?;
        let found = cx.storage.completable_upload(bucket, &self.upload.object.key, self.upload.id).await;
        let upload = found.map_err(|e| self.upload.explain(e))?;
        let object = upload.object.as_ref().or(upload.completed.as_ref());
        // Ceph demands the key from whoever completes; AWS where the upload declares a checksum.
        let is_due = upload.checksum().is_some() || cx.head.dialect.is_ceph();
        let Some(object) = object.filter(|_| customer.is_some() || is_due) else { return Ok(()) };
        let checked = cx.storage.check_customer_key(bucket.id, object, customer.as_ref());
        checked.map_err(|e| self.upload.explain(e))
    }
}

/// The checksum of the whole object, as announced; a composite one has `-N` behind it.
fn announced_checksum(head: &Head) -> S3Result<Option<AnnouncedChecksum>> {
    let mut found = ChecksumAlgorithm::ALL
        .into_iter()
        .filter_map(|algorithm| Some((algorithm, head.header(algorithm.header())?.to_owned())));
    let first = found.next();
    if found.next().is_some() {
        return Err(S3Error::request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ));
    }
    if let Some((algorithm, text)) = &first {
        let value = text.split_once('-').map_or(text.as_str(), |(value, _)| value);
        Checksum::parse(*algorithm, value).map_err(|_| malformed_checksum(*algorithm, head.dialect))?;
    }
    Ok(first.map(|(algorithm, value)| AnnouncedChecksum { algorithm, value }))
}

pub(in crate::s3) fn parse_parts(document: &[u8], dialect: Dialect) -> S3Result<Vec<ListedPart>> {
    if document.is_empty() {
        return Err(S3Code::MalformedXML.into());
    }
    let root = read::read(document)?;
    if root.name() != "CompleteMultipartUpload" {
        return Err(S3Code::MalformedXML.into());
    }
    let mut parts = root.children_named("Part").map(parse_part).collect::<S3Result<Vec<_>>>()?;
    if parts.is_empty() || parts.len() > MAX_PARTS {
        return Err(S3Code::MalformedXML.into());
    }
    // To Ceph the last of equal numbers counts.
    if dialect.is_ceph() {
        parts.dedup_by(|next, kept| {
            let is_same = next.number == kept.number;
            if is_same {
                std::mem::swap(next, kept);
            }
            is_same
        });
    }
    let ascending = parts.iter().zip(parts.iter().skip(1)).all(|(a, b)| a.number < b.number);
    if !ascending {
        return Err(S3Code::InvalidPartOrder.into());
    }
    Ok(parts)
}

fn parse_part(part: &Element<'_>) -> S3Result<ListedPart> {
    let number = part.required_text("PartNumber")?.trim();
    let etag = part.required_text("ETag")?;
    let parsed: i64 = number.parse().map_err(|_| S3Error::from(S3Code::MalformedXML))?;
    if parsed < 1 {
        return Err(S3Error::argument("PartNumber must be >= 1", "PartNumber", number));
    }
    let mut checksum = None;
    for algorithm in ChecksumAlgorithm::ALL {
        if let Some(text) = part.optional_text(algorithm.xml_element())? {
            let value = Checksum::parse(algorithm, text.trim()).map_err(|_| S3Error::from(S3Code::InvalidPart))?;
            checksum = Some(value);
        }
    }
    // A number that no part can have is simply not there.
    let number = u16::try_from(parsed).unwrap_or(u16::MAX);
    Ok(ListedPart { number, etag: ETag::parse(etag), checksum })
}

/// Throws an upload away.
#[derive(Debug)]
pub struct AbortMultipartUpload {
    upload: UploadRef,
}

impl Operation for AbortMultipartUpload {
    const NAME: &'static str = "AbortMultipartUpload";
    const ACTION: &'static str = "multipartDelete";
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Object, &["uploadId"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { upload: UploadRef::read(head)? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.upload.need(Action::AbortMultipartUpload)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        let bucket = cx.bucket(&self.upload.object.bucket).await?;
        let aborted = cx.storage.abort_upload(&bucket, &self.upload.object.key, self.upload.id).await;
        aborted.map_err(|e| self.upload.explain(e))?;
        Ok(Plain::no_content())
    }
}
