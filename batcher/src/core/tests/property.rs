//! Whatever happens, every request that is still wanted is in exactly one accepted batch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use providers::Caps;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    /// New requests: ingress, key, number, bytes and inputs of each.
    Announce(u8, u8, u8, u32, u32),
    /// Announce again what was announced, from the so-manieth on.
    Again(u16, u8),
    Withdraw(u16, u8),
    Pass(u16),
    /// A submitter comes or goes.
    Submitter(u8, bool),
    Bus(bool),
    Batcher(u8, bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..3u8, 0..4u8, 1..40u8, 0..5000u32, 0..30_000u32).prop_map(|(i, k, n, b, e)| Op::Announce(i, k, n, b, e)),
        2 => (any::<u16>(), 1..10u8).prop_map(|(from, n)| Op::Again(from, n)),
        2 => (any::<u16>(), 1..10u8).prop_map(|(from, n)| Op::Withdraw(from, n)),
        8 => (0..3000u16).prop_map(Op::Pass),
        1 => (0..3u8, any::<bool>()).prop_map(|(n, here)| Op::Submitter(n, here)),
        1 => any::<bool>().prop_map(Op::Bus),
        1 => (0..2u8, any::<bool>()).prop_map(|(n, here)| Op::Batcher(n, here)),
    ]
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![3 => Just(Says::Accepted), 2 => Just(Says::Busy), 2 => Just(Says::Nothing), 1 => Just(Says::Gone)]
}

fn sealing() -> impl Strategy<Value = Args> {
    (1..5000u64, 1..2000u64, 1..60usize, 1000..100_000u64).prop_map(
        |(window, idle, max_requests, max_bytes)| Args {
            window: millis(window),
            idle: millis(idle),
            max_requests,
            max_bytes,
        },
    )
}

type Announced = Vec<(u8, wire::BatchKey, wire::AnnounceItem)>;

/// Plays the script, then lets every submitter be well, and returns what came of it.
fn play(args: &Args, ops: &[Op], answers: &[Says]) -> (Rig, Announced, BTreeSet<Rid>) {
    let mut rig = Rig::new(args.clone());
    let well = Rc::new(RefCell::new(false));
    let (is_well, answers, mut asked) = (well.clone(), answers.to_vec(), 0);
    rig.policy = Box::new(move |_, _| match *is_well.borrow() {
        true => Says::Accepted,
        false => {
            asked += 1;
            answers[asked % answers.len()]
        }
    });
    let (mut announced, mut withdrawn) = (Announced::new(), BTreeSet::new());
    for op in ops {
        step(&mut rig, op, &mut announced, &mut withdrawn);
    }
    *well.borrow_mut() = true;
    rig.input(Input::Bus { up: true, max_payload: PAYLOAD });
    rig.submitters = vec![pid(200)];
    rig.run_for(seconds(60));
    (rig, announced, withdrawn)
}

fn step(rig: &mut Rig, op: &Op, announced: &mut Announced, withdrawn: &mut BTreeSet<Rid>) {
    let some = |announced: &Announced, from: u16, n: u8| -> Announced {
        let start = usize::from(from) % announced.len().max(1);
        announced.iter().skip(start).take(n.into()).cloned().collect()
    };
    match op {
        Op::Announce(ingress, credential, n, bytes, inputs) => {
            let key = key(credential / 2, if credential % 2 == 0 { "m" } else { "n" });
            let start = announced.len() as u64;
            let items: Vec<_> = (start..start + u64::from(*n))
                .map(|n| wire::AnnounceItem { inputs: *inputs, ..item(n, u64::from(*bytes) + n % 7) })
                .collect();
            announced.extend(items.iter().map(|item| (*ingress, key.clone(), item.clone())));
            rig.announce_items(*ingress, &key, items);
        }
        Op::Again(from, n) => {
            // An ingress does not announce what it has granted.
            let accepted: BTreeSet<Rid> = rig.accepted.iter().flat_map(Sent::rids).collect();
            for (ingress, key, item) in some(announced, *from, *n) {
                let rid = Rid::from_slice(&item.rid).unwrap();
                if !accepted.contains(&rid) && !withdrawn.contains(&rid) {
                    rig.announce_items(ingress, &key, vec![item]);
                }
            }
        }
        Op::Withdraw(from, n) => {
            let rids = some(announced, *from, *n).into_iter().map(|(_, _, item)| item.rid);
            let rids: Vec<_> = rids.collect();
            withdrawn.extend(rids.iter().map(|rid| Rid::from_slice(rid).unwrap()));
            rig.input(Input::Withdraw(wire::Withdraw { rids }));
        }
        Op::Pass(time) => rig.run_for(millis((*time).into())),
        Op::Submitter(n, true) if !rig.submitters.contains(&pid(200 + n)) => {
            rig.submitters.push(pid(200 + n))
        }
        Op::Submitter(_, true) => {}
        Op::Submitter(n, false) => {
            rig.submitters.retain(|p| *p != pid(200 + n));
            rig.hear(pid(200 + n), Role::Submitter, |beat| beat.leaving = true);
        }
        Op::Bus(up) => rig.input(Input::Bus { up: *up, max_payload: PAYLOAD }),
        Op::Batcher(n, here) => rig.hear(pid(101 + n), Role::Batcher, |beat| beat.leaving = !here),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_wanted_request_is_in_exactly_one_accepted_batch_within_all_limits(
        args in sealing(),
        ops in proptest::collection::vec(op(), 1..120),
        answers in proptest::collection::vec(says(), 1..30),
    ) {
        let (rig, announced, withdrawn) = play(&args, &ops, &answers);
        prop_assert!(rig.core.batches.is_empty() && rig.core.open.is_empty() && rig.core.offers.is_empty());
        prop_assert!(rig.core.unplaced.is_empty() && rig.core.batches.requests() == 0);
        prop_assert!(rig.acks.iter().all(|busy| !busy));

        let facts: BTreeMap<Rid, &(u8, wire::BatchKey, wire::AnnounceItem)> =
            announced.iter().map(|fact| (Rid::from_slice(&fact.2.rid).unwrap(), fact)).collect();
        let mut batch_of = BTreeMap::new();
        for sent in &rig.accepted {
            for rid in sent.rids() {
                prop_assert_eq!(batch_of.insert(rid, sent.offer.bid.clone()), None, "{} twice", rid);
            }
        }
        let missing: Vec<_> = facts.keys().filter(|rid| !withdrawn.contains(rid) && !batch_of.contains_key(rid)).collect();
        prop_assert!(missing.is_empty(), "{:?}", missing);

        for sent in &rig.sent {
            let items: Vec<_> = sent.rids().iter().map(|rid| facts[rid]).collect();
            prop_assert!(items.iter().all(|(_, key, _)| Some(key) == sent.offer.key.as_ref()));
            for part in &sent.offer.parts {
                let rids = unpack_rids(&part.rids).unwrap();
                prop_assert!(!rids.is_empty() && rids.iter().all(|rid| pid(facts[rid].0).to_bytes() == part.ingress));
            }
            let bytes: u64 = items.iter().map(|(_, _, item)| item.bytes).sum();
            prop_assert_eq!(bytes, sent.offer.bytes);
            let lines = items.len() as u64;
            prop_assert!(items.len() <= args.max_requests);
            prop_assert!(lines == 1 || bytes + lines * Caps::OPENAI.line_overhead <= args.max_bytes);
            let inputs: u64 = items.iter().map(|(_, _, item)| u64::from(item.inputs.max(1))).sum();
            prop_assert!(lines == 1 || inputs <= Caps::OPENAI.max_inputs);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(
        args in sealing(),
        ops in proptest::collection::vec(op(), 1..60),
        answers in proptest::collection::vec(says(), 1..30),
    ) {
        prop_assert_eq!(play(&args, &ops, &answers).0.outputs, play(&args, &ops, &answers).0.outputs);
    }
}
