//! Waiting for the folders, and taking them.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    Lease, LeaseError, Lost, Uptime,
    board::{Board, Claim, FileBoard},
    record::{Life, ProcessId, Record, is_shared},
    verdict::{Sight, Verdict, Watch},
};

/// The folder of claims, in the folder that is owned.
const FOLDER: &str = ".lease";
/// The lock of the owner.
const LOCK: &str = "lock";

/// What is contended for, and how.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// The folder that is owned.
    pub folder: PathBuf,
    /// Files that others lock while they use it; they need not be there.
    pub locks: Vec<PathBuf>,
    /// The time of the lease, in whole seconds.
    pub time: Duration,
}

/// The next step of a contender.
#[derive(Debug)]
pub enum Step {
    /// The folders are ours.
    Owned(Lease),
    /// They are not, yet: why, in words for an operator.
    Waiting(String),
}

/// A process that wants folders.
pub struct Contender {
    options: LeaseOptions,
    clock: Arc<dyn Uptime>,
    me: ProcessId,
    watch: Watch,
    /// On a file system that no other machine has mounted.
    pub(super) local: bool,
    lock: Option<File>,
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Contender {
    /// A contender that waits by `clock`. Blocks.
    ///
    /// # Errors
    /// [`LeaseError`] where the folder cannot be made or looked at.
    pub fn new(options: LeaseOptions, clock: Arc<dyn Uptime>) -> Result<Self, LeaseError> {
        let open = || {
            std::fs::create_dir_all(&options.folder)?;
            is_shared(&options.folder)
        };
        let local = !open().map_err(|source| fault(&options.folder, source))?;
        let watch = Watch::new(options.time);
        Ok(Self { clock, me: ProcessId::own(), watch, local, lock: None, options })
    }

    /// Looks once, and takes the folders if that is right; `on_lost` is called once should they be lost again.
    ///
    /// Blocks for as long as the file system does. Call it about every half second.
    ///
    /// # Errors
    /// [`LeaseError`] where claims cannot be read or made.
    pub fn step(&mut self, on_lost: impl FnOnce(Lost) + Send + 'static) -> Result<Step, LeaseError> {
        self.try_step(on_lost).map_err(|source| fault(&self.options.folder, source))
    }

    fn try_step(&mut self, on_lost: impl FnOnce(Lost) + Send + 'static) -> io::Result<Step> {
        let board = FileBoard::open(&self.options.folder.join(FOLDER), !self.local)?;
        let locked = self.is_locked()?;
        let begin = self.clock.now();
        let newest = board.newest()?;
        let sight = self.sight(newest, locked, self.clock.now().saturating_sub(begin));
        match self.watch.judge(begin, &sight) {
            Verdict::Wait(silent) => Ok(Step::Waiting(self.explain(&sight, silent))),
            Verdict::End => {
                let who = sight.newest.and_then(|claim| claim.record).map(|record| record.process);
                Ok(Step::Waiting(who.map_or_else(String::new, |who| self.end(&who))))
            }
            Verdict::Take(epoch) => self.take(board, epoch, Box::new(on_lost)),
        }
    }

    fn sight(&self, newest: Option<Claim>, locked: bool, took: Duration) -> Sight {
        let owner = newest.as_ref().and_then(|claim| claim.record.as_ref()).map(|record| &record.process);
        let life = |owner: &ProcessId| {
            // A claim of our own that we do not hold: taking the folders failed, or took too long.
            if *owner == self.me { Life::Gone } else { self.me.life_of(owner) }
        };
        Sight {
            life: owner.map_or(Life::Unknown, life),
            took,
            conclusive: self.local && owner.is_some_and(|owner| self.me.shares_kernel_with(owner)),
            newest,
            locked,
        }
    }

    fn take(&mut self, board: FileBoard, epoch: u64, on_lost: super::hold::OnLost) -> io::Result<Step> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let record = Record {
            owner: hex::encode(name),
            process: self.me.clone(),
            seconds: self.options.time.as_secs(),
            beat: 0,
            released: false,
        };
        let begin = self.clock.now();
        if !board.claim(epoch, &record)? {
            return Ok(Step::Waiting("another server took the folders a moment ago".to_owned()));
        }
        board.tidy(epoch)?;
        let lease = Lease::of(Box::new(board), Arc::clone(&self.clock), (epoch, record), begin, self.lock.take());
        if lease.check().is_err() {
            return Ok(Step::Waiting("taking the folders took too long".to_owned()));
        }
        lease.keep(on_lost)?;
        Ok(Step::Owned(lease))
    }

    /// Takes the lock of the claims, and looks at the other locks.
    fn is_locked(&mut self) -> io::Result<bool> {
        if self.lock.is_none() {
            let path = self.options.folder.join(FOLDER).join(LOCK);
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            if !try_lock(&file)? {
                return Ok(true);
            }
            self.lock = Some(file);
        }
        for path in &self.options.locks {
            match OpenOptions::new().read(true).write(true).open(path) {
                // Given back at once, when the file is closed.
                Ok(file) if try_lock(&file)? => {}
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Ends a frozen process of this machine: it must never wake up among files of another owner.
    fn end(&self, who: &ProcessId) -> String {
        let pid = i32::try_from(who.pid).ok().and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid.filter(|_| self.me.life_of(who) == Life::Alive) else {
            return format!("{} has ended", describe(who));
        };
        match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            Ok(()) => {
                let told = format!("{} was frozen: it did not renew its lease in time, and was killed", describe(who));
                tracing::warn!("{told}");
                told
            }
            Err(error) => format!("{} is frozen and cannot be killed from here ({error}): kill it", describe(who)),
        }
    }

    fn explain(&self, sight: &Sight, silent: Duration) -> String {
        let Some(claim) = &sight.newest else {
            return "another process has locked the folders".to_owned();
        };
        let owner = claim.record.as_ref().map_or_else(|| "an unknown process".to_owned(), |r| describe(&r.process));
        let silent_for = silent.as_secs();
        if claim.record.as_ref().is_some_and(|record| record.released) {
            return format!("{owner} is giving the folders back");
        }
        match (sight.locked, silent > self.options.time) {
            (true, false) => format!("{owner} owns the folders (lease {}, renewed {silent_for} s ago)", claim.epoch),
            (true, true) => format!(
                "{owner} has not renewed lease {} for {silent_for} s, but its machine still holds the lock: the \
                 process seems to be frozen; kill it there",
                claim.epoch
            ),
            (false, _) => format!(
                "{owner} holds no lock any more; its lease {} ends if it is not renewed, for {silent_for} s so far",
                claim.epoch
            ),
        }
    }
}

fn describe(who: &ProcessId) -> String {
    format!("process {} on {}", who.pid, who.host)
}

fn fault(folder: &Path, source: io::Error) -> LeaseError {
    LeaseError { path: folder.join(FOLDER), source }
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
