//! Callers come and go: a new request, a repetition, a caller that left.

use std::sync::Arc;
use std::time::Duration;

use common::ids::Rid;
use common::outcome::{Fault, FaultClass, Outcome};
use common::timers::Now;
use smallvec::{SmallVec, smallvec};

use super::kept::Returned;
use super::ladder::Steps;
use super::pair::Found;
use super::{Core, Output, Phase, Request, Timer, stopping};
use crate::accounts::Account;
use crate::hold::{Call, Ended};

/// The callers of one request, by the id that their own request would have.
pub(super) struct Callers<W> {
    /// Never empty: the last one stays when it has gone, since its waiter carries the request's share of the limits. One
    /// without a waiter waits at another ingress.
    waiters: SmallVec<[(Rid, Option<W>); 1]>,
    /// Since when nobody waits.
    alone_since: Option<Now>,
}

impl<W> Callers<W> {
    fn new(caller: Rid, waiter: Option<W>) -> Self {
        Self { waiters: SmallVec::from_buf([(caller, waiter)]), alone_since: None }
    }

    /// Since when nobody waits; `None` while somebody does.
    pub(super) fn alone_since(&self) -> Option<Now> {
        self.alone_since
    }

    /// All of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = Rid> + '_ {
        self.waiters.iter().map(|(id, _)| *id)
    }

    /// One of them, if possible one that waits at this ingress.
    pub(super) fn first_of_here(&self) -> Option<Rid> {
        let here = self.waiters.iter().find(|(_, waiter)| waiter.is_some());
        here.or(self.waiters.first()).map(|(id, _)| *id)
    }

    fn join(&mut self, caller: Rid, waiter: Option<W>) {
        if self.alone_since.take().is_some() {
            self.waiters.clear();
        }
        self.waiters.push((caller, waiter));
    }

    /// Whether the one that leaves was the last.
    fn leave(&mut self, now: Now, caller: Rid) -> bool {
        let Some(at) = self.waiters.iter().position(|(id, _)| *id == caller) else { return false };
        if self.waiters.len() > 1 {
            self.waiters.swap_remove(at);
            return false;
        }
        self.alone_since.is_none() && self.alone_since.replace(now).is_none()
    }

    /// Those that still wait.
    pub(super) fn waiting(self) -> impl Iterator<Item = (Rid, Option<W>)> {
        let gone = self.alone_since.is_some();
        self.waiters.into_iter().filter(move |_| !gone)
    }
}

impl<W> Core<W> {
    pub(super) fn hold(&mut self, now: Now, caller: Rid, call: Call, waiter: W, out: &mut Vec<Output<W>>) {
        if self.members.is_draining() {
            return refuse(waiter, stopping(), out);
        }
        match self.pairs.find(call.pairing) {
            Found::New => self.begin(now, caller, call, waiter),
            Found::Repeats(rid) if self.is_sought(rid) => self.begin(now, caller, call, waiter),
            Found::Repeats(rid) => {
                self.attach(now, rid, caller, Some(waiter), out);
                self.hurry(now, rid, &Steps::new(now, &call));
            }
            Found::Conflict => refuse(waiter, key_taken(), out),
        }
    }

    /// Whether a request without an `Idempotency-Key` is itself a repetition whose original is elsewhere. An equal one that is sent
    /// again may have an original of its own there.
    fn is_sought(&self, rid: Rid) -> bool {
        let sought = |request: &Request<W>| matches!(request.phase, Phase::Asking(_) | Phase::Elsewhere);
        self.requests.get(&rid).is_some_and(|request| sought(request) && !request.place.is_named())
    }

    fn begin(&mut self, now: Now, rid: Rid, call: Call, waiter: W) {
        let steps = Steps::new(now, &call);
        let Call { key, credential, body, inputs, pairing, tag, .. } = call;
        let request = Request {
            key,
            inputs,
            body,
            credential,
            callers: Callers::new(rid, Some(waiter)),
            place: self.pairs.add(rid, pairing),
            held_at: now,
            queued: None,
            phase: Phase::New,
            doubtful: false,
            partials: None,
            steps,
            tag,
        };
        self.requests.insert(rid, request);
        self.watch_deadline(now, rid);
        match pairing.may_be_elsewhere() {
            true => self.ask_elsewhere(now, rid, Duration::ZERO),
            false => self.announce_anew(now, rid),
        }
    }

    /// A repetition: waits with those who wait, takes up an orphan, or gets the answer that is there.
    pub(super) fn attach(
        &mut self,
        now: Now,
        rid: Rid,
        caller: Rid,
        waiter: Option<W>,
        out: &mut Vec<Output<W>>,
    ) {
        self.repetitions.insert(caller, rid);
        let Some(request) = self.requests.get_mut(&rid) else {
            let Some(answer) = self.kept.give(rid) else { return };
            let (outcome, queued) = (answer.outcome.clone(), answer.queued);
            self.pairs.adopt(answer.place);
            let ended = Ended { replayed: true, ..Ended::new(outcome, queued) };
            let tell = |waiter| Output::End { waiters: smallvec![waiter], ended, account: None };
            return out.extend(waiter.map(tell));
        };
        let alone_since = request.callers.alone_since();
        request.callers.join(caller, waiter);
        let Some(alone_since) = alone_since else { return };
        let (place, phase) = (request.place, request.phase);
        self.renew_deadline(now, rid);
        let doubtful = self.was_out_of_touch_since(alone_since);
        if let Some(request) = self.requests.get_mut(&rid) {
            request.doubtful |= doubtful;
        }
        self.pairs.adopt(place);
        match phase {
            Phase::Granted(bid) => self.attended(now, bid, 1),
            // While this process was out of touch its caller may have been at another ingress.
            Phase::Withheld if doubtful => self.ask_elsewhere(now, rid, Duration::ZERO),
            Phase::Withheld => self.announce_anew(now, rid),
            Phase::New | Phase::Announced(_) | Phase::Held { .. } | Phase::Asking(_) | Phase::Elsewhere => {}
            Phase::Resting | Phase::Alone => {}
        }
    }

    /// A caller went away without its answer.
    pub(super) fn gone(&mut self, now: Now, caller: Rid) {
        let rid = self.repetitions.remove(&caller).unwrap_or(caller);
        let Some(request) = self.requests.get_mut(&rid) else { return self.returned(now, rid, false) };
        if !request.callers.leave(now, caller) {
            return;
        }
        let (place, phase) = (request.place, request.phase);
        self.pairs.orphan(place, rid);
        match phase {
            Phase::Granted(bid) => self.attended(now, bid, -1),
            // Its original is elsewhere, or nowhere.
            Phase::Asking(_) | Phase::Elsewhere => {
                self.leave_elsewhere(rid);
                self.drop_request(rid);
            }
            Phase::Alone => {}
            _ => self.withhold(now, rid),
        }
    }

    /// A caller has its answer.
    pub(super) fn received(&mut self, now: Now, caller: Rid) {
        let rid = self.repetitions.remove(&caller).unwrap_or(caller);
        self.returned(now, rid, true);
    }

    fn returned(&mut self, now: Now, rid: Rid, received: bool) {
        let returned = self.kept.returned(now, rid, received);
        if received || !matches!(returned, Returned::Nothing) {
            self.returned_elsewhere(rid, received);
        }
        match returned {
            Returned::Nothing => {}
            Returned::Shelved(place) => self.pairs.orphan(place, rid),
            Returned::Gone(place) => self.pairs.remove(place),
        }
        self.tidy_kept(now);
    }

    pub(super) fn tidy_kept(&mut self, now: Now) {
        for place in self.kept.tidy(now) {
            self.pairs.remove(place);
        }
    }

    /// Before the grant nothing is paid: the request leaves the batch that is being made, and is dropped if nobody takes
    /// it up within the window.
    fn withhold(&mut self, now: Now, rid: Rid) {
        self.leave_batcher(rid);
        if let Some(request) = self.requests.get_mut(&rid) {
            request.phase = Phase::Withheld;
        }
        self.timers.set(now + self.keeping.reattach_window, Timer::Alone(rid));
    }

    /// A request must not get into a batch.
    pub(super) fn leave_batcher(&mut self, rid: Rid) {
        let Some(request) = self.requests.get(&rid) else { return };
        let batcher = match request.phase {
            Phase::New => {
                self.unannounced.remove(&request.key, request.place);
                None
            }
            Phase::Announced(token) => self.packs.get(&token).map(|pack| pack.batcher),
            Phase::Held { batcher, .. } => Some(batcher),
            Phase::Withheld | Phase::Granted(_) | Phase::Asking(_) | Phase::Elsewhere => None,
            Phase::Resting | Phase::Alone => None,
        };
        if let Some(batcher) = batcher {
            self.withdrawals.entry(batcher).or_default().push(rid.to_bytes());
        }
    }

    /// Drops a withheld request that nobody took up.
    pub(super) fn still_alone(&mut self, now: Now, rid: Rid) {
        let Some(request) = self.requests.get(&rid).filter(|request| request.phase == Phase::Withheld) else {
            return;
        };
        if request.is_forsaken(now, self.keeping.reattach_window) {
            self.drop_request(rid);
        }
    }

    pub(super) fn announce_anew(&mut self, now: Now, rid: Rid) {
        let Some(request) = self.requests.get_mut(&rid) else { return };
        request.phase = Phase::New;
        if request.steps.is_due(now) {
            return self.watch(now, rid);
        }
        if self.members.is_draining() {
            return self.stranded.push(rid);
        }
        self.unannounced.add(&request.key, request.place, rid);
        self.flush_soon(now);
    }

    /// Forgets a request that nobody waits for.
    pub(super) fn drop_request(&mut self, rid: Rid) {
        self.questions.forget(rid);
        if let Some(request) = self.take_request(rid) {
            self.pairs.remove(request.place);
        }
    }

    pub(super) fn end(&mut self, now: Now, rid: Rid, outcome: Outcome, out: &mut Vec<Output<W>>) {
        let Some(request) = self.take_request(rid) else { return };
        self.questions.forget(rid);
        let queued = request.queued.unwrap_or(now.saturating_sub(request.held_at));
        let outcome = Arc::new(outcome);
        let reason = (request.phase == Phase::Alone).then_some(request.steps.reason);
        // What another ingress has done is in its books.
        let ours = request.phase != Phase::Elsewhere;
        let account = ours.then(|| Account { key: request.key.clone(), tag: request.tag.clone() });
        let (mut readers, mut waiters) = (0, SmallVec::new());
        for (caller, waiter) in request.callers.waiting() {
            readers += 1;
            match waiter {
                Some(waiter) => waiters.push(waiter),
                None => self.remotes.ended(caller),
            }
        }
        let perhaps_twice = request.steps.perhaps_twice;
        let ended = Ended { reason, perhaps_twice, ..Ended::new(outcome.clone(), queued) };
        out.push(Output::End { waiters, ended, account });
        let bid = match request.phase {
            Phase::Granted(bid) => Some(bid),
            _ => None,
        };
        self.kept.put(now, rid, (outcome, queued), request.place, bid, readers);
        self.tidy_kept(now);
    }
}

impl<W> Request<W> {
    /// Whether nobody has waited for so long.
    pub(super) fn is_forsaken(&self, now: Now, window: Duration) -> bool {
        self.callers.alone_since().is_some_and(|since| now.saturating_sub(since) >= window)
    }
}

fn refuse<W>(waiter: W, fault: Fault, out: &mut Vec<Output<W>>) {
    let outcome = Arc::new(Outcome::Fault(fault));
    let ended = Ended::new(outcome, Duration::ZERO);
    out.push(Output::End { waiters: smallvec![waiter], ended, account: None });
}

pub(super) fn key_taken() -> Fault {
    let message = "This Idempotency-Key was used with another request. Use a new key for each request.";
    Fault::new(FaultClass::Invalid, "idempotency_key_reused", message).no_retry()
}
