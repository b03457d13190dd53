//! Current objects: `ListObjects`, both versions.

use std::sync::Arc;

use super::{Entry, Item, ListPage, ListQuery, ListStart, Page, fold::Fold, is_full};
use crate::{
    metadata::{Direction, Namespace, Pairs, Table},
    storage::{
        Bucket, Storage, StorageError, StorageResult,
        records::{ListRecord, Record},
    },
};

/// A current object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectEntry {
    /// Its key.
    pub key: String,
    /// What a listing shows of it.
    pub record: ListRecord,
}

impl Item for ObjectEntry {
    fn position(&self) -> ListStart {
        ListStart::AfterKey(self.key.clone())
    }
}

impl Storage {
    /// A page of the current objects of a bucket.
    pub async fn list_objects(&self, bucket: &Bucket, query: &ListQuery) -> StorageResult<ListPage> {
        let mut page = Page::empty();
        if query.limit == 0 {
            return Ok(page);
        }
        let fold = Fold::of(query);
        let (ns, range) = (Namespace::of(Table::Current, bucket.id), fold.plain(fold.start(&query.start)));
        // One more than fits, to know whether more follows.
        let wanted = query.limit.saturating_add(1);
        let metadata = &self.inner.metadata;
        let pairs = if range.start >= range.end {
            Pairs::new()
        } else if fold.is_flat() {
            metadata.scan(ns, range, Direction::Forward, wanted).await?
        } else {
            metadata.scan_jumping(ns, range, Arc::new(fold.jump()), wanted).await?
        };
        for (key, value) in &pairs {
            if is_full(&mut page, query.limit) {
                break;
            }
            let key = text(key)?;
            page.entries.push(match fold.common_prefix(key) {
                Some(prefix) => Entry::Prefix(prefix.to_owned()),
                None => Entry::Item(ObjectEntry { key: key.to_owned(), record: ListRecord::from_bytes(value)? }),
            });
        }
        Ok(page)
    }
}

/// The text of a stored key.
pub(super) fn text(key: &[u8]) -> StorageResult<&str> {
    std::str::from_utf8(key).map_err(|_| StorageError::Broken("object keys are UTF-8"))
}
