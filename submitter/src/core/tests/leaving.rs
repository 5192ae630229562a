//! What becomes of batches that are not submitted yet when their submitter is told to stop.

use super::*;

impl World {
    pub(super) fn hears_of_another_submitter(&mut self) {
        let pid = Pid::random().to_bytes();
        self.give(Input::Heartbeat(wire::Heartbeat {
            pid,
            role: Role::Submitter.into(),
            ..Default::default()
        }));
    }

    /// Offers a batch of these ingresses, and returns the tokens of the claims.
    fn offered(&mut self, ingresses: &[Pid]) -> Vec<u64> {
        let key = wire::BatchKey { fingerprint: vec![7; 16].into(), ..Default::default() };
        let part = |ingress: &Pid| wire::OfferPart {
            ingress: ingress.to_bytes(),
            reply: "r".into(),
            rids: pack_rids(&self.rids),
        };
        let parts = ingresses.iter().map(part).collect();
        let offer = wire::Offer { bid: self.bid.to_bytes(), key: Some(key), parts, bytes: 10 };
        self.give(Input::Offer(offer, "reply".into()));
        self.sent.drain(..).map(|(token, _)| token.expect("a token")).collect()
    }

    fn grant(&mut self, token: u64, epoch: u32) {
        let granted = pack_rids(&[Rid::random()]);
        let grant = wire::Grant { bid: self.bid.to_bytes(), epoch, granted, ..Default::default() };
        self.give(Input::Answer(token, Some(reply::Body::Grant(grant))));
    }

    fn opened(&mut self) {
        let Op::Open(boxes) = self.op() else { panic!("the boxes are opened first") };
        self.did(Did::Opened(boxes.into_iter().map(|(_, granted, _)| granted).collect()));
    }

    /// Epochs of the releases that were sent, with their tokens.
    fn releases(&mut self) -> Vec<(u32, u64)> {
        let release = |(token, body): (Option<u64>, to_ingress::Body)| match body {
            to_ingress::Body::Released(released) => Some((released.epoch, token.expect("a token"))),
            _ => None,
        };
        self.sent.drain(..).filter_map(release).collect()
    }

    fn acknowledge(&mut self, token: u64) {
        self.give(Input::Answer(token, Some(reply::Body::Ack(wire::Ack { unknown: false }))));
    }

    /// Answers what tidies up until the machine has ended; returns the files that were deleted.
    fn leaves(&mut self) -> Vec<String> {
        let mut deleted = Vec::new();
        while !self.core.is_finished() {
            match self.op() {
                Op::Flush => self.did(Did::Flushed),
                Op::Sweep { .. } => self.did(Did::Swept(Ok(0))),
                Op::Delete { file } => {
                    deleted.push(file.clone());
                    self.did(Did::Deleted(file, Ok(Gone::Deleted)));
                }
                other => panic!("{other:?} of a batch that is left to others"),
            }
        }
        deleted
    }
}

#[test]
fn every_ingress_gets_its_requests_back_and_the_file_goes() {
    let mut world = World::new(1);
    let ingresses = [world.ingress, Pid::random()];
    let claims = world.offered(&ingresses);
    world.grant(claims[0], 1);
    world.grant(claims[1], 2);
    world.opened();
    assert!(matches!(world.op(), Op::Upload { .. }));
    world.did(Did::Uploaded(Ok("file-1".into())));
    world.sent.clear();
    world.hears_of_another_submitter();
    world.give(Input::Drain);
    let releases = world.releases();
    assert_eq!(releases.iter().map(|(epoch, _)| *epoch).collect::<BTreeSet<_>>(), [1, 2].into());
    world.acknowledge(releases[0].1);
    assert_eq!(world.next_op(Duration::from_millis(3_500)), None, "the other has not heard it");
    let again = world.releases();
    assert_eq!(again.iter().map(|(epoch, _)| *epoch).collect::<BTreeSet<_>>(), [releases[1].0].into());
    assert!(again.len() >= 2, "said again and again");
    world.acknowledge(again[again.len() - 1].1);
    assert_eq!(world.leaves(), ["file-1"]);
    assert_eq!(world.releases(), []);
}

#[test]
fn an_upload_under_way_leaves_no_file() {
    let mut world = World::new(1);
    world.granted();
    assert!(matches!(world.op(), Op::Upload { .. }));
    world.hears_of_another_submitter();
    world.give(Input::Drain);
    let (_, token) = world.releases()[0];
    world.acknowledge(token);
    assert_eq!(world.op(), Op::Flush);
    world.did(Did::Flushed);
    assert!(!world.core.is_finished(), "while it may make a file");
    world.did(Did::Uploaded(Ok("file-1".into())));
    assert_eq!(world.leaves(), ["file-1"]);
}

#[test]
fn what_is_about_to_be_granted_is_given_back_when_it_is() {
    let mut world = World::new(1);
    let ingresses = [world.ingress, Pid::random()];
    let claims = world.offered(&ingresses);
    world.grant(claims[0], 1);
    world.hears_of_another_submitter();
    world.give(Input::Drain);
    assert_eq!(world.releases(), []);
    world.grant(claims[1], 2);
    world.opened();
    let releases = world.releases();
    assert_eq!(releases.iter().map(|(epoch, _)| *epoch).collect::<BTreeSet<_>>(), [1, 2].into());
    releases.into_iter().for_each(|(_, token)| world.acknowledge(token));
    assert!(world.leaves().is_empty());
}

#[test]
fn a_claim_without_an_answer_is_not_waited_for() {
    let mut world = World::new(1);
    let ingresses = [world.ingress, Pid::random()];
    let claims = world.offered(&ingresses);
    world.grant(claims[0], 1);
    world.hears_of_another_submitter();
    world.give(Input::Drain);
    let ordered = world.now;
    world.opened();
    assert!(world.now - ordered <= Duration::from_secs(1));
    assert_eq!(world.releases().len(), 1);
}

#[test]
fn nobody_is_told_that_there_is_no_job_before_it_is_proved() {
    let mut world = World::new(1);
    world.takes_over("", &["f1"]);
    assert!(matches!(world.op(), Op::Find { .. }));
    world.hears_of_another_submitter();
    world.give(Input::Drain);
    assert!(world.released().is_empty() && !world.core.batches.is_empty());

    let mut world = World::new(1);
    world.claims_of_another("", &["f1"]);
    world.hears_of_another_submitter();
    world.give(Input::Drain);
    assert!(world.released().is_empty());
    assert!(world.core.is_finished(), "another is asked at the farewell");
}

#[test]
fn without_another_submitter_the_callers_are_told() {
    let mut world = World::new(1);
    world.granted();
    assert!(matches!(world.op(), Op::Upload { .. }));
    world.did(Did::Uploaded(Ok("file-1".into())));
    world.give(Input::Drain);
    let Op::Tell(rids, Outcome::Fault(fault)) = world.op() else { panic!("told") };
    assert_eq!((rids, fault.code.as_str()), (world.rids.clone(), "shutting_down"));
    assert_eq!(world.leaves(), ["file-1"]);
    assert!(world.released().is_empty());
}
