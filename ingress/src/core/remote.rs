//! Callers who wait at other ingresses for requests that are held here.
//!
//! Each is a caller like any other, except that its outcome is fetched, in parts, by the ingress where it waits. That ingress
//! says every few seconds that it still does.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{Pid, Rid, pack_rids, unpack_rids};
use common::pairing::Pairing;
use common::timers::Now;
use common::wire::{self, reply, to_ingress};

use super::pair::Found;
use super::{Core, Output, Phase};

/// Most of them; more are told that their original is not here.
const MAX_REMOTE: usize = 100_000;
/// After so long without a word of its ingress a caller counts as gone: six of its intervals.
const LEASE: Duration = Duration::from_secs(30);
/// Bytes of an outcome in one message.
const PART: usize = 512 * 1024;

/// All of them.
#[derive(Default)]
pub(super) struct Remotes {
    callers: BTreeMap<Rid, Remote>,
    /// Callers whose request has ended and whose ingress is not told yet.
    ended: BTreeMap<Pid, Vec<Rid>>,
}

struct Remote {
    at: Pid,
    heard: Now,
}

impl Remotes {
    pub(super) fn len(&self) -> usize {
        self.callers.len()
    }

    /// Its outcome can be fetched.
    pub(super) fn ended(&mut self, caller: Rid) {
        if let Some(remote) = self.callers.get(&caller) {
            self.ended.entry(remote.at).or_default().push(caller);
        }
    }
}

/// Which ingresses can be taken for lost, with the callers that wait there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lost {
    /// None but those that have not said for long that they wait.
    None,
    /// This one.
    One(Pid),
    /// All: this process was out of touch, and they may have given it up. Those that have not come again.
    All,
}

/// A part of an outcome before it is sealed.
#[derive(Debug)]
pub struct OutcomePart {
    /// Whose outcome it is.
    pub caller: Rid,
    /// Number of the part, from 0.
    pub part: u32,
    /// Whether it is the last.
    pub last: bool,
    /// Comes with part 0.
    pub head: Option<wire::OutcomeHead>,
    /// The body's piece.
    pub body: Bytes,
}

impl<W> Core<W> {
    /// Whether requests are here that these calls repeat.
    pub(super) fn whois(&mut self, whois: &wire::Whois, reply: String, out: &mut Vec<Output<W>>) {
        let (mut orphans, mut twins, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
        let calls = whois.groups.iter().flat_map(|group| &group.calls);
        for (caller, pairing) in calls.filter_map(Pairing::from_wire) {
            match self.find_for(caller, pairing) {
                Found::Repeats(rid) if !self.may_attach(caller, rid) => self.yields(rid, caller),
                Found::Repeats(rid) if self.is_attended(rid) => twins.push(caller),
                Found::Repeats(_) => orphans.push(caller),
                Found::Conflict => conflicts.push(caller),
                Found::New => {}
            }
        }
        let [orphans, twins, conflicts] = [orphans, twins, conflicts].map(|callers| pack_rids(&callers));
        let forgetful = self.members.is_draining();
        let holds = wire::Holds { orphans, twins, conflicts, batches: Vec::new(), forgetful };
        out.push(Output::Reply(reply, reply::Body::Holds(holds)));
    }

    /// What a call elsewhere repeats: what it may wait for, if there is such.
    fn find_for(&self, caller: Rid, pairing: Pairing) -> Found {
        match self.pairs.find_where(pairing, |rid| self.may_attach(caller, rid)) {
            Found::New => self.pairs.find(pairing),
            found => found,
        }
    }

    fn is_attended(&self, rid: Rid) -> bool {
        match self.requests.get(&rid) {
            Some(request) => request.callers.alone_since().is_none(),
            None => self.kept.is_being_given(rid),
        }
    }

    /// Whether a caller elsewhere may wait here for a request.
    fn may_attach(&self, caller: Rid, rid: Rid) -> bool {
        if self.remotes.len() >= MAX_REMOTE {
            return false;
        }
        let Some(request) = self.requests.get(&rid) else { return true };
        match request.phase {
            Phase::Granted(_) | Phase::Resting | Phase::Alone => true,
            // It waits elsewhere itself, where the caller finds it too.
            Phase::Elsewhere => false,
            // Both ask for their original. With an Idempotency-Key they are one request, and of two that wait for each other
            // one has to go first.
            Phase::Asking(round) => request.place.is_named() && self.goes_first(rid, round, caller),
            Phase::New | Phase::Announced(_) | Phase::Held { .. } | Phase::Withheld => {
                !self.members.is_draining()
            }
        }
    }

    /// Callers wait elsewhere for requests of this ingress, or do not any more.
    pub(super) fn attach_remote(
        &mut self,
        now: Now,
        attach: &wire::Attach,
        reply: String,
        out: &mut Vec<Output<W>>,
    ) {
        let Ok(at) = Pid::from_slice(&attach.ingress) else { return };
        for caller in unpack_rids(&attach.received).unwrap_or_default() {
            if self.remotes.callers.remove(&caller).is_some() {
                self.received(now, caller);
            }
        }
        for caller in unpack_rids(&attach.gone).unwrap_or_default() {
            self.remote_gone(now, caller);
        }
        let mut answer: [Vec<Rid>; 4] = Default::default();
        for (caller, pairing) in attach.calls.iter().filter_map(Pairing::from_wire) {
            let found = self.attach_one(now, at, caller, pairing, out);
            answer[found as usize].push(caller);
        }
        let [waiting, ended, unknown, conflicts] = answer.map(|callers| pack_rids(&callers));
        let attached = wire::Attached { waiting, ended, unknown, conflicts };
        out.push(Output::Reply(reply, reply::Body::Attached(attached)));
    }

    fn attach_one(
        &mut self,
        now: Now,
        at: Pid,
        caller: Rid,
        pairing: Pairing,
        out: &mut Vec<Output<W>>,
    ) -> Attachment {
        if !self.remotes.callers.contains_key(&caller) {
            match self.find_for(caller, pairing) {
                Found::Repeats(rid) if self.may_attach(caller, rid) => {
                    self.attach(now, rid, caller, None, out)
                }
                Found::Conflict => return Attachment::Conflict,
                _ => return Attachment::Unknown,
            }
        }
        self.remotes.callers.insert(caller, Remote { at, heard: now });
        match self.repetitions.get(&caller) {
            Some(rid) if self.requests.contains_key(rid) => Attachment::Waiting,
            Some(rid) if self.kept.outcome(*rid).is_some() => Attachment::Ended,
            _ => {
                self.remote_gone(now, caller);
                Attachment::Unknown
            }
        }
    }

    fn remote_gone(&mut self, now: Now, caller: Rid) {
        if self.remotes.callers.remove(&caller).is_some() {
            self.gone(now, caller);
        }
    }

    /// Callers whose ingress is gone, or has not said for long that they still wait, are gone.
    pub(super) fn expire_remotes(&mut self, now: Now, lost: Lost) {
        let is_lost = |remote: &Remote| match lost {
            Lost::None => false,
            Lost::One(ingress) => remote.at == ingress,
            Lost::All => true,
        };
        let gone = |remote: &Remote| is_lost(remote) || now.saturating_sub(remote.heard) >= LEASE;
        let callers: Vec<Rid> =
            self.remotes.callers.iter().filter(|(_, remote)| gone(remote)).map(|(rid, _)| *rid).collect();
        for caller in callers {
            self.remote_gone(now, caller);
        }
    }

    /// Tells the ingresses whose callers' requests have ended.
    pub(super) fn tell_ended(&mut self, out: &mut Vec<Output<W>>) {
        for (at, callers) in std::mem::take(&mut self.remotes.ended) {
            let ingress = self.members.pid().to_bytes();
            let ended = wire::Ended { ingress, callers: pack_rids(&callers) };
            out.push(Output::ToIngress(at, None, to_ingress::Body::Ended(ended)));
        }
    }

    /// Hands out a part of an outcome.
    pub(super) fn fetch(&self, fetch: &wire::Fetch, reply: String, out: &mut Vec<Output<W>>) {
        let Ok(caller) = Rid::from_slice(&fetch.caller) else { return };
        let rid = self.repetitions.get(&caller).filter(|_| self.remotes.callers.contains_key(&caller));
        let piece = rid.and_then(|rid| self.kept.outcome(*rid)).and_then(|outcome| {
            let (head, body) = outcome.as_ref().clone().into_wire();
            let from = usize::try_from(fetch.part).ok()?.checked_mul(PART)?;
            let to = from.saturating_add(PART).min(body.len());
            let within = from < body.len() || fetch.part == 0;
            let head = (fetch.part == 0).then_some(head);
            within.then(|| OutcomePart {
                caller,
                part: fetch.part,
                last: to == body.len(),
                head,
                body: body.slice(from..to),
            })
        });
        match piece {
            Some(part) => out.push(Output::Fetched(reply, part)),
            None => {
                let fetched = wire::Fetched {
                    caller: fetch.caller.clone(),
                    part: fetch.part,
                    unknown: true,
                    ..Default::default()
                };
                out.push(Output::Reply(reply, reply::Body::Fetched(fetched)));
            }
        }
    }
}

/// What is told of a caller, in the order of the answer's fields.
#[derive(Debug, Clone, Copy)]
enum Attachment {
    Waiting,
    Ended,
    Unknown,
    Conflict,
}
