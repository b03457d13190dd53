//! Calls that list.

use std::str::FromStr;

use http::Method;
use percent_encoding::percent_decode_str;

use super::{Call, S3Client, S3ClientError, bare_tag, objects::child};
use crate::{types::Timestamp, xml::Element};

/// An object of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its key.
    pub key: String,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// Its bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Option<Timestamp>,
    /// Its generation, where the store has such.
    pub generation: Option<String>,
}

/// A page of objects.
#[derive(Clone, Debug, Default)]
pub struct ObjectsPage {
    /// In the store's order.
    pub objects: Vec<ObjectEntry>,
    /// What to ask for the next page; none behind the last.
    pub next: Option<String>,
}

/// A version of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionEntry {
    /// Key, entity tag, size and time; a marker has no tag.
    pub object: ObjectEntry,
    /// Its version; `null` for the one without a name.
    pub version: String,
    /// Whether it is the newest.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub marker: bool,
}

/// A page of versions.
#[derive(Clone, Debug, Default)]
pub struct VersionsPage {
    /// In the store's order: by key, then newest first.
    pub versions: Vec<VersionEntry>,
    /// Key and version to ask behind; none behind the last page.
    pub next: Option<(String, String)>,
}

/// What of a bucket is to be listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListWish<'a> {
    /// Keys begin with it.
    pub prefix: &'a str,
    /// Keys that have it behind the prefix are folded; empty for none.
    pub delimiter: &'a str,
    /// Behind this text.
    pub after: Option<&'a str>,
    /// At most so many entries; S3 gives 1,000.
    pub limit: usize,
}

/// A page of objects and of what others are folded into.
#[derive(Clone, Debug, Default)]
pub struct FoldedPage {
    /// In the store's order.
    pub objects: Vec<ObjectEntry>,
    /// In the store's order.
    pub prefixes: Vec<String>,
    /// Whether more follows.
    pub is_truncated: bool,
}

/// A part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartEntry {
    /// Its number.
    pub number: u32,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// Its bytes.
    pub size: u64,
}

/// A page of parts.
#[derive(Clone, Debug, Default)]
pub struct PartsPage {
    /// By number.
    pub parts: Vec<PartEntry>,
    /// The number to ask behind; none behind the last page.
    pub next: Option<u32>,
}

/// A bucket of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketEntry {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
}

impl S3Client {
    /// `ListObjectsV2`: at most `limit` objects (1,000 at the most), behind `after` or from where a page ended.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn list_objects(
        &self,
        bucket: &str,
        prefix: &str,
        (after, token): (Option<&str>, Option<&str>),
        limit: usize,
    ) -> Result<ObjectsPage, S3ClientError> {
        let call = Call::new(Method::GET, Some(bucket), None)
            .and("list-type", "2")
            .and("encoding-type", "url")
            .and("max-keys", limit.min(1000).to_string())
            .and("prefix", prefix)
            .and_some("start-after", after)
            .and_some("continuation-token", token);
        let answer = self.document(call).await?;
        let root = answer.root()?;
        let escaped = is_escaped(&root);
        let objects = root.children_named("Contents").map(|entry| object(entry, escaped));
        Ok(ObjectsPage {
            objects: objects.collect(),
            next: child(&root, "NextContinuationToken").filter(|_| flag(&root, "IsTruncated")),
        })
    }

    /// `ListObjectsV2` with a delimiter, behind a text.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn list_folded(&self, bucket: &str, wish: ListWish<'_>) -> Result<FoldedPage, S3ClientError> {
        let call = Call::new(Method::GET, Some(bucket), None)
            .and("list-type", "2")
            .and("encoding-type", "url")
            .and("max-keys", wish.limit.min(1000).to_string())
            .and("prefix", wish.prefix)
            .and_some("delimiter", Some(wish.delimiter).filter(|text| !text.is_empty()))
            .and_some("start-after", wish.after);
        let answer = self.document(call).await?;
        let root = answer.root()?;
        let escaped = is_escaped(&root);
        let prefixes = root.children_named("CommonPrefixes").filter_map(|entry| child(entry, "Prefix"));
        Ok(FoldedPage {
            objects: root.children_named("Contents").map(|entry| object(entry, escaped)).collect(),
            prefixes: prefixes.map(|prefix| unescape(&prefix, escaped)).collect(),
            is_truncated: flag(&root, "IsTruncated"),
        })
    }

    /// `ListObjectVersions`: at most `limit` versions (1,000 at the most) behind a key, or a key's version.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn list_versions(
        &self,
        bucket: &str,
        prefix: &str,
        (key, version): (Option<&str>, Option<&str>),
        limit: usize,
    ) -> Result<VersionsPage, S3ClientError> {
        let call = Call::new(Method::GET, Some(bucket), None)
            .and("versions", "")
            .and("encoding-type", "url")
            .and("max-keys", limit.min(1000).to_string())
            .and("prefix", prefix)
            .and_some("key-marker", key)
            .and_some("version-id-marker", version);
        let answer = self.document(call).await?;
        let root = answer.root()?;
        let escaped = is_escaped(&root);
        let versions = root.children().iter().filter(|entry| matches!(entry.name(), "Version" | "DeleteMarker"));
        let versions = versions.map(|entry| VersionEntry {
            object: object(entry, escaped),
            version: child(entry, "VersionId").unwrap_or_default(),
            latest: flag(entry, "IsLatest"),
            marker: entry.name() == "DeleteMarker",
        });
        let next = child(&root, "NextKeyMarker").filter(|_| flag(&root, "IsTruncated"));
        let next = next.map(|key| (unescape(&key, escaped), child(&root, "NextVersionIdMarker").unwrap_or_default()));
        Ok(VersionsPage { versions: versions.collect(), next })
    }

    /// `ListBuckets`.
    ///
    /// # Errors
    /// [`S3ClientError`].
    pub async fn list_buckets(&self) -> Result<Vec<BucketEntry>, S3ClientError> {
        let answer = self.document(Call::new(Method::GET, None, None)).await?;
        let root = answer.root()?;
        let buckets = root.children_named("Buckets").flat_map(Element::children);
        let entry = |bucket: &Element<'_>| {
            Some(BucketEntry { name: child(bucket, "Name")?, created: time(bucket, "CreationDate") })
        };
        Ok(buckets.filter_map(entry).collect())
    }
}

fn object(entry: &Element<'_>, escaped: bool) -> ObjectEntry {
    ObjectEntry {
        key: unescape(&child(entry, "Key").unwrap_or_default(), escaped),
        etag: bare_tag(&child(entry, "ETag").unwrap_or_default()),
        size: number(entry, "Size").unwrap_or(0),
        modified: time(entry, "LastModified"),
        generation: child(entry, "Generation"),
    }
}

/// A store that does not know `encoding-type` does not say so either.
fn is_escaped(root: &Element<'_>) -> bool {
    child(root, "EncodingType").is_some_and(|kind| kind == "url")
}

fn unescape(text: &str, escaped: bool) -> String {
    if !escaped {
        return text.to_owned();
    }
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

fn time(entry: &Element<'_>, name: &str) -> Option<Timestamp> {
    Timestamp::parse_iso8601(&child(entry, name)?)
}

pub(super) fn number<T: FromStr>(entry: &Element<'_>, name: &str) -> Option<T> {
    child(entry, name)?.trim().parse().ok()
}

pub(super) fn flag(entry: &Element<'_>, name: &str) -> bool {
    child(entry, name).is_some_and(|text| text.trim() == "true")
}
