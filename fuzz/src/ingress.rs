//! An ingress that hears anything in any order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::bus::Message;
use common::drive::Core as _;
use common::ids::{Bid, Digest, Pid, Rid};
use common::members::{Identity, Members};
use common::outcome::Outcome;
use common::pairing::Pairing;
use common::seal::Keyring;
use common::timers::Now;
use common::wire::{self, Role, to_ingress, to_submitter};
use http::HeaderMap;
use ingress::core::{Core, FetchedPart, Input, Keeping, Output, ResultPart};
use ingress::hold::Call;
use ingress::plan::{Plan, Policy, Ways};
use prost::Message as _;

use crate::batcher::later;
use crate::key::{Cast, batch_key};
use crate::messages;
use crate::source::Source;

/// An ingress and the callers that wait at it.
struct Rig {
    core: Core<Rid>,
    now: Now,
    cast: Cast,
    keyring: Keyring,
    /// Callers that have not said that they go.
    callers: Vec<Rid>,
    ended: BTreeSet<Rid>,
    calls: u64,
}

/// Takes a sequence of inputs and moments.
pub(crate) fn sequence(data: &[u8]) {
    let mut source = Source::new(data);
    let mut rig = Rig::new(source.byte());
    rig.give(Input::Bus(true));
    while let Some(what) = source.next() {
        if what >= 200 {
            rig.now = later(rig.now, what, rig.core.wake_at());
            rig.tick();
        } else if let Some(input) = rig.input(what, &mut source) {
            rig.give(input);
        }
        let _ = (rig.core.sizes(), rig.core.origins(), rig.core.is_finished(), rig.core.farewell());
    }
}

impl Rig {
    /// Knows everybody if it is told to by the first byte.
    fn new(first: u8) -> Self {
        let cast = Cast::new();
        let identity =
            Identity { pid: cast.me, role: Role::Ingress, public_key: Bytes::new(), auth: Bytes::new() };
        let members = Members::new(identity);
        let members = if first & 1 == 1 { members.of_one_process() } else { members };
        let keeping = Keeping {
            reattach_window: Duration::from_secs(60),
            answers_for: Duration::from_secs(3600),
            answers_bytes: 4096,
        };
        let policy = Policy { line_retries: 2, hard: first & 2 == 2, alone_if_refused: first & 4 == 4 };
        let core = Core::new(members, "llmp.v1.ing.x.r".into(), keeping, policy);
        let keyring = Keyring::for_one_process();
        let mut rig = Self {
            core,
            now: Now::ZERO,
            cast,
            keyring,
            callers: Vec::new(),
            ended: BTreeSet::new(),
            calls: 0,
        };
        if first & 2 == 2 {
            for (pid, role) in rig.cast.pids.clone().into_iter().zip(messages::cast_roles()) {
                rig.give(Input::Heartbeat(wire::Heartbeat {
                    pid: pid.to_bytes(),
                    role: role.into(),
                    ..Default::default()
                }));
            }
        }
        rig
    }

    fn input(&mut self, what: u8, source: &mut Source<'_>) -> Option<Input<Rid>> {
        Some(match what % 20 {
            0..5 => self.hold(source),
            5 => Input::Gone(self.leaves(source)?),
            6 => Input::Received(self.leaves(source)?),
            7..12 => return self.addressed(source),
            12 => {
                let bid = self.cast.bid(source);
                Input::Pull(wire::Pull { bid, epoch: source.short(), seq: source.number() }, "r".into())
            }
            13 | 14 => self.result(source),
            15 => Input::Fetched(FetchedPart {
                caller: Rid::from_slice(&self.cast.rid(source)).ok()?,
                part: source.short(),
                last: source.yes(),
                unknown: source.yes(),
                head: messages::outcome_head(source),
                body: source.odd_bytes(),
            }),
            16 | 17 => {
                let token = self.cast.token(source);
                let answer = (source.byte() > 30).then(|| messages::reply((&self.cast, source)));
                Input::Answer(token, answer)
            }
            18 => Input::Heartbeat(messages::heartbeat((&self.cast, source))),
            _ => match source.byte() {
                0..4 => Input::Drain,
                4 => Input::GiveUp,
                5..40 => {
                    let rid = Rid::from_slice(&self.cast.rid(source)).ok()?;
                    let body = source.odd_bytes();
                    Input::Alone(rid, Outcome::from_wire(messages::outcome_head(source)?, body)?)
                }
                up => Input::Bus(up > 50),
            },
        })
    }

    /// As the shell has it: an id is never given twice.
    fn hold(&mut self, source: &mut Source<'_>) -> Input<Rid> {
        let kind = source.byte();
        let pairing = Pairing {
            digest: Digest([kind & 1; 16]),
            idempotency: (kind & 2 != 0).then_some(Digest([2 + (kind >> 7); 16])),
            retry: kind & 4 != 0,
        };
        self.calls += 1;
        let rid = pairing.rid_from(self.calls.to_be_bytes());
        self.cast.remember_rid(rid);
        self.callers.push(rid);
        let body = Bytes::from(vec![b'x'; source.below(64)]);
        let call = Call {
            key: batch_key(source),
            credential: Arc::new(HeaderMap::new()),
            body,
            inputs: source.short(),
            pairing,
            uri: Arc::default(),
            plan: plan(source),
            edit: None,
            tag: None,
        };
        Input::Hold(rid, call, rid)
    }

    /// A caller speaks a last time.
    fn leaves(&mut self, source: &mut Source<'_>) -> Option<Rid> {
        let at = usize::from(source.byte());
        (!self.callers.is_empty()).then(|| self.callers.swap_remove(at % self.callers.len()))
    }

    /// A message, encoded and read again as the shell reads it.
    fn addressed(&mut self, source: &mut Source<'_>) -> Option<Input<Rid>> {
        let mut body = messages::to_ingress((&self.cast, source));
        if let to_ingress::Body::Claim(claim) = &mut body {
            let submitter = Pid::from_slice(&claim.submitter).ok()?;
            claim.auth = self.keyring.membership(Role::Submitter, submitter, &claim.public_key);
        }
        let payload = wire::ToIngress { body: Some(body) }.encode_to_vec().into();
        let reply = source.yes().then(|| "r".to_owned()).or(Some("s".into()));
        let message = Message { subject: String::new(), reply, payload, no_responders: false };
        ingress::fuzzing::addressed(&self.keyring, message)
    }

    fn result(&mut self, source: &mut Source<'_>) -> Input<Rid> {
        let id = |bytes: Bytes| <[u8; 16]>::try_from(&bytes[..]).unwrap_or_default();
        Input::Result(ResultPart {
            rid: Rid(id(self.cast.rid(source))),
            bid: Bid(id(self.cast.bid(source))),
            submitter: Pid(id(self.cast.pid(source))),
            seq: source.number(),
            part: source.short(),
            last: source.yes(),
            head: messages::outcome_head(source),
            body: source.odd_bytes(),
        })
    }

    fn give(&mut self, input: Input<Rid>) {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.heed(out);
        self.tick();
    }

    fn tick(&mut self) {
        let mut out = Vec::new();
        self.core.tick(self.now, &mut out);
        self.heed(out);
    }

    fn heed(&mut self, out: Vec<Output<Rid>>) {
        for output in out {
            match output {
                Output::ToBatcher(_, token, _) | Output::ToIngress(_, token, _) => {
                    self.cast.remember_token(token)
                }
                Output::ToSubmitter(_, token, body) => {
                    self.cast.remember_token(token);
                    if let to_submitter::Body::Recover(recover) = body {
                        self.cast.remember_bid(&recover.bid);
                    }
                }
                Output::End { waiters, .. } => {
                    for caller in waiters {
                        assert!(self.ended.insert(caller), "two answers for one caller");
                    }
                }
                Output::Alone(solo) => self.cast.remember_rid(solo.rid),
                _ => {}
            }
        }
    }
}

fn plan(source: &mut Source<'_>) -> Plan {
    let ways = match source.below(4) {
        0 => Ways::Batch,
        1 => Ways::Alone,
        _ => Ways::Any,
    };
    let deadline = source.yes().then(|| Duration::from_secs(source.below(200) as u64));
    Plan { ways, deadline, refused: source.yes(), flex: source.yes() }
}
