//! What the deletion of a file proves, and what it does not.

use super::*;

/// Longest that a provider may not see an upload.
const VISIBLE_AFTER: Duration = Duration::from_secs(60);

impl World {
    /// A batch that was taken over and whose job is refused: its file is to be deleted at once.
    fn fencing(&mut self) -> Now {
        let told_at = self.now;
        self.takes_over("batch_1", &["file-1"]);
        assert!(matches!(self.op(), Op::Poll { .. }));
        self.did(Did::Polled(Ok(job(JobPhase::Failed))));
        told_at
    }

    fn fence(&mut self, met: Gone) {
        assert_eq!(self.op(), Op::Delete { file: "file-1".into() });
        self.did(Did::Deleted("file-1".into(), Ok(met)));
    }

    /// Polls a job of the first submission that failed as a whole, for a reason that names no line.
    fn refused(&mut self) {
        self.polling();
        assert!(matches!(self.op(), Op::Poll { .. }));
        let errors = vec![("invalid_request".to_owned(), None, "no".to_owned())];
        self.did(Did::Polled(Ok(JobView { errors, ..job(JobPhase::Failed) })));
    }
}

#[test]
fn a_file_that_was_there_is_a_fence_when_it_is_deleted() {
    let mut world = World::new(1);
    world.fencing();
    world.fence(Gone::Deleted);
    assert!(matches!(world.op(), Op::Find { .. }));
}

#[test]
fn a_young_file_that_is_not_there_is_deleted_again_until_it_is() {
    let mut world = World::new(1);
    let told_at = world.fencing();
    for _ in 0..4 {
        world.fence(Gone::Absent);
    }
    world.fence(Gone::Deleted);
    assert!(world.now - told_at < VISIBLE_AFTER);
    assert!(matches!(world.op(), Op::Find { .. }), "now the list settles");
}

#[test]
fn a_file_that_is_not_there_when_it_would_be_visible_is_gone() {
    let mut world = World::new(1);
    let told_at = world.fencing();
    let mut asked_at = world.now;
    for _ in 0..100 {
        match world.op() {
            Op::Delete { file } => {
                asked_at = world.now;
                world.did(Did::Deleted(file, Ok(Gone::Absent)));
            }
            Op::Find { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked_at - told_at, VISIBLE_AFTER, "the last deletion decides");
    assert!(world.now - asked_at >= Duration::from_secs(30), "and the list settles after that");
}

#[test]
fn a_deletion_counts_as_of_when_it_was_sent() {
    let mut world = World::new(1);
    world.fencing();
    assert!(matches!(world.op(), Op::Delete { .. }));
    world.now += 2 * VISIBLE_AFTER;
    world.did(Did::Deleted("file-1".into(), Ok(Gone::Absent)));
    world.fence(Gone::Absent);
    assert!(matches!(world.op(), Op::Find { .. }));
}

#[test]
fn a_lost_creation_is_not_made_again_while_its_file_may_come_to_sight() {
    let mut world = World::new(1);
    world.granted();
    world.uploaded("file-1");
    let uploaded_at = world.now;
    world.op();
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    let deleted_again = loop {
        match world.op() {
            Op::Find { .. } => world.did(Did::Found(Ok((Vec::new(), true)))),
            Op::Delete { file } => {
                world.did(Did::Deleted(file, Ok(Gone::Absent)));
                if world.now - uploaded_at >= VISIBLE_AFTER {
                    break world.now;
                }
            }
            other => panic!("{other:?} before the file is certainly gone"),
        }
    };
    assert!(matches!(world.op(), Op::Find { .. }));
    assert!(world.now - deleted_again >= Duration::from_secs(30));
}

#[test]
fn a_job_that_fails_for_another_submitters_fence_is_no_refusal() {
    let mut world = World::new(2);
    world.refused();
    world.fence(Gone::Absent);
    world.uploaded("file-2");
    assert_eq!(world.op(), Op::Create { file: "file-2".into() });
}

#[test]
fn a_refusal_reaches_the_callers_even_if_its_file_cannot_be_deleted() {
    let mut world = World::new(2);
    world.refused();
    let mut tries = 0;
    let told = loop {
        match world.op() {
            Op::Delete { file } => {
                tries += 1;
                world.did(Did::Deleted(file, Err(trouble(TroubleKind::NotDone, false))));
            }
            Op::Tell(rids, Outcome::Fault(fault)) => break (rids, fault.code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told, (world.rids.clone(), "invalid_request".to_owned()));
    assert!((2..10).contains(&tries), "{tries} tries");
}

#[test]
fn fences_without_end_end_in_the_refusal() {
    let mut world = World::new(1);
    world.refused();
    let mut rounds = 0;
    loop {
        match world.op() {
            Op::Delete { file } => world.did(Did::Deleted(file, Ok(Gone::Absent))),
            Op::Tell(..) => break,
            Op::Poll { .. } => world.did(Did::Polled(Ok(job(JobPhase::Failed)))),
            Op::Create { .. } => world.did(Did::Created(Ok(job(JobPhase::Running)))),
            Op::Upload { .. } => {
                rounds += 1;
                world.ops.insert(
                    0,
                    Op::Upload { name: "llmp-".into(), from: Vec::new(), except: BTreeSet::new() },
                );
                world.uploaded("file-1");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rounds, 16);
}
