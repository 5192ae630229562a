//! One batch: what the caller sees of it, and how far it is.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::error::number;
use super::examine::{Input, Place, Plan};
use super::method::Task;
use super::time::stamp;
use crate::config::GeminiOutput;
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::faults::BatchFaults;
use crate::openai::{Counts, Status};

/// What a batch waits for.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its input is read then.
    Waiting(Millis, Input),
    /// Its input is being read.
    Examining,
    /// Its requests are being done.
    Running(Run),
    /// Its output is made then, or it ends then in that status.
    Closing(Millis, Status, Option<Run>),
    /// Its output is being made.
    Assembling,
    /// Nothing.
    Over,
}

/// The requests of a batch that runs.
#[derive(Debug)]
pub struct Run {
    /// When it began to run.
    pub started: Millis,
    /// All requests, in the order in which they get done.
    pub plan: Plan,
    /// How many are done.
    pub done: usize,
}

/// A batch with everything that is known of it.
#[derive(Debug)]
pub struct Batch {
    /// What stands behind `batches/` in its name.
    pub id: Arc<str>,
    /// Whose it is.
    pub owner: Credential,
    /// What its requests want.
    pub task: Task,
    /// Its model, without `models/`.
    pub model: Arc<str>,
    /// The caller's own name for it.
    pub display_name: String,
    /// The name of its input file; None for inline requests.
    pub input_file: Option<String>,
    /// Where it is; the names are those of `OpenAI`, see [`Batch::state`].
    pub status: Status,
    /// When it was created.
    pub created: Millis,
    /// When something last changed.
    pub updated: Millis,
    /// When it ended.
    pub ended: Option<Millis>,
    /// When its window ends.
    pub expires: Millis,
    /// The time from which lists show it.
    pub listed_from: Millis,
    /// Its counts.
    pub counts: Counts,
    /// Prompt and output tokens of the billed requests.
    pub usage: (u64, u64),
    /// Prompt tokens that it keeps enqueued.
    pub enqueued: u64,
    /// Why it has no results: the name of a gRPC code, and a message.
    pub error: Option<(String, String)>,
    /// What is broken about it.
    pub faults: BatchFaults,
    pub(super) output: Option<Bytes>,
    pub(super) place: GeminiOutput,
    pub(super) phase: Phase,
}

/// A long-running operation, to be made into a body where nobody waits for it.
#[derive(Debug)]
pub struct Operation {
    metadata: Value,
    done: bool,
    error: Option<Value>,
    kind: &'static str,
    output: Option<Bytes>,
    place: GeminiOutput,
}

impl Run {
    fn due(&self, now: Millis) -> usize {
        let elapsed = now.saturating_sub(self.started);
        self.plan.lines.partition_point(|line| line.at <= elapsed)
    }

    fn time_of(&self, lines: usize) -> Millis {
        let last = lines.checked_sub(1).and_then(|index| self.plan.lines.get(index));
        last.map_or(self.started, |line| self.started.saturating_add(line.at))
    }

    /// Whether every request is done.
    pub fn complete(&self) -> bool {
        self.done >= self.plan.lines.len()
    }
}

impl Batch {
    /// How many requests can be done before a fault stops it.
    fn ceiling(&self, run: &Run) -> usize {
        let stops = [self.faults.stall_after, self.faults.expire_after];
        stops.into_iter().flatten().fold(run.plan.lines.len(), usize::min)
    }

    /// Counts all requests that are due. Only when all are done they are billed, since before that there are no results.
    pub(crate) fn execute(&mut self, core: &mut Core, now: Millis) {
        let Phase::Running(run) = &self.phase else { return };
        let until = run.due(now).min(self.ceiling(run));
        let (vanish, counted) = self.faults.vanish.unwrap_or_default();
        let Phase::Running(run) = &mut self.phase else { return };
        if run.done >= until {
            return;
        }
        for index in run.done..until {
            let line = &mut run.plan.lines[index];
            if index < vanish {
                line.place = Place::Nowhere;
                line.entry = line.entry.take().filter(|_| counted);
            }
            match &line.entry {
                Some(entry) if entry.billed => self.counts.completed += 1,
                Some(_) => self.counts.failed += 1,
                None => {}
            }
        }
        (run.done, self.updated) = (until, now);
        if run.complete() {
            for entry in run.plan.lines.iter_mut().filter_map(|line| line.entry.take()) {
                if entry.billed {
                    self.usage.0 += entry.input_tokens;
                    self.usage.1 += entry.output_tokens;
                }
                core.ledger.record(entry);
            }
        }
    }

    /// When the batch next needs attention; None when nothing will happen by itself.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Waiting(at, _) | Phase::Closing(at, ..) => Some(*at),
            Phase::Running(run) => {
                let stop = self.ceiling(run);
                let stalls = self.faults.stall_after.is_some_and(|after| after == stop);
                Some(if stalls { self.expires } else { run.time_of(stop).min(self.expires) })
            }
            _ => None,
        }
    }

    /// Ends it.
    pub(crate) fn end(&mut self, now: Millis, status: Status, error: Option<(&str, &str)>) {
        (self.status, self.ended, self.updated, self.phase) = (status, Some(now), now, Phase::Over);
        self.error = error.map(|(code, message)| (code.to_owned(), message.to_owned()));
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("batches/{}", self.id)
    }

    /// Its state as the API spells it.
    pub fn state(&self) -> &'static str {
        match self.status {
            Status::Validating => "BATCH_STATE_PENDING",
            // Told too early on purpose.
            Status::Finalizing if self.faults.late_output > 0 => "BATCH_STATE_SUCCEEDED",
            Status::InProgress | Status::Finalizing | Status::Cancelling => "BATCH_STATE_RUNNING",
            Status::Completed => "BATCH_STATE_SUCCEEDED",
            Status::Failed => "BATCH_STATE_FAILED",
            Status::Cancelled => "BATCH_STATE_CANCELLED",
            Status::Expired => "BATCH_STATE_EXPIRED",
        }
    }

    /// The operation, in lists without results that are inline.
    pub fn view(&self, whole: bool) -> Operation {
        let kind = match self.task {
            Task::Generate => "GenerateContentBatch",
            Task::Embed => "EmbedContentBatch",
        };
        let mut metadata = json!({
            "@type": format!("{TYPE}{kind}"),
            "model": format!("models/{}", self.model),
            "createTime": stamp(self.created),
            "updateTime": stamp(self.updated),
            "batchStats": self.stats(),
            "state": self.state(),
            "name": self.name(),
        });
        if !self.display_name.is_empty() {
            metadata["displayName"] = json!(self.display_name);
        }
        if let Some(ended) = self.ended {
            metadata["endTime"] = json!(stamp(ended));
        }
        let shown = whole || self.input_file.is_some();
        Operation {
            metadata,
            done: self.status.is_terminal() || self.state() == "BATCH_STATE_SUCCEEDED",
            error: self
                .error
                .as_ref()
                .map(|(code, message)| json!({"code": number(code), "message": message})),
            kind,
            output: self.output.clone().filter(|_| shown),
            place: self.place,
        }
    }

    /// Counts as strings; Google leaves out those that are 0.
    fn stats(&self) -> Value {
        let Counts { total, completed, failed } = self.counts;
        let pending = if self.status.is_terminal() { 0 } else { total.saturating_sub(completed + failed) };
        let counts = [
            ("requestCount", total),
            ("successfulRequestCount", completed),
            ("failedRequestCount", failed),
            ("pendingRequestCount", pending),
        ];
        counts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), json!(count.to_string())))
            .collect()
    }
}

/// What all types of batches begin with.
const TYPE: &str = "type.googleapis.com/google.ai.generativelanguage.v1main.";

impl Operation {
    /// The body.
    pub fn body(&self) -> String {
        // The output is JSON already, and may be large: it is put in where an object ends or begins.
        let output = self.output.as_deref().map(String::from_utf8_lossy);
        let (mut metadata, name) = (self.metadata.to_string(), self.metadata["name"].to_string());
        if let Some(output) = output.as_deref().filter(|_| self.place != GeminiOutput::Response) {
            metadata.pop();
            metadata.push_str(&format!(",\"output\":{output}}}"));
        }
        let mut body = format!("{{\"name\":{name},\"metadata\":{metadata}");
        if self.done {
            body.push_str(",\"done\":true");
        }
        if let Some(error) = &self.error {
            body.push_str(&format!(",\"error\":{error}"));
        }
        if let Some(output) = output.as_deref().filter(|_| self.place != GeminiOutput::Metadata) {
            let rest = output.strip_prefix('{').unwrap_or("}");
            body.push_str(&format!(",\"response\":{{\"@type\":\"{TYPE}{}Output\",{rest}", self.kind));
        }
        body.push('}');
        body
    }
}
