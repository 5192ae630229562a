//! What others have left at the provider, and nobody waits for.

use super::*;

const ORIGIN: Bid = Bid([8; 16]);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl World {
    /// Asked to tidy up after a batch of which nothing waits; the claim's token.
    fn asked_to_tidy(&mut self) -> u64 {
        let key = wire::BatchKey { fingerprint: vec![7; 16].into(), ..Default::default() };
        let part = wire::OfferPart { ingress: self.ingress.to_bytes(), ..Default::default() };
        let recover = wire::Recover {
            bid: self.bid.to_bytes(),
            origin: ORIGIN.to_bytes(),
            key: Some(key),
            part: Some(part),
            age_ms: 60_000,
            ..Default::default()
        };
        self.give(Input::Recover(recover, "reply".into()));
        self.sent.pop().and_then(|(token, _)| token).expect("a claim")
    }

    fn granted_nothing(&mut self, token: u64, sealed_credential: &'static [u8]) {
        let sealed_credential = Bytes::from_static(sealed_credential);
        let grant =
            wire::Grant { bid: self.bid.to_bytes(), epoch: 4, sealed_credential, ..Default::default() };
        self.give(Input::Answer(token, Some(reply::Body::Grant(grant))));
    }

    fn tidying(&mut self) {
        let token = self.asked_to_tidy();
        self.granted_nothing(token, b"box");
        let Op::Open(boxes) = self.op() else { panic!("opened first") };
        self.did(Did::Opened(boxes.into_iter().map(|(_, granted, _)| granted).collect()));
    }

    /// Answers looks at the provider, which lists these jobs, until the batch is forgotten. Returns when which file was
    /// deleted.
    pub(super) fn tidies(&mut self, jobs: &[JobView]) -> Vec<(Now, String)> {
        let mut deleted = Vec::new();
        while let Some(op) = self.next_op(seconds(3600)) {
            match op {
                Op::Find { .. } => self.did(Did::Found(Ok((jobs.to_vec(), true)))),
                Op::Sweep { .. } => self.did(Did::Swept(Ok(0))),
                Op::Delete { file } => {
                    deleted.push((self.now, file.clone()));
                    self.did(Did::Deleted(file, Ok(Gone::Deleted)));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(self.core.batches.is_empty(), "forgotten when tidy");
        deleted
    }

    /// The answer to a question about batches, and batches of which nothing waits: unknown, and left to others.
    pub(super) fn synced(&mut self, bids: Bytes, ended: Bytes) -> (Bytes, Bytes) {
        let sync = wire::Sync { ingress: self.ingress.to_bytes(), bids, ended };
        let mut out = Vec::new();
        self.core.handle(self.now, Input::Sync(sync, "reply".into()), &mut out);
        let answer = out.into_iter().find_map(|output| match output {
            Output::Reply(_, reply::Body::SyncReply(reply)) => Some((reply.unknown, reply.left)),
            _ => None,
        });
        answer.expect("it is answered")
    }

    fn says_tidy(&self) -> bool {
        self.sent.iter().any(|(_, body)| {
            matches!(body, to_ingress::Body::Released(r) if r.tidy && r.epoch == 4 && r.bid == self.bid.to_bytes())
        })
    }
}

#[test]
fn an_upload_of_a_dead_submitter_is_looked_for_by_name_until_it_must_have_shown() {
    let mut world = World::new(0);
    world.tidying();
    let began = world.now;
    let bid = world.bid.to_bytes();
    let mut looks = Vec::new();
    while let Some(op) = world.next_op(seconds(3600)) {
        let Op::Find { batch, age, .. } = op else { panic!("{op:?}: first the jobs") };
        assert!(batch == ORIGIN && age >= seconds(60));
        world.did(Did::Found(Ok((Vec::new(), true))));
        let Op::Sweep { name, keep, .. } = world.op() else { panic!("then the files") };
        assert_eq!((name, keep), (format!("llmp-{ORIGIN}-"), Vec::new()));
        assert!(!world.says_tidy());
        assert_eq!(world.synced(Bytes::new(), bid.clone()).0, Bytes::new(), "not tidy yet");
        looks.push((world.now - began).as_secs());
        world.did(Did::Swept(Ok(1)));
    }
    assert_eq!(looks, [20, 80, 300]);
    assert!(world.says_tidy() && world.core.batches.is_empty());
    assert_eq!(world.synced(Bytes::new(), bid.clone()).0, bid);
}

#[test]
fn looks_that_fail_or_see_only_a_part_do_not_count() {
    let mut world = World::new(0);
    world.tidying();
    let mut looks = 0;
    for n in 0.. {
        match world.next_op(seconds(3600)) {
            Some(Op::Find { .. }) if n % 3 == 0 => {
                world.did(Did::Found(Err(trouble(TroubleKind::Ambiguous, true))));
            }
            Some(Op::Find { .. }) => world.did(Did::Found(Ok((Vec::new(), n % 3 == 1)))),
            Some(Op::Sweep { .. }) => {
                looks += 1;
                world.did(Did::Swept(Ok(0)));
            }
            Some(other) => panic!("{other:?}"),
            None => break,
        }
    }
    assert_eq!(looks, 3);
}

#[test]
fn the_input_of_a_job_that_runs_stays_and_its_results_go_when_all_may_have_had_them() {
    let mut world = World::new(0);
    world.tidying();
    for _ in 0..20 {
        let Op::Find { .. } = world.op() else { panic!("looked for") };
        world.did(Did::Found(Ok((vec![job(JobPhase::Running)], true))));
        let Op::Sweep { keep, .. } = world.op() else { panic!("swept") };
        assert_eq!(keep, ["file-1"]);
        world.did(Did::Swept(Ok(0)));
    }
    let over_at = world.now;
    let deleted = world.tidies(&[job(JobPhase::Completed)]);
    assert_eq!(deleted.iter().map(|(_, file)| file.as_str()).collect::<Vec<_>>(), ["out"]);
    assert!(deleted[0].0 - over_at >= seconds(900));
}

#[test]
fn a_refused_claim_leaves_nothing_to_tidy_up() {
    let mut world = World::new(0);
    let token = world.asked_to_tidy();
    world.granted_nothing(token, b"");
    assert!(world.core.batches.is_empty() && world.ops.is_empty());
}

#[test]
fn few_are_tidied_at_a_time_so_that_others_find_room() {
    let mut world = World::new(1);
    for _ in 0..300 {
        world.bid = Bid::random();
        let key = wire::BatchKey { fingerprint: vec![7; 16].into(), ..Default::default() };
        let part = wire::OfferPart { ingress: world.ingress.to_bytes(), ..Default::default() };
        let (bid, origin) = (world.bid.to_bytes(), ORIGIN.to_bytes());
        let recover = wire::Recover { bid, origin, key: Some(key), part: Some(part), ..Default::default() };
        world.give(Input::Recover(recover, "reply".into()));
    }
    assert_eq!(world.core.batches.len(), 200);
}

/// An ingress that granted is served, but was never heard: its silence counts from the grant on.
#[test]
fn the_end_of_an_ingress_that_was_never_heard_is_noticed() {
    let mut world = World::new(1);
    world.granted();
    let mut lost = Vec::new();
    for _ in 0..30 {
        world.now += seconds(1);
        let mut out = Vec::new();
        world.core.tick(world.now, &mut out);
        lost.extend(out.iter().filter_map(|output| match output {
            Output::IngressLost(pid) => Some(*pid),
            _ => None,
        }));
        world.take(out);
    }
    assert_eq!(lost, [world.ingress]);
    assert!(world.core.batches[&world.bid].grants.is_empty());
}
