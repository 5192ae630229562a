//! The protocol keeps its promises in every history within these bounds.

use model::{Bounds, Model, Rules, Until, check, names};

/// Explores everything; but for these, whatever must be possible is.
fn holds(bounds: Bounds, impossible: &[&str]) {
    let report = check(Model { rules: Rules::protocol(), bounds }, Until::End, 1);
    assert_eq!(report.violated(), impossible, "{report}");
}

#[test]
fn one_request_and_three_faults() {
    holds(Bounds::new(1, 1, 3), &[names::CAME_BACK]);
}

#[test]
fn two_requests_of_an_ingress_and_two_faults() {
    holds(Bounds::new(1, 2, 2), &[names::CAME_BACK]);
}

#[test]
fn two_ingresses_in_one_batch_and_two_faults() {
    holds(Bounds::new(2, 1, 2), &[]);
}

#[test]
fn two_ingresses_with_two_requests_each_and_one_fault() {
    holds(Bounds::new(2, 2, 1), &[]);
}

/// The other way to go on after a recovery: what was not billed goes back to a batcher.
#[test]
fn requests_are_given_back_after_a_recovery() {
    let rules = Rules { release: true, ..Rules::protocol() };
    for (bounds, impossible) in
        [(Bounds::new(1, 2, 2), [names::CAME_BACK].as_slice()), (Bounds::new(2, 1, 1), &[])]
    {
        let report = check(Model { rules, bounds }, Until::End, 1);
        assert_eq!(report.violated(), impossible, "{report}");
    }
}

#[test]
fn nothing_happens_by_itself() {
    let report = check(
        Model { rules: Rules::protocol(), bounds: Bounds::new(1, 1, 0) },
        Until::Found(names::ANSWERED),
        1,
    );
    let answered = report.verdict(names::ANSWERED).and_then(|verdict| verdict.history.clone()).unwrap();
    assert_eq!(answered.len(), 9, "{answered:#?}");
}
