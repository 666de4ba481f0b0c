//! What is counted, for Prometheus.
//!
//! Owns the counters and their names. What the table of the regions says is read when somebody asks,
//! so that nothing is done for it while nobody does. Knows neither HTTP nor a Raft node.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use almadia::RoleKind;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::routes::{Route, Routes};

/// As what the text is sent.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of all times, in seconds; the last one is for as long as a request is
/// tried.
const BUCKETS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// How a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is answered.
    Answered,
    /// It asks for something that cannot be, or that is not understood.
    Invalid,
    /// It was not done; later it may be.
    Unavailable,
    /// It may be done or not.
    Unknown,
    /// It was not done for another reason.
    Failed,
}

impl Ended {
    const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    outcome: &'static str,
}

/// The counters.
pub struct Metrics {
    started: Instant,
    registry: Registry,
    log: Histogram,
    log_bytes: Counter,
    applied: Counter,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
}

fn times() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Metrics {
    /// Nothing is counted yet. These are the regions to tell of.
    #[must_use]
    pub fn new(routes: Arc<Routes>) -> Self {
        let mut metrics = Self {
            started: Instant::now(),
            registry: Registry::with_prefix("almadia_store"),
            log: times(),
            log_bytes: Counter::default(),
            applied: Counter::default(),
            requests: Family::new_with_constructor(times),
        };
        let registry = &mut metrics.registry;
        registry.register_with_unit(
            "log_write",
            "How long it takes to write the log and have it durable",
            Unit::Seconds,
            metrics.log.clone(),
        );
        registry.register_with_unit(
            "log_written",
            "What was written to the log",
            Unit::Bytes,
            metrics.log_bytes.clone(),
        );
        registry.register(
            "applied_entries",
            "Log entries that the state machine was given, of all regions",
            metrics.applied.clone(),
        );
        registry.register_with_unit(
            "request",
            "How long requests of clients take, by method and by how they end",
            Unit::Seconds,
            metrics.requests.clone(),
        );
        registry.register_collector(Box::new(Regions(routes)));
        metrics
    }

    /// For how long has been counted.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// So much was written to the log, and made durable in so long.
    pub fn log_written(&self, bytes: usize, time: Duration) {
        self.log_bytes.inc_by(bytes as u64);
        self.log.observe(time.as_secs_f64());
    }

    /// So many entries were applied.
    pub fn applied(&self, entries: u64) {
        self.applied.inc_by(entries);
    }

    /// A request has ended. There must be few names of methods: each one is counted for itself.
    pub fn request_ended(&self, method: &'static str, ended: Ended, time: Duration) {
        let outcome = ended.name();
        let labels = RequestLabels { method, outcome };
        self.requests
            .get_or_create(&labels)
            .observe(time.as_secs_f64());
    }

    /// Everything, as a text for Prometheus.
    ///
    /// # Errors
    ///
    /// If it cannot be put into words.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Something of a region that is told as a number.
type Figure = fn(&Route) -> u64;

fn leads(route: &Route) -> bool {
    route.role == RoleKind::Leader
}

/// Tells of the regions.
struct Regions(Arc<Routes>);

impl fmt::Debug for Regions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Regions")
    }
}

impl Collector for Regions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.all();
        let count = |is: &dyn Fn(&Route) -> bool| all.values().filter(|route| is(route)).count();
        let totals = [
            ("regions", "Regions on this node", all.len()),
            ("regions_led", "Regions that this node leads", count(&leads)),
            (
                "regions_asleep",
                "Regions whose clock stands on this node, because nothing happens",
                count(&|route| route.is_asleep),
            ),
        ];
        for (name, help, total) in totals {
            let gauge = ConstGauge::new(total as u64);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let each: [(_, _, Figure); 3] = [
            (
                "region_commit_index",
                "Up to where the region's log is known to be committed",
                |route| route.committed,
            ),
            (
                "region_applied_index",
                "Up to where the region's log is applied",
                |route| route.applied,
            ),
            (
                "region_is_leader",
                "Whether this node leads the region",
                |route| u64::from(leads(route)),
            ),
        ];
        for (name, help, value) in each {
            let mut gauges = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for route in all.values() {
                let labels = [("region", route.region.0)];
                ConstGauge::new(value(route)).encode(gauges.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new(Arc::default());
        metrics.log_written(30, Duration::from_millis(3));
        metrics.applied(7);
        metrics.request_ended("put", Ended::Answered, Duration::from_millis(2));
        metrics.request_ended("put", Ended::Answered, Duration::from_millis(20));
        metrics.request_ended("put", Ended::Unknown, Duration::from_secs(6));
        let text = metrics.text().expect("a text");
        for line in [
            "almadia_store_log_write_seconds_count 1",
            "almadia_store_log_written_bytes_total 30",
            "almadia_store_applied_entries_total 7",
            "almadia_store_request_seconds_count{method=\"put\",outcome=\"answered\"} 2",
            "almadia_store_request_seconds_bucket{le=\"+Inf\",method=\"put\",outcome=\"unknown\"} 1",
            "almadia_store_regions 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\nin\n{text}");
        }
    }
}
