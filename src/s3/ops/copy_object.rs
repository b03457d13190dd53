//! `CopyObject`, and the source of every copy.

use std::{ops::Range, sync::Arc};

use http::{HeaderName, Method};
use http_body_util::StreamBody;

use crate::{
    auth::Action,
    kms::SecretKey,
    s3::{
        authorize::{EXPECTED_SOURCE_OWNER, write_needs},
        body::{LARGEST_PUT, Plan},
        codes::S3Code,
        conditional::{ReadCondition, Verdict, write_condition},
        context::{Context, LOCATION_OF_OBJECT},
        encryption::{self, KeyOf},
        error::{S3Error, S3Result},
        head::{self, Head},
        lock_headers,
        object_headers::{attributes, storage_class},
        operation::{Deed, Need, ObjectRef, Operation, Pattern, Scope, Target},
        ops::{get_object::missing, lifecycle::show_expiration, put_object::written},
        read_through,
        reply::Document,
        request_body::RequestBody,
        xml::write::XmlWriter,
    },
    storage::{
        AnnotationSource, Attributes, Bucket, NewObject, PutObject as Put, StorageError, WriteCondition,
        records::{ChecksumRecord, JournalOp, ObjectRecord},
    },
    types::{BucketName, ChecksumAlgorithm, IncomingBody},
};

/// Attempts to open a source that others replace.
const ATTEMPTS: usize = 8;

/// Copies an object.
#[derive(Debug)]
pub struct CopyObject {
    object: ObjectRef,
    source: CopySource,
    condition: WriteCondition,
    metadata: Directive,
    tagging: Directive,
    annotations: Annotations,
    checksum: Option<ChecksumAlgorithm>,
    needs: Vec<Need>,
}

/// What a copy reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// The version.
    pub object: ObjectRef,
    condition: ReadCondition,
    customer: Option<SecretKey>,
}

/// A source that was found and may be read.
#[derive(Debug)]
pub struct OpenSource {
    /// Its bucket.
    pub bucket: Arc<Bucket>,
    /// Its record.
    pub record: ObjectRecord,
    /// Whether it is still on the old server of a migration: its bytes are there.
    pub is_elsewhere: bool,
}

/// Whether annotations are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Annotations {
    Copy,
    Exclude,
}

impl Annotations {
    fn read(head: &Head) -> S3Result<Self> {
        const NAME: &str = "x-amz-object-annotation-directive";
        match head.header(NAME) {
            None | Some("COPY") => Ok(Self::Copy),
            Some("EXCLUDE") => Ok(Self::Exclude),
            Some(other) => Err(S3Error::argument(format!("Unknown {NAME}."), NAME, other)),
        }
    }
}

/// Where metadata or tags of a copy come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

impl Directive {
    fn read(head: &Head, name: &'static str) -> S3Result<Self> {
        match head.header(name) {
            None | Some("COPY") => Ok(Self::Copy),
            Some("REPLACE") => Ok(Self::Replace),
            Some(other) => Err(S3Error::argument(format!("Unknown {name}."), name, other)),
        }
    }
}

impl CopySource {
    /// Reads `x-amz-copy-source`: `[/]bucket/key[?versionId=…]`, percent-encoded once.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn read(head: &Head) -> S3Result<Self> {
        let text = head.header("x-amz-copy-source").unwrap_or_default();
        let invalid = |why: &'static str| S3Error::argument(why, "x-amz-copy-source", text);
        let (path, version) = match text.split_once("?versionId=") {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let path = head::decode(path).map_err(|_| invalid("Invalid copy source encoding."))?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path
            .split_once('/')
            .ok_or_else(|| invalid("Copy Source must mention the source bucket and key: sourcebucket/sourcekey"))?;
        let bucket = BucketName::new(bucket).map_err(|_| invalid("Invalid copy source bucket name"))?;
        let key = head::key(key)
            .map_err(|_| invalid("Copy Source must mention the source bucket and key: sourcebucket/sourcekey"))?;
        let version = version.map(head::version).transpose()?;
        Ok(Self {
            object: ObjectRef { bucket, key, version },
            condition: ReadCondition::of_copy_source(head),
            customer: encryption::customer_key(head, KeyOf::CopySource)?,
        })
    }

    /// The permission to read it.
    pub fn need(&self) -> Need {
        let action = if self.object.version.is_some() { Action::GetObjectVersion } else { Action::GetObject };
        Need { action, target: Target::Source(self.object.clone()) }
    }

    /// The permission to read its tags.
    fn tags_need(&self) -> Need {
        let versioned = self.object.version.is_some();
        let action = if versioned { Action::GetObjectVersionTagging } else { Action::GetObjectTagging };
        Need { action, target: Target::Source(self.object.clone()) }
    }

    /// The permission to read its annotations.
    fn annotations_need(&self) -> Need {
        let versioned = self.object.version.is_some();
        let action = if versioned { Action::GetObjectVersionAnnotation } else { Action::GetObjectAnnotation };
        Need { action, target: Target::Source(self.object.clone()) }
    }

    /// Finds the source and judges its conditions: whatever fails is 412 here.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchVersion`, `InvalidRequest` for a marker named by its id, `PreconditionFailed`,
    /// `InvalidObjectState` for one that is archived and not restored.
    pub async fn find(&self, cx: &Context) -> S3Result<OpenSource> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        cx.check_expected_owner(&bucket, EXPECTED_SOURCE_OWNER)?;
        let found = cx.storage.version(&bucket, &self.object.key, self.object.version).await;
        if matches!(found, Err(StorageError::NoSuchKey(None))) {
            if let Some(record) = read_through::record(cx, &bucket, &self.object).await? {
                self.judge(cx, &record)?;
                return Ok(OpenSource { bucket, record, is_elsewhere: true });
            }
            cx.judge_missing(&bucket, &self.object, Action::GetObject)?;
        }
        let record = found.map_err(|e| match e {
            StorageError::IsDeleteMarker(_) => S3Error::request(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ),
            StorageError::NoSuchKey(_) => S3Error::from(S3Code::NoSuchKey).with("Key", self.object.key.as_str()),
            other => missing(cx, other),
        })?;
        if !cx.still_allows(&bucket, &self.object, &record) {
            return Err(S3Code::AccessDenied.into());
        }
        encryption::guarded_key(&cx.head, &cx.settings, KeyOf::CopySource)?;
        encryption::check_key_of_read(cx, &bucket, &record, self.customer.as_ref())?;
        self.judge(cx, &record)?;
        cx.storage.check_readable(&record).map_err(archived)?;
        Ok(OpenSource { bucket, record, is_elsewhere: false })
    }

    fn judge(&self, cx: &Context, record: &ObjectRecord) -> S3Result<()> {
        match self.condition.judge(record, cx.now) {
            Verdict::Go => Ok(()),
            Verdict::NotModified => Err(failed("x-amz-copy-source-If-None-Match")),
            Verdict::Failed(_) => Err(failed("x-amz-copy-source-If-Match")),
        }
    }

    /// The bytes of a source, hashed on their way as an upload's are.
    pub async fn body(
        &self,
        cx: &Context,
        source: &OpenSource,
        bytes: Range<u64>,
        checksum: ChecksumAlgorithm,
    ) -> S3Result<IncomingBody> {
        let length = bytes.end - bytes.start;
        let taken = |stream| {
            let plan = Plan { length: Some(length), store: checksum, ..Plan::default() };
            let frames = futures_util::StreamExt::map(stream, |chunk: Result<_, _>| chunk.map(http_body::Frame::data));
            cx.intake.accept(StreamBody::new(frames), plan)
        };
        if source.is_elsewhere {
            let place = (&*source.bucket, &self.object);
            return read_through::bytes(cx, place, &source.record, bytes).await.map(taken);
        }
        let mut record = source.record.clone();
        for _ in 0..ATTEMPTS {
            let (key, customer) = (&self.object.key, self.customer.as_ref());
            match cx.storage.open_with(&source.bucket, key, &record, bytes.clone(), customer).await {
                Ok(stream) => return Ok(taken(stream)),
                Err(StorageError::Vanished) => {
                    let again = self.find(cx).await?.record;
                    if again.etag != record.etag || again.size != record.size {
                        return Err(S3Code::ConditionalRequestConflict.into());
                    }
                    record = again;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(S3Error::from(S3Code::InternalError).because(StorageError::Vanished))
    }
}

/// Why a copy was not written. The client sends no body here: one that breaks off is the source's, and our fault.
pub fn unwritten(e: StorageError) -> S3Error {
    match e {
        StorageError::Body(source) => S3Error::from(S3Code::InternalError).because(source),
        other => other.into(),
    }
}

/// The same code as for a read, in other words.
fn archived(e: StorageError) -> S3Error {
    match e {
        StorageError::Archived(class) => {
            let message = "Operation is not valid for the source object's storage class";
            S3Error::new(S3Code::InvalidObjectState, message).with("StorageClass", class)
        }
        other => other.into(),
    }
}

fn failed(condition: &str) -> S3Error {
    S3Error::from(S3Code::PreconditionFailed).with("Condition", condition)
}

impl Operation for CopyObject {
    const NAME: &'static str = "CopyObject";
    const ACTION: &'static str = "objectCopy";
    const PATTERN: Pattern = Pattern::with_header(Method::PUT, Scope::Object, &[], "x-amz-copy-source");
    const DEED: Deed = Deed::Copies;
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        let checksum = match head.header("x-amz-checksum-algorithm") {
            None => None,
            Some(name) => Some(
                ChecksumAlgorithm::parse(name)
                    .ok_or_else(|| S3Error::request("Checksum algorithm provided is unsupported."))?,
            ),
        };
        storage_class(head)?;
        let (object, source) = (head.object_without_version()?, CopySource::read(head)?);
        let mut needs = write_needs(&object, head);
        needs.push(source.need());
        needs.extend(lock_headers::needs(head, &object)?);
        Ok(Self {
            object,
            source,
            condition: write_condition(head)?,
            metadata: Directive::read(head, "x-amz-metadata-directive")?,
            tagging: Directive::read(head, "x-amz-tagging-directive")?,
            annotations: Annotations::read(head)?,
            checksum,
            needs,
        })
    }

    fn needs(&self) -> Vec<Need> {
        self.needs.clone()
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        let source = self.source.find(&cx).await?;
        if self.tagging == Directive::Copy {
            self.authorize_tags(&mut cx, &source.record).await?;
        }
        if source.record.size > LARGEST_PUT {
            return Err(S3Error::request(
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
            ));
        }
        let mut attributes = self.attributes(&cx, &bucket, &source.record)?;
        let location = cx.location(&bucket, &attributes.metadata)?;
        let condition = read_through::write_condition(&cx, &bucket, &self.object, self.condition.clone()).await?;
        cx.storage.check_condition(&bucket, &self.object.key, &condition).await?;
        let checksum = self.checksum.or_else(|| kept_algorithm(&source.record)).unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        attributes.annotations = self.annotations(&mut cx, &source).await?;
        let new = NewObject {
            bucket: Arc::clone(&bucket),
            key: self.object.key.clone(),
            location,
            attributes,
            condition,
            op: JournalOp::ObjectCopied,
        };
        let record = written_copy(&cx, (&self.source, &source), new, checksum).await?;
        let key = self.object.key;
        let mut reply = Document::new(result(
            "CopyObjectResult",
            &record.etag().quoted(),
            &record.modified().to_iso8601(),
            record.checksum.as_ref(),
        ));
        reply.headers = written(&cx, &bucket, &record);
        reply.headers.remove(http::header::ETAG);
        show_expiration(&mut reply.headers, &bucket, &key, &record);
        Ok(source_version(&cx, &source, reply))
    }
}

impl CopyObject {
    /// The source of annotations, where there are any, they are wanted, and the caller may take them along.
    async fn annotations(&self, cx: &mut Context, source: &OpenSource) -> S3Result<Option<AnnotationSource>> {
        if self.annotations == Annotations::Exclude || source.record.annotation_count == 0 {
            return Ok(None);
        }
        cx.authorize(&self.source.annotations_need()).await?;
        cx.authorize(&self.object.need(Action::PutObjectAnnotation)).await?;
        Ok(Some(AnnotationSource {
            bucket: Arc::clone(&source.bucket),
            key: self.source.object.key.clone(),
            record: Box::new(source.record.clone()),
        }))
    }

    /// Tags go along only where the caller may read them there and set them here (S3 reference, "`CopyObject`"). The
    /// write is judged by them, and by no header: only now it is known what the copy will have.
    async fn authorize_tags(&self, cx: &mut Context, source: &ObjectRecord) -> S3Result<()> {
        let mut needs = vec![self.object.need(Action::PutObject)];
        if !source.tags.is_empty() {
            cx.authorize(&self.source.tags_need()).await?;
            needs.push(Need { action: Action::PutObjectTagging, target: Target::Written(self.object.clone()) });
        }
        cx.retag(&source.tags, &needs).await
    }

    /// What is said of the copy. Lists, storage class, redirect and locks are never taken from the source.
    ///
    /// # Errors
    /// `InvalidRequest` for a copy of a version onto itself that changes nothing.
    fn attributes(&self, cx: &Context, bucket: &Bucket, source: &ObjectRecord) -> S3Result<Attributes> {
        let mut attributes = attributes(&cx.head, cx, bucket)?;
        let itself = self.object.bucket == self.source.object.bucket
            && self.object.key == self.source.object.key
            && self.source.object.version.is_none();
        let changes = self.metadata == Directive::Replace
            || self.checksum.is_some()
            || encryption::is_asked_for(&cx.head)
            || attributes.storage_class != source.storage_class
            || attributes.redirect != source.redirect;
        if itself && !changes {
            return Err(S3Error::request(
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        if self.metadata == Directive::Copy {
            attributes.content = source.content.clone().unwrap_or_default();
            attributes.metadata.clone_from(&source.metadata);
            // The choice of a location is not copied: the copy goes, and says to go, where its bucket's objects go.
            let chosen = attributes.metadata.iter_mut().find(|pair| pair.name == LOCATION_OF_OBJECT);
            if let Some(chosen) = chosen.filter(|_| !bucket.record.location.is_empty()) {
                chosen.value.clone_from(&bucket.record.location);
            }
        }
        if self.tagging == Directive::Copy {
            attributes.tags.clone_from(&source.tags);
        }
        Ok(attributes)
    }
}

/// Writes a copy: at the store where the source is, if it can be done there, else with its bytes.
async fn written_copy(
    cx: &Context,
    (from, source): (&CopySource, &OpenSource),
    new: NewObject,
    checksum: ChecksumAlgorithm,
) -> S3Result<ObjectRecord> {
    if !source.is_elsewhere
        && let Some(record) = cx.storage.copy_at_store(&new, &source.record, checksum).await?
    {
        return Ok(record);
    }
    let body = from.body(cx, source, 0..source.record.size, checksum).await?;
    let NewObject { bucket, key, location, attributes, condition, op } = new;
    let put = Put { bucket, key, location, attributes, condition, body, op };
    cx.storage.put_object(put).await.map_err(unwritten)
}

/// The algorithm that a copy keeps: that of a source in one piece. One of many parts gets a full checksum.
fn kept_algorithm(source: &ObjectRecord) -> Option<ChecksumAlgorithm> {
    source.checksum.as_ref().filter(|checksum| !checksum.composite).and_then(ChecksumRecord::algorithm)
}

/// Adds the version that was copied.
pub fn source_version(cx: &Context, source: &OpenSource, reply: Document) -> Document {
    if !source.bucket.is_versioned() || source.is_elsewhere {
        return reply;
    }
    reply.with(HeaderName::from_static("x-amz-copy-source-version-id"), &cx.version_text(&source.record))
}

/// `CopyObjectResult` or `CopyPartResult`.
pub fn result(root: &'static str, etag: &str, modified: &str, checksum: Option<&ChecksumRecord>) -> bytes::Bytes {
    let mut xml = XmlWriter::document(root, 512);
    xml.text("LastModified", modified).text("ETag", etag);
    if let Some((checksum, algorithm)) = checksum.and_then(|checksum| Some((checksum, checksum.algorithm()?))) {
        xml.optional(algorithm.xml_element(), checksum.to_text().as_deref());
        xml.text("ChecksumType", if checksum.composite { "COMPOSITE" } else { "FULL_OBJECT" });
    }
    xml.finish()
}
