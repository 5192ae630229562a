//! Batches that wait for room at their provider, with many batches in hand. A line of 300 bytes counts as 100 tokens.

use std::collections::BTreeMap;

use super::*;
use crate::core::batch::State;

/// A provider that takes everything until a test says what becomes of a job.
struct Yard {
    core: Core,
    now: Now,
    ingresses: [Pid; 2],
    beats: Vec<(Pid, Role)>,
    batches: BTreeMap<Bid, Vec<Rid>>,
    /// What the next poll of a batch's job finds.
    jobs: BTreeMap<Bid, JobView>,
    /// Batches whose creation is refused with this trouble.
    refusing: Option<Trouble>,
    files: u32,
    /// Creations: of which batch, with how many lines.
    created: Vec<(Bid, usize)>,
    uploading: BTreeMap<Bid, usize>,
    told: Vec<(Vec<Rid>, Outcome)>,
    released: usize,
}

impl Yard {
    fn new() -> Self {
        let world = World::new(0);
        let ingresses = [Pid::random(), Pid::random()];
        Self {
            core: world.core,
            now: world.now,
            ingresses,
            beats: ingresses.map(|pid| (pid, Role::Ingress)).to_vec(),
            batches: BTreeMap::new(),
            jobs: BTreeMap::new(),
            refusing: None,
            files: 0,
            created: Vec::new(),
            uploading: BTreeMap::new(),
            told: Vec::new(),
            released: 0,
        }
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
                Output::Do(bid, op) => self.perform(bid, op),
                Output::ToIngress(ingress, Some(token), body) => self.answer(ingress, token, body),
                _ => {}
            }
        }
    }

    fn answer(&mut self, ingress: Pid, token: u64, body: to_ingress::Body) {
        let answer = match body {
            to_ingress::Body::Claim(claim) => reply::Body::Grant(wire::Grant {
                bid: claim.bid,
                epoch: 1,
                lengths: vec![300; claim.rids.len() / 16],
                granted: claim.rids,
                ..Default::default()
            }),
            to_ingress::Body::Intent(intent) => {
                let files = vec![intent.file];
                reply::Body::IntentReply(wire::IntentReply { accepted: true, epoch: 1, files })
            }
            to_ingress::Body::Delivered(_) => reply::Body::DeliveredReply(Default::default()),
            to_ingress::Body::Released(_) => {
                assert!(self.ingresses.contains(&ingress));
                self.released += 1;
                reply::Body::Ack(Default::default())
            }
            _ => reply::Body::Ack(Default::default()),
        };
        self.give(Input::Answer(token, Some(answer)));
    }

    fn perform(&mut self, bid: Bid, op: Op) {
        let did = match op {
            Op::Open(boxes) => Did::Opened(boxes.into_iter().map(|(_, granted, _)| granted).collect()),
            Op::Upload { from, except, .. } => {
                let rids = from.iter().flat_map(|granted| &granted.rids);
                self.uploading.insert(bid, rids.filter(|rid| !except.contains(rid)).count());
                self.files += 1;
                Did::Uploaded(Ok(format!("file-{}", self.files)))
            }
            Op::Create { file } => {
                self.created.push((bid, self.uploading[&bid]));
                let running = JobView { input_file: Some(file), ..job(JobPhase::Running) };
                self.jobs.insert(bid, running.clone());
                Did::Created(self.refusing.clone().map_or(Ok(running), Err))
            }
            Op::Poll { .. } => Did::Polled(Ok(self.jobs[&bid].clone())),
            Op::Download { .. } => Did::Downloaded(Ok(succeeded(&self.batches[&bid]))),
            Op::Delete { file } => Did::Deleted(file, Ok(Gone::Deleted)),
            Op::Sweep { .. } => Did::Swept(Ok(0)),
            Op::Flush => Did::Flushed,
            Op::Tell(rids, outcome) => return self.told.push((rids, outcome)),
            other => panic!("{other:?}"),
        };
        self.give(Input::Did(bid, did));
    }

    fn offer_from(&mut self, model: &str, lines: &[usize]) -> (Bid, bool) {
        let bid = Bid::random();
        let key =
            wire::BatchKey { fingerprint: vec![7; 16].into(), model: model.to_owned(), ..Default::default() };
        let rids = |lines: &usize| (0..*lines).map(|_| Rid::random()).collect::<Vec<_>>();
        let parts: Vec<(Pid, Vec<Rid>)> = self.ingresses.into_iter().zip(lines.iter().map(rids)).collect();
        self.batches.insert(bid, parts.iter().flat_map(|(_, rids)| rids.clone()).collect());
        let part = |(ingress, rids): &(Pid, Vec<Rid>)| wire::OfferPart {
            ingress: ingress.to_bytes(),
            reply: "r".into(),
            rids: pack_rids(rids),
        };
        let parts = parts.iter().map(part).collect();
        let offer = wire::Offer { bid: bid.to_bytes(), key: Some(key), parts, bytes: 10 };
        let before = self.core.batches.len();
        self.give(Input::Offer(offer, "reply".into()));
        (bid, self.core.batches.len() > before)
    }

    fn offer(&mut self, lines: usize) -> Bid {
        self.offer_from("m", &[lines]).0
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for (pid, role) in self.beats.clone() {
                let beat = wire::Heartbeat { pid: pid.to_bytes(), role: role.into(), ..Default::default() };
                self.give(Input::Heartbeat(beat));
            }
            self.now = self.core.wake_at().unwrap_or(end).clamp(self.now, end);
            let mut out = Vec::new();
            self.core.tick(self.now, &mut out);
            self.take(out);
        }
    }

    /// Lets a job end, and its batch with it.
    fn ends(&mut self, bid: Bid, phase: JobPhase, errors: &[(&str, &str)]) {
        let error = |(code, words): &(&str, &str)| ((*code).to_owned(), None, (*words).to_owned());
        let ended = JobView { errors: errors.iter().map(error).collect(), ..job(phase) };
        self.jobs.insert(bid, JobView { input_file: self.jobs[&bid].input_file.clone(), ..ended });
        self.pass(Duration::from_secs(70));
    }

    fn completes(&mut self, bid: Bid) {
        self.ends(bid, JobPhase::Completed, &[]);
    }

    fn is_full(&mut self, bid: Bid, words: &str) {
        self.ends(bid, JobPhase::Failed, &[("token_limit_exceeded", words)]);
    }

    /// After a batch of ten was refused: four of its lines run.
    fn taught() -> (Self, Bid) {
        let mut yard = Self::new();
        let bid = yard.offer(10);
        assert_eq!(yard.created, [(bid, 10)]);
        yard.is_full(bid, LIMIT);
        (yard, bid)
    }

    fn last_told(&self) -> (usize, &str) {
        match self.told.last() {
            Some((rids, Outcome::Fault(fault))) => (rids.len(), &fault.code),
            other => panic!("{other:?}"),
        }
    }

    fn is_queued(&self, bid: Bid) -> bool {
        self.core.batches.get(&bid).is_some_and(|batch| batch.state == State::Queued)
    }
}

const LIMIT: &str = "Enqueued token limit reached for m in organization o. Limit: 400 enqueued tokens.";

#[test]
fn a_refused_batch_goes_in_part_and_its_rest_is_given_back() {
    let (mut yard, bid) = Yard::taught();
    assert_eq!(yard.created, [(bid, 10), (bid, 4)]);
    let [(rids, Outcome::Fault(fault))] = &yard.told[..] else { panic!("{:?}", yard.told) };
    assert_eq!((rids, &*fault.code), (&yard.batches[&bid][4..].to_vec(), "queue_full"));
    assert!(fault.requeue && fault.again);
    yard.completes(bid);
    assert!(yard.core.sizes().iter().all(|(_, size)| *size == 0), "{:?}", yard.core.sizes());
    // What comes later is split before it is refused.
    let next = yard.offer(9);
    assert_eq!(yard.created.last(), Some(&(next, 4)));
    assert_eq!(yard.last_told(), (5, "queue_full"));
}

#[test]
fn batches_go_in_their_order_and_none_overtakes() {
    let (mut yard, first) = Yard::taught();
    yard.completes(first);
    let runs = yard.offer(3);
    let (two, one, many, another) = (yard.offer(2), yard.offer(1), yard.offer(50), yard.offer(1));
    yard.pass(Duration::from_secs(600));
    assert_eq!(yard.created[2..], [(runs, 3)], "there is room for one, whose turn it is not");
    yard.completes(runs);
    // A quarter of the limit is free: enough for a part of what is too large in any case.
    assert_eq!(yard.created[3..], [(two, 2), (one, 1), (many, 1)]);
    assert_eq!(yard.last_told(), (49, "queue_full"));
    assert!(yard.is_queued(another));
    yard.completes(one);
    assert_eq!(yard.created.last(), Some(&(another, 1)));
}

#[test]
fn other_models_do_not_wait() {
    let (mut yard, _) = Yard::taught();
    let waits = yard.offer(4);
    let (other, _) = yard.offer_from("another", &[10]);
    assert!(yard.is_queued(waits));
    assert_eq!(yard.created.last(), Some(&(other, 10)));
}

#[test]
fn ingresses_take_turns_in_a_part() {
    let (mut yard, first) = Yard::taught();
    yard.completes(first);
    let (bid, _) = yard.offer_from("m", &[5, 5]);
    let (given_back, _) = yard.told.last().unwrap();
    let of_each = yard.batches[&bid].chunks(5);
    let left: Vec<usize> =
        of_each.map(|rids| rids.iter().filter(|rid| given_back.contains(rid)).count()).collect();
    assert_eq!(left, [3, 3]);
}

#[test]
fn submitters_share_a_limit() {
    let (mut yard, first) = Yard::taught();
    yard.completes(first);
    yard.beats.push((Pid::random(), Role::Submitter));
    yard.pass(Duration::from_secs(1));
    let bid = yard.offer(10);
    assert_eq!(yard.created.last(), Some(&(bid, 2)));
}

#[test]
fn the_limit_grows_while_batches_wait() {
    let (mut yard, mut runs) = Yard::taught();
    for _ in 0..9 {
        yard.completes(runs);
        runs = yard.offer(10);
    }
    assert_eq!(yard.created.last(), Some(&(runs, 5)));
    // Too much, after all: back to what is stated.
    yard.is_full(runs, LIMIT);
    assert_eq!(yard.created.last(), Some(&(runs, 4)));
}

#[test]
fn a_lesson_is_forgotten() {
    let (mut yard, first) = Yard::taught();
    yard.completes(first);
    yard.pass(Duration::from_secs(7 * 3600));
    let bid = yard.offer(10);
    assert_eq!(yard.created.last(), Some(&(bid, 10)));
}

#[test]
fn waiting_does_not_count_for_the_lifetime() {
    let (mut yard, first) = Yard::taught();
    let waits = yard.offer(4);
    // The first job is cancelled from here when it runs for too long, and ends.
    for _ in 0..100 {
        yard.pass(Duration::from_secs(3600));
        let bid = yard.created.last().unwrap().0;
        yard.core.batches.get_mut(&bid).unwrap().offered_at = yard.now;
    }
    assert!(yard.is_queued(waits) && yard.told.len() == 1);
    yard.completes(first);
    assert_eq!(yard.created.last(), Some(&(waits, 4)));
    yard.completes(waits);
    assert_eq!(yard.told.len(), 1, "nobody gets an error: {:?}", yard.told);
    assert!(yard.core.batches.is_empty());
}

#[test]
fn what_waits_is_given_back_when_its_time_is_over() {
    let (mut yard, _) = Yard::taught();
    let waits = yard.offer(4);
    let word =
        wire::Abandoned { bid: waits.to_bytes(), ingress: yard.ingresses[0].to_bytes(), overdue: true };
    yard.give(Input::Abandoned(word));
    assert_eq!(yard.last_told(), (4, "batch_cancelled"));
    assert_eq!(yard.created.len(), 2);
    assert!(!yard.core.batches.contains_key(&waits));
}

#[test]
fn what_waits_is_left_to_others_by_a_submitter_that_leaves() {
    let (mut yard, _) = Yard::taught();
    let waits = yard.offer(4);
    yard.give(Input::Drain);
    assert_eq!(yard.last_told(), (4, "shutting_down"));
    assert!(!yard.core.batches.contains_key(&waits));

    let (mut yard, _) = Yard::taught();
    yard.beats.push((Pid::random(), Role::Submitter));
    yard.pass(Duration::from_secs(1));
    let waits = yard.offer(4);
    yard.give(Input::Drain);
    assert_eq!((yard.released, yard.created.len()), (1, 2));
    assert!(!yard.core.batches.contains_key(&waits));
}

#[test]
fn what_waits_of_an_ingress_that_is_gone_is_dropped() {
    let (mut yard, first) = Yard::taught();
    let (waits, _) = yard.offer_from("m", &[2, 2]);
    let gone = yard.ingresses[1];
    yard.beats.retain(|(pid, _)| *pid != gone);
    yard.pass(Duration::from_secs(60));
    yard.completes(first);
    assert_eq!(yard.created.last(), Some(&(waits, 2)));
}

#[test]
fn a_request_that_is_larger_than_the_limit_gets_the_refusal() {
    let mut yard = Yard::new();
    let words = "Limit: 50 enqueued tokens.";
    let bid = yard.offer(2);
    for _ in 0..3 {
        yard.is_full(bid, words);
    }
    assert_eq!(yard.created, [(bid, 2), (bid, 1), (bid, 1)]);
    assert_eq!((yard.told[0].0.len(), yard.last_told()), (1, (1, "token_limit_exceeded")));
    // The one behind it is larger than the limit as well, and has its own try.
    let next = yard.offer(1);
    assert_eq!(yard.created.last(), Some(&(next, 1)));
    yard.completes(next);
    assert!(yard.core.batches.is_empty());
}

#[test]
fn a_queue_that_others_fill_is_waited_for() {
    let (mut yard, first) = Yard::taught();
    yard.completes(first);
    let bid = yard.offer(4);
    // Refused although it is within the limit: half of it, after a pause.
    let ended = JobView {
        errors: vec![("token_limit_exceeded".into(), None, LIMIT.into())],
        ..job(JobPhase::Failed)
    };
    yard.jobs.insert(bid, ended);
    yard.pass(Duration::from_secs(8));
    assert!(yard.is_queued(bid));
    yard.pass(Duration::from_secs(20));
    assert_eq!(yard.created.last(), Some(&(bid, 2)));
    assert_eq!(yard.last_told(), (2, "queue_full"));
}

#[test]
fn a_creation_that_is_refused_for_room_teaches_too() {
    let mut yard = Yard::new();
    let runs = yard.offer(5);
    yard.refusing =
        Some(Trouble { queue_full: true, status: Some(429), ..trouble(TroubleKind::NotDone, true) });
    let bid = yard.offer(5);
    assert!(yard.is_queued(bid));
    yard.refusing = None;
    yard.pass(Duration::from_secs(600));
    assert!(yard.is_queued(bid), "no more than half of what was too much");
    yard.completes(runs);
    assert_eq!(yard.created, [(runs, 5), (bid, 5), (bid, 5)]);
}

#[test]
fn a_long_queue_is_left_with_the_batchers() {
    let (mut yard, _) = Yard::taught();
    let taken = (0..150).filter(|_| yard.offer_from("m", &[4]).1).count();
    assert_eq!(taken, 100);
    assert!(yard.offer_from("another", &[4]).1);
}
