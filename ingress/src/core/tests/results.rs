//! Answers of submitters.

use super::*;

#[test]
fn the_first_answer_wins_and_every_one_is_acknowledged() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let bid = Bid::random();
    let rids = [world.hold("m", vec![]), world.hold("m", vec![])];
    world.claim(bid, submitter, &rids);
    let acknowledged = |out: &[Output<usize>]| {
        out.iter().any(|o| matches!(o, Output::ToSubmitter(_, _, to_submitter::Body::ResultAck(_))))
    };
    let out = world.answer(rids[1], bid, submitter, "second");
    assert!(matches!(ends(&out)[..], [(2, Outcome::Response(r))] if r.body == "second"));
    assert!(acknowledged(&out));
    let out = world.answer(rids[1], bid, submitter, "other");
    assert!(ends(&out).is_empty() && acknowledged(&out));
    let out = world.answer(rids[0], Bid::random(), submitter, "of another batch");
    assert!(ends(&out).is_empty());
}

#[test]
fn parts_of_an_answer_come_in_any_order() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (bid, rid) = (Bid::random(), world.hold("m", vec![]));
    world.claim(bid, submitter, &[rid]);
    let (head, _) = Outcome::Response(Response {
        status: http::StatusCode::OK,
        headers: http::HeaderMap::new(),
        job: String::new(),
        body: Bytes::new(),
        unbatchable: false,
        route: Route::Batch,
    })
    .into_wire();
    for (part, text, last) in [(2, "c", true), (1, "b", false), (1, "b", false)] {
        let body = Bytes::from(text);
        let part = ResultPart { rid, bid, submitter, seq: part.into(), part, last, head: None, body };
        assert!(ends(&world.give(Input::Result(part))).is_empty());
    }
    let body = Bytes::from("a");
    let part = ResultPart { rid, bid, submitter, seq: 0, part: 0, last: false, head: Some(head), body };
    assert!(
        matches!(ends(&world.give(Input::Result(part)))[..], [(_, Outcome::Response(r))] if r.body == "abc")
    );
}
