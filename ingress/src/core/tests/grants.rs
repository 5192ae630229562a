//! Bodies under a grant, and grants that are taken back.

use super::*;

#[test]
fn chunks_make_up_the_record_stream() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let bodies: Vec<Vec<u8>> = [0, 1, 300_000, 5, 1_000_000, 7].map(|n| vec![n as u8; n]).into();
    let rids: Vec<Rid> = bodies.iter().map(|body| world.hold("m", body.clone())).collect();
    let bid = Bid::random();
    world.claim(bid, submitter, &rids);
    let mut expected = Vec::new();
    for (rid, body) in rids.iter().zip(&bodies) {
        expected.extend_from_slice(&rid.0);
        expected.extend_from_slice(&(body.len() as u32).to_be_bytes());
        expected.extend_from_slice(body);
    }
    assert_eq!(expected.len(), bodies.iter().map(|b| b.len() + RECORD_HEAD).sum::<usize>());
    let mut stream = Vec::new();
    for seq in 0.. {
        let pull = wire::Pull { bid: bid.to_bytes(), epoch: 1, seq };
        let out = world.give(Input::Pull(pull, "reply".into()));
        let Some(Output::Chunk { last, slices: Some(slices), .. }) =
            out.into_iter().find(|o| matches!(o, Output::Chunk { .. }))
        else {
            panic!("no chunk {seq}");
        };
        let before = stream.len();
        slices.iter().for_each(|slice| stream.extend_from_slice(slice));
        assert!(stream.len() - before <= CHUNK as usize);
        if last {
            break;
        }
    }
    assert!(stream == expected);
    let beyond = wire::Pull { bid: bid.to_bytes(), epoch: 1, seq: u64::MAX };
    let out = world.give(Input::Pull(beyond, "reply".into()));
    assert!(out.iter().any(|o| matches!(o, Output::Chunk { slices: None, .. })));
}

#[test]
fn a_grant_whose_answer_was_lost_is_taken_back() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let bid = Bid::random();
    let (rid, gone) = (world.hold("m", vec![1; 10]), world.hold("m", vec![2; 10]));
    assert_eq!(world.claim(bid, submitter, &[rid, gone]), [rid, gone]);
    world.give(Input::Gone(gone));
    // The submitter is there all the time, but it never heard of the grant.
    for _ in 0..14 {
        world.pass(Duration::from_secs(5));
        world.give(Input::Heartbeat(beat(submitter, Role::Submitter)));
    }
    assert_eq!(world.core.held(), 1, "who left meanwhile is dropped");
    let stale = wire::Intent { bid: bid.to_bytes(), epoch: 1, file: "f".into(), known_files: Vec::new() };
    let out = world.give(Input::Intent(stale, "reply".into()));
    assert!(out.iter().any(|o| matches!(o, Output::Reply(_, reply::Body::IntentReply(r)) if !r.accepted)));
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), [rid], "it can be granted anew");
}

#[test]
fn a_grant_with_a_registered_file_is_never_taken_back() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, rid) = (Bid::random(), world.hold("m", vec![]));
    world.claim(bid, submitter, &[rid]);
    let intent = wire::Intent { bid: bid.to_bytes(), epoch: 1, file: "f".into(), known_files: Vec::new() };
    world.give(Input::Intent(intent, "reply".into()));
    for _ in 0..100 {
        world.pass(Duration::from_secs(5));
        world.give(Input::Heartbeat(beat(submitter, Role::Submitter)));
    }
    assert_eq!(world.claim(Bid::random(), submitter, &[rid]), []);
}
