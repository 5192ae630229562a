//! Which requests calls repeat that come to another ingress.

use super::*;
use common::ids::{Digest, unpack_rids};
use common::pairing::Pairing;

const PLAIN: Pairing = Pairing { digest: Digest([1; 16]), idempotency: None, retry: true };

fn named(key: u8, body: u8) -> Pairing {
    Pairing { digest: Digest([body; 16]), idempotency: Some(Digest([key; 16])), retry: false }
}

fn key(model: &str) -> wire::BatchKey {
    wire::BatchKey { fingerprint: vec![7; 16].into(), model: model.into(), ..Default::default() }
}

impl World {
    fn of(pairings: &[Pairing]) -> Self {
        let mut world = Self::new(0);
        world.rids = pairings.iter().map(Pairing::rid).collect();
        world
    }

    fn asks(&mut self, key: wire::BatchKey, calls: &[(Rid, Pairing)]) -> wire::Holds {
        let calls = calls.iter().map(|(caller, pairing)| pairing.to_wire(*caller)).collect();
        let whois =
            wire::Whois { groups: vec![wire::WhoisGroup { key: Some(key), calls }], ..Default::default() };
        let mut out = Vec::new();
        self.core.handle(self.now, Input::Whois(whois, "reply".into()), &mut out);
        match out.pop() {
            Some(Output::Reply(_, reply::Body::Holds(holds))) if out.is_empty() => holds,
            other => panic!("one answer: {other:?} {out:?}"),
        }
    }

    /// Where each call's original is, by caller.
    fn originals(&mut self, calls: &[(Rid, Pairing)]) -> Vec<(Rid, Rid, bool)> {
        let holds = self.asks(key(""), calls);
        let one = |batch: &wire::HeldBatch| {
            let (callers, rids) = (unpack_rids(&batch.callers).unwrap(), unpack_rids(&batch.rids).unwrap());
            assert_eq!(callers.len(), rids.len());
            let undecided = batch.undecided;
            callers.into_iter().zip(rids).map(move |(caller, rid)| (caller, rid, undecided))
        };
        holds.batches.iter().flat_map(one).collect()
    }

    /// Whether the original is here, and whether it is undecided what becomes of it.
    fn standing(&mut self) -> Option<bool> {
        let (caller, rid) = (Rid::random(), self.rids[0]);
        match self.originals(&[(caller, PLAIN)])[..] {
            [] => None,
            [(asked, found, undecided)] => {
                assert_eq!((asked, found), (caller, rid));
                Some(undecided)
            }
            ref more => panic!("{more:?}"),
        }
    }

    fn claiming(&mut self) {
        let part = wire::OfferPart {
            ingress: self.ingress.to_bytes(),
            reply: "r".into(),
            rids: pack_rids(&self.rids),
        };
        let offer =
            wire::Offer { bid: self.bid.to_bytes(), key: Some(key("")), parts: vec![part], bytes: 10 };
        self.give(Input::Offer(offer, "reply".into()));
    }

    fn opening(&mut self) {
        self.claiming();
        let (token, _) = self.sent.pop().expect("a claim");
        let granted = pack_rids(&self.rids);
        let grant = wire::Grant { bid: self.bid.to_bytes(), epoch: 1, granted, ..Default::default() };
        self.give(Input::Answer(token.expect("a token"), Some(reply::Body::Grant(grant))));
        assert!(matches!(self.op(), Op::Open(_)));
    }

    fn uploading(&mut self) {
        self.granted();
        assert!(matches!(self.op(), Op::Upload { .. }));
    }

    fn intending(&mut self) {
        self.uploading();
        self.did(Did::Uploaded(Ok("file-1".into())));
    }

    fn creating(&mut self) {
        self.granted();
        self.uploaded("file-1");
        assert!(matches!(self.op(), Op::Create { .. }));
    }

    fn finding(&mut self) {
        self.creating();
        self.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    }

    fn fencing_what_was_created(&mut self) {
        self.finding();
        while matches!(self.op(), Op::Find { .. }) {
            self.did(Did::Found(Ok((Vec::new(), true))));
        }
    }

    fn settling(&mut self) {
        self.fencing_what_was_created();
        self.did(Did::Deleted("file-1".into(), Ok(Gone::Deleted)));
    }

    fn refused_whole(&mut self) {
        self.polling();
        assert!(matches!(self.op(), Op::Poll { .. }));
        let errors = vec![("invalid_request".to_owned(), None, "no".to_owned())];
        self.did(Did::Polled(Ok(JobView { errors, ..job(JobPhase::Failed) })));
    }

    fn delivering(&mut self) {
        self.polling();
        assert!(matches!(self.op(), Op::Poll { .. }));
        self.did(Did::Polled(Ok(JobView { counts: Some((1, 1, 0)), ..job(JobPhase::Completed) })));
        assert!(matches!(self.op(), Op::Download { .. }));
    }

    fn flushing(&mut self) {
        self.delivering();
        self.did(Did::Downloaded(Ok(succeeded(&self.rids))));
        assert_eq!(self.op(), Op::Flush);
    }

    fn lingering(&mut self) {
        self.unread = Some(1);
        self.flushing();
        self.did(Did::Flushed);
    }

    fn given_back(&mut self) {
        self.uploading();
        self.give(Input::Drain);
        assert!(matches!(self.op(), Op::Tell(..)));
        assert_eq!(self.op(), Op::Flush);
    }

    fn releasing(&mut self) {
        self.uploading();
        let (pid, role) = (Pid::random().to_bytes(), Role::Submitter.into());
        self.give(Input::Heartbeat(wire::Heartbeat { pid, role, ..Default::default() }));
        self.give(Input::Drain);
    }
}

#[test]
fn what_may_have_been_submitted_counts_and_what_can_be_sent_anew_does_not() {
    const FREE: Option<bool> = None;
    const UNDECIDED: Option<bool> = Some(true);
    const SUBMITTED: Option<bool> = Some(false);
    type Case = (&'static str, fn(&mut World), Option<bool>, Option<bool>);
    // In this state, with the ingress there, and given up.
    let cases: [Case; 15] = [
        ("claiming", World::claiming, UNDECIDED, FREE),
        ("opening", World::opening, UNDECIDED, UNDECIDED),
        ("uploading", World::uploading, UNDECIDED, FREE),
        ("intending", World::intending, UNDECIDED, FREE),
        ("creating", World::creating, UNDECIDED, UNDECIDED),
        ("finding", World::finding, UNDECIDED, UNDECIDED),
        ("fencing", World::fencing_what_was_created, UNDECIDED, UNDECIDED),
        ("settling", World::settling, UNDECIDED, UNDECIDED),
        ("polling", World::polling, SUBMITTED, SUBMITTED),
        ("refused", World::refused_whole, UNDECIDED, UNDECIDED),
        ("delivering", World::delivering, SUBMITTED, SUBMITTED),
        ("flushing", World::flushing, SUBMITTED, SUBMITTED),
        ("lingering", World::lingering, SUBMITTED, SUBMITTED),
        ("given back", World::given_back, FREE, FREE),
        ("releasing", World::releasing, FREE, FREE),
    ];
    for (state, reach, live, lost) in cases {
        let mut world = World::of(&[PLAIN]);
        reach(&mut world);
        assert_eq!(world.standing(), live, "{state}, live");
        world.leaves_unread(world.ingress, 1);
        assert_eq!(world.standing(), lost, "{state}, lost");
    }
}

#[test]
fn a_call_learns_all_that_it_takes_to_take_the_batch_over() {
    let mut world = World::of(&[PLAIN]);
    world.polling();
    world.leaves_unread(world.ingress, 1);
    world.now += Duration::from_secs(3);
    let holds = world.asks(key(""), &[(Rid::random(), PLAIN)]);
    let [batch] = &holds.batches[..] else { panic!("{holds:?}") };
    assert_eq!(
        (&batch.origin, &batch.ingress, &batch.files[..], &*batch.job),
        (&world.bid.to_bytes(), &world.ingress.to_bytes(), &["file-1".to_owned()][..], "batch_1")
    );
    assert!(batch.age_ms >= 3_000);
    assert!(holds.conflicts.is_empty() && holds.orphans.is_empty() && holds.twins.is_empty());
}

#[test]
fn lines_left_out_of_the_file_are_free_and_the_others_are_not() {
    let mut world = World::of(&[PLAIN]);
    let another = world.polling_with_another();
    // The second ingress is lost before a later upload of the same batch.
    assert!(matches!(world.op(), Op::Poll { .. }));
    world.leaves_unread(world.ingress, 1);
    assert_eq!(world.standing(), Some(false));
    let errors = vec![("token_limit_exceeded".to_owned(), None, "full".to_owned())];
    world.did(Did::Polled(Ok(JobView { errors, ..job(JobPhase::Failed) })));
    assert_eq!(world.standing(), None, "nothing was executed and the next file is without it");
    assert_eq!(world.core.batches[&world.bid].grants[0].ingress, another);
}

#[test]
fn what_was_given_back_for_want_of_room_is_free() {
    let mut world = World::of(&[PLAIN; 4]);
    world.polling();
    assert!(matches!(world.op(), Op::Poll { .. }));
    let errors = vec![("token_limit_exceeded".to_owned(), None, "Limit: 2 enqueued tokens.".to_owned())];
    world.did(Did::Polled(Ok(JobView { errors, ..job(JobPhase::Failed) })));
    let given_back = world.ops.iter().find_map(|op| match op {
        Op::Tell(rids, _) => Some(rids.clone()),
        _ => None,
    });
    let calls: Vec<_> = (0..4).map(|_| (Rid::random(), PLAIN)).collect();
    let found: BTreeSet<Rid> = world.originals(&calls).into_iter().map(|(_, rid, _)| rid).collect();
    let given_back: BTreeSet<Rid> = given_back.expect("half of it").into_iter().collect();
    assert_eq!((found.len(), given_back.len()), (2, 2));
    assert!(found.is_disjoint(&given_back));
}

#[test]
fn equal_calls_get_originals_of_their_own_as_long_as_there_are_any() {
    let mut world = World::of(&[PLAIN; 3]);
    world.polling();
    world.leaves_unread(world.ingress, 1);
    let calls: Vec<_> = (0..3).map(|_| (Rid::random(), PLAIN)).collect();
    let found = world.originals(&calls);
    let rids: BTreeSet<Rid> = found.iter().map(|(_, rid, _)| *rid).collect();
    assert_eq!(rids, world.rids.iter().copied().collect());
    assert_eq!(found.iter().map(|(caller, ..)| *caller).collect::<BTreeSet<_>>().len(), 3);
    let calls: Vec<_> = (0..5).map(|_| (Rid::random(), PLAIN)).collect();
    let found = world.originals(&calls);
    let rids: BTreeSet<Rid> = found.iter().map(|(_, rid, _)| *rid).collect();
    assert_eq!((found.len(), rids.len()), (5, 3), "the others share");
    assert_eq!(world.originals(&calls), found, "a question changes nothing");
}

#[test]
fn originals_that_nobody_waits_for_come_first() {
    let mut world = World::of(&[PLAIN]);
    world.polling();
    let (lost, first) = (world.rids[0], world.bid);
    world.leaves_unread(world.ingress, 1);
    let served: Vec<Rid> = (0..8).map(|_| PLAIN.rid()).collect();
    (world.ingress, world.bid, world.rids) = (Pid::random(), Bid::random(), served.clone());
    world.ops.clear();
    world.polling();
    assert!(world.core.batches.contains_key(&first));
    let calls: Vec<_> = (0..2).map(|_| (Rid::random(), PLAIN)).collect();
    let found = world.originals(&calls);
    assert_eq!((found[0].1 == lost) as u8 + (found[1].1 == lost) as u8, 1, "one of them: {found:?}");
    assert!(found.iter().all(|(_, rid, _)| *rid == lost || served.contains(rid)));
}

#[test]
fn an_idempotency_key_finds_its_request_and_no_other_body() {
    let mut world = World::of(&[named(1, 1), named(2, 1), PLAIN]);
    world.polling();
    world.leaves_unread(world.ingress, 1);
    let caller = Rid::random();
    assert_eq!(world.originals(&[(caller, named(1, 1))]), [(caller, world.rids[0], false)]);
    assert_eq!(world.originals(&[(caller, named(2, 1))]), [(caller, world.rids[1], false)]);
    for (pairing, conflict) in [(named(1, 2), true), (named(3, 1), false), (named(1, 1), false)] {
        let holds = world.asks(key(""), &[(caller, pairing)]);
        assert_eq!(!holds.conflicts.is_empty(), conflict, "{pairing:?}");
        assert!(!conflict || holds.conflicts == caller.to_bytes() && holds.batches.is_empty());
    }
}

#[test]
fn a_key_that_was_never_submitted_can_be_used_anew() {
    let mut world = World::of(&[named(1, 1)]);
    world.uploading();
    world.leaves_unread(world.ingress, 1);
    let holds = world.asks(key(""), &[(Rid::random(), named(1, 2))]);
    assert_eq!(holds, wire::Holds::default());
}

#[test]
fn another_batch_key_never_matches() {
    let mut world = World::of(&[PLAIN, named(1, 1)]);
    world.polling();
    for pairing in [PLAIN, named(1, 1), named(1, 2)] {
        assert_eq!(world.asks(key("another"), &[(Rid::random(), pairing)]), wire::Holds::default());
    }
}

#[test]
fn nonsense_is_answered_with_nothing() {
    let mut world = World::of(&[PLAIN]);
    world.polling();
    let bad = wire::Call { caller: Bytes::from_static(b"x"), ..PLAIN.to_wire(Rid::random()) };
    let groups = vec![
        wire::WhoisGroup { key: None, calls: vec![PLAIN.to_wire(Rid::random())] },
        wire::WhoisGroup { key: Some(wire::BatchKey::default()), calls: vec![bad.clone()] },
        wire::WhoisGroup { key: Some(key("")), calls: vec![bad] },
    ];
    let mut out = Vec::new();
    world.core.handle(
        world.now,
        Input::Whois(wire::Whois { groups, ..Default::default() }, "reply".into()),
        &mut out,
    );
    assert!(
        matches!(&out[..], [Output::Reply(_, reply::Body::Holds(holds))] if *holds == wire::Holds::default())
    );
}

#[test]
fn results_of_a_lost_ingress_are_found_for_a_while_after_they_are_there() {
    let mut world = World::of(&[PLAIN]);
    world.polling();
    world.leaves_unread(world.ingress, 1);
    assert!(matches!(world.op(), Op::Poll { .. }));
    world.did(Did::Polled(Ok(JobView { counts: Some((1, 1, 0)), ..job(JobPhase::Completed) })));
    assert_eq!(world.op(), Op::Flush);
    assert_eq!(world.standing(), Some(false));
    world.did(Did::Flushed);
    assert_eq!(world.next_op(Duration::from_secs(895)), None);
    assert_eq!(world.standing(), Some(false));
    while let Some(Op::Delete { file }) = world.next_op(Duration::from_secs(10)) {
        world.did(Did::Deleted(file, Ok(Gone::Deleted)));
    }
    assert_eq!(world.standing(), None);
    assert_eq!(world.core.sizes().iter().map(|(_, size)| size).sum::<usize>(), 0, "and forgotten");
}

#[test]
fn what_every_caller_has_received_is_free_although_its_files_are_still_being_deleted() {
    let mut world = World::of(&[PLAIN]);
    world.flushing();
    world.did(Did::Flushed);
    assert!(matches!(world.op(), Op::Delete { .. }));
    world.leaves_unread(world.ingress, 1);
    assert!(!world.core.batches.is_empty());
    assert_eq!(world.standing(), None, "nothing could be delivered any more");
}

#[test]
fn what_was_taken_over_is_known_although_its_ingress_dies_before_the_grant_is_opened() {
    let mut world = World::of(&[PLAIN]);
    let claim = world.claims_of_another("batch_9", &["f1"]);
    let granted = pack_rids(&world.rids);
    let grant = wire::Grant { bid: world.bid.to_bytes(), epoch: 2, granted, ..Default::default() };
    world.give(Input::Answer(claim, Some(reply::Body::Grant(grant))));
    let Op::Open(boxes) = world.op() else { panic!() };
    world.hear(world.ingress, true);
    world.did(Did::Opened(boxes.into_iter().map(|(_, granted, _)| granted).collect()));
    // Its job is watched, and who repeats the request is told of it.
    assert!(matches!(world.op(), Op::Poll { job } if job == "batch_9"));
    assert_eq!(world.standing(), Some(false));
}
