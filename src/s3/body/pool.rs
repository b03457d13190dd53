//! Hashing off the executor.
//!
//! MD5 costs some 2 ms per MiB, so the bytes of larger bodies are hashed on the blocking pool: while the writer
//! stores one batch, the next is hashed. A worker drains the queue of all uploads and ends when it stays empty, so an
//! idle server has none, and a busy one pays no hop per batch.
//!
//! A worker takes several uploads' batches at once: their MD5s are computed together, in little more time than one of
//! them alone takes (see [`crate::types::digest::update_together`]). So another starts only where more wait than one
//! takes, or where other hashes take long, too; and never more than there are cores. Uploads of 16 MiB at once, plain,
//! in microseconds of CPU per MiB for all of it (`benches/body.rs`, "at once", with AVX-512): one 1,850, two 980, four
//! 460, eight 270, sixteen 250. Where each batch started a worker it was 1,850, 1,240, 740, 380 and 270.
//!
//! An upload has one batch in the queue and gathers the next. The size of a batch falls as more uploads are open:
//! together they hold at most about twice [`GATHERED`], and each at least [`LEAST_BATCH`] so that a batch is worth
//! its hop (some 10 µs).

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::{sync::oneshot, task::spawn_blocking};

use super::digests::{Digests, Op};
use crate::types::{
    BodyError,
    digest::{Md5Stream, lanes, update_together},
};

/// Up to this much is hashed where it is (a quarter of a millisecond of MD5).
pub(super) const INLINE: usize = 128 << 10;
/// The batch of a lone upload.
const LARGEST_BATCH: usize = 256 << 10;
/// The batch of one among very many uploads.
const LEAST_BATCH: usize = 16 << 10;
/// What all open uploads together gather before they hand over.
const GATHERED: usize = 16 << 20;

/// So long a worker waits for the uploads it has answered, which mostly come back at once.
const LINGER: Duration = Duration::from_micros(100);
/// So many batches with other long hashes wait before another worker starts: but for the MD5, they take turns.
const SLOW_TOGETHER: usize = 2;

/// Batches a worker takes at once. Without an optimising compiler the lanes are slower than one after the other.
pub(super) fn together() -> usize {
    if cfg!(debug_assertions) { 1 } else { lanes() }
}

/// A batch of one upload.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) digests: Box<Digests>,
    pub(super) ops: Vec<Op>,
}

/// A batch that is done; where `outcome` is an error, the steps after the failed one were not taken.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) batch: Batch,
    pub(super) outcome: Result<(), BodyError>,
}

impl Batch {
    /// Takes the steps here and now.
    pub(super) fn run(mut self) -> Done {
        let outcome = self.steps();
        if outcome.is_ok() {
            update_together(self.md5());
        }
        self.done(outcome)
    }

    /// Takes the steps, but for the MD5.
    fn steps(&mut self) -> Result<(), BodyError> {
        self.ops.iter().try_for_each(|op| self.digests.apply(op))
    }

    /// The MD5, where it is wanted, and the bytes for it.
    fn md5(&mut self) -> Option<(&mut Md5Stream, impl Iterator<Item = &[u8]>)> {
        let payload = self.ops.iter().filter_map(Op::payload);
        self.digests.md5().map(|md5| (md5, payload))
    }

    /// Whether more than the MD5 takes long.
    fn slow(&self) -> bool {
        self.digests.slow()
    }

    fn done(mut self, outcome: Result<(), BodyError>) -> Done {
        if !self.digests.gated() {
            // The writer has its own references; those here would only keep the bytes.
            self.ops.clear();
        }
        Done { batch: self, outcome }
    }
}

#[derive(Debug)]
struct Job {
    batch: Batch,
    reply: oneshot::Sender<Done>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    workers: usize,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Tells workers that wait that a batch has come.
    came: Condvar,
    most_workers: usize,
    together: usize,
    open: AtomicUsize,
}

/// The hashing of all uploads of a server. Clones share it.
#[derive(Clone)]
pub(super) struct HashPool(Arc<Shared>);

impl HashPool {
    /// At most so many workers, each with at most so many batches at once.
    pub(super) fn new(most_workers: usize, together: usize) -> Self {
        let (most_workers, together) = (most_workers.max(1), together.max(1));
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            came: Condvar::new(),
            most_workers,
            together,
            open: AtomicUsize::new(0),
        }))
    }

    /// Counts an upload in for as long as the ticket lives.
    pub(super) fn enter(&self) -> Ticket {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Ticket(self.clone())
    }

    /// Hands a batch over. If the reply never comes, hashing broke down.
    fn submit(&self, batch: Batch) -> oneshot::Receiver<Done> {
        let (reply, receiver) = oneshot::channel();
        let enough = if batch.slow() { SLOW_TOGETHER.min(self.0.together) } else { self.0.together };
        let mut queue = self.0.queue.lock();
        queue.jobs.push_back(Job { batch, reply });
        self.0.came.notify_all();
        if queue.workers == 0 || (queue.jobs.len() >= enough && queue.workers < self.0.most_workers) {
            queue.workers += 1;
            let shared = Arc::clone(&self.0);
            drop(spawn_blocking(move || shared.work()));
        }
        receiver
    }
}

impl Shared {
    fn work(&self) {
        let mut answered = 0;
        while let Some(jobs) = self.next_jobs(answered) {
            answered = jobs.len();
            let mut running: Vec<(Job, Result<(), BodyError>)> = Vec::with_capacity(jobs.len());
            for mut job in jobs {
                // A worker that died would never be replaced. Its upload sees the reply dropped, no other is harmed.
                if let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| job.batch.steps())) {
                    running.push((job, outcome));
                }
            }
            let right = running.iter_mut().filter(|(_, outcome)| outcome.is_ok());
            update_together(right.filter_map(|(job, _)| job.batch.md5()));
            for (Job { batch, reply }, outcome) in running {
                // Nobody waits where the request was dropped.
                drop(reply.send(batch.done(outcome)));
            }
        }
    }

    /// The next batches, or the worker's end.
    fn next_jobs(&self, answered: usize) -> Option<Vec<Job>> {
        let mut queue = self.queue.lock();
        // Else two sets of uploads would go on taking turns, each in half of the lanes.
        let expected = (queue.jobs.len() + answered).min(self.together);
        self.came.wait_while_for(&mut queue, |queue| queue.jobs.len() < expected, LINGER);
        let count = queue.jobs.len().min(self.together);
        if count == 0 {
            queue.workers -= 1;
            return None;
        }
        Some(queue.jobs.drain(..count).collect())
    }
}

impl fmt::Debug for HashPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashPool").field("open", &self.0.open).finish_non_exhaustive()
    }
}

/// An open upload.
#[derive(Debug)]
pub(super) struct Ticket(HashPool);

impl Ticket {
    /// Bytes to gather before handing over.
    pub(super) fn batch_size(&self) -> usize {
        let open = self.0.0.open.load(Ordering::Relaxed).max(1);
        (GATHERED / open).clamp(LEAST_BATCH, LARGEST_BATCH)
    }

    /// Hands a batch over.
    pub(super) fn submit(&self, batch: Batch) -> oneshot::Receiver<Done> {
        self.0.submit(batch)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Runtime;

    use super::{super::Plan, super::digests::Purpose, *};

    #[test]
    fn another_worker_starts_once_as_many_batches_wait_as_one_takes() {
        for (plan, enough) in
            [(Plan::default as fn() -> Plan, 4), (|| Plan { sha256: Some([0; 32]), ..Plan::default() }, SLOW_TOGETHER)]
        {
            let pool = HashPool::new(4, 4);
            // One that is busy for long.
            pool.0.queue.lock().workers = 1;
            let runtime = Runtime::new().unwrap();
            let _within = runtime.enter();
            let submit = || {
                let digests = Box::new(Digests::new(plan(), Purpose::Object));
                pool.submit(Batch { digests, ops: Vec::new() })
            };
            let mut replies: Vec<_> = (1..enough).map(|_| submit()).collect();
            assert_eq!(pool.0.queue.lock().workers, 1);
            replies.push(submit());
            for reply in replies {
                assert!(runtime.block_on(reply).is_ok());
            }
        }
    }

    #[test]
    fn batches_shrink_as_uploads_crowd_and_grow_again() {
        let pool = HashPool::new(1, 1);
        let first = pool.enter();
        assert_eq!(first.batch_size(), LARGEST_BATCH);
        let crowd: Vec<Ticket> = (1..256).map(|_| pool.enter()).collect();
        assert_eq!(first.batch_size(), GATHERED / 256);
        let more: Vec<Ticket> = (256..10_000).map(|_| pool.enter()).collect();
        assert_eq!(first.batch_size(), LEAST_BATCH);
        drop((crowd, more));
        assert_eq!(first.batch_size(), LARGEST_BATCH);
    }
}
