//! Batches whose requests travel in the call that creates their job.

use common::outcome::Fault;

use super::*;

impl World {
    /// Granted by its ingress, for this upstream.
    pub(super) fn granted_for(&mut self, upstream: &str) {
        let key = wire::BatchKey {
            upstream: upstream.into(),
            fingerprint: vec![7; 16].into(),
            ..Default::default()
        };
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
            body_bytes: 100,
            ..Default::default()
        };
        self.give(Input::Answer(token.expect("a token"), Some(reply::Body::Grant(grant))));
        let Op::Open(boxes) = self.op() else { panic!("opened") };
        self.did(Did::Opened(boxes.into_iter().map(|(_, granted, _)| granted).collect()));
    }

    /// What is registered with the ingress before the creation, which it then allows.
    pub(super) fn registers(&mut self) -> String {
        let intents = self.sent.drain(..).filter_map(|(token, body)| match body {
            to_ingress::Body::Intent(intent) => Some((token, intent.file)),
            _ => None,
        });
        let (token, file) = intents.last().expect("an intent");
        let accepted = wire::IntentReply { accepted: true, ..Default::default() };
        self.give(Input::Answer(token.expect("a token"), Some(reply::Body::IntentReply(accepted))));
        file
    }

    /// The faults that were told, to how many.
    fn told(&mut self, within: Duration) -> Option<(usize, Fault)> {
        loop {
            match self.next_op(within)? {
                Op::Tell(rids, Outcome::Fault(fault)) => return Some((rids.len(), fault)),
                Op::Find { .. } => self.did(Did::Found(Ok((Vec::new(), true)))),
                op => panic!("{op:?}"),
            }
        }
    }
}

fn job() -> JobView {
    JobView {
        id: "msgbatch_1".into(),
        phase: JobPhase::Running,
        status: "in_progress".into(),
        input_file: None,
        output_file: None,
        error_file: None,
        counts: None,
        errors: Vec::new(),
    }
}

#[test]
fn an_intent_comes_before_a_creation_that_needs_no_file() {
    let mut world = World::new(2);
    world.granted_for("anthropic");
    assert!(world.ops.is_empty(), "nothing is created before it is registered: {:?}", world.ops);
    let name = world.registers();
    let Op::CreateInline { file, from, .. } = world.op() else { panic!("created") };
    assert_eq!((file, from.len()), (name, 1));
    world.did(Did::Created(Ok(job())));
    assert!(matches!(world.op(), Op::Poll { job } if job == "msgbatch_1"));
}

#[test]
fn a_creation_without_an_answer_is_looked_for_and_then_told() {
    let mut world = World::new(2);
    world.granted_for("anthropic");
    world.registers();
    world.op();
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    let began = world.now;
    let (told, fault) = world.told(Duration::from_secs(600)).expect("the callers are told");
    assert_eq!((told, fault.class, fault.code.as_str()), (2, FaultClass::Ambiguous, "submission_ambiguous"));
    assert!(fault.no_retry && world.now - began >= Duration::from_secs(60), "{:?}", world.now - began);
}

#[test]
fn an_operator_may_have_it_submitted_again() {
    let mut world = World::new(2);
    world.core.timing.recreate = true;
    world.granted_for("anthropic");
    let first = world.registers();
    world.op();
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    while let Some(Op::Find { .. }) = world.next_op(Duration::from_secs(120)) {
        world.did(Did::Found(Ok((Vec::new(), true))));
    }
    assert_ne!(world.registers(), first, "a creation of its own");
    assert!(matches!(world.op(), Op::CreateInline { .. }));
}

#[test]
fn while_a_job_may_be_the_one_nothing_is_decided() {
    let mut world = World::new(2);
    world.granted_for("anthropic");
    world.registers();
    world.op();
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    let began = world.now;
    while world.now - began < Duration::from_secs(3600) {
        assert!(matches!(world.op(), Op::Find { .. }));
        world.did(Did::Found(Ok((Vec::new(), false))));
    }
    assert!(matches!(world.op(), Op::Find { .. }));
    world.did(Did::Found(Ok((vec![job()], true))));
    assert!(matches!(world.op(), Op::Poll { .. }));
}

#[test]
fn bodies_that_cannot_be_had_leave_nothing_created() {
    let mut world = World::new(2);
    world.granted_for("anthropic");
    world.registers();
    world.op();
    world.did(Did::Created(Err(trouble(TroubleKind::IngressLost(world.ingress), false))));
    assert!(!matches!(
        world.next_op(Duration::from_secs(120)),
        Some(Op::CreateInline { .. } | Op::Find { .. })
    ));
}

#[test]
fn a_malformed_request_does_not_fail_the_others_with_it() {
    let mut world = World::new(2);
    world.granted_for("gemini");
    world.registers();
    assert!(matches!(world.op(), Op::CreateInline { .. }));
    let refused = Trouble { status: Some(400), ..trouble(TroubleKind::NotDone, false) };
    world.did(Did::Created(Err(refused)));
    assert!(matches!(world.op(), Op::Upload { .. }), "by file each line fails alone");
}
