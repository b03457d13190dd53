//! Looks at a whole bucket through every operation that shows something of it, and lets none contradict another.

use std::collections::{BTreeMap, HashMap};

use md5::{Digest as _, Md5};

use crate::{
    history::{
        Mode, State, Version, Violation, What,
        payload::{self, Tag},
    },
    support::{
        client::{Answer, Client, Request},
        xml,
    },
};

/// Small pages, so that paging is part of what is checked.
const PAGE: usize = 40;

/// Payloads by their MD5, to know parts by: a part cannot be read before the upload is complete.
pub(crate) type Known = HashMap<String, Tag>;

pub(crate) fn md5(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

/// Everything that `bucket` shows, by key.
pub(crate) async fn bucket(
    client: &Client,
    bucket: &str,
    mode: Mode,
    known: &Known,
) -> Result<BTreeMap<String, State>, Violation> {
    let mut states = BTreeMap::<String, State>::new();
    for row in versions(client, bucket).await? {
        let (key, version) = row.read(client, bucket, mode).await?;
        states.entry(key).or_default().versions.push(version);
    }
    check_listing(client, bucket, &states).await?;
    for (key, upload) in uploads(client, bucket).await {
        let parts = parts(client, bucket, &key, &upload, known).await?;
        states.entry(key).or_default().uploads.insert(upload, parts);
    }
    Ok(states)
}

/// A row of `ListObjectVersions`.
struct Row {
    key: String,
    id: String,
    is_latest: bool,
    /// Size and ETag, unless it is a delete marker.
    object: Option<(u64, String)>,
}

impl Row {
    /// Reads what the row promises.
    async fn read(self, client: &Client, bucket: &str, mode: Mode) -> Result<(String, Version), Violation> {
        let id = (mode == Mode::Versioned).then_some(self.id);
        let Some((size, etag)) = self.object else {
            return Ok((self.key, Version { id, what: What::Marker, label: None }));
        };
        let request = |method, sub: Option<&str>| {
            let mut request = Request::new(method, format!("/{bucket}/{}", self.key));
            if let Some(sub) = sub {
                request = request.query(sub, "");
            }
            if let Some(id) = &id {
                request = request.query("versionId", id);
            }
            request
        };
        let body = client.send(request("GET", None)).await.unwrap();
        let head = client.send(request("HEAD", None)).await.unwrap();
        let wrong = |what: &str| Violation(format!("{}/{} {id:?}: {what}", bucket, self.key));
        if !body.status.is_success() || !head.status.is_success() {
            return Err(wrong(&format!("listed, but GET says {} and HEAD {}", body.status, head.status)));
        }
        if body.body.len() as u64 != size || head.header("content-length") != size.to_string() {
            return Err(wrong("size differs between listing, GET and HEAD"));
        }
        if body.etag() != etag || head.etag() != etag || !(etag.contains('-') || md5(&body.body) == etag) {
            return Err(wrong("ETag differs between listing, GET, HEAD and bytes"));
        }
        let tags = payload::read(&body.body).map_err(|torn| wrong(&torn.to_string()))?;
        check_name(&body, &tags).map_err(|e| wrong(&e.to_string()))?;
        let labels = client.send(request("GET", Some("tagging"))).await.unwrap().good("GetObjectTagging");
        let label = xml::first(labels.text(), "Value").map(|value| value.parse().unwrap());
        if self.is_latest && id.is_some() {
            let newest = client.get(&format!("/{bucket}/{}", self.key)).await.unwrap();
            if newest.body != body.body {
                return Err(wrong("GET without a version is not the latest version"));
            }
        }
        Ok((self.key, Version { id, what: What::Object(tags), label }))
    }
}

/// User metadata names the first payload: it must have come with the same version.
fn check_name(answer: &Answer, tags: &[Tag]) -> Result<(), Violation> {
    let name = answer.header("x-amz-meta-name");
    let first = tags.first().map(|tag| tag.number.to_string());
    if name.is_empty() || Some(name) == first.as_deref() {
        return Ok(());
    }
    Err(Violation(format!("metadata of payload {name} with the bytes of {tags:?}")))
}

async fn versions(client: &Client, bucket: &str) -> Result<Vec<Row>, Violation> {
    let mut rows = Vec::<Row>::new();
    let mut marker = None;
    loop {
        let mut request = Request::new("GET", format!("/{bucket}")).query("versions", "").query("max-keys", PAGE);
        if let Some((key, id)) = marker {
            request = request.query("key-marker", key).query("version-id-marker", id);
        }
        let answer = client.send(request).await.unwrap().good("ListObjectVersions");
        let text = answer.text();
        for (kind, row) in xml::either(text, ["Version", "DeleteMarker"]) {
            let key = xml::first(row, "Key").unwrap().to_owned();
            let is_latest = xml::first(row, "IsLatest") == Some("true");
            if is_latest == rows.last().is_some_and(|last| last.key == key) {
                return Err(Violation(format!("{key}: not exactly the first version is the latest: {text}")));
            }
            rows.push(Row {
                key,
                is_latest,
                id: xml::first(row, "VersionId").unwrap().to_owned(),
                object: (kind == "Version")
                    .then(|| (xml::first(row, "Size").unwrap().parse().unwrap(), xml::etag(row))),
            });
        }
        if xml::first(text, "IsTruncated") != Some("true") {
            return Ok(rows);
        }
        let next = |name| xml::first(text, name).unwrap().to_owned();
        marker = Some((next("NextKeyMarker"), next("NextVersionIdMarker")));
    }
}

/// The plain listing names exactly the keys whose newest version is an object.
async fn check_listing(client: &Client, bucket: &str, states: &BTreeMap<String, State>) -> Result<(), Violation> {
    let mut listed = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut request = Request::new("GET", format!("/{bucket}")).query("list-type", 2).query("max-keys", PAGE);
        if let Some(token) = token {
            request = request.query("continuation-token", token);
        }
        let answer = client.send(request).await.unwrap().good("ListObjectsV2");
        let keys = xml::all(answer.text(), "Contents").into_iter().map(|row| xml::first(row, "Key").unwrap());
        listed.extend(keys.map(str::to_owned));
        token = xml::first(answer.text(), "NextContinuationToken").map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    let there: Vec<_> = states.iter().filter(|(_, state)| state.current().is_some()).map(|(key, _)| key).collect();
    if listed.iter().collect::<Vec<_>>() == there {
        return Ok(());
    }
    Err(Violation(format!("{bucket} lists {listed:?}, but holds {there:?}")))
}

async fn uploads(client: &Client, bucket: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut marker: Option<(String, String)> = None;
    loop {
        let mut request = Request::new("GET", format!("/{bucket}")).query("uploads", "").query("max-uploads", 5);
        if let Some((key, upload)) = marker {
            request = request.query("key-marker", key).query("upload-id-marker", upload);
        }
        let answer = client.send(request).await.unwrap().good("ListMultipartUploads");
        let text = answer.text();
        for row in xml::all(text, "Upload") {
            let field = |name| xml::first(row, name).unwrap().to_owned();
            found.push((field("Key"), field("UploadId")));
        }
        if xml::first(text, "IsTruncated") != Some("true") {
            return found;
        }
        let next = |name| xml::first(text, name).unwrap().to_owned();
        marker = Some((next("NextKeyMarker"), next("NextUploadIdMarker")));
    }
}

async fn parts(
    client: &Client,
    bucket: &str,
    key: &str,
    upload: &str,
    known: &Known,
) -> Result<BTreeMap<u32, Tag>, Violation> {
    let request = Request::new("GET", format!("/{bucket}/{key}")).query("uploadId", upload);
    let answer = client.send(request).await.unwrap();
    if !answer.status.is_success() {
        return Err(Violation(format!("{key}: upload {upload} is listed, but ListParts says {}", answer.text())));
    }
    let mut parts = BTreeMap::new();
    for row in xml::all(answer.text(), "Part") {
        let number = xml::first(row, "PartNumber").unwrap().parse().unwrap();
        let tag = known.get(&xml::etag(row)).ok_or_else(|| Violation(format!("{key}: a part nobody wrote: {row}")))?;
        if xml::first(row, "Size").unwrap() != tag.length.to_string() {
            return Err(Violation(format!("{key}: a part of the wrong size: {row}")));
        }
        parts.insert(number, *tag);
    }
    Ok(parts)
}
