//! The data seam: places for immutable blobs.
//!
//! A backend knows bytes and names of its own making; it knows no bucket, no key, no version. Nothing it stores is
//! visible to anybody until the metadata commit that names the blob.

mod announced;
pub mod aws_s3;
pub mod azure;
mod browse;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(any(test, feature = "conformance"))]
pub mod faulty;
mod fenced;
pub mod file;
pub mod layered;
pub mod memory;
#[cfg(any(test, feature = "conformance"))]
pub mod memory_native;
mod name;
mod native;
pub mod posix;
pub mod remote;
#[cfg(feature = "sftp")]
pub mod sftp;
mod tree;
pub mod webdav;
pub mod webhdfs;

use std::{fmt, ops::Range};

use futures_util::future::{self, BoxFuture};
use thiserror::Error;

pub use aws_s3::{AwsS3Backend, AwsS3Options};
pub use azure::{AzureBackend, AzureOptions, ENTRA, Login};
pub use browse::{Browse, Expected, Found};
#[cfg(any(test, feature = "conformance"))]
pub use faulty::FaultyBackend;
pub use fenced::FencedBackend;
pub use file::{FileBackend, FileDurability, FileOptions};
pub use memory::MemoryBackend;
#[cfg(any(test, feature = "conformance"))]
pub use memory_native::MemoryNative;
pub use native::{BodyHint, NativeObject, NativeSource, NativeStore, PartToken, Staged};
pub use posix::{PosixBackend, PosixOptions};
pub use remote::RemoteBackend;
#[cfg(feature = "sftp")]
pub use sftp::{HostKey, SftpLogin, SftpOptions};
pub use tree::TreeBackend;
pub use webdav::{WebDavLogin, WebDavOptions};
pub use webhdfs::{WebHdfsLogin, WebHdfsOptions};

use crate::types::{BodyError, ByteStream};

/// The name of a blob within its backend: at most 255 bytes of a backend's own alphabet, 2 KiB where it keeps objects
/// under their own names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId(String);

impl BlobId {
    /// Takes a name as a backend made it or metadata kept it.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({})", self.0)
    }
}

/// What is known of a blob before its bytes come.
#[derive(Clone, Debug, Default)]
pub struct PutHint {
    /// A name from [`DataBackend::reserve`], so that the caller could note it first.
    pub blob: Option<BlobId>,
    /// Bytes to come, where announced.
    pub size: Option<u64>,
}

/// A blob that is stored and durable, as far as its backend promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its name from now on.
    pub blob: BlobId,
    /// Its bytes.
    pub size: u64,
}

/// Why a backend could not do it.
#[derive(Debug, Error)]
pub enum DataError {
    /// No such blob.
    #[error("blob {0:?} is not there")]
    NotFound(BlobId),
    /// Stored bytes are not what was written.
    #[error("blob {blob:?} is corrupt: {detail}")]
    Corrupt {
        /// Which.
        blob: BlobId,
        /// What was seen.
        detail: String,
    },
    /// The range does not lie within the blob.
    #[error("range {0:?} lies outside the blob")]
    OutOfRange(Range<u64>),
    /// The device is full.
    #[error("no space left for data")]
    NoSpace,
    /// The backend cannot be reached or takes no writes now.
    #[error("data backend unavailable: {0}")]
    Unavailable(String),
    /// Any other fault of the device.
    #[error("data fault: {0}")]
    Io(#[from] std::io::Error),
    /// A store that keeps objects under their own names takes none as long as this one; nothing was written.
    #[error("the store has no name for the object: {0}")]
    NameTooLong(String),
    /// A store that keeps objects under their own names does not put these parts together; nothing was published.
    #[error("the store refuses the parts of the upload: {0:?}")]
    Parts(PartsFault),
    /// The incoming body ended in an error; nothing was kept.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// What such a store has against the parts of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartsFault {
    /// One of them is not there, or is not as it was.
    Missing,
    /// One of them, not the last, is smaller than the store allows.
    TooSmall,
}

/// Space of a backend, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskUsage {
    /// Usable by this process.
    pub available: u64,
    /// Free, reserved blocks included.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// Powers that not every backend has.
#[expect(clippy::struct_excessive_bools, reason = "each is a power of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Blobs outlive the process.
    pub durable: bool,
    /// Checks its own blocks on every read.
    pub verified_reads: bool,
    /// Can list what it holds; without it there are no audits.
    pub listing: bool,
    /// Keeps older versions of an object: buckets with versions can be stored here. Only stores that keep each object
    /// under its own name, without versions, cannot.
    pub versioned_buckets: bool,
    /// Names objects by their keys alone, and keeps one of each name: of two buckets one would overwrite the other's.
    pub one_bucket: bool,
}

/// A place for immutable blobs, named by the backend.
pub trait DataBackend: fmt::Debug + Send + Sync {
    /// A fresh name for [`PutHint::blob`], where the backend can name a blob before it has it.
    fn reserve(&self) -> Option<BlobId>;

    /// Stores a body. When this returns `Ok` the bytes survive a power cut (unless the location is relaxed).
    ///
    /// # Errors
    /// On any error, a broken body included, nothing is kept.
    ///
    /// # Cancel safety
    /// A dropped future keeps nothing.
    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>>;

    /// The bytes of `range`; each block is verified before it is sent.
    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>>;

    /// Removes a blob. Idempotent: deleting what is gone succeeds. Readers keep the bytes to their end.
    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>>;

    /// Bytes of a blob, where the backend can tell without reading it.
    fn size<'a>(&'a self, _blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        Box::pin(future::ready(Ok(None)))
    }

    /// At most `limit` blob names after `after`, in the backend's own stable order; for audits, and only where
    /// [`Capabilities::listing`] says so.
    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>>;

    /// Whether the backend works now.
    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>>;

    /// Space, where the backend has such a thing.
    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>>;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The same store, where it keeps each object under a name of its own. The engine then writes by this trait only;
    /// [`DataBackend::put`] makes up a name.
    fn native(&self) -> Option<&dyn NativeStore> {
        None
    }

    /// The same store, where others bring, change and remove objects, too.
    fn browse(&self) -> Option<&dyn Browse> {
        None
    }
}
