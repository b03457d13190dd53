//! Long jobs that clients ask for: each is a durable record that is taken a bounded step further again and again.
//!
//! One task works off the jobs of all kinds in turns, so many jobs cost requests no more than one does. After each step
//! the record says how far it came: a crash, a stop or a cancellation costs a step, and steps may be done twice. Where a
//! step fails for a reason that may pass, the job waits and says why; it is given up only where nothing can come of it.

mod moves;
mod scans;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use thiserror::Error;
use tokio::sync::{Mutex, Notify};

pub use moves::Moves;
pub use scans::Scans;

use crate::{
    storage::{
        Bucket, Storage, StorageError, StorageResult,
        records::{JobRecord, JobState},
    },
    tasks::{StopSignal, Tasks},
    types::AccountId,
};

/// Between steps: requests go first.
const REST: Duration = Duration::from_millis(2);
/// Between looks where nothing is to be done.
const IDLE: Duration = Duration::from_mins(1);
/// After a step that failed.
const RETRY: Duration = Duration::from_secs(2);
/// Jobs of one bucket and kind that may be under way.
const UNDER_WAY: usize = 1;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobRequest {
    /// Keys that are meant begin with this.
    #[serde(default)]
    pub prefix: String,
    /// The location that is read, or left.
    #[serde(default)]
    pub from: String,
    /// The location that is written.
    #[serde(default)]
    pub to: String,
    /// Whether only counting is wanted.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether new objects of the bucket go to `to`, too.
    #[serde(default)]
    pub and_new_writes: bool,
}

/// Why a job is not begun.
#[derive(Debug, Error)]
pub enum JobError {
    /// The request makes no sense; in words that say what would.
    #[error("{0}")]
    Refused(String),
    /// A job of the same kind works on the bucket.
    #[error("job {0} is at work on this bucket; wait for it or cancel it")]
    UnderWay(String),
    /// There is no such kind of job.
    #[error("there is no such kind of job")]
    UnknownKind,
    /// The engine failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A kind of job.
pub trait JobKind: fmt::Debug + Send + Sync {
    /// Its name in routes and keys: `move`, `scan`.
    fn name(&self) -> &'static str;

    /// Checks a request, and makes the record of a job that does it: bucket, kind and account are filled in already.
    ///
    /// # Errors
    /// [`JobError::Refused`] for what makes no sense; nothing is changed then.
    fn begin<'a>(
        &'a self,
        storage: &'a Storage,
        bucket: &'a Arc<Bucket>,
        job: JobRecord,
    ) -> BoxFuture<'a, Result<JobRecord, JobError>>;

    /// Takes a job a bounded step further: answers with its next record, which is then written down.
    ///
    /// # Errors
    /// Where the step is to be tried again later. A job that is done or lost is answered with its state.
    ///
    /// # Cancel safety
    /// The future may be dropped; the step is then done again, if at all.
    fn step<'a>(
        &'a self,
        storage: &'a Storage,
        bucket: &'a Arc<Bucket>,
        job: JobRecord,
    ) -> BoxFuture<'a, StorageResult<JobRecord>>;
}

/// The jobs of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Jobs {
    storage: Storage,
    kinds: Arc<[Arc<dyn JobKind>]>,
    /// Something was asked for, or cancelled.
    changed: Arc<Notify>,
    /// Held from the look at what is under way until the new job is: of two who ask at a time one begins.
    beginning: Arc<Mutex<()>>,
}

impl Jobs {
    /// Jobs of these kinds; nothing is worked on before [`Jobs::start`].
    pub fn new(storage: Storage, kinds: impl IntoIterator<Item = Arc<dyn JobKind>>) -> Self {
        Self { storage, kinds: kinds.into_iter().collect(), changed: Arc::default(), beginning: Arc::default() }
    }

    /// Starts the task that works them off.
    pub fn start(&self, tasks: &Tasks) {
        let jobs = self.clone();
        tasks.keep("jobs", move |stop| jobs.clone().run(stop));
    }

    /// Begins a job over a bucket.
    ///
    /// # Errors
    /// As [`JobError`] says; nothing is changed then.
    pub async fn submit(
        &self,
        (kind, account): (&str, &AccountId),
        bucket: &Arc<Bucket>,
        request: JobRequest,
    ) -> Result<JobRecord, JobError> {
        let kind = self.kind(kind).ok_or(JobError::UnknownKind)?;
        let _one_at_a_time = self.beginning.lock().await;
        let running = self.storage.jobs(kind.name()).await?;
        let mut same =
            running.iter().filter(|job| job.state() == JobState::Running && job.bucket_id == bucket.id.get());
        if let Some(other) = same.nth(UNDER_WAY - 1) {
            return Err(JobError::UnderWay(other.id.clone()));
        }
        let JobRequest { prefix, from, to, dry_run, and_new_writes } = request;
        let job = JobRecord {
            kind: kind.name().to_owned(),
            account: account.as_str().to_owned(),
            bucket: bucket.name.as_str().to_owned(),
            bucket_id: bucket.id.get(),
            prefix,
            from,
            to,
            dry_run,
            and_new_writes,
            ..JobRecord::default()
        };
        let job = kind.begin(&self.storage, bucket, job).await?;
        let job = self.storage.create_job(job).await?;
        tracing::info!(kind = job.kind, id = job.id, bucket = job.bucket, "a job begins");
        self.changed.notify_one();
        Ok(job)
    }

    /// All jobs, the oldest first of each kind.
    pub async fn list(&self) -> StorageResult<Vec<JobRecord>> {
        let mut jobs = Vec::new();
        for kind in self.kinds.iter() {
            jobs.extend(self.storage.jobs(kind.name()).await?);
        }
        Ok(jobs)
    }

    /// The job of this id.
    pub async fn find(&self, id: &str) -> StorageResult<Option<JobRecord>> {
        for kind in self.kinds.iter() {
            if let Some(job) = self.storage.job(kind.name(), id).await? {
                return Ok(Some(job));
            }
        }
        Ok(None)
    }

    /// Ends a job; what it did stays. Answers with how it stands: one that had ended before stays as it was.
    pub async fn cancel(&self, mut job: JobRecord) -> StorageResult<JobRecord> {
        while job.state() == JobState::Running {
            let mut next = job.clone();
            next.set_state(JobState::Cancelled);
            next.updated_ms = self.storage.clock().now().as_millis();
            if self.storage.advance_job(&job, &next).await? {
                self.changed.notify_one();
                return Ok(next);
            }
            let Some(now) = self.storage.job(&job.kind, &job.id).await? else { return Ok(job) };
            job = now;
        }
        Ok(job)
    }

    fn kind(&self, name: &str) -> Option<&Arc<dyn JobKind>> {
        self.kinds.iter().find(|kind| kind.name() == name)
    }

    async fn run(self, mut stop: StopSignal) {
        while !stop.is_stopping() {
            let pause = match self.turn(&mut stop).await {
                Ok(Turn::Worked) => REST,
                Ok(Turn::Failed) => RETRY,
                Ok(Turn::Nothing) => IDLE,
                Err(error) => {
                    tracing::warn!(%error, "jobs wait: their records cannot be read now");
                    RETRY
                }
            };
            tokio::select! {
                () = stop.wait() => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes each running job a step further.
    async fn turn(&self, stop: &mut StopSignal) -> StorageResult<Turn> {
        let mut turn = Turn::Nothing;
        // What was told before now is read now.
        self.changed.notified().now_or_never();
        for kind in self.kinds.iter() {
            for job in self.storage.jobs(kind.name()).await? {
                if job.state() != JobState::Running || stop.is_stopping() {
                    continue;
                }
                let stepped = tokio::select! {
                    stepped = self.advance(kind, job.clone()) => stepped,
                    () = stop.wait() => return Ok(Turn::Nothing),
                    ended = self.ended(&job) => ended.map(|()| true),
                };
                turn = turn.max(if stepped? { Turn::Worked } else { Turn::Failed });
            }
        }
        Ok(turn)
    }

    /// Returns when somebody has ended the job: it does not wait for its step then. Whatever becomes of other jobs, the
    /// step goes on.
    async fn ended(&self, job: &JobRecord) -> StorageResult<()> {
        loop {
            self.changed.notified().await;
            let now = self.storage.job(&job.kind, &job.id).await?;
            if now.is_none_or(|now| now.state() != JobState::Running) {
                return Ok(());
            }
        }
    }

    /// Takes a job a step further; whether that went well.
    async fn advance(&self, kind: &Arc<dyn JobKind>, job: JobRecord) -> StorageResult<bool> {
        let (mut next, went_well) = match self.step(kind, &job).await {
            Ok(mut next) => {
                next.message = if next.state() == JobState::Failed { next.message } else { String::new() };
                (next, true)
            }
            Err(StorageError::NoSuchBucket) => {
                let mut next = JobRecord { message: "the bucket is gone".to_owned(), ..job.clone() };
                next.set_state(JobState::Failed);
                (next, true)
            }
            Err(error) => {
                tracing::warn!(kind = job.kind, id = job.id, %error, "a job waits");
                (JobRecord { message: format!("waiting: {error}"), ..job.clone() }, false)
            }
        };
        if next == job {
            return Ok(went_well);
        }
        next.updated_ms = self.storage.clock().now().as_millis();
        if next.state() != JobState::Running {
            tracing::info!(kind = job.kind, id = job.id, state = ?next.state(), done = next.done, "a job ended");
        }
        // Whoever cancelled it meanwhile was quicker.
        self.storage.advance_job(&job, &next).await?;
        Ok(went_well)
    }

    async fn step(&self, kind: &Arc<dyn JobKind>, job: &JobRecord) -> StorageResult<JobRecord> {
        let name = crate::types::BucketName::new(&job.bucket).map_err(|_| StorageError::NoSuchBucket)?;
        let bucket = self.storage.bucket(&name).await?;
        if bucket.id.get() != job.bucket_id {
            return Err(StorageError::NoSuchBucket);
        }
        kind.step(&self.storage, &bucket, job.clone()).await
    }
}

/// What a turn over all jobs came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Nothing,
    Failed,
    Worked,
}
