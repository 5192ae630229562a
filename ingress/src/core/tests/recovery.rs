//! Submitters that die with batches in hand.

use super::*;

pub(super) fn recover(out: &[Output<usize>]) -> Option<(Pid, u64, wire::Recover)> {
    out.iter().find_map(|output| match output {
        Output::ToSubmitter(pid, Some(token), to_submitter::Body::Recover(recover)) => {
            Some((*pid, *token, wire::Recover::clone(recover)))
        }
        _ => None,
    })
}

pub(super) fn intent(bid: Bid, epoch: u32, file: &str, known: &[&str]) -> Input<usize> {
    let known_files = known.iter().map(ToString::to_string).collect();
    let intent = wire::Intent { bid: bid.to_bytes(), epoch, file: file.into(), known_files };
    Input::Intent(intent, "reply".into())
}

pub(super) fn is_accepted(out: &[Output<usize>]) -> bool {
    out.iter().any(|o| matches!(o, Output::Reply(_, reply::Body::IntentReply(r)) if r.accepted))
}

/// A batch of two requests whose submitter registered a file, told of a job, and died.
struct Orphaned {
    world: World,
    dead: Pid,
    bid: Bid,
    rids: [Rid; 2],
}

impl Orphaned {
    fn new(job: &str) -> Self {
        let mut world = World::new();
        let dead = world.join(Role::Submitter);
        let bid = Bid::random();
        let rids = [world.hold("m", vec![1]), world.hold("m", vec![2])];
        world.claim(bid, dead, &rids);
        assert!(is_accepted(&world.give(intent(bid, 1, "f1", &[]))));
        if !job.is_empty() {
            let submitted = wire::Submitted { bid: bid.to_bytes(), epoch: 1, job: job.into() };
            world.give(Input::Submitted(submitted, "reply".into()));
        }
        Self { world, dead, bid, rids }
    }

    /// The first submitter falls silent while another is there.
    fn dies(&mut self, other: Pid) -> (Pid, u64, wire::Recover) {
        for _ in 0..20 {
            let out = self.world.pass(Duration::from_secs(1));
            if let Some(asked) = recover(&out) {
                return asked;
            }
            self.world.give(Input::Heartbeat(beat(other, Role::Submitter)));
        }
        panic!("nobody was asked");
    }
}

#[test]
fn a_dead_submitters_batch_is_taken_over_by_another() {
    let mut orphaned = Orphaned::new("job_1");
    let other = orphaned.world.join(Role::Submitter);
    let (asked, token, recover) = orphaned.dies(other);
    assert_eq!(asked, other);
    assert_eq!((recover.files, &*recover.job), (vec!["f1".to_owned()], "job_1"));
    assert_eq!(recover.origin, orphaned.bid.to_bytes());
    assert!(recover.age_ms >= 8_000);
    let Orphaned { mut world, bid, rids, dead } = orphaned;
    let next = Bid::from_slice(&recover.bid).unwrap();
    assert_ne!(next, bid);
    world.give(Input::Answer(token, Some(reply::Body::OfferReply(wire::OfferReply { accepted: true }))));
    assert_eq!(world.claim(next, dead, &rids), [], "only who was asked may claim");
    assert_eq!(world.claim(next, other, &rids), rids);
    // The dead one wakes up: it may not create anything any more.
    assert!(!is_accepted(&world.give(intent(bid, 1, "f2", &["f1"]))));
    // But what it delivers of the job is as good as any.
    assert_eq!(ends(&world.answer(rids[0], bid, dead, "late")).len(), 1);
    assert_eq!(ends(&world.answer(rids[0], next, other, "again")).len(), 0);
    assert_eq!(ends(&world.answer(rids[1], next, other, "mine")).len(), 1);
    assert_eq!(world.core.held(), 0);
}

#[test]
fn whoever_had_a_batch_is_told_of_all_its_answers_that_nobody_has_received() {
    let mut orphaned = Orphaned::new("job_1");
    let other = orphaned.world.join(Role::Submitter);
    let (_, _, recover) = orphaned.dies(other);
    let Orphaned { mut world, bid, rids, dead } = orphaned;
    let next = Bid::from_slice(&recover.bid).unwrap();
    world.claim(next, other, &rids);
    world.answer(rids[0], next, other, "one");
    // The first submitter was only paused: it delivers what is there already, and the rest.
    world.answer(rids[0], bid, dead, "one");
    assert_eq!((world.unread(bid), world.unread(next)), (1, 1));
    world.answer(rids[1], bid, dead, "two");
    assert_eq!((world.unread(bid), world.unread(next)), (2, 2));
    for (left, rid) in [(1, rids[0]), (0, rids[1])] {
        world.give(Input::Received(rid));
        assert_eq!((world.unread(bid), world.unread(next)), (left, left));
    }
}

#[test]
fn what_has_its_answer_is_not_recovered() {
    let mut orphaned = Orphaned::new("job_1");
    let (bid, dead, rids) = (orphaned.bid, orphaned.dead, orphaned.rids);
    orphaned.world.answer(rids[0], bid, dead, "in time");
    let other = orphaned.world.join(Role::Submitter);
    let (_, _, recover) = orphaned.dies(other);
    assert_eq!(recover.part.unwrap().rids, pack_rids(&rids[1..]));
    let next = Bid::from_slice(&recover.bid).unwrap();
    assert_eq!(orphaned.world.claim(next, other, &rids), rids[1..]);
}

#[test]
fn requests_without_a_job_go_to_a_batcher_again_once_that_is_proved() {
    let mut orphaned = Orphaned::new("");
    let other = orphaned.world.join(Role::Submitter);
    let (_, _, recover) = orphaned.dies(other);
    let Orphaned { mut world, bid, rids, .. } = orphaned;
    let next = Bid::from_slice(&recover.bid).unwrap();
    world.claim(next, other, &rids);
    assert_eq!(world.claim(Bid::random(), other, &rids), [], "not before");
    let released = |bid: Bid, epoch| {
        Input::Released(wire::Released { bid: bid.to_bytes(), epoch, tidy: false }, "reply".into())
    };
    world.give(released(next, 1));
    world.give(released(bid, 2));
    assert_eq!(world.claim(Bid::random(), other, &rids), [], "nor by who does not hold it");
    world.give(released(next, 2));
    world.join(Role::Batcher);
    assert_eq!(announced(&world.pass(Duration::from_millis(5)))[0].2, 2);
    assert_eq!(world.claim(Bid::random(), other, &rids), rids);
}

#[test]
fn whoever_dies_while_taking_over_is_replaced_too() {
    let mut orphaned = Orphaned::new("");
    let second = orphaned.world.join(Role::Submitter);
    let (_, token, first_ask) = orphaned.dies(second);
    let third = orphaned.world.join(Role::Submitter);
    // Nobody serves its subject: it is gone.
    let out = orphaned.world.give(Input::Answer(token, None));
    let (asked, _, recover) = recover(&out).unwrap();
    assert_eq!((asked, &recover.origin), (third, &first_ask.origin));
    assert_ne!(recover.bid, first_ask.bid);
    assert_eq!(recover.files, ["f1"]);
}

#[test]
fn without_another_submitter_the_batch_waits_for_one() {
    let mut orphaned = Orphaned::new("job_1");
    let out = orphaned.world.pass(Duration::from_secs(60));
    assert!(recover(&out).is_none() && ends(&out).is_empty());
    let pid = Pid::random();
    let out = orphaned.world.give(Input::Heartbeat(beat(pid, Role::Submitter)));
    assert_eq!(recover(&out).unwrap().0, pid);
}

#[test]
fn one_that_takes_it_but_never_claims_is_asked_again() {
    let mut orphaned = Orphaned::new("job_1");
    let other = orphaned.world.join(Role::Submitter);
    let (_, token, first) = orphaned.dies(other);
    orphaned
        .world
        .give(Input::Answer(token, Some(reply::Body::OfferReply(wire::OfferReply { accepted: true }))));
    let (_, _, second) = orphaned.dies(other);
    assert_eq!(first.bid, second.bid);
}

#[test]
fn a_submitter_that_has_given_this_ingress_up_is_found_out() {
    let Orphaned { mut world, dead: submitter, bid, rids } = Orphaned::new("job_1");
    let asked = |out: &[Output<usize>]| {
        out.iter().find_map(|output| match output {
            Output::ToSubmitter(_, Some(token), to_submitter::Body::Sync(sync)) => {
                Some((*token, sync.bids.clone()))
            }
            _ => None,
        })
    };
    let mut question = None;
    for _ in 0..40 {
        let out = world.pass(Duration::from_secs(1));
        question = question.or(asked(&out));
        world.give(Input::Heartbeat(beat(submitter, Role::Submitter)));
    }
    let (_, bids) = question.expect("it is asked");
    assert_eq!(bids, bid.to_bytes());
    let mut token = None;
    while token.is_none() {
        let out = world.pass(Duration::from_secs(1));
        token = asked(&out).map(|(token, _)| token);
        world.give(Input::Heartbeat(beat(submitter, Role::Submitter)));
    }
    let unknown = reply::Body::SyncReply(wire::SyncReply { unknown: bid.to_bytes(), left: Bytes::new() });
    let out = world.give(Input::Answer(token.unwrap(), Some(unknown)));
    let (to, _, recover) = recover(&out).expect("its part is taken over");
    assert_eq!((to, &*recover.job), (submitter, "job_1"), "by whoever is there, and be it the same");
    assert_eq!(recover.part.unwrap().rids, pack_rids(&rids));
}

/// A submitter that leaves may have left this ingress out when it submitted the rest of a batch: nothing of it was created.
#[test]
fn what_was_not_registered_is_free_when_its_submitter_leaves_the_batch_to_others() {
    let mut world = World::new();
    let (leaving, other) = (world.join(Role::Submitter), world.join(Role::Submitter));
    let (bid, rid) = (Bid::random(), world.hold("m", vec![1]));
    assert_eq!(world.claim(bid, leaving, &[rid]), [rid]);
    let asked = |out: &[Output<usize>]| {
        out.iter().find_map(|output| match output {
            Output::ToSubmitter(_, Some(token), to_submitter::Body::Sync(sync)) if !sync.bids.is_empty() => {
                Some(*token)
            }
            _ => None,
        })
    };
    let mut token = None;
    while token.is_none() {
        let living = [leaving, other].map(|pid| Input::Heartbeat(beat(pid, Role::Submitter)));
        living.into_iter().for_each(|input| drop(world.give(input)));
        token = asked(&world.pass(Duration::from_secs(1)));
    }
    let left = reply::Body::SyncReply(wire::SyncReply { unknown: Bytes::new(), left: bid.to_bytes() });
    let out = world.give(Input::Answer(token.unwrap(), Some(left)));
    assert!(!is_accepted(&world.give(intent(bid, 1, "f1", &[]))), "not any more");
    assert_eq!(world.claim(Bid::random(), other, &[rid]), [rid], "free");
    let (_, _, recover) = recover(&out).expect("an upload of it is tidied up");
    assert!(recover.part.unwrap().rids.is_empty());
}

/// A claim that the bus repeats after its grant was taken back gets nothing: the file of the first may hold a request that is
/// another batch's by now, and the batch is remembered for what was left of it.
#[test]
fn a_repeated_claim_does_not_revive_a_grant_that_was_taken_back() {
    let mut world = World::new();
    let submitter = world.join(Role::Submitter);
    let (first, second) = (Bid::random(), Bid::random());
    let rids = [world.hold("m", vec![1]), world.hold("m", vec![2])];
    assert_eq!(world.claim(first, submitter, &rids), rids);
    for _ in 0..70 {
        world.pass(Duration::from_secs(1));
        world.give(Input::Heartbeat(beat(submitter, Role::Submitter)));
    }
    assert_eq!(world.claim(second, submitter, &rids[..1]), rids[..1], "its upload took too long");
    assert_eq!(world.claim(first, submitter, &rids), []);
    assert!(!is_accepted(&world.give(intent(first, 1, "with both", &[]))));
}
