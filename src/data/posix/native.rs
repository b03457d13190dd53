//! The two steps of a write: staged in our folder, then at its place.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};

use super::{
    super::{
        BlobId, BodyHint, DataError, NativeObject, NativeSource, NativeStore, PartToken, Staged, Written, file::pool,
    },
    Core, PosixBackend,
    identity::{Blob, Handle, Kind, Place, WriteId},
    root::Root,
    wanted::waiting,
    write::{Intake, Target},
};
use crate::types::ByteStream;

impl PosixBackend {
    /// The name of an object below the root.
    pub(super) fn native_name(&self, bucket: &str, key: &str) -> String {
        if self.core.options.bucket_match { key.to_owned() } else { format!("{bucket}/{key}") }
    }

    fn upload_id(upload: &str) -> Result<WriteId, DataError> {
        let handle = Handle::parse(upload)?;
        match handle.kind {
            Kind::Parts => Ok(handle.write),
            Kind::Whole => Err(DataError::NotFound(BlobId::new(upload))),
        }
    }
}

impl NativeStore for PosixBackend {
    fn stage<'a>(
        &'a self,
        object: &'a NativeObject,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<Staged, DataError>> {
        async move {
            self.core.refuse_if_broken()?;
            let native = self.native_name(&object.bucket, &object.key);
            let root = self.root().await?;
            let (incoming, identity) = Intake::new(&self.core, root, Target::whole()?, hint.size).run(body).await?;
            let handle = Handle::whole(incoming.write, &identity, native);
            incoming.keep();
            Ok(Staged { handle: handle.to_string(), size: identity.size, held: None, parts: Arc::default() })
        }
        .boxed()
    }

    fn stage_copy<'a>(
        &'a self,
        object: &'a NativeObject,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<Staged>, DataError>> {
        async move {
            let (blob, target) = (Blob::parse(source.blob)?, Target::whole()?);
            let native = self.native_name(&object.bucket, &object.key);
            let core = Arc::clone(&self.core);
            let copied = pool::run(move || core.copy_in(&core.root()?, (&blob, source.range), &target)).await?;
            let (incoming, identity) = copied?;
            let handle = Handle::whole(incoming.write, &identity, native);
            incoming.keep();
            Ok(Some(Staged { handle: handle.to_string(), size: identity.size, held: None, parts: Arc::default() }))
        }
        .boxed()
    }

    fn publish<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<Written, DataError>> {
        let staged = staged.clone();
        async move {
            let (_waiting, wanted) = waiting();
            let blob = self.blocking(move |core, root| core.publish(root, &staged, &wanted)).await?;
            Ok(Written { blob: blob.id(), size: blob.identity.size })
        }
        .boxed()
    }

    fn find<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Option<Written>, DataError>> {
        async move {
            let handle = Handle::parse(handle)?;
            let (_waiting, wanted) = waiting();
            let work = move |core: &Core, root: &Arc<Root>| {
                // Whoever is at work on it, though nobody waits for that, ends first.
                let _name = core.names.lock_while(&wanted, &handle.native)?;
                core.published(root, &handle)
            };
            let found = self.blocking(work).await?;
            Ok(found.map(|blob| Written { blob: blob.id(), size: blob.identity.size }))
        }
        .boxed()
    }

    /// None: only this process publishes, and a look waits for whoever is at the name.
    fn lateness(&self, _: &str) -> Duration {
        Duration::ZERO
    }

    fn discard<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), DataError>> {
        async move {
            let handle = Handle::parse(handle)?;
            self.blocking(move |core, root| core.discard(root, &handle)).await
        }
        .boxed()
    }

    fn create_upload<'a>(&'a self, object: &'a NativeObject) -> BoxFuture<'a, Result<String, DataError>> {
        async move {
            let native = self.native_name(&object.bucket, &object.key);
            let handle = self.blocking(move |core, root| core.begin_upload(root, native)).await?;
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
        async move {
            self.core.refuse_if_broken()?;
            let upload = Self::upload_id(upload)?;
            let target = Target::part(upload, number)?;
            let token = target.name.clone();
            let root = self.root().await?;
            let (incoming, identity) = Intake::new(&self.core, root, target, hint.size).run(body).await?;
            self.keep_part(*incoming, upload).await?;
            Ok(PartToken { token, size: identity.size })
        }
        .boxed()
    }

    fn copy_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<PartToken>, DataError>> {
        async move {
            let upload = Self::upload_id(upload)?;
            let (blob, target) = (Blob::parse(source.blob)?, Target::part(upload, number)?);
            let token = target.name.clone();
            let core = Arc::clone(&self.core);
            let copied = pool::run(move || core.copy_in(&core.root()?, (&blob, source.range), &target)).await?;
            let (incoming, identity) = copied?;
            self.keep_part(incoming, upload).await?;
            Ok(Some(PartToken { token, size: identity.size }))
        }
        .boxed()
    }

    /// Files have no tags; the engine keeps them.
    fn set_tags<'a>(&'a self, _: &'a BlobId, _: &'a [(String, String)]) -> BoxFuture<'a, Result<(), DataError>> {
        futures_util::future::ready(Ok(())).boxed()
    }

    fn mark_deleted<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        standing: Option<&'a BlobId>,
    ) -> BoxFuture<'a, Result<Option<BlobId>, DataError>> {
        async move {
            let Some(standing) = standing.map(Blob::parse).transpose()? else { return Ok(None) };
            if standing.place != Place::Native(self.native_name(bucket, key)) {
                return Ok(None);
            }
            let (_waiting, wanted) = waiting();
            let marker = self.blocking(move |core, root| core.hide(root, &standing, &wanted)).await?;
            Ok(marker.map(|blob| blob.id()))
        }
        .boxed()
    }
}

impl PosixBackend {
    /// A part is acknowledged when its entry is durable, too.
    async fn keep_part(&self, incoming: super::write::Incoming, upload: WriteId) -> Result<(), DataError> {
        if self.core.options.is_strict() {
            self.blocking(move |core, root| core.sync(&root.upload(upload)?)).await?;
        }
        incoming.keep();
        Ok(())
    }
}
