//! Deadlines, later batches, and calls that are made alone.

use common::outcome::Fault;

use super::*;
use crate::core::{JobEvent, Solo};
use crate::plan::{Reason, Ways};

const MINUTE: Plan =
    Plan { ways: Ways::Any, deadline: Some(Duration::from_secs(60)), refused: false, flex: false };

/// A world with a batcher and a submitter.
struct House {
    world: World,
    batcher: Pid,
    submitter: Pid,
    bids: u8,
}

impl House {
    fn new(policy: Policy) -> Self {
        let mut world = World::new();
        world.core.policy = policy;
        let (batcher, submitter) = (world.join(Role::Batcher), world.join(Role::Submitter));
        Self { world, batcher, submitter, bids: 0 }
    }

    fn hold(&mut self, plan: Plan) -> (Rid, Vec<Output<usize>>) {
        let rid = Rid::random();
        let call = Call { body: Bytes::from_static(b"body"), plan, ..call() };
        self.world.callers += 1;
        let caller = self.world.callers;
        (rid, self.world.give(Input::Hold(rid, call, caller)))
    }

    /// The requests get into a batch.
    fn grant(&mut self, rids: &[Rid]) -> Bid {
        self.bids += 1;
        let bid = Bid([self.bids; 16]);
        assert_eq!(self.world.claim(bid, self.submitter, rids), rids, "not granted");
        self.world.core.batches.get_mut(&bid).unwrap().files.push("file".into());
        bid
    }

    fn granted(&mut self, plan: Plan) -> (Rid, Bid) {
        let (rid, _) = self.hold(plan);
        (rid, self.grant(&[rid]))
    }

    /// Time passes in which everybody is there.
    fn pass(&mut self, seconds: u64) -> Vec<Output<usize>> {
        let alive = [(self.batcher, Role::Batcher), (self.submitter, Role::Submitter)];
        self.world.pass_with(seconds, &alive)
    }

    fn end(&mut self, rid: Rid, bid: Bid, outcome: Outcome) -> Vec<Output<usize>> {
        let (head, body) = outcome.into_wire();
        let submitter = self.submitter;
        let part = ResultPart { rid, bid, submitter, seq: 0, part: 0, last: true, head: Some(head), body };
        self.world.give(Input::Result(part))
    }
}

fn solo(output: &Output<usize>) -> Option<&Solo> {
    match output {
        Output::Alone(solo) => Some(solo),
        _ => None,
    }
}

fn alone(out: &[Output<usize>]) -> Vec<&Solo> {
    out.iter().filter_map(solo).collect()
}

/// How callers' calls end.
fn ended(out: &[Output<usize>]) -> Vec<(&Outcome, Option<Reason>)> {
    told(out).map(|(_, ended)| (&*ended.outcome, ended.reason)).collect()
}

/// How many batches submitters are told to give up.
pub(super) fn overdue(out: &[Output<usize>]) -> usize {
    let is_word = |output: &&Output<usize>| matches!(output, Output::ToSubmitter(_, _, to_submitter::Body::Abandoned(word)) if word.overdue);
    out.iter().filter(is_word).count()
}

fn response(status: u16, route: Route) -> Outcome {
    Outcome::Response(Response {
        status: http::StatusCode::from_u16(status).unwrap(),
        headers: http::HeaderMap::new(),
        job: if route == Route::Batch { "job".into() } else { String::new() },
        body: Bytes::from_static(b"{}"),
        unbatchable: false,
        route,
    })
}

fn fault(code: &str) -> Fault {
    Fault::new(FaultClass::Unavailable, code, "words")
}

fn status(outcome: &Outcome) -> (u16, Route) {
    match outcome {
        Outcome::Response(response) => (response.status.as_u16(), response.route),
        Outcome::Fault(fault) => (fault.class.status().as_u16(), fault.route),
    }
}

#[test]
fn what_has_no_batch_at_its_deadline_is_made_alone_once() {
    let mut house = House::new(POLICY);
    let (rid, _) = house.hold(Plan { flex: true, ..MINUTE });
    let (later, _) = house.hold(Plan::default());
    assert!(alone(&house.pass(59)).is_empty());
    let out = house.pass(3);
    let [solo] = alone(&out)[..] else { panic!("{out:?}") };
    assert_eq!((solo.rid, solo.route, solo.reason), (rid, Route::Flex, Reason::Deadline));
    assert_eq!(&solo.body[..], b"body");
    assert!(alone(&house.pass(600)).is_empty(), "made again, or the other one too");
    // A batch that was sealed meanwhile does not get it.
    assert_eq!(house.world.claim(Bid([9; 16]), house.submitter, &[rid, later]), [later]);
    let out = house.world.give(Input::Alone(rid, response(200, Route::Flex)));
    let [(outcome, reason)] = ended(&out)[..] else { panic!("{out:?}") };
    assert_eq!((status(outcome), reason), ((200, Route::Flex), Some(Reason::Deadline)));
    assert!(ended(&house.world.give(Input::Alone(rid, response(200, Route::Sync)))).is_empty());
}

#[test]
fn a_batch_is_given_up_at_the_deadline_and_its_rest_made_alone() {
    let mut house = House::new(POLICY);
    let ((done, _), (open, _), (vanished, _)) = (house.hold(MINUTE), house.hold(MINUTE), house.hold(MINUTE));
    let bid = house.grant(&[done, open, vanished]);
    assert_eq!(overdue(&house.pass(59)), 0);
    // Said again for as long as it is so, in case it was not heard.
    assert!(overdue(&house.pass(60)) >= 3 + 10);
    let out = house.end(done, bid, response(200, Route::Batch));
    assert_eq!(status(ended(&out)[0].0), (200, Route::Batch));
    let out = house.end(open, bid, Outcome::Fault(fault("batch_cancelled")));
    let [solo] = alone(&out)[..] else { panic!("{out:?}") };
    assert_eq!((solo.rid, solo.route, &solo.body[..]), (open, Route::Sync, &b"body"[..]));
    let out = house.end(vanished, bid, Outcome::Fault(fault("no_result_line").again()));
    assert_eq!(alone(&out).len(), 1);
    assert_eq!(overdue(&house.pass(60)), 0, "nothing waits for it any more");
    assert!(ended(&house.end(open, bid, response(200, Route::Batch))).is_empty(), "two answers");
}

#[test]
fn who_had_more_time_goes_into_another_batch() {
    let mut house = House::new(POLICY);
    let ((hasty, _), (patient, _)) = (house.hold(MINUTE), house.hold(Plan::default()));
    let bid = house.grant(&[hasty, patient]);
    house.pass(61);
    let out = house.end(patient, bid, Outcome::Fault(fault("batch_cancelled")));
    assert!(ended(&out).is_empty() && alone(&out).is_empty());
    house.pass(1);
    house.grant(&[patient]);
}

#[test]
fn who_shares_a_batch_with_another_ingress_that_gives_it_up_goes_into_another() {
    let mut house = House::new(POLICY);
    let (rid, bid) = house.granted(MINUTE);
    // Somebody else cancelled it, who has his reasons; and then not.
    let out = house.end(rid, bid, Outcome::Fault(fault("batch_cancelled")));
    assert_eq!(ended(&out).len(), 1);
    let (rid, bid) = house.granted(MINUTE);
    let out = house.end(rid, bid, Outcome::Fault(fault("batch_cancelled").again()));
    assert!(ended(&out).is_empty());
    house.pass(1);
    house.grant(&[rid]);
    assert!(overdue(&house.pass(60)) > 0, "its own deadline stays");
}

#[test]
fn a_call_that_allows_batches_only_ends_at_its_deadline() {
    let mut house = House::new(POLICY);
    let plan = Plan { ways: Ways::Batch, ..MINUTE };
    let ((queued, _), (rid, bid)) = (house.hold(plan), house.granted(plan));
    let out = house.pass(61);
    assert_eq!(
        ended(&out).iter().map(|(outcome, _)| status(outcome)).collect::<Vec<_>>(),
        [(504, Route::Batch)]
    );
    assert!(!house.world.core.requests.contains_key(&queued));
    let out = house.end(rid, bid, Outcome::Fault(fault("batch_cancelled")));
    assert_eq!(status(ended(&out)[0].0), (504, Route::Batch));
}

#[test]
fn a_hard_deadline_does_not_wait_for_the_provider() {
    let mut house = House::new(Policy { hard: true, ..POLICY });
    let (rid, bid) = house.granted(MINUTE);
    let out = house.pass(61);
    assert_eq!((alone(&out).len(), overdue(&out)), (1, 1));
    let out = house.end(rid, bid, response(200, Route::Batch));
    assert!(ended(&out).is_empty(), "it has another way now");
    let out = house.world.give(Input::Alone(rid, response(200, Route::Sync)));
    assert_eq!(status(ended(&out)[0].0), (200, Route::Sync));
}

#[test]
fn a_hard_deadline_pays_nothing_for_who_is_gone() {
    let mut house = House::new(Policy { hard: true, ..POLICY });
    let ((gone, _), (there, _)) = (house.hold(MINUTE), house.hold(Plan::default()));
    let bid = house.grant(&[gone, there]);
    house.world.give(Input::Gone(gone));
    let out = house.pass(61);
    assert!(alone(&out).is_empty() && overdue(&out) == 0, "the others wait");
    assert_eq!(house.world.core.batches[&bid].attended, 1);
}

#[test]
fn who_stood_still_sees_first_who_is_gone() {
    for leaves in [true, false] {
        let mut house = House::new(POLICY);
        let (rid, _) = house.hold(MINUTE);
        let (world, mut out) = (&mut house.world, Vec::new());
        world.now += Duration::from_secs(61);
        world.core.tick(world.now, &mut out);
        assert!(alone(&out).is_empty(), "others may have given it up, and its caller may be there");
        if leaves {
            world.give(Input::Gone(rid));
        }
        assert_eq!(alone(&house.pass(10)).len(), usize::from(!leaves));
    }
}

#[test]
fn a_line_that_failed_goes_into_later_batches_a_few_times() {
    let mut house = House::new(Policy { line_retries: 2, ..POLICY });
    let (rid, mut bid) = house.granted(Plan::default());
    let ends = [Outcome::Fault(fault("batch_expired").again()), response(503, Route::Batch)];
    for (end, rest) in ends.into_iter().zip([4, 9]) {
        assert!(ended(&house.end(rid, bid, end)).is_empty());
        house.bids += 1;
        let early = Bid([house.bids; 16]);
        house.pass(rest / 2);
        assert!(house.world.claim(early, house.submitter, &[rid]).is_empty(), "no rest");
        house.pass(rest * 2);
        bid = house.grant(&[rid]);
    }
    let out = house.end(rid, bid, response(429, Route::Batch));
    assert_eq!(status(ended(&out)[0].0), (429, Route::Batch), "the last true status");
}

#[test]
fn what_is_given_back_for_want_of_room_goes_again_and_counts_for_nothing() {
    let given_back = || Outcome::Fault(fault("queue_full").again().requeue());
    let mut house = House::new(Policy { line_retries: 0, ..POLICY });
    let (rid, mut bid) = house.granted(MINUTE);
    for back in 0..7 {
        assert!(ended(&house.end(rid, bid, given_back())).is_empty());
        // At once the first time, and never as late as after a failure.
        let wait = usize::from(back > 0);
        house.pass(wait as u64);
        bid = house.grant(&[rid]);
    }
    // Its deadline is its deadline.
    house.end(rid, bid, given_back());
    assert_eq!(alone(&house.pass(61)).len(), 1);
    // Nobody gets it as an answer when the ingress leaves, either.
    let (rid, bid) = house.granted(Plan::default());
    house.world.give(Input::Drain);
    let out = house.end(rid, bid, given_back());
    assert!(ends(&out).iter().all(|(_, outcome)| what(outcome) == "shutting_down"));
}

#[test]
fn what_is_wrong_with_a_request_is_told_at_once() {
    let mut house = House::new(Policy { line_retries: 2, ..POLICY });
    for end in [response(400, Route::Batch), Outcome::Fault(fault("something"))] {
        let (rid, bid) = house.granted(Plan::default());
        assert_eq!(ended(&house.end(rid, bid, end)).len(), 1);
    }
    // An answer to a call of ours that no line got: the batch may have been executed.
    let (rid, bid) = house.granted(Plan::default());
    let Outcome::Response(answer) = response(500, Route::Batch) else { panic!() };
    let answer = Response { job: String::new(), ..answer };
    assert_eq!(ended(&house.end(rid, bid, Outcome::Response(answer))).len(), 1);
}

#[test]
fn a_resting_request_meets_its_deadline() {
    let mut house = House::new(Policy { line_retries: 9, ..POLICY });
    let (rid, bid) = house.granted(MINUTE);
    house.pass(58);
    assert!(alone(&house.end(rid, bid, response(500, Route::Batch))).is_empty());
    assert_eq!(alone(&house.pass(3)).len(), 1);
}

#[test]
fn a_refused_batch_is_made_alone_where_that_is_allowed() {
    let refusal = || Outcome::Fault(fault("no").unbatchable());
    let mut house = House::new(POLICY);
    let (rid, bid) = house.granted(Plan { flex: true, ..Plan::default() });
    let out = house.end(rid, bid, refusal());
    let [solo] = alone(&out)[..] else { panic!("{out:?}") };
    assert_eq!((solo.rid, solo.route, solo.reason), (rid, Route::Sync, Reason::Refused));
    let (rid, bid) = house.granted(Plan { ways: Ways::Batch, ..Plan::default() });
    assert_eq!(ended(&house.end(rid, bid, refusal())).len(), 1);
    let mut house = House::new(Policy { alone_if_refused: false, ..POLICY });
    let (rid, bid) = house.granted(Plan::default());
    assert_eq!(ended(&house.end(rid, bid, refusal())).len(), 1);
}

#[test]
fn a_repetition_takes_up_a_call_that_is_made_alone() {
    let mut house = House::new(POLICY);
    let pairing = Pairing { digest: Digest::random(), idempotency: None, retry: false };
    let call = Call { pairing, plan: Plan { ways: Ways::Alone, ..Plan::default() }, ..call() };
    let (first, second) = (Rid::random(), Rid::random());
    let out = house.world.give(Input::Hold(first, call.clone(), 1));
    assert_eq!((alone(&out)[0].route, alone(&out)[0].reason), (Route::Sync, Reason::Mode));
    house.world.give(Input::Gone(first));
    house.pass(300);
    assert!(alone(&house.world.give(Input::Hold(second, call, 2))).is_empty(), "paid twice");
    let out = house.world.give(Input::Alone(first, response(200, Route::Sync)));
    assert_eq!(ended(&out).len(), 1);
    // Two ended at their receivers: nothing stays.
    house.world.give(Input::Received(second));
    let left: Vec<_> = house.world.core.sizes().into_iter().filter(|(_, size)| *size > 0).collect();
    assert_eq!(left, []);
}

#[test]
fn batches_that_take_too_long_are_not_waited_for() {
    let mut house = House::new(POLICY);
    for _ in 0..3 {
        let (rid, bid) = house.granted(Plan::default());
        house.pass(300);
        let out = house.end(rid, bid, response(200, Route::Batch));
        assert!(out.iter().any(|output| matches!(output, Output::Job(JobEvent::Ended { .. }))));
    }
    let (_, out) = house.hold(MINUTE);
    assert_eq!((alone(&out).len(), alone(&out)[0].reason), (1, Reason::Estimate));
    let longer = Plan { deadline: Some(Duration::from_secs(600)), ..MINUTE };
    assert!(alone(&house.hold(longer).1).is_empty());
    let only = Plan { ways: Ways::Batch, ..MINUTE };
    assert!(alone(&house.hold(only).1).is_empty());
    house.pass(3600);
    assert!(alone(&house.hold(MINUTE).1).is_empty(), "tried again after an hour");
}
