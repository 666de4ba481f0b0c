//! What is counted, for Prometheus.
//!
//! Owns the counters. Knows nothing of what they count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of all times, in seconds.
const BUCKETS: [f64; 12] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
];

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS) {
            if seconds <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// The counters.
#[derive(Default)]
pub struct Metrics {
    log: Histogram,
    log_bytes: AtomicU64,
}

impl Metrics {
    /// The log was written and flushed.
    pub fn log_written(&self, time: Duration, bytes: usize) {
        self.log.observe(time);
        self.log_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
