//! `ListParts`, `ListMultipartUploads`.

use http::Method;

use super::UploadRef;
use crate::{
    auth::Action,
    s3::{
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Need, Operation, Pattern, Scope},
        ops::{lifecycle::show_abort, list_objects::Listing},
        reply::Document,
        request_body::RequestBody,
        xml::write::XmlWriter,
    },
    storage::{
        listing::{Entry, ListStart},
        records::UploadRecord,
    },
    types::{Timestamp, UploadId},
};

/// Most parts of a page.
const MAX_PARTS: u64 = 1000;

/// Lists the parts of an upload.
#[derive(Debug)]
pub struct ListParts {
    upload: UploadRef,
    after: u64,
    limit: u64,
}

impl Operation for ListParts {
    const NAME: &'static str = "ListParts";
    const ACTION: &'static str = "listParts";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Object, &["uploadId"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self {
            after: head.number("part-number-marker")?.unwrap_or(0),
            limit: head.number("max-parts")?.unwrap_or(MAX_PARTS).min(MAX_PARTS),
            upload: UploadRef::read(head)?,
        })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.upload.need(Action::ListMultipartUploadParts)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.upload.object.bucket).await?;
        let after = u16::try_from(self.after).unwrap_or(u16::MAX);
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let UploadRef { object, id } = &self.upload;
        let listed = cx.storage.list_parts(&bucket, &object.key, *id, after, limit).await;
        let page = listed.map_err(|e| self.upload.explain(e))?;

        let mut xml = XmlWriter::document("ListPartsResult", 512 + 320 * page.parts.len());
        xml.text("Bucket", bucket.name.as_str()).text("Key", object.key.as_str());
        xml.text("UploadId", &id.to_string());
        people(&mut xml, &page.upload);
        xml.text("StorageClass", class(&page.upload));
        checksum_kind(&mut xml, &page.upload);
        xml.value("PartNumberMarker", self.after);
        xml.value("NextPartNumberMarker", page.parts.last().map_or(self.after, |(number, _)| u64::from(*number)));
        xml.value("MaxParts", self.limit);
        xml.text("IsTruncated", if page.truncated { "true" } else { "false" });
        for (number, part) in &page.parts {
            let Some(segment) = &part.segment else { continue };
            xml.open("Part").value("PartNumber", number);
            xml.text("LastModified", &Timestamp::from_millis(part.modified_ms).to_iso8601());
            xml.quoted("ETag", &hex::encode(&segment.md5)).value("Size", segment.size);
            if let Some((sum, algorithm)) = segment.checksum.as_ref().and_then(|sum| Some((sum, sum.algorithm()?))) {
                xml.optional(algorithm.xml_element(), sum.to_text().as_deref());
            }
            xml.close();
        }
        let mut reply = Document::new(xml.finish());
        show_abort(&mut reply.headers, &bucket, &object.key, page.upload.initiated());
        Ok(reply)
    }
}

fn people(xml: &mut XmlWriter, upload: &UploadRecord) {
    let owner = upload.object.as_ref();
    let id = owner.map_or("", |object| object.owner.as_str());
    let name = owner.map_or("", |object| object.owner_display_name.as_str());
    xml.open("Initiator").text("ID", &upload.initiator).text("DisplayName", &upload.initiator_display_name).close();
    xml.open("Owner").text("ID", id).text("DisplayName", name).close();
}

fn class(upload: &UploadRecord) -> &str {
    upload
        .object
        .as_ref()
        .map(|object| object.storage_class.as_str())
        .filter(|class| !class.is_empty())
        .unwrap_or("STANDARD")
}

fn checksum_kind(xml: &mut XmlWriter, upload: &UploadRecord) {
    if let Some((algorithm, kind)) = upload.checksum() {
        xml.text("ChecksumAlgorithm", algorithm.name()).text("ChecksumType", kind.name());
    }
}

/// Lists the open uploads of a bucket.
#[derive(Debug)]
pub struct ListMultipartUploads {
    listing: Listing,
    key_marker: String,
    id_marker: Option<UploadId>,
}

impl Operation for ListMultipartUploads {
    const NAME: &'static str = "ListMultipartUploads";
    const ACTION: &'static str = "listMultipartUploads";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["uploads"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        let key_marker = head.query("key-marker").unwrap_or_default().to_owned();
        let id_marker = match head.query("upload-id-marker") {
            // Without a key it means nothing.
            None | Some("") => None,
            Some(_) if key_marker.is_empty() => None,
            Some(text) => Some(
                UploadId::parse(text)
                    .ok_or_else(|| S3Error::argument("Invalid uploadId marker", "upload-id-marker", text))?,
            ),
        };
        Ok(Self { listing: Listing::read(head, "max-uploads")?, key_marker, id_marker })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.listing.name, Action::ListBucketMultipartUploads)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.listing.name).await?;
        let start = match (self.key_marker.as_str(), self.id_marker) {
            ("", _) => ListStart::Beginning,
            (key, None) => ListStart::AfterKey(key.to_owned()),
            (key, Some(id)) => ListStart::AfterUpload(key.to_owned(), id),
        };
        let page = cx.storage.list_uploads(&bucket, &self.listing.query(start)).await?;
        let listing = &self.listing;
        let mut xml = XmlWriter::document("ListMultipartUploadsResult", 512 + 480 * page.entries.len());
        xml.text("Bucket", bucket.name.as_str());
        listing.text(&mut xml, "KeyMarker", &self.key_marker);
        xml.text("UploadIdMarker", cx.head.query("upload-id-marker").unwrap_or_default());
        let (next_key, next_id) = match page.entries.last() {
            Some(Entry::Item(last)) => (last.key.as_str(), last.id.to_string()),
            Some(Entry::Prefix(prefix)) => (prefix.as_str(), String::new()),
            None => ("", String::new()),
        };
        listing.text(&mut xml, "NextKeyMarker", next_key);
        xml.text("NextUploadIdMarker", &next_id);
        listing.text(&mut xml, "Prefix", &listing.prefix);
        xml.value("MaxUploads", listing.limit);
        xml.text("IsTruncated", if page.is_truncated() { "true" } else { "false" });
        listing.tail(&mut xml);
        for entry in page.items() {
            xml.open("Upload");
            listing.text(&mut xml, "Key", &entry.key);
            xml.text("UploadId", &entry.id.to_string());
            people(&mut xml, &entry.record);
            xml.text("StorageClass", class(&entry.record));
            xml.text("Initiated", &Timestamp::from_millis(entry.record.initiated_ms).to_iso8601());
            checksum_kind(&mut xml, &entry.record);
            xml.close();
        }
        listing.prefixes(&mut xml, &page);
        Ok(Document::new(xml.finish()))
    }
}
