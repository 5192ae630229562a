//! Batches that were another submitter's, and batches that are left to another.

use super::*;

const ORIGIN: Bid = Bid([9; 16]);

fn job(phase: JobPhase, lines: u64) -> JobView {
    JobView {
        id: "batch_9".into(),
        phase,
        status: "s".into(),
        input_file: Some("f1".into()),
        output_file: Some("out".into()),
        error_file: None,
        counts: Some((lines, lines, 0)),
        errors: Vec::new(),
    }
}

impl World {
    /// Asked to take over; returns the token of the claim.
    pub(super) fn claims_of_another(&mut self, job: &str, files: &[&str]) -> u64 {
        let key = wire::BatchKey { fingerprint: vec![7; 16].into(), ..Default::default() };
        let part = wire::OfferPart {
            ingress: self.ingress.to_bytes(),
            reply: "r".into(),
            rids: pack_rids(&self.rids),
        };
        let recover = wire::Recover {
            bid: self.bid.to_bytes(),
            origin: ORIGIN.to_bytes(),
            key: Some(key),
            part: Some(part),
            files: files.iter().map(ToString::to_string).collect(),
            job: job.into(),
            age_ms: 60_000,
        };
        self.give(Input::Recover(recover.clone(), "reply".into()));
        self.give(Input::Recover(recover, "reply".into()));
        let claims: Vec<_> =
            self.sent.drain(..).filter(|(_, body)| matches!(body, to_ingress::Body::Claim(_))).collect();
        assert_eq!(claims.len(), 1, "asked twice, it claims once");
        claims[0].0.expect("a token")
    }

    /// Asked to take over, claimed, granted, opened.
    pub(super) fn takes_over(&mut self, job: &str, files: &[&str]) {
        let claim = self.claims_of_another(job, files);
        let grant = wire::Grant {
            bid: self.bid.to_bytes(),
            epoch: 2,
            granted: pack_rids(&self.rids),
            fence_files: files.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        self.give(Input::Answer(claim, Some(reply::Body::Grant(grant))));
        let Op::Open(boxes) = self.op() else { panic!() };
        self.did(Did::Opened(boxes.into_iter().map(|(_, granted, _)| granted).collect()));
    }

    fn downloads(&mut self, lines: u64) {
        let Op::Download { .. } = self.op() else { panic!() };
        let answered: BTreeSet<Rid> = self.rids.iter().copied().collect();
        self.did(Did::Downloaded(Ok(Lines {
            seen: answered.clone(),
            answered,
            succeeded: lines,
            failed: 0,
            unreadable: 0,
        })));
        assert_eq!(self.op(), Op::Flush);
        self.did(Did::Flushed);
    }

    pub(super) fn released(&self) -> Vec<u64> {
        let released = |(token, body): &(Option<u64>, to_ingress::Body)| {
            matches!(body, to_ingress::Body::Released(_)).then_some(token.unwrap())
        };
        self.sent.iter().filter_map(released).collect()
    }
}

#[test]
fn a_job_that_is_known_is_watched_and_delivered() {
    let mut world = World::new(3);
    world.takes_over("batch_9", &["f1"]);
    assert_eq!(world.op(), Op::Poll { job: "batch_9".into() });
    world.did(Did::Polled(Ok(job(JobPhase::Completed, 3))));
    world.downloads(3);
    let deleted: BTreeSet<String> = (0..2)
        .map(|_| match world.op() {
            Op::Delete { file } => file,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(deleted, ["f1".to_owned(), "out".to_owned()].into());
}

#[test]
fn a_job_that_is_not_known_is_looked_for_by_its_first_id() {
    let mut world = World::new(3);
    world.takes_over("", &["f1", "f2"]);
    let Op::Find { batch, age, .. } = world.op() else { panic!() };
    assert_eq!(batch, ORIGIN);
    assert!(age >= Duration::from_secs(60));
    let other = JobView { id: "other".into(), input_file: Some("f0".into()), ..job(JobPhase::Running, 3) };
    world.did(Did::Found(Ok((vec![other, job(JobPhase::Running, 3)], true))));
    assert_eq!(world.op(), Op::Poll { job: "batch_9".into() }, "the one made from a registered file");
}

#[test]
fn without_a_job_every_file_is_deleted_and_the_requests_are_released() {
    let mut world = World::new(3);
    world.takes_over("", &["f1", "f2"]);
    let mut deleted = Vec::new();
    let mut lists_after = 0;
    while world.released().is_empty() {
        match world.op() {
            Op::Find { .. } => {
                lists_after += usize::from(deleted.len() == 2);
                world.did(Did::Found(Ok((Vec::new(), true))));
            }
            Op::Delete { file } => {
                deleted.push(file.clone());
                world.did(Did::Deleted(file, Ok(Gone::Deleted)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((deleted, lists_after), (vec!["f1".to_owned(), "f2".to_owned()], 2));
    // Said again until it is heard.
    assert_eq!(world.next_op(Duration::from_secs(3)), None);
    let tokens = world.released();
    assert!(tokens.len() >= 2);
    let ack = reply::Body::Ack(wire::Ack { unknown: false });
    world.give(Input::Answer(*tokens.last().unwrap(), Some(ack)));
    assert_eq!(world.op(), Op::Flush);
}

/// An ingress that was left out of the file has nothing to be deleted and nothing to be looked for.
#[test]
fn without_a_file_the_requests_are_released_at_once() {
    let mut world = World::new(3);
    world.takes_over("", &[]);
    let tokens = world.released();
    assert_eq!((tokens.len(), world.ops.as_slice()), (1, &[][..]));
    let ack = reply::Body::Ack(wire::Ack { unknown: false });
    world.give(Input::Answer(tokens[0], Some(ack)));
    assert_eq!(world.op(), Op::Flush);
}

#[test]
fn files_that_others_may_need_stay_for_a_while() {
    let mut world = World::new(3);
    world.takes_over("batch_9", &["f1"]);
    world.op();
    // Ten lines, and only three are served here.
    world.did(Did::Polled(Ok(job(JobPhase::Completed, 10))));
    world.downloads(10);
    let done_at = world.now;
    let deleted = world.tidies(&[]);
    assert!(deleted.iter().all(|(at, _)| *at - done_at >= Duration::from_secs(900)), "{deleted:?}");
    let files: BTreeSet<_> = deleted.iter().map(|(_, file)| file.as_str()).collect();
    assert_eq!(files, ["f1", "out"].into());
}

#[test]
fn a_submitter_that_leaves_hands_its_jobs_over_where_others_are() {
    for others in [true, false] {
        let mut world = World::new(2);
        world.takes_over("batch_9", &["f1"]);
        world.op();
        world.did(Did::Polled(Ok(job(JobPhase::Running, 2))));
        if others {
            let beat = wire::Heartbeat {
                pid: Pid::random().to_bytes(),
                role: Role::Submitter.into(),
                ..Default::default()
            };
            world.give(Input::Heartbeat(beat));
        }
        world.give(Input::Drain);
        match others {
            true => {
                // Only when its ingress is heard of, or there might be nobody who has it taken over.
                assert!(matches!(world.op(), Op::Poll { .. }));
                let asked = |sent: &(Option<u64>, to_ingress::Body)| match &sent.1 {
                    to_ingress::Body::Submitted(submitted) if submitted.job == "batch_9" => sent.0,
                    _ => None,
                };
                let token = world.sent.iter().rev().find_map(asked).expect("it is asked");
                let ack = reply::Body::Ack(wire::Ack { unknown: false });
                world.give(Input::Answer(token, Some(ack)));
                assert_eq!(world.op(), Op::Flush);
                assert!(!world.core.is_finished());
                let bids = world.bid.to_bytes();
                world.did(Did::Flushed);
                assert_eq!(world.synced(bids.clone(), Bytes::new()), (Bytes::new(), bids.clone()));
                assert_eq!(world.synced(Bytes::new(), bids.clone()), (Bytes::new(), bids));
                assert!(world.core.is_finished(), "and leaves its files");
            }
            false => assert!(matches!(world.op(), Op::Poll { .. }), "goes on as long as it may"),
        }
    }
}

/// As when many batches are taken over at once and the answers wait until the claims were made again.
#[test]
fn a_grant_counts_that_comes_when_its_claim_was_made_again() {
    let mut world = World::new(2);
    let claim = world.claims_of_another("batch_9", &["f1"]);
    assert_eq!(world.next_op(Duration::from_secs(2)), None);
    let again = world.sent.iter().any(|(_, body)| matches!(body, to_ingress::Body::Claim(_)));
    assert!(again, "no answer for two seconds");
    let grant = wire::Grant {
        bid: world.bid.to_bytes(),
        epoch: 2,
        granted: pack_rids(&world.rids),
        ..Default::default()
    };
    world.give(Input::Answer(claim, Some(reply::Body::Grant(grant))));
    // Of its ingress the bus says now that nobody is there.
    world.give(Input::Answer(claim, None));
    assert!(matches!(world.op(), Op::Open(_)));
}
