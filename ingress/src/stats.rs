//! Counters and timings for `/stats`, in bounded memory.

mod jobs;
mod series;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use jobs::JobReport;
use jobs::{JobView, Jobs};
use series::{Series, Summary};

use crate::accounts::{Books, Receipt, Report};
use crate::fair::Amount;
use crate::plan::Reason;

/// What this process has done since its start, and which jobs it waits for.
#[derive(Debug, Default)]
pub struct Stats {
    requests: Mutex<Series>,
    synthesized: AtomicU64,
    relayed: AtomicU64,
    alone: [AtomicU64; 4],
    jobs: Mutex<Jobs>,
    books: Mutex<Books>,
    answers: Arc<Notify>,
}

/// What a caller got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// A provider's answer with a status below 400.
    Success,
    /// A provider's answer with any other status.
    Failure,
    /// An error of ours; the provider said nothing.
    Synthesized,
}

/// A request that is being answered. Dropped unanswered, it counts as failed, without a time.
#[derive(Debug)]
pub struct Ongoing {
    stats: Arc<Stats>,
    since: Instant,
    answered: bool,
}

impl Stats {
    /// A batchable request has arrived.
    pub fn arrived(self: &Arc<Self>) -> Ongoing {
        Ongoing { stats: self.clone(), since: Instant::now(), answered: false }
    }

    /// Told whenever an answer is about to leave; for one who waits.
    pub fn answers(&self) -> Arc<Notify> {
        self.answers.clone()
    }

    /// A request was handed on to the provider as it is.
    pub fn relayed(&self) {
        self.relayed.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has ended by an answer of a job's.
    pub(crate) fn job_answered(&self, job: &str, receipt: Option<&Receipt>) {
        lock(&self.jobs).answered(job, receipt);
    }

    /// Says in the log what the requests of a job that were this process's used and cost.
    pub fn log_job(&self, job: &str) {
        let Some((sums, known_for)) = lock(&self.jobs).sums(job) else { return };
        tracing::info!(
            job,
            requests = sums.requests,
            failed = sums.failed,
            input_tokens = sums.input,
            cached_input_tokens = sums.cached_input,
            output_tokens = sums.output,
            list_usd = %sums.cost.list,
            paid_usd = %sums.cost.paid,
            saved_usd = %sums.cost.saved(),
            unknown_requests = sums.unknown,
            seconds = known_for.as_secs(),
            "a job has ended"
        );
    }

    /// A request has ended that was made alone, and why.
    pub fn made_alone(&self, reason: Reason) {
        let at = match reason {
            Reason::Deadline => 0,
            Reason::Estimate => 1,
            Reason::Mode => 2,
            Reason::Refused => 3,
        };
        self.alone[at].fetch_add(1, Ordering::Relaxed);
    }

    /// What was used and paid.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// The same, a line for each kind of request.
    pub fn to_csv(&self) -> Bytes {
        self.books().csv()
    }

    /// A job has reached a state. A job is timed from its first report to the first that is final, and counted then.
    pub fn job(&self, report: JobReport<'_>) {
        lock(&self.jobs).report(report);
    }

    fn alone(&self) -> Alone {
        let [deadline, estimate, mode, unbatchable] =
            self.alone.each_ref().map(|count| count.load(Ordering::Relaxed));
        Alone { deadline, estimate, mode, unbatchable }
    }

    /// The whole as JSON; `held` are the requests that wait now, and the bytes in their bodies.
    pub fn to_json(&self, held: Amount) -> Bytes {
        let requests = Requests {
            series: lock(&self.requests).summary(),
            synthesized_error_responses: self.synthesized.load(Ordering::Relaxed),
        };
        let jobs = lock(&self.jobs);
        let page = Page {
            requests,
            batches: jobs.summary(),
            held: Held { requests: held.count, bytes: held.bytes },
            relayed: self.relayed.load(Ordering::Relaxed),
            alone: self.alone(),
            jobs: jobs.in_flight().collect(),
            money: self.books().report(),
        };
        // Numbers and strings always serialise.
        serde_json::to_vec(&page).unwrap_or_default().into()
    }
}

impl Ongoing {
    /// The caller has its answer.
    pub fn answered(mut self, how: Answered) {
        self.answered = true;
        if how == Answered::Synthesized {
            self.stats.synthesized.fetch_add(1, Ordering::Relaxed);
        }
        lock(&self.stats.requests).record(self.since.elapsed(), how == Answered::Success);
        self.stats.answers.notify_one();
    }

    /// It turned out to be no request to batch, and counts as none.
    pub fn forget(mut self) {
        self.answered = true;
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if !self.answered {
            lock(&self.stats.requests).abandoned();
        }
    }
}

/// Field order is what people see.
#[derive(Serialize)]
struct Page<'a> {
    requests: Requests,
    batches: Summary,
    held: Held,
    relayed: u64,
    alone: Alone,
    jobs: Vec<JobView<'a>>,
    #[serde(flatten)]
    money: Report,
}

#[derive(Serialize)]
struct Requests {
    #[serde(flatten)]
    series: Summary,
    synthesized_error_responses: u64,
}

/// Requests that were made alone, by reason.
#[derive(Serialize)]
struct Alone {
    deadline: u64,
    estimate: u64,
    mode: u64,
    unbatchable: u64,
}

#[derive(Serialize)]
struct Held {
    requests: usize,
    bytes: u64,
}

/// Counters stay usable whatever happened to a thread that held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn page(stats: &Stats) -> Value {
        serde_json::from_slice(&stats.to_json(Amount { count: 3, bytes: 400 })).unwrap()
    }

    #[test]
    fn nothing_yet() {
        let none =
            json!({"total": 0, "successful": 0, "failed": 0, "avg": 0.0, "p50": 0.0, "p95": 0.0, "p99": 0.0});
        let mut requests = none.clone();
        requests["synthesized_error_responses"] = 0.into();
        let expected = json!({
            "requests": requests,
            "batches": none,
            "held": {"requests": 3, "bytes": 400},
            "relayed": 0,
            "alone": {"deadline": 0, "estimate": 0, "mode": 0, "unbatchable": 0},
            "jobs": [],
            "tokens": {"input": 0, "cached_input": 0, "output": 0, "reasoning": 0, "cache_writes": 0},
            "cost": {
                "list_usd": 0.0,
                "paid_usd": 0.0,
                "saved_usd": 0.0,
                "unknown_requests": 0,
                "maybe_paid_twice": {"requests": 0, "usd": 0.0},
            },
        });
        let mut page = page(&Stats::default());
        page.as_object_mut().unwrap().remove("usage");
        assert_eq!(page, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_and_timed() {
        let stats = Arc::new(Stats::default());
        for (seconds, how) in [(1, Answered::Success), (2, Answered::Failure), (6, Answered::Synthesized)] {
            let ongoing = stats.arrived();
            tokio::time::advance(Duration::from_secs(seconds)).await;
            ongoing.answered(how);
        }
        drop(stats.arrived());
        stats.arrived().forget();
        stats.relayed();
        let page = page(&stats);
        let requests = &page["requests"];
        assert_eq!(
            (&requests["total"], &requests["successful"], &requests["failed"]),
            (&json!(4), &json!(1), &json!(3))
        );
        assert_eq!(requests["synthesized_error_responses"], 1);
        assert_eq!(requests["avg"], 3000.0);
        assert!((1990.0..=2010.0).contains(&requests["p50"].as_f64().unwrap()));
        assert!((5990.0..=6010.0).contains(&requests["p99"].as_f64().unwrap()));
        assert_eq!(page["relayed"], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_are_shown_while_in_flight_and_counted_once() {
        let stats = Stats::default();
        let report =
            |id, status, completed| stats.job(JobReport { id, status, total: 10, completed, failed: 0 });
        report("batch_a", "validating", 0);
        report("batch_b", "in_progress", 0);
        tokio::time::advance(Duration::from_secs(4)).await;
        report("batch_a", "in_progress", 3);
        let shown = page(&stats)["jobs"].clone();
        assert_eq!(shown[0]["id"], "batch_a");
        assert_eq!(
            (&shown[0]["status"], &shown[0]["completed"], &shown[0]["age_ms"]),
            (&json!("in_progress"), &json!(3), &json!(4000))
        );
        for _ in 0..2 {
            report("batch_a", "completed", 10);
            report("batch_b", "expired", 2);
        }
        report("batch_a", "in_progress", 9);
        let page = page(&stats);
        assert_eq!(page["jobs"], json!([]));
        let batches = &page["batches"];
        assert_eq!(
            (&batches["total"], &batches["successful"], &batches["failed"]),
            (&json!(2), &json!(1), &json!(1))
        );
        assert_eq!(batches["avg"], 4000.0);
    }
}
