//! Batches whose requests travel in the call that creates their job.
//!
//! There is no file that could be deleted, so a creation whose answer was lost cannot be stopped: its job is looked for, and when
//! there is none after the time in which it would appear, the operator has decided what is worse, an error or a second bill. What
//! the ingresses register before the creation is a name of ours in place of a file.

use std::time::Duration;

use common::ids::{Bid, Pid};
use common::outcome::{Fault, FaultClass, Outcome};
use common::timers::{Now, backoff};
use providers::Marks;

use super::batch::{Batch, State};
use super::submit::{LOOK_AGAIN_MAX, LOOK_FOR};
use super::{AGAIN, Core, Output, Trouble, salt};

/// How a registered name begins that is no file's. Providers' ids begin with a word of theirs.
const INLINE: &str = "llmp-inline-";
/// Longest wait between looks for a job that may be one of those that have not ended.
pub(super) const UNDECIDED_MAX: Duration = Duration::from_secs(60);

/// Whether a registered name is no file's.
pub(super) fn is_inline(file: &str) -> bool {
    file.starts_with(INLINE)
}

/// Whether any creation of these cannot be fenced.
pub(super) fn any(files: &[String]) -> bool {
    files.iter().any(|file| is_inline(file))
}

impl Batch {
    /// Whether it is small enough to travel in the creation, where its provider takes that.
    pub(super) fn goes_inline(&self) -> bool {
        let bodies: u64 = self.grants.iter().map(|grant| grant.body_bytes).fold(0, u64::saturating_add);
        let lines = self.grants.iter().map(|grant| grant.rids.len() as u64).sum::<u64>();
        let whole = bodies.saturating_add(lines.saturating_mul(self.caps.line_overhead));
        self.caps.inline_bytes > 0 && whole <= self.caps.inline_bytes
    }

    /// Whether its provider takes files too, and it has other requests than the one that may be to blame.
    pub(super) fn can_go_by_file(&self) -> bool {
        self.caps.inline_bytes != u64::MAX && self.untold().nth(1).is_some()
    }
}

impl Core {
    /// Has the ingresses register that a creation may come, as they register a file.
    pub(super) fn register_inline(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let name = format!("{INLINE}{bid}-{}", batch.files.len());
        batch.files.push(name.clone());
        batch.files_known_at = now;
        self.intend(now, bid, name, out);
    }

    /// A request that is malformed fails the whole call that it travels in; as a line of a file it fails alone.
    pub(super) fn go_by_file(&mut self, now: Now, bid: Bid, trouble: &Trouble, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        tracing::info!(%bid, "the provider refuses a batch for one of its requests ({}); it goes by file", trouble.message);
        batch.caps.inline_bytes = 0;
        self.enter(now, bid, State::Uploading, out);
    }

    /// The bodies of an ingress could not be had: the call broke off before its end, and nothing was created.
    pub(super) fn not_whole(&mut self, now: Now, bid: Bid, gone: Pid, out: &mut Vec<Output>) {
        if let Some(batch) = self.batches.get_mut(&bid) {
            batch.state = State::Uploading;
        }
        self.ingress_left(now, bid, gone, out);
        if self.batches.get(&bid).is_some_and(|batch| batch.state == State::Uploading) {
            self.enter(now, bid, State::Uploading, out);
        }
    }

    /// No job is found so far. A list that is not complete, or has jobs of which nobody can say yet whose they are, proves
    /// nothing.
    pub(super) fn not_found_inline(&mut self, now: Now, bid: Bid, complete: bool, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let looked = now.saturating_sub(batch.since);
        let long = looked >= LOOK_FOR + self.timing.settle;
        if complete && long || looked > batch.lifetime() {
            return self.never_found(now, bid, out);
        }
        let longest = if long { UNDECIDED_MAX } else { LOOK_AGAIN_MAX };
        let wait = backoff(AGAIN, longest, batch.attempt, salt(bid));
        self.later(now, bid, wait);
    }

    pub(super) fn never_found(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let recovered = self.batches.get(&bid).is_some_and(|batch| batch.recovery.is_some());
        match (self.timing.recreate, recovered) {
            (false, _) => {
                tracing::warn!(%bid, "nobody can say whether a batch was submitted: its callers are told so");
                self.fail(now, bid, Outcome::Fault(ambiguous()), out);
            }
            (true, true) => self.release(now, bid, out),
            (true, false) => {
                tracing::warn!(%bid, "nobody can say whether a batch was submitted: it is submitted again");
                self.enter(now, bid, State::Uploading, out);
            }
        }
    }

    /// The jobs of all other batches in hand of a provider that may not mark them.
    pub(super) fn jobs_of_others(&self, bid: Bid) -> Vec<String> {
        if self.batches.get(&bid).is_none_or(|batch| batch.caps.marks_jobs == Marks::Always) {
            return Vec::new();
        }
        let others = self.batches.iter().filter(|(other, _)| **other != bid);
        others.filter_map(|(_, batch)| Some(batch.job.as_ref()?.id.clone())).collect()
    }
}

/// What callers get whose batch may have been submitted. It is not to be sent again by itself: that could be paid twice.
fn ambiguous() -> Fault {
    let message = "The answer to the submission of this request's batch was lost, and the batch was not found at the provider. It \
                   may have been executed and billed; send the request again if that does not matter.";
    Fault::new(FaultClass::Ambiguous, "submission_ambiguous", message).no_retry()
}
