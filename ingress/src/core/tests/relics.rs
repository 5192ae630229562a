//! Batches of which nothing waits any more, while something of them may be at the provider.

use super::recovery::{intent, is_accepted, recover};
use super::*;

impl World {
    fn relics(&self) -> usize {
        self.core.sizes().iter().find(|(what, _)| *what == "batches to be tidied up").unwrap().1
    }

    /// Lets time pass, in which these submitters are there, until the first question that is asked of one; its token, and
    /// the batches that are named as ended.
    fn asked(&mut self, living: &[Pid]) -> Option<(u64, Bytes)> {
        for _ in 0..60 {
            living.iter().for_each(|pid| drop(self.give(Input::Heartbeat(beat(*pid, Role::Submitter)))));
            let asked = self.pass(Duration::from_secs(1)).into_iter().find_map(|output| match output {
                Output::ToSubmitter(_, Some(token), to_submitter::Body::Sync(sync)) => {
                    Some((token, sync.ended))
                }
                _ => None,
            });
            if asked.is_some() {
                return asked;
            }
        }
        None
    }

    fn sync_reply(&mut self, token: u64, unknown: Bytes, left: Bytes) -> Vec<Output<usize>> {
        self.give(Input::Answer(token, Some(reply::Body::SyncReply(wire::SyncReply { unknown, left }))))
    }

    /// A batch whose one request has its answer.
    fn answered(&mut self) -> (Pid, Bid) {
        let (submitter, bid) = (self.join(Role::Submitter), Bid::random());
        let rid = self.hold("m", vec![1]);
        assert_eq!(self.claim(bid, submitter, &[rid]), [rid]);
        assert!(is_accepted(&self.give(intent(bid, 1, "f1", &[]))));
        let job = wire::Submitted { bid: bid.to_bytes(), epoch: 1, job: "job_1".into() };
        self.give(Input::Submitted(job, "reply".into()));
        assert_eq!(ends(&self.answer(rid, bid, submitter, "answer")).len(), 1);
        assert_eq!((self.core.held(), self.relics()), (0, 1));
        (submitter, bid)
    }
}

#[test]
fn the_upload_of_a_dead_submitter_is_tidied_up_by_another() {
    let mut world = World::new();
    let (dead, other) = (world.join(Role::Submitter), world.join(Role::Submitter));
    let (bid, rid) = (Bid::random(), world.hold("m", vec![1]));
    world.claim(bid, dead, &[rid]);
    let out = world.give(Input::Heartbeat(wire::Heartbeat { leaving: true, ..beat(dead, Role::Submitter) }));
    let (to, _, asked) = recover(&out).expect("asked at once");
    assert_eq!((to, asked.origin.clone()), (other, bid.to_bytes()));
    assert!(asked.files.is_empty() && asked.part.unwrap().rids.is_empty());
    // The request is free all the same.
    assert_eq!(world.claim(Bid::random(), other, &[rid]), [rid]);
    let next = Bid::from_slice(&asked.bid).unwrap();
    assert_eq!(world.claim(next, other, &[]), []);
    assert!(!is_accepted(&world.give(intent(next, 2, "f1", &[]))), "nothing is created from it");
    assert_eq!(world.relics(), 1);
    let tidy =
        |epoch| Input::Released(wire::Released { bid: next.to_bytes(), epoch, tidy: true }, "r".into());
    world.give(tidy(1));
    assert_eq!(world.relics(), 1, "another's word");
    world.give(tidy(2));
    assert_eq!(world.relics(), 0);
}

#[test]
fn an_answered_batch_is_remembered_until_its_submitter_is_tidy() {
    let mut world = World::new();
    let (submitter, bid) = world.answered();
    assert!(!is_accepted(&world.give(intent(bid, 1, "f2", &["f1"]))), "nothing of it waits");
    let (token, ended) = world.asked(&[submitter]).unwrap();
    assert_eq!(ended, bid.to_bytes());
    world.sync_reply(token, Bytes::new(), Bytes::new());
    assert_eq!(world.relics(), 1);
    let (token, ended) = world.asked(&[submitter]).unwrap();
    world.sync_reply(token, ended, Bytes::new());
    assert_eq!(world.relics(), 0);
}

#[test]
fn what_a_submitter_had_not_tidied_up_when_it_died_or_left_another_does() {
    for leaves in [true, false] {
        let mut world = World::new();
        let (submitter, bid) = world.answered();
        let other = world.join(Role::Submitter);
        let out = match leaves {
            true => {
                let (token, ended) = world.asked(&[submitter, other]).unwrap();
                world.sync_reply(token, Bytes::new(), ended)
            }
            false => {
                let farewell = wire::Heartbeat { leaving: true, ..beat(submitter, Role::Submitter) };
                world.give(Input::Heartbeat(farewell))
            }
        };
        let (_, _, asked) = recover(&out).expect("another is asked");
        assert_eq!((asked.origin, &*asked.job), (bid.to_bytes(), "job_1"));
        assert_eq!(asked.files, ["f1"]);
        assert!(asked.part.unwrap().rids.is_empty());
    }
}

#[test]
fn who_was_to_tidy_up_and_knows_nothing_of_it_is_asked_again() {
    let mut world = World::new();
    let (submitter, _) = world.answered();
    let other = world.join(Role::Submitter);
    let out =
        world.give(Input::Heartbeat(wire::Heartbeat { leaving: true, ..beat(submitter, Role::Submitter) }));
    let (_, _, first) = recover(&out).unwrap();
    world.claim(Bid::from_slice(&first.bid).unwrap(), other, &[]);
    let (token, ended) = world.asked(&[other]).unwrap();
    assert_eq!(ended, first.bid);
    let (_, _, second) = recover(&world.sync_reply(token, ended, Bytes::new())).expect("its grant was lost");
    assert_eq!(first.origin, second.origin);
    assert_ne!(first.bid, second.bid);
}

#[test]
fn nobody_is_looked_for_for_ever() {
    let mut world = World::new();
    let (submitter, _) = world.answered();
    world.give(Input::Heartbeat(wire::Heartbeat { leaving: true, ..beat(submitter, Role::Submitter) }));
    world.pass(Duration::from_secs(3500));
    assert_eq!(world.relics(), 1);
    world.pass(Duration::from_secs(110));
    assert_eq!(world.relics(), 0);
}
