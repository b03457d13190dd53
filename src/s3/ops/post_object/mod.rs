//! `PostObject`: a browser's form writes an object (S3 reference, "Browser-based uploads using POST").
//!
//! The fields come first and are read whole; then the policy among them is judged, and only then the file is taken,
//! as a stream. What stands behind the file is ignored. Fields that a PUT has as headers are turned into these, so
//! that one reader decides what they mean.

mod answer;
mod file;
mod form;
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::s3) mod fuzzing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use self::{
    answer::{Answer, Posted},
    file::FileBody,
    form::Form,
};
use crate::{
    auth::{Action, AuthError, FormError, FormGrant, Scheme, form_field},
    s3::{
        auth_error,
        authorize::write_needs,
        body::{LARGEST_PUT, Plan},
        codes::S3Code,
        context::{Context, Transport},
        error::{S3Error, S3Result},
        head::{self, Head},
        lock_headers,
        object_headers::attributes,
        operation::{Need, ObjectRef, Operation, Pattern, Scope, Target},
        ops::{lifecycle::show_expiration, put_object::written},
        request_body::{Declared, RequestBody},
        tags,
        xml::read,
    },
    storage::{PutObject as Put, WriteCondition, records::JournalOp},
    types::{BodyError, BucketName, ByteStream, ChecksumAlgorithm, Dialect, IncomingBody},
};

/// Writes the object that a form carries.
#[derive(Debug)]
pub struct PostObject {
    name: BucketName,
    boundary: String,
}

impl Operation for PostObject {
    const NAME: &'static str = "PostObject";
    const ACTION: &'static str = "objectPost";
    const PATTERN: Pattern = Pattern::plain(Method::POST, Scope::Bucket);
    type Reply = Posted;

    fn parse(head: &Head) -> S3Result<Self> {
        let boundary = head.header("content-type").and_then(form::boundary).ok_or_else(|| {
            S3Error::from(S3Code::PreconditionFailed)
                .with("Condition", "Bucket POST must be of the enclosure-type multipart/form-data")
        })?;
        Ok(Self { name: head.bucket()?, boundary })
    }

    /// Who acts is known only once the form has been read: `run` asks.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    async fn run(self, mut cx: Context, body: RequestBody) -> S3Result<Posted> {
        if !cx.principal.is_anonymous() {
            return Err(auth_error::s3_error(AuthError::SeveralMechanisms, cx.head.dialect));
        }
        let bucket = cx.bucket(&self.name).await?;
        let (form, file) = form::read(body.form()?, &self.boundary, cx.intake.pace().idle).await?;
        let form = form.substitute()?;
        let key = form_field(&form.fields, "key").ok_or_else(|| refusal(FormError::MissingField("key")))?;
        let object = ObjectRef { bucket: self.name, key: head::key(key)?, version: None };
        let FormGrant { principal, sizes } =
            cx.forms.judge(&form.fields, bucket.name.as_str(), cx.now).map_err(refusal)?;
        cx.principal = principal;
        cx.transport = Transport { scheme: scheme(&form), form: true, ..cx.transport };
        cx.head = Arc::new(head_of(&form, &cx.head)?);
        let mut needs = write_needs(&object, &cx.head);
        needs.extend(lock_headers::needs(&cx.head, &object)?);
        let tags = form_field(&form.fields, "tagging")
            .map(|document| tags::parse_document(&read::read(document.as_bytes())?, cx.object_tags(), "Object"));
        if let Some(tags) = &tags {
            needs.push(Need { action: Action::PutObjectTagging, target: Target::Written(object.clone()) });
            cx.request_tags = Some(tags.as_deref().unwrap_or_default().into());
        }
        for need in &needs {
            cx.authorize(need).await?;
        }

        let mut attributes = attributes(&cx.head, &cx, &bucket)?;
        if let Some(tags) = tags {
            attributes.tags = tags?;
        }
        let put = Put {
            bucket: Arc::clone(&bucket),
            key: object.key.clone(),
            location: cx.location(&bucket, &attributes.metadata)?,
            attributes,
            condition: WriteCondition::Always,
            body: incoming(&cx, file, *sizes.start(), *sizes.end())?,
            op: JournalOp::ObjectPut,
        };
        let record = cx.storage.put_object(put).await?;
        let mut headers = written(&cx, &bucket, &record);
        show_expiration(&mut headers, &bucket, &object.key, &record);
        Ok(Posted {
            headers,
            address: format!("{}/{}/{}", cx.head.base_url, bucket.name, answer::encoded_path(object.key.as_str())),
            bucket: bucket.name.to_string(),
            key: object.key.as_str().to_owned(),
            etag: record.etag().quoted(),
            answer: Answer::chosen(&form.fields),
        })
    }
}

fn refusal(e: FormError) -> S3Error {
    let message = e.to_string();
    match e {
        FormError::MissingField(name) => S3Error::argument(message, name, ""),
        FormError::Malformed(_) => S3Error::new(S3Code::InvalidPolicyDocument, message),
        FormError::Expired | FormError::ConditionFailed(_) | FormError::ExtraField(_) => {
            S3Error::new(S3Code::AccessDenied, message)
        }
        // No form has the lifetime in which dialects differ: its policy says when it ends.
        FormError::Credentials(e) => auth_error::s3_error(e, Dialect::default()),
    }
}

/// How a form that was judged proves who sent it.
fn scheme(form: &Form) -> Scheme {
    let has = |name| form_field(&form.fields, name).is_some();
    match (has("x-amz-algorithm"), has("awsaccesskeyid")) {
        (true, _) => Scheme::HeaderV4,
        (false, true) => Scheme::HeaderV2,
        (false, false) => Scheme::Anonymous,
    }
}

/// The headers of a form that a PUT would have; credentials and what speaks of the transfer are none.
fn header_name(field: &str) -> Option<&str> {
    const PLAIN: [&str; 6] =
        ["cache-control", "content-type", "content-disposition", "content-encoding", "content-language", "expires"];
    const NOT: [&str; 9] = [
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-signature",
        "x-amz-security-token",
        "x-amz-content-sha256",
        "x-amz-decoded-content-length",
        "x-amz-trailer",
        "x-amz-copy-source",
    ];
    match field {
        "acl" => Some("x-amz-acl"),
        name if PLAIN.contains(&name) => Some(name),
        name if name.starts_with("x-amz-") && !NOT.contains(&name) => Some(name),
        _ => None,
    }
}

/// The head of the PUT that the form stands for.
fn head_of(form: &Form, request: &Head) -> S3Result<Head> {
    let mut headers = HeaderMap::new();
    // What is said of the request, not of the object.
    let kept = [HeaderName::from_static("x-amz-expected-bucket-owner"), header::USER_AGENT, header::REFERER];
    for name in kept {
        if let Some(value) = request.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    for (field, value) in &form.fields {
        let Some(name) = header_name(field) else { continue };
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        match (name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()) {
            (Some(name), Some(value)) => headers.insert(name, value),
            _ => return Err(S3Error::argument("A form field is no valid header.", field, value)),
        };
    }
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("binary/octet-stream"));
    let mut head = Head::new(Method::PUT, headers, "")?;
    head.bucket.clone_from(&request.bucket);
    head.host.clone_from(&request.host);
    head.base_url.clone_from(&request.base_url);
    head.dialect = request.dialect;
    Ok(head)
}

/// The file as an object's body: hashed, bounded, and never shorter than the policy says.
fn incoming<B>(cx: &Context, file: FileBody<B>, least: u64, most: u64) -> S3Result<IncomingBody>
where
    B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
{
    let declared = Declared::read(&cx.head)?;
    let plan = Plan {
        max_size: most.min(LARGEST_PUT),
        checksum: declared.value,
        store: declared.algorithm.unwrap_or(ChecksumAlgorithm::Crc64Nvme),
        ..Plan::default()
    };
    let body = cx.intake.accept(file, plan);
    Ok(IncomingBody { stream: at_least(body.stream, least), ..body })
}

/// The stream, ending in an error if it was shorter.
fn at_least(body: ByteStream, least: u64) -> ByteStream {
    stream::unfold(Some((body, 0_u64)), move |state| async move {
        let (mut body, size) = state?;
        match body.next().await {
            Some(Ok(chunk)) => {
                let size = size.saturating_add(chunk.len() as u64);
                Some((Ok(chunk), Some((body, size))))
            }
            Some(Err(e)) => Some((Err(e), None)),
            None if size < least => Some((Err(BodyError::TooSmall { least, got: size }), None)),
            None => None,
        }
    })
    .boxed()
}
