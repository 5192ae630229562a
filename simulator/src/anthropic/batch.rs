//! One batch: what the caller sees of it, and how far it is.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::create::Line;
use super::request::Dialect;
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::faults::BatchFaults;
use crate::openai::{Counts, Status};
use crate::plan::Run;

/// What a batch waits for.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its lines are looked at then.
    Waiting(Millis, Vec<Line>),
    /// Its lines are being looked at.
    Examining,
    /// Its lines are being done.
    Running(Run),
    /// Its results are made then, and it ends in that status.
    Closing(Millis, Status, Run),
    /// Its results are being made.
    Assembling,
    /// Nothing.
    Over,
}

/// How the lines of a batch ended: `request_counts` but for `processing`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// Lines with a message.
    pub succeeded: usize,
    /// Lines with an error.
    pub errored: usize,
    /// Lines that a cancellation kept from being executed.
    pub canceled: usize,
    /// Lines that the end of the window kept from being executed.
    pub expired: usize,
}

/// A batch with everything that is known of it.
#[derive(Debug)]
pub struct Batch {
    /// `msgbatch_...`
    pub id: Arc<str>,
    /// Whose it is.
    pub owner: Credential,
    /// Its status in common words: `in_progress` until it has ended, unless it was cancelled.
    pub status: Status,
    /// When it was created.
    pub created: Millis,
    /// When its window ends.
    pub expires: Millis,
    /// The time from which lists show it.
    pub listed_from: Millis,
    /// The one model of all its lines, once they were looked at.
    pub model: Option<Arc<str>>,
    /// What really is done, unlike what the caller sees before the end.
    pub counts: Counts,
    /// Prompt and completion tokens of the billed lines.
    pub usage: (u64, u64),
    /// What is broken about it.
    pub faults: BatchFaults,
    /// Whether the caller deleted it.
    pub deleted: bool,
    /// Whether the caller was told that it has ended.
    pub(super) told: bool,
    /// What the call that created it said in its headers.
    pub(super) dialect: Dialect,
    pub(super) cancelled: Option<Millis>,
    pub(super) ended: Option<Millis>,
    pub(super) ends: Ends,
    pub(super) results: Bytes,
    pub(super) phase: Phase,
}

impl Batch {
    /// Executes all lines that are due: writes them into the ledger and counts them.
    pub fn execute(&mut self, core: &mut Core, now: Millis) {
        let Phase::Running(run) = &mut self.phase else { return };
        let tally = run.execute(core, now, &self.faults);
        self.counts.completed += tally.completed;
        self.counts.failed += tally.failed;
        self.usage.0 += tally.usage.0;
        self.usage.1 += tally.usage.1;
    }

    /// When the batch next needs attention; None when nothing will happen by itself.
    pub fn next_due(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Waiting(at, _) | Phase::Closing(at, ..) => Some(*at),
            Phase::Running(run) => Some(run.stops(&self.faults, self.expires)),
            _ => None,
        }
    }

    /// Whether it has ended, the only end there is for the caller.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The batch object; `base` is the address under which the caller found the provider.
    pub fn view(&self, base: &str) -> Value {
        let status = match self.status {
            Status::Cancelling => "canceling",
            status if status.is_terminal() => "ended",
            _ => "in_progress",
        };
        let results = self.has_ended().then(|| format!("{base}/v1/messages/batches/{}/results", self.id));
        json!({
            "id": &*self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {
                "processing": if self.has_ended() { 0 } else { self.counts.total },
                "succeeded": self.ends.succeeded,
                "errored": self.ends.errored,
                "canceled": self.ends.canceled,
                "expired": self.ends.expired,
            },
            "ended_at": self.ended.map(rfc3339),
            "created_at": rfc3339(self.created),
            "expires_at": rfc3339(self.expires),
            "archived_at": Value::Null,
            "cancel_initiated_at": self.cancelled.map(rfc3339),
            "results_url": results,
        })
    }
}

/// A time as RFC 3339 has it, in UTC.
fn rfc3339(time: Millis) -> String {
    let millis = i64::try_from(time).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).to_string()
}
