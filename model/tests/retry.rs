//! A repetition at another ingress: what holds, and what each rule is for.

use model::retry::{Bounds, Fault, Look, Retry, Rules, names};
use model::{Until, check};

const PROTOCOL: Rules = Rules::protocol();

/// Explores everything; but for these, whatever must be possible is.
fn holds(rules: Rules, bounds: Bounds, impossible: &[&str]) {
    let report = check(Retry { rules, bounds }, Until::End, 1);
    assert_eq!(report.violated(), impossible, "{report}");
}

/// Without a rule this property is violated.
#[expect(clippy::print_stderr, reason = "with --nocapture the tests tell how")]
fn breaks(property: &'static str, rules: Rules, bounds: Bounds) {
    let report = check(Retry { rules, bounds }, Until::Found(property), 1);
    let verdict = report.verdict(property).expect("the names are those of the properties");
    let history = verdict.history.clone().unwrap_or_default();
    eprintln!("{} states, {} steps: {property}\n{}", report.states, history.len(), history.join("\n"));
    assert!(!verdict.holds, "without the rule nothing went wrong in {} states", report.states);
}

#[test]
fn two_submitters_and_two_faults() {
    holds(PROTOCOL, Bounds::new(2, 2), &[]);
}

/// Who announces anew needs a submitter that lives.
#[test]
fn one_submitter_and_three_faults() {
    holds(PROTOCOL, Bounds::new(1, 3), &[names::EXCUSED]);
}

/// The caller that stays at the first ingress is not forgotten, and may buy its own.
#[test]
fn another_caller_stays() {
    let bounds = Bounds { twin: true, ..Bounds::new(1, 2) };
    holds(PROTOCOL, bounds, &[names::WITHHELD, names::EXCUSED]);
}

/// That a submitter drops the part of the first ingress when it copies it costs a recovery, but breaks no promise.
#[test]
fn moving_instead_of_copying_costs_only_a_recovery() {
    let rules = Rules { keep_origin: false, ..PROTOCOL };
    holds(rules, Bounds::new(1, 2), &[names::EXCUSED]);
    let bounds = Bounds { twin: true, ..Bounds::new(1, 2) };
    holds(rules, bounds, &[names::WITHHELD, names::EXCUSED]);
}

#[test]
fn announcing_after_a_fixed_time_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { all_answer: false, ..PROTOCOL }, Bounds::new(2, 0));
}

#[test]
fn asking_ingresses_only_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { ask_submitters: false, ..PROTOCOL }, Bounds::new(2, 1));
}

/// A submitter says no, is then granted the request, and then its ingress dies.
#[test]
fn asking_all_at_the_same_time_bills_twice() {
    let bounds = Bounds::new(2, 1).with(&[Fault::IngressCrash]);
    breaks(names::BILLED_ONCE, Rules { origin_first: false, ..PROTOCOL }, bounds);
}

#[test]
fn saying_no_before_the_job_is_known_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { wait_creating: false, ..PROTOCOL }, Bounds::new(2, 1));
}

#[test]
fn saying_no_before_the_intent_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { wait_claiming: false, ..PROTOCOL }, Bounds::new(2, 1));
}

#[test]
fn answering_for_what_was_left_out_lets_a_caller_wait_forever() {
    breaks(names::NOBODY_FORGOTTEN, Rules { forget_left_out: false, ..PROTOCOL }, Bounds::new(2, 1));
}

/// Both the first ingress and the other submit again what was not executed.
#[test]
fn announcing_a_copy_bills_twice() {
    let bounds = Bounds::new(2, 2).with(&[Fault::IngressPause, Fault::JobFails]);
    breaks(names::BILLED_ONCE, Rules { copy_asks: false, ..PROTOCOL }, bounds);
}

#[test]
fn submitting_at_once_what_was_taken_over_bills_twice() {
    let bounds = Bounds::new(2, 1).with(&[Fault::IngressPause]);
    breaks(names::BILLED_ONCE, Rules { release: false, ..PROTOCOL }, bounds);
}

/// An ingress that stood still grants a request whose caller has gone.
#[test]
fn granting_after_standing_still_bills_twice() {
    let bounds = Bounds::new(2, 1).with(&[Fault::IngressPause]);
    breaks(names::BILLED_ONCE, Rules { look: Look::Nowhere, ..PROTOCOL }, bounds);
}

/// Who was cut off from its caller, too, sees an open socket.
#[test]
fn looking_at_sockets_only_bills_twice() {
    let bounds = Bounds::new(2, 1).with(&[Fault::IngressCut]);
    breaks(names::BILLED_ONCE, Rules { look: Look::Sockets, ..PROTOCOL }, bounds);
}

/// A submitter stands still before its file is registered, and its ingress before it registers it.
#[test]
fn registering_after_standing_still_bills_twice() {
    let bounds = Bounds::new(1, 2).with(&[Fault::IngressPause, Fault::SubmitterPause]);
    breaks(names::BILLED_ONCE, Rules { doubt_all: false, ..PROTOCOL }, bounds.clone());
    breaks(names::BILLED_ONCE, Rules { end_epoch: false, ..PROTOCOL }, bounds);
}

#[test]
fn concluding_from_a_silence_that_is_over_bills_twice() {
    let bounds = Bounds::new(1, 3).with(&[Fault::IngressPause, Fault::SubmitterPause, Fault::JobFails]);
    breaks(names::BILLED_ONCE, Rules { ask_revived: false, ..PROTOCOL }, bounds);
}

/// Everybody is asked at the same time, a copy is announced like any part, only sockets are looked at.
#[test]
fn what_was_decided_first_bills_twice_at_one_death() {
    let bounds = Bounds::new(2, 1).with(&[Fault::IngressCrash]);
    breaks(names::BILLED_ONCE, Rules::decided(), bounds);
}

#[test]
fn nothing_happens_by_itself() {
    let bounds = Bounds::new(2, 0);
    let impossible = [names::COPIED, names::BOTH, names::EXCUSED, names::SILENT];
    holds(PROTOCOL, bounds, &impossible);
}

/// The limit: an ingress that others take for dead, and that does not notice, may have a caller that it has not seen leave.
#[test]
fn losing_sight_of_an_ingress_that_works_buys_a_call_again() {
    let bounds = Bounds::new(2, 1).with(&[Fault::LostSight]);
    breaks(names::BILLED_ONCE, PROTOCOL, bounds);
}
