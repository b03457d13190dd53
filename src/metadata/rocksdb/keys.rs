//! Where a key lives in RocksDB.
//!
//! | name space | column family | physical key |
//! |---|---|---|
//! | a whole table | the table's | `key` |
//! | a bucket's share | the table's | bucket id, 8 bytes big endian ‖ `key` |
//!
//! A table is used one way or the other, never both: the first byte would not tell them apart.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use rocksdb::{ColumnFamily, DB};

use crate::metadata::{MetadataError, Namespace};

/// The column family of our own that holds the last sequence number of each name space.
pub(super) const SEQUENCES: &str = "sequences";

const PREFIX: usize = size_of::<u64>();

/// The physical key.
pub(super) fn physical(ns: Namespace, key: &[u8]) -> Cow<'_, [u8]> {
    match ns.bucket {
        None => Cow::Borrowed(key),
        Some(bucket) => Cow::Owned([&bucket.get().to_be_bytes(), key].concat()),
    }
}

/// The physical bounds of a range.
pub(super) fn bounds(ns: Namespace, range: &Range<Bytes>) -> Range<Vec<u8>> {
    physical(ns, &range.start).into_owned()..physical(ns, &range.end).into_owned()
}

/// The length of what [`physical`] puts before a key.
pub(super) const fn prefix_len(ns: Namespace) -> usize {
    if ns.bucket.is_some() { PREFIX } else { 0 }
}

/// The key of a name space's last sequence number: table ‖ bucket, if any.
pub(super) fn sequence(ns: Namespace) -> Vec<u8> {
    physical(ns, &[ns.table as u8]).into_owned()
}

/// The column family of a table, or another by its name.
///
/// # Errors
/// [`MetadataError::Unavailable`] if it is not open, which [`super::open`] rules out.
pub(super) fn column<'a>(db: &'a DB, name: &str) -> Result<&'a ColumnFamily, MetadataError> {
    db.cf_handle(name).ok_or_else(|| MetadataError::Unavailable(format!("the column family {name} is not open")))
}
