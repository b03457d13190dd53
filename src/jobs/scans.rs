//! Taking up what others put into a location, changed there, or removed.
//!
//! | phase | what |
//! |---|---|
//! | 0 | walk through the store: new and changed bytes become objects |
//! | 1 | go through the bucket's objects: those whose bytes are gone are given up |
//!
//! The walk is kept in memory only. After a restart it begins anew, which finds everything done that was done.

use std::{collections::HashMap, fmt, sync::Arc};

use futures_util::{StreamExt, future::BoxFuture, stream, stream::BoxStream};
use tokio::sync::Mutex;

use super::{JobError, JobKind};
use crate::{
    data::{DataError, Found},
    location::Location,
    storage::{
        Adoption, Bucket, FoundBytes, Storage, StorageError, StorageResult,
        records::{JobRecord, JobState},
    },
    types::ObjectKey,
};

/// Things found that one step deals with.
const STEP: usize = 64;
/// At a time.
const CONCURRENCY: usize = 4;

/// Scans.
#[derive(Default)]
pub struct Scans {
    /// Walks under way, by the ids of their jobs.
    walks: Mutex<HashMap<String, Walk>>,
}

impl fmt::Debug for Scans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scans").finish_non_exhaustive()
    }
}

struct Walk {
    found: BoxStream<'static, Result<Found, DataError>>,
    /// Taken from the walk and not dealt with yet: a step may be dropped.
    batch: Vec<Found>,
}

impl JobKind for Scans {
    fn name(&self) -> &'static str {
        "scan"
    }

    fn begin<'a>(
        &'a self,
        storage: &'a Storage,
        bucket: &'a Arc<Bucket>,
        job: JobRecord,
    ) -> BoxFuture<'a, Result<JobRecord, JobError>> {
        Box::pin(async move {
            let location = check(storage, &job)?;
            storage.claim(bucket, &location).await?;
            let store = location.backend.browse().ok_or(StorageError::Broken("the location was checked"))?;
            let identity = store.identity().await.map_err(StorageError::from)?;
            if !storage.is_same_store(&job.from, &identity).await? {
                return Err(JobError::Refused(format!(
                    "location {:?} is another folder than at the last scan: is its file system mounted?",
                    job.from
                )));
            }
            let usage = storage.usage(bucket).await?;
            Ok(JobRecord { expected: u64::try_from(usage.objects).unwrap_or_default(), ..job })
        })
    }

    fn step<'a>(
        &'a self,
        storage: &'a Storage,
        bucket: &'a Arc<Bucket>,
        job: JobRecord,
    ) -> BoxFuture<'a, StorageResult<JobRecord>> {
        Box::pin(self.take_further(storage, bucket, job))
    }
}

fn check(storage: &Storage, job: &JobRecord) -> Result<Arc<Location>, JobError> {
    let refuse = |why: String| Err(JobError::Refused(why));
    if !job.to.is_empty() || job.and_new_writes {
        return refuse("a scan has `from`, the location, and may have `prefix` and `dryRun`".to_owned());
    }
    match storage.locations().get(&job.from) {
        None => refuse(format!("location {:?} is not configured", job.from)),
        Some(location) if location.backend.browse().is_none() => {
            refuse(format!("nobody but this server puts objects into location {:?}: only posix is scanned", job.from))
        }
        Some(location) => Ok(Arc::clone(location)),
    }
}

/// What a scan that finds nothing is refused with.
const NOTHING_THERE: &str = "no file at all is there, but objects are known: is the file system mounted? Nothing was \
                             removed; delete the objects by S3 if the files are gone on purpose";

impl Scans {
    async fn take_further(
        &self,
        storage: &Storage,
        bucket: &Arc<Bucket>,
        mut job: JobRecord,
    ) -> StorageResult<JobRecord> {
        let location = match check(storage, &job) {
            Ok(location) => location,
            Err(error) => {
                job.message = error.to_string();
                job.set_state(JobState::Failed);
                return Ok(job);
            }
        };
        // What was read of another folder says nothing of this one: the job waits until the right one is back.
        if let Err(error) = storage.check_same_store(&location).await {
            self.walks.lock().await.remove(&job.id);
            return Err(error);
        }
        if job.phase == 0 {
            return self.walk(storage, (bucket, &location), job).await;
        }
        let page = storage.give_up_missing(bucket, &location, (&job.prefix, job.position.clone()), job.dry_run).await?;
        job.removed += page.removed;
        job.done += page.removed;
        job.failed += page.failed.len() as u64;
        page.failed.into_iter().for_each(|failure| job.note(failure));
        match page.next {
            Some(next) => job.position = next,
            None => job.set_state(JobState::Done),
        }
        Ok(job)
    }

    async fn walk(
        &self,
        storage: &Storage,
        (bucket, location): (&Arc<Bucket>, &Arc<Location>),
        mut job: JobRecord,
    ) -> StorageResult<JobRecord> {
        let mut walks = self.walks.lock().await;
        if !walks.contains_key(&job.id) {
            // Of jobs that were cancelled nobody tells us.
            let running = storage.jobs("scan").await?;
            walks.retain(|id, _| running.iter().any(|job| job.id == *id && job.state() == JobState::Running));
            let store = location.backend.browse().ok_or(StorageError::Broken("the location was checked"))?;
            // Fused: the last step may be done twice, and then asks once more.
            let walk = Walk { found: store.walk(bucket.name.as_str()).fuse().boxed(), batch: Vec::new() };
            walks.insert(job.id.clone(), walk);
            let JobRecord { id, kind, account, bucket, bucket_id, prefix, from, dry_run, expected, created_ms, .. } =
                job;
            let fresh =
                JobRecord { id, kind, account, bucket, bucket_id, prefix, from, dry_run, ..JobRecord::default() };
            job = JobRecord { expected, created_ms, ..fresh };
        }
        let Some(walk) = walks.get_mut(&job.id) else { return Err(StorageError::Broken("a walk was begun")) };
        let mut over = false;
        while walk.batch.len() < STEP {
            match walk.found.next().await.transpose() {
                Ok(Some(found)) => walk.batch.push(found),
                Ok(None) => {
                    over = true;
                    break;
                }
                Err(error) => {
                    // Begun anew the next time.
                    walks.remove(&job.id);
                    return Err(error.into());
                }
            }
        }
        let batch = walk.batch.clone();
        let fates = stream::iter(batch).map(|found| deal_with(storage, (bucket, location), found, &job));
        let fates: Vec<_> = fates.buffer_unordered(CONCURRENCY).collect().await;
        let mut next = job.clone();
        for fate in fates {
            count(&mut next, fate)?;
        }
        walk.batch.clear();
        if over {
            walks.remove(&next.id);
            next.phase = 1;
            if next.examined == 0 && next.expected > 0 {
                // The first scan of a location knows no identity that an empty mount point could lack.
                next.message.push_str(NOTHING_THERE);
                next.set_state(JobState::Failed);
            }
        }
        Ok(next)
    }
}

/// What became of something found.
enum Fate {
    /// Not below the prefix.
    NotMeant,
    Skipped(String),
    Adopted(Adoption, u64),
    Failed(String, StorageError),
}

async fn deal_with(
    storage: &Storage,
    (bucket, location): (&Arc<Bucket>, &Arc<Location>),
    found: Found,
    job: &JobRecord,
) -> Fate {
    let (key, blob, size, modified) = match found {
        Found::Skipped { name, why } => return Fate::Skipped(format!("{name}: {why}")),
        Found::Object { key, blob, size, modified } => (key, blob, size, modified),
    };
    if !key.starts_with(&job.prefix) {
        return Fate::NotMeant;
    }
    let key = match ObjectKey::new(&key) {
        Ok(key) => key,
        Err(error) => return Fate::Skipped(format!("{key}: {error}: rename it")),
    };
    let found = FoundBytes { key, blob, size, modified };
    match storage.adopt(bucket, location, &found, job.dry_run).await {
        Ok(adoption) => Fate::Adopted(adoption, size),
        Err(error) => Fate::Failed(found.key.as_str().to_owned(), error),
    }
}

fn count(job: &mut JobRecord, fate: Fate) -> StorageResult<()> {
    match fate {
        Fate::NotMeant => {}
        Fate::Skipped(note) => {
            job.skipped += 1;
            job.note(note);
        }
        Fate::Adopted(adoption, size) => {
            job.examined += 1;
            let (added, updated) = (adoption == Adoption::Added, adoption == Adoption::Updated);
            job.added += u64::from(added);
            job.updated += u64::from(updated);
            job.left += u64::from(adoption == Adoption::Changing);
            if added || updated {
                job.done += 1;
                job.bytes += size;
            }
        }
        // These concern all alike.
        Fate::Failed(_, error @ (StorageError::Metadata(_) | StorageError::NoSuchBucket)) => return Err(error),
        Fate::Failed(key, error) => {
            job.examined += 1;
            job.failed += 1;
            job.note(format!("{key}: {error}"));
        }
    }
    Ok(())
}
