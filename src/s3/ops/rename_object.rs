//! `RenameObject`: as S3 has it for directory buckets, here for every bucket without versioning.

use bytes::Bytes;
use http::Method;

use crate::{
    auth::Action,
    s3::{
        conditional::{ReadCondition, Verdict, write_condition},
        context::Context,
        error::{S3Error, S3Result},
        head::{self, Head},
        object_headers::refuse_words,
        operation::{Need, ObjectRef, Operation, Pattern, Scope},
        ops::get_object::missing,
        reply::Plain,
        request_body::RequestBody,
    },
    storage::{FailedCondition, Rename, RenameToken, StorageError, WriteCondition, records::ObjectRecord},
    types::{
        ObjectKey, Timestamp, UploadId,
        digest::{Digest, sha256},
    },
};

/// Most characters of a client token.
const MAX_TOKEN: usize = 64;

/// Gives an object another key.
#[derive(Debug)]
pub struct RenameObject {
    object: ObjectRef,
    source: ObjectKey,
    source_condition: ReadCondition,
    condition: WriteCondition,
    dates: ReadCondition,
    token: Option<String>,
}

impl Operation for RenameObject {
    const NAME: &'static str = "RenameObject";
    const ACTION: &'static str = "objectRename";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Object, &["renameObject"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        let object = head.object_without_version()?;
        let families = ["x-amz-grant-", "x-amz-server-side-encryption", "x-amz-object-lock-"];
        refuse_words(head, &families, "A rename changes nothing but the key.")?;
        let source = source(head, &object)?;
        if source == object.key {
            return Err(S3Error::request("The source and the destination of a rename are the same."));
        }
        Ok(Self {
            source,
            source_condition: ReadCondition::of_rename_source(head),
            condition: write_condition(head)?,
            dates: ReadCondition::of_rename_destination(head),
            token: token(head)?,
            object,
        })
    }

    /// No action of S3 is for this: it reads and removes one object, and writes another.
    fn needs(&self) -> Vec<Need> {
        let source = ObjectRef { key: self.source.clone(), ..self.object.clone() };
        let mut needs = vec![
            self.object.need(Action::PutObject),
            source.need(Action::GetObject),
            source.need(Action::DeleteObject),
        ];
        let compares = matches!(self.condition, WriteCondition::IfMatch(_)) || self.dates != ReadCondition::default();
        needs.extend(compares.then(|| self.object.need(Action::GetObject)));
        needs
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        let bucket = cx.bucket(&self.object.bucket).await?;
        let token = self.token.as_deref().map(|token| self.identify(token, cx.principal.account.as_str()));
        let rename = Rename {
            bucket,
            source: self.source,
            destination: self.object.key,
            condition: self.condition,
            check: check(self.source_condition, self.dates, cx.now),
            token,
        };
        cx.storage.rename_object(rename).await.map_err(|e| missing(&cx, e))?;
        Ok(Plain::ok())
    }
}

impl RenameObject {
    /// What stands for the token, of this account, and for what is asked with it.
    fn identify(&self, token: &str, account: &str) -> RenameToken {
        let hash = |texts: &[&str]| {
            let mut all = sha256();
            for text in texts {
                all.update((text.len() as u64).to_be_bytes());
                all.update(text.as_bytes());
            }
            all.finalize()
        };
        let id = hash(&["rename", account, token]);
        let id = id.first_chunk::<16>().copied().unwrap_or_default();
        let conditions = format!("{:?} {:?} {:?}", self.source_condition, self.condition, self.dates);
        let digest = hash(&[self.source.as_str(), self.object.key.as_str(), &conditions]);
        RenameToken { id: UploadId::from_bytes(id), digest: Bytes::copy_from_slice(&digest) }
    }
}

fn check(source: ReadCondition, dates: ReadCondition, now: Timestamp) -> crate::storage::RenameCheck {
    Box::new(move |from: &ObjectRecord, to: Option<&ObjectRecord>| {
        if source.judge(from, now) != Verdict::Go {
            return Err(StorageError::PreconditionFailed(FailedCondition::RenameSource));
        }
        match to {
            Some(to) if dates.judge(to, now) != Verdict::Go => {
                Err(StorageError::PreconditionFailed(FailedCondition::RenameDestination))
            }
            _ => Ok(()),
        }
    })
}

/// Reads `x-amz-rename-source`, percent-encoded once: a key, or `bucket/key` of the same bucket, with a slash before
/// it or without. A key that begins with the bucket's name and a slash must be written in the long form.
fn source(head: &Head, object: &ObjectRef) -> S3Result<ObjectKey> {
    const NAME: &str = "x-amz-rename-source";
    let text = head.header(NAME).unwrap_or_default();
    let invalid = |why: &'static str| S3Error::argument(why, NAME, text);
    if text.is_empty() {
        return Err(invalid("A rename must name its source."));
    }
    let decoded = head::decode(text).map_err(|_| invalid("Invalid rename source encoding."))?;
    let own = |path: &str| {
        path.strip_prefix(object.bucket.as_str()).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned)
    };
    let key = match decoded.strip_prefix('/') {
        Some(path) => {
            own(path).ok_or_else(|| invalid("The source of a rename must be in the bucket of the destination."))?
        }
        None => own(&decoded).unwrap_or(decoded),
    };
    head::key(&key)
}

fn token(head: &Head) -> S3Result<Option<String>> {
    let Some(token) = head.header("x-amz-client-token") else { return Ok(None) };
    let valid = (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if valid {
        Ok(Some(token.to_owned()))
    } else {
        Err(S3Error::argument("A client token has 1 to 64 visible characters.", "x-amz-client-token", token))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::types::BucketName;

    fn key(text: &str) -> S3Result<String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-rename-source", HeaderValue::from_str(text).unwrap());
        let head = Head::new(Method::PUT, headers, "").unwrap();
        let object =
            ObjectRef { bucket: BucketName::new("bucket").unwrap(), key: ObjectKey::new("to").unwrap(), version: None };
        source(&head, &object).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn a_source_is_a_key_or_bucket_and_key() {
        for (text, expected) in [
            ("a/b%20c", "a/b c"),
            ("bucket/a", "a"),
            ("/bucket/a/b", "a/b"),
            ("/bucket/bucket/a", "bucket/a"),
            ("bucketed/a", "bucketed/a"),
            ("a%252Fb", "a%2Fb"),
        ] {
            assert_eq!(key(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "/other/a", "/a", "bucket/", "%zz"] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
