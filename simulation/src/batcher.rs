//! A batcher: its state machine and what its shell does between that and the bus.

use batcher::Args;
use batcher::core::{Core, Input, Output};
use bytes::Bytes;
use common::drive::Core as _;
use common::ids::{Bid, Pid};
use common::members::{Identity, Members};
use common::subjects::Subjects;
use common::timers::Now;
use common::wire::{self, AnnounceAck, Role, reply, to_batcher};
use prost::Message as _;
use providers::Upstreams;

use crate::faults::Knobs;
use crate::node::{Effects, Local, Mail, Node, answer, send, send_reply};
use crate::rng::Rng;

/// As large as the in-process bus and NATS carry by default.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// The state machine and its surroundings.
pub(crate) struct Batcher {
    core: Core,
    identity: Identity,
    subjects: Subjects,
    out: Vec<Output>,
}

impl Batcher {
    pub(crate) fn new(pid: Pid, knobs: &Knobs, mut bids: Rng) -> Self {
        let identity = Identity { pid, role: Role::Batcher, public_key: Bytes::new(), auth: Bytes::new() };
        let args = Args {
            window: knobs.window,
            idle: knobs.idle,
            max_requests: knobs.max_requests,
            max_bytes: knobs.max_bytes,
        };
        let core = Core::new(
            args,
            Upstreams::default(),
            identity.clone(),
            MAX_PAYLOAD,
            Box::new(move || Bid(bids.id())),
        );
        Self { core, identity, subjects: Subjects::new("llmp"), out: Vec::new() }
    }

    fn give(&mut self, now: Now, input: Input, effects: &mut Effects) {
        self.core.handle(now, input, &mut self.out);
        self.tick(now, effects);
    }

    fn read(mail: &Mail) -> Option<Input> {
        if mail.subject.contains(".re.") {
            return answer(mail).map(Input::Answer);
        }
        let payload = mail.payload.clone();
        if mail.subject.contains(".hb.") {
            return wire::Heartbeat::decode(payload).ok().map(Input::Heartbeat);
        }
        let reply = mail.reply.as_deref().map(str::to_owned);
        Some(match wire::ToBatcher::decode(payload).ok()?.body? {
            to_batcher::Body::Announce(announce) => Input::Announce { announce, reply },
            to_batcher::Body::Withdraw(withdraw) => Input::Withdraw(withdraw),
        })
    }

    fn perform(&self, output: Output, effects: &mut Effects) {
        let pid = self.identity.pid;
        match output {
            Output::Ack { reply, busy } => {
                send_reply(effects, reply, reply::Body::AnnounceAck(AnnounceAck { busy }));
            }
            Output::Offer { to, token, offer } => {
                let reply = Some(self.subjects.reply(Role::Batcher, pid, token));
                send(effects, self.subjects.inbox(Role::Submitter, to), reply, &offer);
            }
            Output::Beat(beat) => send(effects, self.subjects.heartbeat(Role::Batcher, pid), None, &beat),
        }
    }
}

impl Node for Batcher {
    fn subscriptions(&self) -> Vec<String> {
        let pid = self.identity.pid;
        let mut all =
            vec![self.subjects.replies(Role::Batcher, pid), self.subjects.inbox(Role::Batcher, pid)];
        all.extend(
            [Role::Submitter, Role::Batcher, Role::Ingress].map(|role| self.subjects.heartbeats(role)),
        );
        all
    }

    fn mail(&mut self, now: Now, mail: &Mail, effects: &mut Effects) {
        if let Some(input) = Self::read(mail) {
            self.give(now, input, effects);
        }
    }

    fn local(&mut self, now: Now, local: Local, effects: &mut Effects) {
        match local {
            Local::Bus(up) => self.give(now, Input::Bus { up, max_payload: MAX_PAYLOAD }, effects),
            Local::Drain => self.give(now, Input::Drain, effects),
            _ => {}
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Effects) {
        self.core.tick(now, &mut self.out);
        for output in std::mem::take(&mut self.out) {
            self.perform(output, effects);
        }
    }

    fn wake_at(&self) -> Option<Now> {
        self.core.wake_at()
    }

    fn is_finished(&self) -> bool {
        self.core.is_finished()
    }

    fn farewell(&mut self, effects: &mut Effects) {
        self.perform(Output::Beat(Members::new(self.identity.clone()).farewell()), effects);
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        self.core.sizes()
    }
}
