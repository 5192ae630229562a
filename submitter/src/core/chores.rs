//! Housekeeping beside a batch's way: files that must not stay at the provider.

use std::time::Duration;

use common::ids::Bid;
use common::timers::{Now, backoff};
use common::wire::Role;
use providers::Marks;

use super::{
    Batch, Core, Gone, JobPhase, JobView, ORPHANED, Op, Output, State, Timer, Trouble, TroubleKind, inline,
    salt,
};

/// Tries of a deletion. With the waits between them, this is about a quarter of an hour.
const TRIES: u32 = 20;
/// When files of lost uploads are looked for, counted from the loss: soon, and again for lists that lag.
const SWEEPS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(15), Duration::from_secs(40)];
/// The same for batches that were another's, who may have died, or only be paused, with an upload on its way. Nobody waits
/// for this, so a file that was made just now, perhaps by somebody who was wrongly thought dead, gets time to become a job's.
const SWEEPS_AFTER_OTHERS: [Duration; 3] =
    [Duration::from_secs(20), Duration::from_secs(80), Duration::from_secs(300)];
/// How often a job of a batch is looked at that others see to.
const WATCH: Duration = Duration::from_secs(60);

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
    /// A job runs whose files must stay until it is over.
    watches: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Delete(String),
    Sweep,
}

impl Batch {
    fn sweeps(&self) -> &'static [Duration] {
        if self.recovery.is_some() { &SWEEPS_AFTER_OTHERS } else { &SWEEPS }
    }

    /// Whether a submitter that leaves can leave what is still to be done: because somebody takes it over, or because only files
    /// are left that an ingress may still want which was given up. If that one lives, it has its part taken over; if not,
    /// nobody is left who knows of them.
    pub(super) fn may_be_left(&self) -> bool {
        let for_the_lost = |chore: &Chore| {
            self.grants.is_empty() && chore.tries == 0 && matches!(chore.what, What::Delete(_))
        };
        let left = |chore: &Chore| !chore.running && (self.handed_over || for_the_lost(chore));
        self.state == State::Done && self.chores.iter().all(left)
    }

    /// Whether a submitter that leaves has done what it could.
    pub(super) fn is_left_untidy(&self) -> bool {
        self.state == State::Done && self.chores.is_empty() && self.untidy
    }

    pub(super) fn is_sweeping(&self) -> bool {
        self.chores.iter().any(|chore| chore.running && chore.what == What::Sweep)
    }
}

impl Core {
    pub(super) fn delete_later(&mut self, now: Now, bid: Bid, file: &str) {
        self.delete_at(now, bid, file, now);
    }

    pub(super) fn delete_at(&mut self, now: Now, bid: Bid, file: &str, due: Now) {
        if inline::is_inline(file) {
            return;
        }
        self.add_chore(now, bid, What::Delete(file.to_owned()), due);
    }

    /// Files that were to stay for a while, since an ingress may still want its part of a job: where other submitters are,
    /// an ingress asks one of them to serve it, or to tidy up, and it deletes them; else they go now. Whose own bus is away cannot
    /// tell that nobody is there.
    pub(super) fn tidy_before_leaving(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let alone = self.members.knows_all(now) && self.members.count(Role::Submitter) == 0;
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let waits = |chore: &Chore| chore.tries == 0 && !chore.running && chore.due > now;
        if alone {
            // What is looked for before its time may not be listed yet: its ingress is to remember it.
            batch.untidy |= batch.chores.iter().any(|chore| waits(chore) && chore.what == What::Sweep);
            batch.chores.iter_mut().filter(|chore| waits(chore)).for_each(|chore| chore.due = now);
        }
        self.chores(now, bid, out);
        self.hand_over_if_leaving(now, bid, out);
    }

    pub(super) fn sweep_later(&mut self, now: Now, bid: Bid) {
        let first = self.batches.get(&bid).map_or(SWEEPS[0], |batch| batch.sweeps()[0]);
        self.add_chore(now, bid, What::Sweep, now + first);
    }

    fn add_chore(&mut self, now: Now, bid: Bid, what: What, due: Now) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        match batch.chores.iter_mut().find(|chore| chore.what == what) {
            // A further lost upload: look anew.
            Some(chore) => (chore.tries, chore.looks) = (0, 0),
            None => {
                batch.chores.push(Chore { what, due, tries: 0, looks: 0, running: false, watches: false })
            }
        }
        self.timers.set(due.max(now), Timer::Chores(bid));
    }

    /// Starts what is due; a batch that is done and tidy is forgotten.
    pub(super) fn chores(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let (name, age, origin) = (batch.file_name.clone(), batch.age(now), batch.origin(bid));
        let of_another = batch.recovery.is_some();
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
                // First the jobs, since their input files stay while they run.
                What::Sweep if of_another && batch.caps.marks_jobs != Marks::Never => {
                    Op::Find { batch: origin, files: batch.files.clone(), age, except: Vec::new() }
                }
                What::Sweep => Op::Sweep { name: name.clone(), keep: batch.files.clone(), age },
            };
            out.push(Output::Do(bid, op));
        }
        if batch.state == State::Done && batch.chores.is_empty() && !batch.handed_over && !batch.untidy {
            if !self.members.is_draining() {
                self.say_tidy(now, bid, out);
            }
            self.forget(bid, out);
        }
    }

    /// The jobs of a batch that was another's. While one runs, its input stays; the results of one that is over stay for as
    /// long as another ingress may have its part served.
    pub(super) fn listed(
        &mut self,
        now: Now,
        bid: Bid,
        result: Result<(Vec<JobView>, bool), Trouble>,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let (own, age, name) = (batch.job_id(), batch.age(now), batch.file_name.clone());
        let lifetime = batch.lifetime();
        let mut keep = batch.files.clone();
        let Some(chore) = batch.chores.iter_mut().find(|c| c.what == What::Sweep && c.running) else {
            return;
        };
        let jobs = match result {
            Ok((jobs, true)) => jobs,
            Ok((_, false)) => return self.chore_done(now, bid, &What::Sweep, Some(&incomplete()), out),
            Err(trouble) => return self.chore_done(now, bid, &What::Sweep, Some(&trouble), out),
        };
        let (run, over): (Vec<JobView>, Vec<JobView>) =
            jobs.into_iter().filter(|job| job.id != own).partition(|job| job.phase == JobPhase::Running);
        chore.watches = !run.is_empty() && age < lifetime;
        keep.extend(run.into_iter().filter_map(|job| job.input_file));
        for file in over.into_iter().flat_map(|job| [job.output_file, job.error_file]).flatten() {
            self.delete_at(now, bid, &file, now + ORPHANED);
        }
        out.push(Output::Do(bid, Op::Sweep { name, keep, age }));
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
        let sweeps = batch.sweeps();
        let Some(chore) = batch.chores.iter_mut().find(|chore| chore.what == What::Sweep) else { return };
        let next = sweeps.get(chore.looks + 1).zip(sweeps.get(chore.looks)).map(|(next, at)| *next - *at);
        match (result, next.or(chore.watches.then_some(WATCH))) {
            (Ok(_), Some(wait)) => {
                chore.looks += usize::from(next.is_some());
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

/// A list that could not be read to its end.
fn incomplete() -> Trouble {
    Trouble {
        kind: TroubleKind::NotDone,
        retry_after: None,
        retryable: true,
        file_not_visible: false,
        queue_full: false,
        message: "the list of jobs is incomplete".into(),
        answer: None,
        status: None,
    }
}
