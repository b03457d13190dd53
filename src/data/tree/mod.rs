//! Blobs as files in a folder of a store elsewhere that knows files and folders, and little else.
//!
//! What such a store must be able to do is [`FileTree`]: write a file, give it another name without replacing one, read
//! a range of it, remove it, list a folder. WebDAV, WebHDFS and SFTP are three such trees; everything else is here, once.
//!
//! | Path in the folder | What |
//! |---|---|
//! | `blobs/<first three digits>/<name>` | a blob, in the form of [`blocks`] |
//! | `incoming/<name>` | a blob that is being written |
//!
//! A body is written into `incoming`, looked at, and given its name at once; where the answer to that is lost, what is
//! there decides. So nothing under `blobs` is ever half a blob. A put that comes to nothing removes its file, and
//! [`DataBackend::delete`] of a reserved name does where the process ended before.
//!
//! Reads go on where a connection broke; a block that fails its checksum is asked for once more and never handed out.
//!
//! The crates for many stores were looked at and not taken: their WebDAV holds each object in memory, their SFTP runs
//! the program `ssh` and syncs nothing, and each brings an HTTP client beside [`crate::outbound`].

mod blocks;
mod read;
#[cfg(test)]
mod tests;
mod undo;

use std::{
    collections::BTreeSet,
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;

use self::{
    blocks::{file_length, payload_of, sealed},
    undo::Undo,
};
use super::{
    BlobId, Capabilities, DataBackend, DataError, DiskUsage, PutHint, Written, announced::Announced, name::BlobName,
};
use crate::{
    s3client::Retry,
    tasks::Tasks,
    types::{BodyError, ByteStream},
};

/// Where blobs are.
const BLOBS: &str = "blobs";
/// Where they are written.
const INCOMING: &str = "incoming";
/// Digits of a name that choose its folder: 4,096 folders, so that a hundred million blobs make folders that any
/// server can list.
const SHARD: usize = 3;

/// What a tree says no with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum TreeError {
    /// No such file, or its folder is not there.
    #[error("it is not there")]
    Missing,
    /// The name is taken.
    #[error("the name is taken")]
    Exists,
    /// The range begins behind the end of the file.
    #[error("the range lies behind the end of the file")]
    Beyond,
    /// No space is left there.
    #[error("no space is left there")]
    NoSpace,
    /// It cannot be reached, or says that it cannot do it now. What was asked may have been done.
    #[error("{0}")]
    Away(String),
    /// It does not do this for us: asking again is of no use.
    #[error("{0}")]
    Refused(String),
    /// The body that was to be written ended in an error.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl TreeError {
    /// In the words of the seam.
    fn of(self, blob: &BlobId) -> DataError {
        match self {
            Self::Missing => DataError::NotFound(blob.clone()),
            Self::Exists => corrupt(blob, "the name is taken already"),
            Self::Beyond => corrupt(blob, "the file is shorter than it was"),
            Self::NoSpace => DataError::NoSpace,
            Self::Away(why) | Self::Refused(why) => DataError::Unavailable(why),
            Self::Body(error) => DataError::Body(error),
        }
    }
}

type TreeResult<T> = Result<T, TreeError>;

/// A file that is being read.
pub(super) struct OpenFile {
    /// Its bytes in all.
    pub(super) length: u64,
    /// The bytes asked for, at most to the end of the file; others may follow.
    pub(super) bytes: ByteStream,
}

/// A folder at a store elsewhere. Paths are relative to it, of `a-z`, `0-9` and `/`.
///
/// Every call but [`FileTree::write`] may be repeated after [`TreeError::Away`], and is repeated here, not there.
pub(super) trait FileTree: fmt::Debug + Send + Sync {
    /// Writes a file of `size` bytes, as durably as the store can, into a folder that is there.
    fn write<'a>(&'a self, path: &'a str, body: ByteStream, size: Option<u64>) -> BoxFuture<'a, TreeResult<()>>;

    /// Gives a file another name, never that of another file. [`TreeError::Missing`] where the file is not there, or the
    /// new folder.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, TreeResult<()>>;

    /// Bytes of a file.
    fn length<'a>(&'a self, path: &'a str) -> BoxFuture<'a, TreeResult<u64>>;

    /// Bytes of a file from `range.start` on; `range` is not empty and may end behind the file.
    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> BoxFuture<'a, TreeResult<OpenFile>>;

    /// Removes a file. [`TreeError::Missing`] where it is not there.
    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, TreeResult<()>>;

    /// Makes a folder in one that is there; fine where it is there already.
    fn make_folder<'a>(&'a self, path: &'a str) -> BoxFuture<'a, TreeResult<()>>;

    /// Names of what is in a folder, in any order; others may be among them. [`TreeError::Missing`] without the folder.
    fn names<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, TreeResult<Vec<String>>>;

    /// Whether the folder is there and we may use it.
    fn probe(&self) -> BoxFuture<'_, TreeResult<()>>;

    /// Space, where the store tells.
    fn usage(&self) -> BoxFuture<'_, TreeResult<Option<DiskUsage>>>;
}

/// Blobs in a folder of a store elsewhere. See [the module's page](self).
#[derive(Debug)]
pub struct TreeBackend(Arc<Inner>);

/// What clearing up, too, needs.
#[derive(Debug)]
struct Inner {
    tree: Arc<dyn FileTree>,
    retry: Retry,
    tasks: Tasks,
    /// Our folders are there.
    ready: AtomicBool,
    /// Folders of blobs that are there, by the digits they are named after.
    shards: Mutex<BTreeSet<String>>,
}

fn incoming(name: BlobName) -> String {
    format!("{INCOMING}/{name}")
}

fn shard(name: BlobName) -> String {
    let digits: String = name.to_string().chars().take(SHARD).collect();
    format!("{BLOBS}/{digits}")
}

fn path_of(name: BlobName) -> String {
    format!("{}/{name}", shard(name))
}

fn corrupt(blob: &BlobId, detail: impl Into<String>) -> DataError {
    DataError::Corrupt { blob: blob.clone(), detail: detail.into() }
}

impl TreeBackend {
    /// Blobs in a tree; nothing is asked of it yet.
    pub(super) fn over(tree: impl FileTree + 'static) -> Self {
        Self(Arc::new(Inner::over(Arc::new(tree), Retry::default())))
    }

    /// The same, asking again as `retry` says.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        Self(Arc::new(Inner::over(Arc::clone(&self.0.tree), retry)))
    }

    async fn store(&self, body: ByteStream, hint: PutHint) -> Result<Written, DataError> {
        let name = BlobName::for_put(hint.blob.as_ref())?;
        let blob = name.id();
        self.0.make_ready().await.map_err(|error| error.of(&blob))?;
        let mut undo = Undo::new(&self.0, name);
        match self.0.put(name, (body, hint.size), &mut undo).await {
            Ok(size) => {
                undo.keep();
                Ok(Written { blob, size })
            }
            Err(error) => {
                undo.now().await;
                Err(error)
            }
        }
    }

    async fn remove(&self, blob: &BlobId) -> Result<(), DataError> {
        let name = BlobName::of(blob)?;
        let tree = &*self.0.tree;
        for path in [path_of(name), incoming(name)] {
            match self.0.again(|| tree.remove(&path)).await {
                Ok(()) => return Ok(()),
                // Not named yet, or gone.
                Err(TreeError::Missing) => {}
                Err(error) => return Err(error.of(blob)),
            }
        }
        Ok(())
    }

    async fn stored_size(&self, blob: &BlobId) -> Result<u64, DataError> {
        let path = path_of(BlobName::of(blob)?);
        let length = self.0.again(|| self.0.tree.length(&path)).await.map_err(|error| error.of(blob))?;
        payload_of(length).ok_or_else(|| corrupt(blob, format!("no blob has a file of {length} bytes")))
    }

    /// Names behind `after`. The folders of blobs are in the order of their names.
    async fn page(&self, after: Option<&BlobId>, limit: usize) -> Result<Vec<BlobId>, DataError> {
        let after = after.map(BlobName::of).transpose()?;
        let first = after.map(|name| name.to_string().chars().take(SHARD).collect::<String>());
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let mut shards = self.0.names(BLOBS).await?;
        let is_shard =
            |name: &String| name.len() == SHARD && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        shards.retain(|name| is_shard(name) && first.as_ref().is_none_or(|first| name >= first));
        shards.sort_unstable();
        for shard in shards {
            let names = self.0.names(&format!("{BLOBS}/{shard}")).await?;
            let names = names.iter().filter_map(|name| BlobName::parse(name.as_bytes()));
            let mut names: Vec<_> = names.filter(|name| after.is_none_or(|after| *name > after)).collect();
            names.sort_unstable();
            names.dedup();
            found.extend(names.into_iter().map(BlobName::id).take(limit - found.len()));
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }
}

impl Inner {
    fn over(tree: Arc<dyn FileTree>, retry: Retry) -> Self {
        Self { tree, retry, tasks: Tasks::default(), ready: AtomicBool::new(false), shards: Mutex::default() }
    }

    /// Asks again what may pass.
    async fn again<'a, T>(&self, mut call: impl FnMut() -> BoxFuture<'a, TreeResult<T>>) -> TreeResult<T> {
        let end = Instant::now() + self.retry.deadline;
        for attempt in 1.. {
            let why = match call().await {
                Err(TreeError::Away(why)) => why,
                answer => return answer,
            };
            let pause = self.retry.pause(attempt);
            if attempt >= self.retry.attempts || Instant::now() + pause > end {
                return Err(TreeError::Away(why));
            }
            tracing::debug!(why, attempt, "a store is asked again");
            tokio::time::sleep(pause).await;
        }
        Err(TreeError::Away("no attempt was made".to_owned()))
    }

    async fn make_ready(&self) -> TreeResult<()> {
        if self.ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        for folder in [INCOMING, BLOBS] {
            let made = self.again(|| self.tree.make_folder(folder)).await;
            made.map_err(|error| match error {
                TreeError::Missing => TreeError::Refused("the folder of this location is not there".to_owned()),
                error => error,
            })?;
        }
        self.ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes a blob and gives it its name; answers with the bytes of its payload.
    async fn put(
        &self,
        name: BlobName,
        (body, size): (ByteStream, Option<u64>),
        undo: &mut Undo,
    ) -> Result<u64, DataError> {
        let blob = name.id();
        let (path, written) = (incoming(name), Arc::new(AtomicU64::new(0)));
        let file = sealed(name, body, Announced(size), Arc::clone(&written));
        match self.tree.write(&path, file, size.map(file_length)).await {
            Ok(()) => {}
            Err(TreeError::Missing) => {
                // Somebody has removed our folder; the next put makes it.
                self.ready.store(false, Ordering::Relaxed);
                return Err(DataError::Unavailable(format!("the folder {INCOMING} is not there")));
            }
            Err(error) => return Err(error.of(&blob)),
        }
        let payload = written.load(Ordering::Acquire);
        let length = self.again(|| self.tree.length(&path)).await.map_err(|error| error.of(&blob))?;
        if length != file_length(payload) {
            return Err(corrupt(&blob, format!("{length} bytes came of {}", file_length(payload))));
        }
        undo.may_be_named();
        match self.name(name, length).await {
            Err(TreeError::Exists) => {
                // The other's blob stays.
                undo.is_not_named();
                Err(TreeError::Exists.of(&blob))
            }
            Err(error) => Err(error.of(&blob)),
            Ok(()) => Ok(payload),
        }
    }

    /// Gives a written file of `length` bytes its name.
    async fn name(&self, name: BlobName, length: u64) -> TreeResult<()> {
        let (from, to, folder) = (incoming(name), path_of(name), shard(name));
        // Looked after first: some servers (Apache) do not say that it is the folder that is missing.
        if !self.shards.lock().contains(&folder) {
            self.again(|| self.tree.make_folder(&folder)).await?;
            self.shards.lock().insert(folder.clone());
        }
        let end = Instant::now() + self.retry.deadline;
        // A request whose answer is lost may have done it.
        let mut unsure = false;
        for attempt in 1.. {
            let failure = match self.tree.rename(&from, &to).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let over = attempt >= self.retry.attempts.max(2) || Instant::now() > end;
            unsure |= matches!(failure, TreeError::Away(_));
            let decided = over || matches!(failure, TreeError::Exists | TreeError::Missing);
            if decided && unsure && self.is_named(&from, &to, length).await? {
                return Ok(());
            }
            match failure {
                TreeError::Missing | TreeError::Away(_) if !over => {
                    tokio::time::sleep(self.retry.pause(attempt)).await;
                    self.again(|| self.tree.make_folder(&folder)).await?;
                }
                failure => return Err(failure),
            }
        }
        Err(TreeError::Missing)
    }

    /// Whether the file has its new name, and no longer the old one.
    async fn is_named(&self, from: &str, to: &str, length: u64) -> TreeResult<bool> {
        match self.again(|| self.tree.length(from)).await {
            Err(TreeError::Missing) => {}
            Ok(_) => return Ok(false),
            Err(error) => return Err(error),
        }
        match self.again(|| self.tree.length(to)).await {
            Err(TreeError::Missing) => Ok(false),
            there => there.map(|there| there == length),
        }
    }

    async fn names(&self, folder: &str) -> Result<Vec<String>, DataError> {
        match self.again(|| self.tree.names(folder)).await {
            Err(TreeError::Missing) => Ok(Vec::new()),
            names => names.map_err(|error| error.of(&BlobId::new(folder))),
        }
    }

    /// Removes what a put may have left.
    async fn forget(&self, name: BlobName, named: bool) -> TreeResult<()> {
        let paths = [Some(incoming(name)), named.then(|| path_of(name))];
        for path in paths.into_iter().flatten() {
            match self.tree.remove(&path).await {
                Ok(()) | Err(TreeError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl DataBackend for TreeBackend {
    fn reserve(&self) -> Option<BlobId> {
        BlobName::random().ok().map(BlobName::id)
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        self.store(body, hint).boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        read::read(&self.0, blob, range).boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.remove(blob).boxed()
    }

    fn size<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        async move { self.stored_size(blob).await.map(Some) }.boxed()
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.page(after, limit).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        async move { self.0.again(|| self.0.tree.probe()).await.map_err(|error| error.of(&BlobId::new(""))) }.boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        async move { self.0.again(|| self.0.tree.usage()).await.map_err(|error| error.of(&BlobId::new(""))) }.boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, verified_reads: true, listing: true, versioned_buckets: true, one_bucket: false }
    }
}

/// How long a store may take for what is more than a look: renaming may copy there.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);
