//! Batches whose submitter is gone after it had registered files: another submitter takes them over.
//!
//! Each ingress has its own part of a batch recovered, under an id of its own, so that ingresses need not agree on who died
//! and when. Whoever takes a part over either finds the job and delivers, or proves that there is none and never will
//! be; only then do the requests go back to a batcher.

use std::collections::BTreeMap;
use std::time::Duration;

use common::ids::{Bid, Pid, Rid, pack_bids, pack_rids, unpack_bids};
use common::subjects::Token;
use common::timers::{Now, backoff};
use common::wire::{self, Role, reply, to_submitter};

use super::grant::Batch;
use super::{Core, JobEvent, Output, Phase, Timer};

/// First wait for a submitter that was asked to claim; it doubles up to the second.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// Grants younger than this may be on their way, so nobody is asked about them.
const SYNC_AFTER: Duration = Duration::from_secs(15);
/// How often silent submitters are asked whether they are there.
const PROBE: Duration = Duration::from_secs(1);
/// Batches in one question: 16 bytes each, so that it stays under 64 KB.
const BIDS: usize = 4_000;
/// Earlier submitters of a batch whose results are still taken, the first and the latest.
const MAX_FORMER: usize = 16;

impl<W> Core<W> {
    /// Whoever held a batch does not go on with it. Where no file was registered, nothing can have been created, and the requests
    /// are free. In any case another submitter finds out from the provider what is there.
    pub(super) fn pass_on(&mut self, now: Now, bid: Bid, out: &mut Vec<Output<W>>) {
        if self.batches.get(&bid).is_some_and(|batch| batch.files.is_empty()) {
            self.take_back_batch(now, bid);
        }
        self.recover(now, bid, out);
    }

    /// Gives a batch its next id and epoch, and looks for a submitter.
    pub(super) fn recover(&mut self, now: Now, bid: Bid, out: &mut Vec<Output<W>>) {
        let Some(mut batch) = self.batches.remove(&bid) else { return };
        self.epochs = self.epochs.saturating_add(1);
        batch.epoch = self.epochs;
        batch.former.push(bid);
        if batch.former.len() > MAX_FORMER {
            batch.former.remove(1);
        }
        batch.recovering = Some(0);
        let next = next_id(batch.origin, self.members.pid(), batch.epoch);
        for (rid, _) in &batch.bodies {
            if let Some(request) = self.requests.get_mut(rid).filter(|r| r.phase == Phase::Granted(bid)) {
                request.phase = Phase::Granted(next);
            }
        }
        match batch.is_relic() {
            true => tracing::debug!(%bid, "the submitter of a batch is gone; another tidies up"),
            false => {
                tracing::info!(%bid, job = batch.job, requests = batch.waiting, "the submitter of a batch is gone; another takes it over")
            }
        }
        self.batches.insert(next, batch);
        out.push(Output::Job(JobEvent::Renamed { from: bid, to: next }));
        self.ask_to_recover(now, next, out);
    }

    pub(super) fn ask_to_recover(&mut self, now: Now, bid: Bid, out: &mut Vec<Output<W>>) {
        let token = self.token();
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let Some(attempt) = batch.recovering else { return };
        // One that has the rest of it, where there is such. Without a submitter in sight the batch waits for one.
        let holder = Some(batch.submitter).filter(|pid| attempt == 0 && self.members.contains(*pid));
        let chosen = || self.members.choose(Role::Submitter, &batch.origin.0, attempt as usize);
        let Some(submitter) = holder.or_else(chosen) else {
            batch.recovering = Some(0);
            return;
        };
        (batch.submitter, batch.recovering) = (submitter, Some(attempt.saturating_add(1)));
        let waits = |rid: &&Rid| self.requests.get(rid).is_some_and(|r| r.phase == Phase::Granted(bid));
        let part = wire::OfferPart {
            ingress: self.members.pid().to_bytes(),
            reply: self.reply_prefix.clone(),
            rids: pack_rids(batch.bodies.iter().map(|(rid, _)| rid).filter(waits)),
        };
        let age = batch.age(now);
        let recover = wire::Recover {
            bid: bid.to_bytes(),
            origin: batch.origin.to_bytes(),
            key: Some(batch.key.to_wire()),
            part: Some(part),
            files: batch.files.clone(),
            job: batch.job.clone(),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        };
        self.recoveries.insert(token, bid);
        let patience = backoff(PATIENCE, PATIENCE_MAX, attempt, token);
        self.timers.set(now + patience, Timer::Unclaimed(token));
        out.push(Output::ToSubmitter(submitter, Some(token), to_submitter::Body::Recover(Box::new(recover))));
    }

    /// Whether the answer was one to such a question.
    pub(super) fn recovery_answered(
        &mut self,
        now: Now,
        token: Token,
        answer: Option<&reply::Body>,
        out: &mut Vec<Output<W>>,
    ) -> bool {
        let Some(bid) = self.recoveries.get(&token).copied() else { return false };
        let gone = self.batches.get(&bid).filter(|_| answer.is_none()).map(|batch| batch.submitter);
        if let Some(change) = gone.and_then(|pid| self.members.lost(pid)) {
            self.recoveries.remove(&token);
            self.changed(now, change, out);
        }
        // Taken or busy: either a claim follows, or the next one is asked.
        true
    }

    /// Nobody has claimed a batch: asks again.
    pub(super) fn unclaimed(&mut self, now: Now, token: Token, out: &mut Vec<Output<W>>) {
        if let Some(bid) = self.recoveries.remove(&token) {
            self.ask_to_recover(now, bid, out);
        }
    }

    /// A submitter is there: asks it where nobody could be asked.
    pub(super) fn submitter_joined(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        let unasked = |batch: &Batch| batch.recovering == Some(0);
        let mut bids: Vec<Bid> =
            self.batches.iter().filter(|(_, batch)| unasked(batch)).map(|(bid, _)| *bid).collect();
        bids.sort_unstable();
        for bid in bids {
            self.ask_to_recover(now, bid, out);
        }
    }

    /// Asks submitters that have fallen silent and hold batches of this ingress whether they are there: where nobody serves their
    /// subjects, they are not.
    pub(super) fn probe(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        if now < self.probed + PROBE {
            return;
        }
        self.probed = now;
        for submitter in self.members.quiet(now, Role::Submitter) {
            if !self.batches.values().any(|batch| batch.submitter == submitter) {
                continue;
            }
            let token = self.token();
            self.syncs.insert(token, (submitter, Vec::new()));
            let sync = wire::Sync { ingress: self.members.pid().to_bytes(), ..Default::default() };
            out.push(Output::ToSubmitter(submitter, Some(token), to_submitter::Body::Sync(sync)));
        }
    }

    /// Asks submitters whether they still hold what was granted to them: one that had given this process up for dead does
    /// not, and neither does one whose grant was lost on the way.
    pub(super) fn sync(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        self.syncs.clear();
        let settled =
            |batch: &Batch| batch.recovering.is_none() && now.saturating_sub(batch.granted_at) >= SYNC_AFTER;
        let mut held: BTreeMap<Pid, Vec<Bid>> = BTreeMap::new();
        for (bid, batch) in self.batches.iter().filter(|(_, batch)| settled(batch)) {
            held.entry(batch.submitter).or_default().push(*bid);
        }
        for (submitter, mut bids) in held {
            bids.sort_unstable();
            for bids in bids.chunks(BIDS) {
                let token = self.token();
                self.syncs.insert(token, (submitter, bids.to_vec()));
                let (ended, bids): (Vec<Bid>, Vec<Bid>) =
                    bids.iter().partition(|bid| self.batches.get(bid).is_some_and(Batch::is_relic));
                let (bids, ended) = (pack_bids(&bids), pack_bids(&ended));
                let ingress = self.members.pid().to_bytes();
                let sync = to_submitter::Body::Sync(wire::Sync { ingress, bids, ended });
                out.push(Output::ToSubmitter(submitter, Some(token), sync));
            }
        }
    }

    /// Whether the answer was one to such a question.
    pub(super) fn synced(
        &mut self,
        now: Now,
        token: Token,
        answer: Option<&reply::Body>,
        out: &mut Vec<Output<W>>,
    ) -> bool {
        let Some((submitter, asked)) = self.syncs.remove(&token) else { return false };
        let Some(answer) = answer else {
            match self.members.lost(submitter) {
                Some(change) => self.changed(now, change, out),
                // Its heartbeat was never heard, or it was given up before it was granted anything.
                None => self.submitter_left(now, submitter, out),
            }
            return true;
        };
        let reply::Body::SyncReply(reply) = answer else { return true };
        let unknown = unpack_bids(&reply.unknown).unwrap_or_default();
        for bid in asked.iter().filter(|bid| !unknown.contains(bid)) {
            if let Some(batch) = self.batches.get_mut(bid) {
                // It waits its turn at the provider, however long.
                batch.used_at = now;
            }
        }
        for bid in unpack_bids(&reply.left).unwrap_or_default() {
            let held = |batch: &&Batch| batch.submitter == submitter && batch.recovering.is_none();
            if self.batches.get(&bid).filter(held).is_some() {
                // It may have left this ingress out when it submitted the rest.
                self.pass_on(now, bid, out);
            }
        }
        for bid in unknown {
            let held = |batch: &&Batch| batch.submitter == submitter && batch.recovering.is_none();
            let Some(batch) = self.batches.get(&bid).filter(held) else { continue };
            if batch.is_relic() && batch.former.is_empty() {
                // Its first submitter forgets it when it is tidy, or never had it.
                self.batches.remove(&bid);
            } else if batch.files.is_empty() && !batch.is_relic() {
                // Where it has the batch for others, it may have an upload of these requests: the next answer tells.
                self.take_back_batch(now, bid);
            } else {
                self.recover(now, bid, out);
            }
        }
        true
    }

    /// No job was created and none will be: the requests are free. Or whoever took the batch over has tidied up.
    pub(super) fn released(
        &mut self,
        now: Now,
        released: &wire::Released,
        reply: String,
        out: &mut Vec<Output<W>>,
    ) {
        let Ok(bid) = Bid::from_slice(&released.bid) else { return };
        let unknown = self.batches.get(&bid).is_none_or(|batch| batch.epoch != released.epoch);
        match (unknown, released.tidy) {
            (true, _) => {}
            (false, true) => self.forget_relic(bid),
            (false, false) => self.take_back_batch(now, bid),
        }
        out.push(Output::Reply(reply, reply::Body::Ack(wire::Ack { unknown })));
    }
}

/// The id of a part's next recovery: a different one for each ingress and epoch, and the same wherever it is worked out.
pub(super) fn next_id(origin: Bid, ingress: Pid, epoch: u32) -> Bid {
    let mut id = origin.0;
    id.iter_mut().zip(ingress.0).for_each(|(byte, other)| *byte ^= other);
    id.iter_mut().rev().zip(epoch.to_be_bytes().into_iter().rev()).for_each(|(byte, other)| *byte ^= other);
    Bid(id)
}
