//! Copies buckets from one S3 store to another, whatever makes them (`cloudserver migrate`).
//!
//! | what | how |
//! |---|---|
//! | order | bucket by bucket; a key's versions oldest first, so that they stand in the same order at the target |
//! | memory | a page of the listing and a bounded piece for each worker; bodies stream |
//! | resume | [`journal`]: a checkpoint behind which all is done, and what is done beyond it |
//! | a lost answer | what the target has of the key is read again, and only what is missing is written |
//! | objects in parts | with the same parts, so that their entity tags are the same |
//! | what cannot be copied | named in the [`Report`], and tried again by the next run |
//!
//! The target decides version ids and, unless it takes dates ([`Options::keep_dates`]), dates. A key that somebody wrote
//! at the target after the source's last write is left alone.

mod acl;
mod bucket;
mod copy;
mod engine;
mod headers;
pub mod journal;
mod key;
mod listing;
mod parts;
mod progress;
mod report;
mod uploads;
mod verify;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use thiserror::Error;

pub use engine::run;
pub use journal::JournalError;
pub use progress::{Progress, Snapshot};
pub use report::{BucketReport, Problem, Report};

use crate::s3client::{S3Client, S3ClientError};

/// A bucket and what it is called at the target.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pairing {
    /// Its name at the source.
    pub from: String,
    /// Its name at the target.
    pub to: String,
}

/// How the copy is compared with what was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Not beyond what copying itself checks.
    #[default]
    No,
    /// Keys, order of versions, sizes and entity tags of both listings.
    Listing,
    /// Every byte, besides.
    Bytes,
}

/// What is to be copied, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where from.
    pub from: S3Client,
    /// Where to.
    pub to: S3Client,
    /// Which buckets; none for all that the source lists.
    pub buckets: Vec<Pairing>,
    /// Keys begin with this.
    pub prefix: String,
    /// Keys copied at a time.
    pub workers: usize,
    /// The journal.
    pub state: PathBuf,
    /// What is compared afterwards.
    pub verify: Verify,
    /// Whether nothing is copied, only compared.
    pub verify_only: bool,
    /// Canonical ids of accounts at the source, and who they are at the target.
    pub accounts: BTreeMap<String, String>,
    /// Whether lists of access are copied.
    pub acls: bool,
    /// Whether the target is asked to keep dates (`cloudserver.migration.keepDates`).
    pub keep_dates: bool,
    /// Where the target makes buckets; its default where it is none.
    pub location: Option<String>,
}

/// Why a run could not begin or go on.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The source does not answer as it must.
    #[error("the source: {0}. Check --from, its keys and that it is up, then run the same command again")]
    Source(S3ClientError),
    /// The target does not answer as it must.
    #[error("the target: {0}. Check --to, its keys and that it is up, then run the same command again")]
    Target(S3ClientError),
    /// A bucket at the target is somebody else's.
    #[error("bucket {0} is taken at the target by another account: choose another name with --bucket {0}=NAME")]
    Taken(String),
    /// Nothing goes through: a full disk, or a store that answers everything with an error.
    #[error(
        "{keys} keys in a row could not be copied though both stores are up, the last one because it {why}. Mend that, then run the same command again"
    )]
    Stuck {
        /// How many.
        keys: u32,
        /// What was said of the last one.
        why: String,
    },
    /// There is nothing to do.
    #[error("the source has no bucket named {0}: `--bucket` names one that is there")]
    NoBucket(String),
}

/// What workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) journal: journal::Journal,
    pub(crate) progress: Arc<Progress>,
}
