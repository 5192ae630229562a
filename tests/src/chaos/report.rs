//! What came of a crash, and the table of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use simulator::{Handle, Op};

use super::client::Answer;
use super::stage::Crash;
use crate::processes::LOOK;

/// How long files may stay after the last answer before they are counted as left.
const TIDY: Duration = Duration::from_secs(5);

/// What must hold.
#[derive(Debug, Clone)]
pub struct Expect {
    /// How often each request is paid for.
    pub billed: RangeInclusive<u64>,
    /// Markers of calls that need no answer begin with this.
    pub unanswered: &'static str,
}

impl Expect {
    /// Every request is paid for once and answered.
    pub const ONCE: Self = Self { billed: 1..=1, unanswered: "-" };
    /// Each request is two samples, which are both paid for and answered.
    pub const TWO_SAMPLES: Self = Self { billed: 2..=2, unanswered: "-" };
    /// Nobody is left to be answered.
    pub const AT_MOST_ONCE: Self = Self { billed: 0..=1, unanswered: "" };
    /// The same, and nothing was sent to the provider.
    pub const NEVER: Self = Self { billed: 0..=0, unanswered: "" };
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    billed: String,
    answered: String,
    first: Option<Duration>,
    last: Option<Duration>,
    calls: String,
    left: usize,
    /// What must not be.
    pub wrong: Vec<String>,
    /// More that is worth saying.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Whether something is as it must not be.
    pub fn is_wrong(&self) -> bool {
        !self.wrong.is_empty()
    }

    /// Adds to what is said.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds to what is wrong, unless it holds.
    #[must_use]
    pub fn and(mut self, holds: bool, otherwise: impl Into<String>) -> Self {
        if !holds {
            self.wrong.push(otherwise.into());
        }
        self
    }
}

/// The judgement of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be.
    Ok,
    /// Not as it must be.
    Wrong,
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its number.
    pub number: &'static str,
    /// The crash point and how it was hit.
    pub point: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether that is right.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// Compares what callers got and what was paid for with what must be.
pub async fn judge(
    simulator: &Handle,
    crash: &Crash,
    markers: &[String],
    answers: &[Answer],
    expect: Expect,
) -> Outcome {
    let began = Instant::now();
    while simulator.files_left_total() > 0 && began.elapsed() < TIDY {
        tokio::time::sleep(LOOK).await;
    }
    let state = simulator.state();
    let mut outcome = Outcome { left: state.files_left, ..Outcome::default() };
    judge_bill(simulator, markers, &expect, &mut outcome);
    judge_answers(crash, markers, answers, &expect, &mut outcome);
    outcome.calls = since(&crash.ops, &state.ops);
    if state.violation_count > 0 {
        outcome.wrong.push(format!("violations: {:?}", state.violations));
    }
    outcome
}

fn judge_bill(simulator: &Handle, markers: &[String], expect: &Expect, outcome: &mut Outcome) {
    let mut times: BTreeMap<&str, u64> = markers.iter().map(|marker| (marker.as_str(), 0)).collect();
    let ledger = simulator.ledger();
    let billed = ledger.iter().filter(|entry| entry.billed).filter_map(|entry| entry.marker.as_deref());
    for marker in billed {
        *times.entry(marker).or_default() += 1;
    }
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    times.values().for_each(|times| *counts.entry(*times).or_default() += 1);
    let text: Vec<String> = counts.iter().map(|(times, requests)| format!("{requests} x {times}")).collect();
    outcome.billed = text.join(", ");
    if counts.keys().any(|times| !expect.billed.contains(times)) {
        outcome.wrong.push(format!("billed {}", outcome.billed));
    }
}

fn judge_answers(
    crash: &Crash,
    markers: &[String],
    answers: &[Answer],
    expect: &Expect,
    outcome: &mut Outcome,
) {
    let own = answers.iter().filter(|answer| answer.wrong().is_none());
    let mut after: Vec<Duration> =
        own.clone().filter_map(|answer| answer.at.checked_duration_since(crash.at)).collect();
    after.sort_unstable();
    (outcome.first, outcome.last) = (after.first().copied(), after.last().copied());
    let mut failures: BTreeMap<String, usize> = BTreeMap::new();
    for answer in answers {
        if let Some(wrong) = answer.wrong() {
            *failures.entry(wrong).or_default() += 1;
        }
    }
    let silent = markers.len() - answers.len();
    if silent > 0 {
        failures.insert("no answer at all".into(), silent);
    }
    outcome.answered = format!("{} of {}", own.count(), markers.len());
    for (failure, count) in failures {
        let _ = write!(outcome.answered, "; {count} {failure}");
    }
    let needs = |marker: &&String| !marker.starts_with(expect.unanswered);
    let has = |marker: &str| answers.iter().any(|answer| answer.marker == marker && answer.wrong().is_none());
    let missing = markers.iter().filter(needs).filter(|marker| !has(marker)).count();
    if missing > 0 {
        outcome.wrong.push(format!("{missing} without their answer"));
    }
    let again = answers.iter().filter(|answer| answer.sent.len() > 1).count();
    if again > 0 {
        outcome.notes.push(format!("{again} calls were sent again"));
    }
}

fn since(before: &BTreeMap<Op, u64>, after: &BTreeMap<Op, u64>) -> String {
    let more = after.iter().map(|(op, count)| (op, count - before.get(op).copied().unwrap_or(0)));
    let text: Vec<String> = more
        .filter(|(_, count)| *count > 0)
        .map(|(op, count)| format!("{op:?} {count}").to_lowercase())
        .collect();
    if text.is_empty() { "none".into() } else { text.join(", ") }
}

/// The table, a paragraph for each row.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let seconds =
        |time: Option<Duration>| time.map_or("-".into(), |time| format!("{:.1} s", time.as_secs_f64()));
    for row in rows {
        let outcome = &row.outcome;
        let verdict = match row.verdict {
            Verdict::Ok => "ok",
            Verdict::Wrong => "WRONG",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:>5}  {verdict}  {}", row.number, row.point);
        let _ = writeln!(
            text,
            "       billed {}; answered {}; next answer after {}, last {}; files left {}; took {:.0} s",
            outcome.billed,
            outcome.answered,
            seconds(outcome.first),
            seconds(outcome.last),
            outcome.left,
            row.took.as_secs_f64()
        );
        let _ = writeln!(text, "       provider calls after it: {}", outcome.calls);
        for (what, list) in [("WRONG", &outcome.wrong), ("note", &outcome.notes)] {
            for item in list {
                let _ = writeln!(text, "       {what}: {item}");
            }
        }
    }
    text
}
