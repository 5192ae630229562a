//! When a batch is sealed.

use prost::Message as _;
use providers::Caps;

use super::*;

/// Announces one request every `gap` until `end`. Returns how many.
fn flow(rig: &mut Rig, key: &wire::BatchKey, gap: Duration, end: Now) -> u64 {
    let mut n = 0;
    while rig.now < end {
        n += 1;
        rig.announce(key, [n]);
        rig.run_for(gap);
    }
    n
}

#[test]
fn an_idle_gap_seals() {
    let mut rig = Rig::new(args());
    rig.announce(&key(1, "m"), 0..3);
    rig.run_until(millis(999));
    assert_eq!(rig.batches(), []);
    rig.run_until(seconds(1));
    assert_eq!(rig.batches(), [(seconds(1), 3)]);
}

#[test]
fn the_gap_counts_from_the_latest_arrival() {
    let mut rig = Rig::new(args());
    for n in 0..3 {
        rig.announce(&key(1, "m"), [n]);
        rig.run_for(millis(900));
    }
    rig.run_until(seconds(10));
    assert_eq!(rig.batches(), [(millis(2800), 3)]);
}

#[test]
fn the_window_is_not_restarted_by_arrivals() {
    let mut rig = Rig::new(args());
    flow(&mut rig, &key(1, "m"), millis(500), millis(4500));
    rig.run_until(millis(4500));
    assert_eq!(rig.batches(), [(seconds(4), 8)], "four seconds after the first, though requests kept coming");
}

#[test]
fn a_flow_that_never_pauses_is_sealed_every_window() {
    let mut rig = Rig::new(args());
    let sent = flow(&mut rig, &key(1, "m"), millis(100), seconds(120));
    rig.run_for(seconds(5));
    let batches = rig.batches();
    assert!(batches.windows(2).all(|two| two[1].0 - two[0].0 <= millis(4100)), "{batches:?}");
    assert_eq!(batches.iter().map(|(_, lines)| *lines as u64).sum::<u64>(), sent);
}

#[test]
fn the_count_seals_at_once() {
    let mut rig = Rig::new(args());
    rig.announce(&key(1, "m"), 0..2500);
    assert_eq!(rig.batches(), [(Now::ZERO, 1000), (Now::ZERO, 1000)]);
    rig.run_until(seconds(1));
    assert_eq!(rig.batches()[2], (seconds(1), 500));
}

#[test]
fn bytes_seal_before_they_overflow() {
    let overhead = Caps::OPENAI.line_overhead;
    let mut rig = Rig::new(Args { max_bytes: 10_000 + 4 * overhead, ..args() });
    let items = [4000, 3000, 3000, 2000].into_iter().enumerate();
    rig.announce_items(1, &key(1, "m"), items.map(|(n, bytes)| item(n as u64, bytes)).collect());
    rig.run_until(seconds(2));
    let bytes: Vec<_> = rig.accepted.iter().map(|sent| (sent.at, sent.offer.bytes)).collect();
    assert_eq!(bytes, [(Now::ZERO, 10_000), (seconds(1), 2000)]);
}

#[test]
fn a_request_larger_than_a_batch_goes_alone_and_at_once() {
    let mut rig = Rig::new(Args { max_bytes: 10_000, ..args() });
    let items = [100, 50_000, 100].into_iter().enumerate();
    rig.announce_items(1, &key(1, "m"), items.map(|(n, bytes)| item(n as u64, bytes)).collect());
    rig.run_until(seconds(2));
    assert_eq!(rig.batches(), [(Now::ZERO, 1), (Now::ZERO, 1), (seconds(1), 1)]);
    assert_eq!(rig.accepted[1].offer.bytes, 50_000);
}

#[test]
fn embedding_inputs_are_summed() {
    let mut rig = Rig::new(args());
    let items = (0..5).map(|n| wire::AnnounceItem { inputs: 20_000, ..item(n, 10) }).collect();
    rig.announce_items(1, &key(1, "m"), items);
    rig.run_until(seconds(2));
    assert_eq!(rig.batches(), [(Now::ZERO, 2), (Now::ZERO, 2), (seconds(1), 1)]);
}

#[test]
fn a_provider_s_own_limits_hold_whatever_the_operator_says() {
    let mut rig = Rig::new(Args { max_requests: 50_000, max_bytes: u64::MAX, ..args() });
    rig.announce_items(1, &key(1, "m"), (0..10).map(|n| item(n, 60_000_000)).collect());
    rig.run_until(seconds(2));
    assert!(rig.accepted.iter().all(|sent| sent.offer.bytes <= Caps::OPENAI.max_bytes));
    assert_eq!(rig.batches().iter().map(|(_, lines)| lines).sum::<usize>(), 10);
}

#[test]
fn an_offer_always_fits_the_bus() {
    let mut rig = Rig::new(Args { max_requests: 50_000, ..args() });
    let max_payload = 4096;
    rig.input(Input::Bus { up: true, max_payload });
    for n in 0..1000 {
        rig.announce_items((n % 7) as u8, &key(1, "m"), vec![item(n, 10)]);
    }
    rig.run_until(seconds(2));
    for sent in &rig.accepted {
        let offer = wire::ToSubmitter { body: Some(to_submitter::Body::Offer(sent.offer.clone())) };
        assert!(offer.encoded_len() <= max_payload, "{}", offer.encoded_len());
    }
    assert_eq!(rig.accepted.iter().map(|sent| sent.rids().len()).sum::<usize>(), 1000);
    assert!(rig.accepted.len() < 8, "and is well filled: {}", rig.accepted.len());
}

#[test]
fn keys_do_not_mix() {
    let mut rig = Rig::new(args());
    let beta = wire::Header { name: "anthropic-beta".into(), value: Bytes::from_static(b"x") };
    let keys = [
        key(1, "m"),
        key(1, "n"),
        key(2, "m"),
        wire::BatchKey { endpoint: "/v1/embeddings".into(), ..key(1, "m") },
        wire::BatchKey { upstream: "mistral".into(), ..key(1, "m") },
        wire::BatchKey { headers: vec![beta], ..key(1, "m") },
    ];
    for n in 0..60 {
        rig.announce(&keys[n as usize % keys.len()], [n]);
    }
    rig.run_until(seconds(2));
    assert_eq!(rig.accepted.len(), keys.len());
    for sent in &rig.accepted {
        let which = keys.iter().position(|key| Some(key) == sent.offer.key.as_ref()).unwrap() as u64;
        assert!(sent.rids().iter().all(|r| (0..60).any(|n| rid(n) == *r && n % 6 == which)));
    }
}

#[test]
fn a_batch_lists_requests_by_ingress_in_the_order_of_arrival() {
    let mut rig = Rig::new(args());
    for n in 0..6 {
        rig.announce_items(1 + (n % 2) as u8, &key(1, "m"), vec![item(n, 10)]);
    }
    rig.run_until(seconds(2));
    let parts = &rig.accepted[0].offer.parts;
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0].ingress, pid(1).to_bytes());
    assert_eq!(parts[0].reply, "llmp.v1.ing.1.r");
    assert_eq!(unpack_rids(&parts[1].rids), Ok(vec![rid(1), rid(3), rid(5)]));
}
