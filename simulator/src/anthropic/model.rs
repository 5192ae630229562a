//! The state of the simulated provider and its passage through time. Nothing in here asks for the time or does I/O.
//!
//! Slow work is handed out by [`Model::tick`] as [`Work`], run by anybody without the model, and brought back by
//! [`Model::finish`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::assemble::Assemble;
use super::batch::{Batch, Ends, Phase};
use super::create::Create;
use super::error::ApiError;
use super::examine::Examine;
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::faults::Decision;
use crate::openai::{Counts, Status};
use crate::plan::{Plan, Run};

/// Batches that are remembered; the oldest ended ones are forgotten beyond it.
const MAX_BATCHES: usize = 100_000;

/// Most batches in a page of a list (Anthropic's documentation).
const MAX_PAGE: usize = 1_000;

/// The state of the simulated provider.
#[derive(Debug, Default)]
pub struct Model {
    batches: BTreeMap<u64, Batch>,
    numbers: HashMap<Arc<str>, u64>,
    active: BTreeSet<u64>,
    next: u64,
}

/// Slow work that needs no state.
#[derive(Debug)]
pub enum Work {
    /// Planning of a batch's lines.
    Examine(Box<Examine>),
    /// Making of the results.
    Assemble(Box<Assemble>),
}

/// What came of a piece of work.
#[derive(Debug)]
pub enum Done {
    /// The plan of a batch.
    Examined(Arc<str>, Plan),
    /// The results of a batch that ends in that status.
    Assembled(Arc<str>, Status, Bytes, Ends),
}

/// Who calls, and what that means for the answer.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose batches are seen.
    pub owner: Credential,
    /// The address under which the caller found the provider, such as `http://127.0.0.1:4010`.
    pub base: String,
    /// Whether the caller will get the answer.
    pub hears: bool,
}

/// The parameters of `GET /v1/messages/batches`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct ListBatches {
    after_id: Option<String>,
    before_id: Option<String>,
    limit: Option<String>,
}

impl Work {
    /// Does the work; takes up to seconds for the largest batches.
    pub fn run(self) -> Done {
        match self {
            Work::Examine(job) => Done::Examined(job.batch.clone(), job.run()),
            Work::Assemble(job) => {
                let (batch, status) = (job.batch.clone(), job.status);
                let (results, ends) = job.run();
                Done::Assembled(batch, status, results, ends)
            }
        }
    }
}

fn missing(id: &str) -> ApiError {
    ApiError::new(404, format!("Message batch {id} not found"))
}

/// What the caller sees of a batch. From then on it knows whether the batch has ended.
fn show(batch: &mut Batch, caller: &Caller) -> Value {
    batch.told |= caller.hears && batch.has_ended();
    batch.view(&caller.base)
}

impl Model {
    /// `POST /v1/messages/batches`: a batch that is `in_progress`.
    pub fn create(
        &mut self,
        core: &mut Core,
        now: Millis,
        caller: &Caller,
        create: Create,
        decision: &Decision,
    ) -> Value {
        let id: Arc<str> = format!("msgbatch_{}", core.rng.hex(24)).into();
        let counts = Counts { total: create.lines.len(), ..Counts::default() };
        let batch = Batch {
            id: id.clone(),
            owner: caller.owner.clone(),
            status: Status::InProgress,
            created: now,
            expires: now + core.config.window_time.as_millis() as Millis,
            listed_from: now + decision.list_lag,
            model: None,
            counts,
            usage: (0, 0),
            faults: decision.batch.clone(),
            deleted: false,
            told: false,
            dialect: create.dialect,
            cancelled: None,
            ended: None,
            ends: Ends::default(),
            results: Bytes::new(),
            phase: Phase::Waiting(now + core.config.validate_time.as_millis() as Millis, create.lines),
        };
        let view = batch.view(&caller.base);
        self.add(batch);
        view
    }

    fn add(&mut self, batch: Batch) {
        self.numbers.insert(batch.id.clone(), self.next);
        self.batches.insert(self.next, batch);
        self.active.insert(self.next);
        self.next += 1;
        if self.batches.len() > MAX_BATCHES
            && let Some(old) =
                self.batches.iter().find(|(_, batch)| batch.has_ended()).map(|(&number, _)| number)
            && let Some(batch) = self.batches.remove(&old)
        {
            self.numbers.remove(&batch.id);
        }
    }

    fn batch_mut(&mut self, id: &str) -> Option<&mut Batch> {
        self.numbers.get(id).and_then(|number| self.batches.get_mut(number))
    }

    /// The batch, if it is this caller's and not deleted.
    fn owned(&mut self, owner: &Credential, id: &str) -> Result<&mut Batch, ApiError> {
        let batch = self.batch_mut(id).filter(|batch| batch.owner == *owner && !batch.deleted);
        batch.ok_or_else(|| missing(id))
    }

    /// When this caller's batch was created.
    pub fn created(&mut self, owner: &Credential, id: &str) -> Option<Millis> {
        self.owned(owner, id).ok().map(|batch| batch.created)
    }

    /// `GET /v1/messages/batches/{id}`
    pub fn retrieve(
        &mut self,
        core: &mut Core,
        now: Millis,
        caller: &Caller,
        id: &str,
    ) -> Result<Value, ApiError> {
        let batch = self.owned(&caller.owner, id)?;
        batch.execute(core, now);
        Ok(show(batch, caller))
    }

    /// `POST /v1/messages/batches/{id}/cancel`
    pub fn cancel(
        &mut self,
        core: &mut Core,
        now: Millis,
        caller: &Caller,
        id: &str,
    ) -> Result<Value, ApiError> {
        let until = now + core.config.cancel_time.as_millis() as Millis;
        let batch = self.owned(&caller.owner, id)?;
        batch.execute(core, now);
        if batch.has_ended() {
            if batch.told {
                core.violation(format!("{id} was cancelled after it was known to have ended"));
            }
            return Err(ApiError::invalid(format!("Batch {id} has already ended and cannot be canceled")));
        }
        if batch.cancelled.is_some() {
            return Ok(show(batch, caller));
        }
        (batch.status, batch.cancelled) = (Status::Cancelling, Some(now));
        batch.phase = match std::mem::replace(&mut batch.phase, Phase::Over) {
            Phase::Running(run) | Phase::Closing(_, _, run) => Phase::Closing(until, Status::Cancelled, run),
            // Its lines, once they were looked at, learn of it.
            other => other,
        };
        Ok(show(batch, caller))
    }

    /// `DELETE /v1/messages/batches/{id}`
    pub fn delete(&mut self, core: &mut Core, owner: &Credential, id: &str) -> Result<Value, ApiError> {
        let batch = self.owned(owner, id)?;
        if !batch.has_ended() {
            core.violation(format!("{id} was deleted before it had ended"));
            let message = format!("Batch {id} cannot be deleted: it has not finished processing");
            return Err(ApiError::invalid(message));
        }
        batch.deleted = true;
        batch.results = Bytes::new();
        Ok(json!({"id": id, "type": "message_batch_deleted"}))
    }

    /// `GET /v1/messages/batches/{id}/results`
    pub fn results(&mut self, core: &mut Core, owner: &Credential, id: &str) -> Result<Bytes, ApiError> {
        let batch = self.owned(owner, id)?;
        if !batch.has_ended() {
            core.violation(format!("the results of {id} were asked for before it had ended"));
            return Err(ApiError::new(404, format!("Batch {id} has no results yet: it has not ended")));
        }
        Ok(batch.results.clone())
    }

    /// `GET /v1/messages/batches`, newest first.
    pub fn list(
        &mut self,
        core: &mut Core,
        now: Millis,
        caller: &Caller,
        query: &ListBatches,
    ) -> Result<Value, ApiError> {
        let limit = match query.limit.as_deref().map(str::parse) {
            None => 20,
            Some(Ok(limit @ 1..=MAX_PAGE)) => limit,
            Some(_) => return Err(ApiError::invalid(format!("limit: Input should be from 1 to {MAX_PAGE}"))),
        };
        let (numbers, has_more) = self.page(now, &caller.owner, query, limit)?;
        let mut data = Vec::new();
        for number in numbers {
            if let Some(batch) = self.batches.get_mut(&number) {
                batch.execute(core, now);
                data.push(show(batch, caller));
            }
        }
        let id = |batch: Option<&Value>| batch.map(|batch| batch["id"].clone());
        Ok(json!({
            "has_more": has_more,
            "first_id": id(data.first()),
            "last_id": id(data.last()),
            "data": data,
        }))
    }

    /// The numbers of a page, newest first, and whether there are more in the direction of the cursor.
    fn page(
        &self,
        now: Millis,
        owner: &Credential,
        query: &ListBatches,
        limit: usize,
    ) -> Result<(Vec<u64>, bool), ApiError> {
        let cursor = |id: &str| {
            let number = self.numbers.get(id).copied();
            let owned = number.filter(|number| self.batches.get(number).is_some_and(|b| b.owner == *owner));
            owned.ok_or_else(|| missing(id))
        };
        let shown = |(number, batch): (&u64, &Batch)| {
            (batch.owner == *owner && !batch.deleted && batch.listed_from <= now).then_some(*number)
        };
        let mut numbers: Vec<u64> = match (&query.after_id, &query.before_id) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("Only one of before_id and after_id can be given"));
            }
            (None, Some(id)) => {
                self.batches.range(cursor(id)? + 1..).filter_map(shown).take(limit + 1).collect()
            }
            (after, None) => {
                let until = after.as_deref().map_or(Ok(u64::MAX), cursor)?;
                self.batches.range(..until).rev().filter_map(shown).take(limit + 1).collect()
            }
        };
        let has_more = numbers.len() > limit;
        numbers.truncate(limit);
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok((numbers, has_more))
    }

    /// All batches, deleted ones too, oldest first.
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
        for number in &self.active {
            // One step may make the next one due at once.
            while let Some(batch) = self.batches.get_mut(number)
                && batch.next_due().is_some_and(|due| due <= now)
            {
                work.extend(step(batch, core, now));
            }
        }
        self.active.retain(|number| self.batches.get(number).is_some_and(|batch| !batch.has_ended()));
        work
    }

    /// Takes the result of a piece of work.
    pub fn finish(&mut self, core: &Core, now: Millis, done: Done) {
        match done {
            Done::Examined(id, plan) => {
                let Some(batch) = self.batch_mut(&id) else { return };
                batch.model = Some(plan.model.clone()).filter(|model| !model.is_empty());
                let run = Run { started: now, plan, done: 0 };
                batch.phase = match batch.cancelled {
                    None => Phase::Running(run),
                    Some(since) => {
                        let until = since + core.config.cancel_time.as_millis() as Millis;
                        Phase::Closing(until, Status::Cancelled, run)
                    }
                };
            }
            Done::Assembled(id, status, results, ends) => {
                let Some(batch) = self.batch_mut(&id) else { return };
                batch.status = if batch.cancelled.is_some() { Status::Cancelled } else { status };
                (batch.results, batch.ends) = (results, ends);
                (batch.ended, batch.phase) = (Some(now), Phase::Over);
            }
        }
    }

    /// Lets stalled batches go on: one, or all of them. Returns how many there were.
    pub fn release(&mut self, now: Millis, id: Option<&str>) -> usize {
        let mut released = 0;
        for batch in self.batches.values_mut().filter(|batch| id.is_none_or(|id| *batch.id == *id)) {
            if batch.has_ended() || batch.faults.stall_after.take().is_none() {
                continue;
            }
            released += 1;
            if let Phase::Running(run) = &mut batch.phase {
                run.started = now;
            }
        }
        released
    }
}

/// Moves one batch on by one step.
fn step(batch: &mut Batch, core: &mut Core, now: Millis) -> Option<Work> {
    batch.execute(core, now);
    let seed = core.config.seed;
    match std::mem::replace(&mut batch.phase, Phase::Over) {
        Phase::Waiting(_, lines) => {
            batch.phase = Phase::Examining;
            Some(Work::Examine(Box::new(Examine {
                batch: batch.id.clone(),
                credential: batch.owner.clone(),
                lines,
                dialect: batch.dialect,
                config: core.config.clone(),
                seed,
            })))
        }
        Phase::Running(run) => {
            let all_done = run.done >= run.plan.lines.len();
            let status = if all_done { Status::Completed } else { Status::Expired };
            let until = now + core.config.finalize_time.as_millis() as Millis;
            batch.phase = Phase::Closing(until, status, run);
            None
        }
        Phase::Closing(_, status, run) => {
            batch.phase = Phase::Assembling;
            let faults = batch.faults.clone();
            Some(Work::Assemble(Box::new(Assemble { batch: batch.id.clone(), status, run, faults, seed })))
        }
        still @ (Phase::Examining | Phase::Assembling | Phase::Over) => {
            batch.phase = still;
            None
        }
    }
}
