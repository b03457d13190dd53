//! Objects as block blobs of an Azure container.
//!
//! An object's bytes are staged as blocks of its blob, which nobody sees, and one request makes a list of blocks the blob:
//! that is the moment of publication. Small bodies are held here and sent at that moment.
//!
//! A container keeps one blob for each name, so a later write takes the place of an earlier one. A blob's name here tells
//! the write id, which is in the blob's metadata, and its entity tag. Reads are conditional on the tag; where it changed,
//! the metadata tells whether that was only a change of metadata.
//!
//! Azure drops all blocks of a name that are in no list when any list of that name is published. So while a large body or
//! an upload in parts of a key is under way, another write of the key takes its blocks away: it fails, and is done again
//! by its client; wrong bytes never come of it.
//!
//! The protocol is spoken here, not by one of the crates for many stores: none of them stages blocks with metadata and
//! conditions, and all bring a second HTTP client.

mod account;
mod blocks;
mod client;
mod names;
#[cfg(test)]
mod tests;

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future, future::BoxFuture, stream};
use http::{HeaderMap, Method, StatusCode};

pub use account::{ENTRA, Login};

use self::{
    blocks::Source,
    client::{Call, Container, Failure, text_of},
    names::{Handle, MADE_UP, Published, WRITE, blob_name, block_id},
};
use super::{
    BlobId, BodyHint, Capabilities, DataBackend, DataError, DiskUsage, NativeObject, NativeSource, NativeStore,
    PartToken, PartsFault, PutHint, Staged, Written, announced::Announced,
};
use crate::{clock::Clock, outbound::HttpClient, types::ByteStream, xml};

/// Bodies up to this size are held and sent in one piece, again where need be.
const HELD: usize = 4 << 20;
/// Blocks of larger bodies, at least.
const BLOCK: u64 = 32 << 20;
/// Blocks of bodies whose size nobody knows.
const UNKNOWN: usize = 8 << 20;
/// So long a blob that was sent, or a list of its blocks, may be on its way to where it is seen.
const LATE: Duration = Duration::from_secs(10);
/// A blob has at most 50,000 blocks.
const MOST_BLOCKS: u64 = 40_000;
/// So many for each of 10,000 parts.
const MOST_PART_BLOCKS: u64 = 5;
/// Longest name of a blob, in characters, and its parts between slashes ("Naming and referencing containers, blobs").
const LONGEST_NAME: usize = 1024;
const MOST_SEGMENTS: usize = 254;

/// Where a container is, and who we are there.
#[derive(Debug)]
pub struct AzureOptions {
    /// Address of the account's blob service, with its scheme.
    pub endpoint: String,
    /// The container.
    pub container: String,
    /// Who we are.
    pub login: Login,
    /// The container belongs to one bucket, whose name is no part of blobs' names.
    pub bucket_match: bool,
}

/// Objects as block blobs. See [the module's page](self).
#[derive(Debug)]
pub struct AzureBackend {
    container: Container,
    bucket_match: bool,
}

/// What is known of a blob that is there.
struct Seen {
    write: Option<String>,
    etag: String,
    size: u64,
    headers: HeaderMap,
}

impl Seen {
    fn of(headers: HeaderMap) -> Self {
        Self {
            write: text_of(&headers, "x-ms-meta-cloudserver_write").map(str::to_owned),
            etag: etag_of(&headers),
            size: text_of(&headers, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0),
            headers,
        }
    }
}

/// The entity tag without its quotes.
fn etag_of(headers: &HeaderMap) -> String {
    text_of(headers, "etag").unwrap_or_default().trim_matches('"').to_owned()
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

impl AzureBackend {
    /// A backend for the container of `options`; nothing is asked yet.
    pub fn new(http: HttpClient, options: AzureOptions, clock: Arc<dyn Clock>) -> Self {
        let AzureOptions { endpoint, container, login, bucket_match } = options;
        Self { container: Container::new(http, (&endpoint, &container), login, clock), bucket_match }
    }

    fn name_of(&self, object: &NativeObject) -> Result<String, DataError> {
        let name = if self.bucket_match {
            blob_name(&object.key)
        } else {
            blob_name(&format!("{}/{}", object.bucket, object.key))
        };
        if name.encode_utf16().count() > LONGEST_NAME || name.split('/').count() > MOST_SEGMENTS {
            let why = format!("it may have {LONGEST_NAME} characters, in {MOST_SEGMENTS} parts");
            return Err(DataError::NameTooLong(why));
        }
        Ok(name)
    }

    /// What is at a name now.
    async fn look(&self, name: &str) -> Result<Option<Seen>, DataError> {
        match self.container.send(Call::new(Method::HEAD, Some(name))).await {
            Ok(answer) => Ok(Some(Seen::of(answer.into_parts().0.headers))),
            Err(failure) if failure.is_missing() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// What is there, if it is still the blob that was published.
    async fn still(&self, blob: &Published) -> Result<Option<Seen>, DataError> {
        let seen = self.look(&blob.name).await?;
        Ok(seen.filter(|seen| seen.write.as_ref() == Some(&blob.write)))
    }

    async fn read(&self, id: &BlobId, range: Range<u64>) -> Result<ByteStream, DataError> {
        let blob = Published::parse(id)?;
        let gone = || DataError::NotFound(id.clone());
        if range.is_empty() || range.end > blob.size {
            // Asked first: what is gone has no bytes outside.
            self.still(&blob).await?.ok_or_else(gone)?;
            if range.start > range.end || range.end > blob.size {
                return Err(DataError::OutOfRange(range));
            }
            return Ok(stream::empty().boxed());
        }
        let mut etag = blob.etag.clone();
        for _ in 0..3 {
            let bytes = format!("bytes={}-{}", range.start, range.end - 1);
            let call = Call::new(Method::GET, Some(&blob.name));
            let call = call.header("if-match", &quoted(&etag)).header("x-ms-range", &bytes);
            match self.container.send(call).await {
                Ok(answer) => {
                    let length = text_of(answer.headers(), "content-length").and_then(|text| text.parse().ok());
                    let partial = answer.status() == StatusCode::PARTIAL_CONTENT || range == (0..blob.size);
                    if !partial || length != Some(range.end - range.start) {
                        let detail = format!("{} with {length:?} bytes for {range:?}", answer.status());
                        return Err(DataError::Corrupt { blob: id.clone(), detail });
                    }
                    return Ok(answer.into_body());
                }
                Err(failure) if failure.is_missing() => return Err(gone()),
                // Its metadata may have changed, or its place was taken.
                Err(failure) if failure.is_unmet() => etag = self.still(&blob).await?.ok_or_else(gone)?.etag,
                Err(Failure::Refused { status: StatusCode::RANGE_NOT_SATISFIABLE, .. }) => {
                    let detail = "the blob is shorter than it was".to_owned();
                    return Err(DataError::Corrupt { blob: id.clone(), detail });
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(DataError::Unavailable("the blob's metadata changes all the time".to_owned()))
    }

    async fn remove(&self, id: &BlobId) -> Result<(), DataError> {
        let blob = Published::parse(id)?;
        let mut etag = blob.etag.clone();
        for _ in 0..3 {
            let call = Call::new(Method::DELETE, Some(&blob.name));
            let call = call.header("if-match", &quoted(&etag)).header("x-ms-delete-snapshots", "include");
            match self.container.send(call).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.is_missing() => return Ok(()),
                Err(failure) if failure.is_unmet() => match self.still(&blob).await? {
                    Some(seen) => etag = seen.etag,
                    None => return Ok(()),
                },
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(DataError::Unavailable("the blob's metadata changes all the time".to_owned()))
    }

    async fn stage_body(&self, mut handle: Handle, body: ByteStream, size: Option<u64>) -> Result<Staged, DataError> {
        let source = Source::new(body);
        if size.is_none_or(|size| size <= HELD as u64) {
            let bytes = source.gather(HELD + 1).await?;
            if source.is_over().await? {
                Announced(size).is_met_by(bytes.len() as u64)?;
                let size = bytes.len() as u64;
                return Ok(Staged { handle: handle.to_string(), size, held: Some(bytes), parts: Arc::default() });
            }
            Announced(size).allows(bytes.len() as u64 + 1)?;
            let (blocks, size) = self.put_unknown((&handle.name, 0, &handle.write), &source, bytes).await?;
            handle.blocks = blocks;
            return Ok(Staged { handle: handle.to_string(), size, held: None, parts: Arc::default() });
        }
        let size = size.unwrap_or(0);
        handle.blocks = self.put_known((&handle.name, 0, &handle.write), &source, (size, MOST_BLOCKS)).await?;
        Ok(Staged { handle: handle.to_string(), size, held: None, parts: Arc::default() })
    }

    /// Sends blocks of a body whose size nobody knows.
    async fn put_unknown(
        &self,
        (name, part, random): (&str, u32, &str),
        source: &Source,
        first: Bytes,
    ) -> Result<(u32, u64), DataError> {
        let (mut blocks, mut size, mut bytes) = (0, 0, first);
        while !bytes.is_empty() {
            size += bytes.len() as u64;
            let call = Self::block(name, &block_id(part, random, blocks)).held(bytes);
            self.container.send(call).await?;
            blocks += 1;
            bytes = source.gather(UNKNOWN).await?;
        }
        Ok((blocks, size))
    }

    /// Sends blocks of a body of `size` bytes, at most `most` of them.
    async fn put_known(
        &self,
        (name, part, random): (&str, u32, &str),
        source: &Source,
        (size, most): (u64, u64),
    ) -> Result<u32, DataError> {
        let step = BLOCK.max(size.div_ceil(most));
        let (mut blocks, mut at) = (0, 0);
        while at < size {
            let length = step.min(size - at);
            let last = at + length == size;
            let call = Self::block(name, &block_id(part, random, blocks)).stream(source.block(length, last), length);
            self.container.send(call).await?;
            at += length;
            blocks += 1;
        }
        Ok(blocks)
    }

    fn block<'a>(name: &'a str, id: &str) -> Call<'a> {
        Call::new(Method::PUT, Some(name)).and("comp", "block").and("blockid", id)
    }

    async fn publish_staged(&self, staged: &Staged) -> Result<Written, DataError> {
        let handle = Handle::parse(&staged.handle)?;
        if let Some(mark) = handle.mark()
            && self.look(&mark).await?.is_none()
        {
            let lost = || DataError::NotFound(BlobId::new(staged.handle.clone()));
            return self.found(&handle).await?.ok_or_else(lost);
        }
        let call = Call::new(Method::PUT, Some(&handle.name))
            .headers(&handle.headers)
            .header(&format!("x-ms-meta-{WRITE}"), &handle.write);
        let failure = match (&staged.held, handle.blocks, &*staged.parts) {
            (Some(bytes), ..) => {
                self.container.send(call.header("x-ms-blob-type", "BlockBlob").held(bytes.clone())).await
            }
            (None, blocks, parts) => {
                let ids = ids(&handle, blocks, parts)?;
                self.container.send(call.and("comp", "blocklist").held(ids)).await
            }
        };
        let failure = match failure {
            Ok(answer) => {
                let etag = etag_of(answer.headers());
                let mark = handle.mark();
                let blob = Published { write: handle.write, size: staged.size, etag, name: handle.name };
                if !staged.parts.is_empty() {
                    self.check_size(&blob).await?;
                }
                if let Some(mark) = mark
                    && let Err(failure) = self.container.send(Call::new(Method::DELETE, Some(&mark))).await
                {
                    tracing::warn!(?failure, mark, "the mark of an upload that ended could not be removed");
                }
                return Ok(Written { blob: blob.id(), size: staged.size });
            }
            Err(failure) => failure,
        };
        // The answer may be lost, and a second request find the blocks used.
        if let Some(written) = self.found(&handle).await? {
            return Ok(written);
        }
        if matches!(failure.code(), "InvalidBlockList" | "InvalidBlobOrBlock" | "InvalidBlockId") {
            if handle.upload {
                return Err(DataError::Parts(PartsFault::Missing));
            }
            return Err(DataError::NotFound(BlobId::new(staged.handle.clone())));
        }
        Err(failure.into())
    }

    /// Parts are put together by their names only, so we look at what came of it.
    async fn check_size(&self, blob: &Published) -> Result<(), DataError> {
        let size = self.still(blob).await?.map_or(blob.size, |seen| seen.size);
        if size == blob.size {
            return Ok(());
        }
        let detail = format!("{size} bytes were put together instead of {}", blob.size);
        Err(DataError::Corrupt { blob: blob.id(), detail })
    }

    async fn found(&self, handle: &Handle) -> Result<Option<Written>, DataError> {
        let seen = self.look(&handle.name).await?.filter(|seen| seen.write.as_ref() == Some(&handle.write));
        Ok(seen.map(|seen| {
            let (write, name) = (handle.write.clone(), handle.name.clone());
            let blob = Published { write, size: seen.size, etag: seen.etag, name };
            Written { blob: blob.id(), size: seen.size }
        }))
    }

    /// Made-up blobs behind `after`, in the order of their names.
    async fn made_up(&self, after: Option<&BlobId>, limit: usize) -> Result<Vec<BlobId>, DataError> {
        let after = after.map(Published::parse).transpose()?.map(|blob| blob.name);
        let (mut blobs, mut marker) = (Vec::new(), String::new());
        loop {
            let mut call = Call::new(Method::GET, None).and("restype", "container").and("comp", "list");
            call = call.and("prefix", MADE_UP).and("include", "metadata");
            if !marker.is_empty() {
                call = call.and("marker", marker);
            }
            let text = self.container.document(call).await?;
            let page = Page::read(&text).ok_or_else(|| DataError::Unavailable("no list came from Azure".to_owned()))?;
            let wanted = page.blobs.into_iter().filter(|blob| after.as_ref().is_none_or(|after| blob.name > *after));
            blobs.extend(wanted.map(|blob| blob.id()).take(limit.saturating_sub(blobs.len())));
            if blobs.len() >= limit || page.next.is_empty() {
                return Ok(blobs);
            }
            marker = page.next;
        }
    }

    async fn mirror_tags(&self, id: &BlobId, tags: &[(String, String)]) -> Result<(), DataError> {
        let blob = Published::parse(id)?;
        for _ in 0..3 {
            let seen = self.still(&blob).await?.ok_or_else(|| DataError::NotFound(id.clone()))?;
            let mut call = Call::new(Method::PUT, Some(&blob.name)).and("comp", "metadata");
            call = call.header("if-match", &quoted(&seen.etag));
            // What is not sent is gone.
            for (name, value) in &seen.headers {
                if let (true, Ok(value)) = (name.as_str().starts_with("x-ms-meta-"), value.to_str()) {
                    call = if name == "x-ms-meta-tags" { call } else { call.header(name.as_str(), value) };
                }
            }
            if let Some(tags) = names::tags(tags) {
                call = call.header("x-ms-meta-tags", &tags);
            }
            match self.container.send(call).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.is_unmet() => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(DataError::Unavailable("the blob's metadata changes all the time".to_owned()))
    }
}

/// The list of blocks that are to be the blob.
fn ids(handle: &Handle, blocks: u32, parts: &[(u32, String)]) -> Result<Bytes, DataError> {
    let mut document = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    let mut push = |part: u32, random: &str, blocks: u32| {
        for index in 0..blocks {
            // Base64 has nothing to escape.
            document.push_str("<Uncommitted>");
            document.push_str(&block_id(part, random, index));
            document.push_str("</Uncommitted>");
        }
    };
    push(0, &handle.write, blocks);
    for (number, token) in parts {
        let lost = || DataError::Parts(PartsFault::Missing);
        let (random, count) = token.split_once('.').ok_or_else(lost)?;
        let known = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        let count = count.parse::<u32>().ok().filter(|count| known && *count <= 10_000).ok_or_else(lost)?;
        push(*number, random, count);
    }
    document.push_str("</BlockList>");
    Ok(Bytes::from(document))
}

/// A page of a list.
struct Page {
    blobs: Vec<Published>,
    next: String,
}

impl Page {
    fn read(text: &[u8]) -> Option<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let root = xml::read::read(text).ok()?;
        let child = |element: &xml::Element<'_>, name: &str| {
            element.children_named(name).next().map(|child| child.text().to_owned())
        };
        let mut blobs = Vec::new();
        for blob in root.children_named("Blobs").flat_map(|blobs| blobs.children_named("Blob")) {
            let properties = blob.children_named("Properties").next()?;
            // Made by others.
            let Some(write) = blob.children_named("Metadata").find_map(|metadata| child(metadata, WRITE)) else {
                continue;
            };
            blobs.push(Published {
                write,
                size: child(properties, "Content-Length")?.parse().ok()?,
                etag: child(properties, "Etag")?.trim_matches('"').to_owned(),
                name: child(blob, "Name")?,
            });
        }
        Some(Self { blobs, next: child(&root, "NextMarker").unwrap_or_default() })
    }
}

impl DataBackend for AzureBackend {
    /// None: a name tells the write.
    fn reserve(&self) -> Option<BlobId> {
        None
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        async move {
            if let Some(blob) = hint.blob {
                return Err(DataError::Corrupt { blob, detail: "this backend reserves no names".to_owned() });
            }
            let name = format!("{MADE_UP}{}", names::random()?);
            let handle = Handle::new(name, &NativeObject::default())?;
            let staged = self.stage_body(handle, body, hint.size).await?;
            self.publish_staged(&staged).await
        }
        .boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        self.read(blob, range).boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.remove(blob).boxed()
    }

    /// Only what [`DataBackend::put`] made.
    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.made_up(after, limit).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        async move {
            let call = Call::new(Method::HEAD, None).and("restype", "container");
            Ok(self.container.send(call).await.map(drop)?)
        }
        .boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        future::ready(Ok(None)).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            verified_reads: false,
            listing: true,
            versioned_buckets: false,
            one_bucket: self.bucket_match,
        }
    }

    fn native(&self) -> Option<&dyn NativeStore> {
        Some(self)
    }
}

impl NativeStore for AzureBackend {
    fn stage<'a>(
        &'a self,
        object: &'a NativeObject,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<Staged, DataError>> {
        async move { self.stage_body(Handle::new(self.name_of(object)?, object)?, body, hint.size).await }.boxed()
    }

    /// Not yet: the bytes go through us.
    fn stage_copy<'a>(
        &'a self,
        _: &'a NativeObject,
        _: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<Staged>, DataError>> {
        future::ready(Ok(None)).boxed()
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<Written, DataError>> {
        self.publish_staged(staged).boxed()
    }

    fn find<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Option<Written>, DataError>> {
        async move { self.found(&Handle::parse(handle)?).await }.boxed()
    }

    fn lateness(&self, _: &str) -> Duration {
        LATE
    }

    /// Azure forgets blocks that are in no list after a week.
    fn discard<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), DataError>> {
        async move {
            let Some(mark) = Handle::parse(handle)?.mark() else { return Ok(()) };
            match self.container.send(Call::new(Method::DELETE, Some(&mark))).await {
                Err(failure) if !failure.is_missing() => Err(failure.into()),
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn create_upload<'a>(&'a self, object: &'a NativeObject) -> BoxFuture<'a, Result<String, DataError>> {
        async move {
            let handle = Handle { upload: true, ..Handle::new(self.name_of(object)?, object)? };
            if let Some(mark) = handle.mark() {
                let call = Call::new(Method::PUT, Some(&mark)).header("x-ms-blob-type", "BlockBlob");
                self.container.send(call.held(Bytes::new())).await?;
            }
            Ok(handle.to_string())
        }
        .boxed()
    }

    fn put_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<PartToken, DataError>> {
        let size = hint.size;
        async move {
            let handle = Handle::parse(upload)?;
            let random: String = names::random()?.chars().take(16).collect();
            let source = Source::new(body);
            let place = (handle.name.as_str(), number, random.as_str());
            let (blocks, got) = if let Some(size) = size.filter(|size| *size > HELD as u64) {
                (self.put_known(place, &source, (size, MOST_PART_BLOCKS)).await?, size)
            } else {
                let bytes = source.gather(HELD).await?;
                let over = source.is_over().await?;
                if over || size.is_some() {
                    Announced(size).is_met_by(bytes.len() as u64 + u64::from(!over))?;
                }
                self.put_unknown(place, &source, bytes).await?
            };
            Ok(PartToken { token: format!("{random}.{blocks}"), size: got })
        }
        .boxed()
    }

    /// Not yet: the bytes go through us.
    fn copy_part<'a>(
        &'a self,
        _: &'a str,
        _: u32,
        _: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<PartToken>, DataError>> {
        future::ready(Ok(None)).boxed()
    }

    fn set_tags<'a>(&'a self, blob: &'a BlobId, tags: &'a [(String, String)]) -> BoxFuture<'a, Result<(), DataError>> {
        self.mirror_tags(blob, tags).boxed()
    }

    /// There are no versions, so no markers.
    fn mark_deleted<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Option<&'a BlobId>,
    ) -> BoxFuture<'a, Result<Option<BlobId>, DataError>> {
        future::ready(Ok(None)).boxed()
    }
}
