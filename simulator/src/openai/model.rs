//! The state of the simulated provider and its passage through time. Nothing in here asks for the time or does I/O.
//!
//! Slow work is handed out by [`Model::tick`] as [`Work`], run by anybody without the model, and brought back by
//! [`Model::finish`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::assemble::{Assemble, Files as Made};
use super::batch::{Batch, Counts, Phase, Status};
use super::error::ApiError;
use super::examine::{BatchError, Examine};
use super::files::{Files, NewFile};
use super::profile::{OPENAI, Profile};
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::plan::{Plan, Run};

/// Batches that are remembered; the oldest ended ones are forgotten beyond it.
const MAX_BATCHES: usize = 100_000;

/// The state of the simulated provider.
#[derive(Debug)]
pub struct Model {
    profile: &'static Profile,
    /// The Files API.
    pub files: Files,
    pub(super) batches: BTreeMap<u64, Batch>,
    pub(super) numbers: HashMap<Arc<str>, u64>,
    pub(super) creations: HashMap<Credential, VecDeque<Millis>>,
    active: BTreeSet<u64>,
    next: u64,
}

/// Slow work that needs no state.
#[derive(Debug)]
pub enum Work {
    /// Validation of an input file.
    Examine(Box<Examine>),
    /// Making of the result files.
    Assemble(Box<Assemble>),
}

/// What came of a piece of work.
#[derive(Debug)]
pub enum Done {
    /// A plan, or why the batch fails.
    Examined(Arc<str>, Result<Plan, Vec<BatchError>>),
    /// The result files of a batch that ends in that status, with its number of lines.
    Assembled(Arc<str>, Status, usize, Made),
}

impl Work {
    /// Does the work; takes up to seconds for the largest batches.
    pub fn run(self) -> Done {
        match self {
            Work::Examine(job) => Done::Examined(job.batch.clone(), job.run()),
            Work::Assemble(job) => {
                let (batch, status, lines) = (job.batch.clone(), job.status, job.run.plan.lines.len());
                Done::Assembled(batch, status, lines, job.run())
            }
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new(&OPENAI)
    }
}

impl Model {
    /// An API in which nothing has happened yet.
    pub fn new(profile: &'static Profile) -> Self {
        let (batches, numbers, creations, active) = Default::default();
        Self { profile, files: Files::new(profile), batches, numbers, creations, active, next: 0 }
    }

    /// Which API it is.
    pub fn profile(&self) -> &'static Profile {
        self.profile
    }

    pub(super) fn add_batch(&mut self, batch: Batch) {
        self.numbers.insert(batch.id.clone(), self.next);
        self.batches.insert(self.next, batch);
        self.active.insert(self.next);
        self.next += 1;
        if self.batches.len() > MAX_BATCHES
            && let Some(old) =
                self.batches.iter().find(|(_, batch)| batch.status.is_terminal()).map(|(&number, _)| number)
            && let Some(batch) = self.batches.remove(&old)
        {
            self.numbers.remove(&batch.id);
        }
    }

    fn batch_mut(&mut self, id: &str) -> Option<&mut Batch> {
        self.numbers.get(id).and_then(|number| self.batches.get_mut(number))
    }

    /// The batch with all its lines executed that are due.
    pub(super) fn executed(&mut self, core: &mut Core, now: Millis, id: &str) -> Option<&mut Batch> {
        let batch = self.batch_mut(id)?;
        batch.execute(core, now);
        Some(batch)
    }

    /// All batches, oldest first.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.values()
    }

    /// Executes all lines of all batches that are due.
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
            Done::Examined(id, result) => self.examined(core, now, &id, result),
            Done::Assembled(id, status, lines, made) => self.assembled(core, now, &id, status, lines, made),
        }
    }

    /// Ticks and works until nothing more is due: what a test does in place of running a driver.
    pub fn settle(&mut self, core: &mut Core, now: Millis) {
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

    /// `DELETE /files/{id}`. Whether a running batch minds the loss of its input is not documented: a careful client
    /// does not try.
    pub fn delete_file(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        id: &str,
    ) -> Result<Value, ApiError> {
        let deleted = self.files.delete(now, owner, id)?;
        let mut active = self.active.iter().filter_map(|number| self.batches.get(number));
        if let Some(batch) = active.find(|batch| batch.input_file == id && !batch.status.is_terminal()) {
            core.violation(format!(
                "the input file of {} was deleted while it was {}",
                batch.id,
                batch.status.as_str()
            ));
        }
        Ok(deleted)
    }

    /// Lets stalled batches go on: one, or all of them. Returns how many there were.
    pub fn release(&mut self, now: Millis, id: Option<&str>) -> usize {
        let mut released = 0;
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

    fn examined(&mut self, core: &mut Core, now: Millis, id: &str, result: Result<Plan, Vec<BatchError>>) {
        let Some(batch) = self.batch_mut(id) else { return };
        if !matches!(batch.phase, Phase::Examining) {
            return;
        }
        let (model, owner, fail) = match &result {
            Ok(plan) => (plan.model.clone(), batch.owner.clone(), batch.faults.fail.take()),
            Err(_) => ("".into(), batch.owner.clone(), None),
        };
        let result = match (result, fail) {
            (Ok(_), Some(fail)) => Err(wanted_failure(fail)),
            (Ok(plan), None) => self.check_queue(core, &owner, &model, plan.input_tokens).map(|()| plan),
            (refused, _) => refused,
        };
        let Some(batch) = self.batch_mut(id) else { return };
        match result {
            Ok(plan) => {
                batch.counts = Counts { total: plan.lines.len(), ..Counts::default() };
                (batch.model, batch.enqueued) = (Some(model), plan.input_tokens);
                (batch.status, batch.times.in_progress) = (Status::InProgress, Some(now));
                batch.phase = Phase::Running(Run { started: now, plan, done: 0 });
            }
            Err(errors) => {
                (batch.errors, batch.status) = (errors, Status::Failed);
                (batch.times.ended, batch.phase) = (Some(now), Phase::Over);
            }
        }
    }

    /// Checks the enqueued tokens of this caller and model, if there is a limit on them.
    fn check_queue(
        &self,
        core: &Core,
        owner: &Credential,
        model: &str,
        tokens: u64,
    ) -> Result<(), Vec<BatchError>> {
        let limits = &core.config.enqueued_token_limits;
        let Some(&limit) = limits.get(model).or_else(|| limits.get("*")) else { return Ok(()) };
        let same = |batch: &&Batch| batch.owner == *owner && batch.model.as_deref() == Some(model);
        let active = self.active.iter().filter_map(|number| self.batches.get(number)).filter(same);
        let enqueued: u64 =
            active.filter(|batch| !batch.status.is_terminal()).map(|batch| batch.enqueued).sum();
        if enqueued + tokens <= limit {
            return Ok(());
        }
        let message = format!(
            "Enqueued token limit reached for {model} in organization org-simulator. Limit: {limit} enqueued tokens. \
             Please try again once some in_progress batches have been completed."
        );
        Err(vec![BatchError::whole("token_limit_exceeded", &message)])
    }

    fn assembled(
        &mut self,
        core: &mut Core,
        now: Millis,
        id: &str,
        status: Status,
        lines: usize,
        made: Made,
    ) {
        let Some(batch) = self.numbers.get(id).and_then(|number| self.batches.get_mut(number)) else {
            return;
        };
        if !matches!(batch.phase, Phase::Assembling) {
            return;
        }
        batch.counts.total = lines;
        if self.profile.inline_results || batch.inline.is_some() {
            batch.results = [made.output, made.error].into_iter().flatten().flatten().collect();
        } else {
            self.store(core, now, id, status, made);
        }
        let Some(batch) = self.batch_mut(id) else { return };
        (batch.status, batch.times.ended, batch.phase) = (status, Some(now), Phase::Over);
    }
}

impl Model {
    /// Stores the result files of a batch.
    fn store(&mut self, core: &mut Core, now: Millis, id: &str, status: Status, made: Made) {
        let Some(batch) = self.numbers.get(id).and_then(|number| self.batches.get_mut(number)) else {
            return;
        };
        let lifetime = batch.output_lifetime.or(self.profile.lifetime_s);
        let mut store = |kind: &str, content| {
            let name = format!("{id}_{kind}.jsonl");
            let new = NewFile { name, purpose: "batch_output".into(), content, lifetime };
            self.files.add(core, now, &batch.owner, new).id.clone()
        };
        let no_errors =
            (self.profile.empty_error_file && status == Status::Completed).then(bytes::Bytes::new);
        batch.output_file = made.output.map(|content| store("output", content));
        batch.error_file = made.error.or(no_errors).map(|content| store("error", content));
    }
}

/// Moves one batch on by one step.
fn step(batch: &mut Batch, files: &Files, core: &mut Core, now: Millis) -> Option<Work> {
    batch.execute(core, now);
    let seed = core.config.seed;
    match std::mem::replace(&mut batch.phase, Phase::Over) {
        Phase::Waiting(_) => {
            let file = files.get(now, &batch.owner, &batch.input_file).ok().map(|file| file.content.clone());
            let Some(file) = batch.inline.clone().or(file) else {
                batch.errors = vec![BatchError::whole("invalid_request", "The input file no longer exists.")];
                (batch.status, batch.times.ended) = (Status::Failed, Some(now));
                return None;
            };
            batch.phase = Phase::Examining;
            Some(Work::Examine(Box::new(Examine {
                batch: batch.id.clone(),
                credential: batch.owner.clone(),
                profile: batch.profile,
                endpoint: batch.endpoint,
                model: batch.asked_model.clone(),
                file,
                config: core.config.clone(),
                seed,
                now,
            })))
        }
        Phase::Running(run) => {
            let all_done = run.done >= run.plan.lines.len();
            let status = if all_done { Status::Completed } else { Status::Expired };
            (batch.status, batch.times.finalizing) = (Status::Finalizing, Some(now));
            let until = now + core.config.finalize_time.as_millis() as Millis;
            batch.phase = Phase::Closing(until, status, Some(run));
            None
        }
        Phase::Closing(_, status, Some(run)) => {
            batch.phase = Phase::Assembling;
            let faults = batch.faults.clone();
            Some(Work::Assemble(Box::new(Assemble { batch: batch.id.clone(), status, run, faults, seed })))
        }
        Phase::Closing(_, status, None) => {
            (batch.status, batch.times.ended) = (status, Some(now));
            None
        }
        still @ (Phase::Examining | Phase::Assembling | Phase::Over) => {
            batch.phase = still;
            None
        }
    }
}

fn wanted_failure((code, message, lines): (String, Option<String>, Vec<usize>)) -> Vec<BatchError> {
    let message = message.unwrap_or_else(|| "This batch was made to fail.".into());
    let error = |line| BatchError { code: code.clone(), line, message: message.clone(), param: None };
    if lines.is_empty() {
        vec![error(None)]
    } else {
        lines.into_iter().map(|line| error(Some(line))).collect()
    }
}
