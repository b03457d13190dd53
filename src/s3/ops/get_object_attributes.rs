//! `GetObjectAttributes`.

use http::{HeaderName, Method, header};

use crate::{
    auth::Action,
    s3::{
        context::Context,
        encryption::{KeyOf, check_key_of_read, guarded_key, refuse_on_read},
        error::{S3Error, S3Result},
        head::{Head, parse_number},
        operation::{Need, ObjectRef, Operation, Pattern, Scope},
        read_through,
        reply::Document,
        request_body::RequestBody,
        xml::write::XmlWriter,
    },
    storage::{
        Bucket,
        records::{ChecksumRecord, ObjectRecord},
    },
};

/// Most parts of a page.
const MAX_PARTS: u64 = 1000;

/// Returns what is known of a version, as chosen.
#[derive(Debug)]
pub struct GetObjectAttributes {
    object: ObjectRef,
    wanted: Vec<Attribute>,
    max_parts: u64,
    after_part: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    ETag,
    Checksum,
    ObjectParts,
    StorageClass,
    ObjectSize,
}

impl Attribute {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.trim() {
            "ETag" => Self::ETag,
            "Checksum" => Self::Checksum,
            "ObjectParts" => Self::ObjectParts,
            "StorageClass" => Self::StorageClass,
            "ObjectSize" => Self::ObjectSize,
            _ => return None,
        })
    }
}

impl Operation for GetObjectAttributes {
    const NAME: &'static str = "GetObjectAttributes";
    const ACTION: &'static str = "objectGetAttributes";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Object, &["attributes"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        let names = head.raw_header("x-amz-object-attributes").unwrap_or_default();
        if names.trim().is_empty() {
            return Err(S3Error::request(
                "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
            ));
        }
        let wanted = names.split(',').map(|name| {
            Attribute::parse(name)
                .ok_or_else(|| S3Error::argument("Invalid attribute name specified.", "x-amz-object-attributes", name))
        });
        refuse_on_read(head)?;
        let number = |name, default| head.header(name).map_or(Ok(default), |text| parse_number(name, text));
        Ok(Self {
            object: head.object()?,
            wanted: wanted.collect::<S3Result<Vec<_>>>()?,
            max_parts: number("x-amz-max-parts", MAX_PARTS)?.min(MAX_PARTS),
            after_part: number("x-amz-part-number-marker", 0)?,
        })
    }

    /// Both (S3 reference, "`GetObjectAttributes`"): sizes and digests tell of the bytes, which a policy may forbid.
    fn needs(&self) -> Vec<Need> {
        let (read, attributes) = match self.object.version {
            Some(_) => (Action::GetObjectVersion, Action::GetObjectVersionAttributes),
            None => (Action::GetObject, Action::GetObjectAttributes),
        };
        vec![self.object.need(read), self.object.need(attributes)]
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        let record = read_through::version(&mut cx, &bucket, (&self.object, Action::GetObject)).await?;
        let customer = guarded_key(&cx.head, &cx.settings, KeyOf::Object)?;
        check_key_of_read(&cx, &bucket, &record, customer.as_ref())?;
        let mut xml = XmlWriter::document("GetObjectAttributesResponse", 1024);
        let wants = |attribute| self.wanted.contains(&attribute);
        if wants(Attribute::ETag) {
            xml.text("ETag", &record.etag);
        }
        if let Some(checksum) = record.checksum.as_ref().filter(|_| wants(Attribute::Checksum)) {
            xml.open("Checksum");
            show_checksum(&mut xml, checksum);
            xml.text("ChecksumType", if checksum.composite { "COMPOSITE" } else { "FULL_OBJECT" });
            xml.close();
        }
        if wants(Attribute::ObjectParts) {
            self.show_parts(&cx, &bucket, &record, &mut xml).await?;
        }
        if wants(Attribute::StorageClass) {
            xml.text("StorageClass", if record.storage_class.is_empty() { "STANDARD" } else { &record.storage_class });
        }
        if wants(Attribute::ObjectSize) {
            xml.value("ObjectSize", record.size);
        }
        let reply = Document::new(xml.finish()).with(header::LAST_MODIFIED, &record.modified().to_http_date());
        if bucket.is_versioned() {
            return Ok(reply.with(HeaderName::from_static("x-amz-version-id"), &cx.version_text(&record)));
        }
        Ok(reply)
    }
}

impl GetObjectAttributes {
    /// A page of the part table. AWS leaves the parts out where they have no composite checksum; they cost nothing
    /// here, and more is known with them.
    async fn show_parts(
        &self,
        cx: &Context,
        bucket: &Bucket,
        record: &ObjectRecord,
        xml: &mut XmlWriter,
    ) -> S3Result<()> {
        let Some(count) = record.part_count() else { return Ok(()) };
        let page = cx.storage.parts(bucket, record, self.after_part, self.max_parts).await?;
        xml.open("ObjectParts");
        xml.value("PartsCount", count);
        xml.value("PartNumberMarker", self.after_part).value("MaxParts", self.max_parts);
        if let Some(last) = page.segments.last() {
            xml.value("NextPartNumberMarker", last.part_number);
        }
        xml.text("IsTruncated", if page.truncated { "true" } else { "false" });
        let composite = record.checksum.as_ref().is_some_and(|checksum| checksum.composite);
        for segment in &page.segments {
            xml.open("Part").value("PartNumber", segment.part_number).value("Size", segment.size);
            if let Some(checksum) = segment.checksum.as_ref().filter(|_| composite) {
                show_checksum(xml, checksum);
            }
            xml.close();
        }
        xml.close();
        Ok(())
    }
}

fn show_checksum(xml: &mut XmlWriter, checksum: &ChecksumRecord) {
    if let Some((algorithm, text)) = checksum.algorithm().zip(checksum.to_text()) {
        xml.text(algorithm.xml_element(), &text);
    }
}
