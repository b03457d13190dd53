//! Stored records: Protocol Buffers messages behind a version byte.
//!
//! The field numbers are the format. They are never reused; unknown fields are skipped, so an older binary reads
//! what a newer one wrote as long as the version byte is the same. Fixtures in `tests/fixtures` pin every version.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use thiserror::Error;

mod access;
mod annotation;
mod bucket;
mod configuration;
mod encryption;
mod inventory;
mod job;
mod journal;
mod lock;
mod object;
mod settings;
mod upload;
mod website;

pub use access::PublicAccessBlockRecord;
pub use annotation::AnnotationRecord;
pub use bucket::{BucketRecord, Versioning};
pub use configuration::{
    CorsRule, ExpirationRecord, LifecycleRecord, LifecycleRule, LifecycleScope, NoncurrentExpirationRecord,
    NoncurrentTransitionRecord, TransitionRecord,
};
pub use encryption::{BucketEncryption, EncryptionMode, EncryptionRecord};
pub use inventory::{InventoryFile, InventoryRecord, InventoryRun};
pub use job::{JobRecord, JobState};
pub use journal::{Garbage, GarbageKind, JournalEntry, JournalOp, Pending};
pub use lock::{ObjectLockRecord, PeriodRecord};
pub use object::{
    AclRecord, ChecksumRecord, ContentHeaders, GrantRecord, Layout, LayoutRow, ListRecord, ObjectRecord, Pair, Segment,
};
pub use settings::{
    AccessLines, LogPartition, LoggingRecord, NotificationFilter, NotificationKind, NotificationRecord,
    NotificationTarget, ReplicationDestination, ReplicationRecord, ReplicationRule, SettingNode, SettingRecord,
};
pub use upload::{PartRecord, UploadRecord};
pub use website::{RedirectRecord, RoutingRuleRecord, WebsiteRecord};

/// The version byte of every record written today.
const VERSION: u8 = 1;

/// Stored bytes are no record of ours.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// Written by a newer release.
    #[error("record version {0} is newer than this release")]
    Newer(u8),
    /// Damaged.
    #[error("the record cannot be decoded: {0}")]
    Malformed(String),
}

/// A message with the version byte before it.
pub trait Record: Message + Default + Sized {
    /// The stored form.
    fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.encoded_len() + 1);
        bytes.put_u8(VERSION);
        // A BytesMut grows: encoding into it cannot run out of room.
        self.encode(&mut bytes).ok();
        bytes.freeze()
    }

    /// Reads the stored form; byte fields share `bytes`.
    fn from_bytes(bytes: &Bytes) -> Result<Self, RecordError> {
        match bytes.first() {
            Some(&VERSION) => Self::decode(bytes.slice(1..)).map_err(|e| RecordError::Malformed(e.to_string())),
            Some(&newer) => Err(RecordError::Newer(newer)),
            None => Err(RecordError::Malformed("it is empty".to_owned())),
        }
    }
}

impl<M: Message + Default> Record for M {}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            if let Ok(record) = ObjectRecord::from_bytes(&bytes) {
                prop_assert_eq!(ObjectRecord::from_bytes(&record.to_bytes()), Ok(record));
            }
            drop(BucketRecord::from_bytes(&bytes));
            drop(UploadRecord::from_bytes(&bytes));
            drop(Garbage::from_bytes(&bytes));
        }
    }

    #[test]
    fn a_newer_record_is_refused_by_name() {
        assert_eq!(ObjectRecord::from_bytes(&Bytes::from_static(&[9, 1])), Err(RecordError::Newer(9)));
    }
}
