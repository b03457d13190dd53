//! Group commit: one thread takes every batch that waits, writes them as one record, syncs once, wakes all.
//!
//! Crash points (feature `failpoints`; the action `return` aborts the process):
//! `metadata-before-wal`: a group is accepted, nothing of it is written;
//! `metadata-before-reply`: a group is durable, nobody was told.
//! `metadata-wal-fails` (action `return`) makes the write of a group fail instead.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use parking_lot::Mutex;
use rocksdb::{FlushOptions, WriteOptions};
use tokio::sync::oneshot;

use super::{
    RocksOptions,
    error::fault,
    log::Mark,
    open::Database,
    overlay::Overlay,
    pace::{Pace, Pause},
    space::Space,
};
use crate::metadata::{Batch, Condition, Durability, MetadataError, Write};

type Reply = oneshot::Sender<Result<(), MetadataError>>;

/// Limits of one group: what one record may hold before its sync is worth starting.
const GROUP_BATCHES: usize = 1024;
const GROUP_BYTES: usize = 8 << 20;

/// Below this much memory in write buffers the log is read in no time at the next start: closing does not flush.
const FLUSH_AT_CLOSE_BYTES: u64 = 4 << 20;

/// The sending side; stops the thread when dropped.
pub(super) struct Committer {
    queue: Option<SyncSender<Message>>,
    shared: Arc<Shared>,
    queue_bytes: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What both sides see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Bytes of the batches that are in no group yet.
    waiting: AtomicUsize,
    /// Set for good by a failed write or sync of the log.
    failed: AtomicBool,
    closed: AtomicBool,
    pub(super) commits: AtomicU64,
    pub(super) syncs: AtomicU64,
}

enum Message {
    Commit(Request),
    Close(Reply),
}

struct Request {
    batch: Batch,
    bytes: usize,
    reply: Reply,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start(db: Arc<Database>, options: &RocksOptions) -> Result<Self, MetadataError> {
        let (queue, messages) = sync_channel(options.queue_batches);
        let shared = Arc::new(Shared::default());
        let identity = db.get_db_identity().map_err(|error| fault(&error))?;
        let worker = Worker {
            // What a recovery has read is in tables, and synced, before the database is open.
            mark: Mark::new(&identity, db.latest_sequence_number()),
            space: Space::of(&db),
            db,
            messages,
            shared: Arc::clone(&shared),
            overlay: Overlay::default(),
            waiting: Vec::new(),
            closing: None,
            pace: Pace::default(),
        };
        let thread = thread::Builder::new()
            .name("metadata-commit".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| MetadataError::Unavailable(format!("no thread for commits: {error}")))?;
        Ok(Self { queue: Some(queue), shared, queue_bytes: options.queue_bytes, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a batch and waits until it is in the database.
    ///
    /// # Cancel safety
    /// A batch that is queued is committed, whether or not anybody waits for it.
    pub(super) async fn commit(&self, batch: Batch) -> Result<(), MetadataError> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(MetadataError::ReadOnly);
        }
        let bytes = size(&batch);
        let (reply, outcome) = oneshot::channel();
        self.enqueue(Request { batch, bytes, reply })?;
        outcome.await.map_err(|_| closed())?
    }

    fn enqueue(&self, request: Request) -> Result<(), MetadataError> {
        let queue = self.queue.as_ref().ok_or_else(closed)?;
        let bytes = request.bytes;
        // A batch larger than the whole bound must still get through an empty queue.
        let before = self.shared.waiting.fetch_add(bytes, Ordering::AcqRel);
        let sent = if before > 0 && before.saturating_add(bytes) > self.queue_bytes {
            Err(MetadataError::Busy)
        } else {
            queue.try_send(Message::Commit(request)).map_err(|error| match error {
                TrySendError::Full(_) => MetadataError::Busy,
                TrySendError::Disconnected(_) => closed(),
            })
        };
        if sent.is_err() {
            self.shared.waiting.fetch_sub(bytes, Ordering::AcqRel);
        }
        sent
    }

    /// Commits what is queued, makes it durable and ends the thread; later commits are refused.
    pub(super) async fn close(&self) -> Result<(), MetadataError> {
        self.shared.closed.store(true, Ordering::Release);
        let Some(queue) = self.queue.clone() else { return Ok(()) };
        let (reply, outcome) = oneshot::channel();
        // The queue may be full: wait for room where waiting is allowed.
        let sent = tokio::task::spawn_blocking(move || queue.send(Message::Close(reply)));
        match sent.await {
            Ok(Ok(())) => outcome.await.unwrap_or(Ok(())),
            // The thread is gone: somebody closed before.
            Ok(Err(_)) => Ok(()),
            Err(error) => Err(MetadataError::Io(error.to_string())),
        }
    }

    pub(super) fn is_writable(&self) -> bool {
        !self.shared.failed.load(Ordering::Acquire) && !self.shared.closed.load(Ordering::Acquire)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.lock().take() {
            // The thread ends with the queue; joined, so that the directory is free once the store is dropped.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

fn closed() -> MetadataError {
    MetadataError::Unavailable("the store is closed".to_owned())
}

/// Bytes a batch holds in memory while it waits; at least one.
fn size(batch: &Batch) -> usize {
    let conditions = batch.conditions.iter().map(|(_, key, condition)| {
        key.len()
            + match condition {
                Condition::Equals(bytes) | Condition::EmptyRange(bytes) => bytes.len(),
                Condition::Absent | Condition::Present => 0,
                Condition::Room(growth) => size_of_val(growth.as_slice()),
            }
    });
    let writes = batch.writes.iter().map(|write| match write {
        Write::Put(_, key, value) => key.len() + value.len(),
        Write::Delete(_, key) => key.len(),
        Write::DeleteRange(_, range) => range.start.len() + range.end.len(),
        Write::Add(_, key, deltas) => key.len() + size_of_val(deltas.as_slice()),
        Write::Append(_, value) => value.len(),
    });
    1 + conditions.sum::<usize>() + writes.sum::<usize>()
}

/// The committing thread.
struct Worker {
    db: Arc<Database>,
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    overlay: Overlay,
    /// Taken from the queue, in order, for the next groups.
    waiting: Vec<Request>,
    closing: Option<Reply>,
    pace: Pace,
    /// How far the log is synced.
    mark: Mark,
    space: Space,
}

impl Worker {
    fn run(mut self) {
        while self.gather() {
            let group = self.next_group();
            self.commit(group);
        }
        // Nobody waits for what came after the close; dropping the requests tells them.
        self.waiting.clear();
        if let Some(reply) = self.closing.take() {
            drop(reply.send(self.flush()));
        }
    }

    /// Waits until there is a batch; `false` when the store closes and none is left.
    fn gather(&mut self) -> bool {
        self.drain();
        if self.waiting.is_empty() {
            if self.closing.is_some() {
                return false;
            }
            match self.messages.recv() {
                Ok(message) => self.take(message),
                Err(_) => return false,
            }
            self.drain();
        }
        if let Some(pause) = self.pace.pause(self.waiting.len()) {
            self.await_company(pause);
        }
        !self.waiting.is_empty() || self.closing.is_none()
    }

    /// Gives those whose batches were just committed a moment to come back, so that they share the next sync.
    fn await_company(&mut self, pause: Pause) {
        let until = Instant::now() + pause.longest;
        let already = self.waiting.len();
        while self.waiting.len() < pause.expected && self.closing.is_none() {
            let now = Instant::now();
            if now >= until {
                break;
            }
            thread::park_timeout((pause.longest / 4).min(until - now));
            self.drain();
        }
        self.pace.paused(self.waiting.len() > already);
    }

    fn drain(&mut self) {
        while self.waiting.len() < GROUP_BATCHES && self.closing.is_none() {
            match self.messages.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Commit(request) => self.waiting.push(request),
            Message::Close(reply) => self.closing = Some(reply),
        }
    }

    fn next_group(&mut self) -> Vec<Request> {
        let mut bytes = 0;
        let fits = |request: &&Request| {
            let first = bytes == 0;
            bytes += request.bytes;
            first || bytes <= GROUP_BYTES
        };
        let count = self.waiting.iter().take_while(fits).count();
        let rest = self.waiting.split_off(count);
        let group = std::mem::replace(&mut self.waiting, rest);
        self.shared.waiting.fetch_sub(group.iter().map(|request| request.bytes).sum(), Ordering::AcqRel);
        group
    }

    /// Evaluates, writes and answers one group.
    fn commit(&mut self, group: Vec<Request>) {
        let size = group.len();
        let mut accepted = Vec::with_capacity(size);
        let mut durability = Durability::Buffered;
        let room = self.space.room(&self.db, group.iter().map(|request| request.bytes).sum());
        for Request { batch, reply, bytes } in group {
            // Whoever asked may be gone; then there is nobody to tell.
            if self.shared.failed.load(Ordering::Acquire) {
                drop(reply.send(Err(MetadataError::ReadOnly)));
                continue;
            }
            if !room.admits(&batch, bytes) {
                drop(reply.send(Err(MetadataError::NoSpace)));
                continue;
            }
            let wanted = batch.durability;
            match self.overlay.accept(&self.db, batch) {
                Ok(()) => {
                    accepted.push(reply);
                    if wanted == Durability::Synced {
                        durability = Durability::Synced;
                    }
                }
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        let written = self.write(durability);
        // Counted before the answers go out: whoever comes after that answer is company for the next group.
        self.drain();
        self.pace.committed(size, self.waiting.len());
        match written {
            Ok(()) => {
                self.overlay.clear();
                self.shared.commits.fetch_add(accepted.len() as u64, Ordering::Relaxed);
                for reply in accepted {
                    drop(reply.send(Ok(())));
                }
            }
            Err(failure) => self.fail(&failure, accepted),
        }
    }

    fn write(&mut self, durability: Durability) -> Result<(), Failure> {
        let record = self.overlay.record(&self.db, self.mark).map_err(|error| Failure { in_log: false, error })?;
        if record.is_empty() {
            return Ok(());
        }
        fail::fail_point!("metadata-before-wal", |_| std::process::abort());
        fail::fail_point!("metadata-wal-fails", |_| {
            Err(Failure { in_log: true, error: MetadataError::Io("an injected fault of the log".to_owned()) })
        });
        let sync = durability == Durability::Synced;
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        let start = Instant::now();
        self.db.write_opt(record, &options).map_err(|error| Failure { in_log: true, error: fault(&error) })?;
        if sync {
            self.mark = self.mark.at(self.db.latest_sequence_number());
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            self.pace.synced(start.elapsed());
        }
        fail::fail_point!("metadata-before-reply", |_| std::process::abort());
        Ok(())
    }

    fn fail(&mut self, failure: &Failure, accepted: Vec<Reply>) {
        self.overlay.discard();
        let error = &failure.error;
        // A full device leaves the log as it was, and the library takes writes again once there is space. After any
        // other fault nobody knows what is on the device, and asking again could be answered wrongly.
        if failure.in_log && !matches!(error, MetadataError::NoSpace) {
            self.shared.failed.store(true, Ordering::Release);
            tracing::error!(%error, "the write-ahead log failed: metadata is read-only until restart");
        } else {
            tracing::error!(%error, "metadata commit failed");
        }
        for reply in accepted {
            drop(reply.send(Err(failure.answer())));
        }
    }

    /// Makes everything durable; writes the tables too if reading the log at the next start would take long.
    fn flush(&self) -> Result<(), MetadataError> {
        self.db.flush_wal(true).map_err(|error| fault(&error))?;
        if self.db.buffered_bytes() < FLUSH_AT_CLOSE_BYTES {
            return Ok(());
        }
        self.db.flush_tables(&FlushOptions::default()).map_err(|error| fault(&error))
    }
}

/// Why a group was not written.
struct Failure {
    /// Whether the log may hold the group, or part of it.
    in_log: bool,
    error: MetadataError,
}

impl Failure {
    /// What each of those who wait is told.
    fn answer(&self) -> MetadataError {
        match &self.error {
            MetadataError::NoSpace if !self.in_log => MetadataError::NoSpace,
            // What came into the log may be read at the next start.
            MetadataError::NoSpace => MetadataError::Unavailable("no space left for the log".to_owned()),
            MetadataError::Io(message) => MetadataError::Io(message.clone()),
            error => MetadataError::Io(error.to_string()),
        }
    }
}
