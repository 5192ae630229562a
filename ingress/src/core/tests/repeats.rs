//! Callers that leave, come back, or ask twice.

use super::*;
use common::outcome::Fault;

const ASKED: Pairing = Pairing { digest: Digest([1; 16]), idempotency: None, retry: false };
const AGAIN: Pairing = Pairing { retry: true, ..ASKED };

fn named(key: u8, digest: u8) -> Pairing {
    Pairing { digest: Digest([digest; 16]), idempotency: Some(Digest([key; 16])), retry: false }
}

/// The text of the answers given, by caller, and whether they had been there before.
fn texts(out: &[Output<usize>]) -> Vec<(usize, String, bool)> {
    told(out).map(|(waiter, ended)| (waiter, what(&ended.outcome), ended.replayed)).collect()
}

fn text(caller: usize, text: &str, replayed: bool) -> Vec<(usize, String, bool)> {
    vec![(caller, text.to_owned(), replayed)]
}

/// A request whose caller went away after the grant.
fn orphan(world: &mut World) -> (Pid, Bid, Rid) {
    let submitter = world.join(Role::Submitter);
    let (bid, (rid, _)) = (Bid::random(), world.call("m", vec![1], ASKED));
    assert_eq!(world.claim(bid, submitter, &[rid]), [rid]);
    world.give(Input::Gone(rid));
    (submitter, bid, rid)
}

fn abandoned(out: &[Output<usize>]) -> usize {
    out.iter().filter(|o| matches!(o, Output::ToSubmitter(_, _, to_submitter::Body::Abandoned(_)))).count()
}

fn fault(world: &mut World, rid: Rid, bid: Bid, submitter: Pid, code: &str) -> Vec<Output<usize>> {
    let fault = Fault::new(FaultClass::Unavailable, code, "words");
    let (head, body) = Outcome::Fault(fault).into_wire();
    let part = ResultPart { rid, bid, submitter, seq: 0, part: 0, last: true, head: Some(head), body };
    world.give(Input::Result(part))
}

/// Time in which the submitter is alive.
fn pass_with(world: &mut World, submitter: Pid, seconds: u64) -> Vec<Output<usize>> {
    let mut out = Vec::new();
    for _ in 0..seconds {
        out.extend(world.pass(Duration::from_secs(1)));
        out.extend(world.give(Input::Heartbeat(beat(submitter, Role::Submitter))));
    }
    out
}

#[test]
fn identical_requests_at_the_same_time_stay_requests_of_their_own() {
    let mut world = World::new();
    for _ in 0..5 {
        world.call("m", vec![1], ASKED);
    }
    assert_eq!(world.core.held(), 5);
}

#[test]
fn a_caller_that_comes_back_takes_up_its_request() {
    let mut world = World::new();
    let (submitter, bid, rid) = orphan(&mut world);
    let (again, _) = world.call("m", vec![1], ASKED);
    assert_eq!((again == rid, world.core.held()), (false, 1));
    let out = world.answer(rid, bid, submitter, "paid once");
    assert_eq!(texts(&out), text(2, "paid once", false));
    world.give(Input::Received(again));
    assert_eq!(texts(&world.call("m", vec![1], ASKED).1), [], "what was received is asked for anew");
}

#[test]
fn before_the_grant_it_is_withheld_and_then_announced_again() {
    let mut world = World::new();
    let (batcher, submitter) = (world.join(Role::Batcher), world.join(Role::Submitter));
    let (rid, _) = world.call("m", vec![1], ASKED);
    let token = announced(&world.pass(Duration::from_millis(5)))[0].1;
    world.give(Input::Answer(token, Some(reply::Body::AnnounceAck(wire::AnnounceAck { busy: false }))));
    let out = world.give(Input::Gone(rid));
    let withdrawn = |o: &Output<usize>| matches!(o, Output::ToBatcher(pid, _, to_batcher::Body::Withdraw(_)) if *pid == batcher);
    assert!(out.iter().any(withdrawn));
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), [], "withheld");
    world.call("m", vec![1], ASKED);
    assert_eq!(announced(&world.pass(Duration::from_millis(5)))[0].2, 1);
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), [rid]);
}

#[test]
fn one_that_left_in_the_first_millisecond_is_announced_once() {
    let mut world = World::new();
    let (rid, _) = world.call("m", vec![1], ASKED);
    world.give(Input::Gone(rid));
    world.call("m", vec![1], ASKED);
    world.join(Role::Batcher);
    let sent = announced(&world.pass(Duration::from_millis(5)));
    assert_eq!(sent.iter().map(|(_, _, count)| count).sum::<usize>(), 1);
}

#[test]
fn orphans_are_taken_up_oldest_first() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let rids = [1, 2, 3].map(|_| world.call("m", vec![1], ASKED).0);
    let bid = Bid::random();
    world.claim(bid, submitter, &rids);
    world.give(Input::Gone(rids[2]));
    world.give(Input::Gone(rids[0]));
    world.call("m", vec![1], ASKED);
    world.call("m", vec![1], ASKED);
    assert_eq!(texts(&world.answer(rids[0], bid, submitter, "a")), text(4, "a", false));
    assert_eq!(texts(&world.answer(rids[2], bid, submitter, "c")), text(5, "c", false));
    assert_eq!(world.core.held(), 1);
}

#[test]
fn a_marked_repetition_shares_its_twins_answer() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, (rid, _)) = (Bid::random(), world.call("m", vec![1], ASKED));
    world.claim(bid, submitter, &[rid]);
    let (second, _) = world.call("m", vec![1], AGAIN);
    assert_eq!(world.core.held(), 1);
    // The old connection turns out to be dead only now.
    world.give(Input::Gone(rid));
    assert_eq!(texts(&world.answer(rid, bid, submitter, "a")), text(2, "a", false));
    world.give(Input::Received(second));
    world.call("m", vec![1], AGAIN);
    assert_eq!(world.core.held(), 1, "without a twin it is a new request");
}

#[test]
fn an_answer_nobody_received_is_kept_for_a_time() {
    let mut world = World::new();
    let (submitter, bid, rid) = orphan(&mut world);
    assert_eq!(texts(&world.answer(rid, bid, submitter, "kept")), []);
    let (reader, out) = world.call("m", vec![1], ASKED);
    assert_eq!(texts(&out), text(2, "kept", true));
    world.give(Input::Gone(reader));
    let (_, out) = world.call("m", vec![1], ASKED);
    assert_eq!(texts(&out), text(3, "kept", true), "its connection broke: it is still kept");
    world.call("m", vec![1], ASKED);
    assert_eq!(world.core.held(), 1, "while it is being given, the same question is a new one");

    let mut world = World::new();
    let (submitter, bid, rid) = orphan(&mut world);
    world.answer(rid, bid, submitter, "kept");
    world.pass(KEEPING.answers_for + Duration::from_secs(6));
    assert_eq!(world.core.kept.shelved(), (0, 0));
    world.call("m", vec![1], ASKED);
    assert_eq!(world.core.held(), 1);
}

#[test]
fn an_answer_is_kept_anew_after_each_caller_that_went_away_without_it() {
    let mut world = World::new();
    let (submitter, bid, rid) = orphan(&mut world);
    world.answer(rid, bid, submitter, "kept");
    for caller in 2..5 {
        world.pass(KEEPING.answers_for - Duration::from_secs(6));
        let (reader, out) = world.call("m", vec![1], ASKED);
        assert_eq!(texts(&out), text(caller, "kept", true));
        world.pass(Duration::from_secs(60));
        world.give(Input::Gone(reader));
    }
    world.pass(KEEPING.answers_for + Duration::from_secs(6));
    assert_eq!(world.core.kept.shelved(), (0, 0));
}

#[test]
fn answers_are_kept_within_their_bound() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    for i in 0..50 {
        let pairing = Pairing { digest: Digest([i; 16]), ..ASKED };
        let (bid, (rid, _)) = (Bid::random(), world.call("m", vec![1], pairing));
        world.claim(bid, submitter, &[rid]);
        world.give(Input::Gone(rid));
        world.now += Duration::from_millis(1);
        world.answer(rid, bid, submitter, &"x".repeat(1000));
        assert!(world.core.kept.shelved().1 <= KEEPING.answers_bytes);
    }
    assert_eq!(world.core.kept.shelved().0, 6);
    let newest = Pairing { digest: Digest([49; 16]), ..ASKED };
    assert_eq!(texts(&world.call("m", vec![1], newest).1).len(), 1, "the oldest went first");
}

#[test]
fn a_late_error_is_given_again_until_it_is_forgotten() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, (rid, _)) = (Bid::random(), world.call("m", vec![1], ASKED));
    world.claim(bid, submitter, &[rid]);
    assert_eq!(texts(&fault(&mut world, rid, bid, submitter, "wrong")), text(1, "wrong", false));
    // The answer had begun; its connection is cut.
    world.give(Input::Gone(rid));
    for caller in 2..5 {
        let (reader, out) = world.call("m", vec![1], AGAIN);
        assert_eq!(texts(&out), text(caller, "wrong", true));
        world.give(Input::Received(reader));
        world.pass(Duration::from_secs(4));
    }
    world.pass(WINDOW);
    world.call("m", vec![1], AGAIN);
    assert_eq!(world.core.held(), 1);
}

#[test]
fn an_error_that_was_received_is_not_given_again() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, (rid, _)) = (Bid::random(), world.call("m", vec![1], ASKED));
    world.claim(bid, submitter, &[rid]);
    fault(&mut world, rid, bid, submitter, "busy");
    world.give(Input::Received(rid));
    world.call("m", vec![1], AGAIN);
    assert_eq!(world.core.held(), 1, "an SDK's own repetition is a new try");
}

#[test]
fn an_idempotency_key_always_attaches() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, (rid, _)) = (Bid::random(), world.call("m", vec![1], named(1, 1)));
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), [], "another ingress may have it");
    world.others_say(&wire::Holds::default());
    assert_eq!(world.claim(bid, submitter, &[rid]), [rid]);
    let (second, _) = world.call("m", vec![1], named(1, 1));
    assert_eq!(world.core.held(), 1);
    let mut given = texts(&world.answer(rid, bid, submitter, "one"));
    given.sort();
    assert_eq!(given, [(1, "one".into(), false), (2, "one".into(), false)]);
    world.give(Input::Received(rid));
    world.give(Input::Received(second));
    assert_eq!(texts(&world.call("m", vec![1], named(1, 1)).1), text(3, "one", true), "long after");
    assert_eq!(texts(&world.call("m", vec![2], named(1, 2)).1), text(4, "idempotency_key_reused", false));
    world.call("m", vec![1], named(2, 1));
    world.call("m", vec![1], ASKED);
    assert_eq!(world.core.held(), 2, "another key and no key are other requests");
}

#[test]
fn a_batch_nobody_waits_for_is_abandoned_and_its_answers_are_kept() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let pairings = [1, 2, 3].map(|i| Pairing { digest: Digest([i; 16]), ..ASKED });
    let rids = pairings.map(|pairing| world.call("m", vec![1], pairing).0);
    let bid = Bid::random();
    world.claim(bid, submitter, &rids);
    let intent = wire::Intent { bid: bid.to_bytes(), epoch: 1, file: "f".into(), known_files: Vec::new() };
    world.give(Input::Intent(intent, "reply".into()));
    world.give(Input::Gone(rids[0]));
    assert_eq!(abandoned(&pass_with(&mut world, submitter, 60)), 0, "two still wait");
    world.give(Input::Gone(rids[1]));
    world.give(Input::Gone(rids[2]));
    assert_eq!(abandoned(&pass_with(&mut world, submitter, 29)), 0, "within the window");
    let said = abandoned(&pass_with(&mut world, submitter, 21));
    assert!((3..=5).contains(&said), "every few seconds: {said}");
    // One comes back while the job is being cancelled.
    world.call("m", vec![1], pairings[2]);
    assert_eq!(abandoned(&pass_with(&mut world, submitter, 20)), 0);
    assert_eq!(texts(&world.answer(rids[0], bid, submitter, "done in time")), []);
    for rid in &rids[1..] {
        assert_eq!(texts(&fault(&mut world, *rid, bid, submitter, "batch_cancelled")), []);
    }
    assert_eq!(texts(&world.call("m", vec![1], pairings[0]).1), text(5, "done in time", true));
    assert_eq!(world.core.held(), 1, "who left is forgotten, who came back waits for another batch");
    assert_eq!(world.claim(Bid::random(), submitter, &[rids[2]]), [rids[2]]);
}

#[test]
fn a_job_cancelled_by_somebody_else_is_an_error() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, rid) = (Bid::random(), world.hold("m", vec![]));
    world.claim(bid, submitter, &[rid]);
    let out = fault(&mut world, rid, bid, submitter, "batch_cancelled");
    assert_eq!(texts(&out), text(1, "batch_cancelled", false));
}

#[test]
fn draining_leaves_nothing_behind_that_nobody_waits_for() {
    let mut world = World::new();
    let (_, _, rid) = orphan(&mut world);
    let (withheld, _) = world.call("other", vec![1], Pairing { digest: Digest([9; 16]), ..ASKED });
    world.give(Input::Gone(withheld));
    let out = world.give(Input::Drain);
    assert_eq!((abandoned(&out), texts(&out)), (1, vec![]));
    assert!(world.core.is_finished());
    let _ = rid;
}
