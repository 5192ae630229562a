//! The rules, at virtual time: a core between scripted ingresses and submitters.

mod exchange;
mod holding;
mod offering;
mod property;
mod rate;
mod sealing;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use common::drive::Core as _;
use common::ids::{Bid, Fingerprint, ID_LEN, Pid, Rid, unpack_rids};
use common::members::Identity;
use common::timers::Now;
use common::wire::{self, Role, reply, to_submitter};

use super::{Core, Input, Output};
use crate::Args;
use providers::Upstreams;

/// What the bus of these tests carries at most.
const PAYLOAD: usize = 1_000_000;

/// How a submitter takes an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Accepted,
    Busy,
    /// The offer or its answer is lost.
    Nothing,
    /// Nobody listens there.
    Gone,
}

type Policy = Box<dyn FnMut(Pid, &wire::Offer) -> Says>;

/// An offer as it was sent.
#[derive(Debug, Clone)]
struct Sent {
    at: Now,
    to: Pid,
    offer: wire::Offer,
}

/// A batcher and all that it hears and says.
struct Rig {
    core: Core,
    now: Now,
    submitters: Vec<Pid>,
    policy: Policy,
    sent: Vec<Sent>,
    /// The first of each batch that was accepted. A second submitter may accept the same batch, which is harmless:
    /// the ingresses grant their requests once.
    accepted: Vec<Sent>,
    accepted_bids: BTreeSet<Bytes>,
    acks: Vec<bool>,
    beats: Vec<wire::Heartbeat>,
    /// Everything, for comparisons.
    outputs: Vec<(Now, Output)>,
}

impl Rig {
    /// With one submitter that accepts everything.
    fn new(args: Args) -> Self {
        let mut rig = Self::alone(args);
        rig.submitters.push(pid(200));
        rig.hear_submitters();
        rig
    }

    /// Without a submitter.
    fn alone(args: Args) -> Self {
        let identity =
            Identity { pid: pid(100), role: Role::Batcher, public_key: Bytes::new(), auth: Bytes::new() };
        let mut count = 0u128;
        let bids = move || {
            count += 1;
            Bid(count.to_be_bytes())
        };
        let mut rig = Self {
            core: Core::new(args, Upstreams::default(), identity, PAYLOAD, Box::new(bids)),
            now: Now::ZERO,
            submitters: Vec::new(),
            policy: Box::new(|_, _| Says::Accepted),
            sent: Vec::new(),
            accepted: Vec::new(),
            accepted_bids: BTreeSet::new(),
            acks: Vec::new(),
            beats: Vec::new(),
            outputs: Vec::new(),
        };
        rig.input(Input::Bus { up: true, max_payload: PAYLOAD });
        rig
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Output>) {
        for output in out {
            self.outputs.push((self.now, output.clone()));
            match output {
                Output::Ack { busy, .. } => self.acks.push(busy),
                Output::Beat(beat) => self.beats.push(beat),
                Output::Offer { to, token, offer } => self.offered(to, token, offer),
            }
        }
    }

    fn offered(&mut self, to: Pid, token: u64, offer: wire::ToSubmitter) {
        let Some(to_submitter::Body::Offer(offer)) = offer.body else { panic!("not an offer") };
        let sent = Sent { at: self.now, to, offer };
        self.sent.push(sent.clone());
        let says = (self.policy)(to, &sent.offer);
        if says == Says::Accepted && self.accepted_bids.insert(sent.offer.bid.clone()) {
            self.accepted.push(sent);
        }
        match says {
            Says::Accepted | Says::Busy => {
                self.input(Input::Answer((token, offer_reply(says == Says::Accepted))))
            }
            Says::Gone => self.input(Input::Answer((token, None))),
            Says::Nothing => {}
        }
    }

    /// Lets time pass, with a heartbeat of every submitter each second.
    fn run_until(&mut self, end: Now) {
        loop {
            let beat = Duration::from_secs(self.now.as_secs() + 1);
            let wake = self.core.wake_at().unwrap_or(end).max(self.now);
            let next = beat.min(wake).min(end);
            let idle = next == self.now && self.now == end;
            self.now = next;
            let mut out = Vec::new();
            self.core.tick(self.now, &mut out);
            self.take(out);
            if self.now == beat {
                self.hear_submitters();
            }
            if idle || self.now == end {
                return;
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    fn hear_submitters(&mut self) {
        for submitter in self.submitters.clone() {
            self.hear(submitter, Role::Submitter, |_| {});
        }
    }

    fn hear(&mut self, pid: Pid, role: Role, change: impl FnOnce(&mut wire::Heartbeat)) {
        let mut beat = wire::Heartbeat { pid: pid.to_bytes(), role: role.into(), ..Default::default() };
        change(&mut beat);
        self.input(Input::Heartbeat(beat));
    }

    /// Announces requests of 1,000 bytes from ingress 1.
    fn announce(&mut self, key: &wire::BatchKey, rids: impl IntoIterator<Item = u64>) {
        self.announce_items(1, key, rids.into_iter().map(|n| item(n, 1000)).collect());
    }

    fn announce_items(&mut self, ingress: u8, key: &wire::BatchKey, items: Vec<wire::AnnounceItem>) {
        let groups = vec![wire::AnnounceGroup { key: Some(key.clone()), items }];
        self.announce_raw(announcement(ingress, groups));
    }

    fn announce_raw(&mut self, announce: wire::Announce) {
        self.input(Input::Announce { announce, reply: Some("r".into()) });
    }

    fn withdraw(&mut self, rids: impl IntoIterator<Item = u64>) {
        let rids = rids.into_iter().map(|n| rid(n).to_bytes()).collect();
        self.input(Input::Withdraw(wire::Withdraw { rids }));
    }

    /// When each accepted batch was accepted, and with how many requests.
    fn batches(&self) -> Vec<(Now, usize)> {
        self.accepted.iter().map(|sent| (sent.at, sent.rids().len())).collect()
    }
}

impl Sent {
    fn rids(&self) -> Vec<Rid> {
        self.offer.parts.iter().flat_map(|part| unpack_rids(&part.rids).unwrap()).collect()
    }
}

fn announcement(ingress: u8, groups: Vec<wire::AnnounceGroup>) -> wire::Announce {
    wire::Announce { ingress: pid(ingress).to_bytes(), reply: format!("llmp.v1.ing.{ingress}.r"), groups }
}

fn offer_reply(accepted: bool) -> Option<reply::Body> {
    Some(reply::Body::OfferReply(wire::OfferReply { accepted }))
}

fn args() -> Args {
    Args { window: seconds(4), idle: seconds(1), max_requests: 1000, max_bytes: 25_000_000 }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn pid(n: u8) -> Pid {
    Pid([n; ID_LEN])
}

fn rid(n: u64) -> Rid {
    Rid(u128::from(n).to_be_bytes())
}

fn item(n: u64, bytes: u64) -> wire::AnnounceItem {
    wire::AnnounceItem { rid: rid(n).to_bytes(), bytes, inputs: 1, deadline_ms: 0 }
}

/// A key of a credential.
fn key(credential: u8, model: &str) -> wire::BatchKey {
    wire::BatchKey {
        upstream: "openai".into(),
        fingerprint: Bytes::copy_from_slice(&Fingerprint([credential; ID_LEN]).0),
        endpoint: "/v1/chat/completions".into(),
        model: model.into(),
        headers: Vec::new(),
        patience_s: 0,
    }
}
