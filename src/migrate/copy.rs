//! Copying one version.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method, header};
use parking_lot::Mutex;

use super::{
    JournalError, Shared, acl,
    headers::{self, Expected, Wanted},
    parts::{self, Source},
    verify,
};
use crate::{
    outbound::Payload,
    s3client::{Call, Get, ObjectEntry, Reply, S3ClientError, Stored, VersionEntry, text_of},
    types::{
        BodyError, ByteStream, ETag, body,
        digest::{Digest, Md5},
    },
};

/// Bodies up to so many bytes are read before they are sent: they can be sent again, and carry a digest.
const HELD: u64 = 4 << 20;
/// Largest body of one request (S3 reference, `PutObject`); larger ones are sent in parts of [`PART`].
const LARGEST: u64 = 5 << 30;
/// Bytes of a part where the source has none that could be kept.
const PART: u64 = 512 << 20;
/// The smallest part but the last that every store takes.
const SMALLEST: u64 = 5 << 20;
/// Parts of one object under way.
const PARTS: usize = 3;

/// Where from and where to.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) from: String,
    pub(super) to: String,
    /// Whether the bucket has, or had, versions at the source.
    pub(super) is_versioned: bool,
    /// Whether versions may be locked at the target.
    pub(super) lock: bool,
    pub(super) accounts: acl::Accounts,
}

/// Why a version is not copied.
#[derive(Debug)]
pub(super) enum CopyError {
    /// The source said so.
    Source(S3ClientError),
    /// The target said so.
    Target(S3ClientError),
    /// The bytes that came are not what the tag says, or not what the target has now.
    Bytes(String),
    /// Somebody wrote the key at the target meanwhile.
    Taken,
}

impl CopyError {
    /// Whether another try may have more luck.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            // A body that broke is the source's fault, told by the target's client.
            // It was written since it was looked at.
            Self::Source(error) if error.status() == Some(412) => true,
            Self::Source(error) | Self::Target(error) => {
                error.may_pass() || error.body().is_some() || error.code() == Some("ConditionalRequestConflict")
            }
            Self::Bytes(_) => true,
            Self::Taken => false,
        }
    }
}

impl std::fmt::Display for CopyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Source(error) => write!(f, "cannot be read at the source: {error}"),
            Self::Target(error) => write!(f, "cannot be written at the target: {error}"),
            Self::Bytes(what) => f.write_str(what),
            Self::Taken => f.write_str("somebody wrote the key at the target meanwhile; it is left as it is"),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) bytes: u64,
    /// What is not as it was, in words.
    pub(super) notes: Vec<String>,
    /// What is the newest of the key at the target now.
    pub(super) newest: VersionEntry,
}

impl Copied {
    fn left(&mut self, stored: &Stored) {
        let etag = stored.etag.clone().unwrap_or_default();
        self.newest.object = ObjectEntry { etag, ..ObjectEntry::default() };
        self.newest.version = stored.version.clone().unwrap_or_default();
    }
}

/// One version under way.
pub(super) struct Copying<'a> {
    pub(super) shared: &'a Shared,
    pub(super) place: &'a Place,
    pub(super) entry: &'a VersionEntry,
    /// What the target has of the key.
    pub(super) expected: &'a Expected,
}

impl Copying<'_> {
    fn key(&self) -> &str {
        &self.entry.object.key
    }

    fn version(&self) -> Option<&str> {
        Some(self.entry.version.as_str()).filter(|version| !version.is_empty())
    }

    /// Makes the version, or the marker, the newest one of its key at the target.
    pub(super) async fn run(&self) -> Result<Copied, CopyError> {
        if self.entry.marker {
            return self.marker().await;
        }
        if parts::count(&self.entry.object.etag).is_some() || self.entry.object.size > LARGEST {
            return self.in_parts().await;
        }
        let get = Get { version: self.version(), ..Get::default() };
        let answer = self.shared.options.from.get_object(&self.place.from, self.key(), get).await;
        let answer = answer.map_err(CopyError::Source)?;
        let etag = text_of(&answer.headers, header::ETAG.as_str()).map(|tag| ETag::parse(tag).as_str().to_owned());
        if etag.as_deref().is_some_and(|etag| parts::count(etag).is_some()) {
            // It was written since the listing.
            return self.in_parts().await;
        }
        let mut copied = Copied::default();
        let headers = self.headers(&answer.headers, &mut copied).await?;
        copied.bytes = parts::length(&answer).unwrap_or(self.entry.object.size);
        let stored = self.in_one(answer, headers, etag.as_deref(), copied.bytes).await?;
        copied.left(&stored);
        Ok(copied)
    }

    async fn marker(&self) -> Result<Copied, CopyError> {
        let mut headers = HeaderMap::new();
        self.expected.require(&mut headers);
        // Once: a second marker would be one too many.
        let call = Call::new(Method::DELETE, Some(&self.place.to), Some(self.key())).once();
        let made = self.shared.options.to.send(call.headers(&headers::without_conditions(headers))).await;
        let made = made.map_err(|error| self.refused(error))?;
        let version = text_of(&made.headers, "x-amz-version-id").unwrap_or_default().to_owned();
        let newest = VersionEntry { version, marker: true, ..VersionEntry::default() };
        Ok(Copied { newest, ..Copied::default() })
    }

    /// What the target refuses because somebody was there meanwhile is his.
    fn refused(&self, error: S3ClientError) -> CopyError {
        let is_gone = matches!(self.expected, Expected::Newest(_)) && error.code() == Some("NoSuchKey");
        match error.status() {
            Some(412) => CopyError::Taken,
            _ if is_gone => CopyError::Taken,
            _ if matches!(error.code(), Some("BadDigest" | "InvalidDigest")) => {
                CopyError::Bytes("other bytes arrived than those of the tag".to_owned())
            }
            _ => CopyError::Target(error),
        }
    }

    /// The headers of the new version, with tags and list.
    async fn headers(&self, answer: &HeaderMap, copied: &mut Copied) -> Result<HeaderMap, CopyError> {
        let options = &self.shared.options;
        let now = options.from.now();
        let wanted = Wanted { lock: self.place.lock, dates: options.keep_dates, now };
        let mut made = headers::forward(answer, wanted);
        let has_tags = match text_of(answer, "x-amz-tagging-count") {
            Some(count) => count != "0",
            None => !headers::tells_of_tags(answer),
        };
        if has_tags {
            let tags = options.from.object_tags(&self.place.from, self.key(), self.version()).await;
            let tags = match tags {
                // A store that has no tags at all.
                Err(error) if error.status().is_some_and(|status| matches!(status, 404 | 405 | 501)) => Vec::new(),
                tags => tags.map_err(CopyError::Source)?,
            };
            headers::set(&mut made, "x-amz-tagging", &headers::tagging(&tags));
        }
        if options.acls {
            match acl::read(&options.from, &self.place.from, Some((self.key(), self.version()))).await {
                Ok(list) => {
                    for account in list.grant(&self.place.accounts, &mut made) {
                        copied
                            .notes
                            .push(format!("account {account} has no grant any more: name it with --map-account"));
                    }
                }
                Err(error) if error.may_pass() => return Err(CopyError::Source(error)),
                Err(error) => copied.notes.push(format!("its list of access cannot be read: {error}")),
            }
        }
        self.expected.require(&mut made);
        Ok(made)
    }

    /// Sends a body in one request.
    async fn in_one(
        &self,
        answer: Reply,
        mut headers: HeaderMap,
        etag: Option<&str>,
        size: u64,
    ) -> Result<Stored, CopyError> {
        let digest = etag.filter(|tag| headers::is_digest(tag) && !headers::has_opaque_tag(&answer.headers));
        let tally = Tally::default();
        let body = self.counted(tally.over(answer.body));
        let payload = if size <= HELD {
            let limit = usize::try_from(HELD).unwrap_or(usize::MAX);
            let held = body::collect(body, limit).await.map_err(|error| source(&error))?;
            let got = tally.hex();
            if held.len() as u64 != size || digest.is_some_and(|digest| digest != got) {
                return Err(CopyError::Bytes(format!(
                    "the source sent bytes with the MD5 {got}, not those of its tag"
                )));
            }
            if held.is_empty() { Payload::Empty } else { Payload::Held(held) }
        } else {
            // Whoever keeps the bytes sees whether they are the right ones before anybody else does.
            if let Some(digest) = digest.and_then(headers::content_md5) {
                headers::set(&mut headers, "content-md5", &digest);
            }
            Payload::Stream { body, size: Some(size) }
        };
        let stored = self.put(&headers, payload).await?;
        let got = tally.hex();
        let is_right = digest.is_none_or(|digest| digest == got)
            && (headers::has_opaque_tag(&stored.headers)
                || stored.etag.as_deref().is_none_or(|tag| !headers::is_digest(tag) || tag == got));
        if is_right {
            return Ok(stored);
        }
        self.take_back(&stored).await?;
        Err(CopyError::Bytes(format!("bytes with the MD5 {got} came or arrived, not those of the tag")))
    }

    /// What is there is wrong: it goes before anybody takes it for the object, and nobody has deleted it.
    async fn take_back(&self, stored: &Stored) -> Result<(), CopyError> {
        let mut call = Call::new(Method::DELETE, Some(&self.place.to), Some(self.key()));
        call = call.and_some("versionId", stored.version.as_deref()).header(headers::FORGET, "true");
        if let Some(etag) = &stored.etag {
            call = call.header("if-match", &format!("\"{etag}\""));
        }
        self.shared.options.to.send(call).await.map_err(CopyError::Target).map(drop)
    }

    /// As `PutObject`, less what the target refuses and can do without.
    async fn put(&self, headers: &HeaderMap, payload: Payload) -> Result<Stored, CopyError> {
        let again = payload.again();
        let sent = self.shared.options.to.put_object(&self.place.to, self.key(), headers, payload).await;
        let error = match sent {
            Ok(stored) => return Ok(stored),
            Err(error) => error,
        };
        let (Some(payload), Some(headers)) = (again, without(headers, &error)) else {
            return Err(self.refused(error));
        };
        let sent = self.shared.options.to.put_object(&self.place.to, self.key(), &headers, payload).await;
        sent.map_err(|error| self.refused(error))
    }

    /// Copies with the same parts, where they can be found out and the target takes them.
    async fn in_parts(&self) -> Result<Copied, CopyError> {
        let from = &self.shared.options.from;
        let head = from.head_object(&self.place.from, self.key(), self.version()).await.map_err(CopyError::Source)?;
        let etag = head.etag.clone().unwrap_or_default();
        let size = text_of(&head.headers, "content-length").and_then(|size| size.parse().ok());
        let size = size.unwrap_or(self.entry.object.size);
        let bucket = self.place.from.as_str();
        let told = Source { client: from, bucket, key: self.key(), version: self.version(), size, etag: &etag };
        let known = told.parts().await.map_err(CopyError::Source)?;
        let mut copied = Copied { bytes: size, ..Copied::default() };
        let headers = self.headers(&head.headers, &mut copied).await?;
        let fits = |sizes: &Vec<u64>| sizes.iter().rev().skip(1).all(|part| *part >= SMALLEST);
        let is_known = known.is_some();
        let sizes = match known.filter(|sizes| size > 0 && fits(sizes)) {
            Some(sizes) => sizes,
            None if size <= LARGEST => {
                let why = if is_known { "its parts are smaller than S3 allows" } else { "nobody knows its parts" };
                copied.notes.push(format!("it has another entity tag now: {why}"));
                let get = Get { version: self.version(), ..Get::default() };
                let answer = from.get_object(bucket, self.key(), get).await.map_err(CopyError::Source)?;
                let stored = self.in_one(answer, headers, None, size).await?;
                copied.left(&stored);
                return Ok(copied);
            }
            None => even(size),
        };
        let stored = self.upload(&headers::without_conditions(headers), &sizes, &etag).await?;
        copied.left(&stored);
        let tag = stored.etag.clone().unwrap_or_default();
        if tag != etag && is_known && !self.reads_same(&stored).await? {
            self.take_back(&stored).await?;
            return Err(CopyError::Bytes("other bytes arrived than those that the source has".to_owned()));
        }
        if tag != etag && copied.notes.is_empty() {
            copied.notes.push(format!("its entity tag is {tag} now, no longer {etag}"));
        }
        Ok(copied)
    }

    /// Reads both: for tags that say nothing, and for those that say that something is wrong.
    async fn reads_same(&self, stored: &Stored) -> Result<bool, CopyError> {
        let options = &self.shared.options;
        let was = verify::digest(&options.from, &self.place.from, self.entry).await.map_err(CopyError::Source)?;
        let object = ObjectEntry { key: self.key().to_owned(), ..ObjectEntry::default() };
        let version = stored.version.clone().unwrap_or_default();
        let copy = VersionEntry { object, version, ..VersionEntry::default() };
        Ok(was == verify::digest(&options.to, &self.place.to, &copy).await.map_err(CopyError::Target)?)
    }

    async fn upload(&self, headers: &HeaderMap, sizes: &[u64], etag: &str) -> Result<Stored, CopyError> {
        let to = &self.shared.options.to;
        let (bucket, key) = (self.place.to.as_str(), self.key());
        // Should this run end before the upload does, the next one gives it up.
        let note = |noted: Result<(), JournalError>| noted.map_err(|error| CopyError::Bytes(error.to_string()));
        let (journal, from) = (&self.shared.journal, self.place.from.as_str());
        note(journal.upload_begins(from, key))?;
        let mut begun = to.create_multipart_upload(bucket, key, headers).await;
        if let Some(fewer) = begun.as_ref().err().and_then(|error| without(headers, error)) {
            begun = to.create_multipart_upload(bucket, key, &fewer).await;
        }
        let id = match begun {
            Ok(id) => id,
            Err(error) => {
                if !error.is_open() {
                    note(journal.upload_is_over(from, key, ""))?;
                }
                return Err(self.refused(error));
            }
        };
        // Before the first byte is sent: whatever is open under this id is ours, and nothing else is.
        note(journal.upload_is(from, key, &id))?;
        let sent = self.send_parts((&id, etag), sizes).await;
        if sent.is_err()
            && let Err(left) = to.abort_multipart_upload(bucket, key, &id).await
        {
            tracing::debug!(%left, "an upload stays open until the next run");
            return sent;
        }
        note(journal.upload_is_over(from, key, &id))?;
        sent
    }

    async fn send_parts(&self, (id, etag): (&str, &str), sizes: &[u64]) -> Result<Stored, CopyError> {
        let to = &self.shared.options.to;
        let (bucket, key) = (self.place.to.as_str(), self.key());
        let numbered = (1_u32..).zip(parts::ranges(sizes));
        let sent = stream::iter(numbered).map(|(number, range)| async move {
            let tag = self.send_part(id, number, range, etag).await?;
            Ok::<_, CopyError>((number, tag))
        });
        let listed: Vec<(u32, String)> = sent.buffered(PARTS).try_collect().await?;
        // For stores whose completions have no conditions.
        if *self.expected == Expected::Absent && to.head_object(bucket, key, None).await.is_ok() {
            return Err(CopyError::Taken);
        }
        let mut headers = HeaderMap::new();
        self.expected.require(&mut headers);
        match to.complete_multipart_upload_if(bucket, key, (id, &listed), &headers).await {
            Ok(stored) => Ok(stored),
            // The answer may have been lost: what is there tells.
            Err(error) if error.is_open() || error.code() == Some("NoSuchUpload") => {
                let found = to.head_object(bucket, key, None).await.map_err(CopyError::Target)?;
                if found.etag.as_deref() == Some(etag) { Ok(found) } else { Err(CopyError::Target(error)) }
            }
            Err(error) => Err(self.refused(error)),
        }
    }

    async fn send_part(
        &self,
        id: &str,
        number: u32,
        range: std::ops::Range<u64>,
        etag: &str,
    ) -> Result<String, CopyError> {
        let options = &self.shared.options;
        let size = range.end - range.start;
        // The same object throughout: a part of another one would fit as well.
        let if_match = Some(etag).filter(|etag| !etag.is_empty());
        let get = Get { range: Some(range), version: self.version(), if_match };
        let answer = options.from.get_object(&self.place.from, self.key(), get).await.map_err(CopyError::Source)?;
        if parts::length(&answer).is_some_and(|length| length != size) {
            return Err(CopyError::Bytes("the source does not serve ranges".to_owned()));
        }
        let tally = Tally::default();
        let body = self.counted(tally.over(answer.body));
        let payload = if size <= HELD {
            let held = body::collect(body, usize::try_from(HELD).unwrap_or(usize::MAX)).await;
            Payload::Held(held.map_err(|error| source(&error))?)
        } else {
            Payload::Stream { body, size: Some(size) }
        };
        let sent = options.to.upload_part(&self.place.to, self.key(), (id, number), payload).await;
        let stored = sent.map_err(CopyError::Target)?;
        let tag = stored.etag.clone().unwrap_or_default();
        let is_opaque = headers::has_opaque_tag(&stored.headers) || !headers::is_digest(&tag);
        if !is_opaque && tag != tally.hex() {
            return Err(CopyError::Bytes(format!("part {number} arrived with other bytes than were sent")));
        }
        Ok(tag)
    }

    /// Counts bytes as they pass.
    fn counted(&self, body: ByteStream) -> ByteStream {
        let progress = Arc::clone(&self.shared.progress);
        body.inspect(move |chunk: &Result<Bytes, BodyError>| {
            if let Ok(bytes) = chunk {
                progress.moved(bytes.len() as u64);
            }
        })
        .boxed()
    }
}

fn source(error: &BodyError) -> CopyError {
    CopyError::Source(S3ClientError::Answer(error.to_string()))
}

/// Parts of an object that had none.
fn even(size: u64) -> Vec<u64> {
    let part = PART.max(size.div_ceil(10_000));
    let whole = usize::try_from(size / part).unwrap_or_default();
    let rest = size % part;
    let mut sizes = vec![part; whole];
    sizes.extend((rest > 0).then_some(rest));
    sizes
}

/// The headers less the one that the target refuses, where the object is whole without it; `None` where it is not.
fn without(headers: &HeaderMap, refused: &S3ClientError) -> Option<HeaderMap> {
    let mut fewer = headers.clone();
    match refused.code()? {
        "InvalidStorageClass" => {
            fewer.remove("x-amz-storage-class");
        }
        // Stores that have no conditional writes.
        "NotImplemented" => fewer = headers::without_conditions(fewer),
        _ => return None,
    }
    (fewer.len() < headers.len()).then_some(fewer)
}

/// The digest of bytes that flow by.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Md5>>);

impl Tally {
    pub(super) fn over(&self, body: ByteStream) -> ByteStream {
        let tally = self.clone();
        body.inspect(move |chunk: &Result<Bytes, BodyError>| {
            if let Ok(bytes) = chunk {
                tally.0.lock().update(bytes);
            }
        })
        .boxed()
    }

    pub(super) fn hex(&self) -> String {
        hex::encode(self.0.lock().clone().finalize())
    }
}
