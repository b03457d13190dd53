//! What a store holds, bucket by bucket and account by account: exact sums of exact counters.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Storage, StorageResult,
    buckets::Usage,
    keys,
    records::{BucketRecord, Record, Versioning},
};
use crate::{
    metadata::{Batch, Condition, Direction, MetadataError, Namespace, Table},
    types::BucketId,
};

/// Buckets read at a time.
const PAGE: usize = 256;
/// The key of the store's id in the table of the system.
const INSTANCE: &[u8] = b"instance";

const BUCKETS: Namespace = Namespace::global(Table::Buckets);
const SYSTEM: Namespace = Namespace::global(Table::System);

/// What is held together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Buckets.
    pub buckets: i64,
    /// Objects, versions and bytes.
    pub usage: Usage,
}

/// A bucket, as reports show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedBucket {
    /// Its name.
    pub name: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// Its location.
    pub location: String,
    /// Whether versioning was ever configured.
    pub is_versioned: bool,
    /// What it holds.
    pub usage: Usage,
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageReport {
    /// All of it.
    pub total: Holdings,
    /// By canonical id of the owner.
    pub accounts: BTreeMap<String, Holdings>,
    /// The first buckets, by name.
    pub buckets: Vec<ReportedBucket>,
}

impl Holdings {
    fn add(&mut self, usage: Usage) {
        let Usage { objects, versions, bytes, upload_bytes, held_bytes } = usage;
        self.buckets += 1;
        self.usage.objects += objects;
        self.usage.versions += versions;
        self.usage.bytes += bytes;
        self.usage.upload_bytes += upload_bytes;
        self.usage.held_bytes += held_bytes;
    }
}

impl Storage {
    /// What the store holds; at most `listed` buckets by name. The work grows with the number of buckets only.
    pub async fn report(&self, listed: usize) -> StorageResult<StorageReport> {
        let mut report = StorageReport::default();
        let mut start = Bytes::new();
        loop {
            let range = start.clone()..keys::end_of_all();
            let page = self.inner.metadata.scan(BUCKETS, range, Direction::Forward, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(report) };
            start = keys::after(last);
            for (name, stored) in &page {
                let record = BucketRecord::from_bytes(stored)?;
                let usage = self.usage_of(BucketId::new(record.id)).await?.unwrap_or_default();
                report.total.add(usage);
                report.accounts.entry(record.owner.clone()).or_default().add(usage);
                if report.buckets.len() < listed {
                    report.buckets.push(ReportedBucket {
                        name: String::from_utf8_lossy(name).into_owned(),
                        is_versioned: record.versioning() != Versioning::Unversioned,
                        owner: record.owner,
                        location: record.location,
                        usage,
                    });
                }
            }
        }
    }

    /// What stands for this store, as a UUID: made when first asked for, the same ever after.
    pub async fn instance(&self) -> StorageResult<String> {
        if let Some(stored) = self.inner.metadata.get(SYSTEM, INSTANCE).await? {
            return Ok(String::from_utf8_lossy(&stored).into_owned());
        }
        let mut bytes: [u8; 16] = self.inner.ids.random();
        // RFC 9562 §5.4: version 4, the variant of the RFC.
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let digits = hex::encode(bytes);
        let groups =
            [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default().to_owned());
        let id = groups.join("-");
        let mut batch = Batch::new();
        batch.require(SYSTEM, INSTANCE, Condition::Absent).put(SYSTEM, INSTANCE, id.clone().into_bytes());
        match self.inner.metadata.commit(batch).await {
            Ok(()) => Ok(id),
            Err(MetadataError::Conflict(_)) => {
                let stored = self.inner.metadata.get(SYSTEM, INSTANCE).await?;
                Ok(String::from_utf8_lossy(&stored.unwrap_or_default()).into_owned())
            }
            Err(e) => Err(e.into()),
        }
    }
}
