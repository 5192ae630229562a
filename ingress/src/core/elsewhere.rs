//! Calls of this ingress whose original is held at another: they wait there, and their outcome is fetched.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::ids::{Pid, Rid, pack_rids, unpack_rids};
use common::outcome::{Fault, FaultClass, Outcome};
use common::pairing::Pairing;
use common::subjects::Token;
use common::timers::Now;
use common::wire::{self, reply, to_ingress};

use super::result::MAX_ANSWER;
use super::{Core, Output, Phase};

/// Most calls of each kind in one message: about 100 bytes in all, so that it stays under 100 KB.
const PACK: usize = 1_000;
/// How long the answer to a fetch is waited for before it is asked for again.
const FETCH_AGAIN: Duration = Duration::from_secs(2);
/// How soon others are asked where a call's original was not where it had been found.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Default)]
pub(super) struct Elsewhere {
    calls: BTreeMap<Rid, Waiting>,
    /// Where the outcomes came from that are being given to callers here. They stay there until a caller has received them: this
    /// process may die first.
    handed_over: BTreeMap<Rid, (Pid, Pairing)>,
    /// What is to be said, by ingress.
    words: BTreeMap<Pid, Words>,
    exchanges: BTreeMap<Token, Said>,
}

/// Words that are not acknowledged.
struct Said {
    to: Pid,
    received: Vec<Rid>,
    gone: Vec<Rid>,
}

struct Waiting {
    at: Pid,
    fetch: Option<Fetch>,
}

/// An outcome of which some parts have come, in order.
struct Fetch {
    asked: Now,
    head: Option<wire::OutcomeHead>,
    body: BytesMut,
    next: u32,
}

#[derive(Default)]
struct Words {
    wait: Vec<Rid>,
    received: Vec<Rid>,
    gone: Vec<Rid>,
}

/// A part of an outcome that another ingress handed over, opened.
#[derive(Debug)]
pub struct FetchedPart {
    /// Whose outcome it is.
    pub caller: Rid,
    /// Number of the part, from 0.
    pub part: u32,
    /// Whether it is the last.
    pub last: bool,
    /// There is no such outcome.
    pub unknown: bool,
    /// Comes with part 0.
    pub head: Option<wire::OutcomeHead>,
    /// The body's next piece.
    pub body: Bytes,
}

impl Elsewhere {
    pub(super) fn len(&self) -> usize {
        self.calls.len() + self.handed_over.len()
    }
}

impl<W> Core<W> {
    /// Lets a call wait at another ingress.
    pub(super) fn attach_elsewhere(&mut self, now: Now, caller: Rid, at: Pid) {
        if !self.members.contains(at) {
            return self.ask_elsewhere(now, caller, ASK_AGAIN);
        }
        let Some(request) = self.requests.get_mut(&caller) else { return };
        request.phase = Phase::Elsewhere;
        self.elsewhere.calls.insert(caller, Waiting { at, fetch: None });
        self.elsewhere.words.entry(at).or_default().wait.push(caller);
    }

    /// Nobody waits here for it any more.
    pub(super) fn leave_elsewhere(&mut self, caller: Rid) {
        if let Some(waiting) = self.elsewhere.calls.remove(&caller) {
            self.elsewhere.words.entry(waiting.at).or_default().gone.push(caller);
        }
    }

    /// A caller has received an outcome that may be another ingress's, or the last of them has gone without it.
    pub(super) fn returned_elsewhere(&mut self, rid: Rid, received: bool) {
        let Some((at, _)) = self.elsewhere.handed_over.remove(&rid) else { return };
        let words = self.elsewhere.words.entry(at).or_default();
        if received { words.received.push(rid) } else { words.gone.push(rid) }
    }

    /// Says again of all of them that they wait, and what was not heard: who waits no longer would keep its outcome there.
    pub(super) fn renew_elsewhere(&mut self) {
        for said in std::mem::take(&mut self.elsewhere.exchanges).into_values() {
            if self.members.contains(said.to) && !(said.received.is_empty() && said.gone.is_empty()) {
                let words = self.elsewhere.words.entry(said.to).or_default();
                words.received.extend(said.received);
                words.gone.extend(said.gone);
            }
        }
        let waiting = self.elsewhere.calls.iter().map(|(caller, waiting)| (*caller, waiting.at));
        let reading = self.elsewhere.handed_over.iter().map(|(caller, (at, _))| (*caller, *at));
        for (caller, at) in waiting.chain(reading) {
            if self.members.contains(at) {
                self.elsewhere.words.entry(at).or_default().wait.push(caller);
            }
        }
    }

    /// Says what is to be said to other ingresses.
    pub(super) fn send_words(&mut self, out: &mut Vec<Output<W>>) {
        for (at, words) in std::mem::take(&mut self.elsewhere.words) {
            let Words { wait, received, gone } = words;
            let most = wait.len().max(received.len()).max(gone.len());
            for from in (0..most).step_by(PACK) {
                let token = self.token();
                let sought = |caller: &Rid| match self.requests.get(caller) {
                    Some(request) => Some(request.place.sought()),
                    None => self.elsewhere.handed_over.get(caller).map(|(_, pairing)| *pairing),
                };
                let call = |caller: &Rid| Some(sought(caller)?.to_wire(*caller));
                let (received, gone) = (pack(&received, from).to_vec(), pack(&gone, from).to_vec());
                let attach = wire::Attach {
                    ingress: self.members.pid().to_bytes(),
                    calls: pack(&wait, from).iter().filter_map(call).collect(),
                    received: pack_rids(&received),
                    gone: pack_rids(&gone),
                };
                self.elsewhere.exchanges.insert(token, Said { to: at, received, gone });
                out.push(Output::ToIngress(at, Some(token), to_ingress::Body::Attach(attach)));
            }
        }
    }

    /// Whether the answer was one to such words.
    pub(super) fn attached(
        &mut self,
        now: Now,
        token: Token,
        answer: Option<&reply::Body>,
        out: &mut Vec<Output<W>>,
    ) -> bool {
        let Some(Said { to: at, .. }) = self.elsewhere.exchanges.remove(&token) else { return false };
        let Some(answer) = answer else {
            match self.members.lost(at) {
                Some(change) => self.changed(now, change, out),
                None => self.ask_anew_of(now, at),
            }
            return true;
        };
        let reply::Body::Attached(attached) = answer else { return true };
        for caller in unpack_rids(&attached.ended).unwrap_or_default() {
            self.fetch_from(now, at, caller, out);
        }
        for caller in unpack_rids(&attached.unknown).unwrap_or_default() {
            self.ask_anew(now, at, caller);
        }
        for caller in unpack_rids(&attached.conflicts).unwrap_or_default() {
            if self.waits_at(caller, at) {
                self.elsewhere.calls.remove(&caller);
                self.end(now, caller, Outcome::Fault(super::callers::key_taken()), out);
            }
        }
        true
    }

    fn waits_at(&self, caller: Rid, at: Pid) -> bool {
        self.elsewhere.calls.get(&caller).is_some_and(|waiting| waiting.at == at)
    }

    /// Its original is not there (any more).
    fn ask_anew(&mut self, now: Now, at: Pid, caller: Rid) {
        if self.waits_at(caller, at) {
            self.elsewhere.calls.remove(&caller);
            self.ask_elsewhere(now, caller, ASK_AGAIN);
        }
    }

    /// The ingress where they waited is gone.
    pub(super) fn ask_anew_of(&mut self, now: Now, gone: Pid) {
        let callers: Vec<Rid> =
            self.elsewhere.calls.iter().filter(|(_, w)| w.at == gone).map(|(caller, _)| *caller).collect();
        for caller in callers {
            self.ask_anew(now, gone, caller);
        }
        self.elsewhere.words.remove(&gone);
    }

    /// Another ingress says that requests have ended.
    pub(super) fn ended_elsewhere(&mut self, now: Now, ended: &wire::Ended, out: &mut Vec<Output<W>>) {
        let Ok(at) = Pid::from_slice(&ended.ingress) else { return };
        for caller in unpack_rids(&ended.callers).unwrap_or_default() {
            self.fetch_from(now, at, caller, out);
        }
    }

    fn fetch_from(&mut self, now: Now, at: Pid, caller: Rid, out: &mut Vec<Output<W>>) {
        let Some(waiting) = self.elsewhere.calls.get_mut(&caller).filter(|waiting| waiting.at == at) else {
            return;
        };
        let under_way = |fetch: &Fetch| now.saturating_sub(fetch.asked) < FETCH_AGAIN;
        if waiting.fetch.as_ref().is_some_and(under_way) {
            return;
        }
        let fetch = waiting.fetch.get_or_insert_with(|| Fetch {
            asked: now,
            head: None,
            body: BytesMut::new(),
            next: 0,
        });
        fetch.asked = now;
        let message = wire::Fetch { caller: caller.to_bytes(), part: fetch.next };
        let token = self.token();
        out.push(Output::ToIngress(at, Some(token), to_ingress::Body::Fetch(message)));
    }

    /// A part has come: asks for the next, or ends the call.
    pub(super) fn fetched(&mut self, now: Now, part: FetchedPart, out: &mut Vec<Output<W>>) {
        let caller = part.caller;
        let Some(waiting) = self.elsewhere.calls.get_mut(&caller) else { return };
        let at = waiting.at;
        let Some(fetch) = waiting.fetch.as_mut().filter(|fetch| fetch.next == part.part) else { return };
        if part.unknown {
            return self.ask_anew(now, at, caller);
        }
        fetch.head = fetch.head.take().or(part.head);
        fetch.body.extend_from_slice(&part.body);
        fetch.next += 1;
        if !part.last && fetch.body.len() <= MAX_ANSWER {
            fetch.asked = now.saturating_sub(FETCH_AGAIN);
            return self.fetch_from(now, at, caller, out);
        }
        let whole = waiting.fetch.take().filter(|_| part.last);
        let outcome = whole.and_then(|fetch| Outcome::from_wire(fetch.head?, fetch.body.freeze()));
        // That another ingress stops is no outcome.
        if outcome.as_ref().is_some_and(is_farewell) {
            self.elsewhere.words.entry(at).or_default().received.push(caller);
            return self.ask_anew(now, at, caller);
        }
        self.elsewhere.calls.remove(&caller);
        if let Some(request) = self.requests.get(&caller) {
            self.elsewhere.handed_over.insert(caller, (at, request.place.sought()));
        }
        self.end(now, caller, outcome.unwrap_or_else(|| Outcome::Fault(unreadable())), out);
    }
}

/// Those of them that go into one message.
fn pack(rids: &[Rid], from: usize) -> &[Rid] {
    rids.get(from..).map_or(&[], |rest| &rest[..rest.len().min(PACK)])
}

fn is_farewell(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fault(fault) if ["shutting_down", "shut_down"].contains(&fault.code.as_str()))
}

fn unreadable() -> Fault {
    let message = "The answer of the request could not be read from the ingress that had it.";
    Fault::new(FaultClass::Internal, "unreadable_result", message).no_retry()
}
