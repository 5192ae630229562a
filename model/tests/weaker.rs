//! Every rule is needed: without it there is a history in which a promise is broken.

use model::{Absent, Bounds, Fault, Model, Rules, Until, check, names};

/// Without a rule this property is violated.
#[expect(clippy::print_stderr, reason = "with --nocapture the tests tell how")]
fn breaks(property: &'static str, rules: Rules, bounds: Bounds) {
    let report = check(Model { rules, bounds }, Until::Found(property), 1);
    let verdict = report.verdict(property).expect("the names are those of the properties");
    let history = verdict.history.clone().unwrap_or_default();
    eprintln!("{} states, {} steps: {property}\n{}", report.states, history.len(), history.join("\n"));
    assert!(!verdict.holds, "without the rule nothing went wrong in {} states", report.states);
}

const PROTOCOL: Rules = Rules::protocol();

#[test]
fn creating_again_after_a_timeout_bills_twice() {
    let rules = Rules { find: false, fence: false, ..PROTOCOL };
    breaks(names::BILLED_ONCE, rules, Bounds::new(1, 1, 1));
}

#[test]
fn looking_for_the_job_without_deleting_its_file_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { fence: false, ..PROTOCOL }, Bounds::new(1, 1, 1));
}

#[test]
fn taking_over_without_deleting_registered_files_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { fence_registered: false, ..PROTOCOL }, Bounds::new(1, 1, 1));
}

#[test]
fn lists_before_the_settling_time_bill_twice() {
    breaks(names::BILLED_ONCE, Rules { settle: false, ..PROTOCOL }, Bounds::new(1, 1, 1));
}

#[test]
fn a_single_list_bills_twice_when_it_is_stale() {
    breaks(names::BILLED_ONCE, Rules { lists: 1, ..PROTOCOL }, Bounds::new(1, 1, 2));
}

#[test]
fn believing_that_an_unseen_file_is_deleted_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { absent: Absent::Trusted, ..PROTOCOL }, Bounds::new(1, 1, 2));
}

#[test]
fn waiting_for_an_unseen_file_without_deleting_it_at_last_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { absent: Absent::Waited, ..PROTOCOL }, Bounds::new(1, 1, 2));
}

/// A file that was not uploaded as a whole is never there.
#[test]
fn never_believing_that_a_file_is_absent_lets_a_caller_wait_forever() {
    breaks(names::NOBODY_FORGOTTEN, Rules { absent: Absent::Doubted, ..PROTOCOL }, Bounds::new(1, 1, 2));
}

#[test]
fn creating_without_registering_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { register: false, ..PROTOCOL }, Bounds::new(1, 1, 1));
}

#[test]
fn registering_with_the_first_ingress_only_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { register_with_all: false, ..PROTOCOL }, Bounds::new(2, 1, 1));
}

#[test]
fn registering_without_compare_and_set_bills_twice() {
    let rules = Rules { check_epoch: false, check_files: false, ..PROTOCOL };
    breaks(names::BILLED_ONCE, rules, Bounds::new(1, 1, 1));
}

#[test]
fn registering_for_any_epoch_bills_twice() {
    breaks(names::BILLED_ONCE, Rules { check_epoch: false, ..PROTOCOL }, Bounds::new(1, 1, 2));
}

/// Files that a submitter does not know must either be fenced when a grant names them or make the registration fail.
#[test]
fn registering_beside_unknown_files_bills_twice() {
    let rules = Rules { check_files: false, fence_unknown: false, hold_for_lost: false, ..PROTOCOL };
    let bounds = Bounds::new(1, 1, 2).with(&[Fault::LeftOut, Fault::SecondOffer]);
    breaks(names::BILLED_ONCE, rules, bounds);
}

/// A grant is taken back, one of its requests goes into another batch, and an old claim brings the same epoch again: the
/// old file, with both, is registered.
#[test]
fn epochs_that_start_over_bill_twice() {
    let kinds = [Fault::Suspicion, Fault::LateClaim, Fault::CallerLeaves];
    let bounds = Bounds::new(1, 2, 3).with(&kinds);
    breaks(names::BILLED_ONCE, Rules { unique_epochs: false, ..PROTOCOL }, bounds.clone());
    breaks(names::BILLED_ONCE, Rules { unique_epochs: false, release: true, ..PROTOCOL }, bounds.clone());
    breaks(names::BILLED_ONCE, Rules::without_recovery(), bounds);
}

#[test]
fn errors_of_an_old_epoch_end_a_request_that_is_billed() {
    let rules = Rules { drop_old_errors: false, upload_again: false, ..PROTOCOL };
    breaks(names::NO_PAID_ERROR, rules, Bounds::new(1, 1, 2));
}

/// A live submitter whose file another has fenced tells its callers so, also those at ingresses that trust it.
#[test]
fn taking_the_fence_for_a_refusal_gives_errors() {
    breaks(names::NO_ERROR, Rules { upload_again: false, ..PROTOCOL }, Bounds::new(2, 1, 1));
}

/// The same batch at two submitters, one of which cleans up after a lost upload.
#[test]
fn files_of_the_same_name_at_two_submitters_are_swept_away() {
    let bounds = Bounds::new(2, 1, 2).with(&[Fault::SecondOffer, Fault::UploadLost]);
    breaks(names::NO_ERROR, Rules { own_names: false, upload_again: false, ..PROTOCOL }, bounds);
}

#[test]
fn without_recovery_callers_get_errors_for_what_is_billed() {
    breaks(names::NO_PAID_ERROR, Rules { recover: false, ..PROTOCOL }, Bounds::new(1, 1, 1));
}

#[test]
fn without_sync_a_caller_waits_forever() {
    breaks(names::NOBODY_FORGOTTEN, Rules { sync: false, ..PROTOCOL }, Bounds::new(1, 1, 2));
}

#[test]
fn an_answer_let_go_before_its_caller_has_it_is_bought_again() {
    let bounds = Bounds::new(2, 1, 2).with(&[Fault::CallerLeaves, Fault::IngressCrash]);
    breaks(names::CALL_ONCE, Rules { keep_unreceived: false, ..PROTOCOL }, bounds);
}

/// The limit of asking around: whoever holds a request but does not say so in time cannot keep it from being bought again.
#[test]
fn silence_buys_a_call_again() {
    let bounds = Bounds::new(2, 1, 2).with(&[Fault::CallerLeaves, Fault::Silence]);
    breaks(names::CALL_ONCE, PROTOCOL, bounds);
}
