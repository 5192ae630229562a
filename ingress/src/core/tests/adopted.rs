//! Requests of an ingress that is gone, taken over for callers that have come here.

use super::ladder::overdue;
use super::*;
use common::ids::unpack_rids;
use common::outcome::Fault;

const AGAIN: Pairing = Pairing { digest: Digest([1; 16]), idempotency: None, retry: true };
const OTHER: Pairing = Pairing { digest: Digest([2; 16]), ..AGAIN };

/// Callers whose originals a submitter has for an ingress that is gone.
struct Adopting {
    world: World,
    submitter: Pid,
    held: wire::HeldBatch,
    callers: Vec<Rid>,
    rids: Vec<Rid>,
    /// The batch under which they are taken over.
    bid: Bid,
}

impl Adopting {
    /// So many callers, with these originals.
    fn new(pairings: &[Pairing], rids: &[Rid]) -> Self {
        Self::planned(Plan::default(), pairings, rids)
    }

    fn planned(plan: Plan, pairings: &[Pairing], rids: &[Rid]) -> Self {
        let mut world = World { plan, ..World::new() };
        let submitter = world.join(Role::Submitter);
        world.pass(Duration::from_secs(2));
        let callers: Vec<Rid> = pairings.iter().map(|p| world.call("m", vec![1, 2, 3], *p).0).collect();
        let held = wire::HeldBatch {
            origin: Bid::random().to_bytes(),
            ingress: Pid::random().to_bytes(),
            files: vec!["f1".into()],
            job: "job_1".into(),
            age_ms: 5_000,
            undecided: false,
            callers: pack_rids(&callers),
            rids: pack_rids(rids),
        };
        let rids = rids.to_vec();
        let mut adopting = Self { world, submitter, held, callers, rids, bid: Bid([0; 16]) };
        let (_, out) = adopting.asks_and_is_told(true);
        adopting.recovers(&out);
        adopting
    }

    /// One who waits a minute for a batch.
    fn hasty() -> Self {
        let plan = Plan { deadline: Some(Duration::from_secs(60)), ..Plan::default() };
        Self::planned(plan, &[AGAIN], &[AGAIN.rid()])
    }

    fn one() -> Self {
        Self::new(&[AGAIN], &[AGAIN.rid()])
    }

    /// Waits for the question to the submitter, which has the batch or has nothing. Who was asked about, and what follows.
    fn asks_and_is_told(&mut self, has: bool) -> (Vec<Rid>, Vec<Output<usize>>) {
        let out = self.world.pass_with(2, &[(self.submitter, Role::Submitter)]);
        assert!(announced(&out).is_empty(), "not before it is known");
        let (to, token, about) = asked(&out).pop().expect("the submitter is asked");
        assert_eq!(to, self.submitter);
        let batches = vec![wire::HeldBatch { callers: pack_rids(&about), ..self.held.clone() }];
        let batches = if has { batches } else { Vec::new() };
        (about, self.world.holds(token, wire::Holds { batches, ..Default::default() }))
    }

    fn recovers(&mut self, out: &[Output<usize>]) -> wire::Recover {
        let [(to, recover)] = &recoveries(out)[..] else { panic!("{out:?}") };
        assert_eq!(*to, self.submitter);
        self.bid = Bid::from_slice(&recover.bid).unwrap();
        recover.clone()
    }

    fn claims(&mut self) {
        let rids = self.rids.clone();
        let granted = self.world.claim(self.bid, self.submitter, &rids);
        let mut distinct = rids;
        distinct.dedup();
        assert_eq!(granted, distinct);
    }

    fn says_cancelled(&mut self, rid: Rid) -> Vec<Output<usize>> {
        let fault = Fault::new(FaultClass::Unavailable, "batch_cancelled", "words");
        let (head, body) = Outcome::Fault(fault).into_wire();
        let (bid, submitter) = (self.bid, self.submitter);
        let part = ResultPart { rid, bid, submitter, seq: 0, part: 0, last: true, head: Some(head), body };
        self.world.give(Input::Result(part))
    }

    fn release(&mut self, epoch: u32) -> Vec<Output<usize>> {
        let released = wire::Released { bid: self.bid.to_bytes(), epoch, tidy: false };
        self.world.give(Input::Released(released, "reply".into()))
    }

    fn knows_no_call(&self) {
        let core = &self.world.core;
        assert_eq!((core.held(), core.repetitions.len(), core.pairs.len()), (0, 0, 0));
    }

    /// It is announced once, with its body.
    fn is_announced(&mut self) {
        self.world.join(Role::Batcher);
        let out = self.world.pass(Duration::from_millis(5));
        assert_eq!(announced(&out).iter().map(|(_, _, count)| count).sum::<usize>(), 1);
        let bytes = out.iter().find_map(|output| match output {
            Output::ToBatcher(_, _, to_batcher::Body::Announce(a)) => Some(a.groups[0].items[0].bytes),
            _ => None,
        });
        assert_eq!(bytes, Some(3));
    }
}

#[test]
fn the_submitter_that_has_it_delivers_to_this_ingress() {
    let mut adopting = Adopting::one();
    let rid = adopting.rids[0];
    let origin = Bid::from_slice(&adopting.held.origin).unwrap();
    assert_ne!(adopting.bid, origin, "what it has for the lost ingress stays as it is");
    assert_eq!(adopting.world.claim(adopting.bid, Pid::random(), &[rid]), [], "only who was asked");
    adopting.claims();
    let out = adopting.world.answer(rid, adopting.bid, adopting.submitter, "paid once");
    assert_eq!(
        ends(&out).iter().map(|(caller, o)| (*caller, what(o))).collect::<Vec<_>>(),
        [(1, "paid once".into())]
    );
    adopting.world.give(Input::Received(adopting.callers[0]));
    assert_eq!(adopting.world.remembers(), 0);
}

#[test]
fn all_that_is_known_goes_with_the_request_to_take_over() {
    let mut world = Adopting::one();
    // Not claimed: it is asked again.
    let out = world.world.pass_with(3, &[(world.submitter, Role::Submitter)]);
    let (_, recover) = recoveries(&out).remove(0);
    assert_eq!(
        (&recover.origin, &recover.files, &*recover.job),
        (&world.held.origin, &world.held.files, "job_1")
    );
    assert!(recover.age_ms >= 5_000);
    let part = recover.part.unwrap();
    assert_eq!(unpack_rids(&part.rids).unwrap(), world.rids);
    assert_eq!(part.ingress, world.world.core.members.pid().to_bytes());
    assert_eq!(recover.bid, world.bid.to_bytes());
    world.claims();
    assert!(recoveries(&world.world.pass_with(10, &[(world.submitter, Role::Submitter)])).is_empty());
}

#[test]
fn several_requests_of_one_batch_are_taken_over_together() {
    let rids = [AGAIN.rid(), OTHER.rid()];
    let mut adopting = Adopting::new(&[AGAIN, OTHER], &rids);
    adopting.claims();
    for (rid, text) in rids.into_iter().zip(["one", "two"]) {
        let out = adopting.world.answer(rid, adopting.bid, adopting.submitter, text);
        assert_eq!(ends(&out).iter().map(|(_, o)| what(o)).collect::<Vec<_>>(), [text]);
    }
}

#[test]
fn callers_of_one_original_share_its_answer() {
    let rid = AGAIN.rid();
    let mut adopting = Adopting::new(&[AGAIN, OTHER], &[rid, rid]);
    assert_eq!(adopting.world.core.held(), 1);
    adopting.claims();
    let out = adopting.world.answer(rid, adopting.bid, adopting.submitter, "x");
    let mut callers: Vec<usize> = ends(&out).iter().map(|(caller, _)| *caller).collect();
    callers.sort_unstable();
    assert_eq!(callers, [1, 2]);
    // And so does one that comes later.
    let third = Pairing { digest: Digest([3; 16]), ..AGAIN };
    let (_, out) = adopting.world.call("m", vec![1, 2, 3], third);
    assert!(ends(&out).is_empty());
    let (_, out) = adopting.asks_and_is_told(true);
    assert_eq!(
        ends(&out).iter().map(|(caller, o)| (*caller, what(o))).collect::<Vec<_>>(),
        [(3, "x".into())]
    );
    adopting.callers.iter().for_each(|caller| drop(adopting.world.give(Input::Received(*caller))));
}

#[test]
fn a_repetition_here_finds_what_was_taken_over() {
    let mut adopting = Adopting::one();
    adopting.claims();
    adopting.world.give(Input::Gone(adopting.callers[0]));
    let (_, out) = adopting.world.call("m", vec![1, 2, 3], AGAIN);
    assert!(asked(&out).is_empty() && adopting.world.core.held() == 1);
    let out = adopting.world.answer(adopting.rids[0], adopting.bid, adopting.submitter, "x");
    assert_eq!(ends(&out).iter().map(|(caller, _)| *caller).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_is_delivered_for_the_lost_ingress_counts_too() {
    let mut adopting = Adopting::one();
    let origin = Bid::from_slice(&adopting.held.origin).unwrap();
    let out = adopting.world.answer(adopting.rids[0], origin, adopting.submitter, "x");
    assert_eq!(ends(&out).len(), 1);
    assert_eq!(adopting.world.core.batches.len(), adopting.world.core.relics());
}

#[test]
fn without_a_job_others_are_asked_again_before_it_is_announced() {
    let mut adopting = Adopting::one();
    adopting.claims();
    adopting.release(1);
    let (about, _) = adopting.asks_and_is_told(false);
    // The old one stands for the lost ingress's part as long as a submitter keeps that, whatever becomes of this.
    assert_eq!(about, adopting.callers, "under an id of its own");
    adopting.is_announced();
    let (bid, own) = (Bid::random(), adopting.callers.clone());
    assert_eq!(adopting.world.claim(Bid::random(), adopting.submitter, &adopting.rids), []);
    assert_eq!(adopting.world.claim(bid, adopting.submitter, &own), own);
    let out = adopting.world.answer(own[0], bid, adopting.submitter, "x");
    assert_eq!(ends(&out).iter().map(|(caller, _)| *caller).collect::<Vec<_>>(), [1]);
    adopting.world.give(Input::Received(own[0]));
    adopting.knows_no_call();
}

#[test]
fn all_callers_of_what_came_to_nothing_get_the_answer_of_its_new_request() {
    let rid = AGAIN.rid();
    let mut adopting = Adopting::new(&[AGAIN, OTHER], &[rid, rid]);
    adopting.claims();
    adopting.says_cancelled(rid);
    let (about, _) = adopting.asks_and_is_told(true);
    assert!(about.len() == 1 && adopting.callers.contains(&about[0]), "{about:?}");
    adopting.is_announced();
    let bid = Bid::random();
    assert_eq!(adopting.world.claim(bid, adopting.submitter, &about), about);
    let out = adopting.world.answer(about[0], bid, adopting.submitter, "x");
    let mut callers: Vec<usize> = ends(&out).iter().map(|(caller, _)| *caller).collect();
    callers.sort_unstable();
    assert_eq!(callers, [1, 2]);
    for caller in adopting.callers.clone() {
        adopting.world.give(Input::Received(caller));
    }
    adopting.knows_no_call();
}

#[test]
fn who_waits_for_it_at_another_ingress_is_found_by_its_new_id() {
    let mut adopting = Adopting::one();
    let other = adopting.world.join(Role::Ingress);
    adopting.claims();
    adopting.world.give(Input::Gone(adopting.callers[0]));
    let remote = AGAIN.rid();
    let attach =
        wire::Attach { ingress: other.to_bytes(), calls: vec![AGAIN.to_wire(remote)], ..Default::default() };
    let waits = |world: &mut World| {
        let out = world.give(Input::Attach(attach.clone(), "reply".into()));
        let attached = out.iter().find_map(|output| match output {
            Output::Reply(_, reply::Body::Attached(attached)) => Some(attached.waiting.clone()),
            _ => None,
        });
        attached.is_some_and(|waiting| waiting == remote.to_bytes())
    };
    assert!(waits(&mut adopting.world));
    adopting.release(1);
    assert!(waits(&mut adopting.world) && adopting.world.core.held() == 1);
}

#[test]
fn it_may_be_found_in_the_same_batch_again() {
    let mut adopting = Adopting::one();
    adopting.claims();
    adopting.release(1);
    let (_, out) = adopting.asks_and_is_told(true);
    assert_eq!(adopting.world.core.held(), 1, "its caller still waits");
    adopting.recovers(&out);
    adopting.claims();
    let out = adopting.world.answer(adopting.rids[0], adopting.bid, adopting.submitter, "x");
    assert_eq!(ends(&out).iter().map(|(caller, _)| *caller).collect::<Vec<_>>(), [1]);
    adopting.world.give(Input::Received(adopting.callers[0]));
    assert_eq!(adopting.world.remembers(), 0);
}

#[test]
fn a_line_that_was_cancelled_is_not_looked_for_in_the_same_job_again() {
    let mut adopting = Adopting::one();
    adopting.claims();
    let out = adopting.says_cancelled(adopting.rids[0]);
    assert!(ends(&out).is_empty());
    let (about, out) = adopting.asks_and_is_told(true);
    assert_eq!(about, adopting.callers);
    assert!(recoveries(&out).is_empty(), "it is known that this job has not executed it");
    adopting.is_announced();
}

#[test]
fn a_line_that_was_cancelled_may_be_in_another_job() {
    let mut adopting = Adopting::one();
    adopting.claims();
    adopting.says_cancelled(adopting.rids[0]);
    adopting.held.job = "job_2".into();
    let (_, out) = adopting.asks_and_is_told(true);
    assert_eq!(adopting.recovers(&out).job, "job_2");
}

#[test]
fn what_nobody_waits_for_any_more_is_not_asked_about_again() {
    let mut adopting = Adopting::one();
    adopting.claims();
    adopting.world.give(Input::Gone(adopting.callers[0]));
    adopting.release(1);
    assert_eq!(adopting.world.core.held(), 0);
    assert_eq!(adopting.world.remembers(), 0);
}

#[test]
fn another_submitter_takes_over_where_the_first_dies_too() {
    let mut adopting = Adopting::one();
    let other = adopting.world.join(Role::Submitter);
    let out = adopting.world.leaves(adopting.submitter, Role::Submitter);
    adopting.submitter = other;
    let recover = adopting.recovers(&out);
    assert_eq!((&recover.origin, &*recover.job), (&adopting.held.origin, "job_1"));
    adopting.claims();
    let out = adopting.world.answer(adopting.rids[0], adopting.bid, other, "x");
    assert_eq!(ends(&out).len(), 1);
}

#[test]
fn its_deadline_holds_in_the_batch_where_it_is_found() {
    let mut adopting = Adopting::hasty();
    adopting.claims();
    let alive = [(adopting.submitter, Role::Submitter)];
    assert_eq!(overdue(&adopting.world.pass_with(50, &alive)), 0);
    assert!(overdue(&adopting.world.pass_with(15, &alive)) > 0);
    adopting.says_cancelled(adopting.rids[0]);
    let (_, out) = adopting.asks_and_is_told(true);
    let alone = |output: &Output<usize>| match output {
        Output::Alone(solo) => Some(solo.rid),
        _ => None,
    };
    assert_eq!(out.iter().filter_map(alone).collect::<Vec<_>>(), adopting.callers);
}

#[test]
fn its_deadline_holds_under_its_new_id() {
    let mut adopting = Adopting::hasty();
    adopting.claims();
    adopting.release(1);
    adopting.asks_and_is_told(false);
    let (submitter, own) = (adopting.submitter, adopting.callers.clone());
    assert_eq!(adopting.world.claim(Bid::random(), submitter, &own), own);
    assert!(overdue(&adopting.world.pass_with(60, &[(submitter, Role::Submitter)])) > 0);
}

#[test]
fn a_request_of_two_batches_is_in_the_later_one() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    world.pass(Duration::from_secs(2));
    let (caller, _) = world.call("m", vec![1, 2, 3], AGAIN);
    let held = |origin, age_ms| wire::HeldBatch {
        origin: Bid([origin; 16]).to_bytes(),
        ingress: Pid::random().to_bytes(),
        files: vec!["file".into()],
        job: format!("job_{origin}"),
        age_ms,
        undecided: false,
        callers: pack_rids(&[caller]),
        rids: pack_rids(&[AGAIN.rid()]),
    };
    let out = world.pass_with(2, &[(submitter, Role::Submitter)]);
    let (_, token, _) = asked(&out).pop().expect("the submitter is asked");
    // Its line failed in the first.
    let batches = vec![held(1, 50_000), held(2, 5_000)];
    let out = world.holds(token, wire::Holds { batches, ..Default::default() });
    let [(_, recover)] = &recoveries(&out)[..] else { panic!("{out:?}") };
    assert_eq!(&*recover.job, "job_2");
}
