//! Uploads in parts: a folder each, with a file for each part and one that they are put together in.

use std::{fs::File, io, sync::Arc};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{
    super::{BlobId, DataError, PartsFault, Staged},
    Core,
    copy::copy,
    identity::{Blob, Handle, Identity, Kind, Place, WriteId},
    root::{Root, create, fault, open_in, open_to_write, own_folder},
    wanted::Wanted,
};

/// The file in which parts are put together. It is made with the upload, so that its inode is known from the start.
const WHOLE: &str = "whole";

impl Root {
    /// The folder of an upload.
    ///
    /// # Errors
    /// [`DataError::NotFound`] where there is no such upload any more.
    pub(super) fn upload(&self, upload: WriteId) -> Result<File, DataError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.uploads, upload.to_string(), flags, Mode::empty()) {
            Ok(dir) => Ok(File::from(dir)),
            Err(Errno::NOENT) => Err(DataError::NotFound(BlobId::new(upload.to_string()))),
            Err(error) => Err(fault(error)),
        }
    }
}

impl Core {
    /// Makes the folder of an upload for a native name. Blocks.
    pub(super) fn begin_upload(&self, root: &Root, native: String) -> Result<Handle, DataError> {
        self.refuse_if_broken()?;
        let write = WriteId::random()?;
        let dir = own_folder(&root.uploads, &write.to_string()).map_err(fault)?;
        let whole = create(&dir, WHOLE).map_err(fault)?;
        root.mark(&whole, self.options.file_mode(), write).map_err(fault)?;
        let inode = rustix::fs::fstat(&whole).map_err(fault)?.st_ino;
        if self.options.is_strict() {
            whole.sync_all().map_err(fault)?;
            self.sync(&dir)?;
        }
        Ok(Handle { kind: Kind::Parts, write, inode, sealed: None, native })
    }

    /// Publishes what is staged. Blocks, for parts as long as it takes to copy them. Once nobody waits for it, and so
    /// somebody may have asked whether it was done, it is not done any more.
    pub(super) fn publish(&self, root: &Root, staged: &Staged, wanted: &Wanted) -> Result<Blob, DataError> {
        self.refuse_if_broken()?;
        let handle = Handle::parse(&staged.handle)?;
        let native = handle.native.clone();
        let _name = self.names.lock_while(wanted, &native)?;
        let opened = match handle.kind {
            Kind::Whole => root.staged.try_clone().map(|dir| (dir, handle.write.to_string())).map_err(fault),
            Kind::Parts => root.upload(handle.write).map(|dir| (dir, WHOLE.to_owned())),
        };
        let identity = match opened {
            Ok((dir, name)) => self.publish_from(root, (&dir, &name), staged, (&handle, wanted))?,
            Err(DataError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let Some(identity) = identity else {
            // A lost answer: it was published before.
            let published = self.published(root, &handle)?;
            return published.ok_or_else(|| DataError::NotFound(BlobId::new(staged.handle.clone())));
        };
        if handle.kind == Kind::Parts {
            Self::forget_upload(root, handle.write);
        }
        Ok(Blob { identity, place: Place::Native(handle.native), marker: false })
    }

    /// `None` where nothing is staged any more.
    fn publish_from(
        &self,
        root: &Root,
        from: (&File, &str),
        staged: &Staged,
        (handle, wanted): (&Handle, &Wanted),
    ) -> Result<Option<Identity>, DataError> {
        let file = match open_to_write(from.0, from.1) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(error)),
        };
        // What an exchange left under this name in a crash is another file.
        if !Identity::of(&file).map_err(fault)?.is_some_and(|found| handle.is(&found)) {
            return Ok(None);
        }
        if handle.kind == Kind::Parts {
            self.put_together(from.0, &file, (staged, wanted))?;
        }
        let identity = Identity::of(&file).map_err(fault)?.filter(|identity| identity.size == staged.size);
        let Some(identity) = identity else {
            let detail = format!("what is staged has not the {} bytes of the object", staged.size);
            return Err(DataError::Corrupt { blob: BlobId::new(staged.handle.clone()), detail });
        };
        if handle.kind == Kind::Parts && root.attributes {
            identity.seal_in(&file).map_err(fault)?;
            if self.options.is_strict() {
                file.sync_all().map_err(fault)?;
            }
        }
        wanted.check()?;
        fail::fail_point!("posix-publish", |_| Err(DataError::Unavailable("fail point".to_owned())));
        self.install(root, from, &handle.native)?;
        fail::fail_point!("posix-published", |_| Err(DataError::Unavailable("fail point".to_owned())));
        Ok(Some(identity))
    }

    fn put_together(&self, dir: &File, whole: &File, (staged, wanted): (&Staged, &Wanted)) -> Result<(), DataError> {
        rustix::fs::ftruncate(whole, 0).map_err(fault)?;
        let mut at = 0;
        for (number, token) in staged.parts.iter() {
            wanted.check()?;
            let part = parse_token(token, *number).and_then(|name| open_in(dir, name).ok());
            let Some(part) = part else {
                return Err(DataError::Parts(PartsFault::Missing));
            };
            let size = part.metadata().map_err(fault)?.len();
            copy(&part, 0..size, whole, at).map_err(fault)?;
            at += size;
        }
        if self.options.is_strict() {
            whole.sync_all().map_err(fault)?;
        }
        Ok(())
    }

    /// Gives up what is staged. Blocks.
    pub(super) fn discard(&self, root: &Root, handle: &Handle) -> Result<(), DataError> {
        let native = handle.native.clone();
        let _name = self.names.lock(&native);
        match handle.kind {
            Kind::Whole => {
                let name = handle.write.to_string();
                let Ok(file) = open_in(&root.staged, &name) else { return Ok(()) };
                if !Identity::of(&file).map_err(fault)?.is_some_and(|found| handle.is(&found)) {
                    return Ok(());
                }
                match rustix::fs::unlinkat(&root.staged, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(error) => Err(fault(error)),
                }
            }
            Kind::Parts => {
                Self::forget_upload(root, handle.write);
                match root.upload(handle.write) {
                    Err(DataError::NotFound(_)) => Ok(()),
                    Err(error) => Err(error),
                    Ok(_) => Err(DataError::Unavailable("an upload could not be removed".to_owned())),
                }
            }
        }
    }

    /// Removes the folder of an upload as far as it can: what is left is removed by whoever discards it.
    fn forget_upload(root: &Root, upload: WriteId) {
        let Ok(dir) = root.upload(upload) else { return };
        let Ok(entries) = rustix::fs::Dir::read_from(&dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_owned();
            if name.to_bytes() != b"." && name.to_bytes() != b".." {
                let _gone = rustix::fs::unlinkat(&dir, &*name, AtFlags::empty());
            }
        }
        if let Err(error) = rustix::fs::unlinkat(&root.uploads, upload.to_string(), AtFlags::REMOVEDIR) {
            tracing::debug!(%upload, %error, "the folder of an upload could not be removed");
        }
    }

    /// Copies a range of a blob into a new file of ours. Blocks.
    pub(super) fn copy_in(
        self: &Arc<Self>,
        root: &Arc<Root>,
        (blob, range): (&Blob, std::ops::Range<u64>),
        target: &super::write::Target,
    ) -> Result<(super::write::Incoming, Identity), DataError> {
        self.refuse_if_broken()?;
        let source = Self::open(root, blob)?;
        if range.start > range.end || range.end > blob.identity.size {
            return Err(DataError::OutOfRange(range));
        }
        let size = range.end - range.start;
        let mut incoming = super::write::Incoming::create(self, root, target, size)?;
        let copied = copy(&source, range, &incoming.file, 0);
        super::read::is_unchanged(&source, blob)?;
        copied.map_err(fault)?;
        incoming.size = size;
        let identity = incoming.seal(self)?;
        Ok((incoming, identity))
    }
}

/// The name of a part's file, where the token is one of ours for this number.
fn parse_token(token: &str, number: u32) -> Option<&str> {
    let (digits, write) = token.split_once('-')?;
    (digits == number.to_string() && WriteId::parse(write.as_bytes()).is_some()).then_some(token)
}
