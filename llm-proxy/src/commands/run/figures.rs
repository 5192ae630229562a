//! What `/stats` says, as far as people want to know it.

use bytes::Bytes;
use serde::Deserialize;

use crate::receipt::{Cost, Receipt, Tokens, dollars, rough};

/// The part of `/stats` that is shown. What a version does not have is not shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    requests: Requests,
    batches: Batches,
    held: Held,
    relayed: u64,
    jobs: Vec<Job>,
    tokens: Option<Tokens>,
    cost: Option<Cost>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Requests {
    successful: u64,
    failed: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Batches {
    total: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Held {
    requests: u64,
}

/// A job that is under way.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Job {
    total: u64,
    completed: u64,
    failed: u64,
    age_ms: u64,
}

impl Figures {
    /// Reads the JSON of `/stats`; nothing from what is none.
    pub(super) fn read(stats: &Bytes) -> Self {
        serde_json::from_slice(stats).unwrap_or_default()
    }

    /// Whether any call came.
    pub(super) fn any_call(&self) -> bool {
        self.requests.successful + self.requests.failed + self.held.requests + self.relayed > 0
    }

    /// How far the calls are, in a line; none where no call waits.
    pub(super) fn line(&self) -> Option<String> {
        let held = self.held.requests;
        // Some may have left, and a provider may count as it likes.
        let in_batch = self.jobs.iter().fold(0, |sum: u64, job| sum.saturating_add(job.total)).min(held);
        if held == 0 {
            return None;
        }
        let done = self.requests.successful + self.requests.failed;
        let mut line = format!("{} waiting, {in_batch} in batch, {done} done", held - in_batch);
        if let Some(seconds) = self.seconds_left().filter(|_| held == in_batch) {
            line += &format!(", about {} left", rough(seconds));
        }
        if let Some(cost) = self.cost.filter(|cost| cost.saved_usd > 0.0) {
            line += &format!(", saved {}", dollars(cost.saved_usd));
        }
        Some(line)
    }

    /// How long the slowest job will take if it goes on as it began; none where a job has not told yet that it goes on.
    fn seconds_left(&self) -> Option<u64> {
        self.jobs.iter().map(Job::seconds_left).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Adds all that is known at the end.
    pub(super) fn add_to(&self, receipt: Receipt) -> Receipt {
        let requests = format!("{} answered, {} failed", self.requests.successful, self.requests.failed);
        let requests = match self.relayed {
            0 => requests,
            relayed => format!("{requests}, {relayed} relayed at the normal price"),
        };
        let receipt = receipt.line("requests", requests).line("jobs", self.batches.total);
        let receipt = match self.tokens {
            Some(tokens) => receipt.tokens(tokens),
            None => receipt,
        };
        match self.cost {
            Some(cost) => receipt.cost(cost),
            None => receipt,
        }
    }
}

impl Job {
    fn seconds_left(&self) -> Option<u64> {
        let done = self.completed.saturating_add(self.failed);
        let left = self.total.checked_sub(done)?;
        let all_ms = u128::from(self.age_ms) * u128::from(left);
        u64::try_from(all_ms.checked_div(u128::from(done))? / 1000).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn figures(stats: Value) -> Figures {
        Figures::read(&stats.to_string().into())
    }

    fn job(total: u64, completed: u64, age_ms: u64) -> Value {
        json!({"id": "b", "status": "in_progress", "total": total, "completed": completed, "failed": 0, "since": "now", "age_ms": age_ms})
    }

    fn line(held: u64, jobs: &[Value]) -> Option<String> {
        figures(json!({"requests": {"successful": 3, "failed": 1}, "held": {"requests": held}, "jobs": jobs}))
            .line()
    }

    #[test]
    fn nothing_is_said_while_nobody_waits() {
        assert_eq!(line(0, &[]), None);
        assert!(!figures(json!({})).any_call() && !Figures::read(&Bytes::from_static(b"no JSON")).any_call());
        assert!(
            figures(json!({"relayed": 1})).any_call()
                && figures(json!({"requests": {"failed": 1}})).any_call()
        );
    }

    #[test]
    fn the_finish_is_told_only_where_it_can_be() {
        assert_eq!(line(5, &[]).unwrap(), "5 waiting, 0 in batch, 4 done");
        assert_eq!(line(5, &[job(5, 0, 9000)]).unwrap(), "0 waiting, 5 in batch, 4 done");
        assert_eq!(
            line(10, &[job(10, 4, 60_000)]).unwrap(),
            "0 waiting, 10 in batch, 4 done, about 1 min 30 s left"
        );
        // The slower of two; not while one is silent, nor while somebody waits for the next.
        let two = [job(10, 4, 60_000), job(2, 1, 1000)];
        assert!(line(12, &two).unwrap().ends_with("about 1 min 30 s left"));
        assert!(!line(12, &[job(10, 4, 60_000), job(2, 0, 1000)]).unwrap().contains("left"));
        assert!(!line(13, &two).unwrap().contains("left"));
        assert!(line(2, &[job(1, u64::MAX, u64::MAX), job(u64::MAX, 1, u64::MAX)]).is_some());
    }

    #[test]
    fn costs_are_shown_once_they_are_known() {
        let stats = json!({
            "requests": {"total": 4, "successful": 3, "failed": 1}, "batches": {"total": 2}, "held": {"requests": 1, "bytes": 9},
            "relayed": 1, "tokens": {"input": 10, "cached_input": 0, "output": 5, "reasoning": 0},
            "cost": {"list_usd": 2.0, "paid_usd": 1.0, "saved_usd": 1.0, "unknown_requests": 0},
        });
        assert!(figures(stats.clone()).line().unwrap().ends_with(", saved $1.000000"));
        let text = figures(stats).add_to(Receipt::new("")).to_string();
        for part in ["3 answered, 1 failed, 1 relayed", "jobs        2", "10 in, 5 out", "$1.000000 (50 %)"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let bare = figures(json!({})).add_to(Receipt::new("")).to_string();
        assert!(
            bare.contains("0 answered, 0 failed") && !bare.contains("tokens") && !bare.contains('$'),
            "{bare}"
        );
    }
}
