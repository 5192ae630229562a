//! The machine at virtual time, with the outside world played by each test.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use common::drive::Core as _;
use common::ids::{Bid, Pid, Rid, pack_rids};
use common::members::{Identity, Members};
use common::outcome::{FaultClass, Outcome};
use common::timers::Now;
use common::wire::{self, Role, reply, to_ingress};

use providers::Upstreams;

use super::{
    Claimant, Core, Did, Gone, Input, JobPhase, JobView, Lines, Op, Output, Timing, Trouble, TroubleKind,
};

mod abandoned;
mod cancelled;
mod fence;
mod inline;
mod leaving;
mod linger;
mod overdue;
mod recovery;
mod refused;
mod sweeps;
mod tidying;
mod unreadable;
mod unsure;
mod whois;

struct World {
    core: Core,
    now: Now,
    bid: Bid,
    ingress: Pid,
    rids: Vec<Rid>,
    /// Operations started and not yet looked at.
    ops: Vec<Op>,
    sent: Vec<(Option<u64>, to_ingress::Body)>,
    /// Ingresses that were asked whether callers have their answers, with the tokens of the questions.
    asked: Vec<(Pid, u64)>,
    /// How many they say have not; `None` if they do not answer.
    unread: Option<u32>,
}

impl World {
    fn new(lines: usize) -> Self {
        let identity = Identity {
            pid: Pid::random(),
            role: Role::Submitter,
            public_key: Bytes::new(),
            auth: Bytes::new(),
        };
        let timing = Timing {
            linger: Duration::from_secs(900),
            poll_min: Some(Duration::from_secs(2)),
            poll_max: Duration::from_secs(60),
            settle: Duration::from_secs(30),
            cancel_after: Some(Duration::from_secs(15)),
            recreate: false,
        };
        let claimant = Claimant { public_key: Bytes::new(), auth: Bytes::new() };
        let mut world = Self {
            core: Core::new(Members::new(identity), claimant, timing, Upstreams::default()),
            now: Now::ZERO,
            bid: Bid::random(),
            ingress: Pid::random(),
            rids: (0..lines).map(|_| Rid::random()).collect(),
            ops: Vec::new(),
            sent: Vec::new(),
            asked: Vec::new(),
            unread: Some(0),
        };
        world.give(Input::Bus(true));
        world
    }

    fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.core.tick(self.now, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Do(_, op) => self.ops.push(op),
                Output::ToIngress(ingress, Some(token), to_ingress::Body::Delivered(_)) => {
                    self.asked.push((ingress, token));
                    if let Some(unread) = self.unread {
                        self.says_unread(token, unread);
                    }
                }
                Output::ToIngress(_, token, body) => self.sent.push((token, body)),
                _ => {}
            }
        }
    }

    fn says_unread(&mut self, token: u64, unread: u32) {
        self.give(Input::Answer(token, Some(reply::Body::DeliveredReply(wire::DeliveredReply { unread }))));
    }

    fn did(&mut self, did: Did) {
        self.give(Input::Did(self.bid, did));
    }

    /// Lets time pass until an operation is started; `None` if none is within the bound.
    fn next_op(&mut self, bound: Duration) -> Option<Op> {
        let end = self.now + bound;
        while self.ops.is_empty() {
            // The ingress says that it is there, or it would be given up.
            let beat = wire::Heartbeat {
                pid: self.ingress.to_bytes(),
                role: Role::Ingress.into(),
                ..Default::default()
            };
            self.give(Input::Heartbeat(beat));
            self.now = self.core.wake_at().filter(|at| *at <= end)?.max(self.now);
            let mut out = Vec::new();
            self.core.tick(self.now, &mut out);
            self.take(out);
        }
        Some(self.ops.remove(0))
    }

    fn op(&mut self) -> Op {
        self.next_op(Duration::from_secs(3600)).expect("an operation")
    }

    /// Offer, claim, grant, opened box.
    fn granted(&mut self) {
        let key = wire::BatchKey { fingerprint: vec![7; 16].into(), ..Default::default() };
        let part = wire::OfferPart {
            ingress: self.ingress.to_bytes(),
            reply: "r".into(),
            rids: pack_rids(&self.rids),
        };
        let offer = wire::Offer { bid: self.bid.to_bytes(), key: Some(key), parts: vec![part], bytes: 10 };
        self.give(Input::Offer(offer, "reply".into()));
        let (token, _) = self.sent.pop().expect("a claim");
        let grant = wire::Grant {
            bid: self.bid.to_bytes(),
            epoch: 1,
            granted: pack_rids(&self.rids),
            ..Default::default()
        };
        self.give(Input::Answer(token.expect("a token"), Some(reply::Body::Grant(grant))));
        let Op::Open(boxes) = self.op() else { panic!("the boxes are opened first") };
        self.did(Did::Opened(boxes.into_iter().map(|(_, granted, _)| granted).collect()));
    }

    /// Answers the upload and the intent.
    fn uploaded(&mut self, file: &str) {
        let op = self.op();
        assert!(matches!(&op, Op::Upload { name, .. } if name.starts_with("llmp-")), "{op:?}");
        self.did(Did::Uploaded(Ok(file.into())));
        let is_intent = |(_, body): &(Option<u64>, to_ingress::Body)| matches!(body, to_ingress::Body::Intent(i) if i.file == file);
        let at = self.sent.iter().rposition(is_intent).expect("an intent before any creation");
        assert!(self.ops.is_empty(), "nothing is created before the intent is acknowledged");
        let (token, _) = self.sent.remove(at);
        let accepted = wire::IntentReply { accepted: true, epoch: 1, files: vec![file.into()] };
        self.give(Input::Answer(token.expect("a token"), Some(reply::Body::IntentReply(accepted))));
    }

    fn polling(&mut self) {
        self.granted();
        self.uploaded("file-1");
        assert_eq!(self.op(), Op::Create { file: "file-1".into() });
        self.did(Did::Created(Ok(job(JobPhase::Running))));
    }

    fn finish(&mut self) {
        assert_eq!(self.op(), Op::Flush);
        self.did(Did::Flushed);
        let mut deleted = BTreeSet::new();
        while let Some(op) = self.next_op(Duration::from_secs(120)) {
            match op {
                Op::Delete { file } => {
                    deleted.insert(file.clone());
                    self.did(Did::Deleted(file, Ok(Gone::Deleted)));
                }
                Op::Sweep { .. } => self.did(Did::Swept(Ok(0))),
                other => panic!("{other:?} after the end"),
            }
        }
        assert!(self.core.batches.is_empty(), "forgotten when tidy");
        assert!(deleted.contains("file-1"));
    }
}

fn job(phase: JobPhase) -> JobView {
    JobView {
        id: "batch_1".into(),
        phase,
        status: format!("{phase:?}"),
        input_file: Some("file-1".into()),
        output_file: Some("out".into()),
        error_file: None,
        counts: Some((0, 0, 0)),
        errors: Vec::new(),
    }
}

fn succeeded(rids: &[Rid]) -> Lines {
    Lines {
        seen: BTreeSet::new(),
        answered: rids.iter().copied().collect(),
        succeeded: rids.len() as u64,
        failed: 0,
        unreadable: 0,
    }
}

fn trouble(kind: TroubleKind, retryable: bool) -> Trouble {
    Trouble {
        kind,
        retry_after: None,
        retryable,
        file_not_visible: false,
        queue_full: false,
        message: "trouble".into(),
        answer: None,
        status: None,
    }
}

#[test]
fn a_batch_goes_its_way_and_leaves_nothing() {
    let mut world = World::new(3);
    world.polling();
    assert_eq!(world.op(), Op::Poll { job: "batch_1".into() });
    world.did(Did::Polled(Ok(job(JobPhase::Completed))));
    assert_eq!(
        world.op(),
        Op::Download { files: vec!["out".into()], job: "batch_1".into(), given_up: false }
    );
    world.did(Did::Downloaded(Ok(succeeded(&world.rids))));
    world.finish();
}

#[test]
fn a_lost_creation_is_found_and_never_made_twice() {
    let mut world = World::new(2);
    world.granted();
    world.uploaded("file-1");
    assert_eq!(world.op(), Op::Create { file: "file-1".into() });
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    for _ in 0..3 {
        assert!(matches!(world.op(), Op::Find { .. }));
        world.did(Did::Found(Ok((Vec::new(), true))));
    }
    assert!(matches!(world.op(), Op::Find { .. }));
    world.did(Did::Found(Ok((vec![job(JobPhase::Running)], true))));
    assert_eq!(world.op(), Op::Poll { job: "batch_1".into() });
}

#[test]
fn creating_again_needs_the_whole_fence() {
    let mut world = World::new(2);
    world.granted();
    world.uploaded("file-1");
    assert_eq!(world.op(), Op::Create { file: "file-1".into() });
    let lost_at = world.now;
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    let mut op = world.op();
    while matches!(op, Op::Find { .. }) {
        world.did(Did::Found(Ok((Vec::new(), true))));
        op = world.op();
    }
    assert_eq!(op, Op::Delete { file: "file-1".into() });
    let deleted_at = world.now;
    assert!(deleted_at - lost_at >= Duration::from_secs(30), "looked for long enough before the deletion");
    world.did(Did::Deleted("file-1".into(), Ok(Gone::Deleted)));
    assert!(matches!(world.op(), Op::Find { .. }));
    assert!(world.now - deleted_at >= Duration::from_secs(30), "settled");
    // An incomplete list proves nothing; a job that failed for its missing file is the fence at work.
    world.did(Did::Found(Ok((Vec::new(), false))));
    assert!(matches!(world.op(), Op::Find { .. }));
    world.did(Did::Found(Ok((vec![job(JobPhase::Failed)], true))));
    assert!(matches!(world.op(), Op::Find { .. }));
    world.did(Did::Found(Ok((Vec::new(), true))));
    world.uploaded("file-2");
    assert_eq!(world.op(), Op::Create { file: "file-2".into() });
}

#[test]
fn a_late_job_is_adopted_even_behind_the_fence() {
    let mut world = World::new(2);
    world.granted();
    world.uploaded("file-1");
    world.op();
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    while matches!(world.op(), Op::Find { .. }) {
        world.did(Did::Found(Ok((Vec::new(), true))));
    }
    world.did(Did::Deleted("file-1".into(), Ok(Gone::Deleted)));
    assert!(matches!(world.op(), Op::Find { .. }));
    world.did(Did::Found(Ok((vec![job(JobPhase::Running)], true))));
    assert_eq!(world.op(), Op::Poll { job: "batch_1".into() });
}

#[test]
fn failed_polls_do_not_fail_a_batch() {
    let mut world = World::new(1);
    world.polling();
    for _ in 0..50 {
        assert!(matches!(world.op(), Op::Poll { .. }));
        world.did(Did::Polled(Err(trouble(TroubleKind::Ambiguous, true))));
    }
    assert!(matches!(world.op(), Op::Poll { .. }));
    world.did(Did::Polled(Ok(job(JobPhase::Completed))));
    assert!(matches!(world.op(), Op::Download { .. }));
}

#[test]
fn an_operator_may_want_longer_waits_than_a_provider_is_given() {
    let mut world = World::new(1);
    world.polling();
    world.op();
    let day = Duration::from_secs(24 * 3600);
    (world.core.timing.poll_min, world.core.timing.poll_max) = (Some(day), day);
    let asked = Trouble { retry_after: Some(day / 2), ..trouble(TroubleKind::Ambiguous, true) };
    world.did(Did::Polled(Err(asked)));
    assert_eq!(world.next_op(day / 2), None);
    assert!(matches!(world.next_op(2 * day), Some(Op::Poll { .. })));
}

#[test]
fn a_short_result_file_is_downloaded_again_before_lines_count_as_missing() {
    let mut world = World::new(2);
    world.polling();
    world.op();
    world.did(Did::Polled(Ok(JobView { counts: Some((2, 2, 0)), ..job(JobPhase::Completed) })));
    let one = succeeded(&world.rids[..1]);
    for _ in 0..3 {
        assert!(matches!(world.op(), Op::Download { .. }));
        world.did(Did::Downloaded(Ok(one.clone())));
    }
    let Op::Tell(rids, Outcome::Fault(fault)) = world.op() else { panic!("the missing one is told") };
    assert_eq!((rids, fault.code.as_str()), (vec![world.rids[1]], "no_result_line"));
    world.finish();
}

#[test]
fn an_expired_batch_keeps_its_finished_lines_and_tells_the_others() {
    let mut world = World::new(2);
    world.polling();
    world.op();
    world.did(Did::Polled(Ok(JobView { counts: Some((2, 1, 0)), ..job(JobPhase::Expired) })));
    world.op();
    world.did(Did::Downloaded(Ok(succeeded(&world.rids[..1]))));
    let Op::Tell(rids, Outcome::Fault(fault)) = world.op() else { panic!("the expired one is told") };
    assert_eq!((rids, fault.class), (vec![world.rids[1]], FaultClass::Expired));
}

#[test]
fn draining_gives_back_what_is_not_created_and_cancels_what_runs() {
    let mut world = World::new(1);
    world.granted();
    world.op();
    world.give(Input::Drain);
    let Op::Tell(_, Outcome::Fault(fault)) = world.op() else { panic!("given back") };
    assert!(fault.class == FaultClass::Unavailable && !fault.no_retry);

    let mut world = World::new(1);
    world.polling();
    world.give(Input::Drain);
    let ordered = world.now;
    loop {
        match world.op() {
            Op::Poll { .. } => world.did(Did::Polled(Ok(job(JobPhase::Running)))),
            Op::Cancel { job } => break assert_eq!(job, "batch_1"),
            other => panic!("{other:?}"),
        }
    }
    assert!(world.now - ordered >= Duration::from_secs(15));
}
