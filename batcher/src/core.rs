//! What a batcher decides, free of IO: which requests make a batch, when it is sealed, and who is offered it.
//!
//! A batch is **filled** while it is the open one of its key, **ready** once it is full or its time is over, and
//! **sealed** when its credential may create another job, which is mostly at once. A sealed batch is offered until a
//! submitter accepts it, and forgotten then.

mod announce;
mod batches;
mod limits;
mod offers;
mod rate;
mod sealing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use common::drive;
use common::ids::{Bid, Fingerprint, Pid};
use common::key::BatchKey;
use common::link::Answer;
use common::members::{Change, Identity, Members};
use common::subjects::Token;
use common::timers::{Now, Timers};
use common::wire::{self, Role};
use tracing::debug;

use self::batches::{Batches, Id};
use self::offers::Offering;
use self::rate::Accounts;
use providers::Upstreams;

use crate::Args;

/// What can happen to a batcher.
#[derive(Debug, Clone)]
pub enum Input {
    /// An ingress has requests that wait.
    Announce {
        /// Which.
        announce: wire::Announce,
        /// Where the acknowledgement goes.
        reply: Option<String>,
    },
    /// Requests that nobody waits for any more.
    Withdraw(wire::Withdraw),
    /// A submitter's answer to an offer.
    Answer(Answer),
    /// A process says that it lives.
    Heartbeat(wire::Heartbeat),
    /// The bus came or went, and what it carries at most.
    Bus {
        /// Whether it is there.
        up: bool,
        /// Bytes of the longest message.
        max_payload: usize,
    },
    /// Take nothing new, seal everything, and finish.
    Drain,
}

/// What a batcher wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Acknowledge an announcement.
    Ack {
        /// Where it goes.
        reply: String,
        /// Whether nothing was taken.
        busy: bool,
    },
    /// Offer a batch to a submitter; its answer comes back with the token.
    Offer {
        /// The submitter.
        to: Pid,
        /// Comes back with the answer.
        token: Token,
        /// The message.
        offer: wire::ToSubmitter,
    },
    /// Tell everybody that this batcher lives.
    Beat(wire::Heartbeat),
}

/// What a timer is for.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// The window or idle gap of a batch may be over.
    Batch(Id),
    /// An offer was not answered, or its pause is over; out of date unless the step is the offer's.
    Offer(Id, u32),
    /// A credential may create another batch.
    Credential(Fingerprint),
    /// Time to look through the accounts: some credentials may create batches again.
    Sweep,
}

/// Where the ids of batches come from.
pub type Bids = Box<dyn FnMut() -> Bid + Send>;

/// The state of a batcher.
pub struct Core {
    args: Args,
    upstreams: Upstreams,
    max_payload: usize,
    bids: Bids,
    members: Members,
    bus_up: bool,
    batches: Batches,
    /// The batch that takes the arrivals of a key.
    open: BTreeMap<BatchKey, Id>,
    accounts: Accounts,
    sweeping: bool,
    /// The sealed batches.
    offers: BTreeMap<Id, Offering>,
    /// Those of them that found no submitter.
    unplaced: BTreeSet<Id>,
    timers: Timers<Due>,
    malformed: u64,
}

impl Core {
    /// Holds nothing yet. `bids` names the batches: it must never give the same id twice, in any process.
    /// `max_payload` is what the bus carries at most.
    pub fn new(args: Args, upstreams: Upstreams, identity: Identity, max_payload: usize, bids: Bids) -> Self {
        Self {
            args,
            upstreams,
            max_payload,
            bids,
            members: Members::new(identity),
            bus_up: false,
            batches: Batches::default(),
            open: BTreeMap::new(),
            accounts: Accounts::new(),
            sweeping: false,
            offers: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            timers: Timers::default(),
            malformed: 0,
        }
    }

    /// Everything that grows with what is held, by name: all zero when nothing is.
    pub fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("requests", self.batches.requests()),
            ("batches", self.batches.ids().count()),
            ("open batches", self.open.len()),
            ("offers", self.offers.len()),
            ("unplaced offers", self.unplaced.len()),
        ]
    }

    fn heartbeat(&mut self, now: Now, beat: &wire::Heartbeat, out: &mut Vec<Output>) {
        let change = self.members.hear(now, beat);
        // Mere silence of an ingress drops nothing: if it lives after all, it counts on what it announced, and if
        // not, it is left out when the submitter claims the batch.
        if beat.leaving && beat.role() == Role::Ingress {
            self.ingress_left(beat);
        }
        self.changed(now, change, out);
        self.place(now, out);
    }

    fn ingress_left(&mut self, beat: &wire::Heartbeat) {
        let Ok(ingress) = Pid::from_slice(&beat.pid) else {
            return self.malformed("a heartbeat without a pid");
        };
        for id in self.batches.remove_ingress(ingress) {
            self.discard_if_empty(id);
        }
    }

    fn changed(&mut self, now: Now, change: Option<Change>, out: &mut Vec<Output>) {
        match change {
            Some(Change::Left(pid, Role::Submitter)) => self.submitter_left(now, pid, out),
            Some(
                Change::Joined(_, Role::Batcher)
                | Change::Draining(_, Role::Batcher)
                | Change::Left(_, Role::Batcher),
            ) => {
                self.accounts.share_among(self.members.count(Role::Batcher) + 1);
            }
            _ => {}
        }
    }

    fn beat(&mut self, now: Now, out: &mut Vec<Output>) {
        if now < self.members.next_beat() {
            return;
        }
        for change in self.members.expire(now) {
            self.changed(now, Some(change), out);
        }
        let beat = self.members.beat(now, self.batches.requests());
        out.extend(beat.filter(|_| self.bus_up).map(Output::Beat));
    }

    fn bus(&mut self, now: Now, up: bool, max_payload: usize, out: &mut Vec<Output>) {
        self.members.bus(now, up);
        self.bus_up = up;
        if up {
            self.max_payload = max_payload;
        }
        self.place(now, out);
    }

    fn discard_if_empty(&mut self, id: Id) {
        if self.batches.get(id).is_some_and(|batch| batch.lines == 0) {
            self.discard(id);
        }
    }

    /// Forgets a batch, in whatever state it is.
    fn discard(&mut self, id: Id) {
        let Some(batch) = self.batches.close(id) else { return };
        self.no_longer_open(&batch.key, id);
        self.accounts.not_ready(batch.key.fingerprint(), id);
        self.offers.remove(&id);
        self.unplaced.remove(&id);
    }

    fn no_longer_open(&mut self, key: &BatchKey, id: Id) {
        if self.open.get(key) == Some(&id) {
            self.open.remove(key);
        }
    }

    fn malformed(&mut self, what: &'static str) {
        self.malformed += 1;
        debug!(what, count = self.malformed, "a message was ignored");
    }
}

impl drive::Core for Core {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        self.tick(now, out);
        match input {
            Input::Announce { announce, reply } => self.announce(now, announce, reply, out),
            Input::Withdraw(withdraw) => self.withdraw(&withdraw),
            Input::Answer((token, body)) => self.answered(now, token, body, out),
            Input::Heartbeat(beat) => self.heartbeat(now, &beat, out),
            Input::Bus { up, max_payload } => self.bus(now, up, max_payload, out),
            Input::Drain => self.drain(now, out),
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        self.beat(now, out);
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Batch(id) => self.batch_due(now, id, out),
                Due::Offer(id, step) => self.offer_due(now, id, step, out),
                Due::Credential(credential) => self.seal_ready(now, credential, out),
                Due::Sweep => self.sweep(now, out),
            }
        }
    }

    fn wake_at(&self) -> Option<Now> {
        let beat = self.members.next_beat();
        Some(self.timers.next().map_or(beat, |timer| timer.min(beat)))
    }

    fn is_finished(&self) -> bool {
        self.members.is_draining() && self.batches.is_empty()
    }
}
