//! How long batches of a model take, as far as was seen lately.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use common::ids::Fingerprint;
use common::key::BatchKey;
use common::timers::Now;

/// Batches that are remembered of each model.
const SAMPLES: usize = 16;
/// Fewer say nothing.
const ENOUGH: usize = 3;
/// How long one counts. What is not tried any more is tried again when all are forgotten.
const COUNTS_FOR: Duration = Duration::from_secs(3600);
/// Models that are remembered; beyond it nothing is learned until some are forgotten.
const MODELS: usize = 1_000;

/// Times from grant to answer, by key (which is of one upstream) and model.
#[derive(Debug, Default)]
pub(super) struct Estimates(HashMap<(Fingerprint, String), VecDeque<Sample>>);

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Now,
    took: Duration,
    /// It would have taken longer.
    given_up: bool,
}

impl Estimates {
    /// A batch took so long, or was given up after so long.
    pub(super) fn record(&mut self, now: Now, key: &BatchKey, took: Duration, given_up: bool) {
        let name = (key.fingerprint(), key.model().to_owned());
        if self.0.len() >= MODELS && !self.0.contains_key(&name) {
            self.0.retain(|_, samples| samples.back().is_some_and(|sample| is_fresh(now, sample.at)));
            if self.0.len() >= MODELS {
                return;
            }
        }
        let samples = self.0.entry(name).or_default();
        if samples.len() >= SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample { at: now, took, given_up });
    }

    /// Whether most batches of late took longer than this.
    pub(super) fn exceeds(&self, now: Now, key: &BatchKey, deadline: Duration) -> bool {
        let name = (key.fingerprint(), key.model().to_owned());
        let Some(samples) = self.0.get(&name) else { return false };
        // One that was given up earlier says nothing about this deadline.
        let tells =
            |sample: &&Sample| is_fresh(now, sample.at) && (!sample.given_up || sample.took >= deadline);
        let telling = || samples.iter().filter(tells);
        let (all, longer) = (telling().count(), telling().filter(|sample| sample.took >= deadline).count());
        all >= ENOUGH && longer * 2 > all
    }

    /// Number of models.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn is_fresh(now: Now, at: Now) -> bool {
    now.saturating_sub(at) < COUNTS_FOR
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::wire;

    use super::*;

    fn key(model: &str) -> BatchKey {
        let fingerprint = Bytes::from_static(&[1; 16]);
        BatchKey::new(wire::BatchKey { fingerprint, model: model.into(), ..Default::default() }).unwrap()
    }

    #[test]
    fn most_batches_decide_for_an_hour() {
        let (mut estimates, key) = (Estimates::default(), key("m"));
        let minute = Duration::from_secs(60);
        for took in [10, 20] {
            estimates.record(Duration::ZERO, &key, took * minute, false);
        }
        assert!(!estimates.exceeds(minute, &key, 5 * minute), "two are not enough");
        estimates.record(Duration::ZERO, &key, minute, true);
        assert!(!estimates.exceeds(minute, &key, 5 * minute), "one was given up too early to tell");
        estimates.record(Duration::ZERO, &key, minute, false);
        assert!(estimates.exceeds(minute, &key, 5 * minute));
        assert!(!estimates.exceeds(minute, &key, 15 * minute), "one of three took longer");
        assert!(!estimates.exceeds(60 * minute, &key, 5 * minute), "all are old");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut estimates = Estimates::default();
        for n in 0..2 * MODELS {
            estimates.record(Duration::ZERO, &key(&n.to_string()), Duration::ZERO, false);
        }
        assert_eq!(estimates.len(), MODELS);
        estimates.record(COUNTS_FOR, &key("new"), Duration::ZERO, false);
        assert_eq!(estimates.len(), 1);
    }
}
