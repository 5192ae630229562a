//! Batches that nobody waits for any more.

use super::*;

/// How often an ingress says it.
const EVERY: u64 = 5;

impl World {
    fn abandon(&mut self, ingress: Pid) {
        let word = wire::Abandoned { bid: self.bid.to_bytes(), ingress: ingress.to_bytes(), overdue: false };
        self.give(Input::Abandoned(word));
    }

    pub(super) fn hear(&mut self, ingress: Pid, leaving: bool) {
        let beat = wire::Heartbeat {
            pid: ingress.to_bytes(),
            role: Role::Ingress.into(),
            leaving,
            ..Default::default()
        };
        self.give(Input::Heartbeat(beat));
    }

    /// Lets seconds pass in which some ingresses say that nobody waits there. Polls find a job that runs; everything
    /// else that was started is returned, with its moment.
    fn pass(&mut self, seconds: u64, abandoning: &[Pid]) -> Vec<(Now, Op)> {
        let mut started = Vec::new();
        for second in 0..seconds {
            if second % EVERY == 0 {
                abandoning.iter().for_each(|ingress| self.abandon(*ingress));
            }
            self.hear(self.ingress, false);
            for op in std::mem::take(&mut self.ops) {
                match op {
                    Op::Poll { .. } => self.did(Did::Polled(Ok(job(JobPhase::Running)))),
                    other => started.push((self.now, other)),
                }
            }
            self.now += Duration::from_secs(1);
        }
        started
    }

    /// Lets seconds pass in which nobody is heard, until the ingresses are given up.
    fn silence(&mut self) {
        for _ in 0..12 {
            self.now += Duration::from_secs(1);
            let mut out = Vec::new();
            self.core.tick(self.now, &mut out);
            self.take(out);
        }
        assert!(self.core.batches[&self.bid].grants.is_empty());
    }

    /// A batch with another ingress, that granted as many requests as the first. Returns its pid.
    pub(super) fn polling_with_another(&mut self) -> Pid {
        let another = Pid::random();
        self.hear(another, false);
        let key = wire::BatchKey { fingerprint: vec![7; 16].into(), ..Default::default() };
        let parts = [self.ingress, another].map(|ingress| wire::OfferPart {
            ingress: ingress.to_bytes(),
            reply: "r".into(),
            rids: pack_rids(&self.rids),
        });
        let offer = wire::Offer { bid: self.bid.to_bytes(), key: Some(key), parts: parts.into(), bytes: 10 };
        self.give(Input::Offer(offer, "reply".into()));
        let others = self.rids.iter().map(|_| Rid::random()).collect::<Vec<_>>();
        let granted = [pack_rids(&self.rids), pack_rids(&others)];
        for ((token, _), granted) in std::mem::take(&mut self.sent).into_iter().zip(granted) {
            let grant = wire::Grant { bid: self.bid.to_bytes(), epoch: 1, granted, ..Default::default() };
            self.give(Input::Answer(token.expect("a token"), Some(reply::Body::Grant(grant))));
        }
        let Op::Open(boxes) = self.op() else { panic!("the boxes are opened first") };
        self.did(Did::Opened(boxes.into_iter().map(|(_, granted, _)| granted).collect()));
        assert!(matches!(self.op(), Op::Upload { .. }));
        self.did(Did::Uploaded(Ok("file-1".into())));
        for (token, _) in std::mem::take(&mut self.sent) {
            let accepted = wire::IntentReply { accepted: true, epoch: 1, files: vec!["file-1".into()] };
            self.give(Input::Answer(token.expect("a token"), Some(reply::Body::IntentReply(accepted))));
        }
        assert_eq!(self.op(), Op::Create { file: "file-1".into() });
        self.did(Did::Created(Ok(job(JobPhase::Running))));
        another
    }

    /// What everybody is told when the batch comes to nothing.
    fn told_cancelled(&mut self) {
        let Op::Tell(rids, Outcome::Fault(fault)) = self.op() else { panic!("the callers are told") };
        assert_eq!((rids, fault.code.as_str()), (self.rids.clone(), "batch_cancelled"));
        assert!(fault.class == FaultClass::Unavailable && !fault.no_retry);
    }
}

fn cancel() -> Op {
    Op::Cancel { job: "batch_1".into() }
}

fn ops(started: Vec<(Now, Op)>) -> Vec<Op> {
    started.into_iter().map(|(_, op)| op).collect()
}

#[test]
fn a_job_that_nobody_waits_for_is_cancelled_once_and_its_finished_lines_are_kept() {
    let mut world = World::new(3);
    world.polling();
    let ingress = world.ingress;
    world.abandon(ingress);
    world.abandon(ingress);
    assert_eq!(world.op(), cancel());
    world.did(Did::Cancelled(Ok(())));
    assert_eq!(ops(world.pass(300, &[ingress, ingress])), [], "once is enough");
    let ended = JobView { counts: Some((3, 2, 0)), ..job(JobPhase::Cancelled) };
    assert!(matches!(world.op(), Op::Poll { .. }));
    world.did(Did::Polled(Ok(ended)));
    assert!(matches!(world.op(), Op::Download { .. }));
    world.did(Did::Downloaded(Ok(succeeded(&world.rids[..2]))));
    let Op::Tell(rids, Outcome::Fault(fault)) = world.op() else { panic!("the third is told") };
    assert_eq!((rids, fault.code.as_str()), (vec![world.rids[2]], "batch_cancelled"));
    world.finish();
}

#[test]
fn a_job_that_somebody_waits_for_runs_on() {
    let mut world = World::new(1);
    let another = world.polling_with_another();
    let ingress = world.ingress;
    for second in 0..120 {
        world.hear(another, false);
        let abandoning = if second % EVERY == 0 { &[ingress][..] } else { &[] };
        assert_eq!(world.pass(1, abandoning), []);
    }
    world.abandon(another);
    assert_eq!(world.op(), cancel(), "now neither waits");
}

#[test]
fn an_ingress_that_was_given_up_is_waited_for_a_while() {
    let mut world = World::new(1);
    let another = world.polling_with_another();
    let ingress = world.ingress;
    world.hear(another, false);
    assert_eq!(ops(world.pass(15, &[ingress])), []);
    assert_eq!(world.core.batches[&world.bid].grants.len(), 1);
    assert_eq!(ops(world.pass(880, &[ingress])), [], "its callers may come back, or to another ingress");
    assert_eq!(ops(world.pass(40, &[ingress])), [cancel()]);
}

#[test]
fn results_that_nobody_can_be_given_wait_for_a_while() {
    let mut world = World::new(1);
    world.polling();
    let ingress = world.ingress;
    world.hear(ingress, false);
    world.silence();
    assert!(matches!(world.op(), Op::Poll { .. }));
    world.did(Did::Polled(Ok(job(JobPhase::Completed))));
    assert_eq!(world.op(), Op::Flush);
    world.did(Did::Flushed);
    assert_eq!(world.next_op(Duration::from_secs(880)), None);
    assert!(matches!(world.next_op(Duration::from_secs(40)), Some(Op::Delete { .. })));
}

#[test]
fn an_ingress_learns_that_it_was_given_up() {
    let mut world = World::new(1);
    world.polling();
    let (ingress, bid) = (world.ingress, world.bid);
    let unknown = |world: &mut World| {
        let sync = wire::Sync { ingress: ingress.to_bytes(), bids: bid.to_bytes(), ended: Bytes::new() };
        let mut out = Vec::new();
        world.core.handle(world.now, Input::Sync(sync, "reply".into()), &mut out);
        match &out[..] {
            [Output::Reply(_, reply::Body::SyncReply(reply))] => reply.unknown.clone(),
            _ => panic!("one answer"),
        }
    };
    assert_eq!(unknown(&mut world), Bytes::new());
    world.hear(ingress, false);
    world.silence();
    assert_eq!(unknown(&mut world), bid.to_bytes());
}

#[test]
fn jobs_that_are_to_be_left_at_the_end_are_left() {
    let mut world = World::new(1);
    world.core.timing.cancel_after = None;
    world.polling();
    world.give(Input::Drain);
    let ingress = world.ingress;
    assert_eq!(ops(world.pass(30, &[ingress])), []);
    world.hear(ingress, true);
    assert_eq!(ops(world.pass(5, &[])), []);
}

#[test]
fn a_word_that_is_not_repeated_is_taken_back() {
    let mut world = World::new(1);
    let another = world.polling_with_another();
    let ingress = world.ingress;
    world.abandon(ingress);
    world.now += Duration::from_secs(13);
    world.hear(another, false);
    world.abandon(another);
    assert_eq!(ops(world.pass(1, &[])), [], "a caller has come back to the first in between");
    world.abandon(ingress);
    assert_eq!(world.op(), cancel());
}

#[test]
fn words_about_other_batches_or_of_strangers_change_nothing() {
    let mut world = World::new(1);
    world.polling();
    for stranger in 0..100 {
        world.abandon(Pid::random());
        let bid = if stranger % 2 == 0 { Bid::random().to_bytes() } else { Bytes::from_static(b"short") };
        let word = wire::Abandoned { bid, ingress: world.ingress.to_bytes(), overdue: false };
        world.give(Input::Abandoned(word));
    }
    assert_eq!(ops(world.pass(5, &[])), []);
    assert!(world.core.batches[&world.bid].abandoned.is_empty());
}

#[test]
fn a_failed_cancellation_is_tried_again_longer_each_time_and_not_forever() {
    let mut world = World::new(1);
    world.polling();
    let ingress = world.ingress;
    let mut cancelled = Vec::new();
    for second in 0..7200 {
        let abandoning = if second % EVERY == 0 { &[ingress][..] } else { &[] };
        for (at, op) in world.pass(1, abandoning) {
            assert_eq!(op, cancel());
            cancelled.push(at);
            world.did(Did::Cancelled(Err(trouble(TroubleKind::Ambiguous, true))));
        }
    }
    assert_eq!(cancelled.len(), 20);
    let waits: Vec<Duration> = cancelled.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(waits[0] <= Duration::from_secs(3) && waits[18] >= Duration::from_secs(40), "{waits:?}");
}

#[test]
fn a_failed_cancellation_is_not_tried_again_when_somebody_has_come_back() {
    let mut world = World::new(1);
    world.polling();
    let ingress = world.ingress;
    world.abandon(ingress);
    assert_eq!(world.op(), cancel());
    let asks_to_wait =
        Trouble { retry_after: Some(Duration::from_secs(20)), ..trouble(TroubleKind::NotDone, true) };
    world.did(Did::Cancelled(Err(asks_to_wait)));
    assert_eq!(ops(world.pass(120, &[])), []);
    world.abandon(ingress);
    assert_eq!(world.op(), cancel(), "left again");
}

#[test]
fn abandoned_while_uploading_nothing_is_created_and_the_file_is_deleted() {
    let mut world = World::new(2);
    world.granted();
    assert!(matches!(world.op(), Op::Upload { .. }));
    world.abandon(world.ingress);
    world.told_cancelled();
    assert_eq!(world.op(), Op::Flush);
    world.did(Did::Flushed);
    world.abandon(world.ingress);
    // The upload ends late.
    world.did(Did::Uploaded(Ok("file-1".into())));
    ends_without_a_job(&mut world);
}

#[test]
fn abandoned_before_the_file_is_registered_nothing_is_created_and_the_file_is_deleted() {
    let mut world = World::new(2);
    world.granted();
    assert!(matches!(world.op(), Op::Upload { .. }));
    world.did(Did::Uploaded(Ok("file-1".into())));
    world.abandon(world.ingress);
    // The registration comes late.
    let (token, _) = world.sent.pop().expect("an intent");
    let accepted = wire::IntentReply { accepted: true, epoch: 1, files: vec!["file-1".into()] };
    world.give(Input::Answer(token.expect("a token"), Some(reply::Body::IntentReply(accepted))));
    world.told_cancelled();
    assert_eq!(world.op(), Op::Flush);
    world.did(Did::Flushed);
    ends_without_a_job(&mut world);
}

fn ends_without_a_job(world: &mut World) {
    let mut deleted = Vec::new();
    while let Some(op) = world.next_op(Duration::from_secs(120)) {
        match op {
            Op::Delete { file } => {
                deleted.push(file.clone());
                world.did(Did::Deleted(file, Ok(Gone::Deleted)));
            }
            Op::Sweep { .. } => world.did(Did::Swept(Ok(0))),
            other => panic!("{other:?} for a batch that nobody waits for"),
        }
    }
    assert_eq!(deleted, ["file-1"]);
    assert!(world.core.batches.is_empty(), "forgotten when tidy");
}

#[test]
fn abandoned_while_creating_it_is_cancelled_when_the_job_is_known() {
    let mut world = World::new(1);
    world.granted();
    world.uploaded("file-1");
    assert_eq!(world.op(), Op::Create { file: "file-1".into() });
    let ingress = world.ingress;
    assert_eq!(ops(world.pass(30, &[ingress])), [], "the creation is on its way");
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    assert!(matches!(world.op(), Op::Find { .. }));
    assert_eq!(ops(world.pass(30, &[ingress])), [], "the job is looked for");
    world.did(Did::Found(Ok((vec![job(JobPhase::Running)], true))));
    assert_eq!(world.op(), cancel());
}

#[test]
fn abandoned_while_creating_nothing_is_uploaded_again_when_there_is_no_job() {
    let mut world = World::new(1);
    world.granted();
    world.uploaded("file-1");
    world.op();
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    let ingress = world.ingress;
    let ended = loop {
        world.abandon(ingress);
        match world.next_op(Duration::from_secs(EVERY)) {
            Some(Op::Find { .. }) => world.did(Did::Found(Ok((Vec::new(), true)))),
            Some(Op::Delete { file }) => world.did(Did::Deleted(file, Ok(Gone::Deleted))),
            Some(other) => break other,
            None => world.now += Duration::from_secs(1),
        }
    };
    let Op::Tell(_, Outcome::Fault(fault)) = ended else { panic!("{ended:?}") };
    assert_eq!(fault.code, "batch_cancelled");
}

#[test]
fn an_abandoned_job_that_was_refused_is_not_submitted_again() {
    let mut world = World::new(1);
    world.polling();
    let ingress = world.ingress;
    world.abandon(ingress);
    assert_eq!(world.op(), cancel());
    assert!(matches!(world.op(), Op::Poll { .. }));
    let errors = vec![("token_limit_exceeded".to_owned(), None, "full".to_owned())];
    world.did(Did::Polled(Ok(JobView { errors, ..job(JobPhase::Failed) })));
    world.did(Did::Cancelled(Err(trouble(TroubleKind::NotDone, false))));
    assert_eq!(world.op(), Op::Delete { file: "file-1".into() });
    world.abandon(ingress);
    world.told_cancelled();
}

#[test]
fn the_job_that_follows_a_refused_one_can_be_cancelled_too() {
    let mut world = World::new(1);
    world.polling();
    let ingress = world.ingress;
    world.abandon(ingress);
    assert_eq!(world.op(), cancel());
    world.did(Did::Cancelled(Ok(())));
    // Meanwhile a caller comes back.
    assert_eq!(ops(world.pass(13, &[])), []);
    assert!(matches!(world.op(), Op::Poll { .. }));
    let errors = vec![("token_limit_exceeded".to_owned(), None, "full".to_owned())];
    world.did(Did::Polled(Ok(JobView { errors, ..job(JobPhase::Failed) })));
    assert_eq!(world.op(), Op::Delete { file: "file-1".into() });
    world.did(Did::Deleted("file-1".into(), Ok(Gone::Deleted)));
    world.uploaded("file-2");
    assert_eq!(world.op(), Op::Create { file: "file-2".into() });
    world.did(Did::Created(Ok(job(JobPhase::Running))));
    world.abandon(ingress);
    assert_eq!(world.op(), cancel());
}
