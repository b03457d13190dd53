//! Reading far objects: ranges, and readers that go on where a connection broke.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::{
    Far,
    check::{is_md5, is_opaque},
    names::FarBlob,
    pause, size_of,
    stage::SENT,
    write_of,
};
use crate::{
    data::{BlobId, DataError},
    s3client::{Get, Reply, text_of},
    types::{
        BodyError, ByteStream, ETag, body,
        digest::{Digest, Md5, md5},
    },
};

/// Times in a row that a reader goes on without having got a byte.
const ATTEMPTS: u32 = 5;

/// The bytes of `range`.
pub(super) async fn get(far: &Arc<Far>, blob: &BlobId, range: Range<u64>) -> Result<ByteStream, DataError> {
    let name = FarBlob::parse(blob)?;
    if range.start > range.end {
        return Err(DataError::OutOfRange(range));
    }
    if range.is_empty() {
        return nothing(far, blob, &name, range).await;
    }
    let opened = open(far, blob, &name, range.clone()).await?;
    // Google's tags of uploads are its own.
    let sent = name.write.starts_with(SENT) && !far.is_gcs();
    let tells = is_md5(&name.etag) || (one_part(&name.etag) && sent);
    let verifies = range == (0..opened.total) && tells && !opened.opaque;
    let reader = Reader {
        far: Arc::clone(far),
        blob: blob.clone(),
        name,
        total: opened.total,
        left: range,
        stream: Some(opened.stream),
        digest: verifies.then(md5),
        failures: 0,
        progress: Instant::now(),
    };
    Ok(stream::unfold(reader, Reader::step).boxed())
}

/// No bytes of an object that must be there nevertheless.
async fn nothing(far: &Far, blob: &BlobId, name: &FarBlob, range: Range<u64>) -> Result<ByteStream, DataError> {
    match head(far, blob, name).await? {
        Some(size) if range.end <= size => Ok(body::once(Bytes::new())),
        _ => Err(DataError::OutOfRange(range)),
    }
}

/// The bytes of a blob.
pub(super) async fn size(far: &Far, blob: &BlobId) -> Result<Option<u64>, DataError> {
    head(far, blob, &FarBlob::parse(blob)?).await
}

async fn head(far: &Far, blob: &BlobId, name: &FarBlob) -> Result<Option<u64>, DataError> {
    let head = far.client.head_object(far.bucket(), &name.key, name.version.as_deref()).await;
    let head = head.map_err(|error| far.fault_of(blob, &error))?;
    is_it(blob, name, &head.headers)?;
    Ok(size_of(&head.headers))
}

/// Whether an entity tag is that of an upload in one part, which tells as much as that of an object in one piece.
fn one_part(etag: &str) -> bool {
    etag.strip_suffix("-1").is_some_and(is_md5)
}

/// The entity tag of bytes that arrived, in the form of the one they should have.
fn tag(digest: Md5, like: &str) -> String {
    let md5: [u8; 16] = digest.finalize().into();
    let tag = if one_part(like) { ETag::from_parts([md5].iter()) } else { ETag::from_md5(md5) };
    tag.as_str().to_owned()
}

/// Whether an answer is about this blob, or about what took its place.
fn is_it(blob: &BlobId, name: &FarBlob, headers: &HeaderMap) -> Result<(), DataError> {
    // A version is what it is; without versions the write tells equal bytes apart.
    if name.version.is_none() && write_of(headers) != Some(name.write.as_str()) {
        return Err(DataError::NotFound(blob.clone()));
    }
    Ok(())
}

struct Opened {
    stream: ByteStream,
    /// Bytes of the whole object.
    total: u64,
    /// The entity tag says nothing about the bytes.
    opaque: bool,
}

async fn open(far: &Far, blob: &BlobId, name: &FarBlob, range: Range<u64>) -> Result<Opened, DataError> {
    let get = Get {
        range: Some(range.clone()),
        version: name.version.as_deref(),
        if_match: Some(name.etag.as_str()).filter(|etag| !etag.is_empty()),
    };
    let reply = match far.client.get_object(far.bucket(), &name.key, get).await {
        Ok(reply) => reply,
        Err(error) if error.status() == Some(416) => return Err(DataError::OutOfRange(range)),
        Err(error) => return Err(far.fault_of(blob, &error)),
    };
    is_it(blob, name, &reply.headers)?;
    let opaque = is_opaque(&reply.headers);
    let (total, skip) = extent(&reply, &range)
        .ok_or_else(|| DataError::Unavailable("the far side answered with another range".to_owned()))?;
    if range.end > total {
        return Err(DataError::OutOfRange(range));
    }
    let stream = if skip == 0 { reply.body } else { without(reply.body, skip) };
    Ok(Opened { stream, total, opaque })
}

/// Bytes of the whole, and how many come before those that were asked for.
fn extent(reply: &Reply, range: &Range<u64>) -> Option<(u64, u64)> {
    if reply.status != StatusCode::PARTIAL_CONTENT {
        // A range may be ignored (RFC 9110 §14.2): then everything comes.
        return Some((size_of(&reply.headers)?, range.start));
    }
    let (extent, total) = text_of(&reply.headers, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = extent.split_once('-')?;
    let (first, last, total): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    // What lies behind the end is for the caller to say.
    let fits = first == range.start && (last.checked_add(1)? == range.end.min(total));
    fits.then_some((total, 0))
}

fn without(stream: ByteStream, skip: u64) -> ByteStream {
    let mut skip = skip;
    let rest = stream.map(move |slice| {
        slice.map(|mut slice| {
            let cut = usize::try_from(skip).unwrap_or(usize::MAX).min(slice.len());
            skip -= cut as u64;
            slice.split_off(cut)
        })
    });
    rest.boxed()
}

/// A reader, with everything it needs to go on elsewhere.
struct Reader {
    far: Arc<Far>,
    blob: BlobId,
    name: FarBlob,
    total: u64,
    left: Range<u64>,
    stream: Option<ByteStream>,
    /// Over a whole object whose entity tag tells of its bytes.
    digest: Option<Md5>,
    failures: u32,
    /// When the last byte came.
    progress: Instant,
}

impl Reader {
    async fn step(mut self) -> Option<(Result<Bytes, BodyError>, Self)> {
        while !self.left.is_empty() {
            let why = match &mut self.stream {
                Some(stream) => match stream.next().await {
                    Some(Ok(slice)) if slice.is_empty() => continue,
                    Some(Ok(slice)) => {
                        let slice = self.take(slice);
                        return Some((slice, self));
                    }
                    Some(Err(error)) => error.to_string(),
                    None => "it ended early".to_owned(),
                },
                None => "there is no connection".to_owned(),
            };
            if let Err(error) = self.go_on(why).await {
                self.left = 0..0;
                return Some((Err(error), self));
            }
        }
        None
    }

    /// The slice, cut to what was asked for; the last of a whole object only if all of it was right.
    fn take(&mut self, mut slice: Bytes) -> Result<Bytes, BodyError> {
        let left = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
        slice.truncate(left);
        self.left.start += slice.len() as u64;
        self.failures = 0;
        self.progress = Instant::now();
        if let Some(digest) = &mut self.digest {
            digest.update(&slice);
        }
        if !self.left.is_empty() {
            return Ok(slice);
        }
        self.stream = None;
        match self.digest.take().map(|digest| tag(digest, &self.name.etag)) {
            Some(found) if !found.eq_ignore_ascii_case(&self.name.etag) => {
                tracing::error!(blob = ?self.blob, found, "the far side sent other bytes than were stored");
                Err(BodyError::Unreadable("the far side sent other bytes than were stored".to_owned()))
            }
            _ => Ok(slice),
        }
    }

    /// Opens the rest anew.
    async fn go_on(&mut self, why: String) -> Result<(), BodyError> {
        self.stream = None;
        self.failures += 1;
        let wait = pause(self.failures - 1);
        let late = self.progress.elapsed() + wait > self.far.client.retry().deadline;
        // A first break is always worth an attempt: the far side may have taken its whole time to break.
        if self.failures > 1 && (self.failures > ATTEMPTS || late) {
            return Err(BodyError::Unreadable(why));
        }
        tracing::debug!(blob = ?self.blob, why, at = self.left.start, "a far read goes on");
        tokio::time::sleep(wait).await;
        match open(&self.far, &self.blob, &self.name, self.left.clone()).await {
            Ok(opened) if opened.total == self.total => {
                self.stream = Some(opened.stream);
                Ok(())
            }
            Ok(_) => Err(BodyError::Unreadable("the far object has changed".to_owned())),
            // The next step tries again, within the limits.
            Err(DataError::Unavailable(_)) => Ok(()),
            Err(error) => Err(BodyError::Unreadable(error.to_string())),
        }
    }
}
