//! A lease that is held: renewed by one thread, watched by another, asked before and after every commit.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use thiserror::Error;

use super::{Uptime, board::Board, record::Record};

/// Why the folders are not ours any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Lost {
    /// Somebody else made a later claim.
    #[error("another server has taken over the folders")]
    Superseded,
    /// No renewal succeeded for two thirds of the lease's time: another server may take over soon.
    #[error("the lease on the folders could not be renewed in time")]
    Overdue,
}

/// What is done once, by the watching thread, when the lease is lost.
pub(super) type OnLost = Box<dyn FnOnce(Lost) + Send>;

/// A lease that this process holds. Clones are made by [`Arc`].
pub struct Lease {
    inner: Arc<Inner>,
    /// Keeps the lock.
    _lock: Option<std::fs::File>,
}

struct Inner {
    board: Box<dyn Board>,
    clock: Arc<dyn Uptime>,
    epoch: u64,
    /// The owner stops when the last renewal began so long ago.
    margin: Duration,
    /// When that was, in milliseconds of the clock.
    renewed: AtomicU64,
    lost: AtomicU8,
    record: Mutex<Record>,
    /// Set when the lease is being given back.
    ending: AtomicBool,
    ended: (Mutex<bool>, Condvar),
    /// Looks asked for so far, and how many of them are answered.
    asked: AtomicU64,
    answered: tokio::sync::Mutex<u64>,
}

/// Parts of a second between looks of the watch.
const WATCH: Duration = Duration::from_millis(100);
/// Renewals in the time of a lease.
const RENEWALS: u32 = 5;

const HELD: u8 = 0;
const SUPERSEDED: u8 = 1;
const OVERDUE: u8 = 2;

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("epoch", &self.inner.epoch)
            .field("board", &self.inner.board)
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// The lease of a claim that was made at `begin`. Nothing renews it yet.
    pub(super) fn of(
        board: Box<dyn Board>,
        clock: Arc<dyn Uptime>,
        (epoch, record): (u64, Record),
        begin: Duration,
        lock: Option<std::fs::File>,
    ) -> Self {
        let inner = Inner {
            board,
            clock,
            epoch,
            margin: Duration::from_secs(record.seconds) * 2 / 3,
            renewed: AtomicU64::new(millis(begin)),
            lost: AtomicU8::new(HELD),
            record: Mutex::new(record),
            ending: AtomicBool::new(false),
            ended: (Mutex::new(false), Condvar::new()),
            asked: AtomicU64::new(0),
            answered: tokio::sync::Mutex::new(0),
        };
        Self { inner: Arc::new(inner), _lock: lock }
    }

    /// Starts to renew and to watch; `on_lost` is called once if the lease is lost.
    pub(super) fn keep(&self, on_lost: OnLost) -> io::Result<()> {
        let inner = Arc::clone(&self.inner);
        thread::Builder::new().name("lease-renew".to_owned()).spawn(move || inner.renew_for_good())?;
        let inner = Arc::clone(&self.inner);
        thread::Builder::new().name("lease-watch".to_owned()).spawn(move || inner.watch(on_lost))?;
        Ok(())
    }

    /// The number of the claim; grows with each takeover.
    pub fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// Whether the folders are ours by this process's own clock. Costs a look at the clock.
    ///
    /// # Errors
    /// [`Lost`], for good.
    pub fn check(&self) -> Result<(), Lost> {
        self.inner.check()
    }

    /// Whether the folders are ours, by a look at the claims that begins after this was called. Calls at the same time
    /// share looks.
    ///
    /// # Errors
    /// [`Lost`]; [`io::Error`] where the claims cannot be read: then nobody knows.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn confirm(&self) -> io::Result<Result<(), Lost>> {
        let ticket = self.inner.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answered = self.inner.answered.lock().await;
        if *answered < ticket {
            let covers = self.inner.asked.load(Ordering::SeqCst);
            let inner = Arc::clone(&self.inner);
            let look = tokio::task::spawn_blocking(move || inner.look()).await;
            look.map_err(io::Error::other)??;
            *answered = covers;
        }
        Ok(self.inner.check())
    }

    /// Gives the folders back: whoever waits takes them as soon as this process has closed them. Blocks.
    ///
    /// Call it when everything is written. Afterwards the lease is not renewed, and is not lost either.
    ///
    /// # Errors
    /// What the file system says: then others wait for the lease's time.
    pub fn release(&self) -> io::Result<()> {
        self.inner.ending.store(true, Ordering::SeqCst);
        let result = {
            let mut record = self.inner.record.lock();
            record.released = true;
            if self.inner.check().is_ok() { self.inner.board.write(&record) } else { Ok(()) }
        };
        let (ended, wake) = &self.inner.ended;
        *ended.lock() = true;
        wake.notify_all();
        result
    }
}

#[cfg(test)]
impl Lease {
    /// One renewal, as the thread makes it.
    pub(super) fn renew(&self) -> io::Result<()> {
        self.inner.renew()
    }

    /// One look at the claims.
    pub(super) fn look(&self) -> io::Result<()> {
        self.inner.look()
    }

    /// What [`Lease::check`] would say, without its being asked: a frozen process asks nothing.
    pub(super) fn would_hold(&self) -> bool {
        let renewed = Duration::from_millis(self.inner.renewed.load(Ordering::SeqCst));
        let age = self.inner.clock.now().saturating_sub(renewed);
        self.inner.lost.load(Ordering::SeqCst) == HELD && age < self.inner.margin
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Ends the threads; what was not released is left for others to wait for.
        let (ended, wake) = &self.inner.ended;
        *ended.lock() = true;
        wake.notify_all();
    }
}

impl Inner {
    fn check(&self) -> Result<(), Lost> {
        match self.lost.load(Ordering::SeqCst) {
            SUPERSEDED => return Err(Lost::Superseded),
            OVERDUE => return Err(Lost::Overdue),
            _ => {}
        }
        let renewed = Duration::from_millis(self.renewed.load(Ordering::SeqCst));
        if self.clock.now().saturating_sub(renewed) >= self.margin {
            self.lose(OVERDUE);
            return Err(Lost::Overdue);
        }
        Ok(())
    }

    fn lose(&self, why: u8) {
        // What was the reason first stays the reason.
        self.lost.compare_exchange(HELD, why, Ordering::SeqCst, Ordering::SeqCst).ok();
    }

    /// Looks whether somebody else made a later claim.
    fn look(&self) -> io::Result<()> {
        if self.board.is_superseded(self.epoch)? {
            self.lose(SUPERSEDED);
        }
        Ok(())
    }

    fn renew(&self) -> io::Result<()> {
        let begin = self.clock.now();
        {
            let mut record = self.record.lock();
            if self.ending.load(Ordering::SeqCst) {
                return Ok(());
            }
            record.beat += 1;
            self.board.write(&record)?;
        }
        self.look()?;
        // A renewal that ends too late counts for nothing: somebody may have decided to take the folders already.
        if self.check().is_ok() {
            self.renewed.fetch_max(millis(begin), Ordering::SeqCst);
        }
        Ok(())
    }

    fn renew_for_good(&self) {
        let period = self.margin * 3 / 2 / RENEWALS;
        let mut pause = period;
        while !self.sleep(pause) && !self.ending.load(Ordering::SeqCst) {
            pause = match self.renew() {
                Ok(()) => period,
                Err(error) => {
                    tracing::warn!(%error, "the lease on the folders cannot be renewed; trying again");
                    period / 4
                }
            };
        }
    }

    fn watch(&self, on_lost: OnLost) {
        while !self.sleep(WATCH) {
            if let Err(lost) = self.check() {
                on_lost(lost);
                return;
            }
        }
    }

    /// Sleeps; `true` when the lease has ended.
    fn sleep(&self, time: Duration) -> bool {
        let (ended, wake) = &self.ended;
        let mut ended = ended.lock();
        if !*ended {
            wake.wait_for(&mut ended, time);
        }
        *ended
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
