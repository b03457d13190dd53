//! How far inventory reports have come: a row beside each configuration, which goes with it.

use bytes::Bytes;

use super::{
    SettingKind, Storage, StorageResult,
    buckets::Bucket,
    change::Change,
    records::{InventoryRecord, Record},
    settings,
};
use crate::metadata::{Condition, MetadataError, Namespace, Table};

impl Storage {
    /// What is known of the reports of a configuration.
    pub async fn inventory_progress(&self, bucket: &Bucket, id: &str) -> StorageResult<Option<InventoryRecord>> {
        let ns = Namespace::of(Table::Settings, bucket.id);
        let stored = self.inner.metadata.get(ns, &settings::progress_row(id)).await?;
        Ok(stored.as_ref().map(InventoryRecord::from_bytes).transpose()?)
    }

    /// Puts `next` in the place of `before`. Whether that was possible: not where the bucket or the configuration is
    /// gone, nor where somebody else was quicker.
    pub async fn advance_inventory(
        &self,
        bucket: &Bucket,
        id: &str,
        before: Option<&InventoryRecord>,
        next: &InventoryRecord,
    ) -> StorageResult<bool> {
        let mut change = Change::new(bucket);
        let (ns, row) = (change.ns(Table::Settings), settings::progress_row(id));
        let before: Option<Bytes> = before.map(Record::to_bytes);
        change.batch.require(ns, SettingKind::Inventory.row(id), Condition::Present);
        change.batch.unchanged(ns, row.clone(), before.as_ref());
        change.batch.put(ns, row, next.to_bytes());
        match self.inner.metadata.commit(change.finish().0).await {
            Ok(()) => Ok(true),
            Err(MetadataError::Conflict(_)) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}
