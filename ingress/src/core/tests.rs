//! The machine at virtual time. `W` is a number that names the caller.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::drive::Core as _;
use common::ids::{Bid, Digest, Pid, Rid, pack_rids};
use common::key::BatchKey;
use common::members::{Identity, KNOWN_AFTER, Members};
use common::outcome::{FaultClass, Outcome, Response, Route};
use common::records::{CHUNK, RECORD_HEAD};
use common::timers::Now;
use common::wire::{self, Role, reply, to_batcher, to_ingress, to_submitter};

use super::{Core, Input, Keeping, Output, ResultPart};
use crate::hold::{Call, Ended, Pairing};
use crate::plan::{Plan, Policy};

mod adopted;
mod asking;
mod elsewhere;
mod grants;
mod holder;
mod isolation;
mod ladder;
mod recovery;
mod relics;
mod repeats;
mod results;
mod samples;
mod together;

const WINDOW: Duration = Duration::from_secs(30);
const KEEPING: Keeping =
    Keeping { reattach_window: WINDOW, answers_for: Duration::from_secs(3600), answers_bytes: 10_000 };

const POLICY: Policy = Policy { line_retries: 0, hard: false, alone_if_refused: true };

struct World {
    core: Core<usize>,
    now: Now,
    out: Vec<Output<usize>>,
    callers: usize,
    /// What callers say of their ways.
    plan: Plan,
}

fn key(model: &str) -> BatchKey {
    let key = wire::BatchKey { fingerprint: vec![7; 16].into(), model: model.into(), ..Default::default() };
    BatchKey::new(key).unwrap()
}

/// One that nothing is said about.
fn call() -> Call {
    Call {
        key: key("m"),
        credential: Arc::default(),
        body: Bytes::new(),
        inputs: 1,
        pairing: Pairing { digest: Digest::random(), idempotency: None, retry: false },
        uri: Arc::default(),
        plan: Plan::default(),
        edit: None,
        tag: None,
    }
}

fn beat(pid: Pid, role: Role) -> wire::Heartbeat {
    wire::Heartbeat { pid: pid.to_bytes(), role: role.into(), ..Default::default() }
}

impl World {
    fn new() -> Self {
        Self::of(Pid::random())
    }

    fn of(pid: Pid) -> Self {
        let identity = Identity { pid, role: Role::Ingress, public_key: Bytes::new(), auth: Bytes::new() };
        let mut world = Self {
            core: Core::new(Members::new(identity), "r".into(), KEEPING, POLICY),
            now: Now::ZERO,
            out: Vec::new(),
            callers: 0,
            plan: Plan::default(),
        };
        world.give(Input::Bus(true));
        // Two seconds later everybody had time to be heard of.
        world.pass(KNOWN_AFTER - Duration::from_secs(2));
        world
    }

    fn give(&mut self, input: Input<usize>) -> Vec<Output<usize>> {
        self.core.handle(self.now, input, &mut self.out);
        self.core.tick(self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn pass(&mut self, time: Duration) -> Vec<Output<usize>> {
        let end = self.now + time;
        while let Some(at) = self.core.wake_at().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.tick(self.now, &mut self.out);
        }
        self.now = end;
        std::mem::take(&mut self.out)
    }

    fn join(&mut self, role: Role) -> Pid {
        let pid = Pid::random();
        self.give(Input::Heartbeat(beat(pid, role)));
        pid
    }

    fn hold(&mut self, model: &str, body: Vec<u8>) -> Rid {
        // Each its own: nothing is the repetition of anything.
        let digest = Digest::random();
        self.call(model, body, Pairing { digest, idempotency: None, retry: false }).0
    }

    fn call(&mut self, model: &str, body: Vec<u8>, pairing: Pairing) -> (Rid, Vec<Output<usize>>) {
        let rid = Rid::random();
        let out = self.call_as(rid, model, body, pairing);
        (rid, out)
    }

    fn call_as(&mut self, rid: Rid, model: &str, body: Vec<u8>, pairing: Pairing) -> Vec<Output<usize>> {
        let call = Call { key: key(model), body: body.into(), pairing, plan: self.plan, ..call() };
        self.callers += 1;
        self.give(Input::Hold(rid, call, self.callers))
    }

    /// Time in which these processes are there.
    fn pass_with(&mut self, seconds: u64, alive: &[(Pid, Role)]) -> Vec<Output<usize>> {
        let mut out = Vec::new();
        for _ in 0..seconds {
            out.extend(self.pass(Duration::from_secs(1)));
            for (pid, role) in alive {
                out.extend(self.give(Input::Heartbeat(beat(*pid, *role))));
            }
        }
        out
    }

    fn holds(&mut self, token: u64, holds: wire::Holds) -> Vec<Output<usize>> {
        self.give(Input::Answer(token, Some(reply::Body::Holds(holds))))
    }

    /// How many answers of a batch a submitter is told that no caller has received.
    fn unread(&mut self, bid: Bid) -> u32 {
        let out = self.give(Input::Delivered(wire::Delivered { bid: bid.to_bytes() }, "reply".into()));
        let Some(Output::Reply(_, reply::Body::DeliveredReply(reply))) = out.first() else { panic!() };
        reply.unread
    }

    fn leaves(&mut self, pid: Pid, role: Role) -> Vec<Output<usize>> {
        self.give(Input::Heartbeat(wire::Heartbeat { leaving: true, ..beat(pid, role) }))
    }

    /// How much is held, but for what its submitter has to tidy up.
    fn remembers(&self) -> usize {
        let counts = |what: &str| what != "batches to be tidied up";
        self.core.sizes().iter().filter(|(what, _)| counts(what)).map(|(_, size)| size).sum()
    }

    /// Lets time pass until others are asked, and has all of them answer this.
    fn others_say(&mut self, holds: &wire::Holds) -> Vec<Output<usize>> {
        let mut out = self.pass(Duration::from_secs(3));
        let mut tokens = questions(&out);
        while let Some(token) = tokens.pop() {
            let answered = self.holds(token, holds.clone());
            tokens.extend(questions(&answered));
            out.extend(answered);
        }
        out
    }

    fn claim(&mut self, bid: Bid, submitter: Pid, rids: &[Rid]) -> Vec<Rid> {
        let claim = wire::Claim {
            bid: bid.to_bytes(),
            submitter: submitter.to_bytes(),
            rids: pack_rids(rids),
            ..Default::default()
        };
        let out = self.give(Input::Claim(claim, "reply".into()));
        let granted = out.into_iter().find_map(|output| match output {
            Output::Grant(_, draft) => Some(draft.rids),
            _ => None,
        });
        granted.unwrap_or_default()
    }

    fn answer(&mut self, rid: Rid, bid: Bid, submitter: Pid, text: &str) -> Vec<Output<usize>> {
        let response = Response {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            job: "job".into(),
            body: Bytes::copy_from_slice(text.as_bytes()),
            unbatchable: false,
            route: Route::Batch,
        };
        let (head, body) = Outcome::Response(response).into_wire();
        let part = ResultPart { rid, bid, submitter, seq: 0, part: 0, last: true, head: Some(head), body };
        self.give(Input::Result(part))
    }
}

fn announced(out: &[Output<usize>]) -> Vec<(Pid, u64, usize)> {
    let announced = |output: &Output<usize>| match output {
        Output::ToBatcher(pid, Some(token), to_batcher::Body::Announce(announce)) => {
            Some((*pid, *token, announce.groups.iter().map(|group| group.items.len()).sum()))
        }
        _ => None,
    };
    out.iter().filter_map(announced).collect()
}

/// Tokens of the questions about calls.
fn questions(out: &[Output<usize>]) -> Vec<u64> {
    let asked = |output: &Output<usize>| match output {
        Output::ToIngress(_, token, to_ingress::Body::Whois(_)) => *token,
        Output::ToSubmitter(_, token, to_submitter::Body::Whois(_)) => *token,
        _ => None,
    };
    out.iter().filter_map(asked).collect()
}

/// Who was asked about calls, with the token and the callers.
fn asked(out: &[Output<usize>]) -> Vec<(Pid, u64, Vec<Rid>)> {
    let callers = |whois: &wire::Whois| {
        let calls = whois.groups.iter().flat_map(|group| &group.calls);
        calls.map(|call| Rid::from_slice(&call.caller).unwrap()).collect()
    };
    let asked = |output: &Output<usize>| match output {
        Output::ToIngress(pid, Some(token), to_ingress::Body::Whois(whois)) => {
            Some((*pid, *token, callers(whois)))
        }
        Output::ToSubmitter(pid, Some(token), to_submitter::Body::Whois(whois)) => {
            Some((*pid, *token, callers(whois)))
        }
        _ => None,
    };
    out.iter().filter_map(asked).collect()
}

/// What was said to another ingress of the calls that wait there.
fn words(out: &[Output<usize>]) -> Vec<(Pid, u64, wire::Attach)> {
    let word = |output: &Output<usize>| match output {
        Output::ToIngress(pid, Some(token), to_ingress::Body::Attach(attach)) => {
            Some((*pid, *token, attach.clone()))
        }
        _ => None,
    };
    out.iter().filter_map(word).collect()
}

fn recoveries(out: &[Output<usize>]) -> Vec<(Pid, wire::Recover)> {
    let recovery = |output: &Output<usize>| match output {
        Output::ToSubmitter(pid, _, to_submitter::Body::Recover(recover)) => {
            Some((*pid, wire::Recover::clone(recover)))
        }
        _ => None,
    };
    out.iter().filter_map(recovery).collect()
}

/// The code of a fault, or the text of an answer.
fn what(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Response(response) => String::from_utf8_lossy(&response.body).into(),
        Outcome::Fault(fault) => fault.code.clone(),
    }
}

/// What each caller is told.
fn told(out: &[Output<usize>]) -> impl Iterator<Item = (usize, &Ended)> {
    out.iter().flat_map(|output| match output {
        Output::End { waiters, ended, .. } => waiters.iter().map(|waiter| (*waiter, ended)).collect(),
        _ => Vec::new(),
    })
}

fn ends(out: &[Output<usize>]) -> Vec<(usize, &Outcome)> {
    told(out).map(|(waiter, ended)| (waiter, &*ended.outcome)).collect()
}

fn is_fault(outcome: &Outcome, class: FaultClass) -> bool {
    matches!(outcome, Outcome::Fault(fault) if fault.class == class)
}

#[test]
fn requests_wait_for_a_batcher_and_are_announced_together() {
    let mut world = World::new();
    for _ in 0..100 {
        world.hold("m", vec![0; 10]);
    }
    assert!(announced(&world.pass(Duration::from_secs(3))).is_empty());
    let batcher = world.join(Role::Batcher);
    let sent = announced(&world.pass(Duration::from_millis(5)));
    assert_eq!(sent.iter().map(|(pid, _, n)| (*pid, *n)).collect::<Vec<_>>(), [(batcher, 100)]);
}

#[test]
fn an_announcement_without_an_answer_is_made_again_until_one_comes() {
    let mut world = World::new();
    world.join(Role::Batcher);
    world.hold("m", vec![0; 10]);
    let mut token = announced(&world.pass(Duration::from_millis(5)))[0].1;
    for _ in 0..5 {
        let again = announced(&world.pass(Duration::from_secs(6)));
        // Nothing was heard of the batcher for so long that it is given up; another has to come.
        token = match again.last() {
            Some((_, token, _)) => *token,
            None => {
                world.join(Role::Batcher);
                announced(&world.pass(Duration::from_millis(5)))[0].1
            }
        };
    }
    let ack = reply::Body::AnnounceAck(wire::AnnounceAck { busy: false });
    let out = world.give(Input::Answer(token, Some(ack)));
    assert!(announced(&out).is_empty());
    assert!(announced(&world.pass(Duration::from_secs(1))).is_empty());
}

#[test]
fn what_a_dead_batcher_held_goes_to_another_at_once() {
    let mut world = World::new();
    let batchers = [world.join(Role::Batcher), world.join(Role::Batcher)];
    world.hold("m", vec![0; 10]);
    let (first, token, _) = announced(&world.pass(Duration::from_millis(5)))[0];
    world.give(Input::Answer(token, None));
    let (second, _, count) = announced(&world.pass(Duration::from_millis(5)))[0];
    assert!(first != second && batchers.contains(&second));
    assert_eq!(count, 1);
}

#[test]
fn a_request_is_granted_once() {
    let mut world = World::new();
    let (one, two) = (world.join(Role::Submitter), world.join(Role::Submitter));
    let (bid, other) = (Bid::random(), Bid::random());
    let rids = [world.hold("m", vec![1; 10]), world.hold("m", vec![2; 10])];
    assert_eq!(world.claim(bid, one, &rids), rids);
    assert_eq!(world.claim(bid, one, &rids), rids, "the same claim again gets the same grant");
    assert_eq!(world.claim(bid, two, &rids), [], "another submitter gets nothing");
    assert_eq!(world.claim(other, two, &rids), [], "another batch gets nothing");
}

#[test]
fn one_batch_never_mixes_keys() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let rids = [world.hold("a", vec![]), world.hold("b", vec![])];
    assert_eq!(world.claim(Bid::random(), submitter, &rids), rids[..1]);
}

#[test]
fn a_caller_that_leaves_before_the_grant_is_never_submitted() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let rid = world.hold("m", vec![0; 10]);
    world.give(Input::Gone(rid));
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), []);
    world.pass(WINDOW);
    assert_eq!(world.core.held(), 0);
}

#[test]
fn intent_is_compare_and_set() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, rid) = (Bid::random(), world.hold("m", vec![]));
    world.claim(bid, submitter, &[rid]);
    let mut intend = |epoch, file: &str, known: &[&str]| {
        let known_files = known.iter().map(ToString::to_string).collect();
        let intent = wire::Intent { bid: bid.to_bytes(), epoch, file: file.into(), known_files };
        let out = world.give(Input::Intent(intent, "reply".into()));
        out.into_iter().find_map(|output| match output {
            Output::Reply(_, reply::Body::IntentReply(reply)) => Some((reply.accepted, reply.files)),
            _ => None,
        })
    };
    let files = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(intend(1, "a", &[]), Some((true, files(&["a"]))));
    assert_eq!(intend(1, "a", &[]), Some((true, files(&["a"]))), "said again");
    assert_eq!(intend(1, "b", &[]), Some((false, files(&["a"]))), "does not know of a");
    assert_eq!(intend(2, "b", &["a"]), Some((false, files(&["a"]))), "not the holder");
    assert_eq!(intend(1, "b", &["a"]), Some((true, files(&["a", "b"]))));
}

#[test]
fn draining_gives_back_what_nobody_claimed_and_waits_for_the_rest() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, granted) = (Bid::random(), world.hold("m", vec![]));
    world.claim(bid, submitter, &[granted]);
    world.hold("m", vec![]);
    let out = world.give(Input::Drain);
    assert!(matches!(ends(&out)[..], [(2, outcome)] if is_fault(outcome, FaultClass::Unavailable)));
    assert!(!world.core.is_finished());
    assert!(matches!(ends(&world.answer(granted, bid, submitter, "x"))[..], [(1, Outcome::Response(_))]));
    assert!(world.core.is_finished());
}

#[test]
fn what_a_dead_submitter_had_not_registered_goes_to_another() {
    let mut world = World::new();
    let (dead, other) = (world.join(Role::Submitter), Pid::random());
    let rid = world.hold("m", vec![]);
    world.claim(Bid::random(), dead, &[rid]);
    assert!(ends(&world.pass(Duration::from_secs(30))).is_empty());
    assert_eq!(world.claim(Bid::random(), other, &[rid]), [rid]);
}

#[test]
fn nonsense_from_the_bus_is_ignored() {
    let mut world = World::new();
    world.hold("m", vec![]);
    let claim = wire::Claim { bid: vec![1].into(), ..Default::default() };
    world.give(Input::Claim(claim, "r".into()));
    let claim = wire::Claim {
        bid: vec![1; 16].into(),
        submitter: vec![2; 16].into(),
        rids: vec![3; 17].into(),
        ..Default::default()
    };
    world.give(Input::Claim(claim, "r".into()));
    world.give(Input::Intent(wire::Intent::default(), "r".into()));
    world.give(Input::Pull(wire::Pull::default(), "r".into()));
    world.give(Input::JobState(wire::JobState::default()));
    world.give(Input::Answer(99, None));
    world.give(Input::Heartbeat(wire::Heartbeat::default()));
    assert_eq!(world.core.held(), 1);
}
