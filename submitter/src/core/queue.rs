//! Batches that wait until the provider has room for their tokens.
//!
//! Where a limit was learned ([`super::governor`]), batches of the same credential and model go in the order of their offers, and none
//! overtakes another. The one whose turn it is goes whole if it ever can; what is too large for the limit by itself goes in part, and
//! its rest is given back to be put into another batch. A batch waits as long as its callers do: the time does not count for its
//! lifetime.

use std::collections::BTreeSet;
use std::time::Duration;

use common::ids::{Bid, Rid};
use common::outcome::{Fault, FaultClass, Outcome};
use common::timers::Now;
use common::wire::Role;

use super::batch::{Batch, State};
use super::governor::{Place, Refusal, stated_limit, tokens};
use super::{Core, Granted, Op, Output, Timer, salt};

/// Batches that wait in one place before others are left with the batchers: one place's must not fill up all that is held.
const MAX_WAITING: usize = 100;
/// A batch that is too large by itself goes in part when this share of the limit is free: not in crumbs.
const WORTHWHILE: u64 = 4;
/// How often a batch is refused before its requests go into others, or the only one gets the refusal.
const ROUNDS: u32 = 16;
/// The same for a single request that is larger than the limit which the provider states.
const ROUNDS_OF_TOO_LARGE: u32 = 3;

/// What a batch takes of its provider's queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission {
    tokens: u64,
    at: Now,
    /// Enqueued here when it was admitted, with it.
    enqueued: u64,
}

/// Batches of one place that wait.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// By when they were offered.
    turns: Vec<(Now, Bid)>,
    /// The first one, the limit and what was enqueued when there was no room: while these are the same there is none.
    found: Option<(Bid, u64, u64)>,
}

enum Fit {
    Whole,
    /// These stay, the others go back.
    Part(BTreeSet<Rid>),
    No,
}

impl Granted {
    /// Its requests with their estimated tokens. An ingress that does not tell lengths gets their average.
    fn lines(&self) -> impl Iterator<Item = (Rid, u64)> + '_ {
        let average = self.body_bytes / (self.rids.len() as u64).max(1);
        let known = self.lengths.len() == self.rids.len();
        let length = move |at: usize| match known {
            true => u64::from(self.lengths[at]),
            false => average,
        };
        self.rids.iter().enumerate().map(move |(at, rid)| (*rid, tokens(length(at))))
    }
}

impl Batch {
    fn tokens(&self) -> u64 {
        let lines = self.grants.iter().flat_map(Granted::lines);
        let untold = lines.filter(|(rid, _)| !self.told.contains(rid));
        untold.map(|(_, tokens)| tokens).fold(0, u64::saturating_add)
    }

    /// The requests that fit, from all ingresses by turns; none is left out for one behind it.
    fn part(&self, room: u64) -> BTreeSet<Rid> {
        let untold = |grant: &Granted| {
            grant.lines().filter(|(rid, _)| !self.told.contains(rid)).collect::<Vec<_>>().into_iter()
        };
        let mut ingresses: Vec<_> = self.grants.iter().map(untold).collect();
        let (mut part, mut left) = (BTreeSet::new(), room);
        loop {
            let mut any = false;
            for ingress in &mut ingresses {
                let Some((rid, tokens)) = ingress.next() else { continue };
                let Some(rest) = left.checked_sub(tokens) else { return part };
                any = true;
                left = rest;
                part.insert(rid);
            }
            if !any {
                return part;
            }
        }
    }

    fn first(&self) -> Option<Rid> {
        self.untold().next()
    }

    fn fits(&self, share: u64, enqueued: u64) -> Fit {
        let (tokens, room) = (self.tokens(), share.saturating_sub(enqueued));
        if tokens <= room {
            return Fit::Whole;
        }
        if tokens <= share || enqueued > 0 && room < share / WORTHWHILE {
            return Fit::No;
        }
        let mut part = self.part(room);
        if part.is_empty() && enqueued == 0 {
            // Larger than the limit by itself: the provider has the last word.
            part.extend(self.first());
        }
        match part.is_empty() {
            true => Fit::No,
            false => Fit::Part(part),
        }
    }

    /// What it takes of the provider's queue: from its admission until its job is over.
    fn enqueued(&self) -> u64 {
        let takes = matches!(
            self.state,
            State::Uploading
                | State::Intending { .. }
                | State::Creating { .. }
                | State::Finding { .. }
                | State::Fencing { .. }
                | State::Settling { .. }
                | State::Refused { .. }
                | State::Polling
        );
        self.admission.filter(|_| takes).map_or(0, |admission| admission.tokens)
    }

    /// Its job was created by another submitter, who knew of no limit that is known here.
    pub(super) fn is_enqueued_already(&mut self, now: Now) {
        let tokens = self.tokens();
        self.admission = Some(Admission { tokens, at: now, enqueued: tokens });
    }
}

impl Core {
    /// Whether so many batches wait for room in the same place that more are better held by batchers.
    pub(super) fn is_crowded(&self, place: &Place) -> bool {
        self.waiting.get(place).is_some_and(|line| line.turns.len() >= MAX_WAITING)
    }

    /// A batch is ready to be submitted: where no limit was learned it goes on at once.
    pub(super) fn wait_for_room(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        if self.members.is_draining() {
            return self.leave_unsent(now, bid, out);
        }
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        (batch.state, batch.attempt, batch.since) = (State::Queued, 0, now);
        batch.step += 1;
        batch.admission = None;
        // The next file has no lines of ingresses that are gone.
        batch.lost.clear();
        let place = Place::of(&batch.key);
        let turn = (batch.offered_at, bid);
        let line = self.waiting.entry(place.clone()).or_default();
        if !line.turns.contains(&turn) {
            let at = line.turns.partition_point(|(offered_at, _)| *offered_at <= turn.0);
            line.turns.insert(at, turn);
        }
        self.let_in(now, &place, out);
        let waits = |batch: &&Batch| batch.state == State::Queued;
        if let Some(batch) = self.batches.get(&bid).filter(waits) {
            let lines = batch.untold().count();
            tracing::info!(%bid, lines, tokens = batch.tokens(), key = ?batch.key, "a batch waits for room in its provider's queue");
        }
    }

    /// Whatever has happened may have made room.
    pub(super) fn let_all_in(&mut self, now: Now, out: &mut Vec<Output>) {
        for place in self.waiting.keys().cloned().collect::<Vec<_>>() {
            self.let_in(now, &place, out);
        }
    }

    /// Submits what there is room for, in turn.
    fn let_in(&mut self, now: Now, place: &Place, out: &mut Vec<Output>) {
        let submitters = self.submitters();
        loop {
            let queued =
                |(_, bid): &(Now, Bid)| self.batches.get(bid).is_some_and(|b| b.state == State::Queued);
            let Some(line) = self.waiting.get_mut(place) else { return };
            line.turns.retain(queued);
            let Some((_, bid)) = line.turns.first().copied() else {
                self.waiting.remove(place);
                return;
            };
            let Some(share) = self.governor.share(now, place, submitters) else {
                self.admit(now, bid, 0, out);
                continue;
            };
            if now < share.opens_at {
                return;
            }
            let enqueued = self.enqueued(place);
            let found = Some((bid, share.tokens, enqueued));
            let (Some(batch), Some(line)) = (self.batches.get(&bid), self.waiting.get_mut(place)) else {
                return;
            };
            if line.found == found {
                return;
            }
            match batch.fits(share.tokens, enqueued) {
                Fit::No => {
                    line.found = found;
                    return self.governor.presses(place);
                }
                Fit::Whole => {}
                Fit::Part(stays) => {
                    self.governor.presses(place);
                    self.give_back_rest(bid, &stays, out);
                }
            }
            self.admit(now, bid, enqueued, out);
        }
    }

    fn admit(&mut self, now: Now, bid: Bid, enqueued: u64, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let tokens = batch.tokens();
        batch.admission = Some(Admission { tokens, at: now, enqueued: enqueued.saturating_add(tokens) });
        batch.queued += now.saturating_sub(batch.since);
        self.enter(now, bid, State::Uploading, out);
    }

    fn give_back_rest(&mut self, bid: Bid, stays: &BTreeSet<Rid>, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let rest: Vec<Rid> = batch.untold().filter(|rid| !stays.contains(rid)).collect();
        tracing::info!(%bid, goes = stays.len(), given_back = rest.len(), "a batch is larger than its provider's queue: it is split");
        batch.told.extend(&rest);
        batch.given_back.extend(&rest);
        if !rest.is_empty() {
            out.push(Output::Do(bid, Op::Tell(rest, Outcome::Fault(queue_full()))));
        }
    }

    fn submitters(&self) -> u64 {
        self.members.count(Role::Submitter) as u64 + 1
    }

    /// What is enqueued here, in tokens.
    fn enqueued(&self, place: &Place) -> u64 {
        let same = self.batches.values().filter(|batch| place.has(&batch.key));
        same.map(Batch::enqueued).fold(0, u64::saturating_add)
    }

    /// The provider has refused a batch since too much is enqueued; its words may state the limit.
    pub(super) fn learn_limit(&mut self, now: Now, bid: Bid, words: &str) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let Some(admission) = batch.admission else { return };
        let place = Place::of(&batch.key);
        let refusal = Refusal {
            enqueued: self.enqueued(&place).max(admission.enqueued),
            admitted_at: admission.at,
            stated: stated_limit(words),
            salt: salt(bid),
        };
        let key = batch.key.clone();
        let (limit, news) = self.governor.refuses(now, &place, refusal, self.submitters());
        if let Some(share) = self.governor.share(now, &place, 1).filter(|share| share.opens_at > now) {
            self.timers.set(share.opens_at, Timer::Room);
        }
        if news {
            let (enqueued, stated) = (refusal.enqueued, refusal.stated);
            tracing::info!(%bid, ?key, limit, enqueued, ?stated, "the provider has refused a batch for its enqueued tokens: a limit is learned");
        }
    }

    /// A job of this batch has ended by itself: what is enqueued is not too much.
    pub(super) fn not_refused(&mut self, bid: Bid) {
        if let Some(batch) = self.batches.get(&bid) {
            self.governor.succeeds(&Place::of(&batch.key));
        }
    }

    /// A refused batch of which nothing was executed waits for room. One that comes to nothing all the same goes back to be put into
    /// others; a single request that is too large gets the refusal.
    pub(super) fn queue_was_full(
        &mut self,
        now: Now,
        bid: Bid,
        words: &str,
        refusal: Outcome,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get(&bid) else { return };
        let (lines, tokens) = (batch.untold().count(), batch.tokens());
        let stated = stated_limit(words);
        let too_large = stated.is_some_and(|limit| tokens > limit);
        match (lines, batch.rounds) {
            (0, _) => self.enter(now, bid, State::Flushing, out),
            (1, ROUNDS_OF_TOO_LARGE..) if too_large => self.fail(now, bid, refusal, out),
            (1, rounds) if rounds > ROUNDS && stated.is_none() => self.fail(now, bid, refusal, out),
            (_, rounds) if rounds > ROUNDS => self.fail(now, bid, Outcome::Fault(queue_full()), out),
            _ => self.wait_for_room(now, bid, out),
        }
    }
}

/// What is said of a request that was not submitted and goes into another batch. Callers see it only where their ingress knows no
/// better.
fn queue_full() -> Fault {
    let message = "The provider's queue is full. The request was not submitted; send it again later.";
    Fault::new(FaultClass::Busy, "queue_full", message).retry_after(Duration::from_secs(15)).again().requeue()
}
