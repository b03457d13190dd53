//! Current objects: `ListObjects`, both versions.

use super::{
    Entry, Item, ListPage, ListQuery, ListStart, Page,
    cursor::{Cursor, Source},
    fold::Fold,
    is_full,
};
use crate::{
    metadata::{Namespace, Table},
    storage::{
        Bucket, Storage, StorageError, StorageResult, keys,
        records::{ListRecord, Record},
    },
};

/// First batch where keys are folded: nobody knows how many are.
const FOLDED_BATCH: usize = 16;

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
        let (source, batch) = if fold.is_flat() {
            (Source::Latest(&*self.inner.metadata), query.limit.saturating_add(1))
        } else {
            (Source::View(self.inner.metadata.snapshot().await?), FOLDED_BATCH)
        };
        let range = fold.plain(fold.start(&query.start));
        let mut cursor = Cursor::new(source, Namespace::of(Table::Current, bucket.id), range, batch);
        while let Some((key, value)) = cursor.next(page.wanted(query.limit)).await? {
            if is_full(&mut page, query.limit) {
                break;
            }
            let key = text(&key)?;
            page.entries.push(if let Some(prefix) = fold.common_prefix(key) {
                cursor.seek(keys::successor(prefix.as_bytes()));
                Entry::Prefix(prefix.to_owned())
            } else {
                Entry::Item(ObjectEntry { key: key.to_owned(), record: ListRecord::from_bytes(&value)? })
            });
        }
        Ok(page)
    }
}

/// The text of a stored key.
pub(super) fn text(key: &[u8]) -> StorageResult<&str> {
    std::str::from_utf8(key).map_err(|_| StorageError::Broken("object keys are UTF-8"))
}
