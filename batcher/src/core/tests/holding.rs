//! What is held: duplicates, withdrawals, ingresses that leave, bounds, malformed messages.

use super::super::announce::{MAX_OPEN, MAX_REQUESTS};
use super::*;

#[test]
fn a_request_announced_again_is_held_once() {
    let mut rig = Rig::alone(args());
    let key = key(1, "m");
    rig.announce(&key, 0..3);
    rig.announce(&key, 1..4);
    rig.run_until(seconds(3));
    rig.announce(&key, [2]);
    assert_eq!(rig.acks, [false, false, false]);
    rig.submitters.push(pid(200));
    rig.run_until(seconds(10));
    assert_eq!(rig.batches(), [(seconds(4), 4)]);
    assert!(rig.core.batches.is_empty() && rig.core.batches.requests() == 0);
}

#[test]
fn withdrawn_requests_are_left_out_open_or_sealed() {
    let mut rig = Rig::alone(args());
    let key = key(1, "m");
    rig.announce(&key, 0..10);
    rig.withdraw([0, 3, 99]);
    rig.run_until(seconds(2));
    rig.withdraw(4..9);
    rig.submitters.push(pid(200));
    rig.run_until(seconds(5));
    assert_eq!(rig.accepted.len(), 1);
    assert_eq!(rig.accepted[0].rids(), [rid(1), rid(2), rid(9)]);
    assert_eq!(rig.accepted[0].offer.bytes, 3000);
}

#[test]
fn a_withdrawn_request_can_come_back() {
    let mut rig = Rig::new(args());
    let key = key(1, "m");
    rig.announce(&key, 0..3);
    rig.withdraw([0]);
    rig.announce(&key, [0]);
    rig.withdraw([1, 0]);
    rig.announce(&key, [1]);
    rig.run_until(seconds(2));
    assert_eq!(rig.accepted[0].rids(), [rid(2), rid(1)]);
}

#[test]
fn nothing_is_offered_when_all_are_withdrawn() {
    let mut rig = Rig::new(args());
    rig.announce(&key(1, "m"), 0..100);
    rig.withdraw(0..100);
    assert!(rig.core.batches.is_empty() && rig.core.open.is_empty());
    rig.run_until(seconds(10));
    assert!(rig.sent.is_empty());
}

#[test]
fn coming_and_going_takes_no_room() {
    let mut rig = Rig::new(Args { window: seconds(4000), idle: seconds(4000), ..args() });
    rig.announce(&key(1, "m"), [0]);
    for n in 1..200_000 {
        rig.announce(&key(1, "m"), [n]);
        rig.withdraw([n]);
    }
    rig.announce(&key(1, "m"), 200_000..200_100);
    rig.run_until(seconds(4001));
    assert_eq!(rig.batches(), [(seconds(4000), 101)]);
}

#[test]
fn the_requests_of_an_ingress_that_left_are_dropped() {
    let mut rig = Rig::alone(args());
    rig.hear(pid(1), Role::Ingress, |_| {});
    rig.announce_items(1, &key(1, "m"), vec![item(1, 10), item(2, 10)]);
    rig.announce_items(2, &key(1, "m"), vec![item(3, 10)]);
    rig.announce_items(1, &key(1, "n"), vec![item(4, 10)]);
    rig.run_until(seconds(2));
    rig.announce_items(1, &key(1, "m"), vec![item(5, 10)]);
    rig.hear(pid(1), Role::Ingress, |beat| beat.leaving = true);
    rig.submitters.push(pid(200));
    rig.run_until(seconds(20));
    assert_eq!(rig.accepted.iter().flat_map(Sent::rids).collect::<Vec<_>>(), [rid(3)]);
    assert!(rig.core.batches.is_empty());
}

#[test]
fn over_the_bounds_it_is_busy_and_takes_nothing_of_the_message() {
    let mut rig = Rig::alone(Args { max_requests: 50_000, ..args() });
    for start in (0..MAX_REQUESTS as u64).step_by(50_000) {
        rig.announce_items(1, &key(1, "m"), (start..start + 50_000).map(|n| item(n, 10)).collect());
    }
    rig.announce(&key(1, "m"), [u64::MAX]);
    assert_eq!(rig.acks.pop(), Some(true));
    assert!(rig.acks.iter().all(|busy| !busy));
    assert_eq!(rig.core.batches.requests(), MAX_REQUESTS);
    rig.submitters.push(pid(200));
    rig.run_until(seconds(10));
    assert_eq!(rig.core.batches.requests(), 0);
}

#[test]
fn the_number_of_open_batches_is_bounded() {
    let mut rig = Rig::alone(args());
    let group =
        |n: usize| wire::AnnounceGroup { key: Some(key(1, &n.to_string())), items: vec![item(n as u64, 1)] };
    for start in (0..MAX_OPEN).step_by(4096) {
        rig.announce_raw(announcement(1, (start..start + 4096).map(group).collect()));
    }
    rig.announce_raw(announcement(1, vec![group(MAX_OPEN)]));
    assert_eq!((rig.acks.iter().filter(|busy| **busy).count(), rig.acks.last()), (1, Some(&true)));
    assert_eq!(rig.core.open.len(), MAX_OPEN);
}

#[test]
fn malformed_messages_are_counted_and_ignored() {
    let mut rig = Rig::new(args());
    let good = wire::AnnounceGroup { key: Some(key(1, "m")), items: vec![item(1, 10)] };
    let with = |change: fn(&mut wire::AnnounceGroup)| {
        let mut bad = good.clone();
        change(&mut bad);
        announcement(1, vec![good.clone(), bad])
    };
    let bad = [
        announcement(1, vec![]),
        wire::Announce { ingress: Bytes::from_static(b"short"), ..announcement(1, vec![good.clone()]) },
        wire::Announce { reply: String::new(), ..announcement(1, vec![good.clone()]) },
        wire::Announce { reply: "x".repeat(1000), ..announcement(1, vec![good.clone()]) },
        with(|group| group.key = None),
        with(|group| group.key.as_mut().unwrap().fingerprint = Bytes::new()),
        with(|group| group.key.as_mut().unwrap().model = "m".repeat(2_000_000)),
        with(|group| group.items.clear()),
        with(|group| group.items[0].rid = Bytes::new()),
        with(|group| group.items[0].bytes = u64::MAX),
    ];
    let count = bad.len() as u64;
    bad.into_iter().for_each(|announce| rig.announce_raw(announce));
    rig.input(Input::Withdraw(wire::Withdraw { rids: vec![Bytes::from_static(b"x")] }));
    rig.hear(pid(1), Role::Ingress, |beat| (beat.pid, beat.leaving) = (Bytes::new(), true));
    for token in [0, 1, u64::MAX] {
        rig.input(Input::Answer((token, offer_reply(true))));
    }
    assert_eq!((rig.core.malformed, rig.acks.len()), (count + 2, 0));
    rig.run_until(seconds(10));
    assert!(rig.sent.is_empty() && rig.core.batches.is_empty());
}
