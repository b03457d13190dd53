//! The request metrics: one lookup and a handful of atomics per request, no lock.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, exemplar::Exemplar, gauge::Gauge},
};

/// Upper bounds of the duration histogram in seconds, as the original's.
const SECONDS: [f64; 9] = [0.0001, 0.005, 0.015, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5];
/// Upper bounds of the size histograms in bytes.
const BYTES: [f64; 7] = [1024.0, 16_384.0, 131_072.0, 1_048_576.0, 16_777_216.0, 134_217_728.0, 1_073_741_824.0];
/// Durations are summed in whole nanoseconds.
const NANOS: f64 = 1e9;

/// What is known of a finished request.
#[derive(Clone, Copy, Debug)]
pub struct RequestSample {
    /// The method; of a fixed set, since it becomes a label.
    pub method: &'static str,
    /// The operation's name in the original's metrics.
    pub action: &'static str,
    /// The status code.
    pub code: u16,
    /// From the end of the request's head to the end of the answer.
    pub seconds: f64,
    /// Body bytes received.
    pub received: u64,
    /// Body bytes sent.
    pub sent: u64,
}

/// Metrics per method, action and status code. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RequestMetrics {
    /// Requests being served.
    pub active: Gauge,
    // Label sets are few and soon all known: readers follow a pointer, a new one copies the map.
    series: Arc<ArcSwap<HashMap<Labels, Arc<Series>>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    action: &'static str,
    code: u16,
}

#[derive(Debug, Default)]
struct Series {
    duration: Histogram<{ SECONDS.len() }>,
    received: Histogram<{ BYTES.len() }>,
    sent: Histogram<{ BYTES.len() }>,
}

/// A histogram of whole numbers. Its count is the sum of its slots.
#[derive(Debug)]
struct Histogram<const N: usize> {
    slots: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| AtomicU64::new(0)), above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts `value`, adding `units` to the sum.
    fn observe(&self, bounds: &[f64; N], value: f64, units: u64) {
        let fitting = bounds.iter().zip(&self.slots).find(|(bound, _)| value <= **bound);
        fitting.map_or(&self.above, |(_, slot)| slot).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(units, Ordering::Relaxed);
    }

    fn encode(&self, bounds: &[f64; N], scale: f64, mut to: MetricEncoder<'_>) -> fmt::Result {
        let read = |slot: &AtomicU64| slot.load(Ordering::Relaxed);
        let mut buckets: Vec<(f64, u64)> =
            bounds.iter().zip(&self.slots).map(|(bound, slot)| (*bound, read(slot))).collect();
        buckets.push((f64::INFINITY, read(&self.above)));
        let count = buckets.iter().map(|(_, count)| count).sum();
        to.encode_histogram::<Labels>(float(read(&self.sum)) / scale, count, &buckets, None)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a sum shown by Prometheus is a double")]
fn float(number: u64) -> f64 {
    number as f64
}

impl RequestMetrics {
    /// Counts a finished request.
    pub fn record(&self, sample: &RequestSample) {
        let labels = Labels { method: sample.method, action: sample.action, code: sample.code };
        let known = self.series.load();
        match known.get(&labels) {
            Some(series) => series.record(sample),
            None => self.add(&labels).record(sample),
        }
    }

    /// The series of a label set not seen before.
    fn add(&self, labels: &Labels) -> Arc<Series> {
        let fresh = Arc::<Series>::default();
        self.series.rcu(|known| {
            let mut more = HashMap::clone(known);
            more.entry(labels.clone()).or_insert_with(|| Arc::clone(&fresh));
            more
        });
        // Another thread may have been first; its series is the one that counts.
        self.series.load().get(labels).map_or(fresh, Arc::clone)
    }
}

impl Series {
    fn record(&self, sample: &RequestSample) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, which is what a sum of durations wants"
        )]
        let nanos = (sample.seconds * NANOS) as u64;
        self.duration.observe(&SECONDS, sample.seconds, nanos);
        self.received.observe(&BYTES, float(sample.received), sample.received);
        self.sent.observe(&BYTES, float(sample.sent), sample.sent);
    }

    fn count(&self) -> u64 {
        let slots = self.duration.slots.iter().chain([&self.duration.above]);
        slots.map(|slot| slot.load(Ordering::Relaxed)).sum()
    }
}

impl Collector for RequestMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let active = encoder.encode_descriptor(
            "s3_cloudserver_http_active_requests",
            "Requests being served",
            None,
            MetricType::Gauge,
        )?;
        self.active.encode(active)?;
        let series = self.series.load();
        let mut each = |name, help, kind, encode: &dyn Fn(&Series, MetricEncoder<'_>) -> fmt::Result| {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            series.iter().try_for_each(|(labels, series)| encode(series, family.encode_family(labels)?))
        };
        each("s3_cloudserver_http_requests", "Requests", MetricType::Counter, &|series, mut to| {
            to.encode_counter::<Labels, _, f64>(&series.count(), None::<&Exemplar<Labels, f64>>)
        })?;
        each(
            "s3_cloudserver_http_request_duration_seconds",
            "Duration of requests",
            MetricType::Histogram,
            &|series, to| series.duration.encode(&SECONDS, NANOS, to),
        )?;
        each("s3_cloudserver_http_request_size_bytes", "Body bytes received", MetricType::Histogram, &|series, to| {
            series.received.encode(&BYTES, 1.0, to)
        })?;
        each("s3_cloudserver_http_response_size_bytes", "Body bytes sent", MetricType::Histogram, &|series, to| {
            series.sent.encode(&BYTES, 1.0, to)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_counted_by_racing_threads_are_all_there() {
        let metrics = RequestMetrics::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for code in (0..1000).map(|n| 200 + n % 7) {
                        let (method, action) = ("GET", "objectGet");
                        metrics.record(&RequestSample { method, action, code, seconds: 2.0, received: 0, sent: 9 });
                    }
                });
            }
        });
        let series = metrics.series.load();
        assert_eq!(series.len(), 7);
        assert_eq!(series.values().map(|one| one.count()).sum::<u64>(), 4000);
        let above: u64 = series.values().map(|one| one.duration.above.load(Ordering::Relaxed)).sum();
        assert_eq!(above, 4000);
    }
}
