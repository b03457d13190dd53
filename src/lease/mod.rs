//! Who owns folders that several machines see.
//!
//! Locks of the operating system decide between processes of one machine. Over a network file system they also hold
//! between machines, but a machine that is cut off loses its locks without being told. So the owner holds a *lease*
//! as well: a file that it renews, numbered by an *epoch*. Each takeover makes the next epoch, and whoever made the
//! highest owns the folders.
//!
//! | in `.lease/` | what |
//! |---|---|
//! | `lock` | locked by the owner, and by whoever waits next in line |
//! | `00000000000000000007` | the claim of epoch 7: who made it, how often it was renewed, whether it was given back |
//! | `new-…` | a claim before it was made |
//!
//! # Rules
//!
//! - A claim is made by giving a finished file its name (`link`): the file server lets one succeed. The answer may get
//!   lost on the way, so the file is read back: it is won by the one that it names.
//! - A claim is written to through the handle that made it, never by name: a late renewal cannot touch a later claim.
//! - Claims are removed oldest first, and never the newest. So an owner is superseded exactly when the next number is
//!   there or its own is gone.
//! - The next claim may be made once the lock is free and the owner has given it back, is proven dead, or was silent
//!   for its time. That time is measured by the waiter's own clock from when it first saw the last renewal; clocks of
//!   two machines are never compared, nor is the time of day ever looked at.
//! - An owner stops by its own clock after two thirds of that time, counted from the *beginning* of the last renewal
//!   that succeeded. The clock goes on while the machine sleeps.
//! - A commit is acknowledged only if the lease was still there in a look that began after the commit was durable
//!   ([`Lease::confirm`]). A successor claims before it opens the stores, so what it opens has every such commit, even
//!   if all clocks are wrong.
//!
//! What remains is a process that was frozen, lost its locks meanwhile, and wakes up: until its own watch ends it,
//! threads that were in the middle of a write go on. See `docs/deployment.md` for how that is ruled out.

mod board;
mod contend;
mod hold;
mod record;
mod verdict;

#[cfg(test)]
mod tests;

pub use contend::{Contender, LeaseOptions, Step};
pub use hold::{Lease, Lost};
pub use record::is_shared;

use std::{fmt, io, path::PathBuf, time::Duration};

use thiserror::Error;

/// A clock that never goes back, and goes on while the machine sleeps.
pub trait Uptime: fmt::Debug + Send + Sync {
    /// Time since an arbitrary beginning.
    fn now(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemUptime;

impl Uptime for SystemUptime {
    fn now(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let now = rustix::time::clock_gettime(clock);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}

/// The folder of leases cannot be used.
#[derive(Debug, Error)]
#[error("lease in {path}: {source}")]
pub struct LeaseError {
    /// The folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}
