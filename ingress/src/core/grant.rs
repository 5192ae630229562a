//! Granting requests to submitters, handing out their bodies, and registering what is about to be created.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use common::ids::{Bid, Fingerprint, Pid, Rid, unpack_rids};
use common::key::BatchKey;
use common::outcome::Outcome;
use common::records::{CHUNK, RECORD_HEAD};
use common::timers::Now;
use common::wire::{self, Role, reply};
use http::HeaderMap;

use super::{Core, JobEvent, Output, Phase, Timer};

/// How long a grant may lie idle before any file is registered.
const TAKE_BACK: Duration = Duration::from_secs(60);
/// How soon others are asked again about a request of a lost ingress whose job came to nothing.
const COPY_AGAIN: Duration = Duration::from_secs(1);
/// Most input files that may be registered for one batch. Each stands for a creation that came to nothing.
const MAX_FILES: usize = 64;

/// A grant before its credential is sealed.
#[derive(Debug)]
pub struct GrantDraft {
    /// The batch.
    pub bid: Bid,
    /// Counts up with each new holder of the grant.
    pub epoch: u32,
    /// What may be submitted, in the order of the record stream.
    pub rids: Vec<Rid>,
    /// Length of the record stream.
    pub body_bytes: u64,
    /// Lengths of the bodies, in the same order.
    pub lengths: Vec<u32>,
    /// Input files of earlier epochs.
    pub fence_files: Vec<String>,
    /// Who gets the grant, and the key to seal it to.
    pub submitter: Pid,
    /// X25519 public key of the submitter.
    pub public_key: Bytes,
    /// Whose requests these are.
    pub fingerprint: Fingerprint,
    /// What to seal.
    pub credential: Arc<HeaderMap>,
}

/// The requests of this ingress in one batch.
pub(super) struct Batch {
    pub(super) submitter: Pid,
    pub(super) epoch: u32,
    /// Its id at the provider: that of its first submitter.
    pub(super) origin: Bid,
    /// That submitter. One whose acceptance was lost may have other requests under the same id.
    pub(super) first: Pid,
    /// Ids under which earlier submitters had it, who may still be there and deliver.
    pub(super) former: Vec<Bid>,
    /// How often a submitter was asked to take it over that has not claimed it.
    pub(super) recovering: Option<u32>,
    pub(super) granted_at: Now,
    /// Another ingress may have the same requests in the same job: what comes back is asked about again, not announced.
    pub(super) copied: bool,
    /// How old it was then: not zero where it was another ingress's.
    pub(super) age_before: Duration,
    pub(super) key: BatchKey,
    credential: Arc<HeaderMap>,
    /// Kept whole until all have ended: the batch may have to be uploaded again.
    pub(super) bodies: Vec<(Rid, Bytes)>,
    /// Where each record ends in the stream.
    pub(super) ends: Vec<u64>,
    /// Registered input files: the fence against a late creation.
    pub(super) files: Vec<String>,
    pub(super) job: String,
    /// Requests that have not ended.
    pub(super) waiting: usize,
    /// Those of them that somebody waits for.
    pub(super) attended: usize,
    /// Since when nobody waits for any.
    pub(super) alone_since: Option<Now>,
    /// Whether the submitter was told so.
    pub(super) abandoned: bool,
    /// Whether some request does not wait for it any longer.
    pub(super) overdue: bool,
    /// Where in the bodies the last one was looked for: results come about in order.
    looked_at: usize,
    /// When the submitter last made use of the grant, or said that it holds it.
    pub(super) used_at: Now,
    pub(super) answered: bool,
}

impl Batch {
    /// Without any requests.
    pub(super) fn new(
        now: Now,
        submitter: Pid,
        epoch: u32,
        bid: Bid,
        key: &BatchKey,
        credential: &Arc<HeaderMap>,
    ) -> Self {
        Self {
            submitter,
            epoch,
            origin: bid,
            first: submitter,
            former: Vec::new(),
            recovering: None,
            granted_at: now,
            copied: false,
            age_before: Duration::ZERO,
            key: key.clone(),
            credential: credential.clone(),
            bodies: Vec::new(),
            ends: Vec::new(),
            files: Vec::new(),
            job: String::new(),
            waiting: 0,
            attended: 0,
            alone_since: None,
            abandoned: false,
            overdue: false,
            looked_at: 0,
            used_at: now,
            answered: false,
        }
    }

    /// Takes in a request that somebody waits for.
    pub(super) fn add(&mut self, rid: Rid, body: Bytes) {
        self.ends.push(self.body_bytes() + (RECORD_HEAD + body.len()) as u64);
        self.bodies.push((rid, body));
        self.waiting += 1;
        self.attended += 1;
    }

    /// Since its first grant.
    pub(super) fn age(&self, now: Now) -> Duration {
        now.saturating_sub(self.granted_at) + self.age_before
    }

    /// The body of one of its requests.
    pub(super) fn body_of(&mut self, rid: Rid) -> Option<Bytes> {
        let (before, after) = self.bodies.split_at(self.looked_at.min(self.bodies.len()));
        let at = after.iter().position(|(id, _)| *id == rid).map(|at| at + before.len());
        let at = at.or_else(|| before.iter().position(|(id, _)| *id == rid))?;
        self.looked_at = at;
        Some(self.bodies[at].1.clone())
    }

    fn body_bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn slices(&self, seq: u64) -> Option<Vec<Bytes>> {
        let from = seq.checked_mul(CHUNK).filter(|from| *from < self.body_bytes())?;
        let to = (from + CHUNK).min(self.body_bytes());
        let first = self.ends.partition_point(|end| *end <= from);
        let mut slices = Vec::new();
        let mut at = if first == 0 { 0 } else { self.ends[first - 1] };
        for (rid, body) in &self.bodies[first..] {
            if at >= to {
                break;
            }
            let head = record_head(*rid, body);
            for piece in [head, body.clone()] {
                let end = at + piece.len() as u64;
                let (start, stop) = (from.max(at), to.min(end));
                if start < stop {
                    slices.push(piece.slice((start - at) as usize..(stop - at) as usize));
                }
                at = end;
            }
        }
        Some(slices)
    }
}

fn record_head(rid: Rid, body: &Bytes) -> Bytes {
    let mut head = BytesMut::with_capacity(RECORD_HEAD);
    head.put_slice(&rid.0);
    // Admission bounds bodies far below 4 GB.
    head.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    head.freeze()
}

impl<W> Core<W> {
    pub(super) fn claim(&mut self, now: Now, claim: &wire::Claim, reply: String, out: &mut Vec<Output<W>>) {
        let (Ok(bid), Ok(submitter), Ok(rids)) =
            (Bid::from_slice(&claim.bid), Pid::from_slice(&claim.submitter), unpack_rids(&claim.rids))
        else {
            return;
        };
        // A batch whose grant was taken back keeps its id for what its submitter may have left at the provider.
        if !self.batches.contains_key(&bid) {
            if self.has_stood_still(now) {
                // Callers may have gone unnoticed, and be served elsewhere. It is asked again.
                return;
            }
            self.grant(now, bid, submitter, &rids);
            if let Some(change) = self.members.presume(now, submitter, Role::Submitter) {
                self.changed(now, change, out);
            }
        }
        let draft = match self.batches.get_mut(&bid).filter(|batch| batch.submitter == submitter) {
            Some(batch) => {
                if !batch.is_relic() {
                    batch.used_at = now;
                }
                batch.recovering = None;
                // Who takes a batch over needs to know of what is still waited for, and pulls nothing.
                let first = batch.former.is_empty();
                let waits =
                    |rid: &Rid| self.requests.get(rid).is_some_and(|r| r.phase == Phase::Granted(bid));
                let granted = batch.bodies.iter().filter(|(rid, _)| first || waits(rid));
                // Admission bounds bodies far below 4 GB.
                let length = |body: &Bytes| u32::try_from(body.len()).unwrap_or(u32::MAX);
                let (rids, lengths) = granted.map(|(rid, body)| (*rid, length(body))).unzip();
                GrantDraft {
                    bid,
                    epoch: batch.epoch,
                    rids,
                    lengths,
                    body_bytes: batch.body_bytes(),
                    fence_files: batch.files.clone(),
                    submitter,
                    public_key: claim.public_key.clone(),
                    fingerprint: batch.key.fingerprint(),
                    credential: batch.credential.clone(),
                }
            }
            None => return out.push(Output::Reply(reply, refused(bid))),
        };
        out.push(Output::Grant(reply, draft));
    }

    /// Grants what is still waiting. The requests of a batch share key and credential, since the key names it.
    fn grant(&mut self, now: Now, bid: Bid, submitter: Pid, rids: &[Rid]) {
        let mut granted: Option<Batch> = None;
        // Never used twice, be it for the same batch: what was said under a grant that was taken back must not count under
        // the next.
        let epoch = self.epochs.saturating_add(1);
        for rid in rids {
            let Some(request) = self.requests.get_mut(rid) else { continue };
            let free = matches!(request.phase, Phase::New | Phase::Announced(_) | Phase::Held { .. });
            if !free {
                continue;
            }
            let batch = granted.get_or_insert_with(|| {
                Batch::new(now, submitter, epoch, bid, &request.key, &request.credential)
            });
            if request.key != batch.key {
                continue;
            }
            if request.phase == Phase::New {
                // Claimed by way of an earlier announcement: it must not be announced, once or, taken back, twice.
                self.unannounced.remove(&request.key, request.place);
            }
            request.phase = Phase::Granted(bid);
            request.queued = Some(now.saturating_sub(request.held_at));
            batch.add(*rid, std::mem::take(&mut request.body));
        }
        if let Some(batch) = granted {
            self.epochs = epoch;
            self.batches.insert(bid, batch);
        }
    }

    /// Compare and set: a file is registered if the submitter holds the grant and knows every file registered so far.
    pub(super) fn intent(
        &mut self,
        now: Now,
        intent: &wire::Intent,
        reply: String,
        out: &mut Vec<Output<W>>,
    ) {
        let Ok(bid) = Bid::from_slice(&intent.bid) else { return };
        let standing_still = self.has_stood_still(now);
        let Some(batch) = self.batches.get_mut(&bid).filter(|batch| !batch.is_relic()) else {
            let refused = wire::IntentReply { accepted: false, epoch: 0, files: Vec::new() };
            return out.push(Output::Reply(reply, reply::Body::IntentReply(refused)));
        };
        if standing_still {
            // Its callers may be served elsewhere by now. It is asked again.
            return;
        }
        batch.used_at = now;
        let known = batch.files.iter().all(|file| *file == intent.file || intent.known_files.contains(file));
        let room = batch.files.len() < MAX_FILES || batch.files.contains(&intent.file);
        let accepted = intent.epoch == batch.epoch && known && room && !intent.file.is_empty();
        if accepted && !batch.files.contains(&intent.file) {
            batch.files.push(intent.file.clone());
            // A job that was known is over: what matters now is what becomes of this file.
            batch.job.clear();
        }
        let answer = wire::IntentReply { accepted, epoch: batch.epoch, files: batch.files.clone() };
        out.push(Output::Reply(reply, reply::Body::IntentReply(answer)));
    }

    pub(super) fn submitted(&mut self, submitted: wire::Submitted, reply: String, out: &mut Vec<Output<W>>) {
        let Ok(bid) = Bid::from_slice(&submitted.bid) else { return };
        let batch = self.batches.get_mut(&bid).filter(|batch| batch.epoch == submitted.epoch);
        let unknown = batch.is_none();
        let news = |batch: &&mut Batch| !submitted.job.is_empty() && batch.job != submitted.job;
        if let Some(batch) = batch.filter(news) {
            batch.job = submitted.job.clone();
            if !batch.is_relic() {
                let requests = batch.waiting;
                out.push(Output::Job(JobEvent::Submitted { bid, job: submitted.job, requests }));
            }
        }
        out.push(Output::Reply(reply, reply::Body::Ack(wire::Ack { unknown })));
    }

    /// A submitter asks whether callers have received what this process has acknowledged. One that was thought dead asks by an
    /// earlier id of the batch, and the answers came by another.
    pub(super) fn delivered(&self, delivered: &wire::Delivered, reply: String, out: &mut Vec<Output<W>>) {
        let Ok(bid) = Bid::from_slice(&delivered.bid) else { return };
        let same = |(today, batch): &(&Bid, &Batch)| **today == bid || batch.former.contains(&bid);
        let ids = self.batches.iter().filter(same);
        let ids = ids.flat_map(|(today, batch)| batch.former.iter().chain([today]).copied());
        let ids: BTreeSet<Bid> = ids.chain([bid]).collect();
        let unread = ids.into_iter().map(|id| self.kept.unread(id)).sum();
        out.push(Output::Reply(reply, reply::Body::DeliveredReply(wire::DeliveredReply { unread })));
    }

    pub(super) fn job_state(&mut self, state: wire::JobState, out: &mut Vec<Output<W>>) {
        let Ok(bid) = Bid::from_slice(&state.bid) else { return };
        if self.batches.get(&bid).is_some_and(|batch| !batch.is_relic()) {
            let wire::JobState { job, status, total, completed, failed, .. } = state;
            out.push(Output::Job(JobEvent::State { bid, job, status, counts: (total, completed, failed) }));
        }
    }

    pub(super) fn pull(&mut self, now: Now, pull: &wire::Pull, reply: String, out: &mut Vec<Output<W>>) {
        let Ok(bid) = Bid::from_slice(&pull.bid) else { return };
        let batch = self.batches.get_mut(&bid).filter(|batch| batch.epoch == pull.epoch);
        let batch = batch.map(|batch| {
            batch.used_at = now;
            &*batch
        });
        let slices = batch.and_then(|batch| batch.slices(pull.seq));
        let last =
            batch.is_some_and(|batch| pull.seq.saturating_add(1).saturating_mul(CHUNK) >= batch.body_bytes());
        out.push(Output::Chunk { reply, bid, epoch: pull.epoch, seq: pull.seq, last, slices });
    }

    /// Takes back grants that lie idle before any file was registered, because their answer was lost or their submitter
    /// left this ingress out. A submitter that still holds one finds its intent refused.
    pub(super) fn take_back_idle(&mut self, now: Now) {
        let idle = |batch: &Batch| {
            let unregistered = batch.files.is_empty() && !batch.is_relic();
            unregistered && now.saturating_sub(batch.used_at) >= TAKE_BACK
        };
        let mut bids: Vec<Bid> =
            self.batches.iter().filter(|(_, batch)| idle(batch)).map(|(bid, _)| *bid).collect();
        bids.sort_unstable();
        for bid in bids {
            self.take_back_batch(now, bid);
        }
    }

    pub(super) fn take_back_batch(&mut self, now: Now, bid: Bid) {
        let Some(batch) = self.batches.get_mut(&bid).filter(|batch| !batch.is_relic()) else { return };
        tracing::info!(%bid, requests = batch.waiting, "a grant came to nothing: its requests are announced again");
        let copied = batch.copied.then(String::new);
        for (rid, body) in std::mem::take(&mut batch.bodies) {
            self.take_back(now, bid, (rid, body), copied.as_ref(), Duration::ZERO);
        }
        self.keep_relic(now, bid);
    }

    /// The batch of a request came to nothing. Where it was a copy of a lost ingress's, the job that did not execute it is given,
    /// if there was one. What may go into another batch waits so long before.
    fn take_back(
        &mut self,
        now: Now,
        bid: Bid,
        (rid, body): (Rid, Bytes),
        copied: Option<&String>,
        wait: Duration,
    ) {
        let Some(request) = self.requests.get_mut(&rid).filter(|r| r.phase == Phase::Granted(bid)) else {
            return;
        };
        (request.body, request.queued, request.partials) = (body, None, None);
        if copied.is_some() && request.callers.alone_since().is_some() {
            self.drop_request(rid);
        } else if let Some(spent) = copied {
            let rid = self.with_own_id(now, rid);
            if !spent.is_empty() {
                self.questions.spend(rid, spent.clone());
            }
            self.ask_elsewhere(now, rid, COPY_AGAIN);
        } else if request.doubtful && request.callers.alone_since().is_none() {
            self.ask_elsewhere(now, rid, COPY_AGAIN);
        } else if request.is_forsaken(now, self.keeping.reattach_window) {
            self.drop_request(rid);
        } else if let Some(since) = request.callers.alone_since() {
            request.phase = Phase::Withheld;
            self.timers.set(since + self.keeping.reattach_window, Timer::Alone(rid));
        } else if wait.is_zero() || request.steps.is_due(now) {
            self.announce_anew(now, rid);
        } else {
            request.phase = Phase::Resting;
            self.timers.set(now + wait, Timer::Rested(rid));
        }
    }

    /// So many more or fewer of a batch's requests have somebody who waits for them.
    pub(super) fn attended(&mut self, now: Now, bid: Bid, change: isize) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        batch.attended = batch.attended.saturating_add_signed(change);
        batch.alone_since = match batch.attended {
            0 => batch.alone_since.or(Some(now)),
            _ => None,
        };
    }

    /// A request that its batch has not executed: if somebody waits for it, it goes into another batch, or its next way if its time
    /// is over.
    pub(super) fn goes_again(
        &mut self,
        now: Now,
        rid: Rid,
        bid: Bid,
        wait: Duration,
        out: &mut Vec<Output<W>>,
    ) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let copied = batch.copied.then(|| batch.job.clone());
        let Some(body) = batch.body_of(rid) else { return };
        let alone = self.requests.get(&rid).is_none_or(|request| request.callers.alone_since().is_some());
        self.take_back(now, bid, (rid, body), copied.as_ref(), wait);
        self.batch_answered(now, bid, !alone, false, out);
    }

    /// One of a batch's requests ended, with somebody waiting for it or not, by an answer of the provider or not.
    pub(super) fn batch_answered(
        &mut self,
        now: Now,
        bid: Bid,
        attended: bool,
        by_provider: bool,
        out: &mut Vec<Output<W>>,
    ) {
        if attended {
            self.attended(now, bid, -1);
        }
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        batch.waiting = batch.waiting.saturating_sub(1);
        batch.answered |= by_provider;
        if batch.waiting == 0 {
            if batch.answered && !batch.overdue {
                self.estimates.record(now, &batch.key, batch.age(now), false);
            }
            out.push(Output::Job(JobEvent::Ended { bid, answered: batch.answered }));
            self.keep_relic(now, bid);
        }
    }

    /// The holder of grants is gone.
    pub(super) fn submitter_left(&mut self, now: Now, gone: Pid, out: &mut Vec<Output<W>>) {
        let mut bids: Vec<Bid> =
            self.batches.iter().filter(|(_, batch)| batch.submitter == gone).map(|(bid, _)| *bid).collect();
        bids.sort_unstable();
        for bid in bids {
            self.pass_on(now, bid, out);
        }
    }

    /// Ends a request of a batch.
    pub(super) fn end_granted(
        &mut self,
        now: Now,
        rid: Rid,
        bid: Bid,
        outcome: Outcome,
        out: &mut Vec<Output<W>>,
    ) {
        let by_provider = matches!(outcome, Outcome::Response(_));
        let attended = self.requests.get(&rid).is_some_and(|r| r.callers.alone_since().is_none());
        self.end(now, rid, outcome, out);
        self.batch_answered(now, bid, attended, by_provider, out);
    }

    /// Tells submitters of the batches that nobody waits for, whether or not somebody might have come back.
    pub(super) fn abandon_at_once(&mut self, out: &mut Vec<Output<W>>) {
        let abandoned = |(bid, batch): (&Bid, &Batch)| {
            (batch.attended == 0 && !batch.is_relic()).then_some((*bid, batch.submitter))
        };
        let mut bids: Vec<_> = self.batches.iter().filter_map(abandoned).collect();
        bids.sort_unstable();
        for (bid, submitter) in bids {
            out.push(abandoned_to(submitter, bid, self.members.pid()));
        }
    }

    /// Tells submitters of the batches that nobody has waited for so long that they are not worth their price.
    pub(super) fn abandon(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        let window = self.keeping.reattach_window;
        let forsaken =
            |batch: &Batch| batch.alone_since.is_some_and(|since| now.saturating_sub(since) >= window);
        let mut bids: Vec<Bid> =
            self.batches.iter().filter(|(_, batch)| forsaken(batch)).map(|(bid, _)| *bid).collect();
        bids.sort_unstable();
        for bid in bids {
            if let Some(batch) = self.batches.get_mut(&bid) {
                batch.abandoned = true;
                out.push(abandoned_to(batch.submitter, bid, self.members.pid()));
            }
        }
    }
}

fn refused(bid: Bid) -> reply::Body {
    reply::Body::Grant(wire::Grant { bid: bid.to_bytes(), ..Default::default() })
}

/// Tells a submitter that nobody waits here.
fn abandoned_to<W>(submitter: Pid, bid: Bid, ingress: Pid) -> Output<W> {
    let abandoned = wire::Abandoned { bid: bid.to_bytes(), ingress: ingress.to_bytes(), overdue: false };
    Output::ToSubmitter(submitter, None, wire::to_submitter::Body::Abandoned(abandoned))
}
