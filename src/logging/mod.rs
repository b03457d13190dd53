//! Server access logs: one line for each request to a bucket that asks for it, delivered as objects into the bucket
//! that it names (S3 reference, "Logging requests with server access logging").
//!
//! A request hands its line to a bounded channel and goes on; where that is full, the line is counted and dropped:
//! a log never slows or fails what it tells of. One task takes lines from the channel and appends them to the durable
//! queue `AccessLines` every second; another, [`courier`], writes them from there into their buckets every few minutes and
//! at shutdown. A crash loses what was not yet appended, at most about a second; a crash in the midst of a delivery repeats
//! it, so a line may come twice, as on AWS. Objects are written by the engine itself: no delivery makes a line of its own.
//! The target is asked as AWS's log delivery asks it ([`Storage::deliver`]); where it says no, lines are dropped, counted.

mod courier;
mod delivery;
mod line;
mod name;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    auth::AccountNumbers,
    storage::{
        Bucket, Storage,
        records::{AccessLines, LogPartition},
    },
    tasks::{StopSignal, Tasks},
    types::Timestamp,
};

use courier::{Courier, Filling};
pub use line::AccessLine;

/// Lines that wait in memory at most.
const WAITING: usize = 8192;
/// Bytes of one entry of the queue at most, but for a single long line.
const ENTRY: usize = 256 << 10;
/// Between two appends to the queue.
const APPEND: Duration = Duration::from_secs(1);
/// After an append that failed.
const RETRY: Duration = Duration::from_secs(5);
const DAY_MS: u64 = 86_400_000;

/// How logs are delivered.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Time between deliveries.
    pub interval: Duration,
    /// Most lines of an object; so many are delivered before their time.
    pub lines: usize,
    /// The region in names of log objects.
    pub region: String,
    /// What policies of target buckets call accounts.
    pub numbers: Arc<dyn AccountNumbers>,
    /// Counts lines that never came into their bucket.
    pub dropped: Counter,
}

/// A line on its way.
#[derive(Debug)]
struct Waiting {
    source: Arc<Bucket>,
    time: Timestamp,
    line: String,
}

/// Takes lines. Clones share the channel.
#[derive(Clone, Debug)]
pub struct AccessLogs {
    sender: mpsc::Sender<Waiting>,
    dropped: Arc<AtomicU64>,
}

impl AccessLogs {
    /// Starts the tasks that queue and deliver.
    pub fn start(storage: Storage, settings: LogSettings, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (dropped, filling) = (Arc::default(), Arc::<Filling>::default());
        let courier = Courier::new(storage.clone(), settings.clone(), Arc::clone(&filling));
        let (ended, filled) = oneshot::channel();
        let worker =
            Worker { storage, settings, receiver, dropped: Arc::clone(&dropped), pending: Vec::new(), filling, ended };
        let stop = tasks.stop_signal();
        tasks.spawn("access logs", worker.run(stop));
        tasks.spawn("access log delivery", courier.run(filled));
        Self { sender, dropped }
    }

    /// Takes the line of a request to `source`, which keeps a log. Never waits.
    pub fn push(&self, source: Arc<Bucket>, line: &AccessLine<'_>) {
        let waiting = Waiting { source, time: line.time, line: line.to_string() };
        if self.sender.try_send(waiting).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The task that fills the queue.
struct Worker {
    storage: Storage,
    settings: LogSettings,
    receiver: mpsc::Receiver<Waiting>,
    dropped: Arc<AtomicU64>,
    pending: Vec<Waiting>,
    filling: Arc<Filling>,
    /// When it goes, the queue is filled no more.
    ended: oneshot::Sender<()>,
}

impl Worker {
    async fn run(mut self, mut stop: StopSignal) {
        let every = APPEND.min(self.settings.interval);
        while !stop.is_stopping() {
            self.collect(every, &mut stop).await;
            if !self.append().await {
                stop.sleep(RETRY).await;
            }
        }
        // Requests have ended: what they left is in the channel.
        while let Ok(waiting) = self.receiver.try_recv() {
            self.pending.push(waiting);
        }
        self.append().await;
        drop(self.ended);
    }

    /// Takes lines for a while, or until there are as many as wait at most.
    async fn collect(&mut self, wait: Duration, stop: &mut StopSignal) {
        let until = Instant::now() + wait;
        while self.pending.len() < WAITING {
            let room = WAITING - self.pending.len();
            tokio::select! {
                count = self.receiver.recv_many(&mut self.pending, room) => {
                    if count == 0 {
                        // Nobody is left to send; the time still has to pass.
                        stop.sleep(until.saturating_duration_since(Instant::now())).await;
                        return;
                    }
                }
                () = tokio::time::sleep_until(until) => return,
                () = stop.wait() => return,
            }
        }
    }

    /// Appends what was taken to the durable queue. Whether that went well; else the lines stay, as far as they fit.
    async fn append(&mut self) -> bool {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.settings.dropped.inc_by(dropped);
            tracing::warn!(dropped, "lines of access logs were dropped: more came than can be written");
        }
        if self.pending.is_empty() {
            return true;
        }
        if let Err(error) = self.storage.queue_access_lines(&entries(&self.pending)).await {
            tracing::warn!(%error, lines = self.pending.len(), "lines of access logs wait: the queue takes none");
            return false;
        }
        let before = self.filling.lines.fetch_add(self.pending.len(), Ordering::Relaxed);
        if before + self.pending.len() >= self.settings.lines {
            self.filling.enough.notify_one();
        }
        self.pending.clear();
        true
    }
}

/// Entries of the queue from lines: each has lines of one bucket for one target, and of one day where that matters.
fn entries(waiting: &[Waiting]) -> Vec<AccessLines> {
    let mut open: BTreeMap<(&str, u64), Vec<&Waiting>> = BTreeMap::new();
    for one in waiting {
        let by_day = one.source.record.logging.as_ref().map(|logging| logging.partition() == LogPartition::EventTime);
        let day = if by_day == Some(true) { one.time.as_millis() / DAY_MS } else { 0 };
        open.entry((one.source.name.as_str(), day)).or_default().push(one);
    }
    let mut entries = Vec::new();
    for lines in open.into_values() {
        let mut rest = lines.as_slice();
        while let Some((first, _)) = rest.split_first() {
            let logging = first.source.record.logging.clone();
            let mut text = BytesMut::new();
            let mut count = 0;
            for one in rest {
                let fits = count == 0 || text.len() + one.line.len() <= ENTRY;
                // The bucket may have changed its mind between two lines.
                if !fits || one.source.record.logging != logging {
                    break;
                }
                text.extend_from_slice(one.line.as_bytes());
                count += 1;
            }
            entries.push(AccessLines {
                source: first.source.name.to_string(),
                source_owner: first.source.owner.to_string(),
                logging,
                first_ms: first.time.as_millis(),
                lines: Bytes::from(text),
            });
            rest = rest.get(count..).unwrap_or_default();
        }
    }
    entries
}
