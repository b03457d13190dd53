//! Backends with something around their calls: a layer says what that is, and everything else is forwarded once, here.

use std::{
    fmt,
    future::{Future, ready},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};

use super::{
    BlobId, BodyHint, Browse, Capabilities, DataBackend, DataError, DiskUsage, Expected, Found, NativeObject,
    NativeSource, NativeStore, PartToken, PutHint, Staged, Written,
};
use crate::types::ByteStream;

#[cfg(test)]
mod tests;

/// A call that has to wait for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`DataBackend::put`].
    Put,
    /// [`DataBackend::get`].
    Get,
    /// [`DataBackend::delete`].
    Delete,
    /// [`DataBackend::size`].
    Size,
    /// [`DataBackend::list`].
    List,
    /// [`DataBackend::probe`].
    Probe,
    /// [`DataBackend::disk_usage`].
    DiskUsage,
    /// [`NativeStore::stage`].
    Stage,
    /// [`NativeStore::stage_copy`].
    StageCopy,
    /// [`NativeStore::publish`].
    Publish,
    /// [`NativeStore::find`].
    Find,
    /// [`NativeStore::discard`].
    Discard,
    /// [`NativeStore::create_upload`].
    CreateUpload,
    /// [`NativeStore::put_part`].
    PutPart,
    /// [`NativeStore::part_there`].
    PartThere,
    /// [`NativeStore::copy_part`].
    CopyPart,
    /// [`NativeStore::set_tags`].
    SetTags,
    /// [`NativeStore::mark_deleted`].
    MarkDeleted,
    /// [`Browse::identity`].
    Identity,
    /// [`Browse::stands`].
    Stands,
    /// [`Browse::is_taken`].
    IsTaken,
    /// [`Browse::holds`].
    Holds,
}

impl Call {
    /// The method's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Delete => "delete",
            Self::Size => "size",
            Self::List => "list",
            Self::Probe => "probe",
            Self::DiskUsage => "disk_usage",
            Self::Stage => "stage",
            Self::StageCopy => "stage_copy",
            Self::Publish => "publish",
            Self::Find => "find",
            Self::Discard => "discard",
            Self::CreateUpload => "create_upload",
            Self::PutPart => "put_part",
            Self::PartThere => "part_there",
            Self::CopyPart => "copy_part",
            Self::SetTags => "set_tags",
            Self::MarkDeleted => "mark_deleted",
            Self::Identity => "identity",
            Self::Stands => "stands",
            Self::IsTaken => "is_taken",
            Self::Holds => "holds",
        }
    }
}

/// What is done around the calls of a backend.
///
/// The work that a layer is given does nothing before it is waited for, and all of the call after that.
pub trait Layer: fmt::Debug + Send + Sync + 'static {
    /// Makes a call, by waiting for `work`.
    fn around<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> impl Future<Output = Result<T, DataError>> + Send;

    /// Makes a call that takes a body.
    fn send<T: Send, F: Future<Output = Result<T, DataError>> + Send>(
        &self,
        call: Call,
        body: ByteStream,
        work: impl FnOnce(ByteStream) -> F + Send,
    ) -> impl Future<Output = Result<T, DataError>> + Send {
        self.around(call, async move { work(body).await })
    }

    /// Makes the call that gives bytes back, [`DataBackend::get`].
    fn receive(
        &self,
        work: impl Future<Output = Result<ByteStream, DataError>> + Send,
    ) -> impl Future<Output = Result<ByteStream, DataError>> + Send {
        self.around(Call::Get, work)
    }

    /// Makes the call of [`DataBackend::probe`].
    fn probe(
        &self,
        work: impl Future<Output = Result<(), DataError>> + Send,
    ) -> impl Future<Output = Result<(), DataError>> + Send {
        self.around(Call::Probe, work)
    }

    /// What is found on a walk that the store within has been asked for, and that nobody has begun.
    fn walk(
        &self,
        found: BoxStream<'static, Result<Found, DataError>>,
    ) -> BoxStream<'static, Result<Found, DataError>> {
        found
    }
}

/// A backend with a layer around it.
#[derive(Debug)]
pub struct Layered<L> {
    inner: Arc<dyn DataBackend>,
    layer: L,
}

fn nameless() -> DataError {
    DataError::Unavailable("the store keeps no names any more".to_owned())
}

fn closed() -> DataError {
    DataError::Unavailable("others put no objects into the store any more".to_owned())
}

impl<L> Layered<L> {
    /// Puts a layer around a backend.
    pub fn over(inner: Arc<dyn DataBackend>, layer: L) -> Self {
        Self { inner, layer }
    }

    /// The layer.
    pub const fn layer(&self) -> &L {
        &self.layer
    }

    fn named(&self) -> Result<&dyn NativeStore, DataError> {
        self.inner.native().ok_or_else(nameless)
    }

    fn browsed(&self) -> Result<&dyn Browse, DataError> {
        self.inner.browse().ok_or_else(closed)
    }
}

#[deny(clippy::missing_trait_methods, reason = "a default body would answer in place of the store within")]
impl<L: Layer> DataBackend for Layered<L> {
    fn reserve(&self) -> Option<BlobId> {
        self.inner.reserve()
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        self.layer.send(Call::Put, body, |body| self.inner.put(body, hint)).boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        self.layer.receive(async move { self.inner.get(blob, range).await }).boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.layer.around(Call::Delete, async move { self.inner.delete(blob).await }).boxed()
    }

    fn size<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        self.layer.around(Call::Size, async move { self.inner.size(blob).await }).boxed()
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.layer.around(Call::List, async move { self.inner.list(after, limit).await }).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        self.layer.probe(async move { self.inner.probe().await }).boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        self.layer.around(Call::DiskUsage, async move { self.inner.disk_usage().await }).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn native(&self) -> Option<&dyn NativeStore> {
        self.inner.native().map(|_| self as &dyn NativeStore)
    }

    fn browse(&self) -> Option<&dyn Browse> {
        self.inner.browse().map(|_| self as &dyn Browse)
    }
}

#[deny(clippy::missing_trait_methods, reason = "a default body would answer in place of the store within")]
impl<L: Layer> NativeStore for Layered<L> {
    fn stage<'a>(
        &'a self,
        object: &'a NativeObject,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<Staged, DataError>> {
        let work = move |body| async move { self.named()?.stage(object, body, hint).await };
        self.layer.send(Call::Stage, body, work).boxed()
    }

    fn stage_copy<'a>(
        &'a self,
        object: &'a NativeObject,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<Staged>, DataError>> {
        let work = async move { self.named()?.stage_copy(object, source).await };
        self.layer.around(Call::StageCopy, work).boxed()
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<Written, DataError>> {
        self.layer.around(Call::Publish, async move { self.named()?.publish(staged).await }).boxed()
    }

    fn find<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Option<Written>, DataError>> {
        self.layer.around(Call::Find, async move { self.named()?.find(handle).await }).boxed()
    }

    fn lateness(&self, handle: &str) -> Duration {
        self.inner.native().map_or(Duration::ZERO, |store| store.lateness(handle))
    }

    fn discard<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), DataError>> {
        self.layer.around(Call::Discard, async move { self.named()?.discard(handle).await }).boxed()
    }

    fn create_upload<'a>(&'a self, object: &'a NativeObject) -> BoxFuture<'a, Result<String, DataError>> {
        self.layer.around(Call::CreateUpload, async move { self.named()?.create_upload(object).await }).boxed()
    }

    fn put_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<PartToken, DataError>> {
        let work = move |body| async move { self.named()?.put_part(upload, number, body, hint).await };
        self.layer.send(Call::PutPart, body, work).boxed()
    }

    fn part_there<'a>(&'a self, upload: &'a str, number: u32) -> BoxFuture<'a, Result<Option<String>, DataError>> {
        self.layer.around(Call::PartThere, async move { self.named()?.part_there(upload, number).await }).boxed()
    }

    fn copy_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<PartToken>, DataError>> {
        let work = async move { self.named()?.copy_part(upload, number, source).await };
        self.layer.around(Call::CopyPart, work).boxed()
    }

    fn staged_upload(&self, upload: &str, parts: Vec<(u32, String)>, size: u64) -> Staged {
        match self.inner.native() {
            Some(store) => store.staged_upload(upload, parts, size),
            None => Staged { handle: upload.to_owned(), size, held: None, parts: parts.into() },
        }
    }

    fn set_tags<'a>(&'a self, blob: &'a BlobId, tags: &'a [(String, String)]) -> BoxFuture<'a, Result<(), DataError>> {
        self.layer.around(Call::SetTags, async move { self.named()?.set_tags(blob, tags).await }).boxed()
    }

    fn mark_deleted<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        standing: Option<&'a BlobId>,
    ) -> BoxFuture<'a, Result<Option<BlobId>, DataError>> {
        let work = async move { self.named()?.mark_deleted(bucket, key, standing).await };
        self.layer.around(Call::MarkDeleted, work).boxed()
    }
}

#[deny(clippy::missing_trait_methods, reason = "a default body would answer in place of the store within")]
impl<L: Layer> Browse for Layered<L> {
    fn identity(&self) -> BoxFuture<'_, Result<String, DataError>> {
        self.layer.around(Call::Identity, async move { self.browsed()?.identity().await }).boxed()
    }

    fn require(&self, expected: Expected) {
        if let Some(store) = self.inner.browse() {
            store.require(expected);
        }
    }

    fn walk(&self, bucket: &str) -> BoxStream<'static, Result<Found, DataError>> {
        match self.inner.browse() {
            Some(store) => self.layer.walk(store.walk(bucket)),
            None => stream::once(ready(Err(closed()))).boxed(),
        }
    }

    fn is_same(&self, known: &BlobId, found: &BlobId) -> bool {
        self.inner.browse().is_some_and(|store| store.is_same(known, found))
    }

    fn stands<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>> {
        self.layer.around(Call::Stands, async move { self.browsed()?.stands(blob).await }).boxed()
    }

    fn is_taken<'a>(&'a self, bucket: &'a str, key: &'a str) -> BoxFuture<'a, Result<bool, DataError>> {
        self.layer.around(Call::IsTaken, async move { self.browsed()?.is_taken(bucket, key).await }).boxed()
    }

    fn holds<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>> {
        self.layer.around(Call::Holds, async move { self.browsed()?.holds(blob).await }).boxed()
    }
}
