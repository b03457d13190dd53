//! The durable store: one RocksDB with one write-ahead log, a column family per [`Table`](super::Table).
//!
//! All writes go through one thread, which commits what waits as one group (`committer`) and evaluates conditions
//! against the database and what the group has written so far (`overlay`). Reads go straight to the database
//! (`read`). Before RocksDB sees the write-ahead log, `log` decides what its damage means; `options` holds the tuning.

mod committer;
mod error;
mod frozen;
mod keys;
mod log;
mod open;
mod options;
mod overlay;
mod pace;
mod read;
mod space;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    ops::Range,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use self::options::RocksOptions;
use self::{
    committer::Committer,
    open::Database,
    read::{Query, RocksView, Source},
};
use super::{Batch, Direction, Jump, MetadataError, MetadataStats, MetadataStore, MetadataView, Namespace, Pairs};

/// A metadata store in a directory of its own.
pub struct RocksStore {
    // Before the database: the thread ends first.
    committer: Committer,
    db: Arc<Database>,
}

impl RocksStore {
    /// Opens the store in `path`, and creates it with its folders if it is not there. Blocks.
    ///
    /// # Errors
    /// [`MetadataError::Unavailable`] if another process has it open, if a newer version wrote it, or if the
    /// directory cannot be used; [`MetadataError::Corrupt`] if the write-ahead log is damaged before its end.
    pub fn open(path: impl AsRef<Path>, options: RocksOptions) -> Result<Self, MetadataError> {
        let db = Arc::new(open::open(path.as_ref(), &options)?);
        let committer = Committer::start(Arc::clone(&db), &options)?;
        Ok(Self { committer, db })
    }
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl MetadataStore for RocksStore {
    fn get<'a>(&'a self, ns: Namespace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, MetadataError>> {
        Box::pin(read::get(&self.db, ns, key))
    }

    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        let query = Query { ns, range, direction, limit, jump: None };
        Box::pin(async move { Source::Latest(Arc::clone(&self.db)).scan(query).await })
    }

    fn scan_jumping(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        jump: Arc<dyn Jump>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        let query = Query { ns, range, direction: Direction::Forward, limit, jump: Some(jump) };
        Box::pin(async move { Source::Latest(Arc::clone(&self.db)).scan(query).await })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn MetadataView>, MetadataError>> {
        Box::pin(async move { Ok(Arc::new(RocksView::new(&self.db)) as Arc<dyn MetadataView>) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(self.committer.commit(batch))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(self.committer.close())
    }

    fn is_writable(&self) -> bool {
        self.committer.is_writable()
    }

    fn stats(&self) -> MetadataStats {
        let shared = self.committer.shared();
        MetadataStats {
            // What is only in the log is about what is in the memtables.
            disk_bytes: self.db.sum("rocksdb.total-sst-files-size")
                + self.db.sum("rocksdb.total-blob-file-size")
                + self.db.buffered_bytes(),
            commits: shared.commits.load(Ordering::Relaxed),
            syncs: shared.syncs.load(Ordering::Relaxed),
        }
    }
}
