//! Reads: what is in memory is read inline, the rest on the blocking pool.
//!
//! An executor thread is held for half a millisecond at most: an inline read touches no device, and an inline scan
//! is short, steps over few tombstones and watches the clock.

use std::{
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rocksdb::{ColumnFamily, DB, DBRawIterator, ErrorKind, ReadOptions, ReadTier};

use super::{
    error::fault,
    frozen::Frozen,
    keys::{self, bounds, column, physical},
    open::Database,
};
use crate::metadata::{Direction, Jump, MetadataError, MetadataView, Namespace, Pairs};

/// Longer scans go to the blocking pool at once: about 0.3 µs a pair, against some 10 µs for the way there and back.
const INLINE_PAIRS: usize = 256;
const INLINE_TIME: Duration = Duration::from_micros(300);
/// Tombstones and overwritten values that an inline scan may step over.
const INLINE_SKIPS: u64 = 512;

/// Steps that a jump tries before it seeks.
const STEPS_BEFORE_SEEK: usize = 3;

/// Longer scans read ahead, and leave the block cache to those who come back to what they read.
const LONG_PAIRS: usize = 4096;
const LONG_READAHEAD: usize = 1 << 20;

/// What to scan.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) ns: Namespace,
    pub(super) range: Range<Bytes>,
    pub(super) direction: Direction,
    pub(super) limit: usize,
    /// Where a forward walk goes on behind a pair.
    pub(super) jump: Option<Arc<dyn Jump>>,
}

/// Where to read: the latest state, or a frozen one.
#[derive(Clone)]
pub(super) enum Source {
    Latest(Arc<Database>),
    Frozen(Arc<Frozen>),
}

/// What stopped an inline scan.
enum Stop {
    /// It would take a device or too long.
    Dear,
    Failed(MetadataError),
}

/// A frozen view of the store; keeps the database open.
pub(super) struct RocksView {
    source: Source,
}

impl RocksView {
    /// The state that the commits acknowledged so far have left.
    pub(super) fn new(db: &Arc<Database>) -> Self {
        Self { source: Source::Frozen(Arc::new(Frozen::now(db))) }
    }
}

impl fmt::Debug for RocksView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksView").finish_non_exhaustive()
    }
}

impl MetadataView for RocksView {
    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        let query = Query { ns, range, direction, limit, jump: None };
        Box::pin(async move { self.source.scan(query).await })
    }
}

/// The latest value of a key.
pub(super) async fn get(db: &Arc<Database>, ns: Namespace, key: &[u8]) -> Result<Option<Bytes>, MetadataError> {
    let mut in_memory = ReadOptions::default();
    in_memory.set_read_tier(ReadTier::BlockCache);
    let key = physical(ns, key);
    match lookup(column(db, ns.table.name())?, db, &key, &in_memory) {
        Err(error) if error.kind() == ErrorKind::Incomplete => {}
        done => return done.map_err(|error| fault(&error)),
    }
    let (db, key) = (Arc::clone(db), key.into_owned());
    blocking(move || {
        let cf = column(&db, ns.table.name())?;
        lookup(cf, &db, &key, &ReadOptions::default()).map_err(|error| fault(&error))
    })
    .await
}

fn lookup(cf: &ColumnFamily, db: &DB, key: &[u8], options: &ReadOptions) -> Result<Option<Bytes>, rocksdb::Error> {
    let value = db.get_pinned_cf_opt(cf, key, options)?;
    Ok(value.map(|value| Bytes::copy_from_slice(&value)))
}

impl Query {
    /// Goes on behind the pair under the cursor. What is left out is often little: a few steps are tried before the
    /// seek, which costs about ten of them.
    fn step(&self, cursor: &mut DBRawIterator<'_>) {
        let key = cursor.key().and_then(|key| key.get(keys::prefix_len(self.ns)..));
        let Some(target) = self.jump.as_ref().zip(key).and_then(|(jump, key)| jump.behind(key)) else {
            return cursor.next();
        };
        let target = physical(self.ns, &target);
        for _ in 0..STEPS_BEFORE_SEEK {
            cursor.next();
            if cursor.key().is_none_or(|key| key >= &*target) {
                return;
            }
        }
        cursor.seek(&*target);
    }
}

impl Source {
    fn db(&self) -> &Arc<Database> {
        match self {
            Self::Latest(db) => db,
            Self::Frozen(frozen) => frozen.borrow_owner(),
        }
    }

    /// The pairs of a range, from one view.
    pub(super) async fn scan(&self, query: Query) -> Result<Pairs, MetadataError> {
        if query.range.start >= query.range.end || query.limit == 0 {
            return Ok(Pairs::new());
        }
        if query.limit <= INLINE_PAIRS {
            match self.walk(&query, true) {
                Err(Stop::Dear) => {}
                Err(Stop::Failed(error)) => return Err(error),
                Ok(pairs) => return Ok(pairs),
            }
        }
        let source = self.clone();
        blocking(move || match source.walk(&query, false) {
            Ok(pairs) => Ok(pairs),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Dear) => Err(MetadataError::Io("an unlimited scan hit a limit".to_owned())),
        })
        .await
    }

    fn options(&self, query: &Query, inline: bool) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_iterate_range(bounds(query.ns, &query.range));
        if inline {
            options.set_read_tier(ReadTier::BlockCache);
            options.set_max_skippable_internal_keys(INLINE_SKIPS);
        } else if query.limit >= LONG_PAIRS {
            options.set_readahead_size(LONG_READAHEAD);
            options.fill_cache(false);
        }
        if let Self::Frozen(frozen) = self {
            options.set_snapshot(frozen.borrow_dependent());
        }
        options
    }

    fn walk(&self, query: &Query, inline: bool) -> Result<Pairs, Stop> {
        let start = Instant::now();
        let cf = column(self.db(), query.ns.table.name()).map_err(Stop::Failed)?;
        let mut cursor = self.db().raw_iterator_cf_opt(cf, self.options(query, inline));
        match query.direction {
            Direction::Forward => cursor.seek_to_first(),
            Direction::Reverse => cursor.seek_to_last(),
        }
        let mut page = Page::new(keys::prefix_len(query.ns));
        while let Some((key, value)) = cursor.item() {
            page.push(key, value);
            if page.len() == query.limit {
                return Ok(page.finish());
            }
            if inline && page.len().is_multiple_of(32) && start.elapsed() > INLINE_TIME {
                return Err(Stop::Dear);
            }
            match query.direction {
                Direction::Forward => query.step(&mut cursor),
                Direction::Reverse => cursor.prev(),
            }
        }
        match cursor.status() {
            Ok(()) => Ok(page.finish()),
            Err(error) if inline && error.kind() == ErrorKind::Incomplete => Err(Stop::Dear),
            Err(error) => Err(Stop::Failed(fault(&error))),
        }
    }
}

/// Pairs that share one allocation.
struct Page {
    bytes: Vec<u8>,
    /// Where each key and each value ends.
    ends: Vec<(usize, usize)>,
    prefix: usize,
}

impl Page {
    fn new(prefix: usize) -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), prefix }
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        // Every key of the range has the prefix: the bounds do.
        self.bytes.extend_from_slice(key.get(self.prefix..).unwrap_or_default());
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    fn finish(self) -> Pairs {
        let bytes = Bytes::from(self.bytes);
        let mut start = 0;
        let mut pairs = Pairs::with_capacity(self.ends.len());
        for (key_end, value_end) in self.ends {
            pairs.push((bytes.slice(start..key_end), bytes.slice(key_end..value_end)));
            start = value_end;
        }
        pairs
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MetadataError> + Send + 'static,
) -> Result<T, MetadataError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(MetadataError::Io(format!("a read was cut short: {error}"))),
    }
}
