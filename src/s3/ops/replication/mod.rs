//! `GetBucketReplication`, `PutBucketReplication`, `DeleteBucketReplication`.
//!
//! This release keeps the configuration and checks it by every rule of S3; it does **not** carry it out: nothing is
//! copied. A later release does, from what is stored here.

pub(in crate::s3) mod document;
#[cfg(test)]
mod tests;

use http::Method;

use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Need, Operation, Pattern, Scope},
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        xml::read,
    },
    storage::{
        StorageError,
        records::{BucketRecord, Versioning},
    },
    types::BucketName,
};

/// Largest document: a thousand rules with prefixes and tags.
const DOCUMENT: usize = 4 << 20;

/// Returns the rules of a bucket.
#[derive(Debug)]
pub struct GetBucketReplication {
    name: BucketName,
}

/// Replaces the rules of a bucket.
#[derive(Debug)]
pub struct PutBucketReplication {
    name: BucketName,
}

/// Removes the rules of a bucket.
#[derive(Debug)]
pub struct DeleteBucketReplication {
    name: BucketName,
}

impl Operation for GetBucketReplication {
    const NAME: &'static str = "GetBucketReplication";
    const ACTION: &'static str = "bucketGetReplication";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["replication"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetReplicationConfiguration)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let record = bucket.record.replication.as_ref().ok_or(S3Code::ReplicationConfigurationNotFoundError)?;
        Ok(Document::new(document::write(record)))
    }
}

impl Operation for PutBucketReplication {
    const NAME: &'static str = "PutBucketReplication";
    const ACTION: &'static str = "bucketPutReplication";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["replication"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutReplicationConfiguration)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Required).await?;
        let locations = cx.storage.locations();
        let sites = &cx.settings.replication_sites;
        // Objects come to archives by transitions only.
        let is_site = |name: &str| match locations.get(name) {
            Some(location) => !location.is_cold,
            None => sites.iter().any(|site| site == name),
        };
        let record = document::parse(&read::read(&document)?, &is_site)?;
        let bucket = cx.bucket(&self.name).await?;
        let is_transient = locations.get(&bucket.record.location).is_some_and(|location| location.is_transient);
        if is_transient && bucket.versioning() == Versioning::Enabled && !document::has_preferred_read(&record) {
            let text = "Replication configuration lacks a preferred read location";
            return Err(S3Error::new(S3Code::ValidationError, text));
        }
        let change = |bucket: &mut BucketRecord| {
            if bucket.versioning() != Versioning::Enabled {
                return Err(StorageError::VersioningNotEnabled);
            }
            bucket.replication = Some(record.clone());
            Ok(())
        };
        cx.storage.try_update_bucket(&self.name, change).await?;
        Ok(Plain::ok())
    }
}

impl Operation for DeleteBucketReplication {
    const NAME: &'static str = "DeleteBucketReplication";
    const ACTION: &'static str = "bucketDeleteReplication";
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Bucket, &["replication"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutReplicationConfiguration)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        cx.storage.update_bucket(&self.name, |bucket| bucket.replication = None).await?;
        Ok(Plain::no_content())
    }
}
