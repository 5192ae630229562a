//! What all simulated providers share: settings, faults, the ledger, counters and complaints.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::faults::{Decision, Faults, Op};
use crate::ledger::Ledger;
use crate::rng::Rng;

/// Milliseconds since the Unix epoch. The models are told the time, they never ask for it.
pub type Millis = u64;

/// Complaints that are kept; later ones are only counted.
const MAX_VIOLATIONS: usize = 200;

/// State shared by the providers' models.
#[derive(Debug)]
pub struct Core {
    /// The settings.
    pub config: Arc<Config>,
    /// The faults in force.
    pub faults: Faults,
    /// What was executed.
    pub ledger: Ledger,
    /// Draws ids and jitter.
    pub rng: Rng,
    ops: BTreeMap<Op, u64>,
    violations: Vec<String>,
    violation_count: u64,
}

impl Core {
    /// A fresh state without faults.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            faults: Faults::default(),
            ledger: Ledger::new(config.keep_entries, config.keep_bodies),
            rng: Rng::labelled(config.seed, "ids"),
            ops: BTreeMap::new(),
            violations: Vec::new(),
            violation_count: 0,
            config,
        }
    }

    /// Counts a call and decides its faults; `object` is what it is about, with its age in milliseconds.
    pub fn begin(&mut self, op: Op, object: Option<(&str, u64)>) -> Decision {
        *self.ops.entry(op).or_default() += 1;
        self.faults.decide(op, object)
    }

    /// How many calls of a kind were received, whatever became of them. [`Op::Any`] sums all.
    pub fn received(&self, op: Op) -> u64 {
        if op == Op::Any { self.ops.values().sum() } else { self.ops.get(&op).copied().unwrap_or(0) }
    }

    /// The counters of all calls.
    pub fn ops(&self) -> &BTreeMap<Op, u64> {
        &self.ops
    }

    /// Notes that the caller did what a careful client does not do.
    pub fn violation(&mut self, text: impl Into<String>) {
        self.violation_count += 1;
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(text.into());
        }
    }

    /// The complaints, oldest first, at most 200.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// How many complaints there were.
    pub fn violation_count(&self) -> u64 {
        self.violation_count
    }
}
