//! Archived versions: which they are, and until when a restored one can be read.
//!
//! The bytes of every version are at hand, so a restore is done as soon as it is asked for: it only writes down when it
//! ends. Whether it has ended is judged by the clock at each read; nothing runs in the background.
//!
//! | storage class | read |
//! |---|---|
//! | `GLACIER`, `DEEP_ARCHIVE`, those of cold locations | while restored |
//! | all others | always |

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Bucket, Storage, StorageError, StorageResult, records::ObjectRecord};
use crate::types::{ObjectKey, Timestamp, VersionSelector};

const GLACIER: &str = "GLACIER";
const DEEP_ARCHIVE: &str = "DEEP_ARCHIVE";

/// How fast an archive is to be read (S3 reference, "`GlacierJobParameters`"). Here all are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetrievalTier {
    /// Within hours.
    #[default]
    Standard,
    /// Within half a day.
    Bulk,
    /// Within minutes; not from `DEEP_ARCHIVE`.
    Expedited,
}

/// What a restore asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Days of the copy, 1 at least.
    pub days: u32,
    /// How fast.
    pub tier: RetrievalTier,
}

/// What a restore did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The version can be read again.
    Now,
    /// It could be read before, and can until another time.
    Already,
}

impl Restore {
    /// When a copy ends that is asked for at `now`: days are counted to the next midnight UTC (S3 user guide,
    /// "Restoring an archived object").
    pub fn end(&self, now: Timestamp) -> Timestamp {
        now.plus_days(self.days).next_midnight()
    }
}

impl Storage {
    /// The storage class of a version that must be restored before it is read; `None` for others.
    pub fn archive_class<'a>(&self, record: &'a ObjectRecord) -> Option<&'a str> {
        let class = record.storage_class.as_str();
        if matches!(class, GLACIER | DEEP_ARCHIVE) {
            return Some(class);
        }
        let table = self.inner.locations.load();
        let is_cold = |name: &str| table.get(name).is_some_and(|location| location.is_cold);
        if is_cold(&record.location) || is_cold(class) {
            return Some(if class.is_empty() { record.location.as_str() } else { class });
        }
        None
    }

    /// Refuses to read a version that is archived and not restored, or not any more.
    ///
    /// # Errors
    /// [`StorageError::Archived`].
    pub fn check_readable(&self, record: &ObjectRecord) -> StorageResult<()> {
        match self.archive_class(record) {
            Some(class) if record.restored_until(self.inner.clock.now()).is_none() => {
                Err(StorageError::Archived(class.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Makes an archived version readable for some days, counted from now also where it was restored before.
    ///
    /// # Errors
    /// [`StorageError::NotArchived`]; [`StorageError::RetrievalTier`]; as [`Storage::version`].
    pub async fn restore_version(
        &self,
        bucket: &Arc<Bucket>,
        key: &ObjectKey,
        selector: Option<VersionSelector>,
        asked: Restore,
    ) -> StorageResult<Restored> {
        let already = AtomicBool::new(false);
        let restore = |record: &mut ObjectRecord| {
            let Some(class) = self.archive_class(record) else {
                return Err(StorageError::NotArchived(record.storage_class.clone()));
            };
            if class == DEEP_ARCHIVE && asked.tier == RetrievalTier::Expedited {
                return Err(StorageError::RetrievalTier);
            }
            let now = self.inner.clock.now();
            already.store(record.restored_until(now).is_some(), Ordering::Relaxed);
            record.restored_until_ms = asked.end(now).as_millis();
            Ok(())
        };
        self.edit_version(bucket, key, selector, restore).await?;
        Ok(if already.into_inner() { Restored::Already } else { Restored::Now })
    }
}
