//! Ingresses that ask each other.

use super::*;
use crate::core::{FetchedPart, OutcomePart};
use std::collections::BTreeMap;

const ASKED: Pairing = Pairing { digest: Digest([1; 16]), idempotency: None, retry: false };
const AGAIN: Pairing = Pairing { retry: true, ..ASKED };
const NAMED: Pairing = Pairing { idempotency: Some(Digest([2; 16])), ..ASKED };

/// Some ingresses, a submitter that has nothing, and perhaps a third ingress that never answers.
struct Net {
    worlds: Vec<World>,
    submitter: Pid,
    silent: Option<Pid>,
    ends: Vec<(usize, usize, String)>,
    /// Announced requests, by ingress.
    announced: Vec<usize>,
    /// Messages under way: when they arrive, and where.
    under_way: BTreeMap<(Now, u64), (usize, Input<usize>)>,
    sent: u64,
    /// Longest time that a message takes, in milliseconds, and how many of a hundred are lost.
    slowest: u64,
    lost: u64,
    random: u64,
}

impl Net {
    fn new(ingresses: usize) -> Self {
        let mut net = Self {
            worlds: (1..=ingresses).map(|at| World::of(Pid([at as u8; 16]))).collect(),
            submitter: Pid([99; 16]),
            silent: None,
            ends: Vec::new(),
            announced: vec![0; ingresses],
            under_way: BTreeMap::new(),
            sent: 0,
            slowest: 0,
            lost: 0,
            random: 1,
        };
        net.run(Duration::from_secs(3));
        net
    }

    fn with_a_silent_one() -> Self {
        let mut net = Self::new(2);
        net.silent = Some(Pid([98; 16]));
        net.run(Duration::from_secs(1));
        net
    }

    /// A call with an id that begins with this byte.
    fn call(&mut self, at: usize, first: u8, pairing: Pairing) -> Rid {
        let rid = Rid([first; 16]);
        let out = self.worlds[at].call_as(rid, "m", vec![1], pairing);
        self.deliver(at, out);
        rid
    }

    fn give(&mut self, at: usize, input: Input<usize>) {
        let out = self.worlds[at].give(input);
        self.deliver(at, out);
    }

    /// Up to this, from a sequence that the seed decides (Knuth's MMIX generator).
    fn random(&mut self, most: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % (most + 1)
    }

    fn send(&mut self, to: usize, input: Input<usize>) {
        if self.random(99) < self.lost {
            return;
        }
        let takes = self.random(self.slowest);
        self.sent += 1;
        let at = self.worlds[to].now + Duration::from_millis(takes);
        self.under_way.insert((at, self.sent), (to, input));
    }

    /// Delivers what has arrived, and what follows from that at once.
    fn arrive(&mut self) {
        let now = self.worlds[0].now;
        while let Some(first) = self.under_way.first_entry().filter(|first| first.key().0 <= now) {
            let (to, input) = first.remove();
            self.give(to, input);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.worlds[0].now + time;
        let step = Duration::from_millis(1);
        while self.worlds[0].now < end {
            if self.worlds[0].now.subsec_millis().is_multiple_of(500) {
                for at in 0..self.worlds.len() {
                    self.give(at, Input::Heartbeat(beat(self.submitter, Role::Submitter)));
                    if let Some(silent) = self.silent {
                        self.give(at, Input::Heartbeat(beat(silent, Role::Ingress)));
                    }
                }
            }
            for at in 0..self.worlds.len() {
                let out = self.worlds[at].pass(step);
                self.deliver(at, out);
            }
            self.arrive();
        }
    }

    fn at(&self, pid: Pid) -> Option<usize> {
        self.worlds.iter().position(|world| world.core.members.pid() == pid)
    }

    /// Replies are named by who asked and by the token.
    fn answer(&mut self, reply: &str, body: reply::Body) {
        if let Some((at, token)) = reply.split_once(' ') {
            self.send(at.parse().unwrap(), Input::Answer(token.parse().unwrap(), Some(body)));
        }
    }

    fn deliver(&mut self, from: usize, out: Vec<Output<usize>>) {
        let named = |token: Option<u64>| token.map(|token| format!("{from} {token}")).unwrap_or_default();
        for output in out {
            match output {
                Output::Beat(beat) => {
                    let others = (0..self.worlds.len()).filter(|to| *to != from).collect::<Vec<_>>();
                    others.into_iter().for_each(|to| self.send(to, Input::Heartbeat(beat.clone())));
                }
                Output::ToIngress(pid, token, body) => {
                    let Some(to) = self.at(pid) else {
                        // One that is gone is served by nobody.
                        if let Some(token) = token.filter(|_| self.silent != Some(pid)) {
                            self.send(from, Input::Answer(token, None));
                        }
                        continue;
                    };
                    let reply = named(token);
                    self.send(
                        to,
                        match body {
                            to_ingress::Body::Whois(whois) => Input::Whois(whois, reply),
                            to_ingress::Body::Attach(attach) => Input::Attach(attach, reply),
                            to_ingress::Body::Ended(ended) => Input::Ended(ended),
                            to_ingress::Body::Fetch(fetch) => Input::Fetch(fetch, reply),
                            other => panic!("{other:?}"),
                        },
                    );
                }
                Output::ToSubmitter(_, token, to_submitter::Body::Whois(_)) => {
                    self.answer(&named(token), reply::Body::Holds(wire::Holds::default()));
                }
                Output::Reply(reply, reply::Body::Fetched(fetched)) => {
                    let caller = Rid::from_slice(&fetched.caller).unwrap();
                    let part = OutcomePart {
                        caller,
                        part: fetched.part,
                        last: false,
                        head: None,
                        body: Bytes::new(),
                    };
                    self.fetched(&reply, part, true);
                }
                Output::Reply(reply, body) => self.answer(&reply, body),
                Output::Fetched(reply, part) => self.fetched(&reply, part, false),
                Output::ToBatcher(_, _, to_batcher::Body::Announce(announce)) => {
                    self.announced[from] +=
                        announce.groups.iter().map(|group| group.items.len()).sum::<usize>();
                }
                Output::End { waiters, ended, .. } => {
                    self.ends.extend(waiters.into_iter().map(|waiter| (from, waiter, what(&ended.outcome))));
                }
                _ => {}
            }
        }
    }

    fn fetched(&mut self, reply: &str, part: OutcomePart, unknown: bool) {
        let (at, _) = reply.split_once(' ').expect("somebody asked");
        let OutcomePart { caller, part, last, head, body } = part;
        let part = FetchedPart { caller, part, last, unknown, head, body };
        self.send(at.parse().unwrap(), Input::Fetched(part));
    }

    /// How many requests could be submitted, of these.
    fn grantable(&mut self, rids: &[Rid]) -> usize {
        let submitter = self.submitter;
        self.worlds.iter_mut().map(|world| world.claim(Bid::random(), submitter, rids).len()).sum()
    }

    fn answers(&mut self, at: usize, rid: Rid, text: &str) {
        let (bid, submitter) = (Bid::random(), self.submitter);
        assert_eq!(self.worlds[at].claim(bid, submitter, &[rid]), [rid]);
        let out = self.worlds[at].answer(rid, bid, submitter, text);
        self.deliver(at, out);
    }

    fn assert_empty(&self) {
        for world in &self.worlds {
            assert_eq!(world.remembers(), 0, "{:?}", world.core.sizes());
        }
    }
}

#[test]
fn a_repetition_at_another_ingress_gets_its_large_answer_byte_for_byte() {
    let mut net = Net::new(2);
    let text: String = (0..150_000).map(|i| format!("{i:08}")).collect();
    let original = net.call(0, 1, ASKED);
    let (bid, submitter) = (Bid::random(), net.submitter);
    assert_eq!(net.worlds[0].claim(bid, submitter, &[original]), [original]);
    net.give(0, Input::Gone(original));
    let caller = net.call(1, 2, AGAIN);
    net.run(Duration::from_millis(100));
    let out = net.worlds[0].answer(original, bid, submitter, &text);
    net.deliver(0, out);
    net.run(Duration::from_millis(10));
    let [(1, 1, ref got)] = net.ends[..] else { panic!("{} ends", net.ends.len()) };
    assert!(*got == text);
    net.give(1, Input::Received(caller));
    net.run(Duration::from_millis(10));
    net.assert_empty();
    assert_eq!(net.announced, [0, 0]);
}

#[test]
fn one_key_at_two_ingresses_at_the_same_time_is_one_request() {
    for ids in [[1, 2], [2, 1]] {
        let mut net = Net::new(2);
        let callers = [net.call(0, ids[0], NAMED), net.call(1, ids[1], NAMED)];
        net.run(Duration::from_secs(5));
        assert_eq!(net.grantable(&callers), 1, "neither both nor none");
    }
}

#[test]
fn one_key_is_one_request_however_the_questions_cross() {
    for ids in [[1, 2], [2, 1]] {
        let mut net = Net::with_a_silent_one();
        // The second comes when its ingress has answered that it has nothing, and the third process has not answered.
        let first = net.call(0, ids[0], NAMED);
        net.run(Duration::from_millis(20));
        let second = net.call(1, ids[1], NAMED);
        net.run(Duration::from_secs(3));
        assert_eq!(net.grantable(&[first, second]), 0, "the third may have it");
        net.silent = None;
        net.run(Duration::from_secs(20));
        let winner = match net.worlds[0].core.requests[&first].phase {
            crate::core::Phase::Elsewhere => (1, second),
            _ => (0, first),
        };
        net.answers(winner.0, winner.1, "once");
        net.run(Duration::from_secs(1));
        net.ends.sort();
        assert_eq!(net.ends, [(0, 1, "once".into()), (1, 1, "once".into())], "{ids:?}");
        net.give(0, Input::Received(first));
        net.give(1, Input::Received(second));
    }
}

#[test]
fn three_ingresses_with_one_key_submit_it_once() {
    for ids in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        for gap in [0, 1, 2, 5] {
            let mut net = Net::new(3);
            let mut callers = Vec::new();
            for (at, id) in ids.into_iter().enumerate() {
                callers.push(net.call(at, id, NAMED));
                net.run(Duration::from_millis(gap));
            }
            net.run(Duration::from_secs(8));
            assert_eq!(net.grantable(&callers), 1, "{ids:?} {gap}");
        }
    }
}

#[test]
fn who_waits_at_an_ingress_that_leaves_goes_on_by_itself() {
    let mut net = Net::new(2);
    let first = net.call(0, 1, NAMED);
    net.run(Duration::from_secs(2));
    let second = net.call(1, 2, NAMED);
    net.run(Duration::from_secs(1));
    assert_eq!(net.worlds[1].core.requests[&second].phase, crate::core::Phase::Elsewhere);
    net.give(0, Input::Drain);
    assert_eq!(net.ends, [(0, 1, "shutting_down".into())], "it was not submitted");
    net.run(Duration::from_secs(1));
    let farewell = net.worlds[0].core.farewell();
    net.give(1, Input::Heartbeat(farewell));
    net.worlds.remove(0);
    net.announced.remove(0);
    net.run(Duration::from_secs(5));
    assert_eq!(net.ends.len(), 1);
    assert_eq!(net.grantable(&[first, second]), 1);
}

/// Calls with one key at three ingresses within some milliseconds, on a bus that is slow and loses messages.
fn one_key_at_three(seed: u64, lost: u64, settled: Duration) {
    let mut net = Net::new(3);
    (net.random, net.slowest, net.lost) = (seed, 20, lost);
    let mut ids = [1, 2, 3];
    ids.swap(0, net.random(2) as usize);
    ids.swap(1, 1 + net.random(1) as usize);
    let mut callers = Vec::new();
    for (at, id) in ids.into_iter().enumerate() {
        callers.push(net.call(at, id, NAMED));
        let gap = net.random(30);
        net.run(Duration::from_millis(gap));
    }
    net.run(settled);
    let submitter = net.submitter;
    let mut granted = Vec::new();
    for at in 0..3 {
        let bid = Bid::random();
        granted.extend(net.worlds[at].claim(bid, submitter, &callers).into_iter().map(|rid| (at, bid, rid)));
    }
    let [(at, bid, rid)] = granted[..] else { panic!("seed {seed}, lost {lost}: granted {granted:?}") };
    let out = net.worlds[at].answer(rid, bid, submitter, "once");
    net.deliver(at, out);
    for _ in 0..60 {
        net.run(Duration::from_secs(5));
        if net.ends.len() >= 3 {
            break;
        }
    }
    net.ends.sort();
    let once = |at| (at, 1, "once".to_owned());
    assert_eq!(net.ends, [once(0), once(1), once(2)], "seed {seed}, lost {lost}");
}

#[test]
fn one_key_is_one_request_on_a_slow_bus() {
    (0..40).for_each(|seed| one_key_at_three(seed, 0, Duration::from_secs(5)));
}

#[test]
fn one_key_is_one_request_on_a_bus_that_loses_messages() {
    (0..40).for_each(|seed| one_key_at_three(seed, 15, Duration::from_secs(60)));
}
