//! `GetBucketReplication`, `PutBucketReplication`, `DeleteBucketReplication`.
//!
//! This release keeps the configuration and checks it by every rule of S3; it does **not** carry it out: nothing is
//! copied. A later release does, from what is stored here.

pub(in crate::s3) mod document;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::setting::{DeleteSetting, GetSetting, PutSetting, Removable, Settable, Setting, Verb};
use crate::{
    auth::Action,
    location::LocationTable,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        reply::Document,
        request_body::Digest,
        xml::read,
    },
    storage::{
        Bucket, StorageError,
        records::{BucketRecord, ReplicationRecord, Versioning},
    },
};

/// The replication rules of a bucket.
#[derive(Debug)]
pub struct Replication;

/// Returns the rules of a bucket.
pub type GetBucketReplication = GetSetting<Replication>;
/// Replaces the rules of a bucket.
pub type PutBucketReplication = PutSetting<Replication>;
/// Removes the rules of a bucket.
pub type DeleteBucketReplication = DeleteSetting<Replication>;

impl Setting for Replication {
    const QUERY: &'static [&'static str] = &["replication"];
    const GET: Verb = Verb::new("GetBucketReplication", "bucketGetReplication", Action::GetReplicationConfiguration);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let record = bucket.record.replication.as_ref().ok_or(S3Code::ReplicationConfigurationNotFoundError)?;
        Ok(Document::new(document::write(record)))
    }
}

impl Settable for Replication {
    const PUT: Verb = Verb::new("PutBucketReplication", "bucketPutReplication", Action::PutReplicationConfiguration);
    /// A thousand rules with prefixes and tags.
    const LARGEST: usize = 4 << 20;
    const DIGEST: Digest = Digest::Required;
    /// With the locations by which they were read.
    type Value = (ReplicationRecord, Arc<LocationTable>);

    fn read(document: &[u8], cx: &Context) -> S3Result<Self::Value> {
        let locations = cx.storage.locations();
        let sites = &cx.settings.replication_sites;
        // Objects come to archives by transitions only.
        let is_site = |name: &str| match locations.get(name) {
            Some(location) => !location.is_cold,
            None => sites.iter().any(|site| site == name),
        };
        let rules = document::parse(&read::read(document)?, &is_site)?;
        Ok((rules, locations))
    }

    fn set((rules, locations): &Self::Value, record: &mut BucketRecord) -> S3Result<()> {
        if record.versioning() != Versioning::Enabled {
            return Err(StorageError::VersioningNotEnabled.into());
        }
        let is_transient = locations.get(&record.location).is_some_and(|location| location.is_transient);
        if is_transient && !document::has_preferred_read(rules) {
            let text = "Replication configuration lacks a preferred read location";
            return Err(S3Error::new(S3Code::ValidationError, text));
        }
        record.replication = Some(rules.clone());
        Ok(())
    }
}

impl Removable for Replication {
    const DELETE: Verb =
        Verb::new("DeleteBucketReplication", "bucketDeleteReplication", Action::PutReplicationConfiguration);

    fn clear(record: &mut BucketRecord) {
        record.replication = None;
    }
}
