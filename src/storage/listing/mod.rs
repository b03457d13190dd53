//! Listings: pages of objects, versions, uploads and parts, in the byte order of their keys.
//!
//! A page costs what it shows: what is folded into a common prefix is jumped over, never stepped through, and a page
//! in the middle of a bucket costs what the first one does. A page is of one consistent view.

use crate::types::{UploadId, VersionSelector};

mod cursor;
mod fold;
mod objects;
mod records;
mod search;
mod uploads;
mod versions;

pub use objects::ObjectEntry;
pub use records::{RecordEntry, Which};
pub use search::{Pick, SearchLimit};
pub(super) use uploads::numbered;
pub use uploads::{PartPage, UploadEntry};
pub use versions::VersionEntry;

/// What a page is to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Keys begin with it.
    pub prefix: String,
    /// Keys that have it behind the prefix are folded into one entry, up to and with it; empty for none.
    pub delimiter: String,
    /// Where the page starts.
    pub start: ListStart,
    /// Most entries, common prefixes included; S3 allows 1,000. A page of no entries is the last one.
    pub limit: usize,
}

impl ListQuery {
    /// The common prefix that a key is folded into, if it is.
    pub fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        fold::Fold::of(self).common_prefix(key)
    }
}

/// Where a page starts.
///
/// A key that the query folds into a common prefix stands for the whole of it: the page starts behind the prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListStart {
    /// At the first key.
    #[default]
    Beginning,
    /// Behind a key with all its versions or uploads, whether it is there or not.
    AfterKey(String),
    /// Behind all keys that begin with this.
    AfterPrefix(String),
    /// Behind a version of a key. In listings of other things: behind the key.
    AfterVersion(String, VersionSelector),
    /// Behind an upload of a key. In listings of other things: behind the key.
    AfterUpload(String, UploadId),
}

/// A line of a page.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<T> {
    /// An object, version or upload.
    Item(T),
    /// A common prefix.
    Prefix(String),
}

/// A page, in the order of keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// Its lines.
    pub entries: Vec<Entry<T>>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<ListStart>,
}

/// A page of current objects.
pub type ListPage = Page<ObjectEntry>;
/// A page of versions and delete markers.
pub type VersionPage = Page<VersionEntry>;
/// A page of open uploads.
pub type UploadPage = Page<UploadEntry>;

/// Something that a page can go on behind.
trait Item {
    fn position(&self) -> ListStart;
}

impl<T> Page<T> {
    /// Whether more follows.
    pub fn is_truncated(&self) -> bool {
        self.next.is_some()
    }

    /// The items, without the common prefixes.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Item(item) => Some(item),
            Entry::Prefix(_) => None,
        })
    }

    /// The common prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Item(_) => None,
            Entry::Prefix(prefix) => Some(prefix.as_str()),
        })
    }

    fn empty() -> Self {
        Self { entries: Vec::new(), next: None }
    }

    /// Entries that the walk still has to find: those that fit, and one to know whether more follows.
    fn wanted(&self, limit: usize) -> usize {
        limit.saturating_sub(self.entries.len()).saturating_add(1)
    }
}

/// Whether the page has no room for what the walk found; if so the page is told that something follows.
fn is_full<T: Item>(page: &mut Page<T>, limit: usize) -> bool {
    if page.entries.len() < limit {
        return false;
    }
    page.next = page.entries.last().map(|entry| match entry {
        Entry::Item(item) => item.position(),
        Entry::Prefix(prefix) => ListStart::AfterPrefix(prefix.clone()),
    });
    true
}
