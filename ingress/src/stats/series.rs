//! Counts and a histogram of durations.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest duration told apart, in milliseconds: a week, far beyond any completion window.
const LONGEST_MS: u64 = 7 * 24 * 3600 * 1000;
/// Percentiles are right to one part in a thousand; the histogram then takes some 170 KB, whatever it records.
const DIGITS: u8 = 3;

/// How many ended how, and how long they took.
#[derive(Debug)]
pub(super) struct Series {
    successful: u64,
    failed: u64,
    /// Exact, for the average; in microseconds.
    sum_us: u128,
    /// In milliseconds; `None` only if its constants were wrong.
    times: Option<Histogram<u64>>,
}

/// A series in numbers; times in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    total: u64,
    successful: u64,
    failed: u64,
    avg: f64,
    p50: f64,
    p95: f64,
    p99: f64,
}

impl Default for Series {
    fn default() -> Self {
        let times = Histogram::new_with_bounds(1, LONGEST_MS, DIGITS).ok();
        Self { successful: 0, failed: 0, sum_us: 0, times }
    }
}

impl Series {
    pub(super) fn record(&mut self, took: Duration, success: bool) {
        if success {
            self.successful += 1
        } else {
            self.failed += 1
        }
        self.sum_us += took.as_micros();
        if let Some(times) = &mut self.times {
            // Clamps what is out of bounds.
            times.saturating_record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// One ended with nobody left to see it: a failure, whose time says nothing.
    pub(super) fn abandoned(&mut self) {
        self.failed += 1;
    }

    pub(super) fn summary(&self) -> Summary {
        let timed = self.times.as_ref().map_or(0, Histogram::len);
        let percentile = |p| {
            self.times.as_ref().filter(|_| timed > 0).map_or(0.0, |times| times.value_at_percentile(p) as f64)
        };
        Summary {
            total: self.successful + self.failed,
            successful: self.successful,
            failed: self.failed,
            avg: if timed == 0 { 0.0 } else { self.sum_us as f64 / timed as f64 / 1000.0 },
            p50: percentile(50.0),
            p95: percentile(95.0),
            p99: percentile(99.0),
        }
    }
}
