//! The rows of a report: CSV with every field in quotes, keys URL-encoded (S3 user guide, "Amazon S3 Inventory list").

use std::io::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::configuration::Configuration;
use crate::{
    storage::{
        listing::{RecordEntry, Which},
        lock::{Lock, Mode, Period},
        records::{ChecksumRecord, EncryptionMode, ObjectRecord},
    },
    types::{Grantee, version_id::VersionIdEncoding},
};

/// What keys keep as it is. Readers decode with or without `+` for blanks: a blank is `%20`, a plus `%2B`.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// An optional column.
#[derive(Debug)]
pub(super) struct Column {
    /// Its name in configurations and manifests.
    pub(super) name: &'static str,
    /// Its value for a version; delete markers have a date and an owner only.
    value: fn(&ObjectRecord) -> String,
}

/// In the order of the S3 user guide. What is not known here, or was never done to any object, is empty.
pub(super) static COLUMNS: &[Column] = &[
    Column { name: "Size", value: |record| record.size.to_string() },
    Column { name: "LastModifiedDate", value: |record| record.modified().to_iso8601() },
    Column { name: "ETag", value: |record| record.etag.clone() },
    Column { name: "StorageClass", value: storage_class },
    Column { name: "IsMultipartUploaded", value: |record| record.part_count().is_some().to_string() },
    Column { name: "ReplicationStatus", value: nothing },
    Column { name: "EncryptionStatus", value: |record| encryption(record).to_owned() },
    Column { name: "ObjectLockRetainUntilDate", value: |record| retained_until(record).unwrap_or_default() },
    Column { name: "ObjectLockMode", value: |record| lock(record).mode.map_or("", Mode::name).to_owned() },
    Column { name: "ObjectLockLegalHoldStatus", value: |record| name(lock(record).legal_hold.name()) },
    Column { name: "IntelligentTieringAccessTier", value: nothing },
    Column { name: "BucketKeyStatus", value: |record| bucket_key(record).to_owned() },
    Column { name: "ChecksumAlgorithm", value: checksum },
    Column { name: "ObjectAccessControlList", value: acl },
    Column { name: "ObjectOwner", value: |record| record.owner.clone() },
    Column { name: "LifecycleExpirationDate", value: nothing },
    Column { name: "ObjectLockEventHoldStatus", value: |record| name(lock(record).event_hold.name()) },
    Column {
        name: "ObjectLockEventHoldDuration",
        value: |record| lock(record).duration.map_or_else(String::new, period),
    },
    Column { name: "IntelligentTieringReferenceDate", value: nothing },
];

/// Columns that delete markers have, too.
const OF_MARKERS: [&str; 2] = ["LastModifiedDate", "ObjectOwner"];

fn nothing(_: &ObjectRecord) -> String {
    String::new()
}

fn name(name: Option<&str>) -> String {
    name.unwrap_or_default().to_owned()
}

fn storage_class(record: &ObjectRecord) -> String {
    if record.storage_class.is_empty() { "STANDARD".to_owned() } else { record.storage_class.clone() }
}

fn encryption(record: &ObjectRecord) -> &'static str {
    match record.encryption_mode() {
        EncryptionMode::None => "NOT-SSE",
        EncryptionMode::Managed => "SSE-S3",
        EncryptionMode::Kms => "SSE-KMS",
        EncryptionMode::DualLayer => "DSSE-KMS",
        EncryptionMode::Customer => "SSE-C",
    }
}

fn bucket_key(record: &ObjectRecord) -> &'static str {
    let enabled = record.encryption.as_ref().is_some_and(|encryption| encryption.bucket_key);
    if enabled { "ENABLED" } else { "DISABLED" }
}

/// A lock that cannot be read is shown as none: its version stays locked all the same.
fn lock(record: &ObjectRecord) -> Lock {
    Lock::read(record).unwrap_or_default()
}

fn retained_until(record: &ObjectRecord) -> Option<String> {
    Some(lock(record).until?.to_iso8601())
}

/// As ISO 8601 writes durations.
fn period(period: Period) -> String {
    match period {
        Period::Days(days) => format!("P{days}D"),
        Period::Years(years) => format!("P{years}Y"),
    }
}

fn checksum(record: &ObjectRecord) -> String {
    let algorithm = record.checksum.as_ref().and_then(ChecksumRecord::algorithm);
    algorithm.map_or_else(String::new, |algorithm| algorithm.to_string())
}

/// JSON in base64 (S3 user guide, "Working with the Object ACL field").
fn acl(record: &ObjectRecord) -> String {
    let grants: Vec<serde_json::Value> = record
        .acl()
        .grants
        .iter()
        .map(|grant| match &grant.grantee {
            Grantee::Account(account) => json!({
                "canonicalId": account.as_str(), "type": "CanonicalUser", "permission": grant.permission.as_str(),
            }),
            group => json!({
                "uri": group.group_uri(), "type": "Group", "permission": grant.permission.as_str(),
            }),
        })
        .collect();
    let document = json!({"version": "2022-11-10", "status": "AVAILABLE", "grants": grants});
    BASE64_STANDARD.encode(document.to_string())
}

/// A file of rows under construction: compressed as it grows.
pub(super) struct Sheet<'a> {
    bucket: &'a str,
    configuration: &'a Configuration,
    version_ids: VersionIdEncoding,
    encoder: GzEncoder<Vec<u8>>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(bucket: &'a str, configuration: &'a Configuration, version_ids: VersionIdEncoding) -> Self {
        // Most of a row repeats the one before: the fastest level makes it small enough.
        Self { bucket, configuration, version_ids, encoder: GzEncoder::new(Vec::new(), Compression::fast()) }
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> usize {
        self.encoder.get_ref().len()
    }

    /// Adds a row.
    pub(super) fn add(&mut self, entry: &RecordEntry) -> io::Result<()> {
        let RecordEntry { key, record, is_latest } = entry;
        let mut fields = vec![self.bucket.to_owned(), utf8_percent_encode(key, KEPT).to_string()];
        if self.configuration.which == Which::All {
            let version = record.version_id().encode(self.version_ids);
            fields.push(if record.is_null { "null".to_owned() } else { version });
            fields.extend([is_latest.to_string(), record.delete_marker.to_string()]);
        }
        fields.extend(self.configuration.columns.iter().map(|column| {
            let told = !record.delete_marker || OF_MARKERS.contains(&column.name);
            if told { (column.value)(record) } else { String::new() }
        }));
        let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
        writeln!(self.encoder, "{}", quoted.join(","))
    }

    /// The file.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        self.encoder.finish()
    }
}
