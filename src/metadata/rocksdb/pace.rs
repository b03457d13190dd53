//! When a group waits a moment for company.

use std::time::Duration;

/// Decides whether a group waits a moment for company.
///
/// Without it, writers that all wait for each other's syncs fall into two halves, each waiting for the other's sync
/// as well as its own.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How many writers are known to be active: in the last group, or waiting when it ended.
    expected: usize,
    /// How long a sync takes, smoothed.
    sync: Duration,
    /// Groups to go without a pause, because pauses brought nobody.
    discouraged: u32,
}

/// How long to wait, and for how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    pub(super) expected: usize,
    pub(super) longest: Duration,
}

impl Pace {
    /// Shorter pauses are not worth two context switches.
    const SHORTEST: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_millis(1);
    /// After a pause in vain.
    const REST: u32 = 16;

    pub(super) fn pause(&mut self, waiting: usize) -> Option<Pause> {
        let longest = (self.sync / 8).min(Self::LONGEST);
        if waiting >= self.expected || longest < Self::SHORTEST {
            return None;
        }
        if self.discouraged > 0 {
            self.discouraged -= 1;
            return None;
        }
        Some(Pause { expected: self.expected, longest })
    }

    pub(super) fn paused(&mut self, in_company: bool) {
        self.discouraged = if in_company { 0 } else { Self::REST };
    }

    pub(super) fn synced(&mut self, took: Duration) {
        self.sync = (self.sync * 7 + took) / 8;
    }

    pub(super) fn committed(&mut self, group: usize, waiting: usize) {
        self.expected = group + waiting;
    }
}
