//! Walking through the files, for a scan.

use std::{fs::File, sync::Arc};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use rustix::fs::Dir;

use super::{
    super::{BlobId, Browse, DataError, Expected, Found, file::pool},
    Core, PosixBackend,
    identity::{Blob, Identity, Likeness, Place},
    mapping::{RESERVED, map, unmap},
    root::{Root, fault, open_in},
};
use crate::types::Timestamp;

/// Entries looked at in one go.
const STEP: usize = 256;

/// A walk, folder by folder.
struct Walk {
    core: Arc<Core>,
    /// Names above the keys.
    above: Vec<String>,
    /// Folders still to be read.
    folders: Vec<Vec<String>>,
    current: Option<Folder>,
    begun: bool,
}

struct Folder {
    names: Vec<String>,
    file: File,
    entries: Dir,
}

impl Browse for PosixBackend {
    fn identity(&self) -> BoxFuture<'_, Result<String, DataError>> {
        let core = Arc::clone(&self.core);
        async move { pool::run(move || core.identity()).await? }.boxed()
    }

    fn require(&self, expected: Expected) {
        let known = self.core.root.lock().as_ref().map(|root| root.id.clone());
        let is_other = matches!((&known, &expected), (Some(known), Expected::Identity(id)) if known != id);
        if is_other {
            *self.core.root.lock() = None;
        }
        if known.is_none() || is_other {
            *self.core.expected.lock() = expected;
        }
    }

    fn walk(&self, bucket: &str) -> BoxStream<'static, Result<Found, DataError>> {
        let above = if self.core.options.bucket_match { Vec::new() } else { map(bucket, super::mapping::Form::Plain) };
        let walk = Walk { core: Arc::clone(&self.core), above, folders: Vec::new(), current: None, begun: false };
        stream::unfold(Some(walk), |walk| async {
            let mut walk = walk?;
            let job = pool::run(move || {
                let found = walk.core.root().and_then(|root| walk.step(&root));
                (found, walk)
            });
            match job.await {
                Ok((Ok(Some(found)), walk)) => Some((found.into_iter().map(Ok).collect::<Vec<_>>(), Some(walk))),
                Ok((Ok(None), _)) => None,
                Ok((Err(error), _)) | Err(error) => Some((vec![Err(error)], None)),
            }
        })
        .flat_map(stream::iter)
        .boxed()
    }

    fn is_same(&self, known: &BlobId, found: &BlobId) -> bool {
        let (Ok(known), Ok(found)) = (Blob::parse(known), Blob::parse(found)) else { return false };
        known.place == found.place && known.identity.compare(&found.identity) == Likeness::Same
    }

    fn stands<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>> {
        async move {
            let blob = Blob::parse(blob)?;
            self.blocking(move |_, root| Core::stands(root, &blob)).await
        }
        .boxed()
    }

    fn is_taken<'a>(&'a self, bucket: &'a str, key: &'a str) -> BoxFuture<'a, Result<bool, DataError>> {
        let native = self.native_name(bucket, key);
        async move { self.blocking(move |_, root| Core::is_taken(root, &native)).await }.boxed()
    }

    fn holds<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>> {
        async move {
            let blob = Blob::parse(blob)?;
            match self.blocking(move |_, root| Core::open(root, &blob).map(drop)).await {
                Ok(()) => Ok(true),
                Err(DataError::NotFound(_) | DataError::Corrupt { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

impl Walk {
    /// Some of what there is; `None` at the end.
    fn step(&mut self, root: &Root) -> Result<Option<Vec<Found>>, DataError> {
        if !std::mem::replace(&mut self.begun, true) {
            self.folders.push(self.above.clone());
        }
        let mut found = Vec::new();
        for _ in 0..STEP {
            if self.current.is_none() {
                let Some(names) = self.folders.pop() else { break };
                self.current = Self::enter(root, names)?;
                continue;
            }
            let Some(folder) = &mut self.current else { continue };
            match folder.entries.read() {
                None => self.current = None,
                Some(Err(error)) => return Err(fault(error)),
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes().to_vec();
                    if name != b"." && name != b".." {
                        let item = Self::look(folder, name, self.above.len(), &mut self.folders)?;
                        found.extend(item);
                    }
                }
            }
        }
        let over = self.current.is_none() && self.folders.is_empty() && found.is_empty();
        Ok((!over).then_some(found))
    }

    fn enter(root: &Root, names: Vec<String>) -> Result<Option<Folder>, DataError> {
        match root.open_folder(&names) {
            Ok(file) => {
                let entries = Dir::read_from(&file).map_err(fault)?;
                Ok(Some(Folder { names, file, entries }))
            }
            // It went away, or the bucket has no objects yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault(error)),
        }
    }

    fn look(
        folder: &Folder,
        name: Vec<u8>,
        depth: usize,
        folders: &mut Vec<Vec<String>>,
    ) -> Result<Option<Found>, DataError> {
        let skipped = |name: String, why| Ok(Some(Found::Skipped { name, why }));
        let name = match String::from_utf8(name) {
            Ok(name) => name,
            Err(error) => {
                let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
                return skipped(shown, "the name is not UTF-8: rename it");
            }
        };
        // Our folder, and files that NFS keeps for those who have them open.
        if (folder.names.is_empty() && name == RESERVED) || name.starts_with(".nfs0") {
            return Ok(None);
        }
        let mut names = folder.names.clone();
        names.push(name.clone());
        let shown = names.join("/");
        let stat = match rustix::fs::statat(&folder.file, &*name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(fault(error)),
        };
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        if kind.is_dir() {
            folders.push(names);
            return Ok(None);
        }
        if kind.is_symlink() {
            return skipped(shown, "a symbolic link is never followed: put the file itself there");
        }
        if !kind.is_file() {
            return skipped(shown, "it is no regular file");
        }
        let parts: Vec<&str> = names.iter().map(String::as_str).collect();
        let Some((native, _)) = unmap(&parts) else {
            return skipped(
                shown,
                "no key has this name: rename it (control characters and %-escapes of ours are not for use)",
            );
        };
        let Ok(file) = open_in(&folder.file, &name) else {
            return skipped(shown, "the server's user may not read it");
        };
        let Some(identity) = Identity::of(&file).map_err(fault)? else { return Ok(None) };
        let key =
            if depth == 0 { native.clone() } else { native.split_once('/').map_or("", |(_, key)| key).to_owned() };
        let modified = u64::try_from(identity.modified / 1_000_000).unwrap_or(0);
        Ok(Some(Found::Object {
            key,
            size: identity.size,
            modified: Timestamp::from_millis(modified),
            blob: Blob { identity, place: Place::Native(native), marker: false }.id(),
        }))
    }
}
