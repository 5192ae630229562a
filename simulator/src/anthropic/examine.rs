//! The plan of what each line of a batch will answer.
//!
//! This is the slow part of a batch and needs no state: it runs outside the model's lock.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::{self, Answer, Style};
use super::create::Line;
use super::error::ApiError;
use super::request::{Dialect, Request, Way};
use crate::config::Config;
use crate::credential::{Credential, sha256};
use crate::json::Fields;
use crate::ledger::{Entry, Mode};
use crate::plan::{Place, Plan, PlannedLine, spread};
use crate::rng::Rng;
use crate::text::quote;

/// Everything that an examination needs.
#[derive(Debug)]
pub struct Examine {
    /// The batch.
    pub batch: Arc<str>,
    /// Who pays for it.
    pub credential: Credential,
    /// Its requests.
    pub lines: Vec<Line>,
    /// What its headers said.
    pub dialect: Dialect,
    /// The settings.
    pub config: Arc<Config>,
    /// Decides ids and order.
    pub seed: u64,
}

/// The state of planning one batch.
struct Planner<'a> {
    job: &'a Examine,
    rng: Rng,
    /// The model of the line before.
    model: Option<Arc<str>>,
    /// Whether there was another model before that one.
    mixed: bool,
    input_tokens: u64,
    lines: Vec<PlannedLine>,
    results: Vec<u8>,
}

impl Examine {
    /// Plans all lines.
    pub fn run(self) -> Plan {
        let rng = Rng::labelled(self.seed, &self.batch);
        let mut planner = Planner {
            job: &self,
            rng,
            model: None,
            mixed: false,
            input_tokens: 0,
            lines: Vec::with_capacity(self.lines.len()),
            results: Vec::new(),
        };
        for line in &self.lines {
            planner.line(line);
        }
        planner.plan()
    }
}

impl Planner<'_> {
    fn line(&mut self, line: &Line) {
        let text = std::str::from_utf8(&line.params).unwrap_or_default();
        let fields = Fields::parse(text).unwrap_or_default();
        let request = Request::check(&fields, self.job.dialect, Way::Batch);
        let mut planned = PlannedLine {
            at: 0,
            place: Place::Output,
            result: 0..0,
            id: quote(&line.id).into(),
            entry: None,
        };
        let model = self.model(fields.text("model").unwrap_or_default().as_ref());
        let mut entry = self.entry(line, model);
        let start = self.results.len();
        match &request {
            Err(error) => entry.status = self.write_error(&mut planned, error),
            Ok(request) => {
                planned.at = request.magic.slow;
                self.input_tokens += request.input_tokens;
                entry.marker = request.magic.echo.as_deref().map(Into::into);
                entry.input_tokens = request.input_tokens;
                match answer::failure(request) {
                    _ if request.magic.expire => planned.place = Place::Expired,
                    _ if request.magic.vanish => planned.place = Place::Nowhere,
                    Some(error) => entry.status = self.write_error(&mut planned, &error),
                    None => entry.output_tokens = self.write_answer(&planned, request),
                }
            }
        }
        planned.result = start..self.results.len();
        entry.billed = planned.place == Place::Output;
        planned.entry = matches!(planned.place, Place::Output | Place::Error).then_some(entry);
        self.lines.push(planned);
    }

    fn model(&mut self, model: &str) -> Arc<str> {
        match &self.model {
            Some(known) if **known == *model => known.clone(),
            before => {
                self.mixed |= before.is_some();
                self.model.insert(model.into()).clone()
            }
        }
    }

    fn entry(&self, line: &Line, model: Arc<str>) -> Entry {
        let keep = self.job.config.keep_bodies > 0;
        Entry {
            provider: super::NAME,
            credential: self.job.credential.clone(),
            batch: Some(self.job.batch.clone()),
            custom_id: Some(line.id.clone()),
            model,
            endpoint: super::ENDPOINT,
            body_hash: sha256(&line.params),
            // A copy, so that a kept body does not keep its whole batch.
            body: keep.then(|| Bytes::copy_from_slice(&line.params)),
            marker: None,
            input_tokens: 0,
            output_tokens: 0,
            mode: Mode::Batch,
            status: 200,
            billed: false,
        }
    }

    fn write_answer(&mut self, line: &PlannedLine, request: &Request<'_>) -> u64 {
        let style =
            Style { id: self.rng.next_u64(), awkward: self.job.config.awkward_answers, tier: "batch" };
        let answer = Answer::of(request, &style);
        // Writing to a Vec cannot fail.
        let _ = writeln!(
            self.results,
            r#"{{"custom_id":{},"result":{{"type":"succeeded","message":{}}}}}"#,
            line.id,
            answer.message()
        );
        answer.output_tokens
    }

    fn write_error(&mut self, line: &mut PlannedLine, error: &ApiError) -> u16 {
        line.place = Place::Error;
        let view = error.view(&format!("req_{:016x}", self.rng.next_u64()));
        // Writing to a Vec cannot fail.
        let _ = writeln!(
            self.results,
            r#"{{"custom_id":{},"result":{{"type":"errored","error":{view}}}}}"#,
            line.id
        );
        error.status
    }

    fn plan(mut self) -> Plan {
        spread(&mut self.lines, &mut self.rng, &self.job.config);
        let model = self.model.filter(|_| !self.mixed).unwrap_or_else(|| "".into());
        Plan { model, lines: self.lines, results: self.results, input_tokens: self.input_tokens }
    }
}
