//! `GetBucketAcl`, `PutBucketAcl`, `GetObjectAcl`, `PutObjectAcl`.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Method};

use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::S3Result,
        grants::{self, Subject},
        head::Head,
        operation::{Need, ObjectRef, Operation, Pattern, Scope},
        ops::{get_object::missing, setting::change},
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
    },
    storage::{
        Bucket,
        records::{AclRecord, ObjectRecord},
    },
    types::{Acl, BucketName, ObjectOwnership},
};

/// Largest document: a hundred grants, with room for names and white space.
const DOCUMENT: usize = 256 << 10;
/// Attempts to hold on to a version that others replace.
pub(super) const ATTEMPTS: usize = 8;
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// Returns the list of a bucket.
#[derive(Debug)]
pub struct GetBucketAcl {
    name: BucketName,
}

/// Replaces the list of a bucket.
#[derive(Debug)]
pub struct PutBucketAcl {
    name: BucketName,
}

/// Returns the list of a version.
#[derive(Debug)]
pub struct GetObjectAcl {
    object: ObjectRef,
}

/// Replaces the list of a version.
#[derive(Debug)]
pub struct PutObjectAcl {
    object: ObjectRef,
}

impl Operation for GetBucketAcl {
    const NAME: &'static str = "GetBucketAcl";
    const ACTION: &'static str = "bucketGetACL";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["acl"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketAcl)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let name = &bucket.record.owner_display_name;
        Ok(Document::new(grants::write(&bucket.owner, name, &bucket.acl, cx.directory.as_ref())))
    }
}

impl Operation for PutBucketAcl {
    const NAME: &'static str = "PutBucketAcl";
    const ACTION: &'static str = "bucketPutACL";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["acl"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketAcl)]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = receive(&mut cx, body, self.needs()).await?;
        let bucket = cx.bucket(&self.name).await?;
        grants::check_used(&bucket)?;
        let subject = Subject::Bucket { owner: &bucket.owner };
        let acl = grants::from_request(&cx.head, &document, cx.directory.as_ref(), subject)?;
        grants::check_public(&acl, &bucket)?;
        change(&cx, &bucket, |record| {
            // The settings that allow the list must be those under which it is stored.
            if record.access_limits() != bucket.limits
                || record.public_access_block != bucket.record.public_access_block
            {
                return Err(S3Code::OperationAborted.into());
            }
            record.set_acl(&acl);
            Ok(())
        })
        .await?;
        Ok(Plain::ok())
    }
}

impl Operation for GetObjectAcl {
    const NAME: &'static str = "GetObjectAcl";
    const ACTION: &'static str = "objectGetACL";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Object, &["acl"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(self.action())]
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Document> {
        let action = self.action();
        let bucket = cx.bucket(&self.object.bucket).await?;
        let record = judged(&mut cx, &bucket, &self.object, action).await?;
        let document = match bucket.limits.ownership {
            // Whoever wrote it, it is the bucket owner's.
            ObjectOwnership::BucketOwnerEnforced => {
                let (owner, name) = (&bucket.owner, &bucket.record.owner_display_name);
                grants::write(owner, name, &Acl::private(owner), cx.directory.as_ref())
            }
            ObjectOwnership::ObjectWriter | ObjectOwnership::BucketOwnerPreferred => {
                grants::write(&record.owner(), &record.owner_display_name, &record.acl(), cx.directory.as_ref())
            }
        };
        let reply = Document::new(document);
        Ok(if bucket.is_versioned() { reply.with(VERSION_ID, &cx.version_text(&record)) } else { reply })
    }
}

impl GetObjectAcl {
    fn action(&self) -> Action {
        if self.object.version.is_some() { Action::GetObjectVersionAcl } else { Action::GetObjectAcl }
    }
}

impl Operation for PutObjectAcl {
    const NAME: &'static str = "PutObjectAcl";
    const ACTION: &'static str = "objectPutACL";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Object, &["acl"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(self.action())]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = receive(&mut cx, body, self.needs()).await?;
        let action = self.action();
        let bucket = cx.bucket(&self.object.bucket).await?;
        grants::check_used(&bucket)?;
        for _ in 0..ATTEMPTS {
            let record = judged(&mut cx, &bucket, &self.object, action).await?;
            let owner = record.owner();
            let subject = Subject::Object { owner: &owner, bucket_owner: &bucket.owner };
            let acl = grants::from_request(&cx.head, &document, cx.directory.as_ref(), subject)?;
            grants::check_public(&acl, &bucket)?;
            let acl = AclRecord::from(&acl);
            let id = record.version_id();
            // Only the version that the caller was judged by: what was written since may be somebody else's.
            let edit = |record: &mut ObjectRecord| {
                if record.version_id() == id {
                    record.acl = Some(acl.clone());
                }
            };
            let updated = cx.storage.update_version(&bucket, &self.object.key, self.object.version, edit).await;
            let updated = updated.map_err(|e| missing(&cx, e))?;
            if updated.version_id() == id {
                let reply = Plain::ok();
                let versioned = bucket.is_versioned();
                return Ok(if versioned { reply.with(VERSION_ID, &cx.version_text(&updated)) } else { reply });
            }
        }
        Err(S3Code::OperationAborted.into())
    }
}

impl PutObjectAcl {
    fn action(&self) -> Action {
        if self.object.version.is_some() { Action::PutObjectVersionAcl } else { Action::PutObjectAcl }
    }
}

/// The document of a request. A client may take long to send one, and its right may be taken from it meanwhile: the
/// request is judged again then.
async fn receive(cx: &mut Context, body: RequestBody, needs: Vec<Need>) -> S3Result<Bytes> {
    let document = body.optional_document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
    if !document.is_empty() {
        for need in needs {
            cx.authorize(&need).await?;
        }
    }
    Ok(document)
}

/// The version that the request names, as it was when the caller was judged by it.
pub(super) async fn judged(
    cx: &mut Context,
    bucket: &Arc<Bucket>,
    object: &ObjectRef,
    action: Action,
) -> S3Result<ObjectRecord> {
    for _ in 0..ATTEMPTS {
        if let Some(record) = cx.take_authorized(object) {
            return Ok(record);
        }
        match cx.storage.version(bucket, &object.key, object.version).await {
            // Written since, or this is another attempt.
            Ok(_) => cx.authorize_object(bucket, object, action).await?,
            Err(e) => return Err(missing(cx, e)),
        }
    }
    Err(S3Code::OperationAborted.into())
}
