//! A store of named objects in memory, for tests of the engine: with versions, or with one place for each object.
//!
//! It can be told to fail at each step. What it holds outlives the engine, as a store elsewhere does.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future, future::BoxFuture, stream};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    BlobId, BodyHint, Capabilities, DataBackend, DataError, DiskUsage, NativeObject, NativeSource, NativeStore,
    PartToken, PartsFault, PutHint, Staged, Written, announced::Announced,
};
use crate::types::ByteStream;

pub use super::memory_faults::{Mode, NativeFault, Step};

/// Bodies up to so many bytes are held until they are published.
const HELD: usize = 16;
/// Readers get slices of at most this many bytes.
const SLICE: usize = 256 * 1024;
/// Before the names that are made up.
const MADE_UP: &str = ".cloudserver-blobs/";

#[derive(Clone, Debug)]
struct Version {
    id: u64,
    handle: String,
    bytes: Bytes,
    object: NativeObject,
    marker: bool,
}

#[derive(Debug, Default)]
struct Upload {
    object: NativeObject,
    parts: BTreeMap<String, Bytes>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// By native name; the newest last.
    objects: BTreeMap<String, Vec<Version>>,
    staged: BTreeMap<String, (NativeObject, Bytes)>,
    held: BTreeMap<String, NativeObject>,
    uploads: BTreeMap<String, Upload>,
    orders: VecDeque<(Step, NativeFault)>,
    seen: Vec<Step>,
    away: bool,
    lateness: Duration,
    /// What publishing was last asked for.
    asked: Option<Staged>,
    /// Whether the next object loses its last byte.
    cuts: bool,
}

/// The store.
#[derive(Debug)]
pub struct MemoryNative {
    mode: Mode,
    state: Mutex<State>,
    /// A permit for each step that hangs or waits.
    reached: Semaphore,
    /// A permit for each step that may go on.
    leave: Semaphore,
}

/// Takes a permit for good.
async fn take(permits: &Semaphore) {
    // Nobody closes it.
    if let Ok(permit) = permits.acquire().await {
        permit.forget();
    }
}

fn away() -> DataError {
    DataError::Unavailable("away on purpose".to_owned())
}

fn name_of(object: &NativeObject) -> String {
    format!("{}/{}", object.bucket, object.key)
}

fn blob_of(name: &str, id: u64) -> BlobId {
    BlobId::new(format!("native:{id}:{name}"))
}

fn parse(blob: &BlobId) -> Result<(u64, &str), DataError> {
    let foreign = || DataError::Corrupt { blob: blob.clone(), detail: "no name of this store".to_owned() };
    let (id, name) = blob.as_str().strip_prefix("native:").and_then(|rest| rest.split_once(':')).ok_or_else(foreign)?;
    Ok((id.parse().map_err(|_| foreign())?, name))
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn version(&self, blob: &BlobId) -> Result<&Version, DataError> {
        let (id, name) = parse(blob)?;
        let found = self.objects.get(name).and_then(|all| all.iter().find(|version| version.id == id));
        found.filter(|version| !version.marker).ok_or_else(|| DataError::NotFound(blob.clone()))
    }

    fn published(&self, handle: &str) -> Option<Written> {
        let all = self.objects.iter().flat_map(|(name, all)| all.iter().map(move |version| (name, version)));
        let (name, version) = all.into_iter().find(|(_, version)| version.handle == handle)?;
        Some(Written { blob: blob_of(name, version.id), size: version.bytes.len() as u64 })
    }

    fn put(&mut self, mode: Mode, handle: &str, object: NativeObject, mut bytes: Bytes) -> Written {
        let cut = usize::from(std::mem::take(&mut self.cuts));
        bytes.truncate(bytes.len().saturating_sub(cut));
        let (name, id, size) = (name_of(&object), self.number(), bytes.len() as u64);
        let all = self.objects.entry(name.clone()).or_default();
        if mode == Mode::InPlace {
            all.clear();
        }
        all.push(Version { id, handle: handle.to_owned(), bytes, object, marker: false });
        Written { blob: blob_of(&name, id), size }
    }

    fn remove(&mut self, blob: &BlobId) -> Result<(), DataError> {
        let (id, name) = parse(blob)?;
        if let Some(all) = self.objects.get_mut(name) {
            all.retain(|version| version.id != id);
            if all.is_empty() {
                self.objects.remove(name);
            }
        }
        Ok(())
    }
}

impl MemoryNative {
    /// An empty store.
    pub fn new(mode: Mode) -> Self {
        Self { mode, state: Mutex::default(), reached: Semaphore::new(0), leave: Semaphore::new(0) }
    }

    /// Breaks the next such step that no earlier order breaks.
    pub fn break_next(&self, step: Step, fault: NativeFault) {
        self.state.lock().orders.push_back((step, fault));
    }

    /// Waits until a step has come to where it was ordered to hang or to wait.
    pub async fn reached(&self) {
        take(&self.reached).await;
    }

    /// Lets a step go on that waits, or that will.
    pub fn go_on(&self) {
        self.leave.add_permits(1);
    }

    /// Whether the store answers at all.
    pub fn set_away(&self, away: bool) {
        self.state.lock().away = away;
    }

    /// How long what hung may still happen.
    pub fn set_lateness(&self, lateness: Duration) {
        self.state.lock().lateness = lateness;
    }

    /// Publishes what was asked for last, and hung: a store elsewhere goes on when its caller is gone.
    ///
    /// # Errors
    /// As [`NativeStore::publish`].
    pub fn arrive(&self) -> Result<Written, DataError> {
        let asked = self.state.lock().asked.clone();
        self.publish_now(&asked.ok_or_else(|| DataError::NotFound(BlobId::new("staged")))?)
    }

    /// How often a step was asked for.
    pub fn count(&self, step: Step) -> usize {
        self.state.lock().seen.iter().filter(|seen| **seen == step).count()
    }

    /// Bytes of all objects and versions.
    pub fn stored_bytes(&self) -> u64 {
        self.state.lock().objects.values().flatten().map(|version| version.bytes.len() as u64).sum()
    }

    /// Objects and uploads that were begun and neither ended nor given up.
    pub fn unfinished(&self) -> usize {
        let state = self.state.lock();
        state.staged.len() + state.uploads.len()
    }

    /// What others see under a name, `bucket/key`: the newest version.
    pub fn seen(&self, name: &str) -> Option<(NativeObject, Bytes)> {
        let state = self.state.lock();
        let newest = state.objects.get(name)?.last().filter(|newest| !newest.marker)?;
        Some((newest.object.clone(), newest.bytes.clone()))
    }

    /// Versions and markers under a name.
    pub fn versions(&self, name: &str) -> usize {
        self.state.lock().objects.get(name).map_or(0, Vec::len)
    }

    /// Somebody else spoils the newest version under a name.
    pub fn spoil(&self, name: &str) {
        let newest = |state: &mut State| {
            let newest = state.objects.get_mut(name)?.last_mut()?;
            let mut bytes = newest.bytes.to_vec();
            *bytes.first_mut()? = b'?';
            newest.bytes = bytes.into();
            Some(())
        };
        newest(&mut self.state.lock());
    }

    /// Somebody else puts a copy without its last byte in the place of the newest version under a name, with all its
    /// marks.
    pub fn cut(&self, name: &str) {
        let newest = |state: &mut State| {
            let newest = state.objects.get_mut(name)?.last_mut()?;
            newest.bytes = newest.bytes.slice(..newest.bytes.len().saturating_sub(1));
            Some(())
        };
        newest(&mut self.state.lock());
    }

    /// Somebody else removes everything under a name.
    pub fn lose(&self, name: &str) {
        self.state.lock().objects.remove(name);
    }

    /// Runs a step as it was ordered.
    async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        let fault = {
            let mut state = self.state.lock();
            state.seen.push(step);
            if state.away {
                return Err(away());
            }
            let place = state.orders.iter().position(|(ordered, _)| *ordered == step);
            place.and_then(|place| state.orders.remove(place)).map(|(_, fault)| fault)
        };
        match fault {
            None => work.await,
            Some(NativeFault::Before) => Err(away()),
            Some(NativeFault::LostReply) => work.await.and(Err(away())),
            Some(NativeFault::Hang) => self.hang().await,
            Some(NativeFault::HangAfter) => {
                work.await?;
                self.hang().await
            }
            Some(NativeFault::Wait) => {
                self.reached.add_permits(1);
                take(&self.leave).await;
                work.await
            }
            Some(NativeFault::Refuse(fault)) => Err(DataError::Parts(fault)),
            Some(NativeFault::Forget) => Err(DataError::NotFound(BlobId::new("staged"))),
            Some(NativeFault::Short) => {
                self.state.lock().cuts = true;
                work.await
            }
            Some(NativeFault::Misshapen) => {
                work.await?;
                Err(DataError::Corrupt { blob: BlobId::new("published"), detail: "wrong on purpose".to_owned() })
            }
        }
    }

    async fn hang<T>(&self) -> T {
        self.reached.add_permits(1);
        future::pending().await
    }

    fn publish_now(&self, staged: &Staged) -> Result<Written, DataError> {
        let mut state = self.state.lock();
        if let Some(done) = state.published(&staged.handle) {
            return Ok(done);
        }
        let gone = || DataError::NotFound(BlobId::new(staged.handle.as_str()));
        let (object, bytes) = if let Some(bytes) = &staged.held {
            (state.held.get(&staged.handle).cloned().ok_or_else(gone)?, bytes.clone())
        } else if let Some(upload) = state.uploads.get(&staged.handle) {
            let mut whole = BytesMut::new();
            for (_, token) in staged.parts.iter() {
                whole.extend_from_slice(upload.parts.get(token).ok_or(DataError::Parts(PartsFault::Missing))?);
            }
            (upload.object.clone(), whole.freeze())
        } else {
            state.staged.get(&staged.handle).cloned().ok_or_else(gone)?
        };
        state.uploads.remove(&staged.handle);
        state.staged.remove(&staged.handle);
        state.held.remove(&staged.handle);
        Ok(state.put(self.mode, &staged.handle, object, bytes))
    }

    fn keep_staged(&self, object: &NativeObject, bytes: Bytes) -> Staged {
        let mut state = self.state.lock();
        let handle = format!("staged:{}:{}", state.number(), name_of(object));
        let size = bytes.len() as u64;
        let held = (bytes.len() <= HELD).then(|| bytes.clone());
        if held.is_some() {
            state.held.insert(handle.clone(), object.clone());
        } else {
            state.staged.insert(handle.clone(), (object.clone(), bytes));
        }
        Staged { handle, size, held, parts: [].into() }
    }

    fn keep_part(&self, upload: &str, number: u32, bytes: Bytes) -> Result<PartToken, DataError> {
        let mut state = self.state.lock();
        let (token, size) = (format!("{number}:{}", state.number()), bytes.len() as u64);
        let known = state.uploads.get_mut(upload).ok_or_else(|| DataError::NotFound(BlobId::new(upload)))?;
        known.parts.insert(token.clone(), bytes);
        Ok(PartToken { token, size })
    }

    fn slice(&self, source: &NativeSource<'_>) -> Result<Bytes, DataError> {
        let bytes = self.state.lock().version(source.blob)?.bytes.clone();
        slice_of(&bytes, &source.range)
    }
}

fn slice_of(bytes: &Bytes, range: &Range<u64>) -> Result<Bytes, DataError> {
    let outside = || DataError::OutOfRange(range.clone());
    let start = usize::try_from(range.start).map_err(|_| outside())?;
    let end = usize::try_from(range.end).map_err(|_| outside())?;
    if start > end || end > bytes.len() {
        return Err(outside());
    }
    Ok(bytes.slice(start..end))
}

async fn collect(mut body: ByteStream, size: Option<u64>) -> Result<Bytes, DataError> {
    let announced = Announced(size);
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
        announced.allows(bytes.len() as u64)?;
    }
    announced.is_met_by(bytes.len() as u64)?;
    Ok(bytes.freeze())
}

impl NativeStore for MemoryNative {
    fn stage<'a>(
        &'a self,
        object: &'a NativeObject,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<Staged, DataError>> {
        let work = async move { Ok(self.keep_staged(object, collect(body, hint.size).await?)) };
        self.step(Step::Stage, work).boxed()
    }

    fn stage_copy<'a>(
        &'a self,
        object: &'a NativeObject,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<Staged>, DataError>> {
        let work = async move { Ok(Some(self.keep_staged(object, self.slice(&source)?))) };
        self.step(Step::Stage, work).boxed()
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<Written, DataError>> {
        self.state.lock().asked = Some(staged.clone());
        self.step(Step::Publish, async move { self.publish_now(staged) }).boxed()
    }

    fn find<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Option<Written>, DataError>> {
        self.step(Step::Find, async move { Ok(self.state.lock().published(handle)) }).boxed()
    }

    fn lateness(&self, _: &str) -> Duration {
        self.state.lock().lateness
    }

    fn discard<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), DataError>> {
        let work = async move {
            let mut state = self.state.lock();
            state.staged.remove(handle);
            state.held.remove(handle);
            state.uploads.remove(handle);
            Ok(())
        };
        self.step(Step::Discard, work).boxed()
    }

    fn create_upload<'a>(&'a self, object: &'a NativeObject) -> BoxFuture<'a, Result<String, DataError>> {
        let work = async move {
            let mut state = self.state.lock();
            let handle = format!("upload:{}:{}", state.number(), name_of(object));
            state.uploads.insert(handle.clone(), Upload { object: object.clone(), ..Upload::default() });
            Ok(handle)
        };
        self.step(Step::CreateUpload, work).boxed()
    }

    fn put_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<PartToken, DataError>> {
        let work = async move { self.keep_part(upload, number, collect(body, hint.size).await?) };
        self.step(Step::PutPart, work).boxed()
    }

    fn copy_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<PartToken>, DataError>> {
        let work = async move { self.keep_part(upload, number, self.slice(&source)?).map(Some) };
        self.step(Step::PutPart, work).boxed()
    }

    fn set_tags<'a>(&'a self, blob: &'a BlobId, tags: &'a [(String, String)]) -> BoxFuture<'a, Result<(), DataError>> {
        let work = async move {
            let (id, name) = parse(blob)?;
            let mut state = self.state.lock();
            let found = state.objects.get_mut(name).and_then(|all| all.iter_mut().find(|version| version.id == id));
            tags.clone_into(&mut found.ok_or_else(|| DataError::NotFound(blob.clone()))?.object.tags);
            Ok(())
        };
        self.step(Step::SetTags, work).boxed()
    }

    fn mark_deleted<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        _: Option<&'a BlobId>,
    ) -> BoxFuture<'a, Result<Option<BlobId>, DataError>> {
        let work = async move {
            if self.mode == Mode::InPlace {
                return Ok(None);
            }
            let mut state = self.state.lock();
            let (name, id) = (format!("{bucket}/{key}"), state.number());
            let object = NativeObject { bucket: bucket.to_owned(), key: key.to_owned(), ..NativeObject::default() };
            let marker = Version { id, handle: String::new(), bytes: Bytes::new(), object, marker: true };
            state.objects.entry(name.clone()).or_default().push(marker);
            Ok(Some(blob_of(&name, id)))
        };
        self.step(Step::MarkDeleted, work).boxed()
    }
}

impl DataBackend for MemoryNative {
    fn reserve(&self) -> Option<BlobId> {
        None
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        async move {
            if let Some(blob) = hint.blob {
                return Err(DataError::Corrupt { blob, detail: "this store makes its names itself".to_owned() });
            }
            let bytes = collect(body, hint.size).await?;
            let mut state = self.state.lock();
            let key = state.number().to_string();
            let object = NativeObject { bucket: MADE_UP.trim_end_matches('/').to_owned(), key, ..Default::default() };
            Ok(state.put(self.mode, "", object, bytes))
        }
        .boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        let work = async move {
            let bytes = self.state.lock().version(blob)?.bytes.clone();
            let mut rest = slice_of(&bytes, &range)?;
            let slices =
                std::iter::from_fn(move || (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(SLICE)))));
            Ok(stream::iter(slices).boxed())
        };
        self.step(Step::Get, work).boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.step(Step::Delete, async move { self.state.lock().remove(blob) }).boxed()
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        async move {
            let state = self.state.lock();
            let all = state.objects.iter().flat_map(|(name, all)| all.iter().map(move |it| blob_of(name, it.id)));
            let mut all: Vec<BlobId> = all.collect();
            all.sort();
            Ok(all.into_iter().filter(|blob| after.is_none_or(|after| blob > after)).take(limit).collect())
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        async move { if self.state.lock().away { Err(away()) } else { Ok(()) } }.boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        future::ready(Ok(None)).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: false,
            verified_reads: false,
            listing: true,
            versioned_buckets: self.mode == Mode::Versioned,
            one_bucket: false,
        }
    }

    fn native(&self) -> Option<&dyn NativeStore> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::conformance;

    #[tokio::test]
    async fn both_modes_keep_the_rules_of_the_seam() {
        for mode in [Mode::Versioned, Mode::InPlace] {
            conformance::suite(Arc::new(MemoryNative::new(mode))).await;
        }
    }

    #[tokio::test]
    async fn what_took_the_place_of_a_blob_is_neither_read_nor_removed_by_its_name() {
        let store = MemoryNative::new(Mode::InPlace);
        let object = NativeObject { bucket: "b".to_owned(), key: "k".to_owned(), ..NativeObject::default() };
        let staged = |bytes: &'static [u8]| store.keep_staged(&object, Bytes::from_static(bytes));
        let (old, new) = (staged(b"old bytes"), staged(b"new bytes, and more of them"));
        let old = store.publish(&old).await.unwrap().blob;
        let new = store.publish(&new).await.unwrap().blob;
        assert!(matches!(store.get(&old, 0..1).await.map(drop), Err(DataError::NotFound(_))));
        store.delete(&old).await.unwrap();
        assert_eq!(store.seen("b/k").unwrap().1, "new bytes, and more of them");
        store.delete(&new).await.unwrap();
        assert!(store.seen("b/k").is_none());
    }
}
