//! Stores that keep each object under a name of its own, readable without this server.
//!
//! Such a store has one place for each object, so a new version may take the place of the old one. Two steps keep that
//! safe: bytes are *staged* where nobody sees them, however long that takes, and *published* at one moment, which the
//! engine chooses under the key's lock, after its last look at the conditions. Between publishing and the metadata
//! commit a crash may come; [`NativeStore::find`] tells afterwards whether the moment was reached.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture};

use super::{BlobId, DataError, Written};
use crate::types::{ByteStream, DigestSlot};

/// What a store that keeps readable objects is told of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NativeObject {
    /// The bucket's name, as clients of this server know it.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// Stored headers with their names in lower case: `content-type`, `cache-control`, `content-disposition`,
    /// `content-encoding`, `content-language`, `expires`.
    pub headers: Vec<(&'static str, String)>,
    /// User metadata, names in lower case without `x-amz-meta-`.
    pub metadata: Vec<(String, String)>,
    /// Tags.
    pub tags: Vec<(String, String)>,
}

/// Bytes that are in the store, or held for it, and not published yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Staged {
    /// The store's own words for what is staged and where it will be: at most 4 KiB of text. They are all that is left
    /// of it after a crash.
    pub handle: String,
    /// Bytes of the object.
    pub size: u64,
    /// A small body, which publishing will send.
    pub held: Option<Bytes>,
    /// Parts that publishing will put together: numbers, ascending, and the store's words for them.
    pub parts: Arc<[(u32, String)]>,
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("handle", &self.handle).field("size", &self.size).finish_non_exhaustive()
    }
}

/// A part that a store has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartToken {
    /// The store's word for it: at most 255 bytes.
    pub token: String,
    /// Its bytes.
    pub size: u64,
}

/// What is known of a body before it comes.
#[derive(Clone, Debug, Default)]
pub struct BodyHint {
    /// Its bytes. A body of any other number of them is an error.
    pub size: Option<u64>,
    /// Where whoever receives it leaves its digests, those of exactly these bytes, before it ends cleanly. A store that
    /// compares an MD5 takes it from there instead of computing it once more.
    pub digests: Option<DigestSlot>,
}

impl From<Option<u64>> for BodyHint {
    fn from(size: Option<u64>) -> Self {
        Self { size, digests: None }
    }
}

/// Bytes that are at the store already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeSource<'a> {
    /// Which blob.
    pub blob: &'a BlobId,
    /// Its bytes that are wanted; not empty.
    pub range: Range<u64>,
    /// Bytes of the whole blob.
    pub size: u64,
}

/// A store that keeps each object under a name of its own. Reading and deleting go by [`super::DataBackend`].
///
/// Deleting a blob removes the bytes that were published as this very blob, and never those that took its place since.
/// Reading a blob whose place was taken since is [`DataError::NotFound`].
///
/// # Cancel safety
/// Every future may be dropped. What was staged by then is removed by [`NativeStore::discard`], or by a rule of the
/// store that forgets what was begun and never ended.
pub trait NativeStore: fmt::Debug + Send + Sync {
    /// Takes the bytes of an object.
    ///
    /// Where the store keeps versions of its own they may be visible there already: nothing is lost by that.
    ///
    /// # Errors
    /// On any error, a broken body included, nothing is kept: an error at the end of `body` must not look like its end.
    fn stage<'a>(
        &'a self,
        object: &'a NativeObject,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<Staged, DataError>>;

    /// As [`NativeStore::stage`], with bytes that are at the store already; `None` where it cannot.
    fn stage_copy<'a>(
        &'a self,
        object: &'a NativeObject,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<Staged>, DataError>>;

    /// Makes staged bytes the object of their name. Idempotent: a lost answer is reconciled before an error is given.
    ///
    /// # Errors
    /// [`DataError::NotFound`] where nothing is staged under this handle any more. After any other error the outcome
    /// is open, until [`NativeStore::find`] tells.
    fn publish<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<Written, DataError>>;

    /// The blob that was published with this handle, if it was and is still there. Its size is that of what is there now: a
    /// store that knows its objects again by their marks alone may find what somebody else made of one.
    fn find<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Option<Written>, DataError>>;

    /// How long the store may go on with a publication after its caller has gone or lost patience: what
    /// [`NativeStore::find`] does not find by then is never published. Zero where it is not found at once either.
    fn lateness(&self, handle: &str) -> Duration;

    /// Gives up what was staged and not published. Idempotent.
    fn discard<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<(), DataError>>;

    /// Begins an upload in parts; answers with its handle (as [`Staged::handle`]).
    fn create_upload<'a>(&'a self, object: &'a NativeObject) -> BoxFuture<'a, Result<String, DataError>>;

    /// Takes a part. A part of the same number is replaced at the end, by the token that is given to
    /// [`NativeStore::staged_upload`].
    fn put_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        body: ByteStream,
        hint: BodyHint,
    ) -> BoxFuture<'a, Result<PartToken, DataError>>;

    /// The store's word for the part that it has under this number now, where a later part takes the place of an earlier
    /// one there; `None` where it has none, or keeps each part until it is told which is meant.
    fn part_there<'a>(&'a self, _upload: &'a str, _number: u32) -> BoxFuture<'a, Result<Option<String>, DataError>> {
        Box::pin(future::ready(Ok(None)))
    }

    /// As [`NativeStore::put_part`], with bytes that are at the store already; `None` where it cannot.
    fn copy_part<'a>(
        &'a self,
        upload: &'a str,
        number: u32,
        source: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<PartToken>, DataError>>;

    /// An upload with these parts, to be published.
    fn staged_upload(&self, upload: &str, parts: Vec<(u32, String)>, size: u64) -> Staged {
        Staged { handle: upload.to_owned(), size, held: None, parts: parts.into() }
    }

    /// Sets the tags of a blob there, too.
    fn set_tags<'a>(&'a self, blob: &'a BlobId, tags: &'a [(String, String)]) -> BoxFuture<'a, Result<(), DataError>>;

    /// Hides the object behind a delete marker of the store's own, where it keeps versions; elsewhere nothing happens.
    /// Answers with the marker's name, which [`super::DataBackend::delete`] takes.
    ///
    /// `standing` is the version that the marker hides, where it is in this store: one in which others put objects, too,
    /// hides nothing else.
    fn mark_deleted<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        standing: Option<&'a BlobId>,
    ) -> BoxFuture<'a, Result<Option<BlobId>, DataError>>;
}
