//! Publishing, uploads of clients, copies, tags and markers.

use std::{ops::Range, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use http::HeaderMap;
use tokio::time::Instant;

use super::{
    AwsS3Backend, Far,
    check::{Sent, composite, digested, is_md5, is_opaque},
    names::{FarBlob, Handle, Way},
    no_versions, pause, size_of, stage,
    stage::{HELD, LARGEST, LONGEST_KEY, PART, Plan},
    undo::Undo,
};
use crate::{
    data::{
        BlobId, BodyHint, DataError, NativeObject, NativeSource, NativeStore, PartToken, PartsFault, Staged, Written,
    },
    s3client::{CopySource, S3ClientError, Stored},
    types::ByteStream,
};

/// So long a small object that was sent may be on its way to where it is seen.
const LATE_OBJECT: Duration = Duration::from_secs(10);
/// So long the far side may put an upload together for a caller that is gone: for large ones that takes a while.
const LATE_UPLOAD: Duration = Duration::from_mins(1);
/// Most bytes of a part that nobody has put a size to: such a part is held. The protocol's parts all have one.
const UNSIZED_PART: usize = 32 << 20;
/// Ranges can be copied out of larger objects only (S3 reference, `UploadPartCopy`).
const SMALLEST_RANGED: u64 = 5 << 20;

impl Far {
    pub(super) async fn publish(&self, staged: &Staged) -> Result<Written, DataError> {
        let handle = Handle::parse(&staged.handle)?;
        if handle.way == Way::Written {
            let blob = handle.blob(handle.version.clone(), handle.etag.clone());
            return Ok(Written { blob, size: staged.size });
        }
        if handle.way == Way::Held && self.keeps_versions() {
            self.ensure_versions().await?;
        }
        let _guard = self.lock(&handle.key).await;
        let retry = self.client.retry();
        let end = Instant::now() + retry.deadline;
        for attempt in 1.. {
            let error = match self.try_to_publish(&handle, staged).await? {
                Ok(stored) => return self.published(&handle, staged, stored).await,
                Err(error) => error,
            };
            if let Some(fault) = parts_fault(&error) {
                return Err(DataError::Parts(fault));
            }
            let gone = error.code() == Some("NoSuchUpload");
            if !gone && !error.is_open() {
                return Err(self.fault(&error));
            }
            match self.locate(&handle.key, &handle.write).await {
                Ok(Some(stored)) => return self.published(&handle, staged, stored).await,
                Ok(None) if gone => return Err(DataError::NotFound(BlobId::new(handle.key))),
                Err(error) if !error.may_pass() => return Err(self.fault(&error)),
                Ok(None) | Err(_) => {}
            }
            if attempt >= retry.attempts || Instant::now() + pause(attempt) > end {
                return Err(self.fault(&error));
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        Err(DataError::NotFound(BlobId::new(handle.key)))
    }

    async fn try_to_publish(
        &self,
        handle: &Handle,
        staged: &Staged,
    ) -> Result<Result<Stored, S3ClientError>, DataError> {
        if handle.way == Way::Upload {
            let (bucket, key) = (self.bucket(), &handle.key);
            return Ok(self.client.complete_multipart_upload(bucket, key, &handle.upload, &staged.parts).await);
        }
        // After a crash nobody holds it.
        let held = staged.held.clone().ok_or_else(|| DataError::NotFound(BlobId::new(&handle.key)))?;
        let payload = crate::outbound::Payload::Held(held);
        Ok(self.client.put_object(self.bucket(), &handle.key, &handle.kept_headers(), payload).await)
    }

    /// Judges what was published. An answer that cannot be true is compared with what is there.
    async fn published(&self, handle: &Handle, staged: &Staged, mut stored: Stored) -> Result<Written, DataError> {
        let named = self.version_of(&stored).is_some() || !(self.keeps_versions() || self.is_gcs());
        let mut judged = self.judge(staged, &stored);
        if !named || !matches!(judged, Ok(true)) {
            let version = self.version_of(&stored);
            let head = self.client.head_object(self.bucket(), &handle.key, version.as_deref()).await;
            stored = head.map_err(|error| self.fault(&error))?;
            judged = self.judge(staged, &stored);
            if matches!(judged, Ok(false)) && size_of(&stored.headers) != Some(staged.size) {
                judged = Err(format!("it has not the {} bytes that were sent", staged.size));
            }
        }
        if let Err(detail) = judged {
            return Err(stage::corrupt(&handle.key, detail));
        }
        if self.keeps_versions() && stored.version.is_none() {
            return Err(no_versions());
        }
        self.written(handle, &stored, staged.size)
    }

    /// Whether the entity tag is that of the bytes; `false` where it does not tell.
    fn judge(&self, staged: &Staged, stored: &Stored) -> Result<bool, String> {
        if let Some(held) = &staged.held {
            return Sent::of(held).matches(stored);
        }
        let etag = stored.etag.as_deref().unwrap_or_default();
        let is_composite = etag.split_once('-').is_some_and(|(digest, _)| is_md5(digest));
        match composite(&staged.parts) {
            Some(expected) if is_composite && !is_opaque(&stored.headers) && !self.is_gcs() => {
                if etag.eq_ignore_ascii_case(&expected) {
                    Ok(true)
                } else {
                    Err(format!("its entity tag is {etag}, its parts have {expected}"))
                }
            }
            _ => Ok(false),
        }
    }

    async fn find(&self, handle: &str) -> Result<Option<Written>, DataError> {
        let handle = Handle::parse(handle)?;
        let found = match &handle.version {
            Some(version) => match self.client.head_object(self.bucket(), &handle.key, Some(version)).await {
                Ok(stored) => Some(stored),
                Err(error) if error.is_missing() => None,
                Err(error) => return Err(self.fault(&error)),
            },
            None => self.locate(&handle.key, &handle.write).await.map_err(|error| self.fault(&error))?,
        };
        let written = found.map(|stored| {
            // No answer leaves out the length of what has one.
            let size = size_of(&stored.headers).unwrap_or(0);
            // Not every store repeats its name for a version that was asked for by it.
            let version = stored.version.clone().or(handle.version.clone());
            self.written(&handle, &Stored { version, ..stored }, size)
        });
        written.transpose()
    }

    async fn discard(&self, handle: &str) -> Result<(), DataError> {
        let handle = Handle::parse(handle)?;
        let done = match (handle.way, &handle.version) {
            (Way::Upload, _) => self.client.abort_multipart_upload(self.bucket(), &handle.key, &handle.upload).await,
            (Way::Written, Some(version)) => {
                self.client.delete_object(self.bucket(), &handle.key, Some(version)).await.map(drop)
            }
            (Way::Written | Way::Held, _) => Ok(()),
        };
        done.map_err(|error| self.fault(&error))
    }

    async fn set_tags(&self, blob: &BlobId, tags: &[(String, String)]) -> Result<(), DataError> {
        if self.is_gcs() {
            // Objects have no tags there.
            return Ok(());
        }
        let name = FarBlob::parse(blob)?;
        let _guard = self.lock(&name.key).await;
        if name.version.is_none() {
            let head = self.client.head_object(self.bucket(), &name.key, None).await;
            let head = head.map_err(|error| self.fault_of(blob, &error))?;
            if super::write_of(&head.headers) != Some(name.write.as_str()) {
                return Err(DataError::NotFound(blob.clone()));
            }
        }
        let set = self.client.set_object_tags(self.bucket(), &name.key, name.version.as_deref(), tags).await;
        set.map_err(|error| self.fault_of(blob, &error))
    }

    async fn mark_deleted(&self, bucket: &str, key: &str) -> Result<Option<BlobId>, DataError> {
        if !self.keeps_versions() {
            return Ok(None);
        }
        let key = self.native_key(bucket, key);
        if key.len() > LONGEST_KEY {
            // There is nothing to hide.
            return Ok(None);
        }
        let deleted = self.client.delete_object(self.bucket(), &key, None).await;
        let deleted = deleted.map_err(|error| self.fault(&error))?;
        Ok(deleted
            .version
            .map(|version| FarBlob { key, version: Some(version), write: String::new(), etag: String::new() }.id()))
    }
}

/// What the far side has against the parts of an upload (S3 reference, `CompleteMultipartUpload`).
fn parts_fault(error: &S3ClientError) -> Option<PartsFault> {
    match error.code()? {
        "InvalidPart" | "InvalidPartOrder" => Some(PartsFault::Missing),
        "EntityTooSmall" => Some(PartsFault::TooSmall),
        _ => None,
    }
}

/// Copies, where both ends are in this bucket.
struct Copying<'a> {
    far: &'a Arc<Far>,
    name: FarBlob,
    source: NativeSource<'a>,
}

impl<'a> Copying<'a> {
    /// `None` where the far side has no such copies.
    fn of(far: &'a Arc<Far>, source: NativeSource<'a>) -> Result<Option<Self>, DataError> {
        let name = FarBlob::parse(source.blob)?;
        let whole = source.range == (0..source.size);
        let cannot = far.is_gcs() || source.range.is_empty() || (!whole && source.size <= SMALLEST_RANGED);
        Ok((!cannot).then_some(Self { far, name, source }))
    }

    fn whole(&self) -> bool {
        self.source.range == (0..self.source.size)
    }

    fn source(&self) -> CopySource<'_> {
        CopySource {
            bucket: self.far.bucket(),
            key: &self.name.key,
            version: self.name.version.as_deref(),
            if_match: Some(self.name.etag.as_str()).filter(|etag| !etag.is_empty()),
        }
    }

    /// What a refusal means: `None` for a store that has no such copies.
    fn refused<T>(&self, error: &S3ClientError) -> Result<Option<T>, DataError> {
        if error.status() == Some(501) {
            return Ok(None);
        }
        Err(self.far.fault_of(self.source.blob, error))
    }

    /// As a version of its own, at once.
    async fn write(&self, plan: &Plan) -> Result<Option<Staged>, DataError> {
        self.far.ensure_versions().await?;
        let mut headers = plan.headers.clone();
        for name in ["x-amz-metadata-directive", "x-amz-tagging-directive"] {
            headers.insert(name, http::HeaderValue::from_static("REPLACE"));
        }
        let undo = Undo::write(self.far, &plan.key, &plan.write);
        let copied = self.far.client.copy_object(self.far.bucket(), &plan.key, self.source(), &headers).await;
        let stored = match copied {
            Ok(stored) => stored,
            Err(error) if error.is_open() => match self.far.lost(&plan.key, &plan.write).await {
                Some(stored) => stored,
                None => return self.refused(&error),
            },
            Err(error) => {
                undo.keep();
                return self.refused(&error);
            }
        };
        let etag = stored.etag.clone().unwrap_or_default();
        // Another tag of the same bytes may come from parts or keys; two plain ones must be the same.
        if is_md5(&etag) && is_md5(&self.name.etag) && !is_opaque(&stored.headers) && etag != self.name.etag {
            undo.now().await;
            return Err(stage::corrupt(&plan.key, format!("a copy has the entity tag {etag}, not {}", self.name.etag)));
        }
        if stored.version.is_none() {
            undo.now().await;
            return Err(no_versions());
        }
        let handle = Handle { version: stored.version, etag, ..plan.handle(Way::Written) }.text();
        let handle = handle.ok_or_else(|| DataError::Unavailable("a version's name is too long".to_owned()))?;
        undo.keep();
        Ok(Some(Staged { handle, size: self.source.size, held: None, parts: Arc::new([]) }))
    }

    /// As parts of an upload.
    async fn upload(&self, plan: &Plan) -> Result<Option<Staged>, DataError> {
        let upload = self.far.client.create_multipart_upload(self.far.bucket(), &plan.key, &plan.headers).await;
        let upload = upload.map_err(|error| self.far.fault(&error))?;
        let undo = Undo::upload(self.far, &plan.key, &upload);
        let Range { start, end } = self.source.range.clone();
        let most = if end - start <= LARGEST { LARGEST } else { PART };
        let (mut parts, mut done) = (Vec::new(), start);
        for number in 1.. {
            let next = end.min(done + most);
            match self.part(&plan.key, (&upload, number), done..next).await? {
                Some(etag) => parts.push((number, etag)),
                None => return Ok(None),
            }
            done = next;
            if done >= end {
                break;
            }
        }
        let handle = Handle { upload, ..plan.handle(Way::Upload) }.text();
        let handle = handle.ok_or_else(|| DataError::Unavailable("an upload's name is too long".to_owned()))?;
        undo.keep();
        Ok(Some(Staged { handle, size: end - start, held: None, parts: parts.into() }))
    }

    async fn part(&self, key: &str, part: (&str, u32), range: Range<u64>) -> Result<Option<String>, DataError> {
        let ranged = (!self.whole() || range != self.source.range).then_some(range);
        let copied = self.far.client.upload_part_copy(self.far.bucket(), key, part, self.source(), ranged).await;
        match copied {
            Ok(stored) => stage::token(key, stored.etag).map(Some),
            Err(error) if error.code() == Some("NoSuchUpload") => Err(self.far.fault_of_upload(key, &error)),
            Err(error) => self.refused(&error),
        }
    }
}

async fn stage_copy(
    far: &Arc<Far>,
    object: &NativeObject,
    source: NativeSource<'_>,
) -> Result<Option<Staged>, DataError> {
    let Some(copying) = Copying::of(far, source)? else { return Ok(None) };
    let plan = Plan::of(far, object)?;
    if far.keeps_versions() && copying.whole() && copying.source.size <= LARGEST {
        copying.write(&plan).await
    } else {
        copying.upload(&plan).await
    }
}

async fn put_part(
    far: &Far,
    upload: &str,
    number: u32,
    body: ByteStream,
    hint: BodyHint,
) -> Result<PartToken, DataError> {
    let handle = Handle::parse(upload)?;
    let part = (handle.upload.as_str(), number);
    match hint.size {
        // Small enough to be sent again if need be.
        Some(size) if size > HELD as u64 => {
            let token = stage::send_part(far, &handle.key, part, digested(body, hint.digests), size).await?;
            Ok(PartToken { token, size })
        }
        size => {
            let bytes = stage::gather_part(body, size, UNSIZED_PART).await?;
            let size = bytes.len() as u64;
            let token = stage::send_held_part(far, &handle.key, part, bytes).await?;
            Ok(PartToken { token, size })
        }
    }
}

async fn part_there(far: &Far, upload: &str, number: u32) -> Result<Option<String>, DataError> {
    let handle = Handle::parse(upload)?;
    let page = far.client.list_parts(far.bucket(), &handle.key, &handle.upload, number.saturating_sub(1)).await;
    let page = page.map_err(|error| far.fault_of_upload(&handle.key, &error))?;
    Ok(page.parts.into_iter().find(|part| part.number == number).map(|part| part.etag))
}

async fn copy_part(
    far: &Arc<Far>,
    upload: &str,
    number: u32,
    source: NativeSource<'_>,
) -> Result<Option<PartToken>, DataError> {
    let handle = Handle::parse(upload)?;
    let Some(copying) = Copying::of(far, source)? else { return Ok(None) };
    let range = copying.source.range.clone();
    let size = range.end - range.start;
    if size > LARGEST {
        return Ok(None);
    }
    let token = copying.part(&handle.key, (&handle.upload, number), range).await?;
    Ok(token.map(|token| PartToken { token, size }))
}

async fn create_upload(far: &Arc<Far>, object: &NativeObject) -> Result<String, DataError> {
    let plan = Plan::of(far, object)?;
    let headers: &HeaderMap = &plan.headers;
    let upload = far.client.create_multipart_upload(far.bucket(), &plan.key, headers).await;
    let upload = upload.map_err(|error| far.fault(&error))?;
    let undo = Undo::upload(far, &plan.key, &upload);
    let handle = Handle { upload, ..plan.handle(Way::Upload) }.text();
    let handle = handle.ok_or_else(|| DataError::Unavailable("an upload's name is too long".to_owned()))?;
    undo.keep();
    Ok(handle)
}

impl NativeStore for AwsS3Backend {
    fn stage<'a>(
        &'a self,
        object: &'a NativeObject,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<Staged, DataError>> {
        async move { stage::stage(&self.far, Plan::of_body(&self.far, object)?, body, hint).await }.boxed()
    }

    fn stage_copy<'a>(
        &'a self,
        object: &'a NativeObject,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<Staged>, DataError>> {
        stage_copy(&self.far, object, source).boxed()
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<Written, DataError>> {
        self.far.publish(staged).boxed()
    }

    fn find<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Option<Written>, DataError>> {
        self.far.find(handle).boxed()
    }

    fn lateness(&self, handle: &str) -> Duration {
        match Handle::parse(handle).map(|handle| handle.way) {
            Ok(Way::Written) => Duration::ZERO,
            Ok(Way::Held) => LATE_OBJECT,
            Ok(Way::Upload) | Err(_) => LATE_UPLOAD,
        }
    }

    fn discard<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), DataError>> {
        self.far.discard(handle).boxed()
    }

    fn create_upload<'a>(&'a self, object: &'a NativeObject) -> BoxFuture<'a, Result<String, DataError>> {
        create_upload(&self.far, object).boxed()
    }

    fn put_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<PartToken, DataError>> {
        put_part(&self.far, upload, number, body, hint).boxed()
    }

    fn part_there<'a>(&'a self, upload: &'a str, number: u32) -> BoxFuture<'a, Result<Option<String>, DataError>> {
        part_there(&self.far, upload, number).boxed()
    }

    fn copy_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<PartToken>, DataError>> {
        copy_part(&self.far, upload, number, source).boxed()
    }

    fn set_tags<'a>(&'a self, blob: &'a BlobId, tags: &'a [(String, String)]) -> BoxFuture<'a, Result<(), DataError>> {
        self.far.set_tags(blob, tags).boxed()
    }

    fn mark_deleted<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        _: Option<&'a BlobId>,
    ) -> BoxFuture<'a, Result<Option<BlobId>, DataError>> {
        self.far.mark_deleted(bucket, key).boxed()
    }
}
