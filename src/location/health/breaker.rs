//! The circuit breaker of one location: a pure machine over the time that its callers tell.
//!
//! | state | calls | left by |
//! |---|---|---|
//! | closed | pass | a row of failures, or half of the last calls failing |
//! | open | are refused at once | time: the first who asks then may try |
//! | half open | are refused, but for the one trial | the trial's end: closed, or open for longer |

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Outcomes that the rate of failures is taken of.
const WINDOW: u32 = 64;
/// Fewest outcomes for a rate.
const FEWEST: u32 = 20;
/// Parts of a pause, in per cent, that chance takes away or adds at most: locations that fell ill together are not
/// asked again together.
const JITTER: u64 = 25;

/// When to give up on a location, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// The first pause.
    pub pause: Duration,
    /// The longest pause: each failed trial doubles it up to here.
    pub longest_pause: Duration,
}

/// What a location is used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All calls pass.
    Closed,
    /// One call is a trial, the others are refused.
    HalfOpen,
    /// Calls are refused.
    Open,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may; the number comes back with its outcome.
    Pass(u64),
    /// First somebody has to try whether the location works: this caller. [`Breaker::tried`] must follow.
    Try,
    /// It may not.
    Refused,
}

#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    /// Changes of state: outcomes of calls that began before the last one say nothing of now.
    era: u64,
    row: u32,
    /// The last outcomes, a bit each, set for failures.
    recent: u64,
    known: u32,
    /// Pauses since the last success of a call.
    pauses: u32,
    until: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        let inner = Inner { state: BreakerState::Closed, era: 0, row: 0, recent: 0, known: 0, pauses: 0, until: None };
        Self { settings, inner: Mutex::new(inner) }
    }

    pub(super) fn state(&self) -> BreakerState {
        self.inner.lock().state
    }

    /// Asks for leave to make a call.
    pub(super) fn admit(&self, now: Instant) -> Admission {
        let mut inner = self.inner.lock();
        match inner.state {
            BreakerState::Closed => Admission::Pass(inner.era),
            BreakerState::Open if inner.until.is_none_or(|until| until <= now) => {
                inner.state = BreakerState::HalfOpen;
                Admission::Try
            }
            BreakerState::Open | BreakerState::HalfOpen => Admission::Refused,
        }
    }

    /// Whether a pause is over and nobody tries yet.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let inner = self.inner.lock();
        inner.state == BreakerState::Open && inner.until.is_none_or(|until| until <= now)
    }

    /// The outcome of a call; whether it opened the breaker.
    pub(super) fn record(&self, era: u64, failed: bool, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        if inner.era != era || inner.state != BreakerState::Closed {
            return false;
        }
        inner.recent = inner.recent << 1 | u64::from(failed);
        inner.known = (inner.known + 1).min(WINDOW);
        if !failed {
            inner.row = 0;
            inner.pauses = 0;
            return false;
        }
        inner.row += 1;
        let often = inner.known >= FEWEST && inner.recent.count_ones() * 2 >= inner.known;
        if inner.row < self.settings.failures && !often {
            return false;
        }
        self.open(&mut inner, now);
        true
    }

    /// The outcome of a trial.
    pub(super) fn tried(&self, works: bool, now: Instant) {
        let mut inner = self.inner.lock();
        if inner.state == BreakerState::Closed {
            return;
        }
        if works {
            // The row of pauses is broken by calls that succeed, not by probes: those may be all that works.
            *inner = Inner {
                state: BreakerState::Closed,
                era: inner.era + 1,
                row: 0,
                recent: 0,
                known: 0,
                pauses: inner.pauses,
                until: None,
            };
        } else if inner.state == BreakerState::HalfOpen {
            self.open(&mut inner, now);
        }
    }

    /// Nobody tried after all: the next one may.
    pub(super) fn untried(&self) {
        let mut inner = self.inner.lock();
        if inner.state == BreakerState::HalfOpen {
            inner.state = BreakerState::Open;
        }
    }

    fn open(&self, inner: &mut Inner, now: Instant) {
        let doubled = self.settings.pause.saturating_mul(1_u32.checked_shl(inner.pauses).unwrap_or(u32::MAX));
        inner.state = BreakerState::Open;
        inner.era += 1;
        inner.pauses = (inner.pauses + 1).min(16);
        inner.until = now.checked_add(jittered(doubled.min(self.settings.longest_pause)));
    }
}

/// The time, more or less.
pub(super) fn jittered(time: Duration) -> Duration {
    // A fresh hasher is seeded at random; nothing here needs more than that.
    let chance = RandomState::new().hash_one(time) % (2 * JITTER + 1);
    let percent = u32::try_from(100 - JITTER + chance).unwrap_or(100);
    time.saturating_mul(percent) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        let settings = BreakerSettings { failures: 3, pause: SECOND, longest_pause: 8 * SECOND };
        Breaker::new(settings)
    }

    fn call(breaker: &Breaker, failed: bool, now: Instant) -> bool {
        match breaker.admit(now) {
            Admission::Pass(era) => breaker.record(era, failed, now),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_row_of_failures_opens_it_and_a_success_begins_a_new_row() {
        let (breaker, now) = (breaker(), Instant::now());
        for failed in [true, true, false, true, true] {
            assert!(!call(&breaker, failed, now));
        }
        assert!(call(&breaker, true, now));
        assert_eq!((breaker.state(), breaker.admit(now)), (BreakerState::Open, Admission::Refused));
    }

    #[test]
    fn half_of_many_calls_failing_opens_it() {
        let (breaker, now) = (breaker(), Instant::now());
        let opened = (0..40).position(|number| call(&breaker, number % 2 == 1, now));
        assert_eq!(opened, Some(19));
    }

    #[test]
    fn after_the_pause_one_may_try_and_a_failed_trial_doubles_the_pause() {
        let (breaker, mut now) = (breaker(), Instant::now());
        for _ in 0..3 {
            call(&breaker, true, now);
        }
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let began = now;
            while !breaker.is_due(now) {
                now += SECOND / 20;
            }
            pauses.push(now - began);
            assert_eq!(breaker.admit(now), Admission::Try);
            assert_eq!(breaker.admit(now), Admission::Refused, "one tries, the others do not");
            breaker.tried(false, now);
        }
        for (pause, seconds) in pauses.iter().zip([1, 2, 4, 8, 8, 8]) {
            let middle = SECOND * seconds;
            assert!(*pause >= middle * 74 / 100 && *pause <= middle * 126 / 100 + SECOND / 20, "{pause:?} {seconds}");
        }
    }

    #[test]
    fn a_good_trial_closes_it_but_only_a_good_call_shortens_the_next_pause() {
        let (breaker, now) = (breaker(), Instant::now());
        let late = now + 60 * SECOND;
        let open = |at: Instant| {
            for _ in 0..3 {
                call(&breaker, true, at);
            }
        };
        open(now);
        assert_eq!(breaker.admit(late), Admission::Try);
        breaker.tried(true, late);
        open(late);
        assert!(!breaker.is_due(late + SECOND * 140 / 100), "the second pause is twice as long");
        assert_eq!(breaker.admit(late + 3 * SECOND), Admission::Try);
        breaker.tried(true, late);
        call(&breaker, false, late);
        open(late);
        assert!(breaker.is_due(late + SECOND * 130 / 100));
    }

    #[test]
    fn outcomes_of_another_time_and_trials_that_were_dropped_do_not_count() {
        let (breaker, now) = (breaker(), Instant::now());
        let Admission::Pass(old) = breaker.admit(now) else { panic!() };
        for _ in 0..3 {
            call(&breaker, true, now);
        }
        let late = now + 60 * SECOND;
        assert_eq!(breaker.admit(late), Admission::Try);
        breaker.untried();
        assert_eq!(breaker.admit(late), Admission::Try);
        breaker.tried(true, late);
        for _ in 0..10 {
            assert!(!breaker.record(old, true, late));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
