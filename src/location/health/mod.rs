//! How the stores behind locations are doing, and what is done about those that are not well.
//!
//! Every store elsewhere is wrapped once, so that all callers profit: calls have deadlines, a circuit breaker refuses
//! them at once while the store is away, and no store can take more than its share of calls. A sick location costs its
//! own objects only: locations share no lock and no permit here.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    data::{DataBackend, DataError, layered::Layered},
    telemetry::metrics::{LocationFigures, LocationOutcome},
};

mod activity;
mod breaker;
mod guard;
#[cfg(test)]
mod tests;
mod watch;

use activity::Activity;
use breaker::{Admission, Breaker, jittered};
pub use breaker::{BreakerSettings, BreakerState};
use guard::Guard;
pub use watch::{first_look, watch};

/// The longest time that a probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// A caller who goes away after waiting so long tells that the location does not answer.
const ABANDONED: Duration = Duration::from_secs(5);

/// How stores elsewhere are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// When to give up on a location, and for how long.
    pub breaker: BreakerSettings,
    /// Time between probes of a location that works.
    pub probe: Duration,
    /// The longest silence of a location within a call.
    pub answer: Duration,
    /// Most calls of a location under way: they must leave room for the requests of others.
    pub calls: usize,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            breaker: BreakerSettings {
                failures: 5,
                pause: Duration::from_secs(1),
                longest_pause: Duration::from_mins(1),
            },
            probe: Duration::from_mins(1),
            answer: Duration::from_secs(30),
            calls: 1024,
        }
    }
}

/// How a location is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// Whether it works, as far as known: a location is taken for well until something else shows.
    pub is_up: bool,
    /// What was wrong last, in words for operators; empty where nothing was.
    pub problem: String,
    /// What it is used for now.
    pub breaker: BreakerState,
}

/// The health of one location; its backend's wrapper and those who report share it.
pub struct LocationHealth {
    name: Arc<str>,
    inner: Arc<dyn DataBackend>,
    settings: HealthSettings,
    breaker: Breaker,
    calls: Arc<Semaphore>,
    figures: LocationFigures,
    good_news: (&'static str, Option<&'static str>),
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    is_up: bool,
    problem: String,
    next_probe: Option<Instant>,
}

impl fmt::Debug for LocationHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocationHealth").field("name", &self.name).field("known", &self.known).finish_non_exhaustive()
    }
}

impl LocationHealth {
    /// Wraps the backend of a location; gives the wrapper and the health that it keeps.
    ///
    /// `good_news` is what is said of it while it works, and what its probe makes sure of about versioning.
    pub fn guard(
        (name, good_news): (&str, (&'static str, Option<&'static str>)),
        inner: Arc<dyn DataBackend>,
        settings: HealthSettings,
        figures: LocationFigures,
    ) -> (Arc<dyn DataBackend>, Arc<Self>) {
        let health = Arc::new(Self {
            name: name.into(),
            inner: Arc::clone(&inner),
            settings,
            breaker: Breaker::new(settings.breaker),
            calls: Arc::new(Semaphore::new(settings.calls)),
            figures,
            good_news,
            known: Mutex::new(Known { is_up: true, problem: String::new(), next_probe: None }),
        });
        health.figures.set_up(true);
        (Arc::new(Layered::over(inner, Guard(Arc::clone(&health)))), health)
    }

    /// How the location is doing, as far as known: nothing is asked.
    pub fn report(&self) -> HealthReport {
        let known = self.known.lock();
        HealthReport { is_up: known.is_up, problem: known.problem.clone(), breaker: self.breaker.state() }
    }

    /// What is said of the location while it works, and of versioning there.
    pub fn good_news(&self) -> (&'static str, Option<&'static str>) {
        self.good_news
    }

    /// Asks the location whether it works, and notes the answer.
    ///
    /// # Cancel safety
    /// A dropped future notes nothing.
    pub async fn check(&self) -> bool {
        let trial = Trial(&self.breaker);
        let limit = self.settings.answer.min(PROBE_LIMIT);
        let answer = timeout(limit, self.inner.probe()).await.unwrap_or_else(|_| Err(silent(limit)));
        let now = Instant::now();
        self.breaker.tried(answer.is_ok(), now);
        drop(trial);
        // One that does not work is asked again sooner.
        let pause = if answer.is_ok() { self.settings.probe } else { self.settings.probe.min(PROBE_LIMIT) };
        self.known.lock().next_probe = now.checked_add(jittered(pause));
        self.note(answer.as_ref().err());
        answer.is_ok()
    }

    /// Whether it is time for [`LocationHealth::check`], for the caller to do: a regular probe, or the trial of a
    /// location that is not used.
    fn is_due(&self, now: Instant) -> bool {
        match self.breaker.state() {
            BreakerState::Closed => self.known.lock().next_probe.is_none_or(|next| next <= now),
            BreakerState::Open => self.breaker.is_due(now) && self.breaker.admit(now) == Admission::Try,
            BreakerState::HalfOpen => false,
        }
    }

    /// Notes that the location works, or what is wrong; logs only what is new.
    fn note(&self, error: Option<&DataError>) {
        let state = self.breaker.state();
        let is_up = error.is_none() && state == BreakerState::Closed;
        let mut known = self.known.lock();
        let changed = known.is_up != is_up;
        known.is_up = is_up;
        if let Some(error) = error {
            known.problem = problem(error);
        } else if is_up {
            known.problem.clear();
        }
        self.figures.set_up(is_up);
        self.figures.set_breaker(match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        });
        match (changed, is_up) {
            (true, true) => tracing::info!(location = &*self.name, "the location works again"),
            (true, false) => {
                tracing::warn!(location = &*self.name, problem = known.problem, "the location does not work");
            }
            (false, _) => {}
        }
    }

    /// Leave for a call.
    ///
    /// # Errors
    /// [`DataError::Unavailable`], at once, while the location is not used, or has too many calls under way.
    async fn admit(self: &Arc<Self>, operation: &'static str) -> Result<Pass, DataError> {
        let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() else {
            self.figures.refused(operation);
            return Err(DataError::Unavailable(format!(
                "location {} has {} calls under way already",
                self.name, self.settings.calls
            )));
        };
        // The second round is for whoever had to try the location first.
        for _ in 0..2 {
            match self.breaker.admit(Instant::now()) {
                Admission::Pass(era) => {
                    return Ok(Pass {
                        health: Arc::clone(self),
                        operation,
                        era,
                        began: Instant::now(),
                        activity: None,
                        is_over: false,
                        _permit: permit,
                    });
                }
                Admission::Try => drop(self.check().await),
                Admission::Refused => break,
            }
        }
        self.figures.refused(operation);
        let problem = self.known.lock().problem.clone();
        Err(DataError::Unavailable(format!("location {} is not used for now: {problem}", self.name)))
    }

    /// A call that failed, or did not.
    fn record(&self, era: u64, fault: Option<&DataError>) {
        let failed = fault.is_some_and(is_failure);
        if self.breaker.record(era, failed, Instant::now()) {
            self.note(fault);
        }
    }
}

/// A trial whose outcome nobody tells, because it was dropped, is none.
struct Trial<'a>(&'a Breaker);

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.0.untried();
    }
}

/// Leave for one call. Its drop, without an outcome, tells how long somebody waited in vain.
struct Pass {
    health: Arc<LocationHealth>,
    operation: &'static str,
    era: u64,
    began: Instant,
    activity: Option<Arc<Activity>>,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Pass {
    /// The call has come to its end. The permit stays until the pass is dropped.
    fn end(&mut self, fault: Option<&DataError>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.health.record(self.era, fault);
        let outcome = match fault {
            None => LocationOutcome::Ok,
            Some(DataError::NotFound(_)) => LocationOutcome::NotFound,
            Some(DataError::Body(_)) => LocationOutcome::Client,
            Some(fault) if is_failure(fault) => LocationOutcome::Unavailable,
            Some(_) => LocationOutcome::Failed,
        };
        self.health.figures.called(self.operation, outcome, self.began.elapsed());
    }

    /// The call was answered, and bytes are to follow: [`Pass::delivered`] tells whether it went well.
    fn answered(&mut self) {
        self.is_over = true;
        self.health.figures.called(self.operation, LocationOutcome::Ok, self.began.elapsed());
    }

    /// The bytes behind an answer came to their end, or did not.
    fn delivered(&self, fault: Option<&DataError>) {
        self.health.record(self.era, fault);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let waited = self.activity.as_ref().map_or_else(|| self.began.elapsed(), |activity| activity.waited());
        if waited >= ABANDONED {
            let fault = DataError::Unavailable(format!("no answer within {} s", waited.as_secs()));
            self.health.record(self.era, Some(&fault));
        }
        self.health.figures.called(self.operation, LocationOutcome::Abandoned, self.began.elapsed());
    }
}

/// Whether a fault says that the location does not work, rather than something of one blob or body.
fn is_failure(fault: &DataError) -> bool {
    match fault {
        DataError::Unavailable(_) | DataError::Io(_) => true,
        DataError::NotFound(_)
        | DataError::Corrupt { .. }
        | DataError::OutOfRange(_)
        | DataError::NoSpace
        | DataError::NameTooLong(_)
        | DataError::Parts(_)
        | DataError::Body(_) => false,
    }
}

fn silent(limit: Duration) -> DataError {
    DataError::Unavailable(format!("no answer within {} ms", limit.as_millis()))
}

/// The fault in words for operators.
fn problem(fault: &DataError) -> String {
    match fault {
        DataError::Unavailable(text) => text.clone(),
        other => other.to_string(),
    }
}
