//! Housekeeping beside a batch's way: files that must not stay at the provider.

use std::time::Duration;

use common::ids::Bid;
use common::timers::{Now, backoff};
use common::wire::Role;

use super::{Batch, Core, Gone, Op, Output, State, Timer, Trouble, salt};

/// Tries of a deletion. With the waits between them, this is about a quarter of an hour.
const TRIES: u32 = 20;
/// When files of lost uploads are looked for, counted from the loss: soon, and again for lists that lag.
const SWEEPS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(15), Duration::from_secs(40)];

/// How soon a sweep that waits for an upload is tried.
const SWEEP_AFTER_UPLOAD: Duration = Duration::from_millis(500);

/// Something to do about files.
#[derive(Debug, Clone)]
pub(super) struct Chore {
    what: What,
    due: Now,
    /// Failures in a row.
    tries: u32,
    /// Looks for lost files that succeeded.
    looks: usize,
    running: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Delete(String),
    Sweep,
}

impl Batch {
    pub(super) fn is_sweeping(&self) -> bool {
        self.chores.iter().any(|chore| chore.running && chore.what == What::Sweep)
    }
}

impl Core {
    pub(super) fn delete_later(&mut self, now: Now, bid: Bid, file: &str) {
        self.delete_at(now, bid, file, now);
    }

    pub(super) fn delete_at(&mut self, now: Now, bid: Bid, file: &str, due: Now) {
        self.add_chore(now, bid, What::Delete(file.to_owned()), due);
    }

    /// Files that were to stay for a while, since an ingress may still want its part of a job: where other submitters are,
    /// one of them serves it and deletes them; else they go now.
    pub(super) fn tidy_before_leaving(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let others = self.members.count(Role::Submitter) > 0;
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let waits = |chore: &Chore| chore.tries == 0 && !chore.running && chore.due > now;
        match others {
            true => batch.chores.retain(|chore| !waits(chore) || chore.what == What::Sweep),
            false => batch.chores.iter_mut().filter(|chore| waits(chore)).for_each(|chore| chore.due = now),
        }
        self.chores(now, bid, out);
    }

    pub(super) fn sweep_later(&mut self, now: Now, bid: Bid) {
        self.add_chore(now, bid, What::Sweep, now + SWEEPS[0]);
    }

    fn add_chore(&mut self, now: Now, bid: Bid, what: What, due: Now) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        match batch.chores.iter_mut().find(|chore| chore.what == what) {
            // A further lost upload: look anew.
            Some(chore) => (chore.tries, chore.looks) = (0, 0),
            None => batch.chores.push(Chore { what, due, tries: 0, looks: 0, running: false }),
        }
        self.timers.set(due.max(now), Timer::Chores(bid));
    }

    /// Starts what is due; a batch that is done and tidy is forgotten.
    pub(super) fn chores(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let (name, age) = (batch.file_name.clone(), batch.age(now));
        for chore in batch.chores.iter_mut().filter(|chore| !chore.running && chore.due <= now) {
            if chore.what == What::Sweep && batch.uploading {
                // The file of this upload has no id yet by which it could be kept.
                chore.due = now + SWEEP_AFTER_UPLOAD;
                self.timers.set(chore.due, Timer::Chores(bid));
                continue;
            }
            chore.running = true;
            let op = match &chore.what {
                What::Delete(file) => Op::Delete { file: file.clone() },
                What::Sweep => Op::Sweep { name: name.clone(), keep: batch.files.clone(), age },
            };
            out.push(Output::Do(bid, op));
        }
        if batch.state == State::Done && batch.chores.is_empty() {
            self.forget(bid, out);
        }
    }

    pub(super) fn deleted(
        &mut self,
        now: Now,
        bid: Bid,
        file: &str,
        result: Result<Gone, Trouble>,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get(&bid) else { return };
        match &batch.state {
            State::Fencing { files, gone, .. } if files.get(*gone).is_some_and(|fence| fence == file) => {
                self.fence_deleted(now, bid, result, out);
            }
            State::Refused { file: refused, .. } if refused == file => {
                self.refusal_judged(now, bid, result, out);
            }
            _ => self.chore_done(now, bid, &What::Delete(file.to_owned()), result.as_ref().err(), out),
        }
    }

    pub(super) fn swept(
        &mut self,
        now: Now,
        bid: Bid,
        result: &Result<usize, Trouble>,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let Some(chore) = batch.chores.iter_mut().find(|chore| chore.what == What::Sweep) else { return };
        let next = SWEEPS.get(chore.looks + 1).map(|at| *at - SWEEPS[chore.looks]);
        match (result, next) {
            (Ok(_), Some(wait)) => {
                chore.looks += 1;
                (chore.tries, chore.running, chore.due) = (0, false, now + wait);
                self.timers.set(now + wait, Timer::Chores(bid));
            }
            (Ok(_), None) => self.chore_done(now, bid, &What::Sweep, None, out),
            (Err(trouble), _) => self.chore_done(now, bid, &What::Sweep, Some(trouble), out),
        }
    }

    fn chore_done(
        &mut self,
        now: Now,
        bid: Bid,
        what: &What,
        trouble: Option<&Trouble>,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let Some(at) = batch.chores.iter().position(|chore| chore.what == *what) else { return };
        let chore = &mut batch.chores[at];
        match trouble {
            Some(trouble) if chore.tries < TRIES => {
                let wait = backoff(Duration::from_secs(1), Duration::from_secs(60), chore.tries, salt(bid));
                let wait =
                    trouble.retry_after.map_or(wait, |asked| asked.clamp(wait, Duration::from_secs(600)));
                (chore.tries, chore.running, chore.due) = (chore.tries + 1, false, now + wait);
                self.timers.set(now + wait, Timer::Chores(bid));
            }
            other => {
                if let Some(trouble) = other {
                    tracing::warn!(%bid, "files of a batch may be left at the provider: {}", trouble.message);
                }
                batch.chores.remove(at);
            }
        }
        self.chores(now, bid, out);
    }
}
