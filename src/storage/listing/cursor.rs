//! Walking a table in order, with jumps.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    metadata::{Direction, MetadataView, Namespace, Pairs},
    storage::StorageResult,
};

/// Fewest pairs of a scan. The second pair behind a jump tells whether the next group is a large one, too.
const LEAST: usize = 2;
/// Most pairs of a scan, however long the walk.
const MOST: usize = 4096;

/// One state for all scans of a walk.
#[derive(Clone, Debug)]
pub(super) struct Source(pub(super) Arc<dyn MetadataView>);

/// A walk through a range, forwards. It reads in batches that grow while all of their pairs are used, and shrink to
/// almost nothing where most are jumped over: a jump costs a scan, a pair read in vain costs a part of one.
#[derive(Debug)]
pub(super) struct Cursor {
    source: Source,
    ns: Namespace,
    /// What no scan has read yet.
    rest: Range<Bytes>,
    read: VecDeque<(Bytes, Bytes)>,
    batch: usize,
    /// Pairs of the last batch that were used, and that were jumped over.
    used: usize,
    skipped: usize,
}

impl Source {
    /// A scan of this source.
    pub(super) async fn scan(&self, ns: Namespace, range: Range<Bytes>, limit: usize) -> StorageResult<Pairs> {
        if range.start >= range.end {
            return Ok(Pairs::new());
        }
        Ok(self.0.scan(ns, range, Direction::Forward, limit).await?)
    }
}

impl Cursor {
    /// A cursor at the start of `range` whose first scan reads at most `batch` pairs.
    pub(super) fn new(source: Source, ns: Namespace, range: Range<Bytes>, batch: usize) -> Self {
        Self { source, ns, rest: range, read: VecDeque::new(), batch: batch.max(LEAST), used: 0, skipped: 0 }
    }

    /// The next pair, without taking it. At most `wanted` pairs will be taken from now on.
    pub(super) async fn peek(&mut self, wanted: usize) -> StorageResult<Option<&(Bytes, Bytes)>> {
        if self.read.is_empty() && self.rest.start < self.rest.end {
            self.fill(wanted).await?;
        }
        Ok(self.read.front())
    }

    /// Takes the next pair.
    pub(super) async fn next(&mut self, wanted: usize) -> StorageResult<Option<(Bytes, Bytes)>> {
        self.peek(wanted).await?;
        let pair = self.read.pop_front();
        self.used += usize::from(pair.is_some());
        Ok(pair)
    }

    /// Jumps to `key`; never goes back.
    pub(super) fn seek(&mut self, key: Bytes) {
        let before = self.read.len();
        while self.read.front().is_some_and(|(next, _)| *next < key) {
            self.read.pop_front();
        }
        self.skipped += before - self.read.len();
        if self.rest.start < key {
            self.rest.start = key;
        }
    }

    async fn fill(&mut self, wanted: usize) -> StorageResult<()> {
        if self.used + self.skipped > 0 {
            self.batch =
                if self.skipped < self.used { (self.batch * 2).min(MOST) } else { (self.batch / 4).max(LEAST) };
            (self.used, self.skipped) = (0, 0);
        }
        let limit = self.batch.min(wanted.max(1));
        let pairs = self.source.scan(self.ns, self.rest.clone(), limit).await?;
        self.rest.start = match pairs.last() {
            Some((last, _)) if pairs.len() == limit => crate::storage::keys::after(last),
            _ => self.rest.end.clone(),
        };
        self.read = pairs.into();
        Ok(())
    }
}
