//! Anthropic's Message Batches (API reference, "Message Batches").
//!
//! Requests travel in the call that creates the batch, and a batch carries nothing of ours by which it could be found. Results
//! can be read when the whole batch has ended; a line has no HTTP status, only a type of error.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderName, Method};
use memchr::memchr2_iter;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::caps::{Caps, Marks};
use crate::job::{Counts, File, Job, Page, Phase, Unreadable};
use crate::json::{self, id, integer, seconds, string};
use crate::provider::{Call, Inline, Line, NewJob, Provider, Source, Upload};
use crate::result::{LineError, LineOutcome, ResultLine};

/// Anthropic.
#[derive(Debug, Clone, Copy)]
pub struct Anthropic;

/// Its one endpoint.
pub const MESSAGES: &str = "/v1/messages";

const HEAD: &[u8] = br#"{"custom_id":""#;
const PARAMS: &[u8] = br#"","params":"#;
const TAIL: &[u8] = b"}";
/// Batches asked for per page; a thousand are allowed.
const PER_PAGE: usize = 1000;

/// 100,000 requests or 256 MB, with 5 % of headroom. The lowest tier may make 50 calls a minute, of which half are left to the caller.
static ABOUT: About = About {
    name: "anthropic",
    title: "Anthropic",
    dialect: Dialect::Anthropic,
    base_url: "https://api.anthropic.com",
    key: Key {
        along: &[("anthropic-version", "2023-06-01")],
        ..Key::in_header("x-api-key", &["ANTHROPIC_API_KEY"])
    },
    endpoints: &[MESSAGES],
    stream_usage: StreamUsage::OnRequest,
    caps: Caps {
        max_lines: 100_000,
        max_bytes: 243_000_000,
        max_inputs: u64::MAX,
        inline_bytes: u64::MAX,
        marks_jobs: Marks::Never,
        poll_min: Duration::from_secs(5),
        polls_per_minute: 25,
        ..Caps::OPENAI
    },
};

impl Provider for Anthropic {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        out.reserve(self.line_len(line, line.body.len()));
        out.extend_from_slice(HEAD);
        // Of the characters that Anthropic allows in an id, none needs an escape.
        out.extend_from_slice(line.custom_id.as_bytes());
        out.extend_from_slice(PARAMS);
        let start = out.len();
        out.extend_from_slice(line.body);
        for newline in memchr2_iter(b'\n', b'\r', line.body) {
            out[start + newline] = b' ';
        }
        out.extend_from_slice(TAIL);
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        HEAD.len() + line.custom_id.len() + PARAMS.len() + body + TAIL.len()
    }

    fn upload(&self, _name: &str) -> Upload {
        // Never asked: everything travels inline.
        Upload::Form { call: Call::new(Method::POST, ["v1", "files"]), fields: Vec::new() }
    }

    fn create(&self, _new: &NewJob<'_>, _file: &str) -> Call {
        Call::new(Method::POST, ["v1", "messages", "batches"])
    }

    fn create_inline(&self, _new: &NewJob<'_>) -> Option<Inline> {
        let call = Call::new(Method::POST, ["v1", "messages", "batches"]);
        Some(Inline { call, head: br#"{"requests":["#.to_vec(), tail: b"]}".to_vec() })
    }

    fn poll(&self, job: &str) -> Call {
        Call::get(["v1", "messages", "batches", job])
    }

    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable> {
        job(&json::parse(body)?)
    }

    fn cancel(&self, job: &str) -> Call {
        Call::new(Method::POST, ["v1", "messages", "batches", job, "cancel"])
    }

    fn list_jobs(&self, after: Option<&str>) -> Call {
        let list = Call::get(["v1", "messages", "batches"]).with("limit", PER_PAGE.to_string());
        match after {
            Some(after) => list.with("after_id", after),
            None => list,
        }
    }

    fn read_jobs(&self, body: &[u8], _after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        crate::openai::list(body, PER_PAGE, job)
    }

    fn list_files(&self, _after: Option<&str>) -> Option<Call> {
        None
    }

    fn read_files(&self, _body: &[u8], _after: Option<&str>) -> Result<Page<File>, Unreadable> {
        Err(Unreadable::NoId)
    }

    fn read_file(&self, _body: &[u8]) -> Result<File, Unreadable> {
        Err(Unreadable::NoId)
    }

    /// Deletes a batch that has ended, with its results.
    fn delete(&self, artifact: &str) -> Option<Call> {
        Some(Call::new(Method::DELETE, ["v1", "messages", "batches", artifact]))
    }

    fn results(&self, artifact: &str) -> Source {
        Source::Lines(Call::get(["v1", "messages", "batches", artifact, "results"]))
    }

    fn read_result<'a>(&self, line: &'a [u8]) -> Result<ResultLine<'a>, LineError> {
        read_result(line)
    }

    fn is_missing_file(&self, _status: u16, _body: &[u8]) -> bool {
        false
    }

    /// An overloaded API has done nothing (API reference, "Errors": 529).
    fn refuses(&self, status: u16, body: &[u8]) -> bool {
        status == 529 || json::error_field(body, "type").as_deref() == Some("overloaded_error")
    }

    fn request_id(&self) -> HeaderName {
        HeaderName::from_static("request-id")
    }
}

fn job(value: &Value) -> Result<Job, Unreadable> {
    let id = id(value)?;
    let status = string(&value["processing_status"]).unwrap_or_default();
    let counts = counts(&value["request_counts"]);
    let ended = status == "ended";
    let phase = match (ended, &value["cancel_initiated_at"]) {
        (false, _) => Phase::Running,
        (true, Value::Null) => Phase::Completed,
        (true, _) => Phase::Cancelled,
    };
    Ok(Job {
        output: ended.then(|| id.clone()),
        id,
        phase,
        status,
        input: None,
        errors_in: None,
        counts,
        errors: Vec::new(),
        batch: None,
        created_at: seconds(&value["created_at"]),
    })
}

/// While a batch runs only `processing` says something: the others stay 0 until all of it has ended.
fn counts(value: &Value) -> Option<Counts> {
    let count = |field: &str| integer(&value[field]);
    let succeeded = count("succeeded")?;
    let [processing, errored, cancelled, expired] =
        ["processing", "errored", "canceled", "expired"].map(|field| count(field).unwrap_or_default());
    let all = [processing, succeeded, errored, cancelled, expired];
    let total = all.into_iter().fold(0, u64::saturating_add);
    // What expired is told by lines, as what failed.
    Some(Counts { total, completed: succeeded, failed: errored.saturating_add(expired) })
}

#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(borrow, default)]
    custom_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    result: Option<RawResult<'a>>,
}

#[derive(Deserialize)]
struct RawResult<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

fn read_result(line: &[u8]) -> Result<ResultLine<'_>, LineError> {
    if line.trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
        return Err(LineError::Malformed { problem: "not an object", column: 1 });
    }
    let raw: RawLine<'_> =
        serde_json::from_slice(line).map_err(|error| LineError::from_json(&error, line))?;
    let custom_id = raw.custom_id.filter(|id| !id.is_empty()).ok_or(LineError::NoId)?;
    let result = raw.result.ok_or(LineError::BadStatus)?;
    let not_executed = |code: &'static str, message: &'static str| LineOutcome::Error {
        status: None,
        code: code.into(),
        message: message.into(),
    };
    let outcome = match (result.kind.as_deref(), result.message, result.error) {
        (Some("succeeded"), Some(message), _) => {
            LineOutcome::Response { status: 200, request_id: None, body: message.get().as_bytes().into() }
        }
        (Some("errored"), _, Some(error)) => LineOutcome::Response {
            status: status(error.get()),
            request_id: request_id(error.get()),
            body: error.get().as_bytes().into(),
        },
        (Some("canceled"), ..) => {
            not_executed("batch_cancelled", "The batch was cancelled before the request was executed.")
        }
        (Some("expired"), ..) => {
            not_executed("batch_expired", "The batch expired before the request was executed.")
        }
        _ => return Err(LineError::BadStatus),
    };
    Ok(ResultLine { custom_id, outcome })
}

/// The status that an error has in a synchronous call (API reference, "Errors"); the one for timeouts is not documented.
fn status(error: &str) -> u16 {
    let kind = serde_json::from_str::<Value>(error).ok().and_then(|error| string(&error["error"]["type"]));
    match kind.as_deref().unwrap_or_default() {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "conflict_error" => 409,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 500,
    }
}

fn request_id(error: &str) -> Option<Cow<'_, str>> {
    let error: Value = serde_json::from_str(error).ok()?;
    string(&error["request_id"]).map(Cow::Owned)
}

#[cfg(test)]
mod tests;
