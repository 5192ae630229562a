//! Repetitions of equal requests, and what callers are told at the end.

use super::*;

const AGAIN: Pairing = Pairing { digest: Digest([1; 16]), idempotency: None, retry: true };

/// The callers that are to wait at another ingress.
fn sent_elsewhere(out: &[Output<usize>]) -> Vec<Rid> {
    let calls = out.iter().filter_map(|output| match output {
        Output::ToIngress(_, _, to_ingress::Body::Attach(attach)) => Some(&attach.calls),
        _ => None,
    });
    calls.flatten().filter_map(|call| Rid::from_slice(&call.caller).ok()).collect()
}

#[test]
fn repetitions_of_samples_each_look_for_an_original_of_their_own() {
    let mut world = World::new();
    world.join(Role::Ingress);
    let first = world.call("m", vec![1], AGAIN).0;
    let second = world.call("m", vec![1], AGAIN).0;
    let orphans = wire::Holds { orphans: pack_rids(&[first, second]), ..Default::default() };
    let mut found = sent_elsewhere(&world.others_say(&orphans));
    found.sort_unstable();
    let mut both = vec![first, second];
    both.sort_unstable();
    assert_eq!(found, both);
    // One more that comes while they wait there.
    let third = world.call("m", vec![1], AGAIN).0;
    let orphans = wire::Holds { orphans: pack_rids(&[third]), ..Default::default() };
    assert!(sent_elsewhere(&world.others_say(&orphans)).contains(&third));
}

#[test]
fn repetitions_of_what_nobody_has_are_one_request() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let callers = [1, 2, 3].map(|_| world.call("m", vec![1], AGAIN).0);
    assert_eq!(world.core.held(), 3);
    world.others_say(&wire::Holds::default());
    assert_eq!(world.core.held(), 1);
    let bid = Bid::random();
    let granted = world.claim(bid, submitter, &callers);
    let out = world.answer(granted[0], bid, submitter, "one");
    assert_eq!(ends(&out).len(), 3);
    for caller in callers {
        world.give(Input::Received(caller));
    }
    let left: Vec<_> =
        world.core.sizes().into_iter().filter(|(_, size)| *size > 0).map(|(what, _)| what).collect();
    assert_eq!(left, ["batches to be tidied up"]);
}

/// Codes of the faults that callers get, and whether they should come back.
fn faults(out: &[Output<usize>]) -> Vec<(String, bool)> {
    let fault = |(_, outcome): (usize, &Outcome)| match outcome {
        Outcome::Fault(fault) => Some((fault.code.clone(), !fault.no_retry)),
        Outcome::Response(_) => None,
    };
    ends(out).into_iter().filter_map(fault).collect()
}

/// A request in a job when the time to stop is over.
fn stopped_with(others: &[Role]) -> Vec<(String, bool)> {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    for role in others {
        world.join(*role);
    }
    let rid = world.hold("m", vec![1]);
    world.claim(Bid::random(), submitter, &[rid]);
    world.give(Input::Drain);
    faults(&world.give(Input::GiveUp))
}

#[test]
fn who_is_left_at_the_end_comes_back_where_another_ingress_is() {
    assert_eq!(stopped_with(&[]), [("shut_down".to_owned(), false)]);
    assert_eq!(stopped_with(&[Role::Ingress]), [("shut_down".to_owned(), true)]);
}
