//! The metadata seam: an ordered, transactional key-value store that knows nothing of S3.
//!
//! One store holds everything: object records, buckets, uploads, the journal, garbage. A [`Batch`] spans name
//! spaces and is applied atomically, durably and conditionally; that is the only way anything changes.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod counters;
mod fenced;
mod jump;
pub(crate) mod layered;
pub mod memory;
#[cfg(test)]
pub(crate) mod refusing;
pub mod remote;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
pub mod wire;

pub use fenced::{Fence, FencedStore};
pub use jump::{CommonPrefixes, Jump};
pub use memory::MemoryStore;
pub use remote::RemoteStore;

#[cfg(feature = "rocksdb")]
pub use self::rocksdb::{RocksOptions, RocksStore};

use std::{borrow::Cow, fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use thiserror::Error;

use crate::types::BucketId;

/// A kind of record. Each is a column family of its own in RocksDB.
///
/// The order is part of the stored format: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Format version, instance id and the like.
    System,
    /// Bucket name → bucket record (the original's `__metastore`).
    Buckets,
    /// `canonicalID..|..bucket` → creation date (the original's `users..bucket`).
    Owners,
    /// Per bucket: key → current version, unless that is a delete marker.
    Current,
    /// Per bucket: key and version → non-current versions, and delete markers.
    Versions,
    /// Per bucket: key and upload id → open or completed upload.
    Uploads,
    /// Per bucket: upload id and part number → part.
    Parts,
    /// Per bucket: counters of objects and bytes.
    Usage,
    /// Per bucket: body id → bytes of a small object. Values are large: kept in blob files.
    Bodies,
    /// Sequence number → every mutation, in commit order (the original's record log).
    Journal,
    /// Sequence number → data no longer referenced, to be deleted from its backend.
    Garbage,
    /// Blob name → a data write under way; what a crash leaves here is garbage.
    Pending,
    /// Per bucket: kind and id → a setting of which a bucket may have many.
    Settings,
    /// Sequence number → lines of server access logs that wait for their delivery.
    AccessLines,
}

impl Table {
    /// Every table, in the order of the stored format.
    pub const ALL: [Self; 14] = [
        Self::System,
        Self::Buckets,
        Self::Owners,
        Self::Current,
        Self::Versions,
        Self::Uploads,
        Self::Parts,
        Self::Usage,
        Self::Bodies,
        Self::Journal,
        Self::Garbage,
        Self::Pending,
        Self::Settings,
        Self::AccessLines,
    ];

    /// The name of the column family.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Buckets => "buckets",
            Self::Owners => "owners",
            Self::Current => "current",
            Self::Versions => "versions",
            Self::Uploads => "uploads",
            Self::Parts => "parts",
            Self::Usage => "usage",
            Self::Bodies => "bodies",
            Self::Journal => "journal",
            Self::Garbage => "garbage",
            Self::Pending => "pending",
            Self::Settings => "settings",
            Self::AccessLines => "access_lines",
        }
    }
}

/// A table, or one bucket's share of it. Keys of one name space never meet those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace {
    /// The kind of record.
    pub table: Table,
    /// The bucket, for tables that are divided by bucket: a table is used whole or by bucket, never both ways.
    pub bucket: Option<BucketId>,
}

impl Namespace {
    /// A whole table.
    pub const fn global(table: Table) -> Self {
        Self { table, bucket: None }
    }

    /// A bucket's share of a table.
    pub const fn of(table: Table, bucket: BucketId) -> Self {
        Self { table, bucket: Some(bucket) }
    }
}

/// Key-value pairs in byte order of their keys.
pub type Pairs = Vec<(Bytes, Bytes)>;

/// Which way a scan walks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// In byte order.
    #[default]
    Forward,
    /// Against it, from the end of the range.
    Reverse,
}

/// What must hold at the moment of commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No such key.
    Absent,
    /// The key is there, with any value.
    Present,
    /// The key has exactly this value.
    Equals(Bytes),
    /// No key of the name space lies in `key..end`; the condition's own key is the start.
    EmptyRange(Bytes),
    /// The key is there, and its counters have room for what is to be added ([`counters::has_room`]).
    Room(Vec<Growth>),
}

/// What is to be added to counters that are bounded together, by a bound that is a counter of the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Places of the counters that add up.
    pub places: Cow<'static, [usize]>,
    /// Place of their bound. Without such a counter, or where it is zero, there is no bound.
    pub bound: usize,
    /// What comes to the sum.
    pub by: i64,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put(Namespace, Bytes, Bytes),
    /// Removes a key; removing what is not there is fine.
    Delete(Namespace, Bytes),
    /// Removes every key of the range.
    DeleteRange(Namespace, Range<Bytes>),
    /// Adds to counters: the value is an array of little-endian `i64`, zeros where absent ([`counters`]).
    Add(Namespace, Bytes, Vec<i64>),
    /// Sets the next free sequence number (8 bytes, big endian, from 1) of the name space to the value.
    ///
    /// A number is never given twice, whatever is deleted. Such a name space takes no [`Write::Put`].
    Append(Namespace, Bytes),
}

/// How far a commit must have come before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power cut.
    #[default]
    Synced,
    /// Survives the end of the process, not of the machine: for hints, and for relaxed locations.
    Buffered,
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// All must hold, against the state that earlier commits left.
    pub conditions: Vec<(Namespace, Bytes, Condition)>,
    /// Applied in order.
    pub writes: Vec<Write>,
    /// Default: [`Durability::Synced`].
    pub durability: Durability,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    pub fn require(&mut self, ns: Namespace, key: impl Into<Bytes>, condition: Condition) -> &mut Self {
        self.conditions.push((ns, key.into(), condition));
        self
    }

    /// Requires `key` to be as `value` was read: equal, or absent.
    pub fn unchanged(&mut self, ns: Namespace, key: impl Into<Bytes>, value: Option<&Bytes>) -> &mut Self {
        self.require(ns, key, value.map_or(Condition::Absent, |value| Condition::Equals(value.clone())))
    }

    /// Adds a put.
    pub fn put(&mut self, ns: Namespace, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Self {
        self.writes.push(Write::Put(ns, key.into(), value.into()));
        self
    }

    /// Adds a delete.
    pub fn delete(&mut self, ns: Namespace, key: impl Into<Bytes>) -> &mut Self {
        self.writes.push(Write::Delete(ns, key.into()));
        self
    }

    /// Adds a range delete.
    pub fn delete_range(&mut self, ns: Namespace, range: Range<Bytes>) -> &mut Self {
        self.writes.push(Write::DeleteRange(ns, range));
        self
    }

    /// Adds to counters.
    pub fn add(&mut self, ns: Namespace, key: impl Into<Bytes>, deltas: Vec<i64>) -> &mut Self {
        self.writes.push(Write::Add(ns, key.into(), deltas));
        self
    }

    /// Appends under the next sequence number.
    pub fn append(&mut self, ns: Namespace, value: impl Into<Bytes>) -> &mut Self {
        self.writes.push(Write::Append(ns, value.into()));
        self
    }
}

/// Why the store could not do it.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// A condition of the batch does not hold; nothing was changed. Holds its index.
    #[error("condition {0} of the batch does not hold")]
    Conflict(usize),
    /// A write-ahead log sync failed earlier: the store takes no more writes until restart.
    #[error("the store is read-only after a failed sync")]
    ReadOnly,
    /// The device is too full for such a batch; nothing was changed.
    #[error("no space left for metadata")]
    NoSpace,
    /// Too many commits wait; the client should come back later. Nothing was changed.
    #[error("the commit queue is full")]
    Busy,
    /// Stored bytes are not what was written.
    #[error("corrupt metadata: {0}")]
    Corrupt(String),
    /// The store is closed or its directory is unusable.
    #[error("metadata unavailable: {0}")]
    Unavailable(String),
    /// Any other fault of the device or library.
    #[error("metadata fault: {0}")]
    Io(String),
}

impl MetadataError {
    /// Whether the batch was certainly not committed, and never will be: after any other error nobody knows.
    pub const fn was_refused(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Busy | Self::NoSpace)
    }
}

/// Figures of a store for health and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataStats {
    /// Bytes on disk, as far as known.
    pub disk_bytes: u64,
    /// Commits acknowledged since start.
    pub commits: u64,
    /// Syncs of the write-ahead log since start: fewer than commits under load.
    pub syncs: u64,
}

/// An ordered, transactional key-value store; knows nothing of S3.
pub trait MetadataStore: fmt::Debug + Send + Sync {
    /// The value of a key.
    fn get<'a>(&'a self, ns: Namespace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, MetadataError>>;

    /// At most `limit` pairs of `range` in byte order (or against it), from one consistent view.
    ///
    /// An implementation may return fewer pairs than `limit` only at the end of the range.
    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>>;

    /// As a forward [`MetadataStore::scan`] that goes on behind each pair where `jump` says, so that what it leaves out
    /// costs a seek and not a step each. One consistent view.
    fn scan_jumping(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        jump: Arc<dyn Jump>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>>;

    /// A consistent view for a walk of many steps, such as a listing.
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn MetadataView>, MetadataError>>;

    /// Applies `batch` atomically and durably, or fails with [`MetadataError::Conflict`] and changes nothing.
    ///
    /// # Cancel safety
    /// A dropped future leaves the commit to happen or not; it is never half applied.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), MetadataError>>;

    /// Flushes what is buffered; called once at shutdown.
    fn close(&self) -> BoxFuture<'_, Result<(), MetadataError>>;

    /// Whether writes are accepted.
    fn is_writable(&self) -> bool;

    /// Figures for health and metrics.
    fn stats(&self) -> MetadataStats;
}

/// A frozen view of the store.
pub trait MetadataView: fmt::Debug + Send + Sync {
    /// As [`MetadataStore::scan`], always from this view.
    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>>;
}
