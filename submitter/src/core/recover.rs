//! Batches of submitters that are gone, and batches that go to others because this one leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use common::ids::{Bid, Pid, pack_bids, unpack_bids, unpack_rids};
use common::key::BatchKey;
use common::timers::Now;
use common::wire::{self, Role, reply, to_ingress};

use super::{Batch, Core, JobPhase, JobView, MAX_BATCHES, Output, Purpose, State};

/// How long news that there is no job waits for its acknowledgement, and how often it is sent.
const PATIENCE: Duration = Duration::from_secs(1);
const NEWS: u32 = 300;
/// Most files of one batch; ingresses register no more.
const MAX_FILES: usize = 64;
/// Most batches in hand of which nothing is waited for. They can wait, and must not keep out those that cannot.
const MAX_TIDIED: usize = 200;
/// How often it is said that nothing is left of a batch. Who does not hear it has it tidied up once more.
const TIDY_NEWS: u32 = 5;

/// What is known of a batch that was another's.
#[derive(Debug)]
pub(super) struct Recovery {
    /// Its id at the provider.
    pub(super) origin: Bid,
    /// Its job, empty if none was heard of.
    job: String,
    /// How old it was when it was taken over.
    pub(super) age: Duration,
}

impl Batch {
    /// Whether every line of the job was for the ingresses that are served here.
    pub(super) fn is_whole(&self) -> bool {
        if self.recovery.is_none() && self.lost_at.is_none() {
            return true;
        }
        // Counts do not tell whose lines they are: some of those here may have got their answer before this job was made.
        if !self.lost.is_empty() {
            return self.job.is_none();
        }
        let lines: usize = self.grants.iter().map(|grant| grant.rids.len()).sum();
        let counts = self.job.as_ref().and_then(|job| job.counts);
        self.job.is_none() || counts.is_some_and(|(total, _, _)| (1..=lines as u64).contains(&total))
    }

    /// Whether it was another's and nothing of it is waited for: only what is left at the provider is seen to.
    pub(super) fn only_tidies(&self) -> bool {
        let claims = self.parts.iter().any(|part| !part.rids.is_empty());
        let granted = self.boxes.iter().any(|(_, granted, _)| !granted.rids.is_empty());
        self.recovery.is_some()
            && !claims
            && !granted
            && self.grants.iter().all(|grant| grant.rids.is_empty())
    }

    fn may_be_handed_over(&self) -> bool {
        !self.handed_over && matches!(self.state, State::Polling | State::Done)
    }

    /// Whether an ingress is served here.
    fn serves(&self, ingress: Pid) -> bool {
        let claimed = self.parts.iter().any(|part| part.ingress[..] == ingress.0);
        let boxed = self.boxes.iter().any(|(_, granted, _)| granted.ingress == ingress);
        claimed
            || boxed
            || self.state == State::Opening
            || self.grants.iter().any(|grant| grant.ingress == ingress)
    }
}

impl Core {
    /// Takes over an ingress's part of a batch: a claim follows, and then the search for its job.
    pub(super) fn recover(&mut self, now: Now, recover: wire::Recover, reply: String, out: &mut Vec<Output>) {
        let (Ok(bid), Ok(origin)) = (Bid::from_slice(&recover.bid), Bid::from_slice(&recover.origin)) else {
            return;
        };
        let valid = |part: &wire::OfferPart| {
            Pid::from_slice(&part.ingress).is_ok() && unpack_rids(&part.rids).is_ok()
        };
        let Some(part) = recover.part.filter(valid) else { return };
        let Some(key) = recover.key.and_then(|key| BatchKey::new(key).ok()) else { return };
        if recover.files.len() > MAX_FILES {
            return;
        }
        let known = self.batches.contains_key(&bid);
        let tidied = self.batches.values().filter(|batch| batch.only_tidies()).count();
        let room = self.batches.len() < MAX_BATCHES && !self.members.is_draining();
        let room = room && (!part.rids.is_empty() || tidied < MAX_TIDIED);
        out.push(Output::Reply(reply, reply::Body::OfferReply(wire::OfferReply { accepted: known || room })));
        if known || !room {
            return;
        }
        tracing::info!(%bid, %origin, job = recover.job, "taking over a batch whose submitter is gone");
        let caps = self.upstreams.caps(key.upstream());
        let mut batch = Batch::new(now, key, caps, vec![part]);
        batch.files = recover.files;
        batch.recovery =
            Some(Recovery { origin, job: recover.job, age: Duration::from_millis(recover.age_ms) });
        self.begin(now, bid, batch, out);
    }

    /// An ingress that was given up, or whose grant was lost on the way, finds out.
    pub(super) fn sync(&mut self, sync: &wire::Sync, reply: String, out: &mut Vec<Output>) {
        let (Ok(ingress), Ok(bids), Ok(ended)) =
            (Pid::from_slice(&sync.ingress), unpack_bids(&sync.bids), unpack_bids(&sync.ended))
        else {
            return;
        };
        let holds = |bid: &Bid, how: fn(&Batch, Pid) -> bool| {
            self.batches.get(bid).is_some_and(|batch| how(batch, ingress))
        };
        let left = bids.iter().chain(&ended).filter(|bid| holds(bid, |batch, _| batch.handed_over));
        let left: Vec<Bid> = left.copied().collect();
        // A batch of which nothing waits is forgotten when it is tidy.
        let unknown = bids.iter().filter(|bid| !holds(bid, Batch::serves));
        let unknown = unknown.chain(ended.iter().filter(|bid| !holds(bid, |_, _| true)));
        let unknown: Vec<Bid> = unknown.filter(|bid| !left.contains(bid)).copied().collect();
        let answer = wire::SyncReply { unknown: pack_bids(&unknown), left: pack_bids(&left) };
        out.push(Output::Reply(reply, reply::Body::SyncReply(answer)));
    }

    /// Claimed and opened: goes on where the other was.
    pub(super) fn resume(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        batch.is_enqueued_already(now);
        if batch.untold().next().is_none() && batch.lost.is_empty() {
            return self.only_tidy(now, bid, out);
        }
        let job = batch.recovery.as_ref().map(|recovery| recovery.job.clone()).unwrap_or_default();
        if job.is_empty() && batch.files.is_empty() {
            // Nothing is created from a file that is not registered.
            return self.release(now, bid, out);
        }
        if job.is_empty() {
            let files = batch.files.clone();
            return self.enter(now, bid, State::Finding { files }, out);
        }
        batch.job = Some(JobView {
            id: job,
            phase: JobPhase::Running,
            status: String::new(),
            input_file: None,
            output_file: None,
            error_file: None,
            counts: None,
            errors: Vec::new(),
        });
        self.enter(now, bid, State::Polling, out);
    }

    /// Nothing is waited for: what is there of files and jobs is found in the provider's lists, whoever knew of it.
    fn only_tidy(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        (batch.state, batch.files) = (State::Done, Vec::new());
        batch.step += 1;
        self.sweep_later(now, bid);
        self.chores(now, bid, out);
    }

    /// Nothing is left of a batch that was another's: its ingress need not remember it.
    pub(super) fn say_tidy(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let batch = self.batches.get(&bid).filter(|batch| batch.recovery.is_some());
        let grants = batch.map(|batch| batch.grants.clone()).unwrap_or_default();
        for grant in grants {
            self.tidy_again(now, (bid, grant.epoch), grant.ingress, 0, out);
        }
    }

    pub(super) fn tidy_again(
        &mut self,
        now: Now,
        (bid, epoch): (Bid, u32),
        ingress: Pid,
        attempt: u32,
        out: &mut Vec<Output>,
    ) {
        if attempt < TIDY_NEWS {
            let token = self.token(now, Purpose::Tidy(bid, epoch, ingress, attempt + 1), PATIENCE);
            let released = wire::Released { bid: bid.to_bytes(), epoch, tidy: true };
            out.push(Output::ToIngress(ingress, Some(token), to_ingress::Body::Released(released)));
        }
    }

    /// There is no job and there will be none: the ingresses may send their requests elsewhere.
    pub(super) fn release(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let waiting: BTreeSet<Pid> = batch.grants.iter().map(|grant| grant.ingress).collect();
        (batch.state, batch.since) = (State::Releasing { waiting: waiting.clone() }, now);
        batch.step += 1;
        for ingress in waiting {
            self.send_release(now, bid, ingress, 0, out);
        }
        self.end_if_released(now, bid, out);
    }

    fn send_release(&mut self, now: Now, bid: Bid, ingress: Pid, attempt: u32, out: &mut Vec<Output>) {
        let waits = |batch: &&Batch| matches!(&batch.state, State::Releasing { waiting } if waiting.contains(&ingress));
        let Some(batch) = self.batches.get(&bid).filter(waits) else { return };
        let Some(epoch) = batch.grants.iter().find(|grant| grant.ingress == ingress).map(|grant| grant.epoch)
        else {
            return self.release_heard(now, bid, ingress, out);
        };
        let token = self.token(now, Purpose::Released(bid, ingress, attempt), PATIENCE);
        let released = wire::Released { bid: bid.to_bytes(), epoch, tidy: false };
        out.push(Output::ToIngress(ingress, Some(token), to_ingress::Body::Released(released)));
    }

    pub(super) fn release_again(
        &mut self,
        now: Now,
        bid: Bid,
        ingress: Pid,
        attempt: u32,
        out: &mut Vec<Output>,
    ) {
        match attempt < NEWS {
            true => self.send_release(now, bid, ingress, attempt + 1, out),
            false => self.release_heard(now, bid, ingress, out),
        }
    }

    /// An ingress has acknowledged, or is gone.
    pub(super) fn release_heard(&mut self, now: Now, bid: Bid, ingress: Pid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        if let State::Releasing { waiting } = &mut batch.state {
            waiting.remove(&ingress);
            self.end_if_released(now, bid, out);
        }
    }

    fn end_if_released(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let heard =
            |batch: &&mut Batch| matches!(&batch.state, State::Releasing { waiting } if waiting.is_empty());
        let Some(batch) = self.batches.get_mut(&bid).filter(heard) else { return };
        let rest: Vec<_> = batch.untold().collect();
        batch.told.extend(rest);
        self.enter(now, bid, State::Flushing, out);
    }

    /// Where other submitters go on, a job or what is left to tidy up is left to them: its ingresses ask one of them as soon as
    /// this one is gone. One of them has to acknowledge first, or nobody might be there who would.
    pub(super) fn hand_over_if_leaving(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        for ingress in batch.grants.iter().map(|grant| grant.ingress).collect::<Vec<_>>() {
            self.ask_heir(now, bid, ingress, out);
        }
    }

    pub(super) fn ask_heir(&mut self, now: Now, bid: Bid, ingress: Pid, out: &mut Vec<Output>) {
        let leaving = self.members.is_draining() && self.members.count(Role::Submitter) > 0;
        let Some(batch) = self.batches.get(&bid).filter(|batch| leaving && batch.may_be_handed_over()) else {
            return;
        };
        let Some(grant) = batch.grants.iter().find(|grant| grant.ingress == ingress) else { return };
        let submitted = wire::Submitted { bid: bid.to_bytes(), epoch: grant.epoch, job: batch.job_id() };
        let token = self.token(now, Purpose::Heir(bid, ingress), PATIENCE);
        out.push(Output::ToIngress(ingress, Some(token), to_ingress::Body::Submitted(submitted)));
    }

    /// An ingress is there that has the batch, or has had another submitter take it over already.
    pub(super) fn inherited(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let may = |batch: &&mut Batch| batch.may_be_handed_over();
        let Some(batch) = self.batches.get_mut(&bid).filter(may) else { return };
        batch.handed_over = true;
        if batch.state == State::Polling {
            tracing::info!(%bid, job = batch.job_id(), "leaving a job to another submitter");
            self.enter(now, bid, State::Flushing, out);
        }
    }
}
