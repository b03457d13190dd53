//! `GetBucketPolicy`, `PutBucketPolicy`, `DeleteBucketPolicy`, `GetBucketPolicyStatus`. What a policy means is in
//! [`crate::auth`].

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};

use super::setting::{absent, change, receive};
use crate::{
    auth::{Action, MAX_POLICY, Policy},
    s3::{
        ResponseBody,
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Need, Operation, Pattern, Reply, Scope},
        reply::{Document, Plain, full},
        request_body::{Digest, RequestBody},
        xml::XmlWriter,
    },
    storage::Bucket,
    types::BucketName,
};

/// Largest body: one that is longer than a policy may be, but not much, is told so.
const DOCUMENT: usize = 4 * MAX_POLICY;

/// Returns a bucket's policy.
#[derive(Debug)]
pub struct GetBucketPolicy {
    name: BucketName,
}

/// Replaces a bucket's policy.
#[derive(Debug)]
pub struct PutBucketPolicy {
    name: BucketName,
}

/// Removes a bucket's policy.
#[derive(Debug)]
pub struct DeleteBucketPolicy {
    name: BucketName,
}

/// Tells whether a bucket is public.
#[derive(Debug)]
pub struct GetBucketPolicyStatus {
    name: BucketName,
}

/// A policy, as it was put.
#[derive(Debug)]
pub struct PolicyText(String);

impl Reply for PolicyText {
    fn render(self) -> S3Result<Response<ResponseBody>> {
        let mut response = Response::new(full(Bytes::from(self.0)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

impl Operation for GetBucketPolicy {
    const NAME: &'static str = "GetBucketPolicy";
    const ACTION: &'static str = "bucketGetPolicy";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["policy"]);
    type Reply = PolicyText;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketPolicy)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<PolicyText> {
        let bucket = cx.bucket(&self.name).await?;
        check_owner(&cx, &bucket)?;
        if bucket.record.policy.is_empty() {
            return Err(absent(S3Code::NoSuchBucketPolicy, &bucket));
        }
        Ok(PolicyText(bucket.record.policy.clone()))
    }
}

impl Operation for PutBucketPolicy {
    const NAME: &'static str = "PutBucketPolicy";
    const ACTION: &'static str = "bucketPutPolicy";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["policy"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketPolicy)]
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Plain> {
        // The model demands a digest; s3cmd sends none, and S3 takes that.
        let document = receive(&mut cx, body, (DOCUMENT, Digest::Optional), self.needs()).await?;
        let bucket = cx.bucket(&self.name).await?;
        check_owner(&cx, &bucket)?;
        let policy = Policy::parse(&document, &self.name)
            .map_err(|e| S3Error::new(S3Code::MalformedPolicy, e.to_string()).because(e))?;
        let text = String::from_utf8(document.to_vec()).map_err(|_| S3Error::from(S3Code::MalformedPolicy))?;
        change(&cx, &bucket, |record| {
            let blocked = record.public_access_block.unwrap_or_default().block_public_policy;
            if blocked && policy.is_public() {
                return Err(S3Code::AccessDenied.into());
            }
            record.policy.clone_from(&text);
            Ok(())
        })
        .await?;
        Ok(Plain::no_content())
    }
}

impl Operation for DeleteBucketPolicy {
    const NAME: &'static str = "DeleteBucketPolicy";
    const ACTION: &'static str = "bucketDeletePolicy";
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Bucket, &["policy"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::DeleteBucketPolicy)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        let bucket = cx.bucket(&self.name).await?;
        check_owner(&cx, &bucket)?;
        change(&cx, &bucket, |record| {
            record.policy.clear();
            Ok(())
        })
        .await?;
        Ok(Plain::no_content())
    }
}

impl Operation for GetBucketPolicyStatus {
    const NAME: &'static str = "GetBucketPolicyStatus";
    const ACTION: &'static str = "bucketGetPolicyStatus";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["policyStatus"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketPolicyStatus)]
    }

    /// The list counts, too, and a bucket without a policy has a status (s3-tests).
    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let by_policy = bucket.policy.as_ref().is_some_and(|policy| policy.is_public());
        let by_list = bucket.acl.is_public() && !bucket.limits.ignore_public_acls;
        let mut xml = XmlWriter::document("PolicyStatus", 256);
        xml.value("IsPublic", by_policy || by_list);
        Ok(Document::new(xml.finish()))
    }
}

/// Policies are the business of the owner's account: others cannot be given it (S3 reference, "`PutBucketPolicy`").
fn check_owner(cx: &Context, bucket: &Bucket) -> S3Result<()> {
    if cx.principal.account == bucket.owner || cx.principal.is_service() {
        return Ok(());
    }
    Err(S3Error::from(S3Code::MethodNotAllowed).with("Method", cx.head.method.as_str()).with("ResourceType", "POLICY"))
}
