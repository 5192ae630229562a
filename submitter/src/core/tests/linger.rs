//! What stays until callers have received what their ingresses have acknowledged.

use super::*;

/// How long what somebody may come back for is kept.
const KEPT: Duration = Duration::from_secs(900);

impl World {
    /// Everything is acknowledged, and so many callers have not received their answers.
    fn delivered(&mut self, unread: Option<u32>) {
        self.polling();
        self.flushed(unread);
    }

    fn flushed(&mut self, unread: Option<u32>) {
        self.unread = unread;
        assert!(matches!(self.op(), Op::Poll { .. }));
        let lines = self.rids.len() as u64;
        self.did(Did::Polled(Ok(JobView { counts: Some((lines, lines, 0)), ..job(JobPhase::Completed) })));
        assert!(matches!(self.op(), Op::Download { .. }));
        self.did(Did::Downloaded(Ok(Lines { succeeded: lines, ..succeeded(&self.rids) })));
        // Where another ingress has a part, its line is not there.
        match self.op() {
            Op::Tell(..) => assert_eq!(self.op(), Op::Flush),
            op => assert_eq!(op, Op::Flush),
        }
        self.did(Did::Flushed);
    }

    /// The ingress says farewell with so many answers unread.
    pub(super) fn leaves_unread(&mut self, ingress: Pid, load: u32) {
        self.hear(ingress, false);
        let (pid, role) = (ingress.to_bytes(), Role::Ingress.into());
        self.give(Input::Heartbeat(wire::Heartbeat { pid, role, leaving: true, load, ..Default::default() }));
    }

    /// When the next deletion starts, from now; `None` if none does within the bound.
    fn deletes_after(&mut self, bound: Duration) -> Option<Duration> {
        let from = self.now;
        match self.next_op(bound)? {
            Op::Delete { file } => {
                self.did(Did::Deleted(file, Ok(Gone::Deleted)));
                Some(self.now - from)
            }
            other => panic!("{other:?}"),
        }
    }

    fn forgets(&mut self) {
        while self.deletes_after(Duration::from_secs(1)).is_some() {}
        assert!(self.core.batches.is_empty(), "forgotten when tidy");
    }

    fn is_kept_for_lost_callers(&mut self) {
        let kept = self.deletes_after(KEPT + Duration::from_secs(60)).expect("not for ever");
        assert!(kept >= KEPT - Duration::from_secs(1) && kept <= KEPT + Duration::from_secs(1), "{kept:?}");
        self.forgets();
    }
}

#[test]
fn what_every_caller_has_received_goes_at_once() {
    let mut world = World::new(2);
    world.delivered(Some(0));
    assert_eq!(world.asked.iter().map(|(ingress, _)| *ingress).collect::<Vec<_>>(), [world.ingress]);
    assert_eq!(world.deletes_after(Duration::from_secs(1)), Some(Duration::ZERO));
    world.forgets();
}

#[test]
fn unread_answers_keep_the_batch_and_its_files_until_they_are_read() {
    let mut world = World::new(2);
    world.delivered(Some(2));
    assert_eq!(world.next_op(Duration::from_millis(300)), None);
    world.unread = Some(1);
    assert_eq!(world.next_op(Duration::from_millis(300)), None);
    assert!(!world.core.batches.is_empty());
    world.unread = Some(0);
    let gone = world.deletes_after(Duration::from_secs(10)).expect("all have read");
    assert!(gone <= Duration::from_secs(2), "{gone:?}");
    world.forgets();
}

#[test]
fn an_ingress_that_does_not_answer_is_asked_again_ever_more_rarely() {
    let mut world = World::new(1);
    world.delivered(None);
    assert_eq!(world.next_op(Duration::from_secs(300)), None);
    let asked = world.asked.len();
    assert!((10..30).contains(&asked), "{asked} questions in 300 s");
    world.unread = Some(0);
    assert!(world.deletes_after(Duration::from_secs(40)).is_some());
    world.forgets();
}

#[test]
fn answers_that_nobody_comes_for_are_kept_no_longer_than_those_of_lost_ingresses() {
    let mut world = World::new(1);
    world.delivered(Some(1));
    let kept = world.deletes_after(KEPT * 2).expect("there is a bound");
    assert!(kept >= KEPT && kept <= KEPT + Duration::from_secs(40), "{kept:?}");
    world.forgets();
}

#[test]
fn every_ingress_of_the_batch_is_waited_for() {
    let mut world = World::new(1);
    let another = world.polling_with_another();
    world.flushed(None);
    let asked: BTreeSet<Pid> = world.asked.iter().map(|(ingress, _)| *ingress).collect();
    assert_eq!(asked, [world.ingress, another].into());
    for (ingress, token) in std::mem::take(&mut world.asked) {
        assert!(world.ops.is_empty(), "{ingress} has not answered");
        world.says_unread(token, 0);
    }
    assert!(world.deletes_after(Duration::from_secs(1)).is_some());
    world.forgets();
}

#[test]
fn answers_that_an_ingress_takes_with_it_are_kept_for_callers_who_come_to_others() {
    // Silent for too long.
    let mut world = World::new(2);
    world.delivered(Some(1));
    world.hear(world.ingress, false);
    for _ in 0..12 {
        world.now += Duration::from_secs(1);
        let mut out = Vec::new();
        world.core.tick(world.now, &mut out);
        world.take(out);
    }
    assert!(world.core.batches[&world.bid].grants.is_empty(), "given up");
    let kept = world.deletes_after(KEPT * 2).expect("there is a bound");
    assert!(kept >= KEPT - Duration::from_secs(5) && kept <= KEPT, "{kept:?}");
    world.forgets();

    // Nobody serves its subject.
    let mut world = World::new(2);
    world.delivered(None);
    let (_, token) = world.asked[0];
    world.give(Input::Answer(token, None));
    world.is_kept_for_lost_callers();
}

#[test]
fn a_farewell_tells_whether_anybody_may_come_back() {
    let mut world = World::new(1);
    world.delivered(Some(1));
    world.leaves_unread(world.ingress, 0);
    assert_eq!(world.deletes_after(Duration::from_secs(1)), Some(Duration::ZERO));
    world.forgets();

    let mut world = World::new(1);
    world.delivered(Some(1));
    world.leaves_unread(world.ingress, 1);
    world.is_kept_for_lost_callers();
}

#[test]
fn who_has_left_without_unread_answers_does_not_keep_those_of_others_nor_is_kept_by_them() {
    let mut world = World::new(1);
    let another = world.polling_with_another();
    world.flushed(None);
    world.leaves_unread(another, 0);
    assert_eq!(world.next_op(Duration::from_secs(5)), None, "the first has unread answers");
    let (_, token) = *world.asked.iter().rfind(|(ingress, _)| *ingress == world.ingress).expect("asked");
    world.says_unread(token, 0);
    assert_eq!(world.deletes_after(Duration::from_secs(1)), Some(Duration::ZERO));
    world.forgets();
}

#[test]
fn a_submitter_that_leaves_does_not_wait_for_readers() {
    let mut world = World::new(1);
    world.delivered(Some(1));
    world.give(Input::Drain);
    world.forgets();
    assert!(world.core.is_finished());

    let mut world = World::new(1);
    world.polling();
    world.give(Input::Drain);
    world.flushed(Some(1));
    assert_eq!(world.asked, []);
    world.forgets();
    assert!(world.core.is_finished());
}

/// An ingress that was given up may live and have its part taken over by another submitter, which needs the files.
#[test]
fn what_is_kept_goes_when_its_submitter_leaves_only_if_nobody_else_is_certainly_there() {
    for cut_off in [false, true] {
        let mut world = World::new(1);
        world.delivered(None);
        let (_, token) = world.asked[0];
        world.give(Input::Answer(token, None));
        assert_eq!(world.next_op(Duration::from_secs(10)), None, "kept for lost callers");
        world.give(Input::Bus(!cut_off));
        assert_eq!(world.next_op(Duration::from_secs(10)), None);
        world.give(Input::Drain);
        match cut_off {
            false => world.forgets(),
            true => {
                assert_eq!(world.next_op(Duration::from_secs(20)), None);
                world.give(Input::Bus(true));
                world.hears_of_another_submitter();
            }
        }
        assert!(world.core.is_finished());
    }
}

#[test]
fn stale_answers_change_nothing() {
    let mut world = World::new(1);
    world.delivered(None);
    let (_, token) = world.asked[0];
    world.says_unread(token, 1);
    world.says_unread(token, 1);
    assert_eq!(world.next_op(Duration::from_secs(5)), None);
    world.says_unread(token, 0);
    assert_eq!(world.next_op(Duration::from_millis(1)), None, "of a question that was asked anew");
    world.says_unread(u64::MAX, 0);
    assert!(!world.core.batches.is_empty());
}
