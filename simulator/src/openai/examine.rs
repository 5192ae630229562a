//! Validation of an input file, and the plan of what each of its lines will answer.
//!
//! This is the slow part of a batch and needs no state: it runs outside the model's lock.

use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::answer::{self, Style};
use super::endpoint::Endpoint;
use super::error::ApiError;
use super::profile::{Lines, Profile};
use super::request::{Request, model_of};
use crate::config::Config;
use crate::core::Millis;
use crate::credential::{Credential, sha256};
use crate::json::{self, Fields};
use crate::ledger::{Entry, Mode};
use crate::plan::{Place, Plan, PlannedLine, spread};
use crate::rng::Rng;
use crate::text::quote;

/// Errors that a failed batch lists at most.
const MAX_ERRORS: usize = 1_000;

/// Inputs that all lines of an embeddings batch may have together (`OpenAI` API reference).
const MAX_EMBEDDING_INPUTS: usize = 50_000;

/// Everything that an examination needs.
#[derive(Debug, Clone)]
pub struct Examine {
    /// The batch.
    pub batch: Arc<str>,
    /// Who pays for it.
    pub credential: Credential,
    /// The API that it was created with.
    pub profile: &'static Profile,
    /// The batch's endpoint.
    pub endpoint: Endpoint,
    /// The model that the batch's creation named.
    pub model: Option<String>,
    /// The input file.
    pub file: Bytes,
    /// The settings.
    pub config: Arc<Config>,
    /// Decides ids and order.
    pub seed: u64,
    /// The time at which it begins.
    pub now: Millis,
}

/// Why a batch failed: one entry of `errors.data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchError {
    /// The `code`.
    pub code: String,
    /// The line's number from 1; None for the batch as a whole.
    pub line: Option<usize>,
    /// The `message`.
    pub message: String,
    /// The `param`.
    pub param: Option<String>,
}

impl Examine {
    /// Validates the file; either all its errors, or a plan.
    pub fn run(self) -> Result<Plan, Vec<BatchError>> {
        let mut reader = Reader::new(&self);
        let lines = self.file.strip_suffix(b"\n").unwrap_or(&self.file);
        if self.file.is_empty() {
            return Err(vec![BatchError::whole("empty_file", "The input file is empty.")]);
        }
        for (index, line) in split_lines(lines).enumerate() {
            let most = self.profile.max_lines.unwrap_or(self.config.max_lines);
            if index >= most {
                let count = memchr::memchr_iter(b'\n', lines).count() + 1;
                let message = format!("The batch has {count} requests; at most {most} are allowed.");
                return Err(vec![BatchError::whole("too_many_tasks", &message)]);
            }
            if let Err(error) = reader.line(index + 1, line) {
                reader.errors.push(error);
                if reader.errors.len() >= MAX_ERRORS {
                    break;
                }
            }
        }
        if self.endpoint == Endpoint::Embeddings && reader.embedding_inputs > MAX_EMBEDDING_INPUTS {
            let message = format!(
                "The batch has {} embedding inputs; at most {MAX_EMBEDDING_INPUTS} are allowed.",
                reader.embedding_inputs
            );
            reader.errors.push(BatchError::whole("too_many_tasks", &message));
        }
        if reader.errors.is_empty() { Ok(reader.plan()) } else { Err(reader.errors) }
    }
}

impl BatchError {
    /// An error of the batch as a whole.
    pub fn whole(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), line: None, message: message.to_owned(), param: None }
    }

    fn at(line: usize, code: &str, param: &str, message: impl Into<String>) -> Self {
        let param = (!param.is_empty()).then(|| param.to_owned());
        Self { code: code.to_owned(), line: Some(line), message: message.into(), param }
    }
}

fn split_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr::memchr_iter(b'\n', text).chain(std::iter::once(text.len()));
    let mut start = 0;
    ends.map(move |end| {
        let line = &text[start..end];
        start = end + 1;
        line
    })
}

/// The state of reading one file.
struct Reader<'a> {
    job: &'a Examine,
    rng: Rng,
    model: Option<Arc<str>>,
    ids: HashSet<Box<str>>,
    embedding_inputs: usize,
    input_tokens: u64,
    lines: Vec<PlannedLine>,
    results: Vec<u8>,
    errors: Vec<BatchError>,
}

impl<'a> Reader<'a> {
    fn new(job: &'a Examine) -> Self {
        Self {
            job,
            rng: Rng::labelled(job.seed, &job.batch),
            model: None,
            ids: HashSet::new(),
            embedding_inputs: 0,
            input_tokens: 0,
            lines: Vec::new(),
            results: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Reads one line; an error here fails the whole batch, a bad body only its line.
    fn line(&mut self, number: usize, raw: &'a [u8]) -> Result<(), BatchError> {
        let bad_json = |why: &str| {
            BatchError::at(
                number,
                "invalid_json_line",
                "",
                format!("This line is not parseable as valid JSON{why}."),
            )
        };
        let text = std::str::from_utf8(raw).map_err(|_| bad_json(": it is not UTF-8"))?;
        if text.starts_with('\u{feff}') {
            return Err(bad_json(": it begins with a byte order mark"));
        }
        if text.trim().is_empty() {
            return Err(bad_json(": it is blank"));
        }
        let envelope = Fields::parse(text).ok_or_else(|| bad_json(""))?;
        let id = member(&envelope, number, "custom_id")?;
        let id = json::text(id).ok_or_else(|| wrong(number, "custom_id", "must be a string"))?;
        let endpoint = self.check_target(&envelope, number)?;
        let body = member(&envelope, number, "body")?;
        let fields = json::object(body).ok_or_else(|| wrong(number, "body", "must be an object"))?;
        if !self.ids.insert(id.as_ref().into()) {
            let message = format!("The custom_id '{id}' is not unique in this file.");
            return Err(BatchError::at(number, "duplicate_custom_id", "custom_id", message));
        }
        let model = self.check_model(endpoint, &fields, number)?;
        self.plan_line(&id, endpoint, &model, body, fields);
        Ok(())
    }

    /// The endpoint of a line.
    fn check_target(&self, envelope: &Fields<'_>, number: usize) -> Result<Endpoint, BatchError> {
        let job = self.job;
        if job.profile.lines == Lines::Bodies {
            let extra = ["method", "url"].into_iter().find(|name| envelope.get(name).is_some());
            let why = "is not a member of this API's lines";
            return extra.map_or(Ok(job.endpoint), |extra| Err(wrong(number, extra, why)));
        }
        let method = member(envelope, number, "method")?;
        if json::text(method).is_none_or(|method| method != "POST") {
            return Err(wrong(number, "method", "must be POST"));
        }
        let url = json::text(member(envelope, number, "url")?)
            .ok_or_else(|| wrong(number, "url", "must be a string"))?;
        let found = job.profile.endpoint(&url);
        match found.filter(|&found| found == job.endpoint || job.profile.lines == Lines::Mixed) {
            Some(endpoint) => Ok(endpoint),
            None => {
                let message = format!(
                    "The URL provided for this request does not match the batch endpoint: '{url}' is not '{}'.",
                    self.job.endpoint.path()
                );
                Err(BatchError::at(number, "url_mismatch", "url", message))
            }
        }
    }

    fn check_model(
        &mut self,
        endpoint: Endpoint,
        fields: &Fields<'_>,
        number: usize,
    ) -> Result<Arc<str>, BatchError> {
        let named = match (&self.job.model, fields.get("model")) {
            (Some(model), None) => Ok(model.as_str().into()),
            _ => model_of(endpoint, fields),
        };
        let model = named.map_err(|error| {
            BatchError::at(
                number,
                error.code.as_deref().unwrap_or("invalid_request"),
                "body.model",
                error.message,
            )
        })?;
        if let Some(first) = self.model.as_ref().filter(|first| ***first == *model) {
            return Ok(first.clone());
        }
        let first = self.model.as_deref().or(self.job.model.as_deref());
        if let Some(first) = first.filter(|first| **first != *model && self.job.profile.lines != Lines::Mixed)
        {
            let message = format!(
                "All requests of a batch must use one model; the first uses '{first}', this one '{model}'."
            );
            return Err(BatchError::at(number, "model_mismatch", "body.model", message));
        }
        let model: Arc<str> = model.as_ref().into();
        self.model = Some(model.clone());
        let refusal = if !self.job.profile.has_model(&model) {
            format!("The provided model '{model}' does not exist or you do not have access to it.")
        } else if !self.job.profile.batches(&model) {
            format!("The provided model '{model}' is not supported by the Batch API.")
        } else {
            return Ok(model);
        };
        Err(BatchError::at(number, "model_not_found", "body.model", refusal))
    }

    fn plan_line(
        &mut self,
        id: &str,
        endpoint: Endpoint,
        model: &Arc<str>,
        body: &'a RawValue,
        fields: Fields<'a>,
    ) {
        let raw = body.get();
        let request = match fields.is_true("stream") {
            true => Err(ApiError::invalid(
                "Streaming is not supported in the Batch API.",
                "stream",
                "unsupported_value",
            )),
            false => (self.job.profile.check)(endpoint, &fields)
                .and_then(|()| Request::check(endpoint, model.to_string().into(), fields, raw.len())),
        };
        let quoted = quote(id);
        let mut line =
            PlannedLine { at: 0, place: Place::Output, result: 0..0, id: quoted.into(), entry: None };
        let start = self.results.len();
        let mut entry = self.entry(id, endpoint, model, raw);
        match &request {
            Err(error) => entry.status = self.write_error(&mut line, error),
            Ok(request) => {
                line.at = request.magic.slow;
                self.embedding_inputs += request.inputs.len();
                self.input_tokens += request.input_tokens;
                entry.marker = request.magic.echo.as_deref().map(Into::into);
                entry.input_tokens = request.input_tokens;
                match answer::failure(request) {
                    _ if request.magic.expire => line.place = Place::Expired,
                    _ if request.magic.vanish => line.place = Place::Nowhere,
                    Some(error) => entry.status = self.write_error(&mut line, &error),
                    None => entry.output_tokens = self.write_answer(&line, request),
                }
            }
        }
        line.result = start..self.results.len();
        entry.billed = line.place == Place::Output;
        line.entry = matches!(line.place, Place::Output | Place::Error).then_some(entry);
        self.lines.push(line);
    }

    fn entry(&self, id: &str, endpoint: Endpoint, model: &Arc<str>, raw: &str) -> Entry {
        let keep = self.job.config.keep_bodies > 0;
        Entry {
            provider: self.job.profile.name,
            credential: self.job.credential.clone(),
            batch: Some(self.job.batch.clone()),
            custom_id: Some(id.into()),
            model: model.clone(),
            endpoint: endpoint.path(),
            body_hash: sha256(raw.as_bytes()),
            // A copy, so that a kept body does not keep its whole file.
            body: keep.then(|| Bytes::copy_from_slice(raw.as_bytes())),
            marker: None,
            input_tokens: 0,
            output_tokens: 0,
            mode: Mode::Batch,
            status: 200,
            billed: false,
        }
    }

    /// Begins a result line, up to and with the key of the response's body.
    fn write_head(&mut self, line: &PlannedLine, status: u16) {
        let (line_id, request_id) = (self.rng.next_u64(), self.rng.next_u64());
        // Writing to a Vec cannot fail.
        let _ = write!(
            self.results,
            r#"{{"id": "batch_req_{line_id:016x}", "custom_id": {}, "response": {{"status_code": {status}, "request_id": "req_{request_id:016x}", "body": "#,
            line.id
        );
    }

    fn write_answer(&mut self, line: &PlannedLine, request: &Request<'_>) -> u64 {
        self.write_head(line, 200);
        let style = Style {
            id: self.rng.next_u64(),
            created: self.job.now / 1000,
            awkward: self.job.config.awkward_answers,
            dimensions: self.job.config.embedding_dimensions,
            tier: "default",
            profile: self.job.profile,
        };
        let tokens = answer::write(request, &style, &mut self.results);
        self.results.extend_from_slice(b"}, \"error\": null}\n");
        tokens
    }

    fn write_error(&mut self, line: &mut PlannedLine, error: &ApiError) -> u16 {
        line.place = Place::Error;
        let (status, body) = self.job.profile.refusal(error);
        self.write_head(line, status);
        self.results.extend_from_slice(body.as_bytes());
        self.results.extend_from_slice(b"}, \"error\": null}\n");
        status
    }

    /// Gives every line its time.
    fn plan(mut self) -> Plan {
        spread(&mut self.lines, &mut self.rng, &self.job.config);
        let model = self.model.unwrap_or_else(|| "".into());
        Plan { model, lines: self.lines, results: self.results, input_tokens: self.input_tokens }
    }
}

fn member<'a>(envelope: &Fields<'a>, line: usize, name: &str) -> Result<&'a RawValue, BatchError> {
    let missing = || {
        BatchError::at(
            line,
            "missing_required_parameter",
            name,
            format!("Missing required parameter: '{name}'."),
        )
    };
    envelope.get(name).ok_or_else(missing)
}

fn wrong(line: usize, param: &str, why: &str) -> BatchError {
    BatchError::at(line, "invalid_request", param, format!("Invalid value for '{param}': it {why}."))
}
