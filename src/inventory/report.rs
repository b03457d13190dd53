//! One report: files of rows, then the manifests that name them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use super::{InventorySettings, configuration::Configuration, row::Sheet};
use crate::{
    auth::DeliveryService,
    storage::{
        Bucket, DeliveryError, Parcel, Sender, Storage, StorageError, StorageResult,
        listing::{ListQuery, ListStart},
        records::{InventoryFile, InventoryRecord, InventoryRun},
    },
    tasks::StopSignal,
    types::{
        BodyDigests, ObjectKey, Timestamp, VersionId, VersionSelector,
        digest::{Digest, Md5},
    },
};

/// Records read at a time, and compressed without a rest: well below a millisecond of work.
const RECORDS: usize = 128;
/// A file ends when it has so many bytes, however few its rows.
const FILE_BYTES: usize = 16 << 20;
/// Rests are so many times as long as the work before them.
const REST: u32 = 2;
/// Longest rest.
const LONGEST_REST: Duration = Duration::from_millis(250);

/// How far a step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The report has further to go.
    More,
    /// Nothing is left to do now.
    Done,
    /// The server stops.
    Stopped,
}

/// A report under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    pub(super) storage: &'a Storage,
    pub(super) settings: &'a InventorySettings,
    pub(super) bucket: &'a Arc<Bucket>,
    pub(super) id: &'a str,
    pub(super) configuration: &'a Configuration,
}

/// The rows of a file.
struct Filled {
    bytes: Vec<u8>,
    rows: u64,
    last: Option<(String, VersionId)>,
    /// Whether nothing follows.
    complete: bool,
}

/// `manifest.json` (S3 user guide, "Locating your inventory list").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    source_bucket: &'a str,
    destination_bucket: String,
    version: &'static str,
    creation_timestamp: String,
    file_format: &'static str,
    file_schema: String,
    files: Vec<ManifestFile<'a>>,
}

#[derive(Serialize)]
struct ManifestFile<'a> {
    key: &'a str,
    size: u64,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

impl Report<'_> {
    /// Writes the next file, or what ends the report.
    ///
    /// # Errors
    /// What may pass; the report goes on from here then. What will not pass ends the report.
    pub(super) async fn step(&self, before: &InventoryRecord, stop: &mut StopSignal) -> StorageResult<Step> {
        match self.advance(before, stop).await {
            Err(DeliveryError::Storage(error)) if error.passes() => Err(error),
            Ok(done) => Ok(done),
            Err(error) => {
                self.settings.metrics.failures.inc();
                let (bucket, destination) = (self.bucket.name.as_str(), self.configuration.destination.bucket.as_str());
                tracing::warn!(bucket, id = self.id, destination, %error, "an inventory report is given up");
                self.end(before).await?;
                Ok(Step::Done)
            }
        }
    }

    async fn advance(&self, before: &InventoryRecord, stop: &mut StopSignal) -> Result<Step, DeliveryError> {
        let Some(run) = &before.run else { return Ok(Step::Done) };
        let begun = Timestamp::from_millis(before.begun_ms);
        if run.complete {
            self.write_manifests(run, begun).await?;
            if self.end(before).await? {
                self.settings.metrics.reports.inc();
                let (bucket, rows, files) = (self.bucket.name.as_str(), run.rows, run.files.len());
                tracing::info!(bucket, id = self.id, rows, files, "an inventory report is written");
            }
            return Ok(Step::Done);
        }
        self.check_destination(run).await?;
        let Some(filled) = self.fill(run, stop).await? else { return Ok(Step::Stopped) };
        let mut next = run.clone();
        let rows = filled.rows;
        if let Some((key, version)) = &filled.last {
            next.set_position(key, *version);
            let key = self.file_key(run);
            let digests = self.send(&key, filled.bytes.into(), "application/gzip").await?;
            let md5 = Bytes::copy_from_slice(&digests.md5);
            next.files.push(InventoryFile { key, size: digests.size, md5 });
            next.rows += rows;
        }
        next.complete = filled.complete;
        let next = InventoryRecord { begun_ms: before.begun_ms, run: Some(next) };
        if !self.storage.advance_inventory(self.bucket, self.id, Some(before), &next).await? {
            return Ok(Step::Done);
        }
        self.settings.metrics.rows.inc_by(rows);
        let so_far = next.run.map_or(0, |run| run.rows);
        tracing::debug!(bucket = self.bucket.name.as_str(), id = self.id, rows = so_far, "an inventory report goes on");
        Ok(Step::More)
    }

    /// The report is over, one way or the other. Whether it was still wanted.
    async fn end(&self, before: &InventoryRecord) -> StorageResult<bool> {
        let next = InventoryRecord { begun_ms: before.begun_ms, run: None };
        self.storage.advance_inventory(self.bucket, self.id, Some(before), &next).await
    }

    /// Asks for permission before anything is read for a report that nobody takes.
    async fn check_destination(&self, run: &InventoryRun) -> Result<(), DeliveryError> {
        let destination = &self.configuration.destination;
        let target = self.storage.bucket(&destination.bucket).await?;
        let owner = &target.owner;
        let is_owner = |account: &String| {
            owner.as_str() == account || self.settings.numbers.number_of(owner).as_deref() == Some(account)
        };
        let now = self.storage.clock().now();
        let key = object_key(&self.file_key(run))?;
        let permitted = self.sender().may_write(&target, &key, &destination.encryption, now);
        if destination.account.as_ref().is_none_or(is_owner) && permitted {
            Ok(())
        } else {
            Err(DeliveryError::Refused)
        }
    }

    /// Reads rows until a file is full or the bucket is through; `None` where the server stops.
    async fn fill(&self, run: &InventoryRun, stop: &mut StopSignal) -> StorageResult<Option<Filled>> {
        let mut sheet = Sheet::new(self.bucket.name.as_str(), self.configuration, self.settings.version_ids);
        let start = run.position().map_or(ListStart::Beginning, |(key, version)| {
            ListStart::AfterVersion(key.to_owned(), VersionSelector::Id(version))
        });
        let mut query = ListQuery { prefix: self.configuration.prefix.clone(), start, ..ListQuery::default() };
        let (mut rows, mut last) = (0, None);
        loop {
            let began = Instant::now();
            query.limit = RECORDS.min(self.settings.rows - rows);
            let page = self.storage.list_records(self.bucket, &query, self.configuration.which).await?;
            for entry in page.items() {
                sheet.add(entry).map_err(|_| StorageError::Broken("memory takes every row"))?;
                rows += 1;
                last = Some((entry.key.clone(), entry.record.version_id()));
            }
            let complete = page.next.is_none();
            query.start = page.next.unwrap_or_default();
            if complete || rows >= self.settings.rows || sheet.size() >= FILE_BYTES {
                let bytes = sheet.finish().map_err(|_| StorageError::Broken("memory takes every row"))?;
                return Ok(Some(Filled { bytes, rows: rows as u64, last, complete }));
            }
            if !stop.sleep((began.elapsed() * REST).min(LONGEST_REST)).await {
                return Ok(None);
            }
        }
    }

    /// Where everything of this configuration goes.
    fn folder(&self) -> String {
        format!("{}{}/{}", self.configuration.destination.prefix, self.bucket.name, self.id)
    }

    /// The key of the next file: the same however often it is written.
    fn file_key(&self, run: &InventoryRun) -> String {
        let number = (run.files.len() as u64).to_be_bytes();
        let name = hex::encode(Md5::digest([run.id.as_ref(), number.as_slice()].concat()));
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| name.get(part).unwrap_or_default());
        format!("{}/data/{}.csv.gz", self.folder(), parts.join("-"))
    }

    /// Whoever waits for a report waits for `manifest.checksum`: it comes last.
    async fn write_manifests(&self, run: &InventoryRun, begun: Timestamp) -> Result<(), DeliveryError> {
        let destination = self.configuration.destination.bucket.as_str();
        let files = run.files.iter();
        let manifest = Manifest {
            source_bucket: self.bucket.name.as_str(),
            destination_bucket: format!("arn:aws:s3:::{destination}"),
            version: "2016-11-30",
            creation_timestamp: begun.as_millis().to_string(),
            file_format: "CSV",
            file_schema: self.configuration.schema(),
            files: files
                .map(|file| ManifestFile { key: &file.key, size: file.size, md5: hex::encode(&file.md5) })
                .collect(),
        };
        let manifest = serde_json::to_vec_pretty(&manifest);
        let manifest = manifest.map_err(|_| StorageError::Broken("a manifest can be written as JSON"))?;
        let links: Vec<String> = run.files.iter().map(|file| format!("s3://{destination}/{}", file.key)).collect();
        let folder = self.folder();
        let link_key = format!("{folder}/hive/dt={}/symlink.txt", form(begun, "%Y-%m-%d-%H-%M"));
        self.send(&link_key, links.join("\n").into(), "text/plain").await?;
        let folder = format!("{folder}/{}", form(begun, "%Y-%m-%dT%H-%MZ"));
        let digests = self.send(&format!("{folder}/manifest.json"), manifest.into(), "application/json").await?;
        let checksum = hex::encode(digests.md5);
        self.send(&format!("{folder}/manifest.checksum"), checksum.into(), "text/plain").await.map(drop)
    }

    fn sender(&self) -> Sender<'_> {
        let numbers = &*self.settings.numbers;
        Sender { service: DeliveryService::Inventory, source: &self.bucket.name, owner: &self.bucket.owner, numbers }
    }

    async fn send(&self, key: &str, bytes: Bytes, content_type: &'static str) -> Result<BodyDigests, DeliveryError> {
        let destination = &self.configuration.destination;
        let parcel = Parcel {
            target: self.storage.bucket(&destination.bucket).await?,
            key: object_key(key)?,
            bytes,
            content_type,
            acl: None,
            encryption: destination.encryption.clone(),
        };
        self.storage.deliver(self.sender(), parcel).await
    }
}

/// A prefix may be too long for what comes behind it.
fn object_key(key: &str) -> Result<ObjectKey, DeliveryError> {
    ObjectKey::new(key).map_err(|_| DeliveryError::KeyTooLong)
}

fn form(time: Timestamp, format: &str) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).strftime(format).to_string()
}
