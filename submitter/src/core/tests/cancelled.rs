//! What requests get whose line is not in the files of a job that was cancelled or ran out of time. Only of what was certainly
//! not executed may that be said: it may be sent again.

use super::*;

/// What the second of two requests gets when only the first has a line, as to a cancelled job: its code, and how often the files
/// were downloaded.
fn code_of_missing(counts: Option<(u64, u64, u64)>, lines: impl Fn(Lines) -> Lines) -> (String, u32) {
    let (code, downloads) = code_after(JobPhase::Cancelled, counts, &lines);
    let expired = if code == "batch_cancelled" { "batch_expired" } else { &code };
    assert_eq!(code_after(JobPhase::Expired, counts, &lines), (expired.to_owned(), downloads));
    (code, downloads)
}

fn code_after(
    phase: JobPhase,
    counts: Option<(u64, u64, u64)>,
    lines: &impl Fn(Lines) -> Lines,
) -> (String, u32) {
    let mut world = World::new(2);
    world.polling();
    world.op();
    world.did(Did::Polled(Ok(JobView { counts, ..job(phase) })));
    let mut downloads = 0;
    loop {
        match world.op() {
            Op::Download { .. } => {
                downloads += 1;
                let lines = lines(succeeded(&world.rids[..1]));
                world.did(Did::Downloaded(Ok(lines)));
            }
            Op::Tell(rids, Outcome::Fault(fault)) => {
                assert_eq!(rids, world.rids[1..]);
                let class = match fault.code.as_str() {
                    "batch_cancelled" => FaultClass::Unavailable,
                    "batch_expired" => FaultClass::Expired,
                    _ => FaultClass::Internal,
                };
                assert_eq!((fault.class, fault.no_retry), (class, class != FaultClass::Unavailable));
                return (fault.code, downloads);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_line_that_no_count_claims_was_not_executed() {
    assert_eq!(code_of_missing(Some((2, 1, 0)), |lines| lines), ("batch_cancelled".into(), 1));
    let failed = |lines| Lines { succeeded: 0, failed: 1, ..lines };
    assert_eq!(code_of_missing(Some((2, 0, 1)), failed), ("batch_cancelled".into(), 1));
    let not_executed = |lines| Lines { succeeded: 0, ..lines };
    assert_eq!(code_of_missing(Some((2, 0, 0)), not_executed), ("batch_cancelled".into(), 1));
}

#[test]
fn a_line_that_was_counted_is_looked_for_and_never_said_to_be_cancelled() {
    for counts in [(2, 2, 0), (2, 1, 1)] {
        assert_eq!(code_of_missing(Some(counts), |lines| lines), ("no_result_line".into(), 3), "{counts:?}");
    }
    // A line that was not executed does not stand for one that was.
    let not_executed = |lines| Lines { succeeded: 0, ..lines };
    assert_eq!(code_of_missing(Some((2, 1, 0)), not_executed), ("no_result_line".into(), 3));
    // Nor does one that failed.
    let failed = |lines| Lines { succeeded: 0, failed: 1, ..lines };
    assert_eq!(code_of_missing(Some((2, 1, 0)), failed), ("no_result_line".into(), 3));
}

#[test]
fn counts_that_are_absent_or_wrong_prove_nothing() {
    for counts in [None, Some((2, 0, 0)), Some((0, 0, 0))] {
        assert_eq!(code_of_missing(counts, |lines| lines), ("no_result_line".into(), 1), "{counts:?}");
    }
}
