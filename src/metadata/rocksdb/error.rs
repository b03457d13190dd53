//! RocksDB's errors in the words of the seam.

use rocksdb::{Error, ErrorKind};

use crate::metadata::MetadataError;

/// What a failed read or write means.
pub(super) fn fault(error: &Error) -> MetadataError {
    let message = error.to_string();
    match error.kind() {
        // The library has no kind of its own for ENOSPC; its status text is fixed.
        ErrorKind::IOError if message.contains("No space left on device") => MetadataError::NoSpace,
        ErrorKind::Corruption => MetadataError::Corrupt(message),
        ErrorKind::ShutdownInProgress => MetadataError::Unavailable(message),
        _ => MetadataError::Io(message),
    }
}
