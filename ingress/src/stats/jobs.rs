//! The jobs that requests of this process wait for.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::series::{Series, Summary};
use crate::accounts::{Receipt, Totals};

/// Jobs remembered at a time, ended ones included; the oldest ended one goes first, else the oldest.
const MAX_JOBS: usize = 1000;
/// The longest id and status kept, in characters; they come over the bus.
const MAX_TEXT: usize = 128;

/// A job's state as the provider tells it.
#[derive(Debug, Clone, Copy)]
pub struct JobReport<'a> {
    /// The provider's id.
    pub id: &'a str,
    /// The provider's word for the state; `completed`, `failed`, `expired` and `cancelled` are final.
    pub status: &'a str,
    /// Requests in the job.
    pub total: u64,
    /// Requests done.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// A job as shown.
#[derive(Serialize)]
pub(super) struct JobView<'a> {
    id: &'a str,
    status: &'a str,
    total: u64,
    completed: u64,
    failed: u64,
    /// RFC 3339, when this process first heard of it.
    since: String,
    age_ms: u64,
}

#[derive(Debug)]
struct Job {
    id: String,
    status: String,
    counts: (u64, u64, u64),
    first: Instant,
    since: jiff::Timestamp,
    ended: bool,
    /// Its answers so far, as far as they are this process's.
    totals: Totals,
}

/// In the order of their first reports.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: VecDeque<Job>,
    series: Series,
}

impl Jobs {
    pub(super) fn report(&mut self, report: JobReport<'_>) {
        let id: String = report.id.chars().take(MAX_TEXT).collect();
        // Reports are about young jobs mostly, and there are few.
        let at = self.jobs.iter().rposition(|job| job.id == id).unwrap_or_else(|| self.remember(id));
        let job = &mut self.jobs[at];
        // Messages may overtake each other; an end is final.
        if job.ended {
            return;
        }
        job.status = report.status.chars().take(MAX_TEXT).collect();
        job.counts = (report.total, report.completed, report.failed);
        job.ended = matches!(report.status, "completed" | "failed" | "expired" | "cancelled");
        if job.ended {
            let took = job.first.elapsed();
            self.series.record(took, report.status == "completed");
        }
    }

    /// One of its requests has ended, with a receipt if it was successful.
    pub(super) fn answered(&mut self, id: &str, receipt: Option<&Receipt>) {
        if let Some(job) = self.jobs.iter_mut().rfind(|job| job.id == id) {
            job.totals.add(receipt.is_some(), receipt);
        }
    }

    /// What its requests here used and cost, and for how long it was known.
    pub(super) fn sums(&self, id: &str) -> Option<(Totals, Duration)> {
        let job = self.jobs.iter().rfind(|job| job.id == id)?;
        Some((job.totals, job.first.elapsed()))
    }

    /// Adds a job and says where it is.
    fn remember(&mut self, id: String) -> usize {
        if self.jobs.len() >= MAX_JOBS {
            let oldest = self.jobs.iter().position(|job| job.ended).unwrap_or(0);
            self.jobs.remove(oldest);
        }
        let (first, since) = (Instant::now(), jiff::Timestamp::now());
        let job = Job {
            id,
            status: String::new(),
            counts: (0, 0, 0),
            first,
            since,
            ended: false,
            totals: Totals::default(),
        };
        self.jobs.push_back(job);
        self.jobs.len() - 1
    }

    pub(super) fn summary(&self) -> Summary {
        self.series.summary()
    }

    pub(super) fn in_flight(&self) -> impl Iterator<Item = JobView<'_>> {
        self.jobs.iter().filter(|job| !job.ended).map(|job| {
            let (total, completed, failed) = job.counts;
            let age_ms = u64::try_from(job.first.elapsed().as_millis()).unwrap_or(u64::MAX);
            JobView {
                id: &job.id,
                status: &job.status,
                total,
                completed,
                failed,
                since: job.since.to_string(),
                age_ms,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let mut jobs = Jobs::default();
        let report = |jobs: &mut Jobs, id: &str, status| {
            jobs.report(JobReport { id, status, total: 1, completed: 0, failed: 0 })
        };
        report(&mut jobs, "first", "in_progress");
        for n in 0..2 * MAX_JOBS {
            report(&mut jobs, &n.to_string(), "completed");
        }
        report(&mut jobs, &"x".repeat(10_000), "in_progress");
        assert_eq!(jobs.jobs.len(), MAX_JOBS);
        let ids: Vec<_> = jobs.in_flight().map(|job| job.id.len()).collect();
        assert_eq!(ids, ["first".len(), MAX_TEXT]);
    }
}
