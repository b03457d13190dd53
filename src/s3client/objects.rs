//! Calls about one object, and about a bucket as a whole.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::utf8_percent_encode;

use super::{Call, PATH, Reply, S3Client, S3ClientError, VALUE, tag_of, text_of};
use crate::{
    outbound::Payload,
    xml::{Element, XmlWriter},
};

/// What a far side says of something it has stored.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Its entity tag, without quotes.
    pub etag: Option<String>,
    /// Its version, where the store keeps versions; the version `null` is none.
    pub version: Option<String>,
    /// All headers of the answer.
    pub headers: HeaderMap,
}

/// What of an object is wanted.
#[derive(Clone, Debug, Default)]
pub struct Get<'a> {
    /// These bytes; all, where it is none. Not empty.
    pub range: Option<Range<u64>>,
    /// This version.
    pub version: Option<&'a str>,
    /// Only if it has this entity tag (without quotes).
    pub if_match: Option<&'a str>,
}

/// Bytes that the far side already has.
#[derive(Clone, Copy, Debug)]
pub struct CopySource<'a> {
    /// Their bucket.
    pub bucket: &'a str,
    /// Their key.
    pub key: &'a str,
    /// Their version.
    pub version: Option<&'a str>,
    /// Only if they have this entity tag (without quotes).
    pub if_match: Option<&'a str>,
}

/// What came of a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The version that was removed, or that of the marker.
    pub version: Option<String>,
    /// Whether there is a marker now, or one was removed.
    pub marker: bool,
}

impl CopySource<'_> {
    pub(super) fn headers(&self, mut headers: HeaderMap) -> HeaderMap {
        let mut source = format!("/{}/{}", self.bucket, utf8_percent_encode(self.key, &PATH));
        if let Some(version) = self.version {
            source.push_str("?versionId=");
            source.extend(utf8_percent_encode(version, &VALUE));
        }
        let tag = self.if_match.map(|tag| format!("\"{tag}\""));
        let named = [("x-amz-copy-source", Some(source)), ("x-amz-copy-source-if-match", tag)];
        for (name, value) in named {
            if let Some(value) = value.and_then(|value| value.parse().ok()) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

impl S3Client {
    pub(super) fn stored(&self, headers: HeaderMap) -> Stored {
        let version = text_of(&headers, self.endpoint().flavor.version_header());
        let version = version.filter(|version| !version.is_empty() && *version != "null").map(str::to_owned);
        Stored { etag: tag_of(&headers), version, headers }
    }

    fn about<'a>(&self, method: Method, bucket: &'a str, key: &'a str, version: Option<&'a str>) -> Call<'a> {
        Call::new(method, Some(bucket), Some(key)).and_some(self.endpoint().flavor.version_parameter(), version)
    }

    /// `PutObject`. A held body is sent again where that cannot make two of it ([`super::Repeat::Unseen`]).
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn put_object(
        &self,
        bucket: &str,
        key: &str,
        headers: &HeaderMap,
        payload: Payload,
    ) -> Result<Stored, S3ClientError> {
        let call = Call::new(Method::PUT, Some(bucket), Some(key)).headers(headers).payload(payload).once();
        Ok(self.stored(self.send(call).await?.headers))
    }

    /// `GetObject`.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn get_object(&self, bucket: &str, key: &str, get: Get<'_>) -> Result<Reply, S3ClientError> {
        let mut call = self.about(Method::GET, bucket, key, get.version);
        if let Some(range) = get.range {
            call = call.header("range", &format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        if let Some(tag) = get.if_match {
            call = call.header("if-match", &format!("\"{tag}\""));
        }
        self.send(call).await
    }

    /// `HeadObject`.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn head_object(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Stored, S3ClientError> {
        let reply = self.send(self.about(Method::HEAD, bucket, key, version)).await?;
        Ok(self.stored(reply.headers))
    }

    /// `DeleteObject`; what is gone already is no error. Without a version a store that keeps versions makes a marker.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn delete_object(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<Deleted, S3ClientError> {
        match self.send(self.about(Method::DELETE, bucket, key, version)).await {
            Ok(reply) => Ok(Deleted {
                marker: reply.header("x-amz-delete-marker") == Some("true"),
                version: self.stored(reply.headers).version,
            }),
            Err(error) if error.is_missing() => Ok(Deleted::default()),
            Err(error) => Err(error),
        }
    }

    /// `CopyObject`; `headers` are those of the new object.
    ///
    /// # Errors
    /// [`S3ClientError`]; an error in a good answer, too.
    pub async fn copy_object(
        &self,
        bucket: &str,
        key: &str,
        source: CopySource<'_>,
        headers: &HeaderMap,
    ) -> Result<Stored, S3ClientError> {
        let call = Call::new(Method::PUT, Some(bucket), Some(key));
        let answer = self.document(call.headers(&source.headers(headers.clone())).once().patient()).await?;
        let etag = child(&answer.root()?, "ETag").map(|tag| super::bare_tag(&tag));
        Ok(Stored { etag, ..self.stored(answer.headers) })
    }

    /// `PutObjectTagging`; without tags `DeleteObjectTagging`.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn set_object_tags(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        tags: &[(String, String)],
    ) -> Result<(), S3ClientError> {
        let method = if tags.is_empty() { Method::DELETE } else { Method::PUT };
        let mut call = self.about(method, bucket, key, version).and("tagging", "");
        if !tags.is_empty() {
            call = call.header("content-type", "application/xml").payload(Payload::Held(tagging(tags)));
        }
        self.send(call).await.map(drop)
    }

    /// `GetObjectTagging`.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn object_tags(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<Vec<(String, String)>, S3ClientError> {
        let answer = self.document(self.about(Method::GET, bucket, key, version).and("tagging", "")).await?;
        let root = answer.root()?;
        let sets = root.children_named("TagSet").flat_map(Element::children);
        Ok(sets.filter_map(|tag| Some((child(tag, "Key")?, child(tag, "Value")?))).collect())
    }

    /// `HeadBucket`.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn head_bucket(&self, bucket: &str) -> Result<HeaderMap, S3ClientError> {
        Ok(self.send(Call::new(Method::HEAD, Some(bucket), None)).await?.headers)
    }

    /// `GetBucketVersioning`: `Enabled`, `Suspended`, or nothing.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn bucket_versioning(&self, bucket: &str) -> Result<Option<String>, S3ClientError> {
        let answer = self.document(Call::new(Method::GET, Some(bucket), None).and("versioning", "")).await?;
        Ok(child(&answer.root()?, "Status"))
    }
}

fn tagging(tags: &[(String, String)]) -> Bytes {
    let mut xml = XmlWriter::document("Tagging", 1024);
    xml.open("TagSet");
    for (key, value) in tags {
        xml.open("Tag").text("Key", key).text("Value", value).close();
    }
    xml.close();
    xml.finish()
}

/// The text of an element directly within another.
pub(super) fn child(element: &Element<'_>, name: &str) -> Option<String> {
    element.children_named(name).next().map(|child| child.text().to_owned())
}
