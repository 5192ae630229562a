//! A provider with a Batch API, reduced to what matters here: files, jobs, lists, and a ledger of executed lines.

#![expect(clippy::result_large_err, reason = "the submitter's own errors, a few at a time")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use common::ids::{Bid, Rid};
use common::timers::Now;
use submitter::core::{Gone, JobPhase, JobView, Trouble, TroubleKind};

use crate::faults::Knobs;
use crate::node::ProcId;
use crate::rng::Rng;

/// A call.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Upload {
        name: String,
        lines: Vec<(Rid, Bytes)>,
    },
    Create {
        file: String,
        bid: Bid,
    },
    /// Of this batch, and no older than that.
    ListJobs {
        bid: Bid,
        age: Duration,
    },
    Retrieve {
        job: String,
    },
    Cancel {
        job: String,
    },
    /// The content of a result file from this line on.
    Content {
        file: String,
        from: usize,
    },
    Delete {
        file: String,
    },
    /// Whose names begin like this, and no older than that.
    ListFiles {
        name: String,
        age: Duration,
    },
}

/// What comes back.
pub(crate) type Answer = Result<Given, Trouble>;

/// What comes back of a call that was executed.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    File(String),
    Job(JobView),
    /// Whether the list is complete.
    Jobs(Vec<JobView>, bool),
    /// Whether the connection broke after these.
    Lines(Vec<ResultLine>, bool),
    Files(Vec<String>),
    Gone(Gone),
    Nothing,
}

/// A line of a result file.
#[derive(Debug, Clone)]
pub(crate) struct ResultLine {
    pub(crate) rid: Rid,
    pub(crate) said: Said,
}

#[derive(Debug, Clone)]
pub(crate) enum Said {
    Response(u16, Bytes),
    Error(&'static str),
}

#[derive(Debug)]
struct File {
    name: String,
    /// Whose it is; a name of an input file tells.
    bid: Option<Bid>,
    owner: ProcId,
    lines: Lines,
    created: Now,
    listed_at: Now,
    /// A deletion did not see it: nobody is to blame if it stays.
    given_up: bool,
}

impl File {
    /// Whether everybody sees it by now.
    fn is_visible(&self, now: Now) -> bool {
        now.saturating_sub(self.created) > VISIBLE_AFTER
    }
}

#[derive(Debug)]
enum Lines {
    Input(Vec<(Rid, Bytes)>),
    Result(Vec<ResultLine>),
}

#[derive(Debug)]
struct Job {
    bid: Bid,
    created: Now,
    file: String,
    owner: ProcId,
    listed_at: Now,
    phase: JobPhase,
    status: &'static str,
    /// When each line is executed, and with which status.
    lines: Vec<(Rid, Bytes, Now, u16)>,
    /// Its key or model has no batches.
    refused: bool,
    ends_at: Now,
    output: Option<String>,
    error: Option<String>,
    counts: (u64, u64, u64),
    errors: Vec<(String, Option<u64>, String)>,
}

/// What the provider does of itself.
#[derive(Debug, Clone)]
pub(crate) enum Due {
    Validate(String),
    End(String),
}

/// Chances of what goes wrong inside the provider; all zero after the faults have stopped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moods {
    pub(crate) list_lag: f64,
    pub(crate) failed_job: f64,
    pub(crate) expired_job: f64,
    pub(crate) failed_line: f64,
    pub(crate) slow_job: f64,
    pub(crate) short_file: f64,
    pub(crate) cut_content: f64,
    pub(crate) incomplete_list: f64,
    pub(crate) not_visible: f64,
    /// Lines that fail for no reason of their own.
    pub(crate) passing_line: f64,
    /// Lines that are executed and have no result.
    pub(crate) lost_line: f64,
    /// Jobs of callers with deadlines that do not end.
    pub(crate) stalled_job: f64,
    /// Batches that are refused whose key or model may have none.
    pub(crate) unbatchable: f64,
}

/// The provider.
pub(crate) struct Provider {
    files: BTreeMap<String, File>,
    jobs: BTreeMap<String, Job>,
    made: u64,
    /// Of a number in an id.
    digits: usize,
    /// The longest that jobs take, usually and when they are slow.
    job_ms: (u64, u64),
    rng: Rng,
    /// For what came later: runs without it are the same as before.
    pub(crate) lots: Rng,
    pub(crate) moods: Moods,
    /// Requests whose callers have deadlines, and those whose key or model may have no batches.
    pub(crate) hasty: BTreeSet<Bytes>,
    pub(crate) unbatchable: BTreeSet<Bytes>,
    /// Requests of jobs that were created, to be looked at by the world.
    pub(crate) entered: Vec<Rid>,
    /// Lines that were executed, to be taken by the ledger.
    pub(crate) executed: Vec<(Rid, Bytes, ProcId)>,
    /// What it will do by itself, to be taken by the world.
    pub(crate) due: Vec<(Now, Due)>,
}

/// What is said of a file that is gone.
const NO_FILE: &str = "no such file";
/// The error of a job whose input file was deleted.
const MISSING_FILE: &str = "missing_input_file";
/// How much older things are still listed, since clocks differ, as in `submitter/src/shell/calls.rs`.
const CLOCK_SLACK: Duration = Duration::from_secs(300);
/// The longest that a list lags behind a creation: less than the time that the submitter lets it settle.
const LAG_MAX_MS: u64 = 25_000;
/// How much longer than usual a job takes that seems not to end: longer than anybody waits whose deadline is over, and short enough
/// for peace, since who takes over a part of a job for an ingress that is gone as well lets the job end.
const STALL: Duration = Duration::from_secs(75 * 60);
/// The longest that creations and deletions may not see an upload: less than the submitter allows for.
const VISIBLE_AFTER: Duration = Duration::from_secs(55);

impl Provider {
    pub(crate) fn new(rng: Rng, knobs: &Knobs) -> Self {
        Self {
            files: BTreeMap::new(),
            jobs: BTreeMap::new(),
            made: 0,
            // Ids sort by age, as long as there are not more of them.
            digits: if knobs.callers < 1_000 { 4 } else { 9 },
            job_ms: knobs.job_ms,
            rng,
            lots: Rng::new(0),
            moods: knobs.moods,
            hasty: BTreeSet::new(),
            unbatchable: BTreeSet::new(),
            entered: Vec::new(),
            executed: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Executes a call.
    pub(crate) fn answer(&mut self, now: Now, owner: ProcId, ask: Ask) -> Answer {
        match ask {
            Ask::Upload { name, lines } => {
                let bid = batch_of(&name);
                Ok(Given::File(self.put(now, owner, name, bid, Lines::Input(lines))))
            }
            Ask::Create { file, bid } => self.create(now, owner, &file, bid).map(Given::Job),
            Ask::ListJobs { bid, age } => {
                let since = now.saturating_sub(age + CLOCK_SLACK);
                let listed = |job: &Job| job.listed_at <= now && job.created >= since;
                let ours = self.jobs.iter().filter(|(_, job)| job.bid == bid && listed(job));
                let views = ours.rev().map(|(id, job)| job.view(id)).collect();
                Ok(Given::Jobs(views, !self.rng.chance(self.moods.incomplete_list)))
            }
            Ask::Retrieve { job } => self.view(&job).map(Given::Job),
            Ask::Cancel { job } => self.cancel(now, &job).map(|()| Given::Nothing),
            Ask::Content { file, from } => self.content(&file, from),
            Ask::Delete { file } => Ok(Given::Gone(self.delete(now, &file))),
            Ask::ListFiles { name, age } => {
                let since = now.saturating_sub(age + CLOCK_SLACK);
                let listed = |file: &File| file.listed_at <= now && file.created >= since;
                let named =
                    self.files.iter().filter(|(_, file)| file.name.starts_with(&name) && listed(file));
                Ok(Given::Files(named.map(|(id, _)| id.clone()).collect()))
            }
        }
    }

    fn put(&mut self, now: Now, owner: ProcId, name: String, bid: Option<Bid>, lines: Lines) -> String {
        self.made += 1;
        let id = format!("file-{:0digits$}", self.made, digits = self.digits);
        let listed_at = now + self.lag();
        let file = File { name, bid, owner, lines, created: now, listed_at, given_up: false };
        self.files.insert(id.clone(), file);
        id
    }

    fn lag(&mut self) -> Duration {
        match self.rng.chance(self.moods.list_lag) {
            true => self.rng.millis(500, LAG_MAX_MS),
            false => Duration::ZERO,
        }
    }

    fn create(&mut self, now: Now, owner: ProcId, input: &str, bid: Bid) -> Result<JobView, Trouble> {
        let mood = self.rng.chance(self.moods.not_visible);
        let visible = |file: &&File| !mood || file.is_visible(now);
        let lines = match self.files.get(input).filter(visible).map(|file| &file.lines) {
            Some(Lines::Input(lines)) => lines.clone(),
            // Some refuse a missing file at once, some accept the job and fail it.
            _ if mood || self.rng.chance(0.5) => return Err(no_file()),
            _ => Vec::new(),
        };
        let may_refuse = lines.iter().any(|(_, body)| self.unbatchable.contains(body));
        let refused = may_refuse && self.lots.chance(self.moods.unbatchable);
        if refused && self.lots.chance(0.5) {
            return Err(self::refused(403, "no batches for you"));
        }
        let hasty = !lines.is_empty() && lines.iter().all(|(_, body)| self.hasty.contains(body));
        let stalled = hasty && self.lots.chance(self.moods.stalled_job);
        self.entered.extend(lines.iter().map(|(rid, _)| *rid));
        self.made += 1;
        // Sorts by age: lists show the newest first.
        let id = format!("job-{:0digits$}", self.made, digits = self.digits);
        let listed_at = now + self.lag();
        let validated = now + self.rng.millis(200, 4_000);
        let (usual, slow) = self.job_ms;
        let longest = if self.rng.chance(self.moods.slow_job) { slow } else { usual };
        let ends_at = validated + self.rng.millis(1_000, longest);
        let mut executed = Vec::with_capacity(lines.len());
        for (rid, body) in lines {
            let at = validated + (ends_at - validated).mul_f64(self.rng.below(1000) as f64 / 1000.0);
            let failed = self.rng.chance(self.moods.failed_line);
            let passing = self.lots.chance(self.moods.passing_line);
            let statuses = if failed { [400; 3] } else { [429, 500, 503] };
            let status = if failed || passing { self.lots.pick(&statuses).unwrap_or(500) } else { 200 };
            executed.push((rid, body, at, status));
        }
        let job = Job {
            bid,
            created: now,
            file: input.to_owned(),
            owner,
            listed_at,
            phase: JobPhase::Running,
            status: "validating",
            counts: (executed.len() as u64, 0, 0),
            lines: executed,
            refused,
            ends_at: if stalled { ends_at + STALL } else { ends_at },
            output: None,
            error: None,
            errors: Vec::new(),
        };
        let view = job.view(&id);
        self.due.push((validated, Due::Validate(id.clone())));
        self.jobs.insert(id, job);
        Ok(view)
    }

    /// A young file may not be seen: then it stays.
    fn delete(&mut self, now: Now, file: &str) -> Gone {
        let mood = self.rng.chance(self.moods.not_visible);
        match self.files.get_mut(file) {
            Some(file) if mood && !file.is_visible(now) => {
                file.given_up = true;
                Gone::Absent
            }
            Some(_) => {
                self.files.remove(file);
                Gone::Deleted
            }
            None => Gone::Absent,
        }
    }

    fn view(&self, id: &str) -> Result<JobView, Trouble> {
        self.jobs.get(id).map(|job| job.view(id)).ok_or_else(|| refused(404, "no such job"))
    }

    /// What is executed already is paid; the rest is not executed any more.
    fn cancel(&mut self, now: Now, id: &str) -> Result<(), Trouble> {
        let after = self.rng.millis(500, 8_000);
        let Some(job) = self.jobs.get_mut(id) else { return Err(refused(404, "no such job")) };
        if job.phase != JobPhase::Running || job.status == "cancelling" {
            return Err(refused(409, "the job is over"));
        }
        let last = if job.status == "validating" { Now::ZERO } else { now + after / 2 };
        job.status = "cancelling";
        job.ends_at = now + after;
        let (id, at) = (id.to_owned(), job.ends_at);
        // Lines that are under way at the moment are finished.
        for line in &mut job.lines {
            if line.2 > last {
                line.2 = Now::MAX;
            }
        }
        self.due.push((at, Due::End(id)));
        Ok(())
    }

    /// What happens at its own moments.
    pub(crate) fn happen(&mut self, now: Now, due: Due) {
        match due {
            Due::Validate(id) => self.validate(&id),
            Due::End(id) => self.end(now, &id),
        }
    }

    fn validate(&mut self, id: &str) {
        let fails = self.rng.chance(self.moods.failed_job);
        let blame = self.rng.below(3);
        // Of bodies with some tens of bytes: a few of them, or many.
        let limit = self.lots.between(5, 300);
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.status == "validating") else { return };
        let missing = !self.files.contains_key(&job.file);
        if missing || job.lines.is_empty() || fails || job.refused {
            (job.phase, job.status) = (JobPhase::Failed, "failed");
            let line = (!missing && !job.refused && blame == 0 && job.lines.len() > 1).then_some(1);
            let code = match blame {
                _ if missing => MISSING_FILE,
                _ if job.refused => "model_not_found",
                1 => "token_limit_exceeded",
                _ => "invalid_request",
            };
            let words = match code {
                "token_limit_exceeded" if limit.is_multiple_of(2) => {
                    format!("Limit: {limit} enqueued tokens.")
                }
                _ => "The provider does not like it.".to_owned(),
            };
            job.errors = vec![(code.to_owned(), line, words)];
            job.lines.clear();
            return;
        }
        job.status = "in_progress";
        self.due.push((job.ends_at, Due::End(id.to_owned())));
    }

    fn end(&mut self, now: Now, id: &str) {
        let expires = self.rng.chance(self.moods.expired_job);
        let told = self.rng.chance(0.5);
        let share = self.rng.below(100);
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.phase == JobPhase::Running) else { return };
        if now < job.ends_at {
            return;
        }
        (job.phase, job.status) = match job.status {
            "cancelling" => (JobPhase::Cancelled, "cancelled"),
            _ if expires => (JobPhase::Expired, "expired"),
            _ => (JobPhase::Completed, "completed"),
        };
        let (mut output, mut error, mut completed) = (Vec::new(), Vec::new(), 0);
        let rest = if job.phase == JobPhase::Expired { "batch_expired" } else { "batch_cancelled" };
        for (n, (rid, body, at, status)) in job.lines.iter().enumerate() {
            let (rid, missed) = (*rid, job.phase == JobPhase::Expired && (n as u64 * 37) % 100 < share);
            if *at > now || missed {
                // The line may be in the error file, or nowhere.
                if told {
                    error.push(ResultLine { rid, said: Said::Error(rest) });
                }
            } else if *status == 200 {
                self.executed.push((rid, body.clone(), job.owner));
                completed += 1;
                if !self.lots.chance(self.moods.lost_line) {
                    output.push(ResultLine { rid, said: Said::Response(200, answer_to(body)) });
                }
            } else {
                error.push(ResultLine { rid, said: Said::Response(*status, answer_to(body)) });
            }
        }
        let failed = error.iter().filter(|line| !matches!(line.said, Said::Error("batch_cancelled"))).count();
        job.counts = (job.lines.len() as u64, completed, failed as u64);
        let (owner, bid, id) = (job.owner, Some(job.bid), id.to_owned());
        let files = [output, error].map(|lines| {
            (!lines.is_empty()).then(|| self.put(now, owner, "result".into(), bid, Lines::Result(lines)))
        });
        if let Some(job) = self.jobs.get_mut(&id) {
            job.lines = Vec::new();
            [job.output, job.error] = files;
        }
    }

    fn content(&mut self, file: &str, from: usize) -> Answer {
        let Some(File { lines: Lines::Result(lines), .. }) = self.files.get(file) else {
            return Err(refused(404, NO_FILE));
        };
        let mut lines = lines.get(from..).unwrap_or_default().to_vec();
        let broken = self.rng.chance(self.moods.cut_content);
        if broken || self.rng.chance(self.moods.short_file) {
            lines.truncate(self.rng.index(lines.len() + 1));
        }
        Ok(Given::Lines(lines, broken))
    }

    /// Files, and jobs that run, of batches to which this does not apply.
    pub(crate) fn left(&self, excused: impl Fn(Bid, ProcId) -> bool) -> Vec<String> {
        let excused_file = |file: &File| file.bid.is_some_and(|bid| excused(bid, file.owner));
        let files = self.files.iter().filter(|(_, file)| !file.given_up && !excused_file(file));
        let files = files.map(|(id, file)| format!("{id} ({}, of process {})", file.name, file.owner));
        let running = |job: &Job| job.phase == JobPhase::Running && !excused(job.bid, job.owner);
        let jobs = self.jobs.iter().filter(|(_, job)| running(job));
        files
            .chain(jobs.map(|(id, job)| format!("{id} ({}, of process {})", job.status, job.owner)))
            .collect()
    }

    /// Whether a job that is not over has this request.
    pub(crate) fn has_in_a_job(&self, rid: Rid) -> bool {
        let running = self.jobs.values().filter(|job| job.phase == JobPhase::Running);
        running.flat_map(|job| &job.lines).any(|(line, ..)| *line == rid)
    }

    /// Number of jobs ever created.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }
}

impl Job {
    fn view(&self, id: &str) -> JobView {
        JobView {
            id: id.to_owned(),
            phase: self.phase,
            status: self.status.to_owned(),
            input_file: Some(self.file.clone()),
            output_file: self.output.clone(),
            error_file: self.error.clone(),
            counts: Some(self.counts),
            errors: self.errors.clone(),
        }
    }
}

/// The batch in the name of an input file, `llmp-<batch>-<epoch>.jsonl`.
fn batch_of(name: &str) -> Option<Bid> {
    name.strip_prefix("llmp-")?.rsplit_once('-')?.0.parse().ok()
}

/// The answer names what was asked.
pub(crate) fn answer_to(body: &[u8]) -> Bytes {
    [b"ANSWER to ", body].concat().into()
}

fn no_file() -> Trouble {
    Trouble { file_not_visible: true, retryable: true, ..refused(400, "Cannot find file") }
}

/// A clean refusal.
pub(crate) fn refused(status: u16, message: &str) -> Trouble {
    let response = common::outcome::Response {
        status: http::StatusCode::from_u16(status).unwrap_or_default(),
        headers: http::HeaderMap::new(),
        job: String::new(),
        body: Bytes::copy_from_slice(message.as_bytes()),
        unbatchable: false,
        route: Default::default(),
    };
    Trouble {
        kind: TroubleKind::NotDone,
        retry_after: None,
        retryable: matches!(status, 409 | 425 | 429),
        file_not_visible: false,
        queue_full: false,
        message: message.to_owned(),
        answer: Some(common::outcome::Outcome::Response(response)),
        status: Some(status),
    }
}

/// A call of which nobody knows what became.
pub(crate) fn unknown(status: Option<u16>) -> Trouble {
    Trouble {
        kind: TroubleKind::Ambiguous,
        retryable: true,
        answer: None,
        status,
        ..refused(status.unwrap_or(500), "the answer is lost")
    }
}

/// A call that was never sent.
pub(crate) fn not_sent() -> Trouble {
    Trouble { kind: TroubleKind::NotDone, retryable: true, ..unknown(None) }
}
