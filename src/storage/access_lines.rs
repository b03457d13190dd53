//! The queue of access log lines that wait for their delivery: durable, in the order of their writing, bounded.

use std::ops::Range;

use bytes::Bytes;

use super::{
    Storage, StorageResult, keys,
    records::{AccessLines, Record},
};
use crate::metadata::{Batch, Direction, Namespace, Table};

const LINES: Namespace = Namespace::global(Table::AccessLines);

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinePlace(u64);

impl Storage {
    /// Appends lines. When this returns, they survive a crash.
    pub async fn queue_access_lines(&self, lines: &[AccessLines]) -> StorageResult<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for record in lines {
            batch.append(LINES, record.to_bytes());
        }
        Ok(self.inner.metadata.commit(batch).await?)
    }

    /// The oldest lines behind a place, at most `limit` entries, with their places.
    pub async fn queued_access_lines(
        &self,
        after: Option<LinePlace>,
        limit: usize,
    ) -> StorageResult<Vec<(LinePlace, AccessLines)>> {
        let start = after.map_or_else(Bytes::new, LinePlace::behind);
        let range = start..keys::end_of_all();
        let pairs = self.inner.metadata.scan(LINES, range, Direction::Forward, limit).await?;
        let placed = pairs.iter().filter_map(|(key, value)| Some((place(key)?, value)));
        placed.map(|(place, value)| Ok((place, AccessLines::from_bytes(value)?))).collect()
    }

    /// Numbers between the oldest and the newest entry: none where there is no entry, and else at least as many as there
    /// are entries.
    pub async fn queued_access_entries(&self) -> StorageResult<u64> {
        let mut ends = Vec::with_capacity(2);
        for direction in [Direction::Forward, Direction::Reverse] {
            let pairs = self.inner.metadata.scan(LINES, everything(), direction, 1).await?;
            ends.extend(pairs.first().and_then(|(key, _)| place(key)));
        }
        Ok(match ends.as_slice() {
            [oldest, newest] => newest.0 - oldest.0 + 1,
            _ => 0,
        })
    }

    /// Removes entries. What is not there counts as removed.
    pub async fn remove_access_lines(&self, places: &[LinePlace]) -> StorageResult<()> {
        if places.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for place in places {
            batch.delete(LINES, place.key());
        }
        Ok(self.inner.metadata.commit(batch).await?)
    }
}

impl LinePlace {
    fn key(self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_be_bytes())
    }

    /// The first key behind it.
    fn behind(self) -> Bytes {
        Bytes::copy_from_slice(&self.0.saturating_add(1).to_be_bytes())
    }
}

fn everything() -> Range<Bytes> {
    Bytes::new()..keys::end_of_all()
}

fn place(key: &[u8]) -> Option<LinePlace> {
    key.first_chunk::<8>().map(|bytes| LinePlace(u64::from_be_bytes(*bytes)))
}
