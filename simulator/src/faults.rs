//! What can be broken on purpose: rules that are put in place at run time, and what they decide for one call.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// A kind of call that rules can hit and that is counted.
///
/// The paths are `OpenAI`'s. Anthropic's calls count as what they correspond to: a batch's results are its content, its
/// deletion is a deletion, and messages are synchronous calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// `POST /files`.
    Upload,
    /// `POST /batches`.
    Create,
    /// `GET /batches/{id}`: a poll. In a rule also [`Op::File`].
    Retrieve,
    /// `GET /batches`. In a rule also [`Op::ListFiles`].
    List,
    /// `GET /files/{id}/content`: a download.
    Content,
    /// `DELETE /files/{id}`. In a rule also [`Op::DeleteBatch`].
    Delete,
    /// `POST /batches/{id}/cancel`.
    Cancel,
    /// A synchronous call of a model.
    Sync,
    /// `GET /files/{id}`.
    File,
    /// `GET /files`.
    ListFiles,
    /// The begin of a resumable upload (Gemini). Not hit by rules on [`Op::Upload`].
    StartUpload,
    /// `DELETE /batches/{id}` (Gemini). In a rule also [`Op::Delete`].
    DeleteBatch,
    /// Every call; used in rules only.
    Any,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The call is answered with this HTTP status and nothing is done.
    Status {
        /// HTTP status, 400 to 599.
        code: u16,
        /// Seconds for a `retry-after` header.
        #[serde(default)]
        retry_after: Option<u64>,
        /// The error object's `code`.
        #[serde(default)]
        error_code: Option<String>,
        /// The error object's `message`.
        #[serde(default)]
        message: Option<String>,
    },
    /// The connection is reset before anything is done.
    Reset,
    /// The work is done, then the connection is reset.
    LostAnswer,
    /// The connection is reset, and the work is done so many milliseconds later.
    Late {
        /// Milliseconds between the reset and the work.
        ms: u64,
    },
    /// The work is done at once, the answer comes so many milliseconds later.
    Delay {
        /// Milliseconds before the answer.
        ms: u64,
    },
    /// The work is done at once, the answer waits until a test lets it go.
    Hold,
    /// A download is cut after so many bytes.
    Truncate {
        /// Bytes that still arrive.
        after: usize,
        /// Cut a chunked body instead of one with a content length.
        #[serde(default)]
        chunked: bool,
    },
    /// A download is answered with a page for people in place of what was asked for, with status 200, as some gateways do.
    Page,
    /// 404 (for a create: 400 "Cannot find file") while the object is younger than `ms`, or the first `times` times.
    NotFoundAtFirst {
        /// Age in milliseconds below which the object is not found.
        #[serde(default)]
        ms: u64,
        /// Calls per object that do not find it.
        #[serde(default)]
        times: u32,
    },
    /// What is made by this call appears in lists only after so many milliseconds.
    ListLag {
        /// Milliseconds before it is listed.
        ms: u64,
    },
    /// The created batch ends as `failed` after its validation.
    FailBatch {
        /// The error's `code`, for example `token_limit_exceeded`.
        code: String,
        /// The error's `message`.
        #[serde(default)]
        message: Option<String>,
        /// Line numbers (from 1) to blame; none gives one error whose line is null.
        #[serde(default)]
        lines: Vec<usize>,
    },
    /// The created batch expires when so many of its lines are done.
    ExpireBatch {
        /// Lines that are done before.
        after: usize,
    },
    /// The first so many lines that finish are in neither file.
    VanishLines {
        /// How many lines.
        lines: usize,
        /// They are billed and counted as completed all the same.
        #[serde(default)]
        counted: bool,
    },
    /// The first download of a file lacks its last lines.
    ShortFile {
        /// How many lines are missing.
        lines: usize,
    },
    /// The created batch stays `in_progress` until it is released or cancelled.
    Stall {
        /// Lines that are done before.
        #[serde(default)]
        after: usize,
    },
    /// The batch's output file holds one of its lines twice.
    DuplicateLine,
    /// The batch's output file holds one line that is not JSON.
    GarbageLine,
    /// The batch's absent file ids are empty strings instead of null.
    EmptyStringFileIds,
    /// The batch (Gemini) is said to have succeeded so many milliseconds before it has an output.
    LateOutput {
        /// Milliseconds without an output.
        ms: u64,
    },
}

impl Fault {
    /// The calls a rule hits when it names none.
    fn natural_ops(&self) -> &'static [Op] {
        match self {
            Fault::Truncate { .. } | Fault::Page | Fault::ShortFile { .. } => &[Op::Content],
            Fault::NotFoundAtFirst { .. } => &[Op::Create, Op::Retrieve, Op::Content],
            Fault::ListLag { .. } => &[Op::Upload, Op::Create],
            Fault::FailBatch { .. }
            | Fault::ExpireBatch { .. }
            | Fault::VanishLines { .. }
            | Fault::Stall { .. }
            | Fault::DuplicateLine
            | Fault::GarbageLine
            | Fault::EmptyStringFileIds
            | Fault::LateOutput { .. } => &[Op::Create],
            _ => &[Op::Any],
        }
    }
}

/// One rule: a fault, the calls it hits, and how often. All given conditions must hold; none means always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The calls it hits; empty means those the fault is made for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Op>,
    /// Calls let through before the rule begins to count.
    #[serde(default)]
    pub skip: u64,
    /// Hit only the first so many calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Hit only every n-th call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Hit with this probability, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What goes wrong.
    pub fault: Fault,
}

impl Rule {
    /// The fault on every call it is made for.
    pub fn new(fault: Fault) -> Self {
        Self { on: Vec::new(), skip: 0, first: None, every: None, probability: None, fault }
    }

    /// Hits only these calls.
    pub fn on(mut self, ops: impl Into<Vec<Op>>) -> Self {
        self.on = ops.into();
        self
    }

    /// Lets so many calls through first.
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Hits only the first so many calls.
    pub fn first(mut self, calls: u64) -> Self {
        self.first = Some(calls);
        self
    }

    /// Hits only every n-th call.
    pub fn every(mut self, n: u64) -> Self {
        self.every = Some(n);
        self
    }

    /// Hits with this probability, 0 to 1.
    pub fn probability(mut self, p: f64) -> Self {
        self.probability = Some(p);
        self
    }

    fn covers(&self, op: Op) -> bool {
        let ops = if self.on.is_empty() { self.fault.natural_ops() } else { &self.on };
        ops.iter().any(|&ruled| {
            ruled == op
                || ruled == Op::Any
                || (ruled == Op::Retrieve && op == Op::File)
                || (ruled == Op::List && op == Op::ListFiles)
                || (ruled == Op::Delete && op == Op::DeleteBatch)
        })
    }

    fn fires(&self, seen: u64, rng: &mut Rng) -> bool {
        if seen <= self.skip {
            return false;
        }
        let counted = seen - self.skip;
        self.first.is_none_or(|n| counted <= n)
            && self.every.is_none_or(|n| n != 0 && counted.is_multiple_of(n))
            && self.probability.is_none_or(|p| rng.unit() < p)
    }
}

/// A set of rules, as `POST /_sim/faults` takes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSet {
    /// Decides probabilities.
    #[serde(default)]
    pub seed: u64,
    /// The rules, all of which apply.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

impl From<Vec<Rule>> for FaultSet {
    fn from(rules: Vec<Rule>) -> Self {
        Self { seed: 0, rules }
    }
}

impl From<Rule> for FaultSet {
    fn from(rule: Rule) -> Self {
        vec![rule].into()
    }
}

/// What is answered in place of doing the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// This status with an error object.
    Status {
        /// HTTP status.
        code: u16,
        /// Seconds for `retry-after`.
        retry_after: Option<u64>,
        /// The error object's `code`.
        error_code: Option<String>,
        /// The error object's `message`.
        message: Option<String>,
    },
    /// The connection is reset.
    Reset,
    /// The object is said not to exist.
    NotFound,
}

/// How a call ends whose work is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ending {
    /// With its answer.
    #[default]
    Answered,
    /// With a reset connection.
    Lost,
    /// With a reset connection, before the work is done so many milliseconds later.
    Late(u64),
}

/// Faults that stay with a batch for its life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchFaults {
    /// Fail with this code, message and lines.
    pub fail: Option<(String, Option<String>, Vec<usize>)>,
    /// Expire when so many lines are done.
    pub expire_after: Option<usize>,
    /// So many lines are in neither file, counted or not.
    pub vanish: Option<(usize, bool)>,
    /// Stall when so many lines are done.
    pub stall_after: Option<usize>,
    /// Repeat a line.
    pub duplicate_line: bool,
    /// Add a line that is not JSON.
    pub garbage_line: bool,
    /// Empty strings in place of null file ids.
    pub empty_string_file_ids: bool,
    /// Milliseconds between success and output.
    pub late_output: u64,
}

/// Everything the rules decided for one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The answer waits until a test lets it go.
    pub hold: bool,
    /// Milliseconds between the work and the answer.
    pub delay: u64,
    /// Set: the work is not done.
    pub instead: Option<Instead>,
    /// How the call ends.
    pub ending: Ending,
    /// Cut the download after so many bytes; true for a chunked body.
    pub truncate: Option<(usize, bool)>,
    /// A page in place of the download.
    pub page: bool,
    /// Lines missing from the download.
    pub short_by: usize,
    /// Milliseconds before what is made is listed.
    pub list_lag: u64,
    /// For a created batch.
    pub batch: BatchFaults,
}

/// Most (rule, object) pairs that are remembered; beyond it a fault per object no longer fires.
const MAX_OBJECTS: usize = 100_000;

/// The rules in force and what they have seen.
#[derive(Debug)]
pub struct Faults {
    set: FaultSet,
    rng: Rng,
    seen: Vec<u64>,
    per_object: HashMap<(usize, Op, String), u32>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(FaultSet::default())
    }
}

impl Faults {
    /// Puts a set in force, with all its counters at zero.
    pub fn new(set: FaultSet) -> Self {
        let rng = Rng::labelled(set.seed, "faults");
        Self { seen: vec![0; set.rules.len()], set, rng, per_object: HashMap::new() }
    }

    /// The set in force.
    pub fn set(&self) -> &FaultSet {
        &self.set
    }

    /// Decides one call; `object` is the id of what it is about and its age in milliseconds, if it exists.
    pub fn decide(&mut self, op: Op, object: Option<(&str, u64)>) -> Decision {
        let mut decision = Decision::default();
        for index in 0..self.set.rules.len() {
            if !self.set.rules[index].covers(op) {
                continue;
            }
            self.seen[index] += 1;
            if !self.set.rules[index].fires(self.seen[index], &mut self.rng) {
                continue;
            }
            let fault = self.set.rules[index].fault.clone();
            match (&fault, object) {
                (Fault::NotFoundAtFirst { ms, times }, Some((id, age)))
                    if (age < *ms || self.within(index, op, id, *times)) && decision.instead.is_none() =>
                {
                    decision.instead = Some(Instead::NotFound);
                }
                (Fault::ShortFile { lines }, Some((id, _))) if self.within(index, op, id, 1) => {
                    decision.short_by = *lines;
                }
                _ => decision.take(fault),
            }
        }
        decision
    }

    /// Whether this is one of the first `times` times that the rule meets the object.
    fn within(&mut self, rule: usize, op: Op, id: &str, times: u32) -> bool {
        let key = (rule, op, id.to_owned());
        if times == 0 || (self.per_object.len() >= MAX_OBJECTS && !self.per_object.contains_key(&key)) {
            return false;
        }
        let met = self.per_object.entry(key).or_default();
        *met = met.saturating_add(1);
        *met <= times
    }
}

impl Decision {
    fn take(&mut self, fault: Fault) {
        match fault {
            Fault::Status { code, retry_after, error_code, message } => {
                self.instead.get_or_insert(Instead::Status { code, retry_after, error_code, message });
            }
            Fault::Reset => {
                self.instead.get_or_insert(Instead::Reset);
            }
            Fault::LostAnswer => self.ending = Ending::Lost,
            Fault::Late { ms } => self.ending = Ending::Late(ms),
            Fault::Delay { ms } => self.delay += ms,
            Fault::Hold => self.hold = true,
            Fault::Truncate { after, chunked } => self.truncate = Some((after, chunked)),
            Fault::Page => self.page = true,
            Fault::ListLag { ms } => self.list_lag = self.list_lag.max(ms),
            Fault::FailBatch { code, message, lines } => self.batch.fail = Some((code, message, lines)),
            Fault::ExpireBatch { after } => self.batch.expire_after = Some(after),
            Fault::VanishLines { lines, counted } => self.batch.vanish = Some((lines, counted)),
            Fault::Stall { after } => self.batch.stall_after = Some(after),
            Fault::DuplicateLine => self.batch.duplicate_line = true,
            Fault::GarbageLine => self.batch.garbage_line = true,
            Fault::EmptyStringFileIds => self.batch.empty_string_file_ids = true,
            Fault::LateOutput { ms } => self.batch.late_output = ms,
            Fault::NotFoundAtFirst { .. } | Fault::ShortFile { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(rule: Rule, calls: usize) -> Vec<bool> {
        let mut faults = Faults::new(rule.into());
        (0..calls).map(|_| faults.decide(Op::Create, None).instead.is_some()).collect()
    }

    #[test]
    fn first_skip_and_every() {
        assert_eq!(hits(Rule::new(Fault::Reset).first(2), 4), [true, true, false, false]);
        assert_eq!(hits(Rule::new(Fault::Reset).skip(1).first(1), 4), [false, true, false, false]);
        assert_eq!(hits(Rule::new(Fault::Reset).every(2), 4), [false, true, false, true]);
        assert_eq!(hits(Rule::new(Fault::Reset).on([Op::Upload]), 2), [false, false]);
        let hit = hits(Rule::new(Fault::Reset).probability(0.3), 1000).iter().filter(|&&hit| hit).count();
        assert!((200..400).contains(&hit), "{hit} of 1000 with probability 0.3");
    }

    #[test]
    fn not_found_counts_per_object() {
        let rule = Rule::new(Fault::NotFoundAtFirst { ms: 0, times: 1 });
        let mut faults = Faults::new(rule.into());
        let mut missed = |id, age| faults.decide(Op::Retrieve, Some((id, age))).instead.is_some();
        assert_eq!([missed("a", 0), missed("b", 0), missed("a", 0)], [true, true, false]);

        let mut faults = Faults::new(Rule::new(Fault::NotFoundAtFirst { ms: 100, times: 0 }).into());
        assert!(faults.decide(Op::Content, Some(("a", 99))).instead.is_some());
        assert!(faults.decide(Op::Content, Some(("a", 100))).instead.is_none());
    }

    #[test]
    fn json_is_strict() {
        let text = r#"{"rules":[{"on":["create"],"first":1,"fault":{"status":{"code":429,"retry_after":1}}},
                                {"fault":"lost_answer","probability":0.5}]}"#;
        let set: FaultSet = serde_json::from_str(text).unwrap();
        assert_eq!(set.rules[1].fault, Fault::LostAnswer);
        assert!(serde_json::from_str::<FaultSet>(r#"{"rules":[{"fault":"reset","frist":1}]}"#).is_err());
        assert!(
            serde_json::from_str::<FaultSet>(r#"{"rules":[{"fault":{"delay":{"ms":1,"s":2}}}]}"#).is_err()
        );
    }
}
