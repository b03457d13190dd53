//! Inventory reports: lists of what a bucket holds, written by day or by week into the bucket that a configuration
//! names (S3 user guide, "Cataloging and analyzing your data with S3 Inventory").
//!
//! One task looks for reports that are due and writes them, file by file: so there is never more than one run of a
//! report, and one large bucket does not keep others waiting longer than a file takes. A file is built in memory, at
//! most some 16 MiB, and its rows are read in small pages with rests between, so that requests do not feel it. After
//! each file one commit notes where the report goes on: a crash costs the file under way, which is then written again
//! under the same name. A report tells of each version as it was when its page was read, as on AWS.
//!
//! Destinations are asked as AWS's service is asked ([`Storage::deliver`]). Where one says no, or is gone, the report is
//! given up until the next is due.

mod configuration;
mod report;
mod row;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use configuration::Configuration;
use report::{Report, Step};

use crate::{
    auth::AccountNumbers,
    storage::{
        Bucket, SettingKind, Storage, StorageError, StorageResult,
        records::{InventoryRecord, InventoryRun, SettingRecord},
    },
    tasks::{StopSignal, Tasks},
    telemetry::metrics::InventoryMetrics,
    types::{Timestamp, version_id::VersionIdEncoding},
};

/// Buckets, and configurations of a bucket, read at a time.
const PAGE: usize = 100;

/// How reports are written.
#[derive(Clone, Debug)]
pub struct InventorySettings {
    /// Time between looks for reports that are due.
    pub look: Duration,
    /// Time between reports, instead of what their configurations say.
    pub period: Option<Duration>,
    /// Most rows of a file.
    pub rows: usize,
    /// How versions are spelled.
    pub version_ids: VersionIdEncoding,
    /// What policies call accounts.
    pub numbers: Arc<dyn AccountNumbers>,
    /// Figures.
    pub metrics: InventoryMetrics,
}

/// The task that writes reports.
#[derive(Debug)]
pub struct Inventories {
    storage: Storage,
    settings: InventorySettings,
}

impl Inventories {
    /// Starts the task.
    pub fn start(storage: Storage, settings: InventorySettings, tasks: &Tasks) {
        let inventories = Self { storage, settings };
        tasks.spawn("inventories", inventories.run(tasks.stop_signal()));
    }

    async fn run(self, mut stop: StopSignal) {
        loop {
            match self.look(&mut stop).await {
                Ok(true) if !stop.is_stopping() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "inventories wait: buckets cannot be read now"),
            }
            if !stop.sleep(self.settings.look).await {
                return;
            }
        }
    }

    /// Takes every report that is due a step further. Whether some have further to go.
    async fn look(&self, stop: &mut StopSignal) -> StorageResult<bool> {
        let mut running = 0;
        let mut after = String::new();
        loop {
            let buckets = self.storage.all_buckets(&after, PAGE).await?;
            let Some(last) = buckets.last() else { break };
            last.name.as_str().clone_into(&mut after);
            for bucket in &buckets {
                running += self.look_at(bucket, stop).await?;
                if stop.is_stopping() {
                    return Ok(false);
                }
            }
        }
        self.settings.metrics.running.set(running);
        Ok(running > 0)
    }

    /// As [`Inventories::look`], for one bucket: how many have further to go.
    async fn look_at(&self, bucket: &Arc<Bucket>, stop: &mut StopSignal) -> StorageResult<i64> {
        let mut running = 0;
        let mut after: Option<String> = None;
        loop {
            let page = self.storage.settings(bucket, SettingKind::Inventory, after.as_deref(), PAGE).await?;
            for (id, record) in &page.settings {
                match self.visit(bucket, id, record, stop).await {
                    Ok(Step::More) => running += 1,
                    Ok(Step::Done | Step::Stopped) => {}
                    Err(error) => {
                        let bucket = bucket.name.as_str();
                        tracing::warn!(bucket, id, %error, "an inventory report waits");
                    }
                }
                if stop.is_stopping() {
                    return Ok(running);
                }
            }
            after = page.settings.last().map(|(id, _)| id.clone());
            if !page.truncated {
                return Ok(running);
            }
        }
    }

    /// Takes the report of one configuration a step further, if it is due or under way.
    async fn visit(
        &self,
        bucket: &Arc<Bucket>,
        id: &str,
        record: &SettingRecord,
        stop: &mut StopSignal,
    ) -> StorageResult<Step> {
        let Some(configuration) = Configuration::read(record).filter(|configuration| configuration.enabled) else {
            return Ok(Step::Done);
        };
        let progress = self.storage.inventory_progress(bucket, id).await?;
        // A run for another document than today's is not what anybody wants any more.
        let under_way = progress.as_ref().and_then(|progress| progress.run.as_ref());
        let progress = match progress.clone() {
            Some(progress) if under_way.is_some_and(|run| run.config.as_ref() == Some(record)) => progress,
            known if under_way.is_some() || self.is_due(&configuration, known.as_ref()) => {
                match self.begin(bucket, id, record, known.as_ref()).await? {
                    Some(begun) => begun,
                    None => return Ok(Step::Done),
                }
            }
            _ => return Ok(Step::Done),
        };
        let report =
            Report { storage: &self.storage, settings: &self.settings, bucket, id, configuration: &configuration };
        report.step(&progress, stop).await
    }

    fn is_due(&self, configuration: &Configuration, progress: Option<&InventoryRecord>) -> bool {
        let Some(progress) = progress else { return true };
        let (last, now) = (Timestamp::from_millis(progress.begun_ms), self.storage.clock().now());
        match self.settings.period {
            Some(period) => now >= last.plus(period),
            None => configuration.frequency.is_due(last, now),
        }
    }

    /// Begins a report; `None` where somebody else did, or nobody wants it any more.
    async fn begin(
        &self,
        bucket: &Arc<Bucket>,
        id: &str,
        record: &SettingRecord,
        before: Option<&InventoryRecord>,
    ) -> Result<Option<InventoryRecord>, StorageError> {
        let run = InventoryRun {
            config: Some(record.clone()),
            id: self.storage.random::<16>().to_vec().into(),
            ..InventoryRun::default()
        };
        let begun = InventoryRecord { begun_ms: self.storage.clock().now().as_millis(), run: Some(run) };
        let is_begun = self.storage.advance_inventory(bucket, id, before, &begun).await?;
        if is_begun {
            tracing::info!(bucket = bucket.name.as_str(), id, "an inventory report begins");
        }
        Ok(is_begun.then_some(begun))
    }
}
