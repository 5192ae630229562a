//! The Batch API: create, retrieve, list, cancel.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::batch::{Batch, Counts, Phase, Status, Times};
use super::endpoint::Endpoint;
use super::error::ApiError;
use super::files::{admit, lifetime, limit};
use super::model::Model;
use super::profile::Profile;
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::faults::Decision;

/// The parameters of `GET /batches`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct ListBatches {
    after: Option<String>,
    limit: Option<String>,
}

/// A `POST /batches` body that passed all checks but those that need state.
#[derive(Debug, PartialEq, Eq)]
pub struct Create {
    /// The input file's id; empty if the lines are inline.
    pub input_file: String,
    /// The batch's endpoint.
    pub endpoint: Endpoint,
    /// The caller's own pairs.
    pub metadata: BTreeMap<String, String>,
    /// How long its result files live, in seconds.
    pub output_lifetime: Option<u64>,
    /// The completion window as it was written.
    pub window: String,
    /// The same in hours.
    pub hours: u64,
    /// The lines, where they come with the creation.
    pub inline: Option<Bytes>,
    /// The model, where the creation names it.
    pub model: Option<String>,
    /// The batch's name, where it has one.
    pub name: String,
}

impl Create {
    /// A creation for a day that says no more than its endpoint.
    pub fn at(endpoint: Endpoint) -> Self {
        Self {
            input_file: String::new(),
            endpoint,
            metadata: BTreeMap::new(),
            output_lifetime: None,
            window: "24h".to_owned(),
            hours: 24,
            inline: None,
            model: None,
            name: String::new(),
        }
    }

    /// Checks a body as far as it can be checked alone.
    pub fn parse(profile: &Profile, body: &[u8]) -> Result<Self, ApiError> {
        let body = members(body)?;
        let input_file = string(&body, "input_file_id")?.to_owned();
        let endpoint = string(&body, "endpoint")?;
        let endpoint = profile
            .endpoint(endpoint)
            .ok_or_else(|| ApiError::unsupported_value("endpoint", endpoint, &profile.paths()))?;
        let window = string(&body, "completion_window")?.to_owned();
        let hours = hours(profile, &window)?;
        let metadata = metadata(body.get("metadata"))?;
        let output_lifetime = match body.get("output_expires_after").filter(|value| !value.is_null()) {
            None => None,
            Some(after) => {
                let seconds = after.get("seconds").map(Value::to_string);
                lifetime(profile, after.get("anchor").and_then(Value::as_str), seconds.as_deref())?
            }
        };
        Ok(Self { input_file, metadata, output_lifetime, window, hours, ..Self::at(endpoint) })
    }
}

/// The members of a creation's body.
pub(crate) fn members(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(body)
        .map_err(|_| ApiError::invalid("We could not parse the JSON body of your request.", "", ""))
}

/// The hours of a completion window such as `24h` or `7d`.
fn hours(profile: &Profile, window: &str) -> Result<u64, ApiError> {
    let (shortest, longest) = profile.window_hours;
    let number = |unit: char| window.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok());
    let days = number('d').filter(|_| shortest < longest);
    let hours = number('h').or(days.map(|days| days.saturating_mul(24)));
    hours.filter(|hours| (shortest..=longest).contains(hours)).ok_or_else(|| {
        let allowed = [format!("{shortest}h"), format!("{longest}h")];
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        let most = if shortest < longest { 2 } else { 1 };
        ApiError::unsupported_value("completion_window", window, &allowed[..most])
    })
}

/// A member that has to be a string.
pub(crate) fn string<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, ApiError> {
    match body.get(name) {
        None | Some(Value::Null) => Err(ApiError::missing(name)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(ApiError::wrong_type(name, "a string", "another type")),
    }
}

/// At most 16 pairs of strings, keys to 64 and values to 512 characters (`OpenAI` API reference).
pub(crate) fn metadata(value: Option<&Value>) -> Result<BTreeMap<String, String>, ApiError> {
    let pairs = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(pairs)) => pairs,
        Some(_) => return Err(ApiError::wrong_type("metadata", "an object", "another type")),
    };
    if pairs.len() > 16 {
        let message = format!(
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got {} instead.",
            pairs.len()
        );
        return Err(ApiError::invalid(message, "metadata", "object_above_max_properties"));
    }
    let too_long = |param: String, most: usize| {
        let message =
            format!("Invalid '{param}': string too long. Expected a string with maximum length {most}.");
        ApiError::invalid(message, &param, "string_above_max_length")
    };
    let read = |(key, value): (&String, &Value)| {
        let param = format!("metadata.{key}");
        let value = value.as_str().ok_or_else(|| ApiError::wrong_type(&param, "a string", "another type"))?;
        match (key.chars().count(), value.chars().count()) {
            (65.., _) => Err(too_long("metadata".into(), 64)),
            (_, 513..) => Err(too_long(param, 512)),
            _ => Ok((key.clone(), value.to_owned())),
        }
    };
    pairs.iter().map(read).collect()
}

pub(crate) fn missing(id: &str) -> ApiError {
    ApiError::new(404, format!("No batch found with id '{id}'."))
}

impl Model {
    /// `POST /batches`: a batch that is `validating`.
    pub fn create(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        create: Create,
        decision: &Decision,
    ) -> Result<Value, ApiError> {
        let recent = self.creations.entry(owner.clone()).or_default();
        admit(recent, now, 3_600_000, core.config.creates_per_hour, "batch creations per hour")?;
        if create.inline.is_none() {
            self.check_input(core, now, owner, &create.input_file)?;
        }
        let profile = self.profile();
        let id: Arc<str> = profile.id("batch_", 32, &mut core.rng).into();
        let mut faults = decision.batch.clone();
        faults.empty_string_file_ids |= core.config.empty_string_file_ids;
        let day = core.config.window_time.as_millis() as Millis;
        let expires = now + day.saturating_mul(create.hours) / 24;
        let batch = Batch {
            profile,
            id,
            owner: owner.clone(),
            endpoint: create.endpoint,
            input_file: create.input_file,
            inline: create.inline,
            asked_model: create.model,
            name: create.name,
            window: create.window,
            metadata: create.metadata,
            output_lifetime: create.output_lifetime,
            status: Status::Validating,
            created: now,
            expires,
            stops: if profile.expires { expires } else { Millis::MAX },
            listed_from: now + decision.list_lag,
            model: None,
            errors: Vec::new(),
            output_file: None,
            error_file: None,
            results: Bytes::new(),
            counts: Counts::default(),
            usage: (0, 0),
            enqueued: 0,
            faults,
            times: Times::default(),
            phase: Phase::Waiting(now + core.config.validate_time.as_millis() as Millis),
        };
        let view = batch.view();
        self.add_batch(batch);
        Ok(view)
    }

    /// Checks that a file can be the input of a batch.
    fn check_input(
        &self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        id: &str,
    ) -> Result<(), ApiError> {
        let file = self.files.get(now, owner, id).map_err(|_| no_input(id))?;
        if let Some(purpose) = self.profile().purpose.filter(|purpose| file.purpose != *purpose) {
            let message = format!("Invalid file purpose '{}': expected '{purpose}'.", file.purpose);
            return Err(ApiError::invalid(message, "input_file_id", "invalid_purpose"));
        }
        if !file.polled {
            core.violation(format!("a batch was created from {id} before it was seen as processed"));
            let message = format!("File {id} is not in status 'processed' yet.");
            return Err(ApiError::invalid(message, "input_file_id", "invalid_request"));
        }
        if self.batches.values().any(|batch| batch.input_file == id) {
            core.violation(format!("two batches were created from file {id}"));
        }
        Ok(())
    }

    /// The batch, if it is this caller's.
    pub fn batch(&self, owner: &Credential, id: &str) -> Result<&Batch, ApiError> {
        let batch = self.numbers.get(id).and_then(|number| self.batches.get(number));
        batch.filter(|batch| batch.owner == *owner).ok_or_else(|| missing(id))
    }

    /// `GET /batches/{id}`.
    pub fn retrieve(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        id: &str,
    ) -> Result<Value, ApiError> {
        self.batch(owner, id)?;
        Ok(self.executed(core, now, id).ok_or_else(|| missing(id))?.view())
    }

    /// `POST /batches/{id}/cancel`.
    pub fn cancel(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        id: &str,
    ) -> Result<Value, ApiError> {
        self.batch(owner, id)?;
        let until = now + core.config.cancel_time.as_millis() as Millis;
        let batch = self.executed(core, now, id).ok_or_else(|| missing(id))?;
        if batch.status == Status::Cancelling {
            return Ok(batch.view());
        }
        if batch.status.is_terminal() || matches!(batch.phase, Phase::Assembling) {
            let message = format!("Cannot cancel a batch with status '{}'.", batch.status.as_str());
            return Err(ApiError::new(409, message));
        }
        batch.status = Status::Cancelling;
        batch.times.cancelling = Some(now);
        batch.phase = match std::mem::replace(&mut batch.phase, Phase::Over) {
            Phase::Running(run) | Phase::Closing(_, _, Some(run)) => {
                Phase::Closing(until, Status::Cancelled, Some(run))
            }
            _ => Phase::Closing(until, Status::Cancelled, None),
        };
        Ok(batch.view())
    }

    /// Everything a caller's list shows, newest first.
    pub fn listed(&mut self, core: &mut Core, now: Millis, owner: &Credential) -> Vec<&Batch> {
        self.execute(core, now);
        let shown = |batch: &&Batch| batch.owner == *owner && batch.listed_from <= now;
        self.batches.values().rev().filter(shown).collect()
    }

    /// Forgets a batch that has ended.
    pub fn remove(&mut self, owner: &Credential, id: &str) -> Result<(), ApiError> {
        let batch = self.batch(owner, id)?;
        if !batch.status.is_terminal() {
            let message = format!("Cannot delete a batch with status '{}'.", batch.status.as_str());
            return Err(ApiError::new(409, message));
        }
        if let Some(number) = self.numbers.remove(id) {
            self.batches.remove(&number);
        }
        Ok(())
    }

    /// `GET /batches`, newest first.
    pub fn list(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        query: &ListBatches,
    ) -> Result<Value, ApiError> {
        let limit = limit(query.limit.as_deref(), 20, 100)?;
        let until = match &query.after {
            Some(id) => *self.numbers.get(&**id).ok_or_else(|| missing(id))?,
            None => u64::MAX,
        };
        let shown = |batch: &&Batch| batch.owner == *owner && batch.listed_from <= now;
        let page = self.batches.range(..until).rev().map(|(_, batch)| batch).filter(shown);
        let mut ids: Vec<Arc<str>> = page.take(limit + 1).map(|batch| batch.id.clone()).collect();
        let has_more = ids.len() > limit;
        ids.truncate(limit);
        let data: Vec<Value> =
            ids.iter().filter_map(|id| self.executed(core, now, id).map(|batch| batch.view())).collect();
        let member = self.profile().list_member;
        Ok(json!({
            "object": "list",
            member: data,
            "first_id": ids.first().map(|id| &**id),
            "last_id": ids.last().map(|id| &**id),
            "has_more": has_more,
        }))
    }
}

/// The answer to a create whose file is not there, or not yet.
pub(crate) fn no_input(id: &str) -> ApiError {
    let message = format!("Cannot find file {id} in organization org-simulator and project default.");
    ApiError::invalid(message, "file_id", "")
}

#[cfg(test)]
mod tests {
    use super::super::profile::OPENAI;
    use super::*;

    fn refused(body: Value) -> (String, String) {
        let error = Create::parse(&OPENAI, body.to_string().as_bytes()).expect_err("refused");
        assert_eq!(error.status, 400);
        (error.param.unwrap_or_default(), error.code.unwrap_or_default())
    }

    #[test]
    fn parameters_are_checked() {
        let good =
            json!({"input_file_id": "file-1", "endpoint": "/v1/embeddings", "completion_window": "24h"});
        assert!(Create::parse(&OPENAI, good.to_string().as_bytes()).is_ok());
        for name in ["input_file_id", "endpoint", "completion_window"] {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(name);
            assert_eq!(refused(body), (name.to_owned(), "missing_required_parameter".to_owned()));
        }
        let with = |name: &str, value: Value| {
            let mut body = good.clone();
            body[name] = value;
            refused(body).0
        };
        assert_eq!(with("endpoint", json!("/v1/audio/speech")), "endpoint");
        assert_eq!(with("completion_window", json!("48h")), "completion_window");
        assert_eq!(with("metadata", json!({"a": 1})), "metadata.a");
        assert_eq!(with("metadata", json!({"a": "x".repeat(513)})), "metadata.a");
        assert_eq!(with("metadata", json!({"k".repeat(65): ""})), "metadata");
        let many: Map<String, Value> = (0..17).map(|i| (i.to_string(), json!(""))).collect();
        assert_eq!(with("metadata", many.into()), "metadata");
        let short = json!({"anchor": "created_at", "seconds": 1});
        assert_eq!(with("output_expires_after", short), "expires_after.seconds");
        assert!(Create::parse(&OPENAI, b"nonsense").is_err());
    }
}
