//! Results that are broken: a few tries, then what could be read is delivered, and the others are told.

use super::*;

impl World {
    /// A job of two requests has ended.
    fn ended(counts: Option<(u64, u64, u64)>, phase: JobPhase) -> Self {
        let mut world = World::new(2);
        world.polling();
        world.op();
        world.did(Did::Polled(Ok(JobView { counts, ..job(phase) })));
        world
    }
}

/// What is read: so many of the requests' lines, and something that cannot be.
fn read(world: &World, lines: usize) -> Lines {
    Lines { unreadable: 1, ..succeeded(&world.rids[..lines]) }
}

#[test]
fn what_cannot_be_read_is_asked_for_a_few_times() {
    for phase in [JobPhase::Completed, JobPhase::Expired, JobPhase::Cancelled] {
        // With counts, whatever they say, and without.
        for counts in [None, Some((2, 2, 0)), Some((2, 1, 0))] {
            let mut world = World::ended(counts, phase);
            let (began, mut downloads) = (world.now, 0);
            let (rids, fault) = loop {
                match world.op() {
                    Op::Download { .. } => {
                        downloads += 1;
                        let lines = read(&world, 1);
                        world.did(Did::Downloaded(Ok(lines)));
                    }
                    Op::Tell(rids, Outcome::Fault(fault)) => break (rids, fault),
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!((downloads, rids), (3, world.rids[1..].to_vec()), "{phase:?} {counts:?}");
            assert!(world.now - began < Duration::from_secs(60), "{:?}", world.now - began);
            // It may have been executed: nobody says that it was not.
            assert_eq!((fault.class, fault.code.as_str()), (FaultClass::Internal, "no_result_line"));
            assert!(fault.no_retry && fault.message.contains("cannot be read"));
            world.finish();
        }
    }
}

#[test]
fn what_can_be_read_the_second_time_is_an_answer() {
    let mut world = World::ended(None, JobPhase::Completed);
    assert!(matches!(world.op(), Op::Download { .. }));
    let nothing = read(&world, 0);
    world.did(Did::Downloaded(Ok(nothing)));
    assert!(matches!(world.op(), Op::Download { .. }));
    let all = succeeded(&world.rids);
    world.did(Did::Downloaded(Ok(all)));
    world.finish();
}

#[test]
fn garbage_beside_all_answers_is_nothing() {
    let mut world = World::ended(None, JobPhase::Completed);
    world.op();
    let all = read(&world, 2);
    world.did(Did::Downloaded(Ok(all)));
    world.finish();
}

/// A world whose job, at this provider, is answered with what cannot be read.
fn illegible_at(upstream: &str) -> World {
    let mut world = World::new(2);
    world.granted_for(upstream);
    if !upstream.starts_with("open") || upstream == "openrouter" {
        world.registers();
        assert!(matches!(world.op(), Op::CreateInline { .. }));
    } else {
        world.uploaded("file-1");
        assert!(matches!(world.op(), Op::Create { .. }));
    }
    world.did(Did::Created(Ok(job(JobPhase::Running))));
    world
}

#[test]
fn a_job_that_holds_its_results_and_cannot_be_read_is_given_up_within_the_hour() {
    for upstream in ["openrouter", "gemini"] {
        let mut world = illegible_at(upstream);
        let began = world.now;
        let page = Trouble { status: Some(200), ..trouble(TroubleKind::Ambiguous, true) };
        let fault = loop {
            match world.op() {
                Op::Poll { .. } => world.did(Did::Polled(Err(page.clone()))),
                Op::Tell(rids, Outcome::Fault(fault)) if rids == world.rids => break fault,
                other => panic!("{other:?}"),
            }
        };
        let took = world.now - began;
        assert!((Duration::from_secs(600)..Duration::from_secs(3600)).contains(&took), "{took:?}");
        assert_eq!((fault.code.as_str(), fault.no_retry), ("no_result_line", true));
    }
}

#[test]
fn other_trouble_with_a_poll_says_nothing_about_the_job() {
    let page = |status| Trouble { status, ..trouble(TroubleKind::Ambiguous, true) };
    // Where the results are elsewhere, or an answer between is another one.
    for (upstream, answers) in [
        ("openai", [Some(200), Some(200)]),
        ("openrouter", [Some(503), None]),
        ("openrouter", [Some(200), None]),
    ] {
        let mut world = illegible_at(upstream);
        let (began, mut polls) = (world.now, 0);
        while world.now - began < Duration::from_secs(6 * 3600) {
            assert!(matches!(world.op(), Op::Poll { .. }), "{upstream} {answers:?}");
            world.did(Did::Polled(Err(page(answers[polls % 2]))));
            polls += 1;
        }
    }
}
