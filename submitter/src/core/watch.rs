//! Watching a job until it is over.

use std::time::Duration;

use common::ids::{Bid, Rid};
use common::outcome::{Fault, FaultClass, Outcome};
use common::timers::{Now, backoff};
use common::wire::{self, Role, to_ingress};

use super::{
    Batch, Core, Gone, JobPhase, JobView, Op, Output, State, Trouble, deliver, inline, salt, too_late,
};

const MINUTE: Duration = Duration::from_secs(60);
/// How long a job may run beyond its completion window before it is cancelled from here: not every provider does.
const OVERTIME: Duration = Duration::from_secs(15 * 60);
/// A provider is not asked later than this on its wish. The operator may want longer waits.
const ASKED_MAX: Duration = Duration::from_secs(3600);
/// How long a provider may not know a job that it has created (404 in between is seen at several providers).
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// After how many answers in a row that cannot be read a job is given up whose results come with it: they are what is broken,
/// unless it passes within [`UNKNOWN_FOR`].
const UNREADABLE: u32 = 10;
/// How often a batch is submitted again without its refused lines.
const ROUNDS: u32 = 16;
/// Tries of the deletion that tells a refusal from a fence, before the callers get the refusal all the same.
const JUDGED: u32 = 5;

impl Core {
    pub(super) fn poll_later(&mut self, now: Now, bid: Bid) {
        let draining = self.members.is_draining();
        let Some(batch) = self.batches.get(&bid) else { return };
        let attempt = if draining { 0 } else { batch.attempt };
        let wait = self.poll_wait(bid, batch, attempt);
        self.later(now, bid, wait);
    }

    /// How long a job is left alone: longer each time, and as long as its provider's limit of questions demands when a credential
    /// has many jobs. What the operator wants goes before what the provider is known to bear.
    fn poll_wait(&self, bid: Bid, batch: &Batch, attempt: u32) -> Duration {
        let first = self.timing.poll_min.unwrap_or(batch.caps.poll_min);
        let wait = backoff(first, self.timing.poll_max.max(first), attempt, salt(bid));
        if self.timing.poll_min.is_some() {
            return wait;
        }
        let same = |other: &&Batch| {
            other.state == State::Polling && other.key.fingerprint() == batch.key.fingerprint()
        };
        let jobs =
            self.batches.values().filter(same).count().max(1) * (self.members.count(Role::Submitter) + 1);
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        wait.max(MINUTE.saturating_mul(jobs) / batch.caps.polls_per_minute.max(1))
    }

    pub(super) fn polled(
        &mut self,
        now: Now,
        bid: Bid,
        result: Result<JobView, Trouble>,
        out: &mut Vec<Output>,
    ) {
        let polling = |batch: &&mut super::Batch| batch.state == State::Polling;
        let Some(batch) = self.batches.get_mut(&bid).filter(polling) else { return };
        if now.saturating_sub(batch.offered_at) > batch.lifetime() {
            return self.fail(now, bid, too_late(), out);
        }
        let job = match result {
            Ok(job) => job,
            Err(trouble) => return self.poll_failed(now, bid, &trouble, out),
        };
        // `since` is when the provider last knew the job.
        (batch.since, batch.unreadable) = (now, 0);
        let news =
            batch.job.as_ref().is_none_or(|old| (&old.status, old.counts) != (&job.status, job.counts));
        let (phase, unserved) = (job.phase, batch.grants.is_empty());
        batch.job = Some(job);
        if news {
            self.send_state(bid, out);
        }
        match phase {
            JobPhase::Running => {
                self.cancel_if_over_time(now, bid, out);
                self.poll_later(now, bid);
            }
            JobPhase::Failed => self.job_failed(now, bid, out),
            JobPhase::Completed | JobPhase::Expired | JobPhase::Cancelled => {
                self.not_refused(bid);
                // Where every ingress was given up, the results wait for whoever asks.
                let next = if unserved { State::Flushing } else { State::Delivering };
                self.enter(now, bid, next, out);
            }
        }
    }

    fn cancel_if_over_time(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let over = |batch: &&mut Batch| {
            batch.age(now) > batch.caps.window + batch.queued + OVERTIME && batch.may_be_cancelled(now)
        };
        if let Some(batch) = self.batches.get_mut(&bid).filter(over) {
            tracing::warn!(%bid, job = batch.job_id(), "a job runs beyond its completion window: it is cancelled");
            batch.ask_to_cancel(bid, out);
        }
    }

    /// A failed poll says nothing about the job: it is asked again, for as long as the job may run. Not so if it is answered
    /// for long with what cannot be read, and that could be its results.
    fn poll_failed(&mut self, now: Now, bid: Bid, trouble: &Trouble, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let long = now.saturating_sub(batch.since) > UNKNOWN_FOR;
        if trouble.status == Some(404) && long {
            let outcome = trouble.answer.clone().unwrap_or_else(too_late);
            return self.fail(now, bid, outcome, out);
        }
        let unreadable = batch.caps.inline_bytes > 0 && matches!(trouble.status, Some(200..300));
        batch.unreadable = if unreadable { batch.unreadable + 1 } else { 0 };
        if batch.unreadable >= UNREADABLE && long {
            tracing::warn!(%bid, job = batch.job_id(), "a job cannot be read: {}", trouble.message);
            return self.fail(now, bid, Outcome::Fault(deliver::illegible()), out);
        }
        let Some(batch) = self.batches.get(&bid) else { return };
        let wait = self.poll_wait(bid, batch, batch.attempt);
        let wait = trouble.retry_after.map_or(wait, |asked| asked.min(ASKED_MAX).max(wait));
        self.later(now, bid, wait);
    }

    fn send_state(&self, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let Some(job) = &batch.job else { return };
        let (total, completed, failed) = job.counts.unwrap_or_default();
        for grant in &batch.grants {
            let state = wire::JobState {
                bid: bid.to_bytes(),
                epoch: grant.epoch,
                job: job.id.clone(),
                status: job.status.clone(),
                total,
                completed,
                failed,
            };
            out.push(Output::ToIngress(grant.ingress, None, to_ingress::Body::JobState(state)));
        }
    }

    /// Refused as a whole, nothing was executed. Lines that are named get the provider's words, the rest goes again.
    fn job_failed(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let Some(job) = batch.job.take() else { return };
        let is_full = |(code, line, _): &&(String, Option<u64>, String)| {
            code == "token_limit_exceeded" && line.is_none()
        };
        let full = job.errors.iter().find(is_full).map(|(_, _, words)| words.as_str());
        if let Some(words) = full {
            self.learn_limit(now, bid, words);
        }
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        if batch.recovery.is_some() {
            // Which line was to blame cannot be told from a part of the file, and there may be a later file and job: it takes
            // the whole proof to give the requests back. The next batch will tell.
            let files = batch.files.clone();
            return match inline::any(&files) {
                true => self.release(now, bid, out),
                false => self.fence(now, bid, files, out),
            };
        }
        batch.rounds += 1;
        let fenced = job.input_file.as_ref().is_some_and(|file| batch.fenced.contains(file));
        if fenced && batch.rounds <= ROUNDS {
            return self.resubmit(now, bid, Duration::ZERO);
        }
        let (rounds, lines) = (batch.rounds, batch.untold().collect::<Vec<Rid>>());
        let named = |line: &Option<u64>| lines.get(usize::try_from((*line)?.checked_sub(1)?).ok()?).copied();
        if let Some(file) = batch.files.last().filter(|file| !inline::is_inline(file)).cloned() {
            if full.is_none() && !job.errors.iter().any(|(_, line, _)| named(line).is_some()) {
                return self.enter(now, bid, State::Refused { file, job }, out);
            }
            self.delete_later(now, bid, &file);
        }
        if let Some(words) = full {
            return self.queue_was_full(now, bid, words, failed_whole(&job), out);
        }
        let mut evicted = 0;
        for (code, line, message) in &job.errors {
            if let Some(rid) = named(line) {
                evicted += 1;
                self.evict(bid, rid, refusal(code, message), out);
            }
        }
        if evicted == 0 || rounds > ROUNDS {
            return self.fail(now, bid, failed_whole(&job), out);
        }
        match self.batches.get(&bid).is_some_and(|batch| batch.untold().next().is_some()) {
            true => self.resubmit(now, bid, Duration::ZERO),
            false => self.enter(now, bid, State::Flushing, out),
        }
    }

    /// A file that somebody else has deleted was another submitter's fence, and a new one may be made; a file that was there
    /// was refused. No creation is under way: its answer was the job.
    pub(super) fn refusal_judged(
        &mut self,
        now: Now,
        bid: Bid,
        result: Result<Gone, Trouble>,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let State::Refused { file, job } = &batch.state else { return };
        let left = batch.rounds <= ROUNDS && batch.untold().next().is_some();
        let (file, outcome) = (file.clone(), failed_whole(job));
        match result {
            Ok(Gone::Absent) if left => {
                tracing::info!(%bid, file, "a file was deleted before its job could read it; submitting the batch again");
                self.resubmit(now, bid, Duration::ZERO);
            }
            Err(trouble) if batch.attempt < JUDGED => self.again(now, bid, &trouble, out),
            Ok(_) => self.fail(now, bid, outcome, out),
            Err(_) => {
                self.delete_later(now, bid, &file);
                self.fail(now, bid, outcome, out);
            }
        }
    }

    fn evict(&mut self, bid: Bid, rid: Rid, outcome: Outcome, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        if batch.told.insert(rid) {
            out.push(Output::Do(bid, Op::Tell(vec![rid], outcome)));
        }
    }

    fn resubmit(&mut self, now: Now, bid: Bid, wait: Duration) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        (batch.state, batch.attempt, batch.since) = (State::Uploading, 0, now);
        batch.lost.clear();
        batch.step += 1;
        self.later(now, bid, wait);
    }
}

/// The first reason that the provider gives for refusing a batch.
fn failed_whole(job: &JobView) -> Outcome {
    match job.errors.first() {
        Some((code, _, message)) => refusal(code, message),
        None => refusal("batch_failed", "The provider refused the batch of this request without a reason."),
    }
}

/// The provider's reason, with the status that the same mistake has in a synchronous call.
fn refusal(code: &str, message: &str) -> Outcome {
    let class = match code {
        "model_not_found" => FaultClass::NotFound,
        "input_no_permissions" | "permission_denied" => FaultClass::Forbidden,
        _ => FaultClass::Invalid,
    };
    let fault = Fault::new(class, code, message).no_retry();
    Outcome::Fault(match class {
        // This key, or this model, has no batches.
        FaultClass::NotFound | FaultClass::Forbidden => fault.unbatchable(),
        _ => fault,
    })
}
