//! A creation without an answer at an API whose jobs may not show whose they are.

use super::*;

/// Its creation has no answer.
fn lost() -> World {
    let mut world = World::new(2);
    world.granted();
    world.uploaded("file-1");
    world.op();
    world.did(Did::Created(Err(trouble(TroubleKind::Ambiguous, true))));
    world
}

/// A job that shows nothing of ours.
fn mute() -> JobView {
    JobView { input_file: None, ..job(JobPhase::Completed) }
}

#[test]
fn a_job_is_looked_for_by_its_batch_and_its_file() {
    let mut world = lost();
    let Op::Find { batch, files, .. } = world.op() else { panic!("looked for") };
    assert_eq!((batch, files), (world.bid, vec!["file-1".to_owned()]));
}

#[test]
fn while_a_job_may_be_ours_its_file_stays_and_nothing_is_created() {
    let mut world = lost();
    let began = world.now;
    while world.now - began < Duration::from_secs(6 * 3600) {
        assert!(matches!(world.op(), Op::Find { .. }));
        world.did(Did::Found(Ok((Vec::new(), false))));
    }
    // It has ended, and its answers are ours.
    assert!(matches!(world.op(), Op::Find { .. }));
    world.did(Did::Found(Ok((vec![mute()], true))));
    assert!(matches!(world.op(), Op::Poll { .. }));
}

#[test]
fn when_all_have_ended_and_none_is_ours_the_batch_is_made_again() {
    let mut world = lost();
    let mut looks = 0;
    loop {
        match world.op() {
            Op::Find { .. } => {
                looks += 1;
                world.did(Did::Found(Ok((Vec::new(), looks > 50))));
            }
            Op::Delete { file } => {
                assert!(looks > 50, "not while one may be ours");
                world.did(Did::Deleted(file, Ok(Gone::Deleted)));
            }
            Op::Upload { .. } => break,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_never_known_is_said_in_the_end() {
    for fenced in [false, true] {
        let mut world = lost();
        let mut settles = false;
        let fault = loop {
            match world.op() {
                // A job that shows nothing may also come late, behind the fence.
                Op::Find { .. } => world.did(Did::Found(Ok((Vec::new(), fenced && !settles)))),
                Op::Delete { file } => {
                    assert!(fenced, "its job may read it");
                    settles = true;
                    world.did(Did::Deleted(file, Ok(Gone::Deleted)));
                }
                Op::Tell(rids, Outcome::Fault(fault)) if rids == world.rids => break fault,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((fault.class, fault.code.as_str()), (FaultClass::Ambiguous, "submission_ambiguous"));
        let day = Duration::from_secs(24 * 3600);
        assert!((day..2 * day).contains(&(world.now - Now::ZERO)), "{:?}", world.now);
        world.finish();
    }
}
