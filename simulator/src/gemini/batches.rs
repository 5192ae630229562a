//! Batches: create, get, list, cancel, delete.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Batch, Operation, Phase};
use super::error::ApiError;
use super::examine::{Input, inline};
use super::messages::{CREATE_EMBED, CREATE_GENERATE};
use super::method::Task;
use super::model::Model;
use super::request::{check_model, parse};
use super::schema::{object, text};
use crate::config::{Config, GeminiOutput};
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::faults::Decision;
use crate::openai::{Counts, Status};

/// Bytes of a creation with inline requests (Google documents 20 MB).
pub(crate) const MAX_INLINE: usize = 20_000_000;

/// A creation that passed all checks but those that need state.
#[derive(Debug)]
pub struct Create {
    task: Task,
    model: Arc<str>,
    display_name: String,
    input: Input,
    bytes: u64,
}

impl Create {
    /// Checks a body as far as it can be checked alone.
    pub fn parse(task: Task, model: &str, body: &Bytes) -> Result<Self, ApiError> {
        let text_of_body = std::str::from_utf8(body)
            .map_err(|_| ApiError::at("", "Invalid JSON payload received. It is not UTF-8."))?;
        let fields = parse(text_of_body)?;
        let message = if task == Task::Generate { &CREATE_GENERATE } else { &CREATE_EMBED };
        message.check(&fields, "")?;
        check_model(model, &fields)?;
        let batch = object(&fields, "batch").ok_or_else(|| unset("batch"))?;
        check_model(model, &batch)?;
        let config = object(&batch, "inputConfig").ok_or_else(|| unset("batch.input_config"))?;
        let (input, bytes) = match (object(&config, "requests"), text(&config, "fileName")) {
            (Some(_), Some(_)) => {
                let message =
                    "Invalid value at 'batch.input_config' (oneof), oneof field 'source' is already set.";
                return Err(ApiError::at("batch.input_config", message));
            }
            (None, None) => return Err(unset("batch.input_config.source")),
            (None, Some(name)) => (Input::File(name.strip_prefix("files/").unwrap_or(&name).to_owned()), 0),
            (Some(requests), None) => {
                let items = inline(body, &requests)?;
                if items.is_empty() {
                    return Err(unset("batch.input_config.requests.requests"));
                }
                let bytes = items.iter().map(|item| item.request.len() as u64).sum();
                (Input::Inline(items), bytes)
            }
        };
        let display_name = text(&batch, "displayName").unwrap_or_default();
        Ok(Self { task, model: model.into(), display_name, input, bytes })
    }

    /// The id of the input file, if it has one.
    pub fn file(&self) -> Option<&str> {
        match &self.input {
            Input::File(id) => Some(id),
            Input::Inline(_) => None,
        }
    }
}

fn unset(path: &str) -> ApiError {
    let name = path.rsplit('.').next().unwrap_or(path);
    ApiError::at(path, format!("* {path}: {name} is not specified\n"))
}

/// Where the next batch's output is told.
fn place(config: &Config, number: u64) -> GeminiOutput {
    match (config.gemini_output, number % 3) {
        (GeminiOutput::Alternating, 0) => GeminiOutput::Both,
        (GeminiOutput::Alternating, 1) => GeminiOutput::Response,
        (GeminiOutput::Alternating, _) => GeminiOutput::Metadata,
        (fixed, _) => fixed,
    }
}

impl Model {
    /// Creates a batch that is pending.
    pub fn create(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        create: Create,
        decision: &Decision,
    ) -> Result<Operation, ApiError> {
        let Create { task, model, display_name, input, mut bytes } = create;
        let mut input_file = None;
        if let Input::File(id) = &input {
            let file = self.files.get(now, owner, id).map_err(|_| ApiError::not_found())?;
            bytes = file.content.len() as u64;
            let name = file.name();
            if self.batches.values().any(|batch| batch.input_file.as_deref() == Some(&name)) {
                core.violation(format!("two batches were created from {name}"));
            }
            input_file = Some(name);
        }
        let enqueued = (bytes / 4).max(1);
        self.admit(core, owner, &model, enqueued)?;
        let total = if let Input::Inline(items) = &input { items.len() } else { 0 };
        let batch = Batch {
            id: core.rng.hex(32).into(),
            owner: owner.clone(),
            task,
            model,
            display_name,
            input_file,
            status: Status::Validating,
            created: now,
            updated: now,
            ended: None,
            // `window_time` is that of 24 hours; Google gives 48.
            expires: now + 2 * core.config.window_time.as_millis() as Millis,
            listed_from: now + decision.list_lag,
            counts: Counts { total, ..Counts::default() },
            usage: (0, 0),
            enqueued,
            error: None,
            faults: decision.batch.clone(),
            output: None,
            place: place(&core.config, self.next),
            phase: Phase::Waiting(now + core.config.validate_time.as_millis() as Millis, input),
        };
        let view = batch.view(true);
        self.add_batch(batch);
        Ok(view)
    }

    /// Checks how many batches and tokens are under way.
    fn admit(&self, core: &Core, owner: &Credential, model: &str, tokens: u64) -> Result<(), ApiError> {
        let exhausted = |message: String| ApiError { retry_after: Some(1), ..ApiError::new(429, message) };
        let active: Vec<&Batch> = self.active_of(owner).collect();
        let most = core.config.gemini_concurrent_batches;
        if active.len() >= most {
            return Err(exhausted(format!("You exceeded your current quota: {most} concurrent batches.")));
        }
        let limits = &core.config.enqueued_token_limits;
        let Some(&limit) = limits.get(model).or_else(|| limits.get("*")) else { return Ok(()) };
        let same = active.iter().filter(|batch| *batch.model == *model);
        let enqueued: u64 = same.map(|batch| batch.enqueued).sum();
        if enqueued + tokens <= limit {
            return Ok(());
        }
        Err(exhausted(format!("You exceeded your current quota: {limit} enqueued tokens for {model}.")))
    }

    /// The batch, if it is this caller's.
    pub fn batch(&self, owner: &Credential, id: &str) -> Result<&Batch, ApiError> {
        let batch = self.numbers.get(id).and_then(|number| self.batches.get(number));
        batch.filter(|batch| batch.owner == *owner).ok_or_else(ApiError::not_found)
    }

    fn mine(&mut self, owner: &Credential, id: &str) -> Result<&mut Batch, ApiError> {
        let batch = self.numbers.get(id).and_then(|number| self.batches.get_mut(number));
        batch.filter(|batch| batch.owner == *owner).ok_or_else(ApiError::not_found)
    }

    /// `GET /batches/{id}`.
    pub fn retrieve(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        id: &str,
    ) -> Result<Operation, ApiError> {
        let batch = self.mine(owner, id)?;
        batch.execute(core, now);
        Ok(batch.view(true))
    }

    /// `POST /batches/{id}:cancel`. It has no results, so nothing is billed.
    pub fn cancel(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        id: &str,
    ) -> Result<(), ApiError> {
        let batch = self.mine(owner, id)?;
        batch.execute(core, now);
        if batch.status == Status::Cancelling {
            return Ok(());
        }
        // When all its requests are done they are billed, and their results come.
        let done = matches!(&batch.phase, Phase::Running(run) if run.complete());
        if done || batch.status.is_terminal() || batch.status == Status::Finalizing {
            let message = format!("The batch has ended or is about to: {}.", batch.state());
            return Err(ApiError::precondition(message));
        }
        (batch.status, batch.updated) = (Status::Cancelling, now);
        let until = now + core.config.cancel_time.as_millis() as Millis;
        batch.phase = Phase::Closing(until, Status::Cancelled, None);
        Ok(())
    }

    /// `DELETE /batches/{id}`: stops it, too. Its results go with it, a file of results stays.
    pub fn delete(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        id: &str,
    ) -> Result<(), ApiError> {
        self.mine(owner, id)?.execute(core, now);
        self.forget(id);
        Ok(())
    }

    /// `GET /batches`, newest first: a page of those older than the number in a token, and the next token.
    pub fn list(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        before: Option<u64>,
        size: usize,
    ) -> (Vec<Operation>, Option<u64>) {
        self.execute(core, now);
        let shown = |(_, batch): &(&u64, &Batch)| batch.owner == *owner && batch.listed_from <= now;
        let page = self.batches.range(..before.unwrap_or(u64::MAX)).rev().filter(shown).take(size + 1);
        let mut page: Vec<(&u64, &Batch)> = page.collect();
        let more = page.len() > size;
        page.truncate(size);
        let next = page.last().filter(|_| more).map(|(number, _)| **number);
        (page.iter().map(|(_, batch)| batch.view(false)).collect(), next)
    }
}
