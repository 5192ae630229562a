//! A provider that nobody has: all that it takes to add one is in this file.
//!
//! Work is ordered in one call, `POST /work` with `{"label", "orders": [{"ref", "order"}]}`, is `doing` until it is `done`, and its
//! outcome is a line for each order, `{"ref", "says"}` or `{"ref", "refused"}`.

use std::borrow::Cow;

use http::Method;
use providers::json;
use providers::{
    About, Call, Caps, Counts, Dialect, File, Inline, Job, Key, Line, LineError, LineOutcome, NewJob, Page,
    Phase, Provider, ResultLine, Source, StreamUsage, Unreadable, Upload,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Debug)]
pub struct Madeup;

static ABOUT: About = About {
    name: "madeup",
    title: "Made up",
    dialect: Dialect::OpenAi,
    base_url: "",
    key: Key::bearer(&[]),
    endpoints: &["/v1/chat/completions"],
    stream_usage: StreamUsage::OnRequest,
    caps: Caps { inline_bytes: u64::MAX, ..Caps::OPENAI },
};

impl Provider for Madeup {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        out.extend_from_slice(br#"{"ref":""#);
        out.extend_from_slice(line.custom_id.as_bytes());
        out.extend_from_slice(br#"","order":"#);
        out.extend_from_slice(line.body);
        out.extend_from_slice(b"}");
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        r#"{"ref":"","order":}"#.len() + line.custom_id.len() + body
    }

    /// Never asked: everything travels inline.
    fn upload(&self, _name: &str) -> Upload {
        Upload::Form { call: Call::new(Method::POST, ["files"]), fields: Vec::new() }
    }

    /// Never asked either.
    fn create(&self, _new: &NewJob<'_>, _file: &str) -> Call {
        Call::new(Method::POST, ["work"])
    }

    fn create_inline(&self, new: &NewJob<'_>) -> Option<Inline> {
        let head = format!(r#"{{"label":"{}","orders":["#, new.batch).into_bytes();
        Some(Inline { call: Call::new(Method::POST, ["work"]), head, tail: b"]}".to_vec() })
    }

    fn poll(&self, job: &str) -> Call {
        Call::get(["work", job])
    }

    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable> {
        job(&json::parse(body)?)
    }

    fn cancel(&self, job: &str) -> Call {
        Call::new(Method::POST, ["work", job, "stop"])
    }

    fn list_jobs(&self, _after: Option<&str>) -> Call {
        Call::get(["work"])
    }

    fn read_jobs(&self, body: &[u8], _after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        let list = json::parse(body)?;
        let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Page { items: items.iter().filter_map(|item| job(item).ok()).collect(), next: None })
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

    fn delete(&self, artifact: &str) -> Option<Call> {
        Some(Call::new(Method::DELETE, ["work", artifact]))
    }

    fn results(&self, artifact: &str) -> Source {
        Source::Lines(Call::get(["work", artifact, "outcome"]))
    }

    fn read_result<'a>(&self, line: &'a [u8]) -> Result<ResultLine<'a>, LineError> {
        let outcome: Outcome<'a> =
            serde_json::from_slice(line).map_err(|error| LineError::from_json(&error, line))?;
        let response = |status, body: &'a RawValue| LineOutcome::Response {
            status,
            request_id: None,
            body: body.get().as_bytes().into(),
        };
        let custom_id = outcome.r#ref.ok_or(LineError::NoId)?;
        match (outcome.says, outcome.refused) {
            (Some(body), _) => Ok(ResultLine { custom_id, outcome: response(200, body) }),
            (None, Some(body)) => Ok(ResultLine { custom_id, outcome: response(400, body) }),
            (None, None) => Err(LineError::BadStatus),
        }
    }

    fn is_missing_file(&self, _status: u16, _body: &[u8]) -> bool {
        false
    }
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow, default)]
    r#ref: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    says: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refused: Option<&'a RawValue>,
}

fn job(work: &Value) -> Result<Job, Unreadable> {
    let id = json::string(&work["nr"]).ok_or(Unreadable::NoId)?;
    let status = json::string(&work["state"]).unwrap_or_default();
    let phase = match status.as_str() {
        "done" => Phase::Completed,
        "stopped" => Phase::Cancelled,
        _ => Phase::Running,
    };
    let counts = json::integer(&work["orders"]).map(|total| Counts { total, completed: 0, failed: 0 });
    Ok(Job {
        output: (phase == Phase::Completed).then(|| id.clone()),
        id,
        phase,
        status,
        input: None,
        errors_in: None,
        counts,
        errors: Vec::new(),
        batch: json::string(&work["label"]),
        created_at: None,
    })
}
