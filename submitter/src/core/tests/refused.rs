//! Jobs that fail as a whole.

use super::*;

#[test]
fn named_lines_are_evicted_and_the_rest_goes_again() {
    let mut world = World::new(3);
    world.polling();
    world.op();
    let errors = vec![("invalid_json_line".to_owned(), Some(2), "bad line".to_owned())];
    world.did(Did::Polled(Ok(JobView { errors, ..job(JobPhase::Failed) })));
    let second = world.rids[1];
    let mut evicted = false;
    loop {
        match world.op() {
            Op::Delete { file } => world.did(Did::Deleted(file, Ok(Gone::Deleted))),
            Op::Tell(rids, Outcome::Fault(fault)) => {
                assert_eq!(
                    (rids, fault.class, fault.message.as_str()),
                    (vec![second], FaultClass::Invalid, "bad line")
                );
                evicted = true;
            }
            Op::Upload { except, .. } => {
                assert_eq!(except, BTreeSet::from([second]));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(evicted);
}

#[test]
fn a_refusal_without_lines_goes_to_everybody_as_the_provider_put_it() {
    for (code, status) in [("model_not_found", 404), ("invalid_request", 400)] {
        let mut world = World::new(2);
        world.polling();
        world.op();
        let errors = vec![(code.to_owned(), None, "no".to_owned())];
        world.did(Did::Polled(Ok(JobView { errors, ..job(JobPhase::Failed) })));
        assert_eq!(world.op(), Op::Delete { file: "file-1".into() });
        world.did(Did::Deleted("file-1".into(), Ok(Gone::Deleted)));
        let told = std::iter::from_fn(|| world.next_op(Duration::from_secs(1))).find_map(|op| match op {
            Op::Tell(rids, outcome) => Some((rids, outcome)),
            _ => None,
        });
        let (rids, outcome) = told.expect("the callers are told");
        assert_eq!(rids, world.rids);
        let got = match outcome {
            Outcome::Response(response) => response.status.as_u16(),
            Outcome::Fault(fault) => fault.class.status().as_u16(),
        };
        assert_eq!(got, status);
    }
}

#[test]
fn a_full_queue_at_the_provider_is_waited_for() {
    let mut world = World::new(1);
    world.polling();
    world.op();
    let errors = vec![("token_limit_exceeded".to_owned(), None, "full".to_owned())];
    let failed_at = world.now;
    world.did(Did::Polled(Ok(JobView { errors, ..job(JobPhase::Failed) })));
    loop {
        match world.op() {
            Op::Delete { file } => world.did(Did::Deleted(file, Ok(Gone::Deleted))),
            Op::Upload { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(world.now - failed_at >= Duration::from_secs(10));
}
