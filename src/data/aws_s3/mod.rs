//! Objects in a bucket of another S3 store, each under its own name (location types `aws_s3` and `gcp`).
//!
//! | far bucket | how bytes are staged | what a blob's name has |
//! |---|---|---|
//! | keeps versions | small: held; to 5 GiB: written as a version; more: an upload in parts | the version |
//! | keeps none | small: held; else an upload in parts, invisible until it is completed | the id of its write, which the object carries as metadata `cloudserver-write` |
//! | Google | as without versions | the generation |
//!
//! No body is held but small ones (256 KiB). What was sent is compared with the entity tag that the far side gives it;
//! where that is none of the bytes (encryption with keys of its own), with its checksum or length. A body that breaks
//! breaks its request. An answer that was lost is looked for: by the id of the write.

mod check;
mod names;
mod native;
mod read;
mod stage;
#[cfg(test)]
mod tests;
mod undo;

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, header};
use tokio::sync::{Mutex, MutexGuard};

use self::names::{FarBlob, OWN_PREFIX};
use super::{BlobId, Capabilities, DataBackend, DataError, DiskUsage, NativeStore, PartsFault, PutHint, Written};
use crate::{
    s3client::{Flavor, S3Client, S3ClientError, Stored, text_of},
    tasks::Tasks,
    types::{BodyError, ByteStream},
};

/// The text of the original where a far bucket that must keep versions does not.
pub const NO_VERSIONS: &str =
    "Invalid state. Please ensure versioning is enabled in AWS for the location constraint and try again.";
/// Metadata that names the write an object came from.
const WRITE: &str = "cloudserver-write";
/// Locks that names share.
const LOCKS: usize = 1024;
/// Versions of one key that are looked at for a lost write.
const LOOKED_AT: usize = 50;

/// What a location's details say of its far bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsS3Options {
    /// `bucketName`.
    pub bucket: String,
    /// `bucketMatch`: keys are the same there; otherwise they stand below the name of our bucket.
    pub bucket_match: bool,
    /// `supportsVersioning`: the far bucket keeps versions, and must.
    pub versioned: bool,
    /// `serverSideEncryption`: ask the far side to encrypt with keys of its own (`AES256`).
    pub server_side_encryption: bool,
}

/// A bucket of another store.
#[derive(Clone)]
pub struct AwsS3Backend {
    far: Arc<Far>,
}

struct Far {
    client: S3Client,
    options: AwsS3Options,
    /// The far bucket was seen to keep versions.
    keeps_versions: AtomicBool,
    locks: Vec<Mutex<()>>,
    tasks: Tasks,
}

impl fmt::Debug for AwsS3Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsS3Backend").field("client", &self.far.client).field("options", &self.far.options).finish()
    }
}

impl AwsS3Backend {
    /// Makes ready to ask; nothing is sent yet.
    pub fn new(client: S3Client, options: AwsS3Options) -> Self {
        let locks = (0..LOCKS).map(|_| Mutex::new(())).collect();
        let far = Far { client, options, keeps_versions: AtomicBool::new(false), locks, tasks: Tasks::default() };
        Self { far: Arc::new(far) }
    }
}

impl Far {
    fn bucket(&self) -> &str {
        &self.options.bucket
    }

    fn is_gcs(&self) -> bool {
        self.client.endpoint().flavor == Flavor::Gcs
    }

    /// Whether each write is a version, next to those before it.
    fn keeps_versions(&self) -> bool {
        self.options.versioned && !self.is_gcs()
    }

    fn native_key(&self, bucket: &str, key: &str) -> String {
        if self.options.bucket_match { key.to_owned() } else { format!("{bucket}/{key}") }
    }

    /// Only one at a time may look at a name and then change what is there.
    async fn lock(&self, key: &str) -> Option<MutexGuard<'_, ()>> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let index = usize::try_from(hash % LOCKS as u64).unwrap_or(0);
        match self.locks.get(index) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }

    /// Refuses to write into a bucket without versions as if it kept them: that would lose what is there.
    async fn ensure_versions(&self) -> Result<(), DataError> {
        if self.keeps_versions.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.client.bucket_versioning(self.bucket()).await {
            Ok(Some(status)) if status == "Enabled" => {}
            Ok(_) => return Err(no_versions()),
            // Who may write need not be allowed to ask: then each answer's version id tells.
            Err(error) if matches!(error.status(), Some(401 | 403 | 405 | 501)) => {}
            Err(error) => return Err(self.fault(&error)),
        }
        self.keeps_versions.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// An error where nothing of its own is said about a blob.
    fn fault(&self, error: &S3ClientError) -> DataError {
        match error {
            _ if error.body().is_some() => DataError::Body(error.body().cloned().unwrap_or(BodyError::Disconnected)),
            S3ClientError::Refused(refusal)
                if refusal.status.as_u16() == 507 || refusal.code == "XMinioStorageFull" =>
            {
                DataError::NoSpace
            }
            S3ClientError::Refused(refusal) if matches!(refusal.code.as_str(), "InvalidPart" | "InvalidPartOrder") => {
                DataError::Parts(PartsFault::Missing)
            }
            // Some take less than the 1,024 bytes that are looked at here.
            S3ClientError::Refused(refusal) if refusal.code == "KeyTooLongError" => {
                DataError::NameTooLong(refusal.message.clone())
            }
            S3ClientError::Refused(refusal) if refusal.code == "EntityTooSmall" => {
                DataError::Parts(PartsFault::TooSmall)
            }
            _ => DataError::Unavailable(format!("{} of {}: {error}", self.bucket(), self.client.endpoint().authority)),
        }
    }

    /// An error of a request about a blob.
    fn fault_of(&self, blob: &BlobId, error: &S3ClientError) -> DataError {
        // Another object has its place.
        if error.is_missing() || error.status() == Some(412) {
            return DataError::NotFound(blob.clone());
        }
        self.fault(error)
    }

    /// The object that a write has left, wherever among the versions of its key.
    async fn locate(&self, key: &str, write: &str) -> Result<Option<Stored>, S3ClientError> {
        match self.client.head_object(self.bucket(), key, None).await {
            Ok(stored) if write_of(&stored.headers) == Some(write) => return Ok(Some(stored)),
            Ok(_) => {}
            Err(error) if error.is_missing() => {
                if !self.keeps_versions() {
                    // A bucket that is not there answers in the same way, and says nothing of what is in it.
                    self.client.head_bucket(self.bucket()).await?;
                }
            }
            Err(error) => return Err(error),
        }
        if !self.keeps_versions() {
            return Ok(None);
        }
        let page = self.client.list_versions(self.bucket(), key, (None, None), LOOKED_AT).await?;
        for entry in page.versions.iter().filter(|entry| entry.object.key == key && !entry.marker) {
            match self.client.head_object(self.bucket(), key, Some(&entry.version)).await {
                Ok(stored) if write_of(&stored.headers) == Some(write) => return Ok(Some(stored)),
                Ok(_) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Removes the object that a write has left, if it has.
    async fn forget(&self, key: &str, write: &str) -> Result<(), S3ClientError> {
        let _guard = self.lock(key).await;
        let Some(stored) = self.locate(key, write).await? else { return Ok(()) };
        let version = stored.version.filter(|_| self.keeps_versions() || self.is_gcs());
        self.client.delete_object(self.bucket(), key, version.as_deref()).await.map(drop)
    }

    async fn delete(&self, blob: &BlobId) -> Result<(), DataError> {
        let name = FarBlob::parse(blob)?;
        if let Some(version) = &name.version {
            let gone = self.client.delete_object(self.bucket(), &name.key, Some(version)).await;
            return gone.map(drop).map_err(|error| self.fault(&error));
        }
        self.forget(&name.key, &name.write).await.map_err(|error| self.fault(&error))
    }

    async fn probe(&self) -> Result<(), DataError> {
        self.client.head_bucket(self.bucket()).await.map_err(|error| self.fault(&error))?;
        if !self.keeps_versions() {
            return Ok(());
        }
        let status = self.client.bucket_versioning(self.bucket()).await.map_err(|error| self.fault(&error))?;
        let enabled = status.as_deref() == Some("Enabled");
        self.keeps_versions.store(enabled, Ordering::Relaxed);
        if enabled { Ok(()) } else { Err(DataError::Unavailable("Versioning must be enabled".to_owned())) }
    }

    /// Blobs that were written without a name of a user's.
    async fn list(&self, after: Option<&BlobId>, limit: usize) -> Result<Vec<BlobId>, DataError> {
        let mut after = after.map(FarBlob::parse).transpose()?.map(|name| name.key);
        let mut found = Vec::new();
        while found.len() < limit {
            let (page, next) = self.page(after.as_deref(), limit - found.len()).await?;
            found.extend(page);
            match next {
                Some(next) if Some(&next) != after.as_ref() => after = Some(next),
                _ => break,
            }
        }
        Ok(found)
    }

    /// A page of names behind a key, and the key that the next is behind.
    async fn page(&self, after: Option<&str>, limit: usize) -> Result<(Vec<BlobId>, Option<String>), DataError> {
        if self.keeps_versions() {
            let page = self.client.list_versions(self.bucket(), OWN_PREFIX, (after, None), limit).await;
            let page = page.map_err(|error| self.fault(&error))?;
            let names = page.versions.iter().filter(|entry| !entry.marker);
            let names = names.filter_map(|entry| FarBlob::own(&entry.object, Some(&entry.version)));
            return Ok((names.map(|name| name.id()).collect(), page.next.map(|(key, _)| key)));
        }
        let page = self.client.list_objects(self.bucket(), OWN_PREFIX, (after, None), limit).await;
        let page = page.map_err(|error| self.fault(&error))?;
        let names = page.objects.iter().filter_map(|entry| FarBlob::own(entry, entry.generation.as_deref()));
        let last = page.next.and(page.objects.last()).map(|entry| entry.key.clone());
        Ok((names.map(|name| name.id()).collect(), last))
    }
}

/// The write that an object came from.
fn write_of(headers: &HeaderMap) -> Option<&str> {
    text_of(headers, "x-amz-meta-cloudserver-write").or_else(|| text_of(headers, "x-goog-meta-cloudserver-write"))
}

/// Bytes of what is stored. Where Google's store would send another encoding of them, it tells their number so.
fn size_of(headers: &HeaderMap) -> Option<u64> {
    let length = text_of(headers, header::CONTENT_LENGTH.as_str());
    length.or_else(|| text_of(headers, "x-goog-stored-content-length"))?.parse().ok()
}

fn no_versions() -> DataError {
    DataError::Io(std::io::Error::other(NO_VERSIONS))
}

/// A pause before the `attempt`-th look at what may still be going on there.
fn pause(attempt: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(1 << attempt.min(5))
}

impl DataBackend for AwsS3Backend {
    /// The far side has its part in a blob's name, so there is none before it was written.
    fn reserve(&self) -> Option<BlobId> {
        None
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        stage::put_own(&self.far, body, hint).boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        read::get(&self.far, blob, range).boxed()
    }

    fn size<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        read::size(&self.far, blob).boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.far.delete(blob).boxed()
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.far.list(after, limit).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        self.far.probe().boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        futures_util::future::ready(Ok(None)).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            verified_reads: false,
            listing: true,
            versioned_buckets: self.far.keeps_versions(),
            one_bucket: self.far.options.bucket_match && !self.far.keeps_versions(),
        }
    }

    fn native(&self) -> Option<&dyn NativeStore> {
        Some(self)
    }
}
