//! The cases.

use std::time::Duration;

use simulator::{Fault, Op, Rule};

use super::CALLS;
use super::case::{Case, Due};
use super::subject::Subject;

/// Lines of a small batch; [`CALLS`] is a multiple of it.
const FEW: usize = 6;
/// What a refused creation is told.
const REFUSAL: &str = "Not like this.";
/// Longer than it takes to hear that callers have left, many times over.
const CANCELLED_WITHIN: Duration = Duration::from_secs(60);

/// Nothing is broken, one creation, own answers.
const PLAIN: Case = Case {
    name: "",
    rules: |_| Vec::new(),
    words: |_| ("", 200),
    due: Due::Each,
    max_requests: CALLS,
    max_lines: None,
    creations: 1,
};

fn create(code: u16) -> Rule {
    let retry_after = (code == 429).then_some(1);
    let message = Some(REFUSAL.to_owned());
    Rule::new(Fault::Status { code, retry_after, error_code: None, message }).on([Op::Create])
}

fn lost_create() -> Rule {
    Rule::new(Fault::LostAnswer).on([Op::Create]).first(1)
}

/// Every line's own fate, good ones between them.
fn fates(call: usize) -> (&'static str, u16) {
    match call % 5 {
        1 => ("fail:400", 400),
        2 => ("fail:429", 429),
        3 => ("fail:500", 500),
        _ => ("", 200),
    }
}

/// Downloads go wrong at first. What comes with the job is read twice, as an answer to a poll and as results: every second
/// time hits one of them.
fn spoilt(subject: &Subject, fault: Fault, times: u64) -> Vec<Rule> {
    match subject.results_in_job {
        true => vec![Rule::new(fault).on([Op::Retrieve]).every(2)],
        false => vec![Rule::new(fault).on([Op::Content]).first(times)],
    }
}

/// Every case; those that take longest first.
pub static CASES: &[Case] = &[
    Case {
        name: "callers leave, job cancelled",
        rules: |_| vec![Rule::new(Fault::Stall { after: 0 })],
        due: Due::Gone(CANCELLED_WITHIN),
        ..PLAIN
    },
    Case {
        name: "create answer lost, lists lag",
        rules: |_| vec![lost_create(), Rule::new(Fault::ListLag { ms: 3_000 }).on([Op::Create])],
        ..PLAIN
    },
    Case { name: "create answer lost", rules: |_| vec![lost_create()], ..PLAIN },
    Case { name: "results no JSON at first", rules: |subject| spoilt(subject, Fault::Page, 1), ..PLAIN },
    Case {
        name: "expired with some done",
        rules: |_| vec![Rule::new(Fault::ExpireBatch { after: 12 })],
        due: Due::Rest { own: 12, status: 504, says: "batch_expired" },
        ..PLAIN
    },
    Case {
        name: "expired with nothing done",
        rules: |_| vec![Rule::new(Fault::ExpireBatch { after: 0 })],
        due: Due::Rest { own: 0, status: 504, says: "batch_expired" },
        ..PLAIN
    },
    Case {
        name: "line vanished",
        rules: |_| vec![Rule::new(Fault::VanishLines { lines: 1, counted: false })],
        due: Due::Rest { own: CALLS - 1, status: 500, says: "no_result_line" },
        ..PLAIN
    },
    Case { name: "create, 429 at first", rules: |_| vec![create(429).first(2)], creations: 3, ..PLAIN },
    Case {
        name: "create, overloaded at first",
        rules: |subject| subject.overloaded.into_iter().map(|code| create(code).first(2)).collect(),
        creations: 3,
        ..PLAIN
    },
    Case {
        name: "create refused, 400",
        rules: |_| vec![create(400)],
        due: Due::Rest { own: 0, status: 400, says: REFUSAL },
        ..PLAIN
    },
    Case {
        name: "create refused, 403",
        rules: |_| vec![create(403)],
        due: Due::Rest { own: 0, status: 403, says: REFUSAL },
        ..PLAIN
    },
    Case { name: "own answers", ..PLAIN },
    Case { name: "errors by line", words: fates, ..PLAIN },
    Case {
        name: "download cut",
        rules: |subject| spoilt(subject, Fault::Truncate { after: 900, chunked: false }, 2),
        ..PLAIN
    },
    Case { name: "result twice", rules: |_| vec![Rule::new(Fault::DuplicateLine)], ..PLAIN },
    Case { name: "garbage among results", rules: |_| vec![Rule::new(Fault::GarbageLine)], ..PLAIN },
    Case { name: "split by --max-requests", max_requests: FEW, creations: (CALLS / FEW) as u64, ..PLAIN },
    Case {
        name: "split by the provider's limit",
        max_lines: Some(FEW),
        creations: (CALLS / FEW) as u64,
        ..PLAIN
    },
];
