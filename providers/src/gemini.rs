//! Google's Gemini API in batch mode (Gemini API documentation, "Batch API").
//!
//! Small batches travel in the creation, larger ones as a file of the Files API. A job is a long-running operation that names its
//! results in its `response` or in its `metadata.output`, within itself or as a file. Its display name is the id of our batch.

mod result;

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use memchr::memchr2_iter;
use serde_json::{Value, json};

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::broken;
use crate::caps::Caps;
use crate::job::{Counts, File, Job, JobError, Page, Phase, Unreadable};
use crate::json::{self, error_text, integer, seconds, string};
use crate::provider::{Call, Document, Inline, Line, NewJob, Provider, Source, Upload};
use crate::result::{LineError, ResultLine};

/// Google's Gemini API.
#[derive(Debug, Clone, Copy)]
pub struct Gemini;

/// Generates content; with or without a stream at the caller's side.
pub const GENERATE: &str = "/v1beta/models/*:generateContent";
/// Embeds content.
pub const EMBED: &str = "/v1beta/models/*:embedContent";

/// The version of the API that has batches.
const V: &str = "v1beta";
const PER_PAGE: usize = 100;

/// 20 MB inline and 2 GB by file (documentation), of which we use as much as of others' files; jobs expire after 48 h.
static ABOUT: About = About {
    name: "gemini",
    title: "Gemini",
    dialect: Dialect::Gemini,
    base_url: "https://generativelanguage.googleapis.com",
    key: Key::in_header("x-goog-api-key", &["GOOGLE_API_KEY", "GEMINI_API_KEY"]),
    endpoints: &[GENERATE, EMBED],
    stream_usage: StreamUsage::OnRequest,
    caps: Caps {
        inline_bytes: 19_000_000,
        poll_min: Duration::from_secs(5),
        polls_per_minute: 120,
        window: Duration::from_secs(48 * 3600),
        flex: &[":generateContent"],
        ..Caps::OPENAI
    },
};

impl Provider for Gemini {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        out.reserve(self.line_len(line, line.body.len()));
        let [head, middle, tail] = around(line.inline);
        out.extend_from_slice(head);
        if !line.inline {
            out.extend_from_slice(line.custom_id.as_bytes());
            out.extend_from_slice(middle);
        }
        let start = out.len();
        out.extend_from_slice(line.body);
        for newline in memchr2_iter(b'\n', b'\r', line.body) {
            out[start + newline] = b' ';
        }
        if line.inline {
            out.extend_from_slice(middle);
            out.extend_from_slice(line.custom_id.as_bytes());
        }
        out.extend_from_slice(tail);
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        around(line.inline).iter().map(|part| part.len()).sum::<usize>() + line.custom_id.len() + body
    }

    fn upload(&self, name: &str) -> Upload {
        let body = json!({"file": {"display_name": name}}).to_string();
        let mut start = Call::post(["upload", V, "files"], body);
        for (header, value) in [
            ("x-goog-upload-protocol", "resumable"),
            ("x-goog-upload-command", "start"),
            ("x-goog-upload-header-content-type", "application/jsonl"),
        ] {
            start.headers.insert(HeaderName::from_static(header), HeaderValue::from_static(value));
        }
        Upload::Resumable { start }
    }

    fn create(&self, new: &NewJob<'_>, file: &str) -> Call {
        let batch = json!({"batch": {"displayName": new.batch, "inputConfig": {"fileName": file}}});
        Call::post(create_path(new), batch.to_string())
    }

    fn create_inline(&self, new: &NewJob<'_>) -> Option<Inline> {
        let name = Value::from(new.batch);
        let head = format!(r#"{{"batch":{{"displayName":{name},"inputConfig":{{"requests":{{"requests":["#)
            .into_bytes();
        Some(Inline { call: Call::new(Method::POST, create_path(new)), head, tail: b"]}}}}".to_vec() })
    }

    fn poll(&self, job: &str) -> Call {
        Call::get(path(&[V], job))
    }

    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable> {
        // It is known how a job is although one of the results within it is no JSON.
        let parsed = json::parse(body).or_else(|problem| broken::outline(body).ok_or(problem))?;
        job(&parsed)
    }

    fn cancel(&self, job: &str) -> Call {
        Call::post(path(&[V], &format!("{job}:cancel")), "{}")
    }

    fn list_jobs(&self, after: Option<&str>) -> Call {
        page(Call::get([V, "batches"]), after)
    }

    fn read_jobs(&self, body: &[u8], _after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        read_page(body, "operations", job)
    }

    fn list_files(&self, after: Option<&str>) -> Option<Call> {
        Some(page(Call::get([V, "files"]), after))
    }

    fn read_files(&self, body: &[u8], _after: Option<&str>) -> Result<Page<File>, Unreadable> {
        read_page(body, "files", file)
    }

    fn read_file(&self, body: &[u8]) -> Result<File, Unreadable> {
        file(&json::parse(body)?["file"])
    }

    /// Deletes a file, or a job with its results.
    fn delete(&self, artifact: &str) -> Option<Call> {
        Some(Call::new(Method::DELETE, path(&[V], artifact)))
    }

    fn results(&self, artifact: &str) -> Source {
        match artifact.starts_with("files/") {
            true => {
                let download = path(&["download", V], &format!("{artifact}:download"));
                Source::Lines(Call::get(download).with("alt", "media"))
            }
            false => Source::Document(self.poll(artifact)),
        }
    }

    fn read_result<'a>(&self, line: &'a [u8]) -> Result<ResultLine<'a>, LineError> {
        result::read(line)
    }

    fn read_document<'a>(&self, _asked: &Call, body: &'a [u8]) -> Result<Document<'a>, Unreadable> {
        let (elements, broken) = match result::elements(body) {
            Some(elements) => (elements, false),
            None => (result::broken_elements(body).ok_or(Unreadable::NoId)?, true),
        };
        Ok(Document { elements: elements.into_iter().map(Cow::Borrowed).collect(), next: None, broken })
    }

    /// A file that is not there is answered with 404, or with 403 (seen in issues), in words that name it.
    fn is_missing_file(&self, status: u16, body: &[u8]) -> bool {
        let names_file = || json::error_message(body).is_some_and(|message| message.contains("File "));
        matches!(status, 403 | 404) && names_file()
    }

    /// Too many enqueued tokens are a 429 with the status of a rate limit (Batch API guide, rate limits). The latter says when to call
    /// again, in the error's details; the former names the tokens, or says neither.
    fn is_queue_full(&self, status: u16, body: &[u8], told_when: bool) -> bool {
        let exhausted =
            status == 429 && json::error_field(body, "status").as_deref() == Some("RESOURCE_EXHAUSTED");
        let names_tokens = || json::error_message(body).is_some_and(|words| words.contains("enqueued"));
        let retry_info = || body.windows(10).any(|window| window == b"retryDelay");
        exhausted && (names_tokens() || !told_when && !retry_info())
    }

    /// An API that says that it is not available has done nothing (Google API design guide, `UNAVAILABLE`).
    fn refuses(&self, status: u16, body: &[u8]) -> bool {
        status == 503 && json::error_field(body, "status").as_deref() == Some("UNAVAILABLE")
    }
}

/// What stands before, between and after id and body.
fn around(inline: bool) -> [&'static [u8]; 3] {
    match inline {
        true => [br#"{"request":"#, br#","metadata":{"key":""#, br#""}}"#],
        false => [br#"{"key":""#, br#"","request":"#, b"}\n"],
    }
}

fn create_path(new: &NewJob<'_>) -> [String; 3] {
    let method = if new.endpoint == EMBED { "asyncBatchEmbedContent" } else { "batchGenerateContent" };
    [V.to_owned(), "models".to_owned(), format!("{}:{method}", new.model)]
}

/// A resource's name has slashes of its own.
fn path(before: &[&str], name: &str) -> Vec<String> {
    before.iter().copied().chain(name.split('/')).map(str::to_owned).collect()
}

fn page(list: Call, after: Option<&str>) -> Call {
    let list = list.with("pageSize", PER_PAGE.to_string());
    match after {
        Some(after) => list.with("pageToken", after),
        None => list,
    }
}

fn read_page<T>(
    body: &[u8],
    field: &str,
    read: fn(&Value) -> Result<T, Unreadable>,
) -> Result<Page<T>, Unreadable> {
    let page = json::parse(body)?;
    if let Some(error) = page.get("error") {
        return Err(Unreadable::Error(error_text(error)));
    }
    // An empty list is left out.
    let items = page[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let items = items.iter().filter_map(|item| read(item).ok()).collect();
    Ok(Page { items, next: string(&page["nextPageToken"]) })
}

fn file(value: &Value) -> Result<File, Unreadable> {
    Ok(File {
        id: string(&value["name"]).ok_or(Unreadable::NoId)?,
        name: string(&value["displayName"]).unwrap_or_default(),
        created_at: seconds(&value["createTime"]),
        ready: value["state"].as_str().is_none_or(|state| state == "ACTIVE"),
    })
}

/// Reads a long-running operation.
fn job(value: &Value) -> Result<Job, Unreadable> {
    let Some(id) = string(&value["name"]) else {
        let error = value.get("error").map(|error| Unreadable::Error(error_text(error)));
        return Err(error.unwrap_or(Unreadable::NoId));
    };
    let metadata = &value["metadata"];
    let status = string(&metadata["state"]).unwrap_or_default();
    let status = status.trim_start_matches("BATCH_STATE_").trim_start_matches("JOB_STATE_").to_owned();
    let output = output(value, &id);
    let phase = match status.as_str() {
        // Seen for a moment before the results are there.
        "SUCCEEDED" | "PARTIALLY_SUCCEEDED" if output.is_none() => Phase::Running,
        "SUCCEEDED" | "PARTIALLY_SUCCEEDED" => Phase::Completed,
        "FAILED" => Phase::Failed,
        "CANCELLED" => Phase::Cancelled,
        "EXPIRED" => Phase::Expired,
        _ => Phase::Running,
    };
    Ok(Job {
        id,
        phase,
        status,
        input: string(&metadata["inputConfig"]["fileName"]),
        output,
        errors_in: None,
        counts: counts(&metadata["batchStats"]),
        errors: errors(&value["error"]),
        batch: string(&metadata["displayName"]),
        created_at: seconds(&metadata["createTime"]),
    })
}

/// Where the results are: a file, or the job itself.
fn output(value: &Value, id: &str) -> Option<String> {
    let places = [&value["response"], &value["metadata"]["output"]];
    if let Some(file) = places.iter().find_map(|place| string(&place["responsesFile"])) {
        return Some(file);
    }
    let inline = ["inlinedResponses", "inlinedEmbedContentResponses"];
    let within = places.iter().any(|place| inline.iter().any(|field| place.get(field).is_some()));
    within.then(|| id.to_owned())
}

fn counts(stats: &Value) -> Option<Counts> {
    let count = |field: &str| integer(&stats[field]);
    Some(Counts {
        total: count("requestCount")?,
        completed: count("successfulRequestCount").unwrap_or_default(),
        failed: count("failedRequestCount").unwrap_or_default(),
    })
}

fn errors(error: &Value) -> Vec<JobError> {
    match error {
        Value::Null => Vec::new(),
        // 8 is RESOURCE_EXHAUSTED: too much is queued already.
        error => vec![JobError {
            code: if error["code"] == 8 { "token_limit_exceeded".into() } else { error["code"].to_string() },
            line: None,
            message: error_text(error),
        }],
    }
}

#[cfg(test)]
mod tests;
