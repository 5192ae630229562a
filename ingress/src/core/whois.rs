//! Asking other processes whether they have a call's original, before it is announced as a new request.
//!
//! A load balancer may send a repetition to another ingress than the first call. Where a call says that it is sent again, or
//! has an `Idempotency-Key`, and nothing here matches it, every live ingress and submitter is asked. The question changes
//! nothing; when all have answered, or are known to be gone, the best answer decides: an orphan at another ingress, a batch
//! whose ingress is gone, a twin at another ingress, or nothing, and then the call is a new request. A time limit on the
//! answers instead would buy again what a live but slow process holds. Submitters are asked only after the ingresses: one
//! that was asked before could say no, and then be granted the request by an ingress that dies before it has answered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use common::ids::{Pid, Rid, unpack_rids};
use common::outcome::Outcome;
use common::subjects::Token;
use common::timers::{Now, backoff};
use common::wire::{self, Role, reply, to_ingress, to_submitter};

use super::callers::key_taken;
use super::{Core, Output, Phase, Timer};

/// How long calls gather before they are asked about together.
const GATHER: Duration = Duration::from_millis(5);
/// How soon after a question the next may follow. When an ingress dies, its callers come within seconds: what is found of them
/// together is recovered together, and not a batch for each.
const NEXT_ROUND: Duration = Duration::from_secs(1);
/// Most calls in one question: about 60 bytes each, so that it stays under 64 KB.
const PACK: usize = 1_000;
/// First wait for an answer; it doubles up to the second.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(5);
/// A process whose subjects are served but that has not answered by then never will: a bound, far beyond the time in which a
/// dead one's subjects are dropped.
const UNANSWERED_FOR: Duration = Duration::from_secs(120);
/// How soon a question is asked again whose answer was that it is not decided yet.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The round of calls that nobody was asked about yet.
const UNASKED: u64 = 0;

/// Questions under way.
#[derive(Default)]
pub(super) struct Questions {
    /// Calls that are to be asked about, and when.
    due: BTreeSet<(Now, Rid)>,
    /// When the timer for them is set.
    next: Option<Now>,
    /// When anybody was asked last.
    asked: Option<Now>,
    rounds: BTreeMap<u64, Round>,
    /// Requests of a lost ingress and the job that did not execute them: what a submitter may still say of it is known.
    spent: HashMap<Rid, String>,
    last: u64,
    exchanges: HashMap<Token, Exchange>,
}

/// One question to everybody about some calls.
struct Round {
    since: Now,
    /// When this role was asked first, or the bus was last away.
    began: Now,
    callers: Vec<Rid>,
    /// Who is being asked.
    role: Role,
    /// Who has not answered.
    silent: BTreeSet<Pid>,
    /// Who has, and knows all of its own requests.
    heard: BTreeSet<Pid>,
    /// Whether anybody has.
    answered: bool,
    found: BTreeMap<Rid, At>,
    /// Calls of which another ingress was told meanwhile that its own goes first. It may have answered before it had that one.
    yielded: BTreeSet<Rid>,
    batches: Vec<(Pid, wire::HeldBatch)>,
}

struct Exchange {
    round: u64,
    peer: Pid,
    attempt: u32,
}

/// Where a call's original is; what comes later is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    /// Somebody waits for it at this ingress.
    Twin(Pid),
    /// Nobody waits for it at this ingress.
    Orphan(Pid),
    /// Nowhere: its `Idempotency-Key` names another request.
    Conflict,
}

impl Questions {
    /// A request of a lost ingress was not executed by this job.
    pub(super) fn spend(&mut self, rid: Rid, job: String) {
        self.spent.insert(rid, job);
    }

    /// A request is over.
    pub(super) fn forget(&mut self, rid: Rid) {
        self.spent.remove(&rid);
    }

    pub(super) fn len(&self) -> usize {
        let asked = self.rounds.values().map(|round| round.callers.len()).sum::<usize>();
        self.due.len() + asked + self.spent.len()
    }
}

impl Round {
    fn found(&mut self, packed: &[u8], at: At) {
        for caller in unpack_rids(packed).unwrap_or_default() {
            let found = self.found.entry(caller).or_insert(at);
            *found = at.max(*found);
        }
    }
}

impl<W> Core<W> {
    /// Has others asked about a call, now or a little later.
    pub(super) fn ask_elsewhere(&mut self, now: Now, caller: Rid, wait: Duration) {
        let Some(request) = self.requests.get_mut(&caller) else { return };
        if request.phase == Phase::Asking(UNASKED) {
            return;
        }
        request.phase = Phase::Asking(UNASKED);
        self.questions.due.insert((now + wait.max(GATHER), caller));
        self.set_asking(now);
    }

    fn set_asking(&mut self, now: Now) {
        let Some((due, _)) = self.questions.due.first() else { return };
        let due = self.questions.asked.map_or(*due, |asked| (asked + NEXT_ROUND).max(*due));
        if self.questions.next.is_none_or(|next| due < next) {
            self.questions.next = Some(due);
            self.timers.set(due.max(now), Timer::Ask);
        }
    }

    /// Asks about the calls whose turn it is.
    pub(super) fn ask(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        if self.questions.next.is_none_or(|next| next > now) {
            return;
        }
        self.questions.next = None;
        // Only when everybody had time to be heard of.
        let known_at = self.members.known_at().unwrap_or(now + ASK_AGAIN);
        let mut callers = Vec::new();
        while let Some(&(due, caller)) = self.questions.due.first().filter(|(due, _)| *due <= now) {
            self.questions.due.remove(&(due, caller));
            match known_at <= now {
                true => callers.push(caller),
                // All of them together.
                false => drop(self.questions.due.insert((known_at, caller))),
            }
        }
        callers.retain(|caller| self.is_asking(*caller, UNASKED));
        if !callers.is_empty() {
            self.questions.asked = Some(now);
        }
        self.set_asking(now);
        for callers in callers.chunks(PACK) {
            self.questions.last += 1;
            let number = self.questions.last;
            for caller in callers {
                if let Some(request) = self.requests.get_mut(caller) {
                    request.phase = Phase::Asking(number);
                }
            }
            let round = Round {
                since: now,
                began: now,
                callers: callers.to_vec(),
                role: Role::Ingress,
                silent: BTreeSet::new(),
                heard: BTreeSet::new(),
                answered: false,
                found: BTreeMap::new(),
                yielded: BTreeSet::new(),
                batches: Vec::new(),
            };
            self.questions.rounds.insert(number, round);
            self.ask_all(now, number, Role::Ingress, out);
        }
    }

    /// Asks all processes of a role.
    fn ask_all(&mut self, now: Now, number: u64, role: Role, out: &mut Vec<Output<W>>) {
        let Some(round) = self.questions.rounds.get_mut(&number) else { return };
        (round.role, round.began) = (role, now);
        round.silent = self.members.live(role).collect();
        for peer in round.silent.clone() {
            self.send_whois(now, Exchange { round: number, peer, attempt: 0 }, out);
        }
        self.go_on_if_complete(now, number, out);
    }

    fn is_asking(&self, caller: Rid, round: u64) -> bool {
        self.requests.get(&caller).is_some_and(|request| request.phase == Phase::Asking(round))
    }

    fn send_whois(&mut self, now: Now, exchange: Exchange, out: &mut Vec<Output<W>>) {
        let token = self.token();
        let Some(round) = self.questions.rounds.get(&exchange.round) else { return };
        let mut groups: BTreeMap<&[u8], wire::WhoisGroup> = BTreeMap::new();
        for caller in &round.callers {
            let Some(request) = self.requests.get(caller) else { continue };
            let group = groups
                .entry(request.key.encoded())
                .or_insert_with(|| wire::WhoisGroup { key: Some(request.key.to_wire()), calls: Vec::new() });
            group.calls.push(request.place.sought().to_wire(*caller));
        }
        let own = self.members.pid();
        let heard = round.heard.iter().chain([&own]).flat_map(|pid| pid.0).collect();
        let whois = wire::Whois { groups: groups.into_values().collect(), heard };
        out.push(match round.role {
            Role::Ingress => Output::ToIngress(exchange.peer, Some(token), to_ingress::Body::Whois(whois)),
            _ => Output::ToSubmitter(exchange.peer, Some(token), to_submitter::Body::Whois(whois)),
        });
        let patience = backoff(PATIENCE, PATIENCE_MAX, exchange.attempt, token);
        self.questions.exchanges.insert(token, exchange);
        self.timers.set(now + patience, Timer::Unheard(token));
    }

    /// Whether the answer was one to such a question.
    pub(super) fn whois_answered(
        &mut self,
        now: Now,
        token: Token,
        answer: Option<&reply::Body>,
        out: &mut Vec<Output<W>>,
    ) -> bool {
        let Some(Exchange { round: number, peer, .. }) = self.questions.exchanges.remove(&token) else {
            return false;
        };
        match answer {
            Some(reply::Body::Holds(holds)) => {
                let round = self.questions.rounds.get_mut(&number);
                if let Some(round) = round.filter(|round| round.silent.contains(&peer)) {
                    round.silent.remove(&peer);
                    round.answered = true;
                    if !holds.forgetful {
                        round.heard.insert(peer);
                    }
                    round.found(&holds.twins, At::Twin(peer));
                    round.found(&holds.orphans, At::Orphan(peer));
                    round.found(&holds.conflicts, At::Conflict);
                    round.batches.extend(holds.batches.iter().map(|batch| (peer, batch.clone())));
                    let role = round.role;
                    // It may have been given up for its silence.
                    if let Some(change) = self.members.presume(now, peer, role) {
                        self.changed(now, change, out);
                    }
                }
                self.attach_to_orphans(now, number);
                self.go_on_if_complete(now, number, out);
            }
            Some(_) => {}
            None => {
                if let Some(change) = self.members.lost(peer) {
                    self.changed(now, change, out);
                }
                self.will_not_answer(now, peer, out);
            }
        }
        true
    }

    /// An original that nobody waits for is the best that can be found: its caller waits there at once, whoever has not answered.
    fn attach_to_orphans(&mut self, now: Now, number: u64) {
        let Some(round) = self.questions.rounds.get_mut(&number) else { return };
        let callers = std::mem::take(&mut round.callers);
        let orphan = |caller: &Rid| match round.found.get(caller) {
            Some(At::Orphan(ingress)) => Some(*ingress),
            _ => None,
        };
        let (found, rest): (Vec<Rid>, Vec<Rid>) =
            callers.into_iter().partition(|caller| orphan(caller).is_some());
        let found: Vec<(Rid, Pid)> = found.into_iter().filter_map(|c| Some((c, orphan(&c)?))).collect();
        round.callers = rest;
        if round.callers.is_empty() {
            self.forget_round(number);
        }
        for (caller, ingress) in found {
            if self.is_asking(caller, number) {
                self.attach_elsewhere(now, caller, ingress);
            }
        }
    }

    fn forget_round(&mut self, number: u64) -> Option<Round> {
        self.questions.exchanges.retain(|_, exchange| exchange.round != number);
        self.questions.rounds.remove(&number)
    }

    /// No answer so far: asks again. That the process is silent proves nothing, since it may be this one that is cut off and has
    /// not noticed; of a dead one the bus says that nobody is there.
    pub(super) fn unheard(&mut self, now: Now, token: Token, out: &mut Vec<Output<W>>) {
        let Some(exchange) = self.questions.exchanges.remove(&token) else { return };
        let Some(round) = self.questions.rounds.get_mut(&exchange.round) else { return };
        if !round.silent.contains(&exchange.peer) {
            return;
        }
        if !self.members.knows_all(now) {
            round.began = now;
        }
        if now.saturating_sub(round.began) >= UNANSWERED_FOR {
            round.silent.remove(&exchange.peer);
            return self.go_on_if_complete(now, exchange.round, out);
        }
        self.send_whois(now, Exchange { attempt: exchange.attempt + 1, ..exchange }, out);
    }

    /// A process is gone for certain.
    pub(super) fn will_not_answer(&mut self, now: Now, gone: Pid, out: &mut Vec<Output<W>>) {
        let mut numbers = Vec::new();
        for (number, round) in &mut self.questions.rounds {
            if round.silent.remove(&gone) {
                numbers.push(*number);
            }
        }
        for number in numbers {
            self.go_on_if_complete(now, number, out);
        }
    }

    fn go_on_if_complete(&mut self, now: Now, number: u64, out: &mut Vec<Output<W>>) {
        let Some(round) = self.questions.rounds.get(&number).filter(|round| round.silent.is_empty()) else {
            return;
        };
        if self.members.up_since().is_none_or(|up| up > round.since) {
            // While this process was cut off it may have lost sight of somebody.
            let callers = self.forget_round(number).map(|round| round.callers);
            return self.ask_all_anew(now, number, callers.unwrap_or_default(), ASK_AGAIN);
        }
        match round.role {
            Role::Ingress => {
                self.ask_again_if_yielded(now, number);
                self.ask_all(now, number, Role::Submitter, out);
            }
            _ => self.conclude(now, number, out),
        }
    }

    /// Begins again with calls of a round.
    fn ask_all_anew(&mut self, now: Now, number: u64, callers: Vec<Rid>, wait: Duration) {
        for caller in callers {
            if self.is_asking(caller, number) {
                self.ask_elsewhere(now, caller, wait);
            }
        }
    }

    /// Calls that others go before have to find them.
    fn ask_again_if_yielded(&mut self, now: Now, number: u64) {
        let Some(round) = self.questions.rounds.get_mut(&number) else { return };
        let mut yielded = std::mem::take(&mut round.yielded);
        yielded.retain(|caller| !round.found.contains_key(caller));
        round.callers.retain(|caller| !yielded.contains(caller));
        if round.callers.is_empty() {
            self.questions.rounds.remove(&number);
        }
        self.ask_all_anew(now, number, yielded.into_iter().collect(), Duration::ZERO);
    }

    /// Of two calls with one `Idempotency-Key` about which two ingresses ask each other, whether the one here goes first, so
    /// that the other waits for it. One that no ingress has is about to be announced. Else the ids decide.
    pub(super) fn goes_first(&self, rid: Rid, round: u64, other: Rid) -> bool {
        match self.questions.rounds.get(&round).filter(|round| round.role == Role::Submitter) {
            Some(round) => !round.found.contains_key(&rid),
            None => rid < other,
        }
    }

    /// Another ingress was told that its call goes first.
    pub(super) fn yields(&mut self, rid: Rid, other: Rid) {
        let Some(request) = self.requests.get(&rid).filter(|_| other < rid) else { return };
        let Phase::Asking(round) = request.phase else { return };
        if let Some(round) = self.questions.rounds.get_mut(&round).filter(|_| request.place.is_named()) {
            round.yielded.insert(rid);
        }
    }

    fn conclude(&mut self, now: Now, number: u64, out: &mut Vec<Output<W>>) {
        let Some(mut round) = self.forget_round(number) else { return };
        if !round.answered {
            // That nobody is there may be due to this process's own connection. Without anybody it could not be served either.
            return self.ask_all_anew(now, number, round.callers, ASK_AGAIN);
        }
        // The latest first: a request whose line failed in one was put into another.
        round.batches.sort_by_key(|(_, batch)| batch.age_ms);
        for (submitter, batch) in std::mem::take(&mut round.batches) {
            self.conclude_batch(now, number, &round, submitter, batch, out);
        }
        for caller in round.callers {
            if !self.is_asking(caller, number) {
                continue;
            }
            match round.found.get(&caller) {
                Some(At::Orphan(ingress) | At::Twin(ingress)) => self.attach_elsewhere(now, caller, *ingress),
                Some(At::Conflict) => self.end(now, caller, Outcome::Fault(key_taken()), out),
                None => self.is_nowhere_else(now, caller, out),
            }
        }
    }

    /// Nobody else has a call's original: it shares the answer of a twin here, or is a new request.
    fn is_nowhere_else(&mut self, now: Now, caller: Rid, out: &mut Vec<Output<W>>) {
        let Some(place) = self.requests.get(&caller).map(|request| request.place) else { return };
        let is_decided = |rid: &Rid| match self.requests.get(rid) {
            Some(request) => !matches!(request.phase, Phase::Asking(_)),
            None => true,
        };
        let twin = self.pairs.equals(place).find(|rid| *rid != caller && is_decided(rid));
        match twin.filter(|_| place.pairing().retry) {
            Some(twin) => self.join(now, caller, twin, out),
            None => self.announce_anew(now, caller),
        }
    }

    /// What a submitter has counts where nobody else knows better: not where its ingress has answered for itself.
    fn conclude_batch(
        &mut self,
        now: Now,
        number: u64,
        round: &Round,
        submitter: Pid,
        batch: wire::HeldBatch,
        out: &mut Vec<Output<W>>,
    ) {
        let Ok(ingress) = Pid::from_slice(&batch.ingress) else { return };
        let (Ok(callers), Ok(rids)) = (unpack_rids(&batch.callers), unpack_rids(&batch.rids)) else { return };
        if round.heard.contains(&ingress) || ingress == self.members.pid() {
            return;
        }
        let decided = |caller: &Rid| matches!(round.found.get(caller), Some(At::Orphan(_) | At::Conflict));
        let spent = |caller: &Rid| self.questions.spent.get(caller).is_some_and(|job| *job == batch.job);
        let asks = |caller: &Rid| self.is_asking(*caller, number) && !decided(caller) && !spent(caller);
        let wanted: Vec<(Rid, Rid)> = callers.into_iter().zip(rids).filter(|(c, _)| asks(c)).collect();
        match batch.undecided {
            true => wanted.into_iter().for_each(|(caller, _)| self.ask_elsewhere(now, caller, ASK_AGAIN)),
            false => self.adopt(now, submitter, &batch, wanted, out),
        }
    }
}
