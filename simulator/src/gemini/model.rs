//! The state of the simulated provider and its passage through time. Nothing in here asks for the time or does I/O.
//!
//! Slow work is handed out by [`Model::tick`] as [`Work`], run by anybody without the model, and brought back by
//! [`Model::finish`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::assemble::{Assemble, Output};
use super::batch::{Batch, Phase, Run};
use super::error::ApiError;
use super::examine::{Examine, Input, Plan};
use super::files::{Files, NewFile};
use super::uploads::Uploads;
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::openai::Status;

/// Batches that are remembered; the oldest ended ones are forgotten beyond it.
const MAX_BATCHES: usize = 100_000;

/// The state of the simulated provider.
#[derive(Debug, Default)]
pub struct Model {
    /// The Files API.
    pub files: Files,
    /// Uploads under way.
    pub uploads: Uploads,
    pub(super) batches: BTreeMap<u64, Batch>,
    pub(super) numbers: HashMap<Arc<str>, u64>,
    pub(super) next: u64,
    active: BTreeSet<u64>,
}

/// Slow work that needs no state.
#[derive(Debug)]
pub enum Work {
    /// Reading of a batch's requests.
    Examine(Box<Examine>),
    /// Making of its output.
    Assemble(Box<Assemble>),
}

/// What came of a piece of work.
#[derive(Debug)]
pub enum Done {
    /// A plan, or why the batch fails.
    Examined(Arc<str>, Result<Plan, String>),
    /// The output of a batch.
    Assembled(Arc<str>, Output),
}

impl Work {
    /// Does the work; takes up to seconds for the largest batches.
    pub fn run(self) -> Done {
        match self {
            Work::Examine(job) => Done::Examined(job.batch.clone(), job.run()),
            Work::Assemble(job) => Done::Assembled(job.batch.clone(), job.run()),
        }
    }
}

impl Model {
    pub(super) fn add_batch(&mut self, batch: Batch) {
        self.numbers.insert(batch.id.clone(), self.next);
        self.batches.insert(self.next, batch);
        self.active.insert(self.next);
        self.next += 1;
        if self.batches.len() > MAX_BATCHES
            && let Some(old) = self.batches.values().find(|batch| batch.status.is_terminal())
        {
            let old = old.id.clone();
            self.forget(&old);
        }
    }

    pub(super) fn forget(&mut self, id: &str) {
        if let Some(number) = self.numbers.remove(id) {
            self.batches.remove(&number);
            self.active.remove(&number);
        }
    }

    pub(super) fn active_of(&self, owner: &Credential) -> impl Iterator<Item = &Batch> {
        let active = self.active.iter().filter_map(|number| self.batches.get(number));
        active.filter(move |batch| batch.owner == *owner && !batch.status.is_terminal())
    }

    fn batch_mut(&mut self, id: &str) -> Option<&mut Batch> {
        self.numbers.get(id).and_then(|number| self.batches.get_mut(number))
    }

    /// All batches, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.values()
    }

    /// Executes all requests of all batches that are due.
    pub fn execute(&mut self, core: &mut Core, now: Millis) {
        for number in &self.active {
            if let Some(batch) = self.batches.get_mut(number) {
                batch.execute(core, now);
            }
        }
    }

    /// When [`Model::tick`] is next needed; None when nothing will happen by itself.
    pub fn next_due(&self) -> Option<Millis> {
        self.active.iter().filter_map(|number| self.batches.get(number)?.next_due()).min()
    }

    /// Moves every batch on that is due, and hands out the work that this needs.
    pub fn tick(&mut self, core: &mut Core, now: Millis) -> Vec<Work> {
        let mut work = Vec::new();
        for number in self.active.clone() {
            // One step may make the next one due at once.
            while let Some(batch) = self.batches.get_mut(&number)
                && batch.next_due().is_some_and(|due| due <= now)
            {
                work.extend(step(batch, &self.files, core, now));
            }
        }
        self.active
            .retain(|number| self.batches.get(number).is_some_and(|batch| !batch.status.is_terminal()));
        work
    }

    /// Takes the result of a piece of work.
    pub fn finish(&mut self, core: &mut Core, now: Millis, done: Done) {
        match done {
            Done::Examined(id, result) => self.examined(now, &id, result),
            Done::Assembled(id, output) => self.assembled(core, now, &id, output),
        }
    }

    /// `DELETE /files/{id}`. A batch that has not read the file yet fails; a careful client does not try.
    pub fn delete_file(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        id: &str,
    ) -> Result<(), ApiError> {
        self.files.delete(now, owner, id)?;
        let name = format!("files/{id}");
        let user = self.active_of(owner).find(|batch| batch.input_file.as_deref() == Some(&name));
        if let Some((batch, state)) = user.map(|batch| (batch.name(), batch.state())) {
            core.violation(format!("the input file of {batch} was deleted while it was {state}"));
        }
        Ok(())
    }

    /// Lets stalled batches go on: one, or all of them. Returns how many there were.
    pub fn release(&mut self, now: Millis, id: Option<&str>) -> usize {
        let mut released = 0;
        let id = id.map(|id| id.strip_prefix("batches/").unwrap_or(id));
        for batch in self.batches.values_mut().filter(|batch| id.is_none_or(|id| *batch.id == *id)) {
            if batch.status.is_terminal() || batch.faults.stall_after.take().is_none() {
                continue;
            }
            released += 1;
            if let Phase::Running(run) = &mut batch.phase {
                run.started = now;
            }
        }
        released
    }

    fn examined(&mut self, now: Millis, id: &str, result: Result<Plan, String>) {
        let Some(batch) = self.batch_mut(id).filter(|batch| matches!(batch.phase, Phase::Examining)) else {
            return;
        };
        match (result, batch.faults.fail.take()) {
            (Err(message), _) => batch.end(now, Status::Failed, Some(("INVALID_ARGUMENT", &message))),
            (Ok(_), Some((code, message, _))) => {
                let message = message.unwrap_or_else(|| "This batch was made to fail.".into());
                batch.end(now, Status::Failed, Some((&code, &message)));
            }
            (Ok(plan), None) => {
                batch.counts.total = plan.lines.len();
                (batch.status, batch.updated) = (Status::InProgress, now);
                batch.phase = Phase::Running(Run { started: now, plan, done: 0 });
            }
        }
    }

    fn assembled(&mut self, core: &mut Core, now: Millis, id: &str, output: Output) {
        let Some(batch) = self.numbers.get(id).and_then(|number| self.batches.get_mut(number)) else {
            return;
        };
        if !matches!(batch.phase, Phase::Assembling) {
            return;
        }
        batch.output = Some(match output {
            Output::Inline(output) => output,
            Output::File(content) => {
                let new = NewFile {
                    id: format!("batch-{}", core.rng.hex(24)),
                    content,
                    display_name: format!("{} results", batch.name()),
                    mime_type: "application/jsonl".into(),
                    generated: true,
                    list_lag: 0,
                };
                let file = self.files.add(now, &batch.owner, new);
                serde_json::json!({"responsesFile": file.name()}).to_string().into()
            }
        });
        batch.end(now, Status::Completed, None);
    }
}

#[cfg(test)]
impl Model {
    /// Ticks and works until nothing more is due: what a test does in place of running a driver.
    pub(crate) fn settle(&mut self, core: &mut Core, now: Millis) {
        loop {
            let work = self.tick(core, now);
            if work.is_empty() {
                return;
            }
            for piece in work {
                self.finish(core, now, piece.run());
            }
        }
    }
}

/// Moves one batch on by one step.
fn step(batch: &mut Batch, files: &Files, core: &mut Core, now: Millis) -> Option<Work> {
    batch.execute(core, now);
    match std::mem::replace(&mut batch.phase, Phase::Over) {
        Phase::Waiting(_, input) => {
            let requests = match input {
                Input::Inline(items) => Ok(items),
                Input::File(id) => match files.get(now, &batch.owner, &id) {
                    Ok(file) => Err(file.content.clone()),
                    Err(_) => {
                        batch.end(now, Status::Failed, Some(("NOT_FOUND", "The input file was not found.")));
                        return None;
                    }
                },
            };
            batch.phase = Phase::Examining;
            Some(Work::Examine(Box::new(Examine {
                batch: batch.id.clone(),
                credential: batch.owner.clone(),
                task: batch.task,
                model: batch.model.clone(),
                requests,
                config: core.config.clone(),
            })))
        }
        Phase::Running(run) if run.complete() => {
            batch.status = Status::Finalizing;
            let wait = core.config.finalize_time.as_millis() as Millis;
            batch.phase =
                Phase::Closing(now + wait.max(batch.faults.late_output), Status::Completed, Some(run));
            None
        }
        Phase::Running(_) => {
            let message = "The batch was not done within its time.";
            batch.end(now, Status::Expired, Some(("DEADLINE_EXCEEDED", message)));
            None
        }
        Phase::Closing(_, _, Some(run)) => {
            batch.phase = Phase::Assembling;
            let (id, task, faults) = (batch.id.clone(), batch.task, batch.faults.clone());
            Some(Work::Assemble(Box::new(Assemble { batch: id, task, run, faults, seed: core.config.seed })))
        }
        Phase::Closing(_, status, None) => {
            batch.end(now, status, Some(("CANCELLED", "The batch was cancelled.")));
            None
        }
        still @ (Phase::Examining | Phase::Assembling | Phase::Over) => {
            batch.phase = still;
            None
        }
    }
}
