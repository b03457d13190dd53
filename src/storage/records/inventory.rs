//! How far inventory reports have come.

use bytes::Bytes;

use super::settings::SettingRecord;
use crate::types::VersionId;

/// What is known of the reports of one configuration.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InventoryRecord {
    /// When the newest report began, finished or not, in milliseconds since the epoch.
    #[prost(uint64, tag = "1")]
    pub begun_ms: u64,
    /// The report that is being written.
    #[prost(message, optional, tag = "2")]
    pub run: Option<InventoryRun>,
}

/// A report that is being written.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InventoryRun {
    /// The configuration when it began.
    #[prost(message, optional, tag = "1")]
    pub config: Option<SettingRecord>,
    /// Stands for the report: 16 random bytes. Names of files come from it, so that a file written twice has one name.
    #[prost(bytes = "bytes", tag = "2")]
    pub id: Bytes,
    /// The last key that is in a file; none at the beginning.
    #[prost(string, optional, tag = "3")]
    pub key: Option<String>,
    /// The version of that key: its stamp.
    #[prost(fixed64, tag = "4")]
    pub stamp: u64,
    /// The version of that key: its replication group.
    #[prost(bytes = "bytes", tag = "5")]
    pub group: Bytes,
    /// Rows in files so far.
    #[prost(uint64, tag = "6")]
    pub rows: u64,
    /// The files, in the order of their rows.
    #[prost(message, repeated, tag = "7")]
    pub files: Vec<InventoryFile>,
    /// Whether every row is in a file.
    #[prost(bool, tag = "8")]
    pub complete: bool,
}

/// A file of a report.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InventoryFile {
    /// Its key in the destination bucket.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its bytes.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Its MD5.
    #[prost(bytes = "bytes", tag = "3")]
    pub md5: Bytes,
}

impl InventoryRun {
    /// Where the report goes on.
    pub fn position(&self) -> Option<(&str, VersionId)> {
        let group: [u8; 7] = self.group.as_ref().try_into().unwrap_or(*b"       ");
        Some((self.key.as_deref()?, VersionId::new(self.stamp, group)))
    }

    /// The report has come to this version of this key.
    pub fn set_position(&mut self, key: &str, version: VersionId) {
        self.key = Some(key.to_owned());
        self.stamp = version.stamp();
        self.group = Bytes::copy_from_slice(&version.group());
    }
}
