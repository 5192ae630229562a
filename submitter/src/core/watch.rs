//! Watching a job until it is over.

use std::time::Duration;

use common::ids::{Bid, Rid};
use common::outcome::{Fault, FaultClass, Outcome};
use common::timers::{Now, backoff};
use common::wire::{self, to_ingress};

use super::{Core, Gone, JobPhase, JobView, LIFETIME, Op, Output, State, Trouble, salt, too_late};

/// A provider is not asked later than this on its wish. The operator may want longer waits.
const ASKED_MAX: Duration = Duration::from_secs(3600);
/// How long a provider may not know a job that it has created (404 in between is seen at several providers).
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// First wait after a whole batch was refused for the provider's queue being full; it doubles up to the second.
const QUEUE_FULL: Duration = Duration::from_secs(15);
const QUEUE_FULL_MAX: Duration = Duration::from_secs(600);
/// How often a batch is submitted again without its refused lines.
const ROUNDS: u32 = 16;
/// Tries of the deletion that tells a refusal from a fence, before the callers get the refusal all the same.
const JUDGED: u32 = 5;

impl Core {
    pub(super) fn poll_later(&mut self, now: Now, bid: Bid) {
        let draining = self.members.is_draining();
        let Some(batch) = self.batches.get(&bid) else { return };
        let attempt = if draining { 0 } else { batch.attempt };
        let wait = backoff(self.timing.poll_min, self.timing.poll_max, attempt, salt(bid));
        self.later(now, bid, wait);
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
        if now.saturating_sub(batch.offered_at) > LIFETIME {
            return self.fail(now, bid, too_late(), out);
        }
        let job = match result {
            Ok(job) => job,
            Err(trouble) => return self.poll_failed(now, bid, &trouble, out),
        };
        // `since` is when the provider last knew the job.
        batch.since = now;
        let news =
            batch.job.as_ref().is_none_or(|old| (&old.status, old.counts) != (&job.status, job.counts));
        let (phase, unserved) = (job.phase, batch.grants.is_empty());
        batch.job = Some(job);
        if news {
            self.send_state(bid, out);
        }
        match phase {
            JobPhase::Running => self.poll_later(now, bid),
            JobPhase::Failed => self.job_failed(now, bid, out),
            // Every ingress was given up: the results wait for whoever asks.
            _ if unserved => self.enter(now, bid, State::Flushing, out),
            JobPhase::Completed | JobPhase::Expired | JobPhase::Cancelled => {
                self.enter(now, bid, State::Delivering, out);
            }
        }
    }

    /// A failed poll says nothing about the job: it is asked again, for as long as the job may run.
    fn poll_failed(&mut self, now: Now, bid: Bid, trouble: &Trouble, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        if trouble.status == Some(404) && now.saturating_sub(batch.since) > UNKNOWN_FOR {
            let outcome = trouble.answer.clone().unwrap_or_else(too_late);
            return self.fail(now, bid, outcome, out);
        }
        let wait = backoff(self.timing.poll_min, self.timing.poll_max, batch.attempt, salt(bid));
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
        if batch.recovery.is_some() {
            // Which line was to blame cannot be told from a part of the file, and there may be a later file and job: it takes
            // the whole proof to give the requests back. The next batch will tell.
            let files = batch.files.clone();
            return self.fence(now, bid, files, out);
        }
        batch.rounds += 1;
        let fenced = job.input_file.as_ref().is_some_and(|file| batch.fenced.contains(file));
        if fenced && batch.rounds <= ROUNDS {
            return self.resubmit(now, bid, Duration::ZERO);
        }
        let (rounds, lines) = (batch.rounds, batch.untold().collect::<Vec<Rid>>());
        let named = |line: &Option<u64>| lines.get(usize::try_from((*line)?.checked_sub(1)?).ok()?).copied();
        let queue_full =
            job.errors.iter().any(|(code, line, _)| code == "token_limit_exceeded" && line.is_none());
        if let Some(file) = batch.files.last().cloned() {
            if !queue_full && !job.errors.iter().any(|(_, line, _)| named(line).is_some()) {
                return self.enter(now, bid, State::Refused { file, job }, out);
            }
            self.delete_later(now, bid, &file);
        }
        if queue_full {
            tracing::info!(%bid, job = job.id, "the provider's queue is full; submitting the batch again later");
            return self.resubmit(now, bid, backoff(QUEUE_FULL, QUEUE_FULL_MAX, rounds - 1, salt(bid)));
        }
        let mut evicted = 0;
        for (code, line, message) in &job.errors {
            if let Some(rid) = named(line) {
                evicted += 1;
                self.evict(bid, rid, refusal(&job, code, message), out);
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
        Some((code, _, message)) => refusal(job, code, message),
        None => {
            refusal(job, "batch_failed", "The provider refused the batch of this request without a reason.")
        }
    }
}

/// The provider's reason, with the status that the same mistake has in a synchronous call.
fn refusal(job: &JobView, code: &str, message: &str) -> Outcome {
    let class = match code {
        "model_not_found" => return not_found(job, code, message),
        "input_no_permissions" | "permission_denied" => FaultClass::Forbidden,
        _ => FaultClass::Invalid,
    };
    Outcome::Fault(Fault::new(class, code, message).no_retry())
}

/// A model that does not exist is a 404 at the synchronous endpoints (OpenAI API reference, error codes).
fn not_found(job: &JobView, code: &str, message: &str) -> Outcome {
    let error = serde_json::json!({"error": {
        "message": message, "type": "invalid_request_error", "param": null, "code": code,
    }});
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    let (status, body) = (http::StatusCode::NOT_FOUND, error.to_string().into());
    Outcome::Response(common::outcome::Response { status, headers, job: job.id.clone(), body })
}
