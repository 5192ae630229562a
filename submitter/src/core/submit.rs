//! Upload, intent, creation, and what follows when the answer to a creation is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use common::ids::{Bid, Pid};
use common::outcome::Outcome;
use common::timers::{Now, backoff};
use common::wire::{self, to_ingress};

use super::cancel::Cancellation;
use super::{
    AGAIN, Core, Gone, JobPhase, JobView, Output, Purpose, State, Trouble, TroubleKind, inline, salt,
};

/// How long an intent waits for its answer, and how often it is sent to an ingress that nobody has heard of, and to a
/// live one, before it is left out.
const PATIENCE: Duration = Duration::from_secs(1);
const INTENTS_STRANGER: u32 = 8;
const INTENTS: u32 = 300;
/// How long a provider may not see a file that it has just taken (OpenAI's create reads from a lagging store).
const VISIBLE_AFTER: Duration = Duration::from_secs(60);
/// How long a created job is looked for before the input file is deleted.
pub(super) const LOOK_FOR: Duration = Duration::from_secs(30);
/// Complete lists without the job, after settling, that prove that it was not created.
const PROOFS: u32 = 2;
/// Longest wait between looks.
pub(super) const LOOK_AGAIN_MAX: Duration = Duration::from_secs(10);
/// How often a batch is uploaded anew whose file somebody else has deleted.
const ROUNDS: u32 = 16;
/// How often news of a job is sent without an acknowledgement.
const NEWS: u32 = 10;

/// Where an ingress's registration of a file stands: how often it was asked.
pub(super) type Registration = u32;

impl Core {
    pub(super) fn uploaded(
        &mut self,
        now: Now,
        bid: Bid,
        result: Result<String, Trouble>,
        out: &mut Vec<Output>,
    ) {
        if let Some(batch) = self.batches.get_mut(&bid) {
            batch.uploading = false;
        }
        let uploading = |batch: &&mut super::Batch| batch.state == State::Uploading;
        let Some(batch) = self.batches.get_mut(&bid).filter(uploading) else {
            // Too late: the batch has moved on without this upload.
            if let Ok(file) = result {
                self.delete_later(now, bid, &file);
            }
            return;
        };
        match result {
            // It may hold lines of an ingress that was given up meanwhile, which will have others submit them.
            Ok(file) if batch.uploading_of != batch.grants.len() => {
                self.delete_later(now, bid, &file);
                self.enter(now, bid, State::Uploading, out);
            }
            Ok(file) => {
                batch.files.push(file.clone());
                batch.files_known_at = now;
                self.intend(now, bid, file, out);
            }
            Err(trouble) => self.upload_failed(now, bid, &trouble, out),
        }
    }

    fn upload_failed(&mut self, now: Now, bid: Bid, trouble: &Trouble, out: &mut Vec<Output>) {
        match trouble.kind {
            TroubleKind::IngressLost(pid) => {
                self.ingress_left(now, bid, pid, out);
                if self.batches.get(&bid).is_some_and(|batch| batch.state == State::Uploading) {
                    self.enter(now, bid, State::Uploading, out);
                }
            }
            TroubleKind::Ambiguous => {
                // The file may be there all the same; it is found by its name.
                self.sweep_later(now, bid);
                self.again(now, bid, trouble, out);
            }
            TroubleKind::NotDone if trouble.retryable => self.again(now, bid, trouble, out),
            TroubleKind::NotDone => self.refused(now, bid, trouble, out),
        }
    }

    /// The provider's own refusal goes to every caller.
    fn refused(&mut self, now: Now, bid: Bid, trouble: &Trouble, out: &mut Vec<Output>) {
        tracing::warn!(%bid, status = trouble.status, "the provider refuses a batch: {}", trouble.message);
        let mut outcome = trouble.answer.clone().unwrap_or_else(super::too_late);
        if let (Outcome::Response(response), Some(401 | 403 | 404)) = (&mut outcome, trouble.status) {
            // This key, or this model, has no batches.
            response.unbatchable = true;
        }
        self.fail(now, bid, outcome, out);
    }

    pub(super) fn intend(&mut self, now: Now, bid: Bid, file: String, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let waiting: BTreeMap<Pid, Registration> =
            batch.grants.iter().map(|grant| (grant.ingress, 0)).collect();
        let ingresses: Vec<Pid> = waiting.keys().copied().collect();
        self.enter(now, bid, State::Intending { file, waiting }, out);
        for ingress in ingresses {
            self.send_intent(now, bid, ingress, out);
        }
    }

    fn send_intent(&mut self, now: Now, bid: Bid, ingress: Pid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let State::Intending { file, .. } = &batch.state else { return };
        let Some(grant) = batch.grants.iter().find(|grant| grant.ingress == ingress) else { return };
        let intent = wire::Intent {
            bid: bid.to_bytes(),
            epoch: grant.epoch,
            file: file.clone(),
            known_files: batch.files.clone(),
        };
        let token = self.token(now, Purpose::Intent(bid, ingress), PATIENCE);
        out.push(Output::ToIngress(ingress, Some(token), to_ingress::Body::Intent(intent)));
    }

    pub(super) fn intent_again(&mut self, now: Now, bid: Bid, ingress: Pid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let State::Intending { waiting, .. } = &mut batch.state else { return };
        let Some(sent) = waiting.get_mut(&ingress) else { return };
        *sent += 1;
        let most = if self.members.contains(ingress) { INTENTS } else { INTENTS_STRANGER };
        match *sent < most {
            true => self.send_intent(now, bid, ingress, out),
            false => self.ingress_left(now, bid, ingress, out),
        }
    }

    /// When every ingress has registered the file, the job may be created.
    pub(super) fn registered(
        &mut self,
        now: Now,
        bid: Bid,
        ingress: Pid,
        accepted: bool,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let State::Intending { file, waiting } = &mut batch.state else { return };
        if !accepted {
            // Its requests have ended or were granted to another: they must not be in the file.
            return self.ingress_left(now, bid, ingress, out);
        }
        waiting.remove(&ingress);
        if waiting.is_empty() {
            let file = file.clone();
            self.enter(now, bid, State::Creating { file }, out);
        }
    }

    pub(super) fn created(
        &mut self,
        now: Now,
        bid: Bid,
        result: Result<JobView, Trouble>,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let State::Creating { file } = &batch.state else { return };
        let file = file.clone();
        match result {
            Ok(job) => self.adopt(now, bid, job, out),
            Err(Trouble { kind: TroubleKind::IngressLost(pid), .. }) => self.not_whole(now, bid, pid, out),
            Err(trouble) if trouble.kind == TroubleKind::Ambiguous => {
                tracing::info!(%bid, "a creation has no answer ({}); looking for its job", trouble.message);
                self.enter(now, bid, State::Finding { files: vec![file] }, out);
            }
            Err(trouble) if trouble.file_not_visible && now.saturating_sub(batch.since) < VISIBLE_AFTER => {
                let wait = backoff(AGAIN / 2, AGAIN * 5, batch.attempt, salt(bid));
                self.later(now, bid, wait);
            }
            Err(trouble) if trouble.queue_full => {
                self.creation_refused_for_room(now, bid, &file, &trouble, out)
            }
            Err(trouble) if trouble.retryable && !trouble.file_not_visible => {
                self.again(now, bid, &trouble, out)
            }
            Err(trouble)
                if trouble.status == Some(400) && inline::is_inline(&file) && batch.can_go_by_file() =>
            {
                self.go_by_file(now, bid, &trouble, out);
            }
            // The file was there: somebody who thought us dead has deleted it. Nothing was created, and a new file can be.
            Err(trouble) if trouble.file_not_visible && batch.rounds < ROUNDS => {
                if let Some(batch) = self.batches.get_mut(&bid) {
                    batch.rounds += 1;
                }
                self.fence(now, bid, vec![file], out);
            }
            Err(trouble) => self.refused(now, bid, &trouble, out),
        }
    }

    /// Too much is enqueued: nothing was created, and the batch may have to be made smaller.
    fn creation_refused_for_room(
        &mut self,
        now: Now,
        bid: Bid,
        file: &str,
        trouble: &Trouble,
        out: &mut Vec<Output>,
    ) {
        let words = match &trouble.answer {
            Some(Outcome::Response(response)) => String::from_utf8_lossy(&response.body).into_owned(),
            _ => String::new(),
        };
        let refusal = trouble.answer.clone().unwrap_or_else(super::too_late);
        self.learn_limit(now, bid, &words);
        self.delete_later(now, bid, file);
        if let Some(batch) = self.batches.get_mut(&bid) {
            batch.rounds += 1;
        }
        self.queue_was_full(now, bid, &words, refusal, out);
    }

    /// Looks for the job of a creation whose answer was lost. Only deleting the input file, time to settle and two
    /// complete lists prove that there is none and never will be.
    pub(super) fn found(
        &mut self,
        now: Now,
        bid: Bid,
        result: Result<(Vec<JobView>, bool), Trouble>,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let (files, lists) = match &batch.state {
            State::Finding { files } => (files.clone(), None),
            State::Settling { files, lists } => (files.clone(), Some(*lists)),
            State::Done => return self.listed(now, bid, result, out),
            _ => return,
        };
        let (jobs, complete) = match result {
            Ok(found) => found,
            Err(trouble) => return self.again(now, bid, &trouble, out),
        };
        // After the deletion a job that failed for its missing file is the fence at work, not a result. Of several files of a
        // batch that is taken over, an earlier one's refused job says nothing about the latest.
        let settling = lists.is_some() || batch.recovery.is_some();
        let fenced = |job: &JobView| settling && job.phase == JobPhase::Failed;
        let ours = |job: &JobView| job.input_file.as_ref().is_none_or(|input| files.contains(input));
        if let Some(job) = jobs.into_iter().find(|job| ours(job) && !fenced(job)) {
            tracing::info!(%bid, job = job.id, "found the job of a creation whose answer was lost");
            return self.adopt(now, bid, job, out);
        }
        match lists {
            None if inline::any(&files) => self.not_found_inline(now, bid, complete, out),
            None if now.saturating_sub(batch.since) < LOOK_FOR => {
                let wait = backoff(AGAIN, LOOK_AGAIN_MAX, batch.attempt, salt(bid));
                self.later(now, bid, wait);
            }
            // A job of which nobody can say yet whose it is may be this one, and read its file.
            None if !complete => self.undecided(now, bid, out),
            None => self.fence(now, bid, files, out),
            Some(lists) if complete && lists + 1 >= PROOFS => self.proved_absent(now, bid, out),
            Some(_) if !complete => self.undecided(now, bid, out),
            Some(lists) => {
                let Some(batch) = self.batches.get_mut(&bid) else { return };
                batch.state = State::Settling { files, lists: lists + 1 };
                self.later(now, bid, AGAIN);
            }
        }
    }

    /// The list is not complete, or has jobs that show neither a batch nor a file: it proves nothing. Those end some time.
    fn undecided(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        if now.saturating_sub(batch.offered_at) > batch.lifetime() {
            return self.never_found(now, bid, out);
        }
        let wait = backoff(AGAIN, inline::UNDECIDED_MAX, batch.attempt, salt(bid));
        self.later(now, bid, wait);
    }

    /// Deletes files so that no job can be made from them any more.
    pub(super) fn fence(&mut self, now: Now, bid: Bid, files: Vec<String>, out: &mut Vec<Output>) {
        self.enter(now, bid, State::Fencing { files, gone: 0, asked_at: now }, out);
    }

    /// The fence stands once the files are certainly gone; then the list gets time to settle. A young file that is not there
    /// proves nothing: it may become visible yet, and a creation that is late would be executed.
    pub(super) fn fence_deleted(
        &mut self,
        now: Now,
        bid: Bid,
        result: Result<Gone, Trouble>,
        out: &mut Vec<Output>,
    ) {
        let settle = self.timing.settle;
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let visible_at = batch.files_known_at + VISIBLE_AFTER;
        let State::Fencing { files, gone, asked_at } = &mut batch.state else { return };
        match result {
            Err(trouble) => return self.again(now, bid, &trouble, out),
            Ok(Gone::Absent) if *asked_at < visible_at => {
                let wait = backoff(AGAIN, LOOK_AGAIN_MAX, batch.attempt, salt(bid));
                return self.later(now, bid, wait.min(visible_at.saturating_sub(now)));
            }
            Ok(Gone::Deleted | Gone::Absent) => *gone += 1,
        }
        if *gone < files.len() {
            return self.go_on(now, bid, out);
        }
        let files = std::mem::take(files);
        batch.fenced.extend(files.iter().cloned());
        (batch.state, batch.attempt, batch.since) = (State::Settling { files, lists: 0 }, 0, now);
        batch.step += 1;
        self.later(now, bid, settle);
    }

    /// No job was created from the files, and none will be.
    fn proved_absent(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        match self.batches.get(&bid).is_some_and(|batch| batch.recovery.is_some()) {
            true => self.release(now, bid, out),
            false => self.enter(now, bid, State::Uploading, out),
        }
    }

    fn adopt(&mut self, now: Now, bid: Bid, job: JobView, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let lines = batch.untold().count();
        tracing::info!(%bid, job = job.id, lines, key = ?batch.key, "a job is created");
        batch.job = Some(job);
        let ingresses: Vec<Pid> = batch.grants.iter().map(|grant| grant.ingress).collect();
        for ingress in ingresses {
            self.send_submitted(now, bid, ingress, 0, out);
        }
        if let Some(batch) = self.batches.get_mut(&bid) {
            (batch.state, batch.attempt, batch.since) = (State::Polling, 0, now);
            batch.step += 1;
            // What was done about an earlier job, that was refused, says nothing about this one.
            batch.cancellation = Cancellation::default();
        }
        self.poll_later(now, bid);
        self.end_if_given_up(now, bid, out);
        self.hand_over_if_leaving(now, bid, out);
    }

    fn send_submitted(&mut self, now: Now, bid: Bid, ingress: Pid, attempt: u32, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let Some(grant) = batch.grants.iter().find(|grant| grant.ingress == ingress) else { return };
        let submitted = wire::Submitted { bid: bid.to_bytes(), epoch: grant.epoch, job: batch.job_id() };
        let token = self.token(now, Purpose::Submitted(bid, ingress, attempt), PATIENCE);
        out.push(Output::ToIngress(ingress, Some(token), to_ingress::Body::Submitted(submitted)));
    }

    pub(super) fn submitted_again(
        &mut self,
        now: Now,
        bid: Bid,
        ingress: Pid,
        attempt: u32,
        out: &mut Vec<Output>,
    ) {
        if attempt + 1 < NEWS {
            self.send_submitted(now, bid, ingress, attempt + 1, out);
        }
    }
}
