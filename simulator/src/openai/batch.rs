//! One batch: what the caller sees of it, and how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::examine::BatchError;
use super::profile::Profile;
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::faults::BatchFaults;
use crate::plan::Run;

/// A batch's `status` (`OpenAI` API specification).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The input file waits for its validation or is in it.
    Validating,
    /// The input file was refused; nothing was executed.
    Failed,
    /// Lines are being executed.
    InProgress,
    /// The result files are being made.
    Finalizing,
    /// All is done.
    Completed,
    /// The completion window ended first; what was done is in the output file.
    Expired,
    /// The caller cancelled it; what was done will be in the output file.
    Cancelling,
    /// Cancelled; what was done is in the output file.
    Cancelled,
}

impl Status {
    /// The status as the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Validating => "validating",
            Status::Failed => "failed",
            Status::InProgress => "in_progress",
            Status::Finalizing => "finalizing",
            Status::Completed => "completed",
            Status::Expired => "expired",
            Status::Cancelling => "cancelling",
            Status::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Failed | Status::Completed | Status::Expired | Status::Cancelled)
    }
}

/// What a batch waits for.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its validation begins then.
    Waiting(Millis),
    /// Its file is being examined.
    Examining,
    /// Its lines are being done.
    Running(Run),
    /// Its files are made then, and it ends in that status.
    Closing(Millis, Status, Option<Run>),
    /// Its files are being made.
    Assembling,
    /// Nothing.
    Over,
}

/// How many lines there are and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// All lines; 0 before validation.
    pub total: usize,
    /// Lines answered with a 2xx status.
    pub completed: usize,
    /// Lines answered with another status, or not executed.
    pub failed: usize,
}

/// When a batch got where, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) in_progress: Option<Millis>,
    pub(super) finalizing: Option<Millis>,
    pub(crate) cancelling: Option<Millis>,
    /// When it reached its terminal status.
    pub(crate) ended: Option<Millis>,
}

/// A batch with everything that is known of it.
#[derive(Debug)]
pub struct Batch {
    /// The API that it was created with.
    pub profile: &'static Profile,
    /// `batch_...`
    pub id: Arc<str>,
    /// Whose it is.
    pub owner: Credential,
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// Its input file, which may be deleted since; empty if its lines came with its creation.
    pub input_file: String,
    /// The lines that came with its creation.
    pub inline: Option<Bytes>,
    /// The model that its creation named.
    pub asked_model: Option<String>,
    /// The name that its creation gave it, if it did.
    pub name: String,
    /// Its completion window, as its creation named it.
    pub window: String,
    /// The caller's own pairs.
    pub metadata: BTreeMap<String, String>,
    /// How long its result files live, in seconds.
    pub output_lifetime: Option<u64>,
    /// Its status.
    pub status: Status,
    /// When it was created.
    pub created: Millis,
    /// When its completion window ends.
    pub expires: Millis,
    /// When it stops for that; the end of time where windows are only hopes.
    pub stops: Millis,
    /// The time from which lists show it.
    pub listed_from: Millis,
    /// Its model, once it is validated.
    pub model: Option<Arc<str>>,
    /// Why it failed.
    pub errors: Vec<BatchError>,
    /// The output file, if there is one.
    pub output_file: Option<String>,
    /// The error file, if there is one.
    pub error_file: Option<String>,
    /// The result lines, if they are not kept in files.
    pub results: Bytes,
    /// Its counts.
    pub counts: Counts,
    /// Prompt and completion tokens of the billed lines.
    pub usage: (u64, u64),
    /// Prompt tokens that it keeps enqueued.
    pub enqueued: u64,
    /// What is broken about it.
    pub faults: BatchFaults,
    pub(crate) times: Times,
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
            Phase::Waiting(at) | Phase::Closing(at, ..) => Some(*at),
            Phase::Running(run) => Some(run.stops(&self.faults, self.stops)),
            _ => None,
        }
    }

    /// The id of a result file as the batch object has it.
    pub(crate) fn file_id(&self, id: &Option<String>) -> Value {
        match id {
            Some(id) => json!(id),
            None if self.faults.empty_string_file_ids && self.status.is_terminal() => json!(""),
            None => Value::Null,
        }
    }

    /// The batch object.
    pub fn view(&self) -> Value {
        (self.profile.batch)(self)
    }
}

/// The batch object of `OpenAI`'s API.
pub(crate) fn view(batch: &Batch) -> Value {
    let seconds = |time: Option<Millis>| time.map(|time| time / 1000);
    let at_end = |status| seconds(batch.times.ended.filter(|_| batch.status == status));
    let errors = batch.errors.iter().map(|error| {
        json!({"code": error.code, "line": error.line, "message": error.message, "param": error.param})
    });
    let errors: Vec<Value> = errors.collect();
    json!({
        "id": &*batch.id,
        "object": "batch",
        "endpoint": batch.endpoint.path(),
        "model": batch.model.as_deref(),
        "errors": if errors.is_empty() { Value::Null } else { json!({"object": "list", "data": errors}) },
        "input_file_id": batch.input_file,
        "completion_window": batch.window,
        "status": batch.status.as_str(),
        "output_file_id": batch.file_id(&batch.output_file),
        "error_file_id": batch.file_id(&batch.error_file),
        "created_at": batch.created / 1000,
        "in_progress_at": seconds(batch.times.in_progress),
        "expires_at": batch.expires / 1000,
        "finalizing_at": seconds(batch.times.finalizing),
        "completed_at": at_end(Status::Completed),
        "failed_at": at_end(Status::Failed),
        "expired_at": at_end(Status::Expired),
        "cancelling_at": seconds(batch.times.cancelling),
        "cancelled_at": at_end(Status::Cancelled),
        "request_counts": batch.counts,
        "usage": {
            "input_tokens": batch.usage.0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": batch.usage.1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": batch.usage.0 + batch.usage.1,
        },
        "metadata": batch.metadata,
    })
}
