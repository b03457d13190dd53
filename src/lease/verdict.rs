//! Whether the folders may be taken: a pure machine over what a waiter sees.

use std::time::Duration;

use super::{board::Claim, record::Life};

/// How long a claim that cannot be read counts as renewed: its own time is unknown.
const UNREADABLE: Duration = Duration::from_mins(1);

/// What is to be seen at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    /// The newest claim.
    pub(super) newest: Option<Claim>,
    /// Somebody else holds a lock on the folders.
    pub(super) locked: bool,
    /// What is known about the process that made the claim.
    pub(super) life: Life,
    /// Whether a lock that is free proves that process dead: one kernel, and a file system of its own.
    pub(super) conclusive: bool,
    /// How long the look took: what was seen is no older than that, and no younger than its beginning.
    pub(super) took: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Make the claim of this epoch.
    Take(u64),
    /// Look again soon. Holds how long the owner was silent.
    Wait(Duration),
    /// The owner is a frozen process of this machine: end it for good, then look again.
    End,
}

/// Remembers since when the newest claim has not changed.
#[derive(Debug)]
pub(super) struct Watch {
    patience: Duration,
    seen: Option<(u64, Vec<u8>)>,
    since: Duration,
}

impl Watch {
    /// A watch that waits at least `patience` for a silent owner, more if that one asked for more.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, seen: None, since: Duration::ZERO }
    }

    /// Judges what is seen by a look that begins at `now` by the waiter's own clock.
    pub(super) fn judge(&mut self, now: Duration, sight: &Sight) -> Verdict {
        let Some(claim) = &sight.newest else {
            return if sight.locked { Verdict::Wait(Duration::ZERO) } else { Verdict::Take(1) };
        };
        let seen =
            self.seen.as_ref().is_some_and(|(epoch, content)| *epoch == claim.epoch && *content == claim.content);
        if !seen {
            self.seen = Some((claim.epoch, claim.content.clone()));
            // It may have been renewed until the end of the look; another look shows silence up to its beginning only.
            self.since = now + sight.took;
        }
        let silent = now.saturating_sub(self.since);
        let asked = claim.record.as_ref().map_or(UNREADABLE, |record| Duration::from_secs(record.seconds));
        let released = claim.record.as_ref().is_some_and(|record| record.released);
        let overdue = silent >= self.patience.max(asked);
        if overdue && !released && sight.life == Life::Alive {
            return Verdict::End;
        }
        if sight.locked {
            return Verdict::Wait(silent);
        }
        if released || sight.conclusive || sight.life == Life::Gone || overdue {
            return Verdict::Take(claim.epoch + 1);
        }
        Verdict::Wait(silent)
    }
}
