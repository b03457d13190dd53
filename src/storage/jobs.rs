//! The records of long jobs, in the table of the system: `move/…`, `scan/…`.
//!
//! A job's record is changed only in place of the very one that was read: whoever cancels and whoever works never undo
//! each other.

use bytes::Bytes;

use super::{
    Storage, StorageResult, keys,
    records::{JobRecord, JobState, Record},
};
use crate::metadata::{Batch, Condition, Direction, MetadataError, Namespace, Table};

/// Jobs read at a time, and finished ones kept of a kind.
const PAGE: usize = 256;

const SYSTEM: Namespace = Namespace::global(Table::System);

fn row(kind: &str, id: &str) -> Bytes {
    Bytes::from(format!("{kind}/{id}"))
}

impl Storage {
    /// Writes down a new job; its id and times are filled in. Of the finished jobs of its kind the oldest are forgotten
    /// where there are many.
    pub async fn create_job(&self, job: JobRecord) -> StorageResult<JobRecord> {
        let now = self.inner.clock.now().as_millis();
        // Ids are in the order of time, so that lists are, too.
        let id = format!("{now:012x}{}", hex::encode(self.inner.ids.random::<6>()));
        let job = JobRecord { id, created_ms: now, updated_ms: now, ..job };
        let mut batch = Batch::new();
        let key = row(&job.kind, &job.id);
        batch.require(SYSTEM, key.clone(), Condition::Absent).put(SYSTEM, key, job.to_bytes());
        let known = self.jobs(&job.kind).await?;
        let surplus = (known.len() + 1).saturating_sub(PAGE);
        let finished = known.iter().filter(|known| known.state() != JobState::Running);
        for old in finished.take(surplus) {
            batch.delete(SYSTEM, row(&old.kind, &old.id));
        }
        self.inner.metadata.commit(batch).await?;
        Ok(job)
    }

    /// All jobs of a kind, the oldest first.
    pub async fn jobs(&self, kind: &str) -> StorageResult<Vec<JobRecord>> {
        let mut jobs = Vec::new();
        let mut start = row(kind, "");
        let end = keys::successor(&start);
        loop {
            let page = self.inner.metadata.scan(SYSTEM, start..end.clone(), Direction::Forward, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(jobs) };
            start = keys::after(last);
            for (_, stored) in &page {
                jobs.push(JobRecord::from_bytes(stored)?);
            }
        }
    }

    /// A job.
    pub async fn job(&self, kind: &str, id: &str) -> StorageResult<Option<JobRecord>> {
        let stored = self.inner.metadata.get(SYSTEM, &row(kind, id)).await?;
        Ok(stored.as_ref().map(JobRecord::from_bytes).transpose()?)
    }

    /// Puts `next` in the place of `before`. Whether that was possible: not where somebody else was quicker.
    pub async fn advance_job(&self, before: &JobRecord, next: &JobRecord) -> StorageResult<bool> {
        let key = row(&before.kind, &before.id);
        // The stored bytes are compared, not ours: a later release may have written more than we know.
        let Some(stored) = self.inner.metadata.get(SYSTEM, &key).await? else { return Ok(false) };
        if JobRecord::from_bytes(&stored)? != *before {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.unchanged(SYSTEM, key.clone(), Some(&stored));
        batch.put(SYSTEM, key, next.to_bytes());
        match self.inner.metadata.commit(batch).await {
            Ok(()) => Ok(true),
            Err(MetadataError::Conflict(_)) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}
