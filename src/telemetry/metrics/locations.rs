//! Locations in figures.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    location: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    location: String,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    location: String,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Direction {
    location: String,
    direction: &'static str,
}

/// How a call of a location elsewhere ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocationOutcome {
    /// Well.
    Ok,
    /// What was asked for is not there.
    NotFound,
    /// The client's body was at fault.
    Client,
    /// The location did not work, or did not answer in time.
    Unavailable,
    /// Any other fault.
    Failed,
    /// The caller went away before the end.
    Abandoned,
    /// The call was not made: the location is not used for now, or has too many.
    Refused,
}

impl LocationOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::Client => "client",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::Refused => "refused",
        }
    }
}

/// Figures of all locations. Clones share them; there are as many labels as locations were ever configured.
#[derive(Clone, Debug)]
pub struct LocationMetrics {
    up: Family<Place, Gauge>,
    breaker: Family<Place, Gauge>,
    calls: Family<Call, Counter>,
    seconds: Family<Operation, Histogram, fn() -> Histogram>,
    bytes: Family<Direction, Counter>,
    held: Family<Place, Gauge>,
    versions: Family<Place, Gauge>,
    limit: Family<Place, Gauge>,
    notes: Family<Place, Gauge>,
    oldest: Family<Place, Gauge>,
}

impl Default for LocationMetrics {
    fn default() -> Self {
        Self {
            up: Family::default(),
            breaker: Family::default(),
            calls: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            bytes: Family::default(),
            held: Family::default(),
            versions: Family::default(),
            limit: Family::default(),
            notes: Family::default(),
            oldest: Family::default(),
        }
    }
}

impl LocationMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("location_up", "Whether a location elsewhere works: 1 or 0", self.up.clone());
        let breaker = self.breaker.clone();
        registry.register("location_breaker", "Calls pass (0), one tries (1), are refused (2)", breaker);
        registry.register("location_calls", "Calls of locations elsewhere", self.calls.clone());
        registry.register("location_call_seconds", "Durations of those calls, to the answer", self.seconds.clone());
        registry.register("location_transferred_bytes", "Bytes to and from locations elsewhere", self.bytes.clone());
        registry.register("location_held_bytes", "Bytes that a location holds", self.held.clone());
        registry.register("location_versions", "Versions of objects at a location", self.versions.clone());
        let notes = self.notes.clone();
        registry.register("location_unconfirmed_notes", "What a location was told and has not confirmed", notes);
        let oldest = self.oldest.clone();
        registry.register("location_unconfirmed_oldest_seconds", "For how long the oldest of that waits", oldest);
        registry.register("location_limit_bytes", "Most bytes that a location may hold", self.limit.clone());
    }

    /// The figures of one location elsewhere.
    pub fn of(&self, location: &str) -> LocationFigures {
        let direction = |direction| Direction { location: location.to_owned(), direction };
        LocationFigures {
            sent: self.bytes.get_or_create_owned(&direction("sent")),
            received: self.bytes.get_or_create_owned(&direction("received")),
            location: location.to_owned(),
            all: self.clone(),
        }
    }

    /// What locations have not confirmed yet: how many notes, and for how many seconds the oldest waits. Others are not
    /// shown any more.
    pub fn show_unconfirmed(&self, all: impl IntoIterator<Item = (String, u64, u64)>) {
        self.notes.clear();
        self.oldest.clear();
        for (location, notes, seconds) in all {
            let place = Place { location };
            self.notes.get_or_create(&place).set(i64::try_from(notes).unwrap_or(i64::MAX));
            self.oldest.get_or_create(&place).set(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
    }

    /// What a location holds, and may hold.
    pub fn show_held(&self, location: &str, (versions, bytes): (i64, i64), limit: Option<u64>) {
        let place = Place { location: location.to_owned() };
        self.versions.get_or_create(&place).set(versions);
        self.held.get_or_create(&place).set(bytes);
        match limit {
            Some(limit) => drop(self.limit.get_or_create(&place).set(i64::try_from(limit).unwrap_or(i64::MAX))),
            None => drop(self.limit.remove(&place)),
        }
    }
}

/// Figures of one location elsewhere.
#[derive(Clone, Debug)]
pub struct LocationFigures {
    location: String,
    all: LocationMetrics,
    sent: Counter,
    received: Counter,
}

impl LocationFigures {
    /// Whether it works.
    pub fn set_up(&self, is_up: bool) {
        self.all.up.get_or_create(&self.place()).set(is_up.into());
    }

    /// The state of its breaker: 0 closed, 1 half open, 2 open.
    pub fn set_breaker(&self, state: i64) {
        self.all.breaker.get_or_create(&self.place()).set(state);
    }

    /// A call has ended.
    pub fn called(&self, operation: &'static str, outcome: LocationOutcome, time: Duration) {
        let label = Call { location: self.location.clone(), operation, outcome: outcome.as_str() };
        self.all.calls.get_or_create(&label).inc();
        let label = Operation { location: self.location.clone(), operation };
        self.all.seconds.get_or_create(&label).observe(time.as_secs_f64());
    }

    /// A call was not made.
    pub fn refused(&self, operation: &'static str) {
        let outcome = LocationOutcome::Refused.as_str();
        self.all.calls.get_or_create(&Call { location: self.location.clone(), operation, outcome }).inc();
    }

    /// Bytes went there.
    pub fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }

    /// Bytes came from there.
    pub fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    fn place(&self) -> Place {
        Place { location: self.location.clone() }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn each_location_has_its_figures() {
        let metrics = LocationMetrics::default();
        let far = metrics.of("far");
        far.set_up(false);
        far.set_breaker(2);
        far.called("put", LocationOutcome::Ok, Duration::from_millis(30));
        far.refused("put");
        far.sent(100);
        far.received(7);
        metrics.show_held("far", (3, 4096), Some(1 << 30));
        metrics.show_unconfirmed([("far".to_owned(), 2, 61)]);
        metrics.show_held("near", (1, 1), Some(5));
        metrics.show_held("near", (1, 1), None);
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for line in [
            "location_up{location=\"far\"} 0",
            "location_breaker{location=\"far\"} 2",
            "location_calls_total{location=\"far\",operation=\"put\",outcome=\"ok\"} 1",
            "location_calls_total{location=\"far\",operation=\"put\",outcome=\"refused\"} 1",
            "location_call_seconds_bucket{le=\"0.1\",location=\"far\",operation=\"put\"} 1",
            "location_transferred_bytes_total{location=\"far\",direction=\"sent\"} 100",
            "location_transferred_bytes_total{location=\"far\",direction=\"received\"} 7",
            "location_held_bytes{location=\"far\"} 4096",
            "location_versions{location=\"far\"} 3",
            "location_limit_bytes{location=\"far\"} 1073741824",
            "location_unconfirmed_notes{location=\"far\"} 2",
            "location_unconfirmed_oldest_seconds{location=\"far\"} 61",
        ] {
            assert!(shown.lines().any(|got| got == line), "{line} is not in\n{shown}");
        }
        assert!(!shown.contains("location_limit_bytes{location=\"near\"}"), "a limit that is gone is not shown");
    }
}
