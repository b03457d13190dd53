//! Bringing bytes to the far side: as a version, as parts of an upload, or not yet.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use parking_lot::Mutex;

use super::{
    Far,
    check::{Sent, SentSlot, digested},
    names::{FarBlob, Handle, LONGEST_HANDLE, OWN_PREFIX, Way, new_write},
    no_versions, pause, size_of,
    undo::Undo,
};
use crate::{
    data::{BlobId, BodyHint, DataError, NativeObject, PutHint, Staged, Written, announced::Announced},
    outbound::Payload,
    s3client::{S3ClientError, Stored},
    types::{BodyError, ByteStream},
};

/// Most bytes that are held until they are published.
pub(super) const HELD: usize = 256 << 10;
/// Most bytes of one request (S3 reference, "Multipart upload limits").
pub(super) const LARGEST: u64 = 5 << 30;
/// Bytes of each part of what is larger. They stream, so that nothing is held.
pub(super) const PART: u64 = 1 << 30;
/// Most parts of an upload.
const MOST_PARTS: u64 = 10_000;
/// Bytes of the first parts of a body of unknown size, which are held: twice as many for each further thousand of
/// parts, so that 5 TiB fit.
const FIRST_PART: usize = 6 << 20;
/// Longest token of a part, in bytes.
const LONGEST_TOKEN: usize = 255;
/// Longest key, in bytes (S3 reference, "Naming Amazon S3 objects"; Google's is the same).
pub(super) const LONGEST_KEY: usize = 1024;
/// Looks for a write whose answer was lost.
const LOOKS: u32 = 4;

/// Begins the id of a write whose bytes were all sent from here.
pub(super) const SENT: &str = "sent-";

/// What will be written.
pub(super) struct Plan {
    pub(super) key: String,
    pub(super) write: String,
    pub(super) headers: HeaderMap,
}

impl Plan {
    pub(super) fn of(far: &Far, object: &NativeObject) -> Result<Self, DataError> {
        Self::with_write(far, object, new_write()?)
    }

    /// As [`Plan::of`], for bytes that all come from here: their tag, in one part too, can be told beforehand. That of
    /// parts which the far side copies is its own affair.
    pub(super) fn of_body(far: &Far, object: &NativeObject) -> Result<Self, DataError> {
        Self::with_write(far, object, format!("{SENT}{}", new_write()?))
    }

    fn with_write(far: &Far, object: &NativeObject, write: String) -> Result<Self, DataError> {
        let key = far.native_key(&object.bucket, &object.key);
        if key.len() > LONGEST_KEY {
            return Err(DataError::NameTooLong(format!("it has {} bytes, and may have {LONGEST_KEY}", key.len())));
        }
        Ok(Self { key, headers: far.headers(object, &write), write })
    }

    pub(super) fn handle(&self, way: Way) -> Handle {
        Handle::new(way, &self.key, &self.write)
    }
}

/// Stores a body under a name that is made up.
pub(super) async fn put_own(far: &Arc<Far>, body: ByteStream, hint: PutHint) -> Result<Written, DataError> {
    if let Some(blob) = hint.blob {
        return Err(DataError::Corrupt { blob, detail: "the far side has a part in a blob's name".to_owned() });
    }
    let write = new_write()?;
    let headers = far.headers(&NativeObject::default(), &write);
    let plan = Plan { key: format!("{OWN_PREFIX}{write}"), headers, write: write.clone() };
    let key = plan.key.clone();
    let staged = stage(far, plan, body, hint.size.into()).await?;
    let handle = Handle::parse(&staged.handle)?;
    let upload = (!handle.upload.is_empty()).then(|| Undo::upload(far, &key, &handle.upload));
    let undo = Undo::write(far, &key, &write);
    let written = far.publish(&staged).await?;
    undo.keep();
    if let Some(upload) = upload {
        upload.keep();
    }
    Ok(written)
}

/// Brings a body there, or holds it.
pub(super) async fn stage(
    far: &Arc<Far>,
    plan: Plan,
    mut body: ByteStream,
    hint: BodyHint,
) -> Result<Staged, DataError> {
    match hint.size {
        Some(size) if size > HELD as u64 => {
            if far.keeps_versions() && size <= LARGEST {
                return write(far, plan, digested(body, hint.digests), size).await;
            }
            if size <= LARGEST {
                return upload_whole(far, plan, digested(body, hint.digests), size).await;
            }
            upload(far, plan, body, size).await
        }
        size => {
            let (bytes, ended) = gather(&mut body, BytesMut::new(), HELD, Announced(size)).await?;
            if ended {
                return hold(far, plan, bytes.freeze()).await;
            }
            upload_unknown(far, plan, bytes, body).await
        }
    }
}

/// Reads until there are more than `most` bytes, or all; and whether that are all.
async fn gather(
    body: &mut ByteStream,
    mut bytes: BytesMut,
    most: usize,
    announced: Announced,
) -> Result<(BytesMut, bool), BodyError> {
    while bytes.len() <= most {
        let Some(slice) = body.next().await else {
            announced.is_met_by(bytes.len() as u64)?;
            return Ok((bytes, true));
        };
        bytes.extend_from_slice(&slice?);
        announced.allows(bytes.len() as u64)?;
    }
    Ok((bytes, false))
}

/// Holds a small body, if what else is to be known for writing it fits into a handle.
async fn hold(far: &Arc<Far>, plan: Plan, bytes: Bytes) -> Result<Staged, DataError> {
    let mut handle = plan.handle(Way::Held);
    handle.keep_headers(&plan.headers);
    if let Some(handle) = handle.text() {
        return Ok(Staged { handle, size: bytes.len() as u64, held: Some(bytes), parts: Arc::new([]) });
    }
    let size = bytes.len() as u64;
    let (id, undo) = begin(far, &plan).await?;
    let part = send_held_part(far, &plan.key, (&id, 1), bytes).await?;
    staged_upload(&plan, id, size, vec![(1, part)], undo)
}

/// Writes a version.
async fn write(
    far: &Arc<Far>,
    plan: Plan,
    (body, slot): (ByteStream, SentSlot),
    size: u64,
) -> Result<Staged, DataError> {
    far.ensure_versions().await?;
    let undo = Undo::write(far, &plan.key, &plan.write);
    let payload = Payload::Stream { body, size: Some(size) };
    let stored = match far.client.put_object(far.bucket(), &plan.key, &plan.headers, payload).await {
        Ok(stored) => stored,
        Err(error) if slot.get().is_none() => {
            // It never had everything, so there is nothing to remove.
            undo.keep();
            return Err(far.fault(&error));
        }
        Err(error) if error.is_open() => match far.lost(&plan.key, &plan.write).await {
            Some(stored) => stored,
            None => return Err(far.fault(&error)),
        },
        Err(error) => {
            undo.keep();
            return Err(far.fault(&error));
        }
    };
    if let Err(error) = accept(far, &plan, &stored, &slot, size).await {
        undo.now().await;
        return Err(error);
    }
    let handle = Handle { version: stored.version, etag: stored.etag.unwrap_or_default(), ..plan.handle(Way::Written) };
    let handle = handle.text().ok_or_else(|| DataError::Unavailable("a version's name is too long".to_owned()))?;
    undo.keep();
    Ok(Staged { handle, size, held: None, parts: Arc::new([]) })
}

/// Judges an answer to a version that was written.
async fn accept(far: &Far, plan: &Plan, stored: &Stored, slot: &SentSlot, size: u64) -> Result<(), DataError> {
    if stored.version.is_none() {
        far.keeps_versions.store(false, std::sync::atomic::Ordering::Relaxed);
        return Err(no_versions());
    }
    let sent = slot.get().ok_or_else(early)?;
    let tells = sent.matches(stored).map_err(|detail| corrupt(&plan.key, detail))?;
    if tells { Ok(()) } else { far.has_length(&plan.key, stored.version.as_deref(), size).await }
}

fn early() -> DataError {
    DataError::Unavailable("the far side answered before it had everything".to_owned())
}

pub(super) fn corrupt(key: &str, detail: String) -> DataError {
    DataError::Corrupt { blob: BlobId::new(key), detail }
}

/// Begins an upload, which goes away again unless somebody says otherwise.
async fn begin(far: &Arc<Far>, plan: &Plan) -> Result<(String, Undo), DataError> {
    let id = far.client.create_multipart_upload(far.bucket(), &plan.key, &plan.headers).await;
    let id = id.map_err(|error| far.fault(&error))?;
    let undo = Undo::upload(far, &plan.key, &id);
    Ok((id, undo))
}

fn staged_upload(
    plan: &Plan,
    id: String,
    size: u64,
    parts: Vec<(u32, String)>,
    undo: Undo,
) -> Result<Staged, DataError> {
    let handle = Handle { upload: id, ..plan.handle(Way::Upload) }.text();
    let handle = handle.ok_or_else(|| DataError::Unavailable("an upload's name is too long".to_owned()))?;
    undo.keep();
    Ok(Staged { handle, size, held: None, parts: parts.into() })
}

/// Sends a body as the only part of an upload.
async fn upload_whole(
    far: &Arc<Far>,
    plan: Plan,
    body: (ByteStream, SentSlot),
    size: u64,
) -> Result<Staged, DataError> {
    let (id, undo) = begin(far, &plan).await?;
    let part = send_part(far, &plan.key, (&id, 1), body, size).await?;
    staged_upload(&plan, id, size, vec![(1, part)], undo)
}

/// Sends a body that is too large for one request as parts, each of them as a stream.
async fn upload(far: &Arc<Far>, plan: Plan, body: ByteStream, size: u64) -> Result<Staged, DataError> {
    let (id, undo) = begin(far, &plan).await?;
    let most = PART.max(size.div_ceil(MOST_PARTS));
    let feed = Feed::of(body);
    let (mut parts, mut done) = (Vec::new(), 0);
    for number in 1.. {
        let length = most.min(size - done);
        done += length;
        // The last one goes to the very end of the body: its last word is the verdict.
        let piece = digested(feed.piece((done < size).then_some(length)), None);
        parts.push((number, send_part(far, &plan.key, (&id, number), piece, length).await?));
        if done >= size {
            break;
        }
    }
    staged_upload(&plan, id, size, parts, undo)
}

/// Sends a body of unknown size as parts that are held.
async fn upload_unknown(
    far: &Arc<Far>,
    plan: Plan,
    first: BytesMut,
    mut body: ByteStream,
) -> Result<Staged, DataError> {
    let (id, undo) = begin(far, &plan).await?;
    let (mut parts, mut size, mut bytes) = (Vec::new(), 0, first);
    for number in 1..=10_000_u32 {
        let most = FIRST_PART << ((number - 1) / 1000);
        let (mut got, ended) = gather(&mut body, bytes, most, Announced(None)).await?;
        bytes = if ended { BytesMut::new() } else { got.split_off(most) };
        size += got.len() as u64;
        parts.push((number, send_held_part(far, &plan.key, (&id, number), got.freeze()).await?));
        if ended {
            return staged_upload(&plan, id, size, parts, undo);
        }
    }
    Err(DataError::Body(BodyError::TooLarge { limit: size }))
}

/// Sends a part; answers with its entity tag.
pub(super) async fn send_part(
    far: &Far,
    key: &str,
    part: (&str, u32),
    (body, slot): (ByteStream, SentSlot),
    size: u64,
) -> Result<String, DataError> {
    let payload = Payload::Stream { body, size: Some(size) };
    let stored = far.client.upload_part(far.bucket(), key, part, payload).await;
    let stored = stored.map_err(|error| far.fault_of_upload(key, &error))?;
    judge_part(key, &stored, slot.get().ok_or_else(early)?)
}

/// As [`send_part`], with bytes that can be sent again.
pub(super) async fn send_held_part(far: &Far, key: &str, part: (&str, u32), bytes: Bytes) -> Result<String, DataError> {
    let sent = Sent::of(&bytes);
    let stored = far.client.upload_part(far.bucket(), key, part, Payload::Held(bytes)).await;
    judge_part(key, &stored.map_err(|error| far.fault_of_upload(key, &error))?, &sent)
}

fn judge_part(key: &str, stored: &Stored, sent: &Sent) -> Result<String, DataError> {
    // Where nothing is told of a part, the length of the whole is looked at in the end.
    sent.matches(stored).map_err(|detail| corrupt(key, detail))?;
    token(key, stored.etag.clone())
}

/// A part's entity tag, as its token: it is kept for each part, so it must not be of any length.
pub(super) fn token(key: &str, etag: Option<String>) -> Result<String, DataError> {
    let etag = etag.unwrap_or_default();
    if etag.len() > LONGEST_TOKEN {
        return Err(corrupt(key, format!("its entity tag has {} bytes", etag.len())));
    }
    Ok(etag)
}

/// Reads a small part, or one that nobody has put a size to.
pub(super) async fn gather_part(mut body: ByteStream, size: Option<u64>, most: usize) -> Result<Bytes, DataError> {
    match gather(&mut body, BytesMut::new(), most, Announced(size)).await? {
        (bytes, true) => Ok(bytes.freeze()),
        (_, false) => Err(DataError::Body(BodyError::TooLarge { limit: most as u64 })),
    }
}

impl Far {
    /// An error of a request about an upload.
    pub(super) fn fault_of_upload(&self, key: &str, error: &S3ClientError) -> DataError {
        if error.code() == Some("NoSuchUpload") {
            return DataError::NotFound(BlobId::new(key));
        }
        self.fault(error)
    }

    /// Looks for a write whose answer was lost.
    pub(super) async fn lost(&self, key: &str, write: &str) -> Option<Stored> {
        for look in 0..LOOKS {
            tokio::time::sleep(pause(look)).await;
            if let Ok(Some(stored)) = self.locate(key, write).await {
                return Some(stored);
            }
        }
        None
    }

    /// Whether an object has so many bytes, where nothing else can be known of them.
    pub(super) async fn has_length(&self, key: &str, version: Option<&str>, size: u64) -> Result<(), DataError> {
        let head = self.client.head_object(self.bucket(), key, version).await.map_err(|error| self.fault(&error))?;
        match size_of(&head.headers) {
            Some(there) if there == size => Ok(()),
            there => Err(corrupt(key, format!("it has {there:?} bytes, {size} were sent"))),
        }
    }

    /// The version that a name shall have.
    pub(super) fn version_of(&self, stored: &Stored) -> Option<String> {
        stored.version.clone().filter(|_| self.keeps_versions() || self.is_gcs())
    }

    /// # Errors
    /// [`DataError::Corrupt`] where the far side's words are too long for a name, which is kept with the object.
    pub(super) fn written(&self, handle: &Handle, stored: &Stored, size: u64) -> Result<Written, DataError> {
        let name = FarBlob {
            key: handle.key.clone(),
            version: self.version_of(stored),
            write: handle.write.clone(),
            etag: stored.etag.clone().unwrap_or_default(),
        };
        let blob = name.id();
        if blob.as_str().len() > LONGEST_HANDLE {
            return Err(corrupt(&handle.key, "its version and entity tag are too long to be kept".to_owned()));
        }
        Ok(Written { blob, size })
    }
}

/// A body that is sent in pieces, one after the other.
#[derive(Clone)]
struct Feed(Arc<Mutex<Source>>);

struct Source {
    stream: ByteStream,
    /// What a piece had too much.
    rest: Bytes,
}

impl Feed {
    fn of(stream: ByteStream) -> Self {
        Self(Arc::new(Mutex::new(Source { stream, rest: Bytes::new() })))
    }

    /// The next `size` bytes; all that is left, where it is none.
    fn piece(&self, size: Option<u64>) -> ByteStream {
        let source = Arc::clone(&self.0);
        let mut left = size;
        let next = move |cx: &mut std::task::Context<'_>| {
            if left == Some(0) {
                return std::task::Poll::Ready(None);
            }
            let mut source = source.lock();
            let mut slice = std::mem::take(&mut source.rest);
            while slice.is_empty() {
                match std::task::ready!(source.stream.as_mut().poll_next(cx)) {
                    Some(Ok(bytes)) => slice = bytes,
                    end => return std::task::Poll::Ready(end),
                }
            }
            if let Some(left) = &mut left {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                if slice.len() > most {
                    source.rest = slice.split_off(most);
                }
                *left -= slice.len() as u64;
            }
            std::task::Poll::Ready(Some(Ok(slice)))
        };
        stream::poll_fn(next).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::body;

    #[tokio::test]
    async fn pieces_of_a_body_are_the_body() {
        let slices = ["abc", "", "defgh", "i", "jklmnop"].map(|text| Ok(Bytes::from_static(text.as_bytes())));
        let feed = Feed::of(stream::iter(slices).boxed());
        let mut found = Vec::new();
        for size in [Some(1), Some(4), Some(6), None] {
            found.push(body::collect(feed.piece(size), 100).await.unwrap());
        }
        assert_eq!(found, ["a", "bcde", "fghijk", "lmnop"]);
        let broken = Feed::of(stream::iter([Ok(Bytes::from_static(b"ab")), Err(BodyError::Disconnected)]).boxed());
        assert_eq!(body::collect(broken.piece(Some(2)), 100).await.unwrap(), "ab");
        assert_eq!(body::collect(broken.piece(None), 100).await, Err(BodyError::Disconnected));
    }

    #[test]
    fn parts_of_a_body_of_unknown_size_hold_five_tebibytes() {
        let all: u64 = (0..10_000_u64).map(|part| (FIRST_PART as u64) << (part / 1000)).sum();
        assert!(all > 5 << 40, "{all}");
    }
}
