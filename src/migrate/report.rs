//! What a migration did.

use serde::{Deserialize, Serialize};

/// Problems told in full; all are counted.
const TOLD: usize = 10_000;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sums {
    /// Keys looked at.
    pub keys: u64,
    /// Versions copied.
    pub versions: u64,
    /// Delete markers set.
    pub markers: u64,
    /// Bytes copied.
    pub bytes: u64,
    /// Versions that the target had already.
    pub present: u64,
}

impl Sums {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        self.versions += other.versions;
        self.markers += other.markers;
        self.bytes += other.bytes;
        self.present += other.present;
    }
}

/// Something that is not as at the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The key; empty for the bucket itself.
    pub key: String,
    /// The version at the source; empty for all of the key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// What, and what to do.
    pub problem: String,
}

/// What became of a bucket.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketReport {
    /// Its name at the source.
    pub from: String,
    /// Its name at the target.
    pub to: String,
    /// What was copied, by earlier runs, too.
    #[serde(flatten)]
    pub sums: Sums,
    /// Settings that were copied.
    pub settings: Vec<String>,
    /// Keys that could not be copied.
    pub failed: u64,
    /// What could not be copied, the first of it.
    pub failures: Vec<Problem>,
    /// What is not as at the source though the bytes are, the first of it.
    pub notes: Vec<Problem>,
    /// Notes in all.
    pub noted: u64,
    /// Differences that verification found; absent where nothing was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<u64>,
    /// Versions that verification compared.
    pub verified: u64,
}

/// What a migration did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// By bucket.
    pub buckets: Vec<BucketReport>,
}

impl BucketReport {
    pub(super) fn fail(&mut self, problem: Problem) {
        self.failed += 1;
        if self.failures.len() < TOLD {
            self.failures.push(problem);
        }
    }

    pub(super) fn note(&mut self, problem: Problem) {
        self.noted += 1;
        if self.notes.len() < TOLD {
            self.notes.push(problem);
        }
    }
}

impl Report {
    /// Whether all is at the target as it is at the source, as far as was looked.
    pub fn is_complete(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.failed == 0 && bucket.differences.unwrap_or(0) == 0)
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}
