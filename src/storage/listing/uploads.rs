//! Open uploads and their parts: `ListMultipartUploads`, `ListParts`.

use bytes::Bytes;

use super::{
    Entry, Item, ListQuery, ListStart, Page, UploadPage,
    cursor::{Cursor, Source},
    fold::{self, Fold, Start},
    is_full,
    objects::text,
};
use crate::{
    metadata::{Direction, Namespace, Table},
    storage::{
        Bucket, Storage, StorageError, StorageResult, keys,
        records::{PartRecord, Record, UploadRecord},
    },
    types::{ObjectKey, UploadId},
};

/// First batch: most buckets have few open uploads.
const BATCH: usize = 32;

/// An open upload.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadEntry {
    /// Its key.
    pub key: String,
    /// Its id.
    pub id: UploadId,
    /// What is known of it.
    pub record: UploadRecord,
}

/// A page of the parts of an upload.
#[derive(Clone, Debug, PartialEq)]
pub struct PartPage {
    /// The upload.
    pub upload: UploadRecord,
    /// Numbers and parts, ascending.
    pub parts: Vec<(u16, PartRecord)>,
    /// Whether more follow.
    pub truncated: bool,
}

impl Item for UploadEntry {
    fn position(&self) -> ListStart {
        ListStart::AfterUpload(self.key.clone(), self.id)
    }
}

impl Storage {
    /// A page of the open uploads of a bucket, by key and then by initiation.
    pub async fn list_uploads(&self, bucket: &Bucket, query: &ListQuery) -> StorageResult<UploadPage> {
        let mut page = Page::empty();
        if query.limit == 0 {
            return Ok(page);
        }
        let fold = Fold::of(query);
        let at = fold.start(&query.start);
        let mut range = fold.escaped(at);
        if let (ListStart::AfterUpload(key, id), Start::After(_)) = (&query.start, at) {
            let behind = keys::after(&keys::upload_row(key.as_bytes(), *id));
            range.start = range.start.min(behind).max(fold.escaped(Start::First).start);
        }
        range.start = range.start.max(keys::open_uploads());
        let source = Source(self.inner.metadata.snapshot().await?);
        let mut cursor = Cursor::new(source, Namespace::of(Table::Uploads, bucket.id), range, BATCH);
        while let Some((row, value)) = cursor.next(page.wanted(query.limit)).await? {
            if is_full(&mut page, query.limit) {
                break;
            }
            let (key, id) = split(&row)?;
            let key = text(&key)?;
            page.entries.push(if let Some(prefix) = fold.common_prefix(key) {
                cursor.seek(fold::past_escaped(prefix));
                Entry::Prefix(prefix.to_owned())
            } else {
                Entry::Item(UploadEntry { key: key.to_owned(), id, record: UploadRecord::from_bytes(&value)? })
            });
        }
        Ok(page)
    }

    /// A page of the parts of an open upload whose numbers are greater than `after`.
    ///
    /// # Errors
    /// [`StorageError::NoSuchUpload`].
    pub async fn list_parts(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: UploadId,
        after: u16,
        limit: usize,
    ) -> StorageResult<PartPage> {
        let all = keys::parts_of(id);
        let range = after.checked_add(1).map_or(all.end.clone(), |first| keys::part(id, first))..all.end;
        let ns = Namespace::of(Table::Parts, bucket.id);
        let mut pairs = Vec::new();
        if limit > 0 && range.start < range.end {
            pairs = self.inner.metadata.scan(ns, range, Direction::Forward, limit.saturating_add(1)).await?;
        }
        // Read last: as long as the upload is open its parts are all there.
        let upload = self.upload(bucket, key, id).await?;
        let truncated = pairs.len() > limit;
        pairs.truncate(limit);
        let parts = pairs.iter().map(|(row, value)| numbered(row, value)).collect::<StorageResult<_>>()?;
        Ok(PartPage { upload, parts, truncated })
    }
}

/// The number and record of a row of parts.
pub(in crate::storage) fn numbered(row: &Bytes, value: &Bytes) -> StorageResult<(u16, PartRecord)> {
    let number = keys::part_number(row).ok_or(StorageError::Broken("rows of parts end with a number"))?;
    Ok((number, PartRecord::from_bytes(value)?))
}

fn split(row: &[u8]) -> StorageResult<(Vec<u8>, UploadId)> {
    keys::split_key(row)
        .and_then(|(key, id)| Some((key, UploadId::from_bytes(id.try_into().ok()?))))
        .ok_or(StorageError::Broken("rows of uploads are a key and an upload id"))
}
