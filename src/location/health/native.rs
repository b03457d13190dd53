//! The wrapper, for stores that keep each object under a name of its own.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};

use super::guard::Guarded;
use crate::{
    data::{BlobId, BodyHint, DataError, NativeObject, NativeSource, NativeStore, PartToken, Staged, Written},
    types::ByteStream,
};

/// Calls behind which a store may have to put whole objects together take so many times longer than others.
const LONG: u32 = 10;

impl Guarded {
    fn store(&self) -> Result<&dyn NativeStore, DataError> {
        self.inner.native().ok_or_else(|| DataError::Unavailable("the store keeps no names any more".to_owned()))
    }
}

impl NativeStore for Guarded {
    fn stage<'a>(
        &'a self,
        object: &'a NativeObject,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<Staged, DataError>> {
        async move {
            let store = self.store()?;
            self.send("stage", body, |body| store.stage(object, body, hint)).await
        }
        .boxed()
    }

    fn stage_copy<'a>(
        &'a self,
        object: &'a NativeObject,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<Staged>, DataError>> {
        async move { self.call("stage_copy", self.answer() * LONG, self.store()?.stage_copy(object, source)).await }
            .boxed()
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<Written, DataError>> {
        async move { self.call("publish", self.answer() * LONG, self.store()?.publish(staged)).await }.boxed()
    }

    fn find<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Option<Written>, DataError>> {
        async move { self.call("find", self.answer(), self.store()?.find(handle)).await }.boxed()
    }

    fn lateness(&self, handle: &str) -> Duration {
        self.inner.native().map_or(Duration::ZERO, |store| store.lateness(handle))
    }

    fn discard<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), DataError>> {
        async move { self.call("discard", self.answer(), self.store()?.discard(handle)).await }.boxed()
    }

    fn create_upload<'a>(&'a self, object: &'a NativeObject) -> BoxFuture<'a, Result<String, DataError>> {
        async move { self.call("create_upload", self.answer(), self.store()?.create_upload(object)).await }.boxed()
    }

    fn put_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<PartToken, DataError>> {
        async move {
            let store = self.store()?;
            self.send("put_part", body, |body| store.put_part(upload, number, body, hint)).await
        }
        .boxed()
    }

    fn part_there<'a>(&'a self, upload: &'a str, number: u32) -> BoxFuture<'a, Result<Option<String>, DataError>> {
        async move { self.call("part_there", self.answer(), self.store()?.part_there(upload, number)).await }.boxed()
    }

    fn copy_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<PartToken>, DataError>> {
        async move {
            let work = self.store()?.copy_part(upload, number, source);
            self.call("copy_part", self.answer() * LONG, work).await
        }
        .boxed()
    }

    fn staged_upload(&self, upload: &str, parts: Vec<(u32, String)>, size: u64) -> Staged {
        match self.inner.native() {
            Some(store) => store.staged_upload(upload, parts, size),
            None => Staged { handle: upload.to_owned(), size, held: None, parts: parts.into() },
        }
    }

    fn set_tags<'a>(&'a self, blob: &'a BlobId, tags: &'a [(String, String)]) -> BoxFuture<'a, Result<(), DataError>> {
        async move { self.call("set_tags", self.answer(), self.store()?.set_tags(blob, tags)).await }.boxed()
    }

    fn mark_deleted<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        standing: Option<&'a BlobId>,
    ) -> BoxFuture<'a, Result<Option<BlobId>, DataError>> {
        async move {
            let work = self.store()?.mark_deleted(bucket, key, standing);
            self.call("mark_deleted", self.answer(), work).await
        }
        .boxed()
    }
}
