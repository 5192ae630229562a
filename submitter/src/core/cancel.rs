//! Ending batches before their time: on the order to stop, and when no caller waits any more.

use std::time::Duration;

use common::ids::{Bid, Pid};
use common::outcome::{Fault, FaultClass, Outcome};
use common::timers::{Now, backoff};
use common::wire::{self, Role};

use super::inline;
use super::{
    AGAIN, AGAIN_MAX, Batch, Core, JobPhase, ORPHANED, Op, Output, State, Timer, Trouble, deliver, salt,
};

/// How long an ingress's word that nobody waits counts. It repeats it every 5 s while it is so, and takes it back by
/// silence: two of its intervals and some.
const FRESH: Duration = Duration::from_secs(12);
/// Most cancellations of one job. With the waits between them, this is about a quarter of an hour.
const CANCELS: u32 = 20;
/// The longest wait that a provider may ask for before the next.
const ASKED_MAX: Duration = Duration::from_secs(600);

/// How far the cancellation of a batch's job is.
#[derive(Debug, Default)]
pub(super) struct Cancellation {
    /// It is on its way or done.
    asked: bool,
    tries: u32,
    /// When it may be tried again.
    due: Now,
}

impl Batch {
    /// Whether no caller waits for anything in this batch, by what its ingresses said lately. One that was given up may
    /// come back, or its callers may at another, so it is waited for.
    pub(super) fn is_abandoned(&self, now: Now) -> bool {
        if self.lost_at.is_some_and(|at| now.saturating_sub(at) < ORPHANED) {
            return false;
        }
        let fresh = |said: &Now| now.saturating_sub(*said) <= FRESH;
        self.grants.iter().all(|grant| self.abandoned.get(&grant.ingress).is_some_and(fresh))
    }

    /// Whether callers do not wait for this batch any longer, as one of its ingresses said lately: they will have their answers by
    /// another way.
    pub(super) fn is_overdue(&self, now: Now) -> bool {
        self.overdue.is_some_and(|said| now.saturating_sub(said) <= FRESH)
    }

    /// Whether it is not worth its price.
    pub(super) fn is_given_up(&self, now: Now) -> bool {
        self.is_overdue(now) || self.is_abandoned(now)
    }

    /// Whether a cancellation can help, and has not been asked for.
    pub(super) fn may_be_cancelled(&self, now: Now) -> bool {
        let Cancellation { asked, tries, due } = self.cancellation;
        let running = self.job.as_ref().is_some_and(|job| job.phase == JobPhase::Running);
        // Others may serve the rest of a job of which a part was taken over. If that part is overdue, so is soon the rest.
        let ours = self.recovery.is_none() || self.is_whole() || self.is_overdue(now);
        running && !asked && tries < CANCELS && due <= now && ours
    }

    pub(super) fn ask_to_cancel(&mut self, bid: Bid, out: &mut Vec<Output>) {
        if self.state == State::Polling && !self.cancellation.asked {
            self.cancellation.asked = true;
            self.cancellation.tries += 1;
            out.push(Output::Do(bid, Op::Cancel { job: self.job_id() }));
        }
    }
}

impl Core {
    pub(super) fn drain(&mut self, now: Now, out: &mut Vec<Output>) {
        self.members.drain(now);
        if let Some(after) = self.timing.cancel_after {
            self.timers.set(now + after, Timer::CancelAll);
        }
        let others = self.members.count(Role::Submitter) > 0;
        for bid in self.batches.keys().copied().collect::<Vec<_>>() {
            let Some(batch) = self.batches.get(&bid) else { continue };
            match batch.state {
                // What is being granted is given back as soon as it is; what was another's is asked for again at the farewell.
                State::Claiming | State::Opening if others && batch.recovery.is_none() => {}
                State::Claiming | State::Opening => self.forget(bid, out),
                State::Queued | State::Uploading | State::Intending { .. } => {
                    self.leave_unsent(now, bid, out)
                }
                State::Polling => self.hand_over_if_leaving(now, bid, out),
                State::Lingering(_) => self.finish(now, bid, out),
                State::Done => self.tidy_before_leaving(now, bid, out),
                _ => {}
            }
        }
    }

    /// Nothing was created, and this submitter leaves: where others are, the ingresses announce the requests again, else the
    /// callers may send them again.
    pub(super) fn leave_unsent(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        if self.members.count(Role::Submitter) == 0 {
            return self.give_back(now, bid, shutting_down(), out);
        }
        tracing::info!(%bid, "leaving a batch that is not submitted to another submitter");
        self.sweep_upload(now, bid);
        self.release(now, bid, out);
    }

    /// Nothing was created: the callers may send again.
    pub(super) fn give_back(&mut self, now: Now, bid: Bid, why: Fault, out: &mut Vec<Output>) {
        self.sweep_upload(now, bid);
        self.fail(now, bid, Outcome::Fault(why), out);
    }

    /// The same, of a batch whose file is there.
    pub(super) fn end_uncreated(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(State::Creating { file }) = self.batches.get(&bid).map(|batch| &batch.state) else { return };
        let file = file.clone();
        tracing::info!(%bid, "a batch is not waited for any more, and its provider has not taken it yet");
        if !inline::is_inline(&file) {
            self.delete_later(now, bid, &file);
        }
        self.give_back(now, bid, deliver::cancelled().again(), out);
    }

    /// An upload under way may still make a file.
    fn sweep_upload(&mut self, now: Now, bid: Bid) {
        if self.batches.get(&bid).is_some_and(|batch| batch.uploading) {
            self.sweep_later(now, bid);
        }
    }

    /// An ingress says that nobody waits there, or not any longer. Only ingresses with a grant in the batch are remembered.
    pub(super) fn abandoned(&mut self, now: Now, word: &wire::Abandoned, out: &mut Vec<Output>) {
        let (Ok(bid), Ok(ingress)) = (Bid::from_slice(&word.bid), Pid::from_slice(&word.ingress)) else {
            return;
        };
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        if batch.grants.iter().any(|grant| grant.ingress == ingress) {
            match word.overdue {
                true => batch.overdue = Some(now),
                false => drop(batch.abandoned.insert(ingress, now)),
            }
            self.end_if_given_up(now, bid, out);
        }
    }

    /// Gives back a batch that is not worth its price, or cancels its job. While a creation may be on its way, what became of
    /// it comes first.
    pub(super) fn end_if_given_up(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let left_to_the_provider = self.members.is_draining() && self.timing.cancel_after.is_none();
        let overdue = self.batches.get(&bid).is_some_and(|batch| batch.is_overdue(now));
        if !overdue && self.is_taken_up(bid) {
            // By callers of a lost ingress who have come to another.
            return;
        }
        let given_up = |batch: &&mut Batch| batch.is_given_up(now);
        let Some(batch) = self.batches.get_mut(&bid).filter(given_up) else { return };
        match batch.state {
            State::Queued | State::Uploading | State::Intending { .. } => {
                tracing::info!(%bid, "a batch is not waited for any more: it is not submitted");
                self.give_back(now, bid, deliver::cancelled().again(), out);
            }
            State::Polling if batch.may_be_cancelled(now) && !left_to_the_provider => {
                tracing::info!(%bid, job = batch.job_id(), "a job is not waited for any more: it is cancelled");
                batch.ask_to_cancel(bid, out);
            }
            _ => {}
        }
    }

    /// Whether a part of a batch's job is recovered here.
    fn is_taken_up(&self, bid: Bid) -> bool {
        let recovered = |batch: &Batch| batch.recovery.as_ref().is_some_and(|r| r.origin == bid);
        self.batches.get(&bid).is_some_and(|batch| !batch.lost.is_empty())
            && self.batches.values().any(recovered)
    }

    pub(super) fn cancel_all(&mut self, out: &mut Vec<Output>) {
        for (bid, batch) in &mut self.batches {
            batch.ask_to_cancel(*bid, out);
        }
    }

    pub(super) fn cancelled(&mut self, now: Now, bid: Bid, result: &Result<(), Trouble>) {
        let polling = |batch: &&mut Batch| batch.state == State::Polling;
        let Some(batch) = self.batches.get_mut(&bid).filter(polling) else { return };
        let Err(trouble) = result else {
            // Whatever became of it, the next poll tells.
            return self.poll_later(now, bid);
        };
        tracing::warn!(%bid, "a job could not be cancelled: {}", trouble.message);
        let cancellation = &mut batch.cancellation;
        let wait = backoff(AGAIN, AGAIN_MAX, cancellation.tries.saturating_sub(1), salt(bid));
        let wait = trouble.retry_after.map_or(wait, |asked| asked.clamp(wait, ASKED_MAX));
        (cancellation.asked, cancellation.due) = (false, now + wait);
        self.timers.set(now + wait, Timer::Cancel(bid));
    }
}

/// What callers get whose batch the order to stop has met before its job was created.
pub(super) fn shutting_down() -> Fault {
    let message = "llm-proxy is shutting down. The request was not submitted to the provider; send it again.";
    Fault::new(FaultClass::Unavailable, "shutting_down", message).retry_after(Duration::from_secs(1))
}
