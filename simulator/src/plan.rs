//! What will become of a batch's lines, and how many of them are done: the same for all providers.

use std::ops::Range;
use std::sync::Arc;

use crate::config::Config;
use crate::core::{Core, Millis};
use crate::faults::BatchFaults;
use crate::ledger::Entry;
use crate::rng::Rng;

/// Where a line's result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// With the answers.
    Output,
    /// With the errors, as an error of its own.
    Error,
    /// With the errors, as expired: it was not executed.
    Expired,
    /// Nowhere: it was not executed.
    Nowhere,
}

/// What will become of a line.
#[derive(Debug)]
pub struct PlannedLine {
    /// When it is done, in milliseconds after the batch went in progress.
    pub at: Millis,
    /// Where its result goes.
    pub place: Place,
    /// Its result in [`Plan::results`].
    pub result: Range<usize>,
    /// Its `custom_id`, as a JSON string.
    pub id: Box<str>,
    /// What the ledger will say, until it does.
    pub entry: Option<Entry>,
}

/// The results of a batch's lines in the order in which they will be done.
#[derive(Debug)]
pub struct Plan {
    /// The one model of all lines; empty if there are several.
    pub model: Arc<str>,
    /// The lines in the order of their times.
    pub lines: Vec<PlannedLine>,
    /// The results, one after another, each ending in a newline.
    pub results: Vec<u8>,
    /// Prompt tokens of all lines.
    pub input_tokens: u64,
}

/// The lines of a batch in progress.
#[derive(Debug)]
pub struct Run {
    /// When it went in progress.
    pub started: Millis,
    /// All lines, in the order in which they get done.
    pub plan: Plan,
    /// How many are done.
    pub done: usize,
}

/// What came of the lines that were executed at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines with an answer, or billed as if they had one.
    pub completed: usize,
    /// Lines with an error, or expired.
    pub failed: usize,
    /// Prompt and completion tokens of the billed lines.
    pub usage: (u64, u64),
}

/// Gives every line its time: spread over the batch's time in random order, slow lines not before theirs.
pub fn spread(lines: &mut [PlannedLine], rng: &mut Rng, config: &Config) {
    rng.shuffle(lines);
    let swing = 1.0 + config.jitter * (rng.unit() * 2.0 - 1.0);
    let count = lines.len() as f64;
    let whole = config.batch_time.as_millis() as f64 * swing + config.line_time.as_secs_f64() * 1e3 * count;
    for (index, line) in lines.iter_mut().enumerate() {
        // A cast from f64 saturates: a negative or absurd configuration cannot overflow.
        line.at = line.at.max((whole * (index + 1) as f64 / count) as Millis);
    }
    lines.sort_by_key(|line| line.at);
}

impl Run {
    /// How many lines are done by `now`, if nothing holds them up.
    pub fn due(&self, now: Millis) -> usize {
        let elapsed = now.saturating_sub(self.started);
        self.plan.lines.partition_point(|line| line.at <= elapsed)
    }

    /// When the last of the first `lines` lines is done.
    pub fn time_of(&self, lines: usize) -> Millis {
        let last = lines.checked_sub(1).and_then(|index| self.plan.lines.get(index));
        last.map_or(self.started, |line| self.started.saturating_add(line.at))
    }

    /// How many lines can be done before a fault stops the batch.
    pub fn ceiling(&self, faults: &BatchFaults) -> usize {
        let stops = [faults.stall_after, faults.expire_after];
        stops.into_iter().flatten().fold(self.plan.lines.len(), usize::min)
    }

    /// When the batch stops running: with its last line, at a fault, or at the end of its window.
    pub fn stops(&self, faults: &BatchFaults, expires: Millis) -> Millis {
        let stop = self.ceiling(faults);
        let stalls = faults.stall_after.is_some_and(|after| after == stop);
        if stalls { expires } else { self.time_of(stop).min(expires) }
    }

    /// Executes all lines that are due: writes them into the ledger and counts them.
    pub fn execute(&mut self, core: &mut Core, now: Millis, faults: &BatchFaults) -> Tally {
        let until = self.due(now).min(self.ceiling(faults));
        let (vanish, counted) = faults.vanish.unwrap_or_default();
        let mut tally = Tally::default();
        for index in self.done..until {
            let line = &mut self.plan.lines[index];
            let mut entry = line.entry.take();
            if index < vanish {
                line.place = Place::Nowhere;
                entry = entry.filter(|_| counted);
            }
            match &entry {
                Some(entry) if entry.billed => {
                    tally.completed += 1;
                    tally.usage.0 += entry.input_tokens;
                    tally.usage.1 += entry.output_tokens;
                }
                Some(_) => tally.failed += 1,
                None if line.place == Place::Expired => tally.failed += 1,
                None => {}
            }
            if let Some(entry) = entry {
                core.ledger.record(entry);
            }
        }
        self.done = self.done.max(until);
        tally
    }
}
