//! Finding a submitter for a sealed batch.

use std::time::Duration;

use common::ids::{Bid, Pid};
use common::members::Members;
use common::subjects::Token;
use common::timers::{Now, backoff};
use common::wire::{self, OfferReply, Role, reply, to_submitter};

use super::batches::Id;
use super::{Core, Due, Output};

/// How long a submitter may be silent before the batch is offered again; doubled with each silence.
const PATIENCE: Duration = Duration::from_millis(500);
/// Most that is waited between two offers of a batch.
const LONGEST: Duration = Duration::from_secs(5);
/// How long to wait after a submitter said that it is busy; doubled with each such answer.
const BUSY: Duration = Duration::from_millis(100);

/// Bits of a token that hold the step of an offer; those above hold the batch.
const STEP_BITS: u32 = 16;

/// A sealed batch that no submitter has accepted yet.
#[derive(Debug)]
pub(super) struct Offering {
    bid: Bid,
    /// Counts whatever happens to the offer: answers and timers of earlier steps are out of date.
    step: u32,
    /// Which of the submitters, in the batch's own order of them.
    rank: usize,
    /// The submitter whose answer is awaited.
    to: Option<Pid>,
    /// The offer or its answer may have been lost: the same submitter is asked twice before another. It knows the
    /// batch again by its id.
    twice: bool,
    silences: u32,
    busy: u32,
}

impl Offering {
    pub(super) fn new(bid: Bid) -> Self {
        Self { bid, step: 0, rank: 0, to: None, twice: false, silences: 0, busy: 0 }
    }

    /// Chooses who is asked next.
    fn choose(&self, members: &Members) -> Option<Pid> {
        let same = self.to.filter(|pid| self.twice && members.contains(*pid));
        same.or_else(|| members.choose(Role::Submitter, &self.bid.0, self.rank))
    }

    fn token(&self, id: Id) -> Token {
        id << STEP_BITS | u64::from(self.step) & ((1 << STEP_BITS) - 1)
    }

    fn patience(&self) -> Duration {
        PATIENCE.saturating_mul(1 << self.silences.min(10)).min(LONGEST)
    }

    fn silent(&mut self) {
        self.silences = self.silences.saturating_add(1);
        self.twice = !self.twice;
        if !self.twice {
            self.rank = self.rank.wrapping_add(1);
        }
    }

    /// Returns how long to wait.
    fn refused(&mut self, salt: u64) -> Duration {
        self.to = None;
        self.twice = false;
        self.rank = self.rank.wrapping_add(1);
        self.step = self.step.wrapping_add(1);
        let wait = backoff(BUSY, LONGEST, self.busy, salt);
        self.busy = self.busy.saturating_add(1);
        wait
    }
}

impl Core {
    /// Offers a batch to the submitter whose turn it is. Without one it waits for a heartbeat.
    pub(super) fn offer(&mut self, now: Now, id: Id, out: &mut Vec<Output>) {
        let Some(offering) = self.offers.get_mut(&id) else { return };
        offering.step = offering.step.wrapping_add(1);
        let next = offering.choose(&self.members).filter(|_| self.bus_up);
        offering.twice &= next == offering.to;
        offering.to = next;
        let (Some(to), Some(offer)) = (offering.to, self.batches.offer(id, offering.bid)) else {
            self.unplaced.insert(id);
            return;
        };
        self.unplaced.remove(&id);
        self.timers.set(now + offering.patience(), Due::Offer(id, offering.step));
        let offer = wire::ToSubmitter { body: Some(to_submitter::Body::Offer(offer)) };
        out.push(Output::Offer { to, token: offering.token(id), offer });
    }

    /// Offers the batches that found no submitter, if there is one now.
    pub(super) fn place(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.unplaced.is_empty() || !self.bus_up || self.members.count(Role::Submitter) == 0 {
            return;
        }
        for id in std::mem::take(&mut self.unplaced) {
            self.offer(now, id, out);
        }
    }

    pub(super) fn answered(
        &mut self,
        now: Now,
        token: Token,
        body: Option<reply::Body>,
        out: &mut Vec<Output>,
    ) {
        let id = token >> STEP_BITS;
        let Some(offering) = self.offers.get_mut(&id) else { return };
        let current = offering.token(id) == token;
        match (body, offering.to.filter(|_| current)) {
            // Whichever offer of the batch this answers: the submitter has it.
            (Some(reply::Body::OfferReply(OfferReply { accepted: true })), _) => self.discard(id),
            (Some(reply::Body::OfferReply(OfferReply { accepted: false })), Some(_)) => {
                let wait = offering.refused(id);
                self.timers.set(now + wait, Due::Offer(id, offering.step));
            }
            (None, Some(to)) => {
                self.members.lost(to);
                self.submitter_left(now, to, out);
            }
            (None | Some(reply::Body::OfferReply(_)), None) => {}
            (Some(_), _) => self.malformed("an answer that is none to an offer"),
        }
    }

    /// Offers elsewhere what a process that is gone was asked to take.
    pub(super) fn submitter_left(&mut self, now: Now, pid: Pid, out: &mut Vec<Output>) {
        let asked = self.offers.iter().filter(|(_, offering)| offering.to == Some(pid));
        for id in asked.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.offer(now, id, out);
        }
    }

    /// The time for an answer, or for a pause, is over.
    pub(super) fn offer_due(&mut self, now: Now, id: Id, step: u32, out: &mut Vec<Output>) {
        let Some(offering) = self.offers.get_mut(&id).filter(|offering| offering.step == step) else {
            return;
        };
        if offering.to.is_some() {
            offering.silent();
        }
        self.offer(now, id, out);
    }
}
