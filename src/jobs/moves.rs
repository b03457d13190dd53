//! Moving a bucket's objects from one location to another.
//!
//! | phase | what |
//! |---|---|
//! | 0, 1 | move the newest versions, then the older ones |
//! | 2 | a store that is left keeps no delete markers of its own |
//! | 3, 4 | look whether any is left |
//!
//! A dry run has the last two only. Where versions are left that were there before, or that could not be moved, it is
//! begun anew, some times.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{JobError, JobKind};
use crate::{
    storage::{
        Bucket, Relocation, Storage, StorageResult, Sweep,
        records::{JobRecord, JobState},
    },
    types::Timestamp,
};

/// Rounds of moving and looking.
const ROUNDS: u32 = 3;
/// The first phase that only looks.
const LOOKING: u32 = 3;
/// The last phase.
const LAST: u32 = 4;
/// Open uploads named.
const UPLOADS: usize = 20;

/// Moves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moves;

impl JobKind for Moves {
    fn name(&self) -> &'static str {
        "move"
    }

    fn begin<'a>(
        &'a self,
        storage: &'a Storage,
        bucket: &'a Arc<Bucket>,
        job: JobRecord,
    ) -> BoxFuture<'a, Result<JobRecord, JobError>> {
        Box::pin(async move {
            check(storage, &job)?;
            if let Some(to) = storage.locations().get(&job.to) {
                storage.claim(bucket, to).await?;
            }
            let usage = storage.usage(bucket).await?;
            if job.and_new_writes && !job.dry_run {
                let to = job.to.clone();
                storage.update_bucket(&bucket.name, move |record| record.location.clone_from(&to)).await?;
            }
            let phase = if job.dry_run { LOOKING } else { 0 };
            Ok(JobRecord { expected: u64::try_from(usage.versions).unwrap_or_default(), phase, ..job })
        })
    }

    fn step<'a>(
        &'a self,
        storage: &'a Storage,
        bucket: &'a Arc<Bucket>,
        job: JobRecord,
    ) -> BoxFuture<'a, StorageResult<JobRecord>> {
        Box::pin(step(storage, bucket, job))
    }
}

fn check(storage: &Storage, job: &JobRecord) -> Result<(), JobError> {
    let refuse = |why: String| Err(JobError::Refused(why));
    if job.from == job.to {
        return refuse("`from` and `to` must be two locations".to_owned());
    }
    let table = storage.locations();
    for name in [&job.from, &job.to] {
        match table.get(name) {
            None => return refuse(format!("location {name:?} is not configured")),
            Some(location) if location.is_cold => {
                return refuse(format!(
                    "location {name:?} is an archive: its objects are moved by lifecycle rules only"
                ));
            }
            Some(_) => {}
        }
    }
    if job.and_new_writes && !job.prefix.is_empty() {
        return refuse("`andNewWrites` concerns the whole bucket: it goes without `prefix`".to_owned());
    }
    Ok(())
}

async fn step(storage: &Storage, bucket: &Arc<Bucket>, mut job: JobRecord) -> StorageResult<JobRecord> {
    let is_looking = job.phase >= LOOKING;
    let relocation =
        Relocation { prefix: job.prefix.clone(), from: job.from.clone(), to: job.to.clone(), dry_run: is_looking };
    let sweep = match job.phase {
        0 | LOOKING => Sweep::Current,
        2 => Sweep::Markers,
        _ => Sweep::Versions,
    };
    if sweep == Sweep::Markers && !storage.has_far_markers(bucket, &job.from) {
        turn_over(storage, bucket, &mut job).await?;
        return Ok(job);
    }
    let since = Timestamp::from_millis(job.created_ms);
    let page = storage.sweep(bucket, &relocation, (sweep, job.position.clone()), since).await?;
    if is_looking {
        job.left += page.moved - page.recent;
        if job.dry_run {
            job.done += page.moved;
            job.bytes += page.bytes;
            job.examined += page.examined;
        } else {
            job.skipped += page.recent;
        }
    } else {
        job.examined += page.examined;
        job.done += page.moved;
        job.bytes += page.bytes;
        job.failed += page.failed.len() as u64;
        page.failed.into_iter().for_each(|failure| job.note(failure));
    }
    match page.next {
        Some(next) => job.position = next,
        None => turn_over(storage, bucket, &mut job).await?,
    }
    Ok(job)
}

/// A phase has come to its end.
async fn turn_over(storage: &Storage, bucket: &Arc<Bucket>, job: &mut JobRecord) -> StorageResult<()> {
    job.position.clear();
    if job.phase + 1 == LOOKING {
        (job.left, job.skipped) = (0, 0);
    }
    if job.phase < LAST {
        job.phase += 1;
        return Ok(());
    }
    if job.left > 0 && !job.dry_run && job.round + 1 < ROUNDS {
        job.round += 1;
        job.phase = 0;
        (job.failed, job.examined) = (0, 0);
        job.notes.clear();
        return Ok(());
    }
    if !job.dry_run {
        for upload in storage.uploads_in(bucket, &job.prefix, UPLOADS).await? {
            job.note(format!("{upload}: an open upload stays where it was begun"));
        }
    }
    if job.left > 0 && !job.dry_run {
        job.message = format!("{} versions are left in {}; see the notes, then ask again", job.left, job.from);
        job.set_state(JobState::Failed);
    } else {
        job.set_state(JobState::Done);
    }
    Ok(())
}
