//! `DeleteObject`.

use http::{HeaderName, Method};

use crate::{
    auth::Action,
    s3::{
        conditional::{FORGET, found},
        context::Context,
        error::{S3Error, S3Result},
        head::{Head, parse_number},
        lock_headers::bypass,
        operation::{Need, ObjectRef, Operation, Pattern, Scope},
        read_through,
        reply::Plain,
        request_body::RequestBody,
    },
    storage::{DeleteCondition, Deleted},
    types::{ETag, Timestamp},
};

/// Deletes an object or a version.
#[derive(Debug)]
pub struct DeleteObject {
    object: ObjectRef,
    condition: DeleteCondition,
}

impl Operation for DeleteObject {
    const NAME: &'static str = "DeleteObject";
    const ACTION: &'static str = "objectDelete";
    const PATTERN: Pattern = Pattern::plain(Method::DELETE, Scope::Object);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        let size = match head.header("x-amz-if-match-size") {
            None => None,
            Some(text) => Some(parse_number("x-amz-if-match-size", text)?),
        };
        let modified = match head.header("x-amz-if-match-last-modified-time") {
            None => None,
            Some(text) => Some(parse_time(text)?),
        };
        let condition = DeleteCondition {
            etag: head.header("if-match").map(expected_tag),
            size,
            modified,
            found: found(head)?,
            forget: head.header(FORGET).is_some(),
            ..DeleteCondition::default()
        };
        Ok(Self { object: head.object()?, condition })
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![self.object.need(action(&self.object))];
        needs.extend(looks(&self.condition).then(|| self.object.need(read_action(&self.object))));
        needs
    }

    async fn run(self, mut cx: Context, _: RequestBody) -> S3Result<Plain> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        let bypass = bypass(&mut cx, &bucket, &self.object).await;
        let condition = DeleteCondition { bypass, ..self.condition };
        let condition = read_through::delete_condition(&cx, &bucket, &self.object, condition).await?;
        let ObjectRef { key, version, .. } = &self.object;
        let deleted = cx.storage.delete_object(&bucket, key, *version, &condition).await?;
        let mut reply = Plain::no_content();
        if deleted.delete_marker {
            reply = reply.with(HeaderName::from_static("x-amz-delete-marker"), "true");
        }
        if let Some(version) = version_text(&cx, &deleted).filter(|_| bucket.is_versioned()) {
            reply = reply.with(HeaderName::from_static("x-amz-version-id"), &version);
        }
        Ok(reply)
    }
}

/// The action that deletes this.
pub fn action(object: &ObjectRef) -> Action {
    if object.version.is_some() { Action::DeleteObjectVersion } else { Action::DeleteObject }
}

/// Whether a delete compares what is there with something, and so tells of it.
pub fn looks(condition: &DeleteCondition) -> bool {
    let DeleteCondition { etag, size, modified, .. } = condition;
    matches!(etag, Some(Some(_))) || size.is_some() || modified.is_some()
}

/// The action that reads this: what a conditional delete needs, too (S3 user guide, "Enforce conditional deletes").
pub fn read_action(object: &ObjectRef) -> Action {
    if object.version.is_some() { Action::GetObjectVersion } else { Action::GetObject }
}

/// The version id of what was made or removed.
pub fn version_text(cx: &Context, deleted: &Deleted) -> Option<String> {
    let version = deleted.version.as_ref()?;
    Some(version.map_or_else(|| "null".to_owned(), |id| id.encode(cx.settings.version_ids)))
}

/// The tag of an `If-Match`; `None` inside for `*`.
pub fn expected_tag(text: &str) -> Option<ETag> {
    (text.trim() != "*").then(|| ETag::parse(text))
}

/// A date of a delete's condition.
pub fn parse_time(text: &str) -> S3Result<Timestamp> {
    Timestamp::parse_http_date(text)
        .or_else(|| Timestamp::parse_iso8601(text))
        .ok_or_else(|| S3Error::argument("Invalid date", "x-amz-if-match-last-modified-time", text))
}
