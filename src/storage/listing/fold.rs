//! The arithmetic of prefix, delimiter and marker.

use std::ops::Range;

use bytes::Bytes;

use super::{ListQuery, ListStart};
use crate::{metadata::CommonPrefixes, storage::keys};

/// How a query folds keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fold<'a> {
    prefix: &'a str,
    delimiter: &'a str,
}

/// Where a walk starts, in terms of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// At the first key of the prefix.
    First,
    /// Behind a key.
    After(&'a str),
    /// Behind all keys that begin with this.
    Past(&'a str),
}

impl<'a> Fold<'a> {
    pub(super) fn of(query: &'a ListQuery) -> Self {
        Self { prefix: &query.prefix, delimiter: &query.delimiter }
    }

    /// Whether every key is an entry of its own.
    pub(super) fn is_flat(self) -> bool {
        self.delimiter.is_empty()
    }

    /// A walk that visits the first key of each common prefix only.
    pub(super) fn jump(self) -> CommonPrefixes {
        let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        CommonPrefixes { prefix: copy(self.prefix), delimiter: copy(self.delimiter) }
    }

    /// The common prefix that `key` is folded into, if it is.
    pub(super) fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        if self.is_flat() {
            return None;
        }
        let at = key.strip_prefix(self.prefix)?.find(self.delimiter)?;
        key.get(..self.prefix.len() + at + self.delimiter.len())
    }

    /// Where the walk of a query starts. A marker within a common prefix stands for all of it (S3 reference,
    /// `ListObjects`: a prefix is returned once, and only if it is greater than the marker).
    pub(super) fn start(&self, start: &'a ListStart) -> Start<'a> {
        match start {
            ListStart::Beginning => Start::First,
            ListStart::AfterPrefix(prefix) => Start::Past(prefix),
            ListStart::AfterKey(key) | ListStart::AfterVersion(key, _) | ListStart::AfterUpload(key, _) => {
                self.common_prefix(key).map_or(Start::After(key), Start::Past)
            }
        }
    }

    /// The keys to walk, in a table of plain keys.
    pub(super) fn plain(&self, start: Start<'_>) -> Range<Bytes> {
        let from = match start {
            Start::First => Bytes::new(),
            Start::After(key) => keys::after(key.as_bytes()),
            Start::Past(prefix) => keys::successor(prefix.as_bytes()),
        };
        let first = Bytes::copy_from_slice(self.prefix.as_bytes());
        from.max(first)..keys::successor(self.prefix.as_bytes())
    }

    /// The rows to walk, in a table of escaped keys.
    pub(super) fn escaped(&self, start: Start<'_>) -> Range<Bytes> {
        let from = match start {
            Start::First => Bytes::new(),
            Start::After(key) => keys::successor(&keys::prefix_of(key.as_bytes())),
            Start::Past(prefix) => past_escaped(prefix),
        };
        let first = keys::escaped(self.prefix.as_bytes()).freeze();
        from.max(first)..past_escaped(self.prefix)
    }
}

/// The least row behind all escaped keys that begin with `prefix`.
pub(super) fn past_escaped(prefix: &str) -> Bytes {
    keys::successor(&keys::escaped(prefix.as_bytes()))
}
