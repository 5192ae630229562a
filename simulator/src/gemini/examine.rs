//! Reading a batch's requests, and the plan of what each of them will answer.
//!
//! This is the slow part of a batch and needs no state: it runs outside the model's lock.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::{self, Style};
use super::error::ApiError;
use super::method::Task;
use super::request::Request;
use super::schema::{get, text};
use crate::config::Config;
use crate::core::Millis;
use crate::credential::{Credential, sha256};
use crate::json::{self, Fields};
use crate::ledger::{Entry, Mode};
use crate::rng::Rng;
use crate::text::quote;

/// Where a batch's requests come from.
#[derive(Debug)]
pub enum Input {
    /// They came with its creation.
    Inline(Vec<Item>),
    /// They are the lines of a file with that id.
    File(String),
}

/// One request of a batch.
#[derive(Debug, Clone)]
pub struct Item {
    /// The request, byte for byte.
    pub request: Bytes,
    /// What its result is told apart by, byte for byte: the metadata of an inline request, the key of a line.
    pub label: Option<Bytes>,
    /// Its key, if it has one.
    pub key: Option<String>,
}

/// Everything that an examination needs.
#[derive(Debug)]
pub struct Examine {
    /// The batch.
    pub batch: Arc<str>,
    /// Who pays for it.
    pub credential: Credential,
    /// What its requests want.
    pub task: Task,
    /// Its model.
    pub model: Arc<str>,
    /// Its requests: inline, or the content of its file.
    pub requests: Result<Vec<Item>, Bytes>,
    /// The settings.
    pub config: Arc<Config>,
}

/// Where a request's result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Into the output.
    Output,
    /// Nowhere.
    Nowhere,
}

/// What will become of a request.
#[derive(Debug)]
pub struct PlannedLine {
    /// When it is done, in milliseconds after the batch began to run.
    pub at: Millis,
    /// Its place in the input, from 0.
    pub number: usize,
    /// Where its result goes.
    pub place: Place,
    /// Its result in [`Plan::results`].
    pub result: Range<usize>,
    /// What the ledger will say, until it does.
    pub entry: Option<Entry>,
}

/// The results of all requests in the order in which they will be done.
#[derive(Debug)]
pub struct Plan {
    /// The requests in the order of their times.
    pub lines: Vec<PlannedLine>,
    /// The results, each an object, one after another.
    pub results: Vec<u8>,
    /// Whether they go into a file.
    pub file: bool,
}

impl Examine {
    /// Reads all requests; a file that is not as it must be fails the batch as a whole.
    pub fn run(self) -> Result<Plan, String> {
        let (items, file) = match &self.requests {
            Ok(items) => (items.clone(), false),
            Err(content) => (lines(content, self.config.max_lines)?, true),
        };
        let mut planner = Planner {
            rng: Rng::labelled(self.config.seed, &self.batch),
            lines: Vec::with_capacity(items.len()),
            results: Vec::new(),
            file,
            job: &self,
        };
        for (number, item) in items.iter().enumerate() {
            planner.plan_item(number, item);
        }
        Ok(planner.plan())
    }
}

/// The requests of a file: `{"key":"..","request":{..}}` a line.
fn lines(content: &Bytes, most: usize) -> Result<Vec<Item>, String> {
    if content.is_empty() {
        return Err("The input file is empty.".into());
    }
    let text = content.strip_suffix(b"\n").unwrap_or(content);
    let mut items = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if index >= most {
            return Err(format!("The input file has more than {most} lines."));
        }
        let wrong = |why: &str| format!("Line {} of the input file {why}.", index + 1);
        let line = std::str::from_utf8(line).map_err(|_| wrong("is not UTF-8"))?;
        let fields = Fields::parse(line).ok_or_else(|| wrong("is not a JSON object"))?;
        if let Some((name, _)) = fields.iter().find(|(name, _)| !["key", "request"].contains(name)) {
            return Err(wrong(&format!("has an unknown field '{name}'")));
        }
        let request = fields.get("request").filter(|raw| raw.get().starts_with('{'));
        let request = request.ok_or_else(|| wrong("has no request"))?;
        let label = fields.get("key");
        let key = label.map(|raw| json::text(raw).ok_or_else(|| wrong("has a key that is not a string")));
        items.push(Item {
            request: content.slice_ref(request.get().as_bytes()),
            label: label.map(|raw| content.slice_ref(raw.get().as_bytes())),
            key: key.transpose()?.map(|key| key.into_owned()),
        });
    }
    Ok(items)
}

/// The inline requests of a creation, whose names and types are known to be right.
pub(crate) fn inline(body: &Bytes, requests: &Fields<'_>) -> Result<Vec<Item>, ApiError> {
    let list = super::schema::many(requests, "requests");
    let read = |(index, raw)| {
        let fields = json::object(raw).unwrap_or_default();
        let request = get(&fields, "request").ok_or_else(|| {
            let path = format!("batch.input_config.requests.requests[{index}].request");
            ApiError::at(&path, format!("* {path}: request is not specified\n"))
        })?;
        let label = get(&fields, "metadata");
        Ok(Item {
            request: body.slice_ref(request.get().as_bytes()),
            label: label.map(|raw| body.slice_ref(raw.get().as_bytes())),
            key: label.and_then(json::object).and_then(|label| text(&label, "key")),
        })
    };
    list.into_iter().enumerate().map(read).collect()
}

/// The state of reading one batch's requests.
struct Planner<'a> {
    job: &'a Examine,
    rng: Rng,
    lines: Vec<PlannedLine>,
    results: Vec<u8>,
    file: bool,
}

impl Planner<'_> {
    fn plan_item(&mut self, number: usize, item: &Item) {
        let text = String::from_utf8_lossy(&item.request);
        let start = self.results.len();
        let mut line = PlannedLine { at: 0, number, place: Place::Output, result: 0..0, entry: None };
        let mut entry = self.entry(item);
        self.write_begin(item);
        match Request::read(self.job.task, &self.job.model, &text) {
            Err(error) => entry.status = self.write_error(&error),
            Ok(request) => {
                line.at = request.magic.slow;
                entry.marker = request.magic.echo.as_deref().map(Into::into);
                entry.input_tokens = request.input_tokens;
                match answer::failure(&request) {
                    // Seen inside of batches that succeeded.
                    _ if request.magic.expire => {
                        entry.status = self.write_error(&ApiError::new(499, "The operation was cancelled."));
                    }
                    _ if request.magic.vanish => line.place = Place::Nowhere,
                    Some(error) => entry.status = self.write_error(&error),
                    None => entry.output_tokens = self.write_answer(&request),
                }
            }
        }
        self.write_end(item);
        line.result = start..self.results.len();
        entry.billed = line.place == Place::Output && entry.status == 200;
        line.entry = (line.place == Place::Output).then_some(entry);
        self.lines.push(line);
    }

    fn entry(&self, item: &Item) -> Entry {
        let keep = self.job.config.keep_bodies > 0;
        Entry {
            provider: crate::gemini::NAME,
            credential: self.job.credential.clone(),
            batch: Some(self.job.batch.clone()),
            custom_id: item.key.as_deref().map(Into::into),
            model: self.job.model.clone(),
            endpoint: self.job.task.method(),
            body_hash: sha256(&item.request),
            // A copy, so that a kept body does not keep its whole file.
            body: keep.then(|| Bytes::copy_from_slice(&item.request)),
            marker: None,
            input_tokens: 0,
            output_tokens: 0,
            mode: Mode::Batch,
            status: 200,
            billed: false,
        }
    }

    /// Begins a result with the key of a line.
    fn write_begin(&mut self, item: &Item) {
        self.results.push(b'{');
        if let Some(key) = item.label.as_deref().filter(|_| self.file) {
            self.results.extend_from_slice(b"\"key\":");
            self.results.extend_from_slice(key);
            self.results.push(b',');
        }
    }

    /// Ends a result with the metadata of an inline request.
    fn write_end(&mut self, item: &Item) {
        if let Some(metadata) = item.label.as_deref().filter(|_| !self.file) {
            self.results.extend_from_slice(b",\"metadata\":");
            self.results.extend_from_slice(metadata);
        }
        self.results.push(b'}');
    }

    fn write_answer(&mut self, request: &Request) -> u64 {
        let config = &self.job.config;
        let style = Style {
            id: self.rng.next_u64(),
            awkward: config.awkward_answers,
            dimensions: config.embedding_dimensions,
        };
        self.results.extend_from_slice(b"\"response\":");
        answer::write(request, &style, &mut self.results)
    }

    fn write_error(&mut self, error: &ApiError) -> u16 {
        let text = format!(r#""error":{{"code":{},"message":{}}}"#, error.number(), quote(&error.message));
        self.results.extend_from_slice(text.as_bytes());
        error.http
    }

    /// Gives every request its time: spread over the batch's time in random order, slow ones not before theirs.
    fn plan(mut self) -> Plan {
        let config = &self.job.config;
        self.rng.shuffle(&mut self.lines);
        let swing = 1.0 + config.jitter * (self.rng.unit() * 2.0 - 1.0);
        let count = self.lines.len() as f64;
        let whole =
            config.batch_time.as_millis() as f64 * swing + config.line_time.as_secs_f64() * 1e3 * count;
        for (index, line) in self.lines.iter_mut().enumerate() {
            // A cast from f64 saturates: a negative or absurd configuration cannot overflow.
            line.at = line.at.max((whole * (index + 1) as f64 / count) as Millis);
        }
        self.lines.sort_by_key(|line| line.at);
        Plan { lines: self.lines, results: self.results, file: self.file }
    }
}
