//! Callers who wait at other ingresses for requests that are held here.

use super::*;
use common::ids::unpack_rids;

const ASKED: Pairing = Pairing { digest: Digest([1; 16]), idempotency: None, retry: false };
const AGAIN: Pairing = Pairing { retry: true, ..ASKED };
const NAMED: Pairing = Pairing { idempotency: Some(Digest([2; 16])), ..ASKED };

/// An ingress with a granted request, and another ingress.
struct Holding {
    world: World,
    submitter: Pid,
    other: Pid,
    bid: Bid,
    rid: Rid,
}

/// Callers that wait, whose outcome is there, that are unknown, that are in conflict.
type Told = [Vec<Rid>; 4];

impl Holding {
    fn new(pairing: Pairing) -> Self {
        let mut world = World::new();
        let (submitter, other) = (world.join(Role::Submitter), world.join(Role::Ingress));
        let (bid, (rid, _)) = (Bid::random(), world.call("m", vec![1], pairing));
        world.others_say(&wire::Holds::default());
        assert_eq!(world.claim(bid, submitter, &[rid]), [rid]);
        let intent =
            wire::Intent { bid: bid.to_bytes(), epoch: 1, file: "f".into(), known_files: Vec::new() };
        world.give(Input::Intent(intent, "reply".into()));
        Self { world, submitter, other, bid, rid }
    }

    fn orphaned() -> Self {
        let mut holding = Self::new(ASKED);
        holding.world.give(Input::Gone(holding.rid));
        holding
    }

    fn alive(&self) -> [(Pid, Role); 2] {
        [(self.submitter, Role::Submitter), (self.other, Role::Ingress)]
    }

    fn says(&mut self, calls: &[(Rid, Pairing)], received: &[Rid], gone: &[Rid]) -> Told {
        self.world.attach(self.other, calls, received, gone).0
    }

    fn finds(&mut self, pairing: Pairing) -> &'static str {
        let calls = vec![pairing.to_wire(Rid::random())];
        let whois = wire::Whois {
            groups: vec![wire::WhoisGroup { key: Some(key("m").to_wire()), calls }],
            ..Default::default()
        };
        let out = self.world.give(Input::Whois(whois, "reply".into()));
        let Some(Output::Reply(_, reply::Body::Holds(holds))) = out.first() else { panic!("{out:?}") };
        match (holds.orphans.len(), holds.twins.len(), holds.conflicts.len()) {
            (0, 0, 0) => "nothing",
            (16, 0, 0) => "orphan",
            (0, 16, 0) => "twin",
            (0, 0, 16) => "conflict",
            other => panic!("{other:?}"),
        }
    }

    fn unread(&mut self) -> u32 {
        self.world.unread(self.bid)
    }

    fn answer(&mut self, text: &str) -> Vec<Output<usize>> {
        self.world.answer(self.rid, self.bid, self.submitter, text)
    }
}

impl World {
    fn attach(
        &mut self,
        at: Pid,
        calls: &[(Rid, Pairing)],
        received: &[Rid],
        gone: &[Rid],
    ) -> (Told, Vec<Output<usize>>) {
        let attach = wire::Attach {
            ingress: at.to_bytes(),
            calls: calls.iter().map(|(caller, pairing)| pairing.to_wire(*caller)).collect(),
            received: pack_rids(received),
            gone: pack_rids(gone),
        };
        let out = self.give(Input::Attach(attach, "reply".into()));
        let Some(Output::Reply(_, reply::Body::Attached(told))) = out.first() else { panic!("{out:?}") };
        let told = [&told.waiting, &told.ended, &told.unknown, &told.conflicts];
        (told.map(|packed| unpack_rids(packed).unwrap()), out)
    }

    /// The parts' bytes, and whether it was the last; `None` if there is no such outcome.
    fn fetch(&mut self, caller: Rid, part: u32) -> Option<(Bytes, bool)> {
        let fetch = wire::Fetch { caller: caller.to_bytes(), part };
        let out = self.give(Input::Fetch(fetch, "reply".into()));
        match out.first() {
            Some(Output::Fetched(_, piece)) => {
                assert_eq!((piece.caller, piece.part, piece.head.is_some()), (caller, part, part == 0));
                Some((piece.body.clone(), piece.last))
            }
            Some(Output::Reply(_, reply::Body::Fetched(fetched))) if fetched.unknown => None,
            _ => panic!("{out:?}"),
        }
    }
}

fn told_ended(out: &[Output<usize>]) -> Vec<(Pid, Vec<Rid>)> {
    let ended = |output: &Output<usize>| match output {
        Output::ToIngress(pid, _, to_ingress::Body::Ended(ended)) => {
            Some((*pid, unpack_rids(&ended.callers).unwrap()))
        }
        _ => None,
    };
    out.iter().filter_map(ended).collect()
}

fn is_abandoned(out: &[Output<usize>]) -> bool {
    out.iter().any(|o| matches!(o, Output::ToSubmitter(_, _, to_submitter::Body::Abandoned(_))))
}

#[test]
fn a_question_is_answered_and_changes_nothing() {
    let mut holding = Holding::new(ASKED);
    assert_eq!(
        (holding.finds(AGAIN), holding.finds(ASKED), holding.finds(NAMED)),
        ("twin", "nothing", "nothing")
    );
    holding.world.give(Input::Gone(holding.rid));
    for _ in 0..3 {
        assert_eq!((holding.finds(AGAIN), holding.finds(ASKED)), ("orphan", "orphan"));
    }
    holding.answer("kept");
    assert_eq!(holding.finds(AGAIN), "orphan");
    assert_eq!(holding.unread(), 1);

    let mut holding = Holding::new(NAMED);
    assert_eq!(holding.finds(NAMED), "twin");
    assert_eq!(holding.finds(Pairing { digest: Digest([9; 16]), ..NAMED }), "conflict");
    assert_eq!(holding.finds(AGAIN), "nothing");
}

#[test]
fn a_call_that_is_asked_about_itself_does_not_hide_an_equal_one() {
    let mut world = World::new();
    let (submitter, other) = (world.join(Role::Submitter), world.join(Role::Ingress));
    let (asking, _) = world.call("m", vec![1], AGAIN);
    let (rid, _) = world.call("m", vec![1], ASKED);
    let bid = Bid::random();
    assert_eq!(world.claim(bid, submitter, &[asking, rid]), [rid]);
    let mut holding = Holding { world, submitter, other, bid, rid };
    assert_eq!(holding.finds(AGAIN), "twin");
    let caller = Rid::random();
    assert_eq!(holding.says(&[(caller, AGAIN)], &[], &[])[0], [caller]);
    assert_eq!(told_ended(&holding.answer("x")), [(other, vec![caller])]);
}

#[test]
fn a_caller_elsewhere_takes_up_an_orphan_and_is_told_of_its_end() {
    let mut holding = Holding::orphaned();
    let caller = Rid::random();
    assert_eq!(holding.says(&[(caller, AGAIN)], &[], &[]), [vec![caller], vec![], vec![], vec![]]);
    assert_eq!(holding.finds(AGAIN), "twin");
    assert_eq!(holding.world.fetch(caller, 0), None, "there is none yet");
    assert_eq!(told_ended(&holding.answer("paid once")), [(holding.other, vec![caller])]);
    assert_eq!(holding.unread(), 1, "its caller has not received it");
    assert_eq!(holding.says(&[(caller, AGAIN)], &[], &[])[1], [caller], "said again until it is fetched");
    assert!(holding.world.fetch(caller, 0).is_some_and(|(_, last)| last));
    assert_eq!(holding.unread(), 1);
    holding.says(&[], &[caller], &[]);
    assert_eq!(holding.unread(), 0);
    assert_eq!(holding.finds(AGAIN), "nothing", "what was received is asked for anew");
    assert_eq!(holding.world.remembers(), 0);
}

#[test]
fn a_large_outcome_is_handed_out_in_parts() {
    let mut holding = Holding::orphaned();
    let caller = Rid::random();
    holding.says(&[(caller, AGAIN)], &[], &[]);
    let text: String = (0..150_000).map(|i| format!("{i:08}")).collect();
    holding.answer(&text);
    let mut whole = Vec::new();
    for part in 0.. {
        let (piece, last) = holding.world.fetch(caller, part).expect("there");
        assert!(piece.len() <= 512 * 1024);
        whole.extend_from_slice(&piece);
        if last {
            assert_eq!(part, 2);
            break;
        }
    }
    assert!(whole == text.as_bytes());
    assert_eq!(holding.world.fetch(caller, 3), None);
    assert_eq!(holding.world.fetch(caller, u32::MAX), None);
    assert_eq!(holding.world.fetch(Rid::random(), 0), None, "of a stranger");
    assert_eq!(holding.world.fetch(holding.rid, 0), None, "nor is it another's");
}

#[test]
fn the_batch_of_a_caller_elsewhere_is_not_abandoned() {
    let mut holding = Holding::orphaned();
    let caller = Rid::random();
    for _ in 0..20 {
        holding.says(&[(caller, AGAIN)], &[], &[]);
        assert!(!is_abandoned(&holding.world.pass_with(5, &holding.alive())));
    }
    holding.says(&[], &[], &[caller]);
    assert!(!is_abandoned(&holding.world.pass_with(25, &holding.alive())), "the window");
    assert!(is_abandoned(&holding.world.pass_with(15, &holding.alive())));
}

#[test]
fn a_repeated_word_counts_once() {
    let mut holding = Holding::orphaned();
    let caller = Rid::random();
    for _ in 0..5 {
        assert_eq!(holding.says(&[(caller, AGAIN)], &[], &[])[0], [caller]);
    }
    assert_eq!(holding.world.core.remotes.len(), 1);
    holding.says(&[], &[], &[caller]);
    assert_eq!(holding.finds(AGAIN), "orphan", "it left once and for all");
    holding.says(&[], &[caller], &[caller]);
    assert_eq!(holding.finds(AGAIN), "orphan");
}

#[test]
fn callers_elsewhere_are_gone_with_their_ingress_or_its_word() {
    let mut holding = Holding::orphaned();
    let caller = Rid::random();
    holding.says(&[(caller, AGAIN)], &[], &[]);
    holding.world.pass_with(24, &holding.alive());
    assert_eq!(holding.finds(AGAIN), "twin");
    holding.world.pass_with(12, &holding.alive());
    assert_eq!(holding.finds(AGAIN), "orphan", "it has not said for 30 s that it waits");

    let mut holding = Holding::orphaned();
    holding.says(&[(caller, AGAIN)], &[], &[]);
    holding.world.leaves(Pid::random(), Role::Ingress);
    assert_eq!(holding.finds(AGAIN), "twin");
    holding.world.leaves(holding.other, Role::Ingress);
    assert_eq!(holding.finds(AGAIN), "orphan");
}

#[test]
fn each_caller_takes_an_orphan_of_its_own_and_the_last_shares() {
    let mut world = World::new();
    let other = world.join(Role::Ingress);
    let submitter = world.join(Role::Submitter);
    let rids = [1, 2].map(|_| world.call("m", vec![1], ASKED).0);
    let bid = Bid::random();
    world.claim(bid, submitter, &rids);
    rids.iter().for_each(|rid| drop(world.give(Input::Gone(*rid))));
    let callers: Vec<(Rid, Pairing)> = (0..3).map(|_| (Rid::random(), AGAIN)).collect();
    assert_eq!(world.attach(other, &callers, &[], &[]).0[0].len(), 3);
    let mut told: Vec<usize> =
        rids.iter().map(|rid| told_ended(&world.answer(*rid, bid, submitter, "x"))[0].1.len()).collect();
    told.sort_unstable();
    assert_eq!(told, [1, 2]);
}

#[test]
fn a_withheld_request_is_announced_anew_for_a_caller_elsewhere() {
    let mut world = World::new();
    let other = world.join(Role::Ingress);
    let submitter = world.join(Role::Submitter);
    let (rid, _) = world.call("m", vec![1], ASKED);
    world.give(Input::Gone(rid));
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), []);
    let caller = Rid::random();
    assert_eq!(world.attach(other, &[(caller, AGAIN)], &[], &[]).0[0], [caller]);
    world.join(Role::Batcher);
    assert_eq!(announced(&world.pass(Duration::from_millis(5)))[0].2, 1);
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), [rid]);
}

#[test]
fn who_is_not_here_is_told_so() {
    let mut holding = Holding::new(NAMED);
    let [one, two, three] = [0; 3].map(|_| Rid::random());
    let other = Pairing { digest: Digest([9; 16]), ..NAMED };
    let calls = [(one, AGAIN), (two, other), (three, NAMED)];
    assert_eq!(holding.says(&calls, &[], &[]), [vec![three], vec![], vec![one], vec![two]]);
    let bad = wire::Attach { ingress: Bytes::from_static(b"x"), ..Default::default() };
    assert!(holding.world.give(Input::Attach(bad, "reply".into())).is_empty());
}

#[test]
fn an_ingress_that_stops_waits_until_callers_elsewhere_have_their_outcome() {
    let mut holding = Holding::new(ASKED);
    let caller = Rid::random();
    holding.says(&[(caller, AGAIN)], &[], &[]);
    holding.world.give(Input::Drain);
    assert_eq!(ends(&holding.answer("x")).len(), 1);
    holding.world.give(Input::Received(holding.rid));
    assert!(!holding.world.core.is_finished());
    assert!(holding.world.fetch(caller, 0).is_some());
    holding.says(&[], &[caller], &[]);
    assert!(holding.world.core.is_finished());
    assert_eq!(holding.world.core.farewell().load, 0);
}

#[test]
fn an_ingress_that_stops_leaves_to_the_submitter_what_nobody_waits_for() {
    let mut holding = Holding::orphaned();
    let acks = |out: &[Output<usize>]| {
        out.iter()
            .filter(|o| matches!(o, Output::ToSubmitter(_, _, to_submitter::Body::ResultAck(_))))
            .count()
    };
    holding.world.give(Input::Drain);
    assert_eq!(acks(&holding.answer("x")), 0, "acknowledged, the submitter would forget it");
    assert_eq!(holding.world.core.farewell().load, 1);
    assert_eq!(holding.finds(AGAIN), "nothing");

    let mut holding = Holding::new(ASKED);
    holding.world.give(Input::Drain);
    assert_eq!(acks(&holding.answer("x")), 1);
    assert_eq!(holding.world.core.farewell().load, 1, "on its way to the caller");
    assert_eq!(acks(&holding.answer("x")), 1, "acknowledged again while it is kept");
    holding.world.give(Input::Received(holding.rid));
    assert_eq!(holding.world.core.farewell().load, 0);
}

#[test]
fn who_stood_still_grants_nothing_for_a_moment() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let [granted, waiting] = [1, 2].map(|body| world.hold("m", vec![body]));
    let bid = Bid::random();
    world.claim(bid, submitter, &[granted]);
    world.now += Duration::from_secs(9);
    let claim = |world: &mut World, bid: Bid, rids: &[Rid]| {
        let (bid, submitter, rids) = (bid.to_bytes(), submitter.to_bytes(), pack_rids(rids));
        world.give(Input::Claim(wire::Claim { bid, submitter, rids, ..Default::default() }, "r".into()))
    };
    let said = |out: &[Output<usize>]| out.iter().any(|o| matches!(o, Output::Grant(..) | Output::Reply(..)));
    let intent = |world: &mut World| {
        let intent =
            wire::Intent { bid: bid.to_bytes(), epoch: 1, file: "f".into(), known_files: Vec::new() };
        world.give(Input::Intent(intent, "reply".into()))
    };
    for _ in 0..2 {
        assert!(!said(&claim(&mut world, Bid::random(), &[waiting])), "its caller may be gone");
        assert!(!said(&intent(&mut world)), "it is asked again");
        world.pass(Duration::from_millis(900));
    }
    assert!(said(&claim(&mut world, bid, &[granted])), "what was granted stays so");
    world.pass(Duration::from_millis(300));
    assert!(said(&intent(&mut world)));
    assert_eq!(world.claim(Bid::random(), submitter, &[waiting]), [waiting]);
}
