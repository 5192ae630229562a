//! The machine at virtual time. `W` is a number that names the caller.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::drive::Core as _;
use common::ids::{Bid, Digest, Pid, Rid, pack_rids};
use common::key::BatchKey;
use common::members::{Identity, Members};
use common::outcome::{FaultClass, Outcome, Response};
use common::records::{CHUNK, RECORD_HEAD};
use common::timers::Now;
use common::wire::{self, Role, reply, to_batcher, to_ingress, to_submitter};

use super::{Core, Input, Keeping, Output, ResultPart};
use crate::hold::{Call, Pairing};

mod elsewhere;
mod recovery;
mod repeats;

const WINDOW: Duration = Duration::from_secs(30);
const KEEPING: Keeping =
    Keeping { reattach_window: WINDOW, answers_for: Duration::from_secs(3600), answers_bytes: 10_000 };

struct World {
    core: Core<usize>,
    now: Now,
    out: Vec<Output<usize>>,
    callers: usize,
}

fn key(model: &str) -> BatchKey {
    let key = wire::BatchKey { fingerprint: vec![7; 16].into(), model: model.into(), ..Default::default() };
    BatchKey::new(key).unwrap()
}

fn beat(pid: Pid, role: Role) -> wire::Heartbeat {
    wire::Heartbeat { pid: pid.to_bytes(), role: role.into(), ..Default::default() }
}

impl World {
    fn new() -> Self {
        let identity = Identity {
            pid: Pid::random(),
            role: Role::Ingress,
            public_key: Bytes::new(),
            auth: Bytes::new(),
        };
        let mut world = Self {
            core: Core::new(Members::new(identity), "r".into(), KEEPING),
            now: Now::ZERO,
            out: Vec::new(),
            callers: 0,
        };
        world.give(Input::Bus(true));
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
        let call =
            Call { key: key(model), credential: Arc::default(), body: body.into(), inputs: 1, pairing };
        self.callers += 1;
        let out = self.give(Input::Hold(rid, call, self.callers));
        (rid, out)
    }

    /// Lets time pass until others are asked, and has all of them answer this.
    fn others_say(&mut self, holds: &wire::Holds) -> Vec<Output<usize>> {
        let mut out = self.pass(Duration::from_secs(3));
        for token in questions(&out) {
            out.extend(self.give(Input::Answer(token, Some(reply::Body::Holds(holds.clone())))));
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

fn ends(out: &[Output<usize>]) -> Vec<(usize, &Outcome)> {
    let end = |output| match output {
        &Output::End(waiter, ref ended) => Some((waiter, &*ended.outcome)),
        _ => None,
    };
    out.iter().filter_map(end).collect()
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
fn the_first_answer_wins_and_every_one_is_acknowledged() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let bid = Bid::random();
    let rids = [world.hold("m", vec![]), world.hold("m", vec![])];
    world.claim(bid, submitter, &rids);
    let acknowledged = |out: &[Output<usize>]| {
        out.iter().any(|o| matches!(o, Output::ToSubmitter(_, _, to_submitter::Body::ResultAck(_))))
    };
    let out = world.answer(rids[1], bid, submitter, "second");
    assert!(matches!(ends(&out)[..], [(2, Outcome::Response(r))] if r.body == "second"));
    assert!(acknowledged(&out));
    let out = world.answer(rids[1], bid, submitter, "other");
    assert!(ends(&out).is_empty() && acknowledged(&out));
    let out = world.answer(rids[0], Bid::random(), submitter, "of another batch");
    assert!(ends(&out).is_empty());
}

#[test]
fn parts_of_an_answer_come_in_any_order() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, rid) = (Bid::random(), world.hold("m", vec![]));
    world.claim(bid, submitter, &[rid]);
    let (head, _) = Outcome::Response(Response {
        status: http::StatusCode::OK,
        headers: http::HeaderMap::new(),
        job: String::new(),
        body: Bytes::new(),
    })
    .into_wire();
    for (part, text, last) in [(2, "c", true), (1, "b", false), (1, "b", false)] {
        let body = Bytes::from(text);
        let part = ResultPart { rid, bid, submitter, seq: part.into(), part, last, head: None, body };
        assert!(ends(&world.give(Input::Result(part))).is_empty());
    }
    let body = Bytes::from("a");
    let part = ResultPart { rid, bid, submitter, seq: 0, part: 0, last: false, head: Some(head), body };
    assert!(
        matches!(ends(&world.give(Input::Result(part)))[..], [(_, Outcome::Response(r))] if r.body == "abc")
    );
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
fn chunks_make_up_the_record_stream() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let bodies: Vec<Vec<u8>> = [0, 1, 300_000, 5, 1_000_000, 7].map(|n| vec![n as u8; n]).into();
    let rids: Vec<Rid> = bodies.iter().map(|body| world.hold("m", body.clone())).collect();
    let bid = Bid::random();
    world.claim(bid, submitter, &rids);
    let mut expected = Vec::new();
    for (rid, body) in rids.iter().zip(&bodies) {
        expected.extend_from_slice(&rid.0);
        expected.extend_from_slice(&(body.len() as u32).to_be_bytes());
        expected.extend_from_slice(body);
    }
    assert_eq!(expected.len(), bodies.iter().map(|b| b.len() + RECORD_HEAD).sum::<usize>());
    let mut stream = Vec::new();
    for seq in 0.. {
        let pull = wire::Pull { bid: bid.to_bytes(), epoch: 1, seq };
        let out = world.give(Input::Pull(pull, "reply".into()));
        let Some(Output::Chunk { last, slices: Some(slices), .. }) =
            out.into_iter().find(|o| matches!(o, Output::Chunk { .. }))
        else {
            panic!("no chunk {seq}");
        };
        let before = stream.len();
        slices.iter().for_each(|slice| stream.extend_from_slice(slice));
        assert!(stream.len() - before <= CHUNK as usize);
        if last {
            break;
        }
    }
    assert!(stream == expected);
    let beyond = wire::Pull { bid: bid.to_bytes(), epoch: 1, seq: u64::MAX };
    let out = world.give(Input::Pull(beyond, "reply".into()));
    assert!(out.iter().any(|o| matches!(o, Output::Chunk { slices: None, .. })));
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

#[test]
fn a_grant_whose_answer_was_lost_is_taken_back() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let bid = Bid::random();
    let (rid, gone) = (world.hold("m", vec![1; 10]), world.hold("m", vec![2; 10]));
    assert_eq!(world.claim(bid, submitter, &[rid, gone]), [rid, gone]);
    world.give(Input::Gone(gone));
    // The submitter is there all the time, but it never heard of the grant.
    for _ in 0..14 {
        world.pass(Duration::from_secs(5));
        world.give(Input::Heartbeat(beat(submitter, Role::Submitter)));
    }
    assert_eq!(world.core.held(), 1, "who left meanwhile is dropped");
    let stale = wire::Intent { bid: bid.to_bytes(), epoch: 1, file: "f".into(), known_files: Vec::new() };
    let out = world.give(Input::Intent(stale, "reply".into()));
    assert!(out.iter().any(|o| matches!(o, Output::Reply(_, reply::Body::IntentReply(r)) if !r.accepted)));
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), [rid], "it can be granted anew");
}

#[test]
fn a_grant_with_a_registered_file_is_never_taken_back() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, rid) = (Bid::random(), world.hold("m", vec![]));
    world.claim(bid, submitter, &[rid]);
    let intent = wire::Intent { bid: bid.to_bytes(), epoch: 1, file: "f".into(), known_files: Vec::new() };
    world.give(Input::Intent(intent, "reply".into()));
    for _ in 0..100 {
        world.pass(Duration::from_secs(5));
        world.give(Input::Heartbeat(beat(submitter, Role::Submitter)));
    }
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), []);
}
