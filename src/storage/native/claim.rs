//! Stores that can serve one bucket ([`crate::data::Capabilities::one_bucket`]): such a location belongs to the bucket that
//! uses it first, for as long as there is that bucket. Nobody reaches another account's objects by naming its location.
//!
//! | row | value |
//! |---|---|
//! | System, `claimed/` ‖ location | the bucket's id, 8 bytes; its name |

use std::{collections::HashMap, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use super::{Storage, StorageError, StorageResult, check_versionable};
use crate::{
    location::Location,
    metadata::{Batch, Condition, MetadataError, Namespace, Table},
    storage::Bucket,
    types::{BucketId, BucketName},
};

const SYSTEM: Namespace = Namespace::global(Table::System);
/// Attempts against others who claim the same location.
const ATTEMPTS: usize = 8;

/// Claims known to hold, by location.
#[derive(Debug, Default)]
pub(in crate::storage) struct Claims(Mutex<HashMap<Arc<str>, BucketId>>);

struct Claim {
    id: u64,
    name: BucketName,
}

impl Claim {
    fn to_bytes(bucket: &Bucket) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u64(bucket.id.get());
        out.put_slice(bucket.name.as_str().as_bytes());
        out.freeze()
    }

    fn read(stored: &[u8]) -> StorageResult<Self> {
        const BROKEN: StorageError = StorageError::Broken("a claim is a bucket's id and name");
        let (id, name) = stored.split_first_chunk().ok_or(BROKEN)?;
        let name = std::str::from_utf8(name).ok().and_then(|name| BucketName::new(name).ok()).ok_or(BROKEN)?;
        Ok(Self { id: u64::from_be_bytes(*id), name })
    }
}

fn row(location: &Location) -> Bytes {
    Bytes::from(format!("claimed/{}", location.name))
}

impl Storage {
    /// Refuses what the store of a location cannot take from a bucket: versions where it keeps none, and anything where
    /// it serves another bucket.
    pub(in crate::storage) async fn check_fits(&self, bucket: &Bucket, location: &Location) -> StorageResult<()> {
        check_versionable(bucket, location)?;
        self.claim(bucket, location).await
    }

    /// Makes a location that can serve one bucket the bucket's own, unless it is.
    ///
    /// # Errors
    /// [`StorageError::LocationTaken`] where it is another's.
    pub async fn claim(&self, bucket: &Bucket, location: &Location) -> StorageResult<()> {
        let known = || self.inner.claims.0.lock().get(&location.name) == Some(&bucket.id);
        if !location.backend.capabilities().one_bucket || known() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let stored = self.inner.metadata.get(SYSTEM, &row(location)).await?;
            let mut batch = Batch::new();
            match stored {
                None => {
                    batch.require(SYSTEM, row(location), Condition::Absent);
                }
                Some(stored) => {
                    let claim = Claim::read(&stored)?;
                    if claim.id != bucket.id.get() && self.lives(&claim).await? {
                        return Err(StorageError::LocationTaken((*location.name).to_owned()));
                    }
                    batch.require(SYSTEM, row(location), Condition::Equals(stored));
                }
            }
            batch.put(SYSTEM, row(location), Claim::to_bytes(bucket));
            match self.inner.metadata.commit(batch).await {
                Ok(()) => {
                    self.inner.claims.0.lock().insert(Arc::clone(&location.name), bucket.id);
                    return Ok(());
                }
                Err(MetadataError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StorageError::Contention)
    }

    /// Refuses a location that can serve one bucket, and serves one of another name.
    ///
    /// # Errors
    /// [`StorageError::LocationTaken`].
    pub async fn check_unclaimed(&self, name: &BucketName, location: &Location) -> StorageResult<()> {
        if !location.backend.capabilities().one_bucket {
            return Ok(());
        }
        let Some(stored) = self.inner.metadata.get(SYSTEM, &row(location)).await? else { return Ok(()) };
        let claim = Claim::read(&stored)?;
        if claim.name != *name && self.lives(&claim).await? {
            return Err(StorageError::LocationTaken((*location.name).to_owned()));
        }
        Ok(())
    }

    async fn lives(&self, claim: &Claim) -> StorageResult<bool> {
        match self.bucket(&claim.name).await {
            Ok(bucket) => Ok(bucket.id.get() == claim.id),
            Err(StorageError::NoSuchBucket) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
