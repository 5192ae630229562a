//! From an offer to the grants of its ingresses.

use std::time::Duration;

use common::ids::{Bid, Pid, unpack_rids};
use common::key::BatchKey;
use common::subjects::Token;
use common::timers::Now;
use common::wire::{self, Role, reply, to_ingress};

use super::{Batch, Core, Granted, MAX_BATCHES, ORPHANED, Output, Place, Purpose, State, Timer};

/// First and longest wait for the answer to a claim.
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// How long an ingress that nobody has heard of is asked. It may have granted all the same; it takes back what then
/// lies idle and announces it again.
const STRANGER: Duration = Duration::from_secs(2);
/// How long a live ingress is asked that does not answer.
const CLAIM_FOR: Duration = Duration::from_secs(300);

impl Core {
    pub(super) fn offer(&mut self, now: Now, offer: wire::Offer, reply: String, out: &mut Vec<Output>) {
        let Ok(bid) = Bid::from_slice(&offer.bid) else { return };
        let known = self.batches.contains_key(&bid);
        let room = self.batches.len() < MAX_BATCHES && !self.members.is_draining();
        let key = offer.key.and_then(|key| BatchKey::new(key).ok());
        let valid = offer
            .parts
            .iter()
            .all(|part| Pid::from_slice(&part.ingress).is_ok() && unpack_rids(&part.rids).is_ok());
        let (Some(key), true) = (key, valid) else { return };
        let room = room && !self.is_crowded(&Place::of(&key));
        // An offer that was taken before is only acknowledged again: its acknowledgement was lost.
        out.push(Output::Reply(reply, reply::Body::OfferReply(wire::OfferReply { accepted: known || room })));
        if known || !room {
            return;
        }
        let caps = self.upstreams.caps(key.upstream());
        self.begin(now, bid, Batch::new(now, key, caps, offer.parts), out);
    }

    /// Takes a batch in hand: claims its parts.
    pub(super) fn begin(&mut self, now: Now, bid: Bid, batch: Batch, out: &mut Vec<Output>) {
        let ingresses: Vec<Pid> =
            batch.parts.iter().filter_map(|part| Pid::from_slice(&part.ingress).ok()).collect();
        self.batches.insert(bid, batch);
        for ingress in ingresses {
            self.next_token += 1;
            self.claim(now, bid, ingress, self.next_token, out);
        }
    }

    /// Every claim of a part has the same token: the grant that answers the first one may come when it was repeated already, and
    /// its ingress be gone by then.
    fn claim(&mut self, now: Now, bid: Bid, ingress: Pid, token: Token, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let Some(part) = batch.parts.iter().find(|part| part.ingress[..] == ingress.0) else { return };
        let claim = wire::Claim {
            bid: bid.to_bytes(),
            submitter: self.members.pid().to_bytes(),
            public_key: self.claimant.public_key.clone(),
            auth: self.claimant.auth.clone(),
            rids: part.rids.clone(),
        };
        let asked_for = now.saturating_sub(batch.since);
        let patience = (asked_for / 2).clamp(PATIENCE, PATIENCE_MAX);
        self.expect(now, token, Purpose::Claim(bid, ingress), patience);
        out.push(Output::ToIngress(ingress, Some(token), to_ingress::Body::Claim(claim)));
    }

    pub(super) fn claim_again(
        &mut self,
        now: Now,
        bid: Bid,
        ingress: Pid,
        token: Token,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get_mut(&bid).filter(|batch| batch.state == State::Claiming) else {
            return;
        };
        // A live ingress is only slow. To leave it out could leave behind a grant whose answer was lost; the farewell of a
        // submitter that leaves tells of those.
        let ask_for = match self.members.contains(ingress) {
            _ if self.members.is_draining() => Duration::ZERO,
            true => CLAIM_FOR,
            false => STRANGER,
        };
        if now.saturating_sub(batch.since) >= ask_for {
            return self.granted(now, bid, ingress, None, out);
        }
        self.claim(now, bid, ingress, token, out);
    }

    /// An ingress has answered, or never will. When all have, the batch goes on with what was granted.
    pub(super) fn granted(
        &mut self,
        now: Now,
        bid: Bid,
        ingress: Pid,
        grant: Option<wire::Grant>,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get_mut(&bid).filter(|batch| batch.state == State::Claiming) else {
            return;
        };
        let Some(at) = batch.parts.iter().position(|part| part.ingress[..] == ingress.0) else { return };
        let part = batch.parts.remove(at);
        let taken_over = batch.recovery.is_some();
        let granted = grant.and_then(|grant| {
            // Whoever takes a batch over tidies up after it, although nothing is waited for any more.
            let tidies = taken_over && !grant.sealed_credential.is_empty();
            let rids = unpack_rids(&grant.granted).ok().filter(|rids| tidies || !rids.is_empty())?;
            let reply_prefix = part.reply;
            let granted = Granted {
                ingress,
                epoch: grant.epoch,
                rids,
                body_bytes: grant.body_bytes,
                lengths: grant.lengths.clone(),
                reply_prefix,
            };
            Some((batch.key.clone(), granted, grant))
        });
        if granted.is_some() {
            // It was never heard, perhaps, and must not be served for ever if it is gone.
            self.members.presume(now, ingress, Role::Ingress);
        }
        batch.boxes.extend(granted);
        if !batch.parts.is_empty() {
            return;
        }
        match batch.boxes.is_empty() {
            true => self.forget(bid, out),
            false => self.enter(now, bid, State::Opening, out),
        }
    }

    pub(super) fn opened(&mut self, now: Now, bid: Bid, opened: &[Granted], out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid).filter(|batch| batch.state == State::Opening) else {
            return;
        };
        // Those that were given up since they granted are left out. What was another's may be in a job all the same, and nobody else
        // may be left who knows of it.
        let members = &self.members;
        let (there, gone): (Vec<_>, Vec<_>) =
            opened.iter().cloned().partition(|grant| members.contains(grant.ingress));
        batch.grants = there;
        batch.boxes = Vec::new();
        if batch.recovery.is_some() && gone.iter().any(|grant| !grant.rids.is_empty()) {
            batch.lost = gone;
            batch.lost_at = Some(now);
            self.timers.set(now + ORPHANED, Timer::Cancel(bid));
        }
        let epoch = opened.iter().map(|grant| grant.epoch).max().unwrap_or(0);
        match (opened.is_empty(), &batch.recovery) {
            (true, _) => self.forget(bid, out),
            (false, Some(recovery)) => {
                batch.file_name = format!("llmp-{}-", recovery.origin);
                self.resume(now, bid, out);
            }
            (false, None) if batch.grants.is_empty() => self.forget(bid, out),
            (false, None) => {
                batch.file_name = format!("llmp-{bid}-{epoch}.jsonl");
                self.enter(now, bid, State::Uploading, out);
            }
        }
    }

    /// Nothing of this ingress can be pulled or delivered any more. Before the creation its lines are left out.
    pub(super) fn ingress_left(&mut self, now: Now, bid: Bid, gone: Pid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        if batch.state == State::Claiming {
            batch.boxes.retain(|(_, granted, _)| granted.ingress != gone);
            return self.granted(now, bid, gone, None, out);
        }
        let (lost, grants): (Vec<_>, Vec<_>) =
            std::mem::take(&mut batch.grants).into_iter().partition(|grant| grant.ingress == gone);
        batch.grants = grants;
        if lost.is_empty() {
            return;
        }
        batch.abandoned.remove(&gone);
        // What is done its callers have received, or it is going all the same.
        if !matches!(batch.state, State::Queued | State::Uploading | State::Intending { .. } | State::Done) {
            batch.lost.extend(lost);
            batch.lost_at = Some(now);
            self.timers.set(now + ORPHANED, Timer::Cancel(bid));
        }
        match &batch.state {
            State::Queued | State::Uploading if batch.grants.is_empty() => {
                self.sweep_later(now, bid);
                self.enter(now, bid, State::Flushing, out);
            }
            // An upload under way is made anew when it ends.
            State::Intending { file, .. } => {
                let file = file.clone();
                self.delete_later(now, bid, &file);
                let next =
                    if self.batches[&bid].grants.is_empty() { State::Flushing } else { State::Uploading };
                self.enter(now, bid, next, out);
            }
            State::Lingering(_) => self.received(now, bid, gone, out),
            _ => {}
        }
        self.end_if_given_up(now, bid, out);
    }
}
