//! An ingress: its state machine and what its shell does between that and the bus.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::drive::Core as _;
use common::ids::{Bid, Pid, Rid, pack_rids};
use common::members::{Identity, Members};
use common::outcome::headers_to_wire;
use common::seal::{chunk_aad, fetched_aad, grant_aad, result_aad};
use common::subjects::Subjects;
use common::timers::Now;
use common::wire::{self, Role, outcome_head, reply, to_batcher, to_ingress};
use ingress::core::{Core, FetchedPart, GrantDraft, Input, Keeping, OutcomePart, Output, ResultPart};
use ingress::plan::Policy;
use prost::Message as _;

use crate::bugs::Bug;
use crate::node::{Effect, Effects, Local, Mail, Node, Waiter, answer, send, send_reply};
use crate::rng::hash;
use crate::seal;

/// The state machine and its surroundings.
pub(crate) struct Ingress {
    core: Core<Waiter>,
    pid: Pid,
    subjects: Subjects,
    /// Grant keys come from it.
    secret: u64,
    out: Vec<Output<Waiter>>,
    bug: Option<Bug>,
    grants: TwiceGranted,
}

/// For [`Bug::GrantTwice`]: what was granted, and which batch got it again.
#[derive(Default)]
struct TwiceGranted {
    asked: BTreeMap<String, wire::Claim>,
    drafts: BTreeMap<Rid, (Bid, u32)>,
    kept: BTreeMap<Bid, wire::Grant>,
    secrets: BTreeMap<Bid, (GrantBase, Bytes)>,
    again: BTreeMap<Bid, Bid>,
    /// Under which name a chunk was pulled, by the subject of its answer.
    pulled: BTreeMap<String, Bid>,
}

#[derive(Clone, Copy)]
struct GrantBase {
    epoch: u32,
    fingerprint: common::ids::Fingerprint,
}

impl Ingress {
    pub(crate) fn new(pid: Pid, secret: u64, rules: (Keeping, Policy), bug: Option<Bug>) -> Self {
        let subjects = Subjects::new("llmp");
        let identity = Identity { pid, role: Role::Ingress, public_key: Bytes::new(), auth: Bytes::new() };
        let core = Core::new(Members::new(identity), subjects.results_prefix(pid), rules.0, rules.1);
        Self { core, pid, subjects, secret, out: Vec::new(), bug, grants: TwiceGranted::default() }
    }

    fn give(&mut self, now: Now, input: Input<Waiter>, effects: &mut Effects) {
        self.core.handle(now, input, &mut self.out);
        self.tick(now, effects);
    }

    /// What arrived, as the shell reads it.
    fn read(&mut self, mail: &Mail) -> Option<Input<Waiter>> {
        let subject = &*mail.subject;
        let reply = || mail.reply.as_deref().map(str::to_owned);
        if subject.contains(".re.") {
            let (token, body) = answer(mail)?;
            let Some(reply::Body::Fetched(fetched)) = body else { return Some(Input::Answer(token, body)) };
            return handed_over(fetched).map(Input::Fetched);
        }
        let payload = mail.payload.clone();
        if subject.contains(".hb.") {
            return wire::Heartbeat::decode(payload).ok().map(Input::Heartbeat);
        }
        if subject.contains(".r.") {
            return self.open(wire::Result::decode(payload).ok()?).map(Input::Result);
        }
        if subject.ends_with(".body") {
            let mut pull = wire::Pull::decode(payload).ok()?;
            let reply = reply()?;
            self.grants.rename(&mut pull.bid, &reply);
            return Some(Input::Pull(pull, reply));
        }
        Some(match wire::ToIngress::decode(payload).ok()?.body? {
            to_ingress::Body::Claim(claim) => {
                if self.bug == Some(Bug::GrantTwice) {
                    self.grants.asked.insert(reply()?, claim.clone());
                }
                Input::Claim(claim, reply()?)
            }
            to_ingress::Body::Intent(intent) => Input::Intent(intent, reply()?),
            to_ingress::Body::Submitted(submitted) => Input::Submitted(submitted, reply()?),
            to_ingress::Body::JobState(state) => Input::JobState(state),
            to_ingress::Body::Released(released) => Input::Released(released, reply()?),
            to_ingress::Body::Delivered(delivered) => Input::Delivered(delivered, reply()?),
            to_ingress::Body::Whois(whois) => Input::Whois(whois, reply()?),
            to_ingress::Body::Attach(attach) => Input::Attach(attach, reply()?),
            to_ingress::Body::Ended(ended) => Input::Ended(ended),
            to_ingress::Body::Fetch(fetch) => Input::Fetch(fetch, reply()?),
        })
    }

    fn open(&self, mut result: wire::Result) -> Option<ResultPart> {
        let (rid, bid) = (Rid::from_slice(&result.rid).ok()?, Bid::from_slice(&result.bid).ok()?);
        let head = result.head.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let aad = result_aad(rid, bid, result.epoch, result.part, result.last, &head);
        let body = seal::open(self.key(bid, result.epoch), &aad, &result.sealed_body)?;
        let submitter = Pid::from_slice(&result.submitter).ok()?;
        if self.bug == Some(Bug::SuccessRetried)
            && let Some(outcome_head::Kind::Response(head)) =
                result.head.as_mut().and_then(|head| head.kind.as_mut())
        {
            head.status = 500;
        }
        let wire::Result { seq, part, last, head, .. } = result;
        let bid = self.grants.again.get(&bid).copied().unwrap_or(bid);
        Some(ResultPart { rid, bid, submitter, seq, part, last, head, body })
    }

    fn key(&self, bid: Bid, epoch: u32) -> u64 {
        hash(self.secret, &[&bid.0, &epoch.to_be_bytes()])
    }

    fn perform(&mut self, output: Output<Waiter>, effects: &mut Effects) {
        match output {
            Output::Beat(beat) => {
                send(effects, self.subjects.heartbeat(Role::Ingress, self.pid), None, &beat);
            }
            Output::ToBatcher(pid, token, body) => {
                let reply = token.map(|token| self.subjects.reply(Role::Ingress, self.pid, token));
                let message = wire::ToBatcher { body: Some(self.announced(body)) };
                send(effects, self.subjects.inbox(Role::Batcher, pid), reply, &message);
            }
            Output::Grant(reply, draft) => {
                let grant = self.grant(draft);
                send_reply(effects, reply, reply::Body::Grant(grant));
            }
            Output::Reply(reply, body) => {
                let body = self.replied(&reply, body);
                send_reply(effects, reply, body);
            }
            Output::Chunk { reply, bid, epoch, seq, last, slices } => {
                // Under the name by which it was pulled.
                let bid = self.grants.pulled.remove(&reply).unwrap_or(bid);
                let sealed = slices.map(|slices| {
                    seal::seal(self.key(bid, epoch), &chunk_aad(bid, epoch, seq, last), &slices.concat())
                });
                let unknown = sealed.is_none();
                let chunk = wire::Chunk { seq, last, sealed: sealed.unwrap_or_default(), unknown };
                send(effects, reply, None, &chunk);
            }
            Output::ToSubmitter(pid, token, body) => {
                let reply = token.map(|token| self.subjects.reply(Role::Ingress, self.pid, token));
                let message = wire::ToSubmitter { body: Some(body) };
                send(effects, self.subjects.inbox(Role::Submitter, pid), reply, &message);
            }
            Output::ToIngress(pid, token, body) => {
                let reply = token.map(|token| self.subjects.reply(Role::Ingress, self.pid, token));
                let message = wire::ToIngress { body: Some(body) };
                send(effects, self.subjects.inbox(Role::Ingress, pid), reply, &message);
            }
            Output::Fetched(reply, part) => {
                send_reply(effects, reply, reply::Body::Fetched(hand_over(part)));
            }
            Output::End { waiters, ended, .. } => {
                effects.extend(waiters.iter().map(|waiter| Effect::End(waiter.0, ended.clone())));
            }
            Output::Alone(solo) => effects.push(Effect::Solo(Box::new(solo))),
            Output::Job(_) => {}
        }
    }

    fn grant(&mut self, draft: GrantDraft) -> wire::Grant {
        let GrantDraft { bid, epoch, rids, body_bytes, lengths, fence_files, .. } = draft;
        let credential = headers_to_wire(&draft.credential);
        let key = Bytes::copy_from_slice(&self.key(bid, epoch).to_be_bytes());
        let secret: Bytes = wire::GrantSecret { credential, key }.encode_to_vec().into();
        let aad = grant_aad(bid, epoch, draft.fingerprint, draft.submitter);
        let sealed_credential = seal::seal(box_key(&draft.public_key), &aad, &secret);
        let granted = pack_rids(&rids);
        let grant = wire::Grant {
            bid: bid.to_bytes(),
            epoch,
            granted,
            fence_files,
            sealed_credential,
            body_bytes,
            lengths,
        };
        if self.bug == Some(Bug::GrantTwice) {
            self.grants.drafts.extend(rids.iter().map(|rid| (*rid, (bid, epoch))));
            self.grants.kept.insert(bid, grant.clone());
            let base = GrantBase { epoch, fingerprint: draft.fingerprint };
            self.grants.secrets.insert(bid, (base, secret));
        }
        grant
    }

    /// An announcement as it leaves.
    fn announced(&self, mut body: to_batcher::Body) -> to_batcher::Body {
        if let (Some(Bug::KeyAnnounced), to_batcher::Body::Announce(announce)) = (self.bug, &mut body) {
            for key in announce.groups.iter_mut().filter_map(|group| group.key.as_mut()) {
                let value = Bytes::from_static(crate::people::KEY_MARK);
                key.headers.push(wire::Header { name: "authorization".into(), value });
            }
        }
        body
    }

    /// An answer as it leaves.
    fn replied(&mut self, reply: &str, body: reply::Body) -> reply::Body {
        match (self.bug, body) {
            (Some(Bug::EveryIntentAccepted), reply::Body::IntentReply(intent)) => {
                reply::Body::IntentReply(wire::IntentReply { accepted: true, ..intent })
            }
            (Some(Bug::GrantTwice), reply::Body::IntentReply(intent)) if !self.grants.again.is_empty() => {
                reply::Body::IntentReply(wire::IntentReply { accepted: true, ..intent })
            }
            (Some(Bug::GrantTwice), reply::Body::Grant(refused)) => {
                reply::Body::Grant(self.grant_again(reply).unwrap_or(refused))
            }
            (_, body) => body,
        }
    }

    /// Makes a grant of a refused claim out of the grant that another batch has.
    fn grant_again(&mut self, reply: &str) -> Option<wire::Grant> {
        let claim = self.grants.asked.remove(reply)?;
        let (bid, submitter) = (Bid::from_slice(&claim.bid).ok()?, Pid::from_slice(&claim.submitter).ok()?);
        let rids = common::ids::unpack_rids(&claim.rids).ok()?;
        let (of, _) = *rids.iter().find_map(|rid| self.grants.drafts.get(rid))?;
        let mut grant = self.grants.kept.get(&of)?.clone();
        let (base, secret) = self.grants.secrets.get(&of)?;
        let key = Bytes::copy_from_slice(&self.key(bid, base.epoch).to_be_bytes());
        let secret = wire::GrantSecret { key, ..wire::GrantSecret::decode(secret.clone()).ok()? };
        let aad = grant_aad(bid, base.epoch, base.fingerprint, submitter);
        grant.bid = claim.bid.clone();
        grant.sealed_credential = seal::seal(box_key(&claim.public_key), &aad, &secret.encode_to_vec());
        self.grants.again.insert(bid, of);
        Some(grant)
    }
}

impl TwiceGranted {
    /// Takes the second batch for the first.
    fn rename(&mut self, bid: &mut Bytes, reply: &str) {
        let Ok(named) = Bid::from_slice(bid) else { return };
        if let Some(of) = self.again.get(&named) {
            *bid = of.to_bytes();
            self.pulled.insert(reply.to_owned(), named);
        }
    }
}

/// The key that all ingresses have for a caller's outcome.
fn outcome_key(caller: Rid) -> u64 {
    hash(0x0c, &[&caller.0])
}

fn hand_over(piece: OutcomePart) -> wire::Fetched {
    let OutcomePart { caller, part, last, head, body } = piece;
    let encoded = head.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
    let aad = fetched_aad(caller, part, last, &encoded);
    let sealed_body = seal::seal(outcome_key(caller), &aad, &body);
    wire::Fetched { caller: caller.to_bytes(), part, last, unknown: false, head, sealed_body }
}

fn handed_over(fetched: wire::Fetched) -> Option<FetchedPart> {
    let wire::Fetched { part, last, unknown, head, .. } = fetched;
    let caller = Rid::from_slice(&fetched.caller).ok()?;
    let encoded = head.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
    let aad = fetched_aad(caller, part, last, &encoded);
    let body = match unknown {
        true => Bytes::new(),
        false => seal::open(outcome_key(caller), &aad, &fetched.sealed_body)?,
    };
    Some(FetchedPart { caller, part, last, unknown, head, body })
}

/// The key of a submitter's box, from what it publishes: this seal keeps no secrets.
pub(crate) fn box_key(public_key: &[u8]) -> u64 {
    hash(0xb0c5, &[public_key])
}

impl Node for Ingress {
    fn subscriptions(&self) -> Vec<String> {
        let (subjects, pid) = (&self.subjects, self.pid);
        vec![
            subjects.replies(Role::Ingress, pid),
            subjects.inbox(Role::Ingress, pid),
            subjects.body(pid),
            subjects.results(pid),
            subjects.heartbeats(Role::Ingress),
            subjects.heartbeats(Role::Batcher),
            subjects.heartbeats(Role::Submitter),
        ]
    }

    fn mail(&mut self, now: Now, mail: &Mail, effects: &mut Effects) {
        if let Some(input) = self.read(mail) {
            self.give(now, input, effects);
        }
    }

    fn local(&mut self, now: Now, local: Local, effects: &mut Effects) {
        let input = match local {
            Local::Hold(rid, call, caller) => Input::Hold(rid, *call, Waiter(caller)),
            Local::Gone(rid) => Input::Gone(rid),
            Local::Received(rid) => Input::Received(rid),
            Local::Alone(rid, outcome) => Input::Alone(rid, *outcome),
            Local::Bus(up) => Input::Bus(up),
            Local::Drain => Input::Drain,
            Local::GiveUp => Input::GiveUp,
            // Only submitters have such.
            Local::Answered(..)
            | Local::Did(..)
            | Local::PullOver(_)
            | Local::Resume(_)
            | Local::SendAgain(..) => return,
        };
        self.give(now, input, effects);
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
        self.perform(Output::Beat(self.core.farewell()), effects);
    }

    fn knows(&self) -> Vec<(Bid, Option<Pid>)> {
        self.core.origins().into_iter().map(|(bid, first)| (bid, Some(first))).collect()
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        self.core.sizes()
    }
}
