//! From the queue into the buckets: the queue is walked once, and whatever a target does not take now stays in it.
//!
//! Invariants:
//! - Each target is on its own. Of one that refuses for now (its key manager is away, its location is), the lines stay in
//!   the queue; only they are tried again, after a pause that doubles. Lines for others pass them.
//! - Nobody waits for a target that is slow longer than [`Pace::patience`], as long as fewer than [`AT_WORK`] are.
//! - An entry leaves the queue when its lines are in their bucket, or can never come there. What is known beside the queue
//!   is found again by walking it anew after a start.
//! - In memory are at most a page, and what is at work: each of these is a part of a page.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    LogSettings,
    delivery::{Delivered, count, deliver},
};
use crate::storage::{DeliveryError, LinePlace, Storage, StorageResult, records::AccessLines};

/// Entries of the queue taken at a time: they are in memory together, some 16 MiB at most.
const PAGE: usize = 64;
/// Targets that are written to at the same time.
const AT_WORK: usize = 8;
/// Of them, those that failed before: for the others there is always room.
const AGAIN: usize = 4;
/// Entries that wait in the queue for targets that take none: the oldest go where deliveries fail for so long.
const MOST_ENTRIES: u64 = 100_000;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Before a target is tried again that failed once, and before the queue is walked again that could not be read.
    pub(super) first: Duration,
    /// The longest time between two attempts.
    pub(super) longest: Duration,
    /// A slow target is waited for so long before lines for others are looked for.
    pub(super) patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_secs(5), longest: Duration::from_mins(5), patience: Duration::from_secs(2) }
    }
}

/// What the task that fills the queue tells the one that empties it.
#[derive(Debug, Default)]
pub(super) struct Filling {
    /// Lines that came since the queue was walked last.
    pub(super) lines: AtomicUsize,
    /// There are enough of them.
    pub(super) enough: Notify,
}

/// A target for which lines are in the queue that was walked already.
#[derive(Debug)]
struct Held {
    /// All of its entries are behind this place.
    after: Option<LinePlace>,
    /// How many there are.
    entries: u64,
    /// Of them, those that were found since the last attempt began.
    fresh: u64,
    /// The next pause.
    pause: Duration,
    /// When it is its turn; `None` while it is written to.
    turn: Option<Instant>,
}

/// An attempt at a target.
struct Attempt {
    target: String,
    /// Where its next entries are looked for, if all went well.
    next: LinePlace,
    /// Whether nothing was found.
    empty: bool,
    delivered: Delivered,
}

/// The task that delivers.
pub(super) struct Courier {
    storage: Storage,
    settings: LogSettings,
    filling: Arc<Filling>,
    pace: Pace,
    most_entries: u64,
    /// Up to here the queue was walked.
    walked: Option<LinePlace>,
    held: BTreeMap<String, Held>,
    at_work: FuturesUnordered<BoxFuture<'static, Attempt>>,
}

impl Courier {
    pub(super) fn new(storage: Storage, settings: LogSettings, filling: Arc<Filling>) -> Self {
        Self {
            storage,
            settings,
            filling,
            pace: Pace::default(),
            most_entries: MOST_ENTRIES,
            walked: None,
            held: BTreeMap::new(),
            at_work: FuturesUnordered::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn paced(self, pace: Pace, most_entries: u64) -> Self {
        Self { pace, most_entries, ..self }
    }

    /// Delivers until the queue is filled no more, and then once again.
    pub(super) async fn run(mut self, filled: oneshot::Receiver<()>) {
        let mut filled = pin!(filled);
        let filling = Arc::clone(&self.filling);
        // What an earlier process left is delivered with the first of ours.
        let mut due = Instant::now() + self.settings.interval;
        loop {
            self.try_again();
            let turn = self.held.values().filter_map(|held| held.turn).min();
            let turn = turn.filter(|_| self.at_work.len() < AGAIN).map_or(due, |turn| turn.min(due));
            tokio::select! {
                Some(ended) = self.at_work.next() => self.settle(ended).await,
                () = tokio::time::sleep_until(turn) => {}
                () = filling.enough.notified() => due = Instant::now(),
                _ = &mut filled => break,
            }
            if Instant::now() >= due {
                due = Instant::now() + if self.walk().await { self.settings.interval } else { self.pace.first };
            }
        }
        self.walk().await;
        loop {
            self.try_again();
            let Some(ended) = self.at_work.next().await else { return };
            self.settle(ended).await;
        }
    }

    /// Walks what came into the queue since it was walked last. Whether it could be read.
    async fn walk(&mut self) -> bool {
        self.filling.lines.store(0, Ordering::Relaxed);
        loop {
            match self.storage.queued_access_lines(self.walked, PAGE).await {
                Ok(page) if page.is_empty() => {
                    self.shed().await;
                    return true;
                }
                Ok(page) => self.take(page).await,
                Err(error) => {
                    tracing::warn!(%error, "access logs wait: their queue cannot be read");
                    return false;
                }
            }
        }
    }

    /// Begins to deliver a page, and waits for it, but not for long.
    async fn take(&mut self, page: Vec<(LinePlace, AccessLines)>) {
        let after = self.walked;
        let Some(last) = page.last().map(|(place, _)| *place) else { return };
        self.walked = Some(last);
        let mut new: BTreeMap<String, Vec<(LinePlace, AccessLines)>> = BTreeMap::new();
        for (place, entry) in page {
            let target = target_of(&entry);
            match self.held.get_mut(target) {
                Some(held) => {
                    held.entries += 1;
                    held.fresh += 1;
                }
                None => new.entry(target.to_owned()).or_default().push((place, entry)),
            }
        }
        let targets: Vec<String> = new.keys().cloned().collect();
        for (target, entries) in new {
            while self.at_work.len() >= AT_WORK
                && let Some(ended) = self.at_work.next().await
            {
                self.settle(ended).await;
            }
            let held = Held { after, entries: entries.len() as u64, fresh: 0, pause: self.pace.first, turn: None };
            self.held.insert(target.clone(), held);
            let (storage, settings) = (self.storage.clone(), self.settings.clone());
            let attempt = async move {
                let delivered = deliver(&storage, &settings, entries).await;
                Attempt { target, next: last, empty: false, delivered }
            };
            self.at_work.push(attempt.boxed());
        }
        let until = Instant::now() + self.pace.patience;
        while targets.iter().any(|target| self.held.get(target).is_some_and(|held| held.turn.is_none())) {
            match tokio::time::timeout_at(until, self.at_work.next()).await {
                Ok(Some(ended)) => self.settle(ended).await,
                Ok(None) | Err(_) => break,
            }
        }
        self.shed().await;
    }

    /// Begins with those whose turn it is.
    fn try_again(&mut self) {
        let now = Instant::now();
        let Some(end) = self.walked else { return };
        for (target, held) in &mut self.held {
            if self.at_work.len() >= AGAIN {
                return;
            }
            if held.turn.is_some_and(|turn| turn <= now) {
                held.turn = None;
                held.fresh = 0;
                let (storage, settings) = (self.storage.clone(), self.settings.clone());
                self.at_work.push(attempt(storage, settings, target.clone(), (held.after, end)).boxed());
            }
        }
    }

    /// Takes note of what an attempt came to.
    async fn settle(&mut self, ended: Attempt) {
        let Attempt { target, next, empty, delivered: Delivered { done, failure } } = ended;
        // Where they cannot be removed they are delivered again, as after a crash.
        let removed = self.storage.remove_access_lines(&done).await;
        let gone = if removed.is_ok() { done.len() as u64 } else { 0 };
        let failure = failure.or(removed.err().map(DeliveryError::from));
        let Some(held) = self.held.get_mut(&target) else { return };
        held.entries = if empty && failure.is_none() { held.fresh } else { held.entries.saturating_sub(gone) };
        if held.entries == 0 {
            self.held.remove(&target);
            return;
        }
        match failure {
            None => {
                held.after = Some(next);
                held.pause = self.pace.first;
                held.turn = Some(Instant::now());
            }
            Some(error) => {
                let (entries, pause) = (held.entries, held.pause);
                tracing::warn!(target, entries, ?pause, %error, "lines of access logs wait: their bucket takes none now");
                held.turn = Some(Instant::now() + pause);
                held.pause = self.pace.longest.min(pause * 2);
            }
        }
    }

    /// Removes the oldest entries of whoever has the most, where there are more than there may be.
    async fn shed(&mut self) {
        loop {
            let all: u64 = self.held.values().map(|held| held.entries).sum();
            let most = self.held.iter_mut().max_by_key(|(_, held)| held.entries);
            // What is just being tried may be on its way out; it is looked at again with the next page.
            let most = most.filter(|(_, held)| all > self.most_entries && held.turn.is_some());
            let (Some((target, held)), Some(end)) = (most, self.walked) else { return };
            let found = entries_of(&self.storage, target, held.after, end).await;
            let (mut entries, next) = match found {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "the queue of access logs is too long, and cannot be read");
                    return;
                }
            };
            entries.truncate(usize::try_from(all - self.most_entries).unwrap_or(usize::MAX));
            let places: Vec<LinePlace> = entries.iter().map(|(place, _)| *place).collect();
            if let Err(error) = self.storage.remove_access_lines(&places).await {
                tracing::warn!(%error, "the queue of access logs is too long, and nothing of it can be removed");
                return;
            }
            let lines: usize = entries.iter().map(|(_, entry)| count(&entry.lines)).sum();
            self.settings.dropped.inc_by(lines as u64);
            tracing::warn!(
                target,
                lines,
                "the oldest lines of access logs are dropped: they could not be delivered for too long"
            );
            held.entries = held.entries.saturating_sub(places.len() as u64);
            if places.is_empty() {
                held.after = Some(next);
                held.entries = 0;
            }
            self.held.retain(|_, held| held.entries > 0);
        }
    }
}

/// The bucket that the lines of an entry are for.
fn target_of(entry: &AccessLines) -> &str {
    entry.logging.as_ref().map_or("", |logging| logging.target_bucket.as_str())
}

/// The next entries for a target, behind one place and up to another, and the place up to which these are all.
async fn entries_of(
    storage: &Storage,
    target: &str,
    mut after: Option<LinePlace>,
    end: LinePlace,
) -> StorageResult<(Vec<(LinePlace, AccessLines)>, LinePlace)> {
    loop {
        let mut page = storage.queued_access_lines(after, PAGE).await?;
        page.retain(|(place, _)| *place <= end);
        let Some((last, _)) = page.last() else { return Ok((page, end)) };
        let last = *last;
        page.retain(|(_, entry)| target_of(entry) == target);
        if !page.is_empty() {
            return Ok((page, last));
        }
        after = Some(last);
    }
}

/// Delivers the next entries for a target out of the queue.
async fn attempt(
    storage: Storage,
    settings: LogSettings,
    target: String,
    (after, end): (Option<LinePlace>, LinePlace),
) -> Attempt {
    match entries_of(&storage, &target, after, end).await {
        Ok((entries, next)) => {
            let empty = entries.is_empty();
            Attempt { target, next, empty, delivered: deliver(&storage, &settings, entries).await }
        }
        Err(error) => {
            let delivered = Delivered { failure: Some(error.into()), ..Delivered::default() };
            Attempt { target, next: end, empty: true, delivered }
        }
    }
}
