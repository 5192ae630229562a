//! Answers that may be asked for again: those that no caller has received so far.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use common::ids::{Bid, Rid};
use common::outcome::Outcome;
use common::timers::Now;

use super::pair::Place;

/// How long errors are kept at most. Long enough for every SDK's own repetition and for a person who tries again; not
/// so long that a mistake of yesterday answers a new try.
const ERRORS_FOR: Duration = Duration::from_secs(600);
/// What an answer costs beside its body, in bytes: an estimate for the bound.
const OVERHEAD: usize = 512;

/// Times and bounds of what is kept for callers that went away.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// How long a request is kept that has not been submitted, and how long a job runs on that nobody waits for.
    pub reattach_window: Duration,
    /// How long an answer is kept that no caller received, since the last one to whom it was given went away.
    pub answers_for: Duration,
    /// Bytes of such answers, at most. What would go first goes earlier.
    pub answers_bytes: usize,
}

/// One answer.
pub(super) struct Answer {
    pub(super) outcome: Arc<Outcome>,
    pub(super) queued: Duration,
    pub(super) place: Place,
    /// The batch that it came from.
    bid: Option<Bid>,
    until: Now,
    /// Callers that are being given it.
    readers: usize,
    received: bool,
    replayed: bool,
}

impl Answer {
    fn is_error(&self) -> bool {
        match &*self.outcome {
            Outcome::Response(response) => !response.status.is_success(),
            Outcome::Fault(_) => true,
        }
    }

    fn keep_for(&self, keeping: Keeping) -> Duration {
        let most = if self.is_error() { ERRORS_FOR } else { Duration::MAX };
        keeping.answers_for.min(most)
    }

    fn cost(&self) -> usize {
        let body = match &*self.outcome {
            Outcome::Response(response) => response.body.len(),
            Outcome::Fault(fault) => fault.message.len(),
        };
        OVERHEAD + body
    }
}

/// All of them. Those that are being given to callers are bounded by the number of callers; the others wait on a shelf that
/// is bounded in bytes and time.
pub(super) struct Kept {
    keeping: Keeping,
    answers: HashMap<Rid, Answer>,
    shelf: BTreeSet<(Now, Rid)>,
    shelf_bytes: usize,
    /// How many answers of each batch no caller has received.
    unread: HashMap<Bid, u32>,
}

/// What follows for the pairs of requests when a caller is done with an answer.
#[derive(Debug)]
pub(super) enum Returned {
    /// Nothing.
    Nothing,
    /// It is an orphan.
    Shelved(Place),
    /// It is gone.
    Gone(Place),
}

impl Kept {
    pub(super) fn new(keeping: Keeping) -> Self {
        Self {
            keeping,
            answers: HashMap::new(),
            shelf: BTreeSet::new(),
            shelf_bytes: 0,
            unread: HashMap::new(),
        }
    }

    /// Takes in the answer of a request that has ended, which so many callers are being given.
    pub(super) fn put(
        &mut self,
        now: Now,
        rid: Rid,
        ended: (Arc<Outcome>, Duration),
        place: Place,
        bid: Option<Bid>,
        readers: usize,
    ) {
        let (received, replayed) = (false, false);
        let (outcome, queued) = ended;
        let mut answer = Answer { outcome, queued, place, bid, until: now, readers, received, replayed };
        if let Some(bid) = bid {
            *self.unread.entry(bid).or_default() += 1;
        }
        answer.until = now.saturating_add(answer.keep_for(self.keeping));
        self.answers.insert(rid, answer);
        if readers == 0 {
            self.shelve(rid);
        }
    }

    /// Gives an answer to one more caller.
    pub(super) fn give(&mut self, rid: Rid) -> Option<&Answer> {
        self.unshelve(rid);
        let answer = self.answers.get_mut(&rid)?;
        answer.readers += 1;
        answer.replayed = true;
        Some(answer)
    }

    /// An answer, without giving it to anybody.
    pub(super) fn outcome(&self, rid: Rid) -> Option<&Arc<Outcome>> {
        self.answers.get(&rid).map(|answer| &answer.outcome)
    }

    /// Whether a caller is being given it.
    pub(super) fn is_being_given(&self, rid: Rid) -> bool {
        self.answers.get(&rid).is_some_and(|answer| answer.readers > 0)
    }

    /// A caller is done with an answer: it has received it, or has not.
    pub(super) fn returned(&mut self, now: Now, rid: Rid, received: bool) -> Returned {
        // Its place on the shelf, if it had one, follows from when it is dropped.
        self.unshelve(rid);
        let Some(answer) = self.answers.get_mut(&rid) else { return Returned::Nothing };
        answer.readers = answer.readers.saturating_sub(1);
        if received && !answer.received {
            answer.received = true;
            let bid = answer.bid;
            self.read(bid);
        }
        let Some(answer) = self.answers.get_mut(&rid) else { return Returned::Nothing };
        if answer.readers > 0 {
            return Returned::Nothing;
        }
        if answer.received {
            // A repeated error is given a few times more: some SDKs come back although they are told not to.
            let again = answer.is_error() && answer.replayed;
            if !again && (answer.is_error() || !answer.place.is_named()) {
                return self.answers.remove(&rid).map_or(Returned::Nothing, |a| Returned::Gone(a.place));
            }
            if again {
                answer.until = answer.until.min(now + self.keeping.reattach_window);
            }
        } else {
            // Its caller had it in reach until now, and has as long to come back as any other.
            answer.until = now.saturating_add(answer.keep_for(self.keeping));
        }
        let place = answer.place;
        self.shelve(rid);
        Returned::Shelved(place)
    }

    /// Drops what is too old, and what goes first while there is too much.
    pub(super) fn tidy(&mut self, now: Now) -> Vec<Place> {
        let mut gone = Vec::new();
        while let Some(&(until, rid)) = self.shelf.first() {
            if until > now && self.shelf_bytes <= self.keeping.answers_bytes {
                break;
            }
            self.unshelve(rid);
            let Some(answer) = self.answers.remove(&rid) else { continue };
            if !answer.received {
                self.read(answer.bid);
            }
            gone.push(answer.place);
        }
        gone
    }

    fn shelve(&mut self, rid: Rid) {
        let Some(answer) = self.answers.get(&rid) else { return };
        if self.shelf.insert((answer.until, rid)) {
            self.shelf_bytes += answer.cost();
        }
    }

    fn unshelve(&mut self, rid: Rid) {
        let Some(answer) = self.answers.get(&rid) else { return };
        if self.shelf.remove(&(answer.until, rid)) {
            self.shelf_bytes -= answer.cost();
        }
    }

    /// How many answers of a batch no caller has received.
    pub(super) fn unread(&self, bid: Bid) -> u32 {
        self.unread.get(&bid).copied().unwrap_or(0)
    }

    /// How many of all of them.
    pub(super) fn all_unread(&self) -> u32 {
        self.unread.values().copied().fold(0, u32::saturating_add)
    }

    fn read(&mut self, bid: Option<Bid>) {
        let Some(bid) = bid else { return };
        if let Some(unread) = self.unread.get_mut(&bid) {
            *unread -= 1;
            if *unread == 0 {
                self.unread.remove(&bid);
            }
        }
    }

    /// Number of answers.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// Number of answers and bytes on the shelf.
    #[cfg(test)]
    pub(super) fn shelved(&self) -> (usize, usize) {
        (self.shelf.len(), self.shelf_bytes)
    }
}
