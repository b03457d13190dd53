//! Whole records in the order of a listing: for reports.

use bytes::Bytes;

use super::{
    Entry, Item, ListQuery, ListStart, Page,
    cursor::{Cursor, Source},
    fold::Fold,
    is_full,
    objects::text,
    versions::Walk,
};
use crate::{
    metadata::{Namespace, Table},
    storage::{
        Bucket, Storage, StorageResult,
        records::{ObjectRecord, Record},
    },
    types::VersionSelector,
};

/// Records of the first batch.
const BATCH: usize = 64;

/// Which versions a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that `ListObjects` shows.
    Current,
    /// Those that `ListObjectVersions` shows, delete markers included.
    All,
}

/// A version or a delete marker with all that is stored of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordEntry {
    /// Its key.
    pub key: String,
    /// The record.
    pub record: ObjectRecord,
    /// Whether it is the newest of its key.
    pub is_latest: bool,
}

impl Item for RecordEntry {
    fn position(&self) -> ListStart {
        // By its id, also where clients see `null`: that tells its place even when the version is gone.
        ListStart::AfterVersion(self.key.clone(), VersionSelector::Id(self.record.version_id()))
    }
}

impl Storage {
    /// A page of records. The query has no delimiter.
    pub async fn list_records(
        &self,
        bucket: &Bucket,
        query: &ListQuery,
        which: Which,
    ) -> StorageResult<Page<RecordEntry>> {
        let mut page = Page::empty();
        if query.limit == 0 {
            return Ok(page);
        }
        let fold = Fold::of(query);
        let view = self.inner.metadata.snapshot().await?;
        let mut walk = match which {
            Which::All => Rows::All(Box::new(Walk::new(view, bucket.id, &fold, &query.start).await?)),
            Which::Current => {
                let range = fold.plain(fold.start(&query.start));
                Rows::Current(Cursor::new(Source(view), Namespace::of(Table::Current, bucket.id), range, BATCH))
            }
        };
        while let Some((key, value, is_latest)) = walk.next(page.wanted(query.limit)).await? {
            if is_full(&mut page, query.limit) {
                break;
            }
            let (key, record) = (text(&key)?.to_owned(), ObjectRecord::from_bytes(&value)?);
            page.entries.push(Entry::Item(RecordEntry { key, record, is_latest }));
        }
        Ok(page)
    }
}

/// The rows of one walk.
enum Rows {
    Current(Cursor),
    All(Box<Walk>),
}

impl Rows {
    async fn next(&mut self, wanted: usize) -> StorageResult<Option<(Vec<u8>, Bytes, bool)>> {
        match self {
            Self::Current(cursor) => Ok(cursor.next(wanted).await?.map(|(key, value)| (key.to_vec(), value, true))),
            Self::All(walk) => Ok(walk.next(wanted).await?.map(|row| (row.key, row.value, row.is_latest))),
        }
    }
}
