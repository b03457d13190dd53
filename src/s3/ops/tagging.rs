//! Tags of objects and buckets: get, put, delete.

use http::{HeaderName, Method};

use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::S3Result,
        head::Head,
        operation::{Deed, Need, ObjectRef, Operation, Pattern, Scope},
        ops::{
            acl::{ATTEMPTS, judged},
            get_object::missing,
            setting::{DeleteSetting, GetSetting, PutSetting, Removable, Settable, Setting, Verb, absent},
        },
        read_through,
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        tags::{self, TagLimit},
        xml::read,
    },
    storage::{
        Bucket,
        records::{BucketRecord, ObjectRecord, Pair},
    },
};

/// Largest document: fifty tags, escaped.
const DOCUMENT: usize = 256 << 10;

/// Returns the tags of a version.
#[derive(Debug)]
pub struct GetObjectTagging {
    object: ObjectRef,
}

/// Replaces the tags of a version.
#[derive(Debug)]
pub struct PutObjectTagging {
    object: ObjectRef,
}

/// Removes the tags of a version.
#[derive(Debug)]
pub struct DeleteObjectTagging {
    object: ObjectRef,
}

/// The tags of a bucket.
#[derive(Debug)]
pub struct BucketTags;

/// Returns the tags of a bucket.
pub type GetBucketTagging = GetSetting<BucketTags>;
/// Replaces the tags of a bucket.
pub type PutBucketTagging = PutSetting<BucketTags>;
/// Removes the tags of a bucket.
pub type DeleteBucketTagging = DeleteSetting<BucketTags>;

fn version_header(cx: &Context, versioned: bool, record: &ObjectRecord, reply: Plain) -> Plain {
    if versioned { reply.with(HeaderName::from_static("x-amz-version-id"), &cx.version_text(record)) } else { reply }
}

fn pick(object: &ObjectRef, plain: Action, versioned: Action) -> Action {
    if object.version.is_some() { versioned } else { plain }
}

/// Replaces the tags of the version that the caller was judged by: what was written since may be somebody else's.
async fn replace(
    cx: &mut Context,
    (object, action): (&ObjectRef, Action),
    tags: Vec<Pair>,
    reply: Plain,
) -> S3Result<Plain> {
    let bucket = cx.bucket(&object.bucket).await?;
    for _ in 0..ATTEMPTS {
        let id = judged(cx, &bucket, object, action).await?.version_id();
        let edit = |record: &mut ObjectRecord| {
            if record.version_id() == id {
                record.tags.clone_from(&tags);
            }
        };
        let updated = cx.storage.update_version(&bucket, &object.key, object.version, edit).await;
        let updated = updated.map_err(|e| missing(cx, e))?;
        if updated.version_id() == id {
            return Ok(version_header(cx, bucket.is_versioned(), &updated, reply));
        }
    }
    Err(S3Code::OperationAborted.into())
}

impl Operation for GetObjectTagging {
    const NAME: &'static str = "GetObjectTagging";
    const ACTION: &'static str = "objectGetTagging";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Object, &["tagging"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(pick(&self.object, Action::GetObjectTagging, Action::GetObjectVersionTagging))]
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        let asked = (&self.object, Action::GetObjectTagging);
        let record = read_through::version(&mut cx, &bucket, asked).await?;
        let document = Document::new(tags::document(&record.tags));
        if bucket.is_versioned() {
            return Ok(document.with(HeaderName::from_static("x-amz-version-id"), &cx.version_text(&record)));
        }
        Ok(document)
    }
}

impl Operation for PutObjectTagging {
    const NAME: &'static str = "PutObjectTagging";
    const ACTION: &'static str = "objectPutTagging";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Object, &["tagging"]);
    const DEED: Deed = Deed::SetsTags;
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(self.action())]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let parsed = read::read(&document).map_err(Into::into);
        let parsed = parsed.and_then(|root| tags::parse_document(&root, cx.object_tags(), "Object"));
        // A policy may ask which tags are set: then only now the request is judged.
        cx.retag(parsed.as_deref().unwrap_or_default(), &self.needs()).await?;
        let tags = parsed?;
        replace(&mut cx, (&self.object, self.action()), tags, Plain::ok()).await
    }
}

impl PutObjectTagging {
    fn action(&self) -> Action {
        pick(&self.object, Action::PutObjectTagging, Action::PutObjectVersionTagging)
    }
}

impl Operation for DeleteObjectTagging {
    const NAME: &'static str = "DeleteObjectTagging";
    const ACTION: &'static str = "objectDeleteTagging";
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Object, &["tagging"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(self.action())]
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Plain> {
        replace(&mut cx, (&self.object, self.action()), Vec::new(), Plain::no_content()).await
    }
}

impl DeleteObjectTagging {
    fn action(&self) -> Action {
        pick(&self.object, Action::DeleteObjectTagging, Action::DeleteObjectVersionTagging)
    }
}

impl Setting for BucketTags {
    const QUERY: &'static [&'static str] = &["tagging"];
    const GET: Verb = Verb::new("GetBucketTagging", "bucketGetTagging", Action::GetBucketTagging);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        if bucket.record.tags.is_empty() {
            return Err(absent(S3Code::NoSuchTagSet, bucket));
        }
        Ok(Document::new(tags::document(&bucket.record.tags)))
    }
}

/// The reference says that 200 answers a put, its example 204; minio-js takes only 200, as the original answers.
impl Settable for BucketTags {
    const PUT: Verb = Verb::new("PutBucketTagging", "bucketPutTagging", Action::PutBucketTagging);
    const LARGEST: usize = DOCUMENT;
    /// The model demands one; the original asks for none.
    const DIGEST: Digest = Digest::Optional;
    type Value = Vec<Pair>;

    fn read(document: &[u8], cx: &Context) -> S3Result<Vec<Pair>> {
        tags::parse_document(&read::read(document)?, TagLimit::bucket(cx.head.dialect), "Bucket")
    }

    fn set(tags: &Vec<Pair>, record: &mut BucketRecord) -> S3Result<()> {
        record.tags.clone_from(tags);
        Ok(())
    }
}

impl Removable for BucketTags {
    const DELETE: Verb = Verb::new("DeleteBucketTagging", "bucketDeleteTagging", Action::PutBucketTagging);

    fn clear(record: &mut BucketRecord) {
        record.tags.clear();
    }
}
