//! Timers for state machines that have no clock of their own.

use std::collections::BTreeMap;
use std::time::Duration;

/// A moment: time since some start that all inputs of a state machine share. Never goes back.
pub type Now = Duration;

/// What is to happen when. Firing order is by time, then by the order of setting.
#[derive(Debug)]
pub struct Timers<T> {
    due: BTreeMap<(Now, u64), T>,
    count: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), count: 0 }
    }
}

impl<T> Timers<T> {
    /// Lets `what` fire at `at`. There is no cancelling: a timer that is no longer meant finds nothing to do.
    pub fn set(&mut self, at: Now, what: T) {
        self.count += 1;
        self.due.insert((at, self.count), what);
    }

    /// When the next timer fires.
    pub fn next(&self) -> Option<Now> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Takes out a timer that is due.
    pub fn pop(&mut self, now: Now) -> Option<T> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Number of timers set.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

/// `base` doubled for each attempt after the first, at most `cap`, and then spread by up to a quarter either way by
/// `salt`: the same salt and attempt always give the same delay, so that state machines stay deterministic.
pub fn backoff(base: Duration, cap: Duration, attempt: u32, salt: u64) -> Duration {
    let doubled = base.saturating_mul(1 << attempt.min(20)).min(cap);
    // splitmix64's finaliser: spreads neighbouring salts over the whole range.
    let mut x = salt.wrapping_add(u64::from(attempt)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let spread = (x >> 11) as f64 / (1u64 << 53) as f64;
    doubled.mul_f64(0.75 + spread / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_not_early() {
        let mut timers = Timers::default();
        let at = Duration::from_secs;
        timers.set(at(2), 'b');
        timers.set(at(1), 'a');
        timers.set(at(2), 'c');
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.pop(at(0)), None);
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop(at(2))).collect();
        assert_eq!(fired, ['a', 'b', 'c']);
        assert!(timers.is_empty());
    }

    #[test]
    fn backoff_grows_is_capped_and_spread() {
        let (base, cap) = (Duration::from_secs(1), Duration::from_secs(60));
        for salt in 0..1000 {
            for attempt in 0..40 {
                let delay = backoff(base, cap, attempt, salt);
                let middle = Duration::from_secs(1 << attempt.min(20)).min(cap);
                assert!(
                    delay >= middle.mul_f64(0.75) && delay <= middle.mul_f64(1.25),
                    "{attempt} {salt} {delay:?}"
                );
            }
        }
    }
}
